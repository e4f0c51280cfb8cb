"""Clients that shut down their sending half and still read: their requests are executed and answered, then the
connection closes. Clients that have really gone are closed.
"""

import socket
import struct

import pytest

from clock import rests
from durable import info
from wire import Wire as Local
from wire import command, eventually

ALWAYS = ("--appendfsync", "always")


def requests(*lines):
    return b"".join(command(*line.split()) for line in lines)


def half_close(wire):
    wire.socket.shutdown(socket.SHUT_WR)


def exchange(wire, *lines):
    """Sends requests, ends the input, and returns all replies."""
    wire.send(requests(*lines))
    half_close(wire)
    return wire.until_closed()


def is_only_client(wire):
    return info(wire, "clients")["connected_clients"] == "1"


def others(wire):
    """The lines of CLIENT LIST except the caller's own."""
    own = b"id=%d " % wire.call("CLIENT", "ID")
    return [line for line in wire.call("CLIENT", "LIST").splitlines() if not line.startswith(own)]


@pytest.mark.parametrize("flags", [(), ALWAYS], ids=["everysec", "always"])
@pytest.mark.parametrize("lines, replies", [
    (["INCR k", "WAIT 0 500"], b":1\r\n:0\r\n"),
    (["INCR k", "WAIT 1 300"], b":1\r\n:0\r\n"),
    (["INCR k", "WAIT 1 300", "INCR k", "WAIT 1 300", "INCR k"], b":1\r\n:0\r\n:2\r\n:0\r\n:3\r\n"),
    (["INCR k", "WAITAOF 0 1 300", "PING"], b":1\r\n*2\r\n:"),
    (["INCR k", "WAITAOF 1 0 5000", "PING"], b":1\r\n*2\r\n:1\r\n:0\r\n+PONG\r\n"),
    (["INCR k", "SAVE", "INCR k"], b":1\r\n+OK\r\n:2\r\n"),
    (["INCR k", "BGSAVE", "SAVE"], None),
    (["INCR k", "REPLICAOF NO ONE", "INCR k"], b":1\r\n+OK\r\n:2\r\n"),
    (["INCR k", "FAILOVER ABORT", "INCR k"], b":1\r\n-ERR"),
    (["MULTI", "INCR k", "INCR k", "EXEC", "WAIT 1 300"],
     b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n:0\r\n"),
    (["MULTI", "INCR k"], b"+OK\r\n+QUEUED\r\n"),
    (["SUBSCRIBE ch"], b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n"),
], ids=lambda value: "; ".join(value) if isinstance(value, list) else "")
def test_every_reply_comes(start, flags, lines, replies):
    server = start("--io-threads", "1", *flags)
    with server.connect() as wire, server.connect() as other:
        got = exchange(other, *lines)
        if replies is None:
            assert got.startswith(b":1\r\n+Background saving started\r\n") and got.count(b"\r\n") == 3
        else:
            assert got.startswith(replies)
        if "PING" in lines:
            assert got.endswith(b"+PONG\r\n")
        if "INCR k" in lines[0] and replies is not None:
            assert int(wire.call("GET", "k")) == sum(line == "INCR k" for line in lines)
        if lines == ["MULTI", "INCR k"]:
            assert wire.call("EXISTS", "k") == 0
        eventually(lambda: is_only_client(wire), "the connection is closed")


@pytest.mark.parametrize("flags", [(), ALWAYS], ids=["everysec", "always"])
def test_a_pipeline_of_many_reads(start, flags):
    """Longer than one read, with a command that waits in the middle, and an incomplete request at the end."""
    server = start("--io-threads", "1", *flags)
    with server.connect() as wire, server.connect(30) as other:
        half = command("INCR", "k") * 20_000
        other.send(half + command("WAIT", 1, 200) + half + b"*2\r\n$4\r\nINCR\r\n$1\r\n")
        half_close(other)
        numbers = other.until_closed().split(b"\r\n")
        assert numbers[:-1] == [b":%d" % n for n in [*range(1, 20_001), 0, *range(20_001, 40_001)]]
        assert wire.call("GET", "k") == b"40000"


def test_an_inline_command_without_its_newline_is_not_run(server, wire):
    with server.connect() as other:
        other.send(b"INCR whole\r\nINCR part")
        half_close(other)
        assert other.until_closed() == b":1\r\n"
    assert wire.call("EXISTS", "whole", "part") == 1


def test_a_slow_reader_gets_everything(start):
    """More than the socket's buffers can take, read only long after the end of the input."""
    server = start("--io-threads", "1")
    with server.connect() as wire, server.connect(30) as slow:
        slow.send(command("SET", "k", 7) + command("GET", "k") * 3)
        for number in range(60):
            slow.send(command("ECHO", f"{number:03}" + "x" * 500_000))
        half_close(slow)
        eventually(lambda: any(b" flags=c " in line for line in others(wire)), "the end of its input is noticed")
        eventually(lambda: rests(server.pid), "a waiting connection uses no processor time")
        assert slow.read() == b"OK" and [slow.read() for _ in range(3)] == [b"7"] * 3
        for number in range(60):
            assert slow.read()[:3] == b"%03d" % number
        assert slow.until_closed() == b""
        eventually(lambda: is_only_client(wire), "the connection is closed")


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_paused(start, mode):
    server = start("--io-threads", "1")
    with server.connect() as wire, server.connect(30) as other, server.connect(30) as long:
        wire.ok("CLIENT", "PAUSE", 3_600_000, mode)
        other.send(requests("INCR k", "WAIT 1 100", "INCR k"))
        half_close(other)
        # Requests that were unread when the pause began are answered after it.
        long.send(command("INCR", "k") + command("ECHO", "x" * 1000) * 200)
        half_close(long)
        eventually(lambda: rests(server.pid), "waiting connections use no processor time")
        wire.ok("CLIENT", "UNPAUSE")
        got = other.until_closed()
        assert got.count(b"\r\n") == 3 and got.split(b"\r\n")[1] == b":0"
        assert long.until_closed().count(b"x" * 1000) == 200
        assert wire.call("GET", "k") == b"3"


def test_messages_end_with_the_input(start):
    """A subscriber that has ended its input can no longer unsubscribe, so it is closed."""
    server = start("--io-threads", "1")
    with server.connect() as wire, server.connect() as subscriber:
        subscriber.call("SUBSCRIBE", "ch")
        half_close(subscriber)
        subscriber.expect_closed()
        assert wire.call("PUBLISH", "ch", "m") == 0


# Clients that have gone


@pytest.mark.parametrize("line", ["WAIT 0 0", "WAIT 0 100000", "WAITAOF 0 0 0"])
def test_a_wait_that_is_met_at_once_is_answered(start, line):
    """Its time-out does not matter: the later commands are executed, however early the end of input is seen."""
    server = start("--io-threads", "1")
    with server.connect() as wire:
        for number in range(1, 26):
            with server.connect() as other:
                got = exchange(other, "INCR k", line, "INCR k")
            assert got.startswith(b":%d\r\n" % (2 * number - 1)) and got.endswith(b":%d\r\n" % (2 * number))
        assert wire.call("GET", "k") == b"50"


@pytest.mark.parametrize("line", ["WAIT 1 0", "WAIT 1 60001", "WAITAOF 1 1 0"])
def test_unbounded_waits_are_abandoned(start, line):
    """The earlier replies are sent, and the later commands are not executed."""
    server = start("--io-threads", "1")
    with server.connect() as wire, server.connect() as other:
        assert exchange(other, "INCR k", line, "INCR k") == b":1\r\n"
        assert wire.call("GET", "k") == b"1"
        eventually(lambda: info(wire, "clients")["blocked_clients"] == "0", "the connection is closed")
        assert is_only_client(wire)


@pytest.mark.parametrize("flags", [(), ALWAYS], ids=["everysec", "always"])
def test_a_reset_is_noticed_at_once(start, flags):
    server = start("--io-threads", "1", *flags)
    with server.connect() as wire:
        for line in ("WAIT 1 60000", "PING"):
            with server.connect() as other:
                other.send(requests("INCR k", line))
                if line != "PING":
                    eventually(lambda: info(wire, "clients")["blocked_clients"] == "1", "the command waits")
                half_close(other)
                other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            eventually(lambda: is_only_client(wire), "the connection is closed")
            assert info(wire, "clients")["blocked_clients"] == "0"


def test_a_unix_socket_that_is_closed_is_noticed_at_once(start, tmp_path):
    path = tmp_path / "s"
    server = start("--io-threads", "1", unixsocket=path)
    local = Local(str(path))
    with server.connect() as wire:
        local.send(requests("INCR k", "WAIT 1 60000"))
        eventually(lambda: info(wire, "clients")["blocked_clients"] == "1", "the command waits")
        local.close()
        eventually(lambda: is_only_client(wire), "the connection is closed")
        assert wire.call("GET", "k") == b"1"
        assert info(wire, "clients")["blocked_clients"] == "0"
        # A half-closed connection is kept while the command waits, as over TCP.
        with Local(str(path)) as local:
            assert exchange(local, "INCR k", "WAIT 1 300") == b":2\r\n:0\r\n"


def test_a_connection_without_progress_is_closed(start):
    """After a minute, or after `timeout` if that is shorter."""
    server = start("--io-threads", "1")
    with server.connect() as wire, server.connect() as paused, server.connect() as stuck:
        for _ in range(60):
            stuck.send(command("ECHO", "x" * 500_000))
        half_close(stuck)
        wire.ok("CLIENT", "PAUSE", 3_600_000, "WRITE")
        paused.send(requests("INCR k"))
        half_close(paused)
        eventually(lambda: sum(b"c " in line.split(b"flags=")[1][:3] for line in others(wire)) == 2, "both have ended")
        wire.ok("CONFIG", "SET", "timeout", 1)
        eventually(lambda: others(wire) == [], "both are closed")
        wire.ok("CLIENT", "UNPAUSE")
        assert wire.call("EXISTS", "k") == 0
