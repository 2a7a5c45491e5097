"""Takes out of a text what must not be sent in: account ids, names, ARNs, tokens, keys, ids, hosts, paths. Pure.

Three kinds of things are taken out: names of the user's, which are known; secrets, which are known, any piece of them;
and what has the form of something private. Each is looked for as it is, and in what a text is when its percent signs,
JSON escapes, HTML entities or base64 are decoded.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

WITHHELD = "<left out: a name in it is a common word>"
_PIECE, _STEP = 8, 4  # a piece of a secret that has 11 characters has one of these in it
_DECODINGS = 2
_BASE64, _TEXTS = re.compile(r"[A-Za-z0-9+/_-]{7,}"), re.compile(r"[ -~]{5,}")
# What is private wherever it is, by its form, and what stands in its place. The order counts: the last ones would take
# parts of the first ones.
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(form), instead)
    for form, instead in (
        (r"\b(hf_|sk-|ghp_|github_pat_|xox[a-z]-)[\w-]{6,}", "<secret>"),
        (r"(?i)(?<=bearer )[\w.~+/=-]{12,}", "<secret>"),
        # HF_TOKEN=…, "AWS_SECRET_ACCESS_KEY": "…": a container's environment
        (r"\b(\w*(?i:token|secret|password|passwd|credential|api_?key|access_?key)\w*[\"'\\]*\s*[=:]\s*[\"'\\]*)"
         r"(?!<|[\d.]+\b)[^\s\"'\\,;}<]{6,}", r"\1<secret>"),
        (r"sagemaker-api-key-[\w+/=%-]{4,}", "<token>"),
        (r"(?i)(?:AKIA|ASIA)[A-Z0-9]{12,}|(?-i:\bA(?:ROA|IDA|NPA|NVA|GPA)[A-Z0-9]{12,})", "<key id>"),
        (r"(?i)arn(?::|%3a)aws[^\s\"'<>,;)\]}]*", "<arn>"),
        (r"(?i)s3(?:a|n)?://[^\s\"'<>,;)]+", "<s3>"),
        (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "<address>"),
        (r"(error \(\d{1,3}\) from |(?:from|to) container )(?!<)\S+?(?= with message| and could|[.,]?(?:\s|$))",
         r"\1<container>"),
        (r"https?://(?![a-z0-9-]+\.console\.aws\.amazon\.com/|docs\.aws\.amazon\.com/)[^\s\"'<>]+", "<url>"),
        (r"(?i)\b(?:vpce|ip)-[0-9a-f]+-[\w.-]+", "<host>"),
        (r"(?i)\b[\w-]+(?:\.[\w-]+)*\.(?:internal|local|lan|corp|intranet|vpce\.amazonaws\.com)\b", "<host>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<ip>"),
        (r"(?i)\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){5,7}\b", "<ip>"),
        (r"(?i)(?<![\w:])(?:(?:[0-9a-f]{1,4}:){1,6}|:):[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6}(?![\w:])", "<ip>"),
        (r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
        (r"\b\d{8}T\d{6}Z\b|\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
        (r"(?:[A-Za-z]:\\+Users|/(?:home|Users|root|opt|usr|var|tmp|mnt|etc|srv|app|workspace))[/\\][^\s\"'<>,;)]+",
         "<path>"),
        (r"\d{12,}|\b\d{4}([ -])\d{4}\1\d{4}\b", "<account>"),
        (r"(?i)(?=[0-9a-f]*\d)(?<![0-9a-z])[0-9a-f]{16,}(?![0-9a-z])", "<id>"),
    )
)  # fmt: skip
# What is left then, and could be encoded or encrypted.
_OPAQUE = re.compile(r"(?=[\w+/=-]*[A-Z])(?=[\w+/=-]*[a-z])(?=[\w+/=-]*\d)[\w+/=-]{32,}")
# Forms that no report may have, whatever it is about.
_NEVER = (
    ("an account id", re.compile(r"\d{12,}|\b\d{4}([ -])\d{4}\1\d{4}\b")),
    ("an access key id", re.compile(r"(?i)(?:AKIA|ASIA)[A-Z0-9]{12,}")),
    ("an ARN", re.compile(r"(?i)arn(?::|%3a)aws")),
)


class Redactor:
    """Takes what is private out of texts, and finds it in one.

    Args:
        names: a name of the user's, and what stands in its place.
        secrets: tokens, keys, signatures.
        own: what the report says by itself. A name that stands there, too, is a common word, and no text can be told
            to have it or not: a text that has it is left out whole, unless all of it stands there.
    """

    def __init__(self, names: Mapping[str, str], secrets: Iterable[str], own: str = "") -> None:
        self._names = {name: instead for name, instead in names.items() if name}
        self._patterns = {name: _name(name) for name in self._names}
        self._own = frozenset(re.findall(r"[\w-]+", own.lower()))
        self._common = frozenset(name for name, pattern in self._patterns.items() if pattern.search(own))
        self._words: dict[str, str] = {}
        self._windows = frozenset(window for secret in secrets if secret for window in _windows(secret.lower()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __call__(self, text: str) -> str:
        """The text without what is private."""
        if any(self._patterns[name].search(view) for name in self._common for view in _views(text)):
            return WITHHELD
        text = re.sub(r"[^\s\"'<>]+", lambda run: self._without_secrets(run[0]), text)
        for form, instead in _FORMS:
            text = form.sub(instead, text)
        # The longest first: one name may be a part of another.
        for name in sorted(self._names, key=len, reverse=True):
            text = self._patterns[name].sub(self._names[name], text)
        text = _OPAQUE.sub("<opaque>", text)
        return "<left out>" if self.leaks(text) else text

    def word(self, word: str) -> str:
        """A word of a protocol, such as a JSON key or the name of a header: as it is where the report has it itself."""
        if word not in self._words:  # a stream has the same few in each event
            self._words[word] = self._redacted_word(word)
        return self._words[word]

    def _redacted_word(self, word: str) -> str:
        if self._own.issuperset(re.findall(r"[\w-]+", word.lower())):
            return word
        redacted = self(word) if len(word) <= 200 else ""  # a piece of a name is not known to be one
        return redacted if redacted and re.fullmatch(r"[\w.<> :/+$-]{0,80}", redacted) else "<other>"

    def leaks(self, text: str) -> list[str]:
        """What is in a text that must not be: its kinds, and never itself. Common words are not looked for."""
        found = set()
        for view in _views(text):
            if self._has_secret(view):
                found.add("a secret")
            wanted = self._patterns.keys() - self._common
            found |= {self._names[name] for name in wanted if self._patterns[name].search(view)}
            found |= {kind for kind, form in _NEVER if form.search(view)}
        return sorted(found)

    def _without_secrets(self, run: str) -> str:
        return "<secret>" if any(map(self._has_secret, _views(run))) else run

    def _has_secret(self, text: str) -> bool:
        text = text.lower()
        return any(text[at : at + _PIECE] in self._windows for at in range(len(text) - _PIECE + 1))


def _windows(secret: str) -> Iterator[str]:
    """Pieces of a secret, one of which each longer piece has. A token's beginning is no secret, and the same in all."""
    secret = secret.removeprefix("sagemaker-api-key-")
    if len(secret) < _PIECE:
        return
    for at in [*range(0, len(secret) - _PIECE + 1, _STEP), len(secret) - _PIECE]:
        yield secret[at : at + _PIECE]


def _name(name: str) -> re.Pattern[str]:
    """A name as it is found: anywhere, also within words; a short one, which other words have in them, as a word."""
    around = (r"(?<![A-Za-z])", r"(?![A-Za-z])") if len(name) < 6 else ("", "")
    return re.compile(f"(?i){around[0]}{re.escape(name)}{around[1]}")


def _views(text: str, deep: int = _DECODINGS) -> Iterator[str]:
    """The text, and what it is when it is decoded."""
    yield text
    if not deep:
        return
    decoded = {unquote(text, errors="replace"), html.unescape(text), _unescaped(text)} - {text}
    for each in decoded:
        yield from _views(each, deep - 1)
    for run in _BASE64.findall(text):
        # The text that was encoded may begin before the piece that is here, at one of four characters.
        for offset in range(4):
            if each := _from_base64(run[offset:]):
                yield from _views(each, deep - 1)


def _unescaped(text: str) -> str:
    """Without JSON's escapes, in text that need not be all JSON."""
    text = re.sub(r"(?i)\\+u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), text)
    return re.sub(r"\\+(.)", r"\1", text, flags=re.DOTALL)


def _from_base64(run: str) -> str:
    run = run[:-1] if len(run) % 4 == 1 else run
    run = run.translate(str.maketrans("-_", "+/")) + "=" * (-len(run) % 4)
    try:
        decoded = base64.b64decode(run).decode("latin-1")
    except binascii.Error:
        return ""
    # What is not base64 of a text decodes to noise. A text may stand behind some: `/v1/` is base64 as well.
    return "\n".join(_TEXTS.findall(decoded))
