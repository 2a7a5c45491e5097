"""LiteLLM's response cache in the real proxy: whose answers a client gets from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.operating.proxies import Proxy, proxy, until
from tests.scripted import Answer, Scripted, Seen, completion, json_answer, scripted

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
        return json_answer(completion(f"{endpoint}'s answer {next(numbers)}"))

    def deployment(name: str, endpoint: str) -> dict[str, Any]:
        params = {"model": f"sagemaker_openai/{endpoint}", "litellm_credential_name": "sagemaker"}
        return {"model_name": name, "litellm_params": params}

    config = {
        "model_list": [deployment("plain", "plain-endpoint"), deployment("secret", "secret-endpoint")],
        "litellm_settings": {"cache": True, "cache_params": {"type": "local"}},
    }
    with ExitStack() as stack:
        sagemaker = stack.enter_context(scripted(script))
        folder = tmp_path_factory.mktemp("proxy")
        yield Cached(stack.enter_context(proxy(folder, config, sagemaker=sagemaker.url)), sagemaker)


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
