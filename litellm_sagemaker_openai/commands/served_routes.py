"""Which of the routes of LiteLLM's proxy ``serve`` and ``launch`` have: those that ask a model. Pure.

LiteLLM's one key, without a database, is its administrator's: with it a client may change the configuration, have the
proxy start programs (MCP servers over stdio), and send requests anywhere with the proxy's AWS credentials (the
pass-through routes). Here it is a client's, so that the rest of the proxy is not there.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Any, Send], Awaitable[None]]

_ROUTES = {
    "POST": re.compile(
        r"(/v1)?/(chat/completions|completions|embeddings|responses|responses/input_tokens)"
        r"|/v1/messages|/v1/messages/count_tokens"
    ),
    "GET": re.compile(r"(/v1)?/models|/v1/model/info|/health/(readiness|liveliness|liveness)"),
    "HEAD": re.compile(r"/"),  # Claude Code asks whether there is a server
}
_OPEN = re.compile(r"/|/health/.*")  # they tell only whether there is a server
_NOT_HERE = (
    "This proxy has only the routes that ask a model: /v1/chat/completions, /v1/completions, /v1/responses, "
    "/v1/messages, /v1/embeddings and /v1/models."
)
_NO_KEY = "Give the proxy's key, as Authorization: Bearer or as x-api-key; who started the proxy has it."


def is_served(method: str, path: str) -> bool:
    """Whether there is such a route."""
    route = _ROUTES.get(method)
    return route is not None and route.fullmatch(path) is not None


def has_key(headers: Iterable[tuple[bytes, bytes]], key: str) -> bool:
    """Whether a request has the key, as OpenAI's clients give it or as Anthropic's do."""
    given = {name: value for name, value in headers if name in (b"authorization", b"x-api-key")}
    scheme, _, token = given.get(b"authorization", b"").partition(b" ")
    keys = [token if scheme.lower() == b"bearer" else b"", given.get(b"x-api-key", b"")]
    return any(hmac.compare_digest(each, key.encode()) for each in keys)


def only_served(app: App, key: str) -> App:
    """The ASGI application, for the routes that are served, and those who have the key.

    LiteLLM checks the key too; without a database it answers 400 "No connected db." to a wrong one, and 500 to none
    (1.106.2). A page in a browser may ask nothing, since CORS's question (OPTIONS) is no route either.
    """

    async def served(scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif scope["type"] != "http" or not is_served(scope["method"], scope["path"]):
            await _refuse(send, 404, "not_found_error", _NOT_HERE)
        elif not (_OPEN.fullmatch(scope["path"]) or has_key(scope["headers"], key)):
            await _refuse(send, 401, "authentication_error", _NO_KEY)
        else:
            await app(scope, receive, send)

    return served


async def _refuse(send: Send, status: int, kind: str, message: str) -> None:
    error = {"message": message, "type": kind, "param": None, "code": str(status)}
    body = json.dumps({"type": "error", "error": error}).encode()  # OpenAI's form, and Anthropic's
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
