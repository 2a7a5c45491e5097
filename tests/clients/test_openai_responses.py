"""The OpenAI SDK's Responses API, on the proxy: what Codex speaks. LiteLLM translates it into chat completions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import openai
import pytest

from tests.clients.conftest import CHAT_PATH, ECHO, REVIEWER_PATH, Proxied, tokens_of

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

THOUGHT = "The user's last message has {} tokens. An echo does not think; it gives them back."


def function(name: str, **properties: Any) -> Any:
    parameters = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    return {"type": "function", "name": name, "description": name, "parameters": parameters, "strict": True}


WEATHER = function("get_weather", city={"type": "string", "enum": ["Seattle", "Dublin"]})
TIME = function("get_time")
SHELL = function("shell", command={"type": "string"})


@pytest.fixture
def client(proxy: Proxied) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.openai_url, api_key=proxy.key, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(proxy: Proxied) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.openai_url, api_key=proxy.key, max_retries=0) as client:
        yield client


def tokens_in(usage: Any) -> tuple[int, int]:
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    return usage.input_tokens, usage.output_tokens


def order_of(events: Iterable[Any]) -> list[str]:
    """The events' types, without ``response.``; one that repeats stands once."""
    kinds = [event.type.removeprefix("response.") for event in events]
    return [kind for before, kind in zip(["", *kinds], kinds, strict=False) if kind != before]


TEXT_EVENTS = [
    "output_item.added",
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done",
]
REASONING_EVENTS = [
    "output_item.added",
    "reasoning_summary_text.delta",
    "reasoning_summary_text.done",
    "reasoning_summary_part.done",
    "output_item.done",
]
CALL_EVENTS = ["function_call_arguments.done", "output_item.done"]


def test_a_response(client: openai.OpenAI, proxy: Proxied) -> None:
    response = client.responses.create(model="chat", instructions="Be brief.", input="Hello?", max_output_tokens=100)
    assert response.status == "completed"
    assert response.output_text.startswith(f"{ECHO}Hello?")
    assert [item.type for item in response.output] == ["message"]
    assert response.usage
    assert tokens_in(response.usage) == proxy.tokens
    assert [request.path for request in proxy.received] == [CHAT_PATH]
    assert proxy.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello?"},
    ]
    assert proxy.body["max_tokens"] == 100


def test_a_stream(client: openai.OpenAI, proxy: Proxied) -> None:
    events = list(client.responses.create(model="chat", input="Hello?", stream=True))
    assert order_of(events) == ["created", "in_progress", *TEXT_EVENTS, "completed"]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["Echo", " container", ",", " not", " a", " model", ".", " You", " said", ":", " Hello", "?"]
    [done] = [event for event in events if event.type == "response.output_text.done"]
    assert done.text == "".join(deltas) == f"{ECHO}Hello?"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == done.text
    assert tokens_in(last.response.usage) == proxy.tokens == (8, 12)


def test_the_sdks_stream_helper(client: openai.OpenAI, proxy: Proxied) -> None:
    with client.responses.stream(model="chat", input="Hello?") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == f"{ECHO}Hello?"
    assert tokens_in(final.usage) == proxy.tokens


def test_an_answer_cut_at_its_limit(client: openai.OpenAI, proxy: Proxied) -> None:
    response = client.responses.create(model="chat", input="Hello?", max_output_tokens=2)
    assert response.output_text == "Echo container"
    assert response.status == "incomplete"


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_and_their_results(client: openai.OpenAI, proxy: Proxied, stream: bool) -> None:
    question = {"role": "user", "content": "get_weather and get_time in Dublin, please"}
    asked: dict[str, Any] = {"model": "chat", "input": [question], "tools": [WEATHER, TIME]}
    if stream:
        events: list[Any] = list(client.responses.create(**asked, stream=True))
        added = ["output_item.added", "function_call_arguments.delta"] * 2
        assert order_of(events) == ["created", "in_progress", *added, *CALL_EVENTS * 2, "completed"]
        calls = [event.item for event in events if event.type == "response.output_item.done"]
        for position, call in enumerate(calls):
            pieces = [e for e in events if e.type == "response.function_call_arguments.delta"]
            of_this = "".join(e.delta for e in pieces if e.item_id == call.id and e.output_index == position)
            assert of_this == call.arguments
        usage = events[-1].response.usage
    else:
        response = client.responses.create(**asked)
        calls, usage = list(response.output), response.usage
    assert [(call.type, call.name, json.loads(call.arguments)) for call in calls] == (
        [("function_call", "get_weather", {"city": "Dublin"}), ("function_call", "get_time", {})]
    )
    assert [call.call_id for call in calls] == [c["id"] for c in proxy.answer["choices"][0]["message"]["tool_calls"]]
    assert tokens_in(usage) == proxy.tokens
    sent = [tool["function"] for tool in proxy.body["tools"]]
    assert sent == [{name: tool[name] for name in sent[0]} for tool in (WEATHER, TIME)]

    proxy.received.clear()
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": text}
        for call, text in zip(calls, ["12 degrees", "noon"], strict=True)
    ]
    given = [call.model_dump(exclude_none=True) for call in calls]
    answer = client.responses.create(**{**asked, "input": [question, *given, *results]})
    assert answer.output_text == "The 2 tools answered: 12 degrees | noon"
    roles = [message["role"] for message in proxy.body["messages"]]
    assert roles[0] == "user"
    assert roles[-2:] == ["tool", "tool"]
    in_history = [call for message in proxy.body["messages"] for call in message.get("tool_calls", [])]
    assert [(call["id"], call["function"]["name"]) for call in in_history] == [(c.call_id, c.name) for c in calls]


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning(client: openai.OpenAI, proxy: Proxied, stream: bool) -> None:
    asked: dict[str, Any] = {"model": "reviewer", "input": "Hello?", "reasoning": {"effort": "low"}}
    if stream:
        events: list[Any] = list(client.responses.create(**asked, stream=True))
        assert order_of(events) == ["created", "in_progress", *REASONING_EVENTS, *TEXT_EVENTS, "completed"]
        thought = "".join(e.delta for e in events if e.type == "response.reasoning_summary_text.delta")
        response = events[-1].response
    else:
        response = client.responses.create(**asked)
        thought = response.output[0].content[0].text
    assert thought == THOUGHT.format(2)
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output_text == f"{ECHO}Hello?"
    assert tokens_in(response.usage) == proxy.tokens
    assert proxy.body["reasoning_effort"] == "low"


def test_a_json_schema(client: openai.OpenAI, proxy: Proxied) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer"}},
        "required": ["count"],
        "additionalProperties": False,
    }
    response = client.responses.create(
        model="chat",
        input="How many are 3 and 4?",
        text={"format": {"type": "json_schema", "name": "count", "schema": schema, "strict": True}},
    )
    assert json.loads(response.output_text) == {"count": 3}
    assert proxy.body["response_format"] == (
        {"type": "json_schema", "json_schema": {"name": "count", "schema": schema, "strict": True}}
    )


def test_an_image(client: openai.OpenAI, proxy: Proxied) -> None:
    image = "data:image/png;base64,iVBORw0KGgo="
    content: Any = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": image}]
    response = client.responses.create(model="chat", input=[{"role": "user", "content": content}])
    assert response.output_text == f"{ECHO}What? (and sent 1 image_url)"
    [_, part] = proxy.body["messages"][0]["content"]
    assert part["image_url"]["url"] == image


def test_two_turns_as_codex_takes_them(client: openai.OpenAI, proxy: Proxied) -> None:
    """Codex keeps the conversation itself, and sends what it got back, reasoning included."""
    asked: dict[str, Any] = {
        "model": "reviewer",
        "instructions": "You are a coding agent.",
        "tools": [SHELL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "conversation-1",
    }
    history: list[Any] = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Ask before writing."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": 'Run "ls -l".'}]},
    ]
    first: list[Any] = list(client.responses.create(**asked, input=history))
    call_added = ["output_item.added", "function_call_arguments.delta"]
    assert order_of(first) == ["created", "in_progress", *REASONING_EVENTS, *call_added, *CALL_EVENTS, "completed"]
    items = [event.item for event in first if event.type == "response.output_item.done"]
    assert [item.type for item in items] == ["reasoning", "function_call"]
    assert json.loads(items[1].arguments) == {"command": "ls -l"}

    history += [item.model_dump(exclude_none=True) for item in items]
    history.append({"type": "function_call_output", "call_id": items[1].call_id, "output": "a.txt"})
    second: list[Any] = list(client.responses.create(**asked, input=history))
    assert second[-1].response.output_text == "The tool answered: a.txt"
    assert tokens_in(second[-1].response.usage) == tokens_of(proxy.received[-1].body)
    assert [request.path for request in proxy.received] == [REVIEWER_PATH] * 2
    messages = proxy.received[-1].body["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool"]
    assert messages[0]["content"] == "You are a coding agent.\n\nAsk before writing."
    assert (
        messages[2]["reasoning"]
        == messages[2]["reasoning_content"]
        == "".join(event.delta for event in first if event.type == "response.reasoning_summary_text.delta")
    )
    assert messages[2]["tool_calls"][0]["id"] == messages[3]["tool_call_id"] == items[1].call_id


async def test_async(async_client: openai.AsyncOpenAI, proxy: Proxied) -> None:
    whole = await async_client.responses.create(model="chat", input="Hello?")
    events = [event async for event in await async_client.responses.create(model="chat", input="Hello?", stream=True)]
    last = events[-1]
    assert last.type == "response.completed"
    assert whole.output_text == last.response.output_text == f"{ECHO}Hello?"
    assert [tokens_of(request.body) for request in proxy.received] == [tokens_in(whole.usage)] * 2


def test_an_error_of_the_containers(client: openai.OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="max_tokens=9000 cannot be greater than"):
            client.responses.create(model="chat", input="Hello?", max_output_tokens=9000, stream=stream)
