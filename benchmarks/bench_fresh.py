"""What only a fresh process can tell: an import, a first call, the memory of streams that are held open.

``python -m benchmarks.bench_fresh import``, ``… sessions``, ``… first <server's URL>``, ``… first-callback <server's
URL>``, ``… idle <server's URL> <contender>`` or ``… held <server's URL> <contender>`` prints figures as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.bench_contenders import CONTENDERS, OURS, prompt

HELD = 400  # LiteLLM's pool has 500 connections to a host
_WARM = 20
_LATER = 50


def import_cost() -> dict[str, float]:
    """Milliseconds of CPU that ``import litellm_sagemaker_openai``, and ``register()`` too, take after LiteLLM's."""
    import litellm  # noqa: F401

    gc.collect()  # LiteLLM's import leaves one due, of some 200 ms, for whoever comes next
    started = time.process_time()
    import litellm_sagemaker_openai

    imported = time.process_time()
    litellm_sagemaker_openai.register()
    return {"import": (imported - started) * 1000, "register": (time.process_time() - started) * 1000}


def sessions_and_connections() -> dict[str, float]:
    """How many botocore sessions and connections the same two make."""
    import botocore.session
    import litellm  # noqa: F401

    made: list[str] = []
    original = botocore.session.Session.__init__

    def counted(self: Any, *args: Any, **more: Any) -> None:
        made.append("session")
        original(self, *args, **more)

    botocore.session.Session.__init__ = counted
    sys.addaudithook(lambda event, _: made.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
    import litellm_sagemaker_openai

    litellm_sagemaker_openai.register()
    sessions = made.count("session")
    return {"sessions": sessions, "connections": len(made) - sessions}


async def first_call(url: str, *, with_callback: bool) -> float:
    """Milliseconds of the first call beyond a later one, once LiteLLM has made calls of another provider.

    Args:
        url: the server's.
        with_callback: whether the application has a callback of its own. For the first one that there is, be it
            this provider's, LiteLLM's enterprise package, where it is installed, imports all that LiteLLM has.
    """
    contender, messages = CONTENDERS["hosted_vllm/"](url), prompt(0)
    if with_callback:
        import litellm
        from litellm.integrations.custom_logger import CustomLogger

        litellm.callbacks = [CustomLogger()]
    for _ in range(3):
        await contender.acall("whole", messages)
    await contender.asettle()
    contender = CONTENDERS[OURS](url)
    gc.collect()  # as above

    async def timed() -> float:
        started = time.perf_counter()
        await contender.acall("whole", messages)
        return (time.perf_counter() - started) * 1000

    first = await timed()
    return first - statistics.median([await timed() for _ in range(_LATER)])


async def idle_memory(url: str, name: str) -> dict[str, float]:
    """MB of resident memory once a provider is registered, and once it has made some calls and is idle again."""
    contender, messages = CONTENDERS[name](url), prompt(0)
    registered = _resident_kb()
    for _ in range(_WARM):
        await contender.acall("whole", messages)
    await contender.asettle()
    return {"idle": registered / 1024, "idle, used": _resident_kb() / 1024}


async def held_streams(url: str, name: str) -> dict[str, float]:
    """kB of resident memory that each of many open streams adds, once some have been read to their end."""
    contender, messages = CONTENDERS[name](url), prompt(0)

    async def opened() -> Any:
        stream = aiter(await contender.astream("held", messages))
        await anext(stream)
        return stream

    for _ in range(_WARM):
        async for _ in await contender.astream("stream-3", messages):
            pass
    await contender.asettle()
    before = _resident_kb()
    streams = await asyncio.gather(*(opened() for _ in range(HELD)))
    return {"held": (_resident_kb() - before) / len(streams)}


def _resident_kb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def main() -> None:
    what, *more = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr
    if what == "import":
        figures = import_cost()
    elif what == "sessions":
        figures = sessions_and_connections()
    elif what in ("first", "first-callback"):
        first = asyncio.new_event_loop().run_until_complete(first_call(*more, with_callback=what == "first"))
        figures = {what: first}
    else:
        measure = idle_memory if what == "idle" else held_streams
        figures = asyncio.new_event_loop().run_until_complete(measure(*more))
    print(json.dumps(figures), file=answers, flush=True)
    os._exit(0)  # open connections are of no interest any more


if __name__ == "__main__":
    main()
