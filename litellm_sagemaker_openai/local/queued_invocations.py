"""``InvokeEndpointAsync``, SageMaker's queue: what the front door says to a request, and what it stores in S3 of it.

AWS calls it asynchronous inference; "async" in names means asyncio here, so that they say "queued".

The object at the failure location is the container's error as it is: AWS documents it as the failed inference's
response. Where no container answered, the message is ours.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from litellm_sagemaker_openai.local.frontdoor import Answer, Container
from litellm_sagemaker_openai.local.invoke_endpoint import validation_error

# botocore 1.44.5, service model sagemaker-runtime: shape AsyncBodyBlob, max.
MAX_INLINE_BYTES = 128_000


@dataclass(frozen=True, slots=True)
class AsyncInferenceConfig:
    """What makes an endpoint one for asynchronous inference, under AWS's name for it.

    Attributes:
        output: ``s3://<bucket>/<prefix>`` of the results.
        failure: the same for failures. Default: they leave no trace.
        delay: seconds that a request waits in the queue. Default: 0.
        s3: makes a boto3 client. Default: one with the runtime's credentials, and the environment's settings.
    """

    output: str
    failure: str | None = None
    delay: float = 0.0
    s3: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True)
class QueuedRequest:
    """A request that was accepted. The input is the bytes that came with it, or their location in S3."""

    inference_id: str
    input: bytes | str
    output: str
    failure: str | None

    def answer(self) -> tuple[bytes, dict[str, str]]:
        """The answer's body and headers."""
        headers = {"x-amzn-sagemaker-outputlocation": self.output}
        if self.failure is not None:
            headers["x-amzn-sagemaker-failurelocation"] = self.failure
        return json.dumps({"InferenceId": self.inference_id}).encode(), headers

    def read_input(self, s3: Any) -> bytes | None:
        """The request's body; None where there is no such object. Blocks."""
        if isinstance(self.input, bytes):
            return self.input
        try:
            return bytes(s3.get_object(**_bucket_and_key(self.input))["Body"].read())
        except s3.exceptions.NoSuchKey:
            return None

    def store(self, s3: Any, status: int, body: bytes) -> None:
        """Store what the container answered. Blocks."""
        location = self.output if status < 400 else self.failure
        if location is not None:
            s3.put_object(Body=body, **_bucket_and_key(location))


def accept(config: AsyncInferenceConfig, headers: Mapping[str, str], body: bytes) -> QueuedRequest | Answer:
    """Queue a request, or refuse it.

    Args:
        config: the endpoint's.
        headers: the request's, names in lower case.
        body: the request's; empty where its input is in S3.
    """
    location = headers.get("x-amzn-sagemaker-inputlocation")
    if (location is None) == (body == b""):
        return _refused("Exactly one of Body and InputLocation must be provided.")
    if len(body) > MAX_INLINE_BYTES:
        return _refused(f"Body must have at most {MAX_INLINE_BYTES} bytes.")
    unique = str(uuid.uuid4())
    extension = headers.get("x-amzn-sagemaker-s3outputpathextension", "").strip("/")
    directory = "/".join(part for part in (config.output.rstrip("/"), extension) if part)
    return QueuedRequest(
        inference_id=headers.get("x-amzn-sagemaker-inference-id", unique),
        input=body if location is None else location,
        output=f"{directory}/{headers.get('x-amzn-sagemaker-filename', f'{unique}.out')}",
        failure=None if config.failure is None else f"{config.failure.rstrip('/')}/{unique}-error.out",
    )


def container_error(status: int, body: bytes | None, container: Container) -> Answer:
    """A container's error, as it is."""
    text = (body or b"").decode(errors="replace")
    return Answer(status, text, text)


def container_unreachable(container: Container) -> Answer:
    """The container accepts no connection."""
    message = f"Failed to establish a connection to container {container.id}."
    return Answer(503, message, message)


def container_timed_out(container: Container) -> Answer:
    """The container did not answer in time."""
    message = (
        f'Received server error (0) from {container.id} with message "Your invocation timed out while waiting for a '
        f'response from container {container.id}."'
    )
    return Answer(504, message, message)


def _bucket_and_key(location: str) -> dict[str, str]:
    """The parts of an ``s3://`` URI, by boto3's names."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _refused(message: str) -> Answer:
    return validation_error(Answer(400, "", message))
