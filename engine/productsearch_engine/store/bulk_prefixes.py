"""The prefixes of rows that are loaded in bulk, computed for a whole batch at once.

The trigger of ``images`` computes one by one and plans an insert for each, which is most of what a
load takes. It leaves a transaction alone that says ``productsearch.prefixes`` is ``given``.

Knows tables and vectors. Does not know other columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from psycopg import Connection, sql

from productsearch_engine.embedding import prefix_axes
from productsearch_engine.store import tables
from productsearch_engine.store.libraries import Library

INSERT: LiteralString = """,
near as (
    insert into {nearest} (library_id, sign, class_id1, class_id2, prefix)
    select {library}, a.sign, f.class_id1, f.class_id2, f.prefix
    from added a join fitting f using (digest)
    on conflict (library_id, sign) do update set class_id1 = excluded.class_id1,
        class_id2 = excluded.class_id2, prefix = excluded.prefix
)"""
"""What an insert needs that has the rows ``added`` and ``fitting``, if prefixes are given."""


class Turned:
    """Makes the prefixes of one library's vectors."""

    def __init__(self, rows: NDArray[np.float32] | None):
        """``rows``: of the axes, shape (prefix, dimensions); None: a prefix is the vector."""
        self._rows = rows

    def prefixes(self, vectors: Sequence[bytes]) -> list[HalfVector]:
        """Return the prefixes of vectors that are float16, little endian."""
        whole = [np.frombuffer(vector, "<f2") for vector in vectors]
        if self._rows is None or not whole:
            return [HalfVector(vector) for vector in whole]
        turned = np.stack(whole).astype(np.float32) @ self._rows.T
        return [HalfVector(prefix) for prefix in turned.astype(np.float16)]


def give(connection: Connection[Any], library: Library) -> Turned | None:
    """Take over from the trigger until this transaction ends; return what it would compute.

    None: the trigger does it, because the library has no table of prefixes, or one with axes that
    this engine does not know. The lock keeps both so until the transaction ends. Raises
    psycopg.errors.UndefinedTable.
    """
    images = tables.images(library.id, library.generation)
    connection.execute(sql.SQL("lock table {} in row exclusive mode").format(images))
    row = connection.execute(
        "select nearest_axes from libraries where id = %s and nearest_generation = generation",
        [library.id],
    ).fetchone()
    if row is None:
        return None
    axes = prefix_axes.of(library.embedding)
    if row[0] != (None if axes is None else axes.name):
        return None
    connection.execute("select set_config('productsearch.prefixes', 'given', true)")
    return Turned(None if axes is None else axes.rows.astype(np.float32))
