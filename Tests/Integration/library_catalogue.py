"""The rate-limit libraries that are tested: what each is expected to do with Escapement, and what docs/libraries.md
says about it.

Owns the expectations. `test_libraries.py` measures, libraries/results.json records what was measured, and
`scripts/libraries-page` prints the page from both.
"""

import dataclasses
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent / "libraries"
RESULTS = HERE / "results.json"

PYTHON, RUBY, PHP = "PyPI", "Ruby", "PHP"

# What a library does with Escapement.
WORKS = "works"
REFUSES = "error"  # every call reports an error to its caller
OPEN = "fails open"  # calls pass that should not: the library hides the error


@dataclasses.dataclass(frozen=True)
class Library:
    name: str
    source: str
    expected: str = WORKS
    # Whether exactly the limit passes with eight threads. False for libraries that ask first and count afterwards.
    exact: bool = True
    # Whether it allows calls while it has no connection, with Redis as well.
    hides_errors: bool = False
    # Whether keys hold the same values as in Redis.
    values: bool = True
    # How it reaches the primary of a group.
    failover: str = "Sentinel"
    # For docs/libraries.md.
    remark: str = ""

    def command(self, venv):
        """The program that runs it."""
        programs = {
            PYTHON: [str(venv / "bin" / "python"), str(HERE / "python_limiters.py")],
            RUBY: ["ruby", str(HERE / "ruby_limiters.rb")],
            PHP: ["php", str(HERE / "php_limiters.php")],
        }
        return [*programs[self.source], self.name]


LOG_INSTEAD = "`RL.TAKE key LIMIT n PER t ALGO sliding-log` is the same limit, exact to the nanosecond."

LIBRARIES = [
    Library("limits fixed window", PYTHON),
    Library("limits sliding window counter", PYTHON),
    Library(
        "limits moving window", PYTHON, expected=REFUSES,
        remark=f"A list of timestamps. Use the strategy `SlidingWindowCounterRateLimiter`, or {LOG_INSTEAD}"),
    Library("limits asyncio fixed window", PYTHON),
    Library("limits asyncio fixed window, redis-py", PYTHON),
    Library("limits asyncio sliding window counter", PYTHON),
    Library("Flask-Limiter fixed window", PYTHON),
    Library(
        "Flask-Limiter sliding window counter", PYTHON,
        remark="`strategy=\"moving-window\"` is the moving window of limits, see there."),
    Library("slowapi", PYTHON),
    Library(
        "throttled-py gcra", PYTHON, values=False,
        remark="The key is one of Escapement's limiters: `RL.PEEK` reads it, GET does not."),
    Library("throttled-py fixed window", PYTHON),
    Library(
        "throttled-py sliding window", PYTHON, expected=REFUSES,
        remark="Use `using=\"gcra\"`, or `RL.TAKE key LIMIT n PER t ALGO sliding-window`."),
    Library(
        "throttled-py token bucket", PYTHON, expected=REFUSES,
        remark="This is its default. Use `using=\"gcra\"`, which admits the same bursts, or `RL.TAKE key LIMIT n PER t "
               "ALGO token-bucket`."),
    Library(
        "throttled-py leaking bucket", PYTHON, expected=REFUSES,
        remark="Use `using=\"gcra\"`."),
    Library(
        "fastapi-limiter", PYTHON,
        remark="0.1.6, the last release with a script. 0.2.0 builds on pyrate-limiter, which keeps sorted sets."),
    Library(
        "django-ratelimit, Django's cache", PYTHON, failover="HAProxy",
        remark="The window is part of the key. Other uses of the same cache need string values, so give the limiter a "
               "cache of its own with `RATELIMIT_USE_CACHE`."),
    Library(
        "django-ratelimit, django-redis", PYTHON, failover="HAProxy",
        remark="With the `/1` of its README. Give the limiter a cache of its own, as above."),
    Library("asgi-ratelimit", PYTHON),
    Library("python-redis-rate-limit", PYTHON),
    Library(
        "cashews rate_limit", PYTHON, hides_errors=True, failover="HAProxy",
        remark="It hides errors of the server, here and with Redis: while the server is down, every call passes. "
               "`cache.setup(…, suppress=False)` raises them."),
    Library(
        "cashews slice_rate_limit", PYTHON, expected=OPEN, failover="HAProxy",
        remark="A sorted set. Use `rate_limit`, or set `suppress=False` so that it does not pass every call."),
    Library("rack-attack throttle", RUBY),
    Library("rack-attack Fail2Ban", RUBY, exact=False),
    Library(
        "Laravel RateLimiter, phpredis", PHP, failover="HAProxy",
        remark="`attempt` asks, then counts: with Redis, too, more than the limit pass if they arrive together. What "
               "`hit` returns is exact. Its cache is in database 1."),
    Library("Laravel RateLimiter, predis", PHP, remark="As with phpredis."),
    Library(
        "Symfony RateLimiter", PHP, expected=OPEN, exact=False, failover="HAProxy",
        remark="Serialised objects. It hides the errors of its cache, so every call passes. Call `RL.TAKE` instead."),
]


def recorded():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"libraries": {}}
