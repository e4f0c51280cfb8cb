"""Compares servers by the CPU time that one request costs them: keep-alive connections, one request at a time on each.

  http.py --peer NAME=PORT:PID[,PID…]:KIND … [--connections 50] [--requests 40000] [--repetitions 5]

KIND is auth, check (the check API), get (GET /), or throttle (CL.THROTTLE). CPU time is that of the kernel's scheduler
(/proc/PID/task/*/schedstat), as in `loadtest`; peers run in turn, and the figure is the median. The client is slow, but
it is equally slow for every peer, and what it costs is not counted.
"""

import argparse
import glob
import select
import socket
import statistics
import time

KEYS = 1000


def http(line, fields="", body=""):
    length = f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n" if body else ""
    return f"{line} HTTP/1.1\r\nHost: localhost\r\n{fields}{length}\r\n{body}".encode()


def requests(kind):
    """The requests to send in turn."""
    numbers = [f"{number:012}" for number in range(KEYS)]
    if kind == "auth":
        return [http("GET /v1/auth", f"X-Limit-Tenant: bench\r\nX-Limit-Client: {n}\r\nX-Limit-Action: api\r\n") for n in numbers]
    if kind == "check":
        return [http("POST /v1/check", body=f'{{"tenant":"bench","client":"{n}","action":"api"}}') for n in numbers]
    if kind == "get":
        # As many header fields as a proxy's question has.
        return [http("GET /", f"X-Limit-Tenant: bench\r\nX-Limit-Client: {n}\r\nX-Limit-Action: api\r\n") for n in numbers]
    words = lambda n: ["CL.THROTTLE", f"t:{n}", "1000000", "1000000", "2592000"]
    return [f"*{len(words(n))}\r\n{''.join(f'${len(w)}{chr(13)}{chr(10)}{w}{chr(13)}{chr(10)}' for w in words(n))}".encode()
            for n in numbers]


def is_complete(kind, data):
    if kind == "throttle":
        return data.count(b"\r\n") == 6
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return False
    assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")), head
    length = 0
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            length = int(line[15:])
    return len(body) == length


def nanoseconds(pids):
    return sum(int(open(path).read().split()[0]) for pid in pids for path in glob.glob(f"/proc/{pid}/task/*/schedstat"))


class Peer:
    def __init__(self, text):
        self.name, rest = text.split("=", 1)
        port, pids, self.kind = rest.split(":")
        self.port, self.pids = int(port), pids.split(",")
        self.requests = requests(self.kind)
        self.costs = []

    def run(self, connections, count):
        """Nanoseconds of CPU a request, after a tenth as warm-up."""
        poller = select.epoll()
        sockets = {}
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets[connection.fileno()] = connection
            poller.register(connection, select.EPOLLIN)
        received = dict.fromkeys(sockets, b"")
        sent = done = 0
        for connection in sockets.values():
            connection.sendall(self.requests[sent % KEYS])
            sent += 1
        began = nanoseconds(self.pids)
        warm = count // 10
        while done < count:
            for number, _ in poller.poll():
                data = received[number] + sockets[number].recv(65536)
                if not is_complete(self.kind, data):
                    received[number] = data
                    continue
                received[number] = b""
                done += 1
                if done == warm:
                    began = nanoseconds(self.pids)
                sockets[number].sendall(self.requests[sent % KEYS])
                sent += 1
        cost = (nanoseconds(self.pids) - began) / (count - warm)
        for connection in sockets.values():
            connection.close()
        return cost


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", action="append", type=Peer, required=True)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--target", action="append", default=[], help="NAME<=FACTOR*NAME")
    arguments = parser.parse_args()
    for _ in range(arguments.repetitions):
        for peer in arguments.peer:
            peer.costs.append(peer.run(arguments.connections, arguments.requests))
            time.sleep(0.1)
    medians = {peer.name: statistics.median(peer.costs) for peer in arguments.peer}
    print("| peer | server CPU a request, µs | lowest | highest |\n|---|---:|---:|---:|")
    for peer in arguments.peer:
        print(f"| {peer.name} | {medians[peer.name] / 1000:.2f} | {min(peer.costs) / 1000:.2f} | {max(peer.costs) / 1000:.2f} |")
    print()
    for target in arguments.target:
        left, right = target.split("<=")
        factor, other = right.split("*")
        ratio = medians[left] / medians[other]
        print(f"- {left} costs {ratio:.2f} times {other}; the target is at most {factor}: "
              f"{'met' if ratio <= float(factor) else 'missed'}")


if __name__ == "__main__":
    main()
