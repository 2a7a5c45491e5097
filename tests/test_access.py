"""Who may say what, without a proxy: the rule itself, applications, and what LiteLLM may one day not tell.

tests/operating/test_access.py has the clients of the real proxy.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import litellm
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_sagemaker_openai.access import (
    AskedCall,
    ClientRefused,
    UnknownClient,
    allows,
    is_deployments_model,
    is_operators_header,
    may_be_a_fallback,
    operators_names,
)
from litellm_sagemaker_openai.litellm_seams.proxy_client import allowed, note_client, said_by_client
from litellm_sagemaker_openai.refusals import MISCONFIGURED, NOT_SENT, Mistake, Refusal, for_the_caller, whose_mistake
from tests.conftest import MESSAGES, Upstream, litellm_is_before
from tests.operating.conftest import fine
from tests.scripted import json_answer

ASKED = AskedCall("e", {"extra_body": {"model": "m"}, "model_id": "c"}, {"X-Amzn-SageMaker-Target-Variant": "v"})


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"model": "m", "messages": [], "temperature": 0, "top_k": 1, "timeout": 1, "metadata": {"aws_x": 1}}, ()),
        ({"aws_anything": None}, ("aws_anything",)),
        ({"extra_body": {"model": "x"}}, ("extra_body",)),
        ({"additional_drop_params": ["seed", "aws_role_name"]}, ("additional_drop_params.aws_role_name",)),
        ({"additional_drop_params": ["extra_body.model"]}, ("additional_drop_params.extra_body",)),
        ({"additional_drop_params": "model_id"}, ()),  # LiteLLM takes a list alone
        ({"fallbacks": ["a", {"model": "b", "model_id": "c"}]}, ("fallbacks.model_id",)),
        ({"fallbacks": [{"group": ["a", {"model": "b", "api_key": "k"}]}]}, ("fallbacks.api_key",)),
        ({"context_window_fallbacks": [{"model": "b", "messages": []}]}, ("fallbacks.messages",)),
        (
            {"query": "q", "documents": ["a"], "fallbacks": [{"model": "b", "query": "r", "documents": ["c"]}]},
            ("fallbacks.query", "fallbacks.documents"),
        ),
        ({"messages": [], "fallbacks": [{"model": "b", "documents": [{"title": "for the template"}]}]}, ()),
        (
            {"router_settings_override": {"fallbacks": [{"ssl_verify": False}]}},
            ("router_settings_override", "fallbacks.ssl_verify"),
        ),
    ],
)
def test_the_names_that_a_client_said(body: dict[str, Any], names: tuple[str, ...]) -> None:
    assert operators_names(body) == names


def test_the_names_that_litellm_took_out() -> None:
    names = ("api_key", "headers", "provider_specific_header")
    assert operators_names({}, (*names, "another")) == names


def test_a_refusal_of_very_many_names() -> None:
    said = str(ClientRefused(f"aws_{number}{'x' * 1000}" for number in range(1000)))
    assert "and 995 more" in said
    assert len(said) < 2000


def test_a_list_of_fallbacks_without_end() -> None:
    fallbacks: list[Any] = []
    fallbacks.append({"model": "m", "fallbacks": fallbacks, "aws_region_name": "r"})
    assert operators_names({"fallbacks": fallbacks}) == ("fallbacks.aws_region_name",)
    assert may_be_a_fallback({"model": "m", "fallbacks": fallbacks}, ["m"])


@given(
    st.recursive(
        st.one_of(st.none(), st.text(max_size=3), st.integers()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    )
)
def test_whatever_stands_in_a_body(value: Any) -> None:
    names = ("fallbacks", "additional_drop_params", "extra_body", "extra_headers", "router_settings_override")
    operators_names(dict.fromkeys(names, value))
    may_be_a_fallback({"model": "m", **dict.fromkeys(names, value)}, ["m"])


@pytest.mark.parametrize(
    ("body", "groups", "may_be"),
    [
        ({"model": "m"}, ["m"], False),
        ({"model": "m", "fallbacks": ["n", {"model": "o"}]}, ["m"], False),
        ({"model": "m", "fallbacks": ["n", {"model": "m"}]}, ["m"], True),
        ({"model": "m", "fallbacks": ["n"]}, ["n"], True),
        ({"model": "m", "fallbacks": ["n"]}, ["m", "n"], True),
        ({"model": "m", "fallbacks": ["n"]}, [], True),  # nothing tells
    ],
)
def test_which_call_a_fallback_may_be(body: dict[str, Any], groups: list[str], may_be: bool) -> None:
    assert may_be_a_fallback(body, groups) is may_be


@pytest.mark.parametrize(
    ("exceptions", "name", "value", "may"),
    [
        (["model_id"], "model_id", "any", True),
        (["model_ids", "MODEL_ID"], "model_id", "any", False),
        ([{"api_base": "https://[a-z]+[.]example"}], "api_base", "https://a.example", True),
        ([{"api_base": "https://[a-z]+[.]example"}], "api_base", "https://a.example.evil", False),
        ([{"api_base": "https://[a-z]+[.]example"}], "api_base", None, False),
        ([{"api_base": "https://[a-z]+[.]example"}], "model_id", "https://a.example", False),
        (None, "model_id", "any", False),
        ("model_id", "model_id", "any", False),
    ],
)
def test_the_operators_exceptions(exceptions: Any, name: str, value: Any, may: bool) -> None:
    assert allows(exceptions, name, value) is may


@pytest.mark.parametrize(
    ("model", "chosen", "written", "same"),
    [
        ("e/c", "sagemaker_openai/e/c", "sagemaker_openai/e/c", True),
        ("e/c", "e/c", "e/c", True),
        ("e/d", "sagemaker_openai/e/c", "sagemaker_openai/e/c", False),
        ("e", "hosted_vllm/e", "hosted_vllm/e", False),
        ("arn:x", "sagemaker_openai/arn:x", "sagemaker_openai/arn:x", True),
        ("arn:x", "sagemaker_openai/arn:x", "sagemaker_openai/*", False),
        ("arn:x", "sagemaker_openai/arn:x", "sagemaker_openai/arn:*", True),
    ],
)
def test_the_deployments_model(model: str, chosen: str, written: str, same: bool) -> None:
    assert is_deployments_model(model, chosen, lambda: written) is same


@pytest.mark.parametrize("name", ["X-Amzn-SageMaker-Session-Id", "x-amz-date", "Host", "COOKIE", "accept-encoding"])
def test_the_operators_headers(name: str) -> None:
    assert is_operators_header(name)


@pytest.mark.parametrize("name", ["x-amount", "X-Request-Id", "traceparent", "user-agent", "anthropic-beta"])
def test_the_clients_headers(name: str) -> None:
    assert not is_operators_header(name)


CLIENTS = {"user_api_key_hash": "a", "user_api_key": "a"}
HEALTH_CHECKS = {"user_api_key": "litellm-internal-health-check", "user_api_key_hash": "litellm-internal-health-check"}


@pytest.mark.parametrize(
    "litellm_params",
    [
        {},
        {"metadata": None, "litellm_metadata": {}},
        {"metadata": {"model_group": "m", "deployment": "sagemaker_openai/x", "model_info": {"id": "1"}}},
        {"litellm_metadata": HEALTH_CHECKS},
    ],
)
def test_applications_their_routers_and_health_checks_are_not_clients(litellm_params: dict[str, Any]) -> None:
    assert allowed(litellm_params, ASKED) == (ASKED.parameters, ASKED.headers)


@pytest.mark.parametrize(
    "litellm_params",
    [
        {"metadata": CLIENTS},
        {"litellm_metadata": {"user_api_key_hash": "a"}},
        {"litellm_metadata": HEALTH_CHECKS, "metadata": CLIENTS},
        {"proxy_server_request": {"headers": {}}},
        {"proxy_server_request": {"body": None}},
        {"proxy_server_request": {"body": "{}"}},
        {"proxy_server_request": "a request"},
        {"proxy_server_request": {}},
        # What the client said is known, and the deployment whose own extra_body it took the place of is not.
        {"proxy_server_request": {"body": {"extra_body": {}}}, "model_info": {"id": "1"}},
    ],
)
def test_a_litellm_that_does_not_tell_what_the_client_said(litellm_params: dict[str, Any]) -> None:
    with pytest.raises(UnknownClient, match="a LiteLLM that litellm-sagemaker-openai is tested with"):
        allowed(litellm_params, AskedCall("e", {}, {}))


@pytest.mark.parametrize("has_a_router", [True, False])
def test_a_proxy_whose_router_cannot_be_found(has_a_router: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy without a Router lets its clients name any model; one of which that cannot be told does not."""
    module = types.ModuleType("litellm.proxy.proxy_server")
    if has_a_router:
        vars(module).update(llm_router=None, user_model="sagemaker_openai/e")
    monkeypatch.setitem(sys.modules, "litellm.proxy.proxy_server", module)
    litellm_params = {"proxy_server_request": {"body": {"model": "m"}, "headers": {}}, "metadata": CLIENTS}
    if has_a_router:
        assert allowed(litellm_params, AskedCall("e", {}, {})).parameters == {}
    else:
        with pytest.raises(ClientRefused, match="model"):
            allowed(litellm_params, AskedCall("e", {}, {}))


def test_without_the_note_the_body_is_what_counts() -> None:
    """LiteLLM's body has what the operator's hooks have added; the note of the body as it came has not."""
    request: dict[str, Any] = {"body": {"model": "m"}, "headers": {}, "credential_fields": ()}
    note_client({"proxy_server_request": request})
    request["body"] = {"model": "m", "litellm_credential_name": "by-a-hook"}
    asked = AskedCall("e", {}, {})
    assert allowed({"proxy_server_request": request}, asked) == ({}, {})
    with pytest.raises(ValueError, match="must not set litellm_credential_name"):
        allowed({"proxy_server_request": {"body": request["body"]}}, asked)


@pytest.mark.usefixtures("no_waiting")
async def test_the_tries_of_one_request_of_a_proxys_client_are_counted(upstream: Upstream, router_of: Any) -> None:
    """A client may say num_retries, and LiteLLM's Router knows no limit."""
    server = upstream(json_answer({"error": {"message": "busy"}}, 503))
    params = {"model": "sagemaker_openai/e"}
    models = [{"model_name": "m", "litellm_params": params, "model_info": {"id": name}} for name in ("1", "2")]
    router = router_of(*models, disable_cooldowns=True)
    request: dict[str, Any] = {"body": {"model": "m", "num_retries": 1000}, "headers": {}}
    with pytest.raises(litellm.BadRequestError, match="this request was tried 100 times, and is not tried again"):
        await router.acompletion("m", MESSAGES, num_retries=1000, proxy_server_request=request)
    assert len(server.seen) == 100
    with pytest.raises(litellm.ServiceUnavailableError):  # an application's are its own matter
        await router.acompletion("m", MESSAGES, num_retries=110)
    assert len(server.seen) == 211


async def test_an_application_says_everything(upstream: Upstream) -> None:
    server = upstream(fine)
    await litellm.acompletion(
        "sagemaker_openai/e",
        MESSAGES,
        model_id="c",
        aws_region_name="eu-west-1",
        hf_model_name="h",
        extra_body={"min_p": 0.1},
        extra_headers={"X-Amzn-SageMaker-Target-Variant": "v"},
        additional_drop_params=["seed"],
        metadata={"user": "u"},
    )
    (seen,) = server.seen
    assert seen.path == "/endpoints/e/inference-components/c/openai/v1/chat/completions"
    assert seen.headers["x-amzn-sagemaker-target-variant"] == "v"
    assert seen.json["model"] == "h"
    assert seen.json["min_p"] == 0.1


async def test_an_applications_router_says_everything(upstream: Upstream, router_of: Any) -> None:
    server = upstream(fine)
    router = router_of({"model_name": "m", "litellm_params": {"model": "sagemaker_openai/e", "model_id": "c"}})
    await router.acompletion("m", MESSAGES, model_id="d", extra_body={"model": "h"})
    (seen,) = server.seen
    component = "d" if litellm_is_before("1.109") else "c"  # there LiteLLM takes the deployment's
    assert seen.path == f"/endpoints/e/inference-components/{component}/openai/v1/chat/completions"
    assert seen.json["model"] == "h"


@pytest.mark.parametrize(
    ("parameters", "said", "whose"),
    [
        (("model_id",), None, Mistake.CALLERS),  # an application wrote all of the call
        ((), {"timeout"}, Mistake.CALLERS),  # what is asked itself
        (("timeout", "stream_timeout"), {"timeout"}, Mistake.CALLERS),
        (("timeout", "stream_timeout"), {"temperature"}, Mistake.OPERATORS),
        (("model", "model_id"), frozenset(), Mistake.OPERATORS),
    ],
)
def test_whose_mistake_it_is(parameters: tuple[str, ...], said: set[str] | None, whose: Mistake) -> None:
    error = Refusal("arn:aws:sagemaker:us-west-2:123456789012:endpoint/e", *parameters)
    assert whose_mistake(error, said) is whose
    told = for_the_caller(error, whose)
    assert told.startswith(NOT_SENT)
    assert ("123456789012" in told) == (whose is Mistake.CALLERS)


def test_what_a_hook_of_the_operators_adds_is_not_the_clients() -> None:
    data = {"proxy_server_request": {"body": {"model": "m", "timeout": 3}}}
    note_client(data)
    data["proxy_server_request"]["body"]["model_id"] = "by-hook"  # LiteLLM writes the body again after the hooks
    assert said_by_client({**data, "model_info": {"id": "1"}}) == frozenset({"timeout"})


def test_applications_are_told_all(upstream: Upstream) -> None:
    server = upstream(json_answer({}))
    with pytest.raises(litellm.BadRequestError) as refused:
        litellm.completion(model="sagemaker_openai/a/b", messages=MESSAGES, model_id="c", num_retries=0)
    assert refused.value.message.removeprefix("litellm.BadRequestError: ").startswith(f"{NOT_SENT}the model string")
    assert MISCONFIGURED not in str(refused.value)
    assert server.seen == []


def test_what_sagemaker_refuses_was_sent(upstream: Upstream) -> None:
    upstream(json_answer({"error": {"message": f"{NOT_SENT}no"}}, 400))
    with pytest.raises(litellm.BadRequestError) as refused:
        litellm.completion(model="sagemaker_openai/e", messages=MESSAGES, num_retries=0)
    assert not refused.value.message.removeprefix("litellm.BadRequestError: ").startswith(NOT_SENT)
