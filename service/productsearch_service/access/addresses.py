"""Addresses as settings write them and as gRPC tells them: hosts, ports, peers, networks."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORT_MAX = 65535


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of ``host:port`` or ``[host]:port``; raise ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > _PORT_MAX:
        raise ValueError("must be host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    if host == "localhost":
        return True
    address = _ip(host)
    return address is not None and address.is_loopback


def host_of(peer: str) -> str:
    """Return the host of a gRPC peer such as ``ipv4:10.0.0.7:51234``; its port says nothing.

    A peer at a Unix socket has no host: then it is the kind, ``unix``.
    """
    kind, _, address = unquote(peer).partition(":")
    if not kind.startswith("ip"):
        return kind
    return address.rpartition(":")[0]


def is_within(host: str, networks: Iterable[Network]) -> bool:
    """Whether ``host`` is an IP address in one of ``networks``; other peers are in none."""
    address = _ip(host.strip("[]"))
    return address is not None and any(address in network for network in networks)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    # A server at [::] sees IPv4 callers as ::ffff:10.0.0.7.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
