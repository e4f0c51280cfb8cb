"""Storage for the `limits` library: importing this module registers `escapement://` and
`async+escapement://` with it.

The decision of each strategy is one command, decided by the server:

- Fixed window: `INCREX key BYINT n EX period ENX` adds, and sets the expiry only if there is none,
  as limits' own Lua script for Redis does. The window starts with the first hit. The server's
  `ALGO fixed-window` is not used, since its windows are aligned to the clock.
- Moving window: `RL.TAKE … ALGO sliding-log`. A limit is at most 4,096.
- Sliding window counter: `RL.TAKE … ALGO sliding-window`, with windows aligned to the clock as in
  limits' memory and memcached storages. limits rounds the weighted count down and the server up, so
  units are counted in small parts, of which rounding up is not noticeable: see `_Scale`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from limits.aio.storage import MovingWindowSupport as AsyncMovingWindowSupport
from limits.aio.storage import SlidingWindowCounterSupport as AsyncSlidingWindowCounterSupport
from limits.aio.storage import Storage as AsyncStorage
from limits.errors import ConfigurationError
from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage
from limits.storage.base import TimestampedSlidingWindow

from . import _wire
from ._connection import (
    DEFAULT_TIMEOUT,
    connection_options,
    make_async_client,
    make_client,
)
from ._types import Decision, Limit

__all__ = ["AsyncEscapementStorage", "EscapementStorage"]

_LOG_MAX = 4096
_WINDOW_MAX = 2**32 - 1
_SCAN_COUNT = 1000
_PEEKS_MAX = 4  # for a moving window that changes while it is read; two are usual


@dataclass(frozen=True, slots=True)
class _Scale:
    """The parts that a unit of the sliding window counter consists of.

    limits allows a hit if ⌊weighted⌋ + amount ≤ limit. With K parts to a unit and a limit of
    limit · K + K - 1 parts, the server allows it if ⌈weighted · K⌉ ≤ (limit - amount) · K + K - 1:
    the same, except while the weighted count is less than a part below a whole number. The
    server counts up to 2³² - 1 parts, so smaller limits have finer ones. The scale is part of the
    key's name, since `get_sliding_window` is not told the limit.
    """

    bits: int

    @property
    def parts(self) -> int:
        return 1 << self.bits

    @property
    def suffix(self) -> str:
        return f"/sliding{self.bits}"

    def limit(self, limit: int, expiry: int) -> Limit:
        return Limit(limit * self.parts + self.parts - 1, expiry, algorithm="sliding-window")


_SCALES = (_Scale(24), _Scale(16), _Scale(8), _Scale(0))


def _scale(limit: int) -> _Scale:
    for scale in _SCALES:
        if limit * scale.parts + scale.parts - 1 <= _WINDOW_MAX:
            return scale
    raise ConfigurationError(
        f"a sliding window counter on Escapement has a limit of at most {_WINDOW_MAX}, not {limit}"
    )


_Window = tuple[int, float, int, float]

# redis-py does not annotate these.
_Sentinel: Any = redis.sentinel.Sentinel
_AsyncSentinel: Any = redis.asyncio.sentinel.Sentinel


class _Commands:
    """The commands of both storages, and what their replies mean."""

    key_prefix: str

    def _name(self, key: str) -> str:
        return f"{self.key_prefix}:{key}"

    def _names(self, key: str) -> list[str]:
        """All keys that the strategies use for a limit's key."""
        name = self._name(key)
        return [name, f"{name}/moving", *(name + scale.suffix for scale in _SCALES)]

    def _incr(self, key: str, expiry: int, amount: int) -> tuple[str | int, ...]:
        return ("INCREX", self._name(key), "BYINT", amount, "EX", expiry, "ENX")

    def _moving(
        self, command: str, key: str, limit: int, expiry: int, amount: int
    ) -> _wire.Command:
        if limit > _LOG_MAX:
            raise ConfigurationError(
                f"a moving window on Escapement has a limit of at most {_LOG_MAX}, not {limit}: "
                "use the sliding window counter"
            )
        log = Limit(limit, expiry, algorithm="sliding-log")
        return _wire.take(command, f"{self._name(key)}/moving", log, amount, False, None)

    def _sliding(self, key: str, limit: int, expiry: int, amount: int) -> _wire.Command:
        scale = _scale(limit)
        return _wire.take(
            "RL.TAKE",
            self._name(key) + scale.suffix,
            scale.limit(limit, expiry),
            amount * scale.parts,
            False,
            None,
        )

    def _sliding_load(self, key: str, scale: _Scale, expiry: int) -> _wire.Command:
        """Reads the parts in force: what the largest possible limit has left."""
        limit = Limit(_WINDOW_MAX, expiry, algorithm="sliding-window")
        return _wire.take("RL.PEEK", self._name(key) + scale.suffix, limit, 0, False, None)

    def _sliding_next(self, key: str, scale: _Scale, expiry: int, units: int) -> _wire.Command:
        """Reads when fewer than this many units are in force."""
        limit = Limit(units * scale.parts, expiry, algorithm="sliding-window")
        return _wire.take("RL.PEEK", self._name(key) + scale.suffix, limit, 1, False, None)


def _moving_window(decision: Decision, limit: int, expiry: int) -> tuple[float, int]:
    """Start and entries of a moving window, from a call that asked for one unit too many: what it
    would have to wait for is the oldest entry's end."""
    now = time.time()
    if decision.remaining >= limit:
        return now, 0
    wait = decision.reset_after if decision.retry_after is None else decision.retry_after
    return now + wait - expiry, limit - decision.remaining


def _in_force(loads: list[Decision]) -> tuple[_Scale, Decision, int] | None:
    """The scale in use, its reply, and the parts in force; None if there are none."""
    for scale, load in zip(_SCALES, loads, strict=True):
        if load.remaining < load.limit:
            return scale, load, load.limit - load.remaining
    return None


def _fraction(load: Decision) -> _Window:
    """Less than a unit is left of the previous window."""
    return 1, load.reset_after, 0, 0.0


def _whole(units: int, until_next: float | None, expiry: int) -> _Window:
    """The server reports the units in force, not the two counters; the strategy derives the same
    numbers from all units in the current window, and the time until there are fewer."""
    if until_next is None:
        units, until_next = units - 1, 0.0
    # The strategy takes the remainder by the period, and a whole period would become 0.
    return 0, 0.0, units, expiry + min(until_next, expiry - 0.001)


def _glob(text: str) -> str:
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", text)


def _sentinels(uri: str) -> tuple[list[tuple[str, int]], str, str | None, str | None]:
    """Sentinels' addresses, the service's name, user and password of
    `escapement+sentinel://user:password@host:26379,host:26379/name`."""
    parts = urlsplit(uri)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    addresses = []
    for host in hosts.split(","):
        address = urlsplit(f"//{host.strip()}")
        if address.hostname is None:
            raise ConfigurationError(f"no host in {uri!r}")
        addresses.append((address.hostname, address.port or 26379))
    service = parts.path.strip("/")
    if not service:
        raise ConfigurationError(
            f"no service name in {uri!r}: it follows the hosts, as in /mymaster"
        )
    return addresses, service, unquote(user) or None, unquote(password) or None


def _connect(uri: str, timeout: float, options: dict[str, Any]) -> Any:
    if not uri.startswith("escapement+sentinel://"):
        return make_client(uri, timeout, options)
    waits = connection_options(timeout)
    addresses, service, user, password = _sentinels(uri)
    sentinel = _Sentinel(addresses, sentinel_kwargs=waits)
    given = {"username": user, "password": password, **waits, **options}
    return sentinel.master_for(service, **given)


def _connect_async(uri: str, timeout: float, options: dict[str, Any]) -> Any:
    if not uri.startswith("escapement+sentinel://"):
        return make_async_client(uri, timeout, options)
    waits = connection_options(timeout, asynchronous=True)
    addresses, service, user, password = _sentinels(uri)
    sentinel = _AsyncSentinel(addresses, sentinel_kwargs=waits)
    given = {"username": user, "password": password, **waits, **options}
    return sentinel.master_for(service, **given)


class EscapementStorage(
    Storage,
    MovingWindowSupport,
    SlidingWindowCounterSupport,
    TimestampedSlidingWindow,  # which is how limits marks windows that are aligned to the clock
    _Commands,
):
    """Storage for `limits`, Flask-Limiter and slowapi: `escapement://[:password@]host:port`,
    `escapement+unix:///path`, or `escapement+sentinel://host:port,host:port/service`."""

    STORAGE_SCHEME = ["escapement", "escapements", "escapement+unix", "escapement+sentinel"]  # noqa: RUF012

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,
        *,
        key_prefix: str = "LIMITS",
        timeout: float = DEFAULT_TIMEOUT,
        client: Any = None,
        **options: Any,
    ) -> None:
        """
        :param uri: the server's address; ignored if a client is given
        :param wrap_exceptions: whether to raise errors as `limits.errors.StorageError`
        :param key_prefix: prefix of every key
        :param timeout: seconds to wait at most to connect, and for each reply
        :param client: an existing client of redis-py, with its own time-outs
        :param options: options of `redis.Redis`
        """
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self.key_prefix = key_prefix
        self.storage = client or _connect(uri, timeout, options)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return redis.RedisError

    def _ask(self, *command: Any) -> Any:
        return self.storage.execute_command(*command)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return int(self._ask(*self._incr(key, expiry, amount))[0])

    def get(self, key: str) -> int:
        return int(self._ask("GET", self._name(key)) or 0)

    def get_expiry(self, key: str) -> float:
        return time.time() + max(0, int(self._ask("PTTL", self._name(key)))) / 1000

    def check(self) -> bool:
        try:
            return bool(self.storage.ping())
        except redis.RedisError:
            return False

    def reset(self) -> int | None:
        """Deletes all keys with the prefix; returns how many."""
        deleted = 0
        pattern = f"{_glob(self.key_prefix)}:*"
        keys: list[Any] = []
        for key in self.storage.scan_iter(match=pattern, count=_SCAN_COUNT):
            keys.append(key)
            if len(keys) == _SCAN_COUNT:
                deleted += int(self._ask("UNLINK", *keys))
                keys = []
        return deleted + int(self._ask("UNLINK", *keys)) if keys else deleted

    def clear(self, key: str) -> None:
        self._ask("UNLINK", *self._names(key))

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return _wire.decision(
            self._ask(*self._moving("RL.TAKE", key, limit, expiry, amount))
        ).allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        asked = 1
        for _ in range(_PEEKS_MAX):
            command = self._moving("RL.PEEK", key, limit, expiry, asked)
            decision = _wire.decision(self._ask(*command))
            if decision.remaining in (asked - 1, limit):
                break
            asked = decision.remaining + 1
        return _moving_window(decision, limit, expiry)

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        if amount > limit:
            return False
        return _wire.decision(self._ask(*self._sliding(key, limit, expiry, amount))).allowed

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The units in force as a current window; see `_whole`."""
        pipeline = self.storage.pipeline()
        for scale in _SCALES:
            pipeline.execute_command(*self._sliding_load(key, scale, expiry))
        found = _in_force([_wire.decision(reply) for reply in pipeline.execute()])
        if found is None:
            return 0, 0.0, 0, 0.0
        scale, load, parts = found
        units = parts // scale.parts
        if units == 0:
            return _fraction(load)
        reply = self._ask(*self._sliding_next(key, scale, expiry, units))
        return _whole(units, _wire.decision(reply).retry_after, expiry)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self.clear(key)


class AsyncEscapementStorage(
    AsyncStorage,
    AsyncMovingWindowSupport,
    AsyncSlidingWindowCounterSupport,
    TimestampedSlidingWindow,  # which is how limits marks windows that are aligned to the clock
    _Commands,
):
    """`EscapementStorage` for `limits.aio`: the same addresses, after `async+`."""

    STORAGE_SCHEME = [f"async+{scheme}" for scheme in EscapementStorage.STORAGE_SCHEME]  # noqa: RUF012

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,
        *,
        key_prefix: str = "LIMITS",
        timeout: float = DEFAULT_TIMEOUT,
        client: Any = None,
        **options: Any,
    ) -> None:
        """Parameters are those of `EscapementStorage`; `client` is one of `redis.asyncio`."""
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self.key_prefix = key_prefix
        self.storage = client or _connect_async(uri.removeprefix("async+"), timeout, options)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return redis.RedisError

    async def _ask(self, *command: Any) -> Any:
        return await self.storage.execute_command(*command)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return int((await self._ask(*self._incr(key, expiry, amount)))[0])

    async def get(self, key: str) -> int:
        return int(await self._ask("GET", self._name(key)) or 0)

    async def get_expiry(self, key: str) -> float:
        return time.time() + max(0, int(await self._ask("PTTL", self._name(key)))) / 1000

    async def check(self) -> bool:
        try:
            return bool(await self.storage.ping())
        except redis.RedisError:
            return False

    async def reset(self) -> int | None:
        """Deletes all keys with the prefix; returns how many."""
        deleted = 0
        pattern = f"{_glob(self.key_prefix)}:*"
        keys: list[Any] = []
        async for key in self.storage.scan_iter(match=pattern, count=_SCAN_COUNT):
            keys.append(key)
            if len(keys) == _SCAN_COUNT:
                deleted += int(await self._ask("UNLINK", *keys))
                keys = []
        return deleted + int(await self._ask("UNLINK", *keys)) if keys else deleted

    async def clear(self, key: str) -> None:
        await self._ask("UNLINK", *self._names(key))

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        command = self._moving("RL.TAKE", key, limit, expiry, amount)
        return _wire.decision(await self._ask(*command)).allowed

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        asked = 1
        for _ in range(_PEEKS_MAX):
            command = self._moving("RL.PEEK", key, limit, expiry, asked)
            decision = _wire.decision(await self._ask(*command))
            if decision.remaining in (asked - 1, limit):
                break
            asked = decision.remaining + 1
        return _moving_window(decision, limit, expiry)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        if amount > limit:
            return False
        return _wire.decision(await self._ask(*self._sliding(key, limit, expiry, amount))).allowed

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The units in force as a current window; see `_whole`."""
        pipeline = self.storage.pipeline()
        for scale in _SCALES:
            pipeline.execute_command(*self._sliding_load(key, scale, expiry))
        found = _in_force([_wire.decision(reply) for reply in await pipeline.execute()])
        if found is None:
            return 0, 0.0, 0, 0.0
        scale, load, parts = found
        units = parts // scale.parts
        if units == 0:
            return _fraction(load)
        reply = await self._ask(*self._sliding_next(key, scale, expiry, units))
        return _whole(units, _wire.decision(reply).retry_after, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        await self.clear(key)
