"""``litellm-sagemaker-openai token``: what it prints, and that what it says of it is true."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.local.server import Running
from tests.conftest import CREDENTIALS, MESSAGES, REGION

each = pytest.mark.parametrize


def token(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments])


def parameters(printed: str) -> dict[str, str]:
    """What the token says of itself."""
    presigned = base64.b64decode(printed.strip().removeprefix("sagemaker-api-key-")).decode()
    return {name: values[0] for name, values in parse_qs(presigned.partition("?")[2]).items()}


def end_of(printed: str) -> datetime:
    said = parameters(printed)
    began = datetime.strptime(said["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return began + timedelta(seconds=int(said["X-Amz-Expires"]))


def test_the_runtime_takes_what_is_printed(runtime: Running) -> None:
    printed = token()
    assert printed.exit_code == 0
    assert re.fullmatch(r"sagemaker-api-key-[A-Za-z0-9+/]+=*\n", printed.stdout)
    answer = httpx.post(
        f"{runtime.url}/endpoints/my-endpoint/openai/v1/chat/completions",
        headers={"authorization": f"Bearer {printed.stdout.strip()}"},
        json={"messages": MESSAGES},
    )
    assert answer.status_code == 200


def test_stderr_says_once_when_it_ends_and_what_it_is_worth() -> None:
    printed = token("--expiry", "90")
    ends = end_of(printed.stdout)
    assert printed.stderr == (
        f"Good in {REGION} for 1 min 30 s: until {ends:%Y-%m-%d %H:%M:%S} UTC ({ends.astimezone():%H:%M} local time).\n"
        "Until then it has the full authority of the role that made it: keep it off disks, logs and plain HTTP.\n"
    )


@each(("life", "seconds"), [("1", 1), ("90s", 90), ("15m", 900), ("12h", 43200)])
def test_a_life(life: str, seconds: int) -> None:
    assert parameters(token("--expiry", life).stdout)["X-Amz-Expires"] == str(seconds)


def test_the_life_that_is_not_given() -> None:
    assert parameters(token().stdout)["X-Amz-Expires"] == "300"


@each(("life", "said"), [("13h", "1 to 43200 seconds"), ("0", "1 to 43200"), ("soon", "such as 90s, 15m, 2h")])
def test_no_life(life: str, said: str) -> None:
    refused = token("--expiry", life)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert said in refused.stderr


def test_json() -> None:
    printed = token("--json", "--region", "eu-west-1")
    said = json.loads(printed.stdout)
    assert said.keys() == {"token", "expires_at", "region"}
    assert said["region"] == "eu-west-1"
    assert said["expires_at"] == f"{end_of(said['token']):%Y-%m-%dT%H:%M:%SZ}"
    assert "full authority" in printed.stderr


def test_a_profile_has_credentials_and_a_region(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_REGION")
    (tmp_path / "credentials").write_text("[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = secret\n")
    (tmp_path / "config").write_text("[profile other]\nregion = eu-north-1\n")
    said = parameters(token("--profile", "other").stdout)
    assert re.fullmatch(r"AKIAOTHER/\d{8}/eu-north-1/sagemaker/aws4_request", said["X-Amz-Credential"])


@each("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_comes_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv(name, "eu-west-3")
    assert "/eu-west-3/" in parameters(token().stdout)["X-Amz-Credential"]


def test_credentials_that_end_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``aws configure export-credentials --format env`` exports has an end."""
    ends = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=2)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", f"{ends:%Y-%m-%dT%H:%M:%SZ}")
    printed = token("--json", "--expiry", "1h")
    assert json.loads(printed.stdout)["expires_at"] == f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    assert f"until {ends:%Y-%m-%d %H:%M:%S} UTC" in printed.stderr


@each(
    ("environment", "arguments", "said"),
    [
        ({"AWS_REGION": ""}, [], "no AWS region: give --region"),
        ({}, ["--region", "moon"], "'moon' is not an AWS region"),
        ({"AWS_ACCESS_KEY_ID": ""}, [], "no AWS credentials found"),
        ({}, ["--profile", "nobody"], "The config profile (nobody) could not be found"),
        ({"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}, [], "the refreshed credentials are still expired"),
    ],
)
def test_what_is_missing_is_said_in_a_line(
    environment: dict[str, str], arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    refused = token(*arguments)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: ")
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert CREDENTIALS.secret_key not in refused.stderr


def test_it_needs_no_litellm() -> None:
    code = "import sys; sys.modules['litellm'] = None; from litellm_sagemaker_openai.cli import main; main(['token'])"
    printed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True).stdout
    assert parameters(printed)["Action"] == "CallWithBearerToken"
