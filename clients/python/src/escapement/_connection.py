"""Options of the redis-py connections that a limiter makes."""

from __future__ import annotations

from typing import Any

import redis.asyncio.retry
import redis.backoff
import redis.retry

_SCHEMES = {
    "escapement": "redis",
    "escapements": "rediss",
    "escapement+unix": "unix",
}

DEFAULT_TIMEOUT = 0.25
"""Seconds. A rate limiter must not be slower than what it protects."""


def connection_options(
    timeout: float = DEFAULT_TIMEOUT, *, asynchronous: bool = False
) -> dict[str, Any]:
    """Keyword arguments for `redis.Redis`, `redis.asyncio.Redis` and `Sentinel.master_for`.

    `timeout` bounds each wait for the server: to connect, and for a reply. redis-py by default
    waits five seconds and tries up to eleven times, which may also count a call more than once;
    with these options it tries once. A connection that the server has closed is still replaced
    before a call uses it.
    """
    no_backoff = redis.backoff.NoBackoff()
    retry = (
        redis.asyncio.retry.Retry(no_backoff, 0)
        if asynchronous
        else redis.retry.Retry(no_backoff, 0)
    )
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": retry,
        "protocol": 2,
    }


def redis_url(url: str) -> str:
    """The same address with the scheme that redis-py knows: `escapement://` is `redis://`."""
    scheme, separator, rest = url.partition("://")
    return f"{_SCHEMES.get(scheme, scheme)}{separator}{rest}"
