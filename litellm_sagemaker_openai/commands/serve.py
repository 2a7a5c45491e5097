"""``serve``: LiteLLM's proxy before the endpoints that are named, or all that are in service, on this machine."""

from __future__ import annotations

import ipaddress
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from litellm_sagemaker_openai.commands.agents import has_a_web_proxy, without_a_web_proxy
from litellm_sagemaker_openai.commands.client_recipes import KEY, chat_recipes, embedding_recipes
from litellm_sagemaker_openai.commands.common import aws_options, parsed_targets
from litellm_sagemaker_openai.commands.proxy_process import random_key, running_proxy
from litellm_sagemaker_openai.commands.serving import Serving, model_name_option, wait_option, what_to_serve
from litellm_sagemaker_openai.target import Target

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@click.command(
    epilog="""\b
Examples:
  litellm-sagemaker-openai serve my-endpoint my-gpus/coder
  litellm-sagemaker-openai serve --region us-west-2 --port 8000
  litellm-sagemaker-openai serve my-endpoint --config -

Exit status: 130 after Ctrl-C; 1 nothing to serve, the port is taken, or the proxy ended; 2 wrong usage."""
)
@click.argument("targets", metavar="[ENDPOINT[/COMPONENT]]...", nargs=-1, callback=parsed_targets)
@click.option("--port", default=4000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: any free one.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help=f"Address to listen on. One that others reach needs a key of yours, in {KEY}.",
)
@wait_option
@model_name_option
@click.option(
    "--log-level",
    default="WARNING",
    show_default=True,
    type=click.Choice(_LEVELS, case_sensitive=False),
    help="Of LiteLLM's log, on standard error.",
)
@click.option("--config", metavar="FILE", help="Write the configuration, without a key, and stop; -: standard output.")
@aws_options
def serve(
    targets: tuple[Target, ...],
    port: int,
    host: str,
    wait: int,
    hf_model_name: str,
    log_level: str,
    config: str | None,
    region: str | None,
    profile: str | None,
) -> None:
    """Run LiteLLM's proxy before your endpoints, on this machine.

    It serves what you name, or all that is in service in the region, for clients of OpenAI's and Anthropic's APIs:
    chat completions, responses, messages and embeddings. When it is ready it prints what each client needs. The
    clients' key is a random one, or the value of LITELLM_MASTER_KEY.
    """
    key = os.environ.get(KEY) or None
    if not (key or _is_loopback(host)):
        raise click.UsageError(f"--host {host} is for others, too: set {KEY} to a key that you choose for them")
    serving = what_to_serve(targets, region=region, profile=profile, wait=wait, model_name=hf_model_name)
    if config is not None:
        _write(config, serving.config)
        return
    click.echo("Starting LiteLLM's proxy, which takes some seconds", err=True)
    with running_proxy(
        serving.config,
        list(serving.models),
        host=host,
        port=port,
        key=key or random_key(),
        log_level=log_level.upper(),
        log=_on_stderr,
    ) as proxy:
        click.echo("\n".join(announcement(proxy.url, serving, None if key else proxy.key, os.environ)))
        proxy.process.wait()
        raise click.ClickException(f"LiteLLM's proxy ended: {proxy.failure()}")


def announcement(url: str, serving: Serving, shown: str | None, environ: Mapping[str, str]) -> list[str]:
    """What is served, and what each client needs.

    Args:
        url: the proxy's.
        serving: what it serves.
        shown: the key; None: it is the user's own, who has it.
        environ: the user's; where it names a web proxy, the clients are to go round it.
    """
    lines = [
        f"Serves {', '.join(serving.models)}",
        "",
        f"  OpenAI's base URL      {url}/v1",
        f"  Anthropic's base URL   {url}",
        f"  API key                {shown or f'the value of {KEY}'}",
    ]
    variables = {KEY: shown} if shown else {}
    if has_a_web_proxy(environ):
        variables |= without_a_web_proxy(url, environ)
    if variables:
        lines += ["", "In another terminal, first:", ""]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    for name, text in recipes(url, serving, shown).items():
        lines += ["", f"# {name}", text]
    return [*lines, "", "Ready. Press Ctrl+C to stop."]


def recipes(url: str, serving: Serving, key: str | None) -> dict[str, str]:
    """For the first model that chats, and the first that makes embeddings."""
    first = {model.mode: name for name, model in reversed(list(serving.models.items()))}
    chat = chat_recipes(url, first["chat"], key) if "chat" in first else {}
    return chat | (embedding_recipes(url, first["embedding"]) if "embedding" in first else {})


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False


def _write(file: str, text: str) -> None:
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        with Path(file).open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"wrote {file}; its first lines say how to start the proxy", err=True)


def _on_stderr(line: str) -> None:
    click.echo(line, err=True)
