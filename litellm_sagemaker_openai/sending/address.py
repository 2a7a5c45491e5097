"""Where a call goes, and who signs it: LiteLLM's parameters → the route's URL and its signer."""

from __future__ import annotations

from litellm_sagemaker_openai.aws.credentials import runtime_url
from litellm_sagemaker_openai.aws.hosts import is_known_host, refuse_unless_configured
from litellm_sagemaker_openai.aws.region import resolve_region
from litellm_sagemaker_openai.litellm_seams.aws_credentials import source_for
from litellm_sagemaker_openai.sending.request import GivenToken, RequestSigner, Signer, TokenSigner
from litellm_sagemaker_openai.settings import Settings
from litellm_sagemaker_openai.target import INVOCATIONS, Target, agreed_region, chat_url, invocations_url

HOW_TO_GIVE_REGION = "aws_region_name='us-west-2' (your endpoint's region) or the endpoint's ARN as the model"

# For botocore, which wants one to say what URL is configured: that is the same for all.
_ANY_REGION = "us-east-1"


def chat_address(settings: Settings, target: Target) -> tuple[str, Signer]:
    """The chat route, and the bearer tokens that it takes.

    Raises:
        ValueError: no region, sources of it that disagree, a base URL that will not do or that no token may go to.
    """
    if settings.api_key and settings.base_url:
        return _checked(chat_url(settings.base_url, target), settings, _ANY_REGION), GivenToken(settings.api_key)
    region, base_url = _runtime(settings, target)
    url = _checked(chat_url(base_url, target, region), settings, region)
    if settings.api_key:
        return url, GivenToken(settings.api_key)
    return url, TokenSigner(source_for(settings.identity, region), region, settings.token_expiry)


def invocations_address(settings: Settings, target: Target, *, route: str = INVOCATIONS) -> tuple[str, RequestSigner]:
    """One of the endpoint's own routes (see ``target.invocations_url``), and the signatures that it takes.

    Raises:
        ValueError: as for ``chat_address``.
    """
    region, base_url = _runtime(settings, target)
    url = _checked(invocations_url(base_url, target, region, route=route), settings, region)
    return url, RequestSigner(source_for(settings.identity, region), region)


def _runtime(settings: Settings, target: Target) -> tuple[str, str]:
    """The region and the runtime's base URL."""
    given = agreed_region(settings.region, target.region, "aws_region_name", "the ARN")
    region, _ = resolve_region(given, how_to_give=HOW_TO_GIVE_REGION, profile=settings.identity.aws_profile_name)
    return region, settings.base_url or runtime_url(region, settings.identity.aws_profile_name)


def _checked(url: str, settings: Settings, region: str) -> str:
    """The URL, if a token may go there."""
    if not is_known_host(url, settings.allowed_hosts):
        refuse_unless_configured(url, runtime_url(region, settings.identity.aws_profile_name))
    return url
