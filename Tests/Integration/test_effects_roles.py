"""Changes of a node's role that have been answered are in force, also after the EXEC that contained them."""

import pytest

from durable import info, launch
from ports import free_port
from replication import nodes, pair
from wire import ErrorReply

assert launch, nodes  # fixtures

# No node listens here.
NOWHERE = free_port()


def test_failover_in_a_transaction_has_its_own_reply(start):
    server = start("--io-threads", "2")
    with server.connect() as wire:
        *_, replies = wire.calls("MULTI", "INCR a", "FAILOVER", "FAILOVER ABORT", "INCR a", "EXEC")
        assert replies == [1, b"ERR FAILOVER requires connected replicas.", b"ERR No failover in progress.", 2]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_state_of_a_failover(nodes, in_transaction):
    """master_failover_state after the replies of FAILOVER and FAILOVER ABORT. The replica is stopped, so the failover
    waits for it."""
    primary, replica = pair(nodes)
    state = ("INFO", "replication")
    wrong = []
    with primary.connect() as wire, replica.standing_still():
        for _ in range(100):
            if in_transaction:
                replies = wire.calls(
                    "INCR a", "MULTI", "FAILOVER", "EXEC", state, "MULTI", "FAILOVER ABORT", "EXEC", state, "INCR a")
                begun, ended = replies[4], replies[8]
            else:
                replies = wire.calls("INCR a", "FAILOVER", state, "FAILOVER ABORT", state, "INCR a")
                begun, ended = replies[2], replies[4]
            assert not any(isinstance(reply, ErrorReply) for reply in replies), replies
            if b"state:waiting-for-sync" not in begun or b"state:no-failover" not in ended:
                wrong.append((begun, ended))
    assert not wrong, f"{len(wrong)} of 100 rounds, the first: {wrong[0]}"


def test_rewrite_after_a_change_of_role_in_a_transaction(tmp_path, start):
    """What Sentinel sends to a node: CONFIG REWRITE writes the role that REPLICAOF before it has set."""
    config = tmp_path / "escapement.conf"
    config.write_text("appendonly yes\n")
    server = start(config=config)
    wrong = 0
    with server.connect() as wire:
        for _ in range(20):
            for words, line in [(("REPLICAOF", "127.0.0.1", NOWHERE), f"replicaof 127.0.0.1 {NOWHERE}"),
                                (("REPLICAOF", "NO", "ONE"), 'replicaof ""')]:
                *_, replies = wire.calls("MULTI", words, "CONFIG REWRITE", "CLIENT KILL TYPE normal", "EXEC")
                # The connection with which the start was awaited may not be closed yet.
                assert replies[:2] == [b"OK", b"OK"]
                wrong += line not in config.read_text().splitlines()
    assert not wrong, f"{wrong} of 40 files have the previous role"


def test_password_of_the_primary_in_a_transaction(nodes):
    """The link to the primary is opened with the masterauth that the same EXEC has set before."""
    primary = nodes("a", password="secret")
    other = nodes("b")
    with other.connect() as wire:
        *_, replies = wire.calls(
            "MULTI", "CONFIG SET masterauth secret", ("REPLICAOF", "127.0.0.1", primary.port), "EXEC")
        assert replies == [b"OK", b"OK"]
    other.wait_link()
    assert "link to the primary is down" not in other.settled_log()


def test_killed_replicas_are_gone(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as wire, replica.standing_still():
        assert wire.calls("CLIENT KILL TYPE replica", "CLIENT LIST TYPE replica")[1] == b""
        assert info(wire, "replication")["connected_slaves"] == "0"
