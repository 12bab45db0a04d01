"""Ports for servers that go away and come back."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def free_port() -> int:
    """Return a port that stays free while its server is down.

    Below the range that the system hands out: there another connection can take it meanwhile.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def closed_port() -> Iterator[int]:
    """Hold a port at which nobody listens, and nobody else can begin to: it refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
