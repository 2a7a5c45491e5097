"""``litellm-sagemaker-openai chat``: one answer, and conversations in a terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.local.server import Running
from tests.conftest import CREDENTIALS, Upstream
from tests.scripted import Answer, Seen, chunk, json_answer, sse
from tests.terminal import Terminal, in_terminal

each = pytest.mark.parametrize


def chat(*arguments: str, piped: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["chat", *arguments], input=piped)


def said(*pieces: str, reasoning: str = "", finish: str = "stop") -> Answer:
    deltas = [{"reasoning_content": reasoning}] if reasoning else []
    return Answer([sse(*map(chunk, [*deltas, *({"content": piece} for piece in pieces)]), chunk(finish=finish))])


def endpoint_not_found() -> Answer:
    return json_answer({"error": {"message": "Endpoint nope of account 123456789012 not found."}}, 400)


class TestOneAnswer:
    def test_it_goes_to_stdout_as_it_was_written(self, upstream: Upstream) -> None:
        upstream(said("# A *title*\n", "\x1b[1m", " and <b>", reasoning="I think."))
        printed = chat("my-endpoint", "Hello?")
        assert (printed.exit_code, printed.stderr) == (0, "")
        assert printed.stdout == "# A *title*\n\x1b[1m and <b>\n"

    @each(
        ("arguments", "piped", "question"),
        [
            (["Hello?"], "", "Hello?"),
            ([], "from a pipe\n", "from a pipe"),
            (["Review this."], "  a line\n", "Review this.\n\n  a line"),
            (["Hello?"], " \n", "Hello?"),
            (
                ["Review this."],
                b"a byte \xff of no text",
                "Review this.\n\na byte \N{REPLACEMENT CHARACTER} of no text",
            ),
        ],
    )
    def test_what_is_piped_in_comes_after_the_prompt(
        self, arguments: list[str], piped: str | bytes, question: str, upstream: Upstream
    ) -> None:
        server = upstream(said("Yes."))
        assert chat("my-endpoint", *arguments, piped=piped).stdout == "Yes.\n"
        assert server.seen[0].json["messages"] == [{"role": "user", "content": question}]

    def test_options(self, upstream: Upstream) -> None:
        server = upstream(said("Yes."))
        options = ["--system", "Be brief.", "--temperature", "0.5", "--max-tokens", "9", "--hf-model-name", "served"]
        assert chat("sagemaker_openai/my-gpus/coder", "Hello?", *options).exit_code == 0
        [seen] = server.seen
        assert seen.path == "/endpoints/my-gpus/inference-components/coder/openai/v1/chat/completions"
        assert seen.json == {
            "model": "served",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
            "temperature": 0.5,
            "max_tokens": 9,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def test_the_local_runtime(self, runtime: Running) -> None:
        assert chat("my-endpoint", "Hello?").stdout == "Echo container, not a model. You said: Hello?\n"

    def test_half_a_character_is_no_failure(self, upstream: Upstream) -> None:
        upstream(Answer([sse(r'{"choices": [{"index": 0, "delta": {"content": "\ud83d"}, "finish_reason": "stop"}]}')]))
        printed = chat("my-endpoint", "Hello?")
        assert (printed.exit_code, printed.stdout) == (0, "?\n")

    @each(
        ("answer", "printed", "note"),
        [
            (said("Half a sen", finish="length"), "Half a sen\n", "cut off: it reached --max-tokens"),
            (said(""), "", "an empty answer"),
        ],
    )
    def test_what_one_would_not_see(self, answer: Answer, printed: str, note: str, upstream: Upstream) -> None:
        upstream(answer)
        result = chat("my-endpoint", "Hello?")
        assert (result.exit_code, result.stdout) == (0, printed)
        assert note in result.stderr

    @each(
        ("answer", "message"),
        [
            (endpoint_not_found(), "SageMaker answered 404: Endpoint nope not found in this account and region"),
            (Answer([sse(chunk({"content": "x"}), done=False)], end="cut"), "the connection to SageMaker broke"),
            (
                Answer([sse(chunk({"content": "x"}), {"error": {"message": "\x1b[31mred", "code": 500}}, done=False)]),
                "the container answered 500: [31mred",
            ),
            (
                json_answer({"message": 'Received client error (404) from primary with message "Unknown."'}, 404),
                "the container answered 404: Unknown. (for a container that insists on its served model name, set "
                "--hf-model-name to it)\n",
            ),
        ],
    )
    def test_a_failure_is_a_line(self, answer: Answer, message: str, upstream: Upstream) -> None:
        upstream(answer)
        failed = chat("my-endpoint", "Hello?")
        assert failed.exit_code == 1
        assert failed.stderr.startswith(f"Error: {message}")
        assert failed.stderr.count("\n") == 1

    @each(
        ("arguments", "exit_code", "message"),
        [
            (["my-endpoint"], 2, "a conversation needs a terminal; give a PROMPT, or pipe one in"),
            (["a/b/c", "Hello?"], 2, "model 'a/b/c' has 3 parts; write sagemaker_openai/<endpoint>"),
            (["my-endpoint", "Hello?", "--region", "moon"], 1, "'moon' is not an AWS region"),
            (
                ["my-endpoint", "Hello?", "--profile", "nobody"],
                1,
                "The config profile (nobody) could not be found; check --profile, AWS_PROFILE and the AWS config file",
            ),
            (
                ["arn:aws:sagemaker:eu-west-1:123456789012:endpoint/a", "Hello?", "--region", "us-west-2"],
                1,
                "--region says region 'us-west-2' and the ARN says 'eu-west-1'; they must agree",
            ),
        ],
    )
    def test_nothing_is_sent_where_the_arguments_are_wrong(
        self, arguments: list[str], exit_code: int, message: str, upstream: Upstream
    ) -> None:
        server = upstream(said("Yes."))
        refused = chat(*arguments)
        assert (refused.exit_code, refused.stdout) == (exit_code, "")
        assert message in refused.stderr
        assert server.seen == []


def test_no_credentials(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    server = upstream(said("Yes."))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    refused = chat("my-endpoint", "Hello?")
    assert refused.exit_code == 1
    assert "AWS_PROFILE, give --profile, or run where a role is attached" in refused.stderr
    assert "aws_" not in refused.stderr
    assert server.seen == []


COUNTED = ["```\n", *(f"{n}\n" for n in range(60))]
LONG = "\n".join(f"step {number}()" for number in range(40))
MARKDOWN = f"""# What I *found*

Each call is a `request`, so
it ends.

```python
{LONG}
```

| name | value |
|------|-------|
| one  | 1     |

The end.\x1b]0;owned\x07
"""


# Another thread than the main one gets Ctrl-C, so that it interrupts no wait: as where it comes just before one.
SIGNALS_ELSEWHERE = """
import signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
"""


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[Terminal]]:
    """Starts the command in a terminal, with the environment that the test has by then."""
    return lambda *arguments: in_terminal(["chat", *arguments], os.environ)


@pytest.mark.slow(reason="starts the command in processes of their own, and each imports LiteLLM")
class TestInATerminal:
    def test_a_conversation(
        self, upstream: Upstream, terminal: Callable[..., AbstractContextManager[Terminal]]
    ) -> None:
        words = [f"{word} " for word in MARKDOWN.split(" ")]
        server = upstream(
            lambda seen: said(*words, reasoning="\n\nThey want\nto know.\n") if first(seen) else said("No.")
        )
        with terminal("my-endpoint") as shown:
            shown.wait_for(prompted)
            shown.type("Why?\r")
            shown.wait_for("The end.")
            shown.wait_for(prompted)
            gone_and_shown = shown.everything
            shown.type("And?\r")
            shown.wait_for("No.")
            shown.wait_for(prompted)
            shown.type("\x04")
            assert shown.wait_for_the_end() == 0
        assert gone_and_shown == "\n".join(
            [
                "my-endpoint in us-west-2. Ctrl-C stops an answer, only Ctrl-D ends.",
                "> Why?",
                "They want",
                "to know.",
                "",
                "What I found",
                "",
                "Each call is a request, so",
                "it ends.",
                "",
                "",
                *(f" {line}" for line in LONG.split("\n")),
                "",
                "",
                "  name   value",
                " ━━━━━━━━━━━━━━",
                "  one    1",
                "",
                "The end.]0;owned",
                "",
                ">",
            ]
        )
        assert b"\x1b[2mThey want" in shown.written  # dimmed
        assert b"\x1b]0;" not in shown.written
        assert [message["role"] for message in server.seen[1].json["messages"]] == ["user", "assistant", "user"]
        assert server.seen[1].json["messages"][1]["content"] == "".join(words)

    def test_ctrl_c_stops_the_answer_and_not_the_program(
        self, upstream: Upstream, terminal: Callable[..., AbstractContextManager[Terminal]]
    ) -> None:
        def script(seen: Seen) -> Answer:
            question = seen.json["messages"][-1]["content"]
            if question == "Count.":
                return Answer([sse(*(chunk({"content": piece}) for piece in COUNTED), done=False)], end="stall")
            return endpoint_not_found() if question == "Where?" else said("Here.")

        server = upstream(script)
        with terminal("my-endpoint") as shown:
            shown.wait_for(prompted)
            shown.type("Count.\r")
            shown.wait_for("\n 59")  # the end of a block that is longer than the screen
            assert shown.cursor_is_hidden
            shown.type("\x03")
            shown.wait_for("(stopped)")
            assert b"^C" not in shown.written  # it would shift what is drawn
            assert server.left.acquire(timeout=30)  # the connection is closed
            shown.wait_for(prompted)
            assert not shown.cursor_is_hidden
            shown.type("Where?\r")
            shown.wait_for("Error: SageMaker answered 404: Endpoint nope not found in this account and\nregion")
            shown.wait_for(prompted)
            shown.type("And now?\r")
            shown.wait_for("Here.")
            shown.wait_for(prompted)
            lines = [line.strip() for line in shown.everything.splitlines()]
            assert [line for line in lines if line.isdecimal()] == [str(n) for n in range(60)]  # each once
            shown.type("\x04")
            assert shown.wait_for_the_end() == 0
        asked = [message["content"] for message in server.seen[-1].json["messages"]]
        assert asked == ["Count.", "".join(COUNTED), "And now?"]
        assert CREDENTIALS.secret_key.encode() not in shown.written

    @each("first", ["", SIGNALS_ELSEWHERE], ids=["", "not in a wait"])
    def test_ctrl_c_clears_the_line(self, first: str, upstream: Upstream) -> None:
        server = upstream(said("Yes."))
        with in_terminal(["chat", "my-endpoint"], os.environ, first=first) as shown:
            shown.wait_for(prompted)
            shown.type("\x03")
            shown.wait_for("\n>\n>")
            shown.type("Not th")
            shown.wait_for("\n> Not th")
            shown.type("\x03")
            shown.wait_for(prompted)
            shown.type("This?\r")
            shown.wait_for("Yes.")
            shown.wait_for(prompted)
            shown.type("\x04")
            assert shown.wait_for_the_end() == 0
        assert server.seen[0].json["messages"] == [{"role": "user", "content": "This?"}]

    def test_a_terminal_whose_cursor_cannot_be_moved(self, upstream: Upstream) -> None:
        server = upstream(said("**Wait** \x1b[1m", "for it: ", "words " * 9 + "end.", reasoning="Hm."))
        with in_terminal(["chat", "my-endpoint"], os.environ, columns=32, kind="dumb") as shown:
            shown.wait_for(prompted)
            shown.type("Why?\r")
            shown.wait_for("end.\n\n>")
            server.script = lambda _: endpoint_not_found()
            shown.type("And?\r")
            shown.wait_for("region\n\n>")
            shown.type("\x04")
            assert shown.wait_for_the_end() == 0
        assert b"\x1b" not in shown.written
        answer = "**Wait** [1mfor it: " + "words " * 9 + "end."
        assert f"\n> Why?\n{broken_at(32, answer)}\n\n> And?\nError: SageMaker answered" in shown.everything

    def test_no_color(
        self,
        upstream: Upstream,
        terminal: Callable[..., AbstractContextManager[Terminal]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        server = upstream(said("```python\nimport this\n```\n"))
        with terminal("my-endpoint") as shown:
            shown.wait_for(prompted)
            shown.type("Why?\r")
            shown.wait_for("import this")
            shown.wait_for(prompted)
            server.script = lambda _: endpoint_not_found()
            shown.type("And?\r")
            shown.wait_for("Error: ")
            shown.wait_for(prompted)
            shown.type("\x04")
            assert shown.wait_for_the_end() == 0
        styles = {style for escape in re.findall(rb"\x1b\[([\d;]*)m", shown.written) for style in escape.split(b";")}
        assert styles <= {b"", b"0", b"1", b"2"}  # bold and dim are no colours

    def test_ctrl_c_ends_a_single_answer(
        self, upstream: Upstream, terminal: Callable[..., AbstractContextManager[Terminal]]
    ) -> None:
        upstream(Answer([sse(chunk({"content": "**Wait**\n\nfor"}), done=False)], end="stall"))
        with terminal("my-endpoint", "How long?", "--no-markdown") as shown:
            shown.wait_for("\nfor")
            shown.type("\x03")
            assert shown.wait_for_the_end() == 130
        assert shown.everything == "**Wait**\n\nfor\n(stopped)"


def prompted(shown: Terminal) -> bool:
    """Whether the next question is waited for."""
    return shown.screen.endswith("\n>")


def broken_at(columns: int, line: str) -> str:
    """As a terminal shows it that is not told where to break it."""
    pieces = [line[start : start + columns] for start in range(0, len(line), columns)]
    return "\n".join(piece.rstrip() for piece in pieces)


def first(seen: Seen) -> bool:
    return len(seen.json["messages"]) == 1
