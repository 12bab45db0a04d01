"""Who makes the current RPC: set by the interceptors, read by the servicer.

A caller is the name that the policy knows it by, else the address it calls from. It decides
whose turn is next where callers share a quota.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final
from urllib.parse import unquote

current_caller: Final[ContextVar[str]] = ContextVar("current_caller")


def address_of(peer: str) -> str:
    """Return the host of a gRPC peer such as ``ipv4:10.0.0.7:51234``; its port says nothing."""
    kind, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0] or kind
