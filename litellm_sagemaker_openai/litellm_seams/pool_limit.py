"""How many connections this provider's own calls may have open at once, and whether a call would wait for one.

All endpoints and inference components of a region are behind one host name, so a limit for each host, which LiteLLM has
for providers whose servers have names of their own, is one for all of them.

What LiteLLM does: its aiohttp connectors take AIOHTTP_CONNECTOR_LIMIT_PER_HOST (500) connections to a host and
AIOHTTP_CONNECTOR_LIMIT (1000) in all, as these variables were when LiteLLM was imported; its httpx clients take httpx's
100, and keep 20 of them when idle. What is above waits, and nobody is told. aiohttp's connector reads its limits
(``_limit``, ``_limit_per_host``) and httpcore's pool, in httpx's transport, its own (``_max_connections``,
``_max_keepalive_connections``) when a connection is asked for, so they can be set before that.
Seen on: LiteLLM 1.106.2, aiohttp 3.14, httpx 0.28 with httpcore 1.0.
Without them: LiteLLM's limits hold, and nobody is told.
Needed until: LiteLLM takes limits for a client. tests/litellm_seams/test_pool_limit.py shows what they do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakSet

import httpx
import litellm
from yarl import URL

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.operator_log import warn_seldom

try:
    import resource
except ImportError:  # Windows, where sockets are not files
    resource = None  # type: ignore[assignment]

_TOTAL, _PER_HOST = "AIOHTTP_CONNECTOR_LIMIT", "AIOHTTP_CONNECTOR_LIMIT_PER_HOST"
_WARN_AGAIN_AFTER = 60.0  # seconds: it is over, and comes again, within minutes

# What was limited already. Anew each time, a limit would be changed while its pool counts by it.
_limited: WeakSet[Any] = WeakSet()


def default_limit() -> int:
    """Half of the files that this process may have open (``ulimit -n``); 0 where that is no limit.

    The other half is for the rest: in a proxy, each call has its client's connection as well.
    """
    if resource is None:
        return 0
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if files == resource.RLIM_INFINITY else max(1, files // 2)


def limit_connector(connector: Any, most: int | None) -> None:
    """Give an aiohttp connector of this provider's its limit, when it is first seen.

    Args:
        connector: LiteLLM's.
        most: what ``aws_sagemaker_max_connections`` says; None: the default. LiteLLM's variables hold as well, each
            where it is set.
    """
    if connector in _limited:
        return
    _limited.add(connector)
    if lookup.attribute(connector, "_limit") is not None:
        connector._limit = _limit(most, _TOTAL)
    if lookup.attribute(connector, "_limit_per_host") is not None:
        connector._limit_per_host = _limit(most, _PER_HOST)


def limit_client(client: httpx.Client | httpx.AsyncClient, most: int | None) -> None:
    """Give an httpx client of this provider's its limit, when it is first seen. ``most`` is as for ``limit_connector``.

    A transport that the application gave LiteLLM (``litellm.sync_transport``) stays as it is.
    """
    if client in _limited:
        return
    _limited.add(client)
    limit = client_limit(most)
    for transport in _transports(client):
        pool = lookup.attribute(transport, "_pool")
        if pool is None or transport is lookup.attribute(litellm, "sync_transport"):
            continue
        if lookup.attribute(pool, "_max_connections") is not None:
            pool._max_connections = limit
        if lookup.attribute(pool, "_max_keepalive_connections") is not None:
            pool._max_keepalive_connections = limit


def client_limit(most: int | None) -> int:
    """How many connections an httpx client may have. ``most`` is as for ``limit_connector``."""
    return _limit(most, _TOTAL, _PER_HOST) or sys.maxsize


def full_connector(connector: Any, url: URL) -> int | None:
    """The limit that a request would wait for; None where it would not wait, or nobody knows."""
    acquired = lookup.attribute(connector, "_acquired")
    if acquired is None:
        return None
    in_all: int = connector.limit
    if in_all and len(acquired) >= in_all:
        idle = lookup.attribute(connector, "_conns") or {}  # aiohttp takes one of these before it counts
        return None if _most_to(url, idle) else in_all
    per_host: int = connector.limit_per_host
    if not per_host or len(acquired) < per_host:
        return None
    by_host = lookup.attribute(connector, "_acquired_per_host") or {}
    return per_host if _most_to(url, by_host) >= per_host else None


def _most_to(url: URL, connections: Mapping[Any, Any]) -> int:
    """The most connections to a host in an aiohttp connector's table, which has those through a proxy apart."""
    return max((len(each) for to, each in connections.items() if (to.host, to.port) == (url.host, url.port)), default=0)


def full_client(client: httpx.Client | httpx.AsyncClient) -> int | None:
    """``full_connector`` for an httpx client."""
    for transport in _transports(client):
        pool = lookup.attribute(transport, "_pool")
        limit: int | None = lookup.attribute(pool, "_max_connections")
        connections = lookup.attribute(pool, "connections") or []
        if limit and len(connections) >= limit and not any(each.is_available() for each in connections):
            return limit
    return None


def warn_of_waiting(host: str, limit: int) -> None:
    """Tell the operator that calls wait, once a minute at most."""
    warn_seldom(
        f"All {limit} connections are in use, and calls to {host} wait for one",
        "allow more with ulimit -n, of which half is the limit, or with aws_sagemaker_max_connections, and with "
        f"{_PER_HOST} and {_TOTAL} where they are set; or start more workers",
        again_after=_WARN_AGAIN_AFTER,
    )


def _limit(most: int | None, *variables: str) -> int:
    """The limit that holds where LiteLLM's for it are these variables. 0: none, as aiohttp and LiteLLM have it."""
    stated = [limit for limit in map(_stated, variables) if limit is not None]
    positive = [limit for limit in (*stated, most or 0) if limit > 0]
    return min(positive, default=0 if stated else default_limit())


def _stated(variable: str) -> int | None:
    """What a variable says; None: nothing. LiteLLM does not start with one that is wrong, but it may be set later."""
    try:
        return int(os.environ[variable])
    except KeyError:
        return None
    except ValueError:
        warn_seldom(f"{variable} is no whole number", "it does not limit connections; set one, or take it away")
        return None


def _transports(client: httpx.Client | httpx.AsyncClient) -> Iterator[Any]:
    yield lookup.attribute(client, "_transport")
    yield from (lookup.attribute(client, "_mounts") or {}).values()
