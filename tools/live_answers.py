"""An answer → what of it is compared and written down: its kind, and no text of a model's. Pure.

Only what is named here is taken over: the status, the content type, names of headers, an error's words, the names and
types in JSON, what kinds of events a stream has. Of values there are those few that are words of the protocol. Each
text goes through a ``Redactor`` before anything else sees it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

from botocore.eventstream import EventStreamBuffer, ParserError

from litellm_sagemaker_openai.formats.aws_event_stream import EVENT_STREAM_TYPE
from litellm_sagemaker_openai.formats.events import DONE, Event, decoder_for
from litellm_sagemaker_openai.upstream_errors import AnswerError

# Of the connection, and of whatever is between: they come and go.
_NOT_COMPARED = frozenset(
    ("connection", "content-encoding", "content-length", "date", "keep-alive", "server", "transfer-encoding", "vary")
)
# Keys whose values are words of the protocol.
_WORDS = frozenset(("ErrorCode", "OriginalStatusCode", "code", "finish_reason", "object", "role", "type"))
# Whose value is JSON in itself, where that was asked for.
_JSON_TEXTS = ("choices[].message.content", "choices[].message.tool_calls[].function.arguments")
_MESSAGES = ("message", "Message", "OriginalMessage", "detail")  # the last: FastAPI's, and so vLLM's
_REASONING = ("reasoning", "reasoning_content")
# As seen (tests/wire/sagemaker): the container's body, quoted, its own quotes escaped or not.
_QUOTATION = re.compile(r'(?s)(.* with message )"(.*)"(\.?(?: See .*)?)')
_MOST_WORDS, _MOST_PATHS, _DEEPEST = 700, 300, 12


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came, or why none did.

    Attributes:
        status: None where there was no answer.
        headers: names in lower case.
        body: as far as it was read.
        failure: the kind of what went wrong on the way.
    """

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What of an answer is compared and written down.

    Attributes:
        error_type: the header by which SDKs know an error.
        shape: a path in the JSON, such as ``choices[].message.content``, and the types that stand there.
        values: a path whose value is a word of the protocol, and the words there.
        words: an error's message; what it quotes of the container is a part of its own.
        quoted: the container's words in it.
        events: the order of what comes in a stream: a line for each choice, and one for the whole.
    """

    status: int | None
    failure: str = ""
    media_type: str = ""
    headers: frozenset[str] = frozenset()
    error_type: str = ""
    shape: Mapping[str, frozenset[str]] = field(default_factory=dict)
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    words: str = ""
    quoted: str = ""
    events: tuple[str, ...] = ()


class Redact(Protocol):
    """Takes what is the user's out of texts."""

    def __call__(self, text: str) -> str: ...

    def word(self, word: str) -> str: ...


def seen(answer: Answer, redact: Redact) -> Seen:
    """What of an answer is compared and written down."""
    content_type = answer.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    events, whole = _events(media_type, content_type, answer.body), None
    if events is None:
        whole = _json_of(answer.body)
    objects = [whole] if events is None else [event for event in events if isinstance(event, dict)]
    shape, values = _shape_of(objects, redact)
    words, quoted = _words_of(answer, whole, redact)
    error_type = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
    return Seen(
        status=answer.status,
        failure=answer.failure,
        media_type=redact.word(media_type),
        headers=frozenset(redact.word(name) for name in answer.headers.keys() - _NOT_COMPARED),
        error_type=redact.word(error_type),
        shape=shape,
        values=values,
        words=words,
        quoted=quoted,
        events=() if events is None else _order_of(events, redact),
    )


def _json_of(body: bytes) -> Any:
    """None where it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


# Shapes


def _shape_of(objects: Iterable[Any], redact: Redact) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    types: dict[str, set[str]] = {}
    values: dict[str, set[str]] = {}
    for each in objects:
        if each is None:
            continue
        for path, value in _leaves(each, "", 0, redact):
            if len(types) >= _MOST_PATHS and path not in types:
                break
            types.setdefault(path, set()).add(_type_of(value))
            key = path.rpartition(".")[2]
            if key in _WORDS and isinstance(value, (str, int)):
                values.setdefault(path, set()).add(redact.word(str(value)))
            elif path in _JSON_TEXTS and isinstance(value, str):
                is_object = isinstance(_json_of(value.encode(errors="replace")), dict)
                values.setdefault(path, set()).add("a JSON object" if is_object else "text")
        if (
            isinstance(each, dict)
            and isinstance(each.get("choices"), list)
            and "message" in str(each["choices"])[:2000]
        ):
            values.setdefault("choices", set()).add(str(len(each["choices"])))
    return {path: frozenset(found) for path, found in types.items()}, {
        path: frozenset(found) for path, found in values.items()
    }


def _leaves(value: Any, path: str, depth: int, redact: Redact) -> Iterator[tuple[str, Any]]:
    """Each path that ends in something, and what stands there."""
    if isinstance(value, dict) and value and depth < _DEEPEST:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{redact.word(key)}".lstrip("."), depth + 1, redact)
    elif isinstance(value, list) and value and depth < _DEEPEST:
        for inner in value:
            yield from _leaves(inner, f"{path}[]", depth + 1, redact)
    else:
        yield path, value


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "object"


# Errors


def _words_of(answer: Answer, whole: Any, redact: Redact) -> tuple[str, str]:
    """An error's words, and those in it that are the container's."""
    if answer.status is None or answer.status < 400:
        return "", ""
    message = _message_in(whole)
    if message is None and whole is not None:
        return "", ""  # JSON without an error in it may have what a model says
    if message is None:
        message = answer.body[: 9 * _MOST_WORDS].decode(errors="replace")
    if len(message) > 8 * _MOST_WORDS:
        message = re.sub(r"\S*\Z", "", message[: 8 * _MOST_WORDS])  # a piece of a name is not known to be one
    quotation = _QUOTATION.fullmatch(message)
    if quotation is None:
        return _short(redact(message)), ""
    before, inside, after = quotation.groups()
    marks = "quotes escaped" if '\\"' in inside else "quotes as they are" if '"' in inside else "no quotes in it"
    return _short(redact(f'{before}"…"{after}')), _short(f"{redact(inside)} ({marks})")


def _message_in(whole: Any) -> str | None:
    if not isinstance(whole, dict):
        return None
    inner = whole.get("error")
    holder = inner if isinstance(inner, dict) else whole
    found = next((holder[name] for name in _MESSAGES if isinstance(holder.get(name), str)), None)
    return inner if found is None and isinstance(inner, str) else found


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}…"


# Streams


def _events(media_type: str, content_type: str, body: bytes) -> list[Event] | None:
    """A stream's events, and in a text what broke it; None where it is not a stream."""
    if media_type == EVENT_STREAM_TYPE:
        return list(_frames(body))
    if media_type in ("", "application/json") or not ("event-stream" in media_type or "json" in media_type):
        return None
    return list(_decoded(content_type, [body]))


def _decoded(content_type: str, pieces: Iterable[bytes]) -> Iterator[Event]:
    decoder = decoder_for(content_type)
    try:
        for piece in pieces:
            yield from decoder.feed(piece)
        yield from decoder.end()
    except AnswerError:
        yield "something that is not an event"


def _frames(body: bytes) -> Iterator[Event]:
    """The events of an AWS event stream: the container's in its frames, then the frames of other types."""
    buffer, others, pieces = EventStreamBuffer(), list[str](), list[bytes]()
    buffer.add_data(body)
    try:
        for message in buffer:
            kind = message.headers.get(":event-type") or message.headers.get(":exception-type") or "untyped"
            if kind == "PayloadPart":
                pieces.append(message.payload)
            else:
                others.append(f"frame {kind}")
    except ParserError:
        others.append("a broken frame")
    # The content type of what is in the frames is in a header; the first characters tell it as well.
    yield from _decoded("", pieces)
    yield from others


def _order_of(events: Iterable[Event], redact: Redact) -> tuple[str, ...]:
    """The order of what comes, of each choice alone, as choices are generated side by side, and of the whole stream."""
    whole: list[str] = []
    choices: dict[str, list[str]] = {}
    for event in events:
        parts = event.get("choices") if isinstance(event, dict) else None
        if not isinstance(parts, list) or not parts or (isinstance(event, dict) and "error" in event):
            whole.append(_kind_of(event, redact))
            continue
        whole.append("choices with usage" if isinstance(event, dict) and event.get("usage") else "choices")
        for part in parts:
            index = part.get("index") if isinstance(part, dict) else None
            name = f"choice {index}" if isinstance(index, int) else "a choice without index"
            choices.setdefault(name, []).append(_kind_of_choice(part, redact))
    parts_of = [f"{name}: {', '.join(_collapsed(kinds))}" for name, kinds in sorted(choices.items())]
    return (*parts_of, f"stream: {', '.join(_counted(whole)) or 'nothing'}")


def _kind_of(event: Event, redact: Redact) -> str:
    """What an event is for, in a word or two."""
    if isinstance(event, str):
        return event if event == DONE else redact.word(event)
    if "error" in event:
        return "error"
    if event.get("choices") == []:
        return "usage" if event.get("usage") else "no choices"
    return " ".join(sorted(map(redact.word, event))) or "an empty object"


def _kind_of_choice(choice: Any, redact: Redact) -> str:
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict):
        return "no delta"
    # vLLM's first chunk has the role and an empty content, its last an empty content and the reason. A model that
    # thinks may have no tokens left for anything else.
    kinds = {"text" if name in ("content", *_REASONING) else redact.word(name) for name in delta if delta[name]}
    return " ".join(sorted(kinds | ({"finish"} if choice.get("finish_reason") else set()))) or "nothing"


def _counted(kinds: Iterable[str]) -> Iterator[str]:
    """As many chunks of text come as chance has it; of all else, the number is told."""
    for kind, alike in groupby(kinds):
        number = len(list(alike))
        yield kind if number == 1 or kind.startswith("choices") else f"{kind} {number} times"


def _collapsed(kinds: Iterable[str]) -> list[str]:
    return [kind for kind, _ in groupby(kinds)]
