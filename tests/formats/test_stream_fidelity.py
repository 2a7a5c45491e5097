"""What the container streams is what the caller gets: each way in which LiteLLM loses pieces, over a real socket.

Each test of this provider's asks on ``/openai/v1``, and by ``InvokeEndpoint`` and its stream.

``naive`` is a custom provider that hands LiteLLM the chunks exactly as the container sent them. It shows that the
losses are real on the installed LiteLLM; where one of its tests fails, LiteLLM has mended it and the workaround in
``chunks.py`` can go.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import litellm
import pytest
from litellm import CustomLLM
from litellm.types.utils import ModelResponseStream

from tests.conftest import MESSAGES, WIRE, Upstream
from tests.scripted import Answer, Scripted, chunk, completion, json_answer, on_its_route, sse, usage_chunk

USAGE = {"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2}}
ROLE = chunk({"role": "assistant", "content": ""})


ROUTE: dict[str, Any] = {}  # by which calls go


@pytest.fixture(params=["openai", "invocations"])
def upstream(upstream: Upstream, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    monkeypatch.setitem(ROUTE, "aws_sagemaker_chat_route", request.param)
    return lambda script: upstream(on_its_route(script))


async def collect(is_async: bool, model: str = "sagemaker_openai/e", **more: Any) -> list[Any]:
    call = {"model": model, "messages": MESSAGES, "stream": True, **ROUTE, **more}
    if is_async:
        return [piece async for piece in await litellm.acompletion(**call)]
    return list(litellm.completion(**call))


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def text(chunks: list[Any], name: str = "content", index: int = 0) -> str:
    return "".join(
        choice.delta.get(name) or "" for piece in chunks for choice in piece.choices if choice.index == index
    )


def finishes(chunks: list[Any]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for piece in chunks:
        for choice in piece.choices:
            if choice.finish_reason:
                found.setdefault(choice.index, []).append(choice.finish_reason)
    return found


class Naive(CustomLLM):
    """Chunks as the container sent them."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        super().__init__()
        self._events = events

    def streaming(self, *_: Any, **__: Any) -> Iterator[ModelResponseStream]:  # type: ignore[override]
        return iter([ModelResponseStream(**event) for event in self._events])


@pytest.fixture
def naive(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*events: dict[str, Any], **more: Any) -> list[Any]:
        handler = {"provider": "naive", "custom_handler": Naive(list(events))}
        monkeypatch.setattr(litellm, "custom_provider_map", [*litellm.custom_provider_map, handler])
        litellm.utils.custom_llm_setup()  # type: ignore[no-untyped-call]
        return list(litellm.completion(model="naive/e", messages=MESSAGES, stream=True, **more))

    return run


class TestUsage:
    events = (ROLE, chunk({"content": "Hi"}), chunk({}, finish="length"), usage_chunk(11, 7, **USAGE))

    @both
    async def test_the_containers_own_counts_when_asked_for(self, upstream: Upstream, is_async: bool) -> None:
        upstream(Answer([sse(*self.events)]))
        chunks = await collect(is_async, stream_options={"include_usage": True})
        usage = chunks[-1].usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (11, 7, 18)
        assert usage.prompt_tokens_details.cached_tokens == 3
        assert usage.completion_tokens_details.reasoning_tokens == 2
        assert [piece for piece in chunks[:-1] if getattr(piece, "usage", None)] == []

    @both
    async def test_and_in_the_hidden_parameters_when_not(self, upstream: Upstream, is_async: bool) -> None:
        server = upstream(Answer([sse(*self.events)]))
        chunks = await collect(is_async)
        assert server.seen[0].json["stream_options"] == {"include_usage": True}
        usage = chunks[-1]._hidden_params["usage"]
        assert (usage.prompt_tokens, usage.completion_tokens) == (11, 7)
        rebuilt: Any = litellm.stream_chunk_builder(chunks)
        assert rebuilt.choices[0].message.content == "Hi"
        assert rebuilt.choices[0].finish_reason == "length"

    @both
    async def test_a_running_count_ends_as_the_last_one(self, upstream: Upstream, is_async: bool) -> None:
        running = [{**chunk({"content": each}), "usage": usage_chunk(11, n)["usage"]} for n, each in enumerate("abc")]
        finish = {**chunk({}, finish="stop"), "usage": usage_chunk(11, 7)["usage"]}
        upstream(Answer([sse(*running, finish)]))
        chunks = await collect(is_async, stream_options={"include_usage": True})
        assert text(chunks) == "abc"
        assert chunks[-1].usage.completion_tokens == 7

    @both
    async def test_a_caller_who_said_no_is_not_asked_for(self, upstream: Upstream, is_async: bool) -> None:
        server = upstream(Answer([sse(*self.events[:-1])]))
        await collect(is_async, stream_options={"include_usage": False})
        assert server.seen[0].json["stream_options"] == {"include_usage": False}

    @both
    async def test_nulls_are_no_counts(self, upstream: Upstream, is_async: bool) -> None:
        nulls = {**usage_chunk(1, 1), "usage": {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}}
        upstream(Answer([sse(*self.events[:-1], nulls)]))
        assert text(await collect(is_async)) == "Hi"

    def test_litellm_alone_makes_them_up(self, naive: Any) -> None:
        chunks = naive(*self.events, stream_options={"include_usage": True})
        assert chunks[-1].usage.prompt_tokens != 11


class TestFinishReasons:
    @both
    async def test_a_finish_chunk_that_still_carries_reasoning(self, upstream: Upstream, is_async: bool) -> None:
        upstream(Answer([sse(ROLE, chunk({"reasoning_content": "think"}, finish="length"))]))
        chunks = await collect(is_async)
        assert text(chunks, "reasoning_content") == "think"
        assert finishes(chunks) == {0: ["length"]}

    def test_litellm_alone_loses_that_reasoning(self, naive: Any) -> None:
        chunks = naive(ROLE, chunk({"reasoning_content": "think"}, finish="length"))
        assert text(chunks, "reasoning_content") == ""

    @both
    async def test_a_finish_chunk_that_still_carries_content_and_tools(
        self, upstream: Upstream, is_async: bool
    ) -> None:
        call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        upstream(Answer([sse(ROLE, chunk({"content": "x", "tool_calls": [call]}, finish="tool_calls"))]))
        chunks = await collect(is_async)
        assert text(chunks) == "x"
        rebuilt: Any = litellm.stream_chunk_builder(chunks)
        assert rebuilt.choices[0].message.tool_calls[0].function.arguments == "{}"
        assert finishes(chunks) == {0: ["tool_calls"]}

    @both
    async def test_each_of_several_choices_has_its_own(self, upstream: Upstream, is_async: bool) -> None:
        events = [chunk({"content": f"{n}{i}"}, index=i) for n in "ab" for i in (1, 0, 2)]
        ends = [chunk({}, index=i, finish=reason) for i, reason in enumerate(["stop", "length", "tool_calls"])]
        upstream(Answer([sse(*events, *ends, usage_chunk(11, 7))]))
        chunks = await collect(is_async, n=3, stream_options={"include_usage": True})
        assert [text(chunks, index=i) for i in range(3)] == ["a0b0", "a1b1", "a2b2"]
        assert finishes(chunks) == {0: ["stop"], 1: ["length"], 2: ["tool_calls"]}
        assert chunks[-1].usage.prompt_tokens == 11

    def test_litellm_alone_loses_all_but_the_first(self, naive: Any) -> None:
        chunks = naive(
            chunk({"content": "a"}),
            chunk({"content": "b"}, index=1),
            chunk({}, finish="stop"),
            chunk({}, index=1, finish="length"),
        )
        assert 1 not in finishes(chunks)

    @both
    async def test_what_the_finish_chunk_adds_is_kept(self, upstream: Upstream, is_async: bool) -> None:
        finish = chunk({}, finish="stop")
        finish["choices"][0]["stop_reason"] = 128009
        upstream(Answer([sse(chunk({"content": "x"}), finish)]))
        chunks = await collect(is_async)
        assert [c.stop_reason for piece in chunks for c in piece.choices if hasattr(c, "stop_reason")] == [128009]

    @both
    async def test_done_without_a_finish_reason_is_an_end(self, upstream: Upstream, is_async: bool) -> None:
        upstream(Answer([sse(chunk({"content": "x"}))]))
        assert text(await collect(is_async)) == "x"

    @both
    async def test_a_finish_reason_without_done_is_an_end(self, upstream: Upstream, is_async: bool) -> None:
        upstream(Answer([sse(chunk({"content": "x"}), chunk({}, finish="stop"), done=False)]))
        assert finishes(await collect(is_async)) == {0: ["stop"]}


class TestDeltas:
    @both
    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    async def test_reasoning_in_either_words(self, upstream: Upstream, is_async: bool, field: str) -> None:
        upstream(
            Answer(
                [sse(ROLE, chunk({field: "let me "}), chunk({field: "see"}), chunk({"content": "4"}, finish="stop"))]
            )
        )
        chunks = await collect(is_async)
        assert text(chunks, "reasoning_content") == "let me see"
        assert text(chunks) == "4"

    @both
    async def test_parallel_tool_calls_in_pieces(self, upstream: Upstream, is_async: bool) -> None:
        def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
            name = more.pop("name", None)
            function = {"arguments": arguments, **({"name": name} if name else {})}
            return chunk({"tool_calls": [{"index": index, "function": function, **more}]})

        upstream(
            Answer(
                [
                    sse(
                        ROLE,
                        call(0, "", id="c0", type="function", name="add"),
                        call(0, '{"a"'),
                        call(0, ": 1}"),
                        call(1, "", id="c1", type="function", name="sub"),
                        call(1, '{"b": 2}'),
                        chunk({}, finish="tool_calls"),
                    )
                ]
            )
        )
        rebuilt: Any = litellm.stream_chunk_builder(await collect(is_async))
        calls = rebuilt.choices[0].message.tool_calls
        assert [(c.id, c.function.name, c.function.arguments) for c in calls] == [
            ("c0", "add", '{"a": 1}'),
            ("c1", "sub", '{"b": 2}'),
        ]
        assert rebuilt.choices[0].finish_reason == "tool_calls"

    @both
    async def test_empty_lists_of_tool_calls_are_no_tool_calls(self, upstream: Upstream, is_async: bool) -> None:
        upstream(Answer([sse(chunk({"content": "x", "tool_calls": []}), chunk({"tool_calls": []}, finish="stop"))]))
        chunks = await collect(is_async)
        assert text(chunks) == "x"
        assert all(piece.choices[0].delta.tool_calls is None for piece in chunks)

    @both
    async def test_line_separators_inside_a_string_survive(self, upstream: Upstream, is_async: bool) -> None:
        said = "a\u2028b\u2029c\x85d\x0be"
        upstream(Answer([sse(chunk({"content": said}), chunk({}, finish="stop"))]))
        assert text(await collect(is_async)) == said

    @both
    async def test_every_byte_on_its_own(self, upstream: Upstream, is_async: bool) -> None:
        stream = sse(chunk({"content": "żółw 🐢"}), chunk({}, finish="stop"), usage_chunk(11, 7))
        upstream(Answer([bytes([byte]) for byte in stream]))
        assert text(await collect(is_async)) == "żółw 🐢"

    @both
    async def test_json_lines(self, upstream: Upstream, is_async: bool) -> None:
        lines = sse(ROLE, chunk({"content": "x"}), chunk({}, finish="stop"), done=False)
        body = lines.replace(b"data: ", b"").replace(b"\n\n", b"\n")
        upstream(Answer([body], content_type="application/jsonlines"))
        assert text(await collect(is_async)) == "x"

    @both
    async def test_extra_fields(self, upstream: Upstream, is_async: bool) -> None:
        first = chunk({"role": "assistant", "content": "x", "token_ids": [1]}, prompt_token_ids=[5, 6])
        upstream(Answer([sse(first, chunk({"content": "y"}, finish="stop"))]))
        chunks = await collect(is_async)
        assert chunks[0].prompt_token_ids == [5, 6]
        assert not hasattr(chunks[1], "prompt_token_ids")  # it was said once
        assert chunks[0].choices[0].delta.token_ids == [1]

    @both
    async def test_all_chunks_share_id_and_model(self, upstream: Upstream, is_async: bool) -> None:
        upstream(Answer([sse(ROLE, chunk({"content": "x"}), chunk({}, finish="stop"), usage_chunk(11, 7))]))
        chunks = await collect(is_async, stream_options={"include_usage": True})
        assert {piece.id for piece in chunks} == {"chatcmpl-1"}
        assert {piece.model for piece in chunks} == {"e"}

    @both
    async def test_headers(self, upstream: Upstream, is_async: bool) -> None:
        upstream(Answer([sse(ROLE, chunk({"content": "x"}, finish="stop"))], headers={"x-amzn-RequestId": "r-1"}))
        chunks = await collect(is_async)
        assert chunks[0]._hidden_params["additional_headers"]["llm_provider-x-amzn-requestid"] == "r-1"


class TestPieceByPiece:
    """Chunks reach the caller as they come: the container writes the next one once the caller had the one before."""

    def held(self, upstream: Upstream) -> tuple[Scripted, threading.Event]:
        go_on = threading.Event()

        def pieces() -> Iterator[bytes]:
            for word in ("one", "two", "three"):
                yield sse(chunk({"content": word}), done=False)
                assert go_on.wait(30), "the caller did not get the chunk"
                go_on.clear()
            yield sse(chunk({}, finish="stop"))

        return upstream(lambda _: Answer(pieces())), go_on

    def test_sync(self, upstream: Upstream) -> None:
        _, go_on = self.held(upstream)
        words = []
        for piece in litellm.completion(model="sagemaker_openai/e", messages=MESSAGES, stream=True, **ROUTE):
            words.append(piece.choices[0].delta.content)
            go_on.set()
        assert [word for word in words if word] == ["one", "two", "three"]

    async def test_async(self, upstream: Upstream) -> None:
        _, go_on = self.held(upstream)
        words = []
        async for piece in await litellm.acompletion(
            model="sagemaker_openai/e", messages=MESSAGES, stream=True, **ROUTE
        ):
            words.append(piece.choices[0].delta.content)
            go_on.set()
        assert [word for word in words if word] == ["one", "two", "three"]


TOOL_CALL: dict[str, Any] = {
    "id": "c0",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a": 1, "b": "' + "x" * 90 + '"}'},
}


class TestFakeStreaming:
    answer = completion(
        "A long answer, in several pieces.",
        message={"reasoning_content": "Let me think about it.", "tool_calls": [TOOL_CALL]},
        system_fingerprint="fp",
        timings={"ms": 3},
    )

    @both
    @pytest.mark.parametrize("asked", [True, False], ids=["asked for", "because the container cannot stream"])
    async def test_a_whole_answer_in_pieces(self, upstream: Upstream, is_async: bool, asked: bool) -> None:
        server = upstream(
            json_answer({**self.answer, "choices": [{**self.answer["choices"][0], "finish_reason": "tool_calls"}]})
        )
        chunks = await collect(is_async, fake_stream=asked, stream_options={"include_usage": True})
        assert ("stream" in server.seen[0].json) is not asked
        assert ("stream_options" in server.seen[0].json) is not asked
        assert len([piece for piece in chunks if piece.choices and piece.choices[0].delta.content]) > 2
        assert text(chunks) == "A long answer, in several pieces."
        assert text(chunks, "reasoning_content") == "Let me think about it."
        rebuilt: Any = litellm.stream_chunk_builder(chunks)
        assert rebuilt.choices[0].message.tool_calls[0].function.arguments == TOOL_CALL["function"]["arguments"]
        assert rebuilt.choices[0].message.tool_calls[0].id == "c0"
        assert finishes(chunks) == {0: ["tool_calls"]}
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 7)
        assert chunks[0].timings == {"ms": 3}

    @both
    @pytest.mark.parametrize(
        "sent",
        [
            completion("<think>Let me see.</think>An answer."),
            completion(None, message={"tool_calls": [TOOL_CALL]}),  # with finish_reason "stop"
            completion("An answer.", created=1795169406.7),
            completion("", message={"reasoning": "Let me see."}),
            completion(
                choices=[{"index": 0, "message": {"content": each}, "finish_reason": "stop"} for each in ("a", "b")]
            ),
        ],
        ids=["think tags", "tool calls that stop", "a broken time", "reasoning alone", "twice the same index"],
    )
    async def test_it_adds_up_to_what_a_whole_answer_says(
        self, upstream: Upstream, is_async: bool, sent: dict[str, Any]
    ) -> None:
        upstream(json_answer(sent))
        whole: Any = litellm.completion(model="sagemaker_openai/e", messages=MESSAGES, **ROUTE)
        chunks = await collect(is_async, fake_stream=True)
        for choice in whole.choices:
            assert text(chunks, index=choice.index) == (choice.message.content or "")
            reasoning = getattr(choice.message, "reasoning_content", None)
            assert text(chunks, "reasoning_content", choice.index) == (reasoning or "")
            assert finishes(chunks)[choice.index] == [choice.finish_reason]

    @both
    @pytest.mark.parametrize("content", [["a"], 5, {"a": 1}])
    async def test_text_that_is_no_string_is_one_clear_error(
        self, upstream: Upstream, is_async: bool, content: Any
    ) -> None:
        upstream(Answer([sse(chunk({"content": content}), chunk({}, finish="stop"))]))
        with pytest.raises(litellm.BadGatewayError, match="a delta whose text is not a string"):
            await collect(is_async)

    @both
    async def test_several_choices(self, upstream: Upstream, is_async: bool) -> None:
        choices = [
            {"index": i, "message": {"role": "assistant", "content": f"answer {i}"}, "finish_reason": reason}
            for i, reason in enumerate(["stop", "length"])
        ]
        upstream(json_answer({**completion(), "choices": choices}))
        chunks = await collect(is_async, n=2, fake_stream=True)
        assert [text(chunks, index=i) for i in range(2)] == ["answer 0", "answer 1"]
        assert finishes(chunks) == {0: ["stop"], 1: ["length"]}


@both
@pytest.mark.parametrize("name", ["chat_stream", "n2_stream", "logprobs_stream"])
async def test_recorded_streams(upstream: Upstream, name: str, is_async: bool) -> None:
    """A real llama.cpp server's streams add up to what its events say."""
    body = (WIRE / "llama.cpp" / f"{name}.http").read_bytes().partition(b"\r\n\r\n")[2]
    upstream(Answer([body]))
    chunks = await collect(is_async, stream_options={"include_usage": True})
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    sent: dict[int, str] = {}
    ends: dict[int, list[str]] = {}
    logprobs = 0
    for event in events:
        for choice in event["choices"]:
            sent[choice["index"]] = sent.get(choice["index"], "") + (choice["delta"].get("content") or "")
            logprobs += len((choice.get("logprobs") or {}).get("content") or [])
            if choice["finish_reason"]:
                ends.setdefault(choice["index"], []).append(choice["finish_reason"])
    assert {index: text(chunks, index=index) for index in sent} == sent
    assert finishes(chunks) == ends
    got = [c.logprobs for piece in chunks for c in piece.choices if getattr(c, "logprobs", None)]
    assert sum(len(each.content) for each in got) == logprobs
    usage = next((event["usage"] for event in events if event.get("usage")), None)
    if usage:
        assert chunks[-1].usage.completion_tokens == usage["completion_tokens"]
        assert chunks[-1].usage.prompt_tokens == usage["prompt_tokens"]


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize(
    "events",
    [
        (ROLE, chunk({"content": "Hi"}), chunk({"content": " there"}), chunk({}, finish="length"), usage_chunk(11, 7)),
        (ROLE, chunk({"reasoning_content": "Hm"}), chunk({"content": "Hi"}, finish="stop")),
        (
            chunk({"content": "A"}),
            chunk({"content": "B"}, index=1),
            chunk({}, finish="stop"),
            chunk({}, index=1, finish="length"),
        ),
        (
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                    ]
                }
            ),
            chunk({}, finish="tool_calls"),
        ),
    ],
    ids=["text", "reasoning", "two choices", "tools"],
)
async def test_the_shorter_way_through_litellms_wrapper_gives_the_same(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, events: Any, include_usage: bool
) -> None:
    upstream(Answer([sse(*events)]))
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if include_usage else {}
    ours = await collect(True, **options)
    monkeypatch.setattr("litellm_sagemaker_openai.litellm_seams.stream_wrapper._ShortCut", litellm.CustomStreamWrapper)
    litellms = await collect(True, **options)
    for each in litellms[len(litellms) - 2 :]:  # those that LiteLLM makes itself have the time of the call
        each.created = events[0]["created"]
    assert [each.model_dump() for each in ours] == [each.model_dump() for each in litellms]
    assert [each._hidden_params.get("usage") for each in ours] == [
        each._hidden_params.get("usage") for each in litellms
    ]
