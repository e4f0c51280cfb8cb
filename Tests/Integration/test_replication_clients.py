"""Links in the list of clients, and read-only calls, which are answered wherever writes are not."""

import contextlib

import pytest

from durable import BURST, info, launch, take
from ports import free_port
from replication import nodes, pair, wait_same_state
from wire import ErrorReply, command, eventually

assert launch, nodes  # fixtures


def clients(wire, *filters):
    lines = wire.call("CLIENT", "LIST", *filters).decode().splitlines()
    return [dict(word.split("=", 1) for word in line.split(" ")) for line in lines]


def test_both_ends_of_a_link_are_clients(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as above, replica.connect() as below:
        [served] = clients(above, "TYPE", "replica")
        [link] = eventually(lambda: clients(below, "TYPE", "master"), "the link is shown")
        assert (served["flags"], link["flags"]) == ("S", "M")
        assert (link["addr"], link["laddr"]) == (served["laddr"], served["addr"])
        assert link["addr"] == f"127.0.0.1:{primary.port}"
        # The same fields in the same order for all kinds of clients.
        assert len({tuple(client) for client in clients(below)}) == 1
        assert clients(below, "ID", link["id"]) == [link]
        assert len({client["id"] for client in clients(below)}) == len(clients(below))
        assert clients(above, "TYPE", "master") == []


def test_counts_of_waiting_clients_and_replicas(nodes):
    primary, _ = pair(nodes)
    with primary.connect() as wire, primary.connect() as other:
        assert other.call("PING") == b"PONG"
        # As in Redis, replicas do not count. Earlier connections are gone once their loop has noticed.
        eventually(lambda: info(wire, "clients")["connected_clients"] == "2", "the two clients")
        assert info(wire, "clients")["blocked_clients"] == "0"
        other.send(command("WAIT", 5, 0))
        eventually(lambda: info(wire, "clients")["blocked_clients"] == "1", "the client waits")
        assert sorted(client["flags"] for client in clients(wire, "TYPE", "normal")) == ["N", "b"]
        other.close()
        eventually(lambda: info(wire, "clients")["blocked_clients"] == "0", "the client has left")
        eventually(lambda: info(wire, "clients")["connected_clients"] == "1", "the connection is gone")
        assert wire.call("WAIT", 1, 60_000) == 1 and info(wire, "clients")["blocked_clients"] == "0"


def test_acknowledgement_is_never_answered(nodes):
    node = nodes("a")
    with node.connect() as wire:
        wire.send(command("REPLCONF", "ACK", 5) + command("REPLCONF", "ACK", 5, "FACK", 3) + command("ECHO", "x"))
        assert wire.read() == b"x"
        # EXEC owes one reply for each.
        assert len(wire.calls("MULTI", "REPLCONF ACK 5", "ECHO x", "EXEC")[3]) == 2


def test_client_kill_closes_a_link_and_it_reconnects(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as above, replica.connect() as below:
        take(above, "k")
        for wire, kind in ((below, "master"), (above, "replica")):
            [link] = eventually(lambda: clients(below, "TYPE", "master"), "the link is shown")
            eventually(lambda: wire.call("CLIENT", "KILL", "TYPE", kind) == 1, "there is a link to close")
            eventually(
                lambda: any(c["id"] != link["id"] for c in clients(below, "TYPE", "master")), "there is another one")
        eventually(lambda: info(below, "replication")["master_link_status"] == "up", "the link is up again")
        wait_same_state(primary, replica)
        assert primary.syncs()[0] == 1
        # The type that Sentinel uses: links are not normal clients.
        eventually(lambda: len(clients(above, "TYPE", "normal")) == 1, "no other client is connected")
        assert above.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") == 0
        below.ok("REPLICAOF", "127.0.0.1", free_port())
        assert clients(below, "TYPE", "master") == []


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_requests_before_psync_are_answered(nodes, fsync):
    """In one write, so that replies still wait for the disk when the connection becomes a replica's."""
    node = nodes("a", "--appendfsync", fsync)
    for turn in range(10):
        calls = [command("CL.THROTTLE", f"k-{turn}-{n}", BURST, 1, 1_000_000) for n in range(3)]
        with node.connect() as wire:
            wire.send(b"".join(calls) + command("REPLCONF", "listening-port", 9) + command("PSYNC", "?", "-1"))
            assert [wire.read()[0] for _ in calls] == [0] * len(calls)
            assert wire.read() == b"OK"
            assert wire.line().startswith(b"+FULLRESYNC ")
        with node.connect() as wire:
            assert wire.call("EXISTS", f"k-{turn}-2") == 1


@pytest.mark.parametrize(
    "words", [b"x\r\n", b"PING\r\n", b"*0\r\n", b"REPLCONF listening-port 1\r\n", b"PSYNC ? -1\r\n"])
def test_no_replies_are_buffered_for_a_link_that_does_not_read(nodes, words):
    node = nodes("a", "--appendonly", "no")
    before = int(node.info("memory")["used_memory_rss"])
    with node.connect() as wire:
        wire.send(b"PSYNC ? -1\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                wire.send(words * (200_000 // len(words)))
        assert int(node.info("memory")["used_memory_rss"]) - before < 8 << 20


@pytest.mark.parametrize("words", [b"x\r\n", b"PING\r\n", b"REPLCONF what 1\r\n"])
def test_a_link_that_sends_other_commands_is_closed(nodes, words):
    node = nodes("a")
    with node.connect() as wire:
        wire.send(b"PSYNC ? -1\r\n" + words)
        # None of it is a reply.
        assert b"PONG" not in (data := wire.until_closed()) and b"-ERR" not in data
    eventually(lambda: node.info()["connected_slaves"] == "0", "it is no longer a replica")


def test_a_refused_link_is_closed(nodes):
    node = nodes("a", of=free_port())
    with node.connect() as first, contextlib.ExitStack() as stack:
        wires = [stack.enter_context(node.connect()) for _ in range(60)]
        for wire in wires:
            assert wire.call("PSYNC", "?", "-1").startswith(b"NOMASTERLINK ")
            wire.expect_closed()
        eventually(lambda: info(first, "clients")["connected_clients"] == "1", "no replica is left")


def test_a_read_only_call_is_answered_while_writes_are_paused(nodes):
    node = nodes("a")
    with node.connect() as wire, node.connect() as other:
        assert take(wire, "k")[2] == BURST
        wire.ok("CLIENT", "PAUSE", "60000", "WRITE")
        assert take(other, "k", 0)[2] == BURST
        replies = other.calls("MULTI", f"CL.THROTTLE k {BURST} 1 1000000 0", "EXEC")
        assert replies[2][0][2] == BURST
        assert other.call("RL.PEEK", "p", "LIMIT", 5, "PER", "1h")[0] == 1
        other.send(b"CL.THROTTLE k %d 1 1000000 1\r\n" % BURST)
        other.expect_silence()
        wire.ok("CLIENT", "UNPAUSE")
        assert other.read()[2] == BURST - 1


def test_a_read_only_call_in_a_transaction_on_a_replica(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as above, replica.connect() as below:
        take(above, "k")
        wait_same_state(primary, replica)
        replies = below.calls("MULTI", f"CL.THROTTLE k {BURST} 1 1000000 0", "EXEC")
        assert replies[2][0][2] == BURST
        replies = below.calls("MULTI", f"CL.THROTTLE k {BURST} 1 1000000 1", "EXEC")
        assert replies[1].startswith(b"READONLY ") and isinstance(replies[2], ErrorReply)
