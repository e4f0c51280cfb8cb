"""/v1/auth: the identity of a request, as proxies report it, and what clients of proxies cannot change."""

import ipaddress
import socket

import pytest

from check_api import API, api_and_wire, start_api
from conftest import missing
from server import Server
from wire import PATIENCE


@pytest.fixture(scope="module")
def module_api(tmp_path_factory):
    def start(*flags):
        return Server(tmp_path_factory.mktemp("auth") / "data", "--io-threads", "1", *flags)

    server = start_api(start, "--trusted-proxies", "127.0.0.1 10.0.0.0/8 2001:db8:ffff::/48")
    with server.connect() as wire:
        wire.ok("RL.POLICY", "SET", "free", "LIMIT", "3", "PER", "1h")
        wire.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "free")
        wire.ok("RL.POLICY", "SET", "gold", "LIMIT", "100", "PER", "1h")
        wire.ok("RL.RULE", "SET", "acme", "*", "*", "POLICY", "gold")
    yield server
    server.stop()


@pytest.fixture
def api(module_api):
    with module_api.connect() as wire:
        wire.ok("FLUSHALL")
    with module_api.api() as api:
        yield api


def auth(api, *fields, method="GET", path="/v1/auth", body=None):
    """Sends the fields as they are, in this order."""
    api.connection.putrequest(method, path)
    for name, value in fields:
        api.connection.putheader(name, value)
    if body is not None:
        api.connection.putheader("Content-Length", str(len(body)))
    api.connection.endheaders(body)
    from check_api import Answer
    response = api.connection.getresponse()
    return Answer(response, response.read())


def spent(module_api, tenant, client, action="*"):
    """Units taken from the identity's limit."""
    with module_api.connect() as wire:
        row = wire.call("RL.CHECK", tenant, client, action, "COST", 0)
        return row[2] - row[3]


def client_of(module_api, *fields, host="127.0.0.1"):
    """The only client that a request with these fields is counted for: from the key that it leaves."""
    with module_api.connect() as wire:
        wire.ok("FLUSHALL")
        with API(module_api.gateway_port, host) as api:
            assert auth(api, *fields).status == 200
        [key] = wire.call("KEYS", "*")
    # 0 C, length of tenant, tenant, length of client, client, action
    assert key[:2] == b"\0C"
    tenant = key[3:3 + key[2]]
    rest = key[3 + key[2]:]
    return rest[1:1 + rest[0]].decode()


def test_allowed_and_refused(api):
    for left in (2, 1, 0):
        answer = auth(api, ("X-Limit-Client", "bob"))
        assert answer.status == 200 and answer.body == b"" and answer.fields["content-length"] == "0"
        assert answer.fields["ratelimit"].startswith(f'"free";r={left};') and answer.fields["x-limit-policy"] == "free"
    answer = auth(api, ("X-Limit-Client", "bob"))
    assert answer.status == 429 and answer.json["status"] == 429 and b"bob" not in answer.body
    assert int(answer.fields["retry-after"]) > 0 and answer.fields["x-limit-policy"] == "free"
    assert "location" not in answer.fields and "www-authenticate" not in answer.fields


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_the_status_of_a_refusal(api, status):
    answer = auth(api, ("X-Limit-Client", "bob"), ("X-Limit-Cost", "4"), ("X-Limit-Deny-Status", str(status)))
    assert answer.status == status and answer.json["status"] == status


@pytest.mark.parametrize("method, path", [
    ("GET", "/v1/auth"), ("HEAD", "/v1/auth"), ("POST", "/v1/auth/"), ("PUT", "/v1/auth/a/b?X-Limit-Client=eve"),
    ("DELETE", "/v1/auth/x%2F..?client=eve&status=200&tenant=acme"), ("OPTIONS", "/v1/auth"),
    ("PROPFIND", "/v1/auth/dav"),
])
def test_method_path_and_query_do_not_matter(module_api, api, method, path):
    body = b"tenant=acme" if method in ("POST", "PUT", "PROPFIND") else None
    for number in range(4):
        answer = auth(api, ("X-Limit-Client", "bob"), ("X-Limit-Tenant", "t"), method=method, path=path, body=body)
        assert answer.status == (200 if number < 3 else 429)
    assert spent(module_api, "t", "bob") == 3


def test_the_identity(module_api, api):
    fields = [("x-limit-tenant", "acme"), ("X-LIMIT-CLIENT", "bob"), ("X-Limit-Action", "a"), ("X-Limit-Cost", "7")]
    assert auth(api, *fields).status == 200
    assert spent(module_api, "acme", "bob", "a") == 7
    for _ in range(2):
        assert auth(api, *fields, ("X-Limit-Id", "once")).status == 200
    assert spent(module_api, "acme", "bob", "a") == 14
    # The client's own idempotency key must not matter: it could reuse one forever.
    for _ in range(2):
        assert auth(api, *fields, ("Idempotency-Key", "mine")).status == 200
    assert spent(module_api, "acme", "bob", "a") == 28


def test_defaults(module_api, api):
    assert auth(api, ("X-Limit-Tenant", ""), ("X-Limit-Client", "bob"), ("X-Limit-Action", "")).status == 200
    assert spent(module_api, "default", "bob", "*") == 1


@pytest.mark.parametrize("name, value", [
    ("X-Limit-Cost", "-1"), ("X-Limit-Cost", "1.5"), ("X-Limit-Cost", "x"), ("X-Limit-Cost", "9" * 19),
    ("X-Limit-Id", "x" * 257), ("X-Limit-Deny-Status", "200"), ("X-Limit-Deny-Status", "4290"),
])
def test_fields_that_are_not_acceptable(module_api, api, name, value):
    answer = auth(api, ("X-Limit-Client", "bob"), (name, value))
    assert answer.status == 400 and answer.json["field"] == name
    assert spent(module_api, "default", "bob") == 0


@pytest.mark.parametrize("name", ["Tenant", "Client", "Action", "Cost", "Id", "Deny-Status"])
def test_a_field_that_a_client_has_added_is_refused(api, name):
    """A proxy that adds its field instead of replacing the client's is misconfigured."""
    answer = auth(api, (f"X-Limit-{name}", "429"), (f"x-limit-{name.lower()}", "429"))
    assert answer.status == 400 and answer.json["field"].lower() == f"x-limit-{name.lower()}"


# MARK: Addresses

@pytest.mark.parametrize("forwarded, expected", [
    ([], "127.0.0.1"),
    (["203.0.113.7"], "203.0.113.7"),
    (["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
    (["198.51.100.1, 203.0.113.7, 10.1.2.3, 10.9.9.9"], "203.0.113.7"),
    (["198.51.100.1", "203.0.113.7", "10.1.2.3"], "203.0.113.7"),
    (["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
    (["203.0.113.7:443"], "203.0.113.7"),
    (["[2001:db8::7]:443"], "2001:db8::/64"),
    (["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
    (["198.51.100.1, 2001:db8:ffff::9"], "198.51.100.1"),
    (["::ffff:203.0.113.7"], "203.0.113.7"),
    (["198.51.100.1, unknown"], "127.0.0.1"),
    (["198.51.100.1, evil, 10.0.0.7"], "10.0.0.7"),
    (["203.0.113.7 ,,"], "203.0.113.7"),
    ([""], "127.0.0.1"), ([","], "127.0.0.1"),
    (["010.0.0.1"], "127.0.0.1"), (["1.2.3"], "127.0.0.1"), (["1.2.3.256"], "127.0.0.1"), (["fe80::1%eth0"], "127.0.0.1"),
])
def test_the_client_behind_proxies(module_api, forwarded, expected):
    assert client_of(module_api, *[("X-Forwarded-For", value) for value in forwarded]) == expected


def test_a_named_client_has_precedence(module_api):
    assert client_of(module_api, ("X-Forwarded-For", "203.0.113.7"), ("X-Limit-Client", "bob")) == "bob"


def test_a_peer_that_is_not_trusted_is_the_client(start):
    server = start_api(start)
    with server.connect() as wire:
        wire.ok("RL.POLICY", "SET", "free", "LIMIT", "3", "PER", "1h")
        wire.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "free")
    assert client_of(server, ("X-Forwarded-For", "203.0.113.7")) == "127.0.0.1"
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "trusted-proxies", "10.0.0.0/8")
    assert client_of(server, ("X-Forwarded-For", "203.0.113.7")) == "127.0.0.1"
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "trusted-proxies", "127.0.0.0/8")
        assert wire.call("CONFIG", "GET", "trusted-proxies") == [b"trusted-proxies", b"127.0.0.0/8"]
    assert client_of(server, ("X-Forwarded-For", "203.0.113.7")) == "203.0.113.7"
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "http-ipv6-prefix", "48")
    assert client_of(server, ("X-Forwarded-For", "2001:db8:1:2:3::4")) == "2001:db8:1::/48"
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "http-ipv6-prefix", "128")
    assert client_of(server, ("X-Forwarded-For", "2001:db8:1:2:3::4")) == "2001:db8:1:2:3::4"


def test_an_ipv6_peer(start):
    server = start_api(start)
    with server.connect() as wire:
        wire.ok("RL.POLICY", "SET", "free", "LIMIT", "3", "PER", "1h")
        wire.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "free")
    try:
        socket.create_connection(("::1", server.gateway_port), timeout=PATIENCE).close()
    except OSError:
        missing("this machine has no IPv6")
    assert client_of(server, host="::1") == str(ipaddress.ip_network("::/64"))


@pytest.mark.parametrize("value", ["10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "::/129", "host", "10.0.0.0/08", "1.2.3.4/"])
def test_ranges_that_are_refused(module_api, value):
    with module_api.connect() as wire:
        assert wire.call("CONFIG", "SET", "trusted-proxies", value).startswith(b"ERR")
