"""Limits are decided in batches on the fast path and one at a time in MULTI: the same requests get the same replies in
both, including errors. Every limit that is not refused takes hours to replenish a unit, so that expectations do not
depend on the speed of the machine: a state that expired within microseconds would still exist for the next call of a
batch, which has a single time, but not for the next transaction."""

import pytest

from clock import milliseconds
from dice import seeded
from wire import ErrorReply, command

WORDS = ["LIMIT 3", "LIMIT 5", "limit 12", "LIMIT 0", "LIMIT -1", "LIMIT x", "LIMIT 99999999999999999999", "PER 1d",
         "per 2d", "PER 360000", "PER 0", "PER 1w", "BURST 2", "BURST 9", "BURST -2", "ALGO gcra",
         "ALGO token-bucket", "ALGO fixed-window", "ALGO sliding-window", "algo Sliding-Log", "ALGO leaky",
         "OFFSET 1h", "OFFSET 99h", "COST 2", "COST 0", "COST -1", "COST y", "ATMOST", "ID t1", "ID t2",
         "POLICY three", "POLICY watch", "POLICY off", "POLICY nosuch", "PER month", "ALGO calendar", "ZONE +01:00",
         "ZONE Nowhere/At-all", "START 3", "AND", "PER", "FOO", "MODE off"]
USUAL = ["LIMIT 3 PER 1d", "LIMIT 5 PER 2d BURST 2", "LIMIT 4 PER 3d ALGO fixed-window",
         "LIMIT 6 PER 3d ALGO sliding-window", "LIMIT 5 PER year ALGO calendar ZONE -05:30", "LIMIT 5 PER 3d ALGO sliding-log", "POLICY three", "POLICY watch",
         "POLICY off"]


def limit(rng):
    words = [rng.choice(USUAL)] if rng.random() < 0.8 else []
    while rng.random() < 0.3:
        words.append(rng.choice(WORDS))
    return " ".join(words)


def request(rng):
    """One request, mostly well-formed. A key's first letter usually determines its limit, so that kinds of state
    agree."""
    kind = rng.random()
    key = f"{rng.choice('abc')}{rng.randrange(4)}"
    if kind < 0.35:
        name = rng.choice(["RL.TAKE", "rl.take", "RL.TAKE", "RL.PEEK", "RL.REFUND"])
        return f"{name} {key} {limit(rng)}".split()
    if kind < 0.7:
        rows = [f"{rng.choice('abc')}{rng.randrange(6)} {limit(rng)}" for _ in range(rng.randint(1, 5))]
        if rng.random() < 0.05:
            rows += [f"{n} LIMIT 1 PER 1d" for n in range(rng.choice([120, 130]))]
        return f"RL.TAKEALL {' AND '.join(rows)}{rng.choice(['', '', ' COST 2', ' AND'])}".split()
    if kind < 0.8:
        names = [rng.choice("tu"), rng.choice("cd"), rng.choice("xyz")]
        return ["RL.CHECK", *names, *rng.choice(["", "", "COST 2", "ATMOST COST 9", "ID q", "LIMIT 1", "COST"]).split()]
    if kind < 0.9:
        return ["CL.THROTTLE", key, "4", "5", "86400", rng.choice(["1", "2", "0", "x"])]
    return rng.choice([["INCR", key], ["GET", key], ["DECRBY", key, "2"], ["INCRBY", key, "x"], ["DEL", key],
                       ["EXPIRE", key, "100000"], ["RL.RESET", key], ["RL.TAKE", key], ["TYPE", key]])


def same(left, right, passed):
    """Equal except for times, which may have advanced by up to `passed` of their units in between, and are rounded
    up."""
    if isinstance(left, ErrorReply) or isinstance(right, ErrorReply) or isinstance(left, (bytes, type(None))):
        return type(left) is type(right) and left == right
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(
            same(one, other, passed) for one, other in zip(left, right))
    return left == right or (min(left, right) > 1000 and abs(left - right) <= passed + 1)


@pytest.mark.parametrize("version", [2, 3])
def test_batches_and_multi_agree(wire, version):
    if version == 3:
        wire.hello3()
    for line in ["RL.POLICY SET three LIMIT 3 PER 1d", "RL.POLICY SET watch LIMIT 2 PER 1d MODE shadow",
                 "RL.POLICY SET off LIMIT 2 PER 1d MODE off", "RL.RULE SET t * * POLICY three",
                 "RL.RULE SET t c x POLICY watch"]:
        wire.ok(*line.split())
    rng = seeded("in a batch as inside of MULTI")
    for _ in range(12):
        requests = [request(rng) for _ in range(150)]
        clock = milliseconds()
        wire.send(b"".join(command(*r) for r in requests))
        batched = [wire.read() for _ in requests]
        wire.ok("FLUSHALL")
        single = []
        for start in range(0, len(requests), 7):
            part = requests[start:start + 7]
            wire.ok("MULTI")
            queued = [wire.call(*r) for r in part]
            refused = [isinstance(q, ErrorReply) for q in queued]
            if any(refused):
                # Too few arguments: EXEC would execute none of them.
                wire.ok("DISCARD")
                wire.ok("MULTI")
                for r, bad in zip(part, refused):
                    if not bad:
                        wire.call(*r)
            answers = iter(wire.call("EXEC"))
            single += [q if bad else next(answers) for q, bad in zip(queued, refused)]
        passed = clock.passed()
        wire.ok("FLUSHALL")
        for position, (r, left, right) in enumerate(zip(requests, batched, single)):
            unit = 1000 if r[0] == "CL.THROTTLE" else 1
            assert same(left, right, passed / unit), (
                f"request {position}: {r}, {passed:.0f} ms\nbatch: {left}\nMULTI: {right}")
    for line in ["RL.RULE DEL t c x", "RL.RULE DEL t * *", "RL.POLICY DEL three", "RL.POLICY DEL watch",
                 "RL.POLICY DEL off"]:
        assert wire.call(*line.split()) == 1


def test_calls_are_counted_as_calls(start):
    """An RL.TAKEALL counts as one call, however many keys it names, and a refused one as one failed call."""
    with start().connect() as wire:
        line = "RL.TAKEALL a LIMIT 2 PER 1d AND b LIMIT 9 PER 1d AND c LIMIT 9 PER 1d ALGO fixed-window"
        replies = wire.calls(*[line] * 3, "RL.TAKE d LIMIT 1 PER 1d", "INCR n", "CL.THROTTLE e 1 1 86400",
                             "RL.TAKEALL a LIMIT 2 PER 1d AND a LIMIT 2 PER 1d", "RL.TAKEALL c LIMIT 2 PER 1d",
                             "RL.TAKEALL a LIMIT 1")
        assert [r[0] for r in replies[:6] if isinstance(r, list)] == [1, 1, 0, 1, 0]
        assert [isinstance(r, ErrorReply) for r in replies[6:]] == [True] * 3
        info = wire.call("INFO", "commandstats").decode()
        fields = {name.removeprefix("cmdstat_"): dict(f.split("=") for f in rest.split(","))
                  for name, rest in (row.split(":", 1) for row in info.splitlines() if row.startswith("cmdstat_"))}
        assert fields["rl.takeall"]["calls"] == "6" and fields["rl.takeall"]["failed_calls"] == "3"
        assert fields["rl.take"]["calls"] == fields["incr"]["calls"] == fields["cl.throttle"]["calls"] == "1"


def test_the_slow_log_shows_all_keys_of_a_call(start):
    with start().connect() as wire:
        wire.ok("CONFIG", "SET", "slowlog-log-slower-than", "0")
        wire.call(*"RL.TAKEALL one LIMIT 2 PER 1d AND two LIMIT 9 PER 1d".split())
        rows = [row[3] for row in wire.call("SLOWLOG", "GET", "10")]
        assert [b"RL.TAKEALL", b"one", b"two"] in rows


def test_a_key_longer_than_the_key_buffer(start):
    """RL.CHECK builds its key from three names: in the middle of a pipeline, of any length, and twice in a row."""
    with start().connect() as wire:
        wire.ok(*"RL.POLICY SET two LIMIT 2 PER 1d".split())
        wire.ok(*"RL.RULE SET * * * POLICY two".split())
        long, longer = b"l" * 30_000, b"m" * 400_000
        requests = [("RL.CHECK", "t", client, action) for client in ("c", long, longer, "d") for action in (long, "a")]
        requests = [request for request in requests for _ in range(3)]
        wire.send(b"".join(command(*request) for request in requests + [("CL.THROTTLE", "c", "4", "5", "86400")]))
        replies = [wire.read() for _ in requests]
        assert [(reply[0], reply[3]) for reply in replies] == [(1, 1), (1, 0), (0, 0)] * (len(requests) // 3)
        assert wire.read()[:3] == [0, 5, 4]
