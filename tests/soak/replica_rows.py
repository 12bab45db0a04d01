"""What is stored once several engines were killed beside each other, against what has to be."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from psycopg_pool import ConnectionPool

from demo.processes import Engine
from productsearch_engine.store.class_counts import ClassCounts
from productsearch_engine.store.libraries import Libraries
from productsearch_engine.store.statements import ClassFilter
from tests.engine.databases import connected, dsn_of
from tests.soak.measures import Measure, at_least, equal
from tests.soak.replica_writers import Values

_ALL: Final = 1 << 30
"""A count that goes to the end."""

IMAGES_OF: Final = (
    "select count(*) from images where library_id = (select id from libraries where name = %s)"
)
_ROWS: Final = (
    "select sign, brief, class_id1, class_id2 from images"
    " where library_id = (select id from libraries where name = %s)"
)
_NOT_BESIDE: Final = """
select count(*) from images_1 i full join nearest_1 n using (library_id, sign)
where i.sign is null or n.sign is null or i.class_id1 is distinct from n.class_id1
    or i.class_id2 is distinct from n.class_id2
"""
_INVALID: Final = "select count(*) from pg_index where not indisvalid and indpred is null"


def stored(engine: Engine, expected: dict[str, Values], capacity: int) -> list[Measure]:
    """Compare what is stored with what has to be, and the counts with what is stored.

    capacity: of the library "full", which the writers have filled.
    """
    with connected(engine) as connection:
        rows = connection.execute(_ROWS, ["soak"]).fetchall()
        beside = connection.execute(_NOT_BESIDE).fetchone()
        unfinished = connection.execute(_INVALID).fetchone()
        full = connection.execute(IMAGES_OF, ["full"]).fetchone()
    with ConnectionPool[Any](dsn_of(engine), kwargs={"autocommit": True}, open=True) as pool:
        wrong, classes = _classes_counted(pool, [row[2:] for row in rows])
        counted = {name: Libraries(pool).named(name).image_count for name in ("soak", "full")}
    found: dict[str, Values] = {
        "{},{}".format(*struct.unpack(">II", struct.pack(">q", sign))): (
            bytes(brief).decode(),
            first,
            second,
        )
        for sign, brief, first, second in rows
    }
    assert beside
    assert unfinished
    assert full
    return [
        at_least("images to be there", len(expected), 1),
        equal("acknowledged adds lost", len(expected.keys() - found.keys()), 0),
        equal("acknowledged deletes lost", len(found.keys() - expected.keys()), 0),
        equal("values of another write", sum(found.get(s, v) != v for s, v in expected.items()), 0),
        equal("images stored twice", len(rows) - len(found), 0),
        equal("images without their prefix, or with another class there", beside[0], 0),
        equal("images counted and not stored", counted["soak"] - len(rows), 0),
        at_least("classes counted", classes, 1),
        equal("classes that the engine counts otherwise than they are stored", wrong, 0),
        equal("indexes left half built, but for the one being built", unfinished[0], 0),
        equal("images of a full library", full[0], capacity),
        equal("images counted of a full library", counted["full"], capacity),
    ]


def _classes_counted(
    pool: ConnectionPool[Any], rows: Iterable[tuple[int | None, int | None]]
) -> tuple[int, int]:
    """Return how many classes the engine counts wrongly, by its indexes, and how many there are.

    rows: both class ids of each stored image.
    """
    stored = Counter(
        (column, class_id)
        for row in rows
        for column, class_id in zip(("class_id1", "class_id2"), row, strict=True)
        if class_id is not None
    )
    library, counts, wrong = Libraries(pool).named("soak"), ClassCounts(), 0
    with pool.connection() as connection:
        for (column, class_id), images in stored.items():
            asked = ClassFilter(
                class_id1=class_id if column == "class_id1" else None,
                class_id2=class_id if column == "class_id2" else None,
                any_class=False,
            )
            told = counts.images(connection, library, asked, _ALL)
            if list(told.values()) != [images]:
                print(f"{column} {class_id}: {images} images, counted {told}")
                wrong += 1
    return wrong, len(stored)
