"""LiteLLM's custom handler: LiteLLM's call → a request to SageMaker → LiteLLM's answer.

The one room that knows LiteLLM's handler signature. Nothing imports it but the package's front door.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import litellm
from litellm import CustomLLM, CustomStreamWrapper, EmbeddingResponse, ModelResponse
from litellm._logging import verbose_logger
from litellm.litellm_core_utils.core_helpers import process_response_headers
from litellm.types.utils import ModelResponseStream
from litellm.utils import custom_llm_setup

from litellm_sagemaker_openai.access import Asked
from litellm_sagemaker_openai.aws.credentials import CredentialsError
from litellm_sagemaker_openai.errors import (
    ASYNC_INFERENCE,
    CHAT,
    EMBEDDINGS,
    PROVIDER,
    AnswerError,
    Refusal,
    Route,
    Verdict,
    bad_request,
    connection_error,
    for_the_log,
    no_credentials,
    read_refusal,
    to_exception,
)
from litellm_sagemaker_openai.formats.chat_request import MAX_BODY_BYTES, build_body, build_headers, encode_body
from litellm_sagemaker_openai.formats.chunks import ChunkStream, parsed, whole_response
from litellm_sagemaker_openai.formats.embeddings import embedding_body, embedding_response
from litellm_sagemaker_openai.formats.events import decoder_for
from litellm_sagemaker_openai.litellm_seams import callback, response_cache, stream_opening, stream_wrapper
from litellm_sagemaker_openai.litellm_seams.client_certificate import with_client_certificate
from litellm_sagemaker_openai.litellm_seams.embedding_parameters import CARRIED, carried_by, unpacked
from litellm_sagemaker_openai.litellm_seams.proxy_client import allowed
from litellm_sagemaker_openai.litellm_seams.stream_opening import MARK, is_marked, marked_retries, unmarked
from litellm_sagemaker_openai.litellm_seams.stream_wrapper import StreamWrapper
from litellm_sagemaker_openai.litellm_seams.timing import provider_time
from litellm_sagemaker_openai.operations.queued_inference.inference import (
    AsyncInference,
    ainvoke,
    invoke,
    plan,
    queue_address,
)
from litellm_sagemaker_openai.operations.queued_inference.request import MAX_INPUT_BYTES, hidden_params
from litellm_sagemaker_openai.sending.address import chat_address, invocations_address
from litellm_sagemaker_openai.sending.cold_start import ColdStartError, ServerStopping, patience_for
from litellm_sagemaker_openai.sending.retries import Tries, stream_retries
from litellm_sagemaker_openai.sending.transport import (
    Request,
    Signer,
    as_timeout,
    asend,
    checked_client,
    send,
)
from litellm_sagemaker_openai.settings import SECRETS, Settings, sort_settings, without_secrets
from litellm_sagemaker_openai.target import Target, parse_target

_NOT_SERVED = "sagemaker_openai/ serves chat completions and embeddings, and no images"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of LiteLLM's, understood and ready to be sent."""

    model: str
    target: Target
    request: Request
    retries: int
    model_response: Any = field(repr=False)
    logging_obj: Any = field(repr=False)
    messages: Any = field(repr=False)
    route: Route = CHAT
    inference: AsyncInference | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """An embedding call of LiteLLM's, ready to be sent; ``call.messages`` are its inputs."""

    call: Call
    parameters: Mapping[str, Any] = field(repr=False)


class SageMakerOpenAI(CustomLLM):
    """The provider ``sagemaker_openai/<endpoint>[/<inference component>]``.

    It keeps no state of a call's. LiteLLM calls its methods with keywords; the README's table has the parameters.
    Each method raises LiteLLM's exceptions.
    """

    def completion(self, *_: Any, **call: Any) -> ModelResponse:
        """A whole answer."""
        response_cache.install(call["logging_obj"])
        prepared = _prepare(call)
        with _litellm_errors(prepared), provider_time(prepared.logging_obj):
            response = _send(prepared)
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
        response_cache.install(call["logging_obj"])
        return _begun(_prepare(call, stream=True))

    def astreaming(self, *_: Any, **call: Any) -> AsyncIterator[ModelResponseStream]:  # type: ignore[override]
        """An answer as it comes, without blocking the event loop. The connection opens with the first read.

        LiteLLM asks this way where ``stream_opening`` keeps out of a call.
        """
        _install()  # a proxy config, or an application, may have replaced LiteLLM's list of callbacks
        return _alate(_prepare(call, stream=True, is_async=True))

    def embedding(self, *_: Any, **call: Any) -> EmbeddingResponse:
        """The embeddings of a text or of several."""
        response_cache.install(call["logging_obj"])
        prepared = _prepare_embedding(call)
        with _litellm_errors(prepared.call), provider_time(prepared.call.logging_obj):
            response = send(prepared.call.request)
        return _embedded(prepared, response)

    def aembedding(self, *_: Any, **call: Any) -> Coroutine[Any, Any, EmbeddingResponse]:
        """The embeddings of a text or of several, without blocking the event loop. Called as ``acompletion`` is."""
        _install()
        prepared = _prepare_embedding(call, is_async=True)
        return _Unstarted(lambda: _aembed(prepared))

    def image_generation(self, *_: Any, **call: Any) -> Any:
        """Refused, as the other operations are that LiteLLM asks of a custom provider: they would come back as 500, and
        be tried again."""
        raise bad_request(ValueError(_NOT_SERVED), model=call["model"])

    aimage_generation = image_edit = aimage_edit = image_generation


def _install() -> None:
    stream_opening.install()
    callback.install()
    response_cache.install()
    stream_wrapper.install()


sagemaker_openai = SageMakerOpenAI()
_install()  # here, for the proxy, which imports the handler and calls nothing else


def register() -> None:
    """Add the provider to LiteLLM, for ``litellm.completion(model="sagemaker_openai/…")``. Idempotent."""
    if not any(item["provider"] == PROVIDER for item in litellm.custom_provider_map):
        litellm.custom_provider_map = [
            *litellm.custom_provider_map,
            {"provider": PROVIDER, "custom_handler": sagemaker_openai},
        ]
    _install()
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
    logging_obj, marked = call["logging_obj"], is_marked(call.get("optional_params") or {})
    _show_as_native(logging_obj, marked=marked)
    try:
        parameters = unpacked(call.get("optional_params") or {})
        access = allowed(call.get("litellm_params") or {}, Asked(model, parameters, call.get("headers") or {}))
        settings = _settings(call, access.parameters)
        target = parse_target(model, settings.model_id)
        address = queue_address if settings.asynchronous else chat_address
        url, signer = address(settings, target)
        ask_for_stream = stream and not settings.fake_stream and settings.asynchronous is None
        body = build_body(call["messages"], settings.body, model_name=settings.model_name, stream=ask_for_stream)
        headers = build_headers(access.headers, stream=ask_for_stream)
        client = checked_client(call.get("client"), is_async=is_async)
        request = _request(call, settings, url, signer, headers, body, client, stream=ask_for_stream)
        inference = plan(request, settings) if settings.asynchronous else None
    except ValueError as error:
        raise bad_request(error, model=model) from error
    request, route = (inference.request, ASYNC_INFERENCE) if inference else (request, CHAT)
    _log_request(logging_obj, call["messages"], body, request)
    # An inference that was queued is not queued again by this provider.
    retries = _retries(settings, call, late=is_async and not marked) if stream and not inference else 0
    return Call(
        model, target, request, retries, call["model_response"], logging_obj, call["messages"], route, inference
    )


def _prepare_embedding(call: Mapping[str, Any], *, is_async: bool = False) -> EmbeddingCall:
    """``_prepare`` for an embedding call."""
    model, inputs, logging_obj = call["model"], call["input"], call["logging_obj"]
    carried = carried_by(call.get("optional_params") or {})
    _show_as_native(logging_obj, marked=False)
    logging_obj.model_call_details = _Details(logging_obj.model_call_details)
    try:
        parameters = unpacked(call.get("optional_params") or {})
        access = allowed(call.get("litellm_params") or {}, Asked(model, parameters, carried.headers, embeddings=True))
        settings = _settings(call, access.parameters)
        if settings.asynchronous:
            raise ValueError("aws_sagemaker_async is for chat completions; leave it out for embeddings")
        target = parse_target(model, settings.model_id)
        url, signer = invocations_address(settings, target)
        body = embedding_body(inputs, settings.body, format=settings.embedding_format, model_name=settings.model_name)
        headers = build_headers(access.headers, component=target.component)
        client = checked_client(carried.client, is_async=is_async)
        request = _request(call, settings, url, signer, headers, body, client)
    except ValueError as error:
        raise bad_request(error, model=model) from error
    _log_request(logging_obj, inputs, body, request)
    prepared = Call(model, target, request, 0, call["model_response"], logging_obj, inputs, EMBEDDINGS)
    return EmbeddingCall(prepared, settings.body)


def _settings(call: Mapping[str, Any], parameters: Mapping[str, Any]) -> Settings:
    return sort_settings(
        parameters,
        call.get("litellm_params") or {},
        api_key=call.get("api_key"),
        api_base=call.get("api_base"),
    )


def _request(
    call: Mapping[str, Any],
    settings: Settings,
    url: str,
    signer: Signer,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    client: Any,
    *,
    stream: bool = False,
) -> Request:
    return Request(
        url=url,
        signer=signer,
        headers=headers,
        body=encode_body(body, max_bytes=MAX_INPUT_BYTES if settings.asynchronous else MAX_BODY_BYTES),
        stream=stream,
        timeout=as_timeout(call.get("timeout")),
        ssl_verify=with_client_certificate(settings.ssl_verify),
        patience=patience_for(url, settings.cold_start_timeout),
        client=client,
    )


def _log_request(logging_obj: Any, asked: Any, body: Mapping[str, Any], request: Request) -> None:
    shown = {"complete_input_dict": body, "api_base": request.url, "headers": dict(request.headers)}
    logging_obj.pre_call(input=asked, api_key="", additional_args=shown)


def _retries(settings: Settings, call: Mapping[str, Any], *, late: bool) -> int:
    asked = marked_retries(call.get("optional_params") or {})
    asked = settings.max_retries if asked is None else asked
    return stream_retries(asked, call.get("litellm_params") or {}, late=late)


def _show_as_native(logging_obj: Any, *, marked: bool) -> None:
    """Let callbacks see what a native provider's call shows them: no credential, and ``stream`` where it was asked.

    LiteLLM hands callbacks ``model_call_details``, which repeats the call's keywords three times. It is the logging
    object's own; what it holds of the caller's is replaced, not changed.
    """
    details = logging_obj.model_call_details
    for name in ("optional_params", "litellm_params"):
        details[name] = without_secrets(unpacked(details.get(name) or {}))
    details.pop(CARRIED, None)
    if marked:
        details["optional_params"] = unmarked(details["optional_params"])
        details.pop(MARK, None)
        details["stream"] = True
    for name in SECRETS & details.keys():
        details[name] = without_secrets({name: details[name]})[name]


class _Details(dict[str, Any]):
    """What callbacks are shown, where no secret can be put: LiteLLM itself writes the ``api_key`` of an embedding call
    that was refused into it (``embedding`` in main.py, 1.106.2)."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, "***" if name in SECRETS and value else value)


def _send(call: Call) -> httpx.Response:
    return invoke(call.inference) if call.inference else send(call.request)


async def _asend(call: Call) -> httpx.Response:
    return await (ainvoke(call.inference) if call.inference else asend(call.request))


async def _acomplete(call: Call) -> ModelResponse:
    with _litellm_errors(call), provider_time(call.logging_obj):
        response = await _asend(call)
    return _whole(call, response)


def _whole(call: Call, response: httpx.Response) -> ModelResponse:
    with _litellm_errors(call, response):
        _accepted(call, response)
        _log_answer(call, response)
        answer, headers = parsed(response.content), dict(response.headers)
        whole = whole_response(answer, model=call.model, model_response=call.model_response, headers=headers)
    whole._hidden_params.update(hidden_params(response.headers))
    whole.model = call.model  # as a stream's chunks: by this name LiteLLM finds a price
    return whole


def _log_answer(call: Call, response: httpx.Response) -> None:
    text = response.content.decode(errors="replace")  # JSON is UTF-8; httpx would look for what else it may be
    call.logging_obj.post_call(original_response=text, input=call.messages, api_key="")


async def _aembed(prepared: EmbeddingCall) -> EmbeddingResponse:
    with _litellm_errors(prepared.call), provider_time(prepared.call.logging_obj):
        response = await asend(prepared.call.request)
    # In a thread: thousands of vectors take a while to read, and so do their texts' tokens to count.
    return await asyncio.to_thread(_embedded, prepared, response)


def _embedded(prepared: EmbeddingCall, response: httpx.Response) -> EmbeddingResponse:
    call = prepared.call
    with _litellm_errors(call, response):
        _accepted(call, response)
        _log_answer(call, response)
        return embedding_response(
            parsed(response.content),
            inputs=call.messages,
            parameters=prepared.parameters,
            model=call.model,
            model_response=call.model_response,
            headers=dict(response.headers),
        )


async def _aopened(call: Call) -> CustomStreamWrapper:
    """A stream that has begun: what fails before its first chunk is raised here, where LiteLLM retries it."""
    begun = await _abegun(call)
    return StreamWrapper(
        completion_stream=begun,
        model=call.model,
        custom_llm_provider=PROVIDER,
        logging_obj=call.logging_obj,
        _response_headers=begun.headers,
    )


def _begun(call: Call) -> Iterator[ModelResponseStream]:
    """A stream whose first chunk is there. What fails before it is tried again as often as the call says."""
    tries = Tries(call.retries, call.request.timeout.read)
    while True:
        try:
            with provider_time(call.logging_obj):
                with _litellm_errors(call):
                    response = _accepted(call, _send(call))
                chunks = _chunks(call, response)
                first = next(chunks)
            break
        except Exception as error:
            time.sleep(tries.pause_after(error))
    _log_stream(call)
    return _Begun([first], chunks)


class _Begun(Iterator[ModelResponseStream]):
    """A stream whose first chunks were read already. Closing it closes the connection at once."""

    def __init__(self, first: list[ModelResponseStream], rest: Generator[ModelResponseStream, None, None]) -> None:
        self._first = first
        self._rest = rest

    def __next__(self) -> ModelResponseStream:
        return self._first.pop() if self._first else next(self._rest)

    def close(self) -> None:
        self._first.clear()
        self._rest.close()


async def _abegun(call: Call) -> _AsyncBegun:
    """``_begun`` for an event loop."""
    tries = Tries(call.retries, call.request.timeout.read)
    while True:
        try:
            with provider_time(call.logging_obj):
                with _litellm_errors(call):
                    response = _accepted(call, await _asend(call))
                chunks = _achunks(call, response)
                first = await anext(chunks)
            break
        except Exception as error:
            await asyncio.sleep(tries.pause_after(error))
    _log_stream(call)
    return _AsyncBegun([first], chunks, dict(response.headers))


class _AsyncBegun:
    """``_Begun`` for an event loop."""

    def __init__(
        self,
        first: list[ModelResponseStream],
        rest: AsyncGenerator[ModelResponseStream, None],
        headers: dict[str, str],
    ) -> None:
        self.headers = headers
        self._first = first
        self._rest = rest

    def __aiter__(self) -> AsyncIterator[ModelResponseStream]:
        return self

    async def __anext__(self) -> ModelResponseStream:
        return self._first.pop() if self._first else await anext(self._rest)

    async def aclose(self) -> None:
        self._first.clear()
        await self._rest.aclose()


async def _alate(call: Call) -> AsyncIterator[ModelResponseStream]:
    async with aclosing(await _abegun(call)) as chunks:
        async for chunk in chunks:
            yield chunk


def _log_stream(call: Call) -> None:
    # LiteLLM's own words for it (llms/openai_like/chat/handler.py, 1.106.2).
    call.logging_obj.post_call(
        original_response="first stream response received", input=call.messages, api_key="", additional_args={}
    )


def _chunks(call: Call, response: httpx.Response) -> Generator[ModelResponseStream, None, None]:
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
    # LiteLLM 1.110.2 finds the price of what `stream_chunk_builder` builds by its first chunk's provider.
    hidden = {"custom_llm_provider": PROVIDER, **hidden_params(response.headers)}
    return ChunkStream(decoder, call.model, process_response_headers(response.headers), hidden)


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
        raise _exception(call, error.refusal, response, error.headers) from error
    except httpx.HTTPError as error:
        raise connection_error(error, model=call.model, begun=stream is not None and stream.begun) from error
    except ColdStartError as error:
        failure = to_exception(Refusal(503, str(error), verdict=Verdict.NO_CAPACITY), model=call.model)
        if isinstance(error, ServerStopping):
            failure.num_retries = 0  # type: ignore[attr-defined]  # before each, LiteLLM's Router waits for seconds
        raise failure from error
    except CredentialsError as error:
        _log(call, "credentials", repr(error.__cause__ or error))
        raise no_credentials(error, model=call.model) from error


def _exception(
    call: Call, refusal: Refusal, response: httpx.Response | None, headers: Mapping[str, str] | None = None
) -> Exception:
    headers = httpx.Headers(headers) if response is None else response.headers
    if refusal.operator_detail:
        _log(call, headers.get("x-amzn-requestid", "no request id"), refusal.operator_detail)
    return to_exception(refusal, model=call.model, headers=headers, url=call.request.url, route=call.route)


def _log(call: Call, what: str, detail: str) -> None:
    """For the operator alone: account ids, console URLs and tracebacks, which the caller's exception leaves out."""
    verbose_logger.warning("%s/%s (%s): %s", PROVIDER, call.target, what, for_the_log(detail))
