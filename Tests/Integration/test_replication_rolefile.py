"""The file `role`: saved as soon as the disk permits, and before a handover."""

from durable import info, launch, limit_files, take
from replication import fill, nodes, pair, wait_same_state
from wire import eventually

assert launch, nodes  # fixtures


def is_saved(node):
    return node.info("persistence")["storage_role_saved"] == "1"


def block(node):
    """Makes it impossible to replace the role file."""
    path = node.directory / "role"
    path.unlink(missing_ok=True)
    (path / "x").mkdir(parents=True)


def unblock(node):
    path = node.directory / "role"
    (path / "x").rmdir()
    path.rmdir()


def test_promotion_on_a_full_disk_is_saved_later(nodes):
    primary = nodes("a")
    replica = nodes("b", "--fail-mode", "open", "--appendonly", "no", "--save", "")
    replica.follow(primary)
    wait_same_state(primary, replica)
    assert is_saved(replica)
    limit_files(replica, 0)
    replica.lead()
    eventually(lambda: not is_saved(replica), "INFO reports it")
    limit_files(replica, None)
    eventually(lambda: is_saved(replica), "the role is saved")
    assert (replica.directory / "role").read_text() == "primary\n"
    replica.crash()
    assert nodes("b", of=primary).info()["role"] == "master"


def test_last_of_several_roles_is_saved(nodes):
    primary, replica = pair(nodes)
    block(replica)
    replica.lead()
    replica.follow(primary)
    eventually(lambda: not is_saved(replica), "INFO reports it")
    unblock(replica)
    eventually(lambda: is_saved(replica), "the role is saved")
    assert (replica.directory / "role").read_text() == f"replica 127.0.0.1 {primary.port}\n"


def test_no_handover_unless_the_role_is_saved(nodes):
    primary, replica = pair(nodes)
    fill(primary, 20)
    wait_same_state(primary, replica)
    block(primary)
    with primary.connect() as wire:
        wire.ok("FAILOVER")
        eventually(lambda: "not handing over" in primary.log(), "the handover is cancelled")
        eventually(lambda: info(wire, "replication")["master_failover_state"] == "no-failover", "the failover ended")
        assert take(wire, "after")[0] == 0
        assert info(wire, "replication")["role"] == "master" and not is_saved(primary)
    assert len(wait_same_state(primary, replica)) == 21
    # The history is the same, so no node needed a full sync.
    assert primary.syncs() == (1, 0)
    unblock(primary)
    eventually(lambda: is_saved(primary), "the role is saved")
    assert (primary.directory / "role").read_text() == "configured\n"
    with primary.connect() as wire:
        wire.ok("FAILOVER")
        eventually(lambda: replica.info()["role"] == "master", "the replica is the primary")
    wait_same_state(replica, primary)
