"""Whether a LoRA adapter answers itself, or its base component for it: answers of both → a step of ``check``. Pure.

SageMaker tells the container by a header which adapter is meant. vLLM reads it on ``/invocations`` alone (0.20.2,
entrypoints/sagemaker/api_router.py; its pull request 27892), LMI on each route (djl_python/async_utils.py in
deepjavalibrary/djl-serving, 2026-06). Whether SageMaker sends it on ``/openai/v1`` is not documented. Where it is not
sent or not read, the base model answers without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from litellm_sagemaker_openai.commands.diagnosis import Step

QUESTION: Mapping[str, Any] = {
    "messages": [{"role": "user", "content": "Describe in three sentences what you do."}],
    "max_tokens": 64,
    "temperature": 0,
    "logprobs": True,
}
WITHOUT_LOGPROBS = {name: value for name, value in QUESTION.items() if name != "logprobs"}

_NAME, _SILENT = "adapter", "an answer without a word"
# Log probabilities of one model differ from call to call with what else is in its batch; more than this, and more than
# twice what the base differs from itself, is another model's.
_NOISE = 0.05
_LOWEST = -10_000  # vLLM's own lowest is -9999; beyond, and above 1, a number is no log probability
_UNKNOWN = "whether SageMaker names the adapter to the container on /openai/v1 is not documented"
_WAY_OUT = 'aws_sagemaker_chat_route="invocations" takes the route on which it does'


@dataclass(frozen=True, slots=True)
class Sample:
    """An answer to ``QUESTION``.

    Attributes:
        text: what was said, reasoning included.
        logprobs: of each token; empty where the container gives none.
    """

    text: str
    logprobs: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.logprobs)

    def differs(self, other: Sample, noise: float = 0.0) -> bool:
        return self.text != other.text or self.distance(other) > max(_NOISE, 2 * noise)

    def distance(self, other: Sample) -> float:
        """The largest difference between two log probabilities."""
        return max((abs(one - two) for one, two in zip(self.logprobs, other.logprobs, strict=False)), default=0.0)


def sample_of(answer: Mapping[str, Any]) -> Sample:
    """A chat completion's text and log probabilities; what has another shape is left out."""
    choice = _first(answer.get("choices"))
    message = _mapping(choice.get("message"))
    texts = [message.get(name) for name in ("reasoning", "reasoning_content", "content")]
    logprobs = _mapping(choice.get("logprobs")).get("content")
    tokens = [_mapping(each).get("logprob") for each in (logprobs if isinstance(logprobs, list) else ())]
    numbers = tuple(float(each) for each in tokens if isinstance(each, (int, float)) and _LOWEST <= each <= 1)
    return Sample("\n".join(text for text in texts if isinstance(text, str) and text), numbers)


def compared(base: str, of_base: Iterable[Sample], adapter: Sample, invoked: Sample | str) -> Step:
    """Whether the adapter answers itself.

    Args:
        base: its base component's name.
        of_base: two answers of that component on ``/openai/v1``.
        adapter: the adapter's, on the same route.
        invoked: the adapter's on ``/invocations``; where it was not had, why not, or nothing where it was not needed.
    """
    first, again = of_base
    if not first:
        return Step(_NAME, "skipped", f"not compared with {base}, which answered without a word")
    if first.differs(again):
        detail = f"{base} answers the same question differently at temperature 0, so that nothing can be compared"
        return Step(_NAME, "skipped", detail)
    if not adapter:
        return not_compared(base, "it answered without a word")
    noise = first.distance(again)
    if first.differs(adapter, noise):
        return Step(_NAME, "ok", f"its answer is not that of {base}, on which it stands")
    invoked = invoked or _SILENT
    if isinstance(invoked, str):
        detail = f"its answer is that of {base}, which may be answering for it; on /invocations: {invoked}"
        return Step(_NAME, "warning", detail, f"{_UNKNOWN}; {_WAY_OUT}")
    if first.differs(invoked, noise):
        detail = f"{base} answers for it on /openai/v1; on /invocations the adapter answers"
        return Step(_NAME, "failed", detail, _WAY_OUT)
    detail = f"its answer is that of {base}, on /openai/v1 and on /invocations: the base may be answering for it"
    advice = f"see whether it was loaded, in the container's log, and whether it changes such an answer; {_UNKNOWN}"
    return Step(_NAME, "warning", detail, advice)


def confirmed(of_base: Iterable[Sample], ask: Callable[[], Sample]) -> Sample:
    """An answer; one that differs from the base's is asked for once more, as a busy base differs from itself at times,
    and the second one counts.
    """
    first, again = of_base
    sample = ask()
    return ask() if first.differs(sample, first.distance(again)) else sample


def not_compared(base: str, reason: str) -> Step:
    """The step where one of them could not be asked."""
    return Step(_NAME, "skipped", f"not compared with {base}: {reason}", f"{base} may be answering for it: {_UNKNOWN}")


def needs_invocations(of_base: Iterable[Sample], adapter: Sample) -> bool:
    """Whether ``compared`` tells more with the adapter's answer on ``/invocations``."""
    first, again = of_base
    return not first.differs(again) and not first.differs(adapter, first.distance(again))


def _first(choices: Any) -> Mapping[str, Any]:
    return _mapping(choices[0]) if isinstance(choices, list) and choices else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
