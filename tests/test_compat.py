"""tools/compat.py, but for what needs a package index: making an environment and running the tests in it."""

from __future__ import annotations

import re
import sys

import pytest
from packaging.version import Version

from tools import compat
from tools.environments import ROOT


def test_the_lowest_is_what_the_package_requires_and_the_pinned_what_make_installs() -> None:
    versions = compat._by_version(["lowest", "pinned", "1.107.0", "1.107.0"])
    lowest, pinned, _ = versions
    assert list(versions.values()) == [["lowest"], ["pinned"], ["1.107.0", "1.107.0"]]
    assert Version(lowest) < Version(pinned)
    text = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r'"litellm(?:\[proxy\])?([<>=~].*?)"', text) == [f">={lowest}"] * 2


@pytest.mark.parametrize("name", ["oldest", "1", "1.x", ">=1.103", "", "--upgrade"])
def test_what_is_no_version(name: str) -> None:
    with pytest.raises(SystemExit, match=r"is not a version of LiteLLM; write one like 1\.106\.2, or: lowest, pinned"):
        compat._version_of(name)


def test_the_table() -> None:
    results = [
        compat.Result("1.103.0", ["lowest"], "yes", 1900, 0, 61.4, 0),
        compat.Result("1.110.2", ["newest"], "without litellm-proxy", 1700, 2, 59.0, 1),
    ]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    head, *rows = ([cell.strip() for cell in re.split("  +", line)] for line in compat._table(results))
    assert head == ["LiteLLM", "which", "Python", "proxy", "passed", "failed", "seconds"]
    assert rows == [
        ["1.103.0", "lowest", python, "yes", "1900", "0", "61"],
        ["1.110.2", "newest", python, "without litellm-proxy", "1700", "2", "59"],
    ]


def test_each_workaround_says_how_long_it_is_needed() -> None:
    listed = dict(compat.workarounds())
    files = {path.stem for path in (ROOT / "litellm_sagemaker_openai" / "litellm_seams").glob("*.py")}
    assert listed.keys() == files - {"__init__", "lookup"}
    assert all(listed.values())
