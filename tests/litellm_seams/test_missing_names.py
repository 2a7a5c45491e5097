"""Each name that LiteLLM, httpx or aiohttp does not promise is taken away in turn: calls still give the right answer.

``NAMES`` is compared with what the package looks up. What cannot be had without a name is tested beside it:
tests/aws/test_credentials.py has the web identities, tests/test_access.py the proxy.
"""

from __future__ import annotations

import ast
import asyncio
import os
import pickle
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import httpx
import litellm
import pytest

import litellm_sagemaker_openai
from litellm_sagemaker_openai.litellm_seams import http_clients, known_parameters, lookup
from litellm_sagemaker_openai.litellm_seams.connections import read_connections
from litellm_sagemaker_openai.local.server import Running
from litellm_sagemaker_openai.monitoring import recorder
from litellm_sagemaker_openai.operations.queued_inference import request
from tests.conftest import MESSAGES, retire

pytestmark = pytest.mark.medium(reason="makes each kind of call without each name")

PACKAGE = Path(litellm_sagemaker_openai.__file__).parent
ANSWER = "Echo container, not a model. You said: Hello?"
CONTINUED = "Echo container, not a model. You wrote: Hello?"
CHAT, EMBED = "sagemaker_openai/my-endpoint", "sagemaker_openai/shared-endpoint/coder"

# The names that stand for one thing, under any of LiteLLM's versions.
NAMES = [
    ("AiohttpResponseStream",),
    ("AsyncHTTPHandler",),
    ("DualCache",),
    ("GracefulShutdownManager",),
    ("HTTPHandler",),
    ("InMemoryCache",),
    ("LiteLLMAiohttpTransport",),
    ("ModelInfo",),
    ("OPENAI_EMBEDDING_PARAMS",),
    ("StreamKind",),
    ("TextCompletionStreamWrapper",),
    ("__self__",),
    ("_acquired",),
    ("_acquired_per_host",),
    ("_build_sts_client_kwargs",),
    ("_conns",),
    ("_get_model_info_from_generalization",),
    ("_get_proxy_settings",),
    ("_is_converted_stream_result",),
    ("_limit",),
    ("_limit_per_host",),
    ("_max_connections",),
    ("_max_keepalive_connections",),
    ("_mounts",),
    ("_pool",),
    ("_transport",),
    ("_transport_for_url",),
    ("_waiters",),
    ("all_litellm_params",),
    ("async_get_active_cooldowns",),
    ("blocked_cookie_jar",),
    ("cache_dict",),
    ("check_provider_endpoint",),
    ("chunk_creator",),
    ("client",),
    ("close",),
    ("connections",),
    ("connector",),
    ("convert_to_model_response_object",),
    ("convert_to_text_completion_object",),
    ("cooldown_cache",),
    ("credential_list",),
    ("custom_llm_setup",),
    ("extract_reasoning_content", "_extract_reasoning_content"),
    ("get_async_httpx_client",),
    ("get_cache",),
    ("get_cache_key",),
    ("get_deployment",),
    ("get_fallback_generalization_rules",),
    ("get_known_models_from_wildcard",),
    ("get_litellm_metadata_from_kwargs",),
    ("get_model_list",),
    ("get_optional_params",),
    ("get_secret",),
    ("get_ssl_configuration",),
    ("get_ssl_verify",),
    ("get_valid_client_session", "_get_valid_client_session"),
    ("get_valid_models",),
    ("in_memory_llm_clients_cache",),
    ("is_shutting_down",),
    ("litellm_params",),
    ("llm_caching_handler", "_llm_caching_handler"),
    ("map_aiohttp_exceptions",),
    ("match_capability_generalizations",),
    ("model",),
    ("model_call_details",),
    ("model_cost",),
    ("model_group_alias",),
    ("model_name",),
    ("model_names",),
    ("optional_params",),
    ("pass_through_all_models",),
    ("post_call",),
    ("pre_call",),
    ("process_response_headers",),
    ("registry",),
    ("request_kwargs",),
    ("router_general_settings",),
    ("set_cache",),
    ("should_exit",),
    ("should_store_result_in_cache", "_should_store_result_in_cache"),
    ("sync_transport",),
    ("text_completion",),
]


def looked_up() -> set[tuple[str, ...]]:
    """The names that the package looks up, read from its source."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("lookup."):
                found.add(tuple(str(each.value) for each in node.args[1:] if isinstance(each, ast.Constant)))
    return found - {()}  # a helper passes on what it is given


def test_the_list_has_what_the_package_looks_up() -> None:
    variables = {("llm_router",), ("user_model",)}  # what proxy_client.py passes on
    assert looked_up() | variables == {*NAMES} | variables


@pytest.fixture
async def without(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[tuple[str, ...]], None]]:
    """Takes names away, as far as this package sees."""

    def take_away(names: tuple[str, ...]) -> None:
        for function in ("in_module", "in_loaded", "attribute"):
            original = getattr(lookup, function)

            def missing(where: Any, *asked: str, original: Any = original) -> Any:
                return None if asked == names else original(where, *asked)

            monkeypatch.setattr(lookup, function, missing)
        known_parameters.litellms_own.cache_clear()

    yield take_away
    known_parameters.litellms_own.cache_clear()
    for client in (client for clients in http_clients._OwnCache.clients.values() for client in clients.values()):
        client.close() if isinstance(client, httpx.Client) else await client.aclose()
    http_clients._OwnCache.clients.clear()


async def whole(is_async: bool) -> None:
    call: dict[str, Any] = {"model": CHAT, "messages": MESSAGES, "temperature": 0.5, "metadata": {"mine": "1"}}
    response: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
    assert response.choices[0].message.content == ANSWER
    assert response.choices[0].finish_reason == "stop"
    assert response.usage.completion_tokens > 0
    assert response._hidden_params["additional_headers"]["llm_provider-x-amzn-requestid"]


async def with_a_tool(is_async: bool) -> None:
    tool = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
    call: dict[str, Any] = {"model": CHAT, "messages": MESSAGES, "tools": [tool], "tool_choice": "required"}
    response: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
    [called] = response.choices[0].message.tool_calls
    assert called.function.name == "get_time"
    assert response.choices[0].finish_reason == "tool_calls"


async def streamed(is_async: bool) -> None:
    call: dict[str, Any] = {"model": CHAT, "messages": MESSAGES, "stream": True}
    call["stream_options"] = {"include_usage": True}
    if is_async:
        chunks = [chunk async for chunk in await litellm.acompletion(**call)]
    else:
        chunks = list(litellm.completion(**call))
    built: Any = litellm.stream_chunk_builder(chunks)
    assert built.choices[0].message.content == ANSWER
    assert built.choices[0].finish_reason == "stop"
    assert built.usage.completion_tokens > 0


async def continued(is_async: bool) -> None:
    """A text completion, whole and streamed."""
    call: dict[str, Any] = {"model": CHAT, "prompt": "Hello?", "max_tokens": 40}
    if is_async:
        whole: Any = await litellm.atext_completion(**call)
        chunks: list[Any] = [chunk async for chunk in await litellm.atext_completion(**call, stream=True)]
    else:
        whole, chunks = litellm.text_completion(**call), list(litellm.text_completion(**call, stream=True))
    assert whole.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks) == f" {CONTINUED}"


async def embedded(is_async: bool) -> None:
    call: dict[str, Any] = {"model": EMBED, "input": ["one", "two"]}
    response: Any = await litellm.aembedding(**call) if is_async else litellm.embedding(**call)
    assert [each["index"] for each in response.data] == [0, 1]
    assert all(len(each["embedding"]) == len(response.data[0]["embedding"]) > 0 for each in response.data)
    assert response.usage.prompt_tokens > 0


async def ranked(is_async: bool) -> None:
    call: dict[str, Any] = {"model": EMBED, "query": "one", "documents": ["two", "one"], "top_n": 1}
    ours = litellm_sagemaker_openai
    response = await ours.arerank(**call) if is_async else ours.rerank(**call)
    assert response.results == [{"index": 1, "relevance_score": 1.0, "document": {"text": "one"}}]
    assert response._hidden_params["additional_headers"]["llm_provider-x-amzn-requestid"]


async def refused(is_async: bool) -> None:
    call: dict[str, Any] = {"model": CHAT, "messages": MESSAGES, "temperature": -1}
    with pytest.raises(litellm.BadRequestError, match="the container answered 400"):
        await litellm.acompletion(**call) if is_async else litellm.completion(**call)


async def routed(is_async: bool) -> None:
    """A Router's stream, which ``stream_opening`` opens early where it can."""
    model = {"model_name": "m", "litellm_params": {"model": CHAT}, "model_info": {"mode": "chat"}}
    router = litellm.Router(model_list=[model])
    call: dict[str, Any] = {"model": "m", "messages": MESSAGES, "stream": True}
    try:
        if is_async:
            stream: Any = await router.acompletion(**call)
            chunks = [chunk async for chunk in stream]
        else:
            chunks = list(router.completion(**call))
    finally:
        retire(router)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ANSWER


async def queued(is_async: bool) -> None:
    call: dict[str, Any] = {"model": "sagemaker_openai/my-async-endpoint", "messages": MESSAGES, "timeout": 20}
    call["aws_sagemaker_async"] = True
    response: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
    assert response.choices[0].message.content == ANSWER


Kind = Callable[[bool], Coroutine[Any, Any, None]]
KINDS: list[Kind] = [whole, with_a_tool, streamed, routed, continued, embedded, ranked, queued, refused]


def run_without_a_loop(synchronous: Coroutine[Any, Any, None]) -> None:
    """Runs what awaits nothing. LiteLLM keeps clients for each event loop, and those of one that ended stay open."""
    with pytest.raises(StopIteration):
        synchronous.send(None)


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[0])
async def test_calls_of_each_kind_without(
    names: tuple[str, ...],
    runtime: Running,
    aws_apis: Any,
    without: Callable[[tuple[str, ...]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)  # the same for all, so that botocore's clients are made once
    monkeypatch.setattr(request, "_FIRST_INTERVAL", 0.01)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="my-bucket")
    without(names)
    monkeypatch.setattr(recorder, "_publishers", (Mock(),))  # what metrics need to know is looked up, too
    for kind in KINDS:
        await asyncio.to_thread(run_without_a_loop, kind(False))
        await kind(True)
    read_connections()


async def test_clients_of_our_own_are_shared_within_an_event_loop_and_no_further(
    without: Callable[[tuple[str, ...]], None],
) -> None:
    without(("in_memory_llm_clients_cache",))

    async def asynchronous() -> httpx.AsyncClient:
        return http_clients.own_client(httpx.AsyncClient, None, trust_env=False)

    def in_another_loop() -> tuple[Any, Any]:
        async def both() -> tuple[Any, Any]:
            client = await asynchronous()
            await client.aclose()
            return client, http_clients.own_client(httpx.Client, None, trust_env=False)

        return asyncio.run(both())

    ours, theirs = await asynchronous(), await asyncio.to_thread(in_another_loop)
    assert await asynchronous() is ours is not theirs[0]
    assert http_clients.own_client(httpx.Client, None, trust_env=False) is theirs[1]
    assert http_clients.own_client(httpx.Client, None, trust_env=True) is not theirs[1]


def test_a_module_that_lacks_something_of_its_own_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_by_its_own_import.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        lookup.in_module("broken_by_its_own_import", "name")
    assert lookup.in_module("no_such_module_at_all", "name") is None
    assert lookup.in_module("pickle", "no_such_name", "dumps") is pickle.dumps
