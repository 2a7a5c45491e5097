"""The proxy's configuration in the three deployments is one, and the real proxy works with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from examples.bedrock import bedrock_stand_in
from examples.demo import RUNTIME
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.server import running
from tests.conftest import CREDENTIALS, REGION
from tests.deploy.files import (
    COMPOSE,
    CONFIG,
    FALLBACK_ID,
    HELM,
    HELM_TEXT,
    LONGEST_STREAM,
    ROOT,
    container,
    stack,
    variables,
)
from tests.operating.proxies import Proxy, proxy, text_of, without_notices

slow = pytest.mark.slow(reason="starts LiteLLM's proxy")

SMALL = replace(RUNTIME, credentials=CREDENTIALS, region=REGION, echo=EchoConfig(context_length=8192))
WITH, WITHOUT = stack(FallbackModelId=FALLBACK_ID), stack()
NAMED = set(re.findall(r"os\.environ/(\w+)", yaml.safe_dump(CONFIG)))
REDIS = {"REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"}  # where there is none, each process keeps its own state


def test_helm_has_it() -> None:
    assert HELM["proxy_config"] == CONFIG


def test_cloudformation_has_it() -> None:
    assert yaml.safe_load(variables(WITH)["PROXY_CONFIG"]) == CONFIG


def test_cloudformation_without_a_fallback_has_all_but_that() -> None:
    expected: dict[str, Any] = {**CONFIG, "model_list": CONFIG["model_list"][:1]}
    of_fallbacks = {"fallbacks", "context_window_fallbacks"}
    router = CONFIG["router_settings"].items()
    expected["router_settings"] = {name: value for name, value in router if name not in of_fallbacks}
    assert yaml.safe_load(variables(WITHOUT)["PROXY_CONFIG"]) == expected
    assert "FALLBACK_MODEL" not in variables(WITHOUT)


def test_it_brings_the_provider_as_the_configuration_to_copy_does() -> None:
    shipped = yaml.safe_load((ROOT / "proxy_config.yaml").read_text())
    assert CONFIG["litellm_settings"] == shipped["litellm_settings"]
    assert CONFIG["credential_list"] == shipped["credential_list"]


def test_a_call_ends_soon_after_sagemaker_would_have_ended_it() -> None:
    """LiteLLM's default is 6,000 s, also for one that waits for a free connection."""
    shipped = yaml.safe_load((ROOT / "proxy_config.yaml").read_text())
    for deployment in (*CONFIG["model_list"], *shipped["model_list"]):
        params = deployment["litellm_params"]
        if "litellm_credential_name" in params:  # not Bedrock's, which has no such limits
            assert (60 < params["timeout"] < 90, 60 < params["stream_timeout"] < LONGEST_STREAM) == (True, True)


def given() -> dict[str, set[str]]:
    """The variables that each deployment gives the proxy."""
    comment = re.search(r"(?s)# A secret of yours: (.*?)\nenvironmentSecrets", HELM_TEXT)
    assert comment
    secrets = {each["Name"] for each in container(WITH)["Secrets"]}
    services = COMPOSE["services"]
    return {
        "compose": set(services["proxy"]["environment"]),
        "compose, local": set(services["proxy-local"]["environment"]),
        "helm": {*HELM["envVars"], *re.findall(r"[A-Z]\w+_\w+", comment[1])},
        "cloudformation": {*variables(WITH), *secrets},
    }


@pytest.mark.parametrize("deployment", given())
def test_each_variable_that_it_reads_is_given(deployment: str) -> None:
    missing = NAMED - given()[deployment]
    assert missing == (REDIS if deployment == "cloudformation" else set())


def test_each_variable_that_is_given_is_read() -> None:
    """By the configuration, by boto3, by the template's own command, or by LiteLLM."""
    names = set().union(*given().values()) - NAMED - {"PROXY_CONFIG", "REDIS_SSL"}
    names = {name for name in names if not name.startswith("AWS_")}
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    for file in Path(spec.origin).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        names = {name for name in names if f'"{name}"' not in text}
    assert names == set()


@dataclass(frozen=True)
class Started:
    proxy: Proxy
    written: str
    arguments: list[str]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The proxy with the file that the template's command writes, and the variables of its task definition."""
    folder = tmp_path_factory.mktemp("task")
    script = folder / "litellm"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/arguments\n')
    script.chmod(0o755)
    environment = variables(WITH)
    task = container(WITH)
    subprocess.run(
        [*task["EntryPoint"], *task["Command"]],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder), **environment},
        check=True,
    )
    with (
        running(SMALL) as runtime,
        bedrock_stand_in() as bedrock,
        proxy(
            folder,
            config_file=folder / "config.yaml",
            sagemaker=runtime.url,
            bedrock=bedrock,
            environment={name: value for name, value in environment.items() if name != "PROXY_CONFIG"},
        ) as answering,
    ):
        yield Started(answering, (folder / "config.yaml").read_text(), (folder / "arguments").read_text().splitlines())


@slow
def test_the_templates_command_starts_litellm_with_its_configuration(started: Started) -> None:
    assert yaml.safe_load(started.written) == CONFIG
    assert started.arguments[-2:] == ["--port", "4000"]
    assert re.fullmatch(r"--config /\S+/config\.yaml", " ".join(started.arguments[:2]))


@slow
@pytest.mark.parametrize("stream", [False, True])
def test_it_answers(started: Started, stream: bool) -> None:
    answer = started.proxy.chat("chat", stream=stream)
    assert text_of(answer) == "Echo container, not a model. You said: Hello?"
    assert answer.headers["x-litellm-model-name"] == "sagemaker_openai/my-endpoint"


@slow
@pytest.mark.parametrize("stream", [False, True])
def test_it_falls_back(started: Started, stream: bool) -> None:
    too_long = " ".join(map(str, range(SMALL.echo.context_length)))  # no word twice: LiteLLM ends such a stream
    answer = started.proxy.chat("chat", question=too_long, stream=stream)
    assert text_of(answer).startswith("Bedrock stand-in.")


@slow
def test_it_starts_without_a_warning(started: Started) -> None:
    at_start, _, _ = started.proxy.log.partition("Application startup complete")
    assert not re.search(r"(?i)\b(warning|error|traceback)\b", without_notices(at_start)), at_start


@slow
@pytest.mark.parametrize("probe", ["livenessProbe", "readinessProbe", "startupProbe"])
def test_the_probes_ask_what_needs_no_key(started: Started, probe: str) -> None:
    path = HELM[probe]["path"]
    assert path in {"/health/liveliness", "/health/readiness"}
    assert started.proxy.client.get(path, headers={"Authorization": ""}).status_code == 200
    assert WITH["TargetGroup"]["HealthCheckPath"] == HELM["readinessProbe"]["path"]


@slow
@pytest.mark.parametrize("service", ["proxy", "proxy-local"])
def test_the_health_check_of_compose_succeeds_and_fails(started: Started, service: str) -> None:
    kind, python, *arguments = COMPOSE["services"][service]["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    healthy = [each.replace("http://127.0.0.1:4000", started.proxy.url) for each in arguments]
    assert healthy != arguments
    assert subprocess.run([sys.executable, *healthy]).returncode == 0
    gone = [each.replace("http://127.0.0.1:4000", "http://127.0.0.1:9") for each in arguments]
    assert subprocess.run([sys.executable, *gone], stderr=subprocess.DEVNULL).returncode != 0
