"""``config``: a configuration of LiteLLM's proxy for a region's endpoints, or for those that are named."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import click

from litellm_sagemaker_openai.capabilities import Fact, Facts
from litellm_sagemaker_openai.commands.common import (
    aws_options,
    expected_failures,
    parsed_targets,
    printable,
    quiet_litellm,
    reason,
    resolve_region,
)
from litellm_sagemaker_openai.commands.model_info import fact_lines, model_info_lines
from litellm_sagemaker_openai.target import Target, agreed_region, checked_region

_PROBE_SECONDS = 60.0  # as long as SageMaker gives a container for an answer


@click.command(
    epilog="""\b
Examples:
  litellm-sagemaker-openai config --region us-west-2 --output proxy_config.yaml
  litellm-sagemaker-openai config my-endpoint my-gpus/coder > proxy_config.yaml
  litellm-sagemaker-openai config --output proxy_config.yaml --force --watch

IAM, where no names are given: sagemaker:ListEndpoints, ListInferenceComponents, DescribeEndpoint and
DescribeEndpointConfig; for model_info also DescribeInferenceComponent and DescribeModel. With names none is needed.

Exit status: 0 written; 1 nothing in service, the file exists, AWS refused or could not be reached; 2 wrong usage."""
)
@click.argument("targets", metavar="[ENDPOINT[/COMPONENT]]...", nargs=-1, callback=parsed_targets)
@aws_options
@click.option("-o", "--output", metavar="FILE", help="The file to write.  [default: standard output]")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--probe", is_flag=True, help="Ask each model what it can do, as check --probe does, and write that.")
@click.option(
    "--watch",
    metavar="[SECONDS]",
    type=click.IntRange(10),
    is_flag=False,
    flag_value=300,
    help="Look again every 300 seconds, or so many, and write the file anew where what is in service changed.",
)
def config(
    targets: tuple[Target, ...],
    region: str | None,
    profile: str | None,
    output: str | None,
    force: bool,
    watch: int | None,
    probe: bool,
) -> None:
    """Write a configuration for LiteLLM's proxy.

    It has all that is in service in the region; or what you name, deployed or not, and then without --region the proxy
    reads AWS_REGION. Callers ask for a model by the name of its inference component or endpoint. Its model_info says
    what the container is set to, as far as AWS tells; with --probe, what the model's own answers show. That costs
    tokens, which stderr says first, and starts components that are scaled to zero.
    """
    if force and output is None:
        raise click.UsageError("--force goes with --output")
    if watch is not None:
        from litellm_sagemaker_openai.commands.watching import keep_up_to_date

        if targets or output is None:
            raise click.UsageError("--watch goes with --output, and without names: it is for what is in service")
        if probe:
            raise click.UsageError("--watch and --probe exclude each other: to probe costs tokens each time")
        look = partial(_for_what_is_in_service, region, profile, whole=True)
        keep_up_to_date(output, look, watch, force=force)
    if output is not None:
        _check_can_be_written(output, force)  # before models are asked, which costs
    with expected_failures():
        if targets:
            text = _for_names(targets, region, profile, probe)
        else:
            text = _for_what_is_in_service(region, profile, _on_stderr, probe=probe)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with Path(output).open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise click.ClickException(f"{output} is there already; --force overwrites it") from error
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"wrote {output}; its first lines say how to start the proxy", err=True)


def _check_can_be_written(output: str, force: bool) -> None:
    file = Path(output)
    if file.exists() and not force:
        raise click.ClickException(f"{output} is there already; --force overwrites it")
    problem = None
    if file.is_dir():
        problem = errno.EISDIR
    elif not file.parent.is_dir():
        problem = errno.ENOENT
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        problem = errno.EACCES
    if problem is not None:
        raise click.ClickException(f"cannot write {output}: {os.strerror(problem)}")


def _on_stderr(line: str) -> None:
    click.echo(line, err=True)


def _for_names(targets: Iterable[Target], region: str | None, profile: str | None, probe: bool) -> str:
    region = region_of(targets, region)
    models = named_models(targets, region, profile)
    if probe:
        models = _probed(models, resolve_region(region, profile)[0], profile)
    return proxy_config(models, region=region, profile=profile)


def region_of(targets: Iterable[Target], region: str | None) -> str | None:
    """The region that ``--region`` and the ARNs name, which must agree; None where they name none.

    Raises:
        ValueError: they do not agree, or what is named is not a region.
    """
    for target in targets:
        region = agreed_region(region, target.region, "--region or another ARN", f"the ARN of {target}")
    return region and checked_region(region)


def named_models(targets: Iterable[Target], region: str | None, profile: str | None) -> dict[Target, Served]:
    """What is named, each with what AWS tells of it; what it does not is said on stderr."""
    models = {Target(target.endpoint, target.component): Served() for target in targets}
    return models | _described(list(models), region, profile)


def _described(targets: Sequence[Target], region: str | None, profile: str | None) -> dict[Target, Served]:
    """What AWS tells of those that are named. What it does not is said on stderr, and they are served all the same: a
    configuration can be written before its endpoints, and where AWS cannot be asked."""
    from botocore.exceptions import BotoCoreError, ClientError

    from litellm_sagemaker_openai.aws.control_plane import client, is_not_found, look_up
    from litellm_sagemaker_openai.aws.credentials import runtime_url
    from litellm_sagemaker_openai.aws.hosts import is_known_to_aws
    from litellm_sagemaker_openai.commands.endpoints import not_all_is_known

    described: dict[Target, Served] = {}
    missing: set[str] = set()
    try:
        resolved, _ = resolve_region(region, profile)
        control_plane = client(resolved, profile, attempts=2)
        if not is_known_to_aws(runtime_url(resolved, profile), control_plane.meta.endpoint_url):
            click.echo("no model_info, since the runtime is on this machine, and AWS does not know it", err=True)
            return {}
        for target in targets:
            try:
                found = look_up(control_plane, target)
            except (ClientError, ValueError) as error:
                if isinstance(error, ClientError) and not is_not_found(error):
                    raise
                click.echo(f"{target}: {reason(error)}", err=True)
            else:
                described[target] = Served(facts=found.settings.model_info(), container=found.settings.container)
                missing.update(found.not_permitted)
    except (BotoCoreError, ClientError, ValueError) as error:
        click.echo(f"no model_info, since AWS was not asked or did not answer: {reason(error)}", err=True)
    if missing:
        click.echo(not_all_is_known(missing), err=True)
    return described


def _for_what_is_in_service(
    region: str | None,
    profile: str | None,
    say: Callable[[str], None],
    *,
    whole: bool = False,
    probe: bool = False,
) -> str:
    region, _ = resolve_region(region, profile)
    models, others = models_in_service(region, profile, say, whole=whole)
    if probe:
        models = _probed(models, region, profile)
    return proxy_config(models, others, region=region, profile=profile)


def models_in_service(
    region: str, profile: str | None, say: Callable[[str], None], *, whole: bool = False
) -> tuple[dict[Target, Served], dict[Target, str]]:
    """All that is in service, and what is not, with its state.

    Args:
        region: where.
        profile: of the AWS configuration.
        say: takes what the configuration does not tell.
        whole: what is not known may not be left out.
    """
    from litellm_sagemaker_openai.aws.control_plane import client, find
    from litellm_sagemaker_openai.aws.in_service import PERMISSIONS
    from litellm_sagemaker_openai.commands.endpoints import notes_on

    found = find(client(region, profile))
    if whole and (missing := [action for action in PERMISSIONS if action in found.not_permitted]):
        raise ValueError(f"some may not be known, since the credentials lack {', '.join(missing)}")
    for note in notes_on([found]):
        say(note)
    models: dict[Target, Served] = {}
    others = {}
    for each in found.listed:
        target = Target(each.endpoint, each.inference_component)
        if each.callable:
            models[target] = Served(
                bool(each.asynchronous), each.settings.model_info(), container=each.settings.container
            )
        elif each.callable is None:
            others[target] = "whether it hosts inference components is not known"
        elif each.model:
            others[target] = each.status
    if not models:
        raise click.ClickException(f"nothing to configure: nothing in {region} is known to be in service")
    return models, others


def _probed(models: Mapping[Target, Served], region: str, profile: str | None) -> dict[Target, Served]:
    """What each model's own answers tell of it, besides. An Asynchronous Inference endpoint is not asked."""
    quiet_litellm()
    from litellm_sagemaker_openai.commands.checking import MAX_TOKENS, CheckOptions, Endpoint, measure
    from litellm_sagemaker_openai.commands.probing import MOST_REQUESTS, MOST_TOKENS, Finding, measured

    asked = {target: served for target, served in models.items() if not served.asynchronous}
    tokens = MOST_TOKENS + MAX_TOKENS  # the first question is whether it chats
    most = f"{MOST_REQUESTS + 1} questions, for answers of {tokens:,} tokens at most and mostly far fewer"
    click.echo(f"asks each of {len(asked)} up to {most}", err=True)
    probed = dict(models)
    for target, served in asked.items():
        click.echo(f"asking {target}", err=True)
        endpoint = Endpoint.of(CheckOptions(target, _PROBE_SECONDS, region=region, profile=profile), region)
        findings = [Finding("settings", "ok", "", facts=served.facts)]
        for finding in measure(endpoint, served.facts, lambda text: None):
            findings.append(finding)
            unsure = finding.status == "skipped" and not finding.detail.startswith("needs: ")
            said = finding.advice if finding.status == "failed" else finding.detail if unsure else ""
            if said:
                click.echo(printable(f"{target}: {finding.name}: {' '.join(said.split())}"), err=True)
        told = measured(findings)
        answered = any(finding.status != "skipped" for finding in findings[1:])
        probed[target] = replace(served, facts=told.facts, parameters=told.parameters if answered else None)
    return probed


@dataclass(frozen=True, slots=True)
class Served:
    """How a model is served.

    Attributes:
        asynchronous: on an Asynchronous Inference endpoint.
        facts: what is known of it, by LiteLLM's names.
        parameters: LiteLLM's parameters that calls need besides. None: what follows from the facts and the container.
        container: which one it is; None: not known.
    """

    asynchronous: bool = False
    facts: Facts = field(default_factory=dict)
    parameters: Facts | None = None
    container: Fact | None = None

    @property
    def needed(self) -> Facts:
        """LiteLLM's parameters that calls need besides."""
        if self.parameters is not None:
            return self.parameters
        reasons, mode = self.facts.get("supports_reasoning"), self.facts.get("mode")
        if reasons is not None and reasons.value:
            # LiteLLM alone refuses it, whatever model_info says (litellm_seams/reasoning_effort.py).
            return {"allowed_openai_params": Fact(["reasoning_effort"], reasons.source)}
        if self.container is not None and self.container.value == "tei" and mode is not None:
            return {"aws_sagemaker_embedding_format": Fact("huggingface", self.container.source)}
        return {}


def proxy_config(
    models: Mapping[Target, Served],
    left_out: Mapping[Target, str] | None = None,
    *,
    region: str | None,
    profile: str | None = None,
    wait: float = 0,
    model_name: str = "",
    for_agents: bool = False,
) -> str:
    """The configuration, as YAML.

    Args:
        models: what the proxy serves, and how.
        left_out: what only a comment names, and why.
        region: the endpoints' region. None: the proxy reads ``AWS_REGION``.
        profile: a profile of the AWS configuration. None: the default AWS chain.
        wait: seconds that a call waits for a component that is scaled to zero.
        model_name: the ``hf_model_name`` of each. Empty: none.
        for_agents: what coding agents send, and a model cannot do, is left out.
    """
    names = model_names(models)
    deployments = "\n".join(
        _deployment(names[target], target, served, wait, model_name) for target, served in models.items()
    )
    embeddings = "" if all("mode" in served.facts for served in models.values()) else _HOW_TO_SAY_EMBEDDINGS
    others = "".join(f"#   sagemaker_openai/{target}: {state}\n" for target, state in (left_out or {}).items())
    comments = f"# Left out, by their state when this was written:\n{others}" if others else ""
    export_region = "" if region else "#   export AWS_REGION=us-west-2       # where the endpoints are\n"
    use_profile = f"\n      aws_profile_name: {_quoted(profile)}" if profile else ""
    return f"""\
# LiteLLM's proxy before SageMaker endpoints. Start it:
#
#   pip install '.[proxy]'            # in a clone of litellm-sagemaker-openai
#   export LITELLM_MASTER_KEY="sk-$(python3 -c 'import secrets; print(secrets.token_hex(32))')"  # callers' API key
{export_region}#   litellm --config proxy_config.yaml
#
# AWS credentials come from where boto3 finds them. They need sagemaker:InvokeEndpoint and
# sagemaker:CallWithBearerToken.

model_list:
{deployments}
{embeddings}{comments}
# Region and credentials of the models, in one place.
credential_list:
  - credential_name: sagemaker
    credential_info: {{}} # must be there
    credential_values:
      aws_region_name: {region or "os.environ/AWS_REGION"}{use_profile}

litellm_settings:
  # Brings sagemaker_openai/ to LiteLLM.
  custom_provider_map:
    - provider: sagemaker_openai
      custom_handler: litellm_sagemaker_openai.sagemaker_openai
{_FOR_AGENTS if for_agents else ""}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  trusted_proxy_ranges: [] # the addresses (CIDR) of load balancers before this proxy
"""


def _quoted(text: str) -> str:
    """The text as a YAML string in ASCII, which is read alike in any encoding."""
    return json.dumps(text, ensure_ascii=False).encode("ascii", "backslashreplace").decode()


# As in proxy_config.yaml: SageMaker ends a whole answer after 60 seconds, and LiteLLM waits 6000 by default.
_LIMITS = """
      timeout: 65 # seconds
      stream_timeout: 120 # the longest silence of a stream"""
_ASYNCHRONOUS = """
      aws_sagemaker_async: true # it takes nothing else"""


# Measured in tests/commands/test_serve.py.
_FOR_AGENTS = """\
  # Coding agents ask each model for reasoning. LiteLLM refuses that for a model that is not known to reason; with this
  # it leaves it out there. A model with reasoning_effort in its allowed_openai_params still gets it.
  drop_params: true

router_settings:
  # The clients retry, and there is nothing else to ask.
  num_retries: 0
  disable_cooldowns: true
"""
_HOW_TO_SAY_EMBEDDINGS = """\
# For a model that makes embeddings and has no mode here, add after its litellm_params:
#   model_info:
#     mode: embedding
"""


def _deployment(name: str, target: Target, served: Served, wait: float, model_name: str) -> str:
    needed = f"\n{fact_lines(served.needed, 6)}" if served.needed else ""
    limits = _ASYNCHRONOUS if served.asynchronous else _LIMITS
    if wait and not served.asynchronous:
        limits += f"\n      aws_sagemaker_cold_start_timeout: {wait:g} # seconds, for a component scaled to zero"
    if model_name:
        limits += f"\n      hf_model_name: {_quoted(model_name)} # the only name that the container answers to"
    model_info = "".join(f"\n{line}" for line in model_info_lines(served.facts, 4).splitlines())
    return f"""\
  - model_name: {json.dumps(name)} # what callers ask for
    litellm_params:
      model: sagemaker_openai/{target}
      litellm_credential_name: sagemaker{limits}{needed}{model_info}"""


def model_names(targets: Iterable[Target]) -> dict[Target, str]:
    """The names that callers ask for: the component's or the endpoint's; ``<endpoint>/<component>`` where another model
    has that name too."""
    short = {target: target.component or target.endpoint for target in targets}
    times = Counter(short.values())
    return {target: name if times[name] == 1 else str(target) for target, name in short.items()}
