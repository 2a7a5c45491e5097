"""Publishes to OpenTelemetry's global meter provider: LiteLLM's ``otel`` callback sets one, or the application does.

Until there is one, OpenTelemetry's own stand-ins take what is recorded and drop it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from litellm_sagemaker_openai._version import __version__
from litellm_sagemaker_openai.monitoring.connections import Connections, ReadConnections
from litellm_sagemaker_openai.monitoring.table import (
    CONNECTIONS,
    CONNECTIONS_LIMIT,
    CONNECTIONS_WAITED_FOR,
    PREFIX,
    RECORDED,
    Kind,
    Metric,
)

_VALUES: dict[Metric, Callable[[Connections], int | None]] = {
    CONNECTIONS: lambda each: each.in_use,
    CONNECTIONS_LIMIT: lambda each: each.limit,
    CONNECTIONS_WAITED_FOR: lambda each: each.waited_for,
}


class OpenTelemetryPublisher:
    """The metrics of this process.

    Args:
        read_connections: gives those that are in use now.
        provider: where the metrics go. Default: OpenTelemetry's global one, also where that is set later.
    """

    def __init__(self, read_connections: ReadConnections, provider: MeterProvider | None = None) -> None:
        meter = get_meter(PREFIX, __version__, meter_provider=provider)

        def observed(value_of: Callable[[Connections], int | None]) -> Callable[[CallbackOptions], Iterator[Any]]:
            def observe(_: CallbackOptions) -> Iterator[Observation]:
                for each in read_connections():
                    if (value := value_of(each)) is not None:
                        yield Observation(value, {"host": each.host})

            return observe

        self._instruments: dict[Metric, Any] = {}
        for metric in RECORDED:
            if metric.kind is Kind.HISTOGRAM:
                self._instruments[metric] = meter.create_histogram(
                    metric.otel_name,
                    unit="s",
                    description=metric.meaning,
                    explicit_bucket_boundaries_advisory=metric.buckets,
                )
            else:
                self._instruments[metric] = meter.create_counter(metric.otel_name, description=metric.meaning)
        for metric, value_of in _VALUES.items():
            meter.create_observable_gauge(metric.otel_name, [observed(value_of)], description=metric.meaning)

    def publish(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        attributes = dict(zip(metric.labels, labels, strict=True))
        instrument = self._instruments[metric]
        if metric.kind is Kind.HISTOGRAM:
            instrument.record(value, attributes)
        else:
            instrument.add(value, attributes)
