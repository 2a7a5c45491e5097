"""What is in service, in a proxy's lists of models: under wildcards, by region, role and API key, and callable."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest

from litellm_sagemaker_openai.aws.in_service import PERMISSIONS
from tests.aws_apis import Aws, aws_services
from tests.commands.test_endpoints import ASYNCHRONOUS
from tests.conftest import CREDENTIALS, REGION
from tests.operating.conftest import fine
from tests.operating.proxies import Proxy, config, proxy, until
from tests.scripted import Answer, Seen, json_answer, scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

OTHER_REGION, REFUSING_REGION = "eu-west-1", "ap-south-1"
ROLE = "arn:aws:iam::222222222222:role/litellm"
# By region, and a role's account for the last: what the runtime answers for.
CALLABLE = {
    REGION: {"my-endpoint", "my-gpus/coder", "my-gpus/reviewer", "team-a"},
    OTHER_REGION: {"my-endpoint", "team-b"},
    "us-east-1": {"theirs"},
}
# What each wildcard lists.
LISTED = {
    "sagemaker/*": {"sagemaker/my-endpoint", "sagemaker/my-gpus/coder", "sagemaker/my-gpus/reviewer"},
    "sagemaker/team-*": {"sagemaker/team-b"},
    "gpu/*": {"gpu/a"},
    "gpus-*": {"gpus-coder", "gpus-reviewer"},
    "sagemaker_openai/t*": {"sagemaker_openai/team-b"},
    "eu/*": {"eu/my-endpoint", "eu/team-b"},
    "both/*": {"both/my-endpoint"},
    "account/*": {"account/theirs"},
    "*": {"my-gpus/coder", "my-gpus/reviewer", "team-a"},
    "refused/*": set(),
    "queued/*": set(),
    "components/*": set(),
    "unlike/*/*": set(),
}
NAMED = {"my-endpoint", "named"}
KEYS = {
    "sk-gpu": (["gpu/*"], {"gpu/a"}),
    "sk-narrower": (["sagemaker/my-g*"], {"sagemaker/my-gpus/coder", "sagemaker/my-gpus/reviewer"}),
    "sk-one": (["sagemaker/my-endpoint"], {"sagemaker/my-endpoint"}),
    "sk-no-deployment": (["sagemaker_openai/my-gpus/*"], set()),
    "sk-name-is-model": (["sagemaker_openai/team-*"], {"sagemaker_openai/team-b"}),
    "sk-others": (["named"], {"named"}),
}
AUTHENTICATE = f"""
import os
from litellm.proxy._types import UserAPIKeyAuth

KEYS = { ({key: models for key, (models, _) in KEYS.items()})!r}

async def authenticate(request, api_key):
    if api_key == os.environ["LITELLM_MASTER_KEY"]:
        return UserAPIKeyAuth(api_key=api_key, user_role="proxy_admin")
    return UserAPIKeyAuth(api_key=api_key, models=KEYS[api_key], user_role="internal_user")
"""


def deployment(name: str, model: str = "sagemaker_openai/*", **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, **params}}


CONFIG = {
    "model_list": [
        deployment("sagemaker/team-*", "sagemaker_openai/team-*", aws_region_name=OTHER_REGION),
        deployment("gpu/*", "sagemaker_openai/team-*", litellm_credential_name="sagemaker"),
        deployment("gpus-*", "sagemaker_openai/my-gpus/*"),
        deployment("sagemaker_openai/t*", "sagemaker_openai/t*", aws_region_name=OTHER_REGION),
        deployment("eu/*", aws_region_name=OTHER_REGION),
        deployment("both/*", aws_region_name=REGION),
        deployment("both/*", aws_region_name=OTHER_REGION),
        deployment("account/*", aws_region_name="us-east-1", aws_role_name=ROLE, aws_session_name="litellm"),
        deployment("*"),
        deployment("refused/*", aws_region_name=REFUSING_REGION),
        deployment("queued/*", aws_sagemaker_async=True),
        deployment("components/*", model_id="coder"),
        deployment("unlike/*/*"),
        deployment("my-endpoint", "sagemaker_openai/team-a"),
        deployment("named", "sagemaker_openai/my-endpoint"),
    ],
    "general_settings": {"custom_auth": "keys.authenticate", "custom_auth_run_common_checks": True},
    "litellm_settings": {"enable_post_custom_auth_checks": True},
    "router_settings": {"num_retries": 0, "disable_cooldowns": True},
}


def sagemaker(seen: Seen) -> Answer:
    """Answers for what is in service in the token's region."""
    token = seen.headers["authorization"].removeprefix("Bearer sagemaker-api-key-")
    [scope] = parse_qs(base64.b64decode(token).decode().partition("?")[2])["X-Amz-Credential"]
    named = seen.path.removesuffix("/openai/v1/chat/completions").removeprefix("/endpoints/")
    if named.replace("/inference-components", "") in CALLABLE[scope.split("/")[2]]:
        return fine(seen)
    return json_answer({"error": {"message": f"Endpoint {named} of account 123456789012 not found."}}, 400)


@dataclass(frozen=True)
class Operated:
    proxy: Proxy
    aws: Aws

    def names(self, key: str = "", **params: Any) -> list[str]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self.proxy.client.get("/v1/models", headers=headers, params=params)
        return [each["id"] for each in answer.raise_for_status().json()["data"]]

    def asked(self) -> dict[str, int]:
        """How often each region was asked for its endpoints."""
        return {region: times for (name, region), times in self.aws.sagemaker.calls.items() if name == "ListEndpoints"}


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "keys.py").write_text(AUTHENTICATE)
    with ExitStack() as stack:
        aws = stack.enter_context(aws_services())
        aws.forget()  # moto has what another module of this process made
        aws.make_endpoint("my-endpoint")
        aws.make_endpoint("my-gpus", "coder", "reviewer")
        aws.make_endpoint("team-a")
        aws.make_endpoint("reports", **ASYNCHRONOUS)
        aws.make_endpoint("team-broken")
        aws.sagemaker.shows("endpoint/team-broken", "Failed")
        aws.make_endpoint("my-endpoint", region=OTHER_REGION)
        aws.make_endpoint("team-b", region=OTHER_REGION)
        make_theirs(aws)
        aws.sagemaker.refuses("ListEndpoints", REFUSING_REGION)
        aws.sagemaker.calls.clear()
        runtime = stack.enter_context(scripted(sagemaker))
        environment = {"AWS_ENDPOINT_URL_SAGEMAKER": aws.url, "AWS_ENDPOINT_URL_STS": aws.url, "LITELLM_LOG": "DEBUG"}
        started = stack.enter_context(
            proxy(folder, config("found_models.yaml"), CONFIG, sagemaker=runtime.url, environment=environment)
        )
        yield Operated(started, aws)
        aws.forget()


def make_theirs(aws: Aws) -> None:
    """An endpoint in another account, for whose role alone moto shows it."""
    given = aws.client("sts", "us-east-1").assume_role(RoleArn=ROLE, RoleSessionName="litellm")["Credentials"]
    client = boto3.client(
        "sagemaker",
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    role = "arn:aws:iam::222222222222:role/sagemaker"
    client.create_model(ModelName="theirs", ExecutionRoleArn=role, PrimaryContainer={"Image": "vllm"})
    variant = {"VariantName": "v", "ModelName": "theirs", "InstanceType": "ml.g6.2xlarge", "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName="theirs", ExecutionRoleArn=role, ProductionVariants=[variant])
    client.create_endpoint(EndpointName="theirs", EndpointConfigName="theirs")
    client.close()


@pytest.fixture(scope="module")
def listed(operated: Operated) -> list[str]:
    """Once all is known. AWS is asked before any client asks."""
    for _ in until("AWS to be asked"):
        if len(operated.asked()) == 4:
            break
    expected = {*NAMED, *(name for names in LISTED.values() for name in names)}
    names: list[str] = []
    for _ in until("the models in service"):
        names = operated.names()
        if set(names) >= expected:
            break
    return names


def test_what_is_in_service_is_listed_and_nothing_else(listed: list[str]) -> None:
    assert sorted(set(listed)) == sorted({*NAMED, *(name for names in LISTED.values() for name in names)})
    twice = {name for name, times in Counter(listed).items() if times > 1}
    assert not twice


def test_each_that_is_listed_can_be_called(operated: Operated, listed: list[str]) -> None:
    for name in listed:
        answer = operated.proxy.chat(name)
        assert answer.status_code == 200, (name, answer.text)


def test_model_info_has_the_same(operated: Operated, listed: list[str]) -> None:
    rows = operated.proxy.get("/model/info").raise_for_status().json()["data"]
    assert {row["model_name"] for row in rows if "*" not in row["model_name"]} == set(listed)
    groups = operated.proxy.get("/model_group/info").raise_for_status().json()["data"]
    assert {group["model_group"] for group in groups} == set(listed)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_sees_what_it_may_call(operated: Operated, listed: list[str], key: str) -> None:
    _, names = KEYS[key]
    assert set(operated.names(key)) == names
    client, headers = operated.proxy.client, {"Authorization": f"Bearer {key}"}
    rows = client.get("/model/info", headers=headers).raise_for_status().json()["data"]
    assert {row["model_name"] for row in rows if "*" not in row["model_name"]} == names
    for name in {*names, *listed}:
        body = {"model": name, "messages": [{"role": "user", "content": "Hello?"}]}
        answer = client.post("/v1/chat/completions", json=body, headers=headers)
        assert (answer.status_code == 200) == (name in names), (name, answer.text)


def test_a_client_that_asks_in_a_loop_has_aws_asked_once(operated: Operated, listed: list[str]) -> None:
    for _ in range(20):
        operated.names("sk-gpu")
        operated.names()
    # Twice here: with a region and the credential of that name, and with neither.
    assert operated.asked() == {REGION: 2, OTHER_REGION: 1, "us-east-1": 1, REFUSING_REGION: 1}


def test_what_is_missing_is_said_once_in_the_log(operated: Operated, listed: list[str]) -> None:
    said = [line for line in operated.proxy.log.splitlines() if REFUSING_REGION in line and "WARNING" in line]
    [line] = [line for line in said if "can be listed" in line]
    assert "not authorized to perform: sagemaker:ListEndpoints" in line
    assert all(action in line for action in PERMISSIONS)


def test_no_secret_is_logged(operated: Operated, listed: list[str]) -> None:
    log = operated.proxy.log
    assert CREDENTIALS.secret_key not in log
    assert "CanonicalRequest" not in log
