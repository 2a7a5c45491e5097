"""Whether a container refused a conversation because it does not fit into its context, and how long both are. Pure.

A coding agent shortens a conversation that does not fit, or asks for a shorter answer, only where it knows the error by
its words. Containers have many for it. So the words of Anthropic's API are added, which agents know, with the
container's numbers: Claude Code 2.1.197 and OpenCode 1.18.33 have them in their code.
"""

from __future__ import annotations

import re

# The containers' words for a prompt that does not fit, each from the server it is named after.
_CONTEXT_WINDOW = re.compile(
    r"maximum context length"  # vLLM; SGLang: "exceeds the model's maximum context length of"
    r"|model's context length"  # vLLM ≥ 0.12 "… is only N tokens"; SGLang "is longer than the …"
    r"|longer than the maximum model length"  # vLLM V1
    r"|exceeds the maximum allowed length"  # SGLang
    r"|exceeds the available context size|exceed_context_size_error"  # llama.cpp
    r"|`inputs` tokens \+ `max_new_tokens` must be|`inputs` must have less than \d+ tokens"  # TGI
    r"|should not exceed max_(?:num_tokens|seq_len)|exceeds maximum input length \("  # TensorRT-LLM
    r"|`default_max_tokens` \(-?\d{1,12}\) must be greater than 0",  # the same, of a prompt without room for an answer
)
# The three numbers, in the words of the same servers (tests/test_context_limit.py has each message).
_NUMBER = r"(\d{1,12})"
_LIMIT = re.compile(
    rf"context length (?:is only|is|of) {_NUMBER} tokens|maximum model length of {_NUMBER}"
    rf"|(?:model's context length|maximum allowed length|available context size) \({_NUMBER} tokens"
    rf"|`inputs` tokens \+ `max_new_tokens` must be <= {_NUMBER}|`inputs` must have less than {_NUMBER} tokens"
    rf"|max_model_len={_NUMBER}|max_(?:num_tokens|seq_len) \({_NUMBER}\)|exceeds maximum input length \({_NUMBER}\)"
)
_PROMPT = re.compile(
    rf"{_NUMBER} input tokens|\({_NUMBER} in the messages|\(length {_NUMBER}\)|{_NUMBER} tokens from the input messages"
    rf"|(?:input|Input length|request) \({_NUMBER} tokens|Given: {_NUMBER}"
    rf"|[Pp]rompt length \({_NUMBER}(?:\.0)?\)|`splited_prompt_len` \({_NUMBER}\)"
)
# vLLM does not count the tokens of a prompt with more characters than so many tokens can have.
_MORE_THAN = re.compile(rf"upper bound for {_NUMBER} input tokens|maximum input length of {_NUMBER} tokens \(at most")
_ANSWER = re.compile(
    rf"requested {_NUMBER} output tokens|is too large: {_NUMBER}\.|{_NUMBER} in the completion"
    rf"|{_NUMBER} tokens for the completion|Given: \d{{1,12}}(?: `inputs` tokens)? and {_NUMBER}|max_tokens={_NUMBER}\b"
    rf"|max_tokens \({_NUMBER}\) should"
)


def does_not_fit(message: str) -> bool:
    """Whether these are a container's words for a prompt, with or without its answer, that does not fit."""
    return _CONTEXT_WINDOW.search(message) is not None


def in_agents_words(message: str) -> str:
    """The same in the words of Anthropic's API; empty where the message does not say the numbers for it.

    They are ``prompt is too long: 4097 tokens > 4096 maximum``, at which agents shorten the conversation, and ``input
    length and `max_tokens` exceed context limit: 4000 + 200 > 4096``, at which Claude Code asks for a shorter answer.
    """
    limit, prompt, answer = (_number(pattern, message) for pattern in (_LIMIT, _PROMPT, _ANSWER))
    if limit is None:
        return ""
    if (fewer := _number(_MORE_THAN, message)) is not None:
        prompt = fewer + 1
    if answer is not None and (prompt is None or prompt < limit):
        # vLLM 0.32 refuses an answer longer than the context before it counts the prompt (wire/vllm/err_max_tokens).
        return f"input length and `max_tokens` exceed context limit: {prompt or 0} + {answer} > {limit}"
    return "" if prompt is None else f"prompt is too long: {prompt} tokens > {limit} maximum"


def _number(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    return None if found is None else int(next(filter(None, found.groups())))
