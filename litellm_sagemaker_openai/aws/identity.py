"""Whose credentials sign: LiteLLM's AWS parameters as one value. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AwsIdentity:
    """LiteLLM's AWS parameters: whose credentials sign, and how they are obtained. Hashable; secrets not shown."""

    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = field(default=None, repr=False)
    aws_session_token: str | None = field(default=None, repr=False)
    aws_profile_name: str | None = None
    aws_role_name: str | None = None
    aws_session_name: str | None = None
    aws_web_identity_token: str | None = field(default=None, repr=False)
    aws_external_id: str | None = field(default=None, repr=False)
    aws_sts_endpoint: str | None = None
    aws_session_tags: tuple[tuple[str, str], ...] = ()
