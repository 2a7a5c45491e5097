"""What `make lint` checks of deploy/, with the same commands."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.deploy.files import HELM_TEXT, ROOT

_LINT = re.search(r"(?ms)^lint:.*?\n\n", (ROOT / "Makefile").read_text())
COMMANDS = re.findall(r"(?m)^\t\$\(BIN\)/(.* deploy/\S+)$", _LINT[0] if _LINT else "")
SCHEMA, VALUES = "deploy/helm/chart.schema.json", "deploy/helm/values.yaml"


def lint(command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = command.split()
    script = Path(sysconfig.get_path("scripts"), program)
    return subprocess.run([str(script), *arguments], cwd=ROOT, capture_output=True, text=True)


def test_each_of_the_three_is_linted() -> None:
    linted = [command.split()[-1] for command in COMMANDS]
    assert linted == ["deploy/compose.yaml", VALUES, "deploy/cloudformation/proxy.yaml"]


@pytest.mark.parametrize("command", COMMANDS)
def test_lint(command: str) -> None:
    done = lint(command)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("written", "mistake"),
    [("replicaCount:", "replicas:"), ("maxUnavailable: 1", "maximumUnavailable: 1"), ('"610"', "610")],
)
def test_a_key_or_a_value_that_the_chart_does_not_take_is_found(tmp_path: Path, written: str, mistake: str) -> None:
    assert written in HELM_TEXT
    (tmp_path / "values.yaml").write_text(HELM_TEXT.replace(written, mistake))
    done = lint(f"check-jsonschema --schemafile {SCHEMA} {tmp_path}/values.yaml")
    assert done.returncode != 0
    assert mistake.split(":")[0] in done.stdout
