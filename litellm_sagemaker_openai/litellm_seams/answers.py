"""LiteLLM's responses, made of OpenAI's JSON by LiteLLM's own converters.

What LiteLLM does: ``convert_to_model_response_object`` makes the responses of its native providers;
``extract_reasoning_content`` tells a model's reasoning from its text, also between <think> tags;
``process_response_headers`` names a provider's headers as the proxy passes them on.
Seen on: LiteLLM 1.106.2; 1.105 has ``_extract_reasoning_content``.
Without them: LiteLLM's types make the response, a text stays as it is, and the headers are named here.
Needed until: LiteLLM documents a converter. tests/formats/test_stream_fidelity.py and tests/formats/test_chunks.py show
what comes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litellm import EmbeddingResponse, ModelResponse, TextCompletionResponse

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_PROMPTS = "litellm.litellm_core_utils.prompt_templates.common_utils"
_TEXTS = ("content", "reasoning", "reasoning_content")
_OF_A_MESSAGE = ("role", "tool_calls", "function_call", "audio", "annotations", "images")
_OF_A_CHOICE = ("index", "message", "finish_reason", "logprobs")
_OPENAI_HEADERS = "x-ratelimit-"  # what LiteLLM passes on under its own name as well (litellm.types.utils, 1.106.2)


def chat_response(answer: Mapping[str, Any], response: ModelResponse, headers: Mapping[str, str]) -> ModelResponse:
    """A container's chat completion as LiteLLM's response.

    Args:
        answer: OpenAI's JSON.
        response: LiteLLM's, to fill in.
        headers: the answer's.

    Raises:
        Exception: it is not a chat completion. LiteLLM raises just that, with a traceback in its text.
    """
    convert = lookup.in_module("litellm.utils", "convert_to_model_response_object")
    if convert is not None:
        converted: ModelResponse = convert(
            response_object=dict(answer), model_response_object=response, _response_headers=dict(headers)
        )
        return converted
    plain = {name: value for name, value in answer.items() if name != "usage" or value is not None}
    if not isinstance(plain.get("created"), int):
        plain.pop("created", None)  # LiteLLM makes one up
    made = ModelResponse(**{**plain, "choices": [_as_litellms(choice) for choice in answer["choices"]]})
    made._hidden_params.update({**response._hidden_params, "additional_headers": named_headers(headers)})
    return made


def embedding_response(
    answer: Mapping[str, Any], response: EmbeddingResponse, headers: Mapping[str, str]
) -> EmbeddingResponse:
    """OpenAI's embeddings as LiteLLM's response. Arguments are those of ``chat_response``."""
    convert = lookup.in_module("litellm.utils", "convert_to_model_response_object")
    if convert is not None:
        converted: EmbeddingResponse = convert(
            response_object=dict(answer),
            model_response_object=response,
            response_type="embedding",
            _response_headers=dict(headers),
        )
        return converted
    made = EmbeddingResponse(**answer)
    made._hidden_params.update({**response._hidden_params, "additional_headers": named_headers(headers)})
    return made


def text_completion_response(answer: Mapping[str, Any], headers: Mapping[str, str]) -> TextCompletionResponse:
    """A container's text completion as LiteLLM's response, which needs no converter. Arguments are those of
    ``chat_response``.

    Raises:
        TypeError, ValueError, KeyError: it is not a text completion.
    """
    made: Any = TextCompletionResponse(**answer)
    if not answer.get("usage"):
        made.usage = None  # LiteLLM's would be one of zeros
    made._hidden_params = {"additional_headers": named_headers(headers), "custom_llm_provider": PROVIDER}
    response: TextCompletionResponse = made
    return response


def reasoning_and_content(message: Mapping[str, Any]) -> tuple[Any, Any]:
    """A message's reasoning and its text, by LiteLLM's rule for whole answers; None for what it does not have."""
    extract = lookup.in_module(_PROMPTS, "extract_reasoning_content", "_extract_reasoning_content")
    if extract is not None:
        reasoning, content = extract(message)
        return reasoning, content
    reasoning = message.get("reasoning_content")
    return message.get("reasoning") if reasoning is None else reasoning, message.get("content")


def named_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """A container's headers as LiteLLM names a provider's."""
    process = lookup.in_module("litellm.litellm_core_utils.core_helpers", "process_response_headers")
    if process is not None:
        named: dict[str, Any] = process(headers)
        return named
    openai = {name: value for name, value in headers.items() if name.lower().startswith(_OPENAI_HEADERS)}
    return {**{f"llm_provider-{name}": value for name, value in headers.items()}, **openai}


def _as_litellms(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A choice as LiteLLM's converter has it: reasoning by one name, the rest among the provider's own fields."""
    message = choice["message"]
    reasoning, content = reasoning_and_content(message)
    known = {name: value for name, value in message.items() if name in _OF_A_MESSAGE}
    extra = {name: value for name, value in message.items() if name not in (*_OF_A_MESSAGE, *_TEXTS)}
    made = {**known, "content": content, "provider_specific_fields": extra}
    if reasoning is not None:
        made["reasoning_content"] = reasoning
    finish_reason = choice.get("finish_reason") or "stop"
    if finish_reason == "stop" and message.get("tool_calls"):
        finish_reason = "tool_calls"
    others = {name: value for name, value in choice.items() if name not in _OF_A_CHOICE}
    own = {name: choice[name] for name in ("index", "logprobs") if name in choice}
    return {**own, "message": made, "finish_reason": finish_reason, "provider_specific_fields": others}
