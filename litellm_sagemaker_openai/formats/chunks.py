"""Events → LiteLLM's chunks, in the order in which LiteLLM loses nothing; whole answers, and whole answers as chunks.

LiteLLM's wrapper around a custom provider's stream (``CustomStreamWrapper``, measured on 1.106.2) ends the stream
at the first finish reason of the first choice: what comes later is lost, OpenAI's usage chunk included, and so is
the reasoning that the finish chunk still carries. So finish reasons are held back until the answer is complete, and
the order becomes: all deltas, the finish reasons of the choices after the first, usage, the first choice's finish
reason. tests/formats/test_stream_fidelity.py shows each loss, and that it does not happen here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

from litellm import ModelResponse
from litellm.litellm_core_utils.prompt_templates.common_utils import extract_reasoning_content
from litellm.types.utils import ModelResponseStream
from litellm.utils import convert_to_model_response_object

from litellm_sagemaker_openai.errors import MalformedAnswer, StreamedError, TruncatedStream, error_in, quoted
from litellm_sagemaker_openai.formats.events import DONE, Decoder, Event

_MOST_FAKE_PIECES = 64
_LEAST_FAKE_PIECE = 8  # characters

# Where `_hidden_params` have the container's name for its model. Not `provider_response_model`, which is LiteLLM's for
# the same: LiteLLM (1.106.2, select_model_name_for_cost_calc) looks up a price by that name first, and a container may
# call its model as it likes.
_SERVED_MODEL = "sagemaker_served_model"

# What every chunk of a stream repeats; the other fields beside `choices` and `usage` belong to their own chunk.
_IDENTIFYING = ("id", "created", "object", "system_fingerprint", "service_tier")
_TEXT = {"content"}  # what the delta of most chunks has, and nothing else
_NOT_EXTRA = frozenset({*_IDENTIFYING, "choices", "usage", "model"})


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
        self._usage: Mapping[str, Any] | None = None
        self._text: tuple[dict[str, Any], ModelResponseStream] | None = None  # see _text_chunk
        self._done = False
        self.begun = False  # whether a chunk was given

    def feed(self, data: bytes) -> Iterator[ModelResponseStream]:
        """The chunks that some more bytes allow to be given already, one by one.

        Raises:
            StreamFormatError: they are no events.
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
        if _is_whole(event):
            self._done = True
            for piece in pieces_of(event):
                yield from self._deltas(piece)
        else:
            yield from self._deltas(event)

    def _deltas(self, event: Mapping[str, Any]) -> Iterator[ModelResponseStream]:
        self._usage = _counts(event.get("usage")) or self._usage  # the last one counts: it may run along
        choices = event.get("choices") or []
        if not isinstance(choices, list):
            raise MalformedAnswer(f"choices that are not a list but {type(choices).__name__}")
        if event.get("model") != self._hidden.get(_SERVED_MODEL):
            self._hidden.update(served_model(event))
        identity = {**self._identity, **_identity(event)}
        if identity != self._identity:
            self._identity, self._text = identity, None
        extra = {name: value for name, value in event.items() if name not in _NOT_EXTRA and value is not None}
        going = [kept for choice in choices if (kept := self._without_finish(choice)) is not None]
        if going:
            yield self._chunk(going, extra)
        else:
            self._late_extra.update(extra)

    def _without_finish(self, choice: Any) -> dict[str, Any] | None:
        """A choice without its finish reason, which is kept for the end; None where nothing else is left of it."""
        delta = choice.get("delta") if isinstance(choice, Mapping) else None
        if not isinstance(choice, Mapping) or not isinstance(delta, (Mapping, type(None))):
            raise MalformedAnswer("a choice or a delta that is not a JSON object")
        # LiteLLM takes an empty list of tool calls for tool calls; null and absent mean the same.
        delta = {name: value for name, value in (delta or {}).items() if value is not None and value != []}
        if not all(isinstance(delta.get(name, ""), str) for name in ("content", *_REASONING)):
            raise MalformedAnswer(f"a delta whose text is not a string: {quoted(delta)}")
        rest = {name: value for name, value in choice.items() if name not in ("delta", "finish_reason", "index")}
        index, finish_reason = _index(choice, 0), _finish_reason(choice)
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
        self.begun = True
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


def parsed(content: bytes) -> Any:
    """A container's whole answer, as JSON.

    Raises:
        MalformedAnswer: it is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"what is not JSON: {quoted(content) or 'an empty body'}") from error


def whole_response(
    answer: Any, *, model: str, model_response: ModelResponse, headers: Mapping[str, str]
) -> ModelResponse:
    """LiteLLM's response for a container's whole answer, with all that the container sent.

    Args:
        answer: the container's.
        model: what the response names where the container names no model.
        model_response: LiteLLM's, to fill in.
        headers: what ``_hidden_params["additional_headers"]`` holds.

    Raises:
        StreamedError: the answer is an error, although its status was 200.
        MalformedAnswer: it is no chat completion.
    """
    if not isinstance(answer, dict):
        raise MalformedAnswer(f"JSON that is not an object: {quoted(answer)}")
    refusal = error_in(answer)
    if refusal is not None:
        raise StreamedError(refusal)
    choices = [_with_role(choice) for choice in _checked_choices(answer)]
    usage = _counts(answer.get("usage"))
    try:
        response: ModelResponse = convert_to_model_response_object(
            response_object={**answer, "choices": choices, "usage": usage and dict(usage)},
            model_response_object=model_response,
            _response_headers=dict(headers),
        )
    except Exception as error:  # LiteLLM raises a bare Exception, with a traceback in its text, for all that fails
        cause = error.__context__ or error
        raise MalformedAnswer(f"what is no chat completion: {quoted(str(cause))}") from error
    for choice, sent in zip(response.choices, choices, strict=True):
        choice.index = sent["index"]  # LiteLLM counts them instead
    response.model = answer.get("model") or model
    response._hidden_params.update(served_model(answer))
    return response


def served_model(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What ``_hidden_params`` say of the container's name for the model, where an answer or a chunk has it."""
    name = answer.get("model")
    return {_SERVED_MODEL: name} if name and isinstance(name, str) else {}


def pieces_of(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A whole answer as the events of a stream that adds up to it (fake streaming).

    Raises:
        MalformedAnswer: it is no chat completion.
    """
    top = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    for choice in _checked_choices(answer):
        message, index = _with_role(choice)["message"], choice["index"]
        rest = {name: value for name, value in choice.items() if name not in ("message", "finish_reason", "index")}
        # What has no parts comes with the first delta: the role, extra fields, log probabilities.
        first = {name: value for name, value in message.items() if name not in ("content", *_REASONING, "tool_calls")}
        yield {**top, "choices": [{**rest, "index": index, "delta": {"role": "assistant", **first}}]}
        top = {name: top[name] for name in _IDENTIFYING if name in top}
        for delta in _message_deltas(message):
            yield {**top, "choices": [{"index": index, "delta": delta}]}
        finish_reason = choice.get("finish_reason") or "stop"
        if finish_reason == "stop" and message.get("tool_calls"):
            finish_reason = "tool_calls"  # as LiteLLM has it for a whole answer
        yield {**top, "choices": [{"index": index, "delta": {}, "finish_reason": finish_reason}]}
    yield {**top, "choices": [], "usage": answer.get("usage")}


_REASONING = ("reasoning_content", "reasoning")


def _message_deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # LiteLLM's rule for whole answers: `reasoning_content`, `reasoning`, or what stands between <think> tags.
    reasoning, content = extract_reasoning_content(message)
    for name, text in (("reasoning_content", reasoning), ("content", content)):
        for piece in _text_pieces(text):
            yield {name: piece}
    for position, call in enumerate(message.get("tool_calls") or []):
        function = call.get("function") or {}
        arguments = _text_pieces(function.get("arguments"))
        yield {"tool_calls": [{**call, "index": position, "function": {**function, "arguments": next(arguments, "")}}]}
        for piece in arguments:
            yield {"tool_calls": [{"index": position, "function": {"arguments": piece}}]}


def _text_pieces(text: Any) -> Iterator[Any]:
    if not isinstance(text, str):
        if text is not None:
            yield text
        return
    size = max(_LEAST_FAKE_PIECE, -(-len(text) // _MOST_FAKE_PIECES))
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _identity(event: Mapping[str, Any]) -> dict[str, Any]:
    """What each chunk of the answer repeats. A time that is not a number is left for LiteLLM to make up."""
    identity = {name: event[name] for name in _IDENTIFYING if event.get(name) is not None}
    if "created" in identity:
        created = identity.pop("created")
        if isinstance(created, int) or (isinstance(created, float) and math.isfinite(created)):
            identity["created"] = int(created)
    return identity


def _is_whole(event: Mapping[str, Any]) -> bool:
    choices = event.get("choices")
    return isinstance(choices, list) and any(isinstance(choice, Mapping) and "message" in choice for choice in choices)


def _checked_choices(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedAnswer(f"no choices: {quoted(answer)}")
    for choice in choices:
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(message, Mapping) or not _are_tool_calls(message.get("tool_calls")):
            raise MalformedAnswer(f"a choice without a message: {quoted(choice)}")
    indices = [_index(choice, position) for position, choice in enumerate(choices)]
    if len(set(indices)) < len(indices):
        indices = list(range(len(choices)))
    numbered = (
        {**choice, "index": index, "finish_reason": _finish_reason(choice)}
        for choice, index in zip(choices, indices, strict=True)
    )
    return sorted(numbered, key=itemgetter("index"))


def _are_tool_calls(calls: Any) -> bool:
    """Whether they are a list of objects whose functions are objects; OpenAI's custom tool calls have none."""
    return calls is None or (
        isinstance(calls, list)
        and all(isinstance(call, Mapping) and isinstance(call.get("function", {}), Mapping) for call in calls)
    )


def _index(choice: Mapping[str, Any], default: int) -> int:
    index = choice.get("index")
    if index is None:
        return default
    if not isinstance(index, int):
        raise MalformedAnswer(f"a choice whose index is {quoted(index)!r}")
    return index


def _finish_reason(choice: Mapping[str, Any]) -> str | None:
    """What LiteLLM 1.106.2 writes into its log, as long as it is, where it does not know it."""
    finish_reason = choice.get("finish_reason")
    return quoted(finish_reason) if finish_reason else None


def _with_role(choice: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", **choice["message"]}
    # A null `reasoning_content` beside a `reasoning` that is set hides it from LiteLLM 1.106.2; newer vLLM sends both.
    if message.get("reasoning_content") is None:
        message.pop("reasoning_content", None)
    return {**choice, "message": message}


def _counts(usage: Any) -> Mapping[str, Any] | None:
    """Usage that counts something; a container that reports nulls reports none."""
    if not isinstance(usage, Mapping):
        return None
    counts = [usage[name] for name in ("prompt_tokens", "completion_tokens") if usage.get(name) is not None]
    if not counts or not all(isinstance(count, int) for count in counts):
        return None
    return {**usage, "total_tokens": usage.get("total_tokens") or sum(counts)}


def _finished(index: int, finish_reason: Any) -> dict[str, Any]:
    return {"index": index, "delta": {}, "finish_reason": finish_reason}
