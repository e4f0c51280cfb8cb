"""docs/clients.md: its code, run verbatim, in Python, Ruby and PHP, against real servers and real Sentinels.

Only addresses, the group's name and time-outs are replaced: a busy machine must not decide a test.
"""

import re
import shutil
import subprocess

import pytest
import redis

import conftest
import sentinels
from clock import Countdown
from durable import launch
from ports import free_port
from replication import nodes
from sentinels import Group
from server import ROOT
from test_clients import is_available
from wire import PATIENCE, eventually

assert launch, nodes  # fixtures

PAGE = (ROOT / "docs" / "clients.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def patient(code):
    """With time-outs that a busy machine does not reach."""
    code = re.sub(r"((?:connect|read|write|socket)_timeout(?:=|: ))[\d.]+", rf"\g<1>{PATIENCE}", code)
    code = code.replace("timeout=0.1", f"timeout={PATIENCE}")
    # phpredis: positions.
    code = re.sub(r"(connect\([^;]*), 0\.2, null, 0, 0\.1\)", rf"\1, {PATIENCE}, null, 0, {PATIENCE})", code)
    return re.sub(r"(new RedisSentinel\([^;]*), 0\.2\)", rf"\1, {PATIENCE})", code)


def located(code, port):
    return patient(code).replace("6379, 0.2", f"{port}, 0.2").replace("port=6379", f"port={port}").replace(
        "port: 6379", f"port: {port}").replace("'127.0.0.1', 6379", f"'127.0.0.1', {port}")


def to_sentinels(code, ports):
    for number, port in enumerate(ports, 1):
        code = code.replace(f'("10.0.0.{number}", 26379)', f'("127.0.0.1", {port})')
        code = code.replace(f'{{ host: "10.0.0.{number}", port: 26379 }}', f'{{ host: "127.0.0.1", port: {port} }}')
        code = code.replace(f"['10.0.0.{number}', 26379]", f"['127.0.0.1', {port}]")
    assert "10.0.0." not in code
    return code.replace('"limits"', f'"{sentinels.NAME}"').replace("'limits'", f"'{sentinels.NAME}'").replace(
        "redis://limits", f"redis://{sentinels.NAME}")


@pytest.fixture
def example(server):
    """The names that the Python blocks define, but for Sentinel's."""
    names = {}
    for block in blocks("python"):
        if "Sentinel(" not in block:
            exec(compile(located(block, server.port), "docs/clients.md", "exec"), names)
    yield names
    names["limiter"].close()
    names["pooled"].close()


def test_time_outs_are_set():
    """As on the page."""
    names = {}
    exec(blocks("python")[0], names)
    settings = names["limiter"].connection_pool.connection_kwargs
    assert settings["socket_timeout"] == 0.1 and settings["socket_connect_timeout"] == 0.2
    assert settings["retry"]._retries == 1
    defaults = redis.Redis().connection_pool.connection_kwargs
    assert defaults["socket_timeout"] == 5 and defaults["retry"]._retries == 10, "as documented"


def test_guard_asks(example):
    clock = Countdown()
    passed = sum(example["may_search"]("ann") for _ in range(110))
    assert 100 <= passed <= 100 + clock.passed() * 100 / 60
    assert example["search"].undecided == 0


class Failing:
    """A client whose calls fail."""

    def __init__(self, error):
        self.error, self.calls = error, 0

    def execute_command(self, *command):
        self.calls += 1
        raise self.error


@pytest.mark.parametrize("error", [
    redis.exceptions.ConnectionError("refused"), redis.exceptions.TimeoutError("time-out"),
    redis.exceptions.BusyLoadingError("loading"), redis.exceptions.ReadOnlyError("replica"),
    redis.exceptions.OutOfMemoryError("memory"), redis.exceptions.ResponseError("MISCONF Errors writing"),
    redis.exceptions.ResponseError("NOREPLICAS Not enough"), redis.exceptions.ResponseError("MASTERDOWN Link")], ids=str)
@pytest.mark.parametrize("open_", [True, False])
def test_guard_decides_alone(example, error, open_):
    failing = Failing(error)
    guard = example["Guard"](failing, fail_open=open_, pause=1000)
    assert [guard.allows("PING") for _ in range(3)] == [open_] * 3
    assert failing.calls == 1 and guard.undecided == 3, "it asks once, then not until the pause is over"


def test_guard_asks_again_after_the_pause(example):
    failing = Failing(redis.exceptions.ConnectionError("refused"))
    guard = example["Guard"](failing, fail_open=True, pause=0)
    assert guard.allows("PING") and guard.allows("PING") and failing.calls == 2


def test_guard_raises_mistakes(example):
    with pytest.raises(redis.exceptions.ResponseError):
        example["search"].allows("RL.TAKE", "k", "LIMIT", "x", "PER", "1m")
    assert example["search"].undecided == 0


@pytest.mark.parametrize("setting, value, words", [
    ("min-replicas-to-write", 1, "NOREPLICAS"), ("maxmemory", 1, None)])
def test_guard_with_errors_of_the_server(start, setting, value, words):
    """The errors have the classes and words that the code expects."""
    server = start()
    names = {}
    for block in blocks("python")[:2]:
        exec(compile(located(block, server.port), "docs/clients.md", "exec"), names)
    names["limiter"].config_set(setting, value)
    numbers = iter(range(1_000_000))
    eventually(lambda: names["may_search"](f"user{next(numbers)}") and names["search"].undecided == 1, "it decided alone")
    names["limiter"].close()


def test_pool(example):
    assert example["pooled"].ping() and example["pool"].max_connections == 50


def test_pipeline(example):
    assert example["spend"]({"a": 1, "b": 1001, "c": 1000}) == ["b"]


@pytest.mark.parametrize("protocol", [2, 3])
def test_named(example, server, protocol):
    with redis.Redis(port=server.port, protocol=protocol) as client:
        reply = client.execute_command("RL.TAKE", f"k{protocol}", "LIMIT", 5, "PER", "1h")
    assert isinstance(reply, dict if protocol == 3 else list)
    found = example["named"](reply)
    assert list(found) == list(example["NAMES"][:6]) and found["remaining"] == 4


def test_default_protocols(server):
    """As documented."""
    with redis.Redis(port=server.port) as client:
        assert isinstance(client.execute_command("RL.TAKE", "k", "LIMIT", 5, "PER", "1h"), dict)


def test_a_retry_counts_once(example):
    real = example["limiter"]

    class Lossy:
        """The first reply gets lost after the call was counted."""

        calls = 0

        def execute_command(self, *command):
            reply = real.execute_command(*command)
            Lossy.calls += 1
            if Lossy.calls == 1:
                raise redis.exceptions.TimeoutError("time-out")
            return reply

    example["limiter"] = Lossy()
    try:
        assert example["take_once"]("once")[3] == 99 and Lossy.calls == 2
        assert example["take_once"]("once", "r")[3] == example["take_once"]("once", "r")[3] == 98
    finally:
        example["limiter"] = real


# Other languages

RUBY, PHP = (["ruby"], ["-e", 'require "redis"']), (["php"], ["-r", 'exit(extension_loaded("redis") ? 0 : 1);'])


def run(command, code, suffix, tmp_path):
    path = tmp_path / f"example.{suffix}"
    path.write_text(code)
    done = subprocess.run([*command, path], capture_output=True, text=True, timeout=4 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def need_language(language):
    if not is_available(*language[0], *language[1]):
        conftest.missing(f"{language[0][0]} has no redis library (scripts/setup test)")


def test_ruby(start, tmp_path):
    need_language(RUBY)
    server = start()
    code = located(blocks("ruby")[0], server.port) + (
        'puts 17.times.count { allowed?(limiter, "k") }\n'
        f'gone = Redis.new(host: "127.0.0.1", port: {free_port()}, reconnect_attempts: 0)\nputs allowed?(gone, "k")\n')
    passed, without = run(["ruby"], code, "rb", tmp_path).split()
    assert int(passed) in (16, 17) and without == "true"


def test_php(start, tmp_path):
    need_language(PHP)
    server = start()
    code = "<?php\n" + located(blocks("php")[0], server.port) + (
        "$passed = 0;\nfor ($i = 0; $i < 17; $i++) { $passed += (int)allowed($limiter, 'k'); }\necho $passed, \"\\n\";\n"
        "$limiter->set('number', 1);\n"
        "try { allowed($limiter, 'number'); } catch (RuntimeException $p) { echo $p->getMessage(), \"\\n\"; }\n"
        "$limiter->rawCommand('CONFIG', 'SET', 'min-replicas-to-write', '1');\n"
        "var_dump(allowed($limiter, 'k'));\n")
    passed, mistake, without = run(["php"], code, "php", tmp_path).splitlines()
    assert int(passed) in (16, 17) and mistake.startswith("WRONGTYPE") and without == "bool(true)"


# Sentinel


@pytest.fixture
def group(nodes, tmp_path):
    reason = sentinels.why_missing()
    if reason:
        conftest.missing(reason)
    made = Group(nodes, tmp_path / "sentinels")
    yield made
    made.stop()


def test_sentinel(group, tmp_path):
    ports = [sentinel.port for sentinel in group.sentinels]
    names = {}
    # The exceptions are imported by an earlier block.
    exec(next(line for line in PAGE.splitlines() if line.startswith("from redis.exceptions import")), names)
    (code,) = [block for block in blocks("python") if "Sentinel(" in block]
    exec(compile(patient(to_sentinels(code, ports)), "docs/clients.md", "exec"), names)
    take = ("CL.THROTTLE", "k", 99, 1, 1_000_000)
    assert names["take_from_primary"](*take)[2] == 99
    for language, command, suffix, call in (
            (RUBY, ["ruby"], "rb", 'puts primary.call("CL.THROTTLE", "k", 99, 1, 1000000)[2]\n'),
            (PHP, ["php"], "php", "echo $primary->rawCommand('CL.THROTTLE', 'k', 99, 1, 1000000)[2];\n")):
        need_language(language)
        head = {"rb": 'require "redis"\n', "php": "<?php\n"}[suffix]
        code = head + patient(to_sentinels(blocks({"rb": "ruby"}.get(suffix, suffix))[1], ports)) + call
        assert int(run(command, code, suffix, tmp_path)) in (98, 97)

    # The primary is alone and refuses: the code asks Sentinel again, which still names it, and raises.
    old = group.primary()
    with old.connect() as wire:
        wire.ok("CONFIG", "SET", "min-replicas-to-write", 5)

        def refused():
            try:
                names["take_from_primary"](*take)
            except redis.exceptions.ResponseError as error:
                return "NOREPLICAS" in str(error)

        eventually(refused, "the primary refuses: the setting takes effect on every connection shortly after the reply")
        wire.ok("CONFIG", "SET", "min-replicas-to-write", 0)
        assert wire.call("WAIT", 2, int(PATIENCE * 1000)) == 2
    old.crash()
    group.wait_primary_is_not(old)

    def admitted():
        try:
            return names["take_from_primary"](*take)
        except redis.exceptions.RedisError:
            return None

    assert eventually(admitted, "the new primary admits")[0] == 0
    names["primary"].close()
