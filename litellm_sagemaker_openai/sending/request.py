"""One request to SageMaker, ready to be sent, and what authorizes it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol

import httpx

from litellm_sagemaker_openai.aws.auth import Authorizations, authorizations, bearer
from litellm_sagemaker_openai.aws.credentials import CredentialSource
from litellm_sagemaker_openai.aws.hosts import is_this_machine
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials, signed_headers
from litellm_sagemaker_openai.litellm_seams.httpx_proxies import takes_proxy
from litellm_sagemaker_openai.sending.cold_start import ColdStartPolicy


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
        max_connections: how many connections the client that sends it may have; None: as ``pool_limit`` says.
        cold_start: how long to wait for a target without capacity; None: it is refused at once.
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
    max_connections: int | None = None
    cold_start: ColdStartPolicy | None = None
    client: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.client is not None and is_this_machine(self.url) and takes_proxy(self.client, self.url):
            raise ValueError(
                "client would send plain http for this machine, and the token with it, through a proxy; give a client "
                "without one, such as httpx.Client(trust_env=False)"
            )


def checked_client(client: Any, *, is_async: bool) -> Any:
    """The httpx client in what a caller gave as ``client``: LiteLLM's handler around one, or one; None for None.

    Raises:
        ValueError: it is neither, or asynchronous where a synchronous one is needed, or the reverse.
    """
    client = getattr(client, "client", client)
    wanted = httpx.AsyncClient if is_async else httpx.Client
    if client is not None and not isinstance(client, wanted):
        handler = "AsyncHTTPHandler" if is_async else "HTTPHandler"
        raise ValueError(f"client must be a litellm {handler} or an httpx.{wanted.__name__}, not {client!r:.80}")
    return client
