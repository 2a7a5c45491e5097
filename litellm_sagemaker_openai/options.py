"""The options of a call or a deployment, one row each: its name, its reader, and which operations take it. Pure.

From the table come an option's check, the errors for an unknown option and for one that an operation cannot take, and
the test that compares it with docs/parameters.md. LiteLLM's AWS parameters are not in it: they are
the fields of ``aws.identity.AwsIdentity``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from litellm_sagemaker_openai.aws.hosts import checked_hosts
from litellm_sagemaker_openai.aws.s3_location import parse_prefix
from litellm_sagemaker_openai.aws.token import DEFAULT_EXPIRY, expiry_in_seconds
from litellm_sagemaker_openai.formats.embeddings import FORMATS
from litellm_sagemaker_openai.formats.invocation_headers import MEMBERS as INVOCATION_MEMBERS
from litellm_sagemaker_openai.formats.prompt_cache_key import SOURCES
from litellm_sagemaker_openai.formats.rerank import FORMATS as RERANK_FORMATS
from litellm_sagemaker_openai.operations.queued_inference.request import MEMBERS, Seconds
from litellm_sagemaker_openai.refusals import AtFault, Refusal
from litellm_sagemaker_openai.sending.cold_start import LONGEST_WAIT

# Operations that some options are for, by their names: `Operation.name`, and the column of docs/parameters.md.
CHAT, EMBEDDINGS, QUEUED_CHAT = "chat", "embeddings", "queued chat"
INVOKED_CHAT, TEXT_COMPLETIONS, RERANK = "chat by InvokeEndpoint", "text completions", "rerank"
CHATS = (CHAT, INVOKED_CHAT, QUEUED_CHAT)

Reader = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        name: as callers write it.
        read: its value from what was given, which may come from Python, from YAML or, as text, from an environment
            variable. Raises ValueError, whose message names the option and says what to write.
        default: where it is not given.
        taken_by: the operations that read it, and the others ignore it; None: all of them. Nothing enforces it: it is
            for docs/parameters.md, and compared with it.
        refused_by: the operations for which it is an error, and why.
    """

    name: str
    read: Reader
    default: Any = None
    taken_by: Sequence[str] | None = None
    refused_by: Mapping[str, str] = field(default_factory=dict)


# Readers: what was given is never None.


def text(name: str, value: Any) -> str | None:
    """A string; an empty one is none."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, not {type(value).__name__}")
    return value or None


def flag(name: str, value: Any) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError(f"{name} must be true or false, not {value!r}")


def number(name: str, value: Any) -> float:
    """A number of seconds."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass  # said below, in this option's own words
    raise ValueError(f"{name} must be a number of seconds, not {value!r}")


def count(least: int) -> Reader:
    """A whole number from the least on."""

    def read(name: str, value: Any) -> int:
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")

    return read


def duration(longest: float) -> Reader:
    """A number of seconds from 0 to the longest."""

    def read(name: str, value: Any) -> float:
        seconds = number(name, value)
        if not 0 <= seconds <= longest:
            raise ValueError(f"{name} must be a number of seconds from 0 to {longest:g}, not {seconds:g}")
        return seconds

    return read


def choice(choices: Sequence[str]) -> Reader:
    """One of several words; an empty one is none."""

    def read(name: str, value: Any) -> str | None:
        if value and value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
        return value or None

    return read


def checked(check: Callable[[Any], Any], first: Reader | None = None) -> Reader:
    """What ``check`` makes of the value, whose errors do not name the option."""

    def read(name: str, value: Any) -> Any:
        value = value if first is None else first(name, value)
        if value is None:
            return None
        try:
            return check(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    return read


def bearer_token(name: str, value: Any) -> str | None:
    """A token made elsewhere, without the white space that a file's end leaves; an empty one is none.

    It is never shown.
    """
    token = value.strip() if isinstance(value, str) else value
    if isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]*", token):
        return token or None
    raise ValueError(f"{name} is not a bearer token: it must be a string of printable ASCII characters without spaces")


_NO_TOKEN = (
    "api_key is a bearer token, and SageMaker's /{} takes none: requests to it are signed with AWS credentials. Leave "
    "api_key out and give the aws_* parameters"
).format
_QUEUE_ALONE = (
    "the aws_sagemaker_async_… options are for asynchronous inference; give aws_sagemaker_async=True with them"
)
_ONE_WAY = (
    "aws_sagemaker_chat_route has no meaning with aws_sagemaker_async, which has a route of its own; leave one of them "
    "out"
)
_NOT_QUEUED = (CHAT, INVOKED_CHAT, TEXT_COMPLETIONS, EMBEDDINGS, RERANK)
_of_the_queue = partial(Option, taken_by=(QUEUED_CHAT,), refused_by=dict.fromkeys(_NOT_QUEUED, _QUEUE_ALONE))
_INVOKED = (INVOKED_CHAT, TEXT_COMPLETIONS, EMBEDDINGS, RERANK)  # by `InvokeEndpoint`
# What `InvokeEndpointAsync` takes of `InvokeEndpoint`'s members: botocore's model, 1.44.5.
_QUEUED_MEMBERS = ("inference_id", "custom_attributes")
ON_OPENAI_V1 = "aws_sagemaker_headers_on_openai_v1"


def _of_invocations(member: str) -> Option:
    """The option of one of ``InvokeEndpoint``'s members, which AWS documents for no chat on ``/openai/v1``."""
    name = f"aws_sagemaker_{member}"
    queued = member in _QUEUED_MEMBERS
    refused_by = {
        CHAT: f"{name} becomes a header of InvokeEndpoint, and AWS documents none such for /openai/v1: set "
        "aws_sagemaker_chat_route='invocations', which sends the chat by InvokeEndpoint, or "
        f"{ON_OPENAI_V1}=True, which passes the header on as it is, whatever AWS does with it"
    }
    if not queued:
        refused_by[QUEUED_CHAT] = f"InvokeEndpointAsync takes no {name}; leave it out with aws_sagemaker_async"
    return Option(
        name,
        checked(INVOCATION_MEMBERS[member].checked, text),
        taken_by=(*_INVOKED, *((QUEUED_CHAT,) if queued else ())),
        refused_by=refused_by,
    )


OPTIONS: tuple[Option, ...] = (
    Option("model_id", text),
    Option("aws_region_name", text),
    Option(
        "api_key",
        bearer_token,
        taken_by=(CHAT,),
        refused_by={
            **dict.fromkeys(_INVOKED, _NO_TOKEN("invocations")),
            QUEUED_CHAT: _NO_TOKEN("async-invocations"),
        },
    ),
    Option("sagemaker_base_url", text),
    Option("hf_model_name", text, ""),
    Option("fake_stream", flag, False, taken_by=(CHAT, INVOKED_CHAT, TEXT_COMPLETIONS)),
    Option("max_retries", count(0), taken_by=(CHAT, INVOKED_CHAT, TEXT_COMPLETIONS)),
    Option("aws_sagemaker_allowed_hosts", checked(checked_hosts), ()),
    Option(
        "aws_sagemaker_token_expiry",
        checked(expiry_in_seconds, number),
        int(DEFAULT_EXPIRY.total_seconds()),
        taken_by=(CHAT,),
    ),
    Option("aws_sagemaker_allow_zero_temp", flag, False, taken_by=(*CHATS, TEXT_COMPLETIONS)),
    Option(
        "aws_sagemaker_chat_route",
        choice(("openai", "invocations")),
        "openai",
        taken_by=(CHAT, INVOKED_CHAT),
        refused_by={QUEUED_CHAT: _ONE_WAY},
    ),
    *map(_of_invocations, INVOCATION_MEMBERS),
    Option(ON_OPENAI_V1, flag, False, taken_by=(CHAT,)),
    Option(
        "aws_sagemaker_async",
        flag,
        False,
        taken_by=(QUEUED_CHAT,),
        refused_by={
            INVOKED_CHAT: _ONE_WAY,
            **{
                operation: f"aws_sagemaker_async is for chat completions; leave it out for {operation}"
                for operation in (EMBEDDINGS, TEXT_COMPLETIONS, RERANK)
            },
        },
    ),
    _of_the_queue("aws_sagemaker_async_input", checked(parse_prefix, text)),
    *(
        _of_the_queue(
            f"aws_sagemaker_async_{name}", checked(member.checked, count(0) if isinstance(member, Seconds) else text)
        )
        for name, member in MEMBERS.items()
    ),
    Option(
        "aws_sagemaker_cold_start_timeout",
        duration(LONGEST_WAIT),
        0.0,
        taken_by=(CHAT, *_INVOKED),
        refused_by={
            QUEUED_CHAT: "aws_sagemaker_cold_start_timeout has no meaning with aws_sagemaker_async: SageMaker keeps "
            "the request until the endpoint has capacity. Leave it out; timeout is how long the call waits for the "
            "result"
        },
    ),
    Option("aws_sagemaker_max_connections", count(1)),
    Option("aws_sagemaker_embedding_format", choice(tuple(FORMATS)), next(iter(FORMATS)), taken_by=(EMBEDDINGS,)),
    Option(
        "aws_sagemaker_rerank_format", choice(tuple(RERANK_FORMATS)), next(iter(RERANK_FORMATS)), taken_by=(RERANK,)
    ),
    Option("aws_sagemaker_prompt_cache_key", choice(SOURCES), taken_by=_NOT_QUEUED),
)
_OF_INVOCATIONS = tuple(f"aws_sagemaker_{member}" for member in INVOCATION_MEMBERS)
_OWN = tuple(option.name for option in OPTIONS if option.name.startswith("aws_sagemaker_"))


def read_options(given: Mapping[str, Any], operation: str) -> dict[str, Any]:
    """Each option's value.

    Args:
        given: what the caller and the deployment say, other parameters among it.
        operation: what is asked, by its name; a chat is the one that ``chat_kind`` says.

    Raises:
        Refusal: an option of a wrong type or out of range, one that the operation cannot take, or an unknown
            ``aws_sagemaker_*`` name. The message says what to write instead.
    """
    _refuse_unknown(given)
    values: dict[str, Any] = {}
    for option in OPTIONS:
        value = given.get(option.name)
        if value is not None:
            with AtFault(option.name):
                value = option.read(option.name, value)
        values[option.name] = option.default if value is None else value
    if operation in CHATS:
        operation = chat_kind(values)
    passed_on = _OF_INVOCATIONS if operation == CHAT and values[ON_OPENAI_V1] else ()
    for option in OPTIONS:
        if operation in option.refused_by and values[option.name] != option.default and option.name not in passed_on:
            raise Refusal(option.refused_by[operation], option.name)
    return values


def chat_kind(given: Mapping[str, Any]) -> str:
    """By which of its ways a chat goes: ``CHAT``, ``INVOKED_CHAT`` or, where both are asked for, ``QUEUED_CHAT``.

    ``CHAT`` where ``aws_sagemaker_async`` or ``aws_sagemaker_chat_route`` cannot be read: ``read_options`` refuses it,
    once it is known who said it.
    """
    queued = given.get("aws_sagemaker_async")
    try:
        if queued is not None and flag("aws_sagemaker_async", queued):
            return QUEUED_CHAT
    except ValueError:
        return CHAT
    return INVOKED_CHAT if given.get("aws_sagemaker_chat_route") == "invocations" else CHAT


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for name in given:
        if name.startswith("aws_sagemaker_") and name not in _OWN:
            near = difflib.get_close_matches(name, _OWN, n=1)
            raise Refusal(f"unknown option {name}; {f'did you mean {near[0]}?' if near else _OWN}", name)
