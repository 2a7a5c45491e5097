"""A script is played turn by turn, whole and streamed alike, and a wrong one says where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.local.echo import ContainerRefusal, EchoConfig, complete, stream, tokenize
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.script import Call, Conversation, Script, ScriptError, Turn, When, read_script
from litellm_sagemaker_openai.local.server import Running, running
from tests.conftest import CREDENTIALS, REGION
from tests.local.test_echo import added_up

Json = dict[str, Any]
AGENTS = sorted((Path(__file__).parents[1] / "agents").glob("*.yaml"))

FIX = """\
conversations:
  - when: {user: Fix the test, tool: Read}
    turns:
      - reasoning: I read the file first.
        content: Let me look.
        tool_calls:
          - name: Read
            arguments: {file_path: "ünï.py"}
          - name: Bash
            arguments: {command: "echo {turn}"}
      - repeat: 100
        tool_calls: [{name: Bash, arguments: {command: "echo {turn}"}}]
      - tool_calls: [{name: Bash, arguments: '{"command": '}]
      - content: Done in turn {turn}.
  - when: {user: Break}
    turns:
      - content: one two three four
        break_after: 2
  - when: {user: Refuse}
    turns:
      - error: {status: 503, message: "Not in turn {turn}."}
  - when: {user: Slowly}
    turns:
      - content: one two
        delay: 0.001
"""


def tool(name: str) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


TOOLS = [tool("Read"), tool("Bash")]


def ask(*messages: str | Json, **more: Any) -> Json:
    """A request; text is the user's."""
    said = [{"role": "user", "content": each} if isinstance(each, str) else each for each in messages]
    return {"messages": said, "tools": TOOLS, **more}


def answers(count: int) -> list[Json]:
    """The messages of so many turns with two calls."""
    calls = [{"id": str(n), "type": "function", "function": {"name": "Bash", "arguments": "{}"}} for n in range(2)]
    results = [{"role": "tool", "tool_call_id": str(n), "content": "done"} for n in range(2)]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results] * count


def script_of(*turns: Turn, **when: str) -> Script:
    return Script(conversations=(Conversation(when=When(**when), turns=turns),))


def answer(script: Script, body: Json) -> Json:
    choice: Json = complete(body, EchoConfig(script=script))["choices"][0]
    return choice


def content(script: Script, body: Json) -> Any:
    return answer(script, body)["message"]["content"]


def calls_of(choice: Json) -> list[tuple[str, str]]:
    return [(each["function"]["name"], each["function"]["arguments"]) for each in choice["message"]["tool_calls"]]


class TestTurns:
    script = read_script(FIX)

    def test_the_first(self) -> None:
        choice = answer(self.script, ask("Fix the test, please"))
        message = choice["message"]
        assert (message["reasoning_content"], message["content"]) == ("I read the file first.", "Let me look.")
        assert calls_of(choice) == [("Read", '{"file_path": "ünï.py"}'), ("Bash", '{"command": "echo 1"}')]
        assert choice["finish_reason"] == "tool_calls"

    @pytest.mark.parametrize("turn", [2, 50, 101])
    def test_the_turn_is_the_number_of_answers_before(self, turn: int) -> None:
        choice = answer(self.script, ask("Fix the test", *answers(turn - 1)))
        assert calls_of(choice) == [("Bash", f'{{"command": "echo {turn}"}}')]

    def test_broken_arguments_are_sent_as_they_are(self) -> None:
        assert calls_of(answer(self.script, ask("Fix the test", *answers(101)))) == [("Bash", '{"command": ')]

    def test_calls_have_ids_of_their_own(self) -> None:
        """Also where the call is the same each time."""
        script = script_of(Turn(tool_calls=(Call(name="Bash"), Call(name="Bash")), repeat=3))
        bodies = [ask("go", *answers(turn)) for turn in range(3)]
        ids = [call["id"] for body in bodies for call in answer(script, body)["message"]["tool_calls"]]
        assert len({*ids}) == 6

    def test_the_last(self) -> None:
        choice = answer(self.script, ask("Fix the test", *answers(102)))
        assert (choice["message"]["content"], choice["finish_reason"]) == ("Done in turn 103.", "stop")

    def test_after_the_last(self) -> None:
        with pytest.raises(ContainerRefusal, match="conversation 1 has 103 turns, and this request is for turn 104"):
            answer(self.script, ask("Fix the test", *answers(103)))

    def test_an_answer_in_two_messages_is_one(self) -> None:
        """As LiteLLM's translations of other routes may have it."""
        said = {"role": "assistant", "content": "Let me look."}
        assert answer(self.script, ask("Fix the test", said, *answers(1)))["message"]["tool_calls"]
        assert calls_of(answer(self.script, ask("Fix the test", said, *answers(1)))) == [
            ("Bash", '{"command": "echo 2"}')
        ]

    def test_turns_are_counted_from_the_last_message_with_the_text(self) -> None:
        script = script_of(Turn(content="one"), Turn(content="two"), user="Fix")
        said = {"role": "assistant", "content": "…"}
        assert content(script, ask("Hello", said, "Fix", said)) == "two"
        assert content(script, ask("Hello", said, "Fix", said, "Fix it again")) == "one"

    def test_error(self) -> None:
        with pytest.raises(ContainerRefusal) as refused:
            answer(self.script, ask("Refuse"))
        assert refused.value.status == 503
        assert refused.value.body["error"]["message"] == "Not in turn 1."


class TestWhen:
    def test_the_text_that_was_said_last_decides(self) -> None:
        first = Conversation(when=When(user="first"), turns=(Turn(content="1"),))
        second = Conversation(when=When(user="second"), turns=(Turn(content="2"),))
        script = Script(conversations=(Conversation(turns=(Turn(content="any"),)), first, second))
        assert content(script, ask("first")) == "1"
        assert content(script, ask("first", *answers(1), "second")) == "2"
        assert content(script, ask("second", *answers(1), "first")) == "1"
        assert content(script, ask("first and second")) == "1"
        assert content(script, ask("neither")) == "any"

    @pytest.mark.parametrize("content", ["You are a coder.", [{"type": "text", "text": "You are a coder."}]])
    @pytest.mark.parametrize("role", ["system", "developer"])
    def test_system(self, role: str, content: Any) -> None:
        script = script_of(Turn(content="yes"), system="a coder")
        message = {"role": role, "content": content}
        assert answer(script, ask(message, "Hello"))["message"]["content"] == "yes"
        assert answer(script, ask("Hello, you are a coder"))["message"]["content"] != "yes"

    @pytest.mark.parametrize("more", [{"tools": []}, {"tools": [tool("bash")]}, {"tool_choice": "none"}])
    def test_without_the_tool_the_echo_answers(self, more: Json) -> None:
        script = script_of(Turn(content="yes"), tool="Bash")
        assert content(script, ask("Hello")) == "yes"
        assert content(script, ask("Hello", **more)) != "yes"
        assert answer(script, ask("Hello", **more)) == complete(ask("Hello", **more))["choices"][0]


class TestRequest:
    """What the request asks for holds for a script, too."""

    script = script_of(Turn(reasoning="I think.", content="a b c d", tool_calls=(Call(name="Bash"), Call(name="Read"))))

    @pytest.mark.parametrize(
        "more",
        [
            {"reasoning_effort": "none"},
            {"include_reasoning": False},
            {"chat_template_kwargs": {"enable_thinking": False}},
        ],
    )
    def test_reasoning_that_is_not_wanted(self, more: Json) -> None:
        assert answer(self.script, ask("Hello"))["message"]["reasoning_content"] == "I think."
        assert answer(self.script, ask("Hello", **more))["message"]["reasoning_content"] is None

    def test_one_call_at_a_time(self) -> None:
        assert len(calls_of(answer(self.script, ask("Hello", parallel_tool_calls=False)))) == 1

    def test_max_tokens(self) -> None:
        choice = answer(self.script, ask("Hello", max_tokens=5))
        assert (choice["message"]["content"], choice["finish_reason"]) == ("a b", "length")

    @pytest.mark.parametrize("more", [{"max_tokens": 10**9}, {"model": "other"}, {"stop": [""]}])
    def test_refusals(self, more: Json) -> None:
        with pytest.raises(ContainerRefusal):
            answer(self.script, ask("Hello", **more))

    @pytest.mark.parametrize(
        ("more", "offered"),
        [
            ({"tools": []}, "none"),
            ({"tool_choice": "none"}, "none"),
            ({"tools": [tool("bash"), tool("Read")]}, "bash, Read"),
            ({"tool_choice": tool("Read")}, "Read"),
        ],
    )
    def test_a_tool_that_is_not_offered(self, more: Json, offered: str) -> None:
        with pytest.raises(ContainerRefusal, match=f"turn 1 calls the tool 'Bash', .* it offers {offered}. Use one"):
            answer(self.script, ask("Hello", **more))


TEXTS = st.text(max_size=30)
CALLS = st.builds(
    Call,
    name=st.sampled_from(["Bash", "Read"]),
    arguments=TEXTS | st.dictionaries(TEXTS, TEXTS | st.integers() | st.none(), max_size=2),
)
TURNS = st.builds(Turn, reasoning=TEXTS, content=TEXTS, tool_calls=st.lists(CALLS, max_size=3).map(tuple))


@given(TURNS, st.integers(1, 40), st.integers(1, 2))
def test_whole_and_streamed_agree(turn: Turn, max_tokens: int, n: int) -> None:
    config, body = EchoConfig(script=script_of(turn)), ask("Hello", max_tokens=max_tokens, n=n)
    whole = complete(body, config)
    chunks = list(stream({**body, "stream": True, "stream_options": {"include_usage": True}}, config))
    assert chunks[-1]["usage"] == whole["usage"]
    for index, choice in enumerate(whole["choices"]):
        total = added_up(chunks, index)
        message = choice["message"]
        assert total["content"] == (message["content"] or "")
        assert total["reasoning"] == (message["reasoning_content"] or "")
        assert total["finish_reason"] == choice["finish_reason"]
        assert [(call["function"]["name"], call["function"]["arguments"]) for call in total["tool_calls"]] == calls_of(
            choice
        )


@given(st.integers(0, 10))
def test_a_stream_breaks_after_so_many_tokens(tokens: int) -> None:
    script = script_of(Turn(content="one two three four", break_after=tokens))
    text = "".join(
        choice["delta"].get("content") or ""
        for chunk in stream(ask("Hello", stream=True), EchoConfig(script=script))
        for choice in chunk["choices"]
    )
    assert text == "".join(tokenize("one two three four")[:tokens])


TURN = "conversations:\n  - turns:\n      - "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml: write a mapping that begins with 'conversations:'"),
        ("- content: hi", "s.yaml: write a mapping that begins with 'conversations:'"),
        ("a: [", "s.yaml, line 1: not YAML: expected the node content, but found '<stream end>'"),
        (b"a: \xff", "s.yaml: not YAML: unacceptable character #x00ff: invalid start byte"),
        ("{}", "s.yaml, line 1: conversations: is missing"),
        ("conversations: []", "s.yaml, line 1: conversations: Tuple should have at least 1 item"),
        ("conversation:\n  - turns: []", "s.yaml, line 1: conversation: unknown name; did you mean conversations?"),
        ("conversations:\n  - when: {}", "s.yaml, line 2: conversation 1, turns: is missing"),
        (
            "conversations:\n  - when: {tools: Bash}",
            "line 2: conversation 1, when, tools: unknown name; did you mean to",
        ),
        (f"{TURN}{{}}", "line 3: conversation 1, turn 1: an empty turn; write content, tool_calls, reasoning or error"),
        (f"{TURN}content: 5", "s.yaml, line 3: conversation 1, turn 1, content: must be text; put it in quotes"),
        (f"{TURN}content: a\n      - contents: b", "line 4: conversation 1, turn 2, contents: unknown name; did you"),
        (
            f"{TURN}x: 1\n        content: a",
            "turn 1, x: unknown name; known are reasoning, content, tool_calls, finish",
        ),
        (f"{TURN}content: a\n        delay: -1", "line 4: conversation 1, turn 1, delay: Input should be greater than"),
        (f"{TURN}content: a\n        finish_reason: end", "finish_reason: Input should be 'stop', 'length', "),
        (f"{TURN}content: a\n        repeat: 0", "turn 1, repeat: Input should be greater than or equal to 1"),
        (f'{TURN}content: "\\ud800"', "turn 1, content: half a character"),
        (f"{TURN}tool_calls: [{{arguments: {{}}}}]", "line 3: conversation 1, turn 1, tool call 1, name: is missing"),
        (f"{TURN}tool_calls: [{{name: a, arguments: [1]}}]", "tool call 1, arguments: write a mapping, or the arg"),
        (f"{TURN}tool_calls: [{{name: a, arguments: {{on: 1}}}}]", "arguments: True is not a name; put it in quotes"),
        (f"{TURN}tool_calls: [{{name: a, arguments: {{d: 2026-01-01}}}}]", "arguments: this cannot be written as JSON"),
        (f"{TURN}tool_calls: [{{name: a, arguments: {{d: .nan}}}}]", "arguments: this cannot be written as JSON"),
        (f"{TURN}content: a\n        content: b", "s.yaml, line 4: content is there twice; several go into one list"),
        (f"{TURN}error: {{message: away}}\n        content: a", "turn 1: error stands alone; leave out content"),
        (
            f"{TURN}error: {{status: 200, message: away}}",
            "turn 1, error, status: Input should be greater than or equal",
        ),
    ],
)
def test_a_wrong_script(text: str | bytes, message: str) -> None:
    with pytest.raises(ScriptError) as refused:
        read_script(text, "s.yaml")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_script_is_json_too() -> None:
    script = read_script(json.dumps({"conversations": [{"turns": [{"content": "hi"}]}]}))
    assert script == script_of(Turn(content="hi"))


@pytest.mark.parametrize("file", AGENTS, ids=lambda file: file.stem)
def test_the_agents_scripts(file: Path) -> None:
    """Those that the real agents play are scripts."""
    assert read_script(file.read_bytes()).conversations[0].when.tool


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--script", "missing.yaml"], "File 'missing.yaml' does not exist"),
            (["--script", "wrong.yaml"], "wrong.yaml, line 1: turns: unknown name"),
            (["--script", "wrong.yaml", "--upstream", "http://127.0.0.1:1/v1"], "leave out --script or --upstream"),
        ],
    )
    def test_wrong(self, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each is an error before the command listens."""
        monkeypatch.chdir(tmp_path)
        Path("wrong.yaml").write_text("turns: []")
        done = CliRunner().invoke(main, ["local", "--port", "0", *arguments])
        assert done.exit_code == 2
        assert message in done.output


@pytest.fixture(scope="module")
def scripted() -> Iterator[Running]:
    config = RuntimeConfig({"e": ()}, CREDENTIALS, REGION, echo=EchoConfig(script=read_script(FIX)))
    with running(config) as runtime:
        yield runtime


@pytest.mark.medium(reason="starts a local runtime")
class TestOverTheSocket:
    @pytest.fixture(autouse=True)
    def served(self, scripted: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", scripted.url)

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("streams", [False, True])
    async def test_calls_through_litellm(self, is_async: bool, streams: bool) -> None:
        message = await self._message(is_async, streams, "Fix the test")
        assert (message.reasoning_content, message.content) == ("I read the file first.", "Let me look.")
        calls = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]
        assert calls == [("Read", {"file_path": "ünï.py"}), ("Bash", {"command": "echo 1"})]

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("streams", [False, True])
    async def test_slow_ones_are_complete(self, is_async: bool, streams: bool) -> None:
        assert (await self._message(is_async, streams, "Slowly")).content == "one two"

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("streams", [False, True])
    async def test_the_connection_breaks(self, is_async: bool, streams: bool) -> None:
        with pytest.raises(litellm.ServiceUnavailableError):  # of a stream, LiteLLM's MidStreamFallbackError
            await self._message(is_async, streams, "Break")

    async def test_what_came_before_it_broke(self) -> None:
        stream: Any = litellm.completion("sagemaker_openai/e", ask("Break")["messages"], stream=True)
        came = ""
        with pytest.raises(litellm.ServiceUnavailableError):  # noqa: PT012
            for chunk in stream:
                came += chunk.choices[0].delta.content or ""
        assert came == "one two"

    def test_who_leaves_a_slow_answer_holds_up_nothing(self) -> None:
        """The runtime stops at once, though the stream would take a day."""
        script = script_of(Turn(content="one two", delay=40_000))
        with running(RuntimeConfig({"e": ()}, CREDENTIALS, REGION, echo=EchoConfig(script=script))) as runtime:
            question: Any = {"model": "sagemaker_openai/e", "messages": ask("Hello")["messages"], "timeout": 0.2}
            with pytest.raises(litellm.Timeout):
                list(litellm.completion(**question, api_base=runtime.url, stream=True, max_retries=0))

    async def test_error(self) -> None:
        with pytest.raises(litellm.ServiceUnavailableError, match=r"Not in turn 1\."):
            await self._message(False, False, "Refuse")

    async def _message(self, is_async: bool, streams: bool, text: str) -> Any:
        body = ask(text)
        question: Any = {"model": "sagemaker_openai/e", "messages": body["messages"], "tools": body["tools"]}
        answer: Any
        if is_async:
            answer = await litellm.acompletion(**question, stream=streams, max_retries=0)
            chunks = [chunk async for chunk in answer] if streams else []
        else:
            answer = litellm.completion(**question, stream=streams, max_retries=0)
            chunks = list(answer) if streams else []
        whole: Any = litellm.stream_chunk_builder(chunks) if streams else answer
        return whole.choices[0].message
