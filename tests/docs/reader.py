"""What a reader has who tries what a page shows: a shell, an environment, this Python's commands."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path

from tests.aws_apis import PREFIX_AWARE, Aws
from tests.conftest import REGION
from tests.docs.pages import ROOT

# What the pages' snippets call, and what they print.
SAGEMAKER_URL = f"https://runtime.sagemaker.{REGION}.amazonaws.com"
PROXY_URL = "http://localhost:4000"
LOCAL_URL = "http://127.0.0.1:8080"
ECHO = "Echo container, not a model. You said: Hello?"
# What this machine prints, and what stands for it in the pages.
AS_ON_AWS = [
    (r"127\.0\.0\.1:\d+", f"runtime.sagemaker.{REGION}.amazonaws.com"),
    (r"sts::123456789012:user/moto", "sts::123456789012:assumed-role/developer/me"),
    (r"\b\d+\.\d\d s\b", "0.02 s"),
]
MARK = "\n=== the next block's output ==="


def make_listed_endpoints(aws: Aws) -> None:
    """What the pages list."""
    tools = {
        "SM_VLLM_MODEL": "Qwen/Qwen3-4B",
        "SM_VLLM_MAX_MODEL_LEN": "32768",
        "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": "true",
        "SM_VLLM_TOOL_CALL_PARSER": "hermes",
    }
    reasoning = {**tools, "SM_VLLM_REASONING_PARSER": "qwen3"}
    aws.make_endpoint("my-endpoint", environment=tools)
    aws.make_endpoint("my-gpus", "coder", "reviewer", instances=2, environment=reasoning, routing=PREFIX_AWARE)
    aws.make_endpoint("reports", AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://bucket/prefix"}})
    aws.make_endpoint("new-one")
    variant = {"VariantName": "AllTraffic", "CurrentInstanceCount": 0, "DesiredInstanceCount": 1}
    aws.sagemaker.shows("endpoint/new-one", {"EndpointStatus": "Creating", "ProductionVariants": [variant]})
    aws.client("sagemaker").update_inference_component_runtime_config(
        InferenceComponentName="reviewer", DesiredRuntimeConfig={"CopyCount": 0}
    )


def environment(tools: Path, **more: str) -> dict[str, str]:
    """A user's, with this Python's commands and with what is in ``tools`` before them."""
    return {
        "PATH": os.pathsep.join([str(tools), sysconfig.get_path("scripts"), os.environ["PATH"]]),
        "HOME": str(tools),
        "AWS_EC2_METADATA_DISABLED": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        **more,
    }


def run(command: list[str], env: dict[str, str], *, notes: str = "") -> str:
    """What a command prints; what it says on stderr must match ``notes``."""
    nothing = subprocess.DEVNULL
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, stdin=nothing)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(notes, done.stderr, re.DOTALL), done.stderr
    return done.stdout


def bash(script: str) -> list[str]:
    """The command that runs a script and ends with its first failure."""
    return ["bash", "-euo", "pipefail", "-c", script]


def add_tool(tools: Path, name: str, script: str) -> None:
    (tools / name).write_text(script)
    (tools / name).chmod(0o755)
