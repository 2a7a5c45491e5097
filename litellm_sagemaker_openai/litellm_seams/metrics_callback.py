"""The optional callback that has this provider's metrics published, and counts the Router's fallbacks.

What LiteLLM does: its Router tells its callbacks of each fallback that it tried, by ``log_success_fallback_event`` and
``log_failure_fallback_event``, with the group that was asked first, the keywords of the try, and why it was needed.
Seen on: LiteLLM 1.106.2.
Without them: fallbacks are not counted here; LiteLLM's own ``litellm_deployment_successful_fallbacks`` has them.
Needed until: LiteLLM's own metrics give the reason. tests/operating/test_metrics.py shows it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from litellm_sagemaker_openai.litellm_seams.connections import read_connections
from litellm_sagemaker_openai.litellm_seams.fallbacks import was_refused
from litellm_sagemaker_openai.litellm_seams.model_groups import group_named
from litellm_sagemaker_openai.monitoring.reasons import reason_of
from litellm_sagemaker_openai.monitoring.recorder import Publisher, publish_to, record
from litellm_sagemaker_openai.monitoring.table import FALLBACKS

_NO_PUBLISHER = (
    "litellm_sagemaker_openai.metrics needs prometheus_client or OpenTelemetry: pip install prometheus-client, for "
    "LiteLLM's callback prometheus, or opentelemetry-sdk opentelemetry-exporter-otlp, for its callback otel"
)


class Metrics(CustomLogger):
    """Publishes metrics from when it is made on, to Prometheus and to OpenTelemetry, whichever is installed.

    Raises:
        RuntimeError: neither is.
    """

    def __init__(self) -> None:
        super().__init__()
        publishers = _publishers()
        if not publishers:
            raise RuntimeError(_NO_PUBLISHER)
        publish_to(*publishers)

    async def log_success_fallback_event(
        self, original_model_group: str, kwargs: dict[str, Any], original_exception: Exception
    ) -> None:
        """Another group answered."""
        _record(original_model_group, kwargs, original_exception, "succeeded")

    async def log_failure_fallback_event(
        self, original_model_group: str, kwargs: dict[str, Any], original_exception: Exception
    ) -> None:
        """Another group did not answer either, or ``no_fallback_on_bad_request`` did not let it be asked."""
        refused = was_refused(kwargs, str(kwargs.get("model")))
        _record(original_model_group, kwargs, original_exception, "refused" if refused else "failed")


def _record(original_model_group: str, kwargs: Mapping[str, Any], error: Exception, outcome: str) -> None:
    groups = group_named(original_model_group), group_named(kwargs.get("model"))
    record(FALLBACKS, 1, *groups, reason_of(error), outcome)


def _publishers() -> list[Publisher]:
    publishers: list[Publisher] = []
    if _is_installed("prometheus_client"):
        from litellm_sagemaker_openai.monitoring.prometheus import PrometheusPublisher

        publishers.append(PrometheusPublisher(read_connections))
    if _is_installed("opentelemetry.metrics"):
        from litellm_sagemaker_openai.monitoring.opentelemetry import OpenTelemetryPublisher

        publishers.append(OpenTelemetryPublisher(read_connections))
    return publishers


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor what it is in
        return False


metrics = Metrics()
