"""The answers that AWS's front door writes itself on the routes of the SDKs, ``/invocations`` above all. Pure.

The messages are those of ``/openai/v1`` (``local.frontdoor``), in the form that the SDKs read: the message in a JSON
object, the error's name in the header ``x-amzn-errortype``. A container's error comes whole, as ``ModelError``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from litellm_sagemaker_openai.local.event_stream import model_stream_error
from litellm_sagemaker_openai.local.frontdoor import ACCOUNT, Answer, Container, time_is_up
from litellm_sagemaker_openai.local.signatures import SignatureRefusal


def validation_error(answer: Answer) -> Answer:
    """What ``/openai/v1`` answers to the same mistake, as the SDKs read it."""
    return replace(answer, body=_json({"Message": answer.message}), error_type="ValidationError")


def signature_refused(refusal: SignatureRefusal) -> Answer:
    """The request's signature is refused."""
    return Answer(403, _json({"message": refusal.message}), refusal.message, refusal.error_type)


def container_error(status: int, body: bytes | None, container: Container) -> Answer:
    """A container's error as AWS passes it on: HTTP 424, with the container's status and body in it.

    Args:
        status: the container's HTTP status, 400 to 599.
        body: the container's body, or None where it could not be read.
        container: which it was.
    """
    return _model_error(status, (body or b"").decode(errors="replace"), container)


def container_unreachable(container: Container) -> Answer:
    """The container accepts no connection."""
    message = f"Failed to establish a connection to container {container.id}."
    return Answer(503, _json({"Message": message}), message, "ServiceUnavailable")


def container_timed_out(container: Container) -> Answer:
    """The container did not answer in its 60 seconds: its status is 0 then."""
    return _model_error(0, time_is_up(container), container)


def stream_broken() -> bytes:
    """The container hung up in the middle of a stream. The code is AWS's, no recording of the words exists."""
    return model_stream_error("The connection to the container was reset or closed.", "StreamBroken")


def stream_timed_out() -> bytes:
    """The container's stream did not end in its 8 minutes. The words are from public reports."""
    message = "Your model primary did not complete sending the inference response in the allotted time."
    return model_stream_error(message, "ModelInvocationTimeExceeded")


def _model_error(status: int, original: str, container: Container) -> Answer:
    kind = "client" if 400 <= status < 500 else "server"
    message = f'Received {kind} error ({status}) from {container.id} with message "{original}". {container.see_log}'
    body = {
        "ErrorCode": f"{kind.upper()}_ERROR_FROM_MODEL",
        "LogStreamArn": f"arn:aws:logs:{container.region}:{ACCOUNT}:log-group:{container.log_group}",
        "Message": message,
        "OriginalMessage": original,
        "OriginalStatusCode": status,
    }
    return Answer(424, _json(body), message, "ModelError")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
