"""The stand-in for Amazon Bedrock's runtime (``examples/bedrock.py``) with its own OpenAI-compatible route as well.

It answers with the question, as a gpt-oss model does where reasoning was asked for: a block of its own in Converse, and
an inline ``<reasoning>`` on the OpenAI-compatible route. What it was sent stands in ``Scripted.seen``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from examples.bedrock import EVENT_STREAM, PREFIX, REASONING, REQUEST_ID, converse, converse_stream
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse, usage_chunk

GPT_OSS = "bedrock/openai.gpt-oss-120b-1:0"  # LiteLLM takes it to Converse
GPT_OSS_OPENAI = "bedrock/chat_completions/openai.gpt-oss-120b-1:0"  # and this to /openai/v1/chat/completions
_HEADERS = {"x-amzn-RequestId": REQUEST_ID}


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
        return json_answer(converse(seen.json), 200, **_HEADERS)
    if route == "converse-stream":
        return Answer(converse_stream(seen.json), content_type=EVENT_STREAM, headers=_HEADERS)
    return json_answer({"message": f"no such operation: {seen.path}"}, 404)


def _openai(body: Any) -> Answer:
    content = body["messages"][-1]["content"]
    question = content if isinstance(content, str) else content[0]["text"]
    inline = f"<reasoning>{REASONING}</reasoning>" if "reasoning_effort" in body else ""
    if not body.get("stream"):
        return json_answer(completion(f"{inline}{PREFIX}{question}", model=body["model"]), 200, **_HEADERS)
    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": piece}) for piece in (inline, PREFIX, question) if piece]
    events += [chunk({}, finish="stop"), usage_chunk(6, 10)]
    return Answer([sse(*({**event, "model": body["model"]} for event in events))], headers=_HEADERS)
