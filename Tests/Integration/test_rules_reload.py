"""The rules file and commands: a reload and a restart apply what has changed in the file and keep what commands have
changed. The log and the reply name every difference. A separate signal reopens only the log."""

import os
import signal

import pytest

from durable import launch
from replication import nodes
from wire import eventually

assert launch, nodes  # fixtures

RULES = """policy free LIMIT 60 PER 1m
policy pro LIMIT 600 PER 1m BURST 50
policy old LIMIT 1 PER 1m
rule * * * POLICY free
rule acme * * POLICY pro
rule robot * * POLICY old
"""


@pytest.fixture
def rules(tmp_path):
    """The rules file, with its initial contents."""
    path = tmp_path / "rules.conf"
    path.write_text(RULES)
    return path


def in_force(wire):
    """{name or subject: (limit or policy, source)}"""
    found = {p[1].decode(): (p[5], p[15].decode()) for p in wire.call("RL.POLICY", "LIST")}
    for rule in wire.call("RL.RULE", "LIST"):
        found[b" ".join(rule[1:6:2]).decode()] = (rule[7].decode(), rule[9].decode())
    return found


FROM_FILE = {"free": (60, "file"), "pro": (600, "file"), "old": (1, "file"), "* * *": ("free", "file"),
             "acme * *": ("pro", "file"), "robot * *": ("old", "file")}


def reload(wire, *words):
    reply = wire.call("RL.RULE", "RELOAD", *words)
    assert isinstance(reply, list), reply
    return dict(zip([name.decode() for name in reply[::2]], reply[1::2]))


def override(wire):
    """What an operator does in an emergency: lowers a limit, changes a rule, removes one, and creates one."""
    wire.ok(*"RL.POLICY SET free LIMIT 6".split())
    wire.ok(*"RL.RULE SET acme * * POLICY free".split())
    assert wire.call(*"RL.RULE DEL robot * *".split()) == 1
    wire.ok(*"RL.RULE SET evil * * POLICY old".split())


OVERRIDDEN = {"free": (6, "command"), "pro": (600, "file"), "old": (1, "file"), "* * *": ("free", "file"),
              "acme * *": ("free", "command"), "evil * *": ("old", "command")}


def lines(server, what):
    """The lines of the log that contain this."""
    return [line for line in server.log().split("\n")[:-1] if what in line]


def logged(server, what, number=1):
    """The line with this number among them, once it exists: a separate thread writes the lines."""
    return eventually(lambda: lines(server, what)[number - 1 : number], f"line {number} with {what!r}")[0]


def test_a_signal_keeps_emergency_limits(start, rules):
    server = start("--rules-file", rules)
    with server.connect() as wire:
        assert in_force(wire) == FROM_FILE
        override(wire)
        for night in (1, 2):
            server.process.send_signal(signal.SIGHUP)
            logged(server, "rules file loaded", night + 1)
            assert in_force(wire) == OVERRIDDEN
        log = server.log()
        assert log.count('notice  rules file: policy kept as set by a command  name=free in_force="LIMIT 6 PER 1m '
                         'BURST 6 ALGO gcra MODE enforce" file="LIMIT 60 PER 1m BURST 60 ALGO gcra MODE enforce"') == 2
        assert log.count('rules file: rule kept as set by a command  name="acme * *" in_force=free file=pro') == 2
        assert log.count('rules file: rule not restored: removed by a command  name="robot * *" in_force=none '
                         'file=old') == 2
        assert logged(server, "rules file loaded", 3).endswith("policies=3 rules=3 applied=0 kept=3")


def test_changes_of_the_file_take_effect(start, rules):
    server = start("--rules-file", rules)
    with server.connect() as wire:
        override(wire)
        # Changed: pro, which no command has changed, and free, which a command has changed. Dropped: the rule for
        # robot, which a command has removed, and old, which a rule created by a command uses.
        rules.write_text("policy free LIMIT 70 PER 1m\npolicy pro LIMIT 700 PER 1m BURST 50\n"
                         "policy new LIMIT 2 PER 1m\n"
                         "rule * * * POLICY free\nrule acme * * POLICY pro\nrule new * * POLICY new\n")
        server.process.send_signal(signal.SIGHUP)
        logged(server, "rules file loaded", 2)
        expected = OVERRIDDEN | {"pro": (700, "file"), "new": (2, "file"), "new * *": ("new", "file")}
        assert in_force(wire) == expected
        log = server.log()
        for line in ('notice  rules file: policy changed  name=pro before="LIMIT 600 PER 1m BURST 50 ALGO gcra MODE '
                     'enforce" after="LIMIT 700 PER 1m BURST 50 ALGO gcra MODE enforce"',
                     "notice  rules file: rule added  name=\"new * *\" before=none after=new",
                     "warning rules file: policy kept as set by a command  name=free ",
                     "warning rules file: policy kept, though dropped from the file: a command's rule uses it, "
                     "'evil * *'  name=old ",
                     "notice  rules file: rule kept as set by a command  name=\"acme * *\" "):
            assert line in log, line
        # The file now specifies the value in force, so from here on the entry follows the file.
        rules.write_text(rules.read_text().replace("LIMIT 70", "LIMIT 6"))
        reload(wire)
        assert in_force(wire)["free"] == (6, "file")
        rules.write_text(rules.read_text().replace("LIMIT 6 ", "LIMIT 8 "))
        assert reload(wire)["applied_names"] == [b"policy free"]
        assert in_force(wire)["free"] == (8, "file")


def test_the_reply_names_what_was_applied_and_what_was_kept(start, rules):
    server = start("--rules-file", rules)
    with server.connect() as wire:
        assert wire.call("RL.RULE", "RELOAD") == [
            b"policies", 3, b"rules", 3, b"applied", 0, b"kept", 0, b"applied_names", [], b"kept_names", []]
        override(wire)
        rules.write_text(RULES.replace("600", "700"))
        assert reload(wire) == {
            "policies": 3, "rules": 3, "applied": 1, "kept": 3, "applied_names": [b"policy pro"],
            "kept_names": [b"policy free", b"rule acme * *", b"rule robot * *"]}
        assert logged(server, "rules file loaded", 3).endswith(f"client=127.0.0.1:{wire.socket.getsockname()[1]}")
        for line in ("RL.RULE RELOAD NOW", "RL.RULE RELOAD FORCE x"):
            assert wire.call(*line.split()).startswith(b"ERR syntax error near '"), line
        with server.connect() as other:
            other.hello3()
            reply = other.call("RL.RULE", "RELOAD", "force")
        assert reply[b"applied"] == 3 and reply[b"kept"] == 0 and reply[b"kept_names"] == []
        # Entries that commands created and the file never named are kept.
        assert in_force(wire) == FROM_FILE | {"pro": (700, "file"), "evil * *": ("old", "command")}


def test_a_forced_reload_that_fails_changes_nothing(start, rules):
    server = start("--rules-file", rules)
    with server.connect() as wire:
        override(wire)
        rules.write_text("policy free LIMIT 60 PER 1m\n")
        reply = wire.call("RL.RULE", "RELOAD", "FORCE")
        assert reply.startswith(f"ERR {rules}: a policy dropped from the file is in use: ".encode())
        assert in_force(wire) == OVERRIDDEN


@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "killed"])
def test_a_restart_keeps_what_commands_have_done(launch, rules, crashes):
    flags = ("--rules-file", rules, "--appendfsync", "always")
    server = launch(*flags)
    with server.connect() as wire:
        override(wire)
    for _ in range(2):
        server.crash() if crashes else server.stop()
        server = launch(*flags)
        with server.connect() as wire:
            assert in_force(wire) == OVERRIDDEN
        assert logged(server, "rules file loaded").endswith("applied=0 kept=3")
    # While the server is down, the file changes an entry of its own and one that a command has changed.
    server.crash() if crashes else server.stop()
    rules.write_text(RULES.replace("600", "700").replace("LIMIT 60 ", "LIMIT 70 ") + "rule new * * POLICY pro\n")
    server = launch(*flags)
    with server.connect() as wire:
        expected = OVERRIDDEN | {"pro": (700, "file"), "new * *": ("pro", "file")}
        assert in_force(wire) == expected
        logged(server, "warning rules file: policy kept as set by a command  name=free ")
        logged(server, "rules file: policy changed  name=pro ")
        assert reload(wire, "FORCE")["applied"] == 3
    server.crash() if crashes else server.stop()
    server = launch(*flags)
    with server.connect() as wire:
        assert in_force(wire)["robot * *"] == ("old", "file") and in_force(wire)["free"] == (70, "file")


def test_a_directory_of_the_previous_version(launch, rules):
    """Without `rules-overridden`, as the previous version leaves it: changes by commands are still kept."""
    server = launch("--rules-file", rules)
    with server.connect() as wire:
        override(wire)
    server.stop()
    (server.directory / "rules-overridden").unlink()
    server = launch("--rules-file", rules)
    with server.connect() as wire:
        assert in_force(wire) == OVERRIDDEN | {"robot * *": ("old", "file")}


def test_a_server_without_a_state_takes_the_file(launch, rules):
    flags = ("--rules-file", rules, "--appendonly", "no", "--save", "")
    server = launch(*flags)
    with server.connect() as wire:
        override(wire)
    server.stop()
    assert (server.directory / "rules-overridden").exists()
    server = launch(*flags)
    with server.connect() as wire:
        assert in_force(wire) == FROM_FILE
    assert logged(server, "rules file loaded").endswith("policies=3 rules=3 applied=6 kept=0")
    # The whole file is new to it, so there are no differences to report.
    assert lines(server, "rules file:") == []


def test_lines_about_differences_are_bounded(start, rules):
    server = start("--rules-file", rules)
    with server.connect() as wire:
        rules.write_text(RULES + "".join(f"policy p{n} LIMIT 1 PER 1m\n" for n in range(120)))
        reply = reload(wire)
        assert reply["applied"] == 120 and len(reply["applied_names"]) == 50
        assert logged(server, "further differences").endswith("count=70")
        assert len(lines(server, "rules file: policy added")) == 50
        for n in range(120):
            wire.ok("RL.POLICY", "SET", f"p{n}", "LIMIT", 9)
        reply = reload(wire)
        assert reply["kept"] == 120 and len(reply["kept_names"]) == 50
        assert logged(server, "further differences", 2).endswith("count=70")
        assert len(lines(server, "rules file: policy kept")) == 50


def test_the_files_own_changes_come_first_in_the_list(start, rules):
    server = start("--rules-file", rules)
    with server.connect() as wire:
        policies = [f"policy p{n} LIMIT 1 PER 1m\n" for n in range(100)]
        rules.write_text("".join(policies))
        reload(wire)
        for n in range(100):
            wire.ok("RL.POLICY", "SET", f"p{n}", "LIMIT", 9)
        policies[99] = policies[99].replace("LIMIT 1", "LIMIT 2")
        rules.write_text("".join(policies))
        assert reload(wire)["kept_names"][0] == b"policy p99"


# Names, transactions, and a disk that does not work


def test_names_of_any_bytes_are_stored(launch, tmp_path):
    path = tmp_path / "rules.conf"
    names = [b"a b", b"\xff\xfe", b'"\\', b"#", b"x" * 512, b"'\n\r\t\0"]
    words = ['"' + "".join(f"\\x{byte:02x}" for byte in name) + '"' for name in names]
    path.write_text("policy p LIMIT 1 PER 1m\n" + "".join(f"rule {w} {w} {w} POLICY p\n" for w in words))
    server = launch("--rules-file", path)
    with server.connect() as wire:
        assert len(wire.call("RL.RULE", "LIST")) == len(names)
        for name in names:
            assert wire.call("RL.RULE", "DEL", name, name, name) == 1
    server.stop()
    server = launch("--rules-file", path)
    with server.connect() as wire:
        assert wire.call("RL.RULE", "LIST") == []
        assert reload(wire)["kept"] == len(names)
        reload(wire, "FORCE")
        assert sorted(rule[1] for rule in wire.call("RL.RULE", "LIST")) == sorted(names)


def test_in_a_transaction(launch, rules):
    # What EXEC has acknowledged is on disk.
    flags = ("--rules-file", rules, "--appendfsync", "always")
    server = launch(*flags)
    with server.connect() as wire:
        wire.calls("MULTI", "RL.RULE DEL robot * *", "SET n 7", "RL.POLICY SET free LIMIT 6", "GET n")
        assert wire.call("EXEC") == [1, b"OK", b"OK", b"7"]
        wire.calls("MULTI", "RL.RULE DEL acme * *", "RL.RULE DEL nosuch * *", "DISCARD")
        stored = (server.directory / "rules-overridden").read_text()
        assert stored.count("rule robot * * POLICY old\n") == 1 and "acme" not in stored
    server.crash()
    server = launch(*flags)
    with server.connect() as wire:
        assert in_force(wire).keys() & {"acme * *", "robot * *"} == {"acme * *"}


def test_an_override_that_cannot_be_stored(launch, rules):
    """The command is executed; the log says why a restart may undo it; the entry is stored later."""
    server = launch("--rules-file", rules)
    (server.directory / "rules-overridden").unlink(missing_ok=True)
    (server.directory / "rules-overridden" / "x").mkdir(parents=True)
    with server.connect() as wire:
        override(wire)
        logged(server, "cannot store overrides of the rules file made by commands")
        assert reload(wire)["kept"] == 3
        (server.directory / "rules-overridden" / "x").rmdir()
        (server.directory / "rules-overridden").rmdir()
        wire.ok(*"RL.POLICY SET pro LIMIT 1".split())
        assert in_force(wire).keys() == OVERRIDDEN.keys()
    server.stop()
    server = launch("--rules-file", rules)
    with server.connect() as wire:
        assert in_force(wire) == OVERRIDDEN | {"pro": (1, "command")}


def test_invalid_lines_are_skipped(launch, rules):
    server = launch("--rules-file", rules)
    with server.connect() as wire:
        override(wire)
    server.stop()
    stored = server.directory / "rules-overridden"
    stored.write_text(stored.read_text() + "rubbish\nrule acme * * POLICY p")
    server = launch("--rules-file", rules)
    with server.connect() as wire:
        assert in_force(wire) == OVERRIDDEN
    assert logged(server, "invalid lines in rules-overridden").endswith("lines=1")


def test_a_promoted_replica_keeps_changes_by_command(nodes, rules):
    """Sources are replicated with policies and rules: a change by command is kept wherever the file is read next."""
    primary = nodes("a", "--rules-file", rules)
    replica = nodes("b", "--rules-file", rules, of=primary)
    replica.wait_link()
    with primary.connect() as wire, replica.connect() as other:
        override(wire)
        eventually(lambda: in_force(other) == OVERRIDDEN, "everything has arrived")
        replica.lead()
        assert reload(other)["applied_names"] == [b"rule robot * *"]
        assert in_force(other) == OVERRIDDEN | {"robot * *": ("old", "file")}
        assert other.call(*"RL.RULE DEL robot * *".split()) == 1
        assert reload(other)["applied"] == 0 and in_force(other) == OVERRIDDEN


# The log alone


def test_a_signal_that_only_reopens_the_log(start, rules, tmp_path):
    log = tmp_path / "own.log"
    server = start("--rules-file", rules, "--logfile", log)
    with server.connect() as wire:
        rules.write_text(RULES.replace("600", "700"))
        os.rename(log, tmp_path / "old.log")
        server.process.send_signal(signal.SIGUSR1)
        eventually(lambda: log.exists() and "log file reopened" in log.read_text(), "the log is reopened")
        # A second signal, and then the other one: the first has read nothing, since this one still finds changes to
        # read.
        server.process.send_signal(signal.SIGUSR1)
        eventually(lambda: log.read_text().count("log file reopened") == 2, "the log is reopened again")
        assert wire.call("PING") == b"PONG" and "rules file" not in log.read_text()
        assert in_force(wire) == FROM_FILE
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: in_force(wire)["pro"] == (700, "file"), "the file is read")
        eventually(lambda: log.read_text().count("log file reopened") == 3, "the log is reopened once more")
