"""The containers' words for what does not fit into their context, in the words that coding agents know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from litellm_sagemaker_openai.context_limit import does_not_fit, in_agents_words

WIRE = Path(__file__).parent / "wire"


def recorded(name: str) -> str:
    *_, body = (WIRE / name).read_text().partition("\n\n")
    return str(json.loads(body)["error"]["message"])


TOO_LONG = {
    recorded("vllm/err_context.http"): (4097, 4096),
    recorded("vllm/err_context_stream.http"): (4097, 4096),
    recorded("vllm/invocations_completion_err_context.http"): (4097, 4096),
    recorded("llama.cpp/err_context.http"): (9009, 2048),
    "This model's maximum context length is 8192 tokens. However, you requested 9101 tokens (9001 in the messages, 100 "
    "in the completion). Please reduce the length of the messages or completion.": (9001, 8192),
    "The decoder prompt (length 21535) is longer than the maximum model length of 16384.": (21535, 16384),
    "You passed 9001 input tokens and requested 100 output tokens. However, the model's context length is only 8192 "
    "tokens. Please reduce the length of the input prompt": (9001, 8192),
    "The input (61709 tokens) is longer than the model's context length (40960 tokens).": (61709, 40960),
    "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of 9101 "
    "tokens: 9001 tokens from the input messages and 100 tokens for the completion.": (9001, 8192),
    "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).": (160062, 59862),
    "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000": (2000, 1024),
    "The sum of prompt length (72417.0), query length (0) should not exceed max_num_tokens (69632)": (72417, 69632),
    "`default_max_tokens` (-152) must be greater than 0, `default_max_tokens` (-152) = max_seq_len (8192) - "
    "`splited_prompt_len` (8344) - `query_token_len` (0)": (8344, 8192),
    "Prompt length (9001) exceeds maximum input length (8192). Set log level to info and check TRTLLM logs for how "
    "maximum input length is set": (9001, 8192),
}
ANSWER_TOO_LONG = {
    recorded("vllm/err_max_tokens.http"): (0, 10000000, 4096),
    "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum context length is 8192 tokens "
    "and your request has 5000 input tokens (4000 > 8192 - 5000).": (5000, 4000, 8192),
    "This model's maximum context length is 8192 tokens. However, you requested 4000 output tokens and your prompt "
    "contains at least 5000 input tokens, for a total of at least 9000 tokens.": (5000, 4000, 8192),
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (5000 in the messages, "
    "4000 in the completion). Please reduce the length of the messages or completion.": (5000, 4000, 8192),
    "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of 9000 "
    "tokens: 5000 tokens from the input messages and 4000 tokens for the completion.": (5000, 4000, 8192),
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 200 "
    "`max_new_tokens`": (4000, 200, 4096),
    "The sum of prompt length (4000) and query length (0) max_tokens (2048) should not exceed max_seq_len (4096)": (
        4000,
        2048,
        4096,
    ),
    # Where the characters alone are too many, vLLM counts no tokens: there are more than so many.
    "This model's maximum context length is 60000 tokens. However, you requested 15000 output tokens and your prompt "
    "contains 400000 characters (more than 180000 characters, which is the upper bound for 45000 input tokens). Please "
    "reduce the length of the input prompt or the number of requested output tokens. (parameter=input_text, "
    "value=400000)": (45001, 15000, 60000),
    "You passed 400000 input characters and requested 15000 output tokens. However, the model's context length is only "
    "60000 tokens, resulting in a maximum input length of 45000 tokens (at most 180000 characters). Please reduce the "
    "length of the input prompt. (parameter=input_text, value=400000)": (45001, 15000, 60000),
}


@pytest.mark.parametrize("said", TOO_LONG)
def test_a_prompt_that_is_too_long(said: str) -> None:
    prompt, limit = TOO_LONG[said]
    assert does_not_fit(said)
    assert in_agents_words(said) == f"prompt is too long: {prompt} tokens > {limit} maximum"


@pytest.mark.parametrize("said", ANSWER_TOO_LONG)
def test_an_answer_that_would_be_too_long(said: str) -> None:
    prompt, answer, limit = ANSWER_TOO_LONG[said]
    words = f"input length and `max_tokens` exceed context limit: {prompt} + {answer} > {limit}"
    assert in_agents_words(said) == words


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is exceeded.",
        "Requested token count exceeds the model's maximum context length of 8192 tokens.",
        "top_k must be less than 5000, got 6000",
        "max_tokens=-1 must be at least 1",
        "9000 input tokens",
        "Input validation error: `best_of` must be <= 4. Given: 8",
        "Input validation error: `max_new_tokens` must be <= 512. Given: 1000",
        "Input validation error: `truncate` must have less than 1024 tokens. Given: 2000",
        "",
    ],
)
def test_without_the_numbers_nothing_is_made_up(said: str) -> None:
    assert in_agents_words(said) == ""


@pytest.mark.parametrize("piece", ["1", "1 ", "context length is ", "(length 1", "Given: 1 `inputs` tokens and "])
def test_what_a_container_repeats_is_read_in_linear_time(piece: str) -> None:
    assert in_agents_words(piece * (2_000_000 // len(piece))) == ""
