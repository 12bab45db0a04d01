"""The SQL of a library with buckets keeps to the rules of Citus, which no test can have here.

The statements are those of a session of all operations, taken down as they are sent, and the tables
those that the session leaves. ``tests.engine.cluster_rules`` has the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from tests.engine.cluster_rules import BUCKET, DISTRIBUTED, changes, violations
from tests.engine.cluster_session import session

_BEGIN, _END = "BEGIN", "END"
_TOGETHER = "delete from two_phase where id = 0"


@contextmanager
def taken_down() -> Iterator[list[tuple[int, str]]]:
    """Collect each statement that is sent, with the number of its connection.

    ``BEGIN`` and ``END`` stand for a transaction.
    """
    texts: list[tuple[int, str]] = []

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def execute(cursor: psycopg.Cursor[Any], query: Any, *args: Any, **how: Any) -> Any:
            is_text = isinstance(query, str | bytes)
            text = query if is_text else query.as_string(None)
            own = text.decode() if isinstance(text, bytes) else text
            texts.append((id(cursor.connection), own))
            return original(cursor, query, *args, **how)

        return execute

    def marking(original: Callable[..., Any], mark: str) -> Callable[..., Any]:
        def step(transaction: psycopg.Transaction, *args: Any) -> Any:
            texts.append((id(transaction.connection), mark))
            return original(transaction, *args)

        return step

    with pytest.MonkeyPatch.context() as patching:
        for kind in (psycopg.Cursor, psycopg.ServerCursor):
            for name in ("execute", "executemany"):
                patching.setattr(kind, name, noting(getattr(kind, name)))
        for name, mark in (("__enter__", _BEGIN), ("__exit__", _END)):
            original = getattr(psycopg.Transaction, name)
            patching.setattr(psycopg.Transaction, name, marking(original, mark))
        yield texts


@pytest.fixture(scope="module")
def sent(bucket_pool: ConnectionPool[Any]) -> list[tuple[int, str]]:
    """The statements of a session of all operations of a library with buckets."""
    with taken_down() as texts:
        session(bucket_pool, "recorded")
    return texts


def test_every_statement_keeps_to_the_rules(sent: list[tuple[int, str]]) -> None:
    """None of them is refused, and many of them are about distributed tables."""
    texts = {text for _, text in sent} - {_BEGIN, _END}
    wrong = {text: found for text in texts if (found := violations(text))}
    assert {} == wrong
    about = [text for text in texts if DISTRIBUTED.search(text)]
    assert len(about) >= 40


def test_the_rules_refuse_the_statements_of_other_libraries(
    plain_pool: ConnectionPool[Any],
) -> None:
    """The same session of a library without buckets breaks rules: the check can fail."""
    with taken_down() as texts:
        session(plain_pool, "plain-recorded")
    sent = {text for _, text in texts} - {_BEGIN, _END}
    found = {wrong for text in sent for wrong in violations(text)}
    assert {
        "a condition on a sign or a digest names no bucket",
        "a CTE changes a distributed table",
        "a distributed table is joined without its bucket",
        "rows of more than one bucket are locked",
        "an insert into a distributed table does not give the bucket",
    } <= found


def test_what_is_counted_is_committed_with_what_is_stored(sent: list[tuple[int, str]]) -> None:
    """Whoever writes to shards and to tables of the coordinator says so before either shard is met.

    Without it Citus commits one worker first, and a crash of the coordinator then loses the count.
    """
    transactions = list(_transactions(sent))
    both = [
        texts
        for texts in transactions
        if {True, False} <= {kind for text in texts if (kind := changes(text)) is not None}
    ]
    assert len(both) >= 40
    for texts in both:
        of_shards = next(n for n, text in enumerate(texts) if changes(text))
        assert _TOGETHER in texts[:of_shards], texts


def _transactions(sent: list[tuple[int, str]]) -> Iterator[list[str]]:
    """Yield the statements of each outermost transaction."""
    depth: Counter[int] = Counter()
    open_: dict[int, list[str]] = {}
    for connection, text in sent:
        if text == _BEGIN:
            depth[connection] += 1
            open_.setdefault(connection, [])
        elif text == _END:
            depth[connection] -= 1
            if not depth[connection]:
                yield open_.pop(connection)
        elif connection in open_:
            open_[connection].append(text)


REFUSED = {
    "select brief from images_1 where library_id = 1 and sign = %s": "names no bucket",
    "delete from images_1 where library_id = 1 and digest = any(%(d)s)": "names no bucket",
    "select sign from images_1 where bucket = any(%s) for update": "more than one bucket",
    "with gone as (delete from images_1 where bucket = %s returning sign)"
    " update libraries set image_count = 0 where exists (table gone)": "a CTE changes",
    "with own as (select 1) delete from images_1 where bucket = %s": "has CTEs",
    "update images_1 set updated_at = clock_timestamp() where bucket = %s": "volatile",
    "update images_1 set bucket = 5 where bucket = %s": "another bucket",
    "update images_1 i set brief = '' from changed_images c where i.bucket = %s": "coordinator",
    "delete from kept_1 k using images_1 i where i.library_id = k.library_id": "without its bucket",
    "select i.sign from images_1 i join libraries l on l.id = i.library_id": "coordinator",
    "select i.sign from images_1 i join kept_1 k using (library_id, sign)": "without its bucket",
    "select (select webp from kept_images k where k.bucket = 1) from images_1": "reads another",
    "select count(*) from (select from images_1 where class_id1 = 1 limit 9) c": "no columns",
    "select sign, row_number() over () from nearest_1": "window",
    "insert into images_1 (library_id, sign) values (1, 2)": "does not give the bucket",
    "insert into images_1 (library_id, bucket, sign) select 1, 2, sign from images_2": "reads one",
    "insert into changed_images (sign) select sign from images_1": "inserted into a table of",
    "alter table kept_1 alter column webp set storage external": "altered",
    "create trigger t after delete on images for each row execute function f()": "trigger",
}


@pytest.mark.parametrize(("text", "says"), REFUSED.items())
def test_what_is_refused(text: str, says: str) -> None:
    """Each rule refuses what it is about, and says so in one sentence."""
    (found,) = set(violations(text))
    assert says in found


def test_keys_have_the_bucket(
    bucket_pool: ConnectionPool[Any], sent: list[tuple[int, str]]
) -> None:
    """Every unique index of a distributed table has the bucket, and none lacks a primary key."""
    with bucket_pool.connection() as connection:
        indexes = connection.execute(_UNIQUE).fetchall()
        tables = {name for (name,) in connection.execute(_TABLES) if DISTRIBUTED.fullmatch(name)}
    own = [(table, columns) for table, columns in indexes if DISTRIBUTED.fullmatch(table)]
    assert tables == {table for table, _ in own}
    assert {"images", "kept_images"} < tables
    assert len(tables) >= 5
    assert [] == [table for table, columns in own if BUCKET not in columns]


def test_nothing_hangs_on_distributed_tables(bucket_pool: ConnectionPool[Any]) -> None:
    """No trigger and no foreign key is theirs, and the bucket is a plain column that is there."""
    with bucket_pool.connection() as connection:
        hanging = connection.execute(_HANGING).fetchall()
        columns = connection.execute(_COLUMNS, [BUCKET]).fetchall()
    assert [] == [each for each in hanging if DISTRIBUTED.fullmatch(each[0])]
    assert {("integer", "NO", "NEVER")} == {tuple(kind) for kind in columns}


_UNIQUE = """
select c.relname, array(select a.attname from pg_attribute a
    where a.attrelid = c.oid and a.attnum = any(i.indkey))
from pg_index i join pg_class c on c.oid = i.indrelid where i.indisunique
"""
_TABLES = "select relname from pg_class where relkind in ('r', 'p')"
_HANGING = """
select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal
union all select conrelid::regclass::text, conname from pg_constraint where contype = 'f'
"""
_COLUMNS = """
select data_type, is_nullable, is_generated from information_schema.columns where column_name = %s
"""
