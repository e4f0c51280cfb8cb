"""The examples in docs/commands.md, each run verbatim against the real server."""

import math
import re
import shlex

import pytest

from clock import Countdown
from server import ROOT
from wire import ErrorReply, Simple

# Numbers from here on are times in milliseconds, which change while the server answers.
LARGE = 1000


def conversations():
    """(first request, [(request, answer), …]) of every block of the document."""
    text = (ROOT / "docs" / "commands.md").read_text()
    for block in re.findall(r"^```redis-cli\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        parts = re.split(r"^> (.*)\n", block, flags=re.MULTILINE)
        assert parts[0] == "", "a conversation begins with a request"
        yield [(request, answer.rstrip("\n")) for request, answer in zip(parts[1::2], parts[2::2])]


def shown(value, indent=""):
    """As redis-cli prints it."""
    if isinstance(value, ErrorReply):
        return f"(error) {value.decode()}"
    if isinstance(value, Simple):
        return value.decode()
    if value is None:
        return "(nil)"
    if isinstance(value, int):
        return f"(integer) {value}"
    if isinstance(value, list):
        if not value:
            return "(empty array)"
        width = len(str(len(value)))
        inner = indent + " " * (width + 2)
        lines = [f"{number:>{width}}) {shown(element, inner)}" for number, element in enumerate(value, 1)]
        return f"\n{indent}".join(lines)
    return f'"{value.decode()}"'


def agree(got, expected, passed):
    """Equal, except for times that may have changed in `passed` seconds: milliseconds, and a minute in seconds."""
    split = re.compile(r"\(integer\) (-?\d+)")
    if split.sub("#", got) != split.sub("#", expected):
        return False
    pairs = zip(map(int, split.findall(got)), map(int, split.findall(expected)))
    return all(
        g == e or (e >= LARGE and e - math.ceil(passed * 1000) <= g <= e) or (e == 60 and 60 - passed <= g <= e)
        for g, e in pairs)


@pytest.mark.parametrize("conversation", list(conversations()), ids=lambda c: c[0][0])
def test_example(start, conversation):
    with start("--save", "").connect() as wire:
        clock = Countdown()
        for request, answer in conversation:
            got = shown(wire.call(*shlex.split(request)))
            assert agree(got, answer, clock.passed()), f"{request}\n{got}\nis not\n{answer}"


def test_every_command_of_the_limiter_has_an_example():
    requests = [request for conversation in conversations() for request, _ in conversation]
    document = (ROOT / "docs" / "commands.md").read_text()
    names = re.findall(r"^###+ (RL\.[A-Z ]+|INCR\w*|DECR\w*|[MP]?(?:GET|SET)(?:DEL|EX|SET|NX)?|STRLEN|COPY|RENAME(?:NX)?)$", document, re.MULTILINE)
    containers = {"RL.POLICY", "RL.RULE"}
    # HELP has its own test, and without a rules file RELOAD has nothing to show.
    plain = {"RL.POLICY HELP", "RL.RULE HELP", "RL.RULE RELOAD"}
    assert len(names) > 20
    for name in set(names) - containers - plain:
        assert any(r == name or r.startswith(name + " ") for r in requests), name
