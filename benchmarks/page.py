"""The last run's results in docs/performance.md, which shows some of their tables. Pure.

What is written around the tables stays: it is for whoever made the run to see whether it still holds.
"""

from __future__ import annotations

import re

_TABLE = re.compile(r"(?m)(?:^\|.*\n)+")
_BULLETS = re.compile(r"(?m)(?:^- .*\n)+")


def with_results(page: str, results: str) -> str:
    """A page with the tables that its sections have of the results, by their titles.

    Args:
        page: the page. Below the table of the results' first title it says how they were measured, as they do.
        results: what there is to know of the run, as a list; then each title with its table.
    """
    about = re.findall(r"(?m)^- .*\n", results)
    tables = dict(re.findall(r"(?m)^### (.+)\n\n((?:\|.*\n)+)", results))
    sections = re.split(r"(?m)^(?=## )", page)
    for number, section in enumerate(sections):
        title = section.partition("\n")[0].removeprefix("## ")
        if title in tables:
            sections[number] = _TABLE.sub(lambda _, table=tables[title]: table, section, count=1)
            if title == next(iter(tables)):
                sections[number] = _BULLETS.sub(lambda found: _renewed(found[0], about), sections[number], count=1)
    return "".join(sections)


def _renewed(bullets: str, about: list[str]) -> str:
    """A list that begins with what there is to know of the run, and goes on with what was written by hand."""
    return "".join([*about, *bullets.splitlines(keepends=True)[len(about) :]])
