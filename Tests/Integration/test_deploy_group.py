"""The configurations and scripts of deploy/kubernetes with real nodes and real Sentinels, in the places of pods.

Each pod has an address of its own, 127.0.0.x, and all use the same ports, as in a cluster.
"""

import os
import re
import shutil
import subprocess

import pytest

import conftest
from ports import free_port
from server import ROOT, Server
from wire import PATIENCE, Wire, WireError, eventually

FILES = ROOT / "deploy" / "kubernetes" / "files"
WORD = "word"


class Cluster:
    """Pods are numbers; names in the files are replaced by their addresses."""

    def __init__(self, directory):
        self.directory = directory
        self.port, self.sentinel_port = free_port(), free_port()
        self.nodes, self.sentinels = {}, {}
        for number in range(3):
            self.place(number).mkdir()
        (directory / "password").write_text(WORD)
        template = (FILES / "sentinel.conf").read_text()
        template = re.sub(r"escapement-0\.\S+ 6379", f"{self.address(0)} {self.port}", template)
        (directory / "sentinel.conf").write_text(template.replace("port 26379", f"port {self.sentinel_port}"))

    @staticmethod
    def address(number):
        return f"127.0.0.{number + 10}"

    @staticmethod
    def sentinel_address(number):
        return f"127.0.0.{number + 20}"

    def place(self, number):
        return self.directory / f"pod{number}"

    def role_file(self, number):
        return self.directory / f"role{number}.conf"

    def start_choosing(self, number):
        """The init container."""
        environment = {
            **os.environ, "ME": self.address(number), "SENTINEL": self.sentinel_address(0), "GROUP": "limits",
            "SENTINEL_PORT": str(self.sentinel_port), "DATA": str(self.place(number)), "ROLE": str(self.role_file(number))}
        return subprocess.Popen(
            ["sh", FILES / "choose-role"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def choose(self, number):
        process = self.start_choosing(number)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
        return self.role_file(number).read_text()

    def start(self, number):
        """A node, in the role that was chosen."""
        secret = self.directory / "nodes.conf"
        secret.write_text(f"requirepass {WORD}\nmasterauth {WORD}\n")
        text = re.sub(r"(?m)^(admin-.*|log-format json|bind .*)$", "", (FILES / "escapement.conf").read_text())
        text = text.replace("/etc/escapement-secret/nodes.conf", str(secret))
        text = text.replace("/run/escapement/role.conf", str(self.role_file(number)))
        conf = self.directory / f"node{number}.conf"
        conf.write_text(text)
        node = Server(
            self.place(number), "--bind", self.address(number), "--replica-announce-ip", self.address(number), config=conf,
            port=self.port, wait=False)
        self.nodes[number] = node
        eventually(lambda: self.call(number, "PING") == b"PONG", f"node {number} answers")

    def start_sentinel(self, number):
        state = self.directory / f"sentinel{number}"
        state.mkdir()
        template = self.directory / f"template{number}"
        template.write_text(
            (self.directory / "sentinel.conf").read_text().replace("dir /data", f"dir {state}")
            .replace("bind 0.0.0.0", f"bind {self.sentinel_address(number)}"))
        environment = {
            **os.environ, "ME": self.sentinel_address(number), "DATA": str(state), "TEMPLATE": str(template),
            "PASSWORD_FILE": str(self.directory / "password")}
        self.sentinels[number] = subprocess.Popen(
            ["sh", FILES / "start-sentinel"], env=environment, stdin=subprocess.DEVNULL,
            stdout=open(self.directory / f"sentinel{number}.log", "wb"), stderr=subprocess.STDOUT)
        eventually(lambda: self.ask("PING", number=number), f"Sentinel {number} answers")

    def call(self, number, *words):
        """A node's reply; None if it cannot be reached."""
        try:
            with Wire((self.address(number), self.port)) as wire:
                wire.ok("AUTH", WORD)
                return wire.call(*words)
        except (OSError, WireError, AssertionError):
            return None

    def ask(self, *words, number=0):
        try:
            with Wire((self.sentinel_address(number), self.sentinel_port)) as wire:
                return wire.call(*words)
        except (OSError, WireError):
            return None

    def primary(self):
        found = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "limits")
        return found and int(found[0].split(b".")[-1]) - 10

    def has_ended_failover(self, number, primary):
        """Whether a Sentinel's last failover is over. One that leads a failover waits for its end for as long as the
        node that it has promoted is down."""
        found = self.ask("SENTINEL", "MASTER", "limits", number=number) or []
        fields = dict(zip(found[::2], found[1::2]))
        return fields.get(b"ip") == self.address(primary).encode() and fields.get(b"flags") == b"master"

    def role(self, number):
        found = self.call(number, "ROLE")
        return found and found[0].decode()

    def end(self):
        for node in self.nodes.values():
            node.kill()
        for sentinel in self.sentinels.values():
            sentinel.terminate()
            sentinel.wait(PATIENCE)


@pytest.fixture
def cluster(tmp_path):
    for needed in ("redis-sentinel", "redis-cli"):
        if not shutil.which(needed):
            conftest.missing(f"{needed} is not installed (scripts/setup test)")
    made = Cluster(tmp_path)
    yield made
    made.end()


def test_roles_are_chosen(cluster):
    # First start: without Sentinel a node with an empty volume waits.
    waiting = cluster.start_choosing(0)
    for number in range(3):
        cluster.start_sentinel(number)
    output, _ = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 0 and "first start of the group" in output, output
    assert cluster.role_file(0).read_text() == ""
    for number in (1, 2):
        assert cluster.choose(number) == f"replicaof {cluster.address(0)} {cluster.port}\n"
    for number in range(3):
        cluster.start(number)
    eventually(lambda: b"connected_slaves:2" in (cluster.call(0, "INFO", "replication") or b""), "both follow")
    eventually(lambda: len(cluster.ask("SENTINEL", "REPLICAS", "limits") or []) == 2, "Sentinel knows them")
    for number in range(3):
        eventually(
            lambda: b"OK 3 usable" in (cluster.ask("SENTINEL", "CKQUORUM", "limits", number=number) or b""),
            "the Sentinels know each other")

    # A volume is lost, and Sentinel still names its node: it waits rather than start empty.
    assert cluster.call(0, "CL.THROTTLE", "k", 9, 1, 1_000_000)[2] == 9
    assert cluster.call(0, "WAIT", 2, 10_000) == 2
    cluster.nodes[0].kill()
    shutil.rmtree(cluster.place(0))
    cluster.place(0).mkdir()
    waiting = cluster.start_choosing(0)
    eventually(lambda: cluster.primary() in (1, 2), "another node is the primary")
    output, _ = waiting.communicate(timeout=PATIENCE)
    new = cluster.primary()
    assert waiting.returncode == 0 and "no data here" in output, output
    assert cluster.role_file(0).read_text() == f"replicaof {cluster.address(new)} {cluster.port}\n"
    cluster.start(0)
    eventually(lambda: cluster.role(new) == "master", "it is the primary")
    eventually(
        lambda: (cluster.call(0, "CL.THROTTLE", "k", 9, 1, 1_000_000, 0) or [0, 0, 0])[2] == 9, "it has the state again")

    # A former primary with its data follows the new one from its start.
    eventually(lambda: b"connected_slaves:2" in (cluster.call(new, "INFO", "replication") or b""), "both follow")
    for number in range(3):
        eventually(lambda: cluster.has_ended_failover(number, new), f"Sentinel {number} has ended the failover")
    cluster.nodes[new].kill()
    eventually(lambda: cluster.primary() not in (None, new), "Sentinel has chosen another node")
    last = cluster.primary()
    assert cluster.choose(new) == f"replicaof {cluster.address(last)} {cluster.port}\n"
    cluster.start(new)
    assert cluster.role(new) == "slave"

    # Without Sentinels, a node with data starts in its last role.
    for sentinel in cluster.sentinels.values():
        sentinel.terminate()
        sentinel.wait(PATIENCE)
    cluster.nodes[new].kill()
    assert cluster.choose(new) == f"replicaof {cluster.address(last)} {cluster.port}\n"
    cluster.start(new)
    assert cluster.role(new) == "slave"
    cluster.nodes[last].kill()
    assert cluster.choose(last) == "", "its file has the role that Sentinel gave it"
    cluster.start(last)
    assert cluster.role(last) == "master"
