"""Runs the tests of the `limits` library itself on the storage of this package:

    pip download --no-deps --no-binary :all: limits==5.8.0 && tar xf limits-5.8.0.tar.gz
    python limits_own_tests.py limits-5.8.0 [pytest arguments]

It copies limits' tests, replaces the list of storages by `escapement://` and `async+escapement://`,
and the fixtures that start other servers by one that starts Escapement. Needs pytest,
pytest-asyncio, pytest-lazy-fixtures and flaky.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from server import Server

CONFTEST = """
import pytest
import redis
import escapement.limits

URL = "{url}"


@pytest.fixture
def escapement_server():
    client = redis.Redis.from_url(URL, protocol=2)
    client.flushall()
    return client
"""

# The time-out is for a busy machine.
OPTIONS = '{{"timeout": 30}}, lf("escapement_server")'
SYNC = f'pytest.param("escapement://{{address}}", {OPTIONS}, id="escapement")'
ASYNC = f'pytest.param("async+escapement://{{address}}", {OPTIONS}, id="async")'


def main() -> int:
    source, arguments = pathlib.Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        server = Server(directory / "data")
        address = f"127.0.0.1:{server.port}"
        try:
            tests = directory / "tests"
            shutil.copytree(source / "tests", tests)
            (tests / "conftest.py").write_text(CONFTEST.format(url=server.url))
            edit(tests / "utils.py", storages, address)
            edit(tests / "test_storage.py", concrete, address, "EscapementStorage", SYNC)
            edit(tests / "aio/test_storage.py", concrete, address, "AsyncEscapementStorage", ASYNC)
            return subprocess.run(
                [
                    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                    *("-c", "/dev/null", "-o", "asyncio_mode=auto", "--rootdir", str(directory)),
                    *("tests/test_strategy.py", "tests/test_storage.py", "tests/integration"),
                    *("tests/aio/test_strategy.py", "tests/aio/test_storage.py"),
                    *("tests/storage", "tests/aio/storage", "-k", "escapement or async"),
                    *arguments,
                ],
                cwd=directory,
            ).returncode
        finally:
            server.remove()


def edit(path: pathlib.Path, change, *arguments: str) -> None:
    path.write_text(change(path.read_text(), *arguments))


def storages(text: str, address: str) -> str:
    """utils.py: the dictionaries of all storages. The name `redis` selects tests of the prefix."""
    for name, storage in (("ALL_STORAGES", SYNC), ("ALL_STORAGES_ASYNC", ASYNC)):
        entry = storage.format(address=address)
        text, count = re.subn(
            rf"(?ms)^{name} = {{$.*?^}}$", f'{name} = {{"redis": {entry}}}', text, count=1
        )
        assert count == 1, name
    return text


def concrete(text: str, address: str, kind: str, storage: str) -> str:
    """test_storage.py: the storages of TestConcreteStorages or its like."""
    entry = storage.format(address=address).replace(", lf", f", {kind}, lf")
    text, count = re.subn(
        r'(?ms)("uri, args, expected_instance, fixture",\n    )\[$.*?^    \],$',
        lambda match: f"{match[1]}[{entry}],",
        text,
    )
    assert count == 1, count
    return f"from escapement.limits import {kind}\n" + text.replace(
        "from __future__ import annotations\n", "", 1
    )


if __name__ == "__main__":
    sys.exit(main())
