"""What was measured → tables in Markdown, the targets among them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.bench_answers import chunks_of
from benchmarks.bench_cases import (
    CASES,
    LONG_STREAMS,
    MANY_DEPLOYMENTS,
    ONE_DEPLOYMENT,
    STREAMS_1,
    STREAMS_8,
    WHOLE_32,
    Case,
    Figures,
)
from benchmarks.bench_contenders import AIOHTTP, CONTENDERS, FLOOR, FLOOR_ROUTED, OURS, ROUTED, SDK_TOKEN


@dataclass(frozen=True)
class Results:
    """Medians: of the slices of each case and contender, and of what fresh processes said (``benchmarks.bench_fresh``).

    ``held`` is by contender. What was not measured is not there.
    """

    slices: Mapping[tuple[Case, str], Figures]
    fresh: Mapping[str, float] = field(default_factory=dict)
    held: Mapping[str, float] = field(default_factory=dict)

    def cpu(self, case: Case, contender: str = OURS) -> float:
        """Milliseconds per call."""
        return self.slices[case, contender].cpu

    def per_chunk(self, case: Case, contender: str = OURS) -> float:
        return self.cpu(case, contender) / chunks_of(case.endpoint)

    def added(self, case: Case) -> float:
        """CPU per call, behind a Router, beyond LiteLLM's floor."""
        return self.cpu(case, ROUTED) - self.cpu(case, FLOOR_ROUTED)

    def first_chunk(self, contender: str = OURS) -> float:
        """Milliseconds, p50, one stream at a time."""
        return self.slices[STREAMS_1, contender].first_p50 or 0.0


@dataclass(frozen=True)
class Target:
    """A figure, and what it may be at most.

    Args:
        name: what is measured.
        limit: the most.
        unit: of both; a ratio has none.
        measure: raises KeyError where something that it needs was not measured.
    """

    name: str
    limit: float
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
    Target("… against `hosted_vllm/`", 0.85, "", _against(WHOLE_32, "hosted_vllm/")),
    Target("… against `openai/`", 0.55, "", _against(WHOLE_32, "openai/")),
    Target("… against the OpenAI SDK with a token per request", 0.20, "", _against(WHOLE_32, SDK_TOKEN)),
    Target("streams of 200 chunks, 8 in flight: CPU against LiteLLM's floor", 1.00, "", _against(STREAMS_8, FLOOR)),
    Target("… against `hosted_vllm/`", 0.60, "", _against(STREAMS_8, "hosted_vllm/")),
    Target("… against `openai/`", 0.38, "", _against(STREAMS_8, "openai/")),
    Target(
        "time to the first chunk, p50, one at a time: what is added over aiohttp, beyond LiteLLM's floor",
        0.3,
        "ms",
        lambda results: results.first_chunk() - results.first_chunk(AIOHTTP) - results.first_chunk(FLOOR),
    ),
    Target(
        "`import litellm_sagemaker_openai`, beyond `import litellm`", 30, "ms", lambda results: results.fresh["import"]
    ),
    Target("… and `register()`", 30, "ms", lambda results: results.fresh["register"]),
    Target("… botocore sessions", 0, "", lambda results: results.fresh["sessions"]),
    Target("… connections", 0, "", lambda results: results.fresh["connections"]),
    Target(
        "first call beyond a later one, credentials from the environment",
        60,
        "ms",
        lambda results: results.fresh["first"],
    ),
    Target(
        "… in an application without a callback of its own, and with LiteLLM's enterprise package",
        60,
        "ms",
        lambda results: results.fresh["first-callback"],
    ),
    Target("memory added per open stream", 60, "kB", lambda results: results.held[OURS]),
    Target(
        "growth: CPU per chunk at 5,000 chunks against 200",
        1.1,
        "",
        lambda results: results.per_chunk(LONG_STREAMS) / results.per_chunk(STREAMS_8),
    ),
    Target(
        "growth: CPU per call with 500 deployments against one",
        1.1,
        "",
        lambda results: results.cpu(MANY_DEPLOYMENTS, ROUTED) / results.cpu(ONE_DEPLOYMENT, ROUTED),
    ),
    Target(
        "… of what is added to LiteLLM's floor",
        1.1,
        "",
        lambda results: results.added(MANY_DEPLOYMENTS) / results.added(ONE_DEPLOYMENT),
    ),
)


def report(results: Results, about: Sequence[str]) -> str:
    """All tables. ``about`` says on what machine, with what, and how it was measured, a sentence or more each."""
    parts = ["\n".join(f"- {each}" for each in about), "### Targets", targets_table(results)]
    for case in CASES:
        table = case_table(case, results)
        if table:
            parts += [f"### {case.name}", table]
    if results.held:
        parts += ["### Memory added per open stream", held_table(results)]
    return "\n\n".join(parts) + "\n"


def targets_table(results: Results) -> str:
    """Each target, what was measured, and whether it is met."""
    rows = []
    for target in TARGETS:
        measured = target.measured(results)
        if measured is None:
            shown, verdict = "not measured", ""
        else:
            shown, verdict = _with_unit(measured, target.unit), "✓" if measured <= target.limit else "✗"
        rows.append((target.name, f"≤ {target.limit:g} {target.unit}".rstrip(), shown, verdict))
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
    head += [f"{kind} p50, ms", "p99, ms", "peak memory, MB"]
    rows = []
    for name, figures in sorted(measured.items(), key=lambda item: item[1].cpu):
        cells = [_named(name), _number(figures.cpu), f"{own.cpu / figures.cpu:.2f}" if own else "-"]
        if case.streamed:
            cells.append(f"{figures.rate * chunks_of(case.endpoint):,.0f}")
            cells += [_number(figures.first_p50), _number(figures.first_p99)]
        else:
            cells.append(f"{figures.rate:,.0f}")
        rows.append([*cells, _number(figures.p50), _number(figures.p99), _number(figures.peak)])
    return _table(head, rows)


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
