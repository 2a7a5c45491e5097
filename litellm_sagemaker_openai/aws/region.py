"""Which AWS region is meant: the one order of its sources, and the one message where none names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from litellm_sagemaker_openai.aws.credentials import profile_region
from litellm_sagemaker_openai.target import checked_region

# LiteLLM's name (BaseAWSLLM), the AWS SDKs' and the AWS CLI's. boto3 by itself reads only the last of them.
REGION_VARIABLES = ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
DEFAULTS = f"{', '.join(REGION_VARIABLES)}, the profile's"  # for the help of commands


def resolve_region(
    given: str | None,
    *,
    how_to_give: str,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    region_of: Callable[[str | None], str | None] = profile_region,
) -> tuple[str, str]:
    """The region, and what named it.

    In this order: what is given, ``AWS_REGION_NAME``, ``AWS_REGION``, ``AWS_DEFAULT_REGION``, the profile's.

    Args:
        given: by the caller, an ARN among it; None: nothing.
        how_to_give: what the caller can write, for the message where nothing names a region.
        profile: a profile of the AWS config file; None: the default one.
        environ: the environment. Default: the process's.
        region_of: gives a profile's region.

    Returns:
        The region, and the variable's name, ``"the profile"``, or ``""`` for what was given.

    Raises:
        ValueError: nothing names a region, what is named is not one, or there is no such profile.
    """
    if given:
        return checked_region(given), ""
    environ = os.environ if environ is None else environ
    for name in REGION_VARIABLES:
        if found := environ.get(name):
            return checked_region(found), name
    if found := region_of(profile):
        return checked_region(found), "the profile"
    raise ValueError(f"no AWS region: give {how_to_give}, or set AWS_REGION or the profile's region")
