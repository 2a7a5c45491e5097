"""Messages and tools as agents and LiteLLM's translations write them → as containers read them. Pure.

docs/agents.md has each decision, and what vLLM, SGLang, llama.cpp and TensorRT-LLM do with each field. Fields that are
not named here are the application's and pass. Nothing that was given is changed; what changes is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

# LiteLLM's and Anthropic's, and what a client that echoes an answer whole sends back.
_NOT_IN_MESSAGES = frozenset(
    {"annotations", "cache_control", "images", "provider_specific_fields", "reasoning_items", "thinking_blocks"}
)
_NOT_IN_CALLS = frozenset({"cache_control", "index", "provider_specific_fields"})
_CACHE_CONTROL = frozenset({"cache_control"})
_INSTRUCTIONS = ("system", "developer")
_REASONING = ("reasoning", "reasoning_content")
# Claude Code's, as the first part of its system message. It differs from conversation to conversation, or more often,
# so that no two would share the start of a prompt in the container's cache. vLLM 0.32.0 leaves it out itself.
_BILLING = "x-anthropic-billing-header"
_MEDIA = ("image_url", "video_url", "audio_url", "input_audio")
_DETAILS = (
    "auto",
    "low",
    "high",
)  # OpenAI's chat protocol. SGLang 0.5.23 refuses others, Codex's `original` among them

MEDIA_FOLLOWS = "(media, in the next user message)"
MEDIA_ABOVE = "Media from the tool results above:"


def container_messages(messages: Sequence[Any]) -> list[Any]:
    """The messages as containers read them.

    One system message stands first, with all that the leading system and developer messages and each later developer
    message say: Qwen 3.5's template refuses a second one, gpt-oss's leaves it out. An assistant's reasoning has both
    of the names that containers read it by. Media in a tool's result follow in a user message. What is only another
    vendor's or LiteLLM's is left out, and so are nulls: llama.cpp refuses some.

    Args:
        messages: OpenAI messages, as dictionaries or Pydantic models. What is neither is left as it is.
    """
    return list(_media_after_tools(_one_system_message([_message(message) for message in messages])))


def container_tools(tools: Any) -> Any:
    """Tools without Anthropic's ``cache_control``, and without nulls: SGLang 0.5.17 refuses ``"strict": null``."""
    return [_tool(tool) for tool in tools] if isinstance(tools, list) else tools


def _message(message: Any) -> Any:
    if isinstance(message, BaseModel):
        message = message.model_dump(exclude_none=True)
    if not isinstance(message, Mapping):
        return message
    reasoning = _reasoning(message) if message.get("role") == "assistant" else None
    message = {
        name: value
        for name, value in message.items()
        if name not in _NOT_IN_MESSAGES and (value is not None or name == "content")
    }
    if isinstance(message.get("content"), list):
        instructs = _instructs(message)
        message["content"] = [_part(part) for part in message["content"] if not (instructs and _is_billing(part))]
    if isinstance(message.get("tool_calls"), list):
        message["tool_calls"] = [_without(call, _NOT_IN_CALLS) for call in message["tool_calls"]]
    if reasoning:
        message |= {name: message.get(name) or reasoning for name in _REASONING}
    return message


def _reasoning(message: Mapping[str, Any]) -> str | None:
    """vLLM 0.20.2 and 0.32.0 read ``reasoning`` alone, SGLang and llama.cpp ``reasoning_content`` alone."""
    for name in reversed(_REASONING):
        if message.get(name) and isinstance(message[name], str):
            return str(message[name])
    blocks = message.get("thinking_blocks")
    texts = (
        [block.get("thinking") for block in blocks if isinstance(block, Mapping)] if isinstance(blocks, list) else []
    )
    return "\n".join(text for text in texts if text and isinstance(text, str)) or None


def _is_billing(part: Any) -> bool:
    text = part.get("text") if _kind(part) == "text" else None
    return isinstance(text, str) and text.startswith(_BILLING) and "\n" not in text.strip()


def _part(part: Any) -> Any:
    part = _without(part, _CACHE_CONTROL)
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    if isinstance(image, str):
        return {**part, "image_url": {"url": image}}  # the object that OpenAI's protocol has
    if isinstance(image, Mapping) and image.get("detail", "auto") not in _DETAILS:
        return {**part, "image_url": _without(image, frozenset({"detail"}))}
    return part


def _one_system_message(messages: list[Any]) -> list[Any]:
    leading = next((at for at, message in enumerate(messages) if not _instructs(message)), len(messages))
    later = [at for at in range(leading, len(messages)) if _role(messages[at]) == "developer"]
    moved = dict.fromkeys([*range(leading), *later])
    texts = [_text(messages[at]) for at in moved]
    if len(moved) == leading < 2 or None in texts:
        return [{**message, "role": "system"} if _role(message) == "developer" else message for message in messages]
    rest = [message for at, message in enumerate(messages) if at not in moved]
    return [{"role": "system", "content": "\n\n".join(text for text in texts if text)}, *rest]


def _instructs(message: Any) -> bool:
    return _role(message) in _INSTRUCTIONS


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None


def _text(message: Mapping[str, Any]) -> str | None:
    """A message's text; None where it has more than that, such as a name or Kimi's ``tools``."""
    content = message.get("content")
    if not message.keys() <= {"role", "content"} or not isinstance(content, (str, list)):
        return None
    if isinstance(content, str):
        return content
    texts = [part["text"] for part in content if _kind(part) == "text" and isinstance(part.get("text"), str)]
    return "\n".join(texts) if len(texts) == len(content) else None


def _kind(part: Any) -> Any:
    return part.get("type") if isinstance(part, Mapping) else None


def _media_after_tools(messages: list[Any]) -> Iterator[Any]:
    """Templates that show an image in a tool's result are few; one in a user message each vision model's does."""
    media: list[Any] = []
    for message in messages:
        content = message.get("content") if _role(message) == "tool" else None
        if media and _role(message) != "tool":
            yield _media_message(media)
            media = []
        if isinstance(content, list) and any(_kind(part) in _MEDIA for part in content):
            media += [part for part in content if _kind(part) in _MEDIA]
            rest = [part for part in content if _kind(part) not in _MEDIA]
            message = {
                **message,
                "content": [*rest, {"type": "text", "text": MEDIA_FOLLOWS}] if rest else MEDIA_FOLLOWS,
            }
        yield message
    if media:
        yield _media_message(media)


def _media_message(media: list[Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": MEDIA_ABOVE}, *media]}


def _tool(tool: Any) -> Any:
    tool = _without(tool, _CACHE_CONTROL)
    if isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping):
        function = {name: value for name, value in tool["function"].items() if value is not None}
        return {**tool, "function": _without(function, _CACHE_CONTROL)}
    return tool


def _without(given: Any, names: frozenset[str]) -> Any:
    if not isinstance(given, Mapping) or names.isdisjoint(given):
        return given
    return {name: value for name, value in given.items() if name not in names}
