"""Nodes promoted during a full sync return to the state on their disk before they serve as primary. Spent units stay
spent, and no part of another node's state is served or kept."""

import contextlib
import json
import signal
import subprocess

import pytest

from durable import BURST, info, launch, take
from replication import fill, nodes, pair, proxy_to, state_of, wait_online, wait_same_state
from server import find_binary
from wire import eventually

assert launch, nodes  # fixtures

# With a log, and with snapshots only.
LOGS = pytest.mark.parametrize("appendonly", ["yes", "no"])
LOADING = b"LOADING Redis is loading the dataset in memory"


def spend(node, keys=300):
    """Takes some units of most keys and all units of a few, and sets a policy."""
    fill(node, keys, quantity=3)
    with node.connect() as wire:
        for number in range(10):
            assert take(wire, f"spent-{number}", BURST + 1)[2] == 0
        wire.ok("RL.POLICY", "SET", "mine", "LIMIT", 5, "PER", "1h")


def save(node):
    with node.connect() as wire:
        wire.ok("SAVE")


def with_another_primary(nodes, *flags):
    """A primary with other keys, some with the same names and fewer units spent, and with another policy."""
    other = nodes("other", *flags)
    fill(other, 300)
    fill(other, 20_000, "theirs")
    with other.connect() as wire:
        wire.ok("RL.POLICY", "SET", "theirs", "LIMIT", 5, "PER", "1h")
    return other


@contextlib.contextmanager
def inside_a_full_sync(node, other):
    """The node follows the other one, whose snapshot is held in transit."""
    with proxy_to(other) as proxy:
        proxy.hold_after = 100_000
        node.follow(proxy.port)
        eventually(proxy.held.is_set, "the proxy holds the snapshot")
        eventually(lambda: node.info()["master_sync_in_progress"] == "1", "a full sync is in progress")
        yield proxy


def policies_of(node):
    with node.connect() as wire:
        return [policy[1] for policy in wire.call("RL.POLICY", "LIST")]


def leads(node):
    return node.info()["role"] == "master" and node.info("persistence")["loading"] == "0"


def check(node):
    """The exit code and output of `escapement check`; the node must not be running."""
    done = subprocess.run([find_binary(), "check", str(node.directory), "--json"], capture_output=True, timeout=30)
    return done.returncode, json.loads(done.stdout)


@LOGS
def test_promoted_during_a_snapshot(nodes, appendonly):
    """Units spent before the full sync are still spent afterwards and after a crash; and the files are valid."""
    flags = ("--appendonly", appendonly)
    primary, node = pair(nodes, *flags)
    spend(primary)
    before = wait_same_state(primary, node)
    if appendonly == "no":
        save(node)
    other = with_another_primary(nodes, *flags)
    with inside_a_full_sync(node, other) as proxy:
        proxy.cut()
        node.lead()
        eventually(lambda: leads(node), "it is the primary")
        assert state_of(node) == before and policies_of(node) == [b"mine"]
        with node.connect() as wire:
            for number in range(10):
                assert take(wire, f"spent-{number}")[0] == 1, "a spent limit was allowed again"
            assert take(wire, "k-0")[:3] == [0, BURST + 1, BURST + 1 - 4]
            if appendonly == "yes":
                eventually(lambda: info(wire, "persistence")["journal_unsynced_bytes"] == "0", "it is on disk")
        if appendonly == "no":
            save(node)
        after = state_of(node)
        assert after != before
    node.crash()
    code, found = check(node)
    assert code == 0 and found["clean"], found
    node = nodes("b", *flags)
    assert node.info()["role"] == "master"
    assert state_of(node) == after and policies_of(node) == [b"mine"]
    primary.follow(node)
    assert wait_same_state(node, primary) == after


@LOGS
def test_two_abandoned_full_syncs(nodes, appendonly):
    """Two full syncs are abandoned, one after the other; Sentinel's transaction ends the second one."""
    flags = ("--appendonly", appendonly)
    node = nodes("b", *flags)
    spend(node)
    if appendonly == "no":
        save(node)
    before = state_of(node)
    other = with_another_primary(nodes, *flags)
    third = nodes("third", *flags)
    fill(third, 20_000, "third")
    with inside_a_full_sync(node, other):
        pass
    with inside_a_full_sync(node, third), node.connect() as wire:
        assert wire.calls("MULTI", "SLAVEOF NO ONE", "CONFIG REWRITE", "CLIENT KILL TYPE normal", "EXEC")[-1][0] == b"OK"
        eventually(lambda: leads(node), "it is the primary")
        assert state_of(node) == before and policies_of(node) == [b"mine"]


def test_the_last_changes_of_a_primary_are_on_disk(nodes):
    """The last changes before REPLICAOF are not yet on disk when they are made, but are written before the full
    sync."""
    node = nodes("b")
    other = with_another_primary(nodes)
    expected = {}
    for turn in range(10):
        fill(node, 200, f"last-{turn}")
        expected |= {b"last-%d-%d" % (turn, number): 2000 for number in range(200)}
        with inside_a_full_sync(node, other):
            node.lead()
            eventually(lambda: leads(node), "it is the primary")
            assert state_of(node) == expected


def test_without_a_state_on_disk_it_is_empty(nodes):
    """State that was never saved is lost when the full sync begins. The log says so."""
    node = nodes("b", "--appendonly", "no")
    fill(node, 100)
    other = with_another_primary(nodes)
    with inside_a_full_sync(node, other):
        node.lead()
        eventually(lambda: leads(node), "it is the primary")
        with node.connect() as wire:
            assert wire.call("DBSIZE") == 0 and wire.call("RL.POLICY", "LIST") == []
            assert take(wire, "new")[0] == 0
        node.wait_log("no state on disk")


def test_replicas_of_the_promoted_node(nodes):
    """A replica of the promoted node has that node's state, and nothing of the abandoned sync."""
    primary, node = pair(nodes)
    spend(primary)
    below = nodes("c", of=node)
    before = wait_same_state(primary, node, below)
    other = with_another_primary(nodes)
    with inside_a_full_sync(node, other):
        node.lead()
        assert wait_same_state(node, below) == before
        wait_online(node, 1)
        with node.connect() as wire:
            assert take(wire, "spent-0")[0] == 1


@LOGS
def test_killed_while_it_restores_its_state(nodes, appendonly):
    """The role is saved before the state is read, so a restart becomes the primary with that state."""
    flags = ("--appendonly", appendonly)
    node = nodes("b", *flags)
    spend(node)
    if appendonly == "no":
        save(node)
    before = state_of(node)
    other = with_another_primary(nodes, *flags)
    with inside_a_full_sync(node, other), files_away(node):
        node.lead()
        eventually(lambda: "cannot restore the state on disk" in node.log(), "it cannot restore its state")
        node.crash()
    node = nodes("b", *flags)
    assert node.info()["role"] == "master" and state_of(node) == before


# While its state cannot be read


@contextlib.contextmanager
def files_away(node):
    """Renames the manifest in the meantime."""
    manifest = node.files / "manifest"
    away = node.files / "manifest.away"
    manifest.rename(away)
    try:
        yield
    finally:
        away.rename(manifest)


@contextlib.contextmanager
def stuck(nodes):
    """A node that becomes the primary once its state can be read, its previous state, and the primary it followed."""
    node = nodes("b")
    spend(node)
    before = state_of(node)
    other = with_another_primary(nodes)
    with inside_a_full_sync(node, other):
        with files_away(node):
            node.lead()
            eventually(lambda: "cannot restore the state on disk" in node.log(), "it cannot restore its state")
            yield node, before, other


def test_nothing_is_served_before_the_state_is_restored(nodes):
    with stuck(nodes) as (node, before, _):
        with node.connect() as wire:
            requests = [
                "PING", "DBSIZE", "KEYS *", "GET k-0", "CL.THROTTLE k-0 15 1 60", "CL.THROTTLE k-0 15 1 60 0",
                "INCR n", "FLUSHALL", "RL.POLICY SET p LIMIT 1 PER 1s", "WAIT 0 0", "WAITAOF 0 0 0", "SAVE", "BGSAVE"]
            for words in requests:
                assert wire.call(*words.split()) == LOADING, words
            assert wire.calls("MULTI", "LASTSAVE", "EXEC")[2][0] > 0
            found = info(wire)
            assert found["role"] == "master" and found["loading"] == "1" and "loading_loaded_perc" in found
            assert wire.call("ROLE")[0] == b"master"
            # Promoted again, it is still restoring.
            wire.ok("REPLICAOF", "NO", "ONE")
            assert wire.call("FAILOVER").startswith(b"ERR ")
        with node.connect() as wire:
            assert wire.call("PSYNC", "?", "-1") == LOADING
    # The files are back, and the node retries within seconds.
    eventually(lambda: leads(node), "it is the primary", 30)
    assert state_of(node) == before
    with node.connect() as wire:
        assert take(wire, "spent-0")[0] == 1


def test_replicaof_ends_the_restoring(nodes):
    with stuck(nodes) as (node, _, other):
        with node.connect() as wire:
            wire.ok("REPLICAOF", "127.0.0.1", other.port)
            assert wire.call("CL.THROTTLE", "k-0", 15, 1, 60).startswith((b"READONLY ", b"LOADING "))
        assert len(wait_same_state(other, node)) == 20_300
    # The new state is on disk.
    eventually(lambda: node.info("persistence")["aof_rewrite_in_progress"] == "0", "the new state is saved")


def test_replicaof_and_again_no_one(nodes):
    with stuck(nodes) as (node, before, other):
        with inside_a_full_sync(node, other):
            node.lead()
            assert node.info("persistence")["loading"] == "1"
    eventually(lambda: leads(node), "it is the primary", 30)
    assert state_of(node) == before


@pytest.mark.parametrize("how", ["SIGTERM", "SHUTDOWN"])
def test_stopped_while_it_restores_its_state(nodes, how):
    with stuck(nodes) as (node, before, _):
        if how == "SIGTERM":
            node.process.send_signal(signal.SIGTERM)
        else:
            with node.connect() as wire:
                wire.send(b"SHUTDOWN\r\n")
                wire.expect_closed()
        assert node.wait_exit() == 0
        assert check(node)[0] == 1  # the manifest is missing
    node = nodes("b")
    assert node.info()["role"] == "master" and state_of(node) == before
