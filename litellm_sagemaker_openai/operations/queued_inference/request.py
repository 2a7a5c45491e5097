"""SageMaker's ``InvokeEndpointAsync``: what it is asked with, what it answers, how long to wait for the result. Pure.

Limits and patterns are those of botocore 1.44.5, service model sagemaker-runtime 2017-05-13;
tests/operations/test_queued_request.py compares each with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from litellm_sagemaker_openai.aws.s3_location import S3Location, parse_location
from litellm_sagemaker_openai.formats.invocation_headers import INFERENCE_ID, Text
from litellm_sagemaker_openai.upstream_errors import AnswerError, FailureKind, UpstreamError, is_other_kind, read_error

ROUTE = "async-invocations"

# Shape AsyncBodyBlob, max. A larger request is stored in S3 first, where it may have up to 1 GB:
# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
MAX_INLINE_BYTES = 128_000
MAX_INPUT_BYTES = 1_000_000_000

_FIRST_INTERVAL = 0.5  # seconds
_LONGEST_INTERVAL = 10.0
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Seconds:
    """A member of InvokeEndpointAsync that is a number of seconds: its header, the least and the most."""

    header: str
    least: int
    most: int

    def checked(self, value: int) -> str:
        """The header's value.

        Raises:
            ValueError: SageMaker would refuse it.
        """
        if not self.least <= value <= self.most:
            raise ValueError(f"SageMaker takes {self.least} to {self.most} seconds, not {value}")
        return str(value)


# What follows `aws_sagemaker_async_` in an option's name → what it becomes.
MEMBERS: Mapping[str, Text | Seconds] = {
    "output_extension": Text(
        "x-amzn-sagemaker-s3outputpathextension",
        re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]{1,512}"),
        "letters, digits and !_.*'()/-, at most 512 characters",
    ),
    "filename": Text(
        "x-amzn-sagemaker-filename",
        re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}"),
        "letters, digits and _-, at most one dot, a letter or digit first, at most 32 characters",
    ),
    "inference_id": INFERENCE_ID,
    "request_ttl": Seconds("x-amzn-sagemaker-requestttlseconds", 60, 21_600),
    "invocation_timeout": Seconds("x-amzn-sagemaker-invocationtimeoutseconds", 1, 3_600),
}
_INPUT_HEADER = "x-amzn-sagemaker-inputlocation"
_OUTPUT_HEADER = "x-amzn-sagemaker-outputlocation"
_FAILURE_HEADER = "x-amzn-sagemaker-failurelocation"
_ID_HEADER = INFERENCE_ID.header
_OWN_HEADERS = {_INPUT_HEADER, *(member.header for member in MEMBERS.values())}
_EXTENSION_HEADER = MEMBERS["output_extension"].header
_EXTENSION_MAX_LENGTH = 512
# What names the result. "If not specified, Amazon SageMaker AI generates a filename based on the inference ID", and of
# that: "will generate an identifier for you if none is specified" (botocore's model).
_NAMING_HEADERS = (MEMBERS["filename"].header, _ID_HEADER)
# Version 4, which is random. One that is made of a name is of version 3 or 5.
_RANDOM_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """What a call asks of InvokeEndpointAsync: the headers of its options, and where large requests are stored.

    ``part`` is in its result's path and in no other call's; None where SageMaker names the result.
    """

    headers: Mapping[str, str]
    input_prefix: S3Location | None = None
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that SageMaker has taken. ``failure`` is None where the endpoint has no ``S3FailurePath``."""

    inference_id: str
    output: S3Location
    failure: S3Location | None


class NoResultYet(AnswerError):
    """The call's time is over, and the result is not there. It may still come."""


def set_apart(options: QueueOptions, part: str) -> QueueOptions:
    """The options, with a part of the call's own in the result's path where the caller has a say in its name.

    Args:
        options: the call's.
        part: what no other call has.

    Raises:
        ValueError: it does not fit beside the caller's ``output_extension``.
    """
    if not any(header in options.headers for header in _NAMING_HEADERS):
        return options
    given = options.headers.get(_EXTENSION_HEADER, "").rstrip("/")
    extension = f"{given}/{part}" if given else part
    if len(extension) > _EXTENSION_MAX_LENGTH:
        raise ValueError(
            f"aws_sagemaker_async_output_extension must have at most {_EXTENSION_MAX_LENGTH - len(part) - 1} "
            "characters with aws_sagemaker_async_filename or aws_sagemaker_async_inference_id, which have a part of "
            "the call's own put after it"
        )
    return replace(options, headers={**options.headers, _EXTENSION_HEADER: extension}, part=part)


def is_own(location: S3Location, options: QueueOptions) -> bool:
    """Whether only the call with these options can have an object there.

    It can where SageMaker names its objects; where its own part is in the path; and where the object's name has a
    random UUID that the caller did not give, as SageMaker's failures have.
    """
    if options.part is None or options.part in location.key:
        return True
    given = " ".join(options.headers[name] for name in _NAMING_HEADERS if name in options.headers).lower()
    name = location.key.rpartition("/")[2].lower()
    return any(found not in given for found in _RANDOM_UUID.findall(name))


def may_take_requests(status: int, body: bytes) -> bool:
    """Whether an endpoint may take a request, by what SageMaker answered to one that has neither body nor input.

    That is refused in any case: which of its mistakes it is refused for first is documented nowhere.
    """
    if 200 <= status < 300:
        return True
    upstream = read_error(status, body)
    return upstream.status == 400 and not is_other_kind(upstream)


def queue_headers(
    headers: Mapping[str, str], options: QueueOptions, stored: S3Location | None = None
) -> dict[str, str]:
    """The headers of the request, from those that a request to the chat route would have.

    ``Content-Type`` and ``Accept`` have names of their own here, and what HTTP calls so is that of any blob: Smithy's
    restJson1 has it so, and LiteLLM's asynchronous client would add it (aiohttp does, where there is none). botocore
    sends none.

    Args:
        headers: of the chat route.
        options: the call's.
        stored: where the request is, if it is not the body.

    Raises:
        ValueError: a header of the caller's that an option stands for.
    """
    for name in headers:
        if name in _OWN_HEADERS:
            raise ValueError(f"extra_headers must not set {name}; give the aws_sagemaker_async_* option for it")
    renamed = {f"x-amzn-sagemaker-{name}": headers[name] for name in ("content-type", "accept")}
    kept = {**headers, "content-type": "application/octet-stream"}
    del kept["accept"]
    return {**kept, **renamed, **options.headers, **({_INPUT_HEADER: str(stored)} if stored else {})}


def read_accepted(headers: Mapping[str, str], body: bytes) -> Accepted:
    """What SageMaker says of a request that it has taken.

    Raises:
        AnswerError: it does not say where the result will be, or names something that is not an object in S3.
    """
    try:
        failure = headers.get(_FAILURE_HEADER)
        return Accepted(
            inference_id=_inference_id(body),
            output=parse_location(headers.get(_OUTPUT_HEADER, "")),
            failure=parse_location(failure) if failure else None,
        )
    except ValueError as error:
        message = f"SageMaker took the request and did not say where in S3 its result will be: {error}"
        raise AnswerError(UpstreamError(502, message, failure=FailureKind.BROKEN), headers) from error


def result_headers(headers: Mapping[str, str], accepted: Accepted) -> dict[str, str]:
    """The headers of the answer to the call: those of SageMaker's, with the id that stands in its body."""
    about_the_body = ("content-type", "content-length", "content-encoding", "transfer-encoding")
    kept = {name: value for name, value in headers.items() if name.lower() not in about_the_body}
    return {**kept, _ID_HEADER: accepted.inference_id, "content-type": "application/json"}


def hidden_params(headers: Mapping[str, str]) -> dict[str, Any]:
    """What a response's ``_hidden_params`` have besides LiteLLM's own, from ``result_headers``; else nothing."""
    if _OUTPUT_HEADER not in headers:
        return {}
    return {
        "sagemaker_inference_id": headers.get(_ID_HEADER),
        "sagemaker_output_location": headers[_OUTPUT_HEADER],
        "sagemaker_failure_location": headers.get(_FAILURE_HEADER),
    }


def intervals() -> Iterator[float]:
    """The seconds to wait before each look for the result: short at first, up to 10 s later."""
    interval = _FIRST_INTERVAL
    while True:
        yield interval
        interval = min(interval * _GROWTH, _LONGEST_INTERVAL)


def no_result_yet(
    accepted: Accepted, seconds: float, stored: S3Location | None, trouble: str, headers: Mapping[str, str]
) -> NoResultYet:
    """The error for a result that did not come in time, with all that is needed to get it later.

    Args:
        accepted: what SageMaker said of the request.
        seconds: how long was waited.
        stored: where the request was stored, if it was: it stays there.
        trouble: why the last look at S3 could not tell whether the result is there; empty where it could.
        headers: of the answer.
    """
    failure = f", failure_location={str(accepted.failure)!r}" if accepted.failure else ""
    said = [
        f"no result after {seconds:g} seconds (timeout). SageMaker goes on with inference {accepted.inference_id!r}; "
        f"get it later with fetch_async_result({str(accepted.output)!r}{failure})"
    ]
    if accepted.failure is None:
        said.append("The endpoint has no S3FailurePath, so a failure leaves no trace in S3")
    if stored is not None:
        said.append(f"The request stays at {stored}, since the container may not have read it yet")
    if trouble:
        said.append(trouble)
    return NoResultYet(UpstreamError(408, ". ".join(said), failure=FailureKind.PENDING), headers)


def another_result(accepted: Accepted) -> UpstreamError:
    """For a request whose result SageMaker leaves where those of others may be."""
    return UpstreamError(
        400,
        f"SageMaker queued the request and leaves its result at {accepted.output}, where there may be another's "
        "result. Leave out aws_sagemaker_async_filename and aws_sagemaker_async_inference_id, so that SageMaker names "
        "it: it has not put this call's own part into the path, as S3OutputPathExtension asks",
        failure=FailureKind.BROKEN,
    )


def another_failure(accepted: Accepted) -> UpstreamError:
    """For an object where this call's failure would be, and those of others may be."""
    return UpstreamError(
        400,
        f"there is an object at {accepted.failure}, and another call's failure may be there: its name has neither "
        "this call's own part nor a random one of SageMaker's. Leave out aws_sagemaker_async_filename and "
        "aws_sagemaker_async_inference_id, so that SageMaker names it. If the inference did not fail, its result will "
        f"be at {accepted.output}",
        failure=FailureKind.BROKEN,
    )


def _inference_id(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    inference_id = answer.get("InferenceId") if isinstance(answer, Mapping) else None
    # Anything else could be no header, which it becomes.
    return inference_id if isinstance(inference_id, str) and INFERENCE_ID.pattern.fullmatch(inference_id) else ""
