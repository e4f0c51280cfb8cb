"""Nodes without a log, and nodes that get one at run time: a node claims an offset only if it has that state."""

from durable import info, launch, take
from replication import fill, nodes, wait_online, wait_same_state
from wire import eventually

assert launch, nodes  # fixtures


def test_a_snapshot_without_a_log_is_not_a_position(nodes):
    """A snapshot saved by a node without a log has no offset: after a restart the node requests a full sync."""
    first = nodes("a", "--appendonly", "no")
    second = nodes("b", of=first)
    wait_online(first, 1)
    fill(first, 50)
    with first.connect() as wire:
        wire.ok("SAVE")
    # After the snapshot, and before the point at which the other node takes over.
    fill(first, 50, "later")
    wait_same_state(first, second)
    first.crash()
    second.lead()
    fill(second, 50, "new")
    first = nodes("a", "--appendonly", "no", of=second)
    assert len(wait_same_state(second, first)) == 150
    assert second.syncs()[0] == 1


def test_a_log_switched_on_has_the_history_that_replicas_follow(nodes):
    """A primary without a log starts a history for its first replica, and a log later; after a restart the replica
    resumes from its position."""
    first = nodes("a", "--appendonly", "no")
    fill(first, 10)
    second = nodes("b", of=first)
    wait_online(first, 1)
    with first.connect() as wire:
        wire.ok("CONFIG", "SET", "appendonly", "yes")
        eventually(lambda: info(wire, "persistence")["aof_rewrite_in_progress"] == "0", "the log is complete")
    fill(first, 10, "more")
    wait_same_state(first, second)
    first.stop()
    first = nodes("a", "--appendonly", "yes")
    assert len(wait_same_state(first, second)) == 20
    assert first.syncs() == (0, 1)


def test_unjournaled_changes_end_a_history(nodes):
    """A primary with unjournaled changes does not answer +CONTINUE to a replica with an earlier position."""
    first = nodes("a")
    second = nodes("b", of=first)
    wait_online(first, 1)
    fill(first, 20)
    wait_same_state(first, second)
    second.stop()
    first.stop()
    # Without a log and a replica, changes are in no journal.
    first = nodes("a", "--appendonly", "no")
    fill(first, 20, quantity=2)
    with first.connect() as wire:
        wire.ok("CONFIG", "SET", "appendonly", "yes")
        eventually(lambda: info(wire, "persistence")["aof_rewrite_in_progress"] == "0", "the log is complete")
        assert take(wire, "k-0", 0)[2] == take(wire, "k-1", 0)[2]
    second = nodes("b", of=first)
    wait_same_state(first, second)
