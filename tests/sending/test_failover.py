"""A stream's errors before its first chunk are LiteLLM's to retry, and to take to another deployment: the real Router.

Each test that could hold by chance runs beside a native provider (``hosted_vllm/``) on the same server.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger
from litellm.types.caching import LiteLLMCacheType

from litellm_sagemaker_openai.litellm_seams.callback import before_each_call
from litellm_sagemaker_openai.litellm_seams.stream_opening import STREAM_FLAG, StreamOpening, stream_opening
from tests.conftest import MESSAGES, Upstream, litellm_is_before
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse

FINE = sse(chunk({"role": "assistant", "content": ""}), chunk({"content": "fine"}), chunk({}, finish="stop"))
NO_CAPACITY = {"error": {"message": "Inference Component has no capacity to process this request. Try later."}}


def fine(seen: Seen) -> Answer:
    return Answer([FINE]) if seen.json.get("stream") else json_answer(completion("fine"))


FAULTS: dict[str, Any] = {
    "429": lambda _: json_answer({"error": {"message": "slow down"}}, 429),
    "502": lambda _: json_answer({}, 502),
    "503": lambda _: json_answer({}, 503),
    "504": lambda _: json_answer({}, 504),
    "no capacity": lambda _: json_answer(NO_CAPACITY, 400),
    "hang up": lambda _: b"",
    "reset before a chunk": lambda _: Answer([], end="reset"),
    "cut before a chunk": lambda _: Answer([b": ping\n\n"], end="cut"),
    "an error for a first event": lambda _: Answer([sse({"error": {"message": "dead", "code": 503}})]),
    "nothing but done": lambda _: Answer([sse()]),
}


@pytest.fixture
def servers() -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(scripted(script))


def deployment(
    server: Scripted | str, model: str = "sagemaker_openai/e", group: str = "m", **more: Any
) -> dict[str, Any]:
    base = server if isinstance(server, str) else server.url
    return {"model_name": group, "litellm_params": {"model": model, "api_base": base, "api_key": "t", **more}}


async def ask(router: Any, stream: bool, is_async: bool = True) -> str:
    if is_async:
        answer = await router.acompletion("m", MESSAGES, stream=stream)
        if stream:
            return "".join([piece.choices[0].delta.content or "" async for piece in answer])
    else:
        answer = router.completion("m", MESSAGES, stream=stream)
        if stream:
            return "".join(piece.choices[0].delta.content or "" for piece in answer)
    return str(answer.choices[0].message.content)


@pytest.mark.usefixtures("no_waiting")
class TestRetries:
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
    async def test_a_transient_failure_before_the_first_chunk_is_tried_as_often_as_the_router_says(
        self, router_of: Any, servers: Any, fault: str, is_async: bool
    ) -> None:
        server = servers(FAULTS[fault])
        with pytest.raises(Exception, match=r"litellm\."):
            await ask(router_of(deployment(server), num_retries=2), stream=True, is_async=is_async)
        assert len(server.seen) == 3

    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
    async def test_and_answers_once_it_passed(self, router_of: Any, servers: Any, fault: str, is_async: bool) -> None:
        server: Scripted = servers(lambda seen: FAULTS[fault](seen) if len(server.seen) < 3 else fine(seen))
        assert await ask(router_of(deployment(server), num_retries=2), stream=True, is_async=is_async) == "fine"
        assert len(server.seen) == 3

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("status", [429, 503])
    async def test_as_often_as_hosted_vllm(self, router_of: Any, servers: Any, stream: bool, status: int) -> None:
        tries = {}
        for model in ("sagemaker_openai/e", "hosted_vllm/e"):
            server = servers(json_answer({"error": {"message": "not now"}}, status))
            with pytest.raises(Exception, match=r"litellm\."):
                await ask(router_of(deployment(server, model), num_retries=2), stream)
            tries[model] = len(server.seen)
        assert tries == {"sagemaker_openai/e": 3, "hosted_vllm/e": 3}

    async def test_a_refused_connection(self, router_of: Any, servers: Any) -> None:
        gone = servers(fine)
        gone.close()
        router = router_of(deployment(gone), deployment(servers(fine)), allowed_fails=0)
        assert {await ask(router, stream=True) for _ in range(20)} == {"fine"}

    @pytest.mark.parametrize("status", [400, 404, 422])
    @pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
    async def test_the_callers_own_mistake_is_said_once(
        self, router_of: Any, servers: Any, status: int, is_async: bool
    ) -> None:
        server = servers(json_answer({"error": {"message": "your mistake"}}, status))
        with pytest.raises(Exception, match="your mistake"):
            await ask(router_of(deployment(server), num_retries=2), stream=True, is_async=is_async)
        assert len(server.seen) == 1

    async def test_never_after_a_chunk_has_reached_the_caller(self, router_of: Any, servers: Any) -> None:
        server = servers(Answer([sse(chunk({"content": "half an "}), done=False)], end="cut"))
        stream = await router_of(deployment(server), num_retries=2).acompletion("m", MESSAGES, stream=True)
        assert (await anext(stream)).choices[0].delta.content == "half an "
        with pytest.raises(litellm.APIConnectionError):
            await anext(stream)
        assert len(server.seen) == 1

    @pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
    async def test_without_a_router_num_retries_says_how_often(self, upstream: Upstream, is_async: bool) -> None:
        server = upstream(lambda seen: fine(seen) if len(server.seen) == 3 else json_answer({}, 503))
        call: dict[str, Any] = {"model": "sagemaker_openai/e", "messages": MESSAGES, "stream": True, "num_retries": 3}
        if is_async:
            pieces = [piece async for piece in await litellm.acompletion(**call)]
        else:
            pieces = list(litellm.completion(**call))
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "fine"

    async def test_without_a_router_and_num_retries_it_is_tried_once(self, upstream: Upstream) -> None:
        server = upstream(json_answer(NO_CAPACITY, 400))
        with pytest.raises(litellm.ServiceUnavailableError, match="no capacity"):
            await litellm.acompletion("sagemaker_openai/e", MESSAGES, stream=True)
        assert len(server.seen) == 1


# Each makes it certain: the one who failed is passed over at the next try, or left to a lower order, or to a fallback.
SURE: dict[str, Any] = {
    "allowed_fails": {"allowed_fails": 0},
    "enable_weighted_failover": {"enable_weighted_failover": True},
    "order": {"orders": (1, 2)},
    "fallbacks": {"groups": ("m", "other"), "fallbacks": [{"m": ["other"]}]},
}


class TestFailover:
    @pytest.mark.slow(reason="sends a hundred calls each")
    @pytest.mark.parametrize("fault", ["503", "no capacity", "cut before a chunk", "hang up"])
    @pytest.mark.parametrize("configured", SURE)
    @pytest.mark.usefixtures("no_waiting")
    async def test_two_deployments_one_broken_a_hundred_of_a_hundred(
        self, router_of: Any, servers: Any, fault: str, configured: str
    ) -> None:
        broken, working = servers(FAULTS[fault]), servers(fine)
        router = self.router(router_of, broken, working, **SURE[configured])
        assert Counter([await ask(router, stream=True) for _ in range(100)]) == {"fine": 100}
        # LiteLLM cools the broken one down; it never does so with a group's only deployment.
        assert 0 < len(broken.seen) < 20 or configured == "fallbacks"

    @pytest.mark.slow(reason="sends a hundred calls")
    @pytest.mark.usefixtures("no_waiting")
    async def test_the_same_for_synchronous_streams(self, router_of: Any, servers: Any) -> None:
        broken, working = servers(FAULTS["503"]), servers(fine)
        router = self.router(router_of, broken, working, **SURE["fallbacks"])
        answers = Counter([await ask(router, stream=True, is_async=False) for _ in range(100)])
        assert answers == {"fine": 100}

    def router(self, router_of: Any, broken: Scripted, working: Scripted, **settings: Any) -> Router:
        groups = settings.pop("groups", ("m", "m"))
        orders = settings.pop("orders", (None, None))
        models = [
            deployment(server, group=group, **({"order": order} if order else {}))
            for server, group, order in zip((broken, working), groups, orders, strict=True)
        ]
        router: Router = router_of(*models, **settings)
        return router

    async def test_litellm_alone_does_not(
        self, router_of: Any, servers: Any, monkeypatch: pytest.MonkeyPatch, no_waiting: None
    ) -> None:
        """The fact behind ``stream_opening``, which the Router of LiteLLM 1.110 needs no longer."""
        monkeypatch.setattr(litellm, "callbacks", [])
        monkeypatch.setattr("litellm_sagemaker_openai.provider._install", lambda: None)
        broken, working = servers(FAULTS["503"]), servers(fine)
        # So many retries that a Router that can go elsewhere does not happen on the broken one each time.
        router = router_of(deployment(broken), deployment(working), num_retries=20)
        failed = 0
        for _ in range(20):
            try:
                await ask(router, stream=True)
            except litellm.ServiceUnavailableError:
                failed += 1
        assert bool(failed) is litellm_is_before("1.110")

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_fallback_to_another_group(self, router_of: Any, servers: Any, stream: bool) -> None:
        broken, other = servers(FAULTS["no capacity"]), servers(fine)
        router = router_of(
            deployment(broken),
            deployment(other, "hosted_vllm/x", group="other"),
            fallbacks=[{"m": ["other"]}],
            num_retries=0,
        )
        assert await ask(router, stream) == "fine"
        assert (len(broken.seen), len(other.seen)) == (1, 1)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_prompt_that_is_too_long_goes_to_the_larger_context(
        self, router_of: Any, servers: Any, stream: bool
    ) -> None:
        small = servers(json_answer({"error": {"message": "This model's maximum context length is 8 tokens."}}, 400))
        large = servers(fine)
        router = router_of(
            deployment(small),
            deployment(large, group="large"),
            context_window_fallbacks=[{"m": ["large"]}],
        )
        assert await ask(router, stream) == "fine"
        assert len(small.seen) == 1

    async def test_response_headers_are_on_the_stream_itself(self, router_of: Any, servers: Any) -> None:
        server = servers(Answer([FINE], headers={"x-amzn-RequestId": "r-1"}))
        stream = await router_of(deployment(server)).acompletion("m", MESSAGES, stream=True)
        assert stream._hidden_params["additional_headers"]["llm_provider-x-amzn-requestid"] == "r-1"
        assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == "fine"


class TestKeepingOut:
    """Where LiteLLM would answer without the handler, or ask another model, a streamed call stays a streamed call."""

    async def marked(self, **call: Any) -> bool:
        call = {"model": "sagemaker_openai/e", "messages": MESSAGES, "stream": True, **call}
        return (
            await StreamOpening().async_pre_call_deployment_hook(call, litellm.types.utils.CallTypes.acompletion)
            is not None
        )

    async def test_only_this_providers_streams_are_marked(self) -> None:
        assert await self.marked()
        assert await self.marked(model="e", custom_llm_provider="sagemaker_openai")
        assert not await self.marked(stream=False)
        assert not await self.marked(model="sagemaker_chat/e")
        assert not await self.marked(model="e")

    @pytest.mark.parametrize("provider", ["litellm_proxy", "openai", "hosted_vllm"])
    async def test_another_provider_by_keyword(self, provider: str) -> None:
        assert not await self.marked(custom_llm_provider=provider)

    async def test_another_provider_by_alias(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(litellm, "model_alias_map", {"sagemaker_openai/e": "hosted_vllm/x"})
        assert not await self.marked()

    @pytest.mark.parametrize("how", ["environment", "setting"])
    async def test_another_proxy(self, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if how == "environment":
            monkeypatch.setenv("USE_LITELLM_PROXY", "True")
        else:
            monkeypatch.setattr(litellm, "use_litellm_proxy", True)
        assert not await self.marked()

    async def test_an_interceptor_of_litellms_sees_the_stream_first(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Interceptor(CustomLogger):
            seen: list[Any] = []  # noqa: RUF012 - LiteLLM keeps the first instance of a class, so the class collects

            async def async_pre_call_deployment_hook(self, kwargs: Any, call_type: Any) -> Any:
                self.seen.append(kwargs.get("stream"))

        upstream(fine)
        monkeypatch.setattr(litellm, "callbacks", [stream_opening, Interceptor()])
        for _ in range(2):  # the second time this provider's callback is the last
            _ = [piece async for piece in await litellm.acompletion("sagemaker_openai/e", MESSAGES, stream=True)]
        assert Interceptor.seen == [True, True]
        assert litellm.callbacks[-1] is stream_opening

    async def test_callbacks_see_what_they_see_of_a_native_provider(
        self, servers: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class SeenOfBoth(CustomLogger):
            seen: dict[str, Any] = {}  # noqa: RUF012 - as above

            def log_post_api_call(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
                self.seen[f"{kwargs['custom_llm_provider']} answered"] = kwargs["original_response"]

            async def async_log_success_event(
                self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
            ) -> None:
                self.seen[kwargs["custom_llm_provider"]] = kwargs
                done.release()

        done = asyncio.Semaphore(0)
        monkeypatch.setattr(litellm, "callbacks", [SeenOfBoth(), stream_opening])
        for model in ("sagemaker_openai/e", "hosted_vllm/e"):
            call: dict[str, Any] = {"api_base": servers(fine).url, "api_key": "THE-SECRET", "temperature": 0.5}
            if model.startswith("sagemaker"):
                call |= {"aws_secret_access_key": "THE-SECRET", "aws_session_token": "THE-SECRET"}
            _ = [piece async for piece in await litellm.acompletion(model, MESSAGES, stream=True, **call)]
            await asyncio.wait_for(done.acquire(), 30)
        ours, theirs = SeenOfBoth.seen["sagemaker_openai"], SeenOfBoth.seen["hosted_vllm"]
        for kwargs in (ours, theirs):
            assert kwargs["stream"] is True
            assert kwargs["optional_params"]["stream"] is True
            assert kwargs["optional_params"]["temperature"] == 0.5
            assert kwargs["standard_logging_object"]["model_parameters"]["stream"] is True
            assert kwargs["async_complete_streaming_response"].choices[0].message.content == "fine"
        assert SeenOfBoth.seen["sagemaker_openai answered"] == SeenOfBoth.seen["hosted_vllm answered"]
        assert STREAM_FLAG not in str(ours)
        assert "THE-SECRET" not in str(ours)

    @pytest.mark.parametrize(
        "more",
        [
            {"mock_response": "x"},
            {"fallbacks": ["gpt"]},
            {"context_window_fallback_dict": {"a": "b"}},
            {"complete_response": True},
            {"prompt_id": "p"},
            {"use_litellm_proxy": True},
            {"tools": [{"type": "mcp", "server_url": "litellm_proxy"}]},
        ],
    )
    async def test_where_something_else_may_answer(self, more: dict[str, Any]) -> None:
        assert not await self.marked(**more)

    async def test_mocked_streams(self) -> None:
        stream = await litellm.acompletion("sagemaker_openai/e", MESSAGES, stream=True, mock_response="mocked")
        assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == "mocked"

    async def test_fallbacks_of_the_call(self, upstream: Upstream, servers: Any) -> None:
        upstream(json_answer({}, 503))
        fallback = {"model": "hosted_vllm/x", "api_base": servers(fine).url, "api_key": "t"}
        stream = await litellm.acompletion("sagemaker_openai/e", MESSAGES, stream=True, fallbacks=[fallback])
        assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == "fine"

    async def test_caches(self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(litellm, "cache", litellm.Cache(type=LiteLLMCacheType.LOCAL))
        server = upstream(fine)
        for _ in range(2):
            whole = await litellm.acompletion("sagemaker_openai/e", MESSAGES, caching=True)
            assert whole.choices[0].message.content == "fine"
            stream = await litellm.acompletion("sagemaker_openai/e", MESSAGES, stream=True, caching=True)
            assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == "fine"
        assert len(server.seen) < 4

    async def test_a_caller_cannot_set_the_mark(self, upstream: Upstream) -> None:
        server = upstream(fine)
        whole: Any = await litellm.acompletion("sagemaker_openai/e", MESSAGES, **{STREAM_FLAG: "stream"})
        assert whole.choices[0].message.content == "fine"
        assert STREAM_FLAG not in server.seen[0].json

    async def test_a_replaced_list_of_callbacks_is_mended(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upstream(fine)
        monkeypatch.setattr(litellm, "callbacks", [])
        _ = [piece async for piece in await litellm.acompletion("sagemaker_openai/e", MESSAGES, stream=True)]
        assert litellm.callbacks == [before_each_call, stream_opening]
