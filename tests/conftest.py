"""Fixtures: AWS credentials of the tests' own, a scripted server and the local runtime as the SageMaker runtime."""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.metadata
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import botocore.loaders
import httpx
import litellm
import pytest
from litellm import Router
from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler
from packaging.version import Version

import litellm_sagemaker_openai
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.litellm_seams import model_info
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.queued_invocations import AsyncInferenceConfig
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from litellm_sagemaker_openai.sending import retries
from tests.scripted import Answer, Scripted, Seen, scripted

WIRE = Path(__file__).parent / "wire"
REGION = "us-west-2"
# AWS's own example credentials, with a session token of the characters that need percent-encoding.
CREDENTIALS = FrozenCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "tok+en/=&x")
_create_loader = functools.cache(botocore.loaders.create_loader)
_MANY_CLIENTS = 100
MESSAGES: list[Any] = [{"role": "user", "content": "Hello?"}]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in (*item.iter_markers("slow"), *item.iter_markers("medium")):
            if not mark.kwargs.get("reason"):
                raise pytest.UsageError(
                    f"{item.nodeid}: write pytest.mark.{mark.name}(reason=...), and what takes long"
                )


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials and a region in the environment, and no other source of either."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CREDENTIALS.session_token or "")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    litellm_sagemaker_openai.register()
    litellm.suppress_debug_info = True
    log = logging.getLogger("LiteLLM")  # as it is at first; a command that ran in this process may have quieted it
    log.setLevel(logging.NOTSET)
    log.disabled, log.propagate = False, True
    # Each test has AWS config files of its own, and so resolves the runtime's URL anew: botocore reads its files once.
    monkeypatch.setattr("botocore.session.create_loader", _create_loader)
    monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.0)  # tests/sending/test_retries.py has the pauses


@pytest.fixture(scope="session", autouse=True)
async def litellms_clients() -> AsyncIterator[None]:
    """LiteLLM keeps its HTTP clients to the end of the process; pytest then reports what is left open as a leak."""
    yield
    await close_litellm_async_clients()  # type: ignore[no-untyped-call]
    await close_clients()


@pytest.fixture(scope="module", autouse=True)
async def room_for_clients(litellms_clients: None) -> AsyncIterator[None]:
    """LiteLLM keeps 200 clients, and then drops some unclosed. Each event loop and setting needs its own."""
    yield
    if len(litellm.in_memory_llm_clients_cache.cache_dict) > _MANY_CLIENTS:
        await close_clients()
        litellm.in_memory_llm_clients_cache.flush_cache()  # type: ignore[no-untyped-call]


async def close_clients() -> None:
    """Close the HTTP clients that LiteLLM keeps."""
    for client in litellm.in_memory_llm_clients_cache.cache_dict.values():
        if isinstance(client, AsyncHTTPHandler):
            await client.close()  # type: ignore[no-untyped-call]
        elif isinstance(client, httpx.AsyncClient):
            await client.aclose()
        elif isinstance(client, (HTTPHandler, httpx.Client)):
            client.close()


def litellm_is_before(version: str) -> bool:
    """For what LiteLLM itself does differently: a test says what is true of each version."""
    return Version(importlib.metadata.version("litellm")) < Version(version)


Upstream = Callable[[Callable[[Seen], Answer | bytes] | Answer | bytes], Scripted]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """Starts a scripted server and makes it the SageMaker runtime."""
    with ExitStack() as stack:

        def start(script: Callable[[Seen], Answer | bytes] | Answer | bytes) -> Scripted:
            server = stack.enter_context(scripted(script))
            monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
            return server

        yield start


@pytest.fixture
def no_known_models() -> Iterator[None]:
    """LiteLLM's list of models, which is the process's, without what other tests say of this provider's."""
    before = _taken_out()
    yield
    _taken_out()
    litellm.model_cost.update(before)


def _taken_out() -> dict[str, Any]:
    """This provider's entries, which the list has no longer."""
    model_info._stated.clear()
    ours = [name for name in litellm.model_cost if name.startswith("sagemaker_openai/")]
    taken = {name: litellm.model_cost.pop(name) for name in ours}
    # LiteLLM keeps answers until a model is registered.
    litellm.register_model({"for-the-tests": {"mode": "chat"}}, persist_across_reloads=False)
    del litellm.model_cost["for-the-tests"]
    return taken


@pytest.fixture
def every_name_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each host name resolves to this machine, so that what is sent to another one would be seen."""
    resolve = socket.getaddrinfo

    def here(host: Any, *args: Any, **more: Any) -> Any:
        return resolve("127.0.0.1", *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)


@pytest.fixture(scope="session")
def local_runtime() -> Iterator[Running]:
    """The local SageMaker runtime: a single-model endpoint, two with two components, and an asynchronous one."""
    config = RuntimeConfig(
        endpoints={
            "my-endpoint": (),
            "shared-endpoint": ("coder", "reviewer"),
            "my-gpus": ("coder", "reviewer"),  # the docs'
            "my-async-endpoint": (),
        },
        credentials=CREDENTIALS,
        region=REGION,
        echo=EchoConfig(context_length=8192),  # what is too long for it is soon made
        sessions=1200,
        queues={"my-async-endpoint": AsyncInferenceConfig("s3://my-bucket/results", "s3://my-bucket/failures")},
    )
    with running(config) as runtime:
        yield runtime


@pytest.fixture
def runtime(local_runtime: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """The local runtime, as the SageMaker runtime of this test; what it received before is forgotten."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", local_runtime.url)
    local_runtime.app.state.received.clear()
    return local_runtime


@pytest.fixture(scope="session")
def _moto() -> Iterator[Any]:
    from tests.aws_apis import aws_services  # here: moto takes a second to import, and few tests need it

    with aws_services() as aws:
        yield aws


@pytest.fixture
def aws_apis(_moto: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """AWS's other services as moto plays them (``tests.aws_apis.Aws``), empty, and where botocore finds them."""
    _moto.forget()
    for service in ("SAGEMAKER", "STS", "S3"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", _moto.url)
    return _moto


@pytest.fixture
def router_of() -> Iterator[Any]:
    """Makes Routers. LiteLLM takes 30 callbacks and each Router has some: those that are left would be its last."""
    routers: list[Router] = []

    def make(*models: dict[str, Any], **settings: Any) -> Router:
        routers.append(Router(model_list=list(models), **settings))
        return routers[-1]

    yield make
    for router in routers:
        retire(router)


def retire(router: Router) -> None:
    """Takes a Router's callbacks away from LiteLLM. Before 1.109 LiteLLM calls it ``discard``."""
    (getattr(router, "retire", None) or router.discard)()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM's waits between tries are its own, and tested there."""
    if litellm_is_before("1.109"):
        monkeypatch.setattr(Router, "_time_to_sleep_before_retry", lambda *_, **__: 0)
    else:
        host = importlib.import_module("litellm.router_python_host").PythonHost
        monkeypatch.setattr(host, "sleep", lambda *_: asyncio.sleep(0))
        monkeypatch.setattr(host, "sleep_sync", lambda *_: None)
