"""The examples in docs/check-api.md: one conversation with the real server, by the real curl, run in order."""

import math
import re
import shlex
import shutil
import subprocess

from check_api import start_api
from clock import Countdown
from conftest import missing
from server import ROOT
from wire import PATIENCE

DOCUMENT = ROOT / "docs" / "check-api.md"
# Numbers from here on are times, in milliseconds or in seconds, which change while the server answers.
LARGE = 1000


def conversation():
    """(command, output) of every example of the document."""
    text = DOCUMENT.read_text()
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
        assert parts[0] == "", "an example begins with a command"
        yield from zip(parts[1::2], parts[2::2])


def masked(text):
    """Without what is different each time."""
    text = re.sub(r"^Date: .{29}$", "Date: …", text, flags=re.MULTILINE)
    return re.sub(r"^X-Correlation-ID: [0-9a-f]{16}$", "X-Correlation-ID: …", text, flags=re.MULTILINE)


def agree(got, expected, passed):
    numbers = re.compile(r"\d+")
    got, expected = masked(got), masked(expected)
    if numbers.sub("#", got) != numbers.sub("#", expected):
        return False
    pairs = zip(map(int, numbers.findall(got)), map(int, numbers.findall(expected)))
    return all(g == e or (e >= LARGE and e - math.ceil(passed * 1000) <= g <= e) for g, e in pairs)


def run(server, command):
    words = shlex.split(command)
    assert words[0] == "curl"
    words = [word.replace(":6380", f":{server.gateway_port}").replace(":6381", f":{server.admin_port}")
             for word in words[1:]]
    done = subprocess.run(["curl", "-s", "--max-time", str(PATIENCE), *words], capture_output=True)
    return done.stdout.decode().replace("\r\n", "\n")


def test_examples(start):
    if not shutil.which("curl"):
        missing("there is no curl")
    server = start_api(start)
    clock = Countdown()
    examples = list(conversation())
    assert len(examples) > 15
    for command, expected in examples:
        got = run(server, command)
        assert agree(got, expected, clock.passed()), f"{command}\n{got}\nis not\n{expected}"
