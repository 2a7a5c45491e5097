"""What LiteLLM does with a custom provider that knows none of the workarounds in ``litellm_seams/``.

Where one of these fails, LiteLLM has changed, and the file that its docstring names may go, or a part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import litellm
import pytest
from litellm import CustomLLM, EmbeddingResponse, ModelResponse
from litellm.types.utils import ModelResponseStream

from tests.conftest import MESSAGES, litellm_is_before

HEADERS = {"x-mine": "1"}


class Plain(CustomLLM):
    """A provider as LiteLLM's documentation shows one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def completion(self, *_: Any, **call: Any) -> ModelResponse:
        if call["model"] == "refused":
            answer = httpx.Response(429, headers=HEADERS, request=httpx.Request("POST", "https://x"))
            raise litellm.RateLimitError("slow down", "plain", "refused", response=answer)
        made: ModelResponse = call["model_response"]
        return made

    async def aembedding(self, *_: Any, **call: Any) -> EmbeddingResponse:
        self.seen.append(call)
        return EmbeddingResponse(data=[{"object": "embedding", "index": 0, "embedding": [1.0]}])


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plain]:
    handler = Plain()
    providers = [*litellm.custom_provider_map, {"provider": "plain", "custom_handler": handler}]
    monkeypatch.setattr(litellm, "custom_provider_map", providers)
    yield handler
    for names in (litellm.provider_list, litellm._custom_providers):
        if "plain" in names:
            names.remove("plain")


@pytest.mark.parametrize("parameter", [{"dimensions": 2}, {"encoding_format": "float"}, {"user": "me"}], ids=str)
async def test_refuses_the_parameters_of_an_embedding(plain: Plain, parameter: dict[str, Any]) -> None:
    """``embedding_parameters.py``"""
    with pytest.raises(litellm.UnsupportedParamsError):
        await litellm.aembedding("plain/m", ["a"], **parameter)


async def test_hands_no_headers_of_an_embedding_on(plain: Plain) -> None:
    """``embedding_parameters.py``"""
    await litellm.aembedding("plain/m", ["a"], extra_headers=HEADERS)
    assert "x-mine" not in str(plain.seen[0].get("headers")) + str(plain.seen[0].get("optional_params"))


@pytest.mark.parametrize("prompt", [[1, 2], [[1], [2]]], ids=str)
def test_refuses_token_ids(plain: Plain, prompt: Any) -> None:
    """``text_completions.py``"""
    with pytest.raises(Exception, match="Unmapped prompt format"):
        litellm.text_completion(prompt, "plain/m")


def test_loses_what_text_completions_say(plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    """``text_completions.py``"""
    choices: Any = [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}, "logprobs": {}}]

    def streaming(*_: Any, **call: Any) -> Iterator[ModelResponseStream]:
        yield ModelResponseStream(id="1", created=1, model="m", choices=choices)

    monkeypatch.setattr(plain, "streaming", streaming)
    first = next(iter(litellm.text_completion("Hi", "plain/m", stream=True)))
    assert [choice.text for choice in first.choices] == ["a"]
    # Of 1.110.2 a chunk has none; earlier, one of zeros.
    assert first.usage is None or (litellm_is_before("1.110.2") and first.usage.total_tokens == 0)
    is_stream: Any = litellm.utils._is_converted_stream_result
    assert not is_stream.__wrapped__(litellm.TextCompletionStreamWrapper(None, "m"))


async def test_refuses_to_rerank(plain: Plain) -> None:
    """``rerank_calls.py``"""
    with pytest.raises(Exception, match="'plain' is not a valid LlmProviders"):
        await litellm.arerank(model="plain/m", query="q", documents=["a"])


def test_does_not_time_the_provider(plain: Plain) -> None:
    """``timing.py``"""
    response: Any = litellm.completion("plain/m", MESSAGES)
    assert "litellm_overhead_time_ms" not in response._hidden_params


def test_shows_callbacks_the_credentials(plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    """``callback_view.py``: what its own log would show once the handler calls ``pre_call``."""
    shown: list[Any] = []

    def completion(*_: Any, **call: Any) -> ModelResponse:
        call["logging_obj"].pre_call(input=call["messages"], api_key="", additional_args={})
        shown.append(call["logging_obj"].model_call_details)
        response: ModelResponse = call["model_response"]
        return response

    monkeypatch.setattr(plain, "completion", completion)
    litellm.completion("plain/m", MESSAGES, aws_secret_access_key="SECRET")
    assert "SECRET" in str(shown)


def test_takes_no_headers_from_an_exceptions_response(plain: Plain) -> None:
    """``exceptions.py``"""
    with pytest.raises(litellm.RateLimitError) as raised:
        litellm.completion("plain/refused", MESSAGES)
    assert not getattr(raised.value, "litellm_response_headers", None)
