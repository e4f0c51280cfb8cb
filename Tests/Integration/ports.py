"""Ports for the servers that tests start.

A port that is free at the moment may be gone before a server binds it: the kernel gives it to an outgoing connection,
another test run finds it as well, or a node that is started again on its own port finds it taken. And where nothing is
to listen, a connection to that port may be given the very same port by the kernel, and then it meets itself. So these
ports are none that the kernel gives away, and each belongs to one process at a time.
"""

import errno
import os
import socket

_reservations = []  # they end with the process


def _candidates():
    low, high = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
    below, above = range(10_000, low), range(high + 1, 65_536)
    found = max(below, above, key=len)
    if len(found) < 1000:
        raise RuntimeError(f"the kernel gives away the ports {low} to {high}: too few are left for tests")
    return found


def _reserve(port):
    """Whether it is this process's from now on: the abstract name of a socket belongs to one, in the same namespace of
    the network as the port does."""
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0escapement test port {port}")
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation)
    return True


def _is_unused(port):
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family) as probe:
                probe.bind((address, port))
        except OSError as problem:
            # Machines without IPv6.
            if problem.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return False
    return True


def free_port():
    """A port that nothing listens on, whatever the address, and that no other test is given."""
    candidates = _candidates()
    # Not all processes look in the same order, so that they need not try what the others have.
    start = os.getpid() * 97 + len(_reservations)
    for number in range(len(candidates)):
        port = candidates[(start + number) % len(candidates)]
        if _reserve(port) and _is_unused(port):
            return port
    raise RuntimeError("no free port found")
