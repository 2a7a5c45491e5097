"""Asks in a process and, at the same time, in children that it forked, each a question of its own, which is the answer.

Run by test_fork.py. It ends with exit status 0 where each had its own answers, the parent after its children as well,
and is killed after two minutes. The server is where AWS's settings say; each host name resolves to this machine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import Any

import litellm

# LiteLLM imports it when it first logs, in a thread; a child that is forked meanwhile would wait for that for ever.
import litellm.litellm_core_utils.custom_logger_registry

import litellm_sagemaker_openai

CHILDREN, QUESTIONS = 3, 6
_SECONDS = 120


def call(question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": "sagemaker_openai/e", "messages": messages, "ssl_verify": False, "timeout": 20}


def ask(who: str, loop: asyncio.AbstractEventLoop, questions: int) -> None:
    for number in range(questions):
        question = f"question {number} of {who}"
        for answer in (
            litellm.completion(**call(question)),
            loop.run_until_complete(litellm.acompletion(**call(question))),
        ):
            said = answer.choices[0].message.content
            assert said == question, f"{question!r} was answered {said!r}"


def main() -> None:
    signal.alarm(_SECONDS)
    resolve: Any = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *more, **named: resolve("127.0.0.1", *more, **named)
    litellm_sagemaker_openai.register()
    loop = asyncio.new_event_loop()
    ask("the parent", loop, 1)  # the connections are open from here on
    ready, start = os.pipe()
    children = []
    for number in range(CHILDREN):
        child = os.fork()
        if child == 0:
            signal.alarm(_SECONDS)  # a fork inherits none
            os.close(start)
            os.read(ready, 1)  # ends when the parent closes the other end
            ask(f"child {number}", asyncio.new_event_loop(), QUESTIONS)
            sys.exit()  # not os._exit: what Python and LiteLLM do at exit is to leave the parent's connections alone
        children.append(child)
    os.close(start)
    ask("the parent, beside its children", loop, QUESTIONS)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    ask("the parent, after its children", loop, 2)
    sys.exit(f"the children ended with {statuses}" if any(statuses) else 0)


if __name__ == "__main__":
    main()
