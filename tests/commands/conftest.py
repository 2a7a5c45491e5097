"""What holds for the tests of all commands."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """The level of LiteLLM's log, which the commands set, is restored."""
    logger = logging.getLogger("LiteLLM")
    level = logger.level
    yield
    logger.setLevel(level)
