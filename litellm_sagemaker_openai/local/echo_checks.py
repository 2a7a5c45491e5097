"""What the echo container refuses, and in which words: vLLM's own where it has some. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

Body = Mapping[str, Any]

MAX_CHOICES = 128
MAX_TOP_LOGPROBS = 20  # vLLM's default for --max-logprobs
MAX_DIMENSIONS = 4096
MAX_STOPS = 64
MAX_INPUTS = 2048  # OpenAI's, for embeddings
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
PART_TYPES = ("text", "refusal", "image_url", "input_audio", "audio_url", "video_url", "file")


class ContainerRefusal(Exception):
    """The container refuses the request: an HTTP status and vLLM's error body."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


def parse_body(raw: bytes) -> Body:
    """The request's JSON object.

    Raises:
        ContainerRefusal: it is none.
    """
    try:
        body = json.loads(raw, parse_constant=_no_constant)
        # Finds what an answer could not repeat: lone surrogates, and 1e999, which is read as infinity.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        _refuse_field("json_invalid", (), "JSON decode error", str(error))
    if not isinstance(body, dict):
        _refuse_field("model_attributes_type", (), "Input should be a valid dictionary", body)
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _refuse_field(kind: str, where: tuple[str | int, ...], message: str, given: Any = None) -> NoReturn:
    """In the manner of vLLM, which passes on pydantic's list of errors, with the caller's value in it."""
    raise ContainerRefusal(str([{"type": kind, "loc": ("body", *where), "msg": message, "input": given}]))


def check_body(body: Body, served_name: str) -> None:
    """Everything that can be judged without counting tokens.

    Raises:
        ContainerRefusal: at the first thing that is wrong.
    """
    _check_model(body.get("model"), served_name)
    _check_messages(body)
    _check_stream(body)
    _check_sampling(body)
    _check_tools(body)
    _check_response_format(body.get("response_format"))


def check_embedding_body(body: Body, served_name: str) -> None:
    """Everything that can be judged of an embedding request without counting tokens.

    Raises:
        ContainerRefusal: at the first thing that is wrong.
    """
    _check_model(body.get("model"), served_name)
    inputs = body.get("input")
    texts = isinstance(inputs, str) or _all_strings(inputs)
    if not inputs or not (texts or _all_ids(inputs) or (isinstance(inputs, list) and all(map(_all_ids, inputs)))):
        # vLLM's /invocations, for a body that is no request of a kind that it serves.
        kinds = "['ChatCompletionRequest', 'EmbeddingCompletionRequest']"
        raise ContainerRefusal(f"Cannot find suitable handler for request. Expected one of: {kinds}")
    if len(inputs) > MAX_INPUTS and isinstance(inputs, list) and not _all_ids(inputs):
        raise ContainerRefusal(f"input must have at most {MAX_INPUTS} entries, got {len(inputs)}.", param="input")
    if body.get("encoding_format") not in (None, "float", "base64"):
        message = "Input should be 'float' or 'base64'"
        _refuse_field("literal_error", ("encoding_format",), message, body["encoding_format"])
    _check_type(body, "dimensions", int, "integer")
    dimensions = body.get("dimensions")
    if dimensions is not None and dimensions < 1:
        raise ContainerRefusal("Dimensions must be greater than 0", param="dimensions")
    if dimensions is not None and dimensions > MAX_DIMENSIONS:
        raise ContainerRefusal(f"Dimensions must be at most {MAX_DIMENSIONS}", param="dimensions")


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


def _check_model(model: Any, served_name: str) -> None:
    if model is not None and not isinstance(model, str):
        _refuse_field("string_type", ("model",), "Input should be a valid string", model)
    if model and model != served_name:
        raise ContainerRefusal(f"The model `{model}` does not exist.", status=404, kind="NotFoundError", param="model")


def _check_messages(body: Body) -> None:
    if "messages" not in body:
        _refuse_field("missing", ("messages",), "Field required", dict(body))
    messages = body["messages"]
    if not isinstance(messages, list):
        _refuse_field("list_type", ("messages",), "Input should be a valid list", messages)
    if not messages:
        raise ContainerRefusal("messages must not be empty", param="messages")
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            _refuse_field("dict_type", ("messages", position), "Input should be a valid dictionary", message)
        if message.get("role") not in _ROLES:
            _refuse_field("literal_error", ("messages", position, "role"), f"Input should be one of {_ROLES}", message)
        _check_content(message.get("content"), position)
        calls = message.get("tool_calls")
        well_formed = isinstance(calls, list) and all(isinstance(call, dict) for call in calls)
        if calls is not None and not well_formed:
            _refuse_field("list_type", ("messages", position, "tool_calls"), "Input should be a valid list", calls)


def _check_content(content: Any, position: int) -> None:
    where = ("messages", position, "content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        _refuse_field("string_type", where, "Input should be a valid string", content)
    for part in content:
        if isinstance(part, str):
            continue
        if not isinstance(part, dict):
            _refuse_field("dict_type", where, "Input should be a valid dictionary", part)
        kind = part.get("type")
        if kind not in PART_TYPES:
            raise ContainerRefusal(f"Unknown part type: {kind}", param="messages")
        if kind in ("text", "refusal") and not isinstance(part.get(kind), str):
            _refuse_field("string_type", (*where, kind), "Input should be a valid string", part)
        if kind.endswith("_url") and isinstance(part.get(kind), str):
            _refuse_field("dict_type", (*where, kind), "Input should be a valid dictionary", part)


def _check_stream(body: Body) -> None:
    _check_type(body, "stream", bool, "boolean")
    _check_type(body, "stream_options", dict, "dictionary")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise ContainerRefusal("Stream options can only be defined when `stream=True`.", param="stream_options")


def _check_sampling(body: Body) -> None:
    for name in ("temperature", "top_p"):
        _check_type(body, name, (int, float), "number")
    for name in ("max_tokens", "max_completion_tokens", "n", "top_logprobs"):
        _check_type(body, name, int, "integer")
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if temperature is not None and not 0 <= temperature <= 2:
        raise ContainerRefusal(f"temperature must be in [0, 2], got {temperature}.", param="temperature")
    if top_p is not None and not 0 < top_p <= 1:
        raise ContainerRefusal(f"top_p must be in (0, 1], got {top_p}.", param="top_p")
    for name in ("max_tokens", "max_completion_tokens", "n"):
        if body.get(name) is not None and body[name] < 1:
            raise ContainerRefusal(f"{name} must be at least 1, got {body[name]}.", param=name)
    if (body.get("n") or 1) > MAX_CHOICES:
        raise ContainerRefusal(f"n must be at most {MAX_CHOICES}, got {body['n']}.", param="n")
    _check_logprobs(body)
    stops = body.get("stop")
    if stops is not None and not isinstance(stops, str) and not _all_strings(stops):
        _refuse_field("string_type", ("stop",), "Input should be a valid string or list of strings", stops)
    if isinstance(stops, list) and len(stops) > MAX_STOPS:
        raise ContainerRefusal(f"stop must have at most {MAX_STOPS} strings, got {len(stops)}.", param="stop")
    if stops is not None and "" in ([stops] if isinstance(stops, str) else stops):
        raise ContainerRefusal("stop cannot contain an empty string.", param="stop")


def _check_logprobs(body: Body) -> None:
    _check_type(body, "logprobs", bool, "boolean")
    top = body.get("top_logprobs")
    if top is None:
        return
    if not body.get("logprobs"):
        raise ContainerRefusal("when using `top_logprobs`, `logprobs` must be set to true.", param="top_logprobs")
    if not 0 <= top <= MAX_TOP_LOGPROBS:
        raise ContainerRefusal(
            f"Requested sample logprobs of {top}, which is greater than max allowed: {MAX_TOP_LOGPROBS}",
            param="top_logprobs",
        )


def _check_tools(body: Body) -> None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools is not None and not isinstance(tools, list):
        _refuse_field("list_type", ("tools",), "Input should be a valid list", tools)
    names = [_tool_name(tool, position) for position, tool in enumerate(tools or ())]
    if choice in (None, "none", "auto"):
        return
    if not names:
        raise ContainerRefusal("When using `tool_choice`, `tools` must be set.", param="tool_choice")
    if choice == "required":
        return
    function = choice.get("function") if isinstance(choice, dict) else None
    if not isinstance(function, dict):
        _refuse_field("literal_error", ("tool_choice",), "Input should be 'none', 'auto', 'required'", choice)
    if function.get("name") not in names:
        raise ContainerRefusal(
            "The tool specified in `tool_choice` does not match any of the specified `tools`", param="tool_choice"
        )


def _tool_name(tool: Any, position: int) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        _refuse_field("missing", ("tools", position, "function", "name"), "Field required", tool)
    return name


def _check_response_format(response_format: Any) -> None:
    if response_format is None:
        return
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        message = "Input should be 'text', 'json_object' or 'json_schema'"
        _refuse_field("literal_error", ("response_format", "type"), message, response_format)
    if kind == "json_schema":
        wrapper = response_format.get("json_schema")
        if not isinstance(wrapper, dict) or not isinstance(wrapper.get("schema"), dict):
            _refuse_field("missing", ("response_format", "json_schema", "schema"), "Field required", response_format)


def _check_type(body: Body, name: str, kind: type | tuple[type, ...], word: str) -> None:
    value = body.get(name)
    # bool is a subclass of int in Python, and no number in JSON.
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        _refuse_field(f"{word}_type", (name,), f"Input should be a valid {word}", value)


def _all_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _all_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int and item >= 0 for item in value)
