"""The storage for `limits`: every strategy, sync and async. `limits_own_tests.py` runs limits' own
tests on it; these are about what those leave out: exactness, threads, errors, frameworks."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
import time
from collections.abc import Callable

import limits
import limits.aio.strategies
import limits.strategies
import pytest
import redis
import redis.asyncio
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

from escapement import Decision
from escapement.limits import (
    AsyncEscapementStorage,
    EscapementStorage,
    _moving_window,
    _whole,
)
from server import Server, eventually, free_port

STRATEGIES = [
    "FixedWindowRateLimiter",
    "MovingWindowRateLimiter",
    "SlidingWindowCounterRateLimiter",
]
HOUR = 3600


class Both:
    """A strategy over the sync or the async storage, called in the same way."""

    def __init__(self, kind: str, server: Server, strategy: str, **options) -> None:
        prefix = "async+" if kind == "async" else ""
        uri = f"{prefix}escapement://127.0.0.1:{server.port}"
        self.storage = storage_from_string(uri, **{"timeout": 30, **options})
        module = limits.aio.strategies if kind == "async" else limits.strategies
        self.limiter = getattr(module, strategy)(self.storage)

    @staticmethod
    async def call(target, name: str, *arguments, **options):
        result = getattr(target, name)(*arguments, **options)
        return await result if inspect.isawaitable(result) else result

    def __getattr__(self, name: str):
        async def call(*arguments, **options):
            return await self.call(self.limiter, name, *arguments, **options)

        return call

    async def close(self) -> None:
        client = self.storage.storage
        await self.call(client, "aclose" if hasattr(client, "aclose") else "close")


@pytest.fixture(params=["sync", "async"])
async def make(request, server):
    made = []

    def make_one(strategy: str, **options) -> Both:
        made.append(Both(request.param, server, strategy, **options))
        return made[-1]

    yield make_one
    for both in made:
        await both.close()


def keep_off_the_end_of(period: int, seconds: float = 10) -> None:
    """Windows that are aligned to the clock end while a test runs, if it starts just before."""
    left = period - time.time() % period
    if left < seconds:
        time.sleep(left + 0.01)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_hit_test_stats_and_clear(make, strategy, protocol):
    keep_off_the_end_of(HOUR)
    both = make(strategy, **protocol)
    item = limits.parse("5/hour")
    assert (await both.get_window_stats(item, "user", "1")).remaining == 5
    assert await both.hit(item, "user", "1")
    assert await both.hit(item, "user", "1", cost=3)
    assert (await both.get_window_stats(item, "user", "1")).remaining == 1
    assert await both.test(item, "user", "1")
    assert not await both.test(item, "user", "1", cost=2)
    assert await both.hit(item, "user", "1")
    assert not await both.test(item, "user", "1")
    assert not await both.hit(item, "user", "1")
    stats = await both.get_window_stats(item, "user", "1")
    assert stats.remaining == 0
    assert 0 < stats.reset_time - time.time() <= HOUR
    assert await both.hit(item, "user", "2")
    await both.clear(item, "user", "1")
    assert (await both.get_window_stats(item, "user", "1")).remaining == 5
    assert not await both.hit(item, "user", "1", cost=6)


async def test_a_fixed_window_starts_with_the_first_hit_and_counts_refused_hits(make, server):
    both = make("FixedWindowRateLimiter")
    item = limits.parse("2/hour")
    began = time.time()
    for _ in range(4):
        await both.hit(item)
    stats = await both.get_window_stats(item)
    # As in limits' other storages. A window that is aligned to the clock would end earlier.
    assert stats.reset_time == pytest.approx(began + HOUR, abs=10)
    with server.client() as client:
        assert int(client.get("LIMITS:LIMITER/2/1/hour")) == 4
        assert HOUR - 10 < client.ttl("LIMITS:LIMITER/2/1/hour") <= HOUR


async def test_a_fixed_window_ends_however_often_it_is_hit(make):
    """Refused hits count, but do not extend the window."""
    both = make("FixedWindowRateLimiter")
    item = limits.parse("1/second")
    assert await both.hit(item)
    deadline = time.monotonic() + 30
    while not await both.hit(item):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_moving_window_stats_show_the_oldest_entry(make):
    both = make("MovingWindowRateLimiter")
    item = limits.parse("5/hour")
    times = []
    for cost in (1, 2):
        before = time.time()
        await both.hit(item, cost=cost)
        times.append((before, time.time()))
        await asyncio.sleep(0.2)
    for used in (3, 5):
        stats = await both.get_window_stats(item)
        assert stats.remaining == 5 - used
        # To the millisecond, in which the server reports.
        assert times[0][0] + HOUR - 0.002 <= stats.reset_time <= times[0][1] + HOUR + 0.1
        await both.hit(item, cost=2)


async def test_a_moving_window_moves(make):
    both = make("MovingWindowRateLimiter")
    item = limits.parse("2/second")
    allowed = []
    deadline = time.monotonic() + 60
    while len(allowed) < 5:
        assert time.monotonic() < deadline
        before = time.monotonic()
        if await both.hit(item):
            allowed.append((before, time.monotonic()))
        await asyncio.sleep(0.01)
    # No three within a second: each was decided between two looks at the clock.
    for (first, _), (_, third) in zip(allowed, allowed[2:], strict=False):
        assert third - first >= 1


async def test_a_moving_window_beyond_the_servers_maximum_is_a_clear_error(make):
    both = make("MovingWindowRateLimiter")
    assert await both.hit(limits.RateLimitItemPerHour(4096))
    for name in ("hit", "test", "get_window_stats"):
        with pytest.raises(ConfigurationError, match=r"at most 4096, not 4097: use the sliding"):
            await getattr(both, name)(limits.RateLimitItemPerHour(4097))


@pytest.mark.parametrize("amount", [5, 255, 256, 65_535, 65_536, 2**24 - 1, 2**24, 2**32 - 1])
async def test_a_sliding_window_counts_exactly_at_every_scale(make, amount):
    keep_off_the_end_of(HOUR)
    both = make("SlidingWindowCounterRateLimiter")
    item = limits.RateLimitItemPerHour(amount)
    assert await both.hit(item, cost=amount - 1)
    assert (await both.get_window_stats(item)).remaining == 1
    assert not await both.hit(item, cost=2)
    assert await both.hit(item)
    assert not await both.hit(item)
    assert (await both.get_window_stats(item)).remaining == 0


async def test_a_sliding_window_beyond_the_servers_maximum_is_a_clear_error(make):
    both = make("SlidingWindowCounterRateLimiter")
    with pytest.raises(ConfigurationError, match="at most 4294967295"):
        await both.hit(limits.RateLimitItemPerHour(2**32))


async def test_a_sliding_window_is_limits_formula(make, server):
    """Compares each decision with the definition of limits, over the window after a full one:
    allowed if ⌊previous · left / period + current⌋ + 1 ≤ amount."""
    both = make("SlidingWindowCounterRateLimiter")
    with server.client() as client:

        def now() -> float:
            seconds, microseconds = client.time()
            return seconds + microseconds / 1_000_000

        cases = [(5, 3), (20, 20), (300, 7), (100, 60)]
        for attempt in range(10):  # windows of a second are short for a busy machine
            start = math.floor(now()) + 2
            compared = await asyncio.gather(
                *(follow(both, now, start, *case, str(attempt)) for case in cases)
            )
            if all(compared):
                return
        pytest.fail("the machine was too busy in each attempt")


async def follow(
    both: Both, now: Callable[[], float], start: int, amount: int, previous: int, user: str
) -> int:
    """Fills the window before `start`, then hits until the end of the window after it. Returns how
    many decisions it compared."""
    item = limits.RateLimitItemPerSecond(amount)
    await asyncio.sleep(max(0, start - 1 - now() + 0.01))
    assert await both.hit(item, user, cost=previous)
    if now() >= start:
        return 0
    await asyncio.sleep(max(0, start - now() + 0.001))
    current, compared = 0, 0
    while True:
        before = now()
        allowed = await both.hit(item, user)
        after = now()
        if after >= start + 1:
            return compared
        may, must = (
            math.floor(previous * (start + 1 - at) + current) + 1 <= amount
            for at in (after, before)
        )
        if may == must:  # else a unit expired between the two looks at the clock
            compared += 1
            assert allowed == must, (before - start, current)
        current += allowed
        await asyncio.sleep(0.002)


def test_statistics_of_a_window_that_changes_while_it_is_read():
    """Two replies may not fit together; no number may be nonsense then."""
    # The only unit in force expired between the replies.
    assert _whole(1, None, 60) == (0, 0.0, 0, 60.0)
    assert _whole(3, None, 60) == (0, 0.0, 2, 60.0)
    # A whole period until the next unit: at least not 0, as its remainder would be.
    assert 0 < _whole(3, 60.0, 60)[3] % 60 < 60
    # One more entry expired than was asked for: the newest one's end is the latest possible.
    allowed = Decision(True, 1, 5, 3, None, 40.0)
    start, entries = _moving_window(allowed, 5, 60)
    assert (start - time.time() + 60, entries) == (pytest.approx(40, abs=5), 2)


async def test_strategies_do_not_share_keys(make):
    """An application may change its strategy; limits' keys do not name it."""
    item = limits.parse("1/hour")
    for strategy in STRATEGIES:
        both = make(strategy)
        assert await both.hit(item, "user")
        assert not await both.hit(item, "user")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_exactly_the_limit_is_allowed_with_eight_threads(server, strategy):
    keep_off_the_end_of(HOUR)
    limiter = Both("sync", server, strategy).limiter
    item, allowed, barrier = limits.parse("100/hour"), [], threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        allowed.extend(1 for _ in range(50) if limiter.hit(item, "shared"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == 100


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_exactly_the_limit_is_allowed_with_many_tasks(server, strategy):
    keep_off_the_end_of(HOUR)
    both = Both("async", server, strategy)
    item = limits.parse("100/hour")
    hits = await asyncio.gather(*(both.hit(item) for _ in range(200)))
    assert hits.count(True) == 100
    await both.close()


async def test_reset_deletes_the_prefix_only(make, server):
    both = make("FixedWindowRateLimiter", key_prefix="a[b]*")
    for number in range(2500):
        await both.hit(limits.parse("1/hour"), str(number))
    with server.client() as client:
        client.set("ab:other", 1)
        client.set("other", 1)
        assert await both.call(both.storage, "reset") == 2500
        assert sorted(client.keys()) == [b"ab:other", b"other"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("scheme", ["escapement", "async+escapement"])
async def test_errors_without_a_server(scheme, wrap, strategy):
    uri = f"{scheme}://127.0.0.1:{free_port()}"
    storage = storage_from_string(uri, wrap_exceptions=wrap)
    module = limits.aio.strategies if scheme.startswith("async") else limits.strategies
    limiter = getattr(module, strategy)(storage)
    checked = storage.check()
    assert (await checked if inspect.isawaitable(checked) else checked) is False
    for name in ("hit", "test", "get_window_stats", "clear"):
        with pytest.raises(StorageError if wrap else redis.ConnectionError):
            await Both.call(limiter, name, limits.parse("1/hour"))


def test_a_suspended_server_times_out(start):
    server: Server = start()
    storage = EscapementStorage(f"escapement://127.0.0.1:{server.port}", timeout=0.1)
    limiter = limits.strategies.MovingWindowRateLimiter(storage)
    eventually(storage.check, "the server answers")
    with server.suspended():
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            limiter.hit(limits.parse("2/hour"))
        assert time.monotonic() - began < 20
    eventually(storage.check, "the server answers again")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_restart_keeps_the_counts(start, strategy):
    keep_off_the_end_of(HOUR)
    server: Server = start()
    limiter = Both("sync", server, strategy).limiter
    item = limits.parse("2/hour")
    assert limiter.hit(item, cost=2)
    server.stop()
    server.start()
    assert not limiter.hit(item)
    assert limiter.get_window_stats(item).remaining == 0


async def test_addresses(start, tmp_path):
    socket = tmp_path / "s"
    server: Server = start("--unixsocket", str(socket), password="secret")
    for uri in (
        f"escapement://:secret@127.0.0.1:{server.port}",
        f"escapement+unix://:secret@{socket}",
    ):
        assert storage_from_string(uri, timeout=30).check()
        storage = storage_from_string(f"async+{uri}", timeout=30)
        assert await storage.check()
        await storage.storage.aclose()
    uri = f"escapement://127.0.0.1:{server.port}"
    assert storage_from_string(uri, password="secret", timeout=30).check()
    with server.client(password="secret") as client:
        assert EscapementStorage("", client=client).check()
    async with redis.asyncio.Redis(port=server.port, password="secret") as client:
        assert await AsyncEscapementStorage("", client=client).check()


def test_tls_and_other_options_reach_redis_py():
    uri = "escapements://:a%20b@localhost:1/0?max_connections=7"
    for prefix, module in (("", redis), ("async+", redis.asyncio)):
        pool = storage_from_string(f"{prefix}{uri}", timeout=3, protocol=3).storage.connection_pool
        assert pool.connection_class is module.SSLConnection
        assert pool.max_connections == 7
        assert pool.connection_kwargs["password"] == "a b"
        assert pool.connection_kwargs["protocol"] == 3
        assert pool.connection_kwargs["socket_timeout"] == 3


def test_sentinel_addresses():
    uri = "escapement+sentinel://user:p%40ss@a:1,[::1]:2,c/main"
    storage = storage_from_string(uri)
    pool = storage.storage.connection_pool
    assert pool.service_name == "main"
    assert pool.connection_kwargs["password"] == "p@ss"
    assert pool.connection_kwargs["username"] == "user"
    addresses = [
        (kwargs["host"], kwargs["port"])
        for sentinel in pool.sentinel_manager.sentinels
        for kwargs in [sentinel.connection_pool.connection_kwargs]
    ]
    assert addresses == [("a", 1), ("::1", 2), ("c", 26379)]
    for prefix in ("", "async+"):
        with pytest.raises(ConfigurationError, match="no service name"):
            storage_from_string(f"{prefix}escapement+sentinel://a:1")
        with pytest.raises(ConfigurationError, match="no host"):
            storage_from_string(f"{prefix}escapement+sentinel://a:1,/main")
