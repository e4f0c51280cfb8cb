"""The files in deploy/: they parse, agree with each other, and name only what the server has. No container engine needed."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.request

import pytest

import conftest
from ports import free_port
from server import ROOT, Server, find_binary
from wire import PATIENCE, Wire, WireError, eventually

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (scripts/setup test)")

DEPLOY = ROOT / "deploy"
DOCKER, KUBERNETES = DEPLOY / "docker", DEPLOY / "kubernetes"
REDIS_PORT, SENTINEL_PORT, ADMIN_PORT = 6379, 26379, 9121
UID = 65532


def relative(path):
    return str(path.relative_to(ROOT))


def documents(path):
    return [d for d in yaml.safe_load_all(path.read_text()) if d is not None]


def every(value, name):
    """Every value with that key, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name:
                yield inner
            yield from every(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from every(inner, name)


# The configurations of proxies have tests of their own, with the real proxies: test_proxies.py.
PLACES = [DOCKER, KUBERNETES, DEPLOY / "sentinel"]


def found(*patterns):
    return sorted(path for place in PLACES for pattern in patterns for path in place.rglob(pattern))


YAML = found("*.yml", "*.yaml")
COMPOSE = sorted(DOCKER.glob("compose*.yml"))
MANIFESTS = sorted(p for p in KUBERNETES.glob("*.yaml") if p.name != "kustomization.yaml")
# What nodes read. Sentinels have their own format.
NODES = [p for p in found("*.conf") if p.name != "sentinel.conf" and "secrets" not in p.parts]
SENTINELS = found("sentinel.conf")
HAPROXY = found("haproxy.cfg")


def lines_of(path):
    """The lines of a configuration that are neither empty nor comments."""
    return [line for line in map(str.strip, path.read_text().splitlines()) if line and not line.startswith("#")]


def settings():
    """The names of every setting of the server under test."""
    help_text = subprocess.run([find_binary(), "--help"], capture_output=True, text=True, check=True).stdout
    printed = subprocess.run([find_binary(), "--print-config"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^  --([a-z][a-z0-9-]+) ", help_text, re.MULTILINE)) | set(
        re.findall(r"^# Also known as ([a-z0-9-]+)\.$", printed, re.MULTILINE)) | {"include"}


def named_settings():
    """(where, setting) of every setting that a deployment names."""
    for path in NODES:
        yield from ((relative(path), line.split()[0]) for line in lines_of(path))
    for path in YAML:
        for document in documents(path):
            for arguments in [*every(document, "command"), *every(document, "args")]:
                if isinstance(arguments, list) and any(str(a).startswith("/etc/escapement") for a in arguments):
                    yield from ((relative(path), a[2:]) for a in arguments if str(a).startswith("--"))
    # Settings in the commands that documents give: lines of files in printf, flags of docker run.
    for path in sorted(DEPLOY.rglob("README.md")) + [KUBERNETES / "make-secrets"]:
        for line in path.read_text().splitlines():
            if "printf" in line and "sentinel" not in line:
                text = re.search(r"printf '([^']*)'", line)
                yield from ((relative(path), part.split()[0]) for part in text.group(1).split("\\n") if " " in part)


def test_there_are_files():
    assert len(YAML) >= 8 and len(COMPOSE) == 3 and len(NODES) >= 3 and len(SENTINELS) == 3 and len(HAPROXY) == 2
    assert len(list(named_settings())) > 30


@pytest.mark.parametrize("path", YAML, ids=relative)
def test_yaml_parses(path):
    assert documents(path)


def has_admin_listener():
    return "admin-port" in settings()


def test_every_setting_exists():
    known, unknown = settings(), []
    for where, name in named_settings():
        if name not in known and (has_admin_listener() or not name.startswith("admin-")):
            unknown.append((where, name))
    assert not unknown


@pytest.mark.parametrize("path", NODES, ids=relative)
def test_a_node_starts_with_its_configuration(path, tmp_path):
    """The file as it is, but for its port, its directory and the files it includes."""
    text, admin = path.read_text(), None
    for included in re.findall(r"^include (\S+)$", text, re.MULTILINE):
        # What make-secrets and choose-role write.
        own = tmp_path / included.rsplit("/", 1)[1]
        own.write_text("requirepass word\nmasterauth word\n" if "secret" in included else "")
        text = text.replace(included, str(own))
    if "admin-port" in text:
        if has_admin_listener():
            admin = free_port()
            text = re.sub(r"(?m)^admin-port .*$", f"admin-port {admin}\nadmin-token word", text)
        else:
            text = re.sub(r"(?m)^admin-.*$", "", text)
    conf = tmp_path / path.name
    conf.write_text(text)
    # Flags override the file; the password is only for this client.
    server = Server(tmp_path / "data", config=conf)
    try:
        with server.connect() as wire:
            if "escapement-secret" in path.read_text():
                wire.ok("AUTH", "word")
            for probe in ("/health", "/ready") if admin else ():
                eventually(lambda: answers(f"http://127.0.0.1:{admin}{probe}"), probe)
            assert wire.call("CONFIG", "GET", "dir")[1].decode() == str(tmp_path / "data")
    finally:
        server.stop()
    assert "warning" not in server.log(), server.log()


def answers(url):
    """Whether the status is 200; an HTTPError is an OSError."""
    try:
        return urllib.request.urlopen(url, timeout=PATIENCE).status == 200
    except OSError:
        return False


def test_ports_agree():
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert re.findall(r"^EXPOSE (.*)$", dockerfile, re.MULTILINE) == [str(REDIS_PORT)]
    assert f"127.0.0.1:{REDIS_PORT}" in dockerfile, "the health check"
    for path in NODES:
        assert f"port {REDIS_PORT}" in lines_of(path)
        found = [line for line in lines_of(path) if line.startswith("admin-port")]
        assert found in ([], [f"admin-port {ADMIN_PORT}"])
    for path in SENTINELS:
        assert path.parent == DEPLOY / "sentinel" or f"port {SENTINEL_PORT}" in lines_of(path)
    for path in HAPROXY:
        text = path.read_text()
        assert re.findall(r"^    server \S+ \S+:(\d+)", text, re.MULTILINE) == [str(REDIS_PORT)] * 3
        assert f"bind :{REDIS_PORT}" in text
    containers = {}
    for path in MANIFESTS:
        for document in documents(path):
            for ports in every(document, "ports"):
                containers.update({p["name"]: p["containerPort"] for p in ports if "containerPort" in p})
    assert containers == {"redis": REDIS_PORT, "sentinel": SENTINEL_PORT, "admin": ADMIN_PORT, "health": 8404}
    for path in MANIFESTS:
        for document in documents(path):
            for port in every(document, "targetPort"):
                assert port in containers
            for probe in every(document, "httpGet"):
                assert probe["port"] in containers
            for annotation in every(document, "prometheus.io/port"):
                assert annotation == str(ADMIN_PORT)
            if document["kind"] == "NetworkPolicy":
                allowed = {p["port"] for ports in every(document, "ports") for p in ports}
                assert allowed <= {*containers.values(), 53}
    targets = [t for d in documents(DOCKER / "prometheus" / "prometheus.yml") for ts in every(d, "targets") for t in ts]
    assert targets == [f"escapement:{ADMIN_PORT}"]
    assert f"admin-port {ADMIN_PORT}" in (DOCKER / "README.md").read_text()
    assert "bind :8404" in (KUBERNETES / "files" / "haproxy.cfg").read_text()


def test_images_agree():
    """One version of each image, everywhere."""
    tags = {}
    texts = {p: p.read_text() for p in [*YAML, DOCKER / "Dockerfile", DOCKER / "README.md", DOCKER / "escapement.conf"]}
    for path, text in texts.items():
        for name, tag in re.findall(r"\b(escapement|redis|haproxy|prom/prometheus):(v?\d[\w.-]*)(?=[\s\"`]|$)", text):
            if not tag.isdigit():
                tags.setdefault(name, set()).add(tag)
    own = documents(KUBERNETES / "kustomization.yaml")[0]["images"][0]
    assert own["name"] == "escapement"
    tags["escapement"].add(own["newTag"])
    assert {name: len(found) for name, found in tags.items()} == dict.fromkeys(tags, 1), tags
    assert set(tags) == {"escapement", "redis", "haproxy", "prom/prometheus"}


def test_paths_and_users_agree():
    dockerfile = (DOCKER / "Dockerfile").read_text()
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    instructions = dict(re.findall(r"^(USER|STOPSIGNAL|ENTRYPOINT|CMD|VOLUME) (.*)$", last, re.MULTILINE))
    assert not re.search(r"^RUN ", last, re.MULTILINE), "the last stage has no shell"
    assert instructions["USER"] == f"{UID}:{UID}" and instructions["STOPSIGNAL"] == "SIGTERM"
    program, conf = json.loads(instructions["ENTRYPOINT"]), json.loads(instructions["CMD"])
    assert program == ["/usr/bin/escapement"] and f"/image{program[0]} {program[0]}\n" in last and "DESTDIR=/image PREFIX=/usr " in dockerfile
    assert conf == ["/etc/escapement/escapement.conf"] and f" {conf[0]}\n" in last
    health = json.loads(re.search(r"^    CMD (\[.*\])$", last, re.MULTILINE).group(1))
    assert health[:2] == [*program, "ping"]
    (volume,) = json.loads(instructions["VOLUME"])
    assert f"--chown={UID}:{UID} /state/ {volume.rsplit('/', 1)[0]}/" in last
    for path in NODES:
        assert f"dir {volume}" in lines_of(path)
    for path in MANIFESTS:
        for document in documents(path):
            assert set(every(document, "runAsUser")) <= {UID} and set(every(document, "fsGroup")) <= {UID}


def test_the_image_without_an_engine(tmp_path):
    """The files of the last stage in a read-only root, started as an engine would: as its user, without capabilities."""
    needed = subprocess.run(["ldd", find_binary()], capture_output=True, text=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", needed)
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("needs root and a mount namespace")
    if len(libraries) > 3:
        pytest.skip("the server under test needs Swift's libraries; that of make dist does not")
    root, state = tmp_path / "root", tmp_path / "state"
    for source, target in [(find_binary(), "/usr/bin/escapement"), (DOCKER / "escapement.conf", "/etc/escapement/escapement.conf"),
                           *((library, library) for library in libraries)]:
        place = root / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    for parent in (root, *root.parents):
        if parent.stat().st_mode & 0o5 != 0o5:
            parent.chmod(parent.stat().st_mode | 0o5)
    (root / "var/lib/escapement").mkdir(parents=True)
    state.mkdir(mode=0o700)
    os.chown(state, UID, UID)
    port = free_port()
    enter = ["unshare", "-m", "sh", "-c", """
        mount --bind "$0" "$0" && mount --bind "$1" "$0/var/lib/escapement" && mount -o remount,bind,ro "$0" || exit 99
        root=$0; shift
        exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \
            chroot --userspec=65532:65532 --groups= "$root" /usr/bin/escapement "$@"
        """, root, state]
    process = subprocess.Popen(
        [*enter, "/etc/escapement/escapement.conf", "--port", str(port), "--protected-mode", "no"], stdin=subprocess.DEVNULL,
        stdout=open(tmp_path / "log", "wb"), stderr=subprocess.STDOUT)
    try:
        def answer():
            try:
                with Wire(("127.0.0.1", port)) as wire:
                    return wire.call("CL.THROTTLE", "k", 9, 1, 1000)
            except (OSError, WireError):
                return None

        eventually(lambda: isinstance(answer(), list), "it answers")
        assert (state / "appendonlydir").stat().st_uid == UID
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        assert f"Uid:\t{UID}\t{UID}" in status and "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
        if "escapement ping" in subprocess.run([find_binary(), "--help"], capture_output=True, text=True).stdout:
            health = [*enter, "ping", f"127.0.0.1:{port}"]
            assert subprocess.run(health, timeout=PATIENCE).returncode == 0
        process.terminate()
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("path", COMPOSE, ids=relative)
def test_compose(path):
    (document,) = documents(path)
    defined, used = set(document.get("volumes") or {}), set()
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (path.parent / source).exists(), f"{name}: {source}"
            else:
                used.add(source)
        for secret in service.get("secrets", []):
            assert secret in document["secrets"]
        if path.name != "compose-prometheus.yml" or name != "escapement":
            assert service["restart"] == "unless-stopped", name
        if str(service.get("image", "")).startswith("escapement:"):
            assert service["read_only"] and service["cap_drop"] == ["ALL"]
            assert int(service["stop_grace_period"].rstrip("s")) > 10, "shutdown-timeout"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "published on this machine only"
        for command in [service.get("command", [])]:
            if command and command[0].startswith("/etc/escapement/"):
                mounted = [v.split(":") for v in service.get("volumes", []) if f":{command[0]}:" in v]
                assert mounted or command[0] == "/etc/escapement/escapement.conf", command
    assert used == defined


def test_a_group_of_compose_is_complete():
    (document,) = documents(DOCKER / "compose-group.yml")
    services = document["services"]
    nodes = [name for name in services if name.startswith("node-")]
    assert len(nodes) == 3 and sum(name.startswith("sentinel-") for name in services) == 3
    for name in nodes:
        command = services[name]["command"]
        assert command[command.index("--replica-announce-ip") + 1] == name
        assert ("--replicaof" in command) == (name != "node-a")
    proxied = re.findall(r"^    server \S+ ([\w-]+):", (DOCKER / "haproxy.cfg").read_text(), re.MULTILINE)
    assert proxied == nodes
    for name, service in services.items():
        if name.startswith("sentinel-"):
            assert service["environment"] == {"ANNOUNCE": name}


def test_sentinels_have_the_same_values():
    def values(path):
        lines = [line for line in lines_of(path) if line.startswith("sentinel ")]
        return {tuple(line.split()[1:3]): line.split()[3:] for line in lines if "limits" in line and "monitor" not in line}

    first, *others = map(values, SENTINELS)
    assert len(first) == 4 and all(first == other for other in others)
    for path in SENTINELS:
        assert re.search(r"^sentinel monitor limits \S+ \S+ 2$", path.read_text(), re.MULTILINE)


def test_kubernetes_refers_to_what_exists():
    kustomization = documents(KUBERNETES / "kustomization.yaml")[0]
    assert sorted(kustomization["resources"]) == [p.name for p in MANIFESTS]
    maps = {g["name"]: g["files"] for g in kustomization["configMapGenerator"]}
    for files in maps.values():
        assert all((KUBERNETES / name).is_file() for name in files)
    assert sorted(f for files in maps.values() for f in files) == sorted(
        str(p.relative_to(KUBERNETES)) for p in (KUBERNETES / "files").iterdir())
    all_documents = [d for path in MANIFESTS for d in documents(path)]
    services = {d["metadata"]["name"]: d["spec"]["selector"] for d in all_documents if d["kind"] == "Service"}
    sets = [d for d in all_documents if d["kind"] in ("StatefulSet", "Deployment")]
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in sets]
    for name, selector in services.items():
        assert sum(selector.items() <= one.items() for one in labels) == 1, name
    for document in sets:
        spec = document["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        assert spec.get("serviceName", "escapement") in services
        pod = spec["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        volumes = {v["name"] for v in pod.get("volumes", [])} | {
            c["metadata"]["name"] for c in spec.get("volumeClaimTemplates", [])}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {m["name"] for m in container["volumeMounts"]} <= volumes
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]} and "memory" in container["resources"]["limits"]
        for reference in every(pod, "configMap"):
            assert reference["name"] in maps
    for policy in (d for d in all_documents if d["kind"] in ("NetworkPolicy", "PodDisruptionBudget")):
        selector = (policy["spec"].get("podSelector") or policy["spec"]["selector"])["matchLabels"]
        assert any(selector.items() <= one.items() for one in labels), policy["metadata"]
    # Names in the proxy and in Sentinel's configuration are the pods'.
    namespace = kustomization["namespace"]
    pods = [f"escapement-{n}.escapement-nodes.{namespace}.svc.cluster.local" for n in range(3)]
    assert re.findall(r"^    server \S+ (\S+):", (KUBERNETES / "files" / "haproxy.cfg").read_text(), re.MULTILINE) == pods
    assert f"sentinel monitor limits {pods[0]} " in (KUBERNETES / "files" / "sentinel.conf").read_text()


def test_memory_of_the_container():
    """The limit leaves as much for the rest as maxmemory allows for keys."""
    node = next(d for d in documents(KUBERNETES / "nodes.yaml") if d["kind"] == "StatefulSet")
    (container,) = node["spec"]["template"]["spec"]["containers"]
    keys = next(l for l in lines_of(KUBERNETES / "files" / "escapement.conf") if l.startswith("maxmemory ")).split()[1]
    assert container["resources"]["limits"]["memory"] == f"{2 * int(keys.removesuffix('mb'))}Mi"
    assert node["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 10, "shutdown-timeout"


def test_kustomize(tmp_path):
    """Builds the manifests, with secrets in a copy."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    copy = shutil.copytree(KUBERNETES, tmp_path / "kubernetes", ignore=shutil.ignore_patterns("secrets"))
    subprocess.run([copy / "make-secrets"], check=True)
    password = (copy / "secrets" / "password").read_text()
    subprocess.run([copy / "make-secrets"], check=True)
    assert (copy / "secrets" / "password").read_text() == password and len(password) == 48
    done = subprocess.run(["kubectl", "kustomize", copy], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == 18 and {d["metadata"].get("namespace") for d in built if d["kind"] != "Namespace"} == {"escapement"}


@pytest.mark.parametrize("path", HAPROXY, ids=relative)
def test_haproxy_accepts_its_configuration(path):
    if not shutil.which("haproxy"):
        conftest.missing("haproxy is not installed (scripts/setup test)")
    done = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True, env={**os.environ, "PASSWORD": "word"})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [
    ["check", "rules", DOCKER / "prometheus" / "alerts.yml"],
    ["check", "config", "--syntax-only", DOCKER / "prometheus" / "prometheus.yml"]], ids=lambda a: a[1])
def test_promtool_accepts(arguments):
    if not shutil.which("promtool"):
        conftest.missing("promtool is not installed (scripts/setup test)")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_select_existing_series(start):
    """Each selector with a label matches a series that the server prints."""
    with start("--enable-debug-command", "local").connect() as wire:
        printed = wire.call("DEBUG", "METRICS").decode()
    expressions = [e for d in documents(DOCKER / "prometheus" / "alerts.yml") for e in every(d, "expr")]
    selectors = {s for e in expressions for s in re.findall(r'escapement_\w+\{\w+="\w+"\}', e)}
    assert len(selectors) >= 3
    for selector in selectors:
        assert f"\n{selector} " in printed, selector
    for name in {n for e in expressions for n in re.findall(r"escapement_\w+", e)}:
        assert re.search(rf"^{name}[ {{]", printed, re.MULTILINE), name


def test_alerts_use_existing_metrics():
    listed = set(re.findall(r"`(escapement_\w+|process_\w+)", (ROOT / "docs" / "metrics.md").read_text()))
    expressions = [e for d in documents(DOCKER / "prometheus" / "alerts.yml") for e in every(d, "expr")]
    used = {name for e in expressions for name in re.findall(r"escapement_\w+", e)}
    assert len(used) > 8 and used <= listed, used - listed


@pytest.mark.parametrize("path", sorted(p for p in DEPLOY.rglob("*") if p.is_file() and p.read_bytes()[:9] == b"#!/bin/sh"),
                         ids=relative)
def test_scripts_parse(path):
    assert subprocess.run(["sh", "-n", path]).returncode == 0
    if shutil.which("shellcheck"):
        assert subprocess.run(["shellcheck", path]).returncode == 0
