"""``describe``, against moto's control plane over HTTP."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from litellm_sagemaker_openai import Description, describe
from litellm_sagemaker_openai.capabilities import Fact, values_of
from tests.aws_apis import IMAGE, PREFIX_AWARE, Aws
from tests.conftest import CREDENTIALS, REGION

pytestmark = pytest.mark.medium(reason="asks moto's control plane")

ROLE = "arn:aws:iam::123456789012:role/sagemaker"
ENVIRONMENT = {
    "SM_VLLM_MODEL": "Qwen/Qwen3-4B",
    "SM_VLLM_MAX_MODEL_LEN": "32768",
    "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": "true",
    "SM_VLLM_TOOL_CALL_PARSER": "hermes",
    "SM_VLLM_REASONING_PARSER": "qwen3",
    "HF_TOKEN": "hf_never-shown",
}
KNOWN = {
    "container": "vllm",
    "version": "0.11.2",
    "model_id": "Qwen/Qwen3-4B",
    "mode": "chat",
    "context_length": 32768,
    "tool_calls": True,
    "reasoning": True,
    "structured_outputs": True,
}
FROM_THE_IMAGE = {"container": "vllm", "version": "0.11.2"}


def known(description: Description) -> dict[str, Any]:
    return values_of(description.known())


def make_component(aws: Aws, name: str, endpoint: str = "my-gpus", **specification: Any) -> None:
    aws.client("sagemaker").create_inference_component(
        InferenceComponentName=name, EndpointName=endpoint, Specification=specification
    )


def test_an_endpoint(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint", environment=ENVIRONMENT)
    description = describe("my-endpoint")
    assert (description.endpoint, description.inference_component, description.region) == ("my-endpoint", None, REGION)
    assert (description.images, description.not_permitted) == ((IMAGE,), ())
    assert known(description) == KNOWN
    assert description.context_length == Fact(32768, "SM_VLLM_MAX_MODEL_LEN=32768")
    assert values_of(description.model_info()) == {
        "mode": "chat",
        "max_input_tokens": 32768,
        "supports_function_calling": True,
        "supports_tool_choice": True,
        "supports_response_schema": True,
        "supports_reasoning": True,
    }
    calls = {operation: count for (operation, _), count in aws_apis.sagemaker.calls.items()}
    calls = {operation: count for operation, count in calls.items() if operation.startswith("Describe")}
    assert calls == {"DescribeEndpoint": 1, "DescribeEndpointConfig": 1, "DescribeModel": 1}


@pytest.mark.parametrize(
    "name",
    [
        "my-gpus/coder",
        "sagemaker_openai/my-gpus/coder",
        f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/my-gpus/coder",
        f"sagemaker_openai/arn:aws:sagemaker:{REGION}:123456789012:endpoint/my-gpus/coder",
    ],
)
def test_a_component(aws_apis: Aws, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_apis.make_endpoint("my-gpus", "coder", environment=ENVIRONMENT)
    if "arn:" in name:
        monkeypatch.delenv("AWS_REGION")
    description = describe(name)
    assert (description.endpoint, description.inference_component) == ("my-gpus", "coder")
    assert (description.region, description.images) == (REGION, (IMAGE,))
    assert known(description) == KNOWN


def test_a_component_that_is_made_of_a_model(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz", "Environment": {"HF_MODEL_ID": "a/b"}}
    aws_apis.client("sagemaker").create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    make_component(aws_apis, "writer", ModelName="m", ComputeResourceRequirements={"MinMemoryRequiredInMb": 1024})
    assert known(describe("my-gpus/writer")) == {**FROM_THE_IMAGE, "model_id": "s3://bucket/model.tar.gz"}


def test_a_container_that_serves_many_models(aws_apis: Aws) -> None:
    """What a call gets is not what its variables say of one."""
    container = {
        "Image": IMAGE,
        "Mode": "MultiModel",
        "ModelDataUrl": "s3://bucket/models/",
        "Environment": ENVIRONMENT,
    }
    aws_apis.make_endpoint("my-gpus", "coder")
    aws_apis.client("sagemaker").create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    make_component(aws_apis, "many", ModelName="m", ComputeResourceRequirements={"MinMemoryRequiredInMb": 1024})
    assert known(describe("my-gpus/many")) == FROM_THE_IMAGE


def test_an_adapter_has_its_bases_settings(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder", environment={**ENVIRONMENT, "SM_VLLM_ENABLE_LORA": "true"})
    adapter: dict[str, Any] = {
        "BaseInferenceComponentName": "coder",
        "Container": {"ArtifactUrl": "s3://bucket/adapter.tar.gz"},
    }
    make_component(aws_apis, "adapter", **adapter)
    description = describe("my-gpus/adapter")
    assert (description.inference_component, description.images) == ("adapter", (IMAGE,))
    assert description.base_inference_component == "coder"
    assert describe("my-gpus/coder").base_inference_component is None
    assert known(description) == {**KNOWN, "lora": True}
    make_component(aws_apis, "orphan", **{**adapter, "BaseInferenceComponentName": "gone"})
    assert known(describe("my-gpus/orphan")) == {}


def test_specifications_for_several_instance_types(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")

    def specified(kind: str, length: str) -> dict[str, Any]:
        environment = {**ENVIRONMENT, "SM_VLLM_MAX_MODEL_LEN": length}
        image = {"SpecifiedImage": IMAGE}
        return {"InstanceType": kind, "Container": {"DeployedImage": image, "Environment": environment}}

    for length, context in (("32768", {"context_length": 32768}), ("8192", {})):
        several = [specified("ml.g6.12xlarge", "32768"), specified("ml.g5.12xlarge", length)]
        aws_apis.sagemaker.shows("inference-component/coder", {"Specification": {}, "Specifications": several})
        expected = {name: value for name, value in KNOWN.items() if name != "context_length"}
        assert known(describe("my-gpus/coder")) == {**expected, **context}


def test_production_variants(aws_apis: Aws) -> None:
    """Any of them may answer."""
    sagemaker = aws_apis.client("sagemaker")
    for name, length in (("blue", "32768"), ("green", "8192")):
        container = {"Image": IMAGE, "Environment": {**ENVIRONMENT, "SM_VLLM_MAX_MODEL_LEN": length}}
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variants = [
        {"VariantName": name, "ModelName": name, "InstanceType": "ml.g6.2xlarge", "InitialInstanceCount": 1}
        for name in ("blue", "green")
    ]
    sagemaker.create_endpoint_config(EndpointConfigName="e", ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="e")
    assert known(describe("e")) == {name: value for name, value in KNOWN.items() if name != "context_length"}


def test_a_model_of_several_containers(aws_apis: Aws) -> None:
    """The first and the last of them see other requests than those that are sent."""
    container = {"Image": IMAGE, "Environment": ENVIRONMENT}
    sagemaker = aws_apis.client("sagemaker")
    sagemaker.create_model(ModelName="e", ExecutionRoleArn=ROLE, Containers=[container, {"Image": "registry/after:1"}])
    variant = {"VariantName": "all", "ModelName": "e", "InstanceType": "ml.g6.2xlarge", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="e", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="e")
    description = describe("e")
    assert (description.images, known(description)) == ((IMAGE, "registry/after:1"), {})


def test_routing(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    blue = {"VariantName": "AllTraffic", "RoutingConfig": PREFIX_AWARE}
    aws_apis.sagemaker.shows("endpoint/my-gpus", {"ProductionVariants": [blue]})
    description = describe("my-gpus/coder")
    assert description.routing == Fact("PREFIX_AWARE", "RoutingStrategy=PREFIX_AWARE")
    assert description.prefix_length == Fact(4096, "PrefixLength=4096")
    assert description.concurrency_threshold == Fact(10, "ConcurrencyThreshold=10")
    aws_apis.sagemaker.shows("endpoint/my-gpus", {"ProductionVariants": [blue, {"VariantName": "green"}]})
    description = describe("my-gpus/coder")
    assert (description.routing, description.prefix_length) == (None, None)


def test_routing_as_the_configuration_has_it(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint", instances=2, routing=PREFIX_AWARE)
    assert known(describe("my-endpoint")) == {
        **FROM_THE_IMAGE,
        **{"routing": "PREFIX_AWARE", "prefix_length": 4096, "concurrency_threshold": 10},
    }


# Who may not ask, and what is not there


@pytest.mark.parametrize(
    ("refused", "endpoint", "component"),
    [
        ("DescribeEndpoint", {}, KNOWN),
        ("DescribeEndpointConfig", FROM_THE_IMAGE, KNOWN),
        ("DescribeInferenceComponent", KNOWN, {}),
        ("DescribeModel", FROM_THE_IMAGE, KNOWN),
    ],
)
def test_a_permission_less(aws_apis: Aws, refused: str, endpoint: dict[str, Any], component: dict[str, Any]) -> None:
    aws_apis.make_endpoint("my-endpoint", environment=ENVIRONMENT)
    aws_apis.make_endpoint("my-gpus", "coder", environment=ENVIRONMENT)
    aws_apis.sagemaker.refuses(refused)
    for name, expected in (("my-endpoint", endpoint), ("my-gpus/coder", component)):
        aws_apis.sagemaker.calls.clear()
        description = describe(name)
        assert known(description) == expected
        asked = (refused, REGION) in aws_apis.sagemaker.calls
        assert description.not_permitted == ((f"sagemaker:{refused}",) if asked else ())


def test_what_was_deleted_under_a_running_endpoint(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint", environment=ENVIRONMENT)
    aws_apis.client("sagemaker").delete_model(ModelName="my-endpoint")
    assert known(describe("my-endpoint")) == FROM_THE_IMAGE
    aws_apis.client("sagemaker").delete_endpoint_config(EndpointConfigName="my-endpoint")
    assert known(describe("my-endpoint")) == FROM_THE_IMAGE


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere", "Could not find endpoint"), ("my-gpus/nobody", "Could not find inference component")],
)
def test_what_is_not_there(aws_apis: Aws, name: str, said: str) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    with pytest.raises(ClientError, match=said):
        describe(name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"endpoint": "my-gpus"}, "my-gpus hosts inference components: name one, as in my-gpus/my-component"),
        (
            {"endpoint": "my-endpoint/coder"},
            "the inference component coder is on the endpoint my-gpus, not my-endpoint",
        ),
        ({"endpoint": "a/b/c"}, "has 3 parts"),
        ({"endpoint": "my-endpoint", "region": "narnia"}, "'narnia' is not an AWS region"),
        (
            {"endpoint": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/e", "region": REGION},
            "region says region 'us-west-2' and the ARN says 'eu-west-1'; they must agree",
        ),
        ({"endpoint": "e", "client": "", "profile": "p"}, "client and profile exclude each other"),
        (
            {"endpoint": "e", "client": "", "region": "eu-west-1"},
            "client says region 'us-west-2' and region or the ARN",
        ),
    ],
)
def test_bad_input(aws_apis: Aws, arguments: dict[str, Any], said: str) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    aws_apis.make_endpoint("my-endpoint")
    if "client" in arguments:
        arguments = {**arguments, "client": aws_apis.client("sagemaker")}
    with pytest.raises(ValueError, match=said):
        describe(**arguments)


def test_no_region(aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ValueError, match="no AWS region: give region"):
        describe("my-endpoint")


def test_another_client(aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """With credentials and a region of its own."""
    aws_apis.make_endpoint("my-endpoint", region="eu-west-1", environment=ENVIRONMENT)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name)
    session = boto3.session.Session(CREDENTIALS.access_key, CREDENTIALS.secret_key, region_name="eu-west-1")
    description = describe("my-endpoint", client=session.client("sagemaker"))
    assert (description.region, known(description)) == ("eu-west-1", KNOWN)
    with pytest.raises(NoCredentialsError):
        describe("my-endpoint", region="eu-west-1")


def test_aws_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://127.0.0.1:9")
    with pytest.raises(EndpointConnectionError):
        describe("my-endpoint")


def test_other_variables_are_never_shown(aws_apis: Aws, caplog: pytest.LogCaptureFixture) -> None:
    """botocore logs each answer at DEBUG."""
    caplog.set_level(logging.DEBUG)
    aws_apis.make_endpoint("my-endpoint", environment=ENVIRONMENT)
    aws_apis.make_endpoint("my-gpus", "coder", environment=ENVIRONMENT)
    caplog.clear()
    shown = [repr(describe(name)) for name in ("my-endpoint", "my-gpus/coder")]
    assert "never-shown" not in "".join(shown)
    assert "never-shown" not in caplog.text
    assert CREDENTIALS.secret_key not in caplog.text


def test_it_does_not_import_litellm() -> None:
    program = "import sys; from litellm_sagemaker_openai import describe; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
