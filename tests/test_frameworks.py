"""docs/frameworks.md, the scripts and the pins in tests/frameworks/ agree; tools/frameworks.py, but for what needs a
package index: making environments and running the frameworks in them."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
import time
import zipfile
from datetime import date
from pathlib import Path

import pytest

from tests.docs.blocks import FRAMEWORKS
from tests.docs.pages import PAGES, headings, section, tables
from tools import frameworks
from tools.environments import run_at_most

PAGE = "docs/frameworks.md"
KNOWN = frameworks.frameworks()
ON_ANOTHER_PAGE = {"langchain": "LangChain", "strands": "Strands Agents"}  # docs/clients.md
FURTHER = "\n# What else is tried\n"

each = pytest.mark.parametrize


def snippet_of(script: Path) -> str:
    """What a script begins with, after its docstring."""
    return script.read_text(encoding="utf-8").partition('"""\n\n')[2].partition(FURTHER)[0].strip()


def test_the_frameworks() -> None:
    assert {known.name for known in KNOWN.values()} == {
        *("DSPy", "CrewAI", "LlamaIndex", "smolagents", "OpenAI Agents SDK", "Google ADK", "Instructor", "Pydantic AI"),
        *("Haystack", "AutoGen", "mini-swe-agent", "LangChain", "Strands Agents"),
    }


def test_the_table_has_each_at_the_version_of_its_pins() -> None:
    [rows] = tables(PAGE, "Frameworks")
    pinned = {(known.name, known.version, known.through) for known in KNOWN.values()}
    assert {tuple(row[:3]) for row in rows} == pinned
    assert len(rows) == len(pinned)


@each("key", KNOWN)
def test_what_does_not_work_is_what_the_script_says(key: str) -> None:
    [rows] = tables(PAGE, "Frameworks")
    [row] = [row for row in rows if row[0] == KNOWN[key].name]
    script = (frameworks.SCRIPTS / f"{key}.py").read_text(encoding="utf-8")
    for feature, cell in zip(frameworks.FEATURES, row[3:], strict=True):
        if cell.startswith("no: "):
            assert f'"{feature}": "{cell.removeprefix("no: ")}"' in script
        else:
            assert cell in ("yes", "by LiteLLM", "by the proxy")
            assert f"def {feature}(" in script or feature == "cost"


@each("key", [key for key in KNOWN if key not in ON_ANOTHER_PAGE])
def test_the_page_shows_what_is_run(key: str) -> None:
    title = KNOWN[key].name
    assert title in headings(PAGES[PAGE])
    place = PAGES[PAGE].partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert f"```python\n{snippet_of(frameworks.SCRIPTS / f'{key}.py')}\n```\n" in place


def test_no_snippet_is_shown_that_is_not_run() -> None:
    scripts = [frameworks.SCRIPTS / f"{key}.py" for key in ("registration", *KNOWN) if key not in ON_ANOTHER_PAGE]
    assert sorted(block.text.strip() for block in FRAMEWORKS) == sorted(map(snippet_of, scripts))


@each("key", KNOWN)
def test_the_page_says_what_to_install(key: str) -> None:
    """The pins without versions; LiteLLM where nothing else in the command brings it."""
    pins = (frameworks.SCRIPTS / f"{key}.txt").read_text(encoding="utf-8").split()
    wanted = {re.sub("==.*", "", pin) for pin in pins} - {"litellm"}
    title = "LangChain and Strands Agents" if key in ON_ANOTHER_PAGE else KNOWN[key].name
    commands = re.findall(r"`pip install ([^`]+)`", section(PAGE, title))
    shown = [{part.strip("'") for part in command.split()} - {"litellm"} for command in commands]
    assert wanted in shown


def test_each_pin_is_exact() -> None:
    for pins in frameworks.SCRIPTS.glob("*.txt"):
        assert pins.stem in KNOWN
        for pin in pins.read_text(encoding="utf-8").split():
            assert re.fullmatch(r"[\w-]+(\[[\w,]+\])?==[\d.]+", pin), pin


def result(key: str, **cells: str) -> frameworks.Result:
    return frameworks.Result(KNOWN[key], {**dict.fromkeys(frameworks.FEATURES, "yes"), **cells}, True)


def test_the_page_gets_the_table_and_the_day() -> None:
    page = frameworks.page_with(PAGES[PAGE], [result("dspy", cost="by us"), result("autogen")], date(2031, 2, 3))
    assert "\nRun on 2031-02-03 by `make frameworks`" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| framework", "| ---", "| AutoGen", "| DSPy"]
    assert rows[3].endswith("| by us |")
    with pytest.raises(SystemExit, match="one table of frameworks"):
        frameworks.page_with("# Another page\n", [], date(2031, 2, 3))


def test_an_errors_text_is_one_cell() -> None:
    error = "no: ValidationError: 2 errors\n  int | None\n\n| age |"
    page = frameworks.page_with(PAGES[PAGE], [result("dspy", chat=error), result("strands")], date(2031, 2, 3))
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert rows[2].startswith(r"| DSPy | 3.4.1 | SDK | no: ValidationError: 2 errors int \| None \| age \| | yes |")


def test_a_proxy_that_does_not_answer_costs_nothing_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert frameworks._cost_at("http://127.0.0.1:9", "sk-1") is None
    assert "does not say what a chat costs" in capsys.readouterr().out


HOLDS_THE_LOG = "import fcntl, time; fcntl.flock(1, fcntl.LOCK_EX); print('!', flush=True); time.sleep(60)"
STARTS_ANOTHER = f"""\
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {HOLDS_THE_LOG!r}])
while not open("log").read():
    time.sleep(0.05)
raise SystemExit if sys.argv[1:] else time.sleep(60)
"""


@each("ends", [True, False])
def test_nothing_goes_on_that_a_framework_has_started(tmp_path: Path, ends: bool) -> None:
    log = tmp_path / "log"
    run_at_most(10 if ends else 2, [sys.executable, "-uc", STARTS_ANOTHER, *["ends"] * ends], {}, log)
    with log.open() as file:  # locked, as long as the other runs
        deadline = time.monotonic() + 10
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline
                time.sleep(0.05)


def test_an_environment_is_made_of_what_the_wheel_requires(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "it.whl", "w") as archive:
        archive.writestr("it-1.dist-info/METADATA", "Requires-Dist: httpx>=0.27\nRequires-Dist: regex\n\nIt is.\n")
    assert frameworks.requirements_of(tmp_path / "it.whl") == ["httpx>=0.27", "regex"]


@each("arguments", [["langchian"], ["--page", "dspy"]])
def test_what_cannot_be_asked_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        frameworks.main(arguments)
    assert re.search("is none of: autogen, crewai|of all frameworks: name none", capsys.readouterr().err)


SCRIPT = """\
import litellm

CALL = {"model": "sagemaker_openai/my-endpoint", "messages": [{"role": "user", "content": "Hello?"}]}

async def chat():
    global answer
    answer = await litellm.acompletion(**CALL)
    return answer.choices[0].message.content

def usage():
    return answer.usage.prompt_tokens, answer.usage.completion_tokens + 1

def cost():
    return 1.0

def stream():
    return [litellm.completion(**CALL).choices[0].message.content]

def structured():
    return {"name": "Ada", "age": 36}

WITHOUT = {"tools": "it has none"}
"""


@pytest.mark.slow(reason="imports LiteLLM in another process")
@pytest.mark.usefixtures("runtime")
def test_the_harness_tells_what_works_from_what_does_not(tmp_path: Path) -> None:
    """A stream in one piece, a count that is not the container's and another cost are noticed."""
    script = tmp_path / "framework.py"
    script.write_text(SCRIPT)
    harness = frameworks.SCRIPTS / "harness.py"
    command = [sys.executable, "-I", str(harness), str(script), "http://127.0.0.1:9", str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    cells = {name: tried["cell"] for name, tried in json.loads((tmp_path / "results").read_text()).items()}
    assert list(cells) == list(frameworks.FEATURES)
    assert (cells["chat"], cells["structured"], cells["tools"]) == ("yes", "yes", "no: it has none")
    assert [cells[name].split(":")[0] for name in ("stream", "usage", "cost")] == ["no"] * 3
