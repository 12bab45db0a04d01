"""The axes that an embedding's vectors are turned to, for a prefix that finds most neighbours.

The first numbers of a vector that is turned hold most of what tells images apart, so candidates are
found by these and compared by the whole vector. Knows the files, which ``model_build.prefix`` made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

_FILES = {"compact-1": "compact-1-prefix.npy"}


@dataclass(frozen=True)
class Axes:
    """Orthonormal ``rows``, shape (length of the prefix, length of the vectors).

    Other rows must have another ``name``: databases keep them by it.
    """

    name: str
    rows: NDArray[np.float16]


@cache
def of(embedding: str) -> Axes | None:
    """Return the axes of an embedding, or None: its vectors are not turned, and used whole."""
    if embedding not in _FILES:
        return None
    with (files(__package__) / _FILES[embedding]).open("rb") as file:
        return Axes(embedding, np.load(file))
