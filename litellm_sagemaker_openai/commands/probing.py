"""The questions of ``check --probe``, and what their answers tell of what a model can do. Pure.

Only what an answer shows is claimed, and the contrary only where the container refused a feature in its own words. What
no answer shows is no claim: a small model that calls no tool may be one that does not want to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from litellm_sagemaker_openai.aws.control_plane import Deployed
from litellm_sagemaker_openai.capabilities import Fact, Facts, Value
from litellm_sagemaker_openai.commands.common import printable, reason
from litellm_sagemaker_openai.commands.diagnosis import TOOLS_ADVICE, Step
from litellm_sagemaker_openai.formats.whole_answer import REASONING
from litellm_sagemaker_openai.upstream_errors import FailureKind, UpstreamError, quoted

_MAX_EXAMINED = 100_000  # characters of an answer: the longest that is asked for has a thousand tokens
_MAX_SHOWN = 80  # characters of what a container or a model said
_REASONING_ADVICE = "vLLM needs the --reasoning-parser of the model, so that reasoning is told from the answer"
# LiteLLM's, in its order (litellm.types.llms.openai.REASONING_EFFORT, 1.106.2).
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_MADE_UP = "made-up"

# Tokens that an answer may have: for one that only has to begin; for one that must be whole; for one that must be whole
# where the model may think before it.
_FEW, _SOME, _MANY = 32, 256, 1024
# More than any context has. It fits into 32 bits, with a prompt added to it as well.
BEYOND_ANY_CONTEXT = 1_000_000_000

# 64 x 64 pixels, the left half green (0, 128, 0), the right half yellow (255, 255, 0). Two colours, since a model that
# does not see the image would guess one of them now and then.
IMAGE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAATklEQVR42u3PMQ0AAAgDsEnH+ZDAxdekBppMXrW/IiAgICAgICAg"
    "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICBwWTer8R5izkb2AAAAAElFTkSuQmCC"
)
_COLOURS = frozenset({"red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"})
# Each of these stands in any sentence of a few words. vLLM looks for them in reasoning, too.
_STOPS = [" ", "e", "a", "\n"]

_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOLS = [
    {"type": "function", "function": {"name": name, "description": description, "parameters": _CITY}}
    for name, description in (("get_weather", "The weather in a city"), ("get_time", "The local time in a city"))
]
_TOOL_NAMES = tuple(tool["function"]["name"] for tool in _TOOLS)  # type: ignore[index]
_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
# A call as models write it, before a parser has read it (vLLM's and SGLang's parsers: tests/wire/parsers.json).
_CALL_AS_TEXT = re.compile(
    r"<tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>|<function[=_]|<｜tool▁call|\b(?:get_weather|get_time)\("  # noqa: RUF001
    r"|\"name\": ?\"(?:get_weather|get_time)\""
)
_THINK_TAG = re.compile(r"</?think>")

# How containers say how long their context is, each from the server it is named after.
_CONTEXT_LENGTH = re.compile(
    r"max_model_len=(?:max_total_tokens=)?(\d+)"  # vLLM 0.32 (tests/wire/vllm/err_max_tokens.http)
    r"|maximum context length (?:is|of) (\d+)"  # vLLM; SGLang: "exceeds the model's maximum context length of"
    r"|context length is only (\d+)"  # vLLM ≥ 0.12
    r"|maximum model length of (\d+)"  # vLLM V1
    r"|maximum allowed length \((\d+)"  # SGLang
    r"|available context size \((\d+)"  # llama.cpp
    r"|`max_new_tokens` must be <= (\d+)"  # TGI
)
# llama.cpp answers 500: "image input is not supported - hint: if this is unexpected, …".
_NOT_SUPPORTED = re.compile(
    r"(?i)\bnot (?:yet )?(?:supported|implemented)\b|\bdoes(?:n't| not) support\b|\bunsupported\b"
)


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer: the container's JSON, once ``whole_response`` has taken it for a chat completion."""

    answer: Mapping[str, Any]

    @property
    def choices(self) -> Sequence[Mapping[str, Any]]:
        choices: Sequence[Mapping[str, Any]] = self.answer["choices"]
        return choices

    @property
    def message(self) -> Mapping[str, Any]:
        message: Mapping[str, Any] = self.choices[0]["message"]
        return message

    @property
    def content(self) -> str:
        return _text(self.message.get("content"))

    @property
    def reasoning(self) -> str:
        return next(filter(None, (_text(self.message.get(name)) for name in REASONING)), "")

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """The functions that were called, and their arguments: JSON, or what stands there instead."""
        functions = [call.get("function") or {} for call in self.message.get("tool_calls") or ()]
        return [(_text(function.get("name")), function.get("arguments")) for function in functions]

    @property
    def cut(self) -> bool:
        """Whether it ended at the number of tokens that it was allowed."""
        return self.choices[0].get("finish_reason") == "length"


@dataclass(frozen=True, slots=True)
class Refused:
    """The container refused what was asked, in these words."""

    message: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nothing that tells what the model can do, and why."""

    reason: str


Reply: TypeAlias = Answered | Refused | Unanswered


def refused(upstream: UpstreamError) -> Refused | None:
    """The container's refusal of what was asked; None for a failure that would be the same whatever was asked."""
    if not upstream.from_container or upstream.failure is not FailureKind.REFUSED:
        return None
    own_meaning = upstream.status in (401, 403, 404, 408, 429)
    if (upstream.status < 500 and not own_meaning) or _NOT_SUPPORTED.search(upstream.message):
        return Refused(upstream.message)
    return None


@dataclass(frozen=True)
class Finding(Step):
    """A step, and what it tells.

    Attributes:
        facts: what was seen.
        names: LiteLLM's names of what was looked for, whether it was seen or not; empty where it was not measured.
        parameters: LiteLLM's parameters that calls need for it, for a deployment's ``litellm_params``.
    """

    facts: Facts = field(default_factory=dict)
    names: tuple[str, ...] = ()
    parameters: Facts = field(default_factory=dict)


Found: TypeAlias = Mapping[str, Finding]


@dataclass(frozen=True)
class Probe:
    """One thing that is looked for.

    Attributes:
        name: the steps', the first's where there are more.
        questions: the bodies of its requests, without a model; ``max_tokens`` is always there.
        judge: the replies, none of which is missing → what they tell.
        names: LiteLLM's names of what is looked for. Where the container refuses it in ``words``, the first is false.
        words: by which a container names what it refuses. None: ``judge`` reads a refusal of the first question.
        advice: where it refuses it.
        needs: what must have been found before, and whether that is enough; else the reason why this is not asked.
    """

    name: str
    questions: tuple[Mapping[str, Any], ...]
    judge: Callable[[Sequence[Answered | Refused]], list[Finding]]
    names: tuple[str, ...] = ()
    words: str | None = "(?!)"  # it has none
    advice: str = ""
    needs: Callable[[Found], str] = lambda found: ""

    def findings(self, replies: Sequence[Reply]) -> list[Finding]:
        """What the replies to its questions tell."""
        answered: list[Answered | Refused] = []
        for reply in replies:
            if isinstance(reply, Unanswered):
                return [self.skipped(f"not measured: {reply.reason}")]
            answered.append(reply)
        if isinstance(answered[0], Refused) and self.words is not None:
            return [self._refused(answered[0].message, self.words)]
        findings = self.judge(answered)
        only = len(findings) == 1 and findings[0].status != "skipped"
        return [replace(findings[0], names=self.names)] if only else findings

    def skipped(self, reason: str) -> Finding:
        """What is found where it was not asked, or not answered."""
        return Finding(self.name, "skipped", reason)

    def _refused(self, message: str, words: str) -> Finding:
        if context_length(message) is not None:
            return self.skipped(f"not measured, since it does not fit: {message}")
        said = f"the container refuses it: {_line(message)}"
        named = self.names[:1] if re.search(words, message, re.IGNORECASE) else ()
        facts = {name: Fact(False, said) for name in named}
        return Finding(self.name, "warning", f"the container refuses it: {message}", self.advice, facts, self.names)


def context_length(message: str) -> Fact | None:
    """The length of the container's context, where a refusal says it, and the words that do."""
    found = _CONTEXT_LENGTH.search(message)
    digits = next(filter(None, found.groups()), "") if found else ""
    length = int(digits) if 0 < len(digits) < 10 else 0  # int() refuses thousands of digits
    return Fact(length, f"the container says: {found[0]}") if found and 0 < length < BEYOND_ANY_CONTEXT else None


def _system(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = _answers(replies)
    if "pineapple" not in f"{reply.content} {reply.reasoning}".lower():
        return [_not_seen("system messages", "taken, and not heeded", reply)]
    facts = {"supports_system_messages": Fact(True, "the answer heeded one")}
    return [Finding("system messages", "ok", "heeded; developer messages are sent as system messages", facts=facts)]


def _tools(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = _answers(replies)
    called = [f"{quoted(name)}({quoted(arguments)})" for name, arguments in reply.calls]
    rightly = [name in _TOOL_NAMES and isinstance(_as_json(arguments), dict) for name, arguments in reply.calls]
    one, two = ("supports_function_calling",), ("supports_parallel_function_calling",)
    if not called or not all(rightly):
        if called:
            what = f"called, but not as the tools are ({_line(' '.join(called))})"
        elif _CALL_AS_TEXT.search(reply.content):
            what = "the call came as text, so that its parser is missing or another model's"
        else:
            what = "no tool was called, which does not tell whether it can"
        finding = _not_seen("tool calls", what, reply, TOOLS_ADVICE)
        named = finding if finding.status == "skipped" else replace(finding, names=one)
        return [named, Finding("parallel tool calls", "skipped", "needs: tool calls")]
    said = _line(" ".join(called))
    tools = Finding("tool calls", "ok", said, facts={one[0]: Fact(True, f"it called {said}")}, names=one)
    if len(called) == 1:
        detail = "one call where two were asked for, which does not tell whether it can"
        return [tools, Finding("parallel tool calls", "warning", detail, names=two)]
    facts = {two[0]: Fact(True, f"{len(called)} calls in one answer")}
    return [tools, Finding("parallel tool calls", "ok", f"{len(called)} calls in one answer", facts=facts, names=two)]


def _tool_choice(replies: Sequence[Answered | Refused]) -> list[Finding]:
    ways = (("required", _TOOL_NAMES), ("a named function", _TOOL_NAMES[:1]))
    for (how, wanted), reply in zip(ways, replies, strict=True):
        if isinstance(reply, Refused):
            return [Finding("tool choice", "warning", f"{how} is refused: {_line(reply.message)}", TOOLS_ADVICE)]
        if not any(name in wanted for name, _ in reply.calls):
            return [_not_seen("tool choice", f"{how} is not heeded", reply, TOOLS_ADVICE)]
    said = "required and a named function are heeded"
    return [Finding("tool choice", "ok", said, facts={"supports_tool_choice": Fact(True, said)})]


def _schema(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = _answers(replies)
    given = _as_json(reply.content)
    if not isinstance(given, dict) or set(given) != {"ok"} or not isinstance(given["ok"], bool):
        return [_not_seen("JSON schema", "the answer does not fit the schema", reply)]
    facts = {"supports_response_schema": Fact(True, f"a greeting was answered by the schema: {_shown(reply)}")}
    return [Finding("JSON schema", "ok", "the answer fits the schema", facts=facts)]


def _json_object(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = _answers(replies)
    if not isinstance(_as_json(reply.content), dict):
        return [_not_seen("JSON object", "the answer is no JSON object", reply)]
    return [Finding("JSON object", "ok", "the answer is a JSON object")]


def _image(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = _answers(replies)
    named = _COLOURS & set(re.findall(r"[a-z]+", reply.content.lower()))
    if named != {"green", "yellow"}:
        return [_not_seen("image", "taken, and its two colours, green and yellow, were not named", reply)]
    facts = {"supports_vision": Fact(True, "it named an image's two colours")}
    return [Finding("image", "ok", "it named an image's two colours", facts=facts)]


def _reasoning(replies: Sequence[Answered | Refused]) -> list[Finding]:
    answers = _answers(replies)
    effort = isinstance(replies[1], Answered)
    if any(reply.reasoning for reply in answers):
        how = "" if answers[0].reasoning else "with reasoning_effort=high, "
        said = f"{how}the answer has reasoning apart from its text"
        facts = {"supports_reasoning": Fact(True, said)}
        if effort:
            parameters = {"allowed_openai_params": Fact(["reasoning_effort"], "it reasons, and takes that")}
            return [Finding("reasoning", "ok", said, facts=facts, parameters=parameters)]
        refusal = next(_line(reply.message) for reply in replies if isinstance(reply, Refused))
        return [Finding("reasoning", "ok", f"{said}; reasoning_effort is refused: {refusal}", facts=facts)]
    if any(_THINK_TAG.search(reply.content) for reply in answers):
        detail = "the answer's text has its reasoning in it, between <think> tags"
        return [Finding("reasoning", "warning", detail, _REASONING_ADVICE)]
    return [Finding("reasoning", "warning", "no answer had reasoning apart from its text")]


def _efforts(replies: Sequence[Answered | Refused]) -> list[Finding]:
    name, made_up = "reasoning levels", replies[-1]
    by_level = dict(zip(EFFORTS, replies, strict=False))  # the last one is the made-up one's
    taken = [level for level, reply in by_level.items() if isinstance(reply, Answered)]
    facts: dict[str, Fact] = {}
    off = by_level["none"]
    ignores_none = isinstance(off, Answered) and bool(off.reasoning or _THINK_TAG.search(off.content))
    if ignores_none:
        taken.remove("none")
    elif isinstance(off, Answered) and any(reply.reasoning for reply in _answers(replies)):
        facts["supports_none_reasoning_effort"] = Fact(True, "none ends the reasoning, and others do not")
    if not taken:
        return [Finding(name, "warning", f"none of {', '.join(EFFORTS)} is taken")]
    if isinstance(made_up, Answered):
        detail = "a level that does not exist is taken, too, so that nothing tells which ones the model knows"
        return [Finding(name, "warning", detail, facts=facts)]
    facts["reasoning_effort_levels"] = Fact(taken, "each of these is taken, and one that does not exist is refused")
    ignored = "; none is taken, and does not end the reasoning" if ignores_none else ""
    return [Finding(name, "ok", f"{', '.join(taken)}{ignored}", facts=facts)]


def _temperature(replies: Sequence[Answered | Refused]) -> list[Finding]:
    return [Finding("temperature 0", "ok", "taken")]


def _stop(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = _answers(replies)
    text, said = f"{reply.reasoning}{reply.content}".strip(), reply.choices[0].get("stop_reason")
    # vLLM names the word; without that, an answer without a word does not tell.
    if not reply.cut and ((text and not any(stop in text for stop in _STOPS)) or said in _STOPS):
        return [Finding("stop", "ok", "the answer ended before the stop word")]
    return [Finding("stop", "warning", f"not seen: it said {_shown(reply)}")]


def _choices(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = _answers(replies)
    if len(reply.choices) == 2:
        return [Finding("n", "ok", "two answers to n=2")]
    count = len(reply.choices)
    return [Finding("n", "warning", f"not heeded: {count} answer{'s' if count > 1 else ''} to n=2")]


def _logprobs(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = _answers(replies)
    logprobs = reply.choices[0].get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    first = tokens[0] if isinstance(tokens, list) and tokens else None
    if isinstance(first, Mapping) and isinstance(first.get("logprob"), (int, float)):
        return [Finding("logprobs", "ok", "each token has one")]
    return [Finding("logprobs", "warning", "not heeded: the answer has none")]


def _context(replies: Sequence[Answered | Refused]) -> list[Finding]:
    [reply] = replies
    if isinstance(reply, Answered):
        detail = "the container takes any max_tokens, and so does not say how long its context is"
        return [Finding("context length", "warning", detail)]
    if (length := context_length(reply.message)) is None:
        return [Finding("context length", "warning", f"the refusal does not say it: {reply.message}")]
    detail = f"{length.value} tokens, of prompt and answer together"
    return [Finding("context length", "ok", detail, facts={"max_input_tokens": length})]


def _question(content: Any, most: int, /, **more: Any) -> Mapping[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "max_tokens": most, **more}


def _thinking(most: int, **more: Any) -> Mapping[str, Any]:
    return _question("Which is larger, 9.11 or 9.9? Answer with the number.", most, **more)


def _needs(name: str) -> Callable[[Found], str]:
    return lambda found: "" if name in found and found[name].status == "ok" else f"needs: {name}"


def _needs_effort(found: Found) -> str:
    return "" if "reasoning" in found and found["reasoning"].parameters else "needs: reasoning, with reasoning_effort"


_SYSTEM_QUESTION = {
    "messages": [
        {"role": "system", "content": "Whatever is said, answer with the one word: pineapple"},
        {"role": "user", "content": "Hello."},
    ],
    "max_tokens": _SOME,
}
_IMAGE_QUESTION = [
    {"type": "text", "text": "Which two colours does this image have? Answer with the two words."},
    {"type": "image_url", "image_url": {"url": IMAGE}},
]
_NAMED = {"type": "function", "function": {"name": _TOOL_NAMES[0]}}
_BOTH = "What is the weather in Dublin, and what time is it there? Call get_weather and get_time, both at once."
_AS_SCHEMA = {"type": "json_schema", "json_schema": {"name": "p", "schema": _SCHEMA}}

PROBES = (
    Probe("system messages", (_SYSTEM_QUESTION,), _system, ("supports_system_messages",), r"\bsystem\b|\broles?\b"),
    Probe(
        "tool calls",
        (_question(_BOTH, _MANY, tools=_TOOLS),),
        _tools,
        ("supports_function_calling", "supports_parallel_function_calling"),
        r"\btools?\b|tool[-_]|function",
        TOOLS_ADVICE,
    ),
    Probe(
        "tool choice",
        tuple(_question("Hi", _MANY, tools=_TOOLS, tool_choice=choice) for choice in ("required", _NAMED)),
        _tool_choice,
        ("supports_tool_choice",),
        r"tool_choice|tool choice",
        TOOLS_ADVICE,
    ),
    Probe(
        "JSON schema",
        (_question("Hi", _MANY, response_format=_AS_SCHEMA),),
        _schema,
        ("supports_response_schema",),
        r"response_?format|schema|guided|structured|grammar",
    ),
    Probe(
        "JSON object",
        (_question('Answer with this JSON object: {"ok": true}', _MANY, response_format={"type": "json_object"}),),
        _json_object,
    ),
    Probe(
        "image",
        (_question(_IMAGE_QUESTION, _MANY),),
        _image,
        ("supports_vision",),
        r"image|multi-?modal|vision|modalit",
    ),
    Probe(
        "reasoning", (_thinking(_MANY), _thinking(_MANY, reasoning_effort="high")), _reasoning, ("supports_reasoning",)
    ),
    Probe(
        "reasoning levels",
        tuple(_thinking(_FEW, reasoning_effort=level) for level in (*EFFORTS, _MADE_UP)),
        _efforts,
        ("reasoning_effort_levels", "supports_none_reasoning_effort"),
        words=None,
        needs=_needs_effort,
    ),
    Probe("temperature 0", (_question("Hi", _FEW, temperature=0),), _temperature),
    Probe("stop", (_question("Say hello in one sentence.", _FEW, stop=_STOPS),), _stop),
    Probe("n", (_question("Hi", _FEW, n=2),), _choices),
    Probe("logprobs", (_question("Hi", _FEW, logprobs=True, top_logprobs=2),), _logprobs),
    # Where it is taken, the stop words end the answer: it is asked only where they are known to.
    Probe(
        "context length",
        (_question("Say hello in one sentence.", BEYOND_ANY_CONTEXT, stop=_STOPS),),
        _context,
        ("max_input_tokens",),
        words=None,
        needs=_needs("stop"),
    ),
)
MOST_REQUESTS = sum(len(probe.questions) for probe in PROBES)
# What is asked for beyond any context is refused, or ends at a stop word.
MOST_TOKENS = sum(
    question.get("n", 1) * question["max_tokens"]
    for probe in PROBES
    for question in probe.questions
    if question["max_tokens"] != BEYOND_ANY_CONTEXT
)


def settings(deployed: Deployed | Exception | None) -> Finding:
    """What the control plane tells of the model; None: it was not asked."""
    if deployed is None:
        return Finding("settings", "skipped", "not asked: the runtime is on this machine")
    if isinstance(deployed, Exception):
        return Finding("settings", "skipped", f"not read: {reason(deployed)}")
    facts = deployed.settings.model_info()
    told = ", ".join(f"{name} {json.dumps(fact.value)}" for name, fact in facts.items())
    missing = f"; not allowed: {', '.join(deployed.not_permitted)}" if deployed.not_permitted else ""
    return Finding("settings", "ok", f"{told or 'none that tells what it can do'}{missing}", facts=facts)


def chat(step: Step) -> Finding:
    """What a chat tells that was answered."""
    facts = {"mode": Fact("chat", "it answers chats")}
    return Finding(step.name, step.status, step.detail, step.advice, facts, ("mode",))


def embeddings(size: int, format: str) -> Finding:
    """What vectors of ``size`` numbers tell, that came for a request in one of ``formats.embeddings.FORMATS``."""
    detail = f"vectors of {size} numbers, on /invocations"
    facts = {"mode": Fact("embedding", f"{detail}; no chat"), "output_vector_size": Fact(size, f"a vector had {size}")}
    needed = {"aws_sagemaker_embedding_format": Fact(format, "the first of the formats that the container takes")}
    parameters = {} if format == "openai" else needed
    return Finding("embeddings", "ok", detail, facts=facts, names=tuple(facts), parameters=parameters)


def compared(finding: Finding, known: Facts) -> Finding:
    """The finding, with what is known otherwise and is not so: another value fails, what was not seen is said."""
    for name in finding.names:
        if (said := known.get(name)) is None:
            continue
        told = f"{_line(said.source)} tells {name}: {json.dumps(said.value)}"
        if (seen := finding.facts.get(name)) is None:
            if said.value is not False:
                finding = replace(finding, advice="; ".join(filter(None, [finding.advice, f"{told}; not seen"])))
        elif name == "max_input_tokens" and _is_shorter(said.value, seen.value):
            # A prompt may have less than the context.
            facts = {other: fact for other, fact in finding.facts.items() if other != name}
            finding = replace(finding, facts=facts, names=tuple(other for other in finding.names if other != name))
        elif seen.value != said.value:
            finding = replace(finding, status="failed", advice=f"{told}, which is not so")
    return finding


def _is_shorter(told: Value, seen: Value) -> bool:
    return isinstance(told, int) and isinstance(seen, int) and told < seen


@dataclass(frozen=True)
class Measured:
    """What is known of a model once it was asked.

    Attributes:
        facts: what was seen, and what was told before where it could not be measured.
        parameters: for a deployment's ``litellm_params``.
    """

    facts: Facts
    parameters: Facts


def measured(steps: Iterable[Step]) -> Measured:
    """What the findings among the steps tell, as one: a later one has the last word on what it looked for."""
    facts: dict[str, Fact] = {}
    parameters: dict[str, Fact] = {}
    for step in steps:
        if isinstance(step, Finding):
            facts = {name: fact for name, fact in facts.items() if name not in step.names} | dict(step.facts)
            parameters.update(step.parameters)
    return Measured(facts, parameters)


def _answers(replies: Sequence[Answered | Refused]) -> list[Answered]:
    return [reply for reply in replies if isinstance(reply, Answered)]


def _text(value: Any) -> str:
    return value[:_MAX_EXAMINED] if isinstance(value, str) else ""


def _as_json(text: Any) -> Any:
    """The value; None for what is not JSON."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None


def _line(text: str) -> str:
    """The beginning of a text, in one line, without what a terminal would obey."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _shown(reply: Answered) -> str:
    return json.dumps(_line(quoted(reply.content or reply.reasoning)), ensure_ascii=False)


def _not_seen(name: str, what: str, reply: Answered, advice: str = "") -> Finding:
    """For an answer that does not show it; one that was cut tells nothing."""
    if reply.cut:
        return Finding(name, "skipped", f"not measured: the answer was cut at max_tokens; it said {_shown(reply)}")
    return Finding(name, "warning", f"{what}: it said {_shown(reply)}", advice)
