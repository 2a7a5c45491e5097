"""LiteLLM's wrapper around a stream: without what it does for nothing, and with a way to close it.

What LiteLLM does: the ``chunk_creator`` of ``CustomStreamWrapper`` makes a response of its own for each chunk of a
custom provider and throws it away, a third of what a chunk costs. All else is as it is: rules, hooks, logging, usage,
errors. And a synchronous stream cannot be closed.
Seen on: LiteLLM 1.106.2; 1.108.0 has a ``close``.
Without it: LiteLLM's wrapper as it is.
Needed until: it does no more for a chunk than this; tests/formats/test_stream_fidelity.py compares what callers get of
either, and tests/benchmarks/test_work.py counts the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litellm import CustomStreamWrapper
from litellm.types.utils import ModelResponseStream

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.upstream_errors import PROVIDER


class _ShortCut(CustomStreamWrapper):
    """For chunks in the order of ``chunks.ChunkStream``: the first choice's finish reason is alone, and comes last."""

    def chunk_creator(self, chunk: ModelResponseStream) -> ModelResponseStream | None:
        """The chunk, as LiteLLM passes on a custom provider's; None for the last, which LiteLLM makes anew."""
        self.response_id = chunk.id
        self.created = self.created or chunk.created
        if chunk.choices and chunk.choices[0].finish_reason:
            self.received_finish_reason = chunk.choices[0].finish_reason
            return None
        return chunk


def wrapped(stream: Any, *, model: str, logging_obj: Any, headers: Mapping[str, str]) -> CustomStreamWrapper:
    """LiteLLM's wrapper around a stream that has begun.

    Args:
        stream: an asynchronous iterator over chunks.
        model: as the caller named it.
        logging_obj: LiteLLM's.
        headers: the answer's.
    """
    short = lookup.attribute(CustomStreamWrapper, "chunk_creator") is not None
    return (_ShortCut if short else CustomStreamWrapper)(
        completion_stream=stream,
        model=model,
        custom_llm_provider=PROVIDER,
        logging_obj=logging_obj,
        _response_headers=dict(headers),
    )


def install() -> None:
    """Give LiteLLM's streams a ``close`` where they have none. Idempotent.

    A provider cannot do it for its own: LiteLLM puts a synchronous stream into a ``CustomStreamWrapper`` after the
    provider gave it away (``_complete_custom_providers`` in main.py). LiteLLM's Router closes what has a ``close``, so
    for the streams of others it does nothing.
    """
    if lookup.attribute(CustomStreamWrapper, "close") is None:
        CustomStreamWrapper.close = _close  # type: ignore[attr-defined]


def _close(wrapper: Any) -> None:
    """End a synchronous stream of this provider's that is not read any more, and free its connection at once."""
    stream = wrapper.completion_stream
    if wrapper.custom_llm_provider == PROVIDER and hasattr(stream, "close"):
        wrapper.completion_stream, wrapper.sent_last_chunk = iter(()), True  # LiteLLM makes up no end of its own
        stream.close()
