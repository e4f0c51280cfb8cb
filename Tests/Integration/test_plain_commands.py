"""Redis's plain commands on integers (SETNX, GETEX, MSET, COPY, RENAME and so on), compared with a real Redis: the same
requests in the same order, one by one, in a pipeline and inside MULTI; and what is left of them after a crash and on a
replica."""

import itertools
import threading

import pytest

from clock import Countdown
from durable import info, launch
from replication import nodes, pair, wait_same_offset
from wire import ErrorReply, eventually

STRINGS = [
    # SETNX, GETSET, STRLEN
    "SETNX a 1", "SETNX a 2", "GET a", "SET e 1 EX 100", "SETNX e 2", "TTL e", "SETNX", "SETNX a", "SETNX a 1 2",
    "SETNX m -9223372036854775808", "STRLEN m", "SETNX M 9223372036854775807", "STRLEN M", "INCR M",
    "GETSET a 5", "GETSET none 6", "GET none", "GETSET e 7", "TTL e", "GETSET", "GETSET a", "GETSET a 1 2", "GET a",
    "STRLEN a", "STRLEN nothing", "SET a -10", "STRLEN a", "SET a 0", "STRLEN a", "STRLEN", "STRLEN a b",
    # SETEX, PSETEX
    "SETEX s 100 1", "TTL s", "GET s", "SETEX s 0 1", "SETEX s -1 1", "SETEX s x 1", "SETEX s 1.5 1", "SETEX s",
    "SETEX s 1", "SETEX s 1 2 3", "SETEX s 9223372036854775807 1", "SETEX s 9223372036854775808 1",
    "SETEX s 9223372036854775 1", "SETEX s 9223372036854776 1", "GET s", "TTL s", "PSETEX s 200000 2", "TTL s", "GET s",
    "PSETEX s 0 1", "PSETEX s -5 1", "PSETEX s x 1", "PSETEX s 9223372036854775807 1", "PSETEX s", "PSETEX s 1 2 3",
    "SETEX s 99999999999 1", "GET s", "SETEX s 100 3", "SETNX s 1", "INCR s", "TTL s",
    # GETEX
    "SET g 5", "GETEX g", "TTL g", "GETEX g EX 100", "TTL g", "GETEX g", "TTL g", "GETEX g PX 200000", "TTL g",
    "GETEX g PERSIST", "TTL g", "GETEX g PERSIST", "GETEX g EXAT 9000000000", "EXPIRETIME g",
    "GETEX g PXAT 9000000000001", "PEXPIRETIME g", "GETEX g PERSIST PERSIST", "TTL g", "GETEX g ex 50 EX 100", "TTL g",
    "GETEX g EX 1 PX 1", "GETEX g EX 1 PERSIST", "GETEX g PERSIST EX 1", "GETEX g EXAT 1 PXAT 1", "GETEX g KEEPTTL",
    "GETEX g NX", "GETEX g GET", "GETEX g FOO", "GETEX g EX", "GETEX g EX 0", "GETEX g EX -1", "GETEX g EX x",
    "GETEX g EX 9223372036854775807", "GETEX g EX 9223372036854776", "GETEX g PX 9223372036854775807", "GETEX g EXAT 0",
    "GETEX g PXAT -5", "GETEX g EX x EX 100", "GETEX g EX 100 EX x", "TTL g", "GETEX none2 EX x", "GETEX none2 EX 0",
    "GETEX none2 FOO", "GETEX none2", "GETEX none2 EX 5", "EXISTS none2", "GETEX", "GETEX g EXAT 1", "EXISTS g",
    "SET g 5 EX 100", "GETEX g PXAT 1", "EXISTS g", "SET g 5", "GETEX g EX 99999999999", "EXISTS g",
    # MGET, MSET, MSETNX
    "MSET x 1 y 2 z 3", "MGET x y z", "MGET x nothing z x", "MGET", "MSET", "MSET x", "MSET x 1 y", "MSET x 1 y 2 z",
    "MSET x 1 x 2 x 3", "GET x", "SET x 1 EX 100", "MSET x 9", "TTL x", "MSETNX x 1 new 2", "EXISTS new",
    "MSETNX new 1 x 2", "EXISTS new", "MSETNX new 1 new2 2", "MGET new new2", "MSETNX dup 1 dup 2", "GET dup", "MSETNX",
    "MSETNX a", "MSETNX a 1 b", "MSET X -5 Y 9223372036854775807 Z -9223372036854775808", "MGET X Y Z", "DEL x y",
    "MGET x y",
    # EXPIRE and its options
    "SET t 1", "EXPIRE t 100 XX", "TTL t", "EXPIRE t 100 GT", "TTL t", "EXPIRE t 100 NX", "EXPIRE t 200 NX", "TTL t",
    "EXPIRE t 50 GT", "TTL t", "EXPIRE t 200 GT", "TTL t", "EXPIRE t 300 LT", "EXPIRE t 100 LT", "TTL t",
    "EXPIRE t 50 XX GT", "EXPIRE t 400 XX GT", "TTL t", "EXPIRE t 300 LT XX", "TTL t", "EXPIRE t 1 NX XX",
    "EXPIRE t 1 NX GT", "EXPIRE t 1 NX LT", "EXPIRE t 1 GT LT", "EXPIRE t 1 LT GT XX", "EXPIRE t 1 NX GT LT",
    "EXPIRE t 300 xx XX Xx", "EXPIRE t 500 GT GT", "EXPIRE t 400 LT LT XX", "TTL t", "EXPIRE t 1 FOO",
    "EXPIRE t 1 NX FOO", "EXPIRE t 1 FOO NX", "EXPIRE t x NX", "EXPIRE t x FOO", "EXPIRE t x NX XX", "EXPIRE t",
    "EXPIRE", "EXPIRE t NX", "EXPIRE nothing 1 NX", "EXPIRE nothing 1 FOO", "EXPIRE nothing x",
    "EXPIRE nothing 9223372036854775807", "EXPIRE t 9223372036854775807 NX", "PEXPIRE t 100000 LT", "TTL t",
    "PEXPIRE t 90000 GT", "PEXPIRE t 110000 GT XX", "TTL t", "PEXPIRE t x FOO", "PEXPIRE t 1 GT LT",
    "EXPIREAT t 9000000000 NX", "EXPIREAT t 9000000000 GT", "EXPIRETIME t", "EXPIREAT t 8000000000 LT",
    "EXPIRETIME t", "EXPIREAT t 1 GT", "EXISTS t", "EXPIREAT t 9223372036854775807 GT", "PEXPIREAT t 9000000000000 GT",
    "PEXPIRETIME t", "PEXPIREAT t 8000000000001 LT", "PEXPIRETIME t", "PEXPIREAT t 1 NX", "PERSIST t",
    "PEXPIREAT t 5 GT", "EXISTS t", "PEXPIREAT t 5 XX", "EXISTS t", "PEXPIREAT t 5 LT", "EXISTS t", "SET t 1",
    "EXPIRE t -1 NX", "EXISTS t", "PEXPIREAT t", "EXPIREAT t 1 BAR",
]
COPIES = [
    "SET a 1 EX 100", "COPY a b", "TTL b", "GET b", "COPY a b", "SET a 2", "COPY a b", "GET b", "COPY a b REPLACE",
    "GET b", "TTL b", "COPY a a", "COPY a a REPLACE", "COPY none none", "COPY none c", "EXISTS c", "COPY none b REPLACE",
    "GET b", "COPY a c DB 0", "COPY a c DB 0 REPLACE", "COPY a c REPLACE DB 0", "COPY a c replace REPLACE db 0 DB 0",
    "COPY a c DB", "COPY a c DB x", "COPY a c DB 99", "COPY a c DB -1", "COPY a c DB 2147483648",
    "COPY a c DB -2147483649", "COPY a c DB 9223372036854775808", "COPY a c FOO", "COPY a c REPLACE FOO",
    "COPY a c DB 0 FOO", "COPY a c DB 99 FOO", "COPY a c DB x FOO", "COPY a a FOO", "COPY a", "COPY", "INCR a",
    "MGET a b c", "COPY a d", "INCR d", "MGET a d",
]
RENAMES = [
    "SET a 1 EX 100", "RENAME a b", "EXISTS a", "GET b", "TTL b", "RENAME none x", "RENAME none none", "RENAME b b",
    "GET b", "SET c 5", "RENAME c b", "GET b", "TTL b", "EXISTS c", "SET c 6 EX 200", "RENAME b c", "TTL c", "RENAME",
    "RENAME c", "RENAME c d e", "RENAMENX c d", "GET d", "SET c 7", "RENAMENX c d", "MGET c d", "RENAMENX none d",
    "RENAMENX none none", "RENAMENX c c", "GET c", "RENAMENX", "RENAMENX c", "RENAMENX c d e", "DEL d", "RENAMENX c d",
    "EXISTS c", "GET d", "RENAME d a", "RENAME a d", "INCR d", "SETNX a 1", "RENAME a d", "GET d", "KEYS *",
]
TABLES = {"strings": STRINGS, "copies": COPIES, "renames": RENAMES}


def same(line, mine, theirs, left):
    if line.startswith("TTL ") and isinstance(theirs, int) and theirs > 0:
        # Redis rounds to the nearest second.
        return isinstance(mine, int) and abs(mine - theirs) <= 1 + left.passed()
    return mine == theirs and type(mine) is type(theirs)


@pytest.mark.parametrize("way", ["one by one", "pipeline", "multi"])
@pytest.mark.parametrize("table", TABLES)
def test_replies_are_redis_s(wire, reference, table, way):
    lines = TABLES[table]

    def replies(connection):
        connection.ok("FLUSHALL")
        if way == "one by one":
            return [connection.call(*line.split()) for line in lines]
        if way == "pipeline":
            return connection.calls(*lines)
        # Requests with a wrong number of words would abort the transaction.
        found = connection.calls("MULTI", *valid, "EXEC")
        assert found[1:-1] == [b"QUEUED"] * len(valid)
        return found[-1]

    with reference.connect() as other:
        left = Countdown()
        # Those that are refused when they are queued.
        other.ok("MULTI")
        valid = [line for line in lines if other.call(*line.split()) == b"QUEUED"]
        other.ok("DISCARD")
        pairs = list(zip(valid if way == "multi" else lines, replies(wire), replies(other), strict=True))
        differing = [(line, mine, theirs) for line, mine, theirs in pairs if not same(line, mine, theirs, left)]
        assert not differing


def test_table_is_redis_s(wire, reference):
    """COMMAND INFO as a whole, and the arguments in COMMAND DOCS."""
    names = ["setnx", "setex", "psetex", "getset", "getex", "strlen", "mget", "mset", "msetnx", "copy", "rename",
             "renamenx"]
    with reference.connect() as other:
        for name in names:
            mine, theirs = (c.call("COMMAND", "INFO", name)[0] for c in (wire, other))
            assert mine is not None, name
            for number, (left, right) in enumerate(zip(mine, theirs, strict=True)):
                if number in (2, 6, 7):  # flags, categories, tips: in any order
                    assert sorted(left) == sorted(right), (name, number)
                elif number == 8:
                    assert left == [without_notes(specification) for specification in right], name
                else:
                    assert left == right, (name, number)
            mine, theirs = (dict(zip(*[iter(c.call("COMMAND", "DOCS", name)[1])] * 2)) for c in (wire, other))
            assert without_prose(mine[b"arguments"]) == without_prose(theirs[b"arguments"]), name
            assert mine[b"group"] == theirs[b"group"], name


def without_notes(specification):
    """A key specification without Redis's remarks on it."""
    fields = zip(specification[::2], specification[1::2])
    return [item for name, value in fields if name != b"notes" for item in (name, value)]


def without_prose(arguments):
    found = []
    for argument in arguments:
        fields = dict(zip(argument[::2], argument[1::2]))
        for name in (b"summary", b"display_text", b"since"):
            fields.pop(name, None)
        if b"arguments" in fields:
            fields[b"arguments"] = without_prose(fields[b"arguments"])
        found.append(fields)
    return found


@pytest.mark.parametrize("request_", ["SETNX k {}", "SETEX k 100 {}", "PSETEX k 100 {}", "GETSET k {}", "MSET k {}",
                                      "MSETNX k {}", "MSET j 1 k {}", "MSETNX j 1 k {} l 2"])
def test_only_integers_are_values(wire, request_):
    error = b"ERR value is not an integer or out of range: this server stores only 64-bit integers"
    if request_.startswith("MSET"):
        error += b" (pair %d)" % (2 if " j " in request_ else 1)
    for value in ["", "x", "1.0", " 1", "01", "+1", "-0", "9223372036854775808", "1e3"]:
        assert wire.call(*[value if word == "{}" else word for word in request_.split()]) == error
    # Nor do they overwrite anything.
    wire.ok("SET", "k", 7)
    assert wire.call(*request_.format("x").split()) == error
    assert wire.calls("GET k", "EXISTS j k l") == [b"7", 1]
    wire.call("DEL", "k")


LIMITERS = {
    "gcra": "RL.TAKE {} LIMIT 10 PER 1000s COST 3",
    "token-bucket": "RL.TAKE {} LIMIT 10 PER 1000s ALGO token-bucket COST 3",
    "fixed-window": "RL.TAKE {} LIMIT 10 PER 36500d ALGO fixed-window COST 3",
    "sliding-window": "RL.TAKE {} LIMIT 10 PER 3650d ALGO sliding-window COST 3",
    "sliding-log": "RL.TAKE {} LIMIT 10 PER 365d ALGO sliding-log COST 3",
    "calendar": "RL.TAKE {} LIMIT 10 PER year ALGO calendar ZONE Europe/Berlin START 4 COST 3",
}


@pytest.mark.parametrize("algorithm", LIMITERS)
def test_a_limiter_is_not_a_counter(wire, algorithm):
    wire.ok("FLUSHALL")
    take = LIMITERS[algorithm].format("k").split()
    assert wire.call(*take)[0] == 1
    for request in ["GETSET k 1", "GETEX k", "GETEX k EX 10", "GETEX k EX x", "STRLEN k"]:
        answer = wire.call(*request.split())
        assert isinstance(answer, ErrorReply) and answer.startswith(b"WRONGTYPE"), request
    assert wire.calls("SETNX k 1", "MSETNX other 1 k 1", "MGET k", "EXISTS other") == [0, 0, [None], 0]
    assert wire.call(*take)[3] == 4  # nothing has changed
    wire.ok("SETEX", "k", 100, 5)
    assert wire.call("GET", "k") == b"5"
    wire.call("DEL", "k")
    wire.call(*take)
    wire.ok("MSET", "k", 6)
    assert wire.call("GET", "k") == b"6"


def test_times_of_limiters(wire):
    """EXPIRE's options on a key whose own end is not a deadline."""
    wire.ok("FLUSHALL")
    wire.call(*LIMITERS["gcra"].format("k").split())
    assert wire.calls("EXPIRE k 50 XX", "EXPIRE k 50 GT", "EXPIRE k 50 LT", "EXPIRE k 60 NX", "EXPIRE k 60 GT XX") == [
        0, 0, 1, 0, 1]


def test_mset_is_atomic(start):
    """Several loops, keys of many stripes: no reader sees a part of an MSET."""
    server = start("--io-threads", "2", "--shards", "16")
    keys = [f"key-{n}" for n in range(20)]
    stop = threading.Event()
    problems = []

    def write(value):
        with server.connect() as wire:
            while not stop.is_set():
                wire.ok("MSET", *itertools.chain(*((key, value) for key in keys)))

    def watch():
        with server.connect() as wire:
            for _ in range(2000):
                found = wire.call("MGET", *keys)
                if len(set(found)) != 1:
                    problems.append(found)
            stop.set()

    threads = [threading.Thread(target=write, args=(n,)) for n in (1, 2)] + [threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_of_many_msetnx_one_wins(start):
    server = start("--io-threads", "2", "--shards", "16")
    wins = []

    def race(me):
        with server.connect() as wire:
            for turn in range(300):
                order = [f"{turn}-a", f"{turn}-b", f"{turn}-c"]
                order = order[me % 3:] + order[: me % 3]
                if wire.call("MSETNX", *itertools.chain(*((key, me) for key in order))) == 1:
                    wins.append((turn, me))

    threads = [threading.Thread(target=race, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turn for turn, _ in wins) == list(range(300))
    with server.connect() as wire:
        for turn, me in wins:
            assert wire.call("MGET", f"{turn}-a", f"{turn}-b", f"{turn}-c") == [b"%d" % me] * 3


def test_watch_notices(server):
    with server.connect() as wire, server.connect() as other:
        for setup, change in [
                ("SET k 1", "GETSET k 2"), ("SET k 1", "SETEX k 9 2"), ("SET k 1", "PSETEX k 9000 2"),
                ("SET k 1", "GETEX k EX 9"), ("SET k 1", "MSET j 1 k 1"), ("DEL k", "SETNX k 1"),
                ("DEL k j", "MSETNX j 1 k 1")]:
            assert wire.calls("FLUSHALL", setup, "WATCH k", "MULTI", "PING")[-1] == b"QUEUED"
            other.call(*change.split())
            assert wire.call("EXEC") is None, change
        for setup, no_change in [("SET k 1", "SETNX k 2"), ("SET k 1", "GETEX k"), ("SET k 1", "MSETNX k 1 j 2"),
                                 ("SET k 1", "MGET k"), ("SET k 1", "GETEX k PERSIST")]:
            assert wire.calls("FLUSHALL", setup, "WATCH k", "MULTI", "PING")[-1] == b"QUEUED"
            other.call(*no_change.split())
            assert wire.call("EXEC") == [b"PONG"], no_change


def test_full_memory(start):
    """MSET sets all or nothing when a new key does not fit."""
    with start("--maxmemory", "1mb").connect() as wire:
        wire.ok("SET", "there", 1)
        number = 0
        while not isinstance(wire.call("SETNX", f"fill-{number}", 1), ErrorReply):
            number += 1
        pairs = list(itertools.chain(*((f"new-{n}", n) for n in range(5000))))
        large = "x" * 5000
        for request in (["MSET", "there", 2, *pairs], ["MSETNX", "y", 1, large, 2], ["SETEX", large, 9, 1],
                        ["GETSET", large, 1], ["SETNX", large, 1]):
            assert wire.call(*request).startswith(b"OOM"), request[0]
        assert wire.calls("GET there", f"EXISTS new-0 new-1 new-4999 y {large}") == [b"1", 0]
        wire.ok("MSET", "there", 2)
        assert wire.call("GET", "there") == b"2"
        wire.ok("CONFIG", "SET", "maxmemory-policy", "evict-soonest")
        wire.ok("MSET", "there", 3, *pairs)


def fill(wire):
    assert wire.calls(
        "SETNX setnx 1", "SETEX setex 1000 2", "PSETEX psetex 1000000 3", "SET getset 1 EX 50", "GETSET getset 4",
        "SET getex 5", "GETEX getex EX 1000", "SET persist 6 EX 50", "GETEX persist PERSIST", "SET gone 7",
        "GETEX gone PXAT 1", "MSET mset1 8 mset2 9", "MSETNX msetnx1 10 msetnx2 11", "SET far 1",
        "EXPIRE far 1000 NX")[-1] == 1


def values(wire):
    keys = sorted(wire.call("KEYS", "*"))
    return [(key, wire.call("GET", key), wire.call("PEXPIRETIME", key)) for key in keys]


FILLED = [b"far", b"getex", b"getset", b"mset1", b"mset2", b"msetnx1", b"msetnx2", b"persist", b"psetex", b"setex",
          b"setnx"]


def agrees(before, after):
    """Times in milliseconds of the wall clock may differ by a rounding."""
    return [row[:2] for row in before] == [row[:2] for row in after] and all(
        abs(old[2] - new[2]) <= 100 for old, new in zip(before, after))


def test_acknowledged_changes_survive_a_crash(launch):
    server = launch("--appendfsync", "always")
    with server.connect() as wire:
        fill(wire)
        before = values(wire)
    server.crash()
    with launch("--appendfsync", "always").connect() as wire:
        after = values(wire)
    assert [row[0] for row in before] == FILLED
    assert agrees(before, after)


def test_a_replica_has_them(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as wire, replica.connect() as reader:
        fill(wire)
        before = values(wire)
        wait_same_offset(primary, replica)
        assert [row[0] for row in before] == FILLED and agrees(before, values(reader))
        for request in ["SETNX k 1", "SETEX k 1 1", "PSETEX k 1 1", "GETSET k 1", "GETEX k", "MSET k 1", "MSETNX k 1"]:
            assert reader.call(*request.split()).startswith(b"READONLY"), request
        assert reader.calls("MGET setnx none", "STRLEN msetnx1") == [[b"1", None], 2]


def test_lookups_are_counted(start):
    with start().connect() as wire:
        wire.calls("MSET a 1 b 2", "MGET a none b", "STRLEN a", "STRLEN none", "GETEX a", "GETSET a 1", "GETSET n 1")
        found = info(wire, "stats")
        assert (found["keyspace_hits"], found["keyspace_misses"]) == ("5", "3")
