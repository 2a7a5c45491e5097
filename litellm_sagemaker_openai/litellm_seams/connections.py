"""How many connections this provider's asynchronous calls have in use, of how many.

What LiteLLM does: it keeps a client for each provider in ``in_memory_llm_clients_cache``, whose key names the provider;
in the client is an aiohttp session with a connector of its own, with AIOHTTP_CONNECTOR_LIMIT_PER_HOST (500) and
AIOHTTP_CONNECTOR_LIMIT (1000). aiohttp's connector knows what it gave away (``_acquired``, and by host
``_acquired_per_host``, unless that limit is 0), what is idle (``_conns``), and who waits (``_waiters``).
Seen on: LiteLLM 1.106.2, aiohttp 3.14.
Without them: there are no such metrics.
Needed until: aiohttp says how many are in use. tests/litellm_seams/test_connections.py shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import litellm

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.monitoring.connections import Connections
from litellm_sagemaker_openai.upstream_errors import PROVIDER

_ALL_HOSTS = "all"
_MOST_HOSTS = 100
_limits: dict[str, int | None] = {}  # of each host that was called: what is not any more has 0 in use


def read_connections() -> list[Connections]:
    """Those of each host that this process has called. Any thread may ask."""
    in_use, waited_for, limits = Counter[str](), Counter[str](), Counter[str]()
    for connector in _connectors():
        acquired = lookup.attribute(connector, "_acquired")
        by_host = lookup.attribute(connector, "_acquired_per_host")
        idle, waiters = lookup.attribute(connector, "_conns"), lookup.attribute(connector, "_waiters")
        if acquired is None or by_host is None or idle is None or waiters is None:
            continue
        total, per_host = connector.limit, connector.limit_per_host
        used = _sizes(by_host) if per_host else Counter({_ALL_HOSTS: len(acquired)})
        waiting = _sizes(waiters) if per_host else Counter({_ALL_HOSTS: _sizes(waiters).total()})
        in_use += used
        waited_for += waiting
        for host in {*used, *waiting, *(_sizes(idle) if per_host else ())}:
            limits[host] += min(filter(None, (total, per_host)), default=0)
    for host, limit in limits.items():
        if host in _limits or len(_limits) < _MOST_HOSTS:
            _limits[host] = limit or None
    return [Connections(host, in_use[host], limit, waited_for[host]) for host, limit in _limits.copy().items()]


def _connectors() -> Iterator[Any]:
    clients = lookup.attribute(vars(litellm).get("in_memory_llm_clients_cache"), "cache_dict") or {}
    for name, client in clients.copy().items():
        if PROVIDER in str(name):
            transport = lookup.attribute(lookup.attribute(client, "client"), "_transport")
            connector = lookup.attribute(lookup.attribute(transport, "client"), "connector")
            if connector is not None:
                yield connector


def _sizes(kept: Any) -> Counter[str]:
    """How many there are of each host: connections to one may differ in their TLS settings, or go through a proxy."""
    counts = Counter[str]()
    for key, values in kept.copy().items():  # a copy at once: the event loop goes on in its thread
        counts[key.host] += len(values)
    return counts
