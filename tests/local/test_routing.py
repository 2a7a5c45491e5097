"""Several instances: which one answers, what is in its cache, and what comes of it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import litellm
import pytest
from botocore.config import Config
from click.testing import CliRunner

from litellm_sagemaker_openai import register
from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.formats import prompt_cache_key
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.routing import (
    HINT_FIELD,
    HINT_HEADER,
    INSTANCE_HEADER,
    LEAST_OUTSTANDING_REQUESTS,
    PREFIX_AWARE,
    RANDOM,
    STRATEGIES,
    Instances,
    PrefixCache,
    Routing,
    hint_in,
    prefix_of,
)
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.script import read_script
from litellm_sagemaker_openai.local.server import running
from tests.conftest import CREDENTIALS, REGION
from tests.docs.pages import tables
from tests.local.rates import rows

each = pytest.mark.parametrize
MODEL = "sagemaker_openai/my-endpoint"
SYSTEM = {"role": "system", "content": "You answer questions about our products. " * 60}  # 2,460 characters


def messages(question: str = "Hello?") -> list[dict[str, Any]]:
    return [SYSTEM, {"role": "user", "content": question}]


# Who is chosen


def test_random_is_random_and_the_same_for_a_seed() -> None:
    routing, same = Routing(Instances(3, RANDOM, seed=7)), Routing(Instances(3, RANDOM, seed=7))
    chosen = [routing.enter(b"p") for _ in range(300)]
    assert chosen == [same.enter(b"p") for _ in range(300)]
    counts = Counter(chosen)
    assert set(counts) == {0, 1, 2}
    assert min(counts.values()) > 60


def test_the_fewest_in_flight() -> None:
    routing = Routing(Instances(3, LEAST_OUTSTANDING_REQUESTS, seed=1))
    assert {routing.enter(b"p") for _ in range(3)} == {0, 1, 2}
    routing.leave(1)
    assert routing.enter(b"p") == 1


def test_a_prefix_has_its_instance_and_a_hint_another() -> None:
    routing = Routing(Instances(3, PREFIX_AWARE, concurrency_threshold=1000))
    assert len({routing.enter(b"p") for _ in range(9)}) == 1
    assert len({routing.enter(b"p", "h") for _ in range(9)}) == 1
    assert {routing.enter(b"p", f"h{number}") for number in range(30)} == {0, 1, 2}
    assert {routing.enter(b"p%d" % number) for number in range(30)} == {0, 1, 2}
    # The same in another process: an instance's number depends on prefix and hint alone.
    assert Routing(Instances(3, PREFIX_AWARE)).enter(b"p", "h") == routing.enter(b"p", "h")


def test_an_instance_that_has_the_threshold_in_flight_gets_no_more() -> None:
    routing = Routing(Instances(3, PREFIX_AWARE, concurrency_threshold=2, seed=1))
    first, second, third, fourth = (routing.enter(b"p") for _ in range(4))
    assert first == second
    assert {first, third, fourth} == {0, 1, 2}
    routing.leave(first)
    assert routing.enter(b"p") == first


@each("strategy", STRATEGIES)
def test_one_instance_answers_all(strategy: str) -> None:
    routing = Routing(Instances(1, strategy, concurrency_threshold=1))
    assert {routing.enter(b"p%d" % number) for number in range(5)} == {0}


# What is compared


def test_the_texts_of_messages_up_to_the_length() -> None:
    parts = [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": {"url": "data:x"}}, "c"]
    body = {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": parts}]}
    assert prefix_of(b"raw", body, 1024, of_messages=True) == b"abc"
    assert prefix_of(b"raw", body, 2, of_messages=True) == b"ab"
    assert prefix_of(b"raw", {"messages": [{"content": "éé"}]}, 1, of_messages=True) == "é".encode()
    assert prefix_of(b"raw", body, 2, of_messages=False) == b"ra"


@each(
    "body",
    [None, [], 5, "x", {}, {"messages": None}, {"messages": ["x", 5, None, {"content": 5}, {"content": [5, {}]}]}],
)
def test_what_is_no_request_has_no_prefix(body: Any) -> None:
    assert prefix_of(b"raw", body, 1024, of_messages=True) == b""
    assert hint_in(body, {}, of_messages=True) == ""


def test_the_hint_is_a_field_or_a_header() -> None:
    assert (HINT_FIELD, HINT_HEADER) == (prompt_cache_key.FIELD, prompt_cache_key.HEADER)
    both = {HINT_FIELD: "field"}, {HINT_HEADER: "header"}
    assert hint_in(*both, of_messages=True) == "field"
    assert hint_in(*both, of_messages=False) == "header"
    assert hint_in({HINT_FIELD: 5}, {}, of_messages=True) == ""


# What is in the cache


def test_whole_blocks_of_the_same_beginning() -> None:
    cache = PrefixCache(1600)
    words = [str(number) for number in range(100)]
    assert cache.take(words) == 0
    assert cache.take(words) == 96
    assert cache.take(words[:40]) == 32
    assert cache.take([*words[:50], "x", *words[51:]]) == 48
    assert cache.take(["x", *words[1:]]) == 0
    assert cache.take(words[:15]) == 0


def test_the_last_token_is_always_computed() -> None:
    """As vLLM does it: the logits of the prompt's last token give the answer's first."""
    cache, words = PrefixCache(1600), [str(number) for number in range(32)]
    cache.take(words)
    assert cache.take(words) == 16


def test_it_holds_no_more_than_it_can() -> None:
    cache = PrefixCache(64)
    first, second = [f"a{number}" for number in range(33)], [f"b{number}" for number in range(49)]
    cache.take(first)
    assert cache.take(first) == 32
    cache.take(second)  # 3 blocks: one of the first's has to go
    assert len(cache._blocks) == 4
    assert cache.take(first) == 0


# What comes of it


def test_the_pages_table() -> None:
    """``python -m tests.local.rates`` prints it."""
    [[*on_the_page]] = tables("docs/routing.md", "What it changes")
    assert on_the_page == [*rows()]


# Over sockets


@pytest.fixture
def instances(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts a runtime that plays instances, as the SageMaker runtime of this test."""
    register()
    started = []

    def start(played: Instances | None, **echo: Any) -> Any:
        config = RuntimeConfig(
            {"my-endpoint": (), "shared": ("a", "b")}, CREDENTIALS, REGION, echo=EchoConfig(**echo), instances=played
        )
        context = running(config)
        runtime = context.__enter__()
        started.append(context)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
        return runtime

    yield start
    for context in started:
        context.__exit__(None, None, None)


def instance_of(answer: Any) -> str:
    headers = answer._hidden_params["additional_headers"]
    return str(headers[f"llm_provider-{INSTANCE_HEADER}"])


def cached(usage: Any) -> int | None:
    return None if usage.prompt_tokens_details is None else usage.prompt_tokens_details.cached_tokens


def test_a_conversation_stays_where_its_prefix_is_cached(instances: Any) -> None:
    instances(Instances(3, PREFIX_AWARE))
    first, second = (litellm.completion(MODEL, messages(text)) for text in ("Hello?", "And now?"))
    assert instance_of(first) == instance_of(second)
    assert cached(first.usage) is None  # vLLM says it where there were any
    assert cached(second.usage) == second.usage.prompt_tokens // 16 * 16 - 16 > 400


def test_sessions_are_kept_apart_by_their_keys(instances: Any) -> None:
    instances(Instances(3, PREFIX_AWARE))
    used = {
        session: {
            instance_of(
                litellm.completion(
                    MODEL,
                    messages(text),
                    litellm_session_id=session,
                    aws_sagemaker_prompt_cache_key="session",
                )
            )
            for text in "abc"
        }
        for session in ("s1", "s2", "s3", "s4", "s5", "s6")
    }
    assert all(len(instance) == 1 for instance in used.values())
    assert len(set.union(*used.values())) > 1


def test_a_stream_says_it_too(instances: Any) -> None:
    instances(Instances(3, PREFIX_AWARE))
    litellm.completion(MODEL, messages())
    stream = litellm.completion(MODEL, messages(), stream=True, stream_options={"include_usage": True})
    assert cached([*stream][-1].usage) > 400  # type: ignore[operator]


async def test_an_embeddings_hint_is_a_header(instances: Any) -> None:
    instances(Instances(3, PREFIX_AWARE))

    async def of(key: str) -> str:
        return instance_of(await litellm.aembedding(MODEL, ["a"], prompt_cache_key=key))

    used = {key: {await of(key), await of(key)} for key in "abcdef"}
    assert all(len(instance) == 1 for instance in used.values())
    assert len(set.union(*used.values())) > 1


def test_a_text_completions_hint_is_a_header(instances: Any) -> None:
    runtime = instances(Instances(3, PREFIX_AWARE))
    whole = litellm.text_completion(model=MODEL, prompt="def", prompt_cache_key="k")
    stream = litellm.text_completion(model=MODEL, prompt="def", prompt_cache_key="k", stream=True)
    assert "".join(chunk.choices[0].text or "" for chunk in stream) == whole.choices[0].text
    assert len(runtime.app.state.received) == 2
    for seen in runtime.app.state.received:
        assert seen.headers[HINT_HEADER] == "k"
        assert HINT_FIELD not in seen.body


def test_each_component_has_its_own(instances: Any) -> None:
    instances(Instances(1))
    for component in ("a", "b"):
        first, second = (litellm.completion(f"sagemaker_openai/shared/{component}", messages()) for _ in range(2))
        assert (cached(first.usage), cached(second.usage)) != (None, None)
        assert cached(first.usage) is None


def test_boto3_is_routed_too(instances: Any) -> None:
    runtime = instances(Instances(3, PREFIX_AWARE))
    client = boto3.client(
        "sagemaker-runtime",
        region_name=REGION,
        endpoint_url=runtime.url,
        aws_access_key_id=CREDENTIALS.access_key,
        aws_secret_access_key=CREDENTIALS.secret_key,
        aws_session_token=CREDENTIALS.session_token,
        config=Config(retries={"total_max_attempts": 1}),
    )

    def asked(**more: Any) -> str:
        answer = client.invoke_endpoint(EndpointName="my-endpoint", Body=b'{"input": "a"}', **more)
        return str(answer["ResponseMetadata"]["HTTPHeaders"][INSTANCE_HEADER])

    assert len({asked() for _ in range(5)}) == 1
    assert {asked(PrefixAwareId=f"id {number}") for number in range(12)} == {"1", "2", "3"}


SLOW = read_script("conversations: [{turns: [{content: one two three four five, delay: 0.2, repeat: 9}]}]")


async def test_who_leaves_is_no_longer_in_flight(instances: Any) -> None:
    """An answer that is complete, one that is refused, a stream that its reader leaves."""
    instances(Instances(2, PREFIX_AWARE, concurrency_threshold=1, seed=1), script=SLOW)
    home = instance_of(await litellm.acompletion(MODEL, messages("the first"), max_tokens=1))
    stream = await litellm.acompletion(MODEL, messages("the second"), stream=True)
    await anext(stream)
    assert instance_of(stream) == home
    away = await litellm.acompletion(MODEL, messages("the third"), max_tokens=1)
    assert instance_of(away) != home  # while the stream is open
    await stream.aclose()
    for _ in range(200):  # until the runtime has seen it
        with pytest.raises(litellm.BadRequestError):
            await litellm.acompletion(MODEL, messages("the fourth"), max_tokens=1, n=0)
        if instance_of(await litellm.acompletion(MODEL, messages("the fifth"), max_tokens=1)) == home:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the stream is in flight after it was left")


def test_one_instance_says_nothing(instances: Any) -> None:
    instances(None)
    litellm.completion(MODEL, messages())
    answer = litellm.completion(MODEL, messages())
    assert f"llm_provider-{INSTANCE_HEADER}" not in answer._hidden_params["additional_headers"]
    assert cached(answer.usage) is None


def test_a_refusal_of_the_front_doors_names_no_instance(instances: Any) -> None:
    runtime = instances(Instances(3))
    answer = httpx.post(f"{runtime.url}/endpoints/my-endpoint/openai/v1/chat/completions", json={}, trust_env=False)
    assert answer.status_code == 401
    assert INSTANCE_HEADER not in answer.headers


# The command


@each(
    ("arguments", "said"),
    [
        (["--routing", "random"], "--routing goes with --instances"),
        (["--instances", "3", "--prefix-length", "2048"], "--prefix-length goes with --routing prefix-aware"),
        (["--instances", "3", "--routing", "random", "--concurrency-threshold", "5"], "goes with --routing prefix-aw"),
        (["--instances", "0"], "1<=x<=100"),
        (["--instances", "3", "--routing", "prefix-aware", "--prefix-length", "1023"], "1024<=x<=65536"),
        (["--instances", "3", "--upstream", "http://127.0.0.1:9"], "leave out --instances or --upstream"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["local", "--port", "0", *arguments], env={**os.environ})
    assert result.exit_code == 2
    assert said in result.output
