"""/metrics over real HTTP: the formats that scrapers ask for, Prometheus's checkers, and a real Prometheus."""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest

from conftest import missing
from http_wire import HTTPWire
from ports import free_port
from test_metrics import values
from wire import PATIENCE, eventually

PROMETHEUS_2_42 = ("Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
                   "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")


@pytest.fixture
def served(start):
    port = free_port()
    server = start("--io-threads", "2", "--admin-port", port)
    with server.connect() as wire:
        wire.calls(*["CL.THROTTLE k 1 1 1000"] * 5, "FOO", "RL.TAKE u LIMIT 10 PER 1h COST 4")
    server.admin = port
    return server


def test_the_strictest_parser_accepts_what_prometheus_asks_for(served):
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        missing("prometheus-client is not installed: scripts/setup test")
    with HTTPWire(served.admin) as wire:
        for path in ("/health", "/nothing", "/ready"):
            wire.get(path)
        answer = wire.get("/metrics", PROMETHEUS_2_42)
    assert answer.fields["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    requests = families["escapement_http_requests"]
    assert {(s.labels["route"], s.labels["code"], s.value) for s in requests.samples} == \
        {("/health", "200", 1), ("other", "404", 1), ("/ready", "200", 1)}
    assert families["escapement_http_request_duration_seconds"].type == "histogram"


def test_promtool_accepts_the_text_format(served):
    promtool = shutil.which("promtool") or missing("promtool is not installed: scripts/setup test")
    with HTTPWire(served.admin) as wire:
        wire.get("/metrics")
        answer = wire.get("/metrics")
    assert answer.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    checked = subprocess.run([promtool, "check", "metrics"], input=answer.body, capture_output=True)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr


def test_bytes_and_connections_are_counted_by_listener(served):
    sent_to_clients = 'escapement_sent_bytes_total{listener="resp"}'
    with HTTPWire(served.admin) as wire, served.connect() as resp:
        first = values(wire.get("/metrics").body.decode())
        resp.call("PING")
        # A reply is counted once it is sent, which its client may see earlier.
        before = eventually(
            lambda: (now := values(wire.get("/metrics").body.decode()))[sent_to_clients] - first[sent_to_clients] >= 7 and now,
            "the reply to PING is counted")
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        wire.send(request)
        wire.response()
        after = values(wire.get("/metrics").body.decode())
    received, sent = "escapement_received_bytes_total", "escapement_sent_bytes_total"
    for name in (received, sent):
        assert after[name + '{listener="resp"}'] == before[name + '{listener="resp"}'] > 0
        assert after[name + '{listener="http"}'] == 0
    scrape = len(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert after[received + '{listener="admin"}'] - before[received + '{listener="admin"}'] == len(request) + scrape
    for listener, count in (("admin", 1), ("resp", 1), ("http", 0)):
        assert after[f'escapement_connections{{listener="{listener}"}}'] == count


def test_a_scrape_answers_soon_with_many_policies(served):
    """Nothing is printed per policy without a bound: 10,000 of them do not make a scrape long."""
    with served.connect() as wire:
        for number in range(0, 2000, 500):
            wire.calls(*[f"RL.POLICY SET p{each} LIMIT 10 PER 1m" for each in range(number, number + 500)])
    with HTTPWire(served.admin) as wire:
        assert len(wire.get("/metrics").body) < 1 << 20


def test_prometheus_scrapes_it(served, tmp_path):
    prometheus = shutil.which("prometheus") or missing("prometheus is not installed: scripts/setup test")
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: escapement
    static_configs: [{{targets: ["127.0.0.1:{served.admin}"]}}]
""")
    process = subprocess.Popen(
        [prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def ask(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
                return json.load(answer)["data"]

        deadline = time.monotonic() + 4 * PATIENCE
        while True:
            assert time.monotonic() < deadline
            try:
                result = ask("/api/v1/query?query=up")["result"]
                if result and result[0]["value"][1] == "1":
                    break
                for target in ask("/api/v1/targets")["activeTargets"]:
                    assert target["health"] != "down", target["lastError"]
            except OSError:
                pass
            time.sleep(0.1)
        found = ask("/api/v1/query?query=escapement_connections")["result"]
        assert {each["metric"]["listener"] for each in found} == {"resp", "http", "admin"}
        targets = ask("/api/v1/targets")["activeTargets"]
        assert [each["health"] for each in targets] == ["up"], targets
    finally:
        process.kill()
        process.wait()
