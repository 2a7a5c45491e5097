"""Asks a real endpoint, and the local runtime the same, and writes down how the answers differ.

    python -m tools.live my-endpoint --region us-west-2
    python -m tools.live my-gpus/coder --embeddings-endpoint my-embeddings --profile work
    python -m tools.live --deploy --region us-west-2

It says what it will cost, and asks. The file that it writes has no account id, name, ARN, token, key, host or path of
yours, and no text of the model's, and can be sent in with an issue: docs/live.md. With ``--deploy`` it makes an
endpoint first, with examples/deploy_endpoint.py, and deletes it afterwards, whatever happens.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import click

from examples import deploy_endpoint
from litellm_sagemaker_openai.commands.common import (
    STOPPED,
    aws_options,
    expected_failures,
    quiet_litellm,
    resolve_region,
)
from litellm_sagemaker_openai.target import Target, parse_target
from tools.live_cases import asked
from tools.live_deployment import check, deployed

PRICES_URL = "https://aws.amazon.com/sagemaker/ai/pricing/"
MODEL = "Qwen/Qwen3-0.6B"  # small, and it reasons and calls tools


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", metavar="ENDPOINT[/COMPONENT]", required=False)
@click.option("--component", metavar="NAME", help="The same as ENDPOINT/NAME.")
@click.option("--embeddings-endpoint", "embeddings", metavar="NAME", help="An endpoint without components.")
@aws_options
@click.option("--deploy", "deploys", is_flag=True, help="Make the endpoint first, and delete it afterwards.")
@click.option(
    "--model", default=MODEL, show_default=True, help="With --deploy: what examples/deploy_endpoint.py takes."
)
@click.option("--role", envvar="SAGEMAKER_ROLE", metavar="ARN", help="With --deploy.  [default: SAGEMAKER_ROLE]")
@click.option("--instance-type", default=deploy_endpoint.INSTANCE_TYPE, show_default=True, help="With --deploy.")
@click.option("--poll", default=15.0, hidden=True, type=click.FloatRange(0))
@click.option("--yes", is_flag=True, help="Do not ask.")
def main(
    target: str | None,
    component: str | None,
    embeddings: str | None,
    region: str | None,
    profile: str | None,
    deploys: bool,
    model: str,
    role: str | None,
    instance_type: str,
    poll: float,
    yes: bool,
) -> None:
    """Compare what ENDPOINT answers with what the local runtime does.

    Exit status: 0 all alike, 1 differences, or it could not be asked, 2 a mistake in the command, 130 stopped.
    """
    called = _called(target, component, deploys)
    embeddings = embeddings and _parsed(embeddings).endpoint
    try:
        with expected_failures():
            region, _ = resolve_region(region, profile, called.region)
            made: AbstractContextManager[None] = nullcontext()
            if deploys:
                arguments = ["--model", model, "--instance-type", instance_type, *(["--role", role] if role else [])]
                check(called, region, arguments)
                made = deployed(called, region, profile, arguments, poll=poll)
            _say("\n".join(_costs(called, embeddings, instance_type if deploys else "")))
            _confirm(yes)
            quiet_litellm()
            from litellm_sagemaker_openai.commands.checking import CheckOptions  # here: LiteLLM takes seconds to import
            from litellm_sagemaker_openai.commands.readiness import ANSWER_SECONDS
            from tools.live_run import compare

            with made:
                options = CheckOptions(called, ANSWER_SECONDS, region=region, profile=profile)
                differ = compare(options, embeddings, _say)
    except KeyboardInterrupt:
        raise SystemExit(STOPPED) from None
    raise SystemExit(1 if differ else 0)


def _parsed(name: str) -> Target:
    """
    Raises:
        click.UsageError: it does not name an endpoint.
    """
    try:
        return parse_target(name.removeprefix("sagemaker_openai/"))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _called(name: str | None, component: str | None, deploys: bool) -> Target:
    """What is called; with --deploy, a name that nothing has can be made up."""
    if not name:
        if not deploys:
            raise click.UsageError("name the ENDPOINT (make live ENDPOINT=my-endpoint), or give --deploy (DEPLOY=1)")
        name = f"litellm-live-{secrets.token_hex(4)}"
    target = _parsed(name)
    if not component:
        return target
    if target.component not in (None, component):
        raise click.UsageError(f"ENDPOINT names the component {target.component!r} and --component {component!r}")
    return replace(_parsed(f"{target.endpoint}/{component}"), region=target.region)


# What it costs


def _costs(target: Target, embeddings: str | None, instance_type: str) -> Iterator[str]:
    """What is said before anything is sent. Pure."""
    cases = [case for case, why_not in asked(target.component, embeddings) if not why_not]
    requests = 1 + sum(case.at_once for case in cases)
    yield f"This sends {requests} requests to {target} and to names that do not exist, and the same to a local runtime."
    prompts, answers = sum(case.prompt_bytes for case in cases), 1 + sum(case.answer_tokens for case in cases)
    yield f"They have at most {prompts:,} tokens of prompts and {answers:,} of answers."
    yield "Two ask for more tokens than a context has, and one has a body of 6 MB: these are to be refused."
    if instance_type:
        yield f"First it makes the endpoint {target.endpoint} of 1 x {instance_type}, and deletes it at the end."
        yield "The instance is billed from its start until it is deleted, used or not; its price per hour is in"
        yield f"{PRICES_URL}, and all of it takes some 20 to 60 minutes."
        yield "Where deleting fails, the command for it is printed."
    else:
        yield "A real-time endpoint's instances are billed by the hour, used or not; requests add what their data costs"
        yield f"({PRICES_URL}). A component that is scaled to zero is started."


def _confirm(yes: bool) -> None:
    """
    Raises:
        click.UsageError: nobody can be asked.
        click.exceptions.Abort: the answer is no.
        KeyboardInterrupt: there is none.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask in: give --yes (YES=1) where that is meant")
    try:
        agreed = click.confirm("Go on?", err=True)
    except click.exceptions.Abort:  # Ctrl+C
        raise KeyboardInterrupt from None
    if not agreed:
        raise click.exceptions.Abort


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
