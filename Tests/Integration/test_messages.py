"""Errors that name the mistake, and warnings about conditions that a client cannot see: full memory, a link that is
down, a role from a file."""

import re
import socket
import threading
import time

import pytest

from durable import launch
from replication import nodes
from server import free_port, run_to_end
from wire import ErrorReply, eventually

assert launch, nodes  # fixtures


# Errors


NO_BURST = (b"ERR BURST must be 1 or more: 1 lets units pass one at a time, as max_burst 0 of CL.THROTTLE does; "
            b"LIMIT 0 is what lets nothing pass")
MISTAKES = [
    ("RL.TAKE k LIMIT 5 PER 1M", b"ERR PER must be a whole number of seconds, or one with the unit ms, s, m, h or d in "
                                 b"lower case, not '1M'"),
    ("RL.TAKE k LIMIT 5 PER 1D", b"ERR PER must be "), ("RL.PEEK k LIMIT 5 PER 5MS", b"ERR PER must be "),
    ("RL.TAKE k LIMIT 5 PER 1d ALGO fixed-window OFFSET 2H", b"ERR OFFSET must be "),
    ("RL.POLICY SET p LIMIT 5 PER 1M", b"ERR PER must be "),
    ("RL.TAKE k LIMIT 5 PER 1m BURST 0", NO_BURST), ("RL.TAKE k LIMIT 5 PER 1m ALGO token-bucket BURST 0", NO_BURST),
    ("RL.TAKEALL a LIMIT 1 PER 1m AND k LIMIT 5 PER 1m BURST 0", NO_BURST),
    ("RL.POLICY SET p LIMIT 5 PER 1m BURST 0", NO_BURST),
    ("RL.TAKE k LIMIT 5 PER 1m BURST 0 ALGO fixed-window", b"ERR BURST has no meaning with ALGO fixed-window"),
    ("RL.TAKE LIMIT 5 PER 1m", b"ERR syntax error near '5': the key seems to be missing in front of LIMIT"),
    ("RL.TAKE PER 1m LIMIT 5", b"ERR syntax error near '1m': the key seems to be missing in front of PER"),
    ("RL.PEEK POLICY free COST 2", b"ERR syntax error near 'free': the key seems to be missing in front of POLICY"),
    ("RL.REFUND LIMIT 5 PER 1m", b"ERR syntax error near '5': the key seems to be missing in front of LIMIT"),
    ("RL.TAKEALL LIMIT 5 PER 1m AND b LIMIT 5 PER 1m", b"ERR syntax error near '5': the key seems to be missing"),
    ("RL.TAKEALL a LIMIT 5 PER 1m AND LIMIT 5 PER 1m", b"ERR syntax error near '5': the key seems to be missing"),
    ("RL.CHECK acme login COST 2", b"ERR syntax error near '2': one of tenant, client and action seems to be missing "
                                   b"in front of COST"),
    ("RL.POLICY SET LIMIT 5 PER 1m", b"ERR syntax error near '5': the policy's name seems to be missing in front of "
                                     b"LIMIT"),
    ("CL.THROTTLE k 1 1 1 1 1", b"ERR wrong number of arguments for 'cl.throttle' command: key max_burst count period "
                                b"[quantity] are expected"),
]


@pytest.mark.parametrize("line, text", MISTAKES, ids=[line for line, _ in MISTAKES])
def test_an_error_names_the_mistake(wire, line, text):
    """The same on its own, in a batch, and in a transaction."""
    first, second, third, fourth = wire.calls(line, "MULTI", line, "EXEC")
    assert isinstance(first, ErrorReply) and first.startswith(text), first
    assert (second, third, fourth) == (b"OK", b"QUEUED", [first])
    assert wire.call("DBSIZE") == 0 and wire.call("RL.POLICY", "LIST") == []


def test_unusual_calls_that_are_correct(wire):
    """Keys may have any name, and LIMIT 0 may come with BURST 0."""
    replies = wire.calls("RL.TAKE LIMIT LIMIT 5 PER 1m", "RL.TAKE k LIMIT 0 PER 1m BURST 0", "RL.CHECK a b COST COST 2")
    assert replies[0][:4] == [1, 1, 5, 4] and replies[1][:2] == [0, 0] and replies[2].startswith(b"NORULE ")


def test_a_rules_file_with_such_a_mistake_is_refused(tmp_path):
    path = tmp_path / "rules.conf"
    for text, error in [("policy x LIMIT 1 PER 1M", ":1: PER must be "),
                        ("\npolicy x LIMIT 1 PER 1m BURST 0", ":2: BURST"),
                        ("policy LIMIT 1 PER 1m", ":1: syntax error near '1': the policy's name seems to be missing"),
                        ("policy x LIMIT 1 PER 1m NX", ":1: syntax error near 'NX'"),
                        ("policy x LIMIT 1", ":1: PER is missing")]:
        path.write_text(text)
        status, output = run_to_end("--port", free_port(), "--dir", tmp_path / "d", "--rules-file", path, cwd=tmp_path)
        assert status == 1 and f"rules-file: {path}{error}" in output, output


def test_since_is_a_version_of_this_program(wire):
    current = wire.call("INFO", "server").split(b"escapement_version:")[1].split()[0]

    def version(text):
        return tuple(map(int, text.split(b".")))

    def check(entries):
        for name, entry in zip(entries[::2], entries[1::2]):
            fields = dict(zip(entry[::2], entry[1::2]))
            assert version(b"0.1.0") <= version(fields[b"since"]) <= version(current), (name, fields[b"since"])
            check(fields.get(b"subcommands", []))

    check(wire.call("COMMAND", "DOCS"))


def lines(server, what):
    """The lines of the log that contain this."""
    return [line for line in server.log().split("\n")[:-1] if what in line]


def logged(server, what):
    """The first such line, once it exists."""
    return eventually(lambda: lines(server, what), f"a line with {what!r}")[0]


def may_be_logged_again(began):
    """Whether a message that is limited to once a minute may have been logged a second time."""
    return time.monotonic() - began >= 60


# Exhausted resources


def fill(wire, count, prefix):
    """Takes from that many keys; returns how many calls were refused."""
    refused = 0
    for start in range(0, count, 1000):
        requests = [("CL.THROTTLE", f"{prefix}{n}" + "x" * 100, 1, 1, 1_000_000) for n in range(start, start + 1000)]
        refused += sum(isinstance(reply, ErrorReply) for reply in wire.calls(*requests))
    return refused


def test_full_memory_is_a_warning(start):
    began = time.monotonic()
    server = start("--maxmemory", "2mb", "--loglevel", "warning", "--appendonly", "no", "--save", "")
    with server.connect() as wire:
        assert fill(wire, 2000, "a") == 0
        refused = fill(wire, 30_000, "b")
        assert refused > 1000
        line = logged(server, "calls that need more memory are refused with OOM")
        assert line.endswith(" maxmemory=2097152 maxmemory_policy=noeviction")
        assert b"errorstat_OOM:count=%d\r\n" % refused in wire.call("INFO", "errorstats")
        # The other way to run out; and a recent message is not repeated.
        wire.ok("CONFIG", "SET", "maxmemory-policy", "evict-soonest")
        assert fill(wire, 5000, "c") == 0
        logged(server, "keys are evicted before they expire")
        evicted = int(wire.call("INFO", "stats").split(b"evicted_keys:")[1].split()[0])
        assert evicted > 1000
        wire.ok("CONFIG", "SET", "maxmemory-policy", "noeviction")
        fill(wire, 5000, "d")
        assert len(lines(server, "refused with OOM")) == 1 or may_be_logged_again(began)


def test_exhausted_tokens_are_a_warning(start):
    server = start("--idempotency-tokens-max", "2")
    with server.connect() as wire:
        replies = wire.calls(*[f"RL.TAKE k LIMIT 100 PER 1h ID {n}" for n in range(5)])
        assert [isinstance(reply, ErrorReply) for reply in replies] == [False, False, True, True, True]
        line = logged(server, "idempotency-tokens-max reached")
        assert re.search(r" calls=[123] idempotency_tokens_max=2$", line)


# Replication


def test_a_link_that_is_down_is_logged_with_the_reason(nodes):
    port = free_port()
    replica = nodes("a", of=port)
    assert logged(replica, "link to the primary is down").split("warning ")[1] == (
        f'link to the primary is down; retrying  host=127.0.0.1 port={port} '
        'because="cannot connect: Connection refused" attempts=1')


def test_a_link_that_stays_down_is_logged_once_a_minute(nodes):
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted = []

        def close_all():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                accepted.append(1)
                connection.close()

        thread = threading.Thread(target=close_all, daemon=True)
        thread.start()
        replica = nodes("a", of=listener.getsockname()[1])
        eventually(lambda: len(accepted) >= 5, "five attempts", 30)
        logged(replica, "link to the primary is down")
        found = [line.split('because="')[1].split('"')[0] for line in lines(replica, "link to the primary is down")]
        # Writing to a closed connection may be answered with a reset.
        assert len(found) == len(set(found)) or may_be_logged_again(began), found
        assert set(found) <= {"connection lost: the primary has closed it", "connection lost: Connection reset by peer",
                              "connection lost: Broken pipe"}
        listener.shutdown(socket.SHUT_RDWR)
    primary = nodes("b")
    replica.follow(primary)
    replica.wait_link()
    assert logged(replica, "link to the primary is up").endswith(f" host=127.0.0.1 port={primary.port}")
    primary.stop()
    # It was up in between, so the message is new.
    logged(replica, f"port={primary.port} because=")


def test_a_refusal_is_logged_in_the_primarys_words(nodes):
    primary = nodes("a", password="secret")
    replica = nodes("b", "--masterauth", "wrong", of=primary)
    assert "WRONGPASS" in logged(replica, 'because="the primary refuses: ')


def test_a_role_from_a_file_is_logged_at_startup(nodes):
    primary = nodes("a")
    replica = nodes("b")
    replica.follow(primary)
    replica.wait_link()
    replica.stop()
    replica = nodes("b")
    replica.wait_link()
    logged(replica, "link to the primary is up")
    line = logged(replica, "starting as a replica")
    assert "set by the role file, which overrides replicaof" in line
    assert f"host=127.0.0.1 port={primary.port} file={replica.directory}/role " in line
    assert replica.log().index("starting as a replica") < replica.log().index("link to the primary is up")
    replica.lead()
    replica.stop()
    replica = nodes("b", of=primary)
    assert replica.info()["role"] == "master"
    line = logged(replica, "starting as a primary: set by the role file, which overrides replicaof")
    assert f'file={replica.directory}/role replicaof="127.0.0.1 {primary.port}"' in line
    replica.stop()
    (replica.directory / "role").unlink()
    replica = nodes("b", of=primary)
    logged(replica, "starting as a replica: set by replicaof")
