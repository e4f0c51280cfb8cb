"""Rate-limiting middleware for WSGI applications: Flask, Django, Pyramid and others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeAlias

from ._address import ClientAddress
from ._http import rate_limit_fields, refusal
from ._limiter import Limiter
from ._types import LimitLike

__all__ = ["RateLimitMiddleware"]

Environ: TypeAlias = dict[str, Any]
ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None] | None
)
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class RateLimitMiddleware:
    """Answers 429 with Retry-After to requests beyond the limit, and adds RateLimit fields to all
    other answers.

    `identify` returns whose quota a request uses, or None if the request is not limited. By default
    it is the peer's address, or that of the client if the peer is one of `trusted_proxies` (see
    `ClientAddress`).

    The `on_error` and the time-out of `limiter` apply: with "open" a request passes without
    RateLimit fields if the server decides nothing, with "closed" it gets 503, and with "raise" the
    exception propagates. The decision is `environ["escapement"]`. `name` is the name of the limit
    in the fields, and part of the key.
    """

    def __init__(
        self,
        app: App,
        *,
        limiter: Limiter,
        limit: LimitLike,
        identify: Callable[[Environ], str | None] | None = None,
        trusted_proxies: list[str] | tuple[str, ...] = (),
        name: str = "default",
    ) -> None:
        self.app = app
        self.limiter = limiter
        self.limit = limit
        self.name = name
        self._address = ClientAddress(trusted_proxies)
        self._identify = identify or self._client

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        identity = self._identify(environ)
        if identity is None:
            return self.app(environ, start_response)
        decision = self.limiter.take(f"http:{self.name}:{identity}", self.limit)
        if not decision:
            answer = refusal(self.name, self.limit, decision)
            start_response(f"{answer.status.value} {answer.status.phrase}", answer.headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
        environ["escapement"] = decision
        fields = rate_limit_fields(self.name, self.limit, decision)

        def start_with_fields(
            status: str, headers: list[tuple[str, str]], exc_info: ExcInfo = None
        ) -> Callable[[bytes], object]:
            headers = [*headers, *fields]
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self.app(environ, start_with_fields)

    def _client(self, environ: Environ) -> str:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        return self._address.resolve(environ.get("REMOTE_ADDR") or None, [forwarded])
