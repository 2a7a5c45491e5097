"""Teams in the real proxy, as docs/teams.md shows them: roles, keys, spend and budgets.

STS and SageMaker are stand-ins that act by the page's policies: who may assume a role, and what a role may call.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.local.tokens import check_token
from tests.conftest import CREDENTIALS, REGION
from tests.docs.pages import BLOCKS
from tests.operating.bedrock import GPT_OSS, bedrock
from tests.operating.conftest import fine
from tests.operating.proxies import Proxy, config, proxy, text_of, until
from tests.scripted import Answer, Scripted, Seen, json_answer, scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

PAGE = [block for block in BLOCKS if block.page == "docs/teams.md"]
[TEAM_KEYS] = [block.text for block in PAGE if block.language == "python"]
PROXYS_POLICY, TRUST_POLICY, PERMISSIONS = (
    json.loads(block.text)["Statement"] for block in PAGE if block.language == "json"
)
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
KEYS = {"payments": "sk-payments", "search": "sk-search"}
ROLE = "arn:aws:iam::123456789012:role/litellm-{}"
_ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>
<Expiration>2046-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
_REFUSED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>User: {} is not authorized to perform: sts:AssumeRole on resource: {}</Message>
</Error></ErrorResponse>"""


def credentials_of(role: str) -> FrozenCredentials:
    name = role.rpartition("-")[2].upper()
    return FrozenCredentials(f"ASIA{name}", f"secret-{name}", f"session-{name}")


def sts(seen: Seen) -> Answer:
    """AssumeRole, by the proxy's policy and the trust policy of each role, with each team's external id."""
    form = {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
    role, external_id = form["RoleArn"], form.get("ExternalId", "")
    [trust] = TRUST_POLICY
    [allowed] = PROXYS_POLICY
    of_payments = trust["Condition"]["StringEquals"]["sts:ExternalId"]
    trusted = {ROLE.format("payments"): of_payments, ROLE.format("search"): "search-b27d05"}
    if f"sts:{form['Action']}" == trust["Action"] and role in allowed["Resource"] and trusted[role] == external_id:
        given = credentials_of(role)
        body = _ASSUMED.format(given.access_key, given.secret_key, given.session_token)
        return Answer([body.encode()], content_type="text/xml")
    return Answer([_REFUSED.format(trust["Principal"]["AWS"], role).encode()], 403, "text/xml")


def resources_of(path: str) -> list[str]:
    """What a call needs to be allowed on."""
    parts = path.split("/")
    of_account = f"arn:aws:sagemaker:{REGION}:123456789012"
    component = [f"{of_account}:inference-component/{parts[4]}"] if parts[3] == "inference-components" else []
    return [f"{of_account}:endpoint/{parts[2]}", *component]


ALLOWED = {
    ROLE.format("payments"): PERMISSIONS[0]["Resource"],
    ROLE.format("search"): [f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/search-endpoint"],
}


def sagemaker(seen: Seen) -> Answer:
    """Answers what the role whose token it is may call; checks the token as the local runtime does."""
    role = role_of(seen)
    given = credentials_of(role)
    now = datetime.now(timezone.utc)
    refusal = check_token(seen.headers["authorization"], credentials=given, region=REGION, now=now)
    if refusal or not set(resources_of(seen.path)) <= set(ALLOWED[role]):
        return json_answer({"error": {"message": "not authorized"}}, 403)
    if b"fail" in seen.body:
        return json_answer({"error": {"message": "not now"}}, 503)
    return fine(seen)


def role_of(seen: Seen) -> str:
    token = seen.headers["authorization"].removeprefix("Bearer sagemaker-api-key-")
    [scope] = parse_qs(base64.b64decode(token).decode().partition("?")[2])["X-Amz-Credential"]
    by_key = {credentials_of(role).access_key: role for role in ALLOWED}
    return by_key[scope.split("/")[0]]


@dataclass(frozen=True)
class Company:
    proxy: Proxy
    sagemaker: Scripted
    sts: Scripted
    bedrock: Scripted

    def ask(self, key: str, model: str, question: str = "Hello?", **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": question}], **more}
        return self.proxy.client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})


def deployment(name: str, **params: Any) -> dict[str, Any]:
    params = {"model": "sagemaker_openai/search-endpoint", "litellm_credential_name": "search", **params}
    return {"model_name": name, "litellm_params": params, "model_info": {"access_groups": ["search"]}}


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "team_keys.py").write_text(TEAM_KEYS)
    a_cent: dict[str, Any] = {"input_cost_per_second": 1000, "max_budget": 0.01, "budget_duration": "30d"}
    [payments, _] = config("teams.yaml")["credential_list"]
    mistaken = {**payments, "credential_name": "mistaken"}
    mistaken["credential_values"] = {**payments["credential_values"], "aws_external_id": "search-b27d05"}
    more = {
        "model_list": [
            deployment("mistaken", litellm_credential_name="mistaken"),
            deployment("not-theirs", model="sagemaker_openai/payments-gpus/coder"),
            *(deployment(f"a-cent-{stream}", **a_cent) for stream in (False, True)),
            deployment("a-cent-then-bedrock", **a_cent),
            {**deployment("bedrock"), "litellm_params": {"model": GPT_OSS}},
        ],
        "credential_list": [mistaken],
        "router_settings": {"num_retries": 0, "fallbacks": [{"a-cent-then-bedrock": ["bedrock"]}]},
    }
    with ExitStack() as stack:
        on_sagemaker, on_sts = stack.enter_context(scripted(sagemaker)), stack.enter_context(scripted(sts))
        on_bedrock = stack.enter_context(bedrock())
        started = proxy(
            folder,
            config("teams.yaml"),
            more,
            sagemaker=on_sagemaker.url,
            bedrock=on_bedrock.url,
            environment={"AWS_ENDPOINT_URL_STS": on_sts.url},
        )
        yield Company(stack.enter_context(started), on_sagemaker, on_sts, on_bedrock)


@pytest.fixture(autouse=True)
def nothing_seen(company: Company) -> None:
    for server in (company.sagemaker, company.sts, company.bedrock):
        server.seen.clear()


class TestRoles:
    @STREAM
    @pytest.mark.parametrize("team", KEYS)
    def test_each_teams_calls_are_signed_by_its_own_role(self, company: Company, team: str, stream: bool) -> None:
        answer = company.ask(KEYS[team], f"coder-{team}", stream=stream)
        assert text_of(answer) == "SageMaker's."
        [seen] = company.sagemaker.seen
        assert role_of(seen) == ROLE.format(team)
        for asked in company.sts.seen:  # if the role's credentials were not there yet
            assert f"RoleSessionName=litellm-{team}&" in f"{asked.body.decode()}&"
            assert CREDENTIALS.access_key in asked.headers["authorization"]  # the proxy's own

    def test_another_teams_external_id_does_not_open_a_role(self, company: Company) -> None:
        answer = company.ask(KEYS["search"], "mistaken")
        assert answer.status_code == 401
        assert "123456789012" not in answer.text
        assert "is not authorized to perform: sts:AssumeRole" in company.proxy.log
        assert company.sagemaker.seen == []

    def test_a_role_cannot_call_another_teams_endpoint(self, company: Company) -> None:
        """Whatever the proxy's configuration says."""
        assert company.ask(KEYS["search"], "not-theirs").status_code == 403


class TestKeys:
    @STREAM
    @pytest.mark.parametrize(("team", "model"), [("payments", "coder-search"), ("search", "coder-payments")])
    def test_a_key_cannot_use_another_teams_model(self, company: Company, team: str, model: str, stream: bool) -> None:
        answer = company.ask(KEYS[team], model, stream=stream)
        assert answer.status_code == 403
        assert company.sagemaker.seen == company.sts.seen == []

    def test_nor_as_a_fallback(self, company: Company) -> None:
        answer = company.ask(KEYS["payments"], "coder-payments", "fail", fallbacks=["coder-search"])
        assert answer.status_code == 403
        assert company.sagemaker.seen == []

    def test_a_key_sees_its_own_models(self, company: Company) -> None:
        answer = company.proxy.client.get("/v1/models", headers={"Authorization": f"Bearer {KEYS['payments']}"})
        assert [each["id"] for each in answer.json()["data"]] == ["coder-payments"]

    @pytest.mark.parametrize("name", ["litellm_credential_name", "aws_role_name"])
    def test_a_client_cannot_name_another_role(self, company: Company, name: str) -> None:
        said = {"litellm_credential_name": "search", "aws_role_name": ROLE.format("search")}[name]
        answer = company.ask(KEYS["payments"], "coder-payments", **{name: said})
        assert answer.status_code in (400, 500)  # aws_role_name: LiteLLM's own refusal, 500 where prisma is missing
        assert company.sagemaker.seen == company.sts.seen == []

    def test_an_unknown_key_is_refused(self, company: Company) -> None:
        assert company.ask("sk-nobodys", "coder-payments").status_code == 401
        assert company.sagemaker.seen == []


def test_callbacks_have_the_team_and_its_tags(company: Company) -> None:
    answer = company.ask(KEYS["payments"], "coder-payments", metadata={"tags": ["batch"]})
    logged = company.proxy.reported(answer.headers["x-litellm-call-id"], "success")["logged"]
    assert logged["metadata"]["user_api_key_team_id"] == logged["metadata"]["user_api_key_team_alias"] == "payments"
    assert "batch" in logged["request_tags"]


def test_a_failed_call_costs_nothing(company: Company) -> None:
    answer = company.ask(KEYS["search"], "coder-search", "fail")
    failed = company.proxy.reported(answer.headers["x-litellm-call-id"], "failure")["logged"]
    assert not failed["response_cost"]


class TestBudgetOfADeployment:
    @STREAM
    def test_once_it_is_spent_the_answer_is_429(self, company: Company, stream: bool) -> None:
        model = f"a-cent-{stream}"
        assert text_of(company.ask(KEYS["search"], model, stream=stream)) == "SageMaker's."
        for _ in until("its cost to be added up"):
            answer = company.ask(KEYS["search"], model, stream=stream)
            if not answer.is_success:
                break
        assert answer.status_code == 429
        assert "No deployments available - crossed budget" in answer.json()["error"]["message"]
        company.sagemaker.seen.clear()
        assert company.ask(KEYS["search"], model).status_code == 429
        assert company.sagemaker.seen == []

    def test_then_the_fallbacks_answer(self, company: Company) -> None:
        for _ in until("its cost to be added up"):
            answer = company.ask(KEYS["search"], "a-cent-then-bedrock")
            assert answer.is_success
            if company.bedrock.seen:
                break
        assert answer.headers["x-litellm-attempted-fallbacks"] == "1"


def test_with_one_switch_alone_a_key_can_use_any_model(tmp_path: Path) -> None:
    """``custom_auth_run_common_checks`` is what LiteLLM's warning at start asks for; it takes the other one, too."""
    (tmp_path / "team_keys.py").write_text(TEAM_KEYS)
    without = {"litellm_settings": {"enable_post_custom_auth_checks": False}}
    with scripted(sagemaker) as on_sagemaker, scripted(sts) as on_sts:
        environment = {"AWS_ENDPOINT_URL_STS": on_sts.url}
        with proxy(
            tmp_path, config("teams.yaml"), without, sagemaker=on_sagemaker.url, environment=environment
        ) as started:
            company = Company(started, on_sagemaker, on_sts, on_sagemaker)
            assert text_of(company.ask(KEYS["payments"], "coder-search")) == "SageMaker's."
            assert role_of(on_sagemaker.seen[0]) == ROLE.format("search")
