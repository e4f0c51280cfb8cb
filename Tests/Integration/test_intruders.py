"""Unwanted clients: HTTP on the RESP port, wrong passwords, rejected connections. All are logged, within bounds."""

import re
import socket
import ssl

import pytest

from durable import info
from wire import Wire, eventually

SECRET = "correct-horse"


def count(wire, name):
    return int(info(wire, "stats")[name])


def lines(server, text):
    return [line for line in server.settled_log().splitlines() if text in line]


def address(wire):
    host, port = wire.socket.getsockname()[:2]
    return f"{host}:{port}"


@pytest.mark.parametrize("request_", [
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\nFLUSHALL\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"post /x HTTP/1.0\r\n\r\n"])
def test_http(start, request_):
    server = start()
    with server.connect() as wire:
        wire.call("SET", "k", "1")
        with server.connect() as intruder:
            who = address(intruder)
            intruder.send(request_)
            answer = intruder.until_closed()
            # GET is a Redis command, so its line alone gets an error; the next line ends the connection.
            expected = b"-ERR wrong number of arguments for 'get' command\r\n" if request_.startswith(b"GET") else b""
            assert answer == expected
        assert count(wire, "http_requests_refused") == 1 and wire.call("EXISTS", "k") == 1
        (line,) = lines(server, "HTTP")
        assert " warning " in line and f"addr={who}" in line and "id=" in line
        for _ in range(50):
            with server.connect() as intruder:
                intruder.send(request_)
                intruder.until_closed()
        assert count(wire, "http_requests_refused") == 51
        assert len(lines(server, "HTTP")) == 1, "once a minute per host"
        wire.ok("CONFIG", "RESETSTAT")
        assert count(wire, "http_requests_refused") == 0


def test_tls(start):
    """A client configured for TLS would wait forever for a handshake, and the server for the end of a line."""
    server = start()
    with server.connect() as wire:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port), 10) as plain, pytest.raises(ssl.SSLError):
                context.wrap_socket(plain)
        (line,) = lines(server, "TLS")
        assert " warning " in line and "addr=127.0.0.1:" in line
        assert count(wire, "total_protocol_errors") == 3


def test_a_get_of_one_path_is_answered(wire):
    """As in Redis: an error, and the connection stays open."""
    wire.send(b"GET /index.html\r\n")
    assert wire.read() is None
    assert wire.call("PING") == b"PONG"


def test_wrong_passwords(start):
    server = start(password=SECRET)
    with server.connect() as wire:
        assert count(wire, "acl_access_denied_auth") == 0 and not lines(server, "authentication")
        with server.connect(authenticate=False) as intruder:
            who = address(intruder)
            for words in (["AUTH", "guess-1"], ["AUTH", "default", "guess-2"], ["AUTH", "guess-3", SECRET],
                          ["HELLO", "3", "AUTH", "default", "guess-4"]):
                assert intruder.call(*words).startswith(b"WRONGPASS"), words
            # These are not password guesses.
            assert intruder.call("PING").startswith(b"NOAUTH")
            assert intruder.call("AUTH", "a", "b", "c") == b"ERR syntax error"
        assert count(wire, "acl_access_denied_auth") == 4
        (line,) = lines(server, "authentication failed")
        assert " warning " in line and f"addr={who}" in line
        log = server.settled_log()
        assert "guess" not in log and SECRET not in log
        wire.ok("AUTH", SECRET)
        assert count(wire, "acl_access_denied_auth") == 4
        wire.ok("CONFIG", "RESETSTAT")
        assert count(wire, "acl_access_denied_auth") == 0


def test_a_wrong_password_inside_exec(start):
    with start(password=SECRET).connect() as wire:
        replies = wire.calls("MULTI", "AUTH guess", "EXEC")
        assert replies[2][0].startswith(b"WRONGPASS") and count(wire, "acl_access_denied_auth") == 1


def test_auth_without_a_password_is_not_counted(wire):
    before = count(wire, "acl_access_denied_auth")
    assert wire.call("AUTH", "x").startswith(b"ERR AUTH <password> called without")
    assert count(wire, "acl_access_denied_auth") == before


def test_rejected_by_maxclients(start):
    server = start("--maxclients", "3")
    held = [server.connect()]
    # The connection that checked whether the server is ready counts until its loop has noticed its end.
    eventually(lambda: info(held[0], "clients")["connected_clients"] == "1", "no other client is connected")
    held += [server.connect() for _ in range(2)]
    for wire in held:
        assert wire.call("PING") == b"PONG"
    for _ in range(5):
        with Wire(server.address) as turned_away:
            assert turned_away.until_closed() == b"-ERR max number of clients reached\r\n"
    assert count(held[0], "rejected_connections") == 5
    # Makes room for the connection that checks whether the log is written.
    held.pop().close()
    eventually(lambda: info(held[0], "clients")["connected_clients"] == "2", "a connection is free")
    (line,) = lines(server, "maxclients reached")
    assert re.search(r"addr=127\.0\.0\.1:\d+", line)
    for wire in held:
        wire.close()


def own_address():
    """An address of this machine other than loopback; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


def test_protected_mode(start):
    host = own_address()
    if host is None or host.startswith("127."):
        pytest.skip("this machine has only loopback addresses")
    server = start("--bind", "*")
    for _ in range(3):
        with Wire((host, server.port)) as turned_away:
            assert turned_away.until_closed().startswith(b"-DENIED")
    (line,) = lines(server, "protected-mode is on")
    assert f"addr={host}:" in line
    with server.connect() as wire:
        eventually(lambda: count(wire, "rejected_connections") == 3, "they are counted")
