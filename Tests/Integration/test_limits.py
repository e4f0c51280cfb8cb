"""RL.*: limits with every algorithm, policies, rules, all-or-nothing takes, and their durability. Periods are long and
calls are sent in one write, so that expectations do not depend on the speed of the machine."""

import threading

import pytest
import redis

from clock import milliseconds
from wire import PATIENCE, ErrorReply, MapReply, command, eventually

HOUR = 3_600_000
ALGORITHMS = ["gcra", "token-bucket", "fixed-window", "sliding-window", "sliding-log"]
NAMES = [b"allowed", b"granted", b"limit", b"remaining", b"retry_after_ms", b"reset_after_ms"]


def test_until_denied(wire):
    left = milliseconds()
    replies = wire.calls(*["RL.TAKE k LIMIT 3 PER 1h"] * 4)
    assert [r[:4] for r in replies] == [[1, 1, 3, 2], [1, 1, 3, 1], [1, 1, 3, 0], [0, 0, 3, 0]]
    assert replies[0][4:] == [-1, HOUR // 3]
    assert replies[3][4:] == [left(HOUR // 3), left(HOUR)]


def test_milliseconds_are_rounded_up(wire):
    """A third of a millisecond per unit: one is 1 ms, three are 1 ms, four are 2 ms."""
    for cost, reset in [(1, 1), (3, 1), (4, 2), (3000, 1000)]:
        assert wire.call("RL.TAKE", f"k{cost}", "LIMIT", 3000, "PER", "1s", "COST", cost)[5] == reset


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm(wire, algo):
    take = f"RL.TAKE k ALGO {algo} LIMIT 5 PER 1d"
    replies = wire.calls(f"{take} COST 3", f"RL.PEEK k ALGO {algo} LIMIT 5 PER 1d COST 3", f"{take} COST 3",
                         f"{take} COST 3 ATMOST", f"{take} COST 6", f"RL.REFUND k ALGO {algo} LIMIT 5 PER 1d COST 9",
                         "EXISTS k", "RL.RESET k")
    assert [r[:4] for r in replies[:6]] == [
        [1, 3, 5, 2], [0, 0, 5, 2], [0, 0, 5, 2], [1, 2, 5, 0], [0, 0, 5, 0], [1, 5, 5, 5]]
    assert replies[4][4] == -1, "six never fit"
    assert replies[5][5] == 0 and replies[6:] == [0, 0], "refunded, so there is no key"
    assert wire.call(*take.split())[0] == 1
    kind = wire.call("TYPE", "k").decode()
    assert kind == ("gcra" if algo == "token-bucket" else algo)
    assert wire.calls("RL.RESET k", "RL.RESET k") == [1, 0]


def test_another_algorithm_on_a_key_names_both(wire):
    wire.call(*"RL.TAKE k LIMIT 5 PER 1h ALGO sliding-log".split())
    for line in ["RL.TAKE k LIMIT 5 PER 1h", "RL.PEEK k LIMIT 5 PER 1h", "RL.REFUND k LIMIT 5 PER 1h"]:
        reply = wire.call(*line.split())
        assert isinstance(reply, ErrorReply) and reply.startswith(b"WRONGTYPE ")
        assert b"sliding-log" in reply and b"gcra" in reply
    reply = wire.call("INCR", "k")
    assert reply.startswith(b"WRONGTYPE ") and b"sliding-log" in reply and b"counter" in reply
    reply = wire.call(*"CL.THROTTLE k 1 1 1".split())
    assert reply.startswith(b"WRONGTYPE ") and b"sliding-log" in reply and b"gcra" in reply
    wire.call("SET", "n", 5)
    reply = wire.call(*"RL.TAKE n LIMIT 5 PER 1h".split())
    assert b"counter" in reply and b"gcra" in reply
    assert wire.call("RL.RESET", "n").startswith(b"WRONGTYPE ") and wire.call("GET", "n") == b"5"


def test_an_argument_out_of_range_is_named(wire):
    """A time that cannot be represented: the error names the argument that causes it."""
    replies = wire.calls("RL.TAKE k LIMIT 1 PER 1d BURST 100000 COST 100000",
                         f"RL.TAKE k LIMIT 1 PER {2**63 // 10**9 - 1} ALGO sliding-log")
    assert [r.split(b":")[0] for r in replies] == [b"ERR COST is out of range", b"ERR PER is out of range"]
    name = b"n" * 700_000
    assert isinstance(wire.call("RL.TAKE", name, *"LIMIT 1 PER 1h ID t".split()), list)
    assert wire.call("EXISTS", "k") == 0


def test_gcra_and_throttle_share_their_state(wire):
    assert wire.calls("CL.THROTTLE k 4 5 3600", "RL.TAKE k LIMIT 5 PER 1h", "CL.THROTTLE k 4 5 3600 0") == [
        [0, 5, 4, -1, 720], [1, 1, 5, 3, -1, 2 * 720_000], [0, 5, 3, -1, 1440]]


def test_peek_changes_nothing(wire):
    assert wire.calls("RL.PEEK k LIMIT 5 PER 1h COST 2", "EXISTS k") == [[1, 2, 5, 5, -1, 0], 0]


def test_resp3_has_names(wire):
    wire.hello3()
    for line in ["RL.TAKE k LIMIT 5 PER 1h", "RL.PEEK k LIMIT 5 PER 1h", "RL.REFUND k LIMIT 5 PER 1h"]:
        reply = wire.call(*line.split())
        assert isinstance(reply, MapReply) and [name for name, _ in reply] == NAMES
    reply = wire.call(*"RL.TAKEALL a LIMIT 1 PER 1h AND b LIMIT 1 PER 1h COST 2".split())
    assert [name for name, _ in reply] == [b"allowed", b"granted", b"refused", b"retry_after_ms", b"limits"]
    assert reply["refused".encode()] == b"a" and [n for n, _ in reply[b"limits"][0]] == NAMES
    wire.ok(*"RL.POLICY SET p LIMIT 1 PER 1h MODE shadow".split())
    assert isinstance(wire.call("RL.POLICY", "GET", "p"), MapReply)
    reply = wire.calls("RL.TAKE s POLICY p", "RL.TAKE s POLICY p")[1]
    assert [name for name, _ in reply] == NAMES + [b"note"] and reply[b"note"] == b"shadow"
    assert wire.call("RL.POLICY", "DEL", "p") == 1


def test_a_retry_counts_once(wire):
    first, again, other, key = wire.calls(
        "RL.TAKE k LIMIT 5 PER 1h ID a", "RL.TAKE k LIMIT 5 PER 1h ID a", "RL.TAKE k LIMIT 5 PER 1h ID b",
        "RL.TAKE k2 LIMIT 5 PER 1h ID a")
    assert first == again and first[3] == 4 and other[3] == 3 and key[3] == 4


def test_the_number_of_tokens_is_bounded(start):
    server = start("--idempotency-tokens-max", "2")
    with server.connect() as wire:
        replies = wire.calls(*[f"RL.TAKE k LIMIT 9 PER 1h ID {n}" for n in "abca"])
        assert [isinstance(r, ErrorReply) for r in replies] == [False, False, True, False]
        assert b"ID" in replies[2] and b"idempotency-tokens-max" in replies[2]
        assert wire.call(*"RL.PEEK k LIMIT 9 PER 1h".split())[3] == 7
        wire.ok("CONFIG", "SET", "idempotency-tokens-max", "3")
        assert wire.call(*"RL.TAKE k LIMIT 9 PER 1h ID c".split())[3] == 6
        info = wire.call("INFO", "limiter")
        assert b"limiter_tokens:3\r\n" in info and b"limiter_repeated_answers:1\r\n" in info
        assert b"limiter_tokens_refused:1\r\n" in info


def test_a_token_is_forgotten_after_the_window(start):
    with start("--idempotency-window", "1").connect() as wire:
        wire.call(*"RL.TAKE k LIMIT 9 PER 1h ID a".split())
        eventually(lambda: wire.call(*"RL.TAKE k LIMIT 9 PER 1h ID a".split())[3] == 7, "the token is forgotten")


# All or nothing


def test_take_all(wire):
    line = "RL.TAKEALL a LIMIT 10 PER 1h AND b LIMIT 2 PER 1h ALGO fixed-window AND c LIMIT 3 PER 1h ALGO sliding-log"
    first, denied, after = wire.calls(line + " COST 2", line + " COST 2", "RL.PEEK a LIMIT 10 PER 1h")
    assert first[:4] == [1, 2, None, -1] and [r[:4] for r in first[4]] == [[1, 2, 10, 8], [1, 2, 2, 0], [1, 2, 3, 1]]
    assert denied[:3] == [0, 0, b"b"] and [r[0] for r in denied[4]] == [1, 0, 0]
    assert denied[3] == max(row[4] for row in denied[4]), "the longest wait"
    assert after[3] == 8, "nothing was taken"


@pytest.mark.parametrize("line, text", [
    ("a LIMIT 1 PER 1h AND a LIMIT 2 PER 1h", b"ERR limits 1 and 2 have the same key"),
    ("a LIMIT 1 PER 1h AND", b"ERR AND needs a key"),
    ("a LIMIT 1 PER 1h AND b", b"ERR a limit is missing"),
    ("a LIMIT 1 PER 1h COST 1 AND b LIMIT 1 PER 1h COST 1", b"ERR COST is given twice"),
    ("a LIMIT 1 PER 1h ID x", b"ERR syntax error near 'ID'"),
    (" AND ".join(f"k{n} LIMIT 1 PER 1h" for n in range(129)), b"ERR at most 128 limits"),
])
def test_take_all_refuses(wire, line, text):
    assert wire.call(*f"RL.TAKEALL {line}".split()).startswith(text)
    assert wire.call("DBSIZE") == 0


def test_take_all_of_the_wrong_kind_takes_nothing(wire):
    wire.call("SET", "b", 1)
    reply = wire.call(*"RL.TAKEALL a LIMIT 1 PER 1h AND b LIMIT 1 PER 1h".split())
    assert reply.startswith(b"WRONGTYPE ") and reply.endswith(b"(limit 2)")
    assert wire.call("EXISTS", "a") == 0


def test_take_all_is_atomic(server):
    """Clients on all loops compete for pairs of keys, each with room for one take, named in either order: exactly one
    client gets each pair, and the units missing from a key are those that they took."""
    clients, rounds, part = 6, 3000, 100
    won = [[] for _ in range(clients)]
    barrier = threading.Barrier(clients)

    def work(number):
        with server.connect() as wire:
            for start in range(0, rounds, part):
                requests = []
                for turn in range(start, start + part):
                    pair = [f"a{turn} LIMIT 1 PER 1d", f"b{turn} LIMIT 1 PER 1d ALGO sliding-window"]
                    requests.append("RL.TAKEALL " + " AND ".join(pair[::-1] if number % 2 else pair))
                barrier.wait(timeout=PATIENCE)
                won[number] += [reply[0] for reply in wire.calls(*requests)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(w) for w in won] == [rounds] * clients
    assert all(sum(column) == 1 for column in zip(*won))
    with server.connect() as wire:
        for turn in range(rounds):
            left = wire.calls(f"RL.PEEK a{turn} LIMIT 1 PER 1d", f"RL.PEEK b{turn} LIMIT 1 PER 1d ALGO sliding-window")
            assert [r[3] for r in left] == [0, 0]


# In one write with other calls


def test_calls_of_all_kinds_in_one_batch(clean):
    """Replies come in the order of the requests, including errors, and every call is counted for its own command."""
    wire = clean
    wire.ok(*"RL.POLICY SET p LIMIT 1000 PER 1d".split())
    wire.ok(*"RL.RULE SET * * * POLICY p".split())
    wire.ok("CONFIG", "RESETSTAT")
    unit = ["CL.THROTTLE t 999 1000 86400", "RL.TAKE t LIMIT 1000 PER 1d", "RL.CHECK t c a", "RL.TAKE t LIMIT x PER 1d",
            "RL.PEEK t POLICY p", "RL.TAKE t LIMIT 5 PER 1d ALGO fixed-window", "RL.REFUND t POLICY p", "RL.RESET none"]
    replies = wire.calls(*unit * 100)
    for number in range(100):
        throttle, take, check, bad, peek, wrong, refund, reset = replies[8 * number:8 * number + 8]
        assert throttle[:3] == [0, 1000, 999 - number] and take[:4] == [1, 1, 1000, 998 - number]
        assert check[3] == 999 - number and bad.startswith(b"ERR LIMIT") and peek[3] == 998 - number
        assert wrong.startswith(b"WRONGTYPE ") and refund[:4] == [1, 1, 1000, 999 - number] and reset == 0
    lines = wire.call("INFO", "commandstats").decode().splitlines()
    calls = {line.split(":")[0]: line.split("calls=")[1].split(",")[0] for line in lines if line.startswith("cmdstat")}
    assert calls["cmdstat_rl.take"] == "300" and calls["cmdstat_rl.check"] == "100", calls
    assert calls["cmdstat_cl.throttle"] == "100" and calls["cmdstat_rl.reset"] == "100"
    failed = [line for line in lines if line.startswith("cmdstat_rl.take:")][0]
    assert failed.endswith("failed_calls=200")
    # Names that fill the batch's memory for keys, that do not fit after others, and that never fit.
    for size in [1000, 20_000, 60_000, 70_000, 200_000]:
        names = [bytes([65 + n]) * size for n in range(10)]
        assert [r[0] for r in wire.calls(*[["RL.CHECK", "t", name, "a"] for name in names])] == [1] * 10
        assert wire.call("RL.CHECK", "t", names[3], "a", "COST", 0)[3] == 999


def test_connections_of_both_versions_in_one_turn(start):
    server = start("--io-threads", "1")
    with server.connect() as old, server.connect() as new:
        new.hello3()
        for _ in range(50):
            old.send(b"".join([command(*"RL.TAKE k LIMIT 100000 PER 1d".split())] * 3))
            new.send(b"".join([command(*"RL.TAKE k LIMIT 100000 PER 1d".split())] * 3))
            assert [type(old.read()) for _ in range(3)] == [list] * 3
            assert [type(new.read()) for _ in range(3)] == [MapReply] * 3


# Policies and rules


def test_inside_a_transaction(clean):
    wire = clean
    replies = wire.calls("MULTI", "RL.POLICY SET p LIMIT 5 PER 1h", "RL.RULE SET * * * POLICY p", "RL.CHECK t c a",
                         "RL.TAKE k POLICY p COST 2", "RL.TAKEALL k LIMIT 5 PER 1h AND l LIMIT 5 PER 1h", "FLUSHALL",
                         "INCR n", "EXEC")[-1]
    assert replies[:2] == [b"OK", b"OK"] and replies[2][:4] == [1, 1, 5, 4] and replies[3][:4] == [1, 2, 5, 3]
    assert replies[4][:2] == [1, 1] and replies[4][4][0][3] == 2 and replies[5:] == [b"OK", 1]
    assert wire.calls("MULTI", "RL.RULE RELOAD")[1].startswith(b"ERR Command not allowed inside a transaction")
    wire.call("DISCARD")


# Durability


def fill(wire):
    wire.ok(*"RL.POLICY SET p LIMIT 9 PER 1d ALGO fixed-window MODE shadow".split())
    wire.ok(*"RL.POLICY SET gone LIMIT 9 PER 1d".split())
    wire.ok(*"RL.RULE SET acme * * POLICY p".split())
    assert wire.call(*"RL.POLICY DEL gone".split()) == 1
    wire.call(*"RL.CHECK acme c a COST 2".split())
    for algo in ALGORITHMS:
        wire.call("RL.TAKE", algo, "ALGO", algo, "LIMIT", 9, "PER", "1d", "COST", 4, "ID", "first")
    wire.calls("SET n -5", "SET e 7 EX 100000")


def check(wire):
    assert [p[1] for p in wire.call("RL.POLICY", "LIST")] == [b"p"]
    assert wire.call("RL.POLICY", "GET", "p")[3:14:10] == [b"fixed-window", b"shadow"]
    assert [r[7] for r in wire.call("RL.RULE", "LIST")] == [b"p"]
    assert wire.call(*"RL.CHECK acme c a COST 0".split())[3] == 7
    for algo in ALGORITHMS:
        again = wire.call("RL.TAKE", algo, "ALGO", algo, "LIMIT", 9, "PER", "1d", "COST", 4, "ID", "first")
        assert again[:4] == [1, 4, 9, 5], "the first answer"
        assert wire.call("RL.PEEK", algo, "ALGO", algo, "LIMIT", 9, "PER", "1d")[3] == 5, "counted once"
    assert wire.calls("GET n", "GET e") == [b"-5", b"7"] and 90_000 < wire.call("TTL", "e") <= 100_000


@pytest.mark.parametrize("how", ["restart", "kill", "snapshot", "snapshot alone"])
def test_everything_survives(start, tmp_path, how):
    flags = ["--appendfsync", "always"] if how != "snapshot alone" else ["--appendonly", "no"]
    server = start(*flags)
    with server.connect() as wire:
        fill(wire)
        if how == "snapshot":
            wire.call("BGREWRITEAOF")
            eventually(lambda: b"aof_rewrite_in_progress:0" in wire.call("INFO", "persistence"), "the log is rewritten")
        if how == "snapshot alone":
            wire.ok("SAVE")
        check(wire)
    server.kill() if how in ("kill", "snapshot") else server.stop()
    again = type(server)(server.directory, *flags)
    try:
        with again.connect() as wire:
            check(wire)
            wire.ok("FLUSHALL")
            assert [p[1] for p in wire.call("RL.POLICY", "LIST")] == [b"p"]
    finally:
        again.stop()


@pytest.mark.parametrize("line", ["RL.TAKE k LIMIT 9 PER 1d ID x", "RL.TAKE k POLICY p", "RL.CHECK k k k"])
def test_a_reply_means_that_the_change_is_on_disk(start, line):
    """Only calls in batches, so that nothing else triggers a collection of the change."""
    server = start("--appendfsync", "always")
    with server.connect() as wire:
        wire.calls("RL.POLICY SET p LIMIT 9 PER 1d", "RL.RULE SET * * * POLICY p")
        for taken in range(1, 4):
            assert wire.call(*line.replace("x", f"x{taken}").split())[3] == 9 - taken
    server.kill()
    again = type(server)(server.directory, "--appendfsync", "always")
    try:
        with again.connect() as wire:
            assert wire.call(*line.replace("ID x", "").split(), "COST", 0)[3] == 6
    finally:
        again.stop()


# A client library


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(server, protocol):
    client = redis.Redis(port=server.port, protocol=protocol)
    reply = client.execute_command("RL.TAKE", "k", "LIMIT", 5, "PER", "1h")
    fields = reply if protocol == 3 else dict(zip(NAMES, reply))
    assert fields[b"allowed"] == 1 and fields[b"remaining"] == 4
    assert client.set("n", 5, ex=100, nx=True) is True and client.set("n", 6, nx=True) is None
    assert client.incr("n") == 6 and client.decrby("n", 10) == -4 and client.get("n") == b"-4"
    assert client.getdel("n") == b"-4" and client.get("n") is None
    with client.pipeline() as pipe:
        pipe.incr("hits").expire("hits", 60, nx=True).ttl("hits")
        assert pipe.execute() == [1, True, 60]
    client.close()
