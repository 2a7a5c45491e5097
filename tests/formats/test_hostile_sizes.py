"""What a megabyte of anything costs is in proportion to its length, and what is said of it is short."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Upstream
from tests.hostile import NAMES
from tests.scripted import Answer, Seen, chunk, completion, json_answer, sse, usage_chunk

pytestmark = pytest.mark.slow(reason="sends bodies of many megabytes")

CALLS = Path(__file__).parents[1] / "hostile_calls.py"
MEGABYTE = 1_000_000
BLANKS = " " * MEGABYTE
QUOTATION = (
    'Received client error (400) from c with message "{}". See https://us-west-2.console.aws.amazon.com/cloudwatch in '
    "account 123456789012 for more information."
)


def run(*arguments: str) -> Any:
    """What a program prints. It ends by its own limit of the processor's time, if not before."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def wrong() -> Any:
    return run("-m", "tests.hostile")


@pytest.mark.parametrize("name", NAMES)
def test_a_megabyte_of_anything(wrong: Any, name: str) -> None:
    assert wrong[name] == {}


def small_pieces(data: bytes, size: int = 1 << 12) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def refused(message: str) -> Answer:
    return json_answer({"error": {"message": message, "type": "server_error"}}, 400)


def streamed(data: bytes) -> Answer:
    return Answer(small_pieces(data))


BAD_REQUEST, BAD_GATEWAY, UNAVAILABLE = "BadRequestError", "BadGatewayError", "ServiceUnavailableError"
# endpoint → what answers it, and what a call for a whole answer and a streamed one end with: LiteLLM's exception, or
# so many characters.
CASES: dict[str, tuple[Answer, str | int, str | int]] = {
    "blanks": (refused(BLANKS + "x"), BAD_REQUEST, BAD_REQUEST),
    "blanks-quoted": (refused(QUOTATION.format(f"no{BLANKS}Traceback (most recent")), BAD_REQUEST, BAD_REQUEST),
    "json-quoted": (
        refused(QUOTATION.format(json.dumps({"error": {"message": BLANKS + "x"}}))), BAD_REQUEST, BAD_REQUEST
    ),
    "addresses": (refused("https://" * (MEGABYTE // 8)), BAD_REQUEST, BAD_REQUEST),
    "html": (Answer([b"<html>" + b"<title>" * (MEGABYTE // 7)], 502, "text/html"), BAD_GATEWAY, BAD_GATEWAY),
    "deep": (Answer([b'{"error":' * 987 + b"1" + b"}" * 987], 400, "application/json"), BAD_REQUEST, BAD_REQUEST),
    "later": (json_answer({"error": "busy"}, 503, **{"retry-after": "9" * 5000}), UNAVAILABLE, UNAVAILABLE),
    "on-a-day": (
        json_answer({"error": "busy"}, 503, **{"retry-after": "Mon, 01 Jan 99999999999 00:00:00 GMT"}),
        UNAVAILABLE,
        UNAVAILABLE,
    ),
    "an-error": (
        streamed(sse({"error": {"message": BLANKS + "x", "code": 500}})), BAD_GATEWAY, "InternalServerError"
    ),
    "no-content-type": (Answer(small_pieces(b" " * MEGABYTE, 64), content_type=None), BAD_GATEWAY, BAD_GATEWAY),
    "a-long-line": (
        streamed(sse(chunk({"content": "x" * MEGABYTE}), chunk({}, finish="stop"), usage_chunk(1, 1))),
        BAD_GATEWAY,
        MEGABYTE,
    ),
    "many-comments": (streamed(b":\n" * (MEGABYTE // 2) + sse(chunk({"content": "x"}, finish="stop"))), BAD_GATEWAY, 1),
    "a-finish-reason": (json_answer(completion(choices=[
        {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "y" * MEGABYTE}
    ])), 1, 1),
}  # fmt: skip


async def test_calls(upstream: Upstream) -> None:
    def answer(seen: Seen) -> Answer:
        return CASES[seen.path.split("/")[2]][0]

    upstream(answer)
    outcomes = await asyncio.to_thread(run, str(CALLS), *CASES)
    assert len(outcomes) == 4 * len(CASES)
    for call, (error, length) in outcomes.items():
        case, _, kind = call.split()
        assert (error or length) == CASES[case][1 if kind == "whole" else 2], call
        assert not error or length < 3000, call
