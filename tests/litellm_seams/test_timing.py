"""LiteLLM's own share of a call's time, without a proxy."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from tests.conftest import MESSAGES, Upstream
from tests.scripted import Answer, Seen, chunk, completion, json_answer, sse

MODEL = "sagemaker_openai/e"
VECTORS = {
    "object": "list",
    "model": "served",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}


def container(seen: Seen) -> Answer:
    if seen.path.endswith("/invocations"):
        return json_answer(VECTORS)
    streamed = [chunk({"role": "assistant", "content": "Hello."}), chunk({}, finish="stop")]
    return Answer([sse(*streamed)]) if seen.json.get("stream") else json_answer(completion())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_is_known_of_chat(upstream: Upstream, is_async: bool, stream: bool) -> None:
    upstream(container)
    metadata = {"a": "caller's"}
    asked: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": stream, "metadata": metadata}
    answer: Any = await litellm.acompletion(**asked) if is_async else litellm.completion(**asked)
    assert 0 <= answer._hidden_params["litellm_overhead_time_ms"] <= answer._hidden_params["_response_ms"]
    assert "llm_api_timing_windows" not in metadata  # nothing is added to it, but by LiteLLM when it logs
    if stream:
        assert [piece async for piece in answer] if is_async else list(answer)


@pytest.mark.parametrize("is_async", [False, True])
async def test_is_known_of_embeddings(upstream: Upstream, is_async: bool) -> None:
    upstream(container)
    asked: dict[str, Any] = {"model": MODEL, "input": ["Hello?"]}
    answer: Any = await litellm.aembedding(**asked) if is_async else litellm.embedding(**asked)
    assert 0 <= answer._hidden_params["litellm_overhead_time_ms"] <= answer._hidden_params["_response_ms"]
