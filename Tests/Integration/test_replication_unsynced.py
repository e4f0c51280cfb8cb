"""Replicas that have never had a state: whatever happens to them, they must not be promoted, and they serve no
client."""

import pytest

from durable import launch
from ports import free_port
from replication import fill, nodes, pair, proxy_to, wait_on_disk, wait_online, wait_same_state
from wire import eventually

assert launch, nodes  # fixtures


def priority(node):
    found = eventually(lambda: (found := node.info())["role"] == "slave" and found, "it knows its role")
    return found["slave_priority"]


def again(nodes, node, name, **options):
    """The node, restarted after a crash."""
    node.crash()
    return nodes(name, **options)


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_first_start_without_its_primary(nodes, appendonly):
    dead = free_port()
    flags = ("--appendonly", appendonly)
    replica = nodes("b", *flags, of=dead)
    assert priority(replica) == "0"
    with replica.connect() as wire:
        wire.ok("CONFIG", "SET", "save", "3600 1")
    replica.stop()  # a snapshot if there is no log
    replica = nodes("b", *flags, of=dead)
    assert priority(replica) == "0"
    replica = again(nodes, replica, "b", of=dead)
    assert priority(replica) == "0"
    primary = nodes("a", *flags, port=dead)
    fill(primary, 10)
    wait_same_state(primary, replica)
    assert priority(replica) == "100"


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_empty_primary_that_becomes_a_replica(nodes, appendonly):
    flags = ("--appendonly", appendonly)
    node = nodes("b", *flags)
    with node.connect() as wire:
        wire.call("SAVE")
    node.follow(free_port())
    assert priority(node) == "0"
    node = again(nodes, node, "b")
    assert priority(node) == "0"
    # Promoted by hand it is a primary like any other, and also once it has keys.
    node.lead()
    assert node.info()["role"] == "master"
    fill(node, 5)
    node.stop()
    node = nodes("b", *flags)
    assert node.info()["role"] == "master"
    other = nodes("c", *flags, of=node)
    assert priority(other) in ("0", "100")
    wait_same_state(node, other)


def test_serves_no_client_before_its_first_state(nodes):
    replica = nodes("b", of=free_port())
    with replica.connect() as wire:
        for words in ("PING", "DBSIZE", "CL.THROTTLE k 15 1 60 0", "WAIT 0 0"):
            assert wire.call(*words.split()).startswith((b"MASTERDOWN ", b"ERR WAIT cannot")), words
        assert wire.call("CL.THROTTLE", "k", 15, 1, 60).startswith(b"READONLY ")
        # What a Sentinel sends and queries.
        wire.ok("CLIENT", "SETNAME", "sentinel")
        assert wire.call("PUBLISH", "__sentinel__:hello", "x") == 0
        assert wire.call("CLUSTER", "INFO") == b"ERR This instance has cluster support disabled"
        assert wire.calls("MULTI", "SLAVEOF NO ONE", "EXEC")[2] == [b"OK"]
        eventually(lambda: wire.call("PING") == b"PONG", "it is the primary, without keys")


def test_plain_start_before_replicaof(nodes):
    node = nodes("b")
    node.stop()
    dead = free_port()
    node = nodes("b", of=dead)
    assert priority(node) == "0"
    assert priority(again(nodes, node, "b", of=dead)) == "0"


def test_former_primary_with_keys_may_be_promoted(nodes):
    node = nodes("b")
    fill(node, 3)
    node.stop()
    node = nodes("b", of=free_port())
    assert priority(node) == "100"


def test_killed_within_its_first_full_sync(nodes):
    primary = nodes("a")
    fill(primary, 20_000)
    with proxy_to(primary) as proxy:
        proxy.hold_after = 100_000
        replica = nodes("b")
        replica.follow(proxy.port)
        eventually(lambda: replica.info().get("master_sync_in_progress") == "1", "a full sync is in progress")
        replica.crash()
        proxy.limits = [0] * 100
        replica = nodes("b")
        assert priority(replica) == "0"


@pytest.mark.parametrize("told", [True, False])
def test_complete_and_empty_may_be_promoted(nodes, told):
    """Limiters expire: an idle group has no keys, and must still be able to fail over after a restart."""
    primary = nodes("a")
    if told:
        replica = nodes("b")
        replica.follow(primary)
    else:
        replica = nodes("b", of=primary)
    wait_online(primary, 1)
    with primary.connect() as wire:
        # On the replica's disk.
        assert wire.call("WAITAOF", 0, 1, 60_000)[1] == 1
    primary.stop()
    replica = again(nodes, replica, "b", **({} if told else {"of": primary.port}))
    assert priority(replica) == "100"
    # As a primary it may lose that again.
    if not told:
        replica.stop()
        replica = nodes("b")
        assert replica.info()["role"] == "master"
        replica.stop()
        assert priority(nodes("b", of=primary.port)) == "0"


def test_a_once_complete_replica_resumes(nodes):
    """A replica that once had a complete state resumes, without a full sync."""
    primary, replica = pair(nodes)
    fill(primary, 10)
    wait_same_state(primary, replica)
    wait_on_disk(primary)
    replica = again(nodes, replica, "b", of=primary)
    wait_same_state(primary, replica)
    assert primary.syncs() == (1, 1)
