"""Posts with the aiohttp session inside LiteLLM's shared asynchronous client, without the httpx client around it.

What httpx adds to a request that is complete (defaults, cookies, redirects, authentication, its own objects on the way
there and back) is nearly half of the function calls of a whole answer: 1,209 without it (tests/work.json), 2,211 with
it. The session is LiteLLM's, so its pool, its TLS settings and its proxies hold: tests/sending/test_tls_and_proxies.py.

What LiteLLM does: its asynchronous client is httpx's with a transport of LiteLLM's own, which has the session.
Seen on: LiteLLM 1.106.2 and httpx 0.28; up to LiteLLM 1.105 ``get_valid_client_session`` has an underscore before it.
Without them: calls go through httpx.
Needed until: httpx is as fast. tests/benchmarks/test_work.py counts the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
import httpx
from yarl import URL

from litellm_sagemaker_openai.aws.hosts import is_this_machine
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.pool_limit import full_connector, limit_connector, warn_of_waiting

_TRANSPORT = "litellm.llms.custom_httpx.aiohttp_transport"


class Poster(NamedTuple):
    """What ``post`` needs of LiteLLM's transport."""

    session: Any
    proxy_of: Any
    stream_of: Any
    mapped_exceptions: Any


def poster(client: httpx.AsyncClient, url: str, most: int | None = None) -> Poster | None:
    """What to post with; None where LiteLLM is told to do without aiohttp, or is built otherwise.

    None, too, where the URL is this machine's and the session would look for a proxy itself (``AIOHTTP_TRUST_ENV``).

    Args:
        client: from ``http_clients.async_client``.
        url: where to.
        most: how many connections the session may have; None: as ``pool_limit`` says.
    """
    kind = lookup.in_module(_TRANSPORT, "LiteLLMAiohttpTransport")
    transport = lookup.attribute(client, "_transport")
    if kind is None or not isinstance(transport, kind):
        return None
    session_of = lookup.attribute(transport, "get_valid_client_session", "_get_valid_client_session")
    proxy_of = lookup.attribute(transport, "_get_proxy_settings")
    stream_of = lookup.in_module(_TRANSPORT, "AiohttpResponseStream")
    mapped_exceptions = lookup.in_module(_TRANSPORT, "map_aiohttp_exceptions")
    if not (session_of and proxy_of and stream_of and mapped_exceptions):
        return None
    session = session_of()
    if is_this_machine(url) and session.trust_env:
        return None
    limit_connector(session.connector, most)  # here, as LiteLLM makes a session anew where its event loop is closed
    return Poster(session, proxy_of, stream_of, mapped_exceptions)


async def post(
    poster: Poster, url: str, *, headers: Mapping[str, str], body: bytes, timeout: httpx.Timeout, stream: bool
) -> httpx.Response:
    """The answer: read to its end, but for a stream that was accepted, which is left open.

    Raises:
        httpx.PoolTimeout: no connection became free in time.
        httpx.HTTPError: no answer, or it broke off.
    """
    to = _as_yarl(url)
    proxy = None if is_this_machine(url) else await poster.proxy_of(_as_request(url))
    limit = full_connector(poster.session.connector, to)
    if limit is not None:
        warn_of_waiting(to.host or "", limit)
    try:
        with poster.mapped_exceptions():
            answer = await poster.session.post(
                to,
                headers=headers,
                data=body,
                proxy=proxy,
                timeout=_as_client_timeout(timeout.connect, timeout.read, timeout.pool),
                allow_redirects=False,
                auto_decompress=False,
            )
    except httpx.ConnectTimeout as error:  # aiohttp has one exception for both
        if limit is None or full_connector(poster.session.connector, to) is None:
            raise
        raise httpx.PoolTimeout(f"all {limit} were in use") from error
    pieces = poster.stream_of(answer)
    if stream and httpx.codes.is_success(answer.status):
        return httpx.Response(answer.status, headers=answer.headers, stream=pieces)
    content = b"".join([piece async for piece in pieces])
    return httpx.Response(answer.status, headers=answer.headers, content=content)


def could_not_connect(error: httpx.HTTPError) -> bool:
    """Whether it came of a connection that aiohttp could not make.

    LiteLLM makes httpx's ProtocolError of aiohttp's for a certificate that it does not trust.
    """
    return isinstance(error.__cause__, aiohttp.ClientConnectorError)


@lru_cache(maxsize=1024)
def _as_yarl(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=1024)
def _as_request(url: str) -> Any:
    """What LiteLLM looks at to choose a proxy."""
    return SimpleNamespace(url=httpx.URL(url))


@lru_cache(maxsize=64)
def _as_client_timeout(connect: float | None, read: float | None, pool: float | None) -> aiohttp.ClientTimeout:
    """As LiteLLM's transport has it: aiohttp's ``connect`` includes waiting for the pool, so it is what ``pool`` is."""
    return aiohttp.ClientTimeout(sock_connect=connect, sock_read=read, connect=pool)
