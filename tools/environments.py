"""What the commands share that run others' programs on this package: the wheel, processes, and tables of what came of
it."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
# Nothing but this machine is reached, and nobody's AWS configuration. What tries gets no further than a closed port.
OFFLINE = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",  # reads no .env file
    "PYTHONUNBUFFERED": "1",
}


def built_wheel(folder: Path) -> Path:
    """This checkout's wheel, alone in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def names_or_page(
    program: str, description: str, known: Collection[str], page: Path, arguments: Sequence[str] | None
) -> tuple[list[str], bool]:
    """Of a command that tries some things by name, or all, and then may write a page's table: which, and whether."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(known)}")
    parser.add_argument("--page", action="store_true", help=f"try all, and write the table into docs/{page.name}")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"{unknown[0]!r} is none of: {', '.join(known)}")
    if options.page and options.names:
        parser.error(f"--page writes the table of all {page.stem}: name none")
    return options.names or list(known), options.page


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table, each column as wide as its longest cell."""
    lines = [tuple(head), *[tuple(map(str, row)) for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def page_with_table(page: str, head: Sequence[str], rows: Iterable[Sequence[object]], today: date) -> str:
    """A page with these rows in the table whose head begins with the same two names, and the day in 'Run on <day>'."""
    lines = [tuple(head), ("---",) * len(head), *rows]
    cells = [[str(cell).replace("|", r"\|") for cell in line] for line in lines]
    text = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    page, tables = re.subn(rf"(?m)^\| {head[0]} \| {head[1]} \|.*\n(?:\|.*\n)+", lambda _: f"{text}\n", page)
    page, days = re.subn(r"(?m)^Run on \d{4}-\d\d-\d\d", f"Run on {today.isoformat()}", page)
    if (tables, days) != (1, 1):
        raise SystemExit(f"the page must have one table of {head[0]}s, and one line that begins with 'Run on <day>'")
    return page


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs in its log's folder. Nothing of its session goes on after it, nor after Ctrl+C."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_at_most(seconds: float, command: Sequence[str], environment: Mapping[str, str], log: Path) -> int | None:
    """Run a command in its log's folder; its exit status, or None where it took longer."""
    with started(command, environment, log) as process, suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None


def run(command: Sequence[str], **options: int) -> None:
    if subprocess.run(command, check=False, **options).returncode:  # type: ignore[call-overload]
        raise SystemExit(f"failed: {' '.join(command)}")


def succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def output(command: Sequence[str]) -> str:
    finished = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if finished.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return finished.stdout
