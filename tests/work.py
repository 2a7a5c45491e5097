"""Counts this provider's own work in a call: function calls, which are the same on any machine, rather than seconds.

``python -m tests.work`` prints the counts as JSON, in a process of its own, where nothing else is at work.
``python -m tests.work > tests/work.json`` records them anew, after a change that is meant to change them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import litellm

import litellm_sagemaker_openai
from tests.scripted import Answer, Seen, chunk, completion, json_answer, scripted, sse, usage_chunk

PACKAGE = str(Path(litellm_sagemaker_openai.__file__).parent)
# They stand around functions of LiteLLM's, which would count as the package's own work.
_AROUND_LITELLMS = {str(Path(PACKAGE, "litellm_seams", name)) for name in ("name_rules.py", "reasoning_effort.py")}
CHUNKS, MANY_CHUNKS = 200, 2000
DEPLOYMENTS = 500
_WARM_UP, _TIMES = 3, 2  # calls
# Functions of their own before Python 3.12 (PEP 709), and none since.
_COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>")


class Work:
    """A profile function (``sys.setprofile``): counts the calls, of Python and C functions, beneath the package's.

    So what the package has others do, httpx or Pydantic, counts as its own; what LiteLLM does around it does not.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._counting = False
        self._depth: defaultdict[int, int] = defaultdict(int)  # thread → calls beneath the package's outermost one

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.calls, self._counting = 0, True
        try:
            yield
        finally:
            self._counting = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if not self._counting:
            return
        thread = threading.get_ident()
        depth = self._depth[thread]
        if event == "call":
            file = frame.f_code.co_filename
            if depth or (file.startswith(PACKAGE) and file not in _AROUND_LITELLMS):
                self._depth[thread] += 1
                self.calls += frame.f_code.co_name not in _COMPREHENSIONS
        elif depth and event == "return":
            self._depth[thread] -= 1
        elif depth and event == "c_call":
            self.calls += 1


def answer(seen: Seen) -> Answer:
    """A whole answer, or as many chunks as ``max_tokens`` says, all at once."""
    if not seen.json.get("stream"):
        return json_answer(completion())
    words = [chunk({"content": f" word{number % 10}"}) for number in range(seen.json["max_tokens"])]
    first, last = chunk({"role": "assistant", "content": ""}), chunk({}, finish="stop")
    return Answer([sse(first, *words, last, usage_chunk(11, len(words)))])


def call(**more: Any) -> dict[str, Any]:
    return {"model": "sagemaker_openai/my-endpoint/coder", "messages": [{"role": "user", "content": "Hello?"}], **more}


async def acompletion() -> None:
    await litellm.acompletion(**call(temperature=0.5))


async def astream(chunks: int) -> None:
    stream: AsyncIterator[Any] = await litellm.acompletion(**call(stream=True, max_tokens=chunks))
    async for _ in stream:
        pass


def stream(chunks: int) -> None:
    for _ in litellm.completion(**call(stream=True, max_tokens=chunks)):
        pass


async def arouted(router: litellm.Router) -> None:
    await router.acompletion(**call(model="my-endpoint"))


def router(deployments: int) -> litellm.Router:
    """The last deployment is the one that is called."""
    models = [f"my-endpoint-{number}" for number in range(deployments - 1)] + ["my-endpoint"]
    return litellm.Router(
        model_list=[{"model_name": each, "litellm_params": {"model": f"sagemaker_openai/{each}"}} for each in models]
    )


def counts(work: Work) -> dict[str, int]:
    """What each kind of call takes, once everything is warm."""
    loop = asyncio.new_event_loop()
    one, many = router(1), router(DEPLOYMENTS)
    kinds: dict[str, Callable[[], Any]] = {
        "acompletion": lambda: loop.run_until_complete(acompletion()),
        f"acompletion, {CHUNKS} chunks": lambda: loop.run_until_complete(astream(CHUNKS)),
        f"acompletion, {MANY_CHUNKS} chunks": lambda: loop.run_until_complete(astream(MANY_CHUNKS)),
        "acompletion, a Router of 1": lambda: loop.run_until_complete(arouted(one)),
        f"acompletion, a Router of {DEPLOYMENTS}": lambda: loop.run_until_complete(arouted(many)),
        "completion": lambda: litellm.completion(**call(temperature=0.5)),
        f"completion, {CHUNKS} chunks": lambda: stream(CHUNKS),
    }
    counted = {}
    for kind, make in kinds.items():
        for _ in range(_WARM_UP):
            make()
        # The fewest of some: on a busy machine, credentials that are held for 20 seconds are looked at anew meanwhile.
        counted[kind] = min(_calls_of(make, work) for _ in range(_TIMES))
    return counted


def _calls_of(make: Callable[[], Any], work: Work) -> int:
    with work.counted():
        make()
    return work.calls


def main() -> None:
    work = Work()
    threading.setprofile(work)  # LiteLLM asks the provider in a worker thread
    sys.setprofile(work)
    litellm_sagemaker_openai.register()
    with scripted(answer) as server:
        os.environ.update(
            AWS_ACCESS_KEY_ID="WORK",
            AWS_SECRET_ACCESS_KEY="made-up-and-good-for-this-only",
            AWS_REGION="us-west-2",
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=server.url,
        )
        os.environ.pop("AWS_SESSION_TOKEN", None)
        sys.stdout.write(json.dumps(counts(work), indent=2) + "\n")
    sys.stdout.flush()
    os._exit(0)  # LiteLLM's open connections are of no interest any more


if __name__ == "__main__":
    main()
