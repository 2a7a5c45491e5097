"""Chat completions, on ``/openai/v1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from litellm import ModelResponse

from litellm_sagemaker_openai.formats.chat_request import build_body, build_headers
from litellm_sagemaker_openai.formats.chunks import ChunkStream, chunk_stream
from litellm_sagemaker_openai.formats.invocation_headers import invocation_headers, session_params
from litellm_sagemaker_openai.formats.whole_answer import chat_answer
from litellm_sagemaker_openai.operations.operation import Call, Operation, Question
from litellm_sagemaker_openai.options import CHAT
from litellm_sagemaker_openai.sending.address import chat_address
from litellm_sagemaker_openai.sending.request import Signer
from litellm_sagemaker_openai.settings import Settings
from litellm_sagemaker_openai.target import Target
from litellm_sagemaker_openai.upstream_errors import IN_A_PROXY, Route

ROUTE = Route(
    "the role needs sagemaker:CallWithBearerToken on '*' and sagemaker:InvokeEndpoint on the endpoint's ARN "
    "(and on the inference component's), and the clock of this machine must be right",
    "the container seems to serve only /invocations and not /v1/chat/completions: set "
    f"aws_sagemaker_chat_route='invocations'{IN_A_PROXY}",
)


class Chat(Operation):
    """Messages to ``/openai/v1/chat/completions``, with a bearer token."""

    name = CHAT
    route = ROUTE
    streams = True

    def question(self, call: Mapping[str, Any]) -> Question:
        return Question(call["messages"], call.get("headers") or {}, call.get("client"))

    def address(self, settings: Settings, target: Target, *, stream: bool) -> tuple[str, Signer]:
        return chat_address(settings, target)

    def body(self, content: Any, settings: Settings, *, stream: bool) -> dict[str, Any]:
        return build_body(content, settings.body, model_name=settings.model_name, stream=stream)

    def headers(self, given: Mapping[str, Any], settings: Settings, target: Target, *, stream: bool) -> dict[str, str]:
        # Only where they are asked for on this route, and then as they are: nobody documents what AWS does with them.
        return build_headers(given, stream=stream, options=invocation_headers(settings.invocation, None))

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


chat = Chat()
