"""The pages: README.md and docs/*.md, their code blocks, sections, tables and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "litellm_sagemaker_openai"
DOCS = ROOT / "docs"

_FENCED = r"(?ms)^```(\w*)\n(.*?)^```$"


@dataclass(frozen=True)
class Block:
    """A fenced code block, and the text block right after it, which shows its output."""

    page: str
    line: int
    language: str
    text: str
    output: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.language}"


def blocks_of(page: str, text: str) -> Iterator[Block]:
    for match in re.finditer(rf"{_FENCED}(?:\s*^```text\n(.*?)^```$)?", text):
        yield Block(page, text[: match.start()].count("\n") + 1, match[1], match[2], match[3])


# By their paths from the repository's top.
PAGES = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for file in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
}
BLOCKS = [block for page, text in PAGES.items() for block in blocks_of(page, text)]


def in_language(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def prose(text: str) -> str:
    """A page without what stands in its code blocks, where ``#`` begins a comment."""
    return re.sub(_FENCED, "", text)


def headings(text: str) -> list[str]:
    return re.findall(r"(?m)^#+ (.*)$", prose(text))


def anchors(text: str) -> list[str]:
    """What GitHub makes of a page's headings."""
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings(text)]


def links(text: str) -> list[str]:
    """Where a page's links and pictures point to on this machine: ``path``, ``path#anchor`` or ``#anchor``."""
    return re.findall(r"\]\((?!https://)([^)]+)\)", prose(text))


def section(page: str, title: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"(?ms)^(#+) {re.escape(title)}\n(.*?)(?=^(?!\1#)#+ |\Z)", prose(PAGES[page]))
    assert found, f"{page} has no heading {title!r}"
    return found[2]


def lines_of_tables(text: str) -> list[list[str]]:
    """The tables in a text, each as its lines, head and all."""
    return [table.splitlines() for table in re.findall(r"(?m)(?:^\|.*\|\n)+", text)]


def tables(page: str, title: str) -> list[list[list[str]]]:
    """A section's tables, each as its rows' cells, without the head."""
    return [[cells(row) for row in table[2:]] for table in lines_of_tables(section(page, title))]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row[1:-1].split("|")]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)
