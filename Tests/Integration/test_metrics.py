"""The registry as Prometheus reads it, checked with Prometheus's own checker, its strictest parser, and INFO."""

import re
import shutil
import subprocess

import pytest

from conftest import missing
from test_introspection import info
from wire import ErrorReply, eventually


@pytest.fixture
def served(start):
    server = start("--io-threads", "2", "--enable-debug-command", "local")
    with server.connect() as wire:
        wire.calls(*["CL.THROTTLE k 1 1 1000"] * 5, "SET counter 1 EX 1000", "FOO", "GET counter", "CL.THROTTLE k 1 1",
                   "RL.TAKE counter LIMIT 5 PER 1h", "RL.TAKEALL a LIMIT 5 PER 1h AND b LIMIT 5 PER 1h",
                   "RL.TAKE u LIMIT 10 PER 1h COST 4", "RL.TAKE u LIMIT 10 PER 1h COST 7", "RL.PEEK u LIMIT 10 PER 1h",
                   *["RL.TAKE u LIMIT 10 PER 1h ID token"] * 3)
        yield wire


@pytest.fixture
def states(start, served):
    """Metrics in both formats, of a server with a log, of one without, and of a primary and its replica."""
    primary = start("--appendonly", "no", "--enable-debug-command", "local")
    replica = start("--replicaof", "127.0.0.1", str(primary.port), "--enable-debug-command", "local")
    with primary.connect() as leader, replica.connect() as follower:
        eventually(lambda: "state=online" in info(leader, "replication").get("slave0", ""), "the replica is online")
        eventually(lambda: info(follower, "replication")["master_link_status"] == "up", "its link is up")
        yield [(metrics(wire), metrics(wire, "OPENMETRICS")) for wire in (served, leader, follower)]


def metrics(wire, *format):
    return wire.call("DEBUG", "METRICS", *format).decode()


def values(text):
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}


def test_openmetrics_for_the_strictest_parser(states):
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        missing("prometheus-client is not installed: scripts/setup test")
    for _, text in states:
        families = list(text_string_to_metric_families(text))
        assert len(families) > 100 and {f.type for f in families} == {"counter", "gauge", "histogram", "info"}
        assert all(f.documentation for f in families)


def test_text_format_for_promtool(states):
    promtool = shutil.which("promtool") or missing("promtool is not installed: scripts/setup test")
    for text, _ in states:
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert checked.returncode == 0 and not checked.stderr, checked.stderr


def test_roles_are_series(states):
    _, leader, follower = [values(text) for text, _ in states]
    for found, role in ((leader, "master"), (follower, "slave")):
        for word in ("master", "slave"):
            assert found[f'escapement_replication_role{{role="{word}"}}'] == (word == role)
    (offset,) = [value for name, value in leader.items() if name.startswith("escapement_replica_offset_bytes{replica=")]
    assert offset <= leader["escapement_replication_offset_bytes"] and leader["escapement_replicas_connected"] == 1
    assert follower["escapement_replication_link_up"] == 1 and leader["escapement_replication_link_up"] == 0


def test_decisions_are_counted_by_command(served):
    found = values(metrics(served))

    def decisions(name):
        return [found[f'escapement_decisions_total{{command="{name}",result="{r}"}}']
                for r in ("allowed", "denied", "error")]

    assert decisions("cl.throttle") == [2, 3, 0], "a malformed call is not a decision"
    assert decisions("rl.take") == [2, 1, 1], "the key of a counter has no limit, and repeats are not decisions"
    assert found["escapement_idempotency_hits_total"] == 2
    assert decisions("rl.takeall") == [1, 0, 0], "one for the call, not for each limit"
    assert 'escapement_decisions_total{command="rl.peek",result="allowed"}' not in found
    assert found['escapement_granted_units_total{command="rl.take"}'] == 5
    assert found['escapement_denied_units_total{command="rl.take"}'] == 7
    assert found['escapement_granted_units_total{command="rl.takeall"}'] == 2


@pytest.mark.parametrize("way", ["pipeline", "exec", "mixed"])
def test_decisions_are_counted_on_every_path(start, way):
    server = start("--enable-debug-command", "local")
    calls = ["CL.THROTTLE k 1 1 1000"] * 4
    with server.connect() as wire:
        if way == "exec":
            calls = ["MULTI", *calls, "EXEC"]
        if way == "mixed":
            calls = [each for call in calls for each in (call, "INCR n")]
        wire.calls(*calls)
        found = values(metrics(wire))
    for result, count in (("allowed", 2), ("denied", 2), ("error", 0)):
        assert found[f'escapement_decisions_total{{command="cl.throttle",result="{result}"}}'] == count
    assert found['escapement_granted_units_total{command="cl.throttle"}'] == 2


def test_both_printers_agree(served):
    found, fields = values(metrics(served)), info(served, "everything")
    for name, field in (("escapement_keys", "limiter_keys"), ("escapement_limiter_denied_total", "limiter_denied"),
                        ('escapement_connections{listener="resp"}', "connected_clients"),
                        ("escapement_shards", "limiter_shards"),
                        ("escapement_memory_max_bytes", "maxmemory"), ("escapement_log_enabled", "aof_enabled"),
                        ("escapement_error_replies_total", "total_error_replies"),
                        ("escapement_unknown_commands_total", "unknown_commands_calls")):
        assert found[name] == float(fields[field]), name
    calls = int(re.match(r"calls=(\d+)", fields["cmdstat_cl.throttle"])[1])
    assert found['escapement_command_calls_total{command="cl.throttle"}'] == calls
    assert found['escapement_command_duration_seconds_count{command="cl.throttle"}'] == calls


def test_a_client_cannot_create_a_series(served):
    text = metrics(served)
    assert "foo" not in text and "counter" not in re.sub(r"# .*", "", text)


def test_debug_metrics_is_off_by_default(wire):
    assert isinstance(wire.call("DEBUG", "METRICS"), ErrorReply)
