"""The check API over HTTP: every route, agreement with the commands, malformed bodies, failures, many threads."""

import json
import re
import socket
import threading
import urllib.error
import urllib.request

import pytest

from check_api import API, api_and_wire, start_api
from clock import Countdown
from conftest import missing
from server import Server
from wire import PATIENCE, eventually

NAMES = ["allowed", "granted", "limit", "remaining", "retry_after_ms", "reset_after_ms"]
QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"


@pytest.fixture(scope="module")
def module_api(tmp_path_factory):
    def start(*flags):
        return Server(tmp_path_factory.mktemp("api") / "data", "--io-threads", "2", *flags)

    server = start_api(start)
    with server.connect() as wire:
        wire.ok("RL.POLICY", "SET", "free", "LIMIT", "3", "PER", "1h")
        wire.ok("RL.POLICY", "SET", "gold", "LIMIT", "60", "PER", "1m", "BURST", "10")
        wire.ok("RL.POLICY", "SET", "daily", "LIMIT", "5", "PER", "1d", "ALGO", "fixed-window")
        wire.ok("RL.POLICY", "SET", "quiet", "LIMIT", "0", "PER", "1m", "MODE", "shadow")
        wire.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "free")
        wire.ok("RL.RULE", "SET", "acme", "*", "search", "POLICY", "gold")
        wire.ok("RL.RULE", "SET", "acme", "vip", "*", "POLICY", "daily")
        wire.ok("RL.RULE", "SET", "*", "*", "quiet", "POLICY", "quiet")
    yield server
    server.stop()


@pytest.fixture
def api(module_api):
    with module_api.connect() as wire:
        wire.ok("FLUSHALL")
    with module_api.api() as api:
        yield api


@pytest.fixture
def wire(module_api, api):
    with module_api.connect() as wire:
        yield wire


def check(api, tenant="x", client="c", action="a", path="/v1/check", **more):
    return api.post(path, {"tenant": tenant, "client": client, "action": action, **more})


def assert_decision(answer, row, *, policy, rule, passed, shadow=False):
    """The answer's body has the numbers of a row of RL.TAKE, which was asked for at most `passed` seconds apart."""
    got = [int(answer.json[name]) if name == "allowed" else answer.json[name] for name in NAMES]
    assert got[:4] == row[:4]
    for value, expected in zip(got[4:], row[4:]):
        assert abs(value - expected) <= passed * 1000 + 1, (got, row)
    assert answer.json["policy"] == policy and answer.json["rule"] == rule and answer.json["shadow"] is shadow


# MARK: Decisions

def test_check_takes_from_the_limit_of_the_rule(api):
    for left in (2, 1, 0):
        answer = check(api)
        assert answer.status == 200 and answer.fields["content-type"] == "application/json"
        assert list(answer.json) == NAMES + ["policy", "rule", "shadow"]
        assert answer.json["allowed"] is True and answer.json["granted"] == 1 and answer.json["remaining"] == left
        assert answer.json["retry_after_ms"] == -1 and answer.json["policy"] == "free"
        assert answer.json["rule"] == ["*", "*", "*"] and answer.json["shadow"] is False
        assert answer.fields["ratelimit-policy"] == '"free";q=3;w=3600'
        assert answer.fields["ratelimit"].startswith(f'"free";r={left};t=')
        assert answer.fields["cache-control"] == "no-store" and "retry-after" not in answer.fields
    answer = check(api)
    assert answer.status == 429 and answer.fields["content-type"] == "application/problem+json"
    assert answer.json["type"] == QUOTA and answer.json["status"] == 429
    assert answer.json["violated-policies"] == ["free"]
    assert answer.json["allowed"] is False and answer.json["remaining"] == 0
    wait = answer.json["retry_after_ms"]
    assert 1_190_000 < wait <= 1_200_000 and int(answer.fields["retry-after"]) == -(-wait // 1000)
    assert answer.fields["ratelimit"] == f'"free";r=0;t={answer.fields["retry-after"]}'


@pytest.mark.parametrize("names, policy, rule", [
    (("acme", "1", "search"), "gold", ["acme", "*", "search"]),
    (("acme", "vip", "search"), "daily", ["acme", "vip", "*"]),
    (("acme", "vip\u20ac\"\\", "x"), "free", ["*", "*", "*"]),
])
def test_the_answer_names_policy_and_rule(api, names, policy, rule):
    answer = check(api, *names)
    assert answer.status == 200 and answer.json["policy"] == policy and answer.json["rule"] == rule


def test_no_rule(start):
    server = start_api(start)
    with server.api() as api:
        answer = check(api)
        assert answer.status == 404 and answer.json["type"] == "urn:escapement:problem:no-rule"
        assert answer.fields["content-type"] == "application/problem+json"
        assert api.get("/v1/status?tenant=x&client=c&action=a").status == 404
        assert api.get("/v1/auth").status == 404


def test_agreement_with_the_commands(api, wire):
    """The same key, alternately over both protocols."""
    body = {"key": "k", "limit": 10, "per": "1h", "burst": 4, "cost": 1}
    words = ["k", "LIMIT", 10, "PER", "1h", "BURST", 4, "COST", 1]
    clock = Countdown()
    for number in range(6):
        peeked = wire.call("RL.PEEK", *words)
        answer = api.post("/v1/peek", body)
        assert answer.status == 200
        assert_decision(answer, peeked, policy=None, rule=None, passed=clock.passed())
        if number % 2:
            assert api.post("/v1/take", body).json["granted"] == peeked[1]
        else:
            assert wire.call("RL.TAKE", *words)[1] == peeked[1]
    assert wire.call("RL.TAKE", *words)[0] == 0 and api.post("/v1/take", body).status == 429
    assert api.post("/v1/refund", {**body, "cost": 2}).json["granted"] == 2
    assert wire.call("RL.PEEK", *words)[3] == 2


def test_check_and_rl_check_share_a_key(api, wire):
    assert wire.call("RL.CHECK", "acme", "\u20ac", "search", "COST", 4)[3] == 6
    assert check(api, "acme", "\u20ac", "search", cost=4).json["remaining"] == 2
    # Escaped in the body, so that the names are decoded.
    raw = rb'{"tenant":"\u0061cme","client":"\u20ac","action":"search"}'
    answer = api.post("/v1/check", raw)
    assert answer.status == 200 and answer.json["remaining"] == 1 and answer.json["rule"] == ["acme", "*", "search"]
    assert wire.call("RL.CHECK", "acme", "\u20ac", "search", "COST", 2)[0] == 0


@pytest.mark.parametrize("algorithm", ["gcra", "token-bucket", "fixed-window", "sliding-window", "sliding-log"])
def test_every_algorithm(api, wire, algorithm):
    body = {"key": f"k-{algorithm}", "limit": 2, "per": 3600, "algorithm": algorithm}
    clock = Countdown()
    for _ in range(3):
        answer = api.post("/v1/take", body)
        row = wire.call("RL.PEEK", body["key"], "LIMIT", 2, "PER", "1h", "ALGO", algorithm)
        assert answer.json["remaining"] == row[3]
        assert answer.fields["ratelimit-policy"] == '"default";q=2;w=3600'
    assert answer.status == 429
    assert_decision(answer, row, policy=None, rule=None, passed=clock.passed())


def test_calendar_limits(api):
    body = {"key": "k", "limit": 2, "per": "month", "algorithm": "calendar", "zone": "+02:00", "start": 5}
    answer = api.post("/v1/take", body)
    assert answer.status == 200 and answer.json["remaining"] == 1
    # A month is no constant number of seconds.
    assert answer.fields["ratelimit-policy"] == '"default";q=2'


def test_policies_in_take(api):
    answer = api.post("/v1/take", {"key": "k", "policy": "gold", "cost": 11, "at_most": True})
    assert answer.status == 200 and answer.json["granted"] == 10 and answer.json["policy"] == "gold"
    assert answer.json["rule"] is None
    assert answer.fields["ratelimit-policy"] == '"gold";q=10;w=10' and answer.fields["ratelimit"] == '"gold";r=0;t=1'


def test_waiting_never_helps(api):
    answer = api.post("/v1/take", {"key": "k", "limit": 2, "per": "1m", "cost": 3})
    assert answer.status == 429 and answer.json["retry_after_ms"] == -1 and "retry-after" not in answer.fields
    answer = api.post("/v1/take", {"key": "none", "limit": 0, "per": "1m"})
    assert answer.status == 429 and "retry-after" not in answer.fields
    assert answer.fields["ratelimit-policy"] == '"default";q=0;w=60' and answer.fields["ratelimit"] == '"default";r=0'


def test_short_periods(api):
    body = {"key": "k", "limit": 1, "per": "500ms"}
    first, second = api.post("/v1/take", body), api.post("/v1/take", body)
    assert first.fields["ratelimit-policy"] == '"default";q=1' and first.fields["ratelimit"] == '"default";r=0;t=1'
    # A slow machine may have replenished it.
    if second.status == 429:
        assert second.fields["retry-after"] == "1"


def test_shadow_mode_is_reported_but_not_shown_to_clients(api):
    answer = check(api, action="quiet")
    assert answer.status == 200 and answer.json["allowed"] is True and answer.json["shadow"] is True
    assert "ratelimit" not in answer.fields and "ratelimit-policy" not in answer.fields


def test_refusals_with_status_200(api):
    body = {"key": "k", "limit": 1, "per": "1h"}
    assert api.post("/v1/take?status=200", body).status == 200
    answer = api.post("/v1/take?status=200", body)
    assert answer.status == 200 and answer.json["allowed"] is False
    assert list(answer.json) == NAMES + ["policy", "rule", "shadow"]
    answer = api.post("/v1/take?status=201", body)
    assert answer.status == 400 and answer.json["field"] == "status"


def test_take_all(api, wire):
    limits = [{"key": "a", "limit": 2, "per": "1h"}, {"key": "b", "policy": "gold"}]
    answer = api.post("/v1/take-all", {"limits": limits})
    assert answer.status == 200 and answer.json["allowed"] is True and answer.json["granted"] == 1
    assert answer.json["refused"] is None and answer.json["retry_after_ms"] == -1
    assert [row["remaining"] for row in answer.json["limits"]] == [1, 9]
    assert answer.fields["ratelimit-policy"] == '"default";q=2;w=3600, "gold";q=10;w=10'
    assert answer.fields["ratelimit"] == '"default";r=1;t=1800, "gold";r=9;t=1'
    assert api.post("/v1/take-all", {"cost": 1, "limits": limits}).status == 200
    answer = api.post("/v1/take-all", {"limits": limits})
    assert answer.status == 429 and answer.json["refused"] == "a" and answer.json["granted"] == 0
    assert answer.json["violated-policies"] == ["default"]
    assert answer.fields["retry-after"] == str(-(-answer.json["retry_after_ms"] // 1000))
    assert [row["policy"] for row in answer.json["limits"]] == [None, "gold"]
    # Nothing was taken from the other limit.
    assert wire.call("RL.PEEK", "b", "POLICY", "gold", "COST", 0)[3] >= 8


def test_take_all_of_as_many_as_fit(api):
    limits = [{"key": f"\u20ack{n}", "limit": n + 1, "per": "1h"} for n in range(128)]
    raw = json.dumps({"limits": limits}).encode()  # escapes
    assert rb"\u20ac" in raw
    answers = [api.post("/v1/take-all", raw) for _ in range(2)]
    assert [row["remaining"] for row in answers[0].json["limits"]] == list(range(128))
    assert answers[1].status == 429 and answers[1].json["refused"] == "\u20ack0"
    answer = api.post("/v1/take-all", {"limits": limits + [{"key": "more", "limit": 1, "per": 1}]})
    assert answer.status == 400 and answer.json["field"] == "limits"


def test_status_reads(api):
    check(api, "t t", "c/1", "\u20ac")
    path = "/v1/status?tenant=t+t&client=c%2F1&action=%E2%82%AC"
    for _ in range(2):
        answer = api.get(path)
        assert answer.status == 200 and answer.json["remaining"] == 2 and answer.json["granted"] == 0
    head = api.call("HEAD", path)
    assert head.status == 200 and head.body == b"" and int(head.fields["content-length"]) > 0
    for path, field in [("/v1/status?tenant=x&client=c", "action"), ("/v1/status?tenant=%4&client=c&action=a", "tenant")]:
        answer = api.get(path)
        assert answer.status == 400 and answer.json["field"] == field


# MARK: Idempotency

@pytest.mark.parametrize("route", ["member", "field", "quoted field"])
def test_a_token_gets_the_first_answer_again(api, wire, route):
    body = {"key": "k", "limit": 5, "per": "1h"}

    def take():
        if route == "member":
            return api.post("/v1/take", {**body, "id": "t-1"})
        return api.post("/v1/take", body, Idempotency_Key='"t-1"' if route == "quoted field" else "t-1")

    assert take().json["remaining"] == 4 and take().json["remaining"] == 4
    assert wire.call("RL.TAKE", "k", "LIMIT", 5, "PER", "1h", "ID", "t-1")[3] == 4
    assert api.post("/v1/take", body).json["remaining"] == 3


def test_tokens_that_are_refused(api):
    body = {"key": "k", "limit": 5, "per": "1h"}
    for answer in [
        api.post("/v1/take", {**body, "id": "a"}, Idempotency_Key="a"),
        api.post("/v1/take", body, Idempotency_Key="x" * 257),
        api.post("/v1/take", body, Idempotency_Key=""),
        api.post("/v1/refund", body, Idempotency_Key="a"),
        api.post("/v1/take-all", {"limits": [body]}, Idempotency_Key="a"),
    ]:
        assert answer.status == 400 and answer.json["field"] == "Idempotency-Key", answer
    assert api.post("/v1/take", {**body, "id": ""}).json["field"] == "id"
    assert api.post("/v1/peek", body).json["remaining"] == 5


# MARK: Correlation

def test_correlation_ids(api):
    for given in ["a", "A-z_0.9:", "x" * 128]:
        answer = api.post("/v1/check", {"tenant": "x", "client": "c", "action": "a"}, X_Correlation_ID=given)
        assert answer.fields["x-correlation-id"] == given
        assert api.post("/v1/check", b"{", X_Correlation_ID=given).fields["x-correlation-id"] == given
    made = set()
    for given in ["", "x" * 129, "a b", "\u00e9", "a\"b"]:
        answer = api.post("/v1/check", b"{", X_Correlation_ID=given.encode("latin-1"))
        made.add(answer.fields["x-correlation-id"])
    assert len(made) == 5 and all(len(name) == 16 and int(name, 16) for name in made)


def test_failures_are_logged_with_the_correlation_id(start):
    server = start_api(start, "--loglevel", "verbose", "--idempotency-tokens-max", "0")
    with server.api() as api:
        answer = api.post("/v1/take", {"key": "k", "limit": 5, "per": 1, "id": "t"}, X_Correlation_ID="find-me")
        assert answer.status == 503 and answer.fields["retry-after"] == "1"
        assert answer.json["type"] == "urn:escapement:problem:too-many-tokens"
        line = next(line for line in server.wait_log("find-me").splitlines() if "find-me" in line)
        assert "status=503" in line and "/v1/take" in line


# MARK: Malformed requests

TAKE = {"key": "k", "limit": 5, "per": "1h"}


@pytest.mark.parametrize("path, body, field", [
    ("/v1/take", {}, "key"), ("/v1/take", {"key": "k"}, "limit"), ("/v1/take", {"key": "k", "limit": 5}, "per"),
    ("/v1/take", {"key": "k", "per": 5}, "limit"), ("/v1/take", {**TAKE, "kee": 1}, "kee"),
    ("/v1/take", {**TAKE, "key": 7}, "key"), ("/v1/take", {**TAKE, "key": None}, "key"),
    ("/v1/take", {**TAKE, "limit": "5"}, "limit"), ("/v1/take", {**TAKE, "limit": 5.0}, "limit"),
    ("/v1/take", {**TAKE, "limit": -5}, "limit"), ("/v1/take", {**TAKE, "limit": 1 << 63}, "limit"),
    ("/v1/take", {**TAKE, "per": 0}, "per"), ("/v1/take", {**TAKE, "per": -1}, "per"),
    ("/v1/take", {**TAKE, "per": "1 h"}, "per"), ("/v1/take", {**TAKE, "per": True}, "per"),
    ("/v1/take", {**TAKE, "per": 1 << 62}, "per"), ("/v1/take", {**TAKE, "burst": 0}, "burst"),
    ("/v1/take", {**TAKE, "burst": 1 << 62}, "burst"), ("/v1/take", {**TAKE, "cost": -1}, "cost"),
    ("/v1/take", {**TAKE, "cost": 1.5}, "cost"), ("/v1/take", {**TAKE, "at_most": 1}, "at_most"),
    ("/v1/take", {**TAKE, "algorithm": "leaky"}, "algorithm"), ("/v1/take", {**TAKE, "algorithm": 1}, "algorithm"),
    ("/v1/take", {**TAKE, "offset": "1h"}, "offset"), ("/v1/take", {**TAKE, "zone": "Europe/Berlin"}, "zone"),
    ("/v1/take", {**TAKE, "zone": "no/where", "algorithm": "calendar", "per": "day"}, "zone"),
    ("/v1/take", {**TAKE, "policy": "gold"}, "policy"), ("/v1/take", {"key": "k", "policy": "nope"}, "policy"),
    ("/v1/take", {**TAKE, "id": "x" * 257}, "id"), ("/v1/take", {**TAKE, "id": 1}, "id"),
    ("/v1/refund", {**TAKE, "at_most": True}, "at_most"), ("/v1/refund", {**TAKE, "id": "x"}, "id"),
    ("/v1/peek", {**TAKE, "client": "x"}, "client"),
    ("/v1/check", {"tenant": "x", "client": "c"}, "action"), ("/v1/check", {"tenant": "x", "action": "c"}, "client"),
    ("/v1/check", {"tenant": ["x"], "client": "c", "action": "a"}, "tenant"),
    ("/v1/check", {"tenant": "x", "client": "c", "action": "a", "limit": 1}, "limit"),
    ("/v1/check", {"tenant": "x", "client": "c", "action": "a", "cost": -1}, "cost"),
    ("/v1/take-all", {}, "limits"), ("/v1/take-all", {"limits": []}, "limits"), ("/v1/take-all", {"limits": {}}, "limits"),
    ("/v1/take-all", {"limits": [TAKE, {**TAKE, "key": "l", "per": "x"}]}, "limits[1].per"),
    ("/v1/take-all", {"limits": [TAKE, {"key": "l", "limit": 1}]}, "limits[1].per"),
    ("/v1/take-all", {"limits": [TAKE, {**TAKE, "cost": 2}]}, "limits[1].cost"),
    ("/v1/take-all", {"limits": [TAKE, {"limit": 1, "per": 1}]}, "limits[1].key"),
    ("/v1/take-all", {"limits": [TAKE, TAKE]}, "limits[1].key"),
    ("/v1/take-all", {"limits": [TAKE], "cost": -2}, "cost"), ("/v1/take-all", {"limits": [TAKE], "id": "a"}, "id"),
])
def test_a_malformed_body_names_the_field_and_takes_nothing(api, wire, path, body, field):
    answer = api.post(path, body)
    assert answer.status == 400 and answer.fields["content-type"] == "application/problem+json"
    assert answer.json["field"] == field and field.split(".")[-1].split("[")[0] in answer.json["detail"], answer
    assert wire.call("DBSIZE") == 0
    # The connection is still usable.
    assert api.post("/v1/take", TAKE).json["remaining"] == 4


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'{"key":"k","key":"l","limit":5,"per":1}', b'{"key":"k","limit":5,"per":1}x',
    b'{"key":"\xff","limit":5,"per":1}', b'{"key":"\\ud800","limit":5,"per":1}', b'{"key":"k","limit":05,"per":1}',
    b'{"key":"k","limit":5,"per":1,}', b"\xef\xbb\xbf{}", b'{"key":"k","x":[[[[[[[[[[1]]]]]]]]]]}',
])
def test_bodies_that_are_not_acceptable_json(api, wire, body):
    answer = api.post("/v1/take", body)
    assert answer.status == 400 and answer.json["detail"], answer
    assert wire.call("DBSIZE") == 0 and api.post("/v1/take", TAKE).json["remaining"] == 4


def test_content_types_and_lengths(api):
    body = json.dumps(TAKE).encode()
    for accepted in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"]:
        assert api.call("POST", "/v1/take", body, {"Content-Type": accepted}).status == 200
    for refused in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""]:
        answer = api.call("POST", "/v1/take", body, {"Content-Type": refused})
        assert answer.status == 415 and answer.json["field"] == "Content-Type"
    api.connection.putrequest("POST", "/v1/take")
    api.connection.endheaders()
    response = api.connection.getresponse()
    assert response.status == 411 and json.loads(response.read())["status"] == 411


def test_wrong_methods_and_paths(api):
    answer = api.get("/v1/take")
    assert answer.status == 405 and answer.fields["allow"] == "POST"
    assert api.post("/v1/nothing", TAKE).status == 404
    assert api.post("/v1/policies/x", TAKE).status == 404, "administration has its own listener"


def test_a_key_of_another_kind(api, wire):
    wire.call("INCR", "k")
    answer = api.post("/v1/take", TAKE)
    assert answer.status == 409 and answer.json["type"] == "urn:escapement:problem:wrong-kind"
    answer = api.post("/v1/take-all", {"limits": [{**TAKE, "key": "l"}, TAKE]})
    assert answer.status == 409 and "limits[1]" in answer.json["detail"] and wire.call("EXISTS", "l") == 0


def test_long_keys(api, wire):
    key = "k" * 40_000
    assert api.post("/v1/take", {**TAKE, "key": key}).json["remaining"] == 4
    # With escapes, beside other requests of the same batch.
    escaped = json.dumps({**TAKE, "key": "\u20ac" + key[:9000]}).encode()
    assert rb"\u20ac" in escaped
    assert api.post("/v1/take", escaped).json["remaining"] == 4
    assert wire.call("EXISTS", key, "\u20ac" + key[:9000]) == 2
    answer = check(api, client=key)
    assert answer.status == 200 and answer.json["rule"] == ["*", "*", "*"]


# MARK: Pipelines

def test_a_pipeline_is_answered_in_order(module_api, api):
    """Decisions, errors and other answers, in one write, with escapes and long keys among them."""
    bodies, expected = [], []
    for number in range(300):
        key = "\u20ac" * (number % 7) + f"k{number % 5}" + "x" * (number % 3 * 900)
        body = json.dumps({"key": key, "limit": 1000, "per": "1h", "cost": number % 4},
                          ensure_ascii=number % 2 == 0).encode()
        if number % 11 == 10:
            body = body[:-1]
        bodies.append(body)
        expected.append(400 if number % 11 == 10 else 200)
    data = b"".join(
        b"POST /v1/take HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: n%d\r\nContent-Length: %d\r\n\r\n" % (n, len(body)) + body
        for n, body in enumerate(bodies))
    with socket.create_connection(("127.0.0.1", module_api.gateway_port), timeout=PATIENCE) as raw:
        threading.Thread(target=raw.sendall, args=(data,)).start()
        reader = raw.makefile("rb")
        totals = {}
        for number, status in enumerate(expected):
            assert reader.readline().split()[1] == b"%d" % status, number
            fields = dict(iter(lambda: reader.readline().rstrip().split(b": ", 1), [b""]))
            assert fields[b"X-Correlation-ID"] == b"n%d" % number
            answer = json.loads(reader.read(int(fields[b"Content-Length"])))
            if status == 200:
                key = json.loads(bodies[number])["key"]
                totals[key] = totals.get(key, 0) + number % 4
                assert 1000 - totals[key] == answer["remaining"], number


def test_groups_share_a_batch_as_far_as_they_fit(module_api, api):
    body = json.dumps({"limits": [{"key": f"g{n}", "limit": 10, "per": "1h"} for n in range(100)]}).encode()
    data = b"POST /v1/take-all HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", module_api.gateway_port), timeout=PATIENCE) as raw:
        raw.sendall(data * 12)
        reader = raw.makefile("rb")
        for number in range(12):
            assert reader.readline().split()[1] == (b"200" if number < 10 else b"429")
            fields = dict(iter(lambda: reader.readline().rstrip().split(b": ", 1), [b""]))
            answer = json.loads(reader.read(int(fields[b"Content-Length"])))
            assert [row["remaining"] for row in answer["limits"]] == [max(0, 9 - number)] * 100


# MARK: RateLimit fields

@pytest.mark.parametrize("families, names", [
    ("draft", {"ratelimit", "ratelimit-policy"}), ("none", set()),
    ("triple", {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}),
    ("x-delta", {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}),
    ("draft triple x-epoch", {"ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining",
                              "ratelimit-reset", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}),
])
def test_families_of_fields(start, families, names):
    server = start_api(start, "--http-ratelimit-headers", families)
    with api_and_wire(server) as (api, wire):
        answer = api.post("/v1/take", {"key": "k", "limit": 2, "per": "1h"})
        assert {name for name in answer.fields if "ratelimit" in name} == names
        if "triple" in families:
            assert [answer.fields["ratelimit-" + name] for name in ("limit", "remaining", "reset")] == ["2", "1", "1800"]
        if "x-epoch" in families:
            seconds = int(wire.call("TIME")[0])
            assert abs(int(answer.fields["x-ratelimit-reset"]) - seconds - 1800) <= PATIENCE
        if "x-delta" in families:
            assert answer.fields["x-ratelimit-reset"] == "1800"
        # At run time.
        wire.ok("CONFIG", "SET", "http-ratelimit-headers", "none")
        assert not any("ratelimit" in name for name in api.post("/v1/take", {"key": "k", "limit": 2, "per": "1h"}).fields)
        for refused in ["x-epoch x-delta", "drafts", "none draft", ""]:
            assert wire.call("CONFIG", "SET", "http-ratelimit-headers", refused).startswith(b"ERR")


def test_a_parser_of_structured_fields_reads_them(api, wire):
    try:
        import http_sfv
    except ImportError:
        missing("http-sfv is not installed")
    wire.ok("RL.POLICY", "SET", 'odd "\\ name', "LIMIT", "3", "PER", "1h")
    wire.ok("RL.POLICY", "SET", "caf\u00e9", "LIMIT", "3", "PER", "1h")
    limits = [{"key": n, "policy": n} for n in ["gold", 'odd "\\ name', "caf\u00e9", "daily"]]
    answer = api.post("/v1/take-all", {"limits": limits + [{"key": "n", "limit": 9, "per": "10s"}]})
    for field, parameters in [("ratelimit-policy", [{"q": 10, "w": 10}, {"q": 3, "w": 3600}, {"q": 5, "w": 86400}, {"q": 9, "w": 10}]),
                              ("ratelimit", None)]:
        parsed = http_sfv.List()
        parsed.parse(answer.fields[field].encode())
        assert [item.value for item in parsed] == ["gold", 'odd "\\ name', "daily", "default"]
        if parameters:
            assert [dict(item.params) for item in parsed] == parameters
        else:
            assert [item.params["r"] for item in parsed] == [9, 2, 4, 8]
            assert all(item.params["t"] >= 1 for item in parsed)
    # A list without items is not sent.
    answer = api.post("/v1/take", {"key": "k", "policy": "caf\u00e9"})
    assert answer.status == 200 and answer.json["policy"] == "caf\u00e9" and "ratelimit" not in answer.fields
    for name in ['odd "\\ name', "caf\u00e9"]:
        assert wire.call("RL.POLICY", "DEL", name) == 1


# MARK: Failures

def test_out_of_memory(start):
    server = start_api(start, "--maxmemory", "2mb")
    with server.api() as api:
        for number in range(1000):
            answer = api.post("/v1/take", {**TAKE, "key": f"{number}".ljust(30_000, "k")})
            if answer.status != 200:
                break
        assert answer.status == 503 and answer.fields["retry-after"] == "1"
        assert answer.json["type"] == "urn:escapement:problem:out-of-memory"
        assert api.post("/v1/peek", TAKE).status == 200


def test_a_replica_refuses_to_take_and_shows_the_state(start):
    primary = start_api(start)
    replica = start_api(start, "--replicaof", f"127.0.0.1 {primary.port}")
    with primary.api() as api:
        assert api.post("/v1/take", TAKE).json["remaining"] == 4
    with api_and_wire(replica) as (api, wire):
        eventually(lambda: wire.call("DBSIZE") == 1, "the key has arrived")
        answer = api.post("/v1/take", TAKE)
        assert answer.status == 503 and answer.json["type"] == "urn:escapement:problem:read-only"
        assert answer.fields["retry-after"] == "1"
        assert api.post("/v1/peek", TAKE).json["remaining"] == 4
        assert api.post("/v1/peek", b"{").status == 400


def test_too_few_replicas(start):
    server = start_api(start, "--min-replicas-to-write", "1")
    with server.api() as api:
        answer = api.post("/v1/take", TAKE)
        assert answer.status == 503 and answer.json["type"] == "urn:escapement:problem:lacks-replicas"


def test_a_pause_holds_requests(start):
    server = start_api(start)
    with api_and_wire(server) as (api, wire):
        wire.ok("CLIENT", "PAUSE", "100000", "WRITE")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(api.post("/v1/take", TAKE)))
        thread.start()
        # The request has arrived: the connection's input is kept.
        eventually(lambda: re.search(rb"qbuf=[1-9]", wire.call("CLIENT", "LIST", "TYPE", "NORMAL")), "it is held")
        assert wire.call("RL.PEEK", "k", "LIMIT", 5, "PER", "1h")[3] == 5 and not answers
        wire.ok("CLIENT", "UNPAUSE")
        thread.join(PATIENCE)
        assert answers[0].json["remaining"] == 4


# MARK: Many clients

def test_eight_threads_are_allowed_exactly_as_many_as_the_limit(module_api, api):
    allowed = []

    def run():
        url = f"http://127.0.0.1:{module_api.gateway_port}/v1/take"
        body = json.dumps({"key": "shared", "limit": 137, "per": "1d"}).encode()
        for number in range(50):
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                    allowed.append(json.load(response)["remaining"])
            except urllib.error.HTTPError as refusal:
                assert refusal.code == 429
                refusal.read()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(allowed) == list(range(137))


def test_requests_are_counted_as_commands(start):
    server = start_api(start)
    with api_and_wire(server) as (api, wire):
        for _ in range(3):
            api.post("/v1/take", {"key": "k", "limit": 2, "per": "1h"})
        api.post("/v1/take", b"{")
        info = wire.call("INFO", "commandstats").decode()
        line = next(line for line in info.splitlines() if line.startswith("cmdstat_rl.take:"))
        assert ":calls=3," in line
