"""Wrong clocks. If the clock went back, engine time continues from the last time in the log, so nothing is replenished
and no client is blocked longer. A step of the clock at run time moves no limiter. The timestamps that clients send and
receive still follow the wall clock, and `check --rebase-clock` corrects engine time after a clock that was years
ahead."""

import json
import pathlib
import subprocess
import time

import pytest

from clock import Countdown
from conftest import missing
from durable import BURST, DurableServer, info, launch, remaining, take
from journal_format import DAY, SECOND, gcra_record, write_log
from replication import Node, wait_same_offset
from server import find_binary
from wire import eventually

ALWAYS = ("--appendfsync", "always")
HOUR = 3600 * SECOND
CENTURY = 36_525 * DAY


@pytest.mark.parametrize("ahead", [HOUR, CENTURY], ids=["an hour", "a century"])
def test_clock_behind_the_log(launch, tmp_path, ahead):
    """The clock went back: engine time continues from the log's last time. Nothing is replenished, no client waits
    longer."""
    last = time.time_ns() + ahead
    # So long that no unit is replenished during the test.
    unit = 1000 * SECOND
    write_log(tmp_path / "data", last - 60 * SECOND, [
        (last - 60 * SECOND, [gcra_record(b"three left", last + 2 * unit), gcra_record(b"full again", last - 1)]),
        (last, [gcra_record(b"spent", last + 5 * unit), gcra_record(b"dated", last + 5 * unit, last + 10 * unit)])])
    left = Countdown()
    for generation in range(2):
        server = launch(*ALWAYS)
        assert sum("clock is behind" in line and "warning" in line for line in server.settled_log().splitlines()) == 1
        with server.connect() as wire:
            skew = int(info(wire)["engine_time_skew_usec"]) * 1000
            assert abs(skew - ahead) < 60 * SECOND
            if generation == 0:
                # A burst of five, one unit per thousand seconds.
                assert wire.call("CL.THROTTLE", "spent", 4, 1, 1000, 0)[2] == 0
                assert wire.call("CL.THROTTLE", "three left", 4, 1, 1000, 0)[2] == 3
                assert wire.call("CL.THROTTLE", "full again", 4, 1, 1000, 0)[2] == 5
                retry = wire.call("CL.THROTTLE", "spent", 4, 1, 1000, 2)
                assert retry[0] == 1 and retry[3] == left(2000), "blocked longer than before"
                assert wire.call("TTL", "spent") == left(5000)
                # Its deadline is later than the limiter's own expiry, so the expiry applies.
                assert wire.call("TTL", "dated") == left(5000)
                assert take(wire, "new", 3)[2] == BURST + 1 - 3
            else:
                assert remaining(wire, "new") == BURST + 1 - 3
        server.crash()


@pytest.mark.parametrize("behind", [HOUR, CENTURY // 3], ids=["an hour", "decades"])
def test_clock_ahead_of_the_log(launch, tmp_path, behind):
    """Indistinguishable from a server that was down for that long: units are replenished."""
    last = time.time_ns() - behind
    longer = last + 2 * behind + 20 * SECOND
    write_log(tmp_path / "data", last, [(last, [
        gcra_record(b"full again", last + 50 * SECOND), gcra_record(b"long", longer),
        gcra_record(b"dated", longer, last + 100 * SECOND)])])
    server = launch(*ALWAYS)
    assert "clock" not in server.settled_log()
    with server.connect() as wire:
        # Far less than the downtime.
        assert abs(int(info(wire)["engine_time_skew_usec"])) < 60_000_000
        assert wire.call("KEYS", "*") == [b"long"]
        assert abs(wire.call("PEXPIRETIME", "long") - longer // 1_000_000) < 60_000


FAKETIME = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))[:1]


class ElsewhenServer(DurableServer):
    """A server with a different wall clock: `offset` in libfaketime's syntax. Time passes at normal speed."""

    def __init__(self, directory, *flags, offset, **options):
        if not FAKETIME:
            missing("libfaketime is not installed (scripts/setup test)")
        self.clock = directory.parent / "clock"
        self.step(offset)
        environment = {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                       "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        super().__init__(directory, *flags, environment=environment, **options)

    def step(self, offset):
        self.clock.write_text(offset)


@pytest.mark.parametrize("offset, seconds", [("-3600", -3600), ("+36525d", 36525 * 86400), ("-9000d", -9000 * 86400)])
def test_wall_clock_stepped_while_running(launch, offset, seconds):
    """Limiters are not affected; INFO shows the difference."""
    server = launch(*ALWAYS, kind=ElsewhenServer, offset="+0")
    with server.connect() as wire:
        call = ("CL.THROTTLE", "k", 9, 10, 1000)
        before = [wire.call(*call) for _ in range(4)]
        assert before[-1][2] == 6
        server.step(offset)
        eventually(lambda: abs(int(wire.call("TIME")[0]) - time.time() - seconds) < 60, "the clock is stepped")
        assert wire.call(*call, 0)[2] == 6
        assert abs(int(info(wire)["engine_time_skew_usec"]) / 1e6 + seconds) < 60
        assert take(wire, "k2", 3)[2] == BURST + 1 - 3
    server.crash()
    # The next start uses the stepped clock from the beginning.
    server = launch(*ALWAYS, kind=ElsewhenServer, offset=offset)
    assert ("clock is behind" in server.settled_log()) == (seconds < 0)
    with server.connect() as wire:
        if seconds < 0:
            assert wire.call(*call, 0)[2] == 6 and remaining(wire, "k2") == BURST + 1 - 3
        else:
            assert wire.call("DBSIZE") == 0


# Timestamps that clients send and receive


def wall(wire):
    seconds, microseconds = wire.call("TIME")
    return int(seconds) + int(microseconds) / 1e6


def assert_instants_are_the_wall_clocks(wire):
    now = int(wall(wire))
    # The fixed window limiter that every tutorial shows.
    for _ in range(3):
        assert wire.call("INCR", "window") >= 1
        assert wire.call("EXPIREAT", "window", now + 60) == 1
    assert wire.call("GET", "window") == b"3"
    assert 55 <= wire.call("TTL", "window") <= 60 and wire.call("EXPIRETIME", "window") == now + 60
    for words, expected in [
            (("SET", "k", 1, "EXAT", now + 100), (now + 100) * 1000),
            (("SET", "k", 1, "PXAT", now * 1000 + 100_123), now * 1000 + 100_123),
            (("INCREX", "k", "EXAT", now + 200), (now + 200) * 1000),
            (("PEXPIREAT", "k", now * 1000 + 300_321), now * 1000 + 300_321)]:
        wire.call(*words)
        assert wire.call("PEXPIRETIME", "k") == expected, words
        assert 0 < expected - now * 1000 - wire.call("PTTL", "k") < 20_000, words
    # Durations are relative to now, whatever the clock shows.
    wire.ok("SET", "k", 1, "EX", 50)
    assert 45 <= wire.call("TTL", "k") <= 50 and abs(wire.call("EXPIRETIME", "k") - now - 50) < 10
    # A timestamp in the past deletes the key immediately.
    assert wire.call("EXPIREAT", "k", now - 1) == 1 and wire.call("EXISTS", "k") == 0
    wire.call("DEL", "window")


@pytest.mark.parametrize("offset, seconds", [("-3600", -3600), ("+3600", 3600), ("-3650d", -3650 * 86400)])
def test_timestamps_after_a_step(launch, offset, seconds):
    server = launch(*ALWAYS, kind=ElsewhenServer, offset="+0")
    with server.connect() as wire:
        assert_instants_are_the_wall_clocks(wire)
        now = int(time.time())
        wire.ok("SET", "before", 1, "EXAT", now + 50_000)
        left = wire.call("TTL", "before")
        server.step(offset)
        eventually(lambda: abs(wall(wire) - time.time() - seconds) < 60, "the clock is stepped")
        assert_instants_are_the_wall_clocks(wire)
        # Earlier deadlines keep their remaining time to live, and so show another timestamp.
        assert 0 <= left - wire.call("TTL", "before") < 20
        assert abs(wire.call("EXPIRETIME", "before") - now - 50_000 - seconds) < 2
        server.step("+0")
        eventually(lambda: abs(wall(wire) - time.time()) < 60, "the clock is right again")
        assert wire.call("EXPIRETIME", "before") == now + 50_000
        assert_instants_are_the_wall_clocks(wire)


def test_timestamps_on_a_replica(launch):
    """The primary's clock is an hour ahead. Each node shows timestamps of its own clock."""
    primary = launch(*ALWAYS, kind=ElsewhenServer, offset="+3600", directory="a")
    replica = launch("--replicaof", "127.0.0.1", primary.port, kind=Node, directory="b")
    now = int(time.time())
    with primary.connect() as wire:
        wire.ok("SET", "kept", 1, "EXAT", now + 3600 + 50_000)
        eventually(lambda: wire.call("WAIT", 1, 1000) == 1, "the replica has it")
    with replica.connect() as wire:
        assert abs(wire.call("EXPIRETIME", "kept") - now - 50_000) < 5
        assert abs(wire.call("TTL", "kept") - 50_000) < 20
        replica.lead()
        eventually(lambda: wire.call("SET", "x", 1) == b"OK", "it leads")
        assert_instants_are_the_wall_clocks(wire)
        assert abs(wire.call("EXPIRETIME", "kept") - now - 50_000) < 5


# Correcting engine time


def rebase(server, *flags):
    done = subprocess.run(
        [find_binary(), "check", str(server.directory), "--rebase-clock", *flags], capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def spend(wire):
    """Spends units of every kind of state."""
    assert take(wire, "gcra", 5)[2] == BURST + 1 - 5
    for algorithm in ("fixed-window", "sliding-window", "sliding-log"):
        assert wire.call("RL.TAKE", algorithm, "LIMIT", 10, "PER", "300d", "ALGO", algorithm, "COST", 7)[0] == 1
    wire.ok("SET", "counter", 12, "EX", 5000)
    assert wire.call("RL.TAKE", "once", "LIMIT", 10, "PER", "10h", "ID", "x")[0] == 1
    wire.ok("RL.POLICY", "SET", "p", "LIMIT", 5, "PER", "1h")
    assert wire.call("RL.TAKE", "named", "POLICY", "p", "COST", 5)[0] == 1


def assert_spent(wire):
    assert remaining(wire, "gcra") == BURST + 1 - 5
    for algorithm in ("fixed-window", "sliding-window", "sliding-log"):
        limit = ("LIMIT", 10, "PER", "300d", "ALGO", algorithm)
        assert wire.call("RL.TAKE", algorithm, *limit, "COST", 4)[0] == 0, algorithm
        assert wire.call("RL.PEEK", algorithm, *limit, "COST", 3)[0] == 1, algorithm
    assert wire.call("GET", "counter") == b"12" and 4900 < wire.call("TTL", "counter") <= 5000
    repeated = wire.call("RL.TAKE", "once", "LIMIT", 10, "PER", "10h", "ID", "x")
    assert repeated[0] == 1 and wire.call("RL.PEEK", "once", "LIMIT", 10, "PER", "10h", "COST", 9)[0] == 1
    assert wire.call("RL.TAKE", "named", "POLICY", "p")[0] == 0


def skew(wire):
    return int(info(wire)["engine_time_skew_usec"]) / 1e6


@pytest.mark.parametrize("offset, years", [("+3650d", 10), ("+95000d", 200)], ids=["ten years", "beyond 2262"])
def test_rebase_after_a_clock_that_was_ahead(launch, offset, years):
    """After one start with a clock far ahead, engine time stays there until --rebase-clock."""
    server = launch(*ALWAYS, kind=ElsewhenServer, offset=offset)
    with server.connect() as wire:
        assert wall(wire) > time.time() + years * 364 * 86400
        if years == 10:
            spend(wire)
        else:
            # Engine time has reached its end: limiters report an error, and nothing wraps.
            assert take(wire, "k").startswith(b"ERR ") and wire.call("INCR", "n") == 1
            assert wire.call("TTL", "n") == -1
    server.stop()
    server = launch(*ALWAYS, kind=ElsewhenServer, offset="+0")
    with server.connect() as wire:
        assert skew(wire) > years * 364 * 86400
        if years == 10:
            assert_spent(wire)
            assert_instants_are_the_wall_clocks(wire)
        # Refused while the server runs.
        code, _, error = rebase(server)
        assert code == 1 and "a server is running" in error
    server.stop()

    code, output, error = rebase(server)
    assert code == 0 and "moved back by" in output and "clean" in output, (output, error)
    kept = [line.split()[1] for line in output.splitlines() if line.startswith("kept ")]
    assert "manifest.before-rebase-1" in kept and all((server.files / name).exists() for name in kept)
    # Doing it again changes nothing.
    code, output, _ = rebase(server, "--json")
    assert code == 0 and json.loads(output)["clean"] and "rebase" not in json.loads(output)
    for generation in range(2):
        server = launch(*ALWAYS)
        assert "clock is behind" not in server.log()
        with server.connect() as wire:
            assert abs(skew(wire)) < 60
            assert_instants_are_the_wall_clocks(wire)
            if years == 10:
                assert_spent(wire)
            else:
                assert wire.call("GET", "n") == b"1"
            assert take(wire, f"new-{generation}", 3)[2] == BURST + 1 - 3
        server.crash()
    assert all((server.files / name).exists() for name in kept)


def test_replicas_follow_a_rebased_primary(launch):
    """A replica of the old primary gets a full sync, and with it the primary's time."""
    primary = launch(*ALWAYS, kind=ElsewhenServer, offset="+3650d", directory="a")
    replica = launch("--replicaof", "127.0.0.1", primary.port, kind=Node, directory="b")
    with primary.connect() as wire:
        spend(wire)
        eventually(lambda: wire.call("WAIT", 1, 1000) == 1, "the replica has it")
    port = primary.port
    primary.stop()
    assert rebase(primary)[0] == 0
    primary = launch(*ALWAYS, kind=Node, directory="a", port=port)
    with primary.connect() as wire:
        assert_spent(wire)
    eventually(lambda: primary.info()["connected_slaves"] == "1", "the replica reconnects", 20)
    wait_same_offset(primary, replica, seconds=30)
    assert primary.syncs()[0] == 1
    with replica.connect() as wire:
        assert abs(skew(wire)) < 60
        replica.lead()
        eventually(lambda: wire.call("SET", "x", 1) == b"OK", "it leads")
        assert_spent(wire)


@pytest.mark.parametrize("flags", [("--fix",), ("--rebase",), ("--rebase-clock", "again")])
def test_arguments_of_rebase(launch, flags):
    server = launch(*ALWAYS)
    server.stop()
    code, _, error = rebase(server, *flags)
    assert code == 2 and "usage: escapement check" in error


def test_damage_is_not_rebased(launch, tmp_path):
    write_log(tmp_path / "data", time.time_ns() + DAY, [(time.time_ns() + DAY, [gcra_record(b"k", time.time_ns())])] * 2)
    path = tmp_path / "data" / "appendonlydir" / "log-1"
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(data)
    (path.parent / "manifest").write_bytes((path.parent / "manifest").read_bytes()[:-2] + b"0\n")
    done = subprocess.run([find_binary(), "check", str(tmp_path / "data"), "--rebase-clock"], capture_output=True)
    assert done.returncode == 1 and b"damaged" in done.stderr
    assert path.read_bytes() == data
