"""Everything at once: dozens of clients that send random commands in pieces, disconnect in the middle, kill each other,
stop all loops and do not read. The server must survive, release every client, and stop when asked.

The seed is printed; ESCAPEMENT_SEED repeats its requests (not their timing). ESCAPEMENT_ATTACK_SECONDS sets the
duration.
"""

import os
import random
import re
import signal
import socket
import threading
import time

import pytest

from clock import rests
from dice import new_seed
from gated_files import Gate
from http_wire import HTTPWire
from ports import free_port
from server import Server, run_to_end
from wire import PATIENCE, Wire, command, eventually

# Duration; 0 to run until enough clients have come and gone.
SECONDS = float(os.environ.get("ESCAPEMENT_ATTACK_SECONDS", "0"))
THREADS = 8
CONNECTIONS_EACH = 8
# Number of clients that each thread runs.
CLIENTS_EACH = 120

NUMBERS = ["0", "1", "-1", "2", "10", "999", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
           "9223372036854", "4294967296", "18446744073709551615", "1e9", "nan", "inf", "-0", "+1", "01", "", " 1"]
WORDS = ["", "a", "b", "k1", "k2", "k3", "ch", "ch2", "*", "[", "\\", "k*", "x" * 300, "\x00\xff\r\n", "NX", "GT", "COUNT",
         "MATCH", "TYPE", "ID", "ADDR", "SKIPME", "yes", "no", "default", "ON", "OFF", "SKIP", "ALL", "WRITE"]

ALGORITHMS = ["gcra", "token-bucket", "fixed-window", "sliding-window", "sliding-log", "calendar", "x"]

# Commands with the choices for each argument; a list of one word is that word.
N, W = NUMBERS, WORDS
GRAMMAR = [
    ["CL.THROTTLE", W, N, N, N], ["CL.THROTTLE", W, N, N, N, N], ["CL.THROTTLE", W, ["15"], ["30"], ["60"]],
    ["CL.THROTTLE", W, ["15"], ["30"], ["60"], ["0"]], ["CL.THROTTLE"], ["DEL", W], ["DEL", W, W, W], ["EXISTS", W, W],
    ["RL.TAKE", W, ["LIMIT"], N, ["PER"], N], ["RL.TAKE", W, ["LIMIT"], N, ["PER"], N, ["COST", "BURST", "ID"], N],
    ["RL.TAKE", W, ["LIMIT"], ["9"], ["PER"], ["1h"], ["ALGO"], ALGORITHMS],
    ["RL.TAKE", W, ["LIMIT"], ["9"], ["PER"], ["1h"], ["ATMOST"], ["COST"], N], ["RL.TAKE", W, ["POLICY"], W],
    ["RL.PEEK", W, ["LIMIT"], ["9"], ["PER"], ["1m"], ["ALGO"], ALGORITHMS], ["RL.RESET", W], ["RL.TAKE", W],
    ["RL.REFUND", W, ["LIMIT"], ["9"], ["PER"], ["1m"], ["ALGO"], ALGORITHMS, ["COST"], N],
    ["RL.TAKEALL", W, ["LIMIT"], N, ["PER"], ["9"], ["AND"], W, ["POLICY"], W, ["COST"], N],
    ["RL.TAKEALL", W, ["LIMIT"], ["9"], ["PER"], ["9"], ["AND"], W, ["LIMIT"], ["9"], ["PER"], ["9"]],
    ["RL.CHECK", W, W, W], ["RL.CHECK", W, W, W, ["COST", "ID", "ATMOST"], N], ["RL.RULE", ["LIST", "RELOAD", "HELP"]],
    ["RL.POLICY", ["SET"], W, ["LIMIT"], N, ["PER"], N, ["MODE"], ["enforce", "shadow", "off", "x"]],
    ["RL.POLICY", ["SET"], W, ["ALGO"], ALGORITHMS, ["LIMIT"], ["9"], ["PER"], ["1s"]],
    ["RL.POLICY", ["GET", "DEL"], W], ["RL.POLICY", ["LIST", "HELP"]], ["RL.RULE", ["SET"], W, W, W, ["POLICY"], W],
    ["RL.RULE", ["GET", "DEL", "RESOLVE"], W, W, W], ["INCR", W], ["DECR", W], ["INCRBY", W, N], ["DECRBY", W, N],
    ["SET", W, N], ["SET", W, N, ["EX", "PX", "EXAT"], N], ["SET", W, N, ["NX", "XX", "GET", "KEEPTTL"]], ["GETDEL", W],
    ["SETNX", W, N], ["GETSET", W, N], ["SETEX", W, N, N], ["PSETEX", W, N, N], ["GETEX", W],
    ["GETEX", W, ["EX", "PXAT", "PERSIST"], N], ["GETEX", W, ["PERSIST"]], ["STRLEN", W], ["MGET", W, W, W],
    ["MSET", W, N, W, N], ["MSETNX", W, N, W, N], ["COPY", W, W], ["COPY", W, W, ["REPLACE"]], ["RENAME", W, W],
    ["RENAMENX", W, W],
    ["INCREX", W, ["BYINT", "UBOUND", "LBOUND", "EX"], N], ["INCREX", W, ["SATURATE", "ENX", "PERSIST"]],
    ["TTL", W], ["PTTL", W], ["EXPIRE", W, N], ["EXPIRE", W, N, W], ["PEXPIREAT", W, N], ["PERSIST", W], ["TYPE", W],
    ["GET", W], ["KEYS", W], ["SCAN", N], ["SCAN", N, ["COUNT"], N], ["SCAN", N, ["MATCH"], W], ["RANDOMKEY"],
    ["DBSIZE"], ["FLUSHALL"], ["FLUSHDB", ["ASYNC", "SYNC", "x"]], ["OBJECT", ["ENCODING", "FREQ", "HELP"], W],
    ["MEMORY", ["USAGE"], W], ["PING"], ["PING", W], ["ECHO", W], ["QUIT"], ["SELECT", N], ["RESET"], ["AUTH", W],
    ["HELLO", ["2", "3", *N]], ["HELLO", ["3"], ["SETNAME", "AUTH"], W], ["MULTI"], ["MULTI"], ["EXEC"], ["EXEC"],
    ["DISCARD"], ["WATCH", W, W], ["UNWATCH"], ["SUBSCRIBE", W, W], ["PSUBSCRIBE", W], ["UNSUBSCRIBE"],
    ["UNSUBSCRIBE", W], ["PUNSUBSCRIBE"], ["PUBLISH", W, W], ["PUBLISH", ["ch"], ["m" * 2000]],
    ["PUBSUB", ["CHANNELS", "NUMSUB", "NUMPAT"]], ["MONITOR"], ["CLIENT", ["LIST"]], ["CLIENT", ["INFO", "ID"]],
    ["CLIENT", ["LIST"], ["ID", "TYPE"], N], ["CLIENT", ["KILL"], ["ID"], N], ["CLIENT", ["KILL"], ["TYPE"], ["pubsub"]],
    ["CLIENT", ["KILL"], W], ["CLIENT", ["PAUSE"], ["0", "1", "20", "50"]],
    ["CLIENT", ["PAUSE"], ["1", "30", "-1", "x", "9223372036854775807"], ["WRITE", "ALL", "x"]],
    ["CLIENT", ["UNPAUSE"]], ["CLIENT", ["REPLY"], ["ON", "OFF", "SKIP"]], ["CLIENT", ["SETNAME"], W],
    ["CLIENT", ["NO-EVICT", "NO-TOUCH"], W], ["CONFIG", ["GET"], W], ["CONFIG", ["SET"], ["timeout"], ["0", "100"]],
    ["CONFIG", ["SET"], ["slowlog-log-slower-than"], ["0", "-1", "100"]],
    ["CONFIG", ["SET"], ["maxmemory"], ["0", "1mb", "100mb"]], ["CONFIG", ["SET"], W, N], ["CONFIG", ["RESETSTAT"]],
    ["CONFIG", ["SET"], ["client-output-buffer-limit"], ["pubsub 1mb 0 0", "normal 64mb 1mb 1"]],
    ["INFO"], ["INFO", ["all", "clients", "x"]], ["SLOWLOG", ["GET"], N], ["SLOWLOG", ["LEN", "RESET"]],
    ["LATENCY", ["LATEST", "DOCTOR", "HISTOGRAM", "RESET"]], ["COMMAND"], ["COMMAND", ["COUNT", "DOCS", "INFO"]],
    ["COMMAND", ["GETKEYS"], ["CL.THROTTLE", "DEL", "EXEC"], W], ["WAIT", N, N], ["TIME"], ["ROLE"], ["LOLWUT"],
    ["DEBUG", ["SLEEP"], ["nan", "inf", "-1", "0.001", "1e99"]], ["NOSUCH", W, W], [W, W],
]
MALFORMED = [b"*-1\r\n", b"*0\r\n", b"\r\n", b"*1\r\n$-1\r\n", b"*99999999\r\n", b"$3\r\nabc\r\n", b"*1\r\n:1\r\n",
             b'ECHO "unbalanced\r\n', b"*2\r\n$3\r\nGET\r\n$999999999\r\n", b"\x00\x01\x02\r\n", b"*1\r\n$4\r\nPINGxx"]


def as_bytes(word):
    return word.encode("latin-1")


def request(dice):
    if dice.random() < 0.02:
        return dice.choice(MALFORMED)
    shape = dice.choice(GRAMMAR)
    words = [as_bytes(dice.choice(part) if isinstance(part, list) else part) for part in shape]
    inline = dice.random() < 0.1 and all(w and w.isalnum() or b"." in w for w in words)
    return b" ".join(words) + b"\r\n" if inline else command(*words)


class Client:
    """One socket that sends random requests."""

    def __init__(self, dice, address):
        self.dice = dice
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setblocking(False)
        self.unsent = b""
        self.reads = dice.random() < 0.8

    def step(self):
        """Returns False once the connection is over."""
        try:
            if self.reads or self.dice.random() < 0.02:
                if self.socket.recv(1 << 18) == b"":
                    return False
        except BlockingIOError:
            pass
        except OSError:
            return False
        if not self.unsent:
            self.unsent = b"".join(request(self.dice) for _ in range(self.dice.choice([1, 1, 2, 5, 40, 200])))
        piece = self.dice.choice([1, 2, 3, 17, 200, 5000, 100_000])
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent[:piece]) :]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return self.dice.random() > 0.004

    def end(self):
        """Disconnects in one of the ways in which clients do."""
        try:
            way = self.dice.randrange(3)
            if way == 0:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            elif way == 1:
                self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.socket.close()


def attack(seed, address, is_over, counts):
    dice = random.Random(seed)
    clients = []
    counts[seed] = 0
    while not is_over(counts[seed]):
        while len(clients) < CONNECTIONS_EACH:
            try:
                clients.append(Client(dice, address))
            except OSError:
                return
        for client in list(clients):
            if not client.step():
                client.end()
                clients.remove(client)
                counts[seed] += 1
    for client in clients:
        client.end()


def resident_megabytes(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def quiet(server, wire):
    """Whether no client is left except this connection, and briefly those whose end the server has not noticed yet."""
    return b"connected_clients:1\r\n" in wire.call("INFO", "clients")


def test_everything_at_once(start):
    seed = new_seed("everything at once")
    server = start("--io-threads", "4", "--enable-debug-command", "local", "--shutdown-timeout", "2")
    until = time.monotonic() + SECONDS
    ends = {}

    def is_over(gone):
        return time.monotonic() >= until if SECONDS else gone >= CLIENTS_EACH

    threads = [threading.Thread(target=attack, args=(seed + n, server.address, is_over, ends)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 10 * PATIENCE)
        assert not thread.is_alive()
    assert server.process.poll() is None, f"the server ended: {server.log()[-3000:]}"
    assert SECONDS or min(ends.values()) >= CLIENTS_EACH, "no client was accepted any more"
    with server.connect() as wire:
        wire.send(command("CLIENT", "UNPAUSE"))
        assert wire.read() == b"OK"
        wire.ok("CONFIG", "SET", "timeout", "0")
        eventually(lambda: quiet(server, wire), "all other clients are gone")
        assert b"pubsub_channels:0\r\n" in wire.call("INFO", "stats")
        # A new connection goes to the loop with the fewest, so every loop gets some.
        others = [server.connect() for _ in range(12)]
        for other in others:
            assert other.call("PING") == b"PONG"
            other.close()
        assert resident_megabytes(server.pid) < 1000
        eventually(lambda: quiet(server, wire), "all other clients are gone")
        eventually(lambda: rests(server.pid), "an idle server uses no processor time")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0


def test_inline_limiter_calls_in_one_pipeline(start):
    """Their arguments are copies; each call is decided on its own key."""
    server = start("--io-threads", "1")
    with server.connect() as wire:
        names = [f"key-{number}-{'y' * (number % 50)}" for number in range(100)]
        wire.send(b"".join(f"CL.THROTTLE {name} 4 1 1000\r\n".encode() for name in names))
        for _ in names:
            assert wire.read() == [0, 5, 4, -1, 1000]
        assert sorted(wire.call("KEYS", "*")) == sorted(name.encode() for name in names)


def test_longest_pause_is_refused_or_kept(start):
    """Around the longest pause that fits 64 bits of nanoseconds; every addition must be checked for overflow."""
    server = start("--io-threads", "1")
    with server.connect() as wire:
        longest = (2**63 - 1) // 1_000_000
        for _ in range(40):
            now = int(time.time() * 1000)
            for milliseconds in (longest - now - 1, longest - now, longest - now + 1, longest, 2**63 - 1):
                reply = wire.call("CLIENT", "PAUSE", milliseconds, "WRITE")
                assert reply == b"OK" or reply.startswith(b"ERR timeout is not an integer")
            wire.ok("CLIENT", "UNPAUSE")


def test_pipeline_of_large_replies_is_bounded(start):
    """A few bytes of request produce megabytes: unread output counts against the limit while it accumulates."""
    server = start("--io-threads", "1", "--client-output-buffer-limit", "normal", "8mb", "0", "0")
    with server.connect() as greedy, server.connect() as other:
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = resident_megabytes(server.pid)
        greedy.send(b"COMMAND\r\n" * 2000)
        eventually(
            lambda: b"client_output_buffer_limit_disconnections:1\r\n" in other.call("INFO", "stats"), "closed")
        peak = int(next(line.split()[1] for line in open(f"/proc/{server.pid}/status") if line.startswith("VmHWM:")))
        assert peak / 1024 - before < 100


def test_unread_input_after_quit_does_not_spin(start):
    server = start("--io-threads", "1")
    with server.connect() as stuck, server.connect() as other:
        stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.timeout = 1.0
        try:
            stuck.send(command("ECHO", "x" * 500_000) * 20 + command("QUIT"))
            stuck.send(b"y" * 1_000_000)
        except OSError:
            pass
        assert other.call("PING") == b"PONG"
        eventually(lambda: rests(server.pid), "unwritable output uses no processor time")


def test_no_descriptors_left_does_not_spin(start):
    """A connection that cannot be accepted waits, and is served once a descriptor is free."""
    resource = pytest.importorskip("resource")
    server = start("--io-threads", "1", "--maxclients", "100")
    used = len(os.listdir(f"/proc/{server.pid}/fd"))
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, hard))
    # One may still be accepted: the connection that checked whether the server is ready frees its descriptor.
    waiting = [Wire(server.address) for _ in range(4)]
    try:
        server.wait_log("accept failed")
        eventually(lambda: rests(server.pid), "connections that cannot be accepted use no processor time")
        assert 1 <= server.log().count("accept failed") <= 2
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))
        for connection in waiting:
            assert connection.call("PING") == b"PONG"
    finally:
        for connection in waiting:
            connection.close()


def test_drain_has_one_deadline(start):
    """Slow peers on every loop delay the stop once, not once per loop."""
    # Two of these seconds are reserved for the disk. One after the other, the loops would take four seconds each:
    # longer than any test waits for an exit.
    server = start("--io-threads", "16", "--shutdown-timeout", "6")
    slow = [server.connect() for _ in range(16)]
    try:
        for connection in slow:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.timeout = 0.2
            try:
                connection.send(command("ECHO", "x" * 500_000) * 20 + command("CLIENT", "LIST") * 10)
            except OSError:
                pass
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
    finally:
        for connection in slow:
            connection.close()


def test_idle_loops_notice_a_new_timeout(start):
    server = start("--io-threads", "2")
    idle = [server.connect() for _ in range(4)]
    for connection in idle:
        connection.call("PING")
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "timeout", "1")

    def clients():
        # A separate connection, which is never idle for a second however slow the test is.
        with server.connect() as wire:
            return wire.call("CLIENT", "LIST").count(b"\n")

    eventually(lambda: clients() == 1, "the idle clients are closed")
    for connection in idle:
        connection.close()


def test_a_client_that_was_paused_is_not_idle(start):
    """The time during which the server kept its request is not idle time."""
    server = start()
    with server.connect() as wire, server.connect() as paused:
        number = paused.call("CLIENT", "ID")

        def idle():
            return int(re.search(rb"idle=(\d+)", wire.call("CLIENT", "LIST", "ID", number))[1])

        wire.ok("CLIENT", "PAUSE", "100000", "WRITE")
        paused.send(command("SET", "k", "1"))
        eventually(lambda: idle() >= 2, "it has waited")
        before = time.monotonic()
        wire.ok("CLIENT", "UNPAUSE")
        assert paused.read() == b"OK"
        assert idle() <= time.monotonic() - before + 1


@pytest.mark.parametrize("http", [False, True], ids=["resp", "http"])
def test_a_client_whose_reply_waits_for_the_disk_is_not_idle(tmp_path, monkeypatch, http):
    """It gets the reply, however long the disk takes: what was taken for it is not lost to it."""
    gate = Gate(tmp_path, monkeypatch)
    port = free_port()
    server = Server(
        tmp_path / "data", "--appendfsync", "always", "--timeout", "1", "--http-port", port, "--http-idle-timeout", "1")
    try:
        gate.close()
        with server.connect() as wire, HTTPWire(port) as api, server.connect() as client:
            number = client.call("CLIENT", "ID")
            if http:
                body = b'{"key": "k", "limit": 5, "per": "1d"}'
                api.send(b"POST /v1/take HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                number = eventually(
                    lambda: re.search(rb"id=(\d+) .* cmd=rl.take", wire.call("CLIENT", "LIST")), "it is there")[1]
            else:
                client.send(command("RL.TAKE", "k", "LIMIT", "5", "PER", "1d"))

            def has_waited():
                line = wire.call("CLIENT", "LIST", "ID", number)
                assert line, "it was closed"
                return int(re.search(rb"idle=(\d+)", line)[1]) >= 4

            eventually(has_waited, "it has waited")
            gate.open()
            assert api.response().status == 200 if http else client.read()[0] == 1
    finally:
        gate.open()
        server.stop()


def test_a_file_at_the_socket_path_is_kept(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    status, output = run_to_end(
        "--port", free_port(), "--dir", tmp_path / "data", "--unixsocket", precious, cwd=tmp_path)
    assert status == 1 and str(precious) in output
    assert precious.read_text() == "keep me"


def test_no_message_after_leaving_a_channel(start):
    """A message that arrives after its receiver has unsubscribed would be mistaken for the next command's reply."""
    server = start("--io-threads", "4")
    stop = threading.Event()

    def publish():
        with server.connect() as wire:
            while not stop.is_set():
                wire.calls(*[("PUBLISH", "ch", "m")] * 20)

    publishers = [threading.Thread(target=publish) for _ in range(2)]
    for publisher in publishers:
        publisher.start()
    try:
        with server.connect() as wire:
            for _ in range(400):
                wire.send(command("SUBSCRIBE", "ch") + command("UNSUBSCRIBE", "ch"))
                while wire.read() != [b"unsubscribe", b"ch", 0]:
                    pass
                wire.send(command("ECHO", "mine"))
                assert wire.read() == b"mine"
    finally:
        stop.set()
        for publisher in publishers:
            publisher.join(PATIENCE)


def test_limiter_call_after_a_subcommand_is_listed(start):
    """The last command shown by CLIENT LIST must not include a subcommand of an earlier one."""
    server = start("--io-threads", "1")
    with server.connect() as wire, server.connect() as other:
        wire.ok("CLIENT", "SETNAME", "caller")
        wire.call("CL.THROTTLE", "k", 1, 1, 1)
        assert b"name=caller" in other.call("CLIENT", "LIST") and b"cmd=cl.throttle" in other.call("CLIENT", "LIST")
