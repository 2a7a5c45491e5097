"""Tells LiteLLM what a model can do.

What LiteLLM does: ``litellm.register_model`` takes an entry of its list of models. Where the entry of
``sagemaker_openai/<model>`` does not say whether the model can do something, LiteLLM takes the answer of ``<model>``'s:
an endpoint named like a model that LiteLLM knows, such as ``gpt-4o``, can do what that one can. It also writes into the
entry what its rules say of names with ``claude-``, ``gpt-5`` or ``gemini-`` anywhere in them. The names that an entry
may have are the keys of ``litellm.types.utils.ModelInfo``, and what the list has besides. Where the list is loaded
anew, 1.103 keeps what the last call of ``register_model`` said of a model, and nothing that others said before.
Seen on: LiteLLM 1.103.0, 1.106.2, 1.110.2.
Without them: only the names in LiteLLM's list are taken, and what its rules for names say is claimed.
Needed until: LiteLLM documents the names. tests/test_register_models.py shows who is told.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import litellm

from litellm_sagemaker_openai.capabilities import entry_for
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_PREFIX = f"{PROVIDER}/"
_stated: dict[str, dict[str, Any]] = {}  # by all calls of register, since a later one adds to it
_lock = threading.Lock()


def register_models(models: Mapping[str, Mapping[str, Any]]) -> None:
    """Tell LiteLLM what models can do, with what was stated of them before; all of them, or none where one is wrong.

    Raises:
        ValueError: as for ``capabilities.entry_for``, or no dictionary where one is needed.
    """
    with _lock:
        _register(_checked(models))


def _register(models: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    names = names_of_model_info()
    stated: dict[str, dict[str, Any]] = {}
    entries: dict[str, dict[str, Any]] = {}
    guessed: list[tuple[str, str]] = []
    for model, given in models:
        name = model.removeprefix(_PREFIX)
        key = f"{_PREFIX}{name}"
        stated[key] = {**(stated.get(key) or _stated.get(key) or {}), **given}
        entry = entry_for(model, stated[key], names)
        claims = {each: value for each, value in _claimed_by_name(name).items() if each not in entry}
        entries[key] = {**entry, **{each: False for each in claims if each.startswith(("supports_", "thinking_"))}}
        if key not in litellm.model_cost:
            guessed += [(key, each) for each in claims if each.startswith("max_")]
    litellm.register_model(entries)
    _stated.update(stated)
    for key, name in guessed:  # a limit cannot be denied, as what is supported can
        litellm.model_cost[key].pop(name, None)


def _checked(models: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    form = 'write {"my-endpoint": {"supports_function_calling": True}}'
    if not isinstance(models, Mapping):
        raise ValueError(f"models is {models!r:.100}; {form}")
    for model, given in models.items():
        if not isinstance(model, str) or not isinstance(given, Mapping):
            raise ValueError(f"models[{model!r:.100}] is {given!r:.100}; {form}")
    return models.items()


def names_of_model_info() -> frozenset[str]:
    """The names that LiteLLM has for what a model can do and costs."""
    model_info = lookup.in_module("litellm.types.utils", "ModelInfo")
    annotated: set[str] = {name for each in getattr(model_info, "__mro__", ()) for name in _annotations(each)}
    listed = {name for _, entry in _listed() for name in list(entry)}
    return frozenset(annotated | listed) - {"key"}


def _annotations(of: Any) -> Mapping[str, Any]:
    return getattr(of, "__annotations__", {})


def _claimed_by_name(model: str) -> Mapping[str, Any]:
    """What LiteLLM takes a model for by its name alone: by its rules, and by its own entry of that name, whatever its
    case."""
    rules = lookup.in_module("litellm.litellm_core_utils.fallback_generalizations", "match_capability_generalizations")
    wanted = model.lower()
    known = (entry for key, entry in _listed() if key.lower() == wanted)
    supported = {name: value for name, value in next(known, {}).items() if name.startswith("supports_")}
    return {**((rules and rules(f"{_PREFIX}{model}")) or {}), **supported}


def _listed() -> list[tuple[str, Mapping[str, Any]]]:
    """LiteLLM's list of models; a copy, since another thread may add to it."""
    return list(litellm.model_cost.items())
