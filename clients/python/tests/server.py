"""The server under test: a real process on a free port, with a directory of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import redis

T = TypeVar("T")

ROOT = pathlib.Path(__file__).resolve().parents[3]
PATIENCE = 30.0

_reservations: list[socket.socket] = []


def find_binary() -> str:
    """ESCAPEMENT_BINARY, else the release build, else the debug build."""
    named = os.environ.get("ESCAPEMENT_BINARY")
    builds = [ROOT / ".build" / kind / "escapement" for kind in ("release", "debug")]
    for candidate in [ROOT / named] if named else builds:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise RuntimeError("no server to test: build it, or set ESCAPEMENT_BINARY")


def eventually(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Polls until the condition is true; returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not after {seconds} s: {what}")
        time.sleep(0.005)
    return value


def free_port() -> int:
    """A port that nothing listens on, outside the kernel's ephemeral range, reserved against other
    test processes by the name of an abstract socket (Tests/Integration/ports.py has the same)."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(10_000, low)
    start = os.getpid() * 97 + len(_reservations)
    for number in range(len(candidates)):
        port = candidates[(start + number) % len(candidates)]
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0escapement test port {port}")
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", port))
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        return port
    raise RuntimeError("no free port")


class Server:
    def __init__(self, directory: pathlib.Path, *flags: str, password: str = "") -> None:
        self.directory = directory
        self.flags = [*flags, "--requirepass", password] if password else flags
        self.password = password
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        words = ["--port", str(self.port), "--dir", str(self.directory), "--io-threads", "2"]
        with open(f"{self.directory}.log", "ab") as log:
            self.process = subprocess.Popen(
                [find_binary(), *words, *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self.answers, "the server answers")
        except BaseException:
            self.kill()
            raise

    def answers(self) -> bool:
        """Whether a command gets a reply other than LOADING."""
        assert self.process.poll() is None, pathlib.Path(f"{self.directory}.log").read_text()
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection,
        ):
            if self.password:
                connection.sendall(f"AUTH {self.password}\r\n".encode())
                assert connection.recv(100) == b"+OK\r\n"
            connection.sendall(b"DBSIZE\r\n")
            return connection.recv(100).startswith(b":")
        return False

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, **options)  # type: ignore[arg-type]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(PATIENCE) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Stops all threads of the process; connections stay open and the kernel accepts more."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
            eventually(
                lambda: all(
                    (task / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
                    for task in tasks.iterdir()
                ),
                "the server is suspended",
            )
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
