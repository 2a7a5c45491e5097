"""What is sent by a session or a transport directly is what httpx would send, and what comes back is understood."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import litellm
import pytest
from litellm.caching.llm_caching_handler import LLMClientCache

from tests.conftest import MESSAGES, Upstream, close_clients
from tests.scripted import Answer, chunk, completion, json_answer, scripted, sse

MODEL = "sagemaker_openai/my-endpoint"
STREAM = Answer([sse(chunk({"content": "Hello."}), chunk(finish="stop"))])


@contextlib.asynccontextmanager
async def clients_of_its_own(*, aiohttp: bool) -> AsyncIterator[None]:
    """LiteLLM without the clients that it has, and with or without aiohttp."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(litellm, "in_memory_llm_clients_cache", LLMClientCache())
        patch.setattr(litellm, "disable_aiohttp_transport", not aiohttp)
        yield
        await close_clients()


@pytest.mark.parametrize("stream", [False, True])
def test_a_synchronous_request_is_the_one_that_an_httpx_client_sends(stream: bool, upstream: Upstream) -> None:
    """With a client of the caller's, a call goes through it; otherwise through the transport alone."""
    server = upstream(STREAM if stream else json_answer(completion()))
    call: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "api_key": "a-token", "stream": stream}
    with httpx.Client(trust_env=False) as client:
        for more in ({}, {"client": client}):
            answer: Any = litellm.completion(**call, **more, extra_headers={"X-Mine": "1"})
            if stream:
                assert list(answer)
    direct, by_client = server.seen
    assert (direct.method, direct.path, direct.body) == (by_client.method, by_client.path, by_client.body)
    assert {**direct.headers, "connection": "keep-alive"} == by_client.headers
    assert direct.headers["user-agent"].startswith("litellm-sagemaker-openai/")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_request_is_the_one_that_httpx_sends(stream: bool, upstream: Upstream) -> None:
    server = upstream(STREAM if stream else json_answer(completion()))
    call: dict[str, Any] = {
        "model": MODEL,
        "messages": MESSAGES,
        "api_key": "a-token",
        "extra_headers": {"X-Mine": "1"},
    }
    for aiohttp in (True, False):
        async with clients_of_its_own(aiohttp=aiohttp):
            answer = await litellm.acompletion(**call, stream=stream)
            if stream:
                assert [each async for each in answer]
    direct, by_httpx = server.seen
    assert (direct.method, direct.path, direct.body) == (by_httpx.method, by_httpx.path, by_httpx.body)
    assert {**direct.headers, "connection": "keep-alive"} == by_httpx.headers  # HTTP/1.1's default, said or not
    assert direct.headers["user-agent"].startswith("litellm-sagemaker-openai/")


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_refusal_that_is_compressed(upstream: Upstream, is_async: bool) -> None:
    refusal = {"error": {"message": "max_tokens is too large", "type": "BadRequestError", "code": 400}}
    body = gzip.compress(json.dumps(refusal).encode())
    upstream(Answer([body], 400, "application/json", {"content-encoding": "gzip"}))
    with pytest.raises(litellm.BadRequestError, match="max_tokens is too large"):
        await (litellm.acompletion if is_async else in_a_thread)(MODEL, MESSAGES, stream=True)


async def in_a_thread(*call: Any, **more: Any) -> Any:
    return await asyncio.to_thread(litellm.completion, *call, **more)


@pytest.mark.parametrize("is_async", [False, True])
async def test_connections_are_used_again(upstream: Upstream, is_async: bool) -> None:
    server = upstream(lambda seen: STREAM if seen.json.get("stream") else json_answer(completion()))
    for stream in (False, True, False, True):
        answer = await (litellm.acompletion if is_async else in_a_thread)(MODEL, MESSAGES, stream=stream)
        if stream:
            assert [each async for each in answer] if is_async else list(answer)
    assert len(server.seen) == 4
    assert server.connections == 1


async def test_a_caller_who_leaves_frees_the_connection() -> None:
    with scripted(Answer([b'{"id": '], 200, "application/json", end="stall")) as server:
        call = asyncio.create_task(litellm.acompletion(MODEL, MESSAGES, api_base=server.url, api_key="a-token"))
        while not server.seen:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.left.acquire, timeout=30)
