"""Waiting for replicas and failing over to one: WAIT, min-replicas-to-write, FAILOVER."""

import contextlib
import time

import pytest

from durable import (
    BURST, breaker, info, launch, limit_files, newest_log, take, wait_until_fine, write_until_refused)
from ports import free_port
from replication import fill, nodes, offset_of, pair, wait_on_disk, wait_online, wait_same_state
from wire import ErrorReply, eventually

assert launch, nodes  # fixtures


# WAIT


def test_wait_without_replicas(nodes):
    node = nodes("a")
    with node.connect() as wire:
        take(wire, "k")
        assert wire.call("WAIT", 0, 0) == 0
        began = time.monotonic()
        assert wire.call("WAIT", 1, 200) == 0
        assert 0.2 <= time.monotonic() - began
        for words in (("WAIT", "x", 0), ("WAIT", 1, "x"), ("WAIT", 1, -1)):
            assert isinstance(wire.call(*words), ErrorReply), words


def test_wait_means_that_replicas_have_it(nodes):
    primary = nodes("a")
    others = [nodes("b", of=primary), nodes("c", of=primary)]
    for replica in others:
        replica.wait_link()
    with primary.connect() as wire, others[0].connect() as second, others[1].connect() as third:
        for number in range(200):
            assert take(wire, f"w-{number}")[0] == 0
            assert wire.call("WAIT", 2, 60_000) == 2
            assert take(second, f"w-{number}", 0)[2] == BURST
            assert take(third, f"w-{number}", 0)[2] == BURST
        # With a number above the count of replicas, WAIT returns that count when time is up. Replicas may still be
        # catching up.
        eventually(lambda: wire.call("WAIT", 3, 200) == 2, "as many as there are replicas")
        # Returns at once if they already have it, except for a heartbeat that may be in transit.
        eventually(lambda: wire.call("WAIT", 0, 0) == 2, "both have it")
        with others[0].standing_still():
            replies = wire.calls("MULTI", ("CL.THROTTLE", "m", BURST, 1, 1_000_000), "WAIT 2 0", "EXEC")
            assert replies[3][1] == 0
            assert wire.call("WAIT", 1, 60_000) == 1
            eventually(lambda: wire.call("WAIT", 0, 0) == 1, "one has it")
        assert second.call("WAIT", 1, 10).startswith(b"ERR WAIT cannot be used with replica instances.")


def test_wait_ends_with_the_role(nodes):
    primary, replica = pair(nodes)
    with replica.standing_still():
        with primary.connect() as wire, primary.connect() as other:
            take(wire, "k")
            assert wire.call("WAIT", 1, 100) == 0
            wire.send(b"WAIT 1 0\r\n")
            wire.expect_silence()
            other.ok("REPLICAOF", "127.0.0.1", free_port())
            assert wire.read().startswith(b"UNBLOCKED ")


def test_waits_of_closed_clients_are_forgotten(nodes):
    primary, replica = pair(nodes)
    wait_same_state(primary, replica)

    def is_quiet():
        # A heartbeat has 24 bytes. A link gets one each second, or ten while a client waits.
        began, before = time.monotonic(), offset_of(primary)
        time.sleep(0.5)  # the half second that is measured
        return offset_of(primary) - before <= 24 * (1 + int(time.monotonic() - began))

    with primary.connect() as wire:
        wire.send(b"WAITAOF 0 5 0\r\n")
        eventually(lambda: not is_quiet(), "replicas are asked repeatedly")
    eventually(is_quiet, "no client waits any more")
    gone = [primary.connect() for _ in range(200)]
    for wire in gone:
        wire.send(b"WAIT 5 0\r\n" * 3)
    for wire in gone:
        wire.close()
    with primary.connect() as wire:
        eventually(lambda: wire.call("CLIENT", "LIST", "TYPE", "normal").count(b"\n") == 1, "they have left")
        # A connection that waits repeatedly is not mistaken for one that has left.
        for number in range(20):
            take(wire, f"k-{number}")
            assert wire.call("WAIT", 1, 60_000) == 1
        eventually(lambda: wire.call("WAIT", 2, 100) == 1, "the only replica")
    wait_same_state(primary, replica)


# min-replicas-to-write


def test_min_replicas_to_write(nodes):
    primary = nodes("a", "--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
    refusal = b"NOREPLICAS Not enough good replicas to write."
    with primary.connect() as wire:
        assert take(wire, "k") == refusal
        assert wire.call("DEL", "k") == refusal
        assert take(wire, "k", 0)[2] == BURST + 1
        assert wire.call("PING") == b"PONG"
        replica = nodes("b", of=primary)
        eventually(lambda: not isinstance(take(wire, "k"), ErrorReply), "writes are accepted")

        def is_noticed_in_time():
            with replica.standing_still():
                began = time.monotonic()
                eventually(lambda: take(wire, "k") == refusal, "a silent replica no longer counts")
                # The bound of docs/high-availability.md: the lag, plus the second between acknowledgements.
                in_time = time.monotonic() - began < 2.5
            eventually(lambda: not isinstance(take(wire, "k"), ErrorReply), "writes are accepted again")
            return in_time

        # A busy machine may delay all three processes.
        eventually(is_noticed_in_time, "the silent replica stopped counting within the bound")
        replica.stop()
        eventually(lambda: take(wire, "k") == refusal, "the replica has left")


def test_min_replicas_to_write_from_a_promotion_on(nodes):
    primary, replica = pair(nodes, "--min-replicas-to-write", "1")
    with primary.connect() as above:
        assert take(above, "k")[2] == BURST
        wait_same_state(primary, replica)
    for _ in range(5):
        with replica.connect() as wire:
            # All in one write: the calls come right after the promotion.
            replies = wire.calls("REPLICAOF NO ONE", *[f"CL.THROTTLE n-{n} {BURST} 1 1000000" for n in range(50)])
            assert replies[0] == b"OK"
            assert {bytes(r) if isinstance(r, ErrorReply) else "admitted" for r in replies[1:]} == {
                b"NOREPLICAS Not enough good replicas to write."}
        replica.follow(primary)
        replica.wait_link()


# FAILOVER


def test_failover_refuses(nodes):
    primary = nodes("a")
    with primary.connect() as wire:
        assert wire.call("FAILOVER") == b"ERR FAILOVER requires connected replicas."
        assert wire.call("FAILOVER", "ABORT") == b"ERR No failover in progress."
        replica = nodes("b", of=primary)
        wait_online(primary, 1)
        for words in ("TO", "TO x", "TIMEOUT", "TIMEOUT 0", "TIMEOUT -1", "TIMEOUT x", "FORCE", "TO 127.0.0.1 1",
                      f"TO 127.0.0.1 {replica.port} FORCE", "ABORT now", "SOON"):
            assert isinstance(wire.call("FAILOVER", *words.split()), ErrorReply), words
    with replica.connect() as wire:
        assert isinstance(wire.call("FAILOVER"), ErrorReply)
    assert (primary.info()["role"], replica.info()["role"]) == ("master", "slave")


@pytest.mark.parametrize("named", [False, True])
def test_failover(nodes, named):
    primary = nodes("a")
    fill(primary, 1000)
    others = [nodes("b", of=primary), nodes("c", of=primary)]
    wait_same_state(primary, *others)
    wait_online(primary, 2)
    with primary.connect() as wire:
        wire.ok("FAILOVER", *(("TO", "127.0.0.1", others[1].port) if named else ()))
    eventually(lambda: primary.info()["role"] == "slave", "the primary has handed over")
    leader = eventually(lambda: next((o for o in others if o.info()["role"] == "master"), None), "taken over")
    if named:
        assert leader is others[1]
    other = others[0] if leader is others[1] else others[1]
    other.follow(leader)
    fill(leader, 100, "after")
    assert len(wait_same_state(leader, primary, other)) == 1100
    assert leader.syncs()[0] == 0
    assert primary.info()["master_failover_state"] == "no-failover"
    # And back.
    wait_online(leader, 2)
    with leader.connect() as wire:
        wire.ok("FAILOVER", "TO", "127.0.0.1", primary.port, "TIMEOUT", 60_000)
    eventually(lambda: primary.info()["role"] == "master", "the former primary is the primary again")
    assert len(wait_same_state(primary, leader)) == 1100


def test_failover_waits_pauses_writes_and_aborts(nodes):
    primary, replica = pair(nodes)
    with replica.standing_still():
        with primary.connect() as wire, primary.connect() as writes:
            take(writes, "k")
            wire.ok("FAILOVER", "TO", "127.0.0.1", replica.port)
            assert info(wire, "replication")["master_failover_state"] == "waiting-for-sync"
            assert isinstance(wire.call("FAILOVER"), ErrorReply)
            writes.send(b"CL.THROTTLE k 15 1 1000000\r\n")
            writes.expect_silence()
            assert wire.call("EXISTS", "k") == 1
            wire.ok("FAILOVER", "ABORT")
            assert writes.read()[2] == BURST - 1
            assert info(wire, "replication")["master_failover_state"] == "no-failover"
            # The time-out also ends it, and not too early.
            began = time.monotonic()
            wire.ok("FAILOVER", "TIMEOUT", 300)
            writes.send(b"CL.THROTTLE k 15 1 1000000\r\n")
            assert writes.read()[2] == BURST - 2
            assert time.monotonic() - began >= 0.3
            assert info(wire, "replication")["role"] == "master"
    wait_same_state(primary, replica)


@contextlib.contextmanager
def handing_over(primary, replica):
    """The primary hands over to a suspended replica, which receives the request only at the end."""
    with replica.standing_still():
        with primary.connect() as wire:
            wire.ok("FAILOVER", "TO", "127.0.0.1", replica.port, "FORCE", "TIMEOUT", 200)
        eventually(lambda: primary.info()["master_failover_state"] == "failover-in-progress", "handing over")
        yield


def test_forced_failover_to_a_node_that_does_not_answer(nodes):
    primary, replica = pair(nodes)
    with replica.standing_still():
        with primary.connect() as wire:
            take(wire, "k")
            wire.ok("FAILOVER", "TO", "127.0.0.1", replica.port, "FORCE", "TIMEOUT", 200)
            eventually(
                lambda: info(wire, "replication")["master_failover_state"] == "failover-in-progress", "handing over")
            assert info(wire, "replication")["role"] == "slave"
            assert isinstance(take(wire, "k"), ErrorReply)
            wire.ok("FAILOVER", "ABORT")
            eventually(lambda: info(wire, "replication")["role"] == "master", "primary again")
            assert take(wire, "k")[2] == BURST - 1


def test_replicaof_the_target_ends_a_failover(nodes):
    """As sent by a Sentinel that has made its own decision: the target becomes primary only on request."""
    primary, replica = pair(nodes)
    fill(primary, 100)
    wait_same_state(primary, replica)
    with handing_over(primary, replica), primary.connect() as wire:
        wire.ok("REPLICAOF", "127.0.0.1", replica.port)
        eventually(lambda: primary.info()["master_failover_state"] == "no-failover", "the failover has ended")
        assert wire.call("REPLICAOF", "127.0.0.1", replica.port) == b"OK Already connected to specified master"
    # It requests a sync like any replica, and is refused like any.
    eventually(lambda: "NOMASTERLINK" in primary.log(), "the sync is refused")
    assert (primary.info()["role"], replica.info()["role"]) == ("slave", "slave")
    replica.lead()
    assert len(wait_same_state(replica, primary)) == 100
    assert replica.syncs()[0] == 0


@pytest.mark.parametrize("took_over", [False, True])
def test_a_primary_that_dies_during_a_handover(nodes, took_over):
    """After a restart it repeats the request to the target; otherwise both would follow each other forever."""
    primary, replica = pair(nodes)
    fill(primary, 100)
    wait_same_state(primary, replica)
    with primary.connect() as wire:
        assert wire.call("WAITAOF", 1, 1, 60_000) == [1, 1]
    with handing_over(primary, replica):
        primary.crash()
    if took_over:
        replica.lead()
    primary = nodes("a")
    eventually(lambda: replica.info()["role"] == "master", "the target has taken over")
    fill(replica, 100, "after")
    assert len(wait_same_state(replica, primary)) == 200
    assert replica.syncs()[0] == 0
    # The handover is complete.
    assert (primary.directory / "role").read_text() == f"replica 127.0.0.1 {replica.port}\n"
    primary.crash()
    primary = nodes("a")
    assert len(wait_same_state(replica, primary)) == 200


def test_a_primary_without_a_log_that_dies_during_a_handover(nodes):
    """It has no position to request, and is refused. Tests the runbook's remedy."""
    primary, replica = pair(nodes, "--appendonly", "no")
    fill(primary, 100)
    wait_same_state(primary, replica)
    with handing_over(primary, replica):
        primary.crash()
    primary = nodes("a", "--appendonly", "no")
    eventually(lambda: "does not take over" in primary.log() and "NOMASTERLINK" in primary.log(), "refused")
    assert (primary.info()["role"], replica.info()["role"]) == ("slave", "slave")
    replica.lead()
    assert len(wait_same_state(replica, primary)) == 100


def test_replicaof_ends_a_handover_that_a_start_continues(nodes):
    primary, replica = pair(nodes)
    with handing_over(primary, replica):
        primary.crash()
        primary = nodes("a")
        with primary.connect() as wire:
            wire.ok("REPLICAOF", "127.0.0.1", replica.port)
            assert wire.call("REPLICAOF", "127.0.0.1", replica.port) == b"OK Already connected to specified master"
    eventually(lambda: "NOMASTERLINK" in primary.log(), "the sync is refused")
    assert (primary.info()["role"], replica.info()["role"]) == ("slave", "slave")
    primary.lead()
    wait_same_state(primary, replica)


def test_failover_with_replica_serve_stale_data_no(nodes):
    """The target has lost its primary by the time of the request."""
    primary, replica = pair(nodes, "--replica-serve-stale-data", "no")
    fill(primary, 100)
    for old, new in ((primary, replica), (replica, primary)):
        wait_same_state(old, new)
        with old.connect() as wire:
            wire.ok("FAILOVER", "TO", "127.0.0.1", new.port)
        eventually(lambda: new.info()["role"] == "master", "the target has taken over")
        eventually(lambda: old.info()["master_failover_state"] == "no-failover", "the primary has handed over")
        wait_online(new, 1)
        fill(new, 100, f"of-{new.port}")
    assert len(wait_same_state(primary, replica)) == 300


def test_failover_to_a_full_disk_is_cancelled(nodes):
    primary, replica = pair(nodes, "--fail-mode", "closed", "--auto-aof-rewrite-percentage", "0")
    fill(primary, 4000)
    wait_same_state(primary, replica)
    wait_on_disk(primary)
    with replica.connect() as wire, primary.connect() as above:
        limit_files(replica, max(newest_log(replica).stat().st_size + 100, replica.log_path.stat().st_size + 20_000))
        fill(primary, 10_000, "more")
        eventually(lambda: breaker(wire) != "closed", "the disk is full")
        above.ok("FAILOVER", "TO", "127.0.0.1", replica.port)
        eventually(lambda: "does not take over" in primary.log(), "the request is refused")
        found = eventually(lambda: primary.info()["role"] == "master" and primary.info(), "primary again")
        assert found["master_failover_state"] == "no-failover"
        assert take(above, "k")[2] == BURST
        # It continues to follow.
        wait_online(primary, 1)
        limit_files(replica, None)
        wait_until_fine(wire)
        above.ok("FAILOVER", "TO", "127.0.0.1", replica.port)
        eventually(lambda: replica.info()["role"] == "master", "the target has taken over")
    assert len(wait_same_state(replica, primary)) == 14_001


def test_link_to_a_primary_with_a_full_disk(nodes):
    """It answers PING with an error, and continues to serve."""
    primary, replica = pair(nodes, "--fail-mode", "closed", "--auto-aof-rewrite-percentage", "0")
    fill(primary, 2000)
    wait_same_state(primary, replica)
    with primary.connect() as wire:
        limit_files(primary, max(newest_log(primary).stat().st_size + 100, primary.log_path.stat().st_size + 20_000))
        write_until_refused(wire, primary, {}, reconnects=False)
        assert wire.call("PING").startswith(b"MISCONF ")
        before = primary.syncs()[1]
        eventually(lambda: wire.call("CLIENT", "KILL", "TYPE", "replica") == 1, "there is a link to close")
        eventually(lambda: primary.syncs()[1] == before + 1, "the replica reconnects")
        replica.wait_link()
        limit_files(primary, None)
        wait_until_fine(wire)
    wait_same_state(primary, replica)


def test_writers_continue_after_a_failover(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as wire, primary.connect() as writes:
        taken = 0
        while not isinstance(reply := writes.call("CL.THROTTLE", "k", 100_000, 1, 10_000), ErrorReply):
            taken += 1
            if taken == 500:
                wire.send(b"FAILOVER\r\n")
        assert reply.startswith(b"READONLY "), reply
        assert wire.read() == b"OK"
    eventually(lambda: replica.info()["role"] == "master", "the target has taken over")
    with replica.connect() as wire:
        # Nothing that was acknowledged is missing.
        assert wire.call("CL.THROTTLE", "k", 100_000, 1, 10_000, 0)[2] == 100_001 - taken
