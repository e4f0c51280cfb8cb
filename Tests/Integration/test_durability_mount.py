"""Separate file systems: a small one that fills up, a directory that becomes read-only or is removed.

These tests must mount; where that is not permitted they are skipped with a message. test_durability_disk.py tests the
essentials of a failing disk everywhere.
"""

import shutil
import subprocess

import pytest

from durable import (
    BURST, SLOW_PERIOD, assert_kept, breaker, info, launch, mounted, remaining, take, wait_until_fine,
    write_until_refused)
from server import find_binary
from wire import ErrorReply, eventually

ALWAYS = ("--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
REFUSAL = b"MISCONF Errors writing to the AOF file: "


@pytest.fixture
def small_disk(tmp_path):
    """A 512 KiB file system at the server's directory."""
    with mounted(tmp_path / "data", "-o", "size=512k") as mount:
        if mount is None:
            pytest.skip("cannot mount a file system on this machine; other tests cover this with a limit on file sizes")
        yield mount


def test_disk_without_room(small_disk, launch):
    acknowledged = {}
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for number in range(200):
            acknowledged[f"before-{number}"] = take(wire, f"before-{number}")[2]
        ballast = small_disk / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        refusal, wire = write_until_refused(wire, server, acknowledged)
        assert refusal == REFUSAL + b"No space left on device"
        ballast.unlink()
        wait_until_fine(wire)
        acknowledged["after"] = take(wire, "after")[2]
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert_kept(wire, acknowledged)


def test_disk_filled_by_the_log_itself(small_disk, launch):
    """Rewrites keep the files small, so a disk that has room for the state a few times never fills up. Without rewrites
    the log alone would exceed the disk."""
    server = launch("--appendfsync", "always", "--auto-aof-rewrite-min-size", "32kb")
    with server.connect() as wire:
        for turn in range(150):
            for reply in wire.calls(*[("CL.THROTTLE", f"key-{n}", 5000, 1, SLOW_PERIOD) for n in range(300)]):
                assert isinstance(reply, list), reply
            # Snapshots have a low priority, so a busy machine may delay them.
            eventually(lambda: info(wire, "persistence")["aof_rewrite_in_progress"] == "0", "the log is rewritten")
        left = remaining(wire, "key-7", 5000)
        assert left == 5001 - 150 and int(info(wire)["storage_failures"]) == 0
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert remaining(wire, "key-7", 5000) == left


def test_directory_becomes_read_only(launch):
    """New files cannot be created: the open log continues, and new files fail until the directory is writable again."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "k")
        # Mounted over the directory, since a mount with files open for writing cannot be made read-only.
        if subprocess.run(["mount", "--bind", server.directory, server.directory], capture_output=True).returncode:
            pytest.skip("cannot mount on this machine; the other tests of a failing disk cover this")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", server.directory], check=True)
            reply = wire.call("SAVE")
            assert isinstance(reply, ErrorReply) and b"Read-only file system" in reply
            assert take(wire, "k")[0] == 0, "the log itself can still be written"
            wire.ok("CONFIG", "SET", "appendonly", "no")
            eventually(lambda: "append-only log switched off" in server.log(), "the log has ended")
            wire.ok("CONFIG", "SET", "appendonly", "yes")
            eventually(lambda: breaker(wire) == "open", "no log can be started")
            refusal = eventually(lambda: isinstance(reply := take(wire, "k"), ErrorReply) and reply, "it is refused")
            assert refusal == REFUSAL + b"Read-only file system"
        finally:
            subprocess.run(["umount", "-l", server.directory], check=True)
        wait_until_fine(wire)
        left = remaining(wire, "k")
        take(wire, "after")
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert remaining(wire, "k") == left and wire.call("EXISTS", "after") == 1


def test_check_changes_nothing(launch, tmp_path):
    """`check` works on a read-only copy, with or without a lock file, and leaves no lock file; it does not touch a
    directory in use."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "k")

    def check(directory):
        return subprocess.run([find_binary(), "check", directory], capture_output=True, text=True)

    found = check(server.directory)
    assert found.returncode == 1 and "a server is running" in found.stderr
    server.stop()
    assert check(server.directory).returncode == 0
    (server.directory / "escapement.lock").unlink()
    assert check(server.directory).returncode == 0
    assert not (server.directory / "escapement.lock").exists()
    with mounted(tmp_path / "copy") as mount:
        if mount is None:
            pytest.skip("cannot mount a file system on this machine")
        shutil.copytree(server.directory, mount, dirs_exist_ok=True)
        for has_lock in (False, True):
            if has_lock:
                (mount / "escapement.lock").touch()
            subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
            found = check(mount)
            subprocess.run(["mount", "-o", "remount,rw", str(mount)], check=True)
            assert found.returncode == 0 and "clean" in found.stdout, found


def test_directory_removed(launch):
    """If the directory of a running server is removed, a snapshot reports it; once it is back, everything is
    rewritten."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "k", 3)
        shutil.rmtree(server.files)
        reply = wire.call("SAVE")
        assert isinstance(reply, ErrorReply) and b"No such file or directory" in reply, reply
        server.files.mkdir()
        eventually(lambda: wire.call("SAVE") == b"OK", "a snapshot is taken")
        wait_until_fine(wire)
        assert take(wire, "after")[0] == 0
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert remaining(wire, "k") == BURST + 1 - 3 and remaining(wire, "after") == BURST
