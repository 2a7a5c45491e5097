"""Every kind of call, success and failure, with all that can be printed about them printed. Run by test_secrets.py."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from typing import Any

import httpx
import litellm
from litellm.integrations.custom_logger import CustomLogger
from openai import OpenAI

import litellm_sagemaker_openai
from litellm_sagemaker_openai.operations.queued_inference import request as async_request

MESSAGES: list[Any] = [{"role": "user", "content": "Hello?"}]
# Ways to authenticate other than the environment's credentials; test_secrets.py knows these secrets.
ROLE = {"aws_role_name": "arn:aws:iam::123456789012:role/r", "aws_session_name": "session"}
IDENTITIES: list[dict[str, Any]] = [
    {
        "aws_access_key_id": "AKIAINLINE",
        "aws_secret_access_key": "INLINE-SECRET/KEY",
        "aws_session_token": "INLINE+TOKEN",
    },
    {"api_key": "sagemaker-api-key-MADE-ELSEWHERE"},
    {**ROLE, "aws_sts_endpoint": os.environ["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"], "aws_external_id": "external"},
    {**ROLE, "aws_web_identity_token": f"oidc/file/{os.environ['WEB_IDENTITY_FILE']}"},
]
ENDPOINTS = [
    "fine",
    *(f"status{code}" for code in (307, 400, 401, 403, 404, 429, 500, 503)),
    "cut",
    "reset",
    "garbage",
    "hangup",
    "not_a_name",
]


class Everything(CustomLogger):
    """Prints whatever LiteLLM hands to a callback."""

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        print("pre", model, messages, kwargs)  # noqa: T201

    def log_post_api_call(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        print("post", kwargs, response_obj)  # noqa: T201

    log_success_event = log_failure_event = log_post_api_call

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        print("async", kwargs, response_obj)  # noqa: T201

    async_log_failure_event = async_log_success_event


def show(error: BaseException) -> None:
    """An exception in every way in which an application shows one, its causes and their requests included."""
    traceback.print_exception(error)
    seen: BaseException | None = error
    while seen is not None:
        print(repr(seen), vars(seen))  # noqa: T201
        request = getattr(seen, "_request", None)
        if request is not None:
            print(request, dict(request.headers))  # noqa: T201
        response = getattr(seen, "response", None)
        if response is not None:
            print(response, dict(response.headers), dict(response.request.headers))  # noqa: T201
        seen = seen.__cause__ or seen.__context__


async def call(endpoint: str, *, stream: bool, is_async: bool, **more: Any) -> None:
    arguments: dict[str, Any] = {
        "model": f"sagemaker_openai/{endpoint}",
        "messages": MESSAGES,
        "stream": stream,
        **more,
    }
    try:
        if is_async:
            answer = await litellm.acompletion(**arguments)
            print([piece async for piece in answer] if stream else answer, vars(answer))  # noqa: T201
        else:
            answer = litellm.completion(**arguments)
            print(list(answer) if stream else answer, vars(answer))  # noqa: T201
        print(answer._hidden_params)  # noqa: T201
    except Exception as error:
        show(error)


async def embed(endpoint: str, *, is_async: bool, **more: Any) -> None:
    arguments: dict[str, Any] = {"model": f"sagemaker_openai/{endpoint}", "input": ["Hello?"], **more}
    try:
        if is_async:
            answer = await litellm.aembedding(**arguments, dimensions=1, extra_headers={"x-a": "b"})
        else:
            answer = litellm.embedding(**arguments)
        print(answer, vars(answer), answer._hidden_params)  # noqa: T201
    except Exception as error:
        show(error)


async def rank(endpoint: str, *, is_async: bool, **more: Any) -> None:
    arguments: dict[str, Any] = {"model": f"sagemaker_openai/{endpoint}", "query": "?", "documents": ["Hello?"], **more}
    # LiteLLM's own and this package's; at DEBUG, LiteLLM prints the keywords of its own function.
    ask: Any = litellm_sagemaker_openai.arerank if is_async else litellm_sagemaker_openai.rerank
    try:
        answer = await ask(**arguments) if is_async else ask(**arguments)
        print(answer, vars(answer), answer._hidden_params)  # noqa: T201
    except Exception as error:
        show(error)
    if is_async and not more:
        try:
            print(await litellm.arerank(**arguments))  # noqa: T201
        except Exception as error:
            show(error)


# Asynchronous inference: what is stored in S3 too, what fails, and what S3 refuses.
LONG: list[Any] = [{"role": "user", "content": "x" * 128_000}]
INFERENCE = {"aws_sagemaker_async": True, "aws_sagemaker_async_input": "s3://bucket/requests"}


async def infer(is_async: bool, identity: dict[str, Any]) -> None:
    await call("fine", stream=is_async, is_async=is_async, messages=LONG, **INFERENCE, **identity)
    for endpoint in ("failing", "denied", "status403", "hangup"):
        await call(endpoint, stream=is_async, is_async=is_async, timeout=0.3, **INFERENCE, **identity)
    parameters = {name: value for name, value in identity.items() if name != "api_key"}
    for key in ("fine", "failing", "denied"):
        try:
            location = f"s3://bucket/{key}"
            fetch: Any = litellm_sagemaker_openai.afetch_async_result
            print(await fetch(location, failure_location=f"{location}-failure", **parameters))  # noqa: T201
        except Exception as error:
            show(error)


async def main() -> None:
    for endpoint in ENDPOINTS:
        for stream in (False, True):
            for is_async in (False, True):
                await call(endpoint, stream=stream, is_async=is_async)
    for identity in IDENTITIES:
        for endpoint in ("fine", "status403", "cut", "not_a_name"):
            for is_async in (False, True):
                await call(endpoint, stream=is_async, is_async=is_async, **identity)
                await embed(endpoint, is_async=is_async, **identity)
                await rank(endpoint, is_async=is_async, **identity)
    for endpoint in ENDPOINTS:
        for is_async in (False, True):
            await embed(endpoint, is_async=is_async)
            await rank(endpoint, is_async=is_async)
    async_request._FIRST_INTERVAL = 0.01
    for identity in ({}, *IDENTITIES):
        for is_async in (False, True):
            await infer(is_async, identity)
    auth = litellm_sagemaker_openai.SageMakerAuth()
    url = litellm_sagemaker_openai.aws.credentials.runtime_url("us-west-2")
    with httpx.Client(auth=auth) as http:
        client = OpenAI(base_url=f"{url}/endpoints/fine/openai/v1", api_key="unused", http_client=http)
        print(auth, client.chat.completions.create(model="", messages=MESSAGES))  # noqa: T201
    await asyncio.sleep(0)  # lets LiteLLM's last callbacks begin


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    litellm._turn_on_debug()
    litellm.callbacks = [Everything()]
    litellm_sagemaker_openai.register()
    asyncio.run(main(), debug=True)
    print("=== all calls made ===")  # noqa: T201
