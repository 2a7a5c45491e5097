"""Embeddings, on ``/invocations``: ``/openai/v1`` routes chat completions only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
from litellm import EmbeddingResponse

from litellm_sagemaker_openai.formats.embeddings import embedding_body, embedding_response
from litellm_sagemaker_openai.formats.invocation_headers import session_params
from litellm_sagemaker_openai.formats.prompt_cache_key import without_hint
from litellm_sagemaker_openai.formats.whole_answer import parsed
from litellm_sagemaker_openai.litellm_seams.embedding_parameters import passthrough_of
from litellm_sagemaker_openai.operations.operation import INVOCATIONS_ROUTE, Call, Invocation, Question
from litellm_sagemaker_openai.options import EMBEDDINGS
from litellm_sagemaker_openai.settings import Settings
from litellm_sagemaker_openai.upstream_errors import IN_A_PROXY

# A missing field in the words of TEI's deserializer, and JumpStart's field.
_OTHER_FORMAT = re.compile(r"missing field `inputs`|\btext_inputs\b")

ROUTE = replace(
    INVOCATIONS_ROUTE,
    hints=((_OTHER_FORMAT, f"its format is another: set aws_sagemaker_embedding_format{IN_A_PROXY}"),),
)


class Embeddings(Invocation):
    """Texts, or token ids, to ``InvokeEndpoint``, with a signature."""

    name = EMBEDDINGS
    route = ROUTE
    reads_in_thread = True  # thousands of vectors take a while to read, and so do their texts' tokens to count

    def question(self, call: Mapping[str, Any]) -> Question:
        passthrough = passthrough_of(call.get("optional_params") or {})
        return Question(call["input"], passthrough.headers, passthrough.client)

    def body(self, content: Any, settings: Settings, *, stream: bool) -> dict[str, Any]:
        parameters = without_hint(settings.body)
        return embedding_body(content, parameters, format=settings.embedding_format, model_name=settings.model_name)

    def answer(self, response: httpx.Response, call: Call) -> EmbeddingResponse:
        embedded = embedding_response(
            parsed(response.content),
            inputs=call.content,
            parameters=call.settings.body,
            model=call.model,
            model_response=call.model_response,
            headers=dict(response.headers),
        )
        embedded._hidden_params.update(session_params(response.headers))
        return embedded


embeddings = Embeddings()
