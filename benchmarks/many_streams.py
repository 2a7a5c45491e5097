"""Thousands of streams open at once in one process, for minutes: its memory, and how long a new one waits.

``make bench-streams`` runs it, on this machine alone. The server sends a chunk now and then; where a stream ends,
another one is opened. It ends with status 1 if a stream failed, or if anything is left once all are over.
``--streams 800 --seconds 30 --length 6`` opens them all at once; ``--limit 500`` has LiteLLM's limit of connections.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bench import Child, child, machine
from benchmarks.bench_answers import expected_text
from benchmarks.bench_contenders import ENVIRONMENT, prompt
from benchmarks.chart import Curves, chart
from benchmarks.measure import memory_mb, resident_mb, sockets
from benchmarks.page import with_results

_MOST_FILES = 32_768  # of this process's and of the server's
_PACE_SECONDS = 5  # between a stream's chunks,
_CHUNKS = 12  # of which it has so many at least
_RAMP_SECONDS = 60
_SAMPLES = 120
_WARM_UP = 20
_SEED = "streams"
_TITLE = "Many streams at once"
_FULL = 2  # a full collection's generation
_LIMITS = ("AIOHTTP_CONNECTOR_LIMIT_PER_HOST", "AIOHTTP_CONNECTOR_LIMIT")


@dataclass(frozen=True)
class Sample:
    """The process at some second.

    Args:
        seconds: since the first stream was opened.
        open: streams that have had a chunk, and have not ended.
        waiting: streams that have had none yet.
        memory: resident, in MB.
        cpu: of this process since the sample before, as a share of a core.
    """

    seconds: float
    open: int
    waiting: int
    memory: float
    cpu: float


@dataclass(frozen=True)
class Waits:
    """Milliseconds to the first chunk of the streams that were opened within some seconds.

    Args:
        seconds: where that time ends, since the first stream was opened.
        streams: how many they were.
    """

    seconds: float
    streams: int
    p50: float
    p90: float
    p99: float


@dataclass
class Figures:
    """What was measured."""

    memory_before: float = 0
    memory_after: float = 0
    samples: list[Sample] = field(default_factory=list)
    opened: array[float] = field(default_factory=lambda: array("d"))  # seconds since the start, of each first chunk's
    waited: array[float] = field(default_factory=lambda: array("d"))  # seconds to each first chunk
    pauses: list[float] = field(default_factory=list)  # seconds of each full garbage collection, until streams end
    errors: Counter[str] = field(default_factory=Counter)
    limit: int | None = None
    connections_left: int = 0
    tasks_left: int = 0
    sockets_left: int = 0
    server_cpu: float = 0  # share of a core


class Streams:
    """Opens streams and reads them."""

    def __init__(self, options: argparse.Namespace, figures: Figures) -> None:
        self._options = options
        self._figures = figures
        self._chance = random.Random(_SEED)
        self._messages = prompt(0)
        self._started = 0.0
        self.open = self.waiting = 0

    async def run(self) -> None:
        """All streams, to their ends."""
        self._started = time.monotonic()
        sampling = asyncio.create_task(self._sample())
        with self._noting_pauses():
            await asyncio.gather(*(self._caller(number) for number in range(self._options.streams)))
        sampling.cancel()

    @contextmanager
    def _noting_pauses(self) -> Iterator[None]:
        """Python's full garbage collections look at each object that there is, and nothing else goes on meanwhile."""
        began = 0.0

        def note(phase: str, info: dict[str, int]) -> None:
            nonlocal began
            if phase == "start":
                began = time.perf_counter()
            elif info["generation"] == _FULL and self._seconds() < self._options.ramp + self._options.seconds:
                self._figures.pauses.append(time.perf_counter() - began)

        gc.callbacks.append(note)
        try:
            yield
        finally:
            gc.callbacks.remove(note)

    async def warm_up(self) -> None:
        """Some short streams: the costs of the first calls are not what is measured."""
        for _ in range(_WARM_UP):
            await self._read("stream-3", [])

    async def _caller(self, number: int) -> None:
        """One stream after the other. One that fails is the last, so that a server that is gone is not asked on."""
        options = self._options
        await asyncio.sleep(options.ramp * number / options.streams)
        while self._seconds() < options.ramp + options.seconds:
            waits: list[float] = []
            opened = self._seconds()
            try:
                await self._read(self._endpoint(), waits)
            except Exception as error:  # whatever it is, it is what is looked for
                self._figures.errors[f"{type(error).__name__}: {error}"[:300]] += 1
                return
            finally:
                self._figures.opened.extend([opened] * len(waits))
                self._figures.waited.extend(waits)

    def _endpoint(self) -> str:
        """Streams differ in length, or those that a pause makes wait together would go on to end and begin together.

        Those that are all opened at once are alike.
        """
        chunks = round(self._options.length / self._options.pace)
        differs = chunks // 2 if self._options.ramp else 0
        return f"paced-{self._chance.randint(chunks - differs, chunks + differs)}-{self._options.pace * 1000:.0f}"

    async def _read(self, endpoint: str, waits: list[float]) -> None:
        import litellm

        started, text = time.perf_counter(), ""
        self.waiting += 1
        try:
            stream: Any = await litellm.acompletion(
                model=f"sagemaker_openai/{endpoint}", messages=self._messages, stream=True
            )
            async for chunk in stream:
                if not waits:
                    waits.append(time.perf_counter() - started)
                    self.waiting, self.open = self.waiting - 1, self.open + 1
                text += chunk.choices[0].delta.content or ""
        finally:
            if waits:
                self.open -= 1
            else:
                self.waiting -= 1
        if text != expected_text(endpoint):
            raise ValueError(f"{text!r} is not the answer")

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    async def _sample(self) -> None:
        last, used = 0.0, time.process_time()
        while True:
            await asyncio.sleep(self._options.every)
            now, cpu = self._seconds(), time.process_time()
            share = (cpu - used) / (now - last)
            self._figures.samples.append(Sample(now, self.open, self.waiting, resident_mb(), share))
            last, used = now, cpu


def waits_over_time(opened: Sequence[float], waited: Sequence[float], every: float) -> list[Waits]:
    """By when the streams were opened, in steps of so many seconds."""
    windows: dict[int, list[float]] = {}
    for second, wait in zip(opened, waited, strict=True):
        windows.setdefault(int(second / every), []).append(wait)
    return [waits_of((number + 1) * every, each) for number, each in sorted(windows.items())]


def waits_of(seconds: float, waited: Sequence[float]) -> Waits:
    ordered = sorted(waited)
    shares = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.9, 0.99))
    return Waits(seconds, len(ordered), *shares)


async def measure(options: argparse.Namespace, server: Child, figures: Figures) -> None:
    """All streams, and what is left once they are over."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

    from litellm_sagemaker_openai.litellm_seams.connections import read_connections

    sockets_before = sockets() or 0
    streams = Streams(options, figures)
    await streams.warm_up()
    await GLOBAL_LOGGING_WORKER.flush()
    tasks_before, figures.memory_before = len(asyncio.all_tasks()), memory_mb()
    server_cpu, started = server.ask()["cpu"], time.monotonic()
    await streams.run()
    figures.server_cpu = (server.ask()["cpu"] - server_cpu) / (time.monotonic() - started)
    await GLOBAL_LOGGING_WORKER.flush()
    await asyncio.sleep(0.2)
    figures.memory_after = memory_mb()
    figures.tasks_left = len(asyncio.all_tasks()) - tasks_before
    connections = read_connections()
    figures.limit = max((each.limit for each in connections if each.limit), default=None)
    figures.connections_left = sum(each.in_use + each.waited_for for each in connections)
    await close_litellm_async_clients()  # type: ignore[no-untyped-call]
    await asyncio.sleep(0.5)
    gc.collect()
    figures.sockets_left = (sockets() or 0) - sockets_before


def verdict(figures: Figures) -> list[str]:
    """What was not right."""
    left = {
        "connections are still in use": figures.connections_left,
        "tasks are left": figures.tasks_left,
        "sockets are left once the clients are closed": figures.sockets_left,
    }
    failures = [f"{number} streams: {error}" for error, number in figures.errors.items()]
    return failures + [f"{number} {what}" for what, number in left.items() if number > 0]


def as_json(options: argparse.Namespace, figures: Figures) -> str:
    """What the curves are drawn from: a line for each sample."""
    curves = {
        "samples": [asdict(sample) for sample in figures.samples],
        "first_chunk_ms": [asdict(waits) for waits in waits_over_time(figures.opened, figures.waited, options.every)],
    }
    lines = [f'"options": {json.dumps({name: vars(options)[name] for name in _MEASURES})}']
    for name, rows in curves.items():
        rounded = [{key: round(value, 2) for key, value in row.items()} for row in rows]
        lines.append(f'"{name}": [\n' + ",\n".join(map(json.dumps, rounded)) + "\n]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def report(options: argparse.Namespace, figures: Figures) -> str:
    """A table in Markdown."""
    steady = [sample for sample in figures.samples if options.ramp <= sample.seconds <= options.ramp + options.seconds]
    steady = steady or figures.samples
    minute = max(1, round(60 / options.every))
    begin, end = (median(sample.memory for sample in part) for part in (steady[:minute], steady[-minute:]))
    most = max(sample.open for sample in figures.samples)
    opening = options.ramp or options.every
    first, later = (
        [wait for opened, wait in zip(figures.opened, figures.waited, strict=True) if (opened <= opening) is early]
        for early in (True, False)
    )
    longest = max(figures.pauses, default=0) * 1000
    rows = {
        "streams": f"{options.streams:,} at a time, {len(figures.opened):,} in all",
        "a stream": f"{options.length:g} s, {'by half more or less, ' if options.ramp else ''}"
        f"a chunk every {options.pace:.2g} s",
        "open at once": f"{most:,} at most; the pool's limit is {figures.limit or 'none'}",
        f"first chunk, opened in the first {opening:g} s: p50, p90, p99": _waits(first),
        f"… opened in the {options.seconds:g} s after it": _waits(later),
        "memory before": f"{figures.memory_before:.0f} MB",
        "… with all of them open, at first and at the end": f"{begin:.0f} MB, {end:.0f} MB",
        "… for each open stream": f"{(begin - figures.memory_before) * 1024 / max(most, 1):.0f} kB",
        "… once all are over": f"{figures.memory_after:.0f} MB",
        "full garbage collections": f"{len(figures.pauses)}, of {longest:,.0f} ms at most",
        "CPU": f"{median(sample.cpu for sample in steady):.0%} of a core; the server's {figures.server_cpu:.0%}",
        "errors": f"{figures.errors.total()}",
        "left: connections, tasks, sockets": f"{max(figures.connections_left, 0)}, {max(figures.tasks_left, 0)}, "
        f"{max(figures.sockets_left, 0)}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"- {machine()}\n\n### {_TITLE}\n\n| figure | |\n| --- | --- |\n{table}\n"


def _waits(waited: Sequence[float]) -> str:
    if not waited:
        return "-"
    waits = waits_of(0, waited)
    return f"{waits.p50:,.0f}, {waits.p90:,.0f}, {waits.p99:,.0f} ms"


def curves(options: argparse.Namespace, figures: Figures) -> tuple[str, str]:
    """Two charts: streams and memory, and the time to the first chunk."""
    unit, axis = (60.0, "minutes") if options.ramp + options.seconds > 120 else (1.0, "seconds")
    samples, waits = figures.samples, waits_over_time(figures.opened, figures.waited, options.every)
    drawn: dict[str, dict[str, list[tuple[float, float]]]] = {
        "Streams open at once": {"open": [(each.seconds, each.open) for each in samples]},
        "Memory of the process, MB": {"resident": [(each.seconds, each.memory) for each in samples]},
        "Time to the first chunk, by when a stream was opened, ms": {
            "p50": [(each.seconds, each.p50) for each in waits],
            "p90": [(each.seconds, each.p90) for each in waits],
        },
    }
    streams, memory, first_chunk = (
        Curves(title, axis, {name: [(time / unit, value) for time, value in line] for name, line in lines.items()})
        for title, lines in drawn.items()
    )
    return chart([streams, memory]), chart([first_chunk])


def allow_files(streams: int) -> None:
    """As many open files as the system allows, here and in the server; this provider's limit follows from them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    if files < 2 * streams + 200:
        raise SystemExit(
            f"{streams:,} streams need {2 * streams + 200:,} open files, and {files:,} are allowed: ulimit -Hn"
        )


_MEASURES = ("streams", "seconds", "length", "pace", "ramp", "every", "limit")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=5000, help="open at a time; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=600, help="how long all are open; default: %(default)s")
    parser.add_argument(
        "--length",
        type=float,
        default=120,
        help="of a stream, in seconds, by half more or less unless all are opened at once; default: %(default)s",
    )
    parser.add_argument(
        "--ramp",
        type=float,
        help=f"seconds within which the first are opened; default: {_RAMP_SECONDS}, and 0 where --seconds are fewer",
    )
    parser.add_argument("--limit", type=int, help="AIOHTTP_CONNECTOR_LIMIT_PER_HOST; default: this provider's limit")
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    parser.add_argument("--json", type=Path, help="write the samples to this file")
    parser.add_argument("--svg", type=Path, help="draw <this>-memory.svg and <this>-first-chunk.svg")
    parser.add_argument("--page", type=Path, help="put the table into this page, which has it")
    options = parser.parse_args()
    if options.ramp is None:
        options.ramp = _RAMP_SECONDS if options.seconds >= _RAMP_SECONDS else 0
    options.pace = min(_PACE_SECONDS, options.length / _CHUNKS)
    options.every = max(1.0, (options.ramp + options.seconds) / _SAMPLES)
    return options


def main() -> int:
    options, figures = arguments(), Figures()
    allow_files(options.streams)
    # Before LiteLLM is imported, which reads some of it only then.
    os.environ.update(ENVIRONMENT)
    for name in _LIMITS:
        os.environ.pop(name, None)
    if options.limit:
        os.environ.update(dict(zip(_LIMITS, map(str, (options.limit, 2 * options.limit)), strict=True)))
    with tempfile.TemporaryDirectory() as folder, child("benchmarks.bench_server", log=Path(folder, "log")) as server:
        os.environ["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] = server.answer()["url"]
        import litellm

        import litellm_sagemaker_openai

        litellm.suppress_debug_info = True
        litellm_sagemaker_openai.register()
        asyncio.run(measure(options, server, figures))
    table, failures = report(options, figures), verdict(figures)
    print(table)
    if options.markdown:
        options.markdown.write_text(f"# The last run with many streams\n\n{table}", encoding="utf-8")
    if options.page:
        options.page.write_text(with_results(options.page.read_text(encoding="utf-8"), table), encoding="utf-8")
    if options.json:
        options.json.write_text(as_json(options, figures), encoding="utf-8")
    if options.svg:
        for name, drawn in zip(("memory", "first-chunk"), curves(options, figures), strict=True):
            options.svg.with_name(f"{options.svg.name}-{name}.svg").write_text(drawn, encoding="utf-8")
    print("\n".join(f"FAILED: {failure}" for failure in failures) or "All of it was right.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
