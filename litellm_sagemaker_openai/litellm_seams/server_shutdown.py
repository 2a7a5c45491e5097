"""Whether the server in this process is stopping, as far as it says so. Reads, and changes nothing.

What they do: uvicorn, which runs LiteLLM's proxy, handles SIGTERM with a method of its ``Server`` and notes in
``should_exit`` that it was told to stop, by which applications too may stop it; then it waits for open requests without
a limit. LiteLLM's ``GracefulShutdownManager`` knows that the proxy is to take no more work (``/health/drain``).
Seen on: uvicorn 0.54 (``Server.capture_signals``), LiteLLM 1.106.2.
Without them: what waits for minutes goes on waiting, and the server with it.
Needed until: the proxy tells its providers. tests/operating/test_stopping.py shows it. Does not import LiteLLM.
"""

from __future__ import annotations

import signal

from litellm_sagemaker_openai.litellm_seams import lookup


def server_is_stopping() -> bool:
    """Whether uvicorn was told to stop, or LiteLLM's proxy to take no more work.

    Any thread may ask, and each worker process is told by itself. False where nothing says so: without a server, or in
    another than uvicorn.
    """
    server = lookup.attribute(signal.getsignal(signal.SIGTERM), "__self__")
    if lookup.attribute(server, "should_exit") is True:
        return True
    manager = lookup.in_loaded("litellm.proxy.shutdown.graceful_shutdown_manager", "GracefulShutdownManager")
    is_shutting_down = lookup.attribute(manager, "is_shutting_down")
    return is_shutting_down is not None and is_shutting_down() is True
