"""LiteLLM's client certificate, for the asynchronous calls that LiteLLM forgets it for."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import litellm
from litellm.llms.custom_httpx.http_handler import get_ssl_configuration


def with_client_certificate(ssl_verify: bool | str | None) -> bool | str | ssl.SSLContext | None:
    """LiteLLM's parameter; where a client certificate is set, a TLS context that follows it and presents that.

    ``SSL_CERTIFICATE`` and ``litellm.ssl_certificate`` are LiteLLM's. It hands them to httpx, which leaves them to the
    transport, so that an aiohttp session presents none (1.106.2; tests/sending/test_tls_and_proxies.py shows it).

    Raises:
        ValueError: it is no file with a certificate and its key.
    """
    certificate = os.environ.get("SSL_CERTIFICATE", litellm.ssl_certificate)
    if not certificate:
        return ssl_verify
    return _context(certificate, get_ssl_configuration(ssl_verify))


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
