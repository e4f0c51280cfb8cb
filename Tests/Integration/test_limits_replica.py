"""Limits on a primary and its replica: what is streamed, what a replica answers, and what holds after a failover."""

import signal

import pytest

from gated_files import Gate
from wire import eventually


@pytest.fixture(params=["yes", "no"], ids=["with a log", "without"])
def pair(start, request, tmp_path):
    """A primary and a replica that follows it, with connections to both. Either both have a log or neither has."""
    rules = tmp_path / "rules.conf"
    rules.write_text("policy filed LIMIT 3 PER 1h\n")
    primary = start("--appendonly", request.param)
    replica = start("--appendonly", request.param, "--rules-file", rules, "--replicaof", f"127.0.0.1 {primary.port}")
    with primary.connect() as first, replica.connect() as second:
        eventually(lambda: b"master_link_status:up" in second.call("INFO", "replication"), "the link is up")
        yield first, second, replica


def has(wire, *request):
    """Polls until the request returns a true value."""
    return eventually(lambda: wire.call(*request), f"an answer to {request}")


def test_policies_rules_and_states_arrive(pair):
    primary, replica, _ = pair
    primary.calls("RL.POLICY SET p LIMIT 9 PER 1d ALGO sliding-log", "RL.POLICY SET gone LIMIT 1 PER 1s",
                  "RL.POLICY DEL gone", "RL.RULE SET * * * POLICY p", "RL.TAKE k POLICY p COST 4 ID a",
                  "RL.CHECK t c a COST 2", "SET n 7")
    assert primary.call("WAIT", 1, 60_000) == 1, "all changes: one collection may reach the replica before another"
    assert replica.call("RL.PEEK", "k", "POLICY", "p")[:4] == [1, 1, 9, 5]
    assert replica.call("RL.RULE", "RESOLVE", "t", "c", "a")[7] == b"p"
    assert [p[1] for p in replica.call("RL.POLICY", "LIST")] == [b"p"]
    primary.call(*"RL.POLICY SET p LIMIT 8 PER 1d ALGO sliding-log".split())
    eventually(lambda: replica.call("RL.POLICY", "GET", "p")[5] == 8, "a change of a policy on its own")


def test_a_replica_reads_and_refuses_to_write(pair):
    primary, replica, server = pair
    primary.call(*"RL.POLICY SET p LIMIT 9 PER 1d".split())
    has(replica, "RL.POLICY", "GET", "p")
    for line in ["RL.TAKE k POLICY p", "RL.CHECK a b c", "RL.REFUND k POLICY p", "RL.RESET k", "INCR n", "SET n 1",
                 "RL.TAKEALL k POLICY p", "RL.POLICY DEL p", "RL.RULE SET * * * POLICY p", "RL.RULE RELOAD"]:
        assert replica.call(*line.split()).startswith(b"READONLY "), line
    assert replica.call(*"RL.PEEK k POLICY p".split())[:4] == [1, 1, 9, 9]
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "rules file not read" in server.log(), "the replica logs it")
    assert [p[1] for p in replica.call("RL.POLICY", "LIST")] == [b"p"]


def test_a_rules_file_read_while_the_role_changes(start, tmp_path, monkeypatch):
    """The node becomes a replica between the signal and the opening of the file."""
    path = tmp_path / "rules.conf"
    path.write_text("policy before LIMIT 3 PER 1h\n")
    gate = Gate(tmp_path, monkeypatch, path)
    node = start("--rules-file", path)
    with node.connect() as wire:
        # A node with its own state continues to serve it; one that has never had any would not.
        wire.call(*"RL.TAKE k LIMIT 1 PER 1d".split())
        path.write_text("policy after LIMIT 4 PER 1h\n")
        gate.close()
        node.process.send_signal(signal.SIGHUP)
        eventually(gate.is_reached, "the node reads the file")
        # No primary is running, so policies and rules stay unchanged.
        wire.ok("REPLICAOF", "127.0.0.1", 1)
        offset = wire.call("INFO", "replication").split(b"master_repl_offset:")[1].split()[0]
        gate.open()
        eventually(lambda: "the node became a replica" in node.log(), "the node logs it")
        assert [p[1] for p in wire.call("RL.POLICY", "LIST")] == [b"before"]
        assert wire.call("INFO", "replication").split(b"master_repl_offset:")[1].split()[0] == offset


def test_a_promoted_replica_continues(pair):
    primary, replica, _ = pair
    primary.calls("RL.POLICY SET p LIMIT 9 PER 1d", "RL.RULE SET * * * POLICY p", "RL.CHECK t c a COST 2 ID one",
                  "RL.TAKE k LIMIT 9 PER 1d ALGO fixed-window COST 5 ID two", "SET n 7")
    assert primary.call("WAIT", 1, 60_000) == 1, "all changes: one collection may reach the replica before another"
    replica.ok("REPLICAOF", "NO", "ONE")
    assert replica.call(*"RL.CHECK t c a COST 2 ID one".split())[:4] == [1, 2, 9, 7], "the first answer"
    again = "RL.TAKE k LIMIT 9 PER 1d ALGO fixed-window COST 5 ID two".split()
    assert replica.call(*again)[:4] == [1, 5, 9, 4]
    assert replica.call(*"RL.PEEK k LIMIT 9 PER 1d ALGO fixed-window".split())[3] == 4, "counted once"
    assert replica.call(*"RL.CHECK t c a".split())[3] == 6
