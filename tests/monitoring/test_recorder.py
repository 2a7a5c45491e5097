"""Events, from the rooms that record them to Prometheus' and OpenTelemetry's registries."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, generate_latest

from litellm_sagemaker_openai.litellm_seams import metrics_callback
from litellm_sagemaker_openai.monitoring.connections import Connections
from litellm_sagemaker_openai.monitoring.opentelemetry import OpenTelemetryPublisher
from litellm_sagemaker_openai.monitoring.prometheus import PrometheusPublisher
from litellm_sagemaker_openai.monitoring.recorder import MOST_SERIES, bounded, publish_to, record
from litellm_sagemaker_openai.monitoring.table import METRICS, RECORDED, RETRIES, Kind
from tests.conftest import MESSAGES, REGION, Upstream
from tests.monitoring.conftest import Events
from tests.scripted import Answer, chunk, completion, json_answer, sse


def connections() -> list[Connections]:
    return [Connections("a.example", 3, 500, 1), Connections("b.example", 0, None, 0)]


def test_prometheus_and_opentelemetry_have_the_same() -> None:
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    publish_to(PrometheusPublisher(connections, registry), OpenTelemetryPublisher(connections, provider))
    for metric in RECORDED:
        record(metric, 2, *(values[0] if values else "g" for values in metric.labels.values()))
    text = generate_latest(registry).decode()
    data = reader.get_metrics_data()
    assert data is not None
    exported = {each.name: each for each in data.resource_metrics[0].scope_metrics[0].metrics}
    assert exported.keys() == {metric.otel_name for metric in METRICS}
    for metric in RECORDED:
        labels = {name: values[0] if values else "g" for name, values in metric.labels.items()}
        shown = f"{metric.name}_sum" if metric.kind is Kind.HISTOGRAM else metric.name
        assert registry.get_sample_value(shown, labels) == 2
        (point,) = exported[metric.otel_name].data.data_points
        assert point.attributes == labels
        if metric.kind is Kind.HISTOGRAM:
            assert exported[metric.otel_name].unit == "s"
            assert tuple(point.explicit_bounds) == metric.buckets  # type: ignore[union-attr]
    for name, a_value, b_value in (("connections", 3, 0), ("connections_limit", 500, None)):
        assert registry.get_sample_value(f"litellm_sagemaker_openai_{name}", {"host": "a.example"}) == a_value
        assert registry.get_sample_value(f"litellm_sagemaker_openai_{name}", {"host": "b.example"}) == b_value
    assert "litellm_sagemaker_openai_connections_waited_for" in text
    provider.shutdown()


def test_what_is_refused_is_0_from_the_start() -> None:
    registry = CollectorRegistry()
    PrometheusPublisher(connections, registry)
    assert registry.get_sample_value("litellm_sagemaker_openai_credentials_refused_total", {"outcome": "refused"}) == 0


def test_a_full_disk_fails_no_call(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What prometheus_client writes for several workers; no disk is filled here."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Counter, "inc", full)
    publish_to(PrometheusPublisher(connections, CollectorRegistry()))
    with caplog.at_level("WARNING", "LiteLLM"):
        for _ in range(2):
            record(RETRIES, 1, "g", "router")
    assert [each.message for each in caplog.records if "metrics cannot be written" in each.message] == [
        "metrics cannot be written: OSError(28, 'No space left on device')"
    ]


def test_series_are_bounded() -> None:
    kept = {bounded(RETRIES, (f"group-{number}", "router")) for number in range(3 * MOST_SERIES)}
    assert len(kept) == MOST_SERIES + 1
    assert ("other", "router") in kept
    assert bounded(RETRIES, ("group-0", "router")) == ("group-0", "router")


def test_without_either_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        if "." in name:  # as importlib does where the package, too, is missing
            raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.util.find_spec", missing)
    with pytest.raises(RuntimeError, match="needs prometheus_client or OpenTelemetry: pip install prometheus-client"):
        metrics_callback.Metrics()


TRUNCATED = Answer([sse(chunk({"content": "Hi"}), done=False)])


async def asked(is_async: bool, **call: Any) -> None:
    """A call to its end, streamed or not."""
    call = {"model": "sagemaker_openai/e", "messages": MESSAGES, "aws_region_name": REGION, **call}
    answer: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
    if call.get("stream"):
        assert [each async for each in answer] if is_async else list(answer)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
class TestAnApplication:
    """Without a Router: the model is the group, and this provider retries its streams itself."""

    async def test_retries_and_cut_off_streams(self, upstream: Upstream, events: Events, is_async: bool) -> None:
        answers = iter([json_answer({"error": {"message": "not now"}}, 503), TRUNCATED])
        upstream(lambda _: next(answers))
        with pytest.raises(Exception, match="stream ended before"):
            await asked(is_async, stream=True)
        assert ("retries", ("sagemaker_openai/e", "provider")) in events.all
        assert ("streams_cut_off", ("sagemaker_openai/e", "truncated")) in events.all

    async def test_credentials(self, upstream: Upstream, events: Events, is_async: bool) -> None:
        upstream(json_answer({"message": "no"}, 403))
        own = {"aws_access_key_id": "AKIAI44QH8DHBEXAMPLE", "aws_secret_access_key": f"key-{is_async}"}
        with pytest.raises(litellm.PermissionDeniedError):
            await asked(is_async, **own)
        resolved = ("credentials_resolution", ("resolved",))
        assert events.all == [resolved, resolved, ("credentials_refused", ("refused",))]

    async def test_cold_starts(self, upstream: Upstream, events: Events, is_async: bool) -> None:
        no_capacity = {"message": "Inference Component has no capacity to process this request."}
        answers = iter([json_answer(no_capacity, 400), json_answer(completion()), json_answer(completion())])
        upstream(lambda _: next(answers))
        for _ in range(2):
            await asked(is_async, api_key="t", aws_sagemaker_cold_start_timeout=4)
        assert events.all == [("cold_start_wait", ("sagemaker_openai/e", "served"))]

    async def test_a_whole_answer_records_nothing(self, upstream: Upstream, events: Events, is_async: bool) -> None:
        upstream(json_answer(completion()))
        await asked(is_async, api_key="t")
        assert events.all == []


async def test_a_caller_who_leaves_while_it_waits(upstream: Upstream, events: Events) -> None:
    server = upstream(json_answer({"message": "Inference Component has no capacity to process this request."}, 400))
    call = asyncio.create_task(asked(True, api_key="t", aws_sagemaker_cold_start_timeout=60))
    while not server.seen:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert events.all == [("cold_start_wait", ("sagemaker_openai/e", "aborted"))]
