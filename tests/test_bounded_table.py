"""The bounded table: the least used makes room, callers share a value, a forked process begins anew."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from litellm_sagemaker_openai.bounded_table import BoundedTable


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_what_was_not_asked_for_for_longest_makes_room(keys: list[int], most: int) -> None:
    table: BoundedTable[int, object] = BoundedTable(most)
    kept: dict[int, object] = {}
    for key in keys:
        made = object()
        got = table.get(key, lambda made=made: made)  # type: ignore[misc]
        assert got is kept.pop(key, made)
        kept[key] = got
        kept = dict(list(kept.items())[-most:])


def test_callers_that_come_at_once_get_the_same() -> None:
    table: BoundedTable[str, object] = BoundedTable(5)
    together = threading.Barrier(8)

    def make() -> object:
        together.wait(30)
        return object()

    with ThreadPoolExecutor(8) as threads:
        got = [each.result() for each in [threads.submit(table.get, "key", make) for _ in range(8)]]
    assert len(set(map(id, got))) == 1


def test_one_that_takes_its_time_to_be_made_holds_up_no_other() -> None:
    table: BoundedTable[str, str] = BoundedTable(5)
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(table.get, "slow", lambda: "made" if go_on.wait(30) else "late")
        assert table.get("another", lambda: "made") == "made"
        go_on.set()
        assert slow.result() == "made"


def test_nothing_is_not_kept() -> None:
    table: BoundedTable[str, str | None] = BoundedTable(5)
    assert table.get("key", lambda: None) is None
    assert table.get("key", lambda: "there by now") == "there by now"
    assert table.get("key", lambda: None) == "there by now"


def test_a_forked_process_begins_anew_whoever_held_the_lock() -> None:
    code = (
        "import os, signal, sys, threading\n"
        "from litellm_sagemaker_openai.bounded_table import BoundedTable\n"
        "table = BoundedTable(5)\n"
        "table.get('key', lambda: 'old')\n"
        "held = threading.Event()\n"
        "def hold():\n"
        "    with table._lock:\n"
        "        held.set()\n"
        "        threading.Event().wait()\n"
        "threading.Thread(target=hold, daemon=True).start()\n"
        "held.wait()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(20)\n"
        "    os._exit(0 if table.get('key', lambda: 'new') == 'new' else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
