"""The local runtime's ``/invocations``: SigV4 as AWS checks it, boto3's own client, the echo container's embeddings."""

from __future__ import annotations

import base64
import json
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials, signed_headers
from litellm_sagemaker_openai.aws.token import sign_token
from litellm_sagemaker_openai.local import embeddings, invoke_endpoint, server
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.echo_checks import ContainerRefusal
from litellm_sagemaker_openai.local.frontdoor import Container
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, listen, running, url_of
from litellm_sagemaker_openai.local.signatures import SignatureRefusal, check_signature
from tests.conftest import CREDENTIALS, REGION

CONFIG = RuntimeConfig({"my-endpoint": (), "shared": ("first", "second")}, CREDENTIALS, REGION)
PATH = "/endpoints/my-endpoint/invocations"
TEXTS = {"model": "", "input": ["red apples", "green apples"]}
NOW = datetime(2026, 11, 20, 23, 59, 30, tzinfo=timezone.utc)


def client_of(runtime: Running, credentials: FrozenCredentials = CREDENTIALS, region: str = REGION) -> Any:
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=runtime.url,
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        config=Config(retries={"total_max_attempts": 1}),
    )


def invoke(client: Any, body: Any, endpoint: str = "my-endpoint", **more: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.invoke_endpoint(EndpointName=endpoint, Body=raw, ContentType="application/json", **more)
    return json.loads(answer["Body"].read())


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running(CONFIG) as runtime:
        yield runtime


class TestInvokeEndpoint:
    def test_embeddings(self, served: Running) -> None:
        answer = invoke(client_of(served), TEXTS)
        assert [item["index"] for item in answer["data"]] == [0, 1]
        assert [len(item["embedding"]) for item in answer["data"]] == [8, 8]
        assert answer["usage"]["prompt_tokens"] == 4
        received = served.app.state.received[-1]
        assert received.body == TEXTS
        assert not {"authorization", "x-amz-security-token"} & received.headers.keys()

    def test_a_chat(self, served: Running) -> None:
        messages = [{"role": "user", "content": "hello"}]
        answer = invoke(client_of(served), {"messages": messages})
        assert answer["choices"][0]["message"]["content"].endswith("You said: hello")

    def test_a_component_in_the_header(self, served: Running) -> None:
        client = client_of(served)
        assert invoke(client, TEXTS, "shared", InferenceComponentName="second")["data"]
        assert served.app.state.received[-1].headers["x-amzn-sagemaker-inference-component"] == "second"
        for endpoint, more in (
            ("shared", {}),
            ("shared", {"InferenceComponentName": "third"}),
            ("my-endpoint", {"InferenceComponentName": "first"}),
            ("elsewhere", {}),
        ):
            with pytest.raises(ClientError) as refused:
                invoke(client, TEXTS, endpoint, **more)
            assert refused.value.response["Error"]["Code"] == "ValidationError"
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
            assert refused.value.response["Error"]["Message"]

    def test_a_containers_error_is_a_model_error(self, served: Running) -> None:
        client = client_of(served)
        with pytest.raises(client.exceptions.ModelError) as refused:
            invoke(client, {**TEXTS, "model": "gpt-4"})
        said = refused.value.response
        assert said["ResponseMetadata"]["HTTPStatusCode"] == 424
        assert said["OriginalStatusCode"] == 404
        assert json.loads(said["OriginalMessage"])["error"]["message"] == "The model `gpt-4` does not exist."
        assert said["Error"]["Message"].startswith("Received client error (404) from primary with message")
        assert uuid.UUID(said["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"])

    @pytest.mark.parametrize(("extra", "status"), [(0, 424), (1, 413)])
    def test_body_size(self, served: Running, extra: int, status: int) -> None:
        with pytest.raises(ClientError) as refused:
            invoke(client_of(served), b"{" + b" " * (MAX_BODY_BYTES - 1 + extra))
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status

    @pytest.mark.parametrize(
        ("credentials", "region", "code"),
        [
            (replace(CREDENTIALS, secret_key="wrong"), REGION, "InvalidSignatureException"),
            (replace(CREDENTIALS, access_key="AKIDOTHER"), REGION, "UnrecognizedClientException"),
            (replace(CREDENTIALS, session_token=None), REGION, "UnrecognizedClientException"),
            (replace(CREDENTIALS, session_token="other"), REGION, "UnrecognizedClientException"),
            (CREDENTIALS, "eu-west-1", "InvalidSignatureException"),
        ],
    )
    def test_credentials_that_it_does_not_know(
        self, served: Running, credentials: FrozenCredentials, region: str, code: str
    ) -> None:
        with pytest.raises(ClientError) as refused:
            invoke(client_of(served, credentials, region), TEXTS)
        assert refused.value.response["Error"]["Code"] == code
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    def test_a_bearer_token_is_no_signature(self, served: Running) -> None:
        token = sign_token(CREDENTIALS, REGION, 300, datetime.now(timezone.utc))
        for headers, code in (
            ({"authorization": f"Bearer {token}"}, "IncompleteSignatureException"),
            ({}, "MissingAuthenticationTokenException"),
        ):
            answer = httpx.post(f"{served.url}{PATH}", json=TEXTS, headers=headers, trust_env=False)
            assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (403, code)
            assert token not in answer.text

    def test_a_component_scaled_to_zero(self) -> None:
        now = [datetime.now(timezone.utc)]
        with running(replace(CONFIG, cold_start=120, now=lambda: now[0])) as runtime:
            client = client_of(runtime)
            for _ in range(2):
                with pytest.raises(ClientError, match="no capacity") as refused:
                    invoke(client, TEXTS, "shared", InferenceComponentName="first")
                assert refused.value.response["Error"]["Code"] == "ValidationError"
            now[0] += timedelta(seconds=120)
            # The request's own time is then 2 minutes old, which is within the 5 that are allowed.
            assert invoke(client, TEXTS, "shared", InferenceComponentName="first")["data"]


@contextmanager
def before(handlers: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A runtime before an OpenAI-compatible server of the test's own."""
    app = Starlette(routes=[Route(path, handler, methods=["POST"]) for path, handler in handlers.items()])
    with monkeypatch.context() as patched:
        patched.setattr(server, "create_app", lambda _: app)
        context = running(CONFIG)
        upstream = context.__enter__()
    try:
        with running(replace(CONFIG, upstream=f"{upstream.url}/v1")) as runtime:
            yield runtime
    finally:
        context.__exit__(None, None, None)


class TestUpstream:
    def test_the_bodys_shape_says_which_route_is_meant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def told(request: Request) -> Response:
            return JSONResponse({"path": request.url.path, "body": await request.json()})

        handlers = {"/v1/embeddings": told, "/v1/chat/completions": told}
        with before(handlers, monkeypatch) as runtime:
            client = client_of(runtime)
            assert invoke(client, TEXTS) == {"path": "/v1/embeddings", "body": TEXTS}
            assert invoke(client, {"messages": []})["path"] == "/v1/chat/completions"

    def test_errors_are_model_errors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def refuse(request: Request) -> Response:
            return JSONResponse({"error": "overloaded"}, status_code=503)

        with before({"/v1/embeddings": refuse}, monkeypatch) as runtime, pytest.raises(ClientError) as refused:
            invoke(client_of(runtime), TEXTS)
        assert refused.value.response["OriginalStatusCode"] == 503
        assert json.loads(refused.value.response["OriginalMessage"]) == {"error": "overloaded"}

    def test_unreachable(self) -> None:
        closed = listen("127.0.0.1", 0)
        upstream = f"{url_of(closed)}/v1"
        closed.close()
        with running(replace(CONFIG, upstream=upstream)) as runtime, pytest.raises(ClientError) as refused:
            invoke(client_of(runtime), TEXTS)
        assert refused.value.response["Error"]["Code"] == "ServiceUnavailable"

    def test_a_container_that_takes_too_long_has_status_0(self) -> None:
        answer = invoke_endpoint.container_timed_out(Container("primary", "e", REGION))
        assert answer.status == 424
        said = json.loads(answer.body)
        assert said["OriginalStatusCode"] == 0
        assert said["Message"].startswith('Received server error (0) from primary with message "Your invocation timed')


class TestSignature:
    """Each check by itself, on a request that this package signed; that boto3's passes, the tests above show."""

    def checked(
        self, *, now: datetime = NOW, body: bytes = b"{}", path: str = PATH, **changed: str | None
    ) -> SignatureRefusal | None:
        headers = {"content-type": "application/json", "x-amzn-sagemaker-inference-component": "c"}
        url = f"https://runtime.sagemaker.us-west-2.amazonaws.com{PATH}"
        signed = signed_headers(CREDENTIALS, REGION, NOW, url=url, headers=headers, body=b"{}")
        sent: dict[str, Any] = {**headers, "host": "runtime.sagemaker.us-west-2.amazonaws.com", **signed}
        for name, value in changed.items():
            sent[name.replace("_", "-")] = value
        sent = {name: value for name, value in sent.items() if value is not None}
        return check_signature(path, sent, body, credentials=CREDENTIALS, region=REGION, now=now)

    def authorization(self, old: str, new: str) -> str:
        url = f"https://runtime.sagemaker.us-west-2.amazonaws.com{PATH}"
        headers = {"content-type": "application/json", "x-amzn-sagemaker-inference-component": "c"}
        signed = signed_headers(CREDENTIALS, REGION, NOW, url=url, headers=headers, body=b"{}")["authorization"]
        assert signed.count(old) == 1, signed
        return signed.replace(old, new)

    def test_a_good_one_passes(self) -> None:
        assert self.checked() is None
        assert self.checked(user_agent="a proxy may change it") is None

    @pytest.mark.parametrize("seconds", [-300, 300])
    def test_five_minutes_either_way(self, seconds: int) -> None:
        assert self.checked(now=NOW + timedelta(seconds=seconds)) is None
        refusal = self.checked(now=NOW + timedelta(seconds=seconds + (1 if seconds > 0 else -1)))
        assert refusal is not None
        assert refusal.error_type == "InvalidSignatureException"
        assert ("expired" if seconds > 0 else "not yet current") in refusal.message

    @pytest.mark.parametrize(
        "changed",
        [
            {"body": b"{ }"},
            {"path": "/endpoints/other/invocations"},
            {"host": "elsewhere"},
            {"content_type": "text/plain"},
            {"x_amzn_sagemaker_inference_component": "other"},
            {"x_amzn_sagemaker_inference_component": None},
            {"x_amz_date": "20261120T235931Z"},
        ],
        ids=str,
    )
    def test_what_is_signed_cannot_be_changed(self, changed: Any) -> None:
        refusal = self.checked(**changed)
        assert refusal is not None
        assert refusal.error_type == "InvalidSignatureException"
        assert "does not match" in refusal.message

    @pytest.mark.parametrize(
        ("old", "new", "error_type", "says"),
        [
            ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", "IncompleteSignatureException", "AWS4-HMAC-SHA256"),
            ("Signature=", "Signed=", "IncompleteSignatureException", "'Signature'"),
            ("SignedHeaders=", "Headers=", "IncompleteSignatureException", "'SignedHeaders'"),
            ("/aws4_request", "", "IncompleteSignatureException", "5 slash-delimited"),
            ("/aws4_request", "/aws5_request", "InvalidSignatureException", "terminator"),
            ("/20261120/", "/20261119/", "InvalidSignatureException", "Date in Credential scope"),
            ("/us-west-2/", "/us-east-1/", "InvalidSignatureException", "valid region"),
            ("/sagemaker/", "/bedrock/", "InvalidSignatureException", "correct service: 'sagemaker'"),
            ("AKIAIOSFODNN7EXAMPLE", "AKIAOTHER", "UnrecognizedClientException", "security token"),
            (";host", "", "InvalidSignatureException", "'host' must be"),
            (";x-amz-security-token", "", "InvalidSignatureException", "'x-amz-security-token' must be"),
            ("Signature=", "Signature=0", "InvalidSignatureException", "does not match"),
        ],
    )
    def test_one_part_tampered_with(self, old: str, new: str, error_type: str, says: str) -> None:
        refusal = self.checked(authorization=self.authorization(old, new))
        assert refusal is not None
        assert refusal.error_type == error_type
        assert says in refusal.message

    @pytest.mark.parametrize("date", [None, "20261120T2359Z", "20261320T235930Z"])
    def test_a_date_that_is_none(self, date: str | None) -> None:
        refusal = self.checked(x_amz_date=date)
        assert refusal is not None
        assert refusal.error_type == "IncompleteSignatureException"

    def test_no_message_repeats_what_is_secret(self) -> None:
        header = self.authorization("Signature=", "Signature=0")
        for name, value in (
            ("authorization", header),
            ("authorization", f"x{header}"),
            ("x_amz_security_token", "other"),
        ):
            changed: dict[str, Any] = {name: value}
            refusal = self.checked(**changed)
            assert refusal is not None
            for secret in (header.rpartition("=")[2], CREDENTIALS.secret_key, CREDENTIALS.session_token or ""):
                assert secret not in refusal.message


def vectors(**body: Any) -> list[Any]:
    return [item["embedding"] for item in embeddings.embed({"input": "a", **body})["data"]]


class TestEmbeddings:
    def test_each_form_of_input(self) -> None:
        [alone] = vectors(input="red apples")
        assert vectors(input=["red apples", "pears"])[0] == alone
        [ids] = vectors(input=[1, 2, 3])
        assert vectors(input=[[1, 2, 3], [4]])[0] == ids
        assert len(vectors(input=[[1, 2, 3], [4]])) == 2

    def test_texts_that_share_words_are_near(self) -> None:
        def near(one: list[float], other: list[float]) -> float:
            return sum(a * b for a, b in zip(one, other, strict=True))

        red, green, train = vectors(input=["red apples", "green apples", "a train to Dublin"], dimensions=256)
        assert near(red, red) == pytest.approx(1)
        assert near(red, green) == pytest.approx(0.5)
        assert near(red, train) == 0

    def test_dimensions_and_base64(self) -> None:
        [floats] = vectors(dimensions=3)
        [encoded] = vectors(dimensions=3, encoding_format="base64")
        assert len(floats) == 3
        assert list(struct.unpack("<3f", base64.b64decode(encoded))) == floats
        assert vectors(input=[""]) == [[1.0, *[0.0] * 7]]

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({"input": []}, "Cannot find suitable handler"),
            ({"input": None}, "Cannot find suitable handler"),
            ({"input": {}}, "Cannot find suitable handler"),
            ({"input": ["a", 1]}, "Cannot find suitable handler"),
            ({"input": [[1], []]}, "Cannot find suitable handler"),
            ({"input": [True]}, "Cannot find suitable handler"),
            ({"encoding_format": "bytes"}, "'float' or 'base64'"),
            ({"dimensions": "8"}, "valid integer"),
            ({"dimensions": 0}, "greater than 0"),
            ({"dimensions": 4097}, "at most 4096"),
            ({"model": "gpt-4"}, "does not exist"),
            ({"input": ["a", " word" * 9]}, "maximum context length is 8 tokens. However, you requested 9 tokens"),
        ],
    )
    def test_what_it_refuses(self, body: Any, says: str) -> None:
        with pytest.raises(ContainerRefusal, match=says):
            embeddings.embed({"input": "a", **body}, EchoConfig(context_length=8))
