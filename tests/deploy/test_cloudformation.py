"""deploy/cloudformation/proxy.yaml: who may do what, and how long a stream may last."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.deploy.files import ARNS, FALLBACK_ID, LONGEST_STREAM, TEMPLATE, attributes, container, stack, variables
from tests.docs.blocks import JSON
from tests.docs.pages import PAGES

WITH, WITHOUT = stack(FallbackModelId=FALLBACK_ID), stack()


def statements(resources: Any, role: str = "TaskRole") -> list[dict[str, Any]]:
    policies = [each["PolicyDocument"] for each in resources[role]["Policies"]]
    assert {each["Version"] for each in policies} == {"2012-10-17"}
    return [statement for each in policies for statement in each["Statement"]]


def test_the_task_may_do_what_the_docs_name_and_nothing_else() -> None:
    [documented] = [json.loads(block.text) for block in JSON if block.page == "docs/credentials.md"]
    assert [*statements(WITHOUT)] == documented["Statement"]
    assert "ManagedPolicyArns" not in WITH["TaskRole"]


def test_with_a_fallback_it_may_call_that_model_too() -> None:
    *others, fallback = statements(WITH)
    assert others == statements(WITHOUT)
    assert fallback["Resource"] == f"arn:aws:bedrock:us-west-2::foundation-model/{FALLBACK_ID}"
    assert set(fallback["Action"]) == set(re.findall(r"`(bedrock:\w+)`", PAGES["docs/proxy.md"]))


def test_fargate_may_read_the_master_key_and_no_other_secret() -> None:
    [statement] = statements(WITH, "ExecutionRole")
    assert (statement["Action"], statement["Resource"]) == ("secretsmanager:GetSecretValue", "<MasterKey>")


def test_the_master_key_is_made_by_aws_and_is_nowhere_else() -> None:
    assert WITH["MasterKey"]["GenerateSecretString"]["PasswordLength"] >= 32
    assert container(WITH)["Secrets"] == [{"Name": "LITELLM_MASTER_KEY", "ValueFrom": "<MasterKey>"}]
    assert "LITELLM_MASTER_KEY" not in variables(WITH)


def test_a_stream_outlives_an_update_and_its_own_silence() -> None:
    idle = int(attributes(WITH["LoadBalancer"]["LoadBalancerAttributes"])["idle_timeout.timeout_seconds"])
    drain = int(attributes(WITH["TargetGroup"]["TargetGroupAttributes"])["deregistration_delay.timeout_seconds"])
    assert idle > LONGEST_STREAM
    assert drain >= LONGEST_STREAM + 20
    # A connection that the proxy closes first is a 502 for who used it at that moment.
    assert int(variables(WITH)["KEEPALIVE_TIMEOUT"]) > idle
    assert container(WITH)["StopTimeout"] == 120  # Fargate's maximum: botocore 1.44.5, ECS, ContainerDefinition


def test_an_update_that_fails_is_taken_back_and_stops_nothing_first() -> None:
    deployment = WITH["Service"]["DeploymentConfiguration"]
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert deployment["MinimumHealthyPercent"] == 100
    assert WITH["Service"]["HealthCheckGracePeriodSeconds"] >= 60


def test_only_the_load_balancer_reaches_the_tasks() -> None:
    [ingress] = WITH["TaskSecurityGroup"]["SecurityGroupIngress"]
    assert ingress["SourceSecurityGroupId"] == "<LoadBalancerSecurityGroup>"
    assert WITH["Service"]["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    assert WITH["Listener"]["Protocol"] == "HTTPS"


@pytest.mark.parametrize("name", ["ClientCidr", "CertificateArn", "EndpointArns", "Image"])
def test_what_only_the_operator_can_know_has_no_default(name: str) -> None:
    assert "Default" not in TEMPLATE["Parameters"][name]


def test_the_vpc_endpoint_is_made_when_asked_for() -> None:
    assert "VpcEndpoint" not in WITH
    made = stack(RuntimeVpcEndpoint="true")["VpcEndpoint"]
    assert made["ServiceName"] == "com.amazonaws.us-west-2.sagemaker.runtime"
    assert made["PrivateDnsEnabled"] is True


def test_the_endpoints_are_those_of_the_docs() -> None:
    assert statements(WITH)[0]["Resource"] == ARNS
