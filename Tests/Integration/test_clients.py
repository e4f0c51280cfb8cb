"""Stock programs and client libraries, with a user's typical options. A missing one fails in CI and is skipped with a
reason elsewhere."""

import asyncio
import os
import pathlib
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import threading
import time

import fcntl
import pytest
import redis
import redis.asyncio
from redis._parsers import CommandsParser
from redis.backoff import NoBackoff
from redis.retry import Retry

from clock import Countdown
from conftest import missing
from server import ROOT
from wire import PATIENCE, MapReply, command

PROGRAMS = ROOT / "Tests" / "Clients"


def need(program):
    path = shutil.which(program)
    if path is None:
        missing(f"{program} is not installed (scripts/setup test)")
    return path


def run(arguments, stdin=b"", seconds=2 * PATIENCE):
    done = subprocess.run([str(a) for a in arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=seconds)
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{output[-2000:]}"
    assert "assert" not in output.lower(), output
    return output


def fill(wire, count):
    wire.send(b"".join(command("CL.THROTTLE", f"key:{i}", 4, 1, 1000) for i in range(count)))
    for _ in range(count):
        wire.read()


# redis-cli


@pytest.fixture
def cli(server):
    return [need("redis-cli"), "-p", server.port]


@pytest.mark.parametrize("flags", [[], ["-3"]], ids=["default", "-3"])
def test_cli(cli, flags):
    call = [*cli, *flags, "CL.THROTTLE", "k", 1, 1, 1000]
    left = Countdown()
    assert [[int(word) for word in run(call).split()] for _ in range(3)] == [
        [0, 2, 1, -1, 1000], [0, 2, 0, -1, left(2000)], [1, 2, 0, left(1000), left(2000)]]
    assert run([*cli, *flags, "NOSUCH", "k"]).startswith("ERR unknown command 'NOSUCH'")
    assert run([*cli, *flags, "INFO", "server"]).startswith("# Server")
    assert "maxclients" in run([*cli, *flags, "CONFIG", "GET", "maxclients"])
    assert run([*cli, *flags, "-n", 0, "PING"]) == "PONG\n"
    assert run([*cli, *flags, "-r", 5, "PING"]) == "PONG\n" * 5


def test_cli_with_password(start):
    server = start(password="secret")
    base = [need("redis-cli"), "-p", server.port, "--no-auth-warning"]
    assert run([*base, "-a", "secret", "PING"]) == "PONG\n"
    assert run([*base, "-3", "--user", "default", "--pass", "secret", "PING"]) == "PONG\n"
    assert "NOAUTH" in run([*base, "PING"])


def test_cli_latency(cli):
    output = run([*cli, "--latency", "-i", "0.3"])
    assert len(output.split()) == 4 and float(output.split()[2]) >= 0, output


@pytest.mark.parametrize("mode", ["--bigkeys", "--memkeys"])
@pytest.mark.parametrize("flags", [[], ["-3"]], ids=["default", "-3"])
def test_cli_key_statistics(cli, wire, mode, flags):
    fill(wire, 500)
    output = run([*cli, *flags, mode])
    assert "Sampled 500 keys in the keyspace!" in output, output
    fresh = run([*cli, "FLUSHALL"])
    assert fresh == "OK\n" and "Sampled 0 keys" in run([*cli, *flags, mode])


def test_cli_scan(cli, wire):
    fill(wire, 300)
    assert set(run([*cli, "--scan", "--pattern", "key:1*"]).split()) == {
        f"key:{i}" for i in range(300) if str(i).startswith("1")}
    assert len(set(run([*cli, "-3", "--scan"]).split())) == 300


def test_cli_pipe(cli, wire):
    requests = b"".join(command("CL.THROTTLE", b"pipe\r\n%d" % (i % 10), 99, 1, 1000) for i in range(5000))
    output = run([*cli, "--pipe"], stdin=requests)
    assert "errors: 0, replies: 5000" in output, output
    assert wire.call("DBSIZE") == 10


def read_lines(process, count, seconds=PATIENCE):
    """Lines of a program that does not end on its own."""
    lines, deadline = [], time.monotonic() + seconds
    while len(lines) < count:
        ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        line = process.stdout.readline() if ready else b""
        assert line, f"{process.args} gave only {lines}"
        lines.append(line.decode())
    return lines


def test_cli_stat(cli, wire):
    fill(wire, 42)
    arguments = [str(a) for a in [*cli, "--stat", "-i", "0.05"]]
    if shutil.which("stdbuf"):
        arguments = ["stdbuf", "-oL", *arguments]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as process:
        try:
            lines = read_lines(process, 6)
        finally:
            process.terminate()
    assert "data" in lines[0] and "keys" in lines[1], lines
    for line in lines[2:]:
        keys, memory, clients, blocked, requests = line.split()[:5]
        assert keys == "42" and clients >= "1" and blocked == "0" and int(requests) > 0, lines
        assert memory[0].isdigit() and memory[-1] in "BKMG" and memory != "0B", lines


def test_cli_monitor(cli, wire):
    with subprocess.Popen([str(a) for a in [*cli, "MONITOR"]], stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            assert read_lines(process, 1) == ["OK\n"]
            wire.call("CL.THROTTLE", "a b", 1, 1, 1000)
            (line,) = read_lines(process, 1)
            assert line.endswith('"CL.THROTTLE" "a b" "1" "1" "1000"\n'), line
        finally:
            process.terminate()


# Colours and cursor movements; an incomplete one at the end of a read is completed by the next read.
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Terminal:
    """A program in a pseudo-terminal of 200 columns."""

    def __init__(self, arguments, home):
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            [str(a) for a in arguments], stdin=side, stdout=side, stderr=side, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "HOME": str(home)})
        os.close(side)
        self.main, self.seen = main, ""

    def type(self, text):
        self.seen = ""
        os.write(self.main, text.encode())

    def expect(self, *texts, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while not all(t in self.seen for t in texts):
            self.read_more(deadline, texts)

    def read_more(self, deadline, awaited):
        ready, _, _ = select.select([self.main], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"waited for {awaited!r}, saw {self.seen!r}"
        try:
            data = os.read(self.main, 65536)
        except OSError:
            data = b""
        assert data, f"ended before {awaited!r}, saw {self.seen!r}"
        self.seen = ESCAPES.sub("", self.seen + data.decode(errors="replace"))

    def enter(self, text, prompt):
        """Types a line and waits for the next prompt: the program discards what is typed before it."""
        self.type(text + "\r")
        deadline = time.monotonic() + PATIENCE
        while not ("\n" in self.seen and self.seen.endswith(prompt)):
            self.read_more(deadline, prompt)
        return self.seen

    def end(self, seconds=PATIENCE):
        """Reads to the end, since a program blocks on a full terminal, and returns the exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if select.select([self.main], [], [], 0.05)[0]:
                    self.seen += os.read(self.main, 65536).decode(errors="replace")
            except OSError:
                break
        status = self.process.wait(PATIENCE)
        os.close(self.main)
        return status


@pytest.mark.parametrize("flags", [[], ["-3"]], ids=["default", "-3"])
def test_cli_interactive(cli, wire, tmp_path, flags):
    wire.hello3()
    docs = wire.call("COMMAND", "DOCS", "CL.THROTTLE")[b"cl.throttle"]
    assert isinstance(docs, MapReply)
    names = [dict(a)[b"name"].decode() for a in docs[b"arguments"]]
    prompt = f"127.0.0.1:{cli[2]}> "
    terminal = Terminal([*cli, *flags], tmp_path)
    try:
        terminal.expect(prompt)
        terminal.type("CL.THROTTLE ")
        terminal.expect(*names)
        answer = terminal.enter("k 4 1 1000", prompt)
        for part in ("1) (integer) 0", "2) (integer) 5", "3) (integer) 4", "4) (integer) -1", "5) (integer) 1000"):
            assert part in answer, answer
        answer = terminal.enter("HELP CL.THROTTLE", prompt)
        for part in (docs[b"summary"].decode(), docs[b"since"].decode(), "CL.THROTTLE " + names[0]):
            assert part in answer, answer
        for line in ("HELP CLIENT LIST", "HELP @generic", "HELP @connection", "HELP CONFIG", "HELP nosuch"):
            terminal.enter(line, prompt)
        terminal.type("cl.thr\t")
        terminal.expect("CL.THROTTLE", *names)
        terminal.type("\x15")
        assert "PONG" in terminal.enter("PING", prompt)
        terminal.type("exit\r")
        assert terminal.end() == 0
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
    assert "assert" not in terminal.seen.lower()


@pytest.mark.parametrize("flags", [[], ["-3"]], ids=["default", "-3"])
def test_cli_subscribed(cli, wire, flags):
    arguments = [str(a) for a in [*cli, *flags, "SUBSCRIBE", "ch"]]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            assert read_lines(process, 3) == ["subscribe\n", "ch\n", "1\n"]
            assert wire.call("PUBLISH", "ch", "hello") == 1
            assert read_lines(process, 3) == ["message\n", "ch\n", "hello\n"]
        finally:
            process.terminate()


# redis-benchmark


@pytest.mark.parametrize(
    "arguments",
    [["-P", "16", "CL.THROTTLE", "k:__rand_int__", "15", "30", "60"],
     ["-P", "64", "-3", "CL.THROTTLE", "k:__rand_int__", "15", "30", "60"],
     ["-P", "64", "--threads", "2", "CL.THROTTLE", "k:__rand_int__", "15", "30", "60"],
     ["CL.THROTTLE", "one", "15", "30", "60"],
     ["-t", "ping"], ["-t", "ping", "-3", "-P", "16"], ["-t", "ping", "-k", "0", "-n", "500"]],
    ids=" ".join)
def test_benchmark(server, arguments):
    output = run([need("redis-benchmark"), "-p", server.port, "-q", "-n", 20000, "-r", 1000, *arguments])
    assert "requests per second" in output
    assert "WARNING: Could not fetch server CONFIG" not in output and "error" not in output.lower(), output


# redis-py


@pytest.fixture
def client(server):
    with redis.Redis(port=server.port) as connection:
        yield connection


def until_denied(call, left=None):
    """The replies of a limiter of five, whatever the library. `left` was created before the first of these calls, if
    they were made already. Returns the Countdown for their times."""
    left = left or Countdown()
    assert [call() for _ in range(6)] == [
        [0, 5, 4, -1, 1000], [0, 5, 3, -1, left(2000)], [0, 5, 2, -1, left(3000)], [0, 5, 1, -1, left(4000)],
        [0, 5, 0, -1, left(5000)], [1, 5, 0, left(1000), left(5000)]]
    return left


def test_redis_py(client):
    left = until_denied(lambda: client.execute_command("CL.THROTTLE", "py", 4, 1, 1000))
    information = client.client_info()
    assert str(information["resp"]) == "3" and information["lib-name"].startswith("redis-py")
    with pytest.raises(redis.ResponseError, match="zero rates are not supported"):
        client.execute_command("CL.THROTTLE", "py", 4, 0, 1000)
    assert client.ping() and client.dbsize() == 1 and client.exists("py") == 1 and client.ttl("py") == left(5000)
    assert list(client.scan_iter()) == [b"py"] and client.info()["db0"]["keys"] == 1
    assert int(client.config_get("maxclients")["maxclients"]) > 0 and len(client.client_list()) >= 1
    assert "cl.throttle" in client.command() and client.slowlog_len() >= 0 and client.memory_usage("py") > 0
    assert len(client.time()) == 2 and client.echo("x") == b"x"
    assert client.delete("py") == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_protocols(server, protocol):
    with redis.Redis(port=server.port, protocol=protocol, decode_responses=True, client_name="me") as client:
        until_denied(lambda: client.execute_command("CL.THROTTLE", "py", 4, 1, 1000))
        assert client.client_getname() == "me" and client.info("replication")["role"] == "master"


def test_redis_py_finds_the_key(client):
    assert CommandsParser(client).get_keys(client, "CL.THROTTLE", "k", 1, 2, 3) == ["k"]


@pytest.mark.parametrize("transaction", [True, False])
def test_redis_py_pipeline(client, transaction):
    with client.pipeline(transaction=transaction) as pipeline:
        for _ in range(1000):
            pipeline.execute_command("CL.THROTTLE", "pipe", 1999, 1, 1000)
        assert [reply[2] for reply in pipeline.execute()] == list(range(1999, 999, -1))


def test_redis_py_watch(client):
    with client.pipeline() as pipeline:
        pipeline.watch("w")
        client.execute_command("CL.THROTTLE", "w", 4, 1, 1000)
        pipeline.multi()
        pipeline.ping()
        with pytest.raises(redis.WatchError):
            pipeline.execute()


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_pubsub(server, client, protocol):
    with redis.Redis(port=server.port, protocol=protocol) as own, own.pubsub() as pubsub:
        pubsub.subscribe("news")
        pubsub.psubscribe("n*")
        assert [pubsub.get_message(timeout=PATIENCE)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        pubsub.ping()
        assert client.publish("news", "hello") == 2
        got = [pubsub.get_message(timeout=PATIENCE) for _ in range(3)]
        assert sorted(m["type"] for m in got) == ["message", "pmessage", "pong"]


def test_redis_py_reconnects(server, client):
    left = until_denied(lambda: client.execute_command("CL.THROTTLE", "py", 4, 1, 1000))
    before = client.client_id()
    with redis.Redis(port=server.port) as other:
        assert other.client_kill_filter(_id=before) == 1
    assert client.execute_command("CL.THROTTLE", "py", 4, 1, 1000) == [1, 5, 0, left(1000), left(5000)]
    assert client.client_id() != before


def test_redis_py_pool(server):
    pool = redis.ConnectionPool(port=server.port, max_connections=16)
    admitted, lock = [], threading.Lock()

    def work():
        own = redis.Redis(connection_pool=pool)
        passed = sum(own.execute_command("CL.THROTTLE", "pool", 99, 1, 1000)[0] == 0 for _ in range(50))
        with lock:
            admitted.append(passed)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    pool.disconnect()
    assert sum(admitted) == 100


def test_redis_py_asyncio(server):
    async def work():
        async with redis.asyncio.Redis(port=server.port) as client:
            replies = [await client.execute_command("CL.THROTTLE", "aio", 4, 1, 1000) for _ in range(6)]
            async with client.pipeline(transaction=False) as pipeline:
                for _ in range(1000):
                    pipeline.execute_command("CL.THROTTLE", "aio:pipe", 1999, 1, 1000)
                piped = await pipeline.execute()
            together = await asyncio.gather(
                *(client.execute_command("CL.THROTTLE", "aio:all", 9, 1, 1000) for _ in range(40)))
            return replies, piped, together

    left = Countdown()
    replies, piped, together = asyncio.run(work())
    turns = iter(replies)
    until_denied(lambda: next(turns), left)
    assert [r[2] for r in piped] == list(range(1999, 999, -1))
    assert sum(r[0] == 0 for r in together) == 10


def test_redis_py_with_password(start):
    server = start(password="secret")
    with redis.Redis(port=server.port, password="secret") as client:
        until_denied(lambda: client.execute_command("CL.THROTTLE", "py", 4, 1, 1000))
    once = Retry(NoBackoff(), 0)
    for password in (None, "wrong"):
        with redis.Redis(port=server.port, password=password, retry=once) as client:
            with pytest.raises(redis.AuthenticationError):
                client.ping()


# The other languages


def is_available(*arguments):
    return shutil.which(arguments[0]) is not None and subprocess.run(arguments, capture_output=True).returncode == 0


SCRIPTS = {
    "ruby-redis": (["ruby"], ["-e", 'require "redis"'], "redis_client.rb"),
    "php-redis": (["php"], ["-r", 'exit(extension_loaded("redis") ? 0 : 1);'], "redis_client.php"),
    "lua-redis": (["lua5.1"], ["-e", 'require "redis"'], "redis_client.lua"),
    "libredis-perl": (["perl"], ["-MRedis", "-e", "1"], "redis_client.pl"),
}


@pytest.mark.parametrize("package", SCRIPTS)
def test_program(server, package):
    interpreter, probe, script = SCRIPTS[package]
    if not is_available(*interpreter, *probe):
        missing(f"{package} is not installed (scripts/setup test)")
    assert run([*interpreter, PROGRAMS / script, server.port]) == "ok\n"


def test_hiredis(server, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or missing("no C compiler (scripts/setup test)")
    if not pathlib.Path("/usr/include/hiredis/hiredis.h").exists():
        missing("libhiredis-dev is not installed (scripts/setup test)")
    program = tmp_path / "hiredis_client"
    run([compiler, "-Wall", "-Wextra", "-Werror", "-o", program, PROGRAMS / "hiredis_client.c", "-lhiredis"])
    assert run([program, server.port]) == "ok\n"
