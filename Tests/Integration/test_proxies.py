"""The proxy configurations in deploy/, each run with the real proxy: what clients get when a request is allowed,
refused, or cannot be decided, and what they cannot change."""

import pytest

from conftest import missing
from proxies import NAMES, Edge
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
        yield edge
        edge.stop()
    return running_edge


closed_edge = edge_fixture(is_open=False)
open_edge = edge_fixture(is_open=True)


@pytest.fixture
def edge(closed_edge):
    closed_edge.forget()
    return closed_edge


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
        # It refuses such a request.
        assert statuses == [400] * 4 and edge.spent() == {} and not edge.application.seen
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


def test_a_limiter_that_hangs(edge):
    if edge.name == "traefik":
        pytest.skip("Traefik waits for 30 s, and has no setting for it")
    with edge.limiter.standing_still():
        answer = edge.ask()
        assert answer.status == {"caddy": 504}.get(edge.name, 503), answer
    assert edge.application.seen == []
    eventually(lambda: edge.ask(source="127.0.0.9").status == 200, "requests are passed on again")


def test_with_the_limiter_nothing_passes_because_it_fails_open(open_edge):
    """Also the way to count addresses that configurations for IPv6 use."""
    open_edge.forget()
    for fields in [], OWN_FIELDS, [("X-Forwarded-For", "203.0.113.9")]:
        assert open_edge.ask(fields=fields, source="127.0.0.5").status == 200
    for fields in [], OWN_FIELDS, [("X-Forwarded-For", "203.0.113.9")]:
        answer = open_edge.ask(fields=fields, source="127.0.0.5")
        assert answer.status == 429 and shows_limit(open_edge, answer, 0), answer
    assert open_edge.ask("/api/500").status == 500 and len(open_edge.application.seen) == 4
    assert sum(open_edge.spent().values()) == 4


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
