"""Rows of made-up images, files of them, and libraries to load them into."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from psycopg_pool import ConnectionPool

from productsearch_engine.bulk.lines import Head, head_line, line
from productsearch_engine.store import signs
from productsearch_engine.store.bulk_rows import BulkRows, Row
from productsearch_engine.store.libraries import Libraries, Library
from productsearch_engine.store.originals import Original

DIMENSIONS = 16
_SPREAD = 32
_numbers = itertools.count(1)


def rows(
    count: int, seed: int = 0, dimensions: int = DIMENSIONS, *, plain: bool = False
) -> Iterator[Row]:
    """Yield ``count`` rows that differ in everything; ``plain``: without copies and regions.

    Their vectors lie around some centres, as those of products do.
    """
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((_SPREAD, dimensions))
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
        vector = centres[number % _SPREAD] + 0.7 * chance.standard_normal(dimensions)
        marked = number % 3 == 0 and not plain
        yield Row(
            sign=signs.derive(digest, 0),
            digest=digest,
            brief=f'{{"nr": {number}, "text": "ü\u2028\\n"}}'.encode() if number % 5 else b"",
            class_id1=number % 7 + 1 if number % 4 else None,
            class_id2=65535 if number % 11 == 0 else None,
            vector=(vector / np.linalg.norm(vector)).astype("<f2").tobytes(),
            created_at=began + timedelta(seconds=number, microseconds=number % 7),
            updated_at=began + timedelta(days=1, seconds=number),
            copy=b"RIFF\0\0\0\0WEBP" + chance.bytes(200) if marked else None,
            region=(0.1, 0.2, 0.5, number / (count + 1) / 2 + 0.1) if marked else None,
            original=Original(640 + number, 480, 90_000 + number) if number % 4 else None,
        )


def library(
    pool: ConnectionPool[Any],
    capacity: int = 500_000,
    *,
    dimensions: int = DIMENSIONS,
    keep_images: bool = True,
) -> Library:
    """Return a new library for such rows."""
    name = f"bulk-{next(_numbers)}"
    Libraries(pool).create(
        name,
        capacity=capacity,
        embedding="classic-1",
        dimensions=dimensions,
        api_key=None,
        keep_images=keep_images,
    )
    return Libraries(pool).named(name)


def head(**changes: Any) -> Head:
    """Return the head of a file of such rows."""
    values: dict[str, Any] = {
        "library": "made",
        "embedding": "classic-1",
        "dimensions": DIMENSIONS,
        "images": 0,
        "keep_images": True,
    }
    return Head(**(values | changes))


def write(file: Path, found: list[Row], first: Head | None = None) -> Path:
    """Write a file of rows."""
    text = head_line(first or head(images=len(found))) + "".join(map(line, found))
    file.write_text(text, encoding="utf-8")
    return file


def stored(pool: ConnectionPool[Any], of: Library) -> list[Row]:
    """Return all rows of a library by sign."""
    with BulkRows(pool).reading(of) as found:
        return list(found)


def counted(pool: ConnectionPool[Any], of: Library) -> int:
    """Return a library's count of images."""
    return Libraries(pool).named(of.name).image_count
