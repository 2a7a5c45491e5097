"""The built-in container's text completions: it goes on with the prompt's own words, in vLLM's shape. Pure.

A whole answer and a streamed one are two ways to write down the same texts. Shapes are those of vLLM 0.32
(``tests/wire/vllm/invocations_completion*.http``), which refuses ``suffix`` for most models; this container takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from litellm_sagemaker_openai.local.echo import EchoConfig, chosen_logprob, tokenize
from litellm_sagemaker_openai.local.echo_checks import Body, check_lengths, check_text_completion_body

_DEFAULT_MAX_TOKENS = 16  # OpenAI's and vLLM's


@dataclass(frozen=True, slots=True)
class _Text:
    """One choice: the prompt's tokens, where they are to be repeated, and those that follow."""

    prompt: Sequence[str]
    tokens: Sequence[str]
    finish_reason: str
    stop_reason: str | None


@dataclass(frozen=True, slots=True)
class _Plan:
    prompt_tokens: int
    texts: Sequence[_Text]

    @property
    def usage(self) -> dict[str, Any]:
        completion_tokens = sum(len(text.tokens) for text in self.texts)
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "completion_tokens": completion_tokens,
            "prompt_tokens_details": None,
        }


def complete_text(
    body: Body, config: EchoConfig | None = None, *, completion_id: str = "cmpl-echo", created: int = 0
) -> dict[str, Any]:
    """The whole answer to a request, as vLLM's ``text_completion``.

    Raises:
        ContainerRefusal: the request is refused.
    """
    config = config or EchoConfig()
    plan = _plan(body, config)
    choices = [
        _choice(index, [*text.prompt, *text.tokens], len(text.prompt), body, text)
        for index, text in enumerate(plan.texts)
    ]
    return {**_head(config, completion_id, created), "choices": choices, "usage": plan.usage}


def stream_text(
    body: Body, config: EchoConfig | None = None, *, completion_id: str = "cmpl-echo", created: int = 0
) -> Iterator[dict[str, Any]]:
    """The same answer in pieces.

    Raises:
        ContainerRefusal: the request is refused; at once, not at the first piece.
    """
    config = config or EchoConfig()
    return _chunks(_plan(body, config), body, _head(config, completion_id, created))


def _chunks(plan: _Plan, body: Body, head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for position in range(max((len(text.tokens) for text in plan.texts), default=0) or 1):
        # vLLM runs the choices side by side, so their chunks alternate.
        for index, text in enumerate(plan.texts):
            if position >= max(len(text.tokens), 1):
                continue
            before = [] if position else text.prompt
            tokens = [*before, *text.tokens[position : position + 1]]
            is_last = position >= len(text.tokens) - 1
            offset = len("".join([*text.prompt, *text.tokens[:position]])) if position else 0
            yield {**head, "choices": [_choice(index, tokens, len(before), body, text if is_last else None, offset)]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": plan.usage}


def _head(config: EchoConfig, completion_id: str, created: int) -> dict[str, Any]:
    return {"id": completion_id, "object": "text_completion", "created": created, "model": config.served_name}


def _choice(
    index: int, tokens: Sequence[str], prompt_tokens: int, body: Body, ended: _Text | None, offset: int = 0
) -> dict[str, Any]:
    return {
        "index": index,
        "text": "".join(tokens),
        "logprobs": _logprobs(tokens, prompt_tokens, body.get("logprobs"), offset),
        "finish_reason": ended and ended.finish_reason,
        "stop_reason": ended and ended.stop_reason,
    }


def _logprobs(tokens: Sequence[str], prompt_tokens: int, most: int | None, offset: int) -> dict[str, Any] | None:
    """Made up, but well-formed: each number depends on the token alone; a prompt's first token has none."""
    if most is None:
        return None
    offsets = [offset + len("".join(tokens[:position])) for position in range(len(tokens))]
    numbers = [
        None if prompt_tokens and position == 0 else chosen_logprob(token) for position, token in enumerate(tokens)
    ]
    tops = [
        None if number is None else {token: number, **{f" {rank}": number - 2 - rank for rank in range(most - 1)}}
        for token, number in zip(tokens, numbers, strict=True)
    ]
    return {"text_offset": offsets, "token_logprobs": numbers, "tokens": list(tokens), "top_logprobs": tops}


def _plan(body: Body, config: EchoConfig) -> _Plan:
    check_text_completion_body(body, config.served_name)
    prompts = [_prompt_tokens(each) for each in _prompts(body["prompt"])]
    for prompt in prompts:
        check_lengths({"max_tokens": _DEFAULT_MAX_TOKENS, **body}, len(prompt), config.context_length)
    texts = [_text(prompt, body, index) for prompt in prompts for index in range(body.get("n") or 1)]
    return _Plan(sum(map(len, prompts)), texts)


def _text(prompt: Sequence[str], body: Body, index: int) -> _Text:
    said, suffix = "".join(prompt), body.get("suffix")
    text = f" Echo container, not a model. You wrote: {said.strip()}"
    if suffix:
        text += f" (And then: {suffix.strip()})"
    if index:
        text += f" (Choice {index + 1}.)"
    stops = body.get("stop") or []
    found = [(text.find(stop), stop) for stop in ([stops] if isinstance(stops, str) else stops) if stop in text]
    position, stop = min(found, default=(len(text), None))
    tokens = tokenize(text[:position])
    limit = _DEFAULT_MAX_TOKENS if body.get("max_tokens") is None else body["max_tokens"]
    before = prompt if body.get("echo") else ()
    if len(tokens) > limit:
        return _Text(before, tokens[:limit], "length", None)
    return _Text(before, tokens, "stop", stop)


def _prompts(given: Any) -> list[Any]:
    return given if isinstance(given, list) and not isinstance(given[0], int) else [given]


def _prompt_tokens(prompt: str | list[int]) -> list[str]:
    return tokenize(prompt) if isinstance(prompt, str) else [f" {token}" for token in prompt]
