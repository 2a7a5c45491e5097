"""The token, byte for byte: against botocore's signer and sagemaker-core's own generator."""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import logging
from datetime import datetime, timedelta, timezone
from types import ModuleType
from unittest import mock

import botocore.auth
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.aws.token import expiry_in_seconds, sign_token

NOW = datetime(2026, 11, 20, 23, 59, 58, tzinfo=timezone.utc)
CASES = pytest.mark.parametrize(
    ("credentials", "region", "expiry"),
    [
        (FrozenCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "us-west-2", 300),
        (FrozenCredentials("ASIA", "s/e+c=r", "IQoJb3JpZ2luX2VjE//+=&~ %é"), "us-gov-west-1", 43200),
        (FrozenCredentials("ASIA", "secret", "token"), "cn-north-1", 1),
        (FrozenCredentials("ASIA", "secret", ""), "eu-west-1", 60),
    ],
)


@CASES
def test_as_botocore_signs(credentials: FrozenCredentials, region: str, expiry: int) -> None:
    request = AWSRequest(
        method="POST",
        url="https://sagemaker.amazonaws.com/",
        headers={"host": "sagemaker.amazonaws.com"},
        params={"Action": "CallWithBearerToken"},
    )
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        SigV4QueryAuth(_botocore(credentials), "sagemaker", region, expires=expiry).add_auth(request)
    presigned = request.url.removeprefix("https://") + "&Version=1"
    expected = "sagemaker-api-key-" + base64.b64encode(presigned.encode()).decode()
    assert sign_token(credentials, region, expiry, NOW) == expected


@CASES
def test_as_sagemaker_core_generates(credentials: FrozenCredentials, region: str, expiry: int) -> None:
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        expected = _sagemaker_core()._generate_token(_botocore(credentials), region, expiry)
    assert sign_token(credentials, region, expiry, NOW) == expected


def test_the_time_is_utc_whatever_the_clocks_zone() -> None:
    credentials = FrozenCredentials("AKIA", "secret")
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-8)))
    assert sign_token(credentials, "us-west-2", 300, elsewhere) == sign_token(credentials, "us-west-2", 300, NOW)


def test_signing_leaves_no_trace_in_any_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)  # the root logger: botocore.auth writes the signature there
    sign_token(FrozenCredentials("AKIA", "secret", "token"), "us-west-2", 300, NOW)
    assert caplog.records == []


def test_credentials_show_no_secret() -> None:
    shown = repr(FrozenCredentials("AKIA", "the-secret", "the-token"))
    assert "AKIA" in shown
    assert "the-" not in shown


@pytest.mark.parametrize("expiry", [0, -1, 43201, timedelta(0), timedelta(hours=12, seconds=1), float("nan"), True])
def test_an_expiry_out_of_range_is_refused(expiry: float | timedelta) -> None:
    with pytest.raises(ValueError, match="1 to 43200"):
        expiry_in_seconds(expiry)


@pytest.mark.parametrize(("expiry", "seconds"), [(1, 1), (43200, 43200), (timedelta(hours=12), 43200), (300.0, 300)])
def test_an_expiry_is_seconds_or_a_timedelta(expiry: float | timedelta, seconds: int) -> None:
    assert expiry_in_seconds(expiry) == seconds


def _botocore(credentials: FrozenCredentials) -> Credentials:
    return Credentials(credentials.access_key, credentials.secret_key, credentials.session_token)


def _sagemaker_core() -> ModuleType:
    """sagemaker-core's signing module alone: importing the package would need all that it requires."""
    path = importlib.metadata.distribution("sagemaker-core").locate_file(
        "sagemaker/core/token_generator/token_generator.py"
    )
    spec = importlib.util.spec_from_file_location("sagemaker_core_token_generator", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
