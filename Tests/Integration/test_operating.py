"""docs/operating.md: its messages come from the real server, its table of INFO is complete. Links of all documents."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess

import pytest

from conftest import missing
from durable import DurableServer
from ports import free_port
from server import ROOT, run_to_end
from wire import Wire, WireError, eventually

PAGE = (ROOT / "docs" / "operating.md").read_text()


def section(title):
    return PAGE[PAGE.index(f"\n## {title}\n") :].split("\n## ", 2)[1]


def documented(first_words):
    """The first cell of the table's row that begins with these words, without its formatting."""
    rows = [line for line in section("Troubleshooting").splitlines() if line.startswith("| ") and first_words in line]
    assert len(rows) == 1, (first_words, rows)
    return rows[0].split(" | ")[0].lstrip("| ").replace("warning `", "`").strip("`")


def same(message, shown, **places):
    """`shown` is the page's message: its places are replaced, an ellipsis is anything."""
    for theirs, mine in places.values():
        shown = shown.replace(theirs, str(mine))
    pattern = ".*".join(re.escape(part) for part in shown.split("…"))
    assert re.search(pattern, message), f"{message!r} is not {shown!r}"


def test_every_field_of_info_is_explained(start):
    with start().connect() as wire:
        fields = re.findall(r"^(\w+):", wire.call("INFO", "limiter").decode(), re.MULTILINE)
        everything = wire.call("INFO", "everything").decode()
    table = section("What to watch").split("CONFIG RESETSTAT")[0]
    explained = re.findall(r"`((?:limiter|log)_\w+)`", table)
    assert explained == [f for f in explained if f in fields] and set(fields) == set(explained)
    others = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+)", section("What to watch").split("Outside of this section")[1], re.MULTILINE)
    for name in re.findall(r"`([\w.]+)`", " ".join(others)):
        assert f"\n{name}:" in everything or name.startswith("latency_percentiles"), name


def test_every_alert_of_the_page_has_a_rule():
    """For Prometheus, in the metric that metrics.md gives for the field of INFO."""
    limiter, others = section("What to watch").split("Outside of this section")
    fields = [name for line in limiter.splitlines() if re.search(r"\| alert[^|]*\|$", line) for name in re.findall(r"`(\w+)`", line)[:1]]
    for cell in re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+)", others, re.MULTILINE):
        fields += re.findall(r"`([\w.]+)`", cell)
    assert len(fields) > 12
    # storage_memory_only is a state of the breaker.
    fields = [f for f in fields if f != "storage_memory_only" and not f.startswith("latency_percentiles")]
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    rules = (ROOT / "deploy" / "docker" / "prometheus" / "alerts.yml").read_text()
    for field in fields:
        row = re.search(rf"^\| `(escapement_\w+)[^|]*\|.*\| `{field}` \|$", metrics, re.MULTILINE)
        row = row or re.search(rf"^\| `{field}` \|.*\| from `(escapement_\w+)`", metrics, re.MULTILINE)
        assert row and re.search(rf"\b{row.group(1)}\b", rules), (field, row and row.group(1))


def test_messages_at_the_start(start, tmp_path):
    server = start()
    status, output = run_to_end("--port", server.port, "--dir", tmp_path / "other", cwd=tmp_path)
    assert status == 1
    same(output, documented("cannot listen on 127.0.0.1"), port=("port 6379", f"port {server.port}"))
    status, output = run_to_end("--port", free_port(), "--dir", server.directory, cwd=tmp_path)
    assert status == 1
    same(output, documented("in use by another server"), place=("/var/lib/escapement", server.directory))
    status, output = run_to_end("--port", 6379, "--bind", "192.0.2.77", "--dir", tmp_path / "other", cwd=tmp_path)
    assert status == 1
    same(output, documented("cannot listen on 10.9.9.9"), place=("10.9.9.9", "192.0.2.77"))
    conf = tmp_path / "escapement.conf"
    for text, words in (("port 7000\nmaxmemroy 1gb\n", "unknown setting"), ("port 70000\n", "is not valid")):
        conf.write_text(text)
        status, output = run_to_end("escapement.conf", cwd=tmp_path)
        assert status == 1
        same(output, documented(words))
    status, output = run_to_end("--port", free_port(), "--dir", tmp_path / "other", "--logfile", "/nonexistent/log", cwd=tmp_path)
    assert status == 1
    (tmp_path / "rules").write_text("policy free LIMT 100 PER 1m\n")
    status, found = run_to_end("--port", free_port(), "--dir", tmp_path / "rejected", "--rules-file", tmp_path / "rules", cwd=tmp_path)
    assert status == 1
    same(found, documented("rules-file: "), place=("/etc/escapement/rules", tmp_path / "rules"))
    same(
        output, documented("cannot open log file"), place=("/var/log/redis/redis-server.log", "/nonexistent/log"),
        reason=("Permission denied", "No such file or directory"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_directory_of_another_user(tmp_path):
    place = tmp_path / "data"
    place.mkdir(mode=0o755)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and "pytest" in str(parent):
            parent.chmod(0o755)
    status, output = run_to_end(
        "--port", free_port(), "--dir", place, cwd="/", before_exec=lambda: (os.setgroups([]), os.setgid(65534), os.setuid(65534)))
    assert status == 1
    same(output, documented("cannot write to"), place=("/var/lib/escapement", place))


def test_damage(start, tmp_path):
    server = start()
    server.stop()
    (log,) = sorted((server.directory / "appendonlydir").glob("log-*"))[-1:]
    data = bytearray(log.read_bytes())
    data[30] ^= 0xFF
    log.write_bytes(data)
    status, output = run_to_end("--port", free_port(), "--dir", server.directory, cwd=tmp_path)
    assert status == 1
    same(output, documented("cannot restore the state"), place=("…/log-4", str(log)))


def test_few_open_files(tmp_path, start):
    server = start(before_exec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))
    same(server.wait_log("maxclients"), documented("the limit of open files"))


def reply(wire, *words):
    return wire.call(*words).decode()


def refusal(wire, request):
    """The error with which a request is refused: shortly after the reply to CONFIG SET, not at once."""
    return eventually(lambda: isinstance(got := wire.call(*request()), bytes) and got, "it is refused").decode()


def test_errors_of_clients(start):
    server = start("--maxclients", "3")
    take = ("CL.THROTTLE", "k", 9, 1, 100)
    with server.connect() as wire:
        same(reply(wire, "HGETALL", "k"), documented("ERR unknown command").replace("hgetall", "HGETALL"))
        same(reply(wire, "SET", "k", "text"), documented("ERR value is not an integer"))
        assert isinstance(wire.call(*take), list)
        same(reply(wire, "GET", "k"), documented("WRONGTYPE Operation"))
        wire.ok("CONFIG", "SET", "maxmemory", 1)
        numbers = iter(range(1_000_000))
        same(refusal(wire, lambda: ("CL.THROTTLE", f"new:{next(numbers)}", 9, 1, 100)), documented("OOM command"))
        assert isinstance(wire.call(*take), list), "existing keys still work"
        wire.ok("CONFIG", "SET", "maxmemory", 0)
        wire.ok("CONFIG", "SET", "min-replicas-to-write", 1)
        same(refusal(wire, lambda: take), documented("NOREPLICAS"))
        wire.ok("CONFIG", "SET", "min-replicas-to-write", 0)
        others = [server.connect(), server.connect()]
        with Wire(server.address) as late:
            same(late.read().decode(), documented("ERR max number of clients reached"))
        for other in others:
            other.close()
        wire.ok("CONFIG", "SET", "requirepass", "word")
        with Wire(server.address) as stranger:
            found = documented("`NOAUTH").split("`, `")
            same(reply(stranger, "PING"), found[0])
            same(reply(stranger, "AUTH", "wrong"), found[1])
        wire.ok("CONFIG", "SET", "requirepass", "")


def test_errors_of_a_replica(start):
    primary = start()
    replica = start("--replicaof", "127.0.0.1", primary.port)
    with replica.connect() as wire:
        eventually(lambda: b"master_link_status:up" in wire.call("INFO", "replication"), "the link is up")
        same(reply(wire, "SET", "k", 1), documented("READONLY"))
        primary.stop()
        eventually(lambda: b"master_link_status:down" in wire.call("INFO", "replication"), "the link is down")
        same(replica.wait_log("link to the primary is down"), documented("link to the primary is down"))
        wire.ok("CONFIG", "SET", "replica-serve-stale-data", "no")
        without_primary, without_state = documented("MASTERDOWN").split("`, `")
        same(eventually(lambda: (got := wire.call("GET", "k")) != b"1" and got, "it is refused").decode(), without_primary)
    lonely = start("--replicaof", "127.0.0.1", primary.port)
    with lonely.connect() as wire:
        same(reply(wire, "GET", "k"), without_state)


def test_a_full_disk(start):
    server = start(
        kind=DurableServer, before_exec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY)))
    shown = documented("MISCONF Errors writing to the AOF file").replace("No space left on device", "File too large")
    with server.connect() as wire:
        def refused():
            found = [r for r in wire.calls(*[("CL.THROTTLE", f"k-{os.urandom(8).hex()}", 9, 1, 1000)] * 100)]
            return isinstance(found[-1], bytes) and found[-1]

        same(eventually(refused, "writes are refused").decode(), shown)
        same(server.wait_log("storage failed"), documented("storage failed").split("`")[0])
        same(reply(wire, "SHUTDOWN"), documented("ERR Errors trying to SHUTDOWN"))
        wire.ok("CONFIG", "SET", "fail-mode", "open")
        assert isinstance(wire.call("CL.THROTTLE", "k", 9, 1, 1000), list), "fail-mode open admits calls"
    server.kill()


def test_a_full_disk_without_a_log(start):
    server = start(
        "--appendonly", "no", "--save", "1 1", kind=DurableServer,
        before_exec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY)))
    with server.connect() as wire:
        wire.calls(*[("CL.THROTTLE", f"k-{os.urandom(8).hex()}", 9, 1, 1000) for _ in range(300)])
        shown = documented("MISCONF Errors writing a snapshot").replace("No space left on device", "File too large")
        same(refusal(wire, lambda: ("CL.THROTTLE", "k", 9, 1, 1000)), shown)
    server.kill()


def test_warnings_of_a_running_server(start, tmp_path):
    """Those that the tests above do not provoke."""
    rules = tmp_path / "rules"
    rules.write_text("policy free LIMIT 100 PER 1m\n")
    place = tmp_path / "etc"
    place.mkdir()
    (place / "escapement.conf").write_text("hz 20\n")
    server = start("--rules-file", rules, "--requirepass", "word", config=place / "escapement.conf")
    server.wait_log("rules file loaded")
    with Wire(server.address) as stranger:
        assert stranger.call("AUTH", "wrong").startswith(b"WRONGPASS")
        same(server.wait_log("authentication failed"), documented("authentication failed"))
        stranger.ok("AUTH", "word")
        stranger.call("HGETALL", "k")
        same(server.wait_log("unknown command"), documented("unknown command: "))
        (place / f"escapement.conf.{server.process.pid}.tmp").mkdir()  # in the place of the new file
        shown = documented("ERR Rewriting config file").replace("Read-only file system", "…")
        same(reply(stranger, "CONFIG", "REWRITE"), shown)
        same(server.wait_log("CONFIG REWRITE"), documented("CONFIG REWRITE failed"))
        rules.write_text("policy free LIMT 100 PER 1m\n")
        os.kill(server.process.pid, signal.SIGHUP)
        same(server.wait_log("rules file rejected"), documented("rules file rejected"))
        for policy in ("evict-soonest", "noeviction"):
            stranger.ok("CONFIG", "SET", "maxmemory", 1, "maxmemory-policy", policy)
            numbers = iter(range(1_000_000))
            meaning = "evicted" if policy == "evict-soonest" else "refused with OOM"
            words = f"maxmemory reached: {'keys are' if policy == 'evict-soonest' else 'calls that'}"

            def warned():
                stranger.call("CL.THROTTLE", f"{policy}:{next(numbers)}", 9, 1, 100)
                return words in server.log()

            eventually(warned, f"the log says that {meaning}")
            same(server.wait_log(words), documented(words))
        stranger.ok("CONFIG", "SET", "maxmemory", 0)
        stranger.ok("CONFIG", "SET", "requirepass", "")


def test_protected_mode(start):
    """The error that a client on another machine gets."""
    address = own_address()
    server = start("--bind", address, "127.0.0.1")
    with Wire((address, server.port)) as wire:
        same(wire.read().decode(), documented("DENIED"))


def own_address():
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has only a loopback address")
        return probe.getsockname()[0]


def test_moving_to_another_machine(start):
    """The commands of the page, with two nodes here."""
    commands = re.findall(r"^(old|new)\$ (.*?)(?:  +#.*)?$", section("Moving to another machine"), re.MULTILINE)
    assert [c for _, c in commands][::2] == ["redis-cli REPLICAOF OLD 6379", "redis-cli FAILOVER TO NEW 6379 TIMEOUT 5000"]
    old = start()
    with old.connect() as wire:
        assert wire.call("CL.THROTTLE", "k", 9, 1, 1_000_000)[2] == 9
    new = start()
    with new.connect() as wire:
        wire.ok("REPLICAOF", "127.0.0.1", old.port)
    with old.connect() as wire:
        eventually(lambda: f"slave0:ip=127.0.0.1,port={new.port},state=online".encode() in wire.call("INFO", "replication"), "the replica is online")
        same(reply(wire, "FAILOVER", "TO", "127.0.0.1", 1), documented("ERR FAILOVER target"))
        wire.ok("FAILOVER", "TO", "127.0.0.1", new.port, "TIMEOUT", 5000)

    def leads():
        with new.connect() as wire:
            return wire.call("ROLE")[0] == b"master" and wire.call("CL.THROTTLE", "k", 9, 1, 1_000_000, 0)[2] == 9

    eventually(leads, "the new node is the primary, with the state")


def shell(command, *servers):
    """Runs a command of the page with bash, with the ports of these servers in place of 6379 and 6390."""
    if not shutil.which("redis-cli"):
        missing("redis-cli is not installed (scripts/setup test)")
    ports = [server.port for server in servers]
    command = command.replace("redis-cli -p 6390", f"redis-cli -p {ports[-1]}")
    command = re.sub(r"redis-cli (?!-p)", f"redis-cli -p {ports[0]} ", command)
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0 and "ERR" not in done.stdout, (command, done.stdout)
    return done.stdout


def test_everyday_tasks(start):
    """Each redis-cli command of the table, except those that only end with Ctrl-C."""
    server = start()
    with server.connect() as wire:
        for number in range(20):
            assert isinstance(wire.call("CL.THROTTLE", f"login:{number}", 15, 30, 60), list)
    commands = re.findall(r"`(redis-cli [^`]*)`", section("Everyday tasks"))
    assert len(commands) > 10
    for command in commands:
        if not command.endswith(("--stat", "MONITOR")):
            shell(command.replace("KEY", "login:1"), server)
    assert shell("redis-cli --scan --pattern 'login:*'", server).count("login:") >= 18
    assert "instantaneous_ops_per_sec:" in shell("redis-cli INFO stats", server)


def test_state_of_another_server_is_taken_over(start):
    """The loop of the page, from one Escapement to another."""
    old, new = start(), start()
    with old.connect() as wire:
        assert wire.call("CL.THROTTLE", "user:1", 99, 100, 86400, 40)[2] == 60
    shell(re.search(r"^```\n(for key in .*?)^```$", section("Coming from Redis"), re.DOTALL | re.MULTILINE).group(1), old, new)
    with new.connect() as wire:
        assert wire.call("CL.THROTTLE", "user:1", 99, 100, 86400, 0)[2] == 60


def test_changing_the_password(start):
    """The commands of docs/security.md: open connections and links continue, new ones need the new password."""
    page = (ROOT / "docs" / "security.md").read_text()
    (command,) = re.findall(r"`(CONFIG SET masterauth NEW requirepass NEW)`", page)
    primary = start("--requirepass", "old", "--masterauth", "old")
    replica = start("--requirepass", "old", "--masterauth", "old", "--replicaof", "127.0.0.1", primary.port)
    wires = [Wire(server.address) for server in (primary, replica)]
    for wire in wires:
        wire.ok("AUTH", "old")
    eventually(lambda: b"master_link_status:up" in wires[1].call("INFO", "replication"), "the link is up")
    for wire in wires:
        wire.ok(*command.split())
    assert isinstance(wires[0].call("CL.THROTTLE", "k", 9, 1, 100), list), "open connections stay authenticated"
    eventually(lambda: wires[1].call("EXISTS", "k") == 1, "the link continues")
    with Wire(primary.address) as late:
        assert late.call("AUTH", "old").startswith(b"WRONGPASS") and late.call("AUTH", "NEW") == b"OK"
    assert wires[0].call("CLIENT", "KILL", "TYPE", "replica") == 1
    wires[0].call("CL.THROTTLE", "k2", 9, 1, 100)
    eventually(lambda: wires[1].call("EXISTS", "k2") == 1, "the link comes back with the new password")
    for wire in wires:
        wire.ok("CONFIG", "SET", "requirepass", "")
        wire.close()


def test_the_logrotate_file_is_the_package_s():
    path = ROOT / "packaging" / "escapement.logrotate"
    if not path.exists():
        pytest.skip("no packaging here")
    shown = re.search(r"^```\n(/var/log/.*?)^```$", section("Log rotation"), re.DOTALL | re.MULTILINE).group(1)
    lines = [line for line in path.read_text().splitlines() if not line.strip().startswith("#")]
    assert lines == shown.splitlines()


def test_the_man_page_and_the_completions_know_every_tool():
    """What --help lists, and every flag in the usage of a tool."""
    packaging = ROOT / "packaging"
    if not packaging.exists():
        pytest.skip("no packaging here")
    manual = (packaging / "man" / "escapement.1").read_text().replace("\\-", "-")
    shells = [(packaging / "completions" / name).read_text() for name in ("escapement.bash", "_escapement")]
    tools = re.findall(r"^  escapement (\w+) ", run_to_end("--help", cwd="/")[1], re.MULTILINE)
    assert {"check", "ping"} <= set(tools)
    for tool in tools:
        flags = set(re.findall(r"(?:\[|\| |^  )(--[a-z][a-z-]+)", run_to_end(tool, "--help", cwd="/")[1], re.MULTILINE))
        assert f".B escapement {tool}\n" in manual and all(flag in manual for flag in flags), (tool, flags)
        for shell in shells:
            case = re.search(rf"^    {tool}\)(.*?);;$", shell, re.DOTALL | re.MULTILINE)
            assert case and all(flag in case.group(1) for flag in flags), (tool, flags)
            assert re.search(rf"(compadd|compgen -W ')[a-z ]*\b{tool}\b", shell), f"{tool} is not offered"


def has_subcommand(name):
    return f"escapement {name}" in run_to_end("--help", cwd="/")[1]


def test_a_copy_of_a_stopped_server_is_a_backup(start, tmp_path):
    server = start()
    with server.connect() as wire:
        assert wire.call("CL.THROTTLE", "k", 9, 1, 1_000_000)[2] == 9
        wire.ok("RL.POLICY", "SET", "free", "LIMIT", 60, "PER", "1m")
    server.stop()
    copy = shutil.copytree(server.directory, tmp_path / "backup")
    status, output = run_to_end("check", copy, cwd=tmp_path)
    assert status == 0 and "clean" in output
    restored = start("--dir", copy)
    with restored.connect() as wire:
        assert wire.call("CL.THROTTLE", "k", 9, 1, 1_000_000, 0)[2] == 9
        assert wire.call("RL.POLICY", "GET", "free")[1] == b"free"


def test_backup_and_restore(start, tmp_path):
    """The commands of the page."""
    if not has_subcommand("backup"):
        pytest.skip("this server has no backup")
    server = start()
    with server.connect() as wire:
        assert wire.call("CL.THROTTLE", "k", 9, 1, 1_000_000)[2] == 9
    copy = tmp_path / "backup"
    for words in (["backup", f"127.0.0.1:{server.port}", copy], ["check", copy]):
        status, output = run_to_end(*words, cwd=tmp_path)
        assert status == 0, output
    with start("--dir", copy).connect() as wire:
        assert wire.call("CL.THROTTLE", "k", 9, 1, 1_000_000, 0)[2] == 9
