"""LiteLLM's response cache in the real proxy: whose answers a client gets from it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.operating.proxies import Proxy, config, proxy, until
from tests.operating.redis import redis
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse, usage_chunk

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")


@dataclass(frozen=True)
class Cached:
    proxy: Proxy
    sagemaker: Scripted

    def text(self, path: str, model: str, question: str, **more: Any) -> str:
        asked = (
            {"input": question} if path == "/v1/responses" else {"messages": [{"role": "user", "content": question}]}
        )
        response = self.proxy.client.post(path, json={"model": model, **asked, "max_tokens": 9, **more})
        assert response.status_code == 200, response.text
        return response.text

    def from_the_cache(self, path: str, model: str, question: str) -> str:
        """The answer, once one comes from the cache: LiteLLM keeps it after it has answered."""
        for _ in until("an answer of the cache"):
            asked = len(self.sagemaker.seen)
            text = self.text(path, model, question)
            if len(self.sagemaker.seen) == asked:
                return text
        raise AssertionError  # `until` raises first


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    numbers = itertools.count(1)

    def script(seen: Seen) -> Answer:
        endpoint = seen.path.split("/")[2]
        if endpoint == "down":
            return json_answer({"error": {"message": "not now"}}, 503)
        text, request_id = f"{endpoint}'s answer {next(numbers)}", {"x-amzn-RequestId": "served-1"}
        if seen.json.get("stream"):
            return Answer(
                [sse(chunk({"content": text}), chunk({}, finish="stop"), usage_chunk(11, 7))], headers=request_id
            )
        return json_answer(completion(text), 200, **request_id)

    def deployment(name: str, endpoint: str, **more: Any) -> dict[str, Any]:
        params = {"model": f"sagemaker_openai/{endpoint}", "litellm_credential_name": "sagemaker", **more}
        return {"model_name": name, "litellm_params": params}

    models = {
        "model_list": [
            deployment("plain", "plain-endpoint"),
            deployment("secret", "secret-endpoint"),
            deployment("has-fallback", "down", cooldown_time=0),
            deployment("priced", "priced-endpoint", input_cost_per_token=0.001, output_cost_per_token=0.001),
        ],
        "router_settings": {"num_retries": 0, "fallbacks": [{"has-fallback": ["plain"]}]},
    }
    with ExitStack() as stack:
        sagemaker, server = stack.enter_context(scripted(script)), stack.enter_context(redis())
        environment = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port), "REDIS_PASSWORD": "made-up"}
        folder = tmp_path_factory.mktemp("proxy")
        started = proxy(folder, models, config("caching.yaml"), sagemaker=sagemaker.url, environment=environment)
        yield Cached(stack.enter_context(started), sagemaker)
        assert server.unknown <= {b"EVALSHA"}  # LiteLLM's rate limits, which then count in memory
        assert any(b"my-company" in key for key in server.kept)


ROUTES = pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])


@ROUTES
def test_the_same_question_is_answered_from_the_cache(cached: Cached, path: str) -> None:
    assert "plain-endpoint's answer" in cached.from_the_cache(path, "plain", f"{path}?")


@ROUTES
@pytest.mark.parametrize("name", ["metadata", "litellm_metadata"])
@pytest.mark.parametrize("more", [{}, {"caching_groups": [["plain", "secret"]]}], ids=["group", "caching groups"])
def test_a_group_that_a_client_says_gives_no_other_models_answer(
    cached: Cached, path: str, name: str, more: dict[str, Any]
) -> None:
    question = f"{path}, by {name}, {len(more)}?"
    said = {name: {"model_group": "secret", **more}}
    assert "secret-endpoint's answer" in cached.from_the_cache(path, "secret", question)
    assert "plain-endpoint's answer" in cached.text(path, "plain", question, **said)
    # Nor does it leave an answer there for the other model's callers.
    question = f"The other way: {question}"
    assert "plain-endpoint's answer" in cached.text(path, "plain", question, **said)
    assert "secret-endpoint's answer" in cached.from_the_cache(path, "secret", question)


class TestWhatIsFromTheCache:
    """As docs/caching.md says."""

    def test_a_cached_answer_has_its_key_and_no_request_id_and_costs_nothing(self, cached: Cached) -> None:
        first = json.loads(cached.from_the_cache("/v1/chat/completions", "priced", "What does it cost?"))
        answer = cached.proxy.chat("priced", question="What does it cost?", max_tokens=9)
        assert answer.json()["id"] == first["id"]
        assert "x-litellm-cache-key" in answer.headers
        assert "llm_provider-x-amzn-requestid" not in answer.headers
        assert float(answer.headers["x-litellm-response-cost"]) > 0  # what it would have cost
        logged = cached.proxy.reported(answer.headers["x-litellm-call-id"], "success")["logged"]
        assert (logged["cache_hit"], logged["response_cost"]) == (True, 0)
        assert logged["saved_cache_cost"] > 0

    def test_whole_and_streamed_answers_are_kept_apart(self, cached: Cached) -> None:
        cached.from_the_cache("/v1/chat/completions", "plain", "Whole?")
        asked = len(cached.sagemaker.seen)
        cached.text("/v1/chat/completions", "plain", "Whole?", stream=True)
        assert len(cached.sagemaker.seen) == asked + 1
        for _ in until("a stream from the cache"):
            asked = len(cached.sagemaker.seen)
            cached.text("/v1/chat/completions", "plain", "Whole?", stream=True)
            if len(cached.sagemaker.seen) == asked:
                break

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def test_a_stream_that_is_not_has_no_request_id_either(self, cached: Cached, stream: bool) -> None:
        """LiteLLM sends its headers, and keeps those for its callbacks, before it is open."""
        answer = cached.proxy.chat("plain", question=f"Whose id, streamed: {stream}?", stream=stream)
        in_headers = {"llm_provider-x-amzn-requestid", "x-litellm-overhead-duration-ms"} & {*answer.headers}
        assert len(in_headers) == (0 if stream else 2)
        logged = cached.proxy.reported(answer.headers["x-litellm-call-id"], "success")["logged"]
        assert ("llm_provider-x-amzn-requestid" in logged["hidden_params"]["additional_headers"]) is not stream

    @pytest.mark.parametrize(
        "said", [{"temperature": 0.5}, {"max_tokens": 8}, {"user": "another"}, {"cache": {"no-cache": True}}], ids=str
    )
    def test_another_parameter_is_another_question(self, cached: Cached, said: dict[str, Any]) -> None:
        cached.from_the_cache("/v1/chat/completions", "plain", "Which?")
        asked = len(cached.sagemaker.seen)
        cached.text("/v1/chat/completions", "plain", "Which?", **said)
        assert len(cached.sagemaker.seen) == asked + 1

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def test_a_fallbacks_answer_is_kept_and_the_endpoint_is_asked_each_time(self, cached: Cached, stream: bool) -> None:
        def asked() -> Counter[str]:
            return Counter(seen.path.split("/")[2] for seen in cached.sagemaker.seen)

        for _ in until("the fallback's answer from the cache"):
            before = asked()
            answer = cached.proxy.chat("has-fallback", question="Fall back.", stream=stream)
            assert (answer.status_code, answer.headers["x-litellm-attempted-fallbacks"]) == (200, "1")
            if asked()["plain-endpoint"] == before["plain-endpoint"]:
                break
        assert asked()["down"] == before["down"] + 1
