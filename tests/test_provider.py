"""The four kinds of call, through the real LiteLLM, against the local SageMaker runtime that checks each token."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import httpx
import litellm
import pytest
from litellm import CustomLLM
from litellm.caching.llm_caching_handler import LLMClientCache
from litellm.integrations.custom_logger import CustomLogger
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler

import litellm_sagemaker_openai
from litellm_sagemaker_openai.aws.auth import generate_token
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from litellm_sagemaker_openai.operations.operation import Call
from tests.conftest import CREDENTIALS, MESSAGES, REGION, Upstream
from tests.scripted import Answer, chunk, completion, json_answer, sse

MODEL = "sagemaker_openai/my-endpoint"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


async def whole(is_async: bool, **call: Any) -> Any:
    call = {"model": MODEL, "messages": MESSAGES, **call}
    return await litellm.acompletion(**call) if is_async else litellm.completion(**call)


async def rebuilt(is_async: bool, **call: Any) -> Any:
    """A streamed call's chunks, put together again."""
    answer = await whole(is_async, stream=True, stream_options={"include_usage": True}, **call)
    chunks = [piece async for piece in answer] if is_async else list(answer)
    return litellm.stream_chunk_builder(chunks)


KINDS: dict[str, Any] = {
    "completion": lambda **call: whole(False, **call),
    "acompletion": lambda **call: whole(True, **call),
    "streaming": lambda **call: rebuilt(False, **call),
    "astreaming": lambda **call: rebuilt(True, **call),
    "faked streaming": lambda **call: rebuilt(False, fake_stream=True, **call),
    "faked astreaming": lambda **call: rebuilt(True, fake_stream=True, **call),
}


@pytest.fixture(params=KINDS)
def ask(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]


async def test_a_chat(runtime: Running, ask: Any) -> None:
    response = await ask()
    assert "Hello?" in response.choices[0].message.content
    assert response.choices[0].finish_reason == "stop"
    assert response.usage.prompt_tokens > 0
    assert response.usage.total_tokens == response.usage.prompt_tokens + response.usage.completion_tokens


async def test_the_answer_is_the_same_however_it_is_asked_for(runtime: Running) -> None:
    calls = [
        await ask(messages=MESSAGES, reasoning_effort="low", allowed_openai_params=["reasoning_effort"])
        for ask in KINDS.values()
    ]
    assert len({call.choices[0].message.content for call in calls}) == 1
    assert len({call.choices[0].message.reasoning_content for call in calls}) == 1
    assert len({(call.usage.prompt_tokens, call.usage.completion_tokens) for call in calls}) == 1


async def test_an_inference_component_by_path_by_parameter_and_by_arn(runtime: Running, ask: Any) -> None:
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/shared-endpoint"
    await ask(model="sagemaker_openai/shared-endpoint/coder")
    await ask(model="sagemaker_openai/shared-endpoint", model_id="reviewer")
    await ask(model=f"sagemaker_openai/{arn}/coder")
    await ask(model=f"sagemaker_openai/{arn}", model_id="reviewer")
    named = [received.path.split("/")[4] for received in runtime.app.state.received]
    assert named == ["coder", "reviewer"] * 2


async def test_a_tool_call_and_its_answer(runtime: Running, ask: Any) -> None:
    question = [{"role": "user", "content": "What is the weather in Lisbon for 3 days?"}]
    message = (await ask(messages=question, tools=[WEATHER])).choices[0].message
    arguments = json.loads(message.tool_calls[0].function.arguments)
    assert message.tool_calls[0].function.name == "weather"
    assert set(arguments) == {"city", "days"}
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny, 24 degrees"}
    answer = await ask(messages=[*question, message, result], tools=[WEATHER])
    assert "sunny, 24 degrees" in answer.choices[0].message.content


async def test_json_that_fits_a_schema(runtime: Running, ask: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}
    answer = json.loads((await ask(response_format=response_format)).choices[0].message.content)
    assert isinstance(answer["n"], int)


async def test_reasoning(runtime: Running, ask: Any) -> None:
    response = await ask(reasoning_effort="high", allowed_openai_params=["reasoning_effort"])
    assert response.choices[0].message.reasoning_content
    assert response.choices[0].message.content


@pytest.mark.parametrize("is_async", [False, True])
async def test_logprobs_and_several_choices(runtime: Running, is_async: bool) -> None:
    response = await whole(is_async, logprobs=True, top_logprobs=2, n=3)
    assert [choice.index for choice in response.choices] == [0, 1, 2]
    for choice in response.choices:
        assert "".join(each.token for each in choice.logprobs.content) == choice.message.content
        assert len(choice.logprobs.content[0].top_logprobs) == 2


async def test_what_the_container_refuses(runtime: Running, ask: Any) -> None:
    with pytest.raises(litellm.BadRequestError, match="temperature"):
        await ask(temperature=7)
    with pytest.raises(litellm.ContextWindowExceededError, match="maximum context length"):
        await ask(messages=[{"role": "user", "content": "word " * 9000}])
    with pytest.raises(litellm.NotFoundError, match="set hf_model_name to it; in a proxy, its operator sets that"):
        await ask(hf_model_name="another-model")


async def test_an_unknown_endpoint(runtime: Running, ask: Any) -> None:
    with pytest.raises(litellm.NotFoundError, match="Endpoint nowhere not found") as refused:
        await ask(model="sagemaker_openai/nowhere")
    assert "123456789012" not in str(refused.value)


async def test_an_endpoint_that_has_components_called_without_one(runtime: Running, ask: Any) -> None:
    with pytest.raises(litellm.BadRequestError, match="write sagemaker_openai/<endpoint>/<component>"):
        await ask(model="sagemaker_openai/shared-endpoint")


async def test_credentials_that_aws_does_not_know(runtime: Running, ask: Any) -> None:
    with pytest.raises(litellm.PermissionDeniedError, match="sagemaker:CallWithBearerToken"):
        await ask(aws_access_key_id="AKIA", aws_secret_access_key="wrong", aws_session_token=None)


async def test_a_token_made_elsewhere(runtime: Running, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = generate_token(REGION)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)  # no AWS credentials are looked up
    assert (await ask(api_key=token)).choices[0].message.content
    assert (await ask(api_key=f"{token}\n")).choices  # as a file has it


@pytest.mark.parametrize("empty", ["", " ", "\n"], ids=repr)
async def test_a_token_that_is_empty_is_none(runtime: Running, ask: Any, router_of: Any, empty: str) -> None:
    assert (await ask(api_key=empty)).choices
    deployment = {"model": "sagemaker_openai/my-endpoint", "api_key": empty}
    router = router_of({"model_name": "m", "litellm_params": deployment}, num_retries=0)
    assert (await router.acompletion("m", MESSAGES)).choices


async def test_an_endpoint_in_another_region_than_the_environments(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RuntimeConfig(endpoints={"my-endpoint": ()}, credentials=CREDENTIALS, region="eu-west-1")
    with running(config) as runtime:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
        assert (await ask(aws_region_name="eu-west-1")).choices
        with pytest.raises(litellm.PermissionDeniedError):
            await ask()


@pytest.mark.parametrize("name", ["api_base", "sagemaker_base_url", "AWS_ENDPOINT_URL", "config file"])
async def test_where_the_base_url_comes_from(
    local_runtime: Running, ask: Any, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    more: dict[str, Any] = {}
    if name == "AWS_ENDPOINT_URL":
        monkeypatch.setenv(name, local_runtime.url)
    elif name == "config file":
        (tmp_path / "config").write_text(f"[default]\nendpoint_url = {local_runtime.url}\n")
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        more = {name: f"{local_runtime.url}/endpoints/my-endpoint/openai/v1"}
    assert (await ask(**more)).choices


@pytest.mark.parametrize("is_async", [False, True])
async def test_everything_that_the_container_sent_is_in_the_answer(upstream: Upstream, is_async: bool) -> None:
    sent = completion(
        "Hi",
        message={"reasoning": "think", "reasoning_content": None, "refusal": None, "annotations": []},
        prompt_logprobs=[1],
        kv_transfer_params={"a": 1},
        system_fingerprint="fp",
        usage={
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    )
    sent["choices"][0].update(finish_reason="length", stop_reason=5)
    upstream(Answer([json.dumps(sent).encode()], content_type="application/json", headers={"X-Amzn-RequestId": "r-1"}))
    response = await whole(is_async)
    assert response.id == "chatcmpl-1"
    assert (response.model, response._hidden_params["sagemaker_served_model"]) == ("my-endpoint", "served")
    assert response.created == 1795169406
    assert response.system_fingerprint == "fp"
    assert response.prompt_logprobs == [1]
    assert response.kv_transfer_params == {"a": 1}
    assert response.choices[0].message.content == "Hi"
    assert response.choices[0].message.reasoning_content == "think"
    assert response.choices[0].finish_reason == "length"
    assert response.choices[0].provider_specific_fields["stop_reason"] == 5
    assert response.usage.prompt_tokens_details.cached_tokens == 3
    assert response.usage.completion_tokens_details.reasoning_tokens == 2
    assert response._hidden_params["additional_headers"]["llm_provider-x-amzn-requestid"] == "r-1"


@pytest.mark.parametrize(
    "body",
    [
        b"<html><title>Hello</title></html>",
        b"",
        b"[]",
        b'"text"',
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": "x", "tool_calls": [3]}}]}',
        b"\xff\xfe",
    ],
)
async def test_an_answer_that_is_no_chat_completion(upstream: Upstream, ask: Any, body: bytes) -> None:
    upstream(Answer([body], content_type="application/json"))
    with pytest.raises(
        Exception, match=r"200 with|neither events nor JSON|not an object|is no object|ended before"
    ) as refused:
        await ask()
    original = getattr(refused.value, "original_exception", None) or refused.value
    assert type(original) is litellm.BadGatewayError


async def test_an_error_with_status_200(upstream: Upstream, ask: Any) -> None:
    upstream(json_answer({"error": {"message": "too many", "type": "RateLimit", "code": 429}}))
    with pytest.raises(Exception, match="too many") as refused:
        await ask()
    assert type(getattr(refused.value, "original_exception", None) or refused.value) is litellm.RateLimitError


async def test_a_redirect_is_not_followed_with_the_token(upstream: Upstream, ask: Any) -> None:
    server = upstream(Answer(status=307, headers={"location": "/elsewhere"}))
    with pytest.raises(Exception, match="not followed"):
        await ask()
    assert [seen.path for seen in server.seen] == ["/endpoints/my-endpoint/openai/v1/chat/completions"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_a_call_costs(runtime: Running, is_async: bool) -> None:
    prices = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
    response = await whole(is_async, **prices)
    usage = response.usage
    expected = usage.prompt_tokens * 0.001 + usage.completion_tokens * 0.01
    assert response._hidden_params["response_cost"] == pytest.approx(expected)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_client_of_the_callers_is_used(runtime: Running, is_async: bool) -> None:
    used = []
    if is_async:

        async def note(request: httpx.Request) -> None:
            used.append(request.url.path)

        async with httpx.AsyncClient(event_hooks={"request": [note]}) as client:
            await whole(True, client=client)
            handler = AsyncHTTPHandler()
            handler.client = client
            await whole(True, client=handler)
    else:
        with httpx.Client(event_hooks={"request": [lambda request: used.append(request.url.path)]}) as sync_client:
            await whole(False, client=sync_client)
            await whole(False, client=HTTPHandler(client=sync_client))
    assert used == ["/endpoints/my-endpoint/openai/v1/chat/completions"] * 2


def test_threads_share_one_client_from_their_first_call_on(runtime: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lock each of the threads that ask at once makes one, and all but one stay open."""
    made: list[Any] = []
    original = httpx.Client.__init__

    def count(self: Any, *args: Any, **more: Any) -> None:
        made.append(self)
        together.wait(0.2) if len(made) < 8 else together.set()
        original(self, *args, **more)

    together = threading.Event()
    monkeypatch.setattr(litellm, "in_memory_llm_clients_cache", LLMClientCache())
    monkeypatch.setattr(httpx.Client, "__init__", count)
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(litellm.completion, model=MODEL, messages=MESSAGES) for _ in range(8)]
        assert all(call.result(30).choices for call in calls)
    assert len(made) == 1
    made[0].close()


@pytest.mark.parametrize("is_async", [False, True])
async def test_callbacks_see_the_call(runtime: Running, is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class CallCollector(CustomLogger):
        before: list[Any] = []  # noqa: RUF012 - LiteLLM keeps the first instance of a class, so the class collects

        def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
            self.before.append(kwargs["additional_args"])

    monkeypatch.setattr(litellm, "callbacks", [CallCollector()])
    await whole(is_async, temperature=0.5)
    assert CallCollector.before[0]["complete_input_dict"]["temperature"] == 0.5
    assert CallCollector.before[0]["api_base"].endswith("/my-endpoint/openai/v1/chat/completions")
    assert "authorization" not in {name.lower() for name in CallCollector.before[0]["headers"]}


def test_registering_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"provider": "other", "custom_handler": CustomLLM()}
    monkeypatch.setattr(litellm, "custom_provider_map", [other])
    litellm_sagemaker_openai.register()
    litellm_sagemaker_openai.register()
    assert [item["provider"] for item in litellm.custom_provider_map] == ["other", "sagemaker_openai"]
    assert litellm.custom_provider_map[1]["custom_handler"] is litellm_sagemaker_openai.sagemaker_openai
    assert litellm.provider_list.count("sagemaker_openai") == 1


def test_a_boto3_session_gives_the_same_host(runtime: Running) -> None:
    client = boto3.client("sagemaker-runtime", region_name=REGION)
    assert client.meta.endpoint_url == runtime.url


@pytest.mark.slow(reason="starts processes that import LiteLLM")
@pytest.mark.parametrize("registered", [True, False])
def test_litellm_alone_knows_no_provider_before_the_first_call(registered: bool) -> None:
    """The fact behind ``registration.py``: where this fails, ``custom_provider_map`` is all that is needed."""
    register = "litellm_sagemaker_openai.register()"
    by_hand = "litellm.custom_provider_map = [{'provider': 'sagemaker_openai', 'custom_handler': handler}]"
    program = (
        "import litellm, litellm_sagemaker_openai\nhandler = litellm_sagemaker_openai.sagemaker_openai\n"
        f"{register if registered else by_hand}\n"
        "print(litellm.get_supported_openai_params('e', custom_llm_provider='sagemaker_openai') is not None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(registered), done.stderr


@pytest.mark.parametrize(("is_async", "cached"), [(False, False), (True, False), (True, True)])
async def test_an_open_stream_keeps_nothing_that_only_its_request_needed(
    is_async: bool, cached: bool, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body has the whole conversation, and there may be thousands of streams. With a cache, they open lazily."""
    monkeypatch.setattr(litellm, "cache", litellm.Cache() if cached else None)
    upstream(Answer([sse(chunk({"content": "Hi"}), done=False)], end="stall"))
    messages = [{"role": "user", "content": f"a conversation {is_async} {cached}"}]
    stream = await whole(is_async, messages=messages, stream=True, api_key="t")
    await anext(stream) if is_async else next(stream)
    gc.collect()
    kept = [each for each in gc.get_objects() if isinstance(each, Call) and each.content == messages]
    assert [(each.request.body, each.model_response) for each in kept] == [(b"", None)]
    await stream.aclose() if is_async else stream.completion_stream.close()
