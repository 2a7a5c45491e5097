"""The result of an asynchronous inference that its call did not wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from litellm import ModelResponse

from litellm_sagemaker_openai.aws.credentials import CredentialsError
from litellm_sagemaker_openai.aws.identity import AwsIdentity
from litellm_sagemaker_openai.aws.region import resolve_region
from litellm_sagemaker_openai.aws.s3 import S3, Absent
from litellm_sagemaker_openai.aws.s3_location import S3Location, parse_location
from litellm_sagemaker_openai.errors import bad_request, no_credentials, to_exception
from litellm_sagemaker_openai.formats.whole_answer import parsed, whole_response
from litellm_sagemaker_openai.litellm_seams.aws_credentials import source_for
from litellm_sagemaker_openai.litellm_seams.http_clients import ssl_setting
from litellm_sagemaker_openai.operations.queued_inference.inference import (
    REQUEST_SECONDS,
    InferenceSteps,
    acarry_out,
    carry_out,
    look,
)
from litellm_sagemaker_openai.operations.queued_inference.operation import ROUTE
from litellm_sagemaker_openai.operator_log import operator_log
from litellm_sagemaker_openai.settings import sort_settings
from litellm_sagemaker_openai.upstream_errors import PROVIDER, AnswerError, for_the_log, quoted

_HOW_TO_GIVE_REGION = "aws_region_name='us-west-2'"
_AWS_PARAMETERS = {"aws_region_name", *(each.name for each in fields(AwsIdentity))}


class AsyncResultNotReady(Exception):
    """There is no result yet, and no failure. The message says where it was looked for, and what was in the way."""


def fetch_async_result(location: str, *, failure_location: str | None = None, **aws_parameters: Any) -> ModelResponse:
    """The result of a call with ``aws_sagemaker_async`` whose ``timeout`` was over before it came. Asks S3 once.

    Args:
        location: where it is to be, as the ``litellm.Timeout`` says it: ``s3://<bucket>/<key>``.
        failure_location: the same for a failure. Without it, a failure cannot be told from a result still to come.
        aws_parameters: ``aws_region_name`` (any region will do that credentials are good for) and LiteLLM's other
            AWS parameters. Default: the environment's.

    Raises:
        AsyncResultNotReady: neither is there.
        TypeError: a keyword that is no AWS parameter.
        litellm's exceptions: the inference failed, as for the call; a location is malformed; there are no
            credentials; S3 refused.
    """
    with _litellm_errors(location):
        wanted = _wanted(location, failure_location, aws_parameters)
        return _response(wanted, carry_out(_look(wanted)))


async def afetch_async_result(
    location: str, *, failure_location: str | None = None, **aws_parameters: Any
) -> ModelResponse:
    """``fetch_async_result`` for an event loop, which it never blocks."""
    with _litellm_errors(location):
        # In a thread: the AWS configuration may be read.
        wanted = await asyncio.to_thread(_wanted, location, failure_location, aws_parameters)
        return _response(wanted, await acarry_out(_look(wanted)))


@dataclass(frozen=True, slots=True)
class _Wanted:
    s3: S3
    output: S3Location
    failure: S3Location | None


def _wanted(location: str, failure_location: str | None, aws_parameters: dict[str, Any]) -> _Wanted:
    for name in aws_parameters:
        if name not in _AWS_PARAMETERS:
            raise TypeError(f"fetch_async_result takes no {name}; it takes {', '.join(sorted(_AWS_PARAMETERS))}")
    settings = sort_settings(aws_parameters, {})
    profile = settings.identity.aws_profile_name
    region, _ = resolve_region(settings.region, how_to_give=_HOW_TO_GIVE_REGION, profile=profile)
    return _Wanted(
        S3(source_for(settings.identity, region), region, profile, ssl_setting(None)),
        parse_location(location),
        None if failure_location is None else parse_location(failure_location),
    )


def _look(wanted: _Wanted) -> InferenceSteps[bytes | Absent]:
    return look(wanted.s3, wanted.output, wanted.failure, REQUEST_SECONDS)


def _response(wanted: _Wanted, found: bytes | Absent) -> ModelResponse:
    if isinstance(found, bytes):
        return whole_response(parsed(found), model=PROVIDER, model_response=ModelResponse(), headers={})
    said = [f"no result at {wanted.output} yet"]
    if wanted.failure is None:
        said.append("A failure would be at the failure_location, which was not given")
    if found.trouble:
        said.append(found.trouble)
    raise AsyncResultNotReady(". ".join(said))


@contextmanager
def _litellm_errors(location: str) -> Iterator[None]:
    try:
        yield
    except AnswerError as error:
        if detail := error.upstream.operator_detail:
            operator_log.warning("%s (%s): %s", PROVIDER, quoted(location), for_the_log(detail))
        raise to_exception(error.upstream, model=PROVIDER, route=ROUTE) from error
    except CredentialsError as error:
        operator_log.warning("%s (credentials): %s", PROVIDER, for_the_log(repr(error.__cause__ or error)))
        raise no_credentials(error, model=PROVIDER) from error
    except ValueError as error:
        raise bad_request(error, model=PROVIDER) from error
