"""Embeddings: what reaches the container, what comes back, in LiteLLM, its Router, and the real proxy.

LiteLLM's own demands of an embedding provider (``BaseLLMEmbeddingTest``, tests/llm_translation/
base_llm_unit_tests.py; known by name, the file was not at hand) and where they are met:

| demand | here |
| --- | --- |
| ``basic_embedding``, sync and async | ``test_a_batch`` |
| the embedding's cost | ``test_what_it_costs``, ``TestProxy.test_cost_and_request_id`` |
| ``image_embedding`` | does not apply: OpenAI's embeddings, and so this provider, take texts and token ids |
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import litellm
import openai
import pytest
from litellm import EmbeddingResponse, Router
from litellm.caching.caching import Cache
from litellm.integrations.custom_logger import CustomLogger

import litellm_sagemaker_openai
from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.formats.embeddings import embedding_body, embedding_response
from litellm_sagemaker_openai.litellm_seams.callback import before_each_call
from litellm_sagemaker_openai.litellm_seams.embedding_parameters import PASSTHROUGH_KEY
from litellm_sagemaker_openai.litellm_seams.stream_opening import stream_opening
from litellm_sagemaker_openai.local import embeddings as echo
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from litellm_sagemaker_openai.target import Target, invocations_url
from litellm_sagemaker_openai.upstream_errors import AnswerError, MalformedAnswer, StreamedError
from tests.conftest import CREDENTIALS, REGION, Upstream
from tests.operating.proxies import Proxy, config, proxy, without_notices
from tests.scripted import Answer, Scripted, Seen, json_answer, scripted

pytestmark = pytest.mark.medium(reason="makes hundreds of calls")

MODEL = "sagemaker_openai/my-endpoint"
PATH = "/endpoints/my-endpoint/invocations"
TEXTS = ["red apples", "green apples", "a train to Dublin"]
VECTORS = [[0.5, -1.0], [0.25, 2.0]]  # exact in 32 bits
ENCODED = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in VECTORS]
USAGE = {"prompt_tokens": 7, "total_tokens": 7}
both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
each = pytest.mark.parametrize


async def embed(is_async: bool, inputs: Any = TEXTS, **call: Any) -> Any:
    call = {"model": MODEL, "input": inputs, **call}
    return await litellm.aembedding(**call) if is_async else litellm.embedding(**call)


def vectors(response: Any) -> list[Any]:
    return [item["embedding"] for item in response.data]


def openai_answer(*found: Any, **more: Any) -> dict[str, Any]:
    """As vLLM writes it."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(found)]
    return {"id": "embd-1", "object": "list", "created": 1, "model": "served", "data": data, "usage": USAGE, **more}


# What reaches the container


@pytest.fixture
def sent(upstream: Upstream) -> Any:
    """Makes a call for one embedding, and gives the request that the container got."""
    server = upstream(json_answer(openai_answer(VECTORS[0])))

    async def call(is_async: bool = True, inputs: Any = "a", **more: Any) -> Seen:
        await embed(
            is_async, inputs, **{"api_base": server.url, **more}
        )  # spares botocore's look-up, which takes a while
        return server.seen[-1]

    return call


@both
async def test_the_body(sent: Any, is_async: bool) -> None:
    seen = await sent(is_async)
    assert (seen.method, seen.path) == ("POST", PATH)
    assert seen.json == {"model": "", "input": "a"}
    assert (await sent(is_async, hf_model_name="served")).json["model"] == "served"
    more = await sent(is_async, extra_body={"truncate_prompt_tokens": 9}, priority=1, metadata={"mine": 1}, tags=["a"])
    assert more.json == {"model": "", "input": "a", "truncate_prompt_tokens": 9, "priority": 1}


@each("inputs", ["a", ["a", "b"], [1, 2, 3], [[1, 2], [3]]], ids=str)
@both
async def test_each_form_of_input(runtime: Running, inputs: Any, is_async: bool) -> None:
    response = await embed(is_async, inputs)
    assert runtime.app.state.received[-1].body["input"] == inputs
    assert vectors(response) == vectors(litellm.EmbeddingResponse(data=echo.embed({"input": inputs})["data"]))


@each("inputs", [[], None, {}, ["a", 1], [["a"]], [{"image": "x"}], 5], ids=str)
@both
async def test_an_input_that_is_none(upstream: Upstream, inputs: Any, is_async: bool) -> None:
    server = upstream(b"")
    with pytest.raises(litellm.BadRequestError, match="input must be a string, a list of strings, or token ids"):
        await embed(is_async, inputs, api_base=server.url)
    assert server.seen == []


@both
async def test_the_component_goes_into_the_header(sent: Any, is_async: bool) -> None:
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/e/c"
    for call in (
        {"model": "sagemaker_openai/e/c"},
        {"model": "sagemaker_openai/e", "model_id": "c"},
        {"model": f"sagemaker_openai/{arn}"},
    ):
        seen = await sent(is_async, **call)
        assert seen.path == "/endpoints/e/invocations"
        assert seen.headers["x-amzn-sagemaker-inference-component"] == "c"
    assert "x-amzn-sagemaker-inference-component" not in (await sent(is_async)).headers


@both
async def test_it_is_signed_for_the_endpoints_region_and_nothing_secret_is_in_it(sent: Any, is_async: bool) -> None:
    seen = await sent(is_async, aws_region_name="eu-west-1")
    assert "/eu-west-1/sagemaker/aws4_request" in seen.headers["authorization"]
    assert seen.headers["x-amz-security-token"] == CREDENTIALS.session_token
    own = {"aws_access_key_id": "AKIAOWN", "aws_secret_access_key": "SECRET", "aws_session_token": "TOKEN"}
    seen = await sent(is_async, **own)
    assert "Credential=AKIAOWN/" in seen.headers["authorization"]
    assert seen.headers["x-amz-security-token"] == "TOKEN"
    assert seen.json == {"model": "", "input": "a"}


@both
async def test_a_body_over_the_services_size(upstream: Upstream, is_async: bool) -> None:
    server = upstream(b"")
    with pytest.raises(litellm.BadRequestError, match="6,291,456"):
        await embed(is_async, ["x" * MAX_BODY_BYTES])
    assert server.seen == []


@each(
    ("base", "url"),
    [
        ("https://runtime.sagemaker.us-west-2.amazonaws.com", "https://runtime.sagemaker.us-west-2.amazonaws.com"),
        ("https://gw.example/a/", "https://gw.example/a"),
        ("https://gw.example/endpoints/e", "https://gw.example"),
        ("https://gw.example/endpoints/e/invocations", "https://gw.example"),
        ("https://gw.example/endpoints/e/inference-components/c/openai/v1", "https://gw.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_the_url(base: str, url: str) -> None:
    assert invocations_url(base, Target("e", "c"), REGION) == f"{url}/endpoints/e/invocations"
    other = invocations_url(base.removesuffix("/invocations"), Target("e", "c"), REGION, route="async-invocations")
    assert other == f"{url}/endpoints/e/async-invocations"


@each(
    ("base", "says"),
    [
        ("http://gw.example", "a signed request must not go over plain http"),
        ("https://gw.example/endpoints/other/invocations", "must agree"),
        ("https://gw.example/endpoints/e/explanations", "names 'e/explanations'|not end"),
        ("https://runtime.sagemaker.eu-west-1.amazonaws.com", "must agree"),
    ],
)
async def test_a_base_url_that_would_lead_elsewhere(base: str, says: str) -> None:
    for is_async in (False, True):
        with pytest.raises(litellm.BadRequestError, match=says):
            await embed(is_async, model="sagemaker_openai/e", api_base=base)


# Parameters that LiteLLM keeps from custom providers


async def test_dimensions_encoding_format_and_user_reach_the_container(sent: Any) -> None:
    given = {"dimensions": 2, "encoding_format": "float", "user": "me"}
    assert (await sent(**given)).json == {"model": "", "input": "a", **given}
    assert (await sent(**given, drop_params=True)).json == {"model": "", "input": "a", **given}
    dropped = await sent(**given, additional_drop_params=["user", "dimensions"])
    assert dropped.json == {"model": "", "input": "a", "encoding_format": "float"}
    assert (await sent(**given, extra_body={"user": "you"})).json == {"model": "", "input": "a", **given, "user": "you"}


async def test_by_position_and_by_the_keyword_of_the_provider(sent: Any) -> None:
    await litellm.aembedding(MODEL, "a", dimensions=2)
    assert (await sent(model="my-endpoint", custom_llm_provider="sagemaker_openai", dimensions=2)).json[
        "dimensions"
    ] == 2


@each("parameter", [{"dimensions": 2}, {"encoding_format": "float"}, {"user": "me"}], ids=str)
async def test_where_litellm_runs_no_callback_extra_body_takes_them(sent: Any, parameter: Any) -> None:
    with pytest.raises(litellm.UnsupportedParamsError, match=r"Setting .* is not supported by sagemaker_openai"):
        await sent(False, **parameter)
    with pytest.raises(litellm.UnsupportedParamsError):
        await sent(False, **parameter, allowed_openai_params=list(parameter))
    assert (await sent(False, extra_body=parameter)).json == {"model": "", "input": "a", **parameter}


async def test_extra_headers_and_a_client_of_the_callers(sent: Any) -> None:
    used = []

    async def note(request: httpx.Request) -> None:
        used.append(request.url.path)

    async with httpx.AsyncClient(event_hooks={"request": [note]}) as client:
        headers = {"X-Amzn-SageMaker-Custom-Attributes": "accept_eula=true"}
        seen = await sent(client=client, extra_headers=headers, dimensions=2)
    assert used == [PATH]
    assert seen.headers["x-amzn-sagemaker-custom-attributes"] == "accept_eula=true"
    assert "x-amzn-sagemaker-custom-attributes" in seen.headers["authorization"]  # signed
    with pytest.raises(litellm.BadRequestError, match="as model_id"):
        await sent(extra_headers={"X-Amzn-SageMaker-Inference-Component": "c"})
    with pytest.raises(litellm.BadRequestError, match="must not set Authorization"):
        await sent(extra_headers={"Authorization": "AWS4-HMAC-SHA256 …"})


@both
async def test_a_callers_value_in_the_callbacks_place_is_nothing(sent: Any, is_async: bool) -> None:
    forged = {"parameters": {"evil": 1}, "headers": {"x-evil": "1"}}
    seen = await sent(is_async, **{PASSTHROUGH_KEY: forged})
    assert seen.json == {"model": "", "input": "a"}
    assert "x-evil" not in seen.headers


async def test_the_callers_dictionaries_are_left_as_they_were(sent: Any) -> None:
    call: dict[str, Any] = {"extra_body": {"a": 1}, "extra_headers": {"x-a": "1"}, "additional_drop_params": ["user"]}
    before = json.loads(json.dumps(call))
    first = await sent(**call, user="me", dimensions=2)
    assert call == before
    assert (await sent(**call, user="me", dimensions=2)).json == first.json


async def test_a_cache_tells_calls_apart_by_their_parameters(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM makes a cache's key of the keywords that it knows, so they must still be there."""
    server = upstream(lambda seen: json_answer(echo.embed(seen.json)))
    cache: Any = Cache()
    monkeypatch.setattr(litellm, "cache", cache)
    for number, dimensions in enumerate((2, 3), 1):
        for _ in range(2):
            response = await embed(True, ["a"], dimensions=dimensions, caching=True)
            assert [len(vector) for vector in vectors(response)] == [dimensions]
            while len(cache.cache.cache_dict) < number:  # LiteLLM writes into it in a task of its own
                await asyncio.sleep(0.01)
    assert [seen.json["dimensions"] for seen in server.seen] == [2, 3]


async def test_other_providers_calls_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = before_each_call.async_pre_call_deployment_hook
    aembedding, acompletion = litellm.types.utils.CallTypes.aembedding, litellm.types.utils.CallTypes.acompletion
    assert await hook({"model": MODEL, "dimensions": 2}, aembedding) is not None
    assert await hook({"model": MODEL, "dimensions": 2}, acompletion) is None
    assert await hook({"model": "hosted_vllm/m", "dimensions": 2}, aembedding) is None
    assert await hook({"model": MODEL, "use_litellm_proxy": True, "dimensions": 2}, aembedding) is None
    monkeypatch.setattr(litellm, "model_alias_map", {MODEL: "openai/text-embedding-3-small"})
    assert await hook({"model": MODEL, "dimensions": 2}, aembedding) is None


async def test_a_replaced_list_of_callbacks_is_mended(sent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "callbacks", [])
    with pytest.raises(litellm.UnsupportedParamsError):
        await sent(dimensions=2)
    litellm_sagemaker_openai.register()
    assert litellm.callbacks == [before_each_call, stream_opening]
    assert (await sent(dimensions=2)).json["dimensions"] == 2
    litellm_sagemaker_openai.register()
    assert litellm.callbacks == [before_each_call, stream_opening]
    monkeypatch.setattr(litellm, "callbacks", [])
    await sent()
    assert before_each_call in litellm.callbacks


# What comes back


@both
async def test_a_batch(runtime: Running, is_async: bool) -> None:
    response = await embed(is_async)
    assert isinstance(response, EmbeddingResponse)
    assert response.usage is not None
    assert response.object == "list"
    assert (response.model, response._hidden_params["sagemaker_served_model"]) == ("my-endpoint", "echo")
    assert [item["index"] for item in response.data] == [0, 1, 2]
    assert [item["object"] for item in response.data] == ["embedding"] * 3
    assert vectors(response) == [item["embedding"] for item in echo.embed({"input": TEXTS})["data"]]
    assert (response.usage.prompt_tokens, response.usage.total_tokens, response.usage.completion_tokens) == (8, 8, 0)


def answered(answer: Any, inputs: Any = ("a", "b"), **parameters: Any) -> EmbeddingResponse:
    inputs = list(inputs) if isinstance(inputs, tuple) else inputs
    return embedding_response(
        answer, inputs=inputs, parameters=parameters, model="e", model_response=EmbeddingResponse(), headers={}
    )


OPENAI = openai_answer(*VECTORS)
SHAPES: dict[str, Any] = {
    "OpenAI": OPENAI,
    "OpenAI, in another order": {**OPENAI, "data": OPENAI["data"][::-1]},
    "OpenAI, without indices": {"data": [{"embedding": vector} for vector in VECTORS]},
    "OpenAI, base64": openai_answer(*ENCODED),
    "OpenAI, base64 in another order": {**OPENAI, "data": openai_answer(*ENCODED)["data"][::-1]},
    "TEI": VECTORS,
    "JumpStart": {"embedding": VECTORS},
    "Hugging Face": {"embeddings": VECTORS},
    "a list of objects": [{"embedding": vector} for vector in VECTORS],
}


class TestAnswers:
    @each("shape", SHAPES)
    @each("asked", [None, "float"])
    def test_floats(self, shape: str, asked: str | None) -> None:
        more = {"encoding_format": asked} if asked else {}
        assert vectors(answered(SHAPES[shape], **more)) == VECTORS

    @each("shape", SHAPES)
    def test_base64(self, shape: str) -> None:
        assert vectors(answered(SHAPES[shape], encoding_format="base64")) == ENCODED

    @each("answer", [VECTORS[:1], VECTORS[0], {"embedding": VECTORS[0]}, {"embedding": VECTORS[:1]}], ids=str)
    @each("inputs", ["a", ["a"], [1, 2, 3], [[1, 2, 3]]], ids=str)
    def test_one(self, answer: Any, inputs: Any) -> None:
        assert vectors(answered(answer, inputs)) == VECTORS[:1]

    @each(
        ("answer", "says"),
        [
            (VECTORS[:1], "1 embeddings for 2 inputs"),
            ([*VECTORS, VECTORS[0]], "3 embeddings for 2 inputs"),
            (VECTORS[0], "1 embeddings for 2 inputs"),
            ([VECTORS, VECTORS], "a vector for each token rather than for each input"),
            ([[VECTORS], [VECTORS]], "a vector for each token rather than for each input"),
            ({"embedding": [VECTORS, VECTORS]}, "a vector for each token"),
            ({"data": OPENAI["data"][:1] * 2}, "indices"),
            ({"data": [{"embedding": [1.0], "index": index} for index in (1, 2)]}, "indices"),
            ({"data": [{"embedding": [1.0], "index": "0"}, {"embedding": [1.0], "index": "1"}]}, "indices"),
            ({"data": [{"index": 0}, {"index": 1}]}, "not a list of numbers: None"),
            ({"data": []}, "no embeddings"),
            ({"data": None}, "no embeddings"),
            ({}, "no embeddings"),
            ([], "no embeddings"),
            ("text", "no embeddings"),
            (None, "no embeddings"),
            ({"choices": [{"message": {"content": "Hello."}}]}, "no embeddings"),
            ([[], []], "not a list of numbers"),
            ([[1.0], None], "not a list of numbers"),
            ([[1.0], [None]], "not a list of numbers"),
            ([[1.0], ["1"]], "not a list of numbers"),
            ([[1.0], [float("nan")]], "not a list of numbers"),
            ([[1.0], [1.0, [2.0]]], "not a list of numbers"),
            ([[1.0], [10**400]], "not a list of numbers"),
            (openai_answer([1.0], ""), "not a list of numbers"),
            (openai_answer([1.0], "not base64"), "not base64"),
            (openai_answer([1.0], "AAA="), "not base64"),
        ],
    )
    def test_what_is_no_embedding_of_each_input(self, answer: Any, says: str) -> None:
        with pytest.raises(MalformedAnswer, match=says):
            answered(answer)

    @each("answer", [OPENAI, VECTORS, openai_answer(*ENCODED)], ids=["openai", "tei", "base64"])
    def test_other_dimensions_than_were_asked_for(self, answer: Any) -> None:
        assert vectors(answered(answer, dimensions=2)) == VECTORS
        with pytest.raises(AnswerError, match="of 2 dimensions, not of 3: leave dimensions out") as raised:
            answered(answer, dimensions=3)
        assert raised.value.upstream.status == 400  # what one caller asks for takes no deployment out

    def test_an_error_with_status_200(self) -> None:
        with pytest.raises(StreamedError, match="too many"):
            answered({"error": {"message": "too many", "code": 429}})

    def test_the_containers_usage_and_model(self) -> None:
        response = answered(OPENAI)
        assert response.usage is not None
        assert (response.usage.prompt_tokens, response.usage.total_tokens) == (7, 7)
        assert (response.model, response._hidden_params["sagemaker_served_model"]) == ("e", "served")

    @each("usage", [None, {}, {"prompt_tokens": None}, "none"], ids=str)
    def test_usage_that_the_container_does_not_give_is_counted(self, usage: Any) -> None:
        expected = sum(litellm.token_counter(model="e", text=text) for text in TEXTS)
        answers = ({"data": openai_answer(*VECTORS, [1.0, 1.0])["data"], "usage": usage}, [*VECTORS, [1.0, 1.0]])
        for response in (answered(answer, TEXTS) for answer in answers):
            assert response.usage is not None
            assert response.usage.prompt_tokens == response.usage.total_tokens == expected > 3
            assert response.model == "e"
        assert getattr(answered(VECTORS, [[1, 2, 3], [4]]).usage, "prompt_tokens", None) == 4
        assert getattr(answered(VECTORS[:1], [1, 2, 3]).usage, "prompt_tokens", None) == 3


@each("body", [b"<html>", b"", b"[1, 2", b"\xff"], ids=str)
@both
async def test_an_answer_that_is_no_json(upstream: Upstream, body: bytes, is_async: bool) -> None:
    upstream(Answer([body], content_type="application/json"))
    with pytest.raises(litellm.BadGatewayError, match="200 with what is not JSON"):
        await embed(is_async)


@both
async def test_an_answer_without_embeddings(upstream: Upstream, is_async: bool) -> None:
    upstream(json_answer(VECTORS))
    with pytest.raises(litellm.BadGatewayError, match="200 with 2 embeddings for 3 inputs"):
        await embed(is_async)


@both
async def test_headers(upstream: Upstream, is_async: bool) -> None:
    upstream(json_answer(openai_answer(*VECTORS), 200, **{"X-Amzn-RequestId": "r-1", "x-amzn-invoked-variant": "v"}))
    response = await embed(is_async, ["a", "b"])
    headers = response._hidden_params["additional_headers"]
    assert headers["llm_provider-x-amzn-requestid"] == "r-1"
    assert headers["llm_provider-x-amzn-invoked-variant"] == "v"


@each(
    "asked", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}, {"dimensions": 3, "user": "me"}], ids=str
)
async def test_as_hosted_vllm(upstream: Upstream, asked: Any) -> None:
    """LiteLLM's own provider for the same container: the same parameters reach it, the same comes back."""
    server = upstream(lambda seen: json_answer(echo.embed({**seen.json, "model": ""})))
    ours = await embed(True, **asked)
    theirs = await litellm.aembedding("hosted_vllm/m", TEXTS, api_base=server.url, **asked)
    bodies = [{name: value for name, value in seen.json.items() if name != "model"} for seen in server.seen]
    assert bodies[0] == bodies[1] == {"input": TEXTS, **asked}
    assert ours.model_dump() == {**theirs.model_dump(), "model": "my-endpoint"}  # by which LiteLLM finds a price
    assert [type(item) for item in ours.data] == [type(item) for item in theirs.data]


# Other formats


def test_bodies_of_the_formats() -> None:
    given = {"dimensions": 2, "encoding_format": "base64", "user": "me", "truncate": True}
    assert embedding_body("a", given) == {"model": "", "input": "a", **given}
    assert embedding_body("a", given, format="huggingface", model_name="served") == {
        "inputs": "a",
        "dimensions": 2,
        "truncate": True,
    }
    assert embedding_body(["a"], {}, format="jumpstart") == {"text_inputs": ["a"]}
    with pytest.raises(ValueError, match="must be 'float' or 'base64', not 'bytes'"):
        embedding_body("a", {"encoding_format": "bytes"})


@each(
    ("name", "field"), [("huggingface", "inputs"), ("jumpstart", "text_inputs"), ("openai", "input"), (None, "input")]
)
@both
async def test_the_option(upstream: Upstream, name: str | None, field: str, is_async: bool) -> None:
    server = upstream(json_answer({"embedding": VECTORS}))
    asked = {"encoding_format": "base64"} if is_async else {}
    response = await embed(is_async, ["a", "b"], aws_sagemaker_embedding_format=name, api_base=server.url, **asked)
    assert server.seen[0].json[field] == ["a", "b"]
    assert vectors(response) == (ENCODED if is_async else VECTORS)


@each("name", ["tei", "OpenAI", 1, ["openai"]], ids=str)
@both
async def test_an_unknown_format(name: Any, is_async: bool) -> None:
    says = "aws_sagemaker_embedding_format must be one of 'openai', 'huggingface', 'jumpstart', not"
    with pytest.raises(litellm.BadRequestError, match=says):
        await embed(is_async, aws_sagemaker_embedding_format=name)


def model_error(status: int, body: str, **more: str) -> Answer:
    """A container's error as InvokeEndpoint answers it."""
    message = f'Received client error ({status}) from primary with message "{body}". See https://us-west-2.console.aws.'
    message += "amazon.com/cloudwatch/home in account 123456789012 for more information."
    envelope = {
        "ErrorCode": "CLIENT_ERROR_FROM_MODEL",
        "LogStreamArn": "arn:aws:logs:us-west-2:123456789012:log-group:/aws/sagemaker/Endpoints/e",
        "Message": message,
        "OriginalMessage": body,
        "OriginalStatusCode": status,
    }
    return json_answer(envelope, 424, **{"x-amzn-errortype": "ModelError", **more})


# TEI's words for a body of another format: axum's rejection of JSON that serde could not read.
TEI_REFUSAL = "Failed to deserialize the JSON body into the target type: missing field `inputs` at line 1 column 24"


@both
async def test_a_container_that_wants_another_format_is_recognised(upstream: Upstream, is_async: bool) -> None:
    upstream(model_error(422, TEI_REFUSAL))
    with pytest.raises(litellm.UnprocessableEntityError, match="set aws_sagemaker_embedding_format"):
        await embed(is_async)


# What goes wrong


REFUSALS: dict[str, tuple[Answer, Any, str]] = {
    "no endpoint": (
        json_answer({"Message": "Endpoint e of account 123456789012 not found."}, 400),
        litellm.NotFoundError,
        "Endpoint e not found in this account and region",
    ),
    "validation": (json_answer({"message": "1 validation error"}, 400), litellm.BadRequestError, "1 validation error"),
    "no capacity": (
        json_answer({"Message": "Inference Component has no capacity to process this request. Try later."}, 400),
        litellm.ServiceUnavailableError,
        "no capacity",
    ),
    "component needed": (
        json_answer({"Message": "Inference Component Name header is required for endpoints to which you plan …"}, 400),
        litellm.BadRequestError,
        "write sagemaker_openai/<endpoint>/<component>, or model_id",
    ),
    "not ready": (
        json_answer({"Message": "Model is not ready for inference"}, 429),
        litellm.RateLimitError,
        "Model is not ready",
    ),
    "not allowed": (
        json_answer({"message": "User: arn:aws:sts::123456789012:x is not authorized to perform: …"}, 403),
        litellm.PermissionDeniedError,
        r"the role needs sagemaker:InvokeEndpoint on the endpoint's ARN \(and",
    ),
    "internal": (json_answer({"Message": "try again"}, 500), litellm.InternalServerError, "try again"),
    "unavailable": (json_answer({"Message": "busy"}, 503), litellm.ServiceUnavailableError, "busy"),
    "dependency": (json_answer({"Message": "a dependency failed"}, 530), litellm.ServiceUnavailableError, "dependency"),
    "container's 400": (
        model_error(400, '{"error":{"message":"bad dimensions","type":"BadRequestError","code":400}}'),
        litellm.BadRequestError,
        "the container answered 400: bad dimensions",
    ),
    "container's 503": (model_error(503, "overloaded"), litellm.ServiceUnavailableError, "overloaded"),
    "container's 60 seconds": (
        model_error(0, "Your invocation timed out while waiting for a response from container primary."),
        litellm.Timeout,
        "timed out while waiting",
    ),
    "quoted 60 seconds": (
        json_answer(
            {"Message": 'Received server error (0) from primary with message "Your invocation timed out".'}, 424
        ),
        litellm.Timeout,
        "timed out",
    ),
    "no such route": (model_error(404, "Not Found"), litellm.NotFoundError, "seems not to serve /invocations"),
    "wrong served name": (
        model_error(404, '{"error":{"message":"The model `x` does not exist.","type":"NotFoundError"}}'),
        litellm.NotFoundError,
        "set hf_model_name",
    ),
    "too long for vLLM": (
        model_error(400, '{"error":{"message":"This model\'s maximum context length is 8 tokens."}}'),
        litellm.ContextWindowExceededError,
        "maximum context length",
    ),
    "too long for TEI": (
        model_error(422, '{"error":"`inputs` must have less than 512 tokens. Given: 601","error_type":"Validation"}'),
        litellm.ContextWindowExceededError,
        "less than 512 tokens",
    ),
    "redirect": (Answer(status=307, headers={"location": "/x"}), litellm.BadGatewayError, "not followed"),
}


@each("name", REFUSALS)
@both
async def test_refusals(upstream: Upstream, name: str, is_async: bool) -> None:
    answer, exception, says = REFUSALS[name]
    with pytest.raises(exception, match=says) as refused:
        await embed(is_async, model="sagemaker_openai/e", api_base=upstream(answer).url)
    assert type(refused.value) is exception
    assert "123456789012" not in str(refused.value)
    assert "sagemaker:CallWithBearerToken" not in str(refused.value)


@both
async def test_what_the_local_runtime_refuses(runtime: Running, is_async: bool) -> None:
    with pytest.raises(litellm.NotFoundError, match="Endpoint nowhere not found"):
        await embed(is_async, model="sagemaker_openai/nowhere")
    with pytest.raises(litellm.BadRequestError, match="write sagemaker_openai/<endpoint>/<component>"):
        await embed(is_async, model="sagemaker_openai/shared-endpoint")
    with pytest.raises(litellm.PermissionDeniedError, match="security token included in the request is invalid"):
        await embed(is_async, aws_access_key_id="AKIA", aws_secret_access_key="wrong", aws_session_token=None)
    with pytest.raises(litellm.NotFoundError, match="set hf_model_name"):
        await embed(is_async, hf_model_name="another")
    with pytest.raises(litellm.ContextWindowExceededError, match="maximum context length"):
        await embed(is_async, ["word " * 9000])
    assert (await embed(is_async, model="sagemaker_openai/shared-endpoint/coder")).data


@both
async def test_a_bearer_token_will_not_do(upstream: Upstream, is_async: bool) -> None:
    server = upstream(b"")
    with pytest.raises(litellm.BadRequestError, match="api_key is a bearer token, and SageMaker's /invocations takes"):
        await embed(is_async, api_key="sagemaker-api-key-x", api_base=server.url)
    assert server.seen == []


@both
async def test_a_token_that_is_empty_is_none(runtime: Running, is_async: bool) -> None:
    assert (await embed(is_async, api_key="")).data


@both
async def test_no_credentials(upstream: Upstream, is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    server = upstream(b"")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(litellm.AuthenticationError, match="no AWS credentials found"):
        await embed(is_async)
    assert server.seen == []


ASSUMED = (
    '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
    "<AccessKeyId>ASIA{0}</AccessKeyId><SecretAccessKey>s{0}</SecretAccessKey><SessionToken>t{0}</SessionToken>"
    "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
)


@both
async def test_a_refused_signature_is_made_again_with_fresh_credentials(
    upstream: Upstream, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(100))

    def script(seen: Seen) -> Answer:
        if seen.path == "/" and b"Action=AssumeRole" in seen.body:
            return Answer([ASSUMED.format(next(numbers)).encode()], content_type="text/xml")
        if seen.headers.get("x-amz-security-token") == "t0":
            return json_answer({"message": "The security token included in the request is expired"}, 403)
        return json_answer(openai_answer(VECTORS[0]))

    server = upstream(script)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    role = {"aws_role_name": "arn:aws:iam::123456789012:role/r", "aws_session_name": f"embedding-{is_async}"}
    assert vectors(await embed(is_async, "a", **role)) == VECTORS[:1]
    tries = [seen.headers for seen in server.seen if seen.path == PATH]
    assert [headers["x-amz-security-token"] for headers in tries] == ["t0", "t1"]
    assert "Credential=ASIA1/" in tries[1]["authorization"]


@both
async def test_a_container_that_does_not_answer(upstream: Upstream, is_async: bool) -> None:
    upstream(Answer([], end="stall"))
    with pytest.raises(litellm.Timeout):
        await embed(is_async, timeout=0.1)


async def test_a_caller_who_leaves_frees_the_connection(upstream: Upstream) -> None:
    server = upstream(Answer([], end="stall"))
    call = asyncio.create_task(embed(True))
    while not server.seen:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.to_thread(server.left.acquire, timeout=10)


@both
async def test_a_component_scaled_to_zero_is_waited_for(upstream: Upstream, is_async: bool) -> None:
    no_capacity, _, _ = REFUSALS["no capacity"]
    server = upstream(
        lambda seen: no_capacity if len(server.seen) < 2 else json_answer(openai_answer(*VECTORS, VECTORS[0]))
    )
    assert (await embed(is_async, model="sagemaker_openai/asleep", aws_sagemaker_cold_start_timeout=30)).data
    assert len(server.seen) == 2


async def test_many_at_once(runtime: Running) -> None:
    responses = await asyncio.gather(*(embed(True, [f"text {number}"], dimensions=64) for number in range(50)))
    expected = [echo.embed({"input": f"text {number}", "dimensions": 64}) for number in range(50)]
    assert [vectors(response)[0] for response in responses] == [answer["data"][0]["embedding"] for answer in expected]


# What LiteLLM makes of it


@both
async def test_what_it_costs(runtime: Running, is_async: bool) -> None:
    response = await embed(is_async, input_cost_per_token=0.001, output_cost_per_token=0.0)
    assert response._hidden_params["response_cost"] == pytest.approx(8 * 0.001)


@both
async def test_through_the_router(runtime: Running, router_of: Callable[..., Router], is_async: bool) -> None:
    info = {"input_cost_per_token": 0.01, "cache_creation_input_token_cost": 0, "cache_read_input_token_cost": 0}
    router = router_of({"model_name": "m", "litellm_params": {"model": MODEL}, "model_info": info})
    call: Any = {"model": "m", "input": TEXTS}
    if is_async:
        response = await router.aembedding(**call, dimensions=4, encoding_format="float", user="me")
        assert len(vectors(response)[0]) == 4
    else:
        response = router.embedding(**call, extra_body={"dimensions": 4})
    assert runtime.app.state.received[-1].body["dimensions"] == 4
    assert response._hidden_params["response_cost"] == pytest.approx(0.08)


@both
@pytest.mark.usefixtures("no_waiting")
async def test_the_router_retries_and_goes_elsewhere(
    upstream: Upstream, router_of: Callable[..., Router], is_async: bool
) -> None:
    fine = json_answer(openai_answer(VECTORS[0]))
    server = upstream(lambda seen: json_answer({"Message": "busy"}, 503) if len(server.seen) < 3 else fine)
    router = router_of({"model_name": "m", "litellm_params": {"model": MODEL}}, num_retries=2)
    response = await router.aembedding("m", "a", dimensions=2) if is_async else router.embedding("m", "a")
    assert vectors(response) == VECTORS[:1]
    assert len(server.seen) == 3
    if is_async:
        assert {seen.json["dimensions"] for seen in server.seen} == {2}


class EmbeddingCollector(CustomLogger):
    """What LiteLLM hands to callbacks. It takes one instance of a class, and of each value of ``is_async``."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.before: list[Any] = []
        self.after: list[Any] = []
        self.done = threading.Semaphore(0)

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        self.before.append(dict(kwargs))

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        if not self.is_async:
            self.after.append(kwargs["standard_logging_object"])
            self.done.release()

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        if self.is_async:
            self.after.append(kwargs["standard_logging_object"])
            self.done.release()


@both
async def test_callbacks_see_what_they_see_of_a_native_provider(
    upstream: Upstream, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = upstream(lambda seen: json_answer(echo.embed({**seen.json, "model": ""})))
    collector = EmbeddingCollector(is_async)
    monkeypatch.setattr(litellm, "callbacks", [collector, before_each_call])
    asked = {"dimensions": 4, "encoding_format": "float", "user": "me"} if is_async else {}
    for call in ({"model": MODEL}, {"model": "hosted_vllm/m", "api_base": server.url}):
        await embed(is_async, **call, **asked)
        assert await asyncio.to_thread(collector.done.acquire, timeout=30)
    before, native = collector.before
    assert before["additional_args"]["api_base"] == f"{server.url}{PATH}"
    assert before["additional_args"]["complete_input_dict"] == {"model": "", "input": TEXTS, **asked}
    assert not {"authorization", "x-amz-security-token"} & {n.lower() for n in before["additional_args"]["headers"]}
    assert before["input"] == native["input"] == TEXTS
    assert before["optional_params"] == native["optional_params"] == asked
    assert PASSTHROUGH_KEY not in before
    logged, natively = collector.after
    for name in ("call_type", "model_parameters", "prompt_tokens", "total_tokens", "stream", "messages"):
        assert logged[name] == natively[name], name


def test_every_keyword_of_litellms_is_taken() -> None:
    """LiteLLM calls the handler's methods by keywords, which the package takes as they come."""
    handler = litellm_sagemaker_openai.sagemaker_openai
    for method in (handler.embedding, handler.aembedding):
        kinds = {parameter.kind for parameter in inspect.signature(method).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD in kinds


# The proxy


@dataclass(frozen=True)
class Proxied:
    proxy: Proxy
    runtime: Running
    tei: Scripted
    client: openai.OpenAI


def tei(seen: Seen) -> Answer:
    """Text Embeddings Inference's /invocations, two-dimensional."""
    inputs = seen.json["inputs"]
    return json_answer(VECTORS[: len(inputs) if isinstance(inputs, list) else 1])


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    endpoints: dict[str, tuple[str, ...]] = {"my-embeddings": ()}
    settings = config("embeddings.yaml")
    with ExitStack() as stack:
        runtime = stack.enter_context(running(RuntimeConfig(endpoints, CREDENTIALS, REGION)))
        on_tei = stack.enter_context(scripted(tei))
        settings["model_list"][1]["litellm_params"]["api_base"] = on_tei.url
        started = stack.enter_context(proxy(tmp_path_factory.mktemp("proxy"), settings, sagemaker=runtime.url))
        http = stack.enter_context(openai.DefaultHttpxClient(trust_env=False))
        client = openai.OpenAI(base_url=f"{started.url}/v1", api_key=started.key, max_retries=0, http_client=http)
        yield Proxied(started, runtime, on_tei, client)


@pytest.fixture
def on(proxied: Proxied) -> Proxied:
    proxied.runtime.app.state.received.clear()
    proxied.tei.seen.clear()
    return proxied


@pytest.mark.slow(reason="starts LiteLLM's proxy")
class TestProxy:
    """The OpenAI SDK as it comes asks for base64, and decodes it."""

    def test_starts_without_a_warning(self, on: Proxied) -> None:
        assert "WARNING" not in without_notices(on.proxy.log)
        assert "ERROR" not in on.proxy.log

    @each("more", [{}, {"encoding_format": "float"}, {"dimensions": 3, "user": "me"}], ids=str)
    def test_the_sdks_vectors_are_the_containers(self, on: Proxied, more: Any) -> None:
        answer = on.client.embeddings.create(model="embeddings", input=TEXTS, **more)
        expected = echo.embed({"input": TEXTS, **{n: v for n, v in more.items() if n == "dimensions"}})
        assert [item.embedding for item in answer.data] == [item["embedding"] for item in expected["data"]]
        assert [item.index for item in answer.data] == [0, 1, 2]
        assert answer.usage.prompt_tokens == expected["usage"]["prompt_tokens"]
        [received] = on.runtime.app.state.received
        assert received.path == "/endpoints/my-embeddings/invocations"
        assert received.body == {"model": "", "input": TEXTS, "encoding_format": "base64", **more}

    def test_base64_that_is_asked_for(self, on: Proxied) -> None:
        answer = on.client.embeddings.create(model="embeddings", input="a", encoding_format="base64")
        encoded: Any = answer.data[0].embedding
        assert encoded == echo.embed({"input": "a", "encoding_format": "base64"})["data"][0]["embedding"]

    async def test_the_asynchronous_sdk(self, on: Proxied) -> None:
        async with openai.AsyncOpenAI(
            base_url=f"{on.proxy.url}/v1",
            api_key=on.proxy.key,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        ) as client:
            answer = await client.embeddings.create(model="embeddings", input=TEXTS)
        assert [len(item.embedding) for item in answer.data] == [8, 8, 8]

    @each("more", [{}, {"encoding_format": "float"}], ids=str)
    def test_text_embeddings_inference(self, on: Proxied, more: Any) -> None:
        answer = on.client.embeddings.create(model="embeddings-tei", input=["a", "b"], **more)
        assert [item.embedding for item in answer.data] == VECTORS
        assert [seen.json for seen in on.tei.seen] == [{"inputs": ["a", "b"]}]
        assert answer.usage.prompt_tokens == 2

    def test_token_ids(self, on: Proxied) -> None:
        """LiteLLM's proxy decodes lists of token ids, by an OpenAI tokenizer, but for the providers of a list of its
        (LITELLM_EMBEDDING_PROVIDERS_SUPPORTING_INPUT_ARRAY_OF_TOKENS, 1.106.2)."""
        on.client.embeddings.create(model="embeddings", input=[1, 2, 3])
        on.client.embeddings.create(model="embeddings", input=[[15339, 1917]])
        assert [received.body["input"] for received in on.runtime.app.state.received] == [[1, 2, 3], ["hello world"]]

    def test_cost_and_request_id(self, on: Proxied) -> None:
        answer = on.client.embeddings.with_raw_response.create(model="embeddings", input=TEXTS)
        assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(8 * 0.00000002)
        assert answer.headers["llm_provider-x-amzn-requestid"]
        logged = on.proxy.reported(answer.headers["x-litellm-call-id"], "success")["logged"]
        assert logged["response_cost"] == pytest.approx(8 * 0.00000002)
        assert logged["prompt_tokens"] == 8
        assert logged["model_parameters"] == {"encoding_format": "base64"}

    def test_what_the_container_refuses(self, on: Proxied) -> None:
        with pytest.raises(openai.BadRequestError, match="Dimensions must be at most 4096"):
            on.client.embeddings.create(model="embeddings", input="a", dimensions=5000)

    def test_health(self, on: Proxied) -> None:
        health = on.proxy.get("/health").json()
        assert (health["healthy_count"], health["unhealthy_count"]) == (2, 0)
        assert [received.path for received in on.runtime.app.state.received] == ["/endpoints/my-embeddings/invocations"]
        assert len(on.tei.seen) == 1
