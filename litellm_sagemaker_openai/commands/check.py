"""``check``: whether an endpoint can be called, step by step, and what to do about what fails."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from litellm_sagemaker_openai.commands.common import (
    aws_options,
    console,
    json_option,
    printable,
    quiet_litellm,
    target_argument,
)

if TYPE_CHECKING:
    from rich.console import Console

    from litellm_sagemaker_openai.commands.diagnosis import Step
    from litellm_sagemaker_openai.target import Target

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("–", "dim")}  # noqa: RUF001
_NAME_WIDTH = len("inference component")


@click.command()
@target_argument
@click.option(
    "--timeout",
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="To wait for each answer, and for each piece of a stream.",
)
@click.option("--hf-model-name", metavar="NAME", default="", help="For a container that insists on its served name.")
@aws_options
@json_option("the steps")
def check(
    target: Target, timeout: float, hf_model_name: str, region: str | None, profile: str | None, as_json: bool
) -> None:
    """Find out whether an endpoint, or an inference component on one, can be called.

    It looks for the region and the credentials, asks STS whose they are and SageMaker's control plane whether the
    endpoint is in service, and then calls the model: one chat, one stream, one chat with a tool; some hundred tokens
    in all. Where AWS refuses the token it asks once more with a signature, which tells which permission is missing.
    A component that is scaled to zero is started by it.

    \b
      ✓  went well
      !  works, but not all of it: tools, usage or streaming are missing
      ✗  failed; the arrow below says what to do
      –  not checked, since something is missing for it

    The exit status is 1 if a step failed, and 0 otherwise: neither ! nor – changes it. STS and the control plane need
    not be reachable, nor permitted. --json prints a list of {name, status, detail, advice}; a status is ok, warning,
    failed or skipped.
    """  # noqa: RUF002
    output, steps = console(), []
    with nullcontext() if as_json else output.status("Importing LiteLLM") as status:
        quiet_litellm()
        from litellm_sagemaker_openai.commands.checking import CheckOptions, run_check

        def show_progress(text: str) -> None:
            if status is not None:
                status.update(text)

        for step in run_check(CheckOptions(target, timeout, hf_model_name, region, profile), show_progress):
            steps.append(step)
            if not as_json:
                _show(output, step)
    failed = [step.name for step in steps if step.status == "failed"]
    if as_json:
        click.echo(json.dumps([asdict(step) for step in steps], indent=2))
    else:
        result = f"Failed: {', '.join(failed)}." if failed else f"It works: model=sagemaker_openai/{target}"
        output.print(result, soft_wrap=True, markup=False)
    click.get_current_context().exit(1 if failed else 0)


def _show(output: Console, step: Step) -> None:
    """Print a step: the detail and the advice in a column of their own, or in a pipe on a line each."""
    from rich.table import Table
    from rich.text import Text

    mark, style = _MARKS[step.status]
    texts = [step.detail, *([f"→ {step.advice}"] if step.advice else [])]
    detail = Text("\n").join(Text(printable(" ".join(text.split()))) for text in texts)
    if not output.is_terminal:
        indent = Text("\n".ljust(_NAME_WIDTH + 4))
        output.print(Text(f"{mark} {step.name:<{_NAME_WIDTH}} ") + indent.join(detail.split("\n")), soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style=style)
    grid.add_column(width=_NAME_WIDTH)
    grid.add_column(style="dim" if step.status == "skipped" else "", overflow="fold")
    grid.add_row(mark, step.name, detail)
    output.print(grid)
