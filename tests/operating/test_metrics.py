"""What the real proxy shows at /metrics, and hands to OpenTelemetry, after what the metrics are about has happened."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from litellm_sagemaker_openai.monitoring.table import METRICS, PREFIX
from tests.operating.conftest import NO_CAPACITY, fine
from tests.operating.proxies import Proxy, config, on_path, proxy, until
from tests.scripted import Answer, Seen, chunk, json_answer, scripted, sse

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

BEGUN = sse(chunk({"content": "Hi"}), done=False)
ERROR_EVENT = sse({"error": {"message": "CUDA error", "code": 500}}, done=False)
MISTAKE = json_answer({"error": {"message": "temperature must be at most 2"}}, 400)
BUSY = json_answer({"error": {"message": "not now"}}, 503)
DENIED = json_answer({"message": "not authorized"}, 403)
STREAMS = {
    "truncated": Answer([BEGUN]),
    "timeout": Answer([BEGUN], end="stall"),
    "connection": Answer([BEGUN], end="reset"),
    "error_event": Answer([BEGUN, ERROR_EVENT]),
    "malformed": Answer([BEGUN, b"data: {]\n\n"]),
}
NAMES = {cause: cause.replace("_", "-") for cause in STREAMS}
WILD = "sagemaker_openai/*"


def after(times: int, first: Answer) -> Any:
    """A container that answers, and before that so many times with something else."""
    counted = itertools.count()

    def script(seen: Seen) -> Answer | bytes:
        return first if next(counted) < times else fine(seen)

    return script


ANSWERS = {
    **{NAMES[cause]: answer for cause, answer in STREAMS.items()},
    "starting": after(2, NO_CAPACITY),
    "asleep": NO_CAPACITY,
    "busy": BUSY,
    "busy-once": after(1, BUSY),
    "strict": MISTAKE,
    "denied": DENIED,
    "wild": NO_CAPACITY,
}


def model(name: str, **more: Any) -> dict[str, Any]:
    params = {"model": f"sagemaker_openai/{name}", "litellm_credential_name": "sagemaker", **more}
    return {"model_name": name, "litellm_params": params}


MODELS = {
    "model_list": [
        *(model(name, timeout=1) for name in NAMES.values()),
        model("starting", aws_sagemaker_cold_start_timeout=4),
        model("asleep", aws_sagemaker_cold_start_timeout=0.5),
        *(model(name) for name in ("busy", "busy-once", "strict", "denied", "spare")),
        {**model("*"), "model_name": WILD},
    ],
    "router_settings": {
        "num_retries": 0,
        "fallbacks": [{"asleep": ["spare"]}, {"denied": ["busy"]}, {"strict": ["spare"]}],
        "allowed_fails": 1000,
    },
    "litellm_settings": {"callbacks": ["otel", "litellm_sagemaker_openai.no_fallback_on_bad_request"]},
}


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with ExitStack() as stack:
        sagemaker = stack.enter_context(scripted(on_path(ANSWERS, fine)))
        started = proxy(
            tmp_path_factory.mktemp("metrics"),
            config("metrics.yaml"),
            MODELS,
            sagemaker=sagemaker.url,
            environment={"OTEL_EXPORTER": "console", "LITELLM_OTEL_INTEGRATION_ENABLE_METRICS": "true"},
        )
        yield stack.enter_context(started)


Samples = Counter[tuple[str, frozenset[tuple[str, str]]]]


def samples(proxy: Proxy) -> Samples:
    """This provider's, at /metrics."""
    text = proxy.get("/metrics/").raise_for_status().text
    return Counter(
        {
            (each.name.removeprefix(f"{PREFIX}_"), frozenset(each.labels.items())): each.value
            for family in text_string_to_metric_families(text)
            for each in family.samples
            if each.name.startswith(PREFIX) and not each.name.endswith("_created")
        }
    )


class More:
    """What has been added to the metrics since this was made."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._before = samples(proxy)

    def __call__(self, name: str, **labels: str) -> float:
        wanted = name, frozenset(labels.items())
        return samples(self._proxy)[wanted] - self._before[wanted]

    def wait_for(self, name: str, **labels: str) -> None:
        """LiteLLM tells its callbacks after it has answered."""
        for _ in until(f"{name} {labels}"):
            if self(name, **labels) == 1:
                return


def test_a_cold_start_that_ended_well(metered: Proxy) -> None:
    more = More(metered)
    assert metered.chat("starting").status_code == 200
    labels = {"model_group": "starting", "outcome": "served"}
    assert more("cold_start_wait_seconds_count", **labels) == 1
    assert more("cold_start_wait_seconds_sum", **labels) >= 0.4  # two refusals, 0.2 s apart


def test_one_that_did_not_and_its_fallback(metered: Proxy) -> None:
    more = More(metered)
    assert metered.chat("asleep").status_code == 200
    assert more("cold_start_wait_seconds_count", model_group="asleep", outcome="timeout") == 1
    labels = {"model_group": "asleep", "fallback_model_group": "spare", "reason": "no_capacity"}
    more.wait_for("fallbacks_total", **labels, outcome="succeeded")


def test_refused_credentials_and_a_fallback_that_failed(metered: Proxy) -> None:
    more = More(metered)
    assert metered.chat("denied").status_code == 403
    labels = {"model_group": "denied", "fallback_model_group": "busy", "reason": "access"}
    more.wait_for("fallbacks_total", **labels, outcome="failed")
    assert more("credentials_refused_total", outcome="refused") == 1
    assert more("credentials_refused_total", outcome="recovered") == 0


def test_a_call_that_need_not_wait_is_not_counted(metered: Proxy) -> None:
    before = samples(metered)
    assert metered.chat("starting").status_code == 200
    assert {name for name, _ in before - samples(metered)} == set()
    assert More(metered)("cold_start_wait_seconds_count", model_group="starting", outcome="served") == 0


def test_a_fallback_that_was_refused(metered: Proxy) -> None:
    more = More(metered)
    assert metered.chat("strict").status_code == 400
    labels = {"model_group": "strict", "fallback_model_group": "spare", "reason": "bad_request"}
    more.wait_for("fallbacks_total", **labels, outcome="refused")
    assert more("fallbacks_total", **labels, outcome="failed") == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_routers_retry(metered: Proxy, stream: bool) -> None:
    ANSWERS["busy-once"] = after(1, BUSY)
    more = More(metered)
    assert metered.chat("busy-once", stream=stream, num_retries=1).status_code == 200
    assert more("retries_total", model_group="busy-once", by="router") == 1
    assert more("retries_total", model_group="busy-once", by="provider") == 0


@pytest.mark.parametrize("cause", STREAMS)
def test_a_stream_that_was_cut_off(metered: Proxy, cause: str) -> None:
    more = More(metered)
    assert '"error"' in metered.chat(NAMES[cause], stream=True).text
    assert more("streams_cut_off_total", model_group=NAMES[cause], cause=cause) == 1


def test_credentials_and_connections(metered: Proxy) -> None:
    metered.chat("spare")
    shown = samples(metered)
    assert shown["credentials_resolution_seconds_count", frozenset({("outcome", "resolved")})] >= 1
    assert shown["credentials_resolution_seconds_count", frozenset({("outcome", "failed")})] == 0
    here = frozenset({("host", "127.0.0.1")})
    assert shown["connections_limit", here] == 500
    assert ("connections", here) in shown
    assert ("connections_waited_for", here) in shown


def test_what_a_client_says_becomes_no_label(metered: Proxy) -> None:
    """With a key and a wildcard, a client names any endpoint, any metadata, and any group to fall back to."""
    said = "clients-own-text"
    claims = dict.fromkeys(("model_group", "deployment_model_name", "deployment", "user_api_key_alias"), said)
    metadata = {**claims, "attempted_retries": 9, "model_info": {"id": said}, "previous_models": [said]}
    ANSWERS.update({f"{said}-{number}": STREAMS["truncated"] for number in range(20)})
    more = More(metered)
    for number in range(20):
        metered.chat(f"sagemaker_openai/{said}-{number}", stream=True, metadata=metadata)
        metered.chat(f"{said}-{number}", metadata=metadata)  # nobody's
    assert more("streams_cut_off_total", model_group=WILD, cause="truncated") == 20
    metered.chat("asleep", fallbacks=[said, {"model": f"sagemaker_openai/{said}"}], litellm_metadata=metadata)
    metered.client.post(
        "/v1/messages",
        json={
            "model": f"sagemaker_openai/{said}-0",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 9,
            "stream": True,
            "metadata": metadata,
        },
    )
    for _ in until("LiteLLM to report the fallback"):
        if any(("fallback_model_group", "other") in labels for _, labels in samples(metered)):
            break
    new = {labels for _, labels in samples(metered)}
    assert said not in str(new)
    assert more("retries_total", model_group=WILD, by="router") == 0
    assert len(new) < 100


def test_metrics_want_a_key(metered: Proxy) -> None:
    assert httpx.get(f"{metered.url}/metrics/").status_code == 401


def test_all_metrics_have_been_seen(metered: Proxy) -> None:
    text = metered.get("/metrics/").text
    assert [each.name for each in METRICS if f"\n{each.name}" not in text] == []


def test_opentelemetry_has_them_too(metered: Proxy) -> None:
    for _ in until("OpenTelemetry's export, which is due every 5 seconds"):
        if all(f'"name": "{each.otel_name}"' in metered.log for each in METRICS):
            break
    exported = list(_objects(metered.log))
    scopes = [
        scope for each in exported for resource in each["resource_metrics"] for scope in resource["scope_metrics"]
    ]
    points = {
        (metric["name"], point["attributes"].get("model_group"), point["attributes"].get("cause"))
        for scope in scopes
        if scope["scope"]["name"] == PREFIX
        for metric in scope["metrics"]
        for point in metric["data"]["data_points"]
    }
    assert (f"{PREFIX}.streams_cut_off", "truncated", "truncated") in points


def _objects(log: str) -> Iterator[Any]:
    """The metrics that OpenTelemetry's console exporter has written between the lines of a log."""
    for begin in re.finditer(r'^{\s+"resource_metrics"', log, re.MULTILINE):
        yield json.JSONDecoder().raw_decode(log, begin.start())[0]
