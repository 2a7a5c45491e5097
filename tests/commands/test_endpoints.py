"""``endpoints``, and the look-ups in the control plane that it shares with other commands."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.aws import control_plane
from litellm_sagemaker_openai.aws.control_plane import Found, client, find
from litellm_sagemaker_openai.aws.credentials import NO_CREDENTIALS, CredentialsError
from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.commands.common import reason
from tests.aws.test_description import ENVIRONMENT
from tests.aws_apis import IMAGE, PREFIX_AWARE, Aws
from tests.conftest import REGION
from tests.terminal import in_terminal

pytestmark = pytest.mark.medium(reason="asks moto's control plane")

# What is known without any variable.
SETTINGS = {
    "container": {"value": "vllm", "source": "image vllm"},
    "version": {"value": "0.11.2", "source": "image tag 0.11.2-gpu-py312"},
}
ROUTING = {"value": "PREFIX_AWARE", "source": "RoutingStrategy=PREFIX_AWARE"}
ASYNCHRONOUS: dict[str, Any] = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://bucket/prefix"}}}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["endpoints", *arguments])


def listed(*arguments: str) -> dict[str, Any]:
    """What ``--json`` prints, by endpoint and component."""
    return listed_and_said(*arguments)[0]


def listed_and_said(*arguments: str) -> tuple[dict[str, Any], str]:
    result = run("--json", *arguments)
    assert result.exit_code == 0, result.output
    entries = json.loads(result.stdout)
    by_name = {"/".join(filter(None, (each["endpoint"], each["inference_component"]))): each for each in entries}
    return by_name, result.stderr


@pytest.fixture
def account(aws_apis: Aws) -> Aws:
    """One of each kind."""
    aws_apis.make_endpoint("my-gpus", "coder", "reviewer", instances=2)
    aws_apis.make_endpoint("my-endpoint")
    aws_apis.make_endpoint("reports", **ASYNCHRONOUS)
    aws_apis.make_endpoint("small", instances=None)
    aws_apis.make_endpoint("broken")
    aws_apis.sagemaker.shows("endpoint/broken", {"EndpointStatus": "Failed", "FailureReason": "No GPU."})
    aws_apis.client("sagemaker").update_inference_component_runtime_config(
        InferenceComponentName="reviewer", DesiredRuntimeConfig={"CopyCount": 0}
    )
    aws_apis.sagemaker.calls.clear()
    return aws_apis


TABLE = """\
ENDPOINT     COMPONENT  STATUS            INSTANCES          IMAGE                  MODEL
broken       -          Failed            1/1 ml.g6.2xlarge  vllm:0.11.2-gpu-py312  sagemaker_openai/broken
my-endpoint  -          InService         1/1 ml.g6.2xlarge  vllm:0.11.2-gpu-py312  sagemaker_openai/my-endpoint
my-gpus      -          InService         2/2 ml.g6.2xlarge  -                      my-gpus: call its components
my-gpus      coder      InService         1/1 copies         vllm:0.11.2-gpu-py312  sagemaker_openai/my-gpus/coder
my-gpus      reviewer   InService         0/0 copies         vllm:0.11.2-gpu-py312  sagemaker_openai/my-gpus/reviewer
reports      -          InService, async  1/1 ml.g6.2xlarge  vllm:0.11.2-gpu-py312  sagemaker_openai/reports
small        -          InService         serverless         vllm:0.11.2-gpu-py312  sagemaker_openai/small
"""


def test_the_table_in_a_pipe(account: Aws) -> None:
    result = run()
    assert result.exit_code == 0
    assert "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines()) == TABLE
    assert result.stderr == "broken: Failed: No GPU.\n"


def test_json(account: Aws) -> None:
    entries = listed()
    assert list(entries) == [
        *("broken", "my-endpoint", "my-gpus", "my-gpus/coder", "my-gpus/reviewer", "reports", "small")
    ]
    assert entries["my-endpoint"] == {
        "region": REGION,
        "endpoint": "my-endpoint",
        "inference_component": None,
        "base_inference_component": None,
        "status": "InService",
        "failure_reason": None,
        "model": "sagemaker_openai/my-endpoint",
        "callable": True,
        "asynchronous": False,
        "serverless": False,
        "instance_types": ["ml.g6.2xlarge"],
        "current": 1,
        "desired": 1,
        "routing": [
            {
                **{"variant": "AllTraffic", "strategy": None, "prefix_length": None, "concurrency_threshold": None},
                "instances": 1,
            }
        ],
        "images": [IMAGE],
        "settings": SETTINGS,
        "model_info": {},
    }
    assert entries["my-gpus/coder"] == {
        "region": REGION,
        "endpoint": "my-gpus",
        "inference_component": "coder",
        "base_inference_component": None,
        "status": "InService",
        "failure_reason": None,
        "model": "sagemaker_openai/my-gpus/coder",
        "callable": True,
        "asynchronous": False,
        "serverless": False,
        "instance_types": [],
        "current": 1,
        "desired": 1,
        "routing": [],
        "images": [IMAGE],
        "settings": SETTINGS,
        "model_info": {},
    }
    assert [name for name, each in entries.items() if not each["callable"]] == ["broken", "my-gpus"]
    assert entries["my-gpus"]["model"] is None
    assert entries["broken"]["failure_reason"] == "No GPU."
    assert [name for name, each in entries.items() if each["asynchronous"]] == ["reports"]
    assert [name for name, each in entries.items() if each["serverless"]] == ["small"]
    assert (entries["small"]["current"], entries["my-gpus/reviewer"]["current"]) == (None, 0)


def test_no_more_calls_than_it_takes(account: Aws) -> None:
    run()
    calls = {operation: count for (operation, _), count in account.sagemaker.calls.items()}
    assert calls == {
        "ListEndpoints": 1,
        "ListInferenceComponents": 1,
        "DescribeEndpoint": 5,
        "DescribeEndpointConfig": 5,
        "DescribeInferenceComponent": 2,
        "DescribeModel": 4,
    }


def test_more_than_a_page(aws_apis: Aws) -> None:
    names = [f"endpoint-{number}" for number in range(10, 21)]
    components = [f"component-{number}" for number in range(10, 21)]
    for name in names:
        aws_apis.make_endpoint(name)
    aws_apis.make_endpoint("shared", *components)
    assert list(listed()) == [*names, "shared", *(f"shared/{name}" for name in components)]
    assert aws_apis.sagemaker.calls["ListEndpoints", REGION] == 2
    assert aws_apis.sagemaker.calls["ListInferenceComponents", REGION] == 2


def test_status_decides_what_is_callable(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("moving", "coder", "reviewer")
    aws_apis.make_endpoint("steady", "critic", "writer")
    aws_apis.make_endpoint("empty")
    aws_apis.sagemaker.shows("endpoint/moving", "Updating")
    aws_apis.sagemaker.shows("inference-component/critic", "Creating")
    states = {name: (each["status"], each["callable"]) for name, each in listed().items()}
    assert states == {
        "empty": ("InService", True),
        "moving": ("Updating", False),
        "moving/coder": ("InService", False),
        "moving/reviewer": ("InService", False),
        "steady": ("InService", False),
        "steady/critic": ("Creating", False),
        "steady/writer": ("InService", True),
    }


def test_an_endpoint_for_components_before_it_has_any(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    aws_apis.client("sagemaker").delete_inference_component(InferenceComponentName="coder")
    [only] = listed().values()
    assert (only["model"], only["callable"]) == (None, False)


def test_images_of_models(aws_apis: Aws) -> None:
    """Of a component made of a model, and of an endpoint that tells none as it is still being created."""
    aws_apis.make_endpoint("my-endpoint", image="registry/one:1")
    variant = {"VariantName": "AllTraffic", "CurrentInstanceCount": 0, "DesiredInstanceCount": 3}
    aws_apis.sagemaker.shows("endpoint/my-endpoint", {"EndpointStatus": "Creating", "ProductionVariants": [variant]})
    aws_apis.make_endpoint("my-gpus", "coder")
    sagemaker = aws_apis.client("sagemaker")
    sagemaker.create_model(
        ModelName="pipeline",
        ExecutionRoleArn="arn:aws:iam::123456789012:role/sagemaker",
        Containers=[{"Image": "registry/before:2"}, {"Image": "registry/after:3"}],
    )
    sagemaker.create_inference_component(
        InferenceComponentName="writer",
        EndpointName="my-gpus",
        Specification={"ModelName": "pipeline", "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024}},
        RuntimeConfig={"CopyCount": 1},
    )
    entries = listed()
    assert entries["my-endpoint"]["images"] == ["registry/one:1"]
    assert (entries["my-endpoint"]["current"], entries["my-endpoint"]["desired"]) == (0, 3)
    assert entries["my-gpus/writer"]["images"] == ["registry/before:2", "registry/after:3"]
    assert "before:2, after:3" in run().stdout
    assert "0/3 ml.g6.2xlarge" in run().stdout


def test_a_fleet_of_several_kinds_of_instance(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint")
    pools = [
        {"InstanceType": "ml.g6.2xlarge", "CurrentInstanceCount": 1},
        {"InstanceType": "ml.g5.2xlarge", "CurrentInstanceCount": 2},
    ]
    blue = {"VariantName": "blue", "CurrentInstanceCount": 3, "DesiredInstanceCount": 4, "InstancePools": pools}
    green = {"VariantName": "green", "CurrentInstanceCount": 1, "DesiredInstanceCount": 1}
    aws_apis.sagemaker.shows("endpoint/my-endpoint", {"ProductionVariants": [blue, green]})
    [only] = listed().values()
    assert only["instance_types"] == ["ml.g6.2xlarge", "ml.g5.2xlarge"]
    assert (only["current"], only["desired"]) == (4, 5)


def test_what_was_deleted_under_a_running_endpoint(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint")
    sagemaker = aws_apis.client("sagemaker")
    sagemaker.delete_endpoint_config(EndpointConfigName="my-endpoint")
    sagemaker.delete_model(ModelName="my-endpoint")
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1].split() == [
        *("my-endpoint", "-", "InService", "1/1", "vllm:0.11.2-gpu-py312", "sagemaker_openai/my-endpoint")
    ]


def test_adapters_and_routing(aws_apis: Aws) -> None:
    """Which component an adapter stands on, and how SageMaker chooses among instances."""
    aws_apis.make_endpoint("my-gpus", "coder", instances=2, routing=PREFIX_AWARE)
    aws_apis.make_adapter("legal", "my-gpus", "coder")
    aws_apis.make_endpoint("plain", instances=2)
    aws_apis.make_endpoint("least", instances=2, routing={"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"})
    heading, *rows = [re.split(r"  +", line.strip()) for line in run().stdout.splitlines()]
    at = {name: heading.index(name) for name in ("COMPONENT", "ROUTING", "MODEL")}
    assert [[row[at[name]] for name in ("COMPONENT", "ROUTING")] for row in rows] == [
        ["-", "LEAST_OUTSTANDING_REQUESTS"],
        ["-", "PREFIX_AWARE 4096/10"],
        ["coder", "-"],
        ["legal on coder", "-"],
        ["-", "-"],
    ]
    assert rows[3][at["MODEL"]] == "sagemaker_openai/my-gpus/legal"
    entries = listed()
    names = ["my-gpus", "my-gpus/coder", "my-gpus/legal"]
    assert [entries[name]["base_inference_component"] for name in names] == [None, None, "coder"]
    variant = {"variant": "AllTraffic", "strategy": "PREFIX_AWARE", "prefix_length": 4096, "instances": 2}
    assert entries["my-gpus"]["routing"] == [{**variant, "concurrency_threshold": 10}]
    assert entries["my-gpus/coder"]["routing"] == []
    assert entries["my-gpus/legal"]["settings"]["prefix_length"] == {"value": 4096, "source": "PrefixLength=4096"}
    assert [each["strategy"] for each in entries["plain"]["routing"]] == [None]


def test_settings(aws_apis: Aws) -> None:
    """What each is set to, and which variable says so; a LoRA adapter is answered by its base."""
    aws_apis.make_endpoint("my-endpoint", environment={"SM_VLLM_MAX_MODEL_LEN": "100k", "HF_TOKEN": "hf_never-shown"})
    aws_apis.make_endpoint("my-gpus", "coder", environment={**ENVIRONMENT, "SM_VLLM_ENABLE_LORA": "true"})
    aws_apis.make_endpoint("plain")
    tei = "763104351884.dkr.ecr.us-west-2.amazonaws.com/tei:2.0.1-tei1.9.3-gpu-py310"
    aws_apis.make_endpoint("tei", image=tei)
    aws_apis.make_adapter("adapter", "my-gpus", "coder")
    variant = {"VariantName": "AllTraffic", "RoutingConfig": {"RoutingStrategy": "PREFIX_AWARE"}}
    aws_apis.sagemaker.shows("endpoint/my-gpus", {"ProductionVariants": [variant]})
    entries = listed()
    length = {"value": 100000, "source": "SM_VLLM_MAX_MODEL_LEN=100k"}
    assert entries["my-endpoint"]["settings"] == {**SETTINGS, "context_length": length}
    assert entries["my-endpoint"]["model_info"] == {"max_input_tokens": length}
    assert entries["my-gpus"]["settings"] == {"routing": ROUTING}
    assert entries["my-gpus/coder"]["settings"]["routing"] == ROUTING
    assert entries["my-gpus/adapter"]["settings"] == entries["my-gpus/coder"]["settings"]
    assert entries["my-gpus/adapter"]["model_info"] == entries["my-gpus/coder"]["model_info"]
    assert set(entries["my-gpus/coder"]["model_info"]) == {
        *("mode", "max_input_tokens", "supports_function_calling", "supports_tool_choice"),
        *("supports_response_schema", "supports_reasoning"),
    }
    result = run()
    assert "never-shown" not in f"{entries} {result.output}"
    heading, *rows = result.stdout.splitlines()
    start, end = heading.index("SETTINGS"), heading.index("MODEL")
    assert [row[start:end].strip() for row in rows] == [
        *("100k", "-", "32k tools reasoning LoRA", "32k tools reasoning LoRA", "-", "embeddings")
    ]


def test_nothing_there(aws_apis: Aws) -> None:
    for arguments, printed in (((), ""), (("--json",), "[]\n")):
        result = run("--region", "eu-west-1", *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, printed, "no endpoints in eu-west-1\n")


# Regions


def test_where_the_region_comes_from(aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_text("[profile research]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    asked = aws_apis.sagemaker.calls

    def region_of(*arguments: str) -> str:
        asked.clear()
        run(*arguments)
        [(operation, region)] = asked
        assert operation == "ListEndpoints"
        return region

    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        "[research]\naws_access_key_id = AKIARESEARCH\naws_secret_access_key = secret\n"
    )
    assert region_of("--region", "eu-west-3") == "eu-west-3"
    assert region_of() == "eu-west-1"
    monkeypatch.delenv("AWS_REGION")
    assert region_of() == "eu-west-2"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert region_of("--profile", "research") == "eu-central-1"
    monkeypatch.setenv("AWS_PROFILE", "research")
    assert region_of() == "eu-central-1"


@pytest.fixture
def few_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client for each of them all takes a second."""
    some = ["af-south-1", "ap-east-1", "eu-west-1", REGION]
    monkeypatch.setattr(control_plane, "regions", lambda profile: some)


@pytest.mark.usefixtures("few_regions")
def test_all_regions(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint")
    aws_apis.make_endpoint("my-gpus", "coder", region="eu-west-1")
    aws_apis.sagemaker.refuses("*", "ap-east-1", code="UnrecognizedClientException")
    aws_apis.sagemaker.refuses("*", "af-south-1", code="UnrecognizedClientException")
    result = run("--all-regions")
    assert result.exit_code == 0
    heading, *rows = [line.split() for line in result.stdout.splitlines()]
    assert heading[0] == "REGION"
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("eu-west-1", "my-gpus", "components"),
        ("eu-west-1", "my-gpus", "sagemaker_openai/my-gpus/coder"),
        ("us-west-2", "my-endpoint", "sagemaker_openai/my-endpoint"),
    ]
    assert result.stderr == (
        "not looked at: af-south-1, ap-east-1: ListEndpoints: UnrecognizedClientException: "
        "The security token included in the request is invalid.\n"
    )
    assert list(listed("--all-regions")) == ["my-gpus", "my-gpus/coder", "my-endpoint"]


@pytest.mark.usefixtures("few_regions")
def test_a_region_that_cannot_be_reached(aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played, since the stand-in has one address for all regions."""
    aws_apis.make_endpoint("my-endpoint")

    def find_or_fail(in_region: Any) -> Found:
        if in_region.meta.region_name == "ap-east-1":
            raise EndpointConnectionError(endpoint_url="https://api.sagemaker.ap-east-1.amazonaws.com/")
        return find(in_region)

    monkeypatch.setattr(control_plane, "find", find_or_fail)
    entries, said = listed_and_said("--all-regions")
    assert list(entries) == ["my-endpoint"]
    assert said == (
        "not looked at: ap-east-1: Could not connect to the endpoint URL: "
        '"https://api.sagemaker.ap-east-1.amazonaws.com/"\n'
    )


def test_all_regions_without_endpoints(aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the partition that the region is in, or of the commercial one."""
    monkeypatch.delenv("AWS_REGION")
    result = run("--all-regions")
    regions = boto3.session.Session().get_available_regions("sagemaker")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"no endpoints in {len(regions)} regions\n")
    assert set(aws_apis.sagemaker.calls) == {("ListEndpoints", region) for region in regions}
    aws_apis.sagemaker.calls.clear()
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    assert run("--all-regions").exit_code == 0
    assert set(aws_apis.sagemaker.calls) == {("ListEndpoints", "cn-north-1"), ("ListEndpoints", "cn-northwest-1")}


@pytest.mark.usefixtures("few_regions")
def test_all_regions_refused(aws_apis: Aws) -> None:
    aws_apis.sagemaker.refuses("*", code="ExpiredTokenException")
    result = run("--all-regions", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ListEndpoints: ExpiredTokenException: ")
    assert result.stderr.count("\n") == 1


# Refusals


# What is not known without a permission, and of what.
UNKNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "DescribeEndpoint": (
        "endpoint",
        {
            **{"failure_reason": None, "instance_types": [], "current": None, "desired": None, "images": []},
            **{"routing": [], "settings": {}},
        },  # and below
    ),
    "DescribeEndpointConfig": ("endpoint", {"instance_types": []}),
    "DescribeInferenceComponent": ("component", {"current": None, "desired": None, "images": [], "settings": {}}),
    "DescribeModel": ("my-gpus/writer", {"images": [], "settings": {}}),
}


def test_one_permission_less(account: Aws) -> None:
    """The list stays, and the action that is missing is named; what it does not touch is as before."""
    account.client("sagemaker").create_inference_component(
        InferenceComponentName="writer",
        EndpointName="my-gpus",
        Specification={"ModelName": "small", "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024}},
        RuntimeConfig={"CopyCount": 1},
    )
    before = listed()
    assert before["my-gpus/writer"]["images"] == [IMAGE]
    for operation, (touched, unknown) in UNKNOWN.items():
        account.sagemaker.refused.clear()
        account.sagemaker.refuses(operation)
        after, said = listed_and_said()
        assert f"not all is known, since the credentials lack sagemaker:{operation}\n" in said
        assert list(after) == list(before)
        for name, entry in before.items():
            if touched in (name, "component" if "/" in name else "endpoint"):
                entry = entry | unknown
            if operation == "DescribeEndpoint":  # what is known of an endpoint is known of its components
                entry = entry | {"asynchronous": None, "serverless": None}
                if name in ("my-endpoint", "reports", "small"):
                    entry = entry | {"callable": None}
            assert after[name] == entry, name

    account.sagemaker.refused.clear()
    account.sagemaker.refuses("ListInferenceComponents")
    after, said = listed_and_said()
    assert "sagemaker:ListInferenceComponents\n" in said
    assert after == {name: entry for name, entry in before.items() if "/" not in name}


def test_permission_only_to_list(account: Aws) -> None:
    """Nothing then tells an endpoint that hosts components from others: none is said to be callable."""
    for operation in (*UNKNOWN, "ListInferenceComponents"):
        account.sagemaker.refuses(operation)
    entries, said = listed_and_said()
    assert {name: (each["status"], each["callable"]) for name, each in entries.items()} == {
        "broken": ("Failed", False),
        "my-endpoint": ("InService", None),
        "my-gpus": ("InService", None),
        "reports": ("InService", None),
        "small": ("InService", None),
    }
    assert said == (
        "not all is known, since the credentials lack sagemaker:DescribeEndpoint, sagemaker:ListInferenceComponents\n"
    )
    assert run().stdout.splitlines()[2].split() == [
        *("my-endpoint", "-", "InService", "-", "-", "sagemaker_openai/my-endpoint")
    ]


def test_the_permission_that_it_takes(aws_apis: Aws) -> None:
    aws_apis.sagemaker.refuses("ListEndpoints")
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is not authorized to perform: sagemaker:ListEndpoints" in result.stderr
    assert "Traceback" not in result.output


def test_other_refusals_are_not_taken_for_an_answer(aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    aws_apis.make_endpoint("my-endpoint")
    aws_apis.sagemaker.refuses("DescribeEndpointConfig", code="ThrottlingException")
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "DescribeEndpointConfig: ThrottlingException" in result.stderr


@pytest.mark.usefixtures("few_regions")
def test_no_way_to_aws(monkeypatch: pytest.MonkeyPatch, aws_apis: Aws) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://127.0.0.1:9")
    for arguments in ((), ("--all-regions",)):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == 'Error: Could not connect to the endpoint URL: "http://127.0.0.1:9/"\n'


@pytest.mark.usefixtures("few_regions")
def test_no_credentials(monkeypatch: pytest.MonkeyPatch, aws_apis: Aws) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    for arguments in ((), ("--all-regions",)):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: no AWS credentials found: set AWS_ACCESS_KEY_ID")
        assert "--profile" in result.stderr
    assert reason(CredentialsError(NO_CREDENTIALS)) == reason(NoCredentialsError())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "nobody"], "The config profile (nobody) could not be found"),
        (["--region", "narnia"], "'narnia' is not an AWS region; write one such as 'us-west-2'"),
    ],
)
def test_what_does_not_exist(arguments: list[str], said: str, aws_apis: Aws) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {said}\n")


def test_no_region(aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    result = run()
    assert result.exit_code == 1
    assert "no AWS region: give --region" in result.stderr


def test_wrong_usage(aws_apis: Aws) -> None:
    for arguments in (["--region", REGION, "--all-regions"], ["my-endpoint"], ["--unknown"]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
    assert not aws_apis.sagemaker.calls


# In a terminal


def on_screen(columns: int, *arguments: str) -> tuple[list[str], str]:
    """The lines on a screen of that width, and what was written to it."""
    with in_terminal(["endpoints", *arguments], os.environ, columns=columns, rows=50) as terminal:
        assert terminal.wait_for_the_end() == 0
        return terminal.screen.splitlines(), terminal.written.decode()


def models_of(account: Aws) -> list[str]:
    return [each["model"] for each in listed().values() if each["model"]]


def test_two_lines_each_at_80_columns(account: Aws) -> None:
    lines, written = on_screen(80)
    assert [line for line in lines if line.startswith("sagemaker_openai/")] == models_of(account)
    assert lines[2:6] == [
        "sagemaker_openai/my-endpoint",
        "  InService        1/1 ml.g6.2xlarge vllm:0.11.2-gpu-py312",
        "my-gpus: call its components",
        "  InService        2/2 ml.g6.2xlarge -",
    ]
    assert lines[-1] == "broken: Failed: No GPU."
    assert "\x1b[32mInService" in written  # green


def test_the_table_at_120_columns(account: Aws) -> None:
    lines, _ = on_screen(120)
    assert [line.rstrip() for line in lines[:-1]] == TABLE.splitlines()


def test_only_the_image_is_cut(account: Aws) -> None:
    account.make_endpoint("long-image", image=f"registry/{'x' * 100}")
    lines, _ = on_screen(120)
    assert lines[0].split() == ["ENDPOINT", "COMPONENT", "STATUS", "INSTANCES", "IMAGE", "MODEL"]
    assert [line.split()[-1] for line in lines if "sagemaker_openai/" in line] == models_of(account)
    assert any("xxx…" in line for line in lines)


def test_settings_where_there_is_room(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder", environment=ENVIRONMENT)
    for columns, shown in ((140, True), (112, False)):
        lines, _ = on_screen(columns)
        assert lines[0].split()[-3:] == (["IMAGE", "SETTINGS", "MODEL"] if shown else ["INSTANCES", "IMAGE", "MODEL"])
        assert ("32k tools reasoning" in lines[2]) is shown


def test_fewer_columns_for_long_names(account: Aws) -> None:
    name = f"jumpstart-{'x' * 30}"
    account.make_endpoint(name)
    lines, _ = on_screen(120)
    assert lines[0].split() == ["STATUS", "INSTANCES", "IMAGE", "MODEL"]
    assert [line.split()[-1] for line in lines if "sagemaker_openai/" in line] == models_of(account)


def test_a_model_that_is_longer_than_a_line(aws_apis: Aws) -> None:
    """It is written in one piece, for the terminal to break: what is copied from there is whole."""
    endpoint, component = "e" * 63, "c" * 63
    aws_apis.make_endpoint(endpoint, component)
    _, written = on_screen(80)
    assert f"sagemaker_openai/{endpoint}/{component}" in written


# The library's part


def test_find_one_endpoint(account: Aws) -> None:
    account.make_endpoint("other-gpus", "writer")
    account.sagemaker.calls.clear()
    one = find(client(REGION), "my-gpus")
    assert one.region == REGION
    assert [(each.endpoint, each.inference_component, each.status) for each in one.listed] == [
        ("my-gpus", None, "InService"),
        ("my-gpus", "coder", "InService"),
        ("my-gpus", "reviewer", "InService"),
    ]
    operations = Counter(operation for operation, _ in account.sagemaker.calls.elements())
    assert operations == {
        "DescribeEndpoint": 1,
        "DescribeEndpointConfig": 1,
        "ListInferenceComponents": 1,
        "DescribeInferenceComponent": 2,
    }
    account.sagemaker.refuses("ListInferenceComponents")
    assert find(client(REGION), "my-gpus").not_permitted == ("sagemaker:ListInferenceComponents",)


def test_find_without_settings_asks_no_models(account: Aws) -> None:
    """Where their images are known without. A proxy that asks every few minutes leaves no refusals in CloudTrail."""
    found = find(client(REGION), settings=False)
    assert "DescribeModel" not in {operation for operation, _ in account.sagemaker.calls}
    assert [each.callable for each in found.listed] == [each.callable for each in find(client(REGION)).listed]
    assert all(each.images for each in found.listed if each.model)


def test_find_no_such_endpoint(account: Aws) -> None:
    with pytest.raises(ClientError, match="Could not find endpoint"):
        find(client(REGION), "nowhere")


def test_nothing_that_a_terminal_would_obey(aws_apis: Aws) -> None:
    """SageMaker takes any characters but blanks in an image's name, and says in a reason what a container said."""
    aws_apis.make_endpoint("my-endpoint", image=f"{IMAGE}\x1b]0;a\x07\x9b2J")
    aws_apis.sagemaker.shows("endpoint/my-endpoint", {"EndpointStatus": "Failed", "FailureReason": "Bad \x1b[2J\x07"})
    result = run()
    assert not set("\x1b\x07\x9b") & set(result.stdout + result.stderr)
    assert "my-endpoint: Failed: Bad [2J" in result.stderr
