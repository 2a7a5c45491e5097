"""The table of options: each is checked, refused where it means nothing, and known to the pages."""

from __future__ import annotations

from typing import Any

import pytest

from litellm_sagemaker_openai.options import (
    CHAT,
    EMBEDDINGS,
    INVOKED_CHAT,
    ON_OPENAI_V1,
    OPTIONS,
    QUEUED_CHAT,
    chat_kind,
    read_options,
)

each = pytest.mark.parametrize
# A value that each option takes, and one that it does not.
GOOD_AND_BAD: dict[str, tuple[Any, Any]] = {
    "model_id": ("coder", 1),
    "aws_region_name": ("us-west-2", 1),
    "api_key": ("token", "to ken"),
    "sagemaker_base_url": ("https://gateway.example.com", 1),
    "hf_model_name": ("my-model", 1),
    "fake_stream": (True, "yes"),
    "max_retries": (1, -1),
    "aws_sagemaker_allowed_hosts": (["gateway.example.com"], "https://gateway.example.com"),
    "aws_sagemaker_token_expiry": (60, 0),
    "aws_sagemaker_allow_zero_temp": ("true", 1),
    "aws_sagemaker_chat_route": ("invocations", "converse"),
    "aws_sagemaker_target_variant": ("blue", "-blue"),
    "aws_sagemaker_inference_id": ("my-id", " my-id"),
    "aws_sagemaker_session_id": ("NEW_SESSION", "new_session"),
    "aws_sagemaker_custom_attributes": ("route=/v1/score", "é"),
    "aws_sagemaker_target_model": ("models/a.tar.gz", "a\nb"),
    "aws_sagemaker_target_container_hostname": ("second", "a.b"),
    "aws_sagemaker_headers_on_openai_v1": (True, "on"),
    "aws_sagemaker_async": (True, "on"),
    "aws_sagemaker_async_input": ("s3://bucket/prefix", "bucket"),
    "aws_sagemaker_async_output_extension": ("mine", "s3:mine"),
    "aws_sagemaker_async_filename": ("answer.json", "a.b.c"),
    "aws_sagemaker_async_inference_id": ("my-id", ""),
    "aws_sagemaker_async_request_ttl": (60, 59),
    "aws_sagemaker_async_invocation_timeout": (1, 0),
    "aws_sagemaker_cold_start_timeout": (1.5, 3601),
    "aws_sagemaker_max_connections": (2000, 0),
    "aws_sagemaker_embedding_format": ("huggingface", "tei"),
    "aws_sagemaker_rerank_format": ("tei", "jina"),
    "aws_sagemaker_prompt_cache_key": ("session", "tenant"),
}


def test_each_option_has_its_values_here() -> None:
    assert set(GOOD_AND_BAD) == {option.name for option in OPTIONS}


@each("operation", sorted({option for each in OPTIONS for option in each.taken_by or ()}))
@each("option", OPTIONS, ids=lambda option: option.name)
def test_an_operation_takes_it_refuses_it_or_leaves_it_alone(option: Any, operation: str) -> None:
    given = {option.name: GOOD_AND_BAD[option.name][0]}
    if operation == QUEUED_CHAT:
        given["aws_sagemaker_async"] = True
    if operation == INVOKED_CHAT:
        given["aws_sagemaker_chat_route"] = "invocations"
    assert not set(option.taken_by or ()) & set(option.refused_by)
    if operation in option.refused_by:
        with pytest.raises(ValueError, match="_".join(option.name.split("_")[:3])):
            read_options(given, operation)
    else:
        assert read_options(given, operation)[option.name] != option.default


@each("option", OPTIONS, ids=lambda option: option.name)
def test_what_it_does_not_take_is_refused_by_name(option: Any) -> None:
    bad = GOOD_AND_BAD[option.name][1]
    if bad != "":  # an empty text is none
        with pytest.raises(ValueError, match=f"^{option.name}"):
            read_options({option.name: bad}, CHAT)


@each("option", OPTIONS, ids=lambda option: option.name)
def test_none_is_the_default(option: Any) -> None:
    assert read_options({option.name: None}, EMBEDDINGS)[option.name] == option.default


def test_a_chat_through_the_queue_is_one_of_its_own() -> None:
    given = {"aws_sagemaker_async": "true", "aws_sagemaker_async_filename": "a.json"}
    assert chat_kind(given) == QUEUED_CHAT
    assert read_options(given, CHAT) == read_options(given, QUEUED_CHAT)
    with pytest.raises(ValueError, match="give aws_sagemaker_async=True with them"):
        read_options({"aws_sagemaker_async_filename": "a.json"}, CHAT)


def test_an_unknown_option_has_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match="did you mean aws_sagemaker_token_expiry"):
        read_options({"aws_sagemaker_token_expiri": 1}, CHAT)


@each(
    ("given", "kind"),
    [
        ({}, CHAT),
        ({"aws_sagemaker_chat_route": "openai"}, CHAT),
        ({"aws_sagemaker_chat_route": "invocations"}, INVOKED_CHAT),
        ({"aws_sagemaker_chat_route": "invocations", "aws_sagemaker_async": False}, INVOKED_CHAT),
        ({"aws_sagemaker_async": "TRUE"}, QUEUED_CHAT),
        ({"aws_sagemaker_async": True, "aws_sagemaker_chat_route": "invocations"}, QUEUED_CHAT),
        ({"aws_sagemaker_async": "on"}, CHAT),
        ({"aws_sagemaker_chat_route": ["invocations"]}, CHAT),
    ],
)
def test_by_which_way_a_chat_goes(given: dict[str, Any], kind: str) -> None:
    assert chat_kind(given) == kind


def test_the_queue_has_a_route_of_its_own() -> None:
    with pytest.raises(ValueError, match="no meaning with aws_sagemaker_async"):
        read_options({"aws_sagemaker_async": True, "aws_sagemaker_chat_route": "invocations"}, CHAT)


def test_on_openai_v1_headers_are_passed_on_where_that_is_asked_for() -> None:
    given = {"aws_sagemaker_target_variant": "blue"}
    with pytest.raises(ValueError, match=f"chat_route='invocations'.* or {ON_OPENAI_V1}=True"):
        read_options(given, CHAT)
    assert read_options({**given, ON_OPENAI_V1: True}, CHAT)["aws_sagemaker_target_variant"] == "blue"
    # it says nothing of asynchronous inference
    with pytest.raises(ValueError, match="InvokeEndpointAsync takes no aws_sagemaker_target_variant"):
        read_options({**given, ON_OPENAI_V1: True, "aws_sagemaker_async": True}, CHAT)
