"""Tells LiteLLM what a model can do.

What LiteLLM does: ``litellm.register_model`` takes an entry of its list of models. Where the entry of
``sagemaker_openai/<model>`` does not say whether the model can do something, LiteLLM takes the answer of ``<model>``'s:
an endpoint named like a model that LiteLLM knows, such as ``gpt-4o``, can do what that one can. The names that an entry
may have are the keys of ``litellm.types.utils.ModelInfo``, and what the list has besides.
Seen on: LiteLLM 1.103.0, 1.106.2, 1.110.2.
Without them: only the names in LiteLLM's list are taken.
Needed until: LiteLLM documents the names. tests/test_register_models.py shows who is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import litellm

from litellm_sagemaker_openai.capabilities import entry_for
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_PREFIX = f"{PROVIDER}/"


def register_models(models: Mapping[str, Mapping[str, Any]]) -> None:
    """Tell LiteLLM what models can do; all of them, or none where one is wrong.

    Raises:
        ValueError: as for ``capabilities.entry_for``.
    """
    names = names_of_model_info()
    entries: dict[str, dict[str, Any]] = {}
    for model, stated in models.items():
        name = model.removeprefix(_PREFIX)
        entry = entry_for(model, stated, names)
        unstated = {each for each in _known_by_name(name) if each.startswith("supports_") and each not in entry}
        entries[f"{_PREFIX}{name}"] = {**entry, **dict.fromkeys(unstated, False)}
    litellm.register_model(entries)


def names_of_model_info() -> frozenset[str]:
    """The names that LiteLLM has for what a model can do and costs."""
    model_info = lookup.in_module("litellm.types.utils", "ModelInfo")
    annotated: set[str] = {name for each in getattr(model_info, "__mro__", ()) for name in _annotations(each)}
    listed = {name for entry in litellm.model_cost.values() for name in entry}
    return frozenset(annotated | listed) - {"key"}


def _annotations(of: Any) -> Mapping[str, Any]:
    return getattr(of, "__annotations__", {})


def _known_by_name(model: str) -> Mapping[str, Any]:
    """LiteLLM's own entry of that name, whatever its case."""
    wanted = model.lower()
    return next((entry for key, entry in litellm.model_cost.items() if key.lower() == wanted), {})
