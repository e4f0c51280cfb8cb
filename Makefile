# The commands that a newcomer needs. `make run` and `make test` install missing dependencies.
#
#   make run      builds for release and serves on 127.0.0.1:6379, with its data in ./data
#   make test     unit tests, a short fuzzing run, the real process, real clients
#   make torture  a longer test of the log with kill -9 and a simulated disk (make torture ARGS=3600: seconds)
#   make dist     one program that needs only the C library, as .tar.gz and .deb in .build/dist-packages
#   make install  installs that program (PREFIX, DESTDIR)
#   make bench    comparison with the floor, Redis and a Lua script (make bench ARGS=--quick: rough figures)

SHELL := bash
ARGS ?=
JOBS ?= 2

.PHONY: dist install run build test unit optimized integration fuzz torture tsan asan bench format lint docs clean

run: build
	@exec .build/release/escapement --dir ./data $(ARGS)

build:
	@scripts/setup run
	swift build -c release -j $(JOBS) --product escapement

test:
	@scripts/setup test
	@scripts/test

unit:
	swift test -j $(JOBS) --parallel

optimized:
	@scripts/optimized-tests $(ARGS)

integration: build
	@scripts/setup test
	@ESCAPEMENT_BINARY=.build/release/escapement scripts/integration $(ARGS)

fuzz:
	@scripts/fuzz $(or $(ARGS),20)

torture: build
	@scripts/setup test
	@scripts/torture $(ARGS)

tsan:
	@scripts/sanitize thread

asan:
	@scripts/sanitize address

bench:
	@scripts/setup test
	@scripts/bench $(ARGS)

dist:
	@scripts/setup run
	@scripts/dist

install:
	@scripts/dist install

format:
	swift format --in-place --parallel --recursive Package.swift Sources Tests loadtest

lint:
	@scripts/lint

# Regenerates the files made from tables, and the curves and figures of docs/choosing.md. Tests check that they are current.
docs: build
	swift build -c release -j $(JOBS) --product curves
	.build/release/escapement --print-config > escapement.conf
	.build/release/escapement --print-command-docs > docs/commands.md
	.build/release/escapement --print-redis-command-docs > docs/redis-commands.md
	.build/release/escapement --print-metrics-docs > docs/metrics.md
	.build/release/curves

clean:
	rm -rf .build
