"""Replication as operators and clients see it: ROLE, INFO, REPLICAOF, passwords."""

import contextlib
import socket
import subprocess

import pytest

from durable import info, launch, take
from ports import free_port
from replication import Node, background, fill, nodes, pair, wait_online, wait_same_state
from server import find_binary
from wire import ErrorReply, WireError, eventually

assert launch, nodes  # fixtures

REPLICATION_LINES = [
    "role", "connected_slaves", "slave0", "master_failover_state", "master_replid", "master_replid2",
    "master_repl_offset", "second_repl_offset", "repl_backlog_active", "repl_backlog_size",
    "repl_backlog_first_byte_offset", "repl_backlog_histlen"]
REPLICA_LINES = [
    "master_host", "master_port", "master_link_status", "master_last_io_seconds_ago", "master_sync_in_progress",
    "slave_read_repl_offset", "slave_repl_offset", "slave_priority", "slave_read_only", "replica_announced"]


# INFO, ROLE, CLIENT LIST


def test_info_lines_and_their_order(nodes):
    primary, replica = pair(nodes)
    wait_same_state(primary, replica)
    found = primary.info()
    assert list(found) == REPLICATION_LINES
    assert found["role"] == "master" and found["connected_slaves"] == "1"
    line = dict(word.split("=") for word in found["slave0"].split(","))
    assert list(line) == ["ip", "port", "state", "offset", "lag"]
    assert (line["ip"], line["port"], line["state"]) == ("127.0.0.1", str(replica.port), "online")
    # Updated once a second.
    eventually(lambda: primary.info()["slave0"].endswith((",lag=0", ",lag=1")), "the lag is short")
    assert len(found["master_replid"]) == 40
    found = replica.info()
    expected = ["role", *REPLICA_LINES, *(n for n in REPLICATION_LINES if n not in ("role", "slave0"))]
    assert list(found) == expected
    assert found["role"] == "slave" and found["master_port"] == str(primary.port)
    assert found["slave_priority"] == "100"
    with replica.connect() as wire:
        wire.ok("REPLICAOF", "127.0.0.1", free_port())
        found = info(wire, "replication")
        assert found["master_link_status"] == "down" and found["master_last_io_seconds_ago"] == "-1"
        assert int(found["master_link_down_since_seconds"]) >= 0
        names = list(found)
        assert names.index("master_link_down_since_seconds") == names.index("slave_priority") - 1
    with primary.connect() as wire:
        wire.ok("CONFIG", "SET", "min-replicas-to-write", "1")
        names = list(info(wire, "replication"))
        assert names.index("min_slaves_good_slaves") == names.index("connected_slaves") + 1


def test_info_without_arguments_is_what_sentinel_reads(nodes):
    primary, replica = pair(nodes)
    for node, role in ((primary, "master"), (replica, "slave")):
        with node.connect() as wire:
            text = wire.call("INFO").decode()
        lines = text.split("\r\n")
        run_id = next(line for line in lines if line.startswith("run_id:"))
        assert len(run_id) == 47
        assert [line for line in lines if line.startswith("role:")] == [f"role:{role}"]
        assert text.count("role:master") == (role == "master")


def test_role(nodes):
    primary, replica = pair(nodes)
    fill(primary, 10)
    wait_same_state(primary, replica)
    with primary.connect() as wire:
        reply = wire.call("ROLE")
        assert reply[0] == b"master" and reply[1] > 0
        assert reply[2][0][:2] == [b"127.0.0.1", b"%d" % replica.port] and int(reply[2][0][2]) > 0
    with replica.connect() as wire:
        reply = wire.call("ROLE")
        assert reply[:4] == [b"slave", b"127.0.0.1", primary.port, b"connected"] and reply[4] > 0
        wire.ok("SLAVEOF", "127.0.0.1", free_port())
        assert wire.call("ROLE")[3] in (b"connect", b"connecting")
        wire.ok("SLAVEOF", "NO", "ONE")
        reply = wire.call("ROLE")
        assert reply[0] == b"master" and reply[2] == []


def test_client_list_shows_links(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as wire:
        lines = wire.call("CLIENT", "LIST").decode().splitlines()
        for line in lines:
            assert all(word.count("=") == 1 for word in line.split(" ")), line
        assert [dict(w.split("=") for w in line.split(" "))["flags"] for line in lines].count("S") == 1, lines
        assert len(wire.call("CLIENT", "LIST", "TYPE", "replica").decode().splitlines()) == 1
        assert len(wire.call("CLIENT", "LIST", "TYPE", "normal").decode().splitlines()) == 1


def test_announced_address_is_shown(nodes):
    primary = nodes("a")
    replica = nodes("b", "--replica-announce-ip", "10.1.2.3", "--replica-announce-port", "1234", of=primary)
    replica.wait_link()
    assert primary.info()["slave0"].startswith("ip=10.1.2.3,port=1234,state=")


def test_priority_is_zero_before_the_first_sync(nodes):
    replica = nodes("b", of=free_port())
    assert replica.info()["slave_priority"] == "0"
    primary = nodes("a")
    replica.follow(primary)
    replica.wait_link()
    assert replica.info()["slave_priority"] == "100"
    with replica.connect() as wire:
        wire.ok("CONFIG", "SET", "replica-priority", "7")
    assert replica.info()["slave_priority"] == "7"


# REPLICAOF


def test_replicaof_refuses_bad_arguments_and_is_idempotent(nodes):
    primary, replica = pair(nodes)
    with replica.connect() as wire:
        assert wire.call("REPLICAOF", "127.0.0.1", primary.port) == b"OK Already connected to specified master"
        for port in ("0", "65536", "-1", "x", "1e3", ""):
            assert wire.call("REPLICAOF", "127.0.0.1", port) == b"ERR Invalid master port", port
        for host in ("a b", "a\r\nb", "", "x" * 256):
            assert wire.call("REPLICAOF", host, primary.port) == b"ERR Invalid master host", host
        assert isinstance(wire.call("REPLICAOF", "127.0.0.1"), ErrorReply)
        assert wire.call("SYNC").startswith(b"ERR")
    assert replica.info()["master_link_status"] == "up"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "256.1.1.1", "127.0.0.1"])
def test_wrong_address_leaves_the_node_answering(nodes, host):
    node = nodes("a")
    fill(node, 10)
    # A server that resolved the name itself would not answer for longer.
    with node.connect(9.0) as wire:
        wire.ok("REPLICAOF", host, free_port())
        assert wire.call("PING") == b"PONG"
        assert info(wire, "replication")["master_link_status"] == "down"
        assert len(wire.call("KEYS", "*")) == 10
        wire.ok("REPLICAOF", "NO", "ONE")
        assert take(wire, "k-0")[0] == 0


@pytest.fixture
def names(tmp_path):
    """Nodes with their own name resolution: `dual` is both loopback addresses, and the name server does not answer."""
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n::1 dual\n127.0.0.1 dual\n")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.77\noptions timeout:30 attempts:5\n")
    script = tmp_path / "named"
    script.write_text(
        "#!/bin/sh\nexec unshare -m sh -c 'mount --bind \"$0/hosts\" /etc/hosts && "
        "mount --bind \"$0/resolv.conf\" /etc/resolv.conf && exec \"$@\"' "
        f"{tmp_path} {find_binary()} \"$@\"\n")
    script.chmod(0o755)
    if subprocess.run(["unshare", "-m", "mount", "--bind", tmp_path, "/mnt"], capture_output=True).returncode != 0:
        pytest.skip("cannot mount a file over /etc/hosts on this machine")

    class Named(Node):
        binary = str(script)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.0.0.77", 53))
        except OSError:
            pytest.skip("cannot run a name server on this machine")
        yield Named


def test_resolving_a_name_blocks_no_client(nodes, names):
    primary = nodes("a", "--bind", "127.0.0.1")
    node = nodes.launch("--io-threads", "1", directory="b", kind=names)
    other = nodes("c", of=node.port)
    wait_online(node, 1)
    with node.connect() as wire:
        # The lookup takes longer than any wait here.
        wire.ok("REPLICAOF", "silent.example", primary.port)
        assert info(wire, "replication")["master_link_status"] == "down"
        wire.ok("REPLICAOF", "NO", "ONE")
        assert take(wire, "k")[0] == 0 and wire.call("WAIT", 1, 60_000) == 1
        # One of its addresses refuses the connection.
        wire.ok("REPLICAOF", "dual", primary.port)
        node.wait_link()
    assert other.info()["role"] == "slave"


def test_a_primary_that_is_not_escapement(nodes, reference):
    node = nodes("a")
    fill(node, 10)
    node.follow(reference.port)
    eventually(lambda: "link to the primary is down" in node.log(), "the link fails")
    with node.connect() as wire:
        assert len(wire.call("KEYS", "*")) == 10


def test_following_itself_is_harmless(nodes):
    node = nodes("a")
    fill(node, 10)
    node.follow(node)
    with node.connect() as wire:
        assert wire.call("PING") == b"PONG"
    assert node.info()["master_link_status"] == "down"
    node.lead()
    with node.connect() as wire:
        assert wire.call("DBSIZE") == 10


def test_sentinels_transaction(nodes):
    primary, replica = pair(nodes)
    with replica.connect() as other, replica.connect() as wire:
        assert other.call("PING") == b"PONG"
        replies = wire.calls(
            "MULTI", "SLAVEOF NO ONE", "CONFIG REWRITE", "CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub", "EXEC")
        assert replies[0] == b"OK" and replies[1:5] == [b"QUEUED"] * 4
        results = replies[5]
        assert results[0] == b"OK" and results[2] >= 1 and results[3] == 0, results
        other.expect_closed()
        eventually(lambda: info(wire, "replication")["role"] == "master", "the node is promoted")
        replies = wire.calls(
            "MULTI", f"SLAVEOF 127.0.0.1 {primary.port}", "CONFIG REWRITE", "CLIENT KILL TYPE normal",
            "CLIENT KILL TYPE pubsub", "EXEC")
        assert replies[5][0] == b"OK"
        found = info(wire, "replication")
        assert (found["role"], found["master_port"]) == ("slave", str(primary.port))
    replica.wait_link()


def test_info_shows_a_requested_role_at_once(nodes):
    """In a transaction the client does not wait for the change, which other changes delay in the meantime."""
    node = nodes("a", "--appendonly", "no")

    def noise(stop):
        while not stop.is_set():
            # A demotion closes the connection, before or after the reply.
            with contextlib.suppress(WireError, OSError), node.connect() as wire:
                while not stop.is_set():
                    wire.ok("CONFIG", "SET", "slowlog-max-len", "100")

    with background(noise), background(noise), node.connect() as wire:
        for _ in range(300):
            for words, role in (("SLAVEOF 127.0.0.1 1", "slave"), ("SLAVEOF NO ONE", "master")):
                assert wire.calls("MULTI", words, "EXEC")[2] == [b"OK"]
                assert info(wire, "replication")["role"] == role
    assert node.info()["role"] == "master"


def test_config_rewrite_keeps_the_role(nodes, tmp_path):
    primary = nodes("a")
    config = tmp_path / "b.conf"
    config.write_text("# mine\nrepl-timeout 30\n")
    replica = nodes("b", config=config)
    replica.follow(primary)
    with replica.connect() as wire:
        wire.ok("CONFIG", "REWRITE")
        assert wire.call("CONFIG", "GET", "replicaof") == [b"replicaof", b"127.0.0.1 %d" % primary.port]
    assert f"\nreplicaof 127.0.0.1 {primary.port}\n" in config.read_text()
    assert config.read_text().startswith("# mine\n")
    (replica.directory / "role").unlink()
    replica.stop()
    replica = nodes("b", config=config)
    assert replica.info()["role"] == "slave"
    replica.lead()
    with replica.connect() as wire:
        wire.ok("CONFIG", "REWRITE")
    assert "replicaof 1" not in config.read_text()
    # A role set at run time is kept next to the data, whether or not the file could be rewritten.
    config.write_text(f"replicaof 127.0.0.1 {primary.port}\n")
    replica.stop()
    assert nodes("b", config=config).info()["role"] == "master"


def test_the_setting_applies_unless_replicaof_was_sent(nodes):
    first = nodes("a")
    second = nodes("b", of=first)
    wait_online(first, 1)
    fill(first, 10)
    wait_same_state(first, second)
    first.stop()
    second.lead()
    # It has had a replica, but its role was never set by command.
    first = nodes("a", of=second)
    assert len(wait_same_state(second, first)) == 10
    second.stop()
    second = nodes("b", of=first)
    assert second.info()["role"] == "master"
    assert "set by the role file, which overrides replicaof" in second.settled_log()
    (second.directory / "role").unlink()
    second.stop()
    first.lead()
    assert nodes("b", of=first).wait_link()["role"] == "slave"


# Passwords


def test_passwords(nodes):
    primary = nodes("a", "--masterauth", "secret", password="secret")
    fill(primary, 100)
    replica = nodes("b", "--masterauth", "wrong", password="secret", of=primary)
    eventually(lambda: "link to the primary is down" in replica.log(), "the link is refused")
    assert replica.info()["slave_priority"] == "0"
    with replica.connect() as wire:
        wire.ok("CONFIG", "SET", "masterauth", "secret")
    assert len(wait_same_state(primary, replica)) == 100
    primary.crash()
    replica.lead()
    primary = nodes("a", "--masterauth", "secret", password="secret")
    primary.follow(replica)
    assert len(wait_same_state(replica, primary)) == 100
