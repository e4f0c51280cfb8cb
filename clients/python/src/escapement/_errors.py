"""Exceptions, and their translation from those of redis-py."""

from __future__ import annotations

import redis.exceptions as redis_errors


class EscapementError(Exception):
    """Base class of this package's exceptions."""


class UnavailableError(EscapementError):
    """The server made no decision: it was not reached, did not reply in time, or refuses writes.

    `reason` is `timeout`, `connection`, `authentication`, or the code of the server's error in
    lower case, such as `loading`, `misconf`, `oom`, `readonly`, `noreplicas`. After a time-out the
    call may have been counted; a retry with the same `id` does not count it twice.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason


class InvalidCallError(EscapementError):
    """The server rejected the call; the text names the argument. Nothing was counted."""


class UnknownPolicyError(InvalidCallError):
    """The server has no policy of this name."""


class NoRuleError(InvalidCallError):
    """No rule matches the tenant, client and action of a `check`."""


class WrongAlgorithmError(InvalidCallError):
    """The key holds the state of another algorithm, or a counter."""


# By the first word of the reply. They concern the state of the server, not the call.
_UNAVAILABLE_CODES = frozenset(
    {
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNBLOCKED",
        "WRONGPASS",
    }
)

# redis-py removes the code from these.
_UNAVAILABLE_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (redis_errors.TimeoutError, "timeout"),
    (redis_errors.BusyLoadingError, "loading"),
    (redis_errors.AuthenticationError, "authentication"),
    (redis_errors.AuthorizationError, "authentication"),
    (redis_errors.AuthenticationWrongNumberOfArgsError, "authentication"),
    (redis_errors.ConnectionError, "connection"),
    (redis_errors.InvalidResponse, "connection"),
    (redis_errors.OutOfMemoryError, "oom"),
    (redis_errors.ReadOnlyError, "readonly"),
    (redis_errors.NoPermissionError, "noperm"),
    (redis_errors.MasterDownError, "masterdown"),
    (redis_errors.ClusterDownError, "clusterdown"),
    (redis_errors.TryAgainError, "tryagain"),
)


def translate(error: redis_errors.RedisError) -> EscapementError:
    """The exception of this package for one of redis-py."""
    for kind, reason in _UNAVAILABLE_CLASSES:
        if isinstance(error, kind):
            return UnavailableError(reason, str(error))
    text = str(error)
    code, _, rest = text.partition(" ")
    if code in _UNAVAILABLE_CODES:
        return UnavailableError(code.lower(), rest)
    if text.startswith("ID refused:"):
        return UnavailableError("idempotency-tokens-max", text)
    if code == "WRONGTYPE":
        return WrongAlgorithmError(rest)
    if code == "NORULE":
        return NoRuleError(rest)
    if text.startswith("POLICY: there is no policy"):
        return UnknownPolicyError(text)
    return InvalidCallError(text)
