"""What ``serve`` and ``launch`` serve: from the command's options to the models, and the proxy's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from litellm_sagemaker_openai.commands.common import expected_failures, quiet_litellm, resolve_region
from litellm_sagemaker_openai.commands.config import (
    Served,
    model_names,
    models_in_service,
    named_models,
    proxy_config,
    region_of,
)
from litellm_sagemaker_openai.target import Target

DEFAULT_WAIT = 15  # minutes: an instance comes in 5 to 10, and then loads its model


wait_option = click.option(
    "--wait",
    metavar="MINUTES",
    default=DEFAULT_WAIT,
    show_default=True,
    type=click.IntRange(0, 60),
    help="How long a call waits for a component that is scaled to zero.",
)
model_name_option = click.option(
    "--hf-model-name", metavar="NAME", default="", help="For a container that insists on its served model name."
)


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served.

    Attributes:
        models: the names that callers ask for → what answers, and what is known of it.
        config: the proxy's configuration, as YAML, without a key.
    """

    models: Mapping[str, Model]
    config: str

    @property
    def chat_models(self) -> list[str]:
        """The names of those that chat and answer at once, as far as that is known."""
        return [
            name for name, model in self.models.items() if model.mode != "embedding" and not model.served.asynchronous
        ]


@dataclass(frozen=True, slots=True)
class Model:
    """One of the models."""

    target: Target
    served: Served

    @property
    def mode(self) -> str:
        """``chat`` or ``embedding``; ``chat`` where AWS does not tell."""
        mode = self.served.facts.get("mode")
        return str(mode.value) if mode else "chat"


def what_to_serve(
    targets: Sequence[Target],
    *,
    region: str | None,
    profile: str | None,
    wait: float = DEFAULT_WAIT,
    model_name: str = "",
) -> Serving:
    """What is named, or else all that is in service. What AWS cannot be asked about is served all the same.

    Args:
        targets: what is named.
        region: ``--region``.
        profile: ``--profile``.
        wait: minutes that a call waits for a component that is scaled to zero.
        model_name: the only name that the container of the one target answers to; empty: any.

    Raises:
        click.UsageError: ``model_name`` without exactly one target.
        click.ClickException: a named one does not exist or is not in service, nothing is in service, or AWS refuses
            to list it.
    """
    if model_name and len(targets) != 1:
        raise click.UsageError("--hf-model-name goes with one endpoint, or one inference component, that is named")
    with expected_failures():
        given = region_of(targets, region)
        resolved, _ = resolve_region(given, profile)
        if targets:
            _check_in_service(targets, resolved, profile)
            models = named_models(targets, resolved, profile)
        else:
            _check_known_to_aws(resolved, profile)
            models, _ = models_in_service(resolved, profile, lambda note: click.echo(note, err=True))
        config = proxy_config(
            models, region=resolved, profile=profile, wait=wait * 60, model_name=model_name, for_agents=True
        )
    names = model_names(models)
    return Serving({names[target]: Model(target, served) for target, served in models.items()}, config)


def _check_known_to_aws(region: str, profile: str | None) -> None:
    if not _is_known_to_aws(region, profile):
        raise click.ClickException(
            "name the endpoints: the runtime is on this machine, and AWS does not know what it serves"
        )


def _is_known_to_aws(region: str, profile: str | None) -> bool:
    from litellm_sagemaker_openai.aws.control_plane import client
    from litellm_sagemaker_openai.aws.credentials import runtime_url
    from litellm_sagemaker_openai.aws.hosts import is_known_to_aws

    return is_known_to_aws(runtime_url(region, profile), client(region, profile).meta.endpoint_url)


def _check_in_service(targets: Sequence[Target], region: str, profile: str | None) -> None:
    """What ``check`` would say of each: here it is said before the proxy starts, which takes seconds."""
    from botocore.exceptions import BotoCoreError, ClientError

    from litellm_sagemaker_openai.aws.control_plane import Found, client, find

    if not _is_known_to_aws(region, profile):
        return
    quiet_litellm()
    from litellm_sagemaker_openai.commands import diagnosis

    control_plane = client(region, profile, attempts=2)
    found: dict[str, Found | Exception] = {}
    for target in targets:
        if target.endpoint not in found:
            try:
                found[target.endpoint] = find(control_plane, target.endpoint, settings=False)
            except (BotoCoreError, ClientError) as error:
                found[target.endpoint] = error
        for step in diagnosis.in_service(target, region, found[target.endpoint]):
            if step.status == "failed":
                advice = f"\n→ {step.advice}" if step.advice else ""
                raise click.ClickException(f"{target}: {step.detail}{advice}")
