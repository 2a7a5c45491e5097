"""Posts with the aiohttp session inside LiteLLM's shared asynchronous client, without the httpx client around it.

What httpx adds to a request that is complete (defaults, cookies, redirects, authentication, its own objects on the way
there and back) is half of the function calls of a whole answer: 1,073 without it (tests/work.json), 2,114 with it. The
session is LiteLLM's, so its pool, its TLS settings and its proxies hold: tests/sending/test_tls_and_proxies.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from litellm.llms.custom_httpx.aiohttp_transport import (
    AiohttpResponseStream,
    LiteLLMAiohttpTransport,
    map_aiohttp_exceptions,
)
from yarl import URL

from litellm_sagemaker_openai.aws.hosts import is_this_machine


def aiohttp_transport(client: httpx.AsyncClient, url: str) -> LiteLLMAiohttpTransport | None:
    """The transport with the session; None where LiteLLM is told to do without aiohttp, or is built otherwise.

    None, too, where the URL is this machine's and the session would look for a proxy itself (``AIOHTTP_TRUST_ENV``).
    LiteLLM 1.106.2 and httpx 0.28 give no public way to it, nor to the proxy that LiteLLM chooses for a URL.
    """
    transport = getattr(client, "_transport", None)
    if not isinstance(transport, LiteLLMAiohttpTransport) or not hasattr(transport, "_get_proxy_settings"):
        return None
    return None if is_this_machine(url) and transport.get_valid_client_session().trust_env else transport


async def post(
    transport: LiteLLMAiohttpTransport,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    timeout: httpx.Timeout,
    stream: bool,
) -> httpx.Response:
    """The answer: read to its end, but for a stream that was accepted, which is left open.

    Raises:
        httpx.HTTPError: no answer, or it broke off.
    """
    proxy = None if is_this_machine(url) else await transport._get_proxy_settings(_as_request(url))
    session = transport.get_valid_client_session()
    with map_aiohttp_exceptions():
        answer = await session.post(
            _as_yarl(url),
            headers=headers,
            data=body,
            proxy=proxy,
            timeout=_as_client_timeout(timeout.connect, timeout.read, timeout.pool),
            allow_redirects=False,
            auto_decompress=False,
        )
    pieces = AiohttpResponseStream(answer)
    if stream and httpx.codes.is_success(answer.status):
        return httpx.Response(answer.status, headers=answer.headers, stream=pieces)
    content = b"".join([piece async for piece in pieces])
    return httpx.Response(answer.status, headers=answer.headers, content=content)


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
