"""The runtime over real sockets: the front door's answers, both containers, the command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.aws.token import sign_token
from litellm_sagemaker_openai.local import frontdoor, server
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, listen, running

pytestmark = pytest.mark.medium(reason="starts local runtimes")

WIRE = Path(__file__).parents[1] / "wire" / "sagemaker"
REGION = "us-west-2"
CREDENTIALS = FrozenCredentials("AKIDEXAMPLE", "made-up")
CONFIG = RuntimeConfig({"my-endpoint": (), "shared": ("first", "second")}, CREDENTIALS, REGION)
CHAT = "/endpoints/my-endpoint/openai/v1/chat/completions"
FIRST = "/endpoints/shared/inference-components/first/openai/v1/chat/completions"
SECOND = "/endpoints/shared/inference-components/second/openai/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}


def authorization(now: datetime | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {sign_token(CREDENTIALS, REGION, 300, now or datetime.now(timezone.utc))}"}


def wire(name: str) -> tuple[int, str]:
    recorded = json.loads((WIRE / f"{name}.json").read_text())
    return recorded["status"], recorded["body"]


@contextmanager
def client_of(config: RuntimeConfig) -> Iterator[tuple[httpx.Client, Running]]:
    with (
        running(config) as runtime,
        httpx.Client(base_url=runtime.url, headers=authorization(), trust_env=False) as client,
    ):
        yield client, runtime


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with client_of(CONFIG) as (client, _):
        yield client


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    assert uuid.UUID(response.headers["x-amzn-requestid"])
    error: dict[str, Any] = response.json()["error"]
    return error


def events(text: str) -> list[str]:
    return [event.removeprefix("data: ") for event in text.split("\n\n") if event]


class TestFrontDoor:
    @pytest.mark.parametrize("path", [CHAT, FIRST, SECOND])
    def test_serves(self, client: httpx.Client, path: str) -> None:
        response = client.post(path, json=HELLO)
        assert response.status_code == 200
        assert response.json()["choices"][0]["message"]["content"].endswith("You said: hello")
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
        assert uuid.UUID(response.headers["x-amzn-requestid"])

    def test_streams(self, client: httpx.Client) -> None:
        body = {**HELLO, "messages": [{"role": "user", "content": "a\u2028b"}], "stream": True}
        response = client.post(CHAT, json=body)
        *chunks, done = events(response.text)
        assert response.headers["content-type"].startswith("text/event-stream")
        assert done == "[DONE]"
        content = "".join(json.loads(chunk)["choices"][0]["delta"]["content"] for chunk in chunks)
        assert content.endswith("You said: a\u2028b")
        assert "\u2028" in response.text, "characters travel as they are, as vLLM sends them"

    def test_unknown_endpoint(self) -> None:
        with client_of(replace(CONFIG, endpoints={"other": ()})) as (client, _):
            response = client.post(CHAT, json=HELLO)
        assert (response.status_code, response.text) == wire("endpoint_not_found")

    def test_container_error_is_quoted(self) -> None:
        config = replace(CONFIG, echo=EchoConfig(context_length=40960))
        with client_of(config) as (client, _):
            response = client.post(CHAT, json={**HELLO, "max_tokens": 10000000})
        status, body = wire("quoted_vllm_max_tokens")
        assert response.status_code == status
        assert response.text.replace("primary", "Kl6NPmsGIHdsibbMO7hO") == body

    def test_unreadable_container_error(self) -> None:
        container = frontdoor.Container("Kl6NPmsGIHdsibbMO7hO", "my-endpoint", REGION)
        for unreadable in (None, b"\xff"):
            answer = frontdoor.container_error(400, unreadable, container)
            assert (answer.status, answer.body) == wire("quoted_unreadable")

    def test_model_of_another_name_reaches_the_container(self, client: httpx.Client) -> None:
        response = client.post(CHAT, json={**HELLO, "model": "gpt-4"})
        assert response.status_code == 404
        message = error_of(response)["message"]
        assert message.startswith("Received client error (404) from primary with message")
        assert "The model `gpt-4` does not exist." in message

    def test_endpoint_with_components_needs_one(self, client: httpx.Client) -> None:
        response = client.post("/endpoints/shared/openai/v1/chat/completions", json=HELLO)
        assert response.status_code == 400
        assert "Inference Component Name header is required" in error_of(response)["message"]

    @pytest.mark.parametrize("endpoint", ["shared", "my-endpoint"])
    def test_unknown_component(self, client: httpx.Client, endpoint: str) -> None:
        path = f"/endpoints/{endpoint}/inference-components/third/openai/v1/chat/completions"
        response = client.post(path, json=HELLO)
        assert response.status_code == 400
        assert "third" in error_of(response)["message"]

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", CHAT),
            ("GET", "/endpoints/my-endpoint/openai/v1/models"),
            ("POST", "/endpoints/my-endpoint/openai/v1/embeddings"),
            ("POST", "/endpoints/my-endpoint/openai/v1/responses"),
            ("POST", "/"),
        ],
    )
    def test_other_paths(self, client: httpx.Client, method: str, path: str) -> None:
        response = client.request(method, path)
        assert response.status_code == 404
        assert error_of(response)["code"] == "unknown_operation"

    @pytest.mark.parametrize("value", ["first", "", "x"])
    def test_component_header_is_refused(self, client: httpx.Client, value: str) -> None:
        response = client.post(FIRST, json=HELLO, headers={"x-amzn-sagemaker-inference-component": value})
        assert response.status_code == 400
        assert "X-Amzn-SageMaker-Inference-Component" in error_of(response)["message"]

    @pytest.mark.parametrize(("extra", "status"), [(0, 400), (1, 413)])
    def test_body_size(self, client: httpx.Client, extra: int, status: int) -> None:
        response = client.post(CHAT, content=b"{" + b" " * (MAX_BODY_BYTES - 1 + extra))
        assert response.status_code == status

    @pytest.mark.parametrize(
        ("header", "status"),
        [(None, 401), ("Bearer nonsense", 401), ("AWS4-HMAC-SHA256 Credential=x", 403)],
    )
    def test_without_a_good_token(self, client: httpx.Client, header: str | None, status: int) -> None:
        headers = {"authorization": header} if header else {}
        response = httpx.post(str(client.base_url.join(CHAT)), json=HELLO, headers=headers, trust_env=False)
        assert response.status_code == status
        assert error_of(response)["type"] == "authentication_error"

    def test_token_is_judged_by_the_configs_clock(self) -> None:
        now = [datetime(2026, 1, 1, tzinfo=timezone.utc)]
        with client_of(replace(CONFIG, now=lambda: now[0])) as (client, _):
            headers = authorization(now[0])
            assert client.post(CHAT, json=HELLO, headers=headers).status_code == 200
            now[0] += timedelta(seconds=300)
            assert client.post(CHAT, json=HELLO, headers=headers).status_code == 403

    def test_received_is_remembered_without_the_token(self) -> None:
        with client_of(replace(CONFIG, remembered=2)) as (client, runtime):
            for text in ("one", "two", "three"):
                client.post(CHAT, json={"model": text}, headers={"X-Mine": text})
            client.post(CHAT, content=b"no json")
            first, second = runtime.app.state.received
        assert (first.method, first.path, first.body, second.body) == ("POST", CHAT, {"model": "three"}, None)
        assert first.headers["x-mine"] == "three"
        assert "authorization" not in first.headers


class TestColdStart:
    def test_first_request_starts_the_scale_up(self) -> None:
        now = [datetime(2026, 1, 1, tzinfo=timezone.utc)]
        with client_of(replace(CONFIG, cold_start=120, now=lambda: now[0])) as (client, _):

            def status(path: str) -> tuple[int, str]:
                response = client.post(path, json=HELLO, headers=authorization(now[0]))
                return response.status_code, response.text

            assert status(FIRST) == wire("no_capacity")
            now[0] += timedelta(seconds=119)
            assert status(FIRST) == wire("no_capacity")
            assert status(SECOND) == wire("no_capacity")
            now[0] += timedelta(seconds=1)
            assert status(FIRST)[0] == 200
            assert status(SECOND) == wire("no_capacity"), "each component scales up by itself"

    def test_refused_token_starts_nothing(self) -> None:
        now = [datetime(2026, 1, 1, tzinfo=timezone.utc)]
        with client_of(replace(CONFIG, cold_start=1, now=lambda: now[0])) as (client, _):
            assert client.post(FIRST, json=HELLO, headers={"authorization": "Bearer x"}).status_code == 401
            now[0] += timedelta(seconds=2)
            response = client.post(FIRST, json=HELLO, headers=authorization(now[0]))
        assert (response.status_code, response.text) == wire("no_capacity")


@contextmanager
def client_before(handler: Any, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a runtime before an OpenAI-compatible server that answers with ``handler``, both on real sockets."""
    app = Starlette(routes=[Route("/v1/chat/completions", handler, methods=["POST"])])
    with ExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr(server, "create_app", lambda _: app)
            upstream = stack.enter_context(running(CONFIG))
        client, _ = stack.enter_context(client_of(replace(CONFIG, upstream=f"{upstream.url}/v1", **settings)))
        yield client


class TestUpstream:
    def test_passes_body_and_answer_through(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[bytes, dict[str, str]]] = []

        async def handler(request: Request) -> Response:
            seen.append((await request.body(), dict(request.headers)))
            return Response(b'{"odd":  "spacing"}', media_type="application/json")

        raw = b'{ "model": "anything", "messages": [] }'
        with client_before(handler, monkeypatch) as client:
            response = client.post(CHAT, content=raw, headers={"content-type": "application/json"})
        assert response.content == b'{"odd":  "spacing"}'
        assert response.headers["content-type"] == "application/json"
        assert seen[0][0] == raw
        assert "authorization" not in seen[0][1]

    def test_bytes_come_as_they_are_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        second_may_come = threading.Event()

        def pieces() -> Iterator[bytes]:  # in a thread of Starlette's, where waiting is allowed
            yield b"data: 1\n\n"
            assert second_may_come.wait(10)
            yield b"data: [DONE]\n\n"

        async def handler(request: Request) -> Response:
            return StreamingResponse(pieces(), media_type="text/event-stream")

        with (
            client_before(handler, monkeypatch) as client,
            client.stream("POST", CHAT, json=HELLO) as response,
        ):
            arrived = response.iter_raw()
            assert next(arrived) == b"data: 1\n\n"
            second_may_come.set()
            assert b"".join(arrived) == b"data: [DONE]\n\n"

    @pytest.mark.parametrize(("status", "kind"), [(400, "client"), (429, "client"), (500, "server"), (503, "server")])
    def test_errors_are_quoted(self, monkeypatch: pytest.MonkeyPatch, status: int, kind: str) -> None:
        async def handler(request: Request) -> Response:
            return JSONResponse({"error": "overloaded"}, status_code=status)

        with client_before(handler, monkeypatch) as client:
            response = client.post(CHAT, json=HELLO)
        error = error_of(response)
        assert response.status_code == status
        quoted = f'Received {kind} error ({status}) from primary with message "{{"error":"overloaded"}}". See https://'
        assert error["message"].startswith(quoted)
        assert (error["type"], error["code"]) == ("server_error", "model_error")

    def test_broken_stream_arrives_broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Broken(StreamingResponse):
            async def stream_response(self, send: Any) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})

        async def nothing() -> AsyncIterator[bytes]:
            return
            yield b""

        async def handler(request: Request) -> Response:
            return Broken(nothing(), media_type="text/event-stream")

        with (
            client_before(handler, monkeypatch) as client,
            client.stream("POST", CHAT, json=HELLO) as response,
        ):
            arrived = response.iter_raw()
            assert next(arrived) == b"data: 1\n\n"
            with pytest.raises(httpx.RemoteProtocolError):
                next(arrived)

    def test_upstream_is_told_when_the_client_goes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stopped = threading.Event()

        async def endless() -> AsyncIterator[bytes]:
            try:
                yield b"data: 1\n\n"
                await anyio.sleep_forever()
            finally:
                stopped.set()

        async def handler(request: Request) -> Response:
            return StreamingResponse(endless(), media_type="text/event-stream")

        with client_before(handler, monkeypatch) as client:
            with client.stream("POST", CHAT, json=HELLO) as response:
                assert next(response.iter_raw()) == b"data: 1\n\n"
            assert stopped.wait(10)

    def test_has_no_limit_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """httpx opens 100 connections unless it is told otherwise: the upstream answers when 150 have asked."""
        streams, asked, all_asked = 150, [0], threading.Event()

        async def handler(request: Request) -> Response:
            asked[0] += 1  # in the event loop alone
            if asked[0] == streams:
                all_asked.set()
            while not all_asked.is_set():
                await anyio.sleep(0.01)
            return Response(b"data: [DONE]\n\n", media_type="text/event-stream")

        async def ask_all(client: httpx.Client) -> list[int]:
            limits, headers = httpx.Limits(), client.headers
            async with httpx.AsyncClient(base_url=client.base_url, headers=headers, limits=limits, timeout=30) as own:
                answers = await asyncio.gather(*(own.post(CHAT, json=HELLO) for _ in range(streams)))
            return [answer.status_code for answer in answers]

        with client_before(handler, monkeypatch) as client:
            assert asyncio.run(ask_all(client)) == [200] * streams

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_container_that_takes_longer_than_sagemaker_waits(
        self, monkeypatch: pytest.MonkeyPatch, stream: bool
    ) -> None:
        async def handler(request: Request) -> Response:
            await anyio.sleep_forever()
            raise AssertionError

        with client_before(handler, monkeypatch, answer_seconds=0.2) as client:
            response = client.post(CHAT, json={**HELLO, "stream": stream})
        assert response.status_code == 424
        said = error_of(response)["message"]
        assert said.startswith('Received server error (0) from primary with message "Your invocation timed out while')
        assert "in account 123456789012" in said

    @pytest.mark.parametrize("limits", [{"answer_seconds": 1.5}, {"stream_seconds": 1.5}], ids=["whole", "stream"])
    def test_an_answer_that_is_not_whole_in_time_is_cut_off(
        self, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float]
    ) -> None:
        """A stream may go on for longer than the limit for its first byte, and for no longer than its own."""

        async def endless() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await anyio.sleep_forever()

        async def handler(request: Request) -> Response:
            return StreamingResponse(endless(), media_type="text/event-stream")

        question = {**HELLO, "stream": "stream_seconds" in limits}
        with (
            client_before(handler, monkeypatch, **limits) as client,
            client.stream("POST", CHAT, json=question) as response,
        ):
            arrived = response.iter_raw()
            assert next(arrived) == b"data: 1\n\n"
            with pytest.raises(httpx.RemoteProtocolError):
                next(arrived)

    def test_unreachable(self) -> None:
        closed = listen("127.0.0.1", 0)
        upstream = f"{server.url_of(closed)}/v1"
        closed.close()
        with client_of(replace(CONFIG, upstream=upstream)) as (client, _):
            response = client.post(CHAT, json=HELLO)
        assert response.status_code == 503
        assert error_of(response)["code"] == "model_error"


class TestServer:
    def test_stops_while_a_client_is_connected(self) -> None:
        with client_of(CONFIG) as (client, runtime):
            assert client.post(CHAT, json=HELLO).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.post(f"{runtime.url}{CHAT}", json=HELLO, trust_env=False)

    def test_port_in_use(self) -> None:
        with (
            running(CONFIG) as runtime,
            pytest.raises(OSError, match="in use"),
            running(CONFIG, port=int(runtime.url.rpartition(":")[2])),
        ):
            pass

    def test_start_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def broken(self: Any, sockets: Any = None) -> None:
            raise ValueError("no")

        monkeypatch.setattr("uvicorn.Server.startup", broken)
        with pytest.raises(RuntimeError, match="did not start"), running(CONFIG):
            pass


COMMAND = [sys.executable, "-c", "from litellm_sagemaker_openai.cli import main; main()"]
ROOT = Path(__file__).parents[2]


def environment(**variables: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**clean, "PYTHONPATH": str(ROOT), "NO_PROXY": "*", **variables}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(**variables), capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def started(*arguments: str, **variables: str) -> Iterator[dict[str, str]]:
    """What a ``local --port 0`` tells the shell to export; it is interrupted at the end, and must take that well."""
    process = subprocess.Popen(
        [*COMMAND, "local", "--port", "0", *arguments],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    exported = {}
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                exported[name] = value
            elif line.startswith("# Ready"):
                break
        yield exported
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "", "")


def post(exported: dict[str, str], path: str, credentials: FrozenCredentials) -> httpx.Response:
    token = sign_token(credentials, exported["AWS_REGION"], 300, datetime.now(timezone.utc))
    url = f"{exported['AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME']}{path}"
    return httpx.post(url, json=HELLO, headers={"Authorization": f"Bearer {token}"}, trust_env=False)


class TestCommand:
    def test_help_is_light(self) -> None:
        code = (
            "import sys; from litellm_sagemaker_openai.cli import main;"
            "main(['local', '--help'], standalone_mode=False);"
            "print({'litellm', 'starlette', 'uvicorn', 'httpx', 'botocore'} & sys.modules.keys())"
        )
        finished = subprocess.run(
            [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60, check=True
        )
        assert "--cold-start" in finished.stdout
        assert "--answer-limit" in finished.stdout
        assert finished.stdout.endswith("set()\n")

    def test_version(self) -> None:
        assert run("--version").stdout.startswith("litellm-sagemaker-openai, version ")

    def test_made_up_credentials_are_told(self) -> None:
        with started() as exported:
            credentials = FrozenCredentials(exported["AWS_ACCESS_KEY_ID"], exported["AWS_SECRET_ACCESS_KEY"])
            assert post(exported, CHAT, credentials).status_code == 200
        assert exported["AWS_REGION"] == "us-west-2"

    def test_own_credentials_are_used_and_not_told(self) -> None:
        own = {"AWS_ACCESS_KEY_ID": "AKIDOWN", "AWS_SECRET_ACCESS_KEY": "own", "AWS_SESSION_TOKEN": "session"}
        with started("shared/first", "shared/second", "--cold-start", "0", AWS_REGION="eu-west-1", **own) as exported:
            assert post(exported, SECOND, FrozenCredentials("AKIDOWN", "own", "session")).status_code == 200
            assert post(exported, SECOND, FrozenCredentials("AKIDOWN", "own")).status_code == 403
        assert exported.keys() == {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "AWS_REGION"}
        assert exported["AWS_REGION"] == "eu-west-1"

    def test_context_length(self) -> None:
        with started("--context-length", "5") as exported:
            credentials = FrozenCredentials(exported["AWS_ACCESS_KEY_ID"], exported["AWS_SECRET_ACCESS_KEY"])
            refusal = post(exported, CHAT, credentials)
        assert refusal.status_code == 400
        assert "This model's maximum context length is 5 tokens." in refusal.text

    def test_several_instances(self) -> None:
        arguments = "--routing", "prefix-aware", "--prefix-length", "2048", "--concurrency-threshold", "5"
        with started("--instances", "3", *arguments) as exported:
            credentials = FrozenCredentials(exported["AWS_ACCESS_KEY_ID"], exported["AWS_SECRET_ACCESS_KEY"])
            answered = {post(exported, CHAT, credentials).headers["x-local-instance"] for _ in range(5)}
        assert len(answered) == 1

    @pytest.mark.parametrize(
        ("arguments", "names"),
        [
            (["-bad"], "-b"),
            (["bad_name"], "letters, digits and hyphens"),
            (["a" * 64], "63 characters"),
            (["a/b/c"], "ENDPOINT/COMPONENT"),
            (["a/"], "ENDPOINT/COMPONENT"),
            (["a", "a/b"], "with and without a component"),
            (["--upstream", "127.0.0.1:8000"], "http://"),
            (["--cold-start", "-1"], "--cold-start"),
            (["--port", "70000"], "--port"),
            (["--context-length", "0"], "--context-length"),
        ],
    )
    def test_wrong_arguments(self, arguments: list[str], names: str) -> None:
        finished = run("local", *arguments)
        assert finished.returncode == 2
        assert names in " ".join(finished.stderr.split())
        assert "Traceback" not in finished.stderr

    def test_half_of_the_credentials(self) -> None:
        finished = run("local", AWS_ACCESS_KEY_ID="AKID")
        assert finished.returncode == 2
        assert "AWS_SECRET_ACCESS_KEY is not set" in finished.stderr

    def test_port_in_use(self) -> None:
        with listen("127.0.0.1", 0) as taken:
            port = taken.getsockname()[1]
            finished = run("local", "--port", str(port))
        assert finished.returncode == 1
        assert finished.stderr.startswith(f"Error: cannot listen on 127.0.0.1:{port}: ")
        assert "Traceback" not in finished.stderr

    @pytest.mark.parametrize("missing", ["starlette", "uvicorn", "yaml"])
    def test_missing_extra(self, missing: str, tmp_path: Path) -> None:
        script = tmp_path / "script.yaml"
        script.touch()
        code = f"import sys; sys.modules['{missing}'] = None; from litellm_sagemaker_openai.cli import main; main()"
        finished = subprocess.run(
            [sys.executable, "-c", code, "local", "--script", str(script)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert finished.returncode == 1
        assert "pip install 'litellm-sagemaker-openai[proxy]'" in finished.stderr
        assert "Traceback" not in finished.stderr
