"""LiteLLM's response cache: calls that go to different models, or in different names, share no answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.caching.caching import Cache

from tests.conftest import MESSAGES, Upstream, retire
from tests.scripted import Answer, Seen, chunk, completion, json_answer, sse, usage_chunk

pytestmark = pytest.mark.medium(reason="makes each kind of call with each cache")

TWO = [
    pytest.param({"model_id": "coder"}, {"model_id": "reviewer"}, id="component"),
    pytest.param({"aws_region_name": "us-west-2"}, {"aws_region_name": "eu-west-1"}, id="region"),
    pytest.param({"aws_access_key_id": "AKIA1"}, {"aws_access_key_id": "AKIA2"}, id="credentials"),
    pytest.param(
        {"aws_access_key_id": "AKIA1"}, {"aws_access_key_id": "AKIA1", "aws_secret_access_key": "a guess"}, id="secret"
    ),
    pytest.param({"api_key": "t1"}, {"api_key": "t2"}, id="token"),
    pytest.param({"extra_body": {"top_k": 1}}, {"extra_body": {"top_k": 2}}, id="extra_body"),
    pytest.param({"hf_model_name": "a"}, {"hf_model_name": "b"}, id="served name"),
    pytest.param({"guided_choice": ["a"]}, {"guided_choice": ["b"]}, id="the container's own parameter"),
    pytest.param({"extra_headers": {"X-Tenant": "a"}}, {"extra_headers": {"X-Tenant": "b"}}, id="header"),
    pytest.param({"_private": "a"}, {"_private": "b"}, id="a name that LiteLLM takes for its own"),
    pytest.param(
        {"extra_headers": {"X-Amzn-SageMaker-Target-Variant": "a"}},
        {"extra_headers": {"X-Amzn-SageMaker-Target-Variant": "b"}},
        id="production variant",
    ),
]
INLINE = {"aws_secret_access_key": "s", "aws_session_token": "t"}


class Counter:
    """A container whose answers are all different."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, seen: Seen) -> Answer:
        self.asked += 1
        text = f"answer {self.asked}"
        if seen.json.get("stream"):
            return Answer([sse(chunk({"content": text}), chunk({}, finish="stop"), usage_chunk(1, 1))])
        if "input" in seen.json:
            embedding = {"object": "embedding", "index": 0, "embedding": [float(self.asked)]}
            return json_answer({"object": "list", "model": "m", "data": [embedding], "usage": {"prompt_tokens": 1}})
        return json_answer(completion(text))


@pytest.fixture(params=["set before", "set after"])
def container(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Counter]:
    """With a cache of LiteLLM's, which an application may set before or after it registers this provider."""
    counter = Counter()
    upstream(counter)
    litellm.cache = Cache(type="local")  # type: ignore[arg-type]
    if request.param == "set before":
        import litellm_sagemaker_openai

        litellm_sagemaker_openai.register()
    yield counter
    litellm.cache = None


async def kept(answers: int) -> None:
    """Wait for LiteLLM's tasks to put so many answers into the cache."""
    cache: Any = litellm.cache
    for _ in range(1000):
        if len(cache.cache.cache_dict) >= answers:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"{len(cache.cache.cache_dict)} of {answers} answers in the cache")


def keywords(params: dict[str, Any]) -> dict[str, Any]:
    return {**(INLINE if "aws_access_key_id" in params else {}), **params}


def ask(**params: Any) -> str:
    answer: Any = litellm.completion("sagemaker_openai/e", MESSAGES, **keywords(params))
    return str(answer.choices[0].message.content)


def ask_streamed(**params: Any) -> str:
    stream: Any = litellm.completion("sagemaker_openai/e", MESSAGES, stream=True, **keywords(params))
    return "".join(piece.choices[0].delta.content or "" for piece in stream)


async def aask(**params: Any) -> str:
    answer: Any = await litellm.acompletion("sagemaker_openai/e", MESSAGES, **keywords(params))
    return str(answer.choices[0].message.content)


async def aask_streamed(**params: Any) -> str:
    stream: Any = await litellm.acompletion("sagemaker_openai/e", MESSAGES, stream=True, **keywords(params))
    return "".join([piece.choices[0].delta.content or "" async for piece in stream])


@pytest.mark.parametrize(("one", "other"), TWO)
def test_a_synchronous_call_gets_no_other_calls_answer(
    container: Counter, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first = ask(**one)
    assert ask(**other) != first
    assert container.asked == 2
    assert ask(**other) == "answer 2"  # its own: the cache is in use


@pytest.mark.parametrize(("one", "other"), TWO)
def test_a_synchronous_stream_gets_no_other_calls_answer(
    container: Counter, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first = ask_streamed(**one)
    assert ask_streamed(**other) != first


@pytest.mark.parametrize(("one", "other"), TWO)
async def test_an_asynchronous_call_gets_no_other_calls_answer(
    container: Counter, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first = await aask(**one)
    await kept(1)
    assert await aask(**other) != first
    assert await aask(**one) == first
    assert container.asked == 2


@pytest.mark.parametrize(("one", "other"), TWO)
async def test_an_asynchronous_stream_gets_no_other_calls_answer(
    container: Counter, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first = await aask_streamed(**one)
    await kept(1)
    assert await aask_streamed(**other) != first


@pytest.mark.parametrize(("one", "other"), [each for each in TWO if each.id != "token"])
async def test_embeddings_are_told_apart_as_well(
    container: Counter, one: dict[str, Any], other: dict[str, Any]
) -> None:
    async def vector(params: dict[str, Any]) -> Any:
        answer = await litellm.aembedding(model="sagemaker_openai/e", input="Hello", **keywords(params))
        return answer.data[0]["embedding"]

    first = await vector(one)
    await kept(1)
    assert await vector(other) != first
    assert await vector(one) == first


async def test_deployments_of_one_group_share_no_answer_where_their_components_differ(container: Counter) -> None:
    def deployment(**params: Any) -> dict[str, Any]:
        return {"model_name": "m", "litellm_params": {"model": "sagemaker_openai/e", **params}}

    router = Router([deployment(model_id="coder"), deployment(model_id="reviewer")], cache_responses=True)
    try:
        texts = set()
        for _ in range(30):  # which deployment is asked is chosen by lot
            answer = await router.acompletion("m", MESSAGES)
            texts.add(answer.choices[0].message.content)
            await kept(len(texts))
    finally:
        retire(router)
    assert texts == {"answer 1", "answer 2"}


@pytest.mark.parametrize("one_answer", [ask, ask_streamed])
def test_no_answer_is_kept_under_litellms_own_key(container: Counter, one_answer: Callable[[], str]) -> None:
    """Where another process that shares the cache would find it with its first call."""
    one_answer()
    cache: Any = litellm.cache
    (key,) = cache.cache.cache_dict
    assert re.fullmatch(r"[0-9a-f]{64}:[0-9a-f]{32}", key)  # LiteLLM's own, and a digest


async def test_endpoints_share_no_answer_whatever_group_a_client_says(container: Counter) -> None:
    """On /v1/messages and /v1/responses `metadata` is the client's, and LiteLLM's key has the group that it says."""
    metadata = {"model_group": "secret", "caching_groups": [["secret", "other"]]}
    texts = []
    for endpoint in ("secret", "other", "secret"):
        answer: Any = await litellm.acompletion(f"sagemaker_openai/{endpoint}", MESSAGES, metadata=dict(metadata))
        texts.append(answer.choices[0].message.content)
        await kept(len(set(texts)))
    assert texts == ["answer 1", "answer 2", "answer 1"]


async def test_behind_an_alias(container: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "model_alias_map", {"gpt-4o": "sagemaker_openai/e"})
    texts = []
    for component in ("coder", "reviewer", "coder"):
        answer: Any = await litellm.acompletion("gpt-4o", MESSAGES, model_id=component)
        texts.append(answer.choices[0].message.content)
        await kept(len(set(texts)))
    assert texts == ["answer 1", "answer 2", "answer 1"]


async def test_processes_with_an_environment_of_their_own_share_no_answer(
    container: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache such as Redis is shared by processes whose environment names another region."""
    first = await aask()
    await kept(1)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert await aask() != first
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert await aask() == first


@pytest.mark.parametrize("said", [{"cache_key": "k"}, {"litellm_params": {"preset_cache_key": "k"}}, {"model_id": "c"}])
async def test_a_proxys_client_names_no_answer_in_the_cache(container: Counter, said: dict[str, Any]) -> None:
    await aask(**said)  # the operator's
    await kept(1)
    request = {"body": {"model": "m", **said}, "headers": {}}
    with pytest.raises(litellm.BadRequestError, match=f"a client of this proxy must not set {next(iter(said))}"):
        await aask(**said, proxy_server_request=request)
    assert container.asked == 1


async def test_other_providers_keys_are_litellms_own(container: Counter) -> None:
    await aask()  # installs it, if nothing has
    cache: Any = litellm.cache
    keywords: Any = {"model": "openai/gpt-4o", "messages": MESSAGES}
    assert cache.get_cache_key(**keywords) == Cache(type="local").get_cache_key(**keywords)  # type: ignore[arg-type]


async def test_without_it_litellm_mixes_them_up(container: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails once LiteLLM tells them apart itself: then response_cache.py may go."""
    one: Any = {"model": "sagemaker_openai/e", "messages": MESSAGES, "extra_body": {"top_k": 1}}
    other: Any = {**one, "extra_body": {"top_k": 2}, "aws_region_name": "eu-west-1"}
    plain = Cache(type="local")  # type: ignore[arg-type]
    assert plain.get_cache_key(**one) == plain.get_cache_key(**other)
