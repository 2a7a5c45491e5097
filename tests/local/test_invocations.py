"""The local runtime's ``/invocations``: SigV4 as AWS checks it, boto3's own client, the echo container's embeddings."""

from __future__ import annotations

import base64
import json
import re
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
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
from litellm_sagemaker_openai.local.text_completions import complete_text, stream_text
from tests.conftest import CREDENTIALS, REGION, WIRE
from tests.scripted import Answer, scripted

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


def respond(client: Any, body: Any, **more: Any) -> Any:
    given = {"EndpointName": "my-endpoint", "Body": json.dumps(body).encode(), "ContentType": "application/json"}
    return client.invoke_endpoint_with_response_stream(**{**given, **more})


def wire(name: str) -> Any:
    """The JSON of a recorded answer."""
    return json.loads((WIRE / name).read_bytes().partition(b"\r\n\r\n")[2])


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


class TestResponseStream:
    def test_a_chat_in_events(self, served: Running) -> None:
        body = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
        answer = respond(client_of(served), body)
        assert answer["ContentType"].startswith("text/event-stream")
        assert answer["InvokedProductionVariant"] == "AllTraffic"
        data = b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"])
        *chunks, last = [line.removeprefix("data: ") for line in data.decode().splitlines() if line]
        assert last == "[DONE]"
        deltas = [json.loads(chunk)["choices"][0]["delta"]["content"] for chunk in chunks]
        assert "".join(deltas).endswith("You said: hello")

    def test_a_whole_answer(self, served: Running) -> None:
        answer = respond(client_of(served), TEXTS)
        assert answer["ContentType"] == "application/json"
        assert json.loads(b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"]))["data"]

    def test_errors_before_it(self, served: Running) -> None:
        client = client_of(served)
        with pytest.raises(client.exceptions.ModelError, match="does not exist"):
            respond(client, {**TEXTS, "model": "gpt-4"})
        with pytest.raises(ClientError, match="Endpoint nowhere of account"):
            respond(client, TEXTS, EndpointName="nowhere")

    @pytest.mark.parametrize(
        ("end", "seconds", "said"), [("reset", 30.0, "reset or closed"), ("stall", 0.2, "in the allotted time")]
    )
    def test_a_stream_that_does_not_end(self, end: Any, seconds: float, said: str) -> None:
        with scripted(Answer(pieces=[b"data: {}\n\n"], end=end)) as container:
            config = replace(CONFIG, upstream=container.url, stream_seconds=seconds)
            with running(config) as runtime:
                body = respond(client_of(runtime), {"messages": [], "stream": True})["Body"]
                events = iter(body)
                assert next(events)["PayloadPart"]["Bytes"] == b"data: {}\n\n"
                with closing(body), pytest.raises(EventStreamError, match=f"(ModelStreamError).*{said}"):
                    next(events)


class TestTextCompletions:
    def test_is_vllms_shape(self, served: Running) -> None:
        answer = invoke(client_of(served), {"prompt": "Hi", "max_tokens": 4})
        recorded = wire("vllm/invocations_completion.http")
        assert answer.keys() <= recorded.keys()
        assert answer["choices"][0].keys() <= recorded["choices"][0].keys()
        assert (answer["object"], answer["choices"][0]["finish_reason"]) == ("text_completion", "length")
        assert answer["usage"] == {
            "prompt_tokens": 1,
            "completion_tokens": 4,
            "total_tokens": 5,
            "prompt_tokens_details": None,
        }

    def test_choices_of_each_prompt(self) -> None:
        answer = complete_text({"prompt": ["one two", "three"], "n": 2, "max_tokens": 50})
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
        assert [choice["text"].partition("wrote: ")[2] for choice in answer["choices"]] == [
            "one two",
            "one two (Choice 2.)",
            "three",
            "three (Choice 2.)",
        ]
        assert answer["usage"]["prompt_tokens"] == 3

    @pytest.mark.parametrize(("prompt", "texts"), [([1, 2], ["1 2"]), ([[1], [2, 3]], ["1", "2 3"])])
    def test_token_ids(self, prompt: Any, texts: list[str]) -> None:
        answer = complete_text({"prompt": prompt, "max_tokens": 50})
        assert [choice["text"].partition("wrote: ")[2] for choice in answer["choices"]] == texts

    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"echo": True, "logprobs": 2},
            {"suffix": "tail", "max_tokens": 40},
            {"n": 2, "max_tokens": 40, "logprobs": 0},
            {"stop": ["model", "wrote"]},
            {"stop": " Echo"},
        ],
    )
    def test_streamed_it_says_the_same(self, more: dict[str, Any]) -> None:
        body = {"prompt": ["def f(x):", "a b"], **more}
        whole = complete_text(body)
        *chunks, usage = stream_text({**body, "stream": True, "stream_options": {"include_usage": True}})
        assert usage["usage"] == whole["usage"]
        for choice in whole["choices"]:
            parts = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
            assert "".join(part["text"] for part in parts) == choice["text"]
            assert [part["finish_reason"] for part in parts] == [None] * (len(parts) - 1) + [choice["finish_reason"]]
            if choice["logprobs"]:
                for name, values in choice["logprobs"].items():
                    assert [value for part in parts if part["logprobs"] for value in part["logprobs"][name]] == values

    def test_logprobs_are_vllms_shape(self) -> None:
        recorded = wire("vllm/invocations_completion_echo_logprobs.http")["choices"][0]["logprobs"]
        said = complete_text({"prompt": "Hi there", "echo": True, "logprobs": 2, "max_tokens": 2})["choices"][0]
        assert said["logprobs"].keys() == recorded.keys()
        assert said["logprobs"]["tokens"] == ["Hi", " there", " Echo", " container"]
        assert said["logprobs"]["text_offset"] == [0, 2, 8, 13]
        assert said["logprobs"]["token_logprobs"][0] is None is said["logprobs"]["top_logprobs"][0]
        assert [len(top) for top in said["logprobs"]["top_logprobs"][1:]] == [2, 2, 2]

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"prompt": ""}, "Either prompt or prompt_embeds must be provided"),
            ({"prompt": []}, "Either prompt or prompt_embeds must be provided"),
            ({"prompt": [["a"]]}, "valid"),
            ({"logprobs": 21}, "less than or equal to 20"),
            ({"n": 2, "best_of": 1}, "best_of must be at least n"),
            ({"model": "gpt-4"}, "does not exist"),
            ({"max_tokens": 200_000}, "max_tokens=200000 cannot be greater"),
            ({"stream_options": {}}, "only be defined when `stream=True`"),
        ],
    )
    def test_refusals(self, more: dict[str, Any], said: str) -> None:
        with pytest.raises(ContainerRefusal, match=re.escape(said)):
            complete_text({"prompt": "Hi", **more})
        with pytest.raises(ContainerRefusal, match=re.escape(said)):
            stream_text({"prompt": "Hi", "stream": "stream_options" not in more, **more})


class TestUpstream:
    def test_the_bodys_shape_says_which_route_is_meant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def told(request: Request) -> Response:
            return JSONResponse({"path": request.url.path, "body": await request.json()})

        handlers = {"/v1/embeddings": told, "/v1/chat/completions": told, "/v1/completions": told}
        with before(handlers, monkeypatch) as runtime:
            client = client_of(runtime)
            assert invoke(client, TEXTS) == {"path": "/v1/embeddings", "body": TEXTS}
            assert invoke(client, {"messages": []})["path"] == "/v1/chat/completions"
            assert invoke(client, {"prompt": ""})["path"] == "/v1/completions"

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
