"""Which model an answer names: the one that was asked for, whole or streamed, so that LiteLLM finds its price."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

from tests.conftest import MESSAGES, Upstream
from tests.scripted import Answer, Seen, chunk, completion, json_answer, sse, usage_chunk

MODEL = "sagemaker_openai/my-gpus/coder"
SERVED = "sagemaker_served_model"
PRICES = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
NO_CACHE = {"cache_creation_input_token_cost": 0, "cache_read_input_token_cost": 0}  # else LiteLLM warns
COST = 11 * 0.001 + 7 * 0.01
FAKED = {"fake_stream": True}


def answering(name: str | None) -> Any:
    """A container that calls its model by that name, or by none."""
    named: dict[str, Any] = {"model": name}

    def answer(seen: Seen) -> Answer:
        if seen.path.endswith(("/invocations", "/embeddings")):
            return json_answer({"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 11}, **named})
        if not seen.json.get("stream"):
            return json_answer(completion(**named))
        pieces = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi"}), chunk({}, finish="stop")]
        return Answer([sse(*({**each, **named} for each in [*pieces, usage_chunk(11, 7)]))])

    return answer


async def whole(is_async: bool, **call: Any) -> Any:
    call = {"model": MODEL, "messages": MESSAGES, **call}
    return await litellm.acompletion(**call) if is_async else litellm.completion(**call)


async def chunks(is_async: bool, **call: Any) -> list[Any]:
    stream = await whole(is_async, stream=True, **call)
    return [piece async for piece in stream] if is_async else list(stream)


async def embedding(is_async: bool, **call: Any) -> Any:
    call = {"model": MODEL, "input": ["a"], **call}
    return await litellm.aembedding(**call) if is_async else litellm.embedding(**call)


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@pytest.fixture
def priced() -> Iterator[None]:
    litellm.register_model({MODEL: {"litellm_provider": "sagemaker_openai", "mode": "chat", **PRICES, **NO_CACHE}})
    yield
    del litellm.model_cost[MODEL]


@both
async def test_the_one_asked_for_and_the_containers_name_beside_it(upstream: Upstream, is_async: bool) -> None:
    upstream(answering("openai/gpt-oss-120b"))
    streams = [await chunks(is_async, **options) for options in ({}, FAKED)]
    for answer in (await whole(is_async), await embedding(is_async), *(stream[0] for stream in streams)):
        assert (answer.model, answer._hidden_params[SERVED]) == ("my-gpus/coder", "openai/gpt-oss-120b")
    assert {piece.model for stream in streams for piece in stream} == {"my-gpus/coder"}


@both
@pytest.mark.parametrize("name", [None, "", 3], ids=repr)
async def test_a_container_that_does_not_name_its_model(upstream: Upstream, is_async: bool, name: Any) -> None:
    upstream(answering(name))
    for answer in (await whole(is_async), await embedding(is_async), (await chunks(is_async))[0]):
        assert (answer.model, SERVED in answer._hidden_params) == ("my-gpus/coder", False)


@both
@pytest.mark.parametrize("served", ["served", "gpt-4o", "openai/gpt-4o", None], ids=str)
async def test_the_price_is_that_of_the_model_asked_for(
    upstream: Upstream, priced: None, is_async: bool, served: str | None
) -> None:
    """Also where the container calls its model by a name that LiteLLM knows a price for."""
    upstream(answering(served))
    answer = await whole(is_async)
    assert litellm.completion_cost(answer) == answer._hidden_params["response_cost"] == pytest.approx(COST)
    for options in ({}, FAKED):
        built = litellm.stream_chunk_builder(await chunks(is_async, **options), messages=MESSAGES)
        assert litellm.completion_cost(built) == pytest.approx(COST)
    embedded = await embedding(is_async)
    assert litellm.completion_cost(embedded) == embedded._hidden_params["response_cost"] == pytest.approx(0.011)


@both
async def test_without_a_price_it_is_as_for_another_provider_of_ones_own(upstream: Upstream, is_async: bool) -> None:
    server = upstream(answering("gpt-4o"))
    yardstick = {"model": "hosted_vllm/coder", "api_base": f"{server.url}/v1", "api_key": "t"}
    for options in ({}, yardstick):
        answers = [await whole(is_async, **options), await embedding(is_async, **options)]
        # The last: LiteLLM does not read hosted_vllm's streams to their end, and what is left of one, collected while
        # a further call holds the pool's lock, takes that lock again and waits for ever (httpcore 1.0).
        answers.append(litellm.stream_chunk_builder(await chunks(is_async, **options), messages=MESSAGES))
        gc.collect()
        for answer in answers:
            with pytest.raises(Exception, match="isn't mapped yet"):
                litellm.completion_cost(answer)
