"""A connection whose every statement ends in time, whatever the server does.

``statement_timeout`` is the server's own promise: a server that stands still, or a network that
swallows packets, breaks it. This limit is kept by the client. Knows psycopg's connections. Does
not know statements.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

from productsearch_engine.limits import STATEMENT_CLIENT_S

_LOOK_S = 0.1
"""Time between two looks at the clock while the server says nothing."""


class NoAnswerError(psycopg.OperationalError):
    """The database did not answer in time; the connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """Ends each wait for the server, of a statement or of a transaction's end, at a limit.

    Raises NoAnswerError there, and closes the connection: its state is unknown.
    """

    limit_s: float = STATEMENT_CLIENT_S
    """Longest wait, in seconds."""

    given_up: Callable[[], bool] | None = None
    """Asked while it waits; returns true if waiting on is useless."""

    answered: Callable[[], object] | None = None
    """Called whenever the server has answered."""

    def wait(self, gen: PQGen[RV], interval: float = _LOOK_S, timeout: float | None = None) -> RV:
        """Wait for the server, as psycopg's own method does, but no longer than the limit."""
        result = super().wait(self._until(gen, time.monotonic() + self.limit_s), interval, timeout)
        if self.answered is not None:
            self.answered()
        return result

    def _until(self, gen: PQGen[RV], deadline: float) -> PQGen[RV]:
        # psycopg wakes the generator after each interval, also if nothing has come.
        try:
            state = next(gen)
            while True:
                ready = yield state
                if not ready and self._is_over(deadline):
                    self.close()
                    raise NoAnswerError("the database did not answer in time")
                state = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result

    def _is_over(self, deadline: float) -> bool:
        return time.monotonic() > deadline or (self.given_up is not None and self.given_up())
