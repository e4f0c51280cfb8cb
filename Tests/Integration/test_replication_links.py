"""Links that break at the worst moment: cut at any byte of a full sync, held in the middle of one, peers that stop
reading, and replicas with a full disk.

`ESCAPEMENT_CUTS` sets the number of cuts, half of them with a log and half without.
"""

import os
import time

import pytest

from dice import seeded
from durable import breaker, info, launch, limit_files, newest_log, take, wait_until_fine
from replication import (
    background, fill, nodes, pair, proxy_to, state_of, wait_on_disk, wait_online, wait_same_state, writer)
from ports import free_port
from wire import PATIENCE, command, eventually

assert launch, nodes  # fixtures

CUTS = int(os.environ.get("ESCAPEMENT_CUTS", "100"))


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_full_sync_cut_at_any_byte(nodes, appendonly):
    random = seeded(f"cuts, appendonly {appendonly}")
    primary = nodes("a", "--appendonly", appendonly)
    fill(primary, 10_000)
    with proxy_to(primary) as first, proxy_to(primary) as second:
        # The number of bytes of a full sync.
        replica = nodes("b", "--appendonly", appendonly, of=first.port)
        wait_same_state(primary, replica)
        total = first.passed[0]
        assert total > 50_000
        with background(writer(primary)):
            for number in range(CUTS // 2):
                # A different address each time resets the delay between attempts. Following every other node in between
                # makes the next sync a full one.
                replica.lead()
                # If it was cut in the middle, it first returns to the state on its disk.
                eventually(lambda: replica.info("persistence")["loading"] == "0", "the node is the primary")
                fill(replica, 1, f"own-{number}")
                proxy = (second, first)[number % 2]
                # The handshake takes about 150 bytes; half of the cuts are in the handshake, at the end, or after it.
                where = random.choice([
                    random.randrange(1, total), random.randrange(1, 300), total - random.randrange(0, 300)])
                proxy.limits = [where]
                before = len(proxy.passed)
                replica.follow(proxy.port)
                eventually(lambda: len(proxy.passed) > before + 1, f"the replica reconnects after a cut at {where}")
        wait_same_state(primary, replica)


def test_node_in_a_full_sync_is_loading(nodes):
    primary = nodes("a")
    fill(primary, 20_000)
    with proxy_to(primary) as proxy:
        replica = nodes("b")
        fill(replica, 10, "old")
        proxy.hold_after = 100_000
        replica.follow(proxy.port)
        with replica.connect() as wire:
            eventually(lambda: info(wire, "replication")["master_sync_in_progress"] == "1", "a full sync began")
            eventually(proxy.held.is_set, "the proxy holds it")
            assert wire.call("ROLE")[3] == b"sync"
            assert wire.call("DBSIZE").startswith(b"LOADING ")
            assert info(wire, "persistence")["loading"] == "1"
            assert wire.call("CLUSTER", "INFO") == b"ERR This instance has cluster support disabled"
            assert wire.call("CL.THROTTLE", "old-0", 1, 1, 1, 0).startswith(b"LOADING ")
            found = info(wire, "replication")
            assert found["slave_priority"] == "0" and found["master_link_status"] == "down"
            # INFO is updated after each turn of the sending thread.
            line = eventually(lambda: primary.info().get("slave0"), "the primary shows it")
            assert "state=online" not in line, line
            proxy.release()
            eventually(lambda: info(wire, "replication")["slave_priority"] == "100", "the state is complete")
            assert info(wire, "persistence")["loading"] == "0"
        assert len(wait_same_state(primary, replica)) == 20_000


@pytest.mark.parametrize("how", ["crash", "promote", "another"])
def test_full_sync_that_is_abandoned(nodes, how):
    primary = nodes("a")
    fill(primary, 20_000)
    with proxy_to(primary) as proxy:
        replica = nodes("b")
        fill(replica, 10, "old")
        wait_on_disk(replica, 0, own=True)
        proxy.hold_after = 100_000
        replica.follow(proxy.port)
        eventually(proxy.held.is_set, "the proxy holds it")
        with replica.connect() as wire:
            eventually(lambda: info(wire, "replication")["master_sync_in_progress"] == "1", "a full sync began")
        if how == "crash":
            # The files stay until the new state is complete.
            replica.crash()
            replica = nodes("b")
            assert replica.info()["role"] == "slave"
            assert sorted(state_of(replica)) == [b"old-%d" % n for n in range(10)]
            proxy.release()
        elif how == "promote":
            replica.lead()
            with replica.connect() as wire:
                eventually(lambda: wire.call("PING") == b"PONG", "it is the primary, with the state on its disk")
                assert sorted(state_of(replica)) == sorted(b"old-%d" % n for n in range(10))
                assert take(wire, "mine")[0] == 0
            replica.follow(primary)
        else:
            other = nodes("c")
            fill(other, 100, "other")
            replica.follow(other)
            assert len(wait_same_state(other, replica)) == 100
            replica.follow(primary)
        assert len(wait_same_state(primary, replica)) == 20_000


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_a_partial_state_is_neither_served_nor_kept(nodes, appendonly):
    primary, replica = pair(nodes, "--appendonly", appendonly)
    fill(primary, 500)
    wait_same_state(primary, replica)
    if appendonly == "yes":
        wait_on_disk(primary)
    else:
        with replica.connect() as wire:
            wire.ok("SAVE")
    other = nodes("c", "--appendonly", appendonly)
    fill(other, 20_000, "other")
    with proxy_to(other) as proxy, replica.connect() as wire, replica.connect() as second:
        # A transaction that was started before.
        assert second.calls("MULTI", "KEYS *", "BGSAVE") == [b"OK", b"QUEUED", b"QUEUED"]
        proxy.hold_after = 100_000
        replica.follow(proxy.port)
        eventually(proxy.held.is_set, "the proxy holds it")
        eventually(lambda: info(wire, "replication")["master_sync_in_progress"] == "1", "a full sync is in progress")
        # No primary is running, so nothing can complete the state.
        replica.follow(free_port())
        for words in ("DBSIZE", "KEYS *", "CL.THROTTLE k-1 1 1 1 0", "BGSAVE", "SAVE"):
            assert wire.call(*words.split()).startswith(b"LOADING "), words
        assert second.call("EXEC").startswith(b"EXECABORT Transaction discarded because of: LOADING ")
        # The full sync has ended, and the commands that are possible now see none of that state.
        assert second.call("EXEC") == b"ERR EXEC without MULTI"
        assert second.calls("MULTI", "LASTSAVE", "EXEC")[2][0] > 0
        assert wire.call("SAVE").startswith(b"LOADING ")
    replica.crash()
    replica = nodes("b", "--appendonly", appendonly)
    assert sorted(state_of(replica)) == sorted(b"k-%d" % n for n in range(500))
    replica.follow(primary)
    assert len(wait_same_state(primary, replica)) == 500


def test_replica_that_stops_reading_is_disconnected(nodes):
    primary = nodes("a", "--repl-backlog-size", "64kb", "--appendonly", "no")
    with primary.connect() as wire:
        wire.ok("CONFIG", "SET", "client-output-buffer-limit", "replica 1mb 1mb 1")
    replica = nodes("b", "--appendonly", "no", of=primary)
    wait_online(primary, 1)
    before = int(primary.info("memory")["used_memory_rss"])
    with replica.standing_still():
        deadline = time.monotonic() + PATIENCE
        number = 0
        while primary.info()["connected_slaves"] == "1":
            assert time.monotonic() < deadline, "a replica that does not read stays connected"
            # The same keys again, so that only the buffer for the replica can grow.
            with primary.connect() as wire:
                keys = [f"{'x' * 400}-{n}" for n in range(500)]
                wire.calls(*[("CL.THROTTLE", k, 1_000, 1, 1_000_000) for k in keys])
            assert int(primary.info()["repl_backlog_histlen"]) < 4 << 20
            number += 1
        assert int(primary.info("memory")["used_memory_rss"]) - before < 24 << 20
        log = primary.settled_log().lower()
        assert "limit" in log or "behind" in log, log
    wait_same_state(primary, replica)


def test_limit_below_the_backlog_disconnects_no_replica(nodes):
    """A replica may start that far behind, and would be disconnected again and again."""
    primary = nodes("a", "--repl-backlog-size", "64mb", "--appendonly", "no")
    with primary.connect() as wire:
        wire.ok("CONFIG", "SET", "client-output-buffer-limit", "replica 1mb 1mb 1")
    replica = nodes("b", "--appendonly", "no", of=primary)
    wait_online(primary, 1)
    with replica.standing_still():
        with primary.connect() as wire:
            keys = [f"{'x' * 2000}-{n}" for n in range(500)]
            while int(info(wire, "replication")["repl_backlog_histlen"]) < 20 << 20:
                assert isinstance(wire.calls(*[("CL.THROTTLE", k, 1000, 1, 1_000_000) for k in keys])[-1], list)
                assert wire.call("WAIT", 1, 1) == 0
            deadline = time.monotonic() + 2.5
            while time.monotonic() < deadline:
                assert info(wire, "replication")["connected_slaves"] == "1"
    wait_same_state(primary, replica)
    assert primary.syncs() == (1, 0)


def test_one_slow_replica_does_not_delay_the_others(nodes):
    primary = nodes("a")
    slow, quick = nodes("b", of=primary), nodes("c", of=primary)
    wait_online(primary, 2)
    with slow.standing_still():
        with primary.connect() as wire, quick.connect() as other:
            for number in range(100):
                take(wire, f"q-{number}")
                assert wire.call("WAIT", 1, 60_000) == 1
                assert take(other, f"q-{number}", 0)[2] == 15
    assert len(wait_same_state(primary, slow, quick)) == 100


# Disks


@pytest.mark.parametrize("mode", ["closed", "open"])
def test_replica_with_a_full_disk(nodes, mode):
    primary = nodes("a")
    fill(primary, 2000)
    replica = nodes("b", "--fail-mode", mode, "--auto-aof-rewrite-percentage", "0", of=primary)
    wait_same_state(primary, replica)
    fill(primary, 2000, "ballast")
    wait_same_state(primary, replica)
    wait_on_disk(primary)
    with replica.connect() as wire:
        # Larger than the server's own log, which must be able to grow.
        limit = max(newest_log(replica).stat().st_size + 100, replica.log_path.stat().st_size + 20_000)
        limit_files(replica, limit)
        fill(primary, 10_000, "more")
        eventually(lambda: breaker(wire) != "closed", "the disk is full")
        # It continues in memory; monitoring shows that it is unsuitable as a primary.
        eventually(lambda: wire.call("DBSIZE") == 14_000, "the stream continues")
        if mode == "closed":
            assert wire.call("PING").startswith(b"MISCONF ")
        else:
            assert wire.call("PING") == b"PONG"
        with primary.connect() as ours:
            assert ours.call("WAIT", 1, 60_000) == 1
        limit_files(replica, None)
        wait_until_fine(wire)
        fill(primary, 100, "after")
        assert len(wait_same_state(primary, replica)) == 14_100
        wait_on_disk(primary)
    before = primary.syncs()
    replica.crash()
    replica = nodes("b", "--fail-mode", mode, of=primary)
    assert len(wait_same_state(primary, replica)) == 14_100
    assert primary.syncs() == (before[0], before[1] + 1)


def test_replica_bounds_its_buffer_while_the_disk_stays_full(nodes):
    """While it is memory-only for long, it does not buffer the stream for the disk: a snapshot replaces it."""
    primary = nodes("a", "--save", "", "--appendonly", "no")
    replica = nodes("b", "--fail-mode", "open", "--auto-aof-rewrite-percentage", "0", of=primary)
    wait_online(primary, 1)
    wait_on_disk(primary)
    keys = [f"{n}-" + "x" * 100_000 for n in range(20)]
    with replica.connect() as wire, primary.connect() as ours:
        limit_files(replica, max(newest_log(replica).stat().st_size + 100, replica.log_path.stat().st_size + 20_000))
        before = int(info(wire, "memory")["used_memory_rss"])
        for turn in range(120):
            assert all(isinstance(reply, list) for reply in ours.calls(*[("CL.THROTTLE", k, 500, 1, 10**6) for k in keys]))
            # Triggers a collection, so that the next turn's states are in the stream too.
            assert ours.call("WAIT", 1, 60_000) == 1
            # Between two checks of the journal thread the buffer may exceed its bound: give the thread time to check.
            eventually(lambda: int(info(wire, "persistence")["journal_unsynced_bytes"]) <= 64 << 20, "it is bounded")
        assert breaker(wire) != "closed"
        assert "write backlog dropped" in replica.settled_log()
        # 240 MB arrived.
        assert int(info(wire, "memory")["used_memory_rss"]) - before < 150 << 20
        limit_files(replica, None)
        wait_until_fine(wire)
        fill(primary, 100, "after")
        assert len(wait_same_state(primary, replica)) == 120
        wait_on_disk(primary)
    before = primary.syncs()
    replica.crash()
    replica = nodes("b", of=primary)
    assert len(wait_same_state(primary, replica)) == 120
    assert primary.syncs() == (before[0], before[1] + 1)


def test_full_sync_to_a_full_disk(nodes):
    primary = nodes("a")
    fill(primary, 10_000)
    replica = nodes("b")
    limit_files(replica, 30_000)
    replica.follow(primary)
    with replica.connect() as wire:
        eventually(lambda: wire.call("DBSIZE") == 10_000, "the state is complete, in memory")
        eventually(lambda: breaker(wire) != "closed", "the disk is full")
        limit_files(replica, None)
        wait_until_fine(wire)
        assert len(wait_same_state(primary, replica)) == 10_000
        wait_on_disk(primary)
    before = primary.syncs()
    replica.crash()
    replica = nodes("b")
    assert len(wait_same_state(primary, replica)) == 10_000
    assert primary.syncs() == (before[0], before[1] + 1)


def test_primary_with_a_full_disk(nodes):
    primary = nodes("a", "--fail-mode", "open", "--auto-aof-rewrite-percentage", "0")
    fill(primary, 2000)
    replica = nodes("b", of=primary)
    wait_same_state(primary, replica)
    limit_files(primary, max(newest_log(primary).stat().st_size + 100, primary.log_path.stat().st_size + 20_000))
    fill(primary, 5000, "more")
    with primary.connect() as wire:
        eventually(lambda: breaker(wire) != "closed", "the disk is full")
        # Decided in memory, and replicated.
        assert len(wait_same_state(primary, replica)) == 7000
        # Immediately, not with the next heartbeat, which comes once a second.
        with replica.connect() as theirs:
            lasted = []
            for number in range(40):
                began = time.monotonic()
                assert take(wire, f"soon-{number}")[0] == 0
                eventually(lambda: theirs.call("EXISTS", f"soon-{number}") == 1, "the change has arrived")
                lasted.append(time.monotonic() - began)
            # With one heartbeat a second each change would take nearly that long, since it starts when the previous one
            # has arrived. A busy machine does not delay every one of them.
            assert sorted(lasted)[4] < 0.5, lasted
        assert breaker(wire) != "closed"
        limit_files(primary, None)
        wait_until_fine(wire)
    fill(primary, 100, "after")
    assert len(wait_same_state(primary, replica)) == 7140


def test_save_is_answered_when_a_full_sync_begins(nodes):
    primary = nodes("a")
    fill(primary, 10)
    node = nodes("b", "--appendonly", "no", "--save", "")
    with node.connect() as other:
        def replaced_meanwhile():
            # A demotion closes all connections except that of the client that asked for it.
            with node.connect() as wire:
                # Large, so that saving takes a while.
                for start in range(0, 1000, 50):
                    part = range(start, start + 50)
                    wire.calls(*[("CL.THROTTLE", f"{n}-" + "x" * 100_000, 500, 1, 10**6) for n in part])
                wire.send(command("SAVE"))
                other.ok("REPLICAOF", "127.0.0.1", primary.port)
                reply = wire.read()
            if reply == b"OK":
                # The test was too slow: the state was saved before the full sync began.
                other.ok("REPLICAOF", "NO", "ONE")
                return False
            assert reply == b"LOADING the state is being replaced by the primary's"
            return True

        eventually(replaced_meanwhile, "a full sync begins during the save")
        assert len(wait_same_state(primary, node)) == 10
        # It can save again.
        assert other.call("SAVE") == b"OK"
