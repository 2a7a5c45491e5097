"""A request's ``Authorization`` header → the check it fails, or None. Pure: the clock is passed in.

The runtime checks a token as AWS does, against the one set of credentials in its configuration. No message repeats
a token, a signature, a secret or a session token.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote

from litellm_sagemaker_openai.aws.sigv4 import ALGORITHM, SERVICE, FrozenCredentials
from litellm_sagemaker_openai.aws.token import (
    ACTION,
    HOST,
    MAX_EXPIRY_SECONDS,
    MIN_EXPIRY_SECONDS,
    TOKEN_PREFIX,
    TOKEN_VERSION,
    sign_token,
)

# SigV4 lets a request's time stamp differ from AWS's clock by this much.
CLOCK_SKEW = timedelta(minutes=5)

_PARAMETERS = frozenset(
    {
        "Action",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "Version",
    }
)
_SESSION_PARAMETER = "X-Amz-Security-Token"


@dataclass(frozen=True, slots=True)
class TokenRefusal:
    """Why a request is refused. 401: it has no readable token; 403: its token is not accepted."""

    status: int
    message: str


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.refusal = TokenRefusal(status, message)


def check_token(
    authorization: str | None, *, credentials: FrozenCredentials, region: str, now: datetime
) -> TokenRefusal | None:
    """The first check that the header fails, or None when AWS would accept the request.

    Args:
        authorization: the request's ``Authorization`` header.
        credentials: the only credentials whose tokens are accepted.
        region: the region that the runtime plays.
        now: the present, as an aware datetime.
    """
    try:
        parameters = _parameters(_query(_presigned_url(authorization)))
        _check_fixed_parameters(parameters)
        signed_at = time_of(parameters["X-Amz-Date"])
        if signed_at is None:
            raise _Refused(403, "The bearer token's X-Amz-Date is malformed.")
        _check_credential(parameters, credentials, region)
        expiry = _expiry(parameters["X-Amz-Expires"])
        _check_time(signed_at, expiry, now)
        _check_security_token(parameters, credentials)
        _check_signature(parameters["X-Amz-Signature"], sign_token(credentials, region, expiry, signed_at))
    except _Refused as refused:
        return refused.refusal
    return None


def _presigned_url(authorization: str | None) -> str:
    """The text inside the token: a URL without its scheme."""
    if not authorization:
        raise _Refused(401, "Missing Authentication Token: the request has no Authorization header.")
    scheme, _, token = authorization.partition(" ")
    if scheme.startswith(ALGORITHM):
        # Seen at AWS: this route takes no SigV4 signature over the request itself.
        raise _Refused(403, "Plain SigV4 is not accepted on this path; send a bearer token.")
    if scheme.lower() != "bearer":
        raise _Refused(401, "The Authorization header's scheme must be Bearer.")
    if not token.startswith(TOKEN_PREFIX):
        raise _Refused(401, f"The bearer token's prefix must be {TOKEN_PREFIX}.")
    try:
        return base64.b64decode(token.removeprefix(TOKEN_PREFIX), validate=True).decode("ascii")
    except ValueError:
        raise _Refused(401, "The bearer token is not base64 of a URL.") from None


def _query(url: str) -> str:
    host_and_path, mark, query = url.partition("?")
    host, slash, path = host_and_path.partition("/")
    if host != HOST:
        raise _Refused(403, f"The bearer token's host must be {HOST}.")
    if not (slash and mark) or path:
        raise _Refused(403, "The bearer token's path must be /.")
    return query


def _parameters(query: str) -> Mapping[str, str]:
    parameters: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in parameters:
            raise _Refused(403, "The bearer token gives a parameter twice.")
        parameters[name] = unquote(value)
    if parameters.keys() - _PARAMETERS - {_SESSION_PARAMETER}:
        raise _Refused(403, "The bearer token has a parameter that its signature does not cover.")
    missing = sorted(_PARAMETERS - parameters.keys())
    if missing:
        raise _Refused(403, f"The bearer token has no {missing[0]}.")
    return parameters


def _check_fixed_parameters(parameters: Mapping[str, str]) -> None:
    expected = {
        "Action": ACTION,
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-SignedHeaders": "host",
        "Version": TOKEN_VERSION,
    }
    for name, value in expected.items():
        if parameters[name] != value:
            raise _Refused(403, f"The bearer token's {name} must be {value}.")


def time_of(date: str) -> datetime | None:
    """The time of an ``X-Amz-Date``, or None where it is malformed."""
    # strptime alone would take shorter and longer digits than the one form that can have been signed.
    if re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", date):
        with suppress(ValueError):  # a month 13 and the like
            return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return None


def _check_credential(parameters: Mapping[str, str], credentials: FrozenCredentials, region: str) -> None:
    parts = parameters["X-Amz-Credential"].split("/")
    if len(parts) != 5:
        raise _Refused(403, "The bearer token's X-Amz-Credential has not five parts.")
    access_key, date, scope_region, service, terminator = parts
    if access_key != credentials.access_key:
        raise _Refused(403, "The access key id in the bearer token's X-Amz-Credential is unknown here.")
    # https://docs.aws.amazon.com/general/latest/gr/sigv4-date-handling.html
    if date != parameters["X-Amz-Date"][:8]:
        raise _Refused(403, "The date in the bearer token's X-Amz-Credential is not that of its X-Amz-Date.")
    if scope_region != region:
        raise _Refused(403, f"The region in the bearer token's X-Amz-Credential must be {region}.")
    if service != SERVICE:
        raise _Refused(403, f"The service in the bearer token's X-Amz-Credential must be {SERVICE}.")
    if terminator != "aws4_request":
        raise _Refused(403, "The bearer token's X-Amz-Credential must end in aws4_request.")


def _expiry(text: str) -> int:
    # Only the plain form: "0300" would be the same number under another signature.
    if re.fullmatch(r"[1-9][0-9]{0,4}", text) and MIN_EXPIRY_SECONDS <= int(text) <= MAX_EXPIRY_SECONDS:
        return int(text)
    raise _Refused(
        403, f"The bearer token's X-Amz-Expires must be {MIN_EXPIRY_SECONDS} to {MAX_EXPIRY_SECONDS} seconds."
    )


def _check_time(signed_at: datetime, expiry: int, now: datetime) -> None:
    if signed_at - CLOCK_SKEW > now:
        raise _Refused(403, "The bearer token's X-Amz-Date is in the future.")
    if now >= signed_at + timedelta(seconds=expiry):
        raise _Refused(403, "The bearer token has expired.")


def _check_security_token(parameters: Mapping[str, str], credentials: FrozenCredentials) -> None:
    given, expected = parameters.get(_SESSION_PARAMETER, ""), credentials.session_token or ""
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise _Refused(403, f"The bearer token's {_SESSION_PARAMETER} is not that of the credentials.")


def _check_signature(signature: str, regenerated_token: str) -> None:
    expected = _parameters(_query(_presigned_url(f"Bearer {regenerated_token}")))["X-Amz-Signature"]
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise _Refused(403, "The bearer token's X-Amz-Signature does not match.")
