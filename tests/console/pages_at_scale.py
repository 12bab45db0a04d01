"""The first page and the 1,000th of a library of 1,000,000 rows, beside one of 1,000 rows.

Run by ``make test-console``; another count of rows as argument. Each order is measured. The rows
are made by SQL, without the index of their vectors, which no page reads. Times are the engine's
answers on loopback without a script, in turns; the median counts. Ends with a line for each
measure; exits non-zero if one is short.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import psycopg

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.console.view import View
from productsearch_engine.database.pool import open_pool
from productsearch_engine.limits import CONSOLE_PAGE
from productsearch_engine.store.gallery import Gallery, Sort
from productsearch_engine.store.libraries import Libraries, Library
from tests.console.person import Person

SMALL: Final = 1000
PAGE: Final = 1000
ROUNDS: Final = 15
SORTS: Final[tuple[Sort, ...]] = ("newest", "oldest", "brief")
RATIO_MAX, TIME_MS_MAX = 2.0, 30.0


def main() -> int:
    """Return the exit status."""
    large = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with Engine() as engine, open_pool(settings.load({}, {"data": str(engine.data)}), 2) as pool:
        people, views = {}, {}
        for rows in (SMALL, large):
            name = f"rows-{rows}"
            keys = engine.create_library(name, "--capacity", str(2 * rows))
            library = Libraries(pool).named(name)
            with pool.connection() as connection:
                connection.limit_s = 3600.0  # type: ignore[attr-defined]
                fill(connection, library, rows)
            people[rows] = Person(engine.url)
            people[rows].sign_in(*keys)
            far = min(PAGE, rows // CONSOLE_PAGE)
            views[rows] = {
                f"{place}, {sort}": address
                for sort in SORTS
                for place, address in (
                    ("first page", "/console/" + View(sort=sort).query()),
                    (f"page {PAGE:,}", far_page(pool, library, sort, far)),
                )
            }
        times = timed(people, views)
        for person in people.values():
            person.close()
    short = 0
    for place in views[large]:
        ratio = times[large, place] / times[SMALL, place]
        for what, value, bar in (
            (f"{place}, of {large:,} rows, ms", times[large, place], TIME_MS_MAX),
            (f"{place}, ratio to {SMALL:,} rows", ratio, RATIO_MAX),
        ):
            good = value <= bar
            short += not good
            print(f"{what}: {value:.2f} (bar {bar:g}) {'ok' if good else 'short'}")
    return 1 if short else 0


def fill(connection: psycopg.Connection[Any], library: Library, rows: int) -> None:
    """Add rows to a library, a second apart, with class ids and briefs."""
    table = f"images_{library.id}"
    indexes = connection.execute(
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid ="
        " i.indexrelid join pg_am a on a.oid = c.relam where i.indrelid = %s::regclass"
        " and a.amname = 'hnsw'",
        [table],
    ).fetchall()
    for (index,) in indexes:
        connection.execute(f"drop index {index}".encode())
    connection.execute("set statement_timeout = 0")
    vector = "[" + ",".join(["0.5"] * library.dimensions) + "]"
    connection.execute(
        f"insert into {table} (library_id, sign, digest, brief, class_id1, class_id2, embedding,"
        " created_at) select %s, n * 7919::bigint, sha256(n::text::bytea), ('brief ' || n)::bytea,"
        " 1 + n %% 50, 1 + n %% 7, v, now() - n * interval '1 second'"
        " from generate_series(1, %s) n, (select %s::halfvec as v) vectors",
        [library.id, rows, vector],
    )
    connection.execute("update libraries set image_count = %s where id = %s", [rows, library.id])
    connection.commit()
    connection.autocommit = True
    connection.execute(f"vacuum analyze {table}".encode())
    connection.execute("reset statement_timeout")
    connection.autocommit = False


def far_page(pool: Any, library: Library, sort: Sort, page: int) -> str:
    """Return the address of a page far behind."""
    keys = {"newest": "created_at desc, sign desc", "oldest": "created_at, sign"}
    with pool.connection() as connection:
        row = connection.execute(
            f"select sign from images_{library.id}"
            f" order by {keys.get(sort, 'brief, sign')} offset %s limit 1",
            [(page - 1) * CONSOLE_PAGE - 1],
        ).fetchone()
    (image,) = Gallery(pool).find(library, [row[0]])
    return "/console/" + View(sort=sort).after(image)


def timed(
    people: Mapping[int, Person], views: Mapping[int, Mapping[str, str]]
) -> dict[tuple[int, str], float]:
    """Return the median time of each page in ms; they are asked for in turns."""
    taken: dict[tuple[int, str], list[float]] = {}
    for _ in range(ROUNDS + 1):
        for rows, person in people.items():
            for place, address in views[rows].items():
                began_s = time.perf_counter()
                page = person.get(address)
                taken.setdefault((rows, place), []).append(1000 * (time.perf_counter() - began_s))
                assert page.status_code == 200
                assert len(re.findall("data-card", page.text)) >= 1
    # The first of each counts class ids and plans the statements.
    return {key: statistics.median(values[1:]) for key, values in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
