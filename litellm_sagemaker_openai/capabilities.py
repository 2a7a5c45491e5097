"""What a model can do, in LiteLLM's names for it: what may be stated, and where each value comes from. Pure.

``register(models={...})`` states it, ``describe`` reads it from what is deployed, ``check --probe`` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Value: TypeAlias = "bool | int | float | str | list[str]"


@dataclass(frozen=True, slots=True)
class Fact:
    """A value, and what tells it.

    Attributes:
        value: such as ``True`` or ``32768``.
        source: such as ``SM_VLLM_MAX_MODEL_LEN=32768``. No secrets, and one line.
    """

    value: Value
    source: str


# LiteLLM's names (litellm.types.utils.ModelInfo) → facts. What is not known is not there.
Facts: TypeAlias = Mapping[str, Fact]


def values_of(facts: Facts) -> dict[str, Any]:
    """The facts as LiteLLM's ``model_info``."""
    return {name: fact.value for name, fact in facts.items()}
