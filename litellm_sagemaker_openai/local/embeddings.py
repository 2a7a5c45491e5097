"""The built-in container's embeddings: each text's words, counted, in vLLM's shape. Pure.

The same words give the same vector, and texts that share words give vectors that are near each other.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import Any

from litellm_sagemaker_openai.local.echo import EchoConfig, tokenize
from litellm_sagemaker_openai.local.echo_checks import Body, check_embedding_body, check_embedding_length

DIMENSIONS = 8


def embed(
    body: Body, config: EchoConfig | None = None, *, embedding_id: str = "embd-echo", created: int = 0
) -> dict[str, Any]:
    """The answer to an embedding request.

    Raises:
        ContainerRefusal: the request is refused.
    """
    config = config or EchoConfig()
    check_embedding_body(body, config.served_name)
    texts = [_tokens(each) for each in _inputs(body["input"])]
    for text in texts:
        check_embedding_length(len(text), config.context_length)
    vectors = [_vector(text, body.get("dimensions") or DIMENSIONS) for text in texts]
    encode = _as_base64 if body.get("encoding_format") == "base64" else _as_floats
    tokens = sum(map(len, texts))
    return {
        "id": embedding_id,
        "object": "list",
        "created": created,
        "model": config.served_name,
        "data": [
            {"index": index, "object": "embedding", "embedding": encode(vector)} for index, vector in enumerate(vectors)
        ],
        "usage": {
            "prompt_tokens": tokens,
            "total_tokens": tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }


def _inputs(given: Any) -> list[Any]:
    return given if isinstance(given, list) and not isinstance(given[0], int) else [given]


def _tokens(text: str | list[int]) -> list[str]:
    return tokenize(text) if isinstance(text, str) else [str(token) for token in text]


def _vector(tokens: list[str], dimensions: int) -> bytes:
    """The words, counted, as a vector of length 1 in packed 32-bit floats, which is what a model's are."""
    counts = [0] * dimensions
    for token in tokens:
        counts[int.from_bytes(hashlib.sha256(token.strip().lower().encode()).digest()[:8], "big") % dimensions] += 1
    if not any(counts):
        counts[0] = 1  # an empty text
    length = math.hypot(*counts)
    return struct.pack(f"<{dimensions}f", *(count / length for count in counts))


def _as_floats(packed: bytes) -> list[float]:
    return [each for (each,) in struct.iter_unpack("<f", packed)]


def _as_base64(packed: bytes) -> str:
    return base64.b64encode(packed).decode()
