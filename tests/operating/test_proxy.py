"""The real proxy with the docs' configurations: routing, failures, request ids, spend, model information, health."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from examples.bedrock import PREFIX, REASONING
from tests.operating.bedrock import bedrock
from tests.operating.conftest import NO_CAPACITY, fine
from tests.operating.proxies import Proxy, config, events, on_path, proxy, text_of, without_notices
from tests.scripted import Answer, Scripted, Seen, json_answer, scripted, sse

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
SLOW_SECONDS = 0.3
LATE_SECONDS = 0.3
REQUEST_ID = "llm_provider-x-amzn-requestid"


def refused(status: int, message: str) -> Answer:
    return json_answer({"error": {"message": message}}, status, **{"x-amzn-RequestId": f"refused-{status}"})


ANSWERS = {
    "asleep": NO_CAPACITY,
    "reviewer": NO_CAPACITY,
    "waited-for": NO_CAPACITY,
    "strict": refused(400, "temperature must be at most 2"),
    "short": refused(400, "This model's maximum context length is 50 tokens."),
    "busy": refused(429, "slow down"),
    "down": refused(503, "not now"),
    "stalled": Answer([], content_type="application/json", end="stall"),
    "mute": Answer([b": ping\n\n"], end="cut"),
    "dead-at-once": Answer([sse({"error": {"message": "out of memory", "code": 503}})]),
}
HAVE_FALLBACKS = ("strict", "short", "down", "mute", "dead-at-once")


def slow(seen: Seen) -> Answer:
    """``fine``, but for a pause in its middle."""
    answer = fine(seen)
    first, rest = b"".join(answer.pieces)[:100], b"".join(answer.pieces)[100:]

    def pieces() -> Iterator[bytes]:
        yield first
        time.sleep(SLOW_SECONDS)
        yield rest

    return replace(answer, pieces=pieces())


def late(seen: Seen) -> Answer:
    """``fine``, but for a pause after its head, where a model reads the prompt."""
    answer = fine(seen)

    def pieces() -> Iterator[bytes]:
        time.sleep(LATE_SECONDS)
        yield from answer.pieces

    return replace(answer, pieces=pieces())


def late_refusal(seen: Seen) -> Answer:
    time.sleep(LATE_SECONDS)
    return refused(503, "not now")


def lone(name: str, **params: Any) -> dict[str, Any]:
    """A group of one deployment that is never taken out."""
    params = {"model": f"sagemaker_openai/{name}", "litellm_credential_name": "sagemaker", "cooldown_time": 0, **params}
    return {"model_name": name, "litellm_params": params}


@dataclass(frozen=True)
class Started:
    proxy: Proxy
    sagemaker: Scripted
    bedrock: Scripted
    answers: dict[str, Any]
    start_up_log: str


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    answers: dict[str, Any] = dict(ANSWERS)
    with ExitStack() as stack:
        sagemaker = stack.enter_context(scripted(on_path(answers, fine)))
        on_bedrock = stack.enter_context(bedrock())
        gone = stack.enter_context(scripted(fine))
        gone.close()
        native = {"api_base": f"{sagemaker.url}/native", "api_key": "t"}
        vllm = {"model": "hosted_vllm/native", **native}
        prices = config("prices.yaml")["model_list"]
        second = prices[1]["litellm_params"]["input_cost_per_second"]
        others = {
            "model_list": [
                *(lone(name) for name in ("asleep", "strict", "busy", "down", "late")),
                lone("stalled", timeout=0.2),
                lone("waited-for", aws_sagemaker_cold_start_timeout=3600),
                lone("gone", api_base=gone.url),
                *({**lone(name, num_retries=0), "model_name": f"has-fallback-{name}"} for name in HAVE_FALLBACKS),
                # The yardstick: a native provider at the same prices.
                {"model_name": "vllm-priced-per-token", "litellm_params": vllm, "model_info": prices[0]["model_info"]},
                {
                    "model_name": "vllm-priced-per-second",
                    "litellm_params": {**vllm, "model": "hosted_vllm/second", "input_cost_per_second": second},
                },
            ],
            "router_settings": {
                "fallbacks": [{f"has-fallback-{name}": ["gpt-oss-bedrock"]} for name in HAVE_FALLBACKS],
                "context_window_fallbacks": [{"has-fallback-short": ["gpt-oss-bedrock"]}],
            },
        }
        health = {"model_list": [each for each in config("health.yaml")["model_list"] if "*" not in each["model_name"]]}
        beside = config("beside_bedrock.yaml")
        wildcard = next(each for each in config("health.yaml")["model_list"] if "*" in each["model_name"])
        next(each for each in beside["model_list"] if "*" in each["model_name"])["model_info"] = wildcard["model_info"]
        started = stack.enter_context(
            proxy(
                tmp_path_factory.mktemp("proxy"),
                beside,
                config("prices.yaml"),
                config("capabilities.yaml"),
                health,
                others,
                sagemaker=sagemaker.url,
                bedrock=on_bedrock.url,
            )
        )
        yield Started(started, sagemaker, on_bedrock, answers, started.log)


@pytest.fixture
def running(module: Started) -> Started:
    module.sagemaker.seen.clear()
    module.bedrock.seen.clear()
    return module


def region_of(seen: Seen) -> str:
    """The region that the request's token is for."""
    token = seen.headers["authorization"].removeprefix("Bearer sagemaker-api-key-")
    query = parse_qs(base64.b64decode(token).decode().partition("?")[2])
    return query["X-Amz-Credential"][0].split("/")[2]


def served_by(response: httpx.Response) -> tuple[str, str]:
    return response.headers["x-litellm-model-name"], response.headers["x-litellm-attempted-fallbacks"]


def test_starts_without_a_warning(running: Started) -> None:
    """AWS parameters come from ``credential_list``: LiteLLM does not say that they "will fail"."""
    assert "Application startup complete" in running.start_up_log
    assert not re.search(r"(?i)\b(warning|error|traceback)\b|will fail", without_notices(running.start_up_log))


class TestRouting:
    def test_two_regions_then_bedrock(self, running: Started) -> None:
        endpoints = {"gpt-oss-west": "us-west-2", "gpt-oss-east": "us-east-1"}
        served: set[str] = set()
        while len(served) < 2:
            answer = running.proxy.chat("gpt-oss", reasoning_effort="low")
            assert text_of(answer) == "SageMaker's."
            served.add(answer.headers["x-litellm-model-name"].removeprefix("sagemaker_openai/"))
        assert {endpoint_of(seen): region_of(seen) for seen in running.sagemaker.seen} == endpoints
        assert all(seen.json["reasoning_effort"] == "low" for seen in running.sagemaker.seen)

        running.answers["gpt-oss-west"] = refused(503, "not now")
        running.sagemaker.seen.clear()
        for turn in range(12):
            answer = running.proxy.chat("gpt-oss", stream=turn % 2 == 0)
            assert text_of(answer) == "SageMaker's."
            assert served_by(answer) == ("sagemaker_openai/gpt-oss-east", "0")
        # Taken out after its first failure, if it was asked at all.
        assert [endpoint_of(seen) for seen in running.sagemaker.seen].count("gpt-oss-west") <= 1

        running.answers["gpt-oss-east"] = NO_CAPACITY
        for stream in (True, False):
            answer = running.proxy.chat("gpt-oss", stream=stream, reasoning_effort="low")
            assert text_of(answer) == f"{PREFIX}Hello?"
            assert served_by(answer) == ("bedrock/openai.gpt-oss-120b-1:0", "1")
            assert answer.headers["x-litellm-model-group"] == "gpt-oss-bedrock"
            assert REASONING in answer.text
        assert len(running.bedrock.seen) == 2

    @STREAM
    @pytest.mark.parametrize(
        ("asked", "path"),
        [
            ("sagemaker/some-endpoint", "/endpoints/some-endpoint"),
            ("sagemaker/some-endpoint/some-component", "/endpoints/some-endpoint/inference-components/some-component"),
        ],
    )
    def test_any_endpoint_through_the_wildcard(self, running: Started, asked: str, path: str, stream: bool) -> None:
        answer = running.proxy.chat(asked, stream=stream)
        assert text_of(answer) == "SageMaker's."
        assert [seen.path for seen in running.sagemaker.seen] == [f"{path}/openai/v1/chat/completions"]

    @pytest.mark.parametrize("model", ["mute", "dead-at-once"])
    def test_a_stream_that_dies_before_its_first_chunk_is_bedrocks(self, running: Started, model: str) -> None:
        answer = running.proxy.chat(f"has-fallback-{model}", stream=True)
        assert answer.status_code == 200
        assert text_of(answer) == f"{PREFIX}Hello?"
        assert served_by(answer) == ("bedrock/openai.gpt-oss-120b-1:0", "1")

    @STREAM
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello?"}]}),
            ("/v1/responses", {"input": "Hello?"}),
            ("/v1/messages", {"messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 10}),
        ],
    )
    def test_the_callers_own_mistake_is_not_taken_to_bedrock(
        self, running: Started, path: str, body: dict[str, Any], stream: bool
    ) -> None:
        asked = {"model": "has-fallback-strict", "stream": stream, **body}
        answer = running.proxy.client.post(path, json=asked)
        assert answer.status_code == 400
        assert "temperature must be at most 2" in answer.json()["error"]["message"]
        assert len(running.sagemaker.seen) == 1
        assert running.bedrock.seen == []
        # What can be answered elsewhere still is, by each of these routes.
        asked["model"] = "has-fallback-down"
        assert running.proxy.client.post(path, json=asked).status_code == 200
        assert len(running.bedrock.seen) == 1

    def test_the_callers_own_mistake_is_reported_once_and_as_sagemakers(self, running: Started) -> None:
        answer = running.proxy.chat("has-fallback-strict")
        later = running.proxy.chat("always-on")
        running.proxy.reported(later.headers["x-litellm-call-id"], "success")
        [failure] = running.proxy.all_reported(answer.headers["x-litellm-call-id"])
        assert failure["event"] == "failure"
        assert failure["logged"]["model_group"] == "has-fallback-strict"
        assert failure["logged"]["error_information"]["error_class"] == "BadRequestError"
        assert "SageMaker answered 400: temperature" in failure["logged"]["error_str"]

    @STREAM
    def test_a_prompt_that_is_too_long_goes_to_bedrock(self, running: Started, stream: bool) -> None:
        answer = running.proxy.chat("has-fallback-short", stream=stream)
        assert text_of(answer) == f"{PREFIX}Hello?"
        assert served_by(answer) == ("bedrock/openai.gpt-oss-120b-1:0", "1")


class TestFailures:
    @STREAM
    @pytest.mark.parametrize(
        ("model", "status", "message"),
        [
            ("strict", 400, "temperature must be at most 2"),
            ("busy", 429, "slow down"),
            ("down", 503, "not now"),
            ("asleep", 503, "no capacity"),
            ("gone", 503, "could not connect"),
            ("stalled", 408, "did not answer in time"),
        ],
    )
    def test_status_message_and_request_id_reach_the_caller_and_the_logs(
        self, running: Started, model: str, status: int, message: str, stream: bool
    ) -> None:
        answer = running.proxy.chat(model, stream=stream, num_retries=0)
        assert answer.status_code == status, answer.text
        assert message in answer.json()["error"]["message"]
        reported = running.proxy.reported(answer.headers["x-litellm-call-id"], "failure")
        assert message in reported["logged"]["error_str"]
        request_id = {"asleep": "refused-1", "gone": None, "stalled": None}.get(model, f"refused-{status}")
        assert answer.headers.get(REQUEST_ID) == request_id
        assert reported["logged"]["error_information"]["error_provider_request_id"] == request_id

    @STREAM
    def test_and_for_what_went_well(self, running: Started, stream: bool) -> None:
        answer = running.proxy.chat("always-on", stream=stream)
        assert answer.headers[REQUEST_ID] == "served-1"
        reported = running.proxy.reported(answer.headers["x-litellm-call-id"], "success")
        assert reported["logged"]["hidden_params"]["additional_headers"][REQUEST_ID] == "served-1"

    @STREAM
    def test_and_for_the_failure_behind_a_fallback(self, running: Started, stream: bool) -> None:
        answer = running.proxy.chat("has-fallback-down", stream=stream)
        assert served_by(answer) == ("bedrock/openai.gpt-oss-120b-1:0", "1")
        assert answer.headers[REQUEST_ID] == "bedrock-request-1"
        failed = running.proxy.reported(answer.headers["x-litellm-call-id"], "failure")["logged"]
        assert failed["error_information"]["error_provider_request_id"] == "refused-503"
        assert failed["model_group"] == "has-fallback-down"


def test_an_image_is_refused_at_once(running: Started) -> None:
    answer = running.proxy.client.post("/v1/images/generations", json={"model": "late", "prompt": "A cat"})
    assert (answer.status_code, answer.headers.get("x-litellm-attempted-retries", "0")) == (400, "0")
    assert "serves chat, text completions, embeddings and rerank, and no images" in answer.json()["error"]["message"]
    assert running.sagemaker.seen == []


class TestOverhead:
    """LiteLLM's own share of a call's time: all of it, less the time that the provider took."""

    @STREAM
    @pytest.mark.parametrize("model", ["always-on", "vllm-priced-per-token"])
    def test_is_told_as_for_a_native_provider(self, running: Started, model: str, stream: bool) -> None:
        answer = running.proxy.chat(model, stream=stream)
        assert 0 <= float(answer.headers["x-litellm-overhead-duration-ms"]) <= duration_of(answer)

    @STREAM
    def test_is_not_the_time_that_sagemaker_took(self, running: Started, stream: bool) -> None:
        running.answers["late"] = late
        answer = running.proxy.chat("late", stream=stream)
        assert text_of(answer) == "SageMaker's."
        of_sagemaker = duration_of(answer) - float(answer.headers["x-litellm-overhead-duration-ms"])
        assert of_sagemaker >= LATE_SECONDS * 1000

    @STREAM
    def test_nor_that_of_the_tries_before(self, running: Started, stream: bool) -> None:
        first = [late_refusal]
        running.answers["late"] = lambda seen: (first.pop() if first else fine)(seen)
        answer = running.proxy.chat("late", stream=stream, num_retries=1)
        assert text_of(answer) == "SageMaker's."
        of_sagemaker = duration_of(answer) - float(answer.headers["x-litellm-overhead-duration-ms"])
        assert of_sagemaker >= LATE_SECONDS * 1000


def duration_of(answer: httpx.Response) -> float:
    """Milliseconds, as LiteLLM counts them: a stream's until it begins."""
    return float(answer.headers["x-litellm-response-duration-ms"])


class TestSpend:
    """``x-litellm-response-cost`` is sent before a stream's tokens are known: there the callbacks have the cost."""

    @STREAM
    @pytest.mark.parametrize("model", ["priced-per-token", "vllm-priced-per-token"])
    def test_per_token(self, running: Started, model: str, stream: bool) -> None:
        answer = running.proxy.chat(model, stream=stream)
        assert text_of(answer) == "SageMaker's."
        cost = pytest.approx(11 * 0.0000002 + 7 * 0.0000008)
        reported = running.proxy.reported(answer.headers["x-litellm-call-id"], "success")
        assert (reported["kwargs_cost"], reported["logged"]["response_cost"]) == (cost, cost)
        if stream:
            assert "x-litellm-response-cost" not in answer.headers
        else:
            assert float(answer.headers["x-litellm-response-cost"]) == cost

    @STREAM
    @pytest.mark.parametrize("model", ["priced-per-second", "vllm-priced-per-second"])
    def test_per_second(self, running: Started, model: str, stream: bool) -> None:
        """A stream's seconds are all counted by the callbacks; those until it began, by the header."""
        running.answers["coder"] = running.answers["completions"] = slow  # the latter for vLLM's path
        answer = running.proxy.chat(model, stream=stream)
        assert text_of(answer) == "SageMaker's."
        reported = running.proxy.reported(answer.headers["x-litellm-call-id"], "success")
        in_header, in_callback = float(answer.headers["x-litellm-response-cost"]), reported["logged"]["response_cost"]
        assert reported["kwargs_cost"] == in_callback >= 0.0003125 * SLOW_SECONDS
        if stream:
            assert 0 < in_header < in_callback
        else:
            assert in_header == in_callback

    def test_a_streams_usage_is_the_containers_and_has_the_cost(self, running: Started) -> None:
        answer = running.proxy.chat("priced-per-token", stream=True, stream_options={"include_usage": True})
        (usage,) = [event["usage"] for event in events(answer) if event.get("usage")]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (11, 7)
        assert usage["cost"] == pytest.approx(11 * 0.0000002 + 7 * 0.0000008)

    def test_an_hours_price_as_the_docs_turn_it_into_litellms_figures(self) -> None:
        per_token, per_second = config("prices.yaml")["model_list"]
        second = 9 / 3600
        assert per_second["litellm_params"]["input_cost_per_second"] == pytest.approx(second / 8)
        prices = per_token["model_info"]
        assert prices["input_cost_per_token"] == pytest.approx(second / (4500 + 4 * 2000))
        assert prices["output_cost_per_token"] == pytest.approx(4 * prices["input_cost_per_token"])


class TestModels:
    STATED = config("capabilities.yaml")["model_list"][0]["model_info"]

    def test_list(self, running: Started) -> None:
        models = {each["id"]: each for each in running.proxy.get("/v1/models").json()["data"]}
        assert {"gpt-oss", "gpt-oss-bedrock", "always-on", "scales-to-zero", "vision"} <= set(models)
        assert models["vision"]["max_input_tokens"] == self.STATED["max_input_tokens"]
        assert models["vision"]["max_output_tokens"] == self.STATED["max_output_tokens"]

    def test_information(self, running: Started) -> None:
        information = running.proxy.get("/model/info").json()["data"]
        found = next(each for each in information if each["model_name"] == "vision")
        assert found["litellm_params"]["model"] == "sagemaker_openai/my-gpus/vision"
        assert {name: found["model_info"][name] for name in self.STATED} == self.STATED
        assert found["model_info"]["litellm_provider"] == "sagemaker_openai"

    def test_groups(self, running: Started) -> None:
        groups = running.proxy.get("/model_group/info").json()["data"]
        found = next(each for each in groups if each["model_group"] == "vision")
        names = ("mode", "max_input_tokens", "supports_function_calling", "supports_reasoning", "supports_vision")
        assert {name: found[name] for name in names} == {name: self.STATED[name] for name in names}

    def test_a_model_that_reasons_takes_reasoning_effort(self, running: Started) -> None:
        assert running.proxy.chat("vision", reasoning_effort="low").status_code == 200
        assert running.sagemaker.seen[0].json["reasoning_effort"] == "low"
        assert running.proxy.chat("always-on", reasoning_effort="low").status_code == 400
        assert len(running.sagemaker.seen) == 1

    @pytest.mark.parametrize(
        "said",
        [
            {"model_info": {"supports_reasoning": True}},
            {"metadata": {"model_info": {"supports_reasoning": True}}},
            {"litellm_metadata": {"model_info": {"supports_reasoning": True}}},
            {"supports_reasoning": True},
        ],
        ids=lambda said: " ".join(said),
    )
    def test_a_client_does_not_say_what_a_model_can_do(self, running: Started, said: dict[str, Any]) -> None:
        """Neither for its own request nor for those that come after it."""
        assert running.proxy.chat("always-on", reasoning_effort="low", **said).status_code == 400
        running.proxy.chat("always-on", **said)
        running.sagemaker.seen.clear()
        assert running.proxy.chat("always-on", reasoning_effort="low").status_code == 400
        assert running.sagemaker.seen == []
        groups = running.proxy.get("/model_group/info").json()["data"]
        assert not next(each for each in groups if each["model_group"] == "always-on")["supports_reasoning"]

    def test_what_is_not_stated_is_not_claimed(self, running: Started) -> None:
        groups = running.proxy.get("/model_group/info").json()["data"]
        found = next(each for each in groups if each["model_group"] == "always-on")
        assert not any(found[name] for name in found if name.startswith("supports_"))


class TestHealth:
    def test_what_answers_is_healthy_and_what_does_not_is_not(self, running: Started) -> None:
        health = running.proxy.get("/health").json()
        assert {each["model"] for each in health["healthy_endpoints"]} >= {
            "sagemaker_openai/my-endpoint",
            "sagemaker_openai/my-gpus/coder",
            "openai.gpt-oss-120b-1:0",
        }
        errors = {each["model"]: each["error"] for each in health["unhealthy_endpoints"]}
        expected = {
            "my-gpus/reviewer": "ServiceUnavailableError: Inference Component has no capacity",
            "asleep": "ServiceUnavailableError: Inference Component has no capacity",
            "waited-for": "ServiceUnavailableError: Inference Component has no capacity",  # at once
            "strict": "BadRequestError: SageMaker answered 400: temperature",
            "busy": "RateLimitError: SageMaker answered 429: slow down",
            "down": "ServiceUnavailableError: SageMaker answered 503: not now",
            "stalled": "Timeout: ",
            "gone": "ServiceUnavailableError: could not connect",
        }
        assert {name for name, error in expected.items() if error not in errors[f"sagemaker_openai/{name}"]} == set()
        assert "Bearer" not in str(health)

    @pytest.mark.parametrize("path", ["/health/liveliness", "/health/readiness"])
    def test_probes_need_no_key_and_send_nothing(self, running: Started, path: str) -> None:
        assert httpx.get(f"{running.proxy.url}{path}", trust_env=False).status_code == 200
        assert not httpx.get(f"{running.proxy.url}/health", trust_env=False).is_success
        assert running.sagemaker.seen == []

    def test_a_check_is_one_small_request(self, running: Started) -> None:
        answer = running.proxy.get("/health", model="always-on")
        assert answer.status_code == 200
        assert answer.json()["healthy_count"] == 1
        (seen,) = running.sagemaker.seen
        assert seen.json["max_tokens"] == 16

    def test_a_component_scaled_to_zero_says_so_and_is_asked_once(self, running: Started) -> None:
        answer = running.proxy.get("/health", model="scales-to-zero")
        assert answer.status_code == 503
        (unhealthy,) = answer.json()["unhealthy_endpoints"]
        assert "Inference Component has no capacity to process this request" in unhealthy["error"]
        assert len(running.sagemaker.seen) == 1

    def test_a_wildcard_is_checked_by_the_model_that_stands_for_it(self, running: Started) -> None:
        answer = running.proxy.get("/health", model="sagemaker/*")
        assert answer.json()["healthy_count"] == 1
        assert [endpoint_of(seen) for seen in running.sagemaker.seen] == ["my-endpoint"]


def endpoint_of(seen: Seen) -> str:
    return seen.path.split("/")[2]
