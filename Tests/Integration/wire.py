"""A byte-level socket, and a strict reader of RESP2 and RESP3.

Owns: deadlines on everything, and the distinctions that a client library would hide (simple and bulk strings, arrays,
sets, maps and pushes). Refuses to be lenient: a wrong byte raises WireError. Shares no code with the server.
"""

import socket
import time


# Seconds after which an expected event is considered never to happen. A correct server never takes that long, however
# busy the machine is; these tests do not measure speed.
PATIENCE = 60.0


class WireError(AssertionError):
    """The server sent invalid RESP, closed too early, or did not answer in time."""


class Simple(bytes):
    """A simple string."""


class Verbatim(bytes):
    """A verbatim string without its `txt:`."""


class SetReply(list):
    """A RESP3 set, in the order received."""


class Push(list):
    """A RESP3 push."""


class MapReply(list):
    """A RESP3 map as pairs, in the order received."""

    def __getitem__(self, key):
        if isinstance(key, (int, slice)):
            return super().__getitem__(key)
        return dict(self)[key]


class ErrorReply(bytes):
    """An error, without the minus sign."""


def command(*arguments):
    """One request as an array of bulk strings."""
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Wire:
    """A connection. `timeout` in seconds bounds every read and write."""

    def __init__(self, address, timeout=PATIENCE):
        self.timeout = timeout
        self.buffer = bytearray()
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # Bytes

    def send(self, data):
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def fill(self, deadline):
        """Reads what is available; False at the end of the stream."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise WireError(f"no answer in time; have {bytes(self.buffer[:200])!r}")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise WireError(f"no answer in time; have {bytes(self.buffer[:200])!r}") from None
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def take(self, count):
        """Exactly `count` bytes."""
        deadline = time.monotonic() + self.timeout
        while len(self.buffer) < count:
            if not self.fill(deadline):
                raise WireError(f"closed after {bytes(self.buffer[:200])!r}, {count} bytes were expected")
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def line(self):
        """A line without its CR LF."""
        deadline = time.monotonic() + self.timeout
        while (end := self.buffer.find(b"\r\n")) < 0:
            if not self.fill(deadline):
                raise WireError(f"closed inside the line {bytes(self.buffer[:200])!r}")
        data = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return data

    def expect_exact(self, data):
        """Reads as many bytes as expected and compares them."""
        got = self.take(len(data))
        assert got == data, f"got {got[:300]!r}, expected {data[:300]!r}"

    def until_closed(self):
        """Everything up to the end of the stream, which must come in time."""
        deadline = time.monotonic() + self.timeout
        while self.fill(deadline):
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def expect_closed(self):
        data = self.until_closed()
        assert data == b"", f"expected the end of the stream, got {data[:300]!r}"

    def expect_silence(self, seconds=0.1):
        """Nothing arrives for a while. Only for what must never arrive, and kept short."""
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            data = None
        silent = data is None and not self.buffer
        assert silent, f"expected nothing, got {bytes(self.buffer) + (data or b'<end>')!r}"

    # Values

    def read(self):
        """One reply as a value; errors are values too."""
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Simple(rest)
        if kind == b"-":
            return ErrorReply(rest)
        if kind == b":":
            return number(rest)
        if kind in b"$=":
            return self.bulk(kind, number(rest))
        if kind == b"*":
            count = number(rest)
            return None if count == -1 else [self.read() for _ in range(checked(count))]
        if kind == b"~":
            return SetReply(self.read() for _ in range(checked(number(rest))))
        if kind == b">":
            return Push(self.read() for _ in range(checked(number(rest))))
        if kind == b"%":
            return MapReply((self.read(), self.read()) for _ in range(checked(number(rest))))
        if kind == b"_" and not rest:
            return None
        if kind == b"#" and rest in (b"t", b"f"):
            return rest == b"t"
        if kind == b",":
            return float(rest)
        raise WireError(f"not a RESP type: {line[:200]!r}")

    def bulk(self, kind, length):
        if length == -1 and kind == b"$":
            return None
        data = self.take(checked(length) + 2)
        if data[-2:] != b"\r\n":
            raise WireError(f"bulk of {length} bytes not terminated by CR LF: {data[-20:]!r}")
        if kind == b"$":
            return data[:-2]
        if data[:4] != b"txt:":
            raise WireError(f"verbatim string begins with {data[:4]!r}")
        return Verbatim(data[4:-2])

    def call(self, *arguments):
        """One request, one reply."""
        self.send(command(*arguments))
        return self.read()

    def calls(self, *requests):
        """Several requests in one write; a request is a sequence, or a string that is split at spaces."""
        split = [r.split() if isinstance(r, (str, bytes)) else r for r in requests]
        self.send(b"".join(command(*r) for r in split))
        return [self.read() for _ in split]

    def ok(self, *arguments):
        reply = self.call(*arguments)
        assert reply == b"OK" and isinstance(reply, Simple), f"{arguments} answered {reply!r}"

    def hello3(self):
        reply = self.call("HELLO", "3")
        assert isinstance(reply, MapReply), reply
        return reply


def number(text):
    """A RESP integer: an optional sign, digits, no leading zero."""
    value = int(text)
    if str(value).encode() != text:
        raise WireError(f"integer written as {text!r}")
    return value


def checked(count):
    if not 0 <= count <= 1 << 30:
        raise WireError(f"length {count}")
    return count


def eventually(condition, what, seconds=PATIENCE):
    """Polls until the condition returns a true value, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)
