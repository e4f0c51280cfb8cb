"""A disk that fails under a running server. Acknowledged changes are kept, and everything works again without help once
the disk does.

The size of the server's files is limited (RLIMIT_FSIZE), which simulates a full disk on every machine.
"""

import shutil

import pytest

from clock import Countdown
from durable import (
    BURST, SLOW_PERIOD, DurableServer, assert_kept, breaker, fill_disk, info, launch, limit_files, remaining, take,
    wait_for_record, wait_until_fine, write_until_refused)
from journal_format import read_manifest
from server import find_binary
from wire import ErrorReply, WireError, command, eventually

ALWAYS = ("--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
EVERYSEC = ("--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
OPEN = ("--fail-mode", "open")
REFUSAL = b"MISCONF Errors writing to the AOF file: "


@pytest.mark.parametrize("policy", [ALWAYS, EVERYSEC], ids=["always", "everysec"])
def test_full_disk_closed(launch, policy):
    """Writes and PING are refused, reads work, and everything works again once there is room."""
    server = launch(*policy)
    acknowledged = {}
    left = Countdown()
    with server.connect() as wire:
        for number in range(100):
            acknowledged[f"before-{number}"] = take(wire, f"before-{number}")[2]
        if policy is EVERYSEC:
            wait_for_record(server, "before-99")
        fill_disk(server)
        refusal, wire = write_until_refused(wire, server, acknowledged)
        assert refusal == REFUSAL + b"File too large"
        assert wire.call("PING") == refusal
        assert wire.call("DEL", "before-1") == refusal and wire.call("FLUSHALL") == refusal
        assert wire.calls("MULTI", "DEL before-1", "EXEC")[-1].startswith((b"MISCONF", b"EXECABORT"))
        assert wire.call("CL.THROTTLE", "before-1", BURST, 1, SLOW_PERIOD, 0) in (
            refusal, [0, BURST + 1, BURST, -1, left(SLOW_PERIOD)])
        assert wire.call("EXISTS", "before-1") == 1 and wire.call("ECHO", "x") == b"x"
        assert wire.call("TTL", "before-1") > 0 and b"before-1" in wire.call("KEYS", "before-1")
        found = info(wire)
        assert found["storage_breaker"] in ("open", "half-open") and int(found["storage_failures"]) >= 1
        assert found["aof_last_write_status"] == "err" and found["storage_memory_only"] == "0"
        log = server.settled_log()
        assert log.count("storage failed") == 1 and "File too large" in log
        limit_files(server, None)
        wait_until_fine(wire)
        found = info(wire)
        assert found["aof_last_write_status"] == "ok"
        assert server.settled_log().count("storage recovered") == 1
        for number in range(20):
            acknowledged[f"after-{number}"] = take(wire, f"after-{number}")[2]
        if policy is EVERYSEC:
            wait_for_record(server, "after-19")
    server.crash()
    server = launch(*policy)
    with server.connect() as wire:
        assert "torn" not in server.settled_log()
        assert_kept(wire, acknowledged)
        assert wire.call("EXISTS", "before-1") == 1


def test_killed_while_the_disk_is_full(launch):
    """Nothing acknowledged is lost even if the disk never recovers."""
    server = launch(*ALWAYS)
    acknowledged = {}
    with server.connect() as wire:
        for number in range(50):
            acknowledged[f"before-{number}"] = take(wire, f"before-{number}")[2]
        fill_disk(server, 333)
        write_until_refused(wire, server, acknowledged)
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert_kept(wire, acknowledged)
        take(wire, "after")


def test_waiting_connections_are_closed_not_answered(launch):
    """Many connections wait for a disk that fails: each change is acknowledged and kept, refused, or its connection is
    closed; never acknowledged and lost."""
    server = launch(*ALWAYS, "--io-threads", "2")
    wires = [server.connect() for _ in range(30)]
    acknowledged, closed, refused = {}, 0, 0
    with server.connect() as wire:
        take(wire, "first")
    fill_disk(server, 3000)
    try:
        for turn in range(200):
            alive = [wire for wire in wires if wire.socket.fileno() >= 0]
            for number, wire in enumerate(alive):
                try:
                    wire.send(b"".join(command("CL.THROTTLE", f"{turn}-{number}-{n}", BURST, 1, SLOW_PERIOD)
                                       for n in range(3)))
                except OSError:
                    pass
            for number, wire in enumerate(alive):
                try:
                    for n in range(3):
                        reply = wire.read()
                        if isinstance(reply, ErrorReply):
                            assert reply.startswith(b"MISCONF"), reply
                            refused += 1
                        else:
                            acknowledged[f"{turn}-{number}-{n}"] = reply[2]
                except (WireError, OSError):
                    closed += 1
                    wire.close()
            if refused or not alive:
                break
    finally:
        for wire in wires:
            wire.close()
    assert closed > 0, "some connection waited when the disk failed"
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert_kept(wire, acknowledged)


@pytest.mark.parametrize("policy", [ALWAYS, EVERYSEC], ids=["always", "everysec"])
def test_full_disk_open(launch, policy):
    """fail-mode open: decisions continue in memory, and are on disk once it works again."""
    server = launch(*policy, *OPEN)
    with server.connect() as wire:
        take(wire, "before")
        wait_for_record(server, "before")
        fill_disk(server)
        eventually(lambda: memory_only(server), "decisions are made in memory only")
        found = info(wire)
        assert found["storage_breaker"] in ("open", "half-open") and found["aof_last_write_status"] == "err"
        assert wire.call("PING") == b"PONG"
        for number in range(50):
            assert take(wire, f"memory-{number}", 2)[0] == 0
        assert wire.call("DEL", "before") == 1
        limit_files(server, None)
        eventually(lambda: info(wire)["storage_memory_only"] == "0", "storage works again")
        assert info(wire)["aof_last_write_status"] == "ok"
        keys = sorted(wire.call("KEYS", "*"))
        take(wire, "after")
        wait_for_record(server, "after")
    server.crash()
    server = launch(*policy)
    with server.connect() as wire:
        assert sorted(wire.call("KEYS", "*")) == sorted([*keys, b"after"])
        assert remaining(wire, "memory-49") == BURST + 1 - 2


def test_killed_while_decisions_go_on_in_memory(launch):
    """Changes since the failure are lost, as specified by fail-mode open; earlier ones are not."""
    server = launch(*ALWAYS, *OPEN)
    with server.connect() as wire:
        take(wire, "before", 3)
        fill_disk(server, 0)
        eventually(lambda: memory_only(server), "decisions are made in memory only")
    with server.connect() as wire:
        assert take(wire, "before", 2)[2] == BURST + 1 - 5
        assert take(wire, "memory")[0] == 0
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert remaining(wire, "before") == BURST + 1 - 3 and wire.call("EXISTS", "memory") == 0
        assert take(wire, "after")[0] == 0


def memory_only(server):
    """Makes a change, which may close the connection; returns whether it was made in memory only."""
    try:
        with server.connect() as wire:
            return isinstance(take(wire, "probe"), list) and info(wire)["storage_memory_only"] == "1"
    except WireError:
        return False


def test_fail_mode_changed_while_failing(launch):
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        take(wire, "k")
        wait_for_record(server, "k")
        fill_disk(server, 0)
        refusal, wire = write_until_refused(wire, server, {})
        wire.ok("CONFIG", "SET", "fail-mode", "open")
        eventually(lambda: isinstance(take(wire, "k2"), list), "decisions continue")
        wire.ok("CONFIG", "SET", "fail-mode", "closed")
        eventually(lambda: isinstance(take(wire, "k2"), ErrorReply), "writes are refused")
        assert wire.call("SHUTDOWN") == b"ERR Errors trying to SHUTDOWN. Check logs."
        limit_files(server, None)
        wait_until_fine(wire)
    server.stop()
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        assert wire.call("EXISTS", "k", "k2") == 2


def test_stopping_while_the_disk_is_full(launch):
    """SHUTDOWN is refused, whatever the fail-mode. SIGTERM does not wait for room, however long the timeout, and the
    exit status shows that not everything is on disk."""
    server = launch(*EVERYSEC, *OPEN, "--shutdown-timeout", "86400")
    with server.connect() as wire:
        take(wire, "kept")
        wait_for_record(server, "kept")
        fill_disk(server, 0)
        eventually(lambda: take(wire, "lost") and info(wire)["storage_memory_only"] == "1", "the disk has failed")
        assert wire.call("SHUTDOWN") == b"ERR Errors trying to SHUTDOWN. Check logs."
        assert wire.call("SHUTDOWN", "SAVE") == b"ERR Errors trying to SHUTDOWN. Check logs."
        assert take(wire, "lost")[0] == 0
    server.process.terminate()
    assert server.wait_exit() == 1
    assert "everything_on_disk=no" in server.log()
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        assert wire.call("EXISTS", "kept") == 1


@pytest.mark.parametrize("save", [(), ("--save", "3600 1")], ids=["log", "snapshot"])
def test_stopping_when_the_disk_has_room_again(launch, save):
    """SIGTERM before the next retry: the changes after the failure are written as well as the failed ones."""
    server = launch(*EVERYSEC, *OPEN, *save)
    with server.connect() as wire:
        take(wire, "kept")
        wait_for_record(server, "kept")
        fill_disk(server, 0)
        eventually(lambda: take(wire, "failed") and info(wire)["storage_memory_only"] == "1", "the disk has failed")
        assert take(wire, "behind", 2)[0] == 0
        limit_files(server, None)
    server.stop()
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        assert wire.call("EXISTS", "kept", "failed", "behind") == 3 and remaining(wire, "behind") == BURST + 1 - 2


def test_shutdown_nosave_exits_while_the_disk_is_full(launch):
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        take(wire, "kept")
        wait_for_record(server, "kept")
        fill_disk(server, 0)
        _, wire = write_until_refused(wire, server, {})
        wire.send(command("SHUTDOWN", "NOSAVE"))
        wire.expect_closed()
    assert server.wait_exit() in (0, 1)


def test_snapshots_on_a_full_disk(launch):
    """A snapshot that does not fit fails; the log continues, and the existing state is kept."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for start in range(0, 20_000, 500):
            wire.calls(*[("CL.THROTTLE", f"key-{n}", BURST, 1, SLOW_PERIOD) for n in range(start, start + 500)])
        wire.ok("SAVE")
        before = read_manifest(server.files)
        eventually(lambda: info(wire)["rdb_saves"] == "1", "the snapshot has ended")
        limit_files(server, 100_000)
        reply = wire.call("SAVE")
        assert isinstance(reply, ErrorReply) and b"File too large" in reply
        assert info(wire)["rdb_last_bgsave_status"] == "err"
        assert read_manifest(server.files)[0] == before[0]
        assert take(wire, "still logged")[0] == 0
        wire.call("BGREWRITEAOF")
        eventually(lambda: info(wire)["aof_last_bgrewrite_status"] == "err", "the rewrite fails")
        assert len([name for name in server.names() if name.startswith("snapshot-")]) == 1, server.names()
        limit_files(server, None)
        wire.ok("SAVE")
        assert info(wire)["rdb_last_bgsave_status"] == "ok"
        take(wire, "after")
        assert len([name for name in server.names() if name.startswith("log-")]) == 1, server.names()
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 20_002


def test_failed_save_refuses_writes_without_a_log(launch):
    """appendonly no with rules of `save`: like Redis's stop-writes-on-bgsave-error, according to fail-mode."""
    server = launch("--appendonly", "no", "--save", "3600 1000000")
    with server.connect() as wire:
        take(wire, "k")
        # The server's own log cannot grow either, but the replies are sufficient.
        limit_files(server, 20)
        assert isinstance(wire.call("SAVE"), ErrorReply)
        assert eventually(lambda: isinstance(reply := take(wire, "k"), ErrorReply) and reply,
                          "writes are refused").startswith(b"MISCONF Errors writing a snapshot: File too large")
        limit_files(server, None)
        wire.ok("SAVE")
        eventually(lambda: isinstance(take(wire, "k"), list), "writes are accepted again")


@pytest.mark.parametrize("mode", ["closed", "open"])
def test_started_on_a_full_disk(launch, tmp_path, monkeypatch, mode):
    """The existing state is restored and readable; the log starts once there is room."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "before", 3)
    server.crash()
    wrapper = tmp_path / "wrapper"
    # Its output goes through a process without the limit.
    wrapper.write_text(f'#!/bin/bash\nexec > >(exec cat) 2>&1\nulimit -S -f 0\nexec {find_binary()} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(DurableServer, "binary", str(wrapper))
    server = launch(*ALWAYS, "--fail-mode", mode)
    with server.connect() as wire:
        assert wire.call("EXISTS", "before") == 1
        eventually(lambda: breaker(wire) == "open", "no log can be started")
        if mode == "closed":
            assert take(wire, "before", 2) == REFUSAL + b"File too large"
            assert wire.call("PING").startswith(b"MISCONF")
        else:
            assert take(wire, "before", 2)[2] == BURST + 1 - 5
            assert info(wire)["storage_memory_only"] == "1"
        limit_files(server, None)
        wait_until_fine(wire)
        assert take(wire, "after")[0] == 0
    server.crash()
    monkeypatch.undo()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert remaining(wire, "before") == BURST + 1 - (3 if mode == "closed" else 5)
        assert remaining(wire, "after") == BURST


def test_save_right_after_a_failed_save(launch):
    """A client that was told of a failure may ask again: the failed snapshot is over."""
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        take(wire, "k")
        shutil.rmtree(server.files)
        for _ in range(200):
            reply = wire.call("SAVE")
            assert isinstance(reply, ErrorReply) and b"No such file or directory" in reply, reply
        server.files.mkdir()
        eventually(lambda: wire.call("SAVE") == b"OK", "a snapshot is taken")
