"""Waiting for a component that is scaled to zero: who may ask next, and when to give up. Pure but for a lock.

SageMaker refuses each request at once until the component runs, minutes later. Hundreds of callers that ask every few
seconds would be throttled, so one of all that wait for a target asks for all, once in an interval: the first that comes
sends its own request, and the answer tells the others. A caller who leaves takes nothing along: the next one asks.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litellm_sagemaker_openai.bounded_table import BoundedTable
from litellm_sagemaker_openai.monitoring.recorder import record
from litellm_sagemaker_openai.monitoring.table import COLD_START_WAIT

_LONGEST_INTERVAL = 5.0
_SHORTEST_INTERVAL = 0.2
_REFUSED_WITHIN = 3.0  # seen: a target without capacity refuses about a second after the request
_POLL_SECONDS = 0.05  # how often those who wait look whether the one who asked was refused
_WARM_FOR = 300.0  # no target that was in use a few minutes ago is scaled to zero: alarms take longer to go off
_MOST_TARGETS = 1000
LONGEST_WAIT = 3600.0  # seconds; what takes longer to start does not start
NOTICE_WITHIN = 0.5  # how often those who wait look whether their server is stopping


class ColdStartError(Exception):
    """A caller waited for the target's capacity, and it has none yet."""


class ColdStartTimeout(ColdStartError):
    """For as long as the caller wanted to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"no capacity after waiting {seconds:g} seconds (aws_sagemaker_cold_start_timeout). Check that the "
            "inference component may scale out from zero (its minimum and maximum copy count, and its scaling policy's "
            "alarm on NoCapacityInvocationFailures), that the endpoint's instances have room or may grow, and the "
            "account's instance quota"
        )


class ServerStopping(ColdStartError):
    """The server in which the caller waited is stopping, and waits for its open requests."""

    def __init__(self) -> None:
        super().__init__("no capacity yet, and this server is stopping and waits no longer; ask another one, or again")


class Gate:
    """One target's capacity as far as it is known: there (it answered lately), missing, or unknown. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warm_until = -math.inf
        self._next_try = -math.inf
        self._asked_at: float | None = None  # since when somebody's request is under way

    @property
    def is_cold(self) -> bool:
        """Whether the target had no capacity when it last answered."""
        return self._next_try > -math.inf

    def wait(self, now: float) -> float:
        """Seconds until the caller should come again; 0: it may send now. It then says what came of it."""
        with self._lock:
            if self._asked_at is not None and now - self._asked_at >= _REFUSED_WITHIN:
                # Whoever asked is being answered, which may take a minute.
                self._warm(now)
            if now < self._warm_until:
                return 0.0
            if self._asked_at is not None:
                return _POLL_SECONDS
            if now < self._next_try:
                return self._next_try - now
            self._asked_at = now
            return 0.0

    def mark_cold(self, now: float, interval: float) -> None:
        """The target was asked and had no capacity."""
        with self._lock:
            self._asked_at, self._warm_until = None, -math.inf
            self._next_try = max(self._next_try, now + interval)

    def mark_warm(self, now: float) -> None:
        """The target was asked and gave any other answer."""
        with self._lock:
            self._warm(now)

    def release(self) -> None:
        """Whoever asked left, or could not ask: the next one may."""
        with self._lock:
            self._asked_at = None

    def _warm(self, now: float) -> None:
        self._asked_at, self._warm_until, self._next_try = None, now + _WARM_FOR, -math.inf


@dataclass(frozen=True, slots=True)
class ColdStartPolicy:
    """How long a caller waits for a target's capacity, and how often one of all its callers asks for it."""

    seconds: float
    gate: Gate
    model_group: str = ""  # for metrics

    @property
    def interval(self) -> float:
        return min(_LONGEST_INTERVAL, max(_SHORTEST_INTERVAL, self.seconds / 20))


_gates: BoundedTable[str, Gate] = BoundedTable(_MOST_TARGETS)


def cold_start_policy(target: str, seconds: float, model_group: str = "") -> ColdStartPolicy | None:
    """The policy for a caller who waits so many seconds for a target; None for 0: nothing is waited for.

    Metrics count the wait as the ``model_group``'s.
    """
    return ColdStartPolicy(seconds, _gates.get(target, Gate), model_group) if seconds > 0 else None


class Wait:
    """One caller's wait, from when the context is entered. Its end is recorded where the target had no capacity.

    Args:
        policy: the caller's.
        clock: seconds.
    """

    def __init__(self, policy: ColdStartPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._began = self._asked_at = clock()
        self._met_cold = False

    @property
    def left(self) -> float:
        """Seconds until the caller gives up."""
        return self._policy.seconds - (self._clock() - self._began)

    def note_cold(self) -> bool:
        """Whether the target had no capacity when it last answered: then the caller waits for it."""
        is_cold = self._policy.gate.is_cold
        self._met_cold = self._met_cold or is_cold
        return is_cold

    def note_request(self) -> None:
        """The caller's own request is sent now."""
        self._asked_at = self._clock()

    def __enter__(self) -> Wait:
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if self._met_cold:
            ended = self._asked_at if error is None else self._clock()  # what came then was the answer
            record(
                COLD_START_WAIT, ended - self._began, self._policy.model_group, _OUTCOMES.get(type(error), "aborted")
            )


# How a wait may end besides by an exception of another kind: the caller left, or its request failed.
_OUTCOMES: dict[type, str] = {type(None): "served", ColdStartTimeout: "timeout", ServerStopping: "stopping"}
