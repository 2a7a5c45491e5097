"""A proxy's configuration → what its ``model_info`` states of a model, for ``check --config``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from litellm_sagemaker_openai.capabilities import Fact, Facts
from litellm_sagemaker_openai.target import Target, parse_target
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_VARIABLE = "os.environ/"  # LiteLLM's way to name a variable of the environment


def stated_in(configuration: Any, target: Target, environ: Mapping[str, str]) -> Facts | None:
    """The ``model_info`` of the deployments of a model; None where there is none. A later one has the last word.

    Args:
        configuration: of a proxy, as it was read.
        target: the model.
        environ: where ``os.environ/NAME`` is looked up.
    """
    found: dict[str, Fact] | None = None
    for entry in _entries(configuration):
        if _target(entry.get("litellm_params"), environ) == Target(target.endpoint, target.component):
            said, source = entry.get("model_info"), f"model_info of {entry.get('model_name')}"
            facts = said.items() if isinstance(said, Mapping) else ()
            # LiteLLM takes null for what is not stated.
            found = {**(found or {}), **{str(name): Fact(value, source) for name, value in facts if value is not None}}
    return found


def _entries(configuration: Any) -> Iterator[Mapping[str, Any]]:
    entries = configuration.get("model_list") if isinstance(configuration, Mapping) else None
    return (each for each in (entries if isinstance(entries, list) else ()) if isinstance(each, Mapping))


def _target(parameters: Any, environ: Mapping[str, str]) -> Target | None:
    """What a deployment calls; None for another provider's."""
    named = parameters if isinstance(parameters, Mapping) else {}
    model, model_id = (_value(named.get(name), environ) for name in ("model", "model_id"))
    prefix = "" if named.get("custom_llm_provider") == PROVIDER else f"{PROVIDER}/"
    if not model.startswith(prefix):
        return None
    try:
        target = parse_target(model.removeprefix(f"{PROVIDER}/"), model_id or None)
    except ValueError:  # a wildcard, or what the proxy itself refuses
        return None
    return Target(target.endpoint, target.component)


def _value(value: Any, environ: Mapping[str, str]) -> str:
    text = value if isinstance(value, str) else ""
    return environ.get(text.removeprefix(_VARIABLE), "") if text.startswith(_VARIABLE) else text
