"""`make live`, with a local runtime in the place of SageMaker, whose answers are changed on the way."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import running
from tests.conftest import CREDENTIALS, REGION
from tests.docs.pages import BLOCKS, ROOT, Block, code_in, tables
from tests.scripted import Answer, Scripted, Seen, scripted
from tests.terminal import in_terminal
from tools.live import main
from tools.live_cases import CASES, asked
from tools.live_redaction import Redactor

pytestmark = pytest.mark.medium(reason="sends all requests of `make live`")

each = pytest.mark.parametrize

PAGE, BASES = "docs/live.md", ("seen", "documented", "guessed")

ENDPOINT, COMPONENT, VECTORS = "acme-prod-7", "coder-of-acme", "acme-vectors"
ACCOUNT = "210987654321"
SERVED = {ENDPOINT: (COMPONENT,), VECTORS: ()}
FILE = f"live-report-{date.today().isoformat()}.md"


class Changed(NamedTuple):
    """An answer on its way."""

    status: int
    headers: dict[str, str]
    body: bytes


Change = Callable[[Changed, Seen], Changed | Answer]


@contextmanager
def changed(changes: dict[str, Change], served: dict[str, tuple[str, ...]] = SERVED) -> Iterator[Scripted]:
    """A local runtime as SageMaker, some of whose answers are changed: those to the cases of these names."""
    [(_, components), *others] = served.items()
    cases = [
        case for case, why_not in asked(components[0] if components else None, "" if others else None) if not why_not
    ]
    names = ["before all", *(case.name for case in cases for _ in range(case.at_once))]
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
            others = {
                k: v
                for k, v in given.headers.items()
                if k not in ("content-length", "transfer-encoding", "content-type")
            }
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


def with_json(change: Callable[[Any], object]) -> Change:
    def changes(came: Changed, _: Seen) -> Changed:
        answer = json.loads(came.body)
        change(answer)
        return came._replace(body=json.dumps(answer).encode())

    return changes


def as_json_lines(came: Changed, _: Seen) -> Changed:
    return Changed(200, {**came.headers, "content-type": "application/jsonlines"}, came.body.replace(b"data: ", b""))


def with_escaped_quotes(came: Changed, _: Seen) -> Changed:
    """Seen at AWS: the quotes in what is quoted are escaped, or not."""
    quoted = re.compile(rb'(?<=message \\")(.*)(?=\\"\. See)')
    return came._replace(body=quoted.sub(lambda found: found[1].replace(b'\\"', b'\\\\\\"'), came.body))


SENT: list[str] = []  # the authorization headers that the server got


def leaks(came: Changed, seen: Seen) -> Changed:
    """All that a careless server could say, in many ways."""
    token = seen.headers["authorization"].removeprefix("Bearer ")
    SENT.append(token)
    ways = [
        token,
        quote(token),
        base64.b64encode(token.encode()).decode(),
        json.dumps(token).replace("/", "\\/"),
        token[40:70],
    ]
    message = (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/acme-role/jane is not authorized on {ENDPOINT}-config, "
        f"acct{ACCOUNT}x, https://{ACCOUNT}.acme.example/{ENDPOINT}?c=%63%6f%64%65%72-of-acme, key "
        f"{CREDENTIALS.access_key} {CREDENTIALS.secret_key} {CREDENTIALS.session_token} {' '.join(ways)} from 10.1.2.3 "
        f"{Path.home()}/x.py HF_TOKEN=hf_abcdefghijkl request 0d9e5c1a-1111-4222-8333-abcdefabcdef | `x` </td><script>"
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
    "a stream without usage": (as_json_lines, {"content type"}),
    "a tool call": (replaced('{\\"city\\"', '[\\"city\\"'), {
        "value of choices[].message.tool_calls[].function.arguments"}),
    "a tool call, streamed": (replaced('"index":0,"function"', '"place":0,"function"'), {
        "field choices[].delta.tool_calls[].index", "field choices[].delta.tool_calls[].place"}),
    "structured output": (replaced('"created":', '"created":"x","_":'), {"field created", "field _"}),
    "two choices": (with_json(lambda answer: answer["choices"].pop()), {"value of choices"}),
    "four chats at once": (status(429), {"status"}),
    "a stream that is closed early": (replaced("data: ", "event: x\ndata: "), set()),
    "more tokens than the context has": (replaced('with message \\"', 'with the message \\"'), {
        "words", "the container's words"}),
    "a parameter out of range": (with_escaped_quotes, {"the container's words"}),
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
    "a chat after a stream was closed early": (with_json(lambda answer: answer.update(id="x", created=7)), set()),
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
                        CREDENTIALS.session_token, "hf_abcdefghijkl", "0d9e5c1a", "10.1.2.3", "arn:aws"):  # fmt: skip
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
    assert "`x`" not in text


def test_all_alike_and_no_file_is_overwritten(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_text("mine")
    with changed({}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        result = run(*ALL)
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert (tmp_path / FILE).read_text() == "mine"
    written = tmp_path / FILE.replace(".md", "-2.md")
    assert result.stderr.splitlines()[-1] == (
        f"{len(CASES)} cases asked, {len(CASES)} answered alike, 0 with differences. Written to {written}"
    )
    text = written.read_text()
    assert text.count("\nNone.\n") == 2
    assert len(server.seen) == 1 + sum(case.at_once for case in CASES)
    assert f"This sends {len(server.seen)} requests to " in result.stderr
    most = sum(
        body.get("max_tokens", 0) * body.get("n", 1) for body in bodies(server) if body.get("max_tokens") != 10_000_000
    )
    said = re.search(r"at most ([\d,]+) tokens of prompts and ([\d,]+) of answers", result.stderr)
    assert said is not None
    assert int(said[2].replace(",", "")) >= most


def bodies(server: Scripted) -> Iterator[dict[str, Any]]:
    for seen in server.seen:
        try:
            yield seen.json
        except ValueError:
            continue


def test_the_endpoints_name_is_a_common_word(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells which of the words in the file it is."""
    served = {"chat": ("error",)}
    with running(RuntimeConfig(served, CREDENTIALS, REGION)) as runtime:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
        result = run("chat/error", "--region", REGION, "--yes")
    assert result.exit_code == 1
    text = (tmp_path / FILE).read_text()
    assert {what for _, what in rows_of(text, "Differences")} <= {"words", "the container's words"}
    assert "<left out: a name in it is a common word>" in text
    assert "<endpoint>/openai" not in text.partition("## All answers")[0]


def test_nothing_is_written_that_has_something_of_the_users_in_it(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should anything get past what takes it out."""
    monkeypatch.setattr(Redactor, "__call__", lambda redactor, text: text)
    with changed({}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        result = run(*ALL)
    assert result.exit_code == 1
    assert (
        "Error: the report is not written: it would have <component>, <endpoint>, an account id in it" in result.stderr
    )
    assert list(tmp_path.glob("*.md")) == []


def test_an_endpoint_that_does_not_answer(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with changed({"before all": status(403)}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        result = run(*ALL)
    assert result.exit_code == 1
    assert f"Error: {ENDPOINT}/{COMPONENT}: " in result.stderr
    assert len(server.seen) == 1
    assert list(tmp_path.glob("*.md")) == []


@each(
    ("arguments", "said"),
    [
        ([], "name the ENDPOINT (make live ENDPOINT=my-endpoint), or give --deploy (DEPLOY=1)"),
        (["a_b"], "'a_b' is not the name of an endpoint"),
        (["a/b", "--component", "c"], "ENDPOINT names the component 'b' and --component 'c'"),
        (["a", "--component", "c_d"], "'c_d' in 'a/c_d' is not the name of an inference component"),
        (["a", "--embeddings-endpoint", "b_c"], "'b_c' is not the name of an endpoint"),
        (["a", "--region", REGION], "there is no terminal to ask in: give --yes (YES=1)"),
    ],
)
def test_mistakes_in_the_command(
    arguments: list[str], said: str, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    with changed({}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())
    assert server.seen == []


def test_it_asks_before_it_sends_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with changed({}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        with in_terminal([*ALL[:-1]], os.environ, module="tools.live") as terminal:
            terminal.wait_for("Go on? [y/N]")
            assert "This sends " in terminal.screen
            terminal.type("n\r")
            assert terminal.wait_for_the_end() == 1
    assert server.seen == []
    assert list(tmp_path.glob("*.md")) == []


@each(("key", "status"), [("\x04", 130), ("\r", 1)])  # click tells no end of input from Ctrl+C
def test_stopped_at_the_question(key: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with changed({}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        with in_terminal([*ALL[:-1]], os.environ, module="tools.live") as terminal:
            terminal.wait_for("Go on? [y/N]")
            terminal.type(key)
            assert terminal.wait_for_the_end() == status
    assert server.seen == []


def test_the_page_shows_what_is_printed(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    [shown] = [block.output for block in BLOCKS if block.page == PAGE and block.output]
    with changed({"an unknown endpoint": status(404)}, {"my-endpoint": ()}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
        result = run("my-endpoint", "--region", REGION, "--yes")
    printed = iter(re.sub(r"/\S+/live-report-\d{4}-\d\d-\d\d", "<file>", result.output).splitlines())
    for line in re.sub(r"/\S+/live-report-\d{4}-\d\d-\d\d", "<file>", shown).splitlines():
        assert line in ("…", "Go on? [y/N]: y") or line in printed, line


def test_the_page_says_what_each_answer_rests_on() -> None:
    [rows] = tables(PAGE, "What has been seen, and what has not")
    for row, section in zip(rows, dict.fromkeys(case.section for case in CASES), strict=True):
        of_section = [case for case in CASES if case.section == section]
        names = ["; ".join(case.name for case in of_section if case.basis == basis) for basis in BASES]
        assert row == [section, *names]


@each("block", [block for block in BLOCKS if block.page == PAGE and block.language == "bash"], ids=str)
def test_make_gives_the_command_what_the_page_says(block: Block, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
    )
    python.chmod(0o755)
    rows = tables(PAGE, "On a real account")[0]
    variables = {name.partition("=")[0] for row in rows for name in code_in(row[0])}
    more = [f"{name}={name.lower()}-1" for name in sorted(variables) if f"{name}=" not in block.text]
    command = [*shlex.split(block.text), *more, "--silent", f"BIN={tmp_path}", "INSTALLED="]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    arguments, environment = json.loads(printed)
    assert arguments[:2] == ["-m", "tools.live"]
    given = main.make_context("live", arguments[2:]).params
    assert given["target"] == ("my-endpoint" if "ENDPOINT=my" in block.text else "endpoint-1")
    assert (given["component"], given["embeddings"]) == ("component-1", "embeddings_endpoint-1")
    assert (given["region"], given["profile"], given["deploys"], given["yes"]) == (REGION, "profile-1", True, True)
    assert environment["AWS_EC2_METADATA_DISABLED"] == "false"  # an instance's role may have the credentials
