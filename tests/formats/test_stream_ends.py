"""How streams end other than well: broken off, with an error, left by their reader, stalled."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import litellm
import pytest
from litellm import Router
from litellm.exceptions import MidStreamFallbackError

import litellm_sagemaker_openai
from tests.conftest import MESSAGES, Upstream, litellm_is_before, retire
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse, usage_chunk

pytestmark = pytest.mark.medium(reason="waits for streams that stall")

MODEL = "sagemaker_openai/e"
BEGUN = sse(chunk({"role": "assistant", "content": ""}), chunk({"content": "half an "}), done=False)
both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


async def read(is_async: bool, **more: Any) -> tuple[str, BaseException | None]:
    """What a caller gets of a stream, and what is raised while they read it."""
    call: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": True, **more}
    got: list[str] = []
    stream: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
    try:
        if is_async:
            async for piece in stream:
                got.append(piece.choices[0].delta.content or "")
        else:
            for piece in stream:
                got.append(piece.choices[0].delta.content or "")
    except Exception as error:
        return "".join(got), getattr(error, "original_exception", None) or error
    return "".join(got), None


BROKEN: dict[str, tuple[Answer, type[Exception]]] = {
    "whole, without a finish reason": (Answer([BEGUN]), litellm.BadGatewayError),
    "cut": (Answer([BEGUN], end="cut"), litellm.APIConnectionError),
    "reset": (Answer([BEGUN], end="reset"), litellm.APIConnectionError),
    "half a JSON object": (Answer([BEGUN + b'data: {"choices": [{"del']), litellm.BadGatewayError),
    "half a line": (Answer([BEGUN + b"da"]), litellm.BadGatewayError),
    "half a character": (
        Answer([BEGUN + b'data: {"choices": [{"delta": {"content": "\xf0\x9f']),
        litellm.BadGatewayError,
    ),
    "no JSON": (Answer([BEGUN + b"data: Internal Server Error\n\n"]), litellm.BadGatewayError),
    "no chunk": (Answer([BEGUN + b'data: {"choices": 3}\n\n']), litellm.BadGatewayError),
    "one choice of two": (
        Answer(
            [
                sse(
                    chunk({"content": "half an "}),
                    chunk({"content": "x"}, index=1),
                    chunk({}, finish="stop"),
                    done=False,
                )
            ]
        ),
        litellm.BadGatewayError,
    ),
}


@both
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_stream_raises_and_what_came_before_reaches_the_caller(
    upstream: Upstream, is_async: bool, name: str
) -> None:
    answer, expected = BROKEN[name]
    upstream(answer)
    got, error = await read(is_async)
    assert got.startswith("half an ")
    assert type(error) is expected


async def ask(of: Any, model: str, is_async: bool, **more: Any) -> None:
    """A stream, read to its end, of LiteLLM itself or of a Router."""
    if is_async:
        async for _ in await of.acompletion(model, MESSAGES, stream=True, **more):
            pass
    else:
        for _ in of.completion(model, MESSAGES, stream=True, **more):
            pass


CAUGHT = pytest.mark.parametrize(
    ("end", "timeout", "expected", "in_a_router"),
    [
        ("whole", 60, MidStreamFallbackError, litellm.BadGatewayError),
        ("cut", 60, MidStreamFallbackError, litellm.APIConnectionError),
        # LiteLLM does not take a Timeout's 408 for one of the caller's mistakes any more.
        ("stall", 0.5, litellm.Timeout if litellm_is_before("1.109") else MidStreamFallbackError, litellm.Timeout),
    ],
)


@both
@CAUGHT
async def test_what_a_caller_catches(
    upstream: Upstream, is_async: bool, end: Any, timeout: float, expected: type[Exception], in_a_router: Any
) -> None:
    upstream(Answer([BEGUN], end=end))
    with pytest.raises(Exception, match="SageMaker") as raised:
        await ask(litellm, MODEL, is_async, timeout=timeout)
    assert type(raised.value) is expected


@both
@CAUGHT
async def test_what_the_caller_of_a_router_catches(
    upstream: Upstream, is_async: bool, end: Any, timeout: float, expected: Any, in_a_router: type[Exception]
) -> None:
    upstream(Answer([BEGUN], end=end))
    params = {"model": MODEL, "timeout": timeout}
    router = Router(model_list=[{"model_name": "m", "litellm_params": params}], num_retries=0)
    with pytest.raises(Exception, match="SageMaker") as raised:
        await ask(router, "m", is_async)
    assert type(raised.value) is in_a_router
    retire(router)


@both
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"error": {"message": "died", "type": "InternalServerError", "code": 500}}, litellm.InternalServerError),
        ({"error": {"message": "died", "type": "rate_limit_error", "code": "rate_limit"}}, litellm.InternalServerError),
        (
            {"error": {"message": "died", "type": "overloaded", "param": None, "code": 503}},
            litellm.ServiceUnavailableError,
        ),
        ({"error": {"message": "died", "code": 400}}, litellm.BadRequestError),
        ({"object": "error", "message": "died", "type": "BadRequestError", "code": 400}, litellm.BadRequestError),
        ({"error": "died", "error_type": "generation"}, litellm.InternalServerError),
        ({"error": "died", "code": 424}, litellm.BadRequestError),
    ],
)
async def test_an_error_event_raises_with_its_own_status_and_message(
    upstream: Upstream, is_async: bool, event: dict[str, Any], expected: type[Exception]
) -> None:
    upstream(Answer([BEGUN + sse(event)]))
    got, error = await read(is_async)
    assert got == "half an "
    assert type(error) is expected
    assert "died" in str(error)


@both
async def test_a_stalled_container_is_ended_by_the_read_timeout(upstream: Upstream, is_async: bool) -> None:
    server = upstream(Answer([BEGUN], end="stall"))
    got, error = await read(is_async, timeout=0.5)
    assert got == "half an "
    assert type(error) is litellm.Timeout
    assert await asyncio.to_thread(server.left.acquire, timeout=30)


@both
async def test_a_container_that_never_answers(upstream: Upstream, is_async: bool) -> None:
    go_on = threading.Event()

    def nothing(_: Seen) -> Answer:
        go_on.wait(30)
        return json_answer(completion())

    upstream(nothing)
    with pytest.raises(litellm.Timeout):
        await read(is_async, timeout=0.5)
    go_on.set()


class TestLeaving:
    """A caller who stops reading frees the connection at once."""

    @pytest.fixture
    def stalled(self, upstream: Upstream) -> Scripted:
        return upstream(Answer([BEGUN], end="stall"))

    async def test_closing(self, stalled: Scripted) -> None:
        stream: Any = await litellm.acompletion(MODEL, MESSAGES, stream=True)
        await anext(stream)
        await stream.aclose()
        assert await asyncio.to_thread(stalled.left.acquire, timeout=30)

    async def test_closing_before_the_first_read(self, stalled: Scripted) -> None:
        stream: Any = await litellm.acompletion(MODEL, MESSAGES, stream=True)
        await stream.aclose()
        assert await asyncio.to_thread(stalled.left.acquire, timeout=30)

    async def test_cancelling_while_reading(self, stalled: Scripted) -> None:
        async def reader() -> None:
            async for _ in await litellm.acompletion(MODEL, MESSAGES, stream=True):
                begun.set()

        begun = asyncio.Event()
        task = asyncio.create_task(reader())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stalled.left.acquire, timeout=30)

    async def test_cancelling_while_it_opens(self, upstream: Upstream) -> None:
        server = upstream(Answer(end="stall"))  # headers, and nothing more
        task = asyncio.create_task(litellm.acompletion(MODEL, MESSAGES, stream=True))
        while not server.seen:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.left.acquire, timeout=30)

    async def test_cancelling_before_it_is_sent(self, upstream: Upstream) -> None:
        """LiteLLM prepares a call in a thread; a caller who leaves meanwhile has no coroutine left un-awaited."""
        upstream(json_answer(completion()))
        handler = litellm_sagemaker_openai.sagemaker_openai
        prepared = threading.Event()

        class Slow(type(handler)):  # type: ignore[misc]
            def acompletion(self, **call: Any) -> Any:
                pending = handler.acompletion(**call)
                prepared.set()
                assert left.wait(30)
                return pending

        left = threading.Event()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(litellm, "custom_provider_map", [{"provider": "sagemaker_openai", "custom_handler": Slow()}])
            for stream in (False, True):
                prepared.clear()
                left.clear()
                task = asyncio.create_task(litellm.acompletion(MODEL, MESSAGES, stream=stream))
                await asyncio.to_thread(prepared.wait, 30)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                left.set()
        gc.collect()

    async def test_dropping_an_asynchronous_stream(self, stalled: Scripted) -> None:
        stream: Any = await litellm.acompletion(MODEL, MESSAGES, stream=True)
        await anext(stream)
        del stream
        gc.collect()
        assert await asyncio.to_thread(stalled.left.acquire, timeout=30)

    @pytest.mark.parametrize("reads", [0, 1])
    def test_dropping_a_synchronous_stream(self, stalled: Scripted, reads: int) -> None:
        stream: Any = litellm.completion(MODEL, MESSAGES, stream=True)
        for _ in range(reads):
            next(stream)
        del stream
        gc.collect()
        assert stalled.left.acquire(timeout=30)

    @pytest.mark.parametrize("end", ["stall", "goes on"])
    @pytest.mark.parametrize(
        ("through", "reads"),
        [
            *((through, reads) for through in ("litellm", "closing", "handler's stream") for reads in (0, 2)),
            ("router", 2),  # a Router's stream, a generator, closes nothing before its first chunk (1.106.2, 1.110.2)
        ],
    )
    def test_closing_a_synchronous_stream(
        self, upstream: Upstream, router_of: Any, end: str, through: str, reads: int
    ) -> None:
        """While the caller still has it: nothing waits for the garbage collector."""
        gone = threading.Event()

        def pieces() -> Iterator[bytes]:
            try:
                yield BEGUN
                while end == "goes on":
                    yield sse(chunk({"content": "and on "}), done=False)
            finally:
                gone.set()

        server = upstream(lambda _: Answer(pieces(), end="stall"))
        complete: Any = litellm.completion
        if through == "router":
            complete = router_of({"model_name": MODEL, "litellm_params": {"model": MODEL}}).completion
        stream: Any = complete(MODEL, MESSAGES, stream=True)
        for _ in range(reads):
            next(stream)
        if through == "closing":
            with closing(stream):
                pass
        else:
            (stream.completion_stream if through == "handler's stream" else stream).close()
        assert gone.wait(30) if end == "goes on" else server.left.acquire(timeout=30)
        stream.close()  # again, which changes nothing
        if through in ("litellm", "closing"):
            assert list(stream) == []  # and LiteLLM makes up no end

    async def test_an_asynchronous_stream_has_no_other_end_than_its_own(self, stalled: Scripted) -> None:
        stream: Any = await litellm.acompletion(MODEL, MESSAGES, stream=True)
        stream.close()  # is for synchronous ones
        await stream.aclose()
        assert await asyncio.to_thread(stalled.left.acquire, timeout=30)

    def test_a_loop_that_is_left(self, stalled: Scripted) -> None:
        with closing(cast(Any, litellm.completion(MODEL, MESSAGES, stream=True))) as stream:
            for _ in stream:
                break
        assert stalled.left.acquire(timeout=30)

    def test_closing_what_was_read_to_its_end(self, upstream: Upstream) -> None:
        server = upstream(Answer([sse(chunk({"content": "Hello."}), chunk({}, finish="stop"))]))
        stream: Any = litellm.completion(MODEL, MESSAGES, stream=True)
        assert list(stream)
        stream.close()
        assert list(cast(Any, litellm.completion(MODEL, MESSAGES, stream=True)))
        assert server.connections == 1  # kept, to be used again

    @pytest.mark.slow(reason="opens a thousand streams")
    async def test_a_thousand_left_streams_leave_nothing_behind(
        self, stalled: Scripted, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, logger="asyncio")

        async def leave(how: int) -> None:
            stream: Any = await litellm.acompletion(MODEL, MESSAGES, stream=True)
            if how % 2:
                await anext(stream)
            if how % 4 >= 2:
                await stream.aclose()

        tasks_before = len(asyncio.all_tasks())
        for start in range(0, 1000, 50):
            await asyncio.gather(*(leave(start + each) for each in range(50)))
        gc.collect()
        left = await asyncio.to_thread(lambda: all(stalled.left.acquire(timeout=30) for _ in range(1000)))
        assert left
        while len(asyncio.all_tasks()) > tasks_before:  # LiteLLM's callbacks of these calls
            await asyncio.sleep(0.01)
        assert [record for record in caplog.records if record.name == "asyncio"] == []


class TestRouter:
    @pytest.fixture
    def routers(self) -> Iterator[Any]:
        made: list[Router] = []

        def make(broken: Scripted, working: Scripted) -> Router:
            models = [
                {"model_name": name, "litellm_params": {"model": MODEL, "api_base": server.url, "api_key": "t"}}
                for name, server in (("m", broken), ("other", working))
            ]
            made.append(Router(model_list=models, fallbacks=[{"m": ["other"]}], num_retries=0))
            return made[-1]

        yield make
        for router in made:
            retire(router)

    @pytest.mark.parametrize(
        ("answer", "what"),
        [
            (Answer([sse(chunk({"role": "assistant", "content": ""}), done=False)], end="cut"), "nothing but a role"),
            (Answer([sse({"error": {"message": "x", "code": 503}})]), "an error at once"),
        ],
    )
    async def test_it_takes_over_where_nothing_was_said_yet(self, routers: Any, answer: Answer, what: str) -> None:
        fine = Answer([sse(chunk({"content": "fine"}), chunk({}, finish="stop"), usage_chunk(1, 1))])
        with scripted(answer) as broken, scripted(fine) as working:
            stream = await routers(broken, working).acompletion("m", MESSAGES, stream=True)
            assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == "fine"

    async def test_and_not_where_something_was(self, routers: Any) -> None:
        """LiteLLM would have to glue two answers together; it raises what happened instead."""
        with scripted(Answer([BEGUN], end="cut")) as broken, scripted(json_answer(completion())) as working:
            stream = await routers(broken, working).acompletion("m", MESSAGES, stream=True)
            got = [(await anext(stream)).choices[0].delta.content, (await anext(stream)).choices[0].delta.content]
            assert got == ["", "half an "]
            with pytest.raises((litellm.APIConnectionError, MidStreamFallbackError)):
                await anext(stream)
            assert working.seen == []
