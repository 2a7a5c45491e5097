"""The pool of connections in the real proxy, with 5 connections in place of 500, as docs/concurrency.md has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.operating.bedrock import GPT_OSS, bedrock
from tests.operating.proxies import Proxy, config, proxy, text_of, until
from tests.scripted import Answer, Scripted, Seen, chunk, scripted, sse, usage_chunk

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

CONNECTIONS = 5
IMPATIENT = {"whole": {"timeout": 0.5}, "streamed": {"timeout": 60, "stream_timeout": 0.5}}


@dataclass(frozen=True)
class Full:
    """A proxy whose connections are all taken by streams to one endpoint, until ``finish`` is set."""

    proxy: Proxy
    sagemaker: Scripted
    bedrock: Scripted
    streams: list[Future[httpx.Response]]
    threads: ThreadPoolExecutor
    finish: threading.Event


def deployment(name: str, model: str, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def on_sagemaker(name: str, **params: Any) -> dict[str, Any]:
    return deployment(name, f"sagemaker_openai/{name}", litellm_credential_name="sagemaker", **params)


@pytest.fixture
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    finish = threading.Event()

    def script(seen: Seen) -> Answer:
        def pieces() -> Iterator[bytes]:
            yield sse(chunk({"role": "assistant", "content": "begun"}), done=False)
            finish.wait(60)
            yield sse(chunk({}, finish="stop"), usage_chunk(11, 7))

        return Answer(pieces())

    models = {
        "model_list": [
            on_sagemaker("busy"),
            on_sagemaker("other"),
            *(on_sagemaker(f"impatient-{kind}", **params) for kind, params in IMPATIENT.items()),
            *(on_sagemaker(f"has-fallback-{kind}", **params) for kind, params in IMPATIENT.items()),
            deployment("bedrock", GPT_OSS),
        ],
        "router_settings": {
            "num_retries": 0,
            "fallbacks": [{f"has-fallback-{kind}": ["bedrock"]} for kind in IMPATIENT],
        },
    }
    with ExitStack() as stack:
        sagemaker, on_bedrock = stack.enter_context(scripted(script)), stack.enter_context(bedrock())
        environment = {"AIOHTTP_CONNECTOR_LIMIT_PER_HOST": str(CONNECTIONS)}
        folder = tmp_path_factory.mktemp("proxy")
        started = stack.enter_context(
            proxy(
                folder,
                models,
                config("concurrency.yaml"),
                sagemaker=sagemaker.url,
                bedrock=on_bedrock.url,
                environment=environment,
            )
        )
        threads = stack.enter_context(ThreadPoolExecutor(CONNECTIONS + 1))
        stack.callback(finish.set)
        streams = [threads.submit(started.chat, "busy", stream=True) for _ in range(CONNECTIONS)]
        for _ in until("all connections to be taken"):
            if sagemaker.open_connections == CONNECTIONS:
                break
        yield Full(started, sagemaker, on_bedrock, streams, threads, finish)


def test_calls_to_any_endpoint_of_the_region_wait_for_a_connection(full: Full) -> None:
    """All of a region's endpoints are behind one host."""
    for kind in IMPATIENT:
        answer = full.proxy.chat(f"impatient-{kind}", stream=kind == "streamed")
        assert answer.status_code == 408
        assert "no connection to SageMaker became free in time (" in answer.json()["error"]["message"]
        assert len(full.sagemaker.seen) == CONNECTIONS  # it was never asked

        answer = full.proxy.chat(f"has-fallback-{kind}", stream=kind == "streamed")
        assert (answer.status_code, answer.headers["x-litellm-attempted-fallbacks"]) == (200, "1")
        assert len(full.sagemaker.seen) == CONNECTIONS

    sixth = full.threads.submit(full.proxy.chat, "other", stream=True)
    for _ in until("the proxy to have it"):
        if full.proxy.get("/health/backlog").json()["in_flight_requests"] == CONNECTIONS + 2:  # and this question
            break
    assert (len(full.sagemaker.seen), full.sagemaker.open_connections) == (CONNECTIONS, CONNECTIONS)
    assert full.proxy.get("/health/readiness").status_code == 200
    assert f"All {CONNECTIONS} connections are in use, and calls to 127.0.0.1 wait for one" in full.proxy.log

    full.finish.set()
    assert text_of(sixth.result()) == "begun"
    assert [text_of(stream.result()) for stream in full.streams] == ["begun"] * CONNECTIONS
