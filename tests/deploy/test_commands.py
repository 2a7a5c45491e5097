"""The commands of docs/deploying-the-proxy.md, with stand-ins for the tools that note how they were called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import COMPOSE, DEPLOY, HELM, ROOT, TEMPLATE
from tests.docs.blocks import CONTAINERS
from tests.docs.reader import add_tool, bash
from tests.operating.test_image import only

Calls = dict[str, list[list[str]]]
TOOLS = ("aws", "docker", "helm", "kubectl")  # a file for each: in a pipeline, two of them run at once


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(DEPLOY, folder / "deploy", ignore=shutil.ignore_patterns(".env"))
    shutil.copy(ROOT / "Dockerfile", folder)
    return folder


@pytest.fixture(scope="module")
def calls(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Calls:
    """What each tool was called with, by the page's blocks one after the other, as a reader would."""
    tools = tmp_path_factory.mktemp("tools")
    for name in TOOLS:
        add_tool(tools, name, f'#!/bin/sh\nprintf "%s\\0" "$@" >> {tools}/{name}.calls\necho >> {tools}/{name}.calls\n')
    script = "".join(f"{block.text}\n" for block in CONTAINERS)
    # The blocks of Compose are for deploy/, where the first of them goes; those after them for the repository's top.
    compose, kubernetes, rest = script.partition("kubectl create secret")
    assert "cd deploy\n" in compose
    script = f"{compose}cd {clone}\n{kubernetes}{rest}"
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "REDIS_PASSWORD": "of-redis", "POSTGRES_PASSWORD": "of-postgres"}
    done = subprocess.run(bash(script), env=env, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    noted = {name: (tools / f"{name}.calls").read_text().split("\0\n")[:-1] for name in TOOLS}
    return {name: [line.split("\0") for line in lines] for name, lines in noted.items()}


def test_the_secrets_of_compose_are_made_and_are_its_owners(clone: Path, calls: Calls) -> None:
    env = clone / "deploy" / ".env"
    written = dict(re.findall(r"(?m)^(\w+)=(.*)$", env.read_text()))
    secrets = [name for name, value in written.items() if re.fullmatch(r"(sk-)?[0-9a-f]{64}", value)]
    assert secrets == ["LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"]
    assert len({written[name] for name in secrets}) == 4
    assert all(written.values())
    assert env.stat().st_mode & 0o077 == 0
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_compose(calls: Calls) -> None:
    local, aws = [call[1:] for call in calls["docker"] if call[0] == "compose"]
    assert local[:3] == ["--profile", *COMPOSE["services"]["proxy-local"]["profiles"], "up"]
    assert aws[0] == "up"
    assert f"COMPOSE_PROFILES={COMPOSE['services']['proxy']['profiles'][0]}\n" in (DEPLOY / ".env.example").read_text()


def test_the_image_that_is_built_is_the_one_that_the_values_name(calls: Calls) -> None:
    [build] = [call for call in calls["docker"] if call[0] == "build"]
    image = f"{HELM['image']['repository']}:{HELM['image']['tag']}"
    assert build == ["build", "--platform", "linux/amd64", "--tag", image, "."]
    assert ["push", image] in calls["docker"]
    assert TEMPLATE["Resources"]["TaskDefinition"]["Properties"]["RuntimePlatform"]["CpuArchitecture"] == "X86_64"


def test_helm(clone: Path, calls: Calls) -> None:
    [command] = calls["helm"]
    assert (clone / command[command.index("--values") + 1]).is_file()
    assert only("FROM").endswith(f":v{command[command.index('--version') + 1]}")


def test_the_secrets_of_the_cluster_are_those_that_the_values_name(calls: Calls) -> None:
    made = {
        call[3]: dict(re.findall(r"--from-literal=(\w+)=(\S+)", " ".join(call[4:])))
        for call in calls["kubectl"]
        if call[:3] == ["create", "secret", "generic"]
    }
    database = HELM["db"]["secret"]
    assert list(made) == [*HELM["environmentSecrets"], database["name"]]
    assert set(made[database["name"]]) == {database["usernameKey"], database["passwordKey"]}
    assert {"LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"} <= set(
        made["litellm"]
    )
    assert made["litellm"]["LITELLM_MASTER_KEY"].startswith("sk-")


def test_cloudformation(clone: Path, calls: Calls) -> None:
    [command] = [call for call in calls["aws"] if call[0] == "cloudformation"]
    assert (clone / command[command.index("--template-file") + 1]).is_file()
    assert command[command.index("--capabilities") + 1] == "CAPABILITY_IAM"
    given = dict(each.split("=", 1) for each in command[command.index("--parameter-overrides") + 1 :])
    parameters = TEMPLATE["Parameters"]
    required = {name for name, each in parameters.items() if "Default" not in each}
    assert required <= set(given) <= set(parameters)
    for name, value in given.items():
        assert re.fullmatch(parameters[name].get("AllowedPattern", ".+"), value), name
