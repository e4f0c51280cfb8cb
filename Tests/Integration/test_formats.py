"""The reader printed in docs/formats.md, run verbatim on the golden files, intact and damaged. And every kind of record
that a server writes, decoded with the byte tables of that document (journal_format.py)."""

import json
import re
import shutil
import time

import pytest

from journal_format import DAY, KINDS, SECOND, Answer, Policy, policy_in, read_contents, state_in, subject_in, token_key
from server import ROOT

GOLDEN = ROOT / "Tests" / "PersistenceTests" / "Golden" / "v1"


@pytest.fixture(scope="module")
def reader():
    text = (ROOT / "docs" / "formats.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, "the document has one reader"
    names = {"__name__": "reader"}
    exec(compile(blocks[0], "docs/formats.md", "exec"), names)
    return names["read"]


@pytest.fixture
def directory(tmp_path):
    return shutil.copytree(GOLDEN / "appendonlydir", tmp_path / "appendonlydir")


def expected(name):
    lines = map(json.loads, (GOLDEN / name).read_text().splitlines())
    return {(0, bytes.fromhex(s["key_hex"])): (s["kind"], s["word"], s.get("deadline_ns")) for s in lines}


def test_it_finds_exactly_the_expected_state(reader, directory):
    assert reader(directory) == expected("expected.jsonl")


def test_it_needs_no_sync_mark(reader, directory):
    (directory / "synced").unlink()
    assert reader(directory) == expected("expected.jsonl")


def test_it_ignores_a_torn_tail(reader, directory):
    with open(directory / "log-3", "ab") as log:
        log.write(b"\x10\0\0\0 this is no batch, and longer than a header")
    assert reader(directory) == expected("expected.jsonl")


@pytest.mark.parametrize("name", ["snapshot-1", "log-2", "log-3"])
def test_every_changed_byte_of_the_state_is_damage(reader, directory, name):
    """The mark vouches for all of it, so no changed byte may go unnoticed."""
    whole = (directory / name).read_bytes()
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        (directory / name).write_bytes(data)
        with pytest.raises(AssertionError):
            reader(directory)


@pytest.mark.parametrize("name", ["snapshot-1", "log-2", "log-3"])
def test_every_cut_of_the_state_is_damage(reader, directory, name):
    whole = (directory / name).read_bytes()
    for size in range(56, len(whole)):
        (directory / name).write_bytes(whole[:size])
        with pytest.raises(AssertionError):
            reader(directory)


def test_a_log_cut_after_the_mark_is_read_up_to_the_cut(reader, directory):
    (directory / "synced").unlink()
    log = directory / "log-3"
    log.write_bytes(log.read_bytes()[:-1])
    state = reader(directory)
    assert state[0, b"user:1"] != expected("expected.jsonl")[0, b"user:1"], "the last batch is gone"
    assert state.keys() == expected("expected.jsonl").keys()


def test_it_reads_every_kind_that_the_server_writes(reader, start):
    server = start("--databases", "256")
    algorithms = ["gcra", "token-bucket", "fixed-window", "sliding-window", "sliding-log", "calendar"]
    with server.connect() as wire:
        for algo in algorithms:
            period = "day" if algo == "calendar" else "1d"
            wire.call("RL.TAKE", algo, "ALGO", algo, "LIMIT", 9, "PER", period, "COST", 4, "ID", "token")
        wire.calls("SET n -5", "RL.POLICY SET p LIMIT 1 PER 1s", "RL.POLICY SET q LIMIT 1 PER 1s", "RL.POLICY DEL q",
                   "RL.RULE SET * * * POLICY p", "RL.RULE SET a * * POLICY p", "RL.RULE DEL a * *")
        wire.calls("SELECT 3", "SET gone 1", "FLUSHDB", "RL.TAKE limit LIMIT 9 PER 1d ID token", "SELECT 255", "SET n 8",
                   "SET flushed 1", "DEL flushed", "SELECT 0")
        wire.calls("SAVE", "INCR n", "SELECT 255", "INCR n", "SELECT 7", "SET gone 1", "FLUSHDB", "SELECT 3", "SET n 1")
    server.stop()
    state = reader(server.directory / "appendonlydir")
    kinds = {(0, algo.encode()): algo if algo != "token-bucket" else "gcra" for algo in algorithms}
    others = {(3, b"limit"): "gcra", (3, b"n"): "counter", (255, b"n"): "counter"}
    assert {key: kind for key, (kind, _, _) in state.items()} == kinds | {(0, b"n"): "counter"} | others
    assert state[0, b"n"][1:] == (-4, None) and state[255, b"n"][1:] == (9, None)


# Every record by the tables


@pytest.mark.parametrize("directory, with_logs, name", [
    ("v1-kinds", True, "expected.jsonl"), ("v1-kinds", False, "expected-snapshot.jsonl"),
    ("v1-calendar", True, "expected.jsonl")])
def test_golden_files_of_every_kind(directory, with_logs, name):
    golden = GOLDEN.parent / directory
    found = read_contents(golden / "appendonlydir", with_logs)
    for line in map(json.loads, (golden / name).read_text().splitlines()):
        kind, key = line["kind"], bytes.fromhex(line["key_hex"])
        value = bytes.fromhex(line.get("state_hex") or line["body_hex"])
        if kind == 0x83:
            assert found.policies.pop(key) == policy_in(value)
        elif kind == 0x85:
            assert found.rules.pop(subject_in(key))[1] == value[2:]
        elif KINDS[kind] == "token":
            assert found.answers.pop(token_key(key)) == state_in("token", value)
        else:
            assert found.keys.pop(key) == (KINDS[kind], state_in(KINDS[kind], value), line.get("deadline_ns"))
    # Expired at the time of the files, and skipped only by a start.
    assert not found.policies and not found.rules and not found.answers and not found.keys


def fill(wire):
    """Creates every kind of state and every kind of log record. Returns the first answers."""
    wire.calls("SET gone 1", "RL.POLICY SET old LIMIT 9 PER 1h", "RL.RULE SET * * * POLICY old")
    wire.calls("FLUSHALL", "RL.RULE DEL * * *", "RL.POLICY DEL old")
    replies = {
        "gcra": wire.call(*"RL.TAKE gcra LIMIT 10 PER 10d COST 4 ID id-1".split()),
        "denied": wire.call(*"RL.TAKE gcra LIMIT 10 PER 10d COST 7 ID id-2".split()),
        "fixed": wire.call(*"RL.TAKE fixed LIMIT 10 PER 1d ALGO fixed-window OFFSET -5h COST 3".split()),
        "window": wire.call(*"RL.TAKE window LIMIT 10 PER 2d ALGO sliding-window COST 2".split())}
    for cost in (1, 2, 3):
        wire.call(*f"RL.TAKE log LIMIT 10 PER 1d ALGO sliding-log COST {cost}".split())
    wire.calls("SET n -5", "SET timed 7 EXAT 4000000000", "SET shortly 1", "DEL shortly")
    wire.ok(*"RL.POLICY SET free LIMIT 5 PER 1m BURST 20 ALGO token-bucket".split())
    wire.ok(*"RL.POLICY SET day LIMIT 2 PER 1d ALGO fixed-window OFFSET 2h MODE shadow".split())
    wire.ok("RL.POLICY", "SET", b"\xff\0", "LIMIT", 0, "PER", "1s", "MODE", "off")
    wire.calls("RL.RULE SET * * * POLICY free", "RL.RULE SET acme * login POLICY day")
    wire.calls("RL.CHECK acme joe login", "RL.CHECK acme joe login")
    replies["shadowed"] = wire.call(*"RL.CHECK acme joe login ID id-3".split())
    return replies


def look(contents, replies, began):
    """Compares the contents of the files with what was requested."""
    now = time.time_ns()
    keys = dict(contents.keys)
    kind, tat, deadline = keys.pop(b"gcra")
    assert (kind, deadline) == ("gcra", None) and began <= tat - 4 * DAY <= now
    midnight = (now // DAY) * DAY  # of UTC; local midnight is five hours later
    kind, (end, spent), deadline = keys.pop(b"fixed")
    assert (kind, spent, deadline, (end - 5 * 3600 * SECOND) % DAY) == ("fixed-window", 3, None, 0)
    assert began < end <= now + DAY and end - midnight in (5 * 3600 * SECOND, DAY + 5 * 3600 * SECOND)
    kind, (expiry, period, previous, current), _ = keys.pop(b"window")
    assert (kind, period, previous, current) == ("sliding-window", 2 * DAY, 0, 2)
    assert expiry % (2 * DAY) == 0 and 2 * DAY < expiry - now <= 4 * DAY
    kind, (expiry, grants), _ = keys.pop(b"log")
    assert kind == "sliding-log" and sum(units for _, units in grants) == 6 and began <= expiry - DAY <= now
    assert keys.pop(b"n") == ("counter", -5, None)
    assert keys.pop(b"timed") == ("counter", 7, 4_000_000_000 * SECOND)
    kind, (end, spent), _ = keys.pop(b"\0C\x04acme\x03joelogin")
    assert (kind, spent, (end + 2 * 3600 * SECOND) % DAY) == ("fixed-window", 2, 0)
    assert not keys
    check_answers(dict(contents.answers), replies, began, now)
    minute, day = 60 * SECOND, DAY
    assert contents.policies == {
        b"free": Policy("token-bucket", "enforce", "command", 5, minute, 20, 0, ()),
        b"day": Policy("fixed-window", "shadow", "command", 2, day, 2, 2 * 3600 * SECOND, ()),
        b"\xff\0": Policy("gcra", "off", "command", 0, SECOND, 0, 0, ())}
    assert contents.rules == {
        (None, None, None): ("command", b"free"), (b"acme", None, b"login"): ("command", b"day")}


def check_answers(answers, replies, began, now):
    for key, name in [((b"gcra", b"id-1"), "gcra"), ((b"gcra", b"id-2"), "denied"),
                      ((b"\0C\x04acme\x03joelogin", b"id-3"), "shadowed")]:
        answer, reply = answers.pop(key), replies[name]
        assert isinstance(answer, Answer) and began <= answer.expiry - 60 * SECOND <= now
        assert [int(not answer.denied), *answer[1:4]] == reply[:4]
        assert answer.shadowed == (reply[6:] == [b"shadow"])
        for stored, told in zip(answer[4:6], reply[4:6]):
            assert told == (-1 if stored == -1 else -(-stored // 1_000_000))
    assert not answers


def test_every_record_by_its_table(start):
    server = start("--appendfsync", "always")
    files = server.directory / "appendonlydir"
    began = time.time_ns()
    with server.connect() as wire:
        replies = fill(wire)
        logged = read_contents(files)
        look(logged, replies, began)
        assert logged.met >= {0, 1, 2, 3, 4, 5, 6, 0x81, 0x83, 0x84, 0x85, 0x86}, "everything has been written"
        wire.ok("SAVE")
        saved = read_contents(files, with_logs=False)
        look(saved, replies, began)
        assert saved == logged and saved.met == {1, 2, 3, 4, 5, 6, 0x82, 0x83, 0x85}
        wire.calls("INCR n", "RL.POLICY DEL nosuch", "RL.RULE DEL acme * login", "RL.TAKE log LIMIT 10 PER 1d "
                   "ALGO sliding-log COST 4", "RL.POLICY SET free LIMIT 4 PER 1m BURST 20 ALGO token-bucket")
        both = read_contents(files)
    assert both.keys[b"n"][1] == -4 and list(both.rules) == [(None, None, None)]
    assert sum(units for _, units in both.keys[b"log"][1][1]) == 10
    # Units became more expensive: the previous limit is kept until all debts made under it are paid off.
    free = both.policies[b"free"]
    (price, tolerance, end), = free.before
    assert (free.limit, price, tolerance) == (4, 12 * SECOND, 20 * 12 * SECOND)
    assert 0 < end - time.time_ns() <= tolerance
