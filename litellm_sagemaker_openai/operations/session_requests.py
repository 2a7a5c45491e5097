"""Stateful sessions: the requests by which AWS's containers open and close one, on ``/invocations``.

Their body is this and nothing else (github.com/aws/model-hosting-container-standards, docs/sagemaker/
04_sticky_session_routing.md; the same in LMI), so that no chat can open one there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from litellm_sagemaker_openai.formats.invocation_headers import NEW_SESSION, session_params
from litellm_sagemaker_openai.operations.operation import INVOCATIONS_ROUTE, Call, Invocation, Question
from litellm_sagemaker_openai.options import INVOKED_CHAT
from litellm_sagemaker_openai.settings import Settings
from litellm_sagemaker_openai.upstream_errors import MalformedAnswer

OPEN, CLOSE = {"requestType": NEW_SESSION}, {"requestType": "CLOSE"}


@dataclass(frozen=True, slots=True)
class Session:
    """A stateful session that a container has opened.

    Attributes:
        id: what ``aws_sagemaker_session_id`` takes.
        expires: when the container forgets it; None where it does not say so.
    """

    id: str
    expires: datetime | None = None


class SessionRequest(Invocation):
    """Opens a session, or closes one. Its options are those of a chat by ``InvokeEndpoint``."""

    name = INVOKED_CHAT
    route = INVOCATIONS_ROUTE
    is_repeatable = False

    def question(self, call: Mapping[str, Any]) -> Question:
        return Question(call["messages"], {})

    def body(self, content: Any, settings: Settings, *, stream: bool) -> Mapping[str, Any]:
        return dict(content)

    def answer(self, response: httpx.Response, call: Call) -> Session:
        told = session_params(response.headers)
        name = "sagemaker_new_session_id" if call.content == OPEN else "sagemaker_closed_session_id"
        if name not in told:
            raise MalformedAnswer(f"no {name.removeprefix('sagemaker_').replace('_', ' ')}: it keeps no sessions")
        return Session(told[name], _time(told.get("sagemaker_session_expires")))


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(f"{text}+0000", "%Y-%m-%dT%H:%M:%SZ%z")
    except ValueError:
        return None


session_request = SessionRequest()
