"""The address of a client, possibly through proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddress:
    """Determines whose quota a request uses: by default the peer's, whatever its headers contain.

    `trusted_proxies` are addresses and networks (`"10.0.0.0/8"`), and `"unix"` for peers without an
    address, as on a Unix socket. If the peer is one of them, X-Forwarded-For is read from its end,
    which the nearest proxy wrote: the first address that is not trusted is the client's. Everything
    before that is the client's own claim and is ignored.

    A client usually owns a whole IPv6 network, so IPv6 addresses count by their first
    `ipv6_prefix` bits.
    """

    def __init__(self, trusted_proxies: Iterable[str] = (), *, ipv6_prefix: int = 64) -> None:
        if isinstance(trusted_proxies, str):
            raise TypeError("trusted_proxies must be a list of addresses, not one string")
        if not 0 <= ipv6_prefix <= 128:
            raise ValueError(f"ipv6_prefix must be 0 to 128, not {ipv6_prefix}")
        proxies = list(trusted_proxies)
        self._trusts_unix = "unix" in proxies
        self._networks: list[_Network] = [
            ipaddress.ip_network(proxy) for proxy in proxies if proxy != "unix"
        ]
        self._ipv6_prefix = ipv6_prefix

    def resolve(self, peer: str | None, forwarded_for: Iterable[str] = ()) -> str:
        """The client's address, from the connection's peer and the request's X-Forwarded-For
        headers in their order."""
        address = _parse(peer) if peer else None
        trusted = self._is_trusted(address) if peer else self._trusts_unix
        if not trusted:
            return self._name(peer, address)
        nearest = address
        for entry in reversed(",".join(forwarded_for).split(",")):
            claimed = _parse(entry)
            if claimed is None:
                break
            nearest = claimed
            if not self._is_trusted(claimed):
                break
        return self._name(peer, nearest)

    def _is_trusted(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def _name(self, peer: str | None, address: _Address | None) -> str:
        if address is None:
            return peer or "unix"
        if address.version == 4 or self._ipv6_prefix == 128:
            return str(address)
        network = ipaddress.ip_network((address.packed, self._ipv6_prefix), strict=False)
        return str(network)


def _parse(text: str) -> _Address | None:
    """An address, possibly with a port or in brackets; None if it is something else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
