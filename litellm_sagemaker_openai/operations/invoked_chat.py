"""Chat completions by ``InvokeEndpoint``, on ``/invocations``: what reaches adapters, and containers without another
route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from litellm import ModelResponse

from litellm_sagemaker_openai.formats.chat_request import build_body
from litellm_sagemaker_openai.formats.chunks import ChunkStream, chunk_stream
from litellm_sagemaker_openai.formats.invocation_headers import session_params
from litellm_sagemaker_openai.formats.prompt_cache_key import without_hint
from litellm_sagemaker_openai.formats.whole_answer import chat_answer
from litellm_sagemaker_openai.operations.operation import STREAMED_INVOCATIONS_ROUTE, Call, Invocation, Question
from litellm_sagemaker_openai.options import INVOKED_CHAT
from litellm_sagemaker_openai.settings import Settings


class InvokedChat(Invocation):
    """Messages to ``InvokeEndpoint``, or ``InvokeEndpointWithResponseStream``, with a signature."""

    name = INVOKED_CHAT
    route = STREAMED_INVOCATIONS_ROUTE
    streams = True

    def question(self, call: Mapping[str, Any]) -> Question:
        return Question(call["messages"], call.get("headers") or {}, call.get("client"))

    def body(self, content: Any, settings: Settings, *, stream: bool) -> dict[str, Any]:
        return build_body(content, without_hint(settings.body), model_name=settings.model_name, stream=stream)

    def answer(self, response: httpx.Response, call: Call) -> ModelResponse:
        headers = dict(response.headers)  # httpx reads all of them for each that is asked for
        return chat_answer(
            response.content,
            headers,
            model=call.model,
            model_response=call.model_response,
            hidden=session_params(headers),
        )

    def chunks(self, response: httpx.Response, call: Call) -> ChunkStream:
        return chunk_stream(response.headers, call.model, session_params(response.headers))


invoked_chat = InvokedChat()
