"""What a limiter answers when the server decides nothing, and how that is made visible."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ._errors import UnavailableError

OnError: TypeAlias = Literal["open", "closed", "raise"]

_log = logging.getLogger("escapement")

_LOG_INTERVAL = 10.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that the server did not decide."""

    command: str
    error: UnavailableError
    answer: OnError
    """`open`: allowed, `closed`: refused, `raise`: the error was raised."""


@dataclass(frozen=True, slots=True)
class FailureCounts:
    """How many calls the server did not decide, by what the limiter did instead."""

    opened: int = 0
    closed: int = 0
    raised: int = 0


class Failures:
    """Counts and reports failures. Safe to use from several threads."""

    def __init__(self, on_error: OnError, on_failure: Callable[[Failure], object] | None) -> None:
        if on_error not in ("open", "closed", "raise"):
            raise ValueError(f"on_error must be 'open', 'closed' or 'raise', not {on_error!r}")
        self.on_error: OnError = on_error
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(("open", "closed", "raise"), 0)
        self._unlogged = 0
        self._next_log = 0.0
        self._is_failing = False

    @property
    def counts(self) -> FailureCounts:
        with self._lock:
            return FailureCounts(
                opened=self._counts["open"],
                closed=self._counts["closed"],
                raised=self._counts["raise"],
            )

    def report(self, command: str, error: UnavailableError, answer: OnError) -> None:
        now = time.monotonic()
        with self._lock:
            self._counts[answer] += 1
            self._unlogged += 1
            is_due = not self._is_failing or now >= self._next_log
            self._is_failing = True
            if is_due:
                failures, self._unlogged = self._unlogged, 0
                self._next_log = now + _LOG_INTERVAL
        if is_due:
            _log.warning(
                "no decision from the server, %s: %s (%s; failures since the last such line: %d)",
                {"open": "allowing", "closed": "refusing", "raise": "raising"}[answer],
                error,
                command,
                failures,
            )
        if self._on_failure is not None:
            try:
                self._on_failure(Failure(command, error, answer))
            except Exception:
                _log.exception("on_failure raised an exception")

    def report_success(self) -> None:
        if not self._is_failing:  # no lock on the usual path
            return
        with self._lock:
            if not self._is_failing:
                return
            self._is_failing = False
            failures, self._unlogged = self._unlogged, 0
        _log.info("the server decides again (failures since the last line: %d)", failures)
