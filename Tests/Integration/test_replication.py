"""Replicas have their primary's state: full syncs, lost links, restarts on either side, and failing back."""

import contextlib

import pytest

from clock import milliseconds
from durable import BURST, info, launch, remaining, take
from replication import (
    background, fill, nodes, offset_of, proxy_to, state_of, wait_on_disk, wait_online, wait_same_offset,
    wait_same_state, writer)
from wire import ErrorReply, eventually

assert launch, nodes  # fixtures


# Full sync


def test_full_sync_brings_every_key(nodes):
    primary = nodes("a")
    fill(primary, 5000)
    replica = nodes("b", of=primary)
    assert len(wait_same_state(primary, replica)) == 5000
    fill(primary, 300, "later", 3)
    assert len(wait_same_state(primary, replica)) == 5300
    assert primary.syncs() == (1, 0)


def test_full_sync_under_load(nodes):
    primary = nodes("a")
    fill(primary, 20_000)
    with background(writer(primary)):
        replica = nodes("b", of=primary)
        replica.wait_link()
    wait_same_state(primary, replica)


def test_full_sync_replaces_what_was_there(nodes):
    primary, replica = nodes("a"), nodes("b")
    fill(primary, 100, "new")
    fill(replica, 100, "old")
    replica.follow(primary)
    assert all(key.startswith(b"new") for key in wait_same_state(primary, replica))


def test_empty_primary(nodes):
    primary = nodes("a")
    replica = nodes("b", of=primary)
    assert wait_same_state(primary, replica) == {}


@pytest.mark.parametrize("logs", [("no", "no"), ("no", "yes"), ("yes", "no")], ids="-".join)
def test_with_and_without_log(nodes, logs):
    primary = nodes("a", "--appendonly", logs[0])
    fill(primary, 500)
    replica = nodes("b", "--appendonly", logs[1], of=primary)
    wait_same_state(primary, replica)
    fill(primary, 100, "later")
    wait_same_state(primary, replica)


def test_all_kinds_of_changes_arrive(nodes):
    primary = nodes("a")
    fill(primary, 50)
    replica = nodes("b", of=primary)
    wait_same_state(primary, replica)
    with primary.connect() as wire:
        assert wire.call("DEL", "k-0", "k-1") == 2
        assert wire.call("EXPIRE", "k-2", 5000) == 1
        assert wire.calls("MULTI", ("CL.THROTTLE", "k-3", BURST, 1, 1_000_000), "EXEC")[2]
    assert len(wait_same_state(primary, replica)) == 48
    with primary.connect() as ours, replica.connect() as theirs:
        def agree():
            clock = milliseconds()
            mine, other = ours.call("PTTL", "k-2"), theirs.call("PTTL", "k-2")
            assert 0 < mine <= 5_000_000
            # The replica's time does not advance between batches, for about a second unless the machine stalls.
            return mine - 100 - clock.passed() <= other <= mine + 2500

        eventually(agree, "the deadline is the same on both")
        ours.ok("FLUSHALL")
    assert wait_same_state(primary, replica) == {}
    fill(primary, 7)
    assert len(wait_same_state(primary, replica)) == 7


def test_expired_keys_are_gone_on_both(nodes):
    primary = nodes("a")
    replica = nodes("b", of=primary)
    replica.wait_link()
    with primary.connect() as wire:
        assert wire.call("CL.THROTTLE", "short", 1, 1, 1)[0] == 0
    wait_same_offset(primary, replica)
    for node in (primary, replica):
        with node.connect() as wire:
            eventually(lambda: wire.call("EXISTS", "short") == 0, "expired")


def test_only_the_primary_evicts(nodes):
    """A replica that evicted on its own would have another state at the same offset. Its limit applies once
    promoted."""
    evicting = ("--maxmemory-policy", "evict-soonest", "--shards", "16")
    limit = 1 << 20
    primary = nodes("a", "--maxmemory", str(limit), *evicting)
    # Lower, so that it would certainly evict keys that the primary keeps.
    replica = nodes("b", "--maxmemory", str(limit // 2), *evicting, of=primary)
    with primary.connect() as ours, replica.connect() as theirs:
        def evicted(wire):
            return int(info(wire, "stats")["evicted_keys"])

        fill(primary, 40_000)
        assert evicted(ours) > 0
        # Setting it again does not make it apply either.
        theirs.ok("CONFIG", "SET", "maxmemory", limit // 2)
        fill(primary, 2000, "later")
        # Its sweep has nothing left to do.
        ours.ok("CONFIG", "SET", "maxmemory", 0)
        kept = wait_same_state(primary, replica)
        assert evicted(theirs) == 0 and int(info(theirs, "memory")["used_memory_dataset"]) > limit // 2
        theirs.ok("REPLICAOF", "NO", "ONE")
        eventually(lambda: evicted(theirs) > 0, "its own limit applies")
        eventually(lambda: theirs.call("DBSIZE") < 0.8 * len(kept), "it has evicted enough")
        theirs.ok("CONFIG", "SET", "maxmemory", 0)
        primary.follow(replica)
        assert len(wait_same_state(replica, primary)) < len(kept)


# Reading and refusing


def test_replica_reads_and_does_not_write(nodes):
    primary = nodes("a")
    fill(primary, 3, quantity=4)
    replica = nodes("b", of=primary)
    wait_same_state(primary, replica)
    with replica.connect() as wire:
        assert remaining(wire, "k-0") == BURST + 1 - 4
        assert remaining(wire, "unknown") == BURST + 1
        readonly = b"READONLY You can't write against a read only replica."
        assert take(wire, "k-0") == readonly
        for words in ("DEL k-0", "FLUSHALL", "EXPIRE k-0 10", "PERSIST k-0", "UNLINK k-0"):
            assert wire.call(*words.split()) == readonly, words
        replies = wire.calls("MULTI", ("CL.THROTTLE", "k-0", BURST, 1, 1_000_000), "EXEC")
        assert replies[1] == readonly and isinstance(replies[2], ErrorReply), replies
        assert wire.call("EXISTS", "k-0", "k-1") == 2
        assert wire.call("DBSIZE") == 3


def test_publish_and_subscribe_on_a_replica(nodes):
    primary = nodes("a")
    replica = nodes("b", of=primary)
    replica.wait_link()
    with replica.connect() as listener, replica.connect() as speaker:
        assert listener.call("SUBSCRIBE", "__sentinel__:hello") == [b"subscribe", b"__sentinel__:hello", 1]
        assert speaker.call("PUBLISH", "__sentinel__:hello", "text") == 1
        assert listener.read() == [b"message", b"__sentinel__:hello", b"text"]


def test_stale_data_may_be_refused(nodes):
    primary = nodes("a")
    fill(primary, 3)
    replica = nodes("b", "--replica-serve-stale-data", "no", of=primary)
    wait_same_state(primary, replica)
    primary.stop()
    with replica.connect() as wire:
        eventually(lambda: info(wire, "replication")["master_link_status"] == "down", "the link is down")
        assert take(wire, "k-0", 0).startswith(b"MASTERDOWN ")
        assert wire.call("CONFIG", "SET", "replica-serve-stale-data", "yes") == b"OK"
        assert remaining(wire, "k-0") == BURST


# Partial sync


def served_after(primary, before):
    """The number of full and partial syncs served since."""
    now = primary.syncs()
    return now[0] - before[0], now[1] - before[1]


def test_killed_link_continues(nodes):
    primary = nodes("a")
    fill(primary, 1000)
    replica = nodes("b", of=primary)
    wait_same_state(primary, replica)
    before = primary.syncs()
    with primary.connect() as wire:
        assert wire.call("CLIENT", "KILL", "TYPE", "replica") == 1
        fill(primary, 100, "later")
    eventually(lambda: served_after(primary, before) == (0, 1), "a partial sync")
    assert len(wait_same_state(primary, replica)) == 1100


def test_cut_links_continue_under_load(nodes):
    primary = nodes("a")
    with proxy_to(primary) as proxy:
        replica = nodes("b", of=proxy.port)
        replica.wait_link()
        before = primary.syncs()
        with background(writer(primary)):
            for number in range(5):
                proxy.cut()
                eventually(lambda: served_after(primary, before) == (0, number + 1), "a partial sync")
                replica.wait_link()
        wait_same_state(primary, replica)
        assert served_after(primary, before) == (0, 5)


@contextlib.contextmanager
def impatient(node):
    """Makes a node consider a peer gone after a second; only while one is, so that a busy machine does not disconnect
    the other one."""
    with node.connect() as wire:
        wire.ok("CONFIG", "SET", "repl-timeout", 1)
        yield
        wire.ok("CONFIG", "SET", "repl-timeout", 60)


def test_stopped_replica_continues(nodes):
    primary = nodes("a")
    replica = nodes("b", of=primary)
    wait_same_state(primary, replica)
    before = primary.syncs()
    with replica.standing_still():
        fill(primary, 500)
        with impatient(primary):
            eventually(lambda: primary.info()["connected_slaves"] == "0", "the silent replica is disconnected")
    assert len(wait_same_state(primary, replica)) == 500
    assert served_after(primary, before) == (0, 1)


def test_stopped_primary_is_noticed(nodes):
    primary = nodes("a")
    replica = nodes("b", of=primary)
    wait_same_state(primary, replica)
    with primary.standing_still():
        with impatient(replica):
            eventually(lambda: replica.info()["master_link_status"] == "down", "the silent primary is noticed")
        eventually(lambda: int(replica.info().get("master_link_down_since_seconds", 0)) >= 1, "the seconds increase")
    wait_same_state(primary, replica)
    assert primary.syncs()[0] == 1


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_restarted_replica_keeps_its_role_and_continues(nodes, how):
    primary = nodes("a")
    fill(primary, 1000)
    replica = nodes("b")
    replica.follow(primary)
    wait_same_state(primary, replica)
    # A crash may lose what is not on disk yet, including the position.
    wait_on_disk(primary)
    before = primary.syncs()
    getattr(replica, how)()
    fill(primary, 100, "meanwhile")
    replica = nodes("b")
    assert (replica.directory / "role").read_text() == f"replica 127.0.0.1 {primary.port}\n"
    assert replica.info()["role"] == "slave"
    assert len(wait_same_state(primary, replica)) == 1100
    assert served_after(primary, before) == (0, 1)


def test_replica_without_files_gets_a_full_sync(nodes):
    primary = nodes("a")
    fill(primary, 100)
    replica = nodes("b", "--appendonly", "no")
    replica.follow(primary)
    wait_same_state(primary, replica)
    replica.crash()
    replica = nodes("b", "--appendonly", "no")
    wait_same_state(primary, replica)


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_restarted_primary_is_followed(nodes, how):
    primary = nodes("a")
    fill(primary, 1000)
    replica = nodes("b", of=primary)
    wait_same_state(primary, replica)
    wait_on_disk(primary, own=True)
    getattr(primary, how)()
    primary = nodes("a")
    assert primary.info()["role"] == "master"
    assert len(wait_same_state(primary, replica)) == 1000
    fill(primary, 100, "later")
    assert len(wait_same_state(primary, replica)) == 1100


def test_backlog_too_small_means_a_full_sync(nodes):
    primary = nodes("a", "--repl-backlog-size", "16kb")
    with proxy_to(primary) as proxy:
        replica = nodes("b", of=proxy.port)
        wait_same_state(primary, replica)
        before = primary.syncs()
        proxy.hold()
        proxy.cut()
        eventually(lambda: primary.info()["connected_slaves"] == "0", "the link is closed")
        fill(primary, 2000, "x" * 200)  # more than a block of the backlog, which is dropped as a whole
        eventually(lambda: int(primary.info()["repl_backlog_first_byte_offset"]) > 1000, "the backlog is trimmed")
        proxy.release()
        assert len(wait_same_state(primary, replica)) == 2000
        assert served_after(primary, before) == (1, 0)


# Changing roles


def test_promotion_and_failback_resume(nodes):
    first = nodes("a")
    fill(first, 1000)
    second = nodes("b", of=first)
    wait_same_state(first, second)
    old = first.info()["master_replid"]
    first.stop()
    second.lead()
    found = second.info()
    assert found["role"] == "master" and found["master_replid"] != old and found["master_replid2"] == old
    assert int(found["second_repl_offset"]) > 0
    fill(second, 100, "after")
    # The former primary had nothing that the new one lacks.
    first = nodes("a")
    first.follow(second)
    assert len(wait_same_state(second, first)) == 1100
    # And the other way round.
    second_syncs = second.syncs()
    assert second_syncs[0] + second_syncs[1] == 1
    second.stop()
    first.lead()
    fill(first, 50, "again")
    second = nodes("b")
    second.follow(first)
    assert len(wait_same_state(first, second)) == 1150


def test_old_primary_continues_partially(nodes):
    first = nodes("a")
    fill(first, 1000)
    second = nodes("b", of=first)
    wait_same_state(first, second)
    wait_online(first, 1)
    # After FAILOVER no node lacks anything.
    with first.connect() as wire:
        wire.ok("FAILOVER")
    eventually(lambda: second.info()["role"] == "master", "the other node is the primary")
    fill(second, 100, "after")
    assert len(wait_same_state(second, first)) == 1100
    assert second.syncs() == (0, 1)
    assert first.info()["role"] == "slave"


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_killed_primary_that_lacks_nothing_continues(nodes, how):
    first = nodes("a")
    fill(first, 1000)
    second = nodes("b", of=first)
    wait_same_state(first, second)
    wait_on_disk(first, own=True)
    getattr(first, how)()
    second.lead()
    fill(second, 100, "after")
    first = nodes("a")
    assert first.info()["role"] == "master"
    first.follow(second)
    assert len(wait_same_state(second, first)) == 1100
    assert second.syncs() == (0, 1)


def test_other_replicas_follow_a_promoted_replica(nodes):
    first = nodes("a")
    fill(first, 1000)
    second, third = nodes("b", of=first), nodes("c", of=first)
    wait_same_state(first, second, third)
    first.crash()
    second.lead()
    third.follow(second)
    fill(second, 100, "after")
    assert len(wait_same_state(second, third)) == 1100


def test_a_former_primary_loses_unreplicated_changes(nodes):
    first = nodes("a")
    fill(first, 100)
    second = nodes("b", of=first)
    wait_same_state(first, second)
    second.lead()
    fill(first, 50, "lost")
    fill(second, 50, "kept")
    first.follow(second)
    state = wait_same_state(second, first)
    assert len(state) == 150 and not any(key.startswith(b"lost") for key in state)
    assert second.syncs()[0] == 1


def test_replica_of_a_replica(nodes):
    first = nodes("a")
    fill(first, 1000)
    second = nodes("b", of=first)
    third = nodes("c", of=second)
    wait_same_state(first, second, third)
    fill(first, 100, "later")
    assert len(wait_same_state(first, second, third)) == 1100
    assert first.info()["connected_slaves"] == "1" and second.info()["connected_slaves"] == "1"
    # The one in the middle becomes primary; the last keeps following it.
    before = second.syncs()
    first.crash()
    second.lead()
    fill(second, 100, "after")
    assert len(wait_same_state(second, third)) == 1200
    assert second.syncs()[0] == before[0]


def test_middle_node_moves(nodes):
    first, other = nodes("a"), nodes("d")
    fill(first, 100, "first")
    fill(other, 100, "other")
    second = nodes("b", of=first)
    third = nodes("c", of=second)
    wait_same_state(first, second, third)
    second.follow(other)
    state = wait_same_state(other, second, third)
    assert all(key.startswith(b"other") for key in state)
    assert len(state_of(first)) == 100
    assert offset_of(third) > 0
