"""Runs the fast tests on several versions of LiteLLM, each in an environment of its own, and prints a table.

    python -m tools.compat                    the lowest, the pinned, the newest with a proxy, and the newest
    python -m tools.compat lowest newest
    python -m tools.compat 1.107.0            one to try before it is used

The exit status is 0 if all tests passed on each. Needs a package index, and nothing but the standard library.
An environment is made as a user would: the package's wheel and LiteLLM in an empty environment, at the versions of
their requirements that pip chooses (for the pinned version: those of constraints.txt). The command is run once. What
the tests need comes on top of it. Environments are kept in .compat/, and made anew where the requirements have changed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tools.environments import CONSTRAINTS, ROOT, built_wheel, output, run, succeeds, table

_ENVIRONMENTS = ROOT / ".compat"
_SEAMS = ROOT / "litellm_sagemaker_openai" / "litellm_seams"
_TEST_REQUIREMENTS = ROOT / "tests" / "requirements-no-deps.txt"
_ROLES = ("lowest", "pinned", "newest-with-proxy", "newest")

# `pinned`: counts, which belong to the versions of constraints.txt.
_FAST = "not slow and not pinned"

# Runs in an environment, where pip brings what reads requirements.
_REQUIRED_BY_THE_PROXY = """
import importlib.metadata, json
from pip._vendor.packaging.requirements import Requirement
required = []
for each in map(Requirement, importlib.metadata.requires("litellm")):
    marker, each.marker = each.marker, None
    if marker and marker.evaluate({"extra": "proxy"}) and not marker.evaluate({"extra": ""}):
        required.append(str(each))
print(json.dumps(required))
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of the tests on one version.

    Args:
        proxy: what could be installed of LiteLLM's proxy.
        failed: errors too.
        status: pytest's.
    """

    version: str
    roles: Sequence[str]
    proxy: str
    passed: int
    failed: int
    seconds: float
    status: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.compat", description=__doc__.partition("\n")[0])
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"a version, or: {', '.join(_ROLES)}")
    wanted = parser.parse_args(arguments).versions or _ROLES
    _ENVIRONMENTS.mkdir(exist_ok=True)
    wheel = built_wheel(_ENVIRONMENTS / "wheel")
    results = []
    for version, roles in _by_version(wanted).items():
        python, proxy = _environment(version, wheel)
        results.append(_tested(python, version, roles, proxy))
    print("\n" + "\n".join(_table(results)))
    print("\nWorkarounds for LiteLLM, httpx and aiohttp, and when each may go:")
    print("\n".join(f"  {name}: {until}" for name, until in workarounds()))
    return 1 if any(result.status for result in results) else 0


# Which versions


def _by_version(wanted: Iterable[str]) -> dict[str, list[str]]:
    """Versions and what they were asked for as: one that is both the newest and the pinned one runs once."""
    versions: dict[str, list[str]] = {}
    for name in wanted:
        versions.setdefault(_version_of(name), []).append(name)
    return versions


def _version_of(name: str) -> str:
    if name == "lowest":
        return _found(r'"litellm>=([\d.]+)"', ROOT / "pyproject.toml")
    if name == "pinned":
        return _found(r"(?m)^litellm==(\S+)$", CONSTRAINTS)
    if name == "newest":
        return _newest("litellm", "--no-deps")
    if name == "newest-with-proxy":
        return _newest("litellm[proxy]")
    if not re.fullmatch(r"\d+(\.\d+)+\S*", name):
        raise SystemExit(f"{name!r} is not a version of LiteLLM; write one like 1.106.2, or: {', '.join(_ROLES)}")
    return name


def _found(pattern: str, path: Path) -> str:
    match = re.search(pattern, path.read_text())
    if match is None:
        raise SystemExit(f"{path.name} names no version of LiteLLM ({pattern})")
    return match[1]


def _newest(requirement: str, *options: str) -> str:
    """The newest version that pip would install. Asks the index; installs nothing."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    report = json.loads(output([*command, *options, requirement]))
    versions = {each["metadata"]["name"]: each["metadata"]["version"] for each in report["install"]}
    return str(versions["litellm"])


# Environments


def _environment(version: str, wheel: Path) -> tuple[Path, str]:
    """The environment's Python, and what is in it of LiteLLM's proxy."""
    folder = _ENVIRONMENTS / f"{version}-python{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    stamp = folder / "made-of.json"
    made_of = _digest(ROOT / "pyproject.toml", CONSTRAINTS, _TEST_REQUIREMENTS)
    if stamp.exists() and (noted := json.loads(stamp.read_text()))["made_of"] == made_of:
        return python, str(noted["proxy"])
    print(f"Making an environment with LiteLLM {version}; this takes a minute or two.", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    if version == _version_of("pinned"):
        install += ["--constraint", str(CONSTRAINTS)]
    _install_as_a_user(python, [*install, str(wheel), f"litellm=={version}"])
    proxy = _install_the_proxy(python, install, version)
    _install_for_the_tests(python)
    stamp.write_text(json.dumps({"made_of": made_of, "proxy": proxy}))
    return python, proxy


def _install_as_a_user(python: Path, install: Sequence[str]) -> None:
    """Installs the wheel and what it requires, and runs it."""
    run(install)
    run([str(python), "-c", "import litellm_sagemaker_openai as it; it.register(); it.generate_token"])
    for option in ("--version", "--help"):
        run([str(python.with_name("litellm-sagemaker-openai")), option], stdout=subprocess.DEVNULL)


def _install_the_proxy(python: Path, install: Sequence[str], version: str) -> str:
    """Installs LiteLLM's proxy, and says what could be installed.

    Newer ones require packages of LiteLLM's own that not every index has. The proxy starts without them, and LiteLLM's
    response cache does not work without the others.
    """
    if succeeds([*install, f"litellm[proxy]=={version}"]):
        return "yes"
    required = json.loads(output([str(python), "-c", _REQUIRED_BY_THE_PROXY]))
    own = sorted(each for each in required if each.startswith("litellm-"))
    print(f"litellm[proxy]=={version} cannot be installed here; without {', '.join(own)}:", flush=True)
    run([*install, *sorted(set(required) - set(own))])
    return f"without {', '.join(re.split('[=<>]', each)[0] for each in own)}"


def _install_for_the_tests(python: Path) -> None:
    """Adds what the tests need, at the versions of constraints.txt but for what is there already."""
    present = output([str(python), "-m", "pip", "freeze", "--exclude", "litellm-sagemaker-openai"]).splitlines()
    names = {_name(line) for line in present}
    pins = [line for line in CONSTRAINTS.read_text().splitlines() if "==" in line and _name(line) not in names]
    constraints = python.parent.parent / "constraints.txt"
    constraints.write_text("\n".join([*present, *pins]) + "\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
    run([*install, "--editable", f"{ROOT}[test,docs]"])
    run([*install, "--no-deps", "--requirement", str(_TEST_REQUIREMENTS)])


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"==| @ ", requirement)[0]).lower()


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


# Tests


def _tested(python: Path, version: str, roles: Sequence[str], proxy: str) -> Result:
    report = python.parent.parent / "tests.xml"
    report.unlink(missing_ok=True)
    print(f"\nLiteLLM {version} ({', '.join(roles)})", flush=True)
    command = [str(python), "-m", "pytest", "--quiet", "--numprocesses", "auto", "--maxprocesses", "4"]
    command += ["--dist", "loadfile", "-m", _FAST, f"--junit-xml={report}", "tests"]
    began = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    seconds = time.monotonic() - began
    if not report.exists():  # pytest did not get so far
        return Result(version, roles, proxy, 0, 0, seconds, status or 1)
    suite = ElementTree.parse(report).getroot()[0]
    total, failures, errors, skipped = (int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped"))
    failed = failures + errors
    return Result(version, roles, proxy, total - failed - skipped, failed, seconds, status)


def _table(results: Iterable[Result]) -> Iterator[str]:
    head = ("LiteLLM", "which", "Python", "proxy", "passed", "failed", "seconds")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    rows = [(r.version, ", ".join(r.roles), python, r.proxy, r.passed, r.failed, round(r.seconds)) for r in results]
    return table(head, rows)


def workarounds() -> Iterator[tuple[str, str]]:
    """Each file of litellm_seams/ that begins with when it may go, and what it says."""
    for path in sorted(_SEAMS.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        until = re.search(r"^Needed until: (.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
        if until:
            yield path.stem, " ".join(until[1].split())


if __name__ == "__main__":
    os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    sys.exit(main())
