"""The keywords of a call, sorted once: the AWS identity, this provider's options, the container's body. Pure.

LiteLLM hands a custom provider every keyword that it does not know in ``optional_params``: AWS credentials,
this provider's options and the container's own parameters in one dictionary, which it uses again for retries
and fallbacks. So nothing is taken out of it: what is sorted here is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from litellm_sagemaker_openai.aws.identity import AwsIdentity
from litellm_sagemaker_openai.formats.invocation_headers import MEMBERS as INVOCATION_MEMBERS
from litellm_sagemaker_openai.litellm_seams import known_parameters
from litellm_sagemaker_openai.litellm_seams.stream_opening import STREAM_FLAG
from litellm_sagemaker_openai.operations.queued_inference.request import MEMBERS, QueueOptions
from litellm_sagemaker_openai.options import CHAT, read_options
from litellm_sagemaker_openai.refusals import Refusal

# What 0 becomes for containers that refuse it, as TGI does: "`temperature` must be strictly positive". LiteLLM's
# `sagemaker/` has the same switch, and sends 0.01 (llms/sagemaker/completion/transformation.py, 1.106.2).
_MINIMUM_TEMPERATURE = 0.1

# LiteLLM 1.106.2 leaves these of its own in `optional_params` (see tests/formats/test_chat_request.py); the others it
# takes out itself, by a list that is heeded here in case a caller of the handler did not.
_NOT_FOR_THE_CONTAINER = frozenset(
    {
        "azure_ad_token",
        "base_url",
        "extra_body",
        "extra_headers",
        "fake_stream",
        "hf_model_name",
        "max_retries",
        "metadata",
        "model",
        "model_id",
        "policies",
        "sagemaker_base_url",
        STREAM_FLAG,
        "stream",
        "timeout",
    }
)
# What agents send to OpenAI's and Anthropic's own services, as far as LiteLLM 1.103.0 to 1.110.2 hands it on. No
# container reads it, and TensorRT-LLM's server refuses what it does not know (docs/agents.md). `extra_body` passes.
_ANOTHER_SERVICES = frozenset(
    {
        "betas",
        "client_metadata",
        "context_management",
        "inference_geo",
        "output_config",
        "prompt_cache_retention",
        "safety_identifier",
        "web_search_options",
    }
)
_CREDENTIALS = frozenset({"api_key", "azure_ad_token"})  # and all that begins with `aws_`

# Keywords whose values no callback and no log gets.
SECRETS = frozenset({"api_key", "aws_secret_access_key", "aws_session_token", "aws_web_identity_token"})

_IDENTITY = tuple(known.name for known in fields(AwsIdentity))


@dataclass(frozen=True, slots=True)
class Settings:
    """All that one call's keywords say, sorted. docs/parameters.md has the meanings and defaults."""

    identity: AwsIdentity
    body: Mapping[str, Any]
    region: str | None = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    model_id: str | None = None
    model_name: str = ""
    token_expiry: int = 300
    fake_stream: bool = False
    cold_start_timeout: float = 0.0
    embedding_format: str = "openai"
    rerank_format: str = "cohere"
    hint_source: str | None = None
    ssl_verify: bool | str | None = None
    max_connections: int | None = None
    max_retries: int | None = None
    queue: QueueOptions | None = None
    invocation: Mapping[str, str] = field(default_factory=dict, repr=False)


def sort_settings(
    optional_params: Mapping[str, Any],
    litellm_params: Mapping[str, Any],
    *,
    operation: str = CHAT,
    api_key: str | None = None,
    api_base: str | None = None,
) -> Settings:
    """Sort what LiteLLM hands to the handler. No dictionary of the caller's is changed.

    Args:
        optional_params: LiteLLM's.
        litellm_params: LiteLLM's.
        operation: what is asked, by its name.
        api_key: LiteLLM's.
        api_base: LiteLLM's.

    Raises:
        Refusal: as for ``options.read_options``; an AWS parameter of a wrong type; or a credential in
            ``extra_body``. The message says what to write instead.
    """
    given = {**optional_params, "api_key": api_key}
    if litellm_params.get("hf_model_name") not in (None, ""):
        given["hf_model_name"] = litellm_params["hf_model_name"]
    if api_base:
        given["sagemaker_base_url"] = None
    options = read_options(given, operation)
    return Settings(
        identity=_identity(optional_params),
        body=_body(optional_params, allow_zero_temperature=options["aws_sagemaker_allow_zero_temp"]),
        region=options["aws_region_name"],
        api_key=options["api_key"],
        base_url=api_base or options["sagemaker_base_url"],
        allowed_hosts=options["aws_sagemaker_allowed_hosts"],
        model_id=options["model_id"],
        model_name=options["hf_model_name"],
        token_expiry=options["aws_sagemaker_token_expiry"],
        fake_stream=options["fake_stream"],
        cold_start_timeout=options["aws_sagemaker_cold_start_timeout"],
        embedding_format=options["aws_sagemaker_embedding_format"],
        rerank_format=options["aws_sagemaker_rerank_format"],
        # InvokeEndpointAsync takes no hint.
        hint_source=None if options["aws_sagemaker_async"] else options["aws_sagemaker_prompt_cache_key"],
        ssl_verify=litellm_params.get("ssl_verify"),
        max_connections=options["aws_sagemaker_max_connections"],
        max_retries=options["max_retries"],
        queue=_queue(options) if options["aws_sagemaker_async"] else None,
        invocation=_invocation(options),
    )


def without_secrets(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the parameters that says of a secret only that it is there."""
    return {**parameters, **{name: "***" for name in SECRETS & parameters.keys() if parameters[name]}}


def _queue(options: Mapping[str, Any]) -> QueueOptions:
    given = {member.header: options[f"aws_sagemaker_async_{name}"] for name, member in MEMBERS.items()}
    own, inference_id = options["aws_sagemaker_async_inference_id"], options["aws_sagemaker_inference_id"]
    if inference_id is not None:
        if own not in (None, inference_id):
            raise Refusal(
                f"aws_sagemaker_inference_id says {inference_id!r} and aws_sagemaker_async_inference_id says {own!r}; "
                "give one of them",
                "aws_sagemaker_inference_id",
                "aws_sagemaker_async_inference_id",
            )
        given[MEMBERS["inference_id"].header] = inference_id
    headers = {header: value for header, value in given.items() if value is not None}
    return QueueOptions(headers, options["aws_sagemaker_async_input"])


def _invocation(options: Mapping[str, Any]) -> dict[str, str]:
    """Each of ``InvokeEndpoint``'s members that has a value. The queue has the inference's id among its own."""
    given = {name: options[f"aws_sagemaker_{name}"] for name in INVOCATION_MEMBERS}
    if options["aws_sagemaker_async"]:
        del given["inference_id"]
    return {name: value for name, value in given.items() if value is not None}


def _identity(params: Mapping[str, Any]) -> AwsIdentity:
    given: dict[str, Any] = {}
    for name in _IDENTITY:
        value = params.get(name)
        if value is None:
            continue
        if name == "aws_session_tags":
            given[name] = _session_tags(value)
        elif isinstance(value, str):
            given[name] = value
        else:
            raise Refusal(f"{name} must be a string, not {type(value).__name__}", name)
    return AwsIdentity(**given)


def _session_tags(tags: Any) -> tuple[tuple[str, str], ...]:
    try:
        return tuple((tag["Key"], tag["Value"]) for tag in tags)
    except (TypeError, KeyError) as error:
        raise Refusal("aws_session_tags must be a list of {'Key': …, 'Value': …}", "aws_session_tags") from error


def _body(params: Mapping[str, Any], *, allow_zero_temperature: bool) -> Mapping[str, Any]:
    """The container's parameters: all that is nobody else's, then ``extra_body``, which has the last word."""
    body = {name: value for name, value in params.items() if not is_foreign(name)}
    if body.get("temperature") == 0 and not allow_zero_temperature:
        body["temperature"] = _MINIMUM_TEMPERATURE
    if body.get("tools") == []:
        body = _without_tools(body)
    extra_body = params.get("extra_body") or {}
    if not isinstance(extra_body, Mapping):
        raise Refusal(f"extra_body must be a dictionary, not {type(extra_body).__name__}", "extra_body")
    for name in extra_body:
        if name in _CREDENTIALS or str(name).startswith("aws_"):
            raise Refusal(
                f"extra_body carries {name}, and extra_body goes to the container as it is; give {name} as a "
                "parameter of the call or the deployment",
                "extra_body",
            )
    return {**body, **extra_body}


def _without_tools(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without its empty list of tools, and without what is only allowed beside tools.

    An empty list means none, but OpenAI refuses it, and chat templates that ask only whether there is a list (Llama
    3.1's) tell the model of tools. A choice that insists on a tool stays, for the container to refuse.
    """
    dropped = {"tools", "parallel_tool_calls"}
    if body.get("tool_choice") in ("auto", "none"):
        dropped.add("tool_choice")
    return {name: value for name, value in body.items() if name not in dropped}


def is_foreign(name: str) -> bool:
    """Whether a parameter of that name is LiteLLM's, this provider's or another service's: no container's."""
    own = name in _NOT_FOR_THE_CONTAINER or name in known_parameters.litellms_own()
    return own or name in _ANOTHER_SERVICES or name.startswith(("aws_", "litellm_"))
