"""Stateful sessions from Python: ``open_session`` and ``close_session``, and their asynchronous twins."""

from __future__ import annotations

import asyncio
from typing import Any

from litellm_sagemaker_openai import execution
from litellm_sagemaker_openai.operations.operation import Call
from litellm_sagemaker_openai.operations.session_requests import CLOSE, OPEN, Session, session_request
from litellm_sagemaker_openai.preparation import prepare
from litellm_sagemaker_openai.upstream_errors import PROVIDER

__all__ = ["Session", "aclose_session", "aopen_session", "close_session", "open_session"]

_APART = ("api_base", "api_key", "timeout")  # what LiteLLM hands to a handler by itself
_PARAMETERS = ("model_id", "sagemaker_base_url", "ssl_verify", *_APART)


def open_session(model: str, **parameters: Any) -> Session:
    """Open a session on an endpoint whose container keeps some, as AWS's do with SAGEMAKER_ENABLE_STATEFUL_SESSIONS.

    Args:
        model: ``sagemaker_openai/<endpoint>[/<inference component>]``.
        parameters: of a call's: ``model_id``, ``api_base``, ``sagemaker_base_url``, ``ssl_verify``, ``timeout`` in
            seconds (default: 600) and all that begins with ``aws_``.

    Returns:
        The session, whose ``id`` is a call's ``aws_sagemaker_session_id``.

    Raises:
        TypeError: another keyword.
        litellm's exceptions: as a call's; ``BadGatewayError`` where the container answers without a session.
    """
    session: Session = execution.complete(_call(model, "NEW_SESSION", OPEN, parameters))
    return session


async def aopen_session(model: str, **parameters: Any) -> Session:
    """``open_session`` for an event loop, which it never blocks."""
    call = await asyncio.to_thread(_call, model, "NEW_SESSION", OPEN, parameters, is_async=True)
    session: Session = await execution.complete_async(call)
    return session


def close_session(model: str, session_id: str, **parameters: Any) -> None:
    """Close a session, so that the container forgets it before its time. Parameters and errors as ``open_session``.

    Raises:
        ValueError: an empty ``session_id``, with which a call would be one without a session.
    """
    execution.complete(_call(model, session_id, CLOSE, parameters))


async def aclose_session(model: str, session_id: str, **parameters: Any) -> None:
    """``close_session`` for an event loop, which it never blocks."""
    call = await asyncio.to_thread(_call, model, session_id, CLOSE, parameters, is_async=True)
    await execution.complete_async(call)


def _call(
    model: str, session_id: str, body: dict[str, str], parameters: dict[str, Any], *, is_async: bool = False
) -> Call:
    for name in parameters:
        if name not in _PARAMETERS and not name.startswith("aws_"):
            raise TypeError(f"a session takes no {name}; it takes {', '.join(_PARAMETERS)}, aws_…")
    if not session_id:
        raise ValueError("session_id must be a session's id, and it is empty")
    own = {"aws_sagemaker_chat_route": "invocations", "aws_sagemaker_session_id": session_id}
    given = {name: value for name, value in parameters.items() if name not in _APART}
    call = {
        "model": model.removeprefix(f"{PROVIDER}/"),
        "messages": body,
        "optional_params": {**given, **own},
        "litellm_params": {"ssl_verify": parameters.get("ssl_verify")},
        "logging_obj": None,
        "model_response": None,
        **{name: parameters.get(name) for name in _APART},
    }
    return prepare(lambda *_: session_request, call, is_async=is_async)
