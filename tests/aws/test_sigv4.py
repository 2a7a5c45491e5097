"""The signed headers, byte for byte against botocore's signer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from unittest import mock

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials, signed_headers

NOW = datetime(2026, 11, 20, 23, 59, 58, tzinfo=timezone.utc)
RUNTIME = "https://runtime.sagemaker.us-west-2.amazonaws.com"
INVOCATIONS = f"{RUNTIME}/endpoints/e/invocations"


@pytest.mark.parametrize(
    "credentials",
    [FrozenCredentials("AKIA", "wJalrXUtnFEMI/K7MDENG"), FrozenCredentials("ASIA", "s/e+c=r", "tok+en/=&~ %")],
    ids=["permanent", "temporary"],
)
@pytest.mark.parametrize(
    "url",
    [
        INVOCATIONS,
        f"{RUNTIME}:443/endpoints/e/async-invocations",
        "http://127.0.0.1:8080/endpoints/e/invocations",
        "https://gateway.example/a%20path/~me(1)/endpoints/e/invocations",
        "https://gateway.example",
    ],
)
@pytest.mark.parametrize("body", [b"", '{"input": ["é"]}'.encode()], ids=["empty", "json"])
def test_as_botocore_signs(credentials: FrozenCredentials, url: str, body: bytes) -> None:
    headers = {"content-type": "application/json", "x-amzn-sagemaker-custom-attributes": "a  b  c "}
    request = AWSRequest(method="POST", url=url, headers=headers, data=body)
    given = Credentials(credentials.access_key, credentials.secret_key, credentials.session_token)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        SigV4Auth(given, "sagemaker", "us-west-2").add_auth(request)
    expected = {name.lower(): value for name, value in request.headers.items()}
    signed = signed_headers(
        credentials, "us-west-2", NOW, url=url, headers={**headers, "user-agent": "any", "accept": "any"}, body=body
    )
    assert signed.keys() >= {"authorization", "x-amz-date"}
    assert {**headers, **signed} == expected


def test_the_time_is_utc_whatever_the_clocks_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-8)))
    one, other = (
        signed_headers(FrozenCredentials("A", "s"), "us-west-2", now, url=INVOCATIONS, headers={}, body=b"")
        for now in (NOW, elsewhere)
    )
    assert one == other
