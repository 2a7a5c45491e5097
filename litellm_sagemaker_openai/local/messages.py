"""What the messages of a request to the built-in container say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litellm_sagemaker_openai.local.echo_checks import TEXT_TYPES


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text; a part that is not text stands as its type, ``<image_url>``."""
    return " ".join(
        part[part["type"]] if part["type"] in TEXT_TYPES else f"<{part['type']}>" for part in parts_of(message)
    )


def parts_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A message's content as a list of parts, which is one way to write it."""
    content = message.get("content") or ""
    parts = [content] if isinstance(content, str) else content
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
