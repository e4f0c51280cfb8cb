"""redis-py's own tests, from its source distribution, with this server.

libraries/redis_py.json has the tests of redis-py that pass with Debian's redis-server: those that pass here as well,
which run each time, and by reason those that cannot, because they need string values or a command that this server does
not have. ESCAPEMENT_RECORD_LIBRARIES=1 also runs those, which takes minutes, and writes the file.
"""

import json
import os
import re
import subprocess
import xml.etree.ElementTree

import pytest

import conftest
from library_catalogue import HERE
from server import ROOT

VENV = ROOT / ".build" / "venv-libraries"
SOURCE = VENV / "source"
LISTS = HERE / "redis_py.json"
RECORD = "ESCAPEMENT_RECORD_LIBRARIES" in os.environ
FILES = ["commands", "pipeline", "pubsub", "monitor", "encoding"]
# redis-py's tests wait fractions of a second for messages, which is too short on a busy machine: what fails gets more
# chances, alone.
CHANCES = 4


def outcomes(port, directory, *tests, timeout=60):
    """Runs tests of redis-py: {identifier: None if it passed, else what was reported}. Skipped tests are left out."""
    listed, report = directory / "tests.txt", directory / "report.xml"
    listed.write_text("\n".join(tests))
    with open(directory / "output.log", "a") as log:
        status = subprocess.run(
            [VENV / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:warnings",
             "-o", "addopts=", "-o", f"timeout={timeout}", "-o", "timeout_func_only=true",
             "-m", "not onlycluster and not ssl and not redismod",
             f"--redis-url=redis://127.0.0.1:{port}/0", f"--junitxml={report}", "--tb=short", f"@{listed}"],
            cwd=SOURCE, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT).returncode
    assert status in (0, 1), (directory / "output.log").read_text()[-3000:]
    found = {}
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        words = case.get("classname").split(".")
        name = "::".join([f"tests/{words[1]}.py", *words[2:], case.get("name")])
        problems = [child for child in case if child.tag in ("failure", "error")]
        if problems:
            found[name] = "\n".join(f"{problem.get('message')}\n{problem.text}" for problem in problems)
        elif case.find("skipped") is None:
            found[name] = None
    return found


REASONS = [
    (r"unknown (?:sub)?command '(\w+)'", "unknown command {}"),
    (r"stores only 64-bit integers", "string values"),
    (r"unknown script [0-9a-f]{40}", "scripts"),
    (r"No matching script", "scripts"),
]


def reason(problem):
    """Why a test cannot pass here, as far as its error shows."""
    for pattern, text in REASONS:
        if match := re.search(pattern, problem):
            return text.format(*(word.upper() for word in match.groups()))
    return "other"


@pytest.fixture(scope="module")
def lists():
    if not (SOURCE / "tests").is_dir():
        conftest.missing("redis-py's tests are not there (scripts/setup test)")
    return json.loads(LISTS.read_text())


def test_redis_py(lists, start, tmp_path):
    server = start("--save", "")
    wanted = set(lists["pass"])
    for _ in range(CHANCES):
        found = outcomes(server.port, tmp_path, *sorted(wanted))
        assert found.keys() == wanted, f"not run: {sorted(wanted - found.keys())}"
        failed = {name: problem for name, problem in found.items() if problem}
        wanted = set(failed)
        if not failed:
            return
    assert not failed, json.dumps(failed, indent=1)


if RECORD:
    def test_differences(lists, start, tmp_path):
        """Each of these fails for the reason given, and for no other."""
        server = start("--save", "")
        wanted = {
            name: why for why, names in lists["differences"].items() for name in names
            if not why.startswith("unknown command")}
        found = outcomes(server.port, tmp_path, *sorted(wanted))
        passed = [name for name in wanted if found.get(name) is None]
        assert not passed, f"now they pass, or were not run: {passed}"
        other = {name: found[name] for name, why in wanted.items() if reason(found[name]) != why}
        assert not other, json.dumps(other, indent=1)
        assert sorted(lists["explained"]) == sorted(lists["differences"]["other"])

    def test_record(reference, start, tmp_path):
        server = start("--save", "")
        names = [f"tests/test_{name}.py" for name in FILES]
        here, there = {}, {}
        for name in names:
            there |= outcomes(reference.port, tmp_path, name, timeout=20)
            here |= outcomes(server.port, tmp_path, name, timeout=20)
        everywhere = {name for name, problem in there.items() if problem is None}
        differences = {}
        for name in sorted(everywhere & {name for name, problem in here.items() if problem}):
            differences.setdefault(reason(here[name]), []).append(name)
        explained = json.loads(LISTS.read_text())["explained"] if LISTS.exists() else {}
        LISTS.write_text(json.dumps({
            "release": next(line for line in (HERE / "requirements.txt").read_text().splitlines() if "redis==" in line),
            "pass": sorted(name for name in everywhere if name in here and here[name] is None),
            "differences": dict(sorted(differences.items())),
            "explained": explained,
        }, indent=1) + "\n")
