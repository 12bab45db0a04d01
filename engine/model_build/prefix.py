"""Computes the axes of the prefix that candidates are found by, for vectors of ``compact``.

    cd engine && python -m model_build.prefix    # writes embedding/compact-1-prefix.npy

The file is in the repository, because databases keep prefixes. What the networks see is turned to
the principal axes of ImageNet's thousand classes, as both classifiers have them; the colours to
those of drawn images. No photograph takes part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_build import build
from productsearch_engine.embedding import hsv
from productsearch_engine.embedding.dead_leaves import dead_leaves
from productsearch_engine.embedding.projection import Projection
from productsearch_engine.embedding.window import window

NETWORK_AXES: Final = 144
COLOUR_AXES: Final = 16
"""Of 320 and 192. Photographs' nearest were found about as well with 8 to 24."""
_DRAWN: Final = 1500
_SIDE_PX: Final = 96
_WINDOW: Final = 0.8
"""That of ``compact-1``'s colours."""
_FILE: Final = (
    Path(__file__).parents[1] / "productsearch_engine" / "embedding" / "compact-1-prefix.npy"
)

Rows = NDArray[np.float64]


def axes() -> NDArray[np.float16]:
    """Return orthonormal rows, shape (160, 512)."""
    classes, colours = _principal(_classes()), _principal(_colours())
    rows = np.zeros(
        (NETWORK_AXES + COLOUR_AXES, classes.shape[1] + colours.shape[1]), dtype=np.float64
    )
    rows[:NETWORK_AXES, : classes.shape[1]] = classes[:NETWORK_AXES]
    rows[NETWORK_AXES:, classes.shape[1] :] = colours[:COLOUR_AXES]
    return rows.astype(np.float16)


def _principal(points: Rows) -> Rows:
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(np.linalg.svd(points / lengths, full_matrices=False)[2])


def _classes() -> Rows:
    """Return what both networks' classifiers know of each class, shape (1000, 320)."""
    networks = tuple(build.WEIGHTS)
    kept = Projection.load(networks)
    weights = np.stack([build.tensors(name)["_fc.weight"] for name in networks])
    return np.stack([kept.turn(of_class) for of_class in weights.swapaxes(0, 1)]).astype(float)


def _colours() -> Rows:
    middle = window(hsv.SIDE, hsv.SIDE, _WINDOW)
    drawn = (hsv.working(dead_leaves(seed, _SIDE_PX)) for seed in range(_DRAWN))
    shares = [hsv.Colours(small, 0).shares(middle) for small in drawn]
    return np.stack([hsv.roots(each) for each in shares]).astype(float)


if __name__ == "__main__":
    np.save(_FILE, axes())
