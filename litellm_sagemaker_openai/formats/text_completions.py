"""Text completions: prompts and parameters → the container's body; its answer, or its stream → LiteLLM's. Pure.

``/openai/v1`` routes chat completions only, so they go over InvokeEndpoint, where a body with ``prompt`` is one (vLLM's
entrypoints/sagemaker/api_router.py: by the body's shape).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from litellm import TextCompletionResponse

from litellm_sagemaker_openai.formats.chat_request import stream_members
from litellm_sagemaker_openai.formats.chunks import ChunkStream, chunk_stream
from litellm_sagemaker_openai.formats.events import DONE, Decoder, Event
from litellm_sagemaker_openai.formats.invocation_headers import session_params
from litellm_sagemaker_openai.formats.texts_or_ids import FORM, are_texts_or_ids
from litellm_sagemaker_openai.formats.whole_answer import (
    IDENTIFYING,
    counts_of,
    finish_reason_of,
    index_of,
    parsed,
    served_model,
    text_pieces,
)
from litellm_sagemaker_openai.litellm_seams.answers import text_completion_response
from litellm_sagemaker_openai.litellm_seams.text_completions import carried_prompt
from litellm_sagemaker_openai.refusals import Refusal
from litellm_sagemaker_openai.upstream_errors import MalformedAnswer, StreamedError, error_in, quoted


def prompts_of(messages: Sequence[Any]) -> Any:
    """The prompt or prompts of a text completion, out of the messages that LiteLLM makes of them: one for each.

    Raises:
        Refusal: they are nothing of the kind.
    """
    if len(messages) == 1 and _is_prompts(messages[0]):
        return _checked(carried_prompt(messages[0]["content"]))
    if not all(map(_is_prompts, messages)):
        raise Refusal("a text completion has a prompt, and no messages: ask for a chat completion instead", "messages")
    return _checked([message["content"] for message in messages])


def _is_prompts(message: Any) -> bool:
    return isinstance(message, Mapping) and message.keys() == {"role", "content"} and message["role"] == "user"


def _checked(prompt: Any) -> Any:
    if are_texts_or_ids(prompt):
        return prompt
    raise Refusal(f"prompt must be {FORM}; not empty, and not {quoted(prompt)}", "prompt")


def text_completion_body(
    prompt: Any, parameters: Mapping[str, Any], *, model_name: str = "", stream: bool = False
) -> dict[str, Any]:
    """The request's body.

    Args:
        prompt: from ``prompts_of``.
        parameters: the container's; those from ``extra_body`` have the last word.
        model_name: the body's ``model``.
        stream: ask for a stream, and for its token counts, unless the parameters say no to them.

    Raises:
        Refusal: ``stream_options`` is not a dictionary.
    """
    return stream_members({"model": model_name, "prompt": prompt, **parameters}, stream=stream)


def text_completion_answer(content: bytes, headers: Mapping[str, str], *, model: str) -> TextCompletionResponse:
    """LiteLLM's response for a container's whole answer, with all that the container sent.

    Args:
        content: the answer's bytes.
        headers: the answer's.
        model: as the caller named it, which the response names, too; the container's name is in ``_hidden_params``.

    Raises:
        StreamedError: the answer is an error, although its status was 200.
        MalformedAnswer: it is not a text completion.
    """
    answer = parsed(content)
    choices = _choices_of(answer)
    usage = counts_of(answer.get("usage"))
    try:
        response = text_completion_response({**answer, "model": model, "choices": choices, "usage": usage}, headers)
    except (TypeError, ValueError, KeyError) as error:
        raise MalformedAnswer(f"JSON that is not a text completion: {quoted(str(error))}") from error
    response._hidden_params.update({**served_model(answer), **session_params(headers)})  # type: ignore[attr-defined]
    return response


def text_chunk_stream(headers: Mapping[str, str], model: str) -> ChunkStream:
    """What turns the bytes of a streamed answer into LiteLLM's chunks, which ``litellm_seams/text_completions.py``
    makes text of again."""
    return chunk_stream(headers, model, session_params(headers), read=_AsChat)


class _AsChat:
    """A ``Decoder`` that gives the events of a text completion as a chat's: LiteLLM's stream is one."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def feed(self, data: bytes) -> Iterator[Event]:
        for event in self._decoder.feed(data):
            yield from _as_chat(event)

    def end(self) -> Iterator[Event]:
        for event in self._decoder.end():
            yield from _as_chat(event)


def _as_chat(event: Event) -> Iterator[Event]:
    """An event as a chat's. A whole answer, as a container gives it that cannot stream, becomes several.

    Not a whole chat: nothing in a text completion's text is a model's reasoning, and the last event of a stream may
    look the same, with a finish reason and a usage.
    """
    if event == DONE or not isinstance(event, Mapping) or error_in(event) is not None or not event.get("choices"):
        yield event
        return
    choices = _choices_of(event)
    rest = {name: value for name, value in event.items() if name not in ("object", "choices")}
    if event.get("usage") is None or not all(choice["finish_reason"] for choice in choices):
        yield {**rest, "choices": [_with_delta(choice) for choice in choices]}
        return
    identity = {name: value for name, value in rest.items() if name in IDENTIFYING}
    for choice in choices:
        first, *more = list(text_pieces(choice["text"])) or [""]
        yield {**rest, "choices": [_with_delta({**choice, "text": first, "finish_reason": None})]}
        for piece in more:
            yield {**identity, "choices": [{"index": choice["index"], "delta": {"content": piece}}]}
        ending = {name: choice[name] for name in ("index", "finish_reason")}
        yield {**identity, "choices": [{**ending, "delta": {}}]}


def _with_delta(choice: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in choice.items() if name != "text"}
    return {**rest, "delta": {"content": choice["text"]}}


def _choices_of(answer: Any) -> list[dict[str, Any]]:
    """The choices of a text completion, or of a part of one, in the order of their indices."""
    if not isinstance(answer, Mapping):
        raise MalformedAnswer(f"JSON that is not an object: {quoted(answer)}")
    upstream = error_in(answer)
    if upstream is not None:
        raise StreamedError(upstream)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedAnswer(f"no choices: {quoted(answer)}")
    for choice in choices:
        if not isinstance(choice, Mapping) or not isinstance(choice.get("text"), str):
            raise MalformedAnswer(f"a choice without a text: {quoted(choice)}")
    numbered = (
        {**choice, "index": index_of(choice, position), "finish_reason": finish_reason_of(choice)}
        for position, choice in enumerate(choices)
    )
    return sorted(numbered, key=itemgetter("index"))
