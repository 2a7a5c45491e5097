"""What rooms record, kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from litellm_sagemaker_openai.monitoring import recorder
from litellm_sagemaker_openai.monitoring.recorder import publish_to
from litellm_sagemaker_openai.monitoring.table import Metric


class Events:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.all: list[tuple[str, tuple[str, ...]]] = []

    def publish(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        assert value >= 0
        self.all.append((metric.stem, labels))


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_publishers", ())
    monkeypatch.setattr(recorder, "_seen", {})


@pytest.fixture
def events(nobody_else: None) -> Iterator[Events]:
    kept = Events()
    publish_to(kept)
    yield kept
    publish_to()
