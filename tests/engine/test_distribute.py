"""``database distribute``: what it would run, and what it refuses. No test has a cluster here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from productsearch_engine import settings
from productsearch_engine.cli import main
from productsearch_engine.database import cluster, pool
from productsearch_engine.database.cluster import ClusterError
from productsearch_engine.store.libraries import Libraries

DSN = "host=nobody dbname=shops"


def test_a_dry_run_prints_the_sql(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order in which it runs, without a connection; all tables in one transaction."""
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_DATABASE", DSN)
    assert 0 == main(["database", "distribute", "--dry-run", "--shards", "48"])
    lines = capsys.readouterr().out.splitlines()
    assert [f"{each};" for each in cluster.plan(DSN, 48)] == lines
    distributed = [line for line in lines if "create_distributed_table" in line]
    assert [
        "select create_distributed_table('images', 'bucket', shard_count => 48,"
        " colocate_with => 'none');",
        "select create_distributed_table('kept_images', 'bucket', colocate_with => 'images');",
    ] == distributed
    begin, commit = lines.index("begin;"), lines.index("commit;")
    layout = [lines.index(f"{text};") for text in cluster.LAYOUT]
    noted = lines.index("insert into bucket_layout (shards) values (48);")
    assert [begin, *layout, noted] == sorted([begin, *layout, noted])
    assert noted < lines.index(distributed[0]) < lines.index(distributed[1]) < commit
    assert [
        f"alter database \"shops\" set {name} = '{value}';"
        for name, value in pool.SEARCH_SETTINGS.items()
    ] == lines[commit + 1 :]


@pytest.mark.parametrize("shards", ["0", "1025", "many"])
def test_shards_are_bounded(shards: str, capsys: pytest.CaptureFixture[str]) -> None:
    """There are 1,024 buckets, so no more shards than that."""
    with pytest.raises(SystemExit):
        main(["database", "distribute", "--shards", shards])
    assert "--shards" in capsys.readouterr().err


def test_the_embedded_database_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a sentence that says what to name; none is begun for it."""
    assert 1 == main(["database", "distribute", "--data", str(tmp_path)])
    assert [] == [*tmp_path.iterdir()]
    assert "name the coordinator of a Citus cluster" in capsys.readouterr().err


def test_a_database_without_citus_is_refused(
    plain_pool: ConnectionPool[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sentence says what to install; nothing is changed."""
    with plain_pool.connection() as connection:
        dsn = make_conninfo("", host=connection.info.host, user="postgres", dbname="postgres")
    monkeypatch.setenv("PRODUCTSEARCH_ENGINE_DATABASE", dsn)
    assert 1 == main(["database", "distribute"])
    assert "install Citus 13 or later with pgvector on every node" in capsys.readouterr().err
    with plain_pool.connection() as connection:
        assert not cluster.is_laid_out(connection)


def test_a_database_with_libraries_is_refused(plain_pool: ConnectionPool[Any]) -> None:
    """It names them and says how to bring them over; nothing is changed."""
    name = "not to be moved"
    Libraries(plain_pool).create(name, capacity=1, embedding="x", dimensions=16, api_key=None)
    with plain_pool.connection() as connection:
        with pytest.raises(ClusterError, match=f"'{name}'.*copy them into it"):
            cluster.lay_out(connection)
        assert not cluster.is_laid_out(connection)


def test_a_cluster_that_is_not_complete_is_refused(plain_pool: ConnectionPool[Any]) -> None:
    """Without its coordinator or its workers; with both, an error leaves nothing half done.

    A view and a function of the names of Citus' own stand for it.
    """
    with plain_pool.connection() as connection:
        connection.execute("create database half")
        dsn = make_conninfo("", host=connection.info.host, user="postgres", dbname="half")
    chosen = settings.load({"PRODUCTSEARCH_ENGINE_DATABASE": dsn}, {})
    with pool.open_pool(chosen, 1) as opened, opened.connection() as connection:
        connection.execute(_AS_IF)
        with pytest.raises(ClusterError, match="does not know its coordinator"):
            cluster.distribute(connection, 4)
        connection.execute("insert into pg_dist_node values (0)")
        with pytest.raises(ClusterError, match="the cluster has no workers"):
            cluster.distribute(connection, 4)
        connection.execute("insert into joined values ('worker')")
        with pytest.raises(psycopg.errors.UndefinedFunction, match="citus_table_size"):
            cluster.distribute(connection, 4)
        assert not cluster.is_laid_out(connection)


_AS_IF = """
create table joined (name text);
create table pg_dist_node (groupid int);
create function citus_get_active_worker_nodes() returns setof joined language sql
    as 'select * from joined';
create schema as_if;
create view as_if.pg_extension as select 'citus'::name as extname;
set search_path = as_if, public, pg_catalog;
"""
