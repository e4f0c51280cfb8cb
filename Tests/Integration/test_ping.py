"""`escapement ping`, the health check of containers."""

import socket
import threading

import pytest

from ports import free_port
from server import run_to_end


def ping(*arguments, cwd):
    return run_to_end("ping", *arguments, cwd=cwd)


def test_a_server_that_serves(start, tmp_path):
    server = start("--unixsocket", str(tmp_path / "s"))
    for address in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", str(tmp_path / "s")):
        status, output = ping(address, cwd=tmp_path)
        assert (status, output) == (0, "PONG\n")


def test_a_password_is_not_needed(start, tmp_path):
    server = start(password="secret")
    status, output = ping(f"127.0.0.1:{server.port}", cwd=tmp_path)
    assert status == 0 and output.startswith("NOAUTH ")


def test_nobody_listens(tmp_path):
    port = free_port()
    status, output = ping(f"127.0.0.1:{port}", cwd=tmp_path)
    assert (status, output) == (1, f"escapement: 127.0.0.1:{port}: Connection refused\n")
    status, output = ping(str(tmp_path / "none"), cwd=tmp_path)
    assert status == 1 and "No such file" in output
    assert ping("no-such-host.invalid:1", cwd=tmp_path)[0] == 1


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.mark.parametrize("answer, text", [
    (b"", "closes the connection"), (b"-LOADING Redis is loading\r\n", "answers '-LOADING Redis is loading'"),
    (b"HTTP/1.1 400 Bad Request\r\n", "answers 'HTTP/1.1 400 Bad Request'"), (b"x" * 10_000, "does not speak"),
    (b"-MISCONF \x1b[31m\r\n", "answers '-MISCONF "),
])
def test_other_answers(listener, tmp_path, answer, text):
    def serve():
        peer, _ = listener.accept()
        with peer:
            peer.recv(100)
            peer.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    status, output = ping(f"127.0.0.1:{port}", cwd=tmp_path)
    thread.join()
    assert status == 1 and f"127.0.0.1:{port}: {text}" in output and "\x1b" not in output


def test_a_server_that_does_not_answer(listener, tmp_path):
    status, output = ping(f"127.0.0.1:{listener.getsockname()[1]}", "--timeout", "0.2", cwd=tmp_path)
    assert status == 1 and "does not answer within the time-out" in output


@pytest.mark.parametrize("arguments, text", [
    (["localhost"], "'localhost': no port: an address is HOST:PORT"), (["a:b:c"], "'a:b:c': the port"),
    (["a:0"], "'a:0': the port"), (["a:65536"], "'a:65536': the port"), (["a:b"], "'a:b': the port"),
    ([":1"], "':1': no host"), (["a:1", "b"], "'b': one argument too many"), (["--timeout"], "--timeout: no number"),
    (["--timeout", "0"], "'0': the time-out"), (["--timeout", "x"], "'x': the time-out"),
    (["a:1", "--timeout", "1e9"], "'1e9': the time-out"), (["--nonsense", "1"], "'--nonsense': there is no such option"),
    (["--timeout", "1", "--timeout", "1"], "'--timeout': given twice"), (["a\x1b"], "'a\\x1b': no port"),
])
def test_wrong_arguments(tmp_path, arguments, text):
    status, output = ping(*arguments, cwd=tmp_path)
    first, usage = output.split("\n", 1)
    assert status == 2 and first.startswith(f"escapement: ping: {text}") and usage.startswith("usage: escapement ping")


def test_help(tmp_path):
    status, output = ping("--help", cwd=tmp_path)
    assert status == 0 and output.startswith("usage: escapement ping")
