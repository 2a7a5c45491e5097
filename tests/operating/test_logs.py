"""What the real proxy writes of prompts and answers, and where, as docs/prompts-in-logs.md says; never a token."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.operating.conftest import fine
from tests.operating.proxies import config, proxy, until
from tests.scripted import Answer, Seen, json_answer, scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

ANSWER = "SageMaker's."
ANSWERED, REFUSED = "violet-elephant", "green-giraffe"
CONFIG = {
    "model_list": [
        {
            "model_name": "chat",
            "litellm_params": {"model": "sagemaker_openai/my-endpoint", "litellm_credential_name": "sagemaker"},
        }
    ],
    "router_settings": {"num_retries": 0},
}
SPANS = {"litellm_settings": {"callbacks": ["otel"]}}  # to stdout, OpenTelemetry's console exporter


def script(seen: Seen) -> Answer:
    if REFUSED.encode() in seen.body:
        said = f'Received client error (400) from primary with message "{{"error": {{"message": "{REFUSED}?"}}}}"'
        return json_answer({"error": {"message": said}}, 400)
    return fine(seen)


@dataclass(frozen=True)
class Written:
    """What a proxy wrote of two questions that were answered, whole and streamed, and of one that was refused."""

    log: str
    callbacks: str
    spans: str

    def all(self) -> str:
        return self.log + self.callbacks + self.spans


def spans_in(log: str) -> list[str]:
    """The console exporter writes each as JSON, from a line that is ``{`` to one that is ``}``."""
    return re.findall(r"(?ms)^\{\n.*?^\}$", log)


def written(folder: Path, *configs: Any, **environment: str) -> Written:
    with (
        scripted(script) as sagemaker,
        proxy(folder, CONFIG, *configs, sagemaker=sagemaker.url, environment=environment) as started,
    ):
        answered = [started.chat("chat", question=f"{ANSWERED}?", stream=stream) for stream in (False, True)]
        refused = started.chat("chat", question=f"{REFUSED}?")
        assert refused.status_code == 400
        reports = [started.reported(call.headers["x-litellm-call-id"], "success") for call in answered]
        reports.append(started.reported(refused.headers["x-litellm-call-id"], "failure"))
        spans: list[str] = []
        for _ in until("the spans of these calls") if configs else ():
            spans = spans_in(started.log)
            if sum('"name": "litellm_request"' in span for span in spans) == 3:
                break
        log = started.log
        for span in spans:
            log = log.replace(span, "")
        found = Written(log, json.dumps(reports), "\n".join(spans))
        assert [secret for secret in ("sagemaker-api-key-", "Bearer ", started.key) if secret in found.all()] == []
        return found


def test_by_default_the_log_has_none_and_callbacks_have_all(tmp_path: Path) -> None:
    found = written(tmp_path)
    assert (ANSWERED in found.log, ANSWER in found.log) == (False, False)
    assert (ANSWERED in found.callbacks, ANSWER in found.callbacks) == (True, True)
    # What the container said of a request that it refused.
    assert f"the container answered 400: {REFUSED}?" in found.log


def test_turned_off_callbacks_and_spans_have_none_either(tmp_path: Path) -> None:
    found = written(tmp_path, config("prompts_in_logs.yaml"))
    assert found.spans
    assert (ANSWERED in found.all(), ANSWER in found.all()) == (False, False)
    for text in (found.log, found.callbacks, found.spans):
        assert f"the container answered 400: {REFUSED}?" in text


def test_spans_and_the_debug_log_have_all(tmp_path: Path) -> None:
    found = written(tmp_path, SPANS, LITELLM_LOG="DEBUG")  # as --detailed_debug
    assert (ANSWERED in found.spans, ANSWER in found.spans) == (True, True)
    assert (ANSWERED in found.log, ANSWER in found.log) == (True, True)
