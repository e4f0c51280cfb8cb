"""The process's arguments: they arrive whatever libraries are preloaded, and unusable ones are refused.

A server that loses its arguments runs with defaults: another port, other data and no password.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import missing
from server import ROOT, find_binary, free_port, run_to_end

# What libfaketime and similar libraries do: the constructor of another library, such as the Swift runtime, calls a
# function that they replace, and their setup calls setenv, which moves `environ` away from the arguments.
MOVES_ENVIRON = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

FILE *fopen(const char *path, const char *mode) {
    setenv("ESCAPEMENT_TEST_MOVED", "1", 1);
    FILE *(*original)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen");
    return original(path, mode);
}

__attribute__((constructor)) static void move(void) { setenv("ESCAPEMENT_TEST_MOVED", "2", 1); }
"""


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """An environment in which a preloaded library calls setenv before main."""
    compiler = next(filter(None, map(shutil.which, ["cc", "gcc", "clang"])), None)
    if compiler is None:
        missing("no C compiler")
    directory = tmp_path_factory.mktemp("preload")
    source, library = directory / "move.c", directory / "move.so"
    source.write_text(MOVES_ENVIRON)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


def test_a_preloaded_library_that_calls_setenv(start, preloaded):
    server = start("--hz", "37", password="secret", environment=preloaded)
    with server.connect(authenticate=False) as wire:
        assert wire.call("PING") == b"NOAUTH Authentication required."
        wire.ok("AUTH", "secret")
        assert wire.call("CONFIG", "GET", "hz") == [b"hz", b"37"]
        assert wire.call("CONFIG", "GET", "dir") == [b"dir", str(server.directory).encode()]


@pytest.mark.parametrize("arguments, status, text", [
    (["--version"], 0, "escapement "), (["--print-config"], 0, "maxclients"), (["check", "/nonexistent"], 1, "nonexistent"),
    (["--prot", "7000"], 1, "unknown option '--prot'"),
])
def test_other_modes_with_a_preloaded_library(tmp_path, preloaded, arguments, status, text):
    found, output = run_to_end(*arguments, cwd=tmp_path, environment=preloaded)
    assert found == status and text in output


def test_the_benchmark_tool_with_a_preloaded_library(preloaded):
    builds = [pathlib.Path(find_binary()).parent, *(ROOT / ".build" / kind for kind in ("release", "debug", "thread/debug"))]
    tool = next((build / "loadtest" for build in builds if os.access(build / "loadtest", os.X_OK)), None)
    if tool is None:
        pytest.skip("loadtest is not built")
    done = subprocess.run([tool, "nonsense"], capture_output=True, env={**os.environ, **preloaded}, cwd=ROOT)
    assert done.returncode == 2 and b"unknown subcommand 'nonsense'" in done.stderr


@pytest.mark.parametrize("arguments, complaint", [
    ([b"\xff"], "argument 1 is not valid UTF-8"),
    (["--dir", b"/tmp/\xff"], "argument 2, after '--dir', is not valid UTF-8"),
    (["--requirepass", b"hunter2\xc3"], "argument 2, after '--requirepass', is not valid UTF-8"),
    ([b"--requirepass=hunter2\xc3"], "argument 1 is not valid UTF-8"),
    (["--requirepass=hunter2", b"\xed\xa0\x80"], "argument 2, after '--requirepass', is not valid UTF-8"),
    (["dump", b"\xff"], "argument 2 is not valid UTF-8"),
    ([""], "cannot read configuration file ''"),
    (["--port", ""], "--port: '' is not valid"),
    (["--dir", ""], "--dir: '' is not valid"),
    (["--", "x"], "unknown option '--'"),
], ids=repr)
def test_unusable_arguments_are_named(tmp_path, arguments, complaint):
    # A separate port, in case the program starts serving after all.
    status, output = run_to_end(*arguments, "--port", free_port(), cwd=tmp_path, seconds=5)
    assert status == 1 and output.startswith("escapement: ") and len(output.splitlines()) == 1
    assert complaint in output and "hunter2" not in output
    assert os.listdir(tmp_path) == [], "nothing was created"


def test_an_empty_argument_is_a_value(start):
    """For settings that may be empty."""
    server = start("--requirepass", "", "--logfile", "", "--save", "", "--hz", "21")
    with server.connect() as wire:
        assert wire.call("CONFIG", "GET", "requirepass") == [b"requirepass", b""]
        assert wire.call("CONFIG", "GET", "save") == [b"save", b""]
        assert wire.call("CONFIG", "GET", "hz") == [b"hz", b"21"]
