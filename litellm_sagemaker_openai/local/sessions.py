"""Stateful sessions, as AWS's containers keep them with ``SAGEMAKER_ENABLE_STATEFUL_SESSIONS=true``. Pure, but for ids.

SageMaker keeps none: it routes a session's requests to one instance, and the container there opens, knows and closes
it. How it is asked to is the container's affair. Here it is as in AWS's vLLM container, by the package that vLLM has
for it (model-hosting-container-standards 0.1.16, which was run for its words and statuses): by a body that says nothing
but ``{"requestType": "NEW_SESSION"}`` or ``"CLOSE"``, which is LMI's way, too. That package answers the first request
after a session's time as one without a session, and refuses each later one; here the first one is refused, too.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from litellm_sagemaker_openai.local.echo_checks import ContainerRefusal

_NEW = "NEW_SESSION"
_HEADER = "X-Amzn-SageMaker-Session-Id"


@dataclass(frozen=True, slots=True)
class SessionAnswer:
    """The answer to a request that opened or closed a session."""

    text: str
    headers: Mapping[str, str]


class Sessions:
    """The sessions of one container.

    Args:
        seconds: how long one lives; None: the container keeps none.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._expiries: dict[str, datetime] = {}

    def answer(self, session_id: str | None, body: Any, now: datetime) -> SessionAnswer | None:
        """The answer, where a session is opened or closed; None where the model is to answer.

        Args:
            session_id: the request's header.
            body: the request's, of JSON.
            now: the time.

        Raises:
            ContainerRefusal: there is no such session, or there are none.
        """
        request_type = body.get("requestType") if isinstance(body, Mapping) else None
        if request_type is not None:
            if request_type not in (_NEW, "CLOSE"):
                raise ContainerRefusal(f"Input should be 'NEW_SESSION' or 'CLOSE', not {request_type!r:.100}")
            if len(body) > 1:
                raise ContainerRefusal(f"Extra inputs are not permitted: {', '.join(sorted(map(str, body)))[:200]}")
            if self._seconds is None:
                raise ContainerRefusal("Invalid payload. stateful sessions not enabled")
        if self._seconds is None:
            if session_id is not None:
                raise ContainerRefusal(
                    f"Invalid payload. stateful sessions not enabled, {_HEADER} header not supported"
                )
            return None
        self._expiries = {known: expiry for known, expiry in self._expiries.items() if now <= expiry}
        if session_id not in (None, "", _NEW) and session_id not in self._expiries:
            raise ContainerRefusal(f"Bad request: session not found: {session_id}")
        if request_type == _NEW:
            return self._opened(now + timedelta(seconds=self._seconds))
        return self._closed(session_id) if request_type == "CLOSE" else None

    def _opened(self, expiry: datetime) -> SessionAnswer:
        session_id = str(uuid.uuid4())
        self._expiries[session_id] = expiry
        header = f"{session_id}; Expires={expiry:%Y-%m-%dT%H:%M:%SZ}"
        return SessionAnswer(f"Session {session_id} created", {"x-amzn-sagemaker-new-session-id": header})

    def _closed(self, session_id: str | None) -> SessionAnswer:
        if session_id is None or session_id not in self._expiries:
            raise ContainerRefusal(f"Failed to close session: invalid session_id: {session_id}", status=424)
        del self._expiries[session_id]
        return SessionAnswer(f"Session {session_id} closed", {"x-amzn-sagemaker-closed-session-id": session_id})
