"""What the echo container refuses, and in which words: vLLM's own where it has some. Pure.

Types and structure are pydantic's to check, as they are in vLLM. Our own code is what vLLM words itself: ranges, tools,
the model's name and the context's length, which clients and this package's errors are tested with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

Body = Mapping[str, Any]

MAX_CHOICES = 128
MAX_TOP_LOGPROBS = 20  # vLLM's default for --max-logprobs
MAX_DIMENSIONS = 4096
MAX_STOPS = 64
MAX_INPUTS = 2048  # OpenAI's, for embeddings
TEXT_TYPES = ("text", "refusal")  # such a part has its text under its type's name
_PART_TYPES = (*TEXT_TYPES, "image_url", "input_audio", "audio_url", "video_url", "file")


class ContainerRefusal(Exception):
    """The container refuses the request: an HTTP status and vLLM's error body."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


class _Model(BaseModel):
    model_config = ConfigDict(strict=True)  # "1" and true are not numbers


class _Message(_Model):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[str | dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Function(_Model):
    name: str = Field(min_length=1)


class _Tool(_Model):
    function: _Function


class _JsonSchema(_Model):
    schema_: dict[str, Any] = Field(alias="schema")


class _PlainFormat(_Model):
    type: Literal["text", "json_object"]


class _SchemaFormat(_Model):
    type: Literal["json_schema"]
    json_schema: _JsonSchema


class _Sampling(_Model):
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None


class _ChatRequest(_Sampling):
    model: str | None = None
    messages: list[_Message]
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Tool | None = None
    response_format: Annotated[_PlainFormat | _SchemaFormat, Field(discriminator="type")] | None = None


_Ids = Annotated[list[NonNegativeInt], Field(min_length=1)]


class _EmbeddingRequest(_Model):
    model: str | None = None
    input: Annotated[str | list[str] | _Ids | list[_Ids], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


class _TextCompletionRequest(_Sampling):
    model: str | None = None
    prompt: Annotated[str | list[str] | _Ids | list[_Ids], Field(min_length=1)]
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    best_of: int | None = None


_Texts = Annotated[list[str], Field(min_length=1)]


class _RerankRequest(_Model):
    model: str | None = None
    query: str
    documents: _Texts
    top_n: int = 0


class _TeiRerankRequest(_Model):
    query: str
    texts: _Texts
    return_text: bool = False


_Request = TypeVar("_Request", bound=_Model)


def parse_body(raw: bytes) -> Body:
    """The request's JSON object.

    Raises:
        ContainerRefusal: it is not one.
    """
    try:
        body = json.loads(raw, parse_constant=_no_constant)
        # Finds what an answer could not repeat: lone surrogates, and 1e999, which is read as infinity.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        _refuse_fields({"type": "json_invalid", "loc": (), "msg": "JSON decode error", "input": str(error)})
    if not isinstance(body, dict):
        message = "Input should be a valid dictionary"
        _refuse_fields({"type": "model_attributes_type", "loc": (), "msg": message, "input": body})
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_fields(*errors: Mapping[str, Any]) -> NoReturn:
    """In the manner of vLLM, which passes on pydantic's list of errors, with the caller's value in it."""
    raise ContainerRefusal(str([{**error, "loc": ("body", *error["loc"])} for error in errors]))


def _validated(request: type[_Request], body: Body) -> _Request:
    try:
        return request.model_validate(dict(body))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
        if any(each["loc"][0] == "input" for each in errors):
            # vLLM's /invocations, for a body that is not a request of a kind that it serves.
            kinds = "['ChatCompletionRequest', 'EmbeddingCompletionRequest']"
            raise ContainerRefusal(f"Cannot find suitable handler for request. Expected one of: {kinds}") from error
        _refuse_fields(*errors)


def _require(condition: bool, message: str, param: str) -> None:
    if not condition:
        raise ContainerRefusal(message, param=param)


def check_body(body: Body, served_name: str) -> None:
    """Everything that can be judged without counting tokens.

    Raises:
        ContainerRefusal: at the first thing that is wrong.
    """
    request = _validated(_ChatRequest, body)
    _check_model(request.model, served_name)
    _require(request.messages != [], "messages must not be empty", "messages")
    for position, message in enumerate(request.messages):
        for part in message.content or ():
            if isinstance(part, dict):
                _check_part(part, position)
    _check_sampling(request)
    _check_top_logprobs(request)
    _check_tools(request)


def check_text_completion_body(body: Body, served_name: str) -> None:
    """Everything that can be judged of a text completion without counting tokens.

    Raises:
        ContainerRefusal: at the first thing that is wrong.
    """
    if not body.get("prompt"):
        raise ContainerRefusal(
            "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)", param="prompt"
        )
    request = _validated(_TextCompletionRequest, body)
    _check_model(request.model, served_name)
    _check_sampling(request)
    most = request.best_of
    _require(most is None or most >= (request.n or 1), f"best_of must be at least n, got {most}.", "best_of")


def check_embedding_body(body: Body, served_name: str) -> None:
    """Everything that can be judged of an embedding request without counting tokens.

    Raises:
        ContainerRefusal: at the first thing that is wrong.
    """
    request = _validated(_EmbeddingRequest, body)
    _check_model(request.model, served_name)
    if isinstance(request.input, list) and not isinstance(request.input[0], int):
        length = len(request.input)
        _require(length <= MAX_INPUTS, f"input must have at most {MAX_INPUTS} entries, got {length}.", "input")
    dimensions = 1 if request.dimensions is None else request.dimensions
    _require(dimensions >= 1, "Dimensions must be greater than 0", "dimensions")
    _require(dimensions <= MAX_DIMENSIONS, f"Dimensions must be at most {MAX_DIMENSIONS}", "dimensions")


def check_rerank_body(body: Body, served_name: str) -> None:
    """Everything that can be judged of a rerank request without counting tokens, in vLLM's form or TEI's.

    Raises:
        ContainerRefusal: at the first thing that is wrong.
    """
    if "texts" in body:
        _validated(_TeiRerankRequest, body)
    else:
        _check_model(_validated(_RerankRequest, body).model, served_name)


def check_embedding_length(tokens: int, context_length: int) -> None:
    """One input's tokens, against the context.

    Raises:
        ContainerRefusal: they do not fit.
    """
    if tokens > context_length:
        raise ContainerRefusal(
            f"This model's maximum context length is {context_length} tokens. However, you requested {tokens} tokens "
            "in the input for embedding generation. Please reduce the length of the input.",
            param="input_tokens",
        )


def check_lengths(body: Body, prompt_tokens: int, context_length: int) -> int:
    """The number of tokens that the answer may have.

    Raises:
        ContainerRefusal: prompt and answer do not fit into the context.
    """
    if prompt_tokens >= context_length:
        raise ContainerRefusal(
            f"This model's maximum context length is {context_length} tokens. However, you requested {prompt_tokens} "
            "tokens in the messages, Please reduce the length of the messages.",
            param="input_tokens",
        )
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    limit = body.get(name)
    if limit is None:
        return context_length - prompt_tokens
    if limit > context_length:
        raise ContainerRefusal(
            f"{name}={limit} cannot be greater than max_model_len=max_total_tokens={context_length}. "
            f"Please request fewer output tokens. (parameter={name}, value={limit})",
            param=name,
        )
    if prompt_tokens + limit > context_length:
        raise ContainerRefusal(
            f"This model's maximum context length is {context_length} tokens. However, you requested {limit} output "
            f"tokens and your prompt contains {prompt_tokens} input tokens, for a total of {prompt_tokens + limit} "
            "tokens. Please reduce the length of the input prompt or the number of requested output tokens. "
            f"(parameter=input_tokens, value={prompt_tokens})",
            param="input_tokens",
        )
    return int(limit)


def _check_model(model: str | None, served_name: str) -> None:
    if model and model != served_name:
        raise ContainerRefusal(f"The model `{model}` does not exist.", status=404, kind="NotFoundError", param="model")


def _check_part(part: Mapping[str, Any], position: int) -> None:
    kind = part.get("type")
    if kind not in _PART_TYPES:
        raise ContainerRefusal(f"Unknown part type: {kind}", param="messages")
    where = ("messages", position, "content", kind)
    is_text = isinstance(part.get(kind), str)
    if kind in TEXT_TYPES and not is_text:
        _refuse_fields({"type": "string_type", "loc": where, "msg": "Input should be a valid string", "input": part})
    if kind.endswith("_url") and is_text:
        _refuse_fields({"type": "dict_type", "loc": where, "msg": "Input should be a valid dictionary", "input": part})


def _check_sampling(request: _Sampling) -> None:
    temperature, top_p = request.temperature, request.top_p
    streams = bool(request.stream) or request.stream_options is None
    _require(streams, "Stream options can only be defined when `stream=True`.", "stream_options")
    if temperature is not None:
        _require(0 <= temperature <= 2, f"temperature must be in [0, 2], got {temperature}.", "temperature")
    if top_p is not None:
        _require(0 < top_p <= 1, f"top_p must be in (0, 1], got {top_p}.", "top_p")
    for name in ("max_tokens", "max_completion_tokens", "n"):
        count = getattr(request, name)
        _require(count is None or count >= 1, f"{name} must be at least 1, got {count}.", name)
    _require((request.n or 1) <= MAX_CHOICES, f"n must be at most {MAX_CHOICES}, got {request.n}.", "n")
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    _require(len(stops) <= MAX_STOPS, f"stop must have at most {MAX_STOPS} strings, got {len(stops)}.", "stop")
    _require("" not in stops, "stop cannot contain an empty string.", "stop")


def _check_top_logprobs(request: _ChatRequest) -> None:
    top = request.top_logprobs
    if top is not None:
        needed = "when using `top_logprobs`, `logprobs` must be set to true."
        _require(bool(request.logprobs), needed, "top_logprobs")
        too_many = f"Requested sample logprobs of {top}, which is greater than max allowed: {MAX_TOP_LOGPROBS}"
        _require(0 <= top <= MAX_TOP_LOGPROBS, too_many, "top_logprobs")


def _check_tools(request: _ChatRequest) -> None:
    choice, names = request.tool_choice, [tool.function.name for tool in request.tools or ()]
    if choice in (None, "none", "auto"):
        return
    _require(names != [], "When using `tool_choice`, `tools` must be set.", "tool_choice")
    unknown = "The tool specified in `tool_choice` does not match any of the specified `tools`"
    _require(not isinstance(choice, _Tool) or choice.function.name in names, unknown, "tool_choice")
