"""How many connections calls may have, what a call sees that waits for one, and what the operator is told."""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import httpx
import litellm
import pytest
from litellm import Router

from litellm_sagemaker_openai import operator_log
from litellm_sagemaker_openai.litellm_seams import connections, lookup, pool_limit
from litellm_sagemaker_openai.litellm_seams.connections import read_connections
from litellm_sagemaker_openai.litellm_seams.http_clients import sync_client
from tests.conftest import MESSAGES, Upstream, close_clients
from tests.scripted import Answer, Scripted, chunk, completion, json_answer, sse

HANDLERS = "litellm.llms.custom_httpx.http_handler"
MODEL = "sagemaker_openai/e"
BEGUN = Answer([sse(chunk({"content": "Hi"}), done=False)], end="stall")
TOTAL, PER_HOST = "AIOHTTP_CONNECTOR_LIMIT", "AIOHTTP_CONNECTOR_LIMIT_PER_HOST"


@pytest.fixture(autouse=True)
async def clients_of_its_own(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    cache = type(litellm.in_memory_llm_clients_cache)
    monkeypatch.setattr(litellm, "in_memory_llm_clients_cache", cache())
    monkeypatch.setattr(connections, "_limits", {})
    monkeypatch.setattr(operator_log, "_next_warnings", type(operator_log._next_warnings)(10))
    for name in (TOTAL, PER_HOST):
        monkeypatch.delenv(name, raising=False)
    yield
    await close_clients()


@pytest.fixture
def open_files() -> Iterator[Callable[[int], None]]:
    """Sets how many files this process may have open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda files: resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(101) as pool:
        yield pool


@pytest.fixture(params=["sync", "async", "async without aiohttp"])
def way(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def opened(
    monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor, way: str
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Opens a stream whose first chunk is there."""
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", way == "async without aiohttp")

    async def open_one(model: str = MODEL, **more: Any) -> Any:
        call = {"model": model, "messages": MESSAGES, "stream": True, "api_key": "t", "max_retries": 0, **more}
        if way == "sync":

            def in_thread() -> Any:
                stream: Any = litellm.completion(**call)
                next(stream)
                return stream

            return await asyncio.get_running_loop().run_in_executor(threads, in_thread)
        stream: Any = await litellm.acompletion(**call)
        await anext(stream)
        return stream

    return open_one


async def close(stream: Any, server: Scripted) -> None:
    if hasattr(stream, "aclose"):
        await stream.aclose()
    else:
        stream.completion_stream.close()  # LiteLLM's wrapper has no close of its own for synchronous calls
    await asyncio.to_thread(server.left.acquire)


@pytest.mark.medium(reason="opens 501 streams")
async def test_the_501st_stream_waits_for_none_of_the_others(
    upstream: Upstream, opened: Any, open_files: Any, way: str
) -> None:
    """httpx's own limit is 100, and LiteLLM's for aiohttp 500."""
    open_files(2048)
    server, streams_at_once = upstream(BEGUN), 501 if way == "async" else 101
    streams = await asyncio.gather(*(opened(timeout=60) for _ in range(streams_at_once)))
    assert server.open_connections == streams_at_once
    await asyncio.gather(*(close(stream, server) for stream in streams))


def limit_of(way: str, server: Scripted) -> int:
    """The one of the client that was used."""
    if way == "async":
        [connection] = read_connections()
        return connection.limit or 0
    [client] = [
        client
        for name, client in litellm.in_memory_llm_clients_cache.cache_dict.items()
        if "sagemaker_openai" in name and isinstance(client, (httpx.Client, httpx.AsyncClient))
    ]
    limit: int = vars(client)["_transport"]._pool._max_connections
    return limit


@pytest.mark.parametrize(
    ("variables", "option", "limit"),
    [
        ({}, None, 600),  # half of the files
        ({}, 7, 7),
        ({}, 2000, 2000),
        ({PER_HOST: "5"}, None, 5),
        ({PER_HOST: "5"}, 2000, 5),  # LiteLLM's variables hold ...
        ({PER_HOST: "5"}, 3, 3),  # ... and so does the option
        ({PER_HOST: "2000", TOTAL: "9"}, None, 9),
        ({TOTAL: "9"}, None, 9),
    ],
)
async def test_what_the_limit_is(
    upstream: Upstream,
    opened: Any,
    open_files: Any,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    variables: dict[str, str],
    option: int | None,
    limit: int,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    open_files(1200)
    server = upstream(BEGUN)
    stream = await opened(aws_sagemaker_max_connections=option)
    assert limit_of(way, server) == limit
    await close(stream, server)


@pytest.mark.parametrize("none", ["0", "-1"])
@pytest.mark.parametrize(("option", "limit"), [(None, 0), (7, 7)])
def test_litellms_variable_for_no_limit(
    monkeypatch: pytest.MonkeyPatch, option: int | None, limit: int, none: str
) -> None:
    monkeypatch.setenv(PER_HOST, none)
    connector = Connector()
    pool_limit.limit_connector(connector, option)
    assert (connector._limit, connector._limit_per_host) == (option or pool_limit.default_limit(), limit)
    assert pool_limit.client_limit(option) == (limit or sys.maxsize)


@pytest.mark.parametrize("wrong", ["many", "", "9" * 5000])
async def test_a_variable_that_is_no_number_limits_nothing(
    upstream: Upstream,
    opened: Any,
    open_files: Any,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    wrong: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A proxy's configuration sets it after LiteLLM was imported, which reads it then."""
    monkeypatch.setenv(PER_HOST, wrong)
    open_files(1200)
    server = upstream(BEGUN)
    stream = await opened()
    assert limit_of(way, server) == 600
    [warning] = warnings(caplog)
    assert f"{PER_HOST} is no whole number: it does not limit connections; set one, or take it away" in warning
    await close(stream, server)


class Connector:
    _limit, _limit_per_host = 1000, 500  # LiteLLM's


@pytest.mark.parametrize("files", [resource.RLIM_INFINITY, None])
def test_where_files_have_no_limit(monkeypatch: pytest.MonkeyPatch, files: int | None) -> None:
    """None: on Windows."""
    limits = SimpleNamespace(RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=lambda _: (files, files))
    monkeypatch.setattr(pool_limit, "resource", None if files is None else limits)
    connector = Connector()
    pool_limit.limit_connector(connector, None)
    assert (connector._limit, connector._limit_per_host) == (0, 0)
    assert pool_limit.client_limit(None) == sys.maxsize


async def test_a_call_that_waits(
    upstream: Upstream, opened: Any, way: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(operator_log, "time", SimpleNamespace(monotonic=lambda: now[0]))
    server = upstream(BEGUN)
    few = {"aws_sagemaker_max_connections": 2}
    streams = [await opened(**few), await opened(**few)]
    assert not warnings(caplog)

    with pytest.raises(
        litellm.Timeout, match=r"no connection to SageMaker became free in time \(PoolTimeout"
    ) as raised:
        await opened(**few, timeout=0.3)
    assert raised.value.status_code == 408
    assert len(server.seen) == 2
    [warning] = warnings(caplog)
    assert "All 2 connections are in use, and calls to 127.0.0.1 wait for one: allow more" in warning

    with pytest.raises(litellm.Timeout):
        await opened(**few, timeout=0.3)
    assert len(warnings(caplog)) == 1
    now[0] += 60
    with pytest.raises(litellm.Timeout):
        await opened(**few, timeout=0.3)
    assert len(warnings(caplog)) == 2

    third = asyncio.create_task(opened(**few))
    now[0] += 60
    while len(warnings(caplog)) < 3:  # it waits
        await asyncio.sleep(0.01)
    await close(streams.pop(), server)
    streams.append(await third)
    for stream in streams:
        await close(stream, server)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and "connections" in record.getMessage()
    ]


async def test_whole_answers_wait_as_well(upstream: Upstream, opened: Any, way: str) -> None:
    server = upstream(BEGUN)
    stream = await opened(aws_sagemaker_max_connections=1)
    call: Any = {"model": MODEL, "messages": MESSAGES, "api_key": "t", "timeout": 0.3}
    call["aws_sagemaker_max_connections"] = 1
    with pytest.raises(litellm.Timeout, match="no connection to SageMaker became free in time"):
        await (asyncio.to_thread(litellm.completion, **call) if way == "sync" else litellm.acompletion(**call))
    await close(stream, server)


async def test_connections_are_used_again(upstream: Upstream, opened: Any, way: str) -> None:
    """Idle ones are not taken for ones in use, and nobody is told of a limit."""
    server = upstream(Answer([sse(chunk({"content": "Hi"}), chunk({}, finish="stop"))]))
    for _ in range(5):
        stream = await opened(aws_sagemaker_max_connections=1)
        rest = [piece async for piece in stream] if hasattr(stream, "aclose") and way != "sync" else list(stream)
        assert rest
    assert server.connections == 1


async def test_an_idle_connection_is_taken_where_all_are_in_use(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """aiohttp's limit for all hosts does not hold for it, so nobody waits."""
    monkeypatch.setenv(TOTAL, "1")
    server = upstream(lambda seen: BEGUN if seen.json.get("stream") else json_answer(completion()))
    call: Any = {"model": MODEL, "messages": MESSAGES, "api_key": "t", "max_retries": 0}
    other = server.url.replace("127.0.0.1", "localhost")
    await litellm.acompletion(**call, api_base=other)
    stream: Any = await litellm.acompletion(**call, stream=True)
    await anext(stream)
    await litellm.acompletion(**call, api_base=other, timeout=5)
    assert not warnings(caplog)
    await close(stream, server)


async def test_deployments_with_numbers_of_their_own_have_connections_of_their_own(
    upstream: Upstream, opened: Any, way: str
) -> None:
    server = upstream(BEGUN)
    streams = [await opened(model="sagemaker_openai/a", aws_sagemaker_max_connections=1)]
    with pytest.raises(litellm.Timeout):  # the same number: the same connections
        await opened(model="sagemaker_openai/b", aws_sagemaker_max_connections=1, timeout=0.3)
    streams.append(await opened(model="sagemaker_openai/b", aws_sagemaker_max_connections="2"))
    streams.append(await opened(model="sagemaker_openai/b"))
    for stream in streams:
        await close(stream, server)


async def test_a_connection_that_cannot_be_made_is_not_said_to_be_a_full_pool(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool was full when the call came, and is not any more when the connection is not made."""
    server = upstream(BEGUN)
    call: Any = {"model": MODEL, "messages": MESSAGES, "stream": True, "api_key": "t", "max_retries": 0}
    stream: Any = await litellm.acompletion(**call, aws_sagemaker_max_connections=1)
    await anext(stream)
    full = [1, None]
    monkeypatch.setattr("litellm_sagemaker_openai.litellm_seams.aiohttp_post.full_connector", lambda *_: full.pop(0))
    with pytest.raises(litellm.Timeout, match="SageMaker could not be reached in time"):
        await litellm.acompletion(**call, aws_sagemaker_max_connections=1, timeout=0.3)
    await close(stream, server)


async def test_a_router_goes_elsewhere(upstream: Upstream) -> None:
    server = upstream(BEGUN)
    few = {"aws_sagemaker_max_connections": 1, "api_key": "t", "timeout": 0.3, "max_retries": 0}
    router = Router(
        model_list=[
            {"model_name": "busy", "litellm_params": {"model": MODEL, **few}},
            {"model_name": "elsewhere", "litellm_params": {"model": "openai/x", "mock_response": "From elsewhere."}},
        ],
        fallbacks=[{"busy": ["elsewhere"]}],
        num_retries=0,
    )
    stream: Any = await router.acompletion("busy", MESSAGES, stream=True)
    await anext(stream)
    answer: Any = await router.acompletion("busy", MESSAGES)
    assert answer.choices[0].message.content == "From elsewhere."
    await stream.aclose()
    await asyncio.to_thread(server.left.acquire)


async def test_other_providers_clients_stay_as_they_are(upstream: Upstream) -> None:
    server = upstream(Answer([sse(chunk({"content": "Hi"}), chunk({}, finish="stop"))]))
    make = lookup.in_module(HANDLERS, "get_httpx_client", "_get_httpx_client")
    theirs = make(params={"ssl_verify": None}).client
    assert list(litellm.completion(MODEL, MESSAGES, stream=True, api_key="t", aws_sagemaker_max_connections=3))
    assert make(params={"ssl_verify": None}).client is theirs
    assert theirs._transport._pool._max_connections == 100
    assert len(server.seen) == 1


def test_an_applications_own_transport_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with httpx.HTTPTransport(limits=httpx.Limits(max_connections=11)) as transport:
        monkeypatch.setattr(litellm, "sync_transport", transport, raising=False)
        client, _ = sync_client(None, 3)
        pool_limit.limit_client(client, 3)
        assert client._transport is transport
        assert transport._pool._max_connections == 11


def test_a_client_of_litellms_waits_above_its_limit(upstream: Upstream) -> None:
    """What is not for this machine goes by one; httpx's own limit of it is 100."""
    server = upstream(BEGUN)
    client, _ = sync_client(None, 3)
    pool_limit.limit_client(client, 3)
    with ExitStack() as stack:
        for left in (3, 2, 1):
            assert pool_limit.full_client(client) is None, left
            stack.enter_context(client.stream("POST", server.url))
        assert pool_limit.full_client(client) == 3
        with pytest.raises(httpx.PoolTimeout):
            client.post(server.url, timeout=0.3)
    assert len(server.seen) == 3
