"""The HTTP answer to a decision: the fields of draft-ietf-httpapi-ratelimit-headers-11, and 429.

The draft's lists are written, not its older forms: `RateLimit-Policy: "name";q=100;w=60` and
`RateLimit: "name";r=50;t=30`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from ._types import Decision, Limit, LimitLike

Headers: TypeAlias = list[tuple[str, str]]

_INTEGER_MAX = 999_999_999_999_999  # 15 digits, RFC 9651
_PROBLEMS = "https://iana.org/assignments/http-problem-types#"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The complete answer to a refused request."""

    status: HTTPStatus
    headers: Headers
    body: bytes


def rate_limit_fields(name: str, limit: LimitLike, decision: Decision) -> Headers:
    """RateLimit-Policy and RateLimit; nothing if there was no decision, or if the name cannot be
    written: a structured field contains printable ASCII only.

    For gcra and token-bucket, `q` is the burst, `w` the time that it takes to refill, and `t` the
    time until the next unit. For the other algorithms, `q` and `w` are the limit and its period.
    The numbers of a policy are not known here except for its quota, so `w` is left out, and `t`
    too unless the request was refused.
    """
    if decision.error is not None or not (name.isascii() and name.isprintable()):
        return []
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    policy = f"{quoted};q={_integer(decision.limit)}"
    window = _window(limit)
    if window is not None and window >= 1:
        policy += f";w={_integer(window)}"
    current = f"{quoted};r={_integer(decision.remaining)}"
    wait = _until_more(limit, decision)
    if wait is not None:
        current += f";t={_integer(wait)}"
    return [("RateLimit-Policy", policy), ("RateLimit", current)]


def refusal(name: str, limit: LimitLike, decision: Decision) -> Refusal:
    """429; or 503 if nothing was decided, so that a client does not take it for its own doing."""
    if decision.error is not None:
        status, problem = HTTPStatus.SERVICE_UNAVAILABLE, "temporary-reduced-capacity"
        members: dict[str, object] = {"detail": "The rate limiter is not available."}
    else:
        status, problem = HTTPStatus.TOO_MANY_REQUESTS, "quota-exceeded"
        members = {"violated-policies": [name]}
        if decision.retry_after is not None:
            members["retry_after_ms"] = round(decision.retry_after * 1000)
    document = {
        "type": _PROBLEMS + problem,
        "title": status.phrase,
        "status": status.value,
        **members,
    }
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    if decision.retry_after_header is not None:
        headers.append(("Retry-After", decision.retry_after_header))
    return Refusal(status, headers + rate_limit_fields(name, limit, decision), body)


def _integer(number: float) -> int:
    return min(math.ceil(number), _INTEGER_MAX)


def _is_bucket(limit: Limit) -> bool:
    return limit.algorithm in ("gcra", "token-bucket")


def _window(limit: LimitLike) -> float | None:
    """Seconds of the window in which the quota holds."""
    if isinstance(limit, Limit) and limit.per_seconds is not None:
        if not _is_bucket(limit):
            return limit.per_seconds
        if limit.limit > 0:
            return limit.per_seconds * limit.capacity / limit.limit
    return None


def _until_more(limit: LimitLike, decision: Decision) -> float | None:
    """Seconds until there is more quota; the same as Retry-After if the request was refused."""
    if not decision.allowed and decision.retry_after is not None:
        return max(1, decision.retry_after)
    if not isinstance(limit, Limit) or decision.limit == 0:
        return None
    if decision.remaining >= decision.limit:
        return 0
    if _is_bucket(limit) and limit.per_seconds is not None and limit.limit > 0:
        missing = decision.limit - decision.remaining - 1
        return max(0.0, decision.reset_after - missing * limit.per_seconds / limit.limit)
    return decision.reset_after
