"""Links and anchors lead somewhere, each page is found, and the README stays short."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

import pytest
import tomli

from tests.docs.pages import DOCS, PACKAGE, PAGES, ROOT, anchors, links

each = pytest.mark.parametrize

LINKING = PAGES | {file.name: file.read_text(encoding="utf-8") for file in ROOT.glob("*.md")}
SITE = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 300


@each("page", LINKING)
def test_links(page: str) -> None:
    """In the repository, where GitHub renders the pages. ``make docs`` checks those between pages on the site."""
    for link in links(LINKING[page]):
        target, _, anchor = link.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else page
        assert (ROOT / path).exists(), link
        if anchor:
            assert anchor in anchors(LINKING[path]), link


@each("page", SITE)
def test_a_page_links_to_what_the_site_has(page: str) -> None:
    """The site has docs/ and nothing else, and ``zensical build --strict`` does not look for pictures."""
    for link in links(PAGES[f"docs/{page}"]):
        assert not link.startswith("../"), link


@each("page", PAGES)
def test_headings(page: str) -> None:
    """One title, and no anchor that stands for two headings: GitHub and the site would number them differently."""
    assert re.match(r"# \S", PAGES[page])
    assert len(re.findall(r"(?m)^# ", re.sub(r"(?ms)^```.*?^```$", "", PAGES[page]))) == 1
    assert sorted(anchors(PAGES[page])) == sorted(set(anchors(PAGES[page])))


def in_navigation(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else in_navigation(value)


def test_each_page_is_found() -> None:
    """In the site's navigation, in the same order in docs/index.md, and in the README."""
    project = tomli.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    navigation = list(in_navigation(project["nav"]))
    assert sorted(navigation) == sorted(file.name for file in DOCS.glob("*.md"))
    listed = [link for link in links(PAGES["docs/index.md"]) if link.endswith(".md")]
    assert ["index.md", *listed] == navigation
    assert {f"docs/{page}" for page in navigation} <= {link.partition("#")[0] for link in links(PAGES["README.md"])}


@each("page", PAGES)
def test_files_that_a_page_names(page: str) -> None:
    """In code, by their paths in the repository or in the package."""
    for name in re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|md|json|yaml|toml|svg))`", PAGES[page]):
        assert any((folder / name).is_file() for folder in (ROOT, ROOT / "tests", PACKAGE)), name
