"""The scripts that limiter libraries send, answered without Lua: compared with redis-server running the library's text.

For every script 10,000 random calls go to both servers, then the keys, their values and their times to live are
compared. Where no installed package has the text (rate-limiter-flexible, rate-limit-redis, redis_rate, ulule/limiter,
throttled/throttled), redis-server runs a model of it instead: see script_models.py, and `COMPARED` below.
"""

import re
import time

import pytest

import script_texts
from conftest import missing
from dice import seeded
from script_calls import KEYS, ROWS, chunk
from script_models import MODELS, Model
from wire import ErrorReply, Wire, command, eventually

CHUNK = 100
# Rounding to milliseconds on both sides.
SLACK = 3


def normal(reply):
    """An error as far as both servers can have the same: without the line of the text, and without what Lua and this
    server add. Other replies as they are."""
    if isinstance(reply, list):
        return [normal(element) for element in reply]
    if not isinstance(reply, ErrorReply):
        return reply
    text = bytes(reply)
    if text.startswith(b"ERR user_script"):
        return ErrorReply(b"an error of Lua")
    text = re.sub(rb" script: [0-9a-f]{40}(, on @user_script:\d+\.)?(\r\n)?$", b"", text)
    text = re.sub(rb"(kind of value): it holds .*, this needs [a-z ]+", rb"\1", text)
    return ErrorReply(text)


def is_time(value):
    """Whether a number is a time in milliseconds, by its size: no other number in these calls is as large."""
    return isinstance(value, int) and 1_000_000 < value < 2_100_000_000


def same(mine, theirs, passed):
    """Whether two replies are equal; numbers that are times may differ by the time that has passed."""
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(same(*pair, passed) for pair in zip(mine, theirs))
    if mine == theirs:
        return type(mine) is type(theirs)
    if is_time(mine) and is_time(theirs):
        return abs(mine - theirs) <= passed * 1000 + SLACK
    if isinstance(mine, bytes) and isinstance(theirs, bytes) and not isinstance(mine, ErrorReply):
        # Seconds as text.
        return re.fullmatch(rb"-?\d+(\.\d+)?", mine) and abs(float(mine) - float(theirs)) <= passed + 0.001
    return False


class Redis:
    """redis-server, which runs a script by its text or by its model."""

    def __init__(self, wire, row):
        self.wire, self.row = wire, row
        self.model = None
        text = script_texts.find(row.sha1)
        if text is not None:
            assert wire.call("SCRIPT", "LOAD", text) == row.sha1.encode()
        elif row.sha1 in MODELS:
            self.model = MODELS[row.sha1]
        else:
            missing(f"no installed package has the script of {row.name}")

    def run(self, steps):
        if self.model is None:
            return pipelined(self.wire, [requests(step, 2, self.row) for step in steps])
        replies = []
        for step in steps:
            if step[0] == "call":
                replies.append(Model(self.wire).run(self.model, *step[1:]))
            else:
                pipelined(self.wire, [step[2]])
                replies.append(None)
        return replies


def requests(step, side, row):
    if step[0] == "call":
        return [["EVALSHA", row.sha1, len(step[1]), *step[1], *step[2]]]
    return step[side]


def pipelined(wire, groups):
    """The reply to a call, None for a group of other commands."""
    wire.send(b"".join(command(*request) for group in groups for request in group))
    replies = [[wire.read() for _ in group] for group in groups]
    return [reply[0] if group[0][0] == "EVALSHA" else None for group, reply in zip(groups, replies)]


def state(wire):
    return [wire.call("MGET", *KEYS), [wire.call("PTTL", key) for key in KEYS], wire.call("EXISTS", *KEYS)]


def compare(row, mine, redis, steps, seed_note):
    for wire in (mine, redis.wire):
        wire.ok("FLUSHALL")
    began = time.monotonic()
    answers = pipelined(mine, [requests(step, 1, row) for step in steps])
    expected = redis.run(steps)
    passed = time.monotonic() - began
    for position, (got, wanted) in enumerate(zip(answers, expected)):
        assert same(normal(got), normal(wanted), passed), (
            f"{row.name}, step {position} of {seed_note}: {steps[position]} answered {got!r}, Redis {wanted!r}; before:"
            f" {steps[max(0, position - 8):position]}")
    states = [state(mine), state(redis.wire)]
    passed = time.monotonic() - began
    if "rate" not in row.kinds and "taken" not in row.kinds:
        assert same(*states, passed), f"{row.name}, after {seed_note}: {states}, steps {steps}"
    else:
        assert states[0][2] == states[1][2], f"{row.name}: {states}"
    return sum(step[0] == "call" for step in steps)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_replies_and_effects_are_those_of_redis(wire, reference, row):
    dice = seeded(f"scripts {row.name}")
    with reference.connect() as other:
        redis = Redis(other, row)
        if "taken" in row.kinds:
            assert other.call("SCRIPT", "LOAD", script_texts.find("6451cdc7599bd26c524ecfadb8e3daa985d63baf"))
        calls = number = 0
        while calls < row.calls:
            number += 1
            calls += compare(row, wire, redis, chunk(row, dice, CHUNK), f"chunk {number}")
    print(f"{row.name}: {calls} calls, compared with {'a model' if redis.model else 'its text'}")


@pytest.mark.parametrize("row", [row for row in ROWS if row.sha1 in MODELS], ids=str)
def test_the_rows_compared_with_models_are_the_ones_without_a_text(row):
    assert script_texts.find(row.sha1) is None, "compare it with its text, which a package has now"
