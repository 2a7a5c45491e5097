"""The keywords of a call, sorted once: the AWS identity, this provider's options, the container's body. Pure.

LiteLLM hands a custom provider every keyword that it does not know in ``optional_params``: AWS credentials,
this provider's options and the container's own parameters in one dictionary, which it uses again for retries
and fallbacks. So nothing is taken out of it: what is sorted here is copied.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from litellm.types.utils import all_litellm_params

from litellm_sagemaker_openai.aws.hosts import checked_hosts
from litellm_sagemaker_openai.aws.token import DEFAULT_EXPIRY, expiry_in_seconds
from litellm_sagemaker_openai.formats.embeddings import FORMATS
from litellm_sagemaker_openai.litellm_seams.stream_opening import MARK
from litellm_sagemaker_openai.operations.queued_inference.request import MEMBERS, AsyncOptions, Text, parse_prefix
from litellm_sagemaker_openai.sending.cold_start import LONGEST_WAIT
from litellm_sagemaker_openai.target import Target, agreed_region, checked_region

# What 0 becomes for containers that refuse it, as TGI does: "`temperature` must be strictly positive". LiteLLM's
# `sagemaker/` has the same switch, and sends 0.01 (llms/sagemaker/completion/transformation.py, 1.106.2).
_MINIMUM_TEMPERATURE = 0.1

# LiteLLM 1.106.2 leaves these of its own in `optional_params` (see tests/formats/test_chat_request.py); the others it
# takes out itself, by the list that this repeats in case a caller of the handler did not.
_NOT_FOR_THE_CONTAINER = frozenset(all_litellm_params) | {
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
    MARK,
    "stream",
    "timeout",
}
_CREDENTIALS = frozenset({"api_key", "azure_ad_token"})  # and all that begins with `aws_`

# Keywords whose values no callback and no log gets.
SECRETS = frozenset({"api_key", "aws_secret_access_key", "aws_session_token", "aws_web_identity_token"})


@dataclass(frozen=True, slots=True)
class AwsIdentity:
    """LiteLLM's AWS parameters: whose credentials sign, and how they are come by. Hashable; secrets not shown."""

    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = field(default=None, repr=False)
    aws_session_token: str | None = field(default=None, repr=False)
    aws_profile_name: str | None = None
    aws_role_name: str | None = None
    aws_session_name: str | None = None
    aws_web_identity_token: str | None = field(default=None, repr=False)
    aws_external_id: str | None = field(default=None, repr=False)
    aws_sts_endpoint: str | None = None
    aws_session_tags: tuple[tuple[str, str], ...] = ()


_IDENTITY = tuple(known.name for known in fields(AwsIdentity))


@dataclass(frozen=True, slots=True)
class Settings:
    """All that one call's keywords say, sorted. The README's parameter table has the meanings and defaults."""

    identity: AwsIdentity
    body: Mapping[str, Any]
    region: str | None = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    model_id: str | None = None
    model_name: str = ""
    token_expiry: int = int(DEFAULT_EXPIRY.total_seconds())
    fake_stream: bool = False
    cold_start_timeout: float = 0.0
    embedding_format: str = "openai"
    ssl_verify: bool | str | None = None
    max_retries: int | None = None
    asynchronous: AsyncOptions | None = None


def sort_settings(
    optional_params: Mapping[str, Any],
    litellm_params: Mapping[str, Any],
    *,
    api_key: str | None = None,
    api_base: str | None = None,
) -> Settings:
    """Sort what LiteLLM hands to the handler. No dictionary of the caller's is changed.

    Raises:
        ValueError: an option of a wrong type or out of range, an unknown ``aws_sagemaker_*`` name, or a
            credential in ``extra_body``. The message says what to write instead.
    """
    _refuse_unknown_options(optional_params)
    options = _Options(optional_params)
    allowed_hosts = optional_params.get("aws_sagemaker_allowed_hosts")
    expiry = options.number("aws_sagemaker_token_expiry", DEFAULT_EXPIRY.total_seconds())
    return Settings(
        identity=_identity(optional_params),
        body=_body(optional_params, allow_zero_temperature=options.flag("aws_sagemaker_allow_zero_temp")),
        region=options.text("aws_region_name"),
        api_key=_checked_token(api_key),
        base_url=api_base or options.text("sagemaker_base_url"),
        allowed_hosts=_named("aws_sagemaker_allowed_hosts", checked_hosts, allowed_hosts),
        model_id=options.text("model_id"),
        model_name=_Options(litellm_params).text("hf_model_name") or options.text("hf_model_name") or "",
        token_expiry=_named("aws_sagemaker_token_expiry", expiry_in_seconds, expiry),
        fake_stream=options.flag("fake_stream"),
        cold_start_timeout=options.duration("aws_sagemaker_cold_start_timeout", LONGEST_WAIT),
        embedding_format=options.choice("aws_sagemaker_embedding_format", tuple(FORMATS)),
        ssl_verify=litellm_params.get("ssl_verify"),
        max_retries=options.count("max_retries"),
        asynchronous=_asynchronous(options),
    )


def choose_region(
    settings: Settings, target: Target, environ: Mapping[str, str], profile_region: Callable[[str | None], str | None]
) -> str:
    """The region that the token is made for and the host is in.

    In this order: ``aws_region_name`` and the ARN (which must agree), ``AWS_REGION_NAME``, ``AWS_REGION``,
    ``AWS_DEFAULT_REGION``, the profile's.

    Raises:
        ValueError: no source names one, two disagree, or what is named is not a region.
    """
    region = agreed_region(settings.region, target.region, "aws_region_name", "the ARN")
    for name in ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"):
        region = region or environ.get(name)
    region = region or profile_region(settings.identity.aws_profile_name)
    if not region:
        raise ValueError(
            "no AWS region: give aws_region_name='us-west-2' (your endpoint's region) or the endpoint's ARN as the "
            "model, or set AWS_REGION"
        )
    return checked_region(region)


def without_secrets(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the parameters that says of a secret only that it is there."""
    return {**parameters, **{name: "***" for name in SECRETS & parameters.keys() if parameters[name]}}


class _Options:
    """Reads options that may come from Python, from YAML or, as text, from an environment variable."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def text(self, name: str) -> str | None:
        value = self._params.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} must be a string, not {type(value).__name__}")
        return value or None

    def choice(self, name: str, choices: Sequence[str]) -> str:
        value = self._params.get(name) or choices[0]
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
        return str(value)

    def flag(self, name: str) -> bool:
        value = self._params.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        raise ValueError(f"{name} must be true or false, not {value!r}")

    def number(self, name: str, default: float) -> float:
        value = self._params.get(name)
        if value is None:
            return default
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            try:
                return float(value)
            except ValueError:
                pass  # said below, in this option's own words
        raise ValueError(f"{name} must be a number of seconds, not {value!r}")

    def count(self, name: str) -> int | None:
        value = self._params.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        raise ValueError(f"{name} must be a whole number, 0 or more, not {value!r}")

    def duration(self, name: str, longest: float) -> float:
        seconds = self.number(name, 0.0)
        if not 0 <= seconds <= longest:
            raise ValueError(f"{name} must be a number of seconds from 0 to {longest:g}, not {seconds:g}")
        return seconds


def _checked_token(api_key: Any) -> str | None:
    """The token made elsewhere, without the white space that a file's end leaves; an empty one is none.

    It is never shown.
    """
    token = api_key.strip() if isinstance(api_key, str) else api_key
    if token is None or (isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]*", token)):
        return token or None
    raise ValueError("api_key is no bearer token: it must be a string of printable ASCII characters without spaces")


def _named(name: str, check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _asynchronous(options: _Options) -> AsyncOptions | None:
    headers: dict[str, str] = {}
    for name, member in MEMBERS.items():
        option = f"aws_sagemaker_async_{name}"
        value = options.text(option) if isinstance(member, Text) else options.count(option)
        if value is not None:
            headers[member.header] = _named(option, member.checked, value)
    given = options.text("aws_sagemaker_async_input")
    prefix = None if given is None else _named("aws_sagemaker_async_input", parse_prefix, given)
    if options.flag("aws_sagemaker_async"):
        if options.duration("aws_sagemaker_cold_start_timeout", LONGEST_WAIT):
            raise ValueError(
                "aws_sagemaker_cold_start_timeout has no meaning with aws_sagemaker_async: SageMaker keeps the request "
                "until the endpoint has capacity. Leave it out; timeout is how long the call waits for the result"
            )
        return AsyncOptions(headers, prefix)
    if headers or prefix:
        raise ValueError(
            "the aws_sagemaker_async_… options are for asynchronous inference; give aws_sagemaker_async=True with them"
        )
    return None


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
            raise ValueError(f"{name} must be a string, not {type(value).__name__}")
    return AwsIdentity(**given)


def _session_tags(tags: Any) -> tuple[tuple[str, str], ...]:
    try:
        return tuple((tag["Key"], tag["Value"]) for tag in tags)
    except (TypeError, KeyError) as error:
        raise ValueError("aws_session_tags must be a list of {'Key': …, 'Value': …}") from error


def _body(params: Mapping[str, Any], *, allow_zero_temperature: bool) -> Mapping[str, Any]:
    """The container's parameters: all that is nobody else's, then ``extra_body``, which has the last word."""
    body = {name: value for name, value in params.items() if not is_foreign(name)}
    if body.get("temperature") == 0 and not allow_zero_temperature:
        body["temperature"] = _MINIMUM_TEMPERATURE
    if body.get("tools") == []:
        body = _without_tools(body)
    extra_body = params.get("extra_body") or {}
    if not isinstance(extra_body, Mapping):
        raise ValueError(f"extra_body must be a dictionary, not {type(extra_body).__name__}")
    for name in extra_body:
        if name in _CREDENTIALS or str(name).startswith("aws_"):
            raise ValueError(
                f"extra_body carries {name}, and extra_body goes to the container as it is; give {name} as a "
                "parameter of the call or the deployment"
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
    """Whether a parameter of that name is LiteLLM's or this provider's, and does not reach the container."""
    return name in _NOT_FOR_THE_CONTAINER or name.startswith(("aws_", "litellm_"))


_OWN_OPTIONS = (
    "aws_sagemaker_allowed_hosts",
    "aws_sagemaker_token_expiry",
    "aws_sagemaker_allow_zero_temp",
    "aws_sagemaker_cold_start_timeout",
    "aws_sagemaker_embedding_format",
    "aws_sagemaker_async",
    "aws_sagemaker_async_input",
    *(f"aws_sagemaker_async_{name}" for name in MEMBERS),
)


def _refuse_unknown_options(params: Mapping[str, Any]) -> None:
    for name in params:
        if name.startswith("aws_sagemaker_") and name not in _OWN_OPTIONS:
            near = difflib.get_close_matches(name, _OWN_OPTIONS, n=1)
            raise ValueError(f"unknown option {name}; {f'did you mean {near[0]}?' if near else _OWN_OPTIONS}")
