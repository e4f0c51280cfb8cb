"""ALGO calendar: windows of days, weeks, months and years of a zone, compared with Python's zoneinfo; durability,
replication and changes of the algorithm; zones that are missing, or are installed later."""

import datetime
import pathlib
import shutil
import signal
import subprocess
import zoneinfo

import pytest

from durable import launch
from journal_format import SECOND, gcra_record, read_contents, write_log
from server import find_binary
from wire import ErrorReply, eventually

assert launch  # a fixture

DATABASE = pathlib.Path("/usr/share/zoneinfo")
pytestmark = pytest.mark.skipif(not (DATABASE / "Europe/Berlin").exists(), reason="no time zone database")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
MONTH = "PER month ALGO calendar ZONE Europe/Berlin"


def instant(*date, zone=BERLIN):
    return int(datetime.datetime(*date, tzinfo=zone).timestamp()) * SECOND


def start_at(launch, directory, when, *flags, zoneinfo=DATABASE):
    """A server whose engine time begins at `when`, in the future: according to its log it has already been there."""
    write_log(directory / "data", when, [(when, [gcra_record(b"in force", when + 3600 * SECOND)])])
    return launch("--appendfsync", "always", "--zoneinfo", str(zoneinfo), *flags)


BORDERS = [
    ("PER day ALGO calendar ZONE Europe/Berlin", (2031, 3, 30), (2031, 3, 31)),  # 23 hours
    ("PER day ALGO calendar ZONE Europe/Berlin", (2031, 10, 26), (2031, 10, 27)),  # 25 hours
    ("PER day ALGO calendar ZONE Europe/Berlin START 6", (2031, 7, 1, 6), (2031, 7, 2, 6)),
    ("PER week ALGO calendar ZONE Europe/Berlin", (2031, 3, 24), (2031, 3, 31)),
    ("PER week ALGO calendar ZONE Europe/Berlin START 7", (2031, 3, 30), (2031, 4, 6)),
    ("PER month ALGO calendar ZONE Europe/Berlin", (2032, 2, 1), (2032, 3, 1)),
    ("PER month ALGO calendar ZONE Europe/Berlin START 31", (2032, 1, 31), (2032, 2, 29)),
    ("PER year ALGO calendar ZONE Europe/Berlin START 4", (2031, 4, 1), (2032, 4, 1)),
]


@pytest.mark.parametrize("terms, begin, end", BORDERS, ids=[" ".join(terms.split()[1:]) for terms, _, _ in BORDERS])
def test_a_window_ends_at_the_boundary_of_the_calendar(launch, tmp_path, terms, begin, end):
    """The window before `begin` is followed by the one that ends at `end`."""
    begin, end = instant(*begin), instant(*end)
    server = start_at(launch, tmp_path, begin - 2 * SECOND)
    take = f"RL.TAKE k LIMIT 3 {terms}".split()
    with server.connect() as wire:
        first = wire.call(*take, "COST", 3)
        assert first[:5] == [1, 3, 3, 0, -1]
        # On a busy machine the boundary may already have passed: then the three units are in the window under test.
        is_late = first[5] > 2000
        reply = eventually(lambda: (lambda r: r if r[5] > 2000 else None)(wire.call(*take)), "the next window")
        assert reply[:4] == ([0, 0, 3, 0] if is_late else [1, 1, 3, 2])
        length = (end - begin) // 1_000_000
        assert length - 120_000 < reply[5] <= length
        assert length - 120_000 < wire.call("PTTL", "k") <= length
        assert wire.calls("TYPE k", "OBJECT ENCODING k") == [b"calendar", b"calendar"]


def test_every_reply(wire):
    take = f"RL.TAKE k LIMIT 5 {MONTH}"
    replies = wire.calls(f"{take} COST 3", f"RL.PEEK k LIMIT 5 {MONTH} COST 3", f"{take} COST 3",
                         f"{take} COST 3 ATMOST", f"{take} COST 6", f"{take} COST 0",
                         f"RL.REFUND k LIMIT 5 {MONTH} COST 2", f"RL.REFUND k LIMIT 5 {MONTH} COST 9", "EXISTS k")
    assert [r[:4] for r in replies[:8]] == [
        [1, 3, 5, 2], [0, 0, 5, 2], [0, 0, 5, 2], [1, 2, 5, 0], [0, 0, 5, 0], [1, 0, 5, 0], [1, 2, 5, 2], [1, 3, 5, 5]]
    assert replies[4][4] == -1, "six never fit"
    assert replies[2][4] == replies[2][5] > 0, "the wait is until the window ends"
    assert replies[8] == 0, "refunded, so there is no key"


ERRORS = [
    ("PER 1d ALGO calendar", b"ERR PER must be day, week, month or year with ALGO calendar"),
    ("PER month", b"ERR PER must be a duration with ALGO gcra, such as 1d; calendar units need ALGO calendar"),
    ("PER fortnight ALGO calendar", b"ERR PER must be a whole number"),
    ("PER 1d ZONE UTC", b"ERR ZONE has no meaning with ALGO gcra"),
    ("PER 1d START 1 ALGO sliding-log", b"ERR START has no meaning with ALGO sliding-log"),
    ("PER day ALGO calendar BURST 3", b"ERR BURST has no meaning with ALGO calendar"),
    ("PER day ALGO calendar OFFSET 2h", b"ERR OFFSET has no meaning with ALGO calendar"),
    ("PER day ALGO calendar START 24", b"ERR START must be 0 to 23 with PER day"),
    ("PER month ALGO calendar START 0", b"ERR START must be 1 to 31 with PER month"),
    ("PER day ALGO calendar ZONE Mars/Olympus", b"ERR ZONE: this server has no time zone 'Mars/Olympus'"),
    ("PER day ALGO calendar ZONE europe/berlin", b"ERR ZONE: 'europe/berlin' is not a time zone"),
    ("PER day ALGO calendar ZONE ../passwd", b"ERR ZONE: time zone '../passwd' contains '.'"),
    ("PER day ALGO calendar ZONE +25:00", b"ERR ZONE: time zone '+25:00' is not an offset"),
    ("PER day ALGO calendar ZONE " + "A" * 65, b"ERR ZONE: the time zone has 65 bytes, at most 64 are allowed"),
]


@pytest.mark.parametrize("terms, error", ERRORS, ids=[terms[:40] for terms, _ in ERRORS])
def test_errors_name_the_argument_and_change_nothing(wire, terms, error):
    for request in [f"RL.TAKE k LIMIT 5 {terms}", f"RL.PEEK k LIMIT 5 {terms}", f"RL.REFUND k LIMIT 5 {terms}",
                    f"RL.TAKEALL other LIMIT 1 PER 1h AND k LIMIT 5 {terms}", f"RL.POLICY SET p LIMIT 5 {terms}"]:
        reply = wire.call(*request.split())
        assert isinstance(reply, ErrorReply) and reply.startswith(error), request
        # The same in a transaction, where the arguments are parsed when it runs.
        wire.ok("MULTI")
        assert wire.call(*request.split()) == b"QUEUED"
        assert wire.call("EXEC")[0].startswith(error), request
    assert wire.calls("EXISTS k other", "RL.POLICY LIST") == [0, []]


def test_in_a_transaction(wire):
    wire.ok("RL.POLICY", "SET", "p", *f"LIMIT 4 {MONTH}".split())
    wire.ok("MULTI")
    wire.calls(f"RL.TAKE k LIMIT 5 {MONTH} COST 2", f"RL.TAKE n POLICY p COST 3", f"RL.PEEK k LIMIT 5 {MONTH}",
               f"RL.TAKEALL k LIMIT 5 {MONTH} AND n POLICY p COST 2", "RL.POLICY SET p LIMIT 9", "RL.TAKE n POLICY p",
               f"RL.REFUND k LIMIT 5 {MONTH}", "TYPE k")
    replies = wire.call("EXEC")
    assert [r[:4] for r in replies[:3]] == [[1, 2, 5, 3], [1, 3, 4, 1], [1, 1, 5, 3]]
    assert replies[3][0] == 0 and replies[3][2] == b"n"
    assert replies[4] == b"OK" and replies[5][:4] == [1, 1, 9, 5]
    assert replies[6][:4] == [1, 1, 5, 4] and replies[7] == b"calendar"


def test_units_are_carried_over_to_and_from_every_algorithm(wire):
    for number, other in enumerate(["gcra", "token-bucket", "fixed-window", "sliding-window", "sliding-log"]):
        key, name = f"k{number}", f"p{number}"
        wire.ok("RL.POLICY", "SET", name, *f"LIMIT 10 PER 1d ALGO {other}".split())
        assert wire.call("RL.TAKE", key, "POLICY", name, "COST", 4)[:4] == [1, 4, 10, 6]
        wire.ok("RL.POLICY", "SET", name, *MONTH.split())
        assert wire.call("RL.PEEK", key, "POLICY", name)[:4] == [1, 1, 10, 6], other
        assert wire.call("RL.TAKE", key, "POLICY", name, "COST", 2)[:4] == [1, 2, 10, 4]
        assert wire.call("TYPE", key) == b"calendar"
        wire.ok("RL.POLICY", "SET", name, *f"PER 1d ALGO {other}".split())
        assert wire.call("RL.TAKE", key, "POLICY", name, "COST", 1)[:4] == [1, 1, 10, 3], other
        assert wire.call("TYPE", key) == (b"gcra" if other == "token-bucket" else other.encode())


def test_a_changed_limit_applies_to_the_current_window(wire):
    """Another limit, unit or zone applies to a window that has begun, without moving it."""
    first = wire.call(*f"RL.TAKE k LIMIT 5 PER year ALGO calendar COST 4".split())
    for terms in ["LIMIT 5 PER year ALGO calendar", "LIMIT 4 PER day ALGO calendar ZONE Asia/Tokyo", f"LIMIT 5 {MONTH}"]:
        reply = wire.call(*f"RL.PEEK k {terms} COST 2".split())
        assert reply[0] == 0 and first[5] - 60_000 < reply[5] <= first[5], terms


def test_policies_show_and_keep_their_fields(start, tmp_path):
    rules = tmp_path / "rules.conf"
    rules.write_text("policy filed LIMIT 7 PER week ALGO calendar ZONE -0530 START 7 MODE shadow\n")
    server = start("--rules-file", rules)
    with server.connect() as wire:
        def policy(name):
            reply = wire.call("RL.POLICY", "GET", name)
            return dict(zip(reply[::2], reply[1::2]))

        shown = policy("filed")
        assert (shown[b"per"], shown[b"zone"], shown[b"start"], shown[b"per_ms"]) == (b"week", b"-05:30", 7, 0)
        wire.ok(*"RL.POLICY SET p LIMIT 9 PER month ALGO calendar START 15 ZONE Europe/Berlin".split())
        wire.ok(*"RL.POLICY SET p LIMIT 10".split())
        shown = policy("p")
        assert (shown[b"limit"], shown[b"per"], shown[b"zone"], shown[b"start"]) == (10, b"month", b"Europe/Berlin", 15)
        wire.ok(*"RL.POLICY SET p PER week".split())
        assert policy("p")[b"start"] == 1
        refused = wire.call(*"RL.POLICY SET p ALGO gcra".split())
        assert refused.startswith(b"ERR PER must be a duration with ALGO gcra") and b"ZONE Europe/Berlin START 1" in refused
        wire.ok(*"RL.RULE SET * * * POLICY p".split())
        assert wire.call(*"RL.CHECK tenant client action COST 4".split())[:4] == [1, 4, 10, 6]


def test_a_rules_file_with_a_missing_zone_is_refused(tmp_path):
    rules = tmp_path / "rules.conf"
    rules.write_text("policy a LIMIT 7 PER week ALGO calendar\npolicy b LIMIT 7 PER day ALGO calendar ZONE Mars/Olympus\n")
    done = subprocess.run([find_binary(), "--port", "0", "--unixsocket", str(tmp_path / "s"), "--dir", str(tmp_path),
                           "--rules-file", str(rules)], capture_output=True, timeout=60)
    assert done.returncode == 1 and b"rules.conf:2: ZONE: this server has no time zone 'Mars/Olympus'" in done.stderr


@pytest.mark.parametrize("snapshot", [False, True], ids=["the log", "a snapshot"])
def test_killed_and_started_again(launch, snapshot):
    server = launch("--appendfsync", "always")
    with server.connect() as wire:
        wire.ok(*f"RL.POLICY SET p LIMIT 9 {MONTH} START 31".split())
        first = wire.calls(f"RL.TAKE k LIMIT 5 {MONTH} COST 2", "RL.TAKE named POLICY p COST 4",
                           "RL.TAKE once POLICY p ID token")
        if snapshot:
            wire.call("SAVE")
        wire.call(*f"RL.TAKE k LIMIT 5 {MONTH}".split())
    server.crash()
    contents = read_contents(server.files)
    kind, (end, units), deadline = contents.keys[b"k"]
    assert (kind, units, deadline) == ("calendar", 3, None)
    policy = contents.policies[b"p"]
    assert (policy.algorithm, policy.limit, policy.calendar) == ("calendar", 9, ("month", 31, "Europe/Berlin"))
    server = launch("--appendfsync", "always")
    with server.connect() as wire:
        again = wire.calls(f"RL.PEEK k LIMIT 5 {MONTH}", "RL.PEEK named POLICY p", "RL.TAKE once POLICY p ID token")
        assert [r[:4] for r in again] == [[1, 1, 5, 2], [1, 1, 9, 5], [1, 1, 9, 8]]
        assert again[0][5] <= first[0][5]
    server.crash()


def test_a_replica_has_the_windows_and_takes_over(start):
    primary = start()
    replica = start("--replicaof", f"127.0.0.1 {primary.port}")
    with primary.connect() as first, replica.connect() as second:
        eventually(lambda: b"master_link_status:up" in second.call("INFO", "replication"), "the link is up")
        first.ok(*f"RL.POLICY SET p LIMIT 9 {MONTH}".split())
        first.calls(f"RL.TAKE k LIMIT 5 {MONTH} COST 2", "RL.TAKE named POLICY p COST 4")
        assert first.call("WAIT", 1, 60_000) == 1
        peeks = [f"RL.PEEK k LIMIT 5 {MONTH}", "RL.PEEK named POLICY p"]
        assert [r[:4] for r in second.calls(*peeks)] == [[1, 1, 5, 3], [1, 1, 9, 5]]
        second.ok("REPLICAOF", "NO", "ONE")
        eventually(lambda: second.call("RL.TAKE", "named", "POLICY", "p")[:4] == [1, 1, 9, 4], "it is the primary")


def test_a_machine_without_the_zone(start, launch, tmp_path):
    """The state loads, and windows that have begun are in force; the next one is refused by name until the zone
    exists."""
    server = launch("--appendfsync", "always")
    with server.connect() as wire:
        wire.ok(*f"RL.POLICY SET p LIMIT 9 {MONTH}".split())
        wire.call(*"RL.TAKE named POLICY p COST 4".split())
    server.crash()
    little = tmp_path / "zoneinfo"
    (little / "Asia").mkdir(parents=True)
    shutil.copy(DATABASE / "Asia/Tokyo", little / "Asia/Tokyo")
    server = launch("--appendfsync", "always", "--zoneinfo", str(little))
    unknown = b"ERR ZONE: this server has no time zone 'Europe/Berlin'"
    eventually(lambda: "a time zone in use is unavailable" in server.log(), "the missing zone is logged")
    with server.connect() as wire:
        assert wire.call(*"RL.TAKE named POLICY p".split())[:4] == [1, 1, 9, 4]
        assert wire.call(*"RL.TAKE fresh POLICY p".split()).startswith(unknown)
        assert wire.call(*f"RL.TAKE k LIMIT 5 {MONTH}".split()).startswith(unknown)
        assert wire.call(*"RL.TAKEALL a LIMIT 1 PER 1h AND fresh POLICY p".split()).startswith(unknown)
        assert wire.call(*"RL.POLICY GET p".split())[21] == b"Europe/Berlin"
        assert wire.calls("EXISTS fresh k a")[0] == 0
        # The zone is found when the zones are read again, without a restart.
        (little / "Europe").mkdir()
        shutil.copy(DATABASE / "Europe/Berlin", little / "Europe/Berlin")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: not isinstance(wire.call(*"RL.PEEK fresh POLICY p".split()), ErrorReply), "the zone is read")
        assert wire.call(*"RL.TAKE fresh POLICY p".split())[:4] == [1, 1, 9, 8]
        assert wire.call(*f"RL.TAKE k LIMIT 5 {MONTH}".split())[:4] == [1, 1, 5, 4]
    server.crash()


def test_offsets_work_without_a_database(start, tmp_path):
    server = start("--zoneinfo", tmp_path / "nowhere")
    assert "cannot list the time zone database" in server.log()
    with server.connect() as wire:
        assert wire.call(*"RL.TAKE k LIMIT 5 PER day ALGO calendar ZONE +09:00".split())[:4] == [1, 1, 5, 4]
        assert wire.call(*"RL.TAKE j LIMIT 5 PER day ALGO calendar ZONE Asia/Tokyo".split()).startswith(b"ERR ZONE: ")


def test_check_and_dump(launch):
    server = launch("--appendfsync", "always")
    with server.connect() as wire:
        wire.ok(*f"RL.POLICY SET p LIMIT 9 {MONTH}".split())
        wire.call(*f"RL.TAKE k LIMIT 5 {MONTH} COST 2".split())
    server.crash()
    directory = str(server.directory)
    assert subprocess.run([find_binary(), "check", directory], capture_output=True, timeout=60).returncode == 0
    dump = subprocess.run([find_binary(), "dump", directory], capture_output=True, timeout=60).stdout
    assert b'"kind":"calendar","key":"k","end_ns":' in dump and b'"spent":2' in dump
