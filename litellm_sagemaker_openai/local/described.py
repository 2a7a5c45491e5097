"""The JSON object that a prompt describes → a JSON schema for it. Pure.

Frameworks ask for ``json_object`` and describe the object in the prompt: by its schema (Pydantic AI, Instructor,
CrewAI), or by an example with a note for each value (DSPy's JSONAdapter). A model reads it there, and so does the echo
container.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_OBJECT_START = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder()
# Characters of a prompt that are read as JSON, over all attempts: an object may begin at each brace.
_MAX_READ = 2_000_000
_ATTEMPT = 100  # what an attempt costs at least
_DEPTH_LIMIT = 20
_WRAPPERS = ("json_schema", "schema")  # as in a response_format, which CrewAI writes into its prompt
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
# What stands for a value in an example → its type: DSPy writes "{age}  # note: … must be a single int value".
_NOTED_TYPES = {
    "integer": re.compile(r"\bint(eger)?\b"),
    "number": re.compile(r"\b(float|number)\b"),
    "boolean": re.compile(r"\b(bool(ean)?|True or False)\b"),
}
_ONE_OF = re.compile(r"\bone of: (.+)")  # DSPy's, for an enum: "must be one of: red; green"


def described(texts: Iterable[str]) -> Mapping[str, Any] | None:
    """The schema of the object that a prompt describes: the last schema in its texts, else the last example."""
    objects = list(_objects(texts))
    schemas = [schema for schema in map(_unwrapped, objects) if _is_object_schema(schema)]
    if schemas:
        return schemas[-1]
    if not objects or not objects[-1]:
        return None
    definitions: dict[str, Any] = {}
    return {**_schema_of(objects[-1], definitions), "$defs": definitions}


def without_objects(text: str) -> str:
    """A text without the JSON objects in it, so that their names are not taken for what the user says."""
    kept, position = [], 0
    for _, start, end in _spans(text, [_MAX_READ]):
        kept.append(text[position:start])
        position = end
    return "".join([*kept, text[position:]])


def _objects(texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    left = [_MAX_READ]
    for text in texts:
        for found, _, _ in _spans(text, left):
            yield found


def _spans(text: str, left: list[int]) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Each JSON object in a text that is not in another, with its start and end.

    ``left`` is how many characters may still be read, and is counted down.
    """
    end = 0
    for start in (match.start() for match in _OBJECT_START.finditer(text)):
        if start < end:
            continue
        if left[0] <= 0:
            return
        try:
            found, end = _DECODER.raw_decode(text, start)
            stopped = end
        except ValueError as error:
            found, stopped = None, _read_until(error, len(text))
        except RecursionError:  # nested so deep that only an attack can mean it
            return
        left[0] -= max(_ATTEMPT, stopped - start)
        if isinstance(found, dict):
            yield found, start, end


def _read_until(error: ValueError, end: int) -> int:
    """How far a text was read: to the error, but for a string without an end and a number too long for an ``int``."""
    if isinstance(error, json.JSONDecodeError) and not error.msg.startswith("Unterminated string"):
        return error.pos
    return end


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    for name in _WRAPPERS:
        if isinstance(value.get(name), dict):
            value = value[name]
    return value


def _is_object_schema(value: Mapping[str, Any]) -> bool:
    has_properties = isinstance(value.get("properties"), dict)
    return (has_properties and value.get("type", "object") == "object") or isinstance(value.get("$ref"), str)


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict) and (
        (isinstance(value.get("type"), str) and value["type"] in _TYPES)
        or any(isinstance(value.get(name), kind) for name, kind in (("$ref", str), ("anyOf", list), ("enum", list)))
    )


def _schema_of(value: Any, definitions: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """A schema for what an example has; definitions of schemas within it are collected."""
    if depth > _DEPTH_LIMIT:
        return {}
    if _is_schema(value):
        definitions.update(value["$defs"] if isinstance(value.get("$defs"), dict) else {})
        return {name: part for name, part in value.items() if name != "$defs"}
    if isinstance(value, dict):
        parts = {name: _schema_of(part, definitions, depth + 1) for name, part in value.items()}
        return {"type": "object", "properties": parts, "required": list(parts)}
    if isinstance(value, list):
        return {"type": "array", "items": _schema_of(value[0], definitions, depth + 1)} if value else {"type": "array"}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, (int, float)):
        return {"type": "integer" if isinstance(value, int) else "number"}
    return _noted(value, definitions, depth) if isinstance(value, str) else {"type": "null"}


def _noted(note: str, definitions: dict[str, Any], depth: int) -> dict[str, Any]:
    """A schema for the value that a note describes."""
    schema = next((found for found in _objects([note]) if _is_schema(found)), None)
    if schema is not None:
        return _schema_of(schema, definitions, depth + 1)
    if found := _ONE_OF.search(note):
        return {"enum": found[1].split("; ")}
    kinds = (kind for kind, pattern in _NOTED_TYPES.items() if pattern.search(note))
    return {"type": next(kinds, "string")}
