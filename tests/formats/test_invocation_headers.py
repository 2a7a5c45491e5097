"""InvokeEndpoint's options: compared with botocore's model, and what becomes of them on each route."""

from __future__ import annotations

import re
from typing import Any

import botocore.loaders
import litellm
import pytest
from botocore.model import ServiceModel

from litellm_sagemaker_openai.formats.invocation_headers import (
    MEMBERS,
    NEW_SESSION,
    invocation_headers,
    session_params,
)
from litellm_sagemaker_openai.options import ON_OPENAI_V1
from litellm_sagemaker_openai.settings import sort_settings
from tests.conftest import MESSAGES, Upstream
from tests.scripted import Answer, chunk, completion, json_answer, on_its_route, sse

each = pytest.mark.parametrize
both = each("is_async", [False, True], ids=["sync", "async"])
MODEL: Any = ServiceModel(botocore.loaders.Loader().load_service_model("sagemaker-runtime", "service-2"))
WHOLE, STREAM, QUEUED = (
    MODEL.operation_model(name).input_shape.members
    for name in ("InvokeEndpoint", "InvokeEndpointWithResponseStream", "InvokeEndpointAsync")
)
ANSWER = MODEL.operation_model("InvokeEndpoint").output_shape.members
# What follows `aws_sagemaker_` → botocore's name for it.
NAMES = {name: "".join(part.title() for part in name.split("_")) for name in MEMBERS}
ALL = {
    "target_variant": "blue",
    "inference_id": "my id",
    "session_id": "a-b",
    "custom_attributes": "route=/v1/score",
    "target_model": "b.tar.gz",
    "target_container_hostname": "second",
}
OPTIONS: dict[str, Any] = {f"aws_sagemaker_{name}": value for name, value in ALL.items()}
CALL: dict[str, Any] = {"model": "sagemaker_openai/my-endpoint", "messages": MESSAGES}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
VECTORS = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "m"}


def sent_headers(seen: Any) -> dict[str, str]:
    prefix = "x-amzn-sagemaker-"
    return {name: value for name, value in seen.headers.items() if name.startswith(prefix)}


def headers_of(*names: str) -> dict[str, str]:
    return {MEMBERS[name].header: ALL[name] for name in names}


# botocore's model


def test_each_member_is_an_option_or_something_else() -> None:
    others = {"EndpointName", "Body", "ContentType", "Accept", "InferenceComponentName", "PrefixAwareId"}
    explained = {"EnableExplanations"}  # of SageMaker Clarify's explainer, which no language model has
    assert set(NAMES.values()) | others | explained == set(WHOLE)
    for name, member in MEMBERS.items():
        assert member.header == WHOLE[NAMES[name]].serialization["name"].lower()
        assert member.is_sensitive == WHOLE[NAMES[name]].metadata.get("sensitive", False)
    assert {NAMES[name] for name in MEMBERS} - set(STREAM) == {"TargetModel"}
    assert {NAMES[name] for name in MEMBERS} & set(QUEUED) == {"InferenceId", "CustomAttributes"}
    assert STREAM["SessionId"].metadata["pattern"] == WHOLE["SessionId"].metadata["pattern"].partition("|")[2]


@each("name", MEMBERS)
def test_limits_and_patterns(name: str) -> None:
    member, shape = MEMBERS[name], WHOLE[NAMES[name]]
    pattern = shape.metadata["pattern"].replace(r"\p{ASCII}", r"[\x00-\x7f]").replace(r"[\p{Print}]", r"[\x20-\x7e]")
    theirs = re.compile(pattern.replace(r"\z", r"\Z"))
    most = "a" * shape.metadata["max"]
    assert member.checked(most) == most
    for text in ("a", "A1-b", "a--b", NEW_SESSION if name == "session_id" else "b", ALL[name]):
        assert theirs.fullmatch(member.checked(text))
    for text in ("", most + "a", "a\n", "\na", "a\r\nx: y", "a\tb", "é", " a", "a ", "a\0", "a\x7f"):
        with pytest.raises(ValueError, match="SageMaker takes"):
            member.checked(text)


@each("name", ["target_variant", "session_id", "target_container_hostname"])
@each("text", ["-a", "a-", "a_b", "a.b", "a b", "new_session", "NEW_SESSION2"])
def test_names(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        MEMBERS[name].checked(text)


def test_custom_attributes_are_sensitive_so_no_message_repeats_them() -> None:
    with pytest.raises(ValueError, match="not what was given") as refused:
        sort_settings({"aws_sagemaker_custom_attributes": "user=é"}, {}, operation="embeddings")
    assert "user" not in str(refused.value)
    assert "blue" not in repr(sort_settings({**OPTIONS, ON_OPENAI_V1: True}, {}))


# What they become


@both
async def test_embeddings(upstream: Upstream, is_async: bool) -> None:
    server = upstream(json_answer(VECTORS))
    call: dict[str, Any] = {"model": "sagemaker_openai/my-endpoint", "input": "a", **OPTIONS}
    await litellm.aembedding(**call) if is_async else litellm.embedding(**call)
    assert sent_headers(server.seen[0]) == headers_of(*MEMBERS)
    assert not [name for name in server.seen[0].json if name.startswith("aws_")]
    signed = server.seen[0].headers["authorization"]
    assert all(header in signed for header in headers_of(*MEMBERS))


@each("stream", [False, True])
@both
async def test_text_completions(upstream: Upstream, is_async: bool, stream: bool) -> None:
    """They are InvokeEndpoint's always; a stream takes no target model."""
    told = {"x-amzn-sagemaker-new-session-id": "s-1"}
    choice = {"index": 0, "text": "Hi", "finish_reason": "stop", "logprobs": None}
    text = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    answer = Answer([sse(text)], headers=told) if stream else json_answer({**text, "usage": USAGE}, 200, **told)
    server = upstream(on_its_route(answer))
    names = [name for name in MEMBERS if not (stream and name == "target_model")]
    call: dict[str, Any] = {"model": CALL["model"], "prompt": "a", "stream": stream}
    call |= {f"aws_sagemaker_{name}": ALL[name] for name in names}
    given: Any = await litellm.atext_completion(**call) if is_async else litellm.text_completion(**call)
    if stream:
        pieces = [piece async for piece in given] if is_async else [*given]
        assert "".join(piece.choices[0].text or "" for piece in pieces) == "Hi"
    else:
        assert given._hidden_params["sagemaker_new_session_id"] == "s-1"
    assert headers_of(*names).items() <= sent_headers(server.seen[0]).items()


@each("name", MEMBERS)
def test_chat_on_openai_v1(upstream: Upstream, name: str) -> None:
    server = upstream(json_answer(completion()))
    option = f"aws_sagemaker_{name}"
    with pytest.raises(litellm.BadRequestError, match=rf"{option} .*_route='invocations'.* {ON_OPENAI_V1}"):
        litellm.completion(**CALL, **{option: ALL[name]})
    assert server.seen == []
    litellm.completion(**CALL, **{option: ALL[name], ON_OPENAI_V1: True})
    assert sent_headers(server.seen[0]) == headers_of(name)
    assert server.seen[0].path.endswith("/openai/v1/chat/completions")


@each("given", [{"target_model": "b.tar.gz"}, {"target_container_hostname": "second"}])
def test_what_no_endpoint_with_components_has(given: dict[str, str]) -> None:
    assert invocation_headers(given, None) == headers_of(*given)
    with pytest.raises(ValueError, match=r"without inference components, .* 'coder'; give one of them"):
        invocation_headers(given, "coder")


@each("given", [{"target_model": "b.tar.gz"}, {"session_id": NEW_SESSION}])
def test_what_no_stream_takes(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"with a stream \(InvokeEndpointWithResponseStream\).*fake_stream=True"):
        invocation_headers(given, None, stream=True)
    assert invocation_headers({"session_id": "a-b", "inference_id": "i"}, "coder", stream=True)


def test_headers_by_hand_go_on_as_they_did(upstream: Upstream) -> None:
    server = upstream(json_answer(completion()))
    litellm.completion(**CALL, extra_headers={"X-Amzn-SageMaker-Target-Variant": "blue"})
    assert sent_headers(server.seen[0]) == headers_of("target_variant")


@each("header", ["X-Amzn-SageMaker-Target-Variant", "x-amzn-sagemaker-target-variant"])
async def test_a_header_by_hand_beside_the_option(upstream: Upstream, header: str) -> None:
    server = upstream(json_answer(VECTORS))
    call: dict[str, Any] = {"model": "sagemaker_openai/my-endpoint", "input": "a"}
    await litellm.aembedding(**call, aws_sagemaker_target_variant="blue", extra_headers={header: "blue"})
    assert sent_headers(server.seen[0]) == headers_of("target_variant")
    with pytest.raises(litellm.BadRequestError, match=r"something else .* than aws_sagemaker_target_variant does"):
        await litellm.aembedding(**call, aws_sagemaker_target_variant="blue", extra_headers={header: "green"})
    assert len(server.seen) == 1


class TestAsynchronousInference:
    def test_what_it_takes(self) -> None:
        given = {"aws_sagemaker_async": True, "aws_sagemaker_custom_attributes": "a=b"}
        settings = sort_settings({**given, "aws_sagemaker_inference_id": "my-id"}, {})
        assert settings.invocation == {"custom_attributes": "a=b"}
        assert settings.queue is not None
        assert settings.queue.headers == {"x-amzn-sagemaker-inference-id": "my-id"}

    @both
    async def test_what_is_sent(self, upstream: Upstream, is_async: bool) -> None:
        server = upstream(json_answer({"message": "no"}, 400))
        call: dict[str, Any] = {**CALL, "aws_sagemaker_async": True, "aws_sagemaker_custom_attributes": "a=b"}
        with pytest.raises(litellm.BadRequestError, match="SageMaker answered 400: no"):
            await litellm.acompletion(**call) if is_async else litellm.completion(**call)
        assert server.seen[0].path.endswith("/async-invocations")
        assert server.seen[0].headers["x-amzn-sagemaker-custom-attributes"] == "a=b"

    def test_two_ids(self) -> None:
        ids = {"aws_sagemaker_async_inference_id": "mine", "aws_sagemaker_inference_id": "mine"}
        settings = sort_settings({"aws_sagemaker_async": True, **ids}, {})
        assert settings.queue is not None
        assert settings.queue.headers == {"x-amzn-sagemaker-inference-id": "mine"}
        ids["aws_sagemaker_inference_id"] = "yours"
        with pytest.raises(ValueError, match="says 'yours' and aws_sagemaker_async_inference_id says 'mine'"):
            sort_settings({"aws_sagemaker_async": True, **ids}, {})

    @each("name", sorted(set(MEMBERS) - {"inference_id", "custom_attributes"}))
    def test_what_it_does_not(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"InvokeEndpointAsync takes no aws_sagemaker_{name}"):
            sort_settings({"aws_sagemaker_async": True, f"aws_sagemaker_{name}": ALL[name]}, {})


# What the answer tells


SESSION = "f2b1a6d0-5a3e-4a94-9f5e-2f3f7d1c9b11"


@each(
    ("headers", "told"),
    [
        ({}, {}),
        (
            {"x-amzn-sagemaker-new-session-id": f"{SESSION}; Expires=2026-11-26T12:00:00Z"},
            {"sagemaker_new_session_id": SESSION, "sagemaker_session_expires": "2026-11-26T12:00:00Z"},
        ),
        ({"x-amzn-sagemaker-new-session-id": SESSION}, {"sagemaker_new_session_id": SESSION}),
        ({"x-amzn-sagemaker-closed-session-id": SESSION}, {"sagemaker_closed_session_id": SESSION}),
    ],
)
def test_sessions(headers: dict[str, str], told: dict[str, str]) -> None:
    assert session_params(headers) == told


def test_the_answers_form_is_botocores() -> None:
    assert re.fullmatch(ANSWER["NewSessionId"].metadata["pattern"], f"{SESSION}; Expires=2026-11-26T12:00:00Z")
    names = {ANSWER[each].serialization["name"].lower() for each in ("NewSessionId", "ClosedSessionId")}
    assert {name for name in names if session_params({name: "a"})} == names


@both
async def test_hidden_parameters(upstream: Upstream, is_async: bool) -> None:
    header: dict[str, Any] = {"x-amzn-sagemaker-new-session-id": f"{SESSION}; Expires=2026-11-26T12:00:00Z"}
    told = {"sagemaker_new_session_id": SESSION, "sagemaker_session_expires": "2026-11-26T12:00:00Z"}
    upstream(json_answer(completion(), **header))
    call = {**CALL, "aws_sagemaker_session_id": NEW_SESSION, "aws_sagemaker_chat_route": "invocations"}
    answer: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
    assert told.items() <= answer._hidden_params.items()
    upstream(json_answer(VECTORS, **header))
    asked: dict[str, Any] = {"model": CALL["model"], "input": "a", "aws_sagemaker_session_id": NEW_SESSION}
    embedded: Any = await litellm.aembedding(**asked) if is_async else litellm.embedding(**asked)
    assert told.items() <= embedded._hidden_params.items()
    upstream(Answer([sse(chunk({"content": "Hi"}), chunk(finish="stop"))], headers=header))
    call = {**CALL, "aws_sagemaker_session_id": "a", ON_OPENAI_V1: True, "stream": True}
    chunks: Any = (
        [piece async for piece in await litellm.acompletion(**call)] if is_async else [*litellm.completion(**call)]
    )
    assert told.items() <= chunks[0]._hidden_params.items()
