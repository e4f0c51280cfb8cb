"""`escapement backup`: a copy of a running server, from which another one continues."""

import os
import threading

import pytest

from durable import info
from ports import free_port
from server import run_to_end
from wire import eventually


def backup(*words, cwd, environment=None):
    return run_to_end("backup", *words, cwd=cwd, environment=environment)


def leftovers():
    return [name for name in os.listdir("/tmp") if name.startswith("escapement-backup-")]


def test_a_server_continues_from_it(start, tmp_path):
    before = leftovers()
    server = start()
    with server.connect() as wire:
        wire.calls(*(["SET", f"k{n}", n] for n in range(1000)))
        wire.call("CL.THROTTLE", "user123", 15, 1, 1000)
        wire.ok("RL.POLICY", "SET", "free", "LIMIT", 5, "PER", "1h")
        stop = threading.Event()

        def change():
            with server.connect() as other:
                while not stop.is_set():
                    other.call("INCR", "counter")

        thread = threading.Thread(target=change)
        thread.start()
        status, output = backup(f"127.0.0.1:{server.port}", tmp_path / "copy", cwd=tmp_path)
        stop.set()
        thread.join()
        assert status == 0, output
        # What it has counted so far is in the copy, or was counted afterwards.
        counted = int(wire.call("GET", "counter"))
        assert info(wire, "replication")["role"] == "master"
    assert sorted(os.listdir(tmp_path / "copy")) == ["appendonlydir", "lock"] or "role" not in os.listdir(tmp_path / "copy")
    copy = start("--dir", tmp_path / "copy")
    with copy.connect() as wire:
        assert wire.call("GET", "k999") == b"999" and 0 <= int(wire.call("GET", "counter") or 0) <= counted
        assert wire.call("CL.THROTTLE", "user123", 15, 1, 1000, 0)[2] == 15
        assert wire.call("RL.POLICY", "GET", "free")
        # It is a primary, with a history of its own.
        assert wire.call("SET", "own", 1) == b"OK" and info(wire, "replication")["role"] == "master"
    assert leftovers() == before


def test_with_a_password(start, tmp_path):
    server = start(password="se cret\"")
    status, output = backup(
        f"127.0.0.1:{server.port}", tmp_path / "copy", "--timeout", "60", cwd=tmp_path,
        environment={"ESCAPEMENT_PASSWORD": "se cret\""})
    assert status == 0, output
    status, output = backup(f"127.0.0.1:{server.port}", tmp_path / "other", "--timeout", "2", cwd=tmp_path)
    assert status == 1 and "within the time-out" in output and not (tmp_path / "other").exists()


def test_of_a_replica(start, tmp_path):
    primary = start()
    replica = start("--replicaof", "127.0.0.1", primary.port)
    with primary.connect() as wire, replica.connect() as other:
        wire.ok("SET", "k", 1)
        eventually(lambda: other.call("GET", "k") == b"1", "the replica has it")
    status, output = backup(f"127.0.0.1:{replica.port}", tmp_path / "copy", cwd=tmp_path)
    assert status == 0, output
    copy = start("--dir", tmp_path / "copy")
    with copy.connect() as wire:
        assert wire.call("GET", "k") == b"1"


def test_nobody_listens(tmp_path):
    status, output = backup(f"127.0.0.1:{free_port()}", tmp_path / "copy", cwd=tmp_path)
    assert status == 1 and "Connection refused" in output and not (tmp_path / "copy").exists()


def test_a_directory_in_use_is_left_alone(start, tmp_path):
    server = start()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_text("kept")
    status, output = backup(f"127.0.0.1:{server.port}", tmp_path / "copy", cwd=tmp_path)
    assert status == 1 and "not empty: it contains mine" in output
    assert (tmp_path / "copy" / "mine").read_text() == "kept"
    status, output = backup(f"127.0.0.1:{server.port}", "/nonexistent/copy", cwd=tmp_path)
    assert status == 1 and "/nonexistent/copy: No such file" in output


@pytest.mark.parametrize("words", [
    [], ["a:1"], ["a", "b"], ["a:1", "--b"], ["/socket", "b"], ["a:1", "b", "--timeout"], ["a:1", "b", "--timeout", "0"],
    ["a:1", "b", "c"],
])
def test_wrong_arguments(tmp_path, words):
    status, output = backup(*words, cwd=tmp_path)
    assert status == 2 and output.startswith("usage: escapement backup")
