"""The proxy configurations in deploy/, each run with the real proxy: what clients get when a request is allowed,
refused, or cannot be decided, and what they cannot change."""

import contextlib
import re

import pytest

from check_api import api_and_wire, start_api
from conftest import missing, running
from ports import free_port
from proxies import NAMES, Edge
from server import ROOT
from wire import eventually

# Answers while the server does not respond.
CLOSED = {"nginx": 503, "nginx-quiet": 503, "caddy": 502, "traefik": 500, "envoy": 503, "haproxy": 503}


def edge_fixture(is_open):
    @pytest.fixture(scope="module", params=NAMES)
    def running_edge(request, tmp_path_factory):
        reason = Edge.why_missing(request.param)
        if reason:
            missing(reason)
        edge = Edge(request.param, tmp_path_factory.mktemp(request.param), is_open)
        running.append(edge)  # Failures show its log, too.
        yield edge
        running.remove(edge)
        edge.stop()
    return running_edge


closed_edge = edge_fixture(is_open=False)
open_edge = edge_fixture(is_open=True)


@pytest.fixture
def edge(closed_edge):
    closed_edge.forget()
    return closed_edge


@contextlib.contextmanager
def unable_to_decide(edge, cause):
    with edge.limiter.connect() as wire:
        if cause == "replica":
            wire.ok("REPLICAOF", "127.0.0.1", free_port())
        else:
            for tenant in ("acme", "*"):
                assert wire.call("RL.RULE", "DEL", tenant, "*", "*") == 1
        try:
            yield
        finally:
            if cause == "replica":
                wire.ok("REPLICAOF", "NO", "ONE")
            else:
                edge.set_rules(wire)


@contextlib.contextmanager
def hanging_limiter(edge):
    """Ends with a new server: the suspended one may still answer the requests that it has received, at any time."""
    try:
        with edge.limiter.standing_still():
            try:
                yield
            finally:
                edge.limiter.kill()
    finally:
        edge.start_limiter()


def shows_limit(edge, answer, left):
    """Whether the answer shows the limit's state. Traefik cannot do that on requests that it passes on."""
    if edge.name == "traefik" and answer.status == 200:
        return "ratelimit" not in answer.fields
    return (answer.fields.get("ratelimit", "").startswith(f'"edge";r={left};t=')
            and answer.fields.get("ratelimit-policy") == '"edge";q=3;w=3600')


def test_allowed(edge):
    answer = edge.ask(source="127.0.0.5")
    assert answer.status == 200 and answer.body == b"application" and shows_limit(edge, answer, 2), answer
    # The client's method, path and body are for the application, not for the limiter.
    answer = edge.ask("/api/orders?x=1", "POST", b"an order" * 1000, source="127.0.0.5")
    assert answer.status == 200 and shows_limit(edge, answer, 1), answer
    assert [request[:3] for request in edge.application.seen] == [
        ("GET", "/api/search", b""), ("POST", "/api/orders?x=1", b"an order" * 1000)]
    assert edge.spent() == {("acme", "127.0.0.5", "api"): 2}


def test_refused(edge):
    for _ in range(3):
        assert edge.ask().status == 200
    for method, body in (("GET", None), ("POST", b"an order")):
        answer = edge.ask("/api/orders", method, body)
        assert answer.status == 429 and 0 < int(answer.fields["retry-after"]) <= 3600, answer
        assert shows_limit(edge, answer, 0), answer
        if not edge.name.startswith("nginx"):
            assert answer.fields["content-type"] == "application/problem+json" and answer.json["status"] == 429
    assert len(edge.application.seen) == 3
    assert ("auth request unexpected status: 429" in edge.log()) == (edge.name == "nginx")
    # Other clients and other paths are not affected.
    assert edge.ask(source="127.0.0.6").status == 200 and edge.ask("/free").status == 200
    assert edge.spent() == {("acme", "127.0.0.1", "api"): 3, ("acme", "127.0.0.6", "api"): 1}


OWN_FIELDS = [("X-Limit-Tenant", "evil"), ("X-Limit-Client", "evil"), ("X-Limit-Action", "evil"), ("X-Limit-Cost", "0"),
              ("X-Limit-Id", "once"), ("X-Limit-Deny-Status", "401")]


@pytest.mark.parametrize("path, fields", [
    ("/api/x", OWN_FIELDS),
    ("/api/x", [(name.lower(), value) for name, value in OWN_FIELDS + OWN_FIELDS]),
    ("/api/x", [(name.replace("-", "_"), value) for name, value in OWN_FIELDS]),
    # What Connection names is removed by proxies, also if they have set it themselves.
    ("/api/x", [("Connection", "close, X-Limit-Tenant, X-Limit-Client, X-Limit-Action, X-Forwarded-For")]),
    ("/api/x", [("X-Forwarded-For", "203.0.113.9"), ("X-Real-IP", "203.0.113.9"), ("Forwarded", "for=203.0.113.9")]),
    ("/api/x", [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "203.0.113.8, 127.0.0.1")]),
    ("/api/x", [("Idempotency-Key", "once"), ("X-Forwarded-Method", "HEAD"), ("X-Original-URL", "/json")]),
    ("/api/x?tenant=evil&client=evil&action=evil&X-Limit-Client=evil&cost=0&status=200", []),
    ("/api/x", [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")]),
    ("/api/x", [("Authorization", "Bearer secret"), ("Expect", "100-continue")]),
    ("/api/evil/evil/evil", []), ("/api/%2e%2e/%2E%2E/json", []), ("/api/x%3Fclient=evil%23", []),
    ("/api/..%2f..%2fv1%2ftake", []),
], ids=lambda value: None if isinstance(value, str) else "-".join(name for name, _ in value[:2]))
def test_a_client_cannot_change_who_is_counted(edge, path, fields):
    statuses = [edge.ask(path, fields=fields, source="127.0.0.5").status for _ in range(4)]
    if "%2" in path and statuses in ([200] * 4, [400] * 4):
        # To the proxy, the path is not below /api, or not acceptable.
        assert edge.spent() == {}
        return
    if edge.name == "envoy" and dict(fields).get("Connection"):
        # It refuses such a request by itself.
        assert statuses in ([400] * 4, [403] * 4) and edge.spent() == {} and not edge.application.seen
        return
    assert statuses == [200, 200, 200, 429]
    assert edge.spent() == {("acme", "127.0.0.5", "api"): 3}


def test_connections_to_the_limiter_are_kept(edge):
    def accepted():
        return int(next(line.partition(b":")[2] for line in wire.call("INFO", "stats").splitlines()
                        if line.startswith(b"total_connections_received:")))

    assert edge.ask().status == 200
    with edge.limiter.connect() as wire:
        before = accepted()
        for number in range(20):
            assert edge.ask(source=f"127.0.0.{10 + number}").status == 200
        # HAProxy has connections per thread.
        assert accepted() - before <= 4


def test_the_applications_own_errors_pass(edge):
    for number, status in enumerate((401, 403, 404, 429, 500, 502, 503)):
        answer = edge.ask(f"/api/{status}", source=f"127.0.0.{10 + number}")
        assert answer.status == status and answer.body == b"application", answer
        assert "retry-after" not in answer.fields and len(edge.application.seen) == number + 1


def test_an_application_that_breaks_off_is_not_asked_again(edge):
    answer = edge.ask("/api/broken", "POST", b"an order")
    assert answer.status in (500, 502, 503) and len(edge.application.seen) == 1, answer


def test_a_long_path(edge):
    """nginx itself has a bound; Envoy puts the client's path into its question, which has one."""
    answer = edge.ask("/api/" + "x" * 9000)
    assert answer.status == (414 if edge.name.startswith("nginx") or edge.name == "envoy" else 200)
    assert len(edge.application.seen) == (answer.status == 200)


def test_large_fields(edge):
    """Over 16 KiB, which Escapement and HAProxy accept: Escapement must not get them."""
    answer = edge.ask(fields=[("Cookie", "c" * 6000)] * 3)
    assert answer.status == (400 if edge.name == "haproxy" else 200)


def test_without_the_limiter_it_fails_closed(edge):
    assert edge.ask().status == 200
    edge.application.seen.clear()
    edge.limiter.kill()
    try:
        for method, body in (("GET", None), ("POST", b"an order")):
            answer = edge.ask("/api/orders", method, body)
            assert answer.status == CLOSED[edge.name] and answer.body != b"application", answer
        assert edge.ask("/free").status == 200
        assert [request[1] for request in edge.application.seen] == ["/free"]
    finally:
        edge.start_limiter()
    eventually(lambda: edge.ask().status == 200, "requests are passed on again")


@pytest.mark.parametrize("cause, statuses", [
    ("no rule", {"caddy": 404, "traefik": 404, "envoy": 404}),
    ("replica", {}),
])
def test_an_answer_that_is_no_decision(edge, cause, statuses):
    with unable_to_decide(edge, cause):
        answer = edge.ask()
        assert answer.status == statuses.get(edge.name, 503), answer
        assert answer.fields.get("retry-after") == (None if answer.status == 404 or edge.name == "envoy" else "1")
    assert edge.application.seen == []


@pytest.mark.parametrize("cause, statuses", [
    ("no rule", {"nginx": 503, "nginx-quiet": 503, "caddy": 404, "traefik": 404, "envoy": 404}),
    # Traefik's check asks /ready, and this replica is ready to show what it knows.
    ("replica", {"traefik": 503}),
])
def test_an_answer_that_is_no_decision_if_it_fails_open(open_edge, cause, statuses):
    open_edge.forget()
    with unable_to_decide(open_edge, cause):
        answer = open_edge.ask()
        assert answer.status == statuses.get(open_edge.name, 200), answer
        assert len(open_edge.application.seen) == (answer.status == 200)


def test_a_limiter_that_hangs(edge):
    if edge.name == "traefik":
        pytest.skip("Traefik waits for 30 s, and has no setting for it")
    with hanging_limiter(edge):
        answer = edge.ask()
        assert answer.status == {"caddy": 504}.get(edge.name, 503), answer
        assert edge.application.seen == []
    eventually(lambda: edge.ask(source="127.0.0.9").status == 200, "requests are passed on again")


def test_a_limiter_that_hangs_if_it_fails_open(open_edge):
    if open_edge.name == "traefik":
        pytest.skip("Traefik's requests wait for 30 s until its check has failed")
    open_edge.forget()
    with hanging_limiter(open_edge):
        assert open_edge.ask().status == 200 and len(open_edge.application.seen) == 1


def test_with_the_limiter_nothing_passes_because_it_fails_open(open_edge):
    """Also the way to count addresses that configurations for IPv6 use."""
    open_edge.forget()
    for fields in [], OWN_FIELDS, [("X-Forwarded-For", "203.0.113.9")]:
        assert open_edge.ask(fields=fields, source="127.0.0.5").status == 200
    for fields in [], OWN_FIELDS, [("X-Forwarded-For", "203.0.113.9")]:
        answer = open_edge.ask(fields=fields, source="127.0.0.5")
        assert answer.status == 429 and shows_limit(open_edge, answer, 0), answer
    assert open_edge.ask("/api/500").status == 500 and len(open_edge.application.seen) == 4
    answer = open_edge.ask("/api/broken", "POST", b"an order", source="127.0.0.9")
    assert answer.status in (500, 502, 503) and len(open_edge.application.seen) == 5, answer
    del open_edge.application.seen[4:]
    assert open_edge.spent() == {("acme", "127.0.0.9", "api"): 1} | {("acme", "127.0.0.5", "api"): 3, ("acme", "127.0.0.1", "api"): 1}


def test_without_the_limiter_it_fails_open(open_edge):
    open_edge.forget()
    open_edge.limiter.kill()
    try:
        if open_edge.name == "traefik":
            eventually(lambda: open_edge.ask().status == 200, "Traefik has noticed")
        open_edge.application.seen.clear()
        for method, body in (("GET", None), ("POST", b"an order" * 1000)):
            for _ in range(3):
                answer = open_edge.ask("/api/orders?x=1", method, body)
                assert answer.status == 200 and answer.body == b"application", answer
                assert "ratelimit" not in answer.fields
                [request] = open_edge.application.seen
                assert request[:3] == (method, "/api/orders?x=1", body or b"")
                open_edge.application.seen.clear()
        assert open_edge.ask("/api/502").status == 502 and len(open_edge.application.seen) == 1
    finally:
        open_edge.start_limiter()
    eventually(lambda: open_edge.ask(source="127.0.0.7").status == 429, "requests are limited again")


@pytest.mark.parametrize("path", ["//api/x", "/%61pi/x", "/./api/x", "/free/../api/x"])
def test_other_spellings_of_a_path(edge, path):
    """Whether an application that normalizes paths could be reached without being counted."""
    answer = edge.ask(path)
    assert answer.status == 200 and edge.spent() == {("acme", "127.0.0.1", "api"): 1}


def test_addresses_if_the_proxy_is_not_trusted(edge):
    """X-Forwarded-For, by which Traefik names clients, does not count then: clients share one limit."""
    with edge.limiter.connect() as wire:
        wire.ok("CONFIG", "SET", "trusted-proxies", "")
        try:
            statuses = [edge.ask(source=f"127.0.0.{number}").status for number in range(10, 14)]
        finally:
            wire.ok("CONFIG", "SET", "trusted-proxies", "127.0.0.1")
    assert statuses == ([200, 200, 200, 429] if edge.name == "traefik" else [200] * 4)


def test_the_excerpts_of_the_documentation():
    text = (ROOT / "docs" / "proxies.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    found = 0
    for section in sections:
        folder = ROOT / "deploy" / section.split("\n", 1)[0].lower()
        for block in re.findall(r"^```\w*\n(.*?)^```$", section, re.DOTALL | re.MULTILINE):
            lines = {line.strip() for path in folder.iterdir() for line in path.read_text().splitlines()}
            assert lines >= {line.strip() for line in block.splitlines()}, folder
            found += 1
    assert found == 6


def test_the_request_of_envoys_rate_limit_service(start):
    """POST /json with the request of envoyproxy/ratelimit's documentation."""
    server = start_api(start)
    request = {"domain": "dummy", "descriptors": [{"entries": [{"key": "one_per_day", "value": "something"}]}]}
    limit = {"requestsPerUnit": 1, "unit": "DAY"}
    with api_and_wire(server) as (api, wire):
        wire.ok("RL.POLICY", "SET", "daily", "LIMIT", 1, "PER", "1d")
        wire.ok("RL.RULE", "SET", "dummy", "*", "one_per_day=something", "POLICY", "daily")
        answer = api.post("/json", request)
        # In JSON, Protocol Buffers leave out numbers that are 0.
        assert answer.status == 200
        assert answer.json == {"overallCode": "OK", "statuses": [{"code": "OK", "currentLimit": limit}]}
        answer = api.post("/json", request)
        assert answer.status == 429
        assert answer.json == {"overallCode": "OVER_LIMIT", "statuses": [{"code": "OVER_LIMIT", "currentLimit": limit}]}
