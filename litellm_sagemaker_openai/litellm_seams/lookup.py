"""Looks up the names that LiteLLM, httpx and aiohttp do not promise, when they are used.

Nothing here raises where a name is missing: each caller has a way that works without it.
tests/litellm_seams/test_missing_names.py takes each name away in turn, and makes a call of each kind.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import Any

_MISSING = object()


@cache
def in_module(module: str, *names: str) -> Any:
    """What a module has under the first of these names that it has; None where it has none, or does not exist.

    The module is imported, and the answer kept: ask for functions and classes, not for variables.
    """
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it exists, and lacks something of its own
        return None
    return attribute(imported, *names)


def in_loaded(module: str, name: str) -> Any:
    """What a module has under a name now, if it was imported already; else None."""
    return getattr(sys.modules.get(module), name, None)


def lacks(module: str, name: str) -> bool:
    """Whether a module was imported, and has no such name now."""
    return module in sys.modules and not hasattr(sys.modules[module], name)


def attribute(owner: Any, *names: str) -> Any:
    """The first of these attributes that an object has; None where it has none of them."""
    for name in names:  # a dozen times a call: a generator would cost twice as much
        found = getattr(owner, name, _MISSING)
        if found is not _MISSING:
            return found
    return None
