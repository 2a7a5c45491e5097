"""How an answer is cut into what is printed for good and what is drawn again, and that nothing of it is lost."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from litellm_sagemaker_openai.commands.answer import _Rendered, blocks, plain_answer
from litellm_sagemaker_openai.commands.common import printable

# Lines of which each can change what stands before it, or go on with it.
LINES = [
    "",
    "text",
    "  text",
    "    text",
    "- item",
    "  - nested",
    "* item",
    "1. one",
    "2) two",
    "> quote",
    "# heading",
    "---",
    "===",
    "```python",
    "```",
    "| a | b |",
    "|---|---|",
    "<div>",
    "[1]: https://example.com",
]


def cut(pieces: Sequence[str]) -> tuple[list[str], str]:
    finished: list[str] = []
    rest = ""
    for piece in pieces:
        more, rest = blocks(rest + piece)
        finished += more
    return finished, rest


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=12))
def test_blocks_do_not_depend_on_how_the_text_comes(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert cut(text) == cut(text.splitlines(keepends=True))


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=12))
def test_no_line_is_lost(lines: list[str]) -> None:
    finished, rest = cut("\n".join(lines))
    kept = [line for block in [*finished, rest] for line in block.split("\n") if line]
    assert kept == [line for line in lines if line]


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("one\n\ntwo", []),  # the second block has no whole line yet
        ("one\n\ntwo\n", ["one"]),
        ("- a\n- b\n\ntext\n", ["- a\n- b"]),
        ("- a\n\n- b\n", []),  # one list
        ("```\na\n\nb\n", []),  # one code block
        ("```\na\n\nb\n```\nc\n", ["```\na\n\nb\n```"]),
        ("# a\n## b\nc\n", ["# a", "## b"]),
    ],
)
def test_blocks(text: str, finished: list[str]) -> None:
    assert blocks(text)[0] == finished


def rendered(text: str) -> str:
    console = Console(file=io.StringIO(), width=60, force_terminal=False)
    console.print(_Rendered(text))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        # What rich alone drops: HTML, the ends of lines, addresses; and it puts titles into boxes.
        ("a vector<int>, a <div> and &lt;", "a vector<int>, a <div> and <\n"),
        ("<script>\nx\n</script>", "<script>\nx\n</script>\n"),
        ("one\ntwo", "one\ntwo\n"),
        ("[text](https://example.com/a)", "text (https://example.com/a)\n"),
        ("![alt](https://example.com/a)", "!alt (https://example.com/a)\n"),
        ("# Title", "Title\n"),
        ("- a\n- b", " • a\n • b\n"),
        ("", ""),
    ],
)
def test_markdown(text: str, drawn: str) -> None:
    assert rendered(text) == drawn


def test_control_characters_are_not_for_the_terminal() -> None:
    assert printable("\x1b]0;title\x07a\tb\r\n\x9b2Jc\x7f") == "]0;titlea\tb\n2Jc"


@pytest.mark.parametrize(("pieces", "written"), [(["a", "b"], "ab\n"), (["a\n"], "a\n"), ([], "")])
def test_a_plain_answer_ends_with_a_line(pieces: list[str], written: str) -> None:
    output = io.StringIO()
    with plain_answer(output) as answer:
        answer.reasoning("no")
        for piece in pieces:
            answer.content(piece)
    assert output.getvalue() == written
