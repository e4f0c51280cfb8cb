"""Options of the redis-py connections that a limiter makes."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
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

MAX_CONNECTIONS = 50
"""Connections of a pool that lets further calls wait."""


def connection_options(
    timeout: float = DEFAULT_TIMEOUT, *, asynchronous: bool = False
) -> dict[str, Any]:
    """Keyword arguments for `redis.Redis`, `redis.asyncio.Redis` and `Sentinel.master_for`.

    `timeout` bounds each wait for the server: to connect, and for a reply. redis-py by default
    waits five seconds and tries up to eleven times, which may also count a call more than once;
    with these options it tries once. A connection that the server has closed is still replaced
    before a call uses it. A pool refuses calls beyond `max_connections`, which would make a crowd
    of requests look like an outage, so that is high here.
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
        "max_connections": 10_000,
    }


def redis_url(url: str) -> str:
    """The same address with the scheme that redis-py knows: `escapement://` is `redis://`."""
    scheme, separator, rest = url.partition("://")
    return f"{_SCHEMES.get(scheme, scheme)}{separator}{rest}"


def make_client(url: str, timeout: float, options: dict[str, Any]) -> redis.Redis:
    """A client whose calls wait `timeout` seconds at most for one of its connections, too."""
    pool = redis.BlockingConnectionPool.from_url(
        redis_url(url),
        **{
            **connection_options(timeout),
            "timeout": timeout,
            "max_connections": MAX_CONNECTIONS,
            **options,
        },
    )
    return redis.Redis.from_pool(pool)


def make_async_client(url: str, timeout: float, options: dict[str, Any]) -> redis.asyncio.Redis:
    """`make_client` for asyncio."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        redis_url(url),
        **{
            **connection_options(timeout, asynchronous=True),
            "timeout": timeout,
            "max_connections": MAX_CONNECTIONS,
            **options,
        },
    )
    return redis.asyncio.Redis.from_pool(pool)
