"""The parameters that are LiteLLM's own and do not reach a provider.

What LiteLLM does: it takes what ``all_litellm_params`` lists out of a call before it asks a provider; of
``OPENAI_EMBEDDING_PARAMS``, what its providers are asked for embeddings with.
Seen on: LiteLLM 1.106.2.
Without them: LiteLLM still takes out what is its own, but keys of its cache also have what the proxy says of a request,
so that no answer is found there; for embeddings, the names of OpenAI's API.
Needed until: LiteLLM documents a list. tests/formats/test_chat_request.py shows what reaches the container.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from litellm_sagemaker_openai.litellm_seams import lookup

# https://platform.openai.com/docs/api-reference/embeddings/create
_OPENAI_EMBEDDINGS = ("dimensions", "encoding_format", "user")


@lru_cache(maxsize=1)
def litellms_own() -> frozenset[str]:
    """The names of LiteLLM's own parameters; none where LiteLLM has no list of them."""
    return frozenset(lookup.in_module("litellm.types.utils", "all_litellm_params") or ())


def of_embeddings() -> Iterable[str]:
    """The names of OpenAI's optional parameters for embeddings."""
    names: Iterable[str] = lookup.in_module("litellm.constants", "OPENAI_EMBEDDING_PARAMS") or _OPENAI_EMBEDDINGS
    return names
