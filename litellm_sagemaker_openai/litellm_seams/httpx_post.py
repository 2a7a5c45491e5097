"""Posts with the transport inside an httpx client, without the client around it: for synchronous calls.

What the client adds to a request that is complete (default headers, cookies, redirects, authentication) is a quarter of
what httpx costs. The transport is the one that the client would choose, so its pool, its TLS settings and its proxies
hold: tests/sending/test_tls_and_proxies.py.

What httpx does: a client chooses a transport for each URL, and that has ``handle_request``, which is documented.
Seen on: httpx 0.28.
Without it: calls go through the client.
Needed until: httpx's clients are as fast. tests/benchmarks/test_work.py counts the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx

from litellm_sagemaker_openai.litellm_seams import lookup


def transport_for(client: httpx.Client, url: str) -> Any:
    """The transport that the client would send by; None where that cannot be known."""
    choose = lookup.attribute(client, "_transport_for_url")
    return None if choose is None else choose(_as_url(url))


def post(
    transport: httpx.BaseTransport, url: str, *, headers: Mapping[str, str], body: bytes, timeout: httpx.Timeout
) -> httpx.Response:
    """The answer, whose body is not read yet.

    Raises:
        httpx.HTTPError: no answer.
    """
    extensions = {"timeout": timeout.as_dict()}
    request = httpx.Request("POST", _as_url(url), headers=headers, content=body, extensions=extensions)
    return transport.handle_request(request)


@lru_cache(maxsize=1024)
def _as_url(url: str) -> httpx.URL:
    return httpx.URL(url)
