"""``SageMakerAuth`` in the plain OpenAI SDK: two inference components over one pool of connections, without LiteLLM."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai

from litellm_sagemaker_openai import SageMakerAuth
from litellm_sagemaker_openai.local.server import Running
from tests.clients.conftest import ECHO, tokens_of
from tests.conftest import MESSAGES, REGION, Upstream
from tests.scripted import completion, json_answer

COMPONENTS = ("coder", "reviewer")


def path_of(component: str) -> str:
    return f"/endpoints/shared-endpoint/inference-components/{component}/openai/v1"


def test_two_components_over_one_connection(upstream: Upstream) -> None:
    server = upstream(json_answer(completion()))
    with httpx.Client(auth=SageMakerAuth(REGION)) as pool:
        for component in COMPONENTS * 2:
            client = openai.OpenAI(base_url=server.url + path_of(component), api_key="unused", http_client=pool)
            assert client.chat.completions.create(model="", messages=MESSAGES).choices[0].message.content == "Hello."
    assert [seen.path for seen in server.seen] == [f"{path_of(each)}/chat/completions" for each in COMPONENTS * 2]
    assert server.connections == 1
    tokens = [seen.headers["authorization"] for seen in server.seen]
    assert all(token.startswith("Bearer sagemaker-api-key-") for token in tokens)


async def test_two_components_at_the_same_time(runtime: Running) -> None:
    async with httpx.AsyncClient(auth=SageMakerAuth(REGION)) as pool:
        clients = [
            openai.AsyncOpenAI(base_url=runtime.url + path_of(each), api_key="unused", http_client=pool)
            for each in COMPONENTS
        ]

        async def streamed(client: openai.AsyncOpenAI) -> list[Any]:
            stream = await client.chat.completions.create(
                model="", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            return [chunk async for chunk in stream]

        answers = await asyncio.gather(*(streamed(client) for client in clients))
    received = runtime.app.state.received
    assert {request.path for request in received} == {f"{path_of(each)}/chat/completions" for each in COMPONENTS}
    for chunks, request in zip(answers, received, strict=True):
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == f"{ECHO}Hello?"
        usage = chunks[-1].usage
        assert (usage.prompt_tokens, usage.completion_tokens) == tokens_of(request.body)
