"""COPY, RENAME and RENAMENX: the whole state of every kind of key under another name, at once, on disk and on a
replica. Replies are compared with Redis's in test_plain_commands.py."""

import threading

import pytest

from durable import info, launch
from journal_format import HEADER_SIZE, LogFollower, read_batches, read_contents, read_manifest, records_of
from replication import nodes, pair, wait_same_offset
from wire import ErrorReply, eventually

ALWAYS = ("--appendfsync", "always")
TAKES = {
    "gcra": "LIMIT 10 PER 1000s",
    "token-bucket": "LIMIT 10 PER 1000s BURST 20 ALGO token-bucket",
    "fixed-window": "LIMIT 10 PER 36500d ALGO fixed-window",
    "sliding-window": "LIMIT 10 PER 3650d ALGO sliding-window",
    "sliding-log": "LIMIT 100 PER 365d ALGO sliding-log",
    "calendar": "LIMIT 10 PER year ALGO calendar ZONE Europe/Berlin START 4",
}
KINDS = [*TAKES, "counter"]


def create(wire, kind, key, units=3, deadline=False):
    """A key with a state of several calls."""
    if kind == "counter":
        wire.ok("SET", key, units)
    else:
        for _ in range(units):
            assert wire.call("RL.TAKE", key, *TAKES[kind].split())[0] == 1
    if deadline:
        assert wire.call("EXPIREAT", key, 3_000_000_000) == 1


def left(wire, kind, key):
    """What is left; for counters, the value."""
    if kind == "counter":
        return wire.call("GET", key)
    reply = wire.call("RL.PEEK", key, *TAKES[kind].split())
    return reply[:4]


def shown(wire, kind, key):
    return (left(wire, kind, key), *wire.calls(["TYPE", key], ["PEXPIRETIME", key], ["OBJECT", "ENCODING", key]))


@pytest.mark.parametrize("deadline", [False, True], ids=["own end", "deadline"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_copied_and_renamed_whole(launch, kind, deadline):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        create(wire, kind, "k", deadline=deadline)
        create(wire, "counter", "other", deadline=not deadline)
        before = shown(wire, kind, "k")
        assert wire.calls("COPY k copy", "COPY k other", "COPY k other REPLACE", "RENAME k new") == [1, 0, 1, b"OK"]
        assert wire.calls("EXISTS k", "EXISTS copy other new") == [0, 3]
        for key in ("copy", "other", "new"):
            assert shown(wire, kind, key) == before, key
        # Byte for byte, as the journal has it.
        keys = read_contents(server.files).keys
        assert keys[b"copy"] == keys[b"other"] == keys[b"new"] and b"k" not in keys
        # Two states, not one.
        create(wire, kind, "copy", 1)
        assert shown(wire, kind, "new") == before and left(wire, kind, "copy") != before[0]
        create(wire, "gcra" if kind == "counter" else "counter", "victim")
        assert wire.calls("RENAMENX new victim", "RENAME new victim", "RENAMENX victim last") == [0, b"OK", 1]
        assert wire.calls("EXISTS new victim", "EXISTS last") == [0, 1] and shown(wire, kind, "last") == before
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert sorted(wire.call("KEYS", "*")) == [b"copy", b"last", b"other"]
        assert left(wire, kind, "last") == left(wire, kind, "other") == before[0]
        assert wire.call("PEXPIRETIME", "last") == wire.call("PEXPIRETIME", "other")
        # A snapshot has them, too.
        wire.ok("SAVE")
    server.crash()
    with launch(*ALWAYS).connect() as wire:
        assert left(wire, kind, "last") == left(wire, kind, "other") == before[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_follows(nodes, kind):
    primary, replica = pair(nodes)
    with primary.connect() as wire, replica.connect() as reader:
        create(wire, kind, "k")
        assert wire.calls("COPY k copy", "RENAME k new", "MULTI", "RENAME new newer", "COPY newer twin", "EXEC")[-1] == [
            b"OK", 1]
        wait_same_offset(primary, replica)
        assert sorted(reader.call("KEYS", "*")) == [b"copy", b"newer", b"twin"]
        assert left(reader, kind, "newer") == left(reader, kind, "copy") == left(wire, kind, "twin")
        for request in ["COPY copy x", "RENAME copy x", "RENAMENX copy x"]:
            assert reader.call(*request.split()).startswith(b"READONLY")


def test_sizes_of_a_sliding_log(wire):
    """A state that has grown replaces a small one, and the other way round."""
    wire.ok("FLUSHALL")
    create(wire, "sliding-log", "large", 90)
    create(wire, "sliding-log", "small", 1)
    create(wire, "counter", "counter")
    large, small = left(wire, "sliding-log", "large"), left(wire, "sliding-log", "small")
    assert wire.calls("COPY large a", "COPY small a REPLACE", "COPY small b", "COPY large b REPLACE",
                      "COPY large counter REPLACE") == [1] * 5
    assert [left(wire, "sliding-log", key) for key in ("a", "b", "counter")] == [small, large, large]
    create(wire, "sliding-log", "b", 10)
    assert left(wire, "sliding-log", "b")[3] == 0 and left(wire, "sliding-log", "large") == large


def test_tokens_stay_with_the_old_name(wire):
    """A retry names the key that the first call named, so the answers stored for IDs do not move."""
    wire.ok("FLUSHALL")
    take = ["LIMIT", 10, "PER", "1000s", "ID", "first"]
    answer = wire.call("RL.TAKE", "old", *take)
    assert wire.calls("RENAME old new", "EXISTS old") == [b"OK", 0]
    assert wire.call("RL.TAKE", "old", *take)[:4] == answer[:4] and wire.call("EXISTS", "old") == 0
    assert wire.call("RL.TAKE", "new", *take)[3] == answer[3] - 1


def test_renaming_to_itself_changes_nothing(server):
    with server.connect() as wire, server.connect() as other:
        wire.ok("FLUSHALL")
        wire.ok("SET", "k", 1, "EX", 100)
        assert wire.calls("WATCH k", "MULTI", "PING")[-1] == b"QUEUED"
        assert other.calls("RENAME k k", "RENAMENX k k", "COPY k k")[:2] == [b"OK", 0]
        assert wire.call("EXEC") == [b"PONG"]


def test_watches(server):
    with server.connect() as wire, server.connect() as other:
        for watched, change in [("a", "RENAME a b"), ("b", "RENAME a b"), ("b", "COPY a b REPLACE"), ("b", "COPY a b"),
                                ("a", "RENAMENX a b"), ("b", "RENAMENX a b")]:
            wire.ok("FLUSHALL")
            wire.calls("SET a 1", "SET b 2" if "REPLACE" in change or change.startswith("RENAME ") else "PING")
            assert wire.calls(f"WATCH {watched}", "MULTI", "PING")[-1] == b"QUEUED"
            assert not isinstance(other.call(*change.split()), ErrorReply)
            assert wire.call("EXEC") is None, (watched, change)
        for watched, no_change in [("a", "COPY a b REPLACE"), ("b", "COPY a b"), ("a", "RENAMENX a b")]:
            wire.calls("FLUSHALL", "SET a 1", "SET b 2")
            assert wire.calls(f"WATCH {watched}", "MULTI", "PING")[-1] == b"QUEUED"
            assert not isinstance(other.call(*no_change.split()), ErrorReply)
            assert wire.call("EXEC") == [b"PONG"], (watched, no_change)


def test_expired_keys(start):
    with start().connect() as wire:
        wire.calls("SET a 1 PX 1", "SET b 2", "SET c 3 PX 1")
        eventually(lambda: wire.call("EXISTS", "a", "c") == 0, "a and c have expired")
        assert wire.calls("COPY a x", "RENAME a x", "RENAMENX b c", "GET c", "COPY c a") == [
            0, b"ERR no such key", 1, b"2", 1]


def test_full_memory(start):
    with start("--maxmemory", "1mb").connect() as wire:
        name, number = "k" * 1000, 0
        create(wire, "gcra", name)
        while not isinstance(wire.call("COPY", name, f"{name}{number}"), ErrorReply):
            number += 1
        assert number > 10
        assert wire.call("COPY", name, name + "x").startswith(b"OOM") and wire.call("EXISTS", name + "x") == 0
        # What is replaced or only moved needs no room; not even with a longer name.
        assert wire.calls(f"COPY {name} {name}0 REPLACE", f"RENAME {name} {name}-and-more", f"EXISTS {name}") == [
            1, b"OK", 0]


def test_a_key_that_is_passed_around_is_always_there_once(start):
    """Loops rename one key between names of many stripes; each transaction that looks finds it exactly once."""
    server = start("--io-threads", "2", "--shards", "16")
    names = [f"name-{n}" for n in range(12)]
    stop = threading.Event()
    found, moved = [], []
    with server.connect() as wire:
        create(wire, "sliding-log", names[0], 5)
        state = left(wire, "sliding-log", names[0])

    def move(step):
        with server.connect() as wire:
            turn = 0
            while not stop.is_set():
                moved.append(wire.call("RENAMENX", names[turn % 12], names[(turn + step) % 12]))
                turn += 1

    def watch():
        with server.connect() as wire:
            for _ in range(1000):
                found.append(wire.calls("MULTI", ["EXISTS", *names], "EXEC")[-1][0])
                found.append(wire.call("EXISTS", *names))
            stop.set()

    threads = [threading.Thread(target=move, args=(n,)) for n in (1, 5, 7)] + [threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {1} and 1 in moved
    with server.connect() as wire:
        (name,) = wire.call("KEYS", "*")
        assert left(wire, "sliding-log", name) == state


def records(server):
    """Those of the newest log."""
    _, logs = read_manifest(server.files)
    return [record for _, _, payload in read_batches(server.files / f"log-{logs[-1][0]}", HEADER_SIZE)
            for record in records_of(payload)]


@pytest.mark.parametrize("transaction", [False, True], ids=["alone", "in EXEC"])
def test_the_journal_has_the_new_name_before_the_old_one_is_removed(launch, transaction):
    """Wherever a crash cuts the log, the key is there under one of its names, or both."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for number in range(60):
            wire.ok("SET", f"old-{number}", number)
            request = ["RENAME", f"old-{number}", f"new-{number}"]
            if transaction:
                assert wire.calls("MULTI", request, "EXEC")[-1] == [b"OK"]
            else:
                wire.ok(*request)
    position = {}
    for place, (kind, key, _, _) in enumerate(records(server)):
        position.setdefault((kind & 0x3F == 0, key), place)
    for number in range(60):
        assert position[False, b"new-%d" % number] < position[True, b"old-%d" % number], number


def test_no_earlier_removal_of_the_new_name_follows(launch):
    """The new name existed and was deleted just before: that removal is not between the key and its new state."""
    server = launch("--appendfsync", "everysec")
    with server.connect() as wire:
        wire.calls(*(f"SET {name}-{number} 1" for number in range(60) for name in ("old", "new")))
        follower = LogFollower(server.files)
        eventually(lambda: len(follower.update().states) == 120, "all keys are in the log")
        wire.calls(*(request for n in range(60) for request in (f"DEL new-{n}", f"RENAME old-{n} new-{n}")))
        eventually(lambda: not any(follower.update().states[b"old-%d" % n] for n in range(60)), "the log has it all")
    gone = {}
    for place, (kind, key, _, _) in enumerate(records(server)):
        if kind & 0x3F == 0:
            gone[key] = place
    for number in range(60):
        assert gone[b"new-%d" % number] < gone[b"old-%d" % number], number


def test_lookups_are_counted(start):
    with start().connect() as wire:
        wire.calls("SET a 1", "COPY a b", "COPY a b", "COPY none c")
        found = info(wire, "stats")
        assert (found["keyspace_hits"], found["keyspace_misses"]) == ("2", "1")
