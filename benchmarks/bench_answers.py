"""What the benchmark's server answers, in bytes. Pure.

An endpoint's name says what it answers: ``whole`` (``whole-7`` too), ``stream-<n>`` with n chunks at once,
``paced-<n>`` with an event every few milliseconds, ``held`` with the beginning of a stream that goes no further. So
nothing of a request's body needs to be looked at. What is answered is what vLLM sends;
``…/invocations-response-stream`` has it in AWS's event stream.
"""

from __future__ import annotations

import functools
import json
import re
import struct
import zlib
from collections.abc import Sequence
from typing import Any

TEXT = "An answer of some twenty tokens, as long as the first sentence of many a longer one, and no longer."
MODEL = "m"
HELD_CHUNKS = 3

_JSON = "application/json"
_EVENTS = "text/event-stream; charset=utf-8"
_AWS_EVENTS = "application/vnd.amazon.eventstream"
_USAGE = {"prompt_tokens": 11, "total_tokens": 211, "completion_tokens": 200, "prompt_tokens_details": None}
_ID = "chatcmpl-6f1c8f3e0a4b4d0f9d1f0c7a51b7c0de"
_PATH = re.compile(rb"/endpoints/([a-z]+)(?:-(\d+))?/(openai/v1/chat/completions|invocations(?:-response-stream)?)")


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
    return int(endpoint.rpartition("-")[2]) if "-" in endpoint else HELD_CHUNKS


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


@functools.cache
def answer_to(path: bytes) -> Sequence[bytes]:
    """What is written in answer to a path: all at once, or, where there are several pieces, one after the other."""
    match = _PATH.fullmatch(path)
    kind, number, route = match.groups() if match else (b"", b"", b"")
    if kind == b"whole":
        return [_head(_JSON, len(whole_answer())) + whole_answer()]
    if kind not in (b"stream", b"paced", b"held"):
        return [_head(_JSON, 0, "404 Not Found")]
    events = stream_events(int(number or HELD_CHUNKS))
    content_type = _EVENTS
    if route == b"invocations-response-stream":
        events, content_type = [_aws_event(event) for event in events], _AWS_EVENTS
    pieces = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    head, end = _head(content_type), b"0\r\n\r\n"
    if kind == b"held":
        return [head + b"".join(pieces[: 1 + HELD_CHUNKS])]
    if kind == b"stream":
        return [head + b"".join(pieces) + end]
    return [head + pieces[0], *pieces[1:-1], pieces[-1] + end]


def _head(content_type: str, length: int | None = None, status: str = "200 OK") -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"HTTP/1.1 {status}\r\nserver: uvicorn\r\ncontent-type: {content_type}\r\n{framing}\r\n\r\n".encode()
