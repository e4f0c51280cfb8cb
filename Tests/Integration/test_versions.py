"""Nodes of this version and of an earlier one: each follows the other, hands over to it, and starts with its files. So
a group can be upgraded node by node, and an upgrade can be reverted."""

import subprocess

import pytest

from durable import info, launch, remaining_of
from replication import Node, fill, wait_online
from server import ROOT
from wire import PATIENCE, eventually

# The first version with stable files and protocol.
EARLIER = "7fe49b4"


@pytest.fixture(scope="module")
def earlier():
    """The node class that runs the earlier version."""
    built = subprocess.run([ROOT / "scripts" / "revision", EARLIER], capture_output=True, text=True, timeout=1200)
    if built.returncode == 3:
        pytest.skip(f"this clone's history does not reach back to {EARLIER}")
    assert built.returncode == 0, built.stderr[-3000:]

    class EarlierNode(Node):
        binary = built.stdout.strip()

    return EarlierNode


@pytest.fixture
def node(launch, earlier):
    """Starts a node: `node("old", "a")`, `node("new", "b", of=primary)`."""
    def start(version, name, *flags, of=None, **options):
        if of is not None:
            flags += ("--replicaof", "127.0.0.1", str(of.port))
        return launch("--io-threads", "1", *flags, directory=name, kind=earlier if version == "old" else Node, **options)

    return start


# A key of every kind of state, policies and rules, keys with a deadline, deleted keys.
EVERYTHING = [
    "CL.THROTTLE gcra 100 10 3600 7", "RL.TAKE bucket LIMIT 50 PER 1h ALGO token-bucket COST 3",
    "RL.TAKE window LIMIT 50 PER 1d ALGO fixed-window COST 4", "RL.TAKE sliding LIMIT 50 PER 1d ALGO sliding-window COST 5",
    "RL.TAKE log LIMIT 50 PER 1d ALGO sliding-log COST 6", "RL.TAKE once LIMIT 50 PER 1d ID token-1",
    "SET counter 41 EX 100000", "INCR counter", "SET forever 7", "SET gone 1", "DEL gone", "SET short 1 PX 86400000",
    "RL.POLICY SET gold LIMIT 100 PER 1h", "RL.POLICY SET silver LIMIT 10 PER 1m ALGO fixed-window MODE shadow",
    "RL.POLICY SET brass LIMIT 1 PER 1s", "RL.POLICY DEL brass", "RL.RULE SET acme * search POLICY gold",
    "RL.RULE SET * robot * POLICY silver", "RL.CHECK acme anna search", "EXPIRE forever 200000",
]
QUESTIONS = [
    "CL.THROTTLE gcra 100 10 3600 0", "RL.PEEK bucket LIMIT 50 PER 1h ALGO token-bucket",
    "RL.PEEK window LIMIT 50 PER 1d ALGO fixed-window", "RL.PEEK sliding LIMIT 50 PER 1d ALGO sliding-window",
    "RL.PEEK log LIMIT 50 PER 1d ALGO sliding-log", "RL.PEEK once LIMIT 50 PER 1d", "GET counter", "GET forever", "GET gone",
    "RL.POLICY GET gold", "RL.POLICY GET silver", "RL.POLICY GET brass", "RL.RULE LIST", "RL.RULE RESOLVE acme anna search",
    "DBSIZE", "EXISTS short", "PEXPIRETIME short", "EXPIRETIME counter",
]


def create_everything(server):
    with server.connect() as wire:
        for line, reply in zip(EVERYTHING, wire.calls(*EVERYTHING)):
            assert not getattr(reply, "startswith", lambda _: False)(b"ERR"), (line, reply)


def answers(server):
    """A node's replies to all queries, except for remaining times, which change."""
    with server.connect() as wire:
        found = []
        for reply in wire.calls(*QUESTIONS):
            found.append(reply[:3] if isinstance(reply, list) and reply and isinstance(reply[0], int) else reply)
        return found


def keys_of(server):
    """Every key, with the remaining units of those that `fill` created."""
    with server.connect() as wire:
        keys = sorted(wire.call("KEYS", "*"))
        return keys, remaining_of(wire, [key for key in keys if key.startswith(b"led-")], 2000)


def compare(primary, replica):
    wait_online(primary, 1)
    with primary.connect(60) as wire:
        assert wire.call("WAIT", 1, 60_000) >= 1
    eventually(
        lambda: info_of(primary)["master_repl_offset"] == info_of(replica)["master_repl_offset"]
        and info_of(replica)["master_link_status"] == "up", "the same offset")
    mine, other = answers(primary), answers(replica)
    for question, left, right in zip(QUESTIONS, mine, other):
        if "EXPIRETIME" in question:
            # A replica knows its primary's clock only to within the delay of the link, which no test may depend on.
            assert abs(left - right) <= 60_000, question
        else:
            assert left == right, question
    keys = keys_of(primary)
    assert keys_of(replica) == keys
    assert info_of(primary)["master_replid"] == info_of(replica)["master_replid"]
    return keys


def info_of(server):
    with server.connect() as wire:
        return info(wire, "replication")


BOTH = pytest.mark.parametrize("first, second", [("old", "new"), ("new", "old")])


@BOTH
def test_each_follows_the_other(node, first, second):
    primary = node(first, "a")
    create_everything(primary)
    replica = node(second, "b", of=primary)
    wait_online(primary, 1)
    compare(primary, replica)
    # Then the stream, and a link that is cut and re-established.
    with primary.connect() as wire:
        wire.calls("CL.THROTTLE gcra 100 10 3600 2", "INCRBY counter 10", "DEL short", "RL.POLICY SET gold LIMIT 99 PER 1h")
    compare(primary, replica)
    with replica.connect() as wire:
        wire.call("CLIENT", "KILL", "TYPE", "master")
    fill(primary, 300, "led")
    compare(primary, replica)


@BOTH
def test_each_takes_over_from_the_other_and_hands_back(node, first, second):
    primary = node(first, "a")
    create_everything(primary)
    replica = node(second, "b", of=primary)
    wait_online(primary, 1)
    for leader, follower in ((primary, replica), (replica, primary)):
        with leader.connect() as wire:
            wire.ok("FAILOVER", "TO", "127.0.0.1", follower.port)
        eventually(lambda: info_of(follower)["role"] == "master", "the other node has taken over")
        wait_online(follower, 1)
        fill(follower, 100, f"led-{follower.port}")
        compare(follower, leader)


@BOTH
@pytest.mark.parametrize("saves", [False, True])
def test_each_starts_with_the_files_of_the_other(node, first, second, saves):
    """From the log, and from a snapshot followed by the log; and back."""
    server = node(first, "a")
    create_everything(server)
    fill(server, 1000, "led")
    if saves:
        with server.connect(60) as wire:
            wire.ok("SAVE")
            wire.calls("INCR counter", "CL.THROTTLE gcra 100 10 3600 1")
    expected, said = keys_of(server), answers(server)
    for version in (second, first):
        server.stop()
        server = node(version, "a")
        assert keys_of(server) == expected
        assert answers(server) == said


def test_the_earlier_version_refuses_other_databases(node, earlier):
    """Neither as a replica nor from the files does it take a key of another database for one of its own."""
    server = node("new", "a", "--appendfsync", "always")
    replica = node("old", "b", of=server)
    wait_online(server, 1)
    with server.connect() as wire:
        wire.calls("SET k 1", "SELECT 1", "SET k 2", "SET other 3")
    eventually(lambda: "unknown to this version" in replica.log(), "the replica refuses the record")
    with replica.connect() as wire:
        assert wire.call("GET", "k") != b"2" and wire.call("GET", "other") != b"3"
    replica.stop()
    server.stop()
    ended = subprocess.run([earlier.binary, *server.base_flags(), "--dir", str(server.directory)], capture_output=True,
                           text=True, timeout=PATIENCE)
    assert ended.returncode != 0 and "unknown to this version" in ended.stdout + ended.stderr, ended
    server = node("new", "a")
    with server.connect() as wire:
        assert wire.calls("GET k", "SELECT 1", "GET k", "GET other") == [b"1", b"OK", b"2", b"3"]


def test_a_group_is_upgraded_node_by_node(node):
    """As an operator does it: the replica, a failover, the other node. Nothing that was acknowledged is lost."""
    primary = node("old", "a")
    replica = node("old", "b", of=primary)
    wait_online(primary, 1)
    create_everything(primary)
    fill(primary, 500, "led")
    expected = compare(primary, replica)
    replica.stop()
    replica = node("new", "b", of=primary)
    wait_online(primary, 1)
    assert compare(primary, replica) == expected
    with primary.connect() as wire:
        wire.ok("FAILOVER", "TO", "127.0.0.1", replica.port)
    eventually(lambda: info_of(replica)["role"] == "master", "the other node has taken over")
    wait_online(replica, 1)
    primary.stop()
    primary = node("new", "a", of=replica)
    wait_online(replica, 1)
    assert compare(replica, primary) == expected
