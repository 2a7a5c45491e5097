"""Asks what ``check`` wants to know: STS, SageMaker's control plane, and the endpoint itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from litellm import ModelResponse

from litellm_sagemaker_openai.aws.control_plane import Found, find
from litellm_sagemaker_openai.aws.credentials import CredentialsError, quiet_botocore
from litellm_sagemaker_openai.aws.hosts import is_this_machine
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.commands import diagnosis
from litellm_sagemaker_openai.commands.common import reason, resolve_region
from litellm_sagemaker_openai.commands.diagnosis import Step, Streamed, authenticated
from litellm_sagemaker_openai.formats.chat_request import build_body, build_headers, encode_body
from litellm_sagemaker_openai.formats.chunks import ChunkStream
from litellm_sagemaker_openai.formats.events import decoder_for
from litellm_sagemaker_openai.formats.whole_answer import parsed, whole_response
from litellm_sagemaker_openai.litellm_seams.aws_credentials import source_for
from litellm_sagemaker_openai.sending.address import chat_address, invocations_address
from litellm_sagemaker_openai.sending.request import Request, Signer
from litellm_sagemaker_openai.sending.retries import http_date
from litellm_sagemaker_openai.sending.timeouts import as_timeout
from litellm_sagemaker_openai.sending.transport import send
from litellm_sagemaker_openai.settings import Settings, sort_settings
from litellm_sagemaker_openai.target import Target
from litellm_sagemaker_openai.upstream_errors import AnswerError, Refusal, Verdict, read_refusal

_CREDENTIALS_SECONDS = 60.0
# Neither STS nor the control plane is needed for a call: where they cannot be reached, that is to be known soon.
_SOON = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})

_MOST_TOKENS = 1024  # for a model that thinks before it answers
_HELLO = {"messages": [{"role": "user", "content": "Say hello in one sentence."}]}
_COUNT = {"messages": [{"role": "user", "content": "Count from one to ten, in words."}]}
_WEATHER = {
    "messages": [{"role": "user", "content": "What is the weather in Dublin? Use the tool."}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather in a city",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                },
            },
        }
    ],
}

Doing: TypeAlias = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be checked, and how: the command's arguments."""

    target: Target
    timeout: float
    model_name: str = ""
    region: str | None = None
    profile: str | None = None


def checked(asked: Asked, doing: Doing) -> Iterator[Step]:
    """All steps, in their order, as they are done; those that a failed one left over are skipped.

    ``doing`` is told what is being done.
    """
    left, failed = diagnosis.names_of_steps(asked.target), []
    for step in _steps(asked, doing):
        left.remove(step.name)
        if step.status == "failed":
            failed.append(step.name)
        yield step
    for name in left:
        yield Step(name, "skipped", f"needs: {failed[-1]}")


def _steps(asked: Asked, doing: Doing) -> Iterator[Step]:
    doing("Looking for the region")
    try:
        region, source = resolve_region(asked.region, asked.profile, asked.target.region)
        endpoint = Endpoint.of(asked, region)
    except (ValueError, BotoCoreError) as error:
        yield Step("region", "failed", reason(error))
        return
    yield Step("region", "ok", f"{region}, from {source}; {urlsplit(endpoint.url).netloc}")

    doing("Looking for credentials")
    try:
        frozen = endpoint.credentials()
    except CredentialsError as error:
        yield diagnosis.no_credentials(error)
        return
    sts, sagemaker = _aws_clients(frozen, endpoint)
    identity = _whose(sts, endpoint)
    yield (step := diagnosis.identity(frozen.access_key, identity))
    if step.status == "failed":
        return

    doing(f"Looking for {asked.target}")
    for step in diagnosis.in_service(asked.target, region, _found(sagemaker, endpoint)):
        yield step
        if step.status == "failed":
            return

    caller = str(identity["Arn"]) if isinstance(identity, Mapping) else ""
    yield from calls(endpoint, caller, doing)


def calls(endpoint: Endpoint, caller: str, doing: Doing) -> Iterator[Step]:
    """The steps from the token on. ``caller`` is the ARN whose the credentials are, as far as it is known."""
    target, region, probe, clock_ahead = endpoint.asked.target, endpoint.region, None, 0.0
    doing("Waiting for a chat")
    try:
        response = endpoint.ask(_HELLO)
    except _FAILURES as error:
        refusal = _refusal_of(error)
        refused = authenticated(refusal) is False
        if isinstance(error, AnswerError) and refused:
            doing("Asking once more, with a signature")
            probe, clock_ahead = endpoint.probe(_HELLO), _clock_ahead(error.headers)
        yield from diagnosis.access(target, region, caller, refusal, probe, clock_ahead)
        if not refused:
            yield endpoint.failed("chat", error)
        return
    yield from diagnosis.access(target, region, caller, None)
    try:
        yield diagnosis.chat(endpoint.read(response))
    except AnswerError as error:
        yield endpoint.failed("chat", error)
        return

    doing("Waiting for a stream")
    came = None
    try:
        came = endpoint.stream(_COUNT)
        yield from diagnosis.stream(came)
    except _FAILURES as error:
        yield endpoint.failed("stream", error)
        yield Step("first token", "skipped", "needs: stream")

    doing("Waiting for a tool call")
    try:
        yield diagnosis.tools(endpoint.read(endpoint.ask(_WEATHER)))
    except _FAILURES as error:
        yield diagnosis.tools_refused(endpoint.failed("tools", error), _refusal_of(error))

    yield (
        diagnosis.usage(parsed(response.content).get("usage"), came.usage)
        if came
        else Step("usage", "skipped", "needs: stream")
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is called, and how."""

    asked: Asked
    region: str
    settings: Settings
    url: str
    signer: Signer

    @classmethod
    def of(cls, asked: Asked, region: str) -> Endpoint:
        """As LiteLLM's parameters of the same meaning have it.

        Raises:
            ValueError: the runtime's URL will not do.
        """
        parameters = {"aws_region_name": region, "aws_profile_name": asked.profile}
        settings = sort_settings(parameters, {"hf_model_name": asked.model_name})
        return cls(asked, region, settings, *chat_address(settings, asked.target))

    @property
    def on_this_machine(self) -> bool:
        return is_this_machine(self.url)

    def credentials(self) -> FrozenCredentials:
        """Those that sign.

        Raises:
            CredentialsError: there are none, or they did not come in time.
        """
        got = source_for(self.settings.identity, self.region).get()
        try:
            return got.result(_CREDENTIALS_SECONDS) if isinstance(got, Future) else got
        except NotInTime as error:
            raise CredentialsError(f"AWS credentials did not come within {_CREDENTIALS_SECONDS:g} s") from error

    def ask(self, question: Mapping[str, Any]) -> httpx.Response:
        """A whole answer that was a success.

        Raises: one of ``_FAILURES``.
        """
        return self._accepted(self._request(question))

    def read(self, response: httpx.Response) -> ModelResponse:
        """The answer as LiteLLM's object.

        Raises:
            AnswerError: it is no chat completion.
        """
        model = str(self.asked.target)
        return whole_response(parsed(response.content), model=model, model_response=ModelResponse(), headers={})

    def stream(self, question: Mapping[str, Any]) -> Streamed:
        """A stream, read to its end.

        Raises: one of ``_FAILURES``.
        """
        started = time.monotonic()
        response = self._accepted(self._request(question, stream=True))
        content_type = response.headers.get("content-type", "")
        chunks = ChunkStream(decoder_for(content_type), str(self.asked.target))
        came = Streamed(as_stream=not content_type.startswith("application/json"))
        with closing(response):
            for data in response.iter_bytes():
                for chunk in chunks.feed(data):
                    came = came.with_chunk(chunk, time.monotonic() - started)
            for chunk in chunks.end():
                came = came.with_chunk(chunk, time.monotonic() - started)
        return came

    def probe(self, question: Mapping[str, Any]) -> Refusal | None:
        """What ``/invocations`` answers to a signed request; None: a success."""
        url, signer = invocations_address(self.settings, self.asked.target)
        headers = build_headers({}, component=self.asked.target.component)
        try:
            self._accepted(replace(self._request(question), url=url, signer=signer, headers=headers))
        except _FAILURES as error:
            return _refusal_of(error)
        return None

    def failed(self, name: str, error: Exception) -> Step:
        """The step that one of ``_FAILURES`` ended."""
        if isinstance(error, httpx.HTTPError):
            return diagnosis.unanswered(name, error)
        if isinstance(error, CredentialsError):
            return replace(diagnosis.no_credentials(error), name=name)
        return diagnosis.refused(name, self.asked.target, self.region, self.asked.model_name, _refusal_of(error))

    def _request(self, question: Mapping[str, Any], *, stream: bool = False) -> Request:
        parameters = {name: value for name, value in question.items() if name != "messages"}
        body = build_body(
            question["messages"],
            {"max_tokens": _MOST_TOKENS, **parameters},
            model_name=self.asked.model_name,
            stream=stream,
        )
        return Request(
            url=self.url,
            signer=self.signer,
            headers=build_headers({}, stream=stream),
            body=encode_body(body),
            stream=stream,
            timeout=as_timeout(self.asked.timeout),
        )

    def _accepted(self, request: Request) -> httpx.Response:
        response = send(request)
        if not response.is_success:
            raise AnswerError(read_refusal(response.status_code, response.content), response.headers)
        return response


_FAILURES = (AnswerError, httpx.HTTPError, CredentialsError)


def _refusal_of(error: Exception) -> Refusal:
    """What one of ``_FAILURES`` says, as an answer; what was none tells nothing of token and permissions."""
    return error.refusal if isinstance(error, AnswerError) else Refusal(502, str(error), verdict=Verdict.BROKEN)


def _aws_clients(frozen: FrozenCredentials, endpoint: Endpoint) -> tuple[Any, Any]:
    """STS's and the control plane's, for the credentials that sign the calls."""
    session = boto3.session.Session(
        aws_access_key_id=frozen.access_key,
        aws_secret_access_key=frozen.secret_key,
        aws_session_token=frozen.session_token,
        region_name=endpoint.region,
        profile_name=endpoint.asked.profile,
    )
    return session.client("sts", config=_SOON), session.client("sagemaker", config=_SOON)


def _whose(sts: Any, endpoint: Endpoint) -> Mapping[str, Any] | Exception | None:
    """STS's answer, or why there is none; None: it was not asked."""
    return None if _is_elsewhere(sts, endpoint) else _answer(sts.get_caller_identity)


def _found(sagemaker: Any, endpoint: Endpoint) -> Found | Exception | None:
    """The control plane's answer, or why there is none; None: it was not asked."""
    if _is_elsewhere(sagemaker, endpoint):
        return None
    return _answer(lambda: find(sagemaker, endpoint.asked.target.endpoint))


def _answer(ask: Callable[[], T]) -> T | Exception:
    try:
        with quiet_botocore():
            return ask()
    except (BotoCoreError, ClientError) as error:
        failure: Exception = error
        return failure


def _is_elsewhere(client: Any, endpoint: Endpoint) -> bool:
    """Whether the runtime is on this machine, as the local runtime is, and the other service is AWS's, which knows
    neither its credentials nor its endpoints."""
    return endpoint.on_this_machine and not is_this_machine(client.meta.endpoint_url)


def _clock_ahead(headers: Mapping[str, str]) -> float:
    """How many seconds this machine's clock is ahead of that of an answer; 0 where that is not told."""
    then = http_date(headers.get("date", ""))
    return 0.0 if then is None else (datetime.now(timezone.utc) - then).total_seconds()
