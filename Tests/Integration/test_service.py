"""What a service manager is told, over the socket in NOTIFY_SOCKET: readiness, status, reloading, the end, and signs of
life while every loop turns."""

import contextlib
import os
import signal
import socket
import time

import pytest

from wire import PATIENCE, command, eventually


class Manager:
    """A service manager's socket, and the messages received there."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.messages = []

    def read(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self.socket.recv(65536).decode()
                self.messages.append(dict(line.split("=", 1) for line in text.split("\n")))
        return self.messages

    def count(self, name):
        return sum(name in message for message in self.read())

    def statuses(self):
        return [message["STATUS"] for message in self.read() if "STATUS" in message]

    def drain(self):
        self.read()
        self.messages.clear()


@pytest.fixture
def manager(tmp_path):
    manager = Manager(str(tmp_path / "notify.sock"))
    manager.environment = {"NOTIFY_SOCKET": str(tmp_path / "notify.sock")}
    yield manager
    manager.socket.close()


def test_from_start_to_end(start, manager):
    server = start(environment=manager.environment)
    eventually(lambda: manager.count("READY") == 1, "it is ready")
    assert [m for m in manager.messages if "READY" in m] == [{"READY": "1", "STATUS": "serving as a primary"}]
    assert manager.count("WATCHDOG") == 0, "nobody asked for it"
    manager.drain()
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: manager.count("READY") == 1, "it is ready")
    reloading, ready = manager.messages
    assert reloading["RELOADING"] == "1" and ready == {"READY": "1", "STATUS": "serving as a primary"}
    # systemd compares it with its own clock.
    assert abs(int(reloading["MONOTONIC_USEC"]) / 1e6 - time.clock_gettime(time.CLOCK_MONOTONIC)) < PATIENCE
    manager.drain()
    server.stop()
    assert manager.read() == [{"STOPPING": "1", "STATUS": "stopping"}]


def test_the_status_follows_the_role(start, manager):
    primary = start()
    replica = start(environment=manager.environment)
    with replica.connect() as wire:
        wire.ok("REPLICAOF", "127.0.0.1", primary.port)
        text = f"serving as a replica of 127.0.0.1:{primary.port}"
        eventually(lambda: text in manager.statuses(), "the replica's status")
        manager.drain()
        wire.ok("REPLICAOF", "NO", "ONE")
        eventually(lambda: "serving as a primary" in manager.statuses(), "the primary's status")


def test_signs_of_life_end_while_a_loop_is_stuck(start, manager):
    server = start(
        "--io-threads", "2", "--enable-debug-command", "local",
        environment={**manager.environment, "WATCHDOG_USEC": "200000"})
    eventually(lambda: manager.count("WATCHDOG") >= 3, "signs of life")
    with server.connect() as wire, server.connect() as other:
        wire.send(command("DEBUG", "SLEEP", "3"))
        # One answer may have been on its way.
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            manager.drain()
            time.sleep(0.5)
            if manager.count("WATCHDOG") == 0:
                break
        assert manager.count("WATCHDOG") == 0
        assert wire.read() == b"OK"
        manager.drain()
        eventually(lambda: manager.count("WATCHDOG") >= 2, "signs of life")
        assert other.call("PING") == b"PONG"


def test_the_watchdog_of_another_process(start, manager):
    environment = {**manager.environment, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    start(environment=environment)
    eventually(lambda: manager.count("READY") == 1, "it is ready")
    time.sleep(0.5)  # five times the interval
    assert manager.count("WATCHDOG") == 0


@pytest.mark.parametrize("path", ["", "relative", "/" + "x" * 200, "/nonexistent/notify.sock"])
def test_an_unusable_socket_is_ignored(start, path):
    server = start(environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "100000"})
    with server.connect() as wire:
        assert wire.call("PING") == b"PONG"
    server.stop()


def test_an_abstract_socket(start):
    name = f"escapement-test-{os.getpid()}"
    manager = Manager("\0" + name)
    start(environment={"NOTIFY_SOCKET": "@" + name})
    eventually(lambda: manager.count("READY") == 1, "it is ready")
    manager.socket.close()


def test_a_manager_that_does_not_read(start, manager):
    """Its buffer fills up; the server serves and ends all the same."""
    server = start(environment={**manager.environment, "WATCHDOG_USEC": "2000"})
    with server.connect() as wire:
        for _ in range(20):
            os.kill(server.pid, signal.SIGHUP)
            assert wire.call("PING") == b"PONG"
            time.sleep(0.05)
    server.stop()
