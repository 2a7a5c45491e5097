"""Opens asynchronous streams where LiteLLM can still retry them, and go to another deployment.

LiteLLM asks a custom provider for an asynchronous stream in a worker thread that cannot wait, so the connection
would open with the caller's first read: too late for the Router, which tries such a stream once (measured on
1.106.2). A whole answer is awaited. So a callback of LiteLLM's own kind, run once the deployment is chosen, asks for
a stream as for a whole answer, and the handler's ``acompletion`` returns one that has begun: LiteLLM takes that as
it takes the streams of its own interceptors (``_is_converted_stream_result``). Errors before the first chunk are
then raised by ``acompletion()``, as for LiteLLM's native providers. tests/test_failover.py shows both.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.types.utils import CallTypes

from litellm_sagemaker_openai.errors import PROVIDER

MARK = "sagemaker_openai_stream"

# What makes LiteLLM answer a call without asking the handler, or ask another model with the same keywords: there
# `stream` must stay as it is.
_ANSWERED_ELSEWHERE = (
    "mock_response",
    "mock_tool_calls",
    "mock_timeout",
    "fallbacks",
    "context_window_fallback_dict",
    "complete_response",
    "prompt_id",
    "use_litellm_proxy",
)


class _Asked(str, enum.Enum):
    """What the mark holds. A caller who sends the same text does not have it: it is told by identity."""

    STREAM = "stream"


class StreamOpening(CustomLogger):
    """Marks this provider's streamed calls."""

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: CallTypes | None
    ) -> dict[str, Any] | None:
        """The call with the mark in place of ``stream``, or None to leave it as it is."""
        if call_type is not CallTypes.acompletion or not _applies(kwargs):
            return None
        return {**{name: value for name, value in kwargs.items() if name != "stream"}, MARK: _Asked.STREAM}


stream_opening = StreamOpening()


def install() -> None:
    """Add the callback to LiteLLM's. Idempotent."""
    if not any(callback is stream_opening for callback in litellm.callbacks):
        litellm.callbacks.append(stream_opening)


def is_marked(optional_params: Mapping[str, Any]) -> bool:
    """Whether LiteLLM's call carries the mark."""
    return optional_params.get(MARK) is _Asked.STREAM


def _applies(kwargs: Mapping[str, Any]) -> bool:
    if kwargs.get("stream") is not True:
        return False
    model = kwargs.get("model") or getattr(kwargs.get("litellm_logging_obj"), "model", "")  # given by position
    ours = kwargs.get("custom_llm_provider") == PROVIDER or str(model).startswith(f"{PROVIDER}/")
    # A cache would answer a call without `stream` with a whole answer.
    if not ours or litellm.cache is not None or litellm.model_fallbacks:
        return False
    return not any(kwargs.get(name) for name in _ANSWERED_ELSEWHERE) and not _has_mcp_tools(kwargs.get("tools"))


def _has_mcp_tools(tools: Any) -> bool:
    return any(isinstance(tool, Mapping) and tool.get("type") == "mcp" for tool in tools or [])
