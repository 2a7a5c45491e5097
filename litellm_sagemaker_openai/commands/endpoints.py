"""``endpoints``: what is callable in a region."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from litellm_sagemaker_openai.commands.common import (
    aws_options,
    console,
    expected_failures,
    json_option,
    printable,
    reason,
    resolve_region,
)
from litellm_sagemaker_openai.target import Target

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from litellm_sagemaker_openai.aws.container_settings import ModelSettings
    from litellm_sagemaker_openai.aws.control_plane import Found, Listed, VariantRouting
    from litellm_sagemaker_openai.capabilities import Facts

_GAP = 2  # characters between two columns of the table
_LEAST_IMAGE_WIDTH = 16
_NONE = "-"
_DETAILS = ("REGION", "STATUS", "INSTANCES", "IMAGE")
# Where the terminal is too narrow for the rest.
_LEFT_OUT = (
    (),
    ("ROUTING",),
    ("ROUTING", "SETTINGS"),
    ("ROUTING", "SETTINGS", "ENDPOINT", "COMPONENT"),
)
_OPTIONAL = ("ROUTING", "SETTINGS")  # shown where there is something in them
_STATUS_STYLES = {"InService": "green", "Failed": "red", "OutOfService": "red", "UpdateRollbackFailed": "red"}


@click.command(
    epilog="""\b
Examples:
  litellm-sagemaker-openai endpoints --region us-west-2
  litellm-sagemaker-openai endpoints --all-regions --profile research
  litellm-sagemaker-openai endpoints --json | jq -r '.[].model // empty'

IAM: sagemaker:ListEndpoints and sagemaker:ListInferenceComponents; for all that is shown also DescribeEndpoint,
DescribeEndpointConfig, DescribeInferenceComponent and DescribeModel.

Exit status: 0 listed, or nothing there; 1 AWS refused or could not be reached; 2 wrong usage."""
)
@aws_options
@click.option("--all-regions", is_flag=True, help="Look in every region, instead of in one.")
@json_option("the list")
def endpoints(region: str | None, profile: str | None, all_regions: bool, as_json: bool) -> None:
    """List the endpoints and inference components in a region, and the string to write as model.

    An endpoint that hosts inference components is not called itself, its components are. A component at 0 copies is
    started by the first call.
    """
    if region and all_regions:
        raise click.UsageError("--region and --all-regions exclude each other; give one of them")
    with expected_failures():
        found = _everywhere(profile) if all_regions else [_in_region(region, profile)]
    listed = [each for one in found for each in one.listed]
    if as_json:
        click.echo(json.dumps([as_json_object(each) for each in listed], indent=2))
    elif listed:
        show(console(), listed, with_region=all_regions)
    for note in notes_on(found):
        click.echo(note, err=True)


def _in_region(region: str | None, profile: str | None) -> Found:
    from litellm_sagemaker_openai.aws.control_plane import client, find

    return find(client(resolve_region(region, profile)[0], profile))


def _everywhere(profile: str | None) -> list[Found]:
    """What each region that answers has. Those that do not are named on stderr."""
    from litellm_sagemaker_openai.aws.control_plane import Found, find_in_regions, regions

    answers = find_in_regions(regions(profile), profile)
    refusals: dict[str, list[str]] = {}
    for region, answer in answers.items():
        if isinstance(answer, Exception):
            refusals.setdefault(reason(answer), []).append(region)
    found = [answer for answer in answers.values() if isinstance(answer, Found)]
    if not found:
        raise click.ClickException("; ".join(refusals))
    for refusal, refusing in refusals.items():
        click.echo(f"not looked at: {', '.join(refusing)}: {refusal}", err=True)
    return found


def notes_on(found: Sequence[Found]) -> Iterator[str]:
    """What the list does not show: that it is empty, why something failed, which permissions are missing."""
    if not any(one.listed for one in found):
        yield f"no endpoints in {found[0].region if len(found) == 1 else f'{len(found)} regions'}"
    for one in found:
        for each in one.listed:
            if each.failure_reason:
                target = Target(each.endpoint, each.inference_component)
                yield printable(f"{target}: {each.status}: {' '.join(each.failure_reason.split())}")
    if missing := {action for one in found for action in one.not_permitted}:
        yield not_all_is_known(missing)


def not_all_is_known(missing: Iterable[str]) -> str:
    """The note on IAM actions that the credentials lack."""
    return f"not all is known, since the credentials lack {', '.join(sorted(missing))}"


def show(console: Console, listed: Sequence[Listed], *, with_region: bool) -> None:
    """Print a table; where the terminal is too narrow, one with fewer columns, or two lines for each row.

    The model string is never cut. In a pipe there is room for everything.
    """
    from rich.table import Table

    rows = [cells(each) for each in listed]
    unused = {column for column in _OPTIONAL if all(row[column] == _NONE for row in rows)}
    unused |= set() if with_region else {"REGION"}
    columns = [column for column in rows[0] if column not in unused]
    widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in columns}
    if not console.is_terminal:
        console.width = sum(widths.values()) + _GAP * len(widths)
    least = {**widths, "IMAGE": min(widths["IMAGE"], _LEAST_IMAGE_WIDTH)}
    for left_out in _LEFT_OUT:
        names = [column for column in columns if column not in left_out]
        if sum(least[name] + _GAP for name in names) - _GAP <= console.width:
            table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
            for name in names:
                table.add_column(name, no_wrap=name != "IMAGE")  # the one that may be cut
            for each, row in zip(listed, rows, strict=True):
                table.add_row(*(_text(each, name, row[name]) for name in names))
            console.print(table)
            return
    for each, row in zip(listed, rows, strict=True):
        console.print(_text(each, "MODEL", row["MODEL"]), soft_wrap=True)
        details = [_text(each, name, row[name].ljust(widths[name])) for name in _DETAILS if name in columns]
        console.print(" ", *details, no_wrap=True, overflow="ellipsis")


def cells(each: Listed) -> dict[str, str]:
    """The row of an endpoint or a component, by column."""
    return {
        "REGION": each.region,
        "ENDPOINT": each.endpoint,
        "COMPONENT": _component(each),
        "STATUS": f"{each.status}, async" if each.asynchronous else each.status,
        "INSTANCES": _instances(each),
        "ROUTING": routing_words(each.routing) or _NONE,
        # Without the registry, which is the longest part and tells the least.
        "IMAGE": printable(", ".join(image.rpartition("/")[2] for image in each.images)) or _NONE,
        "SETTINGS": _settings(each.settings),
        "MODEL": each.model or f"{each.endpoint}: call its components",
    }


def as_json_object(each: Listed) -> dict[str, Any]:
    """The object of an endpoint or a component in ``--json``. Of its settings it has what is known."""

    def known(facts: Facts) -> dict[str, dict[str, Any]]:
        return {name: asdict(fact) for name, fact in facts.items()}

    settings = {"settings": known(each.settings.known()), "model_info": known(each.settings.model_info())}
    return {**{name: value for name, value in asdict(each).items() if name != "settings"}, **settings}


def _settings(settings: ModelSettings) -> str:
    """What a platform engineer compares models by, in a few words."""
    tokens = settings.longest_prompt or settings.context_length
    words = [
        _thousands(int(str(tokens.value))) if tokens else "",
        "embeddings" if settings.mode and settings.mode.value == "embedding" else "",
        "tools" if settings.tool_calls else "",
        "reasoning" if settings.reasoning else "",
        "LoRA" if settings.lora else "",
    ]
    return " ".join(filter(None, words)) or _NONE


def _thousands(number: int) -> str:
    """``32768`` → ``32k``, ``32000`` → ``32k``, ``1500`` → ``1500``."""
    return next((f"{number // unit}k" for unit in (1024, 1000) if number % unit == 0), str(number))


def _instances(each: Listed) -> str:
    """The current and the desired number, and the instance type or "copies"."""
    if each.inference_component is None and each.serverless:
        return "serverless"
    kind = "copies" if each.inference_component else " ".join(each.instance_types)
    if each.current is None and each.desired is None:
        return kind if each.instance_types else _NONE
    current, desired = (_NONE if count is None else str(count) for count in (each.current, each.desired))
    return f"{current}/{desired} {kind}".rstrip()


def _component(each: Listed) -> str:
    """Its name; a LoRA adapter's with that of the component that it stands on."""
    if each.base_inference_component is None:
        return each.inference_component or _NONE
    return f"{each.inference_component} on {each.base_inference_component}"


def routing_words(variants: Sequence[VariantRouting]) -> str:
    """The strategies that are set, such as ``PREFIX_AWARE 4096/10``: the prefix's length and the concurrency threshold.
    Empty where none is. Of several variants that differ, each with its name."""
    words = [_strategy(each) for each in variants]
    if len(set(words)) <= 1:
        return words[0] if words and variants[0].strategy else ""
    return ", ".join(f"{each.variant}: {word}" for each, word in zip(variants, words, strict=True))


def _strategy(each: VariantRouting) -> str:
    numbers = [str(number) for number in (each.prefix_length, each.concurrency_threshold) if number is not None]
    return f"{each.strategy or 'RANDOM'} {'/'.join(numbers)}".rstrip()


def _text(each: Listed, column: str, cell: str) -> Text:
    from rich.text import Text

    style = ""
    if column == "STATUS":
        style = _STATUS_STYLES.get(each.status, "yellow")
    elif column == "MODEL":
        style = "bold" if each.callable else "dim"
    return Text(cell, style, no_wrap=True, overflow="ellipsis")
