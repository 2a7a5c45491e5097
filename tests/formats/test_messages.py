"""Messages and tools, as containers read them. What agents really send: tests/clients/test_agents.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import BaseModel

from litellm_sagemaker_openai.formats.chat_request import build_body
from litellm_sagemaker_openai.formats.messages import (
    MEDIA_ABOVE,
    MEDIA_FOLLOWS,
    container_messages,
    container_tools,
)

USER = {"role": "user", "content": "Hello?"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}
CACHED = {"cache_control": {"type": "ephemeral"}}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def one(message: Any) -> Any:
    [sent] = container_messages([message])
    return sent


def roles_and_texts(messages: Any) -> list[tuple[str, Any]]:
    return [(message["role"], message["content"]) for message in container_messages(messages)]


class TestReasoning:
    @pytest.mark.parametrize(
        "given",
        [
            {"reasoning": "Hm."},
            {"reasoning_content": "Hm."},
            {"reasoning": None, "reasoning_content": "Hm."},
            {"reasoning": "", "reasoning_content": "Hm."},
            {"reasoning": "Hm.", "reasoning_content": ""},
            {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": ""}]},
            {"thinking_blocks": [{"type": "redacted_thinking", "data": "x"}, {"type": "thinking", "thinking": "Hm."}]},
        ],
    )
    def test_it_has_both_names(self, given: dict[str, Any]) -> None:
        sent = one({"role": "assistant", "content": "Yes.", **given})
        assert sent == {"role": "assistant", "content": "Yes.", "reasoning": "Hm.", "reasoning_content": "Hm."}

    def test_two_that_differ_are_left(self) -> None:
        message = {"role": "assistant", "content": "", "reasoning": "a", "reasoning_content": "b"}
        assert one(message) == message

    @pytest.mark.parametrize("given", [{}, {"thinking_blocks": None}, {"thinking_blocks": []}, {"reasoning": ""}])
    def test_none_is_none(self, given: dict[str, Any]) -> None:
        assert not one({"role": "assistant", "content": "Yes.", **given}).get("reasoning_content")

    def test_it_is_an_assistants(self) -> None:
        assert one({**USER, "reasoning": "mine"}) == {**USER, "reasoning": "mine"}


class TestWhatIsLeftOut:
    def test_of_a_message(self) -> None:
        foreign: dict[str, Any] = {
            "annotations": [],
            "audio": None,
            "function_call": None,
            "images": [],
            "provider_specific_fields": {"a": 1},
            "reasoning_items": [],
            "refusal": None,
            **CACHED,
        }
        assert one({"role": "assistant", "content": None, "tool_calls": [CALL], **foreign}) == (
            {"role": "assistant", "content": None, "tool_calls": [CALL]}
        )

    def test_of_content_parts_and_tool_calls(self) -> None:
        assert one({"role": "user", "content": [{**text("a"), **CACHED}]})["content"] == [text("a")]
        foreign = {"index": 0, "provider_specific_fields": {}, **CACHED}
        assert one({"role": "assistant", "tool_calls": [{**CALL, **foreign}]})["tool_calls"] == [CALL]

    def test_of_tools(self) -> None:
        function = {"name": "f", "parameters": {"type": "object", "default": None}}
        given = [
            {"type": "function", "function": {**function, "strict": None, "description": None, **CACHED}, **CACHED}
        ]
        assert container_tools(given) == [{"type": "function", "function": function}]
        assert build_body([USER], {"tools": given})["tools"] == [{"type": "function", "function": function}]

    def test_claude_codes_billing_header(self) -> None:
        header, rest = text("x-anthropic-billing-header: cc_version=2.1.197.683; cc_entrypoint=cli;"), text("Be brief.")
        assert one({"role": "system", "content": [header, rest]})["content"] == [rest]
        longer = text(f"{header['text']}\nBe brief.")
        assert one({"role": "system", "content": [longer]})["content"] == [longer]

    def test_a_users_question_about_the_billing_header(self) -> None:
        question = text("x-anthropic-billing-header: what is it?")
        assert one({"role": "user", "content": [question]})["content"] == [question]

    def test_what_is_an_applications_own_passes(self) -> None:
        message = {"role": "assistant", "content": "Once", "prefix": True, "name": "Ada"}
        tool = {"type": "function", "function": {"name": "f", "strict": True}, "defer_loading": True}
        assert one(message) == message
        assert container_tools([tool]) == [tool]

    @pytest.mark.parametrize("given", [None, "tools", ["a"], [{"type": "custom"}], [{"function": "f"}]])
    def test_what_is_no_tool_is_left_to_the_container(self, given: Any) -> None:
        assert container_tools(given) == given

    @pytest.mark.parametrize("given", ["hello", None, 1, {"content": ["a"]}, {"role": "tool", "content": [None]}])
    def test_what_is_no_message_is_left_to_the_container(self, given: Any) -> None:
        assert one(given) == given

    def test_pydantic_models(self) -> None:
        class Message(BaseModel):
            role: str = "assistant"
            content: str | None = None
            reasoning: str = "Hm."

        assert one(Message()) == {"role": "assistant", "reasoning": "Hm.", "reasoning_content": "Hm."}


class TestSystemMessages:
    def test_many_take_linear_time(self) -> None:
        messages = [USER, {"role": "developer", "content": "Be brief."}] * 100_000
        assert len(container_messages(messages)) == 100_001

    @pytest.mark.parametrize("first", ["system", "developer"])
    @pytest.mark.parametrize("second", ["system", "developer"])
    def test_the_leading_ones_are_one(self, first: str, second: str) -> None:
        messages = [{"role": first, "content": "a"}, {"role": second, "content": [text("b"), text("c")]}, USER]
        assert roles_and_texts(messages) == [("system", "a\n\nb\nc"), ("user", "Hello?")]

    def test_a_later_developer_message_goes_there_too(self) -> None:
        later = {"role": "developer", "content": "b"}
        assert roles_and_texts([{"role": "system", "content": "a"}, USER, later]) == (
            [("system", "a\n\nb"), ("user", "Hello?")]
        )
        assert roles_and_texts([USER, later]) == [("system", "b"), ("user", "Hello?")]

    def test_a_later_system_message_stays_where_the_application_put_it(self) -> None:
        messages = [{"role": "system", "content": "a"}, USER, {"role": "system", "content": "b"}]
        assert container_messages(messages) == messages

    def test_one_alone_stays_as_it_is(self) -> None:
        parts = [text("a"), text("b")]
        assert roles_and_texts([{"role": "developer", "content": parts}, USER])[0] == ("system", parts)

    @pytest.mark.parametrize("more", [{"tools": []}, {"name": "x"}, {"content": [IMAGE]}, {"content": None}])
    def test_those_with_more_than_text_stay_apart(self, more: dict[str, Any]) -> None:
        messages = [{"role": "system", "content": "a"}, {"role": "developer", "content": "b", **more}, USER]
        sent = container_messages(messages)
        assert sent == [messages[0], {**messages[1], "role": "system"}, USER]


class TestMedia:
    def test_in_tools_results_follow_the_last_of_them(self) -> None:
        other = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
        messages = [
            {"role": "tool", "tool_call_id": "1", "content": [IMAGE]},
            {"role": "tool", "tool_call_id": "2", "content": "one"},
            {"role": "tool", "tool_call_id": "3", "content": [text("8 by 8"), other]},
            USER,
        ]
        assert roles_and_texts(messages) == [
            ("tool", MEDIA_FOLLOWS),
            ("tool", "one"),
            ("tool", [text("8 by 8"), text(MEDIA_FOLLOWS)]),
            ("user", [text(MEDIA_ABOVE), IMAGE, other]),
            ("user", "Hello?"),
        ]
        assert roles_and_texts(messages[:1]) == [("tool", MEDIA_FOLLOWS), ("user", [text(MEDIA_ABOVE), IMAGE])]

    def test_a_tools_text_stays(self) -> None:
        reference = {"type": "tool_reference", "name": "f"}  # GLM's
        message = {"role": "tool", "tool_call_id": "1", "content": [text("a"), reference]}
        assert one(message) == message

    @pytest.mark.parametrize(
        ("image", "sent"),
        [
            ("https://x/y.png", {"url": "https://x/y.png"}),
            ({"url": "u", "detail": "high"}, {"url": "u", "detail": "high"}),
            ({"url": "u", "detail": "original"}, {"url": "u"}),
            ({"url": "u", "detail": None}, {"url": "u"}),
        ],
    )
    def test_an_image_as_openais_protocol_has_it(self, image: Any, sent: Any) -> None:
        [part] = one({"role": "user", "content": [{"type": "image_url", "image_url": image}]})["content"]
        assert part == {"type": "image_url", "image_url": sent}


def test_nothing_that_was_given_is_changed() -> None:
    messages = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{**text("b"), **CACHED}]},
        {"role": "assistant", "tool_calls": [{**CALL, "index": 0}], "thinking_blocks": [{"thinking": "Hm."}]},
        {"role": "tool", "tool_call_id": "c", "content": [{**IMAGE, **CACHED}]},
    ]
    tools = [{"type": "function", "function": {"name": "f", "strict": None}, **CACHED}]
    before = copy.deepcopy((messages, tools))
    sent = build_body(messages, {"tools": tools})
    assert (messages, tools) == before
    assert build_body(sent["messages"], {"tools": sent["tools"]}) == sent  # what was normalised stays so
