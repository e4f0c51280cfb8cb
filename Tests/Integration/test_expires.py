"""INFO keyspace: the number of keys with a deadline set by a client and their mean time to live, however they
change."""

from durable import info, launch  # noqa: F401 (a fixture)
from replication import nodes, pair, wait_same_offset  # noqa: F401 (a fixture)
from wire import eventually


def keyspace(wire):
    """(keys, expires, avg_ttl), all 0 when there are no keys."""
    line = info(wire, "keyspace").get("db0", "keys=0,expires=0,avg_ttl=0")
    fields = dict(part.split("=") for part in line.split(","))
    return int(fields["keys"]), int(fields["expires"]), int(fields["avg_ttl"])


def persistent(wire):
    return int(info(wire, "limiter")["limiter_persistent_keys"])


def some_keys(wire):
    """Six keys, of which two never expire and three have a deadline set by a client."""
    replies = wire.calls("CL.THROTTLE limiter 9 1 1000", "CL.THROTTLE ended 9 1 100000", "EXPIRE ended 1000",
                         "SET never 1", "INCR never2", "SET soon 1 EX 500", "INCR window", "PEXPIRE window 1500000")
    assert b"ERR" not in b"".join(r for r in replies if isinstance(r, bytes))


def expect_some_keys(wire):
    keys, expires, average = keyspace(wire)
    assert (keys, expires, persistent(wire)) == (6, 3, 2)
    assert 800_000 < average <= 1_000_000, "the mean of 1000, 500 and 1500 seconds, a moment later"


def test_every_way_to_set_and_remove_a_deadline(wire):
    assert keyspace(wire) == (0, 0, 0)
    some_keys(wire)
    expect_some_keys(wire)
    assert wire.calls("PERSIST window", "SET soon 1", "PERSIST ended") == [1, b"OK", 1]
    assert keyspace(wire) == (6, 0, 0) and persistent(wire) == 4
    wire.calls("EXPIREAT never 4102444800", "INCREX never2 EX 100", "SET window 7 KEEPTTL", "SET soon 1 PX 100000")
    assert keyspace(wire)[:2] == (6, 3)
    assert wire.calls("DEL soon never2", "GETDEL never") == [2, b"1"]
    assert keyspace(wire) == (3, 0, 0) and persistent(wire) == 1
    wire.ok("FLUSHALL")
    assert keyspace(wire) == (0, 0, 0) and persistent(wire) == 0


def test_expired_keys_are_not_counted(wire):
    wire.calls(*[f"SET k{n} 1 PX 20" for n in range(100)], "SET stays 1 EX 1000")
    eventually(lambda: wire.call("EXISTS", *[f"k{n}" for n in range(100)]) == 0, "they have expired")
    keys, expires, average = keyspace(wire)
    assert (keys, expires) == (1, 1) and 0 < average <= 1_000_000


def test_evicted(start):
    server = start("--shards", "1", "--maxmemory-policy", "evict-soonest")
    with server.connect() as wire:
        wire.calls(*[f"SET k{n} 1 EX 1000" for n in range(2000)], *[f"SET e{n} 1" for n in range(500)])
        assert keyspace(wire)[:2] == (2500, 2000)
        wire.ok("CONFIG", "SET", "maxmemory", int(info(wire, "memory")["used_memory_dataset"]) // 2)

        def is_within():
            found = info(wire, "memory")
            return int(found["used_memory_dataset"]) <= int(found["maxmemory"])

        eventually(is_within, "the sweep has evicted enough", seconds=30)
        keys, expires, _ = keyspace(wire)
        assert expires < 2000 and keys == expires + persistent(wire)


def test_after_a_restart(launch):
    server = launch()
    with server.connect() as wire:
        some_keys(wire)
        wire.call("SET", "was", "1", "EX", "1000")
        wire.call("PERSIST", "was")
        wire.call("DEL", "was")
    server.stop()
    server = launch()
    with server.connect() as wire:
        expect_some_keys(wire)
        assert wire.call("PERSIST", "soon") == 1
        wire.ok("SAVE")
    server.stop()
    with launch().connect() as wire:
        assert keyspace(wire)[:2] == (6, 2) and persistent(wire) == 3


def test_on_a_replica(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as ours, replica.connect() as theirs:
        some_keys(ours)
        wait_same_offset(primary, replica)
        expect_some_keys(theirs)
        assert ours.call("PERSIST", "window") == 1
        wait_same_offset(primary, replica)
        assert keyspace(theirs)[:2] == (6, 2) and persistent(theirs) == 3
    late = nodes("c", of=primary)
    wait_same_offset(primary, late)
    with late.connect() as theirs:
        assert keyspace(theirs)[:2] == (6, 2) and persistent(theirs) == 3
