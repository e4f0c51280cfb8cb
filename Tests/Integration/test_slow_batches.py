"""LATENCY and SLOWLOG record batches of limiter and counter calls: a client waits for the whole batch."""

from test_exclusive import PATIENCE, is_a_loop_asleep
from wire import command, eventually


def delayed_batch(server, holder, caller, requests):
    """Sends the requests in one write while a transaction holds the only stripe; returns whether they were delayed."""
    holder.ok("MULTI")
    for request in (["SET", "w", 1], ["DEBUG", "SLEEP", "0.3"]):
        assert holder.call(*request) == b"QUEUED"
    holder.send(command("EXEC"))
    eventually(lambda: is_a_loop_asleep(server), "the stripe is locked", PATIENCE)
    caller.send(b"".join(command(*request) for request in requests))
    for _ in requests:
        caller.read()
    holder.read()
    latest = {row[0]: row for row in caller.call("LATENCY", "LATEST")}
    return latest.get(b"fast-command")


def test_a_batch_that_waited(start):
    server = start("--io-threads", "2", "--shards", "1", "--latency-monitor-threshold", "50", "--enable-debug-command",
                   "yes", "--slowlog-log-slower-than", "50000")
    with server.connect(timeout=PATIENCE) as holder, server.connect(timeout=PATIENCE) as caller:
        for name, requests in (
            (b"CL.THROTTLE", [["CL.THROTTLE", f"k{n}", "5", "10", "60"] for n in range(100)]),
            (b"RL.TAKE", [["RL.TAKE", f"k{n}", "LIMIT", "5", "PER", "1m"] for n in range(100)]),
            (b"INCR", [["INCR", f"k{n}"] for n in range(100)]),
        ):
            caller.call("LATENCY", "RESET")
            caller.ok("SLOWLOG", "RESET")
            event = eventually(lambda: delayed_batch(server, holder, caller, requests), "a batch is delayed", PATIENCE)
            assert event[2] >= 50 and event[3] >= event[2]
            entries = [row for row in caller.call("SLOWLOG", "GET", "100") if row[3][0] == name]
            # One entry for the batch, with its total time, and none for calls that were fast on average.
            assert entries and all(row[3][2] == b"... (a batch of 100 calls)" for row in entries), entries
            assert entries[0][2] >= 50_000 and entries[0][3][1] == b"k0"
