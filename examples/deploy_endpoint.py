"""Deploy a model to SageMaker in one of AWS's containers, and delete it again.

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

import botocore.session
import click
from botocore import xform_name
from botocore.exceptions import ClientError
from click.core import ParameterSource
from rich.console import Console

from litellm_sagemaker_openai.aws import control_plane
from litellm_sagemaker_openai.commands.common import aws_options, console, expected_failures, resolve_region
from litellm_sagemaker_openai.target import NAME_RULE, Target, is_name

INSTANCE_TYPE = "ml.g6.2xlarge"  # the announcement's: one L4 GPU, 24 GB

# AWS's accounts for its images by region, in the partition `aws`: docs/reference/region_availability.md in
# https://github.com/aws/deep-learning-containers, and the same in sagemaker-core 2.27.0 (image_uri_config).
IMAGES_URL = "https://aws.github.io/deep-learning-containers/reference/region_availability/"
DLC_ACCOUNTS = {
    **dict.fromkeys(
        (
            *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-central-1"),
            *("eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "ap-northeast-1", "ap-northeast-2", "ap-south-1"),
            *("ap-southeast-1", "ap-southeast-2"),
        ),
        "763104351884",
    ),
    **{"af-south-1": "626614931356", "ap-east-1": "871362719292", "ap-east-2": "975050140332"},
    **{"ap-northeast-3": "364406365360", "ap-south-2": "772153158452", "ap-southeast-3": "907027046896"},
    **{"ap-southeast-4": "457447274322", "ap-southeast-5": "550225433462", "ap-southeast-6": "633930458069"},
    **{"ap-southeast-7": "590183813437", "ca-west-1": "204538143572", "eu-central-2": "380420809688"},
    **{"eu-south-1": "692866216735", "eu-south-2": "503227376785", "il-central-1": "780543022126"},
    **{"me-central-1": "914824155844", "me-south-1": "217643126080", "mx-central-1": "637423239942"},
}
TEI_ACCOUNTS = {
    **{"us-east-1": "683313688378", "us-east-2": "257758044811", "us-west-1": "746614075791"},
    **{"us-west-2": "246618743249", "ca-central-1": "341280168497", "ca-west-1": "190319476487"},
    **{"sa-east-1": "737474898029", "eu-central-1": "492215442770", "eu-central-2": "680994064768"},
    **{"eu-north-1": "662702820516", "eu-south-1": "978288397137", "eu-south-2": "104374241257"},
    **{"eu-west-1": "141502667606", "eu-west-2": "764974769150", "eu-west-3": "659782779980"},
    **{"ap-east-1": "651117190479", "ap-northeast-1": "354813040037", "ap-northeast-2": "366743142698"},
    **{"ap-northeast-3": "867004704886", "ap-south-1": "720646828776", "ap-south-2": "628508329040"},
    **{"ap-southeast-1": "121021644041", "ap-southeast-2": "783357654285", "ap-southeast-3": "951798379941"},
    **{"ap-southeast-4": "106583098589", "af-south-1": "510948584623", "il-central-1": "898809789911"},
    **{"me-central-1": "272398656194", "me-south-1": "801668240914"},
}


class Container(NamedTuple):
    """One of AWS's containers, and the variables that tell it what to serve.

    Attributes:
        accounts: where its image is, by region.
        model: the variable of the model's id or directory.
        gpus: of the number of GPUs for one copy; None: it uses one.
        context: of the context's length in tokens, for advice; None: it has none.
        more: what else it is given.
        lora: what lets adapters be put on it as inference components; none where AWS documents no way.
        note: what to know before it is called.
    """

    repository: str
    tag: str
    accounts: Mapping[str, str]
    model: str
    gpus: str | None = None
    context: str | None = None
    more: Mapping[str, str] = {}
    lora: Mapping[str, str] = {}
    note: str = ""


# The newest of each. vLLM, SGLang and LMI: sagemaker-core 2.27.0 of 2026-10-21 (image_uri_config/vllm-server.json,
# sglang-server.json and djl-lmi.json); TEI: docs/src/data/huggingface-tei in aws/deep-learning-containers, of 2026-08.
# Of vLLM and SGLang there are Ubuntu images, too, with vLLM's own version in the tag (vllm.json, sglang.json); AWS
# promises no security patches for those, and recommends these on Amazon Linux (README.md there).
CONTAINERS = {
    "vllm": Container(
        "vllm",
        "server-sagemaker-cuda-v2.6",
        DLC_ACCOUNTS,
        model="SM_VLLM_MODEL",
        gpus="SM_VLLM_TENSOR_PARALLEL_SIZE",
        context="SM_VLLM_MAX_MODEL_LEN",
        more={"SAGEMAKER_ENABLE_LOAD_AWARE": "1"},  # as in the announcement
        # docs/sagemaker/05_lora_adapter_management.md in https://github.com/aws/model-hosting-container-standards
        lora={"SM_VLLM_ENABLE_LORA": "true", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"},
    ),
    # Its kernels are built for H100 and Blackwell (docs/sglang/index.md there); AWS tests it on one L4 of an
    # ml.g6.xlarge (test/sglang/sagemaker).
    "sglang": Container(
        "sglang",
        "server-sagemaker-cuda-v1.4",
        DLC_ACCOUNTS,
        model="SM_SGLANG_MODEL_PATH",
        gpus="SM_SGLANG_TP",
        context="SM_SGLANG_CONTEXT_LENGTH",
    ),
    # serving/docs/lmi and serving/docs/adapters.md in https://github.com/deepjavalibrary/djl-serving
    "lmi": Container(
        "djl-inference",
        "0.38.0-lmi29.0.0-cu130",
        DLC_ACCOUNTS,
        model="HF_MODEL_ID",
        gpus="OPTION_TENSOR_PARALLEL_DEGREE",
        context="OPTION_MAX_MODEL_LEN",
        lora={"OPTION_ENABLE_LORA": "true"},
    ),
    "tei": Container(  # docs/tei there
        "tei",
        "2.0.1-tei1.9.3-gpu-py310-cu129-ubuntu24.04",
        TEI_ACCOUNTS,
        model="HF_MODEL_ID",
        note='TEI has no chat. Embeddings go to /invocations, with aws_sagemaker_embedding_format="huggingface".',
    ),
}
MODEL_DIRECTORY = "/opt/ml/model"  # where SageMaker puts model artifacts

# The announcement leaves the instances' AMI to SageMaker. The containers' documentation says that its drivers are too
# old for CUDA 13 (docs/vllm/deployment/sagemaker.md there); AWS's tests take these (test/test_utils/constants.py). On
# the newer one, an image with CUDA 12 stays in Creating and logs nothing (pull request 6187 there).
AMI_CUDA_12 = "al2-ami-sagemaker-inference-gpu-3-1"
AMI_CUDA_13 = "al2023-ami-sagemaker-inference-gpu-4-1"

# What a component reserves of its instance beside GPUs, as in the announcement.
COMPONENT_MEMORY_MB = 1024
COMPONENT_CPU_CORES = 2

# `--routing prefix-aware` needs both numbers. These are AWS's example's: 03-features/prefix-aware-routing/README.md in
# https://github.com/aws-samples/sagemaker-genai-hosting-examples
PREFIX_AWARE = "prefix-aware"
PREFIX_LENGTH = 1024
CONCURRENCY_THRESHOLD = 10

VARIANT = "AllTraffic"  # as SageMaker's SDK names an only variant
TAG = "litellm-sagemaker-openai:endpoint"
RUN_TAG = "litellm-sagemaker-openai:run"  # beside it, where a program deletes what it made itself, and that alone
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
    routing: Mapping[str, Any] | None = None
    context: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter to put on an endpoint, checked. ``artifact`` is its archive in S3."""

    endpoint: str
    component: str
    artifact: str


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
    tags = tags_of(deployment.endpoint, deployment.run)
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
    if deployment.routing is not None:
        variant["RoutingConfig"] = dict(deployment.routing)
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


def adapter_request(adapter: Adapter, base: str) -> Request:
    """What puts an adapter on a base component: it has neither a model nor resources of its own."""
    return Request(
        "CreateInferenceComponent",
        {
            "InferenceComponentName": adapter.component,
            "EndpointName": adapter.endpoint,
            "Specification": {"BaseInferenceComponentName": base, "Container": {"ArtifactUrl": adapter.artifact}},
            "Tags": tags_of(adapter.endpoint),
        },
    )


def tags_of(endpoint: str, run: str | None = None) -> list[dict[str, str]]:
    """By which it is known what was made for an endpoint, and in which run of a program that deletes it again."""
    tags = {TAG: endpoint, **({RUN_TAG: run} if run else {})}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def environment_of(
    container: Container, model: str, gpus: int, more: Mapping[str, str], token: str | None, *, lora: bool = False
) -> dict[str, str]:
    """The container's: of vLLM's, ``SM_VLLM_SOME_NAME=value`` becomes ``--some-name value``."""
    from_s3 = model.startswith("s3://")
    return {
        container.model: MODEL_DIRECTORY if from_s3 else model,
        **({container.gpus: str(gpus)} if container.gpus else {}),
        **container.more,
        **(container.lora if lora else {}),
        **({SECRET: token} if token and not from_s3 else {}),
        **more,
    }


def model_data(url: str) -> dict[str, str]:
    """Model artifacts as SageMaker wants them described: an archive, or all files under a prefix."""
    if url.endswith(".tar.gz"):
        return {"S3Uri": url, "S3DataType": "S3Object", "CompressionType": "Gzip"}
    return {"S3Uri": url, "S3DataType": "S3Prefix", "CompressionType": "None"}


def model_name(endpoint: str, component: str | None) -> str:
    return endpoint if component is None else f"{endpoint}-{component}"


def default_image(container: Container, region: str) -> str:
    """
    Raises:
        click.UsageError: it is not known where AWS has its image there.
    """
    if region not in container.accounts:
        raise click.UsageError(f"no default image for {region}: give --image, with the account of {IMAGES_URL}")
    account = container.accounts[region]
    return f"{account}.dkr.ecr.{region}.amazonaws.com/{container.repository}:{container.tag}"


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
        ways = ["--instance-type", "--gpus", *([f"--env {deployment.context}=…"] if deployment.context else [])]
        return (
            f"\nThe container's log is in CloudWatch, {group}. It did not start: often the model does "
            f"not fit into the GPU's memory ({', '.join(ways)}), or it is gated and {SECRET} is not set."
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


def deploy(watcher: Watcher, deployment: Deployment, note: str, delete_it: Callable[[str | None], str]) -> None:
    """Create it and wait until it is in service.

    Args:
        watcher: whose client is called.
        deployment: what to create.
        note: what to know before it is called.
        delete_it: the command that deletes one component, or for None the endpoint and all that belongs to it.

    Raises:
        click.ClickException: one of its names is taken, SageMaker could not start it, or it says how an endpoint that
            is there is to be routed.
    """
    endpoint = Resource("Endpoint", deployment.endpoint)
    host = describe(watcher.client, endpoint) if deployment.component else None
    if host is not None and deployment.routing is not None:
        raise click.ClickException(f"--routing is a new endpoint's, and {endpoint} exists already")
    if SECRET in deployment.environment:
        say(watcher.out, f"{SECRET} goes into the container's environment, where sagemaker:DescribeModel shows it.")
    if deployment.routing is not None and deployment.instances == 1:
        say(watcher.out, "--routing chooses among instances, and there is one: see --instances.")
    price = f"{deployment.instances} x {deployment.instance_type}: costs by the hour from now on, used or not"
    command = delete_it(None if host is None else deployment.component)
    create(watcher, requests_of(deployment, host), [] if host is None else [endpoint], command, {endpoint: price})
    if note:
        say(watcher.out, note)


def put_adapter(
    watcher: Watcher, adapter: Adapter, base: str | None, dry_run: bool, delete_it: Callable[[str | None], str]
) -> None:
    """Put an adapter on its base component and wait until it is in service; or, for a dry run, show what would be sent.

    Raises:
        click.ClickException: there is no such base component, the adapter's name is taken, or SageMaker could not
            start it.
    """
    base = base_for(watcher.client, adapter.endpoint, base)
    request = adapter_request(adapter, base)
    if dry_run:
        show([request])
        return
    if control_plane.look_up(watcher.client, Target(adapter.endpoint, base)).settings.lora is None:
        say(watcher.out, f"{base} is not known to be deployed with LoRA on (--lora), which an adapter needs.")
    needed = [Resource("Endpoint", adapter.endpoint), Resource("InferenceComponent", base)]
    create(watcher, [request], needed, delete_it(adapter.component))
    command = ["litellm-sagemaker-openai", "check", f"{adapter.endpoint}/{adapter.component}"]
    say(watcher.out, f"See that it answers itself, and not {base} for it:\n  {shlex.join(command)}")


def create(
    watcher: Watcher,
    requests: list[Request],
    needed: list[Resource],
    command: str,
    prices: Mapping[Resource, str] | None = None,
) -> None:
    """Send the requests, and wait until all is in service. Where that fails, say what is left and how to delete it.

    Args:
        watcher: whose client is called.
        requests: in order.
        needed: what has to be in service before.
        command: deletes what they make.
        prices: what to say of the cost of something as soon as it is asked for.

    Raises:
        click.ClickException: one of its names is taken, or SageMaker could not start it.
    """
    client, made = watcher.client, list[Resource]()
    for request in reversed(requests):
        if describe(client, request.resource) is not None:
            raise click.ClickException(
                f"{request.resource} exists already. Take another name, or delete it first:\n  {command}"
            )
    for resource in needed:
        watcher.wait_until_in_service(resource)
    try:
        for request in requests:
            made.append(request.resource)  # before it is asked for: it may be there although the answer is lost
            try:
                call(client, request)
            except ClientError as error:
                asked_again = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
                if "already existing" not in str(error) or not asked_again:  # where it was, an answer may be lost
                    made.pop()
                raise
            if price := (prices or {}).get(request.resource):
                say(watcher.out, f"{price}. Delete it:\n  {command}")
            watcher.wait_until_in_service(request.resource)
    except (Exception, KeyboardInterrupt) as error:
        if made:
            goes_on = "Stopped; SageMaker goes on. " if isinstance(error, KeyboardInterrupt) else ""
            say(watcher.out, f"{goes_on}Made so far: {', '.join(map(str, made))}. Delete it:\n  {command}")
        raise


def base_for(client: Any, endpoint: str, base: str | None) -> str:
    """The component that an adapter is put on: the one that is named, or the only one that there is.

    Raises:
        click.ClickException: there is none, or several and none is named.
    """
    there = components_on(client, Resource("Endpoint", endpoint))
    bases = [each.name for each, described in there.items() if not base_of(described)]
    if base in bases or (base is None and len(bases) == 1):
        return base or bases[0]
    if not bases:
        raise click.ClickException(
            f"{endpoint} has no inference component to put an adapter on: deploy one, with --component and --lora"
        )
    said = f"{base} is none of them" if base else "name one with --base"
    raise click.ClickException(f"an adapter can stand on {', '.join(bases)}: {said}")


def base_of(component: Described) -> str | None:
    """The component that an adapter stands on; None for others."""
    name: str | None = component.get("Specification", {}).get("BaseInferenceComponentName")
    return name


def targets_of(
    client: Any, endpoint: str, component: str | None, force: bool, run: str | None = None
) -> list[Resource]:
    """What there is to delete, in the order in which SageMaker lets it go.

    Args:
        client: of SageMaker's control plane.
        endpoint: all that belongs to it.
        component: this one alone, with the adapters on it and its model.
        force: whether a component, an endpoint and its configuration that something else made may go, too. Models
            are found by their names, so what something else made stays; a model costs nothing.
        run: only what was made with this ``--run``; what something else made stays.

    Raises:
        click.ClickException: something else made one of them, and no run is named.
    """
    host = Resource("Endpoint", endpoint)
    there = components_on(client, host)
    if component is not None:
        adapters = [each for each, described in there.items() if base_of(described) == component]
        named = [*adapters, Resource("InferenceComponent", component)]
        models = [Resource("Model", model_name(endpoint, component))]
    else:
        named = [*there, host, Resource("EndpointConfig", endpoint)]
        pages = client.get_paginator("list_models").paginate(NameContains=endpoint)
        models = [Resource("Model", each["ModelName"]) for page in pages for each in page["Models"]]
    found = {each: described for each in (*named, *models) if (described := describe(client, each)) is not None}
    for each, described in found.items():
        if (on := described.get("EndpointName", endpoint)) != endpoint:
            raise click.ClickException(f"{each} is on the endpoint {on}, not on {endpoint}")
    wanted = tags_of(endpoint, run)
    arns = {each: described[f"{each.kind}Arn"] for each, described in found.items()}
    tags = {each: client.list_tags(ResourceArn=arn)["Tags"] for each, arn in arns.items()}
    ours = {each for each in found if all(tag in tags[each] for tag in wanted)}
    if run:
        return [each for each in found if each in ours]
    others = [each for each in named if each in found and each not in ours]
    if others and not force:
        listed = ", ".join(map(str, others))
        raise click.ClickException(f"something else made this: {listed}. Nothing was deleted; --force deletes it, too")
    return [each for each in found if each in ours or each in others]


def components_on(client: Any, endpoint: Resource) -> dict[Resource, Described]:
    """An endpoint's inference components, adapters first. SageMaker deletes no endpoint that has some."""
    if describe(client, endpoint) is None:
        return {}
    pages = client.get_paginator("list_inference_components").paginate(EndpointNameEquals=endpoint.name)
    names = [each["InferenceComponentName"] for page in pages for each in page["InferenceComponents"]]
    found = {each: describe(client, each) for each in (Resource("InferenceComponent", name) for name in names)}
    there = {each: described for each, described in found.items() if described is not None}
    return dict(sorted(there.items(), key=lambda item: base_of(item[1]) is None))


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


def checked_names(endpoint: str, component: str | None) -> tuple[str, str | None]:
    """The endpoint's and the component's, which may be given as ``my-gpus/coder``.

    Raises:
        click.UsageError: SageMaker would not take them, or there are two components.
    """
    endpoint, slash, named = endpoint.partition("/")
    if slash and component not in (None, named):
        raise click.UsageError(f"{endpoint}/{named} and --component {component} are two components; give one")
    component = named if slash else component
    for name, kind in ((endpoint, "endpoint"), (component, "inference component")):
        if name is not None and not is_name(name):
            raise click.UsageError(f"{name!r} is not the name of an {kind}: {NAME_RULE}")
    if not is_name(model_name(endpoint, component)):
        raise click.UsageError(f"{model_name(endpoint, component)} is too long for the model's name: {NAME_RULE}")
    return endpoint, component


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


def checked_routing(
    strategy: str | None, prefix_length: int | None, concurrency_threshold: int | None
) -> dict[str, Any] | None:
    """A production variant's RoutingConfig, by botocore's own model of it; None: none is asked for.

    Raises:
        click.UsageError: a number that is not this strategy's or is out of range, or botocore does not know it yet.
    """
    numbers = {"PrefixLength": prefix_length, "ConcurrencyThreshold": concurrency_threshold}
    options = {"PrefixLength": "--prefix-length", "ConcurrencyThreshold": "--concurrency-threshold"}
    if strategy != PREFIX_AWARE:
        for name, number in numbers.items():
            if number is not None:
                raise click.UsageError(f"{options[name]} goes with --routing {PREFIX_AWARE}")
    if strategy is None:
        return None
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("ProductionVariantRoutingConfig")
    config: dict[str, Any] = {"RoutingStrategy": strategy.upper().replace("-", "_")}
    if config["RoutingStrategy"] not in shape.members["RoutingStrategy"].enum:
        raise click.UsageError(
            f"botocore {botocore.__version__} does not know --routing {strategy}: pip install --upgrade boto3"
        )
    if strategy == PREFIX_AWARE:
        defaults = {"PrefixLength": PREFIX_LENGTH, "ConcurrencyThreshold": CONCURRENCY_THRESHOLD}
        config["PrefixAwareRoutingConfig"] = {
            name: defaults[name] if number is None else number for name, number in numbers.items()
        }
        for name, number in config["PrefixAwareRoutingConfig"].items():
            limits = shape.members["PrefixAwareRoutingConfig"].members[name].metadata
            if not limits["min"] <= number <= limits["max"]:
                raise click.UsageError(
                    f"{options[name]} must be {limits['min']:,} to {limits['max']:,}, not {number:,}"
                )
    return config


def checked_adapter(adapter: str) -> str:
    """
    Raises:
        click.UsageError: not an archive in S3.
    """
    if re.fullmatch(r"s3://[^/\s]+/\S+\.tar\.gz", adapter):
        return adapter
    raise click.UsageError(f"--adapter must be s3://bucket/adapter.tar.gz, with the adapter's files, not {adapter}")


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


# What an adapter has from its base component, and where it has no say.
_OF_A_MODEL = (
    *("model", "container", "image", "env", "lora", "gpus", "copies", "instance_type", "instances"),
    *("routing", "prefix_length", "concurrency_threshold"),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("endpoint", metavar="ENDPOINT[/COMPONENT]")
@click.option("--model", help="A Hugging Face id such as Qwen/Qwen3-4B, s3://…/ or s3://….tar.gz.")
@click.option("--component", metavar="NAME", help="As an inference component, on a new endpoint or one that exists.")
@click.option("--adapter", metavar="S3_URI", help="A LoRA adapter, s3://….tar.gz, as a component on another one.")
@click.option("--base", metavar="NAME", help="With --adapter: that component.  [default: the only one]")
@click.option("--role", envvar="SAGEMAKER_ROLE", metavar="ARN", help="The execution role.  [default: SAGEMAKER_ROLE]")
@click.option("--instance-type", default=INSTANCE_TYPE, show_default=True, metavar="TYPE", help="Of a new endpoint.")
@click.option("--instances", default=1, show_default=True, type=click.IntRange(1), help="Of a new endpoint.")
@click.option(
    "--routing",
    type=click.Choice(["random", "least-outstanding-requests", PREFIX_AWARE, "kv-aware"]),
    help="How a new endpoint chooses among its instances.  [default: SageMaker's, random]",
)
@click.option(
    "--prefix-length",
    type=int,
    metavar="N",
    help=f"With --routing {PREFIX_AWARE}: characters of the messages to compare.  [default: {PREFIX_LENGTH}]",
)
@click.option(
    "--concurrency-threshold",
    type=int,
    metavar="N",
    help=f"With it: calls at a time before another instance is taken.  [default: {CONCURRENCY_THRESHOLD}]",
)
@click.option("--gpus", default=1, show_default=True, type=click.IntRange(1), help="For one copy of the model.")
@click.option("--copies", default=1, show_default=True, type=click.IntRange(1), help="Of an inference component.")
@click.option(
    "--container", default="vllm", show_default=True, type=click.Choice([*CONTAINERS]), help="Which of AWS's."
)
@click.option("--image", metavar="URI", help="Another image of such a container.  [default: the newest that is known]")
@click.option("--lora", is_flag=True, help="With --component: adapters can be put on it.")
@click.option(
    "--env",
    multiple=True,
    metavar="NAME=VALUE",
    help="For the container; may be repeated. SM_VLLM_MAX_MODEL_LEN=8192 is vLLM's --max-model-len 8192.",
)
@aws_options
@click.option("--delete", "deletes", is_flag=True, help="Delete what was made for ENDPOINT, or for its COMPONENT.")
@click.option("--force", is_flag=True, help="With --delete: what something else made, too.")
@click.option("--dry-run", is_flag=True, help="Print the requests as JSON and change nothing.")
@click.option("--poll", default=15.0, show_default=True, type=click.FloatRange(0), help="Seconds between two looks.")
@click.option("--run", hidden=True, help="Tags what is made; with --delete, only what has this tag is deleted.")
def main(
    endpoint: str,
    model: str | None,
    component: str | None,
    adapter: str | None,
    base: str | None,
    role: str | None,
    instance_type: str,
    instances: int,
    routing: str | None,
    prefix_length: int | None,
    concurrency_threshold: int | None,
    gpus: int,
    copies: int,
    container: str,
    image: str | None,
    lora: bool,
    env: tuple[str, ...],
    region: str | None,
    profile: str | None,
    deletes: bool,
    force: bool,
    dry_run: bool,
    poll: float,
    run: str | None,
) -> None:
    """Deploy a model to SageMaker as ENDPOINT, or as an inference component on it, or delete it.

    The instances cost by the hour until they are deleted. HF_TOKEN, for a gated model, goes into the container's
    environment, where whoever may call sagemaker:DescribeModel can read it.

    Exit status: 0 done, 1 refused or failed, 2 a mistake in the command, 130 stopped with Ctrl+C.
    """
    endpoint, component = checked_names(endpoint, component)
    if force and not deletes:
        raise click.UsageError("--force goes with --delete")
    if deletes and adapter:
        raise click.UsageError(f"--delete takes a name, such as {endpoint}/my-adapter, and no --adapter")
    if base and not adapter:
        raise click.UsageError("--base goes with --adapter")
    with failures():
        region, _ = resolve_region(region, profile)
    delete_it = partial(delete_command, endpoint, region, profile)

    def watcher() -> Watcher:
        return Watcher(control_plane.client(region, profile), console(stderr=True), poll)

    if deletes:
        with failures():
            delete_all(watcher(), endpoint, component, force, dry_run, delete_it, run)
        return
    if adapter:
        refuse_what_a_base_has(click.get_current_context())
        if component is None:
            raise click.UsageError(f"an adapter needs a name: {endpoint}/my-adapter")
        checked = Adapter(endpoint, component, checked_adapter(adapter))
        with failures():
            put_adapter(watcher(), checked, base, dry_run, delete_it)
    else:
        kind = CONTAINERS[container]
        if lora and component is None:
            raise click.UsageError("--lora goes with --component: an adapter stands on an inference component")
        if lora and not kind.lora:
            raise click.UsageError(f"--lora: adapters as components are not documented for {container}'s container")
        token = "***" if dry_run and os.environ.get(SECRET) else os.environ.get(SECRET)
        model, role, more = checked_model(model), checked_role(role), checked_environment(env)
        deployment = Deployment(
            endpoint=endpoint,
            component=component,
            model=model,
            role=role,
            image=image or default_image(kind, region),
            instance_type=instance_type,
            instances=instances,
            copies=copies,
            gpus=gpus,
            environment=environment_of(kind, model, gpus, more, token, lora=lora),
            routing=checked_routing(routing, prefix_length, concurrency_threshold),
            context=kind.context,
            run=run,
        )
        if dry_run:
            show(requests_of(deployment))
            return
        with failures(deployment, region):
            deploy(watcher(), deployment, kind.note, delete_it)
    if not dry_run:
        click.echo("/".join(filter(None, ("sagemaker_openai", endpoint, component))))


def refuse_what_a_base_has(context: click.Context) -> None:
    """
    Raises:
        click.UsageError: an option on the command line is a model's, and not an adapter's.
    """
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if given and parameter.name in _OF_A_MODEL:
            raise click.UsageError(f"{parameter.opts[0]} does not go with --adapter: an adapter has its base's")


def delete_all(
    watcher: Watcher,
    endpoint: str,
    component: str | None,
    force: bool,
    dry_run: bool,
    delete_it: Callable[[str | None], str],
    run: str | None = None,
) -> None:
    targets = targets_of(watcher.client, endpoint, component, force, run)
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
