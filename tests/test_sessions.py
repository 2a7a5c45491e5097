"""Stateful sessions: opened, used and closed, against the local runtime's container and against others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import botocore.loaders
import litellm
import pytest

from litellm_sagemaker_openai import Session, aclose_session, aopen_session, close_session, open_session
from litellm_sagemaker_openai.local.echo_checks import ContainerRefusal
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from litellm_sagemaker_openai.local.sessions import Sessions
from tests.conftest import CREDENTIALS, MESSAGES, REGION, Upstream
from tests.scripted import Answer, json_answer

each = pytest.mark.parametrize
both = each("is_async", [False, True], ids=["sync", "async"])
MODEL = "sagemaker_openai/shared/coder"
ROUTE: dict[str, Any] = {"aws_sagemaker_chat_route": "invocations"}
NOW = datetime(2026, 11, 20, 23, 59, 30, tzinfo=timezone.utc)
OPEN, CLOSE, CHAT = {"requestType": "NEW_SESSION"}, {"requestType": "CLOSE"}, {"messages": MESSAGES}
HEADERS = botocore.loaders.Loader().load_service_model("sagemaker-runtime", "service-2")["shapes"]


@dataclass
class Clock:
    """AWS's clock: signatures are of the machine's time, so it is that and what a test adds."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(timezone.utc) + self.ahead


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Running, Clock]]:
    clock = Clock()
    endpoints: dict[str, tuple[str, ...]] = {"shared": ("coder", "reviewer"), "my-endpoint": ()}
    with running(RuntimeConfig(endpoints, CREDENTIALS, REGION, sessions=120, now=clock)) as runtime:
        yield runtime, clock


@pytest.fixture
def clock(served: tuple[Running, Clock], monkeypatch: pytest.MonkeyPatch) -> Clock:
    runtime, clock = served
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
    clock.ahead = timedelta()
    return clock


async def opened(is_async: bool, model: str = MODEL, **more: Any) -> Session:
    return await aopen_session(model, **more) if is_async else open_session(model, **more)


async def closed(is_async: bool, session_id: str, model: str = MODEL, **more: Any) -> None:
    if is_async:
        await aclose_session(model, session_id, **more)
    else:
        close_session(model, session_id, **more)


def chat(session_id: str, model: str = MODEL, **more: Any) -> Any:
    return litellm.completion(model=model, messages=MESSAGES, aws_sagemaker_session_id=session_id, **ROUTE, **more)


@both
async def test_opened_used_and_closed(clock: Clock, is_async: bool) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)  # as the container says it
    session = await opened(is_async)
    assert session.expires is not None
    assert before <= session.expires - timedelta(seconds=120) <= datetime.now(timezone.utc)
    assert chat(session.id).choices[0].message.content
    assert "".join(piece.choices[0].delta.content or "" for piece in chat(session.id, stream=True))
    await closed(is_async, session.id)
    with pytest.raises(litellm.BadRequestError, match=f"the container answered 400: .*not found: {session.id}"):
        chat(session.id)


def test_each_container_has_its_own(clock: Clock) -> None:
    session = open_session(MODEL)
    with pytest.raises(litellm.BadRequestError, match="session not found"):
        chat(session.id, "sagemaker_openai/shared/reviewer")
    assert chat(session.id)
    assert open_session("my-endpoint").id != session.id  # the prefix may be left out


def test_an_expired_one_is_unknown(clock: Clock) -> None:
    session = open_session(MODEL)
    clock.ahead = timedelta(seconds=121)
    with pytest.raises(litellm.BadRequestError, match=f"session not found: {session.id}"):
        chat(session.id)


def test_embeddings_may_be_a_sessions(clock: Clock) -> None:
    session = open_session("my-endpoint")
    model = "sagemaker_openai/my-endpoint"
    assert litellm.embedding(model=model, input="a", aws_sagemaker_session_id=session.id).data
    with pytest.raises(litellm.BadRequestError, match="session not found"):
        litellm.embedding(model=model, input="a", aws_sagemaker_session_id="another")


def test_a_chat_opens_none_in_such_a_container(clock: Clock) -> None:
    answer = chat("NEW_SESSION")
    assert "sagemaker_new_session_id" not in answer._hidden_params
    assert answer.choices[0].message.content


def test_boto3_reads_the_same(served: tuple[Running, Clock], clock: Clock) -> None:
    client = boto3.client("sagemaker-runtime", region_name=REGION, endpoint_url=served[0].url)
    asked: dict[str, Any] = {"EndpointName": "my-endpoint", "ContentType": "application/json"}
    told = client.invoke_endpoint(**asked, SessionId="NEW_SESSION", Body=b'{"requestType": "NEW_SESSION"}')
    assert re.fullmatch(HEADERS["NewSessionResponseHeader"]["pattern"], told["NewSessionId"])
    session_id = told["NewSessionId"].partition(";")[0]
    told = client.invoke_endpoint(**asked, SessionId=session_id, Body=b'{"requestType": "CLOSE"}')
    assert told["ClosedSessionId"] == session_id


# What is refused


@both
async def test_a_container_that_keeps_none(upstream: Upstream, is_async: bool) -> None:
    """What answers with 200 and no session, whatever else it says."""
    for answer in (json_answer({"choices": []}), Answer([b"hello"])):
        server = upstream(answer)
        with pytest.raises(litellm.BadGatewayError, match="no new session id: it keeps no sessions"):
            await opened(is_async)
        with pytest.raises(litellm.BadGatewayError, match="no closed session id: it keeps no sessions"):
            await closed(is_async, "a")
        assert [seen.json for seen in server.seen] == [OPEN, CLOSE]
        sent = [seen.headers["x-amzn-sagemaker-session-id"] for seen in server.seen]
        assert sent == ["NEW_SESSION", "a"]
        assert {seen.headers["x-amzn-sagemaker-inference-component"] for seen in server.seen} == {"coder"}


def test_the_local_runtime_keeps_none_unless_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(RuntimeConfig({"my-endpoint": ()}, CREDENTIALS, REGION)) as runtime:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
        with pytest.raises(litellm.BadRequestError, match="stateful sessions not enabled"):
            open_session("sagemaker_openai/my-endpoint")
        with pytest.raises(litellm.BadRequestError, match="stateful sessions not enabled"):
            chat("a", "sagemaker_openai/my-endpoint")


@both
async def test_what_is_refused_before_it_is_sent(upstream: Upstream, is_async: bool) -> None:
    server = upstream(json_answer({}))
    with pytest.raises(litellm.BadRequestError, match="aws_sagemaker_session_id: SageMaker takes NEW_SESSION, or"):
        await closed(is_async, "no id")
    with pytest.raises(litellm.BadRequestError, match="Leave api_key out"):
        await opened(is_async, api_key="sagemaker-api-key-x")
    with pytest.raises(litellm.BadRequestError, match="did you mean aws_sagemaker_target_variant"):
        await opened(is_async, aws_sagemaker_target_varient="blue")
    with pytest.raises(TypeError, match="a session takes no region; it takes model_id"):
        await opened(is_async, region="us-west-2")
    assert server.seen == []


# The local runtime's container


def container() -> tuple[Sessions, str]:
    sessions = Sessions(60)
    answer = sessions.answer("NEW_SESSION", OPEN, NOW)
    assert answer is not None
    header = answer.headers["x-amzn-sagemaker-new-session-id"]
    session_id = header.partition(";")[0]
    assert header == f"{session_id}; Expires=2026-11-21T00:00:30Z"
    assert answer.text == f"Session {session_id} created"
    return sessions, session_id


def test_its_answers() -> None:
    sessions, session_id = container()
    assert sessions.answer(session_id, CHAT, NOW + timedelta(seconds=60)) is None
    assert sessions.answer(None, CHAT, NOW) is sessions.answer("NEW_SESSION", CHAT, NOW) is None
    answer = sessions.answer(session_id, CLOSE, NOW)
    assert answer is not None
    assert (answer.text, dict(answer.headers)) == (
        f"Session {session_id} closed",
        {"x-amzn-sagemaker-closed-session-id": session_id},
    )
    with pytest.raises(ContainerRefusal, match="Bad request: session not found"):
        sessions.answer(session_id, CLOSE, NOW)


@each(
    ("body", "session_id", "seconds", "status", "says"),
    [
        (CHAT, "another", 0, 400, "Bad request: session not found: another"),
        (CHAT, "", 61, 400, "Bad request: session not found"),
        (CLOSE, None, 0, 424, "Failed to close session: invalid session_id: None"),
        ({**OPEN, "messages": MESSAGES}, None, 0, 400, "Extra inputs are not permitted"),
        ({"requestType": "PAUSE"}, None, 0, 400, "Input should be 'NEW_SESSION' or 'CLOSE', not 'PAUSE'"),
    ],
)
def test_its_refusals(body: Any, session_id: str | None, seconds: float, status: int, says: str) -> None:
    sessions, known = container()
    with pytest.raises(ContainerRefusal, match=says) as refused:
        sessions.answer(known if session_id == "" else session_id, body, NOW + timedelta(seconds=seconds))
    assert refused.value.status == status


def test_without_sessions() -> None:
    assert Sessions(None).answer(None, CHAT, NOW) is None
    with pytest.raises(ContainerRefusal, match=r"stateful sessions not enabled$"):
        Sessions(None).answer(None, OPEN, NOW)
    with pytest.raises(ContainerRefusal, match="stateful sessions not enabled, X-Amzn-SageMaker-Session-Id header not"):
        Sessions(None).answer("a", CHAT, NOW)


def test_an_upstream_keeps_its_own(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    opened = "s-1; Expires=2026-11-26T12:00:00Z"
    server = upstream(json_answer({}, **{"x-amzn-sagemaker-new-session-id": opened, "x-mine": "1"}))  # type: ignore[arg-type]
    with running(RuntimeConfig({"my-endpoint": ()}, CREDENTIALS, REGION, upstream=server.url)) as runtime:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
        assert open_session("my-endpoint").id == "s-1"
    assert server.seen[0].headers["x-amzn-sagemaker-session-id"] == "NEW_SESSION"


@both
@each("header", ["", "; Expires=2026-11-26T10:00:00Z", " ;"])
async def test_a_new_session_without_an_id(upstream: Upstream, is_async: bool, header: str) -> None:
    upstream(Answer([b"Session created"], 200, "text/plain", {"x-amzn-sagemaker-new-session-id": header}))
    with pytest.raises(litellm.BadGatewayError, match="no new session id"):
        await opened(is_async)


@both
@each("session_id", ["", None])
async def test_no_session_to_close(upstream: Upstream, is_async: bool, session_id: Any) -> None:
    server = upstream(b"")
    with pytest.raises(ValueError, match="session_id must be a session's id"):
        await aclose_session(MODEL, session_id) if is_async else close_session(MODEL, session_id)
    assert server.seen == []
