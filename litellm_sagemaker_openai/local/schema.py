"""JSON Schema → a value that fits it, filled in from a text where the text has something that fits. Pure.

Covers what tools and ``json_schema`` response formats are made of; what it cannot satisfy, it refuses.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

# Below this, choices that end the recursion are preferred; at the limit the schema counts as endless.
_SOFT_DEPTH = 4
_DEPTH_LIMIT = 40
_MAX_VALUES = 10_000
# Refused rather than ignored: a value made without regard to them may not fit.
_UNSUPPORTED = frozenset({"not", "if", "contains", "propertyNames", "dependentRequired", "dependentSchemas"})

_FORMATS = {
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "PT1M",
    "email": "echo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_KEYWORD_TYPES = {
    "properties": "object",
    "required": "object",
    "items": "array",
    "prefixItems": "array",
    "pattern": "string",
    "minLength": "string",
    "format": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}

_WORD = re.compile(r"[\w-]+")


class UnsatisfiableSchemaError(ValueError):
    """The schema is malformed, endless, or asks for what this generator cannot make."""


class TextSource:
    """The numbers and names of a text, each handed out once, in the order of the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        # 15 digits stay exact in a double, which is what many JSON readers make of a number.
        self._numbers = [match.group() for match in re.finditer(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,15})?(?![\w])", text)]
        self._names = _names(text)

    def take_number(self, fits: Callable[[int | float], bool]) -> int | float | None:
        """The next number that fits, or None."""
        for position, text in enumerate(self._numbers):
            number = float(text) if "." in text else int(text)
            if fits(number):
                del self._numbers[position]
                return number
        return None

    def take_name(self, fits: Callable[[str], bool]) -> str | None:
        """The next quoted string, name or long word that fits, the whole text once they are used up, or None."""
        for position, name in enumerate(self._names):
            if fits(name):
                del self._names[position]
                return name
        return self.text if self.text and fits(self.text) else None


def mentioned(names: Iterable[str], text: str) -> Iterator[str]:
    """The names that a text has as words of their own. The text is searched once, not for each name."""
    text = " ".join(text.split())
    words = set(_WORD.findall(text))
    for name in names:
        plain = _WORD.fullmatch(name) is not None
        if name in words or (not plain and name in text and _stands_alone(name, text)):
            yield name


def _stands_alone(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _names(text: str) -> list[str]:
    """Quoted strings; without any, capitalised words that do not begin a sentence."""
    quoted = [first or second for first, second in re.findall(r'"([^"]+)"|(?<!\w)\'([^\']+)\'(?!\w)', text)]
    if quoted:
        return quoted
    return re.findall(r"(?<=[\w,;:] )[A-Z][\w-]*(?: [A-Z][\w-]*)*", text)


def example(schema: Any, source: TextSource) -> Any:
    """A value that fits ``schema``; ``$ref`` is resolved within it.

    Raises:
        UnsatisfiableSchemaError: no such value could be made.
    """
    try:
        return _Generator(schema, source).value(schema, 0)
    except UnsatisfiableSchemaError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        # A keyword's value is of a kind that it cannot be: {"minLength": "three"}.
        raise UnsatisfiableSchemaError(f"the schema is malformed: {error}") from error


class _Generator:
    def __init__(self, root: Any, source: TextSource) -> None:
        self.root = root
        self.source = source
        self._remaining = _MAX_VALUES

    def value(self, schema: Any, depth: int) -> Any:
        self._count(depth)
        if schema is True:
            return self.source.text
        if not isinstance(schema, Mapping):
            raise UnsatisfiableSchemaError("a schema must be an object")
        schema = self._flat(schema, depth)
        unsupported = sorted(_UNSUPPORTED & schema.keys())
        if unsupported:
            raise UnsatisfiableSchemaError(f"the echo container does not support {unsupported[0]!r}")
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._from_enum(_list(schema, "enum"))
        if "default" in schema:
            return schema["default"]
        return self._typed(schema, _type_of(schema, depth), depth)

    def _count(self, depth: int = 0) -> None:
        self._remaining -= 1
        if depth > _DEPTH_LIMIT or self._remaining < 0:
            raise UnsatisfiableSchemaError("the schema is endless, or asks for too much")

    def _flat(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """The schema with ``$ref``, ``allOf``, ``anyOf`` and ``oneOf`` merged into it."""
        self._count()
        for _ in range(_DEPTH_LIMIT):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = _merged(self._resolve(schema["$ref"]), rest)
            elif "allOf" in schema:
                rest = {key: value for key, value in schema.items() if key != "allOf"}
                for part in _list(schema, "allOf"):
                    rest = _merged(rest, self._flat(_object(part), depth))
                schema = rest
            elif "anyOf" in schema or "oneOf" in schema:
                key = "anyOf" if "anyOf" in schema else "oneOf"
                rest = {name: value for name, value in schema.items() if name != key}
                schema = _merged(rest, _object(self._option(_list(schema, key), depth)))
            else:
                return schema
        raise UnsatisfiableSchemaError("the schema refers to itself")

    def _option(self, options: Sequence[Any], depth: int) -> Any:
        """The first option that is not null; deep down, the one that ends the recursion."""
        if not options:
            raise UnsatisfiableSchemaError("anyOf and oneOf must not be empty")
        nulls = [option for option in options if _is_null(option)]
        others = [option for option in options if not _is_null(option)]
        if depth <= _SOFT_DEPTH:
            return (others or nulls)[0]
        plain = [option for option in others if "$ref" not in json.dumps(option)]
        return (nulls or plain or others)[0]

    def _resolve(self, reference: Any) -> Mapping[str, Any]:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnsatisfiableSchemaError(f"$ref {reference!r} does not point into the schema")
        node = self.root
        for part in reference[1:].split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")  # RFC 6901, sections 4 and 6
            try:
                node = node[int(key)] if isinstance(node, list) else node[key]
            except (KeyError, IndexError, TypeError, ValueError):
                raise UnsatisfiableSchemaError(f"$ref {reference!r} points nowhere") from None
        return _object(node)

    def _from_enum(self, values: Sequence[Any]) -> Any:
        """The first value that the text mentions, else the first."""
        if not values:
            raise UnsatisfiableSchemaError("enum must not be empty")
        names = [value for value in values[:_MAX_VALUES] if isinstance(value, str) and value]
        found = next(mentioned((name.lower() for name in names), self.source.text.lower()), None)
        return next((name for name in names if name.lower() == found), values[0])

    def _typed(self, schema: Mapping[str, Any], kind: str, depth: int) -> Any:
        if kind == "object":
            return self._object_value(schema, depth)
        if kind == "array":
            return self._array_value(schema, depth)
        if kind == "string":
            return self._string_value(schema)
        if kind in ("integer", "number"):
            return self._number_value(schema, kind)
        if kind == "boolean":
            return True
        if kind == "null":
            return None
        raise UnsatisfiableSchemaError(f"unknown type {kind!r}")

    def _object_value(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """The required properties; all of them where none is required."""
        properties = _object(schema.get("properties", {}))
        required = dict.fromkeys(str(name) for name in _list(schema, "required", ()))
        # Deep down an optional property is left out, because that is what ends a recursive schema.
        optional = () if required or depth > _SOFT_DEPTH else properties
        extra = schema.get("additionalProperties", True)
        value = {}
        for name in [*(name for name in properties if name in required or name in optional), *required]:
            if name not in value:
                value[name] = self.value(properties.get(name, extra), depth + 1)
        for name in self._further_names(schema, value):
            value[name] = self.value(properties.get(name, extra), depth + 1)
        return value

    def _further_names(self, schema: Mapping[str, Any], value: Mapping[str, Any]) -> Iterable[str]:
        missing = min(_MAX_VALUES, max(0, int(schema.get("minProperties", 0)) - len(value)))
        candidates = [*schema.get("properties", {}), *(f"key{number}" for number in range(1, missing + 1))]
        return [name for name in candidates if name not in value][:missing]

    def _array_value(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        positions = _list(schema, "prefixItems", ())
        items = schema.get("items", True)
        least, most = int(schema.get("minItems", 0)), schema.get("maxItems", math.inf)
        wanted = max(least, len(positions), 1 if depth <= _SOFT_DEPTH and items is not False else 0)
        values: list[Any] = []
        for position in range(int(min(wanted, most))):
            element = positions[position] if position < len(positions) else items
            values.append(
                self._new_value(element, values, depth) if schema.get("uniqueItems") else self.value(element, depth + 1)
            )
        return values

    def _new_value(self, schema: Any, seen: Sequence[Any], depth: int) -> Any:
        """A value that is not among ``seen``, for ``uniqueItems``."""
        flat = self._flat(_object(schema), depth) if schema is not True else {"type": "string"}
        if "enum" in flat:
            unused = [value for value in _list(flat, "enum") if value not in seen]
            return self._from_enum(unused)
        value = self.value(flat, depth + 1)
        for number in range(len(seen), 2 * len(seen) + 2):
            if value not in seen:
                return value
            if isinstance(value, bool):
                value = not value
            elif isinstance(value, str):
                value = f"{value}{number}"
            elif isinstance(value, (int, float)):
                value = self._number_value({**flat, "exclusiveMinimum": max(seen)}, _type_of(flat, depth))
        raise UnsatisfiableSchemaError("uniqueItems asks for more different values than could be made")

    def _string_value(self, schema: Mapping[str, Any]) -> str:
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength", math.inf)
        try:
            pattern = re.compile(schema.get("pattern", ""))
        except re.error as error:
            raise UnsatisfiableSchemaError(f"the pattern is no regular expression: {error}") from error

        def fits(text: str) -> bool:
            return least <= len(text) <= most and pattern.search(text) is not None

        of_format = _FORMATS.get(schema.get("format", ""))
        if of_format is not None and fits(of_format):
            return of_format
        taken = self.source.take_name(fits)
        if taken is not None:
            return taken
        padded = self.source.text.ljust(min(least, _MAX_VALUES), ".")
        cut = padded if most == math.inf else padded[: int(most)]
        words: list[str] = re.findall(r"[\w-]+", self.source.text)
        candidates = (*words, cut, *_FORMATS.values(), "echo", "Echo", "ECHO", "a", "A", "1", "0")
        found = next(filter(fits, candidates), None)
        if found is not None:
            return found
        raise UnsatisfiableSchemaError(f"the echo container cannot make a string for the pattern {pattern.pattern!r}")

    def _number_value(self, schema: Mapping[str, Any], kind: str) -> int | float:
        step = _exact(schema.get("multipleOf", 1 if kind == "integer" else 0))
        low = max(_bounds(schema, "minimum", "exclusiveMinimum"), default=None)
        high = min(
            _bounds(schema, "maximum", "exclusiveMaximum"), key=lambda bound: (bound[0], not bound[1]), default=None
        )

        def fits(number: int | float) -> bool:
            exact = Fraction(str(number))
            return (
                (kind == "number" or exact.denominator == 1)
                and not (step and exact % step)
                and (low is None or exact > low[0] or (exact == low[0] and not low[1]))
                and (high is None or exact < high[0] or (exact == high[0] and not high[1]))
            )

        taken = self.source.take_number(fits)
        if taken is not None:
            return int(taken) if kind == "integer" else taken
        for candidate in _candidates(low, high, step):
            number = int(candidate) if candidate.denominator == 1 else float(candidate)
            if fits(number):
                return number
        raise UnsatisfiableSchemaError("no number fits the schema's bounds")


def _candidates(
    low: tuple[Fraction, bool] | None, high: tuple[Fraction, bool] | None, step: Fraction
) -> Iterable[Fraction]:
    """Numbers worth trying: 1, 0, and what lies next to the bounds."""
    yield from (Fraction(1), Fraction(0))
    bounds = [bound[0] for bound in (low, high) if bound is not None]
    if step:
        for bound in [*bounds, Fraction(0)]:
            yield from ((bound // step + offset) * step for offset in (-1, 0, 1, 2))
    yield from bounds
    if len(bounds) == 2:
        yield (bounds[0] + bounds[1]) / 2
    yield from (bound + offset for bound in bounds for offset in (1, -1))


def _exact(number: Any) -> Fraction:
    if not isinstance(number, (int, float)):  # the Fraction of the text "1e999999999" would fill the memory
        raise UnsatisfiableSchemaError(f"{number!r:.100} is no number")
    return Fraction(str(number))


def _bounds(schema: Mapping[str, Any], inclusive: str, exclusive: str) -> list[tuple[Fraction, bool]]:
    """The bounds that the schema gives, and of each whether it is itself excluded."""
    return [
        (_exact(schema[name]), name == exclusive)
        for name in (inclusive, exclusive)
        # Draft 4 has booleans in exclusiveMinimum.
        if schema.get(name) is not None and not isinstance(schema[name], bool)
    ]


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _type_of(schema: Mapping[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        concrete = [name for name in kind if name != "null"]
        return "null" if not concrete or (depth > _SOFT_DEPTH and "null" in kind) else str(concrete[0])
    if kind is None:
        return next((name for keyword, name in _KEYWORD_TYPES.items() if keyword in schema), "string")
    return str(kind)


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas at once: properties and required united, else ``second`` wins."""
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**_object(first["properties"]), **_object(second["properties"])}
    if "required" in first and "required" in second:
        merged["required"] = [*_list(first, "required"), *_list(second, "required")]
    return merged


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if value is True:
        return {}
    raise UnsatisfiableSchemaError("a schema must be an object")


def _list(schema: Mapping[str, Any], key: str, default: Sequence[Any] | None = None) -> Sequence[Any]:
    value = schema.get(key, default)
    if isinstance(value, (list, tuple)):
        return value
    raise UnsatisfiableSchemaError(f"{key} must be an array")
