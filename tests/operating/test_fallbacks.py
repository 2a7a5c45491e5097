"""The callback that keeps mistakes out of LiteLLM's fallbacks, in the real Router. test_outcomes.py has what is one."""

from __future__ import annotations

from typing import Any

import litellm
import pytest
from litellm.caching import Cache
from litellm.types.caching import LiteLLMCacheType
from litellm.types.router import RetryPolicy

from litellm_sagemaker_openai import no_fallback_on_bad_request
from litellm_sagemaker_openai.litellm_seams.fallbacks import Mistake
from tests.conftest import MESSAGES, litellm_is_before
from tests.operating.bedrock import GPT_OSS
from tests.operating.conftest import NO_CAPACITY, MakeRouter, MakeServer, deployment, fine, on_sagemaker, text_of
from tests.scripted import Answer, Scripted, json_answer

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
TOO_HOT = "temperature must be at most 2"
TOO_LONG = "This model's maximum context length is 50 tokens."
ELSEWHERE = "Bedrock stand-in. You said: Hello?"


def refused(status: int, message: str = TOO_HOT) -> Answer:
    return json_answer({"error": {"message": message, "type": "BadRequestError", "code": status}}, status)


def quoted(status: int) -> Answer:
    """The container's answer, as SageMaker's front door quotes it."""
    said = f'Received client error ({status}) from primary with message "{{"error": {{"message": "{TOO_HOT}"}}}}".'
    return json_answer({"error": {"message": said}}, status)


@pytest.fixture(autouse=True)
def callback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "callbacks", [*litellm.callbacks, no_fallback_on_bad_request])


def with_fallbacks(router_of: MakeRouter, bedrock: Scripted, *others: dict[str, Any], **settings: Any) -> Any:
    """A Router whose group ``m`` has Bedrock to fall back to."""
    fallback = deployment(GPT_OSS, "bedrock", aws_bedrock_runtime_endpoint=bedrock.url)
    return router_of(*others, fallback, **{"num_retries": 0, "fallbacks": [{"m": ["bedrock"]}], **settings})


@STREAM
@pytest.mark.parametrize("answer", [refused(400), refused(403), refused(404), quoted(400), quoted(422)])
async def test_a_mistake_is_the_callers(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, answer: Answer, stream: bool
) -> None:
    server = servers(answer)
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(server))
    with pytest.raises(Exception, match=TOO_HOT) as raised:
        await router.acompletion("m", MESSAGES, stream=stream)
    assert getattr(raised.value, "status_code", None) == answer.status
    assert (len(server.seen), len(bedrock_server.seen)) == (1, 0)


@STREAM
@pytest.mark.parametrize(
    "answer", [NO_CAPACITY, *(refused(status) for status in (424, 429, 500, 503))], ids=lambda each: str(each.status)
)
async def test_other_failures_are_taken_to_bedrock(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, answer: Answer, stream: bool
) -> None:
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(servers(answer)))
    assert await text_of(await router.acompletion("m", MESSAGES, stream=stream)) == ELSEWHERE


async def test_what_was_never_sent_is_a_mistake(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted
) -> None:
    server = servers(refused(400))
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(server, aws_sagemaker_token_expiry=0))
    with pytest.raises(litellm.BadRequestError, match="did not send this request: aws_sagemaker_token_expiry"):
        await router.acompletion("m", MESSAGES)
    assert (len(server.seen), len(bedrock_server.seen)) == (0, 0)


@STREAM
async def test_another_deployment_of_the_group_is_still_asked(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
) -> None:
    """The role of one region lacks a permission; the other's has it. The group has a deployment on Bedrock as well."""
    router = with_fallbacks(
        router_of,
        bedrock_server,
        on_sagemaker(servers(refused(403)), order=1),
        deployment(GPT_OSS, "m", aws_bedrock_runtime_endpoint=bedrock_server.url, order=2),
        on_sagemaker(servers(fine), order=3),
    )
    assert await text_of(await router.acompletion("m", MESSAGES, stream=stream)) == "SageMaker's."
    assert bedrock_server.seen == []


@STREAM
async def test_a_failure_of_the_other_deployment_is_a_failure(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
) -> None:
    router = with_fallbacks(
        router_of,
        bedrock_server,
        on_sagemaker(servers(refused(403)), order=1),
        on_sagemaker(servers(refused(503)), order=2),
    )
    if litellm_is_before("1.110"):
        assert await text_of(await router.acompletion("m", MESSAGES, stream=stream)) == ELSEWHERE
    else:  # the Router tells of the first failure alone
        with pytest.raises(litellm.BadRequestError, match="answered 403"):
            await router.acompletion("m", MESSAGES, stream=stream)


@STREAM
async def test_but_not_of_a_mistake_in_the_request(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
) -> None:
    router = with_fallbacks(
        router_of,
        bedrock_server,
        on_sagemaker(servers(refused(400)), order=1),
        on_sagemaker(servers(refused(503)), order=2),
    )
    with pytest.raises(litellm.BadRequestError, match="answered 400"):
        await router.acompletion("m", MESSAGES, stream=stream)
    assert bedrock_server.seen == []


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (refused(400, TOO_LONG), litellm.ContextWindowExceededError),
        (Answer([], end="stall"), litellm.Timeout),
        (refused(503), None),
    ],
    ids=["too long", "silent", "503"],
)
async def test_what_of_a_stream_falls_back_where_there_is_a_cache(
    router_of: MakeRouter,
    servers: MakeServer,
    bedrock_server: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    no_waiting: None,
    answer: Answer,
    raised: type[Exception] | None,
) -> None:
    """It opens with the first read, and there LiteLLM before 1.110 asks another group after 429 and 5xx alone."""
    monkeypatch.setattr(litellm, "cache", Cache(type=LiteLLMCacheType.LOCAL))
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(servers(answer), timeout=0.3))
    stream = await router.acompletion("m", MESSAGES, stream=True)
    if raised is None or not litellm_is_before("1.110"):
        assert await text_of(stream) == ELSEWHERE
        return
    with pytest.raises(raised):
        await text_of(stream)
    assert bedrock_server.seen == []


@STREAM
async def test_so_is_a_prompt_that_is_too_long(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
) -> None:
    router = with_fallbacks(
        router_of,
        bedrock_server,
        on_sagemaker(servers(refused(400, TOO_LONG))),
        fallbacks=[],
        context_window_fallbacks=[{"m": ["bedrock"]}],
    )
    assert await text_of(await router.acompletion("m", MESSAGES, stream=stream)) == ELSEWHERE


async def test_so_is_another_providers_answer(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted
) -> None:
    native = on_sagemaker(servers(refused(400)), model="hosted_vllm/e")
    router = with_fallbacks(router_of, bedrock_server, native)
    assert await text_of(await router.acompletion("m", MESSAGES)) == ELSEWHERE


@pytest.mark.parametrize(
    ("settings", "since"),  # the version of LiteLLM
    [
        ({"fallbacks": [{"m": ["n", "bedrock"]}]}, "1.104"),
        ({"fallbacks": [{"m": ["n"]}, {"n": ["bedrock"]}]}, "1.103"),
        ({"fallbacks": [{"*": ["n", "bedrock"]}]}, "1.103"),
    ],
    ids=["a list", "a chain", "for all"],
)
async def test_a_mistake_ends_the_fallbacks_wherever_it_is_found(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, settings: dict[str, Any], since: str
) -> None:
    """The first endpoint has no capacity, and the second one's container refuses the request."""
    ends = not litellm_is_before(since)
    first, second = servers(NO_CAPACITY), servers(refused(400))
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(first), on_sagemaker(second, group="n"), **settings)
    if ends:
        with pytest.raises(litellm.ServiceUnavailableError, match=TOO_HOT):
            await router.acompletion("m", MESSAGES)
    else:
        assert await text_of(await router.acompletion("m", MESSAGES)) == ELSEWHERE
    assert (len(first.seen), len(second.seen), len(bedrock_server.seen)) == (1, 1, 0 if ends else 1)


@STREAM
async def test_many_fallbacks_do_not_hide_a_mistake(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
) -> None:
    """LiteLLM remembers a request's last 4 failures, and here each fallback has fallbacks of its own."""
    others = [f"n{number}" for number in range(6)]
    unavailable = servers(refused(503))
    router = with_fallbacks(
        router_of,
        bedrock_server,
        on_sagemaker(servers(refused(400))),
        *(on_sagemaker(unavailable, group=name) for name in others),
        fallbacks=[{"*": [*others, "bedrock"]}],
    )
    with pytest.raises(litellm.BadRequestError, match=TOO_HOT):
        await router.acompletion("m", MESSAGES, stream=stream)
    assert (len(unavailable.seen), len(bedrock_server.seen)) == (0, 0)


def test_a_very_long_name_is_no_wildcards() -> None:
    """To compile a megabyte of a client's takes the event loop seconds."""
    assert Mistake("sagemaker/e", None, "").is_group("sagemaker/*")
    assert not Mistake("sagemaker/e", None, "").is_group("sagemaker/*" + "*" * 1000)
    assert not Mistake("sagemaker/" + "e" * 1000, None, "").is_group("sagemaker/*")


def test_litellm_does_not_ask_without_an_event_loop(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted
) -> None:
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(servers(refused(400))))
    assert router.completion("m", MESSAGES).choices[0].message.content == ELSEWHERE


async def test_a_deployment_by_its_id_is_not_asked_either(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted
) -> None:
    fallback = deployment(GPT_OSS, "other", info={"id": "an-id"}, aws_bedrock_runtime_endpoint=bedrock_server.url)
    router = router_of(on_sagemaker(servers(refused(400))), fallback, num_retries=0, fallbacks=[{"m": ["an-id"]}])
    with pytest.raises(litellm.BadRequestError, match=TOO_HOT):
        await router.acompletion("m", MESSAGES)
    assert bedrock_server.seen == []


@STREAM
async def test_an_alias_does_not_hide_a_fallback(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, stream: bool
) -> None:
    router = with_fallbacks(
        router_of,
        bedrock_server,
        on_sagemaker(servers(refused(400))),
        model_group_alias={"alias": "m"},
        fallbacks=[{"alias": ["bedrock"]}, {"m": ["bedrock"]}],
    )
    with pytest.raises(litellm.BadRequestError, match=TOO_HOT):
        await router.acompletion("alias", MESSAGES, stream=stream)
    assert bedrock_server.seen == []


async def test_retries_that_a_policy_asks_for_stay(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, no_waiting: None
) -> None:
    server = servers(refused(400))
    policy = RetryPolicy(BadRequestErrorRetries=1)
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(server), retry_policy=policy, num_retries=1)
    with pytest.raises(litellm.BadRequestError, match=TOO_HOT):
        await router.acompletion("m", MESSAGES)
    assert (len(server.seen), len(bedrock_server.seen)) == (2, 0)


async def test_a_request_does_not_remember_another_ones_mistake(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted
) -> None:
    answers = iter([refused(400), refused(503)])
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(servers(lambda _: next(answers))))
    with pytest.raises(litellm.BadRequestError):
        await router.acompletion("m", MESSAGES)
    assert await text_of(await router.acompletion("m", MESSAGES)) == ELSEWHERE


async def test_what_a_caller_sends_as_litellms_record_is_not_taken_for_one(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted
) -> None:
    router = with_fallbacks(router_of, bedrock_server, on_sagemaker(servers(refused(503))))
    sent = {"previous_models": ["x", {}, {"exception_string": None}]}
    assert await text_of(await router.acompletion("m", MESSAGES, metadata=sent)) == ELSEWHERE


async def test_what_was_refused_before_is_no_matter_of_the_next_call(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted
) -> None:
    """LiteLLM writes its records into the caller's own dictionary."""
    router = with_fallbacks(
        router_of, bedrock_server, on_sagemaker(servers(refused(400))), on_sagemaker(servers(fine), group="other")
    )
    metadata = {"mine": "1"}
    with pytest.raises(litellm.BadRequestError, match=TOO_HOT):
        await router.acompletion("m", MESSAGES, metadata=metadata)
    assert await text_of(await router.acompletion("other", MESSAGES, metadata=metadata)) == "SageMaker's."


async def test_a_retry_behind_an_alias_is_not_a_fallback(
    router_of: MakeRouter, servers: MakeServer, bedrock_server: Scripted, no_waiting: None
) -> None:
    server = servers(refused(400))
    router = with_fallbacks(
        router_of,
        bedrock_server,
        on_sagemaker(server),
        model_group_alias={"alias": "m"},
        retry_policy=RetryPolicy(BadRequestErrorRetries=2),
        fallbacks=[],
    )
    with pytest.raises(litellm.BadRequestError, match=TOO_HOT):
        await router.acompletion("alias", MESSAGES)
    assert len(server.seen) == 3
