"""What a client of the Responses API gets where a conversation does not fit; test_launch.py has the real proxy's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from litellm_sagemaker_openai.commands.refused_responses import refusal_event, with_refused_streams

TOO_LONG = json.dumps({"error": {"message": "litellm.ContextWindowExceededError: 9 > 8", "code": "400"}}).encode()
OTHER = json.dumps({"error": {"message": "litellm.BadRequestError: no", "code": "400"}}).encode()
STREAM = [(b"accept", b"text/event-stream")]


def answer(
    status: int, *pieces: bytes, path: str = "/v1/responses", headers: list[tuple[bytes, bytes]] = STREAM
) -> tuple[int, dict[bytes, bytes], bytes]:
    """What a client gets where the application answers so."""
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        start = [(b"content-length", b"7"), (b"content-type", b"application/json"), (b"x-litellm-version", b"1")]
        await send({"type": "http.response.start", "status": status, "headers": start})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}

    async def call() -> None:
        await with_refused_streams(app)(scope, None, send)

    asyncio.run(call())
    start, *bodies = sent
    assert not bodies[-1].get("more_body")
    return start["status"], dict(start["headers"]), b"".join(each.get("body", b"") for each in bodies)


def test_it_is_an_event_of_the_stream() -> None:
    status, headers, body = answer(400, TOO_LONG[:20], TOO_LONG[20:])
    assert status == 200
    assert headers == {b"x-litellm-version": b"1", b"content-type": b"text/event-stream; charset=utf-8"}
    name, _, data = body.decode().partition("\ndata: ")
    event = json.loads(data)
    assert name == "event: response.failed"
    assert event["type"] == "response.failed"
    assert event["response"]["status"] == "failed"
    assert event["response"]["error"] == {
        "code": "context_length_exceeded",
        "message": "litellm.ContextWindowExceededError: 9 > 8",
    }


@pytest.mark.parametrize(
    ("status", "body", "path", "headers"),
    [
        (400, OTHER, "/v1/responses", STREAM),
        (400, TOO_LONG, "/v1/responses", []),
        (400, TOO_LONG, "/v1/chat/completions", STREAM),
        (500, TOO_LONG, "/responses", STREAM),
        (200, TOO_LONG, "/responses", STREAM),
        (400, b"", "/responses", STREAM),
        (400, b"x" * 3_000_000, "/responses", STREAM),
    ],
)
def test_all_else_stays_as_it_is(status: int, body: bytes, path: str, headers: list[tuple[bytes, bytes]]) -> None:
    got = answer(status, body[:10], body[10:], path=path, headers=headers)
    assert (got[0], got[2]) == (status, body)
    assert got[1][b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"error": null}', b'{"error": {"message": 1}}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_refusal_of_litellms(body: bytes) -> None:
    assert refusal_event(body) is None
