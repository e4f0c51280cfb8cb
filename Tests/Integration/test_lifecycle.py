"""Starting, stopping, connection limits, and misbehaving peers."""

import json
import os
import signal
import socket
import stat
import subprocess
import threading

import pytest

from ports import free_port
from server import ReferenceRedis, Server, run_to_end
from wire import PATIENCE, Wire, WireError, command, eventually


def test_sigterm_answers_what_was_received(start):
    server = start()
    with server.connect() as wire:
        wire.send(command("PING"))
        wire.expect_exact(b"+PONG\r\n")
        wire.send(b"".join(command("CL.THROTTLE", "k", 99_999, 1, 1000) for _ in range(200)))
        wire.expect_exact(b"*5\r\n")  # so the pipeline is being served
        server.process.send_signal(signal.SIGTERM)
        rest = wire.until_closed()
        assert (rest.count(b"*5\r\n") + 1) * 5 == rest.count(b":"), "no reply is truncated"
    assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_with_status_0(start, number):
    server = start()
    with server.connect() as idle:
        idle.call("PING")
        server.process.send_signal(number)
        assert server.wait_exit() == 0
        idle.expect_closed()


def test_second_sigterm_exits_at_once(start):
    """A client that does not read delays the drain; the second signal does not wait for it."""
    server = start("--shutdown-timeout", "86400", "--client-output-buffer-limit", "normal", "0", "0", "0")
    with server.connect() as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = command("ECHO", "x" * 500_000)
        sender = threading.Thread(target=lambda: send_until_stuck(slow, request, 60))
        sender.start()
        sender.join(PATIENCE)
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(1)
        except subprocess.TimeoutExpired:
            server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() in (0, 1)


def send_until_stuck(connection, request, times):
    connection.timeout = 1.0
    try:
        for _ in range(times):
            connection.send(request)
    except OSError:
        pass


def test_shutdown(start):
    for arguments in (["SHUTDOWN"], ["SHUTDOWN", "NOSAVE"], ["SHUTDOWN", "NOW"]):
        server = start()
        with server.connect() as wire:
            wire.send(command(*arguments))
            wire.expect_closed()
        assert server.wait_exit() == 0
    server = start()
    with server.connect() as wire:
        assert wire.call("SHUTDOWN", "MAYBE") == b"ERR syntax error"
        assert wire.call("SHUTDOWN", "ABORT") == b"ERR No shutdown in progress."


def test_port_in_use(start, tmp_path):
    server = start()
    status, output = run_to_end("--port", server.port, "--dir", tmp_path / "other", cwd=tmp_path)
    assert status == 1, output
    complaint = [line for line in output.splitlines() if str(server.port) in line and "in use" in line.lower()]
    assert len(complaint) == 1, output


@pytest.mark.parametrize("form", ["below a file", "is a file"])
def test_unusable_directory(tmp_path, form):
    blocker = tmp_path / "blocker"
    blocker.write_text("a file")
    directory = blocker / "data" if form == "below a file" else blocker
    status, output = run_to_end("--port", free_port(), "--dir", directory, cwd=tmp_path)
    assert status == 1 and len([line for line in output.splitlines() if str(directory) in line]) == 1, output


def test_maxclients(start):
    server = start("--maxclients", "5")
    held = [server.connect()]
    # The connection that checked whether the server is ready counts until its loop has noticed its end.
    eventually(lambda: b"connected_clients:1\r\n" in held[0].call("INFO", "clients"), "no other client is connected")
    held += [server.connect() for _ in range(4)]
    try:
        for connection in held:
            assert connection.call("PING") == b"PONG"
        with Wire(server.address) as refused:
            assert refused.until_closed() == b"-ERR max number of clients reached\r\n"
        held.pop().close()
        eventually(lambda: answers(server), "a connection is free again")
    finally:
        for connection in held:
            connection.close()


def answers(server):
    try:
        with Wire(server.address) as wire:
            return wire.call("PING") == b"PONG"
    except (OSError, WireError):
        return False


def test_unix_socket(start, tmp_path):
    path = tmp_path / "s"
    server = start("--unixsocketperm", "700", port=0, unixsocket=path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    with server.connect() as wire:
        assert wire.call("CL.THROTTLE", "k", 1, 1, 1000) == [0, 2, 1, -1, 1000]
        assert b"flags=U" in wire.call("CLIENT", "INFO")
    server.stop()
    assert not path.exists(), "the socket file is removed"


def test_stale_unix_socket_is_replaced(start, tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    server = start(port=0, unixsocket=path)
    with server.connect() as wire:
        assert wire.call("PING") == b"PONG"


def test_both_loopback_addresses(start):
    server = start()
    with Wire(("127.0.0.1", server.port)) as wire:
        assert wire.call("PING") == b"PONG"
    try:
        with Wire(("::1", server.port)) as wire:
            assert wire.call("PING") == b"PONG"
    except OSError as problem:
        if problem.errno == 99 or not socket.has_ipv6:
            pytest.skip("no IPv6 loopback on this machine")
        raise


def test_protected_mode(start):
    """Without a password only this machine may connect; needs a non-loopback address of the machine."""
    address = outside_address()
    if address is None:
        pytest.skip("this machine has only loopback addresses")
    server = start("--bind", "0.0.0.0")
    with Wire((address, server.port)) as wire:
        try:
            wire.send(command("PING"))
        except OSError:
            pass
        reply = wire.until_closed()
        assert reply.startswith(b"-DENIED ") and reply.endswith(b"\r\n") and reply.count(b"\r\n") == 1, reply
    with server.connect() as wire:
        wire.ok("CONFIG", "SET", "protected-mode", "no")
    with Wire((address, server.port)) as wire:
        assert wire.call("PING") == b"PONG"


def outside_address():
    """A non-loopback address of this machine; sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def test_slow_reader_blocks_no_client(start):
    """As many slow readers as would fill each loop; other clients are answered in the meantime, although nothing is
    read."""
    server = start("--io-threads", "2")
    slow = [server.connect() for _ in range(4)]
    try:
        request = command("ECHO", "x" * 200_000)
        senders = [threading.Thread(target=send_until_stuck, args=(c, request, 100)) for c in slow]
        for sender in senders:
            sender.start()
        quick = [server.connect() for _ in range(6)]
        while any(sender.is_alive() for sender in senders):
            for connection in quick:
                assert connection.call("PING") == b"PONG"
        # All of them are stuck at this point, and remain so.
        for connection in quick * 20:
            assert connection.call("PING") == b"PONG"
        for connection in quick:
            connection.close()
        # The slow readers get every byte once they read.
        slow[0].timeout = PATIENCE
        for _ in range(3):
            assert slow[0].read() == b"x" * 200_000
    finally:
        for connection in slow:
            connection.close()


def test_output_limit_closes_a_subscriber_that_does_not_read(start):
    server = start("--client-output-buffer-limit", "pubsub", "1mb", "0", "0")
    with server.connect() as subscriber, server.connect() as publisher:
        subscriber.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        subscriber.call("CLIENT", "SETNAME", "deaf")
        subscriber.call("SUBSCRIBE", "ch")
        eventually(lambda: publisher.call("PUBLISH", "ch", "x" * 100_000) == 0, "the subscriber is closed")
        assert b"name=deaf" not in publisher.call("CLIENT", "LIST")


def test_query_limit_closes(start):
    """Many small arguments that never exceed the bulk limit, but together exceed the limit of a request."""
    server = start("--client-query-buffer-limit", "1mb")
    with server.connect() as wire:
        try:
            wire.send(b"*100\r\n" + b"$100000\r\n%s\r\n" % (b"x" * 100_000) * 60)
        except OSError:
            pass
        assert wire.until_closed() == b""
    with server.connect() as wire:
        assert wire.call("PING") == b"PONG"


def test_one_byte_at_a_time_from_many(server):
    """Slow senders block no thread: 200 of them are in the middle of a request while others are served."""
    typers = [server.connect() for _ in range(200)]
    request = command("ECHO", "typed")
    try:
        for index in range(len(request)):
            for typer in typers:
                typer.send(request[index : index + 1])
        for typer in typers:
            typer.expect_exact(b"$5\r\ntyped\r\n")
    finally:
        for typer in typers:
            typer.close()


def test_connections_are_assigned_to_all_loops(start):
    """Each loop is a thread: with four loops and 40 busy connections, at least two threads have used processor time."""
    server = start("--io-threads", "4")
    connections = [server.connect() for _ in range(40)]

    def busy_threads():
        for connection in connections:
            connection.calls(*["PING"] * 200)
        used = 0
        for task in os.listdir(f"/proc/{server.pid}/task"):
            fields = open(f"/proc/{server.pid}/task/{task}/stat").read().rsplit(")", 1)[1].split()
            used += int(fields[11]) + int(fields[12]) > 0
        return used >= 4

    try:
        eventually(busy_threads, "four threads have worked")
    finally:
        for connection in connections:
            connection.close()


def test_connection_resets(server, wire):
    """Connections that are reset with replies in flight do not affect the others."""
    for _ in range(50):
        with server.connect() as rude:
            rude.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            rude.send(command("ECHO", "x" * 100_000) * 20)
    assert wire.call("PING") == b"PONG"
    eventually(lambda: wire.call("CLIENT", "LIST").count(b"\n") <= 2, "all of them are closed")


def test_half_closed_connection_is_answered(server):
    """`printf … | nc`: requests sent before the end of input are answered."""
    with server.connect() as wire:
        wire.send(command("ECHO", "a") * 3)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.until_closed() == b"$1\r\na\r\n" * 3


def test_log_lines(start):
    server = start("--log-format", "json")
    with server.connect() as wire:
        for _ in range(100):
            wire.call("PING")
    server.stop()
    lines = server.log().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)
    assert len(lines) < 30, "nothing is logged per request"


def test_logfile(start, tmp_path):
    server = start("--logfile", tmp_path / "own.log")
    eventually(lambda: str(server.port) in (tmp_path / "own.log").read_text(), "the first line is written")
    assert server.log() == ""


def test_open_files_stay_constant(server, wire):
    def descriptors():
        return len(os.listdir(f"/proc/{server.pid}/fd"))

    wire.call("PING")
    before = descriptors()
    for _ in range(5):
        held = [server.connect() for _ in range(100)]
        for connection in held:
            connection.close()
    eventually(lambda: descriptors() <= before, "closed connections release their descriptors")


def test_reference_and_server_are_different_programs(reference):
    """Otherwise the comparison would be meaningless."""
    assert isinstance(reference, ReferenceRedis) and type(reference) is not Server


def test_a_pipeline_does_not_outlast_the_drain(start):
    """Its requests that have not begun when the time is over are not answered. No command is stuck, so the stop is a
    clean one."""
    server = start("--enable-debug-command", "local", "--shutdown-timeout", "2")
    with server.connect() as wire:
        wire.send(command("SET", "k", "1") + command("DEBUG", "SLEEP", "0.1") * 1200)
        assert [wire.read(), wire.read()] == [b"OK", b"OK"]
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
    assert "everything_on_disk=yes" in server.log()


@pytest.mark.parametrize("flags, shutdown, kept", [
    (("--appendonly", "no"), (), False), (("--appendonly", "no", "--save", "3600 1"), (), True),
    (("--appendonly", "no"), ("SAVE",), True), (("--appendonly", "no", "--save", "3600 1"), ("NOSAVE",), False),
    ((), ("NOSAVE",), True),
], ids=["nothing", "rules", "shutdown-save", "shutdown-nosave", "log"])
def test_the_last_line_says_whether_the_state_is_on_disk(start, flags, shutdown, kept):
    """A server that keeps nothing ends in order, too."""
    server = start(*flags)
    with server.connect() as wire:
        wire.ok("SET", "k", "1")
        if shutdown:
            wire.send(command("SHUTDOWN", *shutdown))
        else:
            server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
    last = server.log().splitlines()[-1]
    assert f"server stopped  everything_on_disk={'yes' if kept else 'no'}" in last, last
    assert ("because=" in last) == (not kept)
    again = start(*flags, "--dir", server.directory)
    with again.connect() as wire:
        assert wire.call("EXISTS", "k") == kept
