"""ASGI and WSGI middleware: both answer the same requests in the same way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import wsgiref.simple_server
import wsgiref.validate

import http_sfv
import httpx
import pytest
import starlette.applications
import starlette.middleware
import starlette.responses
import starlette.routing
import starlette.testclient

import escapement.asgi
import escapement.wsgi
from escapement import AsyncLimiter, ClientAddress, Decision, Limit, Limiter, Policy
from escapement._http import rate_limit_fields
from server import Server, free_port

HOURLY = Limit(2, per="1h", algorithm="sliding-log")


def wsgi_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("RateLimit-Test", "kept")])
    return [repr(environ.get("escapement")).encode()]


async def asgi_app(scope, receive, send):
    headers = [(b"content-type", b"text/plain"), (b"ratelimit-test", b"kept")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = repr(scope.get("escapement")).encode()
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(params=["asgi", "wsgi"])
async def browse(request):
    """Makes a function that sends a request through the middleware with the given options."""
    closing = []

    def make(url: str, *, timeout: float = 30, on_error="raise", limit=HOURLY, **options):
        if request.param == "asgi":
            limiter = AsyncLimiter.from_url(url, timeout=timeout, on_error=on_error)
            closing.append(limiter.aclose)
            app = escapement.asgi.RateLimitMiddleware(
                asgi_app, limiter=limiter, limit=limit, **options
            )
        else:
            synchronous = Limiter.from_url(url, timeout=timeout, on_error=on_error)
            app = escapement.wsgi.RateLimitMiddleware(
                wsgi_app, limiter=synchronous, limit=limit, **options
            )

        async def send(method="GET", peer="192.0.2.1", **kwargs):
            if request.param == "asgi":
                transport = httpx.ASGITransport(app, client=(peer, 1234))
                async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
                    return await client.request(method, "/", **kwargs)
            validated = wsgiref.validate.validator(app)
            transport = httpx.WSGITransport(validated, remote_addr=peer)
            with httpx.Client(transport=transport, base_url="http://a") as client:
                return client.request(method, "/", **kwargs)

        send.app = app
        send.kind = request.param
        return send

    yield make
    for close in closing:
        await close()


def fields(answer) -> tuple[list, list]:
    """RateLimit-Policy and RateLimit, parsed by an implementation of RFC 9651's predecessor."""
    parsed = []
    for name in ("RateLimit-Policy", "RateLimit"):
        value = http_sfv.List()
        value.parse(answer.headers[name].encode())
        parsed.append([(item.value, dict(item.params)) for item in value])
    return parsed[0], parsed[1]


async def test_requests_beyond_the_limit_get_429(browse, server: Server):
    send = browse(server.url, name="hourly")
    for remaining in (1, 0):
        answer = await send()
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Test"] == "kept"
        assert "allowed=True" in answer.text
        policies, limits = fields(answer)
        assert policies == [("hourly", {"q": 2, "w": 3600})]
        assert limits[0][1]["r"] == remaining
        assert 3590 < limits[0][1]["t"] <= 3600
        assert "Retry-After" not in answer.headers
    answer = await send()
    assert answer.status_code == 429
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    retry_after = int(answer.headers["Retry-After"])
    assert 3590 < retry_after <= 3600
    policies, limits = fields(answer)
    assert policies == [("hourly", {"q": 2, "w": 3600})]
    assert limits == [("hourly", {"r": 0, "t": retry_after})]
    problem = answer.json()
    milliseconds = problem.pop("retry_after_ms")
    assert retry_after * 1000 - 1000 < milliseconds <= retry_after * 1000
    assert problem == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "violated-policies": ["hourly"],
    }
    assert int(answer.headers["Content-Length"]) == len(answer.content)


async def test_a_refused_head_request_has_no_body(browse, server: Server):
    send = browse(server.url, limit=Limit(0, per=1))
    answer = await send("HEAD")
    assert answer.status_code == 429
    assert answer.content == b""
    assert int(answer.headers["Content-Length"]) > 0
    assert "Retry-After" not in answer.headers  # a limit of 0 never lets anything pass
    assert json.loads((await send()).text)["status"] == 429


async def test_peers_have_separate_quotas_and_forwarded_is_not_trusted(browse, server: Server):
    send = browse(server.url)
    for number in range(3):
        claim = {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
        answer = await send(headers=claim)
    assert answer.status_code == 429
    assert (await send(peer="192.0.2.2")).status_code == 200


async def test_trusted_proxies(browse, server: Server):
    send = browse(server.url, trusted_proxies=["192.0.2.0/24"])
    for _ in range(2):
        answer = await send(headers={"X-Forwarded-For": "evil, 198.51.100.7, 192.0.2.9"})
        assert answer.status_code == 200
    for claim in ("198.51.100.7", "1.2.3.4, 198.51.100.7"):
        assert (await send(headers={"X-Forwarded-For": claim})).status_code == 429
    assert (await send(headers={"X-Forwarded-For": "198.51.100.8"})).status_code == 200


async def test_identify_chooses_whose_quota_is_used(browse, server: Server):
    kind = browse(server.url).kind

    def from_environ(environ):
        return environ.get("HTTP_X_API_KEY")

    async def from_scope(scope):
        await asyncio.sleep(0)
        return dict(scope["headers"]).get(b"x-api-key", b"").decode() or None

    send = browse(server.url, identify=from_scope if kind == "asgi" else from_environ)
    statuses = [(await send(headers={"X-Api-Key": "a"})).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await send(headers={"X-Api-Key": "b"})).status_code == 200
    for _ in range(3):  # None: not limited
        answer = await send()
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers


async def test_a_policy_of_the_server(browse, server: Server):
    with server.client() as admin:
        admin.execute_command("RL.POLICY", "SET", "free", "LIMIT", 1, "PER", "1h")
    send = browse(server.url, limit=Policy("free"), name="free")
    policies, limits = fields(await send())
    assert (policies, limits) == ([("free", {"q": 1})], [("free", {"r": 0})])
    answer = await send()
    assert answer.status_code == 429
    assert fields(answer)[1][0][1]["t"] == int(answer.headers["Retry-After"])


async def test_without_a_server(browse):
    url = f"redis://127.0.0.1:{free_port()}"
    for _ in range(3):
        answer = await browse(url, on_error="open")()
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers
    answer = await browse(url, on_error="closed")()
    assert answer.status_code == 503
    assert answer.json() == {
        "type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "The rate limiter is not available.",
    }
    assert "RateLimit" not in answer.headers
    with pytest.raises(escapement.UnavailableError):
        await browse(url, on_error="raise")()


async def test_a_suspended_server_is_an_outage(browse, start):
    server: Server = start()
    send = browse(server.url, timeout=0.1, on_error="closed")
    with server.suspended():
        assert (await send()).status_code == 503
    send = browse(server.url, timeout=0.1, on_error="open")
    with server.suspended():
        assert (await send()).status_code == 200


async def test_exactly_the_limit_passes_with_many_requests_at_once(browse, server: Server):
    send = browse(server.url, limit=Limit(20, per="1h"))
    if send.kind == "asgi":
        answers = await asyncio.gather(*(send() for _ in range(100)))
    else:
        answers = await asyncio.gather(
            *(asyncio.to_thread(lambda: asyncio.run(send())) for _ in range(100))
        )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (20, 80)


def test_wsgi_in_a_real_server(server: Server):
    limiter = Limiter.from_url(server.url, timeout=30)
    app = escapement.wsgi.RateLimitMiddleware(wsgi_app, limiter=limiter, limit=HOURLY)
    with wsgiref.simple_server.make_server("127.0.0.1", 0, app) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{http.server_port}/"
        statuses = [httpx.get(url, timeout=30).status_code for _ in range(3)]
        http.shutdown()
    assert statuses == [200, 200, 429]


def test_starlette_with_lifespan_and_websocket(server: Server):
    """Lifespan events and WebSockets pass, whatever the limit."""
    events = []

    async def lifespan(app):
        events.append("start")
        yield
        events.append("stop")
        await limiter.aclose()

    async def index(request):
        return starlette.responses.PlainTextResponse(str(request.scope["escapement"].remaining))

    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    limiter = AsyncLimiter.from_url(server.url, timeout=30)
    app = starlette.applications.Starlette(
        routes=[
            starlette.routing.Route("/", index),
            starlette.routing.WebSocketRoute("/socket", socket),
        ],
        middleware=[
            starlette.middleware.Middleware(
                escapement.asgi.RateLimitMiddleware, limiter=limiter, limit=Limit(1, per="1h")
            )
        ],
        lifespan=contextlib.asynccontextmanager(lifespan),
    )
    with starlette.testclient.TestClient(app) as client:
        assert client.get("/").text == "0"
        assert client.get("/").status_code == 429
        for _ in range(2):
            with client.websocket_connect("/socket") as websocket:
                assert websocket.receive_text() == "hello"
    assert events == ["start", "stop"]


def decision(remaining: int, reset_after: float, *, limit: int = 10, retry_after=None) -> Decision:
    return Decision(retry_after is None, 1, limit, remaining, retry_after, reset_after)


@pytest.mark.parametrize(
    ("limit", "answer", "policy", "current"),
    [
        # gcra: 10 at once, one every 6 s; w is the time to refill from empty, t to the next unit.
        (Limit(10, per="1m"), decision(9, 6.0), "q=10;w=60", "r=9;t=6"),
        (Limit(10, per="1m"), decision(7, 16.5), "q=10;w=60", "r=7;t=5"),
        (Limit(10, per="1m", burst=20), decision(19, 3.2, limit=20), "q=20;w=120", "r=19;t=4"),
        (Limit(10, per="1m"), decision(10, 0.0), "q=10;w=60", "r=10;t=0"),
        (Limit(10, per="1m"), decision(0, 60.0, retry_after=5.5), "q=10;w=60", "r=0;t=6"),
        # Windows: the limit, its period, and the end of the window.
        (
            Limit(10, per="1h", algorithm="fixed-window"),
            decision(3, 99.1),
            "q=10;w=3600",
            "r=3;t=100",
        ),
        (Limit(10, per="1500ms", algorithm="sliding-log"), decision(3, 1.2), "q=10;w=2", "r=3;t=2"),
        (Limit(10, per="month", algorithm="calendar"), decision(3, 1e6), "q=10", "r=3;t=1000000"),
        # A period below a second cannot be written; a wait below a second is rounded up.
        (Limit(10, per="500ms"), decision(0, 0.5, retry_after=0.05), "q=10", "r=0;t=1"),
        (Limit(0, per="1s"), decision(0, 0.0, limit=0), "q=0", "r=0"),
        (Policy("p"), decision(9, 6.0), "q=10", "r=9"),
        (
            Limit(2**62, per="1d"),
            decision(2**61, 9.0, limit=2**62),
            f"q={10**15 - 1};w=86400",
            None,
        ),
    ],
)
def test_rate_limit_fields(limit, answer, policy, current):
    written = dict(rate_limit_fields("n", limit, answer))
    assert written["RateLimit-Policy"] == f'"n";{policy}'
    if current:
        assert written["RateLimit"] == f'"n";{current}'


def test_names_in_fields():
    fields = dict(rate_limit_fields('a "b" \\c', Limit(1, per=60), decision(1, 0.0, limit=1)))
    assert fields["RateLimit"] == '"a \\"b\\" \\\\c";r=1;t=0'
    for name in ("Zürich", "line\nbreak", "\x7f"):
        assert rate_limit_fields(name, Limit(1, per=60), decision(1, 0.0)) == []


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "expected"),
    [
        ([], "192.0.2.1", ["1.1.1.1"], "192.0.2.1"),
        ([], None, ["1.1.1.1"], "unix"),
        ([], "testclient", ["1.1.1.1"], "testclient"),
        (["unix"], None, ["1.1.1.1, 2.2.2.2"], "2.2.2.2"),
        (["unix"], "testclient", ["1.1.1.1"], "testclient"),
        (["10.0.0.0/8"], "10.1.2.3", ["1.1.1.1, 2.2.2.2"], "2.2.2.2"),
        (["10.0.0.0/8"], "10.1.2.3", ["1.1.1.1", "2.2.2.2, 10.9.9.9"], "2.2.2.2"),
        (["10.0.0.0/8"], "10.1.2.3", [], "10.1.2.3"),
        (["10.0.0.0/8"], "10.1.2.3", ["1.1.1.1, unknown"], "10.1.2.3"),
        (["10.0.0.0/8"], "10.1.2.3", ["1.1.1.1, , 10.9.9.9"], "10.9.9.9"),
        (["10.0.0.0/8"], "10.1.2.3", ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        (["10.0.0.0/8"], "11.1.2.3", ["1.1.1.1"], "11.1.2.3"),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", ["1.1.1.1:4711"], "1.1.1.1"),
        (["::1"], "::1", ["[2001:db8:1:2:3::4]:80"], "2001:db8:1:2::/64"),
        ([], "2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
        ([], "fe80::1%eth0", [], "fe80::/64"),
    ],
)
def test_client_addresses(proxies, peer, forwarded, expected):
    assert ClientAddress(proxies).resolve(peer, forwarded) == expected


def test_client_address_parameters():
    assert ClientAddress(ipv6_prefix=128).resolve("2001:db8::1") == "2001:db8::1"
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        ClientAddress(["10.0.0.1/8"])
    with pytest.raises(TypeError, match="list"):
        ClientAddress("10.0.0.1")
    with pytest.raises(ValueError, match="129"):
        ClientAddress(ipv6_prefix=129)
