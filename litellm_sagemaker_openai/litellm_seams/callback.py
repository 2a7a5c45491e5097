"""The callback by which LiteLLM asks this provider before each call.

What LiteLLM does: it asks each of its callbacks about each call, so that a further one costs a whole answer some 3 %.
So this is one for all that is to be done then; ``stream_opening`` has one of its own, which must be the last.
Seen on: LiteLLM 1.106.2 (``async_pre_call_hook`` in the proxy, ``async_pre_call_deployment_hook``).
Without them: embeddings take their parameters in ``extra_body``; the handler refuses what a client must not say by
itself, later.
Needed until: what it does has another place. tests/operating/test_access.py and tests/operations/test_embeddings.py
show it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.types.utils import CallTypes

from litellm_sagemaker_openai.litellm_seams import rerank_calls, response_cache
from litellm_sagemaker_openai.litellm_seams.embedding_parameters import with_passthrough
from litellm_sagemaker_openai.litellm_seams.fallbacks import refuse_fallback
from litellm_sagemaker_openai.litellm_seams.proxy_client import note_client, refuse_early

PrepareRerank = Callable[[Mapping[str, Any]], Awaitable[rerank_calls.PreparedRerank]]


class BeforeEachCall(CustomLogger):
    """Holds a proxy's clients to what they may say, takes along the parameters of an embedding call, and has LiteLLM
    carry out its rerank calls.

    What ``fallbacks`` refuses of a deployment by its id is refused here, for a callback with a hook of its own would
    have to come before ``stream_opening``."""

    prepare_rerank: PrepareRerank | None = None

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """Runs in the proxy alone, once for each of its clients' requests."""
        note_client(data)

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: CallTypes | None
    ) -> dict[str, Any] | None:
        """Runs before each call, whoever its provider is, once the deployment is chosen.

        Raises:
            litellm.BadRequestError: as for ``refuse_early`` and ``refuse_fallback``; a rerank call that cannot be sent.
        """
        response_cache.install()  # before LiteLLM looks into a cache that the application may have set since
        refuse_early(kwargs)
        refuse_fallback(kwargs)
        if self.prepare_rerank is not None and rerank_calls.is_ours(kwargs, call_type):
            return rerank_calls.diverted(await self.prepare_rerank(kwargs), kwargs)
        return with_passthrough(kwargs, call_type)

    async def async_post_call_success_deployment_hook(
        self, request_data: dict[str, Any], response: Any, call_type: CallTypes | None
    ) -> Any:
        """Runs after each asynchronous call: LiteLLM's answer to a rerank call becomes this provider's."""
        return rerank_calls.answered(request_data, response) if call_type is CallTypes.arerank else None


before_each_call = BeforeEachCall()


def install(prepare_rerank: PrepareRerank) -> None:
    """Make the callback one of LiteLLM's. Idempotent.

    Args:
        prepare_rerank: makes a call of LiteLLM's own ``arerank`` ready.
    """
    before_each_call.prepare_rerank = prepare_rerank
    if before_each_call not in litellm.callbacks:
        # A new list: LiteLLM may be going through the old one. The first: others want to be last.
        litellm.callbacks = [before_each_call, *litellm.callbacks]
