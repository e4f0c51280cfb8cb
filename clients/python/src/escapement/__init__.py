"""Python client of Escapement, a rate-limit server that speaks the Redis protocol.

`Limiter` and `AsyncLimiter` are the client. `escapement.limits` is a storage for the `limits`
library, `escapement.drf` has throttles for Django REST framework, `escapement.asgi` and
`escapement.wsgi` have middleware; each needs only what it is named after.
"""

from ._address import ClientAddress
from ._connection import connection_options
from ._errors import (
    EscapementError,
    InvalidCallError,
    NoRuleError,
    UnavailableError,
    UnknownPolicyError,
    WrongAlgorithmError,
)
from ._failures import Failure, FailureCounts, OnError
from ._limiter import AsyncLimiter, Limiter
from ._types import Algorithm, Decision, Decisions, Limit, LimitLike, Policy

__version__ = "0.1.0"

__all__ = [
    "Algorithm",
    "AsyncLimiter",
    "ClientAddress",
    "Decision",
    "Decisions",
    "EscapementError",
    "Failure",
    "FailureCounts",
    "InvalidCallError",
    "Limit",
    "LimitLike",
    "Limiter",
    "NoRuleError",
    "OnError",
    "Policy",
    "UnavailableError",
    "UnknownPolicyError",
    "WrongAlgorithmError",
    "connection_options",
]

# So that a traceback shows the names to import.
for _error in (
    EscapementError,
    InvalidCallError,
    NoRuleError,
    UnavailableError,
    UnknownPolicyError,
    WrongAlgorithmError,
):
    _error.__module__ = __name__
del _error
