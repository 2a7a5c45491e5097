"""Brings an embedding call's parameters past LiteLLM, which refuses or loses them for every custom provider.

What LiteLLM does: it raises UnsupportedParamsError for ``dimensions``, ``encoding_format`` and ``user``, whatever
``allowed_openai_params`` says, and with ``drop_params`` it drops them; ``extra_headers`` and ``client`` it does not
hand on (``embedding`` in main.py, ``get_optional_params_embeddings`` in utils.py). The OpenAI SDK always sends
``encoding_format``, so that no call of it would get through a proxy. Here a callback of LiteLLM's own kind, run once
the deployment is chosen, takes a copy along under a name that LiteLLM does not know, and tells LiteLLM to leave the
originals alone. They stay where they are: a cache's key is made of them. LiteLLM runs such callbacks for
``aembedding`` only, and so for the proxy; for ``embedding``, ``extra_body`` carries the parameters.
Seen on: LiteLLM 1.106.2.
Without it: ``extra_body`` carries the parameters.
Needed until: tests/litellm_seams/test_litellm_alone.py::test_refuses_the_parameters_of_an_embedding fails,
and test_hands_no_headers_of_an_embedding_on there. tests/operations/test_embeddings.py shows what comes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litellm.types.utils import CallTypes

from litellm_sagemaker_openai.litellm_seams import known_parameters
from litellm_sagemaker_openai.litellm_seams.stream_opening import goes_to_this_provider

PASSTHROUGH_KEY = "sagemaker_openai_embedding"


@dataclass(frozen=True, slots=True)
class Passthrough:
    """What LiteLLM would have kept from the handler. A caller's own value of that name is told by its class."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    client: Any = field(default=None, repr=False)


def with_passthrough(kwargs: dict[str, Any], call_type: CallTypes | None) -> dict[str, Any] | None:
    """The call with its parameters taken along, or None to leave it as it is."""
    if call_type is not CallTypes.aembedding or not goes_to_this_provider(kwargs):
        return None
    dropped = [*(kwargs.get("additional_drop_params") or ())]
    named = [name for name in known_parameters.of_embeddings() if kwargs.get(name) is not None and name not in dropped]
    passthrough = Passthrough(
        {name: kwargs[name] for name in named},
        {**(kwargs.get("headers") or {}), **(kwargs.get("extra_headers") or {})},
        kwargs.get("client"),
    )
    return {**kwargs, PASSTHROUGH_KEY: passthrough, "additional_drop_params": [*dropped, *named]}


def passthrough_of(optional_params: Mapping[str, Any]) -> Passthrough:
    """What LiteLLM's call was given along."""
    passthrough = optional_params.get(PASSTHROUGH_KEY)
    return passthrough if isinstance(passthrough, Passthrough) else Passthrough()


def restored_parameters(optional_params: Mapping[str, Any]) -> dict[str, Any]:
    """The call's parameters as a native provider gets them."""
    rest = dict(optional_params)
    rest.pop(PASSTHROUGH_KEY, None)
    return {**rest, **passthrough_of(optional_params).parameters}
