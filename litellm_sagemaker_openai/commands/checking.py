"""The requests of ``check``: to STS, to SageMaker's control plane, and to the endpoint itself.

They are made of the package's own parts rather than through LiteLLM, whose exceptions do not tell whether SageMaker or
the container refused, nor what the answer's headers were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from litellm import EmbeddingResponse, ModelResponse

from litellm_sagemaker_openai.aws.control_plane import find, look_up
from litellm_sagemaker_openai.aws.credentials import CredentialsError, quiet_botocore
from litellm_sagemaker_openai.aws.hosts import is_known_to_aws
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.capabilities import Facts
from litellm_sagemaker_openai.commands import adapters, diagnosis, probing
from litellm_sagemaker_openai.commands.common import reason, resolve_region
from litellm_sagemaker_openai.commands.diagnosis import Step, StreamSummary, authenticated
from litellm_sagemaker_openai.commands.probing import Finding, Reply
from litellm_sagemaker_openai.formats.chat_request import build_body, build_headers, encode_body
from litellm_sagemaker_openai.formats.chunks import ChunkStream
from litellm_sagemaker_openai.formats.embeddings import FORMATS, embedding_body, embedding_response
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
from litellm_sagemaker_openai.upstream_errors import AnswerError, FailureKind, UpstreamError, read_error, unusable

# A call needs neither STS nor the control plane, so that it is not worth waiting long where they cannot be reached.
_SHORT_TIMEOUTS = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})

MAX_TOKENS = 1024  # for a model that thinks before it answers
_MOST_BYTES = 1 << 22  # of an answer to a probe: a vector of 65,536 numbers has less
_GIVE_UP_AFTER = 3  # probes one after the other that got no answer
_CHAT = {"messages": [{"role": "user", "content": "Say hello in one sentence."}]}
_STREAM = {"messages": [{"role": "user", "content": "Count from one to ten, in words."}]}
_TOOL_CALL = {
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

ShowProgress: TypeAlias = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The command's arguments.

    Attributes:
        timeout: seconds, for each answer and each piece of a stream.
        probe: whether the model is asked what it can do, too.
        stated: what a proxy's configuration says of it, to be compared with that.
    """

    target: Target
    timeout: float
    model_name: str = ""
    region: str | None = None
    profile: str | None = None
    probe: bool = False
    stated: Facts = field(default_factory=dict)


def run_check(options: CheckOptions, show_progress: ShowProgress) -> Iterator[Step]:
    """All steps in their order, as they are done; those that come after a failed one and need it are skipped.

    Args:
        options: what is checked, and how.
        show_progress: called with what is being waited for.
    """
    remaining, needed = diagnosis.step_names(options.target), "chat"
    for step in _steps(options, show_progress):
        if step.name in remaining:
            remaining.remove(step.name)
        if step.status == "failed":
            needed = step.name
        yield step
    for name in remaining:
        yield Step(name, "skipped", f"needs: {needed}")


def _steps(options: CheckOptions, show_progress: ShowProgress) -> Iterator[Step]:
    """The steps, until one fails that the next ones need."""
    show_progress("Looking for the region")
    try:
        region, source = resolve_region(options.region, options.profile, options.target.region)
        endpoint = Endpoint.of(options, region)
    except (ValueError, BotoCoreError) as error:
        yield Step("region", "failed", reason(error))
        return
    yield Step("region", "ok", f"{region}, from {source}; {urlsplit(endpoint.url).netloc}")

    show_progress("Looking for credentials")
    try:
        credentials = endpoint.credentials()
    except CredentialsError as error:
        yield diagnosis.no_credentials(error)
        return
    sts, sagemaker = _aws_clients(credentials, endpoint)
    identity = _ask_aws(endpoint, sts, sts.get_caller_identity)
    yield (step := diagnosis.identity(credentials.access_key, identity))
    if step.status == "failed":
        return

    show_progress(f"Looking for {options.target}")
    found = _ask_aws(endpoint, sagemaker, lambda: find(sagemaker, options.target.endpoint, settings=False))
    for step in diagnosis.in_service(options.target, region, found):
        yield step
        if step.status == "failed":
            return

    caller = str(identity["Arn"]) if isinstance(identity, Mapping) else ""
    if options.probe:
        show_progress("Looking for the container's settings")
        settings = probing.settings(_ask_aws(endpoint, sagemaker, lambda: look_up(sagemaker, options.target)))
        yield probing.compared(replace(settings, names=tuple(settings.facts)), options.stated)
        steps = _probed_steps(endpoint, caller, {**settings.facts, **options.stated}, show_progress)
    else:
        steps = call_steps(endpoint, caller, show_progress)
    chats = False
    for step in steps:
        chats = chats or (step.name == "chat" and step.status in ("ok", "warning"))
        yield step
    if chats and (base := diagnosis.base_of(options.target, found)):
        yield adapter_step(endpoint, base, show_progress)
    elif chats:
        yield from diagnosis.unseen_base(options.target, found)


def _probed_steps(endpoint: Endpoint, caller: str, known: Facts, show_progress: ShowProgress) -> Iterator[Step]:
    """The steps from the token on, and what the model can do. One that makes embeddings need not chat."""
    chats = False
    for step in call_steps(endpoint, caller, show_progress):
        if step.name != "chat":
            yield step
        elif step.status != "failed":
            chats = True
            yield probing.compared(probing.chat(step), known)
        else:
            finding = embeddings(endpoint, show_progress)
            yield replace(step, status="skipped", advice="") if finding.status == "ok" else step
            yield probing.compared(finding, known)
    if chats:
        yield from probes(endpoint, known, show_progress)


def measure(endpoint: Endpoint, known: Facts, show_progress: ShowProgress) -> Iterator[Finding]:
    """What the model can do, without the other steps.

    Args:
        endpoint: what is called.
        known: what is known of it already, to be compared with that.
        show_progress: called with what is being waited for.
    """
    show_progress("Waiting for a chat")
    try:
        step = diagnosis.chat(endpoint.read(endpoint.ask(_CHAT)))
    except FAILURES as error:
        finding = embeddings(endpoint, show_progress)
        failure = f"no chat: {endpoint.failed('chat', error).detail}; no embeddings: {finding.detail}"
        yield probing.compared(finding, known) if finding.status == "ok" else replace(finding, detail=failure)
        return
    yield probing.compared(probing.chat(step), known)
    yield from probes(endpoint, known, show_progress)


def probes(endpoint: Endpoint, known: Facts, show_progress: ShowProgress) -> Iterator[Finding]:
    """What a model can do that chats, as it is found out."""
    found: dict[str, Finding] = {}
    unanswered = 0
    for number, probe in enumerate(probing.PROBES, 1):
        show_progress(f"Asking for {probe.name} ({number} of {len(probing.PROBES)})")
        reason = probe.needs(found)
        if unanswered == _GIVE_UP_AFTER:
            reason = f"not asked: the {unanswered} before were not answered"
        if reason:
            findings = [probe.skipped(reason)]
        else:
            replies = endpoint.replies(probe.questions)
            unanswered = unanswered + 1 if isinstance(replies[-1], probing.Unanswered) else 0
            findings = probe.findings(replies)
        for finding in findings:
            found[finding.name] = probing.compared(finding, known)
            yield found[finding.name]


def embeddings(endpoint: Endpoint, show_progress: ShowProgress) -> Finding:
    """Whether the container makes embeddings, in which format, and their size."""
    show_progress("Waiting for an embedding")
    failures = []
    for format in FORMATS:
        try:
            return probing.embeddings(endpoint.vector_size(format), format)
        except FAILURES as error:
            failures.append(endpoint.failed("embeddings", error).detail)
            if not isinstance(error, AnswerError) or probing.refused(error.upstream) is None:
                break
    return Finding("embeddings", "skipped", failures[0])


def call_steps(endpoint: Endpoint, caller: str, show_progress: ShowProgress) -> Iterator[Step]:
    """The steps from the token on.

    Args:
        endpoint: what is called.
        caller: the ARN of the credentials' owner; empty where it is not known.
        show_progress: called with what is being waited for.
    """
    show_progress("Waiting for a chat")
    try:
        response = endpoint.ask(_CHAT)
    except FAILURES as error:
        yield from _refused_steps(endpoint, caller, error, show_progress)
        return
    yield from diagnosis.access(endpoint.options.target, endpoint.region, caller, None)
    try:
        yield diagnosis.chat(endpoint.read(response))
    except AnswerError as error:
        yield endpoint.failed("chat", error)
        return

    show_progress("Waiting for a stream")
    summary = None
    try:
        summary = endpoint.stream(_STREAM)
        yield from diagnosis.stream(summary)
    except FAILURES as error:
        yield endpoint.failed("stream", error)
        yield Step("first token", "skipped", "needs: stream")

    show_progress("Waiting for a tool call")
    try:
        yield diagnosis.tools(endpoint.read(endpoint.ask(_TOOL_CALL)))
    except FAILURES as error:
        yield diagnosis.tools_refused(endpoint.failed("tools", error), _refusal_of(error))

    if summary is None:
        yield Step("usage", "skipped", "needs: stream")
    else:
        yield diagnosis.usage(parsed(response.content).get("usage"), summary.usage)


def adapter_step(endpoint: Endpoint, base: str, show_progress: ShowProgress) -> Step:
    """Whether a LoRA adapter answers itself, or its base component for it.

    Args:
        endpoint: the adapter's component.
        base: the name of the component that it stands on.
        show_progress: called with what is being waited for.
    """
    show_progress(f"Comparing with {base}")
    target = Target(endpoint.options.target.endpoint, base)
    # By its served name, the container would answer as the adapter there, too.
    of_base = Endpoint.of(replace(endpoint.options, target=target, model_name=""), endpoint.region)
    question, asked = adapters.QUESTION, of_base
    try:
        try:
            first = of_base.sample(question)
        except AnswerError as error:
            if probing.refused(error.upstream) is None:
                raise
            question = adapters.WITHOUT_LOGPROBS
            first = of_base.sample(question)
        bases = first, of_base.sample(question)
        asked = endpoint
        adapter = adapters.confirmed(bases, lambda: endpoint.sample(question))
    except FAILURES as error:
        return adapters.not_compared(base, asked.failed("adapter", error).detail)
    invoked: adapters.Sample | str = ""
    if adapters.needs_invocations(bases, adapter):
        try:
            invoked = adapters.confirmed(bases, lambda: endpoint.sample(question, by_invocations=True))
        except FAILURES as error:
            invoked = endpoint.failed("adapter", error).detail
    return adapters.compared(base, bases, adapter, invoked)


def _refused_steps(endpoint: Endpoint, caller: str, error: Exception, show_progress: ShowProgress) -> Iterator[Step]:
    """The steps from the token on, where the first call failed."""
    upstream, probe, clock_ahead = _refusal_of(error), None, 0.0
    refused = authenticated(upstream) is False
    if isinstance(error, AnswerError) and refused:
        show_progress("Asking once more, with a signature")
        probe, clock_ahead = endpoint.probe(_CHAT), _clock_ahead(error.headers)
    yield from diagnosis.access(endpoint.options.target, endpoint.region, caller, upstream, probe, clock_ahead)
    if not refused:
        yield endpoint.failed("chat", error)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is called, and how."""

    options: CheckOptions
    region: str
    settings: Settings
    url: str
    signer: Signer

    @classmethod
    def of(cls, options: CheckOptions, region: str) -> Endpoint:
        """The endpoint that LiteLLM's parameters of the same meaning name.

        Raises:
            ValueError: the runtime's URL is refused.
        """
        parameters = {"aws_region_name": region, "aws_profile_name": options.profile}
        settings = sort_settings(parameters, {"hf_model_name": options.model_name})
        return cls(options, region, settings, *chat_address(settings, options.target))

    def credentials(self) -> FrozenCredentials:
        """The credentials that sign.

        Raises:
            CredentialsError: there are none, or they did not come in time.
        """
        return source_for(self.settings.identity, self.region).wait()

    def ask(self, question: Mapping[str, Any]) -> httpx.Response:
        """A whole answer that was a success.

        Raises: one of ``FAILURES``.
        """
        return _accepted(self._request(question))

    def read(self, response: httpx.Response) -> ModelResponse:
        """The answer as LiteLLM's object.

        Raises:
            AnswerError: it is not a chat completion.
        """
        model = str(self.options.target)
        return whole_response(parsed(response.content), model=model, model_response=ModelResponse(), headers={})

    def stream(self, question: Mapping[str, Any]) -> StreamSummary:
        """A stream, read to its end.

        Raises: one of ``FAILURES``.
        """
        started = time.monotonic()
        with closing(_accepted(self._request(question, stream=True))) as response:
            content_type = response.headers.get("content-type", "")
            chunks = ChunkStream(decoder_for(content_type), str(self.options.target))
            summary = StreamSummary(as_stream=not content_type.startswith("application/json"))
            for data in response.iter_bytes():
                for chunk in chunks.feed(data):
                    summary = summary.with_chunk(chunk, time.monotonic() - started)
        for chunk in chunks.end():
            summary = summary.with_chunk(chunk, time.monotonic() - started)
        return summary

    def replies(self, questions: Iterable[Mapping[str, Any]]) -> list[Reply]:
        """The replies to a probe's questions, until one gets none."""
        replies: list[Reply] = []
        for question in questions:
            replies.append(self._reply(question))
            if isinstance(replies[-1], probing.Unanswered):
                break
        return replies

    def _reply(self, question: Mapping[str, Any]) -> Reply:
        try:
            answer = parsed(self._read_bounded(self._request(question)))
            whole_response(answer, model=str(self.options.target), model_response=ModelResponse(), headers={})
        except FAILURES as error:
            said = probing.refused(_refusal_of(error))
            return said or probing.Unanswered(self.failed("", error).detail)
        return probing.Answered(answer)

    def sample(self, question: Mapping[str, Any], *, by_invocations: bool = False) -> adapters.Sample:
        """The answer to a question of ``adapters``.

        Raises: one of ``FAILURES``.
        """
        request = self._request(question)
        return adapters.sample_of(parsed(self._read_bounded(self._invoked(request) if by_invocations else request)))

    def vector_size(self, format: str) -> int:
        """How many numbers an embedding has, asked for in one of ``FORMATS``.

        Raises: one of ``FAILURES``.
        """
        url, signer = invocations_address(self.settings, self.options.target)
        body = embedding_body("Hello.", {}, format=format, model_name=self.options.model_name)
        request = Request(
            url=url,
            signer=signer,
            headers=build_headers({}, component=self.options.target.component),
            body=encode_body(body),
            stream=False,
            timeout=as_timeout(self.options.timeout),
        )
        response = embedding_response(
            parsed(self._read_bounded(request)),
            inputs="Hello.",
            parameters={},
            model=str(self.options.target),
            model_response=EmbeddingResponse(),
            headers={},
        )
        return len(response.data[0]["embedding"])

    def _read_bounded(self, request: Request) -> bytes:
        """A whole answer that was a success, if it ends in time and is not too long: a container may go on and on.

        Raises: one of ``FAILURES``.
        """
        ends, data = time.monotonic() + self.options.timeout, bytearray()
        with closing(_accepted(replace(request, stream=True))) as response:
            for piece in response.iter_bytes():
                data += piece
                if len(data) > _MOST_BYTES:
                    raise AnswerError(unusable(f"the container's answer has more than {_MOST_BYTES:,} bytes"))
                if time.monotonic() > ends:
                    raise AnswerError(unusable(f"the container's answer did not end in {self.options.timeout:g} s"))
        return bytes(data)

    def probe(self, question: Mapping[str, Any]) -> UpstreamError | None:
        """What ``/invocations`` answers to a signed request; None: a success."""
        try:
            _accepted(self._invoked(self._request(question)))
        except FAILURES as error:
            return _refusal_of(error)
        return None

    def failed(self, name: str, error: Exception) -> Step:
        """The step that failed with one of ``FAILURES``."""
        if isinstance(error, httpx.HTTPError):
            return diagnosis.unanswered(name, error)
        if isinstance(error, CredentialsError):
            return replace(diagnosis.no_credentials(error), name=name)
        return diagnosis.refused(name, self.options.target, self.region, self.options.model_name, _refusal_of(error))

    def _invoked(self, request: Request) -> Request:
        """The same request to ``/invocations``."""
        url, signer = invocations_address(self.settings, self.options.target)
        return replace(
            request, url=url, signer=signer, headers=build_headers({}, component=self.options.target.component)
        )

    def _request(self, question: Mapping[str, Any], *, stream: bool = False) -> Request:
        parameters = {"max_tokens": MAX_TOKENS, **question}
        messages = parameters.pop("messages")
        body = build_body(messages, parameters, model_name=self.options.model_name, stream=stream)
        return Request(
            url=self.url,
            signer=self.signer,
            headers=build_headers({}, stream=stream),
            body=encode_body(body),
            stream=stream,
            timeout=as_timeout(self.options.timeout),
        )


FAILURES = (AnswerError, httpx.HTTPError, CredentialsError)


def _accepted(request: Request) -> httpx.Response:
    response = send(request)
    if not response.is_success:
        raise AnswerError(read_error(response.status_code, response.content), response.headers)
    return response


def _refusal_of(error: Exception) -> UpstreamError:
    """One of ``FAILURES`` as an answer; where none came, one that tells nothing of the token and the permissions."""
    return (
        error.upstream if isinstance(error, AnswerError) else UpstreamError(502, str(error), failure=FailureKind.BROKEN)
    )


def _aws_clients(credentials: FrozenCredentials, endpoint: Endpoint) -> tuple[Any, Any]:
    """STS's and the control plane's, for the credentials that sign the calls."""
    session = boto3.session.Session(
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        region_name=endpoint.region,
        profile_name=endpoint.options.profile,
    )
    return session.client("sts", config=_SHORT_TIMEOUTS), session.client("sagemaker", config=_SHORT_TIMEOUTS)


def _ask_aws(endpoint: Endpoint, client: Any, ask: Callable[[], T]) -> T | Exception | None:
    """What AWS answers, or why it does not; None: it was not asked, as it knows nothing of the local runtime."""
    if not is_known_to_aws(endpoint.url, client.meta.endpoint_url):
        return None
    try:
        with quiet_botocore():
            return ask()
    except (BotoCoreError, ClientError, ValueError) as error:
        failure: Exception = error
        return failure


def _clock_ahead(headers: Mapping[str, str]) -> float:
    """How many seconds this machine's clock is ahead of an answer's ``Date`` header; 0 without a readable one."""
    then = http_date(headers.get("date", ""))
    return 0.0 if then is None else (datetime.now(timezone.utc) - then).total_seconds()
