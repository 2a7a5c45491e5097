"""``launch``: what a program gets that it runs, who gets which signal, that nothing is left, and what is refused first.

The programs are the tests' own; ``make agents`` runs the agents.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import httpx
import litellm
import pytest
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.commands.checking import CheckOptions
from litellm_sagemaker_openai.commands.readiness import wait_until_it_answers
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from litellm_sagemaker_openai.target import Target
from tests.aws.test_description import ENVIRONMENT
from tests.aws_apis import Aws
from tests.commands.test_config import TEI
from tests.commands.test_endpoints import ASYNCHRONOUS
from tests.conftest import CREDENTIALS, REGION, Upstream
from tests.docs.blocks import LAUNCHING
from tests.operating.proxies import until
from tests.scripted import json_answer
from tests.terminal import in_terminal

ROOT = Path(__file__).parents[2]
slow = pytest.mark.slow(reason="starts LiteLLM's proxy")

# Calls what it finds in its environment, writes down what it got, and ends as it is told by a signal.
ANY_PROGRAM = """
    import json, os, pathlib, signal, sys
    import anthropic, openai

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    question = [{"role": "user", "content": "Hello?"}]
    model = os.environ["OPENAI_MODEL"]
    chat = openai.OpenAI().chat.completions.create(model=model, messages=question)
    claude = anthropic.Anthropic().messages.create(model=model, max_tokens=100, messages=question)
    wrong = openai.OpenAI(api_key="sk-wrong", max_retries=0)
    try:
        wrong.models.list()
    except openai.AuthenticationError as error:
        refused = error.status_code
    got = {
        "arguments": sys.argv[1:],
        "said": [chat.choices[0].message.content, claude.content[0].text],
        "models": [each.id for each in openai.OpenAI().models.list()],
        "refused": refused,
        "url": os.environ["ANTHROPIC_BASE_URL"],
        "in the way": [name for name in ("DATABASE_URL",) if name not in os.environ],
    }
    file = pathlib.Path("got.json.part")
    file.write_text(json.dumps(got))
    file.rename("got.json")
    signal.pause()
"""
# Plays Claude Code: reads the file of settings, asks as that does, and knows what Ctrl-C means.
CLAUDE = """
    import json, os, pathlib, stat, sys, time
    import httpx

    file = pathlib.Path(sys.argv[sys.argv.index("--settings") + 1])
    variables = json.loads(file.read_text())["env"]
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (file, file.parent)]
    asked = {"model": variables["ANTHROPIC_MODEL"], "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    answer = httpx.post(
        variables["ANTHROPIC_BASE_URL"] + "/v1/messages",
        headers={"Authorization": "Bearer " + variables["ANTHROPIC_AUTH_TOKEN"]},
        json=asked,
        timeout=60,
        trust_env=False,
    )
    print("url", variables["ANTHROPIC_BASE_URL"])
    print("modes", [oct(mode) for mode in modes], "terminal", sys.stdin.isatty())
    print("arguments", sys.argv[3:], "key in the environment", variables["ANTHROPIC_AUTH_TOKEN"] in str(os.environ))
    print(answer.json()["content"][0]["text"], flush=True)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        print("Interrupted, not ended", os.getppid(), flush=True)
    sys.stdin.readline()
    print("went on", flush=True)
    sys.exit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a launch runs, with programs on the PATH of its own, temporary files and a home of its own."""
    for name in ("programs", "temporary", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    file = folder / "programs" / name
    file.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
    file.chmod(0o755)


def gone(url: str) -> bool:
    try:
        httpx.get(f"{url}/health/liveliness", trust_env=False)
    except httpx.TransportError:
        return True
    return False


@slow
def test_any_program(folder: Path, runtime: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # a company's, which is not asked for this machine
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    program(folder, "my-agent", ANY_PROGRAM)
    command = ["launch", "env", "my-gpus/coder", "--", "my-agent", "--wait", "--", "one two"]
    code = "import sys; from litellm_sagemaker_openai.cli import main; main(sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", code, *command], stderr=subprocess.PIPE, text=True) as process:
        try:
            for _ in until("the program to have asked", 120):
                if (folder / "got.json").exists() or process.poll() is not None:
                    break
            process.send_signal(signal.SIGTERM)  # as `kill` does: the program gets it
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 7, said
    got = json.loads((folder / "got.json").read_text())
    answer = "Echo container, not a model. You said: Hello?"
    assert got.pop("said") == [answer, answer]
    url = got.pop("url")
    assert got == {"arguments": ["--wait", "--", "one two"], "models": ["coder"], "refused": 401, "in the way": []}
    assert gone(url)
    assert list((folder / "temporary").iterdir()) == []
    assert "sk-" not in said


@slow
def test_an_agent_in_a_terminal(folder: Path, runtime: Running) -> None:
    program(folder, "claude", CLAUDE)
    with in_terminal(["launch", "claude", "my-endpoint", "--", "-p", "Hi"], os.environ, columns=200) as terminal:
        terminal.wait_for("Echo container, not a model. You said: Hi")
        assert "modes ['0o600', '0o700'] terminal True" in terminal.screen
        assert "arguments ['-p', 'Hi'] key in the environment False" in terminal.screen
        url = next(line.split()[-1] for line in terminal.screen.splitlines() if line.startswith("url "))
        terminal.type("\x03")  # is the agent's, which goes on, and so does the proxy
        terminal.wait_for("Interrupted, not ended")
        assert not gone(url)
        terminal.type("\r")
        terminal.wait_for("went on")
        assert terminal.wait_for_the_end() == 3
        assert gone(url)
    assert list((folder / "temporary").iterdir()) == []
    assert list((folder / "home").iterdir()) == []


@slow
def test_nothing_is_left_of_a_launch_that_was_killed(folder: Path, runtime: Running) -> None:
    program(folder, "claude", CLAUDE)
    with in_terminal(["launch", "claude", "my-endpoint"], os.environ, columns=200) as terminal:
        terminal.wait_for("Echo container, not a model. You said: Hi")
        url = next(line.split()[-1] for line in terminal.screen.splitlines() if line.startswith("url "))
        terminal.process.kill()
        for _ in until("the proxy and its files to be gone"):
            if gone(url) and not list((folder / "temporary").iterdir()):
                break


def test_no_file_of_a_projects_chooses_the_credentials(tmp_path: Path) -> None:
    """LiteLLM reads a .env file above where it is installed, such as in the project's .venv."""
    (tmp_path / ".env").write_text("AWS_PROFILE=somebody-elses\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "litellm").symlink_to(Path(litellm.__file__).parent)
    script = tmp_path / "script.py"  # python -c would have it read the one of the current folder
    script.write_text(
        "import os\nfrom litellm_sagemaker_openai.commands.common import quiet_litellm\nquiet_litellm()\n"
        "import litellm\nprint(litellm.__file__, os.environ.get('AWS_PROFILE'))"
    )
    environ = {name: value for name, value in os.environ.items() if name not in ("AWS_PROFILE", "LITELLM_MODE")}
    environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path / ".venv"), str(ROOT)])
    ran = subprocess.run([sys.executable, str(script)], env=environ, capture_output=True, text=True)
    assert ran.stdout.split() == [str(tmp_path / ".venv" / "litellm" / "__init__.py"), "None"], ran.stderr


def launch(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["launch", *arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["claude", "my-endpoint"], "Error: claude is not on the PATH; install it with: npm install -g @anthropic-ai/"),
        (["env", "e", "--", "no-such"], "Error: no-such is not on the PATH, or cannot be run\n"),
        (["env", "e"], "Error: name the program after --, such as: launch env my-endpoint -- python my_agent.py\n"),
        (["cursor", "e"], "'cursor' is not one of 'claude', 'codex', 'opencode', 'env'"),
        (["claude", "e", "--", "--settings=x"], "Error: --settings=x is what launch gives claude itself"),
        (["codex", "a/b/c"], "Invalid value for '[ENDPOINT[/COMPONENT]]'"),
        (["codex", "e", "exec", "x"], "Got unexpected extra arguments"),
        (["codex", "e", "--wait", "99999"], "Invalid value for '--wait'"),
    ],
)
def test_what_is_refused_at_once(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = launch(*arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr


@pytest.fixture
def agent(folder: Path) -> None:
    """One that would be seen to run."""
    program(folder, "claude", "open('ran', 'w').close()")


def refused(*arguments: str) -> str:
    result = launch(*arguments)
    assert result.exit_code == 1, result.output
    assert not Path("ran").exists()
    return result.stderr


def test_several_in_service_and_nobody_to_ask(agent: None, aws_apis: Aws) -> None:
    for name in ("one", "two"):
        aws_apis.make_endpoint(name)
    aws_apis.make_endpoint("vectors", image=TEI)
    assert "Error: name one of those in service: one, two\n" in refused("claude")


def test_which_one_is_asked_in_a_terminal(agent: None, aws_apis: Aws, upstream: Upstream) -> None:
    for name in ("one", "two"):
        aws_apis.make_endpoint(name)
    sagemaker = upstream(json_answer({"error": {"message": "Forbidden"}}, 403))
    with in_terminal(["launch", "claude"], os.environ, columns=200) as terminal:
        terminal.wait_for("Which [1]:")
        terminal.type("2\r")
        terminal.wait_for("two: SageMaker answered 403")
        assert terminal.wait_for_the_end() == 1
    assert [each.path for each in sagemaker.seen] == ["/endpoints/two/openai/v1/chat/completions"]


def test_one_that_makes_embeddings(agent: None, aws_apis: Aws) -> None:
    aws_apis.make_endpoint("vectors", image=TEI)
    assert "Error: no model that chats: vectors makes embeddings\n" in refused("claude")


def test_an_asynchronous_endpoint_is_no_agents(agent: None, aws_apis: Aws, upstream: Upstream) -> None:
    upstream(json_answer({"error": {"message": "Forbidden"}}, 403))
    aws_apis.make_endpoint("reports", **ASYNCHRONOUS)
    assert "Error: no model that chats: reports is asynchronous\n" in refused("claude")
    aws_apis.make_endpoint("one")
    assert "Error: one: SageMaker answered 403" in refused("claude")


def test_a_context_that_is_not_known_is_said(agent: None, runtime: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    said = "The context of my-endpoint is not known: give --context-length, or the agent learns it from an error\n"
    assert said in refused("claude", "my-endpoint")


def test_a_short_context_is_said(agent: None, aws_apis: Aws, upstream: Upstream) -> None:
    upstream(json_answer({"error": {"message": "Forbidden"}}, 403))
    aws_apis.make_endpoint("my-gpus", "coder", environment={**ENVIRONMENT, "SM_VLLM_MAX_MODEL_LEN": "8192"})
    said = refused("claude", "my-gpus/coder")
    assert "coder has a context of 8192 tokens; agents begin with 9,000 to 21,000\n" in said
    assert "8192" not in refused("claude", "my-gpus/coder", "--context-length", "131072")


def test_no_permission(agent: None, runtime: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    said = refused("claude", "my-endpoint")
    assert "Error: my-endpoint: SageMaker answered 403" in said
    assert "→ the role needs sagemaker:CallWithBearerToken" in said


def test_a_container_that_insists_on_its_name(agent: None, runtime: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question has it, and the proxy's configuration: see test_serve.py."""
    said = refused("claude", "my-endpoint", "--hf-model-name", "another")
    assert "Error: my-endpoint: the container answered 404: The model `another` does not exist." in said
    assert "→ the container does not serve 'another': --hf-model-name with the name that it serves" in said


def test_no_such_endpoint(agent: None, runtime: Running) -> None:
    said = refused("claude", "nowhere")
    assert "Error: nowhere: SageMaker answered 404: Endpoint nowhere not found" in said


@pytest.mark.parametrize("line", [line for block in LAUNCHING for line in block.text.splitlines()])
def test_what_the_page_has_is_understood(line: str) -> None:
    _, command, *arguments = shlex.split(line)
    with main.make_context("", [command, *arguments]) as context:
        name, launching, rest = main.resolve_command(context, [command, *arguments])
        assert launching is not None
        assert launching.make_context(name, rest).params["agent"] == arguments[0]


# A component that is scaled to zero


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    config = RuntimeConfig(endpoints={"my-gpus": ("coder",)}, credentials=CREDENTIALS, region=REGION, cold_start=3600)
    with running(config) as runtime:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
        yield runtime


CODER = Target("my-gpus", "coder")


def waiting(seconds: float, sleep: Callable[[float], None]) -> list[str]:
    said: list[str] = []
    wait_until_it_answers(CheckOptions(CODER, 65, region=REGION), seconds, said.append, sleep)
    return said


def test_a_component_that_is_scaled_to_zero_is_waited_for(upstream: Upstream) -> None:
    """With a word about it, once; each time that it asks, it has slept."""
    no_capacity = json.loads((ROOT / "tests/wire/sagemaker/no_capacity.json").read_text())
    answers = [json_answer(json.loads(no_capacity["body"]), no_capacity["status"])] * 3
    sagemaker = upstream(lambda seen: answers.pop() if answers else json_answer(ANSWER))
    slept: list[float] = []
    assert waiting(900, slept.append) == [
        "my-gpus/coder is scaled to zero. It starts now, and is waited for up to 15 minutes",
        "my-gpus/coder answers",
    ]
    assert slept == [5.0, 5.0, 5.0]
    assert len(sagemaker.seen) == 4
    assert sagemaker.seen[0].json["max_tokens"] == 1


ANSWER: Mapping[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "H"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
}


@pytest.mark.parametrize("status", [400, 422, 429])
def test_a_container_that_refuses_the_question_answers(status: int, upstream: Upstream) -> None:
    said = f'Received client error ({status}) from primary with message "{{"error":{{"message":"no"}}}}".'
    upstream(json_answer({"error": {"message": said}}, 424))
    assert waiting(0, _never) == []


def test_not_longer_than_was_said(cold: Running, agent: None) -> None:
    said = refused("claude", "my-gpus/coder", "--wait", "0")
    assert "my-gpus/coder: Inference Component has no capacity" in said
    assert "→ where scaling out from zero is set up" in said
    with pytest.raises(click.ClickException, match="no capacity"):
        waiting(0, _never)


def _never(seconds: float) -> None:
    raise AssertionError(seconds)
