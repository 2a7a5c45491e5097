"""What the strategies make of conversations: how much of the prompts is in a prefix cache, and how even the load is.

``python -m tests.local.rates`` prints the table of docs/routing.md.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from litellm_sagemaker_openai.formats.prompt_cache_key import hint_of
from litellm_sagemaker_openai.local import echo
from litellm_sagemaker_openai.local.routing import (
    LEAST_OUTSTANDING_REQUESTS,
    PREFIX_AWARE,
    RANDOM,
    Instances,
    Routing,
    hint_in,
    prefix_of,
)

INSTANCES = 3
SESSIONS, TURNS = 20, 10
DOCUMENTS, ASKED = 40, 5
SHARED, QUESTION, ANSWER = 6000, 1500, 1500  # characters: of a system prompt or a document, and of what follows
# Each row's name → the strategy, what it compares at most, and whether each session has a key of its own.
ROWS: Mapping[str, tuple[str, int, bool]] = {
    "random": (RANDOM, 1024, False),
    "least outstanding requests": (LEAST_OUTSTANDING_REQUESTS, 1024, False),
    "prefix-aware, 1,024 characters": (PREFIX_AWARE, 1024, False),
    "prefix-aware, 1,024 characters, a key for each session": (PREFIX_AWARE, 1024, True),
    "prefix-aware, 7,000 characters": (PREFIX_AWARE, 7000, False),
    "prefix-aware, 20,000 characters": (PREFIX_AWARE, 20_000, False),
    "prefix-aware, 20,000 characters, a key for each session": (PREFIX_AWARE, 20_000, True),
}
LARGE, SMALL = 1_000_000, 25_000  # tokens that an instance's cache holds: more than all conversations have; a third


class Asked(NamedTuple):
    """A request, and its prompt's tokens."""

    body: Mapping[str, Any]
    tokens: list[str]


WORDS = [f"word{number}" for number in range(1000)]


def text(length: int, seed: str) -> str:
    """Words without a meaning, different ones for each seed."""
    return " ".join(random.Random(seed).choices(WORDS, k=length // 6 + 1))[:length]


@dataclass
class Rate:
    """What came of all requests together."""

    prompt: int = 0
    cached: int = 0
    requests: Counter[int] = field(default_factory=Counter)

    @property
    def hits(self) -> float:
        """How much of the prompts was in the cache."""
        return self.cached / self.prompt

    @property
    def busiest(self) -> float:
        """How many of the requests went to the instance that had most."""
        return max(self.requests.values()) / sum(self.requests.values())


def asked(messages: list[dict[str, Any]], session: str) -> Asked:
    body = {"messages": messages, "prompt_cache_key": hint_of("session", session)}
    return Asked(body, echo.prompt_of(body))


def conversations() -> Iterator[list[Asked]]:
    """Sessions that begin with the same system prompt: the requests of each turn, which come at about the same time."""
    system = {"role": "system", "content": text(SHARED, "system")}
    messages = {session: [system] for session in range(SESSIONS)}
    for turn in range(TURNS):
        for session, said in messages.items():
            said.append({"role": "user", "content": text(QUESTION, f"question {session} {turn}")})
        yield [asked([*said], f"{session}") for session, said in messages.items()]
        for session, said in messages.items():
            said.append({"role": "assistant", "content": text(ANSWER, f"answer {session} {turn}")})


def documents() -> Iterator[list[Asked]]:
    """Documents, and one question on each of them in each of several sessions."""
    for session in range(ASKED):
        requests = []
        for document in range(DOCUMENTS):
            said = f"{text(SHARED, f'document {document}')} {text(QUESTION, f'question {session} {document}')}"
            requests.append(asked([{"role": "user", "content": said}], f"{session} {document}"))
        yield from (requests[start : start + SESSIONS] for start in range(0, DOCUMENTS, SESSIONS))


def rate(work: Iterable[list[Asked]], instances: Instances, *, with_key: bool) -> Rate:
    """Plays the work; the requests that come together are in flight together."""
    routing, result, order = Routing(instances), Rate(), random.Random(2)
    for requests in work:
        in_flight = []
        for body, tokens in order.sample(requests, len(requests)):
            prefix = prefix_of(b"", body, instances.prefix_length, of_messages=True)
            instance = routing.enter(prefix, hint_in(body, {}, of_messages=True) if with_key else "")
            result.prompt += len(tokens)
            result.cached += routing.caches[instance].take(tokens)
            result.requests[instance] += 1
            in_flight.append(instance)
        for instance in in_flight:
            routing.leave(instance)
    return result


def rows() -> Iterator[list[str]]:
    """The table."""
    talks, questions = [*conversations()], [*documents()]
    for name, (strategy, length, with_key) in ROWS.items():
        rates = [
            rate(work, Instances(INSTANCES, strategy, length, cache_tokens=tokens, seed=1), with_key=with_key)
            for work, tokens in ((talks, LARGE), (talks, SMALL), (questions, LARGE))
        ]
        yield [name, *(f"{each.hits:.0%}" for each in rates), f"{rates[0].busiest:.0%}"]


if __name__ == "__main__":
    for row in rows():
        print("|", " | ".join(row), "|")  # noqa: T201
