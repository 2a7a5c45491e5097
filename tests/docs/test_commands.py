"""The commands in the pages print what the pages show."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from examples.demo import MODELS, RUNTIME
from litellm_sagemaker_openai.local.server import running
from tests.aws_apis import PREFIX_AWARE, Aws
from tests.conftest import CREDENTIALS, REGION
from tests.docs.blocks import CALLING, CONFIGURING, DEPLOYING, LISTING, LOCAL, PYTHON, SCRIPTED, SCRIPTS, WATCHING
from tests.docs.pages import Block
from tests.docs.reader import AS_ON_AWS, LOCAL_URL, MARK, add_tool, bash, environment, make_listed_endpoints, run
from tests.operating.proxies import until

pytestmark = pytest.mark.slow(reason="starts the command in processes of their own, and each imports LiteLLM")

each = pytest.mark.parametrize


@each("block", LOCAL, ids=str)
def test_local_runtime(block: Block, tmp_path: Path) -> None:
    """It prints what the page shows, and with that pasted into a shell the README's first snippet runs. It serves what
    the pages' proxy asks for."""
    [snippet, *_] = [block for block in PYTHON if block.page == "README.md"]
    with local_runtime_of(block, tmp_path) as printed:
        assert set(re.findall(r"(?m)^#   (\S+)$", printed)) == set(MODELS.values())
        script = f"{printed}\nexec {shlex.join([sys.executable, '-c', snippet.text])}"
        assert run(["bash", "-euc", script], environment(tmp_path)) == snippet.output


def test_script(tmp_path: Path) -> None:
    """The page's file, with the page's command, plays as the page says."""
    [file], [block] = SCRIPTS, SCRIPTED
    (tmp_path / shlex.split(block.text)[-1]).write_text(file.text)
    ask = dedent("""\
        import litellm, litellm_sagemaker_openai
        litellm_sagemaker_openai.register()
        messages = [{"role": "user", "content": "Please fix the test."}]
        tools = [{"type": "function", "function": {"name": name}} for name in ("read", "run")]
        while True:
            answer = litellm.completion("sagemaker_openai/my-endpoint", messages, tools=tools).choices[0].message
            messages.append(answer.model_dump(exclude_none=True))
            for call in answer.tool_calls or ():
                print(call.function.name, call.function.arguments)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": "fine"})
            if not answer.tool_calls:
                print(answer.content)
                break
        """)
    with local_runtime_of(block, tmp_path) as printed:
        script = f"{printed}\nexec {shlex.join([sys.executable, '-c', ask])}"
        assert run(["bash", "-euc", script], environment(tmp_path)).splitlines() == [
            'read {"path": "calculator.py"}',
            'run {"command": "ls"}',
            'run {"command": "python test_calculator.py"}',
            "Done in turn 3.",
        ]


@contextmanager
def local_runtime_of(block: Block, folder: Path) -> Iterator[str]:
    """A block's local runtime on a free port; it gives what was printed, which is what the page shows."""
    command = [*shlex.split(block.text), "--port", "0"]
    with subprocess.Popen(command, env=environment(folder), cwd=folder, stdout=subprocess.PIPE, text=True) as runtime:
        try:
            assert runtime.stdout is not None
            printed = ""
            for line in runtime.stdout:
                printed += line
                if line.startswith("# Ready."):
                    break
            assert block.output in (None, re.sub(r"http://127\.0\.0\.1:\d+", LOCAL_URL, printed))
            yield printed
        finally:
            runtime.terminate()


@pytest.fixture
def account(aws_apis: Aws, at_home: dict[str, str]) -> dict[str, str]:
    """An environment whose account has the endpoints that the pages list."""
    make_listed_endpoints(aws_apis)
    return at_home | {"AWS_ENDPOINT_URL_SAGEMAKER": aws_apis.url}


@each("block", LISTING, ids=str)
def test_listing(block: Block, account: dict[str, str]) -> None:
    printed = run(bash(block.text), account).splitlines()
    assert len(printed) == 7
    if block.output is not None:
        assert [line.rstrip() for line in printed] == block.output.splitlines()


@each("block", CONFIGURING, ids=str)
def test_configuring(block: Block, account: dict[str, str], tmp_path: Path) -> None:
    """The configuration has what is in service."""
    done = subprocess.run(bash(block.text), env=account, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "proxy_config.yaml").read_text())
    names = [model["model_name"] for model in written["model_list"]]
    assert names == ["my-endpoint", "coder", "reviewer", "reports"]


def test_watching(account: dict[str, str], aws_apis: Aws, tmp_path: Path) -> None:
    """The first block prints what the page shows; with the second, a running proxy takes what was deployed since."""
    alone, with_a_proxy = WATCHING
    account = account | {"LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}", "LITELLM_MODE": "PRODUCTION"}
    with started(alone.text, account, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == alone.output
    aws_apis.make_endpoint("deployed-since")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, bearer = f"http://127.0.0.1:{port}", f"Bearer {account['LITELLM_MASTER_KEY']}"
    first, *others = with_a_proxy.text.splitlines(keepends=True)
    assert first == "litellm --config proxy_config.yaml --run_gunicorn &\n"
    first = first.replace(" &", f" --host 127.0.0.1 --port {port} --num_workers 1 >proxy.log 2>&1 &")
    is_there = f"until curl --silent --noproxy '*' --output /dev/null {url}/health/liveliness; do sleep 0.2; done\n"
    with started(first + is_there + "".join(others), account, tmp_path):
        for _ in until("the proxy to have what was deployed since", 90):
            try:
                answer = httpx.get(f"{url}/v1/models", headers={"Authorization": bearer}, trust_env=False)
            except httpx.HTTPError:
                continue
            names = [each["id"] for each in answer.raise_for_status().json()["data"]]
            if "deployed-since" in names:
                break
    assert "Handling signal: hup" in (tmp_path / "proxy.log").read_text()


@contextmanager
def started(script: str, env: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A script in a group of processes of its own, all of which are ended."""
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        env=env,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=60)


@each("block", CALLING, ids=str)
def test_calling(block: Block, aws_apis: Aws, at_home: dict[str, str]) -> None:
    """What is printed is as the page shows it, but for seconds, the runtime's host and moto's name for the caller."""
    aws_apis.make_endpoint("my-gpus", "coder", "reviewer", instances=2, routing=PREFIX_AWARE)
    aws_apis.make_adapter("legal", "my-gpus", "coder")
    endpoints = {**RUNTIME.endpoints, "my-gpus": (*RUNTIME.endpoints["my-gpus"], "legal")}
    with running(replace(RUNTIME, endpoints=endpoints, credentials=CREDENTIALS, region=REGION)) as runtime:
        env = at_home | {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": runtime.url}
        env |= {f"AWS_ENDPOINT_URL_{service}": aws_apis.url for service in ("SAGEMAKER", "STS")}
        printed = run(bash(block.text), env)
    for pattern, instead in AS_ON_AWS:
        printed = re.sub(pattern, instead, printed)
    shown = {printed, block.output}
    assert len(shown - {None}) == 1  # a page that shows nothing is compared with nothing


def test_deploying(aws_apis: Aws, tmp_path: Path) -> None:
    """The blocks, one after the other, print what the page says, and leave nothing."""
    add_tool(tmp_path, "python", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@" --poll 0\n')
    components = [f"inference-component/{name}" for name in ("coder", "reviewer", "legal")]
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
    script = f"echo {shlex.quote(MARK)}\n".join(block.text for block in DEPLOYING)
    outputs = run(bash(f"exec 2>&1\n{script}"), env).split(f"{MARK}\n")
    assert outputs == [block.output for block in DEPLOYING]
    client = aws_apis.client("sagemaker")
    assert not client.list_endpoints()["Endpoints"]
    assert not client.list_endpoint_configs()["EndpointConfigs"]
    assert not client.list_models()["Models"]
    assert not client.list_inference_components()["InferenceComponents"]
