"""Fixtures: one server for a whole test run, emptied for each test, and servers for one test."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest
import redis

from server import Server, find_binary

PROTOCOLS = [
    pytest.param({"protocol": 2}, id="resp2"),
    pytest.param({"protocol": 3}, id="resp3"),
    pytest.param({"protocol": 2, "decode_responses": True}, id="resp2-decoded"),
    pytest.param({"protocol": 3, "decode_responses": True}, id="resp3-decoded"),
]


def pytest_report_header() -> str:
    return f"server under test: {find_binary()}, redis-py {redis.__version__}"


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "data")
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The server of the whole run, emptied."""
    with shared_server.client() as client:
        client.flushall()
        for rule in client.execute_command("RL.RULE", "LIST"):
            values = list(rule.values()) if isinstance(rule, dict) else rule[1::2]
            client.execute_command("RL.RULE", "DEL", *values[:3])
        for policy in client.execute_command("RL.POLICY", "LIST"):
            name = policy[b"name"] if isinstance(policy, dict) else policy[1]
            client.execute_command("RL.POLICY", "DEL", name)
    return shared_server


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Callable[..., Server]]:
    """Starts servers for one test."""
    servers: list[Server] = []

    def start_server(*flags: str, password: str = "") -> Server:
        servers.append(Server(tmp_path / f"data{len(servers)}", *flags, password=password))
        return servers[-1]

    yield start_server
    for server in servers:
        server.stop()


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> dict[str, object]:
    """Options of a client: RESP2 or RESP3, bytes or text."""
    return request.param
