"""What reaches the container, and what never does: seen by a real server behind the real LiteLLM."""

from __future__ import annotations

import copy
import json
from typing import Any

import litellm
import pytest
from pydantic import BaseModel

from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.formats.chat_request import build_body, build_headers, encode_body
from tests.conftest import MESSAGES, Upstream
from tests.scripted import Seen, completion, json_answer

MODEL = "sagemaker_openai/e"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def sent(upstream: Upstream) -> Any:
    """Makes a call, and gives the request that the container got."""
    server = upstream(json_answer(completion()))

    def call(**more: Any) -> Seen:
        litellm.completion(**{"model": MODEL, "messages": MESSAGES, **more})
        return server.seen[-1]

    return call


def test_every_openai_parameter_reaches_the_container(sent: Any) -> None:
    parameters: dict[str, Any] = {
        "temperature": 0.3,
        "top_p": 0.9,
        "n": 2,
        "stop": ["a"],
        "max_tokens": 9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logit_bias": {"1": 2},
        "seed": 3,
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_object"},
        "service_tier": "auto",
        "store": True,
        "prediction": {"type": "content", "content": "x"},
    }
    body = sent(**parameters).json
    assert {name: body[name] for name in parameters} == parameters
    assert sent(max_completion_tokens=5).json["max_tokens"] == 5
    assert sent(reasoning_effort="low", allowed_openai_params=["reasoning_effort"]).json["reasoning_effort"] == "low"


def test_every_other_keyword_and_extra_body_reach_the_container(sent: Any) -> None:
    others = {"top_k": 4, "guided_json": {"type": "object"}, "chat_template_kwargs": {"enable_thinking": True}}
    body = sent(**others, priority=3, extra_body={"min_p": 0.1, "top_k": 5, "metadata": {"mine": 1}}).json
    assert body["guided_json"] == {"type": "object"}
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert body["priority"] == 3
    assert body["min_p"] == 0.1
    assert body["top_k"] == 5  # extra_body has the last word
    assert body["metadata"] == {"mine": 1}


def test_nothing_of_litellms_awss_or_this_providers_does(sent: Any) -> None:
    seen = sent(
        aws_access_key_id="AKIAOTHER",
        aws_secret_access_key="THE-SECRET",
        aws_session_token="THE-SESSION",
        aws_region_name="us-west-2",
        aws_sagemaker_token_expiry=60,
        aws_sagemaker_allow_zero_temp=True,
        aws_sagemaker_cold_start_timeout=0,
        aws_bedrock_runtime_endpoint="https://x",
        model_id="component",
        hf_model_name="served",
        fake_stream=False,
        max_retries=0,
        num_retries=0,
        metadata={"user": "me"},
        litellm_metadata={"a": 1},
        timeout=30,
        input_cost_per_token=0.1,
        output_cost_per_token=0.1,
        tags=["a"],
        extra_headers={"x-a": "b"},
        azure_ad_token="THE-TOKEN",
        drop_params=True,
        ssl_verify=True,
        user_continue_message={"role": "user", "content": "go on"},
        cache={"no-cache": True},
    )
    assert seen.json == {"model": "served", "messages": MESSAGES}
    assert seen.path == "/endpoints/e/inference-components/component/openai/v1/chat/completions"
    assert "x-amzn-sagemaker-inference-component" not in seen.headers
    assert seen.headers["x-a"] == "b"
    assert seen.headers["content-type"] == "application/json"
    assert b"THE-" not in seen.body


def test_the_body_names_no_model_unless_told(sent: Any) -> None:
    assert sent().json["model"] == ""
    assert sent(hf_model_name="served").json["model"] == "served"
    assert sent(extra_body={"model": "adapter"}).json["model"] == "adapter"


@pytest.mark.parametrize(
    ("given", "allowed", "arrives"),
    [
        (0, None, 0.1),
        (0.0, False, 0.1),
        (0, True, 0),
        (0.0, "true", 0.0),
        (0, "False", 0.1),
        (0.05, None, 0.05),
        (1, None, 1),
    ],
)
def test_a_temperature_of_zero(sent: Any, given: float, allowed: Any, arrives: float) -> None:
    more = {} if allowed is None else {"aws_sagemaker_allow_zero_temp": allowed}
    assert sent(temperature=given, **more).json["temperature"] == arrives


def test_developer_messages_become_system(sent: Any) -> None:
    messages = [{"role": "developer", "content": "Be brief."}, *MESSAGES]
    before = copy.deepcopy(messages)
    assert sent(messages=messages).json["messages"] == [{"role": "system", "content": "Be brief."}, *MESSAGES]
    assert messages == before


def test_the_callers_dictionaries_are_left_as_they_were(sent: Any) -> None:
    call: dict[str, Any] = {
        "messages": [{"role": "developer", "content": [{"type": "text", "text": "x"}]}],
        "tools": [TOOL],
        "extra_body": {"a": {"b": 1}},
        "extra_headers": {"X-Y": "z"},
        "metadata": {"k": "v"},
        "temperature": 0,
        "model_id": "c",
    }
    before = copy.deepcopy(call)
    first = sent(**call)
    assert call == before
    assert sent(**call).json == first.json  # so a retry or a fallback sends the same again


def test_an_assistants_message_goes_back_as_litellm_gave_it(sent: Any, upstream: Upstream) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    upstream(json_answer(completion(None, message={"tool_calls": [call]})))
    message = litellm.completion(model=MODEL, messages=MESSAGES).choices[0].message
    server = upstream(json_answer(completion()))
    litellm.completion(
        model=MODEL, messages=[*MESSAGES, message, {"role": "tool", "tool_call_id": "c", "content": "1"}]
    )
    sent_back = server.seen[0].json["messages"][1]
    assert sent_back["tool_calls"] == [call]
    assert sent_back["role"] == "assistant"


def test_a_pydantic_class_as_response_format(sent: Any) -> None:
    class Person(BaseModel):
        name: str

    schema = sent(response_format=Person).json["response_format"]
    assert schema["type"] == "json_schema"
    assert schema["json_schema"]["schema"]["properties"]["name"]["type"] == "string"


def test_text_that_is_no_utf_8_on_its_own_is_sent_as_json_escapes(sent: Any) -> None:
    assert sent(messages=[{"role": "user", "content": "half \ud83d"}]).json["messages"][0]["content"] == "half \ud83d"


def test_what_has_no_json_form_is_refused() -> None:
    for value in (object(), float("nan"), float("inf"), {1, 2}):
        with pytest.raises(ValueError, match="not JSON"):
            encode_body(build_body(MESSAGES, {"x": value}))


def test_a_body_over_the_services_size_is_refused() -> None:
    parts = build_body([{"role": "user", "content": ""}], {})
    room = MAX_BODY_BYTES - len(encode_body(parts))
    assert len(encode_body(build_body([{"role": "user", "content": "x" * room}], {}))) == MAX_BODY_BYTES
    with pytest.raises(ValueError, match="6,291,456"):
        encode_body(build_body([{"role": "user", "content": "x" * (room + 1)}], {}))


def test_a_caller_keeps_the_usage_options_that_they_gave() -> None:
    body = build_body(MESSAGES, {"stream_options": {"continuous_usage_stats": True}}, stream=True)
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert body["stream"] is True
    assert "stream_options" not in build_body(MESSAGES, {"stream_options": {"include_usage": True}})


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Authorization": "Bearer x"}, "api_key"),
        ({"X-Amz-Security-Token": "x"}, "api_key"),
        ({"X-Amzn-SageMaker-Inference-Component": "c"}, "model_id"),
        ({"Host": "evil"}, "must not set"),
        ({"Content-Length": "0"}, "must not set"),
        ({"Transfer-Encoding": "chunked"}, "must not set"),
        ({"X-A": "b\r\nHost: evil"}, "cannot carry"),
        ({"X-A": "b\x00"}, "cannot carry"),
        ({"X-A": "ż"}, "cannot carry"),
        ({"X-A: b\r\nX-B": "c"}, "not the name"),
        ({"": "c"}, "not the name"),
    ],
)
def test_headers_that_would_break_the_request_are_refused(headers: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build_headers(headers)


def test_sagemakers_own_headers_pass(sent: Any) -> None:
    seen = sent(extra_headers={"X-Amzn-SageMaker-Session-Id": "s", "X-Amzn-SageMaker-Target-Variant": "v"})
    assert seen.headers["x-amzn-sagemaker-session-id"] == "s"
    assert seen.headers["x-amzn-sagemaker-target-variant"] == "v"
    assert json.loads(seen.body)["messages"] == MESSAGES
