"""Kills the server repeatedly in the middle of its work, and checks every reply against the state that is left.

A run is one directory and many lives, which are runs of a server on it. In each life several connections use their own
keys (see torture_requests.py: limiters of every algorithm, counters, answers to IDs, policies, rules) while snapshots
and rewrites take place at random; then comes kill -9 at a random moment. Each key belongs to one connection, so the
possible states after the kill are known exactly: the state after some prefix of the requests sent for it. Under
`always` the prefix includes at least the answered requests; under `everysec`, at least those answered before the start
of a collection that the server reports as written. Under `switched` the log is switched off and on all the time, so any
state from that life is valid, but it must be one that existed.

- The same holds for counters with their deadlines, for policies and for rules. At the end no rule names a policy that
  does not exist.
- An ID that was answered gets the same answer again, number by number, and takes nothing. If an answer is remembered,
  so are the units that it took from its key.
- A call that takes from several keys, and an EXEC, is kept as a whole once it was answered (under `always`). One that
  was not may be kept in part: each of its keys is in the state before or after it.

`python torture_kill.py SECONDS [DIRECTORY]` runs for that long with new seeds; it prints each seed, and ESCAPEMENT_SEED
repeats one. (The requests are then the same; their timing is not.)
"""

import collections
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

from dice import new_seed
from durable import DurableServer, info, limit_files
from journal_format import read_manifest
from torture_ledger import Ledger
from torture_requests import LASTING, Holdings, counters_found, first_four, policies_found, units_found
from wire import PATIENCE, ErrorReply, WireError, command, eventually

# The minimum number of requests answered in each life, however slow the machine is.
ANSWERS_LEAST = 25
# For an answer that cannot be queried without its rule: it is unknown whether it is remembered.
UNASKABLE = ()
# One life in this many lasts until a snapshot was requested, and until something is certain to be written.
LIVES_A_SNAPSHOT = 10


class Broken(AssertionError):
    """A guarantee was violated."""


class Client(threading.Thread):
    """One connection with its own keys. Ends when the server does; keeps the error, if any."""

    def __init__(self, seed, address, ledger, holdings, one_by_one):
        super().__init__(daemon=True)
        self.dice = random.Random(seed)
        self.one_by_one = one_by_one
        self.refused = 0
        self.address = address
        self.ledger = ledger
        self.holdings = holdings
        self.holdings.dice = self.dice
        self.problem = None
        self.answered = 0

    def run(self):
        try:
            with self.address() as wire:
                while True:
                    if self.one_by_one:
                        self.single(wire)
                    else:
                        self.exchange(wire)
        except (OSError, WireError) as problem:
            # Only the end of the stream is the expected end; anything else is for the run to judge.
            if not isinstance(problem, OSError) and "closed" not in str(problem):
                self.problem = problem
        except BaseException as problem:
            self.problem = problem

    def single(self, wire):
        """One request and its reply; the disk may refuse it, and then it has changed nothing."""
        request = self.holdings.choose()
        notes = self.ledger.sent(request)
        wire.send(request.data)
        reply = wire.read()
        if isinstance(reply, ErrorReply) and reply.startswith(b"MISCONF "):
            self.ledger.refused(notes)
            self.refused += 1
            return
        self.holdings.carry_out(request)
        self.judge(request, notes, reply)

    def exchange(self, wire):
        """A few requests in one write, and their replies."""
        sent = []
        in_transaction = self.dice.random() < 0.1
        for _ in range(self.dice.choice([1, 1, 2, 5, 16])):
            request = self.holdings.choose()
            self.holdings.carry_out(request)
            sent.append((request, self.ledger.sent(request)))
        data = b"".join(request.data for request, _ in sent)
        wire.send(command("MULTI") + data + command("EXEC") if in_transaction else data)
        if in_transaction:
            for text in [b"OK", *[b"QUEUED"] * len(sent)]:
                self.demand(wire.read() == text, "a reply inside of MULTI")
            replies = wire.read()
            self.demand(isinstance(replies, list) and len(replies) == len(sent), f"EXEC answered {replies!r}")
        for position, (request, notes) in enumerate(sent):
            self.judge(request, notes, replies[position] if in_transaction else wire.read())

    def judge(self, request, notes, reply):
        """Compares a reply with the expected one."""
        got = reply if isinstance(reply, ErrorReply) and not request.fails else request.seen(reply)
        self.demand(got == request.want, f"{request.words} answered {reply!r}, expected {request.want!r}")
        if request.answer:
            first = reply if notes else self.ledger.answers.get(request.answer, reply)
            self.demand(reply == first, f"{request.words} answered {reply}, first {first}")
            if self.ledger.compares_answers:
                self.ledger.answers[request.answer] = reply
        self.answered += 1
        self.ledger.answered(notes)

    def demand(self, holds, what):
        if not holds:
            raise Broken(what)


class Troublemaker(threading.Thread):
    """Takes snapshots and triggers rewrites at random moments. Under the weaker policies it also changes appendfsync,
    and switches the log off and on."""

    def __init__(self, seed, address, policy):
        super().__init__(daemon=True)
        self.dice = random.Random(seed)
        self.address = address
        self.policy = policy
        self.done = 0

    def run(self):
        try:
            with self.address() as wire:
                while True:
                    time.sleep(self.dice.uniform(0, 0.03))  # this thread exists to act at random moments
                    if self.policy == "switched":
                        wire.ok("CONFIG", "SET", "appendonly", self.dice.choice(["yes", "no"]))
                    if self.policy != "always" and self.dice.random() < 0.3:
                        wire.ok("CONFIG", "SET", "appendfsync", self.dice.choice(["always", "everysec", "no"]))
                    wire.call(self.dice.choice(["SAVE", "BGSAVE", "BGREWRITEAOF", "BGREWRITEAOF"]))
                    self.done += 1
        except (OSError, WireError):
            pass  # the server is gone


class Witness(threading.Thread):
    """Queries the number of collections of the server, to know what a killed process may have lost. The guarantee is a
    few milliseconds, but on a busy machine the time is unbounded."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.sure_until = 0.0  # everything answered until then is written

    def run(self):
        # When each query was sent and answered: the first that reports more, and the one before.
        before_first, before_second, count = collections.deque(), [], -1
        try:
            with self.address() as wire:
                while True:
                    asked = time.monotonic()
                    found = info(wire, "persistence")
                    now = int(found["journal_collections"])
                    if count >= 0 and now > count and found["storage_breaker"] == "closed":
                        # The collections since the last increase began after that reply was sent, and so after
                        # everything that was answered before its query.
                        if before_second:
                            self.sure_until = before_second[-1]
                        before_second = list(before_first)
                        before_first.clear()
                    count = now
                    before_first.append(asked)
                    time.sleep(0.002)  # paces the queries
        except (OSError, WireError):
            pass  # the server is gone


class Run:
    """One directory, many lives."""

    def __init__(self, directory, seed, policy, clients=4):
        self.directory = pathlib.Path(directory)
        self.seed = seed
        self.dice = random.Random(seed)
        self.policy = policy
        self.ledgers = [Ledger() for _ in range(clients)]
        self.holdings = [Holdings(number, self.dice) for number in range(clients)]
        self.lives = self.answered = self.snapshots = self.torn = self.behind = self.refused = 0
        self.sure_until = self.killed_at = 0.0

    def flags(self):
        flags = ["--appendfsync", "always" if self.policy == "switched" else self.policy, "--io-threads", "2",
                 "--idempotency-window", "86400"]
        # In some lives the log is rewritten all the time, in others never.
        size, percentage = self.dice.choice([("64mb", 100), ("4kb", 10), ("16kb", 50)])
        return [*flags, "--auto-aof-rewrite-min-size", size, "--auto-aof-rewrite-percentage", str(percentage)]

    def live(self):
        """One life: start, check, load, kill."""
        if self.dice.random() < 0.15:
            self.die_young()
        server = self.start()
        try:
            self.check(server)
            self.torn += "torn" in server.settled_log()
            if self.dice.random() < 0.05:
                self.flush(server)
                for ledger, holdings in zip(self.ledgers, self.holdings):
                    holdings.follow(ledger)
            self.load(server)
        except BaseException:
            server.kill()
            raise
        self.lives += 1

    def start(self):
        try:
            return DurableServer(self.directory, *self.flags())
        except AssertionError as problem:
            raise Broken(self.tell(f"the server does not start: {problem}")) from None

    def die_young(self):
        """A life that ends during startup."""
        server = DurableServer(self.directory, *self.flags(), wait=False)
        time.sleep(self.dice.uniform(0, 0.03))  # the random moment of the kill
        server.crash()

    def fill_disk(self, server):
        """From here on the log has room for only a few more bytes."""
        try:
            _, logs = read_manifest(server.files)
            size = (server.files / f"log-{logs[-1][0]}").stat().st_size if logs else 0
            limit_files(server, size + self.dice.randrange(3000))
        except FileNotFoundError:
            pass  # replaced in the meantime

    def load(self, server):
        """Runs clients, and ends the life at a random moment: usually by kill -9, sometimes with a clean stop."""
        is_long = self.lives % LIVES_A_SNAPSHOT == 0
        fills_disk = self.dice.random() < 0.1 and not is_long
        clients = [Client(self.dice.randrange(1 << 32), server.connect, ledger, holdings, fills_disk)
                   for ledger, holdings in zip(self.ledgers, self.holdings)]
        trouble = None
        if self.dice.random() < 0.6 or is_long:
            trouble = Troublemaker(self.dice.randrange(1 << 32), server.connect, self.policy)
        witness = Witness(server.connect) if self.policy in ("everysec", "no") else None
        threads = [thread for thread in (*clients, trouble, witness) if thread]
        for thread in threads:
            thread.start()
        time.sleep(self.dice.uniform(0.02, 0.15))  # the random moment of the kill
        self.await_work(clients, trouble if is_long else None, witness if is_long else None)
        if fills_disk:
            self.fill_disk(server)
            time.sleep(self.dice.uniform(0, 0.05))  # and another one
        self.killed_at = time.monotonic()
        is_killed = fills_disk or self.dice.random() >= 0.1
        server.crash() if is_killed else server.stop()
        self.sure_until = float("inf")
        for thread in threads:
            thread.join(PATIENCE)
            if thread.is_alive():
                raise Broken(self.tell("a client does not notice that the server is gone"))
        if self.policy == "switched":
            self.sure_until = -1.0
        elif witness and is_killed:
            self.sure_until = witness.sure_until
        for number, client in enumerate(clients):
            self.answered += client.answered
            self.refused += client.refused
            if client.problem is not None:
                raise Broken(self.tell(f"client {number}: {client.problem!r}")) from client.problem
        self.snapshots += trouble.done if trouble else 0

    def await_work(self, clients, trouble, witness):
        """Without this, hardly anything would be in progress at the kill on a slow machine."""
        def is_enough():
            return any(client.problem for client in clients) or (
                sum(client.answered for client in clients) >= ANSWERS_LEAST and (not trouble or trouble.done > 0)
                and (not witness or witness.sure_until > 0))

        eventually(is_enough, "the server answers, takes a snapshot and collects")

    def check(self, server):
        """Checks that every state is one that its ledger allows, and that there is no other."""
        with server.connect() as wire:
            named = policies_found(wire)
            for slot, policy in named.items():
                self.demand(slot[0] != "rule" or ("policy", policy) in named, f"{slot} names {policy}, which is gone")
            for ledger, holdings in zip(self.ledgers, self.holdings):
                found = {slot: named.pop(slot, None) for slot in list(ledger.states) if slot[0] in LASTING}
                found |= counters_found(wire, holdings.counters)
                limiters = holdings.limiters_under(wire, found)
                found |= units_found(wire, limiters.values())
                self.compare(ledger, found)
                answers = [
                    self.ask_again(wire, ledger, answer, words, limiters[slot], found)
                    for answer, (words, slot) in holdings.asked.items()]
                ledger.restart(found, answers)
                holdings.follow(ledger)
                for answer in [answer for answer, _, anew in answers if anew is UNASKABLE]:
                    del holdings.asked[answer]
            if named:
                raise Broken(self.tell(f"unexpected policies and rules: {list(named)[:5]}"))
            strangers = set(wire.call("KEYS", "*")).difference(*[holdings.keys() for holdings in self.holdings])
            if strangers:
                raise Broken(self.tell(f"unexpected keys: {sorted(strangers)[:5]}"))

    def compare(self, ledger, found):
        for slot, state in found.items():
            allowed = ledger.allowed(slot, self.sure_until)
            if state not in allowed:
                raise Broken(self.tell(
                    f"{slot} is {state}, allowed {allowed}: {ledger.sure(slot)[-6:]}, certain until {self.sure_until}, "
                    f"killed at {self.killed_at}"))
            self.behind += state != ledger.sure(slot)[-1][1]

    def ask_again(self, wire, ledger, answer, words, limiter, found):
        """Repeats a call that had an ID. Returns its slot, and its answer if that was remembered; otherwise the answer
        that it got now and the units that are used since then, or UNASKABLE."""
        first, reply, last = wire.calls(limiter.peek(), words, limiter.peek())
        before, after = limiter.used(first), limiter.used(last)
        allowed = ledger.allowed(answer, self.sure_until)
        got = first_four(reply)
        # A refusal decided again differs only in its times.
        if before == after and got in allowed and reply == ledger.answers.get(answer, reply):
            used, behind = found[limiter.slot], ledger.behind(answer, got)
            self.demand(behind is None or used in behind, f"{answer} is remembered, {limiter.slot} is {used}: {behind}")
            return answer, got, None
        self.demand(None in allowed, f"{answer} answered {reply}, may be {allowed}, was {ledger.answers.get(answer)}")
        if isinstance(reply, ErrorReply):
            # The rule was set before the call, so it is lost with it or kept.
            lost = words[0] == "RL.CHECK" and found.get(("rule", *words[1:3], "*")) is None
            self.demand(lost and reply.startswith(b"NORULE "), f"{words} answered {reply!r}")
            return answer, None, UNASKABLE
        return answer, None, (reply, limiter.slot, after)

    def flush(self, server):
        with server.connect() as wire:
            wire.ok("FLUSHALL")
        for ledger in self.ledgers:
            ledger.flushed()

    def demand(self, holds, what):
        if not holds:
            raise Broken(self.tell(what))

    def tell(self, what):
        return f"seed {self.seed}, {self.policy}, life {self.lives}, {self.directory}: {what}"

    def end(self):
        """A last start, and a clean stop."""
        server = self.start()
        try:
            self.check(server)
        except BaseException:
            server.kill()
            raise
        server.stop()


def run(directory, policy, lives, seconds=float("inf")):
    """Runs lives in one directory until either limit is reached. Returns the finished run."""
    started = time.monotonic()
    this = Run(directory, new_seed(f"killed, {policy}"), policy)
    while this.lives < lives and time.monotonic() - started < seconds:
        this.live()
    this.end()
    return this


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    parent = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path(tempfile.gettempdir())
    deadline = time.monotonic() + seconds
    lives = answered = 0
    while time.monotonic() < deadline:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="escapement-torture-", dir=parent))
        policy = random.choice(["always", "always", "everysec", "no", "switched"])
        try:
            this = run(directory / "data", policy, 100, deadline - time.monotonic())
        except BaseException:
            print(f"the directory is kept: {directory}", file=sys.stderr)
            raise
        shutil.rmtree(directory)
        lives += this.lives
        answered += this.answered
        print(f"seed {this.seed}, {policy}: {this.lives} lives, {this.answered} replies, {this.snapshots} snapshots "
              f"requested, {this.torn} torn tails, {this.refused} refused by a full disk, {this.behind} keys behind "
              f"their last request", flush=True)
    print(f"{lives} lives, {answered} replies, no guarantee violated")


if __name__ == "__main__":
    main()
