"""What the real proxy shows at /metrics, and hands to OpenTelemetry, after what the metrics are about has happened."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from litellm_sagemaker_openai.litellm_seams.pool_limit import default_limit
from litellm_sagemaker_openai.monitoring.table import METRICS, PREFIX, Kind
from tests.operating.conftest import fine
from tests.operating.provoked import BUSY, CONFIG, STREAMS, WILDCARD, after, answers, endpoint_of, provoke
from tests.operating.proxies import Proxy, config, on_path, proxy, until
from tests.scripted import scripted
from tools.monitoring import alerts, queries

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

ANSWERS = answers()
TEAM_KEY = "sk-of-a-team"
HOUSE_RULES = f"""
import os
from litellm.proxy._types import UserAPIKeyAuth

async def auth(request, api_key):
    if api_key not in (os.environ["LITELLM_MASTER_KEY"], {TEAM_KEY!r}):
        raise ValueError("not one of ours")
    return UserAPIKeyAuth(api_key=api_key, team_id="team")
"""


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with ExitStack() as stack:
        sagemaker = stack.enter_context(scripted(on_path(ANSWERS, fine)))
        folder = tmp_path_factory.mktemp("metrics")
        (folder / "house_rules.py").write_text(HOUSE_RULES)
        started = proxy(
            folder,
            config("metrics.yaml"),
            CONFIG,
            {"litellm_settings": {"callbacks": ["otel"]}, "general_settings": {"custom_auth": "house_rules.auth"}},
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


def test_a_fallback_that_failed(metered: Proxy) -> None:
    more = More(metered)
    assert metered.chat("down").status_code == 503
    labels = {"model_group": "down", "fallback_model_group": "busy", "reason": "unavailable"}
    more.wait_for("fallbacks_total", **labels, outcome="failed")


def test_refused_credentials(metered: Proxy) -> None:
    more = More(metered)
    assert metered.chat("denied").status_code == 403
    labels = {"model_group": "denied", "fallback_model_group": "spare", "reason": "access"}
    more.wait_for("fallbacks_total", **labels, outcome="refused")
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
    assert '"error"' in metered.chat(endpoint_of(cause), stream=True).text
    assert more("streams_cut_off_total", model_group=endpoint_of(cause), cause=cause) == 1


def test_litellm_counts_what_a_fallback_answered_as_the_fallbacks(metered: Proxy) -> None:
    """The alert FallbacksAnswer, and docs/monitoring.md, say so."""
    assert metered.chat("asleep").headers["x-litellm-attempted-fallbacks"] == "1"
    for _ in until("LiteLLM to count it"):
        text = metered.get("/metrics/").text
        counted = re.findall(
            r'^litellm_proxy_total_requests_metric_total{.*requested_model="(.*?)"', text, re.MULTILINE
        )
        if "spare" in counted:
            break
    assert "asleep" not in counted


def test_credentials_and_connections(metered: Proxy) -> None:
    metered.chat("spare")
    shown = samples(metered)
    assert shown["credentials_resolution_seconds_count", frozenset({("outcome", "resolved")})] >= 1
    assert shown["credentials_resolution_seconds_count", frozenset({("outcome", "failed")})] == 0
    here = frozenset({("host", "127.0.0.1")})
    assert shown["connections_limit", here] == default_limit()
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
    assert more("streams_cut_off_total", model_group=WILDCARD, cause="truncated") == 20
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
    assert more("retries_total", model_group=WILDCARD, by="router") == 0
    assert len(new) < 100


def test_metrics_want_a_key(metered: Proxy) -> None:
    """One that the proxy knows: with ``custom_auth``, a team's will do."""
    assert httpx.get(f"{metered.url}/metrics/", trust_env=False).status_code == 401
    for key, status in {"sk-made-up": 401, TEAM_KEY: 200, metered.key: 200}.items():
        answer = httpx.get(f"{metered.url}/metrics/", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
        assert answer.status_code == status, key


def test_the_dashboard_and_the_alerts_ask_for_what_is_shown(metered: Proxy) -> None:
    provoke(metered)
    asked = {**queries(), **{name: rule["expr"] for name, rule in alerts().items()}}
    asked |= {each.name: f"{each.name}_count" if each.kind is Kind.HISTOGRAM else each.name for each in METRICS}
    deadline = time.monotonic() + 20
    for _ in until("LiteLLM to have told its callbacks of all that"):
        shown: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(metered.get("/metrics/").text):
            for sample in family.samples:
                shown.setdefault(sample.name, set()).update(sample.labels)
        missing = {title: lacking for title, query in asked.items() if (lacking := not_shown(query, shown))}
        if not missing or time.monotonic() > deadline:
            break
    assert missing == {}


def not_shown(query: str, shown: Mapping[str, set[str]]) -> set[str]:
    """The metrics, and labels of them, that a query asks for and that are not shown."""
    labels = {label for group in re.findall(r"\bby \((.*?)\)", query) for label in group.split(", ")}
    labels |= {label for group in re.findall(r"{(.*?)}", query, re.DOTALL) for label in re.findall(r"(\w+)[!=]", group)}
    names = set(re.findall(r"\blitellm_\w+", query)) - labels
    return (names - shown.keys()) | labels.difference({"le"}, *(shown.get(name, ()) for name in names))


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
