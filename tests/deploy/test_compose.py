"""deploy/compose.yaml: what it starts, with which secrets, and the local runtime in it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from tests.deploy.files import COMPOSE, DEPLOY, LONGEST_STREAM
from tests.operating.test_image import only

TEXT = (DEPLOY / "compose.yaml").read_text()
EXAMPLE = (DEPLOY / ".env.example").read_text()
SERVICES: dict[str, Any] = COMPOSE["services"]
SECRETS = {"LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"}
PROXIES = ["proxy", "proxy-local"]


def test_a_secret_has_no_default_and_must_be_there() -> None:
    for name in SECRETS:
        used = re.findall(rf"\$\{{{name}(.*?)\}}", TEXT)
        assert used
        assert set(used) == {":?set it in .env"}


def test_no_secret_is_written_down() -> None:
    for service, name in [("proxy", name) for name in SECRETS if name != "POSTGRES_PASSWORD"] + [
        ("postgres", "POSTGRES_PASSWORD"),
        ("redis", "REDISCLI_AUTH"),
    ]:
        assert SERVICES[service]["environment"][name].startswith("${")
    assert {
        name: value for name, value in re.findall(r"(?m)^(\w+)=(.*)$", EXAMPLE) if name in SECRETS
    } == dict.fromkeys(SECRETS, "")


def test_the_example_names_each_variable() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    used |= {name for name, value in SERVICES["proxy"]["environment"].items() if value is None}
    assert set(re.findall(r"(?m)^#? ?([A-Z_]+)=", EXAMPLE)) == used | {"COMPOSE_PROFILES"}


def test_images_are_built_here_or_pinned() -> None:
    for name, service in SERVICES.items():
        assert "build" in service or re.fullmatch(r"\w+:\d+\.\d+(\.\d+)?", service["image"]), name


@pytest.mark.parametrize("name", PROXIES)
def test_open_streams_are_finished(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= LONGEST_STREAM + 20


@pytest.mark.parametrize("name", PROXIES)
def test_it_is_published_on_this_machine_alone_and_where_the_image_listens(name: str) -> None:
    assert SERVICES[name]["ports"] == ["${LISTEN:-127.0.0.1:4000}:4000"]
    assert '"--port", "4000"' in only("CMD")
    assert all("ports" not in SERVICES[other] for other in SERVICES.keys() - PROXIES)


@pytest.mark.parametrize("name", PROXIES)
def test_the_configuration_is_where_the_image_looks_for_it(name: str) -> None:
    [volume] = SERVICES[name]["volumes"]
    source, target, access = volume.split(":")
    assert (DEPLOY / source).is_file()
    assert f'"--config", "{target}"' in only("CMD")
    assert access == "ro"


def test_the_proxies_may_open_as_many_files_as_their_connections_need() -> None:
    """Two for each stream; some versions of Docker allow 1,024 by default."""
    [streams] = re.findall(r"([\d,]+) in \[the container\]", (DEPLOY.parent / "docs" / "concurrency.md").read_text())
    for name in PROXIES:
        assert SERVICES[name]["ulimits"]["nofile"] == 2 * int(streams.replace(",", ""))


def test_a_profile_for_those_with_an_account_and_one_for_those_without() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert profiles == {"proxy": ["aws"], "proxy-local": ["local"], "sagemaker": ["local"], "postgres": [], "redis": []}
    # Tokens go over plain HTTP to no other machine: the runtime must be at the proxy's own 127.0.0.1.
    assert SERVICES["sagemaker"]["network_mode"] == "service:proxy-local"


def test_the_local_runtime_starts_and_takes_what_its_proxy_has() -> None:
    """With its own, made-up credentials, and where it tells the reader to find it."""
    python, *program = SERVICES["sagemaker"]["entrypoint"]
    assert python == "python"
    command = [sys.executable, *program, *SERVICES["sagemaker"]["command"], "--port", "0"]
    with subprocess.Popen(command, env={}, stdout=subprocess.PIPE, text=True) as runtime:
        try:
            assert runtime.stdout is not None
            printed = ""
            while "# Ready." not in printed:
                line = runtime.stdout.readline()
                assert line, printed
                printed += line
        finally:
            runtime.terminate()
    printed = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8080", printed)
    exported = dict(re.findall(r"(?m)^export (\w+)=(\S+)$", printed))
    assert exported.items() <= SERVICES["proxy-local"]["environment"].items()
    assert re.findall(r"(?m)^#   (\S+)$", printed) == [SERVICES["proxy-local"]["environment"]["SAGEMAKER_CHAT_MODEL"]]
