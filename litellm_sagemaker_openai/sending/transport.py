"""One request to SageMaker, synchronous and asynchronous: resolve, sign, send, hand back the answer's head or body.

What to do next is decided once, by a generator that does no I/O (``_steps``); ``send`` and ``asend`` carry its steps
out. LiteLLM's shared HTTP clients do the sending, so its TLS, proxy and pool settings hold. What is for this machine
may be plain ``http``, so it goes through no proxy.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ctypes
import os
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import httpx
import litellm
from litellm.llms.custom_httpx.http_handler import (
    AsyncHTTPHandler,
    HTTPHandler,
    blocked_cookie_jar,
    get_async_httpx_client,
    get_httpx_client,
    get_ssl_configuration,
)

from litellm_sagemaker_openai.aws.auth import Authorizations, authorizations, bearer
from litellm_sagemaker_openai.aws.credentials import CredentialSource
from litellm_sagemaker_openai.aws.hosts import is_this_machine, takes_environment_proxy
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials, signed_headers
from litellm_sagemaker_openai.errors import PROVIDER, Verdict, read_refusal
from litellm_sagemaker_openai.litellm_seams.aiohttp_post import aiohttp_transport, post
from litellm_sagemaker_openai.litellm_seams.server_shutdown import server_is_stopping
from litellm_sagemaker_openai.sending.cold_start import NOTICE_WITHIN, ColdStartTimeout, Patience, ServerStopping

# LiteLLM's own default to connect within (litellm.llms.custom_httpx.http_handler._DEFAULT_TIMEOUT, 1.106.2).
_CONNECT_SECONDS = 5.0
# What Python's sockets take at most: milliseconds in a C int, as poll(2) has them (socketmodule.c, 3.11). 24 days.
_LONGEST_SECONDS = float(0x7FFFFFFF // 1000)
_CREDENTIALS_SECONDS = 60.0
_CLIENT_SECONDS = 3600  # LiteLLM's own (litellm.constants._DEFAULT_TTL_FOR_HTTPX_CLIENTS, 1.106.2)

# LiteLLM's get_httpx_client takes no lock: threads that ask at once get a client each, and all but one stay open.
_clients_lock = threading.Lock()

_Client = TypeVar("_Client", httpx.Client, httpx.AsyncClient)


class Signer(Protocol):
    """What authorizes a request."""

    def authorizations(self, request: Request) -> Authorizations:
        """The authorizing headers of each try."""


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A bearer token that was made elsewhere."""

    token: str = field(repr=False)

    def authorizations(self, request: Request) -> Authorizations:
        yield {"authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """A bearer token for each try: what ``/openai/v1`` takes."""

    source: CredentialSource = field(repr=False)
    region: str
    expiry: int

    def authorizations(self, request: Request) -> Authorizations:
        return authorizations(self.source, lambda frozen: bearer(frozen, self.region, self.expiry))


@dataclass(frozen=True, slots=True)
class RequestSigner:
    """A SigV4 signature of the request itself: what ``/invocations`` and ``/async-invocations`` take."""

    source: CredentialSource = field(repr=False)
    region: str

    def authorizations(self, request: Request) -> Authorizations:
        def sign(frozen: FrozenCredentials) -> dict[str, str]:
            now = datetime.now(timezone.utc)
            return signed_headers(frozen, self.region, now, url=request.url, headers=request.headers, body=request.body)

        return authorizations(self.source, sign)


@dataclass(frozen=True, slots=True)
class Request:
    """One call, ready to be sent. Its ``repr`` shows neither headers nor body.

    Args:
        url: where it goes.
        signer: what authorizes it.
        headers: all but the authorizing ones, which the signer gives.
        body: the bytes to send.
        stream: whether the answer is to be read as it comes.
        timeout: for connecting, and for each read and write.
        ssl_verify: LiteLLM's parameter of that name, or a context; None: LiteLLM's global setting.
        patience: with a target that has no capacity; None: it is refused at once.
        client: an httpx client of the caller's, from ``checked_client``; None: LiteLLM's shared one.

    Raises:
        ValueError: the caller's client would send plain ``http`` for this machine through a proxy.
    """

    url: str
    signer: Signer
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    stream: bool
    timeout: httpx.Timeout
    ssl_verify: bool | str | ssl.SSLContext | None = None
    patience: Patience | None = None
    client: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.client is not None and is_this_machine(self.url) and _takes_proxy(self.client, self.url):
            raise ValueError(
                "client would send plain http for this machine, and the token with it, through a proxy; give a client "
                "without one, such as httpx.Client(trust_env=False)"
            )


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for as many seconds."""

    seconds: float


# Wait for credentials, send with these authorizing headers, or pause; each is answered with what came of it.
Steps: TypeAlias = Generator[Future[FrozenCredentials] | Mapping[str, str] | Pause, Any, httpx.Response]


def send(request: Request) -> httpx.Response:
    """Send, and give the answer: read to its end, but for a stream that was accepted, which is left open.

    Raises:
        httpx.HTTPError: no answer, or it broke off; no credentials in time.
        CredentialsError: the credentials could not be resolved.
        ColdStartError: the target had no capacity for longer than the request's patience, or until the server in this
            process began to stop.
    """
    client = _sync_client(request)
    with closing(_steps(request)) as steps:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as finished:
                return cast(httpx.Response, finished.value)
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
    client = _async_client(request)
    with closing(_steps(request)) as steps:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as finished:
                return cast(httpx.Response, finished.value)
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


def _steps(request: Request, clock: Callable[[], float] = time.monotonic) -> Steps:
    """What is to be done, one step after the other, until there is an answer to hand back."""
    patience, started = request.patience, clock()
    while patience is not None:
        left = patience.seconds - (clock() - started)
        if patience.gate.is_cold and server_is_stopping():
            raise ServerStopping
        pause = patience.gate.wait(clock())
        if pause == 0:
            try:
                response = yield from _tries(request)
            except BaseException:  # GeneratorExit too: the caller left, or was not answered
                patience.gate.leave()
                raise
            if not _has_no_capacity(response):
                patience.gate.open(clock())
                return response
            patience.gate.close(clock(), patience.interval)
        elif left <= 0:
            raise ColdStartTimeout(patience.seconds)
        else:
            yield Pause(min(pause, left, NOTICE_WITHIN))
    return (yield from _tries(request))


def _tries(request: Request) -> Steps:
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
        not response.is_success and read_refusal(response.status_code, response.content).verdict is Verdict.NO_CAPACITY
    )


def _send_once(client: httpx.Client, request: Request, authorization: Mapping[str, str]) -> httpx.Response:
    built = _build(client, request, authorization)
    try:
        response = client.send(built, stream=True, follow_redirects=False, auth=None)
    finally:
        _forget(built, authorization)
    try:
        if not _left_open(request, response):
            response.read()
    except BaseException:
        response.close()
        raise
    return response


async def _asend_once(client: httpx.AsyncClient, request: Request, authorization: Mapping[str, str]) -> httpx.Response:
    transport = aiohttp_transport(client, request.url) if request.client is None else None
    if transport is not None:
        headers = {**request.headers, **authorization}
        return await post(
            transport, request.url, headers=headers, body=request.body, timeout=request.timeout, stream=request.stream
        )
    built = _build(client, request, authorization)
    try:
        response = await client.send(built, stream=True, follow_redirects=False, auth=None)
    finally:
        _forget(built, authorization)
    try:
        if not _left_open(request, response):
            await response.aread()
    except BaseException:
        await response.aclose()
        raise
    return response


def _build(
    client: httpx.Client | httpx.AsyncClient, request: Request, authorization: Mapping[str, str]
) -> httpx.Request:
    headers = {**request.headers, **authorization}
    return client.build_request("POST", request.url, headers=headers, content=request.body, timeout=request.timeout)


def _forget(sent: httpx.Request, authorization: Mapping[str, str]) -> None:
    """Take out of a request that was sent what must not be found in an exception or a response later."""
    for name in authorization:
        sent.headers.pop(name, None)


def _left_open(request: Request, response: httpx.Response) -> bool:
    return request.stream and response.is_success


def checked_client(client: Any, *, is_async: bool) -> Any:
    """The httpx client in what a caller gave as ``client``: LiteLLM's handler around one, or one; None for None.

    Raises:
        ValueError: it is neither, or not of this colour.
    """
    client = getattr(client, "client", client)
    wanted = httpx.AsyncClient if is_async else httpx.Client
    if client is not None and not isinstance(client, wanted):
        handler = "AsyncHTTPHandler" if is_async else "HTTPHandler"
        raise ValueError(f"client must be a litellm {handler} or an httpx.{wanted.__name__}, not {client!r:.80}")
    return client


def _takes_proxy(client: Any, url: str) -> bool:
    """Whether a client of the caller's takes a proxy for a URL of this machine that is plain ``http``.

    httpx 0.28 tells by private names alone what proxies it was given, or found in the environment when it was made.
    LiteLLM's aiohttp transport looks there itself; where httpx has no such names, that is all that can be known.
    """
    choose = getattr(client, "_transport_for_url", None)
    chosen = choose is not None and url.startswith("http://") and choose(httpx.URL(url)) is not client._transport
    return chosen or (client.trust_env and takes_environment_proxy(url))


def _sync_client(request: Request) -> httpx.Client:
    if request.client is not None:
        return cast(httpx.Client, request.client)
    with _clients_lock:
        if is_this_machine(request.url):
            return _direct_client(httpx.Client, request)
        return get_httpx_client(params={"ssl_verify": request.ssl_verify}).client


def _async_client(request: Request) -> httpx.AsyncClient:
    if request.client is not None:
        return cast(httpx.AsyncClient, request.client)
    client = get_async_httpx_client(PROVIDER, params={"ssl_verify": request.ssl_verify}).client
    if is_this_machine(request.url) and aiohttp_transport(client, request.url) is None:
        return _direct_client(httpx.AsyncClient, request)
    return client


def _direct_client(kind: type[_Client], request: Request) -> _Client:
    """A client without proxies, beside LiteLLM's: httpx takes its own from the environment once, for all requests."""
    cache, name = litellm.in_memory_llm_clients_cache, f"{PROVIDER} {kind.__name__} {request.ssl_verify}"
    client: _Client | None = cache.get_cache(name)  # type: ignore[no-untyped-call]
    if client is None:
        verify = get_ssl_configuration(request.ssl_verify)
        client = kind(verify=verify, cookies=blocked_cookie_jar(), trust_env=False)
        cache.set_cache(name, client, litellm_owned_client=True, ttl=_CLIENT_SECONDS)
    return client


_parents_clients: list[Any] = []


def _leave_clients_to_parent() -> None:
    """A connection that two processes use gives one of them the other's answers.

    The clients are kept, even when Python ends: one that is closed, or collected, takes its connections out of the
    event loop's epoll instance, which the parent shares, and the parent waits for ever.
    """
    global _clients_lock
    _clients_lock = threading.Lock()
    cache = vars(litellm).get("in_memory_llm_clients_cache")  # LiteLLM makes it when it is first asked for
    clients = {} if cache is None else cache.cache_dict
    for name, client in list(clients.items()):
        if isinstance(client, (AsyncHTTPHandler, HTTPHandler, httpx.AsyncClient, httpx.Client)):
            _parents_clients.append(clients.pop(name))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_parents_clients))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_clients_to_parent)


def as_timeout(timeout: float | str | httpx.Timeout | None) -> httpx.Timeout:
    """LiteLLM's ``timeout`` for httpx: a number is for each read and write; connecting has 5 s of it at most.

    None is 600 s. More than sockets take, ``inf`` included, is as much as they take: 24 days.

    Raises:
        ValueError: it is not a number above 0, or one of an ``httpx.Timeout`` is not.
    """
    if isinstance(timeout, httpx.Timeout):
        given = timeout.as_dict()
        return httpx.Timeout(**{kind: None if each is None else _checked_seconds(each) for kind, each in given.items()})
    seconds = _checked_seconds(600.0 if timeout is None else timeout)
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _checked_seconds(value: float | str) -> float:
    try:
        seconds = float(value) if isinstance(value, str) else value  # text: from an environment variable
        if seconds > 0:
            return float(min(seconds, _LONGEST_SECONDS))
    except (TypeError, ValueError):
        pass  # said below
    raise ValueError(f"timeout must be a number of seconds above 0, not {value!r}")
