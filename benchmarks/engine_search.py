"""Searches a drawn library through the engine's own SQL, beside an exact scan by NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from benchmarks.engine_vectors import Drawn, Half, Single
from productsearch_engine.store.class_indexes import Bounds, ClassIndexes
from productsearch_engine.store.images import Images
from productsearch_engine.store.libraries import Library
from productsearch_engine.store.statements import ClassFilter

COUNTS: Final = (10, 300, 1000)
_TIES: Final = 1e-6
"""Images this much farther than the last one that belongs there count as equal to it: the
database's sums and NumPy's differ by as much."""

_CHUNK: Final = 50_000

Search = Callable[[Single, ClassFilter, int], Sequence[int]]
"""Takes a vector, shape (DIMENSIONS,), a filter and a number of results; returns their signs."""


def _only(first: int | None, second: int | None, any_class: bool = False) -> ClassFilter:
    return ClassFilter(class_id1=first, class_id2=second, any_class=any_class)


FILTERS: Final = {
    "none": _only(None, None),
    "50 % at random": _only(1, None),
    "10 % at random": _only(2, None),
    "1 % at random": _only(3, None),
    "0.01 % at random": _only(4, None),
    "50 % alike": _only(None, 1),
    "10 % alike": _only(None, 2),
    "1 % alike": _only(None, 3),
    "0.01 % alike": _only(None, 4),
    "50 % and 50 %": _only(1, 1),
    "10 % and 10 %": _only(2, 2),
    "50 % or 50 %": _only(1, 1, any_class=True),
    "10 % or 10 %": _only(2, 2, any_class=True),
    "1 % or 0.01 %": _only(3, 4, any_class=True),
}


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What the searches with one filter and one number of results came to."""

    seconds: list[float]
    recalls: list[float]
    missing: int
    """Rows that exist and did not come, of all searches."""
    cpu_s: float
    """Processor time that one search took: of PostgreSQL with its helpers, or of this process."""

    @property
    def p50_s(self) -> float:
        """Half of the searches were quicker."""
        return float(np.percentile(self.seconds, 50))

    @property
    def p99_s(self) -> float:
        """All but one of a hundred searches were quicker."""
        return float(np.percentile(self.seconds, 99))

    @property
    def recall(self) -> float:
        """Mean share of the exact answer that came."""
        return float(np.mean(self.recalls))

    @property
    def worst(self) -> float:
        """The least share of the exact answer that came."""
        return min(self.recalls)


def searched(
    pool: ConnectionPool[Any],
    library: Library,
    drawn: Drawn,
    filters: Mapping[str, ClassFilter] = FILTERS,
    bounds: Bounds | None = None,
) -> dict[tuple[str, int], Searched]:
    """Search with every filter, number of results and query; ``bounds`` of indexes of classes."""
    images = Images(pool, class_indexes=ClassIndexes(bounds))

    def search(query: Single, classes: ClassFilter, count: int) -> list[int]:
        return [hit.sign for hit in images.search(library, query, classes, 0, count)[0]]

    return compared(search, drawn, filters, COUNTS, lambda: _cpu_s(pool))


def compared(
    search: Search,
    drawn: Drawn,
    filters: Mapping[str, ClassFilter],
    counts: Sequence[int],
    cpu_s: Callable[[], float] = time.process_time,
) -> dict[tuple[str, int], Searched]:
    """Search with every filter, number of results and query, and compare with an exact scan.

    ``cpu_s`` returns the processor time that whoever searches has taken so far, in seconds.
    """
    cosines = _cosines(drawn.vectors, drawn.queries)
    found: dict[tuple[str, int], Searched] = {}
    for name, classes in filters.items():
        allowed = allowed_by(drawn, classes)
        for count in counts:
            found[name, count] = _compared(search, drawn, classes, count, allowed, cosines, cpu_s)
    return found


def _compared(
    search: Search,
    drawn: Drawn,
    classes: ClassFilter,
    count: int,
    allowed: NDArray[np.int64],
    cosines: Single,
    cpu_s: Callable[[], float],
) -> Searched:
    seconds, recalls, missing = [], [], 0
    wanted = min(count, len(allowed))
    search(drawn.queries[0], classes, count)
    began_cpu_s = cpu_s()
    for query, of_query in zip(drawn.queries, cosines, strict=True):
        began_s = time.perf_counter()
        hits = search(query, classes, count)
        seconds.append(time.perf_counter() - began_s)
        signs = set(hits)
        missing += wanted - len(signs)
        recalls.append(recall_of(signs, of_query, allowed, wanted))
    took_s = (cpu_s() - began_cpu_s) / len(drawn.queries)
    return Searched(seconds=seconds, recalls=recalls, missing=missing, cpu_s=took_s)


def recall_of(signs: Set[int], cosines: Single, allowed: NDArray[np.int64], wanted: int) -> float:
    """Return the share of the nearest ``wanted`` of the allowed images that was found.

    An image that the filter does not let through is not right, however near it is. ``allowed`` are
    signs in ascending order.
    """
    least = np.partition(cosines[allowed], -wanted)[-wanted]
    found = np.array(sorted(signs), np.int64)
    places = np.searchsorted(allowed, found).clip(max=len(allowed) - 1)
    let_through = found[allowed[places] == found]
    return float((cosines[let_through] >= least - _TIES).sum() / wanted)


def allowed_by(drawn: Drawn, classes: ClassFilter) -> NDArray[np.int64]:
    """Return the signs that a filter lets through."""
    chosen = []
    if classes.class_id1 is not None:
        chosen.append(drawn.at_random == classes.class_id1)
    if classes.class_id2 is not None:
        chosen.append(drawn.alike == classes.class_id2)
    if not chosen:
        return np.arange(len(drawn.vectors))
    joined = np.logical_or.reduce(chosen) if classes.any_class else np.logical_and.reduce(chosen)
    return np.flatnonzero(joined)


def _cosines(vectors: Half, queries: Single) -> Single:
    """Return the cosine of each query, as it is stored, with each image: (queries, images)."""
    halves = queries.astype(np.float16).astype(np.float32)
    halves /= np.linalg.norm(halves, axis=1, keepdims=True)
    cosines = np.empty((len(queries), len(vectors)), np.float32)
    for first, chunk in _chunks(vectors):
        norms = np.linalg.norm(chunk, axis=1)
        cosines[:, first : first + len(chunk)] = halves @ chunk.T / norms
    return cosines


def _chunks(vectors: Half) -> Iterator[tuple[int, Single]]:
    for first in range(0, len(vectors), _CHUNK):
        yield first, vectors[first : first + _CHUNK].astype(np.float32)


def _cpu_s(pool: ConnectionPool[Any]) -> float:
    """Return the processor time of the pool's one backend, and of the server's ended helpers."""
    with pool.connection() as connection:
        times = psutil.Process(connection.info.backend_pid).cpu_times()
        parent = psutil.Process(connection.info.backend_pid).parent()
    ended = parent.cpu_times() if parent else None
    helpers_s = float(ended.children_user + ended.children_system) if ended else 0.0
    return float(times.user + times.system) + helpers_s
