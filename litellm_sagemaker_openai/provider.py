"""LiteLLM's custom handler: LiteLLM's call → a request to SageMaker → LiteLLM's answer.

The one room that knows LiteLLM's handler signature. Nothing imports it but the package's front door.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import httpx
import litellm
from litellm import CustomLLM, CustomStreamWrapper, ModelResponse
from litellm._logging import verbose_logger
from litellm.litellm_core_utils.core_helpers import process_response_headers
from litellm.types.utils import ModelResponseStream
from litellm.utils import custom_llm_setup

from litellm_sagemaker_openai.chunks import ChunkStream, whole_response
from litellm_sagemaker_openai.cold_start import ColdStartTimeout, patience_for
from litellm_sagemaker_openai.credentials import CredentialsError, profile_region, runtime_url
from litellm_sagemaker_openai.errors import (
    PROVIDER,
    AnswerError,
    MalformedAnswer,
    Refusal,
    Verdict,
    bad_request,
    connection_error,
    no_credentials,
    read_refusal,
    to_exception,
)
from litellm_sagemaker_openai.identity import source_for
from litellm_sagemaker_openai.request import build_body, build_headers, encode_body
from litellm_sagemaker_openai.settings import SECRETS, Settings, choose_region, sort_settings, without_secrets
from litellm_sagemaker_openai.sse import StreamFormatError, decoder_for
from litellm_sagemaker_openai.stream_opening import MARK, install, is_marked, unmarked
from litellm_sagemaker_openai.target import Target, chat_url, parse_target
from litellm_sagemaker_openai.transport import (
    GivenToken,
    Request,
    Signer,
    TokenSigner,
    as_timeout,
    asend,
    checked_client,
    send,
)

_MOST_LOGGED = 4000  # characters of an answer's detail in the operator's log


@dataclass(frozen=True, slots=True)
class Call:
    """One call of LiteLLM's, understood and ready to be sent."""

    model: str
    target: Target
    request: Request
    model_response: ModelResponse = field(repr=False)
    logging_obj: Any = field(repr=False)
    messages: Any = field(repr=False)


class SageMakerOpenAI(CustomLLM):
    """The provider ``sagemaker_openai/<endpoint>[/<inference component>]``.

    It keeps no state of a call's. LiteLLM calls its methods with keywords; the README's table has the parameters.
    Each method raises LiteLLM's exceptions.
    """

    def completion(self, *_: Any, **call: Any) -> ModelResponse:
        """A whole answer."""
        prepared = _prepare(call)
        with _litellm_errors(prepared):
            response = send(prepared.request)
        return _whole(prepared, response)

    def acompletion(self, *_: Any, **call: Any) -> Coroutine[Any, Any, ModelResponse | CustomStreamWrapper]:
        """A whole answer, or a stream where ``stream_opening`` asks for one, without blocking the event loop.

        Not a coroutine function: LiteLLM calls it in a worker thread and awaits what it returns in the event loop,
        so that what may read files, such as the runtime's URL, happens in the thread.
        """
        if is_marked(call.get("optional_params") or {}):
            prepared = _prepare(call, stream=True, is_async=True)
            return _Unstarted(lambda: _aopened(prepared))
        whole = _prepare(call, is_async=True)
        return _Unstarted(lambda: _acomplete(whole))

    def streaming(self, *_: Any, **call: Any) -> Iterator[ModelResponseStream]:  # type: ignore[override]
        """An answer as it comes. What fails before the first chunk is raised before this returns."""
        prepared = _prepare(call, stream=True)
        with _litellm_errors(prepared):
            response = _accepted(prepared, send(prepared.request))
        _log_stream(prepared)
        chunks = _chunks(prepared, response)
        return chain([*islice(chunks, 1)], chunks)

    def astreaming(self, *_: Any, **call: Any) -> AsyncIterator[ModelResponseStream]:  # type: ignore[override]
        """An answer as it comes, without blocking the event loop. The connection opens with the first read.

        LiteLLM asks this way where ``stream_opening`` keeps out of a call.
        """
        install()  # a proxy config, or an application, may have replaced LiteLLM's list of callbacks
        return _alate(_prepare(call, stream=True, is_async=True))


sagemaker_openai = SageMakerOpenAI()
install()  # here, for the proxy, which imports the handler and calls nothing else


def register() -> None:
    """Add the provider to LiteLLM, for ``litellm.completion(model="sagemaker_openai/…")``. Idempotent."""
    if not any(item["provider"] == PROVIDER for item in litellm.custom_provider_map):
        litellm.custom_provider_map = [
            *litellm.custom_provider_map,
            {"provider": PROVIDER, "custom_handler": sagemaker_openai},
        ]
    install()
    custom_llm_setup()  # type: ignore[no-untyped-call]


class _Unstarted(Coroutine[Any, Any, Any]):
    """A coroutine that is made when it is first awaited.

    LiteLLM drops what ``acompletion`` returned where the caller left meanwhile, and Python would warn that a coroutine
    "was never awaited". ``asyncio.iscoroutine``, by which LiteLLM tells that it is to be awaited, knows this one too.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._make = make
        self._made: Coroutine[Any, Any, Any] | None = None

    def _started(self) -> Coroutine[Any, Any, Any]:
        self._made = self._made or self._make()
        return self._made

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._started().__await__()

    def send(self, value: Any) -> Any:
        return self._started().send(value)

    def throw(self, *error: Any) -> Any:
        return self._started().throw(*error)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


def _prepare(call: Mapping[str, Any], *, stream: bool = False, is_async: bool = False) -> Call:
    """Understand a call. Nothing is sent, and nothing of the caller's is changed."""
    model: str = call["model"]
    litellm_params = call.get("litellm_params") or {}
    try:
        settings = sort_settings(
            call.get("optional_params") or {},
            litellm_params,
            api_key=call.get("api_key"),
            api_base=call.get("api_base"),
        )
        target = parse_target(model, settings.model_id)
        url, signer = _address(settings, target)
        ask_for_stream = stream and not settings.fake_stream
        body = build_body(call["messages"], settings.body, model_name=settings.model_name, stream=ask_for_stream)
        request = Request(
            url=url,
            signer=signer,
            headers=build_headers(call.get("headers") or {}, stream=ask_for_stream),
            body=encode_body(body),
            stream=ask_for_stream,
            timeout=as_timeout(call.get("timeout")),
            ssl_verify=settings.ssl_verify,
            patience=patience_for(url, settings.cold_start_timeout),
            client=checked_client(call.get("client"), is_async=is_async),
        )
    except ValueError as error:
        raise bad_request(error, model=model) from error
    logging_obj = call["logging_obj"]
    _show_as_native(logging_obj, marked=is_marked(call.get("optional_params") or {}))
    logging_obj.pre_call(
        input=call["messages"],
        api_key="",
        additional_args={"complete_input_dict": body, "api_base": url, "headers": dict(request.headers)},
    )
    return Call(model, target, request, call["model_response"], logging_obj, call["messages"])


def _show_as_native(logging_obj: Any, *, marked: bool) -> None:
    """Let callbacks see what a native provider's call shows them: no credential, and ``stream`` where it was asked.

    LiteLLM hands callbacks ``model_call_details``, which repeats the call's keywords three times. It is the logging
    object's own; what it holds of the caller's is replaced, not changed.
    """
    details = logging_obj.model_call_details
    for name in ("optional_params", "litellm_params"):
        details[name] = without_secrets(details.get(name) or {})
    if marked:
        details["optional_params"] = unmarked(details["optional_params"])
        details.pop(MARK, None)
        details["stream"] = True
    for name in SECRETS & details.keys():
        details[name] = without_secrets({name: details[name]})[name]


def _address(settings: Settings, target: Target) -> tuple[str, Signer]:
    """Where the call goes, and who signs it."""
    if settings.api_key and settings.base_url:
        return chat_url(settings.base_url, target), GivenToken(settings.api_key)
    region = choose_region(settings, target, os.environ, profile_region)
    base_url = settings.base_url or runtime_url(region, settings.identity.aws_profile_name)
    url = chat_url(base_url, target, region)
    if settings.api_key:
        return url, GivenToken(settings.api_key)
    return url, TokenSigner(source_for(settings.identity, region), region, settings.token_expiry)


async def _acomplete(call: Call) -> ModelResponse:
    with _litellm_errors(call):
        response = await asend(call.request)
    return _whole(call, response)


def _whole(call: Call, response: httpx.Response) -> ModelResponse:
    with _litellm_errors(call, response):
        _accepted(call, response)
        call.logging_obj.post_call(original_response=response.text, input=call.messages, api_key="")
        answer, headers = _parsed(response), dict(response.headers)
        return whole_response(answer, model=call.model, model_response=call.model_response, headers=headers)


async def _aopened(call: Call) -> CustomStreamWrapper:
    """A stream that has begun: what fails before its first chunk is raised here, where LiteLLM retries it."""
    with _litellm_errors(call):
        response = _accepted(call, await asend(call.request))
    _log_stream(call)
    chunks = _achunks(call, response)
    return CustomStreamWrapper(
        completion_stream=_Begun([await anext(chunks)], chunks),
        model=call.model,
        custom_llm_provider=PROVIDER,
        logging_obj=call.logging_obj,
        _response_headers=dict(response.headers),
    )


class _Begun:
    """An asynchronous stream whose first chunks were read already. Closing it closes the connection at once."""

    def __init__(self, first: list[ModelResponseStream], rest: AsyncGenerator[ModelResponseStream, None]) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> AsyncIterator[ModelResponseStream]:
        return self

    async def __anext__(self) -> ModelResponseStream:
        return self._first.pop() if self._first else await anext(self._rest)

    async def aclose(self) -> None:
        await self._rest.aclose()


async def _alate(call: Call) -> AsyncIterator[ModelResponseStream]:
    with _litellm_errors(call):
        response = _accepted(call, await asend(call.request))
    _log_stream(call)
    async with aclosing(_achunks(call, response)) as chunks:
        async for chunk in chunks:
            yield chunk


def _log_stream(call: Call) -> None:
    # LiteLLM's own words for it (llms/openai_like/chat/handler.py, 1.106.2).
    call.logging_obj.post_call(
        original_response="first stream response received", input=call.messages, api_key="", additional_args={}
    )


def _chunks(call: Call, response: httpx.Response) -> Iterator[ModelResponseStream]:
    """The answer's chunks. The response is closed when they end, and when the caller leaves."""
    stream = _chunk_stream(call, response)
    with closing(response), _litellm_errors(call, response, stream):
        for data in response.iter_bytes():
            yield from stream.feed(data)
        yield from stream.end()


async def _achunks(call: Call, response: httpx.Response) -> AsyncGenerator[ModelResponseStream, None]:
    """``_chunks`` for an event loop."""
    stream = _chunk_stream(call, response)
    async with aclosing(response):
        with _litellm_errors(call, response, stream):
            async for data in response.aiter_bytes():
                for chunk in stream.feed(data):
                    yield chunk
            for chunk in stream.end():
                yield chunk


def _chunk_stream(call: Call, response: httpx.Response) -> ChunkStream:
    decoder = decoder_for(response.headers.get("content-type", ""))
    return ChunkStream(decoder, call.model, process_response_headers(response.headers))


def _parsed(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError) as error:
        shown = response.content[:200].decode(errors="replace") or "an empty body"
        raise MalformedAnswer(f"what is not JSON: {shown}") from error


def _accepted(call: Call, response: httpx.Response) -> httpx.Response:
    """The response, where SageMaker and the container accepted the request; its exception otherwise."""
    if response.is_success:
        return response
    raise _exception(call, read_refusal(response.status_code, response.content), response)


@contextmanager
def _litellm_errors(
    call: Call, response: httpx.Response | None = None, stream: ChunkStream | None = None
) -> Iterator[None]:
    """What goes wrong inside, as LiteLLM's exceptions."""
    try:
        yield
    except AnswerError as error:
        raise _exception(call, error.refusal, response) from error
    except StreamFormatError as error:
        raise _exception(call, Refusal(502, str(error), verdict=Verdict.BROKEN), response) from error
    except httpx.HTTPError as error:
        raise connection_error(error, model=call.model, begun=stream is not None and stream.begun) from error
    except ColdStartTimeout as error:
        raise to_exception(Refusal(503, str(error), verdict=Verdict.NO_CAPACITY), model=call.model) from error
    except CredentialsError as error:
        _log(call, "credentials", repr(error.__cause__ or error))
        raise no_credentials(error, model=call.model) from error


def _exception(call: Call, refusal: Refusal, response: httpx.Response | None) -> Exception:
    headers = response.headers if response is not None else httpx.Headers()
    if refusal.operator_detail:
        _log(call, headers.get("x-amzn-requestid", "no request id"), refusal.operator_detail)
    return to_exception(refusal, model=call.model, headers=headers, url=call.request.url)


def _log(call: Call, what: str, detail: str) -> None:
    """For the operator alone: account ids, console URLs and tracebacks, which the caller's exception leaves out."""
    verbose_logger.warning("%s/%s (%s): %.*s", PROVIDER, call.target, what, _MOST_LOGGED, detail)
