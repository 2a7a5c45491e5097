"""LiteLLM's ``timeout`` for httpx. Pure."""

from __future__ import annotations

import httpx

# LiteLLM's own default to connect within (litellm.llms.custom_httpx.http_handler._DEFAULT_TIMEOUT, 1.106.2).
_CONNECT_SECONDS = 5.0
# What Python's sockets take at most: milliseconds in a C int, as poll(2) has them (socketmodule.c, 3.11). 24 days.
_LONGEST_SECONDS = float(0x7FFFFFFF // 1000)


def as_timeout(timeout: float | str | httpx.Timeout | None) -> httpx.Timeout:
    """LiteLLM's ``timeout`` for httpx: a number is for each read and write; connecting has 5 s of it at most.

    None is 600 s. More than sockets take, ``inf`` included, is as much as they take: 24 days.

    Raises:
        ValueError: it is not a number above 0, or one of an ``httpx.Timeout`` is not.
    """
    if isinstance(timeout, httpx.Timeout):
        given = timeout.as_dict()
        return httpx.Timeout(**{kind: None if each is None else _checked_seconds(each) for kind, each in given.items()})
    seconds = _checked_seconds(600.0 if timeout is None else timeout)
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _checked_seconds(value: float | str) -> float:
    try:
        seconds = float(value) if isinstance(value, str) else value  # text: from an environment variable
        if seconds > 0:
            return float(min(seconds, _LONGEST_SECONDS))
    except (TypeError, ValueError):
        pass  # said below
    raise ValueError(f"timeout must be a number of seconds above 0, not {value!r}")
