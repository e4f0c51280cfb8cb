"""A clock that goes wrong: engine time goes on from the last time in the log, so a clock that went back gives nothing
back and blocks nobody longer, and one that is stepped while the server runs moves no limiter."""

import pathlib
import time

import pytest

from clock import Countdown
from conftest import missing
from durable import BURST, DurableServer, info, launch, remaining, take
from journal_format import DAY, SECOND, gcra_record, write_log
from wire import eventually

ALWAYS = ("--appendfsync", "always")
HOUR = 3600 * SECOND
CENTURY = 36_525 * DAY


@pytest.mark.parametrize("ahead", [HOUR, CENTURY], ids=["an hour", "a century"])
def test_clock_behind_the_log(launch, tmp_path, ahead):
    """The clock went back: engine time goes on from the log's last moment. Nothing comes back, nobody waits longer."""
    last = time.time_ns() + ahead
    # So long that none comes back while the test runs.
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
                # Five at once, one in a thousand seconds.
                assert wire.call("CL.THROTTLE", "spent", 4, 1, 1000, 0)[2] == 0
                assert wire.call("CL.THROTTLE", "three left", 4, 1, 1000, 0)[2] == 3
                assert wire.call("CL.THROTTLE", "full again", 4, 1, 1000, 0)[2] == 5
                retry = wire.call("CL.THROTTLE", "spent", 4, 1, 1000, 2)
                assert retry[0] == 1 and retry[3] == left(2000), "blocked longer than before"
                assert wire.call("TTL", "spent") == left(5000)
                # Its expiry is later than its own end, so it is the end that counts.
                assert wire.call("TTL", "dated") == left(5000)
                assert take(wire, "new", 3)[2] == BURST + 1 - 3
            else:
                assert remaining(wire, "new") == BURST + 1 - 3
        server.crash()


@pytest.mark.parametrize("behind", [HOUR, CENTURY // 3], ids=["an hour", "decades"])
def test_clock_ahead_of_the_log(launch, tmp_path, behind):
    """The server was down that long, as far as anybody can tell: time gives back what it gives."""
    last = time.time_ns() - behind
    longer = last + 2 * behind + 20 * SECOND
    write_log(tmp_path / "data", last, [(last, [
        gcra_record(b"full again", last + 50 * SECOND), gcra_record(b"long", longer),
        gcra_record(b"dated", longer, last + 100 * SECOND)])])
    server = launch(*ALWAYS)
    assert "clock" not in server.settled_log()
    with server.connect() as wire:
        # Less than what it was down for, by far.
        assert abs(int(info(wire)["engine_time_skew_usec"])) < 60_000_000
        assert wire.call("KEYS", "*") == [b"long"]
        assert abs(wire.call("PEXPIRETIME", "long") - longer // 1_000_000) < 60_000


FAKETIME = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))[:1]


class ElsewhenServer(DurableServer):
    """A server whose wall clock is another: `offset` as libfaketime spells it. Time passes as it does for everybody."""

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
    """Limiters do not notice; the difference is in INFO."""
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
    # The next start has the stepped clock from the beginning.
    server = launch(*ALWAYS, kind=ElsewhenServer, offset=offset)
    assert ("clock is behind" in server.settled_log()) == (seconds < 0)
    with server.connect() as wire:
        if seconds < 0:
            assert wire.call(*call, 0)[2] == 6 and remaining(wire, "k2") == BURST + 1 - 3
        else:
            assert wire.call("DBSIZE") == 0
