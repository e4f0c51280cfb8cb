"""Publish/subscribe across connections and protocols."""

import threading

import pytest

from wire import PATIENCE, Push, command, eventually


def subscribe(connection, *channels, verb="SUBSCRIBE"):
    connection.send(command(verb, *channels))
    return [connection.read() for _ in channels]


def test_message_forms(server, wire):
    with server.connect() as two, server.connect() as three:
        three.hello3()
        for connection in (two, three):
            subscribe(connection, "news")
            subscribe(connection, "n?w*", verb="PSUBSCRIBE")
        assert wire.call("PUBLISH", "news", b"\r\n\0x") == 4
        body = b"$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\n\r\n\0x\r\n"
        pattern = b"$8\r\npmessage\r\n$4\r\nn?w*\r\n$4\r\nnews\r\n$4\r\n\r\n\0x\r\n"
        two.expect_exact(b"*3\r\n" + body + b"*4\r\n" + pattern)
        three.expect_exact(b">3\r\n" + body + b">4\r\n" + pattern)
        assert wire.call("PUBLISH", "other", "x") == 0


@pytest.mark.parametrize(
    "pattern, channel, matches",
    [("*", "any", True), ("h?llo", "hello", True), ("h?llo", "hllo", False), ("h*llo", "hllo", True),
     ("h[ae]llo", "hallo", True), ("h[ae]llo", "hillo", False), ("h[^e]llo", "hallo", True),
     ("h[^e]llo", "hello", False), ("h[a-c]llo", "hbllo", True), ("h[a-c]llo", "hdllo", False),
     ("h\\*llo", "h*llo", True), ("h\\*llo", "hxllo", False), ("a*b*c", "a-b-b-c", True), ("a*b*c", "a-c-b", False),
     ("", "", True), ("", "a", False)])
@pytest.mark.parametrize("target", ["server", "reference"])
def test_patterns(request, target, pattern, channel, matches):
    running = request.getfixturevalue(target)
    with running.connect() as subscriber, running.connect() as publisher:
        subscribe(subscriber, pattern, verb="PSUBSCRIBE")
        assert publisher.call("PUBLISH", channel, "x") == int(matches)


def test_introspection(server, wire):
    with server.connect() as one, server.connect() as two:
        subscribe(one, "alpha", "beta")
        subscribe(two, "alpha")
        subscribe(two, "al*", verb="PSUBSCRIBE")
        assert sorted(wire.call("PUBSUB", "CHANNELS")) == [b"alpha", b"beta"]
        assert wire.call("PUBSUB", "CHANNELS", "al*") == [b"alpha"]
        assert wire.call("PUBSUB", "NUMSUB", "alpha", "beta", "gamma") == [b"alpha", 2, b"beta", 1, b"gamma", 0]
        assert wire.call("PUBSUB", "NUMPAT") == 1
        listed = wire.call("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()
        assert len(listed) == 2
        assert any(" sub=1 psub=1 " in line and " flags=P " in line for line in listed)
    eventually(lambda: wire.call("PUBSUB", "CHANNELS") == [], "closed connections are unsubscribed")
    assert wire.call("PUBSUB", "NUMPAT") == 0


def test_every_subscriber_gets_all_in_order(server, wire):
    """Subscribers on all loops, publishers on several: the messages of each publisher stay in order."""
    count, publishers = 300, 3
    subscribers = [server.connect() for _ in range(10)]
    try:
        for subscriber in subscribers:
            subscribe(subscriber, "ch")

        def publish(name):
            with server.connect() as connection:
                connection.send(b"".join(command("PUBLISH", "ch", f"{name}:{i}") for i in range(count)))
                assert {connection.read() for _ in range(count)} == {10}

        threads = [threading.Thread(target=publish, args=(n,)) for n in range(publishers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        for subscriber in subscribers:
            got = {str(n): [] for n in range(publishers)}
            for _ in range(count * publishers):
                kind, channel, payload = subscriber.read()
                assert (kind, channel) == (b"message", b"ch")
                name, index = payload.decode().split(":")
                got[name].append(int(index))
            assert all(seen == list(range(count)) for seen in got.values())
    finally:
        for subscriber in subscribers:
            subscriber.close()


def test_push_never_splits_a_reply(server, wire):
    """A RESP3 subscriber runs commands while messages arrive: replies and pushes alternate, each complete."""
    stop = threading.Event()

    def pour():
        with server.connect() as connection:
            while not stop.is_set():
                connection.calls(*[["PUBLISH", "flood", "x" * 50]] * 20)

    wire.hello3()
    subscribe(wire, "flood")
    thread = threading.Thread(target=pour)
    thread.start()
    try:
        pushes = 0
        for index in range(300):
            wire.send(command("ECHO", f"mine {index}"))
            while isinstance(reply := wire.read(), Push):
                assert reply == [b"message", b"flood", b"x" * 50]
                pushes += 1
            assert reply == b"mine %d" % index
        while pushes == 0:
            pushes += isinstance(wire.read(), Push)
    finally:
        stop.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize("target", ["server", "reference"])
def test_own_message(request, target):
    """A client that publishes to its own channel gets its message before or after the reply, both complete."""
    with request.getfixturevalue(target).connect() as connection:
        connection.hello3()
        subscribe(connection, "mine")
        connection.send(command("PUBLISH", "mine", "hi"))
        got = [connection.read() for _ in range(2)]
        assert sorted(isinstance(g, Push) for g in got) == [False, True]
        assert 1 in got and [b"message", b"mine", b"hi"] in got


def test_publish_inside_a_transaction(server, wire):
    with server.connect() as subscriber:
        subscribe(subscriber, "ch")
        assert wire.calls("MULTI", "PUBLISH ch a", "PUBLISH ch b", "EXEC")[3] == [1, 1]
        assert [subscriber.read()[2] for _ in range(2)] == [b"a", b"b"]


def test_unsubscribe_from_all(wire):
    subscribe(wire, "a", "b", "c")
    wire.send(command("UNSUBSCRIBE"))
    replies = [wire.read() for _ in range(3)]
    assert sorted(r[1] for r in replies) == [b"a", b"b", b"c"] and [r[2] for r in replies] == [2, 1, 0]
    assert wire.call("ECHO", "x") == b"x"
