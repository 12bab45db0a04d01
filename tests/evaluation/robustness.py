"""What a changed image still finds: searches among drawn images that are stored as they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from productsearch_engine.embedding.interface import Embedding, Pixels, Vectors
from tests.evaluation import drawings

_BATCH = 16


@dataclass(frozen=True)
class Found:
    """The share of searches whose first hit is right, and what it must be at least."""

    change: str
    share: float
    bar: float


def measured(embedding: Embedding, stored: int, searched: int) -> Iterator[Found]:
    """Store ``stored`` products, and search with ``searched`` of them after each change."""
    products = list(range(stored))
    there = _vectors(embedding, [(product, None) for product in products])
    asked = products[:: max(1, stored // searched)][:searched]
    for change, (bar, _) in drawings.CHANGES.items():
        yield Found(change, _share(there, embedding, asked, change), bar)
    yield Found("another ground", _share(there, embedding, asked, ""), drawings.OTHER_GROUND_MIN)


def _share(there: Vectors, embedding: Embedding, asked: list[int], change: str) -> float:
    vectors = _vectors(embedding, [(product, change) for product in asked])
    return float(((vectors @ there.T).argmax(1) == np.array(asked)).mean())


def _vectors(embedding: Embedding, wanted: list[tuple[int, str | None]]) -> Vectors:
    rows = []
    for start in range(0, len(wanted), _BATCH):
        images = [_image(product, change) for product, change in wanted[start : start + _BATCH]]
        rows.append(embedding.embed(images))
    return np.concatenate(rows)


def _image(product: int, change: str | None) -> Pixels:
    if change is None:
        return drawings.photograph(product, 1 + product)
    if not change:
        return drawings.photograph(product, 10**5 + product)
    return drawings.changed(product, change)
