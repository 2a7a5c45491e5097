"""AWS event streams, as ``InvokeEndpointWithResponseStream`` answers: botocore reads them, and writes none. Pure.

A message is its length, the length of its headers and a checksum of both; the headers; the payload; and a checksum of
all (https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html, "Event stream encoding").
"""

from __future__ import annotations

import json
import struct
from binascii import crc32
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7  # the type of a header's value


def payload_part(data: bytes) -> bytes:
    """Some bytes of what the container streams."""
    kind = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    return _message(kind, data)


def model_stream_error(message: str, code: str) -> bytes:
    """SageMaker says that the container's stream broke.

    Args:
        message: in words.
        code: ``ModelInvocationTimeExceeded`` or ``StreamBroken``.
    """
    kind = {":message-type": "exception", ":exception-type": "ModelStreamError", ":content-type": "application/json"}
    return _message(kind, json.dumps({"Message": message, "ErrorCode": code}).encode())


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    packed = b"".join(
        struct.pack(f">B{len(name)}sBH{len(value)}s", len(name), name.encode(), _STRING, len(value), value.encode())
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    prelude += struct.pack(">I", crc32(prelude))
    message = prelude + packed + payload
    return message + struct.pack(">I", crc32(message))
