"""What came of `make live` → the Markdown that can be sent in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tools.live_answers import Seen
from tools.live_cases import Case
from tools.live_comparison import Difference

_BASES = {
    "seen": "public reports of a live endpoint",
    "documented": "AWS's documentation and SDK",
    "guessed": "a guess",
}


@dataclass(frozen=True, slots=True)
class Result:
    """One case, answered by both sides; or why it was not asked."""

    case: Case
    aws: Seen | None = None
    local: Seen | None = None
    differences: tuple[Difference, ...] = ()
    not_asked: str = ""

    @property
    def matters(self) -> tuple[Difference, ...]:
        return tuple(each for each in self.differences if each.matters)


def report(results: Sequence[Result], about: Mapping[str, str]) -> str:
    """The whole file.

    Args:
        results: in the order in which they were asked.
        about: what was run, and on what.
    """
    return "\n".join([*_summary(results, about), *_differences(results), *_answers(results)]).rstrip() + "\n"


def summary_line(results: Iterable[Result]) -> str:
    """What came of it, in a line."""
    asked = [each for each in results if not each.not_asked]
    differ = [each for each in asked if each.matters]
    return f"{len(asked)} cases asked, {len(asked) - len(differ)} answered alike, {len(differ)} with differences"


def _summary(results: Sequence[Result], about: Mapping[str, str]) -> Iterator[str]:
    yield from ("# SageMaker and the local runtime, compared", "", f"{summary_line(results)}.", "")
    yield from _table(("", ""), about.items())
    skipped = [(each.case.name, each.not_asked) for each in results if each.not_asked]
    if skipped:
        yield from ("## Not asked", "", *_table(("case", "why"), skipped))


def _differences(results: Sequence[Result]) -> Iterator[str]:
    for title, matters in (("Differences", True), ("Differences that do not matter", False)):
        rows = [
            (each.case.name, _BASES[each.case.basis], _code(found.what), _code(found.aws), _code(found.local))
            for each in results
            for found in each.differences
            if found.matters is matters
        ]
        head = ("case", "the local runtime's rests on", "what", "SageMaker", "local runtime")
        yield from (f"## {title}", "", *(_table(head, rows) if rows else ("None.", "")))


def _answers(results: Sequence[Result]) -> Iterator[str]:
    yield from ("## All answers", "", "Names and types, and no text of a model's.", "")
    for each in results:
        if each.aws is None or each.local is None:
            continue
        case = each.case
        yield from (f"### {case.section}: {case.name}", "")
        sent = f"{case.method} {case.path.replace('{', '<').replace('}', '>')}, with {_article(case.authority)}"
        yield from (f"{_code(sent)}{_headers_of(case)}", "")
        pairs = zip(_lines(each.aws), _lines(each.local), strict=True)
        rows = [
            (name, _code(aws), "the same" if aws == local else _code(local) or "none")
            for (name, aws), (_, local) in pairs
            if aws or local
        ]
        yield from _table(("", "SageMaker", "local runtime"), rows)


def _article(authority: str) -> str:
    return authority if authority.startswith(("a", "no")) else f"{'an' if authority[0] in 'aeiou' else 'a'} {authority}"


def _headers_of(case: Case) -> str:
    return "".join(f" and the header {_code(name)}" for name in case.headers)


def _lines(seen: Seen) -> Iterator[tuple[str, str]]:
    """What is written of an answer, in the same order for each."""
    yield "status", seen.failure or str(seen.status)
    yield "content type", seen.media_type
    yield "error type", seen.error_type
    yield "headers", ", ".join(sorted(seen.headers))
    yield "words", seen.words
    yield "the container's words", seen.quoted
    yield "events", "; ".join(seen.events)
    yield "JSON", ", ".join(f"{path}: {'/'.join(sorted(types))}" for path, types in sorted(seen.shape.items()))
    yield "values", ", ".join(f"{path}: {'/'.join(sorted(words))}" for path, words in sorted(seen.values.items()))


def _code(text: str) -> str:
    """A text as it is, whatever is in it: nothing of it is Markdown or HTML."""
    plain = " ".join(text.replace("`", "'").replace("|", "¦").split())
    return f"`{plain}`" if plain else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
