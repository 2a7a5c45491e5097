"""LiteLLM's rules for names are searched once for a name that fits none, and what LiteLLM says of it stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils import fallback_generalizations

from litellm_sagemaker_openai.litellm_seams import lookup, name_rules

MATCH, FIND = "match_capability_generalizations", "_get_model_info_from_generalization"
ENTRY = {"litellm_provider": "sagemaker_openai", "mode": "chat", "input_cost_per_token": 1e-6}
RULE = {"pattern": "^sagemaker_openai/ruled-", "model_info": {"supports_vision": True}}


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The names that LiteLLM's rules are searched for; LiteLLM is as it is alone."""
    names: list[Any] = []

    def match(name: Any) -> Any:
        names.append(name)
        return fallback_generalizations.match_capability_generalizations(name)

    monkeypatch.setattr(litellm.utils, MATCH, match)
    monkeypatch.setattr(litellm.utils, FIND, getattr(litellm.utils, FIND).__wrapped__)
    return names


@pytest.fixture
def other_rules() -> Iterator[None]:
    before = fallback_generalizations.get_fallback_generalization_rules()
    yield
    fallback_generalizations.set_fallback_generalizations(before)


def price() -> str:
    """What LiteLLM says of the price of an answer."""
    usage = litellm.Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)
    answer = litellm.ModelResponse(model="of-no-price", usage=usage)
    with pytest.raises(Exception, match="isn't mapped") as raised:
        litellm.completion_cost(answer, model="sagemaker_openai/of-no-price")
    return str(raised.value)


def test_litellm_alone_searches_again(searched: list[Any]) -> None:
    price()
    first = len(searched)
    price()
    assert len(searched) == 2 * first > 20


def test_a_later_call_searches_no_more(searched: list[Any]) -> None:
    alone = price()
    name_rules.install()
    name_rules.install()
    searched.clear()
    assert price() == alone
    assert searched
    searched.clear()
    assert price() == alone
    assert not searched


def info(model: str) -> Any:
    """What LiteLLM's rules say of a model."""
    try:
        return litellm.get_model_info(model, custom_llm_provider="sagemaker_openai")
    except Exception as error:
        if "isn't mapped" not in str(error):
            raise
        return None


def test_what_a_rule_says(searched: list[Any]) -> None:
    alone = info("claude-opus-9")
    assert alone["supports_vision"]
    name_rules.install()
    for _ in range(2):
        assert info("claude-opus-9") == alone


def test_rules_that_are_loaded_anew_count(searched: list[Any], other_rules: None) -> None:
    name_rules.install()
    assert info("ruled-endpoint") is None
    fallback_generalizations.set_fallback_generalizations([RULE])
    litellm.utils._invalidate_model_cost_lowercase_map()
    assert info("ruled-endpoint")["supports_vision"]
    fallback_generalizations.set_fallback_generalizations([])
    litellm.utils._invalidate_model_cost_lowercase_map()
    assert info("ruled-endpoint") is None


def test_an_entry_that_comes_later_counts(searched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    name_rules.install()
    assert info("comes-later") is None
    monkeypatch.setitem(litellm.model_cost, "sagemaker_openai/comes-later", ENTRY)
    litellm.utils._invalidate_model_cost_lowercase_map()
    assert info("comes-later")["input_cost_per_token"] == 1e-6


def test_long_names_are_not_kept_and_of_others_so_many(searched: list[Any]) -> None:
    name_rules.install()

    def searches(model: str) -> int:
        searched.clear()
        assert getattr(litellm.utils, FIND)(**asked(model)) is None
        return len(searched)

    assert searches("x" * 10_000) == searches("x" * 10_000) > 0
    for number in range(2000):
        searches(f"name-{number}")
    assert searches("name-1999") == 0
    assert searches("name-0") > 0


def asked(model: str) -> dict[str, Any]:
    """As LiteLLM asks."""
    names = lookup.attribute(litellm.utils, "get_potential_model_names", "_get_potential_model_names")
    forms = names(model=model, custom_llm_provider="sagemaker_openai")
    return {"model": model, "potential_model_names": forms, "custom_llm_provider": "sagemaker_openai"}
