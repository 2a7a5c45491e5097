"""Bytes → chunks, without a socket: any split gives the same, any bytes give chunks or one of the declared errors."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from litellm.types.utils import ModelResponseStream

from litellm_sagemaker_openai.formats.chunks import ChunkStream
from litellm_sagemaker_openai.formats.events import StreamFormatError, decoder_for
from litellm_sagemaker_openai.formats.whole_answer import pieces_of
from litellm_sagemaker_openai.upstream_errors import AnswerError
from tests.conftest import WIRE
from tests.scripted import chunk, completion, sse, usage_chunk

SSE, LINES = "text/event-stream", "application/jsonlines"


def chunks_of(content_type: str, *pieces: bytes) -> list[dict[str, Any]]:
    stream = ChunkStream(decoder_for(content_type), "e")
    given_ = [each for piece in pieces for each in stream.feed(piece)]
    dumped: list[dict[str, Any]] = [each.model_dump() for each in [*given_, *stream.end()]]  # type: ignore[no-untyped-call]
    for each in dumped:
        if each["id"].startswith("chatcmpl-") and len(each["id"]) > 20:
            each["id"] = "made up by LiteLLM"
        each["created"] = 0
    return dumped


def split(stream: bytes, data: st.DataObject) -> list[bytes]:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    return [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]


deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": st.one_of(st.none(), st.text(max_size=6)),
        "reasoning_content": st.text(max_size=6),
        "reasoning": st.text(max_size=6),
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"index": st.integers(0, 2), "function": st.fixed_dictionaries({"arguments": st.text(max_size=4)})},
                optional={"id": st.text("abc", min_size=1), "type": st.just("function")},
            ),
            max_size=2,
        ),
    },
)
streams = st.lists(st.tuples(deltas, st.integers(0, 2)), min_size=1, max_size=6).map(
    lambda parts: [
        *(chunk(delta, index=index) for delta, index in parts),
        *(chunk({}, index=index, finish="stop") for index in sorted({index for _, index in parts})),
        usage_chunk(11, 7),
    ]
)


@settings(deadline=None)
@given(events=streams, data=st.data(), lines=st.booleans())
def test_any_split_of_any_stream_gives_the_same_chunks(
    events: list[dict[str, Any]], data: st.DataObject, lines: bool
) -> None:
    if lines:
        content_type, stream = LINES, "".join(f"{json.dumps(event, ensure_ascii=False)}\n" for event in events).encode()
    else:
        content_type, stream = SSE, sse(*events)
    assert chunks_of(content_type, *split(stream, data)) == chunks_of(content_type, stream)


@settings(deadline=None)
@given(events=streams)
def test_no_piece_of_any_stream_is_lost(events: list[dict[str, Any]]) -> None:
    chunks = chunks_of(SSE, sse(*events))

    def told(all_chunks: list[dict[str, Any]], name: str, index: int) -> str:
        found = [choice for each in all_chunks for choice in each["choices"] if choice["index"] == index]
        return "".join(choice["delta"].get(name) or "" for choice in found)

    called = {choice["index"] for event in events for choice in event["choices"] if choice["delta"].get("tool_calls")}
    for index in {choice["index"] for event in events for choice in event["choices"]}:
        assert told(chunks, "content", index) == told(events, "content", index)
        assert [
            choice["finish_reason"]
            for each in chunks
            for choice in each["choices"]
            if choice["index"] == index and choice["finish_reason"]
        ] == ["tool_calls" if index in called else "stop"]
    assert [each["usage"]["total_tokens"] for each in chunks if each.get("usage")] == [18]
    # LiteLLM ends at the first choice's finish reason: everything stands before it
    assert chunks[-1]["choices"][0]["finish_reason"]


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["index", "delta", "function", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)
names = ["id", "created", "choices", "usage", "error", "object", "message", "model", "detail", "code"]
delta_names = st.sampled_from(["content", "tool_calls", "role", "reasoning"])
nonsense = st.one_of(
    st.dictionaries(st.sampled_from(names), anything, max_size=5),
    st.builds(lambda name, value: {**chunk({"content": "x"}), name: value}, st.sampled_from(names), anything),
    st.builds(lambda name, value: chunk({name: value}), delta_names, anything),
    st.builds(lambda name, value: completion(message={name: value}), delta_names, anything),
)


@pytest.mark.parametrize("created", [float("inf"), float("nan"), "today", None, {}, 10**400])
def test_a_time_that_is_none_is_left_to_litellm(created: Any) -> None:
    [first, *_] = chunks_of(SSE, sse({**chunk({"content": "x"}), "created": created}, chunk(finish="stop")))
    assert isinstance(first["created"], int)


@settings(deadline=None, max_examples=300)
@given(st.lists(nonsense, max_size=4))
@example([{**chunk({"content": "x"}), "created": float("inf")}])
def test_any_json_gives_chunks_or_one_clear_error(events: list[Any]) -> None:
    # any other exception would fail the test
    with suppress(AnswerError, StreamFormatError):
        assert chunks_of(SSE, sse(*events))


@settings(deadline=None)
@given(st.sampled_from([SSE, LINES, "application/json", ""]), st.lists(st.binary(max_size=30), max_size=4))
def test_any_bytes_give_chunks_or_one_clear_error(content_type: str, pieces: list[bytes]) -> None:
    with pytest.raises((AnswerError, StreamFormatError)):  # no short random bytes are a whole answer
        chunks_of(content_type, *pieces)


@pytest.mark.parametrize("name", ["chat", "json_schema", "logprobs"])
def test_recorded_whole_answers_in_pieces_add_up(name: str) -> None:
    body = (WIRE / "llama.cpp" / f"{name}.http").read_bytes().partition(b"\r\n\r\n")[2]
    answer = json.loads(body)
    chunks = chunks_of("application/json", body)
    choice = answer["choices"][0]
    said = "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks if each["choices"])
    assert said == choice["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert len(list(pieces_of(answer))) > 4


def test_pieces_of_text_are_litellms_own_chunks_and_share_nothing() -> None:
    """Most chunks are copies of one like them; a copy is what LiteLLM's constructor makes."""
    events = [chunk({"content": text}) for text in ("a", "b", "c")]
    stream = ChunkStream(decoder_for("text/event-stream"), "m")
    copies = list(stream.feed(sse(*events, done=False)))
    for copy, event in zip(copies, events, strict=True):
        made = ModelResponseStream(**{**event, "model": "m"})
        assert copy.model_dump() == made.model_dump()  # type: ignore[no-untyped-call]
        assert copy.model_dump_json() == made.model_dump_json()
    copies[0].choices[0].delta.content, copies[0].choices[0].finish_reason = "changed by a caller", "length"
    copies[0]._hidden_params["changed"] = True
    [later] = stream.feed(sse(chunk({"content": "d"}), done=False))
    for other in (copies[1], later):
        assert other.choices[0].delta.content in ("b", "d")
        assert other.choices[0].finish_reason is None
        assert "changed" not in other._hidden_params


@pytest.mark.parametrize("role", [{"role": "assistant", "content": ""}, {"role": "assistant", "content": None}])
def test_a_role_waits_for_content(role: dict[str, Any]) -> None:
    stream = ChunkStream(decoder_for(SSE), "e")
    roles = [chunk(role), chunk(role, index=1)]
    assert list(stream.feed(sse(*roles, done=False))) == []
    assert not stream.begun
    given_ = [*stream.feed(sse(chunk({"content": "Hi"}, index=1), chunk({"content": "Ho"}), done=False))]
    assert [each.choices[0].delta.role for each in given_] == ["assistant", "assistant", None, None]
    assert stream.begun


@pytest.mark.parametrize("delta", [{"role": "assistant", "content": "Hi"}, {"reasoning": "Hm"}, {"refusal": "No."}])
def test_content_is_given_at_once(delta: dict[str, Any]) -> None:
    stream = ChunkStream(decoder_for(SSE), "e")
    assert len(list(stream.feed(sse(chunk(delta), done=False)))) == 1


def test_so_are_log_probabilities() -> None:
    stream = ChunkStream(decoder_for(SSE), "e")
    event = chunk({"role": "assistant", "content": ""})
    event["choices"][0]["logprobs"] = {"content": []}
    assert len(list(stream.feed(sse(event, done=False)))) == 1


def test_a_container_that_keeps_a_stream_alive_without_content_is_not_silenced_for_good() -> None:
    stream = ChunkStream(decoder_for(SSE), "e")
    given_ = [len(list(stream.feed(sse(chunk({"content": ""}), done=False)))) for _ in range(202)]
    assert given_ == [0] * 200 + [201, 1]


def test_a_role_is_given_where_nothing_follows() -> None:
    said = chunks_of(SSE, sse(chunk({"role": "assistant", "content": ""}), chunk({}, finish="stop")))
    assert [each["choices"][0]["delta"].get("role") for each in said] == ["assistant", None]
    assert said[-1]["choices"][0]["finish_reason"] == "stop"
