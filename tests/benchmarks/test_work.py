"""This provider's own work in a call does not grow. It is counted, not timed (``tests.work`` says what counts).

``python -m tests.work > tests/work.json`` records it anew: after a change that saves work, or that is worth some.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.work import CHUNKS, DEPLOYMENTS, MANY_CHUNKS

pytestmark = [pytest.mark.slow(reason="counts function calls in processes of their own"), pytest.mark.pinned]

ROOT = Path(__file__).parents[2]
RECORDED: dict[str, int] = json.loads((ROOT / "tests" / "work.json").read_text())
MOST = 1.15  # of what was recorded; LiteLLM's and httpx's versions differ by less
GROWTH = 1.1


@pytest.fixture(scope="module")
def measured() -> dict[str, int]:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.work"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    counted: dict[str, int] = json.loads(done.stdout)
    return counted


def test_what_is_recorded_is_what_is_measured(measured: dict[str, int]) -> None:
    assert list(measured) == list(RECORDED)


@pytest.mark.parametrize("kind", RECORDED)
def test_a_calls_work(kind: str, measured: dict[str, int]) -> None:
    assert measured[kind] / RECORDED[kind] <= MOST, f"{measured[kind]} calls, recorded {RECORDED[kind]}"


def test_a_chunk_takes_as_much_in_a_long_stream(measured: dict[str, int]) -> None:
    short, long = (measured[f"acompletion, {chunks} chunks"] / chunks for chunks in (CHUNKS, MANY_CHUNKS))
    assert long <= short * GROWTH


def test_a_call_takes_as_much_among_many_deployments(measured: dict[str, int]) -> None:
    one, many = (measured[f"acompletion, a Router of {deployments}"] for deployments in (1, DEPLOYMENTS))
    assert many <= one * GROWTH
