"""The built-in container: answers in vLLM's shapes with the caller's own words, and says that it is an echo. Pure.

A whole answer and a streamed one are two ways to write down one ``Plan``, so that they cannot disagree. It is our own,
since a real vLLM takes 3.5 GB and minutes, and its answers, which cannot be predicted, could not be tested against.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from typing import Any

from litellm_sagemaker_openai.local import DEFAULT_CONTEXT_LENGTH
from litellm_sagemaker_openai.local.described import described, without_objects
from litellm_sagemaker_openai.local.echo_checks import (
    MAX_TOP_LOGPROBS,
    TEXT_TYPES,
    Body,
    ContainerRefusal,
    check_body,
    check_lengths,
    parse_body,
)
from litellm_sagemaker_openai.local.messages import parts_of, text_of
from litellm_sagemaker_openai.local.schema import TextSource, UnsatisfiableSchemaError, example, mentioned
from litellm_sagemaker_openai.local.script import Script, ScriptedAnswer, answer_of

__all__ = ["ContainerRefusal", "EchoConfig", "complete", "parse_body", "stream", "tokenize"]

# A word or one other character, with the white space before it: joined together, tokens are the text again.
_TOKEN = re.compile(r"\s*\w{1,16}|\s*[^\w\s]|\s+")
# As many as can be asked for in all: the chosen token is one of those given, and may be one of these.
_OTHER_TOKENS = [f" {number}" for number in range(MAX_TOP_LOGPROBS)]


@dataclass(frozen=True, slots=True)
class EchoConfig:
    """The echo container's settings.

    Attributes:
        served_name: the only non-empty ``model`` that it answers to. Default: ``echo``.
        context_length: tokens of prompt and answer together. Default: 131072.
        reasoning_field: ``reasoning_content``, or ``reasoning`` as newer vLLM has it. Default: ``reasoning_content``.
        script: what to answer instead of an echo. Default: nothing.
    """

    served_name: str = "echo"
    context_length: int = DEFAULT_CONTEXT_LENGTH
    reasoning_field: str = "reasoning_content"
    script: Script | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer."""

    reasoning: str
    content: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a response says, before it is written as one object or as chunks; and how it comes, where a script says it:
    seconds before each token, and the number of tokens after which it breaks off. ``cached_tokens`` is how many of the
    prompt's were in the prefix cache; vLLM says it, with ``--enable-prompt-tokens-details``, where there were any."""

    prompt_tokens: int
    choices: tuple[Choice, ...]
    delay: float = 0
    break_after: int | None = None
    cached_tokens: int = 0

    @property
    def usage(self) -> dict[str, Any]:
        completion_tokens = sum(len(_all_tokens(choice)) for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "completion_tokens": completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens} if self.cached_tokens else None,
        }


def tokenize(text: str) -> list[str]:
    """The text's tokens; ``"".join`` of them gives the text back."""
    return _TOKEN.findall(text)


def complete(
    body: Body, config: EchoConfig | None = None, *, completion_id: str = "chatcmpl-echo", created: int = 0
) -> dict[str, Any]:
    """The whole answer to a request, as vLLM's ``chat.completion``.

    Raises:
        ContainerRefusal: the request is refused.
    """
    config = config or EchoConfig()
    return write_whole(plan_answer(body, config), body, config, completion_id=completion_id, created=created)


def write_whole(plan: Plan, body: Body, config: EchoConfig, *, completion_id: str, created: int) -> dict[str, Any]:
    """A plan as one object."""
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": config.served_name,
        "choices": [
            {
                "index": index,
                "message": _message(choice, config),
                "logprobs": _logprobs(tokenize(choice.content), body),
                "finish_reason": choice.finish_reason,
                "stop_reason": choice.stop_reason,
            }
            for index, choice in enumerate(plan.choices)
        ],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": plan.usage,
        "prompt_logprobs": None,
        "kv_transfer_params": None,
    }


def stream(
    body: Body, config: EchoConfig | None = None, *, completion_id: str = "chatcmpl-echo", created: int = 0
) -> Iterator[dict[str, Any]]:
    """The same answer as vLLM's ``chat.completion.chunk`` objects.

    Raises:
        ContainerRefusal: the request is refused; at once, not at the first chunk.
    """
    config = config or EchoConfig()
    return write_chunks(plan_answer(body, config), body, config, completion_id=completion_id, created=created)


def write_chunks(
    plan: Plan, body: Body, config: EchoConfig, *, completion_id: str, created: int
) -> Iterator[dict[str, Any]]:
    """A plan as chunks; up to where it breaks off, if it does."""
    chunks = _chunks(plan, body, config, completion_id, created)
    return chunks if plan.break_after is None else islice(chunks, len(plan.choices) * (1 + plan.break_after))


def _chunks(plan: Plan, body: Body, config: EchoConfig, completion_id: str, created: int) -> Iterator[dict[str, Any]]:
    head = {
        "id": completion_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": config.served_name,
    }
    for index in range(len(plan.choices)):
        delta = {"role": "assistant", "content": ""}
        yield {**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]}
    # vLLM runs the choices side by side, so their chunks alternate.
    for row in zip_longest(*(_choice_chunks(choice, body, config) for choice in plan.choices)):
        for index, part in enumerate(row):
            if part is not None:
                yield {**head, "choices": [{"index": index, **part}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": plan.usage}


def _choice_chunks(choice: Choice, body: Body, config: EchoConfig) -> Iterator[dict[str, Any]]:
    """One choice's deltas after the first, down to its finish chunk."""
    for token in tokenize(choice.reasoning):
        yield {"delta": {config.reasoning_field: token}, "logprobs": None, "finish_reason": None}
    for token in tokenize(choice.content):
        yield {"delta": {"content": token}, "logprobs": _logprobs([token], body), "finish_reason": None}
    for position, call in enumerate(choice.tool_calls):
        start = {"id": call.id, "type": "function", "index": position}
        pieces = [start | {"function": {"name": call.name, "arguments": ""}}]
        pieces += [{"index": position, "function": {"arguments": token}} for token in tokenize(call.arguments)]
        for piece in pieces:
            yield {"delta": {"tool_calls": [piece]}, "logprobs": None, "finish_reason": None}
    yield {
        "delta": {"content": ""},
        "logprobs": None,
        "finish_reason": choice.finish_reason,
        "stop_reason": choice.stop_reason,
    }


def _message(choice: Choice, config: EchoConfig) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in choice.tool_calls
    ]
    return {
        "role": "assistant",
        "content": choice.content or (None if calls or choice.reasoning else ""),
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": calls,
        config.reasoning_field: choice.reasoning or None,
    }


def plan_answer(body: Body, config: EchoConfig) -> Plan:
    """What the container answers.

    Raises:
        ContainerRefusal: the request is refused.
    """
    check_body(body, config.served_name)
    prompt_tokens = len(prompt_of(body))
    limit = check_lengths(body, prompt_tokens, config.context_length)
    stops = body.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    scripted = answer_of(config.script, body) if config.script else None
    choices = []
    for index in range(body.get("n") or 1):
        choice = _scripted_choice(scripted, body, index) if scripted else _untruncated_choice(body, index)
        choices.append(_truncated(_cut_at_stop(choice, stops), limit))
    if scripted:
        return Plan(prompt_tokens, tuple(choices), scripted.turn.delay, scripted.turn.break_after)
    return Plan(prompt_tokens, tuple(choices))


def _scripted_choice(scripted: ScriptedAnswer, body: Body, index: int) -> Choice:
    calls = scripted.tool_calls[:1] if body.get("parallel_tool_calls") is False else scripted.tool_calls
    return Choice(
        "" if _wants_reasoning(body) is False else scripted.reasoning,
        scripted.content,
        tuple(_tool_call(body, index, position, *call) for position, call in enumerate(calls)),
        scripted.finish_reason,
    )


def _untruncated_choice(body: Body, index: int) -> Choice:
    reasoning = _reasoning(body) if _wants_reasoning(body) else ""
    try:
        calls = _tool_calls(body, index)
        content = "" if calls else _content(body, index)
    except UnsatisfiableSchemaError as error:
        raise ContainerRefusal(f"The schema cannot be satisfied: {error}") from error
    return Choice(reasoning, content, tuple(calls), "tool_calls" if calls else "stop")


def _content(body: Body, index: int) -> str:
    response_format = body.get("response_format") or {}
    source = TextSource(_last_user_text(body))
    if response_format.get("type") == "json_schema":
        return json.dumps(example(response_format["json_schema"]["schema"], source), ensure_ascii=False)
    if response_format.get("type") == "json_object":
        return json.dumps(_json_object(body, source.text), ensure_ascii=False)
    results = _trailing_tool_results(body)
    if results:
        subject = "The tool answered" if len(results) == 1 else f"The {len(results)} tools answered"
        answer = f"{subject}: {' | '.join(results)}"
    else:
        answer = f"Echo container, not a model. You said: {source.text}{_attachments(body)}{_conversation(body)}"
    return f"{answer} (Choice {index + 1}.)" if index else answer


def _json_object(body: Body, text: str) -> Any:
    """An object as the prompt describes it, else one with the user's words."""
    plain = {"echo": text, "is_model": False}
    # The system messages last: they say what is asked for, and a user's may have JSON that is asked about.
    roles = (("user",), ("system", "developer"))
    schema = described(text_of(message) for each in roles for message in body["messages"] if message["role"] in each)
    if schema is None:
        return plain
    try:
        made = example(schema, TextSource(without_objects(text)))
        json.dumps(made, ensure_ascii=False, allow_nan=False).encode()
    except (UnsatisfiableSchemaError, ValueError):
        # What stands in a prompt may be anything, also infinity or half a character, and is no reason to refuse it.
        return plain
    return made if isinstance(made, dict) else plain


def _conversation(body: Body) -> str:
    """What is said about the messages before the last one."""
    messages = body["messages"]
    if len(messages) == 1:
        return ""
    system = [text_of(message) for message in messages if message["role"] in ("system", "developer")]
    told = f', told: "{" ".join(system)}"' if system else ""
    return f" (Message {len(messages)} of this conversation{told}.)"


def _attachments(body: Body) -> str:
    counts = Counter(part["type"] for part in parts_of(_last_user_message(body)) if part["type"] not in TEXT_TYPES)
    return f" (and sent {', '.join(f'{count} {kind}' for kind, count in counts.items())})" if counts else ""


def _wants_reasoning(body: Body) -> bool | None:
    """None where the request says nothing of it."""
    template = body.get("chat_template_kwargs")
    thinking = template.get("enable_thinking") if isinstance(template, dict) else None
    if body.get("include_reasoning") is False or thinking is False:
        return False
    effort = body.get("reasoning_effort")
    if thinking or body.get("include_reasoning") or effort not in (None, "none"):
        return True
    return None if effort is None else False


def _reasoning(body: Body) -> str:
    words = len(tokenize(_last_user_text(body)))
    return f"The user's last message has {words} tokens. An echo does not think; it gives them back."


def _tool_calls(body: Body, index: int) -> list[ToolCall]:
    choice = body.get("tool_choice") or "auto"
    functions = [tool["function"] for tool in body.get("tools") or ()]
    # A tool's result is answered in words, unless the caller insists on a call: else no agent would ever end.
    if not functions or choice == "none" or (choice == "auto" and _trailing_tool_results(body)):
        return []
    source = TextSource(_last_user_text(body))
    calls = []
    for position, function in enumerate(_functions_to_call(functions, choice, source.text, body)):
        schema = function.get("parameters") or {"type": "object"}
        arguments = json.dumps(example(schema, source), ensure_ascii=False)
        calls.append(_tool_call(body, index, position, function["name"], arguments))
    return calls


def _tool_call(body: Body, index: int, position: int, name: str, arguments: str) -> ToolCall:
    seed = f"{len(body['messages'])} {index} {position} {name} {arguments}"
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return ToolCall(f"chatcmpl-tool-{digest[:32]}", name, arguments)


def _functions_to_call(
    functions: Sequence[dict[str, Any]], choice: Any, text: str, body: Body
) -> Sequence[dict[str, Any]]:
    """The one that the tool choice names, those that the text mentions, or the first.

    Where a call is required, the first that the assistant has not called yet: smolagents requires calls until its
    ``final_answer`` is called, and writes earlier ones into the assistant's text.
    """
    if isinstance(choice, dict):
        return [function for function in functions if function["name"] == choice["function"]["name"]][:1]
    names = set(mentioned({function["name"] for function in functions}, text))
    called = [function for function in functions if function["name"] in names]
    if body.get("parallel_tool_calls") is False:
        called = called[:1]
    if choice == "required" and not called:
        said = [text_of(each) + _calls_text(each) for each in body["messages"] if each["role"] == "assistant"]
        before = set(mentioned({function["name"] for function in functions}, " ".join(said)))
        called = [function for function in functions if function["name"] not in before][:1]
    return called or functions[:1]


def _cut_at_stop(choice: Choice, stops: Sequence[str]) -> Choice:
    """The choice up to the first stop string, which is not part of the answer."""
    found = [(choice.content.find(stop), stop) for stop in stops if stop in choice.content]
    if not found:
        return choice
    position, stop = min(found)
    return replace(choice, content=choice.content[:position], stop_reason=stop)


def _truncated(choice: Choice, limit: int) -> Choice:
    """The choice's first ``limit`` tokens: reasoning first, then content, then the calls' arguments."""
    if len(_all_tokens(choice)) <= limit:
        return choice
    reasoning = tokenize(choice.reasoning)[:limit]
    limit -= len(reasoning)
    content = tokenize(choice.content)[:limit]
    limit -= len(content)
    calls = []
    for call in choice.tool_calls:
        name = len(tokenize(call.name))
        if limit < name:
            break
        arguments = tokenize(call.arguments)[: limit - name]
        limit -= name + len(arguments)
        calls.append(replace(call, arguments="".join(arguments)))
    return Choice("".join(reasoning), "".join(content), tuple(calls), "length")


def _all_tokens(choice: Choice) -> list[str]:
    texts = [choice.reasoning, choice.content]
    texts += [text for call in choice.tool_calls for text in (call.name, call.arguments)]
    return [token for text in texts for token in tokenize(text)]


def _logprobs(tokens: Sequence[str], body: Body) -> dict[str, Any] | None:
    """Made up, but well-formed: the chosen token is the likeliest, and each number depends on the token alone."""
    if not body.get("logprobs") or not tokens:
        return None
    top = body.get("top_logprobs") or 0
    return {"content": [_token_logprobs(token, top) for token in tokens]}


def chosen_logprob(token: str) -> float:
    """Made up: it depends on the token alone."""
    return -(hashlib.sha256(token.encode()).digest()[0] + 1) / 1000


def _token_logprobs(token: str, top: int) -> dict[str, Any]:
    logprob = chosen_logprob(token)
    others = [other for other in _OTHER_TOKENS if other != token]
    ranked = [(token, logprob), *((other, logprob - 2 - place) for place, other in enumerate(others))][:top]
    return {**_logprob(token, logprob), "top_logprobs": [_logprob(*entry) for entry in ranked]}


def _logprob(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def prompt_of(body: Body) -> list[str]:
    """The tokens of what a chat template makes of the request."""
    lines = [f"<{message['role']}>{text_of(message)}{_calls_text(message)}" for message in body["messages"]]
    if body.get("tools"):
        lines.insert(0, json.dumps(body["tools"], ensure_ascii=False))
    return tokenize("\n".join([*lines, "<assistant>"]))


def _calls_text(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    return json.dumps(calls, ensure_ascii=False) if calls else ""


def _last_user_message(body: Body) -> Mapping[str, Any]:
    """The user's last message; without any, the last message."""
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    return next((message for message in reversed(messages) if message["role"] == "user"), messages[-1])


def _last_user_text(body: Body) -> str:
    parts = parts_of(_last_user_message(body))
    return " ".join(part[part["type"]] for part in parts if part["type"] in TEXT_TYPES)


def _trailing_tool_results(body: Body) -> list[str]:
    """The texts of the tool messages that end the conversation."""
    results: list[str] = []
    for message in reversed(body["messages"]):
        if message["role"] not in ("tool", "function"):
            break
        results.insert(0, text_of(message))
    return results
