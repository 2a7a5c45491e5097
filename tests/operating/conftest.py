"""Fixtures: Routers that are discarded, scripted servers, the Bedrock stand-in; the deployments to route between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.operating.bedrock import bedrock
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse, usage_chunk

NO_CAPACITY = json_answer(
    {"error": {"message": "Inference Component has no capacity to process this request. ApplicationAutoScaling …"}},
    400,
    **{"x-amzn-RequestId": "refused-1"},
)
Script = Callable[[Seen], Answer | bytes] | Answer | bytes
MakeServer = Callable[[Script], Scripted]
MakeRouter = Callable[..., Any]  # of `Router`, whose methods' types are too many to tell apart


def fine(seen: Seen) -> Answer:
    """A container's answer, streamed where that was asked for."""
    headers = {"x-amzn-RequestId": "served-1"}
    if not seen.json.get("stream"):
        return json_answer(completion("SageMaker's."), 200, **headers)
    pieces = [chunk({"role": "assistant", "content": ""}), chunk({"content": "SageMaker's."}), chunk({}, finish="stop")]
    return Answer([sse(*pieces, usage_chunk(11, 7))], headers=headers)


def deployment(model: str, group: str, *, info: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    return {"model_name": group, "litellm_params": {"model": model, **params}, "model_info": info or {}}


def on_sagemaker(
    server: Scripted, *, group: str = "m", model: str = "sagemaker_openai/e", **params: Any
) -> dict[str, Any]:
    """A deployment on a scripted server; with another ``model``, a native provider's on the same server."""
    return deployment(model, group, api_base=server.url, api_key="t", **params)


async def text_of(answer: Any) -> str:
    """The text of a whole answer, or of a stream read to its end."""
    if hasattr(answer, "choices"):
        return str(answer.choices[0].message.content)
    return "".join([piece.choices[0].delta.content or "" async for piece in answer])


@pytest.fixture
def servers() -> Iterator[MakeServer]:
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(scripted(script))


@pytest.fixture
def bedrock_server() -> Iterator[Scripted]:
    with bedrock() as server:
        yield server
