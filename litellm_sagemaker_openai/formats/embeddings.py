"""Embeddings: inputs and parameters → the body for the container's ``/invocations``; its answer → LiteLLM's. Pure.

``/openai/v1`` routes chat completions only, so embeddings go over InvokeEndpoint, whose body is the container's own
affair. What is asked for follows ``aws_sagemaker_embedding_format``; of the answers each known shape is understood,
whatever was asked: OpenAI's ``{"data": […]}``, a list of vectors, ``{"embedding": …}`` with one or a list of them.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from typing import Any

import litellm
from litellm import EmbeddingResponse

from litellm_sagemaker_openai.formats.texts_or_ids import FORM, are, are_texts_or_ids
from litellm_sagemaker_openai.formats.whole_answer import served_model
from litellm_sagemaker_openai.litellm_seams.answers import embedding_response as as_litellms
from litellm_sagemaker_openai.refusals import Refusal
from litellm_sagemaker_openai.upstream_errors import (
    AnswerError,
    FailureKind,
    MalformedAnswer,
    StreamedError,
    UpstreamError,
    error_in,
    quoted,
)

# Each format's name → the field of its inputs. vLLM's /invocations takes OpenAI's request (vLLM's
# entrypoints/sagemaker/api_router.py: by the body's shape), the /invocations of Text Embeddings Inference `inputs`
# (its router/src/http/server.rs: the route of `embed`), as Hugging Face's inference toolkit does, and JumpStart's text
# embedding models `text_inputs`.
FORMATS: Mapping[str, str] = {"openai": "input", "huggingface": "inputs", "jumpstart": "text_inputs"}
# OpenAI's alone. How vectors are written down is then done here.
_OPENAI_ONLY = ("encoding_format", "user")


def embedding_body(
    inputs: Any, parameters: Mapping[str, Any], *, format: str = "openai", model_name: str = ""
) -> dict[str, Any]:
    """The request's body.

    Args:
        inputs: what to embed, as OpenAI's ``input``.
        parameters: the container's parameters. Those that only OpenAI's format knows go into no other.
        format: a key of ``FORMATS``.
        model_name: the body's ``model``; the other formats have none.

    Raises:
        ValueError: inputs that are nothing of the kind, an unknown ``encoding_format``.
    """
    _count(inputs)
    if parameters.get("encoding_format") not in (None, "float", "base64"):
        encoding = parameters["encoding_format"]
        raise Refusal(f"encoding_format must be 'float' or 'base64', not {encoding!r}", "encoding_format")
    if format == "openai":
        return {"model": model_name, FORMATS[format]: inputs, **parameters}
    known = {name: value for name, value in parameters.items() if name not in _OPENAI_ONLY}
    return {FORMATS[format]: inputs, **known}


def embedding_response(
    answer: Any,
    *,
    inputs: Any,
    parameters: Mapping[str, Any],
    model: str,
    model_response: EmbeddingResponse,
    headers: Mapping[str, str],
) -> EmbeddingResponse:
    """LiteLLM's response for a container's answer.

    It names ``model``, as whole answers and chunks do; the container's name is in ``_hidden_params``.
    The vectors are in the order of the inputs and as ``encoding_format`` asks: base64 of little-endian 32-bit floats,
    or lists of floats; where the container wrote them down otherwise, they are converted. The usage is the container's.
    A container that gives none gets LiteLLM's count: its tokenizer is not the container's.

    Raises:
        StreamedError: the answer is an error, although its status was 200.
        MalformedAnswer: it holds no embeddings, not as many as there are inputs, or other ones than were asked for.
    """
    upstream = error_in(answer) if isinstance(answer, Mapping) else None
    if upstream is not None:
        raise StreamedError(upstream)
    vectors = [_as_asked(vector, parameters) for vector in _vectors(answer)]
    if len(vectors) != _count(inputs):
        raise MalformedAnswer(f"{len(vectors)} embeddings for {_count(inputs)} inputs")
    said = answer if isinstance(answer, Mapping) else {}
    openai = {
        "object": "list",
        "model": model,
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)],
        "usage": _usage(said.get("usage"), inputs, model),
    }
    response = as_litellms(openai, model_response, headers)
    response._hidden_params.update(served_model(said))
    return response


def _count(inputs: Any) -> int:
    """How many embeddings are asked for.

    Raises:
        ValueError: the inputs have none of OpenAI's forms.
    """
    if not are_texts_or_ids(inputs):
        raise ValueError(f"input must be {FORM}; not empty, and not {type(inputs).__name__} of anything else")
    return 1 if isinstance(inputs, str) or are(int, inputs) else len(inputs)


def _vectors(answer: Any) -> list[Any]:
    """The embeddings in an answer, in the order of the inputs, whatever they turn out to be."""
    found = answer
    if isinstance(answer, Mapping):
        found = next((answer[name] for name in ("data", "embedding", "embeddings") if name in answer), None)
    if not isinstance(found, list) or not found:
        raise MalformedAnswer(f"no embeddings: {quoted(answer)}")
    if all(isinstance(each, Mapping) for each in found):
        return _in_order(found)
    return found if isinstance(found[0], list) else [found]


def _in_order(data: list[Mapping[str, Any]]) -> list[Any]:
    """The embeddings of OpenAI's objects, which say which input they belong to."""
    indices = [position if each.get("index") is None else each["index"] for position, each in enumerate(data)]
    if not are(int, indices) or sorted(indices) != list(range(len(data))):
        raise MalformedAnswer(f"embeddings whose indices are {quoted(indices)}")
    by_index = {index: each.get("embedding") for index, each in zip(indices, data, strict=True)}
    return [by_index[index] for index in range(len(data))]


def _as_asked(vector: Any, parameters: Mapping[str, Any]) -> str | list[float]:
    """An embedding in the ``encoding_format`` that was asked for, once it is one: numbers, of as many dimensions."""
    as_base64 = parameters.get("encoding_format") == "base64"
    if isinstance(vector, str):
        if as_base64 and vector:
            return vector
        vector = _decoded(vector)
    if isinstance(vector, list) and vector and isinstance(vector[0], list):
        raise MalformedAnswer(
            "a vector for each token rather than for each input, as a feature-extraction pipeline gives them: it needs "
            "a container that pools them, such as Text Embeddings Inference or vLLM"
        )
    if not isinstance(vector, list) or not vector or not _are_finite(vector):
        raise MalformedAnswer(f"an embedding that is not a list of numbers: {quoted(vector)}")
    dimensions = parameters.get("dimensions")
    if dimensions is not None and len(vector) != dimensions:
        said = f"the container gives embeddings of {len(vector)} dimensions, not of {dimensions}: leave dimensions out"
        raise AnswerError(UpstreamError(400, said, failure=FailureKind.BROKEN))
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if as_base64 else vector


def _are_finite(vector: list[Any]) -> bool:
    try:
        return all(map(math.isfinite, vector))
    except (TypeError, OverflowError):
        return False


def _decoded(vector: str) -> list[float]:
    try:
        return [each for (each,) in struct.iter_unpack("<f", base64.b64decode(vector, validate=True))]
    except (binascii.Error, struct.error) as error:
        raise MalformedAnswer(f"an embedding that is not base64 of 32-bit floats: {quoted(vector)}") from error


def _usage(said: Any, inputs: Any, model: str) -> dict[str, int]:
    prompt = said.get("prompt_tokens") if isinstance(said, Mapping) else None
    if not isinstance(prompt, int):
        prompt = _count_tokens(inputs, model)
        return {"prompt_tokens": prompt, "completion_tokens": 0, "total_tokens": prompt}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said.get("completion_tokens") or 0,
        "total_tokens": said.get("total_tokens") or prompt,
    }


def _count_tokens(inputs: Any, model: str) -> int:
    if are(int, inputs):
        return len(inputs)
    if are(list, inputs):
        return sum(map(len, inputs))
    # One by one: LiteLLM counts a list of texts as one text.
    return sum(
        litellm.token_counter(model=model, text=text) for text in ([inputs] if isinstance(inputs, str) else inputs)
    )
