"""Which AWS region is meant: the one order of its sources, and the one message where none names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from litellm_sagemaker_openai.target import checked_region

# LiteLLM's name (BaseAWSLLM), the AWS SDKs' and the AWS CLI's. boto3 by itself reads only the last of them.
REGION_VARIABLES = ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")


def region_in(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The region that the environment names, and the variable's name; None where it names none.

    In this order: ``AWS_REGION_NAME``, ``AWS_REGION``, ``AWS_DEFAULT_REGION``.
    """
    return next(((environ[name], name) for name in REGION_VARIABLES if environ.get(name)), None)


def configured_region(
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    region_of: Callable[[str | None], str | None] | None = None,
) -> tuple[str, str] | None:
    """The region that the environment names, or else the profile, and what named it; None where neither does.

    Args:
        profile: a profile of the AWS config file; None: the default one.
        environ: the environment. Default: the process's.
        region_of: gives a profile's region. Default: ``credentials.profile_region``.

    Raises:
        ValueError: there is no such profile.
    """
    if found := region_in(os.environ if environ is None else environ):
        return found
    if region_of is None:
        # Here: where the environment names the region, none of it is needed.
        from litellm_sagemaker_openai.aws.credentials import profile_region

        region_of = profile_region
    region = region_of(profile)
    return (region, "the profile") if region else None


def resolve_region(
    given: str | None,
    *,
    how_to_give: str,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    region_of: Callable[[str | None], str | None] | None = None,
) -> tuple[str, str]:
    """The region that is given, or else ``configured_region``, and what named it: ``""`` for what was given.

    Args:
        given: by the caller, or by an ARN; None: nothing.
        how_to_give: what the caller can write, for the message where nothing names a region.
        profile, environ, region_of: as for ``configured_region``.

    Raises:
        ValueError: nothing names a region, what is named is not one, or there is no such profile.
    """
    found = (given, "") if given else configured_region(profile, environ, region_of)
    if found is None:
        raise ValueError(f"no AWS region: give {how_to_give}, or set AWS_REGION or the profile's region")
    return checked_region(found[0]), found[1]
