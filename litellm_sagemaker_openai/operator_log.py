"""The log that the operator reads, and no caller: LiteLLM's own."""

from __future__ import annotations

import logging
import time

from litellm_sagemaker_openai.bounded_table import BoundedTable
from litellm_sagemaker_openai.upstream_errors import for_the_log

operator_log = logging.getLogger("LiteLLM")

_AGAIN_AFTER = 600.0  # seconds; a log is rotated, and the callers are told that it says what to set
_MOST_REMEMBERED = 1000

_next_warnings: BoundedTable[tuple[str, str], list[float]] = BoundedTable(_MOST_REMEMBERED)


def warn_of_deployment(deployment: str, message: str) -> None:
    """Warn that a deployment is misconfigured: at the first call that this refuses, then every 10 minutes at most."""
    now = time.monotonic()
    due = _next_warnings.get((deployment, message), lambda: [now])
    if now >= due[0]:
        due[0] = now + _AGAIN_AFTER
        operator_log.warning(
            "%s is misconfigured, and its calls are refused before anything is sent: %s",
            deployment,
            for_the_log(message),
        )
