"""Who may say what: the operator, the application, and the client of a LiteLLM proxy. Pure.

The operator writes the deployment, the credential list and the proxy's configuration; the application calls
``litellm.completion`` or a Router of its own. Both may use every parameter. A client holds an API key of the proxy and
not the AWS role behind it: it may say what shapes the answer, and nothing that chooses identity, address, authority,
storage or model, since LiteLLM merges the client's JSON over the deployment's parameters. SECURITY.md has the rule
for readers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litellm_sagemaker_openai.options import CHAT, CHATS
from litellm_sagemaker_openai.upstream_errors import PROVIDER

# Where a call goes, in whose name, and to which model; besides these, all that begins with `aws_`.
_OPERATORS = frozenset(
    {
        "api_base",
        "api_key",
        "azure",
        "base_url",
        "cache_key",
        "client",
        "configurable_clientside_auth_params",
        "context_window_fallback_dict",
        "custom_llm_provider",
        "deployment_id",
        "hf_model_name",
        "litellm_credential_name",
        "litellm_params",
        "model_id",
        "model_list",
        "preset_cache_key",
        "provider_specific_header",
        "sagemaker_base_url",
        "shared_session",
        "ssl_certificate",
        "ssl_verify",
        "text_completion",
        "use_litellm_proxy",
        "user_config",
    }
)
# LiteLLM rewrites the messages by these, after the proxy's guardrails have seen them.
_REWRITE_MESSAGES = frozenset(
    {
        "assistant_continue_message",
        "litellm_system_prompt",
        "model_file_id_mapping",
        "supports_system_message",
        "user_continue_message",
    }
)
# By these a client decides how a deployment fares with all the others: a `timeout` of its own LiteLLM holds against no
# deployment, what stands here, or in an entry of its fallbacks, it does (cooldown_handlers.py, 1.106.2).
_HEALTH = frozenset({"cooldown_time", "request_timeout", "router_settings_override"})
_IN_ENTRIES = frozenset({"additional_drop_params", "stream_timeout", "timeout"})
_ALL_OPERATORS = _OPERATORS | _REWRITE_MESSAGES | _HEALTH
# What a model is asked, in the words of every route of a container's: /invocations tells them apart by the body, a
# request that opens or closes a session among them (operations/session_requests.py).
_QUESTIONS = frozenset({"input", "inputs", "messages", "prompt", "prompt_embeds", "requestType", "text_inputs"})
_OTHER_OPERATIONS = frozenset(
    {"data_1", "data_2", "documents", "items", "queries", "query", "text_1", "text_2", "texts"}
)
# What a client's dictionary takes the place of, when LiteLLM merges it over the deployment's.
REPLACED = ("extra_body", "extra_headers", "headers")

# Headers that authorize a request or say where it ends and how it is coded, beside AWS's own.
_FRAMING = frozenset(
    {
        "accept",
        "accept-encoding",
        "api-key",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
    }
)
_SAGEMAKERS = "x-amzn-sagemaker-"

_PREFIX = f"{PROVIDER}/"
_FALLBACK_LISTS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_IN_FALLBACKS = "fallbacks."
_DEEPEST_FALLBACKS = 32
_MOST_SHOWN, _LONGEST_SHOWN = 5, 100  # of the names in a refusal, and characters of one

# The beginnings of refusals, by which a fallback is known to be one of a refused request.
REFUSAL = "a client of this proxy must not set "
UNKNOWN = "nothing tells what the client of the proxy said"


class ClientRefused(ValueError):
    """A client of the proxy said what only the operator may say. The message names it, and what the operator can do."""

    def __init__(self, names: Iterable[str]) -> None:
        different = list(dict.fromkeys(names))
        shown = [name[:_LONGEST_SHOWN] for name in different[:_MOST_SHOWN]]
        more = f" and {len(different) - _MOST_SHOWN} more" if len(different) > _MOST_SHOWN else ""
        super().__init__(
            f"{REFUSAL}{', '.join(shown)}{more}: leave it out of the request. It chooses where the call goes, in whose "
            "name, or what is asked, which is the operator's to say: on the deployment, or by letting clients of that "
            f"deployment say it, with configurable_clientside_auth_params: {shown}"
        )


class UnknownClient(ValueError):
    """A call that came through a proxy, and nothing tells what its client said."""

    def __init__(self) -> None:
        super().__init__(
            f"{UNKNOWN} in this call (LiteLLM's litellm_params['proxy_server_request'], or the deployment that it "
            "chose, is missing), so it is refused: its operator has to use a LiteLLM that litellm-sagemaker-openai is "
            "tested with"
        )


class TooManyTries(ValueError):
    """A client's request asks for very many tries."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"this request was tried {most} times, and is not tried again; ask for fewer retries, fallbacks or models"
        )


@dataclass(frozen=True, slots=True)
class AskedCall:
    """What LiteLLM hands over of a call, as far as the rule depends on it.

    Attributes:
        model: as the handler gets it, without ``sagemaker_openai/``.
        parameters: ``optional_params``, as a native provider gets them.
        headers: those that are to be sent.
        operation: what is asked, by its name.
    """

    model: str
    parameters: Mapping[str, Any]
    headers: Mapping[str, Any]
    operation: str = CHAT


def operators_names(body: Mapping[str, Any], left_out: Iterable[str] = ()) -> tuple[str, ...]:
    """The names in a client's JSON that the rule looks at, most often none.

    Args:
        body: the client's JSON.
        left_out: names that it had besides, and that LiteLLM has taken out.

    Returns:
        Names as ``ClientRefused`` says them; those of ``REPLACED`` are allowed by themselves. What stands in a
        client's list of fallbacks begins with ``fallbacks.``.
    """
    names = [name for name in (*body, *left_out) if _is_operators(name) or name in REPLACED]
    dropped = body.get("additional_drop_params")
    for name in dropped if isinstance(dropped, list) else ():
        if _is_operators(root := re.split(r"[.\[]", str(name), maxsplit=1)[0]) or root in REPLACED:
            names.append(f"additional_drop_params.{root}")
    for name in (name for each in _fallbacks_in(body) for name in _names_in(each)):
        # `documents` are also what chat templates may read: there they are the question where the request has them.
        is_question = name in _QUESTIONS or (name in _OTHER_OPERATIONS and name in body)
        if _is_operators(name) or name in REPLACED or is_question or name in _IN_ENTRIES:
            names.append(f"{_IN_FALLBACKS}{name}")
    return tuple(dict.fromkeys(names))


def refused_by_name(names: Sequence[str], *, later: bool) -> list[str]:
    """What of a client's the rule refuses whatever the call, before the operator's own exceptions.

    Args:
        names: from ``operators_names``.
        later: whether an entry of the client's ``fallbacks`` may be what is asked.
    """
    said = [name for name in names if later or not name.startswith(_IN_FALLBACKS)]
    return [name for name in said if name.removeprefix(_IN_FALLBACKS) not in REPLACED]


def refused_in(asked: AskedCall, names: Sequence[str], client_headers: Mapping[str, Any]) -> list[str]:
    """What else of a client's the rule refuses, in what reaches the handler.

    Args:
        asked: the call.
        names: from ``operators_names``.
        client_headers: of the client's request, of which LiteLLM may have forwarded some.
    """
    questions = _QUESTIONS if asked.operation in CHATS else _QUESTIONS | _OTHER_OPERATIONS
    refused = [name for name in asked.parameters if name in questions]
    if _said("extra_body", names):
        extra = asked.parameters.get("extra_body")
        extra_names = list(extra) if isinstance(extra, Mapping) else []
        refused += [
            f"extra_body.{name}"
            for name in extra_names
            if name in ("model", "stream") or name in questions or _is_operators(str(name))
        ]
    forwarded = {name.lower(): value for name, value in client_headers.items()}
    for name, value in asked.headers.items():
        clients = _said("extra_headers", names) or _said("headers", names) or forwarded.get(name.lower()) == value
        if clients and is_operators_header(name):
            refused.append(f"extra_headers.{name}")
    return refused


def replaces_something(names: Sequence[str]) -> bool:
    """Whether a client said a dictionary, with names of its own, that the deployment may have said too."""
    return any(_said(name, names) for name in REPLACED)


def without_infrastructures(headers: Mapping[str, Any], client_headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The headers without those that LiteLLM forwarded from the client's request and that mean nothing here.

    AWS's load balancers, CloudFront, WAF and API Gateway put ``X-Amz-Cf-Id``, ``X-Amzn-Trace-Id``, ``X-Amzn-Oidc-Data``
    and others on each request that they pass on to a proxy; and a header may have characters that none can have
    towards SageMaker.
    """
    forwarded = {name.lower(): value for name, value in client_headers.items()}

    def is_kept(name: str, value: Any) -> bool:
        lowered = name.lower()
        if lowered not in forwarded or forwarded[lowered] != value:
            return True
        infrastructures = lowered.startswith("x-amz") and not lowered.startswith(_SAGEMAKERS)
        return not infrastructures and str(value).isascii()

    return {name: value for name, value in headers.items() if is_kept(name, value)}


def is_operators_header(name: str) -> bool:
    """Whether a header chooses target, identity or framing, so that no client of a proxy may set it."""
    lowered = name.lower()
    return lowered.startswith("x-amz") or lowered in _FRAMING


def allows(exceptions: Any, name: str, value: Any) -> bool:
    """Whether a deployment's ``configurable_clientside_auth_params`` let clients say a name.

    LiteLLM's forms: a name, or ``{"api_base": pattern}`` of the values that are allowed (``_is_param_allowed`` in
    proxy/auth/auth_utils.py, 1.106.2). The whole value must match.
    """
    for each in exceptions if isinstance(exceptions, Sequence) and not isinstance(exceptions, str) else ():
        if each == name:
            return True
        pattern = each.get(name) if name == "api_base" and isinstance(each, Mapping) else None
        if isinstance(pattern, str) and isinstance(value, str) and re.fullmatch(pattern, value):
            return True
    return False


def may_be_a_fallback(body: Mapping[str, Any], groups: Iterable[Any]) -> bool:
    """Whether a call may be that of an entry in the client's fallbacks, rather than the one that it asked for first.

    Args:
        body: the client's JSON.
        groups: each ``model_group`` that LiteLLM's Router, or a client's metadata, says.
    """
    first = body.get("model")
    asked = list(groups)
    elsewhere = any(group != first for group in asked) or not asked
    return elsewhere or any(model == first for each in _fallbacks_in(body) for model in _models_in(each))


def is_deployments_model(model: str, chosen: str, written: Callable[[], str]) -> bool:
    """Whether a call asks for what the deployment names, or its wildcard allows.

    Under a wildcard a client chooses the endpoint by its name; by an ARN it would choose the region, too.

    Args:
        model: what is asked, without ``sagemaker_openai/``.
        chosen: the model of the deployment that the Router chose, a wildcard filled in.
        written: gives that model as the operator wrote it.
    """
    if model != chosen.removeprefix(_PREFIX):
        return False
    return not model.startswith("arn:") or written().removeprefix(_PREFIX).startswith("arn:")


def _is_operators(name: Any) -> bool:
    return isinstance(name, str) and (name.startswith("aws_") or name in _ALL_OPERATORS)


def _said(name: str, names: Sequence[str]) -> bool:
    return name in names or f"{_IN_FALLBACKS}{name}" in names


def _fallbacks_in(body: Mapping[str, Any]) -> Iterator[Any]:
    for source in (body, body.get("router_settings_override")):
        if isinstance(source, Mapping):
            yield from (source.get(name) for name in _FALLBACK_LISTS)


def _names_in(fallbacks: Any, depth: int = 0) -> Iterator[str]:
    """The names in the entries of a list of fallbacks, and in lists inside them."""
    for entry in fallbacks if isinstance(fallbacks, list) and depth < _DEEPEST_FALLBACKS else ():
        for name, value in entry.items() if isinstance(entry, Mapping) else ():
            yield str(name)
            yield from _names_in(value, depth + 1)


def _models_in(fallbacks: Any, depth: int = 0) -> Iterator[Any]:
    for entry in fallbacks if isinstance(fallbacks, list) and depth < _DEEPEST_FALLBACKS else ():
        if not isinstance(entry, Mapping):
            yield entry
            continue
        yield entry.get("model")
        for value in entry.values():
            yield from _models_in(value, depth + 1)
