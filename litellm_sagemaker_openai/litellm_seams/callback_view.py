"""What LiteLLM's callbacks and logs see of a call: what a native provider's call shows them, and no credential.

What LiteLLM does: it hands callbacks the logging object's ``model_call_details``, which repeats the call's keywords
three times, and logs what ``pre_call`` and ``post_call`` are given. It writes the ``api_key`` of an embedding call that
was refused into the details itself (``embedding`` in main.py).
Seen on: LiteLLM 1.106.2.
Without them: LiteLLM's callbacks learn nothing of the request and the answer.
Needed until: tests/litellm_seams/test_litellm_alone.py::test_shows_callbacks_the_credentials fails.
tests/test_secrets.py shows what is handed on; tests/sending/test_failover.py and tests/operations/test_embeddings.py
compare with a native provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.embedding_parameters import PASSTHROUGH_KEY, restored_parameters
from litellm_sagemaker_openai.litellm_seams.stream_opening import STREAM_FLAG, without_flag
from litellm_sagemaker_openai.settings import SECRETS, without_secrets


def show_as_native(logging_obj: Any, *, flagged: bool = False) -> None:
    """Let callbacks see what a native provider's call shows them: no credential, and ``stream`` where it was asked.

    The details are the logging object's own; what they hold of the caller's is replaced, not changed.

    Args:
        logging_obj: LiteLLM's.
        flagged: whether ``stream_opening`` has put its flag in the place of ``stream``.
    """
    details = lookup.attribute(logging_obj, "model_call_details")
    if details is None:
        return
    for name in ("optional_params", "litellm_params"):
        details[name] = without_secrets(restored_parameters(details.get(name) or {}))
    details.pop(PASSTHROUGH_KEY, None)
    if flagged:
        details["optional_params"] = without_flag(details["optional_params"])
        details.pop(STREAM_FLAG, None)
        details["stream"] = True
    if lookup.attribute(logging_obj, "optional_params") is not None:
        logging_obj.optional_params = details["optional_params"]  # up to 1.104 a response's hidden parameters show them
    for name in SECRETS & details.keys():
        details[name] = without_secrets({name: details[name]})[name]


def hide_secrets(logging_obj: Any) -> None:
    """Let callbacks see no credential in what LiteLLM noted before it asked them about the call, and goes on with."""
    show_as_native(logging_obj)
    noted = lookup.attribute(logging_obj, "litellm_params")
    if noted is not None:
        logging_obj.litellm_params = without_secrets(noted)


def keep_secrets_out(logging_obj: Any) -> None:
    """Let LiteLLM put no secret into the details later."""
    details = lookup.attribute(logging_obj, "model_call_details")
    if details is not None:
        logging_obj.model_call_details = _Details(details)


class _Details(dict[str, Any]):
    """What callbacks are shown, where no secret can be put."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, "***" if name in SECRETS and value else value)


def log_request(logging_obj: Any, asked: Any, body: Mapping[str, Any], url: str, headers: Mapping[str, str]) -> None:
    """Hand LiteLLM's callbacks a request, before it is signed."""
    pre_call = lookup.attribute(logging_obj, "pre_call")
    if pre_call is not None:
        shown = {"complete_input_dict": body, "api_base": url, "headers": dict(headers)}
        pre_call(input=asked, api_key="", additional_args=shown)


def log_answer(logging_obj: Any, asked: Any, content: bytes) -> None:
    """Hand them an answer."""
    post_call = lookup.attribute(logging_obj, "post_call")
    if post_call is not None:
        text = content.decode(errors="replace")  # JSON is UTF-8; httpx would look for what else it may be
        post_call(original_response=text, input=asked, api_key="")


def log_stream(logging_obj: Any, asked: Any) -> None:
    """Tell them that a stream has begun, in LiteLLM's own words (llms/openai_like/chat/handler.py, 1.106.2)."""
    post_call = lookup.attribute(logging_obj, "post_call")
    if post_call is not None:
        said = "first stream response received"
        post_call(original_response=said, input=asked, api_key="", additional_args={})
