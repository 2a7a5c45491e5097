"""examples/demo.py: it shows everything, fails when something fails, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from examples import demo

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

# Where SageMaker was asked, and who answered.
CHAT = (demo.CHAT_PATH, "sagemaker_openai/my-endpoint", "chat", "0")
CODER = (demo.CODER_PATH, "sagemaker_openai/my-gpus/coder", "coder", "0")
REVIEWER = (demo.REVIEWER_PATH, "sagemaker_openai/my-gpus/reviewer", "reviewer", "0")
BEDROCK = ("bedrock/openai.gpt-oss-120b-1:0", "chat-bedrock", "1")


def sections_of(output: str) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Each section's title, and for each of its requests the path, SageMaker's path and who answered."""
    titles = re.findall(r"(?m)^\d\. .*$", output)
    bodies = re.split(r"(?m)^\d\. .*$", output)[1:]
    request = r"send +POST (\S+)$.*?SageMaker +POST (\S+)$.*?from +(\S+) \(model group (\S+), fallbacks: (\d)\)$"
    return [(title, re.findall(f"(?ms){request}", body)) for title, body in zip(titles, bodies, strict=True)]


def proxy_url(output: str) -> str:
    found = re.search(r"LiteLLM   (http://[\d.:]+)", output)
    assert found, output
    return found.group(1)


def assert_stopped(url: str) -> None:
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health/readiness", trust_env=False)


@contextmanager
def demo_process(environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "examples.demo"],
        cwd=demo.CONFIG.parent,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_everything_works_whatever_the_environment_says() -> None:
    # None of these may reach the proxy or the client: a user has them set for other things.
    environment = {
        "AWS_PROFILE": "absent",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "eu-central-1",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "LITELLM_MASTER_KEY": "sk-1234",
        "SAGEMAKER_CHAT_MODEL": "sagemaker_openai/absent",
    }
    with demo_process(environment) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert sections_of(output) == [
        ("1. A chat with the model on an endpoint", [("/v1/chat/completions", *CHAT)]),
        ("2. A streamed chat", [("/v1/chat/completions", *CHAT)]),
        ("3. A tool call", [("/v1/chat/completions", *CHAT)] * 2),
        (
            "4. Two inference components on one endpoint",
            [("/v1/chat/completions", *CODER), ("/v1/chat/completions", *REVIEWER)],
        ),
        ("5. The Responses API, streamed", [("/v1/responses", *CHAT)]),
        ("6. The Messages API, streamed", [("/v1/messages", *REVIEWER)]),
        ("7. A streamed fallback to Bedrock", [("/v1/chat/completions", demo.CODER_PATH, *BEDROCK)]),
    ]
    assert "Bedrock  | stand-in.  | You  | said:  | Is  | anybody  | there?" in output
    assert output.endswith("\nAll of it worked.\n")
    assert_stopped(proxy_url(output))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stops_what_it_started_when_it_is_stopped(stop: signal.Signals) -> None:
    with demo_process() as process:
        assert process.stdout is not None
        output = ""
        while "1. " not in output:
            line = process.stdout.readline()
            assert line, output
            output += line
        process.send_signal(stop)
        process.communicate()
    assert process.returncode == 1
    assert_stopped(proxy_url(output))


def test_names_what_failed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(demo.MODELS, "SAGEMAKER_REVIEWER_MODEL", "sagemaker_openai/my-gpus/absent")
    assert demo.main() == 1
    output = capsys.readouterr().out
    assert "The end of its log:" in output
    assert output.endswith("\nFAILED: 4. Two inference components on one endpoint; 6. The Messages API, streamed\n")
    assert_stopped(proxy_url(output))


def test_says_why_the_proxy_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "proxy_config.yaml"
    config.write_text(demo.CONFIG.read_text().replace("SAGEMAKER_CHAT_MODEL", "NOT_SET"))
    with (
        pytest.raises(demo.DemoError, match=r"(?s)ended with status \d.*argument of type 'NoneType' is not iterable"),
        demo.litellm_proxy(config, "http://127.0.0.1:9", "http://127.0.0.1:9"),
    ):
        pass
