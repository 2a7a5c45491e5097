"""What a reader of connections gives. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias


class Connections(NamedTuple):
    """Of this process to one host. ``limit`` is None where there is none."""

    host: str
    in_use: int
    limit: int | None
    waited_for: int


ReadConnections: TypeAlias = Callable[[], Iterable[Connections]]
