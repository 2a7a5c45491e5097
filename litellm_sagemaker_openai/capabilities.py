"""What a model can do, in LiteLLM's names for it: what may be stated, and where each value comes from. Pure.

``register(models={...})`` states it, ``describe`` reads it from what is deployed, ``check --probe`` measures it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from litellm_sagemaker_openai.target import parse_target
from litellm_sagemaker_openai.upstream_errors import PROVIDER

Value: TypeAlias = "bool | int | float | str | list[str]"

_MODES = ("chat", "embedding")  # what this provider serves
_LONGEST_SOURCE = 200


@dataclass(frozen=True, slots=True)
class Fact:
    """A value, and what tells it.

    Attributes:
        value: such as ``True`` or ``32768``.
        source: such as ``SM_VLLM_MAX_MODEL_LEN=32768``. No secrets. It is made one short line of printable characters,
            as it is shown in terminals and in comments.
    """

    value: Value
    source: str

    def __post_init__(self) -> None:
        line = "".join(each for each in " ".join(self.source.split()) if each.isprintable())
        object.__setattr__(self, "source", line if len(line) <= _LONGEST_SOURCE else f"{line[:_LONGEST_SOURCE]}…")


# LiteLLM's names (litellm.types.utils.ModelInfo) → facts. What is not known is not there.
Facts: TypeAlias = Mapping[str, Fact]


def values_of(facts: Facts) -> dict[str, Any]:
    """The facts as LiteLLM's ``model_info``."""
    return {name: fact.value for name, fact in facts.items()}


def entry_for(model: str, stated: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """What LiteLLM is told of a model: what is stated, and what follows from it.

    ``mode`` is ``chat`` where it is not stated, and ``max_tokens`` LiteLLM's older name for ``max_output_tokens``; the
    context is neither, for clients ask for so long an answer. Tokens from the container's prefix cache cost what
    others do: LiteLLM counts the same where no price is stated for them, and warns (1.106.2).

    Args:
        model: as LiteLLM takes it, with or without ``sagemaker_openai/``.
        stated: LiteLLM's names → values, or ``Fact``s.
        names: the names that LiteLLM knows; none: any name is taken.

    Raises:
        ValueError: not a model, an unknown name, or a value that the name cannot have.
    """
    stated = {name: value.value if isinstance(value, Fact) else value for name, value in stated.items()}
    try:
        parse_target(model.removeprefix(f"{PROVIDER}/"))
        for name, value in stated.items():
            _check_name(name, names)
            _check_value(name, value)
    except ValueError as error:
        raise ValueError(f"models[{model!r}]: {error}") from error
    entry: dict[str, Any] = {"litellm_provider": PROVIDER, "mode": "chat", **stated}
    if "max_output_tokens" in stated:
        entry.setdefault("max_tokens", stated["max_output_tokens"])
    if "input_cost_per_token" in stated or "output_cost_per_token" in stated:
        for name in ("cache_creation_input_token_cost", "cache_read_input_token_cost"):
            entry.setdefault(name, stated.get("input_cost_per_token", 0.0))
    return entry


def _check_name(name: str, names: Collection[str]) -> None:
    if not names or name in names:
        return
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0)
    raise ValueError(f"{name!r} is none of LiteLLM's names for what a model can do; write {nearest[0]!r}?")


def _check_value(name: str, value: Any) -> None:
    if name == "mode":
        fits, wanted = value in _MODES, " or ".join(map(repr, _MODES))
    elif name == "litellm_provider":
        fits, wanted = value == PROVIDER, repr(PROVIDER)
    elif name.startswith("supports_"):
        fits, wanted = isinstance(value, bool), "True or False"
    elif "_cost" in name:
        fits, wanted = _is_number(value) and value >= 0, "a number of US dollars, and not below 0"
    elif name.startswith("max_") or name == "output_vector_size":
        fits, wanted = type(value) is int and value > 0, "a whole number above 0"
    else:
        return
    if not fits:
        raise ValueError(f"{name} must be {wanted}, and is {value!r:.100}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
