"""One request to SageMaker, synchronous and asynchronous: resolve, sign, send, hand back the answer's head or body.

What to do next is decided once, by a generator that does no I/O (``_steps``); ``send`` and ``asend`` carry its steps
out. LiteLLM's shared HTTP clients do the sending, so its TLS, proxy and pool settings hold. What is for this machine
may be plain ``http``, so it goes through no proxy.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from litellm_sagemaker_openai.aws.hosts import is_this_machine
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.litellm_seams import aiohttp_post, httpx_post
from litellm_sagemaker_openai.litellm_seams.aiohttp_post import poster
from litellm_sagemaker_openai.litellm_seams.http_clients import async_client, keep_for, own_client, sync_client
from litellm_sagemaker_openai.litellm_seams.httpx_post import transport_for
from litellm_sagemaker_openai.litellm_seams.pool_limit import full_client, limit_client, warn_of_waiting
from litellm_sagemaker_openai.litellm_seams.server_shutdown import server_is_stopping
from litellm_sagemaker_openai.sending.cold_start import (
    NOTICE_WITHIN,
    ColdStartPolicy,
    ColdStartTimeout,
    ServerStopping,
    Wait,
)
from litellm_sagemaker_openai.sending.request import Request
from litellm_sagemaker_openai.upstream_errors import FailureKind, read_error

_CREDENTIALS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for as many seconds."""

    seconds: float


# Wait for credentials, send with these authorizing headers, or pause; each is answered with what came of it.
SendSteps: TypeAlias = Generator[Future[FrozenCredentials] | Mapping[str, str] | Pause, Any, httpx.Response]


def send(request: Request) -> httpx.Response:
    """Send, and give the answer: read to its end, but for a stream that was accepted, which is left open.

    Raises:
        httpx.HTTPError: no answer, or it broke off; no credentials in time.
        CredentialsError: the credentials could not be resolved.
        ColdStartError: the target had no capacity for longer than the request's cold-start policy allows, or until the
            server in this process began to stop.
    """
    client, closes_client = _sync_client(request)
    with closing(_steps(request)) as steps:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as finished:
                return _held(request, finished.value, closes_client)
            if isinstance(step, Future):
                seconds = _credentials_seconds(request)
                try:
                    outcome = step.result(seconds)
                except concurrent.futures.TimeoutError as error:
                    raise _credentials_timeout(seconds) from error
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
                outcome = None
            else:
                outcome = _send_once(client, request, step)


async def asend(request: Request) -> httpx.Response:
    """``send`` for an event loop, which it never blocks."""
    client, closes_client = _async_client(request)
    with closing(_steps(request)) as steps:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as finished:
                return _held(request, finished.value, closes_client)
            if isinstance(step, Future):
                seconds = _credentials_seconds(request)
                try:
                    # Shielded: the resolution is shared, and a caller that leaves must not cancel it for the others.
                    outcome = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(step)), seconds)
                except asyncio.TimeoutError as error:
                    raise _credentials_timeout(seconds) from error
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await _asend_once(client, request, step)


def _credentials_seconds(request: Request) -> float:
    return min(_CREDENTIALS_SECONDS, request.timeout.read or _CREDENTIALS_SECONDS)


def _credentials_timeout(seconds: float) -> httpx.TimeoutException:
    return httpx.ConnectTimeout(f"AWS credentials were not resolved within {seconds:g} seconds")


def _steps(request: Request, clock: Callable[[], float] = time.monotonic) -> SendSteps:
    """What is to be done, one step after the other, until there is an answer to hand back."""
    if request.cold_start is None:
        return (yield from _tries(request))
    with Wait(request.cold_start, clock) as wait:
        return (yield from _waiting(request, request.cold_start, wait, clock))


def _waiting(request: Request, cold_start: ColdStartPolicy, wait: Wait, clock: Callable[[], float]) -> SendSteps:
    while True:
        left = wait.left
        if wait.note_cold() and server_is_stopping():
            raise ServerStopping
        pause = cold_start.gate.wait(clock())
        if pause == 0:
            wait.note_request()
            try:
                response = yield from _tries(request)
            except BaseException:  # GeneratorExit too: the caller left, or was not answered
                cold_start.gate.release()
                raise
            if not _has_no_capacity(response):
                cold_start.gate.mark_warm(clock())
                return response
            cold_start.gate.mark_cold(clock(), cold_start.interval)
        elif left <= 0:
            raise ColdStartTimeout(cold_start.seconds)
        else:
            yield Pause(min(pause, left, NOTICE_WITHIN))


def _tries(request: Request) -> SendSteps:
    """One request; two where AWS refuses its signature and there turn out to be other credentials."""
    tries = request.signer.authorizations(request)
    answer: Any = None
    response: httpx.Response | None = None
    while True:
        try:
            step = tries.send(answer)
        except StopIteration:
            assert response is not None  # there is always a first try
            return response
        answer = yield step
        if not isinstance(step, Future):
            response = answer
            answer = answer.status_code


def _has_no_capacity(response: httpx.Response) -> bool:
    return (
        not response.is_success
        and read_error(response.status_code, response.content).failure is FailureKind.NO_CAPACITY
    )


def _send_once(client: httpx.Client, request: Request, authorization: Mapping[str, str]) -> httpx.Response:
    headers = {**request.headers, **authorization}
    transport = None
    if request.client is None:
        _limit(client, request)
        transport = transport_for(client, request.url)
    if transport is not None:
        response = httpx_post.post(transport, request.url, headers=headers, body=request.body, timeout=request.timeout)
    else:
        built = _build(client, request, headers)
        try:
            response = client.send(built, stream=True, follow_redirects=False, auth=None)
        finally:
            _remove(built, authorization)
    try:
        if not _left_open(request, response):
            response.read()
    except BaseException:
        response.close()
        raise
    return response


async def _asend_once(client: httpx.AsyncClient, request: Request, authorization: Mapping[str, str]) -> httpx.Response:
    headers = {**request.headers, **authorization}
    if request.client is None:
        posting = poster(client, request.url, request.max_connections)
        if posting is not None:
            return await aiohttp_post.post(
                posting, request.url, headers=headers, body=request.body, timeout=request.timeout, stream=request.stream
            )
        _limit(client, request)
    built = _build(client, request, headers)
    try:
        response = await client.send(built, stream=True, follow_redirects=False, auth=None)
    finally:
        _remove(built, authorization)
    try:
        if not _left_open(request, response):
            await response.aread()
    except BaseException:
        await response.aclose()
        raise
    return response


def _limit(client: httpx.Client | httpx.AsyncClient, request: Request) -> None:
    """Give the client its limit; tell the operator where the request has to wait for it."""
    limit_client(client, request.max_connections)
    limit = full_client(client)
    if limit is not None:
        warn_of_waiting(httpx.URL(request.url).host, limit)


def _build(client: httpx.Client | httpx.AsyncClient, request: Request, headers: Mapping[str, str]) -> httpx.Request:
    return client.build_request("POST", request.url, headers=headers, content=request.body, timeout=request.timeout)


def _remove(sent: httpx.Request, authorization: Mapping[str, str]) -> None:
    """Take out of a request that was sent what must not be found in an exception or a response later."""
    for name in authorization:
        sent.headers.pop(name, None)


def _left_open(request: Request, response: httpx.Response) -> bool:
    return request.stream and response.is_success


def _held(request: Request, response: httpx.Response, closes_client: Any) -> httpx.Response:
    """The response, with what closes its client: not before it is read."""
    if _left_open(request, response):
        keep_for(response, closes_client)
    return response


def _sync_client(request: Request) -> tuple[httpx.Client, Any]:
    if request.client is not None:
        return request.client, None
    if is_this_machine(request.url):
        return own_client(httpx.Client, request.ssl_verify, request.max_connections, trust_env=False), None
    return sync_client(request.ssl_verify, request.max_connections)


def _async_client(request: Request) -> tuple[httpx.AsyncClient, Any]:
    if request.client is not None:
        return request.client, None
    client, closes_client = async_client(request.ssl_verify, request.max_connections)
    if is_this_machine(request.url) and poster(client, request.url, request.max_connections) is None:
        return own_client(httpx.AsyncClient, request.ssl_verify, request.max_connections, trust_env=False), None
    return client, closes_client
