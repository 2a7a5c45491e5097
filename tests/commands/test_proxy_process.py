"""LiteLLM's proxy as a process of a command's own: who may do what with it, how it ends, and why it does not start."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner

from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.commands import proxy_process
from litellm_sagemaker_openai.commands.config import Served, proxy_config
from litellm_sagemaker_openai.commands.proxy_process import failure_in, proxy_environment, running_proxy
from litellm_sagemaker_openai.commands.served_routes import has_key, is_served
from litellm_sagemaker_openai.target import Target
from tests.conftest import REGION
from tests.operating.proxies import until

ROOT = Path(__file__).parents[2]
CONFIG = proxy_config({Target("my-endpoint"): Served()}, region=REGION)


@pytest.fixture(autouse=True)
def _this_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the child imports is what is tested, also where another one is installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize(
    ("route", "served"),
    [
        ("POST /v1/chat/completions", True),
        ("POST /chat/completions", True),
        ("POST /v1/messages", True),
        ("POST /v1/messages/count_tokens", True),
        ("POST /v1/responses", True),
        ("POST /v1/embeddings", True),
        ("POST /v1/responses/compact", False),  # LiteLLM has it for no custom provider
        ("GET /v1/models", True),
        ("GET /health/readiness", True),
        ("GET /health", False),
        ("GET /v1/chat/completions", False),
        ("OPTIONS /v1/chat/completions", False),
        ("POST /v1/chat/completions/", False),
        ("POST /v1/chat/completions\n", False),
        ("POST /bedrock/model/x/converse", False),
        ("POST /config/update", False),
        ("POST /model/new", False),
        ("POST /mcp-rest/test/connection", False),
        ("GET /ui", False),
        ("GET /", False),
    ],
)
def test_the_routes_that_there_are(route: str, served: bool) -> None:
    assert is_served(*route.split(" ", 1)) is served


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ([(b"authorization", b"Bearer sk-1")], True),
        ([(b"authorization", b"bearer sk-1")], True),
        ([(b"x-api-key", b"sk-1")], True),
        ([(b"authorization", b"Bearer nothing"), (b"x-api-key", b"sk-1")], True),
        ([(b"authorization", b"Bearer sk-12")], False),
        ([(b"authorization", b"Bearer ")], False),
        ([(b"authorization", b"sk-1")], False),
        ([(b"authorization", b"Bearer \xff")], False),
        ([], False),
    ],
)
def test_who_has_the_key(headers: list[tuple[bytes, bytes]], accepted: bool) -> None:
    assert has_key(headers, "sk-1") is accepted


def test_what_the_proxy_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aws.ini").touch()
    monkeypatch.chdir(tmp_path)
    users = {
        "DATABASE_URL": "postgresql://host/db",
        "CONFIG_FILE_PATH": "other.yaml",
        "LITELLM_SALT_KEY": "salt",
        "LITELLM_CONFIG_BUCKET_NAME": "bucket",
        "STORE_MODEL_IN_DB": "True",
        "REDIS_HOST": "host",
        "PROMETHEUS_MULTIPROC_DIR": "/tmp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://host",
        "SERVER_ROOT_PATH": "/x",
    }
    kept = {"AWS_PROFILE": "me", "PATH": "/bin", "HTTPS_PROXY": "http://proxy", "AWS_SHARED_CREDENTIALS_FILE": "~/x"}
    passed = proxy_environment({**users, **kept, "AWS_CONFIG_FILE": "aws.ini"}, "sk-key", "WARNING")
    assert {name: passed.pop(name) for name in kept} == kept
    assert passed == {
        "AWS_CONFIG_FILE": str(tmp_path / "aws.ini"),  # it runs elsewhere
        "LITELLM_MASTER_KEY": "sk-key",
        "LITELLM_LOG": "WARNING",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (["Traceback (most recent call last):", "  File", "ValueError: no", "ERROR:  exiting"], "ValueError: no"),
        (["a.b.CustomError: first", "During handling …", "a.b.KeyError: 'x'", ""], "KeyError: 'x'"),
        (["stopped", ""], "stopped"),
        ([], ""),
    ],
)
def test_why_it_ended(log: list[str], reason: str) -> None:
    assert failure_in(deque(log)) == reason


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are, of this process and of others that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a module in the place of LiteLLM's proxy, for what is not LiteLLM's: it takes ten seconds to start."""

    def make(source: str) -> None:
        package = tmp_path / "instead" / "litellm" / "proxy"
        package.mkdir(parents=True)
        for folder in (package, package.parent):
            (folder / "__init__.py").touch()
        (package / "proxy_server.py").write_text(textwrap.dedent(source))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "instead"), str(ROOT)]))

    return make


# Ready at once; its streams never end.
APP = """
    import asyncio

    async def app(scope, receive, send):
        while scope["type"] == "lifespan":
            await send({"type": (await receive())["type"] + ".complete"})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        stream = scope["method"] == "POST"
        await send({"type": "http.response.body", "body": b"begun", "more_body": stream})
        if stream:
            await asyncio.sleep(600)
    """


def test_a_port_that_is_taken(temporary: Path) -> None:
    """It is said at once: nothing is loaded before."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = rf"^cannot listen on 127\.0\.0\.1:{port}: Address already in use$"
        with pytest.raises(click.ClickException, match=said), running_proxy(CONFIG, ["m"], port=port):
            pass
    assert list(temporary.iterdir()) == []


def test_a_missing_requirement(stand_in: Callable[[str], None]) -> None:
    stand_in("import nothing_of_that_name")
    said = r"^nothing_of_that_name is missing; install it with: pip install 'litellm-sagemaker-openai\[proxy\]'$"
    with pytest.raises(click.ClickException, match=said), running_proxy(CONFIG, ["m"]):
        pass


def test_a_proxy_that_does_not_start(stand_in: Callable[[str], None], temporary: Path) -> None:
    stand_in("import os\n\nraise ValueError(f'no: {os.environ[\"LITELLM_MASTER_KEY\"]}')")
    said = r"^LiteLLM's proxy did not start: ValueError: no: sk-…$"
    with pytest.raises(click.ClickException, match=said), running_proxy(CONFIG, ["m"], key="sk-secret"):
        pass
    assert list(temporary.iterdir()) == []


def test_a_configuration_that_only_the_user_can_read(stand_in: Callable[[str], None], temporary: Path) -> None:
    """And it is gone once the proxy has read it."""
    stand_in(
        """
        import os, pathlib
        file = pathlib.Path(os.environ["CONFIG_FILE_PATH"])
        print(*(oct(each.stat().st_mode & 0o777) for each in (file, file.parent)), flush=True)
        """
        + textwrap.dedent(APP).replace("\n", "\n        ")
    )
    with running_proxy(CONFIG, ["m"]) as proxy:
        assert "0o600 0o700" in proxy.log
        assert [list(each.iterdir()) for each in temporary.iterdir()] == [[]]
        assert proxy.key not in repr(proxy)
        commands = Path(f"/proc/{proxy.process.pid}/cmdline")
        assert not commands.exists() or b"sk-" not in commands.read_bytes()
    assert list(temporary.iterdir()) == []


def test_it_ends_at_once_with_a_stream_in_flight(stand_in: Callable[[str], None]) -> None:
    stand_in(APP)
    with ExitStack() as clients:
        with running_proxy(CONFIG, ["m"]) as proxy:
            body = clients.enter_context(stream(proxy.url, proxy.key))
            assert next(body) == b"begun"
        with pytest.raises(httpx.RemoteProtocolError):
            next(body)
    assert proxy.process.poll() == 0


def test_it_runs_on_pythons_own_event_loop(stand_in: Callable[[str], None]) -> None:
    """See ``_LOOP`` in proxy_child.py; uvloop is installed where the proxy's requirements are."""
    stand_in(APP.replace('b"begun"', "type(asyncio.get_running_loop()).__module__.encode()"))
    with (
        running_proxy(CONFIG, ["m"]) as proxy,
        ExitStack() as clients,
    ):
        assert next(clients.enter_context(stream(proxy.url, proxy.key))).startswith(b"asyncio.")


@contextmanager
def stream(url: str, key: str) -> Iterator[Iterator[bytes]]:
    with (
        httpx.Client(trust_env=False, headers={"x-api-key": key}) as client,
        client.stream("POST", f"{url}/v1/chat/completions") as response,
    ):
        yield response.iter_raw()


PROGRAM = f"""
import time
from litellm_sagemaker_openai.commands.proxy_process import running_proxy
with running_proxy({CONFIG!r}, ["m"], key="sk-key") as proxy:
    print(proxy.process.pid, proxy.url, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_with_its_parent(how: signal.Signals, stand_in: Callable[[str], None], temporary: Path) -> None:
    stand_in(APP)
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, url = parent.stdout.readline().split()
        assert os.getpgid(int(pid)) != os.getpgid(parent.pid)  # the terminal's Ctrl-C is not for it
        with stream(url, "sk-key") as body:
            assert next(body) == b"begun"
            parent.send_signal(how)
            with pytest.raises(httpx.RemoteProtocolError):
                next(body)
    for _ in until("the folder to go"):
        if list(temporary.iterdir()) == []:
            break


def test_a_proxy_that_is_killed(stand_in: Callable[[str], None]) -> None:
    stand_in(APP)
    with running_proxy(CONFIG, ["m"]) as proxy:
        proxy.process.kill()
        assert proxy.failure() == "signal 9 ended it"


def test_a_proxy_that_ends_by_itself(stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """``serve`` says why, by its log, and so does ``launch``."""
    last = '\n        print("MemoryError: no room", flush=True)\n        os._exit(1)\n'
    stand_in("\n    import os" + APP.rstrip() + last)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://127.0.0.1:9")
    result = CliRunner().invoke(main, ["serve", "my-endpoint", "--port", "0"])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        1,
        "Error: LiteLLM's proxy ended: MemoryError: no room",
    )


def test_a_disk_that_is_full(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(proxy_process, "write_private", full)
    said = "^cannot write a temporary file, see TMPDIR: No space left on device$"
    with pytest.raises(click.ClickException, match=said), running_proxy(CONFIG, ["m"]):
        pass
    assert list(temporary.iterdir()) == []


def test_a_log_that_nobody_reads_any_more(stand_in: Callable[[str], None]) -> None:
    """More of it than a pipe holds: the proxy goes on."""
    chatty = APP.replace("stream = ", "print(100_000 * 'x' + chr(10), flush=True)\n        stream = ")
    stand_in(chatty)

    def closed(line: str) -> None:
        raise BrokenPipeError

    with running_proxy(CONFIG, ["m"], log=closed, log_level="INFO") as proxy:
        for _ in range(3):
            assert httpx.get(f"{proxy.url}/health/readiness", timeout=20, trust_env=False).text == "begun"
