"""A stand-in for Redis: as many of its commands as LiteLLM's Router uses to share its state, in RESP."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase


@dataclass
class Redis:
    """A running stand-in. What it keeps never expires: that is Redis's business."""

    port: int = 0
    kept: dict[bytes, bytes] = field(default_factory=dict)
    unknown: set[bytes] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, command: list[bytes]) -> bytes:
        name, *arguments = command
        with self.lock:
            if name.upper() == b"GET":
                return _bulk(self.kept.get(arguments[0]))
            if name.upper() == b"MGET":
                values = [_bulk(self.kept.get(key)) for key in arguments]
                return b"*%d\r\n%b" % (len(values), b"".join(values))
            if name.upper() == b"SET":
                self.kept[arguments[0]] = arguments[1]
                return b"+OK\r\n"
            if name.upper() in (b"INCRBY", b"INCRBYFLOAT"):
                total = float(self.kept.get(arguments[0], b"0")) + float(arguments[1])
                self.kept[arguments[0]] = b"%g" % total
                return b":%d\r\n" % total if name.upper() == b"INCRBY" else _bulk(self.kept[arguments[0]])
            if name.upper() in (b"EXPIRE", b"TTL"):
                return b":60\r\n"
            if name.upper() == b"HELLO":
                return b"%1\r\n$5\r\nproto\r\n:3\r\n"
            if name.upper() == b"INFO":
                return _bulk(b"redis_version:7.4.0\r\n")
            if name.upper() in (b"CLIENT", b"PING", b"AUTH", b"SELECT"):
                return b"+OK\r\n"
            self.unknown.add(name)
            return b"-ERR unknown command '%b'\r\n" % name


def _bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def _commands(reader: BufferedIOBase) -> Iterator[list[bytes]]:
    while head := reader.readline():
        command = []
        for _ in range(int(head[1:])):
            size = int(reader.readline()[1:])
            command.append(reader.read(size + 2)[:-2])
        yield command


@contextmanager
def redis() -> Iterator[Redis]:
    """A running stand-in on a free port."""
    state = Redis()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for command in _commands(self.rfile):
                self.wfile.write(state.answer(command))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield state
        finally:
            server.shutdown()
