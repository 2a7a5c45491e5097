"""Tokens for other clients: ``generate_token`` and ``SageMakerAuth``, with curl's headers and with the OpenAI SDK."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.credentials import Credentials
from openai import AsyncOpenAI, OpenAI

from litellm_sagemaker_openai import CredentialsError, SageMakerAuth, generate_token
from litellm_sagemaker_openai.aws.auth import bearer
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.aws.token import sign_token
from litellm_sagemaker_openai.local.server import Running
from tests.certificates import make_certificates
from tests.conftest import CREDENTIALS, MESSAGES, REGION, Upstream
from tests.scripted import Answer, Scripted, Seen, completion, json_answer, scripted

FROZEN = FrozenCredentials("AKIDEXAMPLE", "a-secret")
ROTATED = Credentials("AKIAROTATED", "rotated-secret", "rotated-token")


def base_url(runtime: Running | Scripted, path: str = "/endpoints/my-endpoint") -> str:
    return f"{runtime.url}{path}/openai/v1"


def access_key(authorization: str) -> str:
    presigned = base64.b64decode(authorization.partition("api-key-")[2]).decode()
    return presigned.partition("X-Amz-Credential=")[2].partition("%2F")[0]


class TestBearer:
    def test_of_a_second_is_the_one_that_would_be_made_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = []
        for seconds in (1_795_169_406.0, 1_795_169_406.9, 1_795_169_407.0):
            monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
            made.append(bearer(FROZEN, REGION, 300)["authorization"])
            now = datetime.fromtimestamp(seconds, timezone.utc)
            assert made[-1] == f"Bearer {sign_token(FROZEN, REGION, 300, now)}"
        assert made[0] == made[1] != made[2]

    def test_depends_on_all_that_it_is_made_of(self) -> None:
        other = FrozenCredentials("AKIDEXAMPLE", "another-secret")
        made = {
            bearer(*each)["authorization"]
            for each in ((FROZEN, REGION, 300), (other, REGION, 300), (FROZEN, "eu-west-1", 300), (FROZEN, REGION, 60))
        }
        assert len(made) == 4


class TestGenerateToken:
    def test_curl_can_use_it(self, runtime: Running) -> None:
        answer = httpx.post(
            f"{base_url(runtime)}/chat/completions",
            headers={"authorization": f"Bearer {generate_token()}"},
            json={"messages": MESSAGES},
        )
        assert answer.status_code == 200

    def test_credentials_of_ones_own(self, runtime: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        session = boto3.Session(CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.session_token)
        token = generate_token(REGION, credentials=session.get_credentials(), expiry=timedelta(hours=12))
        assert access_key(token) == CREDENTIALS.access_key

    @pytest.mark.parametrize("source", ["AWS_REGION", "AWS_DEFAULT_REGION", "profile"])
    def test_the_region_comes_from_the_environment(
        self, source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        monkeypatch.delenv("AWS_REGION")
        if source == "profile":
            (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
        else:
            monkeypatch.setenv(source, "eu-north-1")
        presigned = base64.b64decode(generate_token().removeprefix("sagemaker-api-key-")).decode()
        assert "%2Feu-north-1%2Fsagemaker%2Faws4_request" in presigned

    def test_what_is_missing_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValueError, match="1 to 43200"):
            generate_token(expiry=timedelta(days=1))
        with pytest.raises(ValueError, match="not an AWS region"):
            generate_token("moon")
        monkeypatch.delenv("AWS_REGION")
        with pytest.raises(ValueError, match="no AWS region"):
            generate_token()
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(CredentialsError, match="no AWS credentials found"):
            generate_token(REGION)

    def test_it_needs_no_litellm(self) -> None:
        code = (
            "import sys, litellm_sagemaker_openai as p; p.generate_token('us-west-2'); p.SageMakerAuth('us-west-2');"
            "sys.exit('litellm' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestSageMakerAuth:
    def test_the_openai_sdk(self, runtime: Running) -> None:
        with httpx.Client(auth=SageMakerAuth(REGION)) as http:
            client = OpenAI(base_url=base_url(runtime), api_key="unused", http_client=http)
            whole = client.chat.completions.create(model="", messages=MESSAGES)
            assert "Hello?" in (whole.choices[0].message.content or "")
            stream: Any = client.chat.completions.create(model="", messages=MESSAGES, stream=True)
            assert "Hello?" in "".join(piece.choices[0].delta.content or "" for piece in stream)

    async def test_the_openai_sdk_async_one_pool_over_two_components(self, runtime: Running) -> None:
        async with httpx.AsyncClient(auth=SageMakerAuth()) as http:
            for component in ("coder", "reviewer"):
                path = f"/endpoints/shared-endpoint/inference-components/{component}"
                client = AsyncOpenAI(base_url=base_url(runtime, path), api_key="unused", http_client=http)
                stream: Any = await client.chat.completions.create(model="", messages=MESSAGES, stream=True)
                assert "Hello?" in "".join([piece.choices[0].delta.content or "" async for piece in stream])
        assert [received.path.split("/")[4] for received in runtime.app.state.received] == ["coder", "reviewer"]

    def test_each_request_has_a_fresh_token(self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
        server = upstream(json_answer(completion()))
        with httpx.Client(auth=SageMakerAuth(REGION, expiry=60)) as http:
            http.post(server.url)
        presigned = base64.b64decode(server.seen[0].headers["authorization"].partition("key-")[2]).decode()
        assert "X-Amz-Expires=60" in presigned

    @pytest.mark.parametrize("status", [401, 403])
    @pytest.mark.parametrize("is_async", [False, True])
    async def test_a_refusal_is_tried_once_more_with_fresh_credentials(
        self, upstream: Upstream, status: int, is_async: bool
    ) -> None:
        source = Rotating([Credentials("AKIAOLD", "old"), ROTATED])

        def refuse_the_old(seen: Seen) -> Answer:
            old = access_key(seen.headers["authorization"]) == "AKIAOLD"
            return json_answer({}, status) if old else json_answer(completion())

        server = upstream(refuse_the_old)
        assert await self._status(server.url, SageMakerAuth(REGION, credentials=source), is_async) == 200
        assert [seen.body for seen in server.seen] == [b'{"a":1}'] * 2

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_and_not_where_the_credentials_stay_the_same(self, upstream: Upstream, is_async: bool) -> None:
        server = upstream(json_answer({}, 403))
        assert await self._status(server.url, SageMakerAuth(REGION), is_async) == 403
        assert len(server.seen) == 1

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_plain_http_is_refused(self, is_async: bool) -> None:
        with pytest.raises(ValueError, match="plain http"):
            await self._status("http://runtime.sagemaker.us-west-2.amazonaws.com", SageMakerAuth(REGION), is_async)

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("host", [f"runtime.sagemaker.{REGION}.amazonaws.com.evil.example", "x.localhost", "127.1"])
    async def test_other_hosts_are_refused(
        self, host: str, is_async: bool, upstream: Upstream, every_name_is_here: None
    ) -> None:
        server = upstream(json_answer(completion()))
        port = server.url.rpartition(":")[2]
        with pytest.raises(ValueError, match="goes to '" + re.escape(f"{host}:{port}")):
            await self._status(f"https://{host}:{port}", SageMakerAuth(REGION), is_async)
        assert server.connections == 0

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("named", ["allowed_hosts", "AWS_ENDPOINT_URL"])
    async def test_hosts_that_are_named_get_tokens(
        self, named: str, is_async: bool, every_name_is_here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with scripted(json_answer(completion()), make_certificates(tmp_path).server_context()) as server:
            host = f"gateway.example:{server.url.rpartition(':')[2]}"
            if named == "AWS_ENDPOINT_URL":
                monkeypatch.setenv(named, f"https://{host}")
            auth = SageMakerAuth(REGION, allowed_hosts=[host] if named == "allowed_hosts" else ())
            assert await self._status(f"https://{host}", auth, is_async, verify=False) == 200
        assert server.seen[0].headers["authorization"].startswith("Bearer sagemaker-api-key-")

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_no_token_goes_along_with_a_redirect_to_another_host(
        self, is_async: bool, upstream: Upstream
    ) -> None:
        with scripted(json_answer(completion())) as other:
            there = other.url.replace("127.0.0.1", "localhost")
            server = upstream(Answer(status=307, headers={"location": f"{there}/elsewhere"}))
            assert await self._status(server.url, SageMakerAuth(REGION), is_async, follow_redirects=True) == 200
        assert "authorization" in server.seen[0].headers
        assert [(seen.path, "authorization" in seen.headers) for seen in other.seen] == [("/elsewhere", False)]

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
    async def test_plain_http_for_this_machine_goes_to_no_proxy(
        self, variable: str, is_async: bool, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = upstream(json_answer(completion()))
        with scripted(json_answer(completion())) as proxy:
            monkeypatch.setenv(variable, proxy.url)
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            with pytest.raises(ValueError, match=re.escape("set NO_PROXY=127.0.0.1")):
                await self._status(server.url, SageMakerAuth(REGION), is_async)
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            assert await self._status(server.url, SageMakerAuth(REGION), is_async) == 200
        assert not proxy.seen
        assert len(server.seen) == 1

    def test_it_shows_no_secret(self) -> None:
        assert repr(SageMakerAuth(REGION)) == "SageMakerAuth('us-west-2')"

    def test_what_is_wrong_is_said_at_once(self) -> None:
        with pytest.raises(ValueError, match="not an AWS region"):
            SageMakerAuth("moon")
        with pytest.raises(ValueError, match="1 to 43200"):
            SageMakerAuth(REGION, expiry=0)
        with pytest.raises(ValueError, match="write host names"):
            SageMakerAuth(REGION, allowed_hosts="https://gateway.example")

    async def _status(self, url: str, auth: httpx.Auth, is_async: bool, **more: Any) -> int:
        if not is_async:
            with httpx.Client(auth=auth, **more) as http:
                return http.post(url, json={"a": 1}).status_code  # noqa: ASYNC212 - the synchronous half
        async with httpx.AsyncClient(auth=auth, **more) as client:
            return (await client.post(url, json={"a": 1})).status_code


class Rotating:
    """Botocore credentials that are others each time they are frozen."""

    def __init__(self, versions: list[Credentials]) -> None:
        self._versions = iter(versions)

    def get_frozen_credentials(self) -> Any:
        return next(self._versions).get_frozen_credentials()
