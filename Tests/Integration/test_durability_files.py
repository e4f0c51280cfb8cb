"""Snapshots and rewrites while the server runs, and the files that they leave."""

import os
import time

from durable import BURST, SLOW_PERIOD, info, launch, remaining, take, wait_for_rewrite
from journal_format import read_manifest
from wire import PATIENCE, command, eventually

ALWAYS = ("--appendfsync", "always")
MANY = 100_000
# More units than a test can take one by one.
MUCH = 50_000
# Seconds until one of these units is replenished: the longest time that can be reported.
DAY = 86_400
FIRST_REPLY = b"*5\r\n:0\r\n:%d\r\n:%d\r\n:-1\r\n:%d\r\n" % (BURST + 1, BURST, SLOW_PERIOD)


def fill(wire, count, prefix="key"):
    for start in range(0, count, 1000):
        numbers = range(start, min(count, start + 1000))
        wire.send(b"".join(command("CL.THROTTLE", f"{prefix}-{n}", BURST, 1, SLOW_PERIOD) for n in numbers))
        wire.expect_exact(FIRST_REPLY * len(numbers))


# Snapshots


def test_save_replaces_the_log(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        fill(wire, 500)
        before = wire.call("LASTSAVE")
        assert abs(before - time.time()) < 60
        wire.ok("SAVE")
        snapshot, logs = read_manifest(server.files)
        assert snapshot is not None and len(logs) == 1
        assert sorted(server.names()) == sorted(
            ["manifest", "synced", f"snapshot-{snapshot[0]}", f"log-{logs[0][0]}"])
        found = info(wire)
        assert found["rdb_saves"] == "1" and found["rdb_last_bgsave_status"] == "ok"
        assert found["rdb_changes_since_last_save"] == "0"
        assert before <= wire.call("LASTSAVE") <= time.time() + 1
        take(wire, "behind", 2)
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 501 and remaining(wire, "behind") == BURST + 1 - 2


def test_background_saves_and_rewrites(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        fill(wire, 2000)
        assert wire.call("BGSAVE") == b"Background saving started"
        wait_for_rewrite(wire, 1, "rdb_saves")
        assert wire.call("BGREWRITEAOF") == b"Background append only file rewriting started"
        wait_for_rewrite(wire, 1)
        assert wire.call("BGSAVE", "SCHEDULE") == b"Background saving started"
        wait_for_rewrite(wire, 2, "rdb_saves")
        assert wire.call("BGSAVE", "NOW") == b"ERR syntax error"
        assert wire.call("SAVE", "x").startswith(b"ERR wrong number of arguments")
        assert wire.calls("MULTI", "SAVE", "EXEC")[1:] == [
            b"ERR Command not allowed inside a transaction",
            b"EXECABORT Transaction discarded because of previous errors."]
        found = info(wire)
        assert found["aof_last_bgrewrite_status"] == "ok" and found["rdb_saves"] == "2"
        assert int(found["aof_base_size"]) > 2000 * 8


def test_a_save_is_in_progress_as_soon_as_it_is_requested(launch):
    """A client that waits until INFO shows the end of its save may request the next one."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for _ in range(30):
            assert wire.call("BGSAVE") == b"Background saving started"
            eventually(lambda: info(wire)["rdb_bgsave_in_progress"] == "0", "the save is done")


def test_one_snapshot_at_a_time(launch):
    """A large state takes long enough that other requests arrive during the snapshot."""
    server = launch("--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
    with server.connect() as wire:
        fill(wire, MANY)
        assert wire.calls("BGREWRITEAOF", "BGREWRITEAOF", "BGSAVE", "SAVE", "BGSAVE SCHEDULE") == [
            b"Background append only file rewriting started",
            b"ERR Background append only file rewriting already in progress",
            b"ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to "
            b"schedule a BGSAVE whenever possible.",
            b"ERR Background save already in progress",
            b"Background saving scheduled"]
        wait_for_rewrite(wire, 1)
        wait_for_rewrite(wire, 1, "rdb_saves")
        assert wire.calls("BGSAVE", "BGSAVE", "BGREWRITEAOF") == [
            b"Background saving started", b"ERR Background save already in progress",
            b"Background append only file rewriting scheduled"]
        wait_for_rewrite(wire, 2, "rdb_saves")
        wait_for_rewrite(wire, 2)
        keys = int(info(wire)["snapshot_keys_expected"])
        assert keys in (0, MANY)
    server.stop()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == MANY


def test_serving_continues_during_a_snapshot(launch):
    """Calls are answered while SAVE blocks its own connection, and their changes are kept."""
    server = launch("--appendfsync", "everysec")
    with server.connect() as wire, server.connect() as saver:
        fill(wire, MANY)
        taken = 0

        def answered_meanwhile():
            nonlocal taken
            before = taken
            saver.socket.setblocking(True)
            saver.send(command("SAVE"))
            saver.socket.setblocking(False)
            while True:
                assert wire.call("CL.THROTTLE", "meanwhile", MUCH, 1, DAY)[0] == 0
                taken += 1
                try:
                    assert saver.socket.recv(100) == b"+OK\r\n"
                except BlockingIOError:
                    continue
                # One call may have come just before it began, and one just after it ended.
                return taken - before > 10

        # Retries if the test was too slow: a server that blocks during SAVE never answers that many.
        eventually(answered_meanwhile, "calls are answered while a snapshot is taken")
        left = wire.call("CL.THROTTLE", "meanwhile", MUCH, 1, DAY, 0)[2]
        assert left == MUCH + 1 - taken
    server.stop()
    server = launch("--appendfsync", "everysec")
    with server.connect() as wire:
        assert wire.call("CL.THROTTLE", "meanwhile", MUCH, 1, DAY, 0)[2] == left and wire.call("DBSIZE") == MANY + 1


def test_save_rules(launch):
    server = launch("--appendonly", "no", "--save", "1 50")
    with server.connect() as wire:
        assert wire.call("CONFIG", "GET", "save") == [b"save", b"1 50"]
        fill(wire, 10)
        assert info(wire)["rdb_changes_since_last_save"] == "10"
        # JournalDriverChangeTests checks that ten changes are never enough, however long they wait.
        assert info(wire)["rdb_saves"] == "0"
        fill(wire, 60, "more")
        wait_for_rewrite(wire, 1, "rdb_saves")
        # Changes made while the snapshot was starting count for the next one; fifty were needed.
        assert int(info(wire)["rdb_changes_since_last_save"]) <= 20
        wire.ok("CONFIG", "SET", "save", "")
        fill(wire, 100, "unsaved")
        wire.ok("CONFIG", "SET", "save", "1 1")
        wait_for_rewrite(wire, 2, "rdb_saves")
        assert wire.call("CONFIG", "SET", "save", "1").startswith(b"ERR CONFIG SET failed")
    server.crash()
    server = launch("--appendonly", "no")
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 170
        assert info(wire)["rdb_changes_since_last_save"] == "0", "the recovered state counts as saved"


def test_log_is_replaced_when_it_grows(launch):
    server = launch("--appendfsync", "always", "--auto-aof-rewrite-min-size", "64kb")
    with server.connect() as wire:
        # The same keys repeatedly: the state stays small, so only rewrites keep the files small.
        deadline = time.monotonic() + PATIENCE
        while int(info(wire)["aof_rewrites"]) < 3:
            fill(wire, 300)
            wire.calls(*[("DEL", f"key-{n}") for n in range(300)])
            assert time.monotonic() < deadline
        fill(wire, 300)

        def is_small():
            found = info(wire)
            return found["aof_rewrite_in_progress"] == "0" and int(found["aof_current_size"]) < 300_000 and (
                sum((server.files / name).stat().st_size for name in server.names()) < 300_000)

        # Changes written during a slow snapshot are dropped by the next one.
        eventually(is_small, "the files are small")
        wire.ok("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
        wait_for_rewrite(wire, 3)
        before = info(wire)["aof_rewrites"]
        for _ in range(20):
            wire.calls(*[("DEL", f"key-{n}") for n in range(300)])
            fill(wire, 300)
        assert info(wire)["aof_rewrites"] == before
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 300


def test_many_rewrites_leave_nothing_behind(launch):
    server = launch("--appendfsync", "everysec")
    with server.connect() as wire:
        fill(wire, 300)
        for number in range(40):
            if number % 2:
                wire.ok("SAVE")
            else:
                rewrites = int(info(wire)["aof_rewrites"])
                wire.call("BGREWRITEAOF")
                wait_for_rewrite(wire, rewrites + 1)
            take(wire, "k", burst=1000)
        names = server.names()
        assert len(names) == 4, names
        assert len(os.listdir(f"/proc/{server.pid}/fd")) < 40
    server.stop()
    for _ in range(5):
        server = launch("--appendfsync", "everysec")
        assert len(server.names()) <= 5, server.names()
        with server.connect() as wire:
            assert remaining(wire, "k", 1000) == 1001 - 40
        server.stop()


def test_restarts_alone_do_not_pile_up_files(launch):
    """Each start begins a segment; empty segments are replaced."""
    for _ in range(8):
        server = launch(*ALWAYS)
        server.crash()
    assert len([name for name in server.names() if name.startswith("log-")]) <= 2, server.names()


def test_leftovers_are_removed_at_the_start(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "k")
    server.stop()
    left = ["log-77", "snapshot-78", "manifest.tmp"]
    for name in left:
        (server.files / name).write_bytes(b"half a file")
    (server.files / "notes.txt").write_text("somebody else's")
    (server.files / "log-x").write_text("somebody else's")
    server = launch(*ALWAYS)
    assert not set(left) & set(server.names())
    assert {"notes.txt", "log-x"} <= set(server.names())
    with server.connect() as wire:
        assert remaining(wire, "k") == BURST
        wire.ok("SAVE")
        numbers = [int(n.split("-")[1]) for n in server.names() if n[-1].isdigit()]
        assert min(numbers) > 78, "numbers are never reused"


FIELDS = {
    "loading": int, "async_loading": int, "rdb_changes_since_last_save": int, "rdb_bgsave_in_progress": int,
    "rdb_last_save_time": int, "rdb_last_bgsave_status": str, "rdb_last_bgsave_time_sec": int,
    "rdb_current_bgsave_time_sec": int, "rdb_saves": int, "rdb_last_cow_size": int, "rdb_last_load_keys_expired": int,
    "rdb_last_load_keys_loaded": int, "aof_enabled": int, "aof_rewrite_in_progress": int, "aof_rewrite_scheduled": int,
    "aof_last_rewrite_time_sec": int, "aof_current_rewrite_time_sec": int, "aof_last_bgrewrite_status": str,
    "aof_rewrites": int, "aof_last_write_status": str, "aof_last_cow_size": int, "aof_current_size": int,
    "aof_base_size": int, "aof_pending_rewrite": int, "aof_buffer_length": int, "aof_pending_bio_fsync": int,
    "aof_delayed_fsync": int, "storage_breaker": str, "storage_failures": int, "storage_fail_mode": str,
    "storage_memory_only": int, "snapshot_keys_done": int, "snapshot_keys_expected": int, "journal_offset": int,
    "journal_synced_offset": int, "journal_unsynced_bytes": int, "journal_collections": int, "journal_syncs": int,
    "journal_last_sync_usec": int, "recovery_usec": int, "recovery_cut_bytes": int}


def test_info_fields(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "k")
        found = info(wire, "persistence")
        for name, kind in FIELDS.items():
            kind(found[name])
        assert found["storage_breaker"] == "closed" and found["storage_fail_mode"] == "closed"
        assert found["aof_enabled"] == "1" and found["aof_last_write_status"] == "ok"
        size = lambda: sum((server.files / n).stat().st_size for n in server.names() if n[-1].isdigit())
        eventually(lambda: int(info(wire)["aof_current_size"]) == size(), "the size is that of the files")


def test_saves_one_after_the_other(launch):
    """When SAVE has answered, it is complete: the next one is accepted."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for turn in range(5):
            take(wire, f"k{turn}")
            assert wire.calls(*["SAVE"] * 10) == [b"OK"] * 10
        assert info(wire)["rdb_saves"] == "50"


def test_save_in_the_middle_of_a_pipeline(launch):
    """Only its own connection waits; later requests run afterwards, and all replies are in order."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for turn in range(20):
            replies = wire.calls(
                f"CL.THROTTLE a-{turn} {BURST} 1 {SLOW_PERIOD}", "SAVE", "ECHO between", "SAVE",
                f"CL.THROTTLE b-{turn} {BURST} 1 {SLOW_PERIOD}", "PING")
            assert [r[0] if isinstance(r, list) else r for r in replies] == [0, b"OK", b"between", b"OK", 0, b"PONG"]
        wire.send(command("CLIENT", "REPLY", "SKIP") + command("SAVE") + command("ECHO", "behind"))
        assert wire.read() == b"behind"
        wire.send(command("CL.THROTTLE", "last", BURST, 1, SLOW_PERIOD) + command("SAVE") + command("QUIT"))
        assert wire.until_closed() == FIRST_REPLY + b"+OK\r\n+OK\r\n"


def test_a_client_may_leave_during_save(launch):
    """Closed, reset or killed while it waits: no other client gets its reply, and the snapshot is taken."""
    server = launch("--appendfsync", "everysec", "--io-threads", "2")
    with server.connect() as wire:
        fill(wire, MANY)
        for turn in range(10):
            with server.connect() as waiter:
                waiter.ok("CLIENT", "SETNAME", "waiter")
                number = waiter.call("CLIENT", "ID")
                waiter.send(command("SAVE"))
                if turn % 2:
                    wire.call("CLIENT", "KILL", "ID", number)
                    waiter.until_closed()
            others = [server.connect() for _ in range(4)]
            for other in others:
                assert other.call("ECHO", "mine") == b"mine"
                other.close()
        eventually(lambda: wire.call("SAVE") == b"OK", "the last one has ended")
        assert 1 < int(info(wire)["rdb_saves"]) <= 11


def test_stopped_in_the_middle_of_a_snapshot(launch):
    for way in ("SIGTERM", "SHUTDOWN SAVE", "kill"):
        server = launch(*ALWAYS, directory=f"data-{way[:4]}")
        with server.connect() as wire:
            fill(wire, MANY)
            take(wire, "k", 3)
            wire.call("BGREWRITEAOF")
            if way == "SIGTERM":
                server.stop()
            elif way == "kill":
                server.crash()
            else:
                wire.send(command(*way.split()))
                assert server.wait_exit() == 0
        server = launch(*ALWAYS, directory=f"data-{way[:4]}")
        names = [name for name in server.names() if name.startswith("snapshot-")]
        snapshot, _ = read_manifest(server.files)
        assert names == ([f"snapshot-{snapshot[0]}"] if snapshot else []), names
        with server.connect() as wire:
            assert wire.call("DBSIZE") == MANY + 1 and remaining(wire, "k") == BURST + 1 - 3
