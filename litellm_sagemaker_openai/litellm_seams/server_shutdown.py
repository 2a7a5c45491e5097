"""Whether the server in this process is stopping, as far as it says so. Reads, and changes nothing.

uvicorn, which runs LiteLLM's proxy, waits for open requests without a limit: what may make one wait for minutes asks
here. Does not import LiteLLM.
"""

from __future__ import annotations

import signal
import sys


def server_is_stopping() -> bool:
    """Whether uvicorn was told to stop, or LiteLLM's proxy to take no more work (``/health/drain``).

    Any thread may ask, and each worker process is told by itself. False where nothing says so: without a server, or in
    another than uvicorn.
    """
    # uvicorn (0.54, Server.capture_signals) handles the signal with a method of its Server, and notes in `should_exit`,
    # by which applications too may stop it, that it was told.
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if getattr(server, "should_exit", False) is True:
        return True
    proxys = sys.modules.get("litellm.proxy.shutdown.graceful_shutdown_manager")  # 1.106.2
    manager = getattr(proxys, "GracefulShutdownManager", None)
    return manager is not None and manager.is_shutting_down() is True
