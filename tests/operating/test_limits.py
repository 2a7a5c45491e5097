"""Cooldowns, retries, timeouts and limits act as for LiteLLM's own providers: each beside ``hosted_vllm/``.

The same calls to both, in a Router before the same kind of server, must come out the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import Any

import litellm
import openai
import pytest
from litellm import Router
from litellm.types.router import AllowedFailsPolicy, RetryPolicy, RouterRateLimitError

from tests.conftest import MESSAGES, litellm_is_before
from tests.operating.conftest import NO_CAPACITY, MakeRouter, MakeServer, fine, on_sagemaker, text_of
from tests.scripted import Answer, Seen, chunk, json_answer, sse

pytestmark = pytest.mark.medium(reason="makes many calls through Routers")

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
PROVIDERS = pytest.mark.parametrize("model", ["sagemaker_openai/e", "hosted_vllm/e"])


def refused(status: int, **headers: str) -> Answer:
    return json_answer({"error": {"message": "not now"}}, status, **headers)


async def outcome(router: Any, stream: bool = False, **call: Any) -> str:
    """What came of a call: the answer, or the exception's name."""
    try:
        return await text_of(await router.acompletion("m", MESSAGES, stream=stream, **call))
    except (openai.OpenAIError, RouterRateLimitError) as error:
        return type(error).__name__


@pytest.mark.usefixtures("no_waiting")
class TestCooldown:
    @PROVIDERS
    @STREAM
    @pytest.mark.parametrize("allowed_fails", [0, 2])
    async def test_after_allowed_fails_a_deployment_is_asked_no_more(
        self, router_of: MakeRouter, servers: MakeServer, model: str, stream: bool, allowed_fails: int
    ) -> None:
        broken, working = servers(refused(503)), servers(fine)
        router = router_of(
            on_sagemaker(broken, model=model),
            on_sagemaker(working, model=model),
            num_retries=0,
            allowed_fails=allowed_fails,
            cooldown_time=600,
        )
        for _ in range(100):
            if len(broken.seen) > allowed_fails:
                break
            await outcome(router, stream)
        assert {await outcome(router, stream) for _ in range(20)} == {"SageMaker's."}
        assert len(broken.seen) == allowed_fails + 1

    @PROVIDERS
    @STREAM
    async def test_429_takes_it_out_at_once(
        self, router_of: MakeRouter, servers: MakeServer, model: str, stream: bool
    ) -> None:
        busy, working = servers(refused(429)), servers(fine)
        router = router_of(
            on_sagemaker(busy, model=model), on_sagemaker(working, model=model), num_retries=0, cooldown_time=600
        )
        for _ in range(100):
            if busy.seen:
                break
            await outcome(router, stream)
        assert {await outcome(router, stream) for _ in range(20)} == {"SageMaker's."}
        assert len(busy.seen) == 1

    @PROVIDERS
    @STREAM
    async def test_a_callers_mistake_takes_nothing_out(
        self, router_of: MakeRouter, servers: MakeServer, model: str, stream: bool
    ) -> None:
        strict = servers(refused(400))
        router = router_of(
            on_sagemaker(strict, model=model), on_sagemaker(strict, model=model), num_retries=0, allowed_fails=0
        )
        assert {await outcome(router, stream) for _ in range(10)} == {"BadRequestError"}
        assert len(strict.seen) == 10

    @PROVIDERS
    @STREAM
    async def test_with_allowed_fails_a_groups_only_deployment_is_taken_out_too(
        self, router_of: MakeRouter, servers: MakeServer, model: str, stream: bool
    ) -> None:
        broken = servers(refused(503))
        router = router_of(on_sagemaker(broken, model=model), num_retries=0, allowed_fails=0, cooldown_time=600)
        outcomes = [await outcome(router, stream) for _ in range(3)]
        if litellm_is_before("1.110"):
            assert outcomes == ["ServiceUnavailableError", "RouterRateLimitError", "RouterRateLimitError"]
            assert len(broken.seen) == 1
        else:  # as by default
            assert outcomes == ["ServiceUnavailableError"] * 3
            assert len(broken.seen) == 3

    @PROVIDERS
    @STREAM
    async def test_but_not_by_default(
        self, router_of: MakeRouter, servers: MakeServer, model: str, stream: bool
    ) -> None:
        broken = servers(refused(503))
        router = router_of(on_sagemaker(broken, model=model), num_retries=0, cooldown_time=600)
        assert {await outcome(router, stream) for _ in range(10)} == {"ServiceUnavailableError"}
        assert len(broken.seen) == 10

    @PROVIDERS
    async def test_retry_after_says_for_how_long(self, router_of: MakeRouter, servers: MakeServer, model: str) -> None:
        busy, working = servers(refused(429, **{"retry-after": "37"})), servers(fine)
        router = router_of(
            on_sagemaker(busy, model=model, info={"id": "busy"}), on_sagemaker(working, model=model), num_retries=0
        )
        while not busy.seen:
            await outcome(router)
        cooldowns = router.cooldown_cache if litellm_is_before("1.109") else router.health().cooldowns
        ((_, cooled),) = await cooldowns.async_get_active_cooldowns(model_ids=["busy"], parent_otel_span=None)
        assert cooled["cooldown_time"] == 37

    @PROVIDERS
    async def test_a_policy_counts_by_the_kind_of_failure(
        self, router_of: MakeRouter, servers: MakeServer, model: str
    ) -> None:
        broken, working = servers(refused(429)), servers(fine)
        router = router_of(
            on_sagemaker(broken, model=model),
            on_sagemaker(working, model=model),
            num_retries=0,
            allowed_fails_policy=AllowedFailsPolicy(RateLimitErrorAllowedFails=3),
            cooldown_time=600,
        )
        for _ in range(200):
            await outcome(router)
        assert len(broken.seen) == 4

    @PROVIDERS
    async def test_one_endpoint_behind_a_wildcard_does_not_take_out_the_others(
        self, router_of: MakeRouter, servers: MakeServer, model: str
    ) -> None:
        provider = model.partition("/")[0]

        def script(seen: Seen) -> Answer:
            # SageMaker's endpoint is named in the path, vLLM's model in the body.
            return refused(503) if "broken" in seen.path + seen.json["model"] else fine(seen)

        router = router_of(
            on_sagemaker(servers(script), group="any/*", model=f"{provider}/*"), num_retries=0, allowed_fails=0
        )
        for _ in range(3):
            with pytest.raises(litellm.ServiceUnavailableError):
                await router.acompletion("any/broken", MESSAGES)
        assert await text_of(await router.acompletion("any/working", MESSAGES)) == "SageMaker's."


@pytest.mark.usefixtures("no_waiting")
class TestRetries:
    @PROVIDERS
    @STREAM
    async def test_of_the_deployment_of_the_call_and_of_a_policy(
        self, router_of: MakeRouter, servers: MakeServer, model: str, stream: bool
    ) -> None:
        tries = {}
        cases: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
            ("router", {}, {"num_retries": 3}, {}),
            ("deployment", {"num_retries": 1}, {"num_retries": 3}, {}),
            ("call", {}, {"num_retries": 3}, {"num_retries": 2}),
            ("policy", {}, {"num_retries": 3, "retry_policy": RetryPolicy(RateLimitErrorRetries=1)}, {}),
        ]
        for name, params, settings, call in cases:
            server = servers(refused(429))
            router = router_of(on_sagemaker(server, model=model, **params), **settings)
            assert await outcome(router, stream, **call) == "RateLimitError"
            tries[name] = len(server.seen)
        assert tries == {"router": 4, "deployment": 2, "call": 3, "policy": 2}


class TestTimeouts:
    STALLED = Answer([], content_type="application/json", end="stall")

    @PROVIDERS
    @pytest.mark.parametrize("where", ["router", "deployment", "call"])
    async def test_timeout(self, router_of: MakeRouter, servers: MakeServer, model: str, where: str) -> None:
        given: dict[str, dict[str, Any]] = {where: {"timeout": 0.2}}
        server = servers(self.STALLED)
        router = router_of(
            on_sagemaker(server, model=model, **given.get("deployment", {})), num_retries=0, **given.get("router", {})
        )
        assert await outcome(router, **given.get("call", {})) == "Timeout"
        assert await asyncio.to_thread(server.left.acquire, timeout=5)  # the connection is not left open

    @PROVIDERS
    @pytest.mark.parametrize("where", ["router", "deployment"])
    async def test_stream_timeout_is_for_streams_alone(
        self, router_of: MakeRouter, servers: MakeServer, model: str, where: str
    ) -> None:
        released = threading.Event()

        def later(seen: Seen) -> Answer:
            released.wait(10)
            return fine(seen)

        given: dict[str, dict[str, Any]] = {where: {"timeout": 60, "stream_timeout": 0.2}}
        router = router_of(
            on_sagemaker(servers(later), model=model, **given.get("deployment", {})),
            num_retries=0,
            **given.get("router", {}),
        )
        whole = asyncio.ensure_future(outcome(router))
        assert await outcome(router, stream=True) == "Timeout"
        assert not whole.done()
        released.set()
        assert await whole == "SageMaker's."


class TestMaxParallelRequests:
    """LiteLLM refuses what is too much with 429, which goes to another deployment or to the fallback."""

    @PROVIDERS
    async def test_no_more_go_out_at_a_time(self, router_of: MakeRouter, servers: MakeServer, model: str) -> None:
        released = threading.Event()

        def later(seen: Seen) -> Answer:
            released.wait(10)
            return fine(seen)

        server = servers(later)
        router = router_of(on_sagemaker(server, model=model, max_parallel_requests=2), num_retries=0)
        calls = [asyncio.ensure_future(outcome(router)) for _ in range(2)]
        while len(server.seen) < 2:
            await asyncio.sleep(0.01)
        assert await outcome(router) == "RateLimitError"
        released.set()
        assert await asyncio.gather(*calls) == ["SageMaker's."] * 2
        assert await outcome(router) == "SageMaker's."
        assert len(server.seen) == 3

    @PROVIDERS
    @pytest.mark.parametrize("ended_by", ["its end", "closing it", "breaking off"])
    async def test_a_stream_counts_until_it_ends(
        self, router_of: MakeRouter, servers: MakeServer, model: str, ended_by: str
    ) -> None:
        begun = Answer([sse(chunk({"content": "begun"}), done=False)], end="cut")
        server = servers(lambda seen: begun if ended_by == "breaking off" and len(server.seen) == 1 else fine(seen))
        router = router_of(on_sagemaker(server, model=model, max_parallel_requests=1), num_retries=0)
        stream = await router.acompletion("m", MESSAGES, stream=True)
        await anext(stream)
        assert await outcome(router) == "RateLimitError"
        if ended_by == "closing it":
            await stream.aclose()
        elif ended_by == "its end":
            await text_of(stream)
        else:
            with contextlib.suppress(openai.OpenAIError):  # hosted_vllm/ takes it for the answer's end
                await text_of(stream)
        assert await outcome(router, stream=True) == "SageMaker's."


class TestStart:
    """LiteLLM's warning about AWS parameters of a provider that it does not know."""

    async def test_parameters_beside_the_model_raise_it_and_work(
        self, router_of: MakeRouter, servers: MakeServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "LiteLLM Router"):
            router = router_of(on_sagemaker(servers(fine), aws_region_name="eu-west-1"))
        assert "which ignores them" in caplog.text
        assert await outcome(router) == "SageMaker's."

    async def test_a_credential_raises_none(
        self, router_of: MakeRouter, servers: MakeServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "LiteLLM Router"):
            router = router_of(on_sagemaker(servers(NO_CAPACITY), litellm_credential_name="sagemaker"))
        assert caplog.text == ""
        assert isinstance(router, Router)
