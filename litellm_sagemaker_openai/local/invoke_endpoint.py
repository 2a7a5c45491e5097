"""The answers that AWS's front door writes itself on the routes of the SDKs, ``/invocations`` above all. Pure.

The words are those of ``/openai/v1`` (``local.frontdoor``), in the form that the SDKs read: the message in a JSON
object, the error's name in the header ``x-amzn-errortype``. A container's error comes whole, as ``ModelError``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from litellm_sagemaker_openai.local.frontdoor import ACCOUNT, Answer, console_log
from litellm_sagemaker_openai.local.signatures import Refusal


def validation_error(answer: Answer) -> Answer:
    """What ``/openai/v1`` answers to the same mistake, as the SDKs read it."""
    return replace(answer, body=_json({"Message": answer.message}), error_type="ValidationError")


def signature_refused(refusal: Refusal) -> Answer:
    """The request's signature did not pass."""
    return Answer(403, _json({"message": refusal.message}), refusal.message, refusal.error_type)


def container_error(status: int, body: bytes | None, *, container: str, endpoint: str, region: str) -> Answer:
    """A container's error as AWS passes it on: HTTP 424, with the container's status and body in it.

    Args:
        status: the container's HTTP status, 400 to 599.
        body: the container's body, or None where it could not be read.
        container: the id of the container instance.
        endpoint: the endpoint, for the name of its log.
        region: the region, for the same.
    """
    return _model_error(status, (body or b"").decode(errors="replace"), container, endpoint, region)


def container_unreachable(*, container: str, endpoint: str, region: str) -> Answer:
    """The container accepts no connection."""
    message = f"Failed to establish a connection to container {container}."
    return Answer(503, _json({"Message": message}), message, "ServiceUnavailable")


def container_timed_out(*, container: str, endpoint: str, region: str) -> Answer:
    """The container did not answer in its 60 seconds: its status is 0 then."""
    words = (
        f"Your invocation timed out while waiting for a response from container {container}. Review the latency "
        "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
    )
    return _model_error(0, words, container, endpoint, region)


def _model_error(status: int, original: str, container: str, endpoint: str, region: str) -> Answer:
    kind = "client" if 400 <= status < 500 else "server"
    message = f'Received {kind} error ({status}) from {container} with message "{original}".'
    message = f"{message} See {console_log(endpoint, region)} in account {ACCOUNT} for more information."
    body = {
        "ErrorCode": f"{kind.upper()}_ERROR_FROM_MODEL",
        "LogStreamArn": f"arn:aws:logs:{region}:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{endpoint}",
        "Message": message,
        "OriginalMessage": original,
        "OriginalStatusCode": status,
    }
    return Answer(424, _json(body), message, "ModelError")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
