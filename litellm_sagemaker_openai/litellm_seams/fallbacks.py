"""An optional callback that keeps a caller's own mistake out of LiteLLM's ``fallbacks``.

What LiteLLM does: its Router runs ``fallbacks`` for every exception, whoever the provider is, and lets neither an
exception nor its provider say otherwise (``async_function_with_fallbacks_common_utils`` in router.py). But before each
try it asks its callbacks which deployments may take the request (``async_filter_deployments``), and the request's
metadata says how the tries before it failed (``previous_models``, ``fallback_depth``).
Seen on: LiteLLM 1.106.2; on 1.110.2 callbacks get no ``fallback_depth``.
Without them: fallbacks run for every exception.
Needed until: an exception can say so. tests/operating/test_fallbacks.py shows what it does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from litellm_sagemaker_openai.upstream_errors import PROVIDER

# What `errors.to_exception` says of 400 and 422, behind LiteLLM's name for the exception. Not 413: what is too large
# here may fit elsewhere. A prompt that is too long is a ContextWindowExceededError.
_MISTAKE = re.compile(
    r"litellm\.(BadRequestError|UnprocessableEntityError): (SageMaker|the container) answered (400|422): "
)


class NoFallbackOnBadRequest(CustomLogger):
    """Refuses fallbacks of a request that SageMaker, or the container, answered with 400 or 422.

    The caller gets that answer. ``context_window_fallbacks``, and fallbacks of other failures and of other providers,
    stay as they are. LiteLLM does not ask its callbacks in ``Router.completion``, nor where a fallback names a
    deployment's id instead of a model group: there it runs.
    """

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[Any],
        messages: list[Any] | None,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[Any, Any]]:
        """The deployments as they are.

        Raises:
            litellm.BadRequestError: this is a fallback of a request that was refused. LiteLLM logs it, as it logs
                what a fallback ends with, and raises the refusal itself.
        """
        if was_refused(request_kwargs or {}, model):
            raise litellm.BadRequestError(f"{model} was not asked: the request itself was refused", model, PROVIDER)
        return healthy_deployments


no_fallback_on_bad_request = NoFallbackOnBadRequest()


def was_refused(request: Mapping[str, Any], model: str) -> bool:
    """Whether a Router's request is a fallback, and a try before it ended in the caller's own mistake.

    Args:
        request: the Router's keywords.
        model: the model group that is asked now.
    """
    metadata = request.get("litellm_metadata" if "litellm_metadata" in request else "metadata")  # as Router.log_retry
    metadata = metadata or {}
    # LiteLLM 1.110.2 gives callbacks no depth: there the metadata still names the group that was asked first. An
    # alias's metadata names the alias, so that a fallback behind one cannot be told from a retry, and runs.
    first = metadata.get("model_group", model)
    is_fallback = request.get("fallback_depth") or (first != model and not metadata.get("model_group_alias"))
    return bool(is_fallback) and any(map(_is_mistake, metadata.get("previous_models") or ()))


def _is_mistake(attempt: Any) -> bool:
    """Of one of LiteLLM's records (litellm.types.router.RetryAttemptRecord); a caller may have sent others."""
    return isinstance(attempt, Mapping) and _MISTAKE.match(str(attempt.get("exception_string"))) is not None
