"""File modes: the server's data is accessible to its user only, and existing files keep their mode."""

import os
import stat

import pytest

from durable import launch, wait_for_rewrite  # noqa: F401 (a fixture)
from replication import fill, nodes, wait_online, wait_same_offset  # noqa: F401 (a fixture)
from wire import eventually


@pytest.fixture(autouse=True)
def no_umask():
    """Inherited by servers: files get exactly the mode that the server requests."""
    old = os.umask(0)
    yield
    os.umask(old)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def everything(directory):
    """The directory and everything under it."""
    found = [directory]
    for base, directories, files in os.walk(directory):
        found += [os.path.join(base, name) for name in directories + files]
    return {path: mode(path) for path in found}


def expect_private(directory, existing=()):
    for path, found in everything(directory).items():
        wanted = 0o700 if os.path.isdir(path) else 0o600
        assert path in existing or found == wanted, f"{path} has {found:o}"


def work(server):
    """Creates logs, snapshots and marks."""
    fill(server, 100)
    with server.connect() as wire:
        wire.ok("SAVE")
        rewrites = int(server.info("persistence")["aof_rewrites"])
        assert b"rewriting started" in wire.call("BGREWRITEAOF")
        wait_for_rewrite(wire, rewrites + 1)


def test_modes_of_created_files(nodes, tmp_path):
    primary = nodes("a", "--dir", tmp_path / "private-a")
    work(primary)
    replica = nodes("b", "--dir", tmp_path / "private-b", of=primary)
    wait_online(primary, 1)
    wait_same_offset(primary, replica)
    replica.lead()
    eventually((tmp_path / "private-b" / "role").exists, "the role is saved")
    for directory in ("private-a", "private-b"):
        names = {os.path.basename(path) for path in everything(tmp_path / directory)}
        assert {"appendonlydir", "escapement.lock"} < names and any(n.startswith("log-") for n in names), names
        expect_private(tmp_path / directory)


def test_modes_of_existing_files_are_kept(nodes, tmp_path):
    directory = tmp_path / "shared"
    node = nodes("a", "--dir", directory)
    fill(node, 100)
    node.stop()
    for path in everything(directory):
        os.chmod(path, 0o750 if os.path.isdir(path) else 0o640)
    existing = everything(directory)
    node = nodes("a", "--dir", directory)
    kept = {path: found for path, found in everything(directory).items() if path in existing}
    # Files that are replaced as a whole are new files.
    assert {path: found for path, found in kept.items() if found != existing[path]}.keys() <= {
        str(directory / "appendonlydir" / "manifest")}
    work(node)
    assert mode(directory) == 0o750 and mode(directory / "appendonlydir") == 0o750
    expect_private(directory, existing)


def test_the_configuration_file_keeps_its_mode(start, tmp_path):
    for wanted in (0o600, 0o640, 0o644):
        file = tmp_path / f"{wanted:o}.conf"
        file.write_text("hz 20\n")
        os.chmod(file, wanted)
        with start(config=file).connect() as wire:
            wire.ok("CONFIG", "SET", "requirepass", "")
            wire.ok("CONFIG", "SET", "hz", "30")
            wire.ok("CONFIG", "REWRITE")
        assert "hz 30" in file.read_text() and mode(file) == wanted


def test_the_log_file(start, tmp_path):
    """It contains addresses and failures, but no passwords: its group may read it."""
    path = tmp_path / "server.log"
    start("--logfile", path)
    eventually(path.exists, "the log file exists")
    assert mode(path) == 0o640
