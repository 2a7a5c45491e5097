"""One contender in a process of its own, measured a slice at a time.

``python -m benchmarks.bench_worker <contender> <server's URL, or "proxy">`` reads, a line of JSON a time, the name of a
case and a slice's seconds, and answers with the figures. It ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.bench_answers import expected_text
from benchmarks.bench_cases import CASES, Case, Figures
from benchmarks.bench_contenders import CONTENDERS, Contender, prompt
from benchmarks.bench_proxy import ProxyClient

PROXY = "proxy"
_WARM_UP_SECONDS = 0.3
_LONG_SECONDS = 3  # a call that takes so long is all the warm-up that there is


class Times:
    """When calls began, had their first chunk, and were over."""

    def __init__(self) -> None:
        self.whole: list[float] = []
        self.first: list[float] = []


class Worker:
    """Carries out cases. The event loop lives as long as the process, as the contenders' connections do."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        contender.overheads = []
        self._loop = asyncio.new_event_loop()
        self._threads = ThreadPoolExecutor(max(case.in_flight for case in CASES))
        self._calls: dict[Case, int] = {}  # as many as a slice's seconds allow
        self._prompts: dict[int, Any] = {}

    def slice(self, case: Case, seconds: float) -> Figures:
        """Measure about so many seconds of a case, two calls for each in flight at least, or one where those last."""
        self._prompts.setdefault(case.size, prompt(case.size))
        if case not in self._calls:
            verified = self._verify(case)
            self._calls[case] = self._warm_up(case, seconds) if verified < _LONG_SECONDS else case.in_flight
        elif not case.streamed:
            self._run(case, case.in_flight)  # opens connections that were closed meanwhile
        gc.collect()
        self._contender.overheads.clear()
        _forget_peak(self._contender.process)
        times, cpu, started = Times(), self._contender.cpu_seconds(), time.perf_counter()
        self._run(case, self._calls[case], times)
        cpu, wall = self._contender.cpu_seconds() - cpu, time.perf_counter() - started
        calls = self._calls[case]
        return Figures(
            cpu=cpu / calls * 1000,
            rate=calls / wall,
            p50=_percentile(times.whole, 0.5),
            p99=_percentile(times.whole, 0.99),
            first_p50=_percentile(times.first, 0.5) if case.streamed else None,
            first_p99=_percentile(times.first, 0.99) if case.streamed else None,
            peak=_peak_mb(self._contender.process),
            overhead=statistics.median(self._contender.overheads) if self._contender.overheads else None,
        )

    def _verify(self, case: Case) -> float:
        """Make a call, and see that it gives the answer: who does not get it has no place in a table of costs.

        Returns:
            The call's seconds.
        """
        started = time.perf_counter()
        endpoint, messages, contender = case.endpoint_of(0), self._prompts[case.size], self._contender
        if case.synchronous:
            streamed = [*contender.stream(endpoint, messages)] if case.streamed else []
            whole = None if case.streamed else contender.call(endpoint, messages)
        else:
            streamed = self._loop.run_until_complete(self._aread(endpoint, messages)) if case.streamed else []
            whole = None if case.streamed else self._loop.run_until_complete(contender.acall(endpoint, messages))
        text = contender.text_in(streamed) if case.streamed else contender.text_of(whole)
        if text != expected_text(endpoint):
            raise SystemExit(f"{case.name}: {text[:200]!r} is not the answer")
        return time.perf_counter() - started

    async def _aread(self, endpoint: str, messages: Any) -> list[Any]:
        return [chunk async for chunk in await self._contender.astream(endpoint, messages)]

    def _warm_up(self, case: Case, seconds: float) -> int:
        """Calls until the costs of the first ones are over; how many make a slice."""
        warm = time.perf_counter() + min(_WARM_UP_SECONDS, seconds)
        runs = 0
        while True:
            runs += 1
            started = time.perf_counter()
            self._run(case, case.in_flight)
            over = time.perf_counter()
            if over >= warm and runs > 1:  # the first may import half of LiteLLM
                times = max(1 if over - started > seconds else 2, math.ceil(seconds / (over - started)))
                return times * case.in_flight

    def _run(self, case: Case, calls: int, times: Times | None = None) -> None:
        """So many calls, to the end of what they leave behind."""
        times = times or Times()
        if case.synchronous:
            self._in_threads(case, calls, times)
        else:
            self._loop.run_until_complete(self._in_event_loop(case, calls, times))

    async def _in_event_loop(self, case: Case, calls: int, times: Times) -> None:
        left, contender, messages = iter(range(calls)), self._contender, self._prompts[case.size]

        async def caller() -> None:
            for number in left:
                endpoint = case.endpoint_of(number)
                started, first = time.perf_counter(), 0.0
                if case.streamed:
                    async for _ in await contender.astream(endpoint, messages):
                        first = first or time.perf_counter()
                    times.first.append(first - started)
                else:
                    await contender.acall(endpoint, messages)
                times.whole.append(time.perf_counter() - started)

        await asyncio.gather(*(caller() for _ in range(case.in_flight)))
        await contender.asettle()

    def _in_threads(self, case: Case, calls: int, times: Times) -> None:
        left, contender, messages = iter(range(calls)), self._contender, self._prompts[case.size]

        def caller(_: int) -> None:
            for number in left:
                endpoint = case.endpoint_of(number)
                started, first = time.perf_counter(), 0.0
                if case.streamed:
                    for _ in contender.stream(endpoint, messages):
                        first = first or time.perf_counter()
                    times.first.append(first - started)
                else:
                    contender.call(endpoint, messages)
                times.whole.append(time.perf_counter() - started)

        if case.in_flight == 1:
            caller(0)
        else:
            list(self._threads.map(caller, range(case.in_flight)))
        contender.settle()


def _percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1000


def _forget_peak(process: str) -> None:
    """Have the system begin anew with the most memory that a process had (proc(5), clear_refs)."""
    with contextlib.suppress(OSError):  # then _peak_mb says nothing
        Path("/proc", process, "clear_refs").write_text("5")


def _peak_mb(process: str) -> float | None:
    try:
        status = Path("/proc", process, "status").read_text()
    except OSError:
        return None
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def serve(new_contender: Callable[[], Contender]) -> None:
    """Answer what is read. What the contender prints is no answer."""
    answers, sys.stdout = sys.stdout, sys.stderr
    worker = Worker(new_contender())
    print("{}", file=answers, flush=True)
    cases = {case.name: case for case in CASES}
    for line in sys.stdin:
        asked = json.loads(line)
        figures = worker.slice(cases[asked["case"]], asked["seconds"])
        print(json.dumps(asdict(figures)), file=answers, flush=True)
    answers.flush()
    os._exit(0)  # open connections, threads and tasks are of no interest any more


def main() -> None:
    _, name, url = sys.argv
    if url == PROXY:
        serve(lambda: ProxyClient(name, os.environ))
    else:
        serve(lambda: CONTENDERS[name](url))


if __name__ == "__main__":
    main()
