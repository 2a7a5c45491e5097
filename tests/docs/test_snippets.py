"""Every code block of README.md and of docs/ runs. test_commands.py has those that run this package's commands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from examples.bedrock import bedrock_stand_in
from examples.demo import CONFIG, MODELS, RUNTIME, Proxy, litellm_proxy
from litellm_sagemaker_openai.local.server import Running, running
from tests.aws_apis import Aws
from tests.docs.blocks import CURL, JSON, MAKE, PIP, PROXY_START, PYTHON, TESTED, ULIMIT, YAML
from tests.docs.pages import BLOCKS, PAGES, ROOT, Block
from tests.docs.reader import (
    ECHO,
    MARK,
    PROXY_URL,
    SAGEMAKER_URL,
    add_tool,
    bash,
    environment,
    make_listed_endpoints,
    run,
)

pytestmark = pytest.mark.slow(reason="runs each snippet of the docs")

each = pytest.mark.parametrize


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with (
        running(RUNTIME) as runtime,
        bedrock_stand_in() as bedrock_url,
        litellm_proxy(CONFIG, runtime.url, bedrock_url) as started,
    ):
        yield started


@pytest.fixture
def with_a_key(at_home: dict[str, str], proxy: Proxy) -> dict[str, str]:
    return at_home | {"LITELLM_MASTER_KEY": proxy.master_key}


def test_every_block_has_one_test() -> None:
    assert sorted(map(str, TESTED)) == sorted(map(str, BLOCKS))
    fences = sum(len(re.findall(r"(?m)^ *```", text)) for text in PAGES.values())
    assert fences == sum(4 if block.output is not None else 2 for block in BLOCKS)


@each("page", dict.fromkeys(block.page for block in PYTHON))
def test_python(page: str, with_a_key: dict[str, str], local_runtime: Running, proxy: Proxy, aws_apis: Aws) -> None:
    """A page's blocks run one after the other, as one program, and print what the page says."""
    make_listed_endpoints(aws_apis)
    blocks = [block for block in PYTHON if block.page == page]
    code = f"print({MARK!r})\n".join(block.text for block in blocks)
    code = code.replace(SAGEMAKER_URL, local_runtime.url).replace(PROXY_URL, proxy.url)
    env = with_a_key | {"AWS_ENDPOINT_URL_SAGEMAKER": aws_apis.url}
    outputs = run([sys.executable, "-c", code], env).split(f"{MARK}\n")
    assert [output.strip() for output in outputs] == [(block.output or "").strip() for block in blocks]


@each("block", MAKE, ids=str)
def test_make(block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", block.text):
        assert re.search(rf"(?m)^{target}:", makefile), target


@each("block", PIP, ids=str)
def test_pip(block: Block) -> None:
    wanted = re.fullmatch(r"\.(?:\[(\w+)\])?", shlex.split(block.text)[2])
    assert wanted
    assert wanted[1] is None or wanted[1] in (metadata("litellm-sagemaker-openai").get_all("Provides-Extra") or [])


# For machines without curl: what the pages use of it, and nothing else.
CURL_STAND_IN = dedent(f"""\
    #!{sys.executable}
    import argparse, sys, httpx
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-S", action="store_true")
    parser.add_argument("-H", action="append")
    parser.add_argument("-d")
    parser.add_argument("url")
    given = parser.parse_args()
    headers = [sys.stdin.read().strip() if header == "@-" else header for header in given.H]
    pairs = [tuple(header.split(": ", 1)) for header in headers]
    print(httpx.post(given.url, headers=pairs, content=given.d, trust_env=False).text)
    """)


@each("curl", ["stand-in", *(["curl"] if shutil.which("curl") else [])])
@each("block", CURL, ids=str)
def test_curl(
    block: Block, curl: str, with_a_key: dict[str, str], local_runtime: Running, proxy: Proxy, tmp_path: Path
) -> None:
    if curl == "stand-in":
        add_tool(tmp_path, "curl", CURL_STAND_IN)
    script = block.text.replace(SAGEMAKER_URL, local_runtime.url).replace(PROXY_URL, proxy.url)
    notes = "Good in us-west-2 for 5 min: .*" if "litellm-sagemaker-openai token" in script else ""
    answer = json.loads(run(bash(script), with_a_key, notes=notes))
    assert answer["choices"][0]["message"]["content"] == ECHO


@each("block", PROXY_START, ids=str)
def test_proxy_start(block: Block, tmp_path: Path) -> None:
    """It sets what the configuration reads; the ``proxy`` fixture starts the same file."""
    add_tool(tmp_path, "litellm", '#!/bin/sh\necho "arguments=$*"\nenv\n')
    output = run(bash(block.text), environment(tmp_path))
    said = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    read = re.findall(r"(?m)^[^#\n]*os\.environ/(\w+)", CONFIG.read_text())
    assert said["arguments"] == f"--config {CONFIG.relative_to(ROOT)}"
    assert set(read) <= set(said)
    assert set(said) & set(read) == set(re.findall(r"(?m)^export (\w+)=", block.text))
    assert {name: said[name] for name in MODELS} == MODELS
    assert re.fullmatch(r"sk-[0-9a-f]{64}", said["LITELLM_MASTER_KEY"])


LIMITS = "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"


@each("block", ULIMIT, ids=str)
def test_ulimit(block: Block, tmp_path: Path) -> None:
    """What is started after it may open as many files as the system allows."""
    started = shlex.join([sys.executable, "-c", LIMITS])
    allowed, most = run(bash(f"ulimit -S -n 256\n{block.text}exec {started}"), environment(tmp_path)).split()
    assert allowed == most


# What a proxy, or a Router, of another test starts with.
CONFIGS = [CONFIG, ROOT / "deploy" / "monitoring" / "prometheus.yaml"]
CONFIGS += sorted((ROOT / "tests" / "operating" / "configs").glob("*.yaml"))


@each("block", [block for block in YAML if block.page != "docs/security.md"], ids=str)
def test_yaml(block: Block) -> None:
    part = yaml.safe_load(block.text)
    assert any(occurs_in(part, yaml.safe_load(each.read_text())) for each in CONFIGS)


def occurs_in(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(name in whole and occurs_in(value, whole[name]) for name, value in part.items())
    if isinstance(part, list):
        return all(any(occurs_in(item, other) for other in whole) for item in part)
    return bool(part == whole)


# tests/operating/test_teams.py has those of the teams' roles.
@each("block", [block for block in JSON if block.page != "docs/teams.md"], ids=str)
def test_policy(block: Block) -> None:
    statements = {each.pop("Action"): each for each in json.loads(block.text)["Statement"]}
    assert statements["sagemaker:CallWithBearerToken"] == {"Effect": "Allow", "Resource": "*"}
    invoke = statements["sagemaker:InvokeEndpoint"]
    assert invoke["Effect"] == "Allow"
    assert [arn.split(":")[5].split("/")[0] for arn in invoke["Resource"]] == ["endpoint", "inference-component"]
    assert len(statements) == 2
