"""Short time-outs and lags: what is said how often follows from them, so a healthy pair notices nothing."""

import time

import pytest

from durable import info, launch
from replication import nodes, pair, wait_online

assert launch, nodes  # fixtures

# How long is looked.
SECONDS = 4


@pytest.mark.parametrize("timeout", [1, 2])
def test_short_timeout_holds_an_idle_link(nodes, timeout):
    flags = ("--repl-timeout", timeout)
    primary, replica = pair(nodes, *flags)
    below = nodes("c", *flags, of=replica)
    wait_online(replica, 1)
    with replica.connect() as wire, below.connect() as other:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for each in (wire, other):
                assert info(each, "replication")["master_link_status"] == "up"
    assert "link to the primary is down" not in replica.settled_log() + below.settled_log()
    assert "replica is gone" not in primary.settled_log() + replica.settled_log()


@pytest.mark.parametrize("busy", [True, False])
def test_short_lag_refuses_nothing(nodes, busy):
    flags = ("--min-replicas-to-write", 1, "--min-replicas-max-lag", 1)
    primary = nodes("a", *flags)
    nodes("b", of=primary)
    wait_online(primary, 1)
    with primary.connect() as wire:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if busy:
                # The stream is never silent.
                reply = wire.call("CL.THROTTLE", "k", 100_000, 1, 10_000)
                assert isinstance(reply, list), reply
            else:
                assert info(wire, "replication")["min_slaves_good_slaves"] == "1"
