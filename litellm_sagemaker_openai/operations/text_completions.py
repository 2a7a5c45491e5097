"""Text completions, on ``/invocations``: ``/openai/v1`` routes chat completions only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
from litellm import TextCompletionResponse

from litellm_sagemaker_openai.formats.chunks import ChunkStream
from litellm_sagemaker_openai.formats.prompt_cache_key import without_hint
from litellm_sagemaker_openai.formats.text_completions import (
    prompts_of,
    text_chunk_stream,
    text_completion_answer,
    text_completion_body,
)
from litellm_sagemaker_openai.operations.operation import STREAMED_INVOCATIONS_ROUTE, Call, Invocation, Question
from litellm_sagemaker_openai.options import TEXT_COMPLETIONS
from litellm_sagemaker_openai.settings import Settings

# vLLM 0.32 (tests/wire/vllm/invocations_completion_suffix.http).
_NO_SUFFIX = re.compile(r"suffix is only supported|suffix is not currently supported")

ROUTE = replace(
    STREAMED_INVOCATIONS_ROUTE,
    hints=(
        (_NO_SUFFIX, "write the prompt with the model's own tokens for filling in the middle, and leave suffix out"),
    ),
)


class TextCompletions(Invocation):
    """Prompts to ``InvokeEndpoint``, streamed by ``InvokeEndpointWithResponseStream``, with a signature."""

    name = TEXT_COMPLETIONS
    route = ROUTE
    streams = True

    def question(self, call: Mapping[str, Any]) -> Question:
        return Question(call["messages"], call.get("headers") or {}, call.get("client"))

    def body(self, content: Any, settings: Settings, *, stream: bool) -> dict[str, Any]:
        parameters = without_hint(settings.body)
        return text_completion_body(prompts_of(content), parameters, model_name=settings.model_name, stream=stream)

    def answer(self, response: httpx.Response, call: Call) -> TextCompletionResponse:
        return text_completion_answer(response.content, response.headers, model=call.model)

    def chunks(self, response: httpx.Response, call: Call) -> ChunkStream:
        return text_chunk_stream(response.headers, call.model)


text_completions = TextCompletions()
