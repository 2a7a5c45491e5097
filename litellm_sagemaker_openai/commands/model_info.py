"""Facts as the lines of a proxy's ``model_info``. Pure."""

from __future__ import annotations

import json

from litellm_sagemaker_openai.capabilities import Facts


def model_info_lines(facts: Facts, indent: int) -> str:
    """The lines of ``model_info:``, each with its source as a comment; empty where nothing is known.

    Args:
        facts: LiteLLM's names → what is known.
        indent: how many blanks stand before ``model_info:``.
    """
    return f"{' ' * indent}model_info:\n{fact_lines(facts, indent + 2)}" if facts else ""


def fact_lines(facts: Facts, indent: int) -> str:
    """A line for each, with its source as a comment."""
    # JSON is YAML; a mode is a word that YAML takes for nothing else.
    values = {name: fact.value if name == "mode" else json.dumps(fact.value) for name, fact in facts.items()}
    return "\n".join(f"{' ' * indent}{name}: {values[name]} # {fact.source}" for name, fact in facts.items())
