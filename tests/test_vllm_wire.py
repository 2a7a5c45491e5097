"""A real vLLM's answers (``tests/wire/vllm``), replayed over a socket through each kind of call.

A call must give what OpenAI's own SDK reads in the same bytes, field by field. The tables say in short what that is.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import litellm
import openai
import pytest

from litellm_sagemaker_openai.local.frontdoor import container_error
from tests.conftest import MESSAGES, REGION, WIRE, Upstream
from tests.scripted import Answer, Scripted, scripted

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
# Where a whole answer that calls a tool says "stop", LiteLLM says "tool_calls", for its own providers too.
LITELLMS_FINISH = {"tool_named": "tool_calls"}
REFUSED: dict[str, type[openai.APIStatusError]] = {
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
each_call = pytest.mark.parametrize(
    "function", ["completion", "acompletion", "Router.completion", "Router.acompletion"]
)


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


def refuse(name: str, *, quoted: bool) -> Answer:
    """A recorded refusal, as it came or as SageMaker quotes it."""
    if not quoted:
        return replay(name)
    status, _, body = recorded(name)
    answer = container_error(status, body, container="Kl6NPmsGIHdsibbMO7hO", endpoint="my-endpoint", region=REGION)
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
    details = usage["completion_tokens_details"] or {}
    return {
        "choices": choices,
        "usage": (*(usage[f"{name}_tokens"] for name in ("prompt", "completion", "total")), details.get("reasoning_tokens") or 0),
        "ids": {each["id"] for each in dumped},
        "created": dumped[0]["created"],  # LiteLLM makes the last chunks of a synchronous stream itself, in its own time
    }


@pytest.fixture(scope="module")
def container() -> Iterator[Scripted]:
    """One server for all: boto3's rules for the runtime's address take 0.1 s for each new one."""
    with scripted(b"") as server:
        yield server


@pytest.fixture
def upstream(container: Scripted, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", container.url)

    def start(answer: Any) -> Scripted:
        container.script = lambda _: answer
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
        model = {"model_name": MODEL, "litellm_params": {"model": MODEL}}
        made = getattr(router_of(model, num_retries=2) if owner else litellm, name)
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

    @each_call
    @pytest.mark.parametrize(("name", "form"), FORMS)
    async def test_a_call_gives_the_same(
        self, upstream: Upstream, ask: Any, sdk: Any, name: str, form: str, function: str
    ) -> None:
        server = upstream(replay(name))
        answers = await ask(function, **asked(name, form))
        assert len(server.seen) == 1
        read_by_sdk = sdk_reads(sdk, name)
        finish = {"finish": LITELLMS_FINISH[name]} if name in LITELLMS_FINISH else {}
        choices = {index: {**choice, **finish} for index, choice in read_by_sdk["choices"].items()}
        assert read(answers) == {**read_by_sdk, "choices": choices}
        if form != "whole" and len(choices) == 1:  # LiteLLM's loggers get this; of several choices it makes one
            rebuilt = read([litellm.stream_chunk_builder(answers)])["choices"]
            assert rebuilt == {0: {**choices[0], "logprobs": []}}, "LiteLLM rebuilds no logprobs"
