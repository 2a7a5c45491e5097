"""The benchmark's server: the same bytes for each contender, for far less CPU than any of them takes to read them.

``python -m benchmarks.bench_server`` prints its URL as JSON, and for each line that it reads the CPU that it has used
and how many connections it has. It stops at the end of its input, so it outlives nobody.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from benchmarks.bench_answers import Piece, answer_to

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")


class Connection(asyncio.Protocol):
    """One request after the other, each answered once all of it is there."""

    open = 0

    def __init__(self) -> None:
        self._head = b""  # of the request that is arriving, while it is not complete
        self._path = b""
        self._missing = 0  # bytes of its body
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        Connection.open += 1

    def connection_lost(self, _: Exception | None) -> None:
        Connection.open -= 1

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            length = _LENGTH.search(head + b"\r\n")
            self._path = head.split(b" ", 2)[1]
            self._missing = (int(length[1]) if length else 0) - len(body)
            self._head = b""
        if self._missing < 0:
            raise ValueError("a request that did not wait for the answer to the one before")
        if not self._missing:
            self._write(answer_to(self._path))

    def _write(self, pieces: Sequence[Piece], next_one: int = 0) -> None:
        if self._transport.is_closing():
            return  # the client left
        self._transport.write(pieces[next_one].data)
        if next_one + 1 < len(pieces):
            after = pieces[next_one + 1].after
            asyncio.get_running_loop().call_later(after, self._write, pieces, next_one + 1)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    _say(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    while await loop.run_in_executor(None, sys.stdin.readline):
        _say(cpu=time.process_time(), open=Connection.open)
    server.close()


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())
