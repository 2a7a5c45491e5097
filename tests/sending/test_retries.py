"""A stream is tried again before its first chunk, by this provider or by LiteLLM, and never by both."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime, timezone
from typing import Any

import httpx
import litellm
import openai
import pytest
from litellm.caching.caching import Cache

from litellm_sagemaker_openai import execution
from litellm_sagemaker_openai.errors import connection_error, to_exception
from litellm_sagemaker_openai.litellm_seams.router_records import routers_retries
from litellm_sagemaker_openai.sending import retries
from litellm_sagemaker_openai.sending.retries import Tries, retry_after, stream_retries
from litellm_sagemaker_openai.upstream_errors import FailureKind, UpstreamError
from tests.conftest import MESSAGES, Upstream
from tests.scripted import Answer, Scripted, Seen, chunk, json_answer, sse
from tests.sending.test_failover import FAULTS, fine

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=timezone.utc)
BUSY = json_answer({"error": {"message": "busy"}}, 503)
BY_LITELLM = {"no capacity", "nothing but done"}  # never by this provider

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


async def stream_of(is_async: bool, **more: Any) -> str:
    call: dict[str, Any] = {"model": "sagemaker_openai/e", "messages": MESSAGES, "stream": True, **more}
    if is_async:
        pieces = [piece async for piece in await litellm.acompletion(**call)]
    else:
        pieces = await asyncio.to_thread(lambda: list(litellm.completion(**call)))
    return "".join(piece.choices[0].delta.content or "" for piece in pieces)


async def tries_of(server: Scripted, is_async: bool, **more: Any) -> int:
    before = len(server.seen)
    with pytest.raises(openai.APIError):
        await stream_of(is_async, **more)
    return len(server.seen) - before


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in seconds of a clock that only they move. There is no jitter."""
    made: list[float] = []

    class Hurried(Tries):
        def __init__(self, retries: int, seconds: float | None) -> None:
            super().__init__(retries, seconds, clock=lambda: sum(made))

        def pause_after(self, error: Exception) -> float:
            made.append(super().pause_after(error))
            return 0.0

    monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.5)
    monkeypatch.setattr(retries, "_JITTER", 0.0)
    monkeypatch.setattr(execution, "Tries", Hurried)
    return made


class TestHowOften:
    @both
    @pytest.mark.parametrize("fault", FAULTS)
    async def test_each_passing_failure(self, upstream: Upstream, is_async: bool, fault: str) -> None:
        server: Scripted = upstream(lambda seen: FAULTS[fault](seen) if len(server.seen) < 3 else fine(seen))
        if fault in BY_LITELLM:
            assert await tries_of(server, is_async) == 1
        else:
            assert await stream_of(is_async) == "fine"
            assert len(server.seen) == 3

    @both
    async def test_a_refused_connection(self, upstream: Upstream, is_async: bool, pauses: list[float]) -> None:
        upstream(BUSY).close()
        with pytest.raises(litellm.ServiceUnavailableError, match="could not connect"):
            await stream_of(is_async)
        assert len(pauses) == 2

    @both
    async def test_twice_or_as_often_as_is_said(self, upstream: Upstream, is_async: bool) -> None:
        server = upstream(BUSY)
        assert await tries_of(server, is_async) == 3
        assert await tries_of(server, is_async, max_retries=0) == 1
        assert await tries_of(server, is_async, max_retries=4) == 5
        assert await tries_of(server, is_async, max_retries="1") == 2
        assert await tries_of(server, is_async, num_retries=0) == 1

    async def test_num_retries_without_a_router(
        self, upstream: Upstream, pauses: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = upstream(BUSY)
        assert await tries_of(server, True, num_retries=3) == 4
        assert pauses == [0.5, 1.0, 2.0]
        # LiteLLM has nothing that could take its own tries off it here, and adds them, as it does for `openai/`.
        assert await tries_of(server, False, num_retries=3) == 4 + 3
        monkeypatch.setattr(litellm, "num_retries", 1)
        assert await tries_of(server, True) == 2

    @pytest.mark.usefixtures("no_waiting")
    @both
    async def test_a_routers_are_its_own(self, upstream: Upstream, router_of: Any, is_async: bool) -> None:
        server = upstream(BUSY)
        router = router_of({"model_name": "m", "litellm_params": {"model": "sagemaker_openai/e"}}, num_retries=3)
        call: dict[str, Any] = {"model": "m", "messages": MESSAGES, "stream": True}
        with pytest.raises(litellm.ServiceUnavailableError):
            await router.acompletion(**call) if is_async else await asyncio.to_thread(router.completion, **call)
        assert len(server.seen) == 4

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_whole_answers_are_litellms_to_retry(self, upstream: Upstream, is_async: bool) -> None:
        server = upstream(BUSY)
        call: dict[str, Any] = {"model": "sagemaker_openai/e", "messages": MESSAGES, "num_retries": 2}
        with pytest.raises(litellm.ServiceUnavailableError):
            await litellm.acompletion(**call) if is_async else litellm.completion(**call)
        assert len(server.seen) == 3

    async def test_a_number_that_is_none(self, upstream: Upstream) -> None:
        server = upstream(BUSY)
        with pytest.raises(litellm.BadRequestError, match="max_retries must be a whole number, 0 or more, not -1"):
            await stream_of(True, max_retries=-1)
        assert not server.seen


class TestWhereLiteLLMOpensItLate:
    """With a cache of answers LiteLLM hands out a stream before it has begun, and cannot try it again."""

    @pytest.fixture(autouse=True)
    def cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(litellm, "cache", Cache())

    async def test_alone(self, upstream: Upstream) -> None:
        server = upstream(BUSY)
        assert await tries_of(server, True) == 3
        server = upstream(lambda seen: fine(seen) if len(server.seen) == 3 else BUSY)
        assert await stream_of(True) == "fine"

    async def test_in_a_router_as_often_as_the_router_would(self, upstream: Upstream, router_of: Any) -> None:
        server = upstream(lambda seen: fine(seen) if len(server.seen) == 4 else BUSY)
        router = router_of({"model_name": "m", "litellm_params": {"model": "sagemaker_openai/e"}}, num_retries=3)
        stream = await router.acompletion("m", MESSAGES, stream=True)
        assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == "fine"
        assert len(server.seen) == 4


class TestWhen:
    @both
    async def test_pauses_double(self, upstream: Upstream, is_async: bool, pauses: list[float]) -> None:
        upstream(BUSY)
        with pytest.raises(litellm.ServiceUnavailableError):
            await stream_of(is_async, max_retries=6)
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]

    @both
    async def test_retry_after_is_honoured(self, upstream: Upstream, is_async: bool, pauses: list[float]) -> None:
        def answer(seen: Seen) -> Answer:
            return json_answer({}, 429, **{"retry-after": "7"}) if len(server.seen) == 1 else fine(seen)

        server = upstream(answer)
        assert await stream_of(is_async) == "fine"
        assert pauses == [7.0]

    @both
    async def test_no_try_begins_after_the_timeout(
        self, upstream: Upstream, is_async: bool, pauses: list[float]
    ) -> None:
        server = upstream(BUSY)
        assert await tries_of(server, is_async, max_retries=10, timeout=5) == 4
        assert pauses == [0.5, 1.0, 2.0]

    @both
    async def test_nor_one_that_it_would_have_to_wait_too_long_for(
        self, upstream: Upstream, is_async: bool, pauses: list[float]
    ) -> None:
        server = upstream(json_answer({}, 503, **{"retry-after": "60"}))
        assert await tries_of(server, is_async, timeout=30) == 1
        assert pauses == []

    @pytest.mark.parametrize("asked", ["601", "1e300", "1e400"])
    async def test_nor_for_what_no_call_would_wait(self, asked: str) -> None:
        """A call may have no timeout; a pause of 1e300 seconds is an OverflowError."""
        error = to_exception(UpstreamError(503, "busy"), model="e", headers={"retry-after": asked})
        with pytest.raises(litellm.ServiceUnavailableError):
            Tries(1, None).pause_after(error)

    @both
    async def test_none_after_a_chunk_has_reached_the_caller(self, upstream: Upstream, is_async: bool) -> None:
        server = upstream(Answer([sse(chunk({"content": "half an "}), done=False)], end="cut"))
        with pytest.raises(litellm.ServiceUnavailableError, match="the connection to SageMaker broke"):
            await stream_of(is_async)
        assert len(server.seen) == 1

    async def test_one_who_leaves_while_it_pauses_ends_it(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retries, "_FIRST_PAUSE", 60.0)
        server = upstream(BUSY)
        task = asyncio.create_task(stream_of(True))
        while not server.seen:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(server.seen) == 1

    def test_jitter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.5)
        error = to_exception(UpstreamError(503, "busy"), model="e")
        drawn = [Tries(1, None).pause_after(error) for _ in range(50)]
        assert all(0.5 <= pause <= 0.625 for pause in drawn)
        assert len(set(drawn)) > 1


@pytest.mark.parametrize(
    ("error", "again"),
    [
        *[(to_exception(UpstreamError(status, "x"), model="e"), True) for status in (429, 502, 503, 504, 529, 530)],
        *[
            (to_exception(UpstreamError(status, "x"), model="e"), False)
            for status in (400, 401, 403, 404, 408, 422, 500)
        ],
        (to_exception(UpstreamError(503, "x", failure=FailureKind.NO_CAPACITY), model="e"), False),
        (to_exception(UpstreamError(502, "x", failure=FailureKind.BROKEN), model="e"), False),
        (connection_error(httpx.ReadTimeout("x"), model="e"), False),
        (connection_error(httpx.ReadError("x"), model="e"), True),
        (connection_error(httpx.ReadError("x"), model="e", begun=True), False),
        (RuntimeError("x"), False),
    ],
)
def test_what_is_tried_again(error: Exception, again: bool) -> None:
    tries = Tries(1, None)
    if again:
        assert tries.pause_after(error) >= 0
    with pytest.raises(type(error)):
        tries.pause_after(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("-1", 0),
        ("nan", 0),
        ("", 0),
        ("soon", 0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0),
        ("Fri, 20 Nov 2026 12:00:30", 0),
        ("Fri, 20 Nov 99999999999 12:00:30 GMT", 0),
        ("Fri, 20 Nov 2026 12:00:30 +99999999999999", 0),
        ("1e400", math.inf),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds
    assert retry_after({}, NOW) == 0


@pytest.mark.parametrize(
    ("litellm_params", "retries"),
    [
        ({"metadata": {"model_group": "m", "max_retries": 3}}, 3),
        ({"metadata": {"model_group": "m"}}, 0),
        # On /v1/messages and /v1/responses `metadata` is the client's own.
        ({"metadata": {"model_group": "x", "max_retries": "abc"}, "litellm_metadata": {"model_group": "m"}}, 0),
        (
            {
                "metadata": {"model_group": "x", "max_retries": 10**9},
                "litellm_metadata": {"model_group": "m", "max_retries": 2},
            },
            2,
        ),
        (
            {
                "metadata": {"model_group": "x", "max_retries": -1},
                "litellm_metadata": {"model_group": "m", "max_retries": 2},
            },
            2,
        ),
        ({"metadata": {"model_group": "x", "max_retries": True}}, 0),
    ],
)
def test_a_clients_metadata_gives_no_tries(litellm_params: dict[str, Any], retries: int) -> None:
    assert stream_retries(None, routers_retries(litellm_params)) == retries
