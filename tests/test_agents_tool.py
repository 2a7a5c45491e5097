"""tools/agents.py, the pins and the scripts in tests/agents/, and docs/agents.md agree; all but what needs npm's
registry: installing the agents and running them."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from litellm_sagemaker_openai.commands.agents import AGENTS as LAUNCHED
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.runtime import Received, RuntimeConfig, create_app
from litellm_sagemaker_openai.local.script import read_script
from litellm_sagemaker_openai.local.server import Running
from tests.conftest import CREDENTIALS, REGION
from tests.docs.pages import PAGES, tables
from tools import agents
from tools.agents import AGENTS, SCRIPTS, TASKS, Result, Trial

PAGE = "docs/agents.md"
ROWS = [(AGENTS[key], task) for key in AGENTS for task in TASKS if agents.script_of(key, task).exists()]
LOCK = json.loads((SCRIPTS / "package-lock.json").read_text(encoding="utf-8"))["packages"]

each = pytest.mark.parametrize


def test_each_agent_that_launch_knows() -> None:
    assert set(AGENTS) == set(LAUNCHED)


def test_the_table_has_each_task_at_the_pins_version_and_all_passed() -> None:
    rows = tables(PAGE, "Really run")[0]
    assert [tuple(row[:3]) for row in rows] == [(agent.name, agent.version, task) for agent, task in ROWS]
    assert {row[4] for row in rows} == {"yes"}


@each("agent", AGENTS.values(), ids=list(AGENTS))
def test_the_pins_are_exact_and_the_locks(agent: agents.Agent) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", agent.version)
    assert LOCK[""]["dependencies"][agent.package] == agent.version
    locked = LOCK[f"node_modules/{agent.package}"]
    assert locked["version"] == agent.version
    assert all(f"node_modules/{name}" in LOCK for name in locked["optionalDependencies"])  # npm ci asks for each


def test_the_lock_names_no_other_registry_than_npms() -> None:
    packages = {path.removeprefix("node_modules/"): package for path, package in LOCK.items() if path}
    assert {package["resolved"].split("/")[2] for package in packages.values()} == {"registry.npmjs.org"}
    # Of OpenCode's builds, those for x64 Linux with glibc were to be had when the lock was written.
    without_hash = {name for name, package in packages.items() if "integrity" not in package}
    assert without_hash == set(packages["opencode-ai"]["optionalDependencies"]) - {
        "opencode-linux-x64",
        "opencode-linux-x64-baseline",
    }


@each("script", sorted(SCRIPTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_scripts(script: Path) -> None:
    """Each is of a task, says for which version of the agent it is, and can be played."""
    key, _, rest = script.stem.partition("_")
    assert rest in {task.script.removeprefix("_") for task in TASKS.values()}
    text = script.read_text(encoding="utf-8")
    assert f"{AGENTS[key].name} {AGENTS[key].version}" in text.splitlines()[0]
    assert read_script(text)


@each("key", AGENTS)
def test_the_files_are_those_that_the_script_mends(key: str) -> None:
    head = (SCRIPTS / f"{key}.yaml").read_text(encoding="utf-8").partition("conversations:")[0]
    for name, text in agents.FILES.items():
        assert name in head
        assert all(line in head for line in text.splitlines())


def test_a_slower_script() -> None:
    script = read_script((SCRIPTS / "codex_long.yaml").read_bytes())
    slow = agents.slower(script, 0.5)
    assert [turn.delay for turn in slow.conversations[0].turns] == [0.5, 0.5]
    assert agents.slower(slow, 0) == slow


def body(text: str, *tools: str) -> dict[str, Any]:
    functions = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in tools]
    return {"messages": [{"role": "user", "content": text}], **({"tools": functions} if tools else {})}


def test_turns_are_the_scripts_answers_and_neither_an_echo_nor_what_is_refused(tmp_path: Path) -> None:
    script = read_script((SCRIPTS / "codex_full.yaml").read_bytes())
    echo = EchoConfig(context_length=100, script=script)
    app = create_app(RuntimeConfig({"my-endpoint": ()}, CREDENTIALS, REGION, echo=echo))
    compact = "You are performing a CONTEXT CHECKPOINT COMPACTION"
    asked = [body("Title?"), body("Count.", "exec_command"), body("word " * 200, "exec_command"), body(compact)]
    app.state.received.extend(Received("POST", "/", {}, each) for each in asked)
    answers = Trial(AGENTS["codex"], tmp_path, echo, Running("", app), {}).answers()
    assert [answer.finish_reason for answer in answers] == ["tool_calls", "stop"]
    assert answers[1].content.startswith("Summary")


def test_the_page_gets_the_table_and_the_day() -> None:
    results = [Result(AGENTS["claude"], "mends a bug", 6), Result(AGENTS["codex"], "killed", 3, "left: a|b")]
    page = agents.page_with(PAGES[PAGE], results, date(2031, 2, 3))
    assert "\nRun on 2031-02-03 by `make agents`" in page
    rows = re.findall(r"(?m)^\| (?:agent \| version|Claude Code \| 2[.]|Codex \| 0[.]).*", page)
    assert rows == [
        "| agent | version | task | turns | passed |",
        "| Claude Code | 2.1.197 | mends a bug | 6 | yes |",
        r"| Codex | 0.169.0 | killed | 3 | no: left: a\|b |",
    ]
    with pytest.raises(SystemExit, match="one table of agents"):
        agents.page_with("# Another page\n", [], date(2031, 2, 3))


def test_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_INSTALLED", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="npm is not on the PATH: install Node"):
        agents.main(["codex"])
    assert not (tmp_path / "none").exists()


def test_agents_of_these_pins_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_INSTALLED", tmp_path)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "made-of").write_text("".join((SCRIPTS / name).read_text() for name in agents._PINS))
    agents._install()


@each("arguments", [["cursor"], ["--page", "codex"]])
def test_what_cannot_be_asked_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        agents.main(arguments)
    assert re.search("is none of: claude, codex|of all agents: name none", capsys.readouterr().err)
