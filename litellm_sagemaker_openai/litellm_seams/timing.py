"""Tells LiteLLM how long SageMaker took, so that it can say what its own share of a call's time was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from litellm.litellm_core_utils.core_helpers import get_litellm_metadata_from_kwargs

_WINDOWS = "llm_api_timing_windows"


@contextmanager
def provider_time(logging_obj: Any) -> Iterator[None]:
    """Note the time of what is done inside as the provider's, whether it succeeds or fails.

    It becomes the response header ``x-litellm-overhead-duration-ms`` (tests/operating/test_proxy.py compares it with a
    native provider's). What is noted, and where, is what LiteLLM's own decorator notes for its providers,
    ``track_llm_api_timing`` (litellm_core_utils/logging_utils.py, 1.106.2): the last try's milliseconds, and for the
    proxy, which counts from when it received the request, the time of each try. The decorator itself also reports to
    ``service_callback``, which costs each call some 40 µs.
    """
    began = time.time()
    try:
        yield
    finally:
        ended = time.time()
        details = logging_obj.model_call_details
        details["llm_api_duration_ms"] = (ended - began) * 1000
        metadata = get_litellm_metadata_from_kwargs(details)
        if "litellm_received_at" in metadata:  # the proxy's own, and not a dictionary of a caller's
            earlier = metadata.get(_WINDOWS)
            metadata[_WINDOWS] = (*(earlier if isinstance(earlier, tuple) else ()), (began, ended))
