"""The answers that AWS's front door writes itself, in front of every container. Pure.

Bodies are byte for byte as seen at live endpoints where a recording exists (``tests/wire/sagemaker/``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.local.tokens import TokenRefusal

ACCOUNT = "123456789012"  # the account id of AWS's own documentation
COMPONENT_HEADER = "X-Amzn-SageMaker-Inference-Component"
SESSION_HEADER, ATTRIBUTES_HEADER = "x-amzn-sagemaker-session-id", "x-amzn-sagemaker-custom-attributes"
ACCEPT_HEADER = "X-Amzn-SageMaker-Accept"  # InvokeEndpointWithResponseStream's: what the container may answer


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the JSON text that goes with it; ``error_type`` is the header by which SDKs know an error."""

    status: int
    body: str
    message: str
    error_type: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """The container instance that a request went to: its id, and the endpoint and region of its log."""

    id: str
    endpoint: str
    region: str

    @property
    def log_group(self) -> str:
        """The name of its log in CloudWatch."""
        return f"/aws/sagemaker/Endpoints/{self.endpoint}"

    @property
    def see_log(self) -> str:
        """The sentence that ends a message about it."""
        console = f"https://{self.region}.console.aws.amazon.com/cloudwatch/home?region={self.region}"
        return f"See {console}#logEventViewer:group={self.log_group} in account {ACCOUNT} for more information."


def _answer(status: int, message: str, error_type: str, code: str) -> Answer:
    envelope = {"error": {"message": message, "type": error_type, "code": code}}
    return Answer(status, json.dumps(envelope, ensure_ascii=False, separators=(",", ":")), message)


def _validation_error(message: str, status: int = 400) -> Answer:
    return _answer(status, message, "invalid_request_error", "validation_error")


def endpoint_not_found(endpoint: str) -> Answer:
    """HTTP 400, not 404: so AWS answers."""
    return _validation_error(f"Endpoint {endpoint} of account {ACCOUNT} not found.")


def component_not_found(component: str, endpoint: str) -> Answer:
    """No recording exists; in the manner of ``endpoint_not_found``."""
    return _validation_error(f"Inference Component {component} of endpoint {endpoint} of account {ACCOUNT} not found.")


def other_kind(endpoint: str) -> Answer:
    """An endpoint for asynchronous inference called on another route, or the other way round.

    The message's end is from public reports.
    """
    return _validation_error(f"Endpoint {endpoint} of account {ACCOUNT} does not support this inference type.")


def component_needed() -> Answer:
    """An endpoint that hosts inference components, called without one; InvokeEndpoint's wording for the same."""
    return _validation_error(
        "Inference Component Name header is required for endpoints to which you plan to deploy inference components. "
        "Please include Inference Component Name header or consider using SageMaker models."
    )


def no_capacity() -> Answer:
    """A component scaled to zero; the request that gets this starts the scale-up."""
    return _validation_error(
        "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress "
        "(if configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
    )


def component_header_refused() -> Answer:
    """Seen at AWS: the route refuses the header whatever its value; the wording is ours."""
    return _validation_error(f"Header {COMPONENT_HEADER} is not supported on this path.")


def body_too_large() -> Answer:
    """The request's body has more than ``MAX_BODY_BYTES``."""
    return _validation_error(f"The request body must have at most {MAX_BODY_BYTES} bytes.", status=413)


def unknown_path(method: str, path: str) -> Answer:
    """Anything but ``POST …/openai/v1/chat/completions``; AWS routes no ``/models`` or ``/embeddings`` either."""
    return _answer(404, f"Unknown operation {method} {path}.", "invalid_request_error", "unknown_operation")


def token_refused(refusal: TokenRefusal) -> Answer:
    """The request's token is refused; no recording of AWS's body exists."""
    code = "unrecognized_client" if refusal.status == 401 else "access_denied"
    return _answer(refusal.status, refusal.message, "authentication_error", code)


def container_error(status: int, body: bytes | None, container: Container) -> Answer:
    """A container's error as AWS passes it on: its status kept, its body quoted as it is, inner quotes unescaped.

    Args:
        status: the container's HTTP status, 400 to 599.
        body: the container's body, or None where it could not be read.
        container: which it was.
    """
    kind = "client" if status < 500 else "server"
    text = _text(body)
    what = "and could not load the entire response body" if text is None else f'with message "{text}"'
    return _model_error(status, f"Received {kind} error ({status}) from {container.id} {what}.", container)


def container_unreachable(container: Container) -> Answer:
    """The container accepts no connection."""
    return _model_error(503, f"Failed to establish a connection to container {container.id}.", container)


def container_timed_out(container: Container) -> Answer:
    """The container did not answer in its 60 seconds.

    No recording of this route exists; in the words of InvokeEndpoint, and with its status.
    """
    message = f'Received server error (0) from {container.id} with message "{time_is_up(container)}".'
    return _model_error(424, message, container)


def time_is_up(container: Container) -> str:
    """What SageMaker says in the place of an answer that did not come in time; public reports have it."""
    return (
        f"Your invocation timed out while waiting for a response from container {container.id}. Review the latency "
        "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
    )


def _text(body: bytes | None) -> str | None:
    try:
        return None if body is None else body.decode()
    except UnicodeDecodeError:
        return None


def _model_error(status: int, message: str, container: Container) -> Answer:
    return _answer(status, f"{message} {container.see_log}", "server_error", "model_error")
