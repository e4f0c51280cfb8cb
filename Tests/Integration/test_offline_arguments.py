"""Arguments of `escapement check` and `escapement dump`: a wrong one is named, and every flag is documented."""

import os
import subprocess

import pytest

from server import ROOT, find_binary


def run(*words, cwd=None):
    """(exit status, standard output, standard error)."""
    done = subprocess.run([find_binary(), *words], capture_output=True, text=True, cwd=cwd, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words, complaint", [
    (["check"], "check: the directory is missing"), (["check", ""], "check: the directory is ''"),
    (["check", "--fix"], "check: the directory is missing"),
    (["check", "a", "b"], "check: unexpected argument 'b' after the directory"),
    (["check", "a", "--rebase"], "check: unknown option '--rebase'; did you mean '--rebase-clock'?"),
    (["check", "a", "--nosuch\n"], "check: unknown option '--nosuch\\x0a'"),
    (["check", "a", "--fix", "--rebase-clock"], "check: '--fix' and '--rebase-clock' exclude each other"),
    (["check", "a", "--summary"], "check: unknown option '--summary'"),
    (["dump"], "dump: the directory is missing"), (["dump", ""], "dump: the directory is ''"),
    (["dump", "a", "b"], "dump: unexpected argument 'b' after the directory"),
    (["dump", "a", "--json"], "dump: unknown option '--json'"),
], ids=repr)
def test_wrong_arguments_are_named(tmp_path, words, complaint):
    code, output, error = run(*words, cwd=tmp_path)
    assert (code, output) == (2, "") and os.listdir(tmp_path) == []
    assert error.split("\n")[0] == f"escapement: {complaint}"
    assert error.split("\n")[1].startswith(f"usage: escapement {words[0]} DIR [--")


@pytest.mark.parametrize("tool, flags", [
    ("check", ["--fix", "--rebase-clock", "--json"]), ("dump", ["--summary"])])
def test_help_page_and_completions_have_every_flag(tool, flags):
    code, output, _ = run(tool, "--help")
    page = (ROOT / "packaging/man/escapement.1").read_text().replace("\\-", "-")
    bash, zsh = ((ROOT / "packaging/completions" / name).read_text() for name in ("escapement.bash", "_escapement"))
    assert code == 0
    for flag in flags:
        assert flag in output and flag in page and flag in bash and f"'{flag}[" in zsh, flag
