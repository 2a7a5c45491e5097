"""LiteLLM's rules for names are searched once for a name that fits none, and what LiteLLM says of it stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils import fallback_generalizations

from litellm_sagemaker_openai.litellm_seams import name_rules

NAME = "match_capability_generalizations"
RULE = {"pattern": "^sagemaker_openai/my-", "model_info": {"supports_vision": True}}


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The names that LiteLLM's rules are searched for; LiteLLM is as it is alone."""
    names: list[Any] = []

    def match(name: Any) -> Any:
        names.append(name)
        return fallback_generalizations.match_capability_generalizations(name)

    monkeypatch.setattr(litellm.utils, NAME, match)
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
    assert len(searched) == len(set(searched)) > 1
    searched.clear()
    assert price() == alone
    assert not searched


def test_what_a_rule_says_is_given_each_time_anew(searched: list[Any]) -> None:
    name_rules.install()
    match = getattr(litellm.utils, NAME)
    expected = fallback_generalizations.match_capability_generalizations("claude-opus-9")
    assert expected
    for _ in range(2):
        found = match("claude-opus-9")
        assert found == expected
        found["changed"] = True


def test_rules_that_are_loaded_anew_count(searched: list[Any], other_rules: None) -> None:
    name_rules.install()
    assert not litellm.supports_vision("sagemaker_openai/my-endpoint")
    fallback_generalizations.set_fallback_generalizations([RULE])
    assert getattr(litellm.utils, NAME)("sagemaker_openai/my-endpoint") == RULE["model_info"]
    fallback_generalizations.set_fallback_generalizations([])
    assert getattr(litellm.utils, NAME)("sagemaker_openai/my-endpoint") is None


def test_long_names_are_not_kept_and_of_others_so_many(searched: list[Any]) -> None:
    name_rules.install()
    match = getattr(litellm.utils, NAME)
    for _ in range(2):
        assert match("x" * 10_000) is match(None) is match("") is None
    assert len(searched) == 5  # the empty one once
    for number in range(2000):
        match(f"name-{number}")
    searched.clear()
    match("name-1999")
    assert not searched
    match("name-0")
    assert searched == ["name-0"]
