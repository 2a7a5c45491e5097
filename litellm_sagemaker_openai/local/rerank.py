"""The built-in container's reranker: how many words a document shares with the query. Pure.

A body with ``texts`` is Text Embeddings Inference's and is answered in its form, any other in vLLM's.
"""

from __future__ import annotations

from typing import Any

from litellm_sagemaker_openai.local.echo import EchoConfig, tokenize
from litellm_sagemaker_openai.local.echo_checks import Body, check_embedding_length, check_rerank_body


def is_rerank(body: Body) -> bool:
    """Whether a body of ``/invocations`` asks for documents to be ranked."""
    return "query" in body and ("documents" in body or "texts" in body) and "messages" not in body


def rerank(body: Body, config: EchoConfig | None = None, *, rerank_id: str = "score-echo") -> Any:
    """The answer to a rerank request.

    Raises:
        ContainerRefusal: the request is refused.
    """
    config = config or EchoConfig()
    check_rerank_body(body, config.served_name)
    is_tei = "texts" in body
    texts = body["texts"] if is_tei else body["documents"]
    query = tokenize(body["query"])
    documents = [tokenize(text) for text in texts]
    for document in documents:
        check_embedding_length(len(query) + len(document), config.context_length)
    scores = [_score(query, document) for document in documents]
    ranked = sorted(range(len(texts)), key=lambda index: -scores[index])
    if is_tei:
        shown = {index: {"text": texts[index]} if body.get("return_text") else {} for index in ranked}
        return [{"index": index, **shown[index], "score": scores[index]} for index in ranked]
    tokens = sum(len(query) + len(document) for document in documents)
    most = top_n if (top_n := body.get("top_n", 0)) > 0 else len(texts)
    return {
        "id": rerank_id,
        "model": config.served_name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "results": [
            {
                "index": index,
                "document": {"text": texts[index], "multi_modal": None},
                "relevance_score": scores[index],
            }
            for index in ranked[:most]
        ],
    }


def _score(query: list[str], document: list[str]) -> float:
    """The share of their different words that both have."""
    asked, found = ({token.strip().lower() for token in tokens} - {""} for tokens in (query, document))
    return len(asked & found) / (len(asked | found) or 1)
