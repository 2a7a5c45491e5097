"""README.md: every code block runs, every table says what the code says."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import metadata
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import urlsplit

import litellm
import pytest
import yaml  # type: ignore[import-untyped]

import litellm_sagemaker_openai
from examples.bedrock import bedrock_stand_in
from examples.demo import CONFIG, MODELS, RUNTIME, DemoError, Proxy, litellm_proxy
from examples.deploy_endpoint import main as deploy
from litellm_sagemaker_openai.commands.local import local
from litellm_sagemaker_openai.errors import to_exception
from litellm_sagemaker_openai.local.server import Running, running
from litellm_sagemaker_openai.sending.retries import DEFAULT_RETRIES
from litellm_sagemaker_openai.sending.timeouts import as_timeout
from litellm_sagemaker_openai.settings import sort_settings
from litellm_sagemaker_openai.upstream_errors import Refusal
from tests.aws_apis import Aws
from tests.conftest import CREDENTIALS, MESSAGES, REGION

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "litellm_sagemaker_openai"
README = (ROOT / "README.md").read_text(encoding="utf-8")

# What the README's snippets call, and what stands there in the tests.
SAGEMAKER_URL = f"https://runtime.sagemaker.{REGION}.amazonaws.com"
PROXY_URL = "http://localhost:4000"
LOCAL_URL = "http://127.0.0.1:8080"
ECHO = "Echo container, not a model. You said: Hello?"
MARK = "\n=== the next block's output ==="


# The README's parts


@dataclass(frozen=True)
class Block:
    """A fenced code block, and the text block right after it, which shows its output."""

    line: int
    section: str
    language: str
    text: str
    output: str | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.language}"


def blocks_of(markdown: str) -> Iterator[Block]:
    pattern = r"(?ms)^```(\w*)\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?"
    for match in re.finditer(pattern, markdown):
        before = markdown[: match.start()]
        section = re.findall(r"(?m)^## (.*)$", before)
        yield Block(before.count("\n") + 1, section[-1] if section else "", match[1], match[2], match[3])


BLOCKS = list(blocks_of(README))
PYTHON = [block for block in BLOCKS if block.language == "python"]
BASH = [block for block in BLOCKS if block.language == "bash"]
MAKE = [block for block in BASH if re.fullmatch(r"(make \w+\n)+", block.text)]
PIP = [block for block in BASH if re.fullmatch(r"pip install \S+\n", block.text)]
CURL = [block for block in BASH if re.search(r"(?m)^ *curl ", block.text)]
PROXY_START = [block for block in BASH if block.text.endswith("\nlitellm --config proxy_config.yaml\n")]
LOCAL = [block for block in BASH if block.text.startswith("litellm-sagemaker-openai local ")]
FINDING = [block for block in BASH if re.match(r"litellm-sagemaker-openai (endpoints|config) ", block.text)]
CALLING = [block for block in BASH if re.match(r"litellm-sagemaker-openai (check|chat) ", block.text)]
DEPLOY = [block for block in BASH if "python examples/deploy_endpoint.py " in block.text]
YAML = [block for block in BLOCKS if block.language == "yaml"]
JSON = [block for block in BLOCKS if block.language == "json"]
MERMAID = [block for block in BLOCKS if block.language == "mermaid"]

each = pytest.mark.parametrize


def section(title: str) -> str:
    found = re.search(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README)
    assert found, title
    return found[1]


def tables(title: str) -> list[list[list[str]]]:
    """A section's tables, each as its rows' cells, without the head."""
    found = re.findall(r"(?m)(?:^\|.*\|\n)+", section(title))
    return [[[cell.strip() for cell in row[1:-1].split("|")] for row in table.splitlines()[2:]] for table in found]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Where the blocks run


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with (
        running(RUNTIME) as runtime,
        bedrock_stand_in() as bedrock_url,
        litellm_proxy(CONFIG, runtime.url, bedrock_url) as started,
    ):
        yield started


def environment(tools: Path, **more: str) -> dict[str, str]:
    """A user's, with this Python's commands and with what is in ``tools`` before them."""
    return {
        "PATH": os.pathsep.join([str(tools), sysconfig.get_path("scripts"), os.environ["PATH"]]),
        "HOME": str(tools),
        "AWS_EC2_METADATA_DISABLED": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        **more,
    }


@pytest.fixture
def at_home(tmp_path: Path, local_runtime: Running, proxy: Proxy, aws_apis: Aws) -> dict[str, str]:
    """A reader's environment: credentials and a region, SageMaker, S3 with a bucket, a proxy's key."""
    aws_apis.client("s3").create_bucket(Bucket="my-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    return environment(
        tmp_path,
        AWS_ACCESS_KEY_ID=CREDENTIALS.access_key,
        AWS_SECRET_ACCESS_KEY=CREDENTIALS.secret_key,
        AWS_SESSION_TOKEN=CREDENTIALS.session_token or "",
        AWS_REGION=REGION,
        AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=local_runtime.url,
        AWS_ENDPOINT_URL_S3=aws_apis.url,
        LITELLM_MASTER_KEY=proxy.master_key,
    )


def run(command: list[str], env: dict[str, str], *, notes: str = "") -> str:
    """What a command prints; what it says on stderr must match ``notes``."""
    nothing = subprocess.DEVNULL
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, stdin=nothing)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(notes, done.stderr, re.DOTALL), done.stderr
    return done.stdout


def add_tool(tools: Path, name: str, script: str) -> None:
    (tools / name).write_text(script)
    (tools / name).chmod(0o755)


# The blocks


def test_every_block_has_one_test() -> None:
    tested = [*PYTHON, *MAKE, *PIP, *CURL, *PROXY_START, *LOCAL, *FINDING, *CALLING, *DEPLOY, *YAML, *JSON, *MERMAID]
    assert sorted(map(str, tested)) == sorted(map(str, BLOCKS))
    assert len(re.findall(r"(?m)^ *```", README)) == sum(4 if block.output is not None else 2 for block in BLOCKS)


@each("title", dict.fromkeys(block.section for block in PYTHON))
def test_python(title: str, at_home: dict[str, str], local_runtime: Running, proxy: Proxy) -> None:
    """A section's blocks run one after the other, as one program, and print what the README says."""
    blocks = [block for block in PYTHON if block.section == title]
    code = f"print({MARK!r})\n".join(block.text for block in blocks)
    code = code.replace(SAGEMAKER_URL, local_runtime.url).replace(PROXY_URL, proxy.url)
    outputs = run([sys.executable, "-c", code], at_home).split(f"{MARK}\n")
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


# For machines without curl: what the README uses of it, and nothing else.
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
    block: Block, curl: str, at_home: dict[str, str], local_runtime: Running, proxy: Proxy, tmp_path: Path
) -> None:
    if curl == "stand-in":
        add_tool(tmp_path, "curl", CURL_STAND_IN)
    script = block.text.replace(SAGEMAKER_URL, local_runtime.url).replace(PROXY_URL, proxy.url)
    notes = "Good in us-west-2 for 5 min: .*" if "litellm-sagemaker-openai token" in script else ""
    answer = json.loads(run(["bash", "-euo", "pipefail", "-c", script], at_home, notes=notes))
    assert answer["choices"][0]["message"]["content"] == ECHO


@each("block", PROXY_START, ids=str)
def test_proxy_start(block: Block, tmp_path: Path) -> None:
    """It sets what the configuration reads; the ``proxy`` fixture starts the same file."""
    add_tool(tmp_path, "litellm", '#!/bin/sh\necho "arguments=$*"\nenv\n')
    output = run(["bash", "-euo", "pipefail", "-c", block.text], environment(tmp_path))
    said = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    read = re.findall(r"(?m)^[^#\n]*os\.environ/(\w+)", CONFIG.read_text())
    assert said["arguments"] == f"--config {CONFIG.relative_to(ROOT)}"
    assert set(read) <= set(said)
    assert set(said) & set(read) == set(re.findall(r"(?m)^export (\w+)=", block.text))
    assert {name: said[name] for name in MODELS} == MODELS
    assert re.fullmatch(r"sk-[0-9a-f]{64}", said["LITELLM_MASTER_KEY"])


@each("block", LOCAL, ids=str)
def test_local_runtime(block: Block, tmp_path: Path) -> None:
    """It prints what the README shows, and with that pasted into a shell the first Python block runs. It serves what
    the README's proxy asks for."""
    command = [*shlex.split(block.text), "--port", "0"]
    with subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as runtime:
        try:
            assert runtime.stdout is not None
            printed = ""
            for line in runtime.stdout:
                printed += line
                if line.startswith("# Ready."):
                    break
            assert re.sub(r"http://127\.0\.0\.1:\d+", LOCAL_URL, printed) == block.output
            assert set(re.findall(r"(?m)^#   (\S+)$", printed)) == set(MODELS.values())
            script = f"{printed}\nexec {shlex.join([sys.executable, '-c', PYTHON[0].text])}"
            assert run(["bash", "-euc", script], environment(tmp_path)) == PYTHON[0].output
        finally:
            runtime.terminate()


@each("block", FINDING, ids=str)
def test_finding(block: Block, aws_apis: Aws, at_home: dict[str, str], tmp_path: Path) -> None:
    """The list is as the README shows it, and the configuration has what is in service."""
    aws_apis.make_endpoint("my-endpoint")
    aws_apis.make_endpoint("my-gpus", "coder", "reviewer", instances=2)
    aws_apis.make_endpoint("reports", AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://bucket/prefix"}})
    aws_apis.make_endpoint("new-one")
    variant = {"VariantName": "AllTraffic", "CurrentInstanceCount": 0, "DesiredInstanceCount": 1}
    aws_apis.sagemaker.shows("endpoint/new-one", {"EndpointStatus": "Creating", "ProductionVariants": [variant]})
    aws_apis.client("sagemaker").update_inference_component_runtime_config(
        InferenceComponentName="reviewer", DesiredRuntimeConfig={"CopyCount": 0}
    )
    env = at_home | {"AWS_ENDPOINT_URL_SAGEMAKER": aws_apis.url}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if block.output is not None:
        assert [line.rstrip() for line in done.stdout.splitlines()] == block.output.splitlines()
        assert done.stderr == ""
    else:
        written = yaml.safe_load((tmp_path / "proxy_config.yaml").read_text())
        names = [model["model_name"] for model in written["model_list"]]
        assert names == ["my-endpoint", "coder", "reviewer", "reports"]


@each("block", CALLING, ids=str)
def test_calling(block: Block, aws_apis: Aws, at_home: dict[str, str]) -> None:
    """What is printed is as the README shows it, but for seconds, the runtime's host and moto's name for the caller."""
    aws_apis.make_endpoint("my-gpus", "coder", "reviewer", instances=2)
    with running(replace(RUNTIME, credentials=CREDENTIALS, region=REGION)) as runtime:
        env = at_home | {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": runtime.url}
        env |= {f"AWS_ENDPOINT_URL_{service}": aws_apis.url for service in ("SAGEMAKER", "STS")}
        printed = run(["bash", "-euo", "pipefail", "-c", block.text], env)
    printed = printed.replace(urlsplit(runtime.url).netloc, urlsplit(SAGEMAKER_URL).netloc)
    printed = printed.replace("sts::123456789012:user/moto", "sts::123456789012:assumed-role/developer/me")
    assert re.sub(r"\d\.\d\d s", "0.02 s", printed) == block.output


def test_deploying(aws_apis: Any, tmp_path: Path) -> None:
    """The blocks, one after the other, print what the README says, and leave nothing."""
    add_tool(tmp_path, "python", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@" --poll 0\n')
    components = ("inference-component/coder", "inference-component/reviewer")
    for resource in ("endpoint/my-endpoint", "endpoint/my-gpus", *components):
        aws_apis.sagemaker.shows(resource, "Creating", "InService")
    aws_apis.sagemaker.stays("endpoint/my-endpoint", 2)
    env = environment(
        tmp_path,
        AWS_ACCESS_KEY_ID=CREDENTIALS.access_key,
        AWS_SECRET_ACCESS_KEY=CREDENTIALS.secret_key,
        AWS_REGION=REGION,
        AWS_ENDPOINT_URL_SAGEMAKER=aws_apis.url,
    )
    script = f"echo {shlex.quote(MARK)}\n".join(block.text for block in DEPLOY)
    outputs = run(["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{script}"], env).split(f"{MARK}\n")
    assert outputs == [block.output for block in DEPLOY]
    client = aws_apis.client("sagemaker")
    assert not client.list_endpoints()["Endpoints"]
    assert not client.list_endpoint_configs()["EndpointConfigs"]
    assert not client.list_models()["Models"]
    assert not client.list_inference_components()["InferenceComponents"]


# What a proxy, or a Router, of another test starts with.
CONFIGS = [CONFIG, *sorted((ROOT / "tests" / "operating" / "configs").glob("*.yaml"))]


@each("block", YAML, ids=str)
def test_yaml(block: Block) -> None:
    part = yaml.safe_load(block.text)
    assert any(occurs_in(part, yaml.safe_load(each.read_text())) for each in CONFIGS)


def occurs_in(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(name in whole and occurs_in(value, whole[name]) for name, value in part.items())
    if isinstance(part, list):
        return all(any(occurs_in(item, other) for other in whole) for item in part)
    return bool(part == whole)


@each("block", JSON, ids=str)
def test_policy(block: Block) -> None:
    statements = {each.pop("Action"): each for each in json.loads(block.text)["Statement"]}
    assert statements["sagemaker:CallWithBearerToken"] == {"Effect": "Allow", "Resource": "*"}
    invoke = statements["sagemaker:InvokeEndpoint"]
    assert invoke["Effect"] == "Allow"
    assert [arn.split(":")[5].split("/")[0] for arn in invoke["Resource"]] == ["endpoint", "inference-component"]
    assert len(statements) == 2


@each("block", MERMAID, ids=str)
def test_diagram(block: Block) -> None:
    first, *edges = block.text.splitlines()
    node = r'(\w+)(\["[^"]+"\])?'
    assert first == "flowchart TD"
    parsed = [re.fullmatch(rf'    {node} --(?: "[^"]+" --)?> {node}', edge) for edge in edges]
    assert all(parsed), edges
    named = [name for edge in parsed if edge for name in (edge[1], edge[3])]
    labelled = [name for edge in parsed if edge for name, label in ((edge[1], edge[2]), (edge[3], edge[4])) if label]
    assert sorted(labelled) == sorted(set(named))  # each node has one label
    for module in re.findall(r"\w+\.py", block.text):
        assert (PACKAGE / module).is_file(), module


# The tables, and what else can be compared


class Recorder(dict[str, Any]):
    """Keeps the names that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, name: Any, default: Any = None) -> Any:
        self.asked.add(name)
        return default


def test_parameters() -> None:
    optional_params, litellm_params = Recorder(), Recorder()
    defaults = sort_settings(optional_params, litellm_params)
    keywords = inspect.signature(sort_settings).parameters.values()
    named = {keyword.name for keyword in keywords if keyword.kind is keyword.KEYWORD_ONLY}
    of_the_handler = {"model", "extra_headers", "timeout"}
    [rows] = tables("Parameters")
    documented = {name: row[2].strip("`") for row in rows for name in code_in(row[0])}
    assert set(documented) == optional_params.asked | litellm_params.asked | named | of_the_handler
    assert documented["aws_sagemaker_token_expiry"] == str(defaults.token_expiry)
    assert documented["aws_sagemaker_cold_start_timeout"] == f"{defaults.cold_start_timeout:g}"
    assert documented["fake_stream"] == str(defaults.fake_stream)
    assert documented["hf_model_name"] == json.dumps(defaults.model_name)
    assert documented["timeout"] == f"{as_timeout(None).read:g}"
    assert documented["max_retries"] == str(DEFAULT_RETRIES)


def test_options_of_the_local_runtime() -> None:
    [rows] = tables("Without AWS: the local runtime")
    documented = {option for row in rows for option in re.findall(r"--[\w-]+", row[0])}
    assert documented == {option for each in local.params for option in each.opts if option.startswith("--")}


def test_options_of_the_deployment() -> None:
    [rows] = tables("Deploying")
    documented = {option for row in rows for option in re.findall(r"--[\w-]+", row[0])}
    assert documented == {option for each in deploy.params for option in each.opts if option.startswith("--")}


def test_errors() -> None:
    [rows] = tables("Errors and what they mean")
    statuses = {int(code): row[1] for row in rows for code in code_in(row[0]) if code.isdecimal()}
    assert set(statuses) >= {400, 401, 403, 404, 429, 500, 502, 503, 504}
    for status, exception in statuses.items():
        raised = to_exception(Refusal(status, "no", from_container=True), model="my-endpoint")
        assert exception == f"`litellm.{type(raised).__name__}`", status
    for row in rows:
        assert hasattr(litellm, row[1].strip("`").removeprefix("litellm.")), row[1]


def templates() -> Iterator[str]:
    """Each string in the package's source; what is filled in stands as ``…``."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def says(text: str, message: str) -> bool:
    """Whether the pieces of a message, between its ``…``, stand in a text in that order."""
    pieces = [re.escape(piece.strip()) for piece in message.split("…")]
    return re.search(".*".join(pieces), text, re.DOTALL) is not None


def test_messages_of_the_package() -> None:
    ours, _ = tables("Troubleshooting by error message")
    texts = list(templates())
    for [message] in (code_in(row[0]) for row in ours):
        assert max(map(len, message.split("…"))) > 10, message
        assert any(says(text, message) for text in texts), message


def test_messages_of_litellm(tmp_path: Path, at_home: dict[str, str]) -> None:
    config = tmp_path / "proxy_config.yaml"
    config.write_text(CONFIG.read_text().replace("SAGEMAKER_CHAT_MODEL", "NOT_SET"))
    with pytest.raises(DemoError) as not_started, litellm_proxy(config, LOCAL_URL, LOCAL_URL):
        pass
    code = f"""
        import litellm, litellm_sagemaker_openai
        call = {{"model": "sagemaker_openai/my-endpoint", "messages": {MESSAGES}}}
        def attempt(**more):
            try:
                litellm.completion(**call, **more)
            except litellm.BadRequestError as error:
                print(error)
        attempt()
        litellm_sagemaker_openai.register()
        attempt(reasoning_effort="low")
        try:
            litellm.embedding(call["model"], ["a"], dimensions=2)
        except litellm.BadRequestError as error:
            print(error)
        params = {{"model": call["model"], "aws_region_name": "us-west-2"}}
        litellm.Router(model_list=[{{"model_name": "chat", "litellm_params": params}}])
    """
    command = [sys.executable, "-c", dedent(code)]
    said = subprocess.run(command, env=at_home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    _, theirs = tables("Troubleshooting by error message")
    for [message] in (code_in(row[0]) for row in theirs):
        assert says(said + str(not_started.value), message), message


def test_what_it_costs_is_what_was_measured() -> None:
    """The tables are those of the benchmark's last run, which draws the chart, too."""
    measured = (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8").splitlines()
    section = README.partition("\n## What it costs\n")[2].partition("\n## ")[0].splitlines()
    shown = [line for line in section if line.startswith(("|", "### ", "- AMD", "- Medians", "- CPU of"))]
    assert len(shown) > 40
    assert [line for line in shown if line not in measured] == []
    explained = "\n".join(section).partition("**What is not met, and why.**")[2].partition("\n### ")[0]
    for row in section:
        if row.endswith("| ✗ |"):
            assert row.split("|")[3].split()[0] in explained, row


def test_map_of_the_code() -> None:
    [rows] = tables("Map of the code")
    modules = [file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if not file.name.startswith("_")]
    assert sorted(row[0].strip("`") for row in rows) == sorted(modules)


def test_public_names() -> None:
    for name in litellm_sagemaker_openai.__all__:
        assert name.startswith("__") or name in README, name


def test_links() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"(?m)^#+ (.*)$", README)
    }
    for link in re.findall(r"\]\((?!https://)([^)]+)\)", README):
        assert link[1:] in anchors if link.startswith("#") else (ROOT / link).exists(), link


def test_the_release_of_litellm_that_it_compares_with() -> None:
    [release] = re.findall(r"LiteLLM (\d[\d.]+\d)", README)
    assert f'"litellm>={release}"' in (ROOT / "pyproject.toml").read_text()
