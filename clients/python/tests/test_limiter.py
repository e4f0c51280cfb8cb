"""`Limiter` and `AsyncLimiter`: both run the same calls, over RESP2 and RESP3."""

from __future__ import annotations

import asyncio
import inspect
import threading
from datetime import timedelta

import pytest
import redis
import redis.asyncio

import escapement
from escapement import AsyncLimiter, Decision, Limit, Limiter, Policy
from server import Server, eventually


class Synchronous:
    """A `Limiter` with the interface of an `AsyncLimiter`, so that one test tries both."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    def __getattr__(self, name: str):
        method = getattr(self._limiter, name)

        async def call(*args, **options):
            return method(*args, **options)

        return call


@pytest.fixture(params=["sync", "async"])
async def limiter(request, server, protocol):
    """Eight kinds: sync and async, RESP2 and RESP3, bytes and text."""
    if request.param == "sync":
        with Limiter(server.client(**protocol)) as limiter:
            yield Synchronous(limiter)
    else:
        async with AsyncLimiter(redis.asyncio.Redis(port=server.port, **protocol)) as limiter:
            yield limiter


async def test_take_counts_down_and_refuses(limiter):
    limit = Limit(2, per="1h")
    first = await limiter.take("user:1", limit)
    assert first == Decision(
        allowed=True, granted=1, limit=2, remaining=1, retry_after=None, reset_after=1800.0
    )
    assert (await limiter.take("user:1", limit)).remaining == 0
    refused = await limiter.take("user:1", limit)
    assert not refused
    assert not refused.allowed
    assert refused.granted == 0
    assert 1790 < refused.retry_after <= 1800
    assert 3590 < refused.reset_after <= 3600
    assert 1790 < int(refused.retry_after_header) <= 1800
    assert refused.error is None


async def test_cost_and_at_most(limiter):
    limit = Limit(10, per=60)
    assert (await limiter.take("k", limit, cost=8)).remaining == 2
    assert not await limiter.take("k", limit, cost=3)
    partial = await limiter.take("k", limit, cost=3, at_most=True)
    assert (partial.allowed, partial.granted, partial.remaining) == (True, 2, 0)
    never = await limiter.take("k", limit, cost=11)
    assert (never.allowed, never.retry_after, never.retry_after_header) == (False, None, None)
    assert (await limiter.take("other", limit, cost=0)).remaining == 10


async def test_peek_takes_nothing(limiter):
    limit = Limit(1, per=60)
    assert await limiter.peek("k", limit)
    assert await limiter.peek("k", limit)
    assert await limiter.take("k", limit)
    assert not await limiter.peek("k", limit)


async def test_refund_and_reset(limiter):
    limit = Limit(5, per="1h")
    await limiter.take("k", limit, cost=5)
    refunded = await limiter.refund("k", limit, cost=2)
    assert (refunded.granted, refunded.remaining) == (2, 2)
    assert await limiter.reset("k") is True
    assert await limiter.reset("k") is False
    assert (await limiter.peek("k", limit)).remaining == 5


async def test_a_retry_with_the_same_id_takes_nothing(limiter):
    limit = Limit(5, per="1h")
    first = await limiter.take("k", limit, cost=2, id="request-1")
    assert await limiter.take("k", limit, cost=2, id=b"request-1") == first
    assert (await limiter.peek("k", limit)).remaining == 3


async def test_keys_and_tokens_may_be_any_bytes(limiter):
    limit = Limit(1, per="1h")
    assert await limiter.take(b"\xff\x00 key", limit, id=b"\r\n\xfe")
    assert await limiter.take("schlüssel", limit)
    assert not await limiter.take("schlüssel".encode(), limit)


async def test_take_all_takes_from_all_or_none(limiter):
    limits = [("user:1", Limit(10, per="1h")), (b"login", Limit(1, per="1h"))]
    both = await limiter.take_all(limits)
    assert both
    assert (both.granted, both.refused, both.retry_after) == (1, None, None)
    assert [decision.remaining for decision in both.limits] == [9, 0]
    none = await limiter.take_all(limits)
    assert not none
    assert none.granted == 0
    assert none.refused == b"login"  # as it was given, also if the client decodes
    assert 3590 < none.retry_after <= 3600
    assert [decision.allowed for decision in none.limits] == [True, False]
    assert (await limiter.peek("user:1", limits[0][1])).remaining == 9
    with pytest.raises(ValueError, match="at least one"):
        await limiter.take_all([])


async def test_policies_rules_and_the_shadow_note(limiter, server: Server):
    with server.client() as admin:
        admin.execute_command("RL.POLICY", "SET", "free", "LIMIT", 2, "PER", "1h")
        admin.execute_command("RL.RULE", "SET", "*", "*", "login", "POLICY", "free")
        admin.execute_command("RL.POLICY", "SET", "try", "LIMIT", 1, "PER", "1h", "MODE", "shadow")
    assert (await limiter.take("k", Policy("free"))).remaining == 1
    assert (await limiter.check("acme", "client-7", "login", id="1")).remaining == 1
    assert (await limiter.check("acme", "client-7", "login", id="1")).remaining == 1
    assert (await limiter.check("acme", "client-7", "login", cost=2, at_most=True)).granted == 1
    assert not (await limiter.take("k2", Policy("try"))).shadow
    beyond = await limiter.take("k2", Policy("try"))
    assert (beyond.allowed, beyond.shadow) == (True, True)


@pytest.mark.parametrize(
    ("limit", "capacity"),
    [
        (Limit(10, per="1m", burst=3), 3),
        (Limit(10, per=60, burst=3, algorithm="token-bucket"), 3),
        (Limit(10, per="1d", algorithm="fixed-window", offset="-2h"), 10),
        (Limit(10, per=timedelta(minutes=1), algorithm="sliding-window"), 10),
        (Limit(10, per=timedelta(milliseconds=60_500), algorithm="sliding-log"), 10),
        (Limit(10, per="month", algorithm="calendar", zone="+02:00", start=15), 10),
        (Limit(0, per=1), 0),
    ],
    ids=lambda value: value.algorithm if isinstance(value, Limit) else "",
)
async def test_all_algorithms_and_their_options(limiter, limit: Limit, capacity: int):
    decision = await limiter.take("k", limit)
    assert decision.allowed == (capacity > 0)
    assert decision.limit == limit.capacity == capacity


async def test_rejected_calls_are_clear_and_never_answered_by_on_error(limiter, server: Server):
    rejected = [
        (limiter.take("k", Policy("nope")), escapement.UnknownPolicyError, "'nope'"),
        (limiter.check("a", "b", "c"), escapement.NoRuleError, "no rule"),
        (limiter.take("k", Limit(-1, per=1)), escapement.InvalidCallError, "LIMIT"),
        (limiter.take("k", Limit(1, per="1y")), escapement.InvalidCallError, "PER"),
        (limiter.take("k", Limit(1, per=1), cost=-1), escapement.InvalidCallError, "COST"),
    ]
    for call, kind, text in rejected:
        with pytest.raises(kind, match=text) as caught:
            await call
        assert isinstance(caught.value, escapement.EscapementError)
        assert isinstance(caught.value.__cause__, redis.ResponseError)
    with server.client() as admin:
        admin.set("counter", 1)
    with pytest.raises(escapement.WrongAlgorithmError, match="holds counter"):
        await limiter.take("counter", Limit(1, per=1))


def test_periods():
    assert Limit(1, per="90s").per_seconds == 90
    assert Limit(1, per=timedelta(milliseconds=1500)).per_seconds == 1.5
    assert Limit(1, per="2d").per_seconds == 2 * 86_400
    assert Limit(1, per="week", algorithm="calendar").per_seconds == 7 * 86_400
    assert Limit(1, per="month", algorithm="calendar").per_seconds is None
    with pytest.raises(ValueError, match="whole number of milliseconds"):
        Limit(1, per=timedelta(microseconds=1)).arguments()


def test_the_prefix_is_part_of_keys_and_not_of_answers(server: Server):
    with (
        Limiter.from_url(server.url, prefix="app:", timeout=30) as limiter,
        server.client() as admin,
    ):
        limiter.take("a", Limit(1, per="1h"))
        limiter.take(b"b", Limit(1, per="1h"))
        assert sorted(admin.keys()) == [b"app:a", b"app:b"]
        refused = limiter.take_all([("a", Limit(1, per="1h")), ("c", Limit(1, per="1h"))])
        assert refused.refused == "a"
        assert limiter.reset("a")


def test_both_limiters_have_the_same_interface():
    def interface(kind):
        return {
            name: inspect.signature(method).replace(return_annotation=None)
            for name, method in inspect.getmembers(kind, inspect.isroutine)
            if not name.startswith("_")
        }

    synchronous, asynchronous = interface(Limiter), interface(AsyncLimiter)
    synchronous["aclose"] = synchronous.pop("close")
    assert synchronous == asynchronous


def test_exactly_the_limit_is_allowed_with_eight_threads(server: Server):
    limiter = Limiter.from_url(server.url, timeout=30)
    limit, allowed, barrier = Limit(100, per="1h"), [], threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        allowed.extend(1 for _ in range(50) if limiter.take("k", limit))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 100
    limiter.close()


async def test_exactly_the_limit_is_allowed_with_many_tasks(server: Server):
    """More tasks than connections: the others wait, which is not an outage."""
    async with AsyncLimiter.from_url(server.url, timeout=30, on_error="open") as limiter:
        calls = [limiter.take("k", Limit(100, per="1h")) for _ in range(300)]
        assert sum(decision.allowed for decision in await asyncio.gather(*calls)) == 100


def test_a_refused_call_is_allowed_after_retry_after(server: Server):
    with Limiter.from_url(server.url, timeout=30) as limiter:
        limit = Limit(1, per="200ms", algorithm="sliding-log")
        assert limiter.take("k", limit)
        eventually(lambda: limiter.take("k", limit), "the window has passed")


def test_all_ways_to_connect(start, tmp_path):
    socket = tmp_path / "s"
    server = start("--unixsocket", str(socket), password="secret")
    limit = Limit(100, per="1h")
    urls = [
        f"redis://:secret@127.0.0.1:{server.port}",
        f"escapement://:secret@127.0.0.1:{server.port}/0",
        f"unix://:secret@{socket}",
        f"escapement+unix://:secret@{socket}",
    ]
    for used, url in enumerate(urls, 1):
        with Limiter.from_url(url, timeout=30) as limiter:
            assert limiter.take("k", limit).remaining == 100 - used
    with (
        Limiter.from_url(server.url, timeout=30) as limiter,
        pytest.raises(escapement.UnavailableError) as caught,
    ):
        limiter.take("k", limit)
    assert caught.value.reason in ("authentication", "noauth")
