"""The order in which a region is looked for is one, wherever it is asked for."""

from __future__ import annotations

import base64

import pytest

from litellm_sagemaker_openai import generate_token
from litellm_sagemaker_openai.aws.region import REGION_VARIABLES, resolve_region
from litellm_sagemaker_openai.commands.common import resolve_region as of_the_command
from litellm_sagemaker_openai.sending.address import chat_address
from litellm_sagemaker_openai.settings import sort_settings
from litellm_sagemaker_openai.target import parse_target

each = pytest.mark.parametrize


def region(given: str | None = None, **environ: str) -> tuple[str, str]:
    return resolve_region(given, how_to_give="x", environ=environ, region_of=lambda profile: f"ap-{profile}-1")


def test_the_order() -> None:
    everything = {name: f"us-west-{number}" for number, name in enumerate(REGION_VARIABLES, 1)}
    assert REGION_VARIABLES == ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
    assert region("eu-north-1", **everything) == ("eu-north-1", "")
    for number, name in enumerate(REGION_VARIABLES, 1):
        assert region(**everything) == (f"us-west-{number}", name)
        del everything[name]
    assert resolve_region(None, how_to_give="x", profile="south", environ={}, region_of=lambda p: f"ap-{p}-1") == (
        "ap-south-1",
        "the profile",
    )


def test_none() -> None:
    with pytest.raises(ValueError, match="no AWS region: give a thing, or set AWS_REGION or the profile's region"):
        resolve_region(None, how_to_give="a thing", environ={}, region_of=lambda _: None)


def test_what_is_no_region() -> None:
    with pytest.raises(ValueError, match="'us' is not an AWS region"):
        region(AWS_REGION="us")


@each("name", REGION_VARIABLES)
def test_each_variable_counts_everywhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in REGION_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, "eu-central-1")
    assert b"%2Feu-central-1%2Fsagemaker%2F" in base64.b64decode(generate_token().rpartition("-")[2])
    assert of_the_command(None, None) == ("eu-central-1", name)
    url, _ = chat_address(sort_settings({}, {}), parse_target("my-endpoint"))
    assert url.startswith("https://runtime.sagemaker.eu-central-1.amazonaws.com/")
