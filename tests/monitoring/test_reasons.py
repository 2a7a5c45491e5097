"""Exceptions as a metric's words."""

from __future__ import annotations

from typing import Any

import httpx
import litellm
import pytest

from litellm_sagemaker_openai.aws.credentials import CredentialsError
from litellm_sagemaker_openai.errors import connection_error, no_credentials, to_exception
from litellm_sagemaker_openai.formats.events import StreamFormatError
from litellm_sagemaker_openai.monitoring.reasons import cause_of, reason_of
from litellm_sagemaker_openai.monitoring.table import FALLBACKS, STREAMS_CUT_OFF
from litellm_sagemaker_openai.sending.cold_start import ColdStartTimeout, ServerStopping
from litellm_sagemaker_openai.upstream_errors import (
    FailureKind,
    MalformedAnswer,
    StreamedError,
    TruncatedStream,
    UpstreamError,
    read_error,
)

NO_CAPACITY = b'{"message": "Inference Component has no capacity to process this request."}'


def raised(upstream: UpstreamError) -> Exception:
    return to_exception(upstream, model="m")


def waited(error: Exception) -> Exception:
    return raised(UpstreamError(503, str(error), failure=FailureKind.NO_CAPACITY))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (raised(read_error(400, NO_CAPACITY)), "no_capacity"),
        (waited(ColdStartTimeout(60)), "no_capacity"),
        (waited(ServerStopping()), "no_capacity"),
        (raised(UpstreamError(503, "Inference Component has no capacity", from_container=True)), "unavailable"),
        (raised(UpstreamError(503, "not now")), "unavailable"),
        (raised(UpstreamError(502, "bad gateway")), "unavailable"),
        (connection_error(httpx.ConnectError("refused"), model="m"), "unavailable"),
        (connection_error(httpx.ReadError("reset"), model="m", begun=True), "connection"),
        (connection_error(httpx.ReadTimeout("late"), model="m"), "timeout"),
        (raised(UpstreamError(504, "late")), "timeout"),
        (raised(UpstreamError(429, "slow down")), "rate_limit"),
        (raised(UpstreamError(500, "CUDA error")), "server_error"),
        (raised(UpstreamError(403, "no")), "access"),
        (raised(UpstreamError(401, "no")), "access"),
        (no_credentials(CredentialsError("none"), model="m"), "access"),
        (raised(UpstreamError(404, "no such endpoint")), "not_found"),
        (raised(UpstreamError(400, "maximum context length")), "context_window"),
        (raised(UpstreamError(400, "too hot")), "bad_request"),
        (raised(UpstreamError(422, "too hot")), "bad_request"),
        (litellm.ContentPolicyViolationError("no", "m", "p"), "bad_request"),
        (ValueError("what?"), "other"),
        (None, "other"),
    ],
    ids=str,
)
def test_why_there_was_a_fallback(error: Any, reason: str) -> None:
    assert reason_of(error) == reason
    assert reason in FALLBACKS.labels["reason"]


def test_a_stream_that_litellm_took_elsewhere() -> None:
    """LiteLLM's exception then has the one that is meant."""
    inner = raised(UpstreamError(429, "slow down"))
    error = litellm.exceptions.MidStreamFallbackError("m", "m", "p", original_exception=inner)
    assert reason_of(error) == "rate_limit"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (TruncatedStream(), "truncated"),
        (StreamedError(UpstreamError(500, "CUDA error")), "error_event"),
        (httpx.ReadTimeout("late"), "timeout"),
        (httpx.RemoteProtocolError("incomplete chunked read"), "connection"),
        (httpx.ReadError("reset"), "connection"),
        (MalformedAnswer("a list"), "malformed"),
        (StreamFormatError("neither an event nor JSON"), "malformed"),
    ],
    ids=repr,
)
def test_what_cut_a_stream_off(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause
    assert cause in STREAMS_CUT_OFF.labels["cause"]
