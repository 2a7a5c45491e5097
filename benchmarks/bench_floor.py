"""Custom providers that do nothing: what LiteLLM alone costs, whatever the provider. A proxy's config can name them.

They ask nobody, and answer what the benchmark's server would. ``floor_provider`` makes each of its chunks, an object
of LiteLLM's, as each provider must: LiteLLM changes and keeps the chunks that it gets. ``prebuilt_provider`` hands the
same ones out again and again, which no real provider can; it shows how much of the floor making them is. The whole
answers of ``unnamed_provider`` do not say which model they are of, so LiteLLM looks up no price for it.

``sending_provider`` does ask the server, with aiohttp alone, and makes a chunk for each that comes, which it does not
look at: the time to a first chunk cannot be less with LiteLLM and aiohttp.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
from litellm import CustomLLM, ModelResponse, Usage
from litellm.types.utils import ModelResponseStream

from benchmarks.bench_answers import MODEL, TEXT, chunks_of, words


class Floor(CustomLLM):
    """Answers at once.

    Args:
        stream_of: a number of chunks → a stream of so many.
        model: what whole answers say that they are of; None: they do not.
    """

    def __init__(self, stream_of: Callable[[int], Iterator[ModelResponseStream]], model: str | None = MODEL) -> None:
        super().__init__()
        self._stream_of = stream_of
        self._model = model

    def completion(self, *_: Any, **call: Any) -> ModelResponse:
        response: Any = call["model_response"]
        if self._model is not None:
            response.model = self._model  # as every answer has it: LiteLLM looks up its price
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


class Sending(Floor):
    """Asks the server at ``api_base``. Asynchronous streams only."""

    async def astreaming(self, *_: Any, **call: Any) -> AsyncIterator[ModelResponseStream]:  # type: ignore[override]
        async with _session().post(call["api_base"], json={"messages": call["messages"], "stream": True}) as response:
            chunks = self._stream_of(chunks_of(call["model"]))
            async for pieces in response.content.iter_any():
                for chunk in itertools.islice(chunks, pieces.count(b"data: ")):
                    yield chunk
            for chunk in chunks:  # of events that came in two pieces
                yield chunk


@functools.cache
def _session() -> aiohttp.ClientSession:
    """Made in the event loop, which it needs."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


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
unnamed_provider = Floor(_made, model=None)
sending_provider = Sending(_made)
