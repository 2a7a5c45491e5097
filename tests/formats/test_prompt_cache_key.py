"""The hint of prefix-aware routing, made and sent: what a real server behind the real LiteLLM gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import botocore.session
import litellm
import pytest

from litellm_sagemaker_openai.formats.prompt_cache_key import FIELD, HEADER, SOURCES, hint_header, hint_of, with_hint
from litellm_sagemaker_openai.litellm_seams.caller import _MADE_UP, caller
from litellm_sagemaker_openai.options import QUEUED_CHAT
from litellm_sagemaker_openai.settings import sort_settings
from tests.conftest import MESSAGES, Upstream, litellm_is_before
from tests.scripted import Seen, completion, json_answer

each = pytest.mark.parametrize
MODEL = "sagemaker_openai/e"
EMBEDDING = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}}
# What an application says → whose hint is made.
SAID: dict[str, tuple[str, dict[str, Any], str]] = {
    "a user": ("user", {"user": "ann@example.com"}, "ann@example.com"),
    "a session": ("session", {"litellm_session_id": "s-1"}, "s-1"),
    "a session in the metadata": ("session", {"metadata": {"session_id": "s-1"}}, "s-1"),
}
NOBODY: dict[str, tuple[str, dict[str, Any]]] = {
    **{source: (source, {}) for source in SOURCES},
    "a trace, which is of one request": ("session", {"metadata": {"trace_id": "t-1"}}),
    "no user's session": ("user", {"litellm_session_id": "s-1"}),
}
KEYS = ["conversation-1", "00000000-0000-7000-8000-000000000011", "x" * 64, '{"a":1}']
NO_HEADERS = [
    "x" * 65,
    "two words",
    " k",
    "k ",
    "Zoë",
    "a\r\nx-amzn-sagemaker-target-variant: b",
    "\ud800",
    "\x00",
    "日",
]


@pytest.fixture
def container(upstream: Upstream) -> Any:
    return upstream(lambda seen: json_answer(EMBEDDING if seen.path.endswith("/invocations") else completion()))


@pytest.fixture
def sent(container: Any) -> Any:
    """Makes a chat, and gives the request that the container got."""

    def call(**more: Any) -> Seen:
        litellm.completion(model=MODEL, messages=MESSAGES, **more)
        seen: Seen = container.seen[-1]
        return seen

    return call


@pytest.fixture
def embedded(container: Any) -> Any:
    """The same for embeddings, asynchronously: of a synchronous call, LiteLLM refuses ``user``."""

    async def call(**more: Any) -> Seen:
        await litellm.aembedding(model=MODEL, input=["a"], **more)
        seen: Seen = container.seen[-1]
        return seen

    return call


@each("said", SAID)
async def test_the_hint_of_whoever_asks(sent: Any, embedded: Any, said: str) -> None:
    source, more, whose = SAID[said]
    hint = hint_of(source, whose)
    chat = sent(aws_sagemaker_prompt_cache_key=source, **more)
    assert chat.json[FIELD] == hint
    assert HEADER not in chat.headers
    embedding = await embedded(aws_sagemaker_prompt_cache_key=source, **more)
    assert embedding.headers[HEADER] == hint
    assert FIELD not in embedding.json
    for seen in (chat, embedding):
        assert source == "user" or whose.encode() not in seen.body
        assert all(whose not in value for value in seen.headers.values())


@each("said", NOBODY)
async def test_there_is_none_where_nobody_is_known(sent: Any, embedded: Any, said: str) -> None:
    source, more = NOBODY[said]
    assert FIELD not in sent(aws_sagemaker_prompt_cache_key=source, **more).json
    seen = await embedded(aws_sagemaker_prompt_cache_key=source, **more)
    assert HEADER not in seen.headers
    assert FIELD not in seen.json


async def test_without_the_option_none_is_made(sent: Any, embedded: Any) -> None:
    who: dict[str, Any] = {"user": "u", "litellm_session_id": "s"}
    assert FIELD not in sent(**who).json
    assert HEADER not in (await embedded(**who)).headers


@each("given", [{"prompt_cache_key": "own"}, {"extra_body": {"prompt_cache_key": "own"}}])
async def test_a_calls_own_counts(sent: Any, embedded: Any, given: Mapping[str, Any]) -> None:
    assert sent(aws_sagemaker_prompt_cache_key="user", user="u", **given).json[FIELD] == "own"
    seen = await embedded(aws_sagemaker_prompt_cache_key="user", user="u", **given)
    assert seen.headers[HEADER] == "own"
    assert FIELD not in seen.json


@each("none", ["", None])
def test_an_empty_one_is_none(sent: Any, none: Any) -> None:
    seen = sent(aws_sagemaker_prompt_cache_key="user", user="u", extra_body={"prompt_cache_key": none})
    assert seen.json[FIELD] == hint_of("user", "u")


async def test_a_header_of_the_calls_has_the_last_word(embedded: Any) -> None:
    headers = {"X-Amzn-SageMaker-Prefix-Aware-Id": "h"}
    assert (await embedded(prompt_cache_key="k", extra_headers=headers)).headers[HEADER] == "h"


@each("key", [*KEYS, *NO_HEADERS])
async def test_whatever_a_caller_says_reaches_the_router(embedded: Any, key: str) -> None:
    """And nothing fails for it: a key that SageMaker's header cannot have is a hash there."""
    value = (await embedded(prompt_cache_key=key)).headers[HEADER]
    assert (value == key) == (key in KEYS)
    service = botocore.session.Session().get_service_model("sagemaker-runtime")
    shape = service.operation_model("InvokeEndpoint").input_shape.members["PrefixAwareId"]
    assert shape.serialization["name"].lower() == HEADER
    assert shape.metadata["min"] <= len(value) <= shape.metadata["max"]
    assert re.fullmatch(shape.metadata["pattern"].replace(r"\p{Print}", r"\x20-\x7e").replace(r"\z", r"\Z"), value)


@each("key", [5, ["k"], {"a": 1}, True])
async def test_what_is_no_text_is_no_hint(sent: Any, embedded: Any, key: Any) -> None:
    assert sent(extra_body={"prompt_cache_key": key}).json[FIELD] == key  # for the container to refuse
    seen = await embedded(extra_body={"prompt_cache_key": key})
    assert HEADER not in seen.headers
    assert FIELD not in seen.json


def test_hints_are_different_and_stay_the_same() -> None:
    hints = [hint_of(source, whose) for source in (*SOURCES, "given") for whose in ("a", "b")]
    assert len(set(hints)) == len(hints)
    # In another process, and in a later release, too.
    assert hint_of("key", "0" * 64) == "55f38598e439cad5e15481747ab581d7"
    assert all(hint_header({FIELD: hint}) == {HEADER: hint} for hint in hints)


def test_what_is_queued_gets_none() -> None:
    """InvokeEndpointAsync has no such header."""
    given = {"aws_sagemaker_async": True, "aws_sagemaker_prompt_cache_key": "session"}
    assert sort_settings(given, {}, operation=QUEUED_CHAT).hint_source is None
    service = botocore.session.Session().get_service_model("sagemaker-runtime")
    assert "PrefixAwareId" not in service.operation_model("InvokeEndpointAsync").input_shape.members


def test_nothing_of_the_callers_is_changed() -> None:
    parameters = {"top_k": 1}
    assert with_hint(parameters, "h") == {"top_k": 1, FIELD: "h"}
    assert parameters == {"top_k": 1}


def test_what_litellm_made_up_for_one_request_is_no_session() -> None:
    """With ``missing_session_id: generate``, of LiteLLM 1.106, the proxy marks what it made up."""
    if not litellm_is_before("1.106"):
        from litellm.constants import SESSION_ID_GENERATED_METADATA_KEY

        assert _MADE_UP == SESSION_ID_GENERATED_METADATA_KEY
    recorded = {"metadata": {"session_id": "made-up", _MADE_UP: True}, "litellm_session_id": "made-up"}
    assert caller("session", recorded, None) is None


@each("found", [None, 5, "", {"a": 1}, ["u"]])
def test_what_is_no_name_is_nobody(found: Any) -> None:
    names = ("user_api_key_end_user_id", "user_api_key_hash", "user_api_key_team_id", "session_id")
    for source in SOURCES:
        assert caller(source, {"metadata": dict.fromkeys(names, found), "litellm_session_id": found}, None) is None
        assert caller(source, {"metadata": found, "litellm_metadata": found}, object()) is None
