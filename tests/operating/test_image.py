"""The Dockerfile, without a Docker engine: what it copies and sets is enough for LiteLLM's proxy."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.operating.conftest import fine
from tests.operating.proxies import proxy, text_of
from tests.scripted import scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = [
    line.split(maxsplit=1) for line in (ROOT / "Dockerfile").read_text().splitlines() if line and line[0] != "#"
]


def only(instruction: str) -> str:
    (found,) = [rest for name, rest in INSTRUCTIONS if name == instruction]
    return found


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty folder in place of the image's root, after the COPY instructions."""
    for name, rest in INSTRUCTIONS:
        if name == "COPY":
            source, target = rest.split()
            copied = tmp_path / target.removeprefix("/")
            copied.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, copied)
    return tmp_path


def test_is_the_litellm_that_the_tests_run_with() -> None:
    pinned = re.search(r"(?m)^litellm==(\S+)$", (ROOT / "constraints.txt").read_text())
    assert pinned
    assert only("FROM") == f"ghcr.io/berriai/litellm:v{pinned[1]}"


def test_the_package_needs_nothing_that_litellm_does_not_bring_along() -> None:
    brought = {re.split(r"[^\w-]", each)[0].lower() for each in requires("litellm") or []}
    of_those = {
        "botocore": "boto3",
        "anyio": "httpx",
        "markdown_it": "rich",
        "regex": "tiktoken",
        "yarl": "aiohttp",
    }  # what those require
    own = {"litellm", "litellm_sagemaker_openai"}
    # Imported where they are installed: for metrics, and where a proxy's configuration is read, which needs the proxy.
    optional = {"opentelemetry", "prometheus_client", "yaml"}
    outside = set(imports()) - set(sys.stdlib_module_names) - own - optional
    assert {each for each in outside if of_those.get(each, each) not in brought} == set()


def imports() -> Iterator[str]:
    for file in (ROOT / "litellm_sagemaker_openai").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def test_the_proxy_starts_with_what_is_in_it(image: Path) -> None:
    arguments = json.loads(only("CMD"))
    config = image / arguments[arguments.index("--config") + 1].removeprefix("/")
    name, _, value = only("ENV").partition("=")
    folder = image / "run"
    folder.mkdir()
    with (
        scripted(fine) as sagemaker,
        proxy(
            folder,
            config_file=config,
            sagemaker=sagemaker.url,
            environment={
                name: str(image / value.removeprefix("/")),
                "SAGEMAKER_CHAT_MODEL": "sagemaker_openai/my-endpoint",
                "SAGEMAKER_CODER_MODEL": "sagemaker_openai/my-gpus/coder",
                "SAGEMAKER_REVIEWER_MODEL": "sagemaker_openai/my-gpus/reviewer",
            },
        ) as started,
    ):
        assert text_of(started.chat("chat")) == "SageMaker's."
        assert text_of(started.chat("coder", stream=True)) == "SageMaker's."


def test_what_is_copied_is_all_that_the_build_is_sent() -> None:
    """deploy/.env, among others, is not: it has secrets."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    sent = {line.removeprefix("!") for line in lines if line[0] == "!"}
    assert sent == {rest.split()[0] for name, rest in INSTRUCTIONS if name == "COPY"}


def test_what_is_copied_is_what_is_imported(image: Path) -> None:
    name, _, value = only("ENV").partition("=")
    where = image / value.removeprefix("/")
    program = "import litellm_sagemaker_openai; print(litellm_sagemaker_openai.__file__)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={name: str(where)}, cwd=image, capture_output=True, text=True)
    assert done.stdout.strip() == str(where / "litellm_sagemaker_openai" / "__init__.py"), done.stderr
