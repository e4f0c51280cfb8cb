"""Disks of their own: a small file system that fills up, a directory that becomes read-only or goes away.

Needs to mount; where that is not allowed the tests say so and are skipped. What matters of a failing disk is tested
everywhere, by test_durability_disk.py.
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
    """A file system of 512 KiB at the server's directory."""
    with mounted(tmp_path / "data", "-o", "size=512k") as mount:
        if mount is None:
            pytest.skip("this machine does not let us mount a file system; a limit on file sizes stands in for it")
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
    """Rewrites keep the files small, so a disk that holds the state a few times never fills up. Without them the log
    alone would be larger than the disk."""
    server = launch("--appendfsync", "always", "--auto-aof-rewrite-min-size", "32kb")
    with server.connect() as wire:
        for turn in range(150):
            for reply in wire.calls(*[("CL.THROTTLE", f"key-{n}", 5000, 1, SLOW_PERIOD) for n in range(300)]):
                assert isinstance(reply, list), reply
            # Snapshots are taken at low priority, so a busy machine may leave them behind.
            eventually(lambda: info(wire, "persistence")["aof_rewrite_in_progress"] == "0", "it is rewritten")
        left = remaining(wire, "key-7", 5000)
        assert left == 5001 - 150 and int(info(wire)["storage_failures"]) == 0
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert remaining(wire, "key-7", 5000) == left


def test_directory_becomes_read_only(launch):
    """Nothing new can be made in it: the log that is open goes on, new files fail until it can be written to again."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "k")
        # On top of the directory, since what is open for writing keeps its own mount from changing.
        if subprocess.run(["mount", "--bind", server.directory, server.directory], capture_output=True).returncode:
            pytest.skip("this machine does not let us mount; the other tests of a failing disk stand in for it")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", server.directory], check=True)
            reply = wire.call("SAVE")
            assert isinstance(reply, ErrorReply) and b"Read-only file system" in reply
            assert take(wire, "k")[0] == 0, "the log itself can still be written"
            wire.ok("CONFIG", "SET", "appendonly", "no")
            eventually(lambda: "append-only log switched off" in server.log(), "the log has ended")
            wire.ok("CONFIG", "SET", "appendonly", "yes")
            eventually(lambda: breaker(wire) == "open", "no log can be begun")
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
    """It looks at a copy that cannot be written to, with or without a lock file, and leaves none; of a directory in use
    it keeps its hands off."""
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
            pytest.skip("this machine does not let us mount a file system")
        shutil.copytree(server.directory, mount, dirs_exist_ok=True)
        for has_lock in (False, True):
            if has_lock:
                (mount / "escapement.lock").touch()
            subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
            found = check(mount)
            subprocess.run(["mount", "-o", "remount,rw", str(mount)], check=True)
            assert found.returncode == 0 and "clean" in found.stdout, found


def test_directory_taken_away(launch):
    """Whoever removes the directory of a running server: a snapshot says so; once it is back, all is written anew."""
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
