"""What a process can say of itself: memory, sockets, and the warnings that leaks cause."""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

LEAKS = ("never awaited", "never retrieved", "unclosed")
_MOST_WARNINGS = 200  # different ones
_SHOWN = 300


def memory_mb() -> float:
    """Resident memory, without what is garbage."""
    gc.collect()
    return resident_mb()


def resident_mb() -> float:
    """Resident memory. Where there is no /proc the most there ever was, which can only hide that memory was freed."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def sockets() -> int | None:
    """How many sockets this process has open; None where there is no /proc."""
    try:
        links = [os.readlink(entry) for entry in _file_descriptors()]
    except OSError:
        return None
    return sum(link.startswith("socket:") for link in links)


def _file_descriptors() -> Iterator[str]:
    for entry in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{entry}"
        if os.path.lexists(path):  # that of the listing itself is closed by now
            yield path


class Warnings(logging.Handler):
    """All that Python warns of, as text → how often.

    ``seen`` has the warnings of the warnings module; ``serious`` those among them that tell of a leak, what asyncio
    logs, and the exceptions that nobody could catch: in a ``__del__``, in a thread, in a task.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: Counter[str] = Counter()
        self.serious: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self._add(f"{record.name}: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}", serious=True)

    def warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """In place of ``warnings.showwarning``."""
        text = f"{category.__name__}: {message} ({filename})"
        self._add(text, serious=any(leak in text.lower() for leak in LEAKS))

    def unraisable(self, what: Any) -> None:
        self._add(f"{what.err_msg or 'Exception ignored in'} {what.object!r}: {what.exc_value!r}", serious=True)

    def in_thread(self, what: Any) -> None:
        self._add(f"in thread {what.thread and what.thread.name}: {what.exc_value!r}", serious=True)

    def _add(self, text: str, *, serious: bool) -> None:
        counter = self.serious if serious else self.seen
        text = text[:_SHOWN]
        counter[text if text in counter or len(counter) < _MOST_WARNINGS else "others"] += 1


@contextmanager
def watching() -> Iterator[Warnings]:
    """Every warning, as often as it comes, as under ``python -X dev``."""
    watch = Warnings()
    logger = logging.getLogger("asyncio")  # has what the event loop's exception handler gets, too
    hooks = sys.unraisablehook, threading.excepthook
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = watch.warn
        sys.unraisablehook, threading.excepthook = watch.unraisable, watch.in_thread
        logger.addHandler(watch)
        try:
            yield watch
        finally:
            logger.removeHandler(watch)
            sys.unraisablehook, threading.excepthook = hooks
