"""The OpenAI SDK's Chat Completions, on the proxy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.clients.conftest import CHAT_PATH, ECHO, Proxied, answer_to

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

HELLO: list[Any] = [{"role": "user", "content": "Hello?"}]
TWO_TOOLS_ASKED: list[Any] = [{"role": "user", "content": "get_weather and get_time in Dublin, please"}]
IMAGE = "data:image/png;base64,iVBORw0KGgo="


def function(name: str, **properties: Any) -> Any:
    parameters = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


WEATHER = function("get_weather", city={"type": "string", "enum": ["Seattle", "Dublin"]})
TIME = function("get_time")


class Person(BaseModel):
    name: str
    ages: list[int]


@pytest.fixture
def client(proxy: Proxied) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.openai_url, api_key=proxy.key, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(proxy: Proxied) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.openai_url, api_key=proxy.key, max_retries=0) as client:
        yield client


def tokens_in(usage: Any) -> tuple[int, int]:
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return usage.prompt_tokens, usage.completion_tokens


def text_of(chunks: list[Any], index: int = 0) -> str:
    return "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == index)


def ends_of(chunks: list[Any]) -> list[tuple[int, str]]:
    return [(c.index, c.finish_reason) for chunk in chunks for c in chunk.choices if c.finish_reason]


def calls_of(chunks: list[Any]) -> dict[int, dict[str, str]]:
    """The streamed tool calls, put together by index."""
    calls: dict[int, dict[str, str]] = {}
    for piece in [c for chunk in chunks for choice in chunk.choices for c in choice.delta.tool_calls or []]:
        call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
        call["id"] += piece.id or ""
        call["name"] += piece.function.name or ""
        call["arguments"] += piece.function.arguments or ""
    return calls


def sent_calls(answer: Any) -> list[dict[str, str]]:
    return [{"id": c["id"], **c["function"]} for c in answer["choices"][0]["message"]["tool_calls"]]


def test_a_chat(client: openai.OpenAI, proxy: Proxied) -> None:
    answer = client.chat.completions.create(model="chat", messages=HELLO, max_tokens=100, temperature=0.5, stop=["\n"])
    assert answer.model == "chat"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == f"{ECHO}Hello?"
    assert answer.choices[0].finish_reason == "stop"
    assert tokens_in(answer.usage) == proxy.tokens == (8, 12)
    assert [request.path for request in proxy.received] == [CHAT_PATH]
    assert proxy.body == {"model": "", "messages": HELLO, "max_tokens": 100, "temperature": 0.5, "stop": ["\n"]}


def test_a_stream(client: openai.OpenAI, proxy: Proxied) -> None:
    chunks = list(client.chat.completions.create(model="chat", messages=HELLO, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert [deltas[0].role, *(delta.role for delta in deltas[1:])] == ["assistant", *[None] * (len(deltas) - 1)]
    assert [delta.content for delta in deltas if delta.content] == (
        ["Echo", " container", ",", " not", " a", " model", ".", " You", " said", ":", " Hello", "?"]
    )
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [*[None] * (len(chunks) - 1), "stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"chat"}
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)  # it was not asked for
    assert proxy.body["stream"] is True


def test_stream_options(client: openai.OpenAI, proxy: Proxied) -> None:
    def stream(include_usage: bool) -> list[Any]:
        return list(
            client.chat.completions.create(
                model="chat",
                messages=HELLO,
                stream=True,
                stream_options={"include_usage": include_usage},
                max_completion_tokens=2,
            )
        )

    chunks = stream(True)
    assert text_of(chunks) == "Echo container"
    assert ends_of(chunks) == [(0, "length")]
    assert [bool(chunk.usage) for chunk in chunks] == [*[False] * (len(chunks) - 1), True]
    assert tokens_in(chunks[-1].usage) == proxy.tokens == (8, 2)
    assert not any(chunk.usage for chunk in stream(False))


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_and_their_results(client: openai.OpenAI, proxy: Proxied, stream: bool) -> None:
    tools = [WEATHER, TIME]
    if stream:
        chunks = list(client.chat.completions.create(model="chat", messages=TWO_TOOLS_ASKED, tools=tools, stream=True))
        calls, ends = [*calls_of(chunks).values()], ends_of(chunks)
        assert text_of(chunks) == ""
    else:
        choice = client.chat.completions.create(model="chat", messages=TWO_TOOLS_ASKED, tools=tools).choices[0]
        calls = [
            {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
            for call in choice.message.tool_calls or []
            if call.type == "function"
        ]
        ends = [(choice.index, choice.finish_reason)]
        assert choice.message.content is None
    assert calls == sent_calls(proxy.answer)
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == (
        [("get_weather", {"city": "Dublin"}), ("get_time", {})]
    )
    assert ends == [(0, "tool_calls")]
    assert proxy.body["tools"] == tools

    proxy.received.clear()
    asked = [{"id": call.pop("id"), "type": "function", "function": call} for call in calls]
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call["id"], "content": text}
        for call, text in zip(asked, ["12 degrees", "noon"], strict=True)
    ]
    messages = [*TWO_TOOLS_ASKED, {"role": "assistant", "tool_calls": asked}, *results]
    answer = client.chat.completions.create(model="chat", messages=messages, tools=tools)
    assert answer.choices[0].message.content == "The 2 tools answered: 12 degrees | noon"
    assert proxy.body["messages"] == messages
    assert tokens_in(answer.usage) == proxy.tokens


def test_one_tool_call_at_a_time(client: openai.OpenAI, proxy: Proxied) -> None:
    answer = client.chat.completions.create(
        model="chat",
        messages=TWO_TOOLS_ASKED,
        tools=[WEATHER, TIME],
        parallel_tool_calls=False,
        tool_choice={"type": "function", "function": {"name": "get_time"}},
    )
    assert [call.type == "function" and call.function.name for call in answer.choices[0].message.tool_calls or []] == (
        ["get_time"]
    )
    assert proxy.body["parallel_tool_calls"] is False
    assert proxy.body["tool_choice"] == {"type": "function", "function": {"name": "get_time"}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema(client: openai.OpenAI, proxy: Proxied, stream: bool) -> None:
    schema = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    call: dict[str, Any] = {
        "model": "chat",
        "messages": [{"role": "user", "content": "How many are 3 and 4?"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "count", "schema": schema, "strict": True}},
    }
    if stream:
        content = text_of(list(client.chat.completions.create(**call, stream=True)))
    else:
        content = client.chat.completions.create(**call).choices[0].message.content or ""
    assert json.loads(content) == {"count": 3}
    assert proxy.body["response_format"] == call["response_format"]


def test_a_pydantic_class(client: openai.OpenAI, proxy: Proxied) -> None:
    messages: list[Any] = [{"role": "user", "content": "Ada is 36"}]
    answer = client.chat.completions.parse(model="chat", messages=messages, response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada is 36", ages=[36])
    assert proxy.body["response_format"]["json_schema"]["name"] == "Person"

    proxy.received.clear()
    with client.chat.completions.stream(model="chat", messages=messages, response_format=Person) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_completion().choices[0]
    assert list(dict.fromkeys(kinds)) == ["chunk", "content.delta", "content.done"]
    assert streamed.message.parsed == Person(name="Ada is 36", ages=[36])
    assert streamed.finish_reason == "stop"


def test_a_pydantic_class_as_a_tool(client: openai.OpenAI, proxy: Proxied) -> None:
    answer = client.chat.completions.parse(
        model="chat",
        messages=[{"role": "user", "content": "Ada is 36"}],
        tools=[openai.pydantic_function_tool(Person)],
    )
    [call] = answer.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Person)
    assert call.function.parsed_arguments.ages == [36]
    assert proxy.body["tools"][0]["function"]["strict"] is True


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs(client: openai.OpenAI, proxy: Proxied, stream: bool) -> None:
    call: dict[str, Any] = {"model": "chat", "messages": HELLO, "logprobs": True, "top_logprobs": 2}
    if stream:
        chunks = list(client.chat.completions.create(**call, stream=True))
        logprobs = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs]
        tokens = [token for each in logprobs for token in each.content or []]
    else:
        whole = client.chat.completions.create(**call).choices[0].logprobs
        tokens = (whole and whole.content) or []
    assert [token.model_dump() for token in tokens] == proxy.answer["choices"][0]["logprobs"]["content"]
    assert [len(token.top_logprobs) for token in tokens] == [2] * 12


@pytest.mark.parametrize("detail", [None, "low"])
def test_images(client: openai.OpenAI, proxy: Proxied, detail: str | None) -> None:
    urls = [{"url": url, **({"detail": detail} if detail else {})} for url in (IMAGE, "https://example.com/a.png")]
    content = [{"type": "text", "text": "What?"}, *({"type": "image_url", "image_url": url} for url in urls)]
    messages: list[Any] = [{"role": "user", "content": content}]
    answer = client.chat.completions.create(model="chat", messages=messages)
    assert answer.choices[0].message.content == f"{ECHO}What? (and sent 2 image_url)"
    assert proxy.body["messages"] == messages  # the proxy fetches no image


@pytest.mark.parametrize("stream", [False, True])
def test_two_choices(client: openai.OpenAI, proxy: Proxied, stream: bool) -> None:
    call: dict[str, Any] = {"model": "chat", "messages": HELLO, "n": 2}
    if stream:
        call["stream_options"] = {"include_usage": True}
        chunks = list(client.chat.completions.create(**call, stream=True))
        texts, ends = [text_of(chunks, index) for index in (0, 1)], ends_of(chunks)
        [usage] = [chunk.usage for chunk in chunks if chunk.usage]
    else:
        answer = client.chat.completions.create(**call)
        texts = [choice.message.content or "" for choice in answer.choices]
        ends = [(choice.index, choice.finish_reason) for choice in answer.choices]
        assert answer.usage
        usage = answer.usage
    assert texts == [f"{ECHO}Hello?", f"{ECHO}Hello? (Choice 2.)"]
    assert sorted(ends) == [(0, "stop"), (1, "stop")]
    assert tokens_in(usage) == proxy.tokens


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_effort(client: openai.OpenAI, proxy: Proxied, stream: bool) -> None:
    call: dict[str, Any] = {"model": "reviewer", "messages": HELLO, "reasoning_effort": "high"}
    if stream:
        chunks = list(client.chat.completions.create(**call, stream=True))
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
        thoughts = [(delta.model_extra or {}).get("reasoning_content") for delta in deltas]
        words = [delta.content for delta in deltas]
        reasoning, content = "".join(filter(None, thoughts)), "".join(filter(None, words))
        last_thought = max(position for position, thought in enumerate(thoughts) if thought)
        assert last_thought < min(position for position, word in enumerate(words) if word)
    else:
        message = client.chat.completions.create(**call).choices[0].message
        reasoning, content = (message.model_extra or {})["reasoning_content"], message.content or ""
    assert reasoning == proxy.answer["choices"][0]["message"]["reasoning_content"]
    assert reasoning.startswith("The user's last message has 2 tokens.")
    assert content == f"{ECHO}Hello?"
    assert proxy.body["reasoning_effort"] == "high"


def test_reasoning_effort_where_the_proxy_was_not_told_that_the_model_reasons(
    client: openai.OpenAI, proxy: Proxied
) -> None:
    with pytest.raises(openai.BadRequestError, match="allowed_openai_params"):
        client.chat.completions.create(model="chat", messages=HELLO, reasoning_effort="high")
    assert not proxy.received
    answer = client.chat.completions.create(model="lenient", messages=HELLO, reasoning_effort="high")
    assert answer.choices[0].message.content == f"{ECHO}Hello?"
    assert "reasoning_effort" not in proxy.body


def test_extra_body(client: openai.OpenAI, proxy: Proxied) -> None:
    extra = {"top_k": 4, "min_p": 0.1, "chat_template_kwargs": {"enable_thinking": True}}
    answer = client.chat.completions.create(model="chat", messages=HELLO, extra_body=extra)
    assert proxy.body == {"model": "", "messages": HELLO, **extra}
    assert (answer.choices[0].message.model_extra or {})["reasoning_content"].startswith("The user's last message")


def test_with_raw_response(client: openai.OpenAI, proxy: Proxied) -> None:
    raw = client.chat.completions.with_raw_response.create(model="chat", messages=HELLO)
    assert raw.headers["x-litellm-model-name"] == "sagemaker_openai/my-endpoint"
    assert raw.headers["llm_provider-x-amzn-requestid"]  # what AWS support asks for
    assert raw.parse().choices[0].message.content == f"{ECHO}Hello?"
    assert [request.path for request in proxy.received] == [CHAT_PATH]


def test_with_streaming_response(client: openai.OpenAI, proxy: Proxied) -> None:
    with client.chat.completions.with_streaming_response.create(model="chat", messages=HELLO, stream=True) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == f"{ECHO}Hello?"


async def test_async(async_client: openai.AsyncOpenAI, proxy: Proxied) -> None:
    whole = await async_client.chat.completions.create(model="chat", messages=HELLO)
    assert whole.choices[0].message.content == f"{ECHO}Hello?"
    stream = await async_client.chat.completions.create(
        model="chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert text_of(chunks) == f"{ECHO}Hello?"
    assert ends_of(chunks) == [(0, "stop")]
    assert tokens_in(chunks[-1].usage) == tokens_in(whole.usage)
    first, second = proxy.received
    assert answer_to(first.body)["choices"] == answer_to(second.body)["choices"]


def test_an_error_of_the_containers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="max_tokens=9000 cannot be greater than"):
        client.chat.completions.create(model="chat", messages=HELLO, max_tokens=9000)
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "word " * 9000}])
