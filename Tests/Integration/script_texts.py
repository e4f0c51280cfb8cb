"""The texts of the scripts that libraries send, taken from the installed packages: this repository has none of them.

`find(sha1)` returns the text with this SHA-1, or None if no installed package has it. Texts are found, not located: every
string constant and every .lua file of a package is hashed, so a release that moves its script changes nothing here, and
one that changes its text is noticed.
"""

import ast
import functools
import hashlib
import importlib.util
import pathlib
import re

from server import ROOT

# Packages of PyPI, by module; and a file of Debian's php-illuminate-cache.
MODULES = ["limits", "redis_rate_limit", "django_redis", "cashews", "fastapi_limiter", "ratelimit", "throttled"]
PHP_FILES = ["/usr/share/php/Illuminate/Cache/RedisStore.php"]


def find(sha1):
    """The text, as bytes."""
    return texts().get(sha1)


@functools.cache
def texts():
    found = {}
    for module in MODULES:
        for folder in folders(module):
            for path in sorted(folder.rglob("*.lua")):
                add(found, path.read_bytes())
            for path in sorted(folder.rglob("*.py")):
                for constant in constants(path):
                    add(found, constant)
    for path in map(pathlib.Path, PHP_FILES):
        if path.exists():
            for text in re.findall(rb'"(return redis[^"]*)"', path.read_bytes()):
                add(found, text)
    return found


def add(found, text):
    # cashews sends its scripts in one line.
    for variant in (text, text.replace(b"\n", b" ")):
        found[hashlib.sha1(variant).hexdigest()] = variant


def folders(module):
    """Where a module is, in .build/venv-libraries or in the environment of these tests."""
    found = sorted((ROOT / ".build" / "venv-libraries" / "lib").glob(f"python*/site-packages/{module}"))
    if found:
        return found
    spec = importlib.util.find_spec(module)
    return [pathlib.Path(place) for place in spec.submodule_search_locations or []] if spec else []


def constants(path):
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            value = node.value if isinstance(node.value, bytes) else node.value.encode()
            if b"redis.call" in value:
                yield value
