"""AWS event streams: the container's events out of them, for any split of the bytes, and SageMaker's exceptions."""

from __future__ import annotations

import json
import struct
from binascii import crc32
from typing import Any

import pytest

from litellm_sagemaker_openai.formats.aws_event_stream import AwsEventStream
from litellm_sagemaker_openai.formats.events import DONE, ServerSentEvents, StreamFormatError
from litellm_sagemaker_openai.local.event_stream import model_stream_error, payload_part
from litellm_sagemaker_openai.upstream_errors import FailureKind, StreamedError, TruncatedStream

SSE = b'data: {"a":1}\n\ndata: {"b":"\xc3\xa9"}\n\ndata: [DONE]\n\n'
EVENTS: list[Any] = [{"a": 1}, {"b": "é"}, DONE]


def read(*pieces: bytes) -> list[Any]:
    decoder = AwsEventStream(ServerSentEvents())
    return [*(event for piece in pieces for event in decoder.feed(piece)), *decoder.end()]


@pytest.mark.parametrize("part", [1, 5, 1000])
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_any_split_gives_the_same_events(part: int, piece: int) -> None:
    parts = b"".join(payload_part(SSE[start : start + part]) for start in range(0, len(SSE), part))
    assert read(*(parts[start : start + piece] for start in range(0, len(parts), piece))) == EVENTS


def test_events_before_an_exception_are_given() -> None:
    decoder = AwsEventStream(ServerSentEvents())
    events = decoder.feed(payload_part(SSE[:15]) + model_stream_error("The connection was reset", "StreamBroken"))
    assert next(events) == {"a": 1}
    with pytest.raises(StreamedError, match=r"the container's stream broke off.*The connection was reset") as error:
        next(events)
    assert (error.value.upstream.status, error.value.upstream.failure) == (502, FailureKind.CUT_OFF)


def test_an_exception_says_that_the_time_is_up() -> None:
    with pytest.raises(StreamedError, match="8 minutes for a stream") as error:
        read(model_stream_error("it took too long", "ModelInvocationTimeExceeded"))
    assert (error.value.upstream.status, error.value.upstream.failure) == (504, FailureKind.TIMED_OUT)


@pytest.mark.parametrize("message", ["Something failed", json.dumps({"error": {"message": "Something failed"}})])
def test_another_exception_keeps_its_words(message: str) -> None:
    with pytest.raises(StreamedError, match="Something failed") as error:
        read(model_stream_error(message, "Other"))
    assert error.value.upstream.status == 500


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x00\x00\x00\x0f", "a message of 15 bytes"),
        (b"\xff" * 16, "a message of 4,294,967,295 bytes"),
        (b"data: {}\n\n", "a message of 1,684,108,385 bytes"),
        (payload_part(b"x" * 50)[:-1] + b"\x00", "damaged"),
        (payload_part(b"x")[:8] + bytes(8) + payload_part(b"x")[16:], "damaged"),
    ],
)
def test_what_is_no_event_stream_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(StreamFormatError, match=said):
        read(data)


@pytest.mark.parametrize(
    "headers", [b"\x01a\x63", b"\x01a\x07\x00\x01\xff", b"\x05abc", b"\x01a\x07\x00\x02x"], ids=str
)
def test_headers_that_are_none(headers: bytes) -> None:
    """Under checksums that are right: a type that is not known, text that is no UTF-8, too few bytes."""
    prelude = struct.pack(">II", 16 + len(headers), len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers
    with pytest.raises((StreamFormatError, StreamedError), match=r"damaged|no message"):
        read(message + struct.pack(">I", crc32(message)))


def test_half_a_message_at_the_end() -> None:
    """The container's events need not show it: a choice that was to come, or the usage, may be what is missing."""
    whole, last = payload_part(SSE[:15]), payload_part(SSE[15:])
    for length in range(1, len(last)):
        with pytest.raises(TruncatedStream):
            read(whole + last[:length])
    assert read(whole) == EVENTS[:1]
    assert read(payload_part(SSE) + last[:20]) == EVENTS  # all was there


def test_many_pieces_of_a_large_message_take_linear_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's own buffer copies what it holds for each piece that is added."""
    decoder, message = AwsEventStream(ServerSentEvents()), payload_part(b"data: {}\n\n" + b":" * (8 << 20))
    added: list[bytes] = []
    monkeypatch.setattr(decoder._buffer, "add_data", added.append)
    for start in range(0, len(message) - 1, 1 << 16):
        assert list(decoder.feed(message[start : min(start + (1 << 16), len(message) - 1)])) == []
    assert added == []
