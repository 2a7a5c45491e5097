"""``token``: a bearer token, for curl or any OpenAI client. Imports no LiteLLM."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import click

from litellm_sagemaker_openai.commands.common import aws_options, expected_failures, json_option, resolve_region

if TYPE_CHECKING:
    from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _seconds(context: click.Context, option: click.Parameter, life: str) -> int:
    from litellm_sagemaker_openai.aws.token import expiry_in_seconds

    match = re.fullmatch(r"(\d+)([smh]?)", life.strip())
    if match is None:
        raise click.BadParameter(f"{life!r} must be seconds, or such as 90s, 15m, 2h", context, option)
    try:
        return expiry_in_seconds(int(match[1]) * _UNITS[match[2]])
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from error


@click.command()
@click.option(
    "--expiry",
    metavar="LIFE",
    callback=_seconds,
    default="5m",
    show_default=True,
    help="How long it is good for: seconds, or such as 90s, 15m, 2h; at most 12h.",
)
@aws_options
@json_option("the token, when it ends and its region")
def token(expiry: int, region: str | None, profile: str | None, as_json: bool) -> None:
    """Print a bearer token for the endpoints of a region.

    The token is all that goes to stdout; when it ends is said on stderr. Making one asks AWS nothing, unless your
    credentials come from STS, SSO or a role. Until it ends it carries the full authority of the role that made it.

    \b
    So it stands neither in the shell's history nor in the list of processes:
      echo "Authorization: Bearer $(litellm-sagemaker-openai token)" |
        curl -H @- -H "Content-Type: application/json" \\
          -d '{"messages": [{"role": "user", "content": "Hello?"}]}' \\
          https://runtime.sagemaker.REGION.amazonaws.com/endpoints/ENDPOINT/openai/v1/chat/completions
    """
    with expected_failures():
        from litellm_sagemaker_openai.aws.token import sign_token

        region, _ = resolve_region(region, profile)
        frozen, credentials_end = _credentials(profile)
        now = datetime.now(timezone.utc).replace(microsecond=0)
        ends = now + timedelta(seconds=expiry)
        text = sign_token(frozen, region, expiry, now)
    if credentials_end is not None:
        ends = min(ends, credentials_end)
    if as_json:
        text = json.dumps({"token": text, "expires_at": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "region": region})
    click.echo(text)
    click.echo(_validity(now, ends, region), err=True)


def _validity(now: datetime, ends: datetime, region: str) -> str:
    minutes, seconds = divmod(round((ends - now).total_seconds()), 60)
    left = " ".join([*([f"{minutes} min"] if minutes else []), *([f"{seconds} s"] if seconds else [])])
    return (
        f"Good in {region} for {left}: until {ends:%Y-%m-%d %H:%M:%S} UTC ({ends.astimezone():%H:%M} local time).\n"
        "Until then it has the full authority of the role that made it: keep it off disks, logs and plain HTTP."
    )


def _credentials(profile: str | None) -> tuple[FrozenCredentials, datetime | None]:
    """The profile's credentials, or the default chain's, and when they end, if they do.

    Raises:
        CredentialsError: there are none, or they have ended.
    """
    from litellm_sagemaker_openai.aws.credentials import (
        CredentialsError,
        default_credentials,
        explain_failure,
        freeze,
        quiet_botocore,
    )

    with quiet_botocore():
        try:
            credentials = default_credentials(profile)
            frozen = freeze(credentials)
        except RuntimeError as error:  # botocore's, where AWS_CREDENTIAL_EXPIRATION is in the past
            raise CredentialsError(explain_failure(error)) from error
    # botocore has no public name for it; the AWS CLI reads the same (awscli/customizations/configure/exportcreds.py).
    return frozen, getattr(credentials, "_expiry_time", None)
