"""Commands that run with locks held: no transaction, whatever its contents, stops the server from answering; no command
that never finishes stops it from exiting; and no loop waits for a file."""

import contextlib
import os
import pathlib
import select
import signal
import threading

import pytest

from gated_files import Gate
from ports import free_port
from server import Server, run_to_end
from wire import ErrorReply, WireError, command, eventually

# Long enough for a sanitized server on a busy machine; a server that hangs is detected whatever the number.
PATIENCE = int(os.environ.get("ESCAPEMENT_PATIENCE", 60))
# No node listens here.
NOWHERE = free_port()

# Arguments with which a command gets as far as possible. Commands not listed here are sent with as many words as they
# require. `{n}` is a port on which no node listens.
ARGUMENTS = {
    "cl.throttle": ["k", "5", "10", "60"],
    "rl.take": ["l", "LIMIT", "5", "PER", "1m"],
    "rl.peek": ["l", "LIMIT", "5", "PER", "1m"],
    "rl.refund": ["l", "LIMIT", "5", "PER", "1m"],
    "rl.takeall": ["l", "LIMIT", "5", "PER", "1m", "AND", "m", "LIMIT", "5", "PER", "1h"],
    "rl.check": ["tenant", "client", "action"],
    "rl.policy|set": ["p", "LIMIT", "5", "PER", "1m"],
    "rl.rule|set": ["a", "b", "c", "POLICY", "p"],
    "set": ["a", "1"], "setnx": ["a", "1"], "getset": ["a", "1"], "setex": ["a", "100", "1"],
    "psetex": ["a", "100000", "1"], "mset": ["a", "1", "b", "1"], "msetnx": ["a", "1", "b", "1"], "copy": ["a", "b"],
    "rename": ["a", "b"], "renamenx": ["a", "b"],
    "incrby": ["a", "1"], "decrby": ["a", "1"], "expire": ["a", "100"], "pexpire": ["a", "100000"],
    "expireat": ["a", "4000000000"], "pexpireat": ["a", "4000000000000"], "scan": ["0"], "keys": ["*"],
    "config|set": ["hz", "10"], "config|get": ["*"],
    "client|pause": ["1"], "client|kill": ["TYPE", "pubsub"], "client|list": [], "client|no-evict": ["ON"],
    "client|no-touch": ["ON"], "client|setname": ["n"], "client|setinfo": ["LIB-NAME", "x"],
    "debug|sleep": ["0"], "object|encoding": ["a"], "object|refcount": ["a"], "memory|usage": ["a"],
    "replicaof": ["127.0.0.1", "{n}"], "slaveof": ["NO", "ONE"], "failover": ["ABORT"],
    "wait": ["0", "1"], "waitaof": ["0", "0", "1"], "publish": ["ch", "x"], "subscribe": ["ch"], "psubscribe": ["ch*"],
    "latency|histogram": [], "slowlog|get": ["1"], "command|docs": ["get"], "hello": ["3"], "replconf": ["capa", "eof"],
}
# They end the process or the connection, or cannot be part of a transaction.
LEFT_OUT = {"shutdown", "quit", "reset", "multi", "exec", "discard", "monitor", "client|reply"}


def all_commands(wire):
    """Names and arities, subcommands as `config|set`."""
    found = {}
    for entry in wire.call("COMMAND"):
        name, arity = entry[0].decode(), entry[1]
        subcommands = entry[9]
        if subcommands:
            found.update({sub[0].decode(): sub[1] for sub in subcommands})
        else:
            found[name] = arity
    return {name: arity for name, arity in found.items() if name not in LEFT_OUT}


def words(name, arity, free):
    head = name.split("|")
    tail = ARGUMENTS.get(name)
    if tail is None:
        tail = ["a"] * (abs(arity) - len(head))
    return head + [word.replace("{n}", str(free)) for word in tail]


def exec_after_write(server, *requests):
    """Sends MULTI, a write, the requests and EXEC on a new connection; returns EXEC's reply, or the error that refused
    it."""
    with server.connect(timeout=PATIENCE) as wire:
        wire.send(command("MULTI") + command("SET", "w", 1) + b"".join(command(*r) for r in requests))
        assert wire.read() == b"OK"
        for _ in range(1 + len(requests)):
            wire.read()
        return wire.call("EXEC")


def still_answers(server):
    with server.connect(timeout=PATIENCE) as wire:
        answer = wire.call("PING")
        assert answer == b"PONG" or answer.split()[0] in (b"LOADING", b"MASTERDOWN"), answer


def settings_to_set(wire):
    """Every setting that can be changed, with its current value and, for an enumeration, another value."""
    reply = wire.call("CONFIG", "GET", "*")
    pairs = []
    for name, value in zip(reply[::2], reply[1::2]):
        other = {b"yes": b"no", b"no": b"yes"}.get(value)
        pairs += [(name, value)] + ([(name, other)] if other else [])
    return [(n, v) for n, v in pairs if n not in (b"requirepass", b"bind", b"port")]


def test_every_command_in_a_transaction(start):
    """Each command of the table after a write, in its own transaction: the server still answers afterwards."""
    server = start("--io-threads", "2", "--appendonly", "no", "--enable-debug-command", "yes")
    with server.connect() as wire:
        commands = all_commands(wire)
    assert len(commands) > 100
    for name, arity in sorted(commands.items()):
        answer = exec_after_write(server, words(name, arity, NOWHERE))
        assert isinstance(answer, list) or answer.startswith(b"EXECABORT"), (name, answer)
        still_answers(server)
        if name == "replicaof":
            with server.connect(timeout=PATIENCE) as wire:
                wire.ok("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("log", ["no", "yes"])
def test_every_setting_in_a_transaction(start, log):
    server = start("--io-threads", "2", "--appendonly", log)
    with server.connect() as wire:
        pairs = settings_to_set(wire)
    for name, value in pairs:
        answer = exec_after_write(server, ["CONFIG", "SET", name, value], ["CL.THROTTLE", "k", "5", "10", "60"])
        assert isinstance(answer, list), (name, value, answer)
        still_answers(server)
        with server.connect(timeout=PATIENCE) as wire:
            wire.call("CONFIG", "SET", "appendonly", log, "appendfsync", "everysec")


def test_the_log_is_switched_on_in_a_transaction(start):
    """The write before it is in the log too: it survives kill -9 once the log is complete."""
    server = start("--io-threads", "2", "--appendonly", "no", "--save", "")
    assert exec_after_write(server, ["CONFIG", "SET", "appendonly", "yes"], ["SET", "b", 2]) == [b"OK", b"OK", b"OK"]
    with server.connect(timeout=PATIENCE) as wire:
        # Before the first snapshot exists, it answers immediately that nothing is on disk.
        eventually(lambda: wire.call("WAITAOF", 1, 0, 0)[0] == 1, "the log is complete", PATIENCE)
    server.kill()
    again = type(server)(server.directory, "--appendonly", "yes")
    try:
        with again.connect() as wire:
            assert wire.call("GET", "w") == b"1" and wire.call("GET", "b") == b"2"
    finally:
        again.stop()


@contextlib.contextmanager
def may_be_disconnected():
    """A demotion may close a connection; a connection may not be left unanswered."""
    try:
        yield
    except WireError as problem:
        if "no answer in time" in str(problem):
            raise
    except ConnectionError:
        pass


def test_transactions_beside_settings_and_roles(start):
    """Transactions of every kind on some connections, while others switch the log and the role back and forth."""
    server = start("--io-threads", "3", "--appendonly", "no", "--enable-debug-command", "yes")
    with server.connect() as wire:
        commands = all_commands(wire)
    requests = [words(name, arity, NOWHERE) for name, arity in sorted(commands.items())]
    problems = []
    done = threading.Event()

    def guarded(work):
        def run():
            try:
                work()
            except BaseException as problem:  # noqa: BLE001 - passed to the test
                problems.append(problem)
                done.set()
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def transactions(offset):
        def work():
            for number in range(len(requests)):
                with may_be_disconnected():
                    exec_after_write(server, requests[(number + offset) % len(requests)], ["CLIENT", "LIST"],
                                     ["CONFIG", "SET", "hz", "10"])
        return work

    def settings():
        number = 0
        while not done.is_set():
            with may_be_disconnected(), server.connect(timeout=PATIENCE) as wire:
                wire.call("CONFIG", "SET", "appendonly", "yes" if number % 2 else "no")
            number += 1

    def roles():
        while not done.is_set():
            with may_be_disconnected(), server.connect(timeout=PATIENCE) as wire:
                wire.call("REPLICAOF", "127.0.0.1", NOWHERE)
                wire.call("REPLICAOF", "NO", "ONE")

    workers = [guarded(transactions(offset)) for offset in (0, len(requests) // 2)]
    rivals = [guarded(settings), guarded(roles)]
    for thread in workers:
        thread.join(600)
        assert not thread.is_alive(), "a transaction has not been answered"
    done.set()
    for thread in rivals:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a change of settings or role has not been answered"
    assert not problems, problems
    with server.connect(timeout=PATIENCE) as wire:
        wire.ok("REPLICAOF", "NO", "ONE")


def test_a_transaction_is_admitted_again_once_all_loops_have_stopped(start):
    """EXEC was admitted and waits for a loop that sleeps; meanwhile the node is demoted. EXEC must not write."""
    server = start("--io-threads", "3", "--enable-debug-command", "yes")
    for _ in range(20):
        # Connections are assigned round robin: the fourth shares the sleeper's loop, so the fifth observes.
        sleeper, operator, writer, idle, observer = (server.connect(timeout=PATIENCE) for _ in range(5))
        sleeper.send(command("DEBUG", "SLEEP", "1"))
        eventually(lambda: is_a_loop_asleep(server), "the command sleeps", PATIENCE)
        writer.send(command("MULTI") + command("INCR", "x") + command("CLIENT", "LIST") + command("EXEC"))
        # Another loop answers, so the writer's has had time to block on the sleeper's.
        for _ in range(100):
            operator.call("PING")
        operator.send(command("REPLICAOF", "127.0.0.1", NOWHERE))
        eventually(lambda: observer.call("ROLE")[0] == b"slave", "the node is a replica", PATIENCE)
        was_demoted_in_time = not has_answer(sleeper)
        replies = [writer.read() for _ in range(4)]
        assert operator.read() == b"OK"
        operator.ok("REPLICAOF", "NO", "ONE")
        for wire in (sleeper, operator, writer, idle, observer):
            wire.close()
        # Otherwise the writer was assigned to the sleeping loop, or the machine was busy: try again.
        if was_demoted_in_time and replies[1] == b"QUEUED":
            assert isinstance(replies[3], ErrorReply) and replies[3].startswith(b"EXECABORT"), replies
            assert b"READONLY" in replies[3]
            return
    pytest.fail("EXEC was never admitted while the command slept")


def is_a_loop_asleep(server):
    """Whether a loop is in the middle of DEBUG SLEEP."""
    for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
        if task.joinpath("comm").read_text().startswith("loop-"):
            if "nanosleep" in task.joinpath("wchan").read_text():
                return True
    return False


def has_answer(wire):
    return bool(select.select([wire.socket], [], [], 0)[0])


# Ending

def end(server, timeout):
    """SIGTERM; returns the exit status and the end of the log."""
    server.process.send_signal(signal.SIGTERM)
    status = server.wait_exit(timeout)
    return status


@pytest.mark.parametrize("held", [False, True])
def test_a_command_that_never_finishes(start, held):
    """Neither the loop that runs it nor, in EXEC, the stripes that it locks delay accepting connections, signals or the
    deadline. Everything acknowledged before is on disk."""
    server = start("--io-threads", "2", "--shards", "16", "--appendonly", "yes", "--shutdown-timeout", "2",
                   "--enable-debug-command", "yes")
    with server.connect() as wire:
        for number in range(100):
            wire.ok("SET", f"k{number}", number)
        assert wire.call("WAITAOF", 1, 0, 1000 * PATIENCE)[0] == 1
    stuck = server.connect(timeout=PATIENCE)
    sleep_for_good(stuck, held)
    # Enough connections that every loop would have got one if the sleeping loop were assigned any.
    eventually(lambda: answers_on_new_connections(server, 8), "new connections are answered", PATIENCE)
    assert end(server, PATIENCE) == 1
    server.wait_log("a command is still running")
    stuck.close()
    status, text = run_to_end("check", server.directory, cwd=server.directory, seconds=PATIENCE)
    assert status == 0, text
    again = type(server)(server.directory, "--appendonly", "yes")
    try:
        with again.connect() as wire:
            assert [wire.call("GET", f"k{number}") for number in range(100)] == [b"%d" % n for n in range(100)]
    finally:
        again.stop()
        server.stopped = True


def sleep_for_good(wire, in_transaction):
    """Sends a command that takes an hour; in a transaction it holds the stripe of a key."""
    if not in_transaction:
        return wire.send(command("DEBUG", "SLEEP", "3000"))
    wire.ok("MULTI")
    for request in (["SET", "k1", 1], ["DEBUG", "SLEEP", "3000"]):
        assert wire.call(*request) == b"QUEUED"
    wire.send(command("EXEC"))


def answers_on_new_connections(server, count):
    try:
        for _ in range(count):
            with server.connect(timeout=1) as wire:
                wire.call("PING")
        return True
    except (OSError, WireError):
        return False


def test_a_second_signal_ends_at_once(start):
    server = start("--io-threads", "1", "--shards", "1", "--shutdown-timeout", "3000", "--enable-debug-command", "yes")
    wire = server.connect()
    sleep_for_good(wire, True)
    # Noticed although the only loop sleeps and the only stripe is locked; logged before the loops are notified.
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping" in server.log(), "the first signal is noticed", PATIENCE)
    server.process.send_signal(signal.SIGTERM)
    assert server.wait_exit(PATIENCE) == 1
    wire.close()
    server.stopped = True


# Files

@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_pipe_for_a_rules_file(start, fifo, tmp_path):
    """It is refused at the start; if it replaces the file later, no client waits for it."""
    status, text = run_to_end("--port", "0", "--unixsocket", tmp_path / "s", "--dir", tmp_path / "d",
                              "--rules-file", fifo, cwd=tmp_path)
    assert status == 1 and "not a regular file" in text, text
    rules = tmp_path / "rules"
    rules.write_text("policy a LIMIT 1 PER 1m\n")
    server = start("--io-threads", "1", "--rules-file", rules)
    rules.unlink()
    os.mkfifo(rules)
    with server.connect() as wire, server.connect() as other:
        wire.send(command("RL.RULE", "RELOAD"))
        assert other.call("PING") == b"PONG"
        answer = wire.read()
        assert isinstance(answer, ErrorReply) and b"not a regular file" in answer
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "rules file rejected" in server.log(), "the signal is noticed", PATIENCE)
        assert wire.call("RL.POLICY", "GET", "a")[1] == b"a"


@pytest.mark.parametrize("name", ["manifest", "log-1"])
def test_a_pipe_among_the_state_files(tmp_path, name):
    (tmp_path / "d" / "appendonlydir").mkdir(parents=True)
    if name == "log-1":
        server = Server(tmp_path / "d", "--appendonly", "yes")
        with server.connect() as wire:
            wire.ok("SET", "a", 1)
        server.stop()
        name = next(p.name for p in (tmp_path / "d" / "appendonlydir").iterdir() if p.name.startswith("log-"))
        (tmp_path / "d" / "appendonlydir" / name).unlink()
    os.mkfifo(tmp_path / "d" / "appendonlydir" / name)
    status, text = run_to_end("--port", "0", "--unixsocket", tmp_path / "s", "--dir", tmp_path / "d",
                              "--appendonly", "yes", cwd=tmp_path, seconds=PATIENCE)
    assert status == 1 and "not a regular file" in text and name in text, text


def test_rewriting_the_configuration_in_a_transaction(start, tmp_path):
    """As Sentinel does. The reply comes when the file is written, in its position among the others."""
    config = tmp_path / "escapement.conf"
    config.write_text("hz 20\n")
    server = start("--io-threads", "2", config=config)
    answer = exec_after_write(server, ["CONFIG", "SET", "hz", "30"], ["CONFIG", "REWRITE"],
                              ["CLIENT", "KILL", "TYPE", "pubsub"], ["CONFIG", "REWRITE"], ["INCR", "n"])
    assert answer == [b"OK", b"OK", b"OK", 0, b"OK", 1]
    assert "hz 30" in config.read_text()
    config.unlink()
    os.mkfifo(config)
    answer = exec_after_write(server, ["CONFIG", "REWRITE"], ["INCR", "n"])
    assert answer[0] == b"OK" and answer[2] == 2
    assert isinstance(answer[1], ErrorReply) and b"not a regular file" in answer[1]
    with server.connect() as wire:
        wire.send(command("CLIENT", "REPLY", "OFF") + command("CONFIG", "REWRITE") + command("CLIENT", "REPLY", "ON"))
        assert wire.read() == b"OK"


def test_no_loop_waits_for_the_disk_of_a_rewrite(tmp_path, monkeypatch):
    """A sync that does not return blocks only the client that asked, both outside a transaction and in one that stops
    all loops."""
    gate = Gate(tmp_path, monkeypatch)
    config = tmp_path / "escapement.conf"
    config.write_text("hz 20\nappendonly no\nsave \"\"\n")
    server = Server(tmp_path / "data", "--io-threads", "2", config=config)
    try:
        others = [server.connect(timeout=PATIENCE) for _ in range(4)]
        for in_transaction in (False, True):
            gate.close()
            asker = server.connect(timeout=PATIENCE)
            requests = [["CONFIG", "REWRITE"]]
            if in_transaction:
                requests = [["MULTI"], *requests, ["CLIENT", "KILL", "TYPE", "pubsub"], ["EXEC"]]
            asker.send(b"".join(command(*request) for request in requests))
            eventually(gate.is_reached, "a sync begins", PATIENCE)
            for other in others:
                assert other.call("PING") == b"PONG"
                assert other.call("CLIENT", "LIST")
            gate.open()
            answers = [asker.read() for _ in requests]
            assert answers[-1] == ([b"OK", 0] if in_transaction else b"OK")
            asker.close()
        for other in others:
            other.close()
    finally:
        gate.open()
        server.stop()


def test_a_transaction_uses_the_time_at_which_it_runs(start):
    """Not the time at which it began to wait for another loop: otherwise its grants end too early."""
    server = start("--io-threads", "2", "--enable-debug-command", "yes", "--appendonly", "no")

    def lag(wire, sleeper):
        sleeper.send(command("DEBUG", "SLEEP", "2"))
        wire.call("PING")
        replies = wire.calls("MULTI", "CLIENT LIST", "SET k 1 PX 100000", "PEXPIRETIME k", "TIME", "EXEC")[-1]
        assert sleeper.read() == b"OK"
        seconds, micros = map(int, replies[3])
        return seconds * 1000 + micros // 1000 - (replies[2] - 100_000)

    with server.connect() as wire, contextlib.ExitStack() as stack:
        # Some of them are on the other loop.
        for sleeper in [stack.enter_context(server.connect()) for _ in range(3)]:
            # This is only large if the machine stalls inside the transaction.
            assert any(lag(wire, sleeper) < 1000 for _ in range(3))


def test_a_pause_is_timed_from_when_it_takes_effect(start):
    """CLIENT PAUSE first waits for all loops."""
    server = start("--io-threads", "2", "--enable-debug-command", "yes", "--appendonly", "no")

    def holds(wire, writer, sleeper):
        sleeper.send(command("DEBUG", "SLEEP", "2"))
        wire.call("PING")
        wire.ok("CLIENT", "PAUSE", "1500", "WRITE")
        writer.send(command("INCR", "n"))
        # The write is either paused, and shown as such, or answered.
        seen = eventually(
            lambda: b" flags=b " in wire.call("CLIENT", "LIST") and "held" or has_answer(writer) and "answered", "seen")
        wire.ok("CLIENT", "UNPAUSE")
        assert isinstance(writer.read(), int) and sleeper.read() == b"OK"
        return seen == "held"

    with server.connect() as wire, server.connect() as writer, contextlib.ExitStack() as stack:
        for sleeper in [stack.enter_context(server.connect()) for _ in range(3)]:
            # A pause that counted from the request would be over each time; a busy machine may miss some.
            assert any(holds(wire, writer, sleeper) for _ in range(20))
