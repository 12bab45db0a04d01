"""The tables that a library has of its own: their names, and how they are created and dropped.

``images_<id>`` holds its images (``images_<id>_<generation>`` after a change of embedding),
``kept_<id>`` small copies of them, ``reembedding_<id>`` its images with another embedding's
vectors. Knows tables. Does not know rows.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import Connection, sql


def images(library_id: int, generation: int = 0) -> sql.Identifier:
    """Return the name of the table that holds a library's images."""
    return sql.Identifier(f"images_{library_id}" + (f"_{generation}" if generation else ""))


def kept(library_id: int) -> sql.Identifier:
    """Return the name of the table that holds small copies of a library's images."""
    return sql.Identifier(f"kept_{library_id}")


def reembedding(library_id: int) -> sql.Identifier:
    """Return the name of the table that holds a library's images with other vectors."""
    return sql.Identifier(f"reembedding_{library_id}")


def create_images(connection: Connection[Any], library_id: int, dimensions: int) -> None:
    """Create the table of a new library's images."""
    connection.execute(
        sql.SQL("create table {} partition of images for values in ({})").format(
            images(library_id), sql.Literal(library_id)
        )
    )
    bound_dimensions(connection, images(library_id), dimensions)
    create_nearest(
        connection, images(library_id), dimensions, sql.Identifier(f"images_{library_id}_nearest")
    )


def create_reembedding(connection: Connection[Any], library_id: int, dimensions: int) -> None:
    """Create the table for another embedding's vectors, with every index but the one of these."""
    table = reembedding(library_id)
    connection.execute(sql.SQL("create table {} (like images including all)").format(table))
    # With this check, attaching the table reads none of its rows.
    connection.execute(
        sql.SQL("alter table {} add check (library_id = {})").format(table, sql.Literal(library_id))
    )
    bound_dimensions(connection, table, dimensions)


def bound_dimensions(connection: Connection[Any], table: sql.Identifier, dimensions: int) -> None:
    """Let a table take vectors of this length only."""
    connection.execute(
        sql.SQL("alter table {} add check (vector_dims(embedding) = {})").format(
            table, sql.Literal(dimensions)
        )
    )


def create_nearest(
    connection: Connection[Any],
    table: sql.Identifier,
    dimensions: int,
    name: sql.Identifier,
) -> None:
    """Create the index of an empty table's vectors."""
    connection.execute(_nearest("", name, table, dimensions))


def complete_nearest(connection: Connection[Any], table: sql.Identifier, dimensions: int) -> None:
    """Create the index of a table's vectors while it is written to, if it has none.

    One that was left half made is dropped first: PostgreSQL keeps it up to date and never uses it.
    Must not run in a transaction.
    """
    found = connection.execute(
        "select i.indexrelid::regclass::text, i.indisvalid from pg_index i"
        " join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam"
        " where i.indrelid = %s::regclass and a.amname = 'hnsw'",
        [table.as_string(None)],
    ).fetchall()
    for name, valid in found:
        if not valid:
            # A name that PostgreSQL has quoted itself.
            connection.execute(f"drop index concurrently if exists {name}".encode())
    if not any(valid for _, valid in found):
        # Without a name PostgreSQL gives it a free one.
        connection.execute(_nearest("concurrently", sql.SQL(""), table, dimensions))


def _nearest(
    how: LiteralString, name: sql.Composable, table: sql.Identifier, dimensions: int
) -> sql.Composed:
    return sql.SQL(
        "create index {} {} on {} using hnsw ((embedding::halfvec({})) halfvec_cosine_ops)"
    ).format(sql.SQL(how), name, table, sql.Literal(dimensions))


def create_kept(connection: Connection[Any], library_id: int) -> None:
    """Create the table of a library's small copies, if it has none."""
    connection.execute(
        sql.SQL("create table if not exists {} partition of kept_images for values in ({})").format(
            kept(library_id), sql.Literal(library_id)
        )
    )
    # WebP cannot be compressed further.
    connection.execute(
        sql.SQL("alter table {} alter column webp set storage external").format(kept(library_id))
    )


def drop(connection: Connection[Any], *tables: sql.Identifier) -> None:
    """Drop those of the tables that are there."""
    for table in tables:
        connection.execute(sql.SQL("drop table if exists {}").format(table))
