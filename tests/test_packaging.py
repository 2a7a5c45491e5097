"""The wheel and the sdist: what is in them, and that PyPI takes them. `make compat` installs the wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

from litellm_sagemaker_openai._version import __version__

ROOT = Path(__file__).parent.parent
PACKAGE = "litellm_sagemaker_openai"
INFO = f"{PACKAGE}-{__version__}.dist-info"
SDIST = f"{PACKAGE}-{__version__}"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both, the wheel made of the sdist. Built with what is installed, so without a network."""
    folder = tmp_path_factory.mktemp("dist")
    run("build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="module")
def in_wheel(dist: Path) -> set[str]:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def in_sdist(dist: Path) -> set[str]:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return {member.name.removeprefix(f"{SDIST}/") for member in archive if member.isfile()}


@pytest.fixture(scope="module")
def metadata(dist: Path) -> Message:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return HeaderParser().parsestr(archive.read(f"{INFO}/METADATA").decode())


def run(module: str, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def files_of(folder: str) -> set[str]:
    """The source files in one of the project's folders."""
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in paths}


def test_pypi_takes_them(dist: Path) -> None:
    run("twine", "check", "--strict", *map(str, dist.iterdir()))


def test_the_wheel_holds_the_package_its_licence_and_nothing_else(in_wheel: set[str]) -> None:
    about = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert f"{PACKAGE}/py.typed" in in_wheel
    assert in_wheel == files_of(PACKAGE) | about


def test_the_sdist_holds_what_its_tests_need_and_nothing_else(in_sdist: set[str]) -> None:
    folders = set().union(*map(files_of, (PACKAGE, "tests", "docs", "examples", "benchmarks", "tools", "deploy")))
    top = {name for name in in_sdist if "/" not in name}
    assert folders <= in_sdist
    assert in_sdist - folders == top
    assert {"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "pyproject.toml", "constraints.txt"} <= top
    assert top <= {path.name for path in ROOT.iterdir()} | {"PKG-INFO"}
    assert not any(re.search(r"\.(pyc|xml|log)$|(^|/)\.(?!gitignore$|env\.example$)", name) for name in in_sdist)


def test_what_it_says_of_itself(metadata: Message) -> None:
    assert metadata["Name"] == "litellm-sagemaker-openai"
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "MIT"
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)} <= set(
        metadata.get_all("Classifier", [])
    )


def test_the_changelog_has_the_version() -> None:
    newest = re.search(r"^## \[?(\d\S*?)\]? - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__
    assert re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", newest[2])
