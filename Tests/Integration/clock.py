"""Time in tests: values that change with time, idle processes, and windows of the clock.

Owns: the expected range of a number that is a time. No test may fail because the machine is busy: tests wait for events
with `eventually` (wire.py), and compare values that change with time with the range that they may be in by now.
"""

import math
import os
import time


class Countdown:
    """Times that run while a test does. `left(1000)` equals any value that a time of 1000 units, reported at any moment
    since the Countdown was created, may have by now, rounded up as the server does: exactly 1000 while less than a unit
    has passed. Units are seconds unless `per_second` is set."""

    def __init__(self, per_second=1):
        self.began = time.monotonic()
        self.per_second = per_second

    def passed(self):
        return (time.monotonic() - self.began) * self.per_second

    def __call__(self, expected):
        return _Left(self, expected)


class _Left:
    def __init__(self, countdown, expected):
        self.countdown = countdown
        self.expected = expected

    def __eq__(self, value):
        least = math.ceil(self.expected - self.countdown.passed())
        return isinstance(value, int) and least <= value <= self.expected

    __hash__ = None

    def __repr__(self):
        return f"{self.expected} less {self.countdown.passed():.3f}"


def milliseconds():
    """A Countdown for the times of RL.* replies."""
    return Countdown(per_second=1000)


def processor_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rests(pid):
    """Observes a process for half a second. True if it used less than a fifth of a processor: a process that spins
    never does, and an idle one always does, however busy the machine is."""
    began, used = time.monotonic(), processor_seconds(pid)
    time.sleep(0.5)  # the half second that is measured
    return processor_seconds(pid) - used < (time.monotonic() - began) / 5


def keep_off_the_full_hour(seconds=20):
    """Waits until after the next full hour if it is near. Tests use windows of the clock that end there, and a test
    that runs across the end of a window would expect the state of the old one."""
    left = 3600 - time.time() % 3600
    if left < seconds:
        time.sleep(left + 0.1)
