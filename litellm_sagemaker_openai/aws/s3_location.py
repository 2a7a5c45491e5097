"""Objects in Amazon S3 and prefixes of their keys, by their URIs. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

_LOCATION_MAX_LENGTH = 1024  # botocore 1.44.5, shape InputLocationHeader; an S3 key has the same limit
_PREFIX_MAX_LENGTH = 960  # leaves room for the object's name
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]"
_S3_PREFIX = re.compile(rf"s3://({_BUCKET})(?:/([\x21-\x7e]*))?")
_S3_URI = re.compile(rf"s3://({_BUCKET})/([\x20-\x7e]+)")
_S3_HOST = r"s3(?:-fips)?(?:[.-]dualstack)?(?:[.-][a-z0-9-]+)?\.amazonaws\.(?:com|com\.cn|eu)"
_S3_URLS = (
    re.compile(rf"https://{_S3_HOST}/({_BUCKET})/([\x21-\x7e]+)"),
    re.compile(rf"https://({_BUCKET})\.{_S3_HOST}/([\x21-\x7e]+)"),
)


@dataclass(frozen=True, slots=True)
class S3Location:
    """An object in S3, or, where the key is the beginning of one, a prefix. ``str`` gives its ``s3://`` URI."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def parse_prefix(text: str) -> S3Location:
    """Where objects are to be stored: ``s3://bucket`` or ``s3://bucket/prefix``.

    Raises:
        ValueError: it is anything else.
    """
    match = _S3_PREFIX.fullmatch(text)
    if match is None or len(text) > _PREFIX_MAX_LENGTH:
        raise ValueError(f"write s3://<bucket>/<prefix>, not {text!r:.200}")
    return S3Location(match[1], (match[2] or "").strip("/"))


def parse_location(text: str) -> S3Location:
    """An object in S3, from its ``s3://`` URI or its ``https://`` URL on one of S3's own hosts.

    Raises:
        ValueError: it is anything else.
    """
    for pattern in (_S3_URI, *_S3_URLS):
        match = pattern.fullmatch(text) if len(text) <= _LOCATION_MAX_LENGTH else None
        key = match and (match[2] if pattern is _S3_URI else unquote(match[2]))
        if match and key and key.isprintable():
            return S3Location(match[1], key)
    raise ValueError(f"{text!r:.200} is not an object in S3; write s3://<bucket>/<key>")


def object_under(prefix: S3Location, name: str) -> S3Location:
    """The object of that name under a prefix."""
    return S3Location(prefix.bucket, f"{prefix.key}/{name}" if prefix.key else name)
