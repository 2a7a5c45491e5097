"""The runtime's web application: AWS's front door before an echo container or an OpenAI-compatible server."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypedDict

import anyio
import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Send

from litellm_sagemaker_openai.local import echo, frontdoor
from litellm_sagemaker_openai.local.echo import ContainerRefusal, EchoConfig
from litellm_sagemaker_openai.local.frontdoor import Answer
from litellm_sagemaker_openai.local.tokens import check_token
from litellm_sagemaker_openai.sigv4 import FrozenCredentials

# A container must answer within 60 s:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
CONTAINER_TIMEOUT = httpx.Timeout(60, connect=5)
_ROUTES = (
    "/endpoints/{endpoint}/openai/v1/chat/completions",
    "/endpoints/{endpoint}/inference-components/{component}/openai/v1/chat/completions",
)


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """What a runtime serves, and whom it believes.

    Attributes:
        endpoints: endpoint → its inference components; ``()`` for an endpoint that serves one model itself.
        credentials: tokens signed with these are accepted, and no others.
        region: the region that it plays.
        upstream: base URL of an OpenAI-compatible server, ``http://127.0.0.1:8000/v1``. Default: the echo container.
        cold_start: seconds without capacity after a component's first refused request. Default: 0, always warm.
        echo: the echo container's settings.
        remembered: how many received requests ``app.state.received`` keeps. Default: 1000.
        now: the clock, for token expiry and cold starts.
    """

    endpoints: Mapping[str, tuple[str, ...]]
    credentials: FrozenCredentials
    region: str
    upstream: str | None = None
    cold_start: float = 0
    echo: EchoConfig = field(default_factory=EchoConfig)
    remembered: int = 1000
    now: Callable[[], datetime] = _utc_now


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in: header names in lower case, without ``Authorization``; ``body`` is None if no JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


def create_app(config: RuntimeConfig) -> Starlette:
    """The application; ``app.state.received`` is a deque of ``Received``, newest last."""
    received: deque[Received] = deque(maxlen=config.remembered)
    door = _FrontDoor(config, received)
    app = Starlette(
        routes=[Route(path, door.chat, methods=["POST"]) for path in _ROUTES],
        exception_handlers={HTTPException: door.unknown, ClientDisconnect: door.gone},
        lifespan=door.lifespan,
    )
    app.state.received = received
    return app


class _FrontDoor:
    def __init__(self, config: RuntimeConfig, received: deque[Received]) -> None:
        self._config = config
        self._received = received
        self._scale_up_began: dict[tuple[str, str | None], datetime] = {}
        self._http: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        # trust_env=False: a proxy set for the internet is no way to a server on this machine.
        async with httpx.AsyncClient(timeout=CONTAINER_TIMEOUT, trust_env=False) as self._http:
            yield

    async def unknown(self, request: Request, error: Exception) -> Response:
        return _json_response(frontdoor.unknown_path(request.method, request.url.path))

    async def gone(self, request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # for nobody to read: the client left before its request was whole

    async def chat(self, request: Request) -> Response:
        # The body is read before anything is refused: a client that is still sending would see a broken
        # connection in place of the refusal.
        raw = await _read_body(request)
        self._received.append(_received(request, raw))
        endpoint, component = request.path_params["endpoint"], request.path_params.get("component")
        answer = self._refusal(request, endpoint, component, raw)
        if answer is not None or raw is None:
            return _json_response(answer or frontdoor.body_too_large())
        if self._config.upstream is None:
            return self._echo(raw, endpoint, component)
        return await self._pass_on(self._config.upstream, request, raw, endpoint, component)

    def _refusal(self, request: Request, endpoint: str, component: str | None, raw: bytes | None) -> Answer | None:
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
        if raw is None:
            return frontdoor.body_too_large()
        if endpoint not in config.endpoints:
            return frontdoor.endpoint_not_found(endpoint)
        components = config.endpoints[endpoint]
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

    def _echo(self, raw: bytes, endpoint: str, component: str | None) -> Response:
        completion_id, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        try:
            body = echo.parse_body(raw)
            if body.get("stream"):
                chunks = echo.stream(body, self._config.echo, completion_id=completion_id, created=created)
                return _answered(StreamingResponse(_sse(chunks), media_type="text/event-stream"))
            whole = echo.complete(body, self._config.echo, completion_id=completion_id, created=created)
        except ContainerRefusal as refusal:
            return self._quoted(refusal.status, _json_bytes(refusal.body), endpoint, component)
        return _answered(Response(_json_bytes(whole), media_type="application/json"))

    async def _pass_on(
        self, upstream: str, request: Request, raw: bytes, endpoint: str, component: str | None
    ) -> Response:
        """The upstream server's answer, its bytes as they come; errors quoted, as for any container."""
        assert self._http is not None, "the application's lifespan has not begun"
        headers = {
            "content-type": request.headers.get("content-type", "application/json"),
            "accept-encoding": "identity",
        }
        if "accept" in request.headers:
            headers["accept"] = request.headers["accept"]
        outgoing = self._http.build_request(
            "POST", f"{upstream.rstrip('/')}/chat/completions", content=raw, headers=headers
        )
        where = self._where(endpoint, component)
        try:
            response = await self._http.send(outgoing, stream=True)
        except httpx.ReadTimeout:
            return _json_response(frontdoor.container_timed_out(**where))
        except httpx.TransportError:
            return _json_response(frontdoor.container_unreachable(**where))
        if response.status_code >= 400:
            return self._quoted(response.status_code, await _error_body(response), endpoint, component)
        return _answered(_PassThrough(response))

    def _quoted(self, status: int, body: bytes | None, endpoint: str, component: str | None) -> Response:
        return _json_response(frontdoor.container_error(status, body, **self._where(endpoint, component)))

    def _where(self, endpoint: str, component: str | None) -> _Where:
        return _Where(container=_container_id(endpoint, component), endpoint=endpoint, region=self._config.region)


class _Where(TypedDict):
    container: str
    endpoint: str
    region: str


class _PassThrough(StreamingResponse):
    """An upstream response on its way through. Where it breaks off, so does this one."""

    def __init__(self, upstream: httpx.Response) -> None:
        kept = {
            name: upstream.headers[name] for name in ("content-type", "content-encoding") if name in upstream.headers
        }
        super().__init__(upstream.aiter_raw(), status_code=upstream.status_code, headers=kept)
        self._upstream = upstream

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except httpx.TransportError:
            # Without its last chunk the response is visibly incomplete: uvicorn closes the connection.
            return
        finally:
            # Shielded: also when the caller has gone and this task is being cancelled, which is when an
            # upstream that still generates must be told to stop.
            with anyio.CancelScope(shield=True):
                await self._upstream.aclose()


async def _sse(chunks: Iterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield b"data: " + _json_bytes(chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"


async def _read_body(request: Request) -> bytes | None:
    """The request's body, or None where it is larger than AWS takes; it is read to its end all the same."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size <= frontdoor.MAX_BODY_BYTES:
            pieces.append(piece)
    return b"".join(pieces) if size <= frontdoor.MAX_BODY_BYTES else None


async def _error_body(response: httpx.Response) -> bytes | None:
    try:
        return await response.aread()
    except httpx.TransportError:
        return None
    finally:
        await response.aclose()


def _received(request: Request, raw: bytes | None) -> Received:
    headers = {name: value for name, value in request.headers.items() if name != "authorization"}
    try:
        body = json.loads(raw or b"")
    except (ValueError, RecursionError):
        body = None
    return Received(request.method, request.url.path, headers, body)


def _container_id(endpoint: str, component: str | None) -> str:
    """``primary`` for an endpoint's own model; for a component 20 characters, as AWS names its copies."""
    if component is None:
        return "primary"
    return hashlib.sha256(f"{endpoint}/{component}".encode()).hexdigest()[:20]


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _json_response(answer: Answer) -> Response:
    # A name in the path can hold anything, also what UTF-8 cannot say.
    content = answer.body.encode(errors="replace")
    return _with_request_id(Response(content, status_code=answer.status, media_type="application/json"))


def _answered(response: Response) -> Response:
    """A container's answer, with the headers that InvokeEndpoint's has."""
    response.headers["x-amzn-invoked-production-variant"] = "AllTraffic"
    return _with_request_id(response)


def _with_request_id(response: Response) -> Response:
    response.headers["x-amzn-requestid"] = str(uuid.uuid4())
    return response
