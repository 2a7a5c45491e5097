"""Many streams in benchmarks/, made few: what it checks holds, and it says so. `make bench-streams` has thousands."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.many_streams import Figures, Sample, Waits, report, verdict, waits_over_time

ROOT = Path(__file__).parents[2]


def test_waits_are_those_of_the_streams_opened_in_each_window() -> None:
    opened, waited = [0.1, 0.2, 5.0, 0.3], [0.25, 0.75, 4.0, 0.5]
    assert waits_over_time(opened, waited, 2.0) == [Waits(2.0, 3, 500, 750, 750), Waits(6.0, 1, 4000, 4000, 4000)]


def test_what_failed_and_what_is_left_is_said() -> None:
    figures = Figures(connections_left=2, tasks_left=-1, sockets_left=1)
    figures.errors["Timeout: too long"] = 3
    assert verdict(figures) == [
        "3 streams: Timeout: too long",
        "2 connections are still in use",
        "1 sockets are left once the clients are closed",
    ]
    assert verdict(Figures()) == []


def test_a_run_in_which_no_stream_had_a_chunk_is_reported() -> None:
    options = argparse.Namespace(streams=5, seconds=2, length=1, pace=0.1, ramp=0, every=1, limit=None)
    figures = Figures(samples=[Sample(1, 0, 5, 200, 0.1)])
    table = report(options, figures)
    assert "| open at once | 0 at most; the pool's limit is none |" in table
    assert "| … opened in the 2 s after it | - |" in table


@pytest.mark.slow(reason="opens streams for seconds, in a process of its own")
def test_a_few_streams(tmp_path: Path) -> None:
    markdown, samples, svg = tmp_path / "streams.md", tmp_path / "streams.json", tmp_path / "streams"
    command = [sys.executable, "-m", "benchmarks.many_streams", "--streams", "20", "--seconds", "1", "--length", "0.5"]
    command += ["--limit", "10", "--markdown", str(markdown), "--json", str(samples), "--svg", str(svg)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the pool's limit is 10 |" in done.stdout
    assert "| left: connections, tasks, sockets | 0, 0, 0 |" in done.stdout
    assert "| errors | 0 |" in markdown.read_text()
    measured = json.loads(samples.read_text())
    assert all(sample["open"] + sample["waiting"] <= 20 for sample in measured["samples"])
    windows = measured["first_chunk_ms"]
    assert sum(window["streams"] for window in windows) >= 20
    assert max(window["p99"] for window in windows) > 450  # half of the first ones wait until another one ends
    for name, titles in (("memory", 2), ("first-chunk", 1)):
        texts = ElementTree.parse(f"{svg}-{name}.svg").iter("{http://www.w3.org/2000/svg}text")
        assert [text.attrib.get("class") for text in texts].count("title") == titles


@pytest.mark.slow(reason="starts a process of its own")
def test_more_streams_than_the_system_allows_files() -> None:
    command = [sys.executable, "-m", "benchmarks.many_streams", "--streams", "20000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("20,000 streams need 40,200 open files, and ")
