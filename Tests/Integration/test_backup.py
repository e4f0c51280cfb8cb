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


@pytest.mark.parametrize("password, given, text", [
    ("secret", None, "NOAUTH"), ("secret", "wrong", "WRONGPASS"), (None, "secret", "without any password configured")])
def test_a_wrong_password_ends_it_at_once(start, tmp_path, password, given, text):
    """The time-out of an hour is longer than this test waits."""
    before = leftovers()
    server = start(password=password)
    address = f"127.0.0.1:{server.port}"
    status, output = backup(
        address, tmp_path / "copy", cwd=tmp_path, environment={"ESCAPEMENT_PASSWORD": given} if given else None)
    assert status == 1 and output.startswith(f"escapement: {address}: ") and output.count("\n") == 1, output
    assert text in output and "ESCAPEMENT_PASSWORD" in output
    assert remains(tmp_path) == [] and leftovers() == before


def remains(path):
    """What a copy has left: the directory of a server and its log are not part of it."""
    return sorted(name for name in os.listdir(path) if name.startswith("copy"))


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


@pytest.mark.parametrize("words, text", [
    ([], "no address is given"), (["a:1"], "no directory is given"), (["a:1", ""], "no directory is given"),
    (["127.0.0.1", "b"], "'127.0.0.1': no port: an address is HOST:PORT"), (["a:b:c", "d"], "'a:b:c': the port"),
    (["a:1", "--b"], "'--b': there is no such option"), (["/run/x.sock", "b"], "'/run/x.sock': a copy is taken over TCP"),
    (["a:1", "b", "--timeout"], "--timeout: no number"), (["a:1", "b", "--timeout", "0"], "'0': the time-out"),
    (["a:1", "b", "c"], "'c': one argument too many"),
])
def test_wrong_arguments(tmp_path, words, text):
    status, output = backup(*words, cwd=tmp_path)
    first, usage = output.split("\n", 1)
    assert status == 2 and first.startswith(f"escapement: backup: {text}") and usage.startswith("usage: escapement backup")


def test_the_name_is_used_only_by_a_complete_copy(start, tmp_path):
    """Also with a slash at the end, and over an empty directory, which keeps its mode."""
    server = start()
    (tmp_path / "copy").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("copy")
    status, output = backup(f"127.0.0.1:{server.port}", f"{tmp_path}/link/", cwd=tmp_path)
    assert status == 0 and output.endswith(f"{tmp_path}/copy: complete\n"), output
    assert (tmp_path / "link").is_symlink() and (tmp_path / "copy").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "copy" / "appendonlydir").is_dir() and remains(tmp_path) == ["copy"]
    status, output = backup(f"127.0.0.1:{server.port}", "copy2", cwd=tmp_path)
    assert status == 0 and output.endswith("copy2: complete\n") and remains(tmp_path) == ["copy", "copy2"], output


def test_an_incomplete_copy_is_not_overwritten(start, tmp_path):
    server = start()
    (tmp_path / "copy.partial").mkdir()
    (tmp_path / "copy.partial" / "mine").write_text("kept")
    status, output = backup(f"127.0.0.1:{server.port}", tmp_path / "copy", cwd=tmp_path)
    assert status == 1 and "copy.partial exists: another backup" in output and "remove it" in output
    assert (tmp_path / "copy.partial" / "mine").read_text() == "kept" and remains(tmp_path) == ["copy.partial"]


def test_what_cannot_get_the_name_is_noticed_at_once(start, tmp_path):
    """A copy may take an hour: that it cannot be renamed at the end is not worth the wait."""
    address = f"127.0.0.1:{start().port}"
    (tmp_path / "copy").symlink_to("nowhere")
    status, output = backup(address, tmp_path / "copy", cwd=tmp_path)
    assert status == 1 and output.endswith("/copy: it is a symbolic link whose target cannot be reached\n"), output
    (tmp_path / "copy-file").write_text("")
    status, output = backup(address, tmp_path / "copy-file", cwd=tmp_path)
    assert status == 1 and output.endswith("/copy-file: Not a directory\n"), output
    status, output = backup(address, "/proc/copy", cwd=tmp_path)
    assert status == 1 and "/proc/copy.partial cannot be created" in output, output
    assert remains(tmp_path) == ["copy", "copy-file"]


def test_a_mount_point_is_refused(start, tmp_path):
    status, output = backup(f"127.0.0.1:{start().port}", "/dev/shm", cwd=tmp_path)
    assert status == 1 and ("mount point" in output or "not empty" in output)


@pytest.fixture
def stuck(tmp_path):
    """A backup that is under way for as long as the test wants: its source never answers the request
    for its state. Yields the process and
    its replica."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers, asked = [], threading.Event()

        def converse(peer):
            text = b""
            while part := peer.recv(4096):
                text += part
                if b"INFO" in part:
                    body = b"# Server\r\nescapement_version:0.2.0\r\n"
                    peer.sendall(b"$%d\r\n%s\r\n" % (len(body), body))
                elif b"PING" in part or b"REPLCONF" in part:
                    peer.sendall(b"+OK\r\n")
                elif b"PSYNC" in part:
                    asked.set()

        def accept():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                peers.append(peer)
                threading.Thread(target=converse, args=(peer,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        process = subprocess.Popen(
            [find_binary(), "backup", f"127.0.0.1:{listener.getsockname()[1]}", tmp_path / "copy", "--timeout", "600"],
            stderr=subprocess.PIPE, start_new_session=True)
        try:
            assert asked.wait(PATIENCE), "the replica asks for the state"
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            yield process, int(children)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
            listener.shutdown(socket.SHUT_RDWR)
            for peer in peers:
                peer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_copy_leaves_nothing_under_its_name(stuck, tmp_path, number):
    """Nor does it leave a replica. If the program is killed, a part remains that is called so, without the settings."""
    process, replica = stuck
    place = pathlib.Path(f"/proc/{replica}/cmdline").read_bytes().split(b"\0")[1].decode()
    eventually(lambda: not os.path.exists(place), "the settings, with the password, are read and removed")
    assert os.path.isdir(os.path.dirname(place)) and remains(tmp_path) == ["copy.partial"]
    process.send_signal(number)
    text = process.stderr.read().decode()
    assert process.wait(PATIENCE) == (-signal.SIGKILL if number == signal.SIGKILL else 1)
    eventually(lambda: not is_running(replica), "the replica has ended")
    if number == signal.SIGKILL:
        shutil.rmtree(os.path.dirname(place))
        assert remains(tmp_path) == ["copy.partial"]
    else:
        assert "the copy was interrupted" in text
        assert not os.path.exists(os.path.dirname(place)) and remains(tmp_path) == []


def is_running(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("answer, text", [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the Redis protocol"), (b"", "closes the connection"),
    (b"$25\r\n# Server\r\nredis_version:7\r\n", "is not an Escapement server"),
    (b"-DENIED This server runs in protected mode\r\n", "refuses: DENIED This server runs in protected mode"),
])
def test_what_listens_is_no_server_of_this_kind(tmp_path, answer, text):
    """It ends at once: the time-out of an hour is longer than this test waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        status, output = backup(address, tmp_path / "copy", cwd=tmp_path)
    thread.join()
    assert (status, output) == (1, f"escapement: {address}: {text}\n") and remains(tmp_path) == []


def test_an_unknown_host(tmp_path):
    status, output = backup("no-such-host.invalid:1", tmp_path / "copy", cwd=tmp_path)
    assert (status, output) == (1, "escapement: no-such-host.invalid:1: unknown host\n") and remains(tmp_path) == []


def test_what_passes_is_waited_for(start, tmp_path):
    """A replica that has lost its primary may find it again: the reason is printed, and the copy waits."""
    primary = start()
    replica = start("--replicaof", "127.0.0.1", primary.port)
    with replica.connect() as wire:
        eventually(lambda: info(wire, "replication")["master_link_status"] == "up", "the link is up")
        primary.stop()
        eventually(lambda: info(wire, "replication")["master_link_status"] == "down", "the link is down")
        wire.call("REPLICAOF", "127.0.0.1", free_port())
        status, output = backup(f"127.0.0.1:{replica.port}", tmp_path / "copy", "--timeout", "2", cwd=tmp_path)
    assert status == 1 and output.count("waiting: link to the primary is down") == 1, output
    assert "no copy within the time-out" in output.splitlines()[-1] and remains(tmp_path) == []
