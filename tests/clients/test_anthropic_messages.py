"""The Anthropic SDK's Messages API, on the proxy: what Claude Code speaks. LiteLLM translates it into chat completions.

LiteLLM's translation (1.106.2) leaves the input tokens of ``message_start`` at 0; ``message_delta`` has them, and so
has the SDK's final message.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import anthropic
import pytest

from tests.clients.conftest import CHAT_PATH, ECHO, REVIEWER_PATH, Proxied, tokens_of

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

HELLO: list[Any] = [{"role": "user", "content": "Hello?"}]
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
THOUGHT = "The user's last message has {} tokens. An echo does not think; it gives them back."


def tool(name: str, **properties: Any) -> Any:
    schema = {"type": "object", "properties": properties, "required": [*properties]}
    return {"name": name, "description": name, "input_schema": schema}


WEATHER = tool("get_weather", city={"type": "string", "enum": ["Seattle", "Dublin"]})
TIME = tool("get_time")


@pytest.fixture
def client(proxy: Proxied) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=proxy.url, api_key=proxy.key, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(proxy: Proxied) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=proxy.url, api_key=proxy.key, max_retries=0) as client:
        yield client


def order_of(events: Iterable[Any]) -> list[str]:
    """The events' types; a delta's with the kind of delta; one that repeats stands once."""
    kinds = [event.delta.type if event.type == "content_block_delta" else event.type for event in events]
    return [kind for before, kind in zip(["", *kinds], kinds, strict=False) if kind != before]


def block(delta: str) -> list[str]:
    return ["content_block_start", delta, "content_block_stop"]


def tokens_in(usage: Any) -> tuple[int, int]:
    return usage.input_tokens, usage.output_tokens


def test_a_message(client: anthropic.Anthropic, proxy: Proxied) -> None:
    message = client.messages.create(model="chat", max_tokens=100, system="Be brief.", messages=HELLO)
    assert message.model == "chat"
    assert message.role == "assistant"
    assert message.stop_reason == "end_turn"
    [text] = message.content
    assert text.type == "text"
    assert text.text.startswith(f"{ECHO}Hello?")
    assert tokens_in(message.usage) == proxy.tokens
    assert [request.path for request in proxy.received] == [CHAT_PATH]
    assert proxy.body["messages"] == [{"role": "system", "content": "Be brief."}, *HELLO]
    assert proxy.body["max_tokens"] == 100


def test_a_stream(client: anthropic.Anthropic, proxy: Proxied) -> None:
    events: list[Any] = list(client.messages.create(model="chat", max_tokens=100, messages=HELLO, stream=True))
    assert order_of(events) == ["message_start", *block("text_delta"), "message_delta", "message_stop"]
    assert [event.delta.text for event in events if event.type == "content_block_delta"] == (
        ["Echo", " container", ",", " not", " a", " model", ".", " You", " said", ":", " Hello", "?"]
    )
    end = events[-2]
    assert end.delta.stop_reason == "end_turn"
    assert tokens_in(end.usage) == proxy.tokens == (8, 12)


def test_the_sdks_stream_helper(client: anthropic.Anthropic, proxy: Proxied) -> None:
    with client.messages.stream(model="chat", max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == f"{ECHO}Hello?"
    assert final.stop_reason == "end_turn"
    assert tokens_in(final.usage) == proxy.tokens


def test_an_answer_cut_at_its_limit(client: anthropic.Anthropic, proxy: Proxied) -> None:
    message = client.messages.create(model="chat", max_tokens=2, messages=HELLO)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 2


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_and_their_results(client: anthropic.Anthropic, proxy: Proxied, stream: bool) -> None:
    question = {"role": "user", "content": "get_weather and get_time in Dublin, please"}
    asked: dict[str, Any] = {"model": "chat", "max_tokens": 200, "messages": [question], "tools": [WEATHER, TIME]}
    if stream:
        events: list[Any] = list(client.messages.create(**asked, stream=True))
        assert order_of(events) == ["message_start", *block("input_json_delta") * 2, "message_delta", "message_stop"]
        calls = [event.content_block for event in events if event.type == "content_block_start"]
        deltas = [event for event in events if event.type == "content_block_delta"]
        inputs = [
            json.loads("".join(delta.delta.partial_json for delta in deltas if delta.index == index))
            for index in range(len(calls))
        ]
        stop_reason, usage = events[-2].delta.stop_reason, events[-2].usage
    else:
        message = client.messages.create(**asked)
        calls, stop_reason, usage = list(message.content), message.stop_reason, message.usage
        inputs = [call.input for call in calls]
    assert [(call.type, call.name) for call in calls] == [("tool_use", "get_weather"), ("tool_use", "get_time")]
    assert inputs == [{"city": "Dublin"}, {}]
    assert [call.id for call in calls] == [c["id"] for c in proxy.answer["choices"][0]["message"]["tool_calls"]]
    assert stop_reason == "tool_use"
    assert tokens_in(usage) == proxy.tokens
    assert [tool["function"]["parameters"] for tool in proxy.body["tools"]] == (
        [WEATHER["input_schema"], TIME["input_schema"]]
    )

    proxy.received.clear()
    uses = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": given}
        for call, given in zip(calls, inputs, strict=True)
    ]
    results = [
        {"type": "tool_result", "tool_use_id": calls[0].id, "content": [{"type": "text", "text": "12 degrees"}]},
        {"type": "tool_result", "tool_use_id": calls[1].id, "content": "no clock", "is_error": True},
    ]
    history = [question, {"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    answer: Any = client.messages.create(**{**asked, "messages": history})
    assert [each.text for each in answer.content] == ["The 2 tools answered: 12 degrees | no clock"]
    assert [message["role"] for message in proxy.body["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [message.get("tool_call_id") for message in proxy.body["messages"][2:]] == [call.id for call in calls]


@pytest.mark.parametrize(
    ("given", "arrives"),
    [({"type": "any"}, "required"), ({"type": "tool", "name": "get_time"}, {"name": "get_time"})],
)
def test_tool_choice(client: anthropic.Anthropic, proxy: Proxied, given: Any, arrives: Any) -> None:
    asked: list[Any] = [{"role": "user", "content": "get_time"}]
    message: Any = client.messages.create(
        model="chat", max_tokens=200, messages=asked, tools=[WEATHER, TIME], tool_choice=given
    )
    assert [call.name for call in message.content] == ["get_time"]
    sent = proxy.body["tool_choice"]
    assert (sent if isinstance(sent, str) else sent["function"]) == arrives


@pytest.mark.parametrize("stream", [False, True])
def test_thinking(client: anthropic.Anthropic, proxy: Proxied, stream: bool) -> None:
    asked: dict[str, Any] = {"model": "reviewer", "max_tokens": 2000, "messages": HELLO, "thinking": THINKING}
    if stream:
        events: list[Any] = list(client.messages.create(**asked, stream=True))
        assert order_of(events) == (
            ["message_start", *block("thinking_delta"), *block("text_delta"), "message_delta", "message_stop"]
        )
        deltas = [event.delta for event in events if event.type == "content_block_delta"]
        thought = "".join(delta.thinking for delta in deltas if delta.type == "thinking_delta")
        text = "".join(delta.text for delta in deltas if delta.type == "text_delta")
        usage = events[-2].usage
    else:
        message: Any = client.messages.create(**asked)
        assert [each.type for each in message.content] == ["thinking", "text"]
        thought, text, usage = message.content[0].thinking, message.content[1].text, message.usage
    assert thought == THOUGHT.format(2)
    assert text == f"{ECHO}Hello?"
    assert tokens_in(usage) == proxy.tokens
    assert proxy.body["reasoning_effort"] == "low"  # LiteLLM's translation of 1,024 tokens
    assert "thinking" not in proxy.body


def test_thinking_then_a_tool_then_the_answer(client: anthropic.Anthropic, proxy: Proxied) -> None:
    asked: dict[str, Any] = {"model": "reviewer", "max_tokens": 2000, "tools": [WEATHER], "thinking": THINKING}
    history: list[Any] = [{"role": "user", "content": "What is the weather in Dublin?"}]
    with client.messages.stream(**asked, messages=history) as stream:
        first: Any = stream.get_final_message()
    assert [each.type for each in first.content] == ["thinking", "tool_use"]
    assert first.content[0].thinking == THOUGHT.format(7)
    assert first.content[1].input == {"city": "Dublin"}
    assert first.stop_reason == "tool_use"

    proxy.received.clear()
    history.append({"role": "assistant", "content": [each.model_dump(exclude_none=True) for each in first.content]})
    result = {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "12 degrees"}
    history.append({"role": "user", "content": [result]})
    second: Any = client.messages.create(**asked, messages=history)
    assert second.content[-1].text == "The tool answered: 12 degrees"
    assert second.stop_reason == "end_turn"
    assert proxy.body["messages"][1]["reasoning_content"] == first.content[0].thinking
    assert proxy.body["messages"][1]["tool_calls"][0]["id"] == first.content[1].id


def test_thinking_where_the_proxy_was_not_told_that_the_model_reasons(
    client: anthropic.Anthropic, proxy: Proxied
) -> None:
    asked: dict[str, Any] = {"max_tokens": 2000, "messages": HELLO, "thinking": THINKING}
    with pytest.raises(anthropic.BadRequestError, match="allowed_openai_params"):
        client.messages.create(model="chat", **asked)
    assert not proxy.received
    message: Any = client.messages.create(model="lenient", **asked)
    assert [each.text for each in message.content] == [f"{ECHO}Hello?"]
    assert not {"thinking", "reasoning_effort"} & set(proxy.body)


def test_a_request_as_claude_code_makes_it(client: anthropic.Anthropic, proxy: Proxied) -> None:
    """Its beta features and cache marks reach the proxy, and not the container, which would refuse them."""
    cached = {"cache_control": {"type": "ephemeral"}}
    bash = tool("Bash", command={"type": "string"})
    bash["input_schema"] |= {"$schema": "http://json-schema.org/draft-07/schema#", "additionalProperties": False}
    asked: dict[str, Any] = {
        "model": "reviewer",
        "max_tokens": 4000,
        "system": [{"type": "text", "text": "You are a coding agent.", **cached}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": 'Run Bash with "ls -l".', **cached}]}],
        "tools": [{**bash, **cached}],
        "thinking": {"type": "adaptive"},
        "metadata": {"user_id": "user_1_session_2"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "betas": ["claude-code-20250219", "interleaved-thinking-2025-05-14", "context-management-2025-06-27"],
    }
    with client.beta.messages.stream(**asked) as stream:
        message: Any = stream.get_final_message()
    assert [each.type for each in message.content] == ["thinking", "tool_use"]
    assert message.content[1].input == {"command": "ls -l"}
    assert tokens_in(message.usage) == proxy.tokens
    assert [request.path for request in proxy.received] == [REVIEWER_PATH]
    assert set(proxy.body) == (
        {"model", "messages", "max_tokens", "tools", "reasoning_effort", "stream", "stream_options"}
    )
    assert proxy.body["reasoning_effort"] == "high"
    assert "cache_control" not in json.dumps(proxy.body)


def test_an_image(client: anthropic.Anthropic, proxy: Proxied) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    content = [{"type": "text", "text": "What?"}, {"type": "image", "source": source}]
    messages: list[Any] = [{"role": "user", "content": content}]
    message: Any = client.messages.create(model="chat", max_tokens=100, messages=messages)
    assert message.content[0].text == f"{ECHO}What? (and sent 1 image_url)"
    assert proxy.body["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


def test_stop_sequences(client: anthropic.Anthropic, proxy: Proxied) -> None:
    message: Any = client.messages.create(model="chat", max_tokens=100, messages=HELLO, stop_sequences=["model"])
    assert message.content[0].text == "Echo container, not a "
    assert proxy.body["stop"] == ["model"]


def test_count_tokens(client: anthropic.Anthropic, proxy: Proxied) -> None:
    assert client.messages.count_tokens(model="chat", messages=HELLO).input_tokens > 0
    assert not proxy.received  # LiteLLM estimates; SageMaker's path has no such route


def test_from_the_environment(proxy: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that the SDK and Claude Code read."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", proxy.url)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", proxy.key)
    with anthropic.Anthropic(max_retries=0) as client:
        message: Any = client.messages.create(model="chat", max_tokens=100, messages=HELLO)
    assert message.content[0].text == f"{ECHO}Hello?"


async def test_async(async_client: anthropic.AsyncAnthropic, proxy: Proxied) -> None:
    whole: Any = await async_client.messages.create(model="chat", max_tokens=100, messages=HELLO)
    async with async_client.messages.stream(model="chat", max_tokens=100, messages=HELLO) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert whole.content[0].text == text == f"{ECHO}Hello?"
    assert [tokens_of(request.body) for request in proxy.received] == [tokens_in(whole.usage), tokens_in(final.usage)]


def test_an_error_of_the_containers(client: anthropic.Anthropic) -> None:
    for stream in (False, True):
        with pytest.raises(anthropic.BadRequestError, match="max_tokens=9000 cannot be greater than"):
            client.messages.create(model="chat", max_tokens=9000, messages=HELLO, stream=stream)
