"""Which of the routes of LiteLLM's proxy ``serve`` and ``launch`` have: those that ask a model. Pure.

LiteLLM's one key, without a database, is its administrator's: with it a client may change the configuration, have the
proxy start programs (MCP servers over stdio), and send requests anywhere with the proxy's AWS credentials (the
pass-through routes). Here it is a client's, so that the rest of the proxy is not there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Any, Send], Awaitable[None]]

_ROUTES = {
    "POST": re.compile(
        r"(/v1)?/(chat/completions|completions|embeddings|responses|responses/input_tokens|responses/compact)"
        r"|/v1/messages|/v1/messages/count_tokens"
    ),
    "GET": re.compile(r"(/v1)?/models|/v1/model/info|/health/(readiness|liveliness|liveness)"),
    "HEAD": re.compile(r"/"),  # Claude Code asks whether there is a server
}
_NOT_HERE = (
    b'{"error": {"message": "This proxy has the routes that ask a model: /v1/chat/completions, /v1/responses, '
    b'/v1/messages, /v1/embeddings, /v1/models.", "type": "not_found_error", "param": null, "code": "404"}}'
)


def is_served(method: str, path: str) -> bool:
    """Whether there is such a route."""
    route = _ROUTES.get(method)
    return route is not None and route.fullmatch(path) is not None


def only_served(app: App) -> App:
    """The ASGI application, with 404 for all other routes; a page in a browser may ask none (CORS)."""

    async def served(scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and is_served(scope["method"], scope["path"])):
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": _NOT_HERE})

    return served
