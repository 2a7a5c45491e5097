"""Each check of a bearer token, by tampering with just the part that it looks at."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.aws.token import TOKEN_PREFIX, sign_token
from litellm_sagemaker_openai.local.tokens import CLOCK_SKEW, TokenRefusal, check_token

REGION = "us-west-2"
NOW = datetime(2026, 11, 20, 23, 59, 30, tzinfo=timezone.utc)
PLAIN = FrozenCredentials("AKIDEXAMPLE", "made/up+key")
TEMPORARY = FrozenCredentials("ASIAEXAMPLE", "made/up+key", "session/token+with=signs")


def check(token: str, credentials: FrozenCredentials = PLAIN, now: datetime = NOW) -> TokenRefusal | None:
    return check_token(f"Bearer {token}", credentials=credentials, region=REGION, now=now)


def url_of(token: str) -> str:
    return base64.b64decode(token.removeprefix(TOKEN_PREFIX)).decode()


def token_of(url: str) -> str:
    return TOKEN_PREFIX + base64.b64encode(url.encode()).decode()


def replaced(old: str, new: str, credentials: FrozenCredentials = PLAIN) -> str:
    """A good token in which one part is replaced after signing."""
    url = url_of(sign_token(credentials, REGION, 300, NOW))
    assert url.count(old) == 1
    return token_of(url.replace(old, new))


@pytest.mark.parametrize("credentials", [PLAIN, TEMPORARY])
@pytest.mark.parametrize("expiry", [1, 300, 43200])
def test_good_token_passes(credentials: FrozenCredentials, expiry: int) -> None:
    assert check(sign_token(credentials, REGION, expiry, NOW), credentials) is None


@pytest.mark.parametrize("credentials", [PLAIN, TEMPORARY])
def test_botocore_token_passes(credentials: FrozenCredentials) -> None:
    # As sagemaker-core 2.27 makes it; botocore signs with the clock's time.
    request = AWSRequest("POST", "https://sagemaker.amazonaws.com/", params={"Action": "CallWithBearerToken"})
    request.headers["host"] = "sagemaker.amazonaws.com"
    frozen = ReadOnlyCredentials(credentials.access_key, credentials.secret_key, credentials.session_token)
    SigV4QueryAuth(frozen, "sagemaker", REGION, expires=300).add_auth(request)
    token = token_of(request.url.removeprefix("https://") + "&Version=1")
    assert check(token, credentials, datetime.now(timezone.utc)) is None


def test_scheme_is_case_insensitive() -> None:
    header = f"bearer {sign_token(PLAIN, REGION, 300, NOW)}"
    assert check_token(header, credentials=PLAIN, region=REGION, now=NOW) is None


@pytest.mark.parametrize(
    ("header", "status", "names"),
    [
        (None, 401, "no Authorization header"),
        ("", 401, "no Authorization header"),
        ("Basic dXNlcjpwYXNz", 401, "scheme"),
        ("Bearer", 401, "prefix"),
        ("Bearer bedrock-api-key-abc", 401, "prefix"),
        (f"Bearer {TOKEN_PREFIX}not base64!", 401, "base64"),
        (f"Bearer {TOKEN_PREFIX}\u00e9", 401, "base64"),
        (f"Bearer {TOKEN_PREFIX}/w==", 401, "base64"),
        (f"Bearer {TOKEN_PREFIX}", 403, "host"),
        ("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-west-2/sagemaker/aws4_request", 403, "SigV4"),
    ],
)
def test_header_without_a_token(header: str | None, status: int, names: str) -> None:
    refusal = check_token(header, credentials=PLAIN, region=REGION, now=NOW)
    assert refusal is not None
    assert refusal.status == status
    assert names in refusal.message


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("sagemaker.amazonaws.com/", "example.com/", "host"),
        ("sagemaker.amazonaws.com/", "https://sagemaker.amazonaws.com/", "host"),
        ("amazonaws.com/?", "amazonaws.com/x?", "path"),
        ("amazonaws.com/?", "amazonaws.com?", "path"),
        ("Action=CallWithBearerToken", "Action=InvokeEndpoint", "Action"),
        ("Algorithm=AWS4-HMAC-SHA256", "Algorithm=AWS4-HMAC-SHA1", "X-Amz-Algorithm"),
        ("AKIDEXAMPLE", "AKIDOTHER", "access key"),
        ("%2F20261120%2F", "%2F20261119%2F", "date"),
        ("us-west-2", "us-east-1", "region"),
        ("%2Fsagemaker%2F", "%2Fbedrock%2F", "service"),
        ("aws4_request", "aws5_request", "aws4_request"),
        ("%2Faws4_request", "", "five parts"),
        ("SignedHeaders=host", "SignedHeaders=host%3Bdate", "X-Amz-SignedHeaders"),
        ("Expires=300", "Expires=0", "X-Amz-Expires"),
        ("Expires=300", "Expires=43201", "X-Amz-Expires"),
        ("Expires=300", "Expires=-1", "X-Amz-Expires"),
        ("Expires=300", "Expires=0300", "X-Amz-Expires"),
        ("Expires=300", "Expires=301", "X-Amz-Signature"),
        ("Date=20261120T235930Z", "Date=20261120T235929Z", "X-Amz-Signature"),
        ("Date=20261120T235930Z", "Date=20261120T2359Z", "X-Amz-Date"),
        ("Date=20261120T235930Z", "Date=20261320T235930Z", "X-Amz-Date"),
        ("Version=1", "Version=2", "Version"),
        ("&Version=1", "", "no Version"),
        ("&X-Amz-Signature=", "&X-Amz-Signature=0", "X-Amz-Signature"),
        ("Version=1", "Version=1&Version=1", "twice"),
        ("Version=1", "Version=1&X-Amz-Other=1", "does not cover"),
        ("Version=1", "Version=1&X-Amz-Security-Token=other", "X-Amz-Security-Token"),
    ],
)
def test_one_part_tampered_with(old: str, new: str, names: str) -> None:
    refusal = check(replaced(old, new))
    assert refusal is not None
    assert refusal.status == 403
    assert names in refusal.message


def test_date_in_another_day_than_signed() -> None:
    later = NOW + timedelta(minutes=1)  # the next day
    assert check(sign_token(PLAIN, REGION, 300, NOW), now=later) is None
    assert check(sign_token(PLAIN, REGION, 300, later), now=later) is None


@pytest.mark.parametrize(
    ("signed", "names"),
    [
        (NOW - timedelta(seconds=300), "expired"),
        (NOW + CLOCK_SKEW + timedelta(seconds=1), "future"),
    ],
)
def test_time(signed: datetime, names: str) -> None:
    refusal = check(sign_token(PLAIN, REGION, 300, signed))
    assert refusal is not None
    assert names in refusal.message


@pytest.mark.parametrize("signed", [NOW - timedelta(seconds=299), NOW + CLOCK_SKEW])
def test_time_just_within(signed: datetime) -> None:
    assert check(sign_token(PLAIN, REGION, 300, signed)) is None


@pytest.mark.parametrize(
    ("signer", "names"),
    [
        (FrozenCredentials("AKIDEXAMPLE", "another key"), "X-Amz-Signature"),
        (FrozenCredentials("AKIDEXAMPLE", "made/up+key", "unexpected"), "X-Amz-Security-Token"),
    ],
)
def test_other_credentials(signer: FrozenCredentials, names: str) -> None:
    refusal = check(sign_token(signer, REGION, 300, NOW))
    assert refusal is not None
    assert names in refusal.message


@pytest.mark.parametrize("session_token", [None, "another"])
def test_security_token_must_be_the_configured_one(session_token: str | None) -> None:
    signer = FrozenCredentials(TEMPORARY.access_key, TEMPORARY.secret_key, session_token)
    refusal = check(sign_token(signer, REGION, 300, NOW), TEMPORARY)
    assert refusal is not None
    assert "X-Amz-Security-Token" in refusal.message


@pytest.mark.parametrize(
    "tamper",
    [
        lambda url: url.replace("Version=1", "Version=2"),
        lambda url: url.replace("Expires=300", "Expires=301"),
        lambda url: url.replace("X-Amz-Security-Token=session", "X-Amz-Security-Token=other"),
        lambda url: url.replace("ASIAEXAMPLE", "ASIAOTHER"),
    ],
)
def test_no_message_repeats_what_is_secret(tamper: Callable[[str], str]) -> None:
    url = tamper(url_of(sign_token(TEMPORARY, REGION, 300, NOW)))
    signature = url.partition("X-Amz-Signature=")[2].partition("&")[0]
    refusal = check(token_of(url), TEMPORARY)
    assert refusal is not None
    for secret in (token_of(url), signature, "session%2Ftoken", "session/token", "made/up+key"):
        assert secret not in refusal.message
