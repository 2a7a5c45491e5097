"""The steps of ``check``: an answer → whether it is well, what was found, and what to do about it. Pure.

That so many answers are told apart is what the command is for: AWS and the containers answer many mistakes alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import httpx
from botocore.exceptions import ClientError
from litellm import ModelResponse
from litellm.types.utils import ModelResponseStream

from litellm_sagemaker_openai.aws.control_plane import Found, Listed
from litellm_sagemaker_openai.aws.credentials import CredentialsError
from litellm_sagemaker_openai.commands.common import certificate_advice, failure_line, printable, reason
from litellm_sagemaker_openai.commands.endpoints import routing_words
from litellm_sagemaker_openai.errors import connection_error
from litellm_sagemaker_openai.operations.chat import ROUTE
from litellm_sagemaker_openai.target import Target
from litellm_sagemaker_openai.upstream_errors import FailureKind, UpstreamError, advice_on, describe, quoted

_MAX_SHOWN = 60  # characters of what the model said
_ACCESS = ("token", "CallWithBearerToken", "InvokeEndpoint")
_NOT_TOLD = "the answer does not tell"
# https://docs.vllm.ai/en/latest/features/tool_calling.html
TOOLS_ADVICE = "vLLM needs --enable-auto-tool-choice and the --tool-call-parser of the model; not every model can"
_SILENCE_ADVICE = "look at the container's log, and at the model's chat template"
_SET_ROUTING = (
    "RoutingConfig in an endpoint configuration, and UpdateEndpoint: PREFIX_AWARE takes prompts that begin alike to an "
    "instance that has them in its cache, LEAST_OUTSTANDING_REQUESTS takes any to the one that is least busy"
)
_DENIED = ("AccessDeniedException", "AccessDenied")

# The statuses in which an endpoint goes on serving:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
_CHANGING = ("Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed")
# https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
_STS_ADVICE = {
    "ExpiredToken": "sign in again, or get new temporary credentials",
    "InvalidClientTokenId": "this access key does not exist, is not active, or is another partition's",
    "SignatureDoesNotMatch": "the secret access key is another access key's, or this machine's clock is wrong",
}
# "User: arn… is not authorized to perform: sagemaker:InvokeEndpoint on resource: arn… because …"
_ACTION = re.compile(r"\bsagemaker:(CallWithBearerToken|InvokeEndpoint)\b")
# "The region in the bearer token's X-Amz-Credential must be us-west-2."
_OTHER_REGION = re.compile(r"\bregion\b.*\bmust be\b")
# A container's message about a `model` in the body that is missing or not served. vLLM: "The model `x` does not exist."
_MODEL_REFUSED = re.compile(
    r"(?i)\bmodel\b[^.]{0,80}\b(not exist|not found|not loaded|required|missing|empty|unknown)\b"
    r"|\b(required|missing|unknown|provide an?)\b[^.]{0,40}\bmodel\b"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was checked. The fields are the keys of ``check --json``.

    Attributes:
        status: ``failed`` makes the whole check fail; ``warning`` is something that a call can do without;
            ``skipped`` could not be checked, for the reason in ``detail``.
        detail: what was found.
        advice: what to do about it; empty where there is nothing to do.
    """

    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    detail: str
    advice: str = ""


def step_names(target: Target) -> list[str]:
    """All steps of a target's check, in their order."""
    calls = ["chat", "stream", "first token", "tools", "usage"]
    return ["region", "credentials", *_in_service(target), *_ACCESS, *calls]


def _in_service(target: Target) -> list[str]:
    return ["endpoint", "inference component"] if target.component else ["endpoint"]


def no_credentials(error: CredentialsError) -> Step:
    """Credentials that could not be obtained. The cause has AWS's message, which callers of a proxy do not get."""
    cause = [reason(error.__cause__)] if isinstance(error.__cause__, ClientError) else []
    return Step("credentials", "failed", "; ".join([reason(error), *cause]))


def identity(access_key: str, answer: Mapping[str, Any] | Exception | None) -> Step:
    """Whose the credentials are.

    Args:
        access_key: their access key id, which is not secret.
        answer: what ``sts:GetCallerIdentity`` answered; None where it was not asked.
    """
    if answer is None:
        return Step("credentials", "ok", f"{access_key}; whose was not asked: the runtime is on this machine")
    if isinstance(answer, ClientError):
        code = answer.response.get("Error", {}).get("Code", "")
        advice = _STS_ADVICE.get(code, "sign in again, or check the profile")
        return Step("credentials", "failed", f"{access_key}: {reason(answer)}", advice)
    if isinstance(answer, Exception):
        return Step("credentials", "ok", f"{access_key}; whose could not be asked: {reason(answer)}")
    return Step("credentials", "ok", str(answer["Arn"]))


def in_service(target: Target, region: str, found: Found | Exception | None) -> list[Step]:
    """Whether the endpoint and the component are in service, by the control plane's answer; None: not asked."""
    if found is None:
        return [Step(name, "skipped", "not asked: the runtime is on this machine") for name in _in_service(target)]
    if isinstance(found, Exception):
        error = found.response.get("Error", {}) if isinstance(found, ClientError) else {}
        if "Could not find" in error.get("Message", ""):
            return [Step("endpoint", "failed", f"there is no {target.endpoint} in {region}", _compare(region))]
        advice = "to have it checked, allow sagemaker:DescribeEndpoint" if error.get("Code") in _DENIED else ""
        return [Step(name, "skipped", f"not checked: {reason(found)}", advice) for name in _in_service(target)]
    endpoint, *components = found.listed
    if target.component is None:
        return [_endpoint(endpoint, components), *routing(endpoint, found.not_permitted)]
    return [
        _status("endpoint", endpoint),
        *routing(endpoint, found.not_permitted),
        _component(target, region, found, components),
    ]


def base_of(target: Target, found: Found | Exception | None) -> str | None:
    """The component that a LoRA adapter's component stands on, by the control plane's answer; None for others."""
    if not isinstance(found, Found) or target.component is None:
        return None
    bases = {each.inference_component: each.base_inference_component for each in found.listed}
    return bases.get(target.component)


def unseen_base(target: Target, found: Found | Exception | None) -> list[Step]:
    """The step of an adapter, where nothing tells whether the component is one; no step where that is known."""
    needed = "sagemaker:DescribeInferenceComponent"
    if not isinstance(found, Found) or target.component is None or needed not in found.not_permitted:
        return []
    detail = f"not seen whether this is one: {needed} is not allowed"
    return [Step("adapter", "skipped", detail, f"to have it checked, allow {needed}")]


def routing(endpoint: Listed, not_permitted: Sequence[str]) -> list[Step]:
    """How SageMaker chooses among the endpoint's instances; no step where there is nothing to choose, or to be seen."""
    unset = [each for each in endpoint.routing if each.strategy is None and (each.instances or 0) > 1]
    if unset and "sagemaker:DescribeEndpointConfig" not in not_permitted:
        instances = ", ".join(f"{each.instances} instances of {each.variant}" for each in unset)
        return [Step("routing", "warning", f"none is set for {instances}: each call goes to any of them", _SET_ROUTING)]
    words = routing_words(endpoint.routing)
    return [Step("routing", "ok", words)] if words else []


def _endpoint(endpoint: Listed, components: Sequence[Listed]) -> Step:
    """An endpoint that is called without a component."""
    step = _status("endpoint", endpoint)
    if step.status == "failed" or endpoint.model is not None:
        return step
    if not components:
        return Step("endpoint", "failed", "made for inference components, and has none", "create one on it")
    names = ", ".join(str(Target(each.endpoint, each.inference_component)) for each in components)
    return Step("endpoint", "failed", "hosts inference components, and only they are called", f"name one: {names}")


def _component(target: Target, region: str, found: Found, components: Sequence[Listed]) -> Step:
    name, needed = "inference component", "sagemaker:ListInferenceComponents"
    component = next((each for each in components if each.inference_component == target.component), None)
    if component is not None:
        step = _status(name, component)
        if component.base_inference_component is not None:
            step = replace(step, detail=f"{step.detail}, a LoRA adapter on {component.base_inference_component}")
        if step.status == "ok" and component.current == 0:
            return Step(name, "warning", step.detail, "scaled to zero: the first call is refused, and starts one")
        return step
    if needed in found.not_permitted:
        return Step(name, "skipped", f"not checked: {needed} is not allowed", f"to have it checked, allow {needed}")
    there = ", ".join(str(each.inference_component) for each in components) or "none"
    detail = f"there is no {target.component} on {target.endpoint}; there is {there}"
    return Step(name, "failed", detail, _compare(region))


def _status(name: str, listed: Listed) -> Step:
    unit = "instances" if listed.inference_component is None else "copies"
    counts = "" if listed.current is None else f", {listed.current} of {listed.desired} {unit}"
    detail = f"{listed.status}{counts}"
    if listed.asynchronous:
        advice = "call it with aws_sagemaker_async=True; this check is for /openai/v1, which it does not have"
        return Step(name, "failed", f"{detail}, for asynchronous inference", advice)
    if listed.status == "InService":
        return Step(name, "ok", detail)
    if listed.status in _CHANGING:
        return Step(name, "warning", detail, "it goes on serving; which version answers may change")
    cause = f": {listed.failure_reason}" if listed.failure_reason else ""
    advice = "wait until it is InService" if listed.status == "Creating" else "create it again"
    return Step(name, "failed", f"{detail}{cause}", advice)


def _compare(region: str) -> str:
    return f"compare with: litellm-sagemaker-openai endpoints --region {region}"


def authenticated(upstream: UpstreamError | None) -> bool | None:
    """Whether an answer (None: a success) shows that the signature and the permissions were accepted; None: it does not
    tell.

    SageMaker checks them first, so that an answer of the container, or about the endpoint, means that they were.
    """
    if upstream is None or upstream.from_container or upstream.failure is FailureKind.NO_CAPACITY:
        return True
    if upstream.failure is not FailureKind.REFUSED or upstream.status >= 429:
        return None
    return upstream.status not in (401, 403)


def access(
    target: Target,
    region: str,
    caller: str,
    upstream: UpstreamError | None,
    probe: UpstreamError | None = None,
    clock_ahead: float = 0,
) -> list[Step]:
    """Whether the token is accepted, and which permission is missing.

    Args:
        target: what is checked.
        region: where.
        caller: the ARN of the credentials' owner; empty where that is not known.
        upstream: the first answer on ``/openai/v1``; None: a success.
        probe: where that was a 401 or 403, the answer to the same request on ``/invocations``; None: a success. That
            route takes a signature in place of a token, so that it needs ``sagemaker:InvokeEndpoint`` alone.
        clock_ahead: seconds that this machine's clock is ahead of SageMaker's.
    """
    accepted = authenticated(upstream)
    if upstream is None or accepted:
        return [Step(name, "ok", "accepted" if name == "token" else "allowed") for name in _ACCESS]
    if accepted is None:
        return [Step(name, "skipped", _NOT_TOLD) for name in _ACCESS]
    signature_accepted = authenticated(probe)
    denials = [upstream, *([probe] if probe is not None and signature_accepted is False else [])]
    bearer = _bearer_permission(upstream, signature_accepted)
    invoke = _invoke_permission(denials, signature_accepted, _allow_invoke(target, region, caller))
    if _action(upstream) is not None:
        token = Step("token", "ok", "accepted")
    elif bearer.status == invoke.status == "skipped":
        token = Step("token", "failed", describe(upstream), _token_advice(upstream, clock_ahead))
    else:
        token = Step("token", "skipped", _NOT_TOLD)
    return [token, bearer, invoke]


def _bearer_permission(upstream: UpstreamError, signature_accepted: bool | None) -> Step:
    name, advice = "CallWithBearerToken", "allow sagemaker:CallWithBearerToken on *"
    missing = _action(upstream)
    if missing == name:
        return Step(name, "failed", describe(upstream), advice)
    if missing is not None:
        return Step(name, "ok", "allowed")
    if signature_accepted:  # the token is all that differs
        detail = f"most likely missing, since the same credentials may call /invocations: {describe(upstream)}"
        return Step(name, "failed", detail, advice)
    return Step(name, "skipped", _NOT_TOLD)


def _invoke_permission(denials: Sequence[UpstreamError], signature_accepted: bool | None, advice: str) -> Step:
    name = "InvokeEndpoint"
    for denial in denials:
        if _action(denial) == name:
            return Step(name, "failed", describe(denial), advice)
    return Step(name, "ok", "allowed") if signature_accepted else Step(name, "skipped", _NOT_TOLD)


def _action(upstream: UpstreamError) -> str | None:
    """The action that IAM names as not allowed."""
    named = _ACTION.search(upstream.message)
    return named and named[1]


def _allow_invoke(target: Target, region: str, caller: str) -> str:
    _, partition, _, _, account, *_ = caller.split(":") if caller else ("", "aws", "", "", "*")
    arn = f"arn:{partition}:sagemaker:{region}:{account}"
    component = f" and {arn}:inference-component/{target.component}" if target.component else ""
    return f"allow sagemaker:InvokeEndpoint on {arn}:endpoint/{target.endpoint}{component}"


def _token_advice(upstream: UpstreamError, ahead: float) -> str:
    if _OTHER_REGION.search(upstream.message):
        return "the endpoint's region (--region), or sign in again"
    if abs(ahead) < 60:
        return "sign in again: these credentials are not accepted here"
    return f"set this machine's clock: it is {abs(ahead) / 60:.0f} min {'ahead' if ahead > 0 else 'behind'}"


def refused(name: str, target: Target, region: str, model_name: str, upstream: UpstreamError) -> Step:
    """A call that SageMaker or the container refused.

    Args:
        name: the step's.
        target: what was called.
        region: where.
        model_name: the body's ``model``.
        upstream: the answer.
    """
    return Step(name, "failed", describe(upstream), _advice(target, region, model_name, upstream))


def _advice(target: Target, region: str, model_name: str, upstream: UpstreamError) -> str:
    if upstream.failure is FailureKind.NO_CAPACITY:
        return (
            "where scaling out from zero is set up, this call has started it: check again in some minutes. Calls can "
            "wait (aws_sagemaker_cold_start_timeout), or go elsewhere meanwhile (fallbacks)"
        )
    general = advice_on(upstream, ROUTE)
    if upstream.failure is FailureKind.REFUSED and not upstream.from_container:
        return _compare(region) if upstream.status == 404 else general
    if general == ROUTE.lacking:
        return general
    if upstream.status in (400, 404, 422) and _MODEL_REFUSED.search(upstream.message):
        if model_name:
            return f"the container does not serve {model_name!r}: --hf-model-name with the name that it serves"
        return "the container insists on its served model name: --hf-model-name here, hf_model_name in LiteLLM"
    kind, log = ("InferenceComponents", target.component) if target.component else ("Endpoints", target.endpoint)
    return f"the container's log is in CloudWatch, log group /aws/sagemaker/{kind}/{log}"


def unanswered(name: str, error: httpx.HTTPError) -> Step:
    """A call that got no answer, or an incomplete one."""
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        advice = "a longer --timeout; SageMaker gives a container 60 s for a whole answer and 8 min for a stream"
    elif not (advice := certificate_advice(error)):
        advice = "the region; the network: a VPC without internet needs an endpoint for sagemaker.runtime; HTTPS_PROXY"
    return Step(name, "failed", failure_line(connection_error(error, model="")), advice)


def chat(response: ModelResponse) -> Step:
    """A whole answer."""
    text = _quoted_text(response.choices[0].message)
    if not text:
        return Step("chat", "warning", f"{quoted(response.model)} answered without a word", _SILENCE_ADVICE)
    return Step("chat", "ok", f"{quoted(response.model)} answered {text}")


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """What a stream contained, and when it came.

    Attributes:
        as_stream: whether its content type is that of a stream, rather than of one JSON object.
        pieces: number of chunks with text.
        finish_reason: the choice's.
        usage: the container's token counts, if it sent any.
        first: seconds from the request to the first text; None without text.
        last: seconds from the request to the last chunk.
    """

    as_stream: bool
    pieces: int = 0
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    first: float | None = None
    last: float = 0.0

    def with_chunk(self, chunk: ModelResponseStream, seconds: float) -> StreamSummary:
        """The same with one more chunk, which came ``seconds`` after the request."""
        usage = getattr(chunk, "usage", None)
        summary = replace(self, last=seconds, usage=self.usage if usage is None else usage.model_dump())
        for choice in chunk.choices:
            summary = replace(summary, finish_reason=choice.finish_reason or summary.finish_reason)
            if choice.delta.content or getattr(choice.delta, "reasoning_content", None):
                first = seconds if summary.first is None else summary.first
                summary = replace(summary, pieces=summary.pieces + 1, first=first)
        return summary


def stream(summary: StreamSummary) -> list[Step]:
    """A streamed answer, and how long its first token took."""
    if summary.first is None:
        detail = "an answer without a word"
        return [Step("stream", "warning", detail, _SILENCE_ADVICE), Step("first token", "skipped", detail)]
    latency = Step("first token", "ok", f"after {summary.first:.2f} s; the whole answer after {summary.last:.2f} s")
    if summary.pieces == 1 or not summary.as_stream:
        advice = "the container does not stream: a caller sees nothing before the whole answer is there"
        return [Step("stream", "warning", "the whole answer came in one piece", advice), latency]
    return [Step("stream", "ok", f"{summary.pieces} pieces, finish reason {summary.finish_reason}"), latency]


def tools(response: ModelResponse) -> Step:
    """The answer to a question that a tool is offered for."""
    choice = response.choices[0]
    functions: list[Any] = [call.function for call in choice.message.tool_calls or () if hasattr(call, "function")]
    if not functions:
        text = _quoted_text(choice.message) or "nothing"
        detail = f"no tool was called (finish reason {choice.finish_reason}); it said {text}"
        return Step("tools", "warning", detail, TOOLS_ADVICE)
    called = printable(f"{quoted(functions[0].name)}({quoted(functions[0].arguments)})")
    try:
        json.loads(functions[0].arguments)
    except ValueError:
        return Step("tools", "warning", f"the arguments are not JSON: {called}", TOOLS_ADVICE)
    return Step("tools", "ok", called)


def tools_refused(step: Step, upstream: UpstreamError) -> Step:
    """The step, where the container refused the tools: calls without tools can do without them."""
    if not upstream.from_container or upstream.status >= 500:
        return step
    return Step("tools", "warning", step.detail, TOOLS_ADVICE)


def usage(whole: Any, streamed: Mapping[str, Any] | None) -> Step:
    """Whether the container counts tokens, by the ``usage`` of a whole answer and of a stream."""
    counts = whole if isinstance(whole, Mapping) else {}
    missing = [kind for kind, reported in (("whole", counts), ("streamed", streamed)) if not reported]
    if missing:
        advice = "LiteLLM counts with a tokenizer of its own there: tokens and cost are estimates"
        return Step("usage", "warning", f"not reported for {' and '.join(missing)} answers", advice)
    prompt, completion = (quoted(counts.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    return Step("usage", "ok", f"{prompt} + {completion} tokens; streamed too")


def _quoted_text(message: Any) -> str:
    """The beginning of the message's text, else of its reasoning, in quotation marks; empty where it has neither."""
    text = printable(" ".join((message.content or getattr(message, "reasoning_content", None) or "").split()))
    text = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return text and json.dumps(text, ensure_ascii=False)
