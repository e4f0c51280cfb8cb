"""A client of the check API over one kept connection, by Python's http.client."""

import contextlib
import http.client
import json

from ports import free_port
from wire import PATIENCE


class Answer:
    """Status, header fields by lower-case name, and the body: as bytes, and as JSON if it is."""

    def __init__(self, response, body):
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.body = body
        assert len(self.fields) == len(response.getheaders()), f"a field twice: {response.getheaders()}"
        self.json = json.loads(body) if "json" in self.fields.get("content-type", "") and body else None

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body.decode(errors='replace')}"


class API:
    """A connection to an HTTP listener."""

    def __init__(self, port, host="127.0.0.1"):
        self.connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def call(self, method, path, body=None, fields=None):
        """Sends a request; a body that is not bytes is sent as JSON."""
        fields = dict(fields or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body, fields)
        response = self.connection.getresponse()
        return Answer(response, response.read())

    def post(self, path, body, **fields):
        return self.call("POST", path, body, {name.replace("_", "-"): value for name, value in fields.items()})

    def get(self, path, **fields):
        return self.call("GET", path, None, {name.replace("_", "-"): value for name, value in fields.items()})


def start_api(start, *flags, **options):
    """A server with the check API and administration; `server.api()` and `server.admin()` connect to them."""
    gateway, admin = free_port(), free_port()
    server = start("--http-port", gateway, "--admin-port", admin, "--save", "", *flags, **options)
    server.api = lambda: API(gateway)
    server.admin = lambda: API(admin)
    server.gateway_port, server.admin_port = gateway, admin
    return server


@contextlib.contextmanager
def api_and_wire(server):
    with server.api() as api, server.connect() as wire:
        yield api, wire
