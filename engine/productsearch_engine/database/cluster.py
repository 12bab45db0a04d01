"""Lays a database out for a cluster: a column ``bucket``, by which Citus distributes the rows.

Only a database without libraries is laid out; ``copy`` brings libraries into it. Rows of images,
of their prefixes and of their small copies are distributed, so that those of one image are in one
place. All other tables stay with the coordinator, which is the database that engines connect to.
Citus runs no trigger on distributed tables: ``store.bucketed`` does their work. Knows tables. Does
not know rows.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from productsearch_engine.database.pool import SEARCH_SETTINGS

LAYOUT: tuple[LiteralString, ...] = (
    "drop trigger images_forget on images",
    "drop trigger images_change on images",
    "drop trigger images_late on images",
    "drop trigger images_nearest on images",
    "drop trigger images_classes on images",
    "drop trigger images_lag on images",
    "alter table images add column bucket int not null, drop constraint images_pkey,"
    " drop constraint images_library_id_digest_key",
    "alter table images add primary key (library_id, bucket, sign),"
    " add unique (library_id, bucket, digest)",
    "alter table kept_images add column bucket int not null, drop constraint kept_images_pkey,"
    " drop constraint kept_images_library_id_fkey, alter column webp set storage external",
    "alter table kept_images add primary key (library_id, bucket, sign)",
    "create table two_phase (id int primary key)",
)
"""Gives the rows buckets. A table of prefixes gets its own when its library is created.

``two_phase`` stays empty: Citus commits in two phases what names it (``store.bucketed``).
"""

DISTRIBUTED = ("images", "kept_images")
"""The tables that are distributed at first; those of libraries follow as they are created."""

_FIRST, _SECOND = DISTRIBUTED
_SIZES: tuple[LiteralString, ...] = (
    "create or replace function table_bytes(of regclass) returns bigint language sql stable strict"
    " as 'select citus_table_size(of)'",
    "create or replace function index_bytes(of regclass) returns bigint language sql stable strict"
    " as 'select citus_total_relation_size(of) - citus_table_size(of)'",
)
_NO_CITUS = (
    "the database has no extension citus: install Citus 13 or later with pgvector on every node,"
    " set shared_preload_libraries = 'citus', and create extension citus"
)
_NO_COORDINATOR = (
    "the cluster does not know its coordinator: select citus_set_coordinator_host('HOST', PORT)"
)
_NO_WORKERS = "the cluster has no workers: select citus_add_node('HOST', PORT) for each"
_LIBRARIES = (
    "the database has libraries ({}): distribute an empty one, and copy them into it"
    " (productsearch-engine copy)"
)


class ClusterError(Exception):
    """The database cannot be distributed; the text is for its user."""


def is_laid_out(connection: psycopg.Connection[Any]) -> bool:
    """Return whether the rows have buckets."""
    return connection.execute("table bucket_layout").rowcount > 0


def lay_out(connection: psycopg.Connection[Any], shards: int | None = None) -> None:
    """Give the rows of a database without libraries buckets. Raises ClusterError."""
    _refuse_libraries(connection)
    for statement in _layout(shards):
        connection.execute(statement)


def plan(dsn: str, shards: int) -> list[str]:
    """Return the statements that distribute the database of a connection string, in their order."""
    parts = conninfo_to_dict(dsn)
    database = str(parts.get("dbname") or parts.get("user") or "postgres")
    statements = [*_layout(shards), *_distribution(shards)]
    texts = [statement.as_string(None) for statement in statements]
    return ["begin", *texts, "commit", *(each.as_string(None) for each in _settings(database))]


def distribute(connection: psycopg.Connection[Any], shards: int) -> bool:
    """Distribute a migrated database; return False if it was before.

    Run again after a failure it goes on: the tables are distributed in one transaction, and all
    else may be repeated. ``connection`` commits by itself. Raises ClusterError.
    """
    _refuse_without_citus(connection)
    is_new = not is_laid_out(connection)
    with connection.transaction():
        connection.execute("set local statement_timeout = 0")
        if is_new:
            lay_out(connection, shards)
            for statement in _distribution(shards):
                connection.execute(statement)
    for statement in _settings(connection.info.dbname):
        connection.execute(statement)
    return is_new


def _refuse_without_citus(connection: psycopg.Connection[Any]) -> None:
    found = connection.execute("select from pg_extension where extname = 'citus'")
    if not found.rowcount:
        raise ClusterError(_NO_CITUS)
    coordinator = connection.execute("select from pg_dist_node where groupid = 0")
    if not coordinator.rowcount:
        raise ClusterError(_NO_COORDINATOR)
    workers = connection.execute("select from citus_get_active_worker_nodes()")
    if not workers.rowcount:
        raise ClusterError(_NO_WORKERS)


def _refuse_libraries(connection: psycopg.Connection[Any]) -> None:
    rows = connection.execute("select name from libraries order by name").fetchall()
    if rows:
        raise ClusterError(_LIBRARIES.format(", ".join(repr(row[0]) for row in rows)))


def _layout(shards: int | None) -> list[sql.Composed]:
    note = sql.SQL("insert into bucket_layout (shards) values ({})").format(sql.Literal(shards))
    # The lock lets nobody create a library meanwhile.
    lock = sql.SQL("lock table libraries in share row exclusive mode").format()
    return [lock, *(sql.SQL(text).format() for text in LAYOUT), note]


def _distribution(shards: int) -> list[sql.Composed]:
    return [
        *(sql.SQL(text).format() for text in _SIZES),
        sql.SQL(
            "select create_distributed_table({}, 'bucket', shard_count => {},"
            " colocate_with => 'none')"
        ).format(sql.Literal(_FIRST), sql.Literal(shards)),
        sql.SQL("select create_distributed_table({}, 'bucket', colocate_with => {})").format(
            sql.Literal(_SECOND), sql.Literal(_FIRST)
        ),
        sql.SQL("select citus_add_local_table_to_metadata('two_phase')").format(),
    ]


def _settings(database: str) -> list[sql.Composed]:
    """Return what tells each node how its part of a search is done.

    The settings of the coordinator's sessions do not reach the workers; Citus passes these on.
    """
    return [
        sql.SQL("alter database {} set {} = {}").format(
            sql.Identifier(database), sql.SQL(name), sql.Literal(value)
        )
        for name, value in SEARCH_SETTINGS.items()
    ]
