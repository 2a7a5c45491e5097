"""A real vLLM's answers (``tests/wire/vllm``), replayed over a socket through each kind of call.

A call must give what OpenAI's own SDK reads in the same bytes, field by field. The tables say in short what that is.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import litellm
import openai
import pytest

from litellm_sagemaker_openai.local import invoke_endpoint
from litellm_sagemaker_openai.local.frontdoor import Container, container_error
from tests.conftest import MESSAGES, REGION, WIRE, Upstream
from tests.scripted import Answer, Scripted, on_its_route, scripted

pytestmark = pytest.mark.medium(reason="replays each answer through each kind of call")

RECORDED = WIRE / "vllm"
MODEL = "sagemaker_openai/my-endpoint"
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
# What was asked, as far as it matters to a client; by the file's name without `_stream`.
ASKED: dict[str, dict[str, Any]] = {
    "tools_required": {"tools": [WEATHER], "tool_choice": "required"},
    "tool_named": {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    "json_schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "ok", "schema": SCHEMA}}},
    "n2": {"n": 2},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "unknown_fields": {"extra_body": {"prompt_cache_key": "k", "thinking_blocks": [], "made_up": 1}},
}

NOISE = "**:ER`,environles… more runs"
SPACES = '{"ok"         \n            \t  :                         true   \t                                    }'
NUMBER = "290121000457e0000116495702005600099184022561067623684678102000"
# The choices: content, reasoning, the arguments of the call of get_weather, finish reason, the tokens with logprobs.
# The usage: tokens of the prompt, of the completion, of both, of the reasoning.
SAID: dict[str, tuple[list[tuple[str, str, str, str, list[str]]], tuple[int, int, int, int]]] = {
    "chat": ([(NOISE, "", "", "length", [])], (14, 8, 22, 0)),
    "chat_stream": ([(NOISE, "", "", "length", [])], (14, 8, 22, 0)),
    "chat_stream_continuous_usage": ([("**:ER`,environ", "", "", "length", [])], (14, 4, 18, 0)),
    "invocations_chat": ([("**:ER`,environ", "", "", "length", [])], (14, 4, 18, 0)),
    "json_schema": ([(SPACES, "", "", "stop", [])], (14, 30, 44, 0)),
    "json_schema_stream": ([(SPACES, "", "", "stop", [])], (14, 30, 44, 0)),
    "logprobs_stream": ([("**:ER`,", "", "", "length", ["**:", "ER", "`,"])], (14, 3, 17, 0)),
    "n2_stream": ([("**:ER`,", "", "", "length", []), ("\ufffd andruntime", "", "", "length", [])], (14, 6, 20, 0)),
    "reasoning": ([("", NOISE, "", "length", [])], (14, 8, 22, 8)),
    "reasoning_stream": ([("", NOISE, "", "length", [])], (14, 8, 22, 8)),
    "tool_named": ([("", "", "Infinity", "stop", [])], (104, 71, 175, 0)),
    "tool_named_stream": ([("", "", NUMBER, "stop", [])], (104, 71, 175, 0)),
    "tools_required": ([("", "", "Infinity", "tool_calls", [])], (104, 71, 175, 0)),
    "tools_required_stream": ([("", "", NUMBER, "tool_calls", [])], (104, 71, 175, 0)),
    "unknown_fields": ([("**:ER", "", "", "length", [])], (14, 2, 16, 0)),
}
# Where a whole answer that calls a tool says "stop", LiteLLM says "tool_calls", for its own providers too; of a stream
# this provider does.
LITELLMS_FINISH = {"tool_named": "tool_calls", "tool_named_stream": "tool_calls"}
REFUSED: dict[str, type[Exception]] = {
    "err_context": litellm.ContextWindowExceededError,
    "err_context_stream": litellm.ContextWindowExceededError,
    "err_engine_dead": litellm.InternalServerError,
    "err_image": litellm.BadRequestError,
    "err_json": litellm.BadRequestError,
    "err_max_tokens": litellm.BadRequestError,
    "err_model": litellm.NotFoundError,
    "err_no_messages": litellm.BadRequestError,
    "err_temperature": litellm.BadRequestError,
    "err_tool_choice_without_tools": litellm.BadRequestError,
}
# Answers to what this provider does not ask yet: text completions, and a container's models and tokens.
LATER = {
    "invocations_completion",
    "invocations_completion_echo_logprobs",
    "invocations_completion_err_context",
    "invocations_completion_stream",
    "invocations_completion_suffix",
    "invocations_completion_token_ids",
    "invocations_completion_two_prompts",
    "invocations_unknown",
    "models",
    "tokenize",
}

WHOLE = [name for name in SAID if "_stream" not in name]
STREAMED = [name for name in SAID if "_stream" in name]
FORMS = [*((name, "whole") for name in WHOLE), *((name, "fake") for name in WHOLE), *((n, "stream") for n in STREAMED)]
ONE_CHOICE = [name for name in SAID if name != "n2_stream"]
# LiteLLM makes an object of the arguments, as Anthropic's format demands; these are a number.
NO_TOOL_USE = ("tool_named", "tools_required")
CALLS = ["completion", "acompletion", "Router.completion", "Router.acompletion"]
INVOKED = ["InvokeEndpoint.completion", "InvokeEndpoint.acompletion"]  # by aws_sagemaker_chat_route="invocations"


def test_every_file_is_replayed_or_for_later() -> None:
    assert sorted(file.stem for file in RECORDED.glob("*.http")) == sorted([*SAID, *REFUSED, *LATER])


def recorded(name: str) -> tuple[int, dict[str, str], bytes]:
    """A recorded answer's status, headers and body."""
    head, _, body = (RECORDED / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


def replay(name: str) -> Answer:
    """A recorded answer, line by line."""
    status, headers, body = recorded(name)
    kept = {each: headers[each] for each in ("date", "server", "vary")}
    return Answer(body.splitlines(keepends=True), status, headers["content-type"], kept)


def refuse(name: str, *, invoked: bool = False) -> Answer:
    """A recorded refusal as SageMaker quotes it, on ``/openai/v1`` or by ``InvokeEndpoint``."""
    status, _, body = recorded(name)
    writer = invoke_endpoint.container_error if invoked else container_error
    answer = writer(status, body, Container("Kl6NPmsGIHdsibbMO7hO", "my-endpoint", REGION))
    return Answer([answer.body.encode()], answer.status, "application/json")


def asked(name: str, form: str) -> dict[str, Any]:
    options = {"stream": True, "stream_options": {"include_usage": True}} if form != "whole" else {}
    fake = {"fake_stream": True} if form == "fake" else {}
    return {"messages": MESSAGES, **ASKED.get(name.removesuffix("_stream"), {}), **options, **fake}


def read(answers: Iterable[Any]) -> dict[str, Any]:
    """What a whole answer says, or the chunks of a stream together: LiteLLM's or the SDK's."""
    dumped = [answer.model_dump() for answer in answers]
    choices: dict[int, dict[str, Any]] = {}
    for choice in (choice for each in dumped for choice in each["choices"]):
        nothing: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "finish": "", "logprobs": []}
        said = choices.setdefault(choice["index"], nothing)
        message = choice.get("message") or choice["delta"]
        said["content"] += message.get("content") or ""
        said["reasoning"] += message.get("reasoning_content") or message.get("reasoning") or ""
        for position, call in enumerate(message.get("tool_calls") or []):
            known = said["calls"].setdefault(call.get("index", position), ["", "", ""])
            parts = call.get("id"), call["function"].get("name"), call["function"].get("arguments")
            known[:] = [before + (part or "") for before, part in zip(known, parts, strict=True)]
        said["finish"] += choice["finish_reason"] or ""  # one that is said twice is an error
        said["logprobs"] += (choice.get("logprobs") or {}).get("content") or []
    usage = [each["usage"] for each in dumped if each.get("usage")][-1]
    reasoning = (usage["completion_tokens_details"] or {}).get("reasoning_tokens") or 0
    return {
        "choices": choices,
        "usage": (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"], reasoning),
        "fingerprints": {each["system_fingerprint"] for each in dumped if each.get("system_fingerprint")},
        "ids": {each["id"] for each in dumped},
        # LiteLLM makes the last chunks of a synchronous stream itself, in its own time.
        "created": dumped[0]["created"],
    }


@pytest.fixture(scope="module")
def container() -> Iterator[Scripted]:
    with scripted(b"") as server:
        yield server


@pytest.fixture
def upstream(container: Scripted, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """Answers of the container. botocore takes 0.1 s for an environment that it has not seen: one does for all."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", container.url)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)

    def start(script: Any) -> Scripted:
        container.script = on_its_route(script)
        container.seen.clear()
        return container

    return start


@pytest.fixture(scope="module")
def sdk(container: Scripted) -> Iterator[Any]:
    """The call of OpenAI's SDK, to the same server."""
    with openai.OpenAI(base_url=container.url, api_key="k", max_retries=0) as client:
        yield functools.partial(client.chat.completions.create, model="tiny")


def sdk_reads(sdk: Any, name: str) -> dict[str, Any]:
    stream = "_stream" in name
    answer = sdk(**asked(name, "stream" if stream else "whole"))
    return read(answer if stream else [answer])


@pytest.fixture
def ask(router_of: Any) -> Any:
    """Makes a call of LiteLLM's, or of its Router's, and gives its answers: one, or a stream's chunks."""

    async def ask(function: str, **call: Any) -> list[Any]:
        call = {"model": MODEL, "messages": MESSAGES, **call}
        owner, _, name = function.rpartition(".")
        if owner == "InvokeEndpoint":
            call["aws_sagemaker_chat_route"] = "invocations"
        model = {"model_name": MODEL, "litellm_params": {"model": MODEL}}
        made = getattr(router_of(model, num_retries=2) if owner == "Router" else litellm, name)
        stream = call.get("stream", False)
        if name.startswith("a"):
            answer = await made(**call)
            return [piece async for piece in answer] if stream else [answer]
        return await asyncio.to_thread(lambda: list(made(**call)) if stream else [made(**call)])

    return ask


class TestAnswers:
    @pytest.mark.parametrize("name", SAID)
    def test_what_the_sdk_reads(self, upstream: Upstream, sdk: Any, name: str) -> None:
        choices, usage = SAID[name]
        upstream(replay(name))
        read = sdk_reads(sdk, name)
        got = [
            (
                choice["content"],
                choice["reasoning"],
                "".join(arguments for *_, arguments in choice["calls"].values()),
                choice["finish"],
                [token["token"] for token in choice["logprobs"]],
            )
            for _, choice in sorted(read["choices"].items())
        ]
        assert (got, read["usage"]) == (choices, usage)
        names = [function for choice in read["choices"].values() for _, function, _ in choice["calls"].values()]
        assert names == ["get_weather"] * name.startswith("tool")

    @pytest.mark.parametrize("function", [*CALLS, *INVOKED])
    @pytest.mark.parametrize(("name", "form"), FORMS)
    async def test_a_call_gives_the_same(
        self, upstream: Upstream, ask: Any, sdk: Any, name: str, form: str, function: str
    ) -> None:
        server = upstream(replay(name))
        answers = await ask(function, **asked(name, form))
        assert len(server.seen) == 1
        expected = sdk_reads(sdk, name)
        choices = expected["choices"]
        if name in LITELLMS_FINISH:
            choices[0]["finish"] = LITELLMS_FINISH[name]
        if form == "stream" and len(choices) == 1:
            expected["fingerprints"] = set()  # vLLM says it with the usage alone, a chunk that LiteLLM makes anew
        assert read(answers) == expected
        if form != "whole" and len(choices) == 1:  # what LiteLLM's loggers get; of several choices it makes one
            rebuilt = read([litellm.stream_chunk_builder(answers)])
            # LiteLLM rebuilds no logprobs, whatever the provider.
            assert rebuilt == {**expected, "choices": {0: {**choices[0], "logprobs": []}}}

    @pytest.mark.parametrize("name", ONE_CHOICE)
    @pytest.mark.parametrize("function", ["responses", "aresponses"])
    async def test_the_responses_api(self, upstream: Upstream, ask: Any, name: str, function: str) -> None:
        upstream(replay(name))
        stream = "_stream" in name
        last = (await ask(function, input="Hello?", stream=stream))[-1]
        response = last.response if stream else last
        said = {"message": "", "reasoning": "", "function_call": ""}
        for item in response.output:
            calls = item.type == "function_call"
            said[item.type] += item.arguments if calls else "".join(part.text for part in item.content)
        [(*expected, finish, _)], (prompt, completion, *_) = SAID[name]
        assert [*said.values()] == expected
        assert response.status == ("incomplete" if finish == "length" else "completed")
        assert (response.usage.input_tokens, response.usage.output_tokens) == (prompt, completion)

    @pytest.mark.parametrize("name", [name for name in ONE_CHOICE if name not in NO_TOOL_USE])
    async def test_the_messages_api(self, upstream: Upstream, name: str) -> None:
        upstream(replay(name))
        stream = "_stream" in name
        call: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "max_tokens": 9, "stream": stream}
        answer: Any = await litellm.anthropic.messages.acreate(**call)
        said = {"text": "", "thinking": "", "partial_json": ""}
        if stream:
            events = [json.loads(each.partition(b"data: ")[2]) async for each in answer]
            parts = [event["delta"] for event in events if event["type"] == "content_block_delta"]
            [end] = [event for event in events if event["type"] == "message_delta"]
            stop_reason, usage = end["delta"]["stop_reason"], end["usage"]
        else:
            parts, stop_reason, usage = answer["content"], answer["stop_reason"], answer["usage"]
        for part in parts:
            for field in said.keys() & part.keys():
                said[field] += part[field]
        [(*expected, finish, _)], (prompt, completion, *_) = SAID[name]
        assert [*said.values()] == expected
        finish = LITELLMS_FINISH.get(name, finish)
        assert stop_reason == {"length": "max_tokens", "stop": "end_turn", "tool_calls": "tool_use"}[finish]
        assert (usage["input_tokens"], usage["output_tokens"]) == (prompt, completion)


@pytest.mark.usefixtures("no_waiting")
class TestRefusals:
    @pytest.mark.parametrize("name", REFUSED)
    @pytest.mark.parametrize("form", ["whole", "fake", "stream"])
    @pytest.mark.parametrize(
        ("function", "quoted"),
        [*((each, True) for each in (*CALLS, *INVOKED)), ("completion", False), ("acompletion", False)],
    )
    async def test_a_call_says_the_same(
        self, upstream: Upstream, ask: Any, sdk: Any, name: str, form: str, function: str, quoted: bool
    ) -> None:
        server = upstream(refuse(name, invoked=function in INVOKED) if quoted else replay(name))
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(function, **asked(name, form))
        # What passes is a Router's to try again; LiteLLM counts each InternalServerError as such.
        assert len(server.seen) == (3 if name == "err_engine_dead" and function.startswith("Router") else 1)
        error = caught.value
        status, _, body = recorded(name)
        assert (type(error), error.status_code) == (REFUSED[name], status)
        said = json.loads(body)["error"]["message"]
        assert f"{'the container' if quoted else 'SageMaker'} answered {status}: {said}" in str(error)
        assert "123456789012" not in str(error)
        with pytest.raises(openai.APIStatusError) as sdks:
            sdk(messages=MESSAGES)
        assert isinstance(error, type(sdks.value))

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    async def test_a_prompt_that_does_not_fit_goes_to_a_larger_model(
        self, upstream: Upstream, router_of: Any, stream: bool
    ) -> None:
        larger = replay("chat_stream" if stream else "chat")
        upstream(lambda seen: larger if "/larger/" in seen.path else refuse("err_context_stream"))
        models = [
            {"model_name": name, "litellm_params": {"model": f"sagemaker_openai/{name}"}}
            for name in ("small", "larger")
        ]
        router = router_of(*models, num_retries=2, context_window_fallbacks=[{"small": ["larger"]}])
        answer = await router.acompletion("small", MESSAGES, stream=stream, stream_options={"include_usage": True})
        answers = [piece async for piece in answer] if stream else [answer]
        assert read(answers)["choices"][0]["content"] == NOISE
