"""INFO, COMMAND, MONITOR, SLOWLOG, LATENCY, MEMORY, OBJECT and SCAN: the formats that tools rely on."""

import re
import threading
import time

import pytest
from redis._parsers.helpers import parse_info

from wire import PATIENCE, ErrorReply, MapReply, SetReply, Simple, Verbatim, command, eventually

DEFAULT_SECTIONS = [
    "Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Errorstats", "Cluster"]


def info_sections(text):
    """Parses strictly: `# Name`, lines `name:value`, an empty line between sections, CR LF everywhere."""
    sections = {}
    assert "\n" not in text.replace("\r\n", "")
    for block in text.rstrip("\r\n").split("\r\n\r\n"):
        title, *lines = block.split("\r\n")
        assert re.fullmatch(r"# [A-Z][A-Za-z]+", title), title
        fields = {}
        for line in lines:
            name, value = line.split(":", 1)
            assert re.fullmatch(r"[A-Za-z0-9_.|-]+", name), line
            assert name not in fields, f"{name} twice"
            fields[name] = value
        sections[title[2:]] = fields
    return sections


def info(connection, *sections):
    """The fields of all sections in one dictionary."""
    text = connection.call("INFO", *sections).decode()
    return {k: v for fields in info_sections(text).values() for k, v in fields.items()} if text else {}


def test_info_sections(wire):
    sections = info_sections(wire.call("INFO").decode())
    assert [s for s in sections if s in DEFAULT_SECTIONS] == DEFAULT_SECTIONS
    assert "Limiter" in sections and "Commandstats" not in sections
    everything = info_sections(wire.call("INFO", "everything").decode())
    assert {"Commandstats", "Latencystats"} <= set(everything)
    assert list(info_sections(wire.call("INFO", "clients", "SERVER").decode())) in (["Server", "Clients"],
                                                                                  ["Clients", "Server"])


def test_info_for_libraries(wire):
    wire.calls("FOO", "CL.THROTTLE k 9 1 1000", "PING", "SET counter 1 EX 1000")
    parsed = parse_info(wire.call("INFO", "everything"))
    assert re.fullmatch(r"7\.\d+\.\d+", parsed["redis_version"]) and "escapement_version" in parsed
    assert parsed["redis_mode"] == "standalone" and parsed["role"] == "master" and parsed["connected_slaves"] == 0
    assert parsed["loading"] == 0 and parsed["cluster_enabled"] == 0
    assert re.fullmatch(r"[0-9a-f]{40}", parsed["run_id"])
    assert parsed["db0"]["keys"] == 2 and parsed["db0"]["expires"] == 1 and parsed["db0"]["avg_ttl"] > 900_000
    assert parsed["cmdstat_cl.throttle"]["calls"] >= 1 and parsed["errorstat_ERR"]["count"] >= 1
    assert set(parsed["cmdstat_ping"]) == {"calls", "usec", "usec_per_call", "rejected_calls", "failed_calls"}
    for name in ("uptime_in_seconds", "connected_clients", "blocked_clients", "maxclients", "used_memory",
                 "used_memory_rss", "used_memory_peak", "maxmemory", "total_connections_received",
                 "total_commands_processed", "instantaneous_ops_per_sec", "rejected_connections", "expired_keys",
                 "evicted_keys", "keyspace_hits", "keyspace_misses", "pubsub_channels", "pubsub_patterns",
                 "rdb_bgsave_in_progress", "aof_rewrite_in_progress", "master_repl_offset", "tcp_port", "process_id"):
        assert isinstance(parsed[name], (int, float)), f"{name}: {parsed.get(name)!r}"
    assert parsed["executable"].startswith("/")


def test_info_supports_substring_searches(wire):
    """redis-cli --stat uses the first occurrence of a bare name; HAProxy searches for role:master anywhere."""
    text = wire.call("INFO").decode()
    for name in ("used_memory", "connected_clients", "blocked_clients", "total_commands_processed",
                 "total_connections_received", "rdb_bgsave_in_progress", "aof_rewrite_in_progress", "loading"):
        assert text[text.index(name):].startswith(name + ":"), name
    assert text.count("role:master") == 1 and "cluster_enabled:1" not in text
    assert "db0:" not in text, "an empty database is omitted"


def test_info_in_resp3_is_verbatim(wire):
    wire.hello3()
    assert isinstance(wire.call("INFO"), Verbatim) and isinstance(wire.call("CLIENT", "LIST"), Verbatim)


def test_info_counts(server, wire):
    before = info(wire)
    wire.calls("PING", "PING", "FOO", *["CL.THROTTLE k 1 1 1000"] * 5, "CL.THROTTLE fresh 0 1 1000 0")
    after = info(wire)

    def grown(name):
        return int(after[name]) - int(before[name])

    assert grown("total_commands_processed") >= 9
    with server.connect() as other:
        other.call("PING")  # accepted, not just queued in the kernel
        now = info(wire)
        assert int(now["connected_clients"]) >= 2
        assert int(now["total_connections_received"]) > int(before["total_connections_received"])
    limiter = info_sections(wire.call("INFO", "limiter").decode())["Limiter"]
    assert all(re.fullmatch(r"-?\d+(\.\d+)?", value) for value in limiter.values()), limiter
    named = {kind: [name for name in limiter if kind in name] for kind in ("allowed", "denied", "keys", "expired",
                                                                          "evicted", "shards")}
    assert all(named.values()), named
    assert grown(named["denied"][0]) == 3 and grown(named["allowed"][0]) in (2, 3)


def top_level(wire):
    """COMMAND LIST without the subcommands, which Redis also lists."""
    return sorted(name.decode() for name in wire.call("COMMAND", "LIST") if b"|" not in name)


def test_command_entries(wire):
    entries = wire.call("COMMAND")
    assert wire.call("COMMAND", "COUNT") == len(entries) > 50
    names = [e[0].decode() for e in entries]
    assert len(set(names)) == len(names) and sorted(names) == top_level(wire)

    def check(entry, prefix=""):
        assert len(entry) == 10
        name, arity, flags, first, last, step, categories, tips, specs, subcommands = entry
        assert isinstance(name, bytes) and name == name.lower() and name.decode().startswith(prefix)
        assert all(isinstance(n, int) for n in (arity, first, last, step)) and arity != 0
        assert all(isinstance(f, Simple) for f in flags + categories)
        assert all(c.startswith(b"@") for c in categories) and isinstance(tips, list) and isinstance(specs, list)
        for subcommand in subcommands:
            check(subcommand, name.decode() + "|")

    for entry in entries:
        check(entry)
    (throttle,) = wire.call("COMMAND", "INFO", "cl.throttle")
    assert throttle[0] == b"cl.throttle" and throttle[1] == -5 and throttle[3:6] == [1, 1, 1]
    assert set(throttle[2]) == {b"write", b"denyoom", b"fast"}
    assert len(wire.call("COMMAND", "INFO", "get", "CL.THROTTLE", "client|list")) == 3
    wire.hello3()
    (throttle,) = wire.call("COMMAND", "INFO", "cl.throttle")
    assert all(isinstance(throttle[i], SetReply) for i in (2, 6)), "flags and categories are sets"


def check_docs(name, entry):
    """What redis-cli asserts, and aborts on."""
    for key, value in entry:
        assert type(key) is bytes, key
        if key in (b"summary", b"since", b"group", b"complexity"):
            assert type(value) is bytes, (name, key)
        elif key == b"arguments":
            for argument in value:
                check_argument(name, argument)
        elif key == b"subcommands":
            for sub, docs in value:
                assert type(sub) is bytes and b"|" in sub
                check_docs(sub, docs)
    assert {b"summary", b"since", b"group"} <= {k for k, _ in entry}, name


TYPES = {b"key", b"string", b"integer", b"double", b"pattern", b"unix-time", b"pure-token", b"oneof", b"block"}


def check_argument(name, argument):
    fields = dict(argument)
    assert type(fields[b"name"]) is bytes and fields[b"type"] in TYPES, (name, fields)
    assert (b"arguments" in fields) == (fields[b"type"] in (b"oneof", b"block")), (name, fields)
    assert all(isinstance(f, Simple) and f in (b"optional", b"multiple", b"multiple_token")
               for f in fields.get(b"flags", []))
    for inner in fields.get(b"arguments", []):
        check_argument(name, inner)


def pairs(flat):
    """The RESP2 form of a map."""
    assert type(flat) is list and len(flat) % 2 == 0
    return MapReply(zip(flat[::2], flat[1::2]))


def test_command_docs(wire):
    flat = pairs(wire.call("COMMAND", "DOCS"))
    wire.hello3()
    docs = wire.call("COMMAND", "DOCS")
    assert isinstance(docs, MapReply) and [k for k, _ in docs] == [k for k, _ in flat]
    for name, entry in docs:
        assert type(name) is bytes and isinstance(entry, MapReply)
        check_docs(name, entry)
    assert sorted(k.decode() for k, _ in docs) == top_level(wire)
    arguments = [dict(a) for a in docs[b"cl.throttle"][b"arguments"]]
    assert len(arguments) == 5 and arguments[0][b"type"] == b"key" and arguments[4][b"flags"] == [b"optional"]
    assert [k for k, _ in wire.call("COMMAND", "DOCS", "PING", "nosuch")] == [b"ping"]


def test_no_command_kills_the_server(server):
    """Each command of the table with 0 to 6 odd arguments: always a reply, and the connection stays open."""
    with server.connect() as wire:
        names = top_level(wire)
    unsafe = {
        "shutdown", "quit", "monitor", "subscribe", "psubscribe", "ssubscribe", "client", "debug", "config", "reset",
        "psync"}  # the connection becomes a replica's
    for name in sorted(set(names) - unsafe):
        with server.connect() as wire:
            for count in range(7):
                for argument in (b"", b"0", b"-1", b"*", b"9223372036854775807", b"\xff\r\n"):
                    wire.send(command(name, *[argument] * count) + command("RESET") + command("ECHO", "mark"))
                    for _ in range(100):
                        if wire.read() == b"mark":
                            break
                    else:
                        pytest.fail(f"{name} with {count} of {argument!r} never stops replying")


def test_monitor(server, wire):
    with server.connect() as monitor:
        monitor.ok("MONITOR")
        wire.send(command("ECHO", b'a b"c\\\r\n\t\x01\xff'))
        wire.read()
        wire.calls("CL.THROTTLE k 1 1 1000", "AUTH hunter2", "AUTH default hunter3", "HELLO 2 AUTH default hunter4",
                   "CONFIG GET nosuch", "MULTI", "ECHO inside", "EXEC", "FOO", "ECHO last")
        lines = []
        while not lines or '"last"' not in lines[-1]:
            lines.append(monitor.read().decode("latin-1"))
        for line in lines:
            assert re.match(r'\d{10}\.\d{6} \[0 127\.0\.0\.1:\d+\] "', line), line
        text = "\n".join(line.split("] ", 1)[1] for line in lines)
        assert text.splitlines()[0] == r'"ECHO" "a b\"c\\\r\n\t\x01\xff"'
        assert '"CL.THROTTLE" "k" "1" "1" "1000"' in text
        assert "hunter" not in text and '"(redacted)"' in text
        assert "nosuch" not in text, "administrative commands are not shown"
        assert text.count('"ECHO" "inside"') == 1


def test_monitor_sees_every_loop(server):
    others = [server.connect() for _ in range(6)]
    with server.connect() as monitor:
        monitor.ok("MONITOR")
        for index, other in enumerate(others):
            other.call("ECHO", f"from {index}")
        seen = {monitor.read().decode().split('"')[3] for _ in others}
        assert seen == {f"from {i}" for i in range(len(others))}
    for other in others:
        other.close()


def test_slowlog(wire):
    began = time.time()
    try:
        wire.ok("CONFIG", "SET", "slowlog-log-slower-than", 0, "slowlog-max-len", 5)
        wire.ok("CLIENT", "SETNAME", "slow")
        wire.ok("SLOWLOG", "RESET")
        wire.call("ECHO", "x" * 200)
        wire.call("EXISTS", *[f"k{i}" for i in range(50)])
        wire.call("AUTH", "hunter2")
        entries = wire.call("SLOWLOG", "GET", -1)
        assert [e[0] for e in entries] == sorted((e[0] for e in entries), reverse=True)
        for entry in entries:
            assert len(entry) == 6 and all(isinstance(n, int) for n in entry[:3]) and entry[2] >= 0
            assert int(began) <= entry[1] <= time.time()
            assert entry[4].startswith(b"127.0.0.1:") and entry[5] == b"slow"
        by_name = {e[3][0]: e[3] for e in entries}
        assert by_name[b"ECHO"][1] == b"x" * 128 + b"... (72 more bytes)"
        assert len(by_name[b"EXISTS"]) == 32 and by_name[b"EXISTS"][31] == b"... (20 more arguments)"
        assert b"hunter2" not in str(entries).encode()
        for _ in range(10):
            wire.call("PING")
        assert wire.call("SLOWLOG", "LEN") == 5 and len(wire.call("SLOWLOG", "GET", 3)) == 3
        wire.ok("CONFIG", "SET", "slowlog-log-slower-than", -1)
        wire.ok("SLOWLOG", "RESET")
        wire.call("PING")
        assert wire.call("SLOWLOG", "GET") == []
    finally:
        wire.ok("CONFIG", "SET", "slowlog-log-slower-than", 10_000, "slowlog-max-len", 128)


def test_latency_histogram(wire):
    wire.ok("CONFIG", "RESETSTAT")
    wire.calls(*["CL.THROTTLE k 1 1 1000"] * 50)
    wire.hello3()
    histogram = wire.call("LATENCY", "HISTOGRAM", "cl.throttle", "nosuch")
    assert [k for k, _ in histogram] == [b"cl.throttle"]
    entry = histogram[b"cl.throttle"]
    assert [k for k, _ in entry] == [b"calls", b"histogram_usec"] and entry[b"calls"] == 50
    buckets = entry[b"histogram_usec"]
    assert all(isinstance(limit, int) and limit & (limit - 1) == 0 for limit, _ in buckets)
    limits, counts = [b for b, _ in buckets], [c for _, c in buckets]
    assert limits == sorted(set(limits)) and counts == sorted(counts) and counts[-1] == 50
    assert b"cl.throttle" in [k for k, _ in wire.call("LATENCY", "HISTOGRAM")]


def test_memory_and_object(wire):
    wire.call("CL.THROTTLE", "k", 1, 1, 1000)
    assert 8 < wire.call("MEMORY", "USAGE", "k") < 1000
    assert wire.call("MEMORY", "USAGE", "k", "SAMPLES", 0) == wire.call("MEMORY", "USAGE", "k")
    wire.call("CL.THROTTLE", "x" * 5000, 1, 1, 1000)
    assert wire.call("MEMORY", "USAGE", "x" * 5000) >= 5000
    assert isinstance(wire.call("OBJECT", "ENCODING", "k"), bytes)
    assert wire.call("OBJECT", "REFCOUNT", "k") == 1
    assert isinstance(wire.call("TYPE", "k"), Simple)


def scan(wire, *options):
    cursor, found = b"0", []
    for _ in range(100_000):
        cursor, keys = wire.call("SCAN", cursor, *options)
        found += keys
        if cursor == b"0":
            return found
    pytest.fail("SCAN does not finish")


@pytest.mark.parametrize("count", [1, 10, 1000, 100_000])
def test_scan_finds_every_key(wire, count):
    keys = {b"key:%d" % i for i in range(3000)}
    wire.send(b"".join(command("CL.THROTTLE", k, 1, 1, 10_000) for k in sorted(keys)))
    for _ in keys:
        wire.read()
    assert set(scan(wire, "COUNT", count)) == keys
    assert set(scan(wire, "MATCH", "key:1??", "COUNT", count)) == {b"key:%d" % i for i in range(100, 200)}
    kind = wire.call("TYPE", "key:1")
    assert set(scan(wire, "TYPE", kind, "COUNT", count)) == keys
    assert scan(wire, "TYPE", "zset", "COUNT", count) == []
    assert set(wire.call("KEYS", "key:29?9")) == {b"key:%d" % i for i in range(2909, 3000, 10)}
    assert wire.call("RANDOMKEY") in keys and wire.call("DBSIZE") == 3000


def test_scan_while_keys_come_and_go(server, wire):
    """Keys that exist throughout are found, although the table grows and shrinks in the meantime."""
    stop = threading.Event()
    keys = {b"stays:%d" % i for i in range(2000)}
    wire.send(b"".join(command("CL.THROTTLE", k, 1, 1, 10_000) for k in keys))
    for _ in keys:
        wire.read()

    def churn():
        with server.connect() as connection:
            turn = 0
            while not stop.is_set():
                batch = [b"passing:%d:%d" % (turn, i) for i in range(2000)]
                connection.send(b"".join(command("CL.THROTTLE", k, 1, 1, 10_000) for k in batch))
                for _ in batch:
                    connection.read()
                if turn % 3 == 2:
                    for old in range(turn - 2, turn + 1):
                        connection.call("DEL", *[b"passing:%d:%d" % (old, i) for i in range(2000)])
                turn += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            found = scan(wire, "MATCH", "stays:*", "COUNT", 100)
            assert set(found) == keys
    finally:
        stop.set()
        thread.join(PATIENCE)


def test_time(wire):
    began = time.time()
    seconds, micros = wire.call("TIME")
    assert int(began) <= int(seconds) <= time.time() and 0 <= int(micros) < 1_000_000


def test_debug_sleep(start):
    server = start("--enable-debug-command", "yes")
    with server.connect() as wire:
        begin = time.monotonic()
        wire.ok("DEBUG", "SLEEP", "0.2")
        assert time.monotonic() - begin >= 0.2


def test_replication_is_refused_by_name(wire):
    """Unsupported features are an error, never a pretence."""
    for line in ("SYNC", "CLIENT TRACKING ON", "CLIENT CACHING YES"):
        assert isinstance(wire.call(*line.split()), ErrorReply), line
    eventually(lambda: wire.call("PING") == b"PONG", "the connection stays open")


def test_failed_limiter_calls_are_counted(start):
    server = start()
    with server.connect() as wire:
        for arguments in (["k", 1, 0, 60], ["k", "x", 1, 60], ["k", 1, 1, 60]):
            wire.call("CL.THROTTLE", *arguments)
        line = next(line for line in wire.call("INFO", "commandstats").split(b"\r\n") if b"cl.throttle" in line)
        assert b"calls=3," in line and b"failed_calls=2" in line, line
        assert b"errorstat_ERR:count=2" in wire.call("INFO", "errorstats")
