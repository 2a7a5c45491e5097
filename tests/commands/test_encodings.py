"""The command where standard output is not UTF-8: nothing ends it, and what it prints can be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile

import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from litellm_sagemaker_openai.cli import main
from tests.aws_apis import Aws
from tests.commands.test_chat import said
from tests.commands.test_check import container, quoted
from tests.conftest import Upstream
from tests.scripted import completion, json_answer

each = pytest.mark.parametrize
COMMANDS = [[], *([name] for name in main.commands)]
MARKS = "\N{LATIN SMALL LETTER E WITH ACUTE} \N{PARTY POPPER} \N{CHECK MARK} \N{RIGHTWARDS ARROW} \u2026"
READABLE = {
    "ascii": "? ? + -> ...",
    "cp1252": "\N{LATIN SMALL LETTER E WITH ACUTE} ? + -> \u2026",
}


def run(encoding: str, *arguments: str) -> tuple[int, str]:
    """Exit status, and both outputs as they read in that encoding."""
    result = CliRunner(charset=encoding).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, (result.stdout_bytes + result.stderr_bytes).decode(encoding)


@each("encoding", READABLE)
class TestEachCommand:
    @each("command", COMMANDS, ids=str)
    def test_help(self, command: list[str], encoding: str) -> None:
        assert run(encoding, *command, "--help")[0] == 0

    @each("command", COMMANDS[1:], ids=str)
    def test_wrong_usage(self, command: list[str], encoding: str) -> None:
        status, printed = run(encoding, *command, f"--{MARKS}")
        assert status == 2
        assert f"No such option '--{READABLE[encoding]}'" in printed

    def test_check(self, encoding: str, upstream: Upstream) -> None:
        answer = json_answer(completion(MARKS))
        upstream(container(whole=answer, stream=json_answer({"message": MARKS}, 400), tool=quoted(400, MARKS)))
        status, printed = run(encoding, "check", "my-endpoint")
        assert status == 1
        dash = "-" if encoding == "ascii" else "\N{EN DASH}"
        assert printed.startswith("+ region ")
        assert f"\n{dash} endpoint " in printed
        assert f'\n+ chat                served answered "{READABLE[encoding]}"\n' in printed
        assert f"\nx stream              SageMaker answered 400: {READABLE[encoding]}\n" in printed
        assert f"\n! tools               the container answered 400: {READABLE[encoding]}\n" in printed
        assert "\n                      -> vLLM needs " in printed

    def test_chat(self, encoding: str, upstream: Upstream) -> None:
        server = upstream(said(MARKS))
        assert run(encoding, "chat", "my-endpoint", "Hello?") == (0, f"{READABLE[encoding]}\n")
        server.script = lambda _: json_answer({"message": MARKS}, 400)
        assert run(encoding, "chat", "my-endpoint", "Hello?") == (
            1,
            f"Error: SageMaker answered 400: {READABLE[encoding]}\n",
        )

    def test_endpoints(self, encoding: str, aws_apis: Aws) -> None:
        aws_apis.make_endpoint("broken")
        aws_apis.sagemaker.shows("endpoint/broken", {"EndpointStatus": "Failed", "FailureReason": MARKS})
        status, printed = run(encoding, "endpoints")
        assert (status, printed.splitlines()[-1]) == (0, f"broken: Failed: {READABLE[encoding]}")

    def test_config(self, encoding: str) -> None:
        """What a program reads is what was meant, whatever the encoding."""
        status, printed = run(encoding, "config", "my-endpoint", "--profile", MARKS)
        assert status == 0
        assert yaml.safe_load(printed)["credential_list"][0]["credential_values"]["aws_profile_name"] == MARKS

    def test_token(self, encoding: str) -> None:
        assert run(encoding, "token", "--profile", MARKS) == (
            1,
            f"Error: The config profile ({READABLE[encoding]}) could not be found\n",
        )

    def test_local(self, encoding: str) -> None:
        command = ["local", "--port", "0", "--upstream", f"http://127.0.0.1/{MARKS}"]
        with program(command, {"PYTHONIOENCODING": encoding}) as process:
            assert process.stdout is not None
            printed = takewhile(lambda line: line != b"# Ready. Press Ctrl+C to stop.\n", process.stdout)
            first, *_ = [line.decode(encoding) for line in printed]
            process.send_signal(signal.SIGINT)
            assert process.wait() == 0
        assert first.endswith(f"before http://127.0.0.1/{READABLE[encoding]}. It serves:\n")


@each(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
    ids=str,
)
def test_a_program_of_its_own(environment: Mapping[str, str]) -> None:
    with program(["check", "--help"], environment) as process:
        printed, _ = process.communicate()
        assert process.returncode == 0
    assert "\n    +  went well\n" in printed.decode("ascii")


@contextmanager
def program(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own, gone afterwards; both its outputs are one."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONIOENCODING", "PYTHONUTF8")}
    run_it = "from litellm_sagemaker_openai.cli import main; main(prog_name='litellm-sagemaker-openai')"
    with subprocess.Popen(
        [sys.executable, "-c", run_it, *command],
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
