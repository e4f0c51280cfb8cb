"""Policies, rules and keys over HTTP: the same commands as in RESP, with the same effects, log lines and refusals."""

import json

import pytest

from http_wire import HTTPWire
from ports import free_port
from wire import eventually

JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def administered(tmp_path_factory):
    from server import Server
    directory = tmp_path_factory.mktemp("admin")
    rules = directory / "rules"
    rules.write_text("policy filed LIMIT 7 PER 1m\nrule acme * * POLICY filed\n")
    server = Server(directory / "data", "--admin-port", free := free_port(), "--rules-file", rules)
    server.admin, server.rules = free, rules
    yield server
    server.stop()


@pytest.fixture
def admin(administered):
    with HTTPWire(administered.admin) as wire:
        yield wire


def put(wire, path, value):
    return wire.get(path, JSON, method="PUT", body=json.dumps(value).encode())


def test_a_policy_is_created_changed_shown_and_removed(administered, admin):
    assert admin.get("/v1/policies/free").status == 404
    created = put(admin, "/v1/policies/free", {"limit": 10, "per": "1m", "algorithm": "token-bucket"})
    assert created.status == 200
    shown = json.loads(admin.get("/v1/policies/free").body)
    assert shown == json.loads(created.body)
    assert shown["name"] == "free" and shown["limit"] == 10 and shown["per_ms"] == 60_000
    assert shown["algorithm"] == "token-bucket" and shown["source"] == "command"
    # A PUT describes the whole policy: what it leaves out has its default.
    assert put(admin, "/v1/policies/free", {"limit": 20, "per": 120}).status == 200
    shown = json.loads(admin.get("/v1/policies/free").body)
    assert (shown["limit"], shown["per_ms"], shown["algorithm"], shown["burst"]) == (20, 120_000, "gcra", 20)
    with administered.connect() as resp:
        assert resp.call("RL.POLICY", "GET", "free")[5] == 20
    assert [each["name"] for each in json.loads(admin.get("/v1/policies").body)["policies"]] == ["filed", "free"]
    administered.wait_log("free")
    assert admin.get("/v1/policies/free", method="DELETE").status == 204
    assert admin.get("/v1/policies/free", method="DELETE").status == 404


@pytest.mark.parametrize("body, field", [
    ({"limit": "x", "per": "1m"}, "limit"), ({"limits": 5}, "limits"), ({"limit": 1.5, "per": 1}, "limit"),
    ({"limit": 5}, "per"), ({"limit": 5, "per": "1q"}, "per"),
    ({"limit": 5, "per": "1m", "algorithm": "none"}, "algorithm"), ([], None), ({"limit": None, "per": 1}, "limit"),
    ({"limit": 99999999999999999999, "per": 1}, "limit"),
])
def test_a_policy_that_is_wrong_changes_nothing(admin, body, field):
    answer = put(admin, "/v1/policies/wrong", body)
    assert answer.status == 400, answer
    problem = json.loads(answer.body)
    assert problem["status"] == 400 and problem["detail"]
    assert problem.get("field") == field
    assert admin.get("/v1/policies/wrong").status == 404


def test_rules_are_set_resolved_listed_and_removed(administered, admin):
    assert put(admin, "/v1/policies/search", {"limit": 3, "per": "1s"}).status == 200
    assert put(admin, "/v1/rules/globex/*/a%2Fb%20c", {"policy": "search"}).status == 200
    with administered.connect() as resp:
        assert resp.call("RL.RULE", "GET", "globex", "*", "a/b c")[7] == b"search"
    found = json.loads(admin.get("/v1/rules/resolve?tenant=globex&client=x&action=a%2Fb+c").body)
    assert found == {"tenant": "globex", "client": "*", "action": "a/b c", "policy": "search", "source": "command",
                     "level": "tenant+action"}
    listed = json.loads(admin.get("/v1/rules").body)["rules"]
    assert sorted((each["tenant"], each["source"]) for each in listed) == [("acme", "file"), ("globex", "command")]
    in_use = admin.get("/v1/policies/search", method="DELETE")
    assert in_use.status == 409 and "globex" in json.loads(in_use.body)["detail"]
    assert admin.get("/v1/rules/resolve?tenant=nobody&client=x&action=y").status == 404
    missing = admin.get("/v1/rules/resolve?tenant=a&client=x")
    assert missing.status == 400 and json.loads(missing.body)["field"] == "action"
    assert put(admin, "/v1/rules/globex/*/*", {"policy": "none"}).status == 400
    assert put(admin, "/v1/rules/globex/%zz/*", {"policy": "search"}).status == 400
    assert admin.get("/v1/rules/globex/*/a%2Fb%20c", method="DELETE").status == 204
    assert admin.get("/v1/rules/globex/*/a%2Fb%20c", method="DELETE").status == 404
    assert admin.get("/v1/policies/search", method="DELETE").status == 204


def test_the_rules_file_is_read_again(administered, admin):
    administered.rules.write_text("policy filed LIMIT 8 PER 1m\nrule acme * * POLICY filed\n")
    answer = admin.get("/v1/rules/reload", JSON, method="POST", body=b"{}")
    assert answer.status == 200 and json.loads(answer.body)["applied"] == 1
    # The connection waited for the files thread, and goes on with what follows.
    assert json.loads(admin.get("/v1/policies/filed").body)["limit"] == 8
    administered.rules.write_text("nonsense\n")
    assert admin.get("/v1/rules/reload", JSON, method="POST", body=b"{}").status == 409
    assert json.loads(admin.get("/v1/policies/filed").body)["limit"] == 8


def test_requests_pipelined_after_a_slow_one_are_answered_after_it(administered, admin):
    administered.rules.write_text("policy filed LIMIT 9 PER 1m\nrule acme * * POLICY filed\n")
    reload = f"POST /v1/rules/reload HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: 2\r\n\r\n{{}}"
    admin.send((reload + "GET /v1/policies/filed HTTP/1.1\r\nHost: localhost\r\n\r\n").encode())
    assert json.loads(admin.response().body)["policies"] == 1
    assert json.loads(admin.response().body)["limit"] == 9


def test_a_key_is_removed(administered, admin):
    with administered.connect() as resp:
        resp.call("RL.TAKE", b"user:\xff 1", "LIMIT", "5", "PER", "1h")
        assert admin.get("/v1/keys/user:%FF%201", method="DELETE").status == 204
        assert resp.call("EXISTS", b"user:\xff 1") == 0
    assert admin.get("/v1/keys/user:%FF%201", method="DELETE").status == 404


def test_a_long_list_is_whole(administered, admin):
    """Lists are divided into pages, so no request stops the loop for long."""
    put(admin, "/v1/policies/many", {"limit": 1, "per": "1s"})
    with administered.connect() as resp:
        for start in range(0, 5000, 1000):
            resp.calls(*[f"RL.RULE SET t{number:05} * * POLICY many" for number in range(start, start + 1000)])
        listed, cursor, pages = [], "", 0
        while cursor is not None:
            page = json.loads(admin.get(f"/v1/rules?limit=700{cursor and '&cursor=' + cursor}").body)
            assert len(page["rules"]) <= 700
            listed += [each["tenant"] for each in page["rules"] if each["policy"] == "many"]
            cursor, pages = page["next"], pages + 1
        assert sorted(listed) == [f"t{n:05}" for n in range(5000)] and pages >= 8
        head = admin.get("/v1/rules", method="HEAD")
        assert int(head.fields["content-length"]) > 5_000 and admin.get("/health").status == 200
        for start in range(0, 5000, 1000):
            resp.calls(*[f"RL.RULE DEL t{number:05} * *" for number in range(start, start + 1000)])
    assert admin.get("/v1/policies/many", method="DELETE").status == 204


# MARK: What a browser could send

def test_changes_need_json_of_the_same_origin(administered, admin):
    body = b'{"limit": 1, "per": "1s"}'

    def change(*fields):
        return admin.get("/v1/policies/browser", *fields, method="PUT", body=body)

    assert change().status == 415 and change("Content-Type: text/plain").status == 415
    assert change("Content-Type: application/x-www-form-urlencoded").status == 415
    assert change(JSON, "Origin: http://evil.example").status == 403
    assert change(JSON, "Sec-Fetch-Site: cross-site").status == 403
    assert change(JSON, "Origin: null").status == 403
    assert admin.get("/v1/policies/browser").status == 404
    assert change(JSON, "Origin: http://localhost", "Sec-Fetch-Site: same-origin").status == 200
    assert admin.get("/v1/policies/browser", "Origin: http://evil.example", method="DELETE").status == 403
    assert admin.get("/v1/policies/browser", method="DELETE").status == 204


# MARK: States of the server

def test_a_replica_refuses_changes_and_answers_questions(start):
    port = free_port()
    primary = start()
    replica = start("--admin-port", port, "--replicaof", f"127.0.0.1 {primary.port}")
    with HTTPWire(port) as wire, primary.connect() as resp:
        resp.ok("RL.POLICY", "SET", "free", "LIMIT", "1", "PER", "1s")
        eventually(lambda: wire.get("/v1/policies/free").status == 200, "the replica has the policy")
        refused = put(wire, "/v1/policies/free", {"limit": 2, "per": 1})
        assert refused.status == 503 and refused.fields["retry-after"] == "1"
        assert "READONLY" in json.loads(refused.body)["detail"]
        assert wire.get("/health").status == 200
    assert replica.process.poll() is None


def test_a_change_is_on_disk_before_it_is_answered(start):
    port = free_port()
    server = start("--admin-port", port, "--appendfsync", "always")
    with HTTPWire(port) as wire:
        for number in range(20):
            assert put(wire, f"/v1/policies/p{number}", {"limit": 1, "per": "1s"}).status == 200
    server.process.kill()
    server.process.wait()
    server.release()
    again = start("--dir", server.directory)
    with again.connect() as resp:
        assert len(resp.call("RL.POLICY", "LIST")) == 20
