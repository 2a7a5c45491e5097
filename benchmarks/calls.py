"""The soak's calls: which is the n-th, how it is made, and whether what came of it is right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import litellm

from benchmarks import faulty

_SEED = "soak"
_STALL_TIMEOUT = 0.8  # seconds; of the calls that run into a stall
_TIMEOUT = 600.0  # of the others: none may run into it, and it must not free what a caller left behind
_READ_BEFORE_LEAVING = 3  # chunks

MODELS = ("sagemaker_openai/soak", "sagemaker_openai/soak-shared/coder", "sagemaker_openai/soak-shared/reviewer")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Seattle", "Dublin"]}},
            "required": ["city"],
        },
    },
}

# kind → how many of a hundred calls
KINDS = {
    "whole": 28,
    "streamed": 22,
    "faked stream": 8,
    "tools, whole": 8,
    "tools, streamed": 8,
    "sync, whole": 8,
    "sync, streamed": 8,
    "closed halfway": 4,
    "cancelled halfway": 3,
    "dropped halfway": 3,
}
_LEAVING = ("closed halfway", "cancelled halfway", "dropped halfway")
LEFT = "left"
WHOLE = "whole answer"

# fault → LiteLLM's exception where no chunk had reached the caller, and where one had. A stream that breaks while it
# is opened may be either, by what came first; which of them it was decides what is right.
_RIGHT: dict[str, tuple[type[Exception], type[Exception] | None]] = {
    faulty.RESET: (litellm.ServiceUnavailableError, None),
    faulty.LATE_RESET: (litellm.ServiceUnavailableError, litellm.APIConnectionError),
    faulty.OVERLOADED: (litellm.ServiceUnavailableError, None),
    faulty.STALL: (litellm.Timeout, None),
    faulty.LATE_STALL: (litellm.Timeout, litellm.Timeout),
    faulty.TRUNCATED: (litellm.BadGatewayError, litellm.BadGatewayError),
    faulty.CUT: (litellm.ServiceUnavailableError, litellm.APIConnectionError),
}


@dataclass(frozen=True)
class Planned:
    """The n-th call. The same for the same n and the same share of faults."""

    number: int
    kind: str
    fault: str | None
    model: str

    @property
    def question(self) -> str:
        return f"Call {self.number}, how is the weather in Dublin and in all the other cities of this world?"

    @property
    def is_left(self) -> bool:
        return self.kind in _LEAVING

    def arguments(self) -> dict[str, Any]:
        tools = {"tools": [WEATHER]} if "tools" in self.kind else {}
        stalls = self.fault in (faulty.STALL, faulty.LATE_STALL)
        # Who leaves a stream leaves one that would never end, so that nobody comes too late for it.
        fault = faulty.LATE_STALL if self.is_left else self.fault
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": self.question}],
            "timeout": _STALL_TIMEOUT if stalls else _TIMEOUT,
            "extra_body": {"fault": fault},
            **tools,
        }


def plan(number: int, faults: float) -> Planned:
    """The n-th call, of which a share of ``faults`` fails."""
    chance = random.Random(f"{_SEED} {number}")
    kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
    model = chance.choice(MODELS)
    # Who leaves waits for no end, so no fault is theirs; the other calls have those too.
    share = faults * sum(KINDS.values()) / sum(KINDS[each] for each in KINDS if each not in _LEAVING)
    fails = chance.random() < share and kind not in _LEAVING
    return Planned(number, kind, chance.choice(faulty.FAULTS) if fails else None, model)


@dataclass
class Answer:
    """What the caller has got so far."""

    begun: bool = False  # whether a stream was handed over
    content: str = ""
    tools: dict[int, tuple[str, str]] = field(default_factory=dict)  # index → name, arguments
    finish_reason: str | None = None

    def add(self, part: Any, finish_reason: str | None) -> None:
        """A message, or a delta."""
        self.content += part.content or ""
        for position, call in enumerate(part.tool_calls or []):
            index = getattr(call, "index", position)
            name, arguments = self.tools.get(index, ("", ""))
            self.tools[index] = (name + (call.function.name or ""), arguments + (call.function.arguments or ""))
        self.finish_reason = finish_reason or self.finish_reason


@dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    planned: Planned
    expected: str
    got: str
    detail: str = ""

    @property
    def right(self) -> bool:
        return self.expected == self.got


async def perform(planned: Planned, pool: Executor) -> Outcome:
    """Make a call, synchronous ones in the pool, and judge what comes of it."""
    answer = Answer()
    try:
        if planned.kind.startswith("sync"):
            await asyncio.get_running_loop().run_in_executor(pool, _sync, planned, answer)
        else:
            await _WAYS[planned.kind](planned, answer)
    except Exception as error:
        return _judged_error(planned, error, answer)
    return _judged_answer(planned, answer)


async def _whole(planned: Planned, answer: Answer) -> None:
    response: Any = await litellm.acompletion(**planned.arguments())
    answer.add(response.choices[0].message, response.choices[0].finish_reason)


async def _streamed(planned: Planned, answer: Answer, **more: Any) -> None:
    stream: Any = await litellm.acompletion(**planned.arguments(), stream=True, **more)
    answer.begun = True
    async for chunk in stream:
        answer.add(chunk.choices[0].delta, chunk.choices[0].finish_reason)


async def _faked(planned: Planned, answer: Answer) -> None:
    await _streamed(planned, answer, fake_stream=True)


def _sync(planned: Planned, answer: Answer) -> None:
    if planned.kind == "sync, whole":
        response: Any = litellm.completion(**planned.arguments())
        answer.add(response.choices[0].message, response.choices[0].finish_reason)
        return
    stream: Any = litellm.completion(**planned.arguments(), stream=True)
    answer.begun = True
    for chunk in stream:
        answer.add(chunk.choices[0].delta, chunk.choices[0].finish_reason)


async def _half(planned: Planned, answer: Answer) -> Any:
    """A stream of which the first chunks are read."""
    stream: Any = await litellm.acompletion(**planned.arguments(), stream=True)
    answer.begun = True
    for _ in range(_READ_BEFORE_LEAVING):
        chunk = await anext(stream)
        answer.add(chunk.choices[0].delta, chunk.choices[0].finish_reason)
    return stream


async def _closed(planned: Planned, answer: Answer) -> None:
    await (await _half(planned, answer)).aclose()


async def _dropped(planned: Planned, answer: Answer) -> None:
    await _half(planned, answer)


async def _cancelled(planned: Planned, answer: Answer) -> None:
    half_read = asyncio.Event()

    async def read() -> None:
        stream = await _half(planned, answer)
        half_read.set()
        async for chunk in stream:
            answer.add(chunk.choices[0].delta, chunk.choices[0].finish_reason)

    reading = asyncio.create_task(read())
    waiting = asyncio.create_task(half_read.wait())
    await asyncio.wait([reading, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    reading.cancel()
    results = await asyncio.gather(reading, return_exceptions=True)
    if not isinstance(results[0], asyncio.CancelledError):
        raise results[0] or RuntimeError("the stream ended before it could be cancelled")


_WAYS: dict[str, Callable[[Planned, Answer], Awaitable[None]]] = {
    "whole": _whole,
    "streamed": _streamed,
    "faked stream": _faked,
    "tools, whole": _whole,
    "tools, streamed": _streamed,
    "closed halfway": _closed,
    "cancelled halfway": _cancelled,
    "dropped halfway": _dropped,
}


def _judged_error(planned: Planned, error: Exception, answer: Answer) -> Outcome:
    # In the middle of a stream LiteLLM wraps what this provider raised in a MidStreamFallbackError.
    raised = getattr(error, "original_exception", None) or error
    got = type(raised).__name__ + (", mid-stream" if answer.begun else "")
    return Outcome(planned, _expected(planned, answer), got, f"{type(error).__name__}: {error}"[:500])


def _judged_answer(planned: Planned, answer: Answer) -> Outcome:
    expected = _expected(planned, answer)
    if planned.is_left:
        begun = _whole_content(planned).startswith(answer.content) and not answer.finish_reason
        return Outcome(planned, expected, LEFT if begun else "something else", repr(answer))
    if "tools" in planned.kind:
        right = answer == Answer(answer.begun, "", {0: ("get_weather", '{"city": "Dublin"}')}, "tool_calls")
    else:
        right = answer == Answer(answer.begun, _whole_content(planned), {}, "stop")
    return Outcome(planned, expected, WHOLE if right else "another answer", repr(answer))


def _expected(planned: Planned, answer: Answer) -> str:
    if planned.fault is None:
        return LEFT if planned.is_left else WHOLE
    before, midway = _RIGHT[planned.fault]
    if not answer.begun:
        return before.__name__
    return f"{midway.__name__}, mid-stream" if midway else f"{before.__name__}, before the stream"


def _whole_content(planned: Planned) -> str:
    return f"Echo container, not a model. You said: {planned.question}"
