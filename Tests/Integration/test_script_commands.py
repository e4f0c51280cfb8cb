"""EVAL, EVALSHA and SCRIPT as commands: their errors, atomicity, transactions, replicas and restarts. What each script
does is in test_scripts.py.
"""

import hashlib
import threading

import pytest

import script_texts
from conftest import missing
from durable import info, launch
from journal_format import HEADER_SIZE, read_batches, read_manifest, records_of
from replication import nodes, pair, wait_same_offset
from script_calls import ROWS, SHA1S
from wire import ErrorReply, eventually

FIXED, SLIDING, LOOK = SHA1S["limits fixed window"], SHA1S["limits sliding window"], SHA1S["limits sliding window look"]
RESET, PEEK, FLEXIBLE = SHA1S["limits reset"], SHA1S["ulule peek"], SHA1S["rate-limiter-flexible"]
UNKNOWN_TEXT = "return redis.call('ping')"
UNKNOWN = hashlib.sha1(UNKNOWN_TEXT.encode()).hexdigest()


def text_of(sha1):
    text = script_texts.find(sha1)
    if text is None:
        missing("no installed package has the script")
    return text


# Requests


@pytest.mark.parametrize("request_line", [
    "EVALSHA", "EVALSHA {0}", "EVALSHA {0} x k", "EVALSHA {0} -1 k", "EVALSHA {0} 2 k", "EVALSHA {0} 9223372036854775807",
    "EVALSHA {0} -9223372036854775808", "EVALSHA ab 1 k", "EVALSHA ab x k", "EVALSHA {0}0 1 k 60 1",
    "EVALSHA 0000000000000000000000000000000000000000 1 k", "EVALSHA 0000000000000000000000000000000000000000 2 k",
    "EVAL", "EVAL x", "EVAL x x", "EVAL x -1", "EVAL x 1", "EVAL_RO x 5", "EVALSHA_RO ab 0", "EVALSHA_RO {0} 7 k",
    "SCRIPT", "SCRIPT LOAD", "SCRIPT EXISTS", "SCRIPT EXISTS {0}", "SCRIPT EXISTS x {0} {0}0 {1}", "SCRIPT FLUSH FOO",
    "SCRIPT FLUSH ASYNC SYNC", "SCRIPT KILL", "SCRIPT KILL now", "SCRIPT FOO", "EVALSHA_RO {0} 1 k 60 1",
    "EVALSHA {1} 1 k 60 1", "EVALSHA {0} 01 k 60 1", "COMMAND GETKEYS EVALSHA x 2 a b c", "COMMAND GETKEYS EVAL x 0 c",
    "COMMAND GETKEYS EVALSHA x 3 a b", "COMMAND GETKEYS EVAL_RO x -1 a b",
])
def test_requests_are_answered_as_by_redis(wire, reference, request_line):
    text = text_of(FIXED)
    with reference.connect() as other:
        other.ok("FLUSHALL")
        assert other.call("SCRIPT", "LOAD", text) == FIXED.encode() == wire.call("SCRIPT", "LOAD", text)
        request = request_line.format(FIXED, FIXED.upper()).split()
        mine, theirs = wire.call(*request), other.call(*request)
        assert type(mine) is type(theirs)
        if b"script: " in bytes(theirs if isinstance(theirs, bytes) else b""):
            theirs = theirs.split(b", on @user_script")[0]
        assert mine == theirs


def test_flush_forgets_nothing(wire):
    wire.calls("SCRIPT FLUSH", "SCRIPT FLUSH SYNC", "script flush async")
    assert wire.calls(f"EVALSHA {FIXED} 1 k 60 1", f"SCRIPT EXISTS {FIXED}") == [1, [1]]
    assert wire.call("SCRIPT", "HELP")[0].startswith(b"SCRIPT <subcommand>")


def test_every_script_is_known_by_its_text_too(wire):
    found = 0
    for row in ROWS:
        text = script_texts.find(row.sha1)
        if text is None:
            continue
        found += 1
        assert wire.call("SCRIPT", "LOAD", text) == row.sha1.encode()
        # One that takes any number of keys gets a wrong number of arguments here, the others a wrong number of keys.
        error = wire.call("EVAL", text, 0)
        assert error.startswith(f"ERR script {row.sha1} of ".encode()), (row, error)
        assert wire.call("EVALSHA", row.sha1, 0) == error
    if not found:
        missing("no installed package has any of the scripts")
    text = text_of(FIXED)
    assert [wire.call("EVAL", text, 1, "k", 60, 2) for _ in range(3)] == [2, 4, 6]
    # The same length, another byte.
    other = wire.call("EVAL", text.replace(b"expire", b"expirE"), 1, "k", 60, 2)
    assert other.startswith(b"ERR unknown script ") and wire.call("GET", "k") == b"6"


@pytest.mark.parametrize("request_line", [
    f"EVALSHA {FIXED} 1 k 60", f"EVALSHA {FIXED} 1 k 60 1 1", f"EVALSHA {FIXED} 0 k 60 1", f"EVALSHA {FIXED} 2 k l 60 1",
    f"EVALSHA {FLEXIBLE} 1 k 1", f"EVALSHA {FLEXIBLE} 1 k 1 60 1 60 1", f"EVALSHA {SLIDING} 1 k 1 1 1",
    f"EVALSHA {SLIDING} 2 k l 1 1", f"EVALSHA {RESET} 0", f"EVALSHA {RESET} 2 * k", f"EVALSHA {PEEK} 1 k x",
])
def test_a_number_of_keys_or_arguments_that_does_not_fit(wire, request_line):
    wire.ok("SET", "k", 7)
    error = wire.call(*request_line.split())
    assert isinstance(error, ErrorReply) and error.startswith(b"ERR script " + request_line.split()[1].encode()), error
    assert b"nothing was changed" in error
    assert wire.calls("KEYS *", "GET k", "TTL k") == [[b"k"], b"7", -1]


def test_values_that_only_redis_can_store(wire):
    """Laravel stores what its user gives it."""
    add = SHA1S["Laravel add"]
    error = wire.call("EVALSHA", add, 1, "k", "s:1:\"x\";", 60)
    assert error.startswith(b"ERR value is not an integer or out of range: this server stores only 64-bit integers")
    assert wire.calls("EXISTS k", f"EVALSHA {add} 1 k 5 60", f"EVALSHA {add} 1 k 6 60") == [0, b"OK", None]
    assert info(wire, "unknowncommands")["unknowncmd_evalsha|value-not-an-integer"] == "calls=1"


def test_a_text_that_would_take_long_to_read_is_refused(wire):
    """The rules of asgi-ratelimit are read while their keys are locked."""
    sha1 = next(row.sha1 for row in ROWS if row.name == "asgi-ratelimit")
    text = b'{"a": [2, 1000]}'
    assert wire.call("EVALSHA", sha1, 1, "a", text.ljust(65536)) == 0 and wire.call("GET", "a") == b"1"
    reply = wire.call("EVALSHA", sha1, 1, "a", text.ljust(65537))
    assert isinstance(reply, ErrorReply) and reply.startswith(b"ERR ARGV[1] must have at most 65536 bytes")
    assert wire.call("GET", "a") == b"1"


def test_unknown_scripts_are_counted_and_logged_once(start):
    server = start("--io-threads", "2")
    with server.connect() as wire, server.connect() as other:
        wire.ok("CLIENT", "SETINFO", "LIB-NAME", "ioredis")
        for request in (["EVAL", UNKNOWN_TEXT, 0], ["SCRIPT", "LOAD", UNKNOWN_TEXT], ["EVAL_RO", UNKNOWN_TEXT, 1, "k"]):
            error = wire.call(*request)
            assert error.startswith(f"ERR unknown script {UNKNOWN}:".encode()) and b"docs/libraries.md" in error
        assert other.call("EVAL", UNKNOWN_TEXT, 0).startswith(b"ERR unknown script")
        # The usual question before sending a text.
        assert wire.call("EVALSHA", UNKNOWN, 0) == b"NOSCRIPT No matching script. Please use EVAL."
        assert wire.call("EVAL", "x" * 70_000, 0).startswith(b"ERR unknown script of 70000 bytes")
        found = info(wire, "unknowncommands")
        assert found[f"unknowncmd_script|{UNKNOWN}"] == "calls=4" and found["unknowncmd_script|too-long"] == "calls=1"
        port = wire.socket.getsockname()[1]
    lines = [line for line in server.settled_log().splitlines() if "unknown script" in line]
    assert len(lines) == 2 and f"command=script|{UNKNOWN} addr=127.0.0.1:{port}" in lines[0]
    assert "lib_name=ioredis" in lines[0] and "see=docs/libraries.md" in lines[0]


def test_a_key_that_has_expired_is_absent(start):
    """Also when nothing has looked at it since."""
    calls = {
        FIXED: ([60, 2], 2), SHA1S["cashews"]: ([1, 60_000], 1), SHA1S["python-redis-rate-limit"]: ([60, 1], 1),
        FLEXIBLE: ([3, 60], [3, 60_000]), SHA1S["ulule"]: ([1, 60_000], [1, 60_000]),
        SHA1S["rate-limit-redis"]: (["0", 60_000], [1, 60_000]), SHA1S["rate-limit-redis get"]: ([], [None, -2]),
        SHA1S["fastapi-limiter"]: ([1, 60_000], 0), SHA1S["Laravel add"]: ([1, 60], b"OK"),
        SHA1S["django-redis incr"]: ([1], None), PEEK: ([], [0, 0]),
    }
    with start().connect() as wire:
        for sha1, (arguments, expected) in calls.items():
            wire.calls("SET k 5 PX 1", "SET probe 5 PX 1")
            eventually(lambda: not wire.call("EXISTS", "probe"), "the later one has expired")
            assert wire.call("EVALSHA", sha1, 1, "k", *arguments) == expected, sha1
            wire.ok("FLUSHALL")


def test_a_gcra_key_is_the_same_for_scripts_and_commands(wire):
    sha1 = SHA1S["throttled-py"]
    assert wire.call("EVALSHA", sha1, 1, "k", 3600, 10, 4)[:2] == [0, 6]
    # 10 units, one per hour.
    assert wire.call("CL.THROTTLE", "k", 9, 1, 3600, 1)[:3] == [0, 10, 5]
    assert wire.call("TYPE", "k") == b"gcra" and 17_000 < wire.call("TTL", "k") <= 18_000
    assert wire.call("EVALSHA", sha1, 1, "k", 3600, 10, 6)[:2] == [1, 5]
    errors = {
        ("x", 10, 1): b"ERR emission interval (ARGV[1]) is not a number",
        (0, 10, 1): b"ERR a unit must cost", (-1, 10, 1): b"ERR a unit must cost", ("nan", 10, 1): b"ERR a unit must cost",
        ("inf", 10, 1): b"ERR a unit must cost", (3600, 1.5, 1): b"ERR capacity (ARGV[2]) is not an integer",
        (3600, -1, 1): b"ERR burst or capacity must not be negative", (3600, 10, "x"): b"ERR cost (ARGV[3])",
        (3600, 10, -1): b"ERR cost must not be negative", (3600, 2**62, 1): b"ERR value is not an integer or out of",
    }
    for arguments, error in errors.items():
        assert wire.call("EVALSHA", sha1, 1, "k", *arguments).startswith(error), arguments
        assert wire.calls("MULTI", ["EVALSHA", sha1, 1, "k", *arguments], "EXEC")[-1][0].startswith(error), arguments
    assert wire.call("CL.THROTTLE", "k", 9, 1, 3600, 0)[:3] == [0, 10, 5]
    for rate in (0, -1, "nan", "x"):
        error = wire.call("EVALSHA", SHA1S["redis_rate AllowN"], 1, "k", 10, rate, 1, 1)
        assert error.startswith(b"ERR rate (ARGV[2]) is not a number above 0"), rate


# At once


def test_in_a_pipeline_and_in_multi(wire):
    replies = wire.calls(
        f"EVALSHA {FIXED} 1 k 60 1", "INCR k", f"EVALSHA {FIXED.upper()} 1 k 60 1", f"EVALSHA {FIXED} 1 k 60 1e0", "GET k",
        "MULTI", f"EVALSHA {FIXED} 1 k 60 2", "INCR k", f"EVALSHA {SLIDING} 2 p c 10 100 4", f"EVALSHA {RESET} 1 [kp]",
        f"EVALSHA {LOOK} 2 p c 100", "EXISTS k", "EVALSHA x 0", "EXEC", "GET k")
    assert replies[:5] == [1, 2, 3, 4, b"4"]
    assert replies[5:13] == [b"OK"] + [b"QUEUED"] * 7
    first, incremented, taken, deleted, look, exists, unknown = replies[13]
    assert [first, incremented, taken, deleted, exists] == [6, 7, 1, 1, 0]
    assert look[:3] == [None, -2, b"4"] and look[3] == 200_000 and unknown.startswith(b"NOSCRIPT")
    assert replies[14] is None


def test_a_script_changes_watched_keys(server):
    with server.connect() as wire, server.connect() as other:
        for request in (f"EVALSHA {FIXED} 1 k 60 1", f"EVALSHA {RESET} 1 k", f"EVALSHA {SLIDING} 2 k c 10 60 1"):
            wire.calls("FLUSHALL", "SET k 1", "SET c 5 EX 10")
            assert wire.calls("WATCH k", "MULTI", "PING")[-1] == b"QUEUED"
            assert isinstance(other.call(*request.split()), int)
            assert wire.call("EXEC") is None, request
        assert wire.calls("SET k 1", "WATCH k", "MULTI", "PING")[-1] == b"QUEUED"
        assert other.call("EVALSHA", PEEK, 1, "k") == [1, -1]
        assert wire.call("EXEC") == [b"PONG"]


def test_threads_never_take_more_than_the_limit(start):
    """limits' sliding window reads and writes two keys of different stripes; EXEC and other commands run in between."""
    server = start("--io-threads", "2", "--shards", "16", "--appendonly", "yes")
    granted = []

    def take(shifts):
        with server.connect() as wire:
            for number in range(300):
                request = ["EVALSHA", SLIDING, 2, "previous", "current", 500, 1000, 1]
                reply = wire.calls("MULTI", request, "EXEC")[-1][0] if number % 3 else wire.call(*request)
                granted.append(reply)
                wire.calls("MGET current previous", "PEXPIRE current 999000" if shifts and number == 100 else "PING")

    threads = [threading.Thread(target=take, args=(number == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with server.connect() as wire:
        counts = [int(count or 0) for count in wire.call("MGET", "previous", "current")]
    # All that was granted is counted, in the window before the shift or in the one after it.
    assert sum(counts) == granted.count(1) and set(granted) == {1, None} and counts[0] > 0


def test_monitor_and_the_slow_log_show_scripts(start):
    with (server := start("--slowlog-log-slower-than", "0")).connect() as wire, server.connect() as monitor:
        monitor.ok("MONITOR")
        assert wire.call("EVALSHA", FIXED, 1, "k", 60, 1) == 1
        assert f'"EVALSHA" "{FIXED}" "1" "k" "60" "1"'.encode() in monitor.read()
        assert wire.call("SLOWLOG", "GET", 1)[0][3] == [b"EVALSHA", FIXED.encode(), b"1", b"k", b"60", b"1"]
        found = info(wire, "commandstats")
        assert found["cmdstat_evalsha"].startswith("calls=1,")


# Replicas and disks


def test_on_a_replica(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as wire, replica.connect() as reader:
        assert wire.calls(
            f"EVALSHA {FIXED} 1 k 1000 3", f"EVALSHA {SLIDING} 2 p c 10 1000 4", f"EVALSHA {FIXED} 1 gone 1000 1",
            f"EVALSHA {RESET} 1 g*", f"EVALSHA {SHA1S['throttled-py']} 1 rate 3600 10 4")[:4] == [3, 1, 1, 1]
        wire.call("PEXPIRE", "c", 500_000)
        assert wire.call("EVALSHA", SLIDING, 2, "p", "c", 10, 1000, 1) == 1
        wait_same_offset(primary, replica)
        assert reader.calls("MGET k p c gone", "EXISTS rate") == [[b"3", b"4", b"1", None], 1]
        assert 990_000 < reader.call("PTTL", "k") <= 1_000_000
        for row in ROWS:
            writes = row.name not in (
                "ulule peek", "rate-limit-redis get", "throttled-py peek")
            reply = reader.call("EVALSHA", row.sha1, 1, "k", 60, 1)
            assert reply.startswith(b"READONLY") == writes, (row, reply)
        assert reader.call("EVALSHA", PEEK, 1, "k")[0] == 3
        assert reader.calls("MULTI", f"EVALSHA {PEEK} 1 k", "EXEC")[-1][0][0] == 3
        assert reader.call("EVALSHA_RO", PEEK, 1, "k")[0] == 3
        assert reader.call("EVALSHA", "0" * 40, 0).startswith(b"NOSCRIPT")
        reader.calls("MULTI", f"EVALSHA {FIXED} 1 k 60 1")
        assert reader.call("EXEC").startswith(b"EXECABORT")


def test_everything_is_there_after_a_crash(launch):
    always = ("--appendfsync", "always")
    server = launch(*always)
    with server.connect() as wire:
        assert wire.calls(
            f"EVALSHA {FIXED} 1 k 1000 3", f"EVALSHA {FLEXIBLE} 1 flexible 5 1000", f"EVALSHA {RESET} 1 none",
            f"EVALSHA {SHA1S['throttled-py']} 1 rate 3600 10 4",
            f"EVALSHA {SHA1S['redis_rate AllowAtMost']} 1 most 10 1 3600 99",
            f"EVALSHA {FIXED} 1 gone 1000 1", f"EVALSHA {RESET} 1 gon?", f"EVALSHA {SLIDING} 2 p c 10 1000 4",
            "PEXPIRE c 500000", f"EVALSHA {SLIDING} 2 p c 10 1000 1", "SET plain 2",
            f"EVALSHA {SHA1S['django-redis incr']} 1 plain 5")[-1] == 7
    server.crash()
    with launch(*always).connect() as wire:
        assert wire.call("MGET", "k", "flexible", "gone", "p", "c", "plain") == [b"3", b"5", None, b"4", b"1", b"7"]
        assert wire.call("CL.THROTTLE", "rate", 9, 1, 3600, 0)[2] == 6
        assert wire.call("CL.THROTTLE", "most", 9, 1, 3600, 0)[2] == 0
        for key in ("k", "flexible", "p", "c"):
            assert 0 < wire.call("PTTL", key) <= 1_500_000, key


@pytest.mark.parametrize("transaction", [False, True], ids=["alone", "in EXEC"])
def test_the_journal_has_the_previous_window_before_the_current_one_is_reset(launch, transaction):
    """Wherever a crash cuts the log, what was counted is in one of the two windows, or in both."""
    server = launch("--appendfsync", "always", "--shards", "64")
    with server.connect() as wire:
        for number in range(60):
            # The time to live has come near enough for the locks to be taken, and is reached only in the second call.
            wire.calls(f"SET current-{number} 7 EX 500", f"SET previous-{number} 1 EX 500")
            request = f"EVALSHA {SLIDING} 2 previous-{number} current-{number} 100 1000 1"
            assert (wire.calls("MULTI", request, "EXEC")[-1] if transaction else wire.calls(request)) == [1]
            assert wire.call("MGET", f"previous-{number}", f"current-{number}") == [b"7", b"1"]
    _, logs = read_manifest(server.files)
    moved, reset = {}, {}
    place = 0
    for _, _, payload in read_batches(server.files / f"log-{logs[-1][0]}", HEADER_SIZE):
        for kind, key, value, _ in records_of(payload):
            place += 1
            count = int.from_bytes(value, "little", signed=True)
            if kind & 0x3F == 2 and count == 7 and key.startswith(b"previous"):
                moved.setdefault(key, place)
            if key.startswith(b"current") and (kind & 0x3F == 0 or count == 1):
                reset.setdefault(key, place)
    for number in range(60):
        assert moved[b"previous-%d" % number] < reset[b"current-%d" % number], number
