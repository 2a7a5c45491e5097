"""A request's SigV4 signature → the check it fails, or None. Pure: the clock is passed in.

For the routes that take no bearer token. The runtime checks as AWS does, in the words of AWS that public reports quote,
against the one set of credentials in its configuration. No message repeats a signature, a secret or a session token.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from litellm_sagemaker_openai.aws.sigv4 import (
    ALGORITHM,
    SERVICE,
    FrozenCredentials,
    canonical_request,
    scope_of,
    signature,
    timestamp_of,
)
from litellm_sagemaker_openai.local.tokens import CLOCK_SKEW, time_of

_INCOMPLETE, _INVALID = "IncompleteSignatureException", "InvalidSignatureException"
_UNKNOWN = ("UnrecognizedClientException", "The security token included in the request is invalid.")
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True)
class SignatureRefusal:
    """Why a request is refused: AWS's name of the error, and its message. All are HTTP 403."""

    error_type: str
    message: str


class _Refused(Exception):
    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.refusal = SignatureRefusal(error_type, message)


def check_signature(
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    credentials: FrozenCredentials,
    region: str,
    now: datetime,
) -> SignatureRefusal | None:
    """The first check that a POST fails, or None when AWS would accept it.

    Args:
        path: the request's, as it came, without a query.
        headers: the request's, names in lower case.
        body: the request's.
        credentials: the only credentials whose signatures are accepted.
        region: the region that the runtime plays.
        now: the present, as an aware datetime.
    """
    try:
        access_key, scope, names, given = _authorization(headers.get("authorization"))
        timestamp, signed_at = _signed_at(headers.get("x-amz-date"))
        _check_scope(scope, timestamp, region)
        _check_credentials(access_key, headers.get("x-amz-security-token"), credentials)
        signed = _signed_headers(names, headers)
        _check_time(signed_at, now)
        expected = signature(credentials, timestamp, scope, canonical_request(path, signed, body))
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise _Refused(_INVALID, _MISMATCH)
    except _Refused as refused:
        return refused.refusal
    return None


def _authorization(header: str | None) -> tuple[str, str, list[str], str]:
    """The access key id, the scope, the names of the signed headers, and the signature."""
    if not header:
        raise _Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = header.partition(" ")
    parameters = {name: value for name, _, value in (part.strip().partition("=") for part in rest.split(","))}
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not parameters.get(name)]
    if algorithm != ALGORITHM or missing:
        lacking = missing or [ALGORITHM]
        raise _Refused(_INCOMPLETE, " ".join(f"Authorization header requires '{name}' parameter." for name in lacking))
    access_key, _, scope = parameters["Credential"].partition("/")
    if scope.count("/") != 3:
        raise _Refused(_INCOMPLETE, "Credential must have exactly 5 slash-delimited elements.")
    return access_key, scope, parameters["SignedHeaders"].split(";"), parameters["Signature"]


def _signed_at(date: str | None) -> tuple[str, datetime]:
    """The date as it was signed, and its time."""
    if date is None:
        raise _Refused(_INCOMPLETE, "Authorization header requires existence of a 'X-Amz-Date' header.")
    time = time_of(date)
    if time is None:
        raise _Refused(_INCOMPLETE, "Date must be in ISO-8601 'basic format'.")
    return date, time


def _check_scope(scope: str, timestamp: str, region: str) -> None:
    expected = scope_of(timestamp, region).split("/")
    messages = (
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.",
        "Credential should be scoped to a valid region.",
        f"Credential should be scoped to correct service: '{SERVICE}'.",
        "Credential should be scoped with a valid terminator: 'aws4_request'.",
    )
    for given, wanted, message in zip(scope.split("/"), expected, messages, strict=True):
        if given != wanted:
            raise _Refused(_INVALID, message)


def _check_credentials(access_key: str, session_token: str | None, credentials: FrozenCredentials) -> None:
    same = hmac.compare_digest((session_token or "").encode(), (credentials.session_token or "").encode())
    if access_key != credentials.access_key or not same:
        raise _Refused(*_UNKNOWN)


def _signed_headers(names: list[str], headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that the signature is over. The host and what begins with ``x-amz-`` must be among them."""
    for name in ("host", *(name for name in headers if name.startswith("x-amz-"))):
        if name not in names:
            raise _Refused(_INVALID, f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
    return {name: headers.get(name, "") for name in names}


def _check_time(signed_at: datetime, now: datetime) -> None:
    signed, present, allowed = timestamp_of(signed_at), timestamp_of(now), f"{CLOCK_SKEW // timedelta(minutes=1)} min.)"
    earliest, latest = now - CLOCK_SKEW, now + CLOCK_SKEW
    if signed_at < earliest:
        expired = f"Signature expired: {signed} is now earlier than {timestamp_of(earliest)} ({present} - {allowed}"
        raise _Refused(_INVALID, expired)
    if signed_at > latest:
        early = f"Signature not yet current: {signed} is still later than {timestamp_of(latest)} ({present} + {allowed}"
        raise _Refused(_INVALID, early)
