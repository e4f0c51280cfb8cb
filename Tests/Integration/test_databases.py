"""SELECT and key spaces: replies compared with Redis's, limiters and counters of each database apart from those of the
others, in batches, transactions, the journal, snapshots, tools, and on a replica."""

import json
import threading

import pytest

from durable import info, launch
from journal_format import read_contents
from replication import nodes, pair, wait_same_offset
from server import run_to_end
from wire import ErrorReply, command, eventually

ALWAYS = ("--appendfsync", "always")

SELECTING = [
    "SELECT 1", "SELECT 0", "SELECT 15", "SELECT 16", "SELECT -1", "SELECT x", "SELECT 1.0", "SELECT 01", "SELECT",
    "SELECT 1 2", "SELECT 2147483647", "SELECT 2147483648", "SELECT -2147483649", "SELECT 9223372036854775807",
    "SELECT 9223372036854775808", "CLIENT INFO", "RESET", "CLIENT INFO",
]
KEYS = [
    "SET k 5", "SELECT 1", "GET k", "SET k 6", "INCR k", "SELECT 0", "GET k", "DBSIZE", "MSET a 1 b 2 c 3", "SELECT 1",
    "MGET a b c k", "DBSIZE", "KEYS *", "SCAN 0", "SCAN 0 MATCH k COUNT 100", "SCAN 0 TYPE string", "RANDOMKEY", "TYPE k",
    "EXISTS k a b", "EXPIRE k 100", "TTL k", "PERSIST k", "OBJECT ENCODING k", "RENAME k n", "EXISTS k n", "COPY n m",
    "GETDEL m", "SETNX a 9", "MSETNX b 1 n 2", "EXISTS b", "TOUCH a n", "STRLEN n", "GETSET n 3", "GETEX n EX 100",
    "UNLINK a", "SELECT 0", "MGET a b c k n", "TTL k", "SELECT 7", "DBSIZE", "KEYS *", "SCAN 0", "RANDOMKEY",
    # FLUSHDB and FLUSHALL
    "SET only 1", "SELECT 1", "FLUSHDB", "DBSIZE", "SELECT 0", "DBSIZE", "SELECT 7", "GET only", "FLUSHDB ASYNC",
    "FLUSHDB SYNC", "FLUSHDB NOW", "FLUSHDB", "SELECT 0", "DBSIZE", "SELECT 2", "SET x 1", "FLUSHALL", "DBSIZE",
    "SELECT 0", "DBSIZE", "INFO keyspace", "SET a 1", "SELECT 3", "MSET a 1 b 2", "INFO keyspace", "FLUSHDB",
    "INFO keyspace",
]
MOVES = [
    "SET k 5 EX 100", "MOVE k 0", "MOVE k 1", "EXISTS k", "MOVE k 1", "MOVE none 2", "MOVE none 0", "SELECT 1", "GET k",
    "TTL k", "MOVE k 16", "MOVE k -1", "MOVE k x", "MOVE k 2147483648", "MOVE k 9223372036854775808", "MOVE k", "MOVE",
    "MOVE k 1 2", "SELECT 0", "SET k 7", "SELECT 1", "MOVE k 0", "GET k", "SELECT 0", "GET k", "TTL k",
    # COPY to another database
    "COPY k k", "COPY k k DB 0", "COPY k k DB 2", "COPY k k DB 2", "COPY k k DB 2 REPLACE", "COPY k other DB 2",
    "COPY k k DB 16", "COPY k k DB x", "COPY k k DB", "COPY k k DB 0 DB 3", "COPY k k DB 3 DB 0", "COPY none k DB 2",
    "SELECT 2", "MGET k other", "DBSIZE", "COPY k k", "COPY k new DB 2", "SELECT 3", "KEYS *",
]
TRANSACTIONS = [
    "SET k 1", "MULTI", "SELECT 1", "SET k 2", "GET k", "SELECT 16", "SELECT x", "INCR k", "SELECT 0", "GET k", "EXEC",
    "GET k", "MULTI", "SELECT 1", "EXEC", "GET k", "MULTI", "SELECT 2", "DISCARD", "GET k", "MULTI", "SELECT",
    "EXEC", "GET k", "SELECT 0", "MULTI", "MOVE k 5", "SELECT 5", "INCR k", "COPY k c DB 6", "SELECT 6", "GET c",
    "FLUSHDB", "DBSIZE", "EXEC", "DBSIZE", "SELECT 5", "GET k",
    # A connection's own changes in another database count, too.
    "WATCH k", "SELECT 1", "SET k 9", "MULTI", "GET k", "EXEC", "WATCH k", "SELECT 5", "SET k 8", "MULTI", "GET k", "EXEC",
    "WATCH k", "SELECT 6", "WATCH k", "SET k 1", "MULTI", "GET k", "EXEC", "WATCH k", "SELECT 5", "FLUSHDB", "MULTI",
    "DBSIZE", "EXEC", "WATCH none", "SELECT 6", "FLUSHDB", "MULTI", "DBSIZE", "EXEC", "SELECT 6", "SET k 1", "WATCH k",
    "FLUSHALL", "MULTI", "DBSIZE", "EXEC",
]


def plain(reply):
    """A reply without what differs from server to server or from moment to moment."""
    if isinstance(reply, list):
        return sorted((plain(part) for part in reply), key=repr) if all(
            isinstance(part, bytes) for part in reply) and len(reply) > 1 else [plain(part) for part in reply]
    if isinstance(reply, bytes) and reply.startswith(b"id="):
        return [field for field in reply.split() if field.startswith(b"db=")]
    if isinstance(reply, bytes) and b"avg_ttl=" in reply:
        return [line.partition(b",avg_ttl=")[0] for line in reply.split(b"\r\n")]
    return reply


@pytest.mark.parametrize("pipelined", [False, True], ids=["one by one", "pipeline"])
@pytest.mark.parametrize("table", [SELECTING, KEYS, MOVES, TRANSACTIONS],
                         ids=["selecting", "keys", "moves", "transactions"])
def test_replies_are_redis_s(server, reference, table, pipelined):
    with server.connect() as wire, reference.connect() as other:
        for connection in (wire, other):
            connection.ok("FLUSHALL")
        ask = (lambda w: w.calls(*table)) if pipelined else (lambda w: [w.calls(request)[0] for request in table])
        ours, theirs = ask(wire), ask(other)
        for request, own, wanted in zip(table, ours, theirs):
            assert plain(own) == plain(wanted), request
        other.ok("FLUSHALL")


def test_the_table_of_commands_is_redis_s(wire, reference):
    with reference.connect() as other:
        for name in ("select", "move", "swapdb", "copy", "flushdb"):
            own, wanted = (connection.call("COMMAND", "INFO", name)[0] for connection in (wire, other))
            assert own[1] == wanted[1] and own[3:6] == wanted[3:6], name


def test_swapdb_is_refused_with_the_reason(wire):
    reply = wire.call("SWAPDB", 0, 1)
    assert isinstance(reply, ErrorReply) and b"SWAPDB is not supported" in reply and b"every key" in reply


# Limits


TAKES = ["LIMIT 5 PER 1000s", "LIMIT 5 PER 1000s ALGO fixed-window", "LIMIT 5 PER 1000s ALGO sliding-window",
         "LIMIT 5 PER 1000s ALGO sliding-log", "POLICY five"]


def test_limiters_are_apart(clean):
    clean.ok("RL.POLICY", "SET", "five", "LIMIT", 5, "PER", "1000s")
    clean.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "five")
    for database in (0, 3, 15):
        clean.ok("SELECT", database)
        for units in (1, 2):
            left = 5 - units
            for take in TAKES:
                key = take.split()[-1]
                assert clean.call("RL.TAKE", key, *take.split())[3] == left, (database, take)
                assert clean.call("RL.PEEK", key, *take.split())[3] == left
            assert clean.call("RL.CHECK", "t", "c", "a")[3] == left
            assert clean.call("CL.THROTTLE", "gcra", 4, 1, 1000)[2] == left
            all_or_none = clean.call("RL.TAKEALL", "one", *TAKES[0].split(), "AND", "two", *TAKES[1].split())
            assert [row[3] for row in all_or_none[-1]] == [left, left], all_or_none
        assert clean.call("DBSIZE") == 9
        # A retry is one of its database.
        first = clean.call("RL.TAKE", "once", *TAKES[0].split(), "ID", "token")
        assert first[3] == 4 and clean.call("RL.TAKE", "once", *TAKES[0].split(), "ID", "token")[3] == 4
        assert clean.call("RL.REFUND", "gcra", *TAKES[0].split())[0] == 1
    clean.ok("SELECT", 3)
    assert clean.call("RL.RESET", "gcra") == 1 and clean.call("RL.RESET", "gcra") == 0
    clean.ok("SELECT", 15)
    assert clean.call("RL.RESET", "gcra") == 1


def test_one_batch_has_calls_of_many_databases(start):
    """Requests of many connections arrive in one turn of a loop: each is decided in its own database."""
    server = start("--io-threads", "1")
    count = 24
    connections = [server.connect() for _ in range(count)]
    try:
        for number, wire in enumerate(connections):
            if number % 3:
                wire.ok("SELECT", number % 3)
        with server.standing_still():
            for number, wire in enumerate(connections):
                requests = [["INCRBY", "k", 1 + number % 3], ["CL.THROTTLE", "t", 999, 1, 100_000],
                            ["RL.TAKEALL", "a", *TAKES[0].split(), "AND", "b", *TAKES[0].split()], ["GET", "k"]]
                wire.send(b"".join(command(*request) for request in requests))
        replies = [[wire.read() for _ in range(4)] for wire in connections]
        for database in range(3):
            own = replies[database::3]
            step = 1 + database
            assert sorted(row[0] for row in own) == [step * turn for turn in range(1, 9)]
            assert sorted(row[1][2] for row in own) == list(range(992, 1000))
            assert sum(row[2][0] for row in own) == 5
            assert all(int(row[3]) >= row[0] for row in own)
    finally:
        for wire in connections:
            wire.close()


@pytest.mark.parametrize("length", [1, 99, 70_000, 1_000_000])
def test_long_keys_in_batches(wire, length):
    key = b"k" * length
    for database in (0, 2):
        wire.ok("SELECT", database)
        requests = [["INCR", key], ["CL.THROTTLE", key + b"t", 9, 1, 1000], ["GET", key],
                    ["RL.TAKEALL", key + b"a", *TAKES[0].split(), "AND", key + b"b", *TAKES[0].split()]]
        wire.send(b"".join(command(*request) for request in requests))
        sums = [wire.read() for _ in requests]
        assert sums[0] == 1 and sums[1][2] == 9 and sums[2] == b"1" and sums[3][0] == 1
        found = sorted(wire.call("KEYS", "*"), key=len)
        assert [len(name) for name in found] == [length] + [length + 1] * 3
        assert all(name.startswith(key) for name in found), "the client's key, not the stored name"
    wire.ok("FLUSHALL")


def test_check_with_long_names(clean):
    clean.ok("RL.POLICY", "SET", "five", "LIMIT", 5, "PER", "1000s")
    clean.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "five")
    for length in (3, 500, 70_000):
        for database in (0, 1, 2):
            clean.ok("SELECT", database)
            replies = clean.calls(*[["RL.CHECK", "t", "c", b"a" * length]] * 3)
            assert [reply[3] for reply in replies] == [4, 3, 2], (length, database)


# Connections


def test_a_clients_database_is_shown(start):
    server = start("--io-threads", "2")
    with server.connect() as one, server.connect() as other, server.connect() as monitor:
        monitor.ok("MONITOR")
        one.ok("SELECT", 7)
        one.ok("SET", "k", 1)
        assert one.call("INCR", "k") == 2
        assert b" db=7 " in one.call("CLIENT", "INFO") and b" db=0 " in other.call("CLIENT", "INFO")
        lines = other.call("CLIENT", "LIST").splitlines()
        assert sorted(line.split(b" db=")[1].split()[0] for line in lines) == [b"0", b"0", b"7"]
        seen = [monitor.read() for _ in range(4)]
        assert [line.split(b"[")[1].split()[0] for line in seen[:3]] == [b"0", b"7", b"7"]
        assert seen[2].endswith(b'"INCR" "k"')
        # HELLO, AUTH and MULTI's end leave it; RESET does not.
        one.calls("HELLO 3", "HELLO 2", "MULTI", "GET k", "EXEC", "MULTI", "DISCARD")
        assert one.call("GET", "k") == b"2"
        assert one.calls("RESET", "GET k") == [b"RESET", None]
        assert b" db=0 " in one.call("CLIENT", "INFO")


def test_slow_log_and_latency_show_the_clients_key(start):
    server = start("--slowlog-log-slower-than", "0")
    with server.connect() as wire:
        wire.ok("SELECT", 1)
        wire.call("CL.THROTTLE", "key-of-a-client", 9, 1, 1000)
        wire.calls("INCR key-of-a-client-2", "GET key-of-a-client-3")
        words = [word for row in wire.call("SLOWLOG", "GET", 100) for word in row[3]]
        for key in (b"key-of-a-client", b"key-of-a-client-2", b"key-of-a-client-3"):
            assert key in words and b"\x01" + key not in words


def test_number_of_databases_is_a_setting(start):
    server = start("--databases", "256")
    with server.connect() as wire:
        wire.ok("SELECT", 255)
        wire.ok("SET", "k", 1)
        assert wire.call("SELECT", 256) == b"ERR DB index is out of range"
        assert wire.call("CONFIG", "GET", "databases") == [b"databases", b"256"]
        assert isinstance(wire.call("CONFIG", "SET", "databases", 2), ErrorReply)
        assert b"db255:keys=1," in wire.call("INFO", "keyspace")
    with start("--databases", "1").connect() as wire:
        assert wire.call("SELECT", 1) == wire.call("MOVE", "k", 1) == b"ERR DB index is out of range"
        wire.ok("SELECT", 0)


def test_metrics_by_database(start):
    server = start("--enable-debug-command", "yes")
    with server.connect() as wire:
        wire.calls("SET a 1", "SELECT 2", "MSET a 1 b 2", "EXPIRE a 1000")
        text = wire.call("DEBUG", "METRICS").decode()
        for line in ('escapement_database_keys{db="0"} 1', 'escapement_database_keys{db="2"} 2', "escapement_keys 3",
                     "escapement_keys_with_deadline 1"):
            assert line in text.splitlines(), text
        wire.ok("FLUSHALL")
        assert 'escapement_database_keys{db="2"} 0' in wire.call("DEBUG", "METRICS").decode()


def test_iteration_visits_only_the_database(server):
    """A few keys among many of another database: every one is found, once by KEYS."""
    with server.connect() as wire:
        for start in range(0, 20_000, 500):
            wire.ok("MSET", *[word for n in range(start, start + 500) for word in (f"many-{n}", n)])
        wire.ok("SELECT", 4)
        names = {b"few-%d" % n for n in range(20)}
        for name in names:
            wire.ok("SET", name, 1)
        found, cursor, calls = set(), b"0", 0
        while True:
            cursor, keys = wire.call("SCAN", cursor)
            found.update(keys)
            calls += 1
            if cursor == b"0":
                break
        # Shards without a key of the database, and most keys of others, take no call of their own.
        assert found == names and calls < 400, calls
        assert sorted(wire.call("KEYS", "*")) == sorted(names) and wire.call("RANDOMKEY") in names
        wire.ok("FLUSHDB")
        assert wire.call("RANDOMKEY") is None and wire.call("SCAN", 0) == [b"0", []]
        wire.ok("SELECT", 0)
        assert wire.call("DBSIZE") == 20_000
        wire.ok("FLUSHALL")


def test_flushing_a_database_is_atomic(start):
    """Other connections see all keys of the database or none of them, and those of other databases all the time."""
    server = start("--io-threads", "2")
    names = [f"k{n}" for n in range(50)]
    stop, seen, problems = threading.Event(), set(), []

    def watch():
        with server.connect() as wire:
            wire.ok("SELECT", 1)
            while not stop.is_set():
                count = wire.call("EXISTS", *names)
                seen.add(count)
                if count not in (0, 50):
                    problems.append(count)

    with server.connect() as wire:
        pairs = [word for name in names for word in (name, 1)]
        wire.ok("MSET", *pairs)
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            wire.ok("SELECT", 1)

            def flush_again():
                wire.ok("MSET", *pairs)
                wire.ok("FLUSHDB")
                return len(seen) == 2

            eventually(flush_again, "the other connection has seen the keys, and none of them")
        finally:
            stop.set()
            thread.join()
        assert not problems
        wire.ok("SELECT", 0)
        assert wire.call("EXISTS", *names) == 50


def test_redis_py_with_a_url(server):
    redis = pytest.importorskip("redis")
    clients = [redis.Redis.from_url(f"redis://127.0.0.1:{server.port}/{number}") for number in (0, 1, 2)]
    for number, client in enumerate(clients):
        assert client.incrby("redis-py", number + 1) == number + 1
        with client.pipeline(transaction=True) as pipe:
            assert pipe.incr("redis-py").get("redis-py").execute() == [number + 2, str(number + 2).encode()]
        assert list(client.scan_iter()) == [b"redis-py"] and client.dbsize() == 1
        with client.pipeline() as pipe:
            pipe.watch("redis-py")
            clients[(number + 1) % 3].incr("redis-py", 0)
            pipe.multi()
            pipe.get("redis-py")
            assert pipe.execute() == [str(number + 2).encode()], "another database's key is not watched"
    assert clients[1].move("redis-py", 5) and clients[1].dbsize() == 0
    assert set(clients[0].info("keyspace")) == {"db0", "db2", "db5"}
    clients[0].flushall()


# Disk and replication


FILLED = ["SET k 1", "CL.THROTTLE t 9 1 100000", "SELECT 1", "SET k 2 EX 100000", "CL.THROTTLE t 9 1 100000 2",
          "RL.TAKE once LIMIT 5 PER 1d ID token", "RL.TAKE log LIMIT 50 PER 10d ALGO sliding-log COST 3", "SET gone 1",
          "DEL gone", "SELECT 9", "SET flushed 1", "FLUSHDB", "SET k 3", "SET moved 4", "MOVE moved 2", "SELECT 3",
          "SET flushed 1", "RL.TAKE once LIMIT 5 PER 1d ID token", "FLUSHDB", "SELECT 0"]


def fill(wire):
    assert not [reply for reply in wire.calls(*FILLED) if isinstance(reply, ErrorReply)]


def shown(wire, takes_again=False):
    """What a client finds in each database."""
    found = []
    for database in (0, 1, 2, 3, 9):
        wire.ok("SELECT", database)
        found.append((database, sorted(wire.call("KEYS", "*")), wire.call("DBSIZE"), wire.call("GET", "k"),
                      wire.call("GET", "moved"), wire.call("CL.THROTTLE", "t", 9, 1, 100_000, 0)[2],
                      wire.call("RL.PEEK", "log", *"LIMIT 50 PER 10d ALGO sliding-log".split())[3],
                      wire.call("EXPIRETIME", "k")))
        if takes_again:
            # The same reply as the first time in database 1; the answer in database 3 was flushed.
            found.append(wire.call("RL.PEEK", "once", *"LIMIT 5 PER 1d".split())[3])
    wire.ok("SELECT", 0)
    return found


EXPECTED_KEYS = {b"k", b"t", (1, b"k"), (1, b"t"), (1, b"once"), (1, b"log"), (9, b"k"), (2, b"moved")}


def test_a_crash_keeps_databases_apart(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        fill(wire)
        before = shown(wire, takes_again=True)
    server.crash()
    contents = read_contents(server.files)
    assert set(contents.keys) == EXPECTED_KEYS and set(contents.answers) == {((1, b"once"), b"token")}
    assert 0x87 in contents.met
    for snapshot in (False, True):
        server = launch(*ALWAYS)
        with server.connect() as wire:
            assert shown(wire, takes_again=True) == before
            if snapshot:
                wire.ok("SAVE")
        server.crash()
    assert set(read_contents(server.files, with_logs=False).keys) == EXPECTED_KEYS
    status, output = run_to_end("check", server.directory, cwd=server.directory)
    assert status == 0, output
    status, output = run_to_end("dump", server.directory, cwd=server.directory)
    assert status == 0, output
    rows = [json.loads(line) for line in output.splitlines()]
    states = {(row.get("db", 0), row.get("key")) for row in rows if row.get("type") == "state"}
    assert {(0, "k"), (1, "k"), (9, "k"), (2, "moved"), (1, "log")} <= states
    with launch(*ALWAYS).connect() as wire:
        assert shown(wire, takes_again=True) == before
        wire.ok("SELECT", 1)
        assert wire.call("RL.TAKE", "once", *"LIMIT 5 PER 1d ID token".split())[3] == 4, "the first answer"
        wire.ok("SELECT", 3)
        assert wire.call("RL.TAKE", "once", *"LIMIT 5 PER 1d ID token".split())[3] == 4
        assert wire.call("RL.PEEK", "once", *"LIMIT 5 PER 1d".split())[3] == 4


def test_only_database_0_writes_what_it_always_did(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        wire.calls("SET k 1", "RL.TAKE once LIMIT 5 PER 1d ID token", "DEL k", "SET k 2", "FLUSHDB", "SET k 3", "FLUSHALL",
                   "SET k 4")
    server.crash()
    contents = read_contents(server.files)
    assert contents.met <= {0, 1, 2, 6, 0x81} and set(contents.keys) == {b"k"}


def test_flush_at_any_moment(launch):
    """Killed at random during flushes of one database: all keys of a round are there, or none, never another round's."""
    server = launch(*ALWAYS)
    with server.connect() as wire:
        wire.ok("MSET", *[word for n in range(200) for word in (f"k{n}", "0")])
    for kill in range(4):
        done = threading.Event()

        def work():
            try:
                with server.connect() as wire:
                    wire.ok("SELECT", 1)
                    for turn in range(1, 100_000):
                        value = turn + 100_000 * kill
                        wire.ok("MSET", *[word for n in range(30) for word in (f"k{n}", value)])
                        if turn == 5:
                            done.set()
                        wire.ok("FLUSHDB")
            except (AssertionError, OSError):
                pass

        thread = threading.Thread(target=work)
        thread.start()
        assert done.wait(60)
        server.crash()
        thread.join()
        server = launch(*ALWAYS)
        with server.connect() as wire:
            assert wire.call("DBSIZE") == 200 and wire.call("GET", "k199") == b"0"
            wire.ok("SELECT", 1)
            values = set(wire.call("MGET", *[f"k{n}" for n in range(30)]))
            assert len(values) == 1, values
            wire.ok("FLUSHDB")


def test_fewer_databases_keep_the_keys_of_the_others(launch):
    server = launch(*ALWAYS)
    with server.connect() as wire:
        wire.calls("SELECT 9", "SET k 3")
    server.crash()
    server = launch(*ALWAYS, "--databases", "4")
    server.wait_log("keys in databases beyond the setting `databases`")
    with server.connect() as wire:
        assert wire.call("SELECT", 9) == b"ERR DB index is out of range"
        assert b"db9:keys=1," in wire.call("INFO", "keyspace")
    server.crash()
    with launch(*ALWAYS).connect() as wire:
        assert wire.calls("SELECT 9", "GET k") == [b"OK", b"3"]


def test_a_replica_has_the_same_databases(nodes):
    primary, replica = pair(nodes)
    with primary.connect() as wire:
        fill(wire)
        before = shown(wire, takes_again=True)
    wait_same_offset(primary, replica)
    with replica.connect() as wire:
        assert shown(wire, takes_again=True) == before
        wire.ok("SELECT", 1)
        assert wire.call("SET", "k", 5).startswith(b"READONLY") and wire.call("INCR", "k").startswith(b"READONLY")
    # A replica that receives the whole state.
    late = nodes("late", of=primary)
    late.wait_link()
    wait_same_offset(primary, late)
    with late.connect() as wire:
        assert shown(wire, takes_again=True) == before
    primary.crash()
    replica.lead()
    with replica.connect() as wire:
        assert shown(wire, takes_again=True) == before
        wire.ok("SELECT", 1)
        assert wire.call("INCR", "k") == 3
        assert wire.call("RL.TAKE", "once", *"LIMIT 5 PER 1d ID token".split())[3] == 4
