"""A stand-in for Amazon Bedrock's runtime: Converse, streamed and not, and its own OpenAI-compatible route.

It answers with the question, as a gpt-oss model does where reasoning was asked for: a block of its own in Converse, and
an inline ``<reasoning>`` on the OpenAI-compatible route. What it was sent stands in ``Scripted.seen``.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse, usage_chunk

GPT_OSS = "bedrock/openai.gpt-oss-120b-1:0"  # LiteLLM takes it to Converse
GPT_OSS_OPENAI = "bedrock/chat_completions/openai.gpt-oss-120b-1:0"  # and this to /openai/v1/chat/completions
REQUEST_ID = "bedrock-request-1"
REASONING = "A stand-in thinks."
PREFIX = "Bedrock stand-in. You said: "
USAGE = {"inputTokens": 6, "outputTokens": 10, "totalTokens": 16}


@contextmanager
def bedrock() -> Iterator[Scripted]:
    """A running stand-in."""
    with scripted(_answer) as server:
        yield server


def _answer(seen: Seen) -> Answer:
    route = unquote(seen.path).rpartition("/")[2]
    if seen.path == "/openai/v1/chat/completions":
        return _openai(seen.json)
    if route == "converse":
        return _converse(seen.json)
    if route == "converse-stream":
        return _converse_stream(seen.json)
    return json_answer({"message": f"no such operation: {seen.path}"}, 404)


def _converse(body: Any) -> Answer:
    return json_answer(
        {
            "output": {"message": {"role": "assistant", "content": [*_reasoning(body), {"text": _text(body)}]}},
            "stopReason": "end_turn",
            "usage": USAGE,
            "metrics": {"latencyMs": 1},
        },
        200,
        **{"x-amzn-RequestId": REQUEST_ID},
    )


def _reasoning(body: Any) -> list[dict[str, Any]]:
    if "reasoning_effort" not in (body.get("additionalModelRequestFields") or {}):
        return []
    return [{"reasoningContent": {"reasoningText": {"text": REASONING}}}]


def _text(body: Any) -> str:
    return f"{PREFIX}{body['messages'][-1]['content'][0]['text']}"


def _converse_stream(body: Any) -> Answer:
    deltas: list[dict[str, Any]] = [{"reasoningContent": {"text": REASONING}} for _ in _reasoning(body)]
    deltas += [{"text": PREFIX}, {"text": _text(body).removeprefix(PREFIX)}]
    events: list[tuple[str, dict[str, Any]]] = [("messageStart", {"role": "assistant"})]
    events += [("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in deltas]
    events += [
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}}),
    ]
    return Answer(
        [_frame(kind, payload) for kind, payload in events],
        content_type="application/vnd.amazon.eventstream",
        headers={"x-amzn-RequestId": REQUEST_ID},
    )


def _frame(kind: str, payload: dict[str, Any]) -> bytes:
    """One message of AWS's event stream: lengths, their checksum, headers, payload, checksum of it all."""
    headers = b"".join(
        struct.pack("!B", len(name)) + name + struct.pack("!BH", 7, len(value)) + value  # 7: a string
        for name, value in (
            (b":event-type", kind.encode()),
            (b":content-type", b"application/json"),
            (b":message-type", b"event"),
        )
    )
    data = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(data), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + data
    return message + struct.pack("!I", zlib.crc32(message))


def _openai(body: Any) -> Answer:
    content = body["messages"][-1]["content"]
    question = content if isinstance(content, str) else content[0]["text"]
    inline = f"<reasoning>{REASONING}</reasoning>" if "reasoning_effort" in body else ""
    headers = {"x-amzn-RequestId": REQUEST_ID}
    if not body.get("stream"):
        return json_answer(completion(f"{inline}{PREFIX}{question}", model=body["model"]), 200, **headers)
    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": piece}) for piece in (inline, PREFIX, question) if piece]
    events += [chunk({}, finish="stop"), usage_chunk(6, 10)]
    return Answer([sse(*({**event, "model": body["model"]} for event in events))], headers=headers)
