"""The commands at the beginning of docs/high-availability.md: they make a group that survives kill -9 of its primary.

One shell reads them, as a user's would. Only ports are replaced; the waits are for the conditions that the page's seconds
stand for.
"""

import os
import re
import shutil
import signal
import subprocess

import pytest

import conftest
from ports import free_port
from server import ROOT, find_binary
from wire import PATIENCE, Wire, WireError, eventually

SECTION = (ROOT / "docs" / "high-availability.md").read_text().split("\n## A group in ten commands\n")[1].split("\n## ")[0]
PORTS = (6379, 6380, 6381, 26379, 26380, 26381)


def ask(port, *words):
    try:
        with Wire(("127.0.0.1", port)) as wire:
            return wire.call(*words)
    except (OSError, WireError):
        return None


@pytest.fixture
def shell(tmp_path):
    """A shell with job control, as an interactive one; everything that it starts is killed at the end."""
    for needed in ("redis-sentinel", "redis-cli"):
        if not shutil.which(needed):
            conftest.missing(f"{needed} is not installed (scripts/setup test)")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "escapement").symlink_to(find_binary())
    place = tmp_path / "empty"
    place.mkdir()
    output = tmp_path / "output"
    process = subprocess.Popen(
        ["bash"], stdin=subprocess.PIPE, stdout=open(output, "wb"), stderr=subprocess.STDOUT, cwd=place, text=True,
        start_new_session=True, env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})

    def run(*lines):
        process.stdin.write("".join(line + "\n" for line in lines))
        process.stdin.flush()

    run.output = output
    yield run
    os.killpg(process.pid, signal.SIGKILL)
    process.stdin.close()
    process.wait(PATIENCE)


def test_ten_commands(shell):
    commands = re.search(r"^```\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE).group(1).splitlines()
    assert len(commands) == 10
    ports = {port: free_port() for port in PORTS}
    commands = [re.sub(r"\b2?6\d{3}\b", lambda m: str(ports[int(m.group())]), command) for command in commands]
    # redis-cli's own default.
    commands = [re.sub(r"^redis-cli (?!-p)", f"redis-cli -p {ports[6379]} ", command) for command in commands]
    first, second, third, *sentinels = ports.values()

    shell(commands[0])
    eventually(lambda: ask(first, "PING") == b"PONG", "the first node answers")
    shell(*commands[1:7])
    for port in ports.values():
        eventually(lambda: ask(port, "PING") == b"PONG", f"port {port} answers")
    shell(commands[7])
    eventually(lambda: shell.output.read_text().count("\n16\n") == 1, "the call is answered")
    for port in sentinels:
        eventually(lambda: b"OK 3 usable" in (ask(port, "SENTINEL", "CKQUORUM", "limits") or b""), "they know each other")
        eventually(lambda: len(ask(port, "SENTINEL", "REPLICAS", "limits") or []) == 2, "they know the replicas")
    eventually(lambda: (ask(first, "WAIT", 2, 1000) or 0) == 2, "both replicas have the call")

    shell(commands[8])
    eventually(lambda: ask(first, "PING") is None, "the primary is gone")
    eventually(
        lambda: int((ask(sentinels[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "limits") or [0, first])[1]) != first,
        "Sentinel names another node")
    shell(commands[9])
    named = eventually(
        lambda: re.search(r"^127\.0\.0\.1\n(\d+)$", shell.output.read_text(), re.MULTILINE),
        "the last command shows it").group(1)
    assert int(named) in (second, third)
    eventually(lambda: (ask(int(named), "ROLE") or [b""])[0] == b"master", "it is the primary")
    # A unit takes two minutes to replenish, so what was taken is still missing.
    (question,) = re.findall(r"`redis-cli -p PORT\s(CL\.THROTTLE\s[^`]*)`", SECTION)
    assert ask(int(named), *question.split())[1:3] == [16, 10]


def test_the_configuration_of_each_machine(start, tmp_path):
    """With this machine's addresses."""
    text = re.findall(r"^```\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)[1]
    conf = tmp_path / "escapement.conf"
    conf.write_text(text.replace("10.0.0.1 ", "").replace("SECRET", "word"))
    server = start(config=conf)
    with server.connect() as wire:
        wire.ok("AUTH", "word")
        eventually(
            lambda: wire.call("CL.THROTTLE", "k", 1, 1, 1) == b"NOREPLICAS Not enough good replicas to write.",
            "it waits for replicas")
