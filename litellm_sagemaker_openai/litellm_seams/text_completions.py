"""Text completions as LiteLLM would lose them: token ids, what a stream's choices say, and streams that open early.

What LiteLLM does: it makes chat messages of the prompts, one for each, and refuses token ids for a custom provider
("Unmapped prompt format", ``text_completion`` in main.py). Of a stream's chunk, ``TextCompletionStreamWrapper`` keeps
the first choice's text, and before 1.110.2 adds a usage of zeros: other choices and log probabilities are lost. And
what ``stream_opening`` does is not known of its streams (``_is_converted_stream_result`` in utils.py).
Seen on: LiteLLM 1.103.0, 1.106.2, 1.110.2.
Without it: token ids go through ``extra_body={"prompt": […]}``, streams have the first choice's text, and a stream
opens with the caller's first read.
Needed until: tests/litellm_seams/test_litellm_alone.py::test_loses_what_text_completions_say fails.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from litellm_sagemaker_openai.errors import bad_request
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.stream_opening import OURS, goes_to_this_provider
from litellm_sagemaker_openai.refusals import Refusal
from litellm_sagemaker_openai.upstream_errors import PROVIDER

# What a chunk's choice has besides, or has for chats alone.
_NOT_IN_TEXT = frozenset({"delta", "enhancements", "provider_specific_fields"})
_CHAT_LOGPROBS = frozenset({"content", "refusal"})  # LiteLLM's type for a chat's has these, too


class _CarriedPrompt(str):
    """A prompt that is no text, as LiteLLM lets it through: for LiteLLM, and for logs, it is its JSON."""

    value: Any


def carried_prompt(content: Any) -> Any:
    """The prompt that a message's content carries, or that it is."""
    return content.value if isinstance(content, _CarriedPrompt) else content


def install() -> None:
    """Let token ids through, and all that a stream's chunks say. Idempotent."""
    litellm, main, utils = (importlib.import_module(name) for name in ("litellm", "litellm.main", "litellm.utils"))
    # One function under both names, as pickle wants it; then what an application has put in its place.
    _replace(main, lookup.attribute(main, "text_completion"), _carrying_prompts, litellm)
    _replace(litellm, lookup.attribute(litellm, "text_completion"), _carrying_prompts)
    wrapper = lookup.attribute(utils, "TextCompletionStreamWrapper")
    if wrapper is not None:
        _replace(wrapper, lookup.attribute(wrapper, "convert_to_text_completion_object"), _keeping_all)
        known = lookup.attribute(utils, "_is_converted_stream_result")
        _replace(utils, known, functools.partial(_knowing, wrapper))


def _replace(owner: Any, original: Any, make: Callable[[Callable[..., Any]], Callable[..., Any]], *others: Any) -> None:
    if original is None or getattr(original, OURS, False):
        return
    replacement = functools.wraps(original)(make(original))
    setattr(replacement, OURS, True)
    name = original.__name__
    for each in (owner, *(other for other in others if getattr(other, name, None) is original)):
        setattr(each, name, replacement)


def _carrying_prompts(text_completion: Callable[..., Any]) -> Callable[..., Any]:
    def with_carried_prompt(*args: Any, **call: Any) -> Any:
        given = dict(zip(("prompt", "model"), args, strict=False))
        asked = {**call, **given}
        prompt, refusal = asked.get("prompt"), _refusal(asked)
        is_plain = isinstance(prompt, str) or _are_texts(prompt) or "prompt" not in asked
        if (is_plain and refusal is None) or given.keys() & call.keys():
            return text_completion(*args, **call)
        model = asked.get("model") or asked.get("engine")
        if not goes_to_this_provider({**asked, "model": model}):
            return text_completion(*args, **call)
        if refusal is not None:
            raise bad_request(refusal, model=str(model))
        carried = _CarriedPrompt(json.dumps(prompt, default=repr))
        carried.value = prompt
        if args:
            return text_completion(carried, *args[1:], **call)
        return text_completion(**{**call, "prompt": carried})

    return with_carried_prompt


def _refusal(asked: Mapping[str, Any]) -> Refusal | None:
    """What is wrong with a call that LiteLLM would fail at by an error of its own, status 500, and try again."""
    if "messages" in asked:
        return Refusal("a text completion has a prompt, and no messages: leave one of them out", "messages")
    if not isinstance(asked.get("stream"), bool | None):
        return Refusal(f"stream must be true or false, not {asked['stream']!r:.100}", "stream")
    return None


def _are_texts(prompt: Any) -> bool:
    return isinstance(prompt, list) and bool(prompt) and all(isinstance(each, str) for each in prompt)


def _keeping_all(convert: Callable[..., Any]) -> Callable[..., Any]:
    def with_all(self: Any, chunk: Any) -> Any:
        hidden = getattr(chunk, "_hidden_params", None) or {}
        if hidden.get("custom_llm_provider") != PROVIDER:
            return convert(self, chunk)
        return _text_of(chunk, with_usage=bool((self.stream_options or {}).get("include_usage")))

    return with_all


def _text_of(chunk: Any, *, with_usage: bool) -> Any:
    """A chunk of this provider's as a part of a text completion."""
    types = importlib.import_module("litellm.types.utils")
    said: Mapping[str, Any] = chunk.model_dump(exclude={"choices", "object", "usage", "provider_specific_fields"})
    choices = [_text_choice(choice.model_dump()) for choice in chunk.choices]
    text = types.TextCompletionResponse(**said, choices=choices)
    text.usage = getattr(chunk, "usage", None) if with_usage else None  # LiteLLM's own may be one of zeros
    text._hidden_params = chunk._hidden_params
    return text


def _text_choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in choice.items() if name not in _NOT_IN_TEXT and value is not None}
    if "logprobs" in kept:
        kept["logprobs"] = {name: value for name, value in kept["logprobs"].items() if name not in _CHAT_LOGPROBS}
    return {**kept, "text": (choice.get("delta") or {}).get("content") or ""}


def _knowing(wrapper: type[Any], is_stream: Callable[[object], bool]) -> Callable[[object], bool]:
    def knowing_text(result: object) -> bool:
        return isinstance(result, wrapper) or is_stream(result)

    return knowing_text
