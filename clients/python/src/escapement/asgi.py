"""Rate-limiting middleware for ASGI applications: Starlette, FastAPI, Quart, Django and others."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from ._address import ClientAddress
from ._http import Headers, rate_limit_fields, refusal
from ._limiter import AsyncLimiter
from ._types import LimitLike

__all__ = ["RateLimitMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Identity: TypeAlias = Callable[[Scope], "str | Awaitable[str | None] | None"]


class RateLimitMiddleware:
    """Answers 429 with Retry-After to requests beyond the limit, and adds RateLimit fields to all
    other answers.

    `identify` returns whose quota a request uses, or None if the request is not limited; it may be
    a coroutine function. By default it is the peer's address, or that of the client if the peer is
    one of `trusted_proxies` (see `ClientAddress`). What is not HTTP passes unchanged: WebSockets
    and lifespan events.

    The `on_error` and the time-out of `limiter` apply: with "open" a request passes without
    RateLimit fields if the server decides nothing, with "closed" it gets 503, and with "raise" the
    exception propagates. The decision is `scope["escapement"]`. `name` is the name of the limit in
    the fields, and part of the key.
    """

    def __init__(
        self,
        app: App,
        *,
        limiter: AsyncLimiter,
        limit: LimitLike,
        identify: Identity | None = None,
        trusted_proxies: list[str] | tuple[str, ...] = (),
        name: str = "default",
    ) -> None:
        self.app = app
        self.limiter = limiter
        self.limit = limit
        self.name = name
        self._address = ClientAddress(trusted_proxies)
        self._identify = identify or self._client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identity = self._identify(scope)
        if inspect.isawaitable(identity):
            identity = await identity
        if identity is None:
            await self.app(scope, receive, send)
            return
        decision = await self.limiter.take(f"http:{self.name}:{identity}", self.limit)
        if not decision:
            answer = refusal(self.name, self.limit, decision)
            start = {"type": "http.response.start", "status": answer.status.value}
            await send({**start, "headers": _encoded(answer.headers)})
            body = b"" if scope["method"] == "HEAD" else answer.body
            await send({"type": "http.response.body", "body": body})
            return
        scope = {**scope, "escapement": decision}
        fields = _encoded(rate_limit_fields(self.name, self.limit, decision))

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start" and fields:
                message = {**message, "headers": [*message.get("headers", ()), *fields]}
            await send(message)

        await self.app(scope, receive, send_with_fields)

    def _client(self, scope: Scope) -> str:
        peer = scope.get("client")
        forwarded = [
            value.decode("latin-1")
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
        ]
        return self._address.resolve(peer[0] if peer else None, forwarded)


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
