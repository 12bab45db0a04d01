"""The same vectors and filters with other storages, in the run that measures the engine's own.

- *one table*: the engine's first layout (5d01850). Images with their whole vectors, an HNSW index
  over these, 400 candidates and an iterative scan of at most 200,000 rows.
- *pgvector's defaults*: a table with an HNSW index, and nothing set.
- *faiss HNSW*: in this process, with a bitmap for the filter. No row is stored, and nothing kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, LiteralString

import faiss
import numpy as np
import psutil
import psycopg
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg import sql

from benchmarks import engine_search
from benchmarks.engine_search import FILTERS, Search, Searched
from benchmarks.engine_vectors import DIMENSIONS, Drawn, Single
from benchmarks.findings import Findings, at_least, milliseconds
from productsearch_engine.store.statements import ClassFilter

COUNTS: Final = (300, 1000)
NAMES: Final = ("none", "10 % at random", "10 % alike", "10 % or 10 %")
_OURS: Final = "the engine"
_ALIKE: Final = 0.01
"""Recalls that differ by less count as equal."""
_faiss: Any = faiss
"""Its own types leave out what is made for Python."""

_FIRST_LAYOUT: Final[tuple[LiteralString, ...]] = (
    "set hnsw.ef_search = 400",
    "set hnsw.iterative_scan = strict_order",
    "set hnsw.max_scan_tuples = 200000",
    "set work_mem = '32MB'",
    "set plan_cache_mode = force_custom_plan",
)
_FIRST_SEARCH: Final[LiteralString] = (
    "with ranked as materialized ("
    "select sign, brief, embedding <=> %(query)s as distance from {table} where {allowed}"
    " order by distance, sign limit {window})"
    " select sign, brief from ranked order by distance, sign limit %(count)s"
)
_PLAIN_SEARCH: Final[LiteralString] = (
    "select sign, brief from {table} where {allowed}"
    " order by embedding <=> %(query)s limit %(count)s"
)
_WINDOW: Final = 1000
_LINKS: Final = 32
"""Of an image in faiss' index, as in its own examples; the other numbers are its defaults."""


def run(conninfo: str, drawn: Drawn, ours: Mapping[tuple[str, int], Searched]) -> Findings:
    """Search with each storage; ``ours`` is what the engine came to with these filters.

    conninfo: of the server that has the engine's library.
    """
    found: dict[str, tuple[dict[tuple[str, int], Searched], float, float]] = {
        "one table": _in_postgres(conninfo, drawn, "halfvec", _FIRST_LAYOUT, _FIRST_SEARCH),
        "pgvector's defaults": _in_postgres(conninfo, drawn, "vector", (), _PLAIN_SEARCH),
        "faiss HNSW": _in_faiss(drawn),
    }
    own = _own(ours)
    images = len(drawn.vectors)
    heads = ("storage", "filter", "results", "p50", "/ ours", "CPU", "recall", "worst", "missing")
    rows = [heads]
    for name, searches in {_OURS: own, **{name: each[0] for name, each in found.items()}}.items():
        rows += [
            (
                name,
                filtered,
                str(count),
                milliseconds(each.p50_s),
                f"{each.p50_s / own[filtered, count].p50_s:.2f}",
                milliseconds(each.cpu_s),
                f"{each.recall:.4f}",
                f"{each.worst:.3f}",
                str(each.missing),
            )
            for (filtered, count), each in searches.items()
        ]
    for name, (_, built_s, size_bytes) in found.items():
        print(f"{name}: index built in {built_s:.0f} s, {size_bytes / images:.0f} bytes an image")
    return Findings(
        title=f"Beside others, {images:,} images",
        rows=rows,
        measures=[
            at_least(
                f"{images}, the engine's recall less that of {name}, the least of all filters",
                min(own[of].recall - each.recall for of, each in searches.items()),
                -_ALIKE,
            )
            for name, (searches, _, _) in found.items()
        ],
    )


def _own(ours: Mapping[tuple[str, int], Searched]) -> dict[tuple[str, int], Searched]:
    """Return the engine's searches with the filters that others are measured with.

    Of those with an index of their class and without: as it is in use, with it.
    """
    return {
        (name, count): next(
            found
            for (told, of), found in reversed(list(ours.items()))
            if of == count and told.startswith(name)
        )
        for name in NAMES
        for count in COUNTS
    }


def _compared(
    search: Search, drawn: Drawn, cpu_s: Callable[[], float] = time.process_time
) -> dict[tuple[str, int], Searched]:
    filters = {name: FILTERS[name] for name in NAMES}
    return engine_search.compared(search, drawn, filters, COUNTS, cpu_s)


def _in_postgres(
    conninfo: str,
    drawn: Drawn,
    kind: str,
    session: Sequence[LiteralString],
    statement: LiteralString,
) -> tuple[dict[tuple[str, int], Searched], float, float]:
    """Return searches, seconds of the index's build, and bytes of table and indexes.

    kind: the type of the vectors, "halfvec" or "vector".
    """
    table = sql.Identifier(f"rival_{kind}")
    adapted = {"halfvec": HalfVector, "vector": Vector}[kind]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        register_vector(connection)
        connection.execute(sql.SQL("drop table if exists {}").format(table))
        connection.execute(
            sql.SQL(
                "create table {} (sign bigint primary key, class_id1 int, class_id2 int,"
                " brief text, embedding {}({}))"
            ).format(table, sql.SQL(kind), sql.Literal(DIMENSIONS))
        )
        copied = sql.SQL("copy {} from stdin").format(table)
        with connection.cursor() as cursor, cursor.copy(copied) as copy:
            for sign, vector in enumerate(drawn.vectors):
                numbers = vector.astype(np.float32).tolist()
                classes = (int(drawn.at_random[sign]), int(drawn.alike[sign]))
                copy.write_row((sign, *classes, f"{sign:064}", str(numbers)))
        began_s = time.perf_counter()
        for column in ("class_id1", "class_id2"):
            connection.execute(
                sql.SQL("create index on {} ({})").format(table, sql.Identifier(column))
            )
        connection.execute(
            sql.SQL("create index on {} using hnsw (embedding {})").format(
                table,
                sql.Identifier(f"{kind}_cosine_ops"),
            )
        )
        built_s = time.perf_counter() - began_s
        connection.execute(sql.SQL("vacuum (analyze) {}").format(table))
        for each in session:
            connection.execute(each)

        def search(query: Single, classes: ClassFilter, count: int) -> list[int]:
            asked = sql.SQL(statement).format(
                table=table, allowed=_condition(classes), window=sql.Literal(_WINDOW)
            )
            given = {"query": adapted(query), "count": count}
            return [row[0] for row in connection.execute(asked, given)]

        backend = psutil.Process(connection.info.backend_pid)
        searches = _compared(search, drawn, lambda: sum(backend.cpu_times()[:2]))
        named = [table.as_string(connection)]
        row = connection.execute("select pg_total_relation_size(%s::regclass)", named).fetchone()
        connection.execute(sql.SQL("drop table {}").format(table))
    return searches, built_s, float(row[0]) if row else 0.0


def _condition(classes: ClassFilter) -> sql.Composable:
    """Return the filter as SQL."""
    chosen = {"class_id1": classes.class_id1, "class_id2": classes.class_id2}
    parts = [
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(number))
        for column, number in chosen.items()
        if number is not None
    ]
    joined = sql.SQL(" or " if classes.any_class else " and ").join(parts)
    return joined if parts else sql.SQL("true")


def _in_faiss(drawn: Drawn) -> tuple[dict[tuple[str, int], Searched], float, float]:
    """Return searches, seconds of the build, and bytes of vectors and links."""
    index = faiss.IndexHNSWFlat(DIMENSIONS, _LINKS, faiss.METRIC_INNER_PRODUCT)
    began_s = time.perf_counter()
    index.add(drawn.vectors.astype(np.float32))
    built_s = time.perf_counter() - began_s

    @cache
    def allowed(classes: ClassFilter) -> Any:
        mask = np.zeros(len(drawn.vectors), np.bool_)
        mask[engine_search.allowed_by(drawn, classes)] = True
        bits = np.packbits(mask, bitorder="little")
        return _faiss.IDSelectorBitmap(bits), bits  # which it does not keep

    def search(query: Single, classes: ClassFilter, count: int) -> list[int]:
        chosen = _faiss.SearchParametersHNSW(efSearch=count)
        if classes != FILTERS["none"]:
            chosen.sel = allowed(classes)[0]
        _, signs = index.search(query[None].astype(np.float32), count, params=chosen)
        return [int(sign) for sign in signs[0] if sign >= 0]

    searches = _compared(search, drawn)
    return searches, built_s, float(drawn.vectors.nbytes * 2 + len(drawn.vectors) * _LINKS * 2 * 4)
