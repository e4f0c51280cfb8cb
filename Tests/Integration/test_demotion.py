"""Clients of a node that becomes a replica are disconnected, so that a pool looks up the new primary."""

import pytest

from test_exclusive import PATIENCE
from wire import WireError, command, eventually


def is_closed(wire):
    """Whether the server has closed the connection, ignoring what it sent before."""
    try:
        while True:
            wire.read()
    except WireError as problem:
        assert "no answer in time" not in str(problem), problem
        return True
    except OSError:
        return True


@pytest.fixture
def pair(start):
    primary = start("--io-threads", "2")
    replica = start("--replicaof", f"127.0.0.1 {primary.port}")
    with replica.connect() as wire:
        eventually(lambda: b"master_link_status:up" in wire.call("INFO", "replication"), "the link is up", PATIENCE)
    with primary.connect() as wire:
        eventually(lambda: b"state=online" in wire.call("INFO", "replication"), "the replica is online", PATIENCE)
    return primary, replica


@pytest.mark.parametrize("how", ["FAILOVER", "REPLICAOF", "EXEC"])
def test_clients_are_disconnected_at_a_demotion(pair, how):
    primary, replica = pair
    pool = [primary.connect(timeout=PATIENCE) for _ in range(4)]
    subscriber = primary.connect(timeout=PATIENCE)
    subscriber.call("SUBSCRIBE", "channel")
    waiter = primary.connect(timeout=PATIENCE)
    operator = primary.connect(timeout=PATIENCE)
    for wire in pool:
        wire.call("INCR", "n")
    waiter.send(command("WAIT", 2, 0))
    eventually(lambda: b"blocked_clients:1" in operator.call("INFO", "clients"), "one client waits", PATIENCE)
    if how == "FAILOVER":
        operator.ok("FAILOVER", "TO", "127.0.0.1", replica.port)
    elif how == "REPLICAOF":
        operator.ok("REPLICAOF", "127.0.0.1", replica.port)
    else:
        operator.ok("MULTI")
        assert operator.call("SLAVEOF", "127.0.0.1", replica.port) == b"QUEUED"
        assert operator.call("EXEC") == [b"OK"]
    assert waiter.read().startswith(b"UNBLOCKED")
    for wire in [*pool, subscriber, waiter]:
        assert is_closed(wire)
    # The client that asked still gets its reply, and new clients are served by a replica.
    assert operator.call("ROLE")[0] == b"slave"
    with primary.connect(timeout=PATIENCE) as again:
        assert again.call("INCR", "n").startswith(b"READONLY")
    for wire in [*pool, subscriber, waiter, operator]:
        wire.close()


def test_clients_that_connect_after_it_stay(start):
    """EXEC does not wait for the change: a client that connects after its reply meets a replica, and is not closed."""
    server = start("--io-threads", "2", "--appendonly", "no", "--save", "")
    with server.connect(timeout=PATIENCE) as operator:
        for _ in range(40):
            operator.ok("MULTI")
            assert operator.call("REPLICAOF", "127.0.0.1", 1) == b"QUEUED"
            assert operator.call("EXEC") == [b"OK"]
            with server.connect(timeout=PATIENCE) as first, server.connect(timeout=PATIENCE) as second:
                for wire in (first, second):
                    assert wire.call("PING").split()[0] in (b"PONG", b"MASTERDOWN")
                # It waits for the previous change and stops all loops, so the loops have done what that change
                # requested.
                operator.ok("REPLICAOF", "NO", "ONE")
                operator.call("CLIENT", "LIST")
                for wire in (first, second):
                    assert wire.call("PING") == b"PONG"


def test_another_primary_disconnects_no_client(pair, start):
    """A replica's clients stay connected when it follows another node."""
    primary, replica = pair
    other = start()
    with replica.connect(timeout=PATIENCE) as client, replica.connect(timeout=PATIENCE) as operator:
        operator.ok("REPLICAOF", "127.0.0.1", other.port)
        assert client.call("PING") == b"PONG"
