"""Fixtures: one server for a whole module, or separate servers for one test. All are stopped and checked."""

import pytest

from clock import keep_off_the_full_hour
from server import IN_CI, ReferenceRedis, Server, find_binary

running = []


def missing(reason):
    """Handles a missing dependency: a failure in CI, where a skip would go unnoticed; otherwise a skip."""
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_report_header():
    try:
        return f"server under test: {find_binary()}"
    except RuntimeError as problem:
        return str(problem)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    keep_off_the_full_hour()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for server in running:
            report.sections.append((f"log of {server.arguments[0]}, port {server.port}", server.log()[-3000:]))
    return report


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server") / "data", "--io-threads", "2")
    running.append(server)
    yield server
    running.remove(server)
    server.stop()


@pytest.fixture
def server(module_server):
    """The module's server, emptied."""
    with module_server.connect() as wire:
        wire.ok("FLUSHALL")
    return module_server


@pytest.fixture
def wire(server):
    with server.connect() as connection:
        yield connection


@pytest.fixture
def start(tmp_path):
    """Starts servers for one test: `start("--name", "value", …)`. Each must stop with status 0 at the end."""
    mine = []

    def start_server(*flags, kind=Server, **options):
        server = kind(tmp_path / f"data{len(mine)}", *flags, **options)
        mine.append(server)
        running.append(server)
        return server

    yield start_server
    problems = []
    for server in mine:
        running.remove(server)
        try:
            server.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Debian's redis-server."""
    reason = ReferenceRedis.why_missing()
    if reason:
        missing(reason)
    server = ReferenceRedis(tmp_path_factory.mktemp("redis") / "data")
    yield server
    server.stop()


@pytest.fixture
def clean(wire):
    """FLUSHALL keeps policies, so this deletes the policies and rules of the module's server."""
    yield wire
    for rule in wire.call("RL.RULE", "LIST"):
        assert wire.call("RL.RULE", "DEL", *rule[1:6:2]) == 1
    for policy in wire.call("RL.POLICY", "LIST"):
        assert wire.call("RL.POLICY", "DEL", policy[1]) == 1


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """Prints the counts in a form that a script can read; pytest omits zeros. Errors count as failures."""
    counted = {name: len(terminalreporter.getreports(name)) for name in ("passed", "failed", "error", "skipped")}
    global last_line
    last_line = "{passed} passed, {bad} failed, {skipped} skipped".format(
        bad=counted["failed"] + counted["error"], **counted)


def pytest_unconfigure():
    if last_line:
        print(last_line)


last_line = ""
