"""Chat by InvokeEndpoint: where it goes, who signs, what it refuses, how it fails. What a container streams reaches
the caller as on /openai/v1: tests/formats/test_stream_fidelity.py and test_vllm_wire.py ask both ways."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.exceptions import MidStreamFallbackError

from litellm_sagemaker_openai.local import invoke_endpoint
from litellm_sagemaker_openai.local.event_stream import model_stream_error, payload_part
from litellm_sagemaker_openai.local.frontdoor import Container
from litellm_sagemaker_openai.local.server import Running
from tests.conftest import MESSAGES, REGION, Upstream
from tests.scripted import Answer, Seen, chunk, completion, in_event_stream, json_answer, on_its_route, sse, usage_chunk

each = pytest.mark.parametrize
both = each("is_async", [False, True], ids=["sync", "async"])
kinds = each(("is_async", "stream"), [(a, s) for a in (False, True) for s in (False, True)])
ROUTE: dict[str, Any] = {"aws_sagemaker_chat_route": "invocations"}
MODEL = "sagemaker_openai/my-endpoint"
BEGUN = payload_part(sse(chunk({"content": "Hel"}), chunk({"content": "lo."}), done=False))
WHOLE_ROUTE, STREAM_ROUTE = "invocations", "invocations-response-stream"


async def ask(is_async: bool, stream: bool = False, of: Any = litellm, **more: Any) -> tuple[str, Any]:
    """What an answer says, and the answer or a stream's chunks."""
    call: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": stream, **ROUTE, **more}
    answer: Any = await of.acompletion(**call) if is_async else of.completion(**call)
    if not stream:
        return answer.choices[0].message.content, answer
    chunks = [piece async for piece in answer] if is_async else list(answer)
    return "".join(piece.choices[0].delta.content or "" for piece in chunks), chunks


def hello(seen: Seen) -> Answer:
    events = [chunk({"content": "Hel"}), chunk({"content": "lo."}), chunk(finish="stop"), usage_chunk(11, 7)]
    return Answer([sse(*events)]) if seen.json.get("stream") else json_answer(completion())


@kinds
async def test_where_it_goes(upstream: Upstream, is_async: bool, stream: bool) -> None:
    server = upstream(on_its_route(hello))
    said, _ = await ask(is_async, stream, model=f"{MODEL}/coder", temperature=0.5)
    [seen] = server.seen
    assert said == "Hello."
    assert seen.path == f"/endpoints/my-endpoint/{STREAM_ROUTE if stream else WHOLE_ROUTE}"
    assert seen.headers["x-amzn-sagemaker-inference-component"] == "coder"
    assert seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert {"model": "", "messages": MESSAGES, "temperature": 0.5}.items() <= seen.json.items()
    assert ("stream" in seen.json) is stream
    assert not [name for name in seen.json if name.startswith("aws_")]
    events = "text/event-stream, application/jsonlines, application/json"
    assert seen.headers.get("x-amzn-sagemaker-accept") == (events if stream else None)


@kinds
async def test_it_says_what_openai_v1_says(runtime: Running, is_async: bool, stream: bool) -> None:
    """The local runtime checks the signature, and has the component in the header."""
    model = "sagemaker_openai/shared-endpoint/coder"
    said, answer = await ask(is_async, stream, model=model)
    other, _ = await ask(is_async, stream, model=model, aws_sagemaker_chat_route="openai")
    assert said == other != ""
    routes = [each.path.rpartition("/")[2] for each in runtime.app.state.received]
    assert routes == [STREAM_ROUTE if stream else WHOLE_ROUTE, "completions"]
    headers = (answer[0] if stream else answer)._hidden_params["additional_headers"]
    assert headers["llm_provider-x-amzn-invoked-production-variant"] == "AllTraffic"


@both
async def test_options(runtime: Running, is_async: bool) -> None:
    asked = {"aws_sagemaker_target_variant": "blue", "aws_sagemaker_custom_attributes": "trace=1"}
    for stream in (False, True):
        _, answer = await ask(is_async, stream, **asked, aws_sagemaker_inference_id="my-id")
        headers = (answer[0] if stream else answer)._hidden_params["additional_headers"]
        assert headers["llm_provider-x-amzn-invoked-production-variant"] == "blue"
        assert headers["llm_provider-x-amzn-sagemaker-custom-attributes"] == "trace=1"
        assert runtime.app.state.received[-1].headers["x-amzn-sagemaker-inference-id"] == "my-id"


@each(("option", "value"), [("aws_sagemaker_target_model", "b.tar.gz"), ("aws_sagemaker_session_id", "NEW_SESSION")])
async def test_what_no_stream_takes_goes_with_fake_stream(upstream: Upstream, option: str, value: str) -> None:
    server = upstream(on_its_route(hello))
    with pytest.raises(litellm.BadRequestError, match="set fake_stream=True"):
        await ask(True, True, **{option: value})
    assert server.seen == []
    said, _ = await ask(True, True, **{option: value}, fake_stream=True)
    assert said == "Hello."
    assert server.seen[0].path.endswith(f"/{WHOLE_ROUTE}")


@both
async def test_a_bearer_token_is_refused(upstream: Upstream, is_async: bool) -> None:
    server = upstream(hello)
    with pytest.raises(litellm.BadRequestError, match=r"SageMaker's /invocations takes none.*Leave api_key out"):
        await ask(is_async, api_key="sagemaker-api-key-x")
    assert server.seen == []


@both
@each("at", ["/openai/v1", "/invocations", "/invocations-response-stream"])
async def test_a_base_url_that_names_a_route(upstream: Upstream, is_async: bool, at: str) -> None:
    server = upstream(on_its_route(hello))
    for stream in (False, True):
        await ask(is_async, stream, api_base=f"{server.url}/endpoints/my-endpoint{at}")
    assert [seen.path.rpartition("/")[2] for seen in server.seen] == [WHOLE_ROUTE, STREAM_ROUTE]


# Failures


@kinds
@each("status", [400, 404, 429, 503])
async def test_a_containers_refusal(upstream: Upstream, is_async: bool, stream: bool, status: int) -> None:
    body = b'{"error": {"message": "said by it", "type": "t", "code": %d}}' % status
    answer = invoke_endpoint.container_error(status, body, Container("primary", "my-endpoint", REGION))
    upstream(Answer([answer.body.encode()], answer.status, "application/json"))
    with pytest.raises(Exception, match=f"the container answered {status}: said by it") as raised:
        await ask(is_async, stream, num_retries=0)
    assert getattr(raised.value, "status_code", None) == status
    assert "123456789012" not in str(raised.value)


@kinds
async def test_a_container_without_the_route(upstream: Upstream, is_async: bool, stream: bool) -> None:
    answer = invoke_endpoint.container_error(404, b"Not Found", Container("primary", "my-endpoint", REGION))
    upstream(Answer([answer.body.encode()], answer.status, "application/json"))
    with pytest.raises(litellm.NotFoundError, match="the container seems not to serve /invocations"):
        await ask(is_async, stream)


async def read_into(got: list[str], is_async: bool) -> None:
    call: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": True, **ROUTE}
    if is_async:
        async for piece in await litellm.acompletion(**call):
            got.append(piece.choices[0].delta.content or "")
    else:
        got.extend(piece.choices[0].delta.content or "" for piece in litellm.completion(**call))


ENDS: dict[str, tuple[list[bytes], Any, str]] = {
    "an error event": (
        [BEGUN, payload_part(sse({"error": {"message": "died"}}))],
        litellm.InternalServerError,
        "died",
    ),
    "a stream that broke": (
        [BEGUN, model_stream_error("The connection was reset.", "StreamBroken")],
        litellm.BadGatewayError,
        "The connection was reset.",
    ),
    "the time is up": (
        [
            BEGUN,
            model_stream_error("Your model primary did not complete …", "ModelInvocationTimeExceeded"),
        ],
        litellm.Timeout,
        "did not complete",
    ),
    "half a message": (
        [BEGUN, payload_part(b"data: {}\n\n")[:20]],
        litellm.BadGatewayError,
        "the stream ended before the answer did",
    ),
    "a damaged message": (
        [BEGUN, payload_part(b"data: {}\n\n")[:-1] + b"x"],
        litellm.BadGatewayError,
        "event stream is damaged",
    ),
}


@both
@each("name", ENDS)
async def test_in_mid_stream(upstream: Upstream, is_async: bool, name: str) -> None:
    pieces, expected, says = ENDS[name]
    upstream(Answer(pieces, 200, "application/vnd.amazon.eventstream"))
    got: list[str] = []
    with pytest.raises(Exception, match=says) as raised:
        await read_into(got, is_async)
    assert "".join(got) == "Hello."
    error = raised.value
    assert isinstance(error.original_exception if isinstance(error, MidStreamFallbackError) else error, expected)


@pytest.mark.usefixtures("no_waiting")
@both
async def test_before_the_first_chunk_the_router_goes_elsewhere(
    upstream: Upstream, router_of: Any, is_async: bool
) -> None:
    broken = Answer([model_stream_error("reset", "StreamBroken")], 200, "application/vnd.amazon.eventstream")
    server = upstream(lambda seen: broken if "/broken/" in seen.path else in_event_stream(hello(seen)))
    models = [
        {"model_name": "m", "litellm_params": {"model": f"sagemaker_openai/{name}", "order": order, **ROUTE}}
        for order, name in enumerate(("broken", "my-endpoint"), 1)
    ]
    router: Router = router_of(*models, num_retries=2)
    said, _ = await ask(is_async, True, router, model="m")
    assert said == "Hello."
    assert {seen.path.split("/")[2] for seen in server.seen} == {"broken", "my-endpoint"}


async def test_leaving_a_stream_frees_the_connection(upstream: Upstream) -> None:
    server = upstream(on_its_route(Answer([sse(chunk({"content": "a"}), done=False)], end="stall")))
    stream: Any = await litellm.acompletion(model=MODEL, messages=MESSAGES, stream=True, **ROUTE)
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(server.left.acquire, timeout=30)


async def test_a_component_that_runs_does_not_wait_for_one_that_starts(upstream: Upstream) -> None:
    """On this route the URL is that of the endpoint, whichever component is asked."""

    def answer(seen: Seen) -> Answer:
        if seen.headers["x-amzn-sagemaker-inference-component"] == "starting":
            asked.set()
            return json_answer({"message": "Inference Component has no capacity to process this request."}, 400)
        return json_answer(completion())

    asked = threading.Event()
    server = upstream(answer)
    waiting = asyncio.create_task(ask(True, model=f"{MODEL}/starting", aws_sagemaker_cold_start_timeout=100))
    assert await asyncio.to_thread(asked.wait, 30)
    said, _ = await ask(True, model=f"{MODEL}/running", aws_sagemaker_cold_start_timeout=0.5)
    assert said == "Hello."
    assert len(server.seen) == 2
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
