"""A restart keeps everything that was guaranteed, however the server stops and whatever the settings, which may change
at run time."""

import os
import signal
import time

import pytest

from clock import Countdown
from durable import BURST, SLOW_PERIOD, info, launch, remaining, remaining_of, take, wait_for_record
from journal_format import LogFollower
from wire import command, eventually

ALWAYS = ("--appendfsync", "always")
EVERYSEC = ("--appendfsync", "everysec")
MINUTE_CALL = ("CL.THROTTLE", "minutes", 9, 10, 600)  # a unit a minute


def create_everything(wire):
    """Creates every kind of state that a restart must keep."""
    for number in range(40):
        take(wire, f"key-{number}", 1 + number % 7)
    for number in range(0, 40, 8):
        assert wire.call("DEL", f"key-{number}") == 1
    assert wire.call("EXPIRE", "key-1", 5000) == 1
    assert wire.call("EXPIRE", "key-2", 5000) == 1
    assert wire.call("PERSIST", "key-2") == 1
    wire.calls(MINUTE_CALL, MINUTE_CALL, MINUTE_CALL)
    wire.call("CL.THROTTLE", b"\x00\r\n\xff", 1, 1, 1000)
    wire.call("CL.THROTTLE", "", 1, 1, 1000)
    wire.call("CL.THROTTLE", "x" * 100_000, 1, 1, 1000)
    take(wire, "fast", burst=2)
    wire.call("CL.THROTTLE", "gone in a blink", 1, 1000, 1)


def visible_state(wire):
    """Everything that a client can see of the state: absolute times and remaining units, of which only those of
    "minutes" change during a test."""
    keys = sorted(key for key in wire.call("KEYS", "*") if key != b"gone in a blink")
    seen = {}
    for key in keys:
        reply = wire.call("CL.THROTTLE", key, BURST, 1, SLOW_PERIOD, 0)
        seen[key[:20]] = (reply[0], reply[1], reply[2], wire.call("PEXPIRETIME", key))
    seen["minutes"] = wire.call(*MINUTE_CALL, 0)[:3]
    return seen


def assert_same(before, after, passed):
    """Deadlines may differ by the milliseconds that engine time and wall clock drift apart. `passed` seconds have
    elapsed between the first call and now."""
    assert before.keys() == after.keys()
    units = after["minutes"][2] - before["minutes"][2]
    assert after["minutes"][:2] == before["minutes"][:2] and 0 <= units <= passed / 60
    for key, value in before.items():
        if key == "minutes":
            continue
        assert after[key][:3] == value[:3], key
        assert abs(after[key][3] - value[3]) <= 100, key


def stop_by(server, wire, way):
    """Stops the server in one of the ways in which servers stop."""
    if way == "SIGTERM":
        server.stop()
    elif way == "kill":
        # The last write, which is collected after everything before it.
        take(wire, "the last")
        wait_for_record(server, "the last")
        server.crash()
    else:
        wire.send(command(*way.split()))
        assert server.wait_exit() == 0


@pytest.mark.parametrize("way", ["SIGTERM", "SHUTDOWN", "SHUTDOWN SAVE", "SHUTDOWN NOSAVE", "kill"])
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_restart_keeps_everything(launch, policy, way):
    server = launch("--appendfsync", policy)
    clock = Countdown()
    with server.connect() as wire:
        create_everything(wire)
        before = visible_state(wire)
        stop_by(server, wire, way)
    server = launch("--appendfsync", policy)
    with server.connect() as wire:
        after = visible_state(wire)
        if way == "kill":
            assert after.pop(b"the last")[2] == BURST
        assert_same(before, after, clock.passed())


def test_a_limiter_continues_across_restarts(launch):
    """With a limiter that replenishes a unit every 250 ms: a restarted and an uninterrupted server answer alike."""
    call, unit = ("CL.THROTTLE", "quick", 39, 40, 10), 0.25
    server = launch(*ALWAYS)
    twin = launch(*ALWAYS, directory="twin")
    with server.connect() as wire, twin.connect() as other:
        begin = time.monotonic()
        replies = wire.calls(*[call] * 30), other.calls(*[call] * 30)
        # The maximum number of seconds between the two limiters.
        apart = time.monotonic() - begin
        assert replies[0] == replies[1]
        server.crash()
        server = launch(*ALWAYS)
        with server.connect() as wire:
            taken = [0, 0]
            for _ in range(20):
                for number, connection in enumerate((wire, other)):
                    taken[number] += connection.call(*call)[0] == 0
                begin = time.monotonic()
                left = wire.call(*call, 0), other.call(*call, 0)
                between = apart + time.monotonic() - begin + abs(int(info(wire)["engine_time_skew_usec"])) / 1e6
                # The units that each has granted: as many as were replenished in between, plus the one in progress.
                had = [taken[number] + left[number][2] for number in range(2)]
                assert abs(had[0] - had[1]) <= 1 + between / unit, (taken, left)
                assert abs(left[0][4] - left[1][4]) <= 1 + between + abs(taken[0] - taken[1]) * unit, (taken, left)


def test_restarts_add_nothing_and_lose_nothing(launch):
    """Ten generations in one directory, killed and stopped alternately."""
    expected = BURST
    for generation in range(10):
        server = launch(*ALWAYS)
        with server.connect() as wire:
            if generation:
                assert remaining(wire, "k") == expected
            expected = BURST - generation
            assert take(wire, "k")[2] == expected
            if generation % 3 == 1:
                wire.ok("SAVE")
        server.crash() if generation % 2 else server.stop()


@pytest.mark.parametrize("kills", [True, False])
@pytest.mark.parametrize("inside", ["alone", "first in MULTI", "last in MULTI"])
def test_flushall_is_kept(launch, inside, kills):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for number in range(300):
            wire.send(command("CL.THROTTLE", f"old-{number}", BURST, 1, SLOW_PERIOD))
        for _ in range(300):
            wire.read()
        if inside == "alone":
            wire.ok("FLUSHALL")
            take(wire, "new")
        else:
            flush, call = ("FLUSHALL",), ("CL.THROTTLE", "new", BURST, 1, SLOW_PERIOD)
            queue = [flush, call] if inside == "first in MULTI" else [call, flush]
            replies = wire.calls(("MULTI",), *queue, ("EXEC",))
            assert b"OK" in replies[-1]
        expected = [] if inside == "last in MULTI" else [b"new"]
        assert wire.call("KEYS", "*") == expected
    server.crash() if kills else server.stop()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("KEYS", "*") == expected


def test_without_log_only_what_was_saved_is_kept(launch):
    server = launch("--appendonly", "no")
    with server.connect() as wire:
        take(wire, "saved", 5)
        wire.ok("SAVE")
        take(wire, "saved", 5)
        take(wire, "forgotten")
        assert info(wire)["aof_enabled"] == "0"
    server.stop()
    server = launch("--appendonly", "no")
    with server.connect() as wire:
        assert remaining(wire, "saved") == BURST + 1 - 5
        assert wire.call("EXISTS", "forgotten") == 0
        wire.call("DEL", "saved")
        wire.send(command("SHUTDOWN", "SAVE"))
        wire.expect_closed()
    assert server.wait_exit() == 0
    server = launch("--appendonly", "no")
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 0


def test_without_log_and_snapshot_everything_is_lost(launch):
    server = launch("--appendonly", "no")
    with server.connect() as wire:
        take(wire, "k")
    server.stop()
    assert not [name for name in server.names() if name.startswith(("log-", "snapshot-"))]
    server = launch("--appendonly", "no")
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 0


def test_sigterm_saves_with_save_rules(launch):
    server = launch("--appendonly", "no", "--save", "3600 1")
    with server.connect() as wire:
        take(wire, "k", 3)
    server.stop()
    server = launch("--appendonly", "no", "--save", "3600 1")
    with server.connect() as wire:
        assert remaining(wire, "k") == BURST + 1 - 3
        take(wire, "k", 3)
        wire.send(command("SHUTDOWN", "NOSAVE"))
        wire.expect_closed()
    assert server.wait_exit() == 0
    server = launch("--appendonly", "no", "--save", "3600 1")
    with server.connect() as wire:
        assert remaining(wire, "k") == BURST + 1 - 3


def test_an_existing_log_is_read_without_appendonly(launch):
    """Setting it to no keeps the existing log; later changes are not kept."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "kept", 4)
    server.stop()
    for _ in range(2):
        server = launch("--appendonly", "no")
        with server.connect() as wire:
            assert remaining(wire, "kept") == BURST + 1 - 4
            assert wire.call("EXISTS", "lost") == 0
            take(wire, "lost")
        server.stop()
    # When it is switched on again, the log continues.
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("KEYS", "*") == [b"kept"]
        take(wire, "more")
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert sorted(wire.call("KEYS", "*")) == [b"kept", b"more"]


# appendonly and appendfsync at run time


def switch_on(wire):
    wire.ok("CONFIG", "SET", "appendonly", "yes")

    def ready():
        found = info(wire, "persistence")
        return found["aof_enabled"] == "1" and found["aof_rewrite_in_progress"] == "0"

    eventually(ready, "the log is started")


def test_switched_on_at_run_time(launch):
    flags = ("--appendonly", "no", *ALWAYS)
    server = launch(*flags)
    with server.connect() as wire:
        for number in range(1000):
            wire.send(command("CL.THROTTLE", f"before-{number}", BURST, 1, SLOW_PERIOD))
        for _ in range(1000):
            wire.read()
        switch_on(wire)
        take(wire, "after", 2)
    server.crash()
    server = launch(*flags)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 1001
        assert remaining(wire, "after") == BURST + 1 - 2


def test_a_write_right_after_switching_on_is_kept(launch):
    """A write answered after CONFIG SET appendonly yes is on disk under `always`, however soon it came."""
    flags = ("--appendonly", "no", *ALWAYS)
    for attempt in range(10):
        server = launch(*flags, directory=f"data-{attempt}")
        with server.connect() as wire:
            take(wire, "before", 3)
            replies = wire.calls("CONFIG SET appendonly yes", f"CL.THROTTLE k {BURST} 1 {SLOW_PERIOD} 2")
            assert replies[0] == b"OK" and replies[1][0] == 0, replies
        server.crash()
        server = launch(*flags, directory=f"data-{attempt}")
        with server.connect() as wire:
            assert remaining_of(wire, ["before", "k"]) == {"before": BURST + 1 - 3, "k": BURST + 1 - 2}, attempt


@pytest.mark.parametrize("way", ["SIGTERM", "SHUTDOWN", "SHUTDOWN SAVE"])
def test_stopped_right_after_switching_on(launch, way):
    """A clean stop completes the switch: nothing is lost, and the exit status shows it."""
    flags = ("--appendonly", "no", "--appendfsync", "everysec")
    server = launch(*flags)
    with server.connect() as wire:
        for start in range(0, 20_000, 500):
            wire.calls(*[("CL.THROTTLE", f"key-{n}", BURST, 1, SLOW_PERIOD) for n in range(start, start + 500)])
        wire.ok("CONFIG", "SET", "appendonly", "yes")
        take(wire, "last", 2)
        stop_by(server, wire, way)
    server = launch(*flags)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 20_001 and remaining(wire, "last") == BURST + 1 - 2


def test_switched_off_and_on_at_run_time(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        take(wire, "logged", 3)
        wire.ok("CONFIG", "SET", "appendonly", "no")
        eventually(lambda: info(wire)["aof_enabled"] == "0", "the log is closed")
        take(wire, "unlogged", 3)
        take(wire, "logged", 3)
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        # The end of the log, and nothing after it.
        assert wire.call("KEYS", "*") == [b"logged"] and remaining(wire, "logged") == BURST + 1 - 3
        wire.ok("CONFIG", "SET", "appendonly", "no")
        eventually(lambda: info(wire)["aof_enabled"] == "0", "the log is closed")
        take(wire, "meanwhile", 3)
        wire.call("DEL", "logged")
        switch_on(wire)
        take(wire, "behind", 3)
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert sorted(wire.call("KEYS", "*")) == [b"behind", b"meanwhile"], "deleted keys came back"


def test_switching_back_and_forth_quickly(launch):
    """A start can read every intermediate state."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        for turn in range(30):
            wire.ok("CONFIG", "SET", "appendonly", ["no", "yes"][turn % 2])
            take(wire, f"turn-{turn}")
            if turn % 7 == 0:
                wire.call("BGREWRITEAOF")
        switch_on(wire)
        take(wire, "last")
        keys = sorted(wire.call("KEYS", "*"))
        assert len(keys) == 31
    server.crash()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert sorted(wire.call("KEYS", "*")) == keys


def test_appendfsync_changed_at_run_time(launch):
    server = launch(*EVERYSEC)
    follower = LogFollower(server.files)
    with server.connect() as wire:
        for turn in range(20):
            policy = ["always", "no", "everysec"][turn % 3]
            wire.ok("CONFIG", "SET", "appendfsync", policy)
            take(wire, f"turn-{turn}")
            if policy == "always":
                assert b"turn-%d" % turn in follower.update().states, policy
        wire.ok("CONFIG", "SET", "appendfsync", "always")
        take(wire, "last")
    server.crash()
    server = launch(*EVERYSEC)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 21


def test_appenddirname(launch):
    server = launch("--appenddirname", "elsewhere", *ALWAYS)
    with server.connect() as wire:
        take(wire, "k")
        assert wire.call("CONFIG", "SET", "appenddirname", "x").startswith(b"ERR ")
    server.stop()
    assert "manifest" in os.listdir(server.directory / "elsewhere")
    assert not (server.directory / "appendonlydir").exists()
    server = launch("--appenddirname", "elsewhere", *ALWAYS)
    with server.connect() as wire:
        assert remaining(wire, "k") == BURST
    server.stop()
    server = launch(*ALWAYS)
    with server.connect() as wire:
        assert wire.call("DBSIZE") == 0


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_shutdown_timeout_with_a_stuck_client(launch, policy):
    """A client that does not read delays the stop by the timeout at most, and no state is lost."""
    server = launch("--appendfsync", policy, "--shutdown-timeout", "2")
    # Another server with a timeout of a day, and the same client. It is stopped first, and still waits when the other
    # is done.
    patient = launch("--appendfsync", policy, "--shutdown-timeout", "86400", directory="patient")
    with server.connect() as stuck, patient.connect() as other, server.connect() as wire:
        for client in (stuck, other):
            client.socket.setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF
            client.timeout = 0.5
            try:
                for _ in range(40):
                    client.send(command("ECHO", "x" * 500_000))
            except OSError:
                pass
        take(wire, "k", 3)
        for each in (patient, server):
            each.process.send_signal(signal.SIGTERM)
            each.wait_log("stopping")
        assert server.wait_exit() == 0
        assert patient.process.poll() is None, "its timeout is a day"
        patient.kill()
    server = launch("--appendfsync", policy)
    with server.connect() as wire:
        assert remaining(wire, "k") == BURST + 1 - 3
