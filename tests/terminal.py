"""A command in a terminal of its own, as a person has it: keys go in, and what the screen then shows is waited for."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pyte
from pyte.screens import Char

# In its own session, the terminal must be made its controlling one, so that Ctrl-C reaches it.
_RUN = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
{first}
from {module} import main
main(prog_name="litellm-sagemaker-openai")
"""
_DEADLINE = 60.0  # seconds; a screen that does not come fails its test


class Terminal:
    """The screen of a running command.

    Attributes:
        written: all that the command wrote, escape sequences included.
        process: the command.
    """

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int, columns: int, rows: int) -> None:
        self.process = process
        self.written = b""
        self._descriptor = descriptor
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=1)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def screen(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def characters(self) -> list[list[Char]]:
        """What is on the screen, with its colours."""
        columns = range(self._screen.columns)
        return [[self._screen.buffer[row][column] for column in columns] for row in range(self._screen.lines)]

    @property
    def everything(self) -> str:
        """What has scrolled away, and then the screen."""
        columns = range(self._screen.columns)
        gone = ["".join(line[column].data for column in columns).rstrip() for line in self._screen.history.top]
        return "\n".join([*gone, self.screen])

    @property
    def cursor_is_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)

    def type(self, keys: str) -> None:
        """Press keys; ``\\x03`` is Ctrl-C, ``\\x04`` Ctrl-D, ``\\r`` Enter."""
        os.write(self._descriptor, keys.encode())

    def wait_for(self, wanted: str | Callable[[Terminal], bool]) -> None:
        """Read until a text is on the screen, or a condition holds."""
        holds = (lambda _: wanted in self.screen) if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + _DEADLINE
        while not holds(self):
            assert time.monotonic() < deadline, f"{wanted!r} did not come:\n{self.everything}"
            assert self._read(), f"{wanted!r} did not come before the end:\n{self.everything}"

    def wait_for_the_end(self) -> int:
        """Read to the end, and give the exit status."""
        deadline = time.monotonic() + _DEADLINE
        while self._read():
            assert time.monotonic() < deadline, f"the end did not come:\n{self.everything}"
        return self.process.wait(_DEADLINE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], _DEADLINE)
        assert ready, f"nothing more came:\n{self.everything}"
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # EIO: on Linux the end of a terminal that nobody has open any more
            data = b""
        self.written += data
        self._stream.feed(data)
        return bool(data)


@contextmanager
def in_terminal(
    command: list[str],
    env: Mapping[str, str],
    *,
    columns: int = 80,
    rows: int = 24,
    kind: str = "xterm-256color",
    first: str = "",
    module: str = "litellm_sagemaker_openai.cli",
) -> Iterator[Terminal]:
    """The ``main`` of a module, with these arguments, in a terminal of its own; it is gone afterwards.

    ``kind`` is what ``TERM`` says of it; ``first`` is Python to run before.
    """
    # pytest-xdist sets COLUMNS, which says more than the terminal itself.
    without_size = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN.format(module=module, first=first), *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**without_size, "TERM": kind},
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    terminal = Terminal(process, ours, columns, rows)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        os.close(ours)
