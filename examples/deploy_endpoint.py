"""Deploy a model to SageMaker in AWS's vLLM container, and delete it again.

    pip install .
    export SAGEMAKER_ROLE=arn:aws:iam::123456789012:role/SageMakerExecutionRole
    python examples/deploy_endpoint.py my-endpoint --model Qwen/Qwen3-4B
    python examples/deploy_endpoint.py my-endpoint --delete

It makes what AWS's announcement of the OpenAI-compatible endpoints makes:
https://aws.amazon.com/blogs/machine-learning/announcing-openai-compatible-api-support-for-amazon-sagemaker-ai-endpoints
Everything that it makes has a tag with the endpoint's name, and ``--delete`` deletes what has that tag.

The model string, and what ``--dry-run`` prints, go to stdout; everything else goes to stderr.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import click
from botocore import xform_name
from botocore.exceptions import ClientError
from rich.console import Console

from litellm_sagemaker_openai.aws import control_plane
from litellm_sagemaker_openai.commands.common import aws_options, console, expected_failures, resolve_region
from litellm_sagemaker_openai.target import NAME_RULE, is_name

# The announcement's image and instance type (one L4 GPU, 24 GB). AWS has its Deep Learning Containers under this
# account in these regions, and under others elsewhere: docs/reference/region_availability.md in
# https://github.com/aws/deep-learning-containers, whose docs/src/data/vllm lists the tags.
IMAGE_TAG = "0.20.2-gpu-py312-cu130-ubuntu22.04-sagemaker"
IMAGE_ACCOUNT = "763104351884"
# fmt: off
IMAGE_REGIONS = frozenset((
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-central-1", "eu-north-1",
    "eu-west-1", "eu-west-2", "eu-west-3", "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1",
    "ap-southeast-2",
))
# fmt: on
IMAGES_URL = "https://aws.github.io/deep-learning-containers/reference/region_availability/"
INSTANCE_TYPE = "ml.g6.2xlarge"

# The announcement leaves the instances' AMI to SageMaker. The containers' documentation says that its drivers are too
# old for CUDA 13 (docs/vllm/deployment/sagemaker.md there); AWS's tests take these (test/test_utils/constants.py). On
# the newer one, an image with CUDA 12 stays in Creating and logs nothing (pull request 6187 there).
AMI_CUDA_12 = "al2-ami-sagemaker-inference-gpu-3-1"
AMI_CUDA_13 = "al2023-ami-sagemaker-inference-gpu-4-1"

# What a component reserves of its instance beside GPUs, as in the announcement.
COMPONENT_MEMORY_MB = 1024
COMPONENT_CPU_CORES = 2

VARIANT = "AllTraffic"  # as SageMaker's SDK names an only variant
TAG = "litellm-sagemaker-openai:endpoint"
STARTUP_SECONDS = 1800  # to download and load a model of some 100 GB; SageMaker takes 60 to 3600
LONGEST_WAIT_MINUTES = 60  # botocore's own limit: 120 looks, 30 s apart
# SageMaker deletes nothing that is in one of these: `Cannot update in-progress endpoint`.
BUSY = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
SECRET = "HF_TOKEN"  # the Hugging Face library's name for its token
ROLE_ARN = re.compile(r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")  # botocore's model, RoleArn

Described = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What to deploy, checked."""

    endpoint: str
    component: str | None
    model: str
    role: str
    image: str
    instance_type: str
    instances: int
    copies: int
    gpus: int
    environment: Mapping[str, str] = field(repr=False)


class Resource(NamedTuple):
    """Something at SageMaker. ``kind`` is what its operations call it, such as ``InferenceComponent``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{xform_name(self.kind).replace('_', ' ')} {self.name}"

    def request(self, verb: str) -> Request:
        return Request(f"{verb}{self.kind}", {f"{self.kind}Name": self.name})


class Request(NamedTuple):
    """One of SageMaker's operations, such as ``CreateModel``, and what to send."""

    operation: str
    parameters: dict[str, Any]

    @property
    def resource(self) -> Resource:
        """What a Create makes."""
        kind = self.operation.removeprefix("Create")
        return Resource(kind, self.parameters[f"{kind}Name"])


# What is sent


def requests_of(deployment: Deployment, host: Described | None = None) -> list[Request]:
    """What creates it, in order. ``host`` is what DescribeEndpoint says of an endpoint that a component is added to."""
    tags = [{"Key": TAG, "Value": deployment.endpoint}]
    model = model_name(deployment.endpoint, deployment.component)
    container: dict[str, Any] = {"Image": deployment.image, "Environment": dict(deployment.environment)}
    if deployment.model.startswith("s3://"):
        container["ModelDataSource"] = {"S3DataSource": model_data(deployment.model)}
    timeouts = {
        "ModelDataDownloadTimeoutInSeconds": STARTUP_SECONDS,
        "ContainerStartupHealthCheckTimeoutInSeconds": STARTUP_SECONDS,
    }
    variant: dict[str, Any] = {
        "VariantName": VARIANT,
        "InstanceType": deployment.instance_type,
        "InitialInstanceCount": deployment.instances,
        "InferenceAmiVersion": ami_for(deployment.image),
    }
    config: dict[str, Any] = {"EndpointConfigName": deployment.endpoint, "ProductionVariants": [variant], "Tags": tags}
    if deployment.component is None:
        variant |= {"ModelName": model, **timeouts}
    else:  # the model belongs to the component then, and the role to the endpoint
        config["ExecutionRoleArn"] = deployment.role
    requests = [
        Request(
            "CreateModel",
            {"ModelName": model, "ExecutionRoleArn": deployment.role, "PrimaryContainer": container, "Tags": tags},
        )
    ]
    if host is None:
        name = deployment.endpoint
        requests += [
            Request("CreateEndpointConfig", config),
            Request("CreateEndpoint", {"EndpointName": name, "EndpointConfigName": name, "Tags": tags}),
        ]
    if deployment.component is not None:
        component = {
            "InferenceComponentName": deployment.component,
            "EndpointName": deployment.endpoint,
            "VariantName": VARIANT if host is None else host["ProductionVariants"][0]["VariantName"],
            "Specification": {
                "ModelName": model,
                "StartupParameters": timeouts,
                "ComputeResourceRequirements": {
                    "MinMemoryRequiredInMb": COMPONENT_MEMORY_MB,
                    "NumberOfCpuCoresRequired": COMPONENT_CPU_CORES,
                    "NumberOfAcceleratorDevicesRequired": deployment.gpus,
                },
            },
            "RuntimeConfig": {"CopyCount": deployment.copies},
            "Tags": tags,
        }
        requests.append(Request("CreateInferenceComponent", component))
    return requests


def environment_of(model: str, gpus: int, more: Mapping[str, str], token: str | None) -> dict[str, str]:
    """The container's: ``SM_VLLM_SOME_NAME=value`` becomes vLLM's ``--some-name value``."""
    return {
        # SageMaker puts model artifacts there (docs/vllm/deployment/sagemaker.md).
        "SM_VLLM_MODEL": "/opt/ml/model" if model.startswith("s3://") else model,
        "SM_VLLM_TENSOR_PARALLEL_SIZE": str(gpus),
        "SAGEMAKER_ENABLE_LOAD_AWARE": "1",  # as in the announcement
        **({SECRET: token} if token and not model.startswith("s3://") else {}),
        **more,
    }


def model_data(url: str) -> dict[str, str]:
    """Model artifacts as SageMaker wants them described: an archive, or all files under a prefix."""
    if url.endswith(".tar.gz"):
        return {"S3Uri": url, "S3DataType": "S3Object", "CompressionType": "Gzip"}
    return {"S3Uri": url, "S3DataType": "S3Prefix", "CompressionType": "None"}


def model_name(endpoint: str, component: str | None) -> str:
    return endpoint if component is None else f"{endpoint}-{component}"


def default_image(region: str) -> str:
    """
    Raises:
        click.UsageError: AWS has its containers under another account there.
    """
    if region not in IMAGE_REGIONS:
        raise click.UsageError(f"no default image for {region}: give --image, with the account of {IMAGES_URL}")
    return f"{IMAGE_ACCOUNT}.dkr.ecr.{region}.amazonaws.com/vllm:{IMAGE_TAG}"


def ami_for(image: str) -> str:
    """The AMI with the drivers of the image's CUDA, which AWS's tags name as ``cu129`` or ``cu130``."""
    return AMI_CUDA_12 if re.search(r"\bcu12\d\b", image) else AMI_CUDA_13


# What is said


def delete_command(endpoint: str, region: str, profile: str | None, component: str | None) -> str:
    """Deletes one component, or for None the endpoint and all that belongs to it."""
    words = ["python", "examples/deploy_endpoint.py", endpoint, *(["--component", component] if component else [])]
    return shlex.join([*words, "--delete", "--region", region, *(["--profile", profile] if profile else [])])


def advice(message: str, deployment: Deployment, region: str) -> str:
    """What to do about a refusal or a failure, in SageMaker's words, that people meet."""
    if "ResourceLimitExceeded" in message:
        return (
            f"\nAsk for a higher quota of {deployment.instance_type} for endpoint usage: "
            f"https://{region}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"
        )
    if "InsufficientInstanceCapacity" in message:
        return f"\nAWS has none free in {region}: try later, another --instance-type or another --region."
    if "health check" in message:
        group = "InferenceComponents" if deployment.component else "Endpoints"
        group = f"/aws/sagemaker/{group}/{deployment.component or deployment.endpoint}"
        return (
            f"\nThe container's log is in CloudWatch, {group}. It did not start: often the model does "
            f"not fit into the GPU's memory (--instance-type, --gpus, --env SM_VLLM_MAX_MODEL_LEN=…), or it is gated "
            f"and {SECRET} is not set."
        )
    return ""


def without_secret(text: str) -> str:
    """SageMaker may repeat what it refuses."""
    secret = os.environ.get(SECRET)
    return text.replace(secret, "***") if secret else text


def say(to: Console, text: str) -> None:
    """As it is, without wrapping or markup: a command can be copied."""
    to.print(text, markup=False, emoji=False, soft_wrap=True)


# What is done


def call(client: Any, request: Request) -> Any:
    return getattr(client, xform_name(request.operation))(**request.parameters)


def is_missing(error: ClientError) -> bool:
    """SageMaker has one exception for whatever is wrong with a request; its message begins like this for each kind."""
    return str(error.response.get("Error", {}).get("Message", "")).startswith("Could not find")


def describe(client: Any, resource: Resource) -> Described | None:
    """What SageMaker says of it, or None where there is none."""
    try:
        described: Described = call(client, resource.request("Describe"))
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return described


def status_of(resource: Resource, described: Described | None) -> str | None:
    """Models and endpoint configurations have none."""
    return None if described is None else described.get(f"{resource.kind}Status")


@dataclass(frozen=True, slots=True)
class Watcher:
    """Looks at resources every ``poll`` seconds, and says on ``out`` what it sees."""

    client: Any
    out: Console
    poll: float

    def wait(self, resource: Resource, until: Callable[[Described | None], bool]) -> Described | None:
        """What SageMaker says of a resource, as soon as that is what is waited for.

        Raises:
            click.ClickException: it is not after an hour.
        """
        start, said = time.monotonic(), ""
        with self.out.status(str(resource)) as spinner:  # in a terminal; in a pipe there are only the lines
            while True:
                described = describe(self.client, resource)
                status = "deleted" if described is None else status_of(resource, described) or "created"
                if status != said:
                    said = status
                    say(self.out, f"{resource}: {status}")
                if until(described):
                    return described
                minutes, seconds = divmod(int(time.monotonic() - start), 60)
                if minutes >= LONGEST_WAIT_MINUTES:
                    raise click.ClickException(
                        f"{resource} is still {status} after {minutes} minutes; SageMaker goes on"
                    )
                spinner.update(f"{resource}: {status} for {minutes}:{seconds:02}")
                time.sleep(self.poll)

    def wait_until_settled(self, resource: Resource) -> Described | None:
        return self.wait(resource, lambda described: status_of(resource, described) not in BUSY)

    def wait_until_in_service(self, resource: Resource) -> None:
        """
        Raises:
            click.ClickException: it is not going to be, with SageMaker's reason.
        """
        described = self.wait_until_settled(resource)
        status = "deleted" if described is None else status_of(resource, described)
        if status not in (None, "InService"):
            reason = (described or {}).get("FailureReason", "SageMaker gives no reason")
            raise click.ClickException(f"{resource}: {status}: {reason}")


def create(watcher: Watcher, deployment: Deployment, delete_it: Callable[[str | None], str]) -> None:
    """Create it and wait until it is in service. Where that fails, say what is left and how to delete it.

    Args:
        watcher: whose client is called.
        deployment: what to create.
        delete_it: the command that deletes one component, or for None the endpoint and all that belongs to it.

    Raises:
        click.ClickException: one of its names is taken, or SageMaker could not start it.
    """
    client, endpoint, made = watcher.client, Resource("Endpoint", deployment.endpoint), list[Resource]()
    host = describe(client, endpoint) if deployment.component else None
    requests = requests_of(deployment, host)
    command = delete_it(None if host is None else deployment.component)
    for request in reversed(requests):
        if describe(client, request.resource) is not None:
            raise click.ClickException(
                f"{request.resource} exists already. Take another name, or delete it first:\n  {command}"
            )
    if SECRET in deployment.environment:
        say(watcher.out, f"{SECRET} goes into the container's environment, where sagemaker:DescribeModel shows it.")
    if host is not None:
        watcher.wait_until_in_service(endpoint)
    try:
        for request in requests:
            made.append(request.resource)  # before it is asked for: it may be there although the answer is lost
            try:
                call(client, request)
            except ClientError as error:
                if "already existing" not in str(error):  # so botocore asked again, after an answer that was lost
                    made.pop()
                raise
            if request.resource == endpoint:
                price = (
                    f"{deployment.instances} x {deployment.instance_type}: costs by the hour from now on, used or not"
                )
                say(watcher.out, f"{price}. Delete it:\n  {command}")
            watcher.wait_until_in_service(request.resource)
    except (Exception, KeyboardInterrupt) as error:
        if made:
            goes_on = "Stopped; SageMaker goes on. " if isinstance(error, KeyboardInterrupt) else ""
            say(watcher.out, f"{goes_on}Made so far: {', '.join(map(str, made))}. Delete it:\n  {command}")
        raise


def targets_of(client: Any, endpoint: str, component: str | None, force: bool) -> list[Resource]:
    """What there is to delete, in the order in which SageMaker lets it go.

    Args:
        client: of SageMaker's control plane.
        endpoint: all that belongs to it.
        component: this one alone, with its model.
        force: whether a component, an endpoint and its configuration that something else made may go, too. Models
            are found by their names, so what something else made stays; a model costs nothing.

    Raises:
        click.ClickException: something else made one of them.
    """
    host = Resource("Endpoint", endpoint)
    if component is not None:
        named = [Resource("InferenceComponent", component)]
        models = [Resource("Model", model_name(endpoint, component))]
    else:
        named = [*components_on(client, host), host, Resource("EndpointConfig", endpoint)]
        pages = client.get_paginator("list_models").paginate(NameContains=endpoint)
        models = [Resource("Model", each["ModelName"]) for page in pages for each in page["Models"]]
    found = {each: described for each in (*named, *models) if (described := describe(client, each)) is not None}
    for each, described in found.items():
        if (on := described.get("EndpointName", endpoint)) != endpoint:
            raise click.ClickException(f"{each} is on the endpoint {on}, not on {endpoint}")
    tag = {"Key": TAG, "Value": endpoint}
    arns = {each: described[f"{each.kind}Arn"] for each, described in found.items()}
    ours = {each for each, arn in arns.items() if tag in client.list_tags(ResourceArn=arn)["Tags"]}
    others = [each for each in named if each in found and each not in ours]
    if others and not force:
        listed = ", ".join(map(str, others))
        raise click.ClickException(f"something else made this: {listed}. Nothing was deleted; --force deletes it, too")
    return [each for each in found if each in ours or each in others]


def components_on(client: Any, endpoint: Resource) -> list[Resource]:
    """An endpoint's inference components. SageMaker deletes no endpoint that has some."""
    if describe(client, endpoint) is None:
        return []
    pages = client.get_paginator("list_inference_components").paginate(EndpointNameEquals=endpoint.name)
    names = [each["InferenceComponentName"] for page in pages for each in page["InferenceComponents"]]
    return [Resource("InferenceComponent", name) for name in names]


def delete(watcher: Watcher, resource: Resource) -> None:
    """Delete it and wait until it is gone; what is gone already is fine.

    Raises:
        click.ClickException: SageMaker could not.
    """
    described = describe(watcher.client, resource)
    if status_of(resource, described) in BUSY:
        described = watcher.wait_until_settled(resource)
    if described is None:
        return
    before = status_of(resource, described)
    try:
        call(watcher.client, resource.request("Delete"))
    except ClientError as error:
        if not is_missing(error):
            raise
    described = watcher.wait(resource, lambda now: now is None or status_of(resource, now) == "Failed" != before)
    if described is not None:
        raise click.ClickException(f"{resource} was not deleted: {described.get('FailureReason')}")


# The command


@contextmanager
def failures(deployment: Deployment | None = None, region: str = "") -> Iterator[None]:
    """What SageMaker refuses, said without a traceback and with what to do about it."""
    try:
        with expected_failures():
            yield
    except click.ClickException as error:
        more = advice(error.message, deployment, region) if deployment else ""
        raise click.ClickException(without_secret(error.message) + more) from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(128 + signal.SIGINT) from None


def checked_names(endpoint: str, component: str | None) -> None:
    """
    Raises:
        click.UsageError: SageMaker would not take them.
    """
    for name, kind in ((endpoint, "endpoint"), (component, "inference component")):
        if name is not None and not is_name(name):
            raise click.UsageError(f"{name!r} is not the name of an {kind}: {NAME_RULE}")
    if not is_name(model_name(endpoint, component)):
        raise click.UsageError(f"{model_name(endpoint, component)} is too long for the model's name: {NAME_RULE}")


def checked_model(model: str | None) -> str:
    """
    Raises:
        click.UsageError: none, or neither a Hugging Face id nor a place in S3.
    """
    if model and re.fullmatch(r"[\w.-]+(/[\w.-]+)?|s3://[^/\s]+/(\S*/|\S+\.tar\.gz)?", model):
        return model
    raise click.UsageError(
        "--model must be a Hugging Face id such as Qwen/Qwen3-4B, s3://bucket/prefix/ with a slash at its end, "
        f"or s3://bucket/model.tar.gz{f', not {model}' if model else ''}"
    )


def checked_role(role: str | None) -> str:
    """
    Raises:
        click.UsageError: none, or not a role's ARN.
    """
    if role and ROLE_ARN.fullmatch(role):
        return role
    raise click.UsageError(
        "--role or SAGEMAKER_ROLE must be the execution role's ARN, "
        f"such as arn:aws:iam::123456789012:role/SageMakerExecutionRole{f', not {role}' if role else ''}"
    )


def checked_environment(pairs: tuple[str, ...]) -> dict[str, str]:
    """
    Raises:
        click.UsageError: something that is not NAME=VALUE, or a secret.
    """
    for pair in pairs:
        if pair.startswith(f"{SECRET}="):
            raise click.UsageError(f"{SECRET} does not belong on a command line: export it, and leave it out of --env")
        if not re.match(r"[a-zA-Z_][a-zA-Z0-9_]*=", pair):
            raise click.UsageError(f"--env {pair} must be NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("endpoint")
@click.option("--model", help="A Hugging Face id such as Qwen/Qwen3-4B, s3://…/ or s3://….tar.gz.")
@click.option("--component", metavar="NAME", help="As an inference component, on a new endpoint or one that exists.")
@click.option("--role", envvar="SAGEMAKER_ROLE", metavar="ARN", help="The execution role.  [default: SAGEMAKER_ROLE]")
@click.option("--instance-type", default=INSTANCE_TYPE, show_default=True, metavar="TYPE", help="Of a new endpoint.")
@click.option("--instances", default=1, show_default=True, type=click.IntRange(1), help="Of a new endpoint.")
@click.option("--gpus", default=1, show_default=True, type=click.IntRange(1), help="For one copy of the model.")
@click.option("--copies", default=1, show_default=True, type=click.IntRange(1), help="Of an inference component.")
@click.option("--image", metavar="URI", help=f"The container.  [default: AWS's vllm:{IMAGE_TAG}]")
@click.option(
    "--env",
    multiple=True,
    metavar="NAME=VALUE",
    help="For the container; may be repeated. SM_VLLM_MAX_MODEL_LEN=8192 is vLLM's --max-model-len 8192.",
)
@aws_options
@click.option("--delete", "deletes", is_flag=True, help="Delete what was made for ENDPOINT, or for its --component.")
@click.option("--force", is_flag=True, help="With --delete: what something else made, too.")
@click.option("--dry-run", is_flag=True, help="Print the requests as JSON and change nothing.")
@click.option("--poll", default=15.0, show_default=True, type=click.FloatRange(0), help="Seconds between two looks.")
def main(
    endpoint: str,
    model: str | None,
    component: str | None,
    role: str | None,
    instance_type: str,
    instances: int,
    gpus: int,
    copies: int,
    image: str | None,
    env: tuple[str, ...],
    region: str | None,
    profile: str | None,
    deletes: bool,
    force: bool,
    dry_run: bool,
    poll: float,
) -> None:
    """Deploy a model to SageMaker as ENDPOINT, or delete it.

    The instances cost by the hour until they are deleted. HF_TOKEN, for a gated model, goes into the container's
    environment, where whoever may call sagemaker:DescribeModel can read it.

    Exit status: 0 done, 1 refused or failed, 2 a mistake in the command, 130 stopped with Ctrl+C.
    """
    checked_names(endpoint, component)
    if force and not deletes:
        raise click.UsageError("--force goes with --delete")
    with failures():
        region, _ = resolve_region(region, profile)
    delete_it = partial(delete_command, endpoint, region, profile)
    if deletes:
        with failures():
            watcher = Watcher(control_plane.client(region, profile), console(stderr=True), poll)
            delete_all(watcher, endpoint, component, force, dry_run, delete_it)
        return
    token = "***" if dry_run and os.environ.get(SECRET) else os.environ.get(SECRET)
    model, role, more = checked_model(model), checked_role(role), checked_environment(env)
    deployment = Deployment(
        endpoint=endpoint,
        component=component,
        model=model,
        role=role,
        image=image or default_image(region),
        instance_type=instance_type,
        instances=instances,
        copies=copies,
        gpus=gpus,
        environment=environment_of(model, gpus, more, token),
    )
    if dry_run:
        show(requests_of(deployment))
        return
    with failures(deployment, region):
        create(Watcher(control_plane.client(region, profile), console(stderr=True), poll), deployment, delete_it)
    click.echo("/".join(filter(None, ("sagemaker_openai", endpoint, component))))


def delete_all(
    watcher: Watcher,
    endpoint: str,
    component: str | None,
    force: bool,
    dry_run: bool,
    delete_it: Callable[[str | None], str],
) -> None:
    targets = targets_of(watcher.client, endpoint, component, force)
    if dry_run:
        show([each.request("Delete") for each in targets])
        return
    try:
        for each in targets:
            delete(watcher, each)
    except KeyboardInterrupt:
        say(watcher.out, f"Stopped; what was asked for goes on. Delete the rest:\n  {delete_it(component)}")
        raise
    if not targets:
        say(watcher.out, f"Nothing of {model_name(endpoint, component)} is left in {watcher.client.meta.region_name}.")
    elif component:
        say(watcher.out, f"The endpoint goes on costing by the hour. Delete it:\n  {delete_it(None)}")


def show(requests: list[Request]) -> None:
    click.echo(json.dumps([{request.operation: request.parameters} for request in requests], indent=2))


if __name__ == "__main__":
    main()
