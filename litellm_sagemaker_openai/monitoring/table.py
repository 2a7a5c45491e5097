"""The table of metrics: name, kind, labels, meaning. Pure. Does not import LiteLLM.

docs/monitoring.md has the same table for readers.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "litellm_sagemaker_openai"
OTHER = "other"  # LiteLLM's word for it (litellm.constants.PROMETHEUS_OVERFLOW_SERIES_LABEL_VALUE, 1.106.2)


class Kind(enum.Enum):
    """What a metric measures by."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric.

    Attributes:
        stem: its name, without ``PREFIX`` and what Prometheus' conventions add.
        kind: what it measures by. Histograms are of seconds.
        labels: each label's name, and its possible values; none where the operator's configuration gives them.
        meaning: in a sentence.
        buckets: a histogram's upper bounds, in seconds.
    """

    stem: str
    kind: Kind
    labels: Mapping[str, tuple[str, ...]]
    meaning: str
    buckets: tuple[float, ...] = field(default=())

    @property
    def name(self) -> str:
        """As Prometheus has it: what a counter ends with, and the unit, included."""
        return f"{PREFIX}_{self.stem}" + {Kind.COUNTER: "_total", Kind.HISTOGRAM: "_seconds", Kind.GAUGE: ""}[self.kind]

    @property
    def otel_name(self) -> str:
        """As OpenTelemetry has it: its exporters for Prometheus make ``name`` of it, the kind and the unit."""
        return f"{PREFIX}.{self.stem}"


_GROUP: Mapping[str, tuple[str, ...]] = {"model_group": ()}

COLD_START_WAIT = Metric(
    "cold_start_wait",
    Kind.HISTOGRAM,
    {**_GROUP, "outcome": ("served", "timeout", "stopping", "aborted")},
    "How long a call waited for a component without capacity (aws_sagemaker_cold_start_timeout).",
    (1, 5, 15, 30, 60, 120, 180, 240, 300, 420, 600, 900, 1800, 3600),
)
CREDENTIALS_RESOLUTION = Metric(
    "credentials_resolution",
    Kind.HISTOGRAM,
    {"outcome": ("resolved", "failed")},
    "How long it took to resolve AWS credentials anew (STS, IMDS, a credential process, a look at what is held).",
    (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
CREDENTIALS_REFUSED = Metric(
    "credentials_refused",
    Kind.COUNTER,
    {"outcome": ("recovered", "refused")},
    "Requests that were answered 401 or 403, and whether freshly resolved credentials were accepted.",
)
RETRIES = Metric(
    "retries",
    Kind.COUNTER,
    {**_GROUP, "by": ("router", "provider")},
    "Tries after the first, before anything of the answer reached the caller.",
)
STREAMS_CUT_OFF = Metric(
    "streams_cut_off",
    Kind.COUNTER,
    {**_GROUP, "cause": ("truncated", "timeout", "connection", "error_event", "malformed")},
    "Streams that ended in an error after a part of the answer had reached the caller.",
)
FALLBACKS = Metric(
    "fallbacks",
    Kind.COUNTER,
    {
        **_GROUP,
        "fallback_model_group": (),
        "reason": (
            *("no_capacity", "unavailable", "connection", "timeout", "rate_limit", "server_error", "access"),
            *("not_found", "context_window", "bad_request", OTHER),
        ),
        "outcome": ("succeeded", "failed", "refused"),
    },
    "Fallbacks of LiteLLM's Router from one model group to another, and why.",
)
CONNECTIONS = Metric(
    "connections", Kind.GAUGE, {"host": ()}, "Connections of asynchronous calls that are in use, in each worker."
)
CONNECTIONS_LIMIT = Metric(
    "connections_limit", Kind.GAUGE, {"host": ()}, "How many connections to the host a worker may have in use."
)
CONNECTIONS_WAITED_FOR = Metric(
    "connections_waited_for", Kind.GAUGE, {"host": ()}, "Asynchronous calls that wait for a connection, in each worker."
)

RECORDED = (COLD_START_WAIT, CREDENTIALS_RESOLUTION, CREDENTIALS_REFUSED, RETRIES, STREAMS_CUT_OFF, FALLBACKS)
READ = (CONNECTIONS, CONNECTIONS_LIMIT, CONNECTIONS_WAITED_FOR)
METRICS = (*RECORDED, *READ)
