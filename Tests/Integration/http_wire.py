"""A raw HTTP/1.1 client: sends bytes as they are, reads responses strictly, and forgives nothing."""

import socket

from wire import PATIENCE


class Response:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body[:200]!r}"


class HTTPWire:
    """One connection. `request` sends bytes; `response` reads one response."""

    def __init__(self, port, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=PATIENCE)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def get(self, path, *fields, method="GET", body=b""):
        """Sends a request and returns its response."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.response(is_head=method == "HEAD")

    def _fill(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(f"the connection ended; left over: {self.buffer[:200]!r}")
        self.buffer += data

    def response(self, is_head=False):
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("ascii").split("\r\n")
        version, status, reason = first.split(" ", 2)
        assert version == "HTTP/1.1" and len(status) == 3 and reason, first
        fields = {}
        for line in lines:
            name, value = line.split(": ", 1)
            assert name.lower() not in fields, f"{name} twice"
            fields[name.lower()] = value
        if status == "100":
            return Response(100, fields, b"")
        # The one optional case: the thread that accepts rejects a connection without formatting anything.
        if status[0] != "5" or "date" in fields:
            assert fields["date"].endswith(" GMT") and len(fields["date"]) == 29
        length = int(fields.get("content-length", 0))
        if is_head or status == "204":
            return Response(int(status), fields, b"")
        while len(self.buffer) < length:
            self._fill()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Response(int(status), fields, body)

    def ends(self):
        """Waits for the end of the connection; nothing may come before it."""
        assert self.buffer == b"" and self.socket.recv(1) == b""
        return True
