"""Custom providers that do nothing: what LiteLLM alone costs, whatever the provider. A proxy's config can name them.

They ask nobody, and answer what the benchmark's server would. ``floor_provider`` makes each of its chunks, an object
of LiteLLM's, as each provider must: LiteLLM changes and keeps the chunks that it gets. ``prebuilt_provider`` hands the
same ones out again and again, which no real provider can; it shows how much of the floor making them is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from litellm import CustomLLM, ModelResponse, Usage
from litellm.types.utils import ModelResponseStream

from benchmarks.bench_answers import MODEL, TEXT, chunks_of, words


class Floor(CustomLLM):
    """Answers at once.

    Args:
        stream_of: a number of chunks → a stream of so many.
    """

    def __init__(self, stream_of: Callable[[int], Iterator[ModelResponseStream]]) -> None:
        super().__init__()
        self._stream_of = stream_of

    def completion(self, *_: Any, **call: Any) -> ModelResponse:
        response: Any = call["model_response"]
        response.model = MODEL  # as every answer has it: LiteLLM looks up its price
        response.choices[0].message.content = TEXT
        response.usage = Usage(prompt_tokens=11, completion_tokens=200, total_tokens=211)
        return response  # type: ignore[no-any-return]

    async def acompletion(self, *_: Any, **call: Any) -> ModelResponse:
        return self.completion(**call)

    def streaming(self, *_: Any, **call: Any) -> Iterator[ModelResponseStream]:  # type: ignore[override]
        return self._stream_of(chunks_of(call["model"]))

    async def astreaming(self, *_: Any, **call: Any) -> AsyncIterator[ModelResponseStream]:  # type: ignore[override]
        held = call["model"].startswith("held")
        for number, chunk in enumerate(self._stream_of(chunks_of(call["model"]))):
            yield chunk
            if held and number == chunks_of(call["model"]):
                await asyncio.Event().wait()


def _made(chunks: int) -> Iterator[ModelResponseStream]:
    yield _chunk({"role": "assistant", "content": ""})
    for word in words(chunks):
        yield _chunk({"content": word})
    yield _with_usage()
    yield _chunk({}, "stop")


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> ModelResponseStream:
    choice: Any = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return ModelResponseStream(id="chatcmpl-1", created=int(time.time()), model="floor", choices=[choice])


def _with_usage() -> ModelResponseStream:
    usage = {"prompt_tokens": 11, "completion_tokens": 200, "total_tokens": 211}
    return ModelResponseStream(id="chatcmpl-1", created=int(time.time()), model="floor", choices=[], usage=usage)


_kept: dict[int, list[ModelResponseStream]] = {}


def _prebuilt(chunks: int) -> Iterator[ModelResponseStream]:
    if chunks not in _kept:
        _kept[chunks] = list(_made(chunks))
    return iter(_kept[chunks])


floor_provider = Floor(_made)
prebuilt_provider = Floor(_prebuilt)
