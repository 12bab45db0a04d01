"""Who makes the current RPC: set by the interceptors, read by the servicer."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller: the name it proved, else the address it calls from.

    Where callers share something, a caller with a larger ``share`` has more turns.
    ``label`` is what metrics call it: the name only if the policy lists it.
    """

    name: str
    share: int = 1
    label: str = "other"


current_caller: Final[ContextVar[Caller]] = ContextVar("current_caller")
