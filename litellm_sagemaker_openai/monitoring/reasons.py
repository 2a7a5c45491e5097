"""Why something failed, in the few words that a metric's label can have. Pure. Does not import LiteLLM."""

from __future__ import annotations

import re

import httpx

from litellm_sagemaker_openai.monitoring.table import OTHER
from litellm_sagemaker_openai.upstream_errors import StreamedError, TruncatedStream

# The exceptions of LiteLLM and, for what derives from them, of the OpenAI SDK, by their classes' names.
_REASONS = {
    "ContextWindowExceededError": "context_window",
    "BadRequestError": "bad_request",
    "UnprocessableEntityError": "bad_request",
    "AuthenticationError": "access",
    "PermissionDeniedError": "access",
    "NotFoundError": "not_found",
    "RateLimitError": "rate_limit",
    "APITimeoutError": "timeout",
    "APIConnectionError": "connection",
    "ServiceUnavailableError": "unavailable",
    "BadGatewayError": "unavailable",
    "APIError": "server_error",
}
# SageMaker's words, and this provider's own after waiting; other answers' begin with who answered.
_NO_CAPACITY = re.compile(r"litellm\.ServiceUnavailableError: (Inference Component has )?no capacity\b")


def reason_of(error: BaseException | None) -> str:
    """Why LiteLLM's Router asked another model group: one of the label's values."""
    error = getattr(error, "original_exception", None) or error  # LiteLLM's MidStreamFallbackError has one
    if _NO_CAPACITY.match(str(error)):
        return "no_capacity"
    return next((_REASONS[each.__name__] for each in type(error).__mro__ if each.__name__ in _REASONS), OTHER)


def cause_of(error: Exception) -> str:
    """What cut a stream off: one of the label's values."""
    if isinstance(error, TruncatedStream):
        return "truncated"
    if isinstance(error, StreamedError):
        return "error_event"
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    return "connection" if isinstance(error, httpx.HTTPError) else "malformed"
