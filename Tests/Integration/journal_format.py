"""A second implementation of the file formats, from Sources/Persistence/Format and docs/formats.md.

Owns: creating directories for a server to start on, reading a log while a server writes it, and decoding every kind of
record. Refuses to share code with the server.
"""

import collections
import functools
import pathlib
import struct
import time

SECOND = 1_000_000_000
DAY = 86_400 * SECOND

CASTAGNOLI = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CASTAGNOLI.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CASTAGNOLI[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


HEADER_SIZE = 56
BATCH_HEADER_SIZE = 24
KIND_GCRA = 1
KINDS = {1: "gcra", 2: "counter", 3: "fixed-window", 4: "sliding-window", 5: "sliding-log", 6: "token",
         7: "calendar"}
ALGORITHMS = {1: "gcra", 2: "token-bucket", 3: "fixed-window", 4: "sliding-window", 5: "sliding-log",
              6: "calendar"}
UNITS = {0: "day", 1: "week", 2: "month", 3: "year"}
MODES = {0: "enforce", 1: "shadow", 2: "off"}
SOURCES = {0: "command", 1: "file"}


def file_header(content, number, offset, when, keys=0):
    body = content + struct.pack("<IIqqqqI", 1, 0, number, offset, when, keys, 0)
    return body + struct.pack("<I", crc32c(body))


def length(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def gcra_record(key, tat, deadline=None):
    """A limiter with the theoretical arrival time `tat`, in nanoseconds since 1970."""
    kind = KIND_GCRA | (0x40 if deadline is not None else 0)
    end = b"" if deadline is None else struct.pack("<q", deadline)
    return bytes([kind]) + length(len(key)) + length(8) + struct.pack("<q", tat) + end + key


def batch(offset, when, records):
    payload = b"".join(records)
    tail = struct.pack("<qq", offset, when) + payload
    return struct.pack("<II", len(payload), crc32c(tail)) + tail


def manifest(logs=(), snapshot=None, history="0" * 40):
    lines = ["escapement-manifest 1", f"history {history}"]
    if snapshot:
        lines.append("snapshot %d %d" % snapshot)
    lines += ["log %d %d" % log for log in logs]
    text = "".join(line + "\n" for line in lines).encode()
    return text + b"checksum %08x\n" % crc32c(text)


def write_log(directory, when, batches):
    """Writes a directory with one log; `batches` are pairs of a time and records."""
    files = pathlib.Path(directory) / "appendonlydir"
    files.mkdir(parents=True)
    data = file_header(b"ESCAPLOG", 1, 0, when)
    for moment, records in batches:
        data += batch(len(data) - HEADER_SIZE, moment, records)
    (files / "log-1").write_bytes(data)
    (files / "manifest").write_bytes(manifest([(1, 0)]))


def read_manifest(files):
    """(snapshot or None, logs), each a pair of number and offset. Verifies the checksum."""
    data = (pathlib.Path(files) / "manifest").read_bytes()
    text, last = data[:-18], data[-18:]
    assert last == b"checksum %08x\n" % crc32c(text), "the manifest's checksum"
    lines = text.decode().splitlines()
    assert lines[0] == "escapement-manifest 1" and lines[1].startswith("history ")
    entries = [(name, int(number), int(offset)) for name, number, offset in (line.split() for line in lines[2:])]
    snapshots = [entry[1:] for entry in entries if entry[0] == "snapshot"]
    return (snapshots or [None])[0], [entry[1:] for entry in entries if entry[0] == "log"]


def records_of(payload):
    """(kind byte, key, value, deadline) of every record of a batch."""
    position = 0

    def number():
        nonlocal position
        value = shift = 0
        while True:
            byte = payload[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(payload):
        kind = payload[position]
        position += 1
        key_length, value_length = number(), number()
        value = payload[position : position + value_length]
        position += value_length
        deadline = None
        if kind & 0x40:
            deadline = struct.unpack_from("<q", payload, position)[0]
            position += 8
        yield kind, bytes(payload[position : position + key_length]), bytes(value), deadline
        position += key_length


def read_batches(path, start=HEADER_SIZE, checks=False):
    """(position in the file, time, payload) of every complete batch from `start` on."""
    data = pathlib.Path(path).read_bytes()
    position = start
    while position + BATCH_HEADER_SIZE <= len(data):
        size, checksum, _, when = struct.unpack_from("<IIqq", data, position)
        end = position + BATCH_HEADER_SIZE + size
        if end > len(data):
            return
        if checks:
            assert crc32c(data[position + 8 : end]) == checksum, f"{path}, byte {position}"
        yield position, when, data[position + BATCH_HEADER_SIZE : end]
        position = end


def times(matrix, vector):
    total = 0
    for row in matrix:
        if vector & 1:
            total ^= row
        vector >>= 1
    return total


@functools.lru_cache
def moving_by(size):
    """The effect of appending `size` zero bytes on a checksum: a matrix, since it is linear."""
    power = [0x82F63B78] + [1 << bit for bit in range(31)]  # one zero bit
    product = [1 << bit for bit in range(32)]
    bits = size * 8
    while bits:
        if bits & 1:
            product = [times(power, row) for row in product]
        power = [times(power, row) for row in power]
        bits >>= 1
    return product


def checksum_behind(first, second, size):
    """The checksum of two concatenated byte strings, from their checksums: `size` is the second's length."""
    return times(moving_by(size), first) ^ second


def write_long_log(directory, keys, size, ahead):
    """Writes a log of at least `size` bytes that repeats the same states of the same keys: fast to create, while a
    start has to read all of it. Each key's TAT is `ahead` nanoseconds in the future. Returns the number of batches."""
    files = pathlib.Path(directory) / "appendonlydir"
    files.mkdir(parents=True)
    now = time.time_ns()
    payloads = []
    for start in range(0, keys, 8000):
        names = range(start, min(keys, start + 8000))
        payload = b"".join(gcra_record(b"key-%d" % number, now + ahead) for number in names)
        payloads.append((payload, crc32c(payload)))
    position = count = 0
    with open(files / "log-1", "wb") as file:
        file.write(file_header(b"ESCAPLOG", 1, 0, now))
        while position < size:
            for payload, checksum in payloads:
                head = struct.pack("<qq", position, now)
                whole = checksum_behind(crc32c(head), checksum, len(payload))
                file.write(struct.pack("<II", len(payload), whole) + head + payload)
                position += BATCH_HEADER_SIZE + len(payload)
                count += 1
    (files / "manifest").write_bytes(manifest([(1, 0)]))
    return count


# Contents of records

Answer = collections.namedtuple("Answer", "expiry granted limit remaining retry_after reset_after denied shadowed")
Policy = collections.namedtuple("Policy", "algorithm mode source limit period burst offset before calendar", defaults=[None])


def numbers(form, value):
    """The numbers of a value, which must contain nothing else."""
    assert struct.calcsize("<" + form) == len(value), (form, value)
    return struct.unpack("<" + form, value)


def state_in(kind, value):
    """A key's state: the fields of its kind, times in nanoseconds."""
    if kind in ("gcra", "counter"):
        return numbers("q", value)[0]
    if kind in ("fixed-window", "calendar"):
        return numbers("qq", value)  # end, units
    if kind == "sliding-window":
        return numbers("qqII", value)  # expiry, period, units of the previous and of the current window
    if kind == "sliding-log":
        return sliding_log(value)
    assert kind == "token", kind
    *answer, denied, shadowed, rest = numbers("qqqqqq??6s", value)
    assert rest == bytes(6)
    return Answer(*answer, denied, shadowed)


def sliding_log(value):
    """(expiry, [(when the grant expires, units), …]), the oldest grant first."""
    expiry, places, oldest, grants, units = struct.unpack_from("<qHHHH", value)
    assert len(value) == 16 + 10 * places and oldest < places and 1 <= grants <= places, value
    ring = [struct.unpack_from("<qH", value, 16 + 10 * place) for place in range(places)]
    used = [(oldest + number) % places for number in range(grants)]
    assert all(ring[place] == (0, 0) for place in range(places) if place not in used), value
    found = [ring[place] for place in used]
    assert sum(count for _, count in found) == units and found == sorted(found, key=lambda grant: grant[0])
    assert found[-1][0] == expiry
    return expiry, found


def token_key(key):
    """(limited key, token) of the key of a token."""
    size = struct.unpack_from("<I", key)[0]
    assert size <= len(key) - 4
    return key[4 : 4 + size], key[4 + size :]


def numbered(kind, key):
    """A key, with its database if that is not 0."""
    if not kind & 0x20:
        return key
    assert key and key[0] > 0, key
    return key[0], key[1:]


def database_of(key):
    return 0 if isinstance(key, bytes) else key[0]


def policy_in(value):
    version, algorithm, mode, source, *rest = numbers("BBBBqqqq", value[:36])
    assert version == (2 if ALGORITHMS[algorithm] == "calendar" else 1)
    calendar, first = None, 36
    if version == 2:
        unit, start, size = value[36:39]
        calendar, first = (UNITS[unit], start, value[39:39 + size].decode()), 39 + size
    # Previous limits: emission interval, tolerance, end.
    before = tuple(numbers("qqq", value[start:start + 24]) for start in range(first, len(value), 24))
    assert len(before) <= 4 and all(price > 0 and tolerance > 0 for price, tolerance, _ in before)
    return Policy(ALGORITHMS[algorithm], MODES[mode], SOURCES[source], *rest, before, calendar)


def subject_in(key):
    """(tenant, client, action), None for a wildcard."""
    names, position = [], 0
    for _ in range(3):
        position += 1
        if key[position - 1] == 0:
            names.append(None)
            continue
        assert key[position - 1] == 1
        size = struct.unpack_from("<I", key, position)[0]
        position += 4 + size
        assert 1 <= size <= 512 and position <= len(key)
        names.append(key[position - size : position])
    assert position == len(key)
    return tuple(names)


class Contents:
    """The contents of all records, applied in order."""

    def __init__(self):
        self.keys = {}  # key, or (database, key) in a database other than 0 -> (kind, state, deadline)
        self.answers = {}  # (limited key as above, token) -> Answer
        self.policies = {}  # name -> Policy
        self.rules = {}  # subject -> (source, name of the policy)
        self.met = set()  # kind bytes found, without the deadline bit
        self.records = 0
        self.promised = None  # the record count in the end-of-snapshot record

    def __eq__(self, other):
        return (self.keys, self.answers, self.policies, self.rules) == (
            other.keys, other.answers, other.policies, other.rules)

    def apply(self, kind, key, value, deadline):
        self.met.add(kind & 0xBF)
        if kind == 0x82:
            self.promised = numbers("q", value)[0]
            return
        self.records += 1
        if kind & 0x80:
            assert deadline is None
            self.control(kind, key, value)
        elif kind & 0x1F == 0:
            assert not value and deadline is None
            self.keys.pop(numbered(kind, key), None)
        elif KINDS[kind & 0x1F] == "token":
            limited, token = token_key(key)
            self.answers[numbered(kind, limited), token] = state_in("token", value)
        else:
            name = KINDS[kind & 0x1F]
            self.keys[numbered(kind, key)] = (name, state_in(name, value), deadline)

    def control(self, kind, key, value):
        if kind == 0x81:
            assert not key and not value
            self.keys, self.answers = {}, {}
        elif kind == 0x87:
            assert not key and len(value) == 1
            self.keys = {key: state for key, state in self.keys.items() if database_of(key) != value[0]}
            self.answers = {key: answer for key, answer in self.answers.items() if database_of(key[0]) != value[0]}
        elif kind == 0x83:
            self.policies[key] = policy_in(value)
        elif kind == 0x85:
            assert value[0] == 1
            self.rules[subject_in(key)] = (SOURCES[value[1]], value[2:])
        else:
            assert kind in (0x84, 0x86) and not value, kind
            kept = self.policies if kind == 0x84 else self.rules
            kept.pop(key if kind == 0x84 else subject_in(key), None)


def read_contents(files, with_logs=True):
    """The contents of a directory's files, or of the snapshot only. Every batch must be complete."""
    files = pathlib.Path(files)
    snapshot, logs = read_manifest(files)
    contents = Contents()
    snapshots = [f"snapshot-{snapshot[0]}"] if snapshot else []
    for name in snapshots + [f"log-{number}" for number, _ in logs if with_logs]:
        position = HEADER_SIZE
        for start, _, payload in read_batches(files / name, checks=True):
            assert start == position, f"{name}: a gap at byte {position}"
            position = start + BATCH_HEADER_SIZE + len(payload)
            for record in records_of(payload):
                contents.apply(*record)
        assert position == (files / name).stat().st_size, f"{name}: bytes after {position} are not a batch"
        if name in snapshots:
            assert contents.promised == contents.records, "record count at the end of the snapshot"
    return contents


class LogFollower:
    """Reads the newest log as it grows, and keeps the first number of every key's latest state."""

    def __init__(self, files):
        self.files = pathlib.Path(files)
        self.path = None
        self.states = {}
        self.flushes = 0

    def update(self):
        _, logs = read_manifest(self.files)
        path = self.files / f"log-{logs[-1][0]}"
        if path != self.path:
            self.path, self.position, self.states = path, HEADER_SIZE, {}
        for position, _, payload in read_batches(path, self.position):
            self.position = position + BATCH_HEADER_SIZE + len(payload)
            for kind, key, value, deadline in records_of(payload):
                if kind == 0x81:
                    self.flushes += 1
                    self.states.clear()
                elif kind == 0:
                    self.states[key] = None
                elif kind & 0xBF in KINDS and KINDS[kind & 0xBF] != "token":
                    self.states[key] = (struct.unpack("<q", value[:8])[0], deadline)
        return self
