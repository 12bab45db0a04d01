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

_OF = {"compact-1": "compact-1", "compact-2": "compact-1", "compact-3": "compact-1"}
"""The axes of each embedding. The versions of ``compact`` are mixed of the same numbers, and lie
along the same axes."""


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
    name = _OF.get(embedding)
    if name is None:
        return None
    with (files(__package__) / f"{name}-prefix.npy").open("rb") as file:
        return Axes(name, np.load(file))
