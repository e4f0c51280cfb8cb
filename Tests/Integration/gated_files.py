"""A file system that blocks: a library for LD_PRELOAD with which a server's syncs, or its `open` of one file, return
only when the test permits. So "while the disk works" is a state that the test controls, not a matter of timing."""

import subprocess

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* GATE is the file that opens the gate; GATE_SEEN is created when a thread waits at it. */
static void wait_at_gate(void) {
    FILE *seen = fopen(getenv("GATE_SEEN"), "w");
    if (seen) fclose(seen);
    while (access(getenv("GATE"), F_OK) != 0) usleep(1000);
}

int fsync(int fd) {
    (void)fd;
    if (!getenv("GATED_PATH")) wait_at_gate();
    return 0;
}

int fdatasync(int fd) { return fsync(fd); }

int open(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    const char *gated = getenv("GATED_PATH");
    if (gated && strcmp(gated, path) == 0) wait_at_gate();
    return real(path, flags, mode);
}
"""


class Gate:
    """Closed and opened by the test. With `path` it blocks `open` of that file, otherwise every sync."""

    def __init__(self, directory, monkeypatch, path=None):
        source, library = directory / "gated.c", directory / "gated.so"
        source.write_text(SOURCE)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.file, self.seen = directory / "gate", directory / "gate-seen"
        self.open()
        for name, value in (("LD_PRELOAD", library), ("GATE", self.file), ("GATE_SEEN", self.seen)):
            monkeypatch.setenv(name, str(value))
        if path is not None:
            monkeypatch.setenv("GATED_PATH", str(path))

    def open(self):
        self.file.touch()

    def close(self):
        self.seen.unlink(missing_ok=True)
        self.file.unlink()

    def is_reached(self):
        """Whether the server is blocked, or has been since the gate was closed."""
        return self.seen.exists()
