"""The hint of SageMaker's prefix-aware routing: ``prompt_cache_key`` in a chat's body, a header for the rest. Pure.

Requests with the same prefix and the same hint go to the same instance: InvokeEndpoint's ``PrefixAwareId`` in botocore
1.44.5's service model says so. docs/routing.md has what follows from it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

FIELD = "prompt_cache_key"
HEADER = "x-amzn-sagemaker-prefix-aware-id"

# What the option can make a hint of.
USER, KEY, TEAM, SESSION = SOURCES = ("user", "key", "team", "session")

# botocore's model: \A\S[\p{Print}]*\z, 1 to 64 characters. Without spaces: a header's value has none at its end, and a
# signature is the same over one space and two.
_AS_IT_IS = re.compile(r"[\x21-\x7e]{1,64}")


def hint_of(source: str, value: str) -> str:
    """A hint that does not tell what it is made of, and is the same in each process.

    Args:
        source: one of ``SOURCES``, so that a user and a session of one name have different hints.
        value: whose hint it is.
    """
    return hashlib.sha256(f"{source}:{value}".encode(errors="surrogatepass")).hexdigest()[:32]


def with_hint(parameters: Mapping[str, Any], hint: str | None) -> Mapping[str, Any]:
    """A body's parameters with a hint, unless they have one of their own."""
    return {**parameters, FIELD: hint} if hint and not parameters.get(FIELD) else parameters


def without_hint(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """A body's parameters for ``/invocations``, where the hint is a header: containers have no use for the field."""
    return {name: value for name, value in parameters.items() if name != FIELD}


def hint_header(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The header for the hint in a body's parameters, if there is one.

    What cannot be a header's value becomes its hash, rather than an error: it means something to nobody but the router.
    """
    hint = parameters.get(FIELD)
    if not isinstance(hint, str) or not hint:
        return {}
    return {HEADER: hint if _AS_IT_IS.fullmatch(hint) else hint_of("given", hint)}
