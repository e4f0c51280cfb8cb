"""Transactions between connections on different event loops: no client sees a state between the commands of an EXEC,
and WATCH notices changes by any connection."""

import threading

import pytest

from wire import PATIENCE, ErrorReply, command, eventually

CALL = ["4999", "1", "1000000"]


def transaction(connection, *requests):
    """MULTI, the requests and EXEC in one write; returns EXEC's reply."""
    connection.send(command("MULTI") + b"".join(command(*r) for r in requests) + command("EXEC"))
    assert connection.read() == b"OK"
    for _ in requests:
        assert connection.read() == b"QUEUED"
    return connection.read()


def test_no_client_sees_between_the_commands(server):
    """Writers take from two keys alike; a client that reads both in one transaction sees the same number."""
    stop, problems, looks = threading.Event(), [], []
    keys, transactions = ["left", "right"], 600

    def guarded(work):
        def run():
            try:
                with server.connect() as connection:
                    work(connection)
            except BaseException as problem:  # noqa: BLE001 - passed to the test
                problems.append(problem)
                stop.set()
        return threading.Thread(target=run)

    def write(order):
        def work(connection):
            for number in range(transactions):
                if stop.is_set():
                    return
                if number < 40:
                    # However slow the observers are, they read between these.
                    before = len(looks)
                    eventually(lambda: len(looks) > before or stop.is_set(), "an observer has read")
                first, second = transaction(connection, *(["CL.THROTTLE", key, *CALL] for key in order))
                assert first[2] == second[2], f"a writer got {first} and {second}"
        return work

    def look(connection):
        while not stop.is_set():
            first, second = transaction(connection, *(["CL.THROTTLE", key, *CALL, "0"] for key in keys))
            assert first[2] == second[2], f"seen between the commands: {first} and {second}"
            looks.append(first[2])

    writers = [guarded(write(order)) for order in (keys, keys[::-1], keys, keys[::-1])]
    observers = [guarded(look) for _ in range(4)]
    for thread in writers + observers:
        thread.start()
    for thread in writers:
        thread.join(PATIENCE)
    stop.set()
    for thread in observers:
        thread.join(PATIENCE)
    assert not problems, problems
    assert len(set(looks)) > 10, "the observers ran concurrently with the writers"
    with server.connect() as connection:
        assert connection.call("CL.THROTTLE", "left", *CALL, "0")[2] == 5000 - 4 * transactions


def test_plain_commands_do_not_interleave(server):
    """A plain call between the commands of an EXEC would leave a gap between its two replies."""
    stop = threading.Event()

    def disturb():
        with server.connect() as connection:
            while not stop.is_set():
                connection.calls(*[["CL.THROTTLE", "k", "99999", "1", "1000"]] * 8)

    threads = [threading.Thread(target=disturb) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with server.connect() as connection:
            call = ["CL.THROTTLE", "k", "99999", "1", "1000"]
            for _ in range(300):
                first, second = transaction(connection, call, call)
                assert first[2] - second[2] == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


def test_watch_sees_another_connection(server):
    """More connections than loops, so that some are on the same loop and some on another."""
    others = [server.connect() for _ in range(8)]
    try:
        with server.connect() as connection:
            for index, other in enumerate(others):
                key = f"w{index}"
                connection.ok("WATCH", key)
                other.call("CL.THROTTLE", key, 9, 1, 1000)
                assert transaction(connection, ["PING"]) is None
                assert transaction(connection, ["PING"]) == [b"PONG"], "an aborted EXEC forgets what was watched"
    finally:
        for other in others:
            other.close()


@pytest.mark.parametrize(
    "change",
    ["DEL k", "UNLINK k", "FLUSHALL", "FLUSHDB", "EXPIRE k -1", "PEXPIRE k 5000000", "CL.THROTTLE k 9 1 1000"])
def test_changes_that_break_a_watch(server, wire, change):
    wire.call("CL.THROTTLE", "k", 9, 1, 1000)
    wire.ok("WATCH", "unused", "k")
    with server.connect() as other:
        assert not isinstance(other.call(*change.split()), ErrorReply)
    assert transaction(wire, ["PING"]) is None


@pytest.mark.parametrize(
    "change",
    ["CL.THROTTLE k 0 1 1000", "CL.THROTTLE k 0 1 1000 0", "CL.THROTTLE k x 1 1", "CL.THROTTLE other 1 1 1000", "TTL k",
     "DEL other", "EXISTS k", "PING"])
def test_calls_that_do_not_break_a_watch(server, wire, change):
    """Denied calls, calls of quantity 0, errors, reads and other keys change nothing."""
    wire.call("CL.THROTTLE", "k", 0, 1, 1000)
    wire.ok("WATCH", "k")
    with server.connect() as other:
        other.call(*change.split())
    assert transaction(wire, ["PING"]) == [b"PONG"]


def test_own_change_breaks_a_watch(wire):
    wire.ok("WATCH", "k")
    wire.call("CL.THROTTLE", "k", 9, 1, 1000)
    assert transaction(wire, ["PING"]) is None


def test_unwatch_and_discard_forget(server, wire):
    for forget in (["UNWATCH"], ["MULTI", "DISCARD"]):
        wire.ok("WATCH", "k")
        with server.connect() as other:
            other.call("CL.THROTTLE", "k", 999, 1, 1000)
        for word in forget:
            wire.ok(word)
        assert transaction(wire, ["PING"]) == [b"PONG"]


def test_aborted_exec_is_null_in_resp3(server, wire):
    wire.hello3()
    wire.ok("WATCH", "k")
    with server.connect() as other:
        other.call("CL.THROTTLE", "k", 9, 1, 1000)
    wire.calls("MULTI", "PING")
    wire.send(command("EXEC"))
    wire.expect_exact(b"_\r\n")


def test_queued_commands_run_at_exec(server, wire):
    wire.calls("MULTI", "CL.THROTTLE k 9 1 1000")
    with server.connect() as other:
        assert other.call("EXISTS", "k") == 0
        assert wire.call("EXEC") == [[0, 10, 9, -1, 1000]]
        assert other.call("EXISTS", "k") == 1


def test_a_closed_connection_runs_nothing(server, wire):
    with server.connect() as other:
        other.calls("MULTI", "CL.THROTTLE k 9 1 1000")
        name = other.call("CLIENT", "ID")
        assert name == b"QUEUED"
    eventually(lambda: wire.call("CLIENT", "LIST").count(b"\n") == 1, "the connection is gone")
    assert wire.call("EXISTS", "k") == 0


def test_large_transaction(wire):
    requests = [["CL.THROTTLE", f"k{i}", "4", "1", "1000"] for i in range(1000)]
    assert transaction(wire, *requests) == [[0, 5, 4, -1, 1000]] * 1000
    assert wire.call("DBSIZE") == 1000


def test_isolation_of_administrative_commands(server, wire):
    """Commands that read all keys are part of the same instant."""
    stop, problems = threading.Event(), []

    def churn():
        with server.connect() as connection:
            while not stop.is_set():
                transaction(connection, ["CL.THROTTLE", "a", "9", "1", "1000"], ["CL.THROTTLE", "b", "9", "1", "1000"])
                transaction(connection, ["DEL", "a"], ["DEL", "b"])

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        seen = {wire.call("DBSIZE") for _ in range(500)}
        both = {transaction(wire, ["EXISTS", "a", "b"], ["DBSIZE"])[0] for _ in range(200)}
        exists = {wire.call("EXISTS", "a", "b") for _ in range(500)}
        if not (seen <= {0, 2} and both <= {0, 2} and exists <= {0, 2}):
            problems.append((seen, both, exists))
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not problems, f"half of a transaction was seen: {problems}"


def test_flushall_and_info_in_one_transaction(wire):
    """FLUSHALL excludes collections of the journal for the duration of EXEC; nothing in it may wait for one."""
    wire.ok("MULTI")
    for command in (("CL.THROTTLE", "a", "5", "1", "60"), ("FLUSHALL",), ("INFO",), ("CL.THROTTLE", "b", "5", "1", "60")):
        assert wire.call(*command) == b"QUEUED"
    replies = wire.call("EXEC")
    assert replies[1] == b"OK" and b"aof_buffer_length" in replies[2]
    assert wire.call("KEYS", "*") == [b"b"]


def test_watched_keys_are_bounded(start):
    """A client's watched keys count against client-query-buffer-limit, together with its queue. Beyond it nothing is
    added."""
    server = start("--client-query-buffer-limit", "1mb")
    many = [f"many:{number}" for number in range(4_000)]
    refusal = b"ERR watched keys are larger than client-query-buffer-limit, none were added"
    with server.connect() as wire, server.connect() as other:
        wire.ok("WATCH", "first", "first")
        assert wire.call("WATCH", *many) == refusal
        # The key watched before still is, and none of the refused ones.
        assert other.call("INCR", many[0]) == 1
        assert transaction(wire, ["PING"]) == [b"PONG"]
        wire.ok("WATCH", "first")
        assert wire.call("WATCH", *many) == refusal
        assert other.call("INCR", "first") == 1
        assert transaction(wire, ["PING"]) is None
        # Keys that are already watched cost nothing more, and UNWATCH releases their memory.
        for _ in range(100):
            wire.ok("WATCH", *many[:2_000])
        assert wire.call("WATCH", *many[2_000:]) == refusal
        wire.ok("UNWATCH")
        wire.ok("WATCH", *many[2_000:])
        wire.ok("MULTI")
        assert wire.call("SET", "k", "1" * 600_000) == b"ERR transaction is larger than client-query-buffer-limit"
        assert wire.call("EXEC").startswith(b"EXECABORT")


def test_every_watcher_of_a_key_notices_its_change(server):
    """Clients that watch the same keys, some of which leave, on both event loops."""
    clients = [server.connect() for _ in range(40)]
    keys = [f"shared:{number}" for number in range(100)]
    for client in clients:
        client.ok("WATCH", *keys)
    for client in clients[:10]:
        client.close()
    with server.connect() as wire:
        eventually(lambda: len(wire.call("CLIENT", "LIST").splitlines()) == 31, "the clients that left are closed")
        assert wire.call("INCR", keys[50]) == 1
    for client in clients[10:20]:
        assert transaction(client, ["PING"]) is None
        client.ok("WATCH", *keys)
        assert transaction(client, ["PING"]) == [b"PONG"]
    for client in clients[20:]:
        assert transaction(client, ["PING"]) is None
    for client in clients[10:]:
        client.close()


def test_a_skipped_reply_inside_a_transaction(wire):
    """EXEC replies to every command; the reply that is skipped is the next one. (Redis omits an element.)"""
    lines = ["MULTI", "INCR skipping", "CLIENT REPLY SKIP", "INCR skipping", "EXEC", "ECHO one", "ECHO two"]
    wire.send(b"".join(command(*line.split()) for line in lines))
    assert [wire.read() for _ in range(6)] == [b"OK", b"QUEUED", b"QUEUED", b"QUEUED", [1, b"OK", 2], b"two"]


def test_replies_switched_off_and_on_inside_a_transaction(wire):
    """EXEC's array has as many elements as it announces."""
    lines = ["MULTI", "INCR k", "CLIENT REPLY OFF", "INCR k", "CLIENT REPLY ON", "EXEC", "PING"]
    wire.send(b"".join(command(*line.split()) for line in lines))
    assert [wire.read() for _ in range(7)] == [b"OK", *[b"QUEUED"] * 4, [1, b"OK", 2, b"OK"], b"PONG"]
