"""Finds where the product is: the places that look unlike the border of the image.

Knows the last maps of networks. Does not know pixels. The border is a sample of the background
(boundary prior: Wei et al., ECCV 2012).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from productsearch_engine.embedding.interface import Box
from productsearch_engine.embedding.networks import Maps

_REACH_MIN = 1e-6
_NEAREST = 4
_SHARE = 0.5  # of the greatest difference: a place above it belongs to the product


Places = NDArray[np.float32]
"""One number for each place of the maps of an image, shape (rows, columns)."""


class Subject(NamedTuple):
    """Where the product is, and whether it is one thing that stands out."""

    box: Box
    is_clear: bool


def strangeness(maps: Maps) -> Places:
    """Return how much each place differs from the border of the image.

    maps: of one image, shape (networks, channels, rows, columns).
    """
    rows, columns = maps.shape[-2:]
    places = maps.transpose(2, 3, 0, 1).reshape(rows, columns, -1)
    border = places[_edge(rows, columns)].mean(0)
    return np.asarray(np.linalg.norm(places - border, axis=-1), np.float32)


def unlikeness(maps: Maps) -> Places:
    """Return how little each place is like any part of the border of the image.

    It is the cosine distance to the border's fourth nearest place: where a ground is uneven, what
    is like one part of it is no product. maps: as for ``strangeness``.
    """
    rows, columns = maps.shape[-2:]
    places = maps.reshape(len(maps), -1, rows * columns)
    places = places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), _REACH_MIN)
    edge = np.flatnonzero(_edge(rows, columns))
    # Not ``@``: BLAS's sums depend on the number of its threads in their last bits.
    cosines = np.einsum("kcp,kce->pe", places, places[:, :, edge]) / len(maps)
    distances = np.sqrt(np.maximum(2 - 2 * cosines, 0))
    distances[edge, np.arange(len(edge))] = np.inf  # no place is compared with itself
    near = np.sort(distances, axis=1)[:, _NEAREST - 1]
    return np.asarray(near, np.float32).reshape(rows, columns)


def standing_out(strange: Places) -> Places:
    """Return how clearly each place is the product's: 0 as strange as the border, 1 as strange as
    the strangest twentieth."""
    border = np.median(strange[_edge(*strange.shape)])
    reach = max(float(np.percentile(strange, 95) - border), _REACH_MIN)
    return np.asarray(np.clip((strange - border) / reach, 0, 1), np.float32)


def find(strange: Places) -> Subject:
    """Return the box of the product, or the whole image if nothing stands out.

    The box is as exact as a place of the maps is large, a ninth of the image.
    """
    rows, columns = strange.shape
    edge = _edge(rows, columns)
    inside = strange - np.median(strange[edge])
    inside[edge] *= 0.5
    greatest = float(inside.max())
    if greatest <= 0:
        return Subject(Box(0, 0, 1, 1), is_clear=False)
    found = inside >= _SHARE * greatest
    ys, xs = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    # A place of the map sees further than its cell: half a cell on each side.
    left, top = max(xs[0] - 0.5, 0), max(ys[0] - 0.5, 0)
    right, bottom = min(xs[-1] + 1.5, columns), min(ys[-1] + 1.5, rows)
    box = Box(
        float(left / columns),
        float(top / rows),
        float((right - left) / columns),
        float((bottom - top) / rows),
    )
    return Subject(box, _is_clear(found[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], found.size))


def _edge(rows: int, columns: int) -> NDArray[np.bool_]:
    edge = np.ones((rows, columns), bool)
    edge[1:-1, 1:-1] = False
    return edge


def _is_clear(found: NDArray[np.bool_], places: int) -> bool:
    """Return whether the places in their box are one product, not a heap or a cluttered ground.

    One product is in one piece, which fills half of its box or more. A box of one place's width is
    finer than the maps are; one of more than half of the image is no place in it.
    """
    thin, everywhere = min(found.shape) < 2, found.size > places / 2
    full = bool(found.mean() >= 0.5)
    return not thin and not everywhere and full and _is_one_piece(found)


def _is_one_piece(found: NDArray[np.bool_]) -> bool:
    """Return whether each place is reached from each other one, by sides and corners."""
    reached = np.zeros_like(found)
    reached.flat[np.flatnonzero(found)[0]] = True
    while True:
        wide = np.pad(reached, 1)
        near = [
            wide[y : y + len(found), x : x + found.shape[1]] for y in range(3) for x in range(3)
        ]
        further = np.logical_or.reduce(near) & found
        if (further == reached).all():
            return bool((reached == found).all())
        reached = further
