"""A stand-in for Amazon Bedrock's runtime: its Converse API, streamed and not. It answers with the question.

The answers are pure; ``bedrock_stand_in`` serves them on a socket.
"""

from __future__ import annotations

import json
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PREFIX = "Bedrock stand-in. You said: "
REASONING = "A stand-in thinks."
REQUEST_ID = "bedrock-request-1"
EVENT_STREAM = "application/vnd.amazon.eventstream"
_USAGE = {"inputTokens": 6, "outputTokens": 10, "totalTokens": 16}


def converse(body: Any) -> dict[str, Any]:
    """Converse's answer: the question, after a block of reasoning where ``reasoning_effort`` asks for some."""
    reasoning = [{"reasoningContent": {"reasoningText": {"text": text}}} for text in _reasoning(body)]
    return {
        "output": {"message": {"role": "assistant", "content": [*reasoning, {"text": _text(body)}]}},
        "stopReason": "end_turn",
        "usage": _USAGE,
        "metrics": {"latencyMs": 1},
    }


def converse_stream(body: Any) -> list[bytes]:
    """ConverseStream's answer: the same, word by word, as messages of AWS's event stream."""
    deltas: list[dict[str, Any]] = [{"reasoningContent": {"text": text}} for text in _reasoning(body)]
    deltas += [{"text": word} for word in re.findall(r"\S+\s*", _text(body))]
    return [
        _message("messageStart", {"role": "assistant"}),
        *(_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in deltas),
        _message("contentBlockStop", {"contentBlockIndex": 0}),
        _message("messageStop", {"stopReason": "end_turn"}),
        _message("metadata", {"usage": _USAGE, "metrics": {"latencyMs": 1}}),
    ]


def _reasoning(body: Any) -> list[str]:
    return [REASONING] if "reasoning_effort" in (body.get("additionalModelRequestFields") or {}) else []


def _text(body: Any) -> str:
    return f"{PREFIX}{body['messages'][-1]['content'][0]['text']}"


def _message(kind: str, payload: dict[str, Any]) -> bytes:
    """One message of the event stream: lengths, their checksum, headers, payload, checksum of it all."""
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


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        streamed = self.path.endswith("/converse-stream")
        self.send_response(200)
        self.send_header("Content-Type", EVENT_STREAM if streamed else "application/json")
        self.end_headers()
        for data in converse_stream(body) if streamed else [json.dumps(converse(body)).encode()]:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who starts it says what is worth reading."""


@contextmanager
def bedrock_stand_in() -> Iterator[str]:
    """The URL of a running stand-in."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
