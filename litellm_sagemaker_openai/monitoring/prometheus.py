"""Publishes to ``prometheus_client``'s default registry, which LiteLLM's proxy shows at ``/metrics``.

With several workers (``PROMETHEUS_MULTIPROC_DIR``) each of them writes files, which the one that is scraped adds up.
What is read at a scrape otherwise, the connections, is then written every few seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily

from litellm_sagemaker_openai.monitoring.connections import ReadConnections
from litellm_sagemaker_openai.monitoring.table import (
    CONNECTIONS,
    CONNECTIONS_LIMIT,
    CONNECTIONS_WAITED_FOR,
    READ,
    RECORDED,
    Kind,
    Metric,
)
from litellm_sagemaker_openai.operator_log import warn_seldom

_WRITE_SECONDS = 5.0


class PrometheusPublisher:
    """The metrics of this process.

    Args:
        read_connections: gives those that are in use now.
        registry: where the metrics go. Default: prometheus_client's own.
    """

    def __init__(self, read_connections: ReadConnections, registry: CollectorRegistry = REGISTRY) -> None:
        self._metrics = {metric: _made(metric, registry) for metric in RECORDED}
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # as prometheus_client and LiteLLM look
            self._written = {
                each: Gauge(*_named(each), registry=registry, multiprocess_mode="liveall") for each in READ
            }
            threading.Thread(
                target=self._write_connections, args=(read_connections,), name="sagemaker-openai-metrics", daemon=True
            ).start()
        else:
            registry.register(_ConnectionsCollector(read_connections))

    def publish(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        try:
            series = self._metrics[metric].labels(*labels)
            series.observe(value) if metric.kind is Kind.HISTOGRAM else series.inc(value)
        except OSError as error:  # of the files of several workers: a full disk must not fail the call that is counted
            warn_seldom("metrics cannot be written", repr(error))

    def _write_connections(self, read_connections: ReadConnections) -> None:
        while True:
            for metric, host, value in _values(read_connections):
                self._written[metric].labels(host).set(value)
            time.sleep(_WRITE_SECONDS)


class _ConnectionsCollector:
    """Reads the connections when Prometheus asks."""

    def __init__(self, read_connections: ReadConnections) -> None:
        self._read_connections = read_connections

    def describe(self) -> list[GaugeMetricFamily]:
        return list(self._families().values())

    def collect(self) -> list[GaugeMetricFamily]:
        families = self._families()
        for metric, host, value in _values(self._read_connections):
            families[metric].add_metric([host], value)
        return list(families.values())

    def _families(self) -> dict[Metric, GaugeMetricFamily]:
        return {each: GaugeMetricFamily(each.name, each.meaning, labels=list(each.labels)) for each in READ}


def _values(read_connections: ReadConnections) -> Iterator[tuple[Metric, str, float]]:
    for each in read_connections():
        yield CONNECTIONS, each.host, each.in_use
        yield CONNECTIONS_WAITED_FOR, each.host, each.waited_for
        if each.limit is not None:
            yield CONNECTIONS_LIMIT, each.host, each.limit


def _named(metric: Metric) -> tuple[str, str, tuple[str, ...]]:
    return metric.name, metric.meaning, tuple(metric.labels)


def _made(metric: Metric, registry: CollectorRegistry) -> Any:
    if metric.kind is Kind.HISTOGRAM:
        made: Any = Histogram(*_named(metric), registry=registry, buckets=metric.buckets)
    else:
        made = Counter(*_named(metric), registry=registry)
    if all(metric.labels.values()):
        for values in product(*metric.labels.values()):
            made.labels(*values)  # 0 from the start, so that an alert sees the first increase
    return made
