"""The real LiteLLM proxy before the benchmark's server, each provider as models of its own, and a client of it.

The proxy chooses its event loop itself: uvloop, where that is installed. What is measured is its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench_cases import CASES, PROXIED
from benchmarks.bench_contenders import ENVIRONMENT, FLOOR, OURS, Aiohttp

_START_SECONDS = 120
_STOP_SECONDS = 15
_KEEPALIVE_SECONDS = 600  # a client is not looked after between its slices, and would not see its connections closed
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
_ROOT = Path(__file__).parents[1]
_TICK = os.sysconf("SC_CLK_TCK")
_SETTLES = 30  # a proxy has other things to do, too


def config(server_url: str) -> dict[str, Any]:
    """The proxy's: a model for each contender and each endpoint, called by the names of both."""
    params: dict[tuple[str, str], dict[str, str]] = {}
    for endpoint in sorted({case.endpoint for case in CASES if case.proxied}):
        base = f"{server_url}/endpoints/{endpoint}"
        stream = "" if endpoint == "whole" else "-response-stream"
        for provider in ("openai", "hosted_vllm"):
            params[f"{provider}/", endpoint] = {"api_base": f"{base}/openai/v1", "api_key": "made-up"}
        params["sagemaker_chat/", endpoint] = {"sagemaker_base_url": f"{base}/invocations{stream}"}
        params[OURS, endpoint] = params[FLOOR, endpoint] = {}
    prefixes = {name: "floor/" if name == FLOOR else name for name in PROXIED}
    models = [
        {"model_name": f"{name} {endpoint}", "litellm_params": {"model": f"{prefixes[name]}{endpoint}", **more}}
        for (name, endpoint), more in params.items()
    ]
    handlers = {
        "sagemaker_openai": "litellm_sagemaker_openai.sagemaker_openai",
        "floor": "benchmarks.bench_floor.floor_provider",
    }
    provider_map = [{"provider": name, "custom_handler": handler} for name, handler in handlers.items()]
    return {
        "model_list": models,
        "litellm_settings": {"custom_provider_map": provider_map},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


@contextmanager
def litellm_proxy(server_url: str) -> Iterator[dict[str, str]]:
    """A running proxy; what its clients find in their environment."""
    key = f"sk-{secrets.token_hex(32)}"
    environment = {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        **ENVIRONMENT,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": server_url,
        "LITELLM_MASTER_KEY": key,
        "PYTHONPATH": str(_ROOT),  # for the floor's handler
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, str(Path(sysconfig.get_path("scripts"), "litellm")), "--config", "config.yaml"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.yaml").write_text(json.dumps(config(server_url)))  # JSON is YAML
        log = Path(folder, "proxy.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", "0", "--keepalive_timeout", str(_KEEPALIVE_SECONDS)],
                env=environment,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            url = _url(process, log)
            yield {"BENCH_PROXY_URL": url, "BENCH_PROXY_PID": str(process.pid), "LITELLM_MASTER_KEY": key}
        finally:
            ended = process.poll()
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if ended is not None:
                raise RuntimeError(f"the proxy ended with status {ended}. {_tail(log)}")


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    """With port 0 the system chooses a port, and the log says which."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        found = re.search(r"Uvicorn running on (http://[\d.:]+)", text)
        if found and "Application startup complete" in text:
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"the proxy did not start. {_tail(log)}")


def _tail(log: Path) -> str:
    return f"The end of its log:\n{log.read_text(errors='replace')[-4000:]}"


class ProxyClient(Aiohttp):
    """The cheapest of clients, so that the proxy is what is busy. CPU and memory are the proxy's.

    Args:
        name: the contender's, by which the proxy calls its models.
        environment: has the proxy's address, key and process.
    """

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        super().__init__(environment["BENCH_PROXY_URL"])
        self._name = name
        self._headers = {"Authorization": f"Bearer {environment['LITELLM_MASTER_KEY']}"}
        self._process = environment["BENCH_PROXY_PID"]

    def _post(self, endpoint: str, messages: Any, **more: Any) -> Any:
        body = {"model": f"{self._name} {endpoint}", "messages": messages, **more}
        return self.session.post(f"{self._url}/v1/chat/completions", json=body, headers=self._headers)

    def _look_at(self, response: Any) -> None:
        with contextlib.suppress(KeyError, ValueError):  # there is none, or it is "None"
            self.overheads.append(float(response.headers["x-litellm-overhead-duration-ms"]))

    def cpu_seconds(self) -> float:
        """proc(5): the 14th and 15th field, user and system time in ticks."""
        fields = Path("/proc", self.process, "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    @property
    def process(self) -> str:
        return self._process

    async def asettle(self) -> None:
        """The proxy logs calls that are over; it has done so once it used no CPU for three ticks."""
        before = -1.0
        for _ in range(_SETTLES):
            now = self.cpu_seconds()
            if now == before:
                return
            before = now
            await asyncio.sleep(3 / _TICK)
