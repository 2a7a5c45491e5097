"""``make docs``: the site has what the pages have, asks nobody else for anything, and is built strictly."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import BLOCKS, DOCS, PAGES, ROOT, lines_of_tables, prose
from tests.docs.reader import environment


def build(folder: Path, addition: str = "") -> subprocess.CompletedProcess[str]:
    """What ``make docs`` does, in a folder of its own; the addition goes to the end of the first page."""
    [command] = re.findall(r"(?m)^docs:.*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text())
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    with (folder / "docs" / "index.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{addition}\n")
    return subprocess.run(command.split(), cwd=folder, env=environment(folder), capture_output=True, text=True)


def test_the_site(tmp_path: Path) -> None:
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")):
        name = page.removesuffix(".md")
        html = (tmp_path / "site" / ("" if name == "index" else name) / "index.html").read_text(encoding="utf-8")
        text = PAGES[f"docs/{page}"]
        fences = sum(2 if block.output is not None else 1 for block in BLOCKS if block.page == f"docs/{page}")
        assert html.count("<table") == len(lines_of_tables(prose(text))), page
        assert len(re.findall(r'<div class="[^"]*\bhighlight"', html)) == fences, page
        assert html.count("<li>") >= len(re.findall(r"(?m)^- ", prose(text))), page
        loaded = re.findall(r'<(?:link|script|img|iframe)\b[^>]*\b(?:href|src)="(https?:[^"]*)"', html)
        assert loaded == [], page
        assert re.search(r'<link rel="stylesheet" href="[./]*extra\.css"', html), page
    assert (tmp_path / "site" / "extra.css").is_file()


@pytest.mark.parametrize(
    "mistake", ["[a page](nowhere.md)", "[an anchor](#nowhere)", "[another page's anchor](proxy.md#nowhere)"]
)
def test_a_mistake_fails_the_build(mistake: str, tmp_path: Path) -> None:
    done = build(tmp_path, mistake)
    assert done.returncode != 0
    assert "does not exist" in done.stderr
