"""The log that the operator reads, and no caller: LiteLLM's own."""

from __future__ import annotations

import logging
import time

from litellm_sagemaker_openai.bounded_table import BoundedTable
from litellm_sagemaker_openai.upstream_errors import for_the_log

operator_log = logging.getLogger("LiteLLM")

_AGAIN_AFTER = 600.0  # seconds; a log is rotated, and the callers are told that it says what to set
_MOST_REMEMBERED = 1000

_LONGEST_SUBJECT = 500  # characters; LiteLLM looks through all of what is logged, for seconds where it is a megabyte
_SAME = 100  # characters by which a message is known again

_next_warnings: BoundedTable[tuple[str, str], list[float]] = BoundedTable(_MOST_REMEMBERED)


def warn_seldom(subject: str, message: str, *, again_after: float = _AGAIN_AFTER) -> None:
    """Warn of what the operator has to change: at the first call that it concerns, then seldom.

    Args:
        subject: what is configured wrongly. A name in it may be a client's, as long as a request, and in many lines.
        message: what is wrong, and what to set.
        again_after: how long it is not said again, in seconds.
    """
    now, subject = time.monotonic(), _line(subject[:_LONGEST_SUBJECT])
    due = _next_warnings.get((subject, message[:_SAME]), lambda: [now])
    if now >= due[0]:
        due[0] = now + again_after
        operator_log.warning("%s: %s", subject, _line(for_the_log(message)))


def _line(text: str) -> str:
    """The text in one line, without what a terminal might obey."""
    return "".join(each if each.isprintable() else " " for each in text)
