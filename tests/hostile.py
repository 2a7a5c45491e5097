"""A megabyte of what is worst, into every function that takes what comes from outside.

``python -m tests.hostile`` is what tests/formats/test_hostile_sizes.py runs. Each function has a process of its own for
all texts, and ``CPU_SECONDS`` of the processor: what is linear takes milliseconds for a megabyte, what is not minutes
to hours. Printed as JSON is, for each function, what did not end, or ended otherwise than in an answer or an error that
is declared, short and can be written down.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any

import httpx
from litellm import EmbeddingResponse, ModelResponse

from litellm_sagemaker_openai.aws.s3_location import parse_location, parse_prefix
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.commands import diagnosis, probing
from litellm_sagemaker_openai.commands.common import failure_line
from litellm_sagemaker_openai.errors import bad_request, connection_error, to_exception
from litellm_sagemaker_openai.formats.chunks import ChunkStream
from litellm_sagemaker_openai.formats.embeddings import embedding_response
from litellm_sagemaker_openai.formats.events import decoder_for
from litellm_sagemaker_openai.formats.whole_answer import parsed, whole_response
from litellm_sagemaker_openai.litellm_seams.fallbacks import mistakes_before
from litellm_sagemaker_openai.local import echo, embeddings
from litellm_sagemaker_openai.local.echo import ContainerRefusal
from litellm_sagemaker_openai.local.frontdoor import Container, container_error
from litellm_sagemaker_openai.local.signatures import check_signature
from litellm_sagemaker_openai.local.tokens import check_token
from litellm_sagemaker_openai.operations.embeddings import ROUTE
from litellm_sagemaker_openai.operations.queued_inference.request import read_accepted
from litellm_sagemaker_openai.sending.retries import retry_after
from litellm_sagemaker_openai.target import Target
from litellm_sagemaker_openai.upstream_errors import (
    AnswerError,
    UpstreamError,
    error_in,
    for_the_log,
    read_error,
    read_failure,
    shortened,
)

CPU_SECONDS = 60
SIZE = 1_000_000
LONGEST = 15_000  # characters of all that is said of an error, to the caller, the operator and in a terminal
_NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
_CREDENTIALS = FrozenCredentials("AKIAIOSFODNN7EXAMPLE", "secret", None)

# fmt: off
_UNITS = (
    # what patterns repeat, what they begin with, what JSON and events are made of
    " ", "\n", "\r\n", '"', "\\", "[", "{", "<", "1", ".", "-", ":", "a", "\x00", "\u2028",
    '\\"', "\\n", '\\n  File \\"', '\n  File "', '\n  File "x", line 1, in f', "\n    ", "\n  ", " | ",
    "See ", "See https://", "https://", "https://console.", "See https://x in account ",
    "Traceback (", "\nTraceback (most recent call last)", "arn:aws", "arn:aws-", "arn:aws: ",
    "account ", "account id ", "123456789012", "123456789012.dkr ", "Endpoint x of account ",
    'Received client error (400) from x with message "', "<title>", "<title>x<", "<think>",
    '{"a":', '{"error":', "[1,", "data:", "data: \n", "data:{}\n\n", "event:", "error:{}\n",
    "missing model ", "not found ", "litellm.X: ", "s3://a/", "a-", ",;: A", "Mon, ", "01 Jan ",
)
# fmt: on
TEXTS = {
    **{repr(unit): unit * (SIZE // len(unit)) for unit in _UNITS},
    "an HTML page without an end": "<html>" + "<title>" * (SIZE // 7),
    "blanks in a quotation": 'Received client error (400) from x with message "' + " " * SIZE + '". See https://',
    "an integer of a megabyte": '{"error": {"message": "m", "code": ' + "9" * SIZE + "}}",
    "an infinite code": '{"error": {"message": "m", "code": 1e999}}',
    "half a character": '{"error": {"message": "\\ud83d"}}',
    "a hundred thousand fields": "{" + ",".join(f'"{number}":1' for number in range(SIZE // 10)) + "}",
    # about as deep as Python reads, and what has read it can no longer recurse
    **{f"{depth} deep": '{"error":' * depth + "1" + "}" * depth for depth in (300, *range(950, 1000, 4))},
}
_FEW = (repr(" "), repr("\n"), repr("a"), repr("{"), repr("1"), repr("data: \n"), repr("data:{}\n\n"))

ChunkPieces = Callable[[bytes], Iterable[bytes]]


def _schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def _shaped(schema: Any) -> None:
    _echoed(response_format=_schema(schema))


def _doubling(steps: int) -> dict[str, Any]:
    return {**{str(step): {"allOf": [{"$ref": f"#/$defs/{step + 1}"}] * 2} for step in range(steps)}, str(steps): {}}


def _whole(data: bytes) -> Iterable[bytes]:
    return [data]


def _in_pieces(size: int) -> ChunkPieces:
    return lambda data: (data[start : start + size] for start in range(0, len(data), size))


def _of(refusal: UpstreamError | None, status_route: Any = ROUTE) -> str:
    """What caller and operator are told of it."""
    if refusal is None:
        return ""
    error = to_exception(refusal, model="m", route=status_route)
    return failure_line(error) + for_the_log(refusal.operator_detail) + diagnosis_of(refusal)


def diagnosis_of(refusal: UpstreamError) -> str:
    steps = [
        diagnosis.refused("chat", Target("e"), "us-west-2", "", refusal),
        *diagnosis.access(Target("e"), "us-west-2", "", refusal),
    ]
    return "".join(step.advice for step in steps)


def _streamed(content_type: str, data: bytes, pieces: ChunkPieces = _whole) -> None:
    stream = ChunkStream(decoder_for(content_type), "m")
    for piece in pieces(data):
        for _ in stream.feed(piece):
            pass
    for _ in stream.end():
        pass


def _by_bytes(content_type: str, text: str) -> None:
    _streamed(content_type, text.encode(), _in_pieces(1))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _answered(content: bytes) -> None:
    whole_response(parsed(content), model="m", model_response=ModelResponse(), headers={})


def _embedded(content: bytes) -> None:
    embedding_response(
        parsed(content), inputs="x", parameters={}, model="m", model_response=EmbeddingResponse(), headers={}
    )


def _probed(reply: probing.Reply) -> str:
    """The longest of what ``check --probe`` finds where each question is answered alike."""
    findings = [each for probe in probing.PROBES for each in probe.findings([reply] * len(probe.questions))]
    return max((f"{each.detail}{each.facts}" for each in findings), key=len)


def _probed_answer(**message: Any) -> str:
    return _probed(probing.Answered({"choices": [{"message": message}]}))


def _echoed(**body: Any) -> None:
    request = {"messages": [{"role": "user", "content": "Hello"}], **body}
    echo.complete(echo.parse_body(_json(request)))


def _vectors(**body: Any) -> None:
    embeddings.embed(echo.parse_body(_json(body)))


def _unread(body: bytes) -> None:
    echo.parse_body(body)


def _tool(name: str, **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def _quotation(text: str, *, escaped: bool) -> bytes:
    inner = json.dumps(text)[1:-1] if escaped else text
    return container_error(400, inner.encode(), Container("c", "e", "us-west-2")).body.encode()


# Each gets a text and gives what is said to a caller or written into a log, where no exception does.
TAKES: Mapping[str, Callable[[str], str | None]] = {
    "an error body": lambda text: _of(read_error(400, text.encode())),
    "an error body of a 404": lambda text: _of(read_error(404, text.encode())),
    "OpenAI's error": lambda text: _of(read_error(400, _json({"error": {"message": text, "type": text}}))),
    "an error's code": lambda text: _of(read_error(400, _json({"error": {"message": "m", "code": text}}))),
    "a detail": lambda text: _of(read_error(422, _json({"detail": [{"msg": text}]}))),
    "a probe's refusal": lambda text: _probed(probing.Refused(shortened(text))),
    "a probe's answer": lambda text: _probed_answer(content=text, reasoning=text),
    "a probe's tool call": lambda text: _probed_answer(tool_calls=[{"function": {"name": text, "arguments": text}}]),
    "a quotation": lambda text: _of(read_error(400, _quotation(text, escaped=False))),
    "an escaped quotation": lambda text: _of(read_error(400, _quotation(text, escaped=True))),
    "a quotation of JSON": lambda text: _of(
        read_error(400, _quotation(json.dumps({"error": {"message": text}}), escaped=True))
    ),
    "ModelError": lambda text: _of(read_error(424, _json({"OriginalMessage": text, "OriginalStatusCode": text}))),
    "a failure": lambda text: _of(read_failure(text.encode())),
    "a failure's reason": lambda text: _of(read_failure(f"ClientError: Received server error (500) {text}".encode())),
    "an error event": lambda text: _of(error_in({"error": {"message": text, "type": text, "code": text}})),
    "a connection's error": lambda text: failure_line(connection_error(httpx.RemoteProtocolError(text), model="m")),
    "a caller's mistake": lambda text: str(bad_request(ValueError(text), model="m")),
    "a failure line": lambda text: failure_line(Exception(text)),
    "events": lambda text: _streamed("text/event-stream", text.encode()),
    "events in pieces": lambda text: _streamed("text/event-stream", text.encode(), _in_pieces(16)),
    "an event": lambda text: _streamed("text/event-stream", f"data: {text}\n\n".encode(), _in_pieces(16)),
    "an event's type": lambda text: _streamed("text/event-stream", f"event: {text}\ndata: 1\n\n".encode()),
    "lines": lambda text: _streamed("application/jsonlines", text.encode(), _in_pieces(16)),
    "no content type": lambda text: _streamed("", text.encode(), _in_pieces(16)),
    "JSON, or lines": lambda text: _streamed("application/json", b"{" + text.encode(), _in_pieces(16)),
    "a delta": lambda text: _streamed(
        "text/event-stream", b'data: {"choices": [{"index": 0, "delta": {"content": %s}}]}\n\n' % _json(text)
    ),
    "a finish reason": lambda text: _streamed(
        "text/event-stream", b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": %s}]}\n\n' % _json(text)
    ),
    "a whole answer": lambda text: _answered(text.encode()),
    "an answer's content": lambda text: _answered(_json({"choices": [{"message": {"content": text}}]})),
    "an answer's index": lambda text: _answered(_json({"choices": [{"message": {"content": "x"}, "index": text}]})),
    "an answer's choices": lambda text: _answered(_json({"choices": text, "usage": text})),
    "an answer's usage": lambda text: _answered(
        _json({"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": text, "completion_tokens": 1}})
    ),
    "a whole answer as a stream": lambda text: _streamed(
        "application/json", _json({"choices": [{"message": {"content": text, "tool_calls": text}}]})
    ),
    "embeddings": lambda text: _embedded(text.encode()),
    "an embedding": lambda text: _embedded(_json({"data": [{"embedding": text, "index": 0}]})),
    "a list of vectors": lambda text: _embedded(_json({"embedding": [text]})),
    "an embedding's index": lambda text: _embedded(_json({"data": [{"embedding": [1.0], "index": text}]})),
    "Retry-After": lambda text: f"{retry_after({'retry-after': text}, _NOW)}",
    "an inference id": lambda text: (
        read_accepted({"x-amzn-sagemaker-outputlocation": "s3://bucket/key"}, _json({"InferenceId": text})).inference_id
    ),
    "an inference's body": lambda text: read_accepted({}, text.encode()).inference_id,
    "a location": lambda text: str(parse_location(text)),
    "a location's key": lambda text: str(parse_location(f"https://s3.amazonaws.com/{text}")),
    "a prefix": lambda text: str(parse_prefix(f"s3://{text}")),
    "a record of LiteLLM's": lambda text: str(
        list(
            mistakes_before({"metadata": {"previous_models": [{"model_group": text, "exception_string": text}]}}, text)
        )
    ),
    "a body for the local container": lambda text: _unread(text.encode()),
    "the local front door": lambda text: str(
        check_token(f"Bearer {text}", credentials=_CREDENTIALS, region="us-west-2", now=_NOW)
    ),
    "the local signature": lambda text: str(
        check_signature(
            "/",
            {"authorization": f"AWS4-HMAC-SHA256 {text}"},
            b"",
            credentials=_CREDENTIALS,
            region="us-west-2",
            now=_NOW,
        )
    ),
}

# The same with fewer texts, as they take longer.
SLOWLY: Mapping[str, Callable[[str], str | None]] = {
    "events byte by byte": partial(_by_bytes, "text/event-stream"),
    "lines byte by byte": partial(_by_bytes, "application/jsonlines"),
    "no content type, byte by byte": partial(_by_bytes, ""),
    "the local container": lambda text: _echoed(messages=[{"role": "user", "content": text}]),
    "the local container's tools": lambda text: _echoed(
        messages=[{"role": "user", "content": text}], tools=[_tool(text[: SIZE // 2]), _tool("t")]
    ),
    "the local container's embeddings": lambda text: _vectors(input=text),
    "a schema's enum": lambda text: _echoed(
        messages=[{"role": "user", "content": text[: SIZE // 2]}],
        response_format=_schema({"enum": [f"{text[:20]}{number}" for number in range(SIZE // 20)]}),
    ),
}
ONCE: Mapping[str, Callable[[], Any]] = {
    "many properties": lambda: _shaped({"type": "object", "minProperties": 10**18}),
    "many items": lambda: _shaped({"type": "array", "minItems": 10**18}),
    "many different items": lambda: _shaped({"type": "array", "minItems": 9000, "uniqueItems": True}),
    "many required": lambda: _shaped({"required": [str(number) for number in range(SIZE // 10)]}),
    "many optional": lambda: _shaped(
        {
            "properties": dict.fromkeys(map(str, range(SIZE // 10)), True),
            "required": [str(n) for n in range(SIZE // 10)],
        }
    ),
    "many options": lambda: _shaped({"anyOf": [{"type": "null", "x": number} for number in range(SIZE // 10)]}),
    "a pattern without end": lambda: _echoed(
        messages=[{"role": "user", "content": "x" * SIZE}],
        response_format=_schema({"type": "string", "pattern": "(x+x+)+y"}),
    ),
    "a number in words": lambda: _shaped({"type": "number", "minimum": "1e999999999"}),
    "twice as much at each step": lambda: _shaped({"$ref": "#/$defs/0", "$defs": _doubling(35)}),
    "many stops": lambda: _echoed(
        messages=[{"role": "user", "content": " " * SIZE}], stop=[f"  x{number}" for number in range(SIZE // 10)]
    ),
    "many inputs": lambda: _vectors(input=["x"] * 10**5, dimensions=4096),
    "frames on and on": lambda: _of(
        read_error(400, _json({"error": {"message": '\n  File "x", line 1, in f' * 10**5}}))
    ),
}


def outcome(take: Callable[[], str | None]) -> str:
    """What is wrong with what came of it; empty for nothing."""
    try:
        said = take() or ""
    except AnswerError as error:
        said = str(error) + _of(error.upstream)
    except ValueError as error:  # of what a caller wrote; the provider's words for it
        said = str(bad_request(error, model="m"))
    except ContainerRefusal:
        return ""  # the local container repeats what it was sent, as vLLM does
    except BaseException:
        return traceback.format_exc()[-500:]
    if len(said) > LONGEST:
        return f"it says {len(said):,} characters"
    try:
        said.encode()
    except UnicodeEncodeError:
        return "it says what cannot be written"
    return ""


def _cases(name: str) -> Iterator[tuple[str, Callable[[], str | None]]]:
    if name in ONCE:
        yield name, ONCE[name]
    for takes, texts in ((TAKES, TEXTS), (SLOWLY, _FEW)):
        for text in texts if name in takes else ():
            yield text, partial(takes[name], TEXTS[text])


def wrong_with(name: str) -> dict[str, str]:
    """What is wrong with a function, by text. The function has a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for text, take in _cases(name):
            os.write(writer, json.dumps([text, f"more than {CPU_SECONDS} s of the processor"]).encode() + b"\n")
            os.write(writer, json.dumps([text, outcome(take)]).encode() + b"\n")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        outcomes = dict(map(json.loads, pipe))
    os.waitpid(child, 0)
    return {text: wrong for text, wrong in outcomes.items() if wrong}


NAMES = (*TAKES, *SLOWLY, *ONCE)

if __name__ == "__main__":
    json.dump({name: wrong_with(name) for name in sys.argv[1:] or NAMES}, sys.stdout, indent=1)
