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


def by_policy(wire):
    """Decisions by policy and result, and near-limit decisions by policy, without those that are 0."""
    found = {}
    for name, value in values(metrics(wire)).items():
        match = re.fullmatch(r'escapement_(policy_decisions|near_limit)_total\{policy="([^"]*)"(?:,result="(\w+)")?\}', name)
        if match and value:
            found[match[2], match[3] or "near"] = int(value)
    return found


def test_decisions_by_policy(start):
    server = start("--io-threads", "2", "--enable-debug-command", "local")
    with server.connect() as wire, server.connect() as other:
        wire.calls("RL.POLICY SET free LIMIT 5 PER 1h", "RL.POLICY SET trial LIMIT 2 PER 1h MODE shadow",
                   "RL.RULE SET acme * * POLICY free")
        # Queries, refunds, repeated answers and limits in numbers are not decisions of a policy.
        wire.calls("RL.TAKE n LIMIT 5 PER 1h", "RL.PEEK u POLICY free", "CL.THROTTLE k 1 1 1", "GET counter")
        assert by_policy(wire) == {}
        wire.calls(*["RL.TAKE u POLICY free"] * 6)
        assert by_policy(wire) == {("free", "allowed"): 5, ("free", "denied"): 1, ("free", "near"): 1}
        other.calls(*["RL.TAKE v POLICY trial"] * 3, "RL.CHECK acme client login")
        wire.calls(*["RL.TAKE w POLICY free ID token"] * 2, "MULTI", "RL.TAKE x POLICY free", "EXEC")
        assert by_policy(wire) == {
            ("free", "allowed"): 8, ("free", "denied"): 1, ("free", "near"): 1,
            ("trial", "allowed"): 2, ("trial", "shadow_denied"): 1, ("trial", "near"): 1}
        # All or nothing: every limit that allowed it, or those that denied it.
        wire.calls("RL.TAKEALL y POLICY free AND z LIMIT 1 PER 1h", "RL.TAKEALL y POLICY free AND z LIMIT 1 PER 1h",
                   "RL.TAKEALL q LIMIT 9 PER 1h AND u POLICY free")
        assert by_policy(wire)["free", "allowed"] == 9 and by_policy(wire)["free", "denied"] == 2
        # A policy that is created again continues its series.
        wire.calls("RL.RULE DEL acme * *", "RL.POLICY DEL free", "RL.POLICY SET free LIMIT 7 PER 1h", "RL.TAKE a POLICY free")
        assert by_policy(wire)["free", "allowed"] == 10
        wire.ok("CONFIG", "RESETSTAT")
        assert by_policy(wire) == {}


def test_policies_are_bounded(start):
    server = start("--enable-debug-command", "local")
    with server.connect() as wire:
        wire.calls(*[f"RL.POLICY SET p{n} LIMIT 5 PER 1h" for n in range(210)])
        wire.calls(*[f"RL.TAKE k{n} POLICY p{n}" for n in range(210)])
        assert by_policy(wire) == {**{(f"p{n}", "allowed"): 1 for n in range(200)}, ("other", "allowed"): 10}
