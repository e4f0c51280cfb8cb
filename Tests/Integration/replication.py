"""Support for tests of replication: nodes that follow one another, comparison of their states, and broken links.

Owns: waiting until nodes agree, with a deadline; a proxy that cuts connections at given bytes. Refuses to compare the
states while a node lags: offsets first, then keys.
"""

import contextlib
import socket
import threading
import time

import pytest

from durable import BURST, DurableServer, info, remaining_of
from ports import free_port
from wire import PATIENCE, WireError, eventually

# Every node of a test has its own directory, of the node's name.


class Node(DurableServer):
    """A server that may be a primary or a replica."""

    def wait_ready(self, seconds=PATIENCE):
        """Like the parent class, but authenticates: without a password a node answers NOAUTH even while it is
        loading."""
        super().wait_ready(seconds)

        def answers():
            try:
                with self.connect() as wire:
                    return not wire.call("PING").startswith(b"LOADING")
            except (OSError, WireError):
                return False

        eventually(answers, f"port {self.port} answers", seconds)

    def info(self, section="replication"):
        """INFO. Asks again if a demotion has closed the connection, as a pool would."""
        try:
            with self.connect() as wire:
                return info(wire, section)
        except WireError as error:
            if "closed" not in str(error):
                raise
            with self.connect() as wire:
                return info(wire, section)

    def follow(self, other):
        """Sends REPLICAOF, for a node or a port."""
        port = other if isinstance(other, int) else other.port
        with self.connect() as wire:
            wire.ok("REPLICAOF", "127.0.0.1", port)

    def lead(self):
        with self.connect() as wire:
            wire.ok("REPLICAOF", "NO", "ONE")

    def wait_link(self, seconds=PATIENCE):
        """Waits until the link to the primary is up. Returns INFO."""
        def up():
            found = self.info()
            return found if found.get("master_link_status") == "up" else None

        return eventually(up, f"the link of port {self.port} is up", seconds)

    def syncs(self):
        """Full and partial syncs that this node has served, and partial ones that it refused, according to its log."""
        log = self.settled_log()
        return log.count("full resync started"), log.count("partial resync accepted")


class Nodes:
    """The nodes of a test, by name. A node that is started again under its name keeps its directory and port."""

    def __init__(self, launch):
        self.launch = launch
        self.ports = {}

    def __call__(self, name, *flags, of=None, **options):
        if of is not None:
            flags += ("--replicaof", "127.0.0.1", str(of if isinstance(of, int) else of.port))
        port = self.ports.setdefault(name, options.pop("port", None) or free_port())
        return self.launch("--io-threads", "1", *flags, directory=name, kind=Node, port=port, **options)


@pytest.fixture
def nodes(launch):
    return Nodes(launch)


# States


def fill(node, count, prefix="k", quantity=1):
    """Creates that many keys, and takes one or more units of each."""
    with node.connect() as wire:
        for start in range(0, count, 500):
            part = range(start, min(count, start + 500))
            replies = wire.calls(*[("CL.THROTTLE", f"{prefix}-{n}", BURST, 1, 1_000_000, quantity) for n in part])
            for reply in replies:
                assert isinstance(reply, list), reply


def state_of(node):
    """Every key with its remaining units."""
    with node.connect() as wire:
        keys = wire.call("KEYS", "*")
        assert isinstance(keys, list), keys
        # A burst larger than anything tests take, so that every unit is visible.
        return remaining_of(wire, keys, 2000)


def offset_of(node):
    return int(node.info()["master_repl_offset"])


def wait_online(primary, count, seconds=PATIENCE):
    """Waits until that many replicas have acknowledged a complete state."""
    def online():
        found = primary.info()
        return sum("state=online" in found.get(f"slave{n}", "") for n in range(count)) == count

    eventually(online, f"{count} replicas of port {primary.port} are online", seconds)


def pair(nodes, *flags):
    """A primary and a replica that is online."""
    primary = nodes("a", *flags)
    replica = nodes("b", *flags, of=primary)
    wait_online(primary, 1)
    return primary, replica


def wait_same_offset(primary, *replicas, seconds=PATIENCE):
    """Waits until every link is up and every replica has reached the primary's offset at the time of the call."""
    for replica in replicas:
        replica.wait_link(seconds)
    # Recent changes are in no batch yet, and so not in the offset. WAIT collects them.
    with primary.connect(seconds + 5) as wire:
        assert wire.call("WAIT", 1, int(seconds * 1000)) >= 1
    target = offset_of(primary)
    for replica in replicas:
        eventually(
            lambda: offset_of(replica) >= target and replica.info().get("master_link_status") == "up",
            f"port {replica.port} is at {target}", seconds)


def wait_same_state(primary, *replicas, seconds=PATIENCE):
    """Waits until the nodes agree, then compares all their keys. The primary must be idle. Returns the state."""
    wait_same_offset(primary, *replicas, seconds=seconds)
    expected = state_of(primary)
    for replica in replicas:
        found = state_of(replica)
        differing = {k: (v, found.get(k)) for k, v in expected.items() if found.get(k) != v}
        assert not differing, f"{len(differing)} of {len(expected)} keys differ: {list(differing.items())[:5]}"
        assert found.keys() == expected.keys(), f"only here: {list(found.keys() - expected.keys())[:5]}"
        assert replica.info()["master_replid"] == primary.info()["master_replid"]
    return expected


def wait_on_disk(primary, replicas=1, own=False):
    """Waits until everything is on the disks of that many replicas, and optionally on the primary's, so that it
    survives a crash. A replica that has just received a full state must write all of it first."""
    with primary.connect(2 * PATIENCE) as wire:
        found = wire.call("WAITAOF", int(own), replicas, int(PATIENCE * 1000))
        assert isinstance(found, list) and found[0] >= own and found[1] >= replicas, found


# Concurrent activity


@contextlib.contextmanager
def background(function):
    """Runs `function(stop)` in a thread in the meantime, and re-raises its exceptions here."""
    stop = threading.Event()
    problems = []

    def run():
        try:
            function(stop)
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive(), "the thread does not end"
    if problems:
        raise problems[0]


def writer(node, prefix="load", keys=200):
    """For `background`: takes units of some keys until stopped."""

    def write(stop):
        with node.connect() as wire:
            number = 0
            while not stop.is_set():
                replies = wire.calls(*[
                    ("CL.THROTTLE", f"{prefix}-{(number + n) % keys}", 1000, 1, 1_000_000) for n in range(20)])
                assert all(isinstance(reply, list) for reply in replies), replies
                number += 20
                stop.wait(0.002)

    return write


# Links


class Proxy:
    """A proxy between a replica and its primary, on its own port.

    `limits` are the numbers of bytes towards the replica after which the next connections are cut, in order; later
    connections are not cut. `hold()` stops forwarding in both directions without closing anything; `hold_after` does so
    automatically after that many bytes towards the replica.
    """

    def __init__(self, target):
        self.target = target
        self.limits = []
        self.hold_after = None
        self.passed = []  # bytes towards the replica, per connection
        self.held = threading.Event()
        self.closing = threading.Event()
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.listener.settimeout(0.05)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.thread.join(PATIENCE)
        self.listener.close()
        self.cut()

    def hold(self):
        self.held.set()

    def release(self):
        self.hold_after = None
        self.held.clear()

    def cut(self):
        """Closes all connections."""
        for pair in self.pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self.pairs = []

    def accept(self):
        while not self.closing.is_set():
            try:
                replica, _ = self.listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                primary = socket.create_connection(self.target, PATIENCE)
            except OSError:
                replica.close()
                continue
            limit = self.limits.pop(0) if self.limits else None
            self.passed.append(0)
            pair = (replica, primary)
            self.pairs.append(pair)
            number = len(self.passed) - 1
            threading.Thread(target=self.copy, args=(primary, replica, number, limit, pair), daemon=True).start()
            threading.Thread(target=self.copy, args=(replica, primary, None, None, pair), daemon=True).start()

    def copy(self, source, sink, number, limit, pair):
        try:
            # The other direction may already have closed both.
            source.settimeout(0.02)
            while not self.closing.is_set():
                if self.held.is_set():
                    time.sleep(0.01)
                    continue
                try:
                    data = source.recv(1 << 12 if self.hold_after else 1 << 16)
                except TimeoutError:
                    continue
                if not data:
                    break
                if number is not None:
                    if limit is not None:
                        data = data[: limit - self.passed[number]]
                    self.passed[number] += len(data)
                sink.settimeout(PATIENCE)
                sink.sendall(data)
                sink.settimeout(0.02)
                if limit is not None and self.passed[number] >= limit:
                    break
                if number is not None and self.hold_after is not None and self.passed[number] >= self.hold_after:
                    self.hold()
        except OSError:
            pass
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def proxy_to(node):
    with Proxy(("127.0.0.1", node.port)) as proxy:
        yield proxy
