"""Rerank: what reaches the container, and what comes back, by our functions, by LiteLLM's, and by the real proxy."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import litellm
import pytest
from litellm import Router
from litellm.caching.caching import Cache
from litellm.integrations.custom_logger import CustomLogger
from litellm.types.rerank import RerankResponse

from litellm_sagemaker_openai import arerank, rerank
from litellm_sagemaker_openai.formats.prompt_cache_key import HEADER, hint_of
from litellm_sagemaker_openai.formats.rerank import RerankQuestion, rerank_response
from litellm_sagemaker_openai.local import rerank as container
from litellm_sagemaker_openai.local.echo_checks import ContainerRefusal
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from litellm_sagemaker_openai.upstream_errors import MalformedAnswer, StreamedError
from tests.conftest import CREDENTIALS, REGION, Upstream
from tests.operating.proxies import Proxy, config, proxy, without_notices
from tests.scripted import Answer, Scripted, Seen, json_answer, scripted

pytestmark = pytest.mark.medium(reason="makes dozens of calls")

MODEL = "sagemaker_openai/my-endpoint"
PATH = "/endpoints/my-endpoint/invocations"
QUERY = "red apples"
DOCUMENTS = ["a train to Dublin", "red apples", "green apples"]
BUSY = json_answer({"Message": "busy"}, 503)
# As vLLM writes it: vllm/entrypoints/pooling/scoring/serving.py.
VLLM = {
    "id": "score-1",
    "model": "served",
    "usage": {"prompt_tokens": 7, "total_tokens": 7},
    "results": [
        {"index": 1, "document": {"text": "red apples", "multi_modal": None}, "relevance_score": 0.75},
        {"index": 2, "document": {"text": "green apples", "multi_modal": None}, "relevance_score": 0.5},
        {"index": 0, "document": {"text": "a train to Dublin", "multi_modal": None}, "relevance_score": 0.25},
    ],
}
# As Text Embeddings Inference does: `Rank` in its router/src/http/types.rs.
TEI = [{"index": 1, "score": 0.75}, {"index": 2, "score": 0.5}, {"index": 0, "score": 0.25}]
each = pytest.mark.parametrize

Ask = Callable[..., Any]


async def by_rerank(**call: Any) -> RerankResponse:
    return await asyncio.to_thread(lambda: rerank(**call))


async def by_litellm(**call: Any) -> Any:
    return await litellm.arerank(**call)


ways = each("ask", [by_rerank, arerank, by_litellm], ids=["rerank", "arerank", "litellm.arerank"])
ours = each("ask", [by_rerank, arerank], ids=["rerank", "arerank"])


def asked(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, **more}


# What reaches the container


@ways
async def test_the_request(upstream: Upstream, ask: Ask) -> None:
    server = upstream(json_answer(VLLM))
    await ask(**asked(top_n=2, max_tokens_per_doc=9, return_documents=False, metadata={"mine": 1}, instruction="i"))
    [seen] = server.seen
    assert (seen.method, seen.path) == ("POST", PATH)
    assert seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    question = {"query": QUERY, "documents": DOCUMENTS, "top_n": 2}
    assert seen.json == {"model": "", **question, "max_tokens_per_doc": 9, "instruction": "i"}


@ways
async def test_the_target_the_options_and_the_callers_own(upstream: Upstream, ask: Ask) -> None:
    server = upstream(json_answer(VLLM))
    await ask(
        **asked(model="sagemaker_openai/gpus/coder"),
        hf_model_name="served",
        aws_region_name="eu-west-1",
        aws_access_key_id="AKIAOWN",
        aws_secret_access_key="SECRET",
        api_base=server.url,
        extra_body={"truncate_prompt_tokens": 5},
        extra_headers={"X-Amzn-SageMaker-Custom-Attributes": "a=b"},
    )
    [seen] = server.seen
    assert seen.path == "/endpoints/gpus/invocations"
    assert seen.headers["x-amzn-sagemaker-inference-component"] == "coder"
    assert seen.headers["x-amzn-sagemaker-custom-attributes"] == "a=b"
    assert "Credential=AKIAOWN/" in seen.headers["authorization"]
    assert "/eu-west-1/sagemaker/" in seen.headers["authorization"]
    assert seen.json == {"model": "served", "query": QUERY, "documents": DOCUMENTS, "truncate_prompt_tokens": 5}


@ways
async def test_teis_format(upstream: Upstream, ask: Ask) -> None:
    server = upstream(json_answer(TEI))
    call = asked(aws_sagemaker_rerank_format="tei", top_n=2, raw_scores=True, extra_body={"truncate": True})
    response = await ask(**call)
    assert server.seen[0].json == {"query": QUERY, "texts": DOCUMENTS, "raw_scores": True, "truncate": True}
    assert [result["index"] for result in response.results] == [1, 2]


@ways
async def test_documents_that_are_objects(upstream: Upstream, ask: Ask) -> None:
    picture = {"content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}
    server = upstream(json_answer(VLLM))
    response = await ask(**asked(documents=[{"text": "a"}, picture, "c"]))
    assert server.seen[0].json["documents"] == ["a", picture, "c"]
    assert [result.get("document") for result in response.results] == [None, {"text": "c"}, {"text": "a"}]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"query": 5}, "query must be a string, not int"),
    ({"documents": []}, "documents must be a list of at least one document, not an empty list"),
    ({"documents": "a"}, "documents must be a list of at least one document, not str"),
    ({"documents": None}, "documents must be a list of at least one document, not NoneType"),
    ({"documents": ["a", 5]}, "document 1 is int"),
    ({"documents": [{"title": "a", "text": "b"}]}, "document 0 is one with title, text"),
    ({"documents": [{"text": 5}]}, "a document must be a string, {'text': a string} or"),
    ({"top_n": 0}, "top_n must be a whole number, 1 or more, not 0; leave it out for all"),
    ({"top_n": True}, "top_n must be a whole number"),
    ({"top_n": "2"}, "top_n must be a whole number"),
    ({"return_documents": "no"}, "return_documents must be true or false, not 'no'"),
    ({"rank_fields": ["a"]}, "rank_fields is not for containers on SageMaker"),
    ({"max_chunks_per_doc": 3}, "max_chunks_per_doc is not for containers on SageMaker"),
    ({"api_key": "sagemaker-api-key-x"}, "api_key is a bearer token, and SageMaker's /invocations takes none"),
    ({"aws_sagemaker_rerank_format": "jina"}, "aws_sagemaker_rerank_format must be one of 'cohere', 'tei', not 'jina'"),
    ({"aws_sagemaker_rerank": "tei"}, "did you mean aws_sagemaker_rerank_format?"),
    ({"aws_sagemaker_async": True}, "leave it out for rerank"),
    ({"aws_sagemaker_rerank_format": "tei", "documents": [{"content": []}]}, "documents must be texts"),
    ({"aws_sagemaker_rerank_format": "tei", "max_tokens_per_doc": 5}, "extra_body={'truncate': True}"),
    ({"extra_headers": {"Authorization": "x"}}, "must not set Authorization"),
    ({"model": "sagemaker_openai/no_name"}, "no_name"),
]


@each(("more", "says"), REFUSED, ids=str)
@ways
async def test_what_is_refused_before_it_is_sent(upstream: Upstream, more: Any, says: str, ask: Ask) -> None:
    server = upstream(b"")
    with pytest.raises(litellm.BadRequestError) as refused:
        await ask(**asked(**more))
    assert str(refused.value).startswith("litellm.BadRequestError: sagemaker_openai did not send this request: ")
    assert says in str(refused.value)
    assert server.seen == []


async def test_the_prefix_may_be_left_out_and_the_callers_values_stay(runtime: Running) -> None:
    documents: list[str | dict[str, Any]] = [{"text": "red apples"}, "a train"]
    options: dict[str, Any] = {"extra_body": {"a": 1}, "metadata": {"b": 2}}
    first = await arerank("my-endpoint", QUERY, documents, **options)
    assert (await by_rerank(model="my-endpoint", query=QUERY, documents=documents, **options)).results == first.results
    assert documents == [{"text": "red apples"}, "a train"]
    assert options == {"extra_body": {"a": 1}, "metadata": {"b": 2}}


@ways
async def test_what_litellm_is_told_does_not_reach_the_container(upstream: Upstream, ask: Ask) -> None:
    server = upstream(json_answer(VLLM))
    dropped = {"drop_params": True, "additional_drop_params": ["instruction", "prompt_cache_key"]}
    await ask(**asked(user="ann", instruction="i", prompt_cache_key="k", **dropped))
    [seen] = server.seen
    assert seen.json == {"model": "", "query": QUERY, "documents": DOCUMENTS}
    assert HEADER not in seen.headers


@ways
async def test_the_hint_of_the_user(upstream: Upstream, ask: Ask) -> None:
    server = upstream(json_answer(VLLM))
    await ask(**asked(user="ann", aws_sagemaker_prompt_cache_key="user"))
    [seen] = server.seen
    assert seen.headers[HEADER] == hint_of("user", "ann")
    assert b"ann" not in seen.body


# What comes back


@ways
async def test_the_response(upstream: Upstream, ask: Ask) -> None:
    server = upstream(json_answer(VLLM, 200, **{"x-amzn-RequestId": "r-1"}))
    response = await ask(**asked(api_base=server.url))
    assert isinstance(response, RerankResponse)
    assert response.id == "score-1"
    assert response.results == [
        {"index": 1, "relevance_score": 0.75, "document": {"text": "red apples"}},
        {"index": 2, "relevance_score": 0.5, "document": {"text": "green apples"}},
        {"index": 0, "relevance_score": 0.25, "document": {"text": "a train to Dublin"}},
    ]
    assert response.meta == {"billed_units": {"search_units": 1, "total_tokens": 7}, "tokens": {"input_tokens": 7}}
    assert response._hidden_params["sagemaker_served_model"] == "served"
    assert response._hidden_params["additional_headers"]["llm_provider-x-amzn-requestid"] == "r-1"
    assert response._hidden_params["litellm_call_id"]


@ways
async def test_on_the_local_runtime(runtime: Running, ask: Ask) -> None:
    for format in ("cohere", "tei"):
        response = await ask(**asked(top_n=2, aws_sagemaker_rerank_format=format, return_documents=False))
        assert response.results == [
            {"index": 1, "relevance_score": 1.0},
            {"index": 2, "relevance_score": pytest.approx(1 / 3)},
        ]


QUESTION = RerankQuestion("q", ("a", "b", "c"))
SHAPES: dict[str, Any] = {
    "vLLM": VLLM,
    "in another order": {"results": VLLM["results"][::-1]},  # type: ignore[index]
    "TEI": TEI,
    "in the documents' order": [{"index": index, "score": score} for index, score in enumerate((0.25, 0.75, 0.5))],
}


def answered(answer: Any, question: RerankQuestion = QUESTION) -> Any:
    return rerank_response(answer, question=question, headers={}).results


@each("shape", SHAPES)
def test_each_form_of_answer(shape: str) -> None:
    results = answered(SHAPES[shape])
    assert [(result["index"], result["relevance_score"]) for result in results] == [(1, 0.75), (2, 0.5), (0, 0.25)]
    assert [result["document"]["text"] for result in results] == ["b", "c", "a"]
    [first] = answered(SHAPES[shape], RerankQuestion("q", ("a", "b", "c"), top_n=1, return_documents=False))
    assert first == {"index": 1, "relevance_score": 0.75}


def test_equal_scores_keep_the_documents_order_and_negative_ones_are_scores() -> None:
    results = answered([{"index": index, "score": score} for index, score in ((0, -1), (2, 0.5), (1, 0.5))])
    assert [result["index"] for result in results] == [2, 1, 0]


@each("usage", [None, {}, {"total_tokens": None}, "none", {"total_tokens": True}], ids=str)
def test_a_container_without_token_counts(usage: Any) -> None:
    made = rerank_response({"results": TEI, "usage": usage}, question=QUESTION, headers={})
    assert made.meta == {"billed_units": {"search_units": 1}}
    assert made.id is None


@each(
    ("answer", "says"),
    [
        ({}, "no list of scores"),
        ("text", "no list of scores"),
        (None, "no list of scores"),
        ([[0.5], [0.25], [0.75]], "no list of scores"),
        ({"results": {"a": 1}}, "no list of scores"),
        ([], "0 scores, where 3 were asked for"),
        (TEI[:2], "2 scores, where 3 were asked for"),
        ([*TEI[:2], TEI[0]], "a score whose index is 1, of 3 documents"),
        ([*TEI[:2], {"index": 3, "score": 1}], "a score whose index is 3, of 3 documents"),
        ([*TEI[:2], {"index": -1, "score": 1}], "a score whose index is -1"),
        ([*TEI[:2], {"index": True, "score": 1}], "a score whose index is True"),
        ([*TEI[:2], {"score": 1}], "a score whose index is None"),
        ([*TEI[:2], {"index": 0, "score": "1"}], "a score that is not a number: 1"),
        ([*TEI[:2], {"index": 0}], "a score that is not a number: None"),
        ([*TEI[:2], {"index": 0, "score": math.nan}], "a score that is not a number: nan"),
        ([*TEI[:2], {"index": 0, "score": 10**400}], "a score that is not a number"),
    ],
    ids=str,
)
def test_what_is_no_score_of_each_document(answer: Any, says: str) -> None:
    with pytest.raises(MalformedAnswer, match=says):
        answered(answer)


def test_an_error_with_status_200() -> None:
    with pytest.raises(StreamedError, match="too many"):
        answered({"error": {"message": "too many", "code": 429}})


# What goes wrong: (the answer, the exception, its status, its words)


def model_error(status: int, body: str) -> Answer:
    return json_answer({"OriginalStatusCode": status, "OriginalMessage": body, "Message": "m"}, 424)


TEI_REFUSAL = "Failed to deserialize the JSON body into the target type: missing field `texts` at line 1 column 24"
FAILURES: dict[str, tuple[Answer | bytes, Any, int, str]] = {
    "busy": (BUSY, litellm.ServiceUnavailableError, 503, "busy"),
    "not allowed": (
        json_answer({"message": "not authorized"}, 403),
        litellm.PermissionDeniedError,
        403,
        "InvokeEndpoint",
    ),
    "no endpoint": (
        json_answer({"Message": "Endpoint e of account 123456789012 not found."}, 400),
        litellm.NotFoundError,
        404,
        "Endpoint e not found",
    ),
    "too many": (json_answer({"message": "Rate exceeded"}, 429), litellm.RateLimitError, 429, "Rate exceeded"),
    "too long": (
        model_error(400, '{"error":{"message":"This model\'s maximum context length is 8 tokens."}}'),
        litellm.ContextWindowExceededError,
        400,
        "maximum context length",
    ),
    "another format": (
        model_error(422, TEI_REFUSAL),
        litellm.UnprocessableEntityError,
        422,
        "set aws_sagemaker_rerank_format",
    ),
    "no reranker": (
        model_error(400, '{"error":{"message":"Cannot find suitable handler for request. Expected one of: []"}}'),
        litellm.BadRequestError,
        400,
        "its model seems not to be a reranker",
    ),
    "not JSON": (Answer([b"<html>"]), litellm.BadGatewayError, 502, "200 with what is not JSON"),
    "hung up": (b"", litellm.ServiceUnavailableError, 503, "hung up"),
}


@each("name", FAILURES)
@ours
async def test_failures(upstream: Upstream, name: str, ask: Ask) -> None:
    answer, exception, _, says = FAILURES[name]
    with pytest.raises(exception, match=says) as failed:
        await ask(**asked(api_base=upstream(answer).url))
    assert type(failed.value) is exception
    assert "123456789012" not in str(failed.value)
    assert "hosted_vllm" not in str(failed.value).lower()
    chain: list[BaseException] = []
    cause: BaseException | None = failed.value
    while cause is not None:  # LiteLLM's exception was caused by this one: it must not be its context, too
        assert cause not in chain
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__


@each("name", FAILURES)
async def test_failures_of_litellms_own_function(upstream: Upstream, name: str) -> None:
    """The status is right, by which the Router and the proxy act; the class is LiteLLM's for hosted_vllm."""
    answer, _, status, says = FAILURES[name]
    with pytest.raises(litellm.exceptions.openai.OpenAIError, match=says) as failed:
        await litellm.arerank(**asked(api_base=upstream(answer).url))
    assert getattr(failed.value, "status_code", None) == status
    assert "123456789012" not in str(failed.value)


@ways
async def test_a_container_that_does_not_answer(upstream: Upstream, ask: Ask) -> None:
    with pytest.raises(litellm.Timeout):
        await ask(**asked(timeout=0.1, api_base=upstream(Answer([], end="stall")).url))


async def test_a_caller_who_leaves_frees_the_connection(upstream: Upstream) -> None:
    server = upstream(Answer([], end="stall"))
    call = asyncio.create_task(arerank(**asked(api_base=server.url)))
    while not server.seen:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.to_thread(server.left.acquire, timeout=10)


@ways
async def test_a_component_scaled_to_zero_is_waited_for(upstream: Upstream, ask: Ask) -> None:
    asleep = json_answer({"Message": "Inference Component has no capacity to process this request. Try later."}, 400)
    server = upstream(lambda seen: asleep if len(server.seen) < 2 else json_answer(VLLM))
    name = f"sagemaker_openai/asleep-{ask.__name__.replace('_', '-')}"
    assert (await ask(**asked(model=name, aws_sagemaker_cold_start_timeout=30))).results
    assert len(server.seen) == 2


# What LiteLLM makes of it


class Collector(CustomLogger):
    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.done = threading.Semaphore(0)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.seen.append((kwargs, response_obj))
        self.done.release()


async def test_callbacks_get_the_call_and_no_credential(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    server = upstream(json_answer(VLLM))
    collector = Collector()
    monkeypatch.setattr(litellm, "callbacks", [*litellm.callbacks, collector])
    own = {"aws_access_key_id": "AKIAOWN", "aws_secret_access_key": "THE-SECRET", "aws_session_token": "THE-TOKEN"}
    for ask in (arerank, by_litellm):
        await ask(**asked(api_base=server.url, metadata={"mine": 1}, **own))
        assert await asyncio.to_thread(collector.done.acquire, timeout=30)
    for kwargs, response in collector.seen:
        logged = kwargs["standard_logging_object"]
        assert (logged["call_type"], logged["model"]) == ("arerank", "my-endpoint")
        assert logged["messages"] == [{"role": "user", "content": QUERY}]
        assert kwargs["litellm_params"]["metadata"]["mine"] == 1
        assert response.results[0]["index"] == 1
        assert "THE-SECRET" not in str(kwargs)
        assert "THE-TOKEN" not in str(kwargs)


class Masking(CustomLogger):
    """An application's callback, which LiteLLM asks after this provider's."""

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any]:
        documents = [text.replace("Dublin", "<place>") for text in kwargs["documents"]]
        return {**kwargs, "documents": documents, "query": "<colour> apples", "top_n": 1}


@each("ask", [arerank, by_litellm], ids=["arerank", "litellm.arerank"])
async def test_what_a_later_callback_changes_is_sent(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    server = upstream(json_answer({"results": [{"index": 0, "relevance_score": 0.5}]}))
    monkeypatch.setattr(litellm, "callbacks", [*litellm.callbacks, Masking()])
    response = await ask(**asked(aws_access_key_id="AKIAOWN", aws_secret_access_key="s", instruction="i"))
    [seen] = server.seen
    documents = ["a train to <place>", *DOCUMENTS[1:]]
    question = {"query": "<colour> apples", "documents": documents, "top_n": 1}
    assert seen.json == {"model": "", **question, "instruction": "i"}
    assert "Credential=AKIAOWN/" in seen.headers["authorization"]
    assert response.results == [{"index": 0, "relevance_score": 0.5, "document": {"text": documents[0]}}]


@each("ask", [arerank, by_litellm], ids=["arerank", "litellm.arerank"])
async def test_what_a_later_callback_makes_of_it_may_be_refused(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    class Emptying(CustomLogger):
        async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any]:
            return {**kwargs, "documents": []}

    server = upstream(json_answer(VLLM))
    monkeypatch.setattr(litellm, "callbacks", [*litellm.callbacks, Emptying()])
    with pytest.raises(litellm.BadRequestError, match="documents must be a list of at least one document"):
        await ask(**asked())
    assert server.seen == []


@pytest.mark.usefixtures("no_waiting", "no_known_models")
async def test_the_router_retries_and_knows_the_price(upstream: Upstream, router_of: Callable[..., Router]) -> None:
    server = upstream(lambda seen: BUSY if len(server.seen) < 3 else json_answer(VLLM))
    info = {"mode": "rerank", "input_cost_per_query": 0.5}
    deployment = {"model_name": "m", "litellm_params": {"model": MODEL}, "model_info": info}
    response: Any = await router_of(deployment, num_retries=2).arerank("m", query=QUERY, documents=DOCUMENTS)
    assert [result["index"] for result in response.results] == [1, 2, 0]
    assert response._hidden_params["response_cost"] == pytest.approx(0.5)
    assert len(server.seen) == 3
    assert {frozenset(seen.json) for seen in server.seen} == {frozenset({"model", "query", "documents"})}


async def test_a_cache_answers_no_rerank_call(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM's key would not tell the container's parameters, components and credentials apart."""
    server = upstream(json_answer(VLLM))
    cache: Any = Cache()
    monkeypatch.setattr(litellm, "cache", cache)
    for _ in range(2):
        for ask in (by_rerank, arerank, by_litellm):
            await ask(**asked(api_base=server.url))
    assert len(server.seen) == 6
    assert cache.cache.cache_dict == {}


async def test_other_calls_are_left_alone(upstream: Upstream) -> None:
    server = upstream(json_answer(VLLM))
    await litellm.arerank(model="hosted_vllm/m", query=QUERY, documents=DOCUMENTS, api_base=server.url)
    assert server.seen[0].path == "/rerank"
    with pytest.raises(Exception, match="not a valid LlmProviders"):  # given by position: LiteLLM's own answer
        await litellm.arerank(MODEL, QUERY, DOCUMENTS)


# The built-in container


def test_the_built_in_containers_scores() -> None:
    answer = container.rerank({"query": QUERY, "documents": DOCUMENTS, "top_n": 1})
    assert answer["results"] == [
        {"index": 1, "document": {"text": "red apples", "multi_modal": None}, "relevance_score": 1.0}
    ]
    assert answer["usage"] == {"prompt_tokens": 14, "total_tokens": 14}
    ranked = container.rerank({"query": QUERY, "texts": DOCUMENTS, "return_text": True})
    assert [(rank["index"], rank["text"]) for rank in ranked] == [(index, DOCUMENTS[index]) for index in (1, 2, 0)]
    assert container.rerank({"query": "", "texts": [""]}) == [{"index": 0, "score": 0.0}]


@each(
    ("body", "says"),
    [
        ({"query": 1, "documents": ["a"]}, "valid string"),
        ({"query": "a", "documents": []}, "at least 1 item"),
        ({"query": "a", "texts": [1]}, "valid string"),
        ({"query": "a", "documents": ["a"], "model": "other"}, "does not exist"),
        ({"query": "a", "documents": ["word " * 200_000]}, "maximum context length"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_the_built_in_container_refuses(body: Any, says: str) -> None:
    with pytest.raises(ContainerRefusal, match=says):
        container.rerank(body)


# The proxy


@dataclass(frozen=True)
class Proxied:
    proxy: Proxy
    runtime: Running
    tei: Scripted

    def ask(self, model: str = "reranker", **more: Any) -> httpx.Response:
        body = {"model": model, "query": QUERY, "documents": DOCUMENTS, **more}
        return self.proxy.client.post("/v1/rerank", json=body)


def tei(seen: Seen) -> Answer:
    if seen.json["query"] == "fail, busy":
        return BUSY
    if seen.json["query"] == "fail":
        return model_error(
            413, '{"error": "batch size 33 > maximum allowed batch size 32", "error_type": "Validation"}'
        )
    return json_answer([{"index": index, "score": 1 / (index + 1)} for index, _ in enumerate(seen.json["texts"])])


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    settings = config("rerank.yaml")
    with ExitStack() as stack:
        runtime = stack.enter_context(running(RuntimeConfig({"my-reranker": ()}, CREDENTIALS, REGION)))
        on_tei = stack.enter_context(scripted(tei))
        settings["model_list"][1]["litellm_params"]["api_base"] = on_tei.url
        started = stack.enter_context(proxy(tmp_path_factory.mktemp("proxy"), settings, sagemaker=runtime.url))
        yield Proxied(started, runtime, on_tei)


@pytest.fixture
def on(proxied: Proxied) -> Proxied:
    proxied.runtime.app.state.received.clear()
    proxied.tei.seen.clear()
    return proxied


@pytest.mark.slow(reason="starts LiteLLM's proxy")
class TestProxy:
    def test_starts_without_a_warning(self, on: Proxied) -> None:
        assert "WARNING" not in without_notices(on.proxy.log)

    def test_an_answer(self, on: Proxied) -> None:
        answer = on.ask(top_n=2)
        assert answer.status_code == 200
        assert [result["index"] for result in answer.json()["results"]] == [1, 2]
        assert answer.json()["results"][0]["document"] == {"text": "red apples"}
        assert answer.headers["llm_provider-x-amzn-requestid"]
        [received] = on.runtime.app.state.received
        assert received.path == "/endpoints/my-reranker/invocations"
        assert received.body == {"model": "", "query": QUERY, "documents": DOCUMENTS, "top_n": 2}

    def test_its_cost_is_the_deployments(self, on: Proxied) -> None:
        answer = on.ask()
        assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(0.0001)
        logged = on.proxy.reported(answer.headers["x-litellm-call-id"], "success")["logged"]
        assert logged["response_cost"] == pytest.approx(0.0001)
        assert (logged["model_group"], logged["call_type"]) == ("reranker", "arerank")

    def test_teis_format(self, on: Proxied) -> None:
        answer = on.ask("reranker-tei", return_documents=False)
        assert [result["index"] for result in answer.json()["results"]] == [0, 1, 2]
        assert "document" not in answer.json()["results"][0]
        assert [seen.json for seen in on.tei.seen] == [{"query": QUERY, "texts": DOCUMENTS}]

    def test_the_containers_refusal(self, on: Proxied) -> None:
        answer = on.ask("reranker-tei", query="fail")
        assert answer.status_code == 400
        assert "batch size 33 > maximum allowed batch size 32" in answer.json()["error"]["message"]

    def test_a_key_is_asked_for(self, on: Proxied) -> None:
        body = {"model": "reranker", "query": QUERY, "documents": DOCUMENTS}
        answer = httpx.post(f"{on.proxy.url}/v1/rerank", json=body, trust_env=False)
        assert answer.status_code in (401, 500)  # 500 where prisma is not installed: LiteLLM's own
        assert list(on.runtime.app.state.received) == []

    @each(
        "said",
        [
            {"aws_region_name": "eu-west-1"},
            {"aws_sagemaker_rerank_format": "tei"},
            {"aws_sagemaker_allowed_hosts": "evil.example"},
            {"model_id": "another"},
            {"custom_llm_provider": "hosted_vllm"},
            {"use_litellm_proxy": True},
            {"client": "mine"},
            {"api_key": "sk-mine"},
            {"litellm_credential_name": "another"},
            {"hf_model_name": "another"},
            {"extra_body": {"model": "another"}},
            {"extra_body": {"query": "another"}},
            {"extra_body": {"documents": ["another"]}},
            {"extra_body": {"texts": ["another"]}},
            {"extra_headers": {"X-Amzn-SageMaker-Target-Variant": "another"}},
            {"texts": ["another"]},
            {"messages": [{"role": "user", "content": "another"}]},
            {"text_1": "another"},
        ],
        ids=str,
    )
    def test_what_a_client_must_not_say(self, on: Proxied, said: Any) -> None:
        answer = on.ask(**said)
        assert answer.status_code == 400
        assert "a client of this proxy must not set" in answer.json()["error"]["message"]
        assert list(on.runtime.app.state.received) == []

    @each("entry", [{"query": "another"}, {"documents": ["another"]}, {"texts": ["another"]}], ids=str)
    def test_an_entry_of_a_clients_fallbacks_asks_the_same(self, on: Proxied, entry: dict[str, Any]) -> None:
        """A guardrail of the proxy sees the request's own query and documents alone."""
        answer = on.ask("reranker-tei", query="fail, busy", num_retries=0, fallbacks=[{"model": "reranker", **entry}])
        assert answer.status_code == 503
        assert [(seen.json["query"], seen.json["texts"]) for seen in on.tei.seen] == [("fail, busy", DOCUMENTS)]
        assert list(on.runtime.app.state.received) == []

    @each(("said", "status"), [({"documents": []}, 400), ({"top_n": 0}, 400), ({"query": 5}, 400)], ids=str)
    def test_what_a_client_says_wrong(self, on: Proxied, said: Any, status: int) -> None:
        answer = on.ask(**said)
        assert answer.status_code == status
        assert "sagemaker_openai did not send this request" in answer.json()["error"]["message"]

    def test_health(self, on: Proxied) -> None:
        health = on.proxy.get("/health").json()
        assert (health["healthy_count"], health["unhealthy_count"]) == (2, 0)
        assert len(on.runtime.app.state.received) == len(on.tei.seen) == 1
