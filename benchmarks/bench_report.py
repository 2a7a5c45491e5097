"""What was measured → tables in Markdown, the targets among them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.bench_answers import chunks_of
from benchmarks.bench_cases import (
    CASES,
    FIVE_MEGABYTES,
    HALF_MEGABYTE,
    LONG_STREAMS,
    MANY_DEPLOYMENTS,
    MEGABYTE,
    ONE_DEPLOYMENT,
    PACED_1,
    PROXY_STREAMS_8,
    PROXY_WHOLE_1,
    PROXY_WHOLE_32,
    STREAMS_1,
    STREAMS_8,
    SYNC_1,
    SYNC_32,
    SYNC_256,
    VERY_LONG_STREAMS,
    WHOLE_1,
    WHOLE_32,
    Case,
    Figures,
)
from benchmarks.bench_contenders import (
    AIOHTTP,
    CONTENDERS,
    FLOOR,
    FLOOR_ROUTED,
    OURS,
    ROUTED,
    SDK_TOKEN,
    SENDING,
    UNNAMED,
)


@dataclass(frozen=True)
class Results:
    """Medians: of the slices of each case and contender, and of what fresh processes said (``benchmarks.bench_fresh``).

    ``held`` and ``idle`` are by contender. What was not measured is not there.
    """

    slices: Mapping[tuple[Case, str], Figures]
    fresh: Mapping[str, float] = field(default_factory=dict)
    held: Mapping[str, float] = field(default_factory=dict)
    idle: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def cpu(self, case: Case, contender: str = OURS) -> float:
        """Milliseconds per call."""
        return self.slices[case, contender].cpu

    def per_chunk(self, case: Case, contender: str = OURS) -> float:
        return self.cpu(case, contender) / chunks_of(case.endpoint)

    def added(self, case: Case) -> float:
        """CPU per call, behind a Router, beyond LiteLLM's floor."""
        return self.cpu(case, ROUTED) - self.cpu(case, FLOOR_ROUTED)

    def per_megabyte(self, case: Case, contender: str = OURS) -> float:
        return self.cpu(case, contender) / case.size * MEGABYTE

    def first_chunk(self, case: Case, contender: str = OURS) -> float:
        """Milliseconds, p50."""
        return self.slices[case, contender].first_p50 or 0.0

    def first_added(self, case: Case) -> float:
        """What the first chunk takes beyond the same stream in aiohttp alone, and LiteLLM around a provider at rest."""
        return self.first_chunk(case) - self.first_chunk(case, AIOHTTP) - self.first_chunk(case, FLOOR)

    def overhead(self, case: Case, contender: str = OURS) -> float:
        said = self.slices[case, contender].overhead
        if said is None:
            raise KeyError(contender)
        return said

    def idle_beyond_floor(self, when: str) -> float:
        """MB."""
        return self.idle[OURS][when] - self.idle[FLOOR][when]


@dataclass(frozen=True)
class Target:
    """A figure, and what it may be at most.

    Args:
        name: what is measured.
        limit: the most; None: it is shown beside others, and has no target.
        unit: of both; a ratio has none.
        measure: raises KeyError where something that it needs was not measured.
    """

    name: str
    limit: float | None
    unit: str
    measure: Callable[[Results], float]

    def measured(self, results: Results) -> float | None:
        try:
            return self.measure(results)
        except KeyError:
            return None


def _against(case: Case, other: str) -> Callable[[Results], float]:
    return lambda results: results.cpu(case) / results.cpu(case, other)


# The table. Ratios are of CPU per call, in one run.
TARGETS = (
    Target("whole answers, 32 in flight: CPU against LiteLLM's floor", 1.20, "", _against(WHOLE_32, FLOOR)),
    Target("… against a floor whose answers name no model", 1.35, "", _against(WHOLE_32, UNNAMED)),
    Target("… against `hosted_vllm/`", 0.80, "", _against(WHOLE_32, "hosted_vllm/")),
    Target("… against `openai/`", 0.55, "", _against(WHOLE_32, "openai/")),
    Target("… against the OpenAI SDK with a token per request", 0.20, "", _against(WHOLE_32, SDK_TOKEN)),
    Target("… one at a time, against `hosted_vllm/`", 0.90, "", _against(WHOLE_1, "hosted_vllm/")),
    Target("… synchronous, one at a time, against `hosted_vllm/`", 1.00, "", _against(SYNC_1, "hosted_vllm/")),
    Target("… synchronous, 32 in flight, against `hosted_vllm/`", 1.00, "", _against(SYNC_32, "hosted_vllm/")),
    Target("… synchronous, 256 in flight, against `hosted_vllm/`", 1.00, "", _against(SYNC_256, "hosted_vllm/")),
    Target("streams of 200 chunks, 8 in flight: CPU against LiteLLM's floor", 1.00, "", _against(STREAMS_8, FLOOR)),
    Target("… against `hosted_vllm/`", 0.60, "", _against(STREAMS_8, "hosted_vllm/")),
    Target("… against `openai/`", 0.38, "", _against(STREAMS_8, "openai/")),
    Target(
        "time to the first chunk, p50, one at a time, of a stream as a model sends it: "
        "what is added to LiteLLM's floor over aiohttp",
        0.4,
        "ms",
        lambda results: results.first_chunk(PACED_1) - results.first_chunk(PACED_1, SENDING),
    ),
    # No provider of LiteLLM's reaches this sum: the floor over aiohttp, which does nothing else, takes 0.8 ms more, 0.2
    # of them because the floor is slower when it is called after a pause than when it is called at once.
    Target(
        "… to aiohttp's and LiteLLM's floor's, each alone", None, "ms", lambda results: results.first_added(PACED_1)
    ),
    Target(
        "… to both, each alone, where all of a stream of 200 chunks is sent at once",
        None,
        "ms",
        lambda results: results.first_added(STREAMS_1),
    ),
    Target(
        "`import litellm_sagemaker_openai`, beyond `import litellm`", 30, "ms", lambda results: results.fresh["import"]
    ),
    Target("… and `register()`", 40, "ms", lambda results: results.fresh["register"]),
    Target("… botocore sessions", 0, "", lambda results: results.fresh["sessions"]),
    Target("… connections", 0, "", lambda results: results.fresh["connections"]),
    Target(
        "first call beyond a later one, credentials from the environment",
        40,
        "ms",
        lambda results: results.fresh["first"],
    ),
    Target(
        "… in an application without a callback of its own, and with LiteLLM's enterprise package",
        40,
        "ms",
        lambda results: results.fresh["first-callback"],
    ),
    Target(
        "memory of an idle process beyond LiteLLM's floor's, registered",
        10,
        "MB",
        lambda results: results.idle_beyond_floor("idle"),
    ),
    Target("… after its first calls", 10, "MB", lambda results: results.idle_beyond_floor("idle, used")),
    Target("memory added per open stream", 60, "kB", lambda results: results.held[OURS]),
    Target(
        "growth: CPU per chunk at 5,000 chunks against 200",
        1.1,
        "",
        lambda results: results.per_chunk(LONG_STREAMS) / results.per_chunk(STREAMS_8),
    ),
    Target(
        "… at 100,000 chunks against 5,000",
        1.1,
        "",
        lambda results: results.per_chunk(VERY_LONG_STREAMS) / results.per_chunk(LONG_STREAMS),
    ),
    Target(
        "… LiteLLM's floor's",
        None,
        "",
        lambda results: results.per_chunk(VERY_LONG_STREAMS, FLOOR) / results.per_chunk(LONG_STREAMS, FLOOR),
    ),
    Target(
        "growth: CPU per MB of a request of 5 MB against one of 0.5 MB",
        1.1,
        "",
        lambda results: results.per_megabyte(FIVE_MEGABYTES) / results.per_megabyte(HALF_MEGABYTE),
    ),
    Target(
        "growth: what is added per call to LiteLLM's floor, with 500 deployments against one",
        1.1,
        "",
        lambda results: results.added(MANY_DEPLOYMENTS) / results.added(ONE_DEPLOYMENT),
    ),
    Target(
        "through the proxy, whole answers, 32 in flight: its CPU against LiteLLM's floor",
        1.10,
        "",
        _against(PROXY_WHOLE_32, FLOOR),
    ),
    Target("… streams of 200 chunks, 8 in flight", 0.85, "", _against(PROXY_STREAMS_8, FLOOR)),
    Target(
        "… `x-litellm-overhead-duration-ms`, whole answers, one at a time, against `hosted_vllm/`'s",
        None,
        "",
        lambda results: results.overhead(PROXY_WHOLE_1) / results.overhead(PROXY_WHOLE_1, "hosted_vllm/"),
    ),
)


def report(results: Results, about: Sequence[str]) -> str:
    """All tables. ``about`` says on what machine, with what, and how it was measured, a sentence or more each."""
    parts = ["\n".join(f"- {each}" for each in about), "### Targets", targets_table(results)]
    for case in CASES:
        table = case_table(case, results)
        if table:
            parts += [f"### {case.name}", table]
    if results.idle:
        parts += ["### Memory of an idle process", idle_table(results)]
    if results.held:
        parts += ["### Memory added per open stream", held_table(results)]
    return "\n\n".join(parts) + "\n"


def targets_table(results: Results) -> str:
    """Each target, what was measured, and whether it is met."""
    rows = []
    for target in TARGETS:
        measured = target.measured(results)
        shown = "not measured" if measured is None else _with_unit(measured, target.unit)
        verdict = "" if measured is None or target.limit is None else "✓" if measured <= target.limit else "✗"
        limit = "" if target.limit is None else f"≤ {target.limit:g} {target.unit}".rstrip()
        rows.append((target.name, limit, shown, verdict))
    return _table(("", "target", "measured", ""), rows)


def case_table(case: Case, results: Results) -> str:
    """A case's contenders, in the order of their CPU; empty where none was measured."""
    measured = {name: results.slices[case, name] for name in CONTENDERS if (case, name) in results.slices}
    if not measured:
        return ""
    own = measured.get(OURS) or measured.get(ROUTED)
    kind = "stream" if case.streamed else "call"
    head = ["", f"CPU per {kind}, ms", "this provider's : its"]
    head += ["chunks per second", "first chunk p50, ms", "p99, ms"] if case.streamed else ["calls per second"]
    head += [f"{kind} p50, ms", "p99, ms", *(["overhead, ms"] if case.proxied else []), "peak memory, MB"]
    rows = []
    for name, figures in sorted(measured.items(), key=lambda item: item[1].cpu):
        cells = [_named(name), _number(figures.cpu), f"{own.cpu / figures.cpu:.2f}" if own else "-"]
        if case.streamed:
            cells.append(f"{figures.rate * chunks_of(case.endpoint):,.0f}")
            cells += [_number(figures.first_p50), _number(figures.first_p99)]
        else:
            cells.append(f"{figures.rate:,.0f}")
        cells += [_number(figures.p50), _number(figures.p99), *([_number(figures.overhead)] if case.proxied else [])]
        rows.append([*cells, _number(figures.peak)])
    return _table(head, rows)


def idle_table(results: Results) -> str:
    rows = sorted(results.idle.items(), key=lambda item: item[1]["idle, used"])
    return _table(
        ("", "registered, MB", "after its first calls, MB"),
        [(_named(name), f"{each['idle']:.0f}", f"{each['idle, used']:.0f}") for name, each in rows],
    )


def held_table(results: Results) -> str:
    rows = sorted(results.held.items(), key=lambda item: item[1])
    return _table(("", "kB"), [(_named(name), f"{kilobytes:.0f}") for name, kilobytes in rows])


def _named(contender: str) -> str:
    name = re.sub(r"\w+/", r"`\g<0>`", contender)
    return f"**{name}**" if contender.startswith(OURS) else name


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}".rstrip() if unit in ("", "ms") and abs(value) < 10 else f"{value:.0f} {unit}".rstrip()


def _number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
