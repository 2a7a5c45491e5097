"""LiteLLM's AWS parameters → a source of credentials, resolved by LiteLLM's own ``BaseAWSLLM``.

So each parameter (profile, role, session, web identity, external id …) means here what it means for LiteLLM's
``sagemaker/``; the one departure is said at ``_SageMakerAWSLLM``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import boto3
from botocore.credentials import Credentials
from litellm.caching.caching import DualCache
from litellm.caching.in_memory_cache import InMemoryCache
from litellm.llms.bedrock.base_aws_llm import BaseAWSLLM
from litellm.secret_managers.main import get_secret

from litellm_sagemaker_openai.aws.credentials import CredentialsError, CredentialSource, environment
from litellm_sagemaker_openai.bounded_table import Table
from litellm_sagemaker_openai.settings import AwsIdentity

_MOST_SOURCES = 1000

# What in the environment decides whose credentials the default chain gives (botocore's and LiteLLM's names).
IDENTITY_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_PROFILE_NAME",
    "AWS_ROLE_NAME",
    "AWS_ROLE_ARN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
)

# Access keys may come from an application's own users, as many as they like: these have a table of their own, and push
# out only each other's.
_sources: Table[Any, CredentialSource] = Table(_MOST_SOURCES)
_sources_of_given_keys: Table[Any, CredentialSource] = Table(_MOST_SOURCES)


def source_for(identity: AwsIdentity, region: str) -> CredentialSource:
    """The source of an identity's credentials, the same one for every call that has the same identity."""
    sources = _sources_of_given_keys if identity.aws_access_key_id else _sources
    key = (identity, region, environment(IDENTITY_VARIABLES))
    return sources.get(key, lambda: CredentialSource(functools.partial(_litellm_resolver, identity, region)))


def _litellm_resolver(identity: AwsIdentity, region: str) -> Callable[[], Any]:
    parameters: dict[str, Any] = {name: value for name, value in asdict(identity).items() if value}
    if identity.aws_session_tags:
        parameters["aws_session_tags"] = [{"Key": key, "Value": value} for key, value in identity.aws_session_tags]
    return functools.partial(_SageMakerAWSLLM().get_credentials, aws_region_name=region, **parameters)


class _SageMakerAWSLLM(BaseAWSLLM):
    """LiteLLM's resolver, with a cache of its own and without the Bedrock ceiling on web identities."""

    def __init__(self) -> None:
        super().__init__()
        # LiteLLM's own is shared by the process, Bedrock's sessions included: what AWS refused would come back.
        self.iam_cache = DualCache(in_memory_cache=InMemoryCache())

    def _auth_with_web_identity_token(
        self,
        aws_web_identity_token: str,
        aws_role_name: str,
        aws_session_name: str,
        aws_region_name: str | None,
        aws_sts_endpoint: str | None,
        aws_external_id: str | None = None,
        ssl_verify: bool | str | None = None,
    ) -> tuple[Credentials, int | None]:
        """As LiteLLM's, but without its session policy, which allows ``bedrock:*`` actions and nothing else.

        LiteLLM 1.106.2 (``build_web_identity_session_policy``) caps the session at Bedrock's actions, so that the
        token of such a session is answered 403 by SageMaker, and it logs the web identity token at DEBUG.
        tests/aws/test_credentials.py shows both.
        """
        if aws_web_identity_token.startswith("os.environ/") or aws_web_identity_token in os.environ:
            raise CredentialsError(
                "aws_web_identity_token must be a secret such as oidc/file/<path>, not a variable's name"
            )
        oidc_token = get_secret(aws_web_identity_token)
        if not oidc_token:
            raise CredentialsError(
                "aws_web_identity_token names no secret that LiteLLM can read; write oidc/file/<path>, and allow the "
                "file's directory in LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS, or another of LiteLLM's oidc/ forms"
            )
        sts = boto3.client("sts", **self._build_sts_client_kwargs(aws_sts_endpoint, ssl_verify, aws_region_name))
        external_id = {"ExternalId": aws_external_id} if aws_external_id else {}
        session = sts.assume_role_with_web_identity(
            RoleArn=aws_role_name,
            RoleSessionName=aws_session_name,
            WebIdentityToken=oidc_token,
            DurationSeconds=3600,
            **external_id,
        )
        return self._extract_credentials_and_ttl(session)
