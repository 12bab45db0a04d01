"""The steps of a change: one statement, or several for a library whose rows have buckets.

Knows which of both a library takes. Does not know changes: ``store.journal`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from productsearch_engine.store import statements
from productsearch_engine.store.libraries import Library

BATCH = 1000
"""Images of one statement of a change that has many; changes that are read at once."""


@dataclass(frozen=True)
class Step:
    """A change of a library: one statement, or steps if its rows have buckets."""

    text: LiteralString
    steps: Callable[[psycopg.Connection[Any], Library, dict[str, Any]], Any]

    def make(
        self, connection: psycopg.Connection[Any], library: Library, values: dict[str, Any]
    ) -> Any:
        """Make it and return the statement's row."""
        if library.bucketed:
            return self.steps(connection, library, values)
        return connection.execute(statements.composed(self.text, library), values).fetchone()


def in_batches(
    connection: psycopg.Connection[Any],
    library: Library,
    change: Step,
    values: dict[str, Any],
    most: int,
) -> int:
    """Change some images after others, by sign; return of how many.

    The row of each step: of how many, and the last sign that it looked at; None: no further one.
    """
    done, after = 0, None
    while done < most:
        limits = {"after": after, "count": min(BATCH, most - done)}
        row = change.make(connection, library, values | limits)
        if row is None or row[1] is None:
            break
        done, after = done + int(row[0]), int(row[1])
    return done
