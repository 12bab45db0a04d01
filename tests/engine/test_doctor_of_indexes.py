"""What the engine's doctor says of indexes and tables: of what is broken, and not of work."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.bulk.heads import head_line
from productsearch_engine.database import inspection
from productsearch_engine.database.pool import WatchedPool, open_pool
from productsearch_engine.server.doctor import database
from productsearch_engine.store.bulk_index import BulkIndex
from productsearch_engine.store.bulk_rows import BulkRows
from productsearch_engine.store.images import Images
from productsearch_engine.store.libraries import Libraries, Library
from tests.engine.bulk_library import head, library, rows
from tests.engine.commands import ran
from tests.engine.databases import connected, dsn_of, one_postgresql

pytestmark = one_postgresql
_CODES = ("index.valid", "index.present", "database.vacuum", "database.bloat", "library.count")
_WITHIN_S = 30.0
_CLASS_INDEX = "on nearest_{} using hnsw (prefix halfvec_cosine_ops) where class_id1 = 1"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine of their own: the doctor judges all its libraries, and other tests break theirs."""
    with Engine() as running:
        yield running


@pytest.fixture(scope="module")
def pool(engine: Engine) -> Iterator[WatchedPool]:
    """Connections to its database, as it has them itself."""
    with open_pool(settings.load({}, {"data": str(engine.data)}), 8) as opened:
        yield opened


@pytest.fixture
def shop(pool: WatchedPool) -> Iterator[Library]:
    """A library of some images."""
    made = library(pool)
    BulkRows(pool).load(made, list(rows(50)))
    yield made
    Libraries(pool).delete(made.name)


def _told(engine: Engine, shop: Library) -> dict[str, tuple[str, str]]:
    """Return what is not well with a library by its code: the evidence and the remedy."""
    own = re.compile(rf"{shop.name}\b|(images|nearest)_{shop.id}(_|\b)")
    chosen = settings.load({}, {"data": str(engine.data)})
    facts = inspection.inspect(dsn_of(engine), math.inf)
    found = [database.JUDGES[code](facts, chosen) for code in _CODES]
    return {
        each.code: (each.evidence, each.remedy)
        for each in found
        if each.state not in ("ok", "skipped") and own.search(each.evidence)
    }


@contextmanager
def _being_built(engine: Engine, shop: Library) -> Iterator[None]:
    """Build the index of a class, which waits for a transaction until the body has ended."""

    def build() -> None:
        with connected(engine) as connection:
            text = f"create index concurrently {_CLASS_INDEX.format(shop.id)}"
            connection.execute(text.encode())

    with connected(engine) as holding:
        holding.execute("begin isolation level repeatable read")
        holding.execute("select count(*) from images")
        builder = threading.Thread(target=build)
        builder.start()
        try:
            with connected(engine) as watching:
                ends_s = time.monotonic() + _WITHIN_S
                text = "select from pg_index where not indisvalid and indrelid = to_regclass(%s)"
                table = [f"nearest_{shop.id}"]
                while not watching.execute(text, table).rowcount and time.monotonic() < ends_s:
                    time.sleep(0.05)
            yield
        finally:
            holding.execute("commit")
            builder.join()


def test_an_index_that_is_being_built(engine: Engine, shop: Library) -> None:
    """It is not valid before it is complete, and there is nothing to mend."""
    with _being_built(engine, shop):
        assert {} == _told(engine, shop)
    assert {} == _told(engine, shop)


def test_the_index_of_a_class_is_none_of_all(engine: Engine, shop: Library) -> None:
    """A library that has only that one is searched without an index; the remedy is an index."""
    with connected(engine) as connection:
        connection.execute(f"create index {_CLASS_INDEX.format(shop.id)}".encode())
        connection.execute(f"drop index nearest_{shop.id}_prefix_idx".encode())
        evidence, remedy = _told(engine, shop)["index.present"]
        assert "no index of vectors: " in evidence
        text = remedy.partition("make the index: ")[2].partition(", with the ID")[0]
        assert text.startswith("CREATE INDEX CONCURRENTLY ON nearest_ID ")
        connection.execute(text.replace("nearest_ID", f"nearest_{shop.id}").encode())
    assert {} == _told(engine, shop)


def test_an_index_that_an_import_has_dropped(
    engine: Engine, pool: WatchedPool, shop: Library, tmp_path: Path
) -> None:
    """The next import builds it, of whatever file, as is told."""
    BulkIndex(pool).drop(shop)
    evidence, remedy = _told(engine, shop)["index.present"]
    assert shop.name in evidence
    assert "if it was stopped, the next one does, of any file" in remedy
    (tmp_path / "empty.ndjson").write_text(head_line(head()))
    ran(engine, "import", str(tmp_path / "empty.ndjson"), "--library", shop.name)
    assert {} == _told(engine, shop)


def test_a_table_without_autovacuum(engine: Engine, shop: Library) -> None:
    """It is named, also while autovacuum is on; the remedy works."""
    with connected(engine) as connection:
        table = f"alter table images_{shop.id} "
        connection.execute(f"{table} set (autovacuum_enabled = off)".encode())
        evidence, remedy = _told(engine, shop)["database.vacuum"]
        assert "autovacuum is on, but not for " in evidence
        assert remedy.startswith("ALTER TABLE ... RESET (autovacuum_enabled)")
        connection.execute(f"{table} reset (autovacuum_enabled)".encode())
    assert {} == _told(engine, shop)


def test_connections_are_those_of_clients(engine: Engine) -> None:
    """PostgreSQL's own processes take no place of them; an ordinary account counts as many."""
    with connected(engine) as connection, connection.transaction():
        # Within a transaction the view stays as it was read first.
        row = connection.execute(
            "select count(*) filter (where backend_type = 'client backend'),"
            " count(*) filter (where backend_type = 'checkpointer') from pg_stat_activity"
        ).fetchone()
        assert row is not None
        clients, own = row
        assert own > 0
        assert clients == inspection.gather(connection).connections
        connection.execute("create role ordinary")
        connection.execute("set local role ordinary")
        row = connection.execute(inspection.CONNECTIONS.encode()).fetchone()
        assert row == (clients,)
        connection.execute("reset role")
        connection.execute("drop role ordinary")


@pytest.mark.parametrize("wrong_by", [7, -7])
def test_a_count_that_is_wrong(engine: Engine, shop: Library, wrong_by: int) -> None:
    """It is told, and the remedy is SQL that makes it right."""
    with connected(engine) as connection:
        connection.execute(
            "update libraries set image_count = image_count + %s where id = %s",
            [wrong_by, shop.id],
        )
        evidence, remedy = _told(engine, shop)["library.count"]
        assert f"{shop.name}: {50 + wrong_by} told, 50 stored" in evidence
        statements = remedy.removeprefix("while it serves: ").split("; ")
        own = [each for each in statements if each.endswith(f" id = {shop.id}")]
        connection.execute(own[0].encode())
    assert {} == _told(engine, shop)


def test_a_count_beside_writers(engine: Engine, pool: WatchedPool, shop: Library) -> None:
    """Images that come and go meanwhile are no difference."""
    ended = threading.Event()

    def write() -> None:
        seed = 1
        while not ended.is_set():
            BulkRows(pool).load(shop, made := list(rows(20, seed=seed)))
            Images(pool).delete(shop, [row.sign for row in made[:10]])
            seed += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert [{}] * 20 == [_told(engine, shop) for _ in range(20)]
    finally:
        ended.set()
        writer.join()
