"""Checks deploy/monitoring/ against a real Prometheus that scrapes the real proxy, and prints a table.

    python -m tools.monitoring

Prometheus is the one on the PATH, or Debian's package, which apt-get downloads into .cache/ without installing it.
`promtool` checks and tests the alerts. Then a proxy with the callbacks of docs/monitoring.md answers from the local
runtime and from containers that fail in each way; each query of the dashboard must have a result, and each alert must
fire (with `for: 2s` in place of its minutes, which promtool's tests have). The exit status is 0 if all did.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]

from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import running
from tests.conftest import CREDENTIALS, REGION
from tests.operating.conftest import fine
from tests.operating.provoked import CONFIG, answers, provoke
from tests.operating.proxies import Proxy, config, on_path, proxy
from tests.scripted import scripted

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "monitoring"
_CACHE = ROOT / ".cache" / "prometheus"
_SECONDS = 90  # for what Prometheus is waited for

# Besides what tests/operating/provoked.py has: a model on the local runtime, and credentials that do not resolve.
_MORE = {
    "model_list": [
        {
            "model_name": "local",
            "litellm_params": {
                "model": "sagemaker_openai/my-endpoint",
                "litellm_credential_name": "sagemaker",
                "sagemaker_base_url": "os.environ/LOCAL_RUNTIME",
            },
        },
        {
            "model_name": "roleless",
            "litellm_params": {
                "model": "sagemaker_openai/roleless",
                "aws_region_name": REGION,
                "aws_role_name": "arn:aws:iam::111122223333:role/nobodys",
                "aws_session_name": "litellm",
            },
        },
    ]
}


def queries() -> dict[str, str]:
    """The dashboard's queries by panel, as Grafana sends them: for all models, over five minutes."""
    panels = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "5m").replace("$model", ".*")
        for panel in panels
        for target in panel.get("targets", ())
    }


def alerts() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def main() -> int:
    began = time.monotonic()
    programs = _programs()
    for command in (
        "check config --syntax-only prometheus.yaml",
        "check rules alerts.yaml",
        "test rules alerts_test.yaml",
    ):
        subprocess.run([programs["promtool"], *command.split()], cwd=FOLDER, check=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found, fired = _against_a_proxy(stack, programs["prometheus"], folder)
    rows = [
        *((f"query: {name}", ok) for name, ok in found.items()),
        *((f"alert: {name}", ok) for name, ok in fired.items()),
    ]
    for name, ok in rows:
        print(f"{'ok    ' if ok else 'FAILED'}  {name}")
    print(f"{len(found)} queries, {len(fired)} alerts, {time.monotonic() - began:.0f} s")
    return 0 if all(ok for _, ok in rows) else 1


def _programs() -> dict[str, str]:
    """Prometheus' programs: those on the PATH, or Debian's."""
    names = ("prometheus", "promtool")
    if all(map(shutil.which, names)):
        return {name: str(shutil.which(name)) for name in names}
    unpacked = _CACHE / "usr" / "bin"
    if not unpacked.exists():
        if not shutil.which("apt-get"):
            raise SystemExit("needs prometheus and promtool on the PATH: https://prometheus.io/download")
        _CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "prometheus"], cwd=_CACHE, check=True)
        (package,) = _CACHE.glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, _CACHE], check=True)
    return {name: str(unpacked / name) for name in names}


def _against_a_proxy(stack: ExitStack, program: str, folder: Path) -> tuple[dict[str, bool], dict[str, bool]]:
    """Which queries had a result, and which alerts fired."""
    runtime = stack.enter_context(running(RuntimeConfig({"my-endpoint": ()}, CREDENTIALS, REGION)))
    failing = stack.enter_context(scripted(on_path(answers(), fine)))
    sts = stack.enter_context(scripted(lambda _: b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"))
    with ExitStack() as proxys:
        started = proxys.enter_context(
            proxy(
                folder,
                config("metrics.yaml"),
                CONFIG,
                _MORE,
                sagemaker=failing.url,
                environment={
                    "LOCAL_RUNTIME": runtime.url,
                    "AWS_ENDPOINT_URL_STS": sts.url,
                    "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "2",
                },
            )
        )
        prometheus = stack.enter_context(_prometheus(program, folder, started))
        expected = alerts().keys() - {"MetricsMissing"}
        # Once before, so that Prometheus sees the counters increase; then until it has seen each alert.
        _provoke_all(started)
        held = ThreadPoolExecutor(3)
        for _ in range(3):
            held.submit(started.chat, "held", stream=True)
        found: dict[str, bool] = {}
        fired: set[str] = set()
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and not (expected <= fired and found and all(found.values())):
            fired |= _firing(prometheus)
            found = {name: bool(_result(prometheus, query)) for name, query in queries().items()}
            time.sleep(1)
        failing.close()  # ends the streams that are held, for which the proxy would wait
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and "MetricsMissing" not in fired:
        fired |= _firing(prometheus)
        time.sleep(1)
    held.shutdown(wait=False)
    return found, {name: name in fired for name in alerts()}


def _provoke_all(started: Proxy) -> None:
    for _ in range(6):
        provoke(started)
        started.chat("roleless")
        started.chat("local").raise_for_status()
        time.sleep(1)


@contextmanager
def _prometheus(program: str, folder: Path, started: Proxy) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes the proxy each second, and a client for its API."""
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "2s"
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (folder / "litellm-key").write_text(started.key)
    settings = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["scrape_configs"][0]["static_configs"][0]["targets"] = [started.url.removeprefix("http://")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=30) as client:
            _wait_until_it_scrapes(client, process, folder)
            yield client
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_scrapes(client: httpx.Client, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit((folder / "prometheus.log").read_text())
        try:
            if any(float(each["value"][1]) == 1 for each in _result(client, "up")):
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.2)
    raise SystemExit(f"Prometheus scraped nothing in {_SECONDS} s:\n{(folder / 'prometheus.log').read_text()}")


def _result(client: httpx.Client, query: str) -> list[Mapping[str, Any]]:
    answer = client.get("/api/v1/query", params={"query": query}).json()
    if answer["status"] != "success":
        raise SystemExit(f"{query}: {answer['error']}")
    result: list[Mapping[str, Any]] = answer["data"]["result"]
    return result


def _firing(client: httpx.Client) -> set[str]:
    return {each["metric"]["alertname"] for each in _result(client, 'ALERTS{alertstate="firing"}')}


if __name__ == "__main__":
    sys.exit(main())
