"""Rerank: functions of our own in LiteLLM's types, whose ``rerank`` refuses custom providers; and its ``arerank``."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from litellm.types.rerank import RerankResponse

from litellm_sagemaker_openai import execution
from litellm_sagemaker_openai.litellm_seams import rerank_calls
from litellm_sagemaker_openai.litellm_seams.callback_view import hide_secrets
from litellm_sagemaker_openai.operations.operation import Call, Operation
from litellm_sagemaker_openai.operations.rerank import rerank as operation
from litellm_sagemaker_openai.preparation import prepare
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_QUESTION = ("query", "documents", "top_n", "return_documents", "rank_fields", "max_chunks_per_doc")
# What LiteLLM would do with these itself before it asks a handler.
_LITELLMS = ("additional_drop_params", "drop_params", "user")
_HANDLERS = ("model", "api_base", "api_key", "client", "extra_headers", "headers", "timeout")


def rerank(
    model: str,
    query: str,
    documents: list[str | dict[str, Any]] | list[str],
    *,
    top_n: int | None = None,
    rank_fields: list[str] | None = None,
    return_documents: bool | None = True,
    max_tokens_per_doc: int | None = None,
    timeout: float | None = None,
    **options: Any,
) -> RerankResponse:
    """Documents in the order of their relevance to a query, the most relevant first.

    The names and defaults are those of ``litellm.rerank``, and so are LiteLLM's logging, callbacks and prices.

    Args:
        model: ``sagemaker_openai/<endpoint>[/<inference component>]``, or an ARN; the prefix may be left out.
        query: what they are to be relevant to.
        documents: texts, or ``{"text": …}``; for vLLM's multimodal models also ``{"content": […]}``.
        top_n: how many results there are at most. Default: one for each document.
        rank_fields: refused where it is given: no container takes it.
        return_documents: whether the results have the documents' texts. Default: True.
        max_tokens_per_doc: for the container, which shortens documents to so many tokens. Default: its own.
        timeout: for each read and write, in seconds. Default: 600.
        options: this provider's options, LiteLLM's AWS parameters (``aws_region_name``, ``aws_role_name``, …),
            ``extra_headers``, ``extra_body``, ``metadata`` and others of LiteLLM's; all else goes to the container.

    Raises:
        litellm's exceptions: as for a completion; ``BadRequestError`` for what cannot be sent.
    """
    asked = _asked(locals())
    return rerank_calls.rerank(_prepared(asked), asked)


async def arerank(
    model: str,
    query: str,
    documents: list[str | dict[str, Any]] | list[str],
    *,
    top_n: int | None = None,
    rank_fields: list[str] | None = None,
    return_documents: bool | None = True,
    max_tokens_per_doc: int | None = None,
    timeout: float | None = None,
    **options: Any,
) -> RerankResponse:
    """``rerank`` for an event loop, which it never blocks."""
    asked = _asked(locals())
    # In a thread: the AWS configuration may be read.
    return await rerank_calls.arerank(await asyncio.to_thread(_prepared, asked, is_async=True), asked)


async def prepare_litellms(kwargs: Mapping[str, Any]) -> rerank_calls.PreparedRerank:
    """A call of LiteLLM's own ``arerank``, from its keywords, made ready.

    Raises:
        litellm.BadRequestError: it cannot be sent.
    """
    hide_secrets(kwargs.get("litellm_logging_obj"))
    return await asyncio.to_thread(_prepared, kwargs, is_async=True)


class _Prepared:
    def __init__(self, asked: Mapping[str, Any], *, is_async: bool) -> None:
        self._asked, self._is_async = asked, is_async
        handlers_call = _handlers_call(rerank_calls.with_credentials(asked))
        self._call: Call = prepare(_rerank, handlers_call, is_async=is_async)
        self.model, self.url = self._call.model, self._call.request.url

    def send(self, logging_obj: Any, changed: Mapping[str, Any]) -> RerankResponse:
        call = self._with(changed)
        response: RerankResponse = execution.complete(replace(call, logging_obj=logging_obj))
        return response

    async def asend(self, logging_obj: Any, changed: Mapping[str, Any]) -> RerankResponse:
        call = await asyncio.to_thread(self._with, changed) if changed else self._call
        response: RerankResponse = await execution.complete_async(replace(call, logging_obj=logging_obj))
        return response

    def _with(self, changed: Mapping[str, Any]) -> Call:
        return _Prepared({**self._asked, **changed}, is_async=self._is_async)._call if changed else self._call


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a call of ours, as LiteLLM's own function has them."""
    return {name: value for name, value in {**given, **given["options"]}.items() if name != "options"}


def _prepared(asked: Mapping[str, Any], *, is_async: bool = False) -> _Prepared:
    return _Prepared(asked, is_async=is_async)


def _handlers_call(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords by which LiteLLM would call a handler's method, if its handlers had one for rerank."""
    dropped = asked.get("additional_drop_params")
    left_out = (*_QUESTION, *_HANDLERS, *_LITELLMS, *(dropped if isinstance(dropped, list) else ()))
    parameters = {
        name: value
        for name, value in asked.items()
        # The Router puts Python's own function `input` beside the query (Router.arerank, 1.103.0 to 1.110.2).
        if name not in left_out and value is not None and value is not builtins.input
    }
    return {
        **{name: asked.get(name) for name in _QUESTION},
        **{name: asked.get(name) for name in _HANDLERS},
        "model": str(asked["model"]).removeprefix(f"{PROVIDER}/"),
        "headers": {**(asked.get("headers") or {}), **(asked.get("extra_headers") or {})},
        "optional_params": parameters,
        "litellm_params": asked,
        "logging_obj": None,  # LiteLLM's comes with the request's turn
        "model_response": None,
    }


def _rerank(_: Mapping[str, Any], __: Mapping[str, Any]) -> Operation:
    return operation
