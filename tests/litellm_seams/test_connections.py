"""The connections that metrics show: those of the real connector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import litellm
import pytest

from litellm_sagemaker_openai.litellm_seams import connections, lookup
from litellm_sagemaker_openai.litellm_seams.connections import read_connections
from litellm_sagemaker_openai.litellm_seams.pool_limit import default_limit
from litellm_sagemaker_openai.monitoring.connections import Connections
from tests.conftest import MESSAGES, Upstream, close_clients
from tests.scripted import Answer, Scripted, chunk, sse

BEGUN = Answer([sse(chunk({"content": "Hi"}), done=False)], end="stall")


@pytest.fixture(autouse=True)
async def clients_of_its_own(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    cache = type(litellm.in_memory_llm_clients_cache)
    monkeypatch.setattr(litellm, "in_memory_llm_clients_cache", cache())
    monkeypatch.setattr(connections, "_limits", {})
    yield
    await close_clients()


async def opened(model: str = "sagemaker_openai/e") -> Any:
    stream: Any = await litellm.acompletion(model, MESSAGES, stream=True, api_key="t", max_retries=0)
    await anext(stream)
    return stream


async def test_in_use_and_idle(upstream: Upstream) -> None:
    server = upstream(BEGUN)
    assert read_connections() == []
    streams = await asyncio.gather(*(opened() for _ in range(3)))
    limit = default_limit()
    assert read_connections() == [Connections("127.0.0.1", 3, limit, 0)]
    await closed(streams, server)
    assert read_connections() == [Connections("127.0.0.1", 0, limit, 0)]


async def test_a_call_that_waits(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CONNECTOR_LIMIT_PER_HOST", "2")
    server = upstream(BEGUN)
    streams = await asyncio.gather(opened(), opened())
    third = asyncio.create_task(opened())
    while read_connections() != [Connections("127.0.0.1", 2, 2, 1)]:
        await asyncio.sleep(0.01)
    await closed(streams, server)
    await closed([await third], server)
    assert read_connections() == [Connections("127.0.0.1", 0, 2, 0)]


@pytest.mark.parametrize(("total", "limit"), [(7, 7), (0, None)])
async def test_without_a_limit_for_each_host(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, total: int, limit: int | None
) -> None:
    """aiohttp then keeps no account by host."""
    monkeypatch.setenv("AIOHTTP_CONNECTOR_LIMIT_PER_HOST", "0")
    monkeypatch.setenv("AIOHTTP_CONNECTOR_LIMIT", str(total))
    server = upstream(BEGUN)
    stream = await opened()
    assert read_connections() == [Connections("all", 1, limit, 0)]
    await closed([stream], server)


async def test_what_cannot_be_seen_is_not_shown(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    server = upstream(BEGUN)
    stream = await opened()
    attribute = lookup.attribute
    monkeypatch.setattr(
        lookup, "attribute", lambda owner, *names: None if names == ("_acquired",) else attribute(owner, *names)
    )
    assert read_connections() == []
    await closed([stream], server)


async def test_without_aiohttp_there_is_nothing_to_see(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", True)
    server = upstream(BEGUN)
    stream = await opened()
    assert read_connections() == []
    await closed([stream], server)


async def closed(streams: Iterable[Any], server: Scripted) -> None:
    for stream in streams:
        await stream.aclose()
        await asyncio.to_thread(server.left.acquire)
