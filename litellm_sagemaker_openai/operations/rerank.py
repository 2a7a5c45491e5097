"""Rerank, on ``/invocations``: documents in the order of their relevance to a query."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
from litellm.types.rerank import RerankResponse

from litellm_sagemaker_openai.formats.invocation_headers import session_params
from litellm_sagemaker_openai.formats.prompt_cache_key import without_hint
from litellm_sagemaker_openai.formats.rerank import checked_question, rerank_body, rerank_response
from litellm_sagemaker_openai.formats.whole_answer import parsed
from litellm_sagemaker_openai.operations.operation import INVOCATIONS_ROUTE, Call, Invocation, Question
from litellm_sagemaker_openai.options import RERANK
from litellm_sagemaker_openai.settings import Settings
from litellm_sagemaker_openai.upstream_errors import IN_A_PROXY

# A missing field in the words of TEI's deserializer, and what vLLM says of a body of no form that its model takes.
_OTHER_FORMAT = re.compile(r"missing field `texts`")
_NO_RERANKER = re.compile(r"Cannot find suitable handler for request|model is not a re-ranker model")

ROUTE = replace(
    INVOCATIONS_ROUTE,
    hints=(
        (_OTHER_FORMAT, f"its format is another: set aws_sagemaker_rerank_format{IN_A_PROXY}"),
        (
            _NO_RERANKER,
            "its model seems not to be a reranker, or it takes another format: see "
            f"aws_sagemaker_rerank_format{IN_A_PROXY}",
        ),
    ),
)


class Rerank(Invocation):
    """A query and documents to ``InvokeEndpoint``, with a signature."""

    name = RERANK
    route = ROUTE

    def question(self, call: Mapping[str, Any]) -> Question:
        return Question(checked_question(call), call.get("headers") or {}, call.get("client"))

    def body(self, content: Any, settings: Settings, *, stream: bool) -> dict[str, Any]:
        parameters = without_hint(settings.body)
        return rerank_body(content, parameters, format=settings.rerank_format, model_name=settings.model_name)

    def answer(self, response: httpx.Response, call: Call) -> RerankResponse:
        ranked = rerank_response(parsed(response.content), question=call.content, headers=dict(response.headers))
        ranked._hidden_params.update(session_params(response.headers))
        return ranked


rerank = Rerank()
