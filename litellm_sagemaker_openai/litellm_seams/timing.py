"""Tells LiteLLM how long SageMaker took, so that it can say what its own share of a call's time was.

What LiteLLM does: ``track_llm_api_timing`` (litellm_core_utils/logging_utils.py) notes for its native providers the
last try's milliseconds in ``model_call_details``, and for the proxy, which counts from when it received the request,
the time of each try in the call's metadata. The decorator itself also reports to ``service_callback``, which costs
each call some 40 µs.
Seen on: LiteLLM 1.106.2.
Without them: the proxy counts SageMaker's time as its own.
Needed until: tests/litellm_seams/test_litellm_alone.py::test_does_not_time_the_provider fails.
tests/litellm_seams/test_timing.py shows what is noted, and
tests/operating/test_proxy.py compares the response header ``x-litellm-overhead-duration-ms`` with a native provider's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from litellm_sagemaker_openai.litellm_seams import lookup

_WINDOWS = "llm_api_timing_windows"


@contextmanager
def provider_time(logging_obj: Any) -> Iterator[None]:
    """Note the time of what is done inside as the provider's, whether it succeeds or fails."""
    began = time.time()
    try:
        yield
    finally:
        ended = time.time()
        details = lookup.attribute(logging_obj, "model_call_details")
        details = {} if details is None else details
        details["llm_api_duration_ms"] = (ended - began) * 1000
        metadata_of = lookup.in_module("litellm.litellm_core_utils.core_helpers", "get_litellm_metadata_from_kwargs")
        metadata = {} if metadata_of is None else metadata_of(details)
        if "litellm_received_at" in metadata:  # the proxy's own, and not a dictionary of a caller's
            earlier = metadata.get(_WINDOWS)
            metadata[_WINDOWS] = (*(earlier if isinstance(earlier, tuple) else ()), (began, ended))
