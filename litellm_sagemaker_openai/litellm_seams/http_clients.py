"""LiteLLM's shared HTTP clients, so that its TLS, proxy and pool settings hold, and clients of our own beside them.

What LiteLLM does: ``HTTPHandler`` and ``get_async_httpx_client`` make the clients that its native providers use, the
latter one for each provider; ``get_ssl_configuration`` and ``get_ssl_verify`` say what ``ssl_verify``, ``SSL_VERIFY``
and the like mean; clients are kept in ``in_memory_llm_clients_cache`` for an hour, an entry for each event loop. What
made a client, its handler, closes it when nobody has the handler any longer, whether or not an answer is being read.
Seen on: LiteLLM 1.106.2.
Without them: clients of our own, which httpx makes.
Needed until: LiteLLM documents a way to its clients. tests/sending/test_tls_and_proxies.py shows what they do.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import ssl
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

import httpx
import litellm

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.pool_limit import client_limit
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_HANDLERS = "litellm.llms.custom_httpx.http_handler"
_CLIENT_SECONDS = 3600  # LiteLLM's own (litellm.constants._DEFAULT_TTL_FOR_HTTPX_CLIENTS, 1.106.2)

# Threads that ask at once get one client.
_lock = threading.RLock()

_Client = TypeVar("_Client", httpx.Client, httpx.AsyncClient)
SslVerify = bool | str | ssl.SSLContext | None


def sync_client(ssl_verify: SslVerify, most: int | None = None) -> tuple[httpx.Client, Any]:
    """A synchronous client as LiteLLM makes it, for this provider alone: other providers' keep LiteLLM's limits.

    With it comes what closes it: to be held until the answer is read, by ``keep_for`` where that is later.

    Args:
        ssl_verify: LiteLLM's parameter of that name, or a context; None: LiteLLM's global setting.
        most: how many connections it is to have, for ``pool_limit``; calls with the same number have the same client.
    """
    handler = lookup.in_module(_HANDLERS, "HTTPHandler")
    if handler is None:
        return own_client(httpx.Client, ssl_verify, most, trust_env=True), None
    name = f"{PROVIDER} {handler.__name__} {ssl_verify} {most}"
    made = _kept(name, _OwnCache, lambda: handler(ssl_verify=ssl_verify))
    return made.client, made


def async_client(ssl_verify: SslVerify, most: int | None = None) -> tuple[httpx.AsyncClient, Any]:
    """LiteLLM's asynchronous client for the running event loop, and what closes it, as ``sync_client`` has them."""
    make = lookup.in_module(_HANDLERS, "get_async_httpx_client")
    if make is None:
        return own_client(httpx.AsyncClient, ssl_verify, most, trust_env=True), None
    name = PROVIDER if most is None else f"{PROVIDER} {most}"
    handler = make(name, params={"ssl_verify": ssl_verify})
    return handler.client, handler


def keep_for(response: httpx.Response, closes_client: Any) -> None:
    """Hold what came with a client for as long as there is the response, which is read from its connections.

    Not in the response: what it is made of would still refer to the client then, so that LiteLLM would not close it.
    """
    if closes_client is not None:
        weakref.finalize(response, _let_go, closes_client).atexit = False


def _let_go(_: Any) -> None:
    """It was held until now."""


def own_client(kind: type[_Client], ssl_verify: SslVerify, most: int | None = None, *, trust_env: bool) -> _Client:
    """A client beside LiteLLM's: the same one for every call with the same settings, in the same event loop.

    Args:
        kind: ``httpx.Client`` or ``httpx.AsyncClient``.
        ssl_verify: as for ``sync_client``.
        most: as for ``sync_client``.
        trust_env: whether it heeds the environment's proxies. httpx takes them once, for all requests.
    """

    def make() -> _Client:
        jar = lookup.in_module(_HANDLERS, "blocked_cookie_jar")
        limit = client_limit(most)
        return kind(
            verify=ssl_context(ssl_verify),
            cookies=jar and jar(),
            trust_env=trust_env,
            limits=httpx.Limits(max_connections=limit, max_keepalive_connections=limit),
        )

    owner = asyncio.get_running_loop() if kind is httpx.AsyncClient else _OwnCache
    client: _Client = _kept(f"{PROVIDER} {kind.__name__} {ssl_verify} {most} {trust_env}", owner, make)
    return client


def _kept(name: str, owner: Any, make: Callable[[], Any]) -> Any:
    """What was made under this name, in LiteLLM's cache of clients; where there is none, in one of ``owner``'s."""
    with _lock:
        cache = _cache() or _OwnCache(owner)
        client = cache.get_cache(name)
        if client is None:
            client = make()
            cache.set_cache(name, client, litellm_owned_client=True, ttl=_CLIENT_SECONDS)
        return client


def ssl_context(ssl_verify: SslVerify) -> bool | str | ssl.SSLContext:
    """What ``ssl_verify`` means to httpx, by LiteLLM's rules."""
    configured = lookup.in_module(_HANDLERS, "get_ssl_configuration")
    if configured is not None:
        return cast(bool | str | ssl.SSLContext, configured(ssl_verify))
    if isinstance(ssl_verify, ssl.SSLContext):
        return ssl_verify
    verify = ssl_setting(ssl_verify)
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


def ssl_setting(ssl_verify: bool | str | None) -> bool | str:
    """What ``ssl_verify`` comes to: whether certificates are checked, or the file of the authorities to check with."""
    resolve = lookup.in_module(_HANDLERS, "get_ssl_verify")
    if resolve is not None:
        return cast(bool | str, resolve(ssl_verify))
    setting: Any = os.environ.get("SSL_VERIFY", litellm.ssl_verify) if ssl_verify is None else ssl_verify
    if isinstance(setting, str):
        setting = {"true": True, "false": False}.get(setting.strip().lower(), setting)
    if setting is True and os.path.exists(authorities := os.environ.get("SSL_CERT_FILE", "")):
        return authorities
    return True if setting is None else setting if isinstance(setting, str) else bool(setting)


def _cache() -> Any:
    """LiteLLM's cache of clients, which it makes when it is first asked for; None where it has none."""
    cache = lookup.attribute(litellm, "in_memory_llm_clients_cache")
    return cache if lookup.attribute(cache, "get_cache") and lookup.attribute(cache, "set_cache") else None


class _OwnCache:
    """What ``own_client`` needs of LiteLLM's cache: clients by name. They are kept, as LiteLLM's are for an hour.

    Args:
        owner: an event loop, or this class.
    """

    clients: ClassVar[dict[Any, dict[str, Any]]] = {}

    def __init__(self, owner: Any) -> None:
        self._clients = self.clients.setdefault(owner, {})

    def get_cache(self, name: str) -> Any:
        return self._clients.get(name)

    def set_cache(self, name: str, client: Any, **_: Any) -> None:
        self._clients[name] = client


_parents_clients: list[Any] = []


def _leave_clients_to_parent() -> None:
    """A connection that two processes use gives one of them the other's answers.

    The clients are kept, even when Python ends: one that is closed, or collected, takes its connections out of the
    event loop's epoll instance, which the parent shares, and the parent waits for ever.
    """
    global _lock
    _lock = threading.RLock()
    handlers = (lookup.in_module(_HANDLERS, "AsyncHTTPHandler"), lookup.in_module(_HANDLERS, "HTTPHandler"))
    kinds = (httpx.AsyncClient, httpx.Client, *filter(None, handlers))
    # In vars(), where it is only once LiteLLM has made it.
    caches = [lookup.attribute(vars(litellm).get("in_memory_llm_clients_cache"), "cache_dict") or {}]
    for clients in (*caches, *_OwnCache.clients.values()):
        for name, client in list(clients.items()):
            if isinstance(client, kinds):
                _parents_clients.append(clients.pop(name))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_parents_clients))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_clients_to_parent)
