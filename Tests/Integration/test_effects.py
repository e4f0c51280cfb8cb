"""A command that has been answered is in force: every call sent after its reply is decided by what it has changed, on the
same connection, on one of another event loop, and after the EXEC that contained it.

Each round compares one answer with the only correct one, so a single answer by the old state fails the test.
"""

import select

import pytest

from durable import fill_disk, info, launch, limit_files, wait_until_fine, write_until_refused
from gated_files import Gate
from ports import free_port
from test_exclusive import has_answer, is_a_loop_asleep
from wire import ErrorReply, WireError, command, eventually

assert launch  # fixture

ROUNDS = 200
# No node listens here.
NOWHERE = free_port()


# Connections of a loop


def by_loop(server, count=8):
    """Connections to a server with two loops: those of one loop, and those of the other."""
    wires = [server.connect() for _ in range(count)]
    for _ in range(20):
        first, rest = wires[0], wires[1:]
        first.send(command("DEBUG", "SLEEP", "0.3"))
        eventually(lambda: is_a_loop_asleep(server) or has_answer(first), "a loop sleeps")
        for wire in rest:
            wire.send(command("PING"))
        awake = []
        while not has_answer(first):
            ready, _, _ = select.select([wire.socket for wire in wires], [], [], 1)
            if first.socket not in ready:
                awake = [wire for wire in rest if wire.socket in ready]
        assert first.read() == b"OK" and all(wire.read() == b"PONG" for wire in rest)
        # Connections are assigned evenly. Otherwise the machine was busy: try again.
        if len(awake) == count // 2:
            return [wire for wire in wires if wire not in awake], awake
    pytest.fail("the connections are not divided equally between two loops")


@pytest.fixture
def loops(start):
    server = start("--io-threads", "2", "--enable-debug-command", "yes")
    one, other = by_loop(server)
    yield server, one, other
    for wire in one + other:
        wire.close()


SLEEP = ("DEBUG", "SLEEP", "0.3")


def during_a_turn(server, one, slow, first, change, late):
    """Sends `late` once `change` has returned, on a connection of a loop whose turn may have begun before that with the
    command `slow`, and has yet to read the connection, which is also ready because of `first`. Returns the connections
    of `slow`, and of `first` and `late`. Only `late` is certain to come after the change."""
    before, busy, wire = one[:3]
    before.send(command("DEBUG", "SLEEP", "0.1"))
    eventually(lambda: is_a_loop_asleep(server) or has_answer(before), "the loop sleeps")
    # Both arrive while it sleeps, so its next turn has both.
    busy.send(command(*slow))
    wire.send(command(*first))
    assert before.read() == b"OK"
    if slow is SLEEP:
        eventually(lambda: is_a_loop_asleep(server) or has_answer(busy), "the next turn has begun")
    change()
    wire.send(command(*late))
    return busy, wire


@pytest.fixture
def flush(loops):
    """A command that takes a loop some 50 ms, and after which it does not look at the state of the server again."""
    server, one, other = loops
    one[1].ok("SELECT", 1)
    for start in range(0, 300_000, 10_000):
        one[1].ok("MSET", *[word for n in range(start, start + 10_000) for word in (f"k{n}", "1")])
    # Otherwise the keys are removed at once.
    other[0].ok("SET", "k", 1)
    return ("FLUSHDB",)


# What loops read at the beginning of a turn


def test_min_replicas_during_a_turn(loops, flush):
    server, one, other = loops
    busy, wire = during_a_turn(
        server, one, flush, ("INCR", "a"), lambda: other[0].ok("CONFIG", "SET", "min-replicas-to-write", 1),
        ("INCR", "a"))
    busy.read()
    wire.read()
    assert wire.read() == b"NOREPLICAS Not enough good replicas to write."


def test_monitor_during_a_turn(loops, flush):
    server, one, other = loops
    busy, wire = during_a_turn(server, one, flush, ("INCR", "a"), lambda: other[0].ok("MONITOR"), ("INCR", "late"))
    assert busy.read() == b"OK"
    assert [wire.read(), wire.read()] == [1, 1]
    wire.call("ECHO", "end")
    lines = []
    while not lines or b'"end"' not in lines[-1]:
        lines.append(other[0].read())
    assert any(b'"late"' in line for line in lines), lines


def test_pause_during_a_turn(loops, flush):
    server, one, other = loops
    busy, wire = during_a_turn(
        server, one, flush, ("INCR", "a"), lambda: other[0].ok("CLIENT", "PAUSE", 60_000, "WRITE"),
        ("INCR", "late"))
    # The loop has received the late call by then.
    assert one[0].call("PING") == b"PONG" and other[0].call("GET", "late") is None
    other[0].ok("CLIENT", "UNPAUSE")
    assert [busy.read(), wire.read(), wire.read()] == [b"OK", 1, 1]


def test_latency_tracking_during_a_turn(loops):
    server, one, other = loops
    busy, wire = during_a_turn(
        server, one, SLEEP, ("INCR", "a"), lambda: other[0].ok("CONFIG", "SET", "latency-tracking", "no"),
        ("INCRBY", "a", 1))
    assert busy.read() == b"OK"
    assert [wire.read(), wire.read()] == [1, 2]
    assert other[0].call("LATENCY", "HISTOGRAM", "incrby") == []


def test_appendfsync_during_a_turn(start, tmp_path, monkeypatch):
    """The reply to a change waits for the disk if the change was sent after `appendfsync always` was answered."""
    gate = Gate(tmp_path, monkeypatch)
    server = start("--io-threads", "2", "--enable-debug-command", "yes", "--appendfsync", "no")
    one, other = by_loop(server)
    gate.close()
    try:
        busy, wire = during_a_turn(
            server, one, SLEEP, ("INCR", "a"), lambda: other[0].ok("CONFIG", "SET", "appendfsync", "always"),
            ("INCR", "a"))
        assert busy.read() == b"OK"
        # A reply that did not wait would have been sent by then.
        assert one[0].call("PING") == b"PONG"
        replies = [wire.read()] if has_answer(wire) else []
        assert not has_answer(wire) and not wire.buffer, "the late change was acknowledged before it was on disk"
    finally:
        gate.open()
    assert replies + [wire.read() for _ in range(2 - len(replies))] == [1, 2]
    for wire in one + other:
        wire.close()


# Settings that the same connection's next call needs


def test_longer_and_shorter_arguments(start):
    server = start("--io-threads", "1")
    text = "x" * 2000
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "proto-max-bulk-len", 1024)
        longer = wire.calls(("CONFIG", "SET", "proto-max-bulk-len", 4096), ("ECHO", text))
        assert longer == [b"OK", text.encode()]
        shorter = wire.calls(("CONFIG", "SET", "proto-max-bulk-len", 1024), ("ECHO", text))
        assert shorter == [b"OK", b"ERR Protocol error: invalid bulk length"]
        wire.expect_closed()


def test_settings_inside_a_transaction(start):
    """What decides single calls is in force for the next command of the same EXEC. Whether a transaction may write is
    decided once, when it begins."""
    server = start("--io-threads", "2")
    with server.connect() as wire:
        *_, replies = wire.calls(
            "MULTI", "CONFIG SET maxmemory 1", "SET a 1", "CONFIG SET maxmemory 0", "SET a 1",
            "CONFIG SET idempotency-tokens-max 0", "RL.TAKE t LIMIT 5 PER 1m ID x",
            "CONFIG SET requirepass secret", "AUTH wrong", "CONFIG SET min-replicas-to-write 1", "SET a 2", "EXEC")
        assert replies[1].startswith(b"OOM") and replies[3] == b"OK" and replies[5].startswith(b"ERR")
        assert replies[7].startswith(b"WRONGPASS") and replies[9] == b"OK"
        assert wire.call("SET", "a", 3).startswith(b"NOREPLICAS")


def test_fail_mode(launch):
    """While the disk fails, each change of fail-mode decides the next call."""
    server = launch("--appendfsync", "always", "--auto-aof-rewrite-percentage", "0", "--io-threads", "2")
    with server.connect() as wire:
        fill_disk(server)
        _, wire = write_until_refused(wire, server, {})
        wire.close()
    try:
        wrong = [shown for shown in (fail_mode_round(server, number) for number in range(100)) if shown]
        assert not wrong, f"{len(wrong)} of 100 rounds, the first: {wrong[0]}"
    finally:
        limit_files(server, None)
        with server.connect() as wire:
            wait_until_fine(wire)


def fail_mode_round(server, number):
    """The replies, if they are not the right ones. A connection may have been closed instead."""
    replies = []
    with server.connect() as wire, server.connect() as other:
        try:
            replies += wire.calls(("CONFIG", "SET", "fail-mode", "open"), ("INCR", f"a{number}"))
            replies.append(other.call("INCR", f"a{number}"))
            replies += wire.calls(("CONFIG", "SET", "fail-mode", "closed"), ("INCR", f"a{number}"))
            replies.append(other.call("INCR", f"a{number}"))
        except WireError as problem:
            replies.append(str(problem))
    shown = [b"MISCONF" if starts(b"MISCONF")(reply) else reply for reply in replies]
    return None if shown == [b"OK", 1, 2, b"OK", b"MISCONF", b"MISCONF"] else shown


def test_a_log_that_is_switched_on_begins_with_a_snapshot(start):
    """INFO shows it as running from the reply on, so a client can wait for its end."""
    server = start("--io-threads", "2", "--appendonly", "no")
    with server.connect() as wire:
        for number in range(30):
            written = int(info(wire, "persistence")["aof_rewrites"])
            wire.send(command("CONFIG", "SET", "appendonly", "yes") + command("INFO", "persistence"))
            assert wire.read() == b"OK"
            found = dict(line.split(":") for line in wire.read().decode().split("\r\n") if ":" in line)
            assert found["aof_enabled"] == "1"
            assert found["aof_rewrite_in_progress"] == "1" or int(found["aof_rewrites"]) == written + 1
            eventually(lambda: info(wire, "persistence")["aof_rewrite_in_progress"] == "0", "the snapshot is written")
            assert int(info(wire, "persistence")["aof_rewrites"]) == written + 1
            wire.ok("CONFIG", "SET", "appendonly", "no")
            # Exactly once for each time: a log that is wanted again is not ended another time.
            eventually(
                lambda: server.log().count("append-only log switched off") == number + 1, "the log has ended")


@pytest.mark.parametrize("request_it, flag, count", [
    ("BGSAVE", "rdb_bgsave_in_progress", "rdb_saves"), ("BGREWRITEAOF", "aof_rewrite_in_progress", "aof_rewrites")])
def test_a_snapshot_is_in_progress_from_its_request_until_it_is_adopted(start, request_it, flag, count):
    server = start("--io-threads", "2")
    early = 0
    with server.connect() as wire:
        for number in range(ROUNDS):
            wire.call(request_it)
            while (found := info(wire, "persistence"))[flag] == "1":
                pass
            early += int(found[count]) == number
            eventually(lambda: int(info(wire, "persistence")[count]) == number + 1, "the snapshot is adopted")
    assert early == 0, f"{early} of {ROUNDS} snapshots were reported as done before they were"


# Messages


def test_subscriptions(start):
    server = start("--io-threads", "2")
    wrong = 0
    with server.connect() as subscriber, server.connect() as publisher:
        for number in range(ROUNDS):
            subscriber.call("SUBSCRIBE", "channel")
            wrong += publisher.call("PUBLISH", "channel", number) != 1
            assert subscriber.read() == [b"message", b"channel", str(number).encode()]
            subscriber.call("UNSUBSCRIBE", "channel")
            wrong += publisher.call("PUBLISH", "channel", number) != 0
    assert wrong == 0


# Any change and a call that it decides


def section(name, line):
    return ("INFO", name), lambda reply: line in reply.split(b"\r\n")


def starts(*prefixes):
    return lambda reply: isinstance(reply, bytes) and reply.startswith(prefixes)


def is_number(reply):
    return isinstance(reply, int)


TAKE = ("RL.TAKE", "t{round}", "LIMIT", "5", "PER", "1m", "ID", "id{round}")
CHECK = ("RL.CHECK", "tenant", "client{round}", "action")
FEW = range(1, 12)

# What is done before, and the changes in turn, each with a call and a test of its answer.
EFFECTS = {
    "min-replicas-to-write": ([], [
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("INCR", "k"), starts(b"NOREPLICAS")),
        (("CONFIG", "SET", "min-replicas-to-write", "0"), ("INCR", "k"), is_number)]),
    "min-replicas-max-lag": ([("CONFIG", "SET", "min-replicas-to-write", "1")], [
        (("CONFIG", "SET", "min-replicas-max-lag", "0"), ("INCR", "k"), is_number),
        (("CONFIG", "SET", "min-replicas-max-lag", "10"), ("INCR", "k"), starts(b"NOREPLICAS"))]),
    "maxmemory": ([], [
        (("CONFIG", "SET", "maxmemory", "1"), ("SET", "new{round}", "1"), starts(b"OOM")),
        (("CONFIG", "SET", "maxmemory", "0"), ("SET", "new{round}", "1"), starts(b"OK"))]),
    "maxmemory-policy": ([("CONFIG", "SET", "maxmemory", "1")], [
        (("CONFIG", "SET", "maxmemory-policy", "noeviction"), ("SET", "new{round}", "1"), starts(b"OOM")),
        (("CONFIG", "SET", "maxmemory-policy", "evict-soonest"), ("SET", "new{round}", "1"), starts(b"OK", b"OOM"))]),
    "idempotency-tokens-max": ([], [
        (("CONFIG", "SET", "idempotency-tokens-max", "0"), TAKE, starts(b"ERR")),
        (("CONFIG", "SET", "idempotency-tokens-max", "1000"), TAKE, lambda reply: isinstance(reply, list))]),
    "requirepass": ([], [
        (("CONFIG", "SET", "requirepass", "secret"), ("AUTH", "wrong"), starts(b"WRONGPASS")),
        (("CONFIG", "SET", "requirepass", ""), ("AUTH", "wrong"), starts(b"ERR AUTH <password> called without"))]),
    "appendonly": ([], [
        (("CONFIG", "SET", "appendonly", "no"), *section("persistence", b"aof_enabled:0")),
        (("CONFIG", "SET", "appendonly", "yes"), *section("persistence", b"aof_enabled:1"))]),
    "maxclients": ([], [
        (("CONFIG", "SET", "maxclients", "50"), *section("clients", b"maxclients:50")),
        (("CONFIG", "SET", "maxclients", "51"), *section("clients", b"maxclients:51"))]),
    "latency-monitor-threshold": ([], [
        (("CONFIG", "SET", "latency-monitor-threshold", "0"), ("LATENCY", "DOCTOR"), starts(b"Latency monitoring is off")),
        (("CONFIG", "SET", "latency-monitor-threshold", "60000"), ("LATENCY", "DOCTOR"), starts(b"No event took"))]),
    "slowlog-max-len": ([("CONFIG", "SET", "slowlog-log-slower-than", "0")], [
        (("CONFIG", "SET", "slowlog-max-len", "0"), ("SLOWLOG", "LEN"), lambda reply: reply == 0),
        (("CONFIG", "SET", "slowlog-max-len", "10"), ("SLOWLOG", "LEN"), lambda reply: reply > 0)]),
    "SLOWLOG RESET": ([], [(("SLOWLOG", "RESET"), ("SLOWLOG", "LEN"), lambda reply: reply == 0)]),
    "CONFIG RESETSTAT": ([], [
        (("CONFIG", "RESETSTAT"), ("INFO", "stats"),
         lambda reply: int(reply.split(b"total_commands_processed:")[1].split(b"\r")[0]) in FEW)]),
    "RL.POLICY SET": ([("RL.RULE", "SET", "*", "*", "*", "POLICY", "p")], [
        (("RL.POLICY", "SET", "p", "LIMIT", "5", "PER", "1h"), CHECK, lambda reply: reply[2] == 5),
        (("RL.POLICY", "SET", "p", "LIMIT", "6", "PER", "1h"), CHECK, lambda reply: reply[2] == 6)]),
    "RL.RULE SET": ([("RL.POLICY", "SET", "q", "LIMIT", "7", "PER", "1h")], [
        (("RL.RULE", "SET", "*", "*", "*", "POLICY", "p"), CHECK, lambda reply: reply[2] == 5),
        (("RL.RULE", "SET", "*", "*", "*", "POLICY", "q"), CHECK, lambda reply: reply[2] == 7)]),
    "SAVE": ([], [(("SAVE",), *section("persistence", b"rdb_changes_since_last_save:0"))]),
    "FLUSHALL": ([], [(("FLUSHALL",), ("DBSIZE",), lambda reply: reply == 0)]),
    "REPLICAOF and writes": ([], [
        (("REPLICAOF", "127.0.0.1", str(NOWHERE)), ("SET", "k", "1"), starts(b"READONLY")),
        (("REPLICAOF", "NO", "ONE"), ("SET", "k", "1"), starts(b"OK"))]),
    "REPLICAOF and ROLE": ([], [
        (("REPLICAOF", "127.0.0.1", str(NOWHERE)), *section("replication", b"role:slave")),
        (("REPLICAOF", "NO", "ONE"), ("ROLE",), lambda reply: reply[0] == b"master")]),
}
# A demotion closes other clients.
ONLY_ONE_CONNECTION = {"REPLICAOF and writes", "REPLICAOF and ROLE"}


def pipelined(change, call, wires, server):
    return wires[0].calls(change, call)


def after_exec(change, call, wires, server):
    *_, replies, answer = wires[0].calls(("MULTI",), change, ("EXEC",), call)
    return [replies[0] if isinstance(replies, list) else replies, answer]


def across_loops(change, call, wires, server):
    return [wires[0].call(*change), wires[1].call(*call)]


# SAVE is not allowed in a transaction.
CASES = [(effect, how) for effect in EFFECTS for how in (pipelined, after_exec, across_loops)
         if not (how is across_loops and effect in ONLY_ONE_CONNECTION or how is after_exec and effect == "SAVE")]


@pytest.mark.parametrize("effect, how", CASES, ids=lambda part: getattr(part, "__name__", part))
def test_every_effect(start, effect, how):
    server = start("--io-threads", "2")
    before, steps = EFFECTS[effect]
    rounds = 10 if effect == "SAVE" else ROUNDS
    wrong = []
    # Connections are assigned to the loops in turn.
    with server.connect() as first, server.connect() as second:
        first.ok("RL.POLICY", "SET", "p", "LIMIT", "5", "PER", "1h")
        for words in before:
            first.ok(*words)
        number = 0
        for _ in range(rounds):
            for change, call, is_right in steps:
                number += 1
                change, call = ([word.format(round=number) for word in words] for words in (change, call))
                done, answer = how(change, call, (first, second), server)
                assert not isinstance(done, ErrorReply), done
                if not is_right(answer):
                    wrong.append((number, change, answer))
        if effect == "requirepass":
            first.ok("CONFIG", "SET", "requirepass", "")
    assert not wrong, f"{len(wrong)} of {number} calls were answered by the old state, the first: {wrong[0]}"
