"""`escapement check` and `escapement dump`: the summary that comes first, and the command that it names.

The number of keys in a summary is compared with DBSIZE of the server that wrote the files, and of the server that starts
from them.
"""

import datetime
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from durable import launch
from journal_format import gcra_record, write_log
from offline_tools import ALWAYS, GOLDEN, HOUR, checked, dumped, fill, first_line, flip, golden, run
from replication import nodes, pair
from server import find_binary, run_to_end
from wire import eventually


# What a server starts with


@pytest.mark.parametrize("saves", [False, True], ids=["log", "snapshot"])
def test_the_first_line_is_what_a_server_starts_with(launch, saves):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        fill(wire)
        if saves:
            wire.ok("SAVE")
            wire.ok("SET", "after", 1)
        count = wire.call("DBSIZE")
    assert count == 1235 + saves
    before = datetime.datetime.now(datetime.timezone.utc)
    server.crash()
    size = sum((server.files / name).stat().st_size for name in server.names() if re.match("log|snapshot", name))
    line = first_line("check", server.directory)
    match = re.fullmatch(
        r"ok: a server can start from (\S+): ([\d,]+) keys in 3 databases \(db0 ([\d,]+), db1 1, db9 1\), 2 policies, "
        r"1 rule, ([\d,]+) bytes, last written (\S+Z), (\d+) (s|min) ago", line)
    assert match, line
    keys, own, size_shown = (int(match[n].replace(",", "")) for n in (2, 3, 4))
    assert (match[1], keys, own, size_shown) == (str(server.directory), count + 2, count, size)
    written = datetime.datetime.fromisoformat(match[5].replace("Z", "+00:00"))
    assert written <= before + datetime.timedelta(seconds=1)
    found = checked(server.directory)
    assert found["summary"].startswith("ok: ") and found["verdict"] == "ok" and found["clean"] and "next" not in found
    assert (found["keys"], found["keys_expired"], found["policies"], found["rules"], found["tokens"]) == (
        count + 2, 0, 2, 1, 1)
    assert found["databases"] == [
        {"db": 0, "keys": count, "keys_expired": 0}, {"db": 1, "keys": 1, "keys_expired": 0},
        {"db": 9, "keys": 1, "keys_expired": 0}]
    with launch(*ALWAYS).connect() as wire:
        assert wire.call("DBSIZE") == count
        for database in (1, 9):
            wire.ok("SELECT", database)
            assert wire.call("DBSIZE") == 1
        assert len(wire.call("RL.POLICY", "LIST")) == 2 and len(wire.call("RL.RULE", "LIST")) == 1


def test_details_follow_the_first_line(launch):
    server = launch(*ALWAYS)
    server.stop()
    code, output, _ = run("check", server.directory)
    lines = output.splitlines()
    assert code == 0 and lines[0].startswith("ok: ") and lines[1].startswith("manifest: manifest, ")
    assert any(line.startswith("log-") for line in lines[2:]) and "clean" in lines[-1]


def test_expired_keys_are_counted_apart(launch, tmp_path):
    """A start drops them, so the summary must not promise them; without a word about them, they would seem lost."""
    now = time.time_ns()
    states = [(b"old", now - HOUR), (b"older", now - 2 * HOUR), (b"new", now + HOUR)]
    write_log(tmp_path / "data", now - 3 * HOUR, [(now - 3 * HOUR, [gcra_record(key, tat) for key, tat in states])])
    line = first_line("check", tmp_path / "data")
    assert ": 1 key (2 more have expired), 0 policies, 0 rules, " in line and line.endswith("Z, 3 h ago"), line
    with launch().connect() as wire:
        assert wire.call("DBSIZE") == 1


@pytest.mark.parametrize("name, keys, expired, policies, rules", [
    ("v1", 2, 4, 0, 0), ("v1-kinds", 1, 7, 3, 2), ("v1-calendar", 0, 2, 4, 0), ("v1-databases", 3, 2, 0, 0)])
def test_golden_files(tmp_path, name, keys, expired, policies, rules):
    directory = golden(tmp_path, name)
    found = checked(directory)
    assert (found["verdict"], found["keys"], found["keys_expired"], found["policies"], found["rules"]) == (
        "ok", keys, expired, policies, rules)
    # Fields of earlier versions.
    assert set(found) >= {"directory", "clean", "history", "end", "last_time", "records", "bytes", "files"}
    assert first_line("check", directory).startswith(f"ok: a server can start from {directory}: ")
    summary, rows = dumped(directory)
    assert (summary["keys"], summary["keys_expired"]) == (keys, expired)
    assert [json.dumps(row) for row in rows] == [
        json.dumps(json.loads(line)) for line in (GOLDEN / name / "dump.jsonl").read_text().splitlines()]


def test_a_torn_tail_is_no_damage(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        wire.ok("SET", "k", 1)
    server.crash()
    log = server.files / [name for name in server.names() if name.startswith("log-")][-1]
    size = log.stat().st_size
    log.write_bytes(log.read_bytes() + b"\1\2\3")
    code, output, _ = run("check", server.directory)
    first = output.split("\n")[0]
    assert code == 0 and first.startswith("ok: a server can start from ") and ": 1 key, " in first
    assert first.endswith("; the start cuts off 3 bytes torn by a crash at the end of the log"), first
    assert f"torn tail of 3 bytes at byte {size}, will be cut at start unless aof-load-truncated is no" in output
    line = first_line("check", server.directory, "--fix")
    assert line.startswith("repaired: gave up 3 bytes of journal, and kept copies (") and line.count("damaged-1") == 3
    assert "; a server can start from " in line and log.stat().st_size == size
    assert first_line("check", server.directory, "--fix").startswith("ok: nothing to repair; a server can start from ")


# Damage


def pasted(line, cwd):
    """Runs the command that a summary names, as a shell would."""
    command = re.search("`escapement (.*)`", line)[1]
    done = subprocess.run(["sh", "-c", f"{find_binary()} {command}"], capture_output=True, text=True, cwd=cwd, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["data", "it's a \"$HOME\" `x` \\ name"], ids=["plain", "odd"])
def test_the_command_in_the_line_repairs(tmp_path, name):
    directory = golden(tmp_path).rename(tmp_path / name)
    flip(directory / "appendonlydir/log-2", 120)
    line = first_line("check", name, status=1, cwd=tmp_path)
    assert line.startswith("damaged: a server does not start from ") and line.endswith(
        ", which gives up 504 bytes of journal with at least 10 records, and keeps copies"), line
    assert ": log-2, byte 104: the batch has a wrong checksum; repair with `escapement check " in line
    found = checked(directory)
    assert found["verdict"] == "damaged" and not found["clean"] and found["next"].endswith(" --fix")
    assert "keys" not in found
    code, output, error = pasted(line, tmp_path)
    assert code == 0, error
    first = output.split("\n")[0]
    assert first.startswith(
        "repaired: gave up 504 bytes of journal with at least 10 records, and kept copies (log-2.damaged-1, ")
    assert "; a server can start from " in first and ": 1 key (5 more have expired), " in first
    assert output.index("Before:\n") < output.index("\nRepair:\n") < output.index("\nAfter:\n")
    assert first_line("check", name, cwd=tmp_path).startswith("ok: a server can start from ")


def test_the_message_of_a_start_leads_to_the_repair(launch, tmp_path):
    """A start names the check, which names the repair; after that, the server starts. Both commands can be pasted."""
    directory = golden(tmp_path).rename(tmp_path / "my data")
    flip(directory / "appendonlydir/log-2", 120)
    status, message = run_to_end("--port", "0", "--unixsocket", tmp_path / "s", "--dir", directory, cwd=tmp_path)
    assert status == 1 and "log-2, byte 104: the batch has a wrong checksum; `escapement check '" in message
    code, output, error = pasted(message.splitlines()[-1], tmp_path)
    assert code == 1 and output.startswith("damaged: "), error
    code, output, error = pasted(output.split("\n")[0], tmp_path)
    assert code == 0 and output.startswith("repaired: "), error
    with launch(directory="my data").connect() as wire:
        assert wire.call("DBSIZE") == 1


def test_what_no_command_repairs(launch, tmp_path):
    directory = golden(tmp_path)
    flip(directory / "appendonlydir/snapshot-1", 60)
    for words in (["check", directory], ["check", directory, "--fix"], ["check", directory, "--rebase-clock"],
                  ["dump", directory, "--summary"]):
        line = first_line(*words, status=1)
        assert line == (
            f"unusable: a server does not start from {directory}: snapshot-1, byte 56: the batch has a wrong checksum; no "
            f"command repairs this: restore a backup, or move {directory} away on a replica, which then gets a full sync")
    found = checked(directory)
    assert found["verdict"] == "unusable" and "next" not in found
    shutil.rmtree(directory)
    directory = golden(tmp_path)
    flip(directory / "appendonlydir/manifest", 60)
    line = first_line("check", directory, status=1)
    assert line.startswith(f"unusable: a server does not start from {directory}: manifest: line "), line
    assert checked(directory)["verdict"] == "unusable"
    status, output = run_to_end("--port", "0", "--unixsocket", tmp_path / "s", "--dir", directory, cwd=tmp_path)
    assert status == 1 and "manifest: line " in output


def test_a_name_with_a_line_feed_stays_on_one_line(tmp_path):
    directory = golden(tmp_path).rename(tmp_path / "a\nb")
    code, output, _ = run("check", directory)
    assert code == 0 and output.split("\n")[0].endswith(" ago") and output.split("\n")[1].startswith("manifest: ")


# Directories that are not a state


def test_a_directory_with_nothing_in_it(launch, tmp_path):
    (tmp_path / "fresh/appendonlydir").mkdir(parents=True)
    line = f"ok: a server can start from {tmp_path}/fresh, with an empty state: it contains no log and no snapshot"
    assert first_line("check", tmp_path / "fresh") == line
    assert first_line("dump", tmp_path / "fresh", "--summary") == line
    summary, rows = dumped(tmp_path / "fresh")
    assert summary["summary"] == line and summary["lines"] == 0 and rows == []


@pytest.mark.parametrize("tool", ["check", "dump"])
def test_directories_without_a_log(tmp_path, tool):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    golden(tmp_path)
    (tmp_path / "v1/appendonlydir").rename(tmp_path / "v1/other")
    for name, reason in [
            ("nowhere", "opendir: No such file or directory"), ("file", "opendir: Not a directory"),
            ("empty", "there is no log here: neither a manifest nor a directory appendonlydir"),
            ("v1", "there is no log here: neither a manifest nor a directory appendonlydir; did you mean v1/other?")]:
        code, output, error = run(tool, name, cwd=tmp_path)
        assert (code, output, error) == (1, "", f"escapement: cannot {tool} {name}: {reason}\n")
    assert first_line(tool, "v1/other", cwd=tmp_path)


@pytest.mark.parametrize("tool", ["check", "dump"])
def test_a_directory_of_another_user(tmp_path, tool):
    """The data directory belongs to the server's user, and the operator is another."""
    directory = golden(tmp_path)
    directory.chmod(0)

    def become_nobody():
        if os.geteuid() == 0:
            os.setuid(65534)

    try:
        status, output = run_to_end(tool, directory, cwd="/", before_exec=become_nobody)
    finally:
        directory.chmod(0o700)
    assert status == 1 and output == (
        f"escapement: cannot {tool} {directory}: opendir: Permission denied; run this as the server's user, for example "
        f"`sudo -u escapement escapement {tool} {directory}`\n")


def test_json_even_where_nothing_was_checked(launch, tmp_path):
    code, output, error = run("check", tmp_path / "nowhere", "--json")
    found = json.loads(output)
    assert code == 1 and not found["clean"] and found["verdict"] == "unchecked" and "opendir: No such file" in error
    assert found["summary"] == f"unchecked: cannot check {tmp_path}/nowhere: opendir: No such file or directory"
    server = launch()
    code, output, error = run("check", server.directory, "--json")
    assert code == 1 and json.loads(output)["verdict"] == "unchecked" and "a server is running on it" in error


# Roles


def test_the_directory_of_a_replica(nodes):
    """Its file `role` overrides the settings: a restored copy would follow the old primary."""
    primary, replica = pair(nodes)
    replica.stop()
    line = first_line("check", replica.directory)
    assert line.startswith(f"ok: a server can start from {replica.directory}: "), "the settings decide"
    replica = nodes("b")
    replica.follow(primary)
    replica.stop()
    following = f", as a replica of 127.0.0.1:{primary.port} (set by its file role, which overrides replicaof): "
    assert following in first_line("check", replica.directory)
    assert following in first_line("dump", replica.directory, "--summary")
    replica = nodes("b")
    replica.lead()
    eventually(lambda: replica.info()["role"] == "master", "it leads")
    replica.stop()
    assert ", as a primary (set by its file role, which overrides replicaof): " in first_line("check", replica.directory)


# The clock


def test_a_directory_ahead_of_the_clock(launch, tmp_path):
    ahead = time.time_ns() + 1000 * 24 * HOUR + HOUR
    write_log(tmp_path / "data", ahead, [(ahead, [gcra_record(b"k", ahead + HOUR)])])
    line = first_line("check", tmp_path / "data")
    assert "Z, 1,000 d ahead of this machine's clock (correct the clock, or see `escapement check " in line, line
    code, output, error = pasted(line, tmp_path)
    first = output.split("\n")[0]
    assert code == 0 and first.startswith("rebased: every time was moved back by 1,000 d; a server can start from "), error
    assert first.endswith(" s ago") and "\nmoved back by 86403" in output
    line = first_line("check", tmp_path / "data", "--rebase-clock")
    assert line.startswith(
        "ok: nothing to move, since the files are not ahead of this machine's clock; a server can start from "), line
