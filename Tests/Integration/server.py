"""Starts the real process, waits until it answers, and makes sure that it ends.

Owns: the process, its port, its directory and its log. Refuses to leave a process behind: a process that does not stop
when asked is killed, and the test fails.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

from ports import free_port
from wire import PATIENCE, Wire, WireError, eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
IN_CI = bool(os.environ.get("CI"))


def find_binary():
    """The server under test: ESCAPEMENT_BINARY, else the release build, else the debug build."""
    named = os.environ.get("ESCAPEMENT_BINARY")
    candidates = [ROOT / named] if named else [ROOT / ".build" / kind / "escapement" for kind in ("release", "debug")]
    for candidate in map(pathlib.Path, candidates):
        if os.access(candidate, os.X_OK):
            return str(candidate.resolve())
    raise RuntimeError(f"no server to test: {' nor '.join(map(str, candidates))} is an executable file")


class Server:
    """A running server. `flags` are passed on the command line unchanged; `config` is a path put before them."""

    binary = None  # overridden by the class of the reference server below

    def __init__(self, directory, *flags, config=None, password=None, port=None, unixsocket=None, wait=True,
                 before_exec=None, environment=None, pass_fds=()):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port() if port is None else port
        self.password = password
        self.unixsocket = unixsocket
        self.log_path = self.directory.parent / (self.directory.name + ".log")
        self.arguments = [self.binary or find_binary()]
        if config is not None:
            self.arguments.append(str(config))
        self.arguments += self.base_flags() + [str(f) for f in flags]
        self.log_file = self.open_output()
        self.process = subprocess.Popen(
            self.arguments, stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=subprocess.STDOUT,
            cwd=self.directory, preexec_fn=before_exec, pass_fds=pass_fds,
            env={**os.environ, **(environment or {})})
        self.stopped = False
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise

    def base_flags(self):
        flags = ["--port", str(self.port), "--dir", str(self.directory)]
        if self.password:
            flags += ["--requirepass", self.password]
        if self.unixsocket:
            flags += ["--unixsocket", str(self.unixsocket)]
        return flags

    def open_output(self):
        """The process's standard output and standard error."""
        return open(self.log_path, "wb")

    @property
    def address(self):
        return str(self.unixsocket) if self.port == 0 else ("127.0.0.1", self.port)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        """The current contents of the log. A line is written shortly after the event, so wait for an expected line
        (`wait_log`), and use `settled_log` before asserting that a line is missing or counting lines."""
        return self.log_path.read_text(errors="replace")

    def wait_log(self, text, seconds=PATIENCE):
        """Waits until the log contains `text`; returns the log."""
        return eventually(lambda: text in (log := self.log()) and log, f"{text!r} is in the log", seconds)

    def settled_log(self):
        """The log, including every line that was logged before this call."""
        if self.process.poll() is None:
            with self.connect() as wire:
                eventually(lambda: b"\r\nlog_lines_queued:0\r\n" in wire.call("INFO", "limiter"), "the log is written")
        return self.log()

    def wait_ready(self, seconds=PATIENCE):
        """Polls PING, after AUTH if there is a password; an error other than LOADING counts as an answer."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.process.poll()
            if status is not None:
                raise AssertionError(f"{self.arguments} ended with {status} before it answered:\n{self.log()[-2000:]}")
            try:
                with Wire(self.address) as wire:
                    if self.password:
                        wire.call("AUTH", self.password)
                    if not wire.call("PING").startswith(b"LOADING"):
                        return
            except (OSError, WireError):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.arguments} did not answer in {seconds} s:\n{self.log()[-2000:]}")
            time.sleep(0.01)

    @contextlib.contextmanager
    def standing_still(self):
        """Suspends the server. The signal alone is not enough: a thread may still run on another core when it
        arrives."""
        def is_stopped():
            threads = os.listdir(f"/proc/{self.pid}/task")
            return all(
                open(f"/proc/{self.pid}/task/{thread}/stat").read().rsplit(")", 1)[1].split()[0] == "T"
                for thread in threads)

        os.kill(self.pid, signal.SIGSTOP)
        try:
            eventually(is_stopped, f"{self.arguments[0]} is suspended")
            yield
        finally:
            if self.process.poll() is None:
                os.kill(self.pid, signal.SIGCONT)

    def connect(self, timeout=PATIENCE, authenticate=True):
        wire = Wire(self.address, timeout)
        if self.password and authenticate:
            wire.ok("AUTH", self.password)
        return wire

    def wait_exit(self, seconds=PATIENCE):
        """The exit status. If the process does not exit in time, kills it and fails."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.log()[-2000:]}") from None
        self.release()
        return status

    def stop(self):
        """Sends SIGTERM, and requires exit status 0."""
        if self.stopped:
            return
        early = self.process.poll()
        if early is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.wait_exit()
        assert early is None, f"had already exited with {early}:\n{self.log()[-2000:]}"
        assert status == 0, f"exit status {status} after SIGTERM:\n{self.log()[-2000:]}"

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.release()

    def release(self):
        self.stopped = True
        self.log_file.close()


class ReferenceRedis(Server):
    """Debian's redis-server, the reference for replies."""

    binary = shutil.which("redis-server") or "redis-server"

    def base_flags(self):
        return super().base_flags() + ["--save", "", "--appendonly", "no", "--daemonize", "no"]

    @staticmethod
    def why_missing():
        """Why it cannot be the reference here, or None."""
        path = shutil.which("redis-server")
        if path is None:
            return "redis-server is not installed (scripts/setup test)"
        version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        return None if " v=7.0." in version else f"the texts compared are those of redis-server 7.0, here is {version}"


def run_to_end(*arguments, cwd, seconds=PATIENCE, before_exec=None, environment=None):
    """A start that is expected to fail: (exit status, all output)."""
    words = [a if isinstance(a, bytes) else str(a) for a in arguments]
    done = subprocess.run(
        [find_binary(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd,
        timeout=seconds, preexec_fn=before_exec, env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout.decode(errors="replace")
