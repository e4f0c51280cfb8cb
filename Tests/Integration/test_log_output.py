"""The server's log when its output is slow, stalled, or not an ordinary file: nothing waits for it, and nothing is lost
silently.
"""

import fcntl
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from durable import info
from server import Server, find_binary, free_port, run_to_end
from wire import Wire, eventually

F_SETPIPE_SZ = 1031


class PipedServer(Server):
    """Its standard error is a pipe of one page, which is read only when the test asks."""

    def open_output(self):
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        return os.fdopen(writer, "wb")

    def log(self):
        return "(a pipe)"

    def read_to_end(self):
        """Everything that the process writes until it exits."""
        self.log_file.close()
        with os.fdopen(self.reader, "rb") as pipe:
            return pipe.read().decode()


def flood(wire):
    """Logs until lines are dropped: each CONFIG SET is a line, and its value increases."""
    number = 0
    deadline = time.monotonic() + 60
    while info(wire, "limiter").get("log_lines_dropped", "0") == "0":
        assert time.monotonic() < deadline, "the queue never fills up"
        replies = wire.calls(*[("CONFIG", "SET", "slowlog-max-len", number + n) for n in range(500)])
        assert replies == [b"OK"] * 500
        number += 500
    return number


def test_a_stalled_reader_of_the_log_blocks_no_client(start):
    server = start("--io-threads", "2", kind=PipedServer)
    with server.connect() as wire:
        flood(wire)
        assert wire.call("SAVE") == b"OK"
        assert wire.call("BGREWRITEAOF").startswith(b"Background append only file rewriting")
        # The control thread handles new connections, and also logs.
        for _ in range(4):
            with server.connect() as other:
                assert other.call("PING") == b"PONG"
        os.kill(server.pid, signal.SIGHUP)
        assert wire.call("CL.THROTTLE", "k", 1, 1, 1000)[0] == 0
    # It also exits, although the last lines can never be written.
    server.process.send_signal(signal.SIGTERM)
    assert server.wait_exit(15) == 0
    os.close(server.reader)


def test_dropped_lines_are_reported_where_they_are_missing(start):
    server = start("--io-threads", "1", kind=PipedServer)
    with server.connect() as wire:
        flood(wire)
        text = []
        reader = threading.Thread(target=lambda: text.append(server.read_to_end()))
        reader.start()
        eventually(lambda: info(wire, "limiter")["log_lines_queued"] == "0", "the pipe has taken everything")
        wire.ok("CONFIG", "SET", "slowlog-max-len", 999_999)
        dropped = int(info(wire, "limiter")["log_lines_dropped"])
    server.stop()
    reader.join(10)
    expected, notes = 0, 0
    for line in text[0].splitlines():
        if found := re.search(r"log lines dropped.*lines=(\d+)", line):
            expected += int(found[1])
            notes += int(found[1])
        elif found := re.search(r"setting=slowlog-max-len value=(\d+)$", line):
            if found[1] != "999999":
                assert int(found[1]) == expected, "lines are in order, and missing only where the log reports it"
                expected += 1
    assert notes == dropped > 0
    assert "value=999999" in text[0] and "server stopped" in text[0].splitlines()[-1]


def test_resetstat_resets_the_log_counters(start):
    server = start("--io-threads", "1", kind=PipedServer)
    with server.connect() as wire:
        flood(wire)
        wire.ok("CONFIG", "RESETSTAT")
        assert info(wire, "limiter")["log_lines_dropped"] == "0"
    threading.Thread(target=server.read_to_end, daemon=True).start()


# Files


def test_a_fifo_without_a_reader_is_refused(tmp_path):
    path = tmp_path / "log"
    os.mkfifo(path)
    status, output = run_to_end("--port", free_port(), "--dir", tmp_path / "data", "--logfile", path, cwd=tmp_path)
    assert status == 1
    assert output == f"escapement: cannot open log file '{path}': it is a FIFO that no process reads\n"


def test_a_fifo_with_a_reader_is_written(start, tmp_path):
    path = tmp_path / "log"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        server = start("--logfile", path)
        text = b""

        def started():
            nonlocal text
            text += reader.read() or b""
            return b"server started" in text

        eventually(started, "the first line")
        assert server.log() == ""
        server.stop()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stderr"])
def test_devices(start, path):
    server = start("--logfile", path)
    os.kill(server.pid, signal.SIGHUP)
    with server.connect() as wire:
        assert wire.call("PING") == b"PONG"
    log = server.settled_log()
    assert ("server started" in log) == (path == "/dev/stderr")


def test_a_directory_is_refused(tmp_path):
    status, output = run_to_end("--port", free_port(), "--dir", tmp_path / "data", "--logfile", tmp_path, cwd=tmp_path)
    assert status == 1 and output == f"escapement: cannot open log file '{tmp_path}': Is a directory\n"


def test_reopening(start, tmp_path):
    """logrotate: every line is in either the old file or the new one."""
    path, old = tmp_path / "own.log", tmp_path / "own.log.1"
    server = start("--logfile", path)
    with server.connect() as wire:
        wire.calls(*[("CONFIG", "SET", "slowlog-max-len", number) for number in range(1000)])
        path.rename(old)
        os.kill(server.pid, signal.SIGHUP)
        wire.calls(*[("CONFIG", "SET", "slowlog-max-len", number) for number in range(1000, 2000)])
        eventually(lambda: path.exists() and "log file reopened" in path.read_text(), "the new file is started")
        wire.ok("CONFIG", "SET", "slowlog-max-len", 2000)
        eventually(lambda: "value=2000" in path.read_text(), "the new file is written")
    lines = re.findall(r"value=(\d+)", old.read_text() + path.read_text())
    assert lines == [str(number) for number in range(2001)]


def test_reopening_what_would_block(start, tmp_path):
    """A FIFO under the log's name is not opened: the old file stays in use, and connections are still accepted."""
    path, old = tmp_path / "own.log", tmp_path / "own.log.1"
    server = start("--logfile", path)
    path.rename(old)
    os.mkfifo(path)
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: "cannot reopen the log file" in old.read_text(), "the failure is logged")
    assert f"'{path}': it is a FIFO that no process reads" in old.read_text()
    with Wire(server.address, timeout=2) as wire:
        wire.ok("CONFIG", "SET", "slowlog-max-len", 7)
    eventually(lambda: "value=7" in old.read_text(), "the old file is still written")


def test_a_failed_start_exits_although_its_error_is_not_read(start, tmp_path):
    """The reason why it cannot start goes to a full pipe."""
    server = start()
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    process = subprocess.Popen(
        [find_binary(), "--port", str(server.port), "--dir", str(tmp_path / "other")], stderr=writer, cwd=tmp_path)
    try:
        assert process.wait(15) == 1
    finally:
        process.kill()
        os.close(reader)
        os.close(writer)


class JournalServer(Server):
    """Its standard error is what the environment calls the connection to the journal of systemd."""

    def __init__(self, directory, *flags, **options):
        self.variables = {}
        super().__init__(directory, *flags, environment=self.variables, **options)

    def open_output(self):
        output = super().open_output()
        status = os.fstat(output.fileno())
        self.variables["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
        return output


class ForeignJournalServer(JournalServer):
    """The variable is left from a parent, whose output was another one."""

    def open_output(self):
        output = super().open_output()
        self.variables["JOURNAL_STREAM"] += "1"
        return output


def test_lines_have_their_priority_in_the_journal(start):
    server = start(kind=JournalServer)
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "loglevel", "debug")
        wire.call("GET", "k", "too many")
    lines = server.settled_log().splitlines()
    names = {"warning": "<4>", "notice": "<5>", "verbose": "<6>", "debug": "<7>"}
    assert any("server started" in line for line in lines)
    for line in lines:
        assert line[:3] == names[line.split()[1]], line


def test_the_reason_of_a_failed_start_is_an_error_in_the_journal(start, tmp_path):
    server = start(kind=JournalServer)
    other = start(
        "--dir", server.directory, kind=JournalServer, wait=False)
    assert other.wait_exit() == 1
    assert other.log().splitlines()[-1].startswith("<3>escapement: dir: "), other.log()


@pytest.mark.parametrize("kind, flags", [
    (Server, ()), (ForeignJournalServer, ()), (JournalServer, ("--log-format", "json")),
    (JournalServer, ("--logfile", "own.log"))], ids=["no journal", "foreign", "json", "file"])
def test_other_outputs_have_no_priorities(start, kind, flags):
    server = start(*flags, kind=kind)
    log = server.settled_log()
    if "--logfile" in flags:
        log = (server.directory / "own.log").read_text()
    assert "server started" in log
    assert not any(line.startswith("<") for line in log.splitlines()), log
