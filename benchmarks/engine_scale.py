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

from benchmarks import engine_library, engine_search, engine_vectors
from benchmarks.engine_search import Searched
from benchmarks.findings import Findings, at_least, at_most, milliseconds
from productsearch_engine import settings
from productsearch_engine.database.pool import open_pool
from productsearch_engine.store.libraries import Libraries
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
_HUNDREDFOLD: Final = 1.6
"""A library of ten times as many images may take so many times as long."""


def main() -> int:
    """Measure the sizes; return 1 if a measure is short of its bar."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.engine_scale")
    arguments.add_argument("sizes", nargs="*", type=int, default=_SIZES)
    arguments.add_argument("--queries", type=int, default=_QUERIES)
    arguments.add_argument("--data", type=Path, help="keep the libraries here")
    chosen = arguments.parse_args()
    found = {
        size: kept(size, chosen.queries, chosen.data)
        if chosen.data
        else measured(size, chosen.queries)
        for size in chosen.sizes
    }
    measures = []
    for findings in found.values():
        print(f"\n{findings.table()}\n", flush=True)
        measures += findings.measures
    measures += _growth({size: of_size.numbers for size, of_size in found.items()})
    _OUTPUT.write_text(json.dumps({size: of_size.numbers for size, of_size in found.items()}))
    return report(measures)


def measured(size: int, queries: int) -> Findings:
    """Fill a library of this size in a server of its own, search it and write to it."""
    shutil.rmtree(_DATA, ignore_errors=True)
    _DATA.mkdir(parents=True)
    drawn = engine_vectors.drawn(size, queries)
    chosen = settings.load({}, {"data": str(_DATA.resolve())})
    began_s = time.monotonic()
    with open_pool(chosen, engine_library.WRITERS) as writing:
        filled = engine_library.filled(chosen, writing, drawn)
        library = filled.library
        sizes = engine_library.sizes(writing, library)
        with open_pool(chosen, 1) as pool:
            found = engine_search.searched(pool, library, drawn)
        stored = _stored(writing, library, drawn)
    shutil.rmtree(_DATA)
    numbers = {
        **_bytes(size, sizes),
        "loaded_s": filled.loaded_s,
        "built_s": filled.built_s,
        "seconds": time.monotonic() - began_s,
        **stored,
        "searches": _numbers(found),
    }
    return Findings(
        title=f"Engine, {size:,} images",
        rows=_rows(found),
        measures=[*_searches(size, found), *_stored_bytes(size, numbers), *_writes(size, numbers)],
        numbers=numbers,
    )


def kept(size: int, queries: int, folder: Path) -> Findings:
    """Search a library of this size that the folder has, or has from now on; write nothing to it.

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
        with open_pool(chosen, 1) as pool:
            found = engine_search.searched(pool, library, drawn)
    numbers = {**_bytes(size, sizes), "searches": _numbers(found)}
    return Findings(
        title=f"Engine, {size:,} images",
        rows=_rows(found),
        measures=[*_searches(size, found), *_stored_bytes(size, numbers)],
        numbers=numbers,
    )


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
    """Return lines without a filter, and of all filters the worst; the table has each."""
    measures = []
    for count in engine_search.COUNTS:
        plain = found["none", count]
        filtered = [each for (name, of), each in found.items() if of == count and name != "none"]
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
    return [
        at_most(
            f"p50 at {size} / at {size // 10}",
            of_size["searches"]["none, top 300"]["p50_s"]
            / numbers[size // 10]["searches"]["none, top 300"]["p50_s"],
            _HUNDREDFOLD,
        )
        for size, of_size in numbers.items()
        if size == 1_000_000 and size // 10 in numbers
    ]


if __name__ == "__main__":
    sys.exit(main())
