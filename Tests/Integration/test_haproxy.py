"""The HAProxy configuration of docs/high-availability.md, verbatim, with real nodes."""

import re
import shutil
import subprocess

import pytest

import conftest
from durable import launch, take
from ports import free_port
from replication import nodes, wait_same_offset
from server import ROOT
from wire import PATIENCE, Wire, WireError, eventually

assert launch, nodes  # fixtures

HEAD = """\
defaults
    timeout connect 1m
    timeout client 1h
    timeout server 1h
    # How long to wait for a replica's reply to become the right one.
    timeout check 3s
"""


def configuration(port, servers, password=None):
    """The section from the documentation, with the given addresses instead of its own."""
    text = (ROOT / "docs" / "high-availability.md").read_text()
    section = re.search(r"```\n(listen limits\n.*?)```", text, re.DOTALL).group(1)
    section = section.replace("bind :6379", f"bind 127.0.0.1:{port}")
    lines = [line for line in section.splitlines() if not line.strip().startswith("server ")]
    assert len(section.splitlines()) - len(lines) == 3
    if password:
        first = next(n for n, line in enumerate(lines) if "tcp-check send PING" in line)
        # The lines that the documentation gives below the section.
        found = re.findall(r"`(tcp-check (?:send AUTH|expect string \+OK)[^`]*)`", text)
        assert len(found) == 2
        lines[first:first] = [f"    {line.replace('secret', password)}" for line in found]
    lines += [f"    server {name} 127.0.0.1:{node.port} check" for name, node in servers.items()]
    return HEAD + "\n".join(lines) + "\n"


@pytest.mark.parametrize("password", [None, "secret"])
def test_clients_reach_the_primary(nodes, tmp_path, password):
    if not shutil.which("haproxy"):
        conftest.missing("haproxy is not installed (scripts/setup test)")
    flags = ("--masterauth", password) if password else ()
    primary = nodes("a", *flags, password=password)
    replica = nodes("b", *flags, password=password, of=primary)
    replica.wait_link()
    port = free_port()
    path = tmp_path / "haproxy.cfg"
    path.write_text(configuration(port, {"a": primary, "b": replica}, password))
    process = subprocess.Popen(
        ["haproxy", "-f", str(path)], stdin=subprocess.DEVNULL, stdout=open(tmp_path / "haproxy.log", "wb"),
        stderr=subprocess.STDOUT)
    try:
        def taken():
            try:
                with Wire(("127.0.0.1", port)) as wire:
                    if password:
                        wire.ok("AUTH", password)
                    reply = take(wire, "k", burst=1000)
                    return reply if isinstance(reply, list) else None
            except (OSError, WireError):
                return None

        # Until its first check HAProxy considers every server up. After that it does not use the replica, which
        # refuses.
        eventually(lambda: taken() and taken(), "the proxy knows the primary")
        left = taken()[2]
        for number in range(20):
            assert taken()[2] == left - 1 - number
        wait_same_offset(primary, replica)
        primary.crash()
        replica.lead()
        assert eventually(taken, "admitted by the new primary")[2] == left - 21
    finally:
        process.terminate()
        process.wait(PATIENCE)
        print((tmp_path / "haproxy.log").read_text(errors="replace")[-2000:])
