"""The proxy_config.yaml that users copy, in the real LiteLLM proxy before the local runtime."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import openai
import pytest

from examples.bedrock import bedrock_stand_in
from examples.demo import CHAT_PATH, CODER_PATH, CONFIG, REVIEWER_PATH, RUNTIME, Proxy, Talk, litellm_proxy
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.server import running

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

SMALL = replace(RUNTIME, echo=EchoConfig(context_length=8192))


@dataclass(frozen=True)
class Started:
    proxy: Proxy
    talk: Talk
    start_up_log: str


@contextmanager
def started(config: Path) -> Iterator[Started]:
    with (
        running(SMALL) as runtime,
        bedrock_stand_in() as bedrock_url,
        litellm_proxy(config, runtime.url, bedrock_url) as proxy,
    ):
        talk = Talk(proxy)
        talk.received = runtime.app.state.received
        with talk.client:
            yield Started(proxy, talk, proxy.log)


@pytest.fixture(scope="module")
def shipped() -> Iterator[Started]:
    with started(CONFIG) as running_proxy:
        yield running_proxy


def warnings_in(log: str) -> list[str]:
    found: list[str] = re.findall(r"(?im)^.*\b(?:warn(?:ing)?|error|critical|traceback)\b.*$", log)
    # LiteLLM 1.109 and newer say at WARNING that they froze what the start left in memory.
    return [line for line in found if "gc.freeze" not in line]


def test_starts_without_a_warning(shipped: Started) -> None:
    assert "Application startup complete" in shipped.start_up_log
    assert warnings_in(shipped.start_up_log) == []


def test_serves_the_models_in_it(shipped: Started) -> None:
    key = {"Authorization": f"Bearer {shipped.proxy.master_key}"}
    models = httpx.get(f"{shipped.proxy.url}/v1/models", headers=key, trust_env=False).json()["data"]
    assert [model["id"] for model in models] == ["chat", "coder", "reviewer", "chat-bedrock"]


def test_chat(shipped: Started) -> None:
    answer = shipped.talk.client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "Hello?"}])
    assert answer.choices[0].message.content == "Echo container, not a model. You said: Hello?"
    assert shipped.talk.headers["x-litellm-model-name"] == "sagemaker_openai/my-endpoint"
    assert shipped.talk.headers["x-litellm-attempted-fallbacks"] == "0"


def test_stream(shipped: Started) -> None:
    chunks = list(
        shipped.talk.client.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "Hello?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices).endswith("You said: Hello?")
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [20]


def test_two_components_on_one_endpoint(shipped: Started) -> None:
    for model, path in (("coder", CODER_PATH), ("reviewer", REVIEWER_PATH)):
        answer = shipped.talk.client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
        assert answer.choices[0].message.content == "Echo container, not a model. You said: Hi"
        assert shipped.talk.paths == [path]


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_effort(shipped: Started, stream: bool) -> None:
    create = shipped.talk.client.chat.completions.create
    if stream:
        chunks = create(
            model="reviewer", messages=[{"role": "user", "content": "Hi"}], reasoning_effort="high", stream=True
        )
        deltas = [choice.delta.model_extra or {} for chunk in chunks for choice in chunk.choices]
        reasoning = "".join(delta.get("reasoning_content") or "" for delta in deltas)
    else:
        answer = create(model="reviewer", messages=[{"role": "user", "content": "Hi"}], reasoning_effort="high")
        reasoning = (answer.choices[0].message.model_extra or {})["reasoning_content"]
    assert reasoning.startswith("The user's last message has 1 tokens.")
    assert shipped.talk.received[-1].body["reasoning_effort"] == "high"


def test_a_conversation_too_long_for_the_model_goes_to_bedrock(shipped: Started) -> None:
    answer = shipped.talk.client.chat.completions.create(
        model="coder", messages=[{"role": "user", "content": "word " * SMALL.echo.context_length}]
    )
    assert (answer.choices[0].message.content or "").startswith("Bedrock stand-in.")
    assert shipped.talk.paths == [CODER_PATH]
    assert shipped.talk.headers["x-litellm-attempted-fallbacks"] == "1"


@pytest.mark.parametrize("stream", [False, True])
def test_a_mistake_in_the_request_is_the_callers(shipped: Started, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature"):
        shipped.talk.client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "Hello?"}], temperature=9, stream=stream
        )
    assert shipped.talk.paths == [CHAT_PATH]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("chat", {"model_id": "reviewer"}),
        ("coder", {"aws_region_name": "eu-west-1"}),
        ("reviewer", {"litellm_credential_name": "sagemaker"}),
        ("chat-bedrock", {"custom_llm_provider": "sagemaker_openai"}),
    ],
)
def test_a_caller_steers_no_identity_address_or_model(shipped: Started, model: str, said: dict[str, str]) -> None:
    with pytest.raises(openai.BadRequestError, match=f"a client of this proxy must not set {next(iter(said))}"):
        shipped.talk.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello?"}], extra_body=said
        )
    assert shipped.talk.paths == []
    assert "x-litellm-attempted-fallbacks" not in shipped.talk.headers  # nor did Bedrock answer


def test_needs_the_master_key(shipped: Started) -> None:
    stranger = shipped.talk.client.with_options(api_key="sk-somebody-elses")
    # LiteLLM 1.106.2 looks another key up in its database and answers 400 where it has none.
    with pytest.raises(openai.APIStatusError):
        stranger.chat.completions.create(model="chat", messages=[{"role": "user", "content": "Hello?"}])
    assert shipped.talk.paths == []


def test_the_prices_in_its_comment_count_and_raise_no_warning(tmp_path: Path) -> None:
    commented = re.compile(r"(?m)^    # (model_info:|  (?:in|out)put_cost\S+ \S+|  cache_\S+ \S+)$")
    text, uncommented = commented.subn(r"    \1", CONFIG.read_text())
    assert uncommented == 5
    config = tmp_path / "proxy_config.yaml"
    config.write_text(text)
    with started(config) as priced:
        assert warnings_in(priced.start_up_log) == []
        answer = priced.talk.client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "Hello?"}]
        )
        assert answer.usage is not None
        cost = answer.usage.prompt_tokens * 0.0000002 + answer.usage.completion_tokens * 0.0000008
        assert float(priced.talk.headers["x-litellm-response-cost"]) == pytest.approx(cost)
