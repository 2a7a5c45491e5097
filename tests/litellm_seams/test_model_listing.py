"""``litellm.get_valid_models``, and the names under a wildcard. tests/operating/test_found_models.py has the proxy."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from typing import Any

import litellm
import pytest
from litellm.types.router import LiteLLM_Params

from litellm_sagemaker_openai.litellm_seams import lookup, model_listing
from litellm_sagemaker_openai.litellm_seams.model_listing import install, names_under
from tests.aws_apis import Aws

pytestmark = pytest.mark.usefixtures("no_known_models")

HERE = "sagemaker_openai"
UTILS = sys.modules["litellm.utils"]


def valid_models(**more: Any) -> list[str]:
    models: list[str] = litellm.get_valid_models(custom_llm_provider=HERE, **more)
    return models


class TestValidModels:
    def test_what_is_in_service(self, aws_apis: Aws) -> None:
        aws_apis.make_endpoint("my-endpoint")
        aws_apis.make_endpoint("my-gpus", "coder")
        expected = [f"{HERE}/my-endpoint", f"{HERE}/my-gpus/coder"]
        assert valid_models() == []  # nobody was asked
        assert valid_models(check_provider_endpoint=True) == expected
        assert litellm.get_valid_models(True, HERE) == expected
        assert valid_models() == expected  # held
        aws_apis.make_endpoint("another")
        assert len(valid_models(check_provider_endpoint=True)) == 3

    def test_by_litellms_switch(self, aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        aws_apis.make_endpoint("my-endpoint")
        monkeypatch.setattr(litellm, "check_provider_endpoint", True)
        assert valid_models() == [f"{HERE}/my-endpoint"]

    def test_of_another_region(self, aws_apis: Aws) -> None:
        aws_apis.make_endpoint("theirs", region="eu-west-1")
        params = LiteLLM_Params(model="", aws_region_name="eu-west-1")
        assert valid_models(check_provider_endpoint=True) == []
        assert valid_models(check_provider_endpoint=True, litellm_params=params) == [f"{HERE}/theirs"]

    def test_what_was_registered(self, aws_apis: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        costs = {f"{HERE}/mine": {"litellm_provider": HERE, "mode": "chat"}, f"{HERE}/alien": {"litellm_provider": "x"}}
        costs |= {f"{HERE}/*": {"litellm_provider": HERE}}  # a Router's priced wildcard is there
        monkeypatch.setattr(litellm, "model_cost", {**litellm.model_cost, **costs})
        assert valid_models() == [f"{HERE}/mine"]

    def test_a_refusal_gives_none_and_is_said(self, aws_apis: Aws, caplog: pytest.LogCaptureFixture) -> None:
        aws_apis.sagemaker.refuses("ListEndpoints")
        params = LiteLLM_Params(model="", aws_region_name="ca-central-1")  # seldom warned of: not by another test
        with caplog.at_level(logging.WARNING, "LiteLLM"):
            assert valid_models(check_provider_endpoint=True, litellm_params=params) == []
        [said] = [record.getMessage() for record in caplog.records if "ca-central-1" in record.getMessage()]
        assert "not authorized to perform: sagemaker:ListEndpoints" in said

    def test_others_are_asked_as_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        original = inspect.unwrap(litellm.get_valid_models)
        for given in ({}, {"custom_llm_provider": "openai"}, {"check_provider_endpoint": False}):
            assert litellm.get_valid_models(**given) == original(**given)
        assert litellm.get_valid_models(custom_llm_provider="openai")
        with pytest.raises(TypeError, match="unexpected keyword argument 'unknown'"):
            litellm.get_valid_models(unknown=1)


def test_it_is_installed_once_and_looks_as_before() -> None:
    before = litellm.get_valid_models
    install()
    assert litellm.get_valid_models is before is UTILS.get_valid_models
    original = inspect.unwrap(before)
    assert original is not before
    assert inspect.signature(before) == inspect.signature(original)
    assert not hasattr(original, "__wrapped__")


def test_without_it_litellm_lists_nothing(aws_apis: Aws, caplog: pytest.LogCaptureFixture) -> None:
    """Where this fails, LiteLLM can ask a custom provider: the module says what else it then has to."""
    aws_apis.make_endpoint("my-endpoint")
    with caplog.at_level(logging.WARNING, "LiteLLM"):
        assert inspect.unwrap(litellm.get_valid_models)(check_provider_endpoint=True, custom_llm_provider=HERE) == []
    assert f"'{HERE}' is not a valid LlmProviders" in caplog.text
    checks = importlib.import_module("litellm.proxy.auth.model_checks")
    install()
    wrapped = checks.get_known_models_from_wildcard
    original = inspect.unwrap(wrapped)
    assert original is not wrapped
    assert inspect.signature(original) == inspect.signature(wrapped)
    assert original(f"{HERE}/*", LiteLLM_Params(model=f"{HERE}/*")) == []
    others = LiteLLM_Params(model="openai/*")
    assert wrapped("openai/*", others) == original("openai/*", others) != []
    assert wrapped(wildcard_model="openai/*") == original("openai/*")


@pytest.mark.parametrize("name", ["get_valid_models", "get_known_models_from_wildcard"])
def test_a_name_that_is_not_there_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_loaded = lookup.in_loaded
    monkeypatch.setattr(lookup, "in_loaded", lambda module, asked: None if asked == name else in_loaded(module, asked))
    install()


@pytest.mark.parametrize(
    ("wildcard", "model", "names"),
    [
        ("*", "sagemaker_openai/*", {"e", "gpus/coder", "team-a"}),
        ("gpu/*", "sagemaker_openai/*", {"gpu/e", "gpu/gpus/coder", "gpu/team-a"}),
        ("gpu/*", "sagemaker_openai/team-*", {"gpu/a"}),
        ("gpu/t*", "sagemaker_openai/t*", {"gpu/team-a"}),
        ("*/of/*", "sagemaker_openai/*/*", {"gpus/of/coder"}),
        ("sagemaker_openai/*", "sagemaker_openai/*", {f"{HERE}/e", f"{HERE}/gpus/coder", f"{HERE}/team-a"}),
        ("*/*", "sagemaker_openai/team*", {f"{HERE}/team-a"}),
        ("one-*", "sagemaker_openai/*/*", set()),
        ("x/*", "sagemaker_openai/te.*", set()),
    ],
)
def test_names(wildcard: str, model: str, names: set[str]) -> None:
    found = {"e", "gpus/coder", "team-a"}
    assert names_under(wildcard, model, found) == names


@pytest.mark.parametrize(
    "params",
    [
        {"model_id": "coder"},
        {"api_key": "made elsewhere"},
        {"aws_sagemaker_async": True},
        {"aws_sagemaker_token_expiry": "soon"},
    ],
)
def test_what_leads_elsewhere_is_left_to_litellm(params: dict[str, Any]) -> None:
    assert model_listing._models_of({"model": f"{HERE}/*", **params}) is None


def test_deployments_with_the_same_credentials_share_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"aws_region_name": "us-west-2", "aws_role_name": "r"}
    item = litellm.types.utils.CredentialItem(credential_name="c", credential_values=values, credential_info={})
    monkeypatch.setattr(litellm, "credential_list", [item])
    named = {"litellm_credential_name": "c"}
    same = model_listing._models_of({"model": "x", **values})
    assert model_listing._models_of({"model": "y", **named}) is same is not None
    assert model_listing._models_of({"model": "y", **named, "aws_region_name": "eu-west-1"}) is not same
