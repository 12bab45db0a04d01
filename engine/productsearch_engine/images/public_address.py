"""Decides whether an IP address is a host on the public internet.

The table is ours, written from the IANA registries of special-purpose addresses for IPv4 and
IPv6 (RFC 6890, RFC 8190) and the RFC that each entry names. The interpreter's
``ipaddress.is_global`` changes from version to version, and it admits addresses that a network
answers itself, such as the anycast ones.

Does not resolve names and does not connect.
"""

from __future__ import annotations

import ipaddress
from itertools import chain
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

SPECIAL_IPV4 = {
    "0.0.0.0/8": "this network, RFC 791 and RFC 1122",
    "10.0.0.0/8": "private use, RFC 1918",
    "100.64.0.0/10": "shared address space of carriers, RFC 6598",
    "127.0.0.0/8": "loopback, RFC 1122",
    "169.254.0.0/16": "link-local, RFC 3927; also the metadata of clouds",
    "172.16.0.0/12": "private use, RFC 1918",
    "192.0.0.0/24": "protocol assignments, RFC 6890: DS-Lite, NAT64 discovery, PCP, TURN",
    "192.0.2.0/24": "documentation, RFC 5737",
    "192.31.196.0/24": "AS112 anycast, RFC 7535",
    "192.52.193.0/24": "AMT anycast, RFC 7450",
    "192.88.99.0/24": "6to4 relay anycast, deprecated, RFC 7526",
    "192.168.0.0/16": "private use, RFC 1918",
    "192.175.48.0/24": "AS112 anycast, RFC 7534",
    "198.18.0.0/15": "benchmarks, RFC 2544",
    "198.51.100.0/24": "documentation, RFC 5737",
    "203.0.113.0/24": "documentation, RFC 5737",
    "224.0.0.0/4": "multicast, RFC 5771",
    "240.0.0.0/4": "reserved, RFC 1112, and limited broadcast, RFC 919",
    # Not in a registry: the address at which Azure's platform answers its virtual machines.
    "168.63.129.16/32": "platform of a cloud",
}
"""IPv4 blocks that are no host on the public internet, with the reason."""

SPECIAL_IPV6 = {
    "2001::/23": "protocol assignments, RFC 2928: Teredo, benchmarks, AMT, AS112, ORCHID, DRIP",
    "2001:db8::/32": "documentation, RFC 3849",
    "2002::/16": "6to4, RFC 3056: it leads to an IPv4 address by way of a relay",
    "2620:4f:8000::/48": "AS112 anycast, RFC 7534",
    "3fff::/20": "documentation, RFC 9637",
}
"""IPv6 blocks inside ``2000::/3`` that are no host on the public internet, with the reason."""

# Of IPv6 only this block is assigned to hosts (RFC 4291). Outside it are, among others, the
# unspecified address, loopback and IPv4-compatible ::/96 (RFC 4291), IPv4-translated
# ::ffff:0:0:0/96 (RFC 2765), local NAT64 64:ff9b:1::/48 (RFC 8215), discard-only 100::/64
# (RFC 6666), the dummy prefix 100:0:0:1::/64 (RFC 9780), segment routing 5f00::/16 (RFC 9602),
# unique-local fc00::/7 (RFC 4193), link-local fe80::/10 (RFC 4291), site-local fec0::/10
# (RFC 3879) and multicast ff00::/8 (RFC 4291).
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""The well-known prefix of RFC 6052: the last 32 bits are an IPv4 address."""

_SPECIAL: tuple[_Network, ...] = tuple(
    ipaddress.ip_network(block) for block in chain(SPECIAL_IPV4, SPECIAL_IPV6)
)


def is_public(address: str) -> bool:
    """Return whether ``address`` is public; an IPv4 address inside IPv6 is judged itself.

    Text that is no address is not public.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return False
        inner = _ipv4_inside(parsed)
        if inner is None and parsed not in _GLOBAL_UNICAST:
            return False
        return _is_ordinary(parsed if inner is None else inner)
    return _is_ordinary(parsed)


def _ipv4_inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that a connection would lead to: mapped (RFC 4291) or NAT64."""
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped


def _is_ordinary(address: _Address) -> bool:
    return not any(address in network for network in _SPECIAL)
