"""Short time-outs and lags: the frequency of heartbeats and acknowledgements follows from them, so a healthy pair is
not disturbed.

A node that gets no processor time for a second is not healthy, and is rightly considered gone. So the tests require a
few undisturbed seconds, and may retry: with too few heartbeats there are none.
"""

import time

import pytest

from durable import info, launch
from replication import nodes, pair, wait_online
from wire import eventually

assert launch, nodes  # fixtures

# Duration of the observation.
SECONDS = 4


def all_the_time(holds):
    """Whether the condition holds for that many seconds from now."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if not holds():
            return False
    return True


@pytest.mark.parametrize("timeout", [1, 2])
def test_short_timeout_keeps_an_idle_link_up(nodes, timeout):
    flags = ("--repl-timeout", timeout)
    primary, replica = pair(nodes, *flags)
    below = nodes("c", *flags, of=replica)
    wait_online(replica, 1)

    def complaints():
        return (replica.settled_log() + below.settled_log()).count("link to the primary is down") + (
            primary.settled_log() + replica.settled_log()).count("replica is gone")

    with replica.connect() as wire, below.connect() as other:
        def is_held():
            before = complaints()
            return all_the_time(lambda: all(
                info(each, "replication")["master_link_status"] == "up" for each in (wire, other)
            )) and complaints() == before

        eventually(is_held, "the links stay up")


@pytest.mark.parametrize("busy", [True, False])
def test_short_lag_refuses_nothing(nodes, busy):
    flags = ("--min-replicas-to-write", 1, "--min-replicas-max-lag", 1)
    primary = nodes("a", *flags)
    nodes("b", of=primary)
    wait_online(primary, 1)
    with primary.connect() as wire:
        def is_good():
            if busy:
                # The stream is never silent.
                return isinstance(wire.call("CL.THROTTLE", "k", 100_000, 1, 10_000), list)
            return info(wire, "replication")["min_slaves_good_slaves"] == "1"

        eventually(lambda: all_the_time(is_good), "nothing is refused")
