"""INFO memory: consistent figures for the process, whatever its contents."""

import time

from durable import info
from wire import command, eventually


def memory(wire):
    found = info(wire, "memory")
    return {name: float(value.rstrip("%")) for name, value in found.items()
            if value.rstrip("%").replace(".", "", 1).lstrip("-").isdigit()}




def fill(wire, count, prefix="k", size=20):
    for start in range(0, count, 1000):
        keys = [f"{prefix}{n}".ljust(size, "x") for n in range(start, min(count, start + 1000))]
        wire.send(b"".join(command("CL.THROTTLE", key, 9, 1, 1_000_000) for key in keys))
        for _ in keys:
            assert wire.read()[0] == 0


def expect_consistent(found):
    assert found["used_memory"] == found["used_memory_dataset"] + found["used_memory_overhead"]
    assert found["used_memory"] <= found["used_memory_peak"]
    assert found["used_memory_startup"] <= found["used_memory_peak"]
    assert 0 <= found["used_memory_dataset_perc"] <= 100 and 0 < found["used_memory_peak_perc"] <= 100
    assert found["mem_fragmentation_bytes"] == found["used_memory_rss"] - found["used_memory"]
    assert abs(found["mem_fragmentation_ratio"] - found["used_memory_rss"] / found["used_memory"]) < 0.01


def test_idle(start):
    """A process without keys: its own memory is not zero, and a ratio in the hundreds would raise false alarms."""
    with start().connect() as wire:
        found = memory(wire)
        expect_consistent(found)
        assert found["used_memory"] > 500_000, "buffers of loops"
        assert 1 < found["mem_fragmentation_ratio"] < 50
        assert found["used_memory_peak"] < found["used_memory_rss"], "not the peak of resident memory"


def test_full(start):
    with start("--io-threads", "1").connect(60) as wire:
        fill(wire, 300_000, size=40)
        found = eventually(lambda: (m := memory(wire))["used_memory_peak"] > 20_000_000 and m, "the peak is recorded")
        expect_consistent(found)
        assert found["used_memory_dataset"] > 300_000 * (40 + 12)
        assert found["used_memory_dataset_perc"] > 50
        assert 0.8 < found["mem_fragmentation_ratio"] < 2
        wire.ok("FLUSHALL")
        after = memory(wire)
        expect_consistent(after)
        assert after["used_memory"] < found["used_memory"] / 2 and after["used_memory_peak"] >= found["used_memory"]


def test_large_keys_are_counted_once(start):
    """Their records are allocated from the C library's heap, which is also where the overhead is measured."""
    with start("--io-threads", "1").connect(60) as wire:
        before = memory(wire)
        fill(wire, 20_000, size=1000)
        keys = 20_000 * 1000
        grown = memory(wire)["used_memory_dataset"] - before["used_memory_dataset"]
        assert keys < grown < keys * 1.2
        # The overhead is sampled once a second: waits for two samples, as the sweep shows.
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            found = memory(wire)
            assert found["used_memory_overhead"] < before["used_memory_overhead"] + keys / 2
            time.sleep(0.1)
        wire.ok("FLUSHALL")
        after = memory(wire)
        assert after["used_memory"] < before["used_memory"] + keys / 2
        expect_consistent(after)


def test_maxmemory_is_compared_with_the_dataset(start):
    with start("--maxmemory", "2mb").connect() as wire:
        refused = False
        for number in range(0, 200_000, 500):
            wire.send(b"".join(command("SET", f"key-{n}", 1) for n in range(number, number + 500)))
            replies = [wire.read() for _ in range(500)]
            if any(r.startswith(b"OOM") for r in replies):
                refused = True
                break
        found = memory(wire)
        assert refused and found["used_memory"] > found["maxmemory"], "the overhead does not count"
        assert found["maxmemory"] * 0.9 < found["used_memory_dataset"] < found["maxmemory"] * 1.1
