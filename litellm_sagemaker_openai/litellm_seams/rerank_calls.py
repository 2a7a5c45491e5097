"""Has LiteLLM carry out a rerank call of this provider's, which it refuses of every custom provider.

What LiteLLM does: ``rerank`` and ``arerank`` look a provider up in an enumeration of LiteLLM's own, and raise "… is not
a valid LlmProviders". Before that, ``arerank``, which the Router and the proxy's ``/v1/rerank`` use, asks its callbacks
about the call, once the deployment is chosen. And LiteLLM's provider for vLLM's own servers, ``hosted_vllm``, sends by
the ``client`` that a call gives it. So a call of this provider's becomes one of ``hosted_vllm``'s, with a client that
sends nothing by itself but has this provider ask the endpoint, with the query and the documents as the callbacks that
came later have left them. LiteLLM's logging, its callbacks and the proxy's keys are then as for its own providers, and
name ``hosted_vllm``. So does the text of the endpoint's refusals, in LiteLLM's own functions; their classes and headers
are right.
Seen on: LiteLLM 1.103.0 to 1.110.2.
Without it: ``litellm_sagemaker_openai.rerank`` asks without LiteLLM's logging, and LiteLLM's own ``arerank`` refuses.
Needed until: tests/litellm_seams/test_litellm_alone.py::test_refuses_to_rerank fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

import httpx
import litellm
from litellm.types.rerank import RerankResponse
from litellm.types.utils import CallTypes

from litellm_sagemaker_openai.litellm_seams import known_parameters, lookup
from litellm_sagemaker_openai.litellm_seams.stream_opening import goes_to_this_provider

_HANDLERS = "litellm.llms.custom_httpx.http_handler"
_AS = "hosted_vllm/"
# What this provider reads itself, and LiteLLM must not.
_NOT_FOR_LITELLM = frozenset(
    {"api_base", "api_key", "base_url", "client", "custom_llm_provider", "headers", "litellm_credential_name"}
)
_QUESTION = ("query", "documents", "model")
_SHOWN = ("query", "top_n")  # and the documents, which may be a tuple


class PreparedRerank(Protocol):
    """A rerank call, ready to be sent, with what callbacks changed of it. What goes wrong is LiteLLM's exception."""

    model: str
    url: str

    def send(self, logging_obj: Any, changed: Mapping[str, Any]) -> RerankResponse: ...

    async def asend(self, logging_obj: Any, changed: Mapping[str, Any]) -> RerankResponse: ...


def rerank(prepared: PreparedRerank, asked: Mapping[str, Any]) -> RerankResponse:
    """Carry a call out by LiteLLM's ``rerank``.

    Args:
        prepared: the call.
        asked: its keywords, as the caller gave them.
    """
    client = _client("HTTPHandler", _sync_client, prepared, asked)
    if client is None:
        return prepared.send(None, {})
    logged: Any = None
    try:
        logged = litellm.rerank(**_as_hosted_vllms(prepared, asked, client))
    except Exception:
        if client.error is None:
            raise
    return _outcome(client, logged)


async def arerank(prepared: PreparedRerank, asked: Mapping[str, Any]) -> RerankResponse:
    """``rerank`` for an event loop."""
    client = _client("AsyncHTTPHandler", _async_client, prepared, asked)
    if client is None:
        return await prepared.asend(None, {})
    logged: Any = None
    try:
        logged = await litellm.arerank(**_as_hosted_vllms(prepared, asked, client))
    except Exception:
        if client.error is None:
            raise
    return _outcome(client, logged)


def is_ours(kwargs: Mapping[str, Any], call_type: CallTypes | None) -> bool:
    """Whether a call that LiteLLM asks a callback about is one to this provider, and can be carried out."""
    if call_type is not CallTypes.arerank or not all(name in kwargs for name in _QUESTION):
        return False
    return lookup.in_module(_HANDLERS, "AsyncHTTPHandler") is not None and goes_to_this_provider(kwargs)


def diverted(prepared: PreparedRerank, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Such a call's keywords, for LiteLLM to go on with."""
    return _as_hosted_vllms(prepared, asked, _client("AsyncHTTPHandler", _async_client, prepared, asked))


def with_credentials(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a call, and those that its ``litellm_credential_name`` stands for, which LiteLLM adds later."""
    name = asked.get("litellm_credential_name")
    values: Mapping[str, Any] = next(
        (
            each.credential_values
            for each in lookup.attribute(litellm, "credential_list") or ()
            if name and each.credential_name == name
        ),
        {},
    )
    return {**values, **asked}


def answered(kwargs: Mapping[str, Any], response: Any) -> RerankResponse | None:
    """This provider's answer to a call that was diverted, with what LiteLLM noted on its own; None for other calls."""
    found = getattr(kwargs.get("client"), "response", None)
    return _with_litellms(found, response) if isinstance(found, RerankResponse) else None


def _as_hosted_vllms(prepared: PreparedRerank, asked: Mapping[str, Any], client: Any) -> dict[str, Any]:
    own = known_parameters.litellms_own()
    kept = {
        name: value
        for name, value in asked.items()
        if (name in own or name.startswith("litellm_") or name in ("timeout", "user")) and name not in _NOT_FOR_LITELLM
    }
    # For its log. What is malformed was refused before.
    shown = {name: asked[name] for name in ("query", "top_n", "return_documents") if asked.get(name) is not None}
    return {
        **kept,
        **shown,
        "documents": list(asked["documents"]),
        "model": f"{_AS}{prepared.model}",
        "api_base": prepared.url,
        "api_key": "none",  # or LiteLLM would look for vLLM's
        "client": client,
        # Its key would be one of hosted_vllm's, and tell neither component nor credentials apart.
        "cache": {"no-cache": True, "no-store": True},
    }


def _outcome(client: Any, logged: Any) -> RerankResponse:
    if client.error is not None:  # raised here, and not where LiteLLM's own is handled, which it has caused
        raise client.error
    return _with_litellms(client.response, logged)


def _with_litellms(response: Any, logged: Any) -> RerankResponse:
    if response is not logged:
        response._hidden_params = {**logged._hidden_params, **response._hidden_params}
    made: RerankResponse = response
    return made


def _client(name: str, make: Callable[[Any], Any], prepared: PreparedRerank, asked: Mapping[str, Any]) -> Any:
    base = lookup.in_module(_HANDLERS, name)
    return None if base is None else make(base)(prepared, asked)


@cache
def _sync_client(base: Any) -> Any:
    class Client(_Answering, base):  # type: ignore[misc]
        def post(self, *_: Any, data: Any = None, logging_obj: Any = None, **__: Any) -> httpx.Response:
            try:
                self.response = self.prepared.send(logging_obj, self.changed(data))
            except Exception as error:
                self.error = error
                raise _Failed(error) from error
            return _as_vllms(self.response)

    return Client


@cache
def _async_client(base: Any) -> Any:
    class Client(_Answering, base):  # type: ignore[misc]
        async def post(self, *_: Any, data: Any = None, logging_obj: Any = None, **__: Any) -> httpx.Response:
            try:
                self.response = await self.prepared.asend(logging_obj, self.changed(data))
            except Exception as error:
                self.error = error
                raise _Failed(error) from error
            return _as_vllms(self.response)

    return Client


class _Answering:
    """A client of LiteLLM's that has no connection: LiteLLM's own checks its class."""

    def __init__(self, prepared: PreparedRerank, asked: Mapping[str, Any]) -> None:  # not LiteLLM's, which opens a pool
        self.prepared = prepared
        self._question = {**{name: asked.get(name) for name in _SHOWN}, "documents": list(asked["documents"])}
        self.response: RerankResponse | None = None
        self.error: Exception | None = None

    def changed(self, data: Any) -> dict[str, Any]:
        """What a callback that ran later put in the place of the question's parts, such as texts without names.

        Args:
            data: what LiteLLM would send to a vLLM server.
        """
        sent = json.loads(data) if isinstance(data, str) else self._question
        return {name: sent.get(name) for name, value in self._question.items() if sent.get(name) != value}

    def __del__(self) -> None:
        pass  # not LiteLLM's, which closes them


class _Failed(Exception):
    """What went wrong, as LiteLLM reads it off a client's exception."""

    def __init__(self, error: Any) -> None:
        self.text = re.sub(r"\Alitellm\.\w+: ", "", str(error))
        self.status_code = getattr(error, "status_code", 500)
        self.headers = getattr(getattr(error, "response", None), "headers", None)
        super().__init__(self.text)


def _as_vllms(response: RerankResponse) -> httpx.Response:
    """The answer as a vLLM server would give it, for LiteLLM to read."""
    tokens = ((response.meta or {}).get("tokens") or {}).get("input_tokens") or 0
    answer = {"id": response.id, "results": response.results, "usage": {"total_tokens": tokens}}
    return httpx.Response(200, json=answer)
