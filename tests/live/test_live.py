"""`make live`, with a local runtime in the place of SageMaker, whose answers are changed on the way."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import running
from tests.conftest import CREDENTIALS, REGION
from tests.scripted import Answer, Scripted, Seen, scripted
from tests.terminal import in_terminal
from tools import live, live_run
from tools.live import main
from tools.live_cases import CASES

pytestmark = pytest.mark.medium(reason="sends all requests of `make live`")

each = pytest.mark.parametrize

ENDPOINT, COMPONENT, VECTORS = "acme-prod-7", "coder-of-acme", "acme-vectors"
ACCOUNT = "210987654321"
FILE = f"live-report-{date.today().isoformat()}.md"


class Changed(NamedTuple):
    """An answer on its way."""

    status: int
    headers: dict[str, str]
    body: bytes


Change = Callable[[Changed, Seen], Changed | Answer]


@contextmanager
def changed(changes: dict[str, Change]) -> Iterator[Scripted]:
    """A local runtime as SageMaker, some of whose answers are changed: those to the cases of these names."""
    served = {ENDPOINT: (COMPONENT,), VECTORS: ()}
    names = ["before all", *(case.name for case in CASES for _ in range(case.at_once))]
    with (
        running(RuntimeConfig(served, CREDENTIALS, REGION)) as runtime,
        httpx.Client(trust_env=False, timeout=60) as client,
    ):

        def answer(seen: Seen) -> Answer:
            name = names.pop(0)
            headers = {name: value for name, value in seen.headers.items() if name != "connection"}
            came = client.request(seen.method, runtime.url + seen.path, headers=headers, content=seen.body)
            as_it_is = Changed(came.status_code, dict(came.headers), came.content)
            given = changes[name](as_it_is, seen) if name in changes else as_it_is
            if isinstance(given, Answer):
                return given
            others = {k: v for k, v in given.headers.items() if k not in ("content-length", "transfer-encoding", "content-type")}
            return Answer([given.body], given.status, given.headers.get("content-type"), others)

        with scripted(answer) as server:
            yield server


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str) -> Result:
        result = CliRunner().invoke(main, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run_it


ALL = [f"{ENDPOINT}/{COMPONENT}", "--embeddings-endpoint", VECTORS, "--region", REGION, "--yes"]


def status(status: int) -> Change:
    return lambda came, _: came._replace(status=status)


def replaced(before: str, after: str) -> Change:
    def change(came: Changed, _: Seen) -> Changed:
        assert before.encode() in came.body, came.body
        return came._replace(body=came.body.replace(before.encode(), after.encode()))

    return change


def headers(**given: str | None) -> Change:
    def change(came: Changed, _: Seen) -> Changed:
        added = {name.replace("_", "-"): value for name, value in given.items()}
        merged = {**came.headers, **added}
        return came._replace(headers={name: value for name, value in merged.items() if value is not None})

    return change


def body(value: Any) -> Change:
    return lambda came, _: came._replace(body=value if isinstance(value, bytes) else json.dumps(value).encode())


SENT: list[str] = []  # the authorization headers that the server got


def leaks(came: Changed, seen: Seen) -> Changed:
    """All that a careless server could say, in many ways."""
    token = seen.headers["authorization"].removeprefix("Bearer ")
    SENT.append(token)
    ways = [token, quote(token), base64.b64encode(token.encode()).decode(), json.dumps(token).replace("/", "\\/"), token[40:70]]
    message = (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/acme-role/jane is not authorized on {ENDPOINT}-config of acct{ACCOUNT}x, "
        f"https://{ACCOUNT}.acme.example/{ENDPOINT}?c=%63%6f%64%65%72-of-acme, key {CREDENTIALS.access_key} "
        f"{CREDENTIALS.secret_key} {CREDENTIALS.session_token} {' '.join(ways)} from 10.1.2.3 {Path.home()}/x.py "
        f"HF_TOKEN=hf_abcdefghijkl request 0d9e5c1a-1111-4222-8333-abcdefabcdef | `x` </td><script>"
    )
    leaking = {**came.headers, f"x-{ENDPOINT}": ACCOUNT, "x-amzn-errortype": f"{COMPONENT}:http://x/"}
    error = {"message": message, "type": ENDPOINT, "code": ACCOUNT, ENDPOINT: token, f"arn:aws:iam::{ACCOUNT}:x": 1}
    return came._replace(headers=leaking, body=json.dumps({"error": error}).encode())


# Each case whose answer is changed, the change, and the differences that are to be found then.
PLANTED: dict[str, tuple[Change, set[str]]] = {
    "a chat": (
        replaced('"content":', '"contents":'),
        {"field choices[].message.content", "field choices[].message.contents"},
    ),
    "a stream": (replaced("data: [DONE]\n\n", ""), {"order of events"}),
    "a stream without usage": (headers(content_type="application/jsonlines"), {"content type", "order of events"}),
    "a tool call": (replaced('{\\"city\\"', '[\\"city\\"'), {"value of choices[].message.tool_calls[].function.arguments"}),
    "a tool call, streamed": (replaced('"index":0,"function"', '"place":0,"function"'), {
        "field choices[].delta.tool_calls[].place"}),
    "structured output": (replaced('"created":', '"created":"x","_":'), {"field created", "field _"}),
    "two choices": (
        lambda came, _: came._replace(body=json.dumps({**json.loads(came.body), "choices": json.loads(came.body)["choices"][:1]}).encode()),
        {"value of choices"},
    ),
    "four chats at once": (status(429), {"status"}),
    "a stream that is closed early": (replaced("data: ", "event: x\ndata: "), set()),
    "more tokens than the context has": (replaced('with message \\"', 'with the message \\"'), {
        "words", "the container's words"}),
    "a parameter out of range": (
        lambda came, _: came._replace(body=re.sub(rb'(?<=message \\")(.*)(?=\\"\. See)', lambda m: m[1].replace(b'\\"', b'\\\\\\"'), came.body)),
        {"the container's words"},
    ),
    "a model that is not served": (status(400), {"status"}),
    "an unknown endpoint": (status(404), {"status"}),
    "an unknown component": (replaced("not found", "is not there"), {"words"}),
    "the component in a header": (body({"message": "no"}), {
        "words", "field message", "field error.message", "field error.type", "field error.code"}),
    "a body that is too large": (headers(x_amzn_requestid=None), {"header x-amzn-requestid"}),
    "an unknown path": (headers(content_type="text/html"), {"content type"}),
    "no token": (body(b"<html>Forbidden</html>"), {
        "words", "field error.message", "field error.type", "field error.code"}),
    "an expired token": (leaks, {
        "words", "error type", "header x-<endpoint>", "header x-amzn-errortype", "field error.<endpoint>",
        "field error.<arn>", "value of error.type", "value of error.code"}),
    "a chat through /invocations": (lambda came, _: Answer([came.body[:20]], end="reset"), {"failure"}),
    "a stream through /invocations-response-stream": (
        lambda came, _: came._replace(body=came.body[:-40]), {"order of events"}),
    "an error of the container through /invocations": (headers(x_amzn_errortype="ModelErr:x"), {"error type"}),
    "an embedding": (replaced('"total_tokens"', '"tokens"'), {"field usage.total_tokens", "field usage.tokens"}),
    "/v1/models": (lambda came, _: Changed(200, came.headers, b'{"object": "list", "data": []}'), {
        "status", "words", "field error.message", "field error.type", "field error.code", "field object"}),
    "the header Inference-Id": (headers(x_amzn_sagemaker_inference_id="my-inference"), {
        "header x-amzn-sagemaker-inference-id"}),
    # What does not matter
    "reasoning": (replaced('"reasoning_content"', '"reasoning"'), set()),
    "logprobs": (replaced('"finish_reason":"stop"', '"finish_reason":"length"'), set()),
    "a chat after that": (lambda came, _: came._replace(body=json.dumps({**json.loads(came.body), "id": "x", "created": 7}).encode()), set()),
}  # fmt: skip


def rows_of(text: str, title: str) -> list[tuple[str, str]]:
    """The case and what differs, of each row of a table."""
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    return [(row[0].removeprefix("| "), row[2].strip("`")) for row in rows]


def test_each_planted_difference_is_found_and_nothing_else_and_no_secret_is_written(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    SENT.clear()
    with changed({name: change for name, (change, _) in PLANTED.items()}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        result = run(*ALL)
    assert result.exit_code == 1, result.output
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for case, what in rows_of(text, "Differences"):
        found.setdefault(case, set()).add(what)
        assert f"{case}: {what}: SageMaker " in result.stdout
    assert found == {name: expected for name, (_, expected) in PLANTED.items() if expected}
    assert "| an unknown endpoint | public reports of a live endpoint | `status` | `404` | `400` |" in text

    for written in (text, result.stdout):
        for private in (ENDPOINT, "acme", COMPONENT, "coder", ACCOUNT, CREDENTIALS.access_key, CREDENTIALS.secret_key,
                        CREDENTIALS.session_token, "hf_abcdefghijkl", "0d9e5c1a", "10.1.2.3", "arn:aws", "<script"):  # fmt: skip
            assert private is not None
            assert private.lower() not in written.lower(), private
        for token in SENT:
            for way in (token, quote(token), base64.b64encode(token.encode()).decode()):
                pieces = {way[at : at + 12] for at in range(18, len(way) - 12)}
                assert not [piece for piece in pieces if piece in written]
    assert len(SENT) == 1
    assert str(Path.home()) not in text
    assert "123456789012" not in text
    assert "127.0.0.1" not in text
