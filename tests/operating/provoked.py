"""What the metrics are about, made to happen: deployments that fail in each way, and the calls that find out."""

from __future__ import annotations

import itertools
from typing import Any

from tests.operating.conftest import NO_CAPACITY, Script, fine
from tests.operating.proxies import Proxy
from tests.scripted import Answer, Seen, chunk, json_answer, sse

_BEGUN = sse(chunk({"content": "Hi"}), done=False)
BUSY = json_answer({"error": {"message": "not now"}}, 503)
# Streams that are cut off, by what the metric calls the cause.
STREAMS = {
    "truncated": Answer([_BEGUN]),
    "timeout": Answer([_BEGUN], end="stall"),
    "connection": Answer([_BEGUN], end="reset"),
    "error_event": Answer([_BEGUN, sse({"error": {"message": "CUDA error", "code": 500}}, done=False)]),
    "malformed": Answer([_BEGUN, b"data: {]\n\n"]),
}
WILDCARD = "sagemaker_openai/*"


def after(times: int, first: Answer) -> Script:
    """A container that answers, and before that so many times with something else."""
    counted = itertools.count()

    def script(seen: Seen) -> Answer | bytes:
        return first if next(counted) < times else fine(seen)

    return script


def answers() -> dict[str, Script]:
    """By the name of the endpoint."""
    return {
        **{endpoint_of(cause): answer for cause, answer in STREAMS.items()},
        "starting": after(2, NO_CAPACITY),
        "asleep": NO_CAPACITY,
        "busy": BUSY,
        "busy-once": after(1, BUSY),
        "down": BUSY,
        "strict": json_answer({"error": {"message": "temperature must be at most 2"}}, 400),
        "denied": json_answer({"message": "not authorized"}, 403),
        "held": Answer([_BEGUN], end="stall"),
    }


def endpoint_of(cause: str) -> str:
    return cause.replace("_", "-")


def _model(name: str, **more: Any) -> dict[str, Any]:
    params = {"model": f"sagemaker_openai/{name}", "litellm_credential_name": "sagemaker", **more}
    return {"model_name": name, "litellm_params": params}


CONFIG = {
    "model_list": [
        *(_model(endpoint_of(cause), timeout=1) for cause in STREAMS),
        _model("starting", aws_sagemaker_cold_start_timeout=4),
        _model("asleep", aws_sagemaker_cold_start_timeout=0.5),
        *(_model(name) for name in ("busy", "busy-once", "down", "strict", "denied", "held", "spare")),
        {**_model("*"), "model_name": WILDCARD},
    ],
    "router_settings": {
        "num_retries": 0,
        "fallbacks": [{"asleep": ["spare"]}, {"denied": ["spare"]}, {"down": ["busy"]}, {"strict": ["spare"]}],
        "allowed_fails": 1000,
    },
    "litellm_settings": {"callbacks": ["litellm_sagemaker_openai.no_fallback_on_bad_request"]},
}


def provoke(proxy: Proxy) -> None:
    """Each event but for connections that are waited for; each call ends as it should."""
    for model, status in {
        "starting": 200,
        "asleep": 200,
        "spare": 200,
        "strict": 400,
        "denied": 403,
        "busy": 503,
    }.items():
        response = proxy.chat(model)
        assert response.status_code == status, (model, response.text)
    assert proxy.chat("busy-once", num_retries=1).status_code == 200
    assert "[DONE]" in proxy.chat("spare", stream=True).text
    for cause in STREAMS:
        assert '"error"' in proxy.chat(endpoint_of(cause), stream=True).text, cause
