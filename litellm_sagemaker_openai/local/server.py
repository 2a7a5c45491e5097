"""Serves the runtime over a real socket: in a thread for tests, in the foreground for the command."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from litellm_sagemaker_openai.local.runtime import RuntimeConfig, create_app

_GRACE_SECONDS = 1  # for streams that are still running when the server stops


@dataclass(frozen=True, slots=True)
class Running:
    """A runtime that answers at ``url``, ``http://127.0.0.1:43121``."""

    url: str
    app: Starlette


class _Server(uvicorn.Server):
    """A uvicorn server that tells another thread when it accepts connections, or that it failed to start."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.settled.set()


@contextmanager
def running(config: RuntimeConfig, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Running]:
    """A runtime that runs in a thread as long as the context does, by default on a free port.

    Raises:
        OSError: the port is taken, or the host is not this machine's.
    """
    listener = listen(host, port)
    app = create_app(config)
    server = _server(app, log_level="critical")
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            server.run(sockets=[listener])
        except BaseException as error:  # re-raised in the thread that waits, below
            failures.append(error)
        finally:
            server.settled.set()

    thread = threading.Thread(target=serve, name="sagemaker-runtime", daemon=True)
    thread.start()
    try:
        server.settled.wait()
        if failures or not server.started:
            raise RuntimeError("the runtime did not start") from (failures[0] if failures else None)
        yield Running(url_of(listener), app)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def serve_forever(config: RuntimeConfig, listener: socket.socket) -> None:
    """Serves on a socket from ``listen`` until the process is interrupted."""
    allow_open_files()
    with listener:
        _server(create_app(config), log_level="error").run(sockets=[listener])


def allow_open_files() -> None:
    """Have this process open as many files as the system allows it. A stream that is passed on takes two of them, and
    shells allow 1024 or, on macOS, 256."""
    with suppress(ImportError, ValueError, OSError):  # Windows; a system that allows less than it says
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Connections that come before the server runs wait in its queue.

    Raises:
        OSError: the port is taken, or the host is not this machine's.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # Lets a restart have the port at once. On Windows the same option would let two servers share it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """The base URL under which this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(app: Starlette, log_level: str) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level=log_level,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            # More than clients keep idle connections for (httpx 5 s, LiteLLM 120 s: AIOHTTP_KEEPALIVE_TIMEOUT): now and
            # then, one would send a request into a connection that is being closed.
            timeout_keep_alive=130,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
