"""A container's whole answer → LiteLLM's response, or the events of a stream that adds up to it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

from litellm import ModelResponse

from litellm_sagemaker_openai.litellm_seams.answers import chat_response, reasoning_and_content
from litellm_sagemaker_openai.upstream_errors import MalformedAnswer, StreamedError, error_in, quoted

_MOST_FAKE_PIECES = 64
_LEAST_FAKE_PIECE = 8  # characters

# Where `_hidden_params` have the container's name for its model. Not `provider_response_model`, which is LiteLLM's for
# the same: LiteLLM (1.106.2, select_model_name_for_cost_calc) looks up a price by that name first, and a container may
# call its model as it likes.
SERVED_MODEL = "sagemaker_served_model"

# What every chunk of a stream repeats; the other fields beside `choices` and `usage` belong to their own chunk.
IDENTIFYING = ("id", "created", "object", "system_fingerprint", "service_tier")
REASONING = ("reasoning_content", "reasoning")


def parsed(content: bytes) -> Any:
    """A container's whole answer, as JSON.

    Raises:
        MalformedAnswer: it is not JSON.
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
        MalformedAnswer: it is not a chat completion.
    """
    if not isinstance(answer, dict):
        raise MalformedAnswer(f"JSON that is not an object: {quoted(answer)}")
    upstream = error_in(answer)
    if upstream is not None:
        raise StreamedError(upstream)
    choices = [_with_role(choice) for choice in _checked_choices(answer)]
    usage = counts_of(answer.get("usage"))
    try:
        completion = {**answer, "choices": choices, "usage": usage and dict(usage)}
        response = chat_response(completion, model_response, headers)
    except Exception as error:  # LiteLLM raises a bare Exception, with a traceback in its text, for all that fails
        cause = error.__context__ or error
        raise MalformedAnswer(f"JSON that is not a chat completion: {quoted(str(cause))}") from error
    for choice, sent in zip(response.choices, choices, strict=True):
        choice.index = sent["index"]  # LiteLLM counts them instead
    response.model = answer.get("model") or model
    response._hidden_params.update(served_model(answer))
    return response


def chat_answer(
    content: bytes,
    headers: Mapping[str, str],
    *,
    model: str,
    model_response: ModelResponse,
    hidden: Mapping[str, Any] | None = None,
) -> ModelResponse:
    """LiteLLM's response for the bytes of a container's whole answer, by the name that the caller gave the model.

    Args:
        content: the bytes.
        headers: the answer's.
        model: as the caller named it: by this name LiteLLM finds a price, and a stream's chunks have it too.
        model_response: LiteLLM's, to fill in.
        hidden: what ``_hidden_params`` hold besides.

    Raises:
        StreamedError, MalformedAnswer: as for ``whole_response``.
    """
    whole = whole_response(parsed(content), model=model, model_response=model_response, headers=dict(headers))
    whole._hidden_params.update(hidden or {})
    whole.model = model
    return whole


def served_model(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What ``_hidden_params`` say of the container's name for the model, where an answer or a chunk has it."""
    name = answer.get("model")
    return {SERVED_MODEL: name} if name and isinstance(name, str) else {}


def pieces_of(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A whole answer as the events of a stream that adds up to it (fake streaming).

    Raises:
        MalformedAnswer: it is not a chat completion.
    """
    top = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    for choice in _checked_choices(answer):
        message, index = _with_role(choice)["message"], choice["index"]
        rest = {name: value for name, value in choice.items() if name not in ("message", "finish_reason", "index")}
        # What has no parts comes with the first delta: the role, extra fields, log probabilities.
        first = {name: value for name, value in message.items() if name not in ("content", *REASONING, "tool_calls")}
        yield {**top, "choices": [{**rest, "index": index, "delta": {"role": "assistant", **first}}]}
        top = {name: top[name] for name in IDENTIFYING if name in top}
        for delta in _message_deltas(message):
            yield {**top, "choices": [{"index": index, "delta": delta}]}
        finish_reason = choice.get("finish_reason") or "stop"
        if finish_reason == "stop" and message.get("tool_calls"):
            finish_reason = "tool_calls"  # as LiteLLM has it for a whole answer
        yield {**top, "choices": [{"index": index, "delta": {}, "finish_reason": finish_reason}]}
    yield {**top, "choices": [], "usage": answer.get("usage")}


def _message_deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # LiteLLM's rule for whole answers: `reasoning_content`, `reasoning`, or what stands between <think> tags.
    reasoning, content = reasoning_and_content(message)
    for name, text in (("reasoning_content", reasoning), ("content", content)):
        for piece in text_pieces(text):
            yield {name: piece}
    for position, call in enumerate(message.get("tool_calls") or []):
        function = call.get("function") or {}
        arguments = text_pieces(function.get("arguments"))
        yield {"tool_calls": [{**call, "index": position, "function": {**function, "arguments": next(arguments, "")}}]}
        for piece in arguments:
            yield {"tool_calls": [{"index": position, "function": {"arguments": piece}}]}


def text_pieces(text: Any) -> Iterator[Any]:
    """A whole answer's text as a stream's deltas have it."""
    if not isinstance(text, str):
        if text is not None:
            yield text
        return
    size = max(_LEAST_FAKE_PIECE, -(-len(text) // _MOST_FAKE_PIECES))
    for start in range(0, len(text), size):
        yield text[start : start + size]


def is_whole(event: Mapping[str, Any]) -> bool:
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
    indices = [index_of(choice, position) for position, choice in enumerate(choices)]
    if len(set(indices)) < len(indices):
        indices = list(range(len(choices)))
    numbered = (
        {**choice, "index": index, "finish_reason": finish_reason_of(choice)}
        for choice, index in zip(choices, indices, strict=True)
    )
    return sorted(numbered, key=itemgetter("index"))


def _are_tool_calls(calls: Any) -> bool:
    """Whether they are a list of objects whose functions are objects; OpenAI's custom tool calls have none."""
    return calls is None or (
        isinstance(calls, list)
        and all(isinstance(call, Mapping) and isinstance(call.get("function", {}), Mapping) for call in calls)
    )


def index_of(choice: Mapping[str, Any], default: int) -> int:
    index = choice.get("index")
    if index is None:
        return default
    if not isinstance(index, int):
        raise MalformedAnswer(f"a choice whose index is {quoted(index)!r}")
    return index


def finish_reason_of(choice: Mapping[str, Any]) -> str | None:
    """What LiteLLM 1.106.2 writes into its log, as long as it is, where it does not know it."""
    finish_reason = choice.get("finish_reason")
    return quoted(finish_reason) if finish_reason else None


def _with_role(choice: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", **choice["message"]}
    # A null `reasoning_content` beside a `reasoning` that is set hides it from LiteLLM 1.106.2; newer vLLM sends both.
    if message.get("reasoning_content") is None:
        message.pop("reasoning_content", None)
    return {**choice, "message": message}


def counts_of(usage: Any) -> Mapping[str, Any] | None:
    """Usage that counts something; a container that reports nulls reports none."""
    if not isinstance(usage, Mapping):
        return None
    counts = [usage[name] for name in ("prompt_tokens", "completion_tokens") if usage.get(name) is not None]
    if not counts or not all(isinstance(count, int) for count in counts):
        return None
    return {**usage, "total_tokens": usage.get("total_tokens") or sum(counts)}
