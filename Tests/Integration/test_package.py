"""The Debian package where no Swift is: in a bare Debian root file system, made by debootstrap, it is installed, started
by its unit's command line as its own user on a read-only root, asked, killed, upgraded over itself, removed and purged.

Needs root, debootstrap and the packages that scripts/dist makes. Without one of them the tests are skipped, except in CI.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile

import pytest

from conftest import missing
from ports import free_port
from server import IN_CI
from wire import PATIENCE, Wire, eventually

ROOT = pathlib.Path(__file__).parents[2]
PACKS = ROOT / ".build" / "dist-packages"
BARE = ROOT / ".build" / "debian-root"
DATA = "var/lib/escapement"
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def lacking():
    if os.geteuid() != 0:
        return "only root can change the root directory"
    if not shutil.which("debootstrap"):
        return "debootstrap is not installed: scripts/setup test"
    if not list(PACKS.glob("*.deb")):
        return "there is no package: scripts/dist"
    return None


if lacking() and not IN_CI:
    pytestmark = pytest.mark.skip(reason=lacking())


def run(*words, **options):
    done = subprocess.run(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        text=True, timeout=600, **options)
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def bare():
    """A bare Debian, kept in .build for the next run."""
    assert lacking() is None, lacking()
    if not (BARE / "etc" / "debian_version").exists():
        unfinished = BARE.with_name("debian-root.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The package depends on adduser; everything else is the smallest system that has dpkg.
        run("debootstrap", "--variant=minbase", "--include=adduser", "bookworm", unfinished,
            "http://deb.debian.org/debian")
        unfinished.rename(BARE)
    return BARE


class Machine:
    """A copy of the bare root: an overlay, so that the bare one stays as it is."""

    def __init__(self, bare, directory):
        self.root = directory / "root"
        for name in ("root", "upper", "work"):
            (directory / name).mkdir()
        run("mount", "-t", "tmpfs", "none", directory / "upper")
        for name in ("changes", "work"):
            (directory / "upper" / name).mkdir()
        run("mount", "-t", "overlay", "overlay", "-o",
            f"lowerdir={bare},upperdir={directory}/upper/changes,workdir={directory}/upper/work", self.root)
        run("mount", "--bind", "/dev", self.root / "dev")
        run("mount", "-t", "proc", "proc", self.root / "proc")
        self.mounts = [self.root / "proc", self.root / "dev", self.root, directory / "upper"]

    def close(self):
        for mount in self.mounts:
            subprocess.run(["umount", "-l", str(mount)], check=False)

    def run(self, *words):
        return run("chroot", self.root, *words, env={"PATH": SEARCH_PATH, "DEBIAN_FRONTEND": "noninteractive"})

    def install(self, package):
        shutil.copy(package, self.root / "tmp" / "package.deb")
        self.run("dpkg", "--install", "/tmp/package.deb")
        (self.root / "tmp" / "package.deb").unlink()

    def files(self):
        """Every path but those of dpkg's own records and logs, which also change when nothing is left."""
        own = ("var/lib/dpkg", "var/log", "var/cache", "run/",
               "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-")
        names = run("find", self.root, "-xdev", "-printf", "%P\\n").splitlines()
        return {name for name in names if not name.startswith(own)}

    def unit(self):
        lines = (self.root / "usr/lib/systemd/system/escapement.service").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    @contextlib.contextmanager
    def service(self, port):
        """The process as the unit starts it: its user, a read-only root, its state directory."""
        unit = self.unit()
        state = self.root / "var/lib" / unit["StateDirectory"]
        state.mkdir(exist_ok=True)
        self.run("chown", f"{unit['User']}:{unit['Group']}", f"/var/lib/{unit['StateDirectory']}")
        state.chmod(int(unit["StateDirectoryMode"], 8))
        confined = " && ".join([
            "mount --make-rprivate /",
            f"mount --bind {self.root} {self.root}", f"mount -o remount,bind,ro {self.root}",
            f"mount --bind {state} {state}", f"mount -o remount,bind,rw {state}",
            f"exec chroot --userspec={unit['User']}:{unit['Group']} {self.root} {unit['ExecStart']} --port {port}"])
        process = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", confined], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={"PATH": SEARCH_PATH})
        try:
            eventually(lambda: process.poll() is not None or self.pings(port), "the service answers")
            assert process.poll() is None, process.stdout.read().decode()
            yield process
        finally:
            process.kill()
            process.wait()

    def pings(self, port):
        return subprocess.run(
            ["chroot", str(self.root), "/usr/bin/escapement", "ping", f"127.0.0.1:{port}"], capture_output=True,
            check=False).returncode == 0


@pytest.fixture
def machine(bare, tmp_path):
    machine = Machine(bare, tmp_path)
    yield machine
    machine.close()


def package():
    (found,) = PACKS.glob("*.deb")
    return found


def test_a_life_on_a_bare_debian(machine):
    # Where systemd keeps the links of enabled units.
    enabled = machine.root / "etc/systemd/system/multi-user.target.wants"
    enabled.mkdir(parents=True, exist_ok=True)
    before = machine.files()
    machine.install(package())
    (enabled / "escapement@other.service").symlink_to("/usr/lib/systemd/system/escapement@.service")
    # Nothing of the toolchain is there, and nothing is missing.
    assert not any(name.rsplit("/", 1)[-1].startswith(("libswift", "swift")) for name in machine.files())
    assert machine.run("escapement", "--version").startswith("escapement ")
    port = free_port()
    with machine.service(port) as process:
        with Wire(("127.0.0.1", port)) as wire:
            assert wire.call("CL.THROTTLE", "user123", 15, 30, 60) == [0, 16, 15, -1, 2]
            assert wire.call("CONFIG", "SET", "appendfsync", "always") == b"OK"
            assert wire.call("SET", "counter", 7) == b"OK"
        user = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        assert "\nUid:\t0" not in user
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with machine.service(port) as process, Wire(("127.0.0.1", port)) as wire:
        assert wire.call("GET", "counter") == b"7"
        wire.close()
        process.terminate()
        assert process.wait(PATIENCE) == 0
    # A changed configuration and the data survive an upgrade.
    with open(machine.root / "etc/escapement/escapement.conf", "a") as file:
        file.write("hz 20\n")
    configuration = (machine.root / "etc/escapement/escapement.conf").read_text()
    machine.install(package())
    assert (machine.root / "etc/escapement/escapement.conf").read_text() == configuration
    with machine.service(port) as process, Wire(("127.0.0.1", port)) as wire:
        assert wire.call("GET", "counter") == b"7"
    machine.run("dpkg", "--remove", "escapement")
    assert not (machine.root / "usr/bin/escapement").exists()
    assert (machine.root / DATA).is_dir() and (machine.root / "etc/escapement/escapement.conf").exists()
    machine.run("dpkg", "--purge", "escapement")
    assert machine.files() == before
    assert "escapement" not in (machine.root / "etc/passwd").read_text() + (machine.root / "etc/group").read_text()


def test_the_archive(tmp_path):
    """The .tar.gz has the same files, owned by root, and its program runs as it is."""
    (archive,) = PACKS.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {member.name.split("/", 1)[1] for member in tar.getmembers() if "/" in member.name}
        assert {member.uid for member in tar.getmembers()} == {0}
        tar.extractall(tmp_path, filter="fully_trusted")
    assert {
        "usr/bin/escapement", "etc/escapement/escapement.conf", "usr/lib/systemd/system/escapement.service",
        "usr/lib/systemd/system/escapement@.service", "etc/logrotate.d/escapement", "usr/share/man/man1/escapement.1.gz",
        "usr/share/bash-completion/completions/escapement", "usr/share/zsh/vendor-completions/_escapement",
        "usr/share/doc/escapement/README.md", "usr/share/doc/escapement/escapement.spdx.json"} <= names
    # Below /, tar would replace the link /lib of a merged system with a directory.
    assert {name.split("/")[0] for name in names} <= {"etc", "usr"}
    # The pages' links to each other work, so the layout is the repository's.
    documents = {name.split("usr/share/doc/escapement/")[1] for name in names if "usr/share/doc/escapement/" in name}
    assert {"escapement.conf", "docs/operating.md", "deploy/docker/prometheus/alerts.yml"} <= documents
    assert not any("secrets" in name for name in documents - {"deploy/kubernetes/make-secrets"})
    (program,) = tmp_path.glob("*/usr/bin/escapement")
    libraries = [line.split()[0] for line in run("ldd", program).splitlines()]
    assert {pathlib.Path(name).name.split(".so")[0] for name in libraries} <= {
        "linux-vdso", "libm", "libc", "ld-linux-x86-64", "ld-linux-aarch64"}
    facts = run(program, "--version")
    assert facts.startswith("escapement ")
    (bill,) = tmp_path.glob("*/usr/share/doc/escapement/escapement.spdx.json")
    assert "@" not in bill.read_text(), "a placeholder is left"
    parts = {part["name"]: part["versionInfo"] for part in json.loads(bill.read_text())["packages"]}
    assert f"escapement {parts['escapement']} " in facts and f"Swift {parts['swift-runtime']}," in facts


def test_make_install(tmp_path):
    """Into a system that is in use: the service's files and nothing else, and no configuration is lost."""
    system = tmp_path / "system"
    other = system / "etc" / "other"
    other.parent.mkdir(parents=True)
    other.write_text("secret")
    other.chmod(0o600)
    place = {**os.environ, "DESTDIR": str(system), "PREFIX": "/usr"}
    run("scripts/dist", "install", cwd=ROOT, env=place)
    assert run(system / "usr/bin/escapement", "--version").startswith("escapement ")
    configuration = system / "etc/escapement/escapement.conf"
    configuration.write_text("requirepass word\n")
    configuration.chmod(0o640)
    assert f"kept {configuration}" in run("scripts/dist", "install", cwd=ROOT, env=place)
    assert configuration.read_text() == "requirepass word\n"
    assert [path.stat().st_mode & 0o777 for path in (configuration, other)] == [0o640, 0o600]


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs mount namespaces")
def test_make_install_without_a_destination(tmp_path):
    """As `make install` is used: on this machine's /etc and /usr, or rather on overlays of them."""
    script = f"""set -e
mount -t tmpfs none {tmp_path}
for name in etc usr; do
    mkdir {tmp_path}/$name {tmp_path}/$name.work
    mount -t overlay overlay -o lowerdir=/$name,upperdir={tmp_path}/$name,workdir={tmp_path}/$name.work /$name
done
make --silent install
/usr/local/bin/escapement --version
grep ExecStart=/usr/local/bin/escapement /usr/lib/systemd/system/escapement.service
grep file:/usr/local/share/doc/escapement/docs/operating.md /usr/lib/systemd/system/escapement.service
ls /etc/escapement/escapement.conf"""
    assert "escapement " in run("unshare", "--mount", "bash", "-c", script, cwd=ROOT)


def test_the_packages_are_reproducible(tmp_path):
    """Packed again, the same bytes. (The program itself: scripts/reproduce.)"""
    sums = []
    for _ in range(2):
        run("scripts/dist", "pack", cwd=ROOT)
        sums.append((PACKS / "SHA256SUMS").read_text())
    assert sums[0] == sums[1]


def test_the_units():
    """systemd finds nothing wrong, and little that the service could do beyond its task."""
    if not shutil.which("systemd-analyze"):
        missing("no systemd-analyze")
    for name in ("escapement.service", "escapement@.service"):
        path = ROOT / "packaging/systemd" / name
        score = run("systemd-analyze", "security", "--offline=true", path).strip().splitlines()[-1]
        assert float(score.split("level for")[1].split(":")[1].split()[0]) <= 2.0, score
