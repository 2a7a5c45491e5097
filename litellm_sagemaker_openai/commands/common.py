"""What the subcommands share: options, consoles, and failures reported in a line, without a traceback."""

from __future__ import annotations

import codecs
import io
import logging
import os
import re
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from litellm_sagemaker_openai.aws.region import REGION_VARIABLES
from litellm_sagemaker_openai.aws.region import resolve_region as region_of_aws
from litellm_sagemaker_openai.target import Target, agreed_region, parse_target

if TYPE_CHECKING:
    from rich.console import Console

STOPPED = 130  # the exit status after Ctrl-C: 128 + SIGINT, as shells have it

# For output that is not UTF-8. A character that is not here is written as a question mark.
_STAND_INS = {
    **{"✓": "+", "✗": "x", "→": "->", "…": "...", "•": "*"},
    **{"\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "},
}
# Verify codes of openssl/x509_vfy.h: self-signed, alone or in the chain; the issuer's certificate is not there.
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
_READABLE_ASCII = "readable_ascii"

_NO_CREDENTIALS = (
    "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, give --profile, or run "
    "where a role is attached"
)
# A parameter of LiteLLM's calls, as messages name it → the command's option for it.
_OPTIONS = {
    "aws_region_name": "--region",
    "aws_profile_name": "--profile",
    "hf_model_name": "--hf-model-name",
}

# All of C0 but tab and newline, DEL, and C1.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

F = TypeVar("F", bound=Callable[..., Any])


def aws_options(command: F) -> F:
    """``--region`` and ``--profile``, passed on as ``region`` and ``profile``."""
    region = click.option(
        "--region",
        metavar="REGION",
        help=f"The endpoints' region.  [default: {', '.join(REGION_VARIABLES)}, the profile's]",
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
    """What an argument names; a usage error where it names nothing."""
    try:
        return parse_target(value.removeprefix("sagemaker_openai/"))
    except ValueError as error:
        raise click.BadParameter(str(error), context, argument) from error


def parsed_targets(context: click.Context, argument: click.Parameter, values: Sequence[str]) -> tuple[Target, ...]:
    """The same of an argument that may be given several times."""
    return tuple(parsed_target(context, argument, value) for value in values)


def write_stand_ins() -> None:
    """Let standard output and standard error replace what their encodings do not have, rather than raise.

    That is any mark or emoji where the encoding is not UTF-8, and a lone surrogate where it is.
    """
    codecs.register_error("stand-in", _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding
            if codecs.lookup(encoding).name == "ascii":
                codecs.register(_readable_ascii)
                encoding = _READABLE_ASCII
            stream.reconfigure(encoding=encoding, errors="stand-in")


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_STAND_INS.get(each, "?") for each in error.object[error.start : error.end]), error.end


def _readable_ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under another name: click takes ``ascii`` for a mistake, and writes UTF-8 (click._compat, 8.5.1)."""
    if name != _READABLE_ASCII:
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(*plain, plain.incrementalencoder, plain.incrementaldecoder, name)


def console(*, stderr: bool = False) -> Console:
    """A console that draws in a terminal, and writes plain text without line breaks of its own anywhere else.

    That is into a pipe or a file, and into a terminal whose cursor cannot be moved or whose encoding is not UTF-8.
    """
    from rich.console import Console

    output = Console(stderr=stderr, highlight=False)
    if output.is_dumb_terminal or output.options.ascii_only:
        output = Console(stderr=stderr, highlight=False, force_terminal=False)
    output.soft_wrap = not output.is_terminal
    return output


def resolve_region(region: str | None, profile: str | None, arn_region: str | None = None) -> tuple[str, str]:
    """The region, and what named it: ``--region`` and the ARN, which must agree, or else ``aws.region``'s order.

    Raises:
        ValueError: nothing names one, two disagree, what is named is not a region, or there is no such profile.
    """
    given = agreed_region(region, arn_region, "--region", "the ARN")
    resolved, source = region_of_aws(given, how_to_give="--region", profile=profile)
    return resolved, source or ("--region" if region else "the ARN")


def quiet_litellm() -> None:
    """Import LiteLLM with this provider, and let it print nothing and download no price list.

    What it logs at WARNING would be printed beside the same error's line. With ``LITELLM_LOG`` set, it logs.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # Else it reads the .env file of a folder above its own: that of a project whose .venv it is installed in.
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    import litellm_sagemaker_openai

    litellm.suppress_debug_info = True
    if "LITELLM_LOG" not in os.environ:
        logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    litellm_sagemaker_openai.register()


def failure_line(error: Exception) -> str:
    """The message of an exception of LiteLLM's in a line, without LiteLLM's name for it."""
    from litellm_sagemaker_openai.upstream_errors import shortened

    # MidStreamFallbackError says everything twice
    message = shortened(str(getattr(error, "original_exception", None) or error))
    return in_options(printable(" ".join(re.sub(r"^(litellm\.\w+: )+", "", message).split())))


def in_options(message: str) -> str:
    """The package's message for callers of LiteLLM, with the command's options in place of their parameters, and
    without what it says to clients of a proxy."""
    from litellm_sagemaker_openai.aws.credentials import NO_CREDENTIALS
    from litellm_sagemaker_openai.refusals import NOT_SENT
    from litellm_sagemaker_openai.upstream_errors import IN_A_PROXY

    for words in (NOT_SENT, IN_A_PROXY):
        message = message.replace(words, "")
    message = message.replace(NO_CREDENTIALS, _NO_CREDENTIALS)  # most of what it names has no option
    return re.sub("|".join(_OPTIONS), lambda named: _OPTIONS[named[0]], message)


def printable(text: str) -> str:
    """The text without control characters, which a terminal would obey: a model's answer may have escape sequences."""
    return _CONTROL_CHARACTERS.sub("", text)


@contextmanager
def expected_failures() -> Iterator[None]:
    """Errors of AWS, the network and the configuration end the command with a line and exit status 1."""
    from botocore.exceptions import BotoCoreError, ClientError

    from litellm_sagemaker_openai.aws.credentials import CredentialsError

    try:
        yield
    except (BotoCoreError, ClientError, CredentialsError, ValueError) as error:
        raise click.ClickException(reason(error)) from error


def reason(error: Exception) -> str:
    """An error in a line. AWS's message stays as it is, since it names the IAM action that is missing."""
    from botocore.exceptions import ClientError, NoCredentialsError

    if isinstance(error, NoCredentialsError):
        return _NO_CREDENTIALS
    if isinstance(error, ClientError):
        refusal = error.response.get("Error", {})
        return f"{error.operation_name}: {refusal.get('Code')}: {refusal.get('Message')}"
    return with_certificate_advice(in_options(str(error)), error)


def with_certificate_advice(message: str, error: BaseException) -> str:
    """The message, and what to do where its cause is a certificate that was refused."""
    return "; ".join(filter(None, [message, certificate_advice(error)]))


def certificate_advice(error: BaseException) -> str:
    """What to do about a certificate that was refused; empty where that is not the error's cause."""
    from botocore.exceptions import SSLError

    chain = list(_with_causes(error))
    refused = next((each for each in chain if isinstance(each, ssl.SSLCertVerificationError)), None)
    if refused is None:
        return ""
    if refused.verify_code not in _UNKNOWN_AUTHORITY:
        return "the certificate is not valid: look at the host's name, and at the clock of this machine"
    variable = "AWS_CA_BUNDLE" if any(isinstance(each, SSLError) for each in chain) else "SSL_CERT_FILE"
    return (
        "the certificate is of an authority that is not trusted here, such as that of a proxy which reads TLS: "
        f"name the authority's PEM file in {variable}"
    )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
