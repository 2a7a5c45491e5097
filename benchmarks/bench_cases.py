"""What is measured: the cases, and the figures of a slice. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.bench_contenders import (
    AIOHTTP,
    CONTENDERS,
    DEPLOYMENTS,
    FLOOR,
    FLOOR_ROUTED,
    OURS,
    PREBUILT,
    ROUTED,
    SDK_AUTH,
    SENDING,
    UNNAMED,
)

MEGABYTE = 1_000_000
CLIENTS = tuple(name for name in CONTENDERS if name not in (ROUTED, FLOOR_ROUTED, UNNAMED, SENDING))


@dataclass(frozen=True)
class Case:
    """Calls of one kind.

    Args:
        name: heads its table.
        endpoint: what they ask for, see ``benchmarks.bench_answers``.
        in_flight: how many there are at a time.
        synchronous: made in threads; otherwise in an event loop.
        size: of the conversation, in bytes.
        endpoints: over how many endpoints they go in turn.
        every: measured in each n-th round.
        contenders: who is measured.
        proxied: through LiteLLM's proxy, client to client; what is measured is the proxy's process.
    """

    name: str
    endpoint: str
    in_flight: int
    synchronous: bool = False
    size: int = 0
    endpoints: int = 1
    every: int = 4
    contenders: tuple[str, ...] = CLIENTS
    proxied: bool = False

    @property
    def streamed(self) -> bool:
        return not self.endpoint.startswith("whole")

    def endpoint_of(self, number: int) -> str:
        """The n-th call's."""
        return f"{self.endpoint}-{number % self.endpoints}" if self.endpoints > 1 else self.endpoint


@dataclass(frozen=True)
class Figures:
    """What a slice of a case took. Times in milliseconds.

    Args:
        cpu: of the client process, user and system, per call.
        rate: calls per second.
        p50, p99: latency of a call, to its last chunk.
        first_p50, first_p99: time to a stream's first chunk; None where nothing is streamed.
        peak: the most memory that the process had meanwhile, in MB; None where the system does not say.
        overhead: what the proxy says that it added to a call, ``x-litellm-overhead-duration-ms``; None where it does
            not say.
    """

    cpu: float
    rate: float
    p50: float
    p99: float
    first_p50: float | None = None
    first_p99: float | None = None
    peak: float | None = None
    overhead: float | None = None


def medians(slices: list[Figures]) -> Figures:
    """Each figure's median."""

    def middle(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return median(known) if known else None

    columns = zip(*(vars(each).values() for each in slices), strict=True)
    return Figures(*(middle(list(column)) for column in columns))  # type: ignore[arg-type]


_WHOLE = tuple(name for name in CLIENTS if name != PREBUILT)
_SYNC = tuple(name for name in _WHOLE if name != AIOHTTP)
_OVER_A_NETWORK = tuple(name for name in CLIENTS if name not in (FLOOR, PREBUILT))
_ROUTERS = (ROUTED, FLOOR_ROUTED)
_LITELLMS = (OURS, "openai/", "hosted_vllm/", FLOOR)
PROXIED = (OURS, "openai/", "hosted_vllm/", "sagemaker_chat/", FLOOR)

WHOLE_32 = Case("Whole answers, 32 in flight", "whole", 32, every=1, contenders=(*_WHOLE, UNNAMED))
WHOLE_1 = Case("Whole answers, one at a time", "whole", 1, every=2, contenders=_WHOLE)
STREAMS_8 = Case("Streams of 200 chunks, 8 in flight", "stream-200", 8, every=1)
STREAMS_1 = Case("Streams of 200 chunks, one at a time", "stream-200", 1, every=2, contenders=(*CLIENTS, SENDING))
PACED_1 = Case(
    "Streams as a model sends them, one at a time",
    "paced-10",
    1,
    every=1,
    contenders=(*_OVER_A_NETWORK, FLOOR, SENDING),
)
LONG_STREAMS = Case("Streams of 5,000 chunks, one at a time", "stream-5000", 1, contenders=(*_LITELLMS, AIOHTTP))
VERY_LONG_STREAMS = Case(
    "Streams of 100,000 chunks, one at a time", "stream-100000", 1, every=24, contenders=(OURS, FLOOR, AIOHTTP)
)
HALF_MEGABYTE, FIVE_MEGABYTES = (
    Case(f"Whole answers to {size} MB, one at a time", "whole", 1, size=int(size * MEGABYTE), contenders=_LITELLMS)
    for size in (0.5, 5)
)
SYNC_1, SYNC_32 = (
    Case(f"Whole answers, synchronous, {name}", "whole", calls, synchronous=True, every=2, contenders=_SYNC)
    for name, calls in (("one at a time", 1), ("32 in flight", 32))
)
SYNC_256 = Case("Whole answers, synchronous, 256 in flight", "whole", 256, synchronous=True, contenders=_LITELLMS)
ONE_DEPLOYMENT = Case(
    "Whole answers, a Router of one deployment, 32 in flight", "whole", 32, every=2, contenders=_ROUTERS
)
MANY_DEPLOYMENTS = Case(
    f"Whole answers, a Router of {DEPLOYMENTS} deployments, 32 in flight",
    "whole",
    32,
    endpoints=DEPLOYMENTS,
    every=2,
    contenders=_ROUTERS,
)
PROXY_WHOLE_1, PROXY_WHOLE_32 = (
    Case(f"Through the proxy: whole answers, {name}", "whole", calls, every=3, contenders=PROXIED, proxied=True)
    for name, calls in (("one at a time", 1), ("32 in flight", 32))
)
PROXY_STREAMS_8 = Case(
    "Through the proxy: streams of 200 chunks, 8 in flight",
    "stream-200",
    8,
    every=3,
    contenders=PROXIED,
    proxied=True,
)
CASES = (
    WHOLE_32,
    WHOLE_1,
    HALF_MEGABYTE,
    Case("Whole answers to 1 MB, 8 in flight", "whole", 8, size=MEGABYTE, contenders=_WHOLE),
    FIVE_MEGABYTES,
    STREAMS_8,
    STREAMS_1,
    PACED_1,
    Case(
        "Streams of 200 chunks as a model sends them, 8 in flight", "paced-200", 8, every=8, contenders=_OVER_A_NETWORK
    ),
    LONG_STREAMS,
    VERY_LONG_STREAMS,
    SYNC_1,
    SYNC_32,
    Case("Streams of 200 chunks, synchronous, 8 in flight", "stream-200", 8, synchronous=True, contenders=_SYNC),
    Case("Whole answers, 256 in flight", "whole", 256, every=8, contenders=(*_LITELLMS, "sagemaker_chat/", AIOHTTP)),
    SYNC_256,
    ONE_DEPLOYMENT,
    MANY_DEPLOYMENTS,
    PROXY_WHOLE_1,
    PROXY_WHOLE_32,
    PROXY_STREAMS_8,
)
# Who is looked at when idle, and of whom streams are held open
IDLE = (OURS, "openai/", "hosted_vllm/", "sagemaker_chat/", FLOOR)
HELD = (OURS, "openai/", "hosted_vllm/", SDK_AUTH, FLOOR, AIOHTTP)
