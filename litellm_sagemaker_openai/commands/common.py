"""What the subcommands share: options, consoles, and failures said without a traceback."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from litellm_sagemaker_openai.target import Target, agreed_region, checked_region, parse_target

if TYPE_CHECKING:
    from rich.console import Console

# All of C0 but tab and newline, DEL, and C1.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

F = TypeVar("F", bound=Callable[..., Any])


def aws_options(command: F) -> F:
    """``--region`` and ``--profile``, passed on as ``region`` and ``profile``."""
    region = click.option(
        "--region",
        metavar="REGION",
        help="The endpoints' region.  [default: AWS_REGION, AWS_DEFAULT_REGION, the profile's]",
    )
    profile = click.option("--profile", metavar="NAME", help="A profile of the AWS configuration.")
    return region(profile(command))


def json_option(what: str) -> Callable[[F], F]:
    """``--json``, passed on as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON, for programs.")


def target_argument(command: F) -> F:
    """``ENDPOINT[/COMPONENT]``, passed on as ``target``; also an ARN, or LiteLLM's whole model string."""

    return click.argument("target", metavar="ENDPOINT[/COMPONENT]", callback=parsed_target)(command)


def parsed_target(context: click.Context, argument: click.Parameter, value: str) -> Target:
    """What an argument names; wrong usage where it names nothing."""
    try:
        return parse_target(value.removeprefix("sagemaker_openai/"))
    except ValueError as error:
        raise click.BadParameter(str(error), context, argument) from error


def console(*, stderr: bool = False) -> Console:
    """A console that draws in a terminal, and writes plain text into a pipe or a file."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def resolve_region(region: str | None, profile: str | None, arn_region: str | None = None) -> tuple[str, str]:
    """The region, and what named it. boto3 by itself reads no ``AWS_REGION``.

    The first of ``--region`` and the ARN's, which must agree, ``AWS_REGION``, ``AWS_DEFAULT_REGION``, the profile's.

    Raises:
        ValueError: nothing names one, two disagree, what is named is not a region, or there is no such profile.
    """
    from litellm_sagemaker_openai.credentials import profile_region

    if given := agreed_region(region, arn_region, "--region", "the ARN"):
        return checked_region(given), "--region" if region else "the ARN"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if found := os.environ.get(name):
            return checked_region(found), name
    if found := profile_region(profile):
        return checked_region(found), "the profile"
    raise ValueError("no AWS region: give --region, or set AWS_REGION or the profile's region")


def quiet_litellm() -> None:
    """Import LiteLLM with this provider, and let it print nothing and download no price list.

    What it would log at WARNING is what exceptions leave out of a message: here it would say everything twice. Where
    ``LITELLM_LOG`` asks for a log, there is one.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    import litellm_sagemaker_openai

    litellm.suppress_debug_info = True
    if "LITELLM_LOG" not in os.environ:
        logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    litellm_sagemaker_openai.register()


def failure_line(error: Exception) -> str:
    """What an exception of LiteLLM's says, in a line, without LiteLLM's name for it."""
    said = str(getattr(error, "original_exception", None) or error)  # MidStreamFallbackError says everything twice
    return printable(" ".join(re.sub(r"^(litellm\.\w+: )+", "", said).split()))


def printable(text: str) -> str:
    """The text without what a terminal would obey: a model may say anything, escape sequences too."""
    return _CONTROL_CHARACTERS.sub("", text)


@contextmanager
def expected_failures() -> Iterator[None]:
    """What AWS, the network or the configuration may refuse: said in a line, with exit status 1."""
    from botocore.exceptions import BotoCoreError, ClientError

    from litellm_sagemaker_openai.credentials import CredentialsError

    try:
        yield
    except (BotoCoreError, ClientError, CredentialsError, ValueError) as error:
        raise click.ClickException(reason(error)) from error


def reason(error: Exception) -> str:
    """Why it was refused, in a line. AWS's own words name the IAM action that is missing."""
    from botocore.exceptions import ClientError, NoCredentialsError

    from litellm_sagemaker_openai.credentials import NO_CREDENTIALS

    if isinstance(error, NoCredentialsError) or str(error) == NO_CREDENTIALS:  # which names parameters of a call
        return (
            "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, give --profile, "
            "or run where a role is attached"
        )
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        return f"{error.operation_name}: {said.get('Code')}: {said.get('Message')}"
    return str(error)
