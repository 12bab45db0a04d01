"""The engine's storage at sizes given: recall, rows, time, bytes, adds and updates.

``make bench-engine`` runs it at 10,000 and 100,000 images, ``SIZE=1000000`` at a million. With
``--data FOLDER`` libraries and vectors stay there, and a further run only searches them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Final

from psycopg_pool import ConnectionPool

from benchmarks import engine_classes, engine_library, engine_rivals, engine_search, engine_vectors
from benchmarks.engine_classes import Built
from benchmarks.engine_search import Searched
from benchmarks.engine_vectors import Drawn
from benchmarks.findings import Findings, at_least, at_most, milliseconds
from productsearch_engine import settings
from productsearch_engine.database import tuning
from productsearch_engine.database.pool import open_pool
from productsearch_engine.settings import Settings
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.warming import Warming
from tests.soak.measures import Measure, equal, report

_DATA: Final = Path("build/bench/engine-scale")
_OUTPUT: Final = Path("build/bench/engine-scale.json")
_SIZES: Final = (10_000, 100_000)
_QUERIES: Final = 100
_ADDS: Final = 400
_UPDATES: Final = 2000
_RECALL: Final = {10: 0.98, 300: 0.98, 1000: 0.97}
_P50_S: Final = {10: 0.06, 300: 0.06, 1000: 0.1}
_FILTERED_P50_S: Final = 0.1
_BEFORE: Final = ", before its index"
_AFTER: Final = ", with its index"
_TENFOLD: Final = 1.6
"""A library of ten times as many images may take so many times as long."""


def main() -> int:
    """Measure the sizes; return 1 if a measure is short of its bar."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.engine_scale")
    arguments.add_argument("sizes", nargs="*", type=int, default=_SIZES)
    arguments.add_argument("--queries", type=int, default=_QUERIES)
    arguments.add_argument("--data", type=Path, help="keep the libraries here")
    arguments.add_argument("--alone", action="store_true", help="no other storages beside it")
    chosen = arguments.parse_args()
    found = {}
    measures = []
    for size in chosen.sizes:
        if chosen.data:
            tables = [kept(size, chosen.queries, chosen.data)]
        else:
            tables = measured(size, chosen.queries, alone=chosen.alone)
        found[size] = tables[0]
        for findings in tables:
            print(f"\n{findings.table()}\n", flush=True)
            measures += findings.measures
    measures += _growth({size: of_size.numbers for size, of_size in found.items()})
    _OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    _OUTPUT.write_text(json.dumps({size: of_size.numbers for size, of_size in found.items()}))
    return report(measures)


def measured(size: int, queries: int, data: Path = _DATA, *, alone: bool = False) -> list[Findings]:
    """Fill a library of this size in a server of its own, search it and write to it.

    Unless it is ``alone`` the same vectors are then searched in other storages. ``data``, where the
    engine has its files, is emptied before and gone afterwards.
    """
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    drawn = engine_vectors.drawn(size, queries)
    chosen = settings.load({}, {"data": str(data.resolve())})
    began_s = time.monotonic()
    with open_pool(chosen, engine_library.WRITERS) as writing:
        filled = engine_library.filled(chosen, writing, drawn)
        library = filled.library
        sizes = engine_library.sizes(writing, library)
        found, indexes = _searched(chosen, writing, library, drawn)
        beside = [] if alone else [engine_rivals.run(str(writing.conninfo), drawn, found)]
        stored = _stored(writing, library, drawn)
    shutil.rmtree(data)
    numbers = {
        **_bytes(size, sizes),
        "loaded_s": filled.loaded_s,
        "built_s": filled.built_s,
        "seconds": time.monotonic() - began_s,
        **stored,
        "searches": _numbers(found),
        "class_indexes": _of_indexes(indexes),
    }
    own = Findings(
        title=f"Engine, {size:,} images",
        rows=_rows(found),
        measures=[
            *_searches(size, found),
            *_stored_bytes(size, numbers),
            *_class_indexes(size, indexes),
            *_writes(size, numbers),
        ],
        numbers=numbers,
    )
    return [own, *beside]


def kept(size: int, queries: int, folder: Path) -> Findings:
    """Search a library of this size that the folder has, or has from now on.

    Nothing is written to it but indexes of classes.
    A run that was killed while it filled the library leaves a folder to be deleted.
    """
    data = folder.resolve() / str(size)
    data.mkdir(parents=True, exist_ok=True)
    drawn = engine_vectors.kept(data / "drawn.npz", size, queries)
    chosen = settings.load({}, {"data": str(data)})
    with open_pool(chosen, engine_library.WRITERS) as writing:
        library = next(iter(Libraries(writing).list()), None)
        if library is None:
            library = engine_library.filled(chosen, writing, drawn).library
        sizes = engine_library.sizes(writing, library)
        found, indexes = _searched(chosen, writing, library, drawn)
    numbers = {
        **_bytes(size, sizes),
        "searches": _numbers(found),
        "class_indexes": _of_indexes(indexes),
    }
    return Findings(
        title=f"Engine, {size:,} images",
        rows=_rows(found),
        measures=[
            *_searches(size, found),
            *_stored_bytes(size, numbers),
            *_class_indexes(size, indexes),
        ],
        numbers=numbers,
    )


def _searched(
    chosen: Settings, writing: ConnectionPool[Any], library: Library, drawn: Drawn
) -> tuple[dict[tuple[str, int], Searched], list[Built]]:
    """Search with every filter, and once more with those of classes that then have an index.

    What is found before is named so.
    """
    with open_pool(chosen, 1) as pool:
        # As an engine does at its start.
        Warming(pool, tuning.memory_bytes() // 2).read()
        found = engine_search.searched(pool, library, drawn, bounds=engine_classes.NONE)
        indexes = engine_classes.built(writing, library, drawn)
        filters = {
            name: classes
            for name, classes in engine_search.FILTERS.items()
            if engine_classes.uses(classes, indexes)
        }
        after = engine_search.searched(pool, library, drawn, filters)
    named = {(name, count): (name + _BEFORE) if name in filters else name for name, count in found}
    before = {(named[key], key[1]): each for key, each in found.items()}
    return before | {(name + _AFTER, count): each for (name, count), each in after.items()}, indexes


def _of_indexes(indexes: list[Built]) -> dict[str, dict[str, float | None]]:
    return {
        f"{each.of[0]} {each.of[1]}": {
            "images": each.images,
            "bytes": each.size_bytes,
            "seconds": each.seconds,
        }
        for each in indexes
    }


def _class_indexes(size: int, indexes: list[Built]) -> list[Measure]:
    """Return, for the record, what each index of a class takes: apart from bytes an image."""
    measures = []
    for each in indexes:
        name = f"{size}, index of {each.of[0]} {each.of[1]}, {each.images} images"
        measures.append(at_least(f"{name}: bytes an image of it", each.size_bytes / each.images, 0))
        if each.seconds is not None:
            measures.append(at_least(f"{name}: built in s", each.seconds, 0))
    return measures


def _bytes(size: int, sizes: dict[str, int]) -> dict[str, float]:
    return {"bytes_an_image": sizes["all"] / size, "index_bytes_an_image": sizes["index"] / size}


def _numbers(found: dict[tuple[str, int], Searched]) -> dict[str, dict[str, float]]:
    return {
        f"{name}, top {count}": {
            "p50_s": each.p50_s,
            "p99_s": each.p99_s,
            "cpu_s": each.cpu_s,
            "recall": each.recall,
            "worst": each.worst,
            "missing": each.missing,
        }
        for (name, count), each in found.items()
    }


def _stored(pool: ConnectionPool[Any], library: Any, drawn: Any) -> dict[str, float]:
    updates = engine_library.updates_a_second(pool, library, _UPDATES)
    hot = engine_library.hot_updates(pool, library) / _UPDATES
    adds = engine_library.adds_a_second(pool, library, drawn, _ADDS)
    return {"updates_a_second": updates, "hot_updates": hot, "adds_a_second": adds}


def _rows(found: dict[tuple[str, int], Searched]) -> list[tuple[str, ...]]:
    heads = ("filter", "results", "p50", "p99", "CPU", "recall", "worst", "missing rows")
    return [
        heads,
        *(
            (
                name,
                str(count),
                *map(milliseconds, (each.p50_s, each.p99_s, each.cpu_s)),
                f"{each.recall:.4f}",
                f"{each.worst:.3f}",
                str(each.missing),
            )
            for (name, count), each in found.items()
        ),
    ]


def _searches(size: int, found: dict[tuple[str, int], Searched]) -> list[Measure]:
    """Return lines without a filter, and of all filters the worst; the table has each.

    What is found before a class has its index has no bar.
    """
    measures = []
    for count in engine_search.COUNTS:
        plain = found["none", count]
        filtered = [
            each
            for (name, of), each in found.items()
            if of == count and name != "none" and not name.endswith(_BEFORE)
        ]
        for what, some, bar_s in (
            ("no filter", [plain], _P50_S[count]),
            ("worst filter", filtered, _FILTERED_P50_S),
        ):
            name = f"{size}, {what}, top {count}"
            measures += [
                at_least(f"{name}: recall", min(each.recall for each in some), _RECALL[count]),
                at_least(f"{name}: recall of a query", min(each.worst for each in some), 0.9),
                at_most(f"{name}: p50 ms", max(each.p50_s for each in some) * 1000, bar_s * 1000),
            ]
    measures.append(
        at_most(f"{size}, no filter, top 300: p99 ms", found["none", 300].p99_s * 1000, 150)
    )
    missing = sum(each.missing for each in found.values())
    return [*measures, equal(f"{size}: missing rows", missing, 0)]


def _stored_bytes(size: int, numbers: dict[str, Any]) -> list[Measure]:
    return [
        at_most(f"{size}: bytes an image", numbers["bytes_an_image"], 2800),
        # For the record: of the index of the vectors alone.
        at_least(f"{size}: index bytes an image", numbers["index_bytes_an_image"], 0),
    ]


def _writes(size: int, numbers: dict[str, Any]) -> list[Measure]:
    return [
        at_least(f"{size}: adds a second", numbers["adds_a_second"], 300),
        at_least(f"{size}: brief updates a second", numbers["updates_a_second"], 1000),
        at_least(
            f"{size}: vectors a second into a library with an index",
            size / (numbers["loaded_s"] + numbers["built_s"]),
            1500,
        ),
        # For the record: how long the index of the vectors takes has no bar of its own.
        at_least(f"{size}: images a second into the index", size / numbers["built_s"], 0),
        at_least(f"{size}: updates that left the indexes alone", numbers["hot_updates"], 0),
    ]


def _growth(numbers: dict[int, dict[str, Any]]) -> list[Measure]:
    """Compare the time of each size with that of a tenth of it, if both were measured."""
    size, tenth = 1_000_000, 100_000
    if size not in numbers or tenth not in numbers:
        if size in numbers:
            print(f"p50 at {size} / at {tenth}: not measured; name both sizes")
        return []
    p50_s, of_tenth_s = (numbers[of]["searches"]["none, top 300"]["p50_s"] for of in (size, tenth))
    sides = f"{p50_s * 1000:.0f} ms at {size} / {of_tenth_s * 1000:.0f} ms at {tenth}"
    return [at_most(f"p50, {sides}", p50_s / of_tenth_s, _TENFOLD)]


if __name__ == "__main__":
    sys.exit(main())
