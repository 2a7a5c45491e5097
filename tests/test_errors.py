"""What an error answer means: each recorded body, each shape, and what stays out of the caller's message."""

from __future__ import annotations

import json
from typing import Any

import httpx
import litellm
import pytest
from fastapi.exceptions import RequestValidationError

from litellm_sagemaker_openai.context_limit import in_agents_words
from litellm_sagemaker_openai.errors import connection_error, is_transient, to_exception
from litellm_sagemaker_openai.formats.events import StreamFormatError
from litellm_sagemaker_openai.formats.whole_answer import parsed
from litellm_sagemaker_openai.operations.chat import ROUTE as CHAT
from litellm_sagemaker_openai.operator_log import warn_seldom
from litellm_sagemaker_openai.upstream_errors import (
    FailureKind,
    MalformedAnswer,
    UpstreamError,
    error_in,
    for_the_log,
    read_error,
    read_failure,
)
from tests.conftest import WIRE

VLLM_TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens in the messages"
NO_CAPACITY = json.loads(json.loads((WIRE / "sagemaker" / "no_capacity.json").read_text())["body"])["error"]["message"]


def refuse(status: int, body: Any) -> tuple[Exception, UpstreamError]:
    refusal = read_error(status, body if isinstance(body, bytes) else json.dumps(body).encode())
    return to_exception(refusal, model="my-endpoint", route=CHAT), refusal


def quoted(status: int, body: str, *, escaped: bool = False, kind: str = "client") -> dict[str, Any]:
    """A container's error as the front door quotes it."""
    inner = json.dumps(body)[1:-1] if escaped else body
    message = (
        f'Received {kind} error ({status}) from Kl6NPmsGIHdsibbMO7hO with message "{inner}". See '
        "https://us-west-2.console.aws.amazon.com/cloudwatch/home?region=us-west-2#logEventViewer:group=/aws/sagemaker"
        "/Endpoints/my-endpoint in account 123456789012 for more information."
    )
    return {"error": {"message": message, "type": "server_error", "code": "model_error"}}


RECORDED = {
    "sagemaker/endpoint_not_found.json": (litellm.NotFoundError, "Endpoint my-endpoint not found in this account"),
    "sagemaker/model_error_424.json": (litellm.ServiceUnavailableError, "the container answered 503: overloaded"),
    "sagemaker/no_capacity.json": (litellm.ServiceUnavailableError, "has no capacity to process this request"),
    "sagemaker/quoted_unreadable.json": (litellm.BadRequestError, "could not load the entire response body"),
    "sagemaker/quoted_vllm_max_tokens.json": (litellm.BadRequestError, "max_tokens=10000000 cannot be greater"),
    "sagemaker/timed_out_424.json": (litellm.Timeout, "a container has 60 seconds for a whole answer"),
    "llama.cpp/err_context.http": (litellm.ContextWindowExceededError, "exceeds the available context size"),
    "llama.cpp/err_json.http": (litellm.InternalServerError, "parse error at line 1"),
    "llama.cpp/err_nomsg.http": (litellm.BadRequestError, "'messages' is required"),
}


def test_every_recorded_error_is_covered() -> None:
    recorded = [*(WIRE / "sagemaker").glob("*.json"), *(WIRE / "llama.cpp").glob("err_*")]
    assert {str(file.relative_to(WIRE)) for file in recorded} == set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_errors(name: str) -> None:
    content = (WIRE / name).read_bytes()
    if name.endswith(".json"):
        recorded = json.loads(content)
        status, body = recorded["status"], recorded["body"].encode()
    else:
        head, _, body = content.partition(b"\r\n\r\n")
        status = int(head.split()[1])
    expected, says = RECORDED[name]
    error, _ = refuse(status, body)
    assert type(error) is expected
    assert says in str(error)
    assert "123456789012" not in str(error)
    assert "console.aws" not in str(error)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, litellm.BadRequestError),
        (401, litellm.AuthenticationError),
        (403, litellm.PermissionDeniedError),
        (404, litellm.NotFoundError),
        (408, litellm.Timeout),
        (409, litellm.BadRequestError),
        (413, litellm.BadRequestError),
        (422, litellm.UnprocessableEntityError),
        (424, litellm.BadRequestError),
        (429, litellm.RateLimitError),
        (500, litellm.InternalServerError),
        (502, litellm.BadGatewayError),
        (503, litellm.ServiceUnavailableError),
        (504, litellm.Timeout),
        (530, litellm.ServiceUnavailableError),
        (599, litellm.InternalServerError),
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
def test_a_status_is_the_same_error_from_either_writer(status: int, expected: type, escaped: bool) -> None:
    direct, _ = refuse(status, {"error": {"message": 'Say "when"'}})
    container = json.dumps({"error": {"message": 'Say "when"', "type": "X", "code": status}})
    kind = "client" if status < 500 else "server"
    through_front_door, refusal = refuse(424, quoted(status, container, escaped=escaped, kind=kind))
    assert type(direct) is type(through_front_door) is expected
    assert refusal.message == 'Say "when"'
    assert refusal.from_container
    assert refusal.status == status


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Rate exceeded"},
        {"__type": "ThrottlingException", "message": "slow down"},
        {"error": {"message": "Rate exceeded", "type": "ThrottlingException"}},
    ],
)
def test_throttling_is_no_mistake_although_aws_answers_400(body: dict[str, Any]) -> None:
    error, _ = refuse(400, body)
    assert type(error) is litellm.RateLimitError
    assert is_transient(error)


def test_a_container_that_says_the_same_is_believed_by_its_status() -> None:
    error, _ = refuse(400, quoted(400, json.dumps({"message": "Rate exceeded"})))
    assert type(error) is litellm.BadRequestError


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_error_of_the_way_there(status: int) -> None:
    error, _ = refuse(status, b"")
    assert type(error) is litellm.BadGatewayError
    assert "not followed" in str(error)


@pytest.mark.parametrize(
    "said",
    [
        VLLM_TOO_LONG,
        "The decoder prompt (length 21535) is longer than the maximum model length of 16384.",
        "You passed 9001 input tokens and requested 100 output tokens. However, the model's context length is only "
        "8192 tokens. Please reduce the length of the input prompt",
        "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        "Requested token count exceeds the model's maximum context length of 8192 tokens.",
        "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).",
        "request (9009 tokens) exceeds the available context size (2048 tokens), try increasing it",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 and 200",
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_does_not_fit(said: str, status: int) -> None:
    for body in (quoted(status, json.dumps({"error": {"message": said}})), {"error": said}, {"message": said}):
        error, _ = refuse(status, body)
        assert isinstance(error, litellm.ContextWindowExceededError)
        assert said in str(error)
        assert in_agents_words(said) in str(error)


def test_an_answer_longer_than_the_context_is_a_mistake_that_agents_can_mend() -> None:
    *_, body = (WIRE / "vllm" / "err_max_tokens.http").read_text().partition("\n\n")
    error, _ = refuse(400, quoted(400, body))
    assert type(error) is litellm.BadRequestError
    assert "input length and `max_tokens` exceed context limit: 0 + 10000000 > 4096" in str(error)


def test_no_capacity_passes_and_is_not_the_callers_mistake() -> None:
    error, refusal = refuse(400, {"error": {"message": NO_CAPACITY}})
    assert type(error) is litellm.ServiceUnavailableError
    assert refusal.failure is FailureKind.NO_CAPACITY


@pytest.mark.parametrize("escaped", [False, True])
def test_those_words_from_a_container_mean_nothing(escaped: bool) -> None:
    echoed = json.dumps({"error": {"message": NO_CAPACITY, "type": "BadRequestError"}})
    error, refusal = refuse(400, quoted(400, echoed, escaped=escaped))
    assert type(error) is litellm.BadRequestError
    assert refusal.failure is FailureKind.REFUSED
    error, refusal = refuse(400, quoted(400, NO_CAPACITY))
    assert type(error) is litellm.BadRequestError


@pytest.mark.parametrize("kind", ["no_capacity", "no capacity", "broken"])
def test_a_containers_type_is_no_verdict(kind: str) -> None:
    error, refusal = refuse(400, quoted(400, json.dumps({"error": {"message": "bad tool", "type": kind}})))
    assert type(error) is litellm.BadRequestError
    assert refusal.failure is FailureKind.REFUSED
    assert "the container answered 400: bad tool" in str(error)


def test_what_could_not_be_sent_is_not_quoted() -> None:
    error = connection_error(httpx.LocalProtocolError("Illegal header value b'Bearer SECRET'"), model="e")
    assert "SECRET" not in str(error)


def test_a_front_doors_refusal_names_the_two_permissions() -> None:
    for status in (401, 403):
        error, _ = refuse(status, {"error": {"message": "Forbidden"}})
        assert "sagemaker:CallWithBearerToken" in str(error)
        assert "sagemaker:InvokeEndpoint" in str(error)
    error, _ = refuse(424, quoted(401, json.dumps({"error": "Unauthorized"})))
    assert "IAM" not in str(error)
    assert "sagemaker:" not in str(error)  # a container with an API key of its own says so itself


@pytest.mark.parametrize(
    "body",
    [
        '{"detail":"Not Found"}',
        "<!doctype html><html><title>404 Not Found</title></html>",
        "404 page not found",
        "Not Found",
        "",
    ],
)
def test_a_container_without_the_route_names_the_other_route(body: str) -> None:
    error, _ = refuse(400, quoted(404, body))
    assert type(error) is litellm.NotFoundError
    assert "aws_sagemaker_chat_route='invocations'" in str(error)


def test_an_unknown_served_model_names_the_parameter() -> None:
    body = json.dumps({"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}})
    error, _ = refuse(400, quoted(404, body))
    assert "hf_model_name" in str(error)
    assert "aws_sagemaker_chat_route" not in str(error)


def test_what_is_the_operators_stays_out_of_the_message() -> None:
    said = 'bad value\nTraceback (most recent call last):\n  File "/opt/vllm/x.py", line 1, in f\nValueError: bad value'
    error, refusal = refuse(400, quoted(400, json.dumps({"error": {"message": said}})))
    assert str(error).endswith("400: bad value")
    assert "/opt/vllm" in refusal.operator_detail
    assert "123456789012" in refusal.operator_detail
    denied = "User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized in account 123456789012"
    error, refusal = refuse(403, {"Message": denied})
    assert "123456789012" not in str(error)
    assert refusal.operator_detail == denied
    error, _ = refuse(400, {"Message": "cannot pull 123456789012.dkr.ecr.us-west-2.amazonaws.com/vllm:latest"})
    assert str(error).endswith("cannot pull <account>.dkr.ecr.us-west-2.amazonaws.com/vllm:latest")


@pytest.mark.parametrize(
    "words",
    [
        "account {}",
        "Account ID: {}",
        "AccountId={}",
        "account_id {}",
        'accountId: "{}"',
        "account id is {}",
        "'account': '{}'",
    ],
)
def test_an_account_id_is_the_operators_however_it_is_named(words: str) -> None:
    error, refusal = refuse(400, {"Message": f"not in {words.format('123456789012')}, try another"})
    assert "123456789012" not in str(error)
    assert str(error).endswith("try another")
    assert "123456789012" in refusal.operator_detail


# What FastAPI makes of a request that it does not take (fastapi.exceptions, 0.162, ValidationException.__str__), and
# vLLM passes on: the file that it names is the operator's.
WHAT_IS_WRONG = "1 validation error:\n  {'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required'}"
FRAME = '\n\n  File "/usr/local/lib/python3.12/dist-packages/vllm/api_router.py", line 40, in create_chat_completion'
ROUTE = "\n    POST /v1/chat/completions"
CALLERS = '  File "mine.py", line 3, in <module>'


def test_fastapi_still_writes_it_so() -> None:
    context: Any = {"file": "/usr/x.py", "line": 40, "function": "f", "path": "POST /v1/chat/completions"}
    said = str(RequestValidationError([{"msg": "Field required"}], endpoint_ctx=context))
    assert said.endswith('\n\n  File "/usr/x.py", line 40, in f\n    POST /v1/chat/completions')
    assert refuse(400, {"error": {"message": said}})[1].message == "1 validation error:\n  {'msg': 'Field required'}"


@pytest.mark.parametrize(
    "after",
    [
        FRAME,
        FRAME + ROUTE,
        FRAME.replace("\n\n", "\n")
        + "\n    raise ValueError\n    ^^^^^^^^^"
        + FRAME[1:]
        + "\nValueError: /usr/local/lib",
        FRAME.replace("\n", "\r\n") + ROUTE,
        FRAME.replace("create_chat_completion", "Serving.create.<locals>.<lambda>"),
        "\n  + Exception Group Traceback (most recent call last):" + FRAME.replace("  File", "  |   File"),
    ],
)
@pytest.mark.parametrize("how", ["as it is", "as text", "quoted", "quoted and escaped", "quoted as text", "half JSON"])
def test_frames_of_a_traceback_are_the_operators(after: str, how: str) -> None:
    said = WHAT_IS_WRONG + after
    container = json.dumps({"error": {"message": said, "type": "Bad Request", "code": 400}})
    bodies: dict[str, Any] = {
        "as it is": container.encode(),
        "as text": said.encode(),
        "quoted": quoted(400, container),
        "quoted and escaped": quoted(400, container, escaped=True),
        "quoted as text": quoted(400, said),
        "half JSON": container[:-20].encode(),
    }
    error, refusal = refuse(400, bodies[how])
    assert "/usr/local/lib" not in str(error)
    assert "api_router" not in str(error)
    assert "/usr/local/lib" in refusal.operator_detail
    if how != "half JSON":
        assert refusal.message == WHAT_IS_WRONG
    else:
        assert "Field required" in refusal.message


@pytest.mark.parametrize(
    "callers",
    [
        f"Look:\n{CALLERS}\n    f()\nwhat is it?",
        f"{CALLERS}\n{CALLERS}",
        f"Look:\\n{CALLERS}\\n    f()\\n",
    ],
)
def test_a_callers_own_frames_take_no_explanation_along(callers: str) -> None:
    said = f"'{callers}' is no role: it must be user or assistant. {WHAT_IS_WRONG}"
    message = refuse(400, {"error": {"message": said + FRAME + ROUTE}})[1].message
    assert message.endswith(f"is no role: it must be user or assistant. {WHAT_IS_WRONG}")


@pytest.mark.parametrize(
    "said",
    [
        'row File "data.csv", line 3, in column x: not a number',
        "File data.csv, line 3, in x",
        'no:\n  File "data.csv", line 3: not a number',
        'no:\n  File "data.csv", line three, in x',
        'no:\nFile "data.csv", line 3, in x',
        'no:\n  File "data.csv, line 3, in x',
        "no:\n  Files",
        "C:\\new\\r",
    ],
)
def test_what_is_no_frame_stays(said: str) -> None:
    assert refuse(400, {"error": {"message": said}})[1].message == said


def test_an_answer_that_is_shown_is_cleaned_too() -> None:
    for error in (
        MalformedAnswer("what is not JSON: no" + FRAME),
        StreamFormatError(f"an event that is not JSON: {'no' + FRAME!r}"),
    ):
        assert "/usr/local" not in str(to_exception(error.upstream, model="e"))
        assert "/usr/local" in error.upstream.operator_detail


@pytest.mark.parametrize("length", range(100, 210, 7))
def test_half_a_frame_is_not_shown_either(length: int) -> None:
    with pytest.raises(MalformedAnswer) as raised:
        parsed(("x" * length + FRAME + ROUTE).encode())
    assert "/usr" not in str(to_exception(raised.value.upstream, model="e"))


def test_the_log_has_both_ends() -> None:
    body = quoted(400, json.dumps({"error": {"message": "x" * 100_000 + FRAME}}))
    logged = for_the_log(refuse(400, body)[1].operator_detail)
    assert logged.startswith("Received client error (400)")
    assert logged.endswith("in account 123456789012 for more information.")
    assert "create_chat_completion" in logged
    assert len(logged) < 4100


def test_what_stands_behind_a_megabyte_is_still_understood() -> None:
    for inner in ("x" * 1_000_000, json.dumps({"error": {"message": "x" * 1_000_000}})):
        error, refusal = refuse(400, quoted(422, inner))
        assert type(error) is litellm.UnprocessableEntityError
        assert refusal.message == "x" * 2000 + " … (1,000,000 characters)"


def test_halves_of_characters_are_not_passed_on() -> None:
    """A proxy's answer is UTF-8, which cannot say them."""
    error, _ = refuse(400, b'{"error": {"message": "no \\ud83d"}}')
    assert str(error).endswith("400: no ?")


@pytest.mark.parametrize("code", ["1e999", "-1e999", "NaN", "9" * 4000, '"x"', "[]", "{}"])
def test_a_code_that_is_no_status(code: str) -> None:
    body = b'{"error": {"message": "m", "code": %s}}' % code.encode()
    assert refuse(400, body)[1].status == 400
    assert read_failure(body).status == 500


def test_an_error_as_deep_as_python_reads() -> None:
    deep: Any = "m"
    for _ in range(5000):
        deep = {"error": deep}
    refusal = error_in(deep)
    assert refusal is not None
    assert len(refusal.message) < 300
    for depth in range(900, 1000):
        body = b'{"error":' * depth + b"1" + b"}" * depth
        assert refuse(400, body)[1].status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "m", "type": "t"}}, "m"),
        ({"object": "error", "message": "m", "type": "t", "code": 400}, "m"),
        ({"error": "m", "error_type": "t"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"loc": ["body"], "msg": "m"}]}, '[{"loc": ["body"], "msg": "m"}]'),
        ({"Message": "m"}, "m"),
        ({"message": "m", "__type": "t"}, "m"),
        ({}, "{}"),
        ([1], "[1]"),
        (b"plain", "plain"),
        (b"", "no message"),
        (b"<html><head><title>\n 502 Bad </title></head></html>", "an HTML page: 502 Bad"),
        (b"<html>", "an HTML page"),
        (b"<html><title>502 Bad", "an HTML page"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 2000 + " … (100,000 characters)"),
    ],
)
def test_every_shape_of_an_error(body: Any, message: str) -> None:
    assert refuse(400, body)[1].message == message


@pytest.mark.parametrize(
    "body", [{"choices": []}, {"error": None, "choices": []}, {"error": {}, "x": 1}, {"error": ""}]
)
def test_what_is_no_error_event(body: dict[str, Any]) -> None:
    assert error_in(body) is None


def test_headers_reach_the_exception() -> None:
    headers = {"Retry-After": "7", "x-amzn-requestid": "r", "content-encoding": "gzip"}
    error: Any = to_exception(UpstreamError(429, "slow down"), model="e", headers=headers, url="https://h/p")
    assert error.response.headers["retry-after"] == "7"
    assert error.litellm_response_headers["x-amzn-requestid"] == "r"
    not_found: Any = to_exception(UpstreamError(404, "gone"), model="e", headers=headers, url="https://h/p")
    assert not_found.response.request.url == "https://h/p"
    assert "authorization" not in not_found.response.request.headers


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (httpx.ConnectError("refused"), litellm.ServiceUnavailableError, litellm.APIConnectionError),
        (httpx.ProxyError("no"), litellm.ServiceUnavailableError, litellm.APIConnectionError),
        (httpx.ReadError(""), litellm.ServiceUnavailableError, litellm.APIConnectionError),
        (httpx.RemoteProtocolError("garbage"), litellm.ServiceUnavailableError, litellm.APIConnectionError),
        (httpx.DecodingError("not gzip"), litellm.ServiceUnavailableError, litellm.APIConnectionError),
        (httpx.ConnectTimeout(""), litellm.Timeout, litellm.Timeout),
        (httpx.ReadTimeout("slow"), litellm.Timeout, litellm.Timeout),
        (httpx.PoolTimeout(""), litellm.Timeout, litellm.Timeout),
    ],
)
def test_connection_failures(error: httpx.HTTPError, before: type, after: type) -> None:
    """The Router cools a deployment down for a ServiceUnavailableError, and not for an APIConnectionError."""
    assert type(connection_error(error, model="e")) is before
    assert type(connection_error(error, model="e", begun=True)) is after


TIME_IS_UP = "Your invocation timed out while waiting for a response from container primary. Review the latency metrics"
STREAM_TIME_IS_UP = "Your model primary did not complete sending the inference response in the allotted time."
IN_TIME: dict[str, tuple[int, Any]] = {
    "quoted, without a status": (424, quoted(0, TIME_IS_UP, kind="server")),
    "quoted in another status": (503, quoted(0, TIME_IS_UP, kind="server")),
    "ModelError": (424, {"Message": "…", "OriginalStatusCode": 0, "OriginalMessage": TIME_IS_UP}),
    "the front door's own words": (503, {"error": {"message": TIME_IS_UP, "code": "model_error"}}),
    "a stream's, in the SDK's form": (400, {"Message": STREAM_TIME_IS_UP}),
}


@pytest.mark.parametrize("form", IN_TIME)
def test_sagemakers_limit_is_a_timeout_that_says_what_to_do(form: str) -> None:
    error, upstream = refuse(*IN_TIME[form])
    assert type(error) is litellm.Timeout
    assert upstream.failure is FailureKind.TIMED_OUT
    for said in ("60 seconds", "8 minutes", "Stream the answer", "asynchronous inference", "SageMaker says: Your "):
        assert said in str(error)
    assert not is_transient(error)  # the same request would take as long again


# A container, or a caller whose words it repeats, says the same.
@pytest.mark.parametrize("words", [TIME_IS_UP, STREAM_TIME_IS_UP])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, lambda words: quoted(400, words)),
        (400, lambda words: quoted(400, json.dumps({"error": {"message": words, "code": 0}}))),
        (400, lambda words: quoted(400, f'Received server error (0) from primary with message "{words}"')),
        (424, lambda words: {"OriginalStatusCode": 400, "OriginalMessage": words}),
        (424, lambda words: {"OriginalStatusCode": 302, "OriginalMessage": words}),
        (424, lambda words: {"OriginalMessage": words}),
        (424, lambda words: {"OriginalMessage": json.dumps({"OriginalStatusCode": 0, "OriginalMessage": words})}),
    ],
)
def test_a_containers_words_are_not_sagemakers_limit(status: int, body: Any, words: str) -> None:
    error, upstream = refuse(status, body(words))
    assert type(error) is not litellm.Timeout
    assert upstream.from_container
    assert upstream.failure is FailureKind.REFUSED


def test_a_warning_is_one_short_line_whatever_a_client_calls_its_model(caplog: pytest.LogCaptureFixture) -> None:
    """LiteLLM looks through what is logged for secrets, which takes seconds for a megabyte."""
    name = f"sagemaker/x\n12:00:00 - LiteLLM:ERROR: made up \x1b[2J{'y' * 1_000_000}"
    with caplog.at_level("WARNING", "LiteLLM"):
        for end in "ab":
            warn_seldom(f"a request for {name}{end} was refused", "no\nmore")
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert record.getMessage().endswith("y: no more")
    assert len(record.getMessage()) < 1000
