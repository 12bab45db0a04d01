"""What a library takes and how it grows: for its page in the console. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString

from psycopg import errors, sql
from psycopg_pool import ConnectionPool

from productsearch_engine.limits import LIBRARY_PAGE_DAYS
from productsearch_engine.store import statements, tables
from productsearch_engine.store.images import LibraryGoneError
from productsearch_engine.store.libraries import Library


@dataclass(frozen=True, kw_only=True)
class Second:
    """The embedding that a library has beside the one that serves; ``done``: images with its
    vectors."""

    embedding: str
    done: int
    served_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Member:
    """Who may sign in."""

    name: str
    role: str
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Sizes in bytes."""

    rows_bytes: int
    copies_bytes: int
    indexes_bytes: int
    vector_index_bytes: int
    vector_index_valid: bool
    second: Second | None
    members: list[Member]
    adds: list[tuple[date, int]]
    """Images by the day of their adding, in UTC, of the last ``LIBRARY_PAGE_DAYS`` days; days
    without are not there. Deleted images do not count."""
    searches: list[tuple[date, int]]
    """Searches by calls, by day in the same way; the last seconds' are not there yet."""


class Overviews:
    """The overviews of one database's libraries."""

    def __init__(self, pool: ConnectionPool[Any]):
        self._pool = pool

    def of(self, library: Library) -> Overview:
        """Return a library's overview. Raises LibraryGoneError."""
        table = tables.images(library.id, library.generation).as_string(None)
        names = {
            "table": table,
            "nearest": tables.nearest(library.id).as_string(None),
            "kept": tables.kept(library.id).as_string(None),
        }
        try:
            with self._pool.connection() as connection:
                sizes = connection.execute(_SIZES, names).fetchone()
                vectors = connection.execute(_VECTORS, names).fetchone()
                other = connection.execute(_OTHER, [library.id]).fetchone()
                second = None
                if other is not None:
                    text = sql.SQL("select count(*) from {}").format(tables.reembedding(library.id))
                    done = connection.execute(text).fetchone()
                    second = Second(
                        embedding=other[0], done=int(done[0]) if done else 0, served_until=other[1]
                    )
                members = connection.execute(_MEMBERS, [library.id]).fetchall()
                adds = connection.execute(
                    statements.composed(_ADDS, library), {"days": LIBRARY_PAGE_DAYS}
                ).fetchall()
                searches = connection.execute(
                    _SEARCHES, {"library": library.id, "days": LIBRARY_PAGE_DAYS}
                ).fetchall()
        except errors.UndefinedTable:
            raise LibraryGoneError from None
        rows, copies, indexes = sizes or (0, 0, 0)
        size, valid = vectors or (0, False)
        return Overview(
            rows_bytes=int(rows),
            copies_bytes=int(copies),
            indexes_bytes=int(indexes),
            vector_index_bytes=int(size),
            vector_index_valid=bool(valid),
            second=second,
            members=[Member(name=row[0], role=row[1], since=row[2]) for row in members],
            adds=[(row[0], int(row[1])) for row in adds],
            searches=[(row[0], int(row[1])) for row in searches],
        )


_SIZES: LiteralString = (
    "select table_bytes(%(table)s::regclass)"
    " + coalesce(table_bytes(to_regclass(%(nearest)s)), 0),"
    " coalesce(table_bytes(to_regclass(%(kept)s)) + index_bytes(to_regclass(%(kept)s)), 0),"
    " index_bytes(%(table)s::regclass)"
    " + coalesce(index_bytes(to_regclass(%(nearest)s)), 0)"
)
_VECTORS: LiteralString = (
    "select pg_relation_size(i.indexrelid), i.indisvalid from pg_index i"
    " join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam"
    " where i.indrelid in (%(table)s::regclass, to_regclass(%(nearest)s)) and a.amname = 'hnsw'"
    " order by i.indisvalid desc, i.indrelid <> %(table)s::regclass desc limit 1"
)
_OTHER: LiteralString = "select embedding, served_until from reembeddings where library_id = %s"
_MEMBERS: LiteralString = (
    "select name, role, created_at from users where library_id = %s order by name"
)
_ADDS: LiteralString = (
    "select (created_at at time zone 'UTC')::date, count(*) from {images}"
    " where created_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'"
    " - make_interval(days => %(days)s - 1) group by 1 order by 1"
)
_SEARCHES: LiteralString = (
    "select (hour at time zone 'UTC')::date, sum(count) from searches"
    " where library_id = %(library)s and"
    " hour >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'"
    " - make_interval(days => %(days)s - 1) group by 1 order by 1"
)
