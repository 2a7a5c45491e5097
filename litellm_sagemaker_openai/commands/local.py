"""``local``: a SageMaker runtime on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from litellm_sagemaker_openai.aws.region import REGION_VARIABLES, region_in
from litellm_sagemaker_openai.local import DEFAULT_CONTEXT_LENGTH
from litellm_sagemaker_openai.local.routing import (
    DEFAULT_CONCURRENCY_THRESHOLD,
    DEFAULT_PREFIX_LENGTH,
    PREFIX_AWARE,
    RANDOM,
    STRATEGIES,
    Instances,
)
from litellm_sagemaker_openai.target import NAME_RULE, is_name

if TYPE_CHECKING:
    from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials

_DEFAULT_REGION = "us-west-2"
_DEFAULT_ENDPOINT = "my-endpoint"


@click.command()
@click.argument("names", metavar="[ENDPOINT[/COMPONENT]]...", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: any free one.")
@click.option(
    "--upstream", metavar="URL", help="Answer with this OpenAI-compatible server, such as http://127.0.0.1:8000/v1."
)
@click.option(
    "--script",
    "script_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Answer with the turns, tool calls too, that this YAML file has.",
)
@click.option(
    "--cold-start",
    metavar="SECONDS",
    default=0.0,
    type=click.FloatRange(0),
    help="Begin at zero: no capacity until SECONDS after the first request.",
)
@click.option(
    "--answer-limit",
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="End a whole answer of the upstream's, and the wait for a stream's first byte, after SECONDS.",
)
@click.option(
    "--stream-limit",
    metavar="SECONDS",
    default=480.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="End a stream of the upstream's after SECONDS.",
)
@click.option(
    "--context-length",
    metavar="TOKENS",
    default=DEFAULT_CONTEXT_LENGTH,
    show_default=True,
    type=click.IntRange(1),
    help="How many TOKENS prompt and answer of the echo container may have together.",
)
@click.option(
    "--sessions",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Let the echo container keep stateful sessions, each for SECONDS.  [default: it keeps none]",
)
@click.option(
    "--instances",
    metavar="N",
    type=click.IntRange(1, 100),
    help="Play N instances of each endpoint and component, each with a prefix cache; a header says which one answered.",
)
@click.option("--routing", type=click.Choice(STRATEGIES), help="How they are chosen.  [default: random]")
@click.option(
    "--prefix-length",
    metavar="N",
    type=click.IntRange(1024, 65_536),
    help=f"With --routing {PREFIX_AWARE}: characters of the messages to compare.  [default: {DEFAULT_PREFIX_LENGTH}]",
)
@click.option(
    "--concurrency-threshold",
    metavar="N",
    type=click.IntRange(1, 1024),
    help=f"With --routing {PREFIX_AWARE}: requests in flight on an instance before another one is taken.  "
    f"[default: {DEFAULT_CONCURRENCY_THRESHOLD}]",
)
@click.option("--region", help=f"The region to play.  [default: {', '.join(REGION_VARIABLES)}, {_DEFAULT_REGION}]")
def local(
    names: tuple[str, ...],
    host: str,
    port: int,
    upstream: str | None,
    script_file: Path | None,
    cold_start: float,
    answer_limit: float,
    stream_limit: float,
    context_length: int,
    sessions: float | None,
    instances: int | None,
    routing: str | None,
    prefix_length: int | None,
    concurrency_threshold: int | None,
    region: str | None,
) -> None:
    """Run a SageMaker runtime on this machine.

    It serves /openai/v1 for each ENDPOINT and ENDPOINT/COMPONENT named (none: my-endpoint), checks bearer
    tokens as AWS does, against AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (made-up ones where
    these are not set), and answers with a built-in echo container, the turns of a --script or the --upstream server.
    """
    endpoints = _endpoints(names or (_DEFAULT_ENDPOINT,))
    region, _ = (region, "") if region else region_in(os.environ) or (_DEFAULT_REGION, "")
    if upstream is not None and not re.match(r"https?://[^/]", upstream):
        raise click.BadParameter("must begin with http:// or https://", param_hint="--upstream")
    if upstream is not None and script_file is not None:
        raise click.UsageError("--script is played by the built-in container; leave out --script or --upstream")
    if upstream is not None and instances is not None:
        raise click.UsageError("--instances plays the built-in container; leave out --instances or --upstream")
    played = _instances(instances, routing, prefix_length, concurrency_threshold)
    credentials, exports = _credentials(os.environ)
    try:
        from litellm_sagemaker_openai.local.echo import EchoConfig
        from litellm_sagemaker_openai.local.runtime import RuntimeConfig
        from litellm_sagemaker_openai.local.script import ScriptError, read_script
        from litellm_sagemaker_openai.local.server import listen, serve_forever, url_of

        script = read_script(script_file.read_bytes(), str(script_file)) if script_file else None
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("starlette", "uvicorn", "yaml"):
            raise
        raise click.ClickException(
            f"{error.name} is missing; install it with: pip install 'litellm-sagemaker-openai[proxy]'"
        ) from error
    except ScriptError as error:
        raise click.BadParameter(str(error), param_hint="--script") from error
    try:
        listener = listen(host, port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from error
    config = RuntimeConfig(
        endpoints,
        credentials,
        region,
        upstream=upstream,
        cold_start=cold_start,
        answer_seconds=answer_limit,
        stream_seconds=stream_limit,
        echo=EchoConfig(context_length=context_length, script=script),
        sessions=sessions,
        instances=played,
        remembered=0,
    )
    exports = [f"export AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME={url_of(listener)}", f"export AWS_REGION={region}", *exports]
    with suppress(KeyboardInterrupt):
        container = f"a script ({script_file})" if script_file else "an echo container (no model)"
        if played is not None:
            container += f", {played.count} instances of each, routing: {played.strategy}"
        _announce(endpoints, upstream or container, exports)
        serve_forever(config, listener)


def _announce(endpoints: Mapping[str, tuple[str, ...]], container: str, exports: list[str]) -> None:
    """Print what is served, and what to paste into another shell; all of it together is a shell script."""
    models = [f"{endpoint}/{name}" for endpoint, names in endpoints.items() for name in names]
    models += [endpoint for endpoint, names in endpoints.items() if not names]
    click.echo(f"# A SageMaker runtime on this machine, before {container}. It serves:")
    click.echo("\n".join(f"#   sagemaker_openai/{model}" for model in models))
    click.echo("# In another terminal:")
    click.echo("\n".join(exports))
    click.echo("# Ready. Press Ctrl+C to stop.")


def _endpoints(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Endpoint → its components, ``()`` for one that serves a model itself."""
    components: dict[str, tuple[str, ...]] = {}
    for name in names:
        parts = name.split("/")
        if len(parts) > 2 or not all(map(is_name, parts)):
            raise click.BadParameter(
                f"{name!r} must be ENDPOINT or ENDPOINT/COMPONENT, each of {NAME_RULE}",
                param_hint="ENDPOINT",
            )
        endpoint, component = parts[0], tuple(parts[1:])
        if endpoint in components and bool(components[endpoint]) != bool(component):
            raise click.BadParameter(
                f"{endpoint!r} is named with and without a component; at AWS an endpoint that has components "
                "serves nothing without one",
                param_hint="ENDPOINT",
            )
        components[endpoint] = tuple(dict.fromkeys((*components.get(endpoint, ()), *component)))
    return components


def _instances(
    count: int | None, strategy: str | None, prefix_length: int | None, concurrency_threshold: int | None
) -> Instances | None:
    numbers = {"--prefix-length": prefix_length, "--concurrency-threshold": concurrency_threshold}
    for name, value in numbers.items():
        if value is not None and strategy != PREFIX_AWARE:
            raise click.UsageError(f"{name} goes with --routing {PREFIX_AWARE}")
    if count is None:
        if strategy is not None:
            raise click.UsageError("--routing goes with --instances")
        return None
    return Instances(
        count,
        strategy or RANDOM,
        prefix_length or DEFAULT_PREFIX_LENGTH,
        concurrency_threshold or DEFAULT_CONCURRENCY_THRESHOLD,
    )


def _credentials(environ: Mapping[str, str]) -> tuple[FrozenCredentials, list[str]]:
    """The credentials to check tokens against, and the shell lines that export them where they are made up."""
    from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials

    access_key, secret_key = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if bool(access_key) != bool(secret_key):
        missing = "AWS_SECRET_ACCESS_KEY" if access_key else "AWS_ACCESS_KEY_ID"
        raise click.UsageError(f"{missing} is not set, but its counterpart is; set both or neither")
    if access_key and secret_key:
        return FrozenCredentials(access_key, secret_key, environ.get("AWS_SESSION_TOKEN") or None), []
    made_up = FrozenCredentials("LOCALRUNTIME", "made-up-and-good-for-the-local-runtime-only")
    exports = [
        f"export AWS_ACCESS_KEY_ID={made_up.access_key}",
        f"export AWS_SECRET_ACCESS_KEY={made_up.secret_key}",
        "unset AWS_SESSION_TOKEN",
    ]
    return made_up, exports
