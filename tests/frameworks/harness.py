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
import sys
import time
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
    """What LiteLLM tells callbacks that calls cost. It does so after the call, in another thread or task."""

    def __init__(self) -> None:
        self._seen: list[float | None] = []
        litellm.success_callback = [self._note, self._note_async]

    def _note(self, kwargs: Mapping[str, Any], *_: Any) -> None:
        self._seen.append(kwargs.get("response_cost"))  # None: of a stream's chunks, and where there is no price

    async def _note_async(self, kwargs: Mapping[str, Any], *_: Any) -> None:
        self._note(kwargs)

    def wait_for(self, cost: float) -> None:
        self._wait(lambda: any(seen is not None and is_close(seen, cost) for seen in self._seen), str(cost))

    def count(self) -> int:
        return len(self._seen)

    def wait_for_more_than(self, count: int) -> None:
        self._wait(lambda: len(self._seen) > count, "of another call")

    def _wait(self, told: Callable[[], bool], wanted: str) -> None:
        deadline = time.monotonic() + 20
        while not told():
            if time.monotonic() > deadline:
                raise AssertionError(f"LiteLLM's callbacks were told {self._seen}, not {wanted}")
            time.sleep(0.05)


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
        chat = self._script["chat"]
        self._answer = asyncio.run(self._awaited(chat)) if inspect.iscoroutinefunction(chat) else chat()
        check(ANSWER in self._answer and "Hello?" in self._answer, self._answer)
        return "yes"

    async def _awaited(self, chat: Callable[[], Awaitable[str]]) -> str:
        """The answer; the event loop goes on until LiteLLM has told its callbacks."""
        before = self._costs.count()
        answer = await chat()
        if not self._on_the_proxy:
            await asyncio.to_thread(self._costs.wait_for_more_than, before)
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
        if "cost" in self._script:
            cost = self._script["cost"]()
            check(is_close(cost, self._expected_cost()), cost)
            return "yes"
        if self._on_the_proxy:
            return "by the proxy"  # the command asks the proxy itself
        self._costs.wait_for(self._expected_cost())
        return "by LiteLLM"

    def _expected_cost(self) -> float:
        given, answered = self._script["usage"]()
        return float(given * INPUT_COST + answered * OUTPUT_COST)


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
