"""AWS Signature Version 4, as far as this provider needs it. Pure.

It is built here rather than with botocore's signer because ``botocore.auth`` logs the string to sign and the
signature at DEBUG. ``tests/aws/test_token.py`` and ``tests/aws/test_sigv4.py`` compare each byte with botocore's.
The rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit

SERVICE = "sagemaker"  # the signing name of the control plane and of the runtime, in botocore's service models
ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class FrozenCredentials:
    """One coherent version of AWS credentials, read once, so that a refresh cannot mix two of them.

    Only the access key id, which is not secret, is shown by ``repr``.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def timestamp_of(now: datetime) -> str:
    """An aware datetime as SigV4 writes it."""
    return now.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def scope_of(timestamp: str, region: str) -> str:
    """What a signature is good for: a day, a region, a service."""
    return f"{timestamp[:8]}/{region}/{SERVICE}/aws4_request"


def signature(credentials: FrozenCredentials, timestamp: str, scope: str, canonical: str) -> str:
    """The signature of a canonical request."""
    string_to_sign = "\n".join([ALGORITHM, timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


def signed_headers(
    credentials: FrozenCredentials, region: str, now: datetime, *, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """The headers that make a POST to SageMaker's runtime a signed one.

    Args:
        credentials: whose signature it is.
        region: the endpoint's.
        now: an aware datetime.
        url: without a query.
        headers: the request's others, names in lower case; ``content-type`` and ``x-amz…`` are signed, the rest a
            proxy may change.
        body: the bytes that are sent.
    """
    split, timestamp = urlsplit(url), timestamp_of(now)
    added = {"x-amz-date": timestamp}
    if credentials.session_token is not None:
        added["x-amz-security-token"] = credentials.session_token
    signed = {name: value for name, value in headers.items() if name == "content-type" or name.startswith("x-amz")}
    signed |= {"host": _host(split.scheme, split.netloc), **added}
    scope = scope_of(timestamp, region)
    signed_with = f"Credential={credentials.access_key}/{scope}, SignedHeaders={';'.join(sorted(signed))}"
    signed_as = signature(credentials, timestamp, scope, canonical_request(split.path or "/", signed, body))
    return {**added, "authorization": f"{ALGORITHM} {signed_with}, Signature={signed_as}"}


def canonical_request(path: str, signed: Mapping[str, str], body: bytes) -> str:
    """What the signature of a POST is over: its path as it is sent, the headers that are signed, its body."""
    return "\n".join(
        [
            "POST",
            quote(path, safe="/~"),  # a second time, as SigV4 wants it of every service but S3
            "",
            *(f"{name}:{' '.join(signed[name].split())}" for name in sorted(signed)),
            "",
            ";".join(sorted(signed)),
            hashlib.sha256(body).hexdigest(),
        ]
    )


def _host(scheme: str, netloc: str) -> str:
    return netloc.lower().removesuffix({"https": ":443", "http": ":80"}[scheme])
