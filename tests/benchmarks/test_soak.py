"""The soak in benchmarks/, with few calls: what it checks holds, and it says so. `make soak` runs the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow(reason="sends hundreds of calls to a server that fails")


def test_a_short_soak() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--calls", "400", "--faults", "0.2", "--seconds", "60"]
    # benchmarks/ is not installed: it is found from the project's folder
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| calls | 400, 64 in flight, faults at 20% |" in done.stdout
    assert "All of it was right." in done.stdout
