"""Limits that a call can name, and what the server decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from ._errors import UnavailableError

Algorithm: TypeAlias = Literal[
    "gcra", "token-bucket", "fixed-window", "sliding-window", "sliding-log", "calendar"
]

Period: TypeAlias = int | str | timedelta

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_CALENDAR_MS = {"day": 86_400_000, "week": 7 * 86_400_000}


def _period_text(period: Period) -> str:
    """A period as the server reads it."""
    if isinstance(period, timedelta):
        milliseconds, rest = divmod(period, timedelta(milliseconds=1))
        if rest:
            raise ValueError(f"{period!r} is not a whole number of milliseconds")
        return f"{milliseconds}ms"
    return str(period)


def _milliseconds(text: str) -> int | None:
    """The length of a period; None if it varies, as a month does, or is not a period."""
    if text in _CALENDAR_MS:
        return _CALENDAR_MS[text]
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _UNITS_MS.get(text[len(digits) :] or "s")
    if unit is None or not digits.isdecimal():
        return None
    return int(digits) * unit


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in numbers: `Limit(100, per="1m")`.

    `per` and `offset` are seconds, text such as `"500ms"`, `"10m"` or `"1d"`, or a timedelta. With
    `algorithm="calendar"`, `per` is `"day"`, `"week"`, `"month"` or `"year"`. `burst` applies to
    gcra and token-bucket, `offset` to fixed-window, `zone` and `start` to calendar. The server
    checks the values; an error names the argument.
    """

    limit: int
    per: Period
    burst: int | None = None
    algorithm: Algorithm = "gcra"
    offset: Period | None = None
    zone: str | None = None
    start: int | None = None

    def arguments(self) -> tuple[str, ...]:
        """The words of the command."""
        words = ["LIMIT", str(self.limit), "PER", _period_text(self.per)]
        if self.burst is not None:
            words += ["BURST", str(self.burst)]
        if self.algorithm != "gcra":
            words += ["ALGO", self.algorithm]
        if self.offset is not None:
            words += ["OFFSET", _period_text(self.offset)]
        if self.zone is not None:
            words += ["ZONE", self.zone]
        if self.start is not None:
            words += ["START", str(self.start)]
        return tuple(words)

    @property
    def capacity(self) -> int:
        """Units that may pass at once when none are spent."""
        has_burst = self.algorithm in ("gcra", "token-bucket")
        return self.burst if has_burst and self.burst is not None else self.limit

    @property
    def per_seconds(self) -> float | None:
        """The length of the period; None for a calendar month or year."""
        milliseconds = _milliseconds(_period_text(self.per))
        return None if milliseconds is None else milliseconds / 1000


@dataclass(frozen=True, slots=True)
class Policy:
    """A limit that the server knows by name: `Policy("free")`, after `RL.POLICY SET free …`."""

    name: str

    def arguments(self) -> tuple[str, ...]:
        """The words of the command."""
        return ("POLICY", self.name)


LimitLike: TypeAlias = Limit | Policy


@dataclass(frozen=True, slots=True)
class Decision:
    """What the server decided about one limit. True if the call is allowed."""

    allowed: bool
    granted: int
    """Units granted, or returned by `refund`."""
    limit: int
    """Units that may pass at once when none are spent."""
    remaining: int
    retry_after: float | None
    """Seconds until the same call would be granted; None if it was, or never can be."""
    reset_after: float
    """Seconds until the limit is fully replenished if nothing more is counted."""
    shadow: bool = False
    """The call is allowed only because the policy is in shadow mode."""
    error: UnavailableError | None = None
    """Set if the server decided nothing and this is the answer of `on_error`."""

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def retry_after_header(self) -> str | None:
        """The value of a Retry-After header: whole seconds, rounded up, at least 1 on a refusal."""
        return None if self.retry_after is None else str(max(1, math.ceil(self.retry_after)))


@dataclass(frozen=True, slots=True)
class Decisions:
    """What the server decided about several limits together. True if all allow the call."""

    allowed: bool
    granted: int
    """The cost, or 0."""
    refused: str | bytes | None
    """The key of the first limit that refused."""
    retry_after: float | None
    """The longest wait of those that refused; None if none did, or one can never allow it."""
    limits: tuple[Decision, ...]
    """One per limit, in the order given. Empty if `error` is set."""
    error: UnavailableError | None = None
    """Set if the server decided nothing and this is the answer of `on_error`."""

    def __bool__(self) -> bool:
        return self.allowed
