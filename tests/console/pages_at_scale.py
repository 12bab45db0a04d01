"""The first page and the 1,000th of a library of 1,000,000 rows, beside one of 1,000 rows.

Run by ``make test-console``; another count of rows as argument. Each order is measured, and filters
with the count of what passes them: of a few images it is no count, so these have no ratio. The rows
are made by SQL, without the prefixes of their vectors and their index, which no page reads. Times
are the engine's answers on loopback without a script, in turns; the median counts. The processor
time of engine and PostgreSQL is measured beside: it is the same on a busy machine. Ends with a
line for each measure; exits non-zero if one is short.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

from demo.processes import Engine
from productsearch_engine import settings
from productsearch_engine.console.view import View
from productsearch_engine.database.pool import open_pool
from productsearch_engine.limits import CONSOLE_PAGE
from productsearch_engine.store.gallery import Gallery, Sort
from productsearch_engine.store.libraries import Libraries, Library
from tests.console.person import Person
from tests.engine.databases import postmaster

SMALL: Final = 1000
PAGE: Final = 1000
ROUNDS: Final = 15
FILTERS: Final = {
    "a class id": "class_id1=5",
    "two class ids": "class_id1=5&class_id2=3",
    "a text": "text=brief",
    "a text and a class id": "text=9&class_id1=5",
    "a day": "since=2020-01-01",
}
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
            views[rows] = {what: f"/console/?{query}" for what, query in FILTERS.items()} | {
                f"{place}, {sort}": address
                for sort in SORTS
                for place, address in (
                    ("first page", "/console/" + View(sort=sort).query()),
                    (f"page {PAGE:,}", far_page(pool, library, sort, far)),
                )
            }
        times = timed(people, views, [engine.pid, postmaster(engine)])
        for person in people.values():
            person.close()
    short = 0
    for place in views[large]:
        for kind, of_large, of_small in zip(
            ("answered in", "processor time"), times[large, place], times[SMALL, place], strict=True
        ):
            for what, value, bar in (
                (f"{kind}, of {large:,} rows, ms", of_large, TIME_MS_MAX),
                (f"{kind}, ratio to {SMALL:,} rows", of_large / of_small, RATIO_MAX),
            ):
                if place in FILTERS and bar == RATIO_MAX:
                    continue
                good = value <= bar
                short += not good
                print(f"{place}: {what}: {value:.2f} (bar {bar:g}) {'ok' if good else 'short'}")
    return 1 if short else 0


def fill(connection: psycopg.Connection[Any], library: Library, rows: int) -> None:
    """Add rows to a library, a second apart, with class ids, briefs and a copy that is none."""
    table, values = f"images_{library.id}", {"library": library.id, "rows": rows}
    vector = "[" + ",".join(["0.5"] * library.dimensions) + "]"
    connection.execute("set statement_timeout = 0; set synchronous_commit = off")
    # No prefixes and no index of them: without these a million rows take minutes, not hours.
    connection.execute("set productsearch.prefixes = 'given'")
    connection.execute(
        f"insert into {table} (library_id, sign, digest, brief, class_id1, class_id2, embedding,"
        " created_at) select %(library)s, n * 7919::bigint,"
        " decode(lpad(to_hex(n), 64, '0'), 'hex'),"
        " ('brief ' || n)::bytea, 1 + n %% 50, 1 + n %% 7, %(vector)s::halfvec,"
        " now() - n * interval '1 second' from generate_series(1, %(rows)s) n",
        values | {"vector": vector},
    )
    connection.execute(
        f"insert into kept_{library.id} (library_id, sign, webp)"
        " select %(library)s, n * 7919::bigint, '' from generate_series(1, %(rows)s) n",
        values,
    )
    connection.execute("update libraries set image_count = %(rows)s where id = %(library)s", values)
    for each in (table, f"kept_{library.id}"):
        connection.execute(f"vacuum analyze {each}".encode())
    connection.execute("reset all")


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
    people: Mapping[int, Person], views: Mapping[int, Mapping[str, str]], parents: Sequence[int]
) -> dict[tuple[int, str], tuple[float, float]]:
    """Return the medians of each page's time and processor time in ms; they are asked in turns.

    ``parents``: processes that work for a page, by themselves or by their children.
    """
    taken: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS + 1):
        for rows, person in people.items():
            for place, address in views[rows].items():
                began_s, before = time.perf_counter(), processor_ns(parents)
                page = person.get(address)
                took_ms, after = (time.perf_counter() - began_s) * 1000, processor_ns(parents)
                worked_ms = sum(used - before.get(key, used) for key, used in after.items()) / 1e6
                times = took_ms, worked_ms
                taken.setdefault((rows, place), []).append(times)
                assert page.status_code == 200
                assert len(re.findall("data-card", page.text)) >= 1
    # The first of each counts class ids and plans the statements.
    return {
        key: (statistics.median(t for t, _ in each[1:]), statistics.median(p for _, p in each[1:]))
        for key, each in taken.items()
    }


def processor_ns(parents: Sequence[int]) -> dict[Path, int]:
    """Return the time that each thread of some processes and their children has had."""
    used = {}
    for parent in map(psutil.Process, parents):
        for process in (parent, *parent.children(recursive=True)):
            for thread in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                # Some end meanwhile.
                with suppress(OSError):
                    used[thread] = int(thread.read_text().split()[0])
    return used


if __name__ == "__main__":
    sys.exit(main())
