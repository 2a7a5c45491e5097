"""No token, signature, key or Authorization header in any log, message, repr or callback: every kind of call, at DEBUG.

The calls run in a process of their own, so that all that it prints and logs is seen, also what is logged at exit.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest

from tests.conftest import CREDENTIALS, Upstream
from tests.scripted import Answer, Seen, chunk, completion, json_answer, sse

pytestmark = pytest.mark.slow(reason="makes each kind of call with all logging on")

SCRIPT = Path(__file__).parent / "secrets_calls.py"


# What tests/secrets_calls.py authenticates with besides the environment's credentials.
OTHER_SECRETS = [
    "INLINE-SECRET/KEY",
    "INLINE+TOKEN",
    "MADE-ELSEWHERE",
    "STS-SECRET/KEY",
    "STS+TOKEN",
    "WEB.IDENTITY.JWT",
]
STS_ANSWER = (
    '<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><Credentials><AccessKeyId>ASIA</AccessKeyId>'
    "<SecretAccessKey>STS-SECRET/KEY</SecretAccessKey><SessionToken>STS+TOKEN</SessionToken>"
    "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials><PackedPolicySize>1</PackedPolicySize>"
    "<Arn>arn:aws:iam::123456789012:user/me</Arn></{0}Result></{0}Response>"
)


def _s3(seen: Seen) -> Answer:
    """Each key says what becomes of it."""
    if seen.method != "GET":
        return Answer()
    key = seen.path.removeprefix("/bucket/")
    if key == "fine":
        return json_answer(completion())
    if key == "failing-failure":
        return json_answer({"error": {"message": "no", "code": 400}})
    status, code = (403, "AccessDenied") if key.startswith("denied") else (404, "NoSuchKey")
    return Answer([f"<Error><Code>{code}</Code></Error>".encode()], status, "application/xml")


def _script(seen: Seen) -> Answer | bytes:
    """Each endpoint's name says how it answers; STS and S3 are here too."""
    if seen.path == "/":
        action = parse_qs(seen.body.decode())["Action"][0]
        return Answer([STS_ANSWER.format(action).encode()], content_type="text/xml")
    if seen.path.startswith("/bucket/"):
        return _s3(seen)
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
    if seen.path.endswith("/async-invocations"):
        output, location = "X-Amzn-SageMaker-OutputLocation", f"s3://bucket/{name}"
        failure = {"X-Amzn-SageMaker-FailureLocation": f"{location}-failure"}
        return json_answer({"InferenceId": "id"}, 202, **{output: location}, **failure)
    if seen.path.endswith("/invocations") and "query" in seen.json:
        return json_answer({"results": [{"index": 0, "relevance_score": 0.5}]})
    if seen.path.endswith("/invocations"):
        return json_answer({"data": [{"embedding": [1.0], "index": 0}]})
    if seen.json.get("stream"):
        return Answer([sse(chunk({"content": "Hi"}), chunk({}, finish="stop"))])
    return json_answer(completion())


def test_nothing_is_seen_of_what_is_secret(upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = upstream(_script)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS", str(tmp_path))
    monkeypatch.setenv("WEB_IDENTITY_FILE", str(tmp_path / "jwt"))
    (tmp_path / "jwt").write_text("WEB.IDENTITY.JWT")
    done = subprocess.run([sys.executable, "-X", "dev", str(SCRIPT)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    # What LiteLLM shows of a rerank call, in which it finds "none" as key.
    said = re.sub(r"Authorization(: Be\*+ne|': 'Be(arer none|\*+ne))'", "", said)
    assert done.returncode == 0, said[-3000:]
    assert "=== all calls made ===" in said
    assert "POST Request Sent from LiteLLM" in said  # LiteLLM's debug log was on
    sent = [seen for seen in server.seen if seen.path != "/"]
    assert len(sent) < len(server.seen)  # STS was asked
    assert len(sent) > 60
    assert {seen.method for seen in sent if seen.path.startswith("/bucket/")} == {"PUT", "GET", "DELETE"}
    authorizations = {seen.headers["authorization"] for seen in sent}
    tokens = {each.removeprefix("Bearer ") for each in authorizations if each.startswith("Bearer ")}
    tokens.remove("sagemaker-api-key-MADE-ELSEWHERE")
    signed = [base64.b64decode(token.removeprefix("sagemaker-api-key-")).decode() for token in tokens]
    signatures = {signature for each in signed for signature in re.findall("X-Amz-Signature=([0-9a-f]{64})", each)}
    assert len(signatures) == len(tokens) > 0
    of_requests = {found[1] for each in authorizations if (found := re.search(r" Signature=([0-9a-f]{64})$", each))}
    assert len(of_requests) > 20
    signatures |= of_requests
    session_token = CREDENTIALS.session_token or ""
    quoted = {quote(secret, safe="") for secret in (session_token, *OTHER_SECRETS)}
    for secret in {CREDENTIALS.secret_key, session_token, *OTHER_SECRETS, *quoted, *tokens, *signatures}:
        assert secret not in said, [line[:300] for line in said.splitlines() if secret in line][:3]
    assert "sagemaker-api-key-" not in said
    assert "AWS4-HMAC-SHA256" not in said
    assert not re.search(r"authorization['\"]?\s*[:=]", said, re.IGNORECASE)
    for seen in sent:
        assert b"aws_" not in seen.body
        assert CREDENTIALS.secret_key.encode() not in seen.body
