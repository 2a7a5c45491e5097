"""JSON Schema → a value that fits it, filled in from a text where the text has something that fits. Pure.

Covers what tools and ``json_schema`` response formats are made of; what it cannot satisfy, it refuses.

Why not a library: none takes its values from a text. Of the tests' schemas, then 21, jsf 0.11.2 fails six, at random
values; hypothesis-jsonschema 0.23.1 fails seven under Hypothesis 6.170, and needs up to 0.4 s for a value.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, combinations, islice
from typing import Any, TypeVar
from urllib.parse import unquote

import regex  # for a client's patterns: it matches as `re` does, and has a timeout

# Below this, choices that end the recursion are preferred; at the limit the schema counts as endless.
_SOFT_DEPTH = 4
_DEPTH_LIMIT = 40
_MAX_VALUES = 10_000
_MAX_CHARACTERS = 10_000_000  # in all strings of a value: each may be the whole text
# Characters of the text that are searched for a value's numbers and enums: each search may be of the whole text.
_MAX_SEARCHED = 50_000_000
_NUMBER_COST = 30  # to compare a number takes as long as to search so many characters
# What a client's patterns may cost, for one value. Most take microseconds; "(x+x+)+y" can take years.
_MAX_PATTERN_LENGTH = 2_000
_PATTERN_SECONDS = 0.2
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
# What the type is where a schema does not say: the first of these keywords tells.
_KEYWORD_TYPES = {
    **dict.fromkeys(("properties", "required"), "object"),
    **dict.fromkeys(("items", "prefixItems"), "array"),
    **dict.fromkeys(("pattern", "minLength", "format"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
}

_WORD = re.compile(r"[\w-]+")
T = TypeVar("T")


class UnsatisfiableSchemaError(ValueError):
    """The schema is malformed, endless, or asks for what this generator cannot make."""


class TextSource:
    """The numbers and names of a text, each handed out once, in the order of the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        # 15 digits stay exact in a double, which is what many JSON readers make of a number.
        found = re.findall(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,15})?(?![\w])", text)
        self._numbers = [float(number) if "." in number else int(number) for number in found]
        self._names = _names(text)

    @property
    def count_of_numbers(self) -> int:
        """How many numbers are left."""
        return len(self._numbers)

    def take_number(self, fits: Callable[[int | float], bool]) -> int | float | None:
        """The next number that fits, or None."""
        return _take(self._numbers, fits)

    def take_name(self, fits: Callable[[str], bool]) -> str | None:
        """The next quoted string, name or long word that fits, the whole text once they are used up, or None."""
        name = _take(self._names, fits)
        return self.text if name is None and self.text and fits(self.text) else name


def _take(values: list[T], fits: Callable[[T], bool]) -> T | None:
    position = next((position for position, value in enumerate(values) if fits(value)), None)
    return None if position is None else values.pop(position)


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
    return quoted or re.findall(r"(?<=[\w,;:] )[A-Z][\w-]*(?: [A-Z][\w-]*)*", text)


def example(schema: Any, source: TextSource) -> Any:
    """A value that fits ``schema``; ``$ref`` is resolved within it.

    Raises:
        UnsatisfiableSchemaError: no such value could be made.
    """
    try:
        return _Generator(schema, source).value(schema)
    except UnsatisfiableSchemaError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        # A keyword's value is of a kind that it cannot be: {"minLength": "three"}.
        raise UnsatisfiableSchemaError(f"the schema is malformed: {error}") from error


class _Generator:
    def __init__(self, root: Any, source: TextSource) -> None:
        self.root = root
        self.source = source
        self._values_left = _MAX_VALUES
        self._characters_left = _MAX_CHARACTERS
        self._searches_left = _MAX_SEARCHED
        self._pattern_seconds_left = _PATTERN_SECONDS

    def value(self, schema: Any, depth: int = 0, others: Sequence[Any] = ()) -> Any:
        """A value that fits; a number, a string, a boolean or one of an enum differs from the ``others``."""
        self._count(depth)
        schema = self._flat(_object(schema), depth)
        unsupported = sorted(_UNSUPPORTED & schema.keys())
        if unsupported:
            raise UnsatisfiableSchemaError(f"the echo container does not support {unsupported[0]!r}")
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._from_enum([value for value in _list(schema, "enum") if value not in others])
        if "default" in schema and schema["default"] not in others:
            return schema["default"]
        kind = _type_of(schema, depth)
        if kind == "object":
            return self._object_value(schema, depth)
        if kind == "array":
            return self._array_value(schema, depth)
        if kind == "string":
            return self._string_value(schema, others)
        if kind in ("integer", "number"):
            return self._number_value(schema, kind, others)
        if kind == "boolean":
            return True not in others
        if kind == "null":
            return None
        raise UnsatisfiableSchemaError(f"unknown type {kind!r}")

    def _count(self, depth: int) -> None:
        self._values_left -= 1
        if depth > _DEPTH_LIMIT or self._values_left < 0:
            raise UnsatisfiableSchemaError("the schema is endless, or asks for too much")

    def _may_search(self, cost: int) -> bool:
        """Whether a search of the text is still paid for. If not, the value is one that fits, and not the text's."""
        self._searches_left -= cost
        return self._searches_left >= 0

    def _flat(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """The schema with ``$ref``, ``allOf``, ``anyOf`` and ``oneOf`` merged into it."""
        self._count(depth)
        for _ in range(_DEPTH_LIMIT):
            key = next((name for name in ("$ref", "allOf", "anyOf", "oneOf") if name in schema), None)
            if key is None:
                return schema
            rest = {name: value for name, value in schema.items() if name != key}
            if key == "$ref":
                schema = _merged(self._resolve(schema[key]), rest)
            elif key == "allOf":
                for part in _list(schema, key):
                    rest = _merged(rest, self._flat(_object(part), depth))
                schema = rest
            else:
                schema = _merged(rest, _object(_option(_list(schema, key), depth)))
        raise UnsatisfiableSchemaError("the schema refers to itself")

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
            raise UnsatisfiableSchemaError("enum must not be empty, nor have fewer values than uniqueItems asks for")
        if not self._may_search(len(self.source.text)):
            return values[0]
        names = {value.lower(): value for value in reversed(values[:_MAX_VALUES]) if isinstance(value, str) and value}
        found = next(mentioned(reversed(names), self.source.text.lower()), None)
        return values[0] if found is None else names[found]

    def _object_value(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """The required properties; all of them where none is required."""
        properties = _object(schema.get("properties", {}))
        required = dict.fromkeys(str(name) for name in _list(schema, "required"))
        # Deep down an optional property is left out, because that is what ends a recursive schema.
        optional = () if required or depth > _SOFT_DEPTH else properties
        names = dict.fromkeys([*(name for name in properties if name in required), *optional, *required])
        least = min(_MAX_VALUES, int(schema.get("minProperties", 0)))
        further = chain(properties, (f"key{number}" for number in range(1, least + 1)))
        names.update(dict.fromkeys(islice((name for name in further if name not in names), max(0, least - len(names)))))
        extra = schema.get("additionalProperties", True)
        return {name: self.value(properties.get(name, extra), depth + 1) for name in names}

    def _array_value(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        positions = _list(schema, "prefixItems")
        items = schema.get("items", True)
        least, most = int(schema.get("minItems", 0)), schema.get("maxItems", math.inf)
        wanted = max(least, len(positions), 1 if depth <= _SOFT_DEPTH and items is not False else 0)
        unique = bool(schema.get("uniqueItems"))
        values: list[Any] = []
        for position in range(int(min(wanted, most))):
            element = positions[position] if position < len(positions) else items
            value = self.value(element, depth + 1, values if unique else ())
            if unique and value in values:
                raise UnsatisfiableSchemaError("uniqueItems asks for more different values than could be made")
            values.append(value)
        return values

    def _string_value(self, schema: Mapping[str, Any], others: Sequence[Any]) -> str:
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength", math.inf)
        matches = self._matcher(schema.get("pattern", ""))

        def fits(text: str) -> bool:
            return least <= len(text) <= most and text not in others and matches(text)

        text = self.source.text
        self._characters_left -= len(text)
        if self._characters_left < 0:
            raise UnsatisfiableSchemaError("the schema asks for too many strings for so long a text")
        of_format = _FORMATS.get(schema.get("format", ""))
        if of_format is not None and fits(of_format):
            return of_format
        taken = self.source.take_name(fits)
        if taken is not None:
            return taken
        padded = text.ljust(min(least, _MAX_VALUES), ".")
        cut = padded if most == math.inf else padded[: int(most)]
        numbered = (f"{text}{number}" for number in range(len(others), 2 * len(others)))
        common = ("echo", "Echo", "ECHO", "a", "A", "1", "0")
        candidates: Iterable[str] = chain(_WORD.findall(text), [cut], numbered, _FORMATS.values(), common)
        found = next(filter(fits, candidates), None)
        if found is not None:
            return found
        pattern = schema.get("pattern", "")
        raise UnsatisfiableSchemaError(f"the echo container cannot make a string for the pattern {pattern!r}")

    def _matcher(self, pattern: str) -> Callable[[str], bool]:
        """Whether a text has the pattern in it."""
        if len(pattern) > _MAX_PATTERN_LENGTH:
            raise UnsatisfiableSchemaError(f"the pattern has more than {_MAX_PATTERN_LENGTH} characters")
        try:
            compiled = regex.compile(pattern)
        except regex.error as error:
            raise UnsatisfiableSchemaError(f"the pattern is not a regular expression: {error}") from error

        def matches(text: str) -> bool:
            started = time.process_time()
            try:
                return compiled.search(text, timeout=max(0, self._pattern_seconds_left)) is not None
            except TimeoutError:
                raise UnsatisfiableSchemaError(f"the pattern {pattern!r} takes too long to match") from None
            finally:
                self._pattern_seconds_left -= time.process_time() - started

        return matches

    def _number_value(self, schema: Mapping[str, Any], kind: str, others: Sequence[Any]) -> int | float:
        at_least, above = _bound(schema, "minimum", -math.inf), _bound(schema, "exclusiveMinimum", -math.inf)
        at_most, below = _bound(schema, "maximum", math.inf), _bound(schema, "exclusiveMaximum", math.inf)
        step = _exact(schema.get("multipleOf", 1 if kind == "integer" else 0))

        def fits(number: int | float) -> bool:
            exact = number if isinstance(number, int) else _exact(number)
            return (
                at_least <= exact <= at_most
                and above < exact < below
                and not (step and exact % step)
                and (kind == "number" or exact.denominator == 1)
                and number not in others
            )

        may_search = self._may_search(self.source.count_of_numbers * _NUMBER_COST)
        number = self.source.take_number(fits) if may_search else None
        if number is None:
            limits = [at_least, above, at_most, below, max(filter(_is_number, others), default=math.inf)]
            candidates = _numbers([_exact(limit) for limit in limits if not math.isinf(limit)], step)
            number = next(filter(fits, candidates), None)
        if number is None:
            raise UnsatisfiableSchemaError("no number fits the schema's bounds")
        return int(number) if kind == "integer" else number


def _numbers(limits: Sequence[Fraction], step: Fraction) -> Iterator[int | float]:
    """Numbers worth trying: 1, 0, and what lies next to the limits and between them."""
    points = [(limit, unit) for limit in (*limits, Fraction(0)) for unit in (step, Fraction(1)) if unit]
    near = ((limit // unit + offset) * unit for limit, unit in points for offset in (-1, 0, 1, 2))
    between = ((first + second) / 2 for first, second in combinations(limits, 2))
    for number in chain((Fraction(1), Fraction(0)), near, limits, between):
        yield int(number) if number.denominator == 1 else float(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))  # the Fraction of the text "1e999999999" would fill the memory


def _exact(number: Any) -> Fraction:
    if not _is_number(number) and not isinstance(number, Fraction):
        raise UnsatisfiableSchemaError(f"{number!r:.100} is not a number")
    return Fraction(str(number))


def _bound(schema: Mapping[str, Any], name: str, default: float) -> Fraction | float:
    value = schema.get(name)
    # Draft 4 has booleans in exclusiveMinimum.
    return default if value is None or isinstance(value, bool) else _exact(value)


def _option(options: Sequence[Any], depth: int) -> Any:
    """The first option that is not null; deep down, the one that ends the recursion."""
    if not options:
        raise UnsatisfiableSchemaError("anyOf and oneOf must not be empty")
    nulls = [option for option in options if _is_null(option)]
    others = [option for option in options if not _is_null(option)]
    if depth <= _SOFT_DEPTH:
        return (others or nulls)[0]
    plain = [option for option in others if "$ref" not in json.dumps(option)]
    return (nulls or plain or others)[0]


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


def _list(schema: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = schema.get(key, ())
    if isinstance(value, (list, tuple)):
        return value
    raise UnsatisfiableSchemaError(f"{key} must be an array")
