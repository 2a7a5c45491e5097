"""Asynchronous inference: a request queued by ``InvokeEndpointAsync``, and its result when S3 has it.

What to do next is decided once, by a generator that does no I/O (``_steps``); ``send`` and ``asend`` carry its
steps out. Both give the result as the answer that the container would have given to a request of its own.

Whose result it is. SageMaker says where the result will be only when the request is queued, and an inference can be
faster than a look at S3: so nobody can tell from the object whether it was there before, nor which of two calls it
answers. The location alone has to tell. SageMaker gives a random name of its own where the caller gives neither a file
name nor an inference id. Where the caller gives either, a part that no other call has is added to the path
(``S3OutputPathExtension``), and an answer of SageMaker's that names a location without it is refused, unread. So the
order of events does not matter, and neither does who else uses the same names, in this process or in another. A failure
is taken for the call's where its location has that part, or a random name of SageMaker's; elsewhere an object is
reported unread. What cannot be told: whether SageMaker keeps its own names apart, and who else may write to the bucket.

What is stored. Before a large request is stored, SageMaker is asked with neither body nor input. It cannot queue that
(a request whose input is in S3 has an empty body too, so an empty one is none), and it refuses an endpoint that is not
there, is not asynchronous or is not permitted. What cannot be told: whether SageMaker looks at the endpoint before it
misses the input. Where it does not, the request is stored, refused and removed. However a call ends, what was stored
for it is removed, but for a request that is queued and whose result did not come in time: SageMaker goes on with it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import httpx

from litellm_sagemaker_openai.aws.credentials import CredentialsError
from litellm_sagemaker_openai.aws.s3 import S3, Absent
from litellm_sagemaker_openai.aws.s3_location import S3Location, object_under
from litellm_sagemaker_openai.litellm_seams.http_clients import ssl_setting
from litellm_sagemaker_openai.operations.queued_inference.request import (
    MAX_INLINE_BYTES,
    ROUTE,
    NoResultYet,
    QueueOptions,
    another_failure,
    another_result,
    intervals,
    is_own,
    may_take_requests,
    no_result_yet,
    queue_headers,
    read_accepted,
    result_headers,
    set_apart,
)
from litellm_sagemaker_openai.sending.address import invocations_address
from litellm_sagemaker_openai.sending.request import Request, RequestSigner
from litellm_sagemaker_openai.sending.transport import Pause, asend, send
from litellm_sagemaker_openai.settings import Settings
from litellm_sagemaker_openai.target import Target
from litellm_sagemaker_openai.upstream_errors import AnswerError, FailureKind, UpstreamError, read_failure

_T = TypeVar("_T")

# The request is only queued, so its answer comes soon; botocore's own read timeout.
_SUBMIT_SECONDS = 60.0
REQUEST_SECONDS = 60.0  # for one request to S3
_LEAST_SECONDS = 1.0  # the same, where the call's time is over
_TIMED_OUT = Absent("S3 did not answer in time")


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is too long to be sent.

    Args:
        location: where it is stored.
        body: what is stored there.
        question: the request without body or input, which SageMaker is asked before anything is stored.
    """

    location: S3Location
    body: bytes = field(repr=False)
    question: Request


@dataclass(frozen=True, slots=True)
class QueuedInference:
    """One call, ready to be queued and waited for.

    Args:
        request: to InvokeEndpointAsync, with the body where it is short enough.
        s3: where its result is read.
        seconds: how long the whole may take.
        options: what tells its result from another call's.
        upload: what is stored first; None where the body is sent.
    """

    request: Request
    s3: S3
    seconds: float
    options: QueueOptions = field(default_factory=lambda: QueueOptions({}))
    upload: Upload | None = None

    def send(self) -> httpx.Response:
        """Queue the request and wait for its result, given as the container's answer would be; or SageMaker's refusal.

        What was stored in S3 for it is removed again, however this ends, but for a result that did not come in time.

        Raises:
            NoResultYet: it did not come in time.
            AnswerError: the inference failed, in the container's or SageMaker's words; or S3 refused something; or the
                result, or the failure, is where another call's may be.
            httpx.HTTPError, CredentialsError: as for ``transport.send``.
        """
        return carry_out(_steps(self, time.monotonic))

    async def asend(self) -> httpx.Response:
        """``send`` for an event loop, which it never blocks."""
        return await acarry_out(_steps(self, time.monotonic))


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a future, so many seconds at most. What is ``kept`` is done even when nobody waits for it any more."""

    future: Future[Any]
    seconds: float
    kept: bool = False


# Send this, wait for that, or pause. Each is answered with what came of it, or with the exception that it raised.
InferenceSteps: TypeAlias = Generator[Request | Wait | Pause, Any, _T]


def queue_address(settings: Settings, target: Target) -> tuple[str, RequestSigner]:
    """The endpoint's route for asynchronous inference, and the signatures that it takes.

    Raises:
        ValueError: the target is an inference component, which InvokeEndpointAsync cannot address; or as for
            ``invocations_address``.
    """
    if target.component is not None:
        raise ValueError(
            f"an inference component ({target}) cannot be asked with aws_sagemaker_async: InvokeEndpointAsync takes an "
            "endpoint and nothing else; write sagemaker_openai/<endpoint>"
        )
    return invocations_address(settings, target, route=ROUTE)


def plan(request: Request, settings: Settings) -> QueuedInference:
    """What a request for a whole answer becomes where it goes to ``queue_address``.

    Raises:
        ValueError: the body is too long to be sent, and nothing says where to store it; or a header of the caller's
            that an option stands for.
    """
    options, signer, timeout = settings.queue, request.signer, request.timeout
    assert options is not None
    assert isinstance(signer, RequestSigner)
    options = set_apart(options, str(uuid.uuid4()))
    stored = _stored_at(options, len(request.body))
    seconds = min(threading.TIMEOUT_MAX, timeout.read or threading.TIMEOUT_MAX)
    submission = replace(
        request,
        headers=queue_headers(request.headers, options, stored),
        body=b"" if stored else request.body,
        timeout=httpx.Timeout(
            connect=timeout.connect, read=min(seconds, _SUBMIT_SECONDS), write=timeout.write, pool=timeout.pool
        ),
    )
    s3 = S3(signer.source, signer.region, settings.identity.aws_profile_name, ssl_setting(settings.ssl_verify))
    if stored is None:
        return QueuedInference(submission, s3, seconds, options)
    question = replace(submission, headers=queue_headers(request.headers, options))
    return QueuedInference(submission, s3, seconds, options, Upload(stored, request.body, question))


def _stored_at(options: QueueOptions, length: int) -> S3Location | None:
    if length <= MAX_INLINE_BYTES:
        return None
    if options.input_prefix is None:
        raise ValueError(
            f"the request's body is {length:,} bytes and InvokeEndpointAsync takes at most {MAX_INLINE_BYTES:,}; give "
            "aws_sagemaker_async_input='s3://<bucket>/<prefix>' to have larger ones stored there"
        )
    return object_under(options.input_prefix, f"{uuid.uuid4()}.json")


def carry_out(steps: InferenceSteps[_T]) -> _T:
    """Do what the steps say, and give what they end with."""
    outcome: Any = None
    failure: BaseException | None = None
    while True:
        try:
            step = steps.throw(failure) if failure else steps.send(outcome)
        except StopIteration as finished:
            return cast(_T, finished.value)
        outcome = failure = None
        try:
            if isinstance(step, Request):
                outcome = send(step)
            elif isinstance(step, Wait):
                outcome = step.future.result(step.seconds)
            else:
                time.sleep(step.seconds)
        except concurrent.futures.TimeoutError:
            outcome = _TIMED_OUT
        except BaseException as error:
            failure = error


async def acarry_out(steps: InferenceSteps[_T]) -> _T:
    """``carry_out`` for an event loop, which it never blocks."""
    outcome: Any = None
    failure: BaseException | None = None
    while True:
        try:
            step = steps.throw(failure) if failure else steps.send(outcome)
        except StopIteration as finished:
            return cast(_T, finished.value)
        outcome = failure = None
        try:
            if isinstance(step, Request):
                outcome = await asend(step)
            elif isinstance(step, Wait):
                future = asyncio.wrap_future(step.future)
                outcome = await asyncio.wait_for(asyncio.shield(future) if step.kept else future, step.seconds)
            else:
                await asyncio.sleep(step.seconds)
        except (asyncio.TimeoutError, concurrent.futures.TimeoutError):
            outcome = _TIMED_OUT
        except BaseException as error:
            failure = error


def _steps(inference: QueuedInference, clock: Callable[[], float]) -> InferenceSteps[httpx.Response]:
    """What is to be done, one step after the other, until there is an answer to hand back."""
    ends = clock() + inference.seconds
    upload = inference.upload
    if upload is None:
        return (yield from _queue_and_wait(inference, ends, clock))
    refused: httpx.Response = yield upload.question
    if not may_take_requests(refused.status_code, refused.content):
        return refused
    s3, stored = inference.s3, upload.location
    put = s3.put(stored, upload.body)
    try:
        if (yield Wait(put, max(0.0, ends - clock()))) is _TIMED_OUT:
            raise AnswerError(UpstreamError(408, f"{stored}: {_TIMED_OUT.trouble}", failure=FailureKind.BROKEN))
        answer = yield from _queue_and_wait(inference, ends, clock)
    except NoResultYet:
        raise  # SageMaker goes on with it, and the container may not have read it yet
    except Exception:
        yield Wait(s3.remove(stored, put), _at_most(REQUEST_SECONDS, ends - clock()), kept=True)
        raise
    except BaseException:  # the caller left, and nobody waits any more
        s3.remove(stored, put)
        raise
    yield Wait(s3.remove(stored, put), _at_most(REQUEST_SECONDS, ends - clock()), kept=True)
    return answer


def _queue_and_wait(
    inference: QueuedInference, ends: float, clock: Callable[[], float]
) -> InferenceSteps[httpx.Response]:
    answer: httpx.Response = yield inference.request
    if not answer.is_success:
        return answer
    accepted = read_accepted(answer.headers, answer.content)
    headers = result_headers(answer.headers, accepted)
    if not is_own(accepted.output, inference.options):
        raise AnswerError(another_result(accepted), headers)
    read = read_failure
    if accepted.failure is not None and not is_own(accepted.failure, inference.options):
        read = partial(_unread, another_failure(accepted))
    pauses = intervals()
    while True:
        yield Pause(max(0.0, min(next(pauses), ends - clock())))
        seconds = _at_most(REQUEST_SECONDS, ends - clock())
        try:
            found = yield from look(inference.s3, accepted.output, accepted.failure, seconds, read)
        except AnswerError as error:
            error.headers = headers
            raise
        except CredentialsError as error:  # they may be there for the next look, and the inference goes on
            found = Absent(str(error))
        if isinstance(found, bytes):
            return httpx.Response(200, headers=headers, content=found)
        if clock() >= ends:
            stored = inference.upload.location if inference.upload else None
            raise no_result_yet(accepted, inference.seconds, stored, found.trouble, headers)


def _at_most(seconds: float, left: float) -> float:
    return max(_LEAST_SECONDS, min(seconds, left))


def _unread(upstream: UpstreamError, _: bytes) -> UpstreamError:
    return upstream


def look(
    s3: S3,
    output: S3Location,
    failure: S3Location | None,
    seconds: float,
    read: Callable[[bytes], UpstreamError] = read_failure,
) -> InferenceSteps[bytes | Absent]:
    """The result, if it is there. Each request to S3 has so many seconds; ``read`` says what a failure means.

    Raises:
        AnswerError: the inference failed; or S3 refused a look for good.
    """
    found: bytes | Absent = yield Wait(s3.get(output), seconds)
    if isinstance(found, bytes) or failure is None:
        return found
    failed: bytes | Absent = yield Wait(s3.get(failure), seconds)
    if isinstance(failed, bytes):
        raise AnswerError(read(failed))
    return found if found.trouble else failed
