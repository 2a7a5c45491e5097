"""Runs coding agents through `launch`, against the local runtime and scripts, and prints what came of each task.

    python -m tools.agents                  all
    python -m tools.agents claude codex     some
    python -m tools.agents --page           all, and writes the table into docs/agents.md

The exit status is 0 if all passed. Needs Node.js with npm, and its registry. The agents' versions are in
tests/agents/package.json, beside the scripts that they play; they are kept in .agents/, and installed anew where the
versions have changed. Each runs in a home whose own settings name another provider, key and model, which must not
count, and must not change. Nothing that runs reaches the network: its proxy for HTTP is a closed port.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from pathlib import Path

from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.local import DEFAULT_CONTEXT_LENGTH
from litellm_sagemaker_openai.local.echo import EchoConfig, plan_answer
from litellm_sagemaker_openai.local.echo_checks import ContainerRefusal
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.script import Script, ScriptedAnswer, answer_of, read_script
from litellm_sagemaker_openai.local.server import Running, running
from tests.terminal import in_terminal
from tools.environments import OFFLINE, ROOT, names_or_page, page_with_table, run, run_at_most, started, table

SCRIPTS = ROOT / "tests" / "agents"
PAGE = ROOT / "docs" / "agents.md"
HEAD = ("agent", "version", "task", "turns", "passed")
# What the scripts `<agent>.yaml` mend.
FILES = {
    "calculator.py": "def add(a, b):\n    return a - b\n",
    "test_calculator.py": (
        "from calculator import add\n\n"
        'assert add(2, 3) == 5, add(2, 3)\nassert add(-1, 1) == 0, add(-1, 1)\nprint("passed")\n'
    ),
}
_INSTALLED = ROOT / ".agents"
_PROGRAMS = _INSTALLED / "node_modules" / ".bin"
_PINS = ("package.json", "package-lock.json")
_COMMAND = Path(sys.executable).parent / "litellm-sagemaker-openai"
_REGION = "us-west-2"
_FULL = 60_000  # tokens of a context that is soon full
_TRIAL_SECONDS, _END_SECONDS = 600, 30
_ELSEWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Agent:
    """One that ``launch`` knows.

    Attributes:
        key: what ``launch`` calls it, and its program.
        name: its own name.
        package: npm's.
        arguments: those with which it works on a task by itself, which comes last.
        settings: its own settings, by their path in the home, which name another provider.
        leaves: what it leaves by itself in the folder for temporary files when it is killed.
    """

    key: str
    name: str
    package: str
    arguments: tuple[str, ...]
    settings: Mapping[str, str]
    leaves: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        pins = json.loads((SCRIPTS / "package.json").read_text(encoding="utf-8"))["dependencies"]
        return str(pins[self.package])


AGENTS = {
    agent.key: agent
    for agent in (
        Agent(
            "claude",
            "Claude Code",
            "@anthropic-ai/claude-code",
            ("--allowedTools=Bash,Edit,Read", "--print"),
            {
                ".claude/settings.json": json.dumps(
                    {
                        "env": {
                            "ANTHROPIC_BASE_URL": _ELSEWHERE,
                            "ANTHROPIC_API_KEY": "sk-ant-elsewhere",
                            "ANTHROPIC_MODEL": "elsewhere",
                        },
                        "model": "elsewhere",
                        "apiKeyHelper": "echo sk-ant-elsewhere",
                        "theme": "light",  # else Claude Code asks, and writes it
                    }
                ),
            },
            leaves=("claude-*",),  # empty folders
        ),
        Agent(
            "codex",
            "Codex",
            "@openai/codex",
            ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
            {
                ".codex/config.toml": (
                    'model = "elsewhere"\nmodel_provider = "elsewhere"\nmodel_context_window = 1000000\n'
                    f'[model_providers.elsewhere]\nname = "Elsewhere"\nbase_url = "{_ELSEWHERE}/v1"\n'
                    'experimental_bearer_token = "sk-elsewhere"\nwire_api = "responses"\n'
                ),
            },
        ),
        Agent(
            "opencode",
            "OpenCode",
            "opencode-ai",
            ("run",),
            {
                ".config/opencode/opencode.json": json.dumps(
                    {
                        "$schema": "https://opencode.ai/config.json",  # OpenCode writes it where it is missing
                        "model": "elsewhere/elsewhere",
                        "small_model": "elsewhere/elsewhere",
                        "provider": {
                            "elsewhere": {
                                "npm": "@ai-sdk/openai-compatible",
                                "options": {"baseURL": f"{_ELSEWHERE}/v1", "apiKey": "sk-elsewhere"},
                                "models": {"elsewhere": {}},
                            }
                        },
                    }
                ),
            },
            leaves=(".*.so", "opencode"),  # a library that its runtime, Bun, unpacks, and a folder
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one agent's task.

    Attributes:
        turns: the answers that the container gave from the script.
        failure: why it has not passed; empty: it has.
    """

    agent: Agent
    task: str
    turns: int
    failure: str = ""


class NotPassed(Exception):
    """An agent did not do what its task asks; the message says what is missing."""


def main(arguments: Sequence[str] | None = None) -> int:
    description = __doc__.partition("\n")[0]
    names, to_page = names_or_page("python -m tools.agents", description, AGENTS, PAGE, arguments)
    _install()
    results = [_tried(AGENTS[name], task) for name in names for task in TASKS if _has(name, task)]
    print("\n" + "\n".join(table(HEAD, map(_row, results))))
    if to_page:
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), results, date.today()), encoding="utf-8")
    return 1 if any(result.failure for result in results) else 0


def page_with(page: str, results: Sequence[Result], today: date) -> str:
    """The page with these results in its table, and the day."""
    return page_with_table(page, HEAD, map(_row, results), today)


def _row(result: Result) -> tuple[object, ...]:
    passed = f"no: {result.failure}" if result.failure else "yes"
    return (result.agent.name, result.agent.version, result.task, result.turns, passed)


def _install() -> None:
    """The agents in .agents/, in the versions of the pins."""
    made_of = "".join((SCRIPTS / name).read_text(encoding="utf-8") for name in _PINS)
    stamp = _INSTALLED / "made-of"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == made_of:
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise SystemExit("npm is not on the PATH: install Node.js 20 or newer, which has it (https://nodejs.org)")
    print(f"Installing {', '.join(f'{agent.name} {agent.version}' for agent in AGENTS.values())}: 1 GB.", flush=True)
    _INSTALLED.mkdir(exist_ok=True)
    for name in _PINS:
        shutil.copy(SCRIPTS / name, _INSTALLED)
    run([npm, "ci", "--prefix", str(_INSTALLED), "--no-audit", "--no-fund", "--loglevel", "error"])
    stamp.write_text(made_of, encoding="utf-8")


# One agent, one task


@dataclass(frozen=True, slots=True)
class Trial:
    """An agent before a local runtime that plays a script.

    Attributes:
        folder: where it works; ``home`` and ``tmp`` are beside it.
        log: what it prints.
    """

    agent: Agent
    folder: Path
    echo: EchoConfig
    runtime: Running
    environment: Mapping[str, str]

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    @property
    def launch(self) -> list[str]:
        return ["launch", self.agent.key, "my-endpoint", "--context-length", str(self.echo.context_length), "--"]

    def command(self, task: str) -> list[str]:
        """What has the agent work on a task by itself."""
        return [str(_COMMAND), *self.launch, *self.agent.arguments, task]

    def answers(self) -> list[ScriptedAnswer]:
        """What the script has answered so far."""
        return list(filter(None, (self._answer(each.body) for each in list(self.runtime.app.state.received))))

    def _answer(self, body: Mapping[str, object]) -> ScriptedAnswer | None:
        assert self.echo.script is not None
        try:
            plan_answer(body, self.echo)
            return answer_of(self.echo.script, body)
        except ContainerRefusal:
            return None

    def finish(self, task: str, last_words: str) -> None:
        """Have it work on a task to its end."""
        status = run_at_most(_TRIAL_SECONDS, self.command(task), self.environment, self.log)
        _expect(status is not None, f"it did not end in {_TRIAL_SECONDS} s")
        _expect(status == 0, f"exit status {status}")
        _expect(last_words in self.printed(), "its last words are missing")

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotPassed(otherwise)


def _mends_a_bug(trial: Trial) -> None:
    for name, text in FILES.items():
        (trial.folder / name).write_text(text, encoding="utf-8")
    trial.finish("The test fails. Mend the bug.", "Done. add adds now, and the tests pass.")
    _expect_turns(trial)
    tested = subprocess.run([sys.executable, "-B", "test_calculator.py"], cwd=trial.folder, check=False)
    _expect(tested.returncode == 0, "the test fails still")


def _hundred_turns(trial: Trial) -> None:
    trial.finish("Run a hundred commands.", "Done after a hundred turns.")
    _expect_turns(trial)


def _expect_turns(trial: Trial) -> None:
    assert trial.echo.script is not None
    turns, wanted = len(trial.answers()), sum(turn.repeat for turn in trial.echo.script.conversations[0].turns)
    _expect(turns == wanted, f"{turns} answers, not {wanted}")


def _full_context(trial: Trial) -> None:
    trial.finish("Count.", "Done after compacting.")
    summaries = [answer for answer in trial.answers() if answer.content.startswith("Summary")]
    _expect(len(summaries) == 1, f"it has compacted {len(summaries)} times")


def _killed(trial: Trial) -> None:
    with started(trial.command("Run a hundred commands."), trial.environment, trial.log) as process:
        _wait_until(lambda: len(trial.answers()) >= 3 or process.poll() is not None, "its third turn")
        _expect(process.poll() is None, "it had ended before")
        _expect(len(_processes(trial)) >= 3, "launch, the proxy and the agent are not all there")
        process.send_signal(signal.SIGTERM)
        _wait_until(lambda: process.poll() is not None, "launch to end", _END_SECONDS)
        _wait_until(lambda: not _processes(trial), "its processes to end", _END_SECONDS)
    there = os.listdir(trial.environment["TMPDIR"])
    left = [name for name in there if not any(fnmatch(name, own) for own in trial.agent.leaves)]
    _expect(not left, f"left: {', '.join(left)}")
    chat = [str(_COMMAND), "chat", "my-endpoint", "Hello?"]
    _expect(run_at_most(_TRIAL_SECONDS, chat, trial.environment, trial.log) == 0, "the runtime does not answer")


def _processes(trial: Trial) -> list[str]:
    """The processes that have the trial's folder for temporary files in their environment."""
    shown = subprocess.run(["ps", "axeww", "-o", "pid=,command="], check=True, capture_output=True, text=True).stdout
    return [line for line in shown.splitlines() if f"TMPDIR={trial.environment['TMPDIR']}" in line]


def _interrupted(trial: Trial) -> None:
    home = trial.folder.parent / "home"
    trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    known = {"hasCompletedOnboarding": True, "projects": {str(trial.folder): trusted}}
    (home / ".claude.json").write_text(json.dumps(known), encoding="utf-8")
    first = f"import os; os.chdir({str(trial.folder)!r})"
    try:
        with in_terminal(trial.launch, trial.environment, columns=120, rows=40, first=first) as terminal:
            terminal.wait_for("? for shortcuts")
            terminal.type("Count slowly.")
            terminal.wait_for("Count slowly.")
            terminal.type("\r")
            terminal.wait_for("Two")
            terminal.type("\x1b")
            terminal.wait_for("Interrupted")
            terminal.type("Stop counting.")
            terminal.wait_for("Stop counting.")
            terminal.type("\r")
            terminal.wait_for("I have stopped counting.")
            terminal.type("/exit\r")
            _expect(terminal.wait_for_the_end() == 0, "/exit did not end it")
    except AssertionError as error:
        trial.log.write_text(str(error), encoding="utf-8")
        raise NotPassed(str(error).splitlines()[0]) from error
    _expect(len(trial.answers()) == 2, f"{len(trial.answers())} answers, not 2")


def _wait_until(holds: Callable[[], bool], what: str, seconds: float = _TRIAL_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        _expect(time.monotonic() < deadline, f"waited {seconds} s for {what}")
        time.sleep(0.1)


@dataclass(frozen=True, slots=True)
class Task:
    """What an agent is tried with; ``script`` is what its script's name ends with."""

    do: Callable[[Trial], None]
    script: str
    context_length: int = DEFAULT_CONTEXT_LENGTH
    delay: float = 0


TASKS = {
    "mends a bug": Task(_mends_a_bug, ""),
    "a hundred turns": Task(_hundred_turns, "_long"),
    "a full context": Task(_full_context, "_full", _FULL),
    "killed in the middle": Task(_killed, "_long", delay=0.2),
    "interrupted": Task(_interrupted, "_interrupted"),
}


def _has(name: str, task: str) -> bool:
    return script_of(name, task).exists()


def script_of(name: str, task: str) -> Path:
    """What an agent plays at a task."""
    return SCRIPTS / f"{name}{TASKS[task].script}.yaml"


def _tried(agent: Agent, name: str) -> Result:
    print(f"{agent.name} {agent.version}: {name}", flush=True)
    began = time.monotonic()
    with _trial(agent, name) as trial:
        failure = ""
        try:
            TASKS[name].do(trial)
            for path, text in agent.settings.items():
                now = (trial.folder.parent / "home" / path).read_text(encoding="utf-8")
                _expect(now == text, f"{path} has changed: {now}")
        except NotPassed as error:
            failure = str(error)
            print(f"{trial.printed()[-8000:]}\n  not passed: {failure}", flush=True)
        result = Result(agent, name, len(trial.answers()), failure)
    print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return result


@contextmanager
def _trial(agent: Agent, name: str) -> Iterator[Trial]:
    task = TASKS[name]
    script = slower(read_script(script_of(agent.key, name).read_bytes()), task.delay)
    echo = EchoConfig(context_length=task.context_length, script=script)
    credentials = FrozenCredentials("LOCALRUNTIME", secrets.token_hex(20))
    config = RuntimeConfig({"my-endpoint": ()}, credentials, _REGION, echo=echo)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made, running(config) as runtime:
        outer = Path(made).resolve()
        for each in ("home", "tmp", "work"):
            (outer / each).mkdir()
        for path, text in agent.settings.items():
            (outer / "home" / path).parent.mkdir(parents=True)
            (outer / "home" / path).write_text(text, encoding="utf-8")
        environment = {
            **{name: os.environ[name] for name in ("LANG", "LD_LIBRARY_PATH") if name in os.environ},
            **OFFLINE,
            "PATH": os.pathsep.join([str(_PROGRAMS), os.environ["PATH"]]),
            "HOME": str(outer / "home"),
            "TMPDIR": str(outer / "tmp"),
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": runtime.url,
            "AWS_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "ANTHROPIC_BASE_URL": _ELSEWHERE,
            "ANTHROPIC_API_KEY": "sk-ant-elsewhere",
            "OPENAI_BASE_URL": f"{_ELSEWHERE}/v1",
            "OPENAI_API_KEY": "sk-elsewhere",
        }
        yield Trial(agent, outer / "work", echo, runtime, environment)


def slower(script: Script, delay: float) -> Script:
    """The same script with seconds before each token."""
    conversations = [
        each.model_copy(update={"turns": tuple(turn.model_copy(update={"delay": delay}) for turn in each.turns)})
        for each in script.conversations
    ]
    return script.model_copy(update={"conversations": tuple(conversations)}) if delay else script


if __name__ == "__main__":
    sys.exit(main())
