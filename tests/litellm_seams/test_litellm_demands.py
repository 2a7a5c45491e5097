"""What LiteLLM demands of the chat providers in its own repository, demanded of this one.

The demands are those of ``BaseLLMChatTest`` (LiteLLM's tests/llm_translation/base_llm_unit_tests.py, read at commit
019f5ee) and of the base classes beside it. The tests are this project's own; they also say what must reach the
container, where LiteLLM's ask only for an answer.

| demand | here |
| --- | --- |
| ``developer_role_translation`` | ``test_developer_messages`` |
| ``content_list_handling`` | ``test_content_lists`` |
| ``pydantic_model_input`` | ``test_a_message_object`` |
| ``message_with_name`` | ``test_a_message_with_a_name`` |
| ``streaming`` | ``test_streaming`` |
| ``tool_call_with_property_type_array``, ``…_with_empty_enum_property`` | ``test_schemas_of_tools`` |
| ``empty_tools`` | ``test_empty_tools`` |
| ``tool_call_no_arguments`` | ``test_a_tool_call_without_arguments`` |
| ``basic_tool_calling`` | ``test_tool_calling``, ``test_parallel_tool_calls`` |
| ``function_calling_with_tool_response`` | ``test_a_streamed_tool_loop`` |
| ``response_format_type_text``, ``…_with_tool_calls_no_tool_choice`` | ``test_text_as_response_format`` |
| ``json_response_format``, ``…_stream`` | ``test_json_object`` |
| ``json_response_pydantic_obj``, ``…_nested_pydantic_obj``, ``…_nested_json_schema`` | ``test_pydantic_formats`` |
| ``pdf_handling``, ``async_pdf_handling_with_file_id``, ``file_data_unit_test`` | ``test_files`` |
| ``image_url``, ``image_url_string`` | ``test_images`` |
| ``audio_input``, ``supports_audio_input`` | ``test_audio`` |
| ``completion_cost`` | ``test_cost`` |
| ``prompt_caching`` | ``test_prompt_caching`` |
| ``reasoning_effort``, and ``BaseReasoningLLMTests`` | ``test_reasoning`` |
| ``BaseAnthropicChatTest.…_response_format_streaming_vs_non_streaming`` | ``test_pydantic_formats`` |
| closing what is asynchronous | ``test_async_close`` |
| ``web_search`` | does not apply: a container does not search; ``web_search_options`` reaches it as it is |
| ``url_context`` | does not apply: a tool of Gemini's, which is no function |
| ``BaseOSeriesModelsTest`` | does not apply: rules for OpenAI's own models |
| thinking blocks and signatures (the rest of ``BaseAnthropicChatTest``) | do not apply: Anthropic's own |
| ``BaseLLMEmbeddingTest`` | tests/operations/test_embeddings.py |

LiteLLM's base class skips a test where its price list does not say that the model can do a thing. Of a model on an
endpoint it knows nothing, so nothing is skipped here: the container decides.
"""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import litellm
import pytest
from litellm.llms.base_llm.base_utils import type_to_response_format_param
from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients
from litellm.types.utils import CallTypes
from litellm.utils import return_raw_request
from pydantic import BaseModel

from litellm_sagemaker_openai.local import echo
from litellm_sagemaker_openai.local.server import Running
from tests.conftest import MESSAGES, Upstream
from tests.scripted import Answer, chunk, completion, json_answer, sse

MODEL = "sagemaker_openai/my-endpoint"
SAID = "Echo container, not a model. You said: "
PDF = "data:application/pdf;base64,JVBERi0xLjcKJSVFT0YK"
both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def user(content: Any, **more: Any) -> list[Any]:
    return [{"role": "user", "content": content, **more}]


def text(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def function(name: str, parameters: Any, **more: Any) -> Any:
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters, **more}}


WEATHER = function(
    "get_weather",
    {
        "$id": "https://example.com/get_weather",
        "$schema": "https://json-schema.org/draft-07/schema",
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    strict=True,
)
FAQ = function("Get-FAQ", {"type": "object", "properties": {}})


class Event(BaseModel):
    name: str
    date: str
    participants: list[str]


class Events(BaseModel):
    events: list[Event]


class Talk:
    """Calls a model, and remembers what reached the container."""

    def __init__(self, runtime: Running) -> None:
        self._received = runtime.app.state.received

    @property
    def body(self) -> Any:
        return self._received[-1].body

    def whole(self, messages: Any = MESSAGES, **call: Any) -> Any:
        return litellm.completion(model=MODEL, messages=messages, **call)

    async def awhole(self, messages: Any = MESSAGES, **call: Any) -> Any:
        return await litellm.acompletion(model=MODEL, messages=messages, **call)

    def streamed(self, messages: Any = MESSAGES, **call: Any) -> list[Any]:
        return list(litellm.completion(model=MODEL, messages=messages, stream=True, **call))

    def message(self, stream: bool, messages: Any = MESSAGES, **call: Any) -> Any:
        """The first choice's message, asked for either way."""
        if stream:
            rebuilt: Any = litellm.stream_chunk_builder(self.streamed(messages, **call))
            return rebuilt.choices[0].message
        return self.whole(messages, **call).choices[0].message


@pytest.fixture
def talk(runtime: Running) -> Talk:
    return Talk(runtime)


# Messages


@streamed_or_not
def test_developer_messages(talk: Talk, stream: bool) -> None:
    messages = [{"role": "developer", "content": "Be a good bot."}, *user([text("Hello?")])]
    assert f"{SAID}Hello?" in talk.message(stream, messages).content
    assert talk.body["messages"][0] == {"role": "system", "content": "Be a good bot."}


@streamed_or_not
def test_content_lists(talk: Talk, stream: bool) -> None:
    parts = [text("Hello,"), text("how are you?")]
    assert talk.message(stream, user(parts)).content == f"{SAID}Hello, how are you?"
    assert talk.body["messages"] == user(parts)


@both
async def test_a_message_object(talk: Talk, is_async: bool) -> None:
    messages = [litellm.Message(role="user", content="Hello?")]
    response = await talk.awhole(messages) if is_async else talk.whole(messages)
    assert response.choices[0].message.content == f"{SAID}Hello?"
    assert talk.body["messages"] == user("Hello?")


def test_a_message_with_a_name(talk: Talk) -> None:
    assert talk.whole(user("Hello?", name="ada")).choices[0].message.content == f"{SAID}Hello?"
    assert talk.body["messages"] == user("Hello?", name="ada")


@both
async def test_streaming(talk: Talk, is_async: bool) -> None:
    if is_async:
        chunks = [each async for each in await talk.awhole(user([text("Hello?")]), stream=True)]
    else:
        stream = talk.whole(user([text("Hello?")]), stream=True)
        assert isinstance(stream, litellm.CustomStreamWrapper)
        chunks = list(stream)
    # LiteLLM makes the last chunk of a synchronous stream itself, with its own clock's second.
    assert len({each.created for each in (chunks if is_async else chunks[:-1])}) == 1
    assert len({each.id for each in chunks}) == 1
    rebuilt: Any = litellm.stream_chunk_builder(chunks)
    assert rebuilt.choices[0].message.content == f"{SAID}Hello?"
    assert rebuilt.choices[0].finish_reason == "stop"


# Tools


@streamed_or_not
@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        ({"type": ["string", "number"]}, (str, int, float)),
        ({"type": "string", "enum": ["", "products", "products_with_filters"], "default": "", "title": "Mode"}, str),
    ],
    ids=["type array", "empty enum"],
)
def test_schemas_of_tools(talk: Talk, stream: bool, schema: Any, fits: Any) -> None:
    parameters = {"type": "object", "properties": {"value": schema}, "required": ["value"], "title": "arguments"}
    [call] = talk.message(stream, tools=[function("search", parameters)]).tool_calls
    assert isinstance(json.loads(call.function.arguments)["value"], fits)
    assert talk.body["tools"][0]["function"]["parameters"] == parameters


@streamed_or_not
@pytest.mark.parametrize("more", [{}, {"tool_choice": "auto", "parallel_tool_calls": True}, {"tool_choice": "none"}])
def test_empty_tools(talk: Talk, stream: bool, more: dict[str, Any]) -> None:
    """They mean no tools. OpenAI refuses an empty list; some chat templates write of tools where there is one."""
    assert talk.message(stream, tools=[], **more).content == f"{SAID}Hello?"
    assert set(talk.body) <= {"model", "messages", "stream", "stream_options"}


def test_empty_tools_of_which_one_must_be_called(talk: Talk) -> None:
    with pytest.raises(litellm.BadRequestError, match="`tools` must be set"):
        talk.whole(tools=[], tool_choice="required")


@streamed_or_not
def test_a_tool_call_without_arguments(talk: Talk, stream: bool) -> None:
    [call] = talk.message(stream, tools=[FAQ]).tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("Get-FAQ", {})
    asked = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "Get-FAQ", "arguments": "{}"}}],
    }
    history = [*MESSAGES, asked, {"role": "tool", "tool_call_id": "call_1", "content": "the FAQ"}]
    assert talk.message(stream, history, tools=[FAQ]).content == "The tool answered: the FAQ"
    assert talk.body["messages"] == history


@both
async def test_tool_calling(talk: Talk, is_async: bool) -> None:
    async def ask(messages: Any) -> Any:
        call: dict[str, Any] = {"messages": messages, "tools": [WEATHER]}
        return (await talk.awhole(**call) if is_async else talk.whole(**call)).choices[0]

    question = user("How is the weather in Boston, in fahrenheit?")
    choice = await ask(question)
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None  # neither the call nor thoughts, written as text
    [call] = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] == "Boston"
    result = {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": '{"temperature": "72"}'}
    answer = await ask([*question, choice.message.model_dump(), result])
    assert answer.message.content == 'The tool answered: {"temperature": "72"}'
    assert answer.message.tool_calls is None
    assert talk.body["messages"][1]["tool_calls"][0]["id"] == call.id
    assert talk.body["messages"][2] == result


@streamed_or_not
def test_parallel_tool_calls(talk: Talk, stream: bool) -> None:
    question = user('get_weather in "Boston", and Get-FAQ')
    message = talk.message(stream, question, tools=[WEATHER, FAQ], parallel_tool_calls=True)
    names = [call.function.name for call in message.tool_calls]
    assert names == ["get_weather", "Get-FAQ"]
    assert len({call.id for call in message.tool_calls}) == 2
    results = [{"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in message.tool_calls]
    answer = talk.message(stream, [*question, message, *results], tools=[WEATHER, FAQ])
    assert answer.content == "The 2 tools answered: get_weather | Get-FAQ"
    sent = talk.body["messages"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [each["tool_call_id"] for each in sent[2:]]


def test_a_streamed_tool_loop(talk: Talk) -> None:
    """A caller puts a streamed call together from its deltas, and sends LiteLLM's own objects back."""
    messages: list[Any] = user('How is the weather in "Mumbai"?')
    calls: dict[int, Any] = {}
    for piece in talk.streamed(messages, tools=[WEATHER]):
        for delta in piece.choices[0].delta.tool_calls or []:
            if delta.index in calls:
                calls[delta.index].function.arguments += delta.function.arguments
            else:
                calls[delta.index] = delta
    assert [json.loads(call.function.arguments)["city"] for call in calls.values()] == ["Mumbai"]
    for call in calls.values():
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "34 degrees"})
    answer = "".join(each.choices[0].delta.content or "" for each in talk.streamed(messages, tools=[WEATHER]))
    assert answer == "The tool answered: 34 degrees"
    assert talk.body["tools"] == [WEATHER]


# Response formats


@streamed_or_not
def test_text_as_response_format(talk: Talk, stream: bool) -> None:
    answer = talk.message(stream, response_format={"type": "text"})
    assert answer.content == f"{SAID}Hello?"
    assert "tools" not in talk.body
    assert "tool_choice" not in talk.body
    called = talk.message(stream, response_format={"type": "text"}, tools=[WEATHER], drop_params=True)
    assert called.tool_calls[0].function.name == "get_weather"
    assert "tool_choice" not in talk.body


@streamed_or_not
def test_json_object(talk: Talk, stream: bool) -> None:
    messages = [{"role": "system", "content": "Answer in JSON."}, *user("city=San Francisco, weather=sunny, temp=60")]
    message = talk.message(stream, messages, response_format={"type": "json_object"})
    assert isinstance(json.loads(message.content), dict)
    assert message.tool_calls is None
    assert talk.body["response_format"] == {"type": "json_object"}


@streamed_or_not
@pytest.mark.parametrize("given", ["class", "json_schema"])
def test_pydantic_formats(talk: Talk, stream: bool, given: str) -> None:
    as_schema: Any = type_to_response_format_param(Events)
    message = talk.message(
        stream, user("List 5 events of the XIX century"), response_format=Events if given == "class" else as_schema
    )
    assert isinstance(Events.model_validate_json(message.content), Events)
    assert message.tool_calls is None
    assert talk.body["response_format"] == as_schema
    assert "tools" not in talk.body


# Files, images, audio


@both
@pytest.mark.parametrize("file", [{"file_data": PDF}, {"file_id": "https://example.com/a.pdf"}], ids=["data", "id"])
async def test_files(talk: Talk, is_async: bool, file: dict[str, str]) -> None:
    messages = user([text("What is it about?"), {"type": "file", "file": file}])
    response = await talk.awhole(messages) if is_async else talk.whole(messages)
    assert response.choices[0].message.content == f"{SAID}What is it about? (and sent 1 file)"
    assert talk.body["messages"] == messages
    raw: Any = return_raw_request(CallTypes.completion, {"model": MODEL, "messages": messages})
    assert raw["raw_request_body"]["messages"] == messages


@both
@pytest.mark.parametrize("detail", [None, "low", "high"])
async def test_images(talk: Talk, is_async: bool, detail: str | None) -> None:
    url = "https://example.com/image.png"
    image = {"url": url, "detail": detail} if detail else {"url": url}
    for given in (image, url) if detail is None else (image,):
        messages = user([text("What is it?"), {"type": "image_url", "image_url": given}])
        before = copy.deepcopy(messages)
        response = await talk.awhole(messages) if is_async else talk.whole(messages)
        assert response.choices[0].message.content == f"{SAID}What is it? (and sent 1 image_url)"
        # A URL alone is LiteLLM's shorthand; vLLM refuses it.
        assert talk.body["messages"] == user([text("What is it?"), {"type": "image_url", "image_url": image}])
        assert messages == before


def test_the_echo_container_refuses_an_image_that_is_only_a_url() -> None:
    """As vLLM does; so ``test_images`` shows something."""
    messages = user([{"type": "image_url", "image_url": "https://example.com/image.png"}])
    with pytest.raises(echo.ContainerRefusal, match="valid dictionary"):
        echo.complete({"messages": messages})


def test_audio(talk: Talk) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    stored = {"type": "file", "file": {"file_id": "s3://bucket/file.wav", "filename": "a-sound"}}
    output = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    for part, kind in ((sound, "input_audio"), (stored, "file")):
        messages = user([text("What is it?"), part])
        answer = talk.whole(messages, **output).choices[0].message.content
        assert answer == f"{SAID}What is it? (and sent 1 {kind})"
        assert talk.body == {"model": "", "messages": messages, **output}


# What is counted


@both
async def test_cost(talk: Talk, is_async: bool) -> None:
    prices = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
    response = await talk.awhole(**prices) if is_async else talk.whole(**prices)
    cost = response.usage.prompt_tokens * 0.001 + response.usage.completion_tokens * 0.01
    assert response._hidden_params["response_cost"] == pytest.approx(cost)
    assert not set(prices) & set(talk.body)


def test_prompt_caching(upstream: Upstream) -> None:
    def answer(cached: int) -> Answer:
        usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
        return json_answer(completion(usage={**usage, "prompt_tokens_details": {"cached_tokens": cached}}))

    answers = iter([answer(0), answer(80)])
    upstream(lambda _: next(answers))
    marked = user([{**text("A long contract"), "cache_control": {"type": "ephemeral"}}])
    prices = {"input_cost_per_token": 0.01, "output_cost_per_token": 0.01, "cache_read_input_token_cost": 0.001}
    first: Any = litellm.completion(model=MODEL, messages=marked, **prices)
    second: Any = litellm.completion(model=MODEL, messages=marked, **prices)
    for response, cached in ((first, 0), (second, 80)):
        usage = response.usage
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert usage.prompt_tokens_details.cached_tokens == cached
        cost = (100 - cached) * 0.01 + cached * 0.001 + 7 * 0.01
        assert response._hidden_params["response_cost"] == pytest.approx(cost)


@streamed_or_not
def test_reasoning(upstream: Upstream, stream: bool) -> None:
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    pieces = [chunk({"role": "assistant", "reasoning_content": "Let me"}), chunk({"reasoning_content": " think."})]
    pieces += [chunk({"content": "Hi"}), chunk(finish="stop"), {**chunk(), "choices": [], "usage": usage}]
    message = {"reasoning_content": "Let me think."}
    whole = json_answer(completion("Hi", message=message, usage=usage))
    server = upstream(Answer([sse(*pieces)]) if stream else whole)
    call: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "reasoning_effort": "low"}
    call["allowed_openai_params"] = ["reasoning_effort"]
    response: Any
    if stream:
        chunks = list(litellm.completion(**call, stream=True, stream_options={"include_usage": True}))
        response = litellm.stream_chunk_builder(chunks)
        assert [each.usage for each in chunks if getattr(each, "usage", None)] == [chunks[-1].usage]
        assert chunks[-1].usage.completion_tokens_details.reasoning_tokens == 5
    else:
        response = litellm.completion(**call)
        assert response.usage.completion_tokens_details.reasoning_tokens == 5
    assert response.choices[0].message.reasoning_content == "Let me think."
    assert response.choices[0].message.content == "Hi"
    assert server.seen[0].json["reasoning_effort"] == "low"


# What is left behind


async def test_async_close(upstream: Upstream, talk: Talk) -> None:
    """A stream that is closed early leaves no connection; closed clients of LiteLLM's are made anew."""
    server = upstream(Answer([sse(chunk({"role": "assistant", "content": "Hi"}), done=False)], end="stall"))
    stream: Any = await litellm.acompletion(model=MODEL, messages=MESSAGES, stream=True)
    assert (await anext(stream)).choices[0].delta.content == "Hi"
    await stream.aclose()
    assert await asyncio.to_thread(server.left.acquire, timeout=5)

    server = upstream(json_answer(completion()))
    for _ in range(2):
        assert (await litellm.acompletion(model=MODEL, messages=MESSAGES)).choices[0].message.content == "Hello."
        await close_litellm_async_clients()  # type: ignore[no-untyped-call]
    assert len(server.seen) == 2
