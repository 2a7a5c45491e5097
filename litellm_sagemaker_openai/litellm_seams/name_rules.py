"""Remembers which models' names fit none of LiteLLM's rules for names.

What LiteLLM does: for the price of a model that it was told nothing of, it searches its rules, some ten regular
expressions, for seven forms of the name, and that a dozen times in each call: an eighth of a whole answer's CPU. It
keeps what it has found, and not that there was nothing. A deployment of a Router's has an entry, where nothing is
searched.
Seen on: LiteLLM 1.103.0, 1.106.2, 1.110.2.
Without them: it searches.
Needed until: tests/litellm_seams/test_name_rules.py::test_litellm_alone_searches_again fails.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from litellm_sagemaker_openai.litellm_seams import lookup

_FIND = "_get_model_info_from_generalization"
_OURS = "_remembers_what_fits_none"
_MOST_NAMES, _LONGEST_NAME = 1024, 256  # a client of a proxy may name what it likes, at any length


def install() -> None:
    """Let LiteLLM search its rules for a name once. Idempotent."""
    utils: Any = importlib.import_module("litellm.utils")
    find = lookup.attribute(utils, "_get_model_info_from_generalization")
    match = lookup.attribute(utils, "match_capability_generalizations")
    rules = lookup.in_module("litellm.litellm_core_utils.fallback_generalizations", "get_fallback_generalization_rules")
    if find is not None and match is not None and rules is not None and not hasattr(find, _OURS):
        setattr(utils, _FIND, _remembering(find, match, rules))


def _remembering(find: Callable[..., Any], match: Callable[[Any], Any], rules: Callable[[], Any]) -> Callable[..., Any]:
    def new() -> tuple[Any, Callable[[tuple[Any, ...]], bool]]:
        return rules(), functools.lru_cache(_MOST_NAMES)(lambda forms: all(match(form) is None for form in forms))

    searched, fit_none = new()

    @functools.wraps(find)
    def found(*given: Any, **named: Any) -> Any:
        nonlocal searched, fit_none
        if rules() is not searched:  # they were loaded anew
            searched, fit_none = new()
        model, forms = named.get("model"), named.get("potential_model_names")
        if isinstance(model, str) and len(model) <= _LONGEST_NAME and forms and fit_none((model, *forms.values())):
            return None  # as it would, whether or not LiteLLM has an entry by one of these names
        return find(*given, **named)

    setattr(found, _OURS, True)
    return found
