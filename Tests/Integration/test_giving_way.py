"""Slow commands do not block other clients of the same event loop, of which there is only one here.

Whether another client was served in between is determined from the contents of that client's own reply (the number of
blocked clients, the number of calls counted), never from a clock: such a reply was written while the command was in
progress. An attempt that comes too late proves nothing and is repeated.
"""

import re
import socket
import struct

import pytest

from test_transactions import transaction
from wire import ErrorReply, command, eventually

#: A pattern that makes a matcher look at every byte for every 64 of its own, and a key that does not match it.
HOSTILE = "*" + "?" * 500 + "a" * 500 + "b*"
LONG = 1 << 20


@pytest.fixture(scope="module")
def one_loop(tmp_path_factory):
    from server import Server

    server = Server(tmp_path_factory.mktemp("one loop") / "data", "--io-threads", "1", "--appendonly", "no")
    yield server
    server.stop()


@pytest.fixture
def loop(one_loop):
    with one_loop.connect() as wire:
        wire.ok("FLUSHALL")
        wire.ok("CONFIG", "RESETSTAT")
    return one_loop


def fill(server, count, prefix="key"):
    names = [f"{prefix}:{number}" for number in range(count)]
    with server.connect() as wire:
        wire.send(command("CLIENT", "REPLY", "OFF") + b"".join(command("SET", name, 1) for name in names))
        wire.send(command("CLIENT", "REPLY", "ON"))
        assert wire.read() == b"OK"
    return {name.encode() for name in names}


def blocked(wire):
    return int(re.search(rb"blocked_clients:(\d+)", wire.call("INFO", "clients"))[1])


def calls(wire, name):
    found = re.search(rb"cmdstat_%s:calls=(\d+)" % name.encode(), wire.call("INFO", "commandstats"))
    return int(found[1]) if found else 0


def under_way(observer, busy, *request):
    """Whether another client was answered while the command was in progress; reads the command's reply."""
    busy.send(command(*request))
    seen = blocked(observer)
    return seen == 1, busy.read()


def served_meanwhile(server, *request, check=lambda reply: None):
    with server.connect(60) as busy, server.connect() as observer:
        def attempt():
            served, reply = under_way(observer, busy, *request)
            check(reply)
            return served
        eventually(attempt, f"another client is served while {request[0]} is in progress", 60)
        assert blocked(observer) == 0


def test_keys(loop):
    names = fill(loop, 100_000)

    def check(reply):
        assert len(reply) == len(names) and set(reply) == names
    served_meanwhile(loop, "KEYS", "*", check=check)
    served_meanwhile(loop, "KEYS", "*nothing*", check=lambda reply: reply == [] or pytest.fail(str(reply)))


def test_keys_answers_in_order(loop):
    """Requests that a client sends after KEYS wait for its reply, and the replies are right in both protocols."""
    names = fill(loop, 50_000)
    with loop.connect(60) as wire:
        for hello in (False, True):
            if hello:
                wire.hello3()
            wire.send(command("SET", "a", 1) + command("KEYS", "key:*") + command("DEL", "key:1", "a")
                      + command("KEYS", "key:1") + command("SET", "key:1", 1) + command("PING"))
            assert wire.read() == b"OK"
            assert set(wire.read()) == names
            assert [wire.read() for _ in range(4)] == [2, [], b"OK", b"PONG"]
        wire.send(command("CLIENT", "REPLY", "SKIP") + command("KEYS", "*") + command("PING"))
        assert wire.read() == b"PONG"


def test_keys_that_stay_are_all_there_and_once(loop):
    """Others add and remove keys throughout: while the table grows, and with a FLUSHALL at the end."""
    names = fill(loop, 50_000, "stays")
    with loop.connect(60) as busy, loop.connect() as other:
        for round in range(5):
            busy.send(command("KEYS", "*"))
            for number in range(200):
                other.call("SET", f"goes:{round}:{number}", 1)
                if number % 3 == 0:
                    other.call("DEL", f"goes:{round}:{number // 2}")
            reply = busy.read()
            assert len(reply) == len(set(reply)), "a name came twice"
            assert names <= set(reply)
        busy.send(command("KEYS", "*"))
        other.ok("FLUSHALL")
        reply = busy.read()
        assert len(reply) == len(set(reply)), "a name came twice"
        assert busy.call("KEYS", "*") == []


def test_a_client_that_leaves_ends_its_walk(loop):
    fill(loop, 100_000)
    with loop.connect() as observer:
        def attempt():
            before = calls(observer, "keys")
            leaving = loop.connect()
            leaving.send(command("KEYS", "*"))
            seen = blocked(observer)
            # With a reset: the end of its input alone would mean that it still reads the reply.
            leaving.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            leaving.close()
            eventually(lambda: blocked(observer) == 0, "no client waits any more")
            # A walk that ran to its end has been counted.
            return seen == 1 and calls(observer, "keys") == before
        eventually(attempt, "a walk ends with its client", 60)


def test_a_killed_client_ends_its_walk(loop):
    fill(loop, 100_000)
    with loop.connect() as observer:
        def attempt():
            with loop.connect() as busy:
                number = busy.call("CLIENT", "ID")
                before = calls(observer, "keys")
                busy.send(command("KEYS", "*"))
                clients, killed = observer.calls("INFO clients", ["CLIENT", "KILL", "ID", number])
                assert killed == 1
                busy.until_closed()
                eventually(lambda: blocked(observer) == 0, "no client waits any more")
                return b"blocked_clients:1\r" in clients and calls(observer, "keys") == before
        eventually(attempt, "a walk ends with its client", 60)


def test_output_limits_apply_to_a_walk(loop):
    fill(loop, 100_000)
    with loop.connect() as wire, loop.connect() as other:
        other.ok("CONFIG", "SET", "client-output-buffer-limit", "normal 1000000 0 0")
        try:
            wire.send(command("KEYS", "*"))
            assert len(wire.until_closed()) < 1_000_000
            assert b"client_output_buffer_limit_disconnections:1\r" in other.call("INFO", "stats")
            assert len(other.call("KEYS", "key:1*")) == 11_112 - 1
        finally:
            other.ok("CONFIG", "SET", "client-output-buffer-limit", "normal 256mb 0 0")


def test_keys_is_counted_as_one_call(loop):
    fill(loop, 100_000)
    with loop.connect(60) as wire:
        wire.ok("CONFIG", "SET", "slowlog-log-slower-than", "0")
        wire.ok("SLOWLOG", "RESET")
        assert len(wire.call("KEYS", "*")) == 100_000
        assert calls(wire, "keys") == 1
        wire.ok("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        entries = [entry for entry in wire.call("SLOWLOG", "GET", "-1") if entry[3] == [b"KEYS", b"*"]]
        microseconds = int(re.search(rb"cmdstat_keys:calls=1,usec=(\d+)", wire.call("INFO", "commandstats"))[1])
        assert [entry[2] for entry in entries] == [microseconds]


def test_scan_of_many_keys(loop):
    """A SCAN with a COUNT of all keys yields."""
    names = fill(loop, 100_000)

    def check(reply):
        assert reply[0] == b"0" and set(reply[1]) == names
    served_meanwhile(loop, "SCAN", "0", "COUNT", "1000000", check=check)
    served_meanwhile(loop, "SCAN", "0", "COUNT", "1000000", "TYPE", "string", check=check)


def test_a_hostile_pattern_yields(loop):
    """Long keys and a long pattern for KEYS and SCAN: other clients are served, and it finishes inside EXEC."""
    with loop.connect(60) as wire, loop.connect(60) as observer:
        for number in range(16):
            wire.ok("SET", f"{number:02}" + "a" * (LONG - 2), 1)
        fill(loop, 1_000)
        served_meanwhile(loop, "KEYS", HOSTILE, check=lambda reply: reply == [] or pytest.fail(str(reply)[:200]))
        # A SCAN call returns before it has visited everything, with a cursor to continue from.
        for pattern, matching, least in ((HOSTILE, 0, 2), (HOSTILE.replace("b", "a"), 16, 1)):
            cursor, found, rounds = b"0", [], 0
            while rounds == 0 or cursor != b"0":
                cursor, names = wire.call("SCAN", cursor, "MATCH", pattern, "COUNT", "100000")
                found += names
                rounds += 1
            assert len(found) == len(set(found)) == matching
            assert rounds >= least
        keys, count, pong = transaction(wire, ["KEYS", HOSTILE], ["DBSIZE"], ["PING"])
        assert keys == (b"ERR KEYS in a transaction: the pattern takes too long to match with this many keys; use SCAN")
        assert (count, pong) == (1_016, b"PONG")
        cursor, names = transaction(wire, ["SCAN", "0", "MATCH", HOSTILE, "COUNT", "100000"])[0]
        assert names == []
        assert len(transaction(wire, ["KEYS", "key:*"])[0]) == 1_000
        assert len(transaction(wire, ["KEYS", "*aaaaaaaaaaaaaaaa*"])[0]) == 16


def test_patterns_have_a_maximum_length(loop):
    with loop.connect() as wire:
        longest, longer = "a" * 1_024, "a" * 1_025
        requests = [["KEYS"], ["SCAN", "0", "MATCH"], ["PSUBSCRIBE"], ["PSUBSCRIBE", "fine"], ["CONFIG", "GET"],
                    ["CONFIG", "GET", "port"], ["PUBSUB", "CHANNELS"], ["COMMAND", "LIST", "FILTERBY", "PATTERN"]]
        for request in requests:
            assert wire.call(*request, longer) == b"ERR pattern is longer than 1024 bytes", request
        assert wire.call("PUBSUB", "NUMPAT") == 0
        # As long as bytes that are not text, which count literally.
        for pattern in (longest, b"\xff" * 1_024):
            for request in requests:
                if request[0] != "PSUBSCRIBE":
                    assert not isinstance(wire.call(*request, pattern), ErrorReply), request
        assert wire.call("PSUBSCRIBE", longest)[0] == b"psubscribe"
    with loop.connect() as wire:
        assert wire.call("CONFIG", "GET", *["port"] * 1_025) == b"ERR CONFIG GET takes at most 1024 patterns"
        assert wire.call("COMMAND", "DOCS", *["get"] * 1_025) == b"ERR at most 1024 command names in one call"


def test_a_pipeline_of_slow_commands_yields(loop):
    """Many calls that one client sends at once: another client is served between them, and all replies are in order."""
    fill(loop, 20_000)
    count = 1_000
    request = command("SCAN", "0", "COUNT", "2000", "MATCH", "*x*")
    with loop.connect(60) as busy, loop.connect() as observer:
        def attempt():
            before = calls(observer, "scan")
            busy.send(request * count + command("PING"))
            seen = calls(observer, "scan") - before
            for _ in range(count):
                cursor, names = busy.read()
                assert cursor != b"0" and names == []
            assert busy.read() == b"PONG"
            return 0 < seen < count
        eventually(attempt, "another client is served between two commands of a pipeline", 60)


def test_many_clients_with_pipelines_all_get_their_turn(loop):
    fill(loop, 5_000)
    clients = [loop.connect(60) for _ in range(20)]
    for number, client in enumerate(clients):
        scan = command("SCAN", "0", "COUNT", "1000", "MATCH", "nothing*")
        client.send((scan + command("INCR", f"count:{number}")) * 100)
    for number, client in enumerate(clients):
        for round in range(100):
            cursor, names = client.read()
            assert cursor != b"0" and names == []
            assert client.read() == round + 1
        client.close()


def test_a_client_that_leaves_in_the_middle_of_its_pipeline(loop):
    fill(loop, 20_000)
    for _ in range(5):
        clients = [loop.connect() for _ in range(5)]
        for client in clients:
            client.send(command("SCAN", "0", "COUNT", "5000") * 500)
        for client in clients:
            client.close()
    with loop.connect() as wire:
        eventually(lambda: len(wire.call("CLIENT", "LIST").splitlines()) == 1, "the clients that left are gone")
        assert blocked(wire) == 0


def test_publish_over_many_patterns(loop):
    """Matching a channel with many patterns yields, a publisher that leaves has sent to all subscribers or to none, and
    it finishes inside EXEC."""
    patterns = [f"*{number}x*" for number in range(20_000)]
    channel = "0123456789" * 100
    with loop.connect(60) as subscriber, loop.connect(60) as publisher, loop.connect(60) as observer:
        subscriber.hello3()
        subscriber.send(command("PSUBSCRIBE", "*9", *patterns, "0*", "nothing"))
        for _ in range(len(patterns) + 3):
            subscriber.read()

        def attempt():
            publisher.send(command("PUBLISH", channel, "m"))
            seen = blocked(observer)
            assert publisher.read() == 2
            got = sorted(subscriber.read()[1] for _ in range(2))
            assert got == [b"*9", b"0*"]
            return seen == 1
        eventually(attempt, "another client is served while PUBLISH is in progress", 60)

        error, pong = transaction(publisher, ["PUBLISH", channel * 3, "m"], ["PING"])
        assert error.startswith(b"ERR PUBLISH in a transaction") and pong == b"PONG"
        assert transaction(publisher, ["PUBLISH", "short 9", "m"]) == [1]
        assert subscriber.read()[1] == b"*9"
        for _ in range(10):
            leaving = loop.connect()
            leaving.send(command("PUBLISH", channel, "last"))
            leaving.close()
        eventually(lambda: blocked(observer) == 0, "no client waits any more")
        assert observer.call("PUBLISH", "end 9", "m") == 1
        messages = []
        while not messages or messages[-1][2] != b"end 9":
            messages.append(subscriber.read())
        assert len([m for m in messages if m[1] == b"*9"]) - 1 == len([m for m in messages if m[1] == b"0*"])


def test_channels_are_listed_in_slices(loop):
    with loop.connect(60) as subscriber:
        subscriber.hello3()
        names = [f"channel:{number}:" + "x" * 20 for number in range(30_000)]
        for start in range(0, len(names), 10_000):
            subscriber.send(command("SUBSCRIBE", *names[start:start + 10_000]))
        for _ in names:
            subscriber.read()

        def check(reply):
            assert len(reply) == len(names) and set(reply) == {name.encode() for name in names}
        served_meanwhile(loop, "PUBSUB", "CHANNELS", check=check)
        served_meanwhile(loop, "PUBSUB", "CHANNELS", "channel:*x", check=check)


def test_subscriptions_are_bounded(start):
    server = start("--client-query-buffer-limit", "1mb", "--appendonly", "no")
    refusal = b"ERR subscriptions are larger than client-query-buffer-limit, none were added"
    with server.connect() as wire, server.connect() as other:
        wire.hello3()
        assert wire.call("SUBSCRIBE", *[f"c{number}" for number in range(5_000)]) == refusal
        assert wire.call("PSUBSCRIBE", *[f"p{number}" for number in range(5_000)]) == refusal
        assert other.call("PUBSUB", "CHANNELS") == [] and other.call("PUBSUB", "NUMPAT") == 0
        for _ in range(3):
            wire.send(command("SUBSCRIBE", *[f"c{number}" for number in range(3_000)]))
            assert wire.calls(*[["PING"]] * 1) and [wire.read() for _ in range(3_000)][-1] is not None
            wire.send(command("UNSUBSCRIBE"))
            for _ in range(3_000):
                wire.read()


def test_rules_are_listed_in_slices_and_in_order(loop):
    with loop.connect(60) as wire:
        wire.ok("RL.POLICY", "SET", "p", "LIMIT", "1", "PER", "1s")
        count = 3_000
        for start in range(0, count, 500):
            wire.send(b"".join(command("RL.RULE", "SET", f"t{n * 7919 % count:05}", "*", "*", "POLICY", "p")
                               for n in range(start, start + 500)))
            assert [wire.read() for _ in range(500)] == [b"OK"] * 500
        expected = [b"t%05d" % n for n in range(count)]

        def check(reply):
            assert [rule[1] for rule in reply] == expected
        try:
            served_meanwhile(loop, "RL.RULE", "LIST", check=check)
            check(transaction(wire, ["RL.RULE", "LIST"])[0])
        finally:
            wire.send(b"".join(command("RL.RULE", "DEL", name, "*", "*") for name in expected))
            assert [wire.read() for _ in expected] == [1] * count
            assert wire.call("RL.POLICY", "DEL", "p") == 1


def test_randomkey_in_a_table_that_is_nearly_empty(loop):
    """Right after nearly all keys were deleted the table is still large: the remaining key is found."""
    names = sorted(fill(loop, 200_000))
    with loop.connect(60) as wire:
        for start in range(1, len(names), 50_000):
            wire.call("DEL", *names[start:start + 50_000])
        assert wire.call("RANDOMKEY") == names[0]
        assert transaction(wire, ["RANDOMKEY"]) == [names[0]]
        assert wire.call("DEL", names[0]) == 1
        assert wire.call("RANDOMKEY") is None


def test_shutdown_answers_commands_in_progress(start):
    server = start("--io-threads", "1", "--appendonly", "no")
    names = fill(server, 50_000)
    with server.connect(60) as wire:
        wire.send(command("KEYS", "*") + command("PING"))
        server.stop()
        reply = wire.until_closed()
    # Either it had not been read at all, or it is answered completely.
    assert reply == b"" or reply.startswith(b"*50000\r\n") and reply.endswith(b"+PONG\r\n")
    assert reply == b"" or reply.count(b"\r\n$") + 1 >= len(names)


def test_another_loop_can_stop_a_loop_that_is_busy(start):
    """CLIENT LIST needs every loop to stop: it is answered while KEYS is in progress on another loop, not after it."""
    server = start("--io-threads", "2", "--appendonly", "no")
    names = fill(server, 200_000)
    with server.connect(60) as first, server.connect(60) as second:
        def attempt():
            # Each loop has one of them, and either loop may be the busy one.
            for busy, observer in ((first, second), (second, first)):
                number = busy.call("CLIENT", "ID")
                busy.send(command("KEYS", "*"))
                seen = re.search(rb"id=%d .* flags=(\S+)" % number, observer.call("CLIENT", "LIST"))[1]
                assert len(busy.read()) == len(names)
                if b"b" not in seen:
                    return False
            return True
        eventually(attempt, "CLIENT LIST is answered while KEYS is in progress on the other loop", 60)
