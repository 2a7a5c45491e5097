"""A script: which answers the built-in container gives, turn by turn, in place of its echo. Pure.

It keeps no state: a request's turn is the number of answers that its conversation has already. So conversations can run
side by side, be retried, and go on after a restart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from litellm_sagemaker_openai.local.echo_checks import Body, ContainerRefusal
from litellm_sagemaker_openai.local.messages import text_of

_ERROR_TYPES = {404: "NotFoundError"}  # vLLM's; BadRequestError and InternalServerError are those of the others


class ScriptError(ValueError):
    """A script cannot be played; the message says where it is wrong and what to write instead."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class When(_Part):
    """Which requests a conversation is for: those for which all that is given holds. Texts are found in upper and lower
    case as written.

    Attributes:
        user: a text in one of the user's messages. Turns are counted from the last message that has it.
        system: a text in a system or developer message.
        tool: the name of a tool that the request offers.
    """

    user: str | None = Field(default=None, min_length=1)
    system: str | None = Field(default=None, min_length=1)
    tool: str | None = Field(default=None, min_length=1)


class Call(_Part):
    """A tool call.

    Attributes:
        name: the tool's name.
        arguments: a mapping, which is written as JSON; or the text itself, which may be broken JSON. Default: ``{}``.
    """

    name: str = Field(min_length=1)
    arguments: dict[str, Any] | str = Field(default_factory=dict)

    @field_validator("arguments", mode="before")
    @classmethod
    def _can_be_written(cls, arguments: Any) -> Any:
        if not isinstance(arguments, (dict, str)):
            raise ValueError("write a mapping, or the arguments' text in quotes")
        if isinstance(arguments, dict) and (other := [key for key in arguments if not isinstance(key, str)]):
            raise ValueError(f"{other[0]!r} is not a name; put it in quotes")
        try:
            _json_text(arguments).encode()
        except UnicodeEncodeError as error:
            raise ValueError("half a character (a lone surrogate) cannot be sent") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"this cannot be written as JSON ({error}); put dates and the like in quotes") from error
        return arguments


class Failure(_Part):
    """An error of the container's.

    Attributes:
        status: the HTTP status, 400 to 599. Default: 500.
        message: what the container says.
    """

    status: int = Field(default=500, ge=400, le=599)
    message: str


class Turn(_Part):
    """One answer, or several alike. In its texts ``{turn}`` stands for the turn's number, from 1.

    Attributes:
        reasoning: what the model thinks. It is left out where the request does not want it.
        content: the answer's text.
        tool_calls: the calls of this answer, all at once.
        finish_reason: Default: ``tool_calls`` with calls, else ``stop``.
        error: an error in place of an answer. A retry gets it again.
        delay: seconds before each token; a whole answer takes as long as a stream. Default: 0.
        break_after: the connection breaks after so many tokens of a stream; in place of a whole answer comes the error
            503 of a container that cannot be reached. Default: never.
        repeat: how many turns in a row are like this one. Default: 1.
    """

    reasoning: str = ""
    content: str = ""
    tool_calls: tuple[Call, ...] = Field(default=(), strict=False)
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"] | None = None
    error: Failure | None = None
    delay: float = Field(default=0, ge=0, allow_inf_nan=False)
    break_after: int | None = Field(default=None, ge=0)
    repeat: int = Field(default=1, ge=1)

    @field_validator("reasoning", "content")
    @classmethod
    def _can_be_sent(cls, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError("half a character (a lone surrogate) cannot be sent") from error
        return text

    @model_validator(mode="after")
    def _says_something(self) -> Turn:
        answer = {"reasoning", "content", "tool_calls"} & self.model_fields_set
        if not answer and self.error is None:
            raise ValueError("an empty turn; write content, tool_calls, reasoning or error")
        if self.error is not None and (others := self.model_fields_set - {"error", "repeat"}):
            raise ValueError(f"error stands alone; leave out {', '.join(sorted(others))}")
        return self


class Conversation(_Part):
    """The turns of the conversations that ``when`` tells. Default: all."""

    when: When = When()
    turns: tuple[Turn, ...] = Field(min_length=1, strict=False)


class Script(_Part):
    """All that a container is to play.

    A request is answered by the conversation whose user text was said last in it, and of several by the first. One that
    belongs to none of them gets the echo.
    """

    conversations: tuple[Conversation, ...] = Field(min_length=1, strict=False)


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """What a turn says to one request: each call's name and arguments, which are text."""

    turn: Turn
    reasoning: str
    content: str
    tool_calls: tuple[tuple[str, str], ...]
    finish_reason: str


def read_script(text: str | bytes, name: str = "the script") -> Script:
    """The script that YAML, or JSON, says.

    Raises:
        ScriptError: it is not YAML, or not a script; ``name`` is what the message calls it.
        ModuleNotFoundError: PyYAML is not installed; LiteLLM's proxy brings it.
    """
    import yaml  # type: ignore[import-untyped]  # here: only this needs it

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ScriptError(f"{name}{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ScriptError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if repeated := _repeated_name(root):
        raise ScriptError(f"{name}, line {repeated[1]}: {repeated[0]} is there twice; several go into one list")
    if not isinstance(value, dict):
        raise ScriptError(f"{name}: write a mapping that begins with 'conversations:'")
    try:
        return Script.model_validate(value)
    except ValidationError as error:
        # What has an unknown name is often missing under its own.
        first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        path, line_number = _place(root, first["loc"])
        raise ScriptError(f"{name}, line {line_number}: {_named(path)}{_advice(first)}") from error


def answer_of(script: Script, body: Body) -> ScriptedAnswer | None:
    """What the script answers to a request that has been checked; None where it has no conversation for it.

    Raises:
        ContainerRefusal: the turn is an error, its conversation has ended, or it calls a tool that is not offered.
    """
    begun = [
        (start, position)
        for position, conversation in enumerate(script.conversations)
        if (start := _start(conversation.when, body)) is not None
    ]
    if not begun:
        return None
    start, position = max(begun, key=lambda each: each[0])  # the first of those that are alike
    conversation = script.conversations[position]
    number = 1 + sum(said for said, _ in groupby(each["role"] == "assistant" for each in body["messages"][start:]))
    place = f"The script's conversation {position + 1}"
    turn = _turn(conversation.turns, number)
    if turn is None:
        raise ContainerRefusal(
            f"{place} has {sum(turn.repeat for turn in conversation.turns)} turns, and this request is for turn "
            f"{number}. Add turns to it, or another conversation with a 'when' that this request fits."
        )
    if turn.error is not None:
        raise _failure(turn.error, number)
    calls = tuple((call.name, _numbered(_json_text(call.arguments), number)) for call in turn.tool_calls)
    _check_calls(calls, body, f"{place}, turn {number}")
    return ScriptedAnswer(
        turn,
        _numbered(turn.reasoning, number),
        _numbered(turn.content, number),
        calls,
        turn.finish_reason or ("tool_calls" if calls else "stop"),
    )


def _start(when: When, body: Body) -> int | None:
    """The message from which a conversation's answers are counted; None for a request that is not of it."""
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    if when.tool is not None and when.tool not in _offered(body):
        return None
    if when.system is not None and _last_with(when.system, messages, ("system", "developer")) is None:
        return None
    if when.user is None:
        return 0
    said = _last_with(when.user, messages, ("user",))
    return None if said is None else said + 1


def _last_with(text: str, messages: Sequence[Mapping[str, Any]], roles: tuple[str, ...]) -> int | None:
    positions = range(len(messages) - 1, -1, -1)
    return next((at for at in positions if messages[at]["role"] in roles and text in text_of(messages[at])), None)


def _turn(turns: Iterable[Turn], number: int) -> Turn | None:
    for turn in turns:
        number -= turn.repeat
        if number <= 0:
            return turn
    return None


def _offered(body: Body) -> list[str]:
    """The names of the tools that a request lets its answer call."""
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        return [choice["function"]["name"]]
    return [] if choice == "none" else [tool["function"]["name"] for tool in body.get("tools") or ()]


def _check_calls(calls: Iterable[tuple[str, str]], body: Body, place: str) -> None:
    offered = _offered(body)
    for name, _ in calls:
        if name not in offered:
            raise ContainerRefusal(
                f"{place} calls the tool {name!r}, which this request does not offer; it offers "
                f"{', '.join(offered) or 'none'}. Use one of these, or a 'when' that keeps this request out, such as "
                f"'when: {{tool: {name}}}'."
            )


def _failure(failure: Failure, number: int) -> ContainerRefusal:
    kind = _ERROR_TYPES.get(failure.status, "InternalServerError" if failure.status >= 500 else "BadRequestError")
    return ContainerRefusal(_numbered(failure.message, number), status=failure.status, kind=kind)


def _json_text(arguments: dict[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, allow_nan=False)


def _numbered(text: str, number: int) -> str:
    return text.replace("{turn}", str(number))


def _repeated_name(root: Any) -> tuple[str, int] | None:
    """A name that a mapping has twice, of which YAML would take the last, and its line."""
    nodes, seen = [root], {id(None)}
    while nodes:
        node = nodes.pop()
        if node is None or node.id == "scalar" or id(node) in seen:
            continue
        seen.add(id(node))
        names = set()
        for child in node.value:
            key, value = child if node.id == "mapping" else (None, child)
            nodes.append(value)
            if key is not None and key.id == "scalar":
                if (key.tag, key.value) in names:
                    return key.value, key.start_mark.line + 1
                names.add((key.tag, key.value))
    return None


def _place(root: Any, loc: Iterable[int | str]) -> tuple[list[int | str], int]:
    """Where in the YAML an error is: the part of its path that is there, and the line, from 1."""
    path: list[int | str] = []
    node, line = root, root.start_mark.line
    for step in loc:
        if isinstance(step, int) and isinstance(node.value, list) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
        elif isinstance(step, str) and node.id == "mapping":
            found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                path.append(step)
                break
            line, node = found[0].start_mark.line, found[1]
        else:
            break
        path.append(step)
    return path, line + 1


def _named(path: Sequence[int | str]) -> str:
    """``("conversations", 0, "turns", 2, "content")`` → ``conversation 1, turn 3, content: ``."""
    names: list[str] = []
    for step in path:
        if isinstance(step, int):
            names[-1] = f"{names[-1].removesuffix('s').replace('_', ' ')} {step + 1}"
        else:
            names.append(step)
    return f"{', '.join(names)}: " if names else ""


def _advice(error: Mapping[str, Any]) -> str:
    """What is wrong, and what to write instead."""
    if error["type"] == "extra_forbidden":
        return f"unknown name; {_known_names(error['loc'])}"
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "string_type":
        return "must be text; put it in quotes"
    return str(error["msg"]).removeprefix("Value error, ")


_MODELS: Mapping[str, type[_Part]] = {
    "conversations": Conversation,
    "turns": Turn,
    "when": When,
    "tool_calls": Call,
    "error": Failure,
}


def _known_names(loc: Sequence[int | str]) -> str:
    names = [step for step in loc[:-1] if isinstance(step, str)]
    known = list((_MODELS[names[-1]] if names else Script).model_fields)
    [*near] = get_close_matches(str(loc[-1]), known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
