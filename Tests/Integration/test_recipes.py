"""docs/recipes.md: its code, run verbatim against the real server, with a reader's expectations."""

import re

import pytest
import redis

from clock import Countdown, milliseconds
from server import ROOT


@pytest.fixture
def recipes(start, tmp_path):
    """The names that all Python blocks of the document define, in one module, with one server that has all its rules."""
    text = (ROOT / "docs" / "recipes.md").read_text()
    rules = tmp_path / "limits.rules"
    rules.write_text("".join(re.findall(r"^```rules\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)))
    server = start("--rules-file", rules)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        exec(compile(block.replace("port=6379", f"port={server.port}"), "docs/recipes.md", "exec"), names)
    yield names
    names["limiter"].close()


def test_tiers(recipes):
    may_pass = recipes["may_pass"]
    clock = Countdown()
    assert 10 <= sum(may_pass("somebody") for _ in range(15)) <= 10 + clock.passed()
    assert sum(may_pass("key-of-a-customer") for _ in range(15)) == 15


def test_tiers_changed_at_run_time(recipes):
    def limit():
        return recipes["limiter"].execute_command("RL.CHECK", "api", "new-customer", "any", "COST", 0)[2]

    assert limit() == 10
    recipes["upgrade"]("new-customer")
    assert limit() == 500
    recipes["downgrade"]("new-customer")
    assert limit() == 10
    assert recipes["limiter"].execute_command("RL.POLICY", "GET", "trial")[5] == 30


def test_addresses(recipes):
    clock = Countdown()
    passed = sum(recipes["visit"]("192.0.2.1") for _ in range(110))
    assert 100 <= passed <= 100 + clock.passed() * 100 / 60, "plus the units replenished in between"
    assert recipes["visit"]("192.0.2.2")


def test_logins(recipes):
    may_try, left = recipes["may_try_login"], milliseconds()
    assert [may_try("ann", "192.0.2.1")[0] for _ in range(6)] == [True] * 5 + [False]
    assert may_try("ann", "192.0.2.1")[1] == left(600_000)
    assert recipes["limiter"].execute_command(
        "RL.PEEK", "login-from:192.0.2.1", "LIMIT", 50, "PER", "1h")[3] == 45, "a refused try costs the address nothing"
    recipes["logged_in"]("ann")
    assert may_try("ann", "192.0.2.1")[0]
    assert sum(recipes["may_register"]("192.0.2.1") for _ in range(4)) in (3, 4), "midnight may pass in between"


def test_rules(recipes):
    def limit(*names):
        return recipes["limiter"].execute_command("RL.CHECK", *names, "COST", 0)[2]

    assert limit("other", "alice", "read") == 100 and limit("other", "alice", "search") == 10
    assert limit("acme", "alice", "read") == 1000 and limit("acme", "alice", "search") == 5000
    assert not recipes["allowed"]("acme", "robot", "search")
    assert all(recipes["allowed"]("other", "monitoring", "search") for _ in range(50))


def test_headers(recipes):
    headers = recipes["headers"]
    take, left = ("RL.TAKE", "h", "LIMIT", 1, "PER", "90s"), Countdown()
    assert headers(recipes["limiter"].execute_command(*take)) == (
        200, {"RateLimit-Limit": "1", "RateLimit-Remaining": "0", "RateLimit-Reset": "90"})
    status, fields = headers(recipes["limiter"].execute_command(*take))
    assert status == 429 and int(fields["Retry-After"]) == left(90)
    assert "Retry-After" not in headers(recipes["limiter"].execute_command(*take, "COST", 2))[1], "it can never be allowed"


def test_language_models(recipes):
    def left():
        return recipes["limiter"].execute_command("RL.PEEK", "llm:ann", *recipes["BUDGET"])[3]

    def back():
        """The maximum number of units replenished since: a hundred thousand an hour."""
        return 1 + clock.passed() * 100_000 / 3600

    clock = Countdown()
    assert recipes["begin"]("ann", "r1", 50_000) and recipes["begin"]("ann", "r1", 50_000)
    assert 50_000 <= left() <= 50_000 + back(), "counted once"
    recipes["settle"]("ann", 50_000, 10_000)
    assert 90_000 <= left() <= 90_000 + back()
    assert not recipes["begin"]("ann", "r2", 99_900)
    recipes["settle"]("ann", 0, 99_000)
    assert left() <= back()


def test_counters(recipes):
    left = Countdown()
    hits = [recipes["hit"]("page") for _ in range(70)]
    assert left.passed() >= 60 or sum(hits) == 60
    assert left.passed() >= 60 or recipes["limiter"].ttl("page") == left(60)
