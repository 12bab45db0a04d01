"""Peers and networks: who is where."""

from __future__ import annotations

import ipaddress

import pytest

from productsearch_service.identity.identify import host_of, is_within
from productsearch_service.settings_values import host_and_port

LOCAL = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "host", "local"),
    [
        ("ipv4:127.0.0.6:51234", "127.0.0.6", True),
        ("ipv4:10.0.0.7:51234", "10.0.0.7", False),
        ("ipv6:[fd00::7]:51234", "[fd00::7]", True),
        ("ipv6:%5Bfd00::7%5D:51234", "[fd00::7]", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:51234", "[::ffff:127.0.0.1]", True),
        ("ipv6:%5B::1%5D:51234", "[::1]", False),
        ("unix:/run/127.0.0.1:1", "unix", False),
        ("unix:", "unix", False),
        ("", "", False),
    ],
)
def test_peers(peer: str, host: str, local: bool) -> None:
    """A peer's host has no port; a Unix socket is in no network, whatever its path."""
    assert (host, local) == (host_of(peer), is_within(host_of(peer), LOCAL))


def test_hosts_and_ports() -> None:
    """IPv6 hosts stand in brackets."""
    assert ("::1", 5) == host_and_port("[::1]:5")
    for wrong in ("here", ":5", "here:", "here:65536", "here:-1", "here:\uff15"):
        with pytest.raises(ValueError, match=r"host:port|port must be"):
            host_and_port(wrong)
