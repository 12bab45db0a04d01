"""Exchanges a library's two tables: a few names change, however many images there are.

Used in a transaction that has locked the table that serves. Knows names. Does not know vectors.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, sql

from productsearch_engine.store import tables
from productsearch_engine.store.libraries import Library


def exchange(
    connection: Connection[Any], library: Library, embedding: str, dimensions: int
) -> None:
    """Let the second table serve, as the table of ``embedding``, and make the first the second."""
    serving = tables.images(library.id, library.generation)
    second = tables.reembedding(library.id)
    new = tables.images(library.id, library.generation + 1)
    for statement in (
        sql.SQL("alter table images detach partition {}").format(serving),
        sql.SQL("alter table {} rename to {}").format(second, new),
        sql.SQL("alter table {} rename to {}").format(serving, second),
        # Its checks say what the partition demands, so its rows are not read.
        sql.SQL("alter table images attach partition {} for values in ({})").format(
            new, sql.Literal(library.id)
        ),
    ):
        connection.execute(statement)
    _exchange_nearest(connection, library.id)
    _note(connection, library, embedding, dimensions)


def _exchange_nearest(connection: Connection[Any], library_id: int) -> None:
    """Exchange the tables of prefixes, as far as they are there."""
    serving, second = tables.nearest(library_id), tables.reembedding_nearest(library_id)
    aside = sql.Identifier(f"nearest_{library_id}_aside")
    rename = sql.SQL("alter table if exists {} rename to {}")
    for before, after in ((serving, aside), (second, serving), (aside, second)):
        connection.execute(rename.format(before, after))


def _note(connection: Connection[Any], library: Library, embedding: str, dimensions: int) -> None:
    """Exchange what the rows of the library say of its two embeddings."""
    connection.execute(
        """
        with before as (select * from libraries where id = %(id)s for update),
        second as (
            update reembeddings r set embedding = b.embedding, dimensions = b.dimensions,
                calibration = b.calibration, served_until = now(), nearest_axes = b.nearest_axes,
                nearest_generation = case
                    when b.nearest_generation = b.generation then b.generation + 1 end
            from before b, reembeddings was
            where r.library_id = b.id and was.library_id = r.library_id
            returning was.calibration, was.nearest_axes,
                was.nearest_generation = b.generation as has_nearest
        )
        update libraries l set embedding = %(embedding)s, dimensions = %(dimensions)s,
            generation = generation + 1, calibration = second.calibration,
            nearest_axes = second.nearest_axes,
            nearest_generation = case when second.has_nearest then generation + 1 end,
            nearest_since = case when second.has_nearest then now() end
        from second where l.id = %(id)s
        """,
        {"id": library.id, "embedding": embedding, "dimensions": dimensions},
    )
