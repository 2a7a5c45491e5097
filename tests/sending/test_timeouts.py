"""``timeout``: any number above 0 is taken, in each kind of call; what is none is refused before anything is sent."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx
import litellm
import pytest

from litellm_sagemaker_openai.local.server import Running
from litellm_sagemaker_openai.sending.timeouts import as_timeout
from tests.conftest import MESSAGES, REGION, Upstream, litellm_is_before
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, sse

pytestmark = pytest.mark.medium(reason="waits for timeouts")

KINDS = ["whole", "stream", "embedding"]
calls = pytest.mark.parametrize(("is_async", "kind"), [(a, kind) for a in (False, True) for kind in KINDS])
LONG = [1e10, 1e308, math.inf, httpx.Timeout(1e10), httpx.Timeout(math.inf), httpx.Timeout(None)]
WRONG = [0, -1, math.nan, httpx.Timeout(0), httpx.Timeout(5, read=-1), httpx.Timeout(5, read=math.nan)]


def answer(seen: Seen) -> Answer:
    if seen.path.endswith("/invocations"):
        return json_answer({"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}})
    if seen.json.get("stream"):
        return Answer([sse(chunk({"content": "Hello."}), chunk({}, finish="stop"))])
    return json_answer(completion())


async def ask(kind: str, is_async: bool, **more: Any) -> None:
    if kind == "embedding":
        embedding: dict[str, Any] = {"model": "sagemaker_openai/e", "input": ["a"], **more}
        _ = await litellm.aembedding(**embedding) if is_async else litellm.embedding(**embedding)
        return
    call: dict[str, Any] = {"model": "sagemaker_openai/e", "messages": MESSAGES, "stream": kind == "stream", **more}
    got: Any = await (litellm.acompletion(**call) if is_async else asyncio.to_thread(litellm.completion, **call))
    if kind == "stream":
        assert [piece async for piece in got] if is_async else list(got)


@calls
@pytest.mark.parametrize("timeout", LONG, ids=repr)
async def test_however_long(upstream: Upstream, is_async: bool, kind: str, timeout: Any) -> None:
    server = upstream(answer)
    await ask(kind, is_async, timeout=timeout)
    assert len(server.seen) == 1


@pytest.mark.parametrize("timeout", [1e10, math.inf])
@pytest.mark.parametrize("is_async", [False, True])
async def test_an_asynchronous_inference(runtime: Running, aws_apis: Any, is_async: bool, timeout: float) -> None:
    aws_apis.client("s3").create_bucket(Bucket="my-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    call: dict[str, Any] = {"model": "sagemaker_openai/my-async-endpoint", "aws_sagemaker_async": True}
    call |= {"messages": MESSAGES, "timeout": timeout}
    answer: Any = await (litellm.acompletion(**call) if is_async else asyncio.to_thread(litellm.completion, **call))
    assert answer.choices[0].message.content


@calls
@pytest.mark.parametrize("timeout", WRONG, ids=repr)
async def test_what_is_no_time(upstream: Upstream, is_async: bool, kind: str, timeout: Any) -> None:
    server = upstream(answer)
    if kind != "embedding" and isinstance(timeout, httpx.Timeout):
        timeout = timeout.read  # all that LiteLLM hands on of one
    with pytest.raises(litellm.BadRequestError, match="timeout must be a number of seconds above 0, not "):
        await ask(kind, is_async, timeout=timeout)
    assert server.seen == []


@pytest.mark.parametrize("timeout", [math.inf, 1e10, 0.0, math.nan])
async def test_a_routers_stream_timeout(router_of: Any, upstream: Upstream, timeout: float) -> None:
    server: Scripted = upstream(answer)
    model = {"model": "sagemaker_openai/e", "stream_timeout": timeout}
    router = router_of({"model_name": "m", "litellm_params": model}, num_retries=0)
    stream = router.acompletion("m", MESSAGES, stream=True)
    if math.isnan(timeout) or (timeout == 0 and not litellm_is_before("1.110")):
        with pytest.raises(litellm.BadRequestError, match="timeout must be a number of seconds above 0, not "):
            await stream
        assert server.seen == []
    else:  # to LiteLLM before 1.110, 0 says nothing
        assert [piece async for piece in await stream]


@pytest.mark.parametrize("timeout", ["soon", "", "nan", "-1", [], {}], ids=repr)
def test_what_is_no_number(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0, not "):
        as_timeout(timeout)


def test_what_it_comes_to() -> None:
    assert as_timeout(None) == httpx.Timeout(600, connect=5)
    assert as_timeout("30") == as_timeout(30) == httpx.Timeout(30, connect=5)
    assert as_timeout(2) == httpx.Timeout(2)
    assert as_timeout(math.inf) == as_timeout(10**400) == httpx.Timeout(2_147_483, connect=5)
    assert as_timeout(httpx.Timeout(None, read=math.inf, connect=3)) == httpx.Timeout(None, read=2_147_483, connect=3)
