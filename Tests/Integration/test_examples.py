"""The reference (docs/commands.md, docs/redis-commands.md) tells the truth: each example is run verbatim against the real
server in both protocols, each reply has one of the listed forms, and each error is the reply to its requests."""

import math
import re
import shlex

import pytest

from clock import Countdown
from server import ROOT
from wire import ErrorReply, MapReply, Push, Simple, Verbatim, eventually

PAGES = ["commands.md", "redis-commands.md"]
# Numbers from here on are times in milliseconds, which change while the server answers.
LARGE = 1000
# The forms of a reply, in the words of the reference, and the types that they have in RESP2 and RESP3. A nil is None.
FORMS = {
    "`OK`": (Simple, Simple),
    "simple string": (Simple, Simple),
    "integer": (int, int),
    "bulk string": (bytes, bytes),
    "nil": (type(None), type(None)),
    "array": (list, list),
    "array of names and values in RESP2, map in RESP3": (list, MapReply),
    "array of the values in RESP2, map in RESP3": (list, MapReply),
    "array in RESP2, push in RESP3": (list, Push),
    "bulk string in RESP2, verbatim string in RESP3": (bytes, Verbatim),
    "no reply": (None, None),
    "error": (ErrorReply, ErrorReply),
}


class Entry:
    """The part of the reference about one command."""

    def __init__(self, name, text):
        self.name = name
        self.text = text
        listed = re.search(r"^- Reply:(?: (.+)|\n((?:  - .+\n)+))", text, re.MULTILINE)
        lines = [] if not listed else [listed[1]] if listed[1] else re.findall(r"^  - (.+)$", listed[2], re.MULTILINE)
        self.forms = [next(form for form in FORMS if line == form or line.startswith(form + ":")) for line in lines]

    def conversations(self):
        """[(request, reply), ...] of each block of examples."""
        for block in re.findall(r"^```redis-cli\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE):
            parts = re.split(r"^> (.*)\n", block, flags=re.MULTILINE)
            assert parts[0] == "", "a conversation begins with a request"
            yield [(request, reply.rstrip("\n")) for request, reply in zip(parts[1::2], parts[2::2])]

    def errors(self):
        """(error, [request, ...]) of each row that has requests."""
        rows = re.findall(r"^\| `(.*?)` \| .*? \| (`.*`) \|$", self.text, re.MULTILINE)
        return [(error.replace("\\|", "|"), re.findall(r"`([^`]+)`", cell.replace("\\|", "|"))) for error, cell in rows]

    def concerns(self, request):
        """Whether a request is one of this command's, and not of a subcommand of the same name."""
        words = request.upper().split()
        return " ".join(words[: len(self.name.split())]) == self.name


def entries():
    for page in PAGES:
        text = (ROOT / "docs" / page).read_text()
        parts = re.split(r"^##+ (.+)$", text, flags=re.MULTILINE)
        for name, body in zip(parts[1::2], parts[2::2]):
            yield Entry(name, body)


ENTRIES = list(entries())
COMMANDS = [entry for entry in ENTRIES if entry.forms]
# Replies that show the moment, the machine or all commands, those that only redis-server's own replicas request, and those
# that end the server or the connection in a way of its own. Each has tests of its own.
WITHOUT_EXAMPLES = set()


def shown(value, indent=""):
    """As redis-cli prints it under RESP2."""
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
    text = value.decode()
    # Of several lines: INFO, CLIENT LIST and the like, which redis-cli prints verbatim.
    return text.replace("\r\n", "\n").rstrip("\n") if "\n" in text else f'"{text}"'


def pattern(text):
    """A regular expression for a text in which `...` stands for any text."""
    return re.escape(text).replace(re.escape("..."), r"[\s\S]*?")


def agree(got, expected, passed):
    """Equal, except for `...`, and for times that may have changed in `passed` seconds: milliseconds, and a minute in
    seconds."""
    expected = re.sub(r"(\(integer\) -?\d+) {2,}.*", r"\1", expected)  # what a reader is told about a number
    parts = re.split(r"\(integer\) (-?\d+)", expected)
    match = re.fullmatch(r"\(integer\) (-?\d+)".join(map(pattern, parts[0::2])), got)
    return match is not None and all(
        g == e or (e >= LARGE and e - math.ceil(passed * 1000) <= g <= e) or (e == 60 and 60 - passed <= g <= e)
        for g, e in zip(map(int, match.groups()), map(int, parts[1::2])))


def has_form(reply, entry, protocol):
    if isinstance(reply, ErrorReply):
        return True  # compared with the example as a text
    types = [FORMS[form][protocol - 2] for form in entry.forms]
    return any(kind is not None and type(reply) is kind for kind in types)


def takes_snapshot(wire):
    fields = wire.call("INFO", "persistence").split(b"\r\n")
    return not {b"rdb_bgsave_in_progress:0", b"aof_rewrite_in_progress:0", b"aof_rewrite_scheduled:0"} <= set(fields)


@pytest.fixture
def empty(module_server):
    """A connection to a primary without keys, policies, rules, counts and changed settings, which takes no snapshot."""
    with module_server.connect() as wire:
        defaults = dict(zip(*[iter(wire.call("CONFIG", "GET", "*"))] * 2))
    with module_server.connect() as wire:
        yield wire
    with module_server.connect() as wire:
        if wire.call("ROLE")[0] == b"slave":
            wire.ok("REPLICAOF", "NO", "ONE")
        eventually(lambda: not takes_snapshot(wire), "the snapshot is done")
        wire.ok("FLUSHALL")
        for rule in wire.call("RL.RULE", "LIST"):
            assert wire.call("RL.RULE", "DEL", *rule[1:6:2]) == 1
        for policy in wire.call("RL.POLICY", "LIST"):
            assert wire.call("RL.POLICY", "DEL", policy[1]) == 1
        now = dict(zip(*[iter(wire.call("CONFIG", "GET", "*"))] * 2))
        for name, value in defaults.items():
            if now[name] != value:
                wire.ok("CONFIG", "SET", name, value)
        wire.ok("SCRIPT", "FLUSH")
        wire.ok("CLIENT", "UNPAUSE")
        wire.ok("SLOWLOG", "RESET")


def with_conversations():
    return [
        pytest.param(entry, conversation, protocol, id=f"{conversation[0][0]}-{protocol}")
        for entry in ENTRIES
        for conversation in entry.conversations()
        for protocol in (2, 3)
    ]


@pytest.mark.parametrize("entry, conversation, protocol", with_conversations())
def test_example(empty, entry, conversation, protocol):
    if protocol == 3:
        empty.hello3()
    clock = Countdown()
    for request, reply in conversation:
        got = empty.call(*shlex.split(request))
        if protocol == 2:
            text = shown(got)
            assert agree(text, reply, clock.passed()), f"{request}\n{text}\nis not\n{reply}"
        if entry.concerns(request):
            assert has_form(got, entry, protocol), f"{request} replies {type(got)}: {got!r}, listed are {entry.forms}"


@pytest.mark.parametrize(
    "error, requests",
    [
        pytest.param(error, requests, id=f"{entry.name}-{requests[-1]}")
        for entry in ENTRIES
        for error, requests in entry.errors()
    ],
)
def test_error(empty, error, requests):
    *before, last = requests
    for request in before:
        reply = empty.call(*shlex.split(request))
        assert not isinstance(reply, ErrorReply), f"{request}: {reply!r}"
    reply = empty.call(*shlex.split(last))
    assert isinstance(reply, ErrorReply), f"{last}: {reply!r}"
    assert re.match(pattern(error), reply.decode()), f"{last}: {reply.decode()}"


def test_every_command_has_an_example():
    without = {
        entry.name
        for entry in COMMANDS
        if not entry.name.endswith(" HELP")
        and not any(entry.concerns(request) for block in entry.conversations() for request, _ in block)
    }
    assert without == WITHOUT_EXAMPLES


def test_every_form_is_used():
    """A form that no command has would be a word that no test can check."""
    assert {form for entry in COMMANDS for form in entry.forms} == set(FORMS)
