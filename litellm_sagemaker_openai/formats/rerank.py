"""Rerank: a query and documents → the body for the container's ``/invocations``; its answer → LiteLLM's. Pure.

What is asked for follows ``aws_sagemaker_rerank_format``; of the answers both forms are understood, whatever was asked:
``{"results": [{"index", "relevance_score"}]}`` and ``[{"index", "score"}]``. The documents in LiteLLM's response are
those that were asked about, so no container is asked to send them back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from litellm.types.rerank import RerankResponse

from litellm_sagemaker_openai.formats.whole_answer import served_model
from litellm_sagemaker_openai.litellm_seams.answers import named_headers
from litellm_sagemaker_openai.refusals import Refusal
from litellm_sagemaker_openai.upstream_errors import MalformedAnswer, StreamedError, error_in, quoted

# Each format's name → the field of its documents. vLLM's /invocations takes Cohere's request, as its /rerank does
# (vLLM's entrypoints/sagemaker/api_router.py: by the body's form; entrypoints/pooling/scoring/protocol.py), the
# /invocations of Text Embeddings Inference that of its own /rerank (its router/src/http/server.rs).
FORMATS: Mapping[str, str] = {"cohere": "documents", "tei": "texts"}
# LiteLLM's parameters that no container takes.
_UNKNOWN = {
    "rank_fields": "put each document's fields into one text",
    "max_chunks_per_doc": "max_tokens_per_doc shortens documents where the container can",
}
_DOCUMENT_FORM = "a string, {'text': a string} or, for vLLM's multimodal models, {'content': a list}"


@dataclass(frozen=True, slots=True)
class RerankQuestion:
    """What a rerank call asks, as LiteLLM's parameters of these names say it, once ``checked_question`` took it."""

    query: str
    documents: tuple[str | Mapping[str, Any], ...]
    top_n: int | None = None
    return_documents: bool = True

    @property
    def most(self) -> int:
        """How many results are wanted."""
        return min(self.top_n or len(self.documents), len(self.documents))


def checked_question(asked: Mapping[str, Any]) -> RerankQuestion:
    """The question that LiteLLM's parameters ask.

    Raises:
        Refusal: one of them cannot be sent. The message says what to write instead.
    """
    query, documents, top_n = asked.get("query"), asked.get("documents"), asked.get("top_n")
    if not isinstance(query, str):
        raise Refusal(f"query must be a string, not {type(query).__name__}", "query")
    if not isinstance(documents, (list, tuple)) or not documents:
        kind = "an empty list" if isinstance(documents, (list, tuple)) else type(documents).__name__
        raise Refusal(f"documents must be a list of at least one document, not {kind}", "documents")
    if top_n is not None and (not isinstance(top_n, int) or isinstance(top_n, bool) or top_n < 1):
        raise Refusal(f"top_n must be a whole number, 1 or more, not {top_n!r}; leave it out for all", "top_n")
    returned = asked.get("return_documents")
    if not isinstance(returned, bool | None):
        raise Refusal(f"return_documents must be true or false, not {returned!r}", "return_documents")
    for name, advice in _UNKNOWN.items():
        if asked.get(name) is not None:
            raise Refusal(f"{name} is not for containers on SageMaker, so leave it out; {advice}", name)
    plain = tuple(_document(each, index) for index, each in enumerate(documents))
    return RerankQuestion(query, plain, top_n, returned is not False)


def rerank_body(
    question: RerankQuestion, parameters: Mapping[str, Any], *, format: str = "cohere", model_name: str = ""
) -> dict[str, Any]:
    """The request's body.

    Args:
        question: what to rank, and by what.
        parameters: the container's, ``max_tokens_per_doc`` among them.
        format: a key of ``FORMATS``.
        model_name: the body's ``model``; the other formats have none.

    Raises:
        Refusal: the format has no such documents, or no such parameter.
    """
    asked = {"query": question.query, FORMATS[format]: list(question.documents)}
    if format == "cohere":
        most = {} if question.top_n is None else {"top_n": question.top_n}
        return {"model": model_name, **asked, **most, **parameters}
    if not all(isinstance(each, str) for each in question.documents):
        raise Refusal("documents must be texts for aws_sagemaker_rerank_format='tei'", "documents")
    if parameters.get("max_tokens_per_doc") is not None:
        raise Refusal(
            "max_tokens_per_doc is not for aws_sagemaker_rerank_format='tei': Text Embeddings Inference shortens to "
            "the model's own length, with extra_body={'truncate': True}",
            "max_tokens_per_doc",
        )
    return {**asked, **parameters}


def rerank_response(answer: Any, *, question: RerankQuestion, headers: Mapping[str, str]) -> RerankResponse:
    """LiteLLM's response for a container's answer: the most relevant document first, and ``top_n`` of them at most.

    ``meta`` has the container's token counts, where it gives them. The container's name for the model is in
    ``_hidden_params``, as for whole answers.

    Raises:
        StreamedError: the answer is an error, although its status was 200.
        MalformedAnswer: it holds no scores, fewer than were asked for, or those of other documents.
    """
    said = answer if isinstance(answer, Mapping) else {}
    upstream = error_in(said)
    if upstream is not None:
        raise StreamedError(upstream)
    scores = _scores(said.get("results") if said else answer, question)
    ranked = sorted(scores.items(), key=lambda each: -each[1])[: question.most]
    results: list[Any] = [
        {"index": index, "relevance_score": score, **_shown(question, index)} for index, score in ranked
    ]
    response = RerankResponse(
        id=said["id"] if isinstance(said.get("id"), str) else None,
        results=results,
        meta=_meta(said.get("usage")),
    )
    response._hidden_params.update({**served_model(said), "additional_headers": named_headers(headers)})
    return response


def _document(document: Any, index: int) -> str | Mapping[str, Any]:
    if isinstance(document, str):
        return document
    if isinstance(document, Mapping) and len(document) == 1:
        [(name, value)] = document.items()
        if name == "text" and isinstance(value, str):
            return value
        if name == "content" and isinstance(value, list):
            return document
    said = (
        f"one with {', '.join(map(str, document))[:100]}" if isinstance(document, Mapping) else type(document).__name__
    )
    raise Refusal(f"a document must be {_DOCUMENT_FORM}; document {index} is {said}", "documents")


def _scores(found: Any, question: RerankQuestion) -> dict[int, float]:
    """The documents' indices → their scores."""
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise MalformedAnswer(f"no list of scores: {quoted(found)}")
    scores: dict[int, float] = {}
    for each in found:
        index, score = each.get("index"), each.get("relevance_score", each.get("score"))
        if type(index) is not int or not 0 <= index < len(question.documents) or index in scores:
            raise MalformedAnswer(f"a score whose index is {quoted(index)}, of {len(question.documents)} documents")
        if not isinstance(score, (int, float)) or not _is_finite(score):
            raise MalformedAnswer(f"a score that is not a number: {quoted(score)}")
        scores[index] = float(score)
    if len(scores) < question.most:
        raise MalformedAnswer(f"{len(scores)} scores, where {question.most} were asked for")
    return scores


def _is_finite(score: float) -> bool:
    try:
        return math.isfinite(score)
    except OverflowError:
        return False


def _shown(question: RerankQuestion, index: int) -> Any:
    document = question.documents[index]
    return {"document": {"text": document}} if question.return_documents and isinstance(document, str) else {}


def _meta(usage: Any) -> Any:
    """Tokens as LiteLLM's provider for vLLM has them (llms/hosted_vllm/rerank/transformation.py, 1.106.2).

    LiteLLM multiplies ``input_cost_per_query`` by the search units (``calculate_rerank_cost``): a call is one.
    """
    tokens = usage.get("total_tokens") if isinstance(usage, Mapping) else None
    if type(tokens) is not int:
        return {"billed_units": {"search_units": 1}}
    return {"billed_units": {"search_units": 1, "total_tokens": tokens}, "tokens": {"input_tokens": tokens}}
