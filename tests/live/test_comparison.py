"""What of two answers is compared, and which differences matter."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import tools
from tests.scripted import chunk, completion, sse, usage_chunk
from tests.test_structure import IO
from tools.live_answers import Answer, Seen, seen
from tools.live_cases import CASES
from tools.live_comparison import Difference, differences
from tools.live_redaction import Redactor

each = pytest.mark.parametrize

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
REDACT = Redactor({"acme-prod-7": "<endpoint>"}, [], own="")


def whole(body: Any, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})) -> Seen:
    return seen(Answer(status, {**JSON, **headers}, json.dumps(body).encode()), REDACT)


def streamed(*events: Any, done: bool = True) -> Seen:
    return seen(Answer(200, EVENTS, sse(*events, done=done)), REDACT)


def refused(message: str, status: int = 400) -> Seen:
    return whole({"error": {"message": message, "type": "invalid_request_error", "code": "validation_error"}}, status)


def matter(aws: Seen, local: Seen) -> list[str]:
    return [found.what for found in differences(aws, local) if found.matters]


def other(aws: Seen, local: Seen) -> list[str]:
    return [found.what for found in differences(aws, local) if not found.matters]


STREAM = [chunk({"role": "assistant", "content": ""}), chunk({"content": "a"}), chunk({"content": "b"})]
END = [chunk({"content": ""}, finish="stop"), usage_chunk(3, 2)]


def test_ids_times_texts_and_counts_are_no_difference() -> None:
    one = completion("Hello.")
    two = completion(
        "A longer answer.", id="other", created=1, model="acme/secret", usage={**one["usage"], "total_tokens": 9}
    )
    assert differences(whole(one), whole(two)) == ()
    assert differences(streamed(*STREAM, *END), streamed(STREAM[0], STREAM[1], *END)) == ()
    quoted = 'Received client error (400) from {} with message "{}". See the log of account {}.'
    messages = (
        quoted.format("primary", "max_model_len=40960", "123456789012"),
        quoted.format("Kl6NPm", "max_model_len=131072", "210987654321"),
    )
    assert differences(*map(refused, messages)) == ()
    assert (
        differences(
            whole({}, headers={"x-amzn-requestid": "1", "date": "now"}),
            whole({}, headers={"x-amzn-requestid": "2", "server": "x"}),
        )
        == ()
    )


def test_no_text_of_the_models_is_seen() -> None:
    model = completion(
        "My secret answer", message={"reasoning": "secret thoughts"}, model="acme/secret", system_fingerprint="secret"
    )
    for answer in (whole(model), streamed(*STREAM, chunk({"content": "secret"}), *END)):
        assert "secret" not in repr(answer)


@each(
    ("aws", "local", "found"),
    [
        (refused("no", 404), refused("no"), Difference("status", "404", "400")),
        (Seen(None, "ReadTimeout"), Seen(None), Difference("failure", "ReadTimeout", "none")),
        (Seen(200, media_type="text/html"), Seen(200, media_type="text/plain"), 
         Difference("content type", "text/html", "text/plain")),
        (Seen(424, error_type="ModelError"), Seen(424), Difference("error type", "ModelError", "none")),
        (whole({}, headers={"x-amzn-new": "1"}), whole({}), Difference("header x-amzn-new", "there", "not there")),
        (whole({"contents": "a"}), whole({}), Difference("field contents", "string", "not there")),
        (whole({"a": [{"b": 1}]}), whole({"a": [{"b": "1"}]}), Difference("field a[].b", "number", "string")),
        (whole({"object": "list"}), whole({"object": "chat"}), Difference("value of object", "list", "chat")),
        (refused("Endpoint acme-prod-7 is not there."), refused("Endpoint acme-prod-7 not found."),
         Difference("words", "Endpoint <endpoint> is not there.", "Endpoint <endpoint> not found.")),
        (whole({"created": None}), whole({"created": 1}), Difference("field created", "null", "number", matters=False)),
        (whole({"audio": None}), whole({}), Difference("field audio", "null", "not there", matters=False)),
        (whole({"usage": {"details": {"cached": 1}}}), whole({"usage": {"details": None}}),
         Difference("field usage.details.cached", "number", "not there", matters=False)),
        (whole({"logprobs": None}), whole({"logprobs": [{"token": "a"}]}),
         Difference("field logprobs[].token", "not there", "string", matters=False)),
        (whole({"tools": []}), whole({}), Difference("field tools", "an empty list", "not there", matters=False)),
        (whole({"finish_reason": "length"}), whole({"finish_reason": "stop"}),
         Difference("value of finish_reason", "length", "stop", matters=False)),
    ],
)  # fmt: skip
def test_each_kind_of_difference(aws: Seen, local: Seen, found: Difference) -> None:
    assert found in differences(aws, local)


def test_the_containers_words_are_its_own_but_how_they_are_quoted_is_sagemakers() -> None:
    def quoting(text: str) -> Seen:
        return refused(f'Received client error (400) from primary with message "{text}". See the log.')

    plain, escaped = quoting('{"error":{"message":"no"}}'), quoting('{\\"error\\":{\\"message\\":\\"no\\"}}')
    assert plain.words == 'Received client error (400) from <container> with message "…". See the log.'
    assert (matter(escaped, plain), other(escaped, plain)) == (["the container's words"], [])
    hotter = quoting('{"error":{"message":"too hot"}}')
    assert (matter(hotter, plain), other(hotter, plain)) == ([], ["the container's words"])
    assert matter(refused("no"), plain) == ["words", "the container's words"]


def test_the_order_of_a_stream() -> None:
    as_it_is = streamed(*STREAM, *END)
    assert as_it_is.events == ("choice 0: role, text, finish", "stream: choices, usage, [DONE]")
    order = ["order of events"]
    assert matter(streamed(*STREAM, *END, done=False), as_it_is) == order
    assert matter(streamed(*STREAM, END[1], END[0]), as_it_is) == order
    assert matter(streamed(*STREAM[1:], *END), as_it_is) == [*order, "field choices[].delta.role"]
    assert matter(streamed(*STREAM, {"error": {"message": "x"}}), as_it_is)[0] == "order of events"
    assert streamed(*STREAM, "{").events[-1] == "stream: choices, something that is not an event"


def test_choices_come_side_by_side_in_any_order() -> None:
    parts = [chunk({"role": "assistant"}, index=0), chunk({"role": "assistant"}, index=1)]
    parts += [chunk({"content": "a"}, index=0), chunk({"content": "a"}, index=1)]
    ends = [chunk({}, index=0, finish="stop"), chunk({}, index=1, finish="stop")]
    assert differences(streamed(*parts, *ends), streamed(*parts[::-1][2:], parts[2], ends[0], parts[3], ends[1])) == ()


def test_a_model_that_thinks_may_say_nothing_else() -> None:
    thinks = streamed(
        STREAM[0] | {"choices": [{**STREAM[0]["choices"][0], "delta": {"role": "assistant"}}]},
        chunk({"reasoning": "a"}),
        *[chunk({}, finish="length"), END[1]],
    )
    assert matter(thinks, streamed(*STREAM, *END)) == []
    assert "field choices[].delta.reasoning" in other(thinks, streamed(*STREAM, *END))


def test_hostile_answers_are_seen_all_the_same() -> None:
    deep = b'{"a":' * 100_000
    many = json.dumps({f"key{number}": 1 for number in range(5_000)}).encode()
    for body in (deep, b"\xff\xfe", b"[" * 10_000, many, json.dumps({"choices": [1, None, []]}).encode(), b""):
        for headers in (JSON, EVENTS, {}, {"content-type": "application/vnd.amazon.eventstream"}):
            answer = seen(Answer(400, headers, body), REDACT)
            assert len(repr(answer)) < 100_000
    assert seen(Answer(200, JSON, b"[1]"), REDACT).shape == {"[]": frozenset({"number"})}


@each("module", ["live_answers", "live_cases", "live_comparison", "live_redaction", "live_report"])
def test_what_decides_is_pure(module: str) -> None:
    tree = ast.parse(Path(tools.__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
    imported = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in imported} & {*IO, "click", "httpx", "litellm", "secrets", "sys"}


def test_cases() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_no_piece_of_a_name_is_left_where_a_message_is_cut() -> None:
    """A message may be longer than what is read of it, and what stands before a name may be taken out."""
    redact = Redactor({"acme-prod-7": "<endpoint>"}, [])
    for before in ("/home/" + "q" * 5700, "word " * 1200):
        for length in range(5570, 5600, 7):
            message = f"{before[:length]} 210987654321 acme-prod-7 and more"
            for body in (json.dumps({"message": message}).encode(), message.encode()):
                words = seen(Answer(400, {"content-type": "application/json"}, body), redact).words
                assert "2109" not in words
                assert "acme" not in words


def test_what_is_said_once_or_not_at_all_and_what_a_failure_came_with() -> None:
    redact = Redactor({}, [])

    def stream(*events: Any) -> Seen:
        body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events) + b"data: [DONE]\n\n"
        return seen(Answer(200, {"content-type": "text/event-stream"}, body), redact)

    counts = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    first = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
    last = {"choices": [], "usage": counts}
    usual = stream(first, first, last)
    for other in (stream({**first, "usage": counts}, first, last), stream(first, first, last, last)):
        assert [each.what for each in differences(other, usual) if each.matters] == ["order of events"]
    assert differences(stream(first, last), usual) == ()

    not_found, others = (
        seen(Answer(404, {"content-type": "application/json"}, json.dumps({"detail": detail}).encode()), redact)
        for detail in ("Not Found", "no such path")
    )
    assert [each.what for each in differences(not_found, others)] == ["words"]

    broken = [seen(Answer(status, failure="it does not end"), redact) for status in (200, 500)]
    assert [each.what for each in differences(*broken)] == ["status"]
