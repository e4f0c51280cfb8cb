"""Support for tests of `escapement check` and `escapement dump`: running them, and directories to run them on."""

import json
import shutil
import subprocess

from server import ROOT, find_binary

ALWAYS = ("--appendfsync", "always")
GOLDEN = ROOT / "Tests/PersistenceTests/Golden"
HOUR = 3600 * 10**9


def run(*words, cwd=None):
    """(exit status, standard output, standard error)."""
    done = subprocess.run([find_binary(), *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=60)
    return done.returncode, done.stdout, done.stderr


def first_line(*words, status=0, cwd=None):
    code, output, error = run(*words, cwd=cwd)
    assert code == status, (output, error)
    return output.split("\n")[0]


def checked(directory):
    """The object of `check --json`."""
    _, output, error = run("check", directory, "--json")
    assert output.count("\n") == 1 and output.endswith("\n"), (output, error)
    return json.loads(output)


def dumped(directory, status=0):
    """The summary of a dump, and the lines after it."""
    code, output, error = run("dump", directory)
    assert code == status, error
    rows = [json.loads(line) for line in output.splitlines()]
    return rows[0], rows[1:]


def golden(tmp_path, name="v1"):
    """A copy of a directory of golden files, as a data directory."""
    return shutil.copytree(GOLDEN / name / "appendonlydir", tmp_path / name / "appendonlydir").parent


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def fill(wire):
    """Keys of three databases, policies, a rule, and answers to IDs."""
    for number in range(1234):
        wire.ok("SET", f"k{number}", number)
    wire.ok("RL.POLICY", "SET", "free", "LIMIT", 60, "PER", "1m")
    wire.ok("RL.POLICY", "SET", "paid", "LIMIT", 600, "PER", "1m")
    wire.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "free")
    assert wire.call(*"RL.TAKE once LIMIT 5 PER 1d ID token".split())[0] == 1
    wire.calls("SELECT 1", "SET a 1", "SET b 1", "DEL b", "SELECT 9", "SET flushed 1", "FLUSHDB", "SET c 1", "SELECT 0")
