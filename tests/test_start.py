"""Starting is quick and takes little memory: botocore and boto3 are loaded where a call needs them, and not before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Upstream
from tests.scripted import Answer, Seen, chunk, completion, json_answer, sse

SCRIPT = Path(__file__).with_name("first_calls.py")

pytestmark = pytest.mark.medium(reason="starts a process that imports LiteLLM")


def _answer(seen: Seen) -> Answer:
    if seen.json.get("stream"):
        return Answer([sse(chunk({"content": "Hi"}), chunk(finish="stop"))])
    return json_answer(completion())


def test_register_and_a_first_call_with_keys_load_no_botocore(upstream: Upstream) -> None:
    upstream(_answer)
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    loaded = json.loads(ran.stdout)
    assert loaded["register"] == []
    # LiteLLM asks whether botocore is installed by importing its front, which loads nothing else.
    assert {*loaded["keys and a session token"], *loaded["keys alone"]} <= {"botocore"}
    assert "botocore.session" in loaded["a profile"]  # what is looked for is what would be there
    assert "boto3" not in loaded["a profile"]  # botocore does
