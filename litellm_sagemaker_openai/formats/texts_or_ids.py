"""A text, several, or token ids: the form of OpenAI's ``input`` and ``prompt``. Pure."""

from __future__ import annotations

from typing import Any

FORM = "a string, a list of strings, or token ids: a list of integers, or a list of such lists"


def are_texts_or_ids(value: Any) -> bool:
    """Whether a value has that form; an empty list has not."""
    if isinstance(value, str) or are(str, value) or _are_ids(value):
        return True
    return are(list, value) and all(map(_are_ids, value))


def are(kind: type, values: Any) -> bool:
    """Whether values are a list, not empty, of one type."""
    return isinstance(values, list) and bool(values) and all(isinstance(value, kind) for value in values)


def _are_ids(values: Any) -> bool:
    return are(int, values) and not any(isinstance(value, bool) or value < 0 for value in values)
