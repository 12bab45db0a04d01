"""Why a port cannot be opened."""

from __future__ import annotations

import errno
import socket
from typing import Final

from productsearch_service.settings_values import host_and_port

_TAKEN: Final = "is taken"


class CannotListen(Exception):
    """Ports cannot be opened; a line for each one names its setting and says why."""


def what_to_do(why: str) -> str:
    """Return the next step after one of the reasons of ``why_not``."""
    other = "give another address"
    return f"end the program that listens there, or {other}" if why == _TAKEN else other


def why_not(address: str, error: Exception) -> str:
    """Return why listening at ``address`` failed with ``error``: gRPC's own tells no cause."""
    cause = error if isinstance(error, OSError) else bind_error(address)
    if cause is None:
        return "cannot be opened"
    if cause.errno == errno.EADDRINUSE:
        return _TAKEN
    if isinstance(cause, socket.gaierror) or cause.errno == errno.EADDRNOTAVAIL:
        return "is no address of this machine"
    return f"cannot be opened: {cause.strerror}"


def bind_error(address: str) -> OSError | None:
    """Return what happens to whoever tries to bind ``address``; None: it can be bound.

    Of a name with several addresses one that is free is enough, unless another one is taken.
    """
    host, port = host_and_port(address)
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error
    errors = []
    for family, kind, _, _, place in places:
        try:
            with socket.socket(family, kind) as probe:
                # As servers do: connections of the one before may still be ending.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return error
            errors.append(error)
    return errors[-1] if len(errors) == len(places) else None
