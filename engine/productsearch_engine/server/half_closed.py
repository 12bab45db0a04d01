"""Tells a client that has closed its side of a connection from one that has left it.

The first still reads its answer (``nc -N``, proxies that pass on what their client closed), the
second may have repeated its call elsewhere. What has come from the two is the same. An interim
answer, ``100 Continue``, makes the difference: the first reads it and waits on, for the second its
kernel answers with a reset. What forwards connections between the two may take several to find out.
HTTP/1.0 has no interim answers. Knows sockets. Does not know ASGI.
"""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from typing import Any, Final

_INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_ASKED_AFTER: Final = (0, 1, 3, 5)
"""After so many looks; some clients give up after more than five interim answers."""
_HARMLESS: Final = ("GET", "HEAD")
"""What may be answered without asking whether somebody is there: nothing is stored."""


def may_be_answered(request: dict[str, Any]) -> bool:
    """Return whether a request, given as its ASGI scope, waits for its answer or can be asked."""
    return request["http_version"] == "1.1" or request["method"] in _HARMLESS


def ask(transport: asyncio.Transport, request: dict[str, Any], looks: int) -> None:
    """Have the client's kernel tell whether somebody is there, as ``has_left`` shows then.

    ``looks``: how often that was looked at. Nothing may have been sent yet of the next answer.
    """
    if request["http_version"] == "1.1" and looks in _ASKED_AFTER:
        transport.write(_INTERIM)


def has_left(transport: asyncio.Transport) -> bool:
    """Return whether the client's kernel has reset the connection."""
    # A socket that has closed meanwhile has no descriptor.
    with suppress(OSError, ValueError, AttributeError):
        asked = select.poll()
        asked.register(transport.get_extra_info("socket").fileno(), 0)
        return bool(asked.poll(0))
    return True
