"""LiteLLM's client certificate, for the asynchronous calls that LiteLLM forgets it for.

What LiteLLM does: it hands ``SSL_CERTIFICATE`` and ``litellm.ssl_certificate`` to httpx, which leaves them to the
transport, so that an aiohttp session presents none.
Seen on: LiteLLM 1.106.2.
Without it: it uses no name that is not promised.
Needed until: test_litellm_itself_presents_no_client_certificate_with_aiohttp in tests/sending/test_tls_and_proxies.py
fails.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import litellm

from litellm_sagemaker_openai.litellm_seams.http_clients import ssl_context


def with_client_certificate(ssl_verify: bool | str | None) -> bool | str | ssl.SSLContext | None:
    """LiteLLM's parameter; where a client certificate is set, a TLS context that follows it and presents that.

    Raises:
        ValueError: it is not a file with a certificate and its key.
    """
    certificate = os.environ.get("SSL_CERTIFICATE", litellm.ssl_certificate)
    if not certificate:
        return ssl_verify
    return _context(certificate, ssl_context(ssl_verify))


@lru_cache(maxsize=16)
def _context(certificate: str, configured: bool | str | ssl.SSLContext) -> ssl.SSLContext:
    # LiteLLM's context is shared by all its clients, and its synchronous ones put the certificate into it as well.
    context = configured if isinstance(configured, ssl.SSLContext) else _unverified()
    try:
        context.load_cert_chain(certificate)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(
            f"the client certificate {certificate!r} cannot be read ({error}); SSL_CERTIFICATE and "
            "litellm.ssl_certificate name a PEM file with a certificate and its key"
        ) from error
    return context


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
