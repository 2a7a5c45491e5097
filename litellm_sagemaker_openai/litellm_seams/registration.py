"""Tells LiteLLM of its custom providers at once.

What LiteLLM does: ``custom_llm_setup`` takes over what ``litellm.custom_provider_map`` says into lists by which LiteLLM
answers questions about a provider, such as ``get_supported_openai_params``. It runs with each call, and not before the
first.
Seen on: LiteLLM 1.106.2.
Without it: LiteLLM answers such questions from the first call on.
Needed until: test_litellm_alone_knows_no_provider_before_the_first_call in tests/test_provider.py fails.
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
