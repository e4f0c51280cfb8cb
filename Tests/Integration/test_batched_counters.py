"""GET, INCR and related commands are decided in one batch with limiter calls: in order, each counted once, with the
same replies and the same waits as one at a time."""

from wire import ErrorReply, command


def pipelined(wire, *lines):
    wire.send(b"".join(command(*line.split()) for line in lines))
    return [wire.read() for _ in lines]


def statistics(wire):
    info = wire.call("INFO", "everything").decode()
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    calls = {name.removeprefix("cmdstat_"): dict(field.split("=") for field in rest.split(","))
             for name, rest in fields.items() if name.startswith("cmdstat_")}
    return fields, calls


def test_a_pipeline_keeps_the_order_of_all_kinds_of_calls(wire):
    assert pipelined(
        wire, "INCR n", "INCRBY n 5", "GET n", "CL.THROTTLE t 4 1 86400", "SET n 40", "DECR n", "GET n", "DECRBY n 9",
        "DEL n", "GET n", "INCR n", "RL.TAKE r LIMIT 5 PER 1d COST 5", "GET n", "EXPIRE n 1000", "INCR n", "PERSIST n",
    ) == [1, 6, b"6", [0, 5, 4, -1, 86400], b"OK", 39, b"39", 30, 1, None, 1, [1, 5, 5, 0, -1, 86400000], b"1", 1, 2, 1]


def test_errors_in_a_pipeline_do_not_affect_other_calls(wire):
    wire.call("CL.THROTTLE", "limiter", "4", "1", "86400")
    replies = pipelined(
        wire, "SET n 9223372036854775806", "INCR n", "INCR n", "GET n", "INCRBY n x", "DECRBY n -9223372036854775808",
        "INCR limiter", "GET limiter", "CL.THROTTLE n 1 1 1", "INCR", "INCRBY n", "DECR n")
    assert replies[:2] == [b"OK", 2**63 - 1] and replies[3] == b"9223372036854775807" and replies[-1] == 2**63 - 2
    assert [reply.decode() for reply in replies if isinstance(reply, ErrorReply)] == [
        "ERR increment or decrement would overflow",
        "ERR value is not an integer or out of range",
        "ERR decrement would overflow",
        "WRONGTYPE Operation against a key holding the wrong kind of value: it holds gcra, this needs a counter",
        "WRONGTYPE Operation against a key holding the wrong kind of value: it holds gcra, this needs a counter",
        "WRONGTYPE Operation against a key holding the wrong kind of value: it holds counter, this needs gcra",
        "ERR wrong number of arguments for 'incr' command",
        "ERR wrong number of arguments for 'incrby' command",
    ]


def test_each_call_is_counted_once_on_every_path(start):
    """In a pipeline, and in a transaction, as a batch of one."""
    lines = ["INCR n", "GET n", "GET none", "INCRBY n x", "CL.THROTTLE t 4 1 86400", "CL.THROTTLE n 4 1 86400",
             "RL.TAKE r LIMIT 5 PER 1d", "RL.TAKEALL a LIMIT 5 PER 1d AND b LIMIT 5 PER 1d", "RL.TAKE n LIMIT 5 PER 1d",
             "RL.TAKE r LIMIT 5 PER never"]
    with start().connect() as wire:
        for batch in (lines, ["MULTI", *lines, "EXEC"]):
            wire.ok("FLUSHALL")
            wire.ok("CONFIG", "RESETSTAT")
            replies = pipelined(wire, *batch)
            fields, calls = statistics(wire)
            if batch is not lines:
                replies = replies[-1]
            assert sum(isinstance(reply, ErrorReply) for reply in replies) == 4
            assert {name: (row["calls"], row["failed_calls"], row["rejected_calls"]) for name, row in calls.items()
                    if name in ("incr", "get", "incrby", "cl.throttle", "rl.take", "rl.takeall")} == {
                "incr": ("1", "0", "0"), "get": ("2", "0", "0"), "incrby": ("1", "1", "0"),
                "cl.throttle": ("2", "1", "0"), "rl.take": ("3", "2", "0"), "rl.takeall": ("1", "0", "0")}
            assert (fields["keyspace_hits"], fields["keyspace_misses"]) == ("1", "1")
            assert (fields["errorstat_ERR"], fields["errorstat_WRONGTYPE"]) == ("count=2", "count=2")
            assert fields["total_error_replies"] == "4"


def test_the_slow_log_shows_arguments_in_a_transaction_and_keys_in_a_batch(start):
    with start("--slowlog-log-slower-than", "0").connect() as wire:
        wire.ok("SLOWLOG", "RESET")
        pipelined(wire, "INCRBY one 3", "MULTI", "INCRBY two 4", "CL.THROTTLE t 4 1 86400", "EXEC")
        rows = [row[3] for row in wire.call("SLOWLOG", "GET", "10")]
        assert [b"INCRBY", b"one"] in rows
        assert [b"INCRBY", b"two", b"4"] in rows and [b"CL.THROTTLE", b"t", b"4", b"1", b"86400"] in rows


def test_a_watched_counter_is_touched_by_a_pipeline(wire, server):
    with server.connect() as other:
        wire.call("SET", "n", "1")
        wire.ok("WATCH", "n")
        assert pipelined(other, "GET n", "INCR m", "RL.TAKE r LIMIT 5 PER 1d")[0] == b"1"
        wire.ok("MULTI")
        wire.call("GET", "n")
        assert wire.call("EXEC") == [b"1"]
        wire.ok("WATCH", "n")
        assert pipelined(other, "INCR n", "GET n") == [2, b"2"]
        wire.ok("MULTI")
        wire.call("GET", "n")
        assert wire.call("EXEC") is None


def test_a_malformed_call_is_recorded_like_any_other(start):
    """In the slow log and in the histogram, in a pipeline and in a transaction."""
    with start("--slowlog-log-slower-than", "0").connect() as wire:
        for lines in (["INCRBY n x", "RL.TAKE q LIMIT 5"], ["MULTI", "INCRBY n x", "RL.TAKE q LIMIT 5", "EXEC"]):
            wire.ok("CONFIG", "RESETSTAT")
            wire.ok("SLOWLOG", "RESET")
            pipelined(wire, *lines)
            shown = [entry[3] for entry in wire.call("SLOWLOG", "GET", -1)]
            for words in (["INCRBY", "n", "x"], ["RL.TAKE", "q", "LIMIT", "5"]):
                assert [word.encode() for word in words] in shown
            histogram = wire.call("LATENCY", "HISTOGRAM", "incrby", "rl.take")
            assert [row[1] for row in histogram[1::2]] == [1, 1]
