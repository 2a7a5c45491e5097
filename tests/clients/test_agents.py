"""What coding agents send, through the real proxy, as a strict container would get it (tests/wire/agents).

``Request`` forbids what it does not know, as the models of TensorRT-LLM's server do, and its messages too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from pydantic import BaseModel, ConfigDict, model_validator

from litellm_sagemaker_openai.formats.messages import MEDIA_ABOVE, MEDIA_FOLLOWS
from tests.clients.conftest import Proxied

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

WIRE = Path(__file__).parents[1] / "wire" / "agents"
AGENTS = ("claude-code", "codex", "opencode")
TITLES = ("claude-code-title", "opencode-title")
RED = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSu"
    "QmCC"
)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Text(Strict):
    type: Literal["text"]
    text: str


class ImageUrl(Strict):
    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class Image(Strict):
    type: Literal["image_url"]
    image_url: ImageUrl


class CalledFunction(Strict):
    name: str
    arguments: str


class ToolCall(Strict):
    id: str
    type: Literal["function"]
    function: CalledFunction


class System(Strict):
    role: Literal["system"]
    content: str | list[Text]


class User(Strict):
    role: Literal["user"]
    content: str | list[Text | Image]


class Assistant(Strict):
    role: Literal["assistant"]
    content: str | list[Text] | None = None
    reasoning: str = ""
    reasoning_content: str = ""
    tool_calls: list[ToolCall] = []


class ToolResult(Strict):
    role: Literal["tool"]
    tool_call_id: str
    content: str | list[Text]


class Function(Strict):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool = False


class Tool(Strict):
    type: Literal["function"]
    function: Function


class StreamOptions(Strict):
    include_usage: bool


class Request(Strict):
    """A chat request in OpenAI's protocol, in an order that each chat template takes."""

    model: str
    messages: list[System | User | Assistant | ToolResult]
    tools: list[Tool] = []
    tool_choice: Literal["auto", "none", "required"] = "auto"
    parallel_tool_calls: bool = True
    max_tokens: int | None = None
    reasoning_effort: Literal["low", "medium", "high"] = "medium"
    response_format: dict[str, Any] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def in_order(self) -> Request:
        """A system message stands first, and each call is answered right after it."""
        waiting: list[str] = []
        for position, message in enumerate(self.messages):
            if isinstance(message, ToolResult):
                waiting.remove(message.tool_call_id)
                continue
            assert not waiting, f"{waiting} have no result before message {position}"
            assert position == 0 or not isinstance(message, System), "a second system message"
            if isinstance(message, Assistant):
                waiting = [call.id for call in message.tool_calls]
        return self


def recorded(name: str) -> Any:
    return json.loads((WIRE / f"{name}.json").read_text(encoding="utf-8"))


def send(proxy: Proxied, name: str, model: str = "strict", **changes: Any) -> str:
    """The proxy's answer to a recorded request, whose answer the echo container has room for."""
    request = recorded(name)
    body = {**request["body"], "model": model, **changes}
    if "max_tokens" in body:
        body["max_tokens"] = 1000
    headers = {**request["headers"], "authorization": f"Bearer {proxy.key}"}
    answer = httpx.post(f"{proxy.url}{request['path']}", json=body, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.text


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@pytest.mark.parametrize("name", [*AGENTS, *TITLES])
def test_a_strict_container_takes_it(proxy: Proxied, name: str) -> None:
    send(proxy, name)
    Request.model_validate(proxy.body)


@pytest.mark.parametrize("name", AGENTS)
def test_the_models_reasoning_comes_back_to_it(proxy: Proxied, name: str) -> None:
    """With its text and both of its calls in one message, by both names that containers read it by."""
    send(proxy, name)
    first, second = [message for message in proxy.body["messages"] if message["role"] == "assistant"]
    for message, thought in ((first, "I should look first."), (second, "Now a file.")):
        assert message["reasoning"] == message["reasoning_content"]
        assert message["reasoning"].strip() == thought  # LiteLLM strips a Responses item's
    assert text_of(first["content"]) == "Let me look. "
    assert len(first["tool_calls"]) == 2
    assert len(second["tool_calls"]) == 1


@pytest.mark.parametrize("name", AGENTS)
def test_the_image_in_a_tools_result_follows_it(proxy: Proxied, name: str) -> None:
    send(proxy, name)
    messages = proxy.body["messages"]
    first = next(at for at, message in enumerate(messages) if message["role"] == "assistant")
    *results, seen = messages[first + 1 : first + 4]
    assert [message["role"] for message in (*results, seen)] == ["tool", "tool", "user"]
    assert [part["image_url"]["url"] for part in seen["content"] if part["type"] == "image_url"] == [RED]
    if name != "opencode":  # which does so itself
        assert seen["content"][0]["text"] == MEDIA_ABOVE
        assert MEDIA_FOLLOWS in [result["content"] for result in results]


@pytest.mark.parametrize("name", AGENTS)
def test_the_image_pasted_with_the_task(proxy: Proxied, name: str) -> None:
    send(proxy, name)
    messages = proxy.body["messages"]
    first = next(at for at, message in enumerate(messages) if message["role"] == "assistant")
    asked = [part for message in messages[:first] if message["role"] == "user" for part in message["content"]]
    pasted = [part for part in asked if part["type"] == "image_url"]
    assert [part["image_url"]["url"] for part in pasted] == [RED]


def test_codexs_two_developer_messages_are_one_system_message(proxy: Proxied) -> None:
    """And so is a later one: Qwen 3.5's template refuses a second system message, gpt-oss's leaves it out."""
    later = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Ask no more."}]}
    history = [*recorded("codex")["body"]["input"], later]
    send(proxy, "codex", input=history)
    system = proxy.body["messages"][0]["content"]
    told = ("You are a coding agent running", "<skills_instructions>", "<permissions instructions>", "Ask no more.")
    assert sorted(told, key=system.index) == [*told]
    Request.model_validate(proxy.body)


def test_claude_codes_prompt_begins_alike_in_each_conversation(proxy: Proxied) -> None:
    assert recorded("claude-code")["body"]["system"][0]["text"].startswith("x-anthropic-billing-header")
    send(proxy, "claude-code")
    assert proxy.body["messages"][0]["content"][0]["text"].startswith("You are a Claude agent")


@pytest.mark.parametrize(
    ("name", "more"),
    [("claude-code", {}), ("codex", {}), ("opencode", {"prompt_cache_key": "k"})],
)
def test_the_prompt_cache_key(proxy: Proxied, name: str, more: Mapping[str, Any]) -> None:
    """SageMaker's prefix-aware routing reads it; ``additional_drop_params`` leaves it out for one model."""
    send(proxy, name, "reviewer", **more)
    assert proxy.body["prompt_cache_key"]
    proxy.received.clear()
    send(proxy, name, "strict", **more)
    assert "prompt_cache_key" not in proxy.body


def test_what_an_application_says_to_its_container_passes(proxy: Proxied) -> None:
    send(proxy, "opencode", top_k=5, chat_template_kwargs={"enable_thinking": True}, client_metadata={"a": "b"})
    assert proxy.body["top_k"] == 5
    assert proxy.body["chat_template_kwargs"] == {"enable_thinking": True}
    assert "client_metadata" not in proxy.body


@pytest.mark.parametrize("name", ["claude-code", "codex"])
def test_the_stream_has_the_containers_token_counts(proxy: Proxied, name: str) -> None:
    answer = send(proxy, name)
    events = [json.loads(line.removeprefix("data: ")) for line in answer.splitlines() if line.startswith("data: {")]
    if name == "codex":
        usage = events[-1]["response"]["usage"]
    else:
        [usage] = [event["usage"] for event in events if event["type"] == "message_delta"]
    assert (usage["input_tokens"], usage["output_tokens"]) == proxy.tokens
