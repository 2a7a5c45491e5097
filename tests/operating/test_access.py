"""What a client with a mere API key of the real proxy can and cannot say, on each route that ends at this provider.

The operator's AWS role, its endpoints, its vendors' hosts and its buckets stand behind the proxy; each is a server here
that would see a token, a signature or an object.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm.types.utils import all_litellm_params

from litellm_sagemaker_openai import refusals
from litellm_sagemaker_openai.access import REFUSAL
from tests.conftest import CREDENTIALS, REGION
from tests.operating.bedrock import GPT_OSS, bedrock
from tests.operating.conftest import fine
from tests.operating.proxies import Proxy, proxy, until
from tests.scripted import Answer, Scripted, Seen, completion, json_answer, scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

QUESTION = "What is your name?"
MESSAGES = [{"role": "user", "content": QUESTION}]
KEY = "sk-a-team-members"
VENDOR_KEY = "sk-the-vendors"
# An operator's own: keys for one team's members, a guardrail that changes what is asked, a credential that a team's
# requests get, as an operator's hook or LiteLLM's credential overrides would set it.
HOUSE_RULES = """
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth

async def authenticate(request, api_key):
    return UserAPIKeyAuth(api_key=api_key, user_id="member", user_role="internal_user", models=[])

class HouseRules(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        for message in data.get("messages") or []:
            if isinstance(message.get("content"), str):
                message["content"] = message["content"].replace("secret", "[removed]")
        if data.get("model") == "by-hook":
            data["litellm_credential_name"] = "other-team"
            data["extra_headers"] = {"X-Amzn-SageMaker-Target-Variant": "theirs"}
        return data

house_rules = HouseRules()
"""


def embedding(seen: Seen) -> Answer:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
    return json_answer({"object": "list", "model": "m", "data": [vector], "usage": {"prompt_tokens": 1}})


def text_completion(seen: Seen) -> Answer:
    choice = {"index": 0, "text": "SageMaker's.", "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return json_answer({"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [choice], "usage": usage})


def on_sagemaker(seen: Seen) -> Answer:
    if seen.path.endswith("/invocations"):
        return text_completion(seen) if "prompt" in seen.json else embedding(seen)
    if b"too long" in seen.body:
        return json_answer({"error": {"message": "This model's maximum context length is 50 tokens."}}, 400)
    return fine(seen)


def on_the_vendors_host(seen: Seen) -> Answer:
    if b"fail" in seen.body:
        return json_answer({"error": {"message": "not now"}}, 503)
    return json_answer(completion("The vendor's."))


@dataclass(frozen=True)
class House:
    """The proxy, and all that its client must not reach by it."""

    proxy: Proxy
    sagemaker: Scripted
    vendor: Scripted
    s3: Scripted
    bedrock: Scripted
    own_headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {KEY}"})

    def forget(self) -> None:
        for server in (self.sagemaker, self.vendor, self.s3, self.bedrock):
            server.seen.clear()

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> httpx.Response:
        return self.proxy.client.post(path, json=body, headers={**self.own_headers, **(headers or {})})

    def chat(self, model: str = "chat", *, headers: Mapping[str, Any] | None = None, **body: Any) -> httpx.Response:
        return self.post("/v1/chat/completions", {"model": model, "messages": MESSAGES, **body}, headers)


def deployment(name: str, model: str, *, info: Mapping[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    credential = {} if "/" in model and not model.startswith("sagemaker") else {"litellm_credential_name": "sagemaker"}
    params = {"model": model, **credential, **params}
    return {"model_name": name, "litellm_params": params, "model_info": dict(info or {})}


# What is wrong on the deployment → what the operator's log names, and no client is told.
MISCONFIGURED_DEPLOYMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "wild-profile/*": ({"model": "sagemaker_openai/*", "aws_profile_name": "theirs"}, "config profile (theirs)"),
    "wild-host/*": ({"model": "sagemaker_openai/*", "sagemaker_base_url": "https://theirs.example"}, "theirs.example"),
    "wild-region/*": ({"model": "sagemaker_openai/*", "aws_region_name": "their region"}, "'their region' is not an"),
    "wild-component/*": ({"model": "sagemaker_openai/*", "model_id": "their_model"}, "'their_model' is not the name"),
    "two-components": ({"model": "sagemaker_openai/shared/coder", "model_id": "reviewer"}, "model_id names 'reviewer'"),
    "two-regions": (
        {"model": "sagemaker_openai/arn:aws:sagemaker:eu-west-1:123456789012:endpoint/shared"},
        "the ARN says 'eu-west-1'; they must agree",
    ),
    "long-wait": (
        {"model": "sagemaker_openai/shared/coder", "aws_sagemaker_cold_start_timeout": 9999},
        "aws_sagemaker_cold_start_timeout must be a number of seconds from 0 to 3600, not 9999",
    ),
    "misspelled": (
        {"model": "sagemaker_openai/shared/coder", "aws_sagemaker_cold_start": 9},
        "did you mean aws_sagemaker_cold_start_timeout?",
    ),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "house_rules.py").write_text(HOUSE_RULES)
    with ExitStack() as stack:
        sagemaker = stack.enter_context(scripted(on_sagemaker))
        vendor = stack.enter_context(scripted(on_the_vendors_host))
        s3 = stack.enter_context(scripted(json_answer({})))
        on_bedrock = stack.enter_context(bedrock())
        at_the_vendors: dict[str, Any] = {"api_base": f"{vendor.url}/v1", "api_key": VENDOR_KEY}
        config = {
            "model_list": [
                deployment("chat", "sagemaker_openai/shared/coder"),
                deployment("embed", "sagemaker_openai/embedder"),
                deployment("vendor", "openai/gpt-4o", **at_the_vendors),
                deployment("vllm", "hosted_vllm/m", **at_the_vendors),
                deployment(
                    "adapter",
                    "sagemaker_openai/adapters",
                    hf_model_name="the-operators",
                    extra_body={"top_k": 1, "chat_template_kwargs": {"thinking": False}},
                    extra_headers={"X-Amzn-SageMaker-Target-Variant": "blue", "X-Team": "ours"},
                ),
                deployment("named", "sagemaker_openai/adapters", extra_body={"model": "the-operators"}),
                deployment("open", "sagemaker_openai/shared", configurable_clientside_auth_params=["model_id"]),
                deployment(
                    "open-to-variants",
                    "sagemaker_openai/embedder",
                    configurable_clientside_auth_params=["aws_sagemaker_target_variant"],
                ),
                deployment("by-hook", "sagemaker_openai/shared/coder", litellm_credential_name=None),
                deployment("forwarding", "sagemaker_openai/shared/coder"),
                deployment("tokened", "sagemaker_openai/shared/coder", api_key="sagemaker-api-key-the-operators"),
                deployment("backed-up", "sagemaker_openai/shared/coder"),
                deployment("backed-up-by-id", "sagemaker_openai/shared/coder"),
                deployment("ordered", "sagemaker_openai/shared/coder", order=1),
                deployment("ordered", GPT_OSS, order=2),
                deployment("bedrock", GPT_OSS, info={"id": "the-id-on-bedrock"}),
                deployment("vendor-first", "openai/gpt-4o", **at_the_vendors),
                deployment("sagemaker/*", "sagemaker_openai/*"),
                *(deployment(name, **params) for name, (params, _) in MISCONFIGURED_DEPLOYMENTS.items()),
            ],
            "credential_list": [
                {
                    "credential_name": "other-team",
                    "credential_info": {},
                    "credential_values": {
                        "aws_region_name": REGION,
                        "aws_access_key_id": "AKIAOTHERTEAM",
                        "aws_secret_access_key": "s",
                    },
                }
            ],
            "router_settings": {
                "num_retries": 0,
                "allowed_fails": 0,  # one failure would take a deployment out: a refusal must not count as one
                "fallbacks": [
                    {"backed-up": ["bedrock"]},
                    {"backed-up-by-id": ["the-id-on-bedrock"]},
                    {"vendor-first": ["chat"]},
                ],
            },
            "litellm_settings": {
                "callbacks": ["house_rules.house_rules"],
                "model_group_settings": {"forward_client_headers_to_llm_api": ["forwarding", "adapter"]},
            },
            "general_settings": {"custom_auth": "house_rules.authenticate"},
        }
        started = stack.enter_context(
            proxy(
                folder,
                config,
                sagemaker=sagemaker.url,
                bedrock=on_bedrock.url,
                environment={
                    "AWS_ENDPOINT_URL_S3": s3.url,
                    # Where LiteLLM would take a call that a client makes Azure's or OpenAI's, with these keys.
                    **{"AZURE_API_BASE": vendor.url, "AZURE_API_KEY": "k", "AZURE_API_VERSION": "2024-10-21"},
                    **{"OPENAI_BASE_URL": f"{vendor.url}/v1", "OPENAI_API_KEY": "k"},
                },
            )
        )
        yield House(started, sagemaker, vendor, s3, on_bedrock)


@pytest.fixture(autouse=True)
def nothing_seen(house: House) -> None:
    house.forget()


ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "chat", "messages": MESSAGES}),
    "streamed": ("/v1/chat/completions", {"model": "chat", "messages": MESSAGES, "stream": True}),
    "responses": ("/v1/responses", {"model": "chat", "input": QUESTION}),
    "streamed responses": ("/v1/responses", {"model": "chat", "input": QUESTION, "stream": True}),
    "messages": ("/v1/messages", {"model": "chat", "messages": MESSAGES, "max_tokens": 9}),
    "streamed messages": ("/v1/messages", {"model": "chat", "messages": MESSAGES, "max_tokens": 9, "stream": True}),
    "completions": ("/v1/completions", {"model": "chat", "prompt": QUESTION}),
    "embeddings": ("/v1/embeddings", {"model": "embed", "input": QUESTION}),
    "queue": ("/queue/chat/completions", {"model": "chat", "messages": MESSAGES, "priority": 0}),
}
# What the client's body adds → what the refusal names.
SAID: dict[str, tuple[dict[str, Any], str]] = {
    "another team's credentials": ({"litellm_credential_name": "other-team"}, "litellm_credential_name"),
    "another component": ({"model_id": "team-b"}, "model_id"),
    "no component": ({"model_id": None}, "model_id"),
    "a component dropped": ({"additional_drop_params": ["model_id"]}, "additional_drop_params.model_id"),
    "asynchronous inference": (
        {"aws_sagemaker_async": True, "aws_sagemaker_async_input": "s3://any-bucket/p", "padding": "x" * 130_000},
        "aws_sagemaker_async",
    ),
    "another's results": ({"aws_sagemaker_async_filename": "answer.json"}, "aws_sagemaker_async_filename"),
    "a wait without end": ({"aws_sagemaker_cold_start_timeout": 1e9}, "aws_sagemaker_cold_start_timeout"),
    "connections without end": ({"aws_sagemaker_max_connections": 10**9}, "aws_sagemaker_max_connections"),
    "a token for 12 hours": ({"aws_sagemaker_token_expiry": 43200}, "aws_sagemaker_token_expiry"),
    "hosts": ({"aws_sagemaker_allowed_hosts": ["evil.example"]}, "aws_sagemaker_allowed_hosts"),
    "another served model": ({"hf_model_name": "x"}, "hf_model_name"),
    "another model in extra_body": ({"extra_body": {"model": "x"}}, "extra_body.model"),
    "messages in extra_body": ({"extra_body": {"messages": [{"role": "user", "content": "secret"}]}}, "messages"),
    "a stream in extra_body": ({"extra_body": {"stream": True}}, "extra_body.stream"),
    "credentials in extra_body": ({"extra_body": {"aws_region_name": "eu-west-1"}}, "extra_body.aws_region_name"),
    "another region": ({"aws_region_name": "cn-north-1"}, "aws_region_name"),
    "another account": (
        {"aws_access_key_id": "AKIAEVIL", "aws_secret_access_key": "s", "aws_session_token": "t"},
        "aws_access_key_id",
    ),
    "a token": ({"api_key": "sagemaker-api-key-x"}, "api_key"),
    "this provider": ({"custom_llm_provider": "sagemaker_openai"}, "custom_llm_provider"),
    "another provider": ({"custom_llm_provider": "openai"}, "custom_llm_provider"),
    "Azure": ({"azure": True}, "azure"),
    "a deployment of Azure's": ({"azure": True, "deployment_id": "gpt-4"}, "deployment_id"),
    "no TLS": ({"ssl_verify": False}, "ssl_verify"),
    "a file": ({"ssl_verify": "/etc/shadow"}, "ssl_verify"),
    "a variant": ({"extra_headers": {"X-Amzn-SageMaker-Target-Variant": "b"}}, "X-Amzn-SageMaker-Target-Variant"),
    "a variant by the option": ({"aws_sagemaker_target_variant": "b"}, "aws_sagemaker_target_variant"),
    "another route": ({"aws_sagemaker_chat_route": "invocations"}, "aws_sagemaker_chat_route"),
    "a target model": ({"extra_headers": {"x-amzn-sagemaker-target-model": "b"}}, "x-amzn-sagemaker-target-model"),
    "a session": ({"extra_headers": {"X-AMZN-SageMaker-Session-Id": "b"}}, "X-AMZN-SageMaker-Session-Id"),
    "a host": ({"extra_headers": {"Host": "evil.example"}}, "extra_headers.Host"),
    "a coding": ({"extra_headers": {"Accept-Encoding": "br"}}, "extra_headers.Accept-Encoding"),
    "a header by its old name": ({"headers": {"X-Amzn-SageMaker-Target-Variant": "b"}}, "Target-Variant"),
    "a header by LiteLLM's way for providers": (
        {
            "provider_specific_header": {
                "custom_llm_provider": "sagemaker_openai",
                "extra_headers": {"X-Amzn-SageMaker-Target-Variant": "b"},
            }
        },
        "provider_specific_header",
    ),
    "how long the deployment is out": ({"cooldown_time": 100_000}, "cooldown_time"),
    "a time limit that LiteLLM takes for the operator's": ({"request_timeout": 0.00001}, "request_timeout"),
    "settings of the Router": ({"router_settings_override": {"timeout": 0.00001}}, "router_settings_override"),
    "permission": ({"configurable_clientside_auth_params": ["model_id"], "model_id": "team-b"}, "model_id"),
    "an OpenAI parameter": ({"allowed_openai_params": ["model_id"], "model_id": "team-b"}, "model_id"),
    "another model when the prompt is too long": (
        {"context_window_fallback_dict": {"sagemaker_openai/shared/coder": "sagemaker_openai/other"}},
        "context_window_fallback_dict",
    ),
    "a system prompt that no guardrail saw": ({"litellm_system_prompt": "secret"}, "litellm_system_prompt"),
    "a message that no guardrail saw": (
        {"user_continue_message": {"role": "user", "content": "secret"}, "ensure_alternating_roles": True},
        "user_continue_message",
    ),
    "a text completion": ({"text_completion": True}, "text_completion"),
    "LiteLLM's own names": ({"litellm_params": {"api_base": "https://evil.example"}}, "litellm_params"),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("said", SAID)
def test_what_is_the_operators_to_say_is_refused_before_anything_is_sent(house: House, route: str, said: str) -> None:
    path, body = ROUTES[route]
    added, named = SAID[said]
    response = house.post(path, {**body, **added})
    assert response.status_code == 400, response.text
    assert REFUSAL in response.text
    assert named in response.text
    for server in (house.sagemaker, house.vendor, house.s3, house.bedrock):
        assert server.seen == []


@pytest.mark.parametrize("route", ROUTES)
def test_the_refusals_have_not_taken_the_deployment_out(house: House, route: str) -> None:
    path, body = ROUTES[route]
    assert house.post(path, body).status_code == 200
    assert [identity(seen) for seen in house.sagemaker.seen] == [(CREDENTIALS.access_key, REGION)]


def test_an_operator_may_let_clients_say_a_variant_and_no_more(house: House) -> None:
    asked = {"model": "open-to-variants", "input": QUESTION, "aws_sagemaker_target_variant": "blue"}
    assert house.post("/v1/embeddings", asked).status_code == 200
    assert [seen.headers["x-amzn-sagemaker-target-variant"] for seen in house.sagemaker.seen] == ["blue"]
    house.forget()
    for option in ("aws_sagemaker_target_model", "aws_sagemaker_session_id"):
        refused = house.post("/v1/embeddings", {**asked, option: "b"})
        assert refused.status_code == 400
        assert f"must not set {option}:" in refused.text
    assert house.sagemaker.seen == []


def identity(seen: Seen) -> tuple[str, str]:
    """The access key and the region that a request was authorized with."""
    authorization = seen.headers["authorization"]
    token = re.fullmatch(r"Bearer sagemaker-api-key-(.+)", authorization)
    if token is not None:
        query = parse_qs(base64.b64decode(token[1]).decode().partition("?")[2])
        access_key, _, region, *_ = query["X-Amz-Credential"][0].split("/")
        return access_key, region
    credential = re.search(r"Credential=([^/]+)/\d+/([^/]+)/", authorization)
    assert credential is not None, "neither a token nor a signature"
    return credential[1], credential[2]


def test_a_token_of_the_role_does_not_reach_a_vendors_host(house: House) -> None:
    """`custom_llm_provider` brings a vendor's deployment here, with the vendor's host."""
    response = house.chat("vendor", custom_llm_provider="sagemaker_openai", aws_sagemaker_token_expiry=43200)
    assert response.status_code == 400, response.text
    assert REFUSAL in response.text
    assert house.vendor.seen == []
    assert house.chat("vendor").status_code == 200  # the vendor's deployment as such works


def test_another_model_when_the_prompt_is_too_long(house: House) -> None:
    """The call that LiteLLM makes then bypasses the Router: refused by name, or as not the deployment's model."""
    swap = dict.fromkeys(("hosted_vllm/m", "openai/gpt-4o", "shared/coder"), "sagemaker_openai/secret")
    for model in ("vllm", "chat"):
        messages = [{"role": "user", "content": "too long"}]
        response = house.post(
            "/v1/chat/completions", {"model": model, "messages": messages, "context_window_fallback_dict": swap}
        )
        assert not any("secret" in seen.path for seen in house.sagemaker.seen), response.text


@pytest.mark.parametrize("model", ["vllm", "chat"])
def test_an_event_on_the_websocket_of_responses_reaches_no_other_model(house: House, model: str) -> None:
    """LiteLLM calls the model that the event names, whatever model the connection and the key were checked for."""

    async def answer() -> Any:
        url = f"{house.proxy.url.replace('http', 'ws')}/v1/responses?model={model}"
        async with websockets.connect(url, additional_headers=house.own_headers) as socket:
            event = {"type": "response.create", "input": QUESTION, "model": "sagemaker_openai/secret/other"}
            await socket.send(json.dumps(event))
            return json.loads(await asyncio.wait_for(socket.recv(), 30))

    assert asyncio.run(answer())["type"] == "error"
    assert house.sagemaker.seen == []
    assert house.vendor.seen == []


@pytest.mark.parametrize("name", MISCONFIGURED_DEPLOYMENTS)
def test_the_operators_mistake_is_named_in_the_operators_log_once(house: House, name: str) -> None:
    """The client reads that it can change nothing, and no detail: names, an account, hosts."""
    _, named = MISCONFIGURED_DEPLOYMENTS[name]
    before = len(house.proxy.log)
    for stream in (False, True, False):
        response = house.chat(name.replace("*", "e"), stream=stream, temperature=0.5)
        assert response.status_code == 400, response.text
        assert refusals.MISCONFIGURED in response.text
        assert named not in response.text
    for _ in until("the operator's warning"):
        if named in (logged := house.proxy.log[before:]):
            break
    warnings = [line for line in logged.splitlines() if "is misconfigured, so that its calls are not sent" in line]
    assert len(warnings) == 1, logged
    assert named in warnings[0]
    assert f"of model {name}" in warnings[0]
    assert house.sagemaker.seen == []


CALLERS_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a name under a wildcard": ({"model": "sagemaker/my_model"}, "'my_model' is not the name of an endpoint"),
    "what the operator lets clients say": ({"model": "open", "model_id": "my_model"}, "'my_model' is not the name of"),
    "a timeout": ({"timeout": -1}, "timeout must be a number of seconds above 0, not -1"),
    "an option": ({"fake_stream": "perhaps"}, "fake_stream must be true or false, not 'perhaps'"),
    "a header": ({"extra_headers": {"X-A": ["b"]}}, "the value of header X-A must be a string"),
    "a body that is too large": ({"padding": "x" * 6_300_000}, "SageMaker takes at most 6,291,456"),
}


@pytest.mark.parametrize("mistake", CALLERS_MISTAKES)
def test_the_callers_mistake_is_named_to_the_caller(house: House, mistake: str) -> None:
    body, named = CALLERS_MISTAKES[mistake]
    before = house.proxy.log.count("is misconfigured")
    response = house.chat(**body)
    assert response.status_code == 400, response.text
    assert refusals.NOT_SENT in response.text
    assert named in response.json()["error"]["message"]
    assert house.proxy.log.count("is misconfigured") == before
    assert house.sagemaker.seen == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["backed-up", "backed-up-by-id", "ordered"])
def test_a_refusal_is_no_reason_for_a_fallback(house: House, model: str, stream: bool) -> None:
    response = house.chat(model, model_id="team-b", stream=stream)
    assert response.status_code == 400, response.text
    assert f"{REFUSAL}model_id" in response.text
    assert house.bedrock.seen == house.sagemaker.seen == []


ENTRIES: dict[str, dict[str, Any]] = {
    "component": {"model": "chat", "model_id": "team-b"},
    "token": {"model": "chat", "api_key": "sagemaker-api-key-x"},
    "credentials": {"model": "chat", "litellm_credential_name": "other-team"},
    "messages": {"model": "chat", "messages": [{"role": "user", "content": "a secret"}]},
    "extra_body": {"model": "chat", "extra_body": {"model": "x"}},
    "headers": {"model": "chat", "extra_headers": {"X-Amzn-SageMaker-Target-Variant": "b"}},
    "headers for the provider": {
        "model": "chat",
        "provider_specific_header": {
            "custom_llm_provider": "sagemaker_openai",
            "extra_headers": {"X-Amzn-SageMaker-Target-Variant": "b"},
        },
    },
    "Azure": {"model": "tokened", "azure": True},
    "time limit": {"model": "chat", "timeout": 0.00001},
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("first", ["vendor", "chat"])
def test_the_entries_of_a_clients_fallbacks_say_no_more(house: House, entry: str, first: str) -> None:
    fallbacks = [{**ENTRIES[entry], "model": "vendor"}, ENTRIES[entry], "chat"]
    response = house.post(
        "/v1/chat/completions",
        {"model": first, "messages": [{"role": "user", "content": "fail, too long"}], "fallbacks": fallbacks},
    )
    assert response.status_code >= 400, response.text
    for seen in house.sagemaker.seen:  # the first call, which says nothing that it must not
        assert identity(seen) == (CREDENTIALS.access_key, REGION)
        assert seen.path.startswith("/endpoints/shared/inference-components/coder/")
        assert seen.json["messages"] == [{"role": "user", "content": "fail, too long"}]
        assert "x-amzn-sagemaker-target-variant" not in seen.headers


def test_a_clients_fallbacks_of_its_own_key_elsewhere_leave_the_first_call_alone(house: House) -> None:
    response = house.chat(fallbacks=[{"model": "vendor", "messages": MESSAGES}])
    assert response.status_code == 200, response.text


def test_the_second_hop_of_the_operators_fallback(house: House) -> None:
    body = {"model": "vendor-first", "messages": [{"role": "user", "content": "fail"}]}
    assert house.post("/v1/chat/completions", body).status_code == 200
    assert len(house.sagemaker.seen) == 1
    house.sagemaker.seen.clear()
    for added, _ in SAID.values():
        house.post("/v1/chat/completions", {**body, **added})
        assert house.sagemaker.seen == house.s3.seen == []


def test_a_clients_dictionaries_do_not_take_the_place_of_the_deployments(house: House) -> None:
    response = house.chat(
        "adapter", extra_body={"top_k": 7, "min_p": 0.5}, extra_headers={"X-Mine": "1", "X-Team": "mine"}
    )
    assert response.status_code == 200, response.text
    (seen,) = house.sagemaker.seen
    assert seen.json["model"] == "the-operators"
    assert seen.json["top_k"] == 7
    assert seen.json["min_p"] == 0.5
    assert seen.json["chat_template_kwargs"] == {"thinking": False}
    assert seen.headers["x-amzn-sagemaker-target-variant"] == "blue"
    assert seen.headers["x-mine"] == "1"
    house.forget()
    assert house.chat("named", extra_body={"top_k": 7}).status_code == 200
    assert house.sagemaker.seen[0].json["model"] == "the-operators"
    house.forget()
    assert house.chat("named", extra_body=None).status_code == 200
    assert house.sagemaker.seen[0].json["model"] == "the-operators"
    refused = house.chat("named", extra_body=[["model", "x"]])
    assert refused.status_code == 400
    assert "extra_body must be a dictionary" in refused.text


def test_a_name_that_the_operator_allows(house: House) -> None:
    assert house.chat("open", model_id="reviewer").status_code == 200
    assert house.sagemaker.seen[0].path.startswith("/endpoints/shared/inference-components/reviewer/")
    house.forget()
    refused = house.chat("open", model_id="reviewer", hf_model_name="x")
    assert refused.status_code == 400
    assert f"{REFUSAL}hf_model_name:" in refused.text
    # One deployment's permission is not another's.
    assert house.chat(model_id="reviewer", model_info={"id": "any"}).status_code == 400
    assert house.sagemaker.seen == []


def test_what_an_operators_hook_adds_is_the_operators(house: House) -> None:
    assert house.chat("by-hook").status_code == 200
    (seen,) = house.sagemaker.seen
    assert identity(seen) == ("AKIAOTHERTEAM", REGION)
    assert seen.headers["x-amzn-sagemaker-target-variant"] == "theirs"
    assert house.chat("by-hook", litellm_credential_name="sagemaker").status_code == 400


def test_headers_that_litellm_forwards_from_the_clients_request_are_the_clients(house: House) -> None:
    assert house.chat("forwarding", headers={"x-tenant": "7"}).status_code == 200
    assert house.sagemaker.seen[0].headers["x-tenant"] == "7"
    house.forget()
    for name in ("X-Amzn-SageMaker-Target-Variant", "X-Amzn-SageMaker-Inference-Id"):
        response = house.chat("forwarding", headers={name: "b"})
        assert response.status_code == 400, response.text
        assert name.lower() in response.text.lower()
    assert house.sagemaker.seen == []


def test_what_aws_puts_on_requests_on_their_way_is_left_out(house: House) -> None:
    """Load balancers, CloudFront, WAF and API Gateway do, on every request that comes to the proxy."""
    headers = {
        "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678",
        "X-Amz-Cf-Id": "a==",
        "X-Amzn-Oidc-Identity": "a",
        "X-Amzn-Waf-Label": "a",
        "X-Amz-Target": "a",
        "X-Name": "Zoë",
    }
    encoded = {name: value.encode() for name, value in headers.items()}
    response = house.chat("forwarding", headers=encoded)
    assert response.status_code == 200, response.text
    assert house.sagemaker.seen[0].headers.keys().isdisjoint(name.lower() for name in headers)


def test_a_token_of_the_operators_reaches_no_other_provider(house: House) -> None:
    """LiteLLM would ask Azure, or OpenAI, with the deployment's own api_key."""
    for said in ({"azure": True}, {"custom_llm_provider": "openai"}, {"custom_llm_provider": "azure"}):
        assert house.chat("tokened", **said).status_code == 400
        fallbacks = [{"model": "tokened", **said}]
        body = {"model": "vendor-first", "messages": [{"role": "user", "content": "fail"}], "fallbacks": fallbacks}
        house.post("/v1/chat/completions", body)
        assert not any("the-operators" in str(seen.headers) for seen in house.vendor.seen)
    assert house.chat("tokened").status_code == 200


def test_a_dimension_that_the_container_does_not_give_is_the_clients_mistake(house: House) -> None:
    for _ in range(3):
        response = house.post("/v1/embeddings", {"model": "embed", "input": QUESTION, "dimensions": 5})
        assert response.status_code == 400, response.text
    assert house.post(*ROUTES["embeddings"]).status_code == 200


def test_a_forwarded_header_does_not_take_the_place_of_the_operators(house: House) -> None:
    assert house.chat("adapter", headers={"X-Amzn-SageMaker-Target-Variant": "green"}).status_code == 400
    assert house.sagemaker.seen == []
    assert house.chat("adapter", headers={"X-Tenant": "7"}).status_code == 200
    assert house.sagemaker.seen[0].headers["x-amzn-sagemaker-target-variant"] == "blue"


def test_a_wildcard_lets_clients_choose_an_endpoint_and_nothing_else(house: House) -> None:
    assert house.chat("sagemaker/any/component").status_code == 200
    assert identity(house.sagemaker.seen[0]) == (CREDENTIALS.access_key, REGION)
    house.forget()
    for region in ("cn-north-1", REGION):
        arn = f"arn:aws:sagemaker:{region}:111122223333:endpoint/any"
        assert house.chat(f"sagemaker/{arn}").status_code == 400
    assert house.sagemaker.seen == []


@pytest.mark.parametrize("name", ["messages", "prompt", "inputs", "text_inputs", "query"])
def test_an_embedding_call_asks_for_nothing_else(house: House, name: str) -> None:
    """/invocations tells chat, completions, embeddings and reranking apart by the names in the body."""
    for added in ({name: "secret"}, {"extra_body": {name: "secret"}}):
        response = house.post("/v1/embeddings", {"model": "embed", "input": QUESTION, **added})
        assert not any(name in seen.json for seen in house.sagemaker.seen), response.text


ALLOWED: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 7,
    "stop": ["x"],
    "seed": 3,
    "top_k": 3,
    "chat_template_kwargs": {"thinking": True},
    "guided_choice": ["a"],
    "response_format": {"type": "json_object"},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "logprobs": True,
    "prompt_cache_key": "k",
}
NOT_SENT: dict[str, Any] = {
    "timeout": 30,
    "num_retries": 1,
    "max_retries": 1,
    "metadata": {"deployment": "mine", "model_group": "mine", "max_retries": "abc", "model_info": {"id": "mine"}},
    "user": "u",
    "drop_params": True,
    "fake_stream": False,
    "additional_drop_params": ["logit_bias"],
    "cache": {"no-cache": True},
}


@pytest.mark.parametrize("stream", [False, True])
def test_what_shapes_the_answer_is_the_clients_to_say(house: House, stream: bool) -> None:
    response = house.chat(**ALLOWED, **NOT_SENT, stream=stream, extra_body={"min_p": 0.1}, extra_headers={"x-a": "1"})
    assert response.status_code == 200, response.text
    (seen,) = house.sagemaker.seen
    assert {name: seen.json.get(name) for name in ALLOWED} == ALLOWED
    assert seen.json["min_p"] == 0.1
    assert seen.headers["x-a"] == "1"


@pytest.mark.parametrize("route", ["responses", "messages"])
def test_a_clients_metadata_is_taken_for_nobody_elses(house: House, route: str) -> None:
    path, body = ROUTES[route]
    metadata = {"deployment": "blue", "model_group": "mine", "max_retries": "abc", "user_id": "u"}
    response = house.post(path, {**body, "metadata": metadata})
    assert response.status_code == 200, response.text


def test_health_checks_are_not_clients(house: House) -> None:
    response = house.proxy.client.get("/health", params={"model": "chat"}, headers=house.own_headers)
    assert response.status_code == 200, response.text
    assert response.json()["healthy_count"] == 1, response.text


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 43200, 1e9]),
    st.sampled_from(
        ["", "team-b", "sagemaker_openai", "sagemaker_openai/secret", "other-team", "eu-west-1", "s3://b/p"]
    ),
    st.sampled_from([[], ["model_id"], ["aws_region_name", "extra_body"], [{"model": "chat", "model_id": "team-b"}]]),
    st.sampled_from(
        [
            {},
            {"model": "secret"},
            {"messages": [{"role": "user", "content": "secret"}]},
            {"role": "user", "content": "secret"},
            {"X-Amzn-SageMaker-Target-Variant": "b"},
            {"api_base": "https://evil.example", "aws_region_name": "eu-west-1"},
            {"sagemaker_openai/shared/coder": "sagemaker_openai/secret", "shared/coder": "sagemaker_openai/secret"},
        ]
    ),
)
OWN = [
    *(f"aws_{name}" for name in ("region_name", "access_key_id", "secret_access_key", "session_token")),
    *(f"aws_sagemaker_{name}" for name in ("token_expiry", "async", "async_input", "cold_start_timeout", "anything")),
    *(
        "model_id",
        "hf_model_name",
        "custom_llm_provider",
        "litellm_credential_name",
        "ssl_verify",
        "api_key",
        "headers",
    ),
    *("extra_body", "extra_headers", "additional_drop_params", "allowed_openai_params", "fake_stream", "max_retries"),
    *("fallbacks", "context_window_fallbacks", "router_settings_override", "prompt", "input", "inputs", "organization"),
    *("sagemaker_openai_stream", "sagemaker_openai_embedding", "api_version", "response_format", "functions"),
]
# Mocked and cached answers, and prompts that an operator keeps, come from LiteLLM and not from here.
KNOWN = sorted({*all_litellm_params, *OWN} - {"self", "async_call", "litellm_logging_obj", "prompt_id"})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KNOWN), VALUES, min_size=2, max_size=4), st.sampled_from(sorted(ROUTES)))
def test_whatever_a_client_says(house: House, said: dict[str, Any], route: str) -> None:
    check(house, said, route)


@pytest.mark.parametrize("value", ["secret", {"role": "user", "content": "secret"}])
def test_each_parameter_that_litellm_knows(house: House, value: Any) -> None:
    """One by one: most of them LiteLLM refuses in most forms, and with them all that stands beside."""
    for name in KNOWN:
        check(house, {name: value}, "chat")


def check(house: House, said: dict[str, Any], route: str) -> None:
    """What reaches the runtime has the deployment's identity, region and target, and what the guardrails saw."""
    house.forget()
    path, body = ROUTES[route]
    question = {"embeddings": "input", "completions": "prompt"}.get(route, "messages")
    house.post(path, {**body, **said, **({"prompt": QUESTION} if route == "completions" else {})})
    assert house.s3.seen == house.vendor.seen == []
    target = {"embeddings": "/endpoints/embedder/invocations", "completions": "/endpoints/shared/invocations"}.get(
        route, "/endpoints/shared/inference-components/coder/"
    )
    for seen in house.sagemaker.seen:
        assert identity(seen) == (CREDENTIALS.access_key, REGION), said
        assert seen.path.startswith(target), said
        assert seen.headers.get("x-amzn-sagemaker-inference-component") == (
            "coder" if route == "completions" else None
        ), said
        assert seen.json[question] in (QUESTION, [QUESTION], MESSAGES), said
        assert seen.json.keys().isdisjoint({"prompt", "messages", "input", "inputs", "text_inputs"} - {question}), said
        assert seen.json["model"] == "", said
        assert "x-amzn-sagemaker-target-variant" not in seen.headers, said
