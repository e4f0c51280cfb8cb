"""`escapement dump`: its first line, while a server writes and rewrites the files, and the lines after it."""

import re
import subprocess
import threading

from durable import launch
from offline_tools import ALWAYS, dumped, fill, first_line, flip, golden, run
from server import find_binary
from wire import eventually


# In use


def test_a_server_in_use_is_not_checked_but_dumped(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        fill(wire)
        for flags in ([], ["--fix"], ["--rebase-clock"]):
            code, output, error = run("check", server.directory, *flags)
            assert (code, output) == (1, "") and "a server is running on it" in error
            assert "`escapement dump DIR --summary`" in error
        code, output, _ = run("dump", server.directory, "--summary")
        lines = output.splitlines()
        assert code == 0 and re.match(r"ok: a server can start from \S+: 1,237 keys in 3 databases ", lines[0])
        assert re.fullmatch(r"records by kind: 1 gcra, 1,\d\d\d counter, 1 token, .*", lines[1]), lines[1]
        assert lines[2].startswith("manifest: ")
        assert wire.call("PING") == b"PONG"


def test_the_summary_of_a_dump_matches_its_lines_while_a_server_writes(launch):
    """What is appended or replaced after the first line was made is not part of the dump."""
    server = launch("--appendfsync", "no", "--auto-aof-rewrite-percentage", "0")
    done = threading.Event()
    written = [0]

    def write():
        with server.connect() as wire:
            while not done.is_set():
                wire.calls(*[("SET", f"k{written[0] + n}", 1) for n in range(200)])
                written[0] += 200

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: written[0] > 5000, "there is something to read")
        seen = set()

        def both():
            summary, rows = dumped(server.directory)
            assert summary["verdict"] == "ok" and summary["lines"] == len(rows)
            assert summary["kinds"].get("counter", 0) == sum(row.get("kind") == "counter" for row in rows)
            assert summary["keys"] == len({row["key"] for row in rows if row["type"] == "state"})
            if summary["changing"]:
                assert summary["summary"].endswith(
                    "; a server is writing to it, and this is what it had written when the reading began")
            seen.add(summary["changing"])
            return True in seen

        eventually(both, "the files change while they are read")
    finally:
        done.set()
        writer.join()


def test_a_dump_during_rewrites(launch):
    """Files that a rewrite replaces are not damage."""
    server = launch("--appendfsync", "no")
    with server.connect() as wire:
        wire.calls(*[("SET", f"k{n}", 1) for n in range(2000)])
        wire.ok("SAVE")
        rounds = 0
        while rounds < 10:
            reader = subprocess.Popen(
                [find_binary(), "dump", str(server.directory), "--summary"], stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True)
            while reader.poll() is None:
                wire.ok("SAVE")
            output = reader.stdout.read()
            assert reader.returncode == 0 and ": 2,000 keys, " in output.split("\n")[0], output
            rounds += 1


# The lines of a dump


def test_readers_of_a_dump_find_the_fields_of_every_line(launch):
    """The summary has what every line has, so readers that select by `type` or `file` skip it."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        fill(wire)
    server.crash()
    summary, rows = dumped(server.directory)
    assert (summary["type"], summary["file"]) == ("summary", "manifest")
    assert all({"file", "offset", "time", "type"} <= set(row) for row in [summary] + rows)
    assert {row["type"] for row in rows} == {"state", "removed", "control"}
    assert summary["lines"] == len(rows) and sum(summary["kinds"].values()) == len(rows)
    assert summary["first_time"] <= min(row["time"] for row in rows)
    assert summary["last_time"] == summary["time"] == max(row["time"] for row in rows)
    assert summary["changing"] is False and summary["keys"] == 1237
    assert {file["file"]: file["bytes"] for file in summary["files"]} == {
        name: (server.files / name).stat().st_size for name in server.names()}


def test_a_dump_of_damage_says_so_first(tmp_path):
    directory = golden(tmp_path)
    flip(directory / "appendonlydir/log-2", 120)
    summary, rows = dumped(directory, status=1)
    assert summary["verdict"] == "damaged" and summary["next"] == f"escapement check {directory} --fix"
    assert summary["lines"] == len(rows) == 10
    assert first_line("dump", directory, "--summary", status=1) == summary["summary"]
