"""Tells LiteLLM of its custom providers at once.

What LiteLLM does: ``custom_llm_setup`` takes over what ``litellm.custom_provider_map`` says; it runs with each call
that does not name its provider otherwise.
Seen on: LiteLLM 1.106.2.
Without it: the provider is known from the first call on.
Needed until: ``litellm.get_llm_provider`` looks into the map itself. tests/test_provider.py shows it.
"""

from __future__ import annotations

import litellm

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.upstream_errors import PROVIDER


def add_provider(handler: litellm.CustomLLM) -> None:
    """Add the provider to LiteLLM's. Idempotent."""
    if not any(item["provider"] == PROVIDER for item in litellm.custom_provider_map):
        litellm.custom_provider_map = [
            *litellm.custom_provider_map,
            {"provider": PROVIDER, "custom_handler": handler},
        ]
    setup = lookup.in_module("litellm.utils", "custom_llm_setup")
    if setup is not None:
        setup()
