"""Carries a prepared call out: sends it, reads its answer or opens its stream. What goes wrong is LiteLLM's exception.

The synchronous and the asynchronous version are twins over the same parts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from typing import Any

import httpx
from litellm import CustomStreamWrapper
from litellm.types.utils import ModelResponseStream

from litellm_sagemaker_openai.aws.credentials import CredentialsError
from litellm_sagemaker_openai.errors import connection_error, no_credentials, to_exception
from litellm_sagemaker_openai.formats.chunks import ChunkStream
from litellm_sagemaker_openai.litellm_seams import stream_wrapper
from litellm_sagemaker_openai.litellm_seams.callback_view import log_answer, log_stream
from litellm_sagemaker_openai.litellm_seams.exceptions import not_retried
from litellm_sagemaker_openai.litellm_seams.proxy_client import deployment_name, said_by_client
from litellm_sagemaker_openai.litellm_seams.timing import provider_time
from litellm_sagemaker_openai.monitoring.reasons import cause_of
from litellm_sagemaker_openai.monitoring.recorder import record
from litellm_sagemaker_openai.monitoring.table import RETRIES, STREAMS_CUT_OFF
from litellm_sagemaker_openai.operations.operation import Call
from litellm_sagemaker_openai.operator_log import operator_log, warn_seldom
from litellm_sagemaker_openai.refusals import Mistake
from litellm_sagemaker_openai.sending.cold_start import ColdStartError, ServerStopping
from litellm_sagemaker_openai.sending.retries import Tries
from litellm_sagemaker_openai.upstream_errors import (
    PROVIDER,
    AnswerError,
    FailureKind,
    UpstreamError,
    advised,
    for_the_log,
    read_error,
)


def complete(call: Call) -> Any:
    """The call's whole answer, as LiteLLM's response."""
    with _litellm_errors(call), provider_time(call.logging_obj):
        response = call.exchange.send()
    return _answer(call, response)


async def complete_async(call: Call) -> Any:
    """``complete`` for an event loop, which it never blocks."""
    with _litellm_errors(call), provider_time(call.logging_obj):
        response = await call.exchange.asend()
    if call.operation.reads_in_thread:
        return await asyncio.to_thread(_answer, call, response)
    return _answer(call, response)


def _answer(call: Call, response: httpx.Response) -> Any:
    with _litellm_errors(call, response):
        _accepted(call, response)
        log_answer(call.logging_obj, call.content, response.content)
        return call.operation.answer(response, call)


def open_stream(call: Call) -> Iterator[ModelResponseStream]:
    """A stream whose first chunk is there. What fails before it is tried again as often as the call says."""
    tries = Tries(call.retries, call.request.timeout.read)
    while True:
        try:
            with provider_time(call.logging_obj):
                with _litellm_errors(call):
                    response = _accepted(call, call.exchange.send())
                chunks = _chunks(call.answered(), response)
                first = next(chunks)
            break
        except Exception as error:
            time.sleep(tries.pause_after(error))
            record(RETRIES, 1, call.model_group, "provider")
    log_stream(call.logging_obj, call.content)
    return _OpenedStream([first], chunks)


class _OpenedStream(Iterator[ModelResponseStream]):
    """A stream whose first chunks were read already. Closing it closes the connection at once."""

    def __init__(self, first: list[ModelResponseStream], rest: Generator[ModelResponseStream, None, None]) -> None:
        self._first = first
        self._rest = rest

    def __next__(self) -> ModelResponseStream:
        return self._first.pop() if self._first else next(self._rest)

    def close(self) -> None:
        self._first.clear()
        self._rest.close()


async def open_stream_async(call: Call) -> _OpenedStreamAsync:
    """``open_stream`` for an event loop, which it never blocks."""
    tries = Tries(call.retries, call.request.timeout.read)
    while True:
        try:
            with provider_time(call.logging_obj):
                with _litellm_errors(call):
                    response = _accepted(call, await call.exchange.asend())
                chunks = _chunks_async(call.answered(), response)
                first = await anext(chunks)
            break
        except Exception as error:
            await asyncio.sleep(tries.pause_after(error))
            record(RETRIES, 1, call.model_group, "provider")
    log_stream(call.logging_obj, call.content)
    return _OpenedStreamAsync([first], chunks, dict(response.headers))


class _OpenedStreamAsync:
    """``_OpenedStream`` for an event loop, with the answer's headers."""

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


async def open_wrapped_stream(call: Call) -> CustomStreamWrapper:
    """A stream in LiteLLM's wrapper. What fails before its first chunk is raised here, where LiteLLM retries it."""
    stream = await open_stream_async(call)
    return stream_wrapper.wrapped(stream, model=call.model, logging_obj=call.logging_obj, headers=stream.headers)


async def stream_lazily(call: Call) -> AsyncIterator[ModelResponseStream]:
    """A stream that opens with the first read."""
    opened = await open_stream_async(call)
    del call  # see Call.answered
    async with aclosing(opened) as chunks:
        async for chunk in chunks:
            yield chunk


def _chunks(call: Call, response: httpx.Response) -> Generator[ModelResponseStream, None, None]:
    """The answer's chunks. The response is closed when they end, and when the caller leaves."""
    stream = call.operation.chunks(response, call)
    with closing(response), _litellm_errors(call, response, stream):
        for data in response.iter_bytes():
            yield from stream.feed(data)
        yield from stream.end()


async def _chunks_async(call: Call, response: httpx.Response) -> AsyncGenerator[ModelResponseStream, None]:
    """``_chunks`` for an event loop."""
    stream = call.operation.chunks(response, call)
    async with aclosing(response):
        with _litellm_errors(call, response, stream):
            async for data in response.aiter_bytes():
                for chunk in stream.feed(data):
                    yield chunk
            for chunk in stream.end():
                yield chunk


def _accepted(call: Call, response: httpx.Response) -> httpx.Response:
    """The response, where SageMaker and the container accepted the request; its exception otherwise."""
    if response.is_success:
        return response
    raise _exception(call, read_error(response.status_code, response.content), response)


@contextmanager
def _litellm_errors(
    call: Call, response: httpx.Response | None = None, stream: ChunkStream | None = None
) -> Iterator[None]:
    """What goes wrong inside, as LiteLLM's exceptions."""
    try:
        yield
    except AnswerError as error:
        _count_if_cut_off(call, stream, error)
        raise _exception(call, error.upstream, response, error.headers) from error
    except httpx.HTTPError as error:
        _count_if_cut_off(call, stream, error)
        raise connection_error(error, model=call.model, begun=stream is not None and stream.begun) from error
    except ColdStartError as error:
        failure = to_exception(UpstreamError(503, str(error), failure=FailureKind.NO_CAPACITY), model=call.model)
        if isinstance(error, ServerStopping):
            not_retried(failure)  # before each try, LiteLLM's Router waits for seconds
        raise failure from error
    except CredentialsError as error:
        _log(call, "credentials", repr(error.__cause__ or error))
        whose = Mistake.CALLERS
        if said_by_client(call.litellm_params) is not None:
            whose = Mistake.OPERATORS  # no client can give any
            if not error.is_temporary:
                warn_seldom(f"{deployment_name(call.litellm_params, call.model)} has no credentials", str(error))
        raise no_credentials(error, model=call.model, whose=whose) from error


def _count_if_cut_off(call: Call, stream: ChunkStream | None, error: Exception) -> None:
    if stream is not None and stream.begun:
        record(STREAMS_CUT_OFF, 1, call.model_group, cause_of(error))


def _exception(
    call: Call, upstream: UpstreamError, response: httpx.Response | None, headers: Mapping[str, str] | None = None
) -> Exception:
    headers = httpx.Headers(headers) if response is None else response.headers
    if upstream.operator_detail:
        _log(call, headers.get("x-amzn-requestid", "no request id"), upstream.operator_detail)
    if _refuses_deployment(upstream, call):
        said = advised(upstream, call.operation.route)
        warn_seldom(f"{PROVIDER}/{call.target} cannot be used as it is configured", said)
    return to_exception(upstream, model=call.model, headers=headers, url=call.request.url, route=call.operation.route)


def _refuses_deployment(upstream: UpstreamError, call: Call) -> bool:
    """Whether the operator has something to change. Under a wildcard, a proxy's client chose the endpoint."""
    if upstream.failure is not FailureKind.REFUSED or upstream.status not in (401, 403, 404):
        return False
    return upstream.status == 401 or "model" not in (said_by_client(call.litellm_params) or ())


def _log(call: Call, what: str, detail: str) -> None:
    """For the operator alone: account ids, console URLs and tracebacks, which the caller's exception leaves out."""
    operator_log.warning("%s/%s (%s): %s", PROVIDER, call.target, what, for_the_log(detail))
