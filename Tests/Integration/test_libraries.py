"""Real rate-limit libraries, unmodified, with Escapement and with Debian's redis-server at once: the same decisions, the
same answers, and in the end the same keys.

Every library has a program of its own (libraries/), which runs twice, once with each server. All scenarios are started
at the beginning, a few at a time, so that they can wait for windows to pass at the same time.
ESCAPEMENT_RECORD_LIBRARIES=1 records the outcomes in libraries/results.json; `scripts/libraries-page` prints
docs/libraries.md from it.
"""

import concurrent.futures
import contextlib
import json
import os
import shutil
import subprocess
import time

import pytest

import conftest
import sentinels
from durable import DurableServer, launch
from library_catalogue import LIBRARIES, OPEN, PHP, PYTHON, REFUSES, RESULTS, RUBY, WORKS, recorded
from limiter_program import DAY, Program, decisions
from ports import free_port
from replication import nodes
from sentinels import Group
from server import ROOT, ReferenceRedis
from test_haproxy import configuration
from wire import PATIENCE, ErrorReply, Wire, WireError, eventually

assert launch, nodes  # fixtures

VENV = ROOT / ".build" / "venv-libraries"
RECORD = "ESCAPEMENT_RECORD_LIBRARIES" in os.environ
AT_ONCE = 4


def why_missing(library):
    """Why this library cannot be tested here, or None."""
    if library.source == PYTHON:
        return None if (VENV / "bin" / "python").exists() else "no .build/venv-libraries (scripts/setup test)"
    probe = {
        RUBY: ["ruby", "-e", 'require "rack/attack"'],
        PHP: ["php", "-r", 'exit((int) !(extension_loaded("redis") && stream_resolve_include_path('
                           '"Illuminate/Cache/autoload.php") && stream_resolve_include_path("Predis/autoload.php")));'],
    }[library.source]
    if shutil.which(probe[0]) and subprocess.run(probe, capture_output=True).returncode == 0:
        return None
    return f"what {library.name} needs is not installed (scripts/setup test)"


# What a server contains


def contents(port):
    """{(database, key): (value, milliseconds left)} of databases 0 and 1."""
    found = {}
    with Wire(("127.0.0.1", port)) as wire:
        for database in (0, 1):
            reply = wire.call("SELECT", database)
            if isinstance(reply, ErrorReply):
                assert database > 0, reply
                continue
            for key in wire.call("KEYS", "*"):
                found[database, key] = wire.call("GET", key), wire.call("PTTL", key)
    return found


def last_database(port):
    """1, the default of some libraries, or 0 if the server has one database."""
    with Wire(("127.0.0.1", port)) as wire:
        return 0 if isinstance(wire.call("SELECT", 1), ErrorReply) else 1


def near(one, other, tolerance, cycle=None):
    """Equal, or two times that differ by what may have passed. With a cycle, its end is also its beginning."""
    if one == other:
        return True
    difference = abs(float(one) - float(other))
    return difference <= tolerance or (cycle is not None and difference >= cycle - tolerance)


def assert_same_contents(library, ours, reference, seconds):
    """`seconds` may have passed between an event in one server and the same event in the other. Some libraries round
    times up to seconds."""
    assert ours.keys() == reference.keys()
    for key, (value, left) in reference.items():
        our_value, our_left = ours[key]
        assert near(our_left, left, 1000 * (seconds + 1)), f"{key}: {our_left} ms left, with Redis {left}"
        if library.values and our_value != value:
            # A point in time.
            assert value.isdigit() and int(value) > 1_500_000_000, f"{key}: {our_value}, with Redis {value}"
            assert near(our_value, value, seconds + 1), f"{key}: {our_value}, with Redis {value}"


def assert_same_answers(ours, reference, seconds):
    assert decisions(ours) == decisions(reference)
    for (_, shown, times), (_, expected, expected_times) in zip(ours, reference):
        assert shown == expected
        times, expected_times = dict(times), dict(expected_times)
        assert times.keys() == expected_times.keys()
        for name, value in expected_times.items():
            # In the millisecond of a first call some libraries report all of the window's time, and others none.
            assert near(times[name], value, seconds + 1, DAY), f"{name}: {times[name]}, with Redis {value}"


# The scenario


def start_server(directory, port=None):
    return DurableServer(directory, "--io-threads", "2", "--appendfsync", "always", port=port)


def outcome(hits, limit):
    """What a library does that does not work as it does with Redis."""
    allowed = decisions(hits)
    if all(isinstance(each, str) for each in allowed):
        return REFUSES
    return OPEN if allowed.count(True) > limit else WORKS


class Scenario:
    """One library with both servers. `checks` are the parts that passed."""

    def __init__(self, library, directory):
        self.library = library
        self.directory = directory
        self.versions = {}
        self.checks = []
        self.problem = None  # the first error that the library reported

    def run(self):
        directory = self.directory
        directory.mkdir()
        command = self.library.command(VENV)
        with contextlib.ExitStack() as stack:
            ours = stack.enter_context(Program(command, directory / "ours.log"))
            reference = stack.enter_context(Program(command, directory / "reference.log"))
            redis = ReferenceRedis(directory / "redis")
            stack.callback(redis.stop)
            server = start_server(directory / "escapement")
            try:
                self.compare(ours, reference, server, redis)
                if self.library.expected == WORKS:
                    server = self.check_restart(ours, server)
            finally:
                server.stop()
        return self

    def compare(self, ours, reference, server, redis):
        database = last_database(server.port)
        ours.open(server.port, database=database)
        reference.open(redis.port, database=database)
        opened, expected = ours.receive(), reference.receive()
        assert "versions" in expected, expected
        self.versions = expected["versions"]
        if "error" in opened:
            self.outcome, self.problem = REFUSES, opened["error"]
            assert self.library.expected != WORKS, self.problem
            return
        began = time.monotonic()
        our_hits, hits = ours.hits("five", count=7), reference.hits("five", count=7)
        assert decisions(hits) == [True] * 5 + [False] * 2, "with Redis"
        self.problem = next((hit for hit in our_hits if isinstance(hit, str)), None)
        self.outcome = outcome(our_hits, 5)
        if self.library.expected != WORKS:
            return
        assert_same_answers(our_hits, hits, time.monotonic() - began)
        self.checks.append("answers")
        # How often a banned client still was counted depends on the threads' pace.
        if self.library.exact:
            self.check_threads(ours, reference)
        assert_same_contents(
            self.library, contents(server.port), contents(redis.port), time.monotonic() - began)
        self.checks.append("keys")
        self.check_expiry(ours, reference)
        assert decisions(ours.hits("five", count=20)) == [False] * 20
        self.checks.append("stays blocked")

    def check_threads(self, ours, reference):
        for program in (ours, reference):
            allowed = decisions(program.together("many", 200))
            assert not [each for each in allowed if isinstance(each, str)]
            assert allowed.count(True) == 50
        self.checks.append("exact")

    def check_expiry(self, *programs):
        """A window of a second: a call is refused sooner or later, however slow this machine is, and one is allowed
        after that."""
        for wanted in (False, True):
            waiting = list(programs)

            def satisfied():
                waiting[:] = [program for program in waiting if program.allows("short") is not wanted]
                return not waiting

            eventually(satisfied, f"a call is {'allowed' if wanted else 'refused'}")
        self.checks.append("expires")

    def check_restart(self, program, server):
        server.crash()
        server = start_server(self.directory / "escapement", server.port)
        assert_still_blocked(program, self.library)
        if self.library.exact:
            assert decisions(program.hits("many", count=5)) == [False] * 5
        self.checks.append("restart")
        return server


def assert_still_blocked(program, library):
    """The library may report errors until it has a connection again, but allows nothing."""
    def refused():
        found = program.allows("five")
        # A library that hides errors allows calls until it has a connection again, with Redis as well.
        assert found is not True or library.hides_errors, "allowed"
        return found is False

    eventually(refused, "a call is refused")
    assert decisions(program.hits("five", count=5)) == [False] * 5


@pytest.fixture(scope="module")
def scenarios(request, tmp_path_factory):
    """The running scenarios of all selected libraries, by name."""
    reason = ReferenceRedis.why_missing()
    if reason:
        conftest.missing(reason)
    selected = {item.callspec.params["library"] for item in request.session.items if "library" in
                getattr(getattr(item, "callspec", None), "params", {})}
    directory = tmp_path_factory.mktemp("libraries")
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            library.name: pool.submit(Scenario(library, directory / str(number)).run)
            for number, library in enumerate(LIBRARIES) if library in selected and not why_missing(library)}


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_library(scenarios, library):
    if library.name not in scenarios:
        conftest.missing(why_missing(library))
    scenario = scenarios[library.name].result()
    assert scenario.outcome == library.expected, scenario.problem
    found = {"versions": scenario.versions, "outcome": scenario.outcome, "checks": scenario.checks}
    if scenario.problem:
        found["error"] = scenario.problem
    if RECORD:
        record(library.name, found)
    assert found == recorded()["libraries"].get(library.name), "record it: ESCAPEMENT_RECORD_LIBRARIES=1"


def record(name, found):
    everything = recorded()
    everything["libraries"][name] = found
    names = [library.name for library in LIBRARIES]
    everything["libraries"] = {name: everything["libraries"][name] for name in names if name in everything["libraries"]}
    RESULTS.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")


# Failover


@contextlib.contextmanager
def proxy(group, directory):
    """HAProxy with the configuration of docs/high-availability.md. Yields its port."""
    port = free_port()
    path = directory / "haproxy.cfg"
    path.write_text(configuration(port, group.nodes))
    with open(directory / "haproxy.log", "wb") as log:
        process = subprocess.Popen(
            ["haproxy", "-f", str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def is_writable(port):
    """Whether the proxy leads to the primary."""
    try:
        with Wire(("127.0.0.1", port)) as wire:
            return wire.call("ROLE")[0] == b"master"
    except (OSError, WireError):
        return False


def test_failover(nodes, tmp_path):
    """All libraries with one group. After kill -9 of the primary they are still blocked by the new one, which they find
    through Sentinel, or HAProxy if they cannot use Sentinel."""
    if reason := sentinels.why_missing():
        conftest.missing(reason)
    if not shutil.which("haproxy"):
        conftest.missing("haproxy is not installed (scripts/setup test)")
    libraries = [library for library in LIBRARIES if library.expected == WORKS and not why_missing(library)]
    with contextlib.ExitStack() as stack:
        group = Group(nodes, tmp_path, sentinels=1)
        stack.callback(group.stop)
        port = stack.enter_context(proxy(group, tmp_path))
        eventually(lambda: all(is_writable(port) for _ in range(6)), "the proxy leads to the primary")
        ports = [sentinel.port for sentinel in group.sentinels]
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(AT_ONCE))
        programs = {}
        database = last_database(group.primary().port)

        def open_and_exhaust(number, library):
            program = stack.enter_context(Program(library.command(VENV), tmp_path / f"program{number}.log"))
            # One server for all, so every library has a client of its own.
            program.suffix = str(number)
            program.open(port, ports if library.failover == "Sentinel" else None, database)
            assert "versions" in (answer := program.receive()), answer
            assert decisions(program.hits("five", count=7)) == [True] * 5 + [False] * 2
            programs[library.name] = program

        run_all(pool, open_and_exhaust, libraries)
        old = group.primary()
        with old.connect() as wire:
            assert wire.call("WAIT", 2, int(PATIENCE * 1000)) == 2
        old.crash()
        new = group.wait_primary_is_not(old)
        eventually(lambda: new.info()["role"] == "master", "the new primary is one")
        eventually(lambda: all(is_writable(port) for _ in range(6)), "the proxy leads to the new primary")

        def check(number, library):
            program = programs[library.name]
            assert_still_blocked(program, library)
            program.suffix += "-new"
            assert decisions(program.hits("five", count=6)) == [True] * 5 + [False]

        run_all(pool, check, libraries)


def run_all(pool, function, libraries):
    """Runs it for every library, and reports the problems of all of them."""
    running = [(library, pool.submit(function, number, library)) for number, library in enumerate(libraries)]
    problems = {}
    for library, future in running:
        try:
            future.result()
        except Exception as problem:
            problems[library.name] = str(problem)
    assert not problems, json.dumps(problems, indent=1, ensure_ascii=False)


def test_page():
    """docs/libraries.md agrees with the recorded outcomes, and names every library."""
    assert {library.name for library in LIBRARIES} == recorded()["libraries"].keys()
    for library in LIBRARIES:
        assert recorded()["libraries"][library.name]["outcome"] == library.expected
    done = subprocess.run([ROOT / "scripts" / "libraries-page", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
