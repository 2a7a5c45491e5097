"""Decoding: the SSE specification's rules, JSON lines and whole bodies, for every split of the bytes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_sagemaker_openai.formats.events import DONE, Event, StreamFormatError, decoder_for
from tests.conftest import WIRE

SSE = "text/event-stream; charset=utf-8"
LINES = "application/jsonlines"
EVENT = {"text": "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg", "emoji": "🐵"}
RAW = json.dumps(EVENT, ensure_ascii=False)


def decode(content_type: str, *pieces: bytes) -> list[Event]:
    decoder = decoder_for(content_type)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.end()]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (f"data: {RAW}\n\n", [EVENT]),
        (f"data:{RAW}\n\n", [EVENT]),  # no space after the colon: SageMaker's containers
        (f"data: {RAW}\r\n\r\ndata: [DONE]\r\n\r\n", [EVENT, DONE]),
        (f"data: {RAW}\r\rdata: [DONE]\r\r", [EVENT, DONE]),
        (f": ping\n\ndata: {RAW}\n: ping\n\n", [EVENT]),
        (f"event: message\nid: 1\nretry: 3\nunknown: x\ndata: {RAW}\n\n", [EVENT]),
        ('data: {"text":\ndata: "x"}\n\n', [{"text": "x"}]),  # several data lines are one event
        (f"\ufeffdata: {RAW}\n\n", [EVENT]),
        (f"data: {RAW}", [EVENT]),  # the container closed right after the last line
        (f"data: {RAW}\n", [EVENT]),
        ("data\n\ndata:\n\n\n\n", []),
        ("", []),
        ('event: error\ndata: {"message": "x"}\n\n', [{"error": {"message": "x"}}]),
        ('event: error\ndata: {"error": {"message": "x"}}\n\n', [{"error": {"message": "x"}}]),
        (f"event: error\n\ndata: {RAW}\n\n", [EVENT]),  # the type is its own event's
        ('error: {"code":500,"message":"x"}\n\n', [{"error": {"code": 500, "message": "x"}}]),
    ],
)
def test_server_sent_events(stream: str, events: list[Event]) -> None:
    assert decode(SSE, stream.encode()) == events
    assert decode(SSE, *(bytes([byte]) for byte in stream.encode())) == events


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_json_lines(end: str) -> None:
    stream = f'{RAW}\n\n{{"b": 2}}{end}'.encode()
    assert decode(LINES, stream) == [EVENT, {"b": 2}]
    assert decode(LINES, *(bytes([byte]) for byte in stream)) == [EVENT, {"b": 2}]


@pytest.mark.parametrize("content_type", ["application/json", "", "application/octet-stream", "text/plain"])
@pytest.mark.parametrize(
    ("body", "events"),
    [
        (json.dumps(EVENT, indent=1), [EVENT]),
        (f"\n {RAW}\n{RAW}\n", [EVENT, EVENT]),
        (f"data: {RAW}\n\ndata: [DONE]\n\n", [EVENT, DONE]),
        (f": ping\n\ndata: {RAW}\n\n", [EVENT]),
        (f"\ufeffdata: {RAW}\n\n", [EVENT]),
        (f"\ufeff {RAW}", [EVENT]),
        (" \r\n\t", []),
        ("", []),
    ],
)
def test_without_a_telling_content_type_the_body_tells(content_type: str, body: str, events: list[Event]) -> None:
    assert decode(content_type, body.encode()) == events
    assert decode(content_type, *(bytes([byte]) for byte in body.encode())) == events


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (SSE, b"data: {broken\n\n"),
        (SSE, b'data: {"half": "obj'),
        (SSE, b"data: [1]\n\n"),
        (SSE, b'data: {"x": "\xff"}\n\n'),
        (SSE, b'data: {"x": "\xf0\x9f'),
        (LINES, b"{broken}\n"),
        (LINES, b'{"half": '),
        (LINES, b"3\n"),
        ("application/json", b"{broken"),
        ("application/json", b"[1, 2]"),
        ("text/html", b"<html><title>Oops</title>"),
        ("", b"Bad gateway"),
        ("", b"dat"),
        (SSE, b"data: " + b"[" * 100_000 + b"\n\n"),
        ("application/json", b'{"a":' * 100_000),
    ],
)
def test_what_is_no_stream_is_one_clear_error(content_type: str, body: bytes) -> None:
    with pytest.raises(StreamFormatError):
        decode(content_type, body)


@pytest.mark.parametrize("broken", [b"data: {broken\n\n", b"data: \xff\n\n"])
def test_events_before_a_broken_one_are_given_first(broken: bytes) -> None:
    events = decoder_for(SSE).feed(b'data: {"a": 1}\n\n' + broken)
    assert next(events) == {"a": 1}
    with pytest.raises(StreamFormatError):
        next(events)


def test_a_long_line_in_many_pieces_takes_time_in_proportion() -> None:
    decoder = decoder_for(SSE)
    piece = b"x" * 1000
    list(decoder.feed(b'data: {"x": "'))
    for _ in range(20_000):  # 20 MB: searching the line again with each piece would be 200 GB
        list(decoder.feed(piece))
    assert [len(event["x"]) for event in decoder.feed(b'"}\n\n') if isinstance(event, dict)] == [20_000_000]


json_objects = st.dictionaries(
    st.text(max_size=5), st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text(max_size=3))), max_size=4
)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(json_objects, max_size=5), line_ends, st.booleans(), st.data())
def test_any_split_gives_the_same_events(objects: list[Any], end: str, space: bool, data: st.DataObject) -> None:
    prefix = "data: " if space else "data:"
    stream = "".join(f"{prefix}{json.dumps(each, ensure_ascii=False)}{end}{end}" for each in objects).encode()
    assert decode(SSE, *_split(stream, data)) == objects
    lines = "".join(f"{json.dumps(each, ensure_ascii=False)}{end}" for each in objects).encode()
    assert decode(LINES, *_split(lines, data)) == objects


@given(st.sampled_from([SSE, LINES, "application/json", ""]), st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_give_events_or_one_clear_error(content_type: str, pieces: list[bytes]) -> None:
    try:
        events = decode(content_type, *pieces)
    except StreamFormatError:
        return
    assert all(event == DONE or isinstance(event, dict) for event in events)


@pytest.mark.parametrize("name", ["chat_stream", "n2_stream", "logprobs_stream"])
@given(data=st.data())
def test_any_split_of_a_real_stream_gives_the_same_events(name: str, data: st.DataObject) -> None:
    body = (WIRE / "llama.cpp" / f"{name}.http").read_bytes().partition(b"\r\n\r\n")[2]
    assert decode(SSE, *_split(body, data)) == decode(SSE, body)


def _split(stream: bytes, data: st.DataObject) -> list[bytes]:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    return [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]
