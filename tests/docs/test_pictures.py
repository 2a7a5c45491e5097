"""The pictures show what the commands show, and ask nobody else for anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.aws_apis import Aws
from tests.docs.pages import PACKAGE, PAGES, links
from tests.docs.pictures import FOLDER, PICTURES, account, draw, text_in

pytestmark = pytest.mark.slow(reason="starts the command in processes of their own, and each imports LiteLLM")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_command_shows(name: str, aws_apis: Aws, tmp_path: Path) -> None:
    """``make pictures`` draws them anew."""
    with account(aws_apis, tmp_path) as env:
        drawn = draw(name, env)
    assert text_in(drawn) == text_in((FOLDER / f"{name}.svg").read_text(encoding="utf-8"))


def test_each_picture_is_on_a_page() -> None:
    shown = {Path(link).name for text in PAGES.values() for link in links(text)}
    assert {file.name for file in FOLDER.iterdir()} <= shown


def test_no_picture_loads_anything() -> None:
    for file in FOLDER.iterdir():
        said = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"url\((?!#)|(?:href|src)=", said) == [], file.name


def test_the_modules_in_a_picture_are_there() -> None:
    for file in FOLDER.iterdir():
        if file.name == "session.svg":  # an agent works on somebody's files there
            continue
        for module in re.findall(r"[\w/]+\.py", " ".join(text_in(file.read_text(encoding="utf-8")))):
            assert (PACKAGE / module).is_file(), f"{file.name}: {module}"
