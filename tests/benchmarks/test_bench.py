"""The benchmark in benchmarks/, made small: it measures, says so, and draws. `make bench` runs the whole.

No figure is compared with a time: those are the benchmark's own business.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.eventstream import EventStreamBuffer

from benchmarks.bench_answers import FIRST_SECONDS, answer_to, chunks_of, expected_text, stream_events
from benchmarks.bench_cases import (
    CASES,
    FIVE_MEGABYTES,
    HALF_MEGABYTE,
    LONG_STREAMS,
    MANY_DEPLOYMENTS,
    ONE_DEPLOYMENT,
    PACED_1,
    PROXY_STREAMS_8,
    PROXY_WHOLE_1,
    PROXY_WHOLE_32,
    STREAMS_1,
    STREAMS_8,
    SYNC_1,
    SYNC_32,
    SYNC_256,
    VERY_LONG_STREAMS,
    WHOLE_1,
    WHOLE_32,
    Figures,
    medians,
)
from benchmarks.bench_contenders import (
    AIOHTTP,
    CONTENDERS,
    FLOOR,
    FLOOR_ROUTED,
    OURS,
    ROUTED,
    SDK_TOKEN,
    SENDING,
    UNNAMED,
    prompt,
)
from benchmarks.bench_proxy import config
from benchmarks.bench_report import TARGETS, Results, case_table, report, targets_table
from benchmarks.bench_server import Connection
from benchmarks.chart import Curves, Panel, chart
from benchmarks.last_release import kept_of, last_release
from benchmarks.page import with_results

pytestmark = pytest.mark.slow(reason="runs each part of the benchmark")

ROOT = Path(__file__).parents[2]
CHAT = "/endpoints/{}/openai/v1/chat/completions"


# The server


@pytest.fixture(scope="module")
def server() -> Iterator[http.client.HTTPConnection]:
    command = [sys.executable, "-m", "benchmarks.bench_server"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        yield connection
        connection.close()


def post(server: http.client.HTTPConnection, path: str, body: bytes = b"{}") -> tuple[int, str, bytes]:
    server.request("POST", path, body)
    response = server.getresponse()
    return response.status, response.headers["content-type"], response.read()


def test_whole_answers_over_one_connection(server: http.client.HTTPConnection) -> None:
    small = post(server, CHAT.format("whole"))
    connection = server.sock
    for path in (CHAT.format("whole-17"), "/endpoints/whole/invocations"):
        # A megabyte, no part of which is taken for a request
        assert post(server, path, b"POST /nowhere HTTP/1.1\r\n\r\n" * 40_000) == small
    assert server.sock is connection
    assert json.loads(small[2])["choices"][0]["message"]["content"] == expected_text("whole")
    assert post(server, "/endpoints/whole/elsewhere")[0] == 404


@pytest.mark.parametrize("endpoint", ["stream-5", "paced-5", "paced-5-1"])
def test_streams(endpoint: str, server: http.client.HTTPConnection) -> None:
    status, content_type, body = post(server, CHAT.format(endpoint))
    assert (status, content_type) == (200, "text/event-stream; charset=utf-8")
    assert body == b"".join(stream_events(5))
    events = [event.removeprefix("data: ") for event in body.decode().split("\n\n")]
    assert events[-2:] == ["[DONE]", ""]
    chunks = [json.loads(event) for event in events[:-2]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"]["content"] for choice in choices) == expected_text(endpoint)
    assert [choice["finish_reason"] for choice in choices] == [*[None] * 6, "stop"]
    assert chunks[-1]["usage"]["completion_tokens"] == 200


class Written:
    """A transport that keeps what is written to it, and when."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.pieces.append((time.monotonic(), data))


def test_a_stream_as_a_model_sends_it() -> None:
    """Each event is written on its own: the head at once, the first one later, with the first token, and so on."""
    path, between = CHAT.format("paced-3-30"), 0.03
    head, *events = answer_to(path.encode())
    assert [event.after for event in events] == [FIRST_SECONDS, 0, between, between, between, 0, 0]
    transport, connection = Written(), Connection()

    async def serve() -> None:
        connection.connection_made(transport)
        connection.data_received(f"POST {path} HTTP/1.1\r\n\r\n".encode())
        while len(transport.pieces) < 1 + len(events):
            await asyncio.sleep(0.001)

    asyncio.run(serve())
    assert [data for _, data in transport.pieces] == [head.data, *(event.data for event in events)]
    assert [data.count(b"data: ") for _, data in transport.pieces] == [0] + [1] * len(stream_events(3))
    waited = [later - earlier for earlier, later in pairwise(at for at, _ in transport.pieces)]
    assert all(wait >= event.after * 0.9 for wait, event in zip(waited, events, strict=True))  # clocks differ


def test_awss_event_stream(server: http.client.HTTPConnection) -> None:
    buffer = EventStreamBuffer()  # checks the checksums
    buffer.add_data(post(server, "/endpoints/stream-5/invocations-response-stream")[2])
    assert [message.payload for message in buffer] == stream_events(5)


def test_a_stream_that_is_held_open_does_not_end() -> None:
    [piece] = answer_to(CHAT.format("held").encode())
    assert not piece.data.endswith(b"0\r\n\r\n")
    assert piece.data.count(b"data: ") == 1 + chunks_of("held")


_SETTLES = """
import asyncio
import litellm
from litellm.integrations.custom_logger import CustomLogger
from benchmarks.bench_contenders import CONTENDERS, FLOOR, prompt

logged = []

class Callback(CustomLogger):
    async def async_log_success_event(self, *_, **__):
        await asyncio.sleep(0.01)
        logged.append("a call")

async def main():
    litellm.callbacks = [Callback()]
    contender = CONTENDERS[FLOOR]("")
    await asyncio.gather(*(contender.acall("whole", prompt(0)) for _ in range(3)))
    await contender.asettle()
    print(len(logged))
    async for _ in await contender.astream("stream-3", prompt(0)):
        pass
    await contender.asettle()
    print(len(logged))

asyncio.run(main())
"""


def test_a_contender_has_settled_once_its_last_call_is_logged() -> None:
    """Else what logging it costs is measured with what comes next."""
    ran = subprocess.run([sys.executable, "-c", _SETTLES], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["3", "4"]


def test_the_conversation_of_a_megabyte_is_one() -> None:
    assert 990_000 < len(json.dumps(prompt(1_000_000))) < 1_010_000
    assert len(json.dumps(prompt(0))) < 300


# The report


def figures(cpu: float, first: float | None = None, overhead: float | None = None) -> Figures:
    return Figures(cpu=cpu, rate=100, p50=1, p99=2, first_p50=first, first_p99=first, peak=200, overhead=overhead)


SLICES = {
    (WHOLE_32, OURS): figures(1.2),
    (WHOLE_32, FLOOR): figures(1.0),
    (WHOLE_32, UNNAMED): figures(0.8),
    (WHOLE_32, "hosted_vllm/"): figures(1.5),
    (WHOLE_32, "openai/"): figures(2.0),
    (WHOLE_32, SDK_TOKEN): figures(8.0),
    (WHOLE_1, OURS): figures(1.8),
    (WHOLE_1, "hosted_vllm/"): figures(2.0),
    **{(case, OURS): figures(cpu) for case, cpu in ((SYNC_1, 4.0), (SYNC_32, 4.4), (SYNC_256, 3.6))},
    **{(case, "hosted_vllm/"): figures(4.0) for case in (SYNC_1, SYNC_32, SYNC_256)},
    (STREAMS_8, OURS): figures(20),
    (STREAMS_8, FLOOR): figures(20),
    (STREAMS_8, "hosted_vllm/"): figures(40),
    (STREAMS_8, "openai/"): figures(40),
    (PACED_1, OURS): figures(9, 23.75),
    (PACED_1, AIOHTTP): figures(2, 20.5),
    (PACED_1, FLOOR): figures(4, 3.0),
    (PACED_1, SENDING): figures(8, 23.25),
    (STREAMS_1, OURS): figures(20, 4.5),
    (STREAMS_1, AIOHTTP): figures(1, 0.5),
    (STREAMS_1, FLOOR): figures(20, 3.0),
    (LONG_STREAMS, OURS): figures(600),
    (VERY_LONG_STREAMS, OURS): figures(12_600),
    (LONG_STREAMS, FLOOR): figures(700),
    (VERY_LONG_STREAMS, FLOOR): figures(16_800),
    (HALF_MEGABYTE, OURS): figures(5),
    (FIVE_MEGABYTES, OURS): figures(60),
    (ONE_DEPLOYMENT, ROUTED): figures(3),
    (ONE_DEPLOYMENT, FLOOR_ROUTED): figures(2),
    (MANY_DEPLOYMENTS, ROUTED): figures(6),
    (MANY_DEPLOYMENTS, FLOOR_ROUTED): figures(5),
    (PROXY_WHOLE_32, OURS): figures(12),
    (PROXY_WHOLE_32, FLOOR): figures(10),
    (PROXY_STREAMS_8, OURS): figures(80),
    (PROXY_STREAMS_8, FLOOR): figures(100),
    (PROXY_WHOLE_1, OURS): figures(12, overhead=3.0),
    (PROXY_WHOLE_1, "hosted_vllm/"): figures(10, overhead=4.0),
    (PROXY_WHOLE_1, FLOOR): figures(9),
}
FRESH = {"import": 0.3, "register": 31, "sessions": 0, "connections": 1, "first": 39, "first-callback": 41}
IDLE = {OURS: {"idle": 190.0, "idle, used": 258.0}, FLOOR: {"idle": 180.0, "idle, used": 220.0}}
# What these make of each target, in the table's order
EXPECTED = [
    ("1.20", "✓"),
    ("1.50", "✗"),
    ("0.80", "✓"),
    ("0.60", "✗"),
    ("0.15", "✓"),
    ("0.90", "✓"),
    ("1.00", "✓"),
    ("1.10", "✗"),
    ("0.90", "✓"),
    ("1.00", "✓"),
    ("0.50", "✓"),
    ("0.50", "✗"),
    ("0.50 ms", "✗"),
    ("0.25 ms", ""),
    ("1.00 ms", ""),
    ("0.30 ms", "✓"),
    ("31 ms", "✓"),
    ("0.00", "✓"),
    ("1.00", "✗"),
    ("39 ms", "✓"),
    ("41 ms", "✗"),
    ("10 MB", "✓"),
    ("38 MB", "✗"),
    ("57 kB", "✓"),
    ("1.20", "✗"),
    ("1.05", "✓"),
    ("1.20", ""),
    ("1.20", "✗"),
    ("1.00", "✓"),
    ("1.20", "✗"),
    ("0.80", "✓"),
    ("0.75", ""),
]


def test_targets() -> None:
    rows = cells(targets_table(Results(SLICES, FRESH, {OURS: 57.2}, IDLE)))
    assert [(row[2], row[3]) for row in rows] == EXPECTED
    assert [row[1] for row in rows if not row[3]] == [""] * 4


def test_targets_that_were_not_measured() -> None:
    rows = cells(
        targets_table(Results({(PROXY_WHOLE_1, OURS): figures(1), (PROXY_WHOLE_1, "hosted_vllm/"): figures(1)}))
    )
    assert [(row[2], row[3]) for row in rows] == [("not measured", "")] * len(TARGETS)


def test_a_cases_table() -> None:
    others = {(case, name): each for (case, name), each in SLICES.items() if name in (FLOOR, "hosted_vllm/")}
    first, second = cells(case_table(STREAMS_8, Results(others)))
    assert first == ["LiteLLM's floor", "20.0", "-", "20,000", "-", "-", "1.00", "2.00", "200"]
    assert second[0] == "`hosted_vllm/`"
    assert [row[0] for row in cells(case_table(WHOLE_32, Results(SLICES)))][:3] == [
        "LiteLLM's floor, no model named",
        "LiteLLM's floor",
        "**`sagemaker_openai/`**",
    ]
    assert case_table(LONG_STREAMS, Results({})) == ""
    rows = cells(case_table(PROXY_WHOLE_1, Results(SLICES)))
    assert [(row[0], row[6]) for row in rows] == [
        ("LiteLLM's floor", "-"),
        ("`hosted_vllm/`", "4.00"),
        ("**`sagemaker_openai/`**", "3.00"),
    ]


def test_the_table_of_idle_processes() -> None:
    table = report(Results({}, idle=IDLE), []).partition("### Memory of an idle process\n\n")[2]
    assert cells(table.rstrip()) == [["LiteLLM's floor", "180", "220"], ["**`sagemaker_openai/`**", "190", "258"]]


def test_medians() -> None:
    assert medians([figures(3, 1), figures(1, 9), figures(2, 4)]) == figures(2, 4)
    assert medians([figures(3), figures(1)]) == figures(2)


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


# What is measured


def test_each_case_has_a_name_of_its_own_and_contenders_that_exist() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(set(case.contenders) <= set(CONTENDERS) for case in CASES)


def test_the_proxy_has_a_model_for_each_of_its_cases() -> None:
    models = {model["model_name"] for model in config("http://127.0.0.1:1")["model_list"]}
    asked = {f"{name} {case.endpoint}" for case in CASES if case.proxied for name in case.contenders}
    assert models == asked


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A small run's output, and the two files that it writes."""
    folder = tmp_path_factory.mktemp("bench")
    markdown, svg = folder / "bench.md", folder / "bench.svg"
    contenders = "sagemaker_openai/|LiteLLM's floor|aiohttp alone|OpenAI SDK, token per request"
    cases = f"^(Whole answers, 32|Streams of 200 chunks, 8) in flight: ({contenders})$"
    proxied = r"proxy: whole .* one at a time: (LiteLLM's floor|hosted_vllm/)"
    only = (
        f"{cases}|as a model .* one at a time: .* over aiohttp|{proxied}|fresh: sessions|held: aiohttp|idle: .* floor"
    )
    command = [sys.executable, "-m", "benchmarks.bench", "--quick", "--only", only]
    command += ["--markdown", str(markdown), "--svg", str(svg)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout, markdown.read_text(encoding="utf-8"), svg.read_text(encoding="utf-8")


def test_a_small_run(done: tuple[str, str, str]) -> None:
    printed, written, _ = done
    assert written.partition("\n\n")[2].strip() == printed.strip()
    assert re.search(r"litellm \d+\.\d+", printed)
    for name in (WHOLE_32.name, STREAMS_8.name):
        table = printed.partition(f"### {name}\n\n")[2].partition("\n\n")[0]
        assert {row[0] for row in cells(table)} == {
            "**`sagemaker_openai/`**",
            "LiteLLM's floor",
            "aiohttp alone",
            "OpenAI SDK, token per request",
        }
        assert all(float(row[1]) > 0 for row in cells(table))
    measured = {row[0]: row[2] for row in cells(printed.partition("### Targets\n\n")[2].partition("\n\n")[0])}
    assert measured["… botocore sessions"] == "0.00"
    assert measured["memory added per open stream"] == "not measured"  # but aiohttp's was
    proxied = cells(printed.partition(f"### {PROXY_WHOLE_1.name}\n\n")[2].partition("\n\n")[0])
    [overhead] = [row[6] for row in proxied if row[0] == "`hosted_vllm/`"]
    assert float(overhead) > 0
    for title in (PACED_1.name, "Memory of an idle process", "Memory added per open stream"):
        [row] = cells(printed.partition(f"### {title}\n\n")[2].partition("\n\n")[0])
        assert float(row[1]) > 0


def test_a_small_runs_chart(done: tuple[str, str, str]) -> None:
    texts = [element.text for element in ElementTree.fromstring(done[2]).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count(OURS) == texts.count(f"{OURS} {last_release().version}") == 2
    assert {WHOLE_32.name, STREAMS_8.name} <= set(texts)


# The chart


def test_a_chart_has_each_bar_its_value_and_its_axis() -> None:
    panel = Panel("Ways & means", "milliseconds (less is better)", [("<fast>", 0.5), ("slow", 12.0)], own="slow")
    root = ElementTree.fromstring(chart([panel, panel]))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for text in ("Ways & means", "milliseconds (less is better)", "<fast>", "0.50", "12.0"):
        assert texts.count(text) == 2, text
    bars = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert [float(bar.attrib["width"]) / float(bars[0].attrib["width"]) for bar in bars[:2]] == [
        1,
        pytest.approx(24, 0.01),
    ]
    assert [bar.attrib.get("class") for bar in bars] == [None, "own"] * 2
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) < float(root.attrib["width"]) for bar in bars)


def test_a_chart_has_a_release_before_and_what_there_is_to_know_of_it() -> None:
    panel = Panel("Calls", "ms", [("now", 1.0), ("then", 2.0)], own="now", before="then", note="then: in its own run")
    root = ElementTree.fromstring(chart([panel]))
    bars = root.iter("{http://www.w3.org/2000/svg}rect")
    assert [bar.attrib.get("class") for bar in bars] == ["own", "before"]
    texts = {element.text: element for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert float(texts["then: in its own run"].attrib["y"]) < float(root.attrib["height"])


def test_curves_run_over_the_whole_of_their_axes() -> None:
    lines = {"p50 & so on": [(0.0, 10.0), (10.0, 0.0)], "p90": [(0.0, 0.0), (5.0, 50.0)]}
    root = ElementTree.fromstring(chart([Curves("First chunk", "minutes", lines)]))
    polylines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(polylines) == 4  # each line, and a piece of it beside its name
    first, second = (
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()] for line in polylines[::2]
    )
    (left, high), (right, bottom) = first
    (begin, zero), (middle, top) = second
    assert (begin, zero) == (left, bottom)
    assert (middle - left) * 2 == pytest.approx(right - left, 0.01)
    assert (bottom - high) * 5 == pytest.approx(bottom - top, 0.01)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"First chunk", "minutes", "p50 & so on", "p90", "10", "50"} <= set(texts)


# The last release


def test_what_is_kept_of_a_release() -> None:
    results = report(Results(SLICES), ["litellm 1.106.2, openai 2.54.0, litellm-sagemaker-openai 0.1.0."])
    kept = kept_of(results)
    assert (kept["version"], kept["litellm"]) == ("0.1.0", "1.106.2")
    assert kept["cpu"][WHOLE_32.name] == {OURS: 1.2, FLOOR: 1.0}
    assert SYNC_1.name not in kept["cpu"]  # the floor was not measured
    assert ONE_DEPLOYMENT.name not in kept["cpu"]


def test_the_last_release_has_what_the_chart_compares() -> None:
    release = last_release()
    for case in (WHOLE_32, STREAMS_8):
        of_floor = release.of_floor(case.name)
        assert of_floor is not None
        assert 0.1 < of_floor < 10
    assert release.of_floor("no such case") is None


# The page


def test_a_page_gets_the_tables_that_it_has() -> None:
    old = "# Run\n\n- On old.\n- In old.\n\n### Targets\n\n| a |\n| old |\n\n### Else\n\n| b |\n| old |\n"
    new = old.replace("old", "new")
    page = (
        "# Performance\n\n| its own |\n\n## Targets\n\n| a |\n| old |\n\n- On old.\n- In old.\n- By hand.\n\n"
        "## Why\n\n- By hand.\n\n## Else\n\nWords.\n\n| b |\n| old |\n\nMore words.\n"
    )
    assert with_results(page, old) == page
    assert with_results(page, new) == page.replace("old", "new")


def test_the_page_can_be_made_anew() -> None:
    """Each of its tables is found in the last runs' results."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name, tables in (("results", 5), ("many_streams", 1)):
        results = (ROOT / "benchmarks" / f"{name}.md").read_text(encoding="utf-8")
        emptied = re.sub(r"(?m)^### (.+)\n\n(?:\|.*\n)+", r"### \1\n\n| nothing of \1 |\n", results)
        assert with_results(page, emptied).count("\n| nothing of ") == tables
