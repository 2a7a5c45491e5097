"""No token, signature, key or Authorization header in any log, message, repr or callback: every kind of call, at DEBUG.

The calls run in a process of their own, so that all that it prints and logs is seen, also what is logged at exit.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from tests.conftest import CREDENTIALS, Upstream
from tests.scripted import Answer, Seen, chunk, completion, json_answer, sse

SCRIPT = Path(__file__).parent / "secrets_calls.py"


def _script(seen: Seen) -> Answer | bytes:
    """Each endpoint's name says how it answers."""
    name = seen.path.split("/")[2]
    if name.startswith("status"):
        return json_answer({"error": {"message": "refused"}}, int(name.removeprefix("status")))
    if name == "cut":
        return Answer([sse(chunk({"content": "Hi"}), done=False)], end="cut")
    if name == "reset":
        return Answer([sse(chunk({"content": "Hi"}), done=False)], end="reset")
    if name == "garbage":
        return Answer([b"<html>"], content_type="text/html")
    if name == "hangup":
        return b""
    if seen.json.get("stream"):
        return Answer([sse(chunk({"content": "Hi"}), chunk({}, finish="stop"))])
    return json_answer(completion())


def test_nothing_is_seen_of_what_is_secret(upstream: Upstream) -> None:
    server = upstream(_script)
    done = subprocess.run([sys.executable, "-X", "dev", str(SCRIPT)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert "=== all calls made ===" in said
    assert "POST Request Sent from LiteLLM" in said  # LiteLLM's debug log was on
    tokens = {seen.headers["authorization"].removeprefix("Bearer ") for seen in server.seen}
    assert len(server.seen) > 40
    signed = [base64.b64decode(token.removeprefix("sagemaker-api-key-")).decode() for token in tokens]
    signatures = {signature for each in signed for signature in re.findall("X-Amz-Signature=([0-9a-f]{64})", each)}
    assert len(signatures) == len(tokens) > 0
    session_token = CREDENTIALS.session_token or ""
    for secret in {CREDENTIALS.secret_key, session_token, quote(session_token, safe=""), *tokens, *signatures}:
        assert secret not in said
    assert "sagemaker-api-key-" not in said
    assert "AWS4-HMAC-SHA256" not in said
    assert not re.search(r"authorization['\"]?\s*[:=]", said, re.IGNORECASE)
    for seen in server.seen:
        assert b"aws_" not in seen.body
        assert CREDENTIALS.secret_key.encode() not in seen.body
