"""Random calls of the scripts in Sources/RespServer/Scripts, steered to their edge cases.

A `Row` is one script: its SHA-1 and a function that draws the keys and the arguments of a call. `chunk` draws a sequence
of steps: calls, and changes of the keys between them. Times are long, so that no key expires within a chunk unless it is
meant to, and none is so near to the edge of a window or of a unit that the pace of the machine could decide.
"""

import json

KEYS = [b"a", b"b", b"c"]
# Lua has only doubles: above 2^53 arithmetic rounds, and from 10^17 on a number is passed on with an exponent.
EDGES = [
    0, 1, 2, 3, -1, -5, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 10**17 - 1, 10**17, 2**62 + 1, 2**63 - 1,
    -(2**63), 2**63, 10**25]
ODD = [
    b"", b"abc", b"1.5", b"-0.5", b"1e3", b"0x10", b"-0x3", b" 7", b"7 ", b"\t8\n", b"+5", b"05", b"-0", b"0.0", b"1e400",
    b"inf", b"nan", b"--1", b"1_0", b"7\x00x", b"\xff\xfe", b"1.", b".5", b"9" * 30]
# Seconds; all well above the time that a chunk may take.
SECONDS = [5_000, 60_000, 86_400, 1_000_000]


def text(value):
    return value if isinstance(value, bytes) else str(value).encode()


class Draw:
    """Draws the parts of a call."""

    def __init__(self, dice):
        self.dice = dice

    def key(self):
        return self.dice.choice(KEYS)

    def amount(self, common=(1, 1, 1, 2, 5)):
        draw = self.dice.random()
        if draw < 0.80:
            return text(self.dice.choice(common))
        return text(self.dice.choice(EDGES if draw < 0.92 else ODD))

    def time(self, unit):
        """A time to live in seconds (unit 1) or milliseconds (1000)."""
        draw = self.dice.random()
        if draw < 0.86:
            return text(self.dice.choice(SECONDS) * unit)
        # Times that are too long for this server's calendar, but not for Redis's, are none of a limiter's.
        if draw < 0.93:
            return text(self.dice.choice([0, -1, -100_000, 2**63 - 1, -(2**63), 2**63]))
        long = 500_000 * unit
        return self.dice.choice(
            [b"", b"abc", b"inf", b"nan", b"-0", b"1e400", b" %d" % long, b"%d\t" % long, b"+%d" % long, b"0%d" % long,
             b"%d.0" % long, b"%d.5" % long, b"%d\x00x" % long, b"0x%x" % long, b"5e5" if unit == 1 else b"5e8"])

    def number(self, common):
        """A number to store: an integer, since this server has nothing else."""
        draw = self.dice.random()
        return text(self.dice.choice(common) if draw < 0.85 else self.dice.choice([0, -1, 2**53 + 1, 10**17 - 1]))


class Row:
    def __init__(self, sha1, name, draw, kinds=("counter", "wrong"), calls=10_000):
        self.sha1, self.name, self.draw, self.kinds, self.calls = sha1, name, draw, kinds, calls

    def __repr__(self):
        return self.name


def window(draw):
    """Nearly always the same: with another one, the previous window's share could be just a whole number."""
    if draw.dice.random() < 0.9:
        return b"1000000"
    return text(draw.dice.choice([0, -1, -100_000, b"", b"abc", b"nan", b" 1000000", b"1000000.0", b"0xf4240", b"1e6"]))


def sliding(draw):
    limit = draw.dice.choice([1, 3, 10, 10, 100, 2**53 + 10]) if draw.dice.random() < 0.9 else draw.amount()
    # As a double, 10^17 - 1 is 10^17, which Redis would store as 1e+17.
    cost = draw.number([1, 1, 1, 2, 7]).replace(b"99999999999999999", b"9999999999999999")
    return [b"a", b"b"], [text(limit), window(draw), cost]


def countdown(draw):
    keys = draw.dice.sample(KEYS, draw.dice.randint(1, 3))
    if draw.dice.random() < 0.02:
        keys = []
    rules = {key.decode(): [draw.dice.choice([1, 2, 5, 0, -1]), draw.dice.choice(SECONDS)] for key in keys}
    if draw.dice.random() < 0.1:
        rules["more"] = [1, 1]
    return keys, [json.dumps(rules).encode()]


def throttled_py(draw):
    """The interval belongs to the key: a limit that changes is compared elsewhere."""
    key = draw.key()
    interval = {b"a": 100_000 / 7, b"b": 3600.0, b"c": 2e5}[key]
    capacity, cost = draw.dice.choice([0, 1, 5, 10, 10, 10]), draw.dice.choice([0, 1, 1, 1, 2, 11])
    return [key], [text(interval), text(capacity), text(cost)]


def redis_rate(draw):
    """With an interval that is no binary fraction the script itself rounds: it returns 8 units left where 9 are."""
    key = draw.key()
    rate, period = {b"a": (8, "100000"), b"b": (1, "3600"), b"c": (2, "1000000.5")}[key]
    burst = draw.dice.choice([0, 1, 5, 10, 10, 10])
    return [key], [text(burst), text(rate), text(period), text(draw.dice.choice([0, 1, 1, 1, 2, 3, 11]))]


def one(*arguments):
    return lambda draw: ([draw.key()], [argument(draw) for argument in arguments])


def seconds(draw):
    return draw.time(1)


def milliseconds(draw):
    return draw.time(1000)


def amount(draw):
    return draw.amount()


ROWS = [
    Row("a1de965f42e177aa339706bd580f049065eca79a", "rate-limiter-flexible",
        lambda draw: ([draw.key()], [draw.amount(), draw.time(1)] + [b"5", b"60"] * draw.dice.randint(0, 1))),
    Row("628bd136a573a06b346879695681af12ccef300f", "limits fixed window", one(seconds, amount)),
    Row("d406c4243550d71abd3377b0046fcc528a2ce18f", "python-redis-rate-limit", one(seconds, amount)),
    Row("f74233f556d3f99c50b61169cf8aa8d5deb63fb2", "ulule", one(amount, milliseconds)),
    Row("566f5c6a17e5fddb9a10bf389f754edd0d899c61", "ulule peek", one()),
    Row("0f8a745c1b5efe281bd1299ea0d1b2994c6ae601", "cashews", one(amount, milliseconds)),
    Row("81dbecea94d2d10514719b20ed51faf711529d9d", "rate-limit-redis",
        one(lambda draw: draw.dice.choice([b"0", b"1", b"0", b"x"]), milliseconds)),
    Row("6aeb97ed6086dcdeafdc6fda3999a0d0e38ec96a", "rate-limit-redis get", one()),
    Row("a3f9e982197e9e887f6b5dcb7ec273863bb83aad", "fastapi-limiter",
        one(lambda draw: draw.amount((1, 3, 3, 10)), milliseconds)),
    Row("283a893bdb53a688600eff30001e6fb4e4ebd4f5", "asgi-ratelimit", countdown),
    Row("e8ac2a60cb040b0dbb56815a1e9c6fd032ce62e7", "limits sliding window", sliding, ("window", "wrong")),
    Row("e7a0a27d4101baabb124af209bb0245197a359a1", "limits sliding window look",
        lambda draw: ([b"a", b"b"], [window(draw)]), ("window", "wrong")),
    Row("f2994557f1daca13bfef97c2a31ca4b174e031ca", "limits reset",
        lambda draw: ([draw.dice.choice([b"a", b"*", b"[ab]", b"?", b"x*", b"", b"a\\", b"[", b"[^a]", b"**a"])], [])),
    Row("a08c9c69b7c07ae2485190873b90d128a23e502d", "Laravel add",
        one(lambda draw: draw.number([1, 5, -3]), seconds)),
    Row("f4a7da3e5d8ea3b46642af08427151cae0190400", "django-redis incr", one(amount)),
    Row("4d15273b16b10c15e1d9202cbe93c959ab7d250b", "django-redis incr unchecked", one(amount)),
    Row("ebd682e30de074a6919bde872b507734c7c3ebe5", "throttled/throttled",
        one(lambda draw: draw.amount((1, 2, 3)), lambda draw: draw.number([1, 2, 3]), seconds)),
    Row("6451cdc7599bd26c524ecfadb8e3daa985d63baf", "throttled-py", throttled_py, ("rate", "counter-free")),
    Row("90b6d68823beeb34f07442b055f7712786bb4247", "throttled-py peek",
        lambda draw: (lambda keys, arguments: (keys, arguments[:2]))(*throttled_py(draw)), ("taken",)),
    Row("f52a5b566060d79fd321d695df55bc918339c4aa", "redis_rate AllowN", redis_rate, ("rate",)),
    Row("054143318f521948424aa25df61d7f7ba835a9d7", "redis_rate AllowAtMost", redis_rate, ("rate",)),
]
SHA1S = {row.name: row.sha1 for row in ROWS}


def chunk(row, dice, length):
    """Steps: ("call", keys, arguments) or ("do", commands for this server, commands for Redis)."""
    draw = Draw(dice)
    steps = []
    while len(steps) < length:
        if dice.random() < 0.8:
            steps.append(("call", *row.draw(draw)))
        else:
            steps.append(change(row, draw))
    return steps


def change(row, draw):
    dice, key = draw.dice, draw.key()
    kind = dice.choice(row.kinds)
    if kind in ("rate", "counter-free") or dice.random() < 0.4:
        return both(["DEL", key])
    if kind == "wrong":
        # A limiter here, a list there, with the same time to live.
        # Not a window of the calls: whether exactly one is left would depend on the millisecond.
        period = dice.choice([1_234, 700_000])
        return ("do", [["DEL", key], ["CL.THROTTLE", key, 0, 1, period]],
                [["DEL", key], ["LPUSH", key, 1], ["EXPIRE", key, period]])
    if kind == "taken":
        # A state of the same limit, made by the script that takes.
        keys, arguments = throttled_py(draw)
        return both(["EVALSHA", SHA1S["throttled-py"], 1, keys[0], *arguments])
    if kind == "window":
        # Far from where the share of the previous window is a whole number, whatever its count below 97.
        left = 1_000_000_000 * (2 * dice.choice([3, 20, 55, 96]) + 1) // 194
        return both(["SET", key, dice.choice([0, 1, 3, 9, 96]), *dice.choice([["PX", left], ["PX", left], []])])
    values = [value for value in EDGES if -(2**63) <= value < 2**63]
    return both(["SET", key, dice.choice(values), *dice.choice([["EX", dice.choice(SECONDS)], []])])


def both(*commands):
    return ("do", list(commands), list(commands))
