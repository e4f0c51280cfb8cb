"""Throttles for Django REST framework: its own classes, decided by the server.

Name them in DEFAULT_THROTTLE_CLASSES, or derive from `RateThrottle` as from SimpleRateThrottle.
The server's address and the rest are in Django's settings:

    ESCAPEMENT = {
        "URL": "redis://127.0.0.1:6379",
        "TIMEOUT": 0.25,        # seconds to connect, and for each reply
        "ON_ERROR": "open",     # "open" allows, "closed" answers 503, "raise" raises
        "PREFIX": "drf:",       # of all keys
        "OPTIONS": {},          # of redis.Redis, such as {"password": "…"}
    }
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from rest_framework import throttling
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.views import APIView

from ._limiter import Limiter
from ._types import Algorithm, Decision, Limit

__all__ = [
    "AnonRateThrottle",
    "LimiterUnavailable",
    "RateThrottle",
    "ScopedRateThrottle",
    "UserRateThrottle",
    "get_limiter",
]

_LOG_MAX = 4096

_DEFAULTS: dict[str, Any] = {
    "URL": "redis://127.0.0.1:6379",
    "TIMEOUT": 0.25,
    "ON_ERROR": "open",
    "PREFIX": "drf:",
    "OPTIONS": {},
}

_lock = threading.Lock()
_limiter: Limiter | None = None


def get_limiter() -> Limiter:
    """The limiter that the settings describe, made at the first call."""
    global _limiter
    if _limiter is None:
        with _lock:
            if _limiter is None:
                _limiter = _make_limiter()
    return _limiter


def _make_limiter() -> Limiter:
    given = getattr(settings, "ESCAPEMENT", {})
    unknown = sorted(set(given) - set(_DEFAULTS))
    if unknown:
        raise ImproperlyConfigured(f"ESCAPEMENT has unknown settings: {', '.join(unknown)}")
    values = {**_DEFAULTS, **given}
    try:
        return Limiter.from_url(
            values["URL"],
            timeout=values["TIMEOUT"],
            on_error=values["ON_ERROR"],
            prefix=values["PREFIX"],
            **values["OPTIONS"],
        )
    except ValueError as error:
        raise ImproperlyConfigured(f"ESCAPEMENT: {error}") from error


def _forget_limiter(*, setting: str, **_: Any) -> None:
    """Follows Django's override_settings in tests."""
    global _limiter
    if setting == "ESCAPEMENT":
        with _lock:
            _limiter = None


setting_changed.connect(_forget_limiter)


class LimiterUnavailable(APIException):
    """The server decided nothing, and ON_ERROR is "closed"."""

    status_code = 503
    default_detail = "The rate limiter is not available."
    default_code = "limiter_unavailable"


class RateThrottle(throttling.SimpleRateThrottle):
    """SimpleRateThrottle whose decisions are the server's: exact, whatever the number of processes.

    As with SimpleRateThrottle, no span of one period contains more requests than the rate allows.
    Above 4096 requests per period that would need too much memory: then the `sliding-window`
    algorithm approximates it. Set `algorithm` to use another one. The decision is `self.decision`.
    """

    num_requests: int | None
    duration: float | None
    algorithm: ClassVar[Algorithm | None] = None
    decision: Decision | None = None

    def get_limiter(self) -> Limiter:
        """The limiter of the settings; override it to use another server."""
        return get_limiter()

    def get_limit(self) -> Limit:
        """The limit in force: the rate, with `algorithm`."""
        requests, period = self.num_requests, self.duration
        if requests is None or period is None:
            raise ImproperlyConfigured(f"{type(self).__name__} has no rate")
        default: Algorithm = "sliding-log" if requests <= _LOG_MAX else "sliding-window"
        per = period if isinstance(period, int) else timedelta(seconds=period)
        return Limit(requests, per, algorithm=self.algorithm or default)

    def allow_request(self, request: Request, view: APIView) -> bool:
        if self.rate is None:
            return True
        key = self.get_cache_key(request, view)
        if key is None:
            return True
        self.key = key
        self.decision = self.get_limiter().take(key, self.get_limit())
        if self.decision.error is not None and not self.decision:
            raise LimiterUnavailable from self.decision.error
        return self.throttle_success() if self.decision else self.throttle_failure()

    def throttle_success(self) -> bool:
        return True

    def wait(self) -> float | None:
        """Seconds until the request would be allowed, for Retry-After."""
        return None if self.decision is None else self.decision.retry_after


class AnonRateThrottle(throttling.AnonRateThrottle, RateThrottle):
    """Limits anonymous users by address; the rate is that of the scope `anon`."""


class UserRateThrottle(throttling.UserRateThrottle, RateThrottle):
    """Limits users by id, and anonymous ones by address; the rate is that of the scope `user`."""


class ScopedRateThrottle(throttling.ScopedRateThrottle, RateThrottle):
    """Limits users separately in each scope; the view names it in `throttle_scope`."""
