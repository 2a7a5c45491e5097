"""Where the other rooms record what happened. Costs a look where nobody asked for metrics. Does not import LiteLLM."""

from __future__ import annotations

from typing import Protocol

from litellm_sagemaker_openai.monitoring.table import OTHER, Metric

# Label sets of a metric. A client that names many models may not make many series: docs/monitoring.md says what counts.
MOST_SERIES = 1000


class Publisher(Protocol):
    """What hands metrics on: to Prometheus, to OpenTelemetry."""

    def publish(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        """Take one event in, with the values of the metric's labels."""


_publishers: tuple[Publisher, ...] = ()
_seen: dict[Metric, set[tuple[str, ...]]] = {}


def publish_to(*publishers: Publisher) -> None:
    """Record for these from now on; for nobody where there are none."""
    global _publishers
    _publishers = publishers


def is_on() -> bool:
    """Whether anybody asked for metrics: for what it would cost something to find out."""
    return bool(_publishers)


def record(metric: Metric, value: float, *labels: str) -> None:
    """Record an event.

    Args:
        metric: one of ``table.RECORDED``.
        value: seconds for a histogram; how many for a counter.
        labels: the values of the metric's labels, in its order.
    """
    if _publishers:
        labels = bounded(metric, labels)
        for publisher in _publishers:
            publisher.publish(metric, value, labels)


def bounded(metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels as they are, while the metric has few sets of them; then ``other`` for those without fixed values."""
    seen = _seen.setdefault(metric, set())
    if labels in seen or len(seen) < MOST_SERIES:  # without a lock: threads that come at once may make a few more
        seen.add(labels)
        return labels
    return tuple(value if fixed else OTHER for value, fixed in zip(labels, metric.labels.values(), strict=True))
