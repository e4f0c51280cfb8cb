"""Real Redis Sentinels monitoring real nodes, and clients that count admitted calls.

Owns: the Sentinels' processes and files, finding out which node is the primary, waiting until a group is complete.
Refuses to leave a Sentinel behind, and to wait without a deadline.
"""

import shutil
import signal
import subprocess
import threading
import time

import redis
import redis.sentinel

from ports import free_port
from wire import PATIENCE, Wire, WireError, eventually

NAME = "mymaster"
# Twice the interval between Sentinel's connection attempts, which is a second and not configurable. A Sentinel that
# learns of a new primary may have just tried the dead one, and contacts the new one a second later: with 1000 ms it
# then considers it down at once, and the group fails over twice.
DOWN_AFTER_MS = 2000

CONF = """\
port {port}
bind 127.0.0.1
dir {directory}
daemonize no
protected-mode no
sentinel monitor {name} 127.0.0.1 {primary} {quorum}
sentinel down-after-milliseconds {name} {down_after}
sentinel failover-timeout {name} {timeout}
sentinel parallel-syncs {name} 2
"""


def why_missing():
    return None if shutil.which("redis-sentinel") else "redis-sentinel is not installed (scripts/setup test)"


class Sentinel:
    """One redis-sentinel. After a restart it uses the configuration that it wrote."""

    def __init__(self, directory, primary, quorum, timeout_ms=3000, password=None, down_after_ms=DOWN_AFTER_MS):
        directory.mkdir(parents=True)
        self.directory = directory
        self.port = free_port()
        self.conf = directory / "sentinel.conf"
        text = CONF.format(
            port=self.port, directory=directory, name=NAME, primary=primary, quorum=quorum,
            down_after=down_after_ms, timeout=timeout_ms)
        if password:
            text += f"sentinel auth-pass {NAME} {password}\n"
        self.conf.write_text(text)
        self.log_path = directory / "log"
        self.start()

    def start(self):
        self.log_file = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            ["redis-sentinel", str(self.conf)], stdin=subprocess.DEVNULL, stdout=self.log_file,
            stderr=subprocess.STDOUT, cwd=self.directory)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log_file.close()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def call(self, *words):
        with Wire(("127.0.0.1", self.port)) as wire:
            return wire.call(*words)

    def master(self):
        """SENTINEL MASTER as a dictionary of strings."""
        reply = self.call("SENTINEL", "MASTER", NAME)
        assert isinstance(reply, list), reply
        words = [word.decode() for word in reply]
        return dict(zip(words[::2], words[1::2]))

    def primary_port(self):
        reply = self.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return int(reply[1])


class Group:
    """Nodes and the Sentinels that monitor them. `start(name, …)` starts a node in the directory of that name."""

    def __init__(self, start, directory, names=("a", "b", "c"), sentinels=3, password=None, timeout_ms=3000,
                 down_after_ms=DOWN_AFTER_MS):
        self.password = password
        self.start_node = start
        self.flags = ("--masterauth", password) if password else ()
        self.options = {"password": password} if password else {}
        self.nodes = {}
        self.nodes[names[0]] = start(names[0], *self.flags, **self.options)
        for name in names[1:]:
            self.nodes[name] = start(name, *self.flags, of=self.nodes[names[0]], **self.options)
        for name in names[1:]:
            self.nodes[name].wait_link()
        quorum = sentinels // 2 + 1
        self.sentinels = []
        try:
            for number in range(sentinels):
                self.sentinels.append(Sentinel(
                    directory / f"sentinel{number}", self.nodes[names[0]].port, quorum, timeout_ms, password,
                    down_after_ms))
            self.settle()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        for sentinel in self.sentinels:
            sentinel.stop()

    def restart(self, node):
        """Restarts a stopped node, with its directory and port."""
        name = next(n for n, each in self.nodes.items() if each is node)
        self.nodes[name] = self.start_node(name, *self.flags, **self.options)
        return self.nodes[name]

    def running(self):
        return [node for node in self.nodes.values() if node.process.poll() is None]

    def primary(self):
        """The node that the Sentinels report as primary."""
        port = self.sentinels[0].primary_port()
        return next(node for node in self.nodes.values() if node.port == port)

    def replicas(self):
        primary = self.primary()
        return [node for node in self.running() if node is not primary]

    def settle(self, seconds=2 * PATIENCE):
        """Waits until every Sentinel knows all others and all nodes and agrees on the primary, and all links are up."""
        deadline = time.monotonic() + seconds
        why = "nothing was asked"

        def problem():
            ports = set()
            for sentinel in self.sentinels:
                found = sentinel.master()
                ports.add(found["port"])
                if found["flags"] != "master":
                    return f"flags {found['flags']}"
                if int(found["num-slaves"]) != len(self.nodes) - 1:
                    return f"{found['num-slaves']} replicas known"
                if int(found["num-other-sentinels"]) != len(self.sentinels) - 1:
                    return f"{found['num-other-sentinels']} other Sentinels known"
                for reply in sentinel.call("SENTINEL", "REPLICAS", NAME):
                    words = [word.decode() for word in reply]
                    replica = dict(zip(words[::2], words[1::2]))
                    # Not its link, which Sentinel queries only every ten seconds.
                    if replica["flags"] != "slave":
                        return f"{replica['port']}: {replica['flags']}"
            if len(ports) != 1:
                return f"primaries {ports}"
            for node in self.nodes.values():
                found = node.info()
                if node.port == int(next(iter(ports))):
                    if found["role"] != "master":
                        return f"{node.port} is {found['role']}"
                elif found["role"] != "slave" or found["master_link_status"] != "up" or (
                        found["master_port"] not in ports):
                    return f"{node.port} follows {found.get('master_port')}, {found.get('master_link_status')}"
            return None

        while True:
            try:
                why = problem()
            except (OSError, WireError, AssertionError, ValueError, KeyError) as failure:
                why = repr(failure)
            if why is None:
                return
            assert time.monotonic() < deadline, f"the group is not complete within {seconds} s: {why}"
            time.sleep(0.05)

    def client(self):
        """redis-py's client for the current primary."""
        addresses = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]
        watched = redis.sentinel.Sentinel(addresses, socket_timeout=0.5)
        return watched.master_for(NAME, socket_timeout=0.5, socket_connect_timeout=0.5, password=self.password)

    def wait_primary_is_not(self, old, seconds=PATIENCE):
        """Waits until all Sentinels report another node as primary. Returns it."""
        eventually(
            lambda: all(s.primary_port() != old.port for s in self.sentinels), "the Sentinels name another primary",
            seconds)
        return self.primary()


class Throttlers:
    """Clients that take units of one limiter as fast as they can, whatever happens, and record when and by which node
    each was admitted. The limiter has `limit` units, one replenished every `period` seconds. Until `go_on` the clients
    leave half of them, so that units remain after the event that a test provokes, however late it happens."""

    def __init__(self, group, key, limit, period=1_000_000, clients=3):
        self.request = ("CL.THROTTLE", key, limit - 1, 1, period)
        self.group = group
        self.limit = limit
        self.most = limit // 2
        self.admitted = []  # monotonic times and the node's port, unordered
        self.refused = 0
        self.answered_by = {}  # the port of the node that answered last, by client
        self.errors = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        client = self.group.client()
        while not self.stop.is_set():
            if len(self.admitted) >= self.most:
                self.stop.wait(0.01)
                continue
            try:
                reply = client.execute_command(*self.request)
            except redis.exceptions.RedisError as problem:
                self.errors.append((time.monotonic(), f"{type(problem).__name__}: {problem}"))
                self.stop.wait(0.01)
                continue
            # This client has one connection, which was made to that address.
            port = client.connection_pool.master_address[1]
            self.answered_by[threading.get_ident()] = port
            if reply[0] == 0:
                self.admitted.append((time.monotonic(), port))
            else:
                self.refused += 1
                self.stop.wait(0.01)
        client.close()

    def go_on(self):
        self.most = float("inf")

    def have_moved_to(self, node):
        return list(self.answered_by.values()) == [node.port] * len(self.threads)

    def by(self, node):
        """The number of calls that this node has admitted."""
        return sum(port == node.port for _, port in list(self.admitted))

    def known(self, node):
        """The number of units that this replica knows to be taken; None if it is no longer a replica."""
        with node.connect() as wire:
            reply = wire.call(*self.request, 0)
            assert isinstance(reply, list), reply
            return self.limit - reply[2] if wire.call("ROLE")[0] == b"slave" else None

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self.threads), "a client does not end"
