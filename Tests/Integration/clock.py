"""Time in tests: what has run on since, processes that rest, and windows of the clock.

Owns: what may be expected of a number that is a time. No test is to fail because the machine was busy: what has to
happen is waited for with `eventually` (wire.py), and what runs on is compared with what it may have become.
"""

import math
import os
import time


class Countdown:
    """Times that run while a test does. `left(1000)` equals what a time of 1000 units, told at any moment since the
    Countdown was made, may have become by now, rounded up as the server does: 1000 itself and nothing else while less
    than a unit has passed. Units are seconds unless there are more of them in a second."""

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
    """A Countdown of what RL.* answers."""
    return Countdown(per_second=1000)


def processor_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rests(pid):
    """Looks at a process for half a second. Whether it used less than a fifth of a processor meanwhile: one that spins
    never does, and one that has nothing to do always does, however busy the machine is."""
    began, used = time.monotonic(), processor_seconds(pid)
    time.sleep(0.5)  # what is measured is this half second
    return processor_seconds(pid) - used < (time.monotonic() - began) / 5


def keep_off_the_full_hour(seconds=20):
    """Waits for the next full hour where it is near. Windows of the clock end there in tests, and a test that has one
    end in its middle expects what was right a moment before."""
    left = 3600 - time.time() % 3600
    if left < seconds:
        time.sleep(left + 0.1)
