"""Remembers which models' names fit none of LiteLLM's rules for names.

What LiteLLM does: for the price of a model that it was told nothing of, it searches its rules, some ten regular
expressions, for seven forms of the name, and that ten times in each call: an eighth of a whole answer's CPU. It keeps
what it has found, and not that there was nothing. A deployment of a Router's has an entry, where nothing is searched.
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

_MATCH = "match_capability_generalizations"
_OURS = "_remembers_what_fits_none"
_MOST_NAMES, _LONGEST_NAME = 1024, 256  # a client of a proxy may name what it likes, at any length


def install() -> None:
    """Let LiteLLM search its rules for a name once. Idempotent."""
    utils: Any = importlib.import_module("litellm.utils")
    match = lookup.attribute(utils, _MATCH)
    rules = lookup.in_module("litellm.litellm_core_utils.fallback_generalizations", "get_fallback_generalization_rules")
    if match is not None and rules is not None and not hasattr(match, _OURS):
        setattr(utils, _MATCH, _remembering(match, rules))


def _remembering(match: Callable[[Any], Any], rules: Callable[[], Any]) -> Callable[[Any], Any]:
    def new() -> tuple[Any, Callable[[str], bool]]:
        return rules(), functools.lru_cache(_MOST_NAMES)(lambda name: match(name) is None)

    searched, fits_none = new()

    @functools.wraps(match)
    def matched(name: Any) -> Any:
        nonlocal searched, fits_none
        if rules() is not searched:  # they were loaded anew
            searched, fits_none = new()
        if isinstance(name, str) and len(name) <= _LONGEST_NAME and fits_none(name):
            return None
        return match(name)

    setattr(matched, _OURS, True)
    return matched
