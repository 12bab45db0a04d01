"""The benchmark of the engine's storage beside others, at a size that shows only that it works."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from benchmarks import engine_rivals, engine_scale

_DATA: Final = Path("build/bench/rivals-test")


@pytest.mark.slow
def test_each_storage_is_searched_with_the_same_filters() -> None:
    """Of 1,000 images each one is found, but for what an index of 40 candidates leaves out."""
    own, beside = engine_scale.measured(1000, queries=3, data=_DATA)
    assert 0 == sum(each["missing"] for each in own.numbers["searches"].values())
    heads, *rows = beside.rows
    storages = ("the engine", "one table", "pgvector's defaults", "faiss HNSW")
    searches = [
        (name, str(count)) for name in engine_rivals.NAMES for count in engine_rivals.COUNTS
    ]
    assert [(name, *of) for name in storages for of in searches] == [row[:3] for row in rows]
    recall = heads.index("recall")
    exact = [float(row[recall]) for row in rows if row[0] in storages[:2]]
    assert 0.99 < min(exact)
    assert all(0 <= float(row[recall]) <= 1 for row in rows)
    assert all(measure.value >= measure.bar for measure in beside.measures)
