"""``check``: whether an endpoint can be called, step by step, and what to do about what fails."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    from litellm_sagemaker_openai.capabilities import Facts
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
@click.option("--probe", is_flag=True, help="Ask the model what it can do, too.")
@click.option(
    "--model-info", is_flag=True, help="With --probe: print what it can do as YAML, for a proxy's model_list."
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="With --probe: compare with the model_info in a proxy's configuration, too.",
)
@aws_options
@json_option("the steps")
def check(
    target: Target,
    timeout: float,
    hf_model_name: str,
    probe: bool,
    model_info: bool,
    config: str | None,
    region: str | None,
    profile: str | None,
    as_json: bool,
) -> None:
    """Find out whether an endpoint, or an inference component on one, can be called.

    It looks for the region and the credentials, asks STS whose they are and SageMaker's control plane whether the
    endpoint is in service, and then calls the model: one chat, one stream, one chat with a tool; some hundred tokens
    in all. Where AWS refuses the token it asks once more with a signature, which tells which permission is missing.
    A component that is scaled to zero is started by it.

    With --probe it reads the container's settings, and asks the model what it can do: tools, a schema, an image,
    reasoning, the length of its context, or else embeddings. It says first what that costs. ✓ is what an answer shows,
    ! what the container refuses or the answer does not show, and ✗ what the settings, or the model_info in a proxy's
    --config, tell otherwise.

    \b
      ✓  went well
      !  works, but not all of it: tools, usage or streaming are missing
      ✗  failed; the arrow below says what to do
      –  not checked, since something is missing for it

    The exit status is 1 if a step failed, and 0 otherwise: neither ! nor – changes it. STS and the control plane need
    not be reachable, nor permitted. --json prints a list of {name, status, detail, advice}; a status is ok, warning,
    failed or skipped. With --probe it prints {steps, facts, litellm_params}: that list, a list of {name, value,
    source} in LiteLLM's names, and the parameters that a proxy's deployment needs. --model-info prints the last two
    as YAML, and the steps on stderr.
    """  # noqa: RUF002
    if model_info and not probe:
        raise click.UsageError("--model-info goes with --probe")
    if config and not probe:
        raise click.UsageError("--config goes with --probe")
    if model_info and as_json:
        raise click.UsageError("--model-info and --json are two ways to print the same; give one")
    stated = _stated(config, target) if config else {}
    output, steps = console(stderr=model_info), []
    with nullcontext() if as_json else output.status("Importing LiteLLM") as status:
        quiet_litellm()
        from litellm_sagemaker_openai.commands.checking import CheckOptions, run_check

        options = CheckOptions(target, timeout, hf_model_name, region, profile, probe, stated)

        def show_progress(text: str) -> None:
            if status is not None:
                status.update(text)

        if probe:
            _say_what_it_costs(console(stderr=True) if as_json else output)
        for step in run_check(options, show_progress):
            steps.append(step)
            if not as_json:
                _show(output, step)
    failed = [step.name for step in steps if step.status == "failed"]
    if as_json:
        click.echo(json.dumps(_as_json(steps) if probe else [_step(step) for step in steps], indent=2))
    else:
        result = f"Failed: {', '.join(failed)}." if failed else f"It works: model=sagemaker_openai/{target}"
        output.print(result, soft_wrap=True, markup=False)
    if model_info:
        click.echo(_as_yaml(target, hf_model_name, steps), nl=False)
    click.get_current_context().exit(1 if failed else 0)


def _stated(config: str, target: Target) -> Facts:
    """What a proxy's configuration says of the model."""
    from litellm_sagemaker_openai.commands.stated import stated_in

    try:
        import yaml  # type: ignore[import-untyped]  # LiteLLM's proxy brings it
    except ModuleNotFoundError as error:
        raise click.ClickException(
            "yaml is missing; install it with: pip install 'litellm-sagemaker-openai[proxy]'"
        ) from error
    try:
        configuration = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.ClickException(f"cannot read {config}: {' '.join(str(error).split())}") from error
    stated = stated_in(configuration, target, os.environ)
    if stated is None:
        raise click.ClickException(f"{config} has no model sagemaker_openai/{target} in its model_list")
    return stated


def _say_what_it_costs(output: Console) -> None:
    from litellm_sagemaker_openai.commands.probing import MOST_REQUESTS, MOST_TOKENS

    most = f"{MOST_REQUESTS} questions more, for answers of {MOST_TOKENS:,} tokens at most and mostly far fewer"
    output.print(f"Asks up to {most}.", soft_wrap=True, markup=False)


def _step(step: Step) -> dict[str, str]:
    return {"name": step.name, "status": step.status, "detail": step.detail, "advice": step.advice}


def _as_json(steps: Sequence[Step]) -> dict[str, Any]:
    from litellm_sagemaker_openai.capabilities import values_of
    from litellm_sagemaker_openai.commands.probing import measured

    told = measured(steps)
    facts = [{"name": name, **asdict(fact)} for name, fact in told.facts.items()]
    return {"steps": [_step(step) for step in steps], "facts": facts, "litellm_params": values_of(told.parameters)}


def _as_yaml(target: Target, hf_model_name: str, steps: Sequence[Step]) -> str:
    """An entry of a proxy's ``model_list`` but for its ``model_name``, indented as there; empty where nothing is
    known."""
    from litellm_sagemaker_openai.commands.model_info import fact_lines, model_info_lines
    from litellm_sagemaker_openai.commands.probing import measured

    told = measured(steps)
    if not told.facts:
        return ""
    lines = ["    litellm_params:", f"      model: sagemaker_openai/{target}"]
    lines += [f"      hf_model_name: {json.dumps(hf_model_name)}"] if hf_model_name else []
    lines += [fact_lines(told.parameters, 6)] if told.parameters else []
    return "\n".join([*lines, model_info_lines(told.facts, 4), ""])


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
