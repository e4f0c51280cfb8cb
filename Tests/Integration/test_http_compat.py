"""The paths of other rate-limit services: the conversations of their quick starts, with their fields and statuses."""

import time

import pytest

from check_api import start_api
from server import Server
from wire import PATIENCE


@pytest.fixture(scope="module")
def module_api(tmp_path_factory):
    def start(*flags):
        return Server(tmp_path_factory.mktemp("compat") / "data", "--io-threads", "1", *flags)

    server = start_api(start, "--http-compat", "yes")
    yield server
    server.stop()


@pytest.fixture
def wire(module_api):
    with module_api.connect() as wire:
        wire.ok("FLUSHALL")
        for rule in wire.call("RL.RULE", "LIST"):
            wire.call("RL.RULE", "DEL", *rule[1:6:2])
        for policy in wire.call("RL.POLICY", "LIST"):
            wire.call("RL.POLICY", "DEL", policy[1])
        wire.ok("RL.POLICY", "SET", "free", "LIMIT", "2", "PER", "1h")
        wire.ok("RL.POLICY", "SET", "premium", "LIMIT", "1000", "PER", "1h")
        wire.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "free")
        yield wire


@pytest.fixture
def api(module_api, wire):
    with module_api.api() as api:
        yield api


@pytest.fixture
def admin(module_api, wire):
    with module_api.admin() as admin:
        yield admin


def dict_of(reply):
    return dict(zip(reply[::2], reply[1::2]))


def is_soon(instant, seconds):
    """An instant `seconds` from now, within the time a busy machine may take."""
    return abs(instant - time.time() - seconds) <= PATIENCE


# MARK: POST /check {identifier, tier}

def test_tiers(api):
    answer = api.post("/check", {"identifier": "user_123"})
    assert answer.status == 200 and set(answer.json) == {"allowed", "tokens_remaining", "reset_at", "limit", "retry_after"}
    assert answer.json["allowed"] is True and answer.json["tokens_remaining"] == 1 and answer.json["limit"] == 2
    assert answer.json["retry_after"] is None and is_soon(answer.json["reset_at"], 1800)
    assert isinstance(answer.json["reset_at"], float)
    assert api.post("/check", {"identifier": "user_123", "tier": "free"}).status == 200
    answer = api.post("/check", {"identifier": "user_123", "tier": None, "other": {"x": [1.5]}})
    assert answer.status == 429 and list(answer.json) == ["detail"]
    assert set(answer.json["detail"]) == {"allowed", "retry_after", "reset_at", "limit"}
    assert answer.json["detail"]["allowed"] is False and 1700 < answer.json["detail"]["retry_after"] <= 1800
    assert answer.fields["retry-after"] == str(answer.json["detail"]["retry_after"])
    assert api.post("/check", {"identifier": "user_9", "tier": "premium"}).json["limit"] == 1000


def test_an_unknown_tier(api, wire):
    answer = api.post("/check", {"identifier": "u", "tier": "gold \"x\""})
    assert answer.status == 400 and answer.json == {"detail": 'Invalid tier: gold "x"'}
    answer = api.post("/check", {"tier": "free"})
    assert answer.status == 400 and answer.json["field"] == "identifier"
    assert wire.call("DBSIZE") == 0


# MARK: POST /v1/check {client_id, limit_key}

def test_limit_keys(api, wire):
    answer = api.post("/v1/check", {"client_id": "c1", "limit_key": "login", "cost": 2}, X_Correlation_ID="abc")
    assert answer.status == 200 and answer.fields["x-correlation-id"] == "abc"
    assert set(answer.json) == {"allowed", "remaining", "retry_after_ms", "limit", "window", "reset_at"}
    assert answer.json["allowed"] is True and answer.json["remaining"] == 0 and answer.json["retry_after_ms"] == 0
    assert answer.json["limit"] == 2 and answer.json["window"] == 3600 and is_soon(answer.json["reset_at"], 3600)
    answer = api.post("/v1/check", {"limit_key": "login", "client_id": "c1"})
    assert answer.status == 429 and answer.json["allowed"] is False
    assert 1_700_000 < answer.json["retry_after_ms"] <= 1_800_000
    assert wire.call("RL.CHECK", "default", "c1", "login")[0] == 0
    # The default, and ours beside it.
    assert api.post("/v1/check", {"client_id": "c2"}).status == 200
    assert wire.call("RL.CHECK", "default", "c2", "global")[3] == 0
    assert api.post("/v1/check", {"tenant": "t", "client": "c", "action": "a"}).json["policy"] == "free"


# MARK: /api/check_and_consume

def test_check_and_consume(api, wire):
    body = {"tenant_id": "t", "client_id": "c", "action_type": "login", "max_requests": 2,
            "window_duration_seconds": 60}
    for left in (1, 0):
        answer = api.post("/api/check_and_consume", body)
        assert answer.status == 200
        assert set(answer.json) == {"allowed", "remaining_requests", "reset_time_seconds", "status"}
        assert answer.json["allowed"] is True and answer.json["remaining_requests"] == left
        assert answer.json["status"] == "processed" and is_soon(answer.json["reset_time_seconds"], 60)
    answer = api.post("/api/check_and_consume", body)
    assert answer.status == 200 and answer.json["allowed"] is False and answer.json["remaining_requests"] == 0
    [key] = wire.call("KEYS", "*")
    assert wire.call("TYPE", key) == b"sliding-log"
    status = "/api/status/t/c/login?max_requests=2&window_duration_seconds=60"
    for _ in range(2):
        answer = api.get(status)
        assert answer.status == 200 and answer.json["remaining_requests"] == 0
    # More than a log holds.
    answer = api.post("/api/check_and_consume", {**body, "client_id": "d", "max_requests": 100_000})
    assert answer.json["remaining_requests"] == 99_999


def test_check_and_consume_by_rule(api, wire):
    body = {"tenant_id": "t", "client_id": "c", "action_type": "search"}
    assert api.post("/api/check_and_consume", body).json["remaining_requests"] == 1
    assert wire.call("RL.CHECK", "t", "c", "search")[3] == 0
    assert api.post("/api/check_and_consume", body).json["allowed"] is False
    assert api.get("/api/status/t/c/search").json["remaining_requests"] == 0
    # Numbers find what the rule's limit has counted, although the algorithm is another.
    answer = api.post("/api/check_and_consume", {**body, "max_requests": 9, "window_duration_seconds": 3600})
    assert answer.status == 200 and answer.json["remaining_requests"] <= 7
    for missing in body:
        answer = api.post("/api/check_and_consume", {name: value for name, value in body.items() if name != missing})
        assert answer.status == 400 and answer.json["field"] == missing
    for more, field in [({"max_requests": 1}, "window_duration_seconds"), ({"window_duration_seconds": 1}, "max_requests"),
                        ({"max_requests": -1, "window_duration_seconds": 1}, "max_requests"),
                        ({"max_requests": 1, "window_duration_seconds": 0}, "window_duration_seconds"),
                        ({"max_requests": 1, "window_duration_seconds": 1 << 62}, "window_duration_seconds")]:
        answer = api.post("/api/check_and_consume", {**body, **more})
        assert answer.status == 400 and answer.json["field"] == field, answer


def test_configuration_of_tenants(api, admin, wire):
    limit = {"max_requests": 5, "window_duration_seconds": 60}
    assert admin.call("PUT", "/api/config/tenant/acme/action/login", limit).status == 200
    assert admin.call("PUT", "/api/config/tenant/acme/client/vip%2F1/action/login", {**limit, "max_requests": 7}).status == 200
    assert admin.call("PUT", "/api/config/global", {**limit, "max_requests": 3}).status == 200

    def remaining(tenant, client, action):
        body = {"tenant_id": tenant, "client_id": client, "action_type": action}
        return api.post("/api/check_and_consume", body).json["remaining_requests"]

    assert remaining("acme", "x", "login") == 4 and remaining("acme", "vip/1", "login") == 6
    assert remaining("other", "x", "login") == 2
    assert wire.call("RL.RULE", "GET", "acme", "vip/1", "login")[7] == b"acme/vip%2F1/login"
    assert admin.call("DELETE", "/api/config/tenant/acme/client/vip%2F1/action/login").status == 200
    assert remaining("acme", "vip/1", "login") == 3
    assert admin.call("DELETE", "/api/config/tenant/acme/client/vip%2F1/action/login").status == 404
    assert admin.call("DELETE", "/api/config/tenant/acme/action/login").status == 200
    assert wire.call("RL.POLICY", "GET", "acme/login") is None
    answer = admin.call("PUT", "/api/config/tenant/acme/action/login", {"max_requests": 5})
    assert answer.status == 400 and answer.json["field"] == "window_duration_seconds"
    # Only on the admin listener.
    assert api.call("PUT", "/api/config/global", limit).status == 404


def test_rules_of_clients(api, admin):
    assert admin.post("/v1/admin/rules", {"client_id": "c1", "rate": 10, "window": 60}).status == 200
    assert admin.post("/v1/admin/rules", {"client_id": "c1", "rate": 4, "window": 60, "endpoint": "login"}).status == 200
    assert api.post("/v1/check", {"client_id": "c1"}).json["limit"] == 10
    answer = api.post("/v1/check", {"client_id": "c1", "limit_key": "login"})
    assert answer.json["limit"] == 4 and answer.json["window"] == 60
    rules = sorted(admin.get("/rules").json, key=str)
    assert rules == sorted([{"client_id": "c1", "endpoint": None, "rate": 10, "window": 60},
                            {"client_id": "c1", "endpoint": "login", "rate": 4, "window": 60}], key=str)
    assert admin.post("/v1/admin/rules", {"rate": 10, "window": 60}).json["field"] == "client_id"


def test_every_subject_has_a_policy_of_its_own(api, admin, wire):
    """A slash within a name does not make it the name of another subject's policy."""
    def put(path, most):
        assert admin.call("PUT", path, {"max_requests": most, "window_duration_seconds": 60}).status == 200

    def most(tenant, client, action):
        return dict_of(wire.call("RL.POLICY", "GET", wire.call("RL.RULE", "RESOLVE", tenant, client, action)[7]))[b"limit"]

    put("/api/config/tenant/a%2Fb/action/c", 5)
    put("/api/config/tenant/a/client/b/action/c", 6)
    put("/api/config/tenant/a%252Fb/action/c", 7)
    assert [most("a/b", "x", "c"), most("a", "b", "c"), most("a%2Fb", "x", "c")] == [5, 6, 7]
    for body in ({"client_id": "u/v"}, {"client_id": "u", "endpoint": "v"}):
        assert admin.post("/v1/admin/rules", {**body, "rate": 7 + len(body), "window": 60}).status == 200
    assert [most("default", "u/v", "x"), most("default", "u", "v")] == [8, 9]
    assert admin.call("DELETE", "/api/config/tenant/a%2Fb/action/c").status == 200
    assert most("a", "b", "c") == 6


@pytest.mark.parametrize("path", [
    "/api/config/tenant/*/action/login", "/api/config/tenant/%2A/action/login", "/api/config/tenant/t/action/*",
    "/api/config/tenant/t/client/*/action/login"])
def test_a_star_is_not_a_name(admin, wire, path):
    """Commands would show such a rule as one for all, and could not remove it."""
    before = wire.call("RL.RULE", "LIST"), wire.call("RL.POLICY", "LIST")
    answer = admin.call("PUT", path, {"max_requests": 5, "window_duration_seconds": 60})
    assert answer.status == 400 and "which means all" in answer.json["detail"]
    body = {"client_id": "c", "endpoint": "*", "rate": 5, "window": 60}
    assert admin.post("/v1/admin/rules", body).status == 400
    assert (wire.call("RL.RULE", "LIST"), wire.call("RL.POLICY", "LIST")) == before


# MARK: POST /throttle

def test_throttle(api, wire):
    body = {"key": "user:1", "max_burst": 3, "count_per_period": 60, "period": 60}
    for left in (2, 1, 0):
        answer = api.post("/throttle", body)
        assert answer.status == 200 and set(answer.json) == {"allowed", "limit", "remaining", "reset_after", "retry_after"}
        assert answer.json["allowed"] is True and answer.json["limit"] == 3 and answer.json["retry_after"] == 0
    hourly = {"key": "h", "max_burst": 2, "count_per_period": 1, "period": 3600, "quantity": 2}
    assert api.post("/throttle", hourly).json == {"allowed": True, "limit": 2, "remaining": 0, "reset_after": 7200, "retry_after": 0}
    answer = api.post("/throttle", {**hourly, "quantity": None})
    assert answer.status == 200 and answer.json["allowed"] is False and 3500 < answer.json["retry_after"] <= 3600
    # The same state as that of the command, whose first parameter is one less.
    assert wire.call("CL.THROTTLE", "h", 1, 1, 3600, 1)[0] == 1
    for name, value in [("max_burst", 0), ("max_burst", -1), ("count_per_period", 0), ("period", 0), ("quantity", -1),
                        ("key", 1), ("period", 1 << 62)]:
        answer = api.post("/throttle", {**hourly, name: value})
        assert answer.status == 400 and answer.json["field"] == name, answer


# MARK: POST /json

def test_descriptors(api, wire):
    wire.ok("RL.POLICY", "SET", "minute", "LIMIT", "2", "PER", "1m", "ALGO", "fixed-window")
    assert wire.call("RL.RULE", "DEL", "*", "*", "*") == 1
    wire.ok("RL.RULE", "SET", "edge", "*", "path=/a,method=GET", "POLICY", "minute")
    wire.ok("RL.RULE", "SET", "edge", "10.0.0.1", "*", "POLICY", "free")
    body = {"domain": "edge", "descriptors": [
        {"entries": [{"key": "path", "value": "/a"}, {"key": "method", "value": "GET"}]},
        {"entries": [{"key": "unknown", "value": "x"}]},
        {"entries": [{"key": "remote_address", "value": "10.0.0.1"}]}]}
    answer = api.post("/json", body)
    assert answer.status == 200 and answer.json == {"overallCode": "OK", "statuses": [
        {"code": "OK", "currentLimit": {"requestsPerUnit": 2, "unit": "MINUTE"}, "limitRemaining": 1},
        {"code": "OK"},
        {"code": "OK", "currentLimit": {"requestsPerUnit": 2, "unit": "HOUR"}, "limitRemaining": 1}]}
    assert api.post("/json", {**body, "hitsAddend": 0}).json["statuses"][2] == {
        "code": "OK", "currentLimit": {"requestsPerUnit": 2, "unit": "HOUR"}}
    answer = api.post("/json", body)
    assert answer.status == 429 and answer.json["overallCode"] == "OVER_LIMIT"
    assert [status["code"] for status in answer.json["statuses"]] == ["OVER_LIMIT", "OK", "OVER_LIMIT"]
    assert answer.fields["retry-after"]
    answer = api.post("/json", {"domain": "edge", "descriptors": [body["descriptors"][1]]})
    assert answer.status == 200 and answer.json == {"overallCode": "OK", "statuses": [{"code": "OK"}]}
    for broken, field in [({"descriptors": []}, "domain"), ({"domain": "edge"}, "descriptors"),
                          ({"domain": "edge", "descriptors": [{"entries": [{"value": "x"}]}]}, "descriptors[0].entries[0].key"),
                          ({"domain": "edge", "descriptors": body["descriptors"] * 21}, "descriptors[60]"),
                          ({**body, "hitsAddend": -1}, "hitsAddend")]:
        answer = api.post("/json", broken)
        assert answer.status == 400 and answer.json["field"] == field, answer


# MARK: State

def test_health_and_breaker(api):
    assert api.get("/api/health").json == {"status": "healthy"}
    assert api.get("/circuit-breaker-status").json == {
        "state": "closed", "failure_count": 0, "time_until_retry_seconds": 0}


def test_without_the_setting(start):
    server = start_api(start)
    with server.api() as api, server.admin() as admin:
        for path, body in [("/check", {"identifier": "x"}), ("/throttle", {}), ("/api/check_and_consume", {})]:
            assert api.post(path, body).status == 404
        for path in ["/api/status/t/c/a", "/api/health", "/circuit-breaker-status"]:
            assert api.get(path).status == 404
        answer = api.post("/v1/check", {"client_id": "x"})
        assert answer.status == 400 and answer.json["field"] == "client_id"
        assert admin.call("PUT", "/api/config/global", {"max_requests": 1, "window_duration_seconds": 1}).status == 404
        assert admin.get("/rules").status == 404
        # Always there.
        assert api.post("/json", {"domain": "x", "descriptors": [{"entries": []}]}).status == 200
