"""What the benchmark's server answers, in bytes. Pure.

An endpoint's name says what it answers: ``whole`` (``whole-7`` too), ``stream-<n>`` with n chunks at once,
``paced-<n>`` with one after the other as a model sends them, ``paced-<n>-<ms>`` with so many milliseconds between them,
``held`` with the beginning of a stream that goes no further. So nothing of a request's body needs to be looked at. What
is answered is what vLLM sends; ``…/invocations-response-stream`` has it in AWS's event stream.
"""

from __future__ import annotations

import functools
import json
import re
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

TEXT = "An answer of some twenty tokens, as long as the first sentence of many a longer one, and no longer."
MODEL = "m"
HELD_CHUNKS = 3
FIRST_SECONDS = 0.02  # from a request to the first event of its stream: a short prompt, on a small model
PACE_SECONDS = 0.005  # 200 tokens a second: a small model on a good GPU

_JSON = "application/json"
_EVENTS = "text/event-stream; charset=utf-8"
_AWS_EVENTS = "application/vnd.amazon.eventstream"
_USAGE = {"prompt_tokens": 11, "total_tokens": 211, "completion_tokens": 200, "prompt_tokens_details": None}
_ID = "chatcmpl-6f1c8f3e0a4b4d0f9d1f0c7a51b7c0de"
_PATH = re.compile(
    rb"/endpoints/([a-z]+)(?:-(\d+)(?:-(\d+))?)?/(openai/v1/chat/completions|invocations(?:-response-stream)?)"
)


def whole_answer() -> bytes:
    """The JSON of an answer that is not streamed."""
    message: dict[str, Any] = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning_content"))
    message |= {"role": "assistant", "content": TEXT, "tool_calls": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    answer = {"id": _ID, "object": "chat.completion", "created": 1790000000, "model": MODEL, "choices": [choice]}
    more = {"service_tier": None, "system_fingerprint": None, "usage": _USAGE, "prompt_logprobs": None}
    return json.dumps({**answer, **more}, separators=(",", ":")).encode()


def words(chunks: int) -> list[str]:
    """What so many chunks say. Not all the same: LiteLLM breaks off a stream that repeats itself a hundred times."""
    return [f" word{number % 10}" for number in range(chunks)]


def chunks_of(endpoint: str) -> int:
    """How many chunks of text an endpoint streams."""
    return int(endpoint.split("-")[1]) if "-" in endpoint else HELD_CHUNKS


def expected_text(endpoint: str) -> str:
    """The text of an endpoint's whole or streamed answer."""
    return TEXT if endpoint.startswith("whole") else "".join(words(chunks_of(endpoint)))


def stream_events(chunks: int) -> list[bytes]:
    """A stream's events: the role, so many chunks of text, the finish reason, the usage, the end."""
    events = [_event(_choice({"role": "assistant", "content": ""}))]
    events += [_event(_choice({"content": word})) for word in words(chunks)]
    events += [_event({**_choice({"content": ""}), "finish_reason": "stop", "stop_reason": None})]
    events += [_event(usage=_USAGE), b"data: [DONE]\n\n"]
    return events


def _choice(delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, "token_ids": None}


def _event(*choices: dict[str, Any], **more: Any) -> bytes:
    chunk = {"id": _ID, "object": "chat.completion.chunk", "created": 1790000000, "model": MODEL, "choices": choices}
    return b"data: %b\n\n" % json.dumps({**chunk, **more}, separators=(",", ":")).encode()


def _aws_event(payload: bytes) -> bytes:
    """A message of AWS's event stream: lengths, their checksum, headers, payload, the checksum of it all."""
    headers = b"".join(
        struct.pack("!B", len(name)) + name + struct.pack("!BH", 7, len(value)) + value  # 7: a string
        for name, value in (
            (b":event-type", b"PayloadPart"),
            (b":content-type", b"application/octet-stream"),
            (b":message-type", b"event"),
        )
    )
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


class Piece(NamedTuple):
    """What is written at a time: so many seconds after the piece before it, the first of them after the request."""

    data: bytes
    after: float = 0.0


@functools.cache
def answer_to(path: bytes) -> Sequence[Piece]:
    """What is written in answer to a path."""
    match = _PATH.fullmatch(path)
    kind, number, pace, route = match.groups() if match else (b"", b"", b"", b"")
    if kind == b"whole":
        return [Piece(_head(_JSON, len(whole_answer())) + whole_answer())]
    if kind not in (b"stream", b"paced", b"held"):
        return [Piece(_head(_JSON, 0, "404 Not Found"))]
    events = stream_events(int(number or HELD_CHUNKS))
    content_type = _EVENTS
    if route == b"invocations-response-stream":
        events, content_type = [_aws_event(event) for event in events], _AWS_EVENTS
    pieces = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    head, end = _head(content_type), b"0\r\n\r\n"
    if kind == b"held":
        return [Piece(head + b"".join(pieces[: 1 + HELD_CHUNKS]))]
    if kind == b"stream":
        return [Piece(head + b"".join(pieces) + end)]
    # vLLM's server, uvicorn, sends the head once a request is accepted. The role comes with the first token, and usage
    # and [DONE] with the last (chat_completion_stream_generator), each as an event of its own.
    between = int(pace) / 1000 if pace else PACE_SECONDS
    waits = [FIRST_SECONDS, 0.0, *[between] * (len(pieces) - 4), 0.0, 0.0]
    pieces[-1] += end
    return [Piece(head), *map(Piece, pieces, waits)]


def _head(content_type: str, length: int | None = None, status: str = "200 OK") -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"HTTP/1.1 {status}\r\nserver: uvicorn\r\ncontent-type: {content_type}\r\n{framing}\r\n\r\n".encode()
