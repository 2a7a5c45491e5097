"""Two workers, each with its own background health checks, and what makes several proxies act as one."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import litellm
import pytest
from litellm.proxy.health_check import health_check_filter_kwargs_from_general_settings, perform_health_check

from tests.conftest import MESSAGES
from tests.operating.conftest import NO_CAPACITY, MakeRouter, MakeServer, fine, on_sagemaker
from tests.operating.conftest import text_of as text
from tests.operating.proxies import Proxy, config, on_path, proxy, text_of, until
from tests.operating.redis import redis
from tests.scripted import Scripted, json_answer, scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

WORKERS = 2


@dataclass(frozen=True)
class Started:
    proxy: Proxy
    sagemaker: Scripted

    def asked(self) -> Counter[str]:
        """How often each endpoint or component was asked."""
        paths = [seen.path.removesuffix("/openai/v1/chat/completions") for seen in list(self.sagemaker.seen)]
        return Counter(path.rpartition("/")[2] for path in paths)

    def fresh(self) -> httpx.Client:
        """A client with a connection of its own, which any of the workers may take."""
        return httpx.Client(base_url=self.proxy.url, headers=self.proxy.client.headers, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    answers = {"reviewer": NO_CAPACITY, "down": json_answer({"error": {"message": "not now"}}, 503)}
    down = {"model": "sagemaker_openai/down", "litellm_credential_name": "sagemaker"}
    more = {
        "model_list": [{"model_name": "down", "litellm_params": down}],
        "general_settings": {"health_check_interval": 1},  # for the tests' sake
    }
    with ExitStack() as stack:
        sagemaker = stack.enter_context(scripted(on_path(answers, fine)))
        started = proxy(
            tmp_path_factory.mktemp("workers"),
            config("health.yaml"),
            config("metrics.yaml"),
            more,
            sagemaker=sagemaker.url,
            workers=WORKERS,
            environment={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("prometheus"))},
        )
        yield Started(stack.enter_context(started), sagemaker)


class TestTwoWorkers:
    def test_both_answer_whole_and_streamed(self, two_workers: Started) -> None:
        reports = two_workers.proxy.folder / "reported.jsonl"
        for turn, _ in enumerate(until("both workers to have answered")):
            with two_workers.fresh() as client:
                body = {"model": "always-on", "messages": [{"role": "user", "content": "Hi"}], "stream": turn % 2 == 0}
                assert text_of(client.post("/v1/chat/completions", json=body)) == "SageMaker's."
            lines = reports.read_text().splitlines(keepends=True) if reports.exists() else []
            reported = [json.loads(line) for line in lines if line.endswith("\n")]
            if len({each["pid"] for each in reported if each["logged"].get("model_group") == "always-on"}) == WORKERS:
                break

    def test_background_checks_are_true(self, two_workers: Started) -> None:
        for _ in until("a background check in the worker that answers"):
            with two_workers.fresh() as client:
                health = client.get("/health").json()
            if health.get("healthy_count"):
                break
        # always-on, and the wildcard by the model that stands for it
        assert [each["model"] for each in health["healthy_endpoints"]] == ["sagemaker_openai/my-endpoint"] * 2
        (unhealthy,) = health["unhealthy_endpoints"]
        assert unhealthy["model"] == "sagemaker_openai/down"
        assert "SageMaker answered 503: not now" in unhealthy["error"]

    def test_and_never_ask_the_component_that_scales_to_zero(self, two_workers: Started) -> None:
        before = two_workers.asked()["down"]
        for _ in until("three more rounds of checks in each worker"):
            if two_workers.asked()["down"] >= before + 3 * WORKERS:
                break
        with two_workers.fresh() as client:
            # LiteLLM has no result for it and says 503; it asks nobody.
            assert client.get("/health", params={"model": "scales-to-zero"}).status_code == 503
        assert two_workers.asked()["reviewer"] == 0

    def test_metrics_are_those_of_both(self, two_workers: Started) -> None:
        """Credentials are resolved, and connections opened, in each."""
        for _ in until("both workers to have written how many connections they have in use"):
            with two_workers.fresh() as client:
                client.post(
                    "/v1/chat/completions", json={"model": "always-on", "messages": MESSAGES}
                ).raise_for_status()
                text = client.get("/metrics/").text
            limits = re.findall(
                r'^litellm_sagemaker_openai_connections_limit{(?=.*pid="(\d+)").*} [1-9]', text, re.MULTILINE
            )
            resolved = re.findall(
                r'^litellm_\w+_resolution_seconds_count{outcome="resolved"} (\d+)', text, re.MULTILINE
            )
            if len(set(limits)) == WORKERS and float(resolved[0]) >= WORKERS:
                break

    def test_what_is_asked_is_answered_with_no_capacity(self, two_workers: Started) -> None:
        answer = two_workers.proxy.chat("scales-to-zero", num_retries=0, max_tokens=1)
        assert answer.status_code == 503
        assert "no capacity" in answer.json()["error"]["message"]


async def test_checks_on_demand_leave_it_out_where_the_configuration_says_so(servers: MakeServer) -> None:
    awake, asleep = servers(fine), servers(NO_CAPACITY)
    info: dict[str, Any] = config("health.yaml")["model_list"][1]["model_info"]
    models = [
        {**on_sagemaker(awake), "model_info": {"id": "awake"}},
        {**on_sagemaker(asleep), "model_info": {"id": "asleep", **info}},
    ]
    settings = {"health_check_skip_disabled_background_models": True}
    healthy, unhealthy, _ = await perform_health_check(
        models, **health_check_filter_kwargs_from_general_settings(settings)
    )
    assert ([each["model_id"] for each in healthy], unhealthy) == (["awake"], [])
    assert asleep.seen == []

    healthy, unhealthy, _ = await perform_health_check(models)
    assert [each["model_id"] for each in unhealthy] == ["asleep"]
    assert "no capacity" in unhealthy[0]["error"]
    assert len(asleep.seen) == 1


class TestSeveralProxies:
    """LiteLLM's Routers share what they know of deployments through Redis; this provider has nothing to share."""

    @pytest.mark.parametrize("shared", [True, False], ids=["with Redis", "without"])
    async def test_what_one_router_has_taken_out_another_leaves_out_too(
        self, router_of: MakeRouter, servers: MakeServer, monkeypatch: pytest.MonkeyPatch, shared: bool
    ) -> None:
        broken, working = servers(json_answer({"error": {"message": "not now"}}, 503)), servers(fine)
        models = [
            {**on_sagemaker(broken), "model_info": {"id": "broken"}},
            {**on_sagemaker(working), "model_info": {"id": "working"}},
        ]
        with redis() as server:
            monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
            monkeypatch.setenv("REDIS_PORT", str(server.port))
            monkeypatch.setenv("REDIS_PASSWORD", "made-up")
            written = config("several_proxies.yaml")["router_settings"]
            settings = {name: os.environ[value.removeprefix("os.environ/")] for name, value in written.items()}
            more = settings if shared else {}
            first = router_of(*models, num_retries=0, allowed_fails=0, cooldown_time=600, **more)
            while not broken.seen:
                await answers(first)
            # Made after the failure: Routers of one process hear of each other's.
            second = router_of(*models, num_retries=0, allowed_fails=0, cooldown_time=600, **more)
            answered = [await answers(second, stream=turn % 2 == 0) for turn in range(30)]
            for each in (first, second) if shared else ():
                await each.cache.redis_cache.disconnect()  # or a later test would see it warn of an open connection
            assert all(answered) == shared
            assert litellm.cache is None  # with a cache of answers, streams would open later: see stream_opening
            assert server.unknown == set()


async def answers(router: Any, stream: bool = False) -> bool:
    try:
        answer = await router.acompletion("m", MESSAGES, stream=stream)
    except litellm.ServiceUnavailableError:
        return False
    return await text(answer) == "SageMaker's."
