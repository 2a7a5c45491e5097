"""A forked process leaves its parent's connections alone, and the parent keeps them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.certificates import make_certificates
from tests.forked_calls import CHILDREN
from tests.scripted import Answer, Seen, completion, json_answer, scripted

pytestmark = pytest.mark.slow(reason="forks processes that each make calls")

SCRIPT = Path(__file__).parents[1] / "forked_calls.py"


def repeat(seen: Seen) -> Answer:
    return json_answer(completion(seen.json["messages"][-1]["content"]))


# LiteLLM's two handlers, the one with aiohttp; and the two clients for this machine.
@pytest.mark.parametrize(("url", "with_aiohttp"), [("https://gateway.example", True), ("http://127.0.0.1", False)])
def test_each_process_has_its_own_answers(url: str, with_aiohttp: bool, tmp_path: Path) -> None:
    with ExitStack() as stack:
        tls = make_certificates(tmp_path).server_context() if url.startswith("https") else None
        server = stack.enter_context(scripted(repeat, tls))
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"{url}:{server.url.rpartition(':')[2]}",
            "DISABLE_AIOHTTP_TRANSPORT": str(not with_aiohttp),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_PROXY": "*",
        }
        command = [sys.executable, "-W", "ignore", str(SCRIPT)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Each process has two at least, one for each way of asking: a connection that is idle for long is closed.
    assert server.connections >= 2 * (1 + CHILDREN)
