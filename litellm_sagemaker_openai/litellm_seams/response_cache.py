"""Keeps LiteLLM's response cache from answering one call with the answer to another.

What LiteLLM does: it makes a cache's key of OpenAI's parameters and the model group (``Cache.get_cache_key``). It
leaves out the inference component, the region, the credentials, ``extra_body``, ``hf_model_name`` and the container's
own parameters, so that ``model_id="reviewer"`` would be answered with ``coder``'s cached answer. Its documentation
lets an application replace ``litellm.cache.get_cache_key`` ("Customize the cache key"): here it becomes a function that
puts a digest of these behind the key of this provider's calls. And LiteLLM keeps a synchronous text completion a second
time, as the chat that it asks for inside, and a stream of one as a chat alone, which it plays back without log
probabilities and other choices, or as a chat's chunks: these are not kept.
Seen on: LiteLLM 1.106.2; up to 1.105 ``llm_caching_handler`` has an underscore before it.
Without it: keys are LiteLLM's own. Without ``llm_caching_handler``, or its ``should_store_result_in_cache`` (up to
1.105 with an underscore before it), text completions are kept twice, and their streams played back as chats; and the
very first synchronous call of a process may keep its answer under LiteLLM's own key.
Needed until: test_without_it_litellm_mixes_them_up in tests/litellm_seams/test_response_cache.py fails.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import litellm

from litellm_sagemaker_openai.aws.credentials import ENDPOINT_VARIABLES
from litellm_sagemaker_openai.aws.region import REGION_VARIABLES
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.aws_credentials import IDENTITY_VARIABLES
from litellm_sagemaker_openai.litellm_seams.embedding_parameters import PASSTHROUGH_KEY
from litellm_sagemaker_openai.litellm_seams.text_completions import carried_prompt
from litellm_sagemaker_openai.settings import is_foreign
from litellm_sagemaker_openai.upstream_errors import PROVIDER

# What does not reach the container by itself, and changes the answer.
_DISTINGUISHING = frozenset(
    {
        "api_base",
        "api_key",
        "base_url",
        "custom_llm_provider",
        "extra_body",
        "extra_headers",
        "hf_model_name",
        "litellm_credential_name",
        "model_id",
        "sagemaker_base_url",
    }
)
_IN_LITELLMS_KEY = frozenset({PASSTHROUGH_KEY, "input", "messages"})  # the first is a copy of what is there
# What in the environment decides whose endpoint answers: processes that share a cache may differ in it.
_ENVIRONMENT = tuple(sorted({*REGION_VARIABLES, *IDENTITY_VARIABLES, *ENDPOINT_VARIABLES}))
_OURS = "_tells_sagemaker_openai_calls_apart"


def install(logging_obj: Any = None) -> None:
    """Let the keys of LiteLLM's cache, where it has one, tell this provider's calls apart. Idempotent.

    Args:
        logging_obj: of a synchronous call, which looks into the cache before anything of this provider's runs.
            Where this installs the function, that was with LiteLLM's key; its answer must not be kept under it.
    """
    cache = litellm.cache
    key_of = lookup.attribute(cache, "get_cache_key")
    if key_of is None or getattr(key_of, _OURS, False):
        return
    cache.get_cache_key = _telling_apart(key_of)  # type: ignore[union-attr,method-assign]
    handler = lookup.attribute(logging_obj, "llm_caching_handler", "_llm_caching_handler")
    if isinstance(kept := lookup.attribute(handler, "request_kwargs"), dict):
        kept.pop("cache_key", None)


def keep_no_chat(logging_obj: Any) -> None:
    """Let LiteLLM keep no text completion as a chat. A whole one it keeps besides, as what it is.

    Args:
        logging_obj: of a stream, or of a synchronous call: with the caching handler of the chat inside.
    """
    handler = lookup.attribute(logging_obj, "llm_caching_handler", "_llm_caching_handler")
    stores = lookup.attribute(handler, "should_store_result_in_cache", "_should_store_result_in_cache")
    if stores is not None:
        setattr(handler, stores.__name__, lambda *_, **__: False)


def _telling_apart(get_cache_key: Callable[..., str]) -> Callable[..., str]:
    def key_of(*args: Any, **kwargs: Any) -> str:
        key = get_cache_key(*args, **kwargs)
        return f"{key}:{digest(kwargs, os.environ)}" if is_this_providers(kwargs) else key

    setattr(key_of, _OURS, True)
    return key_of


def is_this_providers(kwargs: Mapping[str, Any]) -> bool:
    """Whether a call of LiteLLM's goes to this provider."""
    named = kwargs.get("custom_llm_provider")
    return named == PROVIDER or (named is None and _model(kwargs).startswith(f"{PROVIDER}/"))


def _model(kwargs: Mapping[str, Any]) -> str:
    model = str(kwargs.get("model"))
    return str(litellm.model_alias_map.get(model, model))


def digest(kwargs: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """A digest of all that tells a call's answer from another's and stands in no key of LiteLLM's.

    Args:
        kwargs: the keywords of LiteLLM's call.
        environ: the environment.
    """
    told = {name: kwargs[name] for name in sorted(kwargs) if _distinguishes(name) and kwargs[name] is not None}
    # Not the Router's group alone, which is in LiteLLM's key: on /v1/messages and /v1/responses LiteLLM takes it from
    # the client's own metadata (1.106.2).
    told["model"] = _model(kwargs)
    told["text_completion"] = bool(kwargs.get("text_completion"))  # the chat that LiteLLM makes of one
    told["prompt"] = carried_prompt(kwargs.get("prompt"))  # token ids, and not the text that they are for LiteLLM
    told["environment"] = [environ.get(name) for name in _ENVIRONMENT]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _distinguishes(name: str) -> bool:
    if name in _DISTINGUISHING or name.startswith("aws_"):  # secrets, too: who knows a key's id alone is not its owner
        return True
    return not is_foreign(name) and name not in _IN_LITELLMS_KEY  # all that reaches the container
