"""Strands Agents: the example's coder and reviewer, through ``LiteLLMModel``, and on the proxy as ``OpenAIModel``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples import strands_agents
from examples.strands_agents import TASK, calculate
from litellm_sagemaker_openai.local.server import Running
from tests.clients.conftest import Proxied, tokens_of

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

SUM = "366 * 24 * 60 * 60"
DONE = f"{SUM} = 31622400"
ROOT = Path(__file__).resolve().parents[2]
SHOWN = f"""\
coder calls calculator with {{'expression': '{SUM}'}}
  {DONE}
coder: The tool answered: {DONE}
reviewer calls calculator with {{'expression': '{SUM}'}}
  {DONE}
reviewer: The tool answered: {DONE}
"""


async def check(models: list[Any], received: Any, endpoint: str) -> None:
    agents = await strands_agents.review(*models)
    bodies = [request.body for request in received]
    assert [request.path.split("/")[2:5:2] for request in received] == (
        [[endpoint, "coder"]] * 2 + [[endpoint, "reviewer"]] * 2
    )
    for agent, own in zip(agents, (bodies[:2], bodies[2:]), strict=True):
        _, call, result, answer = (message["content"][0] for message in agent.messages)
        assert call["toolUse"]["name"] == "calculator"
        assert call["toolUse"]["input"] == {"expression": SUM}
        assert result["toolResult"]["status"] == "success"
        assert result["toolResult"]["content"] == [{"text": DONE}]
        assert result["toolResult"]["toolUseId"] == call["toolUse"]["toolUseId"]
        assert answer == {"text": f"The tool answered: {DONE}"}
        usage = agent.event_loop_metrics.accumulated_usage
        assert (usage["inputTokens"], usage["outputTokens"]) == tuple(map(sum, zip(*map(tokens_of, own), strict=True)))
        assert all(body["stream"] for body in own)
        assert [body["tools"][0]["function"]["name"] for body in own] == ["calculator"] * 2
    assert TASK in bodies[0]["messages"][1]["content"][0]["text"]
    assert f"The tool answered: {DONE}" in bodies[2]["messages"][1]["content"][0]["text"]


async def test_without_a_proxy(runtime: Running) -> None:
    names = (("SAGEMAKER_CODER_MODEL", "coder"), ("SAGEMAKER_REVIEWER_MODEL", "reviewer"))
    models = [strands_agents.direct_model(name, f"sagemaker_openai/shared-endpoint/{each}") for name, each in names]
    await check(models, runtime.app.state.received, "shared-endpoint")


async def test_on_the_proxy(proxy: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", proxy.key)
    models = [strands_agents.proxy_model(proxy.url, name) for name in ("coder", "reviewer")]
    await check(models, proxy.received, "my-gpus")


@pytest.mark.parametrize("through", ["SageMaker", "proxy"])
def test_the_example_runs(
    through: str, runtime: Running, proxy: Proxied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", proxy.key)
    arguments = ["--proxy", proxy.url] if through == "proxy" else []
    command = [sys.executable, str(ROOT / "examples" / "strands_agents.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (SHOWN, "", 0)
    assert len(runtime.app.state.received) == (0 if through == "proxy" else 4)
    assert len(proxy.received) == (4 if through == "proxy" else 0)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (SUM, 31622400),
        ("12 * (3 + 4)", 84),
        ("-2 ** 2", -4),
        ("7 // 2 + 7 % 2", 4),
        (" 1 / 4 ", 0.25),
        ("2 ** 0.5", 2**0.5),
        ("2 ** -1", 0.5),
        ("2 ** 333", 2**333),
        ("1e3", 1000.0),
        ("(" * 99 + "1" + ")" * 99, 1),
        ("-" * 198 + "1", 1),
    ],
)
def test_the_calculator_calculates(expression: str, value: float) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "__import__('os').system('true')",
        "().__class__",
        "open('/etc/passwd')",
        "x",
        "'a' * 3",
        "True + 1",
        "[1][0]",
        "1 if 1 else 2",
        "(a := 3)",
        "lambda: 1",
        "f'{1}'",
        "1; 2",
        "1 << 9",
        "9 ** 9 ** 9",
        "10 ** 400",
        "9.0 ** 9999",
        "(-1) ** 0.5",
        "1j",
        "1 / 0",
        "0 ** -1",
        "1e999",
        "1e308 * 10",
        "(" * 90 + "1",
        "1+" * 100 + "1",
        "-" * 190 + "1" * 20,
    ],
)
def test_the_calculator_runs_nothing_that_a_model_says(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        calculate(expression)
