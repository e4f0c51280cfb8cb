"""Ports for the servers that tests start.

A port that is free now may be taken before a server binds it: the kernel may assign it to an outgoing connection,
another test run may find it as well, or a node that is restarted on its own port may find it taken. And if nothing is
supposed to listen on a port, the kernel may assign that port to the connection itself, which then connects to itself.
So these ports are outside the kernel's ephemeral range, and each is reserved by one process at a time.
"""

import errno
import os
import socket

_reservations = []  # released when the process exits


def _candidates():
    low, high = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
    below, above = range(10_000, low), range(high + 1, 65_536)
    found = max(below, above, key=len)
    if len(found) < 1000:
        raise RuntimeError(f"the kernel's ephemeral ports are {low} to {high}: too few are left for tests")
    return found


def _reserve(port):
    """Reserves a port for this process: binds an abstract socket name, which one process can own and which is in the
    same network namespace as the port. Returns whether that succeeded."""
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
            # Without IPv6.
            if problem.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return False
    return True


def free_port():
    """A port that nothing listens on, on any address, and that no other test gets."""
    candidates = _candidates()
    # Processes search in different orders, so that they do not all try the same taken ports first.
    start = os.getpid() * 97 + len(_reservations)
    for number in range(len(candidates)):
        port = candidates[(start + number) % len(candidates)]
        if _reserve(port) and _is_unused(port):
            return port
    raise RuntimeError("no free port found")
