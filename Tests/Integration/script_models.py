"""Scripts whose texts are in no package that the tests can install, in our own words: what they make a Redis do, as plain
commands to a real Redis. The values, the times to live and the errors are therefore that Redis's own; only the control
flow between the commands, and Lua's numbers, are repeated here. Each model gave the same replies as its script's true
text for 10,000 random calls of test_scripts.py.
"""

import math
import re

from wire import ErrorReply

LUA_ERROR = ErrorReply(b"ERR user_script: attempt to do something with nil")
NOT_INTEGER = ErrorReply(b"ERR value is not an integer or out of range")
NO_STRING = ErrorReply(b"ERR Lua redis lib command arguments must be strings or integers")


class Failed(Exception):
    """A command, or Lua, ended the script."""


def tonumber(text):
    """Lua's tonumber of a string: C's strtod, or a hexadecimal integer."""
    text = text.split(b"\0")[0].strip(b" \t\n\v\f\r")
    if re.fullmatch(rb"[+-]?0[xX][0-9a-fA-F]+", text):
        return float(int(text, 16))
    if re.fullmatch(rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf(inity)?|nan)", text, re.IGNORECASE):
        return float(text)
    return None


def sent(number):
    """A number that a script passes to a command."""
    if number is None:
        raise Failed(NO_STRING)
    return b"%.17g" % number


def returned(number):
    """A number that a script returns."""
    if math.isnan(number) or not -2.0**63 <= number < 2.0**63:
        return -(2**63)
    return int(number)


class Model:
    def __init__(self, wire):
        self.wire = wire

    def call(self, *words):
        reply = self.wire.call(*words)
        if isinstance(reply, ErrorReply):
            raise Failed(reply)
        return reply

    def run(self, script, keys, arguments):
        try:
            return script(self, keys, arguments)
        except Failed as problem:
            return problem.args[0]


def rate_limiter_flexible(redis, keys, arguments):
    (key,), (amount, seconds) = keys, arguments[:2]
    redis.call("SET", key, 0, "EX", seconds, "NX")
    value = redis.call("INCRBY", key, amount)
    left = redis.call("PTTL", key)
    if left == -1:
        redis.call("EXPIRE", key, seconds)
        left = returned(1000 * tonumber(seconds))
    return [returned(float(value)), left]


def rate_limit_redis(redis, keys, arguments):
    (key,), window = keys, tonumber(arguments[1])
    left = redis.call("PTTL", key)
    if left <= 0:
        redis.call("SET", key, 1, "PX", sent(window))
        return [1, returned(window)]
    hits = redis.call("INCR", key)
    if arguments[0] == b"1":
        redis.call("PEXPIRE", key, sent(window))
        left = returned(window)
    return [returned(float(hits)), left]


def rate_limit_redis_get(redis, keys, arguments):
    return [redis.call("GET", keys[0]), redis.call("PTTL", keys[0])]


def ulule(redis, keys, arguments):
    (key,), count, left = keys, tonumber(arguments[0]), tonumber(arguments[1])
    value = float(redis.call("INCRBY", key, arguments[0]))
    if value != count:
        return [returned(value), redis.call("PTTL", key)]
    if left is None:
        raise Failed(LUA_ERROR)
    if left > 0:
        redis.call("PEXPIRE", key, arguments[1])
    return [returned(value), returned(left)]


def ulule_peek(redis, keys, arguments):
    value = redis.call("GET", keys[0])
    return [0, 0] if value is None else [returned(tonumber(value)), redis.call("PTTL", keys[0])]


def throttled(redis, keys, arguments):
    value = redis.call("GET", keys[0])
    if value is None:
        return ErrorReply(b"key does not exist")
    if value != arguments[0]:
        return 0
    redis.call("SETEX", keys[0], arguments[2], arguments[1])
    return 1


class Clock:
    """The time at which a model of GCRA decides: a real Redis's."""

    @staticmethod
    def now(redis):
        seconds, micros = redis.call("TIME")
        return int(seconds) - 1483228800 + int(micros) / 1_000_000


def allowance(redis, keys, arguments):
    """What both scripts of redis_rate begin with."""
    burst, rate, period, cost = map(tonumber, arguments)
    interval = period / rate
    now = Clock.now(redis)
    stored = redis.call("GET", keys[0])
    arrival = max(tonumber(stored), now) if stored is not None else now
    return burst * interval, interval, cost, now, arrival


def refused(retry, reset):
    return [0, 0, b"%.14g" % retry, b"%.14g" % reset]


def granted(redis, keys, now, arrival, interval, cost, remaining):
    reset = arrival + interval * cost - now
    if reset > 0:
        redis.call("SET", keys[0], b"%.17g" % (arrival + interval * cost), "EX", math.ceil(reset))
    return [returned(cost), returned(remaining), b"-1", b"%.14g" % reset]


def redis_rate(redis, keys, arguments):
    tolerance, interval, cost, now, arrival = allowance(redis, keys, arguments)
    difference = now - (arrival + interval * cost - tolerance)
    if difference / interval < 0:
        return refused(-difference, arrival - now)
    return granted(redis, keys, now, arrival, interval, cost, difference / interval)


def redis_rate_at_most(redis, keys, arguments):
    tolerance, interval, cost, now, arrival = allowance(redis, keys, arguments)
    difference = now - (arrival - tolerance)
    remaining = difference / interval
    if remaining < 1:
        return refused(interval - difference, arrival - now)
    taken = min(cost, remaining)
    return granted(redis, keys, now, arrival, interval, taken, remaining - taken)


MODELS = {
    "a1de965f42e177aa339706bd580f049065eca79a": rate_limiter_flexible,
    "81dbecea94d2d10514719b20ed51faf711529d9d": rate_limit_redis,
    "6aeb97ed6086dcdeafdc6fda3999a0d0e38ec96a": rate_limit_redis_get,
    "f74233f556d3f99c50b61169cf8aa8d5deb63fb2": ulule,
    "566f5c6a17e5fddb9a10bf389f754edd0d899c61": ulule_peek,
    "ebd682e30de074a6919bde872b507734c7c3ebe5": throttled,
    "f52a5b566060d79fd321d695df55bc918339c4aa": redis_rate,
    "054143318f521948424aa25df61d7f7ba835a9d7": redis_rate_at_most,
}
