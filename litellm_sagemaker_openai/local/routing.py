"""Which of an endpoint's instances answers, as SageMaker's routing strategies choose, and what is in its cache. Pure.

What AWS documents of them is in botocore 1.44.5's service models: RoutingStrategy and PrefixAwareRoutingConfig of
sagemaker, PrefixAwareId of sagemaker-runtime. What it does not say, such as which instance a new prefix goes to, is
decided here in the simplest way.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

RANDOM, LEAST_OUTSTANDING_REQUESTS, PREFIX_AWARE = STRATEGIES = (
    "random",
    "least-outstanding-requests",
    "prefix-aware",
)
INSTANCE_HEADER = "x-local-instance"  # this runtime's own: AWS documents no header that tells the instance
HINT_FIELD, HINT_HEADER = "prompt_cache_key", "x-amzn-sagemaker-prefix-aware-id"

# Those of AWS's example, 03-features/prefix-aware-routing in github.com/aws-samples/sagemaker-genai-hosting-examples.
DEFAULT_PREFIX_LENGTH, DEFAULT_CONCURRENCY_THRESHOLD = 1024, 10
_BLOCK = 16  # vLLM's default for `--block-size`


@dataclass(frozen=True, slots=True)
class Instances:
    """The instances of each endpoint or inference component, and how requests are routed between them.

    Attributes:
        count: how many there are.
        strategy: one of ``STRATEGIES``. Default: ``random``, as SageMaker's.
        prefix_length: SageMaker's ``PrefixLength``, for ``prefix-aware``: so many characters of the messages' text on
            ``/openai/v1``, or bytes of the body on ``/invocations``. Default: 1024.
        concurrency_threshold: SageMaker's ``ConcurrencyThreshold``: with so many requests in flight, an instance gets
            no more because of their prefix. Default: 10.
        cache_tokens: how many tokens an instance's prefix cache holds. Default: a million.
        seed: of what is random. Default: another one each time.
    """

    count: int
    strategy: str = RANDOM
    prefix_length: int = DEFAULT_PREFIX_LENGTH
    concurrency_threshold: int = DEFAULT_CONCURRENCY_THRESHOLD
    cache_tokens: int = 1_000_000
    seed: int | None = None


@dataclass(slots=True)
class PrefixCache:
    """The prompts that an instance has computed, in blocks of 16 tokens, as vLLM's prefix cache has them.

    Attributes:
        tokens: how many it holds; those that were not used for longest go first.
    """

    tokens: int
    _blocks: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def take(self, tokens: Sequence[str]) -> int:
        """How many of a prompt's first tokens it has; afterwards it has all of its whole blocks."""
        found, is_prefix = 0, True
        for block in _blocks(tokens):
            is_prefix = is_prefix and block in self._blocks
            found += is_prefix
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self.tokens // _BLOCK:
            self._blocks.popitem(last=False)
        # The last token is computed in any case: the answer begins with it.
        return _BLOCK * min(found, max(0, len(tokens) - 1) // _BLOCK)


class Routing:
    """The instances of one endpoint or component, the requests that are in flight on each, and their caches."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._random = Random(instances.seed)
        self._in_flight = [0] * instances.count
        self.caches = [PrefixCache(instances.cache_tokens) for _ in range(instances.count)]

    def enter(self, prefix: bytes, hint: str = "") -> int:
        """The instance that a request goes to, from 0; it is in flight there until it leaves.

        Args:
            prefix: from ``prefix_of``.
            hint: from ``hint_in``.
        """
        chosen = self._chosen(prefix, hint)
        self._in_flight[chosen] += 1
        return chosen

    def leave(self, instance: int) -> None:
        """A request is no longer in flight."""
        self._in_flight[instance] -= 1

    def _chosen(self, prefix: bytes, hint: str) -> int:
        if self._instances.strategy == RANDOM:
            return self._random.randrange(self._instances.count)
        if self._instances.strategy == PREFIX_AWARE:
            chosen = _number_of(prefix, hint) % self._instances.count
            if self._in_flight[chosen] < self._instances.concurrency_threshold:
                return chosen
        fewest = min(self._in_flight)
        return self._random.choice([each for each, count in enumerate(self._in_flight) if count == fewest])


def prefix_of(raw: bytes, body: Any, length: int, *, of_messages: bool) -> bytes:
    """What prefix-aware routing compares of a request.

    Args:
        raw: the request's body.
        body: the same as JSON; anything else where it is not JSON.
        length: SageMaker's ``PrefixLength``.
        of_messages: on ``/openai/v1``, where the messages' text counts; else the body.
    """
    if not of_messages:
        return raw[:length]
    return "".join(_texts_in(body))[:length].encode(errors="surrogatepass")


def hint_in(body: Any, headers: Mapping[str, str], *, of_messages: bool) -> str:
    """The hint of a request, empty where it has none: a field on ``/openai/v1``, else a header."""
    hint = headers.get(HINT_HEADER)
    if of_messages:
        hint = body.get(HINT_FIELD) if isinstance(body, Mapping) else None
    return hint if isinstance(hint, str) else ""


def _texts_in(body: Any) -> Iterator[str]:
    """The texts of the messages, which no container has checked yet."""
    messages = body.get("messages") if isinstance(body, Mapping) else None
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, list) else (content,):
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str):
                yield text


def _number_of(prefix: bytes, hint: str) -> int:
    digest = hashlib.sha256(prefix)
    digest.update(b"\0" + hint.encode(errors="surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big")


def _blocks(tokens: Sequence[str]) -> Iterator[bytes]:
    """Each whole block of a prompt's tokens, told from others by all that stands before it, too."""
    before = b""
    for start in range(0, len(tokens) - _BLOCK + 1, _BLOCK):
        text = "\0".join(tokens[start : start + _BLOCK]).encode(errors="surrogatepass")
        before = hashlib.sha256(before + text).digest()
        yield before
