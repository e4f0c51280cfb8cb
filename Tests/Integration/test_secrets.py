"""Passwords: nothing that another client, an operator or a log file sees contains them, however they were entered."""

import socket

import pytest

from replication import nodes  # noqa: F401 (a fixture)
from durable import launch  # noqa: F401 (a fixture)
from server import run_to_end
from wire import ErrorReply, eventually

SECRET = "correct-horse"
SECRET_SETTINGS = ("requirepass", "masterauth", "masteruser")


@pytest.fixture
def watched(start):
    """A server that logs everything in the slow log, and a connection to it."""
    server = start("--slowlog-log-slower-than", "0", "--slowlog-max-len", "1000")
    with server.connect() as wire:
        wire.ok("SLOWLOG", "RESET")
        yield server, wire


def slow_entries(wire):
    """The arguments of each slow log entry, the oldest first."""
    return [entry[3] for entry in reversed(wire.call("SLOWLOG", "GET", -1))]


def expect_hidden(server, wire):
    everything = str(wire.call("SLOWLOG", "GET", -1)) + server.settled_log()
    for line in everything.splitlines():
        assert SECRET not in line, line


@pytest.mark.parametrize("setting", SECRET_SETTINGS)
def test_config_set_in_the_slow_log(watched, setting):
    server, wire = watched
    name = setting.title()
    wire.ok("CONFIG", "SET", "hz", "20", name, SECRET, "slowlog-max-len", "900")
    assert slow_entries(wire)[-1] == [
        b"CONFIG", b"SET", b"hz", b"20", name.encode(), b"(redacted)", b"slowlog-max-len", b"900"]
    assert wire.call("CONFIG", "GET", setting) == [setting.encode(), SECRET.encode()], "shown there, as in Redis"
    wire.ok("CONFIG", "SET", setting, "")
    expect_hidden(server, wire)


def test_config_set_that_fails(watched):
    server, wire = watched
    for words in (["requirepass", "my", SECRET], ["requirepas", SECRET], ["requirepass", SECRET, "hz", "many"],
                  ["hz", "requirepass", SECRET], ["requirepass", SECRET, "REQUIREPASS", SECRET]):
        reply = wire.call("CONFIG", "SET", *words)
        assert isinstance(reply, ErrorReply) and SECRET.encode() not in reply, reply
        assert b"(redacted)" in slow_entries(wire)[-1], words
    expect_hidden(server, wire)


def test_inside_exec(watched):
    server, wire = watched
    replies = wire.calls("MULTI", f"CONFIG SET masterauth {SECRET}", f"AUTH default {SECRET}", "EXEC")
    assert replies[:3] == [b"OK", b"QUEUED", b"QUEUED"] and replies[3] == [b"OK", b"OK"]
    assert [b"CONFIG", b"SET", b"masterauth", b"(redacted)"] in slow_entries(wire)
    assert [b"AUTH", b"(redacted)", b"(redacted)"] in slow_entries(wire)
    expect_hidden(server, wire)


def test_command_getkeys(watched):
    """The arguments of COMMAND GETKEYS are complete requests."""
    server, wire = watched
    with server.connect() as monitor:
        monitor.ok("MONITOR")
        for words in (["AUTH", "default", SECRET], ["HELLO", "3", "AUTH", "default", SECRET], ["AUHT", SECRET],
                      ["CONFIG", "SET", "requirepass", SECRET], ["COMMAND", "GETKEYS", "AUTH", SECRET]):
            wire.call("COMMAND", "GETKEYS", *words)
        wire.call("HELLO", "2", "AUTH", "default", SECRET)
        wire.call("ECHO", "last")
        seen = []
        while not seen or b'"last"' not in seen[-1]:
            seen.append(monitor.read())
    assert SECRET.encode() not in b"\n".join(seen), seen
    expect_hidden(server, wire)


def test_a_mistyped_auth_is_not_repeated(start):
    """Client libraries put error texts into exceptions, which end up in logs."""
    server = start(password=SECRET)
    with server.connect(authenticate=False) as stranger:
        for words in (["AUHT", SECRET], ["PASSWORD", SECRET], ["HELO", "3", "AUTH", "default", SECRET]):
            reply = stranger.call(*words)
            assert reply == b"ERR unknown command '%s', with args beginning with: " % words[0].encode()
    with server.connect() as wire:
        for name in ("AUHT", "auth2", "ATH", "hallo"):
            assert wire.call(name, SECRET) == b"ERR unknown command '%s', with args beginning with: " % name.encode()
        assert wire.call("NOSUCH", "a", "b") == (
            b"ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "), "as in Redis"
        assert SECRET.encode() not in wire.call("INFO", "everything") + wire.call("CLIENT", "LIST")
    assert SECRET not in server.settled_log()


def test_a_primary_that_repeats_passwords(nodes):
    """A node that does not know AUTH repeats its arguments in the reply; the replica's log omits them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        replica = nodes("b", "--masteruser", "someone", "--masterauth", SECRET, of=listener.getsockname()[1])
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            assert b"PING" in connection.recv(1000)
            connection.sendall(b"+PONG\r\n")
            asked = connection.recv(1000)
            assert b"AUTH" in asked and SECRET.encode() in asked
            connection.sendall(b"-ERR unknown command 'AUTH', with args beginning with: 'someone' '%s' \r\n"
                               % SECRET.encode())
            eventually(lambda: "in answer to AUTH" in replica.log(), "the log has the refusal", seconds=20)
    log = replica.settled_log()
    assert SECRET not in log and "someone" not in log
    with replica.connect() as wire:
        assert SECRET.encode() not in wire.call("INFO", "everything")
    replica.kill()


@pytest.mark.parametrize("setting", SECRET_SETTINGS)
def test_the_error_at_startup_hides_passwords(tmp_path, setting):
    for words in ([f"--{setting}", SECRET, "more"], [f"--{setting}={SECRET * 100}"]):
        status, output = run_to_end("--dir", tmp_path / "data", *words, cwd=tmp_path)
        assert status == 1 and setting in output and SECRET not in output, output
    file = tmp_path / "some.conf"
    file.write_text(f"{setting} {SECRET} more\n")
    status, output = run_to_end(file, "--dir", tmp_path / "data", cwd=tmp_path)
    assert status == 1 and setting in output and SECRET not in output, output
