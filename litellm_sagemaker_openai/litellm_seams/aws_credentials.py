"""LiteLLM's AWS parameters → a source of credentials, resolved by LiteLLM's own ``BaseAWSLLM``.

So each parameter (profile, role, session, web identity, external id …) means here what it means for LiteLLM's
``sagemaker/``.

What LiteLLM does: ``BaseAWSLLM.get_credentials`` resolves them for all its AWS providers, with a cache that they share.
It caps the session of a web identity at Bedrock's actions (``build_web_identity_session_policy``), so that the token of
such a session is answered 403 by SageMaker, and it logs the web identity token at DEBUG. It makes boto3 sessions
that look for credentials, and that hand back keys that it was given.
Seen on: LiteLLM 1.106.2.
Without its private names: botocore makes what they make. ``BaseAWSLLM`` itself is needed.
Needed until: test_what_litellms_own_does_with_a_web_identity in tests/aws/test_credentials.py fails.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from litellm.llms.bedrock.base_aws_llm import BaseAWSLLM

from litellm_sagemaker_openai.aws.credentials import (
    CredentialsError,
    CredentialSource,
    default_credentials,
    environment,
    load,
)
from litellm_sagemaker_openai.aws.identity import AwsIdentity
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.bounded_table import BoundedTable
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.http_clients import ssl_setting

if TYPE_CHECKING:
    from botocore.credentials import Credentials

_MOST_SOURCES = 1000
_MARGIN_SECONDS = 60  # as LiteLLM's own (litellm.constants.STS_CREDENTIAL_EXPIRY_SAFETY_MARGIN_SECONDS)

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
_sources: BoundedTable[Any, CredentialSource] = BoundedTable(_MOST_SOURCES)
_sources_of_given_keys: BoundedTable[Any, CredentialSource] = BoundedTable(_MOST_SOURCES)


def source_for(identity: AwsIdentity, region: str) -> CredentialSource:
    """The source of an identity's credentials, the same one for every call that has the same identity."""
    sources = _sources_of_given_keys if identity.aws_access_key_id else _sources
    key = (identity, region, environment(IDENTITY_VARIABLES))
    return sources.get(key, lambda: CredentialSource(functools.partial(_litellm_resolver, identity, region)))


def _litellm_resolver(identity: AwsIdentity, region: str) -> Callable[[], Any]:
    parameters: dict[str, Any] = {name: value for name, value in asdict(identity).items() if value}
    if identity.aws_session_tags:
        parameters["aws_session_tags"] = [{"Key": key, "Value": value} for key, value in identity.aws_session_tags]
    litellms = functools.partial(_SageMakerAWSLLM().get_credentials, aws_region_name=region, **parameters)

    def resolve() -> Any:
        if "aws_role_name" in parameters or "AWS_ROLE_NAME" in os.environ:
            load("boto3")  # which LiteLLM imports then
        return litellms()

    return resolve


class _SageMakerAWSLLM(BaseAWSLLM):
    """LiteLLM's resolver, with a cache of its own and without the Bedrock ceiling on web identities."""

    def __init__(self) -> None:
        super().__init__()
        # LiteLLM's own is shared by the process, Bedrock's sessions included: what AWS refused would come back.
        cache = lookup.in_module("litellm.caching.caching", "DualCache")
        entries = lookup.in_module("litellm.caching.in_memory_cache", "InMemoryCache")
        if cache is not None and entries is not None:
            self.iam_cache = cache(in_memory_cache=entries())

    def _auth_with_aws_session_token(
        self, aws_access_key_id: str, aws_secret_access_key: str, aws_session_token: str
    ) -> tuple[Any, int | None]:
        """As LiteLLM's, which has botocore hold the keys: its import takes 40 ms."""
        return FrozenCredentials(aws_access_key_id, aws_secret_access_key, aws_session_token), None

    def _auth_with_access_key_and_secret_key(
        self, aws_access_key_id: str, aws_secret_access_key: str, aws_region_name: str | None
    ) -> tuple[Any, int | None]:
        """As LiteLLM's, whose boto3 session gives the same keys back; empty ones it looks for elsewhere."""
        if aws_access_key_id and aws_secret_access_key:
            return FrozenCredentials(aws_access_key_id, aws_secret_access_key), None
        found: tuple[Any, int | None] = super()._auth_with_access_key_and_secret_key(
            aws_access_key_id, aws_secret_access_key, aws_region_name
        )
        return found

    def _auth_with_aws_profile(self, aws_profile_name: str) -> tuple[Any, int | None]:
        """As LiteLLM's, whose boto3 session asks one of botocore's: the import of boto3 takes 20 ms more."""
        return default_credentials(aws_profile_name), None

    def _auth_with_env_vars(self) -> tuple[Any, int | None]:
        """The default AWS chain, as above."""
        return default_credentials(), None

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
        """As LiteLLM's, but without its session policy, which allows ``bedrock:*`` actions and nothing else."""
        if aws_web_identity_token.startswith("os.environ/") or aws_web_identity_token in os.environ:
            raise CredentialsError(
                "aws_web_identity_token must be a secret such as oidc/file/<path>, not a variable's name"
            )
        oidc_token = _secret(aws_web_identity_token)
        if not oidc_token:
            raise CredentialsError(
                "aws_web_identity_token names no secret that LiteLLM can read; write oidc/file/<path>, and allow the "
                "file's directory in LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS, or another of LiteLLM's oidc/ forms"
            )
        arguments = lookup.attribute(self, "_build_sts_client_kwargs")
        if arguments is None:
            arguments = _sts_arguments
        sts = load("boto3").client("sts", **arguments(aws_sts_endpoint, ssl_verify, aws_region_name))
        external_id = {"ExternalId": aws_external_id} if aws_external_id else {}
        session = sts.assume_role_with_web_identity(
            RoleArn=aws_role_name,
            RoleSessionName=aws_session_name,
            WebIdentityToken=oidc_token,
            DurationSeconds=3600,
            **external_id,
        )
        given = session["Credentials"]
        credentials = load("botocore.credentials").Credentials(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
        )
        lasts = (given["Expiration"] - datetime.now(timezone.utc)).total_seconds()
        return credentials, int(lasts) - _MARGIN_SECONDS


def _secret(name: str) -> str | None:
    read = lookup.in_module("litellm.secret_managers.main", "get_secret")
    if read is None:
        raise CredentialsError(
            "aws_web_identity_token: this LiteLLM has no get_secret, so its oidc/ forms cannot be read here; set "
            "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN instead"
        )
    secret: str | None = read(name)
    return secret


def _sts_arguments(endpoint: str | None, ssl_verify: bool | str | None, region: str | None) -> dict[str, Any]:
    given = {"endpoint_url": endpoint, "verify": ssl_setting(ssl_verify), "region_name": region}
    return {name: value for name, value in given.items() if value is not None}
