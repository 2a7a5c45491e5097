"""What LiteLLM reads from an exception besides its class.

What LiteLLM does: its Router and its proxy take an exception's response headers from ``litellm_response_headers``, and
before each further try the Router looks at the exception's ``num_retries``.
Seen on: LiteLLM 1.106.2 (router.py, ``async_function_with_retries``).
Without them: the headers of a refusal do not reach the proxy's client, and the Router tries as often as it is told to.
Needed until: tests/litellm_seams/test_litellm_alone.py::test_takes_no_headers_from_an_exceptions_response
fails. tests/test_errors.py and tests/operations/test_queued_inference.py show both.
"""

from __future__ import annotations

from collections.abc import Mapping


def with_headers(error: Exception, headers: Mapping[str, str]) -> None:
    """Put the answer's headers where LiteLLM's Router and proxy look for them, ``Retry-After`` among them."""
    error.litellm_response_headers = headers  # type: ignore[attr-defined]


def headers_of(error: Exception) -> Mapping[str, str]:
    """The headers that ``with_headers`` put there; none where it did not."""
    return getattr(error, "litellm_response_headers", None) or {}


def not_retried(error: Exception) -> None:
    """Have LiteLLM's Router try the request no further."""
    error.num_retries = 0  # type: ignore[attr-defined]
