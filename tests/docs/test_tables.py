"""The pages' tables say what the code says."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any, get_type_hints

import click
import litellm
import pytest
from litellm.types.utils import ModelInfo

import litellm_sagemaker_openai
from examples.deploy_endpoint import CONTAINERS
from examples.deploy_endpoint import main as deploy
from litellm_sagemaker_openai.aws.container_settings import Container, ModelSettings, read_settings
from litellm_sagemaker_openai.aws.control_plane import Listed
from litellm_sagemaker_openai.aws.identity import AwsIdentity
from litellm_sagemaker_openai.capabilities import Fact
from litellm_sagemaker_openai.commands.launch import launch
from litellm_sagemaker_openai.commands.local import local
from litellm_sagemaker_openai.commands.serve import serve
from litellm_sagemaker_openai.errors import to_exception
from litellm_sagemaker_openai.local.script import Turn, When
from litellm_sagemaker_openai.monitoring.table import METRICS
from litellm_sagemaker_openai.options import OPTIONS
from litellm_sagemaker_openai.sending.retries import DEFAULT_RETRIES
from litellm_sagemaker_openai.sending.timeouts import as_timeout
from litellm_sagemaker_openai.upstream_errors import UpstreamError
from tests.docs.pages import PACKAGE, PAGES, ROOT, cells, code_in, headings, lines_of_tables, section, tables

each = pytest.mark.parametrize


def test_parameters() -> None:
    """The page has a row for each option of the table, with the operations that take it and its default."""
    [rows] = tables("docs/parameters.md", "Parameters")
    taken_by = {name: row[2] for row in rows for name in code_in(row[0])}
    defaults = {name: row[3] for row in rows for name in code_in(row[0])}
    identity = {each.name for each in fields(AwsIdentity)}
    of_litellm = {"model", "api_base", "extra_body", "extra_headers", "timeout", "ssl_verify", *identity}
    assert set(taken_by) == {option.name for option in OPTIONS} | of_litellm
    for option in OPTIONS:
        said = "all" if option.taken_by is None else ", ".join(option.taken_by)
        assert taken_by[option.name] == said, option.name
        if option.default in (None, ()):
            assert not defaults[option.name].startswith("`"), option.name
        else:
            plain = f"{option.default:g}" if isinstance(option.default, float) else json.dumps(option.default)
            shown = defaults[option.name].strip("`")
            assert shown in (plain, str(option.default)), option.name
    assert {taken_by[name] for name in of_litellm} == {"all"}
    assert defaults["timeout"].split(";")[0] == f"{as_timeout(None).read:g}"
    assert defaults["max_retries"] == str(DEFAULT_RETRIES)


@each(
    ("page", "title", "command"),
    [
        ("docs/local-runtime.md", "The local runtime", local),
        ("docs/agents.md", "Coding agents", launch),
        ("docs/serve.md", "A proxy in one command", serve),
        ("docs/finding-and-deploying.md", "Options and permissions", deploy),
    ],
)
def test_options(page: str, title: str, command: Any) -> None:
    rows, *_ = tables(page, title)
    documented = {option for row in rows for option in re.findall(r"--[\w-]+", row[0])}
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    assert documented == {option for each in shown for option in each.opts if option.startswith("--")}


def test_script() -> None:
    """The tables have each name that a script can have."""
    tables_of_names = tables("docs/local-runtime.md", "A script")
    named = [[name for row in rows for name in code_in(row[0])] for rows in tables_of_names]
    assert named == [[*When.model_fields], [*Turn.model_fields]]


def test_containers_and_routing() -> None:
    """What can be deployed: each container with its image, each strategy."""
    [rows] = tables("docs/finding-and-deploying.md", "Which container")
    images = {name: f"{container.repository}:{container.tag}" for name, container in CONTAINERS.items()}
    assert {code_in(row[0])[0]: code_in(row[1])[0] for row in rows} == images
    [rows] = tables("docs/finding-and-deploying.md", "Routing")
    [routing] = [each.type for each in deploy.params if each.name == "routing"]
    assert isinstance(routing, click.Choice)
    assert [code_in(row[0])[0] for row in rows] == list(routing.choices)


def test_keys_of_the_list() -> None:
    [rows] = tables("docs/finding-and-deploying.md", "Listing them")
    keys = {name for row in rows for name in code_in(row[0])}
    assert keys == {*(field.name for field in fields(Listed)), "model_info"}


def test_what_is_read_from_the_endpoint() -> None:
    """Each of the settings is read as its row says; and LiteLLM's names, all of them, are those that come of it."""
    images = ["vllm", "sglang", "djl-inference", "huggingface-pytorch-tgi-inference", "tei"]
    [rows] = tables("docs/model-settings.md", "What is read from the endpoint")
    named = set()
    for row in rows:
        [setting], (_, _, mode) = code_in(row[0]), row[0].partition(": ")
        named |= {*code_in(row[1])}
        for image, cell in zip(images, row[2:], strict=True):
            for way in re.split(r", | or ", cell):
                variables = dict(each.split("=", 1) for each in code_in(way))
                if not variables or "unless" in way:
                    continue
                known = read_settings(Container(image, variables)).known()
                assert setting in known, (image, way)
                assert not mode or known[setting].value == mode, (image, way)
    everything = ModelSettings(**{field.name: Fact(True, "") for field in fields(ModelSettings)})
    assert named == set(everything.model_info())
    assert named <= set(get_type_hints(ModelInfo))


def test_errors() -> None:
    [rows] = tables("docs/troubleshooting.md", "By exception")
    statuses = {int(code): row[1] for row in rows for code in code_in(row[0]) if code.isdecimal()}
    assert set(statuses) >= {400, 401, 403, 404, 429, 500, 502, 503, 504}
    for status, exception in statuses.items():
        raised = to_exception(UpstreamError(status, "no", from_container=True), model="my-endpoint")
        assert exception == f"`litellm.{type(raised).__name__}`", status
    for row in rows:
        assert hasattr(litellm, row[1].strip("`").removeprefix("litellm.")), row[1]


def test_metrics() -> None:
    [rows] = tables("docs/monitoring.md", "What this provider adds")
    for row, metric in zip(rows, METRICS, strict=True):
        values = [value for values in metric.labels.values() for value in values]
        assert row[0] == f"`{metric.name}`"
        assert row[1] == metric.kind.value
        assert sorted(code_in(row[2])) == sorted([*metric.labels, *values])
        assert row[3] == metric.meaning


def test_performance_is_what_was_measured() -> None:
    """The tables are those of the last runs, which draw the charts, too."""
    page = PAGES["docs/performance.md"]
    measured = "".join((ROOT / "benchmarks" / f"{name}.md").read_text() for name in ("results", "many_streams"))
    shown = [title for title in headings(page)[1:] if lines_of_tables(section("docs/performance.md", title))]
    assert len(shown) == 6
    for title in shown:
        theirs = measured.partition(f"\n### {title}\n")[2].partition("\n### ")[0]
        assert lines_of_tables(section("docs/performance.md", title)) == lines_of_tables(theirs), title
    circumstances = [
        line for line in page.splitlines() if line.startswith(("- AMD", "- Medians", "- Clients", "- CPU"))
    ]
    assert len(circumstances) == 5  # the machine is that of two runs
    assert [line for line in circumstances if line not in measured.splitlines()] == []
    explained = section("docs/performance.md", "What is not met, and why")
    [targets] = tables("docs/performance.md", "Targets")
    for row in targets:
        if row[3] == "✗":
            assert row[2].split()[0] in explained, row


def test_the_comparison_in_the_readme_is_the_pages() -> None:
    """The README has some of the page's rows, and words of them: ``/openai/v1/…`` is the beginning of a path."""
    [shortened] = lines_of_tables(section("README.md", "Why this one"))
    [whole] = lines_of_tables(section("docs/how-it-differs.md", "How it differs"))
    assert shortened[:2] == whole[:2]
    rows = {row[0]: row for row in map(cells, whole)}
    for short in map(cells, shortened):
        for said, cell in zip(short, rows[short[0]], strict=True):
            assert [name for name in code_in(said) if name.rstrip("…") not in cell] == [], said


def test_the_release_of_litellm_that_it_compares_with() -> None:
    [release] = set(re.findall(r"LiteLLM (\d[\d.]+\d)", PAGES["docs/how-it-differs.md"]))
    assert f"\nlitellm=={release}\n" in (ROOT / "constraints.txt").read_text()


def test_map_of_the_code() -> None:
    """Each module is there once, by its path in the package, with tests that are there."""
    rows = [row for table in tables("docs/how-it-works.md", "Map of the code") for row in table]
    modules = [file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if not file.name.startswith("_")]
    assert sorted(row[0].strip("`") for row in rows) == sorted(modules)
    for row in rows:
        assert code_in(row[3]), row
        for test in code_in(row[3]):
            assert (ROOT / "tests" / test).is_file(), row


def test_make_targets() -> None:
    rows, *_ = tables("docs/development.md", "Development")
    makefile = (ROOT / "Makefile").read_text()
    for row in rows:
        assert re.search(rf"(?m)^{row[0].strip('`').removeprefix('make ')}:", makefile), row


def test_public_names() -> None:
    for name in litellm_sagemaker_openai.__all__:
        assert name.startswith("__") or any(name in text for text in PAGES.values()), name


@each(
    ("column", "server", "kind"),
    [(1, "vllm", "tool"), (2, "vllm", "reasoning"), (3, "sglang", "tool"), (4, "sglang", "reasoning")],
)
def test_parsers_are_ones_that_the_servers_know(column: int, server: str, kind: str) -> None:
    known = json.loads((ROOT / "tests" / "wire" / "parsers.json").read_text(encoding="utf-8"))
    registries = [set(parsers[kind]) for name, parsers in known.items() if name.startswith(f"{server} ")]
    [rows] = tables("docs/model-settings.md", "The flags by model family")
    named = {name for row in rows for name in code_in(row[column])}
    assert len(registries) == 2
    assert len(named) > 6
    assert [name for name in named if not all(name in registry for registry in registries)] == []


def test_a_row_has_as_many_cells_as_its_head() -> None:
    for page, text in PAGES.items():
        for head, *rows in lines_of_tables(text):
            assert [row for row in rows if len(cells(row)) != len(cells(head))] == [], page
