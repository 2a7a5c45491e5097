"""A server on a real socket that answers with exactly the bytes that a test wants, in the pieces that it wants."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from litellm_sagemaker_openai.local.event_stream import CONTENT_TYPE, payload_part

End = Literal["whole", "cut", "reset", "stall"]


@dataclass(frozen=True)
class Seen:
    """One request as the server got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What to answer.

    Args:
        pieces: the body, each piece written on its own; a generator may wait in between.
        end: ``whole`` ends the body as HTTP has it; ``cut`` closes before its end; ``reset`` resets the connection;
            ``stall`` sends nothing more until the client leaves.
    """

    pieces: Iterable[bytes] = ()
    status: int = 200
    content_type: str | None = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    end: End = "whole"

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Scripted", "transfer-encoding: chunked"]
        if self.content_type is not None:
            lines.append(f"content-type: {self.content_type}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "\r\n"]).encode()


def json_answer(body: Any, status: int = 200, **headers: str) -> Answer:
    return Answer([json.dumps(body).encode()], status, "application/json", headers)


def in_event_stream(answer: Answer) -> Answer:
    """The same as SageMaker hands it on: each piece a part of an AWS event stream. An error comes as it is."""
    if answer.status >= 400:
        return answer
    inner = {} if answer.content_type is None else {"x-amzn-sagemaker-content-type": answer.content_type}
    parts = (payload_part(piece) for piece in answer.pieces)
    return replace(answer, pieces=parts, content_type=CONTENT_TYPE, headers={**answer.headers, **inner})


def on_its_route(script: Callable[[Seen], Answer | bytes] | Answer | bytes) -> Callable[[Seen], Answer | bytes]:
    """The script, whose answers come in an event stream where they are asked for on that route."""

    def answer(seen: Seen) -> Answer | bytes:
        given = script(seen) if callable(script) else script
        streamed = isinstance(given, Answer) and seen.path.endswith("/invocations-response-stream")
        return in_event_stream(given) if streamed and isinstance(given, Answer) else given

    return answer


def sse(*events: Any, done: bool = True) -> bytes:
    data = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    return "".join(f"data: {each}\n\n" for each in [*data, *(["[DONE]"] if done else [])]).encode()


def chunk(delta: Any = None, *, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as vLLM writes it."""
    choice = {"index": index, "delta": {} if delta is None else delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1795169406,
        "model": "served",
        "choices": [choice],
        **more,
    }


def usage_chunk(prompt: int, completion: int, **details: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **details}
    return {**chunk(), "choices": [], "usage": usage}


def completion(content: str | None = "Hello.", **more: Any) -> dict[str, Any]:
    """A whole answer as vLLM writes it."""
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1795169406,
        "model": "served",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        **more,
    }


class Scripted:
    """A server that answers each request with what ``script`` gives for it, or with the bytes of a raw answer.

    With ``tls``, it speaks HTTPS; ``peers`` are then the common names of the clients' certificates, None for none.
    """

    def __init__(self, script: Callable[[Seen], Answer | bytes], tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.peers: list[str | None] = []
        self._tls = tls
        self.seen: list[Seen] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.left = threading.Semaphore(0)  # released each time a client left a stalled answer
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        # shutdown() wakes the thread in accept(), which close() alone would leave there
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        accepted = connection
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self.peers.append(_common_name(connection.getpeercert()))
            with connection, connection.makefile("rb") as reader:
                while (seen := _read_request(reader)) is not None:
                    self.seen.append(seen)
                    if not self._answer(connection, self.script(seen)):
                        return
        except OSError:
            pass  # the client left, which is its right
        finally:
            accepted.close()
            with self._lock:
                self._open.discard(accepted)

    def _answer(self, connection: socket.socket, answer: Answer | bytes) -> bool:
        if isinstance(answer, bytes):
            connection.sendall(answer)
            return False
        try:
            connection.sendall(answer.head())
            for piece in filter(None, answer.pieces):  # an empty chunk would end the body
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            if answer.end == "whole":
                connection.sendall(b"0\r\n\r\n")
                return True
            if answer.end == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif answer.end == "stall":
                connection.recv(1)  # nothing, once the client closed
            return False
        finally:
            if answer.end == "stall":  # also where the client left before all of it was sent, or by a reset
                self.left.release()


def _common_name(certificate: Any) -> str | None:
    names = [value for part in (certificate or {}).get("subject", ()) for name, value in part if name == "commonName"]
    return names[0] if names else None


def _read_request(reader: Any) -> Seen | None:
    first = reader.readline().split()
    if len(first) < 2:
        return None
    headers: dict[str, str] = {}
    while (line := reader.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))
    return Seen(first[0].decode(), first[1].decode(), headers, body)


@contextlib.contextmanager
def scripted(
    script: Callable[[Seen], Answer | bytes] | Answer | bytes, tls: ssl.SSLContext | None = None
) -> Iterator[Scripted]:
    """A running server: ``script`` is one answer for all requests, or a function that gives one for each."""
    server = Scripted(script if callable(script) else lambda _: script, tls)
    try:
        yield server
    finally:
        server.close()
