"""What a proxy's configuration says of a model. Pure."""

from __future__ import annotations

import json

from litellm_sagemaker_openai.capabilities import Facts, Value

_MODES = ("chat", "embedding")


def model_info_lines(facts: Facts, indent: int) -> str:
    """The lines of ``model_info:``, each with its source as a comment; empty where nothing is known.

    Args:
        facts: LiteLLM's names → what is known.
        indent: how many blanks stand before ``model_info:``.
    """
    if not facts:
        return ""
    margin = " " * indent
    lines = [f"{margin}  {name}: {_as_yaml(fact.value)} # {fact.source}" for name, fact in facts.items()]
    return "\n".join([f"{margin}model_info:", *lines])


def _as_yaml(value: Value) -> str:
    """JSON is YAML; a mode is a word that YAML takes for nothing else."""
    return str(value) if value in _MODES else json.dumps(value)
