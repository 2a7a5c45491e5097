"""What the subcommands share: options, consoles, and failures said without a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

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


def console(*, stderr: bool = False) -> Console:
    """A console that draws in a terminal, and writes plain text into a pipe or a file."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextmanager
def expected_failures() -> Iterator[None]:
    """What AWS, the network or the configuration may refuse: said in a line, with exit status 1."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    from litellm_sagemaker_openai.credentials import NO_CREDENTIALS, CredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise click.ClickException(NO_CREDENTIALS) from error
    except ClientError as error:
        said = error.response.get("Error", {})
        raise click.ClickException(f"{error.operation_name}: {said.get('Code')}: {said.get('Message')}") from error
    except (BotoCoreError, CredentialsError, ValueError) as error:
        raise click.ClickException(str(error)) from error
