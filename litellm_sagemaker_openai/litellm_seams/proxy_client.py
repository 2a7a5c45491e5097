"""What LiteLLM's proxy tells of its client, and what follows from it for a call: ``access.py``'s rule, applied.

What LiteLLM does: it keeps the client's request in ``litellm_params["proxy_server_request"]``, which it makes itself,
so that a client's own field of that name is lost: the headers, the JSON (``body``, which it writes again after the
proxy's hooks) and the names that were taken out of it (``credential_fields``). The Router overwrites ``model_info``,
which says the deployment; ``llm_router`` of ``litellm.proxy.proxy_server``, which LiteLLM's documentation imports, has
it.
Seen on: LiteLLM 1.106.2.
Without them: a call that came through a proxy is refused, since nothing tells what its client said.
Needed until: LiteLLM lets a provider say what only the operator may set. tests/operating/test_access.py shows each of
these through the real proxy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import litellm

from litellm_sagemaker_openai.access import (
    REFUSAL,
    UNKNOWN,
    AskedCall,
    ClientRefused,
    TooManyTries,
    UnknownClient,
    allows,
    is_deployments_model,
    may_be_a_fallback,
    operators_names,
    refused_by_name,
    refused_in,
    replaces_something,
    without_infrastructures,
)
from litellm_sagemaker_openai.errors import bad_request
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.router_records import metadata_of
from litellm_sagemaker_openai.refusals import NOT_SENT
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_PROXY_SERVER = "litellm.proxy.proxy_server"
_REQUEST = "proxy_server_request"
_NAMES = "sagemaker_openai_operators_names"  # in the proxy's own record of the request
_TRIES = "sagemaker_openai_tries"  # there, too
_PREFIX = f"{PROVIDER}/"
# Of one request, by all of LiteLLM's retries, fallbacks and lists of models together: a client may say num_retries.
_MOST_TRIES = 100
_LITELLMS_WORDS = "litellm.BadRequestError: "
_REFUSED = tuple(f"{_LITELLMS_WORDS}{NOT_SENT}{words}" for words in (REFUSAL, UNKNOWN))
# litellm.constants.LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME, 1.106.2: who the proxy's health checks are.
_HEALTH_CHECK = "litellm-internal-health-check"


class Allowed(NamedTuple):
    """What may be sent: LiteLLM's ``optional_params`` and headers, with the deployment's own put back."""

    parameters: Mapping[str, Any]
    headers: Mapping[str, Any]


def note_client(data: Mapping[str, Any]) -> None:
    """Note what the proxy's client itself said, before the operator's hooks and credential overrides add to it.

    Without the note, what they add counts as the client's, and is refused where a client may not say it.
    The Router's records of tries that a client made up are taken out, as LiteLLM does since 1.106: it adds its own to
    them, and ``fallbacks.py`` goes by them.
    """
    for metadata in metadata_of(data):
        if isinstance(metadata, dict):
            metadata.pop("previous_models", None)
    request = data.get(_REQUEST)
    if isinstance(request, dict) and isinstance(request.get("body"), Mapping):
        request[_NAMES] = _names_said(request)


def refuse_early(call: Mapping[str, Any]) -> None:
    """Refuse what LiteLLM must not even begin with, whoever the call's provider is.

    Raises:
        litellm.BadRequestError: the client said what it must not, by which LiteLLM might ask its cache, or another
            provider, rather than this one; or it is a fallback of a request that was refused for that, or one of very
            many tries of the same request.
    """
    for metadata in metadata_of(call):
        if (refusal := _refusal_before(metadata)) is not None:
            raise litellm.BadRequestError(refusal, str(call.get("model")), PROVIDER)
    request = call.get(_REQUEST)
    if not isinstance(request, dict) or not _is_on_this_provider(call):
        return
    request[_TRIES] = tries = request.get(_TRIES, 0) + 1
    try:
        if tries > _MOST_TRIES:
            raise TooManyTries(_MOST_TRIES)
        _refuse(refused_by_name(_names_said(request), later=_may_be_a_fallback(request, call)), call)
    except ValueError as error:
        raise bad_request(error, model=str(call.get("model"))) from error


def allowed(litellm_params: Mapping[str, Any], asked: AskedCall) -> Allowed:
    """What of a call may be sent; all of it, unless it came through a proxy.

    Args:
        litellm_params: LiteLLM's.
        asked: the call.

    Raises:
        ClientRefused: the proxy's client said what is the operator's to say.
        UnknownClient: it came through a proxy, and nothing tells what its client said.
    """
    request = litellm_params.get(_REQUEST)
    if request is None:
        if any(_is_a_clients(metadata) for metadata in metadata_of(litellm_params)):
            raise UnknownClient
        return Allowed(asked.parameters, asked.headers)
    body = request.get("body") if isinstance(request, Mapping) else None
    if not isinstance(body, Mapping):
        raise UnknownClient
    names = _names_said(request)
    client_headers = request.get("headers") or {}
    asked = replace(asked, headers=without_infrastructures(asked.headers, client_headers))
    refused = refused_by_name(names, later=_may_be_a_fallback(request, litellm_params))
    refused += refused_in(asked, names, client_headers)
    if not _is_deployments(asked.model, litellm_params):
        refused.append("model")
    _refuse(refused, {**litellm_params, **asked.parameters})
    if not replaces_something(names):
        return Allowed(asked.parameters, asked.headers)
    return _with_the_deployments(_deployment(litellm_params), asked)


def said_by_client(litellm_params: Mapping[str, Any]) -> frozenset[str] | None:
    """The names that the proxy's client said; None where the call did not come through a proxy.

    ``model`` is among them where it chose the endpoint, under a wildcard, and not just the name of a model group.
    """
    request = litellm_params.get(_REQUEST)
    if request is None:
        return None
    body = request.get("body") if isinstance(request, Mapping) else None
    if not isinstance(body, Mapping):
        return frozenset()
    said = {*body} - {*operators_names(body)} | {*_names_said(request)}
    return frozenset(said | {"model"} if _chooses_endpoint(litellm_params) else said - {"model"})


def is_health_check(litellm_params: Mapping[str, Any]) -> bool:
    """Whether LiteLLM asks by itself whether the deployment answers (``/health``).

    A client can send metadata that say so. All that follows from them is that its call waits for nothing.
    """
    return any(
        _HEALTH_CHECK in (each.get("user_api_key_hash"), each.get("user_api_key"))
        for each in metadata_of(litellm_params)
    )


def deployment_name(litellm_params: Mapping[str, Any], model: str) -> str:
    """A deployment as the operator's configuration calls it.

    Args:
        litellm_params: LiteLLM's.
        model: what is asked, without ``sagemaker_openai/``.
    """
    deployment = _found(litellm_params)
    if deployment is None:
        return f"the deployment {_PREFIX}{model}"
    return f"the deployment {_parameters(deployment).get('model')} of model {deployment.model_name}"


def _chooses_endpoint(litellm_params: Mapping[str, Any]) -> bool:
    if _deployment_id(litellm_params) is None:
        return not _of_the_proxy("user_model")
    return "*" in str(_parameters(_found(litellm_params)).get("model"))


def _refuse(names: Sequence[str], call: Mapping[str, Any]) -> None:
    """Refuse a call for these names, but for those that its deployment lets clients say.

    Args:
        names: what the rule refuses.
        call: LiteLLM's keywords of it, ``model_info`` among them.

    Raises:
        ClientRefused, UnknownClient: as for ``allowed``.
    """
    if not names:
        return
    exceptions = _deployment(call).get("configurable_clientside_auth_params")
    if refused := [name for name in names if not allows(exceptions, name, call.get(name))]:
        raise ClientRefused(refused)


def _may_be_a_fallback(request: Mapping[str, Any], call: Mapping[str, Any]) -> bool:
    body = request.get("body")
    groups = [each["model_group"] for each in metadata_of(call) if "model_group" in each]
    return may_be_a_fallback(body if isinstance(body, Mapping) else {}, groups)


def _is_on_this_provider(call: Mapping[str, Any]) -> bool:
    """Whether the deployment is this provider's, even where the client would have LiteLLM ask another one."""
    if call.get("custom_llm_provider") == PROVIDER:
        return True
    model = call.get("model") or lookup.attribute(call.get("litellm_logging_obj"), "model")  # given by position
    return str(model).startswith(_PREFIX)


def _names_said(request: Mapping[str, Any]) -> Sequence[str]:
    """``operators_names`` of the proxy's record of a request, as they were noted, or as its body has them now."""
    noted: Sequence[str] | None = request.get(_NAMES)
    if noted is not None:
        return noted
    body = request.get("body")
    return operators_names(body if isinstance(body, Mapping) else {}, request.get("credential_fields") or ())


def _with_the_deployments(deployment: Mapping[str, Any], asked: AskedCall) -> Allowed:
    """The client's dictionaries over the deployment's, which LiteLLM has put them in the place of."""
    parameters, headers = asked.parameters, asked.headers
    own_body, own_headers = deployment.get("extra_body") or {}, deployment.get("extra_headers") or {}
    extra_body = parameters.get("extra_body") or {}
    if own_body and isinstance(extra_body, Mapping):  # anything else is refused by its own check
        parameters = {**parameters, "extra_body": {**own_body, **extra_body}}
    if own_headers:
        headers = {**own_headers, **headers}
    return Allowed(parameters, headers)


def _deployment(litellm_params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of the deployment that the Router chose, as the operator wrote them; empty where none did.

    Raises:
        UnknownClient: one did, and it cannot be found.
    """
    if _deployment_id(litellm_params) is None:
        return {}
    found = _found(litellm_params)
    if found is None:
        raise UnknownClient
    return _parameters(found)


def _deployment_id(litellm_params: Mapping[str, Any]) -> Any:
    info = litellm_params.get("model_info") or {}
    # Where the client gave an api_key or api_base, the Router makes up a deployment (`_handle_clientside_credential`).
    return info.get("original_model_id") or info.get("id")


def _found(litellm_params: Mapping[str, Any]) -> Any:
    """The deployment that the Router chose; None where it chose none, or it cannot be found."""
    deployment_id = _deployment_id(litellm_params)
    find = lookup.attribute(_of_the_proxy("llm_router"), "get_deployment")
    return None if deployment_id is None or find is None else find(model_id=deployment_id)


def _parameters(deployment: Any) -> Mapping[str, Any]:
    return {} if deployment is None else deployment.litellm_params.model_dump(exclude_none=True)


def _is_deployments(model: str, litellm_params: Mapping[str, Any]) -> bool:
    """Whether the call goes to the deployment that the Router chose.

    A client can make LiteLLM ask another model, with no more than a key for some model or other: by
    ``context_window_fallback_dict``, or by the ``model`` of an event on /v1/responses' WebSocket (1.106.2).
    """
    chosen = (litellm_params.get("model_info") or {}).get("id")
    if chosen is None:
        return _goes_without_router()
    for metadata in metadata_of(litellm_params):
        info, deployed = metadata.get("model_info"), metadata.get("deployment")
        # A client's metadata may have fields of these names; the Router's has the deployment's id as well.
        if isinstance(deployed, str) and isinstance(info, Mapping) and info.get("id") == chosen:
            deployed = litellm.model_alias_map.get(deployed, deployed)
            if not is_deployments_model(model, deployed, lambda: str(_deployment(litellm_params).get("model"))):
                return False
    return True


def _goes_without_router() -> bool:
    """Whether the operator lets clients name a model that no deployment has: ``litellm --model …``, or
    ``pass_through_all_models`` of the Router's settings."""
    if lookup.lacks(_PROXY_SERVER, "llm_router"):
        return False  # nothing tells that there is none
    router = _of_the_proxy("llm_router")
    settings = lookup.attribute(router, "router_general_settings")
    return (
        router is None
        or bool(_of_the_proxy("user_model"))
        or bool(lookup.attribute(settings, "pass_through_all_models"))
    )


def _of_the_proxy(name: str) -> Any:
    """A global of LiteLLM's proxy, where this process is one; LiteLLM's documentation imports ``llm_router`` so."""
    return lookup.in_loaded(_PROXY_SERVER, name)


def _refusal_before(metadata: Mapping[str, Any]) -> str | None:
    """What a try before this one was refused with, by the Router's records (``fallbacks.py`` reads them, too)."""
    for attempt in metadata.get("previous_models") or ():
        said = str(attempt.get("exception_string")) if isinstance(attempt, Mapping) else ""
        if said.startswith(_REFUSED):
            return said.removeprefix(_LITELLMS_WORDS)
    return None


def _is_a_clients(metadata: Mapping[str, Any]) -> bool:
    """Whether the proxy wrote down whose API key a call came with."""
    keys = [metadata.get(name) for name in ("user_api_key_hash", "user_api_key") if metadata.get(name)]
    return any(key != _HEALTH_CHECK for key in keys)
