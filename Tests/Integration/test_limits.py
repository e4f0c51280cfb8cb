"""RL.*: limits by every algorithm, policies, rules, all-or-nothing takes, and what of them survives. Periods are long
and calls go out in one write, so that no expectation depends on how fast the machine is."""

import signal
import threading

import pytest
import redis

from wire import ErrorReply, MapReply, command, eventually

HOUR = 3_600_000
ALGORITHMS = ["gcra", "token-bucket", "fixed-window", "sliding-window", "sliding-log"]
NAMES = [b"allowed", b"granted", b"limit", b"remaining", b"retry_after_ms", b"reset_after_ms"]


def near(value, expected, slack=5000):
    """A time that has run on a little since."""
    return expected - slack <= value <= expected


def test_until_denied(wire):
    replies = wire.calls(*["RL.TAKE k LIMIT 3 PER 1h"] * 4)
    assert [r[:4] for r in replies] == [[1, 1, 3, 2], [1, 1, 3, 1], [1, 1, 3, 0], [0, 0, 3, 0]]
    assert replies[0][4:] == [-1, HOUR // 3]
    assert near(replies[3][4], HOUR // 3) and near(replies[3][5], HOUR)


def test_milliseconds_are_rounded_up(wire):
    """A third of a millisecond a unit: one is 1 ms, three are 1 ms, four are 2 ms."""
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
    assert replies[5][5] == 0 and replies[6:] == [0, 0], "given back, so there is no key"
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
    wire.call("SET", "n", 5)
    reply = wire.call(*"RL.TAKE n LIMIT 5 PER 1h".split())
    assert b"counter" in reply and b"gcra" in reply
    assert wire.call("RL.RESET", "n").startswith(b"WRONGTYPE ") and wire.call("GET", "n") == b"5"


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


def test_as_many_tokens_as_are_allowed(start):
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
        eventually(lambda: wire.call(*"RL.TAKE k LIMIT 9 PER 1h ID a".split())[3] == 7, "counts again")


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


def test_take_all_is_never_taken_in_part(server):
    """Clients on all loops fight over pairs of keys, each pair good for one, named in either order: exactly one gets
    each pair, and what is gone from a key is what they took."""
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
                barrier.wait(timeout=30)
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


# In one write with others


@pytest.fixture
def clean(wire):
    """Policies outlive FLUSHALL, so the module's server is cleaned by hand."""
    yield wire
    for rule in wire.call("RL.RULE", "LIST"):
        assert wire.call("RL.RULE", "DEL", *rule[1:6:2]) == 1
    for policy in wire.call("RL.POLICY", "LIST"):
        assert wire.call("RL.POLICY", "DEL", policy[1]) == 1


def test_calls_of_all_kinds_in_one_batch(clean):
    """Answers come in the order of the requests, errors in between, and every call counts for its own command."""
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
    # Names that fill the batch's memory for keys, that do not fit beside others, and that never fit.
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


def test_a_policy_changes_at_run_time(clean):
    wire = clean
    wire.ok(*"RL.POLICY SET tier LIMIT 10 PER 1h ALGO fixed-window".split())
    assert wire.call(*"RL.TAKE k POLICY tier COST 8".split())[:4] == [1, 8, 10, 2]
    wire.ok(*"RL.POLICY SET tier LIMIT 5 PER 1h ALGO fixed-window".split())
    assert wire.call(*"RL.TAKE k POLICY tier".split())[:4] == [0, 0, 5, 0], "lowering gives nothing back"
    wire.ok(*"RL.POLICY SET tier LIMIT 20 PER 1h ALGO fixed-window".split())
    assert wire.call(*"RL.TAKE k POLICY tier".split())[:4] == [1, 1, 20, 11], "and raising forgets nothing"
    wire.ok(*"RL.POLICY SET tier LIMIT 20 PER 1h".split())
    assert wire.call(*"RL.TAKE k POLICY tier".split())[:4] == [1, 1, 20, 10], "nor another algorithm"
    assert wire.call("TYPE", "k") == b"gcra"


def test_shadow_and_off(clean):
    wire = clean
    wire.ok(*"RL.POLICY SET p LIMIT 1 PER 1h MODE shadow".split())
    first, second = wire.calls("RL.TAKE k POLICY p", "RL.TAKE k POLICY p")
    assert first[:4] == [1, 1, 1, 0] and len(first) == 6
    assert second[:4] == [1, 1, 1, 0] and second[6] == b"shadow"
    wire.ok(*"RL.POLICY SET p LIMIT 1 PER 1h MODE off".split())
    assert wire.calls("RL.TAKE k POLICY p", "RL.TAKE new POLICY p COST 99", "EXISTS new") == [
        [1, 1, 1, 1, -1, 0], [1, 99, 1, 1, -1, 0], 0]
    wire.ok(*"RL.POLICY SET blocked LIMIT 0 PER 1h".split())
    assert wire.call(*"RL.TAKE x POLICY blocked".split())[:5] == [0, 0, 0, 0, -1]
    assert b"limiter_shadowed:" in wire.call("INFO", "limiter")


def test_the_most_specific_rule_wins(clean):
    wire = clean
    subjects = {"* * *": "global default", "* * login": "global action", "acme * *": "tenant",
                "acme * login": "tenant+action", "acme bob *": "client", "acme bob login": "client+action"}
    assert wire.call("RL.RULE", "RESOLVE", "acme", "bob", "login") is None
    assert wire.call("RL.CHECK", "acme", "bob", "login").startswith(b"NORULE ")
    for number, (subject, level) in enumerate(subjects.items()):
        wire.ok("RL.POLICY", "SET", f"p{number}", "LIMIT", number + 10, "PER", "1h")
        wire.ok("RL.RULE", "SET", *subject.split(), "POLICY", f"p{number}")
        found = wire.call("RL.RULE", "RESOLVE", "acme", "bob", "login")
        assert found[1:6:2] == [w.encode() for w in subject.split()] and found[-1] == level.encode()
        assert wire.call("RL.CHECK", "acme", "bob", "login")[2] == number + 10
    assert len(wire.call("RL.RULE", "LIST")) == 6
    reply = wire.call("RL.POLICY", "DEL", "p0")
    assert isinstance(reply, ErrorReply) and b"* * *" in reply
    assert wire.calls("RL.RULE DEL acme bob login", "RL.RULE DEL acme bob login") == [1, 0]
    assert wire.call(*"RL.RULE GET acme bob login".split()) is None
    assert wire.call(*"RL.RULE GET acme bob *".split())[7] == b"p4"
    assert wire.call(*"RL.RULE SET a b c POLICY nosuch".split()) == b"ERR there is no policy 'nosuch'"


def test_tenants_share_nothing_whatever_their_names(clean):
    wire = clean
    wire.ok(*"RL.POLICY SET one LIMIT 1 PER 1h".split())
    wire.ok(*"RL.RULE SET * * * POLICY one".split())
    names = [b"", b"*", b"a", b"ab", b"a b", b"\0", b"\0C", b"a\0", b"\xff\xfe", b"a:b", b"x" * 200]
    subjects = [(t, c, a) for t in names for c in names for a in names]
    for subject in subjects:
        assert wire.call("RL.CHECK", *subject)[0] == 1, subject
    assert wire.call("DBSIZE") == len(subjects)
    assert all(wire.call("RL.CHECK", *subject)[0] == 0 for subject in subjects)


def test_policies_outlive_flushall(clean):
    wire = clean
    wire.ok(*"RL.POLICY SET p LIMIT 1 PER 1h".split())
    wire.ok("FLUSHALL")
    assert wire.call("RL.POLICY", "GET", "p")[1] == b"p"


def test_inside_a_transaction(clean):
    wire = clean
    replies = wire.calls("MULTI", "RL.POLICY SET p LIMIT 5 PER 1h", "RL.RULE SET * * * POLICY p", "RL.CHECK t c a",
                         "RL.TAKE k POLICY p COST 2", "RL.TAKEALL k LIMIT 5 PER 1h AND l LIMIT 5 PER 1h", "FLUSHALL",
                         "INCR n", "EXEC")[-1]
    assert replies[:2] == [b"OK", b"OK"] and replies[2][:4] == [1, 1, 5, 4] and replies[3][:4] == [1, 2, 5, 3]
    assert replies[4][:2] == [1, 1] and replies[4][4][0][3] == 2 and replies[5:] == [b"OK", 1]
    assert wire.calls("MULTI", "RL.RULE RELOAD")[1].startswith(b"ERR Command not allowed inside a transaction")
    wire.call("DISCARD")


# The rules file

RULES = "policy free LIMIT 5 PER 1h\npolicy pro LIMIT 50 PER 1h\nrule * * * POLICY free\nrule acme * * POLICY pro\n"


def policies(wire):
    return {p[1]: (p[5], p[15]) for p in wire.call("RL.POLICY", "LIST")}


def test_the_rules_file(start, tmp_path):
    path = tmp_path / "rules.conf"
    path.write_text(RULES)
    server = start("--rules-file", path)
    with server.connect() as wire:
        assert policies(wire) == {b"free": (5, b"file"), b"pro": (50, b"file")}
        assert wire.call(*"RL.CHECK acme c a".split())[2] == 50 and wire.call(*"RL.CHECK other c a".split())[2] == 5
        wire.ok(*"RL.POLICY SET mine LIMIT 7 PER 1h".split())
        wire.ok(*"RL.RULE SET mine * * POLICY mine".split())
        path.write_text("policy free LIMIT 6 PER 1h\nrule * * * POLICY free\n")
        assert wire.call("RL.RULE", "RELOAD") == [b"policies", 1, b"rules", 1]
        assert policies(wire) == {b"free": (6, b"file"), b"mine": (7, b"command")}
        assert [r[9] for r in wire.call("RL.RULE", "LIST")] == [b"file", b"command"]
        path.write_text("policy free LIMIT 8 PER 1h\n# fine so far\npolicy worse LIMIT 1 PER never\n")
        reply = wire.call("RL.RULE", "RELOAD")
        assert reply.startswith(f"ERR {path}:3: PER ".encode())
        assert policies(wire)[b"free"] == (6, b"file"), "all or nothing"
        path.write_text("policy other LIMIT 8 PER 1h\nrule * * * POLICY nosuch\n")
        assert wire.call("RL.RULE", "RELOAD") == f"ERR {path}:2: there is no policy 'nosuch'".encode()
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "rules file not taken" in server.log(), "the complaint in the log")
        path.write_text("policy free LIMIT 9 PER 1h\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: policies(wire)[b"free"] == (9, b"file"), "reloaded")
        assert wire.call(*"RL.RULE SET * * * POLICY free".split()) == b"OK"
        path.write_text("")
        reply = wire.call("RL.RULE", "RELOAD")
        assert reply.startswith(b"ERR ") and b"in use" in reply and b"* * *" in reply


def test_a_start_with_a_bad_rules_file_fails(tmp_path):
    from server import free_port, run_to_end
    path = tmp_path / "rules.conf"
    for text, error in [("policy x", ":1: LIMIT is missing"), ("rule a b c POLICY x", ":1: there is no policy 'x'")]:
        path.write_text(text)
        status, output = run_to_end("--port", free_port(), "--dir", tmp_path / "d", "--rules-file", path, cwd=tmp_path)
        assert status == 1 and f"rules-file: {path}{error}" in output, output


# What survives


def fill(wire):
    wire.ok(*"RL.POLICY SET p LIMIT 9 PER 1d ALGO fixed-window MODE shadow".split())
    wire.ok(*"RL.POLICY SET gone LIMIT 9 PER 1d".split())
    wire.ok(*"RL.RULE SET acme * * POLICY p".split())
    assert wire.call(*"RL.POLICY DEL gone".split()) == 1
    wire.call(*"RL.CHECK acme c a COST 2".split())
    for algo in ALGORITHMS:
        wire.call("RL.TAKE", algo, "ALGO", algo, "LIMIT", 9, "PER", "1d", "COST", 4, "ID", "first")
    wire.calls("SET n -5", "SET e 7 EX 1000")


def check(wire):
    assert [p[1] for p in wire.call("RL.POLICY", "LIST")] == [b"p"]
    assert wire.call("RL.POLICY", "GET", "p")[3:14:10] == [b"fixed-window", b"shadow"]
    assert [r[7] for r in wire.call("RL.RULE", "LIST")] == [b"p"]
    assert wire.call(*"RL.CHECK acme c a COST 0".split())[3] == 7
    for algo in ALGORITHMS:
        again = wire.call("RL.TAKE", algo, "ALGO", algo, "LIMIT", 9, "PER", "1d", "COST", 4, "ID", "first")
        assert again[:4] == [1, 4, 9, 5], "the first answer"
        assert wire.call("RL.PEEK", algo, "ALGO", algo, "LIMIT", 9, "PER", "1d")[3] == 5, "counted once"
    assert wire.calls("GET n", "GET e") == [b"-5", b"7"] and 900 < wire.call("TTL", "e") <= 1000


@pytest.mark.parametrize("how", ["restart", "kill", "snapshot", "snapshot alone"])
def test_everything_survives(start, tmp_path, how):
    flags = ["--appendfsync", "always"] if how != "snapshot alone" else ["--appendonly", "no"]
    server = start(*flags)
    with server.connect() as wire:
        fill(wire)
        if how == "snapshot":
            wire.call("BGREWRITEAOF")
            eventually(lambda: b"aof_rewrite_in_progress:0" in wire.call("INFO", "persistence"), "rewritten")
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
def test_an_answer_means_that_it_is_on_disk(start, line):
    """Nothing but calls in batches, so nothing else has the change collected."""
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


# Counters beside a real Redis

COUNTERS = [
    "INCR a", "INCR a", "INCRBY a 5", "DECR a", "DECRBY a 10", "GET a", "GET none", "SET a 5", "INCR a", "GET a",
    "SET a 1 NX", "SET b 1 NX", "SET c 1 XX", "GET c", "SET a 2 XX GET", "SET d 3 GET", "SET d 4 NX GET", "GET d",
    "SET a 1 EX 100", "TTL a", "SET a 2 KEEPTTL", "TTL a", "INCR a", "TTL a", "SET a 3", "TTL a", "SET a 4 PX 100000",
    "TTL a", "SET a 1 EXAT 9000000000", "EXPIRETIME a", "SET a 1 PXAT 9000000000001", "PEXPIRETIME a",
    "SET a 1 EXAT 1", "GET a", "EXISTS a", "SET a 1 EX 0", "SET a 1 EX -5", "SET a 1 EX x", "SET a 1 EX",
    "SET a 1 EX 9223372036854775807", "SET a 1 EX 1 PX 1", "SET a 1 EX 1 KEEPTTL", "SET a 1 NX XX", "SET a 1 FOO",
    "SET a 9223372036854775807", "INCR a", "INCRBY a 1", "GET a", "SET a -9223372036854775808", "DECR a",
    "DECRBY a -9223372036854775808", "DECRBY a 1", "INCRBY a x", "INCRBY a 9223372036854775808", "INCRBY a 1.5",
    "INCR", "INCR a b", "INCRBY a", "GET", "SET a", "GETDEL a", "GETDEL a", "TYPE d", "OBJECT ENCODING d",
    "DEL a b c d", "INCRBY z 0", "GET z", "EXPIRE z 100", "INCR z", "TTL z", "PERSIST z", "TTL z",
    "SET far 1 EXAT 99999999999",
    "SET neg -0", "COMMAND GETKEYS SET a 1",
]
OURS = {
    # An instant that nanoseconds since 1970 cannot say: Redis counts milliseconds.
    "SET far 1 EXAT 99999999999": b"ERR invalid expire time in 'set' command",
    "SET neg -0": b"ERR value is not an integer or out of range: a key holds a 64-bit integer here, no other string",
}


def test_counters_are_redis_s(wire, reference):
    with reference.connect() as other:
        other.ok("FLUSHALL")
        for line in COUNTERS:
            mine, theirs = wire.call(*line.split()), other.call(*line.split())
            assert mine == OURS.get(line, theirs) and (line in OURS or type(mine) is type(theirs)), line


def test_only_integers_are_values(wire):
    for value in ["", "x", "1.0", " 1", "01", "+1", "9223372036854775808", "1e3"]:
        assert wire.call("SET", "k", value).startswith(b"ERR value is not an integer")
    assert wire.call("EXISTS", "k") == 0


def test_increx(wire):
    assert wire.calls(
        "INCREX k", "INCREX k BYINT 5 EX 100", "TTL k", "INCREX k EX 500 ENX", "TTL k", "INCREX k PERSIST", "TTL k",
        "INCREX k EX 50 ENX", "TTL k", "INCREX k BYINT 5 UBOUND 10 EX 900", "TTL k",
        "INCREX k BYINT 5 UBOUND 10 SATURATE", "INCREX k BYINT -100 LBOUND 0", "INCREX k BYINT -100 LBOUND 0 SATURATE",
        "INCREX new BYINT 5 UBOUND 2",
        "EXISTS new") == [
        [1, 1], [6, 5], 100, [7, 1], 100, [8, 1], -1, [9, 1], 50, [9, 0], 50, [10, 1], [10, 0], [0, -10], [0, 0], 0]


@pytest.mark.parametrize("options, error", [
    ("BYFLOAT 1.5", b"ERR BYFLOAT is not supported"), ("ENX", b"ERR ENX flag requires an expiration"),
    ("PERSIST ENX", b"ERR syntax error"), ("EX 1 PERSIST", b"ERR syntax error"), ("EX", b"ERR syntax error"),
    ("LBOUND 2 UBOUND 1", b"ERR LBOUND must not be above UBOUND"), ("UBOUND x", b"ERR UBOUND is not an integer"),
    ("BYINT 1 BYINT 2", b"ERR syntax error"), ("EX 0", b"ERR invalid expire time in 'increx' command"),
    ("FOO", b"ERR syntax error"),
])
def test_increx_refuses(wire, options, error):
    assert wire.call("INCREX", "k", *options.split()).startswith(error)
    assert wire.call("EXISTS", "k") == 0
