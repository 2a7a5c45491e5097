"""The real proxy is told to stop, or killed, while a stream is open: what its client sees, and what new ones do.

test_stopping.py has calls that wait for a component scaled to zero.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.operating.proxies import Proxy, config, proxy, until
from tests.scripted import Answer, Seen, chunk, scripted, sse, usage_chunk

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

CONFIG = {
    "model_list": [
        {
            "model_name": "chat",
            "litellm_params": {"model": "sagemaker_openai/my-endpoint", "litellm_credential_name": "sagemaker"},
        }
    ],
    "router_settings": {"num_retries": 0},
}


@dataclass(frozen=True)
class Streaming:
    """A proxy with a stream that has begun and ends when ``finish`` is set; its client gives the text, once whole."""

    proxy: Proxy
    stream: Future[str]
    finish: threading.Event


@contextmanager
def streaming(folder: Path, workers: int = 1) -> Iterator[Streaming]:
    finish, begun = threading.Event(), threading.Event()

    def script(seen: Seen) -> Answer:
        def pieces() -> Iterator[bytes]:
            yield sse(chunk({"role": "assistant", "content": "begun"}), done=False)
            finish.wait(60)
            yield sse(chunk({"content": ", ended"}), chunk({}, finish="stop"), usage_chunk(11, 7))

        return Answer(pieces())

    def ask(started: Proxy) -> str:
        """The text that the OpenAI SDK gives."""
        text = ""
        with httpx.Client(trust_env=False, timeout=60) as client:
            sdk = openai.OpenAI(base_url=f"{started.url}/v1", api_key=started.key, http_client=client)
            for each in sdk.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "Hi"}], stream=True
            ):
                text += (each.choices[0].delta.content or "") if each.choices else ""
                begun.set()
        return text

    with (
        scripted(script) as sagemaker,
        proxy(
            folder,
            CONFIG,
            config("stopping.yaml"),
            sagemaker=sagemaker.url,
            workers=workers,
            environment={"DRAIN_ENDPOINT_TOKEN": "made-up"},
        ) as started,
        ThreadPoolExecutor(1) as threads,
    ):
        stream = threads.submit(ask, started)
        assert begun.wait(60)
        try:
            yield Streaming(started, stream, finish)
        finally:
            finish.set()


def new_connection(started: Proxy) -> socket.socket:
    host, port = started.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_draining_then_stopping_then_killed(tmp_path: Path) -> None:
    with streaming(tmp_path) as running, ThreadPoolExecutor(1) as threads:
        get: Any = running.proxy.client.get
        drained = threads.submit(get, "/health/drain", headers={"X-Drain-Token": "made-up"})
        for _ in until("the proxy to say so"):
            if running.proxy.get("/health/readiness").status_code == 503:
                break
        assert running.proxy.get("/health/liveliness").status_code == 503
        assert running.proxy.get("/v1/models").status_code == 200  # it is still there for who asks
        assert not drained.done()

        running.proxy.process.terminate()
        for _ in until("the listener to be closed"):
            try:
                new_connection(running.proxy).close()
            except ConnectionRefusedError:
                break
        assert running.proxy.process.poll() is None
        assert not running.stream.done()

        running.proxy.process.kill()  # when the grace period is over
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            running.stream.result()


def test_several_workers_finish_streams_and_leave_new_connections_waiting(tmp_path: Path) -> None:
    """The parent process keeps the socket open until its workers have ended, and none of them takes from it."""
    with streaming(tmp_path, workers=2) as running:
        running.proxy.process.terminate()
        for _ in until("both workers to stop listening"):
            if running.proxy.log.count("Shutting down") == 2:
                break
        with new_connection(running.proxy) as connection:
            connection.sendall(b"GET /health/liveliness HTTP/1.1\r\nHost: proxy\r\n\r\n")
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            assert not running.stream.done()
            running.finish.set()
            assert running.stream.result() == "begun, ended"
            running.proxy.process.wait(60)
            connection.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
