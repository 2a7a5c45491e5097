"""Addressing: what a model string names, and the URL that it becomes."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from litellm_sagemaker_openai.aws.credentials import runtime_url
from litellm_sagemaker_openai.target import Target, chat_url, checked_region, parse_target

BASE = "https://runtime.sagemaker.us-west-2.amazonaws.com"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012"


@pytest.mark.parametrize(
    ("model", "model_id", "target"),
    [
        ("my-endpoint", None, Target("my-endpoint")),
        ("my-endpoint", "", Target("my-endpoint")),
        ("my-endpoint/my-component", None, Target("my-endpoint", "my-component")),
        ("my-endpoint", "my-component", Target("my-endpoint", "my-component")),
        ("my-endpoint/my-component", "my-component", Target("my-endpoint", "my-component")),
        (f"{ARN}:endpoint/my-endpoint", None, Target("my-endpoint", None, "eu-west-1")),
        (f"{ARN}:endpoint/my-endpoint/ic", None, Target("my-endpoint", "ic", "eu-west-1")),
        (f"{ARN}:endpoint/my-endpoint", f"{ARN}:inference-component/ic", Target("my-endpoint", "ic", "eu-west-1")),
        ("my-endpoint", f"{ARN}:inference-component/ic", Target("my-endpoint", "ic", "eu-west-1")),
        ("arn:aws-us-gov:sagemaker:us-gov-west-1:123456789012:endpoint/e", None, Target("e", None, "us-gov-west-1")),
        ("a" * 63, None, Target("a" * 63)),
        ("a--b", None, Target("a--b")),
    ],
)
def test_a_model_string_names_an_endpoint_and_a_component(model: str, model_id: str | None, target: Target) -> None:
    assert parse_target(model, model_id) == target


@pytest.mark.parametrize(
    ("model", "model_id", "says"),
    [
        ("", None, "sagemaker_openai/<endpoint>"),
        ("-endpoint", None, "not the name of an endpoint"),
        ("endpoint-", None, "not the name of an endpoint"),
        ("my_endpoint", None, "letters, digits and hyphens"),
        ("a" * 64, None, "at most 63"),
        ("endpoint/", None, "not the name of an inference component"),
        ("endpoint/a.b", None, "not the name of an inference component"),
        ("endpoint/a/b", None, "has 3 parts"),
        ("endpoint", "-c", "not the name of an inference component"),
        ("endpoint/a", "b", "give one of them"),
        ("..", None, "not the name"),
        ("endpoint/..", None, "not the name"),
        ("endpoint%2f..", None, "not the name"),
        ("endpoint?x=1", None, "not the name"),
        ("endpoint#x", None, "not the name"),
        ("user@host", None, "not the name"),
        ("endpoint\n", None, "not the name"),
        ("endpoint\r\nhost: evil", None, "not the name"),
        ("endpoint", "c\n", "not the name"),
        ("\uff45ndpoint", None, "not the name"),
        ("arn:aws:s3:::bucket", None, "not a SageMaker ARN"),
        ("arn:aws:sagemaker:eu-west-1:1:endpoint/e", None, "not a SageMaker ARN"),
        (f"{ARN}:inference-component/ic", None, "ARN of an inference-component"),
        (f"{ARN}:endpoint/../x", None, "has 2 parts|not the name"),
        ("endpoint", f"{ARN}:endpoint/e", "not of an inference component"),
        ("arn:aws:sagemaker:us-west-2:123456789012:endpoint/e", f"{ARN}:inference-component/ic", "must agree"),
    ],
)
def test_what_names_nothing_is_refused(model: str, model_id: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_target(model, model_id)


@pytest.mark.parametrize(
    ("base", "model", "url"),
    [
        (BASE, "e", f"{BASE}/endpoints/e/openai/v1/chat/completions"),
        (f"{BASE}/", "e/c", f"{BASE}/endpoints/e/inference-components/c/openai/v1/chat/completions"),
        (f"{BASE}/endpoints/e/openai/v1", "e", f"{BASE}/endpoints/e/openai/v1/chat/completions"),
        (f"{BASE}/endpoints/e", "e/c", f"{BASE}/endpoints/e/inference-components/c/openai/v1/chat/completions"),
        (
            f"{BASE}/endpoints/e/inference-components/c/openai/v1/chat/completions",
            "e/c",
            f"{BASE}/endpoints/e/inference-components/c/openai/v1/chat/completions",
        ),
        ("http://127.0.0.1:8080", "e", "http://127.0.0.1:8080/endpoints/e/openai/v1/chat/completions"),
        ("http://localhost:80/p", "e", "http://localhost:80/p/endpoints/e/openai/v1/chat/completions"),
        ("HTTP://LocalHost:80/P", "e", "http://localhost:80/P/endpoints/e/openai/v1/chat/completions"),
        ("http://[::1]:80", "e", "http://[::1]:80/endpoints/e/openai/v1/chat/completions"),
        ("https://gateway.example/sm", "e", "https://gateway.example/sm/endpoints/e/openai/v1/chat/completions"),
    ],
)
def test_a_base_url_becomes_the_chat_routes_url(base: str, model: str, url: str) -> None:
    assert chat_url(base, parse_target(model), "us-west-2") == url


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("ftp://host", "https://"),
        ("runtime.sagemaker.us-west-2.amazonaws.com", "https://"),
        ("https://", "https://"),
        ("https://user:pass@host", "user name"),
        ("https://host?x=1", "query"),
        ("https://host#x", "fragment"),
        ("https://host/a/../b", "path parts"),
        ("https://host/%2e%2E/b", "path parts"),
        ("https://host/a%2fb", "path parts"),
        ("https://host\\@evil", "characters"),
        ("https://host\n.evil", "characters"),
        ("https://host:port", "port"),
        ("https://host:0", "port"),
        ("https://host:65536", "port"),
        ("http://[::1]evil.example", "host name"),
        ("http://evil.example[::1]", "host name"),
        ("https://[::1", "host name"),
        ("https://xn--a\u2100b", "ASCII"),
        (f"{BASE}/endpoints/other/openai/v1", "must agree"),
        (f"{BASE}/endpoints/e/inference-components/other", "must agree"),
        (f"{BASE}/endpoints/e/invocations", "does not end in"),
        ("https://runtime.sagemaker.eu-west-1.amazonaws.com", "must agree"),
        ("https://vpce-1.runtime.sagemaker.eu-west-1.vpce.amazonaws.com", "must agree"),
        ("https://runtime.sagemaker-fips.eu-west-1.amazonaws.com", "must agree"),
    ],
)
def test_a_base_url_that_would_lead_elsewhere_is_refused(base: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        chat_url(base, parse_target("e"), "us-west-2")
    assert "pass" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize("region", ["us-west-2", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1"])
def test_regions_are_taken(region: str) -> None:
    assert checked_region(region) == region


@pytest.mark.parametrize(
    "region",
    [
        "",
        "evil.example/",
        "us-west-2.evil.example",
        "US-WEST-2",
        "us_west_2",
        "us-west-2a",
        "my-endpoint",
        "us-west-2\n",
    ],
)
def test_what_is_no_region_never_becomes_a_host(region: str) -> None:
    with pytest.raises(ValueError, match="not an AWS region"):
        checked_region(region)


@pytest.mark.parametrize("region", ["us-west-2", "cn-north-1", "us-gov-west-1", "eusc-de-east-1"])
@pytest.mark.parametrize("variable", [None, "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_botocore_resolves_the_host(region: str, variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable:
        monkeypatch.setenv(variable, "true")
    config = Config(
        use_fips_endpoint=variable == "AWS_USE_FIPS_ENDPOINT",
        use_dualstack_endpoint=variable == "AWS_USE_DUALSTACK_ENDPOINT",
    )
    expected = boto3.client("sagemaker-runtime", region_name=region, config=config).meta.endpoint_url
    assert runtime_url(region) == expected
    assert chat_url(expected, Target("e"), region).startswith(f"{expected}/endpoints/e/")


def test_the_environments_endpoint_url_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://everything.example")
    assert runtime_url("us-west-2") == "https://everything.example"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "https://runtime.example")
    assert runtime_url("us-west-2") == "https://runtime.example"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert runtime_url("us-west-2") == BASE


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_another_profile_is_seen_at_once(variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    profiles = [f"[profile {name}]\nendpoint_url = https://{name}.example\n" for name in ("one", "two")]
    (tmp_path / "config").write_text("".join(profiles))
    for name in ("one", "two"):
        monkeypatch.setenv(variable, name)
        assert runtime_url("us-west-2") == f"https://{name}.example"
