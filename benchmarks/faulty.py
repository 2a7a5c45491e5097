"""A SageMaker runtime that fails on demand: a process of its own, so that what is measured is the client alone.

From the client's side: a front that resets connections, the local runtime (tokens, paths, the wrapping of errors),
and a container that answers as the echo container does, or in the way that the body's ``fault`` says. The front is
there for resets only: the runtime, like SageMaker, passes a container's reset on as a 503 or as an ended connection.

``python -m benchmarks.faulty`` prints its URL as JSON, then its figures for each line it reads, and stops at the
end of its input, so it outlives nobody. Tokens must be signed with the AWS credentials of its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.types import Receive, Scope, Send

from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.local import echo
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import listen, running, url_of

REGION = "us-west-2"
ENDPOINTS: dict[str, tuple[str, ...]] = {"soak": (), "soak-shared": ("coder", "reviewer")}

# What the body's `fault` can say. "late": after the first half of the answer.
RESET, LATE_RESET = "reset", "late reset"
OVERLOADED = "503"
STALL, LATE_STALL = "stall", "late stall"
TRUNCATED = "truncated"  # a body that ends in the middle, and is whole as HTTP has it
CUT = "cut"  # a connection that is closed before the body's end
FAULTS = (RESET, LATE_RESET, OVERLOADED, STALL, LATE_STALL, TRUNCATED, CUT)

# The runtime, like SageMaker, waits its 60 s for a container that says nothing, though the client has gone.
_STALL_SECONDS = 5
# So long what came before a reset or a cut has time to be read: a reset discards what its receiver has not read yet.
_LATE_SECONDS = 0.3
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Container:
    """An OpenAI-compatible server, as an ASGI application."""

    def __init__(self) -> None:
        self.answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.answering += 1
        try:
            body = json.loads(await _body(receive))
            fault = body.pop("fault", None)
            if fault == STALL:
                await asyncio.sleep(_STALL_SECONDS)
            elif fault == OVERLOADED:
                await _refuse(send)
            else:
                await _answer(receive, send, body, fault)
        finally:
            self.answering -= 1


async def _answer(receive: Receive, send: Send, body: Any, fault: str | None) -> None:
    pieces = list(_pieces(body))
    if fault is not None:
        pieces = pieces[: len(pieces) // 2]
    content_type = b"text/event-stream" if body.get("stream") else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    if fault in (LATE_STALL, LATE_RESET):
        await _left(receive)
    elif fault == CUT:
        await asyncio.sleep(_LATE_SECONDS)  # and the server closes the connection of what returns without an end
    else:
        await send({"type": "http.response.body"})


def _pieces(body: Any) -> Iterator[bytes]:
    if body.get("stream"):
        for chunk in echo.stream(body):
            yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"
    else:
        whole = json.dumps(echo.complete(body)).encode()
        yield whole[: len(whole) // 2]
        yield whole[len(whole) // 2 :]


async def _refuse(send: Send) -> None:
    error = {"error": {"message": "overloaded", "type": "ServiceUnavailableError", "param": None, "code": 503}}
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(error).encode()})


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _left(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass
class Front:
    """Passes bytes on between clients and the runtime, and resets the connections of requests that ask for it."""

    port: int
    open: int = 0
    most: int = 0
    accepted: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            upstream, up = await asyncio.open_connection("127.0.0.1", self.port)
            answered = asyncio.Event()
            pumps = [
                asyncio.create_task(_requests(reader, up, writer, answered)),
                asyncio.create_task(_answers(upstream, writer, answered)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)  # that the client left, or the runtime closed
            up.close()
        finally:
            self.open -= 1
            writer.close()


async def _requests(
    reader: asyncio.StreamReader, up: asyncio.StreamWriter, client: asyncio.StreamWriter, answered: asyncio.Event
) -> None:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(_content_length(head))
        fault = json.loads(body).get("fault")
        if fault == RESET:
            return _reset(client)
        answered.clear()
        up.write(head + body)
        await up.drain()
        if fault == LATE_RESET:
            await answered.wait()
            await asyncio.sleep(_LATE_SECONDS)
            return _reset(client)


async def _answers(upstream: asyncio.StreamReader, client: asyncio.StreamWriter, answered: asyncio.Event) -> None:
    while data := await upstream.read(65536):
        answered.set()
        client.write(data)
        await client.drain()


def _content_length(head: bytes) -> int:
    lengths = (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(next(lengths, b"0"))


def _reset(client: asyncio.StreamWriter) -> None:
    client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    client.transport.abort()


async def serve() -> None:
    container = Container()
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(container, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    config = RuntimeConfig(
        endpoints=ENDPOINTS,
        credentials=FrozenCredentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]),
        region=REGION,
        upstream=f"{url_of(listener)}/v1",
        remembered=1,
    )
    with running(config) as runtime:
        front = Front(urlsplit(runtime.url).port or 0)
        clients = await asyncio.start_server(front.serve, "127.0.0.1", 0, backlog=2048)
        _say(url=f"http://127.0.0.1:{clients.sockets[0].getsockname()[1]}")
        while await asyncio.to_thread(sys.stdin.readline):
            _say(open=front.open, most=front.most, accepted=front.accepted, answering=container.answering)
        clients.close()
    server.should_exit = True
    await serving


def _say(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
