"""Policies, rules and keys over HTTP, on the admin listener."""

import urllib.parse

import pytest

from check_api import start_api
from server import Server


@pytest.fixture(scope="module")
def module_api(tmp_path_factory):
    def start(*flags):
        return Server(tmp_path_factory.mktemp("policies") / "data", "--io-threads", "1", *flags)

    server = start_api(start)
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
        yield wire


@pytest.fixture
def admin(module_api, wire):
    with module_api.admin() as admin:
        yield admin


def as_map(reply):
    return dict(zip(reply[::2], reply[1::2]))


def test_a_policy(admin, wire):
    answer = admin.call("PUT", "/v1/policies/free", {"limit": 100, "per": "1m"})
    assert answer.status == 200 and answer.json == {
        "name": "free", "algorithm": "gcra", "limit": 100, "per_ms": 60000, "burst": 100, "offset_ms": 0,
        "mode": "enforce", "source": "command", "capped_ms": 0}
    assert admin.get("/v1/policies/free").json == answer.json
    assert as_map(wire.call("RL.POLICY", "GET", "free"))[b"limit"] == 100
    assert admin.call("DELETE", "/v1/policies/free").status == 204
    assert wire.call("RL.POLICY", "GET", "free") is None
    for method in ("GET", "DELETE"):
        assert admin.call(method, "/v1/policies/free").status == 404


def test_a_put_replaces_a_policy(admin, wire):
    full = {"limit": 100, "per": 60, "burst": 7, "algorithm": "token-bucket", "mode": "shadow"}
    assert admin.call("PUT", "/v1/policies/p", full).json["burst"] == 7
    answer = admin.call("PUT", "/v1/policies/p", {"limit": 50, "per": "1m"})
    assert answer.json["burst"] == 50 and answer.json["algorithm"] == "gcra" and answer.json["mode"] == "enforce"
    answer = admin.call("PUT", "/v1/policies/p", {"limit": 5, "per": "1d", "algorithm": "fixed-window", "offset": "2h"})
    assert answer.json["offset_ms"] == 7_200_000
    assert admin.call("PUT", "/v1/policies/p", {"limit": 5, "per": "1d", "algorithm": "fixed-window"}).json["offset_ms"] == 0
    answer = admin.call("PUT", "/v1/policies/p", {"limit": 5, "per": "month", "algorithm": "calendar", "zone": "+02:00"})
    assert answer.json["per"] == "month" and answer.json["zone"] == "+02:00"
    assert admin.call("PUT", "/v1/policies/p", {"limit": 0, "per": 1}).json["limit"] == 0


@pytest.mark.parametrize("body, field", [
    ({}, "limit"), ({"limit": 1}, "per"), ({"limit": -1, "per": 1}, "limit"), ({"limit": 1, "per": "x"}, "per"),
    ({"limit": 1, "per": 1, "burst": 0}, "burst"), ({"limit": 1, "per": 1, "mode": "on"}, "mode"),
    ({"limit": 1, "per": 1, "algorithm": "x"}, "algorithm"), ({"limit": 1, "per": 1, "key": "k"}, "key"),
    ({"limit": 1, "per": 1, "cost": 1}, "cost"), ({"limit": "1", "per": 1}, "limit"),
])
def test_a_malformed_policy(admin, wire, body, field):
    answer = admin.call("PUT", "/v1/policies/p", body)
    assert answer.status == 400 and answer.json["field"] == field, answer
    assert wire.call("RL.POLICY", "LIST") == []


def test_rules(admin, wire):
    admin.call("PUT", "/v1/policies/free", {"limit": 100, "per": "1m"})
    answer = admin.call("PUT", "/v1/rules/acme/*/*", {"policy": "free"})
    assert answer.status == 200 and answer.json == {
        "tenant": "acme", "client": "*", "action": "*", "policy": "free", "source": "command"}
    assert admin.get("/v1/rules/acme/*/*").json == answer.json
    resolved = admin.get("/v1/rules/resolve?tenant=acme&client=c&action=a")
    assert resolved.status == 200 and resolved.json["level"] == "tenant" and resolved.json["policy"] == "free"
    assert admin.get("/v1/rules/resolve?tenant=x&client=c&action=a").json["type"] == "urn:escapement:problem:no-rule"
    answer = admin.call("DELETE", "/v1/policies/free")
    assert answer.status == 409 and "acme" in answer.json["detail"]
    assert admin.call("DELETE", "/v1/rules/acme/*/*").status == 204
    assert admin.call("DELETE", "/v1/rules/acme/*/*").status == 404
    assert admin.get("/v1/rules/acme/*/*").status == 404
    answer = admin.call("PUT", "/v1/rules/a/b/c", {"policy": "nope"})
    assert answer.status == 400 and answer.json["field"] == "policy"
    assert answer.json["type"] == "urn:escapement:problem:no-policy"
    assert admin.call("PUT", "/v1/rules/a/b/c", {}).json["field"] == "policy"
    assert wire.call("RL.RULE", "LIST") == []


def test_names_of_any_bytes(admin, wire):
    name = bytes(range(1, 256))
    path = "/v1/policies/" + urllib.parse.quote(name, safe="")
    assert admin.call("PUT", path, {"limit": 1, "per": 1}).status == 200
    assert wire.call("RL.POLICY", "LIST")[0][1] == name
    quoted = urllib.parse.quote("a/b c\u20ac", safe="")
    answer = admin.call("PUT", f"/v1/rules/{quoted}/*/%00", {"policy": "x"})
    assert answer.status == 400
    wire.ok("RL.POLICY", "SET", "x", "LIMIT", 1, "PER", 1)
    answer = admin.call("PUT", f"/v1/rules/{quoted}/*/%00", {"policy": "x"})
    assert answer.json["tenant"] == "a/b c\u20ac" and answer.json["action"] == "\0"
    assert wire.call("RL.RULE", "GET", "a/b c\u20ac", "*", b"\0") is not None
    assert admin.call("PUT", "/v1/rules/%2A/*/*", {"policy": "x"}).status == 400
    assert admin.call("PUT", "/v1/policies/%4", {"limit": 1, "per": 1}).status == 400
    assert admin.call("PUT", "/v1/policies/" + "n" * 513, {"limit": 1, "per": 1}).status == 400
    assert admin.call("DELETE", path).status == 204


def test_pages(admin, wire):
    for number in range(25):
        wire.ok("RL.POLICY", "SET", f"p{number:02}", "LIMIT", 1, "PER", 1)
        wire.ok("RL.RULE", "SET", f"t{number}", "*", "*", "POLICY", f"p{number:02}")
    names, after = [], ""
    while after is not None:
        page = admin.get(f"/v1/policies?limit=10&after={after}").json
        names += [policy["name"] for policy in page["policies"]]
        after = page["next"]
    assert names == [f"p{number:02}" for number in range(25)]
    rules, cursor = [], "0"
    while cursor is not None:
        page = admin.get(f"/v1/rules?limit=10&cursor={cursor}").json
        rules += [rule["tenant"] for rule in page["rules"]]
        cursor = page["next"]
    assert sorted(rules) == sorted(f"t{number}" for number in range(25))
    for path, field in [("/v1/rules?limit=0", "limit"), ("/v1/policies?limit=10001", "limit"), ("/v1/rules?cursor=x", "cursor"),
                        ("/v1/rules?cursor=999999999999999999", "cursor")]:
        answer = admin.get(path)
        assert answer.status == 400 and answer.json["field"] == field


def test_keys(admin, wire):
    wire.call("RL.TAKE", "a/\u20ac", "LIMIT", 5, "PER", "1h")
    path = "/v1/keys/" + urllib.parse.quote("a/\u20ac", safe="")
    assert admin.call("DELETE", path).status == 204 and wire.call("EXISTS", "a/\u20ac") == 0
    assert admin.call("DELETE", path).status == 404
    wire.call("INCR", "n")
    assert admin.call("DELETE", "/v1/keys/n").status == 409 and wire.call("GET", "n") == b"1"


def test_changes_survive_a_restart(start):
    server = start_api(start)
    with server.admin() as admin:
        admin.call("PUT", "/v1/policies/free", {"limit": 100, "per": "1m"})
        admin.call("PUT", "/v1/rules/*/*/*", {"policy": "free"})
    server.stop()
    again = Server(server.directory)
    with again.connect() as wire:
        assert as_map(wire.call("RL.RULE", "RESOLVE", "a", "b", "c"))[b"policy"] == b"free"
    again.stop()


def test_the_rules_file(start, tmp_path):
    """A removal of an entry of the file is acknowledged once it is stored; a reload reports what it has done."""
    rules = tmp_path / "rules"
    rules.write_text("policy free LIMIT 100 PER 1m\nrule * * * POLICY free\n")
    server = start_api(start, "--rules-file", rules, "--http-compat", "yes")
    with server.admin() as admin, server.connect() as wire:
        answer = admin.call("DELETE", "/v1/rules/*/*/*", None, {"X-Correlation-ID": "removal"})
        assert answer.status == 204 and answer.fields["x-correlation-id"] == "removal"
        answer = admin.call("PUT", "/v1/policies/free", {"limit": 7, "per": "1m"})
        assert answer.status == 200 and answer.json["limit"] == 7
        rules.write_text("policy free LIMIT 100 PER 1m\nrule * * * POLICY free\npolicy gold LIMIT 9 PER 1m\n")
        answer = admin.post("/v1/rules/reload", {})
        assert answer.status == 200 and answer.json["applied"] == 1 and answer.json["applied_names"] == ["policy gold"]
        assert answer.json["kept"] == 2
        assert admin.post("/v1/rules/reload", {"force": True}).json["applied"] == 2
        assert as_map(wire.call("RL.POLICY", "GET", "free"))[b"limit"] == 100
        # The same for a change of both at once.
        answer = admin.call("PUT", "/api/config/global", {"max_requests": 5, "window_duration_seconds": 60})
        assert answer.status == 200 and answer.json["policy"] == "global"
        # The connection continues.
        assert admin.get("/v1/policies/gold").json["limit"] == 9
        rules.write_text("nonsense\n")
        answer = admin.post("/v1/rules/reload", {"force": False})
        assert answer.status == 409 and "nonsense" in answer.json["detail"]
    assert "policy changed by a command" in server.settled_log()


def test_reload_without_a_file(admin):
    assert admin.post("/v1/rules/reload", {"forced": True}).json["field"] == "forced"
    answer = admin.post("/v1/rules/reload", {})
    assert answer.status == 409 and "rules-file" in answer.json["detail"]


def test_a_replica_refuses_changes(start):
    primary = start_api(start)
    replica = start_api(start, "--replicaof", f"127.0.0.1 {primary.port}")
    with replica.admin() as admin:
        answer = admin.call("PUT", "/v1/policies/free", {"limit": 100, "per": "1m"})
        assert answer.status == 503 and answer.json["type"].startswith("urn:escapement:problem:")
        assert answer.fields["retry-after"] == "1"


def test_monitors_see_changes(module_api, admin, wire):
    """A change over HTTP runs a command, which MONITOR shows as one of database 0."""
    with module_api.connect() as monitor:
        monitor.ok("MONITOR")
        assert admin.call("PUT", "/v1/policies/free", {"limit": 5, "per": "1m"}).status == 200
        assert admin.call("PUT", "/v1/rules/acme/*/*", {"policy": "free"}).status == 200
        assert admin.call("DELETE", "/v1/keys/none").status == 404
        lines = [monitor.line() for _ in range(3)]
    for line, command in zip(lines, (b'"RL.POLICY" "SET" "free"', b'"RL.RULE" "SET" "acme"', b'"RL.RESET" "none"')):
        assert b" [0 127.0.0.1:" in line and command in line
    assert wire.call("PING") == b"PONG"
