"""Whether a model answers, asked before something is started that needs it; and waiting where it is scaled to zero."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from litellm_sagemaker_openai.commands.checking import FAILURES, CheckOptions, Endpoint
from litellm_sagemaker_openai.upstream_errors import AnswerError, FailureKind

ANSWER_SECONDS = 65.0  # SageMaker gives a container 60
_BETWEEN_SECONDS = 5.0
_QUESTION = {"messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 1}
# A container that refuses the question does answer.
_REACHED = (400, 422, 429)


def wait_until_it_answers(
    options: CheckOptions,
    seconds: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask for one token, again and again while there is no capacity.

    Args:
        options: what is asked, with its region.
        seconds: how long to wait for capacity at most.
        say: takes a word about the wait, once.
        sleep: waits.

    Raises:
        click.ClickException: it refuses, with ``check``'s advice, does not answer, or has no capacity in that time.
    """
    assert options.region is not None
    endpoint, target = Endpoint.of(options, options.region), options.target
    ends, waits = time.monotonic() + seconds, False
    while True:
        try:
            endpoint.ask(_QUESTION)
        except FAILURES as error:
            upstream = error.upstream if isinstance(error, AnswerError) else None
            if upstream and upstream.from_container and upstream.status in _REACHED:
                return
            left = ends - time.monotonic()
            if upstream and upstream.failure is FailureKind.NO_CAPACITY and left > 0:
                if not waits:
                    say(f"{target} is scaled to zero. It starts now, and is waited for up to {seconds / 60:g} minutes")
                    waits = True
                sleep(min(_BETWEEN_SECONDS, left))
                continue
            step = endpoint.failed("chat", error)
            advice = f"\n→ {step.advice}" if step.advice else ""
            raise click.ClickException(f"{target}: {step.detail}{advice}") from error
        if waits:
            say(f"{target} answers")
        return
