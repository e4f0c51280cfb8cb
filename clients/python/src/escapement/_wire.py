"""Commands and replies of RL.*, without input and output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ._types import Decision, Decisions, LimitLike

Key: TypeAlias = str | bytes
Command: TypeAlias = tuple[str | bytes, ...]

_FIELDS = ("allowed", "granted", "limit", "remaining", "retry_after_ms", "reset_after_ms", "note")
_ALL_FIELDS = ("allowed", "granted", "refused", "retry_after_ms", "limits")


def take(
    name: str, key: Key, limit: LimitLike, cost: int, at_most: bool, token: Key | None
) -> Command:
    return (name, key, *limit.arguments(), *_demand(cost, at_most, token))


def check(
    tenant: Key, client: Key, action: Key, cost: int, at_most: bool, token: Key | None
) -> Command:
    return ("RL.CHECK", tenant, client, action, *_demand(cost, at_most, token))


def refund(key: Key, limit: LimitLike, cost: int) -> Command:
    return ("RL.REFUND", key, *limit.arguments(), *_demand(cost, False, None))


def take_all(limits: Sequence[tuple[Key, LimitLike]], cost: int) -> Command:
    if not limits:
        raise ValueError("take_all needs at least one limit")
    words: list[str | bytes] = ["RL.TAKEALL"]
    for number, (key, limit) in enumerate(limits):
        if number:
            words.append("AND")
        words += [key, *limit.arguments()]
    return (*words, *_demand(cost, False, None))


def _demand(cost: int, at_most: bool, token: Key | None) -> Iterable[Key]:
    if cost != 1:
        yield from ("COST", str(cost))
    if at_most:
        yield "ATMOST"
    if token is not None:
        yield from ("ID", token)


def decision(reply: Any) -> Decision:
    """A reply of RL.TAKE: a list (RESP2) or a map (RESP3), of bytes or text."""
    fields = _named(reply, _FIELDS)
    return Decision(
        allowed=fields["allowed"] == 1,
        granted=fields["granted"],
        limit=fields["limit"],
        remaining=fields["remaining"],
        retry_after=_seconds(fields["retry_after_ms"]),
        reset_after=fields["reset_after_ms"] / 1000,
        shadow=_text(fields.get("note")) == "shadow",
    )


def decisions(reply: Any, sent: Sequence[Key], given: Sequence[Key]) -> Decisions:
    """A reply of RL.TAKEALL. The key that refused is reported as the caller wrote it: without the
    limiter's prefix, and in the caller's type."""
    fields = _named(reply, _ALL_FIELDS)
    refused = fields["refused"]
    return Decisions(
        allowed=fields["allowed"] == 1,
        granted=fields["granted"],
        refused=None if refused is None else _given(refused, sent, given),
        retry_after=_seconds(fields["retry_after_ms"]),
        limits=tuple(decision(row) for row in fields["limits"]),
    )


def _named(reply: Any, names: Sequence[str]) -> Mapping[str, Any]:
    if isinstance(reply, Mapping):
        return {_text(name): value for name, value in reply.items()}
    return dict(zip(names, reply, strict=False))


def _given(refused: Key, sent: Sequence[Key], given: Sequence[Key]) -> Key:
    pairs = zip(sent, given, strict=True)
    return next((name for key, name in pairs if _bytes(key) == _bytes(refused)), refused)


def _bytes(text: Key) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000
