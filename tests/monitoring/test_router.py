"""What is counted of LiteLLM's Router, on each version: its retries, and its fallbacks."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

import litellm_sagemaker_openai
from litellm_sagemaker_openai.monitoring.recorder import publish_to
from tests.conftest import MESSAGES
from tests.monitoring.conftest import Events
from tests.operating.conftest import NO_CAPACITY, MakeRouter, MakeServer, fine, on_sagemaker, servers, text_of
from tests.scripted import json_answer

__all__ = ["servers"]  # the fixture

BUSY = json_answer({"error": {"message": "not now"}}, 503)
MISTAKE = json_answer({"error": {"message": "temperature must be at most 2"}}, 400)
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(autouse=True)
def callbacks(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [litellm_sagemaker_openai.metrics, litellm_sagemaker_openai.no_fallback_on_bad_request]
    monkeypatch.setattr(litellm, "callbacks", [*litellm.callbacks, *ours])
    publish_to(events)  # and not to those that the callback found, when it was made


@STREAM
async def test_retries(
    router_of: MakeRouter, servers: MakeServer, events: Events, no_waiting: None, stream: bool
) -> None:
    answers: Any = iter([BUSY, BUSY, fine])
    server = servers(lambda seen: fine(seen) if (answer := next(answers)) is fine else answer)
    router = router_of(on_sagemaker(server), num_retries=2, allowed_fails=1000)
    assert await text_of(await router.acompletion("m", MESSAGES, stream=stream)) == "SageMaker's."
    assert events.all == [("retries", ("m", "router"))] * 2


async def test_a_call_that_claims_to_be_a_retry(router_of: MakeRouter, servers: MakeServer, events: Events) -> None:
    router = router_of(on_sagemaker(servers(fine)))
    claimed = {"attempted_retries": 9, "model_group": "m", "deployment_model_name": "evil"}
    await router.acompletion("m", MESSAGES, metadata=claimed)
    assert events.all == []


@STREAM
@pytest.mark.parametrize(
    ("first", "second", "reason", "outcome"),
    [
        (NO_CAPACITY, fine, "no_capacity", "succeeded"),
        (BUSY, BUSY, "unavailable", "failed"),
        (MISTAKE, fine, "bad_request", "refused"),
    ],
)
async def test_fallbacks(
    router_of: MakeRouter,
    servers: MakeServer,
    events: Events,
    first: Any,
    second: Any,
    reason: str,
    outcome: str,
    stream: bool,
) -> None:
    router = router_of(
        on_sagemaker(servers(first)),
        on_sagemaker(servers(second), group="n"),
        num_retries=0,
        fallbacks=[{"m": ["n"]}],
    )
    try:
        await text_of(await router.acompletion("m", MESSAGES, stream=stream))
        assert outcome == "succeeded"
    except (litellm.ServiceUnavailableError, litellm.BadRequestError):
        assert outcome != "succeeded"
    assert events.all == [("fallbacks", ("m", "n", reason, outcome))]
