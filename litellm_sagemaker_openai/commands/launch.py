"""``launch``: a coding agent on an endpoint's model, with a proxy that is there for as long as the agent runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from litellm_sagemaker_openai.capabilities import Fact, Facts, values_of
from litellm_sagemaker_openai.commands.agents import (
    AGENTS,
    PROGRAM,
    Agent,
    ServedModel,
    Start,
    has_a_web_proxy,
    without_a_web_proxy,
)
from litellm_sagemaker_openai.commands.common import (
    aws_options,
    expected_failures,
    parsed_target,
    quiet_litellm,
    resolve_region,
)
from litellm_sagemaker_openai.commands.config import region_of
from litellm_sagemaker_openai.commands.proxy_process import Proxy, random_key, running_proxy, write_private
from litellm_sagemaker_openai.commands.serving import Serving, model_name_option, wait_option, what_to_serve
from litellm_sagemaker_openai.target import Target

_ANY_PROGRAM = "env"
_ARGUMENTS = f"{__name__}.arguments"
# Claude Code 2.1.197 begins with 20,835 tokens of the echo container's, Codex 0.169.0 with 9,092.
_SHORT_CONTEXT = 32_768
_NOT_RUN, _NOT_FOUND = 126, 127  # the exit statuses of shells, for what cannot be run and what is not there


class _Command(click.Command):
    """A command whose arguments behind ``--`` are another program's: click would not tell them from its own."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        context.meta[_ARGUMENTS] = tuple(args[end + 1 :])
        return super().parse_args(context, args[:end])

    def collect_usage_pieces(self, context: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(context), "[-- ARGUMENTS...]"]


def _parsed_target(context: click.Context, argument: click.Parameter, value: str | None) -> Target | None:
    return None if value is None else parsed_target(context, argument, value)


@click.command(
    cls=_Command,
    epilog="""\b
Examples:
  litellm-sagemaker-openai launch claude my-endpoint
  litellm-sagemaker-openai launch codex my-gpus/coder -- exec "fix the failing test"
  litellm-sagemaker-openai launch opencode
  litellm-sagemaker-openai launch env my-endpoint -- python my_agent.py

Exit status: the agent's; 128 and the signal's number where one ended it; 1 it did not come so far; 2 wrong usage.""",
)
@click.argument("agent", type=click.Choice([*AGENTS, _ANY_PROGRAM]))
@click.argument("target", metavar="[ENDPOINT[/COMPONENT]]", required=False, callback=_parsed_target)
@wait_option
@model_name_option
@click.option(
    "--context-length",
    metavar="TOKENS",
    type=click.IntRange(1),
    help="The model's context, prompt and answer together.  [default: as the container's settings say]",
)
@aws_options
@click.pass_context
def launch(
    context: click.Context,
    agent: str,
    target: Target | None,
    wait: int,
    hf_model_name: str,
    context_length: int | None,
    region: str | None,
    profile: str | None,
) -> None:
    """Run a coding agent on your endpoint.

    AGENT is claude (Claude Code), codex, opencode, or env: any program that reads OPENAI_BASE_URL and OPENAI_API_KEY,
    or ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY. What stands after -- is for the agent. Without ENDPOINT it takes what
    is in service; if that is more than one, it asks.

    LiteLLM's proxy runs on this machine for as long as the agent does, with a key of its own. The agent's settings are
    not changed.
    """
    arguments: tuple[str, ...] = context.meta[_ARGUMENTS]
    environ = dict(os.environ)  # before LiteLLM, and what is set for it
    known, program = _program(agent, arguments)
    named = [target] if target else []
    serving = what_to_serve(named, region=region, profile=profile, wait=wait, model_name=hf_model_name)
    name = _chosen(serving)
    facts = _facts(serving, name, context_length)
    with expected_failures():
        resolved, _ = resolve_region(region_of(named, region), profile)
        quiet_litellm()
        from litellm_sagemaker_openai.commands.checking import CheckOptions
        from litellm_sagemaker_openai.commands.readiness import ANSWER_SECONDS, wait_until_it_answers

        options = CheckOptions(serving.models[name].target, ANSWER_SECONDS, hf_model_name, resolved, profile)
        wait_until_it_answers(options, wait * 60, _say)
    _say("Starting LiteLLM's proxy, which takes some seconds")
    with running_proxy(serving.config, list(serving.models), key=random_key()) as proxy:
        start = known.start(ServedModel(proxy.url, proxy.key, name, facts), environ)
        own = [part.format(file=_file(proxy, start)) if part == "{file}" else part for part in start.arguments]
        environment = start.environment(environ)
        if has_a_web_proxy(environment):
            environment |= without_a_web_proxy(proxy.url, environment)
        status = _run([program, *own, *(arguments if known.program else arguments[1:])], environment)
        if proxy.process.poll() is not None:
            _say(f"LiteLLM's proxy had ended: {proxy.failure()}")
    context.exit(status)


def _program(agent: str, arguments: Sequence[str]) -> tuple[Agent, str]:
    """The agent, and its program's path."""
    if agent != _ANY_PROGRAM:
        known = AGENTS[agent]
        if (taken := known.conflict(arguments)) is not None:
            raise click.UsageError(
                f"{taken} is what launch gives {agent} itself; put what it says into {agent}'s files"
            )
        program = shutil.which(known.program)
        if program is None:
            raise click.ClickException(f"{known.program} is not on the PATH; install it with: {known.install}")
        return known, program
    if not arguments:
        raise click.UsageError("name the program after --, such as: launch env my-endpoint -- python my_agent.py")
    program = shutil.which(arguments[0])
    if program is None:
        raise click.ClickException(f"{arguments[0]} is not on the PATH, or cannot be run")
    return PROGRAM, program


def _chosen(serving: Serving) -> str:
    """The model that the agent works on; asks where there are several."""
    names = serving.chat_models
    if not names:
        others = [
            f"{name} {'is asynchronous' if model.served.asynchronous else 'makes embeddings'}"
            for name, model in serving.models.items()
        ]
        raise click.ClickException(f"no model that chats: {', '.join(others)}")
    if len(names) == 1:
        return names[0]
    if not sys.stdin.isatty():
        raise click.ClickException(f"name one of those in service: {', '.join(names)}")
    for number, name in enumerate(names, 1):
        click.echo(f"{number:3}  {name}", err=True)
    return names[click.prompt("Which", type=click.IntRange(1, len(names)), default=1, err=True) - 1]


def _facts(serving: Serving, name: str, context_length: int | None) -> Facts:
    facts = dict(serving.models[name].served.facts)
    if context_length is not None:
        facts["max_input_tokens"] = Fact(context_length, "--context-length")
    context = values_of(facts).get("max_input_tokens")
    if context is None:
        _say(f"The context of {name} is not known: give --context-length, or the agent learns it from an error")
    elif isinstance(context, int) and context < _SHORT_CONTEXT:
        _say(f"{name} has a context of {context} tokens; agents begin with 9,000 to 21,000")
    return facts


def _file(proxy: Proxy, start: Start) -> Path:
    """The agent's file, which only the user can read, where it ends with the proxy."""
    file = proxy.folder / "settings.json"
    try:
        write_private(file, start.file)
    except OSError as error:
        raise click.ClickException(f"cannot write a temporary file, see TMPDIR: {error.strerror}") from error
    return file


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run it in the foreground, with this terminal and its signals; its exit status, as a shell has it."""
    pass_to = _signals_for_the_agent()
    try:
        agent = subprocess.Popen(command, env=environment)
    except OSError as error:
        _say(f"cannot run {command[0]}: {error.strerror}")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_RUN
    pass_to(agent)
    status = agent.wait()
    return status if status >= 0 else 128 - status


def _signals_for_the_agent() -> Callable[[subprocess.Popen[bytes]], None]:
    """From now on, what would end this command does not: the agent gets it, and this command ends when the agent does,
    with its status, also where LiteLLM takes a second to let the process end.

    A terminal's Ctrl-C and Ctrl-\\ reach the agent by themselves. What is sent to this process alone is passed on to
    the process that is given to the function; what comes before it is, too.
    """
    agents: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, frame: Any) -> None:
        for agent in agents:
            agent.send_signal(number)
        if not agents:
            early.append(number)

    def nothing(number: int, frame: Any) -> None:
        """Not SIG_IGN, which the agent would inherit."""

    def pass_to(agent: subprocess.Popen[bytes]) -> None:
        agents.append(agent)
        for number in early:
            agent.send_signal(number)

    for name, handler in {"SIGINT": nothing, "SIGQUIT": nothing, "SIGTERM": pass_on, "SIGHUP": pass_on}.items():
        if hasattr(signal, name):  # Windows has two of them
            signal.signal(getattr(signal, name), handler)
    return pass_to


def _say(line: str) -> None:
    click.echo(line, err=True)
