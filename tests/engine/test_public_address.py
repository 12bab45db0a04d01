"""Which addresses are hosts on the public internet, by the table and by the interpreter."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from productsearch_engine.images.public_address import (
    SPECIAL_IPV4,
    SPECIAL_IPV6,
    is_public,
)


@pytest.mark.parametrize("block", [*SPECIAL_IPV4, *SPECIAL_IPV6])
def test_every_address_of_a_block(block: str) -> None:
    """The first, the last and one in the middle of each special block are not public."""
    network = ipaddress.ip_network(block)
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert not is_public(str(address))


@pytest.mark.parametrize("block", SPECIAL_IPV4)
def test_a_block_is_no_larger_than_it_says(block: str) -> None:
    """The neighbours of a special block are public, unless they are in another one."""
    networks = [ipaddress.IPv4Network(special) for special in SPECIAL_IPV4]
    network = ipaddress.IPv4Network(block)
    for number in (int(network[0]) - 1, int(network[-1]) + 1):
        if 0 <= number < 2**32:
            address = ipaddress.IPv4Address(number)
            assert is_public(str(address)) == (not any(address in each for each in networks))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1",
        "192.0.0.9", "192.0.0.10", "192.0.0.192", "192.31.196.1", "192.175.48.1", "168.63.129.16",
        "100.100.100.200", "192.88.99.1", "198.19.255.255",
        "::1", "::", "fe80::1", "fe80::1%1", "fc00::1", "ff02::1", "ff0e::1", "::ffff:10.0.0.1",
        "::ffff:169.254.169.254", "2002:7f00:1::", "2002:808:808::1", "64:ff9b::7f00:1",
        "2001:db8::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::127.0.0.1", "64:ff9b:1::1",
        "fec0::1", "3fff::1", "5f00::1", "100::1", "100:0:0:1::1", "::ffff:0:127.0.0.1",
        "2001:1::1", "2001:20::1", "2620:4f:8000::1", "fd00:ec2::254", "2606:4700::1%eth0",
        "", "nowhere", "1.2.3", "1.2.3.4.5", "01.1.1.1",
    ],
)  # fmt: skip
def test_not_public(address: str) -> None:
    """Private, loopback, link-local, multicast and reserved addresses, also wrapped in IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2a00::1"],
)
def test_public(address: str) -> None:
    """Hosts on the public internet are admitted."""
    assert is_public(address)


_ipv4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
_ipv6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
_assigned = st.integers(0x2000 << 112, (0x4000 << 112) - 1).map(ipaddress.IPv6Address)


@seed(20260701)
@given(_ipv4 | _ipv6 | _assigned)
def test_never_more_than_the_interpreter_admits(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """What is public here is public for the interpreter's own table too."""
    if is_public(str(address)):
        inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        judged = inner or address
        assert judged.is_global or address in ipaddress.ip_network("64:ff9b::/96")
        assert not judged.is_multicast


@seed(20260701)
@given(_ipv4, st.sampled_from(["::ffff:0:0", "64:ff9b::"]))
def test_an_ipv4_address_inside_ipv6_is_judged_itself(
    address: ipaddress.IPv4Address, prefix: str
) -> None:
    """Mapped and NAT64 addresses are as public as the IPv4 address in them."""
    wrapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address))
    assert is_public(str(address)) == is_public(str(wrapped))
