"""What this provider costs, beside each other way to the same server, measured in one run and interleaved.

``make bench`` runs it, on this machine alone. Each contender has a process of its own; for each case they are asked for
a slice in turn, in rounds, in an order that a fixed seed shuffles. It prints the medians as Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.bench_cases import CASES, HELD, IDLE, STREAMS_8, WHOLE_32, Case, Figures, medians
from benchmarks.bench_contenders import ENVIRONMENT, FLOOR, OURS
from benchmarks.bench_proxy import litellm_proxy
from benchmarks.bench_report import Results, report
from benchmarks.bench_worker import PROXY
from benchmarks.chart import Panel, chart
from benchmarks.last_release import LastRelease, last_release
from benchmarks.page import with_results

_STARTED = time.monotonic()
_SEED = "bench"
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_VERSIONS = ("litellm", "openai", "aiohttp", "httpx", "uvloop", "boto3", "litellm-sagemaker-openai")
_FRESH = ("import", "first", "first-callback", "sessions")
_FRESH_RUNS = 3
_PROXY_SLICE = 2  # times as long as the others
_ROOT = Path(__file__).parents[1]


class Child:
    """A process that answers with a line of JSON."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            end = self._log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}:\n{end}")
        return json.loads(line)


@contextmanager
def child(*arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Child]:
    """A Python module as a process of its own; it stops when the context ends, or this process does."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    with (
        log.open("a") as errors,
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=_ROOT,
            env={**inherited, **ENVIRONMENT, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        yield Child(process, log)  # leaving closes its input, which stops it, and waits for it


def measure(
    cases: Sequence[tuple[Case, str]], workers: Mapping[tuple[str, bool], Child], options: argparse.Namespace
) -> dict[tuple[Case, str], Figures]:
    """The medians of all rounds.

    One case after the other: what one leaves behind, such as a pool of 256 connections, is not the next one's cost.
    """
    measured: dict[tuple[Case, str], Figures] = {}
    shuffled = random.Random(_SEED)
    for case in dict.fromkeys(case for case, _ in cases):
        say(case.name)
        contenders = [contender for each, contender in cases if each is case]
        slices: dict[str, list[Figures]] = defaultdict(list)
        # A proxy's CPU is counted in ticks of 10 ms, and it collects garbage when it likes.
        seconds = options.seconds * (_PROXY_SLICE if case.proxied else 1)
        for _ in range(0, options.rounds, case.every):
            for contender in shuffled.sample(contenders, len(contenders)):
                answer = workers[contender, case.proxied].ask(case=case.name, seconds=seconds)
                slices[contender].append(Figures(**answer))
        measured |= {(case, contender): medians(each) for contender, each in slices.items()}
    return measured


def measure_fresh(wanted: Sequence[str], url: str, log: Path, rounds: int) -> dict[str, float]:
    """The medians of what fresh processes say, one after the other."""
    figures: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for name, *arguments in (("import",), ("first", url), ("first-callback", url), ("sessions",)):
            if name in wanted and (name != "sessions" or number == 0):  # that is a count
                with child("benchmarks.bench_fresh", name, *arguments, log=log) as process:
                    for figure, value in process.answer().items():
                        figures[figure].append(value)
    return {name: statistics.median(values) for name, values in figures.items()}


def measure_memory(what: str, contenders: Iterable[str], url: str, log: Path) -> dict[str, dict[str, float]]:
    """What a fresh process of each contender says of its memory. All at once: nothing is timed."""
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(child("benchmarks.bench_fresh", what, url, name, log=log)) for name in contenders
        }
        return {name: process.answer() for name, process in started.items()}


def run(options: argparse.Namespace) -> tuple[Results, list[str]]:
    """All that the options ask for; what there is to know about the run."""
    wanted = re.compile(options.only)
    cases = [(case, name) for case in CASES for name in case.contenders if wanted.search(f"{case.name}: {name}")]
    fresh = [name for name in _FRESH if wanted.search(f"fresh: {name}")]
    idle, held = (
        [name for name in contenders if Path("/proc").exists() and wanted.search(f"{what}: {name}")]
        for what, contenders in (("idle", IDLE), ("held", HELD))
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = folder / "log"
        server = stack.enter_context(child("benchmarks.bench_server", log=log))
        url: str = server.answer()["url"]
        say("fresh processes")
        fresh_figures = measure_fresh(fresh, url, log, min(options.rounds, _FRESH_RUNS))
        idle_figures = measure_memory("idle", idle, url, log)
        held_figures = {name: each["held"] for name, each in measure_memory("held", held, url, log).items()}
        say("starting the contenders")
        workers: dict[tuple[str, bool], Child] = {}
        environment: Mapping[str, str] = {}
        for name, proxied in sorted({(name, case.proxied) for case, name in cases}, key=itemgetter(1)):
            if proxied and not environment:  # while the other workers start
                environment = stack.enter_context(litellm_proxy(url))
            arguments = ("benchmarks.bench_worker", name, PROXY if proxied else url)
            workers[name, proxied] = stack.enter_context(child(*arguments, log=log, environment=environment))
        for worker in workers.values():
            worker.answer()
        slices = measure(cases, workers, options)
        server_cpu = server.ask()["cpu"]
    clients_cpu = cpu_of_children() - server_cpu
    about = [
        *about_the_run(options),
        f"CPU of the server {server_cpu:.1f} s, of all that it served {clients_cpu:.0f} s.",
    ]
    return Results(slices, fresh_figures, held_figures, idle_figures), about


def machine() -> str:
    """What it runs on, and the versions of what matters."""
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    python = f"Python {platform.python_version()}"
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}; {python}; {versions}."


def about_the_run(options: argparse.Namespace) -> list[str]:
    return [
        machine(),
        f"Medians over {options.rounds} rounds (the slower cases over fewer), slices of {options.seconds:g} s. CPU is "
        "user and system time of the client's process, its threads and what LiteLLM logs afterwards included.",
        "Clients run in plain asyncio, the proxy and the server in uvloop. All is on this machine, over plain HTTP.",
    ]


def processor() -> str:
    try:
        found = re.search(r"(?m)^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def panels(results: Results, before: LastRelease) -> list[Panel]:
    """The two cases that most of the targets are about, with this provider's last release beside it.

    Machines differ from run to run, so its bar is as long as this run's floor makes it.
    """
    name_before = f"{OURS} {before.version}"
    made = []
    for case, kind in ((WHOLE_32, "call"), (STREAMS_8, "stream")):
        cpu = {name: figures.cpu for (each, name), figures in results.slices.items() if each is case}
        note, of_floor = "", before.of_floor(case.name)
        if OURS in cpu and FLOOR in cpu and of_floor:
            cpu[name_before] = of_floor * cpu[FLOOR]
            note = f"{before.version}: {of_floor:.2f} of {FLOOR}, as in its own run (LiteLLM {before.litellm})"
        if cpu:
            axis = f"CPU of the client per {kind}, milliseconds (less is better)"
            bars = sorted(cpu.items(), key=itemgetter(1))
            made.append(Panel(case.name, axis, bars, OURS, before=name_before, note=note))
    return made


def say(what: str) -> None:
    """What comes next, and how long the run has taken so far."""
    print(f"{time.monotonic() - _STARTED:4.0f} s  {what}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.3, help="a slice's; default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="one round of short slices: a look, no measurement")
    parser.add_argument("--only", default="", help="a regular expression; what is searched is '<case>: <contender>'")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, too")
    parser.add_argument("--svg", type=Path, help="draw a chart into this file")
    parser.add_argument("--page", type=Path, help="put the tables into this page, which has some of them")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.05
    return options


def main() -> None:
    options = arguments()
    results, about = run(options)
    tables = report(results, about)
    print(tables)
    if options.markdown:
        options.markdown.write_text(f"# The benchmark's last run\n\n{tables}", encoding="utf-8")
    if options.page:
        options.page.write_text(with_results(options.page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    if options.svg:
        options.svg.write_text(chart(panels(results, last_release())), encoding="utf-8")


if __name__ == "__main__":
    main()
