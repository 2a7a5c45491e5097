"""Runs the agent frameworks, each in an environment of its own, against the local runtime, and prints what works.

    python -m tools.frameworks                 all
    python -m tools.frameworks dspy crewai     some
    python -m tools.frameworks --page          all, and writes the table into docs/frameworks.md

The exit status is 0 if all works but for what a framework does not have. Needs a package index, and nothing but the
standard library. For each framework, tests/frameworks/ has a script, which begins with the page's snippet, and a file
of pins beside it. An environment has the pins and this checkout's wheel; it is kept in .frameworks/, and made anew
where the pins have changed. Those that speak to a proxy get the real one, which is in another environment with the
versions of constraints.txt. Nothing that runs reaches the network: its proxy for HTTP is a closed port.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tools.environments import (
    CONSTRAINTS,
    OFFLINE,
    ROOT,
    built_wheel,
    names_or_page,
    page_with_table,
    run,
    run_at_most,
    table,
)

SCRIPTS = ROOT / "tests" / "frameworks"
PAGE = ROOT / "docs" / "frameworks.md"
PROXY_URL = "http://localhost:4000"  # as the page has it
HEAD = ("framework", "version", "through", "chat", "stream", "tools", "structured", "usage", "cost")
FEATURES = HEAD[3:]
_ENVIRONMENTS = ROOT / ".frameworks"
_HARNESS = SCRIPTS / "harness.py"
_NOT_FRAMEWORKS = {"harness", "registration"}
_PROXY = "proxy"  # the environment of the runtime and the proxy
_START_SECONDS, _TRIAL_SECONDS = 120, 300
_HELLO_TOKENS = (8, 12)  # what the echo container counts of "Hello?" and of its answer
_HELLO_COST = _HELLO_TOKENS[0] * 1e-6 + _HELLO_TOKENS[1] * 2e-6

# Nothing is reported, looked up or downloaded.
_QUIET = {
    **OFFLINE,
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
}


@dataclass(frozen=True, slots=True)
class Framework:
    """One framework, as its script and its pins say.

    Args:
        key: the files' name.
        name: its own name.
        pin: the first of its pins.
        version: of that.
        through: ``SDK`` or ``proxy``.
    """

    key: str
    name: str
    pin: str
    version: str
    through: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one framework; ``cells`` are the table's, by feature."""

    framework: Framework
    cells: Mapping[str, str]
    works: bool


def main(arguments: Sequence[str] | None = None) -> int:
    known = frameworks()
    description = __doc__.partition("\n")[0]
    names, to_page = names_or_page("python -m tools.frameworks", description, known, PAGE, arguments)
    results = list(_results([known[name] for name in names]))
    print("\n" + "\n".join(table(HEAD, [_row(result) for result in results])))
    if to_page:
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), results, date.today()), encoding="utf-8")
    return 0 if all(result.works for result in results) else 1


def frameworks() -> dict[str, Framework]:
    """Each framework in tests/frameworks/."""
    scripts = (path for path in sorted(SCRIPTS.glob("*.py")) if path.stem not in _NOT_FRAMEWORKS)
    return {path.stem: _framework(path) for path in scripts}


def _framework(script: Path) -> Framework:
    source = script.read_text(encoding="utf-8")
    named = re.match(r'"""(.+?), (?:through LiteLLM|on a proxy)', source)
    pin = script.with_suffix(".txt").read_text(encoding="utf-8").split()[0]
    pinned = re.fullmatch(r"[\w-]+(?:\[[\w,]+\])?==([\d.]+)", pin)
    if named is None or pinned is None:
        raise SystemExit(f"{script.name} must begin with the framework's name and its way, its pins with name==version")
    return Framework(script.stem, named[1], pin, pinned[1], "proxy" if PROXY_URL in source else "SDK")


# The table


def _row(result: Result) -> tuple[str, ...]:
    framework = result.framework
    cells = (" ".join(result.cells[name].split()) for name in FEATURES)  # an error's text may have lines
    return (framework.name, framework.version, framework.through, *cells)


def page_with(page: str, results: Iterable[Result], today: date) -> str:
    """The page with these results in its table, and the day."""
    rows = sorted(map(_row, results), key=lambda row: row[0].lower())
    return page_with_table(page, HEAD, rows, today)


# Environments


def _environment(name: str, wheel: Path, pins: Path, *requirements: str) -> Path:
    """The Python of an environment with this checkout's wheel."""
    folder = _ENVIRONMENTS / f"{name}-python{sys.version_info.major}.{sys.version_info.minor}"
    python, stamp = folder / "bin" / "python", folder / "made-of"
    install = [str(python), "-m", "pip", "install", "--quiet", "--quiet"]
    made_of = "\n".join([*requirements_of(wheel), pins.read_text(encoding="utf-8")])
    if stamp.exists() and stamp.read_text(encoding="utf-8") == made_of:
        run([*install, "--no-deps", "--force-reinstall", str(wheel)])
        return python
    print(f"{name}: making an environment; this takes a minute or more.", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    run([*install, *requirements])
    stamp.write_text(made_of, encoding="utf-8")
    return python


def requirements_of(wheel: Path) -> list[str]:
    """What a wheel requires, extras and all."""
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return re.findall(r"(?m)^Requires-Dist: (.*)$", archive.read(metadata).decode())


# Runs


def _results(wanted: Sequence[Framework]) -> Iterator[Result]:
    _ENVIRONMENTS.mkdir(exist_ok=True)
    wheel = built_wheel(_ENVIRONMENTS / "wheel")
    scripts = _environment(_PROXY, wheel, CONSTRAINTS, "--constraint", str(CONSTRAINTS), f"{wheel}[proxy]").parent
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables = stack.enter_context(_runtime(scripts, folder))
        url = stack.enter_context(_proxy(scripts, folder, variables)) if _needs_proxy(wanted) else PROXY_URL
        costs_right = not _needs_proxy(wanted) or _cost_at(url, variables["LITELLM_MASTER_KEY"]) == _HELLO_COST
        for framework in wanted:
            pins = SCRIPTS / f"{framework.key}.txt"
            python = _environment(framework.key, wheel, pins, str(wheel), "--requirement", str(pins))
            yield _tried(framework, python, url, variables, costs_right)


def _needs_proxy(wanted: Iterable[Framework]) -> bool:
    return any(framework.through == "proxy" for framework in wanted)


def _tried(framework: Framework, python: Path, url: str, variables: Mapping[str, str], costs_right: bool) -> Result:
    print(f"{framework.name} {framework.version}, through the {framework.through}", flush=True)
    script = SCRIPTS / f"{framework.key}.py"
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        written = Path(home) / "results.json"
        environment = {**variables, "HOME": home, "DSPY_CACHEDIR": home}
        command = [str(python), "-I", str(_HARNESS), str(script), url, str(written)]
        log = Path(home) / "framework.log"
        run_at_most(_TRIAL_SECONDS, command, environment, log)
        printed = log.read_text(errors="replace")[-8000:]
        tried = json.loads(written.read_text()) if written.exists() else None
    print(f"  {time.monotonic() - began:.0f} s", flush=True)
    if tried is None:
        print(printed, flush=True)
        return Result(framework, dict.fromkeys(FEATURES, "no: it did not get so far"), False)
    cells = {name: tried[name]["cell"] for name in FEATURES}
    works = all(tried[name]["works"] for name in FEATURES)
    if cells["cost"] == "by the proxy" and not costs_right:
        cells["cost"], works = "no: the proxy counts another", False
    if not works:
        print(printed, flush=True)
    return Result(framework, cells, works)


@contextmanager
def _runtime(scripts: Path, folder: Path) -> Iterator[dict[str, str]]:
    """The environment of what calls the local runtime, as long as that runs."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    environment |= {**_QUIET, "HOME": str(folder), "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}"}
    command = [str(scripts / "litellm-sagemaker-openai"), "local", "my-endpoint", "--port", "0"]
    with _started(command, environment, folder / "runtime.log", r"(?s).*# Ready") as printed:
        yield environment | dict(re.findall(r"(?m)^export (\w+)=(.*)$", printed))


@contextmanager
def _proxy(scripts: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The URL of LiteLLM's proxy before that runtime."""
    command = [str(scripts / "litellm"), "--config", str(SCRIPTS / "proxy.yaml"), "--host", "127.0.0.1", "--port", "0"]
    with _started(command, environment, folder / "proxy.log", r"(?s).*Uvicorn running on \S+") as printed:
        yield re.findall(r"Uvicorn running on (http://[\d.:]+)", printed)[0]


@contextmanager
def _started(command: Sequence[str], environment: Mapping[str, str], log: Path, ready: str) -> Iterator[str]:
    """What a process has printed once it is ready."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, cwd=log.parent, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not re.match(ready, printed := log.read_text(errors="replace")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"did not start: {' '.join(command)}\n{printed[-4000:]}")
            time.sleep(0.1)
        yield printed
    finally:
        process.terminate()
        process.wait()


def _cost_at(url: str, key: str) -> float | None:
    """What the proxy says that a chat cost; None, and why on the terminal, where it does not answer with one."""
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "Hello?"}]}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(f"{url}/v1/chat/completions", body, headers), timeout=60) as answer:
            return round(float(answer.headers.get("x-litellm-response-cost", "")), 12)
    except (OSError, ValueError) as error:
        print(f"The proxy does not say what a chat costs: {error}", flush=True)
        return None


if __name__ == "__main__":
    os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    sys.exit(main())
