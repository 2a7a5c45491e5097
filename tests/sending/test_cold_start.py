"""A component scaled to zero: waited for by those who asked to wait, by one request an interval for all of them."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import litellm
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from litellm_sagemaker_openai.litellm_seams.server_shutdown import server_is_stopping
from litellm_sagemaker_openai.sending.cold_start import ColdStartPolicy, Gate, cold_start_policy
from tests.conftest import MESSAGES, Upstream
from tests.scripted import Answer, Seen, chunk, completion, json_answer, sse

pytestmark = pytest.mark.medium(reason="waits for components that start")

NO_CAPACITY = {"error": {"message": "Inference Component has no capacity to process this request. Scaling may be …"}}
MODEL = "sagemaker_openai/e/c"


def cold_until(warm: threading.Event) -> Any:
    def answer(seen: Seen) -> Answer:
        if not warm.is_set():
            return json_answer(NO_CAPACITY, 400)
        if seen.json.get("stream"):
            return Answer([sse(chunk({"content": "Hello."}), chunk({}, finish="stop"))])
        return json_answer(completion())

    return answer


async def ask(is_async: bool, stream: bool, **more: Any) -> str:
    call: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": stream, **more}
    answer: Any
    if is_async:
        answer = await litellm.acompletion(**call)
        chunks = [piece async for piece in answer] if stream else []
    else:
        answer = await asyncio.to_thread(litellm.completion, **call)
        chunks = list(answer) if stream else []
    if stream:
        return "".join(piece.choices[0].delta.content or "" for piece in chunks)
    return str(answer.choices[0].message.content)


kinds = pytest.mark.parametrize(("is_async", "stream"), [(a, s) for a in (False, True) for s in (False, True)])


@kinds
async def test_by_default_it_fails_at_once(upstream: Upstream, is_async: bool, stream: bool) -> None:
    server = upstream(cold_until(threading.Event()))
    with pytest.raises(litellm.ServiceUnavailableError, match="has no capacity to process this request"):
        await ask(is_async, stream)
    assert len(server.seen) == 1


@kinds
async def test_a_health_check_waits_for_nothing(upstream: Upstream, is_async: bool, stream: bool) -> None:
    """LiteLLM's mark of one. A client that sends it too has the same answer at once, and nothing else."""
    server = upstream(cold_until(threading.Event()))
    mark = {"user_api_key_hash": "litellm-internal-health-check"}
    with pytest.raises(litellm.ServiceUnavailableError, match="has no capacity to process this request"):
        await ask(is_async, stream, aws_sagemaker_cold_start_timeout=3600, litellm_metadata=mark, num_retries=0)
    assert len(server.seen) == 1


@kinds
async def test_a_caller_who_waits_gets_an_answer(upstream: Upstream, is_async: bool, stream: bool) -> None:
    warm = threading.Event()

    def third_time(seen: Seen) -> Answer:
        if len(server.seen) == 3:
            warm.set()
        answer: Answer = cold_until(warm)(seen)
        return answer

    server = upstream(third_time)
    assert await ask(is_async, stream, aws_sagemaker_cold_start_timeout=10) == "Hello."
    assert len(server.seen) == 3


@kinds
async def test_past_the_timeout_it_says_what_to_check(upstream: Upstream, is_async: bool, stream: bool) -> None:
    server = upstream(cold_until(threading.Event()))
    with pytest.raises(litellm.ServiceUnavailableError, match=r"after waiting 0\.5 seconds.*copy count.*quota"):
        await ask(is_async, stream, aws_sagemaker_cold_start_timeout=0.5)
    assert len(server.seen) > 1


async def test_however_many_wait_one_asks_and_one_who_leaves_takes_nothing_along(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "litellm_sagemaker_openai.sending.cold_start._REFUSED_WITHIN", 60.0
    )  # however busy this machine is
    warm = threading.Event()
    server = upstream(cold_until(warm))
    waiting = [asyncio.create_task(ask(True, False, aws_sagemaker_cold_start_timeout=20)) for _ in range(40)]
    while len(server.seen) < 1:
        await asyncio.sleep(0.01)
    for task in waiting[::2]:  # the one who asked among them
        task.cancel()
    while len(server.seen) < 3:  # the remaining ones go on to ask, one at a time
        await asyncio.sleep(0.01)
    late = asyncio.create_task(ask(True, False, aws_sagemaker_cold_start_timeout=20))  # joins them, and asks nothing
    warm.set()
    answers = await asyncio.gather(*waiting, late, return_exceptions=True)
    assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 20
    assert [answer for answer in answers if isinstance(answer, str)] == ["Hello."] * 21
    # a few that asked for all, and one each for the 21 who stayed
    assert len(server.seen) <= 5 + 21


async def test_threads_that_wait_are_counted_among_them(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litellm_sagemaker_openai.sending.cold_start._REFUSED_WITHIN", 60.0)
    warm = threading.Event()
    server = upstream(cold_until(warm))
    waiting = [asyncio.create_task(ask(False, False, aws_sagemaker_cold_start_timeout=20)) for _ in range(5)]
    while len(server.seen) < 2:
        await asyncio.sleep(0.01)
    warm.set()
    assert await asyncio.gather(*waiting) == ["Hello."] * 5
    assert len(server.seen) <= 4 + 5


async def test_one_who_cannot_ask_does_not_keep_the_others_waiting(upstream: Upstream) -> None:
    def hang_up_first(seen: Seen) -> Answer | bytes:
        return b"" if len(server.seen) == 1 else json_answer(completion())

    server = upstream(hang_up_first)
    calls = [ask(True, False, aws_sagemaker_cold_start_timeout=60) for _ in range(10)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers].count(litellm.ServiceUnavailableError) == 1
    assert answers.count("Hello.") == 9


@pytest.fixture
def stopping() -> Iterator[Callable[[], None]]:
    """This process as a uvicorn server's; called, it tells the server to stop, as SIGTERM does."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises what it caught once more at its end
    try:
        with uvicorn.Server(uvicorn.Config("no:app")).capture_signals():
            yield lambda: signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


class TestServerThatStops:
    @kinds
    async def test_it_need_not_wait(
        self, upstream: Upstream, stopping: Callable[[], None], is_async: bool, stream: bool
    ) -> None:
        server = upstream(cold_until(threading.Event()))
        calls = [asyncio.create_task(ask(is_async, stream, aws_sagemaker_cold_start_timeout=600)) for _ in range(5)]
        while not server.seen:
            await asyncio.sleep(0.01)
        stopping()
        for call in calls:
            with pytest.raises(litellm.ServiceUnavailableError, match="no capacity yet, and this server is stopping"):
                await call
        assert len(server.seen) == 1

    async def test_a_router_does_not_try_again(
        self, upstream: Upstream, stopping: Callable[[], None], router_of: Any
    ) -> None:
        server = upstream(cold_until(threading.Event()))
        deployment = {"model": MODEL, "aws_sagemaker_cold_start_timeout": 2}
        router = router_of({"model_name": "m", "litellm_params": deployment}, num_retries=3, retry_after=1)
        call = asyncio.create_task(router.acompletion("m", MESSAGES))
        while not server.seen:
            await asyncio.sleep(0.01)
        stopping()
        with pytest.raises(litellm.ServiceUnavailableError, match="this server is stopping") as told:
            await call
        assert told.value.num_retries == 0
        assert len(server.seen) == 1

    async def test_what_is_still_to_be_sent_is_sent(self, upstream: Upstream, stopping: Callable[[], None]) -> None:
        server = upstream(json_answer(completion()))
        stopping()
        assert await ask(True, False, aws_sagemaker_cold_start_timeout=600) == "Hello."
        assert await ask(True, False, aws_sagemaker_cold_start_timeout=600) == "Hello."
        assert len(server.seen) == 2


@pytest.mark.parametrize(
    "handler",
    [signal.SIG_DFL, signal.SIG_IGN, lambda *_: None, Gate().wait],
    ids=["the default", "ignored", "a function", "a method"],
)
def test_without_uvicorn_no_server_is_stopping(handler: Any) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        assert not server_is_stopping()
    finally:
        signal.signal(signal.SIGTERM, before)


@kinds
async def test_words_that_a_container_echoes_are_no_cold_start(
    upstream: Upstream, is_async: bool, stream: bool
) -> None:
    said = NO_CAPACITY["error"]["message"]
    quoted = f'Received client error (400) from c with message "{{"error": {{"message": "{said}"}}}}".'
    server = upstream(json_answer({"error": {"message": quoted}}, 400))
    with pytest.raises(litellm.BadRequestError):
        await ask(is_async, stream, aws_sagemaker_cold_start_timeout=20)
    assert len(server.seen) == 1


class TestGate:
    def test_of_an_unknown_target_one_asks_and_its_answer_lets_everyone_through(self) -> None:
        gate = Gate()
        assert [gate.wait(0.0) for _ in range(3)] == [0.0, 0.05, 0.05]
        gate.mark_warm(1.0)
        assert [gate.wait(1.0) for _ in range(3)] == [0.0] * 3
        assert [gate.wait(300.9) for _ in range(3)] == [0.0] * 3
        assert [gate.wait(301.0) for _ in range(2)] == [0.0, 0.05]  # it may have been scaled to zero meanwhile

    def test_a_closed_gate_lets_one_through_an_interval(self) -> None:
        gate = Gate()
        gate.mark_cold(10.0, 5.0)
        assert gate.wait(11.0) == 4.0
        assert [gate.wait(15.0) for _ in range(2)] == [0.0, 0.05]
        gate.mark_cold(16.0, 5.0)
        assert gate.wait(17.0) == 4.0

    def test_it_is_cold_from_a_refusal_to_another_answer(self) -> None:
        gate = Gate()
        assert not gate.is_cold
        gate.mark_cold(0.0, 5.0)
        assert gate.is_cold
        assert gate.wait(5.0) == 0.0
        gate.release()
        assert gate.is_cold
        gate.mark_warm(6.0)
        assert not gate.is_cold
        gate.mark_cold(7.0, 5.0)
        gate.wait(12.0)
        gate.wait(15.0)  # whoever asked is being answered
        assert not gate.is_cold

    def test_where_the_one_who_asked_left_the_next_asks(self) -> None:
        gate = Gate()
        assert gate.wait(0.0) == 0.0
        gate.release()
        assert [gate.wait(0.1) for _ in range(2)] == [0.0, 0.05]

    @given(st.lists(st.floats(0, 60), min_size=2, max_size=60).map(sorted), st.floats(0.2, 5))
    def test_never_two_in_one_interval(self, times: list[float], interval: float) -> None:
        gate = Gate()
        gate.mark_cold(times[0], interval)
        let_through = []
        for now in times:
            if gate.wait(now) == 0.0:
                let_through.append(now)
                gate.mark_cold(now, interval)
        assert all(second - first >= interval * 0.999 for first, second in pairwise(let_through))

    def test_one_who_is_not_refused_in_time_is_being_answered(self) -> None:
        gate = Gate()
        gate.mark_cold(0.0, 5.0)
        assert gate.wait(5.0) == 0.0  # this one asks, and its answer takes a minute
        assert gate.wait(7.9) == 0.05
        assert [gate.wait(8.0) for _ in range(3)] == [0.0] * 3

    @pytest.mark.parametrize(("seconds", "interval"), [(1, 0.2), (20, 1.0), (600, 5.0)])
    def test_the_interval_fits_the_patience(self, seconds: float, interval: float) -> None:
        assert ColdStartPolicy(seconds, Gate()).interval == interval

    def test_targets_share_a_gate_by_url(self) -> None:
        assert cold_start_policy("https://a", 0) is None
        first, second, other = (
            cold_start_policy("https://a", 1),
            cold_start_policy("https://a", 2),
            cold_start_policy("https://b", 1),
        )
        assert first is not None
        assert second is not None
        assert other is not None
        assert first.gate is second.gate
        assert first.gate is not other.gate
