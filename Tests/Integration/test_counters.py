"""Counters on 64-bit integers, compared with a real Redis."""

import pytest

from clock import Countdown

COUNTERS = [
    "INCR a", "INCR a", "INCRBY a 5", "DECR a", "DECRBY a 10", "GET a", "GET none", "SET a 5", "INCR a", "GET a",
    "SET a 1 NX", "SET b 1 NX", "SET c 1 XX", "GET c", "SET a 2 XX GET", "SET d 3 GET", "SET d 4 NX GET", "GET d",
    "SET a 1 EX 100", "TTL a", "SET a 2 KEEPTTL", "TTL a", "INCR a", "TTL a", "SET a 3", "TTL a", "SET a 4 PX 100000",
    "TTL a", "SET a 1 EXAT 9000000000", "EXPIRETIME a", "SET a 1 PXAT 9000000000001", "PEXPIRETIME a",
    "SET a 1 EXAT 1", "GET a", "EXISTS a", "SET a 1 EX 0", "SET a 1 EX -5", "SET a 1 EX x", "SET a 1 EX",
    "SET a 1 EX 9223372036854775807", "SET a 1 EX 1 PX 1", "SET a 1 EX 1 EX 100", "TTL a", "SET a 1 EX 1 PX 1 EX 1",
    "SET a 1 EXAT 9000000001 EXAT 9000000000", "EXPIRETIME a", "SET a 1 EX 5 EX 0", "SET a 3 EX x EX 100",
    "SET a 3 EX -1 EX 100", "TTL a", "SET b 1 EXAT 0 EX 0", "SET a 5 EX GET PX 1", "SET b 5 EX -1 PXAT 99 junk",
    "SET a 1 EX x", "SET a 1 KEEPTTL EX 5", "SET a 1 EX 1 KEEPTTL", "SET a 1 NX XX", "SET a 1 FOO",
    "SET a 9223372036854775807", "INCR a", "INCRBY a 1", "GET a", "SET a -9223372036854775808", "DECR a",
    "DECRBY a -9223372036854775808", "DECRBY a 1", "INCRBY a x", "INCRBY a 9223372036854775808", "INCRBY a 1.5",
    "INCR", "INCR a b", "INCRBY a", "GET", "SET a", "GETDEL a", "GETDEL a", "TYPE d", "OBJECT ENCODING d",
    "DEL a b c d", "INCRBY z 0", "GET z", "EXPIRE z 100", "INCR z", "TTL z", "PERSIST z", "TTL z",
    "SET far 1 EXAT 99999999999", "EXISTS far", "SET far 1 EX 99999999999", "SET far 1 PX 9999999999999999",
    "SET far 1 EXAT 9223372036854775", "SET far 1 EXAT 9223372036854776", "SET far 1 PXAT 9223372036854775807",
    "SET far 1 EX 9223372036854775", "SET far 1 PX 9223372036854775807", "EXISTS far", "TTL far PX",
    "EXPIRE far 99999999999", "EXPIREAT far 99999999999", "EXPIREAT far 9223372036854775",
    "EXPIREAT far 9223372036854776", "EXPIREAT far -9223372036854776", "PEXPIREAT far 9223372036854775807",
    "EXPIRE far 9223372036854775", "EXPIRE far 9223372036854776", "PEXPIRE far 9223372036854775807",
    "PEXPIRE far 9223370000000000000", "EXISTS far", "EXPIREAT far 99999999999 GT", "EXPIREAT far 5000000000 GT",
    "EXPIREAT far 5000000000 LT", "EXPIRETIME far", "EXPIRE far -9223372036854775", "EXISTS far", "SET far 1",
    "PEXPIRE far -9223372036854775808", "EXISTS far", "SET far 1", "EXPIREAT far -1", "EXISTS far",
    "SET neg -0", "COMMAND GETKEYS SET a 1",
]
OURS = {
    # The key expires in 2262, as do all keys with a later deadline.
    "EXPIREAT far 99999999999 GT": 0,
    "SET neg -0": b"ERR value is not an integer or out of range: a key holds a 64-bit integer here, no other string",
}


def test_counters_match_redis(wire, reference):
    with reference.connect() as other:
        other.ok("FLUSHALL")
        left = Countdown()
        # All requests in one write to each server, so that times have hardly changed when they are queried.
        for line, mine, theirs in zip(COUNTERS, wire.calls(*COUNTERS), other.calls(*COUNTERS)):
            if line.startswith("TTL ") and left.passed() > 0.4 and mine > 0:
                # Redis rounds to the nearest second.
                assert abs(mine - theirs) <= 1 + left.passed(), line
            else:
                assert mine == OURS.get(line, theirs) and (line in OURS or type(mine) is type(theirs)), line


def test_only_integers_are_values(wire):
    for value in ["", "x", "1.0", " 1", "01", "+1", "9223372036854775808", "1e3"]:
        assert wire.call("SET", "k", value).startswith(b"ERR value is not an integer")
    assert wire.call("EXISTS", "k") == 0


def test_increx(wire):
    assert wire.calls(
        "INCREX k", "INCREX k BYINT 5 EX 100", "TTL k", "INCREX k EX 500 ENX", "TTL k", "INCREX k PERSIST", "TTL k",
        "INCREX k EX 50 ENX", "TTL k", "INCREX k BYINT 5 UBOUND 10 EX 900", "TTL k",
        "INCREX k BYINT 5 UBOUND 10 SATURATE", "INCREX k BYINT -100 LBOUND 0", "INCREX k BYINT -100 LBOUND 0 SATURATE",
        "INCREX new BYINT 5 UBOUND 2",
        "EXISTS new") == [
        [1, 1], [6, 5], 100, [7, 1], 100, [8, 1], -1, [9, 1], 50, [9, 0], 50, [10, 1], [10, 0], [0, -10], [0, 0], 0]


@pytest.mark.parametrize("options, error", [
    ("BYFLOAT 1.5", b"ERR BYFLOAT is not supported"), ("ENX", b"ERR ENX flag requires an expiration"),
    ("PERSIST ENX", b"ERR syntax error"), ("EX 1 PERSIST", b"ERR syntax error"), ("EX", b"ERR syntax error"),
    ("LBOUND 2 UBOUND 1", b"ERR LBOUND must not be above UBOUND"), ("UBOUND x", b"ERR UBOUND is not an integer"),
    ("BYINT 1 BYINT 2", b"ERR syntax error"), ("EX 0", b"ERR invalid expire time in 'increx' command"),
    ("FOO", b"ERR syntax error"),
])
def test_increx_refuses(wire, options, error):
    assert wire.call("INCREX", "k", *options.split()).startswith(error)
    assert wire.call("EXISTS", "k") == 0
