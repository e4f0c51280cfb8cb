"""Outages: a server that is gone, that hangs, that comes back, that refuses writes."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
import redis

from escapement import AsyncLimiter, Failure, FailureCounts, Limit, Limiter, UnavailableError
from server import Server, eventually, free_port

LIMIT = Limit(3, per="1h")


def gone() -> str:
    return f"redis://127.0.0.1:{free_port()}"


def decisions(limiter: Limiter):
    return [
        limiter.take("k", LIMIT, cost=2),
        limiter.peek("k", LIMIT, cost=2),
        limiter.check("tenant", "client", "action", cost=2),
        limiter.take_all([("k", LIMIT)], cost=2),
    ]


async def async_decisions(limiter: AsyncLimiter):
    return [
        await limiter.take("k", LIMIT, cost=2),
        await limiter.peek("k", LIMIT, cost=2),
        await limiter.check("tenant", "client", "action", cost=2),
        await limiter.take_all([("k", LIMIT)], cost=2),
    ]


@pytest.mark.parametrize(
    ("on_error", "counts"),
    [("open", FailureCounts(opened=4)), ("closed", FailureCounts(closed=4))],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_without_a_server_on_error_answers(kind, on_error, counts, caplog):
    seen: list[Failure] = []
    options = {"on_error": on_error, "on_failure": seen.append}
    with caplog.at_level(logging.INFO, "escapement"):
        if kind == "sync":
            with Limiter.from_url(gone(), **options) as limiter:
                answers = decisions(limiter)
        else:
            async with AsyncLimiter.from_url(gone(), **options) as limiter:
                answers = await async_decisions(limiter)
    is_open = on_error == "open"
    for answer in answers:
        assert bool(answer) == answer.allowed == is_open
        assert answer.granted == (2 if is_open else 0)
        assert answer.retry_after is None
        assert isinstance(answer.error, UnavailableError)
        assert answer.error.reason == "connection"
        assert isinstance(answer.error.__cause__, redis.ConnectionError)
    assert answers[0].limit == 3
    assert limiter.failures == counts
    assert [failure.answer for failure in seen] == [on_error] * 4
    assert [failure.command for failure in seen] == ["RL.TAKE", "RL.PEEK", "RL.CHECK", "RL.TAKEALL"]
    assert len(caplog.records) == 1  # the others follow in the next line, ten seconds later
    assert ("allowing" if is_open else "refusing") in caplog.text


@pytest.mark.parametrize("on_error", ["open", "closed", "raise"])
async def test_orders_raise_whatever_on_error_is(on_error):
    with Limiter.from_url(gone(), on_error=on_error) as limiter:
        with pytest.raises(UnavailableError):
            limiter.refund("k", LIMIT)
        with pytest.raises(UnavailableError):
            limiter.reset("k")
        assert limiter.failures == FailureCounts(raised=2)
    async with AsyncLimiter.from_url(gone(), on_error=on_error) as limiter:
        with pytest.raises(UnavailableError):
            await limiter.refund("k", LIMIT)
        with pytest.raises(UnavailableError):
            await limiter.reset("k")


async def test_the_default_is_to_raise():
    with Limiter.from_url(gone()) as limiter, pytest.raises(UnavailableError):
        limiter.take("k", LIMIT)
    async with AsyncLimiter.from_url(gone()) as limiter:
        with pytest.raises(UnavailableError):
            await limiter.take("k", LIMIT)
    with pytest.raises(ValueError, match="'ignore'"):
        Limiter.from_url(gone(), on_error="ignore")  # type: ignore[arg-type]


def test_a_callback_that_raises_does_not_change_the_answer(caplog):
    def callback(failure: Failure) -> None:
        raise RuntimeError("broken metrics")

    with Limiter.from_url(gone(), on_error="open", on_failure=callback) as limiter:
        assert limiter.take("k", LIMIT)
    assert "broken metrics" in caplog.text


def test_a_suspended_server_times_out_and_answers_again(start, caplog):
    server: Server = start()
    with (
        caplog.at_level(logging.INFO, "escapement"),
        Limiter.from_url(server.url, timeout=0.1, on_error="open") as limiter,
    ):
        eventually(lambda: limiter.take("first", LIMIT).error is None, "it decides")
        before = limiter.failures.opened
        with server.suspended():
            began = time.monotonic()
            on_open_connection = limiter.take("k", LIMIT)
            on_new_connection = limiter.take("k", LIMIT)
            # One attempt each, of 0.1 s. redis-py's eleven attempts would take 55 s each.
            assert time.monotonic() - began < 20
        for answer in (on_open_connection, on_new_connection):
            assert answer.error is not None
            assert answer.error.reason == "timeout"
        assert limiter.failures.opened == before + 2
        eventually(lambda: limiter.take("other", LIMIT).error is None, "it decides again")
    assert "decides again" in caplog.text


async def test_a_suspended_server_does_not_block_the_event_loop(start):
    server: Server = start()
    async with AsyncLimiter.from_url(server.url, timeout=0.3, on_error="closed") as limiter:
        while (await limiter.take("first", LIMIT)).error is not None:
            pass
        with server.suspended():
            turns = 0
            call = asyncio.ensure_future(limiter.take("k", LIMIT))
            while not call.done():
                await asyncio.sleep(0.001)
                turns += 1
        answer = await call
        assert not answer
        assert answer.error is not None
        assert answer.error.reason == "timeout"
        assert turns > 3


def test_a_restart_keeps_the_state_and_needs_no_retry(start):
    server: Server = start()
    with Limiter.from_url(server.url, timeout=30) as limiter:
        assert limiter.take("k", LIMIT, cost=2)
        server.stop()
        with pytest.raises(UnavailableError):
            limiter.take("k", LIMIT)
        server.start()
        assert limiter.take("k", LIMIT).remaining == 0
        server.stop()
        server.start()
        # The pool's connection is from before this restart; it is replaced before it is used.
        assert not limiter.take("k", LIMIT)
        assert limiter.failures == FailureCounts(raised=1)


async def test_a_restart_keeps_the_state_async(start):
    server: Server = start()
    async with AsyncLimiter.from_url(server.url, timeout=30) as limiter:
        assert await limiter.take("k", LIMIT, cost=3)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert not await limiter.take("k", LIMIT)
        assert limiter.failures == FailureCounts()


def test_a_killed_server_fails_closed(start):
    server: Server = start()
    with Limiter.from_url(server.url, timeout=30, on_error="closed") as limiter:
        assert limiter.take("k", LIMIT)
        server.kill()
        assert not limiter.take("k", LIMIT)
        assert not limiter.take("k", LIMIT)
        assert limiter.failures.closed == 2
    server.start()


def test_a_server_that_refuses_writes_is_unavailable(start):
    server: Server = start("--min-replicas-to-write", "1")
    with Limiter.from_url(server.url, timeout=30, on_error="open") as limiter:
        answer = limiter.take("k", LIMIT)
        assert answer.allowed
        assert answer.error is not None
        assert answer.error.reason == "noreplicas"
        assert limiter.peek("k", LIMIT).error is None


def test_too_many_tokens_are_an_outage_too(start):
    server: Server = start("--idempotency-tokens-max", "1")
    with Limiter.from_url(server.url, timeout=30, on_error="open") as limiter:
        assert limiter.take("k", LIMIT, id="1").error is None
        answer = limiter.take("k", LIMIT, id="2")
        assert answer.error is not None
        assert answer.error.reason == "idempotency-tokens-max"


def test_a_replica_is_unavailable_for_taking(start):
    primary: Server = start()
    replica: Server = start("--replicaof", f"127.0.0.1 {primary.port}")
    with Limiter.from_url(replica.url, timeout=30, on_error="closed") as limiter:
        answer = limiter.take("k", LIMIT)
        assert answer.error is not None
        assert answer.error.reason in ("readonly", "masterdown", "loading")
