"""The log that the operator reads, and no caller: LiteLLM's own."""

from __future__ import annotations

import logging

operator_log = logging.getLogger("LiteLLM")
