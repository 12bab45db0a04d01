"""Reads how a database is doing, in one short visit that changes nothing.

Knows PostgreSQL's catalogs and the engine's tables. Does not know what is good or bad.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from productsearch_engine.database import migrate, processes
from productsearch_engine.database.bounded import BoundedConnection
from productsearch_engine.database.counts import Count, counts
from productsearch_engine.limits import DATABASE_CONNECT_S

_COUNTING_S = 1.0
_SETTINGS = """
select name, setting::bigint * case unit when '8kB' then 8192 when 'kB' then 1024 else 1 end
from pg_settings
where name in ('shared_buffers', 'max_connections', 'autovacuum_freeze_max_age')
union all
select name, (setting = 'on')::int from pg_settings
where name in ('fsync', 'full_page_writes', 'autovacuum')
"""
_EXTENSION = "select extversion from pg_extension where extname = 'vector'"
_READ_ONLY = "select pg_is_in_recovery() or current_setting('transaction_read_only')::bool"
_AGE = "select age(datfrozenxid) from pg_database where datname = current_database()"
# Not PostgreSQL's own processes, which take no place of a connection. Of those of other accounts an
# ordinary one sees no type.
CONNECTIONS = """
select count(*) from pg_stat_activity
where datid is not null and coalesce(backend_type, 'client backend') = 'client backend'
"""
_INDEXES = """
select i.indexrelid::regclass::text,
    i.indisvalid or exists (select from pg_stat_progress_create_index p where p.relid = i.indrelid),
    a.amname = 'hnsw', pg_relation_size(c.oid),
    (select option_value::int from pg_options_to_table(c.reloptions)
        where option_name = 'ef_construction')
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
join pg_class t on t.oid = i.indrelid
where t.relname ~ '^(images|nearest|kept|reembedding)(_|$)' and c.relkind = 'i'
"""
_DEAD = """
select relname, n_live_tup, n_dead_tup from pg_stat_user_tables where n_dead_tup > 10000
"""
_UNVACUUMED = """
select relname from pg_class where relkind = 'r' and relname ~ '^(images|nearest|kept)_'
    and exists (select from pg_options_to_table(reloptions)
        where option_name = 'autovacuum_enabled' and option_value::bool is false)
order by relname
"""
_LIBRARIES = """
select l.name, l.image_count - LENT, l.capacity, l.embedding,
    exists (
        select from pg_index i join pg_class c on c.oid = i.indexrelid
        join pg_am a on a.oid = c.relam and a.amname = 'hnsw'
        where i.indisvalid and i.indpred is null and i.indrelid in (
            to_regclass('nearest_' || l.id), to_regclass('images_' || l.id
                || case when l.generation > 0 then '_' || l.generation else '' end))
    ),
    DROPPED
from libraries l order by l.name
"""
_DROPPED = "exists (select from dropped_indexes d where d.library_id = l.id)"


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index of the engine's tables; ``nearest``: of vectors.

    One whose table has an index built just now counts as valid: it may be that one.
    """

    name: str
    valid: bool
    nearest: bool
    size_bytes: int
    ef_construction: int | None
    """Candidates for the links of an image, as the index is set; None: pgvector's 64."""


@dataclass(frozen=True, kw_only=True)
class LibraryState:
    """What a library has; ``indexed``: its vectors have a valid index, ``waits``: an import builds
    it again."""

    name: str
    image_count: int
    capacity: int
    embedding: str
    indexed: bool
    waits: bool


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found. ``settings`` are numbers: bytes, counts, 1 for on."""

    version: int
    extension: str
    """Version of pgvector in this database; empty: it is not there."""
    read_only: bool
    settings: Mapping[str, int]
    connections: int
    transaction_age: int
    now: datetime
    migrations: frozenset[int]
    indexes: tuple[Index, ...]
    dead: Mapping[str, tuple[int, int]]
    """Live and dead rows of tables with many dead ones."""
    unvacuumed: tuple[str, ...]
    """Tables that autovacuum was turned off for."""
    libraries: tuple[LibraryState, ...]
    reembedding: tuple[str, ...]
    """Libraries whose other embedding is being computed."""
    counts: tuple[Count, ...] = ()
    """Of the libraries that were counted."""

    @property
    def pending(self) -> set[int]:
        """Migrations of this engine that the database does not have."""
        return migrate.versions() - self.migrations

    @property
    def unknown(self) -> set[int]:
        """Migrations of a newer engine."""
        return {*self.migrations} - migrate.versions()


def embedded_dsn(data: Path) -> str | None:
    """Return the connection string of the running embedded PostgreSQL; None: it does not run."""
    try:
        lines = (data / "postgres" / "postmaster.pid").read_text().splitlines()
        running = processes.is_postgres(int(lines[0]))
        folder = lines[4]
    except (OSError, ValueError, IndexError):
        return None
    return f"host='{folder}' port=5432 user=postgres dbname=postgres" if running else None


def inspect(dsn: str, ends_s: float) -> Facts:
    """Return the facts of a database, or give up at ``ends_s`` of the monotonic clock.

    Raises psycopg.Error.
    """
    left_s = ends_s - time.monotonic()
    connects_s = DATABASE_CONNECT_S
    if math.isfinite(left_s):
        connects_s = max(connects_s, int(left_s))
    with BoundedConnection.connect(dsn, autocommit=True, connect_timeout=connects_s) as connection:
        connection.given_up = lambda: time.monotonic() > ends_s
        facts = gather(connection)
        if 24 not in facts.migrations:
            return facts
        left_s = ends_s - time.monotonic()
        return replace(facts, counts=counts(connection, min(_COUNTING_S, left_s / 4)))


def gather(connection: psycopg.Connection[Any]) -> Facts:
    """Return the facts of a connection's database. Raises psycopg.Error."""
    migrations = _migrations(connection)
    ours = bool(migrations)
    return Facts(
        version=connection.info.server_version,
        extension=str(_one(connection, _EXTENSION) or ""),
        read_only=bool(_one(connection, _READ_ONLY)),
        settings={str(name): int(value) for name, value in connection.execute(_SETTINGS)},
        connections=int(_one(connection, CONNECTIONS)),
        transaction_age=int(_one(connection, _AGE)),
        now=_one(connection, "select clock_timestamp()"),
        migrations=migrations,
        indexes=tuple(
            Index(
                name=name, valid=valid, nearest=nearest, size_bytes=size, ef_construction=candidates
            )
            for name, valid, nearest, size, candidates in connection.execute(_INDEXES)
        ),
        dead={name: (live, dead) for name, live, dead in connection.execute(_DEAD)},
        unvacuumed=tuple(str(row[0]) for row in connection.execute(_UNVACUUMED)),
        libraries=_libraries(connection, migrations) if ours else (),
        reembedding=_reembedding(connection) if 2 in migrations else (),
    )


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def _migrations(connection: psycopg.Connection[Any]) -> frozenset[int]:
    if _one(connection, "select to_regclass('schema_migrations')") is None:
        return frozenset()
    rows = connection.execute("select version from schema_migrations")
    return frozenset(int(row[0]) for row in rows)


def _libraries(
    connection: psycopg.Connection[Any], migrations: frozenset[int]
) -> tuple[LibraryState, ...]:
    text = _LIBRARIES.replace("LENT", "lent_room_of(l.id)" if 22 in migrations else "0")
    text = text.replace("DROPPED", _DROPPED if 21 in migrations else "false")
    return tuple(
        LibraryState(
            name=name,
            image_count=count,
            capacity=room,
            embedding=embedding,
            indexed=indexed,
            waits=waits,
        )
        for name, count, room, embedding, indexed, waits in connection.execute(text.encode())
    )


def _reembedding(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    rows = connection.execute(
        "select l.name from reembeddings r join libraries l on l.id = r.library_id"
        " where r.served_until is null order by l.name"
    )
    return tuple(str(row[0]) for row in rows)
