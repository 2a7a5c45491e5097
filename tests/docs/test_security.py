"""docs/security.md says what access.py does: the tables are compared with the rule, the snippet is a deployment."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from litellm_sagemaker_openai import access
from litellm_sagemaker_openai.access import (
    AskedCall,
    ClientRefused,
    is_operators_header,
    operators_names,
    refused_by_name,
    refused_in,
)
from tests.docs.pages import PAGES

PAGE = PAGES["docs/security.md"]


def row(beginning: str) -> list[str]:
    """The names in code in a row of the table."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {beginning}")]
    return re.findall(r"`([^`]+)`", line.split("|")[2])


ROWS = (
    "whose credentials or which account",
    "which host",
    "which operation, provider, component or model",
    "how the connection is made",
    "whose cached answer",
    "LiteLLM's own names",
    "what rewrites the messages",
    "settings that affect other clients of the deployment",
)


def test_the_names_of_parameters() -> None:
    said = {name for beginning in ROWS for name in row(beginning)}
    assert said == access._ALL_OPERATORS
    assert row("credentials, region") == ["aws_*"]


@pytest.mark.parametrize("name", ["aws_anything", *(name for beginning in ROWS for name in row(beginning))])
def test_each_of_them_is_refused(name: str) -> None:
    assert operators_names({name: None}) == (name,)
    assert operators_names({"fallbacks": [{name: 1}]}) == (f"fallbacks.{name}",)
    assert operators_names({"additional_drop_params": [name]}) == (f"additional_drop_params.{name}",)
    asked = AskedCall("e", {"extra_body": {name: 1}}, {})
    assert refused_in(asked, ["extra_body"], {}) == [f"extra_body.{name}"]
    assert refused_by_name([name, f"fallbacks.{name}"], later=False) == [name]


def test_the_names_in_extra_body() -> None:
    said = set(row("in `extra_body`"))
    assert said == {"model", "stream", *access._QUESTIONS}


def test_the_names_in_an_embedding_call() -> None:
    assert set(row("beside `input`")) == (access._QUESTIONS | access._OTHER_OPERATIONS) - {"input"}


def test_the_headers() -> None:
    said = row("headers, in `extra_headers`")
    assert {name.lower() for name in said} == {"x-amz*", "x-amzn-*", *access._FRAMING}
    for name in said:
        assert is_operators_header(name.replace("*", "anything"))


def test_the_snippet_and_the_names_that_may_be_allowed() -> None:
    (snippet,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    params: Any = yaml.safe_load(snippet)["model_list"][0]["litellm_params"]
    assert access.allows(params["configurable_clientside_auth_params"], "model_id", "any")
    for name in re.findall(r"such as `([^`]+)` or\s+`([^`]+)`", PAGE)[0]:
        assert name in str(ClientRefused([name]))
