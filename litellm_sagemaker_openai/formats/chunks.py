"""Events → LiteLLM's chunks, in the order in which LiteLLM loses nothing. Pure.

LiteLLM's wrapper around a custom provider's stream (``CustomStreamWrapper``, measured on 1.106.2) ends the stream
at the first finish reason of the first choice: what comes later is lost, OpenAI's usage chunk included, and so is
the reasoning that the finish chunk still carries. So finish reasons are held back until the answer is complete, and
the order becomes: all deltas, the finish reasons of the choices after the first, usage, the first choice's finish
reason. tests/formats/test_stream_fidelity.py shows each loss, and that it does not happen here.

Chunks without content, such as vLLM's first, which has a role, are given together with the first that has some. Before
that, nothing has reached the caller, and the Router's retries and fallbacks still count and are told of in the response
headers: after an empty chunk, LiteLLM would let another deployment go on with the stream, under the headers of the
first (``stream_with_fallbacks`` in router.py, 1.106.2; tests/operating/test_outcomes.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from litellm.types.utils import ModelResponseStream

from litellm_sagemaker_openai.formats.aws_event_stream import EVENT_STREAM_TYPE, AwsEventStream
from litellm_sagemaker_openai.formats.events import DONE, Decoder, Event, decoder_for
from litellm_sagemaker_openai.formats.whole_answer import (
    IDENTIFYING,
    REASONING,
    SERVED_MODEL,
    counts_of,
    finish_reason_of,
    index_of,
    is_whole,
    pieces_of,
    served_model,
)
from litellm_sagemaker_openai.litellm_seams.answers import named_headers
from litellm_sagemaker_openai.upstream_errors import (
    PROVIDER,
    MalformedAnswer,
    StreamedError,
    TruncatedStream,
    error_in,
    quoted,
)

_TEXT = {"content"}  # what the delta of most chunks has, and nothing else
# Chunks without content that wait: a role for each choice, of which OpenAI's API has 128 at most.
_MOST_HELD = 200
_NOT_EXTRA = frozenset({*IDENTIFYING, "choices", "usage", "model"})


def chunk_stream(
    headers: Mapping[str, str],
    model: str,
    hidden: Mapping[str, Any] | None = None,
    *,
    read: Callable[[Decoder], Decoder] = lambda decoder: decoder,
) -> ChunkStream:
    """What turns the bytes of an answer with these headers into chunks.

    Args:
        headers: the answer's.
        model: as the caller named it.
        hidden: what each chunk's ``_hidden_params`` hold besides.
        read: makes of what reads the answer's events one that gives a chat's.
    """
    # LiteLLM 1.110.2 finds the price of what `stream_chunk_builder` builds by its first chunk's provider.
    hidden = {"custom_llm_provider": PROVIDER, **(hidden or {})}
    return ChunkStream(read(decoder_of(headers)), model, named_headers(headers), hidden)


def decoder_of(headers: Mapping[str, str]) -> Decoder:
    """What reads an answer with these headers: the container's bytes, or SageMaker's event stream around them."""
    content_type = headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != EVENT_STREAM_TYPE:
        return decoder_for(content_type)
    return AwsEventStream(decoder_for(headers.get("x-amzn-sagemaker-content-type", "")))


class ChunkStream:
    """Turns the bytes of one answer into chunks.

    Args:
        decoder: turns them into events.
        model: the model that each chunk names: LiteLLM's last chunk names the requested one, so all do. The container's
            name for it is in ``_hidden_params``, as for whole answers.
        headers: what ``_hidden_params["additional_headers"]`` of each chunk holds.
        hidden: what else each chunk's ``_hidden_params`` hold.
    """

    def __init__(
        self,
        decoder: Decoder,
        model: str,
        headers: Mapping[str, Any] | None = None,
        hidden: Mapping[str, Any] | None = None,
    ) -> None:
        self._decoder = decoder
        self._model = model
        self._hidden = {"additional_headers": dict(headers or {}), **(hidden or {})}
        self._identity: dict[str, Any] = {}
        self._late_extra: dict[str, Any] = {}  # extra fields of events that gave no chunk of their own
        self._finish: dict[int, Any] = {}  # choice index → finish reason
        self._open: set[int] = set()  # choices that have begun and not finished
        self._called: set[int] = set()  # choices that have called tools
        self._usage: Mapping[str, Any] | None = None
        self._text: tuple[dict[str, Any], ModelResponseStream] | None = None  # see _text_chunk
        self._held: list[ModelResponseStream] = []  # chunks that wait for one with content
        self._done = False
        self.begun = False  # whether a chunk was given

    def feed(self, data: bytes) -> Iterator[ModelResponseStream]:
        """The chunks that some more bytes allow to be given already, one by one.

        Raises:
            StreamFormatError: they are not events.
            StreamedError: an event is the container's error.
            MalformedAnswer: an event is nothing that OpenAI's protocol knows.
        """
        for event in self._decoder.feed(data):
            yield from self._event(event)

    def end(self) -> Iterator[ModelResponseStream]:
        """What was held back, once the container's answer has ended.

        Raises:
            TruncatedStream: it ended in the middle: no ``[DONE]``, and a choice without a finish reason.
            MalformedAnswer: it was whole, and there was not one choice in it.
            StreamFormatError, StreamedError: as for ``feed``.
        """
        for event in self._decoder.end():
            yield from self._event(event)
        if not self._done and (self._open or not self._finish):
            raise TruncatedStream
        if not self._open and not self._finish:
            raise MalformedAnswer("a stream without a single choice")
        yield from self._given()
        first = min(self._finish, default=0)
        later = [_finished(index, self._finish[index]) for index in sorted(self._finish) if index != first]
        if later:
            # The first choice, empty: LiteLLM looks at no other before it passes a chunk on.
            yield self._chunk([{"index": first, "delta": {}}, *later])
        if self._usage is not None or self._late_extra:
            choices = [] if self._usage is not None else [{"index": first, "delta": {}}]
            yield self._chunk(choices, self._late_extra, self._usage)
        if first in self._finish:
            yield self._chunk([_finished(first, self._finish[first])])

    def _event(self, event: Event) -> Iterator[ModelResponseStream]:
        if isinstance(event, str):
            self._done = self._done or event == DONE
            return
        error = error_in(event)
        if error is not None:
            raise StreamedError(error)
        if is_whole(event):
            self._done = True
            for piece in pieces_of(event):
                yield from self._deltas(piece)
        else:
            yield from self._deltas(event)

    def _deltas(self, event: Mapping[str, Any]) -> Iterator[ModelResponseStream]:
        self._usage = counts_of(event.get("usage")) or self._usage  # the last one counts: it may run along
        choices = event.get("choices") or []
        if not isinstance(choices, list):
            raise MalformedAnswer(f"choices that are not a list but {type(choices).__name__}")
        if event.get("model") != self._hidden.get(SERVED_MODEL):
            self._hidden.update(served_model(event))
        identity = {**self._identity, **_identity(event)}
        if identity != self._identity:
            self._identity, self._text = identity, None
        extra = {name: value for name, value in event.items() if name not in _NOT_EXTRA and value is not None}
        going = [kept for choice in choices if (kept := self._without_finish(choice)) is not None]
        if going and not self.begun and len(self._held) < _MOST_HELD and not any(map(_has_content, going)):
            self._held.append(self._chunk(going, extra))
        elif going:
            yield from self._given(self._chunk(going, extra))
        else:
            self._late_extra.update(extra)

    def _given(self, *chunks: ModelResponseStream) -> Iterator[ModelResponseStream]:
        """The chunks that waited, and then these."""
        if not self.begun:
            self.begun = True
            yield from self._held
        yield from chunks

    def _without_finish(self, choice: Any) -> dict[str, Any] | None:
        """A choice without its finish reason, which is kept for the end; None where nothing else is left of it."""
        delta = choice.get("delta") if isinstance(choice, Mapping) else None
        if not isinstance(choice, Mapping) or not isinstance(delta, (Mapping, type(None))):
            raise MalformedAnswer("a choice or a delta that is not a JSON object")
        # LiteLLM takes an empty list of tool calls for tool calls; null and absent mean the same.
        delta = {name: value for name, value in (delta or {}).items() if value is not None and value != []}
        if not all(isinstance(delta.get(name, ""), str) for name in ("content", *REASONING)):
            raise MalformedAnswer(f"a delta whose text is not a string: {quoted(delta)}")
        rest = {name: value for name, value in choice.items() if name not in ("delta", "finish_reason", "index")}
        index, finish_reason = index_of(choice, 0), finish_reason_of(choice)
        if delta.get("tool_calls"):
            self._called.add(index)
        if finish_reason == "stop" and index in self._called:
            finish_reason = "tool_calls"  # vLLM's, of a named tool; LiteLLM has it so for a whole answer
        if finish_reason:
            self._finish[index] = finish_reason
            self._open.discard(index)
            says_more = any(value is not None for value in rest.values()) or any(
                value for name, value in delta.items() if name != "role"
            )
            if not says_more:
                return None
        elif index not in self._finish:
            self._open.add(index)
        return {**rest, "index": index, "delta": delta}

    def _chunk(
        self, choices: list[Any], extra: Mapping[str, Any] | None = None, usage: Mapping[str, Any] | None = None
    ) -> ModelResponseStream:
        text = len(choices) == 1 and not extra and usage is None and choices[0]["delta"].keys() == _TEXT
        chunk = self._text_chunk(choices[0]) if text else self._new_chunk(choices, extra, usage)
        chunk._hidden_params = {**self._hidden}
        return chunk

    def _text_chunk(self, choice: dict[str, Any]) -> ModelResponseStream:
        """A copy of one that was like it, with its own text: LiteLLM's constructors take more than twice as long."""
        rest = {name: value for name, value in choice.items() if name != "delta"}
        if not all(value is None or type(value) is int for value in rest.values()):
            return self._new_chunk([choice])  # log probabilities and the like, which copies would share
        if self._text is None or rest != self._text[0]:
            self._text = rest, self._new_chunk([choice])
        like = self._text[1]
        delta = like.choices[0].delta.model_copy(update=choice["delta"])
        return like.model_copy(update={"choices": [like.choices[0].model_copy(update={"delta": delta})]})

    def _new_chunk(
        self, choices: list[Any], extra: Mapping[str, Any] | None = None, usage: Mapping[str, Any] | None = None
    ) -> ModelResponseStream:
        fields = {**self._identity, **(extra or {}), "model": self._model, "choices": choices}
        if usage is not None:
            fields["usage"] = dict(usage)
        try:
            return ModelResponseStream(**fields)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise MalformedAnswer(f"a chunk that is not OpenAI's: {quoted(str(error))}") from error


def _has_content(choice: Mapping[str, Any]) -> bool:
    """Whether a choice, without its finish reason, says more than who speaks."""
    said = {name for part in (choice, choice["delta"]) for name, value in part.items() if value}
    return not said <= {"index", "delta", "role"}


def _identity(event: Mapping[str, Any]) -> dict[str, Any]:
    """What each chunk of the answer repeats. A time that is not a number is left for LiteLLM to make up."""
    identity = {name: event[name] for name in IDENTIFYING if event.get(name) is not None}
    if "created" in identity:
        created = identity.pop("created")
        if isinstance(created, int) or (isinstance(created, float) and math.isfinite(created)):
            identity["created"] = int(created)
    return identity


def _finished(index: int, finish_reason: Any) -> dict[str, Any]:
    return {"index": index, "delta": {}, "finish_reason": finish_reason}
