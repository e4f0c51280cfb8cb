"""Memory that clients use: counted, bounded by names and by `maxmemory-clients`."""

import contextlib

import pytest

from durable import info
from test_client_command import client_lines
from wire import ErrorReply, WireError, command, eventually

NAME_MAX = 1024
CHANNEL_MAX = 64 << 10


def used(wire):
    return int(info(wire, "memory")["mem_clients_normal"])


def evicted(wire):
    return int(info(wire, "stats")["evicted_clients"])


def ids(wire):
    return {int(c["id"]) for c in client_lines(wire.call("CLIENT", "LIST"))}


# Names


def test_names_are_bounded(wire):
    long = "n" * (NAME_MAX + 1)
    for words in (["CLIENT", "SETNAME", long], ["HELLO", "2", "SETNAME", long]):
        assert wire.call(*words) == b"ERR Client names cannot be longer than 1024 bytes."
    assert wire.call("CLIENT", "SETINFO", "LIB-NAME", long) == b"ERR lib-name cannot be longer than 1024 bytes."
    assert wire.call("CLIENT", "SETINFO", "lib-ver", long) == b"ERR lib-ver cannot be longer than 1024 bytes."
    (me,) = client_lines(wire.call("CLIENT", "INFO"))
    assert (me["name"], me["lib-name"], me["lib-ver"]) == ("", "", ""), "nothing has changed"
    wire.ok("CLIENT", "SETNAME", long[1:])
    wire.ok("CLIENT", "SETINFO", "LIB-NAME", long[1:])
    (me,) = client_lines(wire.call("CLIENT", "INFO"))
    assert me["name"] == me["lib-name"] == long[1:]


@pytest.mark.parametrize("kind", ["SUBSCRIBE", "PSUBSCRIBE"])
def test_channel_names_are_bounded(server, kind):
    with server.connect() as wire:
        reply = wire.call(kind, "first", "c" * (CHANNEL_MAX + 1))
        assert isinstance(reply, ErrorReply) and b"is longer than" in reply and len(reply) < 200
        assert wire.call("PUBSUB", "CHANNELS") == [] and wire.call("PUBSUB", "NUMPAT") == 0
        assert wire.call("PING") == b"PONG", "not in subscribed mode"


@pytest.mark.parametrize("kind", ["SUBSCRIBE", "PSUBSCRIBE"])
def test_subscriptions_are_bounded_together(start, kind):
    server = start("--client-query-buffer-limit", "1mb")
    with server.connect() as wire, server.connect() as other:
        names = [f"{n}-".ljust(1000, "c") for n in range(200)]
        sent = 0
        reply = None
        while not isinstance(reply, ErrorReply):
            assert sent < 20, "no bound"
            wire.send(command(kind, *[f"{sent}-{name}" for name in names]))
            replies = [wire.read()]
            if not isinstance(replies[0], ErrorReply):
                replies += [wire.read() for _ in names[1:]]
                sent += 1
            reply = replies[0]
        assert reply == b"ERR subscriptions are larger than client-query-buffer-limit, none were added"
        assert 2 < sent < 6
        (line,) = client_lines(other.call("CLIENT", "LIST", "TYPE", "pubsub"))
        assert int(line["sub"]) + int(line["psub"]) == sent * len(names)
        assert 500_000 < int(line["tot-mem"]) < 1_200_000
        # What is released can be used again.
        undo = "P" * kind.startswith("P") + "UNSUBSCRIBE"
        wire.send(command(undo))
        for _ in range(sent * len(names)):
            wire.read()
        assert wire.call(kind, names[0])[2] == 1


# Counting


def test_all_memory_of_a_client_is_counted(server):
    """The running total equals the sum over CLIENT LIST, which measures."""
    def expect_sum(*, least=0):
        found = client_lines(control.call("CLIENT", "LIST"))
        total = sum(int(c["tot-mem"]) for c in found)
        # INFO is sent after CLIENT LIST, so the control connection's memory has not changed in between.
        assert used(control) == total and total >= least
        return total

    with server.connect() as control:
        eventually(lambda: len(ids(control)) == 1, "former connections are gone")
        bare = expect_sum(least=1)
        with server.connect() as named, server.connect() as queued, server.connect() as watching, \
                server.connect() as subscribed, server.connect() as unfinished, server.connect() as monitor:
            named.ok("CLIENT", "SETNAME", "n" * 1000)
            queued.calls("MULTI", ["ECHO", "x" * 100_000])
            watching.call("WATCH", *[f"k{n}" for n in range(100)])
            subscribed.send(command("SUBSCRIBE", *[f"c{n}" for n in range(100)]))
            for _ in range(100):
                subscribed.read()
            unfinished.call("PING")
            unfinished.send(b"*2\r\n$4\r\nECHO\r\n$200000\r\n" + b"x" * 150_000)
            monitor.ok("MONITOR")
            eventually(lambda: used(control) > bare + 150_000 + 100_000, "the unfinished request has arrived")
            full = expect_sum(least=bare + 1000 + 100_000 + 100 * 256 + 100 * 256 + 150_000)
            # Each releases its memory.
            queued.call("DISCARD")
            watching.call("UNWATCH")
            subscribed.send(command("UNSUBSCRIBE"))
            for _ in range(100):
                subscribed.read()
            unfinished.send(b"x" * 50_000 + b"\r\n")
            assert len(unfinished.read()) == 200_000
            named.call("RESET")
            expect_sum()
            assert used(control) < full - 250_000
        eventually(lambda: len(ids(control)) == 1, "the others are gone")
        assert expect_sum() == bare


def test_replies_that_are_not_read_are_counted(server):
    with server.connect() as control, server.connect() as lazy:
        before = used(control)
        lazy.send(command("ECHO", "x" * 1_000_000) * 30)
        eventually(lambda: used(control) > before + 5_000_000, "unsent replies are counted")
        for _ in range(30):
            lazy.read()
        eventually(lambda: used(control) <= before + 1000, "and are released")


# maxmemory-clients


def test_the_setting(server, wire):
    try:
        for text, shown in (("1mb", "1048576"), ("5%", "5%"), ("0", "0")):
            wire.ok("CONFIG", "SET", "maxmemory-clients", text)
            assert wire.call("CONFIG", "GET", "maxmemory-clients") == [b"maxmemory-clients", shown.encode()]
        for text in ("101%", "-1", "many", "5.5%"):
            reply = wire.call("CONFIG", "SET", "maxmemory-clients", text)
            assert isinstance(reply, ErrorReply) and b"maxmemory-clients" in reply, reply
        assert wire.call("CONFIG", "GET", "maxmemory-clients")[1] == b"0"
    finally:
        wire.ok("CONFIG", "SET", "maxmemory-clients", "0")


def hoard(wire, size):
    """Makes the server buffer about that many bytes."""
    wire.calls("MULTI", ["ECHO", "x" * size])


def is_open(wire):
    try:
        return wire.call("PING") in (b"PONG", b"QUEUED")
    except (WireError, OSError):
        return False


def test_the_clients_that_use_most_are_closed(start):
    server = start("--io-threads", "2")
    with server.connect() as control:
        clients = {size: server.connect() for size in (50_000, 100_000, 200_000, 400_000, 800_000)}
        for size, client in clients.items():
            hoard(client, size)
        assert evicted(control) == 0 and used(control) > 1_500_000
        control.ok("CONFIG", "SET", "maxmemory-clients", "800kb")
        eventually(lambda: used(control) <= 800 << 10, "clients are closed")
        # Closing the largest was enough.
        assert evicted(control) == 1
        assert [size for size, client in clients.items() if not is_open(client)] == [800_000]
        hoard(fresh := server.connect(), 300_000)
        eventually(lambda: evicted(control) == 2, "the limit stays in force")
        assert not is_open(clients[400_000]) and is_open(fresh)
        (line,) = [line for line in server.settled_log().splitlines() if "maxmemory-clients" in line and "closing" in line]
        assert " warning " in line and "addr=127.0.0.1:" in line and "bytes=8" in line
        control.ok("CONFIG", "RESETSTAT")
        assert evicted(control) == 0


def test_no_evict(start):
    server = start("--io-threads", "2", "--maxmemory-clients", "300kb")
    with server.connect() as control, server.connect() as protected, server.connect() as other:
        control.ok("CLIENT", "NO-EVICT", "ON")
        protected.ok("CLIENT", "NO-EVICT", "ON")
        other.call("PING")
        # Protected clients still count, as in Redis.
        hoard(protected, 500_000)
        eventually(lambda: not is_open(other), "the only client that may be closed is closed")
        assert is_open(protected) and is_open(control) and evicted(control) == 1
        # From now on it may be closed.
        protected.call("DISCARD")
        protected.ok("CLIENT", "NO-EVICT", "OFF")
        # It may be closed before its replies have been read.
        with contextlib.suppress(WireError, OSError):
            hoard(protected, 500_000)
        eventually(lambda: evicted(control) == 2, "it is closed")
        assert not is_open(protected)


def test_percent_of_maxmemory(start):
    server = start("--maxmemory-clients", "10%", "--maxmemory", "100mb")
    with server.connect() as control, server.connect() as hoarder:
        hoard(hoarder, 900_000)
        assert evicted(control) == 0
        control.ok("CONFIG", "SET", "maxmemory", "5mb")
        eventually(lambda: evicted(control) == 1, "a percentage of a smaller limit is smaller")
        assert not is_open(hoarder)


def test_a_client_that_does_not_read(start):
    server = start("--maxmemory-clients", "2mb")
    with server.connect() as control, server.connect() as lazy:
        with contextlib.suppress(OSError):
            lazy.send(command("ECHO", "x" * 500_000) * 30)
        eventually(lambda: evicted(control) == 1, "the client that does not read its replies is closed")
        assert is_open(control)


def test_a_client_that_queues_too_much_at_once(start):
    """The calling client itself is closed, in the turn in which it has queued too much."""
    server = start("--io-threads", "1", "--maxmemory-clients", "200kb")
    with server.connect() as control, server.connect() as greedy:
        with pytest.raises((WireError, OSError)):
            greedy.calls("MULTI", *[["ECHO", "x" * 50_000]] * 20)
            greedy.call("PING")
        eventually(lambda: evicted(control) == 1, "it is counted")
        assert is_open(control)
