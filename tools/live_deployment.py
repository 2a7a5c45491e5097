"""The endpoint of `make live DEPLOY=1`: made with examples/deploy_endpoint.py, and deleted again, whatever happens."""

from __future__ import annotations

import io
import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import click

from examples import deploy_endpoint
from litellm_sagemaker_openai.aws import control_plane
from litellm_sagemaker_openai.commands.common import STOPPED
from litellm_sagemaker_openai.target import Target

# For AWS's vLLM container: what the cases need, for the default model.
CONTAINER = {
    "SM_VLLM_MAX_MODEL_LEN": "16384",
    "SM_VLLM_REASONING_PARSER": "qwen3",
    "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": "true",
    "SM_VLLM_TOOL_CALL_PARSER": "hermes",
}
_TRIES = 4  # to delete


def check(target: Target, region: str, arguments: Sequence[str]) -> None:
    """Whether it could be made, as far as that can be said without asking AWS.

    Raises:
        click.UsageError: a mistake in the arguments of examples/deploy_endpoint.py.
    """
    with redirect_stdout(io.StringIO()):
        _run_deploy_endpoint([target.endpoint, "--region", region], [*_creation(target, arguments), "--dry-run"])


@contextmanager
def deployed(
    target: Target, region: str, profile: str | None, arguments: Sequence[str], *, poll: float
) -> Iterator[None]:
    """The endpoint, as long as the context lasts. It is deleted also where it could not be made, and on a signal.

    Args:
        target: the endpoint, and its component if it has one. Nothing may have its name.
        region: where it is made.
        profile: whose credentials make it.
        arguments: further ones of examples/deploy_endpoint.py.
        poll: seconds between two looks.

    Raises:
        click.ClickException: something has its name already, it could not be made, or something of it is left.
    """
    name, run = target.endpoint, secrets.token_hex(8)  # by which what others make of the same name meanwhile is told
    where = ["--region", region, *(["--profile", profile] if profile else [])]
    deploy = partial(_run_deploy_endpoint, [name, *where, "--poll", str(poll), "--run", run])
    client = control_plane.client(region, profile)
    if there := deploy_endpoint.targets_of(client, name, None, force=True):
        raise click.ClickException(
            f"{there[0]} exists already: with --deploy, ENDPOINT is to be a new name, or left out"
        )
    with _signals_stop_it() as deleting:
        try:
            deploy(_creation(target, arguments))
            yield
        finally:
            try:
                deleting()
                _delete(partial(deploy, ["--delete"]), poll)
                left = [str(each) for each in deploy_endpoint.targets_of(client, name, None, False, run)]
            except BaseException:
                _say(_left(f"what was made for {name} may be left, and is billed", name, where))
                raise
            if left:
                raise click.ClickException(_left(f"left: {', '.join(left)}", name, where))
            _say(f"All that was made for {name} is deleted.")


def _delete(once: Callable[[], None], poll: float) -> None:
    """Delete, and where AWS does not answer or refuses, again: an hour costs more than a minute."""
    for left in reversed(range(_TRIES)):
        try:
            return once()
        except click.ClickException as error:
            if not left:
                raise
            _say(f"{error.message}\nDeleting is tried again.")
            time.sleep(poll)


def _left(what: str, name: str, where: Sequence[str]) -> str:
    command = shlex.join(["python", "examples/deploy_endpoint.py", name, "--delete", *where])
    return f"Not all is deleted: {what}. Delete it:\n  {command}"


def _creation(target: Target, arguments: Sequence[str]) -> list[str]:
    component = ["--component", target.component] if target.component else []
    return [*arguments, *component, *(word for pair in CONTAINER.items() for word in ("--env", "=".join(pair)))]


def _run_deploy_endpoint(common: Sequence[str], arguments: Iterable[str]) -> None:
    """examples/deploy_endpoint.py's command in this process.

    Raises:
        click.ClickException: it failed.
        KeyboardInterrupt: it was stopped, which it has said.
    """
    status = deploy_endpoint.main([*common, *arguments], standalone_mode=False)
    if status == STOPPED:
        raise KeyboardInterrupt


@contextmanager
def _signals_stop_it() -> Iterator[Callable[[], None]]:
    """SIGTERM, and a terminal that is closed, stop it as Ctrl+C does. Gives a function to be called before deleting:
    from then on the first of these signals is only answered, as stopping then would leave what costs."""
    deleting, ignored = False, False

    def stop(number: int, frame: Any) -> None:
        nonlocal ignored
        if number == getattr(signal, "SIGHUP", None):
            # Writing to a terminal that is gone would be an error, which must not end the deletion.
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        if deleting and not ignored:
            ignored = True
            _say("Deleting goes on, since the instances cost until it is done. The next Ctrl+C stops it all the same.")
            return
        raise KeyboardInterrupt

    def delete() -> None:
        nonlocal deleting
        deleting = True

    named = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in named if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield delete
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    click.echo(text, err=True)
