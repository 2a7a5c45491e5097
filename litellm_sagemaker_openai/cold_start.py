"""Waiting for a component that is scaled to zero: who may ask next, and when to give up. Pure but for a lock.

SageMaker refuses each request at once until the component runs, minutes later. However many callers wait for one
target, one request an interval goes there for all of them: whoever comes first after the interval sends its own.
There is nothing that a caller who leaves could take along: the next one to come sends instead.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

_LONGEST_INTERVAL = 5.0
_SHORTEST_INTERVAL = 0.2
_REFUSED_WITHIN = 3.0  # seen: a target without capacity refuses about a second after the request
_MOST_TARGETS = 1000


class ColdStartTimeout(Exception):
    """The target had no capacity for as long as the caller wanted to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"no capacity after waiting {seconds:g} seconds (aws_sagemaker_cold_start_timeout). Check that the "
            "inference component may scale out from zero (its minimum and maximum copy count, and its scaling policy's "
            "alarm on NoCapacityInvocationFailures), that the endpoint's instances have room or may grow, and the "
            "account's instance quota"
        )


class Gate:
    """One target's capacity as far as it is known: unknown or there (open), or missing (closed). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._next_try = 0.0
        self._asked_at: float | None = None  # since when a request is under way that was not refused

    def wait(self, now: float, interval: float) -> float:
        """Seconds until the caller should come again; 0: it may send now, and the next one an interval later."""
        with self._lock:
            if self._asked_at is not None and now - self._asked_at >= _REFUSED_WITHIN:
                self._closed = False  # whoever asked is being answered, which may take a minute
            if not self._closed:
                return 0.0
            if now < self._next_try:
                return self._next_try - now
            self._next_try = now + interval
            if self._asked_at is None:
                self._asked_at = now
            return 0.0

    def close(self, now: float, interval: float) -> None:
        """The target was asked and had no capacity."""
        with self._lock:
            self._closed = True
            self._asked_at = None
            self._next_try = max(self._next_try, now + interval)

    def open(self) -> None:
        """The target was asked and gave any other answer."""
        with self._lock:
            self._closed = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller waits for a target's capacity, and how often one of all its callers asks for it."""

    seconds: float
    gate: Gate

    @property
    def interval(self) -> float:
        return min(_LONGEST_INTERVAL, max(_SHORTEST_INTERVAL, self.seconds / 20))


_gates: dict[str, Gate] = {}
_gates_lock = threading.Lock()


def patience_for(url: str, seconds: float) -> Patience | None:
    """A caller's patience with the target at ``url``; None where it has none: then nothing is waited for."""
    if seconds <= 0:
        return None
    with _gates_lock:
        if url not in _gates and len(_gates) >= _MOST_TARGETS:
            _gates.pop(next(iter(_gates)))
        return Patience(seconds, _gates.setdefault(url, Gate()))


def _forget_gates() -> None:
    global _gates_lock
    _gates_lock = threading.Lock()
    _gates.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_gates)  # another thread may hold a lock, and is not there any more
