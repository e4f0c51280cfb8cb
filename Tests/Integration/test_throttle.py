"""CL.THROTTLE over a real connection. Periods are long and calls are sent in one write, so that expectations do not
depend on the speed of the machine."""

import threading
import time

import pytest

from clock import Countdown, milliseconds
from wire import PATIENCE, ErrorReply, command, eventually

RANGE = b"ERR value is not an integer or out of range"
ZERO_RATE = b"ERR zero rates are not supported"
MAX = 2**63 - 1


def throttles(wire, *calls):
    """All calls in one write, and so decided at one instant; each is the arguments of CL.THROTTLE."""
    return wire.calls(*(["CL.THROTTLE", *c.split()] for c in calls))


def test_until_denied(wire):
    replies = throttles(wire, *["k 4 1 1000"] * 7)
    assert replies == [
        [0, 5, 4, -1, 1000], [0, 5, 3, -1, 2000], [0, 5, 2, -1, 3000], [0, 5, 1, -1, 4000], [0, 5, 0, -1, 5000],
        [1, 5, 0, 1000, 5000], [1, 5, 0, 1000, 5000]]


def test_a_known_example(wire):
    """The part of it that takes place at one instant."""
    assert throttles(wire, "foo 4 1 1 6", *["foo 4 1 1"] * 6) == [
        [1, 5, 5, -1, 0], [0, 5, 4, -1, 1], [0, 5, 3, -1, 2], [0, 5, 2, -1, 3], [0, 5, 1, -1, 4], [0, 5, 0, -1, 5],
        [1, 5, 0, 1, 5]]
    assert throttles(wire, "user123 15 30 60") == [[0, 16, 15, -1, 2]]
    assert throttles(wire, "u 0 1 2", "u 0 1 2") == [[0, 1, 0, -1, 2], [1, 1, 0, 2, 2]]


def test_other_names_share_keys_and_replies(wire):
    """RL.THROTTLE is CL.THROTTLE; GCRA has its own syntax and the same limiter."""
    assert wire.calls(
        "CL.THROTTLE k 4 1 1000", "RL.THROTTLE k 4 1 1000", "GCRA k 4 1 1000", "gcra k 4 1 1000 tokens 2",
        "rl.throttle k 4 1 1000", "RL.THROTTLE k 4 1 1000 0", "GCRA k 4 1 1000 TOKENS 6",
    ) == [
        [0, 5, 4, -1, 1000], [0, 5, 3, -1, 2000], [0, 5, 2, -1, 3000], [0, 5, 0, -1, 5000],
        [1, 5, 0, 1000, 5000], [0, 5, 0, -1, 5000], [1, 5, 0, -1, 5000]]
    assert wire.call("TYPE", "k") == b"gcra"
    assert wire.calls("MULTI", "GCRA q 1 2 100.0", "RL.THROTTLE q 1 2 100", "EXEC")[-1] == [
        [0, 2, 1, -1, 50], [0, 2, 0, -1, 100]]
    assert wire.call("RL.THROTTLE", *"k 1 1 1 1 1".split()).startswith(
        b"ERR wrong number of arguments for 'rl.throttle' command")


def test_gcra_periods(wire):
    """Fractions of a second, to the nanosecond; reset-after shows them rounded up."""
    assert wire.calls(
        "GCRA a 9 1 0.5 TOKENS 9", "GCRA b 999 1 0.0015 TOKENS 1000", "GCRA c 9 1 1e3", "GCRA d 9 3 .3e1",
        "GCRA e 999999999 1 0.000000001 TOKENS 1000000000", "GCRA f 999999999 7 1e-12 TOKENS 1000000000",
        "GCRA g 0 1 9223372036", "GCRA h 0 9223372036854775807 8999999999.5",
    ) == [
        [0, 10, 1, -1, 5], [0, 1000, 0, -1, 2], [0, 10, 9, -1, 1000], [0, 10, 9, -1, 1],
        [0, 10**9, 0, -1, 1], [0, 10**9, 0, -1, 1], b"ERR the combination of max_burst, tokens_per_period, period and "
        b"TOKENS exceeds 64 bits of nanoseconds", [0, 1, 0, -1, 1]]


@pytest.mark.parametrize("request_, text", [
    ("GCRA", b"ERR wrong number of arguments for 'gcra' command"),
    ("GCRA k 1 1", b"ERR wrong number of arguments for 'gcra' command"),
    ("GCRA k 1 1 1 TOKENS 1 1", b"ERR wrong number of arguments for 'gcra' command"),
    ("GCRA k -1 1 1", b"ERR value is out of range, must be positive"),
    ("GCRA k x 1 1", RANGE),
    ("GCRA k 1 0 1", b"ERR value is out of range, value must between 1 and 9223372036854775807"),
    ("GCRA k 1 -5 1", b"ERR value is out of range, value must between 1 and 9223372036854775807"),
    ("GCRA k 1 1.5 1", RANGE),
    ("GCRA k 1 1 0", b"ERR period must be > 0 and < 1e12"),
    ("GCRA k 1 1 -0.5", b"ERR period must be > 0 and < 1e12"),
    ("GCRA k 1 1 inf", b"ERR period must be > 0 and < 1e12"),
    ("GCRA k 1 1 1e12", b"ERR period must be > 0 and < 1e12"),
    ("GCRA k 1 1 nan", b"ERR value is not a valid float"),
    ("GCRA k 1 1 ten", b"ERR value is not a valid float"),
    ("GCRA k 1 1 1" + "0" * 200, b"ERR value is not a valid float"),
    ("GCRA k 1 1 1 COST 1", b"ERR syntax error"),
    ("GCRA k 1 1 1 TOKENS", b"ERR Missing TOKENS value"),
    ("GCRA k 1 1 1 TOKENS 0", b"ERR value is out of range, value must between 1 and 9223372036854775807"),
    ("GCRA k 1 1 1 TOKENS x", RANGE),
    (f"GCRA k {MAX} 1 1", b"ERR the combination of max_burst, tokens_per_period, period and TOKENS exceeds 64 bits of "
     b"nanoseconds"),
    (f"GCRA k 1 1 1 TOKENS {MAX}", b"ERR the combination of max_burst, tokens_per_period, period and TOKENS exceeds "
     b"64 bits of nanoseconds"),
    ("GCRA k 1 1 1e11", b"ERR the combination of max_burst, tokens_per_period, period and TOKENS exceeds 64 bits of "
     b"nanoseconds"),
])
def test_gcra_refuses(wire, request_, text):
    assert wire.calls(request_, "EXISTS k") == [text, 0]


def test_quantities(wire):
    assert throttles(wire, "k 9 1 100 4", "k 9 1 100 7", "k 9 1 100 6", "k 9 1 100 11") == [
        [0, 10, 6, -1, 400], [1, 10, 6, 100, 400], [0, 10, 0, -1, 1000], [1, 10, 0, -1, 1000]]


def test_count_above_one(wire):
    """30 in 60 s is one every 2 s."""
    assert throttles(wire, "k 2 30 60", "k 2 30 60", "k 2 30 60", "k 2 30 60") == [
        [0, 3, 2, -1, 2], [0, 3, 1, -1, 4], [0, 3, 0, -1, 6], [1, 3, 0, 2, 6]]


def test_quantity_zero_creates_nothing(wire):
    assert throttles(wire, "k 4 1 1000 0") == [[0, 5, 5, -1, 0]]
    assert wire.calls("EXISTS k", "DBSIZE", "TTL k") == [0, 0, -2]


def test_quantity_zero_changes_nothing(wire):
    left = Countdown()
    throttles(wire, "k 4 1 1000 2")
    assert throttles(wire, "k 4 1 1000 0", "k 4 1 1000 0") == [[0, 5, 3, -1, left(2000)]] * 2
    assert throttles(wire, "k 4 1 1000") == [[0, 5, 2, -1, left(3000)]]


def test_denied_changes_nothing(wire):
    left = Countdown()
    throttles(wire, "k 1 1 1000 2")
    throttles(wire, *["k 1 1 1000"] * 50)
    assert throttles(wire, "k 1 1 1000 0") == [[0, 2, 0, -1, left(2000)]]
    assert throttles(wire, "new 1 1 1000 3") == [[1, 2, 2, -1, 0]]
    assert wire.call("EXISTS", "new") == 0


def test_other_parameters_reprice_the_debt(wire):
    """3 units of 100 s are 300 s of debt: 30 units of 10 s."""
    assert throttles(wire, "k 4 1 100 3", "k 39 1 10 0", "k 0 1 300 0")[1:] == [
        [0, 40, 10, -1, 300], [0, 1, 0, -1, 300]]


def test_debt_beyond_the_new_tolerance(wire):
    """The debt under the new parameters may exceed their limit; remaining stays at 0 and the call is denied."""
    assert throttles(wire, "k 9 1 100 10", "k 0 1 10")[1] == [1, 1, 0, 1000, 1000]


@pytest.mark.parametrize(
    "arguments, text",
    [
        ("k 4 0 1", ZERO_RATE), ("k 4 1 0", ZERO_RATE), ("k 4 0 0", ZERO_RATE),
        ("k 4 1000000001 1", ZERO_RATE), (f"k 4 {MAX} 1", ZERO_RATE),
        ("k x 1 1", RANGE), ("k 1 x 1", RANGE), ("k 1 1 x", RANGE), ("k 1 1 1 x", RANGE),
        ("k 1.0 1 1", RANGE), ("k +1 1 1", RANGE), ("k 01 1 1", RANGE), ("k 1 1 1e3", RANGE), ("k 1 1 1 0x1", RANGE),
        (f"k {MAX + 1} 1 1", RANGE), (f"k 1 {MAX + 1} 1", RANGE), (f"k 1 1 {MAX + 1}", RANGE),
        (f"k 1 1 1 {MAX + 1}", RANGE),
        (f"k {MAX} 1 1", RANGE), (f"k 1 1 {MAX}", RANGE), (f"k 1 1 1 {MAX}", RANGE),
        ("k 1 1 9223372037", RANGE), ("k 9223372036 1 1", RANGE), ("k 1 1 1 9223372037", RANGE),
    ])
def test_errors(wire, arguments, text):
    reply = throttles(wire, arguments)[0]
    assert isinstance(reply, ErrorReply) and reply == text
    assert wire.call("EXISTS", "k") == 0


@pytest.mark.parametrize("arguments", ["k -1 1 1", "k 1 -1 1", "k 1 1 -1", "k 1 1 1 -1", f"k {-MAX - 1} 1 1"])
def test_negative_numbers(wire, arguments):
    reply = throttles(wire, arguments)[0]
    assert isinstance(reply, ErrorReply) and reply.startswith(b"ERR ")
    assert wire.call("DBSIZE") == 0


def test_the_end_of_time(wire):
    """A period that fits on its own but ends after the last time in 64 bits of nanoseconds: an error, not a trap."""
    reply = throttles(wire, "k 0 1 9223372036")[0]
    assert reply == RANGE or reply == [0, 1, 0, -1, 9223372036]
    assert wire.call("PING") == b"PONG"


def test_too_many_arguments(wire):
    reply = throttles(wire, "k 1 2 3 4 5")[0]
    assert isinstance(reply, ErrorReply) and reply.startswith(b"ERR ")
    assert wire.call("EXISTS", "k") == 0


def test_empty_number(wire):
    assert wire.call("CL.THROTTLE", "k", "", 1, 1) == RANGE


def test_an_error_does_not_change_the_key(wire):
    left = Countdown()
    throttles(wire, "k 4 1 1000")
    throttles(wire, "k 4 1 0", "k x 1 1", "k 4 1 1000 -1", f"k 4 1 1000 {MAX}")
    assert throttles(wire, "k 4 1 1000 0") == [[0, 5, 4, -1, left(1000)]]


def test_smallest_rates(wire):
    assert throttles(wire, "ns 0 1000000000 1") == [[0, 1, 0, -1, 1]]
    left = Countdown()
    assert throttles(wire, "long 0 1 5000000000") == [[0, 1, 0, -1, 5000000000]]
    assert wire.call("TTL", "long") == left(5000000000)


@pytest.mark.parametrize(
    "key", [b"", b"\0", b"a b", b"\r\n", bytes(range(256)), b"x" * 255, b"x" * 256, b"x" * 70_000, b"x" * (1 << 20)],
    ids=["empty", "NUL", "blank", "CR LF", "all bytes", "255", "256", "70,000", "1 MiB"])
def test_keys_are_any_bytes(wire, key):
    for remaining in (1, 0):
        assert wire.call("CL.THROTTLE", key, 1, 1, 1000)[:3] == [0, 2, remaining]
    assert wire.call("CL.THROTTLE", key, 1, 1, 1000)[0] == 1
    assert wire.call("CL.THROTTLE", key + b"'", 1, 1, 1000)[0] == 0 if len(key) < 1 << 20 else True
    assert wire.call("KEYS", "*").count(key) == 1
    assert wire.call("DEL", key) == 1
    assert wire.call("CL.THROTTLE", key, 1, 1, 1000)[:3] == [0, 2, 1]


def test_ttl(wire):
    left, left_ms = Countdown(), milliseconds()
    throttles(wire, "k 4 1 1000 3")
    assert wire.call("TTL", "k") == left(3000)
    assert wire.call("PTTL", "k") == left_ms(3_000_000)
    throttles(wire, "k 4 1 1000")
    assert wire.call("TTL", "k") == left(4000)
    assert wire.call("TYPE", "k") != b"none"


def test_del_and_expire_forget(wire):
    throttles(wire, "a 0 1 1000", "b 0 1 1000", "c 0 1 1000")
    assert wire.calls("DEL a", "EXPIRE b -1", "UNLINK c", "DBSIZE") == [1, 1, 1, 0]
    assert [r[0] for r in throttles(wire, "a 0 1 1000", "b 0 1 1000", "c 0 1 1000")] == [0, 0, 0]


def test_a_replenished_limiter_is_deleted(wire):
    throttles(wire, *(f"k{i} 0 100 1" for i in range(200)))
    eventually(lambda: wire.call("DBSIZE") == 0, "200 keys with 10 ms to live are swept")


def test_ten_thousand_a_second(wire):
    """Such a key lives 0.1 ms: if that were rounded down to 0, every call would be allowed."""
    begin = time.monotonic()
    replies = throttles(wire, *["fast 0 10000 1"] * 2000)
    seconds = time.monotonic() - begin
    admitted = sum(r[0] == 0 for r in replies)
    assert 1 <= admitted <= 1 + seconds * 10_000
    assert all(r[3] == 1 for r in replies if r[0]), "a denied call never reports 0 seconds"


def test_waiting_replenishes(wire):
    assert throttles(wire, "k 0 5 1", "k 0 5 1") == [[0, 1, 0, -1, 1], [1, 1, 0, 1, 1]]
    eventually(lambda: throttles(wire, "k 0 5 1")[0][0] == 0, "allowed again 200 ms later")


def test_resp3_and_lower_case(wire):
    wire.hello3()
    wire.send(command("cl.throttle", "k", 4, 1, 1000))
    wire.expect_exact(b"*5\r\n:0\r\n:5\r\n:4\r\n:-1\r\n:1000\r\n")


@pytest.mark.parametrize("pipeline", [1, 16])
def test_hammering_admits_exactly_the_burst(server, pipeline):
    """8 connections, 3 keys: exactly burst + 1 calls are admitted."""
    limit, keys, threads = 300, [b"a", b"b", b"c"], 8
    admitted = {key: 0 for key in keys}
    remaining = {key: set() for key in keys}
    lock, barrier = threading.Lock(), threading.Barrier(threads)

    def hammer():
        with server.connect() as connection:
            barrier.wait(timeout=PATIENCE)
            for _ in range(400 // pipeline):
                connection.send(b"".join(
                    command("CL.THROTTLE", key, limit - 1, 1, 1_000_000) for key in keys for _ in range(pipeline)))
                for key in keys:
                    passed = [r for r in (connection.read() for _ in range(pipeline)) if r[0] == 0]
                    with lock:
                        admitted[key] += len(passed)
                        remaining[key].update(r[2] for r in passed)

    workers = [threading.Thread(target=hammer) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    assert admitted == {key: limit for key in keys}
    # In a call whose turn began before the turn of the key's first call, the limiter is fuller by that difference,
    # which rounds down to one unit; so a number may be missing, and the next one may occur twice.
    for seen in remaining.values():
        assert seen <= set(range(limit)) and len(seen) >= limit - 2, "each remaining count is returned once"


def test_hammering_with_quantities(server):
    """Different quantities on one key: their sum never exceeds the limit, and the rest is too small for any of them."""
    limit, sums, lock = 1000, [], threading.Lock()

    def hammer(quantity):
        with server.connect() as connection:
            passed = 0
            for _ in range(300):
                passed += quantity * (connection.call("CL.THROTTLE", "q", limit - 1, 1, 1_000_000, quantity)[0] == 0)
            with lock:
                sums.append(passed)

    workers = [threading.Thread(target=hammer, args=(q,)) for q in (1, 2, 3, 5, 7, 11)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    assert sum(sums) == limit
