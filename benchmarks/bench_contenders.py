"""Who is measured: the ways from a Python program to the benchmark's server, each as its users would write it.

Each is used in a process of its own (``benchmarks.bench_worker``), so that none pays for what another one imports,
registers or keeps. Nothing is tuned: libraries have their defaults.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = "sagemaker_openai/"
FLOOR = "LiteLLM's floor"
PREBUILT = f"{FLOOR}, prebuilt chunks"
UNNAMED = f"{FLOOR}, no model named"
SENDING = f"{FLOOR} over aiohttp"
AIOHTTP = "aiohttp alone"
ROUTED = f"{OURS} in a Router"
FLOOR_ROUTED = f"{FLOOR} in a Router"
DEPLOYMENTS = 500
SDK_TOKEN = "OpenAI SDK, token per request"
SDK_AUTH = "OpenAI SDK, SageMakerAuth"

REGION = "us-west-2"
_IDLE_ROUNDS = 3  # of the event loop, in which what was done last may begin something else
# Made up. What the processes that are measured inherit, beside PATH and the like: nothing else is looked for.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "BENCH",
    "AWS_SECRET_ACCESS_KEY": "made-up-and-good-for-the-benchmark-only",
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",  # reads no .env file
    "PYTHONHASHSEED": "0",  # dictionaries and sets are laid out alike in each run
}


class Contender:
    """A way to call. ``endpoint`` says what the server answers (``benchmarks.bench_answers``)."""

    overheads: list[float]
    """What a proxy says that it added to each call, in milliseconds. Who measures makes it and empties it."""

    async def acall(self, endpoint: str, messages: Any) -> Any:
        """A whole answer, as the caller gets it."""
        raise NotImplementedError

    async def astream(self, endpoint: str, messages: Any) -> Any:
        """An asynchronous iterator over a streamed answer's chunks, as the caller gets them."""
        raise NotImplementedError

    def call(self, endpoint: str, messages: Any) -> Any:
        raise NotImplementedError

    def stream(self, endpoint: str, messages: Any) -> Any:
        raise NotImplementedError

    def text_of(self, answer: Any) -> str:
        """A whole answer's text."""
        return str(answer.choices[0].message.content)

    def text_in(self, chunks: Sequence[Any]) -> str:
        """A stream's text."""
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)

    async def asettle(self) -> None:
        """Wait until all work that calls have left behind is done."""

    def settle(self) -> None:
        """``asettle``, without an event loop."""

    def cpu_seconds(self) -> float:
        """The CPU that was used so far, user's and system's: this process's."""
        return time.process_time()

    @property
    def process(self) -> str:
        """Whose memory is measured: a name in /proc."""
        return "self"


class LiteLLM(Contender):
    """A provider of LiteLLM's.

    Args:
        arguments: an endpoint, and whether a stream is asked for → the keywords that lead there.
    """

    def __init__(self, arguments: Callable[[str, bool], Mapping[str, Any]]) -> None:
        import litellm
        from litellm._logging import verbose_logger

        litellm.suppress_debug_info = True
        verbose_logger.setLevel("CRITICAL")  # `sagemaker_chat/` logs an error for each stream's [DONE]
        self._litellm = litellm
        self._arguments = arguments

    async def acall(self, endpoint: str, messages: Any) -> Any:
        return await self._litellm.acompletion(messages=messages, **self._arguments(endpoint, False))

    async def astream(self, endpoint: str, messages: Any) -> Any:
        return await self._litellm.acompletion(messages=messages, stream=True, **self._arguments(endpoint, True))

    def call(self, endpoint: str, messages: Any) -> Any:
        return self._litellm.completion(messages=messages, **self._arguments(endpoint, False))

    def stream(self, endpoint: str, messages: Any) -> Any:
        return self._litellm.completion(messages=messages, stream=True, **self._arguments(endpoint, True))

    async def asettle(self) -> None:
        from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

        idle = 0
        while idle < _IDLE_ROUNDS:
            await GLOBAL_LOGGING_WORKER.flush()
            # A call ends before the task runs that has it logged, so the queue may be empty as yet.
            left = asyncio.all_tasks() - {asyncio.current_task(), GLOBAL_LOGGING_WORKER._worker_task}
            idle = 0 if left or _logging_threads_work() else idle + 1
            if left:
                await asyncio.wait(left)
            else:
                await asyncio.sleep(0 if idle else 0.001)  # threads tell nobody

    def settle(self) -> None:
        while _logging_threads_work():
            time.sleep(0.001)


def _logging_threads_work() -> bool:
    """Whether LiteLLM's threads still log calls that are over (litellm_core_utils.thread_pool_executor, 1.106.2)."""
    from litellm.litellm_core_utils.thread_pool_executor import executor

    return bool(executor._pending_slots._value < executor._max_pending_tasks)


def _use_ours(url: str) -> None:
    import litellm_sagemaker_openai

    os.environ["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] = url
    litellm_sagemaker_openai.register()


def ours(url: str) -> Contender:
    """This provider."""
    _use_ours(url)
    return LiteLLM(lambda endpoint, _: {"model": f"{OURS}{endpoint}"})


def routed(url: str) -> Contender:
    """This provider, behind LiteLLM's Router."""
    _use_ours(url)
    return Routed(OURS)


def openai_compatible(url: str, provider: str) -> Contender:
    """LiteLLM's ``openai/`` and ``hosted_vllm/``: on the same path, with an API key that costs nothing to make."""

    def arguments(endpoint: str, _: bool) -> Mapping[str, Any]:
        base = f"{url}/endpoints/{endpoint}/openai/v1"
        return {"model": f"{provider}/{endpoint}", "api_base": base, "api_key": "made-up"}

    return LiteLLM(arguments)


def sagemaker_chat(url: str) -> Contender:
    """LiteLLM's ``sagemaker_chat/``: another path, SigV4, and AWS's event stream."""

    def arguments(endpoint: str, stream: bool) -> Mapping[str, Any]:
        route = "invocations-response-stream" if stream else "invocations"
        base = f"{url}/endpoints/{endpoint}/{route}"
        return {"model": f"sagemaker_chat/{endpoint}", "sagemaker_base_url": base}

    return LiteLLM(arguments)


def _use_floor(handler: str) -> None:
    import litellm
    from litellm.utils import custom_llm_setup

    from benchmarks import bench_floor

    litellm.custom_provider_map = [{"provider": "floor", "custom_handler": getattr(bench_floor, handler)}]
    custom_llm_setup()  # type: ignore[no-untyped-call]


def floor(handler: str, url: str = "") -> Contender:
    """LiteLLM around a custom provider of ``benchmarks.bench_floor``, which does nothing, or asks the server there."""
    _use_floor(handler)

    def arguments(endpoint: str, _: bool) -> Mapping[str, Any]:
        asks = {"api_base": f"{url}/endpoints/{endpoint}/openai/v1/chat/completions"} if url else {}
        return {"model": f"floor/{endpoint}", **asks}

    return LiteLLM(arguments)


def floor_routed(_: str) -> Contender:
    """The same, behind LiteLLM's Router."""
    _use_floor("floor_provider")
    return Routed("floor/")


class Routed(LiteLLM):
    """A provider behind LiteLLM's Router: one of a single deployment for ``whole``, one of many for ``whole-<n>``.

    Args:
        prefix: the provider's.
    """

    def __init__(self, prefix: str) -> None:
        from litellm import Router

        super().__init__(lambda endpoint, _: {"model": endpoint})
        several = [f"whole-{number}" for number in range(DEPLOYMENTS)]
        self._one, self._many = (
            Router(model_list=[{"model_name": each, "litellm_params": {"model": f"{prefix}{each}"}} for each in names])
            for names in (["whole"], several)
        )

    async def acall(self, endpoint: str, messages: Any) -> Any:
        router: Any = self._one if endpoint == "whole" else self._many
        return await router.acompletion(model=endpoint, messages=messages)


class OpenAISDK(Contender):
    """The OpenAI SDK on SageMaker's path.

    Args:
        url: the server's.
        auth: an httpx.Auth that puts a token into each request.
    """

    def __init__(self, url: str, auth: Any) -> None:
        import openai

        self._url = url
        self._client = openai.OpenAI(
            api_key="unused", base_url=url, http_client=openai.DefaultHttpxClient(auth=auth), max_retries=0
        )
        self._aclient = openai.AsyncOpenAI(
            api_key="unused", base_url=url, http_client=openai.DefaultAsyncHttpxClient(auth=auth), max_retries=0
        )
        self._clients: dict[str, tuple[Any, Any]] = {}

    def _on(self, endpoint: str) -> tuple[Any, Any]:
        if endpoint not in self._clients:
            base = f"{self._url}/endpoints/{endpoint}/openai/v1"
            self._clients[endpoint] = (
                self._client.with_options(base_url=base).chat.completions,
                self._aclient.with_options(base_url=base).chat.completions,
            )
        return self._clients[endpoint]

    async def acall(self, endpoint: str, messages: Any) -> Any:
        return await self._on(endpoint)[1].create(model="", messages=messages)

    async def astream(self, endpoint: str, messages: Any) -> Any:
        return await self._on(endpoint)[1].create(model="", messages=messages, stream=True)

    def call(self, endpoint: str, messages: Any) -> Any:
        return self._on(endpoint)[0].create(model="", messages=messages)

    def stream(self, endpoint: str, messages: Any) -> Any:
        return self._on(endpoint)[0].create(model="", messages=messages, stream=True)


def sdk_token(url: str) -> Contender:
    """With a token made for each request by sagemaker-core, whose ``generate_token`` looks for credentials anew."""
    import httpx

    generate_token = _sagemaker_core().generate_token

    class TokenPerRequest(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            request.headers["Authorization"] = f"Bearer {generate_token(region=REGION)}"
            yield request

    return OpenAISDK(url, TokenPerRequest())


def _sagemaker_core() -> Any:
    """``sagemaker.core.token_generator`` without its parents' own modules, which import all that they require."""
    folder = Path(str(distribution("sagemaker-core").locate_file("sagemaker")))
    for name, path in (("sagemaker", folder), ("sagemaker.core", folder / "core")):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    return import_module("sagemaker.core.token_generator")


def sdk_auth(url: str) -> Contender:
    """With this package's ``SageMakerAuth``."""
    from litellm_sagemaker_openai import SageMakerAuth

    return OpenAISDK(url, SageMakerAuth(REGION))


class Aiohttp(Contender):
    """What the machine needs to move the bytes: nothing is signed, and what comes back is not looked at."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Any = None

    @property
    def session(self) -> Any:
        """Made in the event loop, which it needs. Without aiohttp's limit of 100 connections."""
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session

    def _post(self, endpoint: str, messages: Any, **more: Any) -> Any:
        url = f"{self._url}/endpoints/{endpoint}/openai/v1/chat/completions"
        return self.session.post(url, json={"model": "", "messages": messages, **more})

    def _look_at(self, response: Any) -> None:
        """What a subclass wants to know of an answer's head."""

    async def acall(self, endpoint: str, messages: Any) -> Any:
        async with self._post(endpoint, messages) as response:
            self._look_at(response)
            return await response.read()

    async def astream(self, endpoint: str, messages: Any) -> Any:
        response = await self._post(endpoint, messages, stream=True)
        self._look_at(response)
        return response.content.iter_any()

    def text_of(self, answer: Any) -> str:
        return str(json.loads(answer)["choices"][0]["message"]["content"])

    def text_in(self, chunks: Sequence[Any]) -> str:
        return b"".join(re.findall(rb'"content": ?"([^"]*)"', b"".join(chunks))).decode()


CONTENDERS: dict[str, Callable[[str], Contender]] = {
    OURS: ours,
    "openai/": lambda url: openai_compatible(url, "openai"),
    "hosted_vllm/": lambda url: openai_compatible(url, "hosted_vllm"),
    "sagemaker_chat/": sagemaker_chat,
    SDK_TOKEN: sdk_token,
    SDK_AUTH: sdk_auth,
    FLOOR: lambda _: floor("floor_provider"),
    PREBUILT: lambda _: floor("prebuilt_provider"),
    UNNAMED: lambda _: floor("unnamed_provider"),
    SENDING: lambda url: floor("sending_provider", url),
    AIOHTTP: Aiohttp,
    ROUTED: routed,
    FLOOR_ROUTED: floor_routed,
}


def prompt(size: int) -> Sequence[dict[str, str]]:
    """A conversation of about so many bytes."""
    question = {"role": "user", "content": "What is the weather in Dublin and in all the other cities of this world?"}
    turn = 4000
    turns = [
        {"role": ("user", "assistant")[number % 2], "content": ("Some words of a long conversation. " * 120)[:turn]}
        for number in range(size // turn)
    ]
    return [{"role": "system", "content": "You are a helpful assistant."}, *turns, question]
