"""Runs one framework's script, in the framework's own environment, and writes what works as JSON.

    python -I tests/frameworks/harness.py tests/frameworks/dspy.py URL-OF-THE-PROXY results.json

Isolated (``-I``), so that ``import dspy`` is the framework and not its script. A script begins with the snippet that
docs/frameworks.md shows, and has a function for each thing to try. ``WITHOUT`` says why one is not there:

- ``chat()``: the answer to "Hello?", as text.
- ``usage()``: the input and output tokens of that call, as the framework has them; ``cost()``: its cost in dollars.
- ``stream()``: the pieces of the same answer.
- ``tools()``: what comes of asking for the weather in Dublin with a tool ``get_weather``.
- ``structured()``: a person with a name and an age, an object or a dictionary.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import queue
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import litellm

from litellm_sagemaker_openai.local.echo import tokenize

REGISTRATION = Path(__file__).with_name("registration.py")
PROXY_URL = "http://localhost:4000"  # as the page has it
FEATURES = ("chat", "stream", "tools", "structured", "usage", "cost")
ANSWER = "Echo container, not a model. You said: "
INPUT_COST, OUTPUT_COST = 1e-6, 2e-6  # what the scripts register


class Costs:
    """What LiteLLM tells a callback that calls cost. It does so after the call, in another thread or task."""

    def __init__(self) -> None:
        self._seen: queue.Queue[float] = queue.Queue()
        litellm.success_callback = [self._note, self._note_async]

    def _note(self, kwargs: Mapping[str, Any], *_: Any) -> None:
        if kwargs.get("response_cost") is not None:  # a stream's chunks have none
            self._seen.put(kwargs["response_cost"])

    async def _note_async(self, kwargs: Mapping[str, Any], *_: Any) -> None:
        self._note(kwargs)

    def forget(self) -> None:
        self._seen = queue.Queue()

    def put_back(self, cost: float) -> None:
        self._seen.put(cost)

    def next(self) -> float:
        return self._seen.get(timeout=20)


def check(condition: bool, got: Any) -> None:
    if not condition:
        raise AssertionError(f"got {got!r}")


def is_close(first: float, second: float) -> bool:
    return abs(first - second) < 1e-9


class Trial:
    """One script, and the answer to its last chat."""

    def __init__(self, script: Mapping[str, Any], costs: Costs, on_the_proxy: bool) -> None:
        self._script = script
        self._costs = costs
        self._on_the_proxy = on_the_proxy
        self._answer = ""

    def chat(self) -> str:
        self._costs.forget()
        chat = self._script["chat"]
        self._answer = asyncio.run(self._awaited(chat)) if inspect.iscoroutinefunction(chat) else chat()
        check(ANSWER in self._answer and "Hello?" in self._answer, self._answer)
        return "yes"

    async def _awaited(self, chat: Callable[[], Awaitable[str]]) -> str:
        """The answer; the event loop goes on until LiteLLM has told its callbacks."""
        answer = await chat()
        if not self._on_the_proxy:
            self._costs.put_back(await asyncio.to_thread(self._costs.next))
        return answer

    def stream(self) -> str:
        pieces = list(self._script["stream"]())
        check(len(pieces) > 4 and ANSWER in "".join(pieces), pieces)
        return "yes"

    def tools(self) -> str:
        answer = self._script["tools"]()
        check("12 degrees in Dublin" in answer, answer)
        return "yes"

    def structured(self) -> str:
        person = self._script["structured"]()
        fields = person if isinstance(person, dict) else {"name": person.name, "age": person.age}
        check(fields == {"name": "Ada", "age": 36}, fields)
        return "yes"

    def usage(self) -> str:
        """Output tokens are compared with the container's count of the answer; the input has what a framework adds."""
        tokens = self._script["usage"]()
        answer = self._answer.strip()
        check(tokens[0] >= 8 and tokens[1] == (len(tokenize(answer)) if answer else tokens[1]), tokens)
        return "yes"

    def cost(self) -> str:
        if "cost" not in self._script and self._on_the_proxy:
            return "by the proxy"  # the command asks the proxy itself
        own = "cost" in self._script
        cost = self._script["cost"]() if own else self._costs.next()
        given, answered = self._script["usage"]()
        check(is_close(cost, given * INPUT_COST + answered * OUTPUT_COST), (cost, given, answered))
        return "yes" if own else "by LiteLLM"


def tried(feature: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"cell": feature(), "works": True}
    except Exception as error:  # whatever a framework raises is what is to be shown
        traceback.print_exc()
        return {"cell": f"no: {type(error).__name__}: {error}"[:300], "works": False}


def main() -> None:
    path, proxy, written = sys.argv[1:]
    costs = Costs()
    source = Path(path).read_text(encoding="utf-8")
    script: dict[str, Any] = {"__name__": "__main__"}
    for file, text in ((REGISTRATION, REGISTRATION.read_text(encoding="utf-8")), (path, source)):
        exec(compile(text.replace(PROXY_URL, proxy), file, "exec", dont_inherit=True), script)
    trial = Trial(script, costs, PROXY_URL in source)
    without: Mapping[str, str] = script.get("WITHOUT", {})
    results = {
        name: {"cell": f"no: {without[name]}", "works": True} if name in without else tried(getattr(trial, name))
        for name in ("chat", "usage", "cost", "stream", "tools", "structured")
    }
    Path(written).write_text(json.dumps({name: results[name] for name in FEATURES}), encoding="utf-8")


if __name__ == "__main__":
    main()
