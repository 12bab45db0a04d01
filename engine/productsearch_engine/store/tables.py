"""The tables that a library has of its own: their names, and how they are created and dropped.

``images_<id>`` holds its images (``images_<id>_<generation>`` after a change of embedding),
``nearest_<id>`` the prefixes of their vectors with the index, ``kept_<id>`` small copies of them,
``reembedding_<id>`` and ``reembedding_<id>_nearest`` the same with another embedding's vectors.
Knows tables. Does not know rows.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import Connection, sql

from productsearch_engine.embedding import prefix_axes
from productsearch_engine.embedding.prefix_axes import Axes
from productsearch_engine.limits import EF_CONSTRUCTION

_NEAREST_FILL = 95
"""Percent of a page of prefixes that inserts fill. A row whose class ids change stays on its page,
and no index is written to."""


def images(library_id: int, generation: int = 0) -> sql.Identifier:
    """Return the name of the table that holds a library's images."""
    return sql.Identifier(f"images_{library_id}" + (f"_{generation}" if generation else ""))


def nearest(library_id: int) -> sql.Identifier:
    """Return the name of the table that candidates are found in."""
    return sql.Identifier(f"nearest_{library_id}")


def kept(library_id: int) -> sql.Identifier:
    """Return the name of the table that holds small copies of a library's images."""
    return sql.Identifier(f"kept_{library_id}")


def reembedding(library_id: int) -> sql.Identifier:
    """Return the name of the table that holds a library's images with other vectors."""
    return sql.Identifier(f"reembedding_{library_id}")


def reembedding_nearest(library_id: int) -> sql.Identifier:
    """Return the name of the table that candidates with other vectors are found in."""
    return sql.Identifier(f"reembedding_{library_id}_nearest")


def with_vectors(library_id: int, generation: int) -> list[sql.Identifier]:
    """Return the names of a library's tables that may have indexes of vectors."""
    return [
        *(images(library_id, generation), nearest(library_id)),
        *(reembedding(library_id), reembedding_nearest(library_id)),
    ]


def create_images(
    connection: Connection[Any], library_id: int, embedding: str, dimensions: int
) -> None:
    """Create the tables of a new library's images."""
    connection.execute(
        sql.SQL("create table {} partition of images for values in ({})").format(
            images(library_id), sql.Literal(library_id)
        )
    )
    bound_dimensions(connection, images(library_id), dimensions)
    axes = create_nearest(connection, nearest(library_id), embedding, dimensions)
    connection.execute(nearest_index("", nearest(library_id)))
    connection.execute(
        "update libraries set nearest_generation = generation, nearest_axes = %s,"
        " nearest_since = now() where id = %s",
        [axes, library_id],
    )


def create_reembedding(
    connection: Connection[Any], library_id: int, embedding: str, dimensions: int
) -> str | None:
    """Create the tables for another embedding's vectors, with every index but the one of these.

    Returns the name of the axes of their prefixes.
    """
    table = reembedding(library_id)
    connection.execute(sql.SQL("create table {} (like images including all)").format(table))
    # With this check, attaching the table reads none of its rows.
    connection.execute(
        sql.SQL("alter table {} add check (library_id = {})").format(table, sql.Literal(library_id))
    )
    bound_dimensions(connection, table, dimensions)
    return create_nearest(connection, reembedding_nearest(library_id), embedding, dimensions)


def bound_dimensions(connection: Connection[Any], table: sql.Identifier, dimensions: int) -> None:
    """Let a table take vectors of this length only."""
    connection.execute(
        sql.SQL("alter table {} add check (vector_dims(embedding) = {})").format(
            table, sql.Literal(dimensions)
        )
    )


def create_nearest(
    connection: Connection[Any], table: sql.Identifier, embedding: str, dimensions: int
) -> str | None:
    """Create an empty table of prefixes without its index, in place of one that is there.

    Returns the name of the axes; None: the prefix is the whole vector.
    """
    axes = prefix_axes.of(embedding)
    if axes is not None:
        _keep_axes(connection, axes)
    drop(connection, table)
    layout = connection.execute("select shards from bucket_layout").fetchone()
    connection.execute(
        sql.SQL(
            "create table {} (library_id bigint not null,{} sign bigint not null, class_id1 int,"
            " class_id2 int, prefix halfvec({}) not null, primary key ({}))"
            " with (fillfactor = {})"
        ).format(
            table,
            sql.SQL(" bucket int not null," if layout else ""),
            sql.Literal(dimensions if axes is None else len(axes.rows)),
            sql.SQL("library_id, bucket, sign" if layout else "library_id, sign"),
            sql.Literal(_NEAREST_FILL),
        )
    )
    if layout and layout[0] is not None:
        connection.execute(
            "select create_distributed_table(%s, 'bucket', colocate_with => 'images')",
            [table.as_string(None)],
        )
    return None if axes is None else axes.name


def _keep_axes(connection: Connection[Any], axes: Axes) -> None:
    known = connection.execute("select from axes where name = %s limit 1", [axes.name])
    if not known.rowcount:
        connection.execute(
            "insert into axes (name, number, axis) select %s, number, axis::halfvec"
            " from unnest(%s::text[]) with ordinality as given (axis, number)"
            " on conflict do nothing",
            [axes.name, [str(row.tolist()) for row in axes.rows]],
        )


def complete_nearest(connection: Connection[Any], table: sql.Identifier) -> None:
    """Create the index of a table of prefixes while it is written to, if it has none.

    One that was left half made is dropped first: PostgreSQL keeps it up to date and never uses it.
    Must not run in a transaction.
    """
    found = vector_indexes(connection, table)
    for name, valid in found:
        if not valid:
            drop_index(connection, name)
    if not any(valid for _, valid in found):
        connection.execute(nearest_index("concurrently", table))


def vector_indexes(connection: Connection[Any], table: sql.Identifier) -> list[tuple[str, bool]]:
    """Return the names of a table's indexes of vectors, and whether each is complete."""
    return connection.execute(
        "select i.indexrelid::regclass::text, i.indisvalid from pg_index i"
        " join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam"
        " where i.indrelid = to_regclass(%s) and a.amname = 'hnsw'",
        [table.as_string(None)],
    ).fetchall()


def drop_index(connection: Connection[Any], name: str) -> None:
    """Drop an index while its table is used. ``name`` is one that PostgreSQL has quoted itself."""
    connection.execute(f"drop index concurrently if exists {name}".encode())


def nearest_index(how: LiteralString, table: sql.Identifier) -> sql.Composed:
    """Return the SQL that creates the index of a table of prefixes; a condition may follow it."""
    # Without a name PostgreSQL gives it a free one.
    return sql.SQL(
        "create index {} on {} using hnsw (prefix halfvec_cosine_ops) with (ef_construction = {})"
    ).format(sql.SQL(how), table, sql.Literal(EF_CONSTRUCTION))


def renew_index(connection: Connection[Any], name: str) -> None:
    """Set an index of vectors as new ones are, unless somebody has set it: for its next build."""
    set_ = connection.execute(
        "select reloptions is not null from pg_class where oid = to_regclass(%s)", [name]
    ).fetchone()
    if set_ == (False,):
        text = f"alter index {name} set (ef_construction = {EF_CONSTRUCTION})"
        connection.execute(text.encode())


def before_kept(connection: Connection[Any]) -> None:
    """Take the lock on ``libraries`` that ``create_kept`` asks for, before all others.

    Deletes lock the libraries before the copies. Who takes them in another order waits for a delete
    that waits for it.
    """
    connection.execute("lock table libraries in share row exclusive mode")


def create_kept(connection: Connection[Any], library_id: int) -> None:
    """Create the table of a library's small copies, if it has none; after ``before_kept``."""
    connection.execute(
        sql.SQL("create table if not exists {} partition of kept_images for values in ({})").format(
            kept(library_id), sql.Literal(library_id)
        )
    )
    if connection.execute("table bucket_layout").rowcount:
        # As the table that it is a part of; Citus refuses to be told again.
        return
    # WebP cannot be compressed further.
    connection.execute(
        sql.SQL("alter table {} alter column webp set storage external").format(kept(library_id))
    )


def drop(connection: Connection[Any], *tables: sql.Identifier) -> None:
    """Drop those of the tables that are there."""
    for table in tables:
        connection.execute(sql.SQL("drop table if exists {}").format(table))
