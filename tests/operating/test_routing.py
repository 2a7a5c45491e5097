"""The hint of prefix-aware routing through the real proxy: whose it is, on each route, and what a client can say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from litellm.proxy._types import hash_token

from litellm_sagemaker_openai.formats.prompt_cache_key import FIELD, HEADER, SOURCES, hint_of
from tests.operating.conftest import fine
from tests.operating.proxies import Proxy, config, proxy
from tests.scripted import Answer, Scripted, Seen, json_answer, scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

each = pytest.mark.parametrize
KEY, ANOTHER = "sk-a-members-of-red", "sk-a-members-of-blue"
AUTH = """
from litellm.proxy._types import UserAPIKeyAuth, hash_token

async def authenticate(request, api_key):
    return UserAPIKeyAuth(api_key=hash_token(api_key), team_id=api_key.rpartition("-")[2], models=[])
"""
MESSAGES = [{"role": "user", "content": "Hello?"}]
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES}),
    "streamed": ("/v1/chat/completions", {"messages": MESSAGES, "stream": True}),
    "responses": ("/v1/responses", {"input": "Hello?"}),
    "messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 9}),
    "text completions": ("/v1/completions", {"prompt": "Hello?"}),
    "embeddings": ("/v1/embeddings", {"input": "Hello?"}),
    "rerank": ("/v1/rerank", {"query": "Hello?", "documents": ["Hello."]}),
}
BY_HEADER = ("text completions", "embeddings", "rerank")
# What a client says of its session, in its JSON and its headers.
SESSIONS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "LiteLLM's parameter": ({"litellm_session_id": "session-1"}, {}),
    "metadata": ({"metadata": {"session_id": "session-1"}}, {}),
    "LiteLLM's header": ({}, {"x-litellm-session-id": "session-1"}),
    "a vendor's header": ({}, {"x-vendor-session-id": "session-1"}),
    "baggage": ({}, {"baggage": "session.id=session-1,user.id=42"}),
    "a header besides a trace": (
        {},
        {"x-litellm-session-id": "session-1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    ),
}


def on_sagemaker(seen: Seen) -> Answer:
    if "prompt" in seen.json:
        choice = {"index": 0, "text": "Hi.", "finish_reason": "stop"}
        return json_answer({"object": "text_completion", "choices": [choice], "usage": {"prompt_tokens": 1}})
    if "query" in seen.json:
        return json_answer({"results": [{"index": 0, "relevance_score": 0.5}]})
    if seen.path.endswith("/invocations"):
        return json_answer({"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}})
    return fine(seen)


@dataclass(frozen=True)
class House:
    """The proxy, and the hint that reaches SageMaker behind it."""

    proxy: Proxy
    sagemaker: Scripted

    def post(
        self, route: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str], key: str = KEY
    ) -> httpx.Response:
        self.sagemaker.seen.clear()
        path, question = ROUTES[route]
        said = {**headers, "Authorization": f"Bearer {key}"}
        return self.proxy.client.post(path, json={"model": model, **question, **body}, headers=said)

    def hint(
        self,
        route: str,
        model: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        key: str = KEY,
    ) -> Any:
        response = self.post(route, model, body or {}, headers or {}, key)
        assert response.status_code == 200, response.text
        [seen] = self.sagemaker.seen
        for told in (KEY, ANOTHER, hash_token(KEY), hash_token(ANOTHER), "session-1"):
            assert told.encode() not in seen.body
            assert all(told not in value for value in seen.headers.values())
        assert (FIELD if route in BY_HEADER else HEADER) not in {**seen.json, **seen.headers}
        return seen.headers.get(HEADER) if route in BY_HEADER else seen.json.get(FIELD)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "auth.py").write_text(AUTH)
    here = {"model": "sagemaker_openai/e", "litellm_credential_name": "sagemaker"}
    models: dict[str, dict[str, Any]] = {
        **{f"by-{source}": {"aws_sagemaker_prompt_cache_key": source} for source in SOURCES},
        "plain": {},
        "one": {"prompt_cache_key": "the-deployments"},
    }
    here_too = {
        "model_list": [{"model_name": name, "litellm_params": {**here, **said}} for name, said in models.items()],
        "router_settings": {"num_retries": 0},
        "general_settings": {"custom_auth": "auth.authenticate"},
    }
    with (
        scripted(on_sagemaker) as sagemaker,
        proxy(
            folder,
            config("routing.yaml"),
            here_too,
            sagemaker=sagemaker.url,
            environment={"SALT_OF_RED": "a-secret-salt"},
        ) as started,
    ):
        yield House(started, sagemaker)


@each("route", ROUTES)
def test_the_key_and_the_team(house: House, route: str) -> None:
    assert house.hint(route, "by-key") == hint_of("key", hash_token(KEY))
    assert house.hint(route, "by-key", key=ANOTHER) == hint_of("key", hash_token(ANOTHER))
    assert house.hint(route, "by-team") == hint_of("team", "red")
    assert house.hint(route, "by-team", key=ANOTHER) == hint_of("team", "blue")


@each("said", SESSIONS)
@each("route", ROUTES)
def test_the_session(house: House, route: str, said: str) -> None:
    body, headers = SESSIONS[said]
    assert house.hint(route, "by-session", body, headers) == hint_of("session", "session-1")


@each("route", ROUTES)
def test_the_user(house: House, route: str) -> None:
    who: dict[str, Any] = {"user": "ann@example.com"}
    if route == "messages":
        who = {"metadata": {"user_id": "ann@example.com"}}
    assert house.hint(route, "by-user", who) == hint_of("user", "ann@example.com")
    # LiteLLM's providers for embeddings send a user on; for the rest it is LiteLLM's own.
    assert (b"ann@example.com" in house.sagemaker.seen[0].body) == (route == "embeddings")


@each("route", ROUTES)
def test_there_is_none_where_nobody_is_known(house: House, route: str) -> None:
    assert house.hint(route, "by-user") is None
    assert house.hint(route, "by-session") is None
    # A trace is of one request: a hint made of it would send each of a conversation's to an instance of its own.
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    assert house.hint(route, "by-session", headers=trace) is None
    assert house.hint(route, "plain") is None


@each("route", ROUTES)
def test_a_calls_own_counts_and_then_the_deployments(house: House, route: str) -> None:
    for model in ("plain", "one", "by-key"):
        assert house.hint(route, model, {"prompt_cache_key": "own"}) == "own"
    assert house.hint(route, "one") == "the-deployments"


@each("route", [route for route in ROUTES if route != "embeddings"])
def test_an_operator_can_leave_the_clients_out(house: House, route: str) -> None:
    """By LiteLLM's ``additional_drop_params``, where the client does not say that, too."""
    assert house.hint(route, "by-team-alone", {"prompt_cache_key": "own"}) == hint_of("team", "red")
    undone = {"prompt_cache_key": "own", "additional_drop_params": ["x"]}
    assert house.hint(route, "by-team-alone", undone) == "own"


def test_the_pages_deployments(house: House) -> None:
    assert house.hint("chat", "chat", headers={"x-litellm-session-id": "session-1"}) == hint_of("session", "session-1")
    assert house.hint("chat", "chat-of-red", {"cache_salt": "another"}) is None
    assert house.sagemaker.seen[0].json["cache_salt"] == "a-secret-salt"


def test_of_embeddings_litellm_drops_nothing(house: House) -> None:
    assert house.hint("embeddings", "by-team-alone", {"prompt_cache_key": "own"}) == "own"


@each("source", ["key", "team"])
@each("route", ROUTES)
def test_a_client_has_no_others_hint_by_its_metadata(house: House, route: str, source: str) -> None:
    names = ("user_api_key_hash", "user_api_key", "user_api_key_team_id", "user_api_key_end_user_id")
    others = {
        **dict.fromkeys(names, "another's"),
        "user_api_key_auth": {"api_key": "another's", "team_id": "another's"},
    }
    own = hint_of(*{"key": ("key", hash_token(KEY)), "team": ("team", "red")}[source])
    for said in (
        {"metadata": others},
        {"litellm_metadata": others},
        {"metadata": others, "litellm_metadata": others},
        others,
    ):
        response = house.post(route, f"by-{source}", said, {})
        hints = [seen.headers.get(HEADER, seen.json.get(FIELD)) for seen in house.sagemaker.seen]
        assert hints == ([own] if response.status_code == 200 else []), response.text


@each("route", ROUTES)
def test_the_option_and_the_header_are_not_the_clients_to_say(house: House, route: str) -> None:
    for said in (
        {"aws_sagemaker_prompt_cache_key": "user"},
        {"extra_headers": {"X-Amzn-SageMaker-Prefix-Aware-Id": "h"}},
    ):
        assert house.post(route, "plain", said, {}).status_code == 400
        assert not house.sagemaker.seen
