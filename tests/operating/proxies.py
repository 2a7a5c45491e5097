"""The real LiteLLM proxy, started with the configurations in ``configs/``, before a scripted SageMaker and Bedrock."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]

from tests.conftest import CREDENTIALS, REGION
from tests.operating.conftest import Script
from tests.scripted import Answer, Seen, json_answer

CONFIGS = Path(__file__).parent / "configs"
_START_SECONDS = 90
_STOP_SECONDS = 15
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")

# Writes each call that LiteLLM reports to its callbacks, a line of JSON a call. LiteLLM imports it by name.
_REPORTER = """
import json, os, pathlib
from litellm.integrations.custom_logger import CustomLogger

class Reporter(CustomLogger):
    def _write(self, kwargs, event):
        logged = kwargs.get("standard_logging_object") or {}
        line = {"event": event, "pid": os.getpid(), "kwargs_cost": kwargs.get("response_cost"), "logged": logged}
        with pathlib.Path(__file__).with_name("reported.jsonl").open("a") as file:
            file.write(json.dumps(line, default=str) + "\\n")

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self._write(kwargs, "success")

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self._write(kwargs, "failure")

reporter = Reporter()
"""


@dataclass(frozen=True)
class Proxy:
    """A proxy that answers at ``url``."""

    url: str
    key: str = field(repr=False)
    folder: Path
    client: httpx.Client = field(repr=False)
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def log(self) -> str:
        return (self.folder / "proxy.log").read_text(errors="replace")

    def get(self, path: str, **params: str) -> httpx.Response:
        return self.client.get(path, params=params)

    def chat(self, model: str, *, question: str = "Hello?", **body: Any) -> httpx.Response:
        """The proxy's answer to a question; a streamed one is read to its end."""
        messages = [{"role": "user", "content": question}]
        return self.client.post("/v1/chat/completions", json={"model": model, "messages": messages, **body})

    def reported(self, call_id: str, event: str) -> dict[str, Any]:
        """What LiteLLM reported of a call's success, or failure, to its callbacks, once it did."""
        for _ in until(f"a report of the {event} of {call_id}"):
            for found in self.all_reported(call_id):
                if found["event"] == event:
                    return found
        raise AssertionError  # `until` raises first

    def all_reported(self, call_id: str) -> list[dict[str, Any]]:
        """What LiteLLM has reported of a call so far."""
        file = self.folder / "reported.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [each for each in found if each["logged"].get("litellm_call_id") == call_id]


def until(what: str, seconds: float = 30) -> Iterator[None]:
    """Tries, with short pauses, for what another thread or process will do; raises once it took too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)
    raise TimeoutError(f"waited {seconds:g} s for {what}")


def text_of(response: httpx.Response) -> str:
    """The text of a whole answer, or of a stream."""
    if response.headers["content-type"].startswith("application/json"):
        return str(response.json()["choices"][0]["message"]["content"])
    return "".join(choice["delta"].get("content") or "" for event in events(response) for choice in event["choices"])


def without_notices(log: str) -> str:
    """A proxy's log without what LiteLLM 1.110 says at WARNING of every proxy."""
    return re.sub(r".*gc\.freeze pinned \d+ startup objects\n", "", log)


def events(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]", lines[-3:]
    return [json.loads(line) for line in lines[:-1]]


def on_path(answers: Mapping[str, Script], default: Script) -> Script:
    """A script that answers for an endpoint, or a component, by its name; ``answers`` may change while it runs."""

    def script(seen: Seen) -> Answer | bytes:
        if seen.method != "POST":
            return json_answer({}, 404)
        *_, name = seen.path.removesuffix("/openai/v1/chat/completions").split("/")
        answer: Script = answers.get(name, default)
        return answer(seen) if callable(answer) else answer

    return script


def merged(*parts: Any) -> dict[str, Any]:
    """Configurations put together: lists joined, settings of one name merged, the later one's value kept."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, list):
                whole[name] = [*whole.get(name, []), *value]
            elif isinstance(value, dict):
                whole[name] = merged(whole.get(name, {}), value)
            else:
                whole[name] = value
    return whole


def config(name: str) -> Any:
    return yaml.safe_load((CONFIGS / name).read_text())


BASE = {
    "credential_list": [
        {"credential_name": "sagemaker", "credential_info": {}, "credential_values": {"aws_region_name": REGION}}
    ],
    "litellm_settings": {
        "custom_provider_map": [
            {"provider": "sagemaker_openai", "custom_handler": "litellm_sagemaker_openai.sagemaker_openai"}
        ],
        "callbacks": ["reporter.reporter"],
    },
    "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY", "trusted_proxy_ranges": []},
}


@contextmanager
def proxy(
    folder: Path,
    *configs: Any,
    sagemaker: str,
    bedrock: str = "http://127.0.0.1:9",
    workers: int = 1,
    config_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Proxy]:
    """A process of its own on a free port, as long as the context lasts.

    Args:
        folder: where it runs, and keeps its log.
        configs: are put together, with ``BASE``; not used where there is a ``config_file``.
        sagemaker: the SageMaker runtime's URL.
        bedrock: the Bedrock runtime's URL.
        workers: how many processes answer.
        config_file: a configuration as it is.
        environment: more variables.
    """
    if config_file is None:
        config_file = folder / "config.yaml"
        config_file.write_text(yaml.safe_dump(merged(BASE, *configs)))
        (folder / "reporter.py").write_text(_REPORTER)
    key = f"sk-{secrets.token_hex(32)}"
    command = [sys.executable, str(Path(sysconfig.get_path("scripts"), "litellm")), "--config", str(config_file)]
    command += ["--host", "127.0.0.1", "--port", "0", "--num_workers", str(workers)]
    # uvicorn kills a worker that is silent for 5 seconds, and to load LiteLLM takes as long on a busy machine.
    command += ["--timeout_worker_healthcheck", str(_START_SECONDS)]
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**_environment(key, sagemaker, bedrock), **(environment or {})},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = _url(process, folder / "proxy.log", workers)
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60
        ) as client:
            client.get("/health/readiness").raise_for_status()
            yield Proxy(url, key, folder, client, process)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(key: str, sagemaker: str, bedrock: str) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "LITELLM_MASTER_KEY": key,
        "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
        "AWS_SESSION_TOKEN": CREDENTIALS.session_token or "",
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": sagemaker,
        "AWS_BEDROCK_RUNTIME_ENDPOINT": bedrock,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",  # reads no .env file
        "PYTHONUNBUFFERED": "1",
    }


def _url(process: subprocess.Popen[bytes], log: Path, workers: int) -> str:
    """With port 0 the system chooses a port, and the log says which; several workers share it."""
    for _ in until("the proxy to start", _START_SECONDS):
        text = log.read_text(errors="replace")
        found = re.search(r"Uvicorn running on (http://[\d.:]+)", text)
        if found and text.count("Application startup complete") == workers:
            return found[1]
        assert process.poll() is None, text[-4000:]
    raise AssertionError  # `until` raises first
