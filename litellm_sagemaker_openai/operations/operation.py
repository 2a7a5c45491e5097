"""What an operation is, one thing that can be asked of an endpoint, and a call of one, ready to be sent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import httpx

from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.formats.chat_request import build_headers
from litellm_sagemaker_openai.formats.chunks import ChunkStream
from litellm_sagemaker_openai.formats.invocation_headers import invocation_headers
from litellm_sagemaker_openai.formats.prompt_cache_key import hint_header
from litellm_sagemaker_openai.sending.address import invocations_address
from litellm_sagemaker_openai.sending.request import Request, Signer
from litellm_sagemaker_openai.sending.transport import asend, send
from litellm_sagemaker_openai.settings import Settings
from litellm_sagemaker_openai.target import INVOCATIONS, RESPONSE_STREAM, Target
from litellm_sagemaker_openai.upstream_errors import Route

# Of what goes by `InvokeEndpoint`, and of what may go by `InvokeEndpointWithResponseStream`, too.
INVOCATIONS_ROUTE = Route(
    "the role needs sagemaker:InvokeEndpoint on the endpoint's ARN (and on the inference component's), and the clock "
    "of this machine must be right",
    "the container seems not to serve /invocations",
)
STREAMED_INVOCATIONS_ROUTE = replace(
    INVOCATIONS_ROUTE,
    permissions="the role needs sagemaker:InvokeEndpoint, and for streams sagemaker:InvokeEndpointWithResponseStream, "
    "on the endpoint's ARN (and on the inference component's), and the clock of this machine must be right",
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a call of LiteLLM's asks.

    Attributes:
        content: the messages, or what is to be embedded.
        headers: the caller's, from ``extra_headers``.
        client: the caller's own, or None.
    """

    content: Any = field(repr=False)
    headers: Mapping[str, Any] = field(repr=False)
    client: Any = field(default=None, repr=False)


class Exchange(Protocol):
    """How a call's request is sent, and how its answer comes."""

    @property
    def request(self) -> Request:
        """The request that is sent."""

    def send(self) -> httpx.Response:
        """Send it, and give the answer. Raises what ``transport.send`` does, and AnswerError."""

    async def asend(self) -> httpx.Response:
        """``send`` for an event loop, which it never blocks."""


@dataclass(frozen=True, slots=True)
class Direct:
    """The answer comes to the request itself."""

    request: Request

    def send(self) -> httpx.Response:
        return send(self.request)

    async def asend(self) -> httpx.Response:
        return await asend(self.request)


class Operation(ABC):
    """One thing that can be asked of an endpoint. It has no state: there is one instance of each.

    Attributes:
        name: by which the table of options knows it.
        route: the permissions that it needs, and what to do where it is refused.
        max_body_bytes: how long a request's body may be.
        streams: whether the container can be asked for a stream.
        is_repeatable: whether this provider may send it again by itself.
        reads_in_thread: whether an answer takes so long to read that it must not hold up an event loop.
    """

    name: ClassVar[str]
    route: ClassVar[Route]
    max_body_bytes: ClassVar[int] = MAX_BODY_BYTES
    streams: ClassVar[bool] = False
    is_repeatable: ClassVar[bool] = True
    reads_in_thread: ClassVar[bool] = False

    @abstractmethod
    def question(self, call: Mapping[str, Any]) -> Question:
        """What LiteLLM's call asks, from the handler's keywords."""

    @abstractmethod
    def address(self, settings: Settings, target: Target, *, stream: bool) -> tuple[str, Signer]:
        """The URL, and what authorizes a request to it.

        Args:
            settings: the call's.
            target: what it names.
            stream: whether the container is asked for a stream.

        Raises:
            ValueError: no region, sources of it that disagree, a base URL that will not do, or a target that this
                operation cannot be asked of.
        """

    @abstractmethod
    def body(self, content: Any, settings: Settings, *, stream: bool) -> Mapping[str, Any]:
        """The request's body.

        Raises:
            ValueError: the question is malformed.
        """

    @abstractmethod
    def headers(self, given: Mapping[str, Any], settings: Settings, target: Target, *, stream: bool) -> dict[str, str]:
        """The request's headers, all but the authorizing ones.

        Raises:
            ValueError: one of the caller's must not be set.
        """

    def exchange(self, request: Request, settings: Settings) -> Exchange:
        """How the request is sent.

        Raises:
            ValueError: it cannot be sent as it is.
        """
        return Direct(request)

    @abstractmethod
    def answer(self, response: httpx.Response, call: Call) -> Any:
        """LiteLLM's response for an accepted request's whole answer.

        Raises:
            AnswerError: it is an error after all, or not an answer.
        """

    def chunks(self, response: httpx.Response, call: Call) -> ChunkStream:
        """What turns a streamed answer's bytes into LiteLLM's chunks. Called only where LiteLLM asked for a stream."""
        raise TypeError(f"{self.name} has no streams")


class Invocation(Operation):
    """What is asked by ``InvokeEndpoint``, streamed by ``InvokeEndpointWithResponseStream``, with a signature."""

    def address(self, settings: Settings, target: Target, *, stream: bool) -> tuple[str, Signer]:
        return invocations_address(settings, target, route=RESPONSE_STREAM if stream else INVOCATIONS)

    def headers(self, given: Mapping[str, Any], settings: Settings, target: Target, *, stream: bool) -> dict[str, str]:
        options = invocation_headers(settings.invocation, target.component, stream=stream)
        headers = build_headers(
            given, stream=stream, in_event_stream=stream, component=target.component, options=options
        )
        return {**hint_header(settings.body), **headers}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of LiteLLM's, understood and ready to be sent.

    Attributes:
        operation: what is asked.
        model: as the caller named it, without ``sagemaker_openai/``.
        target: what it names.
        content: the question's.
        settings: what the call's keywords say.
        exchange: how it is sent.
        retries: how often a stream that fails before its first chunk is tried again.
        model_response: LiteLLM's, to fill in; None for a stream, which would keep it for as long as it is open.
        logging_obj: LiteLLM's.
        litellm_params: LiteLLM's, which tell of a proxy's client and of the deployment.
        model_group: for metrics; empty where nobody asked for them.
    """

    operation: Operation
    model: str
    target: Target
    content: Any = field(repr=False)
    settings: Settings = field(repr=False)
    exchange: Exchange
    retries: int
    model_response: Any = field(repr=False)
    logging_obj: Any = field(repr=False)
    litellm_params: Mapping[str, Any] = field(repr=False)
    model_group: str = ""

    @property
    def request(self) -> Request:
        """The request that is sent."""
        return self.exchange.request

    def answered(self) -> Call:
        """The same without the request's body, which may be megabytes, for as long as a stream is open."""
        return replace(self, exchange=Direct(replace(self.request, body=b"")))
