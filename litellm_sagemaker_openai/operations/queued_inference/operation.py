"""Chat completions through SageMaker's queue (asynchronous inference), on ``/async-invocations``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from litellm import ModelResponse

from litellm_sagemaker_openai.formats.chat_request import build_body, build_headers
from litellm_sagemaker_openai.formats.chunks import ChunkStream, chunk_stream
from litellm_sagemaker_openai.formats.invocation_headers import invocation_headers
from litellm_sagemaker_openai.formats.whole_answer import chat_answer
from litellm_sagemaker_openai.operations.operation import Call, Operation, Question
from litellm_sagemaker_openai.operations.queued_inference.inference import QueuedInference, plan, queue_address
from litellm_sagemaker_openai.operations.queued_inference.request import MAX_INPUT_BYTES, hidden_params
from litellm_sagemaker_openai.options import QUEUED_CHAT
from litellm_sagemaker_openai.sending.request import Request, Signer
from litellm_sagemaker_openai.settings import Settings
from litellm_sagemaker_openai.target import Target
from litellm_sagemaker_openai.upstream_errors import Route

ROUTE = Route(
    "the role needs sagemaker:InvokeEndpointAsync on the endpoint's ARN, and the clock of this machine must be right",
    "the container seems not to serve /invocations",
)


class QueuedChat(Operation):
    """Messages to ``InvokeEndpointAsync``, and the answer from S3. A stream is a whole answer in pieces."""

    name = QUEUED_CHAT
    route = ROUTE
    max_body_bytes = MAX_INPUT_BYTES
    is_repeatable = False  # an inference that was queued is not queued again by this provider

    def question(self, call: Mapping[str, Any]) -> Question:
        return Question(call["messages"], call.get("headers") or {}, call.get("client"))

    def address(self, settings: Settings, target: Target, *, stream: bool) -> tuple[str, Signer]:
        return queue_address(settings, target)

    def body(self, content: Any, settings: Settings, *, stream: bool) -> dict[str, Any]:
        return build_body(content, settings.body, model_name=settings.model_name)

    def headers(self, given: Mapping[str, Any], settings: Settings, target: Target, *, stream: bool) -> dict[str, str]:
        return build_headers(given, options=invocation_headers(settings.invocation, target.component))

    def exchange(self, request: Request, settings: Settings) -> QueuedInference:
        return plan(request, settings)

    def answer(self, response: httpx.Response, call: Call) -> ModelResponse:
        return chat_answer(
            response.content,
            response.headers,
            model=call.model,
            model_response=call.model_response,
            hidden=hidden_params(response.headers),
        )

    def chunks(self, response: httpx.Response, call: Call) -> ChunkStream:
        return chunk_stream(response.headers, call.model, hidden_params(response.headers))


queued_chat = QueuedChat()
