"""The wire format, byte for byte: every row of the transcripts in one piece, byte by byte and many at once, against the
server and against redis-server."""

import os

import pytest

import transcripts
from server import ReferenceRedis, Server
from wire import ErrorReply, MapReply, Push, Simple, command, eventually

QUIT = command("QUIT")
AGAIN = 40


def play(connection, row, expected, sent, closes):
    """Sends everything in one write; a QUIT at the end marks where the replies end."""
    if row.resp3:
        connection.hello3()
    connection.send(sent if closes else sent + QUIT)
    got = connection.until_closed()
    expected += b"" if closes else b"+OK\r\n"
    assert got == expected, f"sent {sent[:200]!r}\ngot      {got[:600]!r}\nexpected {expected[:600]!r}"


def identify(row):
    return ("3 " if row.resp3 else "") + row.name


@pytest.mark.parametrize("row", transcripts.OPEN, ids=identify)
def test_in_one_piece(server, row):
    with server.connect() as connection:
        play(connection, row, row.reply, row.sent + row.discarded, row.closes)


@pytest.mark.parametrize("row", [r for r in transcripts.OPEN if len(r.sent) < 400 and not r.ahead], ids=identify)
def test_byte_by_byte(server, row):
    with server.connect() as connection:
        if row.resp3:
            connection.hello3()
        for index in range(len(row.sent)):
            connection.send(row.sent[index : index + 1])
        if not row.closes:
            connection.send(QUIT)
        assert connection.until_closed() == row.reply + (b"" if row.closes else b"+OK\r\n")


@pytest.mark.parametrize("row", [r for r in transcripts.OPEN if r.repeatable and not r.resp3], ids=identify)
def test_many_at_once(server, row):
    with server.connect() as connection:
        play(connection, row, row.reply * AGAIN, row.sent * AGAIN, False)


@pytest.mark.parametrize("row", [r for r in transcripts.OPEN if r.redis not in (None, "any")], ids=identify)
def test_redis_agrees(reference, row):
    check_reference(reference, row)


def check_reference(reference, row):
    """Where Redis is known to differ, it waits for more input or answers differently, and does not close."""
    expected = row.reply if row.redis == "same" else row.redis
    with reference.connect(authenticate=False) as connection:
        if row.redis == "same":
            play(connection, row, expected, row.sent + row.discarded, row.closes)
        elif expected:
            connection.send(row.sent)
            connection.expect_exact(expected)
        else:
            connection.send(row.sent)
            connection.expect_silence(0.05)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("gated") / "data", password="secret")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gated_reference(tmp_path_factory, reference):
    server = ReferenceRedis(tmp_path_factory.mktemp("gated-redis") / "data", password="secret")
    yield server
    server.stop()


@pytest.mark.parametrize("row", transcripts.GATED, ids=identify)
def test_before_authentication(gated, row):
    with gated.connect(authenticate=False) as connection:
        play(connection, row, row.reply, row.sent + row.discarded, row.closes)


@pytest.mark.parametrize("row", transcripts.GATED, ids=identify)
def test_redis_agrees_before_authentication(gated_reference, row):
    check_reference(gated_reference, row)


def test_unauthenticated_limits_end_with_authentication(gated):
    with gated.connect() as connection:
        assert connection.call("ECHO", "x" * 100_000) == b"x" * 100_000
        assert connection.call("EXISTS", *["k"] * 20) == 0
        connection.ok("CONFIG", "SET", "requirepass", "")
        try:
            with gated.connect(authenticate=False) as other:
                assert other.call("PING") == b"PONG"
        finally:
            connection.ok("CONFIG", "SET", "requirepass", "secret")


def test_pipeline_keeps_order(wire):
    wire.send(b"".join(command("ECHO", f"{i}") for i in range(1000)))
    assert [wire.read() for _ in range(1000)] == [b"%d" % i for i in range(1000)]


def test_pipeline_of_throttles_keeps_order(wire):
    wire.send(b"".join(command("CL.THROTTLE", "order", 1999, 1, 1000) for _ in range(1000)))
    remaining = [wire.read()[2] for _ in range(1000)]
    assert remaining == list(range(1999, 999, -1))


def test_split_at_every_byte(server):
    """A pipeline of mixed forms, split into two writes at every position."""
    sent = b"PING\r\n" + command("ECHO", "a\r\nb") + b"\r\n*0\r\n" + command("PING", "x") + b"ECHO 'q r'\n"
    expected = b"+PONG\r\n$4\r\na\r\nb\r\n$1\r\nx\r\n$3\r\nq r\r\n"
    with server.connect() as connection:
        for cut in range(1, len(sent)):
            connection.send(sent[:cut])
            connection.send(sent[cut:])
            connection.expect_exact(expected)


def test_largest_argument(wire):
    payload = bytes(range(256)) * 4096
    assert len(payload) == 1 << 20
    assert wire.call("ECHO", payload) == payload


def test_most_arguments(wire):
    assert wire.call("EXISTS", *["k"] * 65535) == 0


def test_hello_fields(wire):
    for version in (2, 3):
        reply = wire.call("HELLO", version)
        if version == 3:
            assert isinstance(reply, MapReply)
        else:
            assert type(reply) is list and len(reply) == 14
            reply = MapReply(zip(reply[::2], reply[1::2]))
        keys = [b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"]
        assert [k for k, _ in reply] == keys
        assert reply[b"server"] == b"redis" and reply[b"proto"] == version
        assert reply[b"mode"] == b"standalone" and reply[b"role"] == b"master" and reply[b"modules"] == []
        assert reply[b"id"] == wire.call("CLIENT", "ID")
        assert [p.isdigit() for p in reply[b"version"].split(b".")] == [True] * 3


def test_bare_hello_does_not_switch(wire):
    wire.hello3()
    assert wire.call("HELLO")[b"proto"] == 3
    assert wire.call("CLIENT", "GETNAME") is None
    wire.call("HELLO", 2)
    assert wire.call("HELLO")[5] == 2


def test_hello_with_name_and_password(gated):
    with gated.connect(authenticate=False) as connection:
        reply = connection.call("HELLO", 3, "AUTH", "default", "secret", "SETNAME", "me")
        assert reply[b"proto"] == 3
        assert connection.call("CLIENT", "GETNAME") == b"me"


def test_failed_hello_changes_nothing(wire):
    assert wire.call("HELLO", 3, "SETNAME", "a b").startswith(b"ERR Client names cannot contain spaces")
    wire.send(command("CLIENT", "GETNAME"))
    wire.expect_exact(b"$-1\r\n")


def test_reset_ends_everything(server, wire):
    with server.connect() as other:
        other.hello3()
        other.ok("CLIENT", "SETNAME", "me")
        assert isinstance(other.call("SUBSCRIBE", "reset-me"), Push)
        assert other.call("RESET") == b"RESET"
        assert wire.call("PUBLISH", "reset-me", "x") == 0
        other.ok("MONITOR")
        assert other.call("RESET") == b"RESET"
        wire.call("ECHO", "seen by nobody")
        assert other.call("PING") == b"PONG"


def test_reset_forgets_watches(server, wire):
    with server.connect() as other:
        other.ok("WATCH", "k")
        assert other.call("RESET") == b"RESET"
        wire.call("CL.THROTTLE", "k", 1, 1, 1000)
        other.ok("MULTI")
        assert other.call("EXEC") == []


def test_one_reply_for_a_failing_auth_in_a_pipeline(gated):
    with gated.connect(authenticate=False) as connection:
        replies = connection.calls("AUTH wrong", "PING", "AUTH secret", "PING")
        assert [type(r) for r in replies] == [ErrorReply, ErrorReply, Simple, Simple]


HELP_CONTAINERS = ["CLIENT", "CONFIG", "COMMAND", "OBJECT", "SLOWLOG", "LATENCY", "PUBSUB", "MEMORY", "MODULE"]


@pytest.mark.parametrize("target", ["server", "reference"])
@pytest.mark.parametrize("container", HELP_CONTAINERS)
def test_help(request, target, container):
    with request.getfixturevalue(target).connect() as connection:
        lines = connection.call(container, "HELP")
        assert all(isinstance(line, Simple) for line in lines) and len(lines) > 2
        assert lines[0] == f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:".encode()
        assert lines[-2] == b"HELP" and lines[-1].startswith(b"    ")


def test_half_a_request_then_close(server):
    """Connections that end in the middle of a request leave nothing behind."""
    before = None
    with server.connect() as watcher:
        before = watcher.call("CLIENT", "LIST").count(b"\n")
        for cut in (b"*", b"*2\r\n$4\r\nEC", b"PIN", b"*2\r\n$4\r\nECHO\r\n$1000000\r\n" + b"x" * 5000):
            with server.connect() as connection:
                connection.send(cut)
        eventually(lambda: watcher.call("CLIENT", "LIST").count(b"\n") <= before, "closed connections are released")


def test_a_huge_announced_length_allocates_nothing(server, wire):
    """200 requests announce the largest argument and send none of it: memory grows with the bytes received."""
    def resident():
        pages = int(open(f"/proc/{server.pid}/statm").read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    held = [server.connect() for _ in range(200)]
    try:
        before = resident()
        for connection in held:
            connection.send(b"*65536\r\n$1048576\r\nx")
        # Input to a loop has been read once that loop has answered on its other connections.
        for _ in range(20):
            wire.call("CLIENT", "LIST")
        assert resident() - before < 200 * 64 * 1024
    finally:
        for connection in held:
            connection.close()
