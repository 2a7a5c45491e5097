"""A Responses stream that does not fit into the model's context: refused in the stream, as OpenAI's API does. Pure.

LiteLLM's proxy answers HTTP 400, and Codex 0.169.0 is stuck for good: whatever it is told, it sends the same
conversation. At OpenAI's event, ``response.failed`` with the code ``context_length_exceeded``, it shortens the
conversation before it goes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import MutableMapping
from typing import Any

from litellm_sagemaker_openai.commands.served_routes import App, Scope, Send

_PATH = re.compile(r"(/v1)?/responses")
_DOES_NOT_FIT = "ContextWindowExceededError"  # LiteLLM's name of the exception stands in its message
_MOST_BYTES = 1 << 20


def with_refused_streams(app: App) -> App:
    """The ASGI application; where a stream is asked for, its refusal of what does not fit is an event."""

    async def translated(scope: Scope, receive: Any, send: Send) -> None:
        await app(scope, receive, _Refusals(send).send if _asks_for_a_stream(scope) else send)

    return translated


def _asks_for_a_stream(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST" or not _PATH.fullmatch(scope["path"]):
        return False
    return any(name == b"accept" and b"text/event-stream" in value for name, value in scope["headers"])


class _Refusals:
    """Holds a refusal back until it is whole; all else goes on as it comes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: MutableMapping[str, Any] | None = None
        self._body = b""

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] == 400:
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body") and len(self._body) <= _MOST_BYTES:
            return
        start, body, self._start = self._start, self._body, None
        event = refusal_event(body)
        if event is None:
            await self._send(start)
            await self._send({**message, "body": body})
            return
        kept = [pair for pair in start["headers"] if pair[0].lower() not in (b"content-length", b"content-type")]
        headers = [*kept, (b"content-type", b"text/event-stream; charset=utf-8")]
        await self._send({**start, "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": event})


def refusal_event(body: bytes) -> bytes | None:
    """The event for a refusal's body; None for one of another kind."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(message, str) or _DOES_NOT_FIT not in message:
        return None
    error = {"code": "context_length_exceeded", "message": message}
    response = {"id": "resp_refused", "object": "response", "status": "failed", "error": error, "output": []}
    event = {"type": "response.failed", "sequence_number": 0, "response": response}
    return f"event: response.failed\ndata: {json.dumps(event)}\n\n".encode()
