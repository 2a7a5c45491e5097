"""examples/deploy_endpoint.py, against moto's SageMaker: what it makes, waits for, says, and deletes again."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader
from click.testing import CliRunner, Result

from examples import deploy_endpoint
from examples.deploy_endpoint import (
    CONTAINERS,
    TAG,
    Adapter,
    Deployment,
    Request,
    adapter_request,
    checked_routing,
    default_image,
    environment_of,
    main,
    requests_of,
)
from litellm_sagemaker_openai.aws.container_settings import Container, read_settings
from litellm_sagemaker_openai.formats.embeddings import FORMATS
from tests.conftest import REGION
from tests.scripted import Answer, Seen, json_answer, scripted
from tests.terminal import in_terminal

pytestmark = pytest.mark.medium(reason="asks moto's control plane")

ROLE = "arn:aws:iam::123456789012:role/SageMakerExecutionRole"
CREATE = ["my-endpoint", "--model", "Qwen/Qwen3-4B"]
CREATE_CODER = ["my-gpus", "--component", "coder", "--model", "Qwen/Qwen3-4B"]
CREATE_REVIEWER = ["my-gpus", "--component", "reviewer", "--model", "Qwen/Qwen3-8B"]
HEALTH_CHECK = "The primary container for production variant AllTraffic did not pass the ping health check."
NO_CAPACITY = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."

IMAGE = default_image(CONTAINERS["vllm"], REGION)
ADAPTER = "s3://bucket/legal.tar.gz"
LEGAL = Adapter("my-gpus", "legal", ADAPTER)
PUT_LEGAL = ["my-gpus/legal", "--adapter", ADAPTER]
ROUTINGS: list[tuple[str | None, int | None, int | None]] = [
    *((None, None, None), ("random", None, None), ("least-outstanding-requests", None, None), ("kv-aware", None, None)),
    *(("prefix-aware", None, None), ("prefix-aware", 65536, 1024), ("prefix-aware", 1024, 1)),
]

each = pytest.mark.parametrize
Run = Callable[..., Result]


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """botocore reads its 2.5 MB of JSON about SageMaker for each new client, which takes longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        loader = create_loader()
        patch.setattr(botocore.session, "create_loader", lambda *_: loader)
        yield


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The script, which waits for nothing between two looks."""
    monkeypatch.setenv("SAGEMAKER_ROLE", ROLE)

    def run_it(*arguments: str) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--poll", "0"])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run_it


@pytest.fixture
def sagemaker(aws_apis: Any) -> Any:
    return aws_apis.client("sagemaker")


def what_there_is(client: Any) -> dict[str, list[str]]:
    components = client.list_inference_components()["InferenceComponents"]
    return {
        "components": [component["InferenceComponentName"] for component in components],
        "endpoints": [endpoint["EndpointName"] for endpoint in client.list_endpoints()["Endpoints"]],
        "configs": [config["EndpointConfigName"] for config in client.list_endpoint_configs()["EndpointConfigs"]],
        "models": [model["ModelName"] for model in client.list_models()["Models"]],
    }


NOTHING: dict[str, list[str]] = {"components": [], "endpoints": [], "configs": [], "models": []}


def made_by_hand(client: Any, name: str, **variant: Any) -> None:
    """An endpoint as others make it: without this script's tag, its configuration with another name."""
    client.create_model(ModelName=f"{name}-weights", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "image"})
    variant = {"ModelName": f"{name}-weights", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1, **variant}
    variants = [{"VariantName": "by-hand", **{key: value for key, value in variant.items() if value is not None}}]
    client.create_endpoint_config(EndpointConfigName=f"{name}-1", ProductionVariants=variants, ExecutionRoleArn=ROLE)
    client.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-1")


# Creating


def test_a_single_model_endpoint(run: Run, sagemaker: Any) -> None:
    result = run(*CREATE, "--env", "SM_VLLM_MAX_MODEL_LEN=8192", "--gpus", "4", "--instances", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout == "sagemaker_openai/my-endpoint\n"
    assert result.stderr.splitlines() == [
        "model my-endpoint: created",
        "endpoint config my-endpoint: created",
        "2 x ml.g6.2xlarge: costs by the hour from now on, used or not. Delete it:",
        "  python examples/deploy_endpoint.py my-endpoint --delete --region us-west-2",
        "endpoint my-endpoint: InService",
    ]
    name = ["my-endpoint"]
    assert what_there_is(sagemaker) == {"components": [], "endpoints": name, "configs": name, "models": name}
    model = sagemaker.describe_model(ModelName="my-endpoint")
    assert model["ExecutionRoleArn"] == ROLE
    assert model["PrimaryContainer"]["Image"] == (
        "763104351884.dkr.ecr.us-west-2.amazonaws.com/vllm:server-sagemaker-cuda-v2.6"
    )
    assert model["PrimaryContainer"]["Environment"] == {
        "SM_VLLM_MODEL": "Qwen/Qwen3-4B",
        "SM_VLLM_TENSOR_PARALLEL_SIZE": "4",
        "SAGEMAKER_ENABLE_LOAD_AWARE": "1",
        "SM_VLLM_MAX_MODEL_LEN": "8192",
    }
    [variant] = sagemaker.describe_endpoint_config(EndpointConfigName="my-endpoint")["ProductionVariants"]
    assert variant == {
        "VariantName": "AllTraffic",
        "ModelName": "my-endpoint",
        "InstanceType": "ml.g6.2xlarge",
        "InitialInstanceCount": 2,
        "InferenceAmiVersion": "al2023-ami-sagemaker-inference-gpu-4-1",
        "ModelDataDownloadTimeoutInSeconds": 1800,
        "ContainerStartupHealthCheckTimeoutInSeconds": 1800,
    }


def test_two_inference_components_on_one_endpoint(run: Run, sagemaker: Any) -> None:
    first, second = run(*CREATE_CODER), run(*CREATE_REVIEWER, "--copies", "2", "--gpus", "4")
    assert (first.stdout, second.stdout) == ("sagemaker_openai/my-gpus/coder\n", "sagemaker_openai/my-gpus/reviewer\n")
    assert "1 x ml.g6.2xlarge: costs by the hour" in first.stderr
    assert second.stderr.splitlines() == [
        "endpoint my-gpus: InService",
        "model my-gpus-reviewer: created",
        "inference component reviewer: InService",
    ]
    assert what_there_is(sagemaker) == {
        "components": ["coder", "reviewer"],
        "endpoints": ["my-gpus"],
        "configs": ["my-gpus"],
        "models": ["my-gpus-coder", "my-gpus-reviewer"],
    }
    config = sagemaker.describe_endpoint_config(EndpointConfigName="my-gpus")
    assert config["ExecutionRoleArn"] == ROLE
    assert "ModelName" not in config["ProductionVariants"][0]
    component = sagemaker.describe_inference_component(InferenceComponentName="reviewer")
    assert component["VariantName"] == "AllTraffic"
    assert component["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}
    assert component["Specification"] == {
        "ModelName": "my-gpus-reviewer",
        "StartupParameters": {
            "ModelDataDownloadTimeoutInSeconds": 1800,
            "ContainerStartupHealthCheckTimeoutInSeconds": 1800,
        },
        "ComputeResourceRequirements": {
            "MinMemoryRequiredInMb": 1024,
            "NumberOfCpuCoresRequired": 2.0,
            "NumberOfAcceleratorDevicesRequired": 4.0,
        },
    }
    environment = sagemaker.describe_model(ModelName="my-gpus-reviewer")["PrimaryContainer"]["Environment"]
    assert environment["SM_VLLM_MODEL"] == "Qwen/Qwen3-8B"
    assert environment["SM_VLLM_TENSOR_PARALLEL_SIZE"] == "4"


def test_a_component_on_an_endpoint_that_something_else_made(run: Run, sagemaker: Any) -> None:
    made_by_hand(sagemaker, "my-gpus", ModelName=None)
    assert run(*CREATE_CODER).stdout == "sagemaker_openai/my-gpus/coder\n"
    component = sagemaker.describe_inference_component(InferenceComponentName="coder")
    assert component["VariantName"] == "by-hand"
    assert run("my-gpus", "--delete", "--component", "coder").exit_code == 0
    there_is = what_there_is(sagemaker)
    assert (there_is["components"], there_is["endpoints"]) == ([], ["my-gpus"])


def test_it_waits_as_long_as_it_takes(run: Run, aws_apis: Any) -> None:
    aws_apis.sagemaker.shows("endpoint/my-gpus", *["Creating"] * 3, "InService")
    result = run(*CREATE_CODER)
    # The first look, before anything is made, finds an endpoint only where there is one.
    assert result.stderr.count("endpoint my-gpus: Creating\n") == 1
    assert result.stderr.count("endpoint my-gpus: InService\n") == 1
    aws_apis.sagemaker.shows("endpoint/my-gpus", *["Updating"] * 3, "InService")
    aws_apis.sagemaker.shows("inference-component/reviewer", "Creating", "Creating", "InService")
    assert run(*CREATE_REVIEWER).stderr.splitlines() == [
        "endpoint my-gpus: Updating",
        "endpoint my-gpus: InService",
        "model my-gpus-reviewer: created",
        "inference component reviewer: Creating",
        "inference component reviewer: InService",
    ]


def test_a_profile(run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that it prints names it, as it is."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name)
    keys = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = secret\nregion = eu-west-1\n"
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(f"[profile team[red]:key:]\n{keys}")
    result = run(*CREATE, "--profile", "team[red]:key:")
    assert "--delete --region eu-west-1 --profile 'team[red]:key:'\n" in result.stderr
    deleted_as_it_says(result, run)
    result = run(*CREATE, "--profile", "absent")
    assert (result.exit_code, "absent" in result.stderr) == (1, True)


def test_it_does_not_wait_for_ever(run: Run, aws_apis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_endpoint, "LONGEST_WAIT_MINUTES", 0)
    aws_apis.sagemaker.shows("endpoint/my-endpoint", "Creating")
    result = run(*CREATE)
    assert result.exit_code == 1
    assert "Error: endpoint my-endpoint is still Creating after 0 minutes; SageMaker goes on\n" in result.stderr
    assert "Made so far: model my-endpoint, endpoint config my-endpoint, endpoint my-endpoint." in result.stderr


def test_model_artifacts_in_s3(run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")  # not needed for these
    assert run("my-endpoint", "--model", "s3://bucket/my-model/").exit_code == 0
    container = sagemaker.describe_model(ModelName="my-endpoint")["PrimaryContainer"]
    assert container["Environment"]["SM_VLLM_MODEL"] == "/opt/ml/model"
    assert "HF_TOKEN" not in container["Environment"]
    assert container["ModelDataSource"]["S3DataSource"] == {
        "S3Uri": "s3://bucket/my-model/",
        "S3DataType": "S3Prefix",
        "CompressionType": "None",
    }
    run("archived", "--model", "s3://bucket/model.tar.gz")
    container = sagemaker.describe_model(ModelName="archived")["PrimaryContainer"]
    assert container["ModelDataSource"]["S3DataSource"] == {
        "S3Uri": "s3://bucket/model.tar.gz",
        "S3DataType": "S3Object",
        "CompressionType": "Gzip",
    }


@each(
    ("image", "ami"),
    [
        (
            "1.dkr.ecr.us-west-2.amazonaws.com/vllm:0.19-gpu-py312-cu129-ubuntu22.04",
            "al2-ami-sagemaker-inference-gpu-3-1",
        ),
        ("1.dkr.ecr.us-west-2.amazonaws.com/vllm:server-sagemaker-cuda-v2.3", "al2023-ami-sagemaker-inference-gpu-4-1"),
    ],
)
def test_the_ami_has_the_images_cuda(run: Run, image: str, ami: str) -> None:
    requests = json.loads(run(*CREATE, "--image", image, "--dry-run").stdout)
    assert requests[0]["CreateModel"]["PrimaryContainer"]["Image"] == image
    assert requests[1]["CreateEndpointConfig"]["ProductionVariants"][0]["InferenceAmiVersion"] == ami


@each("arguments", [CREATE, CREATE_CODER])
def test_what_exists_stays_as_it_is(arguments: list[str], run: Run, aws_apis: Any) -> None:
    run(*arguments)
    before = aws_apis.sagemaker.calls.copy()
    result = run(*arguments)
    assert result.exit_code == 1
    assert re.search(
        r"Error: (endpoint my-endpoint|inference component coder) exists already\. .*\n  python", result.stderr
    )
    assert not [name for name, _ in aws_apis.sagemaker.calls - before if name.startswith("Create")]


# Containers


@each("name", CONTAINERS)
def test_containers(name: str, run: Run, sagemaker: Any) -> None:
    """Each is told what to serve by variables that are its own, and is known by its image's name."""
    result = run(*CREATE, "--container", name, "--gpus", "2")
    assert (result.exit_code, result.stdout) == (0, "sagemaker_openai/my-endpoint\n"), result.stderr
    container = sagemaker.describe_model(ModelName="my-endpoint")["PrimaryContainer"]
    settings = read_settings(Container(container["Image"], container["Environment"]))
    assert settings.container is not None
    assert settings.model_id is not None
    assert (settings.container.value, settings.model_id.value) == (name, "Qwen/Qwen3-4B")
    [variant] = sagemaker.describe_endpoint_config(EndpointConfigName="my-endpoint")["ProductionVariants"]
    cuda_12 = "al2-ami-sagemaker-inference-gpu-3-1"
    assert variant["InferenceAmiVersion"] == (cuda_12 if name == "tei" else "al2023-ami-sagemaker-inference-gpu-4-1")
    assert ("has no chat" in result.stderr) == (name == "tei")


def test_the_images_of_today() -> None:
    """Where they are from stands beside them. Each is in a region that SageMaker has."""
    images = [default_image(container, "us-west-2") for container in CONTAINERS.values()]
    assert images == [
        "763104351884.dkr.ecr.us-west-2.amazonaws.com/vllm:server-sagemaker-cuda-v2.6",
        "763104351884.dkr.ecr.us-west-2.amazonaws.com/sglang:server-sagemaker-cuda-v1.4",
        "763104351884.dkr.ecr.us-west-2.amazonaws.com/djl-inference:0.38.0-lmi29.0.0-cu130",
        "246618743249.dkr.ecr.us-west-2.amazonaws.com/tei:2.0.1-tei1.9.3-gpu-py310-cu129-ubuntu24.04",
    ]
    known = set(boto3.session.Session().get_available_regions("sagemaker"))
    for container in CONTAINERS.values():
        assert all(re.fullmatch(r"\d{12}", account) for account in container.accounts.values())
        assert set(container.accounts) <= known


def test_how_embeddings_are_called() -> None:
    [format] = re.findall(r'aws_sagemaker_embedding_format="(\w+)"', CONTAINERS["tei"].note)
    assert FORMATS[format] == "inputs"  # docs/tei in aws/deep-learning-containers


@each(
    ("container", "gpus", "lora"), [("vllm", "SM_VLLM_TENSOR_PARALLEL_SIZE", True), ("sglang", "SM_SGLANG_TP", False)]
)
def test_a_containers_own_variables(container: str, gpus: str, lora: bool, run: Run) -> None:
    more = ["--lora"] if lora else []
    requests = json.loads(run(*CREATE_CODER, "--container", container, "--gpus", "4", *more, "--dry-run").stdout)
    primary = requests[0]["CreateModel"]["PrimaryContainer"]
    assert primary["Environment"][gpus] == "4"
    assert (read_settings(Container(primary["Image"], primary["Environment"])).lora is not None) == lora


# Routing


@each(
    ("arguments", "config"),
    [
        ([], None),
        (["--routing", "random"], {"RoutingStrategy": "RANDOM"}),
        (["--routing", "least-outstanding-requests"], {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}),
        (["--routing", "kv-aware"], {"RoutingStrategy": "KV_AWARE"}),
        (
            ["--routing", "prefix-aware", "--prefix-length", "8192"],
            {
                "RoutingStrategy": "PREFIX_AWARE",
                "PrefixAwareRoutingConfig": {"PrefixLength": 8192, "ConcurrencyThreshold": 10},
            },
        ),
    ],
)
def test_routing(arguments: list[str], config: Any, run: Run, sagemaker: Any) -> None:
    result = run(*CREATE, "--instances", "2", *arguments)
    assert (result.exit_code, "there is one" in result.stderr) == (0, False)
    [variant] = sagemaker.describe_endpoint_config(EndpointConfigName="my-endpoint")["ProductionVariants"]
    assert variant.get("RoutingConfig") == config


def test_routing_among_one(run: Run, aws_apis: Any) -> None:
    assert "--routing chooses among instances, and there is one: " in run(*CREATE_CODER, "--routing", "random").stderr
    aws_apis.sagemaker.calls.clear()
    result = run(*CREATE_REVIEWER, "--routing", "random")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: --routing is a new endpoint's, and endpoint my-gpus exists already\n",
    )
    assert not [name for name, _ in aws_apis.sagemaker.calls if name.startswith("Create")]


def test_a_botocore_that_does_not_know_the_strategy(run: Run, monkeypatch: pytest.MonkeyPatch, aws_apis: Any) -> None:
    """It would send a strategy that it does not know, and refuse its configuration."""
    service = boto3.client("sagemaker", region_name=REGION).meta.service_model
    shape = service.shape_for("ProductionVariantRoutingConfig")
    shape.members["RoutingStrategy"].metadata["enum"] = ["RANDOM", "LEAST_OUTSTANDING_REQUESTS"]
    monkeypatch.setattr(type(service), "shape_for", lambda *_: shape)
    result = run(*CREATE, "--routing", "prefix-aware")
    assert result.exit_code == 2
    assert "does not know --routing prefix-aware: pip install --upgrade boto3" in " ".join(result.stderr.split())
    assert not aws_apis.sagemaker.calls


# Adapters


def test_an_adapter(run: Run, sagemaker: Any) -> None:
    assert run(*CREATE_CODER, "--lora").exit_code == 0
    result = run(*PUT_LEGAL)
    assert (result.exit_code, result.stdout) == (0, "sagemaker_openai/my-gpus/legal\n"), result.stderr
    assert result.stderr.splitlines() == [
        "endpoint my-gpus: InService",
        "inference component coder: InService",
        "inference component legal: InService",
        "See that it answers itself, and not coder for it:",
        "  litellm-sagemaker-openai check my-gpus/legal",
    ]
    component = sagemaker.describe_inference_component(InferenceComponentName="legal")
    specification = {"BaseInferenceComponentName": "coder", "Container": {"ArtifactUrl": ADAPTER}}
    assert component["Specification"] == specification
    assert "RuntimeConfig" not in component
    assert what_there_is(sagemaker)["models"] == ["my-gpus-coder"]
    again = run(*PUT_LEGAL)
    assert (again.exit_code, "inference component legal exists already" in again.stderr) == (1, True)
    run(*CREATE_REVIEWER)
    assert (
        "an adapter can stand on coder, reviewer: name one with --base\n" in run("my-gpus/other", *PUT_LEGAL[1:]).stderr
    )
    result = run("my-gpus/other", *PUT_LEGAL[1:], "--base", "legal")
    assert "an adapter can stand on coder, reviewer: legal is none of them\n" in result.stderr
    result = run("my-gpus/other", *PUT_LEGAL[1:], "--base", "reviewer")
    assert "reviewer is not known to be deployed with LoRA on (--lora), which an adapter needs.\n" in result.stderr
    assert result.exit_code == 0


def test_adapters_go_before_what_they_stand_on(run: Run, sagemaker: Any) -> None:
    run(*CREATE_CODER, "--lora")
    run(*CREATE_REVIEWER)
    run(*PUT_LEGAL, "--base", "coder")
    assert json.loads(run("my-gpus", "--delete", "--dry-run").stdout)[:3] == [
        {"DeleteInferenceComponent": {"InferenceComponentName": name}} for name in ("legal", "coder", "reviewer")
    ]
    result = run("my-gpus/coder", "--delete")
    assert [line for line in result.stderr.splitlines() if line.endswith(": deleted")] == [
        "inference component legal: deleted",
        "inference component coder: deleted",
        "model my-gpus-coder: deleted",
    ]
    assert what_there_is(sagemaker)["components"] == ["reviewer"]
    assert run("my-gpus", "--delete").exit_code == 0
    assert what_there_is(sagemaker) == NOTHING


def test_deleting_an_adapter_leaves_its_base(run: Run, sagemaker: Any) -> None:
    run(*CREATE_CODER, "--lora")
    result = run(*PUT_LEGAL)
    assert run("my-gpus/legal", "--delete").exit_code == 0, result.stderr
    there_is = what_there_is(sagemaker)
    assert (there_is["components"], there_is["models"]) == (["coder"], ["my-gpus-coder"])


def test_somebody_elses_adapter_keeps_its_base(run: Run, aws_apis: Any, sagemaker: Any) -> None:
    run(*CREATE_CODER, "--lora")
    aws_apis.make_adapter("by-hand", "my-gpus", "coder")
    result = run("my-gpus/coder", "--delete")
    assert "something else made this: inference component by-hand. Nothing was deleted" in result.stderr
    assert what_there_is(sagemaker)["components"] == ["coder", "by-hand"]


def test_an_adapter_that_does_not_start(run: Run, aws_apis: Any, sagemaker: Any) -> None:
    run(*CREATE_CODER, "--lora")
    failed = {"InferenceComponentStatus": "Failed", "FailureReason": "the adapter's rank is too high"}
    aws_apis.sagemaker.shows("inference-component/legal", "Creating", failed)
    result = run(*PUT_LEGAL)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: inference component legal: Failed: the adapter's rank is too high\n" in result.stderr
    deleted_as_it_says(result, run)
    assert what_there_is(sagemaker)["components"] == ["coder"]


@each("endpoint", ["my-endpoint", "absent"])
def test_an_adapter_without_a_base(endpoint: str, run: Run, sagemaker: Any) -> None:
    run(*CREATE)
    result = run(f"{endpoint}/legal", "--adapter", ADAPTER)
    assert result.exit_code == 1
    assert f"{endpoint} has no inference component to put an adapter on: deploy one, " in result.stderr


def test_a_dry_run_of_an_adapter(run: Run, sagemaker: Any) -> None:
    run(*CREATE_CODER, "--lora")
    [request] = json.loads(run(*PUT_LEGAL, "--dry-run").stdout)
    assert request["CreateInferenceComponent"]["Specification"]["BaseInferenceComponentName"] == "coder"
    assert what_there_is(sagemaker)["components"] == ["coder"]


# Failures


def deleted_as_it_says(result: Result, run: Run) -> None:
    """The command that it printed leaves nothing."""
    [command] = set(re.findall(r"(?m)^  python examples/deploy_endpoint\.py (.*)$", result.stderr))
    assert run(*shlex.split(command)).exit_code == 0


@each(
    ("reason", "said"),
    [
        (HEALTH_CHECK, "The container's log is in CloudWatch, /aws/sagemaker/Endpoints/my-endpoint. "),
        (NO_CAPACITY, "AWS has none free in us-west-2: try later, another --instance-type or another --region."),
        ("No reason that anybody knows", ""),
    ],
)
def test_a_model_that_does_not_start(reason: str, said: str, run: Run, aws_apis: Any, sagemaker: Any) -> None:
    failed = {"EndpointStatus": "Failed", "FailureReason": reason}
    aws_apis.sagemaker.shows("endpoint/my-endpoint", "Creating", failed)
    result = run(*CREATE)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "endpoint my-endpoint: Creating\nendpoint my-endpoint: Failed\n" in result.stderr
    assert "Made so far: model my-endpoint, endpoint config my-endpoint, endpoint my-endpoint. " in result.stderr
    assert f"Error: endpoint my-endpoint: Failed: {reason}\n{said}" in result.stderr
    deleted_as_it_says(result, run)
    assert what_there_is(sagemaker) == NOTHING


def test_a_component_that_does_not_start(run: Run, aws_apis: Any, sagemaker: Any) -> None:
    failed = {"InferenceComponentStatus": "Failed", "FailureReason": HEALTH_CHECK}
    aws_apis.sagemaker.shows("inference-component/coder", "Creating", failed)
    result = run(*CREATE_CODER)
    assert result.exit_code == 1
    assert f"Error: inference component coder: Failed: {HEALTH_CHECK}\n" in result.stderr
    assert "CloudWatch, /aws/sagemaker/InferenceComponents/coder." in result.stderr
    deleted_as_it_says(result, run)
    assert what_there_is(sagemaker) == NOTHING


def test_a_quota(run: Run, aws_apis: Any, sagemaker: Any) -> None:
    aws_apis.sagemaker.refuses("CreateEndpoint", code="ResourceLimitExceeded")
    result = run(*CREATE)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: CreateEndpoint: ResourceLimitExceeded: " in result.stderr
    assert "ml.g6.2xlarge for endpoint usage" in result.stderr
    assert "https://us-west-2.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas" in result.stderr
    assert "Made so far: model my-endpoint, endpoint config my-endpoint. Delete it:\n" in result.stderr
    assert "by the hour" not in result.stderr
    deleted_as_it_says(result, run)
    assert what_there_is(sagemaker) == NOTHING


def test_a_component_that_fails_on_an_endpoint_that_was_there(run: Run, aws_apis: Any, sagemaker: Any) -> None:
    run(*CREATE_CODER)
    aws_apis.sagemaker.refuses("CreateInferenceComponent")
    result = run(*CREATE_REVIEWER)
    assert "Error: CreateInferenceComponent: AccessDeniedException: " in result.stderr
    assert "Made so far: model my-gpus-reviewer. Delete it:\n" in result.stderr
    deleted_as_it_says(result, run)
    assert what_there_is(sagemaker)["components"] == ["coder"]
    assert what_there_is(sagemaker)["models"] == ["my-gpus-coder"]


def test_nothing_to_delete_where_nothing_was_made(run: Run, aws_apis: Any) -> None:
    aws_apis.sagemaker.refuses("CreateModel")
    result = run(*CREATE)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: CreateModel: AccessDeniedException: ")


def test_no_credentials(run: Run, aws_apis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    for arguments in (CREATE, ["my-endpoint", "--delete"]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: no AWS credentials found: ")


NOT_FOUND = json_answer({"__type": "ValidationException", "message": "Could not find it."}, 400)


def test_an_endpoint_that_is_there_although_the_answer_was_lost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore asks again after a lost answer, and SageMaker then refuses what the first request made."""
    exists = json_answer({"__type": "ValidationException", "message": "Cannot create already existing endpoint."}, 400)
    answers: dict[str, Iterator[Answer | bytes]] = {
        "CreateModel": iter([json_answer({"ModelArn": "arn"})]),
        "CreateEndpointConfig": iter([json_answer({"EndpointConfigArn": "arn"})]),
        "CreateEndpoint": iter([b"", exists]),
        "DescribeModel": iter([NOT_FOUND, json_answer({"ModelName": "my-endpoint"})]),
        "DescribeEndpointConfig": iter([NOT_FOUND, json_answer({"EndpointConfigName": "my-endpoint"})]),
        "DescribeEndpoint": iter([NOT_FOUND]),
    }

    def script(seen: Seen) -> Answer | bytes:
        return next(answers[seen.headers["x-amz-target"].removeprefix("SageMaker.")])

    with scripted(script) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", server.url)
        result = run(*CREATE)
    assert "Made so far: model my-endpoint, endpoint config my-endpoint, endpoint my-endpoint. " in result.stderr
    assert "Error: CreateEndpoint: ValidationException: Cannot create already existing endpoint." in result.stderr


def test_what_somebody_else_made_right_before_was_not_made_here(
    run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = deploy_endpoint.call

    def second(client: Any, request: Any) -> Any:
        if request.operation == "CreateModel":
            call(client, request)
        return call(client, request)

    monkeypatch.setattr(deploy_endpoint, "call", second)
    result = run(*CREATE)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: CreateModel: ValidationException: Cannot create already existing model ")


def test_an_adapter_is_deleted_by_its_name(run: Run, sagemaker: Any) -> None:
    """And not the endpoint that it is on, which is all that was named."""
    assert run(*CREATE).exit_code == 0
    before = what_there_is(sagemaker)
    result = run("my-endpoint", "--delete", "--adapter", "s3://bucket/legal.tar.gz", "--region", REGION)
    assert result.exit_code == 2
    assert "--delete takes a name, such as my-endpoint/my-adapter, and no --adapter" in result.stderr
    assert what_there_is(sagemaker) == before


# The Hugging Face token


def test_the_token_reaches_the_container_and_no_terminal(
    run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    results = [run(*CREATE, "--dry-run"), run(*CREATE)]
    environment = sagemaker.describe_model(ModelName="my-endpoint")["PrimaryContainer"]["Environment"]
    assert environment["HF_TOKEN"] == "hf_secret"
    [create, *_] = json.loads(results[0].stdout)
    assert create["CreateModel"]["PrimaryContainer"]["Environment"]["HF_TOKEN"] == "***"
    assert (
        "HF_TOKEN goes into the container's environment, where sagemaker:DescribeModel shows it." in results[1].stderr
    )

    def script(seen: Seen) -> Answer:
        """SageMaker's words for a value that it does not take repeat it."""
        said = f"1 validation error detected: Value '{seen.body.decode()}' at 'primaryContainer.environment' failed"
        creates = seen.headers["x-amz-target"] == "SageMaker.CreateModel"
        return json_answer({"__type": "ValidationException", "message": said}, 400) if creates else NOT_FOUND

    with scripted(script) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", server.url)
        results.append(run(*CREATE))
    assert "1 validation error detected" in results[2].stderr
    assert "***" in results[2].stderr
    assert not [result for result in results if "hf_secret" in result.output]
    environment = environment_of(CONTAINERS["vllm"], "model", 1, {}, "hf_secret")
    assert "hf_secret" not in repr(a_deployment(environment=environment))


# Deleting


def test_deleting_leaves_nothing(run: Run, sagemaker: Any) -> None:
    run(*CREATE)
    run(*CREATE_CODER)
    run(*CREATE_REVIEWER)
    result = run("my-gpus", "--delete")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "inference component coder: deleted",
        "inference component reviewer: deleted",
        "endpoint my-gpus: deleted",
        "endpoint config my-gpus: deleted",
        "model my-gpus-coder: deleted",
        "model my-gpus-reviewer: deleted",
    ]
    name = ["my-endpoint"]
    assert what_there_is(sagemaker) == {"components": [], "endpoints": name, "configs": name, "models": name}
    assert run("my-endpoint", "--delete").exit_code == 0
    assert what_there_is(sagemaker) == NOTHING
    again = run("my-endpoint", "--delete")
    assert (again.exit_code, again.stderr) == (0, "Nothing of my-endpoint is left in us-west-2.\n")


def test_deleting_one_component(run: Run, sagemaker: Any) -> None:
    run(*CREATE_CODER)
    run(*CREATE_REVIEWER)
    result = run("my-gpus", "--delete", "--component", "coder")
    assert result.stderr.splitlines() == [
        "inference component coder: deleted",
        "model my-gpus-coder: deleted",
        "The endpoint goes on costing by the hour. Delete it:",
        "  python examples/deploy_endpoint.py my-gpus --delete --region us-west-2",
    ]
    there_is = what_there_is(sagemaker)
    assert (there_is["components"], there_is["models"]) == (["reviewer"], ["my-gpus-reviewer"])
    assert there_is["endpoints"] == ["my-gpus"]
    deleted_as_it_says(result, run)
    assert what_there_is(sagemaker) == NOTHING


GONE: dict[str, Callable[[Any], Any]] = {
    "component": lambda client: client.delete_inference_component(InferenceComponentName="coder"),
    "endpoint": lambda client: (GONE["component"](client), client.delete_endpoint(EndpointName="my-gpus")),
    "config": lambda client: client.delete_endpoint_config(EndpointConfigName="my-gpus"),
    "model": lambda client: client.delete_model(ModelName="my-gpus-coder"),
}


@each("gone", GONE)
def test_what_is_gone_already_is_fine(gone: str, run: Run, sagemaker: Any) -> None:
    run(*CREATE_CODER)
    GONE[gone](sagemaker)
    assert run("my-gpus", "--delete").exit_code == 0
    assert what_there_is(sagemaker) == NOTHING


def test_deleting_waits_for_what_sagemaker_does_before_and_for_the_end(run: Run, aws_apis: Any, sagemaker: Any) -> None:
    run(*CREATE_CODER)
    aws_apis.sagemaker.shows("inference-component/coder", *["Creating"] * 4, "InService")
    aws_apis.sagemaker.shows("endpoint/my-gpus", *["Updating"] * 6, "InService")
    aws_apis.sagemaker.stays("inference-component/coder", 3)
    aws_apis.sagemaker.stays("endpoint/my-gpus", 3)
    result = run("my-gpus", "--delete")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines() == [
        "inference component coder: Creating",
        "inference component coder: InService",
        "inference component coder: Deleting",
        "inference component coder: deleted",
        "endpoint my-gpus: Updating",
        "endpoint my-gpus: InService",
        "endpoint my-gpus: Deleting",
        "endpoint my-gpus: deleted",
        "endpoint config my-gpus: deleted",
        "model my-gpus-coder: deleted",
    ]
    assert what_there_is(sagemaker) == NOTHING


def test_what_is_being_deleted_is_waited_for(run: Run, aws_apis: Any, sagemaker: Any) -> None:
    run(*CREATE)
    aws_apis.sagemaker.stays("endpoint/my-endpoint", 5)
    sagemaker.delete_endpoint(EndpointName="my-endpoint")
    assert "endpoint my-endpoint: deleted" in run("my-endpoint", "--delete").stderr
    assert what_there_is(sagemaker) == NOTHING
    assert aws_apis.sagemaker.calls["DeleteEndpoint", REGION] == 1


def test_what_goes_in_the_meantime_is_fine(run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*CREATE)
    call = deploy_endpoint.call

    def somebody_else_too(client: Any, request: Request) -> Any:
        if request.operation.startswith("Delete"):
            call(client, request)
        return call(client, request)

    monkeypatch.setattr(deploy_endpoint, "call", somebody_else_too)
    assert run("my-endpoint", "--delete").exit_code == 0
    assert what_there_is(sagemaker) == NOTHING


def test_a_deletion_that_fails(run: Run, aws_apis: Any, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*CREATE)
    call = deploy_endpoint.call

    def and_then_fail(client: Any, request: Request) -> Any:
        answer = call(client, request)
        if request.operation == "DeleteEndpoint":
            failed = {"EndpointStatus": "Failed", "FailureReason": "the network interface is in use"}
            aws_apis.sagemaker.shows("endpoint/my-endpoint", "Deleting", failed)
        return answer

    monkeypatch.setattr(deploy_endpoint, "call", and_then_fail)
    aws_apis.sagemaker.stays("endpoint/my-endpoint", 100)
    result = run("my-endpoint", "--delete")
    assert result.exit_code == 1
    assert "Error: endpoint my-endpoint was not deleted: the network interface is in use\n" in result.stderr
    assert what_there_is(sagemaker)["models"] == ["my-endpoint"]


def test_what_something_else_made_stays(run: Run, sagemaker: Any) -> None:
    made_by_hand(sagemaker, "my-gpus", ModelName=None)
    run(*CREATE_CODER)
    before = what_there_is(sagemaker)
    result = run("my-gpus", "--delete")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: something else made this: endpoint my-gpus. Nothing was deleted; --force deletes it, too\n"
    )
    assert what_there_is(sagemaker) == before
    assert run("my-gpus", "--delete", "--force").exit_code == 0
    assert what_there_is(sagemaker) == {**NOTHING, "configs": ["my-gpus-1"], "models": ["my-gpus-weights"]}


def test_a_component_that_something_else_made_stays(run: Run, sagemaker: Any) -> None:
    run(*CREATE_CODER)
    specification = {"ModelName": "my-gpus-coder", "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024}}
    sagemaker.create_inference_component(
        InferenceComponentName="by-hand", EndpointName="my-gpus", Specification=specification
    )
    for arguments in (["my-gpus", "--delete"], ["my-gpus", "--delete", "--component", "by-hand"]):
        result = run(*arguments)
        assert "Error: something else made this: inference component by-hand. " in result.stderr
    assert what_there_is(sagemaker)["components"] == ["coder", "by-hand"]
    result = run("other-gpus", "--delete", "--component", "coder", "--force")
    assert "Error: inference component coder is on the endpoint my-gpus, not on other-gpus\n" in result.stderr


def test_endpoints_with_names_alike_stay(run: Run, sagemaker: Any) -> None:
    run("chat", "--model", "Qwen/Qwen3-4B")
    run("chat-2", "--model", "Qwen/Qwen3-4B")
    run("my-chat", "--model", "Qwen/Qwen3-4B")
    assert run("chat", "--delete").exit_code == 0
    left = ["chat-2", "my-chat"]
    assert what_there_is(sagemaker) == {"components": [], "endpoints": left, "configs": left, "models": left}


# Dry runs


def test_a_dry_run_sends_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(NOT_FOUND) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", server.url)
        requests = json.loads(run(*CREATE_CODER, "--dry-run").stdout)
    assert [list(request) for request in requests] == [
        ["CreateModel"],
        ["CreateEndpointConfig"],
        ["CreateEndpoint"],
        ["CreateInferenceComponent"],
    ]
    assert server.seen == []


def test_a_dry_run_of_a_deletion(run: Run, sagemaker: Any) -> None:
    run(*CREATE_CODER)
    before = what_there_is(sagemaker)
    assert json.loads(run("my-gpus", "--delete", "--dry-run").stdout) == [
        {"DeleteInferenceComponent": {"InferenceComponentName": "coder"}},
        {"DeleteEndpoint": {"EndpointName": "my-gpus"}},
        {"DeleteEndpointConfig": {"EndpointConfigName": "my-gpus"}},
        {"DeleteModel": {"ModelName": "my-gpus-coder"}},
    ]
    assert what_there_is(sagemaker) == before


# What is sent, and what is not


def a_deployment(**changes: Any) -> Deployment:
    deployment = Deployment(
        endpoint="my-gpus",
        component=None,
        model="Qwen/Qwen3-4B",
        role=ROLE,
        image=IMAGE,
        instance_type="ml.g6.2xlarge",
        instances=1,
        copies=1,
        gpus=1,
        environment={"SM_VLLM_MODEL": "Qwen/Qwen3-4B"},
    )
    return replace(deployment, **changes)


def mistakes(shape: Any, value: Any, where: str) -> Iterator[str]:
    """What botocore's model says and botocore does not check: the words to choose from, patterns, lengths, limits."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from mistakes(shape.members[name], member, f"{where}.{name}")
    elif shape.type_name == "list":
        for member in value:
            yield from mistakes(shape.member, member, where)
    elif shape.type_name == "map":
        for name, member in value.items():
            yield from mistakes(shape.key, name, where)
            yield from mistakes(shape.value, member, f"{where}.{name}")
    else:
        limits, size = shape.metadata, len(value) if isinstance(value, str) else value
        pattern = limits.get("pattern", ".*")
        if value not in limits.get("enum", [value]):
            yield f"{where} is {value}"
        if not limits.get("min", size) <= size <= limits.get("max", size):
            yield f"{where} is {value}, of {limits}"
        if isinstance(value, str) and r"\p" not in pattern and not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{where} is {value}, not {pattern}"


def test_requests_are_what_botocores_model_says() -> None:
    service = boto3.client("sagemaker", region_name=REGION).meta.service_model
    models = ("Qwen/Qwen3-4B", "s3://bucket/prefix/", "s3://bucket/model.tar.gz")
    for component, model, image, routing in product((None, "coder"), models, (IMAGE, "vllm:cu129"), ROUTINGS):
        deployment = a_deployment(component=component, model=model, image=image, routing=checked_routing(*routing))
        for request in [*requests_of(deployment), adapter_request(LEGAL, "coder")]:
            shape = service.operation_model(request.operation).input_shape
            assert list(mistakes(shape, request.parameters, request.operation)) == []
            assert set(shape.required_members) <= set(request.parameters)
            assert request.parameters["Tags"] == [{"Key": TAG, "Value": "my-gpus"}]


@each(
    ("arguments", "said"),
    [
        (["my_endpoint", "--model", "m"], "'my_endpoint' is not the name of an endpoint: "),
        (["my-gpus", "--component", "a/b", "--model", "m"], "'a/b' is not the name of an inference component: "),
        (["e" * 40, "--component", "c" * 40, "--model", "m"], " is too long for the model's name: "),
        (["my-endpoint"], "--model must be a Hugging Face id such as Qwen/Qwen3-4B, "),
        (
            ["my-endpoint", "--model", "s3://bucket/prefix"],
            "with a slash at its end, or s3://bucket/model.tar.gz, not s3",
        ),
        (["my-endpoint", "--model", "a model"], "--model must be "),
        (
            [*CREATE, "--role", "SageMakerExecutionRole"],
            "such as arn:aws:iam::123456789012:role/SageMakerExecutionRole",
        ),
        ([*CREATE, "--env", "MAX"], "--env MAX must be NAME=VALUE"),
        ([*CREATE, "--env", "HF_TOKEN=hf_secret"], "HF_TOKEN does not belong on a command line: export it"),
        ([*CREATE, "--region", "cn-north-1"], "no default image for cn-north-1: give --image, "),
        ([*CREATE, "--prefix-length", "2048"], "--prefix-length goes with --routing prefix-aware"),
        (
            [*CREATE, "--routing", "kv-aware", "--concurrency-threshold", "4"],
            "--concurrency-threshold goes with --routing prefix-aware",
        ),
        (
            [*CREATE, "--routing", "prefix-aware", "--prefix-length", "1023"],
            "--prefix-length must be 1,024 to 65,536, not 1,023",
        ),
        (
            [*CREATE, "--routing", "prefix-aware", "--concurrency-threshold", "0"],
            "--concurrency-threshold must be 1 to 1,024, not 0",
        ),
        ([*CREATE, "--routing", "sticky"], "'sticky' is not one of 'random', "),
        (["my-gpus/coder", "--component", "other", "--model", "m"], "my-gpus/coder and --component other are two"),
        (["my-gpus/", "--model", "m"], "'' is not the name of an inference component: "),
        ([*CREATE, "--lora"], "--lora goes with --component: an adapter stands on an inference component"),
        ([*CREATE_CODER, "--lora", "--container", "sglang"], "not documented for sglang's container"),
        ([*CREATE, "--base", "coder"], "--base goes with --adapter"),
        (["my-gpus", "--adapter", ADAPTER], "an adapter needs a name: my-gpus/my-adapter"),
        (["my-gpus/legal", "--adapter", "s3://bucket/legal/"], "--adapter must be s3://bucket/adapter.tar.gz, "),
        ([*PUT_LEGAL, "--model", "m"], "--model does not go with --adapter: an adapter has its base's"),
        ([*PUT_LEGAL, "--routing", "random"], "--routing does not go with --adapter"),
        ([*CREATE, "--force"], "--force goes with --delete"),
        ([*CREATE, "--instances", "0"], "0 is not in the range x>=1"),
        ([], "Missing argument 'ENDPOINT[/COMPONENT]'"),
    ],
)
def test_mistakes_in_the_command(arguments: list[str], said: str, run: Run, aws_apis: Any) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())
    assert "hf_secret" not in result.stderr
    assert not aws_apis.sagemaker.calls


def test_a_role_is_needed(run: Run, aws_apis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGEMAKER_ROLE")
    result = run(*CREATE)
    assert result.exit_code == 2
    assert "--role or SAGEMAKER_ROLE must be the execution role's ARN" in result.stderr
    assert run(*CREATE, "--role", ROLE).exit_code == 0
    assert run("my-endpoint", "--delete").exit_code == 0


def test_a_region_is_needed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    result = run(*CREATE)
    assert result.exit_code == 1
    assert "Error: no AWS region: " in result.stderr


# In a terminal


def test_in_a_terminal(aws_apis: Any, monkeypatch: pytest.MonkeyPatch, sagemaker: Any, run: Run) -> None:
    """A running clock while it waits; Ctrl+C says what goes on, and how to end that."""
    aws_apis.sagemaker.shows("endpoint/my-endpoint", "Creating")
    command = [*CREATE, "--poll", "0.05"]
    with in_terminal(command, os.environ, module="examples.deploy_endpoint") as terminal:
        terminal.wait_for("endpoint my-endpoint: Creating for 0:0")
        terminal.type("\x03")
        assert terminal.wait_for_the_end() == 130
        assert terminal.screen.replace("^C", "").split("\n")[4:] == [
            "endpoint my-endpoint: Creating",
            "Stopped; SageMaker goes on. Made so far: model my-endpoint, endpoint config my-e",
            "ndpoint, endpoint my-endpoint. Delete it:",
            "  python examples/deploy_endpoint.py my-endpoint --delete --region us-west-2",
        ]
        assert not terminal.cursor_is_hidden
    aws_apis.sagemaker.shows("endpoint/my-endpoint", "InService")
    assert run("my-endpoint", "--delete").exit_code == 0
    assert what_there_is(sagemaker) == NOTHING


def test_a_deletion_stopped_in_a_terminal(aws_apis: Any, sagemaker: Any, run: Run) -> None:
    run(*CREATE)
    aws_apis.sagemaker.stays("endpoint/my-endpoint", 1_000_000)
    command = ["my-endpoint", "--delete", "--poll", "0.05"]
    with in_terminal(command, os.environ, module="examples.deploy_endpoint") as terminal:
        terminal.wait_for("endpoint my-endpoint: Deleting")
        terminal.type("\x03")
        assert terminal.wait_for_the_end() == 130
        assert "Stopped; what was asked for goes on. Delete the rest:\n  python examples/" in terminal.screen
    aws_apis.sagemaker.leaving["endpoint/my-endpoint"] = 0  # done
    assert run("my-endpoint", "--delete").exit_code == 0
    assert what_there_is(sagemaker) == NOTHING
