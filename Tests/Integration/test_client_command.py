"""The CLIENT command: what it lists, which clients it kills, which it pauses."""

import time

import pytest

from wire import command


def client_lines(text):
    clients = []
    for line in text.decode().splitlines():
        fields = {}
        for item in line.split(" "):
            assert item.count("=") == 1, f"{item!r} in {line!r}"
            name, value = item.split("=")
            fields[name] = value
        clients.append(fields)
    return clients


CLIENT_FIELDS = (
    "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll "
    "omem tot-mem events cmd user redir resp lib-name lib-ver").split()


def test_client_list_format(server, wire):
    wire.ok("CLIENT", "SETNAME", "lister")
    wire.ok("CLIENT", "SETINFO", "lib-name", "mylib")
    (me,) = [c for c in client_lines(wire.call("CLIENT", "LIST")) if c["name"] == "lister"]
    assert list(me) == CLIENT_FIELDS
    assert me["id"] == str(wire.call("CLIENT", "ID")) and me["lib-name"] == "mylib"
    assert me["addr"].startswith("127.0.0.1:") and me["laddr"] == f"127.0.0.1:{server.port}"
    assert (me["flags"], me["db"], me["multi"], me["cmd"], me["user"], me["resp"]) == (
        "N", "0", "-1", "client|list", "default", "2")
    assert client_lines(wire.call("CLIENT", "INFO"))[0]["cmd"] == "client|info"


def test_client_list_of_states(server, wire):
    with server.connect() as multi, server.connect() as monitor, server.connect() as subscriber:
        multi.calls("CLIENT SETNAME m", "MULTI", "PING", "PING")
        monitor.calls("CLIENT SETNAME o", "MONITOR")
        subscriber.hello3()
        subscriber.calls("CLIENT SETNAME s", "SUBSCRIBE a")
        by_name = {c["name"]: c for c in client_lines(wire.call("CLIENT", "LIST"))}
        assert (by_name["m"]["flags"], by_name["m"]["multi"]) == ("x", "2")
        assert by_name["o"]["flags"] == "O"
        assert (by_name["s"]["flags"], by_name["s"]["sub"], by_name["s"]["resp"]) == ("P", "1", "3")
        own, other = wire.call("CLIENT", "ID"), int(by_name["s"]["id"])
        listed = client_lines(wire.call("CLIENT", "LIST", "ID", own, other, 999999))
        assert sorted(int(c["id"]) for c in listed) == sorted([own, other])
        assert [c["name"] for c in client_lines(wire.call("CLIENT", "LIST", "TYPE", "pubsub"))] == ["s"]
        assert wire.call("CLIENT", "LIST", "TYPE", "replica") == b""


def test_client_kill(server, wire):
    def victim():
        connection = server.connect()
        (line,) = client_lines(connection.call("CLIENT", "INFO"))
        return connection, line

    for form in ("old", "ID", "ADDR", "LADDR"):
        connection, line = victim()
        if form == "old":
            wire.ok("CLIENT", "KILL", line["addr"])
        elif form == "ID":
            assert wire.call("CLIENT", "KILL", "ID", line["id"]) == 1
        elif form == "ADDR":
            assert wire.call("CLIENT", "KILL", "ADDR", line["addr"], "USER", "default") == 1
        else:
            assert wire.call("CLIENT", "KILL", "LADDR", line["laddr"], "ID", line["id"]) == 1
        connection.expect_closed()
        connection.close()
    subscriber, _ = victim()
    other, _ = victim()
    subscriber.call("SUBSCRIBE", "a")
    assert wire.call("CLIENT", "KILL", "TYPE", "pubsub") == 1
    subscriber.expect_closed()
    assert other.call("PING") == b"PONG"
    assert wire.call("CLIENT", "KILL", "TYPE", "normal") >= 1, "the caller is spared"
    other.expect_closed()
    assert wire.call("PING") == b"PONG"
    for connection in (subscriber, other):
        connection.close()


@pytest.mark.parametrize("target", ["server", "reference"])
def test_killed_before_the_reply(request, target):
    """When CLIENT KILL has replied, the connection is closed. php-redis checks before it sends; if the close came
    later, its command would be lost and it would wait for the reply until its time-out."""
    running = request.getfixturevalue(target)
    with running.connect() as killer:
        for _ in range(300):
            with running.connect() as victim:
                number = victim.call("CLIENT", "ID")
                assert killer.call("CLIENT", "KILL", "ID", number) == 1
                victim.socket.setblocking(False)
                try:
                    assert victim.socket.recv(1) == b""
                except BlockingIOError:
                    pytest.fail("CLIENT KILL has answered, and the connection is still open")


def test_client_kill_of_oneself(server):
    """The reply is sent first."""
    with server.connect() as connection:
        mine = connection.call("CLIENT", "ID")
        assert connection.call("CLIENT", "KILL", "ID", mine) == 0, "SKIPME defaults to yes"
        assert connection.call("CLIENT", "KILL", "ID", mine, "SKIPME", "no") == 1
        connection.expect_closed()


def test_client_kill_inside_a_transaction(server, wire):
    """As Sentinel sends it at a promotion: all other clients are closed, and EXEC is still answered."""
    with server.connect() as other:
        other.call("PING")
        replies = wire.calls("MULTI", "CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub", "EXEC")
        assert replies[3][0] >= 1 and len(replies[3]) == 2
        other.expect_closed()


def test_client_pause(server, wire):
    with server.connect() as other:
        wire.ok("CLIENT", "PAUSE", 60_000, "WRITE")
        other.send(command("CL.THROTTLE", "k", 1, 1, 1000))
        assert wire.call("EXISTS", "k") == 0, "reads are not paused"
        other.expect_silence(0.1)
        wire.ok("CLIENT", "UNPAUSE")
        assert other.read() == [0, 2, 1, -1, 1000]
        begin = time.monotonic()
        wire.ok("CLIENT", "PAUSE", 100)
        assert other.call("PING") == b"PONG"
        assert time.monotonic() - begin >= 0.1, "it ends 100 ms after it began, and not sooner"
