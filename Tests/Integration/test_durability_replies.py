"""What a reply guarantees: under `appendfsync always` it is sent once its change is on disk, in the order of the
requests, and requests that change nothing do not wait. Under the other settings no reply waits, and the log follows
later."""

import signal
import time

from dice import seeded
from durable import SLOW_PERIOD, info, launch, take, wait_for_record
from journal_format import LogFollower
from wire import command, eventually

ALWAYS = ("--appendfsync", "always")
EVERYSEC = ("--appendfsync", "everysec")


def test_always_replies_come_after_their_record(launch):
    server = launch(*ALWAYS)
    follower = LogFollower(server.files)
    with server.connect() as wire:
        for number in range(100):
            key = f"key-{number % 7}"
            assert take(wire, key, 1, 1000)[0] == 0
            tat, _ = follower.update().states[key.encode()]
            # The log matches the reply: the limiter is replenished at the TAT, in engine time.
            skew = int(info(wire, "server")["engine_time_skew_usec"]) / 1000
            assert abs(tat / 1e6 - skew - wire.call("PEXPIRETIME", key)) <= 100
        wire.call("EXPIRE", "key-1", 100)
        assert follower.update().states[b"key-1"][1] is not None
        wire.call("DEL", "key-1", "key-2")
        assert follower.update().states[b"key-1"] is None and follower.states[b"key-2"] is None
        wire.calls("MULTI", f"CL.THROTTLE a 1 1 {SLOW_PERIOD}", f"CL.THROTTLE b 1 1 {SLOW_PERIOD}", "EXEC")
        assert {b"a", b"b"} <= follower.update().states.keys()
        wire.ok("FLUSHALL")
        assert follower.update().states == {} and follower.flushes == 1
        wire.send(command("CLIENT", "REPLY", "OFF") + command("CL.THROTTLE", "silent", 1, 1, SLOW_PERIOD))
        wire.send(command("CLIENT", "REPLY", "ON"))
        assert wire.read() == b"OK"
        eventually(lambda: b"silent" in follower.update().states, "unanswered calls are logged too")


def test_always_syncs_every_acknowledged_change(launch):
    """According to the server's counters, which may lag a moment: unpipelined, every reply has cost a sync."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for number in range(20):
            take(wire, f"k{number}")

        def is_reported():
            found = info(wire, "persistence")
            return int(found["journal_syncs"]) >= 20 and found["journal_offset"] == found["journal_synced_offset"]

        eventually(is_reported, "twenty syncs")


def test_denied_and_read_only_calls_do_not_wait(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        wire.calls(*[f"CL.THROTTLE k 1 1 {SLOW_PERIOD}"] * 2)
        # The disk counters may lag a moment.
        before = eventually(lambda: (found := info(wire, "persistence"))["journal_syncs"] != "0" and found, "a sync")
        for _ in range(50):
            assert wire.call("CL.THROTTLE", "k", 1, 1, SLOW_PERIOD)[0] == 1
            wire.calls(f"CL.THROTTLE k 1 1 {SLOW_PERIOD} 0", "TTL k", "EXISTS k", "PING", "KEYS *", "ECHO x", "TYPE k")
        after = info(wire, "persistence")
        for name in ("journal_syncs", "journal_offset", "aof_current_size"):
            assert after[name] == before[name], name


def test_requests_that_change_nothing_never_wait(launch):
    """Outside the fast path too: for a monitored server, in EXEC, and for every write that may find nothing to change.
    No reply waits, so nothing is collected."""
    server = launch(*ALWAYS)
    limit = f"LIMIT 1 PER {SLOW_PERIOD}s"
    with server.connect() as wire, server.connect() as watcher:
        def collections():
            return int(info(wire, "persistence")["journal_collections"])

        def settled():
            """The disk counters may lag a moment; they are updated ten times a second."""
            seen, since = collections(), time.monotonic()
            while time.monotonic() < since + 0.15:
                if (now := collections()) != seen:
                    seen, since = now, time.monotonic()
            return seen

        watcher.ok("MONITOR")
        wire.calls(f"RL.TAKE k {limit}", f"RL.TAKE id {limit} ID a", "SET n 5", "RL.POLICY SET p LIMIT 1 PER 1h")
        before = settled()
        for _ in range(20):
            assert wire.call(*f"RL.TAKE k {limit}".split())[0] == 0
            assert wire.call(*f"CL.THROTTLE k 0 1 {SLOW_PERIOD}".split())[0] == 1
            assert wire.call(*f"RL.TAKEALL k {limit} AND other {limit}".split())[0] == 0
            assert wire.calls("MULTI", f"RL.TAKE k {limit}", "DEL missing", "EXEC")[-1][1] == 0
            assert wire.call("DEL", "missing") == 0 and wire.call("EXPIRE", "missing", 10) == 0
            assert wire.call("INCR", "k").startswith(b"WRONGTYPE") and wire.call("SET", "n", 6, "NX") is None
            assert wire.call("RL.RESET", "missing") == 0
            assert wire.call("PERSIST", "n") == 0 and wire.call("GETDEL", "missing") is None
            assert wire.calls("SETNX n 1", "GETEX n", "GETEX n PERSIST", "MSETNX n 1 m 1", "MGET n", "STRLEN n") == [
                0, b"5", b"5", 0, [b"5"], 1]
            assert wire.calls("COPY n k", "COPY missing m", "RENAMENX n k", "RENAME n n") == [0, 0, 0, b"OK"]
        assert settled() == before
        # Policies wake the journal in any case, at its usual interval of ten milliseconds.
        began = time.monotonic()
        for _ in range(100):
            assert wire.call("RL.POLICY", "DEL", "missing") == 0
        assert collections() - before <= 10 + 100 * (time.monotonic() - began)
        # Requests that change something, and the repeated answer to an ID, whose first one may not be on disk yet.
        for request in [f"RL.TAKE id {limit} ID a", "INCR n", "EXPIRE n 100", "RL.POLICY SET p LIMIT 2 PER 1h",
                        f"RL.TAKEALL all {limit}", f"RL.REFUND k {limit}", "DEL n", "FLUSHALL",
                        f"CL.THROTTLE c 0 1 {SLOW_PERIOD}"]:
            before = settled()
            wire.call(*request.split())
            eventually(lambda: collections() > before, f"{request} waits for a collection")


def test_one_sync_serves_many(launch):
    """Group commit: far fewer syncs than acknowledged calls. The server is suspended until all are sent, so that they
    arrive together."""
    server = launch(*ALWAYS)
    wires = [server.connect() for _ in range(40)]
    try:
        before = int(info(wires[0], "persistence")["journal_syncs"])
        for turn in range(10):
            with server.standing_still():
                for number, wire in enumerate(wires):
                    wire.send(command("CL.THROTTLE", f"{turn}-{number}", 1, 1, SLOW_PERIOD))
            for wire in wires:
                assert wire.read()[0] == 0
        assert int(info(wires[0], "persistence")["journal_syncs"]) - before < 300
    finally:
        for wire in wires:
            wire.close()


def mixed_pipeline(dice, tag, count):
    """Requests with their expected replies, in order."""
    requests, expected, used = [], [], {}
    for number in range(count):
        kind = dice.randrange(6)
        key = f"{tag}-{dice.randrange(3)}"
        if kind <= 1:
            requests.append(("CL.THROTTLE", key, 4, 1, SLOW_PERIOD))
            denied = used.get(key, 0) == 5
            used[key] = min(5, used.get(key, 0) + 1)
            expected.append(lambda r, d=denied, left=5 - used[key]: r[:3] == [int(d), 5, left])
        elif kind == 2:
            requests.append(("ECHO", f"{tag}:{number}"))
            expected.append(lambda r, text=f"{tag}:{number}": r == text.encode())
        elif kind == 3:
            requests.append(("DEL", key))
            expected.append(lambda r, had=int(used.pop(key, 0) > 0): r == had)
        elif kind == 4:
            requests.append(("CL.THROTTLE", key))
            expected.append(lambda r: r.startswith(b"ERR wrong number"))
        else:
            requests += [("MULTI",), ("CL.THROTTLE", key, 4, 1, SLOW_PERIOD, 0), ("ECHO", number), ("EXEC",)]
            expected += [lambda r: r == b"OK", lambda r: r == b"QUEUED", lambda r: r == b"QUEUED",
                         lambda r, left=5 - used.get(key, 0), n=number: r[0][2] == left and r[1] == b"%d" % n]
    return requests, expected


def test_pipelines_are_answered_in_order(launch):
    """Dozens of connections, with replies that wait for the disk between replies that do not."""
    dice = seeded("pipelines in order")
    server = launch(*ALWAYS, "--io-threads", "2")
    wires = [server.connect() for _ in range(24)]
    try:
        for turn in range(6):
            plans = []
            for number, wire in enumerate(wires):
                requests, expected = mixed_pipeline(dice, f"{turn}.{number}", dice.choice([1, 3, 40, 150]))
                data = b"".join(command(*r) for r in requests)
                cut = dice.randrange(len(data))
                wire.send(data[:cut])
                plans.append((requests, expected, data[cut:]))
            for wire, (_, _, rest) in zip(wires, plans):
                wire.send(rest)
            for wire, (requests, expected, _) in zip(wires, plans):
                for request, check in zip(requests, expected):
                    reply = wire.read()
                    assert check(reply), f"{request} answered {reply!r}"
    finally:
        for wire in wires:
            wire.close()


def test_quit_after_a_write(launch):
    server = launch(*ALWAYS)
    for number in range(20):
        with server.connect() as wire:
            wire.send(command("CL.THROTTLE", f"k{number}", 1, 1, 1000) + command("QUIT"))
            assert wire.until_closed() == b"*5\r\n:0\r\n:2\r\n:1\r\n:-1\r\n:1000\r\n+OK\r\n"
    with server.connect() as wire:
        # No client waits for the reply, but the call was decided.
        wire.send(command("CL.THROTTLE", "half", 1, 1, 1000))
        wire.socket.shutdown(1)
        assert wire.until_closed().startswith(b"*5\r\n:0\r\n")


def test_sigterm_sends_replies_that_wait_for_the_disk(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        wire.call("PING")
        wire.send(b"".join(command("CL.THROTTLE", f"k{n}", 1, 1, SLOW_PERIOD) for n in range(500)))
        wire.expect_exact(b"*5\r\n")
        server.process.send_signal(signal.SIGTERM)
        answered = wire.until_closed().count(b"*5\r\n") + 1
    assert server.wait_exit() == 0
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("DBSIZE") >= answered


def test_messages_among_held_replies_keep_their_order(launch):
    """A RESP3 subscriber that also writes: messages are delivered, and each reply comes once and in order."""
    server = launch(*ALWAYS, "--io-threads", "2")
    with server.connect() as wire, server.connect() as publisher:
        wire.hello3()
        wire.call("SUBSCRIBE", "ch")
        for turn in range(30):
            wire.send(b"".join(command("CL.THROTTLE", f"{turn}-{n}", 9, 1, SLOW_PERIOD) for n in range(5)))
            publisher.calls(*[("PUBLISH", "ch", f"{turn}-{n}") for n in range(5)])
            wire.send(command("ECHO", f"end {turn}"))
            messages, replies = [], []
            while len(messages) < 5 or len(replies) < 6:
                value = wire.read()
                (messages if type(value).__name__ == "Push" else replies).append(value)
            assert [m[2] for m in messages] == [b"%d-%d" % (turn, n) for n in range(5)]
            assert [r[0] for r in replies[:5]] == [0] * 5 and replies[5] == b"end %d" % turn


def test_everysec_syncs_within_seconds(launch):
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        take(wire, "k")
        # Before it is collected it is not counted as unsynced either.
        wait_for_record(server, "k")
        eventually(lambda: info(wire, "persistence")["journal_unsynced_bytes"] == "0", "the change is synced")
        assert int(info(wire, "persistence")["journal_syncs"]) >= 1
        wire.ok("CONFIG", "SET", "appendfsync", "no")
        before = info(wire, "persistence")["journal_syncs"]
        take(wire, "k2")
        wait_for_record(server, "k2")
        # JournalDriverTests checks how long nothing is synced under `no`, since its clock needs no waiting.
        found = info(wire, "persistence")
        assert found["journal_syncs"] == before and int(found["journal_unsynced_bytes"]) > 0


def test_hot_key_costs_few_bytes(launch):
    """A key hit thousands of times in an interval is one record: the log grows with the collections, not with the
    calls."""
    began = time.monotonic()
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        call = command("CL.THROTTLE", "hot", 1_000_000, 1, 1000)
        wire.send(call * 20_000)
        for _ in range(20_000):
            assert wire.read()[0] == 0
        found = info(wire, "persistence")
        assert int(found["aof_current_size"]) < 1000 + 100 * int(found["journal_collections"])
        # At most one record per ten milliseconds.
        assert int(found["journal_collections"]) <= 10 + (time.monotonic() - began) * 100
