"""Messages and parameters → the body and headers that the container gets. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from litellm_sagemaker_openai._version import __version__
from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.formats.aws_event_stream import EVENT_STREAM_TYPE
from litellm_sagemaker_openai.formats.messages import container_messages, container_tools
from litellm_sagemaker_openai.refusals import Refusal

_OURS = ("host", "content-length", "transfer-encoding", "connection", "content-type", "content-encoding")
_TOKEN_HEADERS = ("authorization", "proxy-authorization", "x-amz-security-token")
COMPONENT_HEADER = "x-amzn-sagemaker-inference-component"
ACCEPT_HEADER = "x-amzn-sagemaker-accept"  # InvokeEndpointWithResponseStream's member Accept


def build_body(
    messages: Sequence[Any], parameters: Mapping[str, Any], *, model_name: str = "", stream: bool = False
) -> dict[str, Any]:
    """The request's body.

    Args:
        messages: OpenAI messages, as dictionaries or Pydantic models; see ``container_messages``.
        parameters: the container's parameters; a ``model`` among them (from ``extra_body``) has the last word.
        model_name: the body's ``model``. Empty is right for a container that serves one model: vLLM refuses a
            name that it does not serve and accepts an empty one.
        stream: ask for a stream, and for its token counts, unless the parameters say no to them.

    Raises:
        Refusal: ``stream_options`` is not a dictionary.
    """
    body: dict[str, Any] = {"model": model_name, "messages": container_messages(messages)}
    body.update(parameters)
    if "tools" in body:
        body["tools"] = container_tools(body["tools"])
    return stream_members(body, stream=stream)


def stream_members(body: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    """The body, asking for a stream and for its token counts, unless it says no to them; or for a whole answer.

    Raises:
        Refusal: ``stream_options`` is not a dictionary.
    """
    # vLLM refuses a non-streamed request that has stream_options (LiteLLM callers leave them in with fake_stream).
    whole = {name: value for name, value in body.items() if name != "stream_options"}
    if not stream:
        return whole
    stream_options = body.get("stream_options") or {}
    if not isinstance(stream_options, Mapping):
        raise Refusal(f"stream_options must be a dictionary, not {type(stream_options).__name__}", "stream_options")
    return {**whole, "stream": True, "stream_options": {"include_usage": True, **stream_options}}


def encode_body(body: Mapping[str, Any], *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body as JSON, of so many bytes at most.

    Raises:
        ValueError: something in it has no JSON form, or it is larger than SageMaker takes.
    """
    try:
        encoded = json.dumps(body, default=_as_json, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"the request is not JSON: {error}") from error
    if len(encoded) > max_bytes:
        raise ValueError(
            f"the request's body is {len(encoded):,} bytes and SageMaker takes at most {max_bytes:,}; "
            "shorten the conversation, send fewer inputs at a time, or images by URL rather than inline"
        )
    return encoded


def build_headers(
    extra_headers: Mapping[str, Any],
    *,
    stream: bool = False,
    component: str | None = None,
    options: Mapping[str, str] | None = None,
    in_event_stream: bool = False,
) -> dict[str, str]:
    """The request's headers, all but ``Authorization``, which is made anew for each attempt.

    Args:
        extra_headers: the caller's.
        stream: whether a stream is asked for.
        component: the inference component, on a route that names it in a header.
        options: the headers that options stand for, from ``invocation_headers``.
        in_event_stream: whether the stream comes inside an AWS event stream, so that another header says what the
            container may answer.

    Raises:
        ValueError: a header that would break the request apart, carry another credential, be refused, or say something
            else than an option.
    """
    headers = {
        "accept": "text/event-stream, application/jsonlines, application/json" if stream else "application/json",
        "accept-encoding": "identity" if stream else "gzip, deflate",  # a compressing server holds pieces back
        "content-type": "application/json",
        "user-agent": f"litellm-sagemaker-openai/{__version__}",
    }
    if in_event_stream:
        import botocore.eventstream  # noqa: F401 - for AwsEventStream: here no event loop waits until it is loaded

        headers |= {"accept": EVENT_STREAM_TYPE, ACCEPT_HEADER: headers["accept"]}
    if component:
        headers[COMPONENT_HEADER] = component
    options = options or {}
    headers.update(options)
    for name, value in extra_headers.items():
        lowered, text = name.lower(), _checked_header(name, value)
        if options.get(lowered, text) != text:
            option = lowered.replace("x-amzn-sagemaker-", "aws_sagemaker_").replace("-", "_")
            raise Refusal(
                f"extra_headers says something else for {name} than {option} does; give one of them",
                option,
                "extra_headers",
                "headers",
            )
        headers[lowered] = text
    return headers


def _checked_header(name: str, value: Any) -> str:
    lowered = name.lower()
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):  # RFC 9110, 5.1: a token
        raise ValueError(f"{name!r} is not the name of a header")
    if lowered in _OURS:
        raise ValueError(f"extra_headers must not set {name}; it follows from the request")
    if lowered in _TOKEN_HEADERS:
        raise ValueError(f"extra_headers must not set {name}; give a token made elsewhere as api_key")
    if lowered == COMPONENT_HEADER:
        raise ValueError(
            f"extra_headers must not set {name}, which /openai/v1 refuses; write the inference component in the model, "
            "sagemaker_openai/<endpoint>/<component>, or as model_id"
        )
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"the value of header {name} must be a string, not {type(value).__name__}")
    text = str(value)
    if not re.fullmatch(r"[\t\x20-\x7e]*", text):
        raise ValueError(f"the value of header {name} has characters that a header cannot carry; use printable ASCII")
    return text


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} {value!r:.80} has no JSON form")
