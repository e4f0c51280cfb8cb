"""The requests of one connection of torture_kill.py for its own keys: limiters of every algorithm, counters, policies,
rules.

Owns: the model. Each request comes with its expected reply and with the changes that it makes, in terms of *slots*,
each of which belongs to one connection and has a state that can be queried after a restart:

    ("units", key)                      units used of a limiter                                    0 if there is no key
    ("counter", key)                    value, and whole spans of time it has to live (or None)           None: no key
    ("answer", key, id)                 the first four numbers answered to an ID        None: the ID is not remembered
    ("policy", name)                    limit, period, algorithm, mode                              None: no such policy
    ("rule", tenant, client, action)    the name of its policy                                        None: no such rule

No unit is replenished during a run, and windows of the clock end in decades. Refuses to guess: every request has
exactly one correct reply.
"""

from durable import BURST, SLOW_PERIOD
from wire import command

LIMIT = BURST + 1
PERIOD = "10000d"
TERMS = ("LIMIT", LIMIT, "PER", PERIOD)
ALGORITHMS = ["gcra", "token-bucket", "fixed-window", "sliding-window", "sliding-log"]
# The period of a calendar window is another kind of word, so rules that change algorithms leave calendar out.
CALENDAR_TERMS = ("LIMIT", LIMIT, "PER", "year", "ALGO", "calendar", "ZONE", "-05:30")
# Counters live for a multiple of this many seconds; a run lasts less than one.
SPAN = 1_000_000
FULL = {"units": 0}
# Slots that FLUSHALL keeps.
LASTING = ("policy", "rule")
# The number of IDs per connection that are checked after a restart; older ones are no longer queried.
ANSWERS_KEPT = 40


def check_key(tenant, client, action):
    """The key under which RL.CHECK keeps a client's units; names here are shorter than 128 bytes."""
    names = [name.encode() for name in (tenant, client, action)]
    return b"\0C" + bytes([len(names[0])]) + names[0] + bytes([len(names[1])]) + names[1] + names[2]


def first_four(reply):
    """A limiter's reply without its times."""
    return tuple(reply[:4]) if isinstance(reply, list) else reply


class Request:
    """`words` must get the reply `want`, after `seen` has made the reply comparable; then `changes` are made: pairs of
    a slot and its state. `answer` is the slot of the ID that the request carries; `fails` means that an error is
    expected, and `seen` determines whether it is the right one."""

    def __init__(self, words, want, changes=(), seen=lambda reply: reply, answer=None, fails=False):
        self.data = command(*words)
        self.words = words
        self.want = want
        self.changes = list(changes)
        self.seen = seen
        self.answer = answer
        self.fails = fails


class Limiter:
    """A key with units. `terms` specify its limit."""

    def __init__(self, key, *terms):
        self.key = key
        self.slot = ("units", key)
        self.terms = terms

    def peek(self):
        return ("RL.PEEK", self.key, *self.terms)

    def used(self, reply):
        """The number of used units according to a reply to `peek`."""
        assert isinstance(reply, list) and reply[2] == LIMIT, reply
        return LIMIT - reply[3]


class Holdings:
    """The slots of one connection, and their states after all requests sent so far."""

    def __init__(self, number, dice):
        self.dice = dice
        self.tenant = f"t{number}"
        self.states = {}  # slot -> state
        # The slot of an ID's answer -> the words that request it again, and the slot of its limiter.
        self.asked = {}
        self.ids = 0
        self.throttled = [f"{number}:{index}" for index in range(16)]
        self.limiters = [
            Limiter(f"{number}:{terms[-1]}:{index}", *terms)
            for terms in [*((*TERMS, "ALGO", algo) for algo in ALGORITHMS), CALENDAR_TERMS] for index in range(3)]
        self.counters = [f"{number}:counter:{index}" for index in range(6)]
        self.names = {algo: f"{number}:{algo}" for algo in ALGORITHMS}
        self.clients = [f"c{index}" for index in range(4)]
        self.checked = {
            client: Limiter(check_key(self.tenant, client, "go"), "POLICY", self.names["gcra"])
            for client in self.clients}
        self.edited = [f"{number}:edited:{index}" for index in range(4)]
        self.subjects = [(self.tenant, f"edited {index}", "*") for index in range(4)]
        self.kinds = [
            (self.throttle, 6), (self.take, 8), (self.give_back, 2), (self.forget, 2), (self.take_all, 2),
            (self.count, 5), (self.check, 4), (self.edit_policy, 2), (self.edit_rule, 2)]

    def state(self, slot):
        return self.states.get(slot, FULL.get(slot[0]))

    def keys(self):
        """Every key that may exist, as in the reply of KEYS."""
        named = [*self.throttled, *self.counters, *(limiter.key for limiter in self.limiters)]
        return [key.encode() for key in named] + [limiter.key for limiter in self.checked.values()]

    def limiters_under(self, wire, found):
        """All limiters by slot, in a form that can be queried with these policies."""
        checked = list(self.checked.values())
        if found.get(("policy", self.names["gcra"])) is None:
            # A snapshot taken without a log may contain a check but not its policy, which is written
            # first: then the key determines the algorithm for the query.
            kinds = [kind.decode() for kind in wire.calls(*[("TYPE", limiter.key) for limiter in checked])]
            checked = [
                Limiter(limiter.key, *TERMS, *(() if kind == "none" else ("ALGO", kind)))
                for limiter, kind in zip(checked, kinds)]
        limiters = [Throttled(key) for key in self.throttled] + self.limiters + checked
        return {limiter.slot: limiter for limiter in limiters}

    def follow(self, ledger):
        """Starts with the last states of a ledger."""
        self.states = {slot: states[-1][1] for slot, states in ledger.states.items()}

    def choose(self):
        """The next request."""
        kinds, weights = zip(*self.kinds)
        return self.dice.choices(kinds, weights)[0]()

    def one_of_each_kind(self):
        """Requests that leave something of every kind, whatever was chosen at random before."""
        requests = []

        def add(*request, **more):
            requests.append(Request(*request, **more))
            self.carry_out(requests[-1])

        for limiter in self.limiters[::3]:
            want, after = self.outcome(limiter, 1, True)
            add(("RL.TAKE", limiter.key, *limiter.terms, "COST", 1, "ATMOST"), want,
                [(limiter.slot, after)] if want[1] else [], first_four)
        counter = ("counter", self.counters[0])
        add(("SET", counter[1], 5), b"OK", [(counter, (5, None))])
        policy, rule = ("policy", self.edited[0]), ("rule", *self.subjects[0])
        requests.append(self.set_policy(policy, (5, "1d", "gcra", "enforce")))
        self.carry_out(requests[-1])
        add(("RL.RULE", "SET", *rule[1:], "POLICY", policy[1]), b"OK", [(rule, policy[1])])
        self.ids += 1
        limiter = self.limiters[0]
        answer = ("answer", limiter.key, f"kind-{self.ids}")
        words = ["RL.TAKE", limiter.key, *limiter.terms, "COST", 1, "ID", answer[2]]
        self.remember(answer, words, limiter.slot)
        want, after = self.outcome(limiter, 1, False)
        add(words, want, ([(limiter.slot, after)] if want[1] else []) + [(answer, want)], first_four, answer=answer)
        return requests

    def carry_out(self, request):
        self.states.update(request.changes)

    # Units

    def removal(self, words, slot):
        return Request(words, int(self.state(slot) != 0), [(slot, 0)] if self.state(slot) else [])

    def throttle(self):
        key = self.dice.choice(self.throttled)
        slot = ("units", key)
        used = self.state(slot)
        if self.dice.random() < 0.06:
            return self.removal(("DEL", key), slot)
        quantity = self.dice.choice([1, 1, 1, 2, 5])
        denied = used + quantity > LIMIT
        after = used if denied else used + quantity
        return Request(
            ("CL.THROTTLE", key, BURST, 1, SLOW_PERIOD, quantity), [int(denied), LIMIT, LIMIT - after],
            [] if denied else [(slot, after)], lambda reply: reply[:3] if isinstance(reply, list) else reply)

    def take(self):
        return self.taking(self.dice.choice(self.limiters), "RL.TAKE")

    def taking(self, limiter, name, *subject):
        """A call that takes units, sometimes with an ID, new or repeated."""
        words = [name, *(subject or (limiter.key, *limiter.terms))]
        cost = self.dice.choice([1, 1, 1, 2, 5])
        words += ["COST", cost]
        at_most = self.dice.random() < 0.2
        if at_most:
            words.append("ATMOST")
        answer = None
        if self.dice.random() < 0.4:
            old = [slot for slot in self.asked if slot[1] == limiter.key]
            if old and self.dice.random() < 0.4:
                answer = self.dice.choice(old)
                words = self.asked[answer][0]
                first = self.state(answer)
                if first is not None:
                    return Request(words, first, seen=first_four, answer=answer)
                cost, at_most = words[words.index("COST") + 1], "ATMOST" in words
            else:
                self.ids += 1
                answer = ("answer", limiter.key, f"{self.dice.randrange(1 << 40):x}-{self.ids}")
                words += ["ID", answer[2]]
                self.remember(answer, words, limiter.slot)
        want, after = self.outcome(limiter, cost, at_most)
        changes = [(limiter.slot, after)] if want[1] else []
        if answer:
            changes.append((answer, want))
        return Request(words, want, changes, first_four, answer)

    def outcome(self, limiter, cost, at_most):
        """The reply of a call that takes units, and the units used afterwards."""
        used = self.state(limiter.slot)
        granted = cost if used + cost <= LIMIT else LIMIT - used if at_most else 0
        return (int(granted > 0), granted, LIMIT, LIMIT - used - granted), used + granted

    def remember(self, answer, words, slot):
        self.asked[answer] = (words, slot)
        if len(self.asked) > ANSWERS_KEPT:
            del self.asked[next(iter(self.asked))]

    def give_back(self):
        limiter = self.dice.choice(self.limiters)
        used = self.state(limiter.slot)
        cost = self.dice.choice([1, 2, 5])
        given = min(used, cost)
        return Request(
            ("RL.REFUND", limiter.key, *limiter.terms, "COST", cost), (1, given, LIMIT, LIMIT - used + given),
            [(limiter.slot, used - given)] if given else [], first_four)

    def forget(self):
        limiter = self.dice.choice([*self.limiters, *self.checked.values()])
        return self.removal((self.dice.choice(["RL.RESET", "DEL"]), limiter.key), limiter.slot)

    def take_all(self):
        limiters = self.dice.sample(self.limiters, self.dice.choice([2, 3, 5]))
        cost = self.dice.choice([1, 1, 2])
        words = ["RL.TAKEALL"]
        for limiter in limiters:
            words += ["AND"] * (len(words) > 1) + [limiter.key, *limiter.terms]
        words += ["COST", cost]
        refused = [limiter for limiter in limiters if self.state(limiter.slot) + cost > LIMIT]
        if refused:
            return Request(words, [0, 0, refused[0].key.encode()], [], lambda reply: reply[:3])
        changes = [(limiter.slot, self.state(limiter.slot) + cost) for limiter in limiters]
        rows = [(1, cost, LIMIT, LIMIT - after) for _, after in changes]
        return Request(
            words, [1, cost, None, rows], changes, lambda reply: [*reply[:3], [first_four(row) for row in reply[4]]])

    # Counters

    def count(self):
        key = self.dice.choice(self.counters)
        slot = ("counter", key)
        before = self.state(slot)
        value, life = before or (0, None)
        spans = self.dice.randrange(1, 6)
        number = self.dice.randrange(-1000, 1000)
        choice = self.dice.randrange(9)
        if choice < 3:
            return Request(("INCRBY", key, number), value + number, [(slot, (value + number, life))])
        if choice == 3:
            return Request(("SET", key, number), b"OK", [(slot, (number, None))])
        if choice == 4:
            return Request(("SET", key, number, "EX", spans * SPAN), b"OK", [(slot, (number, spans))])
        if choice == 5:
            changes = [(slot, (value, spans))] if before else []
            return Request(("EXPIRE", key, spans * SPAN), int(before is not None), changes)
        if choice == 6:
            changes = [(slot, (value, None))] if life else []
            return Request(("PERSIST", key), int(life is not None), changes)
        if choice == 7:
            want = None if before is None else str(value).encode()
            return Request(("GETDEL", key), want, [(slot, None)] if before else [])
        after = min(value + 300, max(value, 500))
        changes = [(slot, (after, life))] if before or after else []
        words = ("INCREX", key, "BYINT", 300, "UBOUND", max(value, 500), "SATURATE")
        return Request(words, [after, after - value], changes)

    # Policies and rules

    def check(self):
        """RL.CHECK with a rule whose policy, and so its algorithm, changes now and then."""
        client = self.dice.choice(self.clients)
        rule = ("rule", self.tenant, client, "*")
        if self.state(rule) is None or self.dice.random() < 0.1:
            algo = self.dice.choice(ALGORITHMS)
            policy = ("policy", self.names[algo])
            if self.state(policy) is None:
                return self.set_policy(policy, (LIMIT, PERIOD, algo, "enforce"))
            # A query that takes nothing names the first one.
            if self.state(("policy", self.names["gcra"])) is not None:
                return Request(("RL.RULE", "SET", *rule[1:], "POLICY", policy[1]), b"OK", [(rule, policy[1])])
            return self.set_policy(("policy", self.names["gcra"]), (LIMIT, PERIOD, "gcra", "enforce"))
        return self.taking(self.checked[client], "RL.CHECK", self.tenant, client, "go")

    def set_policy(self, slot, terms):
        limit, period, algo, mode = terms
        words = ("RL.POLICY", "SET", slot[1], "LIMIT", limit, "PER", period, "ALGO", algo, "MODE", mode)
        return Request(words, b"OK", [(slot, terms)])

    def edit_policy(self):
        slot = ("policy", self.dice.choice(self.edited))
        if self.dice.random() < 0.7:
            terms = (self.dice.randrange(1, 4000), f"{self.dice.randrange(1, 100)}d", self.dice.choice(ALGORITHMS),
                     self.dice.choice(["enforce", "shadow", "off"]))
            return self.set_policy(slot, terms)
        words = ("RL.POLICY", "DEL", slot[1])
        if any(self.state(("rule", *subject)) == slot[1] for subject in self.subjects):
            return Request(words, True, [], lambda reply: b"the policy, such as" in reply, fails=True)
        there = self.state(slot) is not None
        return Request(words, int(there), [(slot, None)] if there else [])

    def edit_rule(self):
        subject = self.dice.choice(self.subjects)
        slot = ("rule", *subject)
        if self.dice.random() < 0.3:
            there = self.state(slot) is not None
            return Request(("RL.RULE", "DEL", *subject), int(there), [(slot, None)] if there else [])
        policy = self.dice.choice(self.edited)
        words = ("RL.RULE", "SET", *subject, "POLICY", policy)
        if self.state(("policy", policy)) is None:
            return Request(words, f"ERR there is no policy '{policy}'".encode())
        return Request(words, b"OK", [(slot, policy)])


class Throttled(Limiter):
    """A key of CL.THROTTLE."""

    def peek(self):
        return ("CL.THROTTLE", self.key, BURST, 1, SLOW_PERIOD, 0)

    def used(self, reply):
        assert isinstance(reply, list) and reply[1] == LIMIT, reply
        return LIMIT - reply[2]


# Querying a server


def send_random(wire, holdings, count):
    """Sends that many requests, a few at a time, and requires the right reply to each. Returns the first answers to
    IDs, by slot."""
    answers = {}
    for _ in range(0, count, 20):
        requests = []
        for _ in range(20):
            requests.append(holdings.choose())
            holdings.carry_out(requests[-1])
        exchange(wire, requests, answers)
    return answers


def exchange(wire, requests, answers=None):
    """Sends these requests in one write, and requires the right reply to each. Adds the first answers to IDs to
    `answers`, by slot, and returns it."""
    answers = {} if answers is None else answers
    wire.send(b"".join(request.data for request in requests))
    for request in requests:
        reply = wire.read()
        assert request.seen(reply) == request.want, f"{request.words} answered {reply!r}, not {request.want!r}"
        if request.answer:
            first = answers.setdefault(request.answer, reply)
            assert reply == first, f"{request.words} answered {reply}, first {first}"
    return answers


def assert_states(wire, holdings):
    """Requires every state to be as in the model, except for answers to IDs."""
    found = {slot: state for slot, state in policies_found(wire).items() if slot in holdings.states}
    found |= units_found(wire, holdings.limiters_under(wire, found).values())
    found |= counters_found(wire, holdings.counters)
    for slot in [*found, *holdings.states]:
        if slot[0] != "answer":
            assert found.get(slot) == holdings.state(slot), f"{slot} is {found.get(slot)}, not {holdings.state(slot)}"


def assert_answers(wire, holdings, answers):
    """Requires that every ID gets its first answer, and that this takes nothing."""
    for answer, (words, _) in holdings.asked.items():
        reply = wire.call(*words)
        assert reply == answers[answer], f"{words} answered {reply}, first {answers[answer]}"
    assert_states(wire, holdings)


def units_found(wire, limiters):
    """Units used, by slot."""
    return {
        limiter.slot: limiter.used(reply)
        for limiter, reply in zip(limiters, wire.calls(*[limiter.peek() for limiter in limiters]))}


def counters_found(wire, keys):
    """(value, spans to live) or None, by slot."""
    replies = wire.calls(*[request for key in keys for request in (("GET", key), ("TTL", key))])
    found = {}
    for key, value, life in zip(keys, replies[::2], replies[1::2]):
        spans = None if life < 0 else -(-life // SPAN)
        found[("counter", key)] = None if value is None else (int(value), spans)
    return found


def policies_found(wire):
    """All policies and rules, by slot."""
    found = {}
    for reply in wire.call("RL.POLICY", "LIST"):
        policy = dict(zip(reply[::2], reply[1::2]))
        days = policy[b"per_ms"] // 86_400_000
        found[("policy", policy[b"name"].decode())] = (
            policy[b"limit"], f"{days}d", policy[b"algo"].decode(), policy[b"mode"].decode())
    for reply in wire.call("RL.RULE", "LIST"):
        rule = dict(zip(reply[::2], reply[1::2]))
        names = [rule[name].decode() for name in (b"tenant", b"client", b"action")]
        found[("rule", *names)] = rule[b"policy"].decode()
    return found
