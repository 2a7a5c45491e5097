"""The names of model groups, as the operator wrote them: what a client of a proxy says may not become a metric's label.

What LiteLLM does: its Router overwrites ``model_info``, which says the deployment, and in the metadata it writes
``deployment_model_name``, ``model_group`` and, from a call's second try on, ``attempted_retries``. In a proxy,
``llm_router`` of ``litellm.proxy.proxy_server`` has the deployments and the groups' names (``model_names``).
A deployment with a wildcard keeps its name, whatever model a client names.
Seen on: LiteLLM 1.106.2.
Without them: a call of a proxy's has the group ``other``.
Needed until: LiteLLM hands a provider the deployment. tests/operating/test_metrics.py shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.router_records import metadata_of
from litellm_sagemaker_openai.monitoring.table import OTHER
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_PROXY_SERVER = "litellm.proxy.proxy_server"


def group_of_call(model: str, litellm_params: Mapping[str, Any]) -> str:
    """The model group whose deployment a call goes to; in an application without a Router, the model.

    Args:
        model: as the caller named it, without the provider.
        litellm_params: LiteLLM's, of the call.
    """
    info = litellm_params.get("model_info") or {}
    router = lookup.in_loaded(_PROXY_SERVER, "llm_router")
    if router is not None:
        find = lookup.attribute(router, "get_deployment")
        found = find(model_id=info.get("original_model_id") or info.get("id") or "") if find is not None else None
        return str(lookup.attribute(found, "model_name") or OTHER)
    if litellm_params.get("proxy_server_request") is not None:
        return OTHER
    names = (each.get("deployment_model_name") or each.get("model_group") for each in metadata_of(litellm_params))
    return str(next(filter(None, names), f"{PROVIDER}/{model}"))


def group_named(name: Any) -> str:
    """The model group of that name; ``other`` where a proxy's configuration has none, such as what a wildcard takes."""
    router = lookup.in_loaded(_PROXY_SERVER, "llm_router")
    if router is None:
        return str(name)
    aliases = lookup.attribute(router, "model_group_alias") or {}
    return name if name in (lookup.attribute(router, "model_names") or ()) or name in aliases else OTHER


def is_routers_retry(litellm_params: Mapping[str, Any]) -> bool:
    """Whether the Router tried the call before in the same group. A client's own metadata cannot make it one."""
    routed = [each for each in metadata_of(litellm_params) if "model_group" in each]
    said = [each.get("attempted_retries") for each in routed]
    return bool(said) and all(type(retries) is int and retries > 0 for retries in said)
