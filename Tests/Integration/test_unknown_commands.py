"""Calls that need what this server lacks are counted by name and logged: a caller that treats the error as permission
would otherwise admit everything, unnoticed.
"""

from durable import info
from test_introspection import info_sections

CAP = 128


def counts(wire):
    """The section, without the calls by name."""
    found = info(wire, "unknowncommands")
    names = {name[len("unknowncmd_"):]: found.pop(name) for name in list(found) if name.startswith("unknowncmd_")}
    assert all(value.startswith("calls=") for value in names.values()), names
    return {name: int(value[len("calls="):]) for name, value in names.items()}, {
        name: int(value) for name, value in found.items()}


def test_counted_and_logged_once(start):
    server = start("--io-threads", "2")
    with server.connect() as wire, server.connect() as other:
        assert counts(wire) == ({}, {
            "unknown_commands_calls": 0, "unknown_commands_names": 0, "unknown_commands_other_calls": 0})
        wire.ok("CLIENT", "SETINFO", "LIB-NAME", "redis-py")
        wire.ok("CLIENT", "SETINFO", "LIB-VER", "5.0.1")
        wire.ok("CLIENT", "SETNAME", "gateway")
        for _ in range(3):
            assert wire.call("LPUSH", "x", 0) == b"ERR unknown command 'LPUSH', with args beginning with: 'x' '0' "
        assert other.call("lpUSH").startswith(b"ERR unknown command")
        assert other.call("CLIENT", "FOO").startswith(b"ERR unknown subcommand 'FOO'")
        # Neither a wrong number of arguments nor a bad argument makes a command unknown.
        assert other.call("CONFIG", "GET").startswith(b"ERR wrong number") and other.call("GET").startswith(b"ERR wrong")
        assert counts(wire) == ({"lpush": 4, "client|foo": 1}, {
            "unknown_commands_calls": 5, "unknown_commands_names": 2, "unknown_commands_other_calls": 0})
        # Also in the default sections, and in MULTI.
        assert "Unknowncommands" in info_sections(wire.call("INFO").decode())
        wire.calls("MULTI", "HGETALL h", "EXEC")
        assert counts(wire)[0]["hgetall"] == 1
        port = wire.socket.getsockname()[1]
    lines = [line for line in server.settled_log().splitlines() if "unknown command" in line]
    assert len(lines) == 3 and all("warning" in line for line in lines)
    assert f"command=lpush addr=127.0.0.1:{port} name=gateway lib_name=redis-py lib_ver=5.0.1" in lines[0]
    assert "see=docs/libraries.md" in lines[0]
    assert "command=client|foo" in lines[1] and "command=hgetall" in lines[2]


def test_what_clients_only_ask_for_is_not_counted(start):
    server = start()
    with server.connect() as wire:
        assert wire.call("CLIENT", "MAINT_NOTIFICATIONS", "ON").startswith(b"ERR unknown subcommand")
        assert counts(wire)[1]["unknown_commands_calls"] == 0
    assert "unknown command" not in server.settled_log()


def test_values_that_are_not_integers(start):
    """Callers that store objects here fail open just as those of an unknown command do."""
    server = start()
    with server.connect() as wire:
        error = b"ERR value is not an integer or out of range: this server stores only 64-bit integers"
        for request in ("SET k text", "SETEX k 10 a:1:{}", "SETNX k 1.5", "GETSET k x", "psetex k 10 x"):
            assert wire.call(*request.split()) == error
        assert wire.call("MSET", "a", 1, "b", "x") == error + b" (pair 2)"
        assert wire.calls("MULTI", "SET k text", "EXEC")[-1][0] == error
        assert wire.calls("EXISTS k a b", "SET k 7") == [0, b"OK"]
        # Only the value counts: a wrong time-out or option is an error in any server.
        assert wire.call("SETEX", "k", "x", 1).startswith(b"ERR") and wire.call("SET", "k", 1, "EX", "x").startswith(b"ERR")
        names = {"set": 2, "setex": 1, "setnx": 1, "getset": 1, "psetex": 1, "mset": 1}
        assert counts(wire)[0] == {f"{name}|value-not-an-integer": count for name, count in names.items()}
    lines = [line for line in server.settled_log().splitlines() if "refused value" in line]
    assert len(lines) == len(names) and "command=set|value-not-an-integer" in lines[0]


def test_resetstat(start):
    server = start()
    with server.connect() as wire:
        wire.call("HGETALL", "h")
        wire.ok("CONFIG", "RESETSTAT")
        assert counts(wire)[0] == {} and counts(wire)[1]["unknown_commands_calls"] == 0
        wire.call("HGETALL", "h")
        assert counts(wire)[0] == {"hgetall": 1}
    assert server.settled_log().count("unknown command") == 1, "logged once in a server's life"


def test_hostile_names(start):
    """A name can neither begin a line nor look like a value; long ones are truncated."""
    server = start()
    with server.connect() as wire:
        names = [b"a:b", b"x\r\nrole:master", b"calls=7,y", b"%41", b"\x00\xff", b"", b"n" * 48, b"n" * 49, b"n" * 100_000,
                 "größe".encode(), b"JSON.GET", b"~"]
        for name in names:
            assert wire.call(name).startswith(b"ERR unknown command")
        wire.call("CLIENT", b"z\n|" + b"s" * 100)
        found, sums = counts(wire)
        assert found == {
            "a%3Ab": 1, "x%0D%0Arole%3Amaster": 1, "calls%3D7%2Cy": 1, "%2541": 1, "%00%FF": 1, "": 1, "n" * 48: 1,
            "n" * 48 + "~": 2, "gr%C3%B6%C3%9Fe": 1, "json.get": 1, "%7E": 1, "client|z%0A%7C" + "s" * 45 + "~": 1}
        assert sums["unknown_commands_calls"] == 13
        # One line each.
        text = wire.call("INFO", "unknowncommands").decode()
        assert len(text.split("\r\n")) == 1 + 3 + len(found) + 1 and "role:master" not in text
    lines = [line for line in server.settled_log().splitlines() if "unknown command" in line]
    assert len(lines) == len(found) and max(map(len, lines)) < 500


def test_the_number_of_names_is_bounded(start):
    server = start()
    with server.connect() as wire:
        for number in range(CAP + 20):
            wire.call(f"CMD{number}")
        wire.call("CMD3")
        found, sums = counts(wire)
        assert len(found) == CAP and found["cmd3"] == 2
        assert sums == {"unknown_commands_calls": CAP + 21, "unknown_commands_names": CAP,
                        "unknown_commands_other_calls": 20}
        # Names counted again after a reset are not logged again.
        wire.ok("CONFIG", "RESETSTAT")
        for number in range(CAP, CAP + 20):
            wire.call(f"CMD{number}")
        assert len(counts(wire)[0]) == 20
    log = server.settled_log()
    assert log.count("unknown command: ") == CAP and log.count("further names are only counted") == 1


def test_unauthenticated_calls_are_not_named(start):
    """Before AUTH only the total counts: otherwise anyone who reaches the port could use up the names."""
    server = start(password="secret")
    with server.connect(authenticate=False) as stranger, server.connect() as wire:
        assert stranger.call("HGETALL", "h").startswith(b"ERR unknown command")
        assert stranger.call("CLIENT", "FOO").startswith(b"ERR unknown subcommand")
        assert counts(wire) == ({}, {
            "unknown_commands_calls": 2, "unknown_commands_names": 0, "unknown_commands_other_calls": 2})
        stranger.ok("AUTH", "secret")
        stranger.call("HGETALL", "h")
        assert counts(wire)[0] == {"hgetall": 1}
    assert server.settled_log().count("unknown command") == 1
