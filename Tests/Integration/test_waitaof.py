"""WAITAOF: what it counts is on disk, and survives kill -9 of all nodes."""

import os
import signal
import time

import pytest

from durable import BURST, launch, take
from replication import nodes, wait_online
from wire import ErrorReply

assert launch, nodes  # fixtures


def test_on_the_primarys_disk(nodes):
    node = nodes("a")
    for number in range(3):
        with node.connect() as wire:
            assert take(wire, f"k-{number}")[2] == BURST
            assert wire.call("WAITAOF", 1, 0, 60_000) == [1, 0]
        # Immediately: everysec has not run on its own.
        node.crash()
        node = nodes("a")
    with node.connect() as wire:
        assert [take(wire, f"k-{number}", 0)[2] for number in range(3)] == [BURST] * 3


def test_on_all_disks(nodes):
    primary = nodes("a")
    replica = nodes("b", of=primary)
    wait_online(primary, 1)
    with primary.connect() as wire:
        take(wire, "k")
        assert wire.call("WAITAOF", 1, 1, 60_000) == [1, 1]
    replica.crash()
    primary.crash()
    for name in ("b", "a"):
        node = nodes(name)
        node.lead()
        with node.connect() as wire:
            assert take(wire, "k", 0)[2] == BURST, name


def test_nodes_without_a_log_are_not_counted(nodes):
    primary = nodes("a")
    replica = nodes("b", "--appendonly", "no", of=primary)
    wait_online(primary, 1)
    with primary.connect() as wire, replica.connect() as below:
        take(wire, "k")
        assert wire.call("WAITAOF", 1, 0, 60_000) == [1, 0]
        began = time.monotonic()
        assert wire.call("WAITAOF", 1, 1, 1500) == [1, 0]
        assert time.monotonic() - began >= 1.5
        assert wire.call("WAIT", 1, 60_000) == 1
        assert below.call("WAITAOF", 0, 1, 10).startswith(b"ERR WAITAOF cannot be used with replica instances.")
        wire.ok("CONFIG", "SET", "appendonly", "no")
        assert wire.call("WAITAOF", 1, 0, 0) == (
            b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
        take(wire, "k")
        assert wire.call("WAITAOF", 0, 1, 100) == [0, 0]
        replies = wire.calls("MULTI", "WAITAOF 0 1 0", "EXEC")
        assert replies[2] == [[0, 0]]


@pytest.mark.parametrize("words", ["2 0 0", "-1 0 0", "0 -1 0", "0 0 -1", "x 0 0", "0 x 0", "0 0 x", "0 0", "0 0 0 0"])
def test_refuses(nodes, words):
    with nodes("a").connect() as wire:
        assert isinstance(wire.call("WAITAOF", *words.split()), ErrorReply)


def test_waitaof_waits_for_a_suspended_replica(nodes):
    """A suspended replica has nothing on its disk; the reply comes when it resumes."""
    primary = nodes("a")
    replica = nodes("b", of=primary)
    wait_online(primary, 1)
    with replica.standing_still():
        with primary.connect() as wire:
            take(wire, "k")
            wire.send(b"WAITAOF 0 1 0\r\n")
            wire.expect_silence()
            os.kill(replica.pid, signal.SIGCONT)
            assert wire.read()[1] == 1
