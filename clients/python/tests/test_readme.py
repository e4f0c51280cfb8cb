"""Runs the examples of README.md: `python` blocks as they are, `pycon` blocks with their output.

In a process of its own, since it configures Django; only the server's port is replaced.
"""

from __future__ import annotations

import doctest
import pathlib
import re
import subprocess
import sys

from server import Server

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def run(port: str) -> None:
    from django.conf import settings

    settings.configure()
    text = README.read_text().replace("127.0.0.1:6379", f"127.0.0.1:{port}")
    names: dict[str, object] = {"__name__": "readme"}
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    blocks = re.findall(r"(?ms)^```(python|pycon)\n(.*?)^```$", text)
    for kind, code in blocks:
        if kind == "python":
            exec(compile(code, "README.md", "exec"), names)
        else:
            example = doctest.DocTestParser().get_doctest(code, {}, "README.md", None, None)
            example.globs = names
            runner.run(example, clear_globs=False)
            assert not runner.failures
    print(f"{len(blocks)} blocks, {runner.tries} examples")


def test_the_examples_of_the_readme_run(server: Server):
    done = subprocess.run(
        [sys.executable, __file__, str(server.port)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"1[0-9] blocks, [23][0-9] examples\n", done.stdout)


if __name__ == "__main__":
    run(sys.argv[1])
