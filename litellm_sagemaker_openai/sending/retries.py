"""Trying a stream again before its first chunk, where LiteLLM does not. Pure but for the clock.

LiteLLM hands its providers ``max_retries``: 0 where it retries itself (its Router, and each further try of its
``num_retries``), the caller's number otherwise (tests/sending/test_retries.py shows what arrives). So nothing is
retried by both. Once a chunk has reached the caller, nothing is retried at all.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from litellm_sagemaker_openai.errors import is_transient
from litellm_sagemaker_openai.litellm_seams.exceptions import headers_of

# As the OpenAI SDK, through which LiteLLM's `openai/` retries: openai._constants, 2.x.
DEFAULT_RETRIES = 2
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
_JITTER = 0.25  # of the pause
_LONGEST_SECONDS = 600.0  # for all tries, where a call has no timeout; LiteLLM's own default


def stream_retries(asked: int | None, routers: int | None = None) -> int:
    """How often a stream is tried again by this provider.

    Args:
        asked: what LiteLLM says, as ``max_retries`` or by the flag of ``stream_opening``; None: nothing.
        routers: the number of a Router that cannot retry the stream any more, since it opens with the caller's first
            read; None: there is none.
    """
    if routers is not None:
        return routers
    return DEFAULT_RETRIES if asked is None else asked


class Tries:
    """The tries of one call.

    Args:
        retries: how many may follow the first.
        seconds: how long they have together: no try begins later than this after the first; None: 600.
        clock: seconds.
    """

    def __init__(self, retries: int, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = retries
        self._clock = clock
        self._ends = clock() + (_LONGEST_SECONDS if seconds is None else seconds)
        self._pause = _FIRST_PAUSE

    def pause_after(self, error: Exception) -> float:
        """Seconds until the next try: twice the last pause, or what ``Retry-After`` says, and some jitter.

        Raises:
            Exception: ``error``, where no try is to follow it.
        """
        asked = retry_after(headers_of(error), datetime.now(timezone.utc))
        pause = max(self._pause, asked) * (1 + _JITTER * random.random())
        if self._left <= 0 or not is_transient(error) or self._clock() + pause >= self._ends:
            raise error
        self._left -= 1
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return pause


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """The seconds in ``Retry-After`` (RFC 9110, 10.2.3: a number, or a date); 0 where it is missing or malformed."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        date = http_date(value)
    return 0.0 if date is None else max(0.0, (date - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """The date in a header (RFC 9110, 5.6.7); None where it is malformed, or does not say of which time zone it is."""
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else None
