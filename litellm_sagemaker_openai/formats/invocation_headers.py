"""What ``InvokeEndpoint`` takes beside the body: options → headers, and what its answer's headers tell. Pure.

Limits and patterns are those of botocore 1.44.5, service model sagemaker-runtime 2017-05-13;
tests/formats/test_invocation_headers.py compares each with it. ``InvokeEndpointWithResponseStream`` and
``InvokeEndpointAsync`` take only some of them: the table of options says what the second one takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from litellm_sagemaker_openai.refusals import Refusal

NEW_SESSION = "NEW_SESSION"


@dataclass(frozen=True, slots=True)
class Text:
    """A member of one of SageMaker's invocations that is text: its header, what it may be, and that in words."""

    header: str
    pattern: re.Pattern[str]
    rule: str
    is_sensitive: bool = False

    def checked(self, value: str) -> str:
        """The header's value.

        Raises:
            ValueError: SageMaker would refuse it.
        """
        if not self.pattern.fullmatch(value):
            given = "what was given" if self.is_sensitive else f"{value!r:.100}"
            raise ValueError(f"SageMaker takes {self.rule}, not {given}")
        return value


# A header's value has printable ASCII alone and cannot end in white space, which the model's patterns would allow.
_PRINTABLE = r"[\x21-\x7e](?:[\x20-\x7e]{{0,{}}}[\x21-\x7e])?".format
_ALPHANUMERIC = r"(?=.{{1,{}}}\Z)[a-zA-Z0-9](-*[a-zA-Z0-9])*".format
INFERENCE_ID = Text(
    "x-amzn-sagemaker-inference-id",
    re.compile(_PRINTABLE(62)),
    "printable ASCII, no space first or last, at most 64 characters",
)

# What follows `aws_sagemaker_` in an option's name → what it becomes.
MEMBERS: Mapping[str, Text] = {
    "target_variant": Text(
        "x-amzn-sagemaker-target-variant",
        re.compile(_ALPHANUMERIC(63)),
        "letters, digits and hyphens, no hyphen first or last, at most 63 characters",
    ),
    "inference_id": INFERENCE_ID,
    "session_id": Text(
        "x-amzn-sagemaker-session-id",
        re.compile(rf"{NEW_SESSION}|{_ALPHANUMERIC(256)}"),
        f"{NEW_SESSION}, or letters, digits and hyphens, no hyphen first or last, at most 256 characters",
    ),
    "custom_attributes": Text(
        "x-amzn-sagemaker-custom-attributes",
        re.compile(_PRINTABLE(1022)),
        "printable ASCII, no space first or last, at most 1024 characters",
        is_sensitive=True,
    ),
    "target_model": Text(
        "x-amzn-sagemaker-target-model",
        re.compile(_PRINTABLE(1022)),
        "printable ASCII, no space first or last, at most 1024 characters",
    ),
    "target_container_hostname": Text(
        "x-amzn-sagemaker-target-container-hostname",
        re.compile(_ALPHANUMERIC(63)),
        "letters, digits and hyphens, no hyphen first or last, at most 63 characters",
    ),
}
# "The model to request for inference when invoking a multi-model endpoint"; "if the endpoint hosts multiple containers
# and is configured to use direct invocation"; "if the endpoint hosts one or more inference components" (botocore's
# model): each is for endpoints of its own kind, and those with components have no model or containers beside them.
_NOT_WITH_A_COMPONENT = ("target_model", "target_container_hostname")
_NEW_SESSION_HEADER = "x-amzn-sagemaker-new-session-id"
_CLOSED_SESSION_HEADER = "x-amzn-sagemaker-closed-session-id"


def invocation_headers(options: Mapping[str, str], component: str | None, *, stream: bool = False) -> dict[str, str]:
    """The headers of the options that a call to ``/invocations`` has.

    Args:
        options: each member's value, by its name in ``MEMBERS``.
        component: the inference component that is asked.
        stream: whether it goes to ``/invocations-response-stream``.

    Raises:
        Refusal: two of them are for endpoints of different kinds, or a stream takes no such thing.
    """
    for name in _NOT_WITH_A_COMPONENT:
        if component and name in options:
            raise Refusal(
                f"aws_sagemaker_{name} is for endpoints without inference components, and the call names the "
                f"component {component!r}; give one of them",
                f"aws_sagemaker_{name}",
            )
    if stream and "target_model" in options:
        raise Refusal(_not_streamed("aws_sagemaker_target_model"), "aws_sagemaker_target_model")
    if stream and options.get("session_id") == NEW_SESSION:
        raise Refusal(_not_streamed(f"aws_sagemaker_session_id={NEW_SESSION!r}"), "aws_sagemaker_session_id")
    return {MEMBERS[name].header: value for name, value in options.items()}


def session_params(headers: Mapping[str, str]) -> dict[str, Any]:
    """What a response's ``_hidden_params`` say of the session that a call opened or closed; else nothing.

    Args:
        headers: the answer's, names in lower case or in a case-insensitive mapping.
    """
    told: dict[str, Any] = {}
    session_id, _, rest = headers.get(_NEW_SESSION_HEADER, "").partition(";")
    if session_id.strip():
        told["sagemaker_new_session_id"] = session_id.strip()
        if (expires := rest.strip()).lower().startswith("expires="):
            told["sagemaker_session_expires"] = expires.partition("=")[2]
    if closed := headers.get(_CLOSED_SESSION_HEADER):
        told["sagemaker_closed_session_id"] = closed
    return told


def _not_streamed(option: str) -> str:
    return (
        f"SageMaker takes no {option} with a stream (InvokeEndpointWithResponseStream): ask for a whole answer, or set "
        "fake_stream=True, which streams a whole answer in pieces"
    )
