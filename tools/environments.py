"""What the commands share that install this package in environments of their own: the wheel, and running processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"


def built_wheel(folder: Path) -> Path:
    """This checkout's wheel, alone in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table, each column as wide as its longest cell."""
    lines = [tuple(head), *[tuple(map(str, row)) for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


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
