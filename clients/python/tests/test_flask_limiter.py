"""Flask-Limiter and slowapi with the address `escapement://`."""

from __future__ import annotations

import flask
import flask_limiter
import pytest
import slowapi
import slowapi.errors
import slowapi.util
import starlette.applications
import starlette.requests
import starlette.responses
import starlette.routing
import starlette.testclient

import escapement.limits  # noqa: F401  (registers the scheme)
from server import Server

STRATEGIES = ["fixed-window", "moving-window", "sliding-window-counter"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_flask_limiter(server: Server, strategy: str):
    app = flask.Flask(__name__)
    limiter = flask_limiter.Limiter(
        lambda: flask.request.headers.get("X-User", "none"),
        app=app,
        storage_uri=f"escapement://127.0.0.1:{server.port}",
        storage_options={"timeout": 30},
        strategy=strategy,
        headers_enabled=True,
    )

    @app.get("/")
    @limiter.limit("3/day")
    def index() -> str:
        return "hello"

    client = app.test_client()
    for remaining in ("2", "1", "0"):
        answer = client.get("/", headers={"X-User": "ann"})
        assert answer.status_code == 200
        assert answer.headers["X-RateLimit-Remaining"] == remaining
    refused = client.get("/", headers={"X-User": "ann"})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    assert client.get("/", headers={"X-User": "bob"}).status_code == 200


def test_flask_limiter_falls_back_without_a_server(start):
    server: Server = start()
    app = flask.Flask(__name__)
    limiter = flask_limiter.Limiter(
        lambda: "all",
        app=app,
        storage_uri=f"escapement://127.0.0.1:{server.port}",
        in_memory_fallback=["1/day"],
    )

    @app.get("/")
    @limiter.limit("100/day")
    def index() -> str:
        return "hello"

    client = app.test_client()
    assert [client.get("/").status_code for _ in range(2)] == [200, 200]
    server.kill()
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    server.start()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_slowapi(server: Server, strategy: str):
    limiter = slowapi.Limiter(
        key_func=slowapi.util.get_remote_address,
        storage_uri=f"escapement://127.0.0.1:{server.port}",
        storage_options={"timeout": 30},
        strategy=strategy,
        headers_enabled=True,
    )

    @limiter.limit("2/day")
    async def index(request: starlette.requests.Request) -> starlette.responses.Response:
        return starlette.responses.PlainTextResponse("hello")

    app = starlette.applications.Starlette(routes=[starlette.routing.Route("/", index)])
    app.state.limiter = limiter
    app.add_exception_handler(
        slowapi.errors.RateLimitExceeded, slowapi._rate_limit_exceeded_handler
    )
    client = starlette.testclient.TestClient(app)
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
    assert int(client.get("/").headers["Retry-After"]) > 0
