"""A refused, broken or unreachable answer, as the LiteLLM exception that it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import litellm

from litellm_sagemaker_openai.aws.credentials import CredentialsError
from litellm_sagemaker_openai.context_limit import does_not_fit, in_agents_words
from litellm_sagemaker_openai.litellm_seams.aiohttp_post import could_not_connect
from litellm_sagemaker_openai.litellm_seams.exceptions import not_retried, with_headers
from litellm_sagemaker_openai.refusals import NOT_SENT, Mistake, for_the_caller
from litellm_sagemaker_openai.upstream_errors import (
    PROVIDER,
    FailureKind,
    Route,
    UpstreamError,
    advised,
    shortened,
)

_NOT_CONNECTED = (httpx.ConnectError, httpx.ProxyError)
_PASSING = frozenset({429, 502, 503, 504, 529, 530})
_TRANSIENT = "sagemaker_openai_transient"


def to_exception(
    upstream: UpstreamError,
    *,
    model: str,
    headers: Mapping[str, str] | None = None,
    url: str = "",
    route: Route | None = None,
) -> Exception:
    """The LiteLLM exception that a caller, or the Router, acts on rightly.

    Args:
        upstream: what was answered.
        model: the model, as the caller named it.
        headers: the answer's headers, ``Retry-After`` and the request id among them.
        url: the request's URL. No other part of the request goes into the exception.
        route: what was asked; None: not known, and no advice depends on it.
    """
    exception, status = _exception_class(upstream)
    response = httpx.Response(status, headers=_plain(headers or {}), request=httpx.Request("POST", url or "https://x"))
    message = advised(upstream, route)
    if status == 400 and (known_words := in_agents_words(upstream.message)):
        message = f"{message} ({known_words})"
    error: Exception = exception(message=message, model=model, llm_provider=PROVIDER, response=response)
    with_headers(error, response.headers)
    if upstream.failure is FailureKind.PENDING:
        not_retried(error)  # the Router would have it inferred again
    passing = upstream.status in _PASSING and upstream.failure in (FailureKind.REFUSED, FailureKind.CUT_OFF)
    return _as_transient(error) if passing else error


def connection_error(error: httpx.HTTPError, *, model: str, begun: bool = False) -> Exception:
    """The LiteLLM exception for a request that got no answer, or for an answer that broke off.

    Args:
        error: httpx's.
        model: the model, as the caller named it.
        begun: whether a part of the answer reached the caller. Where none did, it is a ``ServiceUnavailableError``:
            the Router never cools a deployment down for an ``APIConnectionError`` (litellm/router_utils/
            cooldown_handlers.py, 1.106.2), and would ask a dead one again and again.
    """
    # A LocalProtocolError quotes what could not be sent, which may be the Authorization header.
    said = "" if isinstance(error, httpx.LocalProtocolError) else str(error)
    what = f"{type(error).__name__}: {shortened(said)}" if said else type(error).__name__
    if isinstance(error, httpx.PoolTimeout):
        return litellm.Timeout(f"no connection to SageMaker became free in time ({what})", model, PROVIDER)
    if isinstance(error, httpx.ConnectTimeout):  # nothing was sent: no connection, or no credentials
        return litellm.Timeout(f"SageMaker could not be reached in time ({what})", model, PROVIDER)
    if isinstance(error, httpx.TimeoutException):
        return litellm.Timeout(f"SageMaker did not answer in time ({what})", model, PROVIDER)
    if begun:
        return litellm.APIConnectionError(f"the connection to SageMaker broke ({what})", PROVIDER, model)
    connected = not isinstance(error, _NOT_CONNECTED) and not could_not_connect(error)
    said = "SageMaker hung up" if connected else "could not connect to SageMaker"
    return _as_transient(litellm.ServiceUnavailableError(f"{said} ({what})", PROVIDER, model))


def is_transient(error: Exception) -> bool:
    """Whether the same request may be answered in a few seconds, so that this provider may send it again by itself.

    Not where there is no capacity, which takes minutes, where what came was not an answer, or where the call's timeout
    is over.
    """
    return getattr(error, _TRANSIENT, False)


def _as_transient(error: Exception) -> Exception:
    setattr(error, _TRANSIENT, True)
    return error


def bad_request(error: ValueError, *, model: str, whose: Mistake = Mistake.CALLERS) -> litellm.BadRequestError:
    """For what has to be changed before anything is sent. Its message begins with ``refusals.NOT_SENT``.

    It is a BadRequestError where the mistake is the operator's, too: LiteLLM neither retries one nor takes the
    deployment out for it, and another try would fail as well.
    """
    return litellm.BadRequestError(shortened(for_the_caller(error, whose)), model, PROVIDER)


def no_credentials(error: CredentialsError, *, model: str, whose: Mistake = Mistake.CALLERS) -> Exception:
    """For credentials that are missing or could not be resolved: a mistake, unless AWS failed."""
    if error.is_temporary:
        said = str(error) if whose is Mistake.CALLERS else "AWS credentials could not be had"  # it may name a host
        return litellm.ServiceUnavailableError(shortened(f"{NOT_SENT}{said}"), PROVIDER, model)
    return litellm.AuthenticationError(shortened(for_the_caller(error, whose)), PROVIDER, model)


def _exception_class(upstream: UpstreamError) -> tuple[Any, int]:
    own_meaning = upstream.status >= 500 or upstream.status in (401, 403, 404, 429)
    if not own_meaning and does_not_fit(f"{upstream.error_type} {upstream.message}"):
        return litellm.ContextWindowExceededError, 400
    return _BY_STATUS.get(upstream.status) or _OTHERS[upstream.status >= 500]


_OTHERS = {False: (litellm.BadRequestError, 400), True: (litellm.InternalServerError, 500)}
_BY_STATUS = {
    401: (litellm.AuthenticationError, 401),
    403: (litellm.PermissionDeniedError, 403),
    404: (litellm.NotFoundError, 404),
    405: (litellm.NotFoundError, 404),
    408: (litellm.Timeout, 408),
    422: (litellm.UnprocessableEntityError, 422),
    429: (litellm.RateLimitError, 429),
    502: (litellm.BadGatewayError, 502),
    503: (litellm.ServiceUnavailableError, 503),
    504: (litellm.Timeout, 504),
    529: (litellm.ServiceUnavailableError, 503),  # overloaded, in some model servers' words
    530: (litellm.ServiceUnavailableError, 503),  # the SDK's InternalDependencyException
}


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers without those that say how the body was coded, which would make httpx decode an empty one."""
    return {k: v for k, v in headers.items() if k.lower() not in ("content-encoding", "transfer-encoding")}
