"""Frozen AWS credentials → the bearer token that SageMaker's ``/openai/v1`` path takes.

A token is a presigned SigV4 query over a request that is never sent, in base64. ``tests/aws/test_token.py`` compares
each byte with botocore's signer and with ``sagemaker-core``'s generator.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta
from urllib.parse import quote

from litellm_sagemaker_openai.aws.sigv4 import ALGORITHM, FrozenCredentials, scope_of, signature, timestamp_of

# The protocol's own words; source: sagemaker-core 2.27, sagemaker/core/token_generator/token_generator.py.
HOST = "sagemaker.amazonaws.com"
ACTION = "CallWithBearerToken"
TOKEN_PREFIX = "sagemaker-api-key-"
TOKEN_VERSION = "1"
MIN_EXPIRY_SECONDS = 1
MAX_EXPIRY_SECONDS = 43200
DEFAULT_EXPIRY = timedelta(minutes=5)

_EMPTY_BODY_SHA256 = hashlib.sha256(b"").hexdigest()


def expiry_in_seconds(expiry: timedelta | float) -> int:
    """Whole seconds of ``expiry``, which is a timedelta or a number of seconds.

    Raises:
        ValueError: it is outside 1 to 43200 seconds (12 hours), the range that SageMaker takes.
    """
    seconds = expiry.total_seconds() if isinstance(expiry, timedelta) else expiry
    if isinstance(seconds, bool) or not MIN_EXPIRY_SECONDS <= seconds <= MAX_EXPIRY_SECONDS:
        raise ValueError(
            f"a token's expiry must be {MIN_EXPIRY_SECONDS} to {MAX_EXPIRY_SECONDS} seconds (12 hours), not {seconds}"
        )
    return int(seconds)


def sign_token(credentials: FrozenCredentials, region: str, expiry: int, now: datetime) -> str:
    """A bearer token for ``region``, valid for ``expiry`` seconds from ``now`` (an aware datetime).

    The token ends earlier where the credentials do. It carries the full authority of the credentials.
    """
    timestamp = timestamp_of(now)
    scope = scope_of(timestamp, region)
    parameters = {
        "Action": ACTION,
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(expiry),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token is not None:
        parameters["X-Amz-Security-Token"] = credentials.session_token
    # SigV4 percent-encodes all but the unreserved characters, and signs the parameters in their sorted order.
    encoded = [f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items()]
    canonical_request = "\n".join(
        ["POST", "/", "&".join(sorted(encoded)), f"host:{HOST}\n", "host", _EMPTY_BODY_SHA256]
    )
    signed = signature(credentials, timestamp, scope, canonical_request)
    query = "&".join([*encoded, f"X-Amz-Signature={signed}", f"Version={TOKEN_VERSION}"])
    return TOKEN_PREFIX + base64.b64encode(f"{HOST}/?{query}".encode()).decode()
