"""Policies and rules while they change, by command and from a file."""

import signal

from gated_files import Gate
from ports import free_port
from server import run_to_end
from wire import ErrorReply, eventually


def test_a_policy_changes_at_run_time(clean):
    wire = clean
    wire.ok(*"RL.POLICY SET tier LIMIT 10 PER 1h ALGO fixed-window".split())
    assert wire.call(*"RL.TAKE k POLICY tier COST 8".split())[:4] == [1, 8, 10, 2]
    wire.ok(*"RL.POLICY SET tier LIMIT 5 PER 1h ALGO fixed-window".split())
    assert wire.call(*"RL.TAKE k POLICY tier".split())[:4] == [0, 0, 5, 0], "lowering a limit returns no units"
    wire.ok(*"RL.POLICY SET tier LIMIT 20 PER 1h ALGO fixed-window".split())
    assert wire.call(*"RL.TAKE k POLICY tier".split())[:4] == [1, 1, 20, 11], "raising a limit forgets nothing"
    wire.ok(*"RL.POLICY SET tier LIMIT 20 PER 1h ALGO gcra".split())
    assert wire.call(*"RL.TAKE k POLICY tier".split())[:4] == [1, 1, 20, 10], "changing the algorithm forgets nothing"
    assert wire.call("TYPE", "k") == b"gcra"


def test_shadow_and_off(clean):
    wire = clean
    wire.ok(*"RL.POLICY SET p LIMIT 1 PER 1h MODE shadow".split())
    first, second = wire.calls("RL.TAKE k POLICY p", "RL.TAKE k POLICY p")
    assert first[:4] == [1, 1, 1, 0] and len(first) == 6
    assert second[:4] == [1, 1, 1, 0] and second[6] == b"shadow"
    wire.ok(*"RL.POLICY SET p LIMIT 1 PER 1h MODE off".split())
    assert wire.calls("RL.TAKE k POLICY p", "RL.TAKE new POLICY p COST 99", "EXISTS new") == [
        [1, 1, 1, 1, -1, 0], [1, 99, 1, 1, -1, 0], 0]
    wire.ok(*"RL.POLICY SET blocked LIMIT 0 PER 1h".split())
    assert wire.call(*"RL.TAKE x POLICY blocked".split())[:5] == [0, 0, 0, 0, -1]
    assert b"limiter_shadowed:" in wire.call("INFO", "limiter")


def test_the_most_specific_rule_wins(clean):
    wire = clean
    subjects = {"* * *": "global default", "* * login": "global action", "acme * *": "tenant",
                "acme * login": "tenant+action", "acme bob *": "client", "acme bob login": "client+action"}
    assert wire.call("RL.RULE", "RESOLVE", "acme", "bob", "login") is None
    assert wire.call("RL.CHECK", "acme", "bob", "login").startswith(b"NORULE ")
    for number, (subject, level) in enumerate(subjects.items()):
        wire.ok("RL.POLICY", "SET", f"p{number}", "LIMIT", number + 10, "PER", "1h")
        wire.ok("RL.RULE", "SET", *subject.split(), "POLICY", f"p{number}")
        found = wire.call("RL.RULE", "RESOLVE", "acme", "bob", "login")
        assert found[1:6:2] == [w.encode() for w in subject.split()] and found[-1] == level.encode()
        assert wire.call("RL.CHECK", "acme", "bob", "login")[2] == number + 10
    assert len(wire.call("RL.RULE", "LIST")) == 6
    reply = wire.call("RL.POLICY", "DEL", "p0")
    assert isinstance(reply, ErrorReply) and b"* * *" in reply
    assert wire.calls("RL.RULE DEL acme bob login", "RL.RULE DEL acme bob login") == [1, 0]
    assert wire.call(*"RL.RULE GET acme bob login".split()) is None
    assert wire.call(*"RL.RULE GET acme bob *".split())[7] == b"p4"
    assert wire.call(*"RL.RULE SET a b c POLICY nosuch".split()) == b"ERR there is no policy 'nosuch'"


def test_tenants_share_nothing_whatever_their_names(clean):
    wire = clean
    wire.ok(*"RL.POLICY SET one LIMIT 1 PER 1h".split())
    wire.ok(*"RL.RULE SET * * * POLICY one".split())
    names = [b"", b"*", b"a", b"ab", b"a b", b"\0", b"\0C", b"a\0", b"\xff\xfe", b"a:b", b"x" * 200]
    subjects = [(t, c, a) for t in names for c in names for a in names]
    for subject in subjects:
        assert wire.call("RL.CHECK", *subject)[0] == 1, subject
    assert wire.call("DBSIZE") == len(subjects)
    assert all(wire.call("RL.CHECK", *subject)[0] == 0 for subject in subjects)


def test_policies_outlive_flushall(clean):
    wire = clean
    wire.ok(*"RL.POLICY SET p LIMIT 1 PER 1h".split())
    wire.ok("FLUSHALL")
    assert wire.call("RL.POLICY", "GET", "p")[1] == b"p"


def test_changing_the_algorithm_locks_no_client_out(clean):
    """The wait given in the first refusal is sufficient, although the previous day's window continues."""
    wire = clean
    for line in ["RL.POLICY SET free ALGO fixed-window LIMIT 1000 PER 1d",
                 "RL.POLICY SET pro ALGO token-bucket LIMIT 100 PER 1s", "RL.RULE SET * * * POLICY free"]:
        wire.ok(*line.split())
    assert wire.call(*"RL.CHECK api u any COST 500".split())[:2] == [1, 500]
    wire.ok(*"RL.RULE SET api u * POLICY pro".split())
    first = wire.call(*"RL.CHECK api u any".split())
    assert first[0] == 0 and 0 < first[4] <= 10
    eventually(lambda: wire.call(*"RL.CHECK api u any".split())[0] == 1, "a unit is replenished")


# The rules file

RULES = "policy free LIMIT 5 PER 1h\npolicy pro LIMIT 50 PER 1h\nrule * * * POLICY free\nrule acme * * POLICY pro\n"


def policies(wire):
    return {p[1]: (p[5], p[15]) for p in wire.call("RL.POLICY", "LIST")}


def test_the_rules_file(start, tmp_path):
    path = tmp_path / "rules.conf"
    path.write_text(RULES)
    server = start("--rules-file", path)
    with server.connect() as wire:
        assert policies(wire) == {b"free": (5, b"file"), b"pro": (50, b"file")}
        assert wire.call(*"RL.CHECK acme c a".split())[2] == 50 and wire.call(*"RL.CHECK other c a".split())[2] == 5
        wire.ok(*"RL.POLICY SET mine LIMIT 7 PER 1h".split())
        wire.ok(*"RL.RULE SET mine * * POLICY mine".split())
        path.write_text("policy free LIMIT 6 PER 1h\nrule * * * POLICY free\n")
        assert wire.call("RL.RULE", "RELOAD")[:4] == [b"policies", 1, b"rules", 1]
        assert policies(wire) == {b"free": (6, b"file"), b"mine": (7, b"command")}
        assert [r[9] for r in wire.call("RL.RULE", "LIST")] == [b"file", b"command"]
        path.write_text("policy free LIMIT 8 PER 1h\n# fine so far\npolicy worse LIMIT 1 PER never\n")
        reply = wire.call("RL.RULE", "RELOAD")
        assert reply.startswith(f"ERR {path}:3: PER ".encode())
        assert policies(wire)[b"free"] == (6, b"file"), "all or nothing"
        path.write_text("policy other LIMIT 8 PER 1h\nrule * * * POLICY nosuch\n")
        assert wire.call("RL.RULE", "RELOAD") == f"ERR {path}:2: there is no policy 'nosuch'".encode()
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "rules file rejected" in server.log(), "the complaint in the log")
        path.write_text("policy free LIMIT 9 PER 1h\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: policies(wire)[b"free"] == (9, b"file"), "the file is reloaded")
        assert wire.call(*"RL.RULE SET * * * POLICY free".split()) == b"OK"
        path.write_text("")
        assert wire.call("RL.RULE", "RELOAD")[:8] == [b"policies", 0, b"rules", 0, b"applied", 0, b"kept", 1]
        reply = wire.call("RL.RULE", "RELOAD", "FORCE")
        assert reply.startswith(b"ERR ") and b"in use" in reply and b"* * *" in reply


def test_a_reload_blocks_no_client(start, tmp_path, monkeypatch):
    """SIGHUP triggers the reading of a large file while connections are still accepted; a signal in the meantime also
    counts. The test controls when the file is opened."""
    path = tmp_path / "rules.conf"
    rules = "".join(f"rule tenant-{number} * * POLICY p\n" for number in range(60_000))
    path.write_text("policy p LIMIT 1 PER 1h\n" + rules)
    gate = Gate(tmp_path, monkeypatch, path)
    server = start("--rules-file", path)

    def connects():
        # None would be accepted if the thread that accepts also did the reading.
        for _ in range(20):
            with server.connect() as other:
                assert other.call("PING") == b"PONG"

    with server.connect() as wire:
        read_before = server.settled_log().count("rules file loaded")
        gate.close()
        path.write_text("policy p LIMIT 2 PER 1h\n" + rules)
        server.process.send_signal(signal.SIGHUP)
        eventually(gate.is_reached, "the server reads the file")
        connects()
        # The file is read again afterwards, without another signal.
        server.process.send_signal(signal.SIGHUP)
        connects()
        gate.open()
        eventually(lambda: policies(wire)[b"p"] == (2, b"file"), "it has been read")
        eventually(lambda: server.log().count("rules file loaded") == read_before + 2, "it has been read once more")


def test_a_start_with_a_bad_rules_file_fails(tmp_path):
    path = tmp_path / "rules.conf"
    for text, error in [("policy x", ":1: LIMIT is missing"), ("rule a b c POLICY x", ":1: there is no policy 'x'")]:
        path.write_text(text)
        status, output = run_to_end("--port", free_port(), "--dir", tmp_path / "d", "--rules-file", path, cwd=tmp_path)
        assert status == 1 and f"rules-file: {path}{error}" in output, output
