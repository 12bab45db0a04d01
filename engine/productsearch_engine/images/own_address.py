"""Decides whether an IP address is one of this machine's own.

A machine may have a public address on an interface, and services that it keeps from others by a
firewall but not from itself. An address that is translated to this machine elsewhere is not known
here. Does not know which addresses are public.
"""

from __future__ import annotations

import ipaddress
import socket

from productsearch_engine.images.errors import EXHAUSTED, NothingToSpareError

_ANY_PORT = 9


def is_own(address: str) -> bool:
    """Return whether ``address`` belongs to an interface of this machine, in its namespace.

    Asks the kernel for a route, and sends nothing: to an address of its own it goes from that same
    address. Interfaces are asked each time, as their addresses change. Raises NothingToSpareError:
    an address that was not looked at is not called another's.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _ANY_PORT))
            source = str(probe.getsockname()[0])
        return ipaddress.ip_address(source) == ipaddress.ip_address(address)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise NothingToSpareError from None
        return False  # there is no way to it
    except ValueError:
        return False
