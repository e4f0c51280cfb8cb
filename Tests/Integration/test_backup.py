"""`escapement backup`: a copy of a running server, from which another one continues."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from durable import info
from ports import free_port
from server import find_binary, run_to_end
from wire import PATIENCE, eventually


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_copy_leaves_no_replica(start, tmp_path, number):
    """Without the password there never is a copy, so it is under way when the signal comes."""
    before = leftovers()
    server = start(password="secret")
    process = subprocess.Popen(
        [find_binary(), "backup", f"127.0.0.1:{server.port}", tmp_path / "copy", "--timeout", "60"],
        stderr=subprocess.PIPE, start_new_session=True)
    try:
        assert b"waiting: " in process.stderr.readline()
        replica = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        process.send_signal(number)
        text = process.stderr.read().decode()
        assert process.wait(PATIENCE) == (-signal.SIGKILL if number == signal.SIGKILL else 1)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    eventually(lambda: not is_running(replica), "the replica has ended")
    if number == signal.SIGKILL:
        for name in set(leftovers()) - set(before):
            shutil.rmtree(f"/tmp/{name}")
        return
    assert "the copy was interrupted" in text
    assert leftovers() == before and not (tmp_path / "copy").exists()


def is_running(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_reason_is_printed(tmp_path):
    """What listens is not a server of this kind. It may be replaced, so the reason is printed while the copy waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(100)
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        status, output = backup(address, tmp_path / "copy", "--timeout", "2", cwd=tmp_path)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert status == 1 and output.count("waiting: link to the primary is down") == 1, output
    last = output.splitlines()[-1]
    assert last.startswith(f"escapement: {address}: no copy within the time-out") and "because=" in last, output
