"""A refused, broken or unreachable answer → what it says: whose words they are, and what kind of failure. Pure.

Two writers answer on ``/openai/v1``: SageMaker's front door, and the container, whose error the front door quotes
inside its own message. The caller gets the container's status and words; account ids, console URLs and tracebacks
are the operator's, and are returned apart, to be logged. Does not import LiteLLM.
"""

from __future__ import annotations

import enum
import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

PROVIDER = "sagemaker_openai"
# Behind advice that no client of a proxy can follow.
IN_A_PROXY = "; in a proxy, its operator sets that on the deployment"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of SageMaker's, as far as advice depends on it. Each operation has one.

    Attributes:
        permissions: what the role needs for it.
        lacking: what to do where the container does not serve it.
        hints: patterns of other refusals' words, and what to do about each.
    """

    permissions: str
    lacking: str
    hints: tuple[tuple[re.Pattern[str], str], ...] = ()


# A container, or a caller whose words it repeats, chooses what these patterns are tried on, and how long it is. So none
# begins with a repetition, and what repeats stops where the pattern may begin again; else it would take time in the
# square of the length (tests/formats/test_hostile_sizes.py).

# Seen (tests/wire/sagemaker): `Received client error (400) from <container> with message "<body>". See https://… in
# account <id> for more information.`; the quotes inside may or may not be escaped; ModelError has no "See …".
_QUOTATION = re.compile(
    r"\s*Received (?:client|server) error \((\d{1,3})\) from \S+ (with message \"|and )(.*)", re.DOTALL
)
_FAILURE_REASON = re.compile(r"(?:\w+: )?(Received (?:client|server) error \((\d{1,3})\) from .*)", re.DOTALL)
_SEE_CONSOLE = re.compile(r"\s?See https?://\S+ in account \d{12} for more information\.?")
_NO_CAPACITY_WORDS = re.compile(r"Inference Component has no capacity to process this request\b")
# AWS's errors for too many requests, which it answers with 400 as well (botocore/data/_retry.json, 1.44.5).
_THROTTLING_TYPE = re.compile(r"Throttl|TooManyRequests")
_THROTTLING_WORDS = re.compile(r"Rate exceeded\b")
# In public reports of InvokeEndpoint, always in HTTP 424 and quoted as a container's with status 0, which none has:
# `Received server error (0) from primary with message "Your invocation timed out while waiting for a response from
# container primary. Review the latency metrics …"` (aws/amazon-sagemaker-examples#799 and #1407). Of /openai/v1 none
# was found; the words are taken unquoted, too, and the second ones are those of a stream of the SDK's.
_TIMED_OUT_WORDS = re.compile(
    r"Your invocation timed out while waiting for a response from container\b"
    r"|Your model \S{1,100} did not complete sending the inference response in the allotted time\b"
)
_COMPONENT_NEEDED = re.compile(r"Inference Component Name header is required")
# In public code, of an asynchronous endpoint that is asked on another route, and the other way round.
_OTHER_KIND = re.compile(r"does not support this inference type")
_NOT_FOUND = re.compile(r"((?:Endpoint|Inference ?[Cc]omponent) \S+) of account \d{12} not found\b")
_TRACEBACK = re.compile(r"(?:\+ Exception Group )?Traceback \(most recent call last\):")
# A frame of a traceback as Python writes it, `  File "…", line 40, in name`, and the lines of code below it. FastAPI
# ends the message of a RequestValidationError with one, without the word Traceback, and vLLM passes that on. In a body
# that is no JSON, or is quoted twice, the ends of lines and the quotation marks are still escaped.
_FRAME = re.compile(
    r"(?:\A *|(?:\n|(?:\\[nr]){1,4})[ |]{2,})"
    r"File \\{0,8}\"[^\"\n]+\", line \d+, in [\w.<>]+"
    r"(?:\n[ |]{4,}[^\n]*|(?:\\[nr]){1,4}[ |]{4,}[^\n\\]*)*"
)
_URL = re.compile(r"https?://\S+")
_CONSOLE = re.compile(r"console\.(?:aws|amazonaws)")
_ARN = re.compile(r"arn:aws[a-z-]*:[^\s\"']+")
_ACCOUNT = re.compile(r"(?i)\b(accounts?[ _]?(?:id)?[\"']{0,2}(?: is)?[ :=]{1,3}[\"']{0,2})\d{12}\b")
_REGISTRY = re.compile(r"\b\d{12}(?=\.dkr\.ecr)")  # the account in an image's name

_NO_STATUS = "0"  # the container's, where SageMaker did not wait for its answer any longer
_TITLE = re.compile(r"<title>([^<]*)</title>", re.IGNORECASE)
_MAX_SHOWN = 2000  # characters of a message
_MAX_EXAMINED = 100_000  # of an answer's message, for what is not a caller's
_MAX_LOGGED = 4000  # characters of its detail in the operator's log
_MAX_QUOTED = 200  # characters of an answer, in a message of this provider's own


class FailureKind(enum.Enum):
    """What this provider makes of an answer by itself, whatever words it is in."""

    REFUSED = "refused"  # an error in SageMaker's or the container's words
    NO_CAPACITY = "no capacity"  # the target is scaled to zero
    TIMED_OUT = "timed out"  # SageMaker's own limit for an answer was reached
    BROKEN = "broken"  # something that is not an answer
    CUT_OFF = "cut off"  # an answer that ended before it was whole
    PENDING = "pending"  # an asynchronous inference whose result may still come


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """What an error answer says, once unwrapped.

    ``error_type`` is its writer's word for it; ``from_container`` tells the container's words from the front
    door's. ``operator_detail`` is what was cut out of the message: account ids, console URLs, tracebacks; empty where
    nothing was.
    """

    status: int
    message: str
    error_type: str = ""
    failure: FailureKind = FailureKind.REFUSED
    from_container: bool = False
    operator_detail: str = ""


class AnswerError(Exception):
    """An answer that began well and cannot be used; ``refusal`` says how it is to be raised.

    ``headers`` are the answer's, for readers that do not have them otherwise.
    """

    def __init__(self, upstream: UpstreamError, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(upstream.message)
        self.upstream = upstream
        self.headers = headers or {}


class StreamedError(AnswerError):
    """The container sent an error event in the middle of a stream."""


class MalformedAnswer(AnswerError):
    """The container answered 200 with something that is neither a chat completion nor embeddings."""

    def __init__(self, what: str) -> None:
        super().__init__(unusable(f"the container answered 200 with {what}"))


class TruncatedStream(AnswerError):
    """The container's stream ended before the answer did."""

    def __init__(self) -> None:
        super().__init__(
            UpstreamError(
                502,
                "the stream ended before the answer did, without a finish reason and without [DONE]: the container "
                "was stopped, the connection was cut, or SageMaker's limit of 8 minutes a stream was reached",
                failure=FailureKind.CUT_OFF,
            )
        )


def read_error(status: int, body: bytes) -> UpstreamError:
    """What an error answer means, from its HTTP status and its body."""
    upstream, timed_out = _read(status, body)
    return _timed_out(upstream) if timed_out else upstream


def _read(status: int, body: bytes) -> tuple[UpstreamError, bool]:
    """What an error answer says, and whether SageMaker says by it that the container's time was over."""
    if 300 <= status < 400:
        message = f"SageMaker answered with a redirect ({status}), which is not followed: the token would go along"
        return UpstreamError(502, message, failure=FailureKind.BROKEN), False
    parsed = _parsed_text(body.decode(errors="replace").strip())
    timed_out = parsed.timed_out
    quotation = _QUOTATION.match(parsed.message)
    if parsed.original_status is not None:
        upstream = UpstreamError(parsed.original_status, parsed.message, parsed.error_type, from_container=True)
    elif quotation is not None:
        quoted = _quoted(quotation[2], quotation[3])
        status, detail = _container_status(quotation[1]) or status, parsed.message
        timed_out = quotation[1] == _NO_STATUS
        upstream = UpstreamError(status, quoted.message, quoted.error_type, from_container=True, operator_detail=detail)
    elif _NO_CAPACITY_WORDS.match(parsed.message):
        upstream = UpstreamError(503, parsed.message, failure=FailureKind.NO_CAPACITY)
    elif (missing := _NOT_FOUND.match(parsed.message)) is not None:
        upstream = UpstreamError(
            404, f"{missing[1]} not found in this account and region", operator_detail=parsed.message
        )
    elif status == 400 and (_THROTTLING_TYPE.search(parsed.error_type) or _THROTTLING_WORDS.match(parsed.message)):
        upstream = UpstreamError(429, parsed.message, parsed.error_type)
    elif timed_out := _TIMED_OUT_WORDS.match(parsed.message) is not None:
        upstream = UpstreamError(504, parsed.message)
    else:
        upstream = UpstreamError(status, parsed.message, parsed.error_type)
    return _cleaned(upstream), timed_out


def _timed_out(upstream: UpstreamError) -> UpstreamError:
    message = (
        "SageMaker ended the call at its limit: a container has 60 seconds for a whole answer, or a stream's first "
        "byte, and 8 minutes for a stream. Stream the answer, ask for fewer tokens (or embed fewer inputs at a time), "
        f"or use asynchronous inference. SageMaker says: {upstream.message}"
    )
    return replace(upstream, message=message, failure=FailureKind.TIMED_OUT)


def read_failure(body: bytes) -> UpstreamError:
    """What an asynchronous inference failed with, from the object at its ``FailureLocation``.

    AWS says of it only that it is the failed inference's response, and gives ``ClientError: Received server error
    (500) from model. …`` as an example of a reason. So it may be the container's body, SageMaker's quotation of it, or
    other words. Where it says no status, it is 500.
    """
    text = body.decode(errors="replace").strip()
    parsed = _parsed_text(text)
    reason = _FAILURE_REASON.fullmatch(parsed.message)
    if reason is not None:
        upstream, _ = _read(_container_status(reason[2]) or 500, reason[1].encode())  # its time is the queue's
        return replace(upstream, from_container=True)
    return _cleaned(
        UpstreamError(parsed.code or 500, parsed.message, parsed.error_type, from_container=parsed != _ErrorText(text))
    )


def read_stream_exception(name: str, body: bytes) -> UpstreamError:
    """What an exception in an AWS event stream means.

    Args:
        name: ``ModelStreamError`` or ``InternalStreamFailure``; any other is taken as it is.
        body: its JSON, with ``Message`` and, in the former, an ``ErrorCode``.
    """
    upstream, timed_out = _read(500, body)
    try:
        code = json.loads(body).get("ErrorCode")
    except (ValueError, AttributeError, RecursionError):
        code = None
    if timed_out or code == "ModelInvocationTimeExceeded":
        return _timed_out(replace(upstream, status=504))
    if code == "StreamBroken":
        message = f"the container's stream broke off: the container was stopped. SageMaker says: {upstream.message}"
        return replace(upstream, status=502, message=message, failure=FailureKind.CUT_OFF)
    return replace(upstream, error_type=upstream.error_type or name)


def unusable(message: str) -> UpstreamError:
    """For an answer that cannot be used. ``message`` may quote what was answered."""
    return _cleaned(UpstreamError(502, message, failure=FailureKind.BROKEN))


def quoted(value: Any) -> str:
    """The beginning of what was answered: text, bytes or JSON, of which little more is looked at than is shown."""
    if isinstance(value, bytes | bytearray):
        value = value[:_MAX_SHOWN].decode(errors="replace")
    text = value[:_MAX_SHOWN] if isinstance(value, str) else _BEGINNING.repr(value)
    return _without_traceback(text)[:_MAX_QUOTED]  # before it is cut: half a frame would not be recognized


def for_the_log(detail: str) -> str:
    """Both ends of what is the operator's: the address of the container's log, and a traceback's error, stand last."""
    half = _MAX_LOGGED // 2
    if len(detail) > _MAX_LOGGED:
        detail = f"{detail[:half]} … ({len(detail):,} characters) … {detail[-half:]}"
    return _encodable(detail)


def error_in(event: Mapping[str, Any]) -> UpstreamError | None:
    """The error that an event, or a body with status 200, carries; None for any other.

    OpenAI's and vLLM's form is ``{"error": {"message", "type", "code"}}``; older vLLM's ``{"object": "error", …}``;
    TGI's ``{"error": "…", "error_type": "…"}``.
    """
    if not event.get("error") and event.get("object") != "error":
        return None
    try:
        parsed = _parsed_body(event)
    except RecursionError:
        parsed = _ErrorText(quoted(event))
    return _cleaned(UpstreamError(parsed.code or 500, parsed.message, parsed.error_type, from_container=True))


class _ErrorText(NamedTuple):
    message: str
    error_type: str = ""
    code: int | None = None
    original_status: int | None = None  # the container's status, where the SDK's ModelError says it
    timed_out: bool = False  # where it says that it has none


def _parsed_text(text: str) -> _ErrorText:
    """What an error's text says; it may be JSON in one of many shapes, HTML or plain."""
    try:
        return _parsed_body(json.loads(text))
    except (ValueError, RecursionError):  # no JSON, or nested too deep to be read
        if not text.startswith("<"):
            return _ErrorText(text)
        title = _TITLE.search(text)
        return _ErrorText(f"an HTML page: {title[1].strip()}" if title else "an HTML page")


def _parsed_body(body: Any) -> _ErrorText:
    if not isinstance(body, Mapping):
        return _ErrorText(str(body))
    if "OriginalMessage" in body:
        original = _parsed_text(str(body["OriginalMessage"]))
        code = body.get("OriginalStatusCode")
        return original._replace(original_status=_container_status(code) or 500, timed_out=str(code) == _NO_STATUS)
    error = body.get("error")
    if isinstance(error, Mapping):
        inner = _parsed_body(error)
        return inner._replace(code=inner.code or _status(body.get("code")))
    said = next((body[name] for name in ("message", "Message", "detail") if body.get(name)), error)
    error_type = body.get("type") or body.get("error_type") or body.get("__type") or ""
    message = said if isinstance(said, str) else json.dumps(said if said is not None else dict(body))
    return _ErrorText(message, str(error_type), _status(body.get("code")))


def _quoted(how: str, rest: str) -> _ErrorText:
    """The container's words, out of the front door's quotation of them."""
    rest = _SEE_CONSOLE.sub("", rest).strip().removesuffix(".")
    if how.startswith("and"):
        return _ErrorText(f"SageMaker {rest}")
    return _parsed_text(_unescaped(rest.removesuffix('"')))


def _status(code: Any) -> int | None:
    try:
        status = int(code)
    except (TypeError, ValueError, OverflowError):
        return None  # OpenAI's codes are words; JSON's 1e999 is infinite
    return status if 400 <= status < 600 else None


def _container_status(code: Any) -> int | None:
    """The container's status as SageMaker says it: 0 where its 60 seconds were over, "Your invocation timed out …"."""
    return 504 if str(code) == _NO_STATUS else _status(code)


def _unescaped(body: str) -> str:
    """The container's body as it was before the front door quoted it: some answers escape the quotes inside."""
    if not _is_json(body) and '\\"' in body:
        unescaped = body.replace('\\"', '"').replace("\\\\", "\\")
        if _is_json(unescaped):
            return unescaped
    return body


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _cleaned(upstream: UpstreamError) -> UpstreamError:
    """The refusal with what is the operator's taken out of its message and kept apart."""
    whole = upstream.message.strip()
    # Cut before it is searched, too: what stands so far behind is not shown.
    message = _SEE_CONSOLE.sub("", _without_traceback(whole[:_MAX_EXAMINED]))
    message = _ARN.sub("<arn>", _URL.sub(lambda url: "<console>" if _CONSOLE.search(url[0]) else url[0], message))
    message = _REGISTRY.sub("<account>", _ACCOUNT.sub(r"\1<account>", message)).strip()
    message = shortened(message, len(whole[_MAX_EXAMINED:]))
    detail = upstream.operator_detail or (upstream.message if message != upstream.message else "")
    return replace(upstream, message=message or "no message", operator_detail=detail)


def _without_traceback(message: str) -> str:
    """What stands before a traceback, or before the frames that a message ends with.

    Frames that stand earlier are taken out, and what is between them and the last ones stays: they may be a caller's
    own, repeated by the container, which says only then what is wrong with them.
    """
    if (header := _TRACEBACK.search(message)) is not None:
        message = message[: header.start()]
    frames = list(_FRAME.finditer(message))
    return _FRAME.sub("", message[: frames[-1].start()]) if frames else message


def shortened(message: str, more: int = 0) -> str:
    """What a caller is told of a message that ``more`` characters follow."""
    if len(message) > _MAX_SHOWN or more:
        message = f"{message[:_MAX_SHOWN]} … ({len(message) + more:,} characters)"
    return _encodable(message)


def _encodable(text: str) -> str:
    """JSON can say halves of characters, which no encoding can write: neither a log nor a proxy's answer could."""
    return text.encode(errors="replace").decode()


def _beginning() -> reprlib.Repr:
    representation = reprlib.Repr()
    representation.maxdict = representation.maxlist = 20
    representation.maxstring = representation.maxother = _MAX_QUOTED
    return representation


_BEGINNING = _beginning()


def describe(upstream: UpstreamError) -> str:
    """What was answered, and by whom."""
    if upstream.failure is not FailureKind.REFUSED:
        return upstream.message
    who = "the container answered" if upstream.from_container else "SageMaker answered"
    return f"{who} {upstream.status}: {upstream.message}"


def advised(upstream: UpstreamError, route: Route | None) -> str:
    """What was answered, by whom, and what to do about it: ``describe`` and ``advice_on``."""
    advice = advice_on(upstream, route)
    return f"{describe(upstream)} ({advice})" if advice else describe(upstream)


def advice_on(upstream: UpstreamError, route: Route | None = None) -> str:
    """What to do about it, where that can be told from the words; else nothing.

    Args:
        upstream: what was answered.
        route: what was asked; None: not known.
    """
    if upstream.failure is not FailureKind.REFUSED:
        return ""
    if not upstream.from_container and _COMPONENT_NEEDED.search(upstream.message):
        return f"write sagemaker_openai/<endpoint>/<component>, or model_id, rather than a header{IN_A_PROXY}"
    if route is not None and upstream.status in (401, 403) and not upstream.from_container:
        return route.permissions
    if is_other_kind(upstream):
        return "aws_sagemaker_async=True is for endpoints with an AsyncInferenceConfig, and for no others"
    if route is not None and _lacks_the_route(upstream):
        return route.lacking
    for pattern, advice in route.hints if route is not None else ():
        if pattern.search(upstream.message):
            return advice
    if upstream.from_container and upstream.status == 404:
        return f"for a container that insists on its served model name, set hf_model_name to it{IN_A_PROXY}"
    return ""


def is_other_kind(upstream: UpstreamError) -> bool:
    """Whether the endpoint is not one for the route that it was asked on."""
    return not upstream.from_container and _OTHER_KIND.search(upstream.message) is not None


def _lacks_the_route(upstream: UpstreamError) -> bool:
    """FastAPI, Flask, Express and plain servers for a path that they do not have; vLLM's unknown model says more."""
    route_words = r"(?i)(an HTML page.*|.*\bnot found\b|.*method not allowed|no message|cannot post .*)"
    return (
        upstream.from_container
        and upstream.status in (404, 405)
        and not upstream.error_type
        and re.fullmatch(route_words, upstream.message.rstrip(".")) is not None
    )
