"""LiteLLM's proxy as a process of its own on this machine, for as long as a command runs."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import click

from litellm_sagemaker_openai.commands.common import printable

# What the child says, and what it reads.
LISTENING, FAILED = "listens on ", "failed: "
CONFIG_FILE = "config.yaml"
_START_SECONDS = 180.0  # a slow disk takes a minute to load LiteLLM
_STOP_SECONDS = 5.0
_KEPT_LINES = 500
_CHILD = "litellm_sagemaker_openai.commands.proxy_child"
_QUIET = ("WARNING", "ERROR", "CRITICAL")

# What would make it another proxy than the one that is meant: its configuration and key, a database, Redis, a path of
# its own, tracing, servers beside it. All that LiteLLM reads: https://docs.litellm.ai/docs/proxy/config_settings
_NOT_PASSED = re.compile(
    r"LITELLM_.*|DATABASE_.*|DIRECT_URL|IAM_TOKEN_DB_AUTH|AZURE_POSTGRESQL_AUTH|PGBOUNCER.*|REDIS_.*"
    r"|CONFIG_FILE_PATH|WORKER_CONFIG|STORE_\w+|USE_AWS_KMS|USE_PRISMA\w*|SERVER_ROOT_PATH|PROXY_BASE_URL"
    r"|JSON_LOGS|DETAILED_DEBUG|DEBUG|NUM_WORKERS|WEB_CONCURRENCY|PROMETHEUS_\w+|prometheus_multiproc_dir"
    r"|OTEL_.*|DD_.*|PYROSCOPE_.*|SLACK_WEBHOOK_URL|SMTP_.*|SEPARATE_HEALTH_APP|FIPS_MODE|MASTER_KEY"
)
# Files whose names a user may have written from where the command runs, which is not where the proxy does.
_FILES = (
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CERTIFICATE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
# Before an exception's name, in the last line of a traceback.
_EXCEPTION = re.compile(r"(?:\w+\.)*(?=\w*(?:Error|Exception|Exit|Interrupt): \S)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that answers.

    Attributes:
        url: its base URL, such as ``http://127.0.0.1:4000``; OpenAI's clients need ``/v1`` after it.
        key: what a client gives as its API key.
        models: the names that callers ask for.
        folder: one that only the user may enter, and that ends with the proxy.
        process: it; ``poll`` tells whether it still runs.
    """

    url: str
    key: str = field(repr=False)
    models: tuple[str, ...]
    folder: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    _reader: _LogReader = field(repr=False)

    @property
    def log(self) -> Sequence[str]:
        """The last lines of its log."""
        return self._reader.lines

    def failure(self) -> str:
        """Why the process ended, in a line: waits for its end, and then for the end of its log."""
        status = self.process.wait()
        if status < 0:
            return f"signal {-status} ended it"
        self._reader.join()
        return failure_in(self.log) or f"status {status}"


def random_key() -> str:
    """A key that nobody guesses."""
    return f"sk-{secrets.token_hex(32)}"


@contextmanager
def running_proxy(
    config: str,
    models: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
    log_level: str = "WARNING",
    log: Callable[[str], None] | None = None,
) -> Iterator[Proxy]:
    """LiteLLM's proxy, from when it answers until the context is left, which ends it at once.

    It has no more than the routes that ask a model (``served_routes``). It does not get the terminal's Ctrl-C, ends
    when this process does, whatever ends that, and leaves no file.

    Args:
        config: its configuration, as YAML. The key is ``os.environ/LITELLM_MASTER_KEY`` there.
        models: the names that callers ask for.
        host: the address to listen on.
        port: the port; 0: a free one.
        key: the clients' key. None: a random one.
        log_level: LiteLLM's ``LITELLM_LOG``, such as ``WARNING``.
        log: takes each line of its log, in another thread; those of its start only with ``DEBUG`` and ``INFO``.

    Raises:
        click.ClickException: the port is taken, the proxy's requirements are not installed, or it does not start.
    """
    key = key or random_key()
    with _folder_with(config) as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", _CHILD, host, str(port), folder],
            env=proxy_environment(os.environ, key, log_level),
            # LiteLLM imports also from here and from two folders up (proxy_server.py, 1.106.2), and the user's folder
            # may be a clone of anybody's repository.
            cwd=os.path.abspath(os.sep),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        reader = _LogReader(process, key)
        try:
            url = reader.url()
            pass_on = log or _nowhere
            reader.start(pass_on if log_level not in _QUIET else _nowhere)
            proxy = Proxy(url, key, tuple(models), Path(folder), process, reader)
            _wait_until_ready(proxy)
            reader.pass_on = pass_on
            Path(folder, CONFIG_FILE).unlink()
            yield proxy
        finally:
            _end(process)
            reader.close()


def proxy_environment(environ: Mapping[str, str], key: str, log_level: str) -> dict[str, str]:
    """The proxy's environment: the user's, without what would change what the proxy is."""
    passed = {name: value for name, value in environ.items() if not _NOT_PASSED.fullmatch(name)}
    for name in _FILES:
        if os.path.exists(passed.get(name, "")):
            passed[name] = os.path.abspath(passed[name])
    return {
        **passed,
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOG": log_level,
        "LITELLM_MODE": "PRODUCTION",  # reads no .env file
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # downloads no price list
        "PYTHONUNBUFFERED": "1",
    }


def failure_in(log: Sequence[str]) -> str:
    """What a log says at its end of why the process ended: the last exception, or the last line."""
    lines = [printable(line).strip() for line in log]
    exceptions = [line[match.end() :] for line in lines if (match := _EXCEPTION.match(line))]
    return (exceptions or [line for line in lines if line] or [""])[-1]


class _LogReader:
    """Reads what the process writes, so that it is never held up; without the key."""

    def __init__(self, process: subprocess.Popen[bytes], key: str) -> None:
        assert process.stdout is not None
        self._process, self._output, self._key = process, process.stdout, key
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.pass_on: Callable[[str], None] = _nowhere
        self._thread = threading.Thread(target=self._read, name="proxy-log", daemon=True)

    def url(self) -> str:
        """Where the process says that it listens.

        Raises:
            click.ClickException: it does not.
        """
        for line in _lines(self._output, self._key):
            self.lines.append(line)
            if line.startswith(LISTENING):
                return line.removeprefix(LISTENING)
            if line.startswith(FAILED):
                raise click.ClickException(line.removeprefix(FAILED))
        raise click.ClickException(f"LiteLLM's proxy did not start: {failure_in(self.lines)}")

    def start(self, pass_on: Callable[[str], None]) -> None:
        self.pass_on = pass_on
        self._thread.start()

    def join(self) -> None:
        """Wait for the last line of a process that ended."""
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    def close(self) -> None:
        """After the process ended."""
        self.join()
        if not self._thread.is_alive():  # a program that the process started may have its output still
            self._output.close()

    def _read(self) -> None:
        for line in _lines(self._output, self._key):
            self.lines.append(line)
            with suppress(OSError, ValueError):  # whoever read it is gone; the process must not be held up by that
                self.pass_on(line)


def _lines(output: IO[bytes], key: str) -> Iterator[str]:
    for line in output:
        yield line.decode(errors="replace").rstrip().replace(key, "sk-…")


def _nowhere(line: str) -> None:
    """For lines that nobody wants."""


@contextmanager
def _folder_with(config: str) -> Iterator[str]:
    """A folder that only its owner may enter, with the configuration."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(TemporaryDirectory(prefix="litellm-sagemaker-", ignore_cleanup_errors=True))
            write_private(Path(folder, CONFIG_FILE), config)
        except OSError as error:
            raise click.ClickException(f"cannot write a temporary file, see TMPDIR: {error.strerror}") from error
        yield folder


def write_private(file: Path, text: str) -> None:
    """Write a new file that only the user can read."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(text)


def _wait_until_ready(proxy: Proxy) -> None:
    """It listens already, so that one request waits for its answer as long as LiteLLM takes to load."""
    import httpx  # here, so that help is fast

    try:
        with httpx.Client(trust_env=False, timeout=_START_SECONDS) as client:
            client.get(f"{proxy.url}/health/readiness").raise_for_status()
    except httpx.HTTPError as error:
        with suppress(subprocess.TimeoutExpired):
            proxy.process.wait(_STOP_SECONDS)
        if proxy.process.poll() is None:
            raise click.ClickException(f"LiteLLM's proxy is not ready: {error}") from error
        failure = proxy.failure()
        said = next((line.removeprefix(FAILED) for line in proxy.log if line.startswith(FAILED)), "")
        raise click.ClickException(said or f"LiteLLM's proxy did not start: {failure}") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it at once: it does not wait for the streams that are in flight."""
    assert process.stdin is not None
    process.stdin.close()  # which is what it waits for
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
