"""Bearer tokens for each request, and for clients other than LiteLLM: curl, the OpenAI SDK, any httpx client.

Does not import LiteLLM.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, TypeAlias

import httpx

from litellm_sagemaker_openai.aws.credentials import (
    CredentialSource,
    default_credentials,
    freeze,
    quiet_botocore,
    runtime_url,
)
from litellm_sagemaker_openai.aws.hosts import (
    checked_hosts,
    is_known_host,
    is_this_machine,
    refuse_unless_configured,
    takes_environment_proxy,
)
from litellm_sagemaker_openai.aws.region import resolve_region
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.aws.token import DEFAULT_EXPIRY, expiry_in_seconds, sign_token
from litellm_sagemaker_openai.monitoring.recorder import record
from litellm_sagemaker_openai.monitoring.table import CREDENTIALS_REFUSED

_HOW_TO_GIVE_REGION = "your endpoint's region, such as 'us-west-2'"
_REFUSED = (401, 403)

Authorizations: TypeAlias = "Generator[Future[FrozenCredentials] | Mapping[str, str], Any, None]"


def authorizations(source: CredentialSource, sign: Callable[[FrozenCredentials], Mapping[str, str]]) -> Authorizations:
    """The authorizing headers of one request's tries: at most two, the second with fresh credentials.

    It does no I/O: it yields either a future, and is sent the future's result, or the headers that ``sign`` made, and
    is sent the status that the request was answered with. A 401 or 403 drops what was held for the identity; where
    what is resolved then differs, there is a second try.
    """
    frozen = yield from _resolved(source)
    status = yield sign(frozen)
    if status not in _REFUSED:
        return
    if not source.invalidate(frozen):
        record(CREDENTIALS_REFUSED, 1, "refused")
        return
    fresh = yield from _resolved(source)
    if fresh != frozen:
        status = yield sign(fresh)
    if fresh == frozen or status in _REFUSED:
        record(CREDENTIALS_REFUSED, 1, "refused")
        source.pause_refresh()
    else:
        record(CREDENTIALS_REFUSED, 1, "recovered")


def _resolved(source: CredentialSource) -> Generator[Future[FrozenCredentials], Any, FrozenCredentials]:
    got = source.get()
    if isinstance(got, Future):
        got = yield got
    return got


def bearer(frozen: FrozenCredentials, region: str, expiry: int) -> dict[str, str]:
    """The header with a fresh bearer token."""
    return {"authorization": f"Bearer {_token_of(frozen, region, expiry, int(time.time()))}"}


@lru_cache(maxsize=64)  # SigV4's time ends with seconds: a token made anew within one is the same to the byte
def _token_of(frozen: FrozenCredentials, region: str, expiry: int, second: int) -> str:
    return sign_token(frozen, region, expiry, datetime.fromtimestamp(second, timezone.utc))


def generate_token(
    region: str | None = None, *, credentials: Any = None, expiry: timedelta | float = DEFAULT_EXPIRY
) -> str:
    """A bearer token for SageMaker's ``/openai/v1`` path, for curl or any OpenAI client. Signing asks AWS nothing.

    It carries the full authority of the credentials for as long as it lives: keep it off disks, logs and plain HTTP.

    Args:
        region: the endpoint's region. Default: the environment's (``AWS_REGION_NAME``, ``AWS_REGION``,
            ``AWS_DEFAULT_REGION``), then the profile's.
        credentials: botocore or boto3 credentials (refreshable ones are read once). Default: the default AWS chain.
        expiry: the token's life, 1 second to 12 hours. Default: 5 minutes. It ends earlier where the credentials do.

    Raises:
        ValueError: no region, something that is not a region, or an expiry out of range.
        CredentialsError: there are no credentials.
    """
    seconds, region = expiry_in_seconds(expiry), resolve_region(region, how_to_give=_HOW_TO_GIVE_REGION)[0]
    with quiet_botocore():
        frozen = freeze(default_credentials() if credentials is None else credentials)
    return sign_token(frozen, region, seconds, datetime.now(timezone.utc))


class SageMakerAuth(httpx.Auth):
    """``httpx.Auth`` that signs a fresh bearer token for each request: the OpenAI SDK on SageMaker, without LiteLLM.

    ``OpenAI(base_url=…, api_key="unused", http_client=httpx.Client(auth=SageMakerAuth("us-west-2")))``, and the same
    with ``AsyncOpenAI`` and ``httpx.AsyncClient``. Not the SDK's ``DefaultHttpxClient``: from openai 3 on it is another
    library's (httpx2), which takes no ``httpx.Auth``. A request that AWS refuses with 401 or 403 is tried once more
    where freshly resolved credentials differ.

    Tokens go to AWS's SageMaker runtime, to this machine, to the host that AWS's own settings name
    (``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME`` and the like) and to ``allowed_hosts``; httpx takes them along with no
    redirect to another host. A client's own ``proxy`` is not seen here: plain ``http`` to this machine is for clients
    that have none.

    Args:
        region: the endpoints' region. Default: the environment's (``AWS_REGION_NAME``, ``AWS_REGION``,
            ``AWS_DEFAULT_REGION``), then the profile's.
        credentials: botocore or boto3 credentials, refreshable ones included. Default: the default AWS chain.
        expiry: each token's life, 1 second to 12 hours. Default: 5 minutes.
        allowed_hosts: gateways of your own, each ``host`` or ``host:port`` (443 by default). Default: none.

    Raises:
        ValueError: no region, something that is not a region, an expiry out of range, something that is not a host.
            At a request: any other host; plain ``http`` to anything but this machine; plain ``http`` to this machine
            where the environment (``HTTP_PROXY``, ``ALL_PROXY``, without ``NO_PROXY``) has it go through a proxy.
        CredentialsError: at a request, there are no credentials.
    """

    def __init__(
        self,
        region: str | None = None,
        *,
        credentials: Any = None,
        expiry: timedelta | float = DEFAULT_EXPIRY,
        allowed_hosts: Sequence[str] | str = (),
    ) -> None:
        self._allowed_hosts = checked_hosts(allowed_hosts)
        self._region = resolve_region(region, how_to_give=_HOW_TO_GIVE_REGION)[0]
        self._expiry = expiry_in_seconds(expiry)
        self._source = CredentialSource(lambda: default_credentials if credentials is None else lambda: credentials)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._region!r})"

    def _authorizations(self) -> Authorizations:
        return authorizations(self._source, lambda frozen: bearer(frozen, self._region, self._expiry))

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        origin = _origin(request)
        if not is_known_host(origin, self._allowed_hosts):
            refuse_unless_configured(origin, runtime_url(self._region))
        request.read()  # so that a second try can send it again
        steps, answer = self._authorizations(), None
        while (step := _advance(steps, answer)) is not None:
            answer = step.result() if isinstance(step, Future) else (yield _with(request, step)).status_code

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        origin = _origin(request)
        if not is_known_host(origin, self._allowed_hosts):
            # In a thread: AWS's settings may stand in a file.
            refuse_unless_configured(origin, await asyncio.to_thread(runtime_url, self._region))
        await request.aread()
        steps, answer = self._authorizations(), None
        while (step := _advance(steps, answer)) is not None:
            # Shielded: a caller that leaves must not cancel what others wait for.
            waited = asyncio.shield(asyncio.wrap_future(step)) if isinstance(step, Future) else None
            answer = await waited if waited else (yield _with(request, step)).status_code


def _advance(steps: Authorizations, answer: Any) -> Future[FrozenCredentials] | Mapping[str, str] | None:
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _origin(request: httpx.Request) -> str:
    """Where a request goes, without its path.

    Raises:
        ValueError: it would go to this machine in the clear, through a proxy. Whether the client heeds the environment
            (httpx's ``trust_env``) cannot be told from here.
    """
    url = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    if is_this_machine(url) and takes_environment_proxy(url):
        raise ValueError(
            f"plain http to {request.url.host}, and the token with it, may go through the proxy that HTTP_PROXY or "
            f"ALL_PROXY names; set NO_PROXY={request.url.host}"
        )
    return url


def _with(request: httpx.Request, authorization: Any) -> httpx.Request:
    request.headers.update(authorization)
    return request
