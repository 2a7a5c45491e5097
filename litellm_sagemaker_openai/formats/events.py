"""The bytes of a streamed answer → its events, each a JSON object, as they complete. Pure, for any split of the bytes.

Three framings: server-sent events, as vLLM, SGLang, llama.cpp and TGI stream; JSON lines, as AWS's LMI container
may; and one whole JSON body, as a container that cannot stream answers.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, Protocol

from litellm_sagemaker_openai.upstream_errors import AnswerError, quoted, unusable

DONE = "[DONE]"
Event = dict[str, Any] | str  # a JSON object, or DONE

# https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream: LF, CR and CRLF end a
# line and nothing else does, which is bytes.splitlines()' rule. That of str also splits at U+2028 and others, which
# JSON strings may hold.
_LINE_ENDS = (b"\n", b"\r")
_JSON_LINES_TYPES = ("application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson")
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")


class StreamFormatError(AnswerError):
    """The container sent something that is neither an event nor JSON. The message shows its beginning."""

    def __init__(self, message: str) -> None:
        super().__init__(unusable(message))


class Decoder(Protocol):
    """Takes an answer's bytes, gives the events that are complete; ``end`` gives what the end completes.

    Both give events one by one, so that those before a broken one reach the caller. Both raise StreamFormatError.
    """

    def feed(self, data: bytes) -> Iterator[Event]: ...

    def end(self) -> Iterator[Event]: ...


def decoder_for(content_type: str) -> Decoder:
    """The decoder for an answer's ``Content-Type``. What is neither event stream nor JSON lines is looked at."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return ServerSentEvents()
    if media_type in _JSON_LINES_TYPES:
        return JsonLines()
    return Unlabelled()


class _Lines:
    """Bytes → complete lines. A line is searched once however many pieces it arrives in.

    Lines are split as bytes, and decoded one by one: a line that is not UTF-8 takes none of those before it along.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._after_cr = False
        self._first = True

    def feed(self, data: bytes) -> Iterator[str]:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")  # the other half of a CRLF whose CR ended the line already
            self._after_cr = False
        complete = data.splitlines()
        rest = b"" if data.endswith(_LINE_ENDS) or not complete else complete.pop()
        if complete:
            complete[0] = b"".join([*self._pieces, complete[0]])
            self._pieces.clear()
            self._after_cr = data.endswith(b"\r")
        if rest:
            self._pieces.append(rest)
        for line in complete:
            yield self._decoded(line)

    def end(self) -> str:
        """What stands after the last line's end."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return self._decoded(rest)

    def _decoded(self, line: bytes) -> str:
        if self._first:  # a byte order mark at the very beginning is not a part of the stream
            line, self._first = line.removeprefix(codecs.BOM_UTF8), False
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise StreamFormatError(f"the container's stream is not UTF-8: {error.reason}") from error


class ServerSentEvents:
    """``text/event-stream``: an event is its ``data`` lines, up to a blank line."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._data: list[str] = []
        self._type = ""

    def feed(self, data: bytes) -> Iterator[Event]:
        for line in self._lines.feed(data):
            yield from self._line(line)

    def end(self) -> Iterator[Event]:
        # The specification drops an event that no blank line ends. A container that closes right after its last
        # `data:` line did complete it, so it counts where it is whole; half a JSON object is a broken stream.
        rest = self._lines.end()
        if rest:
            yield from self._line(rest)
        yield from self._line("")

    def _line(self, line: str) -> Iterator[Event]:
        if not line:
            yield from self._dispatched()
            return
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        elif name == "event":
            self._type = value.strip()
        elif name == "error" and not self._data:
            # llama.cpp until 2025 wrote an error as a field of its own (server_sent_event(sink, "error", …)).
            for error in _event(value):
                yield {"error": error}

    def _dispatched(self) -> Iterator[Event]:
        data, is_error = "\n".join(self._data), self._type == "error"
        self._data, self._type = [], ""
        for event in _event(data):
            # An event of the type `error` is one also where its data does not say so itself.
            yield {"error": event} if is_error and isinstance(event, dict) and not event.get("error") else event


class JsonLines:
    """``application/jsonlines``: a JSON object a line."""

    def __init__(self) -> None:
        self._lines = _Lines()

    def feed(self, data: bytes) -> Iterator[Event]:
        for line in self._lines.feed(data):
            yield from _event(line)

    def end(self) -> Iterator[Event]:
        yield from _event(self._lines.end())


class WholeBody:
    """One JSON body, or JSON lines that are not labelled as such: nothing is known until the end."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        self._data += data
        return iter(())

    def end(self) -> Iterator[Event]:
        try:
            whole = json.loads(self._data)
        except (ValueError, RecursionError):
            lines = JsonLines()
            yield from lines.feed(bytes(self._data))
            yield from lines.end()
            return
        if not isinstance(whole, dict):
            raise StreamFormatError(f"the container answered JSON that is not an object: {quoted(whole)!r}")
        yield whole


class Unlabelled:
    """A content type that says neither: the first character that is not white space tells JSON from events."""

    def __init__(self) -> None:
        self._start = b""
        self._decoder: Decoder | None = None

    def feed(self, data: bytes) -> Iterator[Event]:
        if self._decoder is None:
            # What does not tell is dropped: each byte is looked at once, however many pieces they come in.
            data = self._start = (self._start + data).lstrip().removeprefix(codecs.BOM_UTF8).lstrip()
            self._decoder = self._choose()
        if self._decoder is not None:
            yield from self._decoder.feed(data)

    def end(self) -> Iterator[Event]:
        if self._decoder is not None:
            yield from self._decoder.end()
        elif self._start:
            raise StreamFormatError(f"the container's answer is neither events nor JSON: {quoted(self._start)!r}")

    def _choose(self) -> Decoder | None:
        if self._start[:1] in (b"{", b"["):
            return WholeBody()
        if self._start.startswith(_FIELDS):
            return ServerSentEvents()
        if any(known.startswith(self._start) for known in (*_FIELDS, codecs.BOM_UTF8)):
            return None  # nothing yet, or half a field's name or a byte order mark
        raise StreamFormatError(f"the container's answer is neither events nor JSON: {quoted(self._start)!r}")


def _event(data: str) -> Iterator[Event]:
    data = data.strip()
    if not data:
        return
    if data == DONE:
        yield DONE
        return
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StreamFormatError(f"the container's stream has an event that is not JSON: {quoted(data)!r}") from error
    if not isinstance(event, dict):
        raise StreamFormatError(f"the container's stream has an event that is not a JSON object: {quoted(data)!r}")
    yield event
