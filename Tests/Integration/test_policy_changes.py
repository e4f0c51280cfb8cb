"""Changing policies and rules by command: fields not named are kept, NX changes nothing, every change is logged, and
the rule that wins is the documented one."""

import itertools
import re

from server import ROOT
from wire import ErrorReply, eventually

FIELDS = ("algo", "limit", "per_ms", "burst", "offset_ms", "mode", "source")
MINUTE, DAY = 60_000, 86_400_000


def policy(wire, name):
    """The policy as a list of `FIELDS`."""
    reply = wire.call("RL.POLICY", "GET", name)
    values = dict(zip(reply[::2], reply[1::2]))
    return tuple(v.decode() if isinstance(v, bytes) else v for v in (values[f.encode()] for f in FIELDS))


def change(wire, line):
    wire.ok(*f"RL.POLICY SET {line}".split())


def test_a_change_keeps_fields_that_it_does_not_name(clean):
    wire = clean
    change(wire, "zz LIMIT 100 PER 1m ALGO fixed-window OFFSET 2h MODE shadow")
    change(wire, "zz LIMIT 6 PER 1d")
    assert policy(wire, "zz") == ("fixed-window", 6, DAY, 6, 7_200_000, "shadow", "command")
    change(wire, "zz MODE enforce")
    assert policy(wire, "zz") == ("fixed-window", 6, DAY, 6, 7_200_000, "enforce", "command")
    change(wire, "zz OFFSET 0 PER 1h")
    assert policy(wire, "zz") == ("fixed-window", 6, 3_600_000, 6, 0, "enforce", "command")
    change(wire, "pro LIMIT 100 PER 1m BURST 20 ALGO token-bucket")
    change(wire, "pro LIMIT 50")
    assert policy(wire, "pro") == ("token-bucket", 50, MINUTE, 20, 0, "enforce", "command")
    # A burst that was never set follows the limit.
    change(wire, "free LIMIT 100 PER 1m")
    change(wire, "free LIMIT 5")
    assert policy(wire, "free")[:4] == ("gcra", 5, MINUTE, 5)
    change(wire, "free LIMIT 0")
    assert wire.call(*"RL.TAKE k POLICY free".split())[:2] == [0, 0]
    change(wire, "free LIMIT 7")
    assert policy(wire, "free")[:4] == ("gcra", 7, MINUTE, 7)


def test_a_changed_policy_stays_in_shadow_mode(clean):
    wire = clean
    change(wire, "p LIMIT 100 PER 1h ALGO fixed-window MODE shadow")
    change(wire, "p LIMIT 1")
    replies = wire.calls(*["RL.TAKE k POLICY p"] * 3)
    assert [r[0] for r in replies] == [1, 1, 1] and replies[2][6] == b"shadow"
    assert wire.call("TYPE", "k") == b"fixed-window"


def test_another_algorithm_drops_fields_that_it_does_not_use(clean):
    wire = clean
    change(wire, "p LIMIT 100 PER 1m BURST 20 MODE shadow")
    change(wire, "p ALGO sliding-log")
    assert policy(wire, "p") == ("sliding-log", 100, MINUTE, 100, 0, "shadow", "command")
    before = policy(wire, "p")
    for line, error in [("BURST 5", "ERR BURST has no meaning with ALGO sliding-log"),
                        ("OFFSET 1h", "ERR OFFSET has no meaning with ALGO sliding-log"),
                        ("LIMIT 5000", "ERR LIMIT must be at most 4096 with this ALGO"),
                        ("ALGO gcra BURST 0", "ERR BURST must be 1 or more: "), ("NX NX", "ERR NX is given twice"),
                        ("COST 1", "ERR syntax error near 'COST'")]:
        reply = wire.call(*f"RL.POLICY SET p {line}".split())
        assert isinstance(reply, ErrorReply) and reply.startswith(error.encode()), reply
        assert policy(wire, "p") == before, line
    # The error concerns a value that was not named, so it says where that value comes from.
    change(wire, "big LIMIT 10000 PER 1m ALGO fixed-window")
    assert wire.call(*"RL.POLICY SET big ALGO sliding-log".split()) == (
        b"ERR LIMIT must be at most 4096 with this ALGO (the current policy is: LIMIT 10000 PER 1m "
        b"ALGO fixed-window MODE enforce)")


def test_a_new_policy_needs_a_limit(clean):
    wire = clean
    assert wire.calls("RL.POLICY SET new PER 1m", "RL.POLICY SET new LIMIT 1", "RL.POLICY SET new NX",
                      "RL.POLICY SET new MODE off") == [b"ERR LIMIT is missing", b"ERR PER is missing",
                                                        b"ERR LIMIT is missing", b"ERR LIMIT is missing"]
    assert wire.call("RL.POLICY", "GET", "new") is None


def test_nx_creates_and_never_changes(clean, server):
    wire = clean
    assert wire.calls("RL.POLICY SET p LIMIT 5 PER 1m NX", "RL.POLICY SET p NX LIMIT 9 PER 1d MODE off",
                      "RL.POLICY SET q LIMIT 1 PER 1s") == [b"OK", None, b"OK"]
    assert policy(wire, "p")[:3] == ("gcra", 5, MINUTE)
    assert wire.calls("RL.RULE SET a * * POLICY p NX", "RL.RULE SET a * * POLICY q NX", "RL.RULE SET a * * POLICY x NX",
                      "RL.RULE SET b * * POLICY x NX") == [b"OK", None, None, b"ERR there is no policy 'x'"]
    assert wire.call(*"RL.RULE GET a * *".split())[7] == b"p"
    wire.calls("MULTI", "RL.POLICY SET p LIMIT 9 PER 1d NX", "RL.POLICY SET p MODE off",
               "RL.RULE SET a * * POLICY q NX")
    assert wire.call("EXEC") == [None, b"OK", None]
    assert policy(wire, "p") == ("gcra", 5, MINUTE, 5, 0, "off", "command")
    with server.connect() as other:
        other.hello3()
        assert other.call(*"RL.POLICY SET p LIMIT 9 PER 1d NX".split()) is None
    for line in ["RL.RULE SET a * * POLICY q XX", "RL.RULE SET a * POLICY q NX NX", "RL.RULE SET a * * POLICY q NX NX"]:
        assert wire.call(*line.split()).startswith(b"ERR syntax error: expected tenant, client, action and POLICY"), line


# The server's log


def test_each_change_is_a_line_of_the_log(start):
    server = start("--log-format", "json")
    with server.connect() as wire:
        wire.call("CLIENT", "SETNAME", "deploy")
        address = wire.socket.getsockname()
        who = f'"client":"127.0.0.1:{address[1]}","client_name":"deploy"'
        old, new = "LIMIT 100 PER 1m BURST 100 ALGO gcra MODE shadow", "LIMIT 6 PER 1m BURST 6 ALGO gcra MODE shadow"
        wire.calls("MULTI", "RL.POLICY SET zz LIMIT 100 PER 1m MODE shadow", "RL.POLICY SET zz LIMIT 6", "EXEC",
                   "RL.POLICY SET zz LIMIT 6", "RL.POLICY SET zz LIMIT 7 NX", "RL.POLICY SET zz LIMIT x",
                   "RL.RULE SET acme * search POLICY zz", "RL.RULE DEL acme * search", "RL.RULE DEL acme * search",
                   "RL.POLICY DEL zz")
        expected = [
            f'"message":"policy added by a command","name":"zz","before":"none","after":"{old}",{who}',
            f'"message":"policy changed by a command","name":"zz","before":"{old}","after":"{new}",{who}',
            f'"message":"rule added by a command","name":"acme * search","before":"none","after":"zz",{who}',
            f'"message":"rule removed by a command","name":"acme * search","before":"zz","after":"none",{who}',
            f'"message":"policy removed by a command","name":"zz","before":"{new}","after":"none",{who}',
        ]
        eventually(lambda: re.search(r"policy removed.*\n", server.log()), "the last line")
        found = [re.sub(r'^\{"time":"[^"]*","level":"notice",|\}$', "", line)
                 for line in server.log().splitlines() if "by a command" in line]
        assert found == expected


# Which rule wins


def documented_order():
    """The subjects of the document's table, from the top, with what RESOLVE shows for each."""
    text = (ROOT / "docs" / "commands.md").read_text()
    rows = re.findall(r"^\| ([1-8]) \| (\S+) \| (\S+) \| (\S+) \| ([a-z+ ]+) \|$", text, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(1, 9))
    names = ("acme", "robot", "search")
    return [(tuple(name if word == "named" else "*" for word, name in zip(row[1:4], names)), row[4]) for row in rows]


def test_the_rule_that_wins_is_the_documented_one(clean):
    """Every pair of rules that can match the same call, in either order of creation."""
    wire = clean
    order = documented_order()
    assert len({subject for subject, _ in order}) == 8
    for number in range(8):
        wire.ok("RL.POLICY", "SET", f"p{number}", "LIMIT", 10 + number, "PER", "1h")
    for first, second in itertools.permutations(range(8), 2):
        for number in (first, second):
            wire.ok("RL.RULE", "SET", *order[number][0], "POLICY", f"p{number}")
        winner = min(first, second)
        found = wire.call("RL.RULE", "RESOLVE", "acme", "robot", "search")
        assert found[7] == f"p{winner}".encode() and found[-1] == order[winner][1].encode(), (first, second, found)
        assert wire.call("RL.CHECK", "acme", "robot", "search", "COST", 0)[2] == 10 + winner
        for number in (first, second):
            assert wire.call("RL.RULE", "DEL", *order[number][0]) == 1


def test_the_examples_of_winning_rules(clean):
    wire = clean
    text = (ROOT / "docs" / "commands.md").read_text()
    assert "`* robot *`\nwins over `acme * search`" in text
    for name in ("first", "second"):
        wire.ok("RL.POLICY", "SET", name, "LIMIT", 1, "PER", "1h")
    for better, worse in [("* robot *", "acme * search"), ("* robot search", "acme robot *"),
                          ("acme * *", "* * search")]:
        wire.ok("RL.RULE", "SET", *worse.split(), "POLICY", "second")
        wire.ok("RL.RULE", "SET", *better.split(), "POLICY", "first")
        assert wire.call("RL.RULE", "RESOLVE", "acme", "robot", "search")[7] == b"first"
        for subject in (better, worse):
            assert wire.call("RL.RULE", "DEL", *subject.split()) == 1
