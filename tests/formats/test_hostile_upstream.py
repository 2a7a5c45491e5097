"""An upstream that sends garbage: each of the four kinds of call ends in an answer or in one clear error, and ends."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import litellm
import openai
import pytest

from tests.conftest import MESSAGES, Upstream
from tests.scripted import Answer, chunk, completion, sse

pytestmark = pytest.mark.medium(reason="sends hundreds of broken answers")

MODEL = "sagemaker_openai/e"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n"
JSON, SSE = b"application/json", b"text/event-stream"
WHOLE = json.dumps(completion("Hello.")).encode()
STREAM = sse(chunk({"role": "assistant", "content": ""}), chunk({"content": "Hello."}), chunk({}, finish="stop"))
LONG = 50_000_000


def raw(content_type: bytes, body: bytes, *headers: bytes) -> bytes:
    length = b"content-length: %d\r\n" % len(body)
    return HEAD % content_type + b"".join(header + b"\r\n" for header in headers) + length + b"\r\n" + body


def choices(*each: Any) -> bytes:
    return json.dumps({**completion(), "choices": list(each)}).encode()


# name → what answers a call for a whole answer, and what a streamed one; "Hello." or an error comes of each.
GARBAGE: dict[str, tuple[Answer | bytes, Answer | bytes]] = {
    "an HTML page": (raw(b"text/html", b"<html><title>Login</title>"), raw(b"text/html", b"<html>")),
    "an HTML page called a stream": (raw(SSE, b"<html>"), raw(SSE, b"<!doctype html>\n<html>\n\n")),
    "an empty body": (raw(JSON, b""), raw(SSE, b"")),
    "no body and no content type": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",) * 2,
    "a line of 50 MB": (raw(JSON, b"x" * LONG), raw(SSE, b"data: " + b"x" * LONG)),
    "a string of 50 MB": (
        raw(JSON, choices({"message": {"role": "assistant", "content": "x" * LONG}})),
        raw(SSE, sse(chunk({"content": "x" * LONG}), chunk({}, finish="stop"))),
    ),
    "the wrong content type": (raw(SSE, WHOLE), raw(JSON, STREAM)),
    "invalid UTF-8": (raw(JSON, b'{"choices": "\xff\xfe"}'), raw(SSE, b'data: {"choices": "\xff\xfe"}\n\n')),
    "gzip": (
        raw(JSON, gzip.compress(WHOLE), b"content-encoding: gzip"),
        raw(SSE, gzip.compress(STREAM), b"content-encoding: gzip"),
    ),
    "what is called gzip and is not": (
        raw(JSON, WHOLE, b"content-encoding: gzip"),
        raw(SSE, STREAM, b"content-encoding: gzip"),
    ),
    "an unknown content coding": (raw(JSON, WHOLE, b"content-encoding: x"), raw(SSE, STREAM, b"content-encoding: x")),
    "headers without a body": (
        HEAD % JSON + b"content-length: 100\r\n\r\n",
        HEAD % SSE + b"content-length: 100\r\n\r\n",
    ),
    "a negative content length": (HEAD % JSON + b"content-length: -1\r\n\r\n",) * 2,
    "no HTTP": (b"SSH-2.0-OpenSSH_9.0\r\n",) * 2,
    "a broken status line": (b"HTTP/1.1 OK\r\n\r\n",) * 2,
    "a status of another world": (b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n",) * 2,
    "a redirect": (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",) * 2,
    "a broken chunk": (HEAD % SSE + b"transfer-encoding: chunked\r\n\r\nzz\r\n",) * 2,
    "duplicate choices": (
        raw(JSON, choices(*[{"index": 0, "message": {"content": "Hello."}, "finish_reason": "stop"}] * 2)),
        raw(SSE, sse(chunk({"content": "Hello."}), chunk({}, finish="stop"), chunk({}, finish="stop"))),
    ),
    "choices that are null": (
        raw(JSON, b'{"choices": null}'),
        raw(SSE, sse({"choices": None}, chunk({"content": "Hello."}), chunk({}, finish="stop"))),
    ),
    "usage of nulls": (
        raw(JSON, json.dumps({**completion("Hello."), "usage": {"prompt_tokens": None}}).encode()),
        raw(SSE, sse(chunk({"content": "Hello."}, finish="stop", usage={"prompt_tokens": None}))),
    ),
    "usage of words": (
        raw(JSON, json.dumps({**completion("Hello."), "usage": {"prompt_tokens": "many"}}).encode()),
        raw(SSE, sse(chunk({"content": "Hello."}, finish="stop", usage="many"))),
    ),
    "usage of which a part is words": (
        raw(
            JSON, json.dumps({**completion("Hello."), "usage": {"prompt_tokens": "x", "completion_tokens": 3}}).encode()
        ),
        raw(
            SSE, sse(chunk({"content": "Hello."}, finish="stop", usage={"prompt_tokens": 3, "completion_tokens": "x"}))
        ),
    ),
    "an infinite code": (raw(JSON, b'{"error": {"code": 1e999}}'), raw(SSE, b'data: {"error": {"code": 1e999}}\n\n')),
    "as deep as Python reads": (
        raw(JSON, b'{"error":' * 900 + b"1" + b"}" * 900),
        raw(SSE, b"data: " + b'{"error":' * 900 + b"1" + b"}" * 900 + b"\n\n"),
    ),
    "wrong types everywhere": (
        raw(JSON, choices({"index": "first", "message": {"content": {"a": 1}, "role": 3}})),
        raw(SSE, sse({"id": 3, "created": "now", "choices": [{"index": "x", "delta": {"tool_calls": [3]}}]})),
    ),
    "tool calls of nothing": (
        raw(JSON, choices({"message": {"tool_calls": [{}]}})),
        raw(SSE, sse(chunk({"tool_calls": [{}]}), chunk({"tool_calls": "x"}), chunk({}, finish="tool_calls"))),
    ),
    "deep nesting": (raw(JSON, b'{"choices":' * 50_000), raw(SSE, b"data: " + b'{"a":' * 50_000 + b"\n\n")),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage(upstream: Upstream, name: str, stream: bool, is_async: bool) -> None:
    server = upstream(GARBAGE[name][stream])
    call: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": stream, "timeout": 60, "num_retries": 0}
    try:
        content = await asyncio.wait_for(_content(is_async, call), 60)
    except openai.OpenAIError as error:
        # LiteLLM's own, with a message of this provider's; not an accident that LiteLLM wrapped
        original = getattr(error, "original_exception", None) or error
        assert type(original) in (litellm.BadGatewayError, litellm.ServiceUnavailableError, litellm.InternalServerError)
        assert "Traceback" not in str(original)
        assert len(str(original)) < 1000
    else:
        assert content in ("Hello.", "x" * LONG, "")
        assert content or name == "tool calls of nothing"
    assert len(server.seen) == 1


async def _content(is_async: bool, call: dict[str, Any]) -> str:
    answer: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
    if not call["stream"]:
        return answer.choices[0].message.content or ""
    chunks = [piece async for piece in answer] if is_async else list(answer)
    return "".join(piece.choices[0].delta.content or "" for piece in chunks)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_error_page_of_50_megabytes(upstream: Upstream, stream: bool) -> None:
    upstream(Answer([b"x" * 1_000_000] * 50, 500, "text/plain"))
    with pytest.raises(litellm.InternalServerError) as refused:
        await litellm.acompletion(MODEL, MESSAGES, stream=stream)
    assert len(str(refused.value)) < 3000
