"""The real proxy while calls wait for a component that is scaled to zero: it stops, and waits for no one who left.

Each waits for ten minutes, so that nothing here ends because its time is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.operating.conftest import NO_CAPACITY
from tests.operating.proxies import Proxy, proxy, until
from tests.scripted import Scripted, scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

WAITING = {
    "model_list": [
        {
            "model_name": "asleep",
            "litellm_params": {
                "model": "sagemaker_openai/my-gpus/asleep",
                "litellm_credential_name": "sagemaker",
                "aws_sagemaker_cold_start_timeout": 600,
            },
        }
    ]
}
DRAINING = {"general_settings": {"enable_drain_endpoint": True, "drain_endpoint_token": "made-up"}}
LEAVING = {"general_settings": {"cancel_on_disconnect": True}}
SAYS = "no capacity yet, and this server is stopping and waits no longer"


def in_flight(started: Proxy) -> int:
    """The requests that the proxy is busy with, this question left out."""
    return int(started.get("/health/backlog").json()["in_flight_requests"]) - 1


@contextmanager
def waiting(started: Proxy, sagemaker: Scripted, calls: int = 4) -> Iterator[list[Future[httpx.Response]]]:
    """Calls, whole and streamed, that wait in the proxy."""
    with ThreadPoolExecutor(calls) as threads:
        futures = [threads.submit(started.chat, "asleep", stream=number % 2 == 0) for number in range(calls)]
        for _ in until("all to wait"):
            if sagemaker.seen and in_flight(started) == calls:
                break
        yield futures


def assert_told(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers.get("x-litellm-attempted-retries", "0")) == (503, "0")
    assert SAYS in answer.json()["error"]["message"]


def test_it_stops_when_it_is_told(tmp_path: Path) -> None:
    with scripted(NO_CAPACITY) as sagemaker, proxy(tmp_path, WAITING, sagemaker=sagemaker.url) as started:
        with waiting(started, sagemaker) as calls:
            asked = len(sagemaker.seen)
            started.process.terminate()
            for call in calls:
                assert_told(call.result())
        started.process.wait(60)
        assert len(sagemaker.seen) == asked


def test_it_stops_with_several_workers(tmp_path: Path) -> None:
    with (
        scripted(NO_CAPACITY) as sagemaker,
        proxy(tmp_path, WAITING, sagemaker=sagemaker.url, workers=2) as started,
        ThreadPoolExecutor(6) as threads,
    ):
        calls = [threads.submit(started.chat, "asleep") for _ in range(6)]
        for _ in until("all to wait"):
            if len(sagemaker.seen) >= 3:  # a worker asks every 5 seconds, and there are two
                break
        started.process.terminate()
        for call in calls:
            assert_told(call.result())
        started.process.wait(60)


def test_it_drains_when_it_is_told(tmp_path: Path) -> None:
    with scripted(NO_CAPACITY) as sagemaker, proxy(tmp_path, WAITING, DRAINING, sagemaker=sagemaker.url) as started:
        with waiting(started, sagemaker) as calls:
            drained = started.client.get("/health/drain", headers={"X-Drain-Token": "made-up"})
            for call in calls:
                assert_told(call.result())
        assert drained.json() == {"status": "drained", "drained_requests": 4}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_nobody_waits_for_a_client_that_left(tmp_path: Path, stream: bool) -> None:
    """Where ``cancel_on_disconnect`` says so; without it LiteLLM's proxy does not look whether a client is there."""
    call: dict[str, Any] = {"model": "asleep", "messages": [{"role": "user", "content": "Hello?"}], "stream": stream}
    with scripted(NO_CAPACITY) as sagemaker, proxy(tmp_path, WAITING, LEAVING, sagemaker=sagemaker.url) as started:
        headers = {"Authorization": f"Bearer {started.key}", "Content-Type": "application/json"}
        connection = HTTPConnection(started.client.base_url.host, started.client.base_url.port)
        connection.request("POST", "/v1/chat/completions", json.dumps(call), headers)
        for _ in until("it to wait"):
            if sagemaker.seen:
                break
        assert in_flight(started) == 1
        connection.close()
        for _ in until("the proxy to be idle"):
            if in_flight(started) == 0:
                break
