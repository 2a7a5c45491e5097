"""InvokeEndpointAsync's options, headers and locations: compared with botocore's model, and with what S3 allows."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any

import botocore.loaders
import pytest
from botocore.model import ServiceModel

from litellm_sagemaker_openai.aws.s3_location import S3Location, object_under, parse_location, parse_prefix
from litellm_sagemaker_openai.formats.invocation_headers import Text
from litellm_sagemaker_openai.operations.queued_inference.request import (
    MAX_INLINE_BYTES,
    MEMBERS,
    Accepted,
    QueueOptions,
    Seconds,
    hidden_params,
    intervals,
    is_own,
    may_take_requests,
    no_result_yet,
    queue_headers,
    read_accepted,
    result_headers,
    set_apart,
)
from litellm_sagemaker_openai.settings import sort_settings
from litellm_sagemaker_openai.upstream_errors import AnswerError, UpstreamError, read_failure

each = pytest.mark.parametrize
OPERATION: Any = ServiceModel(
    botocore.loaders.Loader().load_service_model("sagemaker-runtime", "service-2")
).operation_model("InvokeEndpointAsync")
INPUT = OPERATION.input_shape.members
# What follows `aws_sagemaker_async_` → botocore's name for it.
NAMES = {
    "output_extension": "S3OutputPathExtension",
    "filename": "Filename",
    "inference_id": "InferenceId",
    "request_ttl": "RequestTTLSeconds",
    "invocation_timeout": "InvocationTimeoutSeconds",
}


def sorted_with(**options: Any) -> QueueOptions:
    found = sort_settings({"aws_sagemaker_async": True, **options}, {}).queue
    assert found is not None
    return found


# botocore's model


def test_each_member_has_an_option() -> None:
    others = {"EndpointName", "ContentType", "Accept", "CustomAttributes", "InputLocation", "Body"}
    assert set(NAMES) == set(MEMBERS)
    assert set(NAMES.values()) | others == set(INPUT)
    assert INPUT["Body"].metadata["max"] == MAX_INLINE_BYTES
    for name, member in MEMBERS.items():
        assert member.header == INPUT[NAMES[name]].serialization["name"].lower()


@each("name", [name for name, member in MEMBERS.items() if isinstance(member, Seconds)])
def test_limits_of_seconds(name: str) -> None:
    member, limits = MEMBERS[name], INPUT[NAMES[name]].metadata
    assert isinstance(member, Seconds)
    assert (member.least, member.most) == (limits["min"], limits["max"])
    option = f"aws_sagemaker_async_{name}"
    fits: list[Any] = [member.least, member.most, str(member.least)]
    for seconds in fits:
        assert sorted_with(**{option: seconds}).headers == {member.header: str(seconds)}
    fits_not: list[Any] = [member.least - 1, member.most + 1, "0", member.least + 0.5, True, "soon"]
    for seconds in fits_not:
        with pytest.raises(ValueError, match=rf"^{option}.* not "):
            sorted_with(**{option: seconds})


SAMPLES = [
    *"aZ09!_.*'()/- :é\n\x7f",
    "a.b",
    "a.b.c",
    ".a",
    "-a",
    "_a",
    "a b",
    " a",
    "a/b",
    "s3:",
    "s3:a",
    "https:a",
    "s3",
    "https",
    *("a" * length for length in (31, 32, 33, 63, 64, 65, 511, 512, 513)),
]


@each("name", [name for name, member in MEMBERS.items() if isinstance(member, Text)])
def test_patterns_of_text(name: str) -> None:
    """What SageMaker takes is taken, and nothing else; but for white space at the end, which HTTP would cut off."""
    member, shape = MEMBERS[name], INPUT[NAMES[name]]
    assert isinstance(member, Text)
    # Java's: \p{Print} is printable ASCII.
    pattern = shape.metadata["pattern"].replace("[\\p{Print}]", "[ -~]").replace(r"\S", "[!-~]").replace("\\z", "\\Z")
    for text in SAMPLES:
        fits = shape.metadata["min"] <= len(text) <= shape.metadata["max"] and re.search(pattern, text) is not None
        fits = fits and not text.endswith(("\n", " "))
        assert (member.pattern.fullmatch(text) is not None) == fits, text
        option = {f"aws_sagemaker_async_{name}": text}
        if fits:
            assert sorted_with(**option).headers == {member.header: text}
        else:
            with pytest.raises(ValueError, match=rf"^aws_sagemaker_async_{name}: SageMaker takes "):
                sorted_with(**option)


# The options


def test_options_from_yaml_and_the_environment() -> None:
    given = {
        "aws_sagemaker_async": "True",
        "aws_sagemaker_async_input": "s3://bucket/some/prefix/",
        "aws_sagemaker_async_request_ttl": "3600",
        "aws_sagemaker_async_filename": "answer.json",
        "aws_sagemaker_async_inference_id": None,
        "temperature": 1,
    }
    settings = sort_settings(given, {})
    assert settings.body == {"temperature": 1}
    assert settings.queue == QueueOptions(
        {"x-amzn-sagemaker-filename": "answer.json", "x-amzn-sagemaker-requestttlseconds": "3600"},
        S3Location("bucket", "some/prefix"),
    )
    assert sort_settings({}, {}).queue is None
    assert sort_settings({"aws_sagemaker_async": False}, {}).queue is None


@each(
    ("options", "message"),
    [
        ({"aws_sagemaker_async_input": "s3://bucket"}, "give aws_sagemaker_async=True with them"),
        ({"aws_sagemaker_async": False, "aws_sagemaker_async_filename": "a"}, "give aws_sagemaker_async=True with"),
        ({"aws_sagemaker_async": "maybe"}, "aws_sagemaker_async must be true or false"),
        ({"aws_sagemaker_async_ttl": 60}, "unknown option aws_sagemaker_async_ttl; did you mean aws_sagemaker_async"),
        ({"aws_sagemaker_asynch": True}, "did you mean aws_sagemaker_async?"),
        (
            {"aws_sagemaker_async": True, "aws_sagemaker_async_filename": 1},
            "aws_sagemaker_async_filename must be a str",
        ),
        ({"aws_sagemaker_async": True, "aws_sagemaker_cold_start_timeout": 9}, "has no meaning with aws_sagemaker_asy"),
        *(
            ({"aws_sagemaker_async": True, "aws_sagemaker_async_input": given}, "write s3://<bucket>/<prefix>, not")
            for given in (
                "bucket/prefix",
                "https://b.s3.amazonaws.com/",
                "s3://B",
                "s3://b b/c",
                "s3:///",
                "s3://bucket/é",
            )
        ),
        ({"aws_sagemaker_async": True, "aws_sagemaker_async_input": f"s3://bucket/{'a' * 960}"}, "write s3://<bucket>"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        sort_settings(options, {})


# Locations


@each(
    ("text", "bucket", "key"),
    [
        ("s3://bucket/key", "bucket", "key"),
        ("s3://my.bucket-1/a/b c%20d.out", "my.bucket-1", "a/b c%20d.out"),
        ("https://bucket.s3.us-west-2.amazonaws.com/a/b%20c.out", "bucket", "a/b c.out"),
        ("https://bucket.s3.amazonaws.com/a", "bucket", "a"),
        ("https://bucket.s3.dualstack.us-west-2.amazonaws.com/a", "bucket", "a"),
        ("https://bucket.s3-fips.us-gov-west-1.amazonaws.com/a", "bucket", "a"),
        ("https://s3.cn-north-1.amazonaws.com.cn/bucket/a/b", "bucket", "a/b"),
        ("https://s3-us-west-2.amazonaws.com/bucket/a", "bucket", "a"),
        ("https://s3.amazonaws.com/s3.bucket/a", "s3.bucket", "a"),
    ],
)
def test_locations(text: str, bucket: str, key: str) -> None:
    location = parse_location(text)
    assert location == S3Location(bucket, key)
    assert parse_location(str(location)) == location


@each(
    "text",
    [
        "",
        "key",
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "S3://bucket/key",
        "s3://Bucket/key",
        "s3://b/key",
        "s3://bucket../key",
        "s3://user@bucket/key",
        "s3://bucket:80/key",
        "s3://bucket/a\nb",
        " s3://bucket/key",
        "file:///etc/passwd",
        "http://bucket.s3.amazonaws.com/key",
        "https://bucket.example.com/key",
        "https://bucket.s3.amazonaws.com.example.com/key",
        "https://bucket.s3.amazonaws.com:8443/key",
        "https://user@s3.amazonaws.com/bucket/key",
        "https://s3.amazonaws.com/bucket",
        "https://bucket.s3.amazonaws.com/",
        "https://bucket.s3.amazonaws.com/a%0Ab",
        "https://169.254.169.254/bucket/key",
        f"s3://bucket/{'a' * 1024}",
    ],
)
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(ValueError, match="is not an object in S3; write s3://<bucket>/<key>"):
        parse_location(text)


def test_objects_under_a_prefix() -> None:
    assert str(object_under(parse_prefix("s3://bucket"), "name")) == "s3://bucket/name"
    assert str(object_under(parse_prefix("s3://bucket//a/b/"), "name")) == "s3://bucket/a/b/name"


# The wire


def test_headers() -> None:
    chat = {"accept": "application/json", "content-type": "application/json", "user-agent": "us", "x-mine": "1"}
    options = sorted_with(aws_sagemaker_async_filename="a.out", aws_sagemaker_async_inference_id="id 1")
    assert queue_headers(chat, options) == {
        "user-agent": "us",
        "x-mine": "1",
        "content-type": "application/octet-stream",
        "x-amzn-sagemaker-content-type": "application/json",
        "x-amzn-sagemaker-accept": "application/json",
        "x-amzn-sagemaker-filename": "a.out",
        "x-amzn-sagemaker-inference-id": "id 1",
    }
    stored = queue_headers(chat, QueueOptions({}), S3Location("bucket", "key"))
    assert stored["x-amzn-sagemaker-inputlocation"] == "s3://bucket/key"
    for name in ("x-amzn-sagemaker-inputlocation", "x-amzn-sagemaker-filename"):
        with pytest.raises(ValueError, match=f"extra_headers must not set {name}; give the aws_sagemaker_async_"):
            queue_headers({**chat, name: "x"}, QueueOptions({}))


# Whose result it is


@each(
    ("given", "extension"),
    [
        ({"filename": "a"}, "PART"),
        ({"inference_id": "a"}, "PART"),
        ({"filename": "a", "output_extension": "b/c"}, "b/c/PART"),
        ({"filename": "a", "output_extension": "b/"}, "b/PART"),
        ({"filename": "a", "output_extension": "/"}, "PART"),
        ({"filename": "a", "output_extension": "b" * 507}, "b" * 507 + "/PART"),
    ],
)
def test_names_that_have_a_part_of_the_calls_own(given: dict[str, str], extension: str) -> None:
    options = set_apart(sorted_with(**{f"aws_sagemaker_async_{name}": text for name, text in given.items()}), "PART")
    assert options.headers["x-amzn-sagemaker-s3outputpathextension"] == extension
    assert all(options.headers[MEMBERS[name].header] == text for name, text in given.items() if text == "a")
    assert is_own(S3Location("bucket", f"out/{extension}/a"), options)
    assert not is_own(S3Location("bucket", "out/a"), options)


def test_names_that_sagemaker_gives() -> None:
    for options in (sorted_with(), sorted_with(aws_sagemaker_async_output_extension="a" * 512)):
        assert set_apart(options, "PART") == options
        assert is_own(S3Location("bucket", "out/1.out"), options)


def test_a_path_that_is_too_long() -> None:
    given = {"aws_sagemaker_async_filename": "a", "aws_sagemaker_async_output_extension": "b" * 508}
    with pytest.raises(ValueError, match="aws_sagemaker_async_output_extension must have at most 507 characters"):
        set_apart(sorted_with(**given), "PART")


@each(
    ("status", "body", "may"),
    [
        (202, "{}", True),
        (400, '{"message": "Exactly one of Body and InputLocation must be provided."}', True),
        (400, '{"message": "1 validation error detected: Value null at \'inputLocation\'"}', True),
        (400, "", True),
        (400, '{"message": "Endpoint e of account 123456789012 not found."}', False),
        (400, '{"message": "Endpoint e does not support this inference type."}', False),
        (302, "", False),
        (403, '{"message": "no"}', False),
        (404, "", False),
        (429, "", False),
        (500, "", False),
        (503, "", False),
    ],
)
def test_endpoints_that_may_take_requests(status: int, body: str, may: bool) -> None:
    assert may_take_requests(status, body.encode()) == may


ACCEPTED = {
    "x-amzn-sagemaker-outputlocation": "s3://bucket/out/1.out",
    "x-amzn-sagemaker-failurelocation": "s3://bucket/failures/1-error.out",
    "x-amzn-requestid": "request-1",
    "content-length": "22",
    "content-type": "application/x-amz-json-1.1",
}
BODY = b'{"InferenceId":"id-1"}'


def test_what_sagemaker_accepted() -> None:
    accepted = read_accepted(ACCEPTED, BODY)
    assert accepted == Accepted("id-1", S3Location("bucket", "out/1.out"), S3Location("bucket", "failures/1-error.out"))
    headers = result_headers(ACCEPTED, accepted)
    assert headers["content-type"] == "application/json"
    assert headers["x-amzn-requestid"] == "request-1"
    assert "content-length" not in headers
    assert hidden_params(headers) == {
        "sagemaker_inference_id": "id-1",
        "sagemaker_output_location": "s3://bucket/out/1.out",
        "sagemaker_failure_location": "s3://bucket/failures/1-error.out",
    }
    assert hidden_params({"x-amzn-requestid": "request-1"}) == {}


def test_an_endpoint_without_a_failure_path() -> None:
    headers = {name: value for name, value in ACCEPTED.items() if "failure" not in name}
    accepted = read_accepted(headers, b"")
    assert accepted == Accepted("", S3Location("bucket", "out/1.out"), None)
    assert hidden_params(result_headers(headers, accepted))["sagemaker_failure_location"] is None


@each(
    "changed",
    [
        {"x-amzn-sagemaker-outputlocation": ""},
        {"x-amzn-sagemaker-outputlocation": "https://example.com/bucket/key"},
        {"x-amzn-sagemaker-failurelocation": "file:///etc/passwd"},
    ],
)
def test_locations_of_somebody_elses(changed: dict[str, str]) -> None:
    with pytest.raises(AnswerError, match="did not say where in S3 its result will be") as raised:
        read_accepted({**ACCEPTED, **changed}, BODY)
    assert raised.value.upstream.status == 502
    assert raised.value.headers["x-amzn-requestid"] == "request-1"


def test_intervals() -> None:
    waits = list(islice(intervals(), 100))
    assert waits[0] == 0.5
    assert waits == sorted(waits)
    assert waits[-1] == 10.0
    assert sum(waits[:8]) < 30


def test_a_result_that_did_not_come() -> None:
    accepted = read_accepted(ACCEPTED, BODY)
    refusal = no_result_yet(accepted, 600.0, None, "", ACCEPTED).upstream
    assert refusal.status == 408
    assert refusal.message == (
        "no result after 600 seconds (timeout). SageMaker goes on with inference 'id-1'; get it later with "
        "fetch_async_result('s3://bucket/out/1.out', failure_location='s3://bucket/failures/1-error.out')"
    )
    stored = no_result_yet(accepted, 1.5, S3Location("bucket", "in"), "S3 said no", ACCEPTED).upstream.message
    assert stored.endswith(
        ". The request stays at s3://bucket/in, since the container may not have read it yet. S3 said no"
    )
    traceless = no_result_yet(Accepted("id", accepted.output, None), 1, None, "", {}).upstream.message
    assert traceless.endswith("The endpoint has no S3FailurePath, so a failure leaves no trace in S3")


# Failures


@each(
    ("payload", "refusal"),
    [
        (
            '{"error": {"message": "too long", "type": "BadRequestError", "code": 400}}',
            UpstreamError(400, "too long", "BadRequestError", from_container=True),
        ),
        ('{"code": 503, "type": "E", "message": "m"}', UpstreamError(503, "m", "E", from_container=True)),
        ('{"error": "out of memory"}', UpstreamError(500, "out of memory", from_container=True)),
        ('{"detail": "Not Found"}', UpstreamError(500, "Not Found", from_container=True)),
        (
            "<html><title>502 Bad Gateway</title>",
            UpstreamError(500, "an HTML page: 502 Bad Gateway", from_container=True),
        ),
        ("Internal Server Error", UpstreamError(500, "Internal Server Error")),
        ("", UpstreamError(500, "no message")),
        ("[1]", UpstreamError(500, "[1]")),
        (
            "ClientError: Received server error (503) from model. See the SageMaker Endpoint logs in your account.",
            UpstreamError(
                503,
                "Received server error (503) from model. See the SageMaker Endpoint logs in your account.",
                from_container=True,
            ),
        ),
        (
            'Received server error (0) from primary with message "Your invocation timed out while waiting."',
            UpstreamError(504, "Your invocation timed out while waiting.", from_container=True),
        ),
        (
            'ModelError: Received client error (429) from primary with message "{"error": {"message": "busy"}}".',
            UpstreamError(429, "busy", from_container=True),
        ),
    ],
)
def test_failures(payload: str, refusal: UpstreamError) -> None:
    read = read_failure(payload.encode())
    assert (read.status, read.message, read.error_type, read.from_container) == (
        refusal.status,
        refusal.message,
        refusal.error_type,
        refusal.from_container,
    )


def test_a_failure_that_is_no_text() -> None:
    assert read_failure(b"\xff\xfe").status == 500


def test_the_operators_part_of_a_failure() -> None:
    said = (
        'Received server error (500) from primary with message "boom". See https://us-west-2.console.aws.amazon.com/x '
        "in account 123456789012 for more information."
    )
    refusal = read_failure(said.encode())
    assert refusal.message == "boom"
    assert "123456789012" in refusal.operator_detail


@pytest.mark.parametrize("given", ["x" * 65, "é", "a\nb", " ", "", 7, ["x"], {}, None])
def test_an_inference_id_that_could_be_no_header(given: Any) -> None:
    """It becomes a header of the answer, and the caller may look for it in a log."""
    headers = {"x-amzn-sagemaker-outputlocation": "s3://bucket/key"}
    assert read_accepted(headers, json.dumps({"InferenceId": given}).encode()).inference_id == ""
