"""What is said of a POST to which no whole answer came.

Knows what a failure says of the request and of the upstream. Does not know how it was found.
"""

from __future__ import annotations

from typing import Final

UNCONNECTED: Final = "cannot be connected to"


class TransportFailure(Exception):
    """No whole answer came.

    ``maybe_done``: whether the request can have reached the upstream and been carried out.
    ``stale``: it was sent on a connection from an earlier call, which ended without an answer; that
    says nothing of the upstream, and the next attempt gets a new connection.
    ``timed_out``: time ran out; the caller of ``post`` knows whose time it was.
    ``cause``: host and why, in fixed words, of one that could not be connected to; for the log.
    ``is_ours``: this replica is the reason. ``retry_after_s``: how long the upstream wants to be
    left alone.
    """

    def __init__(
        self,
        what: str,
        *,
        maybe_done: bool,
        stale: bool = False,
        timed_out: bool = False,
        is_ours: bool = False,
        retry_after_s: float = 0.0,
        cause: str = "",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.maybe_done = maybe_done
        self.stale = stale
        self.timed_out = timed_out
        self.is_ours = is_ours
        self.retry_after_s = retry_after_s

    @property
    def unanswered(self) -> bool:
        """Whether there was a connection, and time ran out on it."""
        return self.timed_out and self.what != UNCONNECTED
