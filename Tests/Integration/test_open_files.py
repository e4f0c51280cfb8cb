"""The limit of open files: clients never use up the descriptors that files, links and loops need."""

import ctypes
import os
import re
import resource
import socket

import pytest

from durable import info, take
from server import free_port, run_to_end
from wire import Wire, eventually

PR_CAPBSET_DROP, CAP_SYS_RESOURCE = 24, 24
REFUSED = b"-ERR max number of clients reached\r\n"


def limited(count):
    """For a process with that many descriptors and no way to raise the limit, whatever its user."""
    def before_exec():
        # Fails harmlessly if the user is not root.
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    return before_exec


def maxclients(wire):
    return int(wire.call("CONFIG", "GET", "maxclients")[1])


def test_silent_clients_leave_descriptors_for_files(start, tmp_path):
    path = tmp_path / "s"
    server = start("--io-threads", "2", password="secret", before_exec=limited(200), unixsocket=path)
    other = start()
    crowd = []
    try:
        with server.connect() as wire:
            allowed = maxclients(wire)
            assert 100 < allowed < 200 and info(wire, "clients")["maxclients"] == str(allowed)
            for number in range(250):
                one = socket.socket(socket.AF_UNIX if number % 2 else socket.AF_INET)
                one.settimeout(10)
                one.connect(str(path) if number % 2 else ("127.0.0.1", server.port))
                crowd.append(one)
            eventually(lambda: info(wire)["rejected_connections"] == str(251 - allowed), "the others are rejected")
            assert info(wire)["connected_clients"] == str(allowed)
            assert crowd[-1].recv(100) == REFUSED and crowd[-2].recv(100) == REFUSED
            # Everything that opens files still works.
            for number in range(3):
                take(wire, f"k-{number}")
                assert wire.call("SAVE") == b"OK"
            rewrites = int(info(wire)["aof_rewrites"])
            assert wire.call("BGREWRITEAOF").startswith(b"Background append only file rewriting")
            eventually(lambda: int(info(wire)["aof_rewrites"]) > rewrites, "the log is replaced")
            wire.ok("REPLICAOF", "127.0.0.1", other.port)
            eventually(lambda: info(wire)["master_link_status"] == "up", "the link to the primary is up")
            assert str(other.port) in (server.directory / "role").read_text()
            wire.ok("REPLICAOF", "NO", "ONE")
            assert info(wire)["storage_failures"] == "0"
    finally:
        for one in crowd:
            one.close()
    found = re.search(r"lowering maxclients.*requested=10000 maxclients=(\d+) open_files=200 reserved=(\d+)",
                      server.log())
    assert found and int(found[1]) == allowed and int(found[1]) + int(found[2]) == 200
    assert "accept failed" not in server.log()


def test_config_set_maxclients_beyond_the_limit(start):
    server = start(before_exec=limited(200))
    with server.connect() as wire:
        allowed = maxclients(wire)
        refusal = (b"ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able "
                   b"to handle the specified number of clients, try with %d" % allowed)
        assert wire.call("CONFIG", "SET", "maxclients", allowed + 1) == refusal
        assert wire.call("CONFIG", "SET", "timeout", 77, "maxclients", 5000) == refusal
        assert maxclients(wire) == allowed and wire.call("CONFIG", "GET", "timeout")[1] == b"0"
        wire.ok("CONFIG", "SET", "maxclients", 20)
        assert maxclients(wire) == 20
        wire.ok("CONFIG", "SET", "maxclients", allowed)
        assert maxclients(wire) == allowed


def test_config_set_maxclients_raises_the_limit(start):
    """If only the soft limit is low, it is raised to fit the requested number of clients."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1000:
        pytest.skip("this machine permits too few open files")
    server = start("--maxclients", "50", before_exec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard)))
    with server.connect() as wire:
        assert maxclients(wire) == 50
        wire.ok("CONFIG", "SET", "maxclients", 500)
        assert maxclients(wire) == 500
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0] >= 500
    assert "lowering maxclients" not in server.log()


def test_config_rewrite_keeps_the_configured_number(start, tmp_path):
    """A low limit of open files in one run must not be written to the file."""
    path = tmp_path / "escapement.conf"
    path.write_text("hz 20\n")
    server = start(config=path, before_exec=limited(200))
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "hz", 30)
        wire.ok("CONFIG", "REWRITE")
    assert path.read_text().startswith("hz 30\n") and "maxclients" not in path.read_text()


def test_too_few_descriptors_for_a_client(tmp_path):
    status, output = run_to_end(
        "--port", free_port(), "--dir", tmp_path / "data", cwd=tmp_path, before_exec=limited(50))
    assert status == 1, output
    assert len(output.splitlines()) == 1 and "the limit of open files is 50" in output and "ulimit -n" in output


def test_the_last_client_that_fits_is_served(start):
    """As many clients as CONFIG GET reports, not one fewer."""
    server = start("--io-threads", "1", before_exec=limited(120))
    crowd = []
    try:
        with server.connect() as wire:
            allowed = maxclients(wire)
            eventually(lambda: info(wire, "clients")["connected_clients"] == "1", "no other client is connected")
            for _ in range(allowed - 1):
                crowd.append(server.connect())
                assert crowd[-1].call("PING") == b"PONG"
            with Wire(server.address) as one_more:
                assert one_more.until_closed() == REFUSED
    finally:
        for one in crowd:
            one.close()


def test_inherited_descriptors_count(start):
    """Descriptors that the parent left open are not available to clients."""
    inherited = [os.dup(2) for _ in range(40)]
    try:
        plain = start(before_exec=limited(200))
        crowded = start(before_exec=limited(200), pass_fds=inherited)
    finally:
        for descriptor in inherited:
            os.close(descriptor)
    with plain.connect() as wire, crowded.connect() as other:
        assert maxclients(other) == maxclients(wire) - 40
