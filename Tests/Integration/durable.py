"""Support for tests of the disk: limiters whose numbers do not change with time, servers that crash, disks that fail.

Refuses to wait without a deadline.
"""

import contextlib
import os
import resource
import signal
import subprocess
import time

import pytest

import conftest
from journal_format import LogFollower, read_manifest
from server import Server
from wire import PATIENCE, ErrorReply, WireError, eventually

# Seconds per unit: no unit is replenished during a test, so only calls change a limiter's numbers.
SLOW_PERIOD = 1_000_000
BURST = 15


# Limiters


def take(wire, key, quantity=1, burst=BURST):
    return wire.call("CL.THROTTLE", key, burst, 1, SLOW_PERIOD, quantity)


def remaining(wire, key, burst=BURST):
    """The units that a limiter has left, without taking any."""
    reply = take(wire, key, 0, burst)
    assert isinstance(reply, list), reply
    return reply[2]


def remaining_of(wire, keys, burst=BURST):
    """The same for many keys, in few round trips."""
    found = {}
    keys = list(keys)
    for start in range(0, len(keys), 200):
        part = keys[start : start + 200]
        for key, reply in zip(part, wire.calls(*[("CL.THROTTLE", k, burst, 1, SLOW_PERIOD, 0) for k in part])):
            assert isinstance(reply, list), reply
            found[key] = reply[2]
    return found


def info(wire, section="everything"):
    """INFO as a dictionary of strings."""
    reply = wire.call("INFO", section)
    assert isinstance(reply, bytes) and not reply.startswith(b"ERR"), reply
    lines = [line for line in reply.decode().split("\r\n") if line and not line.startswith("#")]
    return dict(line.split(":", 1) for line in lines)


def wait_for_rewrite(wire, count, name="aof_rewrites", seconds=PATIENCE):
    def done():
        found = info(wire, "persistence")
        return int(found[name]) >= count and found["aof_rewrite_in_progress"] == "0" and (
            found["rdb_bgsave_in_progress"] == "0")

    eventually(done, f"{name} reaches {count}", seconds)


# Restarting


class DurableServer(Server):
    """A server that remembers its flags, and can be killed to simulate a crash."""

    def __init__(self, directory, *flags, **options):
        self.flags = flags
        super().__init__(directory, *flags, **options)

    @property
    def files(self):
        return self.directory / "appendonlydir"

    def crash(self):
        """kill -9. The server must still be running."""
        assert self.process.poll() is None, f"it had already exited with {self.process.poll()}:\n{self.log()[-3000:]}"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.release()

    def names(self):
        return sorted(os.listdir(self.files))


@pytest.fixture
def launch(tmp_path):
    """Starts servers: `launch("--name", "value", …)`, by default in one directory, one after the other. Servers that
    still run at the end must stop with status 0."""
    mine = []

    def launch_server(*flags, directory="data", kind=DurableServer, **options):
        server = kind(tmp_path / directory, *flags, **options)
        mine.append(server)
        conftest.running.append(server)
        return server

    yield launch_server
    problems = []
    for server in mine:
        conftest.running.remove(server)
        try:
            server.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


def wait_for_record(server, key, tat=None):
    """Waits until the log file contains this key, with the state `tat` if given. Returns the follower."""
    follower = LogFollower(server.files)

    def there():
        state = follower.update().states.get(key if isinstance(key, bytes) else key.encode())
        return state is not None and (tat is None or state[0] == tat)

    eventually(there, f"{key} is in the log")
    return follower


# Disks that fail


def limit_files(server, size):
    """Limits all files of the server to `size` bytes; None removes the limit. Writes beyond it fail with EFBIG."""
    infinity = resource.RLIM_INFINITY
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (infinity if size is None else size, hard))


@contextlib.contextmanager
def mounted(directory, *options):
    """A separate file system at `directory`; yields None if this process may not mount."""
    directory.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "none", str(directory)], capture_output=True)
    if done.returncode != 0:
        yield None
        return
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def grow_log(wire, server, size, prefix="fill"):
    """Writes keys until the newest log has at least `size` bytes."""
    _, logs = read_manifest(server.files)
    path = server.files / f"log-{logs[-1][0]}"
    number = 0
    deadline = time.monotonic() + PATIENCE
    while path.stat().st_size < size:
        assert time.monotonic() < deadline, "the log does not grow"
        requests = [("CL.THROTTLE", f"{prefix}-{n}", BURST, 1, SLOW_PERIOD) for n in range(number, number + 200)]
        for reply in wire.calls(*requests):
            assert isinstance(reply, list), reply
        number += 200
    return number


def newest_log(server):
    return server.files / f"log-{read_manifest(server.files)[1][-1][0]}"


def fill_disk(server, room=200):
    """Simulates a full disk: the log has room for a few more bytes, and no other file can grow."""
    with server.connect() as wire:
        # Larger than the server's own log will get, which must not be affected.
        grow_log(wire, server, 50_000, "ballast")
    limit_files(server, newest_log(server).stat().st_size + room)


def breaker(wire):
    return info(wire, "persistence")["storage_breaker"]


def write_until_refused(wire, server, acknowledged, prefix="w", reconnects=True):
    """Takes one unit of many keys until one is refused. Records acknowledged calls in `acknowledged`. Returns the
    refusal and the connection, which is a new one if the server closed the first."""
    deadline = time.monotonic() + PATIENCE
    number = 0
    while True:
        assert time.monotonic() < deadline, "the full disk was not noticed"
        key = f"{prefix}-{number}"
        number += 1
        try:
            reply = take(wire, key)
        except WireError as problem:
            assert reconnects and "closed" in str(problem), problem
            wire = server.connect()
            continue
        if isinstance(reply, ErrorReply):
            return reply, wire
        acknowledged[key] = reply[2]


def assert_kept(wire, acknowledged):
    """Nothing acknowledged is missing; unacknowledged calls may or may not be kept."""
    found = remaining_of(wire, acknowledged)
    for key, left in acknowledged.items():
        assert found[key] <= left, f"{key} has {found[key]} left, the reply said {left}"


def wait_until_fine(wire, seconds=PATIENCE):
    """Waits for a failed disk to recover: the server retries after a second, then with doubled delays up to 30
    seconds."""
    eventually(lambda: breaker(wire) == "closed", "storage works again", seconds)
    eventually(lambda: wire.call("PING") == b"PONG", "PING answers again")
