"""What LiteLLM's Router writes into a call about itself.

What LiteLLM does: it keeps ``model_group``, ``previous_models``, ``deployment`` and the like in a call's ``metadata``
or ``litellm_metadata``, by the kind of call. Where both are there (/v1/messages, /v1/responses), the second is a
client's own, which may hold anything.
Seen on: LiteLLM 1.106.2.
Without them: a call counts as one without a Router, and this provider retries its streams itself.
Needed until: LiteLLM says it in another way. tests/sending/test_retries.py and tests/sending/test_failover.py show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_METADATA = ("litellm_metadata", "metadata")


def metadata_of(call: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Each metadata of a call, given its keywords or its ``litellm_params``."""
    return (each for name in _METADATA if isinstance(each := call.get(name), Mapping))


def is_routed(call: Mapping[str, Any]) -> bool:
    """Whether the call comes from a Router."""
    return any("model_group" in each for each in metadata_of(call))


def routers_retries(call: Mapping[str, Any]) -> int | None:
    """How often the Router tries the call again; None where it comes from none.

    Where both metadata are there, the smaller number counts: one of them is a client's.
    """
    routed = [each for each in metadata_of(call) if "model_group" in each]
    if not routed:
        return None
    said = [each.get("max_retries") for each in routed]
    return min((retries for retries in said if type(retries) is int and retries >= 0), default=0)
