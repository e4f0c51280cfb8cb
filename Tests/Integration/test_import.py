"""`escapement import redis.conf`: what it prints starts a server, and what does not carry over has a reason."""

import pathlib
import re

import pytest

from server import run_to_end

DEBIAN = pathlib.Path("/etc/redis/redis.conf")


def imported(text, tmp_path):
    path = tmp_path / "redis.conf"
    path.write_text(text)
    status, output = run_to_end("import", path, cwd=tmp_path)
    assert status == 0, output
    return output


def test_settings_carry_over(start, tmp_path):
    output = imported(
        "# comment\nbind 127.0.0.1\nmaxmemory 100mb\nappendfsync always\nsave 900 1 300 10\nrequirepass \"a b\"\n"
        "slaveof 10.0.0.1 6379\n", tmp_path)
    lines = [line for line in output.splitlines() if line and not line.startswith("#")]
    assert lines == ["bind 127.0.0.1", "maxmemory 100mb", "appendfsync always", "save 900 1 300 10", 'requirepass "a b"',
                     "slaveof 10.0.0.1 6379"]
    assert "Not carried over" not in output


def test_what_does_not_carry_over_has_its_line_and_a_reason(tmp_path):
    output = imported(
        "port 7000\ndaemonize yes\nrename-command CONFIG \"\"\nnonsense 1\nmaxmemory lots\nuser alice on >secret ~*\n"
        "include other.conf\nsave \"unbalanced\n", tmp_path)
    kept, dropped = output.split("# ---- Not carried over ----")
    assert "port 7000" in kept and "secret" not in output
    reasons = dict(re.findall(r"^# line (\d+): (.*)$", dropped, re.MULTILINE))
    assert set(reasons) == {"2", "3", "4", "5", "6", "7", "8"}
    assert "foreground" in reasons["2"] and "renamed" in reasons["3"] and reasons["4"] == "there is no such setting"
    assert "maxmemory" in reasons["5"] and "requirepass" in reasons["6"] and "on its own" in reasons["7"]


@pytest.mark.parametrize("line", [
    'requirepass "hidden', "masterauth hidden more", "user bob on >hidden", "tls-key-file-pass hidden",
    "TLS-Client-Key-File-Pass hidden", "requirepass 'hidden"])
def test_passwords_are_not_printed_with_the_reason(tmp_path, line):
    output = imported(line + "\n", tmp_path)
    assert "hidden" not in output and "line 1: " in output and f"#   {line.split()[0]} …" in output


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's redis.conf is not installed")
def test_debians_redis_conf(start, tmp_path):
    """Every setting of it, also those that are commented out, is known: it carries over or has a reason."""
    text = DEBIAN.read_text()
    output = imported(text, tmp_path)
    assert "there is no such setting" not in output, output
    path = tmp_path / "escapement.conf"
    path.write_text("\n".join(line for line in output.splitlines() if not line.startswith(("dir ", "logfile "))))
    server = start(config=path)
    with server.connect() as wire:
        assert wire.call("PING") == b"PONG"


@pytest.mark.parametrize("words, status", [([], 2), (["a", "b"], 2), (["--x"], 2), (["/nonexistent"], 1), (["--help"], 0)])
def test_arguments(tmp_path, words, status):
    found, output = run_to_end("import", *words, cwd=tmp_path)
    assert found == status and ("usage: escapement import" in output) == (status != 1)


@pytest.mark.parametrize("line, text", [
    ("daemonize yes", "let systemd, a container"), ("pidfile /run/x.pid", "process_id"), ("supervised systemd", "notify"),
    ("hash-max-listpack-entries 1", "integers only"), ("tls-port 6380", "TLS is not supported"),
])
def test_a_copied_redis_conf_gets_a_sentence_that_helps(tmp_path, line, text):
    path = tmp_path / "redis.conf"
    path.write_text(line + "\n")
    status, output = run_to_end(path, cwd=tmp_path)
    assert status == 1 and f"redis.conf:1: unknown setting '{line.split()[0]}': " in output and text in output
