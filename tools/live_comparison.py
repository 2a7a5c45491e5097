"""Two answers to the same request → how they differ, and which differences matter. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.live_answers import Seen

# Where one of these is, the model had something to think about; which name it has differs by release.
_REASONING = ("reasoning", "reasoning_content")
_CHOSEN_BY_THE_MODEL = ("finish_reason",)


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which two answers differ.

    Attributes:
        what: the status, the content type, a path in the JSON …
        aws: what SageMaker answers.
        local: what the local runtime answers.
        matters: whether it is one of kind. The others come from another model, another release of the container, or
            are in a field that is empty.
    """

    what: str
    aws: str
    local: str
    matters: bool = True


def differences(aws: Seen, local: Seen) -> tuple[Difference, ...]:
    """How SageMaker's answer differs from the local runtime's. Of one that did not come whole, nothing else is said."""
    if aws.failure or local.failure:
        if aws.failure == local.failure:
            same = aws.status == local.status
            return () if same else (Difference("status", _status(aws) or "none", _status(local) or "none"),)
        return (Difference("failure", aws.failure or "none", local.failure or "none"),)
    return (*_of_kind(aws, local), *_of_shape(aws.shape, local.shape), *_of_values(aws.values, local.values))


def _of_kind(aws: Seen, local: Seen) -> Iterator[Difference]:
    pairs = (
        ("status", _status(aws), _status(local)),
        ("content type", aws.media_type, local.media_type),
        ("error type", aws.error_type, local.error_type),
        ("order of events", "; ".join(aws.events), "; ".join(local.events)),
    )
    for what, of_aws, of_local in pairs:
        if of_aws != of_local:
            yield Difference(what, of_aws or "none", of_local or "none")
    for name in sorted(aws.headers ^ local.headers):
        yield Difference(f"header {name}", _there(name in aws.headers), _there(name in local.headers))
    if _without_numbers(aws.words) != _without_numbers(local.words):
        yield Difference("words", aws.words or "none", local.words or "none")
    if bool(aws.quoted) != bool(local.quoted):
        yield Difference("the container's words", aws.quoted or "none", local.quoted or "none")
    elif _without_numbers(aws.quoted) != _without_numbers(local.quoted):
        yield Difference("the container's words", aws.quoted, local.quoted, matters=_marks(aws) != _marks(local))


def _of_shape(aws: Mapping[str, frozenset[str]], local: Mapping[str, frozenset[str]]) -> Iterator[Difference]:
    thinks = {side for side, shape in enumerate((aws, local)) if _has_reasoning(shape)}
    for path in sorted(aws.keys() | local.keys()):
        of_aws, of_local = aws.get(path, frozenset()), local.get(path, frozenset())
        if _filled(of_aws) == _filled(of_local):
            if of_aws != of_local:  # null or empty on one side alone
                yield Difference(f"field {path}", _types(of_aws), _types(of_local), matters=False)
            continue
        lacks = 0 if not _filled(of_aws) else 1
        optional = _last(path) in _REASONING or (_last(path) == "content" and lacks in thinks)
        # What is null on one side is known there by its name, be it the value or what it is in.
        other = aws if lacks == 0 else local
        nullable = not (_filled(of_aws) and _filled(of_local)) and any(
            "null" in other.get(each, ()) for each in _with_parents(path)
        )
        yield Difference(f"field {path}", _types(of_aws), _types(of_local), matters=not (optional or nullable))


def _of_values(aws: Mapping[str, frozenset[str]], local: Mapping[str, frozenset[str]]) -> Iterator[Difference]:
    for path in sorted(aws.keys() & local.keys()):
        if aws[path] != local[path]:
            matters = _last(path) not in _CHOSEN_BY_THE_MODEL
            yield Difference(f"value of {path}", _listed(aws[path]), _listed(local[path]), matters)


def _status(seen: Seen) -> str:
    return "" if seen.status is None else str(seen.status)


def _there(there: bool) -> str:
    return "there" if there else "not there"


def _without_numbers(words: str) -> str:
    return re.sub(r"\d+(?:[.,]\d+)*", "#", words)


def _marks(seen: Seen) -> str:
    return seen.quoted.rpartition(" (")[2]


def _filled(types: frozenset[str]) -> frozenset[str]:
    return types - {"null", "list", "object"}  # a list or an object that has something in it has paths of its own


def _has_reasoning(shape: Mapping[str, frozenset[str]]) -> bool:
    return any(_last(path) in _REASONING and _filled(types) for path, types in shape.items())


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _with_parents(path: str) -> Iterator[str]:
    """``a[].b``, ``a[]``, ``a``."""
    while path:
        yield path
        path = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]


def _types(types: frozenset[str]) -> str:
    named = {"list": "an empty list", "object": "an empty object"}
    return " or ".join(sorted(named.get(each, each) for each in types)) or "not there"


def _listed(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))
