"""Many mixed calls against a server that fails now and then: nothing may be wrong, leak or be left behind.

``make soak`` runs it, on this machine alone. It prints a table, and ends with status 1 if anything was not right.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# Before LiteLLM is imported, which reads some of it only then. Credentials are made up; nothing else is looked for.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LITELLM_MODE="PRODUCTION",  # reads no .env file
    AWS_ACCESS_KEY_ID="SOAK",
    AWS_SECRET_ACCESS_KEY="made-up-and-good-for-the-soak-only",
    AWS_REGION="us-west-2",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
)
os.environ.pop("AWS_SESSION_TOKEN", None)

import httpx
import litellm
from litellm._logging import verbose_logger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients
from litellm.llms.custom_httpx.http_handler import HTTPHandler

import litellm_sagemaker_openai
from benchmarks.calls import MODELS, Outcome, perform, plan
from benchmarks.measure import Warnings, memory_mb, sockets, watching
from litellm_sagemaker_openai.litellm_seams.connections import read_connections

WARM_UP = 2000  # calls before memory is looked at
MOST_GROWTH_MB = 20
_THREADS = 8  # for synchronous calls
# Longer than the server's stalls, and well below the 60 s after which the runtime gives a container up: what the
# client has not freed by then counts as a leak.
_SETTLE_SECONDS = 15
_MOST_SHOWN = 20


class Server:
    """The faulty server, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url: str = self._read()["url"]

    def figures(self) -> dict[str, int]:
        """Connections: ``open``, ``most`` at once, ``accepted``; answers that the container is ``answering``."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        figures: dict[str, Any] = json.loads(self._process.stdout.readline())
        return figures


@contextmanager
def faulty_server() -> Iterator[Server]:
    """A running server; it stops when the context ends, or this process does."""
    command = [sys.executable, "-m", "benchmarks.faulty"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Server(process)  # leaving closes its input, which stops it, and waits for it


@dataclass
class Tally:
    """What came of the calls so far."""

    calls: int = 0
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (fault, expected, got) → calls
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[Outcome] = field(default_factory=list)
    wrong_calls: int = 0

    def add(self, outcome: Outcome) -> None:
        self.calls += 1
        self.outcomes[outcome.planned.fault or "none", outcome.expected, outcome.got] += 1
        self.kinds[outcome.planned.kind] += 1
        if not outcome.right:
            self.wrong_calls += 1
            if len(self.wrong) < _MOST_SHOWN:
                self.wrong.append(outcome)


@dataclass
class Figures:
    """What was measured."""

    memory_warm: float = 0
    memory_end: float = 0
    connections: dict[str, int] = field(default_factory=dict)
    limit: int | None = None  # of connections; None: there is none
    sockets_left: int | None = None
    tasks_left: int = 0
    seconds: float = 0
    cpu_seconds: float = 0
    server_cpu_seconds: float = 0

    @property
    def growth(self) -> float:
        return self.memory_end - self.memory_warm


async def soak(options: argparse.Namespace, server: Server, tally: Tally, figures: Figures) -> None:
    """All calls, the first of them apart, and what is left when they are over."""
    sockets_before = sockets()
    warm_up = min(WARM_UP, options.calls)
    with ThreadPoolExecutor(_THREADS) as pool:
        # LiteLLM 1.106.2 makes a client for each thread whose first synchronous call comes while there is none yet
        # (get_httpx_client has no lock), keeps one, and drops the others unclosed. So one call comes first.
        await asyncio.to_thread(litellm.completion, MODELS[0], [{"role": "user", "content": "Hello?"}])
        await _calls(range(warm_up), options, pool, tally)
        await _settled(server)
        tasks_before = len(asyncio.all_tasks())
        figures.memory_warm = memory_mb()
        await _calls(range(warm_up, options.calls), options, pool, tally)
        figures.connections = await _settled(server)
        figures.limit = max((each.limit for each in read_connections() if each.limit), default=None)
        figures.memory_end = memory_mb()
        figures.tasks_left = len(asyncio.all_tasks()) - tasks_before
    await _close_clients()
    gc.collect()
    after = sockets()
    figures.sockets_left = None if after is None or sockets_before is None else after - sockets_before


async def _calls(numbers: range, options: argparse.Namespace, pool: Executor, tally: Tally) -> None:
    left = iter(numbers)

    async def caller() -> None:
        for number in left:
            tally.add(await perform(plan(number, options.faults), pool))

    await asyncio.gather(*(caller() for _ in range(options.in_flight)))


async def _settled(server: Server) -> dict[str, int]:
    """The server's figures, once no call is under way and LiteLLM has done its logging of those that were."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        gc.collect()  # frees the streams that were dropped
        await GLOBAL_LOGGING_WORKER.flush()
        await asyncio.sleep(0.2)
        figures = server.figures()
        if figures["answering"] == 0 or time.monotonic() > deadline:
            return figures


async def _close_clients() -> None:
    """LiteLLM keeps its HTTP clients to the end of the process, and would be warned of as a leak."""
    await close_litellm_async_clients()  # type: ignore[no-untyped-call]
    for client in litellm.in_memory_llm_clients_cache.cache_dict.values():
        if isinstance(client, (HTTPHandler, httpx.Client)):
            client.close()
    await asyncio.sleep(0.5)


def run(options: argparse.Namespace, tally: Tally, figures: Figures) -> tuple[Warnings, list[str]]:
    """The whole soak; the warnings, and what was not right."""
    started, failures = time.monotonic(), []
    with faulty_server() as server, watching() as watch:
        os.environ["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] = server.url
        try:
            asyncio.run(asyncio.wait_for(soak(options, server, tally, figures), options.seconds))
        except asyncio.TimeoutError:
            failures.append(f"not over after {options.seconds:g} seconds")
        gc.collect()
        figures.cpu_seconds = time.process_time()
    figures.seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures.server_cpu_seconds = used.ru_utime + used.ru_stime
    return watch, failures


def verdict(options: argparse.Namespace, tally: Tally, figures: Figures, watch: Warnings) -> list[str]:
    """What was not right."""
    failures = [f"call {wrong.planned.number} {wrong}" for wrong in tally.wrong]
    if tally.calls != options.calls:
        failures.append(f"{tally.calls} of {options.calls} calls ended")
    if tally.wrong_calls:
        failures.append(f"{tally.wrong_calls} calls ended in something else than they should")
    if options.calls > WARM_UP and figures.growth >= MOST_GROWTH_MB:
        failures.append(f"memory grew by {figures.growth:.1f} MB")
    connections = figures.connections or {"open": 0, "most": 0, "answering": 0}
    if figures.limit and connections["most"] > figures.limit:
        failures.append(f"{connections['most']} connections, more than the pool's {figures.limit}")
    if connections["open"] > options.in_flight:
        failures.append(f"{connections['open']} connections are open, though no more than the calls in flight are used")
    if connections["answering"]:
        failures.append(
            f"{connections['answering']} answers are still read by nobody: their connections were not freed"
        )
    if figures.sockets_left:
        failures.append(f"{figures.sockets_left} sockets are left once the clients are closed")
    if figures.tasks_left > 0:
        failures.append(f"{figures.tasks_left} tasks are left")
    return failures + [f"warned {times} times: {text}" for text, times in watch.serious.items()]


def report(options: argparse.Namespace, tally: Tally, figures: Figures, watch: Warnings) -> None:
    """The tables, in Markdown."""
    rows = {
        "calls": f"{tally.calls:,}, {options.in_flight} in flight, faults at {options.faults:.0%}",
        "not as expected": f"{tally.wrong_calls:,}",
        "time": f"{figures.seconds:.0f} s, {tally.calls / figures.seconds:.0f} calls a second",
        "CPU": f"{figures.cpu_seconds:.0f} s; the server's {figures.server_cpu_seconds:.0f} s",
        f"memory after {min(WARM_UP, options.calls):,} calls": f"{figures.memory_warm:.1f} MB",
        "memory at the end": f"{figures.memory_end:.1f} MB, {figures.growth:+.1f} MB",
        "connections at once": f"{figures.connections.get('most')} at most; the pool's limit is "
        f"{figures.limit or 'none'} a host",
        "connections made": f"{figures.connections.get('accepted')}",
        "connections at the end": f"{figures.connections.get('open')}",
        "sockets left, clients closed": "not counted here" if figures.sockets_left is None else figures.sockets_left,
        "tasks left": figures.tasks_left,
        "leaks and lost exceptions warned of": sum(watch.serious.values()),
        "other warnings": f"{sum(watch.seen.values())}, {len(watch.seen)} different",
    }
    _table(("figure", ""), list(rows.items()))
    _table(("kind of call", "calls"), tally.kinds.most_common())
    outcomes = sorted(tally.outcomes.items())
    _table(("fault", "expected", "got", "calls"), [(*outcome, calls) for outcome, calls in outcomes])


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    for row in (head, ("---",) * len(head), *rows):
        print(f"| {' | '.join(map(str, row))} |")
    print()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--in-flight", type=int, default=64, help="calls at once; default: %(default)s")
    parser.add_argument("--faults", type=float, default=0.05, help="share of calls that fail; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1800, help="for all of it; default: %(default)s")
    parser.add_argument("--show-warnings", action="store_true", help="print also those that tell of no leak")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    litellm.suppress_debug_info = True
    verbose_logger.setLevel(logging.ERROR)  # each 503 is logged for the operator, whom a thousand of them do not help
    litellm_sagemaker_openai.register()
    tally, figures = Tally(), Figures()
    watch, failures = run(options, tally, figures)
    failures += verdict(options, tally, figures, watch)
    report(options, tally, figures, watch)
    for text, times in watch.seen.most_common() if options.show_warnings else ():
        print(f"{times:,} times: {text}")
    print("\n".join(f"FAILED: {failure}" for failure in failures) or "All of it was right.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
