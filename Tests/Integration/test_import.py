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
    path.write_text(output)
    keeps_its_state(start, path, tmp_path / "data")


def keeps_its_state(start, path, directory):
    """Starts as the packaged unit does: the file, then the directory."""
    server = start("--dir", directory, config=path)
    with server.connect() as wire:
        wire.ok("SET", "kept", 1)
    server.stop()
    server = start("--dir", directory, config=path)
    with server.connect() as wire:
        assert wire.call("GET", "kept") == b"1"
    server.stop()


LIKE_DEBIANS = """\
bind 127.0.0.1 -::1
daemonize yes
pidfile /run/redis/redis-server.pid
logfile /var/log/redis/redis-server.log
dir /var/lib/redis
unixsocket /run/redis/redis-server.sock
appendonly no
disable-thp yes
"""


def test_a_file_without_rules_relies_on_those_built_in(start, tmp_path):
    """`appendonly no` and no line `save` is what Debian's file has: Redis then takes snapshots."""
    output = imported(LIKE_DEBIANS, tmp_path)
    assert "\n# There is no line `save`: these rules are built into Redis.\nsave 3600 1 300 100 60 10000\n" in output
    assert "Nothing is kept" not in output
    reasons = dict(re.findall(r"^# line (\d+): (.*)$", output.split("# ---- Not carried over ----")[1], re.MULTILINE))
    assert set(reasons) == {"2", "3", "4", "5", "6", "8"}
    assert "journal" in reasons["4"] and "/var/lib/escapement" in reasons["5"] and "/run/escapement" in reasons["6"]
    assert "asks for huge pages" in reasons["8"]
    path = tmp_path / "escapement.conf"
    path.write_text(output)
    keeps_its_state(start, path, tmp_path / "data")


@pytest.mark.parametrize("lines, expected", [
    ("save 900 1\nsave 300 10\nsave 60 10000\n", "save 900 1 300 10 60 10000"),
    ('save 900 1\nsave ""\nsave 60 5\n', "save 60 5"), ('save 900 1\nsave ""\n', 'save ""'), ('save ""\n', 'save ""'),
])
def test_rules_of_several_lines_add_up(tmp_path, lines, expected):
    """As in Redis; here the last line alone would be in force."""
    output = imported("appendonly no\n" + lines, tmp_path)
    assert [line for line in output.splitlines() if line.startswith("save")] == [expected]
    assert ("# Nothing is kept over a restart, as in Redis" in output) == (expected == 'save ""')


def test_a_log_needs_no_rules(tmp_path):
    output = imported('appendonly yes\nlogfile ""\nunixsocket /srv/app/limits.sock\n', tmp_path)
    assert "save" not in output and 'logfile ""' in output and "Not carried over" not in output
    assert "Nothing is kept" not in imported('appendonly yes\nsave ""\n', tmp_path)


@pytest.mark.parametrize("words, status, text", [
    ([], 2, "import: no file is given"), (["a", "b"], 2, "import: 'b': one argument too many"),
    (["--x"], 2, "import: '--x': there is no such option"), (["/nonexistent"], 1, "/nonexistent"), (["--help"], 0, "usage")])
def test_arguments(tmp_path, words, status, text):
    found, output = run_to_end("import", *words, cwd=tmp_path)
    assert text in output.splitlines()[0]
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
