"""An answer as it comes: drawn in a terminal, or written as it is into a pipe or a file.

In a terminal, what is finished is printed once and scrolls away as any output does; only the end, which still changes,
is drawn again, and is never higher than the screen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, Protocol, TextIO

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Heading, Markdown, MarkdownElement
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from litellm_sagemaker_openai.commands.common import printable

_REFRESHES_PER_SECOND = 12
# rich drops what Markdown takes for HTML, such as the <int> of vector<int>, and the address of an image.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("image")


class Answer(Protocol):
    """Takes an answer piece by piece, and shows it."""

    def reasoning(self, piece: str) -> None:
        """What the model thinks before it answers."""

    def content(self, piece: str) -> None:
        """The answer itself."""


@contextmanager
def plain_answer(output: TextIO) -> Iterator[Answer]:
    """The answer alone, and an end of line: into a pipe or a file as it was written, into a terminal that cannot be
    drawn in without control characters."""
    answer = _Plain(output)
    try:
        yield answer
    finally:
        if not answer.ends_a_line:
            output.write("\n")
        output.flush()


@contextmanager
def drawn_answer(console: Console, waiting_for: str, *, markdown: bool = True) -> Iterator[Answer]:
    """The answer in a terminal: Markdown rendered, reasoning dimmed; before its first piece, a spinner.

    Args:
        console: the terminal.
        waiting_for: what the spinner says.
        markdown: whether the answer is rendered, or shown as it was written.
    """
    spinner = Spinner("dots", Text(waiting_for, style="dim"))
    with (
        _echo_off(console.file.fileno()),
        Live(spinner, console=console, auto_refresh=False, transient=True) as live,
    ):
        answer, done = _Drawn(live, _RENDERED if markdown else _AS_WRITTEN), threading.Event()
        refreshing = threading.Thread(target=answer.refresh_until, args=(done,), name="answer", daemon=True)
        refreshing.start()
        try:
            yield answer
        finally:
            done.set()
            refreshing.join()
            answer.end()


@contextmanager
def _echo_off(terminal: int) -> Iterator[None]:
    """Let the terminal not show what is typed, ``^C`` included, which would shift what is being drawn."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    before = termios.tcgetattr(terminal)
    termios.tcsetattr(terminal, termios.TCSANOW, [*before[:3], before[3] & ~termios.ECHO, *before[4:]])
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


class _Plain:
    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._clean = printable if output.isatty() else str
        self.ends_a_line = True

    def reasoning(self, piece: str) -> None: ...

    def content(self, piece: str) -> None:
        self._output.write(self._clean(piece))
        self._output.flush()
        self.ends_a_line = piece.endswith("\n")


class _Drawn:
    def __init__(self, live: Live, content: _Section) -> None:
        self._live = live
        self._content = self._section = content
        self._printed: _Section | None = None  # the section of the last printed block
        self._open = ""  # what is not printed yet
        self._begun = False
        self._changed = True
        # One lock for all that draws: rich's own refreshing thread can come between a print and what that redraws.
        self._drawing = threading.Lock()

    def reasoning(self, piece: str) -> None:
        self._add(_REASONING, piece)

    def content(self, piece: str) -> None:
        self._add(self._content, piece)

    def refresh_until(self, done: threading.Event) -> None:
        while not done.wait(1 / _REFRESHES_PER_SECOND):
            with self._drawing:
                if self._changed or not self._begun:  # before it has begun, the spinner turns
                    self._live.refresh()
                    self._changed = False

    def end(self) -> None:
        """Print what is left."""
        self._print([self._open] if self._open.strip() else [], "")

    def _add(self, section: _Section, piece: str) -> None:
        with self._drawing:
            if section is not self._section:
                self.end()
                self._section = section
            self._open += printable(piece)
            if self._printed is not section:
                self._open = self._open.lstrip("\n")  # no section begins with empty lines
            if not self._open:
                return
            self._begun = self._changed = True
            finished, rest = section.split(self._open) if "\n" in piece else ([], self._open)
            if finished:
                self._print(finished, rest)
            else:
                self._live.update(self._tail())

    def _print(self, finished: list[str], rest: str) -> None:
        """Print what is finished, to stay, and draw the rest below it; all in one write."""
        with self._live.console:
            self._live.update("", refresh=True)
            for block in finished:
                self._live.console.print(self._with_gap(block), soft_wrap=self._section.as_written)
                self._printed = self._section
            self._open = rest
            self._live.update(self._tail(), refresh=True)

    def _tail(self) -> RenderableType:
        return _Tail(partial(self._with_gap, self._open)) if self._open.strip() else ""

    def _with_gap(self, block: str) -> RenderableType:
        """The block, after an empty line where another section or paragraph stands before it."""
        rendered = self._section.render(block)
        if self._printed is None or (self._printed is self._section and not self._section.gaps):
            return rendered
        return Group("", rendered)


@dataclass(frozen=True, slots=True)
class _Section:
    """A way to draw.

    Attributes:
        split: a text → the blocks that cannot change whatever comes next, and the rest.
        render: a block → what rich draws.
        gaps: whether an empty line goes between two blocks.
        as_written: whether breaking long lines is left to the terminal.
    """

    split: Callable[[str], tuple[list[str], str]]
    render: Callable[[str], RenderableType]
    gaps: bool = False
    as_written: bool = False


class _Tail:
    """The last lines of what is rendered, as many as the screen has room for."""

    def __init__(self, whole: Callable[[], RenderableType]) -> None:
        self._whole = whole  # called when it is drawn, which is less often than a piece comes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._whole(), options, pad=False)
        for line in lines[-max(1, options.size.height - 1) :]:
            yield from line
            yield Segment.line()


class _LeftHeading(Heading):
    """A heading that begins where the text does; rich's stand in the middle, and in a box."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Rendered(Markdown):
    """Markdown of which nothing is lost: rich drops HTML, addresses of images and the ends of lines."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _LeftHeading}

    def __init__(self, text: str) -> None:
        super().__init__(text, hyperlinks=False)  # so that an address is seen
        self.parsed = _PARSER.parse(text)
        for token in self.parsed:
            for child in token.children or ():
                if child.type == "softbreak":
                    child.type = "hardbreak"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Without the spaces that rich draws at the ends of lines, and the empty lines around lists and tables."""
        drawn = Segment.split_lines(super().__rich_console__(console, options))  # type: ignore[arg-type]
        lines = [_trimmed(line) for line in drawn]
        shown = [index for index, line in enumerate(lines) if line]
        for line in lines[shown[0] : shown[-1] + 1] if shown else ():
            yield from line
            yield Segment.line()


def _trimmed(line: list[Segment]) -> list[Segment]:
    """The line without what cannot be seen at its end."""
    while line and not line[-1].text.strip() and not _has_background(line[-1]):
        line = line[:-1]
    if not line or _has_background(line[-1]):
        return line
    return [*line[:-1], Segment(line[-1].text.rstrip(), line[-1].style)]


def _has_background(segment: Segment) -> bool:
    return segment.style is not None and segment.style.bgcolor is not None


def blocks(text: str) -> tuple[list[str], str]:
    """The top-level blocks of an unfinished Markdown text that can no longer change, and the rest.

    Only whole lines count, and the last block that begins in them may go on: a paragraph may become a heading or a
    table, a list may get another item.
    """
    lines = text.split("\n")
    starts = [token.map[0] for token in _PARSER.parse("\n".join(lines[:-1])) if token.level == 0 and token.map]
    cuts = [0, *starts[1:]]
    finished = ["\n".join(lines[start:end]).strip("\n") for start, end in pairwise(cuts)]
    return finished, "\n".join(lines[cuts[-1] :])


def lines(text: str) -> tuple[list[str], str]:
    """A text's whole lines, and the rest."""
    *finished, rest = text.split("\n")
    return finished, rest


_RENDERED = _Section(blocks, _Rendered, gaps=True)
_AS_WRITTEN = _Section(lines, Text, as_written=True)
_REASONING = _Section(lines, lambda text: Text(text, style="dim"))
