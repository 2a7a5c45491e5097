"""An AWS event stream, as ``InvokeEndpointWithResponseStream`` answers, → the events of the container's stream. Pure.

Each ``PayloadPart`` has some bytes of what the container streams, split anywhere. SageMaker says with an exception, in
the place of a part, that the container's stream broke or took too long. Members and exceptions are those of botocore
1.44.5, service model sagemaker-runtime 2017-05-13, shape ResponseStream; what an exception's ErrorCode means is from
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_ModelStreamError.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from litellm_sagemaker_openai.formats.events import DONE, Decoder, Event, StreamFormatError
from litellm_sagemaker_openai.upstream_errors import StreamedError, TruncatedStream, read_stream_exception

if TYPE_CHECKING:
    from botocore.eventstream import EventStreamMessage

EVENT_STREAM_TYPE = "application/vnd.amazon.eventstream"

_LENGTH_BYTES = 4  # a message begins with its own length
# The format's limits, as botocore has them: 16 bytes of lengths and checksums, 128 KB of headers, 24 MB of payload.
_LEAST_MESSAGE_BYTES = 16
_MOST_MESSAGE_BYTES = (24 << 20) + (128 << 10) + _LEAST_MESSAGE_BYTES


class AwsEventStream:
    """The ``Decoder`` around another, which reads what the container sent.

    Args:
        container: reads the container's bytes.
    """

    def __init__(self, container: Decoder) -> None:
        from botocore.eventstream import EventStreamBuffer  # here, as below: few calls need botocore

        self._container = container
        self._held = bytearray()  # botocore's buffer copies all that it holds for each piece that is added
        self._buffer = EventStreamBuffer()
        self._done = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The container's events that some more bytes complete.

        Raises:
            StreamFormatError: they are no event stream, or the container's bytes are not events.
            StreamedError: SageMaker says that the container's stream broke.
        """
        self._held += data
        for message in self._messages():
            for event in self._container.feed(_payload(message)):
                self._done = self._done or event == DONE
                yield event

    def end(self) -> Iterator[Event]:
        """What the end completes.

        Raises:
            StreamFormatError: the container's bytes are not events.
            TruncatedStream: half a message is left. The container's events do not show it where one of several choices
                was to come, or the usage.
        """
        yield from self._container.end()
        if self._held and not self._done:
            raise TruncatedStream

    def _messages(self) -> Iterator[EventStreamMessage]:
        from botocore.eventstream import ParserError

        try:
            while len(self._held) >= _LENGTH_BYTES:
                length = int.from_bytes(self._held[:_LENGTH_BYTES], "big")
                if not _LEAST_MESSAGE_BYTES <= length <= _MOST_MESSAGE_BYTES:
                    raise StreamFormatError(f"SageMaker's event stream has a message of {length:,} bytes")
                if len(self._held) < length:
                    return
                self._buffer.add_data(bytes(self._held[:length]))
                del self._held[:length]
                yield from self._buffer
        except (ParserError, KeyError, UnicodeDecodeError, struct.error) as error:  # the last three of headers
            raise StreamFormatError(f"SageMaker's event stream is damaged: {error}") from error


def _payload(message: EventStreamMessage) -> bytes:
    """The container's bytes in a message; none in an event that is not known.

    Raises:
        StreamedError: the message is an exception.
    """
    kind = message.headers.get(":message-type")
    if kind == "event":
        return bytes(message.payload) if message.headers.get(":event-type") == "PayloadPart" else b""
    # What is unmodeled has a code in place of a type; botocore's EventStreamMessage.to_response_dict knows both.
    name = message.headers.get(":exception-type") or message.headers.get(":error-code") or kind
    said = bytes(message.payload) or str(message.headers.get(":error-message") or "").encode()
    raise StreamedError(read_stream_exception(str(name), said))
