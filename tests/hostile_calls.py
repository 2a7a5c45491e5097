"""Calls of a container that answers with a megabyte of what is worst; tests/formats/test_hostile_sizes.py runs it.

``python tests/hostile_calls.py <case> …`` calls the endpoint of each case's name, whole and streamed, with and without
an event loop, and prints what came of it as JSON. All calls together have ``CPU_SECONDS`` of the processor.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from typing import Any

import litellm
import openai

import litellm_sagemaker_openai

CPU_SECONDS = 120


async def called(endpoint: str, *, stream: bool, is_async: bool) -> list[Any]:
    """The exception's name and how long its message is; or the answer's length."""
    call: dict[str, Any] = {
        "model": f"sagemaker_openai/{endpoint}",
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": stream,
        "max_retries": 0,
    }
    try:
        answer: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
        if not stream:
            return ["", len(answer.choices[0].message.content or "")]
        chunks = [chunk async for chunk in answer] if is_async else list(answer)
        return ["", sum(len(chunk.choices[0].delta.content or "") for chunk in chunks)]
    except openai.OpenAIError as error:
        original = getattr(error, "original_exception", None) or error
        return [type(original).__name__, len(str(original))]


async def main(cases: list[str]) -> dict[str, list[Any]]:
    litellm.suppress_debug_info = True
    litellm_sagemaker_openai.register()
    return {
        f"{case} {'async' if is_async else 'sync'} {'stream' if stream else 'whole'}": await called(
            case, stream=stream, is_async=is_async
        )
        for case in cases
        for is_async in (False, True)
        for stream in (False, True)
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    json.dump(asyncio.run(main(sys.argv[1:])), sys.stdout)
