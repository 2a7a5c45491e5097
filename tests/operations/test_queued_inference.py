"""Asynchronous inference: against the local runtime and moto's S3, and against scripted servers in place of either."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import litellm
import pytest
from botocore.credentials import Credentials

from litellm_sagemaker_openai import AsyncResultNotReady, afetch_async_result, fetch_async_result
from litellm_sagemaker_openai.aws import s3
from litellm_sagemaker_openai.aws.credentials import CredentialSource
from litellm_sagemaker_openai.aws.s3 import S3, Absent
from litellm_sagemaker_openai.aws.s3_location import S3Location
from litellm_sagemaker_openai.local.server import Running
from litellm_sagemaker_openai.operations.queued_inference import inference as inference_module
from litellm_sagemaker_openai.operations.queued_inference import request as request_module
from litellm_sagemaker_openai.operations.queued_inference.inference import QueuedInference
from litellm_sagemaker_openai.operations.queued_inference.request import MAX_INLINE_BYTES
from litellm_sagemaker_openai.sending.request import GivenToken, Request
from litellm_sagemaker_openai.sending.timeouts import as_timeout
from tests.conftest import CREDENTIALS, MESSAGES, REGION, Upstream
from tests.scripted import Answer, Scripted, Seen, completion, json_answer, scripted

pytestmark = pytest.mark.medium(reason="waits for what SageMaker leaves in S3")

each = pytest.mark.parametrize
MODEL = "sagemaker_openai/my-async-endpoint"
ECHO = "Echo container, not a model. You said: Hello?"
BUCKET = "my-bucket"
INPUT = {"aws_sagemaker_async_input": f"s3://{BUCKET}/requests"}
LONG: list[Any] = [{"role": "user", "content": "x" * MAX_INLINE_BYTES}]
OUTPUT, FAILURE = f"s3://{BUCKET}/results/1.out", f"s3://{BUCKET}/failures/1-error.out"
HIDDEN = {
    "sagemaker_inference_id": "id-1",
    "sagemaker_output_location": OUTPUT,
    "sagemaker_failure_location": FAILURE,
}


async def whole(is_async: bool, **call: Any) -> Any:
    call = {"model": MODEL, "messages": MESSAGES, "aws_sagemaker_async": True, **call}
    return await litellm.acompletion(**call) if is_async else litellm.completion(**call)


async def chunks(is_async: bool, **call: Any) -> list[Any]:
    answer = await whole(is_async, stream=True, stream_options={"include_usage": True}, **call)
    return [piece async for piece in answer] if is_async else list(answer)


async def rebuilt(is_async: bool, **call: Any) -> Any:
    return litellm.stream_chunk_builder(await chunks(is_async, **call))


KINDS: dict[str, Any] = {
    "completion": lambda **call: whole(False, **call),
    "acompletion": lambda **call: whole(True, **call),
    "streaming": lambda **call: rebuilt(False, **call),
    "astreaming": lambda **call: rebuilt(True, **call),
}


@pytest.fixture(params=KINDS)
def ask(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits half a second for its first look at S3, nor for a boto3 client of its own."""
    monkeypatch.setattr(request_module, "_FIRST_INTERVAL", 0.01)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)


@dataclass(frozen=True)
class Bucket:
    """moto's S3, with the one bucket."""

    client: Any

    def objects(self, prefix: str = "") -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]

    def has(self, location: str) -> bool:
        return key_of(location) in self.objects()

    def read(self, location: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key_of(location))["Body"].read())

    def write(self, location: str, body: Any) -> None:
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        self.client.put_object(Bucket=BUCKET, Key=key_of(location), Body=text)


def key_of(location: str) -> str:
    return location.removeprefix(f"s3://{BUCKET}/")


@pytest.fixture
def bucket(aws_apis: Any) -> Bucket:
    client = aws_apis.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Bucket(client)


def accepted(output: str | None = OUTPUT, failure: str | None = FAILURE, **headers: str) -> Answer:
    """SageMaker's answer to a request that it queued."""
    locations = {"X-Amzn-SageMaker-OutputLocation": output, "X-Amzn-SageMaker-FailureLocation": failure}
    said = {name: location for name, location in locations.items() if location is not None}
    return json_answer({"InferenceId": "id-1"}, 202, **{"x-amzn-RequestId": "r-1"}, **said, **headers)


NO_INPUT = json_answer({"message": "Exactly one of Body and InputLocation must be provided."}, 400)


def refusing(answer: Any) -> Callable[[Seen], Any]:
    """SageMaker that takes asynchronous requests, and refuses the one that is stored."""
    return lambda seen: answer if "x-amzn-sagemaker-inputlocation" in seen.headers else NO_INPUT


def xml_error(status: int, code: str) -> Answer:
    """S3's way to refuse."""
    text = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>User: arn:aws:iam::123456789012:u</Message></Error>"
    )
    return Answer([text.encode()], status, "application/xml")


def at_first(times: int, answer: Any, then: Any) -> Callable[[Seen], Any]:
    """A script that answers so many requests one way and all others another."""
    left = iter(range(times))
    return lambda seen: then if next(left, None) is None else answer


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Scripted]]:
    """Starts a scripted server and makes it S3."""
    with ExitStack() as stack:

        def start(script: Any) -> Scripted:
            server = stack.enter_context(scripted(script))
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
            return server

        yield start


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which asynchronous inference tells when a call's is over; real pauses."""
    now = [0.0]
    monkeypatch.setattr(inference_module, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))
    return now


def headers_of(error: Any) -> Any:
    """SageMaker's answer's, where LiteLLM's Router and proxy look for them."""
    return error.litellm_response_headers


async def until(condition: Callable[[], Any]) -> None:
    """Waits for what another thread does."""
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError(condition)


# The local runtime, and moto's S3


async def test_a_chat(runtime: Running, bucket: Bucket, ask: Any) -> None:
    response = await ask(temperature=0, top_k=4)
    assert response.choices[0].message.content == ECHO
    assert response.choices[0].finish_reason == "stop"
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (8, 12)
    [received] = runtime.app.state.received
    assert received.path == "/endpoints/my-async-endpoint/async-invocations"
    assert received.body == {"model": "", "messages": MESSAGES, "temperature": 0.1, "top_k": 4}
    sent = {name: value for name, value in received.headers.items() if "sagemaker-" in name}
    assert sent == {
        "x-amzn-sagemaker-content-type": "application/json",
        "x-amzn-sagemaker-accept": "application/json",
    }
    assert received.headers["content-type"] == "application/octet-stream"
    assert bucket.objects("requests") == []


async def test_a_tool_call(runtime: Running, bucket: Bucket) -> None:
    function = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    question = [{"role": "user", "content": "What is the weather in Dublin?"}]
    for ask in (whole, rebuilt):
        response = await ask(True, messages=question, tools=[{"type": "function", "function": function}])
        [call] = response.choices[0].message.tool_calls
        assert (call.function.name, set(json.loads(call.function.arguments))) == ("weather", {"city"})


@each("is_async", [False, True])
async def test_where_the_result_is(runtime: Running, bucket: Bucket, is_async: bool) -> None:
    response = await whole(
        is_async,
        aws_sagemaker_async_output_extension="a/b",
        aws_sagemaker_async_filename="answer.json",
        aws_sagemaker_async_inference_id="my id",
        aws_sagemaker_async_request_ttl=60,
        aws_sagemaker_async_invocation_timeout="3600",
    )
    hidden = response._hidden_params
    assert hidden["sagemaker_inference_id"] == "my id"
    own = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert re.fullmatch(rf"s3://{BUCKET}/results/a/b/{own}/answer\.json", hidden["sagemaker_output_location"])
    assert re.fullmatch(rf"s3://{BUCKET}/failures/[0-9a-f-]+-error\.out", hidden["sagemaker_failure_location"])
    assert json.loads(bucket.read(hidden["sagemaker_output_location"]))["choices"]
    [received] = runtime.app.state.received
    assert received.headers["x-amzn-sagemaker-requestttlseconds"] == "60"
    assert received.headers["x-amzn-sagemaker-invocationtimeoutseconds"] == "3600"
    assert hidden["additional_headers"]["llm_provider-x-amzn-requestid"]


@each("is_async", [False, True])
async def test_where_the_result_of_a_stream_is(runtime: Running, bucket: Bucket, is_async: bool) -> None:
    first = (await chunks(is_async, aws_sagemaker_async_inference_id="my-id"))[0]
    assert first._hidden_params["sagemaker_inference_id"] == "my-id"
    assert json.loads(bucket.read(first._hidden_params["sagemaker_output_location"]))["choices"]


async def test_a_long_request_is_stored_and_removed(runtime: Running, bucket: Bucket, ask: Any) -> None:
    response = await ask(messages=LONG, **INPUT)
    assert response.choices[0].message.content.startswith(ECHO.replace("Hello?", "xxx"))
    asked, received = runtime.app.state.received
    assert asked.body is received.body is None
    assert asked.headers["content-length"] == received.headers["content-length"] == "0"
    assert "x-amzn-sagemaker-inputlocation" not in asked.headers
    location = received.headers["x-amzn-sagemaker-inputlocation"]
    assert re.fullmatch(rf"s3://{BUCKET}/requests/[0-9a-f-]{{36}}\.json", location)
    assert bucket.objects("requests") == []


async def test_a_request_longer_than_the_chat_route_takes(runtime: Running, bucket: Bucket) -> None:
    longer: list[Any] = [{"role": "user", "content": "x" * 6_300_000}]
    with pytest.raises(litellm.ContextWindowExceededError, match="maximum context length"):
        await whole(True, messages=longer, **INPUT)  # the container has read it
    assert bucket.objects("requests") == []
    with pytest.raises(litellm.BadRequestError, match="takes at most 6,291,456"):
        await whole(True, messages=longer, model="sagemaker_openai/my-endpoint", aws_sagemaker_async=None)


async def test_the_containers_failure(runtime: Running, bucket: Bucket, ask: Any) -> None:
    with pytest.raises(litellm.BadRequestError, match=r"the container answered 400: .*temperature") as raised:
        await ask(temperature=-1, messages=LONG, **INPUT, **NAMED, **IDENTIFIED)
    headers = headers_of(raised.value)
    failure = headers["x-amzn-sagemaker-failurelocation"]
    assert json.loads(bucket.read(failure))["error"]["code"] == 400
    assert headers["x-amzn-requestid"]
    assert bucket.objects("requests") == []


async def test_endpoints_of_the_other_kind(runtime: Running, bucket: Bucket) -> None:
    hint = "does not support this inference type.*aws_sagemaker_async=True is for endpoints with an AsyncInferenceC"
    with pytest.raises(litellm.BadRequestError, match=hint):
        await whole(True, model="sagemaker_openai/my-endpoint")
    with pytest.raises(litellm.BadRequestError, match=hint):
        await whole(True, aws_sagemaker_async=False)
    with pytest.raises(litellm.NotFoundError, match="Endpoint nobody not found in this account and region"):
        await whole(True, model="sagemaker_openai/nobody", messages=LONG, **INPUT)
    assert bucket.objects() == []


# Nothing is sent


@each(
    ("call", "message"),
    [
        ({"model": "sagemaker_openai/e/c"}, r"an inference component \(e/c\) cannot be asked with aws_sagemaker_async"),
        ({"model_id": "c"}, "cannot be asked with aws_sagemaker_async"),
        ({"api_key": "token"}, "api_key is a bearer token, and SageMaker's /async-invocations takes none"),
        ({"aws_sagemaker_cold_start_timeout": 60}, "aws_sagemaker_cold_start_timeout has no meaning"),
        ({"messages": LONG}, "takes at most 128,000; give aws_sagemaker_async_input='s3://<bucket>/<prefix>'"),
        ({"aws_sagemaker_async_input": "my-bucket"}, "aws_sagemaker_async_input: write s3://<bucket>/<prefix>"),
        ({"aws_sagemaker_async_request_ttl": 59}, "aws_sagemaker_async_request_ttl: SageMaker takes 60 to 21600 sec"),
        ({"aws_sagemaker_async_filename": "a/b"}, "aws_sagemaker_async_filename: SageMaker takes letters, digits"),
        ({"aws_sagemaker_async": "yes"}, "aws_sagemaker_async must be true or false"),
        ({"aws_sagemaker_async": False, **INPUT}, "give aws_sagemaker_async=True with them"),
        ({"extra_headers": {"X-Amzn-SageMaker-Filename": "a"}}, "extra_headers must not set x-amzn-sagemaker-filename"),
        (
            {"aws_sagemaker_async_filename": "a", "aws_sagemaker_async_output_extension": "x" * 476},
            "aws_sagemaker_async_output_extension must have at most 475 characters with aws_sagemaker_async_filename",
        ),
        ({"timeout": 0.0}, "timeout must be a number of seconds above 0"),
    ],
)
async def test_mistakes(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], call: dict[str, Any], message: str
) -> None:
    servers = [upstream(accepted()), s3_server(Answer())]
    for ask in KINDS.values():
        with pytest.raises(litellm.BadRequestError, match=message):
            await ask(**call)
    assert [server.seen for server in servers] == [[], []]


@each("is_async", [False, True])
async def test_embeddings_are_not_asynchronous(upstream: Upstream, is_async: bool) -> None:
    server = upstream(accepted())
    call: dict[str, Any] = {"model": MODEL, "input": ["a"], "aws_sagemaker_async": True}
    with pytest.raises(litellm.BadRequestError, match="aws_sagemaker_async is for chat completions"):
        await litellm.aembedding(**call) if is_async else litellm.embedding(**call)
    assert server.seen == []


async def test_what_is_inline_and_what_is_stored(upstream: Upstream, bucket: Bucket) -> None:
    stored: list[bytes] = []

    def script(seen: Seen) -> Answer:
        if location := seen.headers.get("x-amzn-sagemaker-inputlocation"):
            stored.append(bucket.read(location))
        bucket.write(OUTPUT, completion())
        return accepted()

    server = upstream(script)
    around = len(json.dumps({"model": "", "messages": [{"role": "user", "content": ""}]}, separators=(",", ":")))
    for length in (MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1):
        await whole(True, messages=[{"role": "user", "content": "x" * (length - around)}], **INPUT)
    assert [len(seen.body) for seen in server.seen] == [MAX_INLINE_BYTES, 0, 0]
    assert [len(each) for each in stored] == [MAX_INLINE_BYTES + 1]


@each("path", ["", "/endpoints/e", "/endpoints/e/async-invocations", "/prefix/"])
async def test_base_urls(upstream: Upstream, bucket: Bucket, path: str) -> None:
    server = upstream(accepted())
    bucket.write(OUTPUT, completion())
    await whole(True, model="sagemaker_openai/e", api_base=f"{server.url}{path}")
    assert server.seen[0].path == f"{path.partition('/endpoints')[0].rstrip('/')}/endpoints/e/async-invocations"


# Whose answer it is

NAMED: dict[str, Any] = {"aws_sagemaker_async_filename": "answer.json"}
IDENTIFIED: dict[str, Any] = {"aws_sagemaker_async_inference_id": "my-id"}
SECRET = "The secret of another caller."


def located(seen: Seen, directory: str = "results") -> str:
    """Where SageMaker leaves a result, by the request's headers; the file name is one for all where none is given."""
    extension = seen.headers.get("x-amzn-sagemaker-s3outputpathextension", "")
    name = seen.headers.get("x-amzn-sagemaker-filename", "1.out")
    return f"s3://{BUCKET}/" + "/".join(part for part in (directory, extension, name) if part)


@each("taken", ["results/answer.json", "results/a/answer.json", "results/my-id.out", "failures/my-id-error.out"])
async def test_what_was_there_before_is_no_answer(runtime: Running, bucket: Bucket, ask: Any, taken: str) -> None:
    bucket.write(f"s3://{BUCKET}/{taken}", completion(SECRET))
    for more in (NAMED, {**NAMED, "aws_sagemaker_async_output_extension": "a"}, {**NAMED, **IDENTIFIED}, IDENTIFIED):
        assert (await ask(**more)).choices[0].message.content == ECHO


@pytest.mark.slow(reason="starts a process that imports LiteLLM")
@each("elsewhere", [False, True])
async def test_two_calls_in_flight_with_one_file_name(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], elsewhere: bool
) -> None:
    """The first one's answer comes while both wait, the second's later; the first call may be another process's."""

    def script(seen: Seen) -> Answer:
        queued.append(located(seen))
        if len(queued) == 2:
            objects[key_of(queued[0])] = "first"
        return accepted(queued[-1], None)

    def stored(seen: Seen) -> Answer:
        looks.append(key := seen.path.removeprefix(f"/{BUCKET}/"))
        return json_answer(completion(objects[key])) if key in objects else xml_error(404, "NoSuchKey")

    queued: list[str] = []
    looks: list[str] = []
    objects: dict[str, str] = {}
    upstream(script)
    s3_server(stored)
    code = (
        "import litellm, litellm_sagemaker_openai\n"
        "litellm_sagemaker_openai.register()\n"
        f"call = {{'model': {MODEL!r}, 'messages': {MESSAGES}, 'aws_sagemaker_async': True, **{NAMED}}}\n"
        "print(litellm.completion(**call).choices[0].message.content, end='')\n"
    )

    def in_another_process() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    async def here() -> str:
        return str((await whole(True, **NAMED)).choices[0].message.content)

    first = asyncio.create_task(asyncio.to_thread(in_another_process) if elsewhere else here())
    while not (queued or first.done()):  # another process takes its time to start
        await asyncio.sleep(0.005)
    second = asyncio.create_task(here())
    assert await first == "first"
    before = len(looks)
    await until(lambda: second.done() or len(looks) > before)
    objects[key_of(queued[1])] = "second"
    assert await second == "second"


@each("named", [NAMED, IDENTIFIED, {**NAMED, **IDENTIFIED}])
async def test_a_result_where_others_may_be(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], ask: Any, named: dict[str, Any]
) -> None:
    """SageMaker that takes no S3OutputPathExtension, as it did until 2026-02: what is there is not even read."""
    name = named.get("aws_sagemaker_async_filename", "my-id.out")
    upstream(accepted(f"s3://{BUCKET}/results/{name}"))
    s3 = s3_server(json_answer(completion(SECRET)))
    refused = (
        f"at s3://{BUCKET}/results/{name}, where there may be another's result. Leave out aws_sagemaker_async_filename"
    )
    with pytest.raises(litellm.BadRequestError, match=refused) as raised:
        await ask(**named)
    assert SECRET not in str(raised.value)
    assert headers_of(raised.value)["x-amzn-sagemaker-outputlocation"] == f"s3://{BUCKET}/results/{name}"
    assert s3.seen == []


RANDOM = "0b7d0a9e-3d1c-4c59-8b5f-1f2f3a4b5c6d"


@each(
    ("failure", "named", "own"),
    [
        ("1-error.out", {}, True),
        (f"{RANDOM}-error.out", NAMED, True),
        (f"{RANDOM.upper()}-error.out", IDENTIFIED, True),
        ("answer.json-error.out", NAMED, False),
        ("my-id-error.out", IDENTIFIED, False),
        (f"{RANDOM}/my-id-error.out", IDENTIFIED, False),
        ("0b7d0a9e-3d1c-5c59-8b5f-1f2f3a4b5c6d-error.out", IDENTIFIED, False),  # made of a name: version 5
        (f"{RANDOM}-error.out", {"aws_sagemaker_async_inference_id": RANDOM.upper()}, False),
    ],
)
async def test_whose_failure_it_is(
    upstream: Upstream, bucket: Bucket, failure: str, named: dict[str, Any], own: bool
) -> None:
    location = f"s3://{BUCKET}/failures/{failure}"
    server = upstream(lambda seen: accepted(located(seen), location))
    bucket.write(location, {"error": {"message": SECRET, "code": 400}})
    for ask in KINDS.values():
        with pytest.raises(litellm.BadRequestError) as raised:
            await ask(**named)
        said = str(raised.value)
        assert (SECRET in said) == own
        assert (f"there is an object at {location}, and another call's failure may be there" in said) == (not own)
        assert headers_of(raised.value)["x-amzn-sagemaker-failurelocation"] == location
    assert len(server.seen) == len(KINDS)


async def test_a_result_beside_a_failure_that_may_be_anothers(upstream: Upstream, bucket: Bucket, ask: Any) -> None:
    def script(seen: Seen) -> Answer:
        bucket.write(located(seen), completion("Mine."))
        return accepted(located(seen), f"s3://{BUCKET}/failures/answer.json")

    upstream(script)
    bucket.write(f"s3://{BUCKET}/failures/answer.json", {"error": {"message": SECRET}})
    assert (await ask(**NAMED)).choices[0].message.content == "Mine."


async def test_a_router_does_not_ask_again_what_may_be_anothers(
    upstream: Upstream, bucket: Bucket, router_of: Any, no_waiting: None
) -> None:
    server = upstream(accepted())
    router = router_of(
        {"model_name": "long", "litellm_params": {"model": MODEL, "aws_sagemaker_async": True, **NAMED}},
    )
    with pytest.raises(litellm.BadRequestError, match="where there may be another's result"):
        await router.acompletion("long", MESSAGES)
    assert len(server.seen) == 1


# What is stored, and removed again


@each(
    ("answer", "exception"),
    [
        (json_answer({"message": "Endpoint e of account 123456789012 not found."}, 400), litellm.NotFoundError),
        (json_answer({"message": "Endpoint e does not support this inference type."}, 400), litellm.BadRequestError),
        (json_answer({"message": "User: u is not authorized"}, 403), litellm.PermissionDeniedError),
        (json_answer({"message": "Too many requests"}, 429), litellm.RateLimitError),
        (json_answer({"message": "later"}, 503), litellm.ServiceUnavailableError),
        (Answer(status=302, headers={"location": "http://127.0.0.1:9/"}), litellm.BadGatewayError),
        (b"", litellm.ServiceUnavailableError),
    ],
)
async def test_nothing_is_stored_for_an_endpoint_that_cannot_take_it(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], ask: Any, answer: Any, exception: Any
) -> None:
    sagemaker, s3 = upstream(answer), s3_server(Answer())
    with pytest.raises(exception):
        await ask(messages=LONG, **INPUT)
    assert s3.seen == []
    [seen] = sagemaker.seen
    assert seen.body == b""
    assert "x-amzn-sagemaker-inputlocation" not in seen.headers


@each(
    ("answer", "exception"),
    [
        (json_answer({"message": "Endpoint e of account 123456789012 not found."}, 400), litellm.NotFoundError),
        (json_answer({"message": "later"}, 503), litellm.ServiceUnavailableError),
        (b"", litellm.ServiceUnavailableError),
        (json_answer({"InferenceId": "id-1"}, 202), litellm.BadGatewayError),
    ],
)
async def test_what_was_stored_for_a_refused_request_is_removed(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], ask: Any, answer: Any, exception: Any
) -> None:
    upstream(refusing(answer))
    s3 = s3_server(Answer())
    with pytest.raises(exception):
        await ask(messages=LONG, **INPUT)
    assert [seen.method for seen in s3.seen] == ["PUT", "DELETE"]
    assert s3.seen[0].path == s3.seen[1].path


@each("status", [500, 503])
async def test_what_s3_may_have_stored_is_removed(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    upstream(NO_INPUT)
    s3 = s3_server(lambda seen: xml_error(status, "InternalError") if seen.method == "PUT" else Answer())
    with pytest.raises((litellm.InternalServerError, litellm.ServiceUnavailableError)):
        await whole(True, messages=LONG, **INPUT)
    assert [seen.method for seen in s3.seen] == ["PUT", "DELETE"]


@each("is_async", [False, True])
async def test_a_removal_that_takes_its_turn(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    """All threads are busy when the request is refused; the call ends, and what was stored is removed all the same."""
    free, threads = threading.Event(), ThreadPoolExecutor(1)
    monkeypatch.setattr(s3, "_threads", threads)
    monkeypatch.setattr(inference_module, "REQUEST_SECONDS", 0.05)
    monkeypatch.setattr(inference_module, "_LEAST_SECONDS", 0.05)

    def script(seen: Seen) -> Any:
        if "x-amzn-sagemaker-inputlocation" not in seen.headers:
            return NO_INPUT
        threads.submit(free.wait, 20)
        return json_answer({"message": "later"}, 503)

    upstream(script)
    server = s3_server(Answer())
    with pytest.raises(litellm.ServiceUnavailableError):
        await whole(is_async, messages=LONG, **INPUT)
    assert [seen.method for seen in server.seen] == ["PUT"]
    free.set()
    await asyncio.to_thread(threads.shutdown)
    assert [seen.method for seen in server.seen] == ["PUT", "DELETE"]


async def test_a_request_that_was_not_stored_in_time_is_not_stored_later(
    upstream: Upstream,
    s3_server: Callable[[Any], Scripted],
    monkeypatch: pytest.MonkeyPatch,
    clock: list[float],
    ask: Any,
) -> None:
    """All threads are busy until the call's time is over."""

    def script(seen: Seen) -> Answer:
        clock[0] += 600
        return NO_INPUT

    free, threads = threading.Event(), ThreadPoolExecutor(1)
    monkeypatch.setattr(s3, "_threads", threads)
    threads.submit(free.wait, 20)
    sagemaker, server = upstream(script), s3_server(Answer())
    monkeypatch.setattr(inference_module, "_LEAST_SECONDS", 0.05)
    with pytest.raises(litellm.Timeout, match="S3 did not answer in time"):
        await ask(messages=LONG, **INPUT)
    free.set()
    await asyncio.to_thread(threads.shutdown)
    assert server.seen == []
    assert len(sagemaker.seen) == 1


# Failures of the inference


@each(
    ("payload", "exception", "message"),
    [
        ({"error": {"message": "no", "code": 422}}, litellm.UnprocessableEntityError, "the container answered 422: no"),
        ({"error": {"message": "busy", "code": 503}}, litellm.ServiceUnavailableError, "busy"),
        (
            {"error": {"message": "This model's maximum context length is 8 tokens.", "code": 400}},
            litellm.ContextWindowExceededError,
            "maximum context length",
        ),
        ({"detail": "Not Found"}, litellm.InternalServerError, "Not Found"),
        ({"code": 404, "message": "Not Found"}, litellm.NotFoundError, "the container seems not to serve /invocations"),
        (
            "ClientError: Received server error (500) from model. See the SageMaker Endpoint logs in your account.",
            litellm.InternalServerError,
            "the container answered 500: Received server error",
        ),
        (
            'Received server error (0) from primary with message "Your invocation timed out while waiting."',
            litellm.Timeout,
            "Your invocation timed out",
        ),
        ("Request expired.", litellm.InternalServerError, "SageMaker answered 500: Request expired."),
    ],
)
async def test_failures(upstream: Upstream, bucket: Bucket, payload: Any, exception: Any, message: str) -> None:
    server = upstream(accepted())
    bucket.write(FAILURE, payload)
    for ask in KINDS.values():
        with pytest.raises(exception, match=re.escape(message)) as raised:
            await ask()
        assert headers_of(raised.value)["x-amzn-sagemaker-outputlocation"] == OUTPUT
    assert len(server.seen) == len(KINDS)  # queued once each


@each("result", [b"", b"not JSON", b"[]", b'{"choices": []}'])
async def test_a_result_that_is_no_chat_completion(upstream: Upstream, bucket: Bucket, result: bytes) -> None:
    upstream(accepted())
    bucket.write(OUTPUT, result)
    for ask in KINDS.values():
        with pytest.raises(litellm.BadGatewayError) as raised:
            await ask()
        assert headers_of(raised.value)["x-amzn-sagemaker-outputlocation"] == OUTPUT


@each("location", [None, "", "https://example.com/a/b", "file:///etc/passwd", f"s3://{BUCKET}/"])
async def test_a_location_of_somebody_elses(upstream: Upstream, bucket: Bucket, location: str | None) -> None:
    upstream(accepted(location))
    with pytest.raises(litellm.BadGatewayError, match="did not say where in S3 its result will be"):
        await whole(True, messages=LONG, **INPUT)
    assert bucket.objects() == []


# Refused, or not answered


@each(
    ("answer", "exception", "message"),
    [
        (json_answer({"message": "Too many requests"}, 429), litellm.RateLimitError, "Too many requests"),
        (json_answer({"message": "later"}, 503), litellm.ServiceUnavailableError, "later"),
        (
            json_answer({"message": "User: arn:aws:iam::123456789012:user/u is not authorized"}, 403),
            litellm.PermissionDeniedError,
            "User: <arn> is not authorized (the role needs sagemaker:InvokeEndpointAsync on the endpoint's ARN, and",
        ),
        (Answer(status=302, headers={"location": "http://127.0.0.1:9/"}), litellm.BadGatewayError, "a redirect (302)"),
        (b"", litellm.ServiceUnavailableError, "SageMaker hung up"),
    ],
)
async def test_refused_submissions(
    upstream: Upstream, bucket: Bucket, answer: Any, exception: Any, message: str
) -> None:
    server = upstream(answer)
    for ask in KINDS.values():
        with pytest.raises(exception, match=re.escape(message)):
            await ask(messages=LONG, **INPUT)
    assert len(server.seen) == len(KINDS)  # asked once each
    assert bucket.objects() == []


async def test_retries_are_litellms(upstream: Upstream, bucket: Bucket, ask: Any) -> None:
    def script(seen: Seen) -> Answer:
        tries.append(seen)
        if len(tries) == 1:
            return json_answer({"message": "later"}, 503)
        bucket.write(OUTPUT, completion())
        return accepted()

    tries: list[Seen] = []
    upstream(script)
    assert (await ask(num_retries=1)).choices[0].message.content == "Hello."
    assert len(tries) == 2


# Waiting


async def test_a_result_that_does_not_come_in_time(upstream: Upstream, bucket: Bucket, ask: Any, clock: Any) -> None:
    def script(seen: Seen) -> Answer:
        if "x-amzn-sagemaker-inputlocation" not in seen.headers:
            return NO_INPUT
        locations.append(seen.headers["x-amzn-sagemaker-inputlocation"])
        clock[0] += 600
        return accepted()

    locations: list[str] = []
    upstream(script)
    with pytest.raises(litellm.Timeout, match=r"no result after 600 seconds \(timeout\)") as raised:
        await ask(messages=LONG, **INPUT)
    said = str(raised.value)
    assert f"get it later with fetch_async_result('{OUTPUT}', failure_location='{FAILURE}')" in said
    assert "inference 'id-1'" in said
    [location] = locations  # queued once
    assert f"The request stays at {location}, since the container may not have read it yet" in said
    assert [f"s3://{BUCKET}/{key}" for key in bucket.objects("requests")] == [location]
    headers = headers_of(raised.value)
    assert headers["x-amzn-sagemaker-outputlocation"] == OUTPUT
    assert headers["x-amzn-requestid"] == "r-1"


@each("is_async", [False, True])
async def test_looks_for_the_result_until_the_calls_time_is_over(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], is_async: bool, clock: Any
) -> None:
    def script(seen: Seen) -> Answer:
        clock[0] += 1
        return xml_error(404, "NoSuchKey")

    upstream(accepted())
    server = s3_server(script)
    with pytest.raises(litellm.Timeout, match="no result after 5 seconds") as raised:
        await whole(is_async, timeout=5)
    assert [seen.path for seen in server.seen] == [f"/{BUCKET}/{key_of(each)}" for each in (OUTPUT, FAILURE)] * 3
    assert "The request stays" not in str(raised.value)


@each("is_async", [False, True])
async def test_the_result_is_fetched_later(upstream: Upstream, bucket: Bucket, is_async: bool) -> None:
    async def fetch(*args: Any, **more: Any) -> Any:
        return await afetch_async_result(*args, **more) if is_async else fetch_async_result(*args, **more)

    with pytest.raises(
        AsyncResultNotReady, match=rf"^no result at {OUTPUT} yet\. A failure would be at the failure_loc"
    ):
        await fetch(OUTPUT)
    with pytest.raises(AsyncResultNotReady, match=rf"^no result at {OUTPUT} yet$"):
        await fetch(OUTPUT, failure_location=FAILURE, aws_region_name="us-east-1")
    bucket.write(FAILURE, {"error": {"message": "busy", "code": 429}})
    with pytest.raises(litellm.RateLimitError, match="the container answered 429: busy"):
        await fetch(OUTPUT, failure_location=FAILURE)
    bucket.write(OUTPUT, completion("Late."))
    response = await fetch(f"https://{BUCKET}.s3.{REGION}.amazonaws.com/{key_of(OUTPUT)}", failure_location=FAILURE)
    assert response.choices[0].message.content == "Late."
    assert response.usage.total_tokens == 18
    assert response.model == "served"
    with pytest.raises(litellm.RateLimitError, match="busy"):
        await fetch(FAILURE)  # taken for the result's
    bucket.write(OUTPUT, "<html>")
    with pytest.raises(litellm.BadGatewayError, match="the container answered 200 with what is not JSON: <html>"):
        await fetch(OUTPUT)


@each("fetch", [fetch_async_result, afetch_async_result])
async def test_mistakes_of_fetching(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: Any, **more: Any) -> None:
        got = fetch(*args, **more)
        await got

    with pytest.raises(litellm.BadRequestError, match=r"'results/1\.out' is not an object in S3; write s3://"):
        await fail("results/1.out")
    with pytest.raises(litellm.BadRequestError, match="'x' is not an object in S3"):
        await fail(OUTPUT, failure_location="x")
    with pytest.raises(TypeError, match="fetch_async_result takes no model; it takes aws_access_key_id, "):
        await fail(OUTPUT, model="m")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(litellm.AuthenticationError, match=r"no AWS credentials found|could not be resolved"):
        await fail(OUTPUT)
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(litellm.BadRequestError, match="no AWS region: give aws_region_name"):
        await fail(OUTPUT)


async def test_an_endpoint_without_a_failure_path(upstream: Upstream, bucket: Bucket, clock: Any) -> None:
    def script(seen: Seen) -> Answer:
        clock[0] += 600
        return accepted(failure=None)

    upstream(script)
    with pytest.raises(litellm.Timeout, match="The endpoint has no S3FailurePath, so a failure leaves no trace in S3"):
        await whole(True)
    bucket.write(OUTPUT, completion())
    response = await whole(True)
    assert response._hidden_params["sagemaker_failure_location"] is None


async def test_s3_that_does_not_say_what_is_missing(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], clock: Any
) -> None:
    """Without s3:ListBucket, S3 answers 403 to what is not there. The result is waited for all the same."""
    upstream(accepted())
    denied, there = xml_error(403, "AccessDenied"), json_answer(completion())
    server = s3_server(at_first(4, denied, there))
    assert (await whole(True)).choices[0].message.content == "Hello."
    assert [seen.path for seen in server.seen][:3] == [
        f"/{BUCKET}/{key_of(each)}" for each in (OUTPUT, FAILURE, OUTPUT)
    ]

    def deny(seen: Seen) -> Answer:
        clock[0] += 300
        return denied

    server.script = deny
    with pytest.raises(litellm.Timeout) as raised:
        await whole(True)
    assert (
        f"{OUTPUT}: S3 answered 403 AccessDenied to GetObject (the role needs s3:GetObject, and s3:ListBucket on the"
        in str(raised.value)
    )
    assert "123456789012" not in str(raised.value)


@each("answer", [xml_error(503, "SlowDown"), xml_error(400, "ExpiredToken"), b""])
async def test_s3_that_fails_for_a_while(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # botocore's own tries take their time
    upstream(accepted())
    s3_server(at_first(4, answer, json_answer(completion())))
    assert (await whole(True)).choices[0].message.content == "Hello."


async def test_s3_that_does_not_answer(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    def script(seen: Seen) -> Answer:
        clock[0] += 300
        return Answer([b"{"], end="stall")

    monkeypatch.setattr(inference_module, "REQUEST_SECONDS", 0.05)
    monkeypatch.setattr(inference_module, "_LEAST_SECONDS", 0.05)
    upstream(accepted())
    s3_server(script)
    with pytest.raises(litellm.Timeout, match=r"no result after 600 seconds.* S3 did not answer in time"):
        await whole(True)


async def test_a_request_that_is_not_stored_in_time(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], clock: list[float]
) -> None:
    """It may be stored later, and is removed then."""
    over = threading.Event()

    def script(seen: Seen) -> Answer:
        assert over.wait(20)
        return Answer()

    def asked(seen: Seen) -> Answer:
        clock[0] += 599
        return NO_INPUT

    sagemaker = upstream(asked)
    server = s3_server(script)
    with pytest.raises(litellm.Timeout, match=r"/requests/.*: S3 did not answer in time"):
        await whole(True, messages=LONG, **INPUT)
    over.set()
    # An earlier test's server may have had this port, and what asked it may still ask.
    await until(lambda: len([seen for seen in server.seen if "/requests/" in seen.path]) == 2)
    assert [seen.method for seen in server.seen if "/requests/" in seen.path] == ["PUT", "DELETE"]
    assert len(sagemaker.seen) == 1


@each("status_code", [(404, "NoSuchBucket", litellm.NotFoundError), (400, "InvalidRequest", litellm.BadRequestError)])
async def test_s3_that_says_no_for_good(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], status_code: Any
) -> None:
    upstream(accepted())
    status, code, exception = status_code
    s3_server(xml_error(status, code))
    with pytest.raises(exception, match=f"{OUTPUT}: S3 answered {status} {code} to GetObject$") as raised:
        await whole(False)
    assert headers_of(raised.value)["x-amzn-sagemaker-outputlocation"] == OUTPUT


@each("fetch", [fetch_async_result, afetch_async_result])
async def test_a_failure_of_a_megabyte(
    s3_server: Callable[[Any], Scripted],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fetch: Callable[..., Any],
) -> None:
    monkeypatch.setenv("MAX_STRING_LENGTH_STDOUT_LOG", "0")  # LiteLLM's own limit, which older releases do not have
    said = f"no{' ' * 1_000_000}Traceback (most recent call last):\n  File"
    failure = json_answer({"error": {"message": said, "code": 429}})
    s3_server(lambda seen: failure if seen.path.endswith(key_of(FAILURE)) else xml_error(404, "NoSuchKey"))

    async def fetched() -> Any:
        answer = await asyncio.to_thread(fetch, OUTPUT, failure_location=FAILURE)
        return await answer if asyncio.iscoroutine(answer) else answer

    with pytest.raises(litellm.RateLimitError) as raised:
        await fetched()
    assert len(str(raised.value)) < 3000
    assert "Traceback" in caplog.text
    assert len(caplog.text) < 5000


async def test_s3_that_does_not_store(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], caplog: pytest.LogCaptureFixture
) -> None:
    sagemaker = upstream(accepted())
    server = s3_server(xml_error(403, "AccessDenied"))
    needs = r"S3 answered 403 AccessDenied to PutObject \(the role needs s3:PutObject there\)"
    with pytest.raises(litellm.PermissionDeniedError, match=rf"s3://{BUCKET}/requests/[0-9a-f-]+\.json: {needs}"):
        await whole(True, messages=LONG, **INPUT)
    assert {seen.method for seen in server.seen} == {"PUT"}
    assert len(sagemaker.seen) == 1
    assert "arn:aws:iam::123456789012:u" in caplog.text  # for the operator


async def test_s3_that_does_not_remove(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], caplog: pytest.LogCaptureFixture
) -> None:
    """The answer counts for more than what is left behind, which the log names."""
    upstream(accepted())
    answers = {"PUT": Answer(), "GET": json_answer(completion()), "DELETE": xml_error(403, "AccessDenied")}
    s3_server(lambda seen: answers[seen.method])
    assert (await whole(True, messages=LONG, **INPUT)).choices[0].message.content == "Hello."
    stays = (
        rf"an uploaded request stays: s3://{BUCKET}/requests/\S+\.json: S3 answered 403 AccessDenied to DeleteObject"
    )
    assert re.search(stays, caplog.text)


# The event loop, and callers who leave


async def test_the_loop_runs_on_while_s3_is_asked(upstream: Upstream, s3_server: Callable[[Any], Scripted]) -> None:
    """S3 answers only once the loop has turned: were it blocked, it would wait for ever."""
    turned = threading.Event()

    def script(seen: Seen) -> Answer:
        assert turned.wait(20)
        return json_answer(completion()) if seen.method == "GET" else Answer()

    upstream(accepted())
    server = s3_server(script)
    call = asyncio.create_task(whole(True, messages=LONG, **INPUT))
    await until(lambda: server.seen)
    turned.set()
    assert (await call).choices[0].message.content == "Hello."
    assert [seen.method for seen in server.seen] == ["PUT", "GET", "DELETE"]


@pytest.mark.slow(reason="sends two hundred calls")
async def test_two_hundred_wait_at_once(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None gets its result before all have been queued, so all of them wait at the same time."""
    sagemaker = upstream(lambda seen: accepted(f"s3://{BUCKET}/{seen.json['messages'][0]['content']}", None))

    def script(seen: Seen) -> Answer:
        name = seen.path.rpartition("/")[2]
        return json_answer(completion(name)) if len(sagemaker.seen) == 200 else xml_error(404, "NoSuchKey")

    s3_server(script)
    monkeypatch.setattr(request_module, "_FIRST_INTERVAL", 2.0)
    calls = [whole(True, messages=[{"role": "user", "content": f"call-{n}"}]) for n in range(200)]
    answers = await asyncio.gather(*calls)
    assert [answer.choices[0].message.content for answer in answers] == [f"call-{n}" for n in range(200)]
    assert len(sagemaker.seen) == 200


@each("stream", [False, True])
async def test_who_leaves_while_waiting(upstream: Upstream, bucket: Bucket, stream: bool) -> None:
    server = upstream(accepted())
    call = asyncio.create_task(whole(True, messages=LONG, stream=stream, **INPUT))
    await until(lambda: len(server.seen) == 2)
    assert len(bucket.objects("requests")) == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: bucket.objects("requests") == [])


async def test_who_leaves_while_the_request_is_queued(upstream: Upstream, bucket: Bucket) -> None:
    server = upstream(refusing(Answer([b"{"], 202, end="stall")))
    call = asyncio.create_task(whole(True, messages=LONG, **INPUT))
    await until(lambda: len(server.seen) == 2)
    assert len(bucket.objects("requests")) == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: bucket.objects("requests") == [])
    await until(lambda: server.left.acquire(blocking=False))


async def test_who_leaves_while_the_request_is_stored(upstream: Upstream, s3_server: Callable[[Any], Scripted]) -> None:
    """It is removed after it was stored, and not before."""
    left = threading.Event()

    def script(seen: Seen) -> Answer:
        assert left.wait(20)
        return Answer()

    sagemaker = upstream(accepted())
    server = s3_server(script)
    call = asyncio.create_task(whole(True, messages=LONG, **INPUT))
    await until(lambda: server.seen)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    left.set()
    await until(lambda: len(server.seen) == 2)
    assert [seen.method for seen in server.seen] == ["PUT", "DELETE"]
    assert server.seen[0].path == server.seen[1].path
    assert len(sagemaker.seen) == 1


async def test_a_stream_that_is_opened_late(
    upstream: Upstream, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the callback that opens streams early; LiteLLM then asks for an iterator."""
    upstream(accepted())
    bucket.write(OUTPUT, completion())
    monkeypatch.setattr(litellm, "callbacks", [])
    got = await chunks(True)
    assert "".join(each.choices[0].delta.content or "" for each in got if each.choices) == "Hello."
    assert {name: got[0]._hidden_params[name] for name in HIDDEN} == HIDDEN


async def test_a_router(upstream: Upstream, bucket: Bucket, router_of: Any) -> None:
    upstream(accepted())
    bucket.write(OUTPUT, completion())
    params = {"model": MODEL, "aws_sagemaker_async": True, **INPUT}
    router = router_of({"model_name": "long", "litellm_params": params})
    for response in (router.completion("long", MESSAGES), await router.acompletion("long", MESSAGES)):
        assert {name: response._hidden_params[name] for name in HIDDEN} == HIDDEN
    streamed = [chunk async for chunk in await router.acompletion("long", MESSAGES, stream=True)]
    assert {name: streamed[0]._hidden_params[name] for name in HIDDEN} == HIDDEN


@each("stream", [False, True])
async def test_a_router_does_not_queue_again_what_may_still_come(
    upstream: Upstream, bucket: Bucket, router_of: Any, no_waiting: None, clock: Any, stream: bool
) -> None:
    """By itself it tries twice more after a Timeout, as it does after SageMaker's 503."""

    def script(seen: Seen) -> Answer:
        clock[0] += 6000
        return json_answer({"message": "later"}, 503) if "busy" in seen.path else accepted()

    server = upstream(script)
    params = {"aws_sagemaker_async": True}
    router = router_of(
        {"model_name": "long", "litellm_params": {"model": MODEL, **params}},
        {"model_name": "busy", "litellm_params": {"model": "sagemaker_openai/busy", **params}},
    )
    with pytest.raises(litellm.Timeout, match="no result after 6000 seconds"):
        await router.acompletion("long", MESSAGES, stream=stream)
    assert len(server.seen) == 1
    server.seen.clear()
    with pytest.raises(litellm.ServiceUnavailableError):
        await router.acompletion("busy", MESSAGES, stream=stream)
    assert len(server.seen) == 3


# Credentials


async def test_s3_is_asked_with_the_calls_credentials(upstream: Upstream, s3_server: Callable[[Any], Scripted]) -> None:
    sagemaker = upstream(accepted())
    server = s3_server(lambda seen: json_answer(completion()) if seen.method == "GET" else Answer())
    await whole(
        True,
        messages=LONG,
        aws_access_key_id="AKIAMINE",
        aws_secret_access_key="secret",
        aws_session_token="session",
        aws_region_name="eu-central-1",
        **INPUT,
    )
    assert [seen.method for seen in server.seen] == ["PUT", "GET", "DELETE"]
    for seen, service in [(sagemaker.seen[0], "sagemaker"), *((each, "s3") for each in server.seen)]:
        scope = rf"Credential=AKIAMINE/\d{{8}}/eu-central-1/{service}/aws4_request"
        assert re.search(scope, seen.headers["authorization"])
        assert seen.headers["x-amz-security-token"] == "session"


def test_credentials_that_change_during_the_wait(s3_server: Callable[[Any], Scripted]) -> None:
    server = s3_server(xml_error(404, "NoSuchKey"))
    keys, now = iter(["AKIAFIRST", "AKIASECOND"]), [0.0]
    s3 = S3(CredentialSource(lambda: lambda: Credentials(next(keys), "secret"), lambda: now[0]), REGION)
    for _ in range(2):
        assert s3.get(S3Location(BUCKET, "key")).result(20) == Absent()
        now[0] += 60
    assert [re.findall("Credential=([A-Z]+)", seen.headers["authorization"]) for seen in server.seen] == [
        ["AKIAFIRST"],
        ["AKIASECOND"],
    ]


@each("is_async", [False, True])
async def test_credentials_that_are_missing_for_a_while(
    upstream: Upstream, s3_server: Callable[[Any], Scripted], is_async: bool
) -> None:
    server = upstream(accepted())
    s3_server(json_answer(completion()))
    found = iter([None, Credentials("AKIA", "secret")])
    s3 = S3(CredentialSource(lambda: lambda: next(found)), REGION)
    request = Request(f"{server.url}/", GivenToken("token"), {}, b"{}", stream=False, timeout=as_timeout(60))
    inference = QueuedInference(request, s3, 60.0)
    response = await inference.asend() if is_async else inference.send()
    assert response.json()["choices"]


def test_a_request_that_was_never_stored_is_not_removed(s3_server: Callable[[Any], Scripted]) -> None:
    server = s3_server(Answer())
    s3 = S3(CredentialSource(lambda: lambda: Credentials("AKIA", "secret")), REGION)
    never: Future[None] = Future()
    never.cancel()
    never.set_running_or_notify_cancel()
    s3.remove(S3Location(BUCKET, "key"), never).result(20)
    assert server.seen == []


@pytest.mark.slow(reason="forks a process that makes calls")
def test_a_forked_process_has_threads_and_connections_of_its_own(s3_server: Callable[[Any], Scripted]) -> None:
    server = s3_server(xml_error(404, "NoSuchKey"))
    code = (
        "import os, sys\n"
        "from botocore.credentials import Credentials\n"
        "from litellm_sagemaker_openai.operations.queued_inference.request import S3Location\n"
        "from litellm_sagemaker_openai.aws.credentials import CredentialSource\n"
        "from litellm_sagemaker_openai.aws.s3 import S3, Absent\n"
        "s3 = S3(CredentialSource(lambda: lambda: Credentials('AKIA', 'secret')), 'us-west-2')\n"
        "look = lambda: s3.get(S3Location('my-bucket', 'key')).result(20) == Absent()\n"
        "assert look()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if look() else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert look()\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
    assert len(server.seen) == 3
    assert server.connections == 2


# The runtime itself, asked by boto3


def boto3_client(runtime: Running, **credentials: str) -> Any:
    keys = {
        "aws_access_key_id": CREDENTIALS.access_key,
        "aws_secret_access_key": CREDENTIALS.secret_key,
        "aws_session_token": CREDENTIALS.session_token,
    }
    return boto3.client("sagemaker-runtime", endpoint_url=runtime.url, region_name=REGION, **{**keys, **credentials})


async def test_boto3_against_the_local_runtime(runtime: Running, bucket: Bucket) -> None:
    client = boto3_client(runtime)
    body = json.dumps({"messages": MESSAGES}).encode()
    bucket.write(f"s3://{BUCKET}/in", body)
    given: dict[str, Any]
    for given in ({"Body": body}, {"InputLocation": f"s3://{BUCKET}/in"}):
        answer = client.invoke_endpoint_async(EndpointName="my-async-endpoint", InferenceId="mine", **given)
        assert answer["InferenceId"] == "mine"
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
        await until(partial(bucket.has, answer["OutputLocation"]))
    missing = client.invoke_endpoint_async(EndpointName="my-async-endpoint", InputLocation=f"s3://{BUCKET}/nothing")
    await until(partial(bucket.has, missing["FailureLocation"]))
    for given, message in (
        ({}, "Exactly one of Body and InputLocation"),
        ({"Body": b"{}", "InputLocation": f"s3://{BUCKET}/in"}, "Exactly one of Body and InputLocation"),
        ({"Body": b"x" * (MAX_INLINE_BYTES + 1)}, "at most 128000 bytes"),
    ):
        with pytest.raises(client.exceptions.ValidationError, match=message):
            client.invoke_endpoint_async(EndpointName="my-async-endpoint", **given)
    with pytest.raises(client.exceptions.ValidationError, match="does not support this inference type"):
        client.invoke_endpoint(EndpointName="my-async-endpoint", Body=body)
    other = boto3_client(runtime, aws_secret_access_key="other")
    with pytest.raises(other.exceptions.ClientError, match="InvalidSignatureException"):
        other.invoke_endpoint_async(EndpointName="my-async-endpoint", Body=body)
