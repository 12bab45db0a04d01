"""Vectors like those of the default embedding, and classes for them; no image takes part.

Embeddings of shop photographs have a common part (two of them have a cosine of about 0.15), a few
directions that matter much and many that matter little, and kinds of products, products, and
images of one product within them (a cosine of about 0.9). All of it is drawn from seeds. The axes
that prefixes are made of hold as much of these vectors as of photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding import prefix_axes

EMBEDDING: Final = "compact-1"
DIMENSIONS: Final = 512
IMAGES_OF_A_PRODUCT: Final = 5
PRODUCTS_OF_A_KIND: Final = 100
SHARES: Final = (0.5, 0.1, 0.01, 0.0001)
"""Class n + 1 has the n-th share of the images; the class after the last one has the rest."""

_FALL: Final = 1.3
"""Of photographs 16, 64 and 192 directions hold 72, 89 and 98 % of what there is; of these
vectors 73, 87 and 95 %."""

_PREFIX_SHARE: Final = 0.74
"""Of 400 photographs the axes of the prefix hold 72 % of what there is about their mean, and 76 %
with it."""

_COMMON, _KIND, _PRODUCT, _IMAGE = 0.15, 0.30, 0.45, 0.10
"""Shares of a vector's squared length."""

_CHUNK: Final = 20_000

Half = NDArray[np.float16]
Single = NDArray[np.float32]


@dataclass(frozen=True)
class Drawn:
    """A library. ``vectors`` have shape (images, DIMENSIONS) and unit length; ``at_random`` and
    ``alike`` are class ids, shape (images,): images of a class of the second look alike."""

    vectors: Half
    at_random: NDArray[np.int32]
    alike: NDArray[np.int32]
    queries: Single
    """Further images of stored products, shape (queries, DIMENSIONS)."""


def drawn(images: int, queries: int) -> Drawn:
    """Return a library and images to search it with, the same for the same numbers."""
    random = np.random.default_rng(images)
    scale = np.sqrt(_spectrum())
    common = scale * random.normal(size=DIMENSIONS)
    products = -(-images // IMAGES_OF_A_PRODUCT)
    kinds = _normal(random, -(-products // PRODUCTS_OF_A_KIND), scale)
    centres = (
        np.sqrt(_COMMON) * common / np.linalg.norm(common)
        + np.sqrt(_KIND) * kinds[np.arange(products) // PRODUCTS_OF_A_KIND]
        + np.sqrt(_PRODUCT) * _normal(random, products, scale)
    )
    turn = _turn(scale)
    vectors = np.empty((images, DIMENSIONS), np.float16)
    order = random.permutation(images)
    for first in range(0, images, _CHUNK):
        chosen = order[first : first + _CHUNK]
        vectors[first : first + _CHUNK] = _seen(random, centres[chosen % products], scale, turn)
    searched = centres[random.integers(0, products, queries)]
    return Drawn(
        vectors=vectors,
        at_random=_classes(random.permutation(images)),
        alike=_classes(_nearness(vectors, kinds[0] @ turn)),
        queries=_seen(random, searched, scale, turn),
    )


def kept(file: Path, images: int, queries: int) -> Drawn:
    """Return what ``drawn`` returns, from a file if it is there; else write it to the file."""
    if not file.exists():
        new = file.with_name(f"new-{file.name}")
        np.savez(new, **drawn(images, queries).__dict__)
        new.replace(file)
    with np.load(file) as arrays:
        found = Drawn(**arrays)
    if len(found.queries) != queries:
        raise ValueError(f"{file} has {len(found.queries)} queries: ask for as many, or delete it")
    return found


def _spectrum() -> Single:
    shares = np.arange(1, DIMENSIONS + 1) ** -_FALL
    return np.asarray(shares / shares.sum(), np.float32)


def _normal(random: np.random.Generator, count: int, scale: Single) -> Single:
    return random.standard_normal((count, DIMENSIONS), np.float32) * scale


def _seen(random: np.random.Generator, centres: Single, scale: Single, turn: Single) -> Single:
    seen = (centres + np.sqrt(_IMAGE) * _normal(random, len(centres), scale)) @ turn
    return np.asarray(seen / np.linalg.norm(seen, axis=1, keepdims=True), np.float32)


def _turn(scale: Single) -> Single:
    """Return the rotation from drawn directions to those of the embedding, shape (512, 512).

    The prefix's axes lie between directions that matter much and such that matter little, at one
    angle.
    """
    axes = prefix_axes.of(EMBEDDING)
    assert axes is not None
    rows, length = axes.rows.astype(np.float64), len(axes.rows)
    # The first axes of this basis are the rows, the others are at right angles to them.
    basis = np.linalg.qr(np.concatenate([rows, np.eye(DIMENSIONS)]).T)[0].T
    much, little = (float(np.sum(scale[first : first + length] ** 2)) for first in (0, length))
    cosine = np.sqrt((_PREFIX_SHARE - little) / (much - little))
    sine = np.sqrt(1 - cosine**2)
    turned = basis.copy()
    turned[:length] = cosine * basis[:length] - sine * basis[length : 2 * length]
    turned[length : 2 * length] = sine * basis[:length] + cosine * basis[length : 2 * length]
    return np.asarray(turned, np.float32)


def _nearness(vectors: Half, centre: Single) -> NDArray[np.int64]:
    """Return the rank of each vector by its distance from one."""
    cosines = np.concatenate(
        [
            vectors[first : first + _CHUNK].astype(np.float32) @ centre
            for first in range(0, len(vectors), _CHUNK)
        ]
    )
    ranks = np.empty(len(vectors), np.int64)
    ranks[np.argsort(-cosines, kind="stable")] = np.arange(len(vectors))
    return ranks


def _classes(ranks: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the class of each rank: the smallest class has the first ranks."""
    ends = np.cumsum([max(1, round(share * len(ranks))) for share in reversed(SHARES)])
    classes = np.array([*range(len(SHARES), 0, -1), len(SHARES) + 1], np.int32)
    return np.asarray(classes[np.searchsorted(ends, ranks, side="right")])
