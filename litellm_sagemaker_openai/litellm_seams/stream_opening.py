"""Opens asynchronous streams where LiteLLM can still retry them, and go to another deployment.

What LiteLLM does: it asks a custom provider for an asynchronous stream in a worker thread that cannot wait, so the
connection would open with the caller's first read: too late for the Router, which tries such a stream once. A whole
answer is awaited. So a callback of LiteLLM's own kind, run once the deployment is chosen, asks for a stream as for a
whole answer, and the handler's ``acompletion`` returns one that has begun: LiteLLM takes that as it takes the streams
of its own interceptors (``_is_converted_stream_result``). Errors before the first chunk are then raised by
``acompletion()``, as for LiteLLM's native providers.
Seen on: LiteLLM 1.106.2.
Without it: the stream opens with the caller's first read, and this provider retries it by itself.
Needed until: test_litellm_alone_does_not in tests/sending/test_failover.py fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.types.utils import CallTypes

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.router_records import is_routed
from litellm_sagemaker_openai.upstream_errors import PROVIDER

# LiteLLM 1.110.2 has it, and chooses a stream's timeout there, after this callback; earlier ones have chosen before it.
# tests/operating/test_limits.py::test_stream_timeout_is_for_streams_alone shows either.
_COMPLETION_TIMEOUT = "litellm.litellm_core_utils.completion_timeout"
STREAM_FLAG = "sagemaker_openai_stream"
OURS = "_of_sagemaker_openai"  # what `text_completions` puts on a function of its own in the place of LiteLLM's

_OPENED = (CallTypes.acompletion, CallTypes.atext_completion)

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
)


class _StreamRequested(str):
    """What the flag holds: a stream is asked for, and tried again so often. A caller's text never is one."""

    retries: int | None = None


class StreamOpening(CustomLogger):
    """Flags this provider's streamed calls."""

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: CallTypes | None
    ) -> dict[str, Any] | None:
        """The call with the flag in place of ``stream``, or None to leave it as it is."""
        if call_type not in _OPENED or not _applies(kwargs) or not _is_last(self):
            return None
        if call_type is CallTypes.atext_completion and not text_streams_are_known():
            return None
        asked = _StreamRequested("stream")
        changed = {**{name: value for name, value in kwargs.items() if name != "stream"}, STREAM_FLAG: asked}
        if kwargs.get("stream_timeout") is not None and lookup.in_module(_COMPLETION_TIMEOUT, "StreamKind") is not None:
            changed["timeout"] = kwargs["stream_timeout"]  # LiteLLM chooses later, by `stream`
        retries = _retries_without_router(kwargs)
        if retries is None:
            return changed
        asked.retries = retries
        return {**changed, "num_retries": 0}


stream_opening = StreamOpening()


def install() -> None:
    """Make the callback LiteLLM's last, where the others have seen ``stream`` before it is replaced. Idempotent."""
    if not litellm.callbacks or litellm.callbacks[-1] is not stream_opening:
        # A new list: LiteLLM may be going through the old one.
        litellm.callbacks = [*(each for each in litellm.callbacks if each is not stream_opening), stream_opening]


def is_flagged(optional_params: Mapping[str, Any]) -> bool:
    """Whether LiteLLM's call carries the flag."""
    return isinstance(optional_params.get(STREAM_FLAG), _StreamRequested)


def flagged_retries(optional_params: Mapping[str, Any]) -> int | None:
    """How often the flag says that the stream is tried again; None: it says nothing."""
    return getattr(optional_params.get(STREAM_FLAG), "retries", None)


def without_flag(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as they were before: with ``stream``, as callbacks know it, and without the flag."""
    return {**{name: value for name, value in parameters.items() if name != STREAM_FLAG}, "stream": True}


def text_streams_are_known() -> bool:
    """Whether LiteLLM takes a stream of a text completion for one where it asked for a whole answer: of itself it does
    not, and ``text_completions`` sees to it."""
    return getattr(lookup.in_loaded("litellm.utils", "_is_converted_stream_result"), OURS, False)


def _applies(kwargs: Mapping[str, Any]) -> bool:
    if lookup.in_module("litellm.utils", "_is_converted_stream_result") is None:
        return False  # LiteLLM takes no stream for a whole answer
    # A cache would answer a call without `stream` with a whole answer.
    if kwargs.get("stream") is not True or litellm.cache is not None or litellm.model_fallbacks:
        return False
    if any(kwargs.get(name) for name in _ANSWERED_ELSEWHERE) or _has_mcp_tools(kwargs.get("tools")):
        return False
    return goes_to_this_provider(kwargs)


def _retries_without_router(kwargs: Mapping[str, Any]) -> int | None:
    """LiteLLM's ``num_retries``, so that this provider retries in its stead; None where a Router does, or nobody.

    LiteLLM would do so at once, without a pause (``acompletion_with_retries``, 1.106.2), and as often again. An
    asynchronous inference is LiteLLM's to retry: this provider queues none twice.
    """
    if any(kwargs.get(name) for name in ("retry_policy", "aws_sagemaker_async")):
        return None
    if is_routed(kwargs):
        return None
    retries = kwargs.get("num_retries")
    return litellm.num_retries if retries is None else retries


def goes_to_this_provider(kwargs: Mapping[str, Any]) -> bool:
    """Whether LiteLLM will ask this provider, by LiteLLM's own rules: aliases, ``use_litellm_proxy``, the keyword."""
    model = str(
        kwargs.get("model") or lookup.attribute(kwargs.get("litellm_logging_obj"), "model")
    )  # given by position
    named, aliases = kwargs.get("custom_llm_provider"), (litellm.model_alias_map, kwargs.get("model_alias_map") or {})
    if named not in (None, PROVIDER) or (named is None and not model.startswith(f"{PROVIDER}/")):
        return False
    if any(model in alias for alias in aliases) or kwargs.get("use_litellm_proxy"):
        return False
    _, provider, _, _ = litellm.get_llm_provider(
        model=model, custom_llm_provider=named, api_base=kwargs.get("api_base") or kwargs.get("base_url")
    )
    return bool(provider == PROVIDER)


def _is_last(own: StreamOpening) -> bool:
    """Whether no callback that may still look at ``stream``, or change it, comes later."""
    later = litellm.callbacks[litellm.callbacks.index(own) + 1 :] if own in litellm.callbacks else []
    untouched = CustomLogger.async_pre_call_deployment_hook
    return all(getattr(type(each), "async_pre_call_deployment_hook", untouched) is untouched for each in later)


def _has_mcp_tools(tools: Any) -> bool:
    return any(isinstance(tool, Mapping) and tool.get("type") == "mcp" for tool in tools or [])
