"""The runtime's web application: AWS's front door before an echo container or an OpenAI-compatible server."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Protocol

import anyio
import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.local import (
    echo,
    embeddings,
    frontdoor,
    invoke_endpoint,
    queued_invocations,
    rerank,
    text_completions,
)
from litellm_sagemaker_openai.local.echo import ContainerRefusal, EchoConfig, Plan
from litellm_sagemaker_openai.local.event_stream import CONTENT_TYPE, payload_part
from litellm_sagemaker_openai.local.frontdoor import Answer, Container
from litellm_sagemaker_openai.local.queued_invocations import AsyncInferenceConfig, QueuedRequest
from litellm_sagemaker_openai.local.routing import INSTANCE_HEADER, Instances, PrefixCache, Routing, hint_in, prefix_of
from litellm_sagemaker_openai.local.sessions import Sessions
from litellm_sagemaker_openai.local.signatures import check_signature
from litellm_sagemaker_openai.local.tokens import check_token

# A container must answer within 60 s, and a stream end within 8 minutes:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
# https://docs.aws.amazon.com/sagemaker/latest/dg/hosting-faqs.html
ANSWER_SECONDS, STREAM_SECONDS = 60.0, 480.0
_CONNECT_SECONDS = 5.0
_CHAT_ROUTES = (
    "/endpoints/{endpoint}/openai/v1/chat/completions",
    "/endpoints/{endpoint}/inference-components/{component}/openai/v1/chat/completions",
)
# What reaches the container of a request's headers, and from it the answer.
_TO_CONTAINER = (frontdoor.SESSION_HEADER, frontdoor.ATTRIBUTES_HEADER)
_FROM_CONTAINER = (
    "content-type",
    "content-encoding",
    "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-closed-session-id",
    frontdoor.ATTRIBUTES_HEADER,
)
_LEAVE = "litellm_sagemaker_openai.leave"  # in a request's scope: what is to be called when it is over
_SECRET_HEADERS = ("authorization", "x-amz-security-token")


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """What a runtime serves, and whose tokens and signatures it accepts.

    Attributes:
        endpoints: endpoint → its inference components; ``()`` for an endpoint that serves one model itself.
        credentials: tokens signed with these are accepted, and no others.
        region: the region that it plays.
        upstream: base URL of an OpenAI-compatible server, ``http://127.0.0.1:8000/v1``. Default: the echo container.
        cold_start: seconds without capacity after a component's first refused request. Default: 0, always warm.
        answer_seconds: how long an upstream may take for a whole answer, or for a stream's head. Default: 60.
        stream_seconds: how long it may take for all of a stream. Default: 480.
        echo: the echo container's settings.
        queues: those of the endpoints that are for asynchronous inference. Default: none.
        sessions: seconds that a stateful session of the echo container's lives. Default: it keeps none.
        instances: how many instances answer for each endpoint or component. With it, a response says which one did, and
            each echo container has a prefix cache and says how many of the prompt's tokens were in it. Default: one
            instance, without these.
        remembered: how many received requests ``app.state.received`` keeps. Default: 1000.
        now: the clock, for token expiry and cold starts.
    """

    endpoints: Mapping[str, tuple[str, ...]]
    credentials: FrozenCredentials
    region: str
    upstream: str | None = None
    cold_start: float = 0
    answer_seconds: float = ANSWER_SECONDS
    stream_seconds: float = STREAM_SECONDS
    echo: EchoConfig = field(default_factory=EchoConfig)
    queues: Mapping[str, AsyncInferenceConfig] = field(default_factory=dict)
    sessions: float | None = None
    instances: Instances | None = None
    remembered: int = 1000
    now: Callable[[], datetime] = _utc_now


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in: header names in lower case, without credentials; ``body`` is None if it is not JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


def create_app(config: RuntimeConfig) -> Starlette:
    """The application; ``app.state.received`` is a deque of ``Received``, newest last."""
    received: deque[Received] = deque(maxlen=config.remembered)
    door = _FrontDoor(config, received)
    app = Starlette(
        routes=[
            *(Route(path, door.chat, methods=["POST"]) for path in _CHAT_ROUTES),
            Route("/endpoints/{endpoint}/invocations", door.invocations, methods=["POST"]),
            Route("/endpoints/{endpoint}/invocations-response-stream", door.response_stream, methods=["POST"]),
            Route("/endpoints/{endpoint}/async-invocations", door.queued_invocations, methods=["POST"]),
        ],
        exception_handlers={HTTPException: door.unknown_path, ClientDisconnect: door.client_left},
        middleware=[Middleware(_InFlight)],
        lifespan=door.lifespan,
    )
    app.state.received = received
    return app


class _FrontDoor:
    def __init__(self, config: RuntimeConfig, received: deque[Received]) -> None:
        self._config = config
        self._received = received
        self._scale_up_began: dict[tuple[str, str | None], datetime] = {}
        self._sessions: dict[tuple[str, str | None], Sessions] = {}  # of the container of each endpoint and component
        self._routings: dict[tuple[str, str | None], Routing] = {}
        self._http: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(),  # none: httpx would open 100 connections, and let the other requests wait for one
            trust_env=False,  # a proxy for the internet cannot reach a server on this machine
        ) as self._http:
            yield

    async def unknown_path(self, request: Request, error: Exception) -> Response:
        return _json_response(frontdoor.unknown_path(request.method, request.url.path))

    async def client_left(self, request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it: the client left before its request was complete

    async def chat(self, request: Request) -> Response:
        raw = await self._read(request)
        endpoint, component = request.path_params["endpoint"], request.path_params.get("component")
        refusal = self._refusal(request, endpoint, component, raw)
        if refusal is not None:
            return _json_response(refusal)
        return await self._container(request, raw, endpoint, component, _CHAT)

    async def invocations(self, request: Request) -> Response:
        """``InvokeEndpoint``: what ``/openai/v1`` does not route, signed with SigV4, the component in a header."""
        raw = await self._read(request)
        endpoint, component = request.path_params["endpoint"], request.headers.get(frontdoor.COMPONENT_HEADER)
        refusal = self._signature_refusal(request, raw)
        if refusal is None and (of_target := self._target_refusal(endpoint, component)) is not None:
            refusal = invoke_endpoint.validation_error(of_target)
        if refusal is not None:
            return _json_response(refusal)
        answer = self._of_session(request, raw, endpoint, component)
        if answer is None:
            answer = await self._container(request, raw, endpoint, component, _INVOKE_ENDPOINT)
        return self._as_asked(request, answer)

    def _as_asked(self, request: Request, answer: Response) -> Response:
        """The answer, of the variant that was asked for; the echo container returns the custom attributes."""
        echoed = {"x-amzn-sagemaker-target-variant": "x-amzn-invoked-production-variant"}
        if self._config.upstream is None:
            echoed[frontdoor.ATTRIBUTES_HEADER] = frontdoor.ATTRIBUTES_HEADER
        for asked, answered in echoed.items():
            if asked in request.headers and answer.status_code < 400:
                answer.headers[answered] = request.headers[asked]
        return answer

    def _of_session(self, request: Request, raw: bytes, endpoint: str, component: str | None) -> Response | None:
        """The echo container's answer, where a session is opened or closed, or where there is none of that name."""
        if self._config.upstream is not None:
            return None  # it keeps its own
        sessions = self._sessions.setdefault((endpoint, component), Sessions(self._config.sessions))
        session_id = request.headers.get(frontdoor.SESSION_HEADER)
        try:
            answer = sessions.answer(session_id, _json_or_none(raw), self._config.now())
        except ContainerRefusal as refusal:
            container = Container(_container_id(endpoint, component), endpoint, self._config.region)
            body = _json_bytes(refusal.body)
            return _json_response(invoke_endpoint.container_error(refusal.status, body, container))
        return None if answer is None else _answered(Response(answer.text, headers=dict(answer.headers)))

    async def response_stream(self, request: Request) -> Response:
        """``InvokeEndpointWithResponseStream``: as ``invocations``, and what the container answers comes in events."""
        answer = await self.invocations(request)
        return answer if answer.status_code >= 400 else _InEventStream(answer)

    async def queued_invocations(self, request: Request) -> Response:
        """``InvokeEndpointAsync``: the request is queued, and what the container answers is stored in S3."""
        raw = await self._read(request)
        endpoint = request.path_params["endpoint"]
        refusal = self._signature_refusal(request, raw)
        if refusal is not None:
            return _json_response(refusal)
        config = self._config.queues.get(endpoint)
        if endpoint not in self._config.endpoints:
            return _json_response(invoke_endpoint.validation_error(frontdoor.endpoint_not_found(endpoint)))
        if config is None:
            return _json_response(invoke_endpoint.validation_error(frontdoor.other_kind(endpoint)))
        queued = queued_invocations.accept(config, request.headers, raw)
        if isinstance(queued, Answer):
            return _json_response(queued)
        body, headers = queued.answer()
        infer = BackgroundTask(self._infer, request, endpoint, config, queued)
        return _with_request_id(Response(body, 202, headers, "application/json", infer))

    async def _read(self, request: Request) -> bytes:
        """The request's body, which is read before anything is refused: a client that is still sending would see a
        broken connection in place of the refusal."""
        raw = await _read_body(request)
        self._received.append(_received(request, raw))
        return raw

    async def _infer(
        self, request: Request, endpoint: str, config: AsyncInferenceConfig, queued: QueuedRequest
    ) -> None:
        """Let the container answer a queued request, and store its answer in S3."""
        await anyio.sleep(config.delay)
        s3 = await anyio.to_thread.run_sync(config.s3 or self._s3)
        raw = await anyio.to_thread.run_sync(queued.read_input, s3)
        if raw is None:
            await anyio.to_thread.run_sync(queued.store, s3, 400, b"The object at InputLocation could not be read.")
            return
        response = await self._container(request, raw, endpoint, None, _QUEUED)
        body = await _body_of(response)
        await anyio.to_thread.run_sync(queued.store, s3, response.status_code, body)

    def _s3(self) -> Any:
        import boto3  # here: it takes a while, and few runtimes need it

        credentials = self._config.credentials
        return boto3.client(
            "s3",
            region_name=self._config.region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.session_token,
        )

    def _signature_refusal(self, request: Request, raw: bytes) -> Answer | None:
        """The front door's answer to a request that is not signed as the SDKs' routes need it, or is too large."""
        if len(raw) > MAX_BODY_BYTES:
            return invoke_endpoint.validation_error(frontdoor.body_too_large())
        config = self._config
        refusal = check_signature(
            request.scope["raw_path"].decode("latin-1"),
            request.headers,
            raw,
            credentials=config.credentials,
            region=config.region,
            now=config.now(),
        )
        return None if refusal is None else invoke_endpoint.signature_refused(refusal)

    def _refusal(self, request: Request, endpoint: str, component: str | None, raw: bytes) -> Answer | None:
        """The front door's own answer, in AWS's order: who asks, what for, how much, and whether there is capacity."""
        config = self._config
        refusal = check_token(
            request.headers.get("authorization"),
            credentials=config.credentials,
            region=config.region,
            now=config.now(),
        )
        if refusal is not None:
            return frontdoor.token_refused(refusal)
        if frontdoor.COMPONENT_HEADER in request.headers:
            return frontdoor.component_header_refused()
        if len(raw) > MAX_BODY_BYTES:
            return frontdoor.body_too_large()
        return self._target_refusal(endpoint, component)

    def _target_refusal(self, endpoint: str, component: str | None) -> Answer | None:
        if endpoint not in self._config.endpoints:
            return frontdoor.endpoint_not_found(endpoint)
        if endpoint in self._config.queues:
            return frontdoor.other_kind(endpoint)
        components = self._config.endpoints[endpoint]
        if component is None and components:
            return frontdoor.component_needed()
        if component is not None and component not in components:
            return frontdoor.component_not_found(component, endpoint)
        return None if self._has_capacity(endpoint, component) else frontdoor.no_capacity()

    def _has_capacity(self, endpoint: str, component: str | None) -> bool:
        if self._config.cold_start <= 0:
            return True
        now = self._config.now()
        # The request that is refused first is what starts the scale-up.
        began = self._scale_up_began.setdefault((endpoint, component), now)
        return (now - began).total_seconds() >= self._config.cold_start

    async def _container(
        self, request: Request, raw: bytes, endpoint: str, component: str | None, route: _Route
    ) -> Response:
        container = Container(_container_id(endpoint, component), endpoint, self._config.region)
        cache = self._routed(request, raw, endpoint, component, of_messages=route is _CHAT)
        if self._config.upstream is None:
            return await self._echo(raw, container, route, cache)
        return await self._pass_on(self._config.upstream, request, raw, container, route)

    def _routed(
        self, request: Request, raw: bytes, endpoint: str, component: str | None, *, of_messages: bool
    ) -> PrefixCache | None:
        """The cache of the instance that a request goes to, where there are several."""
        instances = self._config.instances
        if instances is None:
            return None
        routing = self._routings.setdefault((endpoint, component), Routing(instances))
        body = _json_or_none(raw)
        prefix = prefix_of(raw, body, instances.prefix_length, of_messages=of_messages)
        instance = routing.enter(prefix, hint_in(body, request.headers, of_messages=of_messages))
        request.scope[_LEAVE] = lambda: routing.leave(instance)
        request.scope[INSTANCE_HEADER] = str(instance + 1)
        return routing.caches[instance]

    async def _echo(self, raw: bytes, container: Container, route: _Route, cache: PrefixCache | None) -> Response:
        config, unique, created = self._config.echo, uuid.uuid4().hex, int(time.time())
        try:
            body = echo.parse_body(raw)
            path = route.path(body)
            if path == _COMPLETIONS_PATH:
                cmpl = f"cmpl-{unique}"
                if body.get("stream"):
                    pieces = text_completions.stream_text(body, config, completion_id=cmpl, created=created)
                    return _answered(_EchoStream(pieces, Plan(0, ())))
                whole = text_completions.complete_text(body, config, completion_id=cmpl, created=created)
                return _answered(Response(_json_bytes(whole), media_type="application/json"))
            if path == _EMBEDDINGS_PATH:
                whole = embeddings.embed(body, config, embedding_id=f"embd-{unique}", created=created)
                return _answered(Response(_json_bytes(whole), media_type="application/json"))
            if path == _RERANK_PATH:
                ranked = rerank.rerank(body, config, rerank_id=f"score-{unique}")
                return _answered(Response(_json_bytes(ranked), media_type="application/json"))
            plan = echo.plan_answer(body, config)
            if cache is not None:
                plan = replace(plan, cached_tokens=cache.take(echo.prompt_of(body)))
        except ContainerRefusal as refusal:
            return _json_response(route.errors.container_error(refusal.status, _json_bytes(refusal.body), container))
        if body.get("stream"):
            chunks = echo.write_chunks(plan, body, config, completion_id=f"chatcmpl-{unique}", created=created)
            return _answered(_EchoStream(chunks, plan))
        await anyio.sleep(plan.delay * plan.usage["completion_tokens"])
        if plan.break_after is not None:
            return _json_response(route.errors.container_unreachable(container))
        whole = echo.write_whole(plan, body, config, completion_id=f"chatcmpl-{unique}", created=created)
        return _answered(Response(_json_bytes(whole), media_type="application/json"))

    async def _pass_on(
        self, upstream: str, request: Request, raw: bytes, container: Container, route: _Route
    ) -> Response:
        """The upstream server's answer, its bytes as they come; errors quoted, as for any container."""
        assert self._http is not None, "the application's lifespan has not begun"
        headers = {
            "content-type": request.headers.get("content-type", "application/json"),
            "accept-encoding": "identity",
        }
        headers.update({name: request.headers[name] for name in _TO_CONTAINER if name in request.headers})
        accept = request.headers.get(frontdoor.ACCEPT_HEADER) or request.headers.get("accept")
        if accept is not None:
            headers["accept"] = accept
        question = _json_or_none(raw)
        outgoing = self._http.build_request(
            "POST", f"{upstream.rstrip('/')}{route.path(question)}", content=raw, headers=headers
        )
        began = anyio.current_time()
        try:
            with anyio.fail_after(self._config.answer_seconds):
                response = await self._http.send(outgoing, stream=True)
                if response.status_code >= 400:
                    body = await _error_body(response)
                    return _json_response(route.errors.container_error(response.status_code, body, container))
        except TimeoutError:
            return _json_response(route.errors.container_timed_out(container))
        except httpx.TransportError:
            return _json_response(route.errors.container_unreachable(container))
        is_stream = isinstance(question, Mapping) and bool(question.get("stream"))
        seconds = self._config.stream_seconds if is_stream else self._config.answer_seconds
        return _answered(_PassThrough(response, began + seconds))


class _ContainerErrors(Protocol):
    """How a route answers where something goes wrong with the container."""

    def container_error(self, status: int, body: bytes | None, container: Container) -> Answer: ...

    def container_timed_out(self, container: Container) -> Answer: ...

    def container_unreachable(self, container: Container) -> Answer: ...


@dataclass(frozen=True, slots=True)
class _Route:
    """``path`` gives the path of an OpenAI-compatible server for a body."""

    errors: _ContainerErrors
    path: Callable[[Any], str]


_CHAT_PATH, _COMPLETIONS_PATH = "/chat/completions", "/completions"
_EMBEDDINGS_PATH, _RERANK_PATH = "/embeddings", "/rerank"


def _by_shape(body: Any) -> str:
    """The path for a body by what it asks for, which is how vLLM's ``/invocations`` tells."""
    if not isinstance(body, Mapping) or "messages" in body:
        return _CHAT_PATH
    if rerank.is_rerank(body):
        return _RERANK_PATH
    return _COMPLETIONS_PATH if "prompt" in body else _EMBEDDINGS_PATH


_CHAT = _Route(frontdoor, lambda _: _CHAT_PATH)
_INVOKE_ENDPOINT = _Route(invoke_endpoint, _by_shape)
_QUEUED = _Route(queued_invocations, _by_shape)


class _InFlight:
    """Says which instance answers, and when a request is over, however it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_instance(message: Message) -> None:
            if message["type"] == "http.response.start" and INSTANCE_HEADER in scope:
                header = (INSTANCE_HEADER.encode(), scope[INSTANCE_HEADER].encode())
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_instance)
        finally:
            scope.pop(_LEAVE, lambda: None)()


class _PassThrough(StreamingResponse):
    """An upstream response on its way through. Where it breaks off, so does this one, and so it does at the deadline,
    in ``anyio.current_time``."""

    def __init__(self, upstream: httpx.Response, deadline: float) -> None:
        kept = {name: upstream.headers[name] for name in _FROM_CONTAINER if name in upstream.headers}
        super().__init__(upstream.aiter_raw(), status_code=upstream.status_code, headers=kept)
        self._upstream = upstream
        self._deadline = deadline
        self.timed_out = False

    async def stream_response(self, send: Send) -> None:
        try:
            # Without its last chunk the response is visibly incomplete: uvicorn closes the connection.
            with anyio.CancelScope(deadline=self._deadline) as scope:
                await super().stream_response(send)
            self.timed_out = scope.cancelled_caught
        except httpx.TransportError:
            return
        finally:
            # Shielded: also when the caller has gone and this task is being cancelled, which is when an
            # upstream that still generates must be told to stop.
            with anyio.CancelScope(shield=True):
                await self._upstream.aclose()


class _EchoStream(StreamingResponse):
    """The echo container's chunks, as slow as the plan says. Where the plan breaks off, so does the connection."""

    def __init__(self, chunks: Iterator[dict[str, Any]], plan: Plan) -> None:
        super().__init__(_sse(chunks, plan), media_type="text/event-stream")
        self._breaks = plan.break_after is not None

    async def stream_response(self, send: Send) -> None:
        async def send_but_no_end(message: Message) -> None:
            if message.get("more_body") is not False:
                await send(message)

        await super().stream_response(send_but_no_end if self._breaks else send)


class _InEventStream(Response):
    """A container's answer in an AWS event stream. Where it breaks off, SageMaker says so in an exception."""

    def __init__(self, container: Response) -> None:
        super().__init__()
        self._container = container
        self._ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_events(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send({**message, "headers": _in_event_stream(message["headers"])})
                return
            self._ended = not message.get("more_body")
            body = payload_part(message["body"]) if message["body"] else b""
            await send({**message, "body": body})

        await self._container(scope, receive, send_in_events)
        if not self._ended:
            timed_out = getattr(self._container, "timed_out", False)
            broken = invoke_endpoint.stream_timed_out() if timed_out else invoke_endpoint.stream_broken()
            await send({"type": "http.response.body", "body": broken})


def _in_event_stream(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a container's answer, as they stand on the event stream around it."""
    kept = [(name, value) for name, value in headers if name not in (b"content-type", b"content-length")]
    inner = [(b"x-amzn-sagemaker-content-type", value) for name, value in headers if name == b"content-type"]
    return [*kept, *inner, (b"content-type", CONTENT_TYPE.encode())]


async def _sse(chunks: Iterator[dict[str, Any]], plan: Plan) -> AsyncIterator[bytes]:
    for chunk in chunks:
        if plan.delay:
            await anyio.sleep(plan.delay)
        yield b"data: " + _json_bytes(chunk) + b"\n\n"
    if plan.break_after is None:
        yield b"data: [DONE]\n\n"


async def _read_body(request: Request) -> bytes:
    """The request's body, read to its end; of one that is larger than AWS takes, one byte more than that."""
    raw = bytearray()
    async for piece in request.stream():
        raw += piece[: MAX_BODY_BYTES + 1 - len(raw)]
    return bytes(raw)


async def _body_of(response: Response) -> bytes:
    if isinstance(response, StreamingResponse):
        return b"".join([piece async for piece in response.body_iterator if isinstance(piece, bytes)])
    return bytes(response.body)


async def _error_body(response: httpx.Response) -> bytes | None:
    try:
        return await response.aread()
    except httpx.TransportError:
        return None
    finally:
        await response.aclose()


def _received(request: Request, raw: bytes) -> Received:
    headers = {name: value for name, value in request.headers.items() if name not in _SECRET_HEADERS}
    return Received(request.method, request.url.path, headers, _json_or_none(raw))


def _json_or_none(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _container_id(endpoint: str, component: str | None) -> str:
    """``primary`` for an endpoint's own model; for a component 20 characters, as AWS names its copies."""
    if component is None:
        return "primary"
    return hashlib.sha256(f"{endpoint}/{component}".encode()).hexdigest()[:20]


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _json_response(answer: Answer) -> Response:
    # A name in the path can hold anything, also what UTF-8 cannot encode.
    content = answer.body.encode(errors="replace")
    response = Response(content, status_code=answer.status, media_type="application/json")
    if answer.error_type:
        response.headers["x-amzn-errortype"] = answer.error_type
    return _with_request_id(response)


def _answered(response: Response) -> Response:
    """A container's answer, with the headers that InvokeEndpoint's has."""
    response.headers["x-amzn-invoked-production-variant"] = "AllTraffic"
    return _with_request_id(response)


def _with_request_id(response: Response) -> Response:
    response.headers["x-amzn-requestid"] = str(uuid.uuid4())
    return response
