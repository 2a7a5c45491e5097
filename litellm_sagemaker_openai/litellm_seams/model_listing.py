"""Shows what is in service where LiteLLM lists models: under a proxy's wildcards, and by ``get_valid_models``.

What LiteLLM does: ``/v1/models`` and ``/model/info`` expand a wildcard with ``get_known_models_from_wildcard``
(``proxy/auth/model_checks.py``), and an application asks ``litellm.get_valid_models``. Both take the provider's name
for a member of the enumeration ``LlmProviders``, in which no custom provider is: the first gives nothing, the second
warns and gives nothing. They do so before they read ``litellm.models_by_provider``, so that this public door is closed;
callbacks for listings can only hide names; deployments added to the Router would change what calls are routed to. So
these two functions are wrapped, for deployments and questions of this provider alone.
Seen on: LiteLLM 1.103.0, 1.106.2, 1.110.2 (where the Router's ``get_model_list`` is ``registry().deployments``).
Without it: nothing is listed under a wildcard. Calls are not affected.
Needed until: LiteLLM asks a custom handler for its models, with the deployment's parameters, in place of the cast.
test_without_it_litellm_lists_nothing in tests/litellm_seams/test_model_listing.py fails then.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import litellm

from litellm_sagemaker_openai.aws.credentials import ENDPOINT_VARIABLES, environment, runtime_url
from litellm_sagemaker_openai.aws.identity import AwsIdentity
from litellm_sagemaker_openai.aws.in_service import (
    PERMISSIONS,
    MissingPermissions,
    ModelsInService,
    failures,
    models_in_service,
)
from litellm_sagemaker_openai.aws.region import REGION_VARIABLES, resolve_region
from litellm_sagemaker_openai.bounded_table import BoundedTable
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.aws_credentials import IDENTITY_VARIABLES, source_for
from litellm_sagemaker_openai.operator_log import warn_seldom
from litellm_sagemaker_openai.settings import sort_settings
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_PROXY_SERVER = "litellm.proxy.proxy_server"
_MODEL_CHECKS = "litellm.proxy.auth.model_checks"
_UTILS = "litellm.utils"
_PREFIX = f"{PROVIDER}/"
_OURS = "_asks_sagemaker_for_models"

_MOST_LISTS = 1000  # regions and identities. With more, AWS is asked at each look
_ENVIRONMENT = (*REGION_VARIABLES, *IDENTITY_VARIABLES, *ENDPOINT_VARIABLES, "AWS_ENDPOINT_URL_SAGEMAKER")
_LOOK_SECONDS = 0.2
_START_SECONDS = 120.0

_lists: BoundedTable[Any, ModelsInService] = BoundedTable(_MOST_LISTS)


def install() -> None:
    """Let LiteLLM's two functions tell what is in service. Idempotent."""
    known = lookup.in_loaded(_MODEL_CHECKS, "get_known_models_from_wildcard")
    if known is not None and not hasattr(known, _OURS):
        _replace(_MODEL_CHECKS, known, _expanding_wildcards(known))
        if _PROXY_SERVER in sys.modules:  # it loads the provider before it makes its Router
            threading.Thread(target=_ask_early, name="sagemaker-openai-models", daemon=True).start()
    valid = lookup.in_loaded(_UTILS, "get_valid_models")
    if valid is not None and not hasattr(valid, _OURS):
        _replace(_UTILS, valid, _asking_for_valid_models(valid))
        litellm.get_valid_models = vars(sys.modules[_UTILS])[valid.__name__]  # LiteLLM may have copied it


def _replace(module: str, function: Callable[..., Any], replacement: Callable[..., Any]) -> None:
    setattr(replacement, _OURS, True)
    setattr(sys.modules[module], function.__name__, replacement)


def _expanding_wildcards(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
    @functools.wraps(original)
    def known_models(*args: Any, **kwargs: Any) -> list[str]:
        given = _arguments(original, args, kwargs)
        params = given.get("litellm_params")
        if not str(lookup.attribute(params, "model")).startswith(_PREFIX):
            return original(*args, **kwargs)
        listed = listed_names(given["wildcard_model"], _as_mapping(params))
        return original(*args, **kwargs) if listed is None else listed

    return known_models


def _asking_for_valid_models(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
    @functools.wraps(original)
    def valid_models(*args: Any, **kwargs: Any) -> list[str]:
        given = _arguments(original, args, kwargs)
        if given.get("custom_llm_provider") != PROVIDER:
            return original(*args, **kwargs)
        params = _as_mapping(given.get("litellm_params"))
        said = {name: given[name] for name in ("api_key", "api_base") if given.get(name) is not None}
        models = _models_of({**params, **said})
        if models is None:
            return original(*args, **kwargs)
        asks = given.get("check_provider_endpoint") or lookup.attribute(litellm, "check_provider_endpoint")
        found = _asked(models) if asks else models.held | _registered()
        return [f"{_PREFIX}{each}" for each in sorted(found)]

    return valid_models


def _arguments(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments by their names; none where the function would not take them, which it says itself."""
    try:
        return inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:
        return {}


def _as_mapping(params: Any) -> dict[str, Any]:
    """LiteLLM's parameters, of its Pydantic model or its Router's dictionary."""
    given = params.model_dump() if hasattr(params, "model_dump") else dict(params or {})
    return {name: value for name, value in given.items() if value is not None}


def _asked(models: ModelsInService) -> frozenset[str]:
    try:
        return models.ask_now()
    except MissingPermissions as error:
        models.warn(error)
        return error.models
    except failures() as error:  # LiteLLM gives an empty list where it cannot ask, too
        models.warn(error)
        return frozenset()


def _registered() -> set[str]:
    """What ``litellm.register_model`` was told of this provider's models; the Router tells it of wildcards, too."""
    return {
        name.removeprefix(_PREFIX)
        for name, info in (lookup.attribute(litellm, "model_cost") or {}).items()
        if name.startswith(_PREFIX) and info.get("litellm_provider") == PROVIDER and "*" not in name
    }


def listed_names(wildcard: str, params: Mapping[str, Any]) -> list[str] | None:
    """The names that a client can ask for under a wildcard; None where this provider has nothing to say of it.

    Args:
        wildcard: what LiteLLM expands: a deployment's name, or an API key's narrower pattern.
        params: the deployment's; ``model`` is narrowed as the wildcard is.

    Never blocks.
    """
    model, router = str(params.get("model")), lookup.in_loaded(_PROXY_SERVER, "llm_router")
    if "*" not in wildcard or "*" not in model or router is None:
        return None
    models = _models_under(model, params)
    if models is None:
        return None
    named = lookup.attribute(router, "model_names") or ()  # LiteLLM lists them itself
    wildcards = [wildcard]
    if wildcard == model and all(each["litellm_params"]["model"] != model for each in _deployments(router, wildcard)):
        # It is no name: before 1.110, /model/info expands the model of a deployment whose name has no slash.
        named_by = ((str(each["model_name"]), each["litellm_params"]["model"]) for each in _deployments(router))
        wildcards = [name for name, its_model in named_by if its_model == model and "/" not in name]
    names = {name for each in wildcards for name in names_under(each, model, models.known())}
    return [name for name in sorted(names.difference(named)) if _is_served(name, router, models)]


def names_under(wildcard: str, model: str, found: Iterable[str]) -> set[str]:
    """The names by which the Router makes these models of a wildcard deployment, by its two patterns. Pure.

    The Router puts what the wildcard's stars stand for in place of the model's, in their order
    (``PatternMatchRouter.set_deployment_model_name``). With more stars in the wildcard, it takes the name as it is.
    """
    pattern = re.compile(re.escape(model).replace(r"\*", "(.*)"))
    more = wildcard.count("*") - model.count("*")
    names = set()
    for match in filter(None, (pattern.fullmatch(f"{_PREFIX}{each}") for each in found)):
        if more > 0:
            names.add(match.string)
        elif more == 0:
            texts = iter(match.groups())
            names.add(re.sub(r"\*", lambda _: next(texts), wildcard))  # noqa: B023
    return names


def _is_served(name: str, router: Any, models: ModelsInService) -> bool:
    """Whether each deployment that the Router may choose for a name has it in service, and the first one is of these
    models: before 1.110, LiteLLM would list a name for each."""
    chosen = [_as_mapping(each["litellm_params"]) for each in _deployments(router, name)]
    lists = [_models_under(str(params.get("model")), params) for params in chosen]
    in_service = (
        each is not None and str(params["model"]).removeprefix(_PREFIX) in each.known()
        for each, params in zip(lists, chosen, strict=True)
    )
    return bool(lists) and lists[0] is models and all(in_service)


def _deployments(router: Any, name: str | None = None) -> list[Any]:
    """The deployments that a name is routed to; without a name, all."""
    if (registry := lookup.attribute(router, "registry")) is not None:
        return list(registry().all() if name is None else registry().deployments(name) or ())
    routed = lookup.attribute(router, "get_model_list")
    return [] if routed is None else list(routed(model_name=name) or ())


def _models_under(model: str, params: Mapping[str, Any]) -> ModelsInService | None:
    return _models_of(params) if model.startswith(_PREFIX) else None


def _models_of(params: Mapping[str, Any]) -> ModelsInService | None:
    """What is in service where a deployment's parameters lead; None where that cannot be said.

    That is where they name one component, a queue, or a token made elsewhere, or are refused for a call as well.
    """
    given = {**_credential(params.get("litellm_credential_name")), **params}
    try:
        settings = sort_settings(given, {}, api_key=given.get("api_key"), api_base=given.get("api_base"))
    except ValueError:  # a call's answer, and the operator's log, say what is wrong
        return None
    if settings.api_key or settings.model_id or settings.queue:
        return None
    where = (settings.identity, settings.region, settings.base_url)
    return _lists.get(
        (*where, environment(_ENVIRONMENT)),
        lambda: ModelsInService(functools.partial(_ask, *where), functools.partial(_warn, *where[:2])),
    )


def _credential(name: Any) -> Mapping[str, Any]:
    """What LiteLLM's ``credential_list`` has under a name. LiteLLM's own look-up is ``load_credentials_from_list``."""
    for each in lookup.attribute(litellm, "credential_list") or ():
        if each.credential_name == name:
            return dict(each.credential_values)
    return {}


def _ask(identity: AwsIdentity, region: str | None, base_url: str | None) -> frozenset[str]:
    profile = identity.aws_profile_name
    resolved, _ = resolve_region(region, how_to_give="aws_region_name", profile=profile)
    runtime = base_url or runtime_url(resolved, profile)
    return models_in_service(source_for(identity, resolved).wait(), resolved, profile, runtime)


def _warn(identity: AwsIdentity, region: str | None, error: Exception) -> None:
    whose = identity.aws_role_name or identity.aws_profile_name or "the default credentials"
    subject = f"Not all models in service in {region or 'the default region'} can be listed, with {whose}"
    warn_seldom(subject, f"{error}. Calls are not affected. A list needs {', '.join(PERMISSIONS)}")


def _ask_early() -> None:
    """Ask as soon as the proxy has its Router, so that its first client is shown what there is."""
    deadline = time.monotonic() + _START_SECONDS
    while (router := lookup.in_loaded(_PROXY_SERVER, "llm_router")) is None:
        if time.monotonic() > deadline:
            return
        time.sleep(_LOOK_SECONDS)
    for each in _deployments(router):
        params = _as_mapping(each["litellm_params"])
        if "*" in str(each["model_name"]) and "*" in (model := str(params.get("model"))):
            models = _models_under(model, params)
            if models is not None:
                models.known()
