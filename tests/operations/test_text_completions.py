"""Text completions: what reaches the container, what comes back, in LiteLLM, its Router, and the real proxy.

vLLM's recorded answers (``tests/wire/vllm/invocations_completion*.http``) are replayed through each kind of call, whole
and in an AWS event stream, and compared with what OpenAI's own SDK reads in the same bytes.
"""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import litellm
import openai
import pytest
from litellm.caching.caching import Cache

from litellm_sagemaker_openai.litellm_seams import lookup, text_completions
from litellm_sagemaker_openai.litellm_seams.stream_opening import stream_opening
from litellm_sagemaker_openai.local import text_completions as echo
from litellm_sagemaker_openai.local.event_stream import CONTENT_TYPE, model_stream_error, payload_part
from litellm_sagemaker_openai.local.frontdoor import Container
from litellm_sagemaker_openai.local.invoke_endpoint import container_error
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from tests.conftest import CREDENTIALS, REGION, WIRE, Upstream
from tests.operating.proxies import Proxy, config, proxy
from tests.scripted import (
    Answer,
    Scripted,
    Seen,
    completion,
    json_answer,
    scripted,
    sse,
)

MODEL = "sagemaker_openai/my-endpoint"
WHOLE_PATH, STREAM_PATH = "/endpoints/my-endpoint/invocations", "/endpoints/my-endpoint/invocations-response-stream"
LOGPROBS = {"tokens": ["b"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -0.5}], "text_offset": [0]}
USAGE = {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}
NOISE = "**:ER`,environ"
# What was asked, as far as it matters; see tests/wire/vllm/README.md. Then: texts, finish reasons, usage.
RECORDED: dict[str, tuple[dict[str, Any], list[str], list[str], tuple[int, int, int]]] = {
    "": ({"prompt": "Hi", "max_tokens": 4}, [NOISE], ["length"], (2, 4, 6)),
    "_stream": ({"prompt": "Hi", "max_tokens": 4}, [NOISE], ["length"], (2, 4, 6)),
    "_token_ids": ({"prompt": [1, 2, 3], "max_tokens": 3}, ["**:ER`,"], ["length"], (3, 3, 6)),
    "_two_prompts": ({"prompt": ["Hi", "Ho"], "max_tokens": 3}, ["**:ER`,"] * 2, ["length"] * 2, (4, 6, 10)),
    "_echo_logprobs": ({"prompt": "Hi", "echo": True, "logprobs": 1}, ["Hi**:ER"], ["length"], (2, 2, 4)),
}
both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
each = pytest.mark.parametrize
CALLS = ["text_completion", "atext_completion", "Router.text_completion", "Router.atext_completion"]


def recorded(name: str) -> tuple[int, str, bytes]:
    """A recorded answer's status, content type and body."""
    head, _, body = (WIRE / "vllm" / f"invocations_completion{name}.http").read_bytes().partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines)["content-type"], body


def in_events(*pieces: bytes, content_type: str = "text/event-stream; charset=utf-8") -> Answer:
    """What a container streams, in an AWS event stream."""
    headers = {"x-amzn-sagemaker-content-type": content_type}
    return Answer([payload_part(piece) for piece in pieces], 200, CONTENT_TYPE, headers)


def replay(name: str) -> Any:
    """Answers with a recording: as it is to InvokeEndpoint, in events to the response stream, bare to OpenAI's SDK."""
    status, content_type, body = recorded(name)

    def answer(seen: Seen) -> Answer:
        if seen.path == STREAM_PATH:
            return in_events(*body.splitlines(keepends=True), content_type=content_type)
        return Answer(body.splitlines(keepends=True), status, content_type)

    return answer


def text_event(text: str = "", *, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish, **more}
    return {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "tiny", "choices": [choice]}


def read(answers: Iterable[Any]) -> dict[str, Any]:
    """What a whole answer says, or the chunks of a stream together: LiteLLM's or the SDK's."""
    dumped = [answer.model_dump() for answer in answers]
    choices: dict[int, dict[str, Any]] = {}
    for choice in (choice for every in dumped for choice in every["choices"]):
        said = choices.setdefault(choice["index"], {"text": "", "finish": "", "logprobs": {}})
        said["text"] += choice["text"]
        said["finish"] += choice["finish_reason"] or ""  # one that is said twice is an error
        for name, values in (choice.get("logprobs") or {}).items():
            said["logprobs"][name] = said["logprobs"].get(name, []) + (values or [])
    usage = [every["usage"] for every in dumped if every.get("usage")][-1]
    return {
        "choices": choices,
        "usage": (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]),
        "ids": {every["id"] for every in dumped},
        "created": dumped[0]["created"],
        "objects": {every["object"] for every in dumped},
    }


@pytest.fixture
def ask(router_of: Any) -> Any:
    """Makes a call of LiteLLM's, or of its Router's, and gives its answers: one, or a stream's chunks."""

    async def ask(function: str, **call: Any) -> list[Any]:
        call = {"model": MODEL, "prompt": "Hi", **call}
        owner, _, name = function.rpartition(".")
        model = {"model_name": MODEL, "litellm_params": {"model": MODEL}}
        made = getattr(router_of(model, num_retries=0) if owner else litellm, name)
        stream = call.get("stream", False)
        if name.startswith("a"):
            answer = await made(**call)
            return [piece async for piece in answer] if stream else [answer]
        return await asyncio.to_thread(lambda: list(made(**call)) if stream else [made(**call)])

    return ask


# What reaches the container


@each("function", CALLS)
@each("prompt", ["Hi ", "", ["a", "b"], ["a"], [1, 2, 3], [[1, 2], [3]], [0], ["", "\n"]], ids=str)
async def test_each_form_of_prompt(upstream: Upstream, ask: Any, function: str, prompt: Any) -> None:
    server = upstream(lambda seen: json_answer(text_event("x", finish="stop")))
    await ask(function, prompt=prompt)
    [seen] = server.seen
    assert (seen.method, seen.path) == ("POST", WHOLE_PATH)
    # One prompt in a list of its own has the same answer as without it, and LiteLLM does not tell them apart.
    assert seen.json == {"model": "", "prompt": "a" if prompt == ["a"] else prompt}
    assert seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")


@each("function", ["text_completion", "atext_completion"])
@each("prompt", [[], None, {}, ["a", 1], [["a"]], [[1], []], [1, "a"], [True], [-1], 5], ids=str)
async def test_a_prompt_that_is_none(upstream: Upstream, ask: Any, function: str, prompt: Any) -> None:
    server = upstream(b"")
    with pytest.raises(litellm.BadRequestError, match="prompt must be a string, a list of strings, or token ids"):
        await ask(function, prompt=prompt)
    assert server.seen == []


@each("function", CALLS)
async def test_each_parameter(upstream: Upstream, ask: Any, function: str) -> None:
    server = upstream(lambda seen: json_answer(text_event("x", finish="stop")))
    asked: dict[str, Any] = {
        **{"best_of": 3, "echo": True, "frequency_penalty": 0.1, "logit_bias": {"50": -100}, "logprobs": 0},
        **{"max_tokens": 5, "n": 2, "presence_penalty": 0.2, "stop": ["\n", "###"], "suffix": "tail"},
        **{"temperature": 0.5, "top_p": 0.9, "seed": 3, "top_k": 4, "min_tokens": 2},
    }
    await ask(function, **asked, extra_body={"add_special_tokens": False}, hf_model_name="tiny", user="me")
    [seen] = server.seen
    sent = {name: value for name, value in seen.json.items() if name != "user"}  # LiteLLM keeps it to itself
    assert sent == {"model": "tiny", "prompt": "Hi", **asked, "add_special_tokens": False}


@each("function", CALLS)
async def test_a_stream_is_asked_for(upstream: Upstream, ask: Any, function: str) -> None:
    server = upstream(in_events(sse(text_event("x", finish="stop"))))
    await ask(function, stream=True, model_id="coder")
    [seen] = server.seen
    assert seen.path == STREAM_PATH
    assert seen.json == {"model": "", "prompt": "Hi", "stream": True, "stream_options": {"include_usage": True}}
    assert seen.headers["accept"] == CONTENT_TYPE
    assert seen.headers["x-amzn-sagemaker-accept"].startswith("text/event-stream")
    assert seen.headers["x-amzn-sagemaker-inference-component"] == "coder"
    assert "x-amzn-sagemaker-accept" in seen.headers["authorization"]  # signed


def test_prompt_and_model_by_position(runtime: Running) -> None:
    """``atext_completion`` looks for the model in the first place (LiteLLM 1.106.2), where the prompt is."""
    response: Any = litellm.text_completion([1, 2], MODEL, max_tokens=30)
    assert response.choices[0].text.endswith("wrote: 1 2")


def test_another_providers_token_ids_are_left_alone() -> None:
    with pytest.raises(Exception, match="Unmapped prompt format"):
        litellm.text_completion(prompt=[1, 2], model="hosted_vllm/m", api_base="http://127.0.0.1:9")


@both
async def test_a_chats_messages_are_no_prompt(upstream: Upstream, is_async: bool) -> None:
    server = upstream(b"")
    call: dict[str, Any] = {"model": MODEL, "text_completion": True}
    for messages in ([{"role": "system", "content": "s"}], [{"role": "user", "content": "u", "name": "n"}]):
        with pytest.raises(litellm.BadRequestError, match="a text completion has a prompt, and no messages"):
            await litellm.acompletion(**call, messages=messages) if is_async else litellm.completion(
                **call, messages=messages
            )
    assert server.seen == []


@each("function", CALLS)
@each(
    ("given", "said"),
    [
        ({"messages": [{"role": "user", "content": "u"}]}, "a prompt, and no messages"),
        ({"stream": "true"}, "stream must be true or false, not 'true'"),
    ],
    ids=["messages", "stream"],
)
async def test_what_litellm_itself_fails_at(
    upstream: Upstream, ask: Any, function: str, given: dict[str, Any], said: str
) -> None:
    """By an error of its own, status 500, which a Router tries again."""
    server = upstream(b"")
    with pytest.raises(litellm.BadRequestError, match=said):
        await ask(function, **given)
    assert server.seen == []


@each("option", [{"aws_sagemaker_async": True}, {"api_key": "t"}, {"aws_sagemaker_async_filename": "f"}], ids=str)
async def test_options_that_it_cannot_take(upstream: Upstream, ask: Any, option: dict[str, Any]) -> None:
    server = upstream(b"")
    with pytest.raises(litellm.BadRequestError, match="did not send this request"):
        await ask("atext_completion", **option)
    assert server.seen == []


# What comes back


@pytest.fixture(scope="module")
def sdk() -> Iterator[tuple[Scripted, openai.OpenAI]]:
    with scripted(b"") as server, openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
        yield server, client


def sdk_reads(sdk: tuple[Scripted, openai.OpenAI], name: str) -> dict[str, Any]:
    server, client = sdk
    server.script = replay(name)
    answer: Any = client.completions.create(model="tiny", **RECORDED[name][0], stream=name == "_stream")
    return read(answer if name == "_stream" else [answer])


@each("name", RECORDED)
def test_what_the_sdk_reads(sdk: Any, name: str) -> None:
    _, texts, finishes, usage = RECORDED[name]
    said = sdk_reads(sdk, name)
    assert [said["choices"][index]["text"] for index in sorted(said["choices"])] == texts
    assert [said["choices"][index]["finish"] for index in sorted(said["choices"])] == finishes
    assert said["usage"] == usage


@each("function", CALLS)
@each(("name", "form"), [*((n, f) for n in RECORDED if n != "_stream" for f in ("whole", "fake")), ("_stream", "real")])
async def test_a_call_gives_the_same(
    upstream: Upstream, ask: Any, sdk: Any, name: str, form: str, function: str
) -> None:
    server = upstream(replay(name))
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if form != "whole" else {}
    answers = await ask(function, **RECORDED[name][0], **streamed, fake_stream=form == "fake")
    assert len(server.seen) == 1
    assert read(answers) == sdk_reads(sdk, name)
    assert {answer.model for answer in answers} == {"my-endpoint"}
    assert answers[0]._hidden_params["sagemaker_served_model"] == "tiny"


@both
async def test_the_containers_own_fields_are_kept(upstream: Upstream, ask: Any, is_async: bool) -> None:
    answer = {**text_event("a", finish="stop", stop_reason="###", token_ids=[4]), "usage": None}
    upstream(json_answer({**answer, "system_fingerprint": "vllm-0.32.0"}))
    [response] = await ask("atext_completion" if is_async else "text_completion")
    assert (response.choices[0].stop_reason, response.choices[0].token_ids) == ("###", [4])
    assert response.system_fingerprint == "vllm-0.32.0"
    assert response.usage is None  # nobody counted; zeros would be a wrong answer
    assert response._hidden_params["additional_headers"]["llm_provider-content-type"] == "application/json"


@each("function", CALLS)
async def test_a_streams_choices_do_not_mix(upstream: Upstream, ask: Any, function: str) -> None:
    events = [
        text_event("a"),
        text_event("b", index=1, logprobs=LOGPROBS),
        text_event("A", finish="length"),
        text_event("B", index=1, finish="stop", stop_reason="###"),
        {**text_event(), "choices": [], "usage": USAGE},
    ]
    upstream(in_events(sse(*events)))
    chunks = await ask(function, stream=True, n=2)
    assert all(chunk.usage is None for chunk in chunks)  # nobody asked for it
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    assert texts == {0: "aA", 1: "bB"}
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert [(c.index, c.finish_reason) for c in choices if c.finish_reason] == [(1, "stop"), (0, "length")]
    assert [c.logprobs.model_dump() for c in choices if c.logprobs] == [LOGPROBS]
    assert [c.stop_reason for c in choices if getattr(c, "stop_reason", None)] == ["###"]


@each("function", ["text_completion", "atext_completion"])
@each("form", ["real", "fake", "whole answer to a stream"])
async def test_all_of_a_streams_text_is_text(upstream: Upstream, ask: Any, function: str, form: str) -> None:
    text = "<think>So.</think>It is. <tool_call>{}</tool_call>"
    answer = {**text_event(text, finish="stop", logprobs=LOGPROBS, stop_reason="###"), "usage": USAGE}
    streamed = in_events(sse(answer))
    if form == "whole answer to a stream":
        streamed = in_events(json.dumps(answer).encode(), content_type="application/json")
    upstream(json_answer(answer) if form == "fake" else streamed)
    chunks = await ask(function, stream=True, stream_options={"include_usage": True}, fake_stream=form == "fake")
    said = read(chunks)
    assert said["choices"] == {0: {"text": text, "finish": "stop", "logprobs": LOGPROBS}}
    assert said["usage"] == (2, 4, 6)
    assert [c.stop_reason for chunk in chunks for c in chunk.choices if getattr(c, "stop_reason", None)] == ["###"]


@each("function", ["text_completion", "atext_completion"])
async def test_one_choices_end_is_not_the_answers(upstream: Upstream, ask: Any, function: str) -> None:
    """vLLM's ``continuous_usage_stats`` puts the usage so far into each event."""
    events = [text_event("a"), text_event("b", index=1), text_event("A", finish="stop")]
    upstream(in_events(sse(*({**event, "usage": USAGE} for event in events), done=False)))
    with pytest.raises(Exception, match="the stream ended before the answer did"):
        await ask(function, stream=True, n=2)


@each("function", CALLS)
@each(
    ("events", "error", "said"),
    [
        ([], litellm.BadGatewayError, "the stream ended before the answer did"),
        ([b"data: {}\n\n"], litellm.BadGatewayError, "without an answer|ended before|not"),
        ([model_stream_error("it broke", "StreamBroken")], litellm.BadGatewayError, "the container's stream broke off"),
        ([model_stream_error("slow", "ModelInvocationTimeExceeded")], litellm.Timeout, "8 minutes for a stream"),
        ([b"no event stream at all"], litellm.BadGatewayError, "event stream"),
    ],
    ids=["empty", "no choices", "broken", "too long", "no events"],
)
async def test_a_stream_that_is_none(
    upstream: Upstream, ask: Any, function: str, events: list[bytes], error: type[Exception], said: str
) -> None:
    pieces = [piece if piece[:4] != b"data" else payload_part(piece) for piece in events]
    upstream(Answer(pieces, 200, CONTENT_TYPE, {"x-amzn-sagemaker-content-type": "text/event-stream"}))
    with pytest.raises(error, match=said):
        await ask(function, stream=True, max_retries=0)


@each("function", ["text_completion", "atext_completion"])
@each("stream", [False, True], ids=["whole", "streamed"])
@each(
    ("name", "error", "said"),
    [
        ("_err_context", litellm.ContextWindowExceededError, "maximum context length is 4096 tokens"),
        ("_suffix", litellm.BadRequestError, "suffix is only supported .*leave suffix out"),
    ],
)
async def test_a_refusal(
    upstream: Upstream, ask: Any, function: str, stream: bool, name: str, error: type[Exception], said: str
) -> None:
    status, _, body = recorded(name)
    answer = container_error(status, body, Container("primary", "my-endpoint", REGION))
    upstream(Answer([answer.body.encode()], answer.status, "application/json", {"x-amzn-errortype": "ModelError"}))
    with pytest.raises(error, match=f"(?s)the container answered 400: .*{said}"):
        await ask(function, stream=stream)


@each(
    "answer",
    [{"choices": []}, {"choices": [{"index": 0}]}, [], {"choices": [{"text": 5}]}, {"object": "list"}],
    ids=str,
)
async def test_an_answer_that_is_none(upstream: Upstream, ask: Any, answer: Any) -> None:
    upstream(json_answer(answer))
    with pytest.raises(litellm.BadGatewayError, match="the container answered 200 with"):
        await ask("atext_completion")


async def test_streams_are_retried_and_fail_over_before_they_begin(router_of: Any) -> None:
    broken = Answer([model_stream_error("it broke", "StreamBroken")], 200, CONTENT_TYPE)
    fine = in_events(sse(text_event("x", finish="stop")))
    with scripted(broken) as first, scripted(fine) as second:
        models = [
            {"model_name": name, "litellm_params": {"model": MODEL, "api_base": server.url}}
            for name, server in (("a", first), ("b", second))
        ]
        router = router_of(*models, num_retries=0, fallbacks=[{"a": ["b"]}])
        stream = await router.atext_completion(model="a", prompt="Hi", stream=True)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == "x"
        assert (len(first.seen), len(second.seen)) == (1, 1)


async def test_without_the_seam_a_stream_opens_with_the_first_read(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "in_loaded", lambda *_: None)
    server = upstream(in_events(sse(text_event("x", finish="stop"))))
    stream: Any = await litellm.atext_completion(prompt="Hi", model=MODEL, stream=True)
    assert server.seen == []
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "x"


async def test_a_cache_tells_prompts_and_chats_apart(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    server = upstream(
        lambda seen: json_answer(
            echo.complete_text({**seen.json, "max_tokens": 50})
            if "prompt" in seen.json
            else {"choices": [{"index": 0, "message": {"content": "a chat"}, "finish_reason": "stop"}]}
        )
    )
    cache: Any = Cache()
    monkeypatch.setattr(litellm, "cache", cache)
    call: dict[str, Any] = {"model": MODEL, "caching": True, "api_base": server.url}
    prompts: list[Any] = ["Hi", [1, 2], "[1, 2]", ["Hi", "Ho"], "Ho"]
    expected = [echo.complete_text({"prompt": prompt, "max_tokens": 50})["choices"] for prompt in prompts]
    for number, (prompt, choices) in enumerate(zip(prompts, expected, strict=True), 1):
        for _ in range(2):
            response: Any = await litellm.atext_completion(prompt=prompt, **call)
            assert [choice.text for choice in response.choices] == [choice["text"] for choice in choices]
            while len(cache.cache.cache_dict) < number:  # LiteLLM writes into it in a task of its own
                await asyncio.sleep(0.01)
    assert len(server.seen) == len(prompts)
    chat: Any = await litellm.acompletion(messages=[{"role": "user", "content": "Hi"}], **call)
    assert chat.choices[0].message.content == "a chat"


@pytest.fixture
def told_apart(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Any:
    """With a cache: makes a call, and gives what was answered, and whether the container was asked."""

    def answer(seen: Seen) -> Answer:
        text, whole = str(seen.json.get("prompt")), "messages" not in seen.json
        if seen.path == STREAM_PATH:
            events = [text_event(text, logprobs=LOGPROBS), text_event("other", index=1, finish="length")]
            return in_events(sse(*events, text_event(finish="stop")))
        if seen.json.get("stream"):
            return Answer([sse({**completion("a chat"), "usage": USAGE})])
        return json_answer(text_event(text, finish="stop") if whole else completion("a chat"))

    server = upstream(answer)
    monkeypatch.setattr(litellm, "cache", Cache())

    async def call(kind: str, is_async: bool, prompt: Any = "Hi") -> tuple[str, bool]:
        made: Any
        asked, kept = len(server.seen), len(cast(Any, litellm.cache).cache.cache_dict)
        keywords: dict[str, Any] = {"model": MODEL, "caching": True, "stream": kind.endswith("stream")}
        name = "text_completion" if kind.startswith("text") else "completion"
        keywords |= {"prompt": prompt} if kind.startswith("text") else {"messages": [{"role": "user", "content": "Hi"}]}
        if is_async:
            made = await getattr(litellm, f"a{name}")(**keywords)
            made = [each async for each in made] if keywords["stream"] else [made]
        else:
            function = getattr(litellm, name)
            made = await asyncio.to_thread(
                lambda: list(function(**keywords)) if keywords["stream"] else [function(**keywords)]
            )
        was_asked = len(server.seen) > asked
        while was_asked and kind != "text stream" and len(cast(Any, litellm.cache).cache.cache_dict) == kept:
            await asyncio.sleep(0.01)  # LiteLLM writes into it in a task of its own
        choices = [choice for each in made for choice in each.choices if choice.index == 0]
        if name == "text_completion":
            return "".join(choice.text for choice in choices), was_asked
        said = [choice.delta if keywords["stream"] else choice.message for choice in choices]
        return "".join(each.content or "" for each in said), was_asked

    return call


@both
@each("second", ["text", "chat", "text stream", "chat stream"])
@each("first", ["text", "chat", "text stream", "chat stream"])
async def test_a_cache_mixes_up_no_kinds(told_apart: Any, first: str, second: str, is_async: bool) -> None:
    said = {"text": "Hi", "chat": "a chat", "text stream": "Hi", "chat stream": "a chat"}
    assert await told_apart(first, is_async) == (said[first], True)
    assert await told_apart(second, is_async) == (said[second], second != first or second == "text stream")


@both
async def test_a_cache_tells_token_ids_from_their_json(told_apart: Any, is_async: bool) -> None:
    prompts: list[Any] = [[1, 2], "[1, 2]", ["[1, 2]"]]
    assert [await told_apart("text", is_async, prompt) for prompt in prompts] == [("[1, 2]", True)] * 3
    assert [await told_apart("text", is_async, prompt) for prompt in prompts] == [("[1, 2]", False)] * 3


async def test_callbacks_see_the_prompt_and_no_secret(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    done = asyncio.Event()

    class Collector(litellm.integrations.custom_logger.CustomLogger):
        async def async_log_success_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
            if kwargs["model"] == "asked-here":  # not another test's, which LiteLLM logs late
                seen.append(kwargs)
                done.set()

    upstream(json_answer({**text_event("x", finish="stop"), "usage": {"prompt_tokens": 1, "completion_tokens": 1}}))
    monkeypatch.setattr(litellm, "callbacks", [Collector(), stream_opening])
    await litellm.atext_completion(
        prompt=[1, 2], model="sagemaker_openai/asked-here", aws_secret_access_key="hush", aws_access_key_id="AKIA"
    )
    await asyncio.wait_for(done.wait(), 30)
    logged = seen[0]["standard_logging_object"]
    assert (logged["call_type"], logged["prompt_tokens"], logged["completion_tokens"]) == ("atext_completion", 1, 1)
    assert "hush" not in json.dumps(seen[0], default=str)


def test_the_function_in_the_place_of_litellms_is_as_it_was() -> None:
    function: Any = litellm.text_completion
    assert pickle.loads(pickle.dumps(function)) is function is litellm.main.text_completion
    for args, keywords in ((("Hi", "hosted_vllm/a"), {"model": "b"}), (([1], MODEL), {"prompt": [2]})):
        with pytest.raises(TypeError) as error:
            function(*args, **keywords)
        with pytest.raises(TypeError) as litellms:
            function.__wrapped__(*args, **keywords)
        assert str(error.value) == str(litellms.value)


def test_token_ids_by_the_older_name(runtime: Running) -> None:
    response: Any = litellm.text_completion(prompt=[1, 2], engine=MODEL, max_tokens=30)
    assert response.choices[0].text.endswith("wrote: 1 2")


def test_installing_twice_changes_nothing() -> None:
    before = litellm.text_completion, litellm.main.text_completion
    text_completions.install()
    assert (litellm.text_completion, litellm.main.text_completion) == before
    assert litellm.text_completion.__name__ == "text_completion"


# The proxy


@dataclass(frozen=True)
class Proxied:
    proxy: Proxy
    runtime: Running
    client: openai.OpenAI


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    endpoints: dict[str, tuple[str, ...]] = {"my-endpoint": ()}
    model = {"model_name": "m", "litellm_params": {"model": MODEL, "litellm_credential_name": "sagemaker"}}
    settings = {**config("embeddings.yaml"), "model_list": [model]}
    with ExitStack() as stack:
        runtime = stack.enter_context(running(RuntimeConfig(endpoints, CREDENTIALS, REGION)))
        started = stack.enter_context(proxy(tmp_path_factory.mktemp("proxy"), settings, sagemaker=runtime.url))
        http = stack.enter_context(openai.DefaultHttpxClient(trust_env=False))
        yield Proxied(
            started,
            runtime,
            openai.OpenAI(base_url=f"{started.url}/v1", api_key=started.key, max_retries=0, http_client=http),
        )


@pytest.mark.slow(reason="starts LiteLLM's proxy")
class TestProxy:
    @each("prompt", ["Hi", ["a", "b"], [1, 2], [[1], [2, 3]]], ids=str)
    @each("stream", [False, True], ids=["whole", "streamed"])
    def test_the_sdks_texts_are_the_containers(self, on: Proxied, prompt: Any, stream: bool) -> None:
        asked: dict[str, Any] = {"prompt": prompt, "max_tokens": 40, "n": 2, "logprobs": 1, "echo": True}
        options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        create: Any = on.client.completions.create
        answer = create(model="m", **asked, **options)
        said, expected = read(answer if stream else [answer]), echo.complete_text(asked)
        assert said["usage"] == (
            expected["usage"]["prompt_tokens"],
            expected["usage"]["completion_tokens"],
            expected["usage"]["total_tokens"],
        )
        for choice in expected["choices"]:
            got = said["choices"][choice["index"]]
            assert (got["text"], got["finish"]) == (choice["text"], choice["finish_reason"])
            assert got["logprobs"] == choice["logprobs"]
        assert on.runtime.app.state.received[-1].path == (STREAM_PATH if stream else WHOLE_PATH)

    @each("stream", [False, True], ids=["whole", "streamed"])
    def test_what_the_container_refuses(self, on: Proxied, stream: bool) -> None:
        create: Any = on.client.completions.create
        with pytest.raises(openai.BadRequestError, match="n must be at most 128, got 200"):
            create(model="m", prompt="Hi", n=200, stream=stream)

    @each("prompt", [[], [[]], [1, "a"], {"a": 1}], ids=str)
    def test_a_prompt_that_is_none(self, on: Proxied, prompt: Any) -> None:
        received, create = len(on.runtime.app.state.received), cast(Any, on.client.completions.create)
        with pytest.raises(openai.BadRequestError, match="prompt must be a string, a list of strings, or token ids"):
            create(model="m", prompt=prompt)
        assert len(on.runtime.app.state.received) == received
