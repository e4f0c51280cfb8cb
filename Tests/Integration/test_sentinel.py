"""Stock Redis Sentinel with three nodes: the primary after a failure, what clients see, and excess admissions.

The Sentinels are Debian's, with down-after 2000 ms. Duration and excess of each failover are printed (pytest -s or
-rA).
"""

import time

import pytest

import conftest
import sentinels
from dice import seeded
from durable import launch
from journal_format import KINDS, read_contents
from replication import fill, nodes, proxy_to, state_of, wait_on_disk, wait_same_offset, wait_same_state
from sentinels import NAME, Group, Throttlers
from torture_requests import Holdings, assert_answers, assert_states, exchange, send_random
from wire import ErrorReply, eventually

assert launch, nodes  # fixtures


@pytest.fixture
def make_group(nodes, tmp_path):
    """`make_group(…)` creates a group that is stopped at the end of the test."""
    reason = sentinels.why_missing()
    if reason:
        conftest.missing(reason)
    made = []

    def make(**options):
        made.append(Group(nodes, tmp_path, **options))
        return made[-1]

    yield make
    for group in made:
        group.stop()
        for sentinel in group.sentinels:
            print(f"Sentinel {sentinel.port}:\n{sentinel.log()[-20000:]}")


def await_admitted(clients, count):
    """Waits until that many calls are admitted, and nearly all of them are known to all replicas."""
    eventually(lambda: len(clients.admitted) >= count, f"{count} calls are admitted")
    for replica in clients.group.replicas():
        eventually(lambda: clients.known(replica) >= 0.9 * count, "replicas know")


def what_replicas_know(clients, failed):
    """The number of units that each replica knows to be taken, by port, now that the failed primary sends nothing more;
    none for a replica that has already been promoted."""
    clients.go_on()
    replicas = [node for node in clients.group.running() if node is not failed]
    return {node.port: clients.known(node) or 0 for node in replicas}


def admitted_again(clients, old, failed_at):
    """Seconds from the failure to the first call admitted by another node."""
    return eventually(
        lambda: min((t for t, port in list(clients.admitted) if port != old.port), default=None), "admitted again"
    ) - failed_at


def check_excess(clients, old, new, known):
    """Once everything is taken: the excess of a limiter that does not refill is at most the number of units that the
    new primary could not know."""
    eventually(lambda: clients.refused > 30, "the limiter is exhausted")
    clients.finish()
    excess = len(clients.admitted) - clients.limit
    unknown = clients.by(old) - known[new.port]
    print(f"admitted {len(clients.admitted)} of {clients.limit}: {excess} too many; {unknown} the new one did not know")
    assert excess <= min(clients.limit, unknown)


def test_killed_primary(make_group):
    """kill -9 under load, with passwords everywhere: another node becomes primary, clients continue, and the old
    primary comes back as a replica."""
    group = make_group(password="secret")
    old = group.primary()
    fill(old, 1000)
    limit = 6000
    clients = Throttlers(group, "hot", limit)
    await_admitted(clients, 1500)
    failed_at = time.monotonic()
    old.crash()
    known = what_replicas_know(clients, old)
    print(f"writes accepted again {admitted_again(clients, old, failed_at):.2f} s after kill -9")
    new = group.wait_primary_is_not(old)
    assert new.info()["role"] == "master"
    check_excess(clients, old, new, known)
    old = group.restart(old)
    group.settle()
    assert group.primary() is new
    wait_same_state(new, *group.replicas())
    assert len(state_of(new)) == 1001
    full, partial = new.syncs()
    print(f"syncs the new primary served: {full} full, {partial} partial")
    # Its new role survives its next start.
    old.stop()
    old = group.restart(old)
    assert old.info()["role"] == "slave"


def listed(wire):
    """RL.POLICY LIST and RL.RULE LIST, without the values that change with time."""
    policies = [dict(zip(reply[::2], reply[1::2])) for reply in wire.call("RL.POLICY", "LIST")]
    for policy in policies:
        policy.pop(b"capped_ms")
    return policies, wire.call("RL.RULE", "LIST")


def test_killed_primary_with_every_kind_of_state(make_group):
    """Limiters of every algorithm, counters, answers to IDs, policies and rules: the promoted node has everything that
    replicas had acknowledged when the primary was killed, and in the end all three directories have the same
    contents."""
    group = make_group()
    for node in group.nodes.values():
        with node.connect() as wire:
            wire.ok("CONFIG", "SET", "idempotency-window", "86400")
            wire.ok("CONFIG", "SET", "appendonly", "yes")
    dice = seeded("every kind")
    owners = [Holdings(number, dice) for number in range(2)]
    old = group.primary()
    with old.connect() as wire:
        answers = [
            send_random(wire, holdings, 800) | exchange(wire, holdings.one_of_each_kind())
            for holdings in owners]
        assert wire.call("WAIT", 2, 60_000) == 2
        before = listed(wire)
    assert len(before[0]) >= 2 and len(before[1]) >= 2, "at least one of each owner"
    old.crash()
    new = group.wait_primary_is_not(old)
    with new.connect() as wire:
        assert listed(wire) == before
        for holdings, first in zip(owners, answers):
            assert_states(wire, holdings)
            assert_answers(wire, holdings, first)
            first |= send_random(wire, holdings, 400)
            # Whatever the random choices, there is one of each kind in the end.
            first |= exchange(wire, holdings.one_of_each_kind())
            assert_answers(wire, holdings, first)
        after = listed(wire)
    group.restart(old)
    group.settle()
    assert group.primary() is new
    wait_same_offset(new, *group.replicas())
    for node in group.replicas():
        with node.connect() as wire:
            assert listed(wire) == after
            for holdings in owners:
                assert_states(wire, holdings)
    replicas = group.replicas()
    for process in [*group.sentinels, *replicas, new]:
        process.stop()
    expected = read_contents(new.files)
    assert {kind for kind, _, _ in expected.keys.values()} == set(KINDS.values()) - {"token"}
    assert expected.answers and expected.policies and expected.rules
    for node in replicas:
        assert read_contents(node.files) == expected, f"{node.files} and {new.files} differ"


def test_planned_failover(make_group):
    """SENTINEL FAILOVER under load. The old primary continues for about ten seconds; with its writes paused until the
    failover, clients' calls time out, the clients look up the new primary, and there is no excess."""
    group = make_group()
    old = group.primary()
    limit = 6000
    clients = Throttlers(group, "hot", limit)
    await_admitted(clients, 1000)
    began = time.monotonic()
    with old.connect() as wire:
        # A few seconds are enough, as documented, unless the machine stalls.
        wire.ok("CLIENT", "PAUSE", 60_000, "WRITE")
        clients.go_on()
        assert group.sentinels[0].call("SENTINEL", "FAILOVER", NAME) == b"OK"
        new = group.wait_primary_is_not(old)
        seconds = admitted_again(clients, old, began)
        eventually(lambda: clients.have_moved_to(new), "all clients have looked up the primary")
        wire.ok("CLIENT", "UNPAUSE")
        eventually(lambda: old.info()["role"] == "slave", "the old primary follows")
        split = time.monotonic() - began
    eventually(lambda: clients.refused > 30, "the limiter is exhausted")
    clients.finish()
    print(f"planned: admitted {len(clients.admitted)} of {limit}, again after {seconds:.2f} s; the old primary followed "
          f"after {split:.2f} s; syncs of the new one {new.syncs()}")
    assert len(clients.admitted) <= limit
    group.settle()
    wait_same_state(new, *group.replicas())


def demand_replicas(group):
    for node in group.nodes.values():
        with node.connect() as wire:
            wire.ok("CONFIG", "SET", "min-replicas-max-lag", "2")
            wire.ok("CONFIG", "SET", "min-replicas-to-write", "1")


def test_stopped_primary_is_bounded_by_min_replicas(make_group):
    """A primary that is suspended for 20 s and resumes after a failover accepts no more writes. Clients that use
    Sentinel get no more excess than what was in transit."""
    group = make_group()
    demand_replicas(group)
    old = group.primary()
    limit = 6000
    with old.connect() as direct:
        assert direct.call("CL.THROTTLE", "d", 10_000, 1, 10_000)[0] == 0
        clients = Throttlers(group, "hot", limit)
        await_admitted(clients, 500)
        stopped_at = time.monotonic()
        with old.standing_still():
            known = what_replicas_know(clients, old)
            seconds = admitted_again(clients, old, stopped_at)
            new = group.wait_primary_is_not(old)
            other = next(n for n in group.nodes.values() if n not in (old, new))
            eventually(lambda: other.info().get("master_link_status") == "up", "the other replica follows")
            check_excess(clients, old, new, known)
            with new.connect() as wire:
                while time.monotonic() < stopped_at + 20:
                    assert wire.call("CL.THROTTLE", "hot", limit - 1, 1, 1_000_000)[0] == 1
                    time.sleep(0.01)  # paces the calls during the 20 s
    # Its replicas have left, and it notices: after the first refusal it refuses all writes until Sentinel demotes it.
    accepted = 0

    def is_refused():
        nonlocal accepted
        while True:
            try:
                with old.connect() as direct:
                    reply = direct.call("CL.THROTTLE", "d", 10_000, 1, 10_000)
                break
            except OSError:
                pass  # a demotion closes its clients
        accepted += not isinstance(reply, ErrorReply)
        return isinstance(reply, ErrorReply)

    eventually(is_refused, "a primary without replicas refuses")
    assert all(is_refused() for _ in range(2000))
    print(f"admitted again after {seconds:.2f} s; the woken primary took {accepted} more")
    assert new.info()["role"] == "master"
    # Sentinel demotes it, and it follows with the new primary's state.
    group.settle()
    wait_same_state(new, *group.replicas())


def test_a_node_that_never_synced_is_not_promoted(make_group, nodes, tmp_path):
    group = make_group(names=("a",), sentinels=1, timeout_ms=60_000)
    primary = group.primary()
    fill(primary, 20_000)
    with proxy_to(primary) as proxy:
        proxy.hold_after = 100_000
        replica = nodes("b", of=proxy.port, wait=False)
        eventually(proxy.held.is_set, "the full sync is held in the middle")
        sentinel = group.sentinels[0]
        eventually(lambda: sentinel.master()["num-slaves"] == "1", "Sentinel knows the replica")
        eventually(lambda: b"slave-priority" in b" ".join(sentinel.call("SENTINEL", "REPLICAS", NAME)[0]), "tried")
        assert replica.info()["slave_priority"] == "0"
        primary.crash()
        eventually(lambda: "-failover-abort-no-good-slave" in sentinel.log(), "Sentinel finds no suitable replica")
        assert replica.info()["role"] == "slave"
        assert sentinel.primary_port() == primary.port
    primary = group.restart(primary)
    replica.follow(primary)
    assert len(wait_same_state(primary, replica)) > 0


def test_restarts(make_group):
    """One node, faster than the failure is detected; then all nodes and all Sentinels at once."""
    # Long enough that a busy machine does not cause a failover either.
    group = make_group(down_after_ms=20_000)
    first = group.primary()
    fill(first, 500)
    wait_same_state(first, *group.replicas())
    wait_on_disk(first, 2, own=True)
    first.crash()
    first = group.restart(first)
    group.settle()
    assert group.primary() is first
    assert len(wait_same_state(first, *group.replicas())) == 500
    for sentinel in group.sentinels:
        sentinel.stop()
    everything = list(group.nodes.values())
    for node in everything:
        node.stop()
    for node in everything:
        group.restart(node)
    for sentinel in group.sentinels:
        sentinel.start()
    group.settle()
    assert len(wait_same_state(group.primary(), *group.replicas())) == 500
