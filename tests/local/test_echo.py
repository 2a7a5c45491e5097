"""The echo container: its two shapes agree, its answers fit what was asked for, its refusals are vLLM's."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_sagemaker_openai.local.echo import (
    ContainerRefusal,
    EchoConfig,
    complete,
    parse_body,
    stream,
    tokenize,
)
from litellm_sagemaker_openai.local.schema import TextSource, UnsatisfiableSchemaError, example

Json = dict[str, Any]
# A dependency of LiteLLM's that has no type stubs.
jsonschema = importlib.import_module("jsonschema")

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "days", "unit"],
        },
    },
}
TIME: Json = {"type": "function", "function": {"name": "get_time"}}
PERSON: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOL_TURN: list[Json] = [
    {"role": "user", "content": "Weather in Paris?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "21 degrees"},
]


def ask(text: str = "What is the weather in New York for 3 days in fahrenheit?", **more: Any) -> Json:
    return {"messages": [{"role": "user", "content": text}], **more}


def message_of(body: Json) -> Json:
    message: Json = complete(body)["choices"][0]["message"]
    return message


def content_of(body: Json) -> str:
    return str(message_of(body)["content"])


def arguments_of(call: Json) -> Json:
    arguments: Json = json.loads(call["function"]["arguments"])
    return arguments


def response_format(schema: Json) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def added_up(chunks: list[Json], choice: int, field: str = "reasoning_content") -> Json:
    """What a client makes of one choice's chunks."""
    total: Json = {"content": "", "reasoning": "", "tool_calls": [], "logprobs": [], "finish_reason": None}
    for chunk in chunks:
        for part in chunk["choices"]:
            if part["index"] != choice:
                continue
            assert total["finish_reason"] is None, "nothing may follow the finish chunk"
            delta = part["delta"]
            total["content"] += delta.get("content") or ""
            total["reasoning"] += delta.get(field) or ""
            for piece in delta.get("tool_calls", ()):
                if "id" in piece:
                    total["tool_calls"].append({**piece, "function": dict(piece["function"])})
                else:
                    call = total["tool_calls"][piece["index"]]
                    call["function"]["arguments"] += piece["function"]["arguments"]
            total["logprobs"] += (part["logprobs"] or {}).get("content", [])
            total["finish_reason"] = part["finish_reason"]
    for call in total["tool_calls"]:
        del call["index"]
    return total


KINDS: dict[str, Json] = {
    "text": ask(),
    "unicode": ask("日本語\u2028line\u0085 é 👩‍👩‍👧  two  spaces\n\n"),
    "empty": ask(""),
    "conversation": {"messages": [{"role": "system", "content": "Be brief."}, *ask()["messages"]]},
    "image": ask([{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:,"}}]),  # type: ignore[arg-type]
    "tool call": ask(tools=[WEATHER, TIME]),
    "two tool calls": ask("get_weather in Rome for 2 days and get_time", tools=[WEATHER, TIME]),
    "tool result": {"messages": TOOL_TURN, "tools": [WEATHER]},
    "json_schema": ask("Alice is 30", response_format=response_format(PERSON)),
    "json_object": ask(response_format={"type": "json_object"}),
    "reasoning": ask(reasoning_effort="low"),
    "reasoning and tools": ask(reasoning_effort="low", tools=[WEATHER]),
    "n": ask(n=3),
    "logprobs": ask(logprobs=True, top_logprobs=2),
    "max_tokens": ask(max_tokens=3),
    "max_tokens in reasoning": ask(max_completion_tokens=3, reasoning_effort="low"),
    "max_tokens in a call": ask(max_tokens=7, tools=[WEATHER]),
    "stop": ask("one two three", stop=["three", "two"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_stream_adds_up_to_the_whole_answer(kind: str) -> None:
    body = KINDS[kind]
    whole = complete(body)
    chunks = list(stream({**body, "stream": True, "stream_options": {"include_usage": True}}))
    for choice in whole["choices"]:
        message, total = choice["message"], added_up(chunks, choice["index"])
        assert total["content"] == (message["content"] or "")
        assert total["reasoning"] == (message["reasoning_content"] or "")
        assert total["tool_calls"] == message["tool_calls"]
        assert total["logprobs"] == (choice["logprobs"] or {}).get("content", [])
        assert total["finish_reason"] == choice["finish_reason"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]


@given(st.text(max_size=80), st.integers(1, 40), st.booleans())
def test_stream_adds_up_for_any_text(text: str, max_tokens: int, thinks: bool) -> None:
    body = ask(text, max_tokens=max_tokens, reasoning_effort="high" if thinks else None)
    choice = complete(body)["choices"][0]
    total = added_up(list(stream({**body, "stream": True})), 0)
    assert total["content"] == (choice["message"]["content"] or "")
    assert total["reasoning"] == (choice["message"]["reasoning_content"] or "")
    assert total["finish_reason"] == choice["finish_reason"]


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(tokenize(text)) == text


def test_stream_shapes_are_vllms() -> None:
    chunks = list(stream(ask("hi", stream=True), completion_id="chatcmpl-1", created=7))
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "echo"}
    first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    assert chunks[0] == {**head, "choices": [first]}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert len(chunks) > 6
    assert all(chunk["choices"] for chunk in chunks), "no usage chunk that was not asked for"


def test_whole_shape() -> None:
    whole = complete(ask("hi"), completion_id="chatcmpl-1", created=7)
    assert (whole["id"], whole["object"], whole["created"], whole["model"]) == (
        "chatcmpl-1",
        "chat.completion",
        7,
        "echo",
    )
    message = whole["choices"][0]["message"]
    assert message["content"] == "Echo container, not a model. You said: hi"
    assert whole["usage"]["completion_tokens"] == len(tokenize(message["content"]))
    assert whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"] + whole["usage"]["completion_tokens"]


def test_choices_are_told_apart_and_alternate() -> None:
    body = ask("hi", n=2)
    first, second = (choice["message"]["content"] for choice in complete(body)["choices"])
    assert first != second
    indexes = [chunk["choices"][0]["index"] for chunk in stream({**body, "stream": True})]
    assert indexes[:6] == [0, 1, 0, 1, 0, 1]


def test_conversation_and_parts_are_noticed() -> None:
    assert '(Message 2 of this conversation, told: "Be brief.".)' in content_of(KINDS["conversation"])
    assert content_of(KINDS["image"]).endswith("You said: Look (and sent 1 image_url)")


def test_tool_call_takes_its_arguments_from_the_text() -> None:
    choice = complete(ask(tools=[WEATHER]))["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert call["function"]["name"] == "get_weather"
    assert arguments_of(call) == {"city": "New York", "days": 3, "unit": "fahrenheit"}


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({}, ["get_weather", "get_time"]),
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"tool_choice": "required"}, ["get_weather", "get_time"]),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ({"tool_choice": "none"}, []),
    ],
)
def test_which_tools_are_called(more: Json, names: list[str]) -> None:
    calls = message_of({**KINDS["two tool calls"], **more})["tool_calls"]
    assert [call["function"]["name"] for call in calls] == names
    assert len({call["id"] for call in calls}) == len(calls)


def test_tool_result_is_answered() -> None:
    assert content_of(KINDS["tool result"]) == "The tool answered: 21 degrees"
    two = [*TOOL_TURN, {"role": "tool", "tool_call_id": "c2", "content": "noon"}]
    assert content_of({"messages": two, "tools": [WEATHER]}) == "The 2 tools answered: 21 degrees | noon"
    assert message_of({"messages": TOOL_TURN, "tools": [WEATHER], "tool_choice": "required"})["tool_calls"]


@pytest.mark.parametrize("told", [{"tool_calls": TOOL_TURN[1]["tool_calls"]}, {"content": "Called: 'get_weather'"}])
def test_a_required_call_is_of_what_was_not_called_yet(told: Json) -> None:
    """Else an agent whose final answer is a tool would never end."""
    messages = [*ask("Hm")["messages"], {"role": "assistant", **told}, {"role": "user", "content": "21 degrees"}]
    asked = {"messages": messages, "tools": [WEATHER, TIME]}
    required, free = (message_of({**asked, "tool_choice": choice})["tool_calls"] for choice in ("required", "auto"))
    assert [call["function"]["name"] for call in required] == ["get_time"]
    assert [call["function"]["name"] for call in free] == ["get_weather"]


@pytest.mark.parametrize(
    ("more", "reasons"),
    [
        ({}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "low"}, True),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"include_reasoning": True}, True),
        ({"reasoning_effort": "low", "include_reasoning": False}, False),
        ({"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}, False),
    ],
)
def test_reasoning_when_asked(more: Json, reasons: bool) -> None:
    assert bool(message_of(ask(**more))["reasoning_content"]) is reasons


def test_reasoning_field_of_newer_vllm() -> None:
    config, body = EchoConfig(reasoning_field="reasoning"), ask(reasoning_effort="low")
    message = complete(body, config)["choices"][0]["message"]
    chunks = list(stream({**body, "stream": True}, config))
    assert "reasoning_content" not in message
    assert added_up(chunks, 0, "reasoning")["reasoning"] == message["reasoning"]


def test_reasoning_counts() -> None:
    plain, thinking = complete(ask())["usage"], complete(ask(reasoning_effort="low"))["usage"]
    assert thinking["completion_tokens"] > plain["completion_tokens"]


def test_logprobs_cover_the_content() -> None:
    choice = complete(KINDS["logprobs"])["choices"][0]
    entries = choice["logprobs"]["content"]
    assert b"".join(bytes(entry["bytes"]) for entry in entries).decode() == choice["message"]["content"]
    assert all(entry["logprob"] < 0 and len(entry["top_logprobs"]) == 2 for entry in entries)
    assert entries[0]["top_logprobs"][0]["token"] == entries[0]["token"]


def test_limits() -> None:
    stopped = complete(KINDS["stop"])["choices"][0]
    assert stopped["message"]["content"].endswith("one ")
    assert (stopped["finish_reason"], stopped["stop_reason"]) == ("stop", "two")
    short = complete(KINDS["max_tokens"])
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 3


SCHEMAS: dict[str, Json] = {
    "flat": PERSON,
    "nested": {"type": "object", "properties": {"people": {"type": "array", "items": PERSON, "minItems": 2}}},
    "refs": {
        "$defs": {"Person": PERSON, "a/b": {"enum": ["x", "y"]}},
        "type": "object",
        "properties": {"who": {"$ref": "#/$defs/Person"}, "key": {"$ref": "#/$defs/a~1b"}},
        "required": ["who", "key"],
    },
    "recursive": {
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                },
                "required": ["value", "next"],
            }
        },
        "$ref": "#/$defs/Node",
    },
    "recursive through an array": {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["children"],
    },
    "nullable": {"type": ["null", "string"]},
    "anyOf": {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 5}]},
    "allOf": {"allOf": [PERSON, {"properties": {"age": {"type": "integer", "maximum": 9}}}]},
    "const": {"const": {"a": [1, None]}},
    "enum of many kinds": {"enum": [None, 3, "x"]},
    "bounds": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "multiple": {"type": "integer", "multipleOf": 7, "minimum": 10},
    "strings": {"type": "string", "minLength": 200, "maxLength": 210},
    "short": {"type": "string", "maxLength": 2},
    "format": {"type": "string", "format": "date-time"},
    "pattern": {"type": "string", "pattern": "^[A-Z][a-z]+$"},
    "unique": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    "unique numbers": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 4},
    "unique fractions": {
        "type": "array",
        "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "uniqueItems": True,
        "minItems": 3,
    },
    "unique strings": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 20},
    "unique booleans": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": False},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    "anything": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("text", ["", "Tell 'Ann' 12 things: 3.5, -4, 7 and 70, Please"])
def test_values_fit_their_schema(kind: str, text: str) -> None:
    content = content_of(ask(text, response_format=response_format(SCHEMAS[kind])))
    jsonschema.validate(json.loads(content), SCHEMAS[kind], cls=jsonschema.Draft202012Validator)


def test_values_come_from_the_text() -> None:
    assert json.loads(content_of(KINDS["json_schema"]))["age"] == 30
    source = TextSource("Book 'table one' for 2, then \"table two\" for 4.5")
    strings = [example({"type": "string"}, source) for _ in range(2)]
    numbers = [example({"type": "number"}, source) for _ in range(2)]
    assert (strings, numbers) == (["table one", "table two"], [2, 4.5])


def test_strings_that_are_the_whole_text_are_bounded() -> None:
    """Each of ten thousand strings may be the whole text."""
    schema = {"type": "object", "properties": {str(number): {"type": "string"} for number in range(9_000)}}
    with pytest.raises(UnsatisfiableSchemaError, match="too many strings for so long a text"):
        example(schema, TextSource("word " * 100_000))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "string", "pattern": "^[0-9]{40}$"},
        {"type": "string", "pattern": "("},
        {"type": "string", "pattern": "a" * 2001},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "string", "minLength": "three"},
        {"type": "array", "minItems": 10**9},
        {"type": "array", "items": {"type": "null"}, "uniqueItems": True, "minItems": 2},
        {"type": "strange"},
        {"not": {"type": "string"}},
        {"enum": []},
    ],
)
def test_what_cannot_be_made_is_refused(schema: Json) -> None:
    with pytest.raises(UnsatisfiableSchemaError):
        example(schema, TextSource("hello"))
    with pytest.raises(ContainerRefusal) as caught:
        complete(ask(response_format=response_format(schema)))
    assert caught.value.status == 400


def test_pattern_that_takes_too_long_is_refused() -> None:
    schema = {"type": "string", "pattern": "(x+x+)+y"}
    with pytest.raises(UnsatisfiableSchemaError, match="takes too long"):
        example(schema, TextSource("x" * 5000))


def refusal_of(body: Json, config: EchoConfig | None = None) -> Json:
    with pytest.raises(ContainerRefusal) as caught:
        complete(body, config)
    with pytest.raises(ContainerRefusal):
        stream(body, config)  # refused at once, before anything is streamed
    assert caught.value.body["error"]["code"] == caught.value.status
    error: Json = caught.value.body["error"]
    return error


def test_refusals_have_vllms_words() -> None:
    assert refusal_of(ask(model="gpt-4")) == {
        "message": "The model `gpt-4` does not exist.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }
    config = EchoConfig(context_length=40960)
    assert refusal_of(ask(max_tokens=10000000), config) == {
        "message": "max_tokens=10000000 cannot be greater than max_model_len=max_total_tokens=40960. "
        "Please request fewer output tokens. (parameter=max_tokens, value=10000000)",
        "type": "BadRequestError",
        "param": "max_tokens",
        "code": 400,
    }
    config = EchoConfig(context_length=8192)
    assert refusal_of(ask("word " * 9000), config)["message"].startswith(
        "This model's maximum context length is 8192 tokens. However, you requested 9006 tokens in the messages"
    )


def test_by_default_there_is_room_for_a_coding_agent() -> None:
    """Claude Code begins with 20,835 of the echo's tokens, and asks for 32,000."""
    assert complete(ask("word " * 20_835, max_tokens=32_000))["usage"]["prompt_tokens"] > 20_835


@pytest.mark.parametrize("model", [None, "", "echo"])
def test_models_that_are_served(model: str | None) -> None:
    assert complete(ask(model=model))["model"] == "echo"


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "role"),
        ({"messages": [{"role": "user", "content": 3}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "Unknown part type: smell"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "content"),
        ({"model": 3}, "model"),
        ({"stream_options": {"include_usage": True}}, "stream=True"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "hot"}, "hot"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 131_070}, "maximum context length"),
        ({"max_completion_tokens": 132_000}, "max_completion_tokens=132000"),
        ({"n": 0}, "n must"),
        ({"n": 1000}, "n must"),
        ({"stop": [1]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"top_logprobs": 2}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "max allowed: 20"),
        ({"tools": "all"}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "`tools` must be set"),
        ({"tools": [TIME], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "does not match any"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "schema"),
    ],
)
def test_refusals(more: Json, names: str) -> None:
    error = refusal_of({**ask(), **more})
    assert names in error["message"]
    assert error["type"] == "BadRequestError"


def test_missing_messages() -> None:
    assert "Field required" in refusal_of({"model": "", "prompt": "hi"})["message"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"\xff", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b"[" * 100_000]
)
def test_bodies_that_are_no_json_object(raw: bytes) -> None:
    with pytest.raises(ContainerRefusal) as caught:
        parse_body(raw)
    assert caught.value.status == 400


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=4) | st.sampled_from(["user", "text", "object"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "function", "name", "json_schema"]), inner)
    ),
    max_leaves=8,
)
PARAMETERS = [
    *("messages", "model", "stream", "stream_options", "temperature", "max_tokens", "n", "stop", "logprobs", "tools"),
    *("top_logprobs", "tool_choice", "response_format", "chat_template_kwargs", "reasoning_effort"),
]


@given(st.dictionaries(st.sampled_from(PARAMETERS), JSON_VALUES, max_size=4))
def test_any_body_is_answered_or_refused(more: Json) -> None:
    try:
        answer = complete({**ask("hi"), **more})
    except ContainerRefusal as refusal:
        answer = refusal.body
    assert json.dumps(answer)


def test_unused_parameters_are_accepted() -> None:
    assert complete(ask("hi", seed=1, user="me", top_k=5, logit_bias={}, stop=None, tools=[])) == complete(ask("hi"))
