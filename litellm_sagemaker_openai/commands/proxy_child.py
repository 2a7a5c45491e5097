"""The process of LiteLLM's proxy that ``proxy_process`` starts: ``python -m … HOST PORT FOLDER``.

It ends at once when its standard input does, which is when its parent ends it, or has ended in whatever way. It says in
its first line of output where it listens, before it imports LiteLLM.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from litellm_sagemaker_openai.commands.proxy_process import CONFIG_FILE, FAILED, LISTENING
from litellm_sagemaker_openai.commands.refused_responses import with_refused_streams
from litellm_sagemaker_openai.commands.served_routes import only_served

# More than clients keep idle connections for, as in local/server.py.
_KEEP_ALIVE_SECONDS = 130
# Python's own event loop. With uvloop 0.23.0, which uvicorn takes where it is installed, signal 11 ended this process
# in three of four conversations of a hundred turns (tests/agents/opencode_long.yaml), each time where a context
# variable was set in a context that had been freed (hamt_node_bitmap_assoc in Python/hamt.c, 3.11.7); with asyncio, and
# with uvloop 0.22.1, in none of three.
_LOOP = "asyncio"


def main(host: str, port: str, folder: str) -> None:
    _end_with_the_parent(folder)
    try:
        _serve(host, int(port), folder)
    except ImportError as error:
        missing = getattr(error, "name", None) or str(error)
        sys.exit(f"{FAILED}{missing} is missing; install it with: pip install 'litellm-sagemaker-openai[proxy]'")


def _serve(host: str, port: int, folder: str) -> None:
    import uvicorn

    from litellm_sagemaker_openai.local.server import allow_open_files, listen, url_of

    try:
        listener = listen(host, port)
    except OSError as error:
        sys.exit(f"{FAILED}cannot listen on {host}:{port}: {error.strerror}")
    allow_open_files()  # half of them is how many streams there may be: litellm_seams/pool_limit.py
    print(f"{LISTENING}{url_of(listener)}", flush=True)  # noqa: T201
    # The application as LiteLLM's README has it for uvicorn; the variable is read at its start (proxy_server.py,
    # 1.103.0 to 1.110.2). LiteLLM's own command takes another port where 4000 is taken, and no socket that listens.
    os.environ["CONFIG_FILE_PATH"] = str(Path(folder, CONFIG_FILE))
    app: Any = importlib.import_module("litellm.proxy.proxy_server").app
    config = uvicorn.Config(
        only_served(with_refused_streams(app), os.environ["LITELLM_MASTER_KEY"]),
        lifespan="on",
        loop=_LOOP,
        log_level=os.environ["LITELLM_LOG"].lower(),
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listener])


def _end_with_the_parent(folder: str) -> None:
    # A credential_process would inherit standard input, and wait for what the parent never says.
    pipe, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def wait() -> None:
        while os.read(pipe, 1):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)  # streams in flight end with it

    threading.Thread(target=wait, name="parent", daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
