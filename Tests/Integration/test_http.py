"""HTTP over real sockets: curl, pipelines, clients that are slow or hostile, and who may call administration."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import missing
from http_wire import HTTPWire
from ports import free_port
from server import Server
from wire import PATIENCE, ErrorReply, eventually


@pytest.fixture(scope="module")
def ports():
    return free_port(), free_port()


@pytest.fixture(scope="module")
def both(tmp_path_factory, ports):
    """A server with both HTTP listeners."""
    server = Server(tmp_path_factory.mktemp("http") / "data", "--io-threads", "2", "--admin-port", ports[0],
                    "--http-port", ports[1], "--http-request-timeout", "2", "--http-compat", "yes")
    server.admin, server.gateway = ports
    yield server
    server.stop()


@pytest.fixture
def admin(both):
    with HTTPWire(both.admin) as wire:
        yield wire


def curl(*arguments, **options):
    if not shutil.which("curl"):
        missing("there is no curl")
    return subprocess.run(["curl", "-s", "--max-time", str(PATIENCE), *map(str, arguments)], capture_output=True,
                          **options).stdout.decode()


def metric(wire, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", wire.get("/metrics").body.decode(), re.MULTILINE)
    return float(found[1]) if found else 0


# MARK: Routes

def test_curl_gets_what_it_asks_for(both):
    url = f"http://127.0.0.1:{both.admin}"
    assert curl(url + "/health") == '{"healthy":true}\n'
    assert json.loads(curl(url + "/ready")) == {"ready": True, "reasons": []}
    assert curl("-o", "/dev/null", "-w", "%{http_code} %{content_type}", "-I", url + "/metrics") == \
        "200 text/plain; version=0.0.4; charset=utf-8"
    assert json.loads(curl(url + "/nothing"))["status"] == 404
    assert curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "BREW", url + "/health") == "501"
    # --http1.0 closes, -Z is a connection for each; both must end.
    assert curl("--http1.0", url + "/health") == '{"healthy":true}\n'
    # Three requests on one connection.
    again = curl("-w", "%{num_connects} ", *["-o", "/dev/null", url + "/health"] * 3)
    assert again == "1 0 0 "


def test_every_answer_has_the_fields_that_protect_it(admin):
    for path, method in (("/health", "GET"), ("/nothing", "GET"), ("/health", "POST"), ("/metrics", "HEAD")):
        fields = admin.get(path, method=method).fields
        assert fields["cache-control"] == "no-store" and fields["x-content-type-options"] == "nosniff"


def test_statistics_are_those_of_info(both, admin):
    found = json.loads(admin.get("/api/stats").body)
    with both.connect() as wire:
        fields = dict(re.findall(r"^(\w+):(.*)\r$", wire.call("INFO", "everything").decode(), re.MULTILINE))
    assert found["server"]["run_id"] == fields["run_id"]
    assert found["limiter"]["escapement_keys"] == int(fields["limiter_keys"])
    assert set(found) >= {"server", "clients", "memory", "persistence", "stats", "replication", "limiter", "process"}


def test_the_document_describes_every_route(admin):
    document = json.loads(admin.get("/openapi.json").body)
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"] and operation["responses"], (path, method)
            names = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
            assert names == set(re.findall(r"{(\w+)}", path))
    identifiers = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(identifiers) == len(set(identifiers))
    # Routes of administration that it describes without parameters answer.
    for path, operations in document["paths"].items():
        get = operations.get("get", {"tags": []})
        if get["tags"] == ["administration"] and "parameters" not in get and "{" not in path:
            assert admin.get(path).status in (200, 503), path


# MARK: Connections

def test_a_thousand_pipelined_requests_are_answered_in_order(admin):
    paths = ["/health" if number % 3 else f"/n{number}" for number in range(1000)]
    admin.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in paths))
    for path in paths:
        answer = admin.response()
        if path == "/health":
            assert answer.status == 200
        else:
            assert json.loads(answer.body)["detail"] == f"there is no route {path}"


def test_a_request_may_arrive_byte_by_byte(admin):
    for byte in b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n":
        admin.send(bytes([byte]))
    assert admin.response().status == 200


def test_half_a_request_is_given_up(both):
    with HTTPWire(both.gateway) as head, HTTPWire(both.gateway) as body, HTTPWire(both.gateway) as idle:
        head.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        body.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        for wire in (head, body):
            assert wire.response().status == 408
            assert wire.ends()
        # One that has sent nothing is idle, which is allowed for longer.
        assert idle.get("/health").status == 200


def test_bytes_that_trickle_in_do_not_extend_the_time(both):
    """A request has to be complete within http-request-timeout, however many bytes arrive meanwhile."""
    with HTTPWire(both.gateway) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        wire.socket.settimeout(0.05)
        deadline = time.monotonic() + PATIENCE
        received = b""
        while b"408" not in received:
            assert time.monotonic() < deadline
            try:
                wire.send(b"X: y\r\n")
                received += wire.socket.recv(1000)
            except TimeoutError:
                pass
        assert received.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_never_reads_holds_up_no_other(both, admin):
    with HTTPWire(both.admin) as deaf:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.socket.setblocking(False)
        try:
            for _ in range(200):
                deaf.socket.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        except BlockingIOError:
            pass
        assert admin.get("/health").status == 200
        with both.connect() as wire:
            assert wire.call("PING") == b"PONG"


def test_responses_to_a_pipeline_do_not_pile_up(start):
    """The server runs no more requests than whose responses the client reads, and loses none."""
    port, count = free_port(), 1000
    server = start("--http-port", port, "--http-request-timeout", "1")
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with HTTPWire(port) as deaf, server.connect() as wire:
        deaf.send(request * count)

        def waiting():
            return sum(map(int, re.findall(rb" omem=(\d+) .* resp=0 ", wire.call("CLIENT", "LIST"))))

        eventually(lambda: waiting() > 0, "it is stuck")
        # For longer than a request may take to arrive: these have arrived.
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert waiting() < 1 << 20
        for _ in range(count):
            assert deaf.response().status == 200
        assert deaf.get("/health").status == 200


@pytest.mark.parametrize("text, status", [
    (b"*1\r\n$4\r\nPING\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 64 + b"\r\n", 431),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000, 413),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
])
def test_what_is_not_a_request_gets_an_answer_and_the_end(both, text, status):
    """The answer arrives although input follows that the server does not read."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    with HTTPWire(both.gateway) as wire:
        wire.send(text + smuggled)
        answer = wire.response()
        assert answer.status == status and answer.fields["connection"] == "close"
        assert json.loads(answer.body)["status"] == status
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.ends()


def test_http_on_the_resp_port_is_refused_and_counted(both, admin):
    before = metric(admin, "escapement_http_requests_refused_total")
    for text in (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", both.port), timeout=PATIENCE) as raw:
            raw.sendall(text)
            data = b"".join(iter(lambda: raw.recv(4096), b""))
            assert b"HTTP" not in data.split(b"\r\n")[0] or data.startswith(b"-ERR")
    assert metric(admin, "escapement_http_requests_refused_total") == before + 2
    both.wait_log("it sent HTTP")


def test_connections_count_as_clients(start):
    port = free_port()
    server = start("--admin-port", port)
    with HTTPWire(port) as first, HTTPWire(port) as second, server.connect() as wire:
        assert first.get("/health").status == 200 and second.get("/health").status == 200
        eventually(lambda: len(wire.call("CLIENT", "LIST").decode().splitlines()) == 3, "earlier clients are gone")
        wire.ok("CONFIG", "SET", "maxclients", "3")
        with HTTPWire(port) as third:
            answer = third.response()
            assert answer.status == 503 and answer.fields["retry-after"] == "1" and third.ends()
        assert metric(first, 'escapement_connections{listener="admin"}') == 2
        assert metric(first, 'escapement_connections_rejected_total{reason="maxclients"}') == 1
        lines = wire.call("CLIENT", "LIST").decode().splitlines()
        assert len(lines) == 3 and sum(" resp=0 " in line for line in lines) == 2


def test_a_killed_connection_ends(both, admin):
    assert admin.get("/health").status == 200
    address = "%s:%d" % admin.socket.getsockname()
    with both.connect() as wire:
        assert wire.call("CLIENT", "KILL", "ADDR", address) == 1
    assert admin.ends()


# MARK: Administration

def test_the_token_is_required_where_others_can_reach_the_port(tmp_path):
    server = Server(tmp_path / "data", "--admin-port", free_port(), "--admin-bind", "0.0.0.0", wait=False)
    assert server.process.wait(PATIENCE) == 1
    assert "admin-token: is required because admin-bind has '0.0.0.0'" in server.log()


def test_the_token_protects_administration(start):
    port = free_port()
    server = start("--admin-port", port, "--admin-bind", "0.0.0.0", "--admin-token", "s3cret")
    with HTTPWire(port) as wire:
        assert wire.get("/health").status == wire.get("/ready").status == 200
        # From this machine.
        assert wire.get("/metrics").status == 200
        refused = wire.get("/api/stats")
        assert refused.status == 401 and refused.fields["www-authenticate"] == "Bearer"
        assert json.loads(refused.body)["field"] == "Authorization"
        assert wire.get("/api/stats", "Authorization: Bearer s3cret").status == 200
    with server.connect() as resp:
        answer = resp.call("CONFIG", "SET", "admin-token", "")
        assert isinstance(answer, ErrorReply) and b"admin-token" in answer
        resp.ok("CONFIG", "SET", "admin-token", "other")
    with HTTPWire(port) as wire:
        assert wire.get("/api/stats", "Authorization: Bearer s3cret").status == 401
        assert wire.get("/api/stats", "Authorization: Bearer other").status == 200
    assert "s3cret" not in server.settled_log() and "Bearer" not in server.settled_log()


def test_a_name_of_an_attacker_is_refused(admin):
    for host in ("evil.example", "localhost.evil.example:80"):
        admin.send(f"GET /api/stats HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert admin.response().status == 421


# MARK: States of the server

def test_health_and_readiness_are_answered_while_loading(start):
    port = free_port()
    server = start()
    with server.connect() as wire:
        for number in range(0, 300_000, 5000):
            wire.calls(*[f"SET key{each} {each}" for each in range(number, number + 5000)])
    server.stop()
    again = start("--dir", server.directory, "--admin-port", port, wait=False)
    seen = []
    deadline = time.monotonic() + PATIENCE
    while not seen or seen[-1] != (200, []):
        assert time.monotonic() < deadline
        try:
            with HTTPWire(port) as wire:
                assert wire.get("/health").status == 200
                answer = wire.get("/ready")
                state = answer.status, json.loads(answer.body)["reasons"]
                assert state in ((200, []), (503, ["loading"]))
                seen.append(state)
        except ConnectionRefusedError:
            pass
    again.wait_ready()


def test_a_replica_without_its_link_is_not_ready(start):
    port = free_port()
    replica = start("--admin-port", port, "--replicaof", f"127.0.0.1 {free_port()}", "--replica-serve-stale-data",
                    "no")
    with HTTPWire(port) as wire:
        answer = wire.get("/ready")
        assert answer.status == 503 and "link_down" in json.loads(answer.body)["reasons"]
        assert answer.fields["retry-after"] == "1"
        with replica.connect() as resp:
            resp.ok("REPLICAOF", "NO", "ONE")
        eventually(lambda: wire.get("/ready").status == 200, "it is ready as a primary")


def test_a_kill_under_load_leaves_answers_whole(tmp_path):
    """Every answer that arrives is complete, whenever the process dies."""
    port = free_port()
    server = Server(tmp_path / "data", "--admin-port", port)
    with HTTPWire(port) as wire:
        wire.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        assert wire.response().status == 200
        server.process.send_signal(signal.SIGTERM)
        answers = 1
        try:
            while True:
                assert wire.response().status == 200
                answers += 1
        except (EOFError, ConnectionResetError):
            pass
    assert wire.buffer == b"" or answers < 200
    assert server.wait_exit() == 0
