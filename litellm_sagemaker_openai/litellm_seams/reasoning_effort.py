"""Lets ``reasoning_effort`` through for a model of this provider's that reasons, by what LiteLLM is told of it.

What LiteLLM does: ``get_optional_params`` refuses what a provider is not known to take. For a custom provider that is
``reasoning_effort`` of each model, whatever ``supports_reasoning`` says of it, unless ``allowed_openai_params`` names
it. Here the function, where ``litellm.main`` calls it, is told the same for the models that reason.
Seen on: LiteLLM 1.103.0, 1.106.2, 1.110.2.
Without it: ``allowed_openai_params: ["reasoning_effort"]`` is needed, on the call or the deployment.
Needed until: test_litellm_alone_refuses_it in tests/test_register_models.py fails.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import litellm

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_NAME = "reasoning_effort"
_OURS = "_lets_reasoning_effort_through"


def install() -> None:
    """Let LiteLLM pass ``reasoning_effort`` on for models that reason. Idempotent."""
    main: Any = importlib.import_module("litellm.main")
    get_optional_params = lookup.attribute(main, "get_optional_params")
    if get_optional_params is None or getattr(get_optional_params, _OURS, False):
        return
    main.get_optional_params = _letting_it_through(get_optional_params)


def _letting_it_through(get_optional_params: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get_optional_params)
    def with_reasoning_effort(*args: Any, **call: Any) -> Any:
        if call.get(_NAME) is not None and call.get("custom_llm_provider") == PROVIDER and reasons(call.get("model")):
            call["allowed_openai_params"] = [*(call.get("allowed_openai_params") or ()), _NAME]
        return get_optional_params(*args, **call)

    setattr(with_reasoning_effort, _OURS, True)
    return with_reasoning_effort


def reasons(model: Any) -> bool:
    """Whether LiteLLM is told that a model of this provider's reasons: by ``register``, or a deployment's
    ``model_info``."""
    return bool((litellm.model_cost.get(f"{PROVIDER}/{model}") or {}).get("supports_reasoning"))
