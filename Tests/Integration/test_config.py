"""Settings: the file, the flags that override it, CONFIG GET / SET / REWRITE, and the errors for bad values."""

import time

import pytest

from server import run_to_end
from test_introspection import info
from wire import ErrorReply, MapReply, WireError, eventually


def setting(connection, name):
    reply = connection.call("CONFIG", "GET", name)
    assert len(reply) == 2 and reply[0] == name.encode(), reply
    return reply[1].decode()


def test_file_and_flags(start, tmp_path):
    file = tmp_path / "escapement.conf"
    file.write_text('# mine\ntimeout 33\nmaxclients 77\nloglevel "warning"\n')
    server = start("--maxclients", "88", config=file)
    with server.connect() as wire:
        assert setting(wire, "timeout") == "33"
        assert setting(wire, "maxclients") == "88"
        assert setting(wire, "loglevel") == "warning"
        assert setting(wire, "port") == str(server.port)


def test_get_by_globs(wire):
    names = wire.call("CONFIG", "GET", "*")[::2]
    assert len(names) == len(set(names)) > 20
    reply = wire.call("CONFIG", "GET", "slowlog-*", "MAXCLIENTS", "nosuch", "max*")
    assert len(reply[::2]) == len(set(reply[::2]))
    assert {b"slowlog-log-slower-than", b"slowlog-max-len", b"maxclients", b"maxmemory"} <= set(reply[::2])
    wire.hello3()
    assert isinstance(wire.call("CONFIG", "GET", "timeout"), MapReply)


def test_settings_that_tools_read(wire):
    """Names that monitors, redis-benchmark and libraries read: each must exist and have the type that they parse."""
    for name in ("save", "appendonly", "maxclients", "maxmemory", "maxmemory-policy", "databases", "timeout",
                 "replica-read-only", "slave-read-only", "slowlog-max-len", "slowlog-log-slower-than",
                 "min-replicas-to-write", "min-replicas-max-lag", "repl-backlog-size"):
        setting(wire, name)
    for name in ("databases", "maxclients", "maxmemory", "timeout", "slowlog-max-len"):
        int(setting(wire, name))


def test_set_takes_effect_at_once(server, wire):
    try:
        wire.ok("CONFIG", "SET", "timeout", "100", "slowlog-max-len", "7")
        with server.connect() as other:
            assert (setting(other, "timeout"), setting(other, "slowlog-max-len")) == ("100", "7")
        wire.ok("CONFIG", "SET", "maxmemory", "100mb")
        assert setting(wire, "maxmemory") == str(100 << 20)
    finally:
        wire.ok("CONFIG", "SET", "timeout", "0", "slowlog-max-len", "128", "maxmemory", "0")


@pytest.mark.parametrize(
    "pairs, begin",
    [
        (["timeout", "abc"], b"ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be "
                             b"parsed into an integer"),
        (["timeout", "-1"], b"ERR CONFIG SET failed (possibly related to argument 'timeout') - argument must be "),
        (["maxclients", "0"], b"ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be "),
        (["loglevel", "loud"], b"ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument"),
        (["port", "1"], b"ERR CONFIG SET failed (possibly related to argument 'port')"),
        (["timeout", "1", "nosuch", "2"], b"ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
        (["timeout"], b"ERR wrong number of arguments for 'config|set' command"),
        (["timeout", "1", "timeout", "2"],
         b"ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter"),
    ])
@pytest.mark.parametrize("target", ["server", "reference"])
def test_set_refuses(request, target, pairs, begin):
    if (target, pairs[0]) == ("reference", "port"):
        pytest.skip("Redis can change its port at run time; here the port is fixed at startup")
    with request.getfixturevalue(target).connect() as connection:
        before = connection.call("CONFIG", "GET", "timeout")
        reply = connection.call("CONFIG", "SET", *pairs)
        assert isinstance(reply, ErrorReply) and reply.startswith(begin), reply
        assert connection.call("CONFIG", "GET", "timeout") == before, "a refused SET changes nothing"


def test_rewrite_keeps_comments(start, tmp_path):
    file = tmp_path / "escapement.conf"
    text = "# first comment\n\ntimeout 5   \n# about logs\nLogLevel   notice\n\n# the end\n"
    file.write_text(text)
    server = start(config=file)
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "timeout", "6", "slowlog-max-len", "9")
        wire.ok("CONFIG", "REWRITE")
        new = file.read_text()
        for line in ("# first comment", "# about logs", "LogLevel   notice", "# the end"):
            assert line in new.split("\n"), new
        assert "timeout 6" in new and "timeout 5" not in new
        wire.ok("CONFIG", "REWRITE")
        assert file.read_text() == new, "a second rewrite changes nothing"
    server.stop()
    again = start(config=file)
    with again.connect() as wire:
        assert (setting(wire, "timeout"), setting(wire, "slowlog-max-len")) == ("6", "9")


def test_rewrite_without_a_file(wire):
    assert wire.call("CONFIG", "REWRITE") == b"ERR The server is running without a config file"


def test_resetstat(server, wire):
    wire.calls("FOO", "PING", "CL.THROTTLE k 0 1 1000", "CL.THROTTLE k 0 1 1000")
    wire.ok("CONFIG", "RESETSTAT")
    fields = info(wire, "stats")
    assert int(fields["total_commands_processed"]) < 5
    assert info(wire, "errorstats") == {}


@pytest.mark.parametrize(
    "name, value",
    [("port", "abc"), ("port", "65536"), ("port", "-1"), ("maxclients", "0"), ("timeout", "1.5"), ("io-threads", "999"),
     ("loglevel", "loud"), ("log-format", "xml"), ("maxmemory", "12parsecs"), ("maxmemory-policy", "magic"),
     ("protected-mode", "perhaps"), ("shards", "3"), ("appendfsync", "sometimes"),
     ("client-output-buffer-limit", "nobody 1 1 1")])
@pytest.mark.parametrize("place", ["flag", "file"])
def test_bad_values_prevent_the_start(tmp_path, name, value, place):
    if place == "flag":
        arguments = [f"--{name}", *value.split()]
    else:
        (tmp_path / "bad.conf").write_text(f"# one\ntimeout 1\n{name} {value}\n")
        arguments = ["bad.conf"]
    status, output = run_to_end(*arguments, cwd=tmp_path)
    assert status == 1, output
    lines = output.strip().splitlines()
    assert len(lines) == 1, output
    assert name in lines[0] and value.split()[0] in lines[0], output
    told = lines[0].partition(value.split()[0])[2]
    assert any(word in told for word in ("allowed", "from", "one of")), f"must say what is allowed: {output}"
    if place == "file":
        assert "bad.conf" in lines[0] and "3" in lines[0], f"must say where: {output}"


def test_unknown_names_prevent_the_start(tmp_path):
    status, output = run_to_end("--nosuch", "1", cwd=tmp_path)
    assert status == 1 and "nosuch" in output and len(output.strip().splitlines()) == 1, output
    (tmp_path / "bad.conf").write_text("timeout 1\nnosuch 1\n")
    status, output = run_to_end("bad.conf", cwd=tmp_path)
    assert status == 1 and all(part in output for part in ("nosuch", "bad.conf", "2")), output


def test_missing_file_prevents_the_start(tmp_path):
    status, output = run_to_end("absent.conf", cwd=tmp_path)
    assert status == 1 and "absent.conf" in output and len(output.strip().splitlines()) == 1, output


def test_the_shipped_file_is_accepted(start, tmp_path):
    """--print-config prints the file that documents every setting; the server starts from it unchanged."""
    status, text = run_to_end("--print-config", cwd=tmp_path)
    assert status == 0, text
    file = tmp_path / "escapement.conf"
    file.write_text(text)
    server = start(config=file)
    with server.connect() as wire:
        listed = {name.decode() for name in wire.call("CONFIG", "GET", "*")[::2]}
        undocumented = {name for name in listed if f"{name} " not in text and not name.startswith("slave")
                        and not name.startswith("min-slaves-")}
        assert not undocumented


def test_help_and_version(tmp_path):
    for flag in ("--help", "--version"):
        status, output = run_to_end(flag, cwd=tmp_path)
        assert status == 0 and "escapement" in output.lower(), output


def test_password_set_at_run_time(start):
    server = start()
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "requirepass", "hunter2-word")
        assert wire.call("PING") == b"PONG", "connected clients stay authenticated"
        with server.connect(authenticate=False) as other:
            assert other.call("PING") == b"NOAUTH Authentication required."
            assert other.call("AUTH", "hunter2-word") == b"OK"
        wire.ok("CONFIG", "SET", "requirepass", "")
        with server.connect(authenticate=False) as other:
            assert other.call("PING") == b"PONG"
    assert "hunter2-word" not in server.settled_log()


def test_bulk_limit_is_a_setting(start):
    server = start("--proto-max-bulk-len", "4kb")
    with server.connect() as wire:
        assert wire.call("ECHO", "x" * 4096) == b"x" * 4096
        assert wire.call("ECHO", "x" * 4097) == b"ERR Protocol error: invalid bulk length"
        wire.until_closed()


def is_listed(server, name):
    """Uses a separate connection, which is never idle for a second however slow the test is."""
    with server.connect() as wire:
        return b"name=" + name in wire.call("CLIENT", "LIST")


def test_idle_clients_are_closed_after_timeout(start):
    server = start("--timeout", "1")
    with server.connect() as idle:
        idle.call("CLIENT", "SETNAME", "idle")
        eventually(lambda: not is_listed(server, b"idle"), "the idle client is closed")
        idle.expect_closed()


def test_busy_clients_are_not_closed(start):
    server = start("--timeout", "1")
    busy = server.connect()
    began = spoke = time.monotonic()
    # Longer than the timeout.
    while time.monotonic() - began < 2.5:
        try:
            assert busy.call("PING") == b"PONG"
        except (OSError, WireError):
            # The test itself was too slow, so it starts over.
            assert time.monotonic() - spoke >= 1, "closed although it was not idle"
            busy, began = server.connect(), time.monotonic()
        spoke = time.monotonic()
        time.sleep(0.05)  # paces the calls
    busy.close()


def test_subscribers_are_not_idle(start):
    server = start("--timeout", "1")
    with server.connect() as subscriber, server.connect() as idle:
        subscriber.call("SUBSCRIBE", "ch")
        idle.call("CLIENT", "SETNAME", "idle")
        eventually(lambda: not is_listed(server, b"idle"), "the idle client is closed")
        with server.connect() as wire:
            assert wire.call("PUBLISH", "ch", "x") == 1
