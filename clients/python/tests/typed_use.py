"""How typed code uses the package: checked by mypy, not run."""

from __future__ import annotations

from datetime import timedelta
from wsgiref.simple_server import make_server

import redis
import redis.asyncio
import redis.sentinel

import escapement.asgi
import escapement.drf
import escapement.limits
import escapement.wsgi
from escapement import AsyncLimiter, Decision, Failure, Limit, Limiter, Policy, UnavailableError


def on_failure(failure: Failure) -> None:
    error: UnavailableError = failure.error
    print(failure.command, error.reason)


def take() -> float | None:
    limiter = Limiter(redis.Redis(), on_error="open", on_failure=on_failure)
    limit = Limit(10, per=timedelta(hours=1), algorithm="sliding-log")
    decision: Decision = limiter.take("key", limit, cost=2, at_most=True, id=b"token")
    both = limiter.take_all([("a", limit), (b"b", Policy("free"))])
    return decision.retry_after if decision else both.limits[0].retry_after


async def take_later() -> bool:
    async with AsyncLimiter(redis.asyncio.Redis(), on_error="closed") as limiter:
        return (await limiter.check("tenant", "client", "action")).allowed


def wsgi(environ: escapement.wsgi.Environ, start: escapement.wsgi.StartResponse) -> list[bytes]:
    start("200 OK", [])
    return []


async def asgi(
    scope: escapement.asgi.Scope, receive: escapement.asgi.Receive, send: escapement.asgi.Send
) -> None: ...


async def identify(scope: escapement.asgi.Scope) -> str | None:
    return None


def serve() -> escapement.asgi.App:
    limiter = Limiter.from_url("redis://localhost")
    app = escapement.wsgi.RateLimitMiddleware(wsgi, limiter=limiter, limit=Limit(1, per=1))
    make_server("localhost", 0, app)
    return escapement.asgi.RateLimitMiddleware(
        asgi,
        limiter=AsyncLimiter.from_url("redis://localhost"),
        limit=Policy("p"),
        identify=identify,
    )


class Throttle(escapement.drf.UserRateThrottle):
    algorithm = "gcra"


storage = escapement.limits.EscapementStorage("escapement://localhost", timeout=0.1)
