"""What a start does with the files it finds: loading, damage, and directories that must not be used.

A torn tail of the log is cut off with a warning. Any other damage prevents the start: exit status 1, and one line that
names file and byte.
"""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from durable import BURST, SLOW_PERIOD, info, launch, mounted, remaining, take
from journal_format import HEADER_SIZE, SECOND, crc32c, file_header, read_batches, read_manifest, write_long_log
from ports import free_port
from server import find_binary, run_to_end
from wire import PATIENCE, Wire, WireError, command, eventually

ALWAYS = ("--appendfsync", "always")


# Loading


LOG_BYTES = 150_000_000
LOG_KEYS = 100_000


@pytest.fixture
def long_log(tmp_path):
    """A directory that takes a moment to load; removed immediately after the test, since it is large."""
    directory = tmp_path / "data"
    write_long_log(directory, LOG_KEYS, LOG_BYTES, SLOW_PERIOD * SECOND)
    yield directory
    shutil.rmtree(directory)


def while_loading(launch, look, *flags):
    """Starts a server that loads for a moment, and calls `look(server, wire)` during that time. Returns what that
    returns. If it returns None, the server was faster than the look, and both start over: their speed must not matter.
    `look` asserts what a loading server must never answer."""
    deadline = time.monotonic() + 2 * PATIENCE
    while True:
        server = launch("--auto-aof-rewrite-percentage", "0", *flags, wait=False)

        def connect():
            assert server.process.poll() is None, server.log()
            try:
                return server.connect()
            except OSError:
                return None

        wire = eventually(connect, "it listens")
        found = look(server, wire)
        if found is not None:
            return found
        assert time.monotonic() < deadline, "it was never seen loading"
        wire.close()
        server.crash()


def is_loading(wire):
    return wire.call("PING") == b"LOADING Redis is loading the dataset in memory"


def test_clients_get_loading(long_log, launch):
    words = ("CL.THROTTLE k 1 1 1", "DEL k", "DBSIZE", "FLUSHALL", "SAVE", "BGREWRITEAOF", "HGETALL x")

    def look(server, wire):
        replies = wire.calls(*words)
        found = info(wire, "persistence")
        if not is_loading(wire):
            return None
        # It was loading at this point, so it was loading throughout.
        for request, reply in zip(words, replies):
            assert reply.startswith((b"LOADING ", b"ERR unknown command")), (request, reply)
        assert found["loading"] == "1"
        assert found["loading_total_bytes"] == str((server.files / "log-1").stat().st_size)
        assert 0 <= float(found["loading_loaded_perc"]) <= 100 and int(found["loading_eta_seconds"]) >= 0
        assert int(found["loading_start_time"]) <= time.time() + 1
        seen = []
        while (found := info(wire, "persistence"))["loading"] == "1":
            seen.append(float(found["loading_loaded_perc"]))
        assert seen == sorted(seen), "progress continues"
        return (wire, found) if len(set(seen)) > 3 else None

    wire, found = while_loading(launch, look)
    with wire:
        assert "loading_loaded_perc" not in found
        assert wire.call("PING") == b"PONG" and wire.call("DBSIZE") == LOG_KEYS
        assert remaining(wire, "key-0") == BURST and remaining(wire, f"key-{LOG_KEYS - 1}") == BURST


def test_replica_reports_its_role_while_loading(long_log, launch):
    def look(server, wire):
        found = info(wire, "default")
        role, hello = wire.call("ROLE"), wire.call("HELLO", 2)
        return (wire, found, role, hello) if is_loading(wire) else None

    wire, found, role, hello = while_loading(launch, look, "--replicaof", "127.0.0.1", free_port())
    with wire:
        assert found["role"] == "slave" and found["slave_priority"] == "0" and found["master_link_status"] == "down"
        assert role[0] == b"slave" and hello[hello.index(b"role") + 1] == b"replica"


def test_sigterm_while_loading(long_log, launch):
    before = {path.name: path.stat().st_size for path in (long_log / "appendonlydir").iterdir()}

    def stopped(server, wire):
        if not is_loading(wire):
            return None
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        return server

    server = while_loading(launch, stopped)
    after = {name: os.stat(server.files / name).st_size for name in server.names()}
    assert {name: after[name] for name in before} == before

    def shut_down(server, wire):
        if not is_loading(wire):
            return None
        # SHUTDOWN is permitted while loading.
        wire.send(command("SHUTDOWN"))
        wire.expect_closed()
        assert server.wait_exit() == 0
        return server

    while_loading(launch, shut_down)
    while_loading(launch, lambda server, wire: server if is_loading(wire) else None).crash()
    server = launch("--auto-aof-rewrite-percentage", "0")
    with server.connect() as wire:
        assert wire.call("DBSIZE") == LOG_KEYS


# Damage


@pytest.fixture
def state(launch):
    """The directory of a stopped server: a snapshot, followed by a log of several batches."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for number in range(50):
            take(wire, f"old-{number}")
        wire.ok("SAVE")
        for number in range(20):
            take(wire, f"new-{number}")
    server.crash()
    return server


def newest_log(server):
    return server.files / f"log-{read_manifest(server.files)[1][-1][0]}"


def snapshot(server):
    return server.files / f"snapshot-{read_manifest(server.files)[0][0]}"


def forget_mark(server):
    """Simulates that the last batches were never synced: without the mark there is no evidence that they were."""
    (server.files / "synced").unlink()


def refusal(server, *flags):
    """Starts the server, requires that it refuses, and returns the one line with the reason."""
    status, output = run_to_end(
        "--port", free_port(), "--dir", server.directory, *ALWAYS, *flags, cwd=server.directory)
    assert status == 1, output
    lines = [line for line in output.splitlines() if line.startswith("escapement: ")]
    assert len(lines) == 1, output
    return lines[0]


@pytest.mark.parametrize("damage", ["cut by a byte", "cut in a header", "garbage", "zeros", "flipped bit"])
def test_torn_tail_is_cut(launch, state, damage):
    path = newest_log(state)
    last, _, payload = list(read_batches(path))[-1]
    size = path.stat().st_size
    lost = damage not in ("garbage", "zeros")
    with open(path, "r+b") as file:
        if damage == "cut by a byte":
            file.truncate(size - 1)
        elif damage == "cut in a header":
            file.truncate(last + 7)
        elif damage == "flipped bit":
            file.seek(size - 3)
            byte = file.read(1)[0]
            file.seek(size - 3)
            file.write(bytes([byte ^ 4]))
        else:
            file.seek(size)
            file.write(b"\0" * 5000 if damage == "zeros" else bytes(range(1, 200)))
    if lost:
        # The whole log had reached the disk, and the mark shows it.
        assert re.search(rf"{path}, byte {last}: .* had reached the disk", refusal(state))
        forget_mark(state)
    damaged = path.read_bytes()
    at = last if lost else size
    assert f"{path}, byte {at}: " in refusal(state, "--aof-load-truncated", "no")
    assert path.read_bytes() == damaged, "a refused start changes nothing"
    server = launch(*ALWAYS)
    line = [line for line in server.settled_log().splitlines() if "torn" in line]
    assert len(line) == 1 and "warning" in line[0] and f"byte={at}" in line[0] and path.name in line[0], server.log()
    with server.connect() as wire:
        assert wire.call("DBSIZE") == (69 if lost else 70)
        assert int(info(wire)["recovery_cut_bytes"]) == len(damaged) - at
        take(wire, "after")
    server.crash()
    server = launch(*ALWAYS)
    assert "torn" not in server.settled_log()
    with server.connect() as wire:
        assert wire.call("DBSIZE") == (70 if lost else 71)


@pytest.mark.parametrize("where", ["first batch", "middle", "length", "offset"])
def test_damage_before_the_end_refuses(state, where):
    path = newest_log(state)
    forget = list(read_batches(path))
    position = {"first batch": forget[0][0] + 30, "middle": forget[10][0] + 30, "length": forget[10][0] + 2,
                "offset": forget[10][0] + 9}[where]
    begin = forget[0][0] if where == "first batch" else forget[10][0]
    flip(path, position)
    before = contents(state)
    assert f"{path}, byte {begin}: the batch " in refusal(state)
    assert contents(state) == before


def test_damage_after_the_mark_is_a_torn_tail(launch, state):
    """Without a mark, a batch that was never synced looks like this; the data after it is dropped too."""
    path = newest_log(state)
    flip(path, list(read_batches(path))[10][0] + 30)
    forget_mark(state)
    server = launch(*ALWAYS)
    assert server.settled_log().count("torn") == 1
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 60


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def contents(server):
    return {name: (server.files / name).read_bytes() for name in server.names()}


@pytest.mark.parametrize("part", ["header", "records", "end", "cut", "missing", "empty"])
def test_damaged_snapshot_refuses(state, part):
    path = snapshot(state)
    size = path.stat().st_size
    if part == "missing":
        path.unlink()
    elif part in ("cut", "empty"):
        os.truncate(path, 0 if part == "empty" else size - 1)
    else:
        flip(path, {"header": 20, "records": HEADER_SIZE + 100, "end": size - 2}[part])
    forget_mark(state)
    line = refusal(state)
    assert str(path) in line, line
    if part not in ("missing", "cut"):
        assert re.search(r", byte \d+: ", line), line


@pytest.mark.parametrize("part", ["header", "missing", "empty", "another log's"])
def test_damaged_log_file_refuses(state, part):
    path = newest_log(state)
    if part == "missing":
        path.unlink()
    elif part == "empty":
        os.truncate(path, 0)
    elif part == "header":
        flip(path, 20)
    else:
        path.write_bytes(file_header(b"ESCAPLOG", 99, 0, time.time_ns()))
    line = refusal(state)
    assert str(path) in line and (part == "missing" or ", byte 0: " in line), line


@pytest.mark.parametrize("part", ["a digit", "cut", "empty", "missing", "long", "future version"])
def test_damaged_manifest_refuses(state, part):
    path = state.files / "manifest"
    data = path.read_bytes()
    if part == "a digit":
        path.write_bytes(data.replace(b"log ", b"log 1"))
    elif part == "cut":
        path.write_bytes(data[:-1])
    elif part == "empty":
        path.write_bytes(b"")
    elif part == "missing":
        path.unlink()
    elif part == "long":
        path.write_bytes(data * 40_000)
    else:
        text = data[:-18].replace(b"manifest 1", b"manifest 2")
        path.write_bytes(text + b"checksum %08x\n" % crc32c(text))
    before = contents(state)
    line = refusal(state)
    assert str(state.files) in line, line
    assert contents(state) == before


def test_damaged_mark_counts_as_missing(launch, state):
    (state.files / "synced").write_bytes(b"nonsense")
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 70


def test_refused_start_serves_no_client(state):
    """While it reads, clients get LOADING, never an answer from a partial state."""
    flip(newest_log(state), HEADER_SIZE + 30)
    port = free_port()
    process = subprocess.Popen(
        [find_binary(), "--port", str(port), "--dir", str(state.directory)], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None:
            assert time.monotonic() < deadline
            try:
                with Wire(("127.0.0.1", port)) as wire:
                    reply = wire.call("DBSIZE")
                    assert reply.startswith(b"LOADING"), reply
            except (OSError, WireError):
                pass
        assert process.returncode == 1
    finally:
        process.kill()
        process.wait()


# Directories


def test_second_server_on_the_same_directory_refuses(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "k")
        before = contents(server)
        line = refusal(server)
        assert str(server.directory) in line and "in use by another server" in line
        assert contents(server) == before
        take(wire, "k")
    server.crash()
    # The lock ends with its process.
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert remaining(wire, "k") == BURST - 1


def test_refused_second_server_leaves_the_port_alone(launch, tmp_path):
    """Even if the first server used another name for the directory."""
    server = launch(*ALWAYS)
    (tmp_path / "alias").symlink_to(server.directory)
    status, output = run_to_end("--port", free_port(), "--dir", tmp_path / "alias", cwd=tmp_path)
    assert status == 1 and "in use by another server" in output


def test_read_only_directory_refuses(tmp_path):
    directory = tmp_path / "data"
    with mounted(directory) as mount:
        if mount is None:
            if os.geteuid() == 0:
                pytest.skip("cannot mount a file system on this machine")
            directory.chmod(0o500)
            status, output = run_to_end("--port", free_port(), "--dir", directory, cwd=tmp_path)
            directory.chmod(0o700)
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
            status, output = run_to_end("--port", free_port(), "--dir", directory, cwd=tmp_path)
    lines = [line for line in output.splitlines() if line.startswith("escapement: ")]
    assert status == 1 and len(lines) == 1 and str(directory) in lines[0], output


@pytest.mark.parametrize("name", ["a/b", "..", "", "/tmp"])
def test_appenddirname_is_a_name(tmp_path, name):
    status, output = run_to_end("--port", free_port(), "--dir", tmp_path, "--appenddirname", name, cwd=tmp_path)
    assert status == 1 and "appenddirname" in output
